/**
 * What this process remembers of where lookups lead, so that it can look there at once. Only what the
 * store shows there says whether it is so.
 */
import { LRUCache } from 'lru-cache';
import type { Canonical } from '../entries/key-types.js';

/** What a hint is kept for: see `Lookup`. */
interface Asked {
  readonly cache: { readonly name: string };
  readonly place: Canonical;
}

/** "These key values lead to this row": checked against the row whenever it is used. */
export interface Hint {
  readonly rowKey: string;
  readonly primaryKey: readonly Canonical[];
  /** The row's own key values as they matched. */
  readonly rowValues: readonly Canonical[];
}

/**
 * What is remembered of where a cache's key values lead: what was used last, as in `Recent`. By the
 * caches' names, which stay the same when a program defines another model and all are bound anew.
 */
export class Hints {
  readonly #half: number;
  #young = new Map<string, Map<Canonical, Hint>>();
  #old: ReadonlyMap<string, Map<Canonical, Hint>> = new Map<string, Map<Canonical, Hint>>();
  #count = 0;

  /** @param most how many hints there may be */
  constructor(most: number) {
    this.#half = Math.ceil(most / 2);
  }

  get({ cache: { name }, place }: Asked): Hint | undefined {
    const hint = this.#young.get(name)?.get(place);
    if (hint !== undefined) return hint;
    const older = this.#old.get(name)?.get(place);
    if (older !== undefined) this.#put(name, place, older);
    return older;
  }

  set({ cache: { name }, place }: Asked, hint: Hint): void {
    this.#put(name, place, hint);
  }

  delete({ cache: { name }, place }: Asked): void {
    if (this.#young.get(name)?.delete(place) === true) this.#count -= 1;
    this.#old.get(name)?.delete(place);
  }

  #put(name: string, place: Canonical, hint: Hint): void {
    let hints = this.#young.get(name);
    if (hints?.has(place) !== true) {
      if (this.#count >= this.#half) {
        this.#old = this.#young;
        this.#young = new Map<string, Map<Canonical, Hint>>();
        this.#count = 0;
        hints = undefined;
      }
      this.#count += 1;
    }
    if (hints === undefined) {
      hints = new Map<Canonical, Hint>();
      this.#young.set(name, hints);
    }
    hints.set(place, hint);
  }
}

/** "These rows are in the list": as with a hint, only the look says whether they are. */
export interface ListHint {
  readonly rowKeys: readonly string[];
  /** The table's epoch when all of it was seen. */
  readonly epoch: string | undefined;
}

/** Hints of lists, by the lookups' ids. */
export type ListHints = LRUCache<string, ListHint>;

/** @param most how many hints there may be, on average */
export const createListHints = (most: number): ListHints =>
  new LRUCache({ maxSize: most * rowsPerHint, sizeCalculation: ({ rowKeys }) => rowKeys.length + 1 });

/** A hint of a list names so many rows, on average, before it takes the room of others. */
const rowsPerHint = 20;
