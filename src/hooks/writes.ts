/** From a statement's options to what it will write: the plan that markers and reads follow. */
import { Op, QueryTypes, type Model, type ModelStatic, type Transaction, type WhereOptions } from 'sequelize';
import type { BoundCache } from '../caches/bound-cache.js';
import type { BoundModel, Registry } from '../caches/registry.js';
import type { Canonical } from '../entries/key-types.js';
import type { WideReason } from '../events.js';
import { canonicalValues } from '../models/cached-model.js';
import { columnsOf, isKeyColumn, type Column, type KeyColumn } from '../models/columns.js';
import { ownValues } from '../models/hydrate.js';
import { needsGapLocks, reachedBy, voidReached, type CascadePlan, type Change } from './cascades.js';
import { dependsOnAfter, dependsOnBefore, Effects, isKnown, storedValue, writtenValues, type SetAttributes } from './effects.js';

/** The options of a statement, as Sequelize hands them to `beforeQuery`. */
export interface StatementOptions {
  readonly type?: string;
  readonly model?: ModelStatic<Model>;
  readonly instance?: Model;
  readonly fields?: unknown;
  readonly where?: unknown;
  readonly limit?: unknown;
  readonly transaction?: Transaction | null;
  readonly completesTransaction?: boolean;
  readonly truncate?: boolean;
  readonly increment?: unknown;
  /** Set by the models' methods, not by `queryInterface`. */
  readonly hooks?: unknown;
  readonly updateOnDuplicate?: unknown;
  readonly ignoreDuplicates?: unknown;
  readonly [bulkInstances]?: readonly Model[];
  readonly [writtenColumns]?: readonly string[];
  readonly [bulkCondition]?: BulkCondition;
}

/** Under this key the instances of a `bulkCreate` travel from its hook to its statement. */
export const bulkInstances = Symbol('sequelize-flash.bulkInstances');

/** Under this key the columns that a call of the query interface sets travel to its statement. */
export const writtenColumns = Symbol('sequelize-flash.writtenColumns');

/** Under this key the condition of a bulk update travels to its statement. */
export const bulkCondition = Symbol('sequelize-flash.bulkCondition');

/**
 * A bulk update's condition. Of a paranoid `destroy` the options tell the caller's only, not that rows
 * that were deleted before are left alone. A class, since Sequelize copies what plain objects hold.
 */
export class BulkCondition {
  constructor(readonly where: WhereOptions | undefined) {}
}

/** What a statement will do to the rows of one model. */
export interface ModelPlan {
  readonly bound: BoundModel;
  readonly set: SetAttributes;
  /** The rows that it changes, where they are known. */
  readonly primaryKeys: readonly (readonly Canonical[])[] | undefined;
  /** The condition that says which rows it changes, in column names. */
  readonly where: WhereOptions | undefined;
  /** Rows have to be read before the statement: which they are, or the key values that they leave. */
  readonly readBefore: boolean;
  /** Rows have to be read after the statement: key values that only the database knows. */
  readonly readAfter: boolean;
  /** Instances that are inserted and whose primary key, or other values, the database chooses. */
  readonly inserted: readonly Model[];
}

/** What a statement will do to the cache. */
export interface WritePlan {
  /** What is known before it runs. */
  readonly effects: Effects;
  readonly models: readonly ModelPlan[];
  /** What it makes the database change in other tables, as far as that has to be read. */
  readonly cascade: CascadePlan | undefined;
  /** It commits the transaction that it runs in. */
  readonly commits: boolean;
  /** It removes rows. */
  readonly deletes: boolean;
  /** It changes only so many of the rows that its condition names. */
  readonly limited: boolean;
}

const writes: ReadonlySet<string | undefined> = new Set([
  QueryTypes.INSERT,
  QueryTypes.UPDATE,
  QueryTypes.UPSERT,
  QueryTypes.DELETE,
  QueryTypes.BULKUPDATE,
  QueryTypes.BULKDELETE,
]);

/** Whether statements of this type write. */
export const isWrite = (type: string | undefined): boolean => writes.has(type);

