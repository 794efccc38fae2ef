/** Warm lookups of each kind, on rows as an application has them. */
import assert from 'node:assert/strict';
import { DataTypes, Model, type CreationOptional, type InferAttributes, type InferCreationAttributes } from 'sequelize';
import { withCache, type FlashCache } from '../../src/index.js';
import type { Store } from '../../src/stores/store.js';
import { openBackend, type BackendName } from './backends.js';

/** A row of several kinds of columns. */
export class Place extends Model<InferAttributes<Place>, InferCreationAttributes<Place>> {
  static readonly cache = withCache(Place, { keys: ['id', 'handle'], filters: ['country'] });
  declare id: CreationOptional<number>;
  /** Unique. */
  declare handle: string;
  declare name: string;
  declare country: number;
  declare latitude: string;
  declare visits: number;
  declare listed: boolean;
  declare openedAt: Date;
}

/** What a warm lookup is made by. */
export const lookupNames = [
  'get by id',
  'get by unique key',
  '64 gets by id at once',
  '64 gets by unique key at once',
  'get by id of an absent row',
  'get by unique key of an absent row',
  'getMany of 100 by id',
] as const;

export type LookupName = (typeof lookupNames)[number];

/** Lookups that are all answered from the store. */
export interface Lookups {
  /** Rows that one `run` asks for. */
  readonly asked: number;
  /** Asks once, for other rows than the last time. Throws if an answer is wrong. */
  run(): Promise<void>;
}

/** A table, its cache on a store, and the lookups. */
export interface Ground {
  readonly cache: FlashCache;
  readonly lookups: Readonly<Record<LookupName, Lookups>>;
  /** SQL statements so far. */
  statements(): number;
  close(): Promise<void>;
}

const rows = 640;
const absentRows = 50;
const inFlight = 64;
const many = 100;
/** Rows of each country. */
export const inCountry = 20;

const handleOf = (id: number): string => `place ${String(id)}`;

/** Creates the rows, and warms every lookup. */
export async function openLookups(name: BackendName, store: Store): Promise<Ground> {
  const backend = await openBackend(name, { define: { timestamps: false } });
  Place.init(
    {
      id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true },
      handle: { type: DataTypes.STRING(40), allowNull: false, unique: true },
      name: { type: DataTypes.STRING(80), allowNull: false },
      country: { type: DataTypes.INTEGER, allowNull: false },
      latitude: { type: DataTypes.DECIMAL(9, 6), allowNull: false },
      visits: { type: DataTypes.INTEGER, allowNull: false },
      listed: { type: DataTypes.BOOLEAN, allowNull: false },
      openedAt: { type: DataTypes.DATE, allowNull: false },
    },
    { sequelize: backend.sequelize, modelName: 'Place' },
  );
  const cache = backend.setup({ store });
  await backend.sequelize.sync();
  await Place.bulkCreate(
    Array.from({ length: rows }, (_, at) => ({
      handle: handleOf(at + 1),
      name: `The place with the number ${String(at + 1)}`,
      country: Math.floor(at / inCountry),
      latitude: (at / 7).toFixed(6),
      visits: at * 31,
      listed: at % 3 !== 0,
      openedAt: new Date(Date.UTC(2020, 0, 1) + at * 61_000),
    })),
  );
  const isRow = (row: Place | null, id: number): void => {
    if (row?.id !== id || row.visits !== (id - 1) * 31) assert.fail(`a wrong answer for row ${String(id)}`);
  };
  const isAbsent = (row: Place | null): void => {
    if (row !== null) assert.fail('an answer for a row that is not there');
  };
  let next = 0;
  const nextOf = (count: number): number => {
    next += 1;
    return 1 + ((next * 7) % count);
  };
  const byId = async (): Promise<void> => {
    const id = nextOf(rows);
    isRow(await Place.cache.get({ id }), id);
  };
  // Made once: the text of a key is the caller's.
  const handles = Array.from({ length: rows + 1 }, (_, id) => handleOf(id));
  const byHandle = async (): Promise<void> => {
    const id = nextOf(rows);
    isRow(await Place.cache.get({ handle: handles[id]! }), id);
  };
  const nobodies = Array.from({ length: absentRows + 1 }, (_, at) => `nobody ${String(at)}`);
  const atOnce = (one: () => Promise<void>): Lookups => ({
    asked: inFlight,
    run: async () => {
      await Promise.all(Array.from({ length: inFlight }, one));
    },
  });
  const lookups: Record<LookupName, Lookups> = {
    'get by id': { asked: 1, run: byId },
    'get by unique key': { asked: 1, run: byHandle },
    '64 gets by id at once': atOnce(byId),
    '64 gets by unique key at once': atOnce(byHandle),
    'get by id of an absent row': { asked: 1, run: async () => isAbsent(await Place.cache.getOrNone({ id: 1_000_000 + nextOf(absentRows) })) },
    'get by unique key of an absent row': { asked: 1, run: async () => isAbsent(await Place.cache.getOrNone({ handle: nobodies[nextOf(absentRows)]! })) },
    'getMany of 100 by id': {
      asked: many,
      run: async () => {
        const ids = Array.from({ length: many }, () => nextOf(rows));
        const found = await Place.cache.getMany(ids.map((id) => ({ id })));
        for (const [at, id] of ids.entries()) isRow(found[at]!, id);
      },
    },
  };
  // Twice: the second time it is known which row a handle leads to.
  for (let pass = 0; pass < 2; pass += 1) {
    for (const { asked, run } of Object.values(lookups)) for (let done = 0; done < rows; done += asked) await run();
  }
  return { cache, lookups, statements: () => backend.sql.length, close: () => backend.close() };
}
