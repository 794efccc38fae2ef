/**
 * The axes of the surroundings: what a program may choose around the cache. The first value of each
 * axis is its default, and what a failing cell is shrunk towards.
 */

/** The stack: a dialect of Sequelize with its driver. */
export type Stack = 'mysql' | 'mariadb' | 'sqlite';

const onOff = ['off', 'on'] as const;

/** Options of the Sequelize instance. */
const sequelizeAxes = {
  raw: onOff,
  underscored: onOff,
  frozenTables: onOff,
  timestamps: ['on', 'off'],
  schema: onOff,
  text: ['default', 'utf8mb4_bin', 'latin1'],
  defineHooks: onOff,
  benchmark: onOff,
  logging: ['off', 'function'],
  timezone: ['+00:00', '+05:30', 'Europe/Berlin'],
  isolation: ['default', 'READ COMMITTED', 'REPEATABLE READ', 'SERIALIZABLE'],
  /** 'hook': a hook of the program refuses every few statements; 'database': a trigger refuses every other UPDATE of a connection. */
  retry: ['off', 'on', 'hook', 'database'],
  omitNull: onOff,
  quoteIdentifiers: ['on', 'off'],
  typeValidation: onOff,
  instanceHooks: ['none', 'query', 'save', 'find'],
  minifyAliases: onOff,
  transactionType: ['default', 'IMMEDIATE', 'EXCLUSIVE'],
  replication: onOff,
  pool: ['5', '1', '2', '10'],
  cls: onOff,
  clone: onOff,
} as const;

/** Options of the driver, in `dialectOptions`. */
const driverAxes = {
  decimalNumbers: onOff,
  bigNumbers: ['default', 'strings', 'numbers'],
  dateStrings: onOff,
  typeCast: ['default', 'function', 'off'],
  multipleStatements: onOff,
  foundRows: ['default', 'on', 'off'],
  insertIdAsNumber: onOff,
  connectTimeout: onOff,
} as const;

/** Features of the model that is written and read. */
const modelAxes = {
  style: ['define', 'class', 'mixin', 'typescript'],
  key: ['id', 'implicit', 'string', 'composite', 'bigint', 'uuid', 'date'],
  mapped: onOff,
  references: ['none', 'null'],
  paranoid: ['off', 'model', 'define'],
  version: onOff,
  accessors: onOff,
  scope: ['none', 'where', 'attributes', 'order', 'define', 'include', 'include with a condition'],
  owner: ['set null', 'cascade', 'cascade with hooks', 'no constraint'],
  hooks: ['none', 'sync', 'async', 'throwing before', 'throwing after', 'individual', 'find', 'validating', 'named'],
  bulkBuild: onOff,
  manager: onOff,
} as const;

/** What is cached, and how it is asked for. */
const askingAxes = {
  caches: ['rows', 'lists', 'results', 'related', 'all'],
  asking: ['in turn', 'together'],
  /** Which of the lookups, about five at a time: all of them would make each cell too slow. */
  part: ['1', '2', '3', '4', '5', '6', '7', '8', '9', '10', '11', '12'],
} as const;

export const groupAxes = { ...sequelizeAxes, ...driverAxes, ...modelAxes, ...askingAxes } as const;

type Axes = typeof groupAxes;

/** An axis other than that of the write path. */
export type AxisName = keyof Axes;

export const axisNames = Object.keys(groupAxes) as readonly AxisName[];

/** With these, most lookups are plain finds, which say little of the cache: each is drawn half as often as others. */
export const passedThrough: Readonly<Partial<Record<AxisName, string>>> = { raw: 'on', instanceHooks: 'find', hooks: 'find' };

/** A value for each axis. */
export type Surroundings = { readonly [Name in AxisName]: Axes[Name][number] };

/** The value that an axis has where nothing is chosen. */
export const defaults = Object.fromEntries(axisNames.map((name) => [name, groupAxes[name][0]])) as unknown as Surroundings;

/** One comparison: surroundings, a write path, and a stack. */
export interface Cell {
  readonly stack: Stack;
  readonly surroundings: Surroundings;
  readonly write: string;
}

const onSqliteDefault: readonly AxisName[] = [
  'schema', 'text', 'timezone', 'isolation', 'quoteIdentifiers', 'replication',
  'decimalNumbers', 'bigNumbers', 'dateStrings', 'typeCast', 'multipleStatements', 'foundRows', 'insertIdAsNumber', 'connectTimeout',
];

/** Sets axes back to their default that plain Sequelize, the driver or the database does not take together. */
export function valid(stack: Stack, chosen: Surroundings): Surroundings {
  const result: Record<AxisName, string> = { ...chosen };
  const reset = (...names: readonly AxisName[]): void => {
    for (const name of names) result[name] = defaults[name];
  };
  if (stack === 'sqlite') reset(...onSqliteDefault);
  // A trigger of SQLite cannot tell one statement from the next.
  if (stack === 'sqlite' && result.retry === 'database') reset('retry');
  // sql.js reads integers as numbers, which do not hold these keys.
  if (stack === 'sqlite' && result.key === 'bigint') reset('key');
  else reset('transactionType');
  // Only the mariadb driver knows the one, and its dialect takes the other for a database.
  if (stack === 'mariadb') reset('schema');
  else reset('insertIdAsNumber');
  // The emulated schema is a part of the table's name with a dot in it, which has to be quoted.
  if (result.schema === 'on') reset('quoteIdentifiers');
  // sequelize-typescript needs its own Sequelize class, which a clone of options does not have.
  if (result.style === 'typescript') reset('clone');
  if (result.timestamps === 'off') reset('paranoid');
  // Only the dialect of PostgreSQL undoes it when it reads rows: what has another name in the table, and every count, is lost elsewhere.
  if (result.underscored === 'on' || result.mapped === 'on' || ['results', 'related', 'all'].includes(result.caches)) reset('minifyAliases');
  if (result.scope.startsWith('include')) {
    // Nothing can be included in plain rows.
    reset('minifyAliases', 'raw');
    // A relation to a model whose default scope joins is refused, as documented.
    if (result.caches === 'related') reset('caches');
  }
  // Numbers do not hold these keys: two rows have the same.
  if (result.key === 'bigint' && result.bigNumbers === 'numbers') reset('bigNumbers');
  // Without its time zone a date that is a text cannot be a key of Sequelize's own find.
  if (result.key === 'date') reset('dateStrings', 'typeCast');
  return result as unknown as Surroundings;
}

/** A cell as one line: the stack, the write path and the axes that are not at their default. */
export function lineOf({ stack, surroundings, write }: Cell): string {
  const changed = axisNames.filter((name) => surroundings[name] !== defaults[name]);
  return JSON.stringify({ stack, write, ...Object.fromEntries(changed.map((name) => [name, surroundings[name]])) });
}

/** Reads what `lineOf` wrote. */
export function cellOf(line: string): Cell {
  const { stack, write, ...chosen } = JSON.parse(line) as Record<string, string>;
  if (stack !== 'mysql' && stack !== 'mariadb' && stack !== 'sqlite') throw new RangeError(`There is no stack '${String(stack)}'.`);
  if (write === undefined) throw new RangeError('The cell names no write path.');
  for (const [name, value] of Object.entries(chosen)) {
    const values: readonly string[] | undefined = (groupAxes as Readonly<Record<string, readonly string[]>>)[name];
    if (values?.includes(value) !== true) throw new RangeError(`There is no ${name} '${value}'.`);
  }
  return { stack, write, surroundings: { ...defaults, ...chosen } };
}
