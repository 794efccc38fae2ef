/** The run time as the type tests see it while it does not exist; `src/index.ts` takes its place. */
import type { Model } from 'sequelize';
import type {
  CacheArguments,
  DefaultKeyValues,
  Queryset,
  ReadOptions,
  RegisterCache,
  ResultOf,
  WithCache,
} from '../../src/types.js';

export declare const withCache: WithCache;

export declare const registerCache: RegisterCache;

export declare class InstanceCache<M extends Model, K extends readonly string[] = readonly string[]> {
  readonly key: string;
  constructor(...args: CacheArguments<M, K>);
  resolve(options?: ReadOptions): Promise<ResultOf<this, M>>;
  getInstance(values: DefaultKeyValues<M, K>): Promise<M | null> | M | null;
  protected queryset(): Queryset<M>;
}
