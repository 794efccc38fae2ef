/**
 * The database's answers to "which row has these key values" and "which rows have them", for one
 * lookup as `findOne` and `findAll` give it, and for many in one statement.
 *
 * Always on the primary and outside of any transaction: a replica may lag behind a write that was
 * acknowledged, and what a transaction sees may never be committed.
 *
 * Two forms of "many in one statement". Where the key values can be told apart in the process, one find
 * with `IN`, whose rows are grouped by their key values' buckets. Elsewhere a `UNION ALL` of the very
 * statements that would be sent one by one.
 */
import { DatabaseError, Op, Sequelize, TimeoutError, type CountOptions, type FindOptions, type Model, type Order, type Transaction, type WhereOptions } from 'sequelize';
import type { Canonical } from '../entries/key-types.js';
import { bucketsOf, canonicalValues, type CachedModel } from './cached-model.js';
import type { KeyColumn } from './columns.js';
import { scopeOf } from './default-scope.js';
import { ownValues } from './hydrate.js';
import { firstOf, orderOf } from './order.js';
import { aggregateOf, branchColumn, branchOf, columnText, hasCountHooks, hasFindHooks, namesOf, selectOf, unionAll, type Select } from './select.js';

/** Which rows are asked for: values of these columns. */
export interface Question {
  readonly columns: readonly KeyColumn[];
  /** At most one row has the same (not null) values. */
  readonly unique: boolean;
  /** The columns are the primary key. */
  readonly primary: boolean;
}

/** The values that are asked for by several lookups. */
export type Asks = readonly (readonly Canonical[])[];

/** What is asked for cannot be one statement, and is to be asked for one by one. */
export class NotTogether extends Error {}

/** Whether the database refused a statement, so that it may take another one. A lost connection or a time-out is no reason to ask more often. */
export const isRefused = (error: unknown): boolean =>
  error instanceof DatabaseError && !(error instanceof TimeoutError) && (error.parent as { readonly fatal?: boolean }).fatal !== true;

/** Reads the primary, outside of any transaction, CLS included. */
export const onPrimary = Object.freeze({ transaction: null, useMaster: true });

/** What a find says so that it answers with instances, whatever the Sequelize instance has in its option `query`. */
export const asInstances = Object.freeze({ raw: false, nest: false });

/** Plain rows in place of instances, all of them. */
export const rawRows = Object.freeze({ raw: true, nest: false, plain: false });

/** Reads instances from the primary. */
export const readOptions = Object.freeze({ ...onPrimary, rejectOnEmpty: false, ...asInstances });

/**
 * Where a find reads. A load for the cache says all that it relies on; what is passed through is as plain
 * Sequelize answers, with the defaults of the Sequelize instance.
 * @param transaction undefined for a load, null outside of any transaction
 */
export function onConnection(transaction: Transaction | null | undefined, as: 'plain' | 'instance' = 'plain'): object {
  if (transaction === undefined) return readOptions;
  return { transaction, rejectOnEmpty: false, ...(transaction === null ? { useMaster: true } : {}), ...(as === 'instance' ? asInstances : {}) };
}

/** The condition for one list of key values. */
export function whereOf(columns: readonly KeyColumn[], values: readonly Canonical[]): WhereOptions {
  return Object.fromEntries(
    columns.map(({ name, key }, at) => {
      const value = values[at] as Canonical;
      return [name, value === null ? null : key.queryValue(value)];
    }),
  );
}

// ---- One row for each list of key values -------------------------------------------------------

/**
 * The row for each list of key values, or null: what `findOne({ where })` with the primary key as last
 * order answers, in one statement.
 */
export async function findByKeys(cached: CachedModel, question: Question, asks: Asks): Promise<(Model | null)[]> {
  const [only] = asks;
  if (asks.length === 1 && only !== undefined) return [await findFirst(cached, question, only, readOptions)];
  if (question.unique && !asks.some((values) => values.includes(null)) && areApart(cached, question.columns, asks)) {
    const rows = await cached.model.findAll({
      ...readOptions,
      plain: false,
      ...attributesOf(cached),
      where: anyOf(cached, question.columns, asks),
      // What the model says is unique may not be so in the table.
      ...(question.primary ? {} : { order: orderOf(cached, undefined) }),
    } as FindOptions);
    const groups = grouped(question.columns, asks, rows, ownValues);
    if (groups !== undefined) return groups.map(([row]) => row ?? null);
  }
  const selects = await Promise.all(asks.map(async (values) => ({ ...(await firstSelect(cached, question, values)), limit: 1 })));
  return (await branches(cached, selects)).map(([row]) => row ?? null);
}

/** `findOne` for these key values, with the primary key as last order. Hidden attributes are still in the instance. */
export async function findFirst(cached: CachedModel, question: Question, values: readonly Canonical[], on: object): Promise<Model | null> {
  return cached.model.findOne({ ...(await firstSelect(cached, question, values)), ...attributesOf(cached), ...on });
}

