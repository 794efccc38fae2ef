/**
 * A cache class bound to a model of one Sequelize instance: key fields to columns, values to keys,
 * answers to what is stored of them.
 *
 * Three kinds. A *simple* cache answers with the row that has the key values; it is stored as a row
 * entry by primary key, and as an index entry that leads to it. A *list* cache answers with all such
 * rows; its entry names their primary keys, and each row is stored once, as a row entry. A *result*
 * cache answers with anything else: what a `getInstance` or `getResult` of the user's returns, a
 * count, whether there is a row; it is stored whole, as a result entry.
 *
 * Index and list entries are hints: they count only while the rows that they lead to have the key
 * values asked for. So it takes a write that gives a row these values to outdate one, and none that
 * takes them away. Results are outdated by both.
 */
import type { Model, Transaction } from 'sequelize';
import { fingerprintOf } from '../entries/envelope.js';
import { keyOf, type KeySpace } from '../entries/keys.js';
import type { Canonical } from '../entries/key-types.js';
import { CorruptPayload } from '../entries/codec.js';
import { bucketsOf, type CachedModel } from '../models/cached-model.js';
import type { KeyColumn } from '../models/columns.js';
import type { Row } from '../models/hydrate.js';
import type { Invalidation } from '../options.js';
import type { BypassReason, RefusalReason, WideReason } from '../events.js';
import type { CacheStats } from '../types.js';
import type { KeyField } from './key-fields.js';

/** How many entries it takes, about, until the rate of misses follows. */
const memory = 16;

/** Counts since the process started. */
export class Counters {
  hits = 0;
  misses = 0;
  fills = 0;
  bypasses = 0;
  errors = 0;
  invalidations = 0;
  tableInvalidations = 0;
  outdated = 0;
  /**
   * Of the last entries that this process had not heard of, how many were not there, from 0 to 1; the
   * more recent, the more they count.
   */
  newMissRate = 0;

  /** Notes whether an entry was there that this process had not heard of. */
  noteNew(wasThere: boolean): void {
    this.newMissRate += ((wasThere ? 0 : 1) - this.newMissRate) / memory;
  }

  /** How many of the invalidations were of the whole table, by reason. */
  readonly wide = new Map<WideReason, number>();
  readonly #bypassReasons = new Map<BypassReason, number>();
  readonly #refusals = new Map<RefusalReason, number>();
  expired = 0;

  /** Notes a read that went past the cache. */
  noteBypass(reason: BypassReason): void {
    this.bypasses += 1;
    if (reason === 'store-unavailable') this.errors += 1;
    this.#bypassReasons.set(reason, (this.#bypassReasons.get(reason) ?? 0) + 1);
  }

  /** Notes a value that the store refused. */
  noteRefusal(reason: RefusalReason): void {
    this.#refusals.set(reason, (this.#refusals.get(reason) ?? 0) + 1);
  }

  /** Notes that a write voided everything that is cached of the table. */
  noteWide(reason: WideReason): void {
    this.invalidations += 1;
    this.tableInvalidations += 1;
    this.wide.set(reason, (this.wide.get(reason) ?? 0) + 1);
  }

