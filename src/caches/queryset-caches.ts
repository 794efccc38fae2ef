/** `QuerysetCache` and its kin: what an application derives to cache all rows with some key values, or what follows from them. */
import type { Model } from 'sequelize';
import type { DefaultKeyValues, JsonValue, ListArguments, ReadOptions, ResultOfQueryset } from '../types.js';
import { contextOf, markFamily } from './answers.js';
import { CacheClassQuery } from './cache-query.js';

/**
 * Caches the list of instances that have the key values. With `static keyFields = []` that is the
 * whole table.
 *
 * `static order` and `static limit` are those of `findAll`. Each row is stored once, however many
 * lists it is in.
 *
 * @example
 * \@registerCache
 * class ParticipationsOfUser extends QuerysetCache<Participation> {
 *   static model = Participation;
 *   static keyFields = ['user'] as const;
 *   static order = [['id', 'DESC']] as const;
 *   static limit = 20;
 * }
 * const latest = await new ParticipationsOfUser(user).resolve();
 *
 * @typeParam M the instance type of the model
 * @typeParam K the key fields as a tuple, to have the constructor's arguments checked by the compiler
 */
export abstract class QuerysetCache<
  M extends Model,
  K extends readonly string[] = readonly string[],
> extends CacheClassQuery<M, K, ListArguments<M, K>> {
  /** Of `InstanceCache`: it has no effect here. */
  declare readonly getInstance?: never;
  /** Of `InstanceCache`: it has no effect here. */
  declare readonly getInstances?: never;

  /**
   * The instances, or what an overridden `getResult` returned.
   * @throws KeyFieldNotPassedError, UnknownKeyFieldError, InvalidKeyValueError, WrongModelError,
   *   UnsavedInstanceError, UnsupportedResultError, CacheNotRegisteredError, CacheNotSetUpError, NotInCacheError
   */
  async resolve(options: ReadOptions = {}): Promise<ResultOfQueryset<this, M>> {
    return (await this.read(options)) as ResultOfQueryset<this, M>;
  }

  /**
   * Override it to cache any JSON value instead: ids, a sum, a grouped count; or instances of the
   * model, one or a list. It may depend on rows of the model that have these key values, and on nothing
   * else; use `this.queryset()` to read them.
   */
  getResult(keyValues: DefaultKeyValues<M, K>): Promise<M | M[] | JsonValue> | M | M[] | JsonValue {
    return this.queryset().findAll({ where: (contextOf(this)?.where ?? keyValues) as never });
  }

  /**
   * Define it beside `getResult` to answer several lookups of one tick at once: one answer for each of
   * the key values, in their order. Lookups of one key, and those inside a transaction, call `getResult`;
   * so do those of a call that rejects.
   *
   * @example
   * async getResults(keys: readonly { user: number }[]): Promise<number[]> {
   *   const rows = await this.queryset().findAll({ where: { userId: keys.map(({ user }) => user) } });
   *   return keys.map(({ user }) => sum(rows.filter(({ userId }) => userId === user)));
   * }
   */
  getResults?(keyValues: readonly DefaultKeyValues<M, K>[]): Promise<readonly (M | M[] | JsonValue)[]> | readonly (M | M[] | JsonValue)[];

  static {
    markFamily(QuerysetCache, 'queryset', 'getResult');
  }
}

/**
 * Caches whether there is a row with the key values.
 *
 * @example
 * class HasVoted extends QuerysetExistsCache<Vote> {
 *   static model = Vote;
 *   static keyFields = ['user', 'target'] as const;
 * }
 */
export abstract class QuerysetExistsCache<
  M extends Model,
  K extends readonly string[] = readonly string[],
> extends CacheClassQuery<M, K, ListArguments<M, K>> {
  /** Of `InstanceCache`: it has no effect here. */
  declare readonly getInstance?: never;
  /** Of `InstanceCache`: it has no effect here. */
  declare readonly getInstances?: never;
  /** Of `QuerysetCache`: it has no effect here. */
  declare readonly getResult?: never;
  /** Of `QuerysetCache`: it has no effect here. */
  declare readonly getResults?: never;

  /** Whether there is a row. Throws what `QuerysetCache.resolve` throws. */
  async resolve(options: ReadOptions = {}): Promise<boolean> {
    return (await this.read(options)) as boolean;
  }

  static {
    markFamily(QuerysetExistsCache, 'exists');
  }
}

/** Caches how many rows have the key values. */
export abstract class QuerysetCountCache<
  M extends Model,
  K extends readonly string[] = readonly string[],
> extends CacheClassQuery<M, K, ListArguments<M, K>> {
  /** Of `InstanceCache`: it has no effect here. */
  declare readonly getInstance?: never;
  /** Of `InstanceCache`: it has no effect here. */
  declare readonly getInstances?: never;
  /** Of `QuerysetCache`: it has no effect here. */
  declare readonly getResult?: never;
  /** Of `QuerysetCache`: it has no effect here. */
  declare readonly getResults?: never;

  /** The number of rows. Throws what `QuerysetCache.resolve` throws. */
  async resolve(options: ReadOptions = {}): Promise<number> {
    return (await this.read(options)) as number;
  }

  static {
    markFamily(QuerysetCountCache, 'count');
  }
}
