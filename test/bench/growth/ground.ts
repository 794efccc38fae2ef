/** The tables that growth is measured on, and caches on them: many small rows, on servers of their own. */
import assert from 'node:assert/strict';
import { DataTypes, Sequelize, type Model, type ModelStatic } from 'sequelize';
import { setupCache, withCache, type CacheManager, type FlashCache, type SetupOptions, type Store } from '../../../src/index.js';
import { MemcachedStore, type MemcachedStoreOptions } from '../../../src/stores/memcached.js';
import { ObservedStore } from '../../support/observed-store.js';
import type { Subject } from '../competitors.js';
import { createDatabase, type Database } from '../database.js';
import { range } from '../places.js';

/** A row. */
export interface Item extends Model {
  id: number;
  /** Unique. */
  name: string;
  /** In no key. */
  visits: number;
}

/** A cached model. */
export type Items = ModelStatic<Item> & { readonly cache: CacheManager<Item, 'id' | 'name'> };

/** A row of the table with many keys: `k1` to `k16` are unique, each. */
export type WideKey = Readonly<Record<string, number>>;

/** One Sequelize instance with its caches. */
export interface Side<M extends ModelStatic<Model>> {
  readonly models: readonly M[];
  readonly cache: FlashCache;
  /** What was asked of the store; only where it was opened to be counted. */
  readonly observed: ObservedStore | undefined;
  /** SQL statements so far. */
  statements(): number;
}

/** Where the entries of a side are kept. */
export interface Where {
  readonly servers: readonly string[];
  /** Sides with the same one share their entries, as processes do. */
  readonly prefix: string;
  readonly store?: MemcachedStoreOptions;
  readonly setup?: SetupOptions;
  /** Counts what is asked of the store. */
  readonly observe?: boolean;
}

export const nameOf = (id: number): string => `item ${String(id)}`;
export const wideKeyOf = (key: number, id: number): number => id + key * 1_000_000;
/** Rows of each small table, and of the wide one. */
export const smallRows = 1600;
export const wideKeys = 16;

// The machine that runs this may be busy; a missed deadline would send reads to the database.
const patient: MemcachedStoreOptions = { timeoutMs: 5000, maxPending: 100_000 };

/** A database of its own. */
export interface Ground {
  /** Of the database, with its password. */
  readonly url: string;
  readonly server: Database['server'];
  /** Creates the table `items` with so many rows, `small0` and so on, and `wide`. */
  fill(rows: number, small: number): Promise<void>;
  /** Sequelize without a cache. */
  plain(table: string): ModelStatic<Item>;
  /** The tables with a cache each, on `id` and `name`. */
  items(tables: readonly string[], where: Where): Side<Items>;
  /** The wide table with caches on its first `keys` keys. */
  wide(keys: number, where: Where): Side<ModelStatic<Item>>;
  /** Ends the connections; drops the database. */
  close(): Promise<void>;
}

const columns = {
  id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true },
  name: { type: DataTypes.STRING(20), allowNull: false, unique: true },
  visits: { type: DataTypes.INTEGER, allowNull: false },
};
const wideNames = range(1, wideKeys).map((at) => `k${String(at)}`);

/** One table's model. */
export function defineItems(sequelize: Sequelize, table: string): ModelStatic<Item> {
  return sequelize.define<Item>(table, columns, { tableName: table, timestamps: false });
}

/** The cache on it. */
export function cacheItems(model: ModelStatic<Item>): Items {
  withCache(model, { keys: ['id', 'name'] as never });
  return model as Items;
}

function counting(url: string): { readonly sequelize: Sequelize; statements(): number } {
  let sent = 0;
  const sequelize = new Sequelize(url, {
    dialect: 'mysql',
    logging: () => {
      sent += 1;
    },
    pool: { max: 10, idle: 600_000 },
  });
  return { sequelize, statements: () => sent };
}

/** Opens the database's tables that a process of its own reads. */
export function openItems(url: string, tables: readonly string[], { servers, prefix, store, setup, observe }: Where) {
  const { sequelize, statements } = counting(url);
  const models = tables.map((table) => cacheItems(defineItems(sequelize, table)));
  const { observed, chosen } = storeFor(servers, store, observe);
  const cache = setupCache(sequelize, { ...setup, store: chosen, prefix });
  return { sequelize, models, cache, observed, statements };
}

