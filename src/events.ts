/**
 * What the plugin tells about itself, over `node:diagnostics_channel`.
 *
 * Each kind of event has its channel, `sequelize-flash:<kind>`; a message is built only when
 * somebody subscribed to it.
 */
import { channel, type Channel } from 'node:diagnostics_channel';

/** The messages by kind. `cache` is the cache class's name, `key` the store key. */
export interface FlashEvents {
  /** A lookup was answered from the store. */
  hit: { readonly cache: string; readonly key: string };
  /** A lookup was not in the store. */
  miss: { readonly cache: string; readonly key: string };
  /** A value read from the database was put into the store. */
  fill: { readonly key: string; readonly bytes: number };
  /** A lookup was answered by the database and its answer was not stored. */
  bypass: { readonly cache: string; readonly reason: BypassReason };
  /** A write voided these keys. `wide` lists the tables that were voided as a whole, and why. */
  invalidate: { readonly keys: readonly string[]; readonly wide: readonly WideInvalidation[] };
  /** A statement of the plugin's own ran for a lookup. */
  load: { readonly cache: string; readonly lookups: number; readonly milliseconds: number };
  /** Invalidations could not be delivered and are being retried. */
  undelivered: { readonly keys: readonly string[]; readonly waiting: number; readonly cause: unknown };
  /** Invalidations that had not been delivered were delivered. */
  delivered: { readonly keys: readonly string[]; readonly waiting: number };
  /** A payload under one of our keys was truncated, foreign or hostile; it counted as a miss. */
  corrupt: { readonly key: string; readonly cause: unknown };
  /** The store failed. Reads went on from the database. */
  error: { readonly operation: string; readonly cause: unknown };
  /** A server of a store went down, came back, or has no memory left; also of a store that the program made. */
  server: { readonly server: string; readonly state: 'up' | 'full' | 'down'; readonly cause?: unknown };
  /** The store refused a value. Readers go to the database for it, without waiting for each other. */
  refused: { readonly cache: string; readonly key: string; readonly reason: RefusalReason; readonly cause: unknown };
  /** A load held its lease to the end in vain: the lease was gone when its answer was to be stored. */
  expired: { readonly cache: string; readonly key: string; readonly milliseconds: number };
  /** Something valid cannot be cached or watched, and is passed through. Published once per model and reason. */
  passthrough: { readonly model: string; readonly reason: string; readonly detail: string };
  /** The program removed the hooks of this package from a Sequelize instance; they were put back. */
  rehooked: { readonly hooks: readonly string[] };
}

/** Why a store did not take a value. */
export type RefusalReason = 'too-large' | 'out-of-memory' | 'refused';

/** Why a write voided everything that is cached of a table. */
export type WideReason =
  /** The rows that the statement changes cannot be told from it. */
  | 'unknown-rows'
  /** More rows than `bulkInvalidationLimit`. */
  | 'too-many-rows'
  /** A row moves to another primary key. */
  | 'primary-key-changed'
  /** `INSERT … ON DUPLICATE KEY UPDATE` and the like: which row is written is up to the database. */
  | 'upsert'
  /** TRUNCATE, DROP and other statements about the whole table. */
  | 'whole-table'
  /** Raw SQL, which is known only by the tables that it names. */
  | 'raw-sql'
  /** A foreign key's ON DELETE or ON UPDATE rule changes rows that could not be told. */
  | 'cascade'
  /** Rows could have joined those that were read before the statement. */
  | 'weak-isolation'
  /** The program asked for it: `clear`, `bumpVersion`, `invalidate`. */
  | 'requested';

/** A table of which a write voided everything. */
export interface WideInvalidation {
  /** The table's name, with its schema where it has one. */
  readonly table: string;
  /**
   * The kind of statement, such as 'UPDATE' or 'BULKDELETE', as Sequelize names it; the first word of raw SQL;
   * 'COMMIT' for many small statements of one transaction; 'MANUAL' for a call of the program's.
   */
  readonly statement: string;
  readonly reason: WideReason;
}

/** Why an answer was not stored. */
export type BypassReason =
  | 'transaction'
  | 'write-in-flight'
  | 'lease-wait'
  | 'store-unavailable'
  | 'undelivered-invalidation'
  | 'too-large'
  | 'out-of-memory'
  | 'refused'
  | 'not-serialisable'
  | 'find-hooks'
  | 'default-scope'
  /** The model, or an option of the Sequelize instance, cannot be cached: see the channel `passthrough`. */
  | 'passthrough'
  | 'disabled';

/** The name of one kind of event. */
export type FlashEventKind = keyof FlashEvents;

type Channels = { readonly [K in FlashEventKind]: Channel<unknown, FlashEvents[K]> };

const open = <K extends FlashEventKind>(kind: K): Channel<unknown, FlashEvents[K]> =>
  channel(`sequelize-flash:${kind}`) as Channel<unknown, FlashEvents[K]>;

/** The channels by kind; `channels.hit.subscribe(message => …)` listens. */
export const channels: Channels = {
  hit: open('hit'),
  miss: open('miss'),
  fill: open('fill'),
  bypass: open('bypass'),
  invalidate: open('invalidate'),
  load: open('load'),
  undelivered: open('undelivered'),
  delivered: open('delivered'),
  corrupt: open('corrupt'),
  error: open('error'),
  server: open('server'),
  refused: open('refused'),
  expired: open('expired'),
  passthrough: open('passthrough'),
  rehooked: open('rehooked'),
};

/** Publishes a message; `message` is called only when the channel has a subscriber. */
export function publish<K extends FlashEventKind>(kind: K, message: () => FlashEvents[K]): void {
  const target = channels[kind];
  if (target.hasSubscribers) target.publish(message());
}
