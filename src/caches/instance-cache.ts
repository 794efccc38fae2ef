/** `InstanceCache`: the class that an application derives to cache one instance on key fields. */
import type { Model, ModelStatic } from 'sequelize';
import { NotInCacheError } from '../errors.js';
import type { Canonical } from '../entries/key-types.js';
import { readOptions } from '../models/finder.js';
import type { CacheArguments, CacheClass, DefaultKeyValues, Queryset, ReadOptions, ResultOf } from '../types.js';
import type { BoundCache } from './bound-cache.js';
import { contextOf, markInherited } from './custom.js';
import { doesNotExistOf } from './declarations.js';
import { describeValues, valuesOfArguments } from './parameters.js';
import { registryOfClass, type Registry } from './registry.js';

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
 * @typeParam M the instance type of the model
 * @typeParam K the key fields as a tuple, to have the constructor's arguments checked by the compiler
 */
export abstract class InstanceCache<M extends Model, K extends readonly string[] = readonly string[]> {
  // `model`, `keyFields`, `timeout` and `version` are declared by `CacheClass` and not here: with
  // noImplicitOverride every subclass would have to write `static override`.

  readonly #given: readonly unknown[];

  /**
   * A query for the instance with these key values: in the order of `keyFields`, or by name in one
   * object, or the first ones in order and the rest by name. Nothing is read until `resolve()`.
   */
  constructor(...keyValues: CacheArguments<M, K>) {
    this.#given = keyValues;
  }

  /** The store key, for debugging. */
  get key(): string {
    const { cache, values } = this.#bound();
    return cache.keyFor(values);
  }

  /**
   * The instance, from the cache or else from the database.
   * A simple cache rejects with the model's `DoesNotExist` if there is none; a custom one (with
   * `getInstance` overridden) resolves to what `getInstance` returned, `null` included.
   * @throws KeyFieldNotPassedError, UnknownKeyFieldError, InvalidKeyValueError, WrongModelError,
   *   UnsavedInstanceError, CacheNotRegisteredError, CacheNotSetUpError, NotInCacheError
   */
  async resolve(options: ReadOptions = {}): Promise<ResultOf<this, M>> {
    const { registry, cache, values } = this.#bound();
    const found = await registry.read(cache, values, options);
    if (found === undefined) {
      throw new NotInCacheError(`${cache.name} ${describeValues(cache.fields, values)} is not in the cache, and 'cacheOnly' was asked for.`);
    }
    if (found === null && cache.kind === 'simple') {
      const DoesNotExist = doesNotExistOf(cache.model.model);
      throw new DoesNotExist(`${cache.model.name} ${describeValues(cache.fields, values)} does not exist.`);
    }
    return found as ResultOf<this, M>;
  }

  /**
   * Override it to cache something else than "the row with these key values": what it returns is
   * cached, `null` included. It may depend on rows of the model that have these key values, and
   * on nothing else; use `this.queryset()` to read them.
   */
  getInstance(keyValues: DefaultKeyValues<M, K>): Promise<M | null> | M | null {
    return this.queryset().findOne({ where: (contextOf(this)?.where ?? keyValues) as never });
  }

  static {
    markInherited(InstanceCache.prototype, 'getInstance');
  }

  /** Reads of the model on the primary connection, outside of any transaction. */
  protected queryset(): Queryset<M> {
    const context = contextOf(this);
    const model = (context?.model ?? (this.constructor as unknown as CacheClass).model) as ModelStatic<M>;
    const on = context?.transaction == null ? readOptions : { transaction: context.transaction };
    return {
      findOne: (options?: object) => model.findOne({ ...options, ...on }),
      findAll: (options?: object) => model.findAll({ ...options, ...on }),
      count: (options?: object) => model.count({ ...options, ...on }),
    } as Queryset<M>;
  }

  #bound(): { registry: Registry; cache: BoundCache; values: readonly Canonical[] } {
    const cacheClass = this.constructor as unknown as CacheClass;
    const registry = registryOfClass(cacheClass);
    const cache = registry.ofClass(cacheClass);
    return { registry, cache, values: valuesOfArguments(cache.name, cache.fields, this.#given) };
  }
}