/** Whether a statement is TRUNCATE. A paranoid model's is an UPDATE, unless it is forced. */
export const isTruncate = ({ truncate, type }: StatementOptions): boolean => truncate === true && type !== QueryTypes.BULKUPDATE;

/** Whether the rows that a statement changes are known by its condition only. */
export const byCondition = ({ models, cascade }: WritePlan): boolean =>
  (cascade !== undefined && cascade.asked === undefined) || models.some(({ readBefore, primaryKeys }) => readBefore && primaryKeys === undefined);

/** Whether rows have to be read, before the statement or after it. */
export const readsRows = ({ models, cascade }: WritePlan): boolean =>
  cascade !== undefined || models.some(({ readBefore, readAfter }) => readBefore || readAfter);

/** Voids the tables of a plan: the rows could not be read. */
export function voidRowsOf({ effects, models, cascade }: WritePlan): void {
  for (const { bound } of models) effects.table(bound, 'unknown-rows');
  if (cascade !== undefined) voidReached(cascade, effects);
}

/** The plan of a statement whose rows cannot be read: voids their tables instead. */
export function withoutReads(plan: WritePlan): WritePlan {
  if (!readsRows(plan)) return plan;
  voidRowsOf(plan);
  return { ...plan, models: [], cascade: undefined };
}

/** The plan for a statement; `undefined` if it writes nothing that is cached. */
export function planOf(options: StatementOptions, registry: Registry, rowLimit: number): WritePlan | undefined {
  const { instance, type } = options;
  // The row of a through model that is created with an include names the included model.
  const model = (instance?.constructor as ModelStatic<Model> | undefined) ?? options.model;
  if (model === undefined || !writes.has(type)) return undefined;
  const effects = new Effects(type ?? '');
  const bounds = registry.ofTable(model);
  const deletes = type === QueryTypes.DELETE || type === QueryTypes.BULKDELETE;
  const cascade = planCascade(options, model, { registry, effects, rowLimit });
  const models: ModelPlan[] = [];
  for (const bound of bounds) {
    const plan = isKnown(bound) ? planModel(options, bound, effects, rowLimit) : 'unknown-rows';
    if (typeof plan === 'string') effects.table(bound, plan);
    else models.push(plan);
  }
  if (effects.empty && models.length === 0 && cascade === undefined) return undefined;
  return { effects, models, cascade, commits: isTruncate(options), deletes, limited: options.limit != null };
}

/** What a statement does to one model's rows; the reason where that cannot be told row by row. */
function planModel(
  options: StatementOptions,
  bound: BoundModel,
  effects: Effects,
  rowLimit: number,
): ModelPlan | WideReason {
  const { type, instance, fields } = options;
  if (options.truncate === true) return 'whole-table';
  if (type === QueryTypes.UPSERT) return 'upsert';
  if (type === QueryTypes.INSERT) {
    const instances = instance === undefined ? options[bulkInstances] : [instance];
    const merges = options.updateOnDuplicate !== undefined || Boolean(options.ignoreDuplicates);
    // Existing rows may be changed that nothing names, or the statement hides what it inserts.
    if (merges) return 'upsert';
    if (instances === undefined) return 'unknown-rows';
    if (instance === undefined && instances.length > rowLimit) return 'too-many-rows';
    const plan = planInsert(bound, instances, Array.isArray(fields) ? new Set(fields as string[]) : 'all', effects);
    // Which rows a bulk insert made is known only after its hooks.
    return plan.readAfter && instance === undefined ? 'unknown-rows' : plan;
  }
  if (instance !== undefined && type === QueryTypes.UPDATE && Array.isArray(fields) && options.increment === undefined) {
    return planUpdate(bound, instance, new Set(fields as string[]), effects);
  }
  if (instance !== undefined && type === QueryTypes.DELETE) {
    const primaryKey = bound.cached.keyValues(instance, bound.cached.primaryKey);
    if (primaryKey === undefined) return 'unknown-rows';
    return planRows(bound, 'all', [primaryKey], undefined, effects, true);
  }
  const where = conditionOf(options);
  const deletes = type === QueryTypes.BULKDELETE || type === QueryTypes.DELETE;
  const set = deletes ? 'all' : attributesSet(options, bound);
  // A row that moves to another primary key may have been missing there.
  if (set instanceof Set && bound.cached.primaryKey.some(({ name }) => set.has(name))) return 'primary-key-changed';
  const primaryKeys = primaryKeysOf(where, bound, rowLimit);
  if (primaryKeys === undefined && !readsAlike(options, bound)) return 'unknown-rows';
  // With a limit of 0 no row is read before a bulk write. An instance is one row, and is named.
  const most = instance === undefined ? rowLimit : Math.max(rowLimit, 1);
  if ((primaryKeys?.length ?? 1) > most) return 'too-many-rows';
  return planRows(bound, set, primaryKeys, where, effects, deletes);
}

