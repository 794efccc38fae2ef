/**
 * The database's answer to "which row has these key values", for one lookup as `findOne` gives it,
 * and for many in one statement.
 *
 * Always on the primary and outside of any transaction: a replica may lag behind a write that was
 * acknowledged, and what a transaction sees may never be committed.
 */
import { col, Op, where as condition, type FindOptions, type Model, type WhereOptions } from 'sequelize';
import type { Canonical } from '../entries/key-types.js';
import { bucketsOf, canonicalValues, type CachedModel } from './cached-model.js';
import { ownValues } from './hydrate.js';
import type { KeyColumn } from './columns.js';

/** Which rows are asked for: values of these columns. */
export interface Question {
  readonly columns: readonly KeyColumn[];
  /** At most one row has the same (not null) values. */
  readonly unique: boolean;
}

/**
 * The row for each list of key values, or null: what `findOne({ where })` answers, in one
 * statement.
 */
export async function findByKeys(
  model: CachedModel,
  question: Question,
  asks: readonly (readonly Canonical[])[],
): Promise<(Model | null)[]> {
  const [only] = asks;
  if (asks.length === 1 && only !== undefined) return [await findOneByKey(model, question, only)];
  // Rows come back in buckets; lists that share a bucket with another are told apart by the
  // database itself, in a column that says whether the row matches them.
  const buckets = asks.map((values) => JSON.stringify(bucketsOf(question.columns, values)));
  const sharing = new Map<string, number[]>();
  buckets.forEach((bucket, at) => sharing.set(bucket, [...(sharing.get(bucket) ?? []), at]));
  const matchColumns = new Map<number, readonly string[]>();
  for (const [first, ...more] of sharing.values()) {
    if (first === undefined || more.length === 0) continue;
    for (const at of [first, ...more]) {
      matchColumns.set(at, question.columns.map((_, part) => `flash_match_${String(at)}_${String(part)}`));
    }
  }
  const single = question.unique && !asks.some((values) => values.includes(null));
  const most = single ? undefined : asks.length * 20 + 100;
  const { model: target, attributes, scope, hydrator } = model;
  const names = attributes ?? [...scope.attributes];
  const rows = await target.findAll({
    ...readOptions,
    where: anyOf(model, question.columns, asks),
    ...(attributes === undefined && matchColumns.size === 0
      ? {}
      : {
          attributes: [
            ...names,
            ...Array.from(matchColumns, ([at, aliases]) => matches(question.columns, asks[at] as readonly Canonical[], aliases)).flat(),
          ],
        }),
    ...(most === undefined ? {} : { limit: most }),
  } as FindOptions);
  if (rows.length === most) {
    // Too many rows share these values to fetch them all for the sake of one each.
    return Promise.all(asks.map((values) => findOneByKey(model, question, values)));
  }
  const found = new Array<Model | null>(asks.length).fill(null);
  for (const row of rows) {
    const values = ownValues(row);
    const key = canonicalValues(question.columns, ({ name }) => values[name]);
    const candidates = key === undefined ? undefined : sharing.get(JSON.stringify(bucketsOf(question.columns, key)));
    if (candidates === undefined) {
      // A collation that equates more than the buckets do: let the database match one by one.
      return Promise.all(asks.map((ask) => findOneByKey(model, question, ask)));
    }
    for (const at of candidates) {
      const aliases = matchColumns.get(at) ?? [];
      if (found[at] !== null || !aliases.every((alias) => truthy(values[alias]))) continue;
      found[at] = row;
    }
  }
  const more = [...matchColumns.values()].flat();
  const given = new Set<Model>();
  return Promise.all(
    found.map(async (row, at) => {
      if (row === null) return null;
      // Two spellings of one row: the second caller gets an instance of its own.
      if (given.has(row)) return findOneByKey(model, question, asks[at] as readonly Canonical[]);
      given.add(row);
      return hydrator.drop(row, more);
    }),
  );
}

/** Exactly `findOne` for these key values. Hidden attributes are still in the instance. */
async function findOneByKey(
  { model, attributes }: CachedModel,
  { columns }: Question,
  values: readonly Canonical[],
): Promise<Model | null> {
  return model.findOne({
    ...readOptions,
    where: whereOf(columns, values),
    ...(attributes === undefined ? {} : { attributes }),
  } as FindOptions);
}

/** Reads the primary, outside of any transaction, CLS included. */
export const readOptions = Object.freeze({ transaction: null, useMaster: true, rejectOnEmpty: false });

/** The condition for one list of key values. */
export function whereOf(columns: readonly KeyColumn[], values: readonly Canonical[]): WhereOptions {
  return Object.fromEntries(
    columns.map(({ name, key }, at) => {
      const value = values[at] as Canonical;
      return [name, value === null ? null : key.queryValue(value)];
    }),
  );
}

function anyOf({ model }: CachedModel, columns: readonly KeyColumn[], asks: readonly (readonly Canonical[])[]): WhereOptions {
  const [column] = columns;
  if (columns.length === 1 && column !== undefined && !asks.some((values) => values.includes(null))) {
    return { [column.name]: { [Op.in]: asks.map(([value]) => column.key.queryValue(value as string)) } };
  }
  const any = { [Op.or]: asks.map((values) => whereOf(columns, values)) };
  // Sequelize would replace an `Op.or` of the default scope by ours, and its `Op.and` by this one.
  const scope = model.options.defaultScope?.where;
  return scope === undefined ? any : { [Op.and]: [scope, any] };
}

/** A condition as selected columns, one for each part: Sequelize selects no conjunctions. */
function matches(
  columns: readonly KeyColumn[],
  values: readonly Canonical[],
  aliases: readonly string[],
): [ReturnType<typeof condition>, string][] {
  return columns.map(({ field, key }, at) => {
    const value = values[at] as Canonical;
    return [condition(col(field), value === null ? null : (key.queryValue(value) as string)), aliases[at] as string];
  });
}

const truthy = (value: unknown): boolean => value === true || value === 1 || value === '1';

