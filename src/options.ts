/** The options of `setupCache`, resolved and checked once. */
import { InvalidOptionError } from './errors.js';
import type { Store } from './stores/store.js';

/**
 * What a write does when the store cannot be told of it.
 * - `'available'`: the write goes on; the invalidation is retried until it is delivered, and an
 *   event says so. Until then another process can read the old value, if the store answers it.
 * - `'strict'`: the write is refused with `InvalidationFailedError` before it reaches the database.
 *
 * Invalidations by hand (`invalidate`, `invalidateWhere`, `clear`, `bumpVersion`) that could not be delivered
 * resolve to `{ delivered: false }`, or reject with the same error. They are retried in both cases.
 */
export type OnStoreFailure = 'available' | 'strict';

/** What a write can do to the entries of a cache class that depend on it. */
export const invalidations = ['OFF', 'UNSET', 'RESET', 'DYNAMIC'] as const;

/**
 * What a write does to the entries of a cache class that depend on it.
 * - `'UNSET'`: they are void at once; the next read asks the database.
 * - `'RESET'`: the same, and this process reads them anew right after the write, behind its back.
 * - `'DYNAMIC'`: they are void, but for `allowtime` seconds readers are given the outdated answer while
 *   one of them computes the new one.
 * - `'OFF'`: nothing. Only the timeout ends them.
 */
export type Invalidation = (typeof invalidations)[number];

/** Options of `setupCache(sequelize, options)`. */
export interface SetupOptions {
  /**
   * Where entries are kept.
   * @default a `MemcachedStore` on the servers named by SEQUELIZE_FLASH_MEMCACHED
   */
  store?: Store;
  /**
   * First part of every key, to share servers with other programs. At most 32 printable characters.
   * @default SEQUELIZE_FLASH_PREFIX, or 'flash'
   */
  prefix?: string;
  /**
   * Second part of every key: which database this is. The same in every process that uses this
   * database, different for each database. At most 64 characters. Required where the options of Sequelize
   * do not tell which database it is, such as with a hook `beforeConnect`.
   * @default a hash of everything that leads to the database: host, port, socket, database name and other
   *   connection options, but no credentials; the absolute path of an SQLite file
   */
  alias?: string;
  /**
   * Whether reads are answered from the cache. With `false` every read asks the database; writes go
   * on voiding what other processes have cached, so that it can be switched off in one of them.
   * Without a store, passed or named by the environment, there is nothing to void: use that only
   * where no other process caches this database.
   * @default true
   */
  enabled?: boolean;
  /** How long an entry is kept, in seconds. @default 604800 (one week) */
  timeout?: number;
  /** How long a marker outlives a crashed writer, in seconds, 2 to 300. @default 10 */
  writeLease?: number;
  /**
   * How long the database lets a statement wait for a lock, in seconds, 0 to 3600: its
   * `innodb_lock_wait_timeout`. A statement goes on waiting, and is committed, although its process
   * was killed meanwhile; a marker outlives a crashed writer by so much longer. @default 50 (MySQL's)
   */
  lockWaitTimeout?: number;
  /** How long a read waits for another process's fill before it asks the database, in milliseconds. @default 500 */
  leaseWait?: number;
  /** What a write does when the store is down. @default 'available' */
  onStoreFailure?: OnStoreFailure;
  /**
   * The most rows that one bulk write voids one by one; beyond it, the whole table's entries are void.
   * 0: a bulk write never reads rows, it voids the table. Writes of one instance stay exact.
   * @default 1000
   */
  bulkInvalidationLimit?: number;
  /** The most lookups that are answered by one SQL statement, and by one multi-get. @default 500 */
  maxBatch?: number;
  /** The most SQL statements that cache misses of this process run at the same time. @default 10 */
  maxConcurrentLoads?: number;
  /**
   * How many "these key values lead to this row" hints this process remembers, and of how many entries
   * which version it read last, so that a save need not look first.
   * @default 10000
   */
  maxHints?: number;
  /**
   * About how much memory this process takes for rows as it has decoded them, in bytes: one that is
   * read again and again is decoded once. The store is asked all the same. 0: none is kept.
   * @default 16777216
   */
  recentBytes?: number;
  /** The most undelivered invalidations kept for retry; beyond it whole tables are voided instead. @default 10000 */
  maxUndelivered?: number;
}

/** `SetupOptions` with every default filled in, frozen. */
export interface ResolvedOptions {
  readonly prefix: string;
  readonly enabled: boolean;
  readonly timeout: number;
  readonly writeLease: number;
  readonly lockWaitTimeout: number;
  readonly leaseWait: number;
  readonly onStoreFailure: OnStoreFailure;
  readonly bulkInvalidationLimit: number;
  readonly maxBatch: number;
  readonly maxConcurrentLoads: number;
  readonly maxHints: number;
  readonly recentBytes: number;
  readonly maxUndelivered: number;
}

const knownOptions: ReadonlySet<string> = new Set<keyof SetupOptions>([
  'store',
  'prefix',
  'alias',
  'enabled',
  'timeout',
  'writeLease',
  'lockWaitTimeout',
  'leaseWait',
  'onStoreFailure',
  'bulkInvalidationLimit',
  'maxBatch',
  'maxConcurrentLoads',
  'maxHints',
  'recentBytes',
  'maxUndelivered',
]);