/** The condition by which a bulk statement finds its rows, in column names. */
const conditionOf = (options: StatementOptions): WhereOptions | undefined =>
  options[bulkCondition] === undefined ? (options.where as WhereOptions | undefined) : options[bulkCondition].where;

/** The attributes that a bulk update or an increment sets. */
function attributesSet({ type, fields, [writtenColumns]: columns }: StatementOptions, { cached }: BoundModel): SetAttributes {
  if (columns !== undefined) return new Set(columns.map((column) => cached.byField.get(column)?.name ?? column));
  return type === QueryTypes.BULKUPDATE && Array.isArray(fields) ? new Set(fields as string[]) : 'all';
}

function planInsert(
  bound: BoundModel,
  instances: readonly Model[],
  written: SetAttributes,
  effects: Effects,
): ModelPlan {
  const { cached } = bound;
  const unknown: Model[] = [];
  let readAfter = false;
  for (const instance of instances) {
    const values = ownValues(instance);
    // What is not written is the database's default.
    const known = writtenValues(values, (name) => written === 'all' || written.has(name));
    if (effects.after(bound, 'all', known).length > 0) readAfter = true;
    const primaryKey = canonicalValues(cached.primaryKey, (column) => storedValue(column, values[column.name] ?? undefined));
    if (primaryKey === undefined) unknown.push(instance);
    else effects.row(bound, primaryKey);
  }
  return {
    bound,
    set: 'all',
    primaryKeys: undefined,
    where: undefined,
    readBefore: false,
    readAfter,
    inserted: readAfter ? instances : unknown,
  };
}

function planUpdate(
  bound: BoundModel,
  instance: Model,
  set: ReadonlySet<string>,
  effects: Effects,
): ModelPlan | WideReason {
  const { cached } = bound;
  const primaryKey = cached.keyValues(instance, cached.primaryKey);
  if (primaryKey === undefined) {
    return 'unknown-rows';
  }
  // What the statement sets is known; what it leaves may differ from what the instance holds.
  const hints = { ...bound, all: bound.all.filter(({ kind }) => kind !== 'result') };
  const unknown = effects.after(hints, set, writtenValues(ownValues(instance), (name) => set.has(name)));
  const plan = planRows(bound, set, [primaryKey], undefined, effects);
  const moved = bound.all.some((cache) => dependsOnBefore(cache, set) && cache.columns.some(({ name }) => set.has(name)));
  return { ...plan, readAfter: unknown.length > 0 || moved };
}

/**
 * A statement that changes or removes rows that are there.
 * @param removes the rows are gone afterwards
 */
function planRows(
  bound: BoundModel,
  set: SetAttributes,
  primaryKeys: readonly (readonly Canonical[])[] | undefined,
  where: WhereOptions | undefined,
  effects: Effects,
  removes = false,
): ModelPlan {
  for (const primaryKey of primaryKeys ?? []) effects.row(bound, primaryKey);
  // Of a cache of the whole table there is one entry: no row has to be known for it.
  const after = bound.all.filter((cache) => !removes && dependsOnAfter(cache, set));
  const before = bound.all.filter((cache) => dependsOnBefore(cache, set));
  for (const cache of [...after, ...before]) if (cache.columns.length === 0) effects.entry(cache, []);
  const needsRows = ({ columns }: BoundCache): boolean => columns.length > 0;
  return {
    bound,
    set,
    primaryKeys,
    where,
    readBefore: primaryKeys === undefined || before.some(needsRows),
    readAfter: after.some(needsRows),
    inserted: [],
  };
}

