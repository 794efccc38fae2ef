/**
 * One model of one Sequelize instance as the cache knows it: table, columns, default scope, keys.
 *
 * Everything here is computed once, at set-up, and never changes.
 */
import type { Model, ModelStatic, Sequelize } from 'sequelize';
import { fingerprintOf } from '../entries/envelope.js';
import { keyOf, type KeySpace } from '../entries/keys.js';
import type { Canonical } from '../entries/key-types.js';
import { columnsOf, keyColumnsOf, primaryKeyOf, type Column, type KeyColumn } from './columns.js';
import { defaultScopeOf, openScope, type DefaultScope } from './default-scope.js';
import { Hydrator, ownValues } from './hydrate.js';

/** A table's own keys: what voids it as a whole, and what says that it was written to. */
export interface TableKeys {
  readonly generation: string;
  readonly epoch: string;
}

/** Why a model cannot be cached: its lookups are plain finds, and its writes void the whole table. */
export interface PassThrough {
  /** In a word, such as 'default-scope'. */
  readonly reason: string;
  /** What to do about it. */
  readonly detail: string;
}

/** What a cached model is made from. */
export interface CachedModelOptions {
  readonly sequelize: Sequelize;
  readonly keys: KeySpace;
  /** Attributes that caches are keyed on; stored whatever the scope leaves out. */
  readonly keyAttributes: ReadonlySet<string>;
  readonly version: string;
  readonly passThrough: PassThrough | undefined;
}

/** What the cache knows of a model. */
export class CachedModel {
  readonly name: string;
  readonly sequelize: Sequelize;
  /** Set where lookups of the model are plain finds. */
  readonly passThrough: PassThrough | undefined;
  /** Schema and table, the same in every model and process that uses the table. */
  readonly table: string;
  readonly columns: ReadonlyMap<string, Column>;
  readonly byField: ReadonlyMap<string, Column>;
  readonly primaryKey: readonly KeyColumn[];
  /** The database chooses the primary key. */
  readonly autoIncrement: boolean;
  readonly scope: DefaultScope;
  /** Attributes that a query for the cache asks for; `undefined` where it is what the scope has anyway. */
  readonly attributes: string[] | undefined;
  readonly hydrator: Hydrator;
  /** Stored columns in order of position. */
  readonly stored: readonly Column[];
  readonly tableKeys: TableKeys;
  /** The keys of the stamps that a row entry counts under. */
  readonly stamps: readonly [string];
  /** Changes with columns, types and scope: entries of an older build are misses. */
  readonly fingerprint: string;
  readonly #rowStem: string;
  readonly #positions: ReadonlyMap<string, number>;

  constructor(readonly model: ModelStatic<Model>, options: CachedModelOptions) {
    const { keys, keyAttributes, version, passThrough } = options;
    this.sequelize = options.sequelize;
    this.passThrough = passThrough;
    this.name = model.name;
    this.table = tableName(model);
    this.columns = columnsOf(model);
    this.byField = new Map([...this.columns.values()].map((column) => [column.field, column]));
    this.primaryKey = passThrough === undefined ? primaryKeyOf(model, this.columns) : keyColumnsOf(model, this.columns);
    this.autoIncrement = this.primaryKey.some(({ name }) => model.getAttributes()[name]?.autoIncrement === true);
    this.scope = passThrough === undefined ? defaultScopeOf(model) : openScope(model);
    const visible = this.scope.attributes;
    const needed = new Set([...visible, ...this.primaryKey.map(({ name }) => name), ...keyAttributes]);
    this.attributes = needed.size === visible.length ? undefined : [...needed];
    this.stored = [...needed].flatMap((name) => this.columns.get(name) ?? []);
    this.#positions = new Map(this.stored.map(({ name }, position) => [name, position]));
    this.hydrator = new Hydrator(model, this.stored, visible);
    this.tableKeys = { generation: keys.single('generation', this.table), epoch: keys.single('epoch', this.table) };
    this.stamps = [this.tableKeys.generation];
    this.#rowStem = keys.stem('row', this.table);
    this.fingerprint = fingerprintOf([
      this.table,
      version,
      this.stored.map(({ name, field, description }) => [name, field, description]),
      this.scope.description,
    ]);
  }

  /** The store key of the row with this primary key, given in canonical form. */
  rowKey(primaryKey: readonly Canonical[]): string {
    return keyOf(this.#rowStem, bucketsOf(this.primaryKey, primaryKey));
  }

  /** The position of a stored attribute in a row's cells. */
  position(attribute: string): number {
    const position = this.#positions.get(attribute);
    if (position === undefined) throw new RangeError(`${attribute} is not stored for ${this.name}`);
    return position;
  }

  /**
   * The key values of an instance's row in canonical form; `undefined` where one is not loaded or
   * not canonical.
   */
  keyValues(instance: Model, columns: readonly KeyColumn[]): readonly Canonical[] | undefined {
    const values = ownValues(instance);
    return canonicalValues(columns, (column) => values[column.name]);
  }

  /** The key values in a row's decoded values. */
  keyValuesAt(values: readonly unknown[], columns: readonly KeyColumn[]): readonly Canonical[] | undefined {
    const found = new Array<Canonical>(columns.length);
    for (let i = 0; i < columns.length; i += 1) {
      const { name, key } = columns[i] as KeyColumn;
      const value = key.canonical(values[this.position(name)]);
      if (value === undefined) return undefined;
      found[i] = value;
    }
    return found;
  }
}

/** Canonical values of some columns, `undefined` if one of them has none. */
export function canonicalValues(
  columns: readonly KeyColumn[],
  valueOf: (column: KeyColumn) => unknown,
): readonly Canonical[] | undefined {
  const found: Canonical[] = [];
  for (const column of columns) {
    const value = column.key.canonical(valueOf(column));
    if (value === undefined) return undefined;
    found.push(value);
  }
  return found;
}

/** The buckets of key values, for a key. */
export function bucketsOf(columns: readonly KeyColumn[], values: readonly Canonical[]): Canonical[] {
  const buckets: Canonical[] = new Array<Canonical>(columns.length);
  for (let i = 0; i < columns.length; i += 1) {
    const value = values[i] as Canonical;
    buckets[i] = value === null ? null : (columns[i] as KeyColumn).key.bucket(value);
  }
  return buckets;
}

/** Two lists of key values, compared exactly. */
export function sameValues(a: readonly unknown[], b: readonly unknown[]): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i += 1) if (a[i] !== b[i]) return false;
  return true;
}

/** The name of the table that a model (or a scoped or re-schemed subclass of it) reads and writes. */
export function tableName(model: ModelStatic<Model>): string {
  const name = model.getTableName() as unknown;
  if (typeof name === 'string') return name;
  const { schema, tableName: table } = name as { schema?: string; tableName: string };
  return schema === undefined || schema === '' ? table : `${schema}.${table}`;
}
