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
  /** A write voided these keys. `wide` lists the tables that were voided as a whole. */
  invalidate: { readonly keys: readonly string[]; readonly wide: readonly string[] };
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
  /** A server of the store went down or came back. */
  server: { readonly server: string; readonly state: 'up' | 'down'; readonly cause?: unknown };
}

/** Why an answer was not stored. */
export type BypassReason =
  | 'write-in-flight'
  | 'lease-wait'
  | 'store-unavailable'
  | 'undelivered-invalidation'
  | 'too-large'
  | 'not-serialisable'
  | 'find-hooks'
  | 'default-scope'
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
};

/** Publishes a message; `message` is called only when the channel has a subscriber. */
export function publish<K extends FlashEventKind>(kind: K, message: () => FlashEvents[K]): void {
  const target = channels[kind];
  if (target.hasSubscribers) target.publish(message());
}