/** The primary keys that a condition limits the rows to; `undefined` if it does not name them. */
function primaryKeysOf(where: unknown, { cached }: BoundModel, most: number): readonly (readonly Canonical[])[] | undefined {
  let keys: readonly (readonly Canonical[])[] = [[]];
  for (const column of cached.primaryKey) {
    const values = valuesNamedIn(where, column);
    if (values === undefined) return undefined;
    // Every combination; of many, the rows that are there are fewer.
    if (keys.length > 1 && keys.length * values.length > most) return undefined;
    keys = keys.flatMap((key) => values.map((value) => [...key, value]));
  }
  return cached.primaryKey.length === 0 ? undefined : keys;
}

/** The values that a condition limits a column to; `undefined` if it does not list them. */
function valuesNamedIn(where: unknown, column: KeyColumn): readonly Canonical[] | undefined {
  if (typeof where !== 'object' || where === null) return undefined;
  if (Object.hasOwn(where, column.field)) {
    const listed = listedIn(Reflect.get(where, column.field));
    const values = listed?.map((one) => canonicalValues([column], () => (one === null ? undefined : one))?.[0]);
    if (values?.every((value) => value !== undefined) === true) return values;
  }
  const parts: unknown = Reflect.get(where, Op.and);
  if (!Array.isArray(parts)) return undefined;
  for (const part of parts) {
    const values = valuesNamedIn(part, column);
    if (values !== undefined) return values;
  }
  return undefined;
}

/** The values of a condition on one column: `1`, `[1, 2]`, `{ [Op.eq]: 1 }` or `{ [Op.in]: [1, 2] }`. */
function listedIn(condition: unknown): readonly unknown[] | undefined {
  if (Array.isArray(condition)) return condition as readonly unknown[];
  if (!isPlainObject(condition)) return [condition];
  const [operator, ...more] = Reflect.ownKeys(condition);
  if (operator === undefined || more.length > 0) return undefined;
  const value: unknown = Reflect.get(condition, operator);
  if (operator === Op.eq) return [value];
  return operator === Op.in && Array.isArray(value) ? (value as readonly unknown[]) : undefined;
}

/**
 * Whether a SELECT of ours with the statement's condition finds the rows that the statement finds.
 * Sequelize formats values in three ways: typed in SELECT and DELETE, as bound parameters in
 * UPDATE, untyped in increments and in what `queryInterface` sends. They agree only where each
 * value is of its column's own type: `WHERE name = 0` with a number matches every name.
 */
function readsAlike(options: StatementOptions, { cached }: BoundModel): boolean {
  const { increment, hooks } = options;
  const where = conditionOf(options);
  if (increment !== undefined || typeof hooks !== 'boolean') return false;
  return where === undefined || isPlainCondition(where, (name) => cached.byField.get(name) ?? cached.columns.get(name));
}

/** Whether all values in a condition are of their columns' types. */
function isPlainCondition(condition: unknown, columnOf: (name: string) => Column | undefined): boolean {
  if (Array.isArray(condition)) return condition.every((part) => isPlainCondition(part, columnOf));
  if (!isPlainObject(condition)) return false;
  return Reflect.ownKeys(condition).every((key) => {
    const value: unknown = Reflect.get(condition, key);
    if (typeof key === 'symbol') return isPlainCondition(value, columnOf);
    const column = columnOf(key);
    return column !== undefined && isKeyColumn(column) && isOwnValue(value, column);
  });
}

function isOwnValue(value: unknown, column: KeyColumn): boolean {
  if (value === null) return true;
  if (Array.isArray(value)) return value.every((item) => isOwnValue(item, column));
  if (isPlainObject(value)) {
    // Operators; a name in it would be a path into JSON.
    return Reflect.ownKeys(value).every((key) => typeof key === 'symbol' && isOwnValue(Reflect.get(value, key), column));
  }
  switch (column.key.kind) {
    case 'integer':
      // Digits as a text are compared as a number in any form.
      return column.key.canonical(value) !== undefined;
    case 'decimal':
    case 'float':
      return typeof value === 'number' || typeof value === 'bigint';
    case 'boolean':
      return typeof value === 'boolean';
    case 'date':
      return value instanceof Date;
    case 'text':
    case 'binary-text':
    case 'uuid':
    case 'enum':
    case 'dateonly':
    case 'time':
      return typeof value === 'string';
    case 'blob':
      return false;
  }
}

