/** `setupCache`: puts one Sequelize instance's cache together, and takes it apart again. */
import type { Sequelize } from 'sequelize';
import { Coherence } from './coherence/coherence.js';
import { isSetUp, Registry } from './caches/registry.js';
import { KeySpace } from './entries/keys.js';
import { AlreadyCachedError, InvalidOptionError } from './errors.js';
import { identityOf, type DatabaseIdentity } from './identity.js';
import { publish } from './events.js';
import { healthOf, type CacheHealth } from './health.js';
import { Statements } from './hooks/statements.js';
import { Loader } from './lookups/loader.js';
import { claimNamespace } from './namespaces.js';
import { resolveOptions, show, type SetupOptions } from './options.js';
import { storeFromEnvironment } from './stores/memcached-env.js';
import { MemoryStore } from './stores/memory.js';
import type { Store } from './stores/store.js';
import type { CacheStats } from './types.js';
import { restoreCache } from './with-cache.js';

/** The cache of one Sequelize instance. */
export interface FlashCache {
  /** The store in use. With `enabled: false` and no store it is a memory store that stays empty. */
  readonly store: Store;
  /** Counters by model and cache name. */
  stats(): Readonly<Record<string, Readonly<Record<string, CacheStats>>>>;
  /** How many invalidations could not be delivered yet and are being retried. */
  readonly undelivered: number;
  /**
   * Whether the cache works: the state of each server, asked just now, undelivered invalidations, which
   * database the keys stand for, and what is not cached and why. Takes as long as the store's deadline at
   * most. Never rejects.
   */
  health(): Promise<CacheHealth>;
  /**
   * Delivers what is undelivered (for at most `flushMs`), then takes the cache apart. Resolves to the
   * number of invalidations that could not be delivered. Writes after it are not seen: call it last.
   * Transactions that are open are seen to their end: what they write is void when they commit. Nothing waits
   * for them.
   *
   * A store that was passed stays open, since other caches may use it: the program that made it calls
   * `store.close()`. A store that was made from the environment is closed.
   * @param flushMs milliseconds @default 2000
   */
  close(flushMs?: number): Promise<number>;
}

/**
 * Sets up the cache of a Sequelize instance: once per instance, in every process that reads or
 * writes cached models, after the models and their associations are defined.
 * @throws InvalidOptionError, AlreadyCachedError, and what is wrong with a declaration:
 *   InvalidKeyFieldError, InvalidCacheClassError, DuplicateCacheNameError
 */
export function setupCache(sequelize: Sequelize, options: SetupOptions = {}): FlashCache {
  if (typeof (sequelize as Partial<Sequelize> | null | undefined)?.addHook !== 'function' || typeof sequelize.getDialect !== 'function') {
    throw new InvalidOptionError(`setupCache takes a Sequelize instance, then its options; received ${show(sequelize)}.`);
  }
  if (isSetUp(sequelize)) {
    throw new AlreadyCachedError('setupCache was called twice for the same Sequelize instance. Call it once; close() it before you set it up anew.');
  }
  if (!dialects.has(sequelize.getDialect())) {
    throw new InvalidOptionError(
      `setupCache supports the dialects ${[...dialects].join(', ')}; received a Sequelize instance of '${sequelize.getDialect()}', whose locks it was not built on.`,
    );
  }
  const resolved = resolveOptions(options, process.env);
  const shared = options.store ?? storeFromEnvironment(process.env);
  // A process that caches nothing and has no store has nothing to void: this one stays empty, and no statement is watched.
  const store = shared ?? (resolved.enabled ? undefined : new MemoryStore());
  if (store === undefined) {
    throw new InvalidOptionError(
      `setupCache needs a store: pass { store: new MemcachedStore('127.0.0.1:11211') }, or name the servers in SEQUELIZE_FLASH_MEMCACHED.`,
    );
  }
  const lacking = storeMethods.find((method) => typeof (store as Partial<Store> | null)?.[method] !== 'function');
  if (lacking !== undefined) {
    throw new InvalidOptionError(
      `Option 'store' must be a store, such as new MemcachedStore('127.0.0.1:11211') or new MemoryStore(); received ${show(store)}, which has no method '${lacking}'.`,
    );
  }
  const identity = identityOf(sequelize);
  const alias = checkAlias(options.alias, identity, store);
  const release = claimNamespace(store, resolved.prefix, alias, identity);
  const coherence = new Coherence(store, resolved);
  const loader = new Loader(coherence, resolved);
  const keys = new KeySpace(resolved.prefix, alias);
  const registry = new Registry(sequelize, keys, resolved, loader, coherence, restoreCache);
  try {
    registry.bind();
  } catch (error) {
    registry.dispose();
    release();
    throw error;
  }
  const statements = new Statements(sequelize, registry, coherence, resolved.bulkInvalidationLimit);
  if (shared !== undefined) statements.attach();
  let closed: Promise<number> | undefined;
  return {
    store,
    get undelivered() {
      return coherence.waiting;
    },
    stats: () =>
      Object.fromEntries(
        Array.from(registry, ({ cached, all, timed, chains }) => [
          cached.name,
          Object.fromEntries([...all, ...timed, ...chains].map((cache) => [cache.name, cache.counters.snapshot()])),
        ]),
      ),
    health: () => healthOf({ store, coherence, registry, enabled: resolved.enabled, closed: closed !== undefined, identity, alias, key: keys.single('version', 'health') }),
    close: (flushMs = 2000) => {
      closed ??= (async () => {
        const open = statements.detach();
        await registry.settled(flushMs);
        registry.dispose();
        release();
        const end = async (): Promise<number> => {
          const left = await coherence.close(flushMs);
          // Whoever makes a store closes it: another cache may use the one that was passed.
          if (options.store === undefined) await store.close();
          return left;
        };
        if (open === undefined) return end();
        // Nobody waits for transactions that are open; what they write is delivered when they end.
        open.then(end).catch((cause: unknown) => {
          publish('error', () => ({ operation: 'close', cause }));
        });
        return coherence.flush(flushMs);
      })();
      return closed;
    },
  };
}

const storeMethods = ['get', 'add', 'compareAndSwap', 'compareAndDelete', 'delete', 'close'] as const;

const dialects: ReadonlySet<string> = new Set(['mysql', 'mariadb', 'sqlite']);

/** @throws InvalidOptionError */
function checkAlias(given: unknown, identity: DatabaseIdentity, store: Store): string {
  if (given === undefined) {
    if (identity.unknown === undefined || store.isLocal === true) return identity.alias;
    throw new InvalidOptionError(
      `setupCache needs option 'alias' for this Sequelize instance, since its options do not tell which database it is: ${identity.unknown}. ` +
        `Name the database, for example { alias: 'shop' }: the same in every process that uses it, another one for each other database.`,
    );
  }
  if (typeof given !== 'string' || given === '' || given.length > 64) {
    throw new InvalidOptionError(`Option 'alias' must be a text of 1 to 64 characters; received ${show(given)}.`);
  }
  return given;
}
