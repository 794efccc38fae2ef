/** What a plan runs on: a database of its own, with one or two Sequelize instances and their caches. */
import { randomUUID } from 'node:crypto';
import { setupCache, type FlashCache, type Store } from '../../src/index.js';
import { memcachedStore, openBackend, type BackendName } from '../support/backends.js';
import { ObservedStore } from '../support/observed-store.js';
import { defineWorld, type World } from './models.js';

/** `two`: two Sequelize instances on MariaDB with a cache each, as two processes have them. */
export type StackName = BackendName | 'two';

export interface Stack {
  readonly worlds: readonly World[];
  readonly caches: readonly FlashCache[];
  close(): Promise<void>;
}

/** Opens a stack. `disturb` may put another store before the real one. */
export async function openStack(name: StackName, disturb: (store: Store) => Store = (store) => store): Promise<Stack> {
  const backendName = name === 'sqlite' ? 'sqlite' : 'mariadb';
  // With a name, SQLite gives each transaction a connection of its own; `:memory:` has only one.
  const backend = await openBackend(backendName, backendName === 'sqlite' ? { options: { storage: 'oracle.db' } } : {});
  const prefix = `oracle-${randomUUID().slice(0, 8)}`;
  const closers: (() => Promise<unknown>)[] = [];
  try {
    const worlds = [defineWorld(backend.sequelize)];
    if (name === 'two') worlds.push(defineWorld(backend.another()));
    await backend.sequelize.sync();
    const caches = worlds.map(({ sequelize }, at) => {
      const store = at === 0 ? backend.store : new ObservedStore(memcachedStore());
      const cache = setupCache(sequelize, { store: disturb(store), prefix });
      closers.push(() => cache.close(0));
      return cache;
    });
    return { worlds, caches, close };
  } catch (error) {
    await close();
    throw error;
  }

  async function close(): Promise<void> {
    for (const closer of closers) await closer();
    await backend.close();
  }
}

/** Hits and all lookups that the caches counted. */
export function hitsOf(caches: readonly FlashCache[]): { readonly hits: number; readonly lookups: number } {
  let hits = 0;
  let lookups = 0;
  for (const cache of caches) {
    for (const counters of Object.values(cache.stats()).flatMap((ofModel) => Object.values(ofModel))) {
      hits += counters.hits;
      lookups += counters.hits + counters.misses;
    }
  }
  return { hits, lookups };
}
