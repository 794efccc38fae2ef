/**
 * A load: what it began with, what it found, and who may share it.
 */
import type { Look } from '../coherence/affected.js';
import { joinedStamps, type Seen } from '../entries/envelope.js';
import { publish, type BypassReason } from '../events.js';
import type { Hint } from './hints.js';
import { needsEpoch, type Answer, type Lookup } from './lookup.js';

/** A load that runs in this process. */
export interface Flight {
  /** What no write may have changed since the query began; undefined when nothing is known. */
  witness: { readonly key: string; readonly text: string; readonly generation: string } | undefined;
  readonly outcome: Promise<Outcome>;
  settle(outcome: Outcome): void;
}

/** What a load found, so that each waiter can have an instance of its own. */
export type Outcome =
  | { readonly state: 'found'; readonly answer: Answer; copy(): Promise<Answer> }
  | { readonly state: 'failed'; readonly error: unknown }
  /** It came to nothing; look again. */
  | { readonly state: 'void' };

/** A load as it is prepared, run and stored. */
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
  /** When the last look before the query was made, in milliseconds of the monotonic clock. */
  since: number;
  /** The stamps' text that a fill is made under. */
  generation: string | undefined;
  /** Of these, the table's, under which its rows are filled. */
  tableGeneration: string | undefined;
  /** The lease's text on `target`. */
  lease: string | undefined;
  epoch: string | undefined;
  /** The index entry as it was before the query, where the lease is on the row that it leads to. */
  index: Seen | undefined;
  /** A look at the lease since it was placed, for its token. */
  placed: Look | undefined;
  readonly bypass: BypassReason | undefined;
}

/** What a load found. */
export interface Result {
  readonly answer: Answer;
  /** The answer as it is stored, null for no row, undefined if it cannot be stored. */
  readonly cells: unknown;
}

/** What was sent to the store: how it ends, which only few wait for. */
export interface Sent {
  readonly stored: Promise<unknown>;
}

/** Nothing was to be stored. */
export const nothingSent: Sent = { stored: Promise.resolve() };

/** What a later reader must still see to share this load. */
export function witnessOf({ lookup, generation, lease, epoch, seen }: Load): Flight['witness'] {
  if (generation === undefined) return undefined;
  if (needsEpoch(lookup.cache)) {
    return epoch === undefined ? undefined : { key: lookup.cache.model.tableKeys.epoch, text: epoch, generation };
  }
  const text = lease ?? ('text' in seen ? seen.text : undefined);
  return text === undefined ? undefined : { key: lookup.key, text, generation };
}

/** The stamps' text, if all are there. */
export function joined([first, second]: readonly Seen[]): string | undefined {
  if (first?.state !== 'stamp') return undefined;
  if (second === undefined) return first.text;
  return second.state === 'stamp' ? joinedStamps(first.text, second.text) : undefined;
}

/** Tells that a lookup went past the cache. */
export function noteBypass({ cache }: Lookup, reason: BypassReason): void {
  cache.counters.bypasses += 1;
  publish('bypass', () => ({ cache: cache.name, reason }));
}
