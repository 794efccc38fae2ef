/** `InstanceCache`: the class that an application derives to cache one instance on key fields. */
import type { Model } from 'sequelize';
import type { DefaultKeyValues, ReadOptions, ResultOf } from '../types.js';
import { contextOf, markFamily } from './answers.js';
import { CacheClassQuery } from './cache-query.js';

/**
 * Caches one instance of a model on key fields.
 *
 * @example
 * \@registerCache
 * class UserCacheOnUsername extends InstanceCache<User> {
 *   static model = User;
 *   static keyFields = ['username'] as const;
 * }
 * const user = await new UserCacheOnUsername('bill1992').resolve();
 *
 * With `static include` the related instances come with it, each from its own entry, as
 * `findOne({ include })` would deliver them.
 *
 * @typeParam M the instance type of the model
 * @typeParam K the key fields as a tuple, to have the constructor's arguments checked by the compiler
 */
export abstract class InstanceCache<
  M extends Model,
  K extends readonly string[] = readonly string[],
> extends CacheClassQuery<M, K> {
  /** Of `QuerysetCache`: it has no effect here. */
  declare readonly getResult?: never;
  /** Of `QuerysetCache`: it has no effect here. */
  declare readonly getResults?: never;

  /**
   * The instance, from the cache or else from the database.
   * A simple cache rejects with the model's `DoesNotExist` if there is none; a custom one (with
   * `getInstance` overridden) resolves to what `getInstance` returned, `null` included.
   * @throws KeyFieldNotPassedError, UnknownKeyFieldError, InvalidKeyValueError, WrongModelError,
   *   UnsavedInstanceError, CacheNotRegisteredError, CacheNotSetUpError, NotInCacheError
   */
  async resolve(options: ReadOptions = {}): Promise<ResultOf<this, M>> {
    return (await this.read(options)) as ResultOf<this, M>;
  }

  /**
   * Override it to cache something else than "the row with these key values": what it returns is
   * cached, `null` included. It may depend on rows of the model that have these key values, and
   * on nothing else; use `this.queryset()` to read them.
   */
  getInstance(keyValues: DefaultKeyValues<M, K>): Promise<M | null> | M | null {
    return this.queryset().findOne({ where: (contextOf(this)?.where ?? keyValues) as never });
  }

  /**
   * Define it beside `getInstance` to answer several lookups of one tick at once: one answer for each of
   * the key values, in their order. Lookups of one key, and those inside a transaction, call
   * `getInstance`; so do those of a call that rejects.
   */
  getInstances?(keyValues: readonly DefaultKeyValues<M, K>[]): Promise<readonly (M | null)[]> | readonly (M | null)[];

  static {
    markFamily(InstanceCache, 'instance', 'getInstance');
  }
}
