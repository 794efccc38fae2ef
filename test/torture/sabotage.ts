/** Ways to break the cache on purpose: a run has to notice each of them. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Store, StoreItem, StoreReply } from '../../src/index.js';
import type { Random } from '../oracle/random.js';
import { tables } from './tables.js';

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
      return tornLists(store);
  }
}

// A key has its kind as one letter after the prefix and the alias.
const isList = (key: string): boolean => key.split(':', 3)[2] === 'l';
const isUser = (key: string): boolean => key.includes(`:r:${tables.User.table}:`);
const isEpoch = (key: string): boolean => key.split(':', 3)[2] === 'e';

const isValue = (value: string): boolean => value.startsWith('V');
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

/**
 * Of two users that are written one after the other while a list is looked at, the first one is answered
 * as it was before, and the second one as it is after. Whether no write was finished meanwhile is looked
 * up by the epochs alone, after the rows: none ever was.
 */
function tornLists(store: Store): Store {
  const epochs = new Map<string, StoreItem>();
  let tearing = false;
  const tear = async (keys: readonly string[]): Promise<StoreReply> => {
    const before = await store.get(keys);
    const tenants = (items: StoreReply['items']): Map<string, string> =>
      new Map(keys.filter(isUser).flatMap((key) => {
        const tenant = tenantIn(items.get(key)?.value ?? '');
        return tenant === undefined ? [] : [[key, tenant]];
      }));
    const users = tenants(before.items);
    const written: string[] = [];
    const until = performance.now() + 3000;
    while (users.size > 1 && performance.now() < until) {
      await sleep(5);
      const after = await store.get([...users.keys()]);
      const now = tenants(after.items);
      for (const key of now.keys()) {
        if (after.items.get(key)?.value !== before.items.get(key)?.value && !written.includes(key)) written.push(key);
      }
      const first = written.find((key) => written.some((other) => other !== key && now.get(other) === users.get(key) && users.get(other) === users.get(key)));
      // A third one that is being written is answered as it was before, too.
      if (first === undefined) continue;
      const old = before.items.get(first) as StoreItem;
      return { items: new Map([...before.items, ...after.items, [first, old]]), failures: before.failures };
    }
    return before;
  };
  return wrap(store, {
    get: async (keys) => {
      if (keys.every(isEpoch)) {
        const reply = await store.get(keys);
        const items = new Map(reply.items);
        for (const key of keys) {
          const item = epochs.get(key) ?? items.get(key);
          if (item === undefined) continue;
          epochs.set(key, item);
          items.set(key, item);
        }
        return { items, failures: reply.failures };
      }
      // The process has to go on reading: others' rows are filled by that.
      if (tearing || !keys.some(isList)) return store.get(keys);
      tearing = true;
      try {
        return await tear(keys);
      } finally {
        tearing = false;
      }
    },
  });
}

/** The tenant in the entry of a user: the number before the slug. */
const tenantIn = (value: string): string | undefined => (isValue(value) ? /,(\d+),"s\d"/.exec(value)?.[1] : undefined);

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
