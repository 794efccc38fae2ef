/**
 * A cache class bound to a model of one Sequelize instance: key fields to columns, values to keys.
 *
 * Two kinds so far. A *simple* cache answers with the row that has the key values; it is stored as
 * a row entry by primary key, and as an index entry that leads to it. A *custom* cache answers with
 * what its own `getInstance` returns; it is stored as a result entry.
 */
import type { Model, Transaction } from 'sequelize';
import { fingerprintOf } from '../entries/envelope.js';
import { keyOf, type KeySpace } from '../entries/keys.js';
import type { Canonical } from '../entries/key-types.js';
import { bucketsOf, type CachedModel } from '../models/cached-model.js';
import type { KeyColumn } from '../models/columns.js';
import type { CacheStats } from '../types.js';
import type { KeyField } from './key-fields.js';

/** Counts since the process started. */
export class Counters {
  hits = 0;
  misses = 0;
  fills = 0;
  bypasses = 0;
  errors = 0;
  invalidations = 0;
  tableInvalidations = 0;

  /** The counts as they are now. */
  snapshot(): CacheStats {
    const { hits, misses, fills, bypasses, errors, invalidations, tableInvalidations } = this;
    return { hits, misses, fills, bypasses, errors, invalidations, tableInvalidations };
  }
}

/** What a cache class declares, with defaults filled in. */
export interface CacheDeclaration {
  readonly name: string;
  readonly fields: readonly KeyField[];
  /** Seconds. */
  readonly timeout: number;
  readonly version: string;
  readonly counters: Counters;
}

abstract class Bound {
  readonly name: string;
  readonly fields: readonly KeyField[];
  readonly columns: readonly KeyColumn[];
  readonly timeout: number;
  readonly counters: Counters;

  constructor(
    readonly model: CachedModel,
    declaration: CacheDeclaration,
  ) {
    this.name = declaration.name;
    this.fields = declaration.fields;
    this.columns = declaration.fields.flatMap(({ columns }) => columns);
    this.timeout = declaration.timeout;
    this.counters = declaration.counters;
  }

  /** The store key of key values in canonical form. */
  abstract keyFor(values: readonly Canonical[]): string;

  /** Changes with whatever makes an older build's entries wrong. */
  abstract readonly fingerprint: string;
}

/** A cache of "the row that has these key values". */
export class SimpleCache extends Bound {
  readonly kind = 'simple';
  readonly fingerprint: string;
  /** The key fields are the primary key: the row entry answers, there is no index entry. */
  readonly primary: boolean;
  /** At most one row has the same key values, unless one of these is null. */
  readonly unique: boolean;
  /** Several rows may have the same key values, so that the default scope's order chooses. */
  readonly hasChoice: boolean;
  readonly #stem: string;
  readonly #order: readonly number[];

  constructor(model: CachedModel, declaration: CacheDeclaration, keys: KeySpace) {
    super(model, declaration);
    const names = this.columns.map(({ name }) => name);
    const primaryNames = model.primaryKey.map(({ name }) => name);
    this.primary = names.length === primaryNames.length && primaryNames.every((name) => names.includes(name));
    this.unique = this.primary || isUnique(model, new Set(names));
    const attributes = model.model.getAttributes() as Readonly<Record<string, { readonly allowNull?: boolean } | undefined>>;
    this.hasChoice = !this.primary && (!this.unique || names.some((name) => attributes[name]?.allowNull !== false));
    // Index entries are keyed by column, not by class, so caches on the same fields share them.
    const sorted = [...names].sort();
    const target = this.primary ? primaryNames : sorted;
    this.#order = target.map((name) => names.indexOf(name));
    this.#stem = keys.stem('index', `${model.table}.${sorted.join('.')}`);
    this.fingerprint = this.primary
      ? model.fingerprint
      : fingerprintOf([model.fingerprint, sorted, declaration.version]);
  }

  keyFor(values: readonly Canonical[]): string {
    const ordered = this.#ordered(values);
    if (this.primary) return this.model.rowKey(ordered);
    return keyOf(this.#stem, bucketsOf(this.#order.map((at) => this.columns[at] as KeyColumn), ordered));
  }

  /** Values in the order of the primary key. Only where `primary`. */
  primaryKeyOf(values: readonly Canonical[]): readonly Canonical[] {
    return this.#ordered(values);
  }

  #ordered(values: readonly Canonical[]): readonly Canonical[] {
    return this.#order.length === 1 ? values : this.#order.map((at) => values[at] as Canonical);
  }
}

/** Computes the answer of a custom cache. */
export type Compute = (values: readonly Canonical[], transaction?: Transaction | null) => Promise<Model | null>;

/** A cache of what an overridden `getInstance` returns. */
export class CustomCache extends Bound {
  readonly kind = 'custom';
  readonly fingerprint: string;
  readonly #stem: string;

  constructor(
    model: CachedModel,
    declaration: CacheDeclaration,
    keys: KeySpace,
    readonly compute: Compute,
  ) {
    super(model, declaration);
    this.#stem = keys.stem('result', declaration.name);
    this.fingerprint = fingerprintOf([model.fingerprint, declaration.name, this.columns.map(({ name }) => name), declaration.version]);
  }

  keyFor(values: readonly Canonical[]): string {
    return keyOf(this.#stem, bucketsOf(this.columns, values));
  }
}

/** A cache of either kind. */
export type BoundCache = SimpleCache | CustomCache;

/** Whether the model says that at most one row has the same values in these attributes. */
function isUnique({ model }: CachedModel, names: ReadonlySet<string>): boolean {
  const attributes = model.getAttributes();
  const within = (fields: readonly string[]): boolean =>
    fields.length > 0 &&
    fields.every((field) => names.has(field) || [...names].some((name) => attributes[name]?.field === field));
  for (const name of names) {
    if (attributes[name]?.unique === true) return true;
  }
  const uniqueKeys = Object.values(
    (model as unknown as { readonly uniqueKeys?: Readonly<Record<string, { readonly fields: readonly string[] }>> }).uniqueKeys ?? {},
  );
  if (uniqueKeys.some(({ fields }) => within(fields))) return true;
  return (model.options.indexes ?? []).some(
    ({ unique, fields, type, where }) =>
      (unique === true || type === 'UNIQUE') &&
      where === undefined &&
      within((fields ?? []).map((field) => (typeof field === 'string' ? field : 'name' in field ? field.name : ''))),
  );
}
