/** Two databases for the comparison of one group of cells, and what is done in them beside Sequelize and the cache. */
import { createConnection, type Connection } from 'mysql2/promise';
import { Sequelize, type Options } from 'sequelize';
import { createSqliteModule } from '../../examples/support/sqlite.js';
import { mysqlUrl } from '../support/backends.js';
import type { Stack } from './axes.js';

/** One database. */
export interface Database {
  /** What leads Sequelize to it. */
  readonly options: Options;
  /** Runs statements that nobody is told of. */
  run(statements: readonly string[]): Promise<void>;
  /** The rows of each table, in a form that can be compared. */
  rows(quotedTables: readonly string[]): Promise<readonly (readonly Row[])[]>;
  drop(): Promise<void>;
}

type Row = Readonly<Record<string, unknown>>;

/** Creates databases for as long as a test file runs. */
export interface Databases {
  create(name: string): Promise<Database>;
  close(): Promise<void>;
}

export const openDatabases = (stack: Stack): Promise<Databases> => (stack === 'sqlite' ? Promise.resolve(onSqlite) : onServer());

const allOf = (quotedTable: string): string => `SELECT * FROM ${quotedTable} ORDER BY 1, 2`;

async function onServer(): Promise<Databases> {
  const { hostname, port, username, password } = new URL(mysqlUrl());
  const connection: Connection = await createConnection({
    host: hostname,
    port: Number(port),
    user: username,
    password,
    multipleStatements: true,
    dateStrings: true,
    supportBigNumbers: true,
    bigNumberStrings: true,
  });
  return {
    async create(name) {
      await connection.query(`CREATE DATABASE ${name} CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci`);
      return {
        options: { host: hostname, port: Number(port), username, password, database: name },
        async run(statements) {
          await connection.query(['SET FOREIGN_KEY_CHECKS = 0', `USE ${name}`, ...statements, 'SET FOREIGN_KEY_CHECKS = 1'].join(';\n'));
        },
        async rows(quotedTables) {
          const [[, ...rows]] = (await connection.query([`USE ${name}`, ...quotedTables.map(allOf)].join(';\n'))) as unknown as [[unknown, ...Row[][]]];
          return rows;
        },
        async drop() {
          await connection.query(`DROP DATABASE ${name}`);
        },
      };
    },
    close: () => connection.end(),
  };
}

const onSqlite: Databases = {
  async create(name) {
    const options: Options = { dialectModule: await createSqliteModule(), storage: `${name}.db` };
    const bare = new Sequelize({ dialect: 'sqlite', logging: false, ...options });
    return {
      options,
      async run(statements) {
        await bare.query('PRAGMA foreign_keys = OFF');
        for (const statement of statements) await bare.query(statement);
        await bare.query('PRAGMA foreign_keys = ON');
      },
      async rows(quotedTables) {
        const rows: Row[][] = [];
        for (const table of quotedTables) rows.push((await bare.query(allOf(table)))[0] as Row[]);
        return rows;
      },
      drop: () => bare.close(),
    };
  },
  close: () => Promise.resolve(),
};
