/** Rows as the database has them, read by the plugin itself inside a write's transaction. */
import { Op, Transaction, type FindOptions, type Sequelize, type WhereOptions } from 'sequelize';
import type { BoundModel } from '../caches/registry.js';
import type { Canonical } from '../entries/key-types.js';
import type { WideReason } from '../events.js';
import { canonicalValues, type CachedModel } from '../models/cached-model.js';
import { rawRows, whereOf } from '../models/finder.js';
import type { RowValues } from './effects.js';
import { noRetry } from './own-statements.js';

/** One row as read. */
export interface Image {
  readonly primaryKey: readonly Canonical[];
  readonly values: RowValues;
}

/** Whether the dialect has row locks, so that what is read inside a transaction stays so until its end. */
export const hasRowLocks = (sequelize: Sequelize): boolean => ['mysql', 'mariadb'].includes(sequelize.getDialect());

/** Whether rows are locked until the transaction ends. What is not locked is read as the transaction sees it, without waiting. */
export type RowLock = 'lock' | 'no lock';

/**
 * The rows of a condition (in column names); the reason why they cannot be told, if there are more
 * than `most`, or one without a canonical primary key.
 */
export function imagesWhere(
  bound: BoundModel,
  where: WhereOptions | undefined,
  most: number,
  transaction: Transaction | null,
  rowLock: RowLock,
): Promise<readonly Image[] | WideReason> {
  return images(bound, where === undefined ? undefined : inAttributes(where, bound.cached), most, transaction, rowLock);
}

/**
 * A condition in column names, in names of attributes: a column may be called as another attribute is,
 * and a find maps names of attributes to columns. Each test stands in an object of its own, because
 * the mapping of one could replace the next.
 */
function inAttributes(where: unknown, cached: CachedModel): WhereOptions {
  if (Array.isArray(where)) return { [Op.and]: where.map((part) => inAttributes(part, cached)) };
  // `literal`, `fn` and the like name columns themselves.
  if (typeof where !== 'object' || where === null || ![Object.prototype, null].includes(Object.getPrototypeOf(where) as object | null)) return where as WhereOptions;
  const tests = Reflect.ownKeys(where).map((key) => {
    const condition: unknown = Reflect.get(where, key);
    if (typeof key === 'string') return { [cached.byField.get(key)?.name ?? key]: condition };
    // Op.and, Op.or, Op.not: conditions in turn.
    const inner = Array.isArray(condition) ? condition.map((part) => inAttributes(part, cached)) : inAttributes(condition, cached);
    return { [key]: inner };
  });
  return { [Op.and]: tests };
}

async function images(
  bound: BoundModel,
  where: WhereOptions | undefined,
  most: number,
  transaction: Transaction | null,
  rowLock: RowLock,
): Promise<readonly Image[] | WideReason> {
  const { cached, all } = bound;
  const names = new Set([...cached.primaryKey, ...all.flatMap((cache) => cache.columns)].map(({ name }) => name));
  const model = cached.model.unscoped();
  const options: FindOptions & { hooks: false; retry?: { max: number } } = {
    attributes: [...names],
    ...(where === undefined ? {} : { where }),
    limit: most + 1,
    ...rawRows,
    hooks: false,
    paranoid: false,
    useMaster: true,
    transaction,
    ...(transaction === null ? {} : noRetry),
    ...(rowLock === 'lock' && transaction !== null && hasRowLocks(cached.sequelize) ? { lock: Transaction.LOCK.UPDATE } : {}),
  };
  const rows = (await model.findAll(options)) as unknown as readonly Readonly<Record<string, unknown>>[];
  if (rows.length > most) return 'too-many-rows';
  const found: Image[] = [];
  for (const row of rows) {
    const primaryKey = canonicalValues(cached.primaryKey, ({ name }) => row[name]);
    if (primaryKey === undefined) return 'unknown-rows';
    found.push({ primaryKey, values: ({ name }) => row[name] });
  }
  return found;
}

/** The rows with these primary keys. */
export async function imagesOf(
  bound: BoundModel,
  primaryKeys: readonly (readonly Canonical[])[],
  transaction: Transaction | null,
  rowLock: RowLock,
): Promise<readonly Image[] | WideReason> {
  if (primaryKeys.length === 0) return [];
  return images(bound, whereKeys(bound, primaryKeys), primaryKeys.length, transaction, rowLock);
}

/** The rows of a condition, as `imagesWhere`; without a lock on any row that does not match it. */
export async function imagesFoundAndLocked(
  bound: BoundModel,
  where: WhereOptions | undefined,
  most: number,
  transaction: Transaction,
): Promise<readonly Image[] | WideReason> {
  const found = await imagesWhere(bound, where, most, transaction, 'no lock');
  if (typeof found === 'string' || found.length === 0) return found;
  const keys = whereKeys(bound, found.map(({ primaryKey }) => primaryKey));
  const both: WhereOptions = { [Op.and]: where === undefined ? [keys] : [keys, inAttributes(where, bound.cached)] };
  return images(bound, both, found.length, transaction, 'lock');
}

function whereKeys({ cached }: BoundModel, primaryKeys: readonly (readonly Canonical[])[]): WhereOptions {
  const columns = cached.primaryKey;
  const [column, ...more] = columns;
  return column !== undefined && more.length === 0
    ? { [column.name]: { [Op.in]: primaryKeys.map(([value]) => column.key.queryValue(value as string)) } }
    : { [Op.or]: primaryKeys.map((values) => whereOf(columns, values)) };
}
