/**
 * A load, phase by phase: prepared (`Load`), with its leases (`LeasedLoad`), answered (`AnsweredLoad`);
 * and the flight, by which later readers share it.
 */
import type { Look } from '../coherence/affected.js';
import type { Seen, UncacheableReason } from '../entries/envelope.js';
import type { Canonical } from '../entries/key-types.js';
import type { StoreRefusedError } from '../errors.js';
import { publish, type BypassReason } from '../events.js';
import type { Hint } from './hints.js';
import { needsEpoch, type Answer, type Lookup } from './lookup.js';
import type { Renewal } from './renewal.js';

/** What no write may have changed since a query began. */
export interface Witness {
  readonly key: string;
  readonly text: string;
  readonly generation: string;
}

/** A load that runs in this process. */
export interface Flight {
  /** Undefined until the database is asked: until then, everybody may share it. */
  asked: { readonly witness: Witness | undefined } | undefined;
  /** The load that this one took the place of, because a write came between; it runs still. */
  readonly older: Flight | undefined;
  isOver: boolean;
  /** It waits for its turn to run code of the program. */
  isQueued: boolean;
  readonly outcome: Promise<Outcome>;
  settle(outcome: Outcome): void;
}

/** What a load found, so that each waiter can have an instance of its own. */
export type Outcome =
  | { readonly state: 'found'; readonly answer: Answer; copy(): Promise<Answer> }
  | { readonly state: 'failed'; readonly error: unknown }
  /** It came to nothing; look again. */
  | { readonly state: 'void' };

/** A load that is prepared. */
export interface Load {
  readonly lookup: Lookup;
  readonly flight: Flight;
  readonly target: string;
  /** What the look showed under `target` and under the table's generation. */
  readonly seen: Seen;
  /** What it showed under the cache's stamps. */
  readonly stampsSeen: readonly Seen[];
  /** The table's epoch; undefined if it was not looked at yet. */
  readonly epochSeen: Seen | undefined;
  readonly hint: Hint | undefined;
  readonly bypass: BypassReason | undefined;
}

/** A load that may ask the database now. */
export interface LeasedLoad extends Load {
  /** The stamps' text that a fill is made under. */
  readonly generation: string | undefined;
  /** Of these, the table's, under which its rows are filled. */
  readonly tableGeneration: string | undefined;
  /** The lease's text on `target`. */
  readonly lease: string | undefined;
  readonly epoch: string | undefined;
  /** The index entry as it was before the query, where the lease is on the row that it leads to. */
  readonly index: Seen | undefined;
  /** A look at the lease since it was placed, for its token. */
  readonly placed: Look | undefined;
}

/** A load with its answer. */
export interface AnsweredLoad extends LeasedLoad {
  readonly answer: Answer;
  /** The answer as it is stored, null for no row, undefined if it cannot be stored. */
  readonly cells: unknown;
  /** Why it cannot be stored, where that will be so for whoever asks next. */
  readonly unstorable: UncacheableReason | undefined;
  /** When the database was asked, in milliseconds of the monotonic clock. */
  readonly since: number;
  readonly renewal: Renewal;
}

/** What was sent to the store. */
export interface Sent {
  /** How it ends, which only few wait for. */
  readonly stored: Promise<unknown>;
  /** Primary keys of rows that came too late to be stored: they have to be read once more. */
  readonly rest: readonly (readonly Canonical[])[];
}

/** Nothing was to be stored. */
export const nothingSent: Sent = { stored: Promise.resolve(), rest: [] };

/** What a later reader must still see to share this load. */
export function witnessOf({ lookup, generation, lease, epoch, seen }: LeasedLoad): Witness | undefined {
  if (generation === undefined) return undefined;
  if (needsEpoch(lookup.cache)) {
    return epoch === undefined ? undefined : { key: lookup.cache.model.tableKeys.epoch, text: epoch, generation };
  }
  const text = lease ?? ('text' in seen ? seen.text : undefined);
  return text === undefined ? undefined : { key: lookup.key, text, generation };
}

/** Tells that the store did not take a value. */
export function noteRefused(lookup: Lookup, key: string, cause: StoreRefusedError): void {
  const { reason } = cause;
  lookup.cache.counters.noteRefusal(reason);
  publish('refused', () => ({ cache: lookup.cache.name, key, reason, cause }));
  // The answer of this lookup is not stored; of a list, one of its rows may not be, which is another matter.
  if (key === lookup.key) noteBypass(lookup, reason);
}

/** Tells that a lease was held in vain. */
export function noteExpired({ cache }: Lookup, key: string, milliseconds: number): void {
  cache.counters.expired += 1;
  publish('expired', () => ({ cache: cache.name, key, milliseconds }));
}

/** Tells that a lookup went past the cache. */
export function noteBypass({ cache }: Lookup, reason: BypassReason): void {
  cache.counters.noteBypass(reason);
  publish('bypass', () => ({ cache: cache.name, reason }));
}
