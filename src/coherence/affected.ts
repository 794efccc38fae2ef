/** The words in which writes and the coherence protocol speak of entries. */

import type { Seen } from '../entries/envelope.js';

/** What one multi-get showed; `absent` for keys that it did not ask for. */
export type Look = (key: string) => Seen;

/** What a look at many keys showed, and of which tables it is sure that no write was finished meanwhile. */
export interface Sight {
  readonly look: Look;
  /** The epoch that a table had all the time, by its key; undefined if it had several, or none. */
  readonly steady: (epoch: string) => string | undefined;
}

/** A table's own keys. */
export interface Table {
  /** The stamp that every value of the table was filled under. */
  readonly generation: string;
  /** The stamp that every write to the table removes. */
  readonly epoch: string;
}

/** What a write has to know of an entry that it changes. */
export interface Target extends Table {
  /** Where the outdated value is kept, and for how many seconds readers may answer with it. */
  readonly last?: { readonly key: string; readonly seconds: number };
}

/** The entries that a write changes, by key. */
export type Affected = ReadonlyMap<string, Target>;

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

/** Maximum number of keys that one load or write works on at the store at the same time: the store refuses what is too much at once, to others too. */
export const longestPart = 500;
