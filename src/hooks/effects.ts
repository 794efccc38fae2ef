/**
 * Which entries a written row affects: rows as they were and as they are, to store keys.
 *
 * Row entries are known by primary key. Index and list entries check themselves against the row
 * entries, so only the key values that a row has *after* a write matter to them (an entry "no such
 * row", or one that does not lead to the row yet, may stand there). Results depend on the values
 * before and after.
 */
import type { Affected, Target } from '../coherence/affected.js';
import type { BoundModel } from '../caches/registry.js';
import type { Attributes, BoundCache } from '../caches/bound-cache.js';
import type { Canonical } from '../entries/key-types.js';
import { canonicalValues } from '../models/cached-model.js';
import type { WideInvalidation, WideReason } from '../events.js';
import type { KeyColumn } from '../models/columns.js';

/** The attributes that a statement sets; 'all' where that is not known, or the row comes or goes. */
export type SetAttributes = Attributes;

/** Values of a row by attribute. */
export type RowValues = (column: KeyColumn) => unknown;

/** Collects the entries that a write affects. */
export class Effects {
  readonly #affected = new Map<string, Target>();
  /** How many entries of each table. */
  readonly #sizes = new Map<string, number>();
  /** The tables that are void as a whole, by their generation. */
  readonly #wide = new Map<string, { readonly target: Target; readonly told: WideInvalidation }>();
  /** What is to be computed anew after the write, by key. */
  readonly #resets = new Map<string, Reset>();
  readonly #statement: string;

  /** @param statement the kind of statement, such as 'UPDATE', for what is told of it */
  constructor(statement: string) {
    this.#statement = statement;
  }

  /** What is collected so far. A table that is void as a whole needs no keys of its own. */
  get affected(): Affected {
    const all = new Map<string, Target>();
    for (const [generation, { target }] of this.#wide) all.set(generation, target);
    for (const [key, table] of this.#affected) if (!this.#wide.has(table.generation)) all.set(key, table);
    return all;
  }

  /** Whether nothing was collected. */
  get empty(): boolean {
    return this.#affected.size === 0 && this.#wide.size === 0;
  }

  /** The tables that are void as a whole, each with the first reason for it. */
  get wide(): readonly WideInvalidation[] {
    return Array.from(this.#wide.values(), ({ told }) => told);
  }

  /** What is to be computed anew after the write. */
  get resets(): readonly Reset[] {
    return [...this.#resets.values()];
  }

  /** Takes over what others collected. */
  addAll(other: Effects): void {
    for (const [key, target] of other.#affected) this.#add(key, target);
    for (const [generation, wide] of other.#wide) if (!this.#wide.has(generation)) this.#wide.set(generation, wide);
    for (const [key, reset] of other.#resets) this.#resets.set(key, reset);
  }

  /** The generations of the tables of which more than `most` entries were collected, one by one. */
  crowded(most: number): readonly string[] {
    return [...this.#sizes].filter(([generation, size]) => size > most && !this.#wide.has(generation)).map(([generation]) => generation);
  }

  /** Voids the whole table of a model. */
  table({ cached, all }: BoundModel, reason: WideReason): void {
    if (this.#wide.has(cached.tableKeys.generation)) return;
    this.#wide.set(cached.tableKeys.generation, { target: cached.tableKeys, told: { table: cached.table, statement: this.#statement, reason } });
    for (const { counters } of all) counters.noteWide(reason);
  }

  /** Voids one entry of a cache. */
  entry(cache: BoundCache, values: readonly Canonical[]): void {
    const last = cache.kind === 'result' ? cache.lastKeyFor(values) : undefined;
    const { tableKeys } = cache.model;
    this.#void(cache, values, last === undefined ? tableKeys : { ...tableKeys, last: { key: last, seconds: cache.allowtime } });
  }

  /** Voids the row entry of a primary key. */
  row({ cached, primary, resetsRows }: BoundModel, primaryKey: readonly Canonical[]): void {
    this.#void(primary, primary.valuesOfPrimaryKey(primaryKey), cached.tableKeys, resetsRows);
  }

  /**
   * Voids what depends on a row's values as they are after the write.
   * Resolves which caches could not be told, because a value is not known.
   */
  after(bound: BoundModel, set: SetAttributes, values: RowValues): readonly BoundCache[] {
    return bound.all.filter((cache) => dependsOnAfter(cache, set) && !this.#told(cache, values));
  }

  /** The same for results that depend on the values before the write. */
  before(bound: BoundModel, set: SetAttributes, values: RowValues): readonly BoundCache[] {
    return bound.all.filter((cache) => dependsOnBefore(cache, set) && !this.#told(cache, values));
  }

  #void(cache: BoundCache, values: readonly Canonical[], target: Target, resets = cache.invalidation === 'RESET'): void {
    const key = cache.keyFor(values);
    if (resets) this.#resets.set(key, { cache, values });
    if (this.#add(key, target)) cache.counters.invalidations += 1;
  }

  #add(key: string, target: Target): boolean {
    if (this.#affected.has(key) || this.#wide.has(target.generation)) return false;
    this.#affected.set(key, target);
    this.#sizes.set(target.generation, (this.#sizes.get(target.generation) ?? 0) + 1);
    return true;
  }

  #told(cache: BoundCache, values: RowValues): boolean {
    const known = canonicalValues(cache.columns, values);
    if (known === undefined) return false;
    this.entry(cache, known);
    return true;
  }
}

/** An answer to compute anew. */
export interface Reset {
  readonly cache: BoundCache;
  readonly values: readonly Canonical[];
}

/** Whether a write that sets these attributes of a row can change the cache's answer for its new key values. */
export function dependsOnAfter(cache: BoundCache, set: SetAttributes): boolean {
  // The row entry is voided by its primary key.
  return !(cache.kind === 'simple' && cache.primary) && dependsOn(cache, set);
}

/** The same for its old key values: an index or list entry is found out by the rows that it leads to. */
export const dependsOnBefore = (cache: BoundCache, set: SetAttributes): boolean => cache.kind === 'result' && dependsOn(cache, set);

function dependsOn({ columns, watched }: BoundCache, set: SetAttributes): boolean {
  if (set === 'all' || watched === 'all') return true;
  if (columns.some(({ name }) => set.has(name))) return true;
  for (const name of watched) if (set.has(name)) return true;
  return false;
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

/** Whether this process knows all that may be cached of a model: others may have bound what it could not. */
export const isKnown = ({ cached, failures }: BoundModel): boolean =>
  cached.passThrough === undefined && failures.every(({ kind }) => kind === 'cachedForeignKeys');