/**
 * Fills in the defaults and checks every value.
 * @throws InvalidOptionError that names the option, what it may be and what it was
 */
export function resolveOptions(given: SetupOptions, env: NodeJS.ProcessEnv): ResolvedOptions {
  if (typeof given !== 'object' || (given as unknown) === null) {
    throw new InvalidOptionError(`The options of setupCache must be an object; received ${show(given)}.`);
  }
  if (typeof (given as Partial<Store>).compareAndSwap === 'function') {
    throw new InvalidOptionError(`setupCache received a store in place of its options. Pass it as { store }.`);
  }
  for (const name of Object.keys(given)) {
    if (!knownOptions.has(name)) {
      throw new InvalidOptionError(
        `setupCache has no option '${name}'. Its options are: ${[...knownOptions].join(', ')}.`,
      );
    }
  }
  const prefix = given.prefix ?? env.SEQUELIZE_FLASH_PREFIX ?? 'flash';
  if (typeof prefix !== 'string' || !/^[A-Za-z0-9._-]{1,32}$/.test(prefix)) {
    throw new InvalidOptionError(
      `Option 'prefix' must be 1 to 32 letters, digits, '.', '_' or '-'; received ${show(prefix)}.`,
    );
  }
  const onStoreFailure: string = given.onStoreFailure ?? 'available';
  if (onStoreFailure !== 'available' && onStoreFailure !== 'strict') {
    throw new InvalidOptionError(
      `Option 'onStoreFailure' must be 'available' or 'strict'; received ${show(onStoreFailure)}.`,
    );
  }
  const enabled: unknown = given.enabled ?? true;
  if (typeof enabled !== 'boolean') {
    throw new InvalidOptionError(`Option 'enabled' must be true or false; received ${show(enabled)}.`);
  }
  return Object.freeze({
    prefix,
    enabled,
    onStoreFailure,
    timeout: wholeNumber('timeout', given.timeout, 604_800, 1, 31_536_000, 'seconds'),
    writeLease: wholeNumber('writeLease', given.writeLease, 10, 2, 300, 'seconds'),
    lockWaitTimeout: wholeNumber('lockWaitTimeout', given.lockWaitTimeout, 50, 0, 3600, 'seconds'),
    leaseWait: wholeNumber('leaseWait', given.leaseWait, 500, 0, 60_000, 'milliseconds'),
    bulkInvalidationLimit: wholeNumber('bulkInvalidationLimit', given.bulkInvalidationLimit, 1000, 0, 100_000, 'rows'),
    maxBatch: wholeNumber('maxBatch', given.maxBatch, 500, 1, 10_000, 'lookups'),
    maxConcurrentLoads: wholeNumber('maxConcurrentLoads', given.maxConcurrentLoads, 10, 1, 1000, 'statements'),
    maxHints: wholeNumber('maxHints', given.maxHints, 10_000, 1, 10_000_000, 'hints'),
    recentBytes: wholeNumber('recentBytes', given.recentBytes, 2 ** 24, 0, 2 ** 40, 'bytes'),
    maxUndelivered: wholeNumber('maxUndelivered', given.maxUndelivered, 10_000, 1, 10_000_000, 'keys'),
  });
}

/**
 * A whole number within bounds, or the default when it is not given.
 * @throws InvalidOptionError
 */
export function wholeNumber(
  name: string,
  value: unknown,
  fallback: number,
  least: number,
  most: number,
  unit: string,
): number {
  if (value === undefined) return fallback;
  if (typeof value !== 'number' || !Number.isInteger(value) || value < least || value > most) {
    throw new InvalidOptionError(
      `Option '${name}' must be a whole number of ${unit} from ${String(least)} to ${String(most)}; received ${show(value)}.`,
    );
  }
  return value;
}

/**
 * Characters that do not show in a message: control characters, those that change the direction of writing
 * or end a line, halves of pairs; and those that a page of HTML takes for markup.
 */
const unsafe = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069<>&]/gu;

/** A value as an error message shows it: short, with its type visible, and harmless in a log or on a page. */
export function show(value: unknown): string {
  if (typeof value === 'string') {
    // What is cut off need not be looked at. A cut must not leave half of a pair.
    const start = value.length > 300 ? value.slice(0, 300).replace(/[\uD800-\uDBFF]$/, '') : value;
    const text = start.replace(unsafe, (character) => {
      const code = character.charCodeAt(0);
      return code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16).padStart(4, '0')}`;
    });
    return text.length > 60 ? `'${text.slice(0, 57).replace(/[\uD800-\uDBFF]$/, '')}…'` : `'${text}'`;
  }
  if (typeof value === 'bigint') return `${String(value)}n`;
  if (value === null || value === undefined || typeof value === 'number' || typeof value === 'boolean') {
    return String(value);
  }
  if (typeof value === 'function') return value.name === '' ? 'a function' : `the function or class ${value.name}`;
  if (value instanceof Date) return `a Date (${Number.isNaN(value.getTime()) ? 'invalid' : value.toISOString()})`;
  if (Array.isArray(value)) return `an array of ${String(value.length)}`;
  if (typeof value === 'symbol') return 'a symbol';
  const constructor: unknown = Object.getPrototypeOf(value) === null ? undefined : value.constructor;
  return typeof constructor === 'function' && constructor !== Object ? `an instance of ${constructor.name}` : 'an object';
}
