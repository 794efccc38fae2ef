/** The options of a Sequelize instance in some surroundings. */
import { AsyncLocalStorage } from 'node:async_hooks';
import { Sequelize, type Options } from 'sequelize';
import { Sequelize as TypescriptSequelize } from 'sequelize-typescript';
import type { Stack, Surroundings } from './axes.js';

/** Where the database is, as options of Sequelize. */
export interface Place {
  readonly options: Options;
}

/** Creates a Sequelize instance with the chosen options. */
export function sequelizeIn(stack: Stack, surroundings: Surroundings, place: Place): Sequelize {
  return new (classIn(surroundings))({ dialect: stack, ...place.options, ...optionsIn(stack, surroundings, place) });
}

/** Creates one with a copy of another's options, as programs with a database for each tenant do. */
export const cloneOf = (sequelize: Sequelize, surroundings: Surroundings): Sequelize =>
  new (classIn(surroundings))({ ...(sequelize as unknown as { options: Options }).options });

const classIn = ({ style }: Surroundings): typeof Sequelize => (style === 'typescript' ? TypescriptSequelize : Sequelize);

const context = new AsyncLocalStorage<Map<string, unknown>>();

/** Sequelize keeps its namespace for all instances of a process. One that is on for a group is off afterwards. */
export function useContext(on: boolean): void {
  if (on) {
    Sequelize.useCLS({
      bind: <T>(work: T): T => work,
      run: <T>(work: (values: Map<string, unknown>) => T): T => {
        const values = new Map(context.getStore());
        return context.run(values, () => work(values));
      },
      get: (key: string) => context.getStore()?.get(key),
      set: (key: string, value: unknown) => context.getStore()?.set(key, value),
    });
  } else Reflect.deleteProperty(Sequelize, '_cls');
}

/** What another process does while this one is in a transaction. */
export const outOfContext = <T>(work: () => T): T => context.exit(work);

function optionsIn(stack: Stack, s: Surroundings, place: Place): Options {
  const logging = s.logging === 'function' || s.benchmark === 'on' ? (_sql: string) => undefined : false;
  return {
    logging,
    define: defineIn(s),
    pool: { max: Number(s.pool), acquire: 60_000 },
    ...(s.raw === 'on' ? { query: { raw: true } } : {}),
    ...(s.benchmark === 'on' ? { benchmark: true } : {}),
    ...(stack === 'sqlite' ? {} : { timezone: s.timezone }),
    ...(s.isolation === 'default' ? {} : { isolationLevel: s.isolation }),
    ...(s.retry === 'off' ? {} : { retry: { max: 30, match: [/Deadlock/, /try again/], backoffBase: 0 } }),
    ...(s.omitNull === 'on' ? { omitNull: true } : {}),
    ...(s.quoteIdentifiers === 'off' ? { quoteIdentifiers: false } : {}),
    ...(s.typeValidation === 'on' ? { typeValidation: true } : {}),
    ...hooksIn(s),
    ...(s.minifyAliases === 'on' ? { minifyAliases: true } : {}),
    ...(s.transactionType === 'default' ? {} : { transactionType: s.transactionType as never }),
    ...(s.replication === 'on' ? { replication: { read: [{}], write: {} }, ...replicationOf(place.options) } : {}),
    ...(stack === 'sqlite' ? {} : { dialectOptions: driverOptions(stack, s) }),
  };
}

const instanceHooks = {
  query: { beforeQuery: () => undefined, afterQuery: () => undefined },
  save: { beforeSave: () => undefined, afterBulkUpdate: () => undefined },
  find: { beforeFind: () => undefined },
} as unknown as Readonly<Record<'query' | 'save' | 'find', NonNullable<Options['hooks']>>>;

function hooksIn(s: Surroundings): Options {
  const hooks = { ...(s.instanceHooks === 'none' ? {} : instanceHooks[s.instanceHooks]), ...(s.retry === 'hook' ? { beforeQuery: refusing() } : {}) };
  return Object.keys(hooks).length === 0 ? {} : { hooks: hooks as NonNullable<Options['hooks']> };
}

/** Refuses every seventh statement of a model, whoever sends it; Sequelize sends it again. */
function refusing(): (options: { readonly model?: unknown }) => void {
  let sent = 0;
  return ({ model }) => {
    if (model === undefined) return;
    sent += 1;
    if (sent % 7 === 0) throw new Error('The program says: try again.');
  };
}

/** Whether an error is one of the axis `retry`. */
export const isRefusal = (error: unknown): boolean => error instanceof Error && error.message.includes('try again');

/** Reads and writes with pools of their own, on the same server. */
function replicationOf({ host, port, username, password, database }: Options): Options {
  const server = { host, port: String(port), username, password, database };
  return { replication: { read: [server], write: server } as never };
}

function defineIn(s: Surroundings): NonNullable<Options['define']> {
  return {
    timestamps: s.timestamps === 'on',
    ...(s.underscored === 'on' ? { underscored: true } : {}),
    ...(s.frozenTables === 'on' ? { freezeTableName: true } : {}),
    ...(s.paranoid === 'define' ? { paranoid: true } : {}),
    ...(s.schema === 'on' ? { schema: 'own' } : {}),
    ...(s.text === 'latin1' ? { charset: 'latin1' } : s.text === 'default' ? {} : { charset: 'utf8mb4', collate: s.text }),
    ...(s.defineHooks === 'on' ? { hooks: { beforeSave: () => undefined, afterBulkDestroy: () => undefined } } : {}),
    ...(s.scope === 'define' ? { defaultScope: { attributes: { exclude: ['note'] } } } : {}),
  };
}

/** A function that leaves every value as the driver has it. */
const asItIs = (_field: unknown, next: () => unknown): unknown => next();

function driverOptions(stack: 'mysql' | 'mariadb', s: Surroundings): object {
  const mariadb = stack === 'mariadb';
  const bigNumbers = {
    default: {},
    strings: { supportBigNumbers: true, bigNumberStrings: true },
    numbers: mariadb ? { bigIntAsNumber: true } : { supportBigNumbers: false },
  }[s.bigNumbers];
  return {
    ...bigNumbers,
    // The mysql2 driver knows offsets only, and says so where Sequelize gives it a name.
    ...(stack === 'mysql' && s.timezone === 'Europe/Berlin' ? { timezone: '+01:00' } : {}),
    ...(s.decimalNumbers === 'on' ? (mariadb ? { decimalAsNumber: true } : { decimalNumbers: true }) : {}),
    ...(s.dateStrings === 'on' ? { dateStrings: true } : {}),
    ...(s.typeCast === 'default' ? {} : { typeCast: s.typeCast === 'function' ? asItIs : false }),
    ...(s.multipleStatements === 'on' ? { multipleStatements: true } : {}),
    ...(s.foundRows === 'default' ? {} : mariadb ? { foundRows: s.foundRows === 'on' } : { flags: [s.foundRows === 'on' ? 'FOUND_ROWS' : '-FOUND_ROWS'] }),
    ...(s.insertIdAsNumber === 'on' ? { insertIdAsNumber: true } : {}),
    ...(s.connectTimeout === 'on' ? { connectTimeout: 60_000 } : {}),
  };
}
