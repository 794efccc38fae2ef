/** Ways to break the cache on purpose: a run has to notice each of them. */
import type { Store, StoreItem } from '../../src/index.js';
import type { Random } from '../oracle/random.js';

/**
 * - `lost-writes`: now and then nothing that a write says about a key reaches the store, which claims that it did.
 * - `old-answers`: now and then the store answers what it had a moment ago.
 */
export type Sabotage = 'lost-writes' | 'old-answers';

/** Wraps a store. */
export function sabotage(store: Store, how: Sabotage, random: Random): Store {
  return how === 'lost-writes' ? lostWrites(store, random) : oldAnswers(store, random);
}

const isMarker = (value: string): boolean => value.startsWith('M');

function lostWrites(store: Store, random: Random): Store {
  /** Markers that are believed to stand, by key. */
  const pretended = new Map<string, string>();
  const pretends = (key: string, value: string): boolean => {
    if (!isMarker(value) || (!pretended.has(key) && !random.once(25))) return false;
    pretended.set(key, value);
    return true;
  };
  return wrap(store, {
    get: async (keys) => {
      const reply = await store.get(keys);
      const items = new Map(reply.items);
      for (const key of keys) {
        const value = pretended.get(key);
        // Its writer looks at it to see whether it stands.
        if (value !== undefined) items.set(key, { value, token: 'pretended' });
      }
      return { items, failures: reply.failures };
    },
    add: async (key, value, ttl) => pretends(key, value) || store.add(key, value, ttl),
    compareAndSwap: async (key, value, token, ttl) => pretends(key, value) || store.compareAndSwap(key, value, token, ttl),
    compareAndDelete: async (key, token) => {
      if (token !== 'pretended') return store.compareAndDelete(key, token);
      pretended.delete(key);
      return true;
    },
  });
}

function oldAnswers(store: Store, random: Random): Store {
  const old = new Map<string, StoreItem | undefined>();
  return wrap(store, {
    get: async (keys) => {
      const reply = await store.get(keys);
      const items = new Map(reply.items);
      const lies = random.once(4);
      for (const key of keys) {
        if (!old.has(key) || random.once(8)) old.set(key, items.get(key));
        const item = lies ? old.get(key) : undefined;
        if (item !== undefined) items.set(key, item);
      }
      return { items, failures: reply.failures };
    },
  });
}

function wrap(store: Store, own: Partial<Store>): Store {
  return {
    name: store.name,
    maxValueBytes: store.maxValueBytes,
    get: (keys) => store.get(keys),
    add: (key, value, ttl) => store.add(key, value, ttl),
    compareAndSwap: (key, value, token, ttl) => store.compareAndSwap(key, value, token, ttl),
    compareAndDelete: (key, token) => store.compareAndDelete(key, token),
    delete: (key) => store.delete(key),
    close: () => store.close(),
    ...own,
  };
}
