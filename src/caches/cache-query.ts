/**
 * What all cache classes of an application have in common: a query with key values, made by `new`,
 * run by `resolve()`.
 *
 * `model`, `keyFields`, `timeout` and the like are declared by `CacheClass` and not here: with
 * noImplicitOverride every subclass would have to write `static override`.
 */
import type { Model, ModelStatic } from 'sequelize';
import { InvalidCacheClassError, NotInCacheError } from '../errors.js';
import type { Canonical } from '../entries/key-types.js';
import { onPrimary } from '../models/finder.js';
import type { CacheArguments, CacheClass, Queryset, ReadOptions } from '../types.js';
import { contextOf } from './answers.js';
import { doesNotExistOf } from './declarations.js';
import { describeValues, valuesOfArguments } from './parameters.js';
import { registryOfClass, type Answerer, type Registry } from './registry.js';

const ownMethods = ['getInstance', 'getInstances', 'getResult', 'getResults'] as const;

/** A query for what a cache class caches under some key values. */
export abstract class CacheClassQuery<
  M extends Model,
  K extends readonly string[] = readonly string[],
  A extends readonly unknown[] = CacheArguments<M, K>,
> {
  readonly #given: readonly unknown[];

  /**
   * A query with these key values: in the order of `keyFields`, or by name in one object, or the
   * first ones in order and the rest by name. Nothing is read until `resolve()`.
   */
  constructor(...keyValues: A) {
    this.#given = keyValues;
  }

  /** The store key, for debugging. */
  get key(): string {
    const { cache, values } = this.#bound();
    return cache.keyFor(values);
  }

  /** Runs the query. */
  protected async read(options: ReadOptions): Promise<unknown> {
    const { registry, cache, values } = this.#bound();
    const found = await registry.read(cache, values, options);
    const what = (): string => describeValues(cache.fields, values);
    if (found === undefined) throw new NotInCacheError(`${cache.name} ${what()} is not in the cache, and 'cacheOnly' was asked for.`);
    if (found === null && cache.rejectsNull) {
      const DoesNotExist = doesNotExistOf(cache.model.model);
      throw new DoesNotExist(`${cache.model.name} ${what()} does not exist.`);
    }
    return found;
  }

  /** Reads of the model on the primary connection, outside of any transaction. */
  protected queryset(): Queryset<M> {
    const context = contextOf(this);
    const model = (context?.model ?? (this.constructor as unknown as CacheClass).model) as ModelStatic<M>;
    const on = context?.transaction == null ? onPrimary : { transaction: context.transaction };
    // Instances, whatever the Sequelize instance has in its option `query`.
    return {
      findOne: (options?: object) => model.findOne({ rejectOnEmpty: false, raw: false, nest: false, ...options, ...on }),
      findAll: (options?: object) => model.findAll({ raw: false, nest: false, plain: false, ...options, ...on }),
      count: (options?: object) => model.count({ ...options, ...on }),
    };
  }

  #bound(): { registry: Registry; cache: Answerer; values: readonly Canonical[] } {
    const cacheClass = this.constructor as unknown as CacheClass;
    for (const method of ownMethods) {
      if (!Object.hasOwn(this, method)) continue;
      throw new InvalidCacheClassError(`Cache class ${cacheClass.name} has '${method}' as a class field, which has no effect. Write it as a method: ${method}(keyValues) { … }`);
    }
    const registry = registryOfClass(cacheClass);
    const cache = registry.ofClass(cacheClass);
    return { registry, cache, values: valuesOfArguments(cache.name, cache.fields, this.#given) };
  }
}