/** The options of the find of one row, without attributes and connection. */
export async function firstSelect(cached: CachedModel, { columns, unique, primary }: Question, values: readonly Canonical[]): Promise<FindOptions> {
  const where = whereOf(columns, values);
  if (primary) return { where };
  if (unique && !values.includes(null)) return { where, order: orderOf(cached, undefined) };
  return firstOf(cached, columns, where);
}

// ---- All rows for each list of key values ------------------------------------------------------

/** How a list is ordered, before the primary key, and limited. */
export interface ListOptions {
  readonly order: Order | undefined;
  readonly limit: number | undefined;
}

/** `findAll` for these key values, with the primary key as last order. */
export async function findList(cached: CachedModel, columns: readonly KeyColumn[], values: readonly Canonical[], options: ListOptions & { readonly on: object }): Promise<Model[]> {
  return cached.model.findAll({ ...('raw' in options.on ? { plain: false } : {}), ...options.on, ...attributesOf(cached), ...listSelect(cached, columns, values, options) });
}

/**
 * The rows for each list of key values, each as `findList` finds them, in one statement.
 * @throws NotTogether
 */
export async function findLists(cached: CachedModel, columns: readonly KeyColumn[], asks: Asks, options: ListOptions): Promise<Model[][]> {
  if (hasFindHooks(cached.model)) throw new NotTogether();
  if (options.limit === undefined && areApart(cached, columns, asks)) {
    const rows = await cached.model.findAll({
      ...readOptions,
      plain: false,
      ...attributesOf(cached),
      where: anyOf(cached, columns, asks),
      order: orderOf(cached, options.order),
      limit: mostRowsTogether + 1,
    } as FindOptions);
    if (rows.length > mostRowsTogether) throw new NotTogether();
    const groups = grouped(columns, asks, rows, ownValues);
    if (groups !== undefined) return groups;
  }
  return branches(cached, asks.map((values) => ({ limit: unlimited, ...listSelect(cached, columns, values, options) })));
}

/** A part of a union without `LIMIT` is not sorted. */
const unlimited = Number.MAX_SAFE_INTEGER;

/** One statement for several lists holds no more rows in memory: those of larger ones are loaded one list at a time. */
const mostRowsTogether = 20_000;

function listSelect(cached: CachedModel, columns: readonly KeyColumn[], values: readonly Canonical[], { order, limit }: ListOptions): FindOptions {
  return { where: whereOf(columns, values), order: orderOf(cached, order), ...(limit === undefined ? {} : { limit }) };
}

/** The instances that each of these finds would return, by one statement. @throws NotTogether */
async function branches(cached: CachedModel, finds: readonly FindOptions[]): Promise<Model[][]> {
  const { model, hydrator } = cached;
  const names = namesOf(cached);
  // A find hook of the program's sees one find at a time.
  if (hasFindHooks(model)) throw new NotTogether();
  const selects = await Promise.all(
    finds.map((options, at) => selectOf(model, { ...readOptions, ...options, attributes: [...names, branchOf(at)] } as FindOptions)),
  );
  if (!selects.every((select) => select !== undefined)) throw new NotTogether();
  const found: Model[][] = finds.map(() => []);
  for (const row of (await unionAll(model, selects)) as Model[]) {
    found[Number(ownValues(row)[branchColumn])]?.push(hydrator.drop(row, [branchColumn]));
  }
  return found;
}

// ---- Counts and existence ----------------------------------------------------------------------

/** `count` for these key values. */
export const countRows = (cached: CachedModel, columns: readonly KeyColumn[], values: readonly Canonical[], on: object): Promise<number> =>
  // A count says itself that it wants a plain value.
  cached.model.count({ ...on, where: whereOf(columns, values), raw: true, plain: true } as CountOptions);

/** The number of rows for each list of key values, in one statement. @throws NotTogether */
export async function countsOfRows(cached: CachedModel, columns: readonly KeyColumn[], asks: Asks): Promise<number[]> {
  const { model } = cached;
  if (hasCountHooks(model)) throw new NotTogether();
  if (areApart(cached, columns, asks)) {
    const select = await aggregateOf(model, 'count', { ...readOptions, where: anyOf(cached, columns, asks) } as CountOptions, {
      attributes: [...columns.map(({ name, field }) => [field, name]), [Sequelize.literal('COUNT(*)'), countColumn]],
      group: columns.map(({ field }) => Sequelize.literal(columnText(model, field))),
    });
    if (select === undefined) throw new NotTogether();
    const rows = (await unionAll(model, [select], { raw: true })) as RawRow[];
    const groups = grouped(columns, asks, rows, (row) => row);
    if (groups !== undefined) return groups.map((group) => group.reduce((sum, row) => sum + Number(row[countColumn]), 0));
  }
  const selects = await Promise.all(
    asks.map((values, at) =>
      aggregateOf(model, 'count', { ...readOptions, where: whereOf(columns, values) } as CountOptions, {
        attributes: [[Sequelize.literal('COUNT(*)'), countColumn], branchOf(at)],
      }),
    ),
  );
  if (!selects.every((select) => select !== undefined)) throw new NotTogether();
  const counts = asks.map(() => 0);
  for (const row of (await unionAll(model, selects, { raw: true })) as RawRow[]) counts[Number(row[branchColumn])] = Number(row[countColumn]);
  return counts;
}