  /** The counts as they are now. */
  snapshot(): CacheStats {
    const { hits, misses, fills, bypasses, errors, expired, invalidations, tableInvalidations, outdated } = this;
    return {
      hits,
      misses,
      fills,
      bypasses,
      errors,
      expired,
      invalidations,
      tableInvalidations,
      outdated,
      bypassReasons: Object.fromEntries(this.#bypassReasons),
      refusals: Object.fromEntries(this.#refusals),
      tableInvalidationReasons: Object.fromEntries(this.wide),
    };
  }
}

/** What a cache class declares, with defaults filled in. */
export interface CacheDeclaration {
  readonly name: string;
  readonly fields: readonly KeyField[];
  /** Seconds. */
  readonly timeout: number;
  /** Seconds that "there is none" is kept. */
  readonly negativeTimeout: number;
  readonly version: string;
  readonly counters: Counters;
  readonly invalidation: Invalidation;
  /** Seconds that an outdated answer may be given; 0 for caches that never do. */
  readonly allowtime: number;
}

/** Attributes, or all of them. */
export type Attributes = ReadonlySet<string> | 'all';

/**
 * How answers are turned into what is stored and back. `content` is decoded, and becomes part of the
 * one answer that `present` makes of it.
 */
export interface AnswerCodec {
  /** @throws NotSerialisable */
  encode(answer: unknown): unknown;
  /** @throws CorruptPayload */
  decode(cells: unknown): unknown;
  present(content: unknown): unknown;
  /** Takes from an answer of the database what was read for the cache only. */
  conceal(answer: unknown): unknown;
}

abstract class Bound implements AnswerCodec {
  readonly name: string;
  readonly fields: readonly KeyField[];
  readonly columns: readonly KeyColumn[];
  readonly timeout: number;
  readonly negativeTimeout: number;
  readonly counters: Counters;
  readonly invalidation: Invalidation;
  readonly allowtime: number;
  /** Answers with single rows of the model, by primary key. Set when the model is bound. */
  rows: SimpleCache | undefined = undefined;

  constructor(
    readonly model: CachedModel,
    declaration: CacheDeclaration,
  ) {
    this.name = declaration.name;
    this.fields = declaration.fields;
    this.columns = declaration.fields.flatMap(({ columns }) => columns);
    this.timeout = declaration.timeout;
    this.negativeTimeout = declaration.negativeTimeout;
    this.counters = declaration.counters;
    this.invalidation = declaration.invalidation;
    this.allowtime = declaration.allowtime;
  }

  /** The store key of key values in canonical form. */
  abstract keyFor(values: readonly Canonical[]): string;

  /** Changes with whatever makes an older build's entries wrong. */
  abstract readonly fingerprint: string;

  /** The keys of the stamps that an entry counts under: one or two. */
  abstract readonly stamps: readonly [string, second?: string];

  /** The attributes a change of which can give the cache another answer, beside those it is keyed on. */
  abstract readonly watched: Attributes;

  /** "There is none" is an error of `resolve`. */
  abstract readonly rejectsNull: boolean;

  abstract encode(answer: unknown): unknown;
  abstract decode(cells: unknown): unknown;
  abstract present(content: unknown): unknown;
  abstract conceal(answer: unknown): unknown;
}

/** A cache of "the row that has these key values". */
export class SimpleCache extends Bound {
  readonly kind = 'simple';
  readonly rejectsNull = true;
  readonly fingerprint: string;
  readonly stamps: readonly [string];
  readonly watched: ReadonlySet<string>;
  /** The key fields are the primary key: the row entry answers, there is no index entry. */
  readonly primary: boolean;
  /** At most one row has the same key values, unless one of these is null. */
  readonly unique: boolean;
  /** At most one row has the same key values. */
  readonly single: boolean;
  readonly #stem: string;
  readonly #order: readonly number[];

  constructor(model: CachedModel, declaration: CacheDeclaration, keys: KeySpace) {
    super(model, declaration);
    const names = this.columns.map(({ name }) => name);
    const primaryNames = model.primaryKey.map(({ name }) => name);
    const { primary, unique } = isUnique(model, this.columns);
    this.primary = primary;
    this.unique = unique;
    const attributes = model.model.getAttributes() as Readonly<Record<string, { readonly allowNull?: boolean } | undefined>>;
    // Where several rows may have the same key values, the default scope's order chooses.
    this.single = this.primary || (this.unique && names.every((name) => attributes[name]?.allowNull === false));
    this.watched = this.single ? model.scope.visibility : new Set([...model.scope.visibility, ...model.scope.order]);
    // Index entries are keyed by column, not by class, so caches on the same fields share them.
    const sorted = [...names].sort();
    const target = this.primary ? primaryNames : sorted;
    this.#order = target.map((name) => names.indexOf(name));
    this.#stem = keys.stem('index', `${model.table}.${sorted.join('.')}`);
    this.fingerprint = this.primary
      ? model.fingerprint
      : fingerprintOf([model.fingerprint, sorted, declaration.version, ...(this.unique ? [] : ['primary key last'])]);
    this.stamps = [model.tableKeys.generation];
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

  /** A primary key's values in the order of the key fields. Only where `primary`. */
  valuesOfPrimaryKey(primaryKey: readonly Canonical[]): readonly Canonical[] {
    if (this.#order.length === 1) return primaryKey;
    const values: Canonical[] = [];
    for (const [at, to] of this.#order.entries()) values[to] = primaryKey[at] as Canonical;
    return values;
  }

  #ordered(values: readonly Canonical[]): readonly Canonical[] {
    return this.#order.length === 1 ? values : this.#order.map((at) => values[at] as Canonical);
  }

  encode(answer: unknown): unknown {
    return encodeInstance(this.model, answer);
  }

  decode(cells: unknown): unknown {
    return decodeInstance(this.model, cells);
  }

  present(content: unknown): unknown {
    return presentInstance(this.model, content);
  }

  conceal(answer: unknown): unknown {
    return concealInstance(this.model, answer);
  }
}

/**
 * Computes the answer of a cache that is not a simple one.
 * @param transaction undefined for a load
 * @param as what is passed through answers as plain finds do, or with instances
 */
export type Compute = (values: readonly Canonical[], transaction?: Transaction | null, as?: 'plain' | 'instance') => Promise<unknown>;

/**
 * Computes the answers of several lookups by one statement, outside of any transaction.
 * @throws NotTogether where they are to be computed one by one
 */
export type ComputeMany = (asks: readonly (readonly Canonical[])[]) => Promise<readonly unknown[]>;

/** How the answers of a cache are computed. */
export interface Computing {
  readonly compute: Compute;
  /** Left out where each takes a statement of its own. */
  readonly computeMany?: ComputeMany | undefined;
  /** They are computed by a method of the program. */
  readonly isOwn?: true;
}

/** Which rows a list has beside those with other key values, and in which order. */
export interface ListShape {
  /** The attributes that it is ordered by. */
  readonly order: ReadonlySet<string>;
  /** Says all of it, for fingerprints. */
  readonly description: string;
}

/** A cache of "the rows that have these key values". */
export class ListCache extends Bound {
  readonly kind = 'list';
  readonly rejectsNull = false;
  readonly fingerprint: string;
  readonly stamps: readonly [string, string];
  readonly watched: ReadonlySet<string>;
  /** Resolves to the instances. */
  readonly compute: Compute;
  readonly computeMany: ComputeMany | undefined;
  readonly #stem: string;

  constructor(model: CachedModel, declaration: CacheDeclaration, keys: KeySpace, shape: ListShape & Computing) {
    super(model, declaration);
    this.compute = shape.compute;
    this.computeMany = shape.computeMany;
    this.#stem = keys.stem('list', declaration.name);
    this.watched = new Set([...model.scope.visibility, ...model.scope.order, ...shape.order]);
    this.fingerprint = fingerprintOf([model.fingerprint, this.columns.map(({ name }) => name), shape.description, declaration.version]);
    this.stamps = [model.tableKeys.generation, keys.single('version', declaration.name)];
  }

  keyFor(values: readonly Canonical[]): string {
    return keyOf(this.#stem, bucketsOf(this.columns, values));
  }

  encode(answer: unknown): unknown {
    return encodeList(this.model, answer);
  }

  decode(cells: unknown): unknown {
    return decodeList(this.model, cells);
  }

  present(content: unknown): unknown {
    return presentList(this.model, content);
  }

  conceal(answer: unknown): unknown {
    return concealList(this.model, answer);
  }
}

/** What a result cache stores, and what its answers depend on. */
export interface ResultShape extends AnswerCodec, Computing {
  readonly watched: Attributes;
  /** "There is none" is an error of `resolve`. */
  readonly rejectsNull: boolean;
  /** It is what a find returns, and is a plain find where such are not cached. */
  readonly isFind: boolean;
  /** Says what the result is, for fingerprints. */
  readonly description: string;
}

/** A cache of whatever can be computed from the rows that have these key values. */
export class ResultCache extends Bound {
  readonly kind = 'result';
  readonly fingerprint: string;
  readonly stamps: readonly [string, second?: string];
  readonly watched: Attributes;
  readonly compute: Compute;
  readonly computeMany: ComputeMany | undefined;
  readonly rejectsNull: boolean;
  readonly isFind: boolean;
  /** The answers are computed by a method of the program. */
  readonly isOwn: boolean;
  readonly #shape: ResultShape;
  readonly #stem: string;
  readonly #lastStem: string;

  constructor(model: CachedModel, declaration: CacheDeclaration, keys: KeySpace, shape: ResultShape) {
    super(model, declaration);
    this.#shape = shape;
    this.compute = shape.compute;
    this.computeMany = shape.computeMany;
    this.watched = shape.watched;
    this.rejectsNull = shape.rejectsNull;
    this.isFind = shape.isFind;
    this.isOwn = shape.isOwn === true;
    this.#stem = keys.stem('result', declaration.name);
    this.#lastStem = keys.stem('last', declaration.name);
    this.fingerprint = fingerprintOf([
      model.fingerprint,
      declaration.name,
      this.columns.map(({ name }) => name),
      shape.description,
      declaration.version,
    ]);
    const version = keys.single('version', declaration.name);
    // What only its timeout ends is not ended by the table's writes either.
    this.stamps = declaration.invalidation === 'OFF' ? [version] : [model.tableKeys.generation, version];
  }

  keyFor(values: readonly Canonical[]): string {
    return keyOf(this.#stem, bucketsOf(this.columns, values));
  }

  /** Where the value that a write has outdated is kept; `undefined` unless the cache answers with it. */
  lastKeyFor(values: readonly Canonical[]): string | undefined {
    return this.allowtime === 0 ? undefined : keyOf(this.#lastStem, bucketsOf(this.columns, values));
  }

  encode(answer: unknown): unknown {
    return this.#shape.encode(answer);
  }

  decode(cells: unknown): unknown {
    return this.#shape.decode(cells);
  }

  present(content: unknown): unknown {
    return this.#shape.present(content);
  }

  conceal(answer: unknown): unknown {
    return this.#shape.conceal(answer);
  }
}

/** A cache of any kind. */
export type BoundCache = SimpleCache | ListCache | ResultCache;

/** An instance, or null, as a row's cells. */
export const instanceCodec = (model: CachedModel): AnswerCodec => ({
  encode: (answer) => encodeInstance(model, answer),
  decode: (cells) => decodeInstance(model, cells),
  present: (content) => presentInstance(model, content),
  conceal: (answer) => concealInstance(model, answer),
});

/** Instances as lists of cells. */
export const listCodec = (model: CachedModel): AnswerCodec => ({
  encode: (answer) => encodeList(model, answer),
  decode: (cells) => decodeList(model, cells),
  present: (content) => presentList(model, content),
  conceal: (answer) => concealList(model, answer),
});

function encodeInstance({ hydrator }: CachedModel, answer: unknown): unknown {
  return answer === null ? null : hydrator.dehydrate(answer as Model);
}

function decodeInstance({ hydrator }: CachedModel, cells: unknown): unknown {
  return cells === null ? null : hydrator.row(cells);
}

function presentInstance({ hydrator }: CachedModel, content: unknown): unknown {
  return content === null ? null : hydrator.instance(content as Row);
}

function concealInstance({ hydrator }: CachedModel, answer: unknown): unknown {
  return answer === null ? null : hydrator.conceal(answer as Model);
}

function encodeList({ hydrator }: CachedModel, answer: unknown): unknown {
  return (answer as readonly Model[]).map((instance) => hydrator.dehydrate(instance));
}

function decodeList({ hydrator }: CachedModel, cells: unknown): unknown {
  if (!Array.isArray(cells)) throw new CorruptPayload('a list of another shape');
  return cells.map((row) => hydrator.row(row));
}

function presentList({ hydrator }: CachedModel, content: unknown): unknown {
  return hydrator.instances(content as readonly Row[]);
}

function concealList({ hydrator }: CachedModel, answer: unknown): unknown {
  // With `query: { plain: true }` a find for many answers with one.
  return Array.isArray(answer) ? (answer as readonly Model[]).map((instance) => hydrator.conceal(instance)) : answer === null ? null : hydrator.conceal(answer as Model);
}

/** Whether the model says that at most one row has the same values in these columns, and whether they are its primary key. */
export function isUnique(cached: CachedModel, columns: readonly KeyColumn[]): { readonly primary: boolean; readonly unique: boolean } {
  const { primaryKey } = cached;
  const names = new Set(columns.map(({ name }) => name));
  const primary = names.size === primaryKey.length && primaryKey.every(({ name }) => names.has(name));
  return { primary, unique: primary || hasUniqueKey(cached, names) };
}

function hasUniqueKey({ model, byField }: CachedModel, names: ReadonlySet<string>): boolean {
  const attributes = model.getAttributes();
  const columns = new Set([...names].map((name) => attributes[name]?.field ?? name));
  const within = (fields: readonly string[]): boolean => fields.length > 0 && fields.every((field) => columns.has(field));
  for (const name of names) {
    if (attributes[name]?.unique === true) return true;
  }
  const uniqueKeys = Object.values(
    (model as unknown as { readonly uniqueKeys?: Readonly<Record<string, { readonly fields: readonly string[] }>> }).uniqueKeys ?? {},
  );
  if (uniqueKeys.some(({ fields }) => within(fields))) return true;
  // Sequelize takes the names in `indexes` for columns. Where the table has none of a name, an attribute is meant.
  const columnOf = (name: string): string => (byField.has(name) ? name : (attributes[name]?.field ?? name));
  return (model.options.indexes ?? []).some(
    ({ unique, fields, type, where }) =>
      (unique === true || type === 'UNIQUE') &&
      where === undefined &&
      within((fields ?? []).map((field) => columnOf(typeof field === 'string' ? field : 'name' in field ? field.name : ''))),
  );
}
