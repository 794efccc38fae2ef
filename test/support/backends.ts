/** The two stacks that the plugin is tested on, with counters for what they are asked. */
import { randomUUID } from 'node:crypto';
import { Sequelize, type Options } from 'sequelize';
import { createSqliteModule } from '../../examples/support/sqlite.js';
import { MemcachedStore } from '../../src/stores/memcached.js';
import { MemoryStore } from '../../src/stores/memory.js';
import type { Store } from '../../src/stores/store.js';
import { setupCache, type FlashCache, type SetupOptions } from '../../src/index.js';
import { ObservedStore } from './observed-store.js';

/** MariaDB (or MySQL) with a real memcached; SQLite with the memory store. */
export type BackendName = 'mariadb' | 'sqlite';

export const backendNames: readonly BackendName[] = ['mariadb', 'sqlite'];

/** One Sequelize instance on a database of its own, and a store. */
export interface Backend {
  readonly name: BackendName;
  readonly sequelize: Sequelize;
  readonly store: ObservedStore;
  /** Every SQL statement since the last `reset()`, the plugin's own included. */
  readonly sql: readonly string[];
  /** Forgets statements and round trips that were counted so far. */
  reset(): void;
  /** `setupCache` with the backend's store and a prefix of its own. */
  setup(options?: SetupOptions): FlashCache;
  /** Another Sequelize instance on the same database, as another process has it. Not on SQLite. */
  another(): Sequelize;
  /** Ends it all and drops the database. */
  close(): Promise<void>;
}

/** Opens a backend. Close it in `after`. */
export async function openBackend(
  name: BackendName,
  options: { readonly define?: Options['define']; readonly store?: Store; readonly options?: Options } = {},
): Promise<Backend> {
  const sql: string[] = [];
  const logging = (statement: string): void => {
    sql.push(statement);
  };
  const define = options.define ?? {};
  const prefix = `t${randomUUID().slice(0, 8)}`;
  const sequelizes: Sequelize[] = [];
  const caches: FlashCache[] = [];
  let open: () => Sequelize;
  let drop: () => Promise<void>;
  if (name === 'mariadb') {
    const url = mysqlUrl();
    const database = `flash_${randomUUID().slice(0, 8)}`;
    const admin = new Sequelize(url, { dialect: 'mysql', logging: false, pool: { max: 1 } });
    await admin.query(`CREATE DATABASE ${database} CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci`);
    const own = new URL(url);
    own.pathname = `/${database}`;
    open = () => new Sequelize(own.href, { dialect: 'mysql', logging, define, pool: { max: 10 }, ...options.options });
    drop = async () => {
      await admin.query(`DROP DATABASE ${database}`);
      await admin.close();
    };
  } else {
    const dialectModule = await createSqliteModule();
    open = () => new Sequelize({ dialect: 'sqlite', storage: ':memory:', dialectModule, logging, define, ...options.options });
    drop = () => Promise.resolve();
  }
  const another = (): Sequelize => {
    const sequelize = open();
    sequelizes.push(sequelize);
    return sequelize;
  };
  const store = new ObservedStore(options.store ?? (name === 'mariadb' ? memcachedStore() : new MemoryStore()));
  const sequelize = another();
  return {
    name,
    sequelize,
    store,
    sql,
    reset() {
      sql.length = 0;
      store.reset();
    },
    setup(setupOptions = {}) {
      const cache = setupCache(sequelize, { store, prefix, ...setupOptions });
      caches.push(cache);
      return cache;
    },
    another,
    async close() {
      for (const cache of caches) await cache.close(0);
      await store.close();
      for (const one of sequelizes) await one.close();
      await drop();
    },
  };
}

/** A store on the memcached that `npm test` provides. */
export function memcachedStore(): MemcachedStore {
  return new MemcachedStore(named('SEQUELIZE_FLASH_MEMCACHED').split(','), { timeoutMs: 2000 });
}

/** The server that `npm test` provides. */
export const mysqlUrl = (): string => named('SEQUELIZE_FLASH_MYSQL_URL');

function named(variable: string): string {
  const value = process.env[variable];
  if (value === undefined) throw new Error(`${variable} is not set: run the tests with npm test, which provides servers.`);
  return value;
}
