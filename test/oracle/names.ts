/** The names of the oracle's models, and a manager of any of them. */
import type { Model, WhereOptions } from 'sequelize';
import type { CacheQuery, ReadOptions } from '../../src/index.js';

/** The manager of a model, whatever its declared keys. */
export interface AnyCache {
  get(key: unknown, options?: ReadOptions): Promise<Model>;
  getOrNone(key: unknown, options?: ReadOptions): Promise<Model | null | undefined>;
  getMany(keys: readonly unknown[], options?: ReadOptions): Promise<(Model | null | undefined)[]>;
  getQuery(key: unknown): CacheQuery<Model>;
  filter(params: unknown, options?: ReadOptions): Promise<Model[] | undefined>;
  filterQuery(params: unknown): CacheQuery<Model[]>;
  prefetch(instances: readonly Model[], associations: readonly string[], options?: ReadOptions): Promise<readonly Model[]>;
  invalidate(instanceOrKey: unknown): Promise<void>;
  invalidateWhere(where: WhereOptions): Promise<unknown>;
  clear(): Promise<void>;
}

export type ModelName = 'User' | 'Post' | 'Article' | 'Avatar' | 'Vote' | 'Country' | 'Group' | 'Membership';
