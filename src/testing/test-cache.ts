/** `testCache`: the cache of a Sequelize instance for a test suite, with everything in sight. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { Sequelize } from 'sequelize';
import { clearInterval, setInterval } from '../clock.js';
import { InvalidOptionError } from '../errors.js';
import { channels } from '../events.js';
import { show, type SetupOptions } from '../options.js';
import { setupCache, type FlashCache } from '../setup.js';
import { MemoryStore } from '../stores/memory.js';
import type { Store } from '../stores/store.js';
import { CountedStore } from './counted-store.js';
import { SentStatements } from './sent-statements.js';

/** Options of `testCache`: those of `setupCache`, without the store, which it brings. */
export type TestCacheOptions = Omit<SetupOptions, 'store'>;

/** What the store was asked. Operations that failed because it was down are among them. */
export interface StoreCounts {
  /** Multi-gets, whatever their number of keys. */
  readonly gets: number;
  /** `add` of a key that is absent. */
  readonly adds: number;
  /** Compare-and-swap. */
  readonly swaps: number;
  /** Both forms: compare-and-delete, and delete whatever is there. */
  readonly deletes: number;
  /** How many times the network was waited for: operations that are under way together count once. */
  readonly roundTrips: number;
}

/** A cache for tests, from `testCache`. */
export interface TestCache {
  /** What `setupCache` returned. */
  readonly cache: FlashCache;
  /**
   * The store. Another Sequelize instance on the same database that is set up with it
   * (`setupCache(other, { store })`) is to the cache what another process is.
   */
  readonly store: Store;
  /** What the store was asked since the last `reset()`, or since the beginning; a copy. */
  readonly counts: StoreCounts;
  /** The SQL statements that the Sequelize instance sent since then; `expectQueries` says which these are. */
  readonly sql: readonly string[];
  /** Counters by model and cache name, as `cache.stats()` has them; `reset()` does not reset these. */
  stats(): ReturnType<FlashCache['stats']>;
  /** What `cache.health()` resolves to: after `break()`, the store is down. */
  health(): ReturnType<FlashCache['health']>;
  /** Counts anew from zero. What is cached stays. */
  reset(): void;
  /** Empties the store behind the cache's back, as an operator's `flush_all` does. */
  flush(): void;
  /**
   * The store is down: every operation that is started from now on fails with a `StoreUnavailableError`.
   * Reads come from the database, writes follow `onStoreFailure`. What is stored stays, as if only
   * the network had failed; call `flush()` too for a server that lost its memory.
   */
  break(): void;
  /**
   * The store is up again. Resolves when the cache has delivered every invalidation that it could
   * not deliver meanwhile, which takes up to a second, or was closed.
   */
  mend(): Promise<void>;
  /** Takes the cache apart, so that `testCache` or `setupCache` can be called anew; Sequelize stays open. */
  close(): Promise<void>;
}

/**
 * Sets up the cache of a Sequelize instance for tests, in place of `setupCache`: with a memory store
 * of its own that counts, and can be emptied and broken.
 *
 * The store answers in a later turn of the event loop, so round trips are as many as with memcached.
 *
 * @throws InvalidOptionError for an option `store`, and whatever `setupCache` throws
 *
 * @example
 * const test = testCache(sequelize);
 * await User.cache.get({ id: 1 });
 * await expectQueries(sequelize, 0, () => User.cache.get({ id: 1 }));
 * await test.close();
 */
export function testCache(sequelize: Sequelize, options: TestCacheOptions = {}): TestCache {
  if (typeof options !== 'object' || (options as unknown) === null) {
    throw new InvalidOptionError(`The options of testCache must be an object; received ${show(options)}.`);
  }
  if ((options as SetupOptions).store !== undefined) {
    throw new InvalidOptionError(`testCache has no option 'store': it brings a memory store that it can count. For another one, call setupCache.`);
  }
  const store = new CountedStore(new MemoryStore());
  const cache = setupCache(sequelize, { ...options, store });
  const statements = new SentStatements(sequelize);
  let tally = store.count();
  let closed: Promise<void> | undefined;
  const closing = new AbortController();
  return {
    cache,
    store,
    get counts() {
      const asked = tally.trips.flat();
      const count = (...operations: readonly string[]): number => asked.filter(({ operation }) => operations.includes(operation)).length;
      return {
        gets: count('get'),
        adds: count('add'),
        swaps: count('compareAndSwap'),
        deletes: count('compareAndDelete', 'delete'),
        roundTrips: tally.trips.length,
      };
    },
    get sql() {
      return statements.texts;
    },
    stats: () => cache.stats(),
    health: () => cache.health(),
    reset() {
      statements.reset();
      store.stopCounting(tally);
      tally = store.count();
    },
    flush() {
      store.flush();
    },
    break() {
      store.break();
    },
    async mend() {
      await store.mend();
      await allDelivered(cache, closing.signal);
    },
    close() {
      closed ??= (async () => {
        statements.stop();
        // Nobody else has this store, so nobody would read what an undelivered invalidation leaves in it.
        await cache.close(0);
        await store.close();
        closing.abort();
      })();
      return closed;
    },
  };
}

/** Resolves when nothing is undelivered, or at the signal. */
async function allDelivered(cache: FlashCache, signal: AbortSignal): Promise<void> {
  if (cache.undelivered === 0 || signal.aborted) return;
  await new Promise<void>((resolve) => {
    const { name } = channels.delivered;
    // The cache's retries keep no process alive; one that waits for them must not end here.
    const alive = setInterval(() => undefined, 60_000);
    const end = (): void => {
      clearInterval(alive);
      unsubscribe(name, look);
      signal.removeEventListener('abort', end);
      resolve();
    };
    // Every cache of the process is heard here.
    const look = (): void => {
      if (cache.undelivered === 0) end();
    };
    subscribe(name, look);
    signal.addEventListener('abort', end);
  });
}
