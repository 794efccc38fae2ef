/** Models for the tests of wrong use: a column of each kind, and references of each kind. */
import type { Model} from 'sequelize';
import { DataTypes, type Sequelize } from 'sequelize';
import { withCache, type WithCacheOptions } from '../../src/index.js';

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
  readonly getQuery: Lookup<object>;
  readonly getKey: Lookup<string>;
  readonly invalidate: Lookup<Promise<void>>;
}

/** `withCache` without its types. */
export function cached(model: unknown, options: unknown): void {
  withCache(model as typeof Model & (new () => Model), options as WithCacheOptions<Model>);
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
