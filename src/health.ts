/** `cache.health()`: whether the cache works, from one place. */
import { atMost } from './at-most.js';
import type { PassedThrough, Registry } from './caches/registry.js';
import type { Coherence, StoreFailures } from './coherence/coherence.js';
import { monotonic } from './clock.js';
import type { DatabaseIdentity } from './identity.js';
import { show } from './options.js';
import type { ServerHealth, Store } from './stores/store.js';

/** What `health()` resolves to. */
export interface CacheHealth {
  /** The cache is enabled and not closed, every server answers, no invalidation is undelivered. */
  readonly ok: boolean;
  /** The option `enabled` of `setupCache`. */
  readonly enabled: boolean;
  /** `close()` was called: reads go to the database, and writes are not seen. */
  readonly closed: boolean;
  readonly store: {
    readonly name: string;
    /** Each server; of a store that does not tell, the store itself. */
    readonly servers: readonly ServerHealth[];
    /** Operations that failed since set-up, by what they were for (`get`, `fill`, `mark` …). */
    readonly failures: Readonly<Record<string, StoreFailures>>;
  };
  /** How many invalidations wait to be delivered. */
  readonly undelivered: number;
  readonly database: {
    /** The part of all keys that stands for the database. */
    readonly alias: string;
    /** Which database that is, without user and password, such as `mysql://db1:3306/shop`. */
    readonly place: string;
    /** Why the options of Sequelize do not tell which database it is. */
    readonly unknown: string | undefined;
  };
  /** Caches whose lookups always go to the database, each with the reason. */
  readonly passedThrough: readonly PassedThrough[];
}

/** How long a store may take that does not keep to a deadline of its own, in milliseconds. */
const longestProbeMs = 2000;

/** What `health()` looks at. */
export interface Watched {
  readonly store: Store;
  readonly coherence: Coherence;
  readonly registry: Registry;
  readonly enabled: boolean;
  readonly closed: boolean;
  readonly identity: DatabaseIdentity;
  readonly alias: string;
  /** A key that the probe may ask for. */
  readonly key: string;
}

/** Asks the store for a sign of life, and puts together what is known. Never rejects. */
export async function healthOf({ store, coherence, registry, enabled, closed, identity, alias, key }: Watched): Promise<CacheHealth> {
  const servers = await probe(store, key);
  const undelivered = coherence.waiting;
  return {
    ok: enabled && !closed && undelivered === 0 && servers.every(({ state, roundTripMs }) => state === 'up' && roundTripMs !== undefined),
    enabled,
    closed,
    store: { name: store.name, servers, failures: Object.fromEntries(coherence.failures) },
    undelivered,
    database: { alias, place: identity.description, unknown: identity.unknown },
    passedThrough: registry.passedThrough(),
  };
}

async function probe(store: Store, key: string): Promise<readonly ServerHealth[]> {
  let servers: readonly ServerHealth[] | undefined;
  let failure: unknown;
  const work = (store.health === undefined ? getProbe(store, key) : store.health()).then(
    (told) => {
      servers = told;
    },
    (error: unknown) => {
      failure = error;
    },
  );
  await atMost(longestProbeMs, work);
  if (servers !== undefined) return servers;
  const error = failure instanceof Error ? failure : new Error(failure === undefined ? `The store did not answer within ${String(longestProbeMs)} ms.` : `The store failed: ${show(failure)}.`);
  const known = store.state?.() ?? [{ server: store.name, since: new Date(), reached: false }];
  return known.map((state) => ({ ...state, state: 'down', lastError: error, lastErrorAt: new Date(), roundTripMs: undefined }));
}

/** Of a store that cannot tell more: one key, as a lookup asks for it. */
async function getProbe(store: Store, key: string): Promise<readonly ServerHealth[]> {
  const sent = monotonic();
  const { failures } = await store.get([key]);
  const error = failures.get(key);
  const roundTripMs = error === undefined ? monotonic() - sent : undefined;
  const known = store.state?.() ?? [
    { server: store.name, state: error === undefined ? ('up' as const) : ('down' as const), since: new Date(), reached: error === undefined, lastError: error },
  ];
  return known.map((state) => ({ ...state, roundTripMs }));
}
