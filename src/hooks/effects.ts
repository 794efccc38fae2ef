/**
 * Which entries a written row affects: rows as they were and as they are, to store keys.
 *
 * Row entries are known by primary key. Index entries check themselves against the row entry, so
 * only the key values that a row has *after* a write matter to them (an entry "no such row" or one
 * that leads to another row may stand there). Results of custom caches depend on the values before
 * and after.
 */
import type { Affected, Table } from '../coherence/affected.js';
import type { BoundModel } from '../caches/registry.js';
import type { BoundCache } from '../caches/bound-cache.js';
import type { Canonical } from '../entries/key-types.js';
import { canonicalValues } from '../models/cached-model.js';
import type { KeyColumn } from '../models/columns.js';

/** The attributes that a statement sets; 'all' where that is not known. */
export type SetAttributes = ReadonlySet<string> | 'all';

/** Values of a row by attribute. */
export type RowValues = (column: KeyColumn) => unknown;

/** Collects the entries that a write affects. */
export class Effects {
  readonly #affected = new Map<string, Table>();
  /** How many entries of each table. */
  readonly #sizes = new Map<string, number>();
  readonly #wide = new Map<string, Table>();

  /** What is collected so far. A table that is void as a whole needs no keys of its own. */
  get affected(): Affected {
    const all = new Map(this.#wide);
    for (const [key, table] of this.#affected) if (!this.#wide.has(table.generation)) all.set(key, table);
    return all;
  }

  /** Whether nothing was collected. */
  get empty(): boolean {
    return this.#affected.size === 0 && this.#wide.size === 0;
  }

  /** The generations of the tables that are void as a whole. */
  get wide(): readonly string[] {
    return [...this.#wide.keys()];
  }

  /** Takes over what others collected. */
  addAll(other: Effects): void {
    for (const [key, table] of other.#affected) this.#add(key, table);
    for (const [key, table] of other.#wide) this.#wide.set(key, table);
  }

  /** The generations of the tables of which more than `most` entries were collected, one by one. */
  crowded(most: number): readonly string[] {
    return [...this.#sizes].filter(([generation, size]) => size > most && !this.#wide.has(generation)).map(([generation]) => generation);
  }

  /** Voids the whole table of a model. */
  table({ cached, all }: BoundModel): void {
    if (this.#wide.has(cached.tableKeys.generation)) return;
    this.#wide.set(cached.tableKeys.generation, cached.tableKeys);
    for (const { counters } of all) {
      counters.invalidations += 1;
      counters.tableInvalidations += 1;
    }
  }

  /** Voids one entry of a cache. */
  entry(cache: BoundCache, values: readonly Canonical[]): void {
    if (this.#add(cache.keyFor(values), cache.model.tableKeys)) cache.counters.invalidations += 1;
  }

  /** Voids the row entry of a primary key. */
  row({ cached, primary }: BoundModel, primaryKey: readonly Canonical[]): void {
    if (this.#add(cached.rowKey(primaryKey), cached.tableKeys)) primary.counters.invalidations += 1;
  }

  /**
   * Voids what depends on a row's values as they are after the write.
   * Resolves which caches could not be told, because a value is not known.
   */
  after(bound: BoundModel, set: SetAttributes, values: RowValues): readonly BoundCache[] {
    return bound.all.filter((cache) => dependsOnAfter(cache, set) && !this.#told(cache, values));
  }

  /** The same for results that depend on the values before the write. */
  before(bound: BoundModel, values: RowValues): readonly BoundCache[] {
    return bound.all.filter((cache) => cache.kind === 'custom' && !this.#told(cache, values));
  }

  #add(key: string, table: Table): boolean {
    if (this.#affected.has(key) || this.#wide.has(table.generation)) return false;
    this.#affected.set(key, table);
    this.#sizes.set(table.generation, (this.#sizes.get(table.generation) ?? 0) + 1);
    return true;
  }

  #told(cache: BoundCache, values: RowValues): boolean {
    const known = canonicalValues(cache.columns, values);
    if (known === undefined) return false;
    this.entry(cache, known);
    return true;
  }
}

/** Whether a write that sets these attributes of a row can change the cache's answer for its new key values. */
export function dependsOnAfter(cache: BoundCache, set: SetAttributes): boolean {
  if (cache.kind === 'custom') return true;
  // The row entry is voided by its primary key.
  if (cache.primary) return false;
  if (set === 'all') return true;
  const { visibility, order } = cache.model.scope;
  return (
    cache.columns.some(({ name }) => set.has(name)) ||
    [...visibility].some((name) => set.has(name)) ||
    (cache.hasChoice && [...order].some((name) => set.has(name)))
  );
}

/**
 * A value that a statement writes, if the database is sure to store it as it is; else undefined,
 * and the row has to be read to know it.
 */
export function storedValue(column: KeyColumn, value: unknown): unknown {
  const canonical = column.key.canonical(value);
  if (canonical === undefined) return undefined;
  return canonical === null || column.key.storedAsGiven(canonical) ? value : undefined;
}

/** The model's instances' values, as they are written. */
export const writtenValues =
  (values: Readonly<Record<string, unknown>>, written: (attribute: string) => boolean): RowValues =>
  (column) =>
    written(column.name) ? storedValue(column, values[column.name]) : undefined;
