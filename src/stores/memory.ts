/** `MemoryStore`: the operations of `Store` in this process's memory. */
import { announceCopy } from '../copies.js';
import { LRUCache } from 'lru-cache';
import { monotonic } from '../clock.js';
import { InvalidOptionError, StoreClosedError } from '../errors.js';
import { show, wholeNumber } from '../options.js';
import { checkKey, valueBytes, wholeSeconds } from './checks.js';
import type { Store, StoreItem, StoreReply, StoreToken } from './store.js';

/** Options of a `MemoryStore`. */
export interface MemoryStoreOptions {
  /** The most values kept; beyond it, the least recently used go. @default 100000 */
  readonly maxEntries?: number;
  /** The most bytes of UTF-8 that all values together have; beyond it, the least recently used go. @default no limit */
  readonly maxBytes?: number;
  /** Largest value in bytes of UTF-8. @default 1048576, or `maxBytes` if that is less */
  readonly maxValueBytes?: number;
  /** Clock in milliseconds. @default performance.now */
  readonly now?: () => number;
}

/**
 * A store in the memory of one process: for tests, demos and single-process programs only.
 *
 * A second process does not see it, so a write there leaves stale values here. Keys, values and
 * lifetimes are taken exactly as memcached takes them: what this store accepts, memcached accepts.
 *
 * @example
 * setupCache(sequelize, { store: new MemoryStore({ maxEntries: 10_000 }) });
 */
export class MemoryStore implements Store {
  readonly name = 'memory';
  readonly isLocal = true;
  readonly maxValueBytes: number;
  readonly #now: () => number;
  readonly #items: LRUCache<string, MemoryItem>;
  /** Counts for all keys together, so that a key which was removed and added again never repeats one. */
  #modifications = 0;
  #closed: StoreClosedError | undefined;

  /** @throws InvalidOptionError */
  constructor(options: MemoryStoreOptions = {}) {
    const { maxEntries, maxBytes, maxValueBytes, now } = resolveOptions(options);
    this.maxValueBytes = maxValueBytes;
    this.#now = now;
    this.#items = new LRUCache({
      max: maxEntries,
      // An empty value has a size too, since lru-cache takes 0 for a mistake.
      ...(maxBytes === undefined ? {} : { maxSize: maxBytes, sizeCalculation: (item) => Math.max(1, item.bytes) }),
    });
  }

  get(keys: readonly string[]): Promise<StoreReply> {
    const items = new Map<string, StoreItem>();
    let failures: Map<string, Error> | undefined;
    for (const key of keys) {
      try {
        const item = this.#read(key);
        if (item !== undefined) items.set(key, item);
      } catch (error) {
        if (!(error instanceof Error)) throw error;
        failures ??= new Map();
        failures.set(key, error);
      }
    }
    return Promise.resolve({ items, failures: failures ?? noFailures });
  }

  add(key: string, value: string, ttlSeconds: number): Promise<boolean> {
    return new Promise((resolve) => {
      resolve(this.#write(key, value, ttlSeconds, null));
    });
  }

  compareAndSwap(key: string, value: string, token: StoreToken, ttlSeconds: number): Promise<boolean> {
    return new Promise((resolve) => {
      resolve(this.#write(key, value, ttlSeconds, token));
    });
  }

  compareAndDelete(key: string, token: StoreToken): Promise<boolean> {
    return new Promise((resolve) => {
      resolve(this.#read(key)?.token === token && this.#items.delete(key));
    });
  }

  delete(key: string): Promise<boolean> {
    return new Promise((resolve) => {
      resolve(this.#read(key) !== undefined && this.#items.delete(key));
    });
  }

  inOrder(): boolean {
    return true;
  }

  /** @throws StoreClosedError, StoreProtocolError for a key that memcached would not take */
  peek(key: string): StoreItem | undefined {
    return this.#read(key);
  }

  /** Removes everything at once, as an operator does with memcached's `flush_all`. */
  flush(): void {
    this.#items.clear();
  }

  close(): Promise<void> {
    this.#closed ??= new StoreClosedError('The memory store was closed.');
    this.#items.clear();
    return Promise.resolve();
  }

  /**
   * The value under a key, unless its time is over. That is decided here and not by lru-cache,
   * which takes a value that was stored at time 0 of its clock for one without a lifetime.
   */
  #read(key: string): MemoryItem | undefined {
    if (this.#closed !== undefined) throw this.#closed;
    const item = this.#items.get(key);
    if (item === undefined) {
      // What is there was put there under a legal key.
      checkKey(key);
      return undefined;
    }
    if (item.expiresAt === Infinity || item.expiresAt > this.#now()) return item;
    this.#items.delete(key);
    return undefined;
  }

  /** Stores the value if what is there has this token; `null` stands for nothing there. */
  #write(key: string, value: string, ttlSeconds: number, token: StoreToken | null): boolean {
    const current = this.#read(key);
    const bytes = valueBytes(value, this.maxValueBytes);
    const seconds = wholeSeconds(ttlSeconds);
    if ((current?.token ?? null) !== token) return false;
    this.#modifications += 1;
    this.#items.set(key, {
      value,
      token: String(this.#modifications),
      bytes,
      expiresAt: seconds === 0 ? Infinity : this.#now() + seconds * 1000,
    });
    return true;
  }
}

interface MemoryItem extends StoreItem {
  readonly bytes: number;
  /** On the store's clock, in milliseconds. */
  readonly expiresAt: number;
}

const noFailures: ReadonlyMap<string, Error> = new Map();

const knownOptions: ReadonlySet<string> = new Set<keyof MemoryStoreOptions>([
  'maxEntries',
  'maxBytes',
  'maxValueBytes',
  'now',
]);

function resolveOptions(given: MemoryStoreOptions): {
  maxEntries: number;
  maxBytes: number | undefined;
  maxValueBytes: number;
  now: () => number;
} {
  for (const name of Object.keys(given)) {
    if (!knownOptions.has(name)) {
      throw new InvalidOptionError(
        `MemoryStore has no option '${name}'. Its options are: ${[...knownOptions].join(', ')}.`,
      );
    }
  }
  const now = given.now ?? (() => monotonic());
  if (typeof now !== 'function') {
    throw new InvalidOptionError(`Option 'now' must be a function; received ${show(now)}.`);
  }
  const maxBytes =
    given.maxBytes === undefined ? undefined : wholeNumber('maxBytes', given.maxBytes, 0, 1, 2 ** 40, 'bytes');
  const largest = Math.min(maxBytes ?? Infinity, 2 ** 30);
  return {
    maxEntries: wholeNumber('maxEntries', given.maxEntries, 100_000, 1, 10_000_000, 'values'),
    maxBytes,
    maxValueBytes: wholeNumber('maxValueBytes', given.maxValueBytes, Math.min(2 ** 20, largest), 1, largest, 'bytes'),
    now,
  };
}

announceCopy();
