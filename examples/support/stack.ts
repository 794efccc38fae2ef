/** The two stacks that the larger examples run on: SQLite with the memory store, MySQL with memcached. */
import { randomUUID } from 'node:crypto';
import { Sequelize, Transaction, type Options } from 'sequelize';
import type { Store } from 'sequelize-flash';
import { MemcachedStore } from 'sequelize-flash/stores/memcached';
import { MemoryStore } from 'sequelize-flash/stores/memory';
import { createSqliteModule } from './sqlite.js';

export interface Stack {
  readonly title: string;
  readonly store: Store;
  /** The column's collation takes 'zurich' for 'Zürich'. */
  readonly ignoresAccents: boolean;
  /** The name of the database. */
  readonly database: string;
  /** How to connect to it: options of `new Sequelize`. */
  readonly options: Options;
  /** Creates it, empty. */
  create(): Promise<void>;
  /** Removes it. */
  drop(): Promise<void>;
}

/** The database lives as long as the process, which has it for itself. */
export async function sqliteAndMemory(): Promise<Stack> {
  const database = 'example.db';
  return {
    title: 'SQLite and the memory store',
    store: new MemoryStore(),
    ignoresAccents: false,
    database,
    options: {
      dialect: 'sqlite',
      dialectModule: await createSqliteModule(),
      storage: database,
      // Transactions that read before they write would otherwise wait for each other.
      transactionType: Transaction.TYPES.IMMEDIATE,
    },
    create: () => Promise.resolve(),
    drop: () => Promise.resolve(),
  };
}

/**
 * @param command what provides the servers, for the message that says that there are none
 * @param database one that another process has created; by default a new name, never one that an
 *   earlier run had, whose entries memcached may still have
 */
export function mysqlAndMemcached(command: string, database = `flash_example_${randomUUID().slice(0, 8)}`): Stack {
  const named = (variable: string): string => {
    const value = process.env[variable];
    if (value) return value;
    throw new Error(`--mysql needs servers: run ${command} -- --mysql, which provides them, or set ${variable}.`);
  };
  const url = new URL(named('SEQUELIZE_FLASH_MYSQL_URL'));
  // Patient, because what the examples say of costs holds on a busy machine, too.
  const store = new MemcachedStore(named('SEQUELIZE_FLASH_MEMCACHED').split(','), { timeoutMs: 2000 });
  const run = async (statement: string): Promise<void> => {
    const admin = new Sequelize(url.href, { dialect: 'mysql', logging: false });
    try {
      await admin.query(statement);
    } finally {
      await admin.close();
    }
  };
  return {
    title: `MySQL and ${store.name}`,
    store,
    ignoresAccents: true,
    database,
    options: {
      dialect: 'mysql',
      host: url.hostname,
      port: Number(url.port || 3306),
      username: decodeURIComponent(url.username),
      password: decodeURIComponent(url.password),
      database,
    },
    create: () => run(`CREATE DATABASE ${database} CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci`),
    drop: () => run(`DROP DATABASE ${database}`),
  };
}
