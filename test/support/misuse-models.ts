/** Models for the tests of wrong use: a column of each kind, and references of each kind. */
import type { Model} from 'sequelize';
import { DataTypes, type Sequelize } from 'sequelize';
import { withCache, type ModelCacheStats, type WithCacheOptions } from '../../src/index.js';

/** A model and its manager as JavaScript knows them: whatever a test passes compiles. */
export interface UntypedModel {
  readonly cache: UntypedCache;
  build(values: object): Model;
  scope(name: unknown): UntypedModel;
  unscoped(): UntypedModel;
  schema(name: string): UntypedModel;
}

type Lookup<R> = (key?: unknown, options?: unknown) => R;

interface UntypedCache {
  readonly get: Lookup<Promise<Model>>;
  readonly getOrNone: Lookup<Promise<Model | null | undefined>>;
  readonly getOr404: Lookup<Promise<Model>>;
  readonly getMany: Lookup<Promise<(Model | null | undefined)[]>>;
  readonly getQuery: Lookup<{ resolve(options?: object): Promise<unknown> }>;
  readonly stats: () => ModelCacheStats;
  readonly getKey: Lookup<string>;
  readonly invalidate: Lookup<Promise<void>>;
  readonly filter: Lookup<Promise<Model[] | undefined>>;
  readonly filterMany: Lookup<Promise<(Model[] | undefined)[]>>;
  readonly filterQuery: Lookup<{ resolve(options?: object): Promise<unknown> }>;
  readonly prefetch: (instances?: unknown, associations?: unknown, options?: unknown) => Promise<readonly Model[]>;
  readonly invalidateWhere: Lookup<Promise<unknown>>;
  readonly clear: () => Promise<void>;
}

/** `withCache` without its types. */
export function cached(model: unknown, options: unknown): void {
  withCache(model as typeof Model & (new () => Model), options as WithCacheOptions<Model>);
}

/** Two models of which lists, cached foreign keys and a whole table are declared. */
export function defineTracks(sequelize: Sequelize) {
  const options = { timestamps: false };
  const Album = sequelize.define('Album', { title: DataTypes.STRING }, options);
  const Track = sequelize.define('Track', { title: DataTypes.STRING, kind: DataTypes.STRING }, options);
  Track.belongsTo(Album, { as: 'album' });
  Track.belongsTo(Album, { as: 'bonusOf', foreignKey: 'bonusId' });
  Album.hasMany(Track, { as: 'tracks', foreignKey: 'albumId' });
  cached(Track, { keys: ['id'], filters: ['album', ['album', 'kind']], cachedForeignKeys: ['album'] });
  cached(Album, { keys: ['id'], filters: [[]] });
  return { Album: Album as unknown as UntypedModel, Track: Track as unknown as UntypedModel };
}

/** A model with a column of each kind, each a key. */
export function defineKinds(sequelize: Sequelize): UntypedModel {
  const Kind = sequelize.define(
    'Kind',
    {
      id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true },
      int: DataTypes.INTEGER,
      big: DataTypes.BIGINT,
      dec: DataTypes.DECIMAL(10, 2),
      flt: DataTypes.FLOAT,
      str: DataTypes.STRING(50),
      bin: DataTypes.STRING(50, true),
      uuid: DataTypes.UUID,
      state: DataTypes.ENUM('draft', 'sent'),
      flag: DataTypes.BOOLEAN,
      at: DataTypes.DATE,
      day: DataTypes.DATEONLY,
      time: DataTypes.TIME,
      blob: DataTypes.BLOB,
      json: DataTypes.JSON,
    },
    { timestamps: false },
  );
  cached(Kind, {
    keys: ['id', 'int', 'big', 'dec', 'flt', 'str', 'bin', 'uuid', 'state', 'flag', 'at', 'day', 'time', 'blob'],
  });
  return Kind as unknown as UntypedModel;
}