function isPlainObject(value: unknown): value is object {
  if (typeof value !== 'object' || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

// ---- What the database itself changes in other tables --------------------------------------------

/** @returns which rows have to be read for it; what cannot be told row by row is void */
function planCascade(
  options: StatementOptions,
  model: ModelStatic<Model>,
  { registry, effects, rowLimit }: { readonly registry: Registry; readonly effects: Effects; readonly rowLimit: number },
): CascadePlan | undefined {
  const references = registry.references.to(model);
  if (references.length === 0) return undefined;
  const change = changeOf(options, model);
  const reached = reachedBy(registry, references, change);
  if (reached.length === 0) return undefined;
  const parents = rowLimit === 0 ? undefined : parentsOf(options, model, registry.ofTable(model)[0], rowLimit);
  if (parents !== undefined) return { registry, model, ...parents, change, reached, needsGaps: needsGapLocks(registry, model, change) };
  voidReached({ reached }, effects);
  return undefined;
}

/** What a statement does to rows that are there. What is not known of it may be anything. */
function changeOf(options: StatementOptions, model: ModelStatic<Model>): Change {
  const { type, fields, instance, hooks, updateOnDuplicate, [writtenColumns]: written } = options;
  const removes = type === QueryTypes.DELETE || type === QueryTypes.BULKDELETE;
  if (written !== undefined) return { removes, sets: among(written) };
  // A text that was given a type and a model: both may be wrong.
  if (instance === undefined && typeof hooks !== 'boolean' && type !== QueryTypes.UPSERT) return { removes: true, sets: () => true };
  if (removes) return { removes, sets: () => false };
  const updates = type === QueryTypes.UPDATE || type === QueryTypes.BULKUPDATE;
  if (!updates && type !== QueryTypes.UPSERT && updateOnDuplicate === undefined) return { removes, sets: () => false };
  const names: unknown = updates ? fields : updateOnDuplicate;
  if (!Array.isArray(names)) return { removes, sets: () => true };
  const attributes = model.getAttributes() as Readonly<Record<string, { readonly field?: string } | undefined>>;
  return { removes, sets: among((names as readonly string[]).flatMap((name) => [name, attributes[name]?.field ?? name])) };
}

function among(columns: readonly string[]): Change['sets'] {
  const names = new Set(columns.map((column) => column.toLowerCase()));
  return (column) => names.has(column.toLowerCase());
}

/** Which rows a statement changes; undefined if a SELECT of ours may find others. */
function parentsOf(
  options: StatementOptions,
  model: ModelStatic<Model>,
  bound: BoundModel | undefined,
  most: number,
): Pick<CascadePlan, 'where' | 'asked'> | undefined {
  const { type, instance, truncate, increment, hooks } = options;
  const ofRows = type === QueryTypes.UPDATE || type === QueryTypes.BULKUPDATE || type === QueryTypes.DELETE || type === QueryTypes.BULKDELETE;
  if (!ofRows || truncate === true || increment !== undefined || typeof hooks !== 'boolean') return undefined;
  if (instance !== undefined) {
    const values = ownValues(instance);
    const entries = model.primaryKeyAttributes.map((name) => [name, values[name]] as const);
    if (entries.length === 0 || entries.some(([, value]) => value == null)) return undefined;
    return { where: Object.fromEntries(entries) as WhereOptions, asked: 1 };
  }
  const where = options.where as WhereOptions | undefined;
  const columns = columnsOf(model);
  const byField = new Map([...columns.values()].map((column) => [column.field, column]));
  const isPlain = where === undefined || isPlainCondition(where, (name) => byField.get(name) ?? columns.get(name));
  return isPlain ? { where, asked: bound === undefined ? undefined : primaryKeysOf(where, bound, most)?.length } : undefined;
}