/** The first rows of the table `items`, as competitors look them up. */
export function itemSubject(url: string, prefix: string, rows: number): Subject & { close(): Promise<void> } {
  const opened: { close(): Promise<unknown> }[] = [];
  const open = () => {
    const { sequelize, statements } = counting(url);
    opened.push(sequelize);
    return { sequelize, statements, model: defineItems(sequelize, 'items') };
  };
  return {
    name: 'items',
    prefix,
    // In no order, so that neighbours in memory are not asked for together.
    ids: range(1, rows).map((at) => anyOf(at, rows)),
    plain: () => {
      const { model, statements } = open();
      return { model, statements };
    },
    cached: (store, options) => {
      const { sequelize, model, statements } = open();
      const { cache } = cacheItems(model);
      opened.push(setupCache(sequelize, { ...options, store, prefix }));
      return { get: (id) => cache.get({ id }), statements };
    },
    check: isItem,
    async close() {
      // Caches before the connections that they were set up on.
      for (const one of opened.reverse()) await one.close();
    },
  };
}

/** @throws AssertionError if the answer is not this row */
export function isItem(answer: unknown, id: number): void {
  const row = answer as Item | null | undefined;
  assert.ok(row?.id === id && row.name === nameOf(id), `a wrong answer for row ${String(id)}`);
}

/** Any row but in no order: a step that has no divisor in common with a power of ten. */
export const anyOf = (at: number, rows: number): number => 1 + ((at * 618_033) % rows);

function storeFor(servers: readonly string[], options: MemcachedStoreOptions = patient, observe = false): { chosen: Store; observed: ObservedStore | undefined } {
  const memcached = new MemcachedStore(servers, options);
  const observed = observe ? new ObservedStore(memcached) : undefined;
  return { chosen: observed ?? memcached, observed };
}

/** Creates a database. */
export async function openGround(url: string): Promise<Ground> {
  const database = await createDatabase(url, 'flash_growth');
  const opened: { close(): Promise<unknown> }[] = [];
  const connect = (logging: false | (() => void) = false): Sequelize => {
    const sequelize = new Sequelize(database.url, { dialect: 'mysql', logging, pool: { max: 10, idle: 600_000 } });
    opened.push(sequelize);
    return sequelize;
  };
  return {
    url: database.url,
    server: database.server,
    async fill(rows, small) {
      const sequelize = connect();
      const tables = range(0, small - 1).map((at) => `small${String(at)}`);
      for (const table of ['items', ...tables]) defineItems(sequelize, table);
      sequelize.define('wide', { ...columns, ...Object.fromEntries(wideNames.map((name) => [name, { type: DataTypes.INTEGER, unique: true }])) }, { tableName: 'wide', timestamps: false });
      await sequelize.sync();
      // By doubling: twenty statements for a million rows.
      await sequelize.query(`INSERT INTO items (id, name, visits) VALUES (1, '${nameOf(1)}', 0)`);
      for (let filled = 1; filled < rows; filled *= 2) {
        await sequelize.query(
          `INSERT INTO items (id, name, visits) SELECT id + ${String(filled)}, CONCAT('item ', id + ${String(filled)}), 0 FROM items WHERE id <= ${String(Math.min(filled, rows - filled))}`,
        );
      }
      for (const table of tables) {
        await sequelize.query(`INSERT INTO ${table} (id, name, visits) SELECT id, name, visits FROM items WHERE id <= ${String(smallRows)}`);
      }
      await sequelize.query(
        `INSERT INTO wide (id, name, visits, ${wideNames.join(', ')}) SELECT id, name, visits, ${wideNames.map((_, at) => `id + ${String((at + 1) * 1_000_000)}`).join(', ')} FROM items WHERE id <= ${String(smallRows)}`,
      );
      await sequelize.query(`ANALYZE TABLE ${['items', 'wide', ...tables].join(', ')}`);
    },
    plain: (table) => defineItems(connect(), table),
    items(tables, where) {
      const side = openItems(database.url, tables, where);
      opened.push(side.sequelize, side.cache);
      return side;
    },
    wide(keys, { servers, prefix, store, setup, observe }) {
      let sent = 0;
      const sequelize = connect(() => {
        sent += 1;
      });
      const all = Object.fromEntries(wideNames.map((name) => [name, { type: DataTypes.INTEGER, unique: true }]));
      const model = sequelize.define<Item>('wide', { ...columns, ...all }, { tableName: 'wide', timestamps: false });
      withCache(model, { keys: wideNames.slice(0, keys) as never });
      const { observed, chosen } = storeFor(servers, store, observe);
      const cache = setupCache(sequelize, { ...setup, store: chosen, prefix });
      opened.push(cache);
      return { models: [model], cache, observed, statements: () => sent };
    },
    async close() {
      // Caches before the connections that they were set up on.
      for (const one of opened.reverse()) await one.close();
      await database.drop();
    },
  };
}
