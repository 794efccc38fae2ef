/** The words in which writes and the coherence protocol speak of entries. */

import type { Seen } from '../entries/envelope.js';

/** What one multi-get showed; `absent` for keys that it did not ask for. */
export type Look = (key: string) => Seen;

/** A table's own keys. */
export interface Table {
  /** The stamp that every value of the table was filled under. */
  readonly generation: string;
  /** The stamp that every write to the table removes. */
  readonly epoch: string;
}

/** The entries that a write changes: each key with the table that it belongs to. */
export type Affected = ReadonlyMap<string, Table>;

/** Keys that the store could not be told of, with the last cause. */
export interface Failed {
  readonly keys: readonly string[];
  readonly cause?: unknown;
}

/** What came of marking. */
export interface Marked {
  readonly failed: Failed;
  /** The markers as they were seen to stand, with the tokens for their removal. */
  readonly marked: ReadonlyMap<string, Seen>;
}
