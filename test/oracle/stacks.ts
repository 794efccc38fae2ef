/** What a plan runs on: a database of its own, with one or two Sequelize instances and their caches. */
import { randomUUID } from 'node:crypto';
import { setupCache, type FlashCache, type Store, type StoreReply, type StoreToken } from '../../src/index.js';
import { MemoryStore } from '../../src/stores/memory.js';
import { memcachedStore, openBackend, type BackendName } from '../support/backends.js';
import { ObservedStore } from '../support/observed-store.js';
import { defineWorld, type World } from './models.js';

/** `two`: two Sequelize instances on MariaDB with a cache each, as two processes have them. */
export type StackName = BackendName | 'two';

export interface Stack {
  readonly worlds: readonly World[];
  readonly caches: readonly FlashCache[];
  /** From now on nothing that a write says about these keys reaches the store. */
  deafen(isLost: (key: string) => boolean): void;
  close(): Promise<void>;
}

/** Opens a stack. */
export async function openStack(name: StackName): Promise<Stack> {
  const backendName = name === 'sqlite' ? 'sqlite' : 'mariadb';
  // With a name, SQLite gives each transaction a connection of its own; `:memory:` has only one.
  const backend = await openBackend(backendName, backendName === 'sqlite' ? { options: { storage: 'oracle.db' } } : {});
  // As an application has it: it answers at once, where an observed one does not.
  const memory = backendName === 'sqlite' ? new MemoryStore() : undefined;
  const prefix = `oracle-${randomUUID().slice(0, 8)}`;
  const closers: (() => Promise<unknown>)[] = [];
  let isLost = (_key: string): boolean => false;
  try {
    const worlds = [defineWorld(backend.sequelize)];
    if (name === 'two') worlds.push(defineWorld(backend.another()));
    await backend.sequelize.sync();
    const caches = worlds.map(({ sequelize }, at) => {
      const store = memory ?? (at === 0 ? backend.store : new ObservedStore(memcachedStore()));
      const cache = setupCache(sequelize, { store: new DeafStore(store, (key) => isLost(key)), prefix });
      closers.push(() => cache.close(0));
      return cache;
    });
    return {
      worlds,
      caches,
      deafen(lost) {
        isLost = lost;
      },
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }

  async function close(): Promise<void> {
    for (const closer of closers) await closer();
    await backend.close();
  }
}

/** Drops what writes say about some keys: markers, and removals. */
class DeafStore implements Store {
  readonly #store: Store;
  readonly #isLost: (key: string) => boolean;
  readonly peek: Store['peek'];

  constructor(store: Store, isLost: (key: string) => boolean) {
    this.#store = store;
    this.#isLost = isLost;
    this.peek = store.peek === undefined ? undefined : (key) => store.peek?.(key);
  }

  get name(): string {
    return this.#store.name;
  }

  get maxValueBytes(): number {
    return this.#store.maxValueBytes;
  }

  get(keys: readonly string[]): Promise<StoreReply> {
    return this.#store.get(keys);
  }

  add(key: string, value: string, ttlSeconds: number): Promise<boolean> {
    return value.startsWith('M') && this.#isLost(key) ? Promise.resolve(true) : this.#store.add(key, value, ttlSeconds);
  }

  compareAndSwap(key: string, value: string, token: StoreToken, ttlSeconds: number): Promise<boolean> {
    return value.startsWith('M') && this.#isLost(key)
      ? Promise.resolve(true)
      : this.#store.compareAndSwap(key, value, token, ttlSeconds);
  }

  compareAndDelete(key: string, token: StoreToken): Promise<boolean> {
    return this.#isLost(key) ? Promise.resolve(true) : this.#store.compareAndDelete(key, token);
  }

  delete(key: string): Promise<boolean> {
    return this.#isLost(key) ? Promise.resolve(true) : this.#store.delete(key);
  }

  inOrder(first: string, second: string): boolean {
    return this.#store.inOrder?.(first, second) === true;
  }

  close(): Promise<void> {
    return this.#store.close();
  }
}

/** Hits and all lookups. */
export interface Hits {
  readonly hits: number;
  readonly lookups: number;
}

/** What the caches counted: lookups of rows by key, and those of lists, results and relations. */
export function hitsOf(caches: readonly FlashCache[]): { readonly rows: Hits; readonly others: Hits } {
  const counted = caches.flatMap((cache) => Object.values(cache.stats()).flatMap((ofModel) => Object.entries(ofModel)));
  const sum = (some: typeof counted): Hits => {
    const hits = some.reduce((total, [, counters]) => total + counters.hits, 0);
    return { hits, lookups: some.reduce((total, [, counters]) => total + counters.misses, hits) };
  };
  // `User(id)` is a cache of rows.
  const isOfRows = ([name]: (typeof counted)[number]): boolean => name.includes('(');
  return { rows: sum(counted.filter(isOfRows)), others: sum(counted.filter((one) => !isOfRows(one))) };
}
