/** The two stacks that the demo runs on: SQLite with the memory store, MySQL with memcached. */
import { randomUUID } from 'node:crypto';
import { Sequelize } from 'sequelize';
import type { Store } from 'sequelize-flash';
import { MemcachedStore } from 'sequelize-flash/stores/memcached';
import { MemoryStore } from 'sequelize-flash/stores/memory';
import { createSqliteModule } from '../support/sqlite.js';

export interface Stack {
  readonly title: string;
  readonly store: Store;
  /** The column's collation takes 'zurich' for 'Zürich'. */
  readonly ignoresAccents: boolean;
  /** Connects to an empty database. */
  connect(logging: () => void): Promise<Sequelize>;
  /** Removes that database. */
  drop(): Promise<void>;
}

export async function sqliteAndMemory(): Promise<Stack> {
  const dialectModule = await createSqliteModule();
  return {
    title: 'SQLite and the memory store',
    store: new MemoryStore(),
    ignoresAccents: false,
    connect: (logging) => Promise.resolve(new Sequelize({ dialect: 'sqlite', dialectModule, storage: 'demo.db', logging })),
    drop: () => Promise.resolve(),
  };
}

export function mysqlAndMemcached(): Stack {
  const url = named('SEQUELIZE_FLASH_MYSQL_URL');
  const store = new MemcachedStore(named('SEQUELIZE_FLASH_MEMCACHED').split(','));
  // Never one that an earlier run had, whose entries memcached may still have.
  const database = `flash_demo_${randomUUID().slice(0, 8)}`;
  const run = async (statement: string): Promise<void> => {
    const admin = new Sequelize(url, { dialect: 'mysql', logging: false });
    await admin.query(statement).finally(() => admin.close());
  };
  return {
    title: `MySQL and ${store.name}`,
    store,
    ignoresAccents: true,
    async connect(logging) {
      await run(`CREATE DATABASE ${database} CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci`);
      const own = new URL(url);
      own.pathname = `/${database}`;
      return new Sequelize(own.href, { dialect: 'mysql', logging });
    },
    drop: () => run(`DROP DATABASE ${database}`),
  };
}

function named(variable: string): string {
  const value = process.env[variable];
  if (value) return value;
  throw new Error(`--mysql needs servers: run npm start -- --mysql, which provides them, or set ${variable}.`);
}
