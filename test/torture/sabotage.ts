/** Ways to break the cache on purpose: a run has to notice each of them. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Store, StoreItem } from '../../src/index.js';
import type { Random } from '../oracle/random.js';

/**
 * - `lost-writes`: now and then nothing that a write says about a key reaches the store, which claims that it did.
 * - `old-answers`: now and then the store answers what it had a moment ago.
 * - `lost-lists`: as `lost-writes`, of lists only; rows by themselves are always right.
 * - `torn-lists`: the rows of a list are looked at one after the other, and no write is seen to have been between.
 */
export const sabotages = ['lost-writes', 'old-answers', 'lost-lists', 'torn-lists'] as const;

export type Sabotage = (typeof sabotages)[number];

/** Wraps a store. */
export function sabotage(store: Store, how: Sabotage, random: Random): Store {
  switch (how) {
    case 'lost-writes':
      return lostWrites(store, () => random.once(25));
    case 'lost-lists':
      return lostWrites(store, (key) => isList(key) && random.once(5));
    case 'old-answers':
      return oldAnswers(store, random);
    case 'torn-lists':
      return tornLists(store, random);
  }
}

// A key has its kind as one letter after the prefix and the alias.
const isList = (key: string): boolean => key.split(':', 3)[2] === 'l';
const isEpoch = (key: string): boolean => key.split(':', 3)[2] === 'e';

const isMarker = (value: string): boolean => value.startsWith('M');

function lostWrites(store: Store, loses: (key: string) => boolean): Store {
  /** Markers that are believed to stand, by key. */
  const pretended = new Map<string, string>();
  const pretends = (key: string, value: string): boolean => {
    if (!isMarker(value) || (!pretended.has(key) && !loses(key))) return false;
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

/** Whether no write was finished is looked up by the epochs alone, after the rows. */
function tornLists(store: Store, random: Random): Store {
  const epochs = new Map<string, StoreItem>();
  return wrap(store, {
    get: async (keys) => {
      if (keys.every(isEpoch)) {
        const reply = await store.get(keys);
        const items = new Map(reply.items);
        for (const [key, item] of reply.items) items.set(key, epochs.get(key) ?? (epochs.set(key, item), item));
        return { items, failures: reply.failures };
      }
      if (!keys.some(isList) || !random.once(6)) return store.get(keys);
      const first = await store.get(keys.filter((_, at) => at % 2 === 0));
      // So long that others write rows of both halves, and read those of the second one again.
      await sleep(100 + random.below(300));
      const second = await store.get(keys.filter((_, at) => at % 2 === 1));
      return { items: new Map([...first.items, ...second.items]), failures: new Map([...first.failures, ...second.failures]) };
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