const countColumn = 'flash_count';

type RawRow = Readonly<Record<string, unknown>>;

/** Whether there is a row with these key values. */
export async function hasRow({ model }: CachedModel, columns: readonly KeyColumn[], values: readonly Canonical[], on: object): Promise<boolean> {
  return (await model.findOne({ ...on, ...existence(columns, values, []) })) !== null;
}

/**
 * Whether there is a row for each list of key values, in one statement. Not by `GROUP BY`: each part of
 * the union ends with the first row that it finds.
 * @throws NotTogether
 */
export async function haveRows({ model }: CachedModel, columns: readonly KeyColumn[], asks: Asks): Promise<boolean[]> {
  if (hasFindHooks(model)) throw new NotTogether();
  const selects: (Select | undefined)[] = await Promise.all(
    asks.map((values, at) => selectOf(model, { ...readOptions, ...existence(columns, values, [branchOf(at)]), limit: 1 } as FindOptions)),
  );
  if (!selects.every((select) => select !== undefined)) throw new NotTogether();
  const there = asks.map(() => false);
  for (const row of (await unionAll(model, selects, { raw: true })) as RawRow[]) there[Number(row[branchColumn])] = true;
  return there;
}

const existence = (columns: readonly KeyColumn[], values: readonly Canonical[], more: readonly ReturnType<typeof branchOf>[]): object => ({
  attributes: [[Sequelize.literal('1'), 'found'], ...more],
  where: whereOf(columns, values),
  // Any row will do: not sorted by what the default scope says.
  order: null,
  raw: true,
});

// ---- Many in one statement ---------------------------------------------------------------------

/** Attributes that a query for the cache asks for. */
const attributesOf = ({ attributes }: CachedModel): object => (attributes === undefined ? {} : { attributes });

/**
 * Whether rows that are found by one `IN` can be told apart by their buckets, as exactly as the database
 * tells them apart in a condition of each list's own.
 */
function areApart({ scope }: CachedModel, columns: readonly KeyColumn[], asks: Asks): boolean {
  // A find has its own condition on a column in place of the default scope's, and `OR` would have both.
  if (columns.some(({ name }) => scope.replaceable.has(name))) return false;
  const exact = asks.every((values) => values.every((value, at) => value === null || isExact(columns[at] as KeyColumn, value)));
  return exact && new Set(asks.map((values) => JSON.stringify(bucketsOf(columns, values)))).size === asks.length;
}

/** MySQL compares a number with a text, as Sequelize sends these, by their first 15 digits. */
const isExact = ({ key: { kind } }: KeyColumn, value: string): boolean =>
  (kind !== 'integer' && kind !== 'decimal') || value.replace(/\D/g, '').length <= 15;

/**
 * Rows by the list of key values that they were asked for with; `undefined` if a row has others: its
 * collation equates more than the buckets do, and only the database can tell.
 */
function grouped<R>(columns: readonly KeyColumn[], asks: Asks, rows: readonly R[], valuesOf: (row: R) => RawRow): R[][] | undefined {
  const groups = new Map<string, R[]>(asks.map((values) => [JSON.stringify(bucketsOf(columns, values)), []]));
  for (const row of rows) {
    const values = valuesOf(row);
    const key = canonicalValues(columns, ({ name }) => values[name]);
    const group = key === undefined ? undefined : groups.get(JSON.stringify(bucketsOf(columns, key)));
    if (group === undefined) return undefined;
    group.push(row);
  }
  return [...groups.values()];
}

/** "One of these lists of key values." */
function anyOf({ model }: CachedModel, columns: readonly KeyColumn[], asks: Asks): WhereOptions {
  const [column] = columns;
  if (columns.length === 1 && column !== undefined && !asks.some((values) => values.includes(null))) {
    return { [column.name]: { [Op.in]: asks.map(([value]) => column.key.queryValue(value as string)) } };
  }
  const any = { [Op.or]: asks.map((values) => whereOf(columns, values)) };
  // Sequelize would replace an `Op.or` of the default scope by ours, and its `Op.and` by this one.
  const { where: scope } = scopeOf(model) as { readonly where?: WhereOptions };
  return scope === undefined ? any : { [Op.and]: [scope, any] };
}
