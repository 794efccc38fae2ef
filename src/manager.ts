/** `User.cache`: lookups by the declared key fields of one model. */
import { Model, type ModelStatic, type WhereOptions } from 'sequelize';
import {
  CacheNotRegisteredError,
  InvalidKeyValueError,
  InvalidOptionError,
  NotFoundError,
  NotInCacheError,
  ScopedModelError,
  WrongModelError,
  type DoesNotExist,
} from './errors.js';
import type { BoundCache, ListCache, SimpleCache } from './caches/bound-cache.js';
import { checkManagerInstance, doesNotExistOf, managerClassOf, markManager, type AnyClass } from './caches/declarations.js';
import { isInstanceOf } from './caches/instances.js';
import { CacheClassQuery } from './caches/cache-query.js';
import { describeValues, resolveFilter, resolveLookup } from './caches/parameters.js';
import { registryOf, registryOfClass, type BoundModel, type Registry } from './caches/registry.js';
import { isInput, type Canonical } from './entries/key-types.js';
import { show } from './options.js';
import type {
  AssociationOf,
  CacheClass,
  CacheManager,
  CacheQuery,
  CacheStats,
  FilterSpec,
  InvalidationResult,
  KeySpec,
  ModelCacheStats,
  PrefetchOptions,
  ReadOptions,
  RowsInvalidationResult,
} from './types.js';

/** Parameters of a lookup as they come in; `resolveLookup` checks them. */
type Parameters = unknown;

interface Resolved {
  readonly registry: Registry;
  readonly bound: BoundModel;
  readonly cache: SimpleCache;
  readonly values: readonly Canonical[];
}

/** The manager of a model's caches. Its static type is `ModelCache<User, …>`. */
export class Manager {
  readonly #model: ModelStatic<Model>;

  constructor(model: ModelStatic<Model>) {
    this.#model = model;
  }

  /** The model's own "not found" error class, for `instanceof`. */
  get DoesNotExist(): typeof DoesNotExist {
    return doesNotExistOf(this.#model);
  }

  async get(key: Parameters, options?: ReadOptions): Promise<Model> {
    const resolved = this.#resolve(key);
    return this.#found(resolved, await this.#read(resolved, options));
  }

  async getOrNone(key: Parameters, options?: ReadOptions): Promise<Model | null | undefined> {
    return this.#read(this.#resolve(key), options);
  }

  async getOr404(key: Parameters, options?: ReadOptions): Promise<Model> {
    let resolved: Resolved;
    try {
      resolved = this.#resolve(key);
    } catch (cause) {
      if (!(cause instanceof InvalidKeyValueError && cause.unreadable)) throw cause;
      throw new NotFoundError(`There is no such ${this.#model.name}.`, { cause });
    }
    return this.#found(resolved, await this.#read(resolved, options), NotFoundError);
  }

  async getMany(keys: readonly Parameters[], options?: ReadOptions): Promise<(Model | null | undefined)[]> {
    if (!Array.isArray(keys)) {
      throw new InvalidKeyValueError(`${this.#model.name}.cache.getMany takes a list of keys; received ${show(keys)}.`, { isInput: isInput(keys) });
    }
    // All are resolved before the first is read: one that is wrong rejects without any I/O.
    const resolved = keys.map((key) => this.#resolve(key));
    return Promise.all(resolved.map((one) => this.#read(one, options)));
  }

  getQuery(key: Parameters): CacheQuery<Model> {
    const resolved = this.#resolve(key);
    return {
      key: resolved.cache.keyFor(resolved.values),
      resolve: async (options) => {
        // The model may have been bound anew since.
        const current = resolved.registry.of(this.#model) === resolved.bound ? resolved : this.#resolve(key);
        return this.#found(current, await this.#read(current, options));
      },
    };
  }

  async filter(params: Parameters, options?: ReadOptions): Promise<Model[] | undefined> {
    const { registry, cache, values } = this.#list(params);
    return registry.read(cache, values, options) as Promise<Model[] | undefined>;
  }

  async filterMany(params: readonly Parameters[], options?: ReadOptions): Promise<(Model[] | undefined)[]> {
    if (!Array.isArray(params)) {
      throw new InvalidKeyValueError(`${this.#model.name}.cache.filterMany takes a list of key fields by name; received ${show(params)}.`);
    }
    // All are resolved before the first is read: one that is wrong rejects without any I/O.
    const resolved = params.map((one) => this.#list(one));
    return Promise.all(resolved.map(({ registry, cache, values }) => registry.read(cache, values, options) as Promise<Model[] | undefined>));
  }

  filterQuery(params: Parameters): CacheQuery<Model[]> {
    const resolved = this.#list(params);
    return {
      key: resolved.cache.keyFor(resolved.values),
      resolve: async (options) => {
        const { registry, cache, values } = resolved.registry.of(this.#model) === resolved.bound ? resolved : this.#list(params);
        const found = (await registry.read(cache, values, options)) as Model[] | undefined;
        if (found === undefined) {
          throw new NotInCacheError(`${cache.name} ${describeValues(cache.fields, values)} is not in the cache, and 'cacheOnly' was asked for.`);
        }
        return found;
      },
    };
  }

  async prefetch<T extends Model | null | undefined>(instances: readonly T[], associations: readonly string[], options: PrefetchOptions = {}): Promise<readonly T[]> {
    const { registry, bound } = this.#bound();
    const lists: readonly unknown[] = [instances, associations];
    if (!lists.every(Array.isArray)) {
      throw new InvalidOptionError(
        `${this.#model.name}.cache.prefetch takes a list of instances, then a list of associations' names; received ${lists.map(show).join(' and ')}.`,
      );
    }
    // `getMany` has null, or with 'cacheOnly' undefined, where there is none.
    const there = instances.filter((instance) => instance != null);
    await registry.prefetch(bound, there, associations, options);
    return instances;
  }

  getKey(key: Parameters): string {
    const { cache, values } = this.#resolve(key);
    return cache.keyFor(values);
  }

  async invalidate(instanceOrKey: Parameters): Promise<InvalidationResult> {
    const { registry, bound } = this.#bound();
    if (instanceOrKey instanceof Model && isInstanceOf(instanceOrKey, bound.cached.model)) {
      return registry.byHand.instance(bound, instanceOrKey);
    }
    if (instanceOrKey instanceof Model && !bound.simple.some(({ fields }) => fields.some(({ takesInstances }) => takesInstances))) {
      throw new WrongModelError(
        `${this.#model.name}.cache.invalidate takes an instance of ${this.#model.name}, or key values; received an instance of ${instanceOrKey.constructor.name}.`,
      );
    }
    const { cache, values } = this.#resolve(instanceOrKey);
    return registry.byHand.key(bound, cache, values);
  }

  async invalidateWhere(where: WhereOptions): Promise<RowsInvalidationResult> {
    const { registry, bound } = this.#bound();
    const given: unknown = where;
    if (typeof given !== 'object' || given === null) {
      throw new InvalidOptionError(
        `${this.#model.name}.cache.invalidateWhere takes a condition, as 'where' of findAll; received ${show(given)}. For everything of the model use clear().`,
      );
    }
    return registry.byHand.where(bound, where);
  }

  async clear(): Promise<InvalidationResult> {
    const { registry, bound } = this.#bound();
    return registry.byHand.table(bound);
  }

  stats(): ModelCacheStats {
    const { bound } = this.#bound();
    const { all, timed, chains } = bound;
    return Object.fromEntries([...all, ...timed, ...chains].map((cache): [string, CacheStats] => [cache.name, cache.counters.snapshot()]));
  }

  #bound(): { registry: Registry; bound: BoundModel } {
    const registry = registryOf(this.#model);
    const bound = registry.of(this.#model);
    if (bound === undefined) {
      throw new ScopedModelError(
        `${this.#model.name}.cache was used on a class that is not the model itself, such as ${this.#model.name}.scope(…), unscoped() or schema(…). ` +
          `The cache answers for the model's default scope; use ${this.#model.name}.cache, or a plain find.`,
      );
    }
    return { registry, bound };
  }

  #resolve(key: Parameters): Resolved {
    const { registry, bound } = this.#bound();
    const { columns, model } = bound.cached;
    const isMember = (name: string): boolean => columns.has(name) || Object.hasOwn(model.associations, name);
    if (key instanceof Model && isInstanceOf(key, model) && !bound.simple.some((cache) => takesModel(cache, model))) {
      throw new WrongModelError(
        `${model.name}.cache looks up by key values; received an instance of ${model.name} itself. Pass the value of a key field.`,
      );
    }
    const { cache, values } = orFailure(bound, 'keys', key, () => resolveLookup(model.name, bound.simple, isMember, key));
    return { registry, bound, cache, values };
  }

  #read({ registry, cache, values }: Resolved, options?: ReadOptions): Promise<Model | null | undefined> {
    return registry.read(cache, values, options) as Promise<Model | null | undefined>;
  }

  #list(params: Parameters): { registry: Registry; bound: BoundModel; cache: ListCache; values: readonly Canonical[] } {
    const { registry, bound } = this.#bound();
    const { columns, model } = bound.cached;
    const isMember = (name: string): boolean => columns.has(name) || Object.hasOwn(model.associations, name);
    return { registry, bound, ...orFailure(bound, 'filters', params, () => resolveFilter(model.name, bound.lists, isMember, params)) };
  }

  /** @param NotFound the model's own `DoesNotExist` by default */
  #found({ cache, values }: Resolved, found: Model | null | undefined, NotFound?: typeof DoesNotExist): Model {
    // With `query: { raw: true }` a find answers with a plain object.
    if (found !== undefined && found !== null) return found;
    const what = `${cache.model.name} ${describeValues(cache.fields, values)}`;
    if (found === undefined) throw new NotInCacheError(`${what} is not in the cache, and 'cacheOnly' was asked for.`);
    const Rejection = NotFound ?? doesNotExistOf(this.#model);
    throw new Rejection(`${what} does not exist.`);
  }
}

markManager(Manager);

/**
 * The base of a model's own manager: a subclass adds methods to `User.cache`, and may declare what is
 * cached of the model in static members of the same names as the options of `withCache`. Its type
 * parameters say the same to the compiler, as those of `ModelCache` do.
 *
 * @example
 * class UserManager extends ModelCacheManager<User, 'username'> {
 *   byMail(mail: string) {
 *     return this.getOrNone({ username: mail.split('@')[0] ?? '' });
 *   }
 * }
 * class User extends Model { static readonly cache = withCache(User, { keys: ['username'], manager: UserManager }); … }
 */
export const ModelCacheManager = Manager as unknown as new <
  M extends Model,
  S extends KeySpec<M, G> = never,
  G extends string = never,
  F extends FilterSpec<M, G> = never,
  A extends AssociationOf<M> = never,
>(
  model: ModelStatic<M>,
) => CacheManager<M, S, G, F, A>;

/** A lookup, or the error of the declaration that it means, where that is wrong. */
function orFailure<T>({ failures }: BoundModel, kind: 'keys' | 'filters', given: unknown, resolve: () => T): T {
  try {
    return resolve();
  } catch (error) {
    const names = typeof given === 'object' && given !== null && !(given instanceof Model) ? Object.keys(given) : undefined;
    const meant = failures.find(
      (failure) =>
        (failure.kind === kind || (failure.kind === 'class' && kind === 'keys')) &&
        (names === undefined ? failure.fields.length === 1 : failure.fields.length === names.length && failure.fields.every((field) => names.includes(field))),
    );
    throw meant?.error ?? error;
  }
}

/** Whether a bare instance of the model can be a key value of the cache (an association to itself). */
const takesModel = (cache: BoundCache, model: ModelStatic<Model>): boolean =>
  cache.fields.some(({ name }) => model.associations[name]?.target === model);

/**
 * Voids everything that is cached of a model, or of a cache class, at once in every process: for when
 * what is computed has changed, or the data behind the cache's back. A class whose entries are rows
 * (an `InstanceCache` without `getInstance`, `include` or `invalidation`) shares them with its model,
 * which is void as a whole then.
 * @throws CacheNotRegisteredError, CacheNotSetUpError, and InvalidationFailedError with `onStoreFailure: 'strict'`
 */
export async function bumpVersion(target: ModelStatic<Model> | CacheClass): Promise<InvalidationResult> {
  const given: unknown = target;
  if (typeof given !== 'function') {
    throw new InvalidOptionError(`bumpVersion takes a model or a cache class; received ${show(given)}.`);
  }
  if (!(given.prototype instanceof Model)) {
    if (!(given.prototype instanceof CacheClassQuery)) {
      throw new InvalidOptionError(`bumpVersion takes a model or a cache class; received ${show(given)}.`);
    }
    const registry = registryOfClass(target as CacheClass);
    return registry.byHand.cache(registry.ofClass(target as CacheClass));
  }
  const model = target as ModelStatic<Model>;
  const registry = registryOf(model);
  const bound = registry.of(model);
  if (bound === undefined) {
    const { scoped } = model as { readonly scoped?: boolean };
    if (scoped === true || model.sequelize?.models[model.name] !== model) {
      throw new ScopedModelError(`bumpVersion was given a class that is not the model itself, such as ${model.name}.scope(…), unscoped() or schema(…). Pass ${model.name}.`);
    }
    throw new CacheNotRegisteredError(`Nothing of model ${model.name} is cached, so there is no version to bump. Declare its caches with withCache(${model.name}, …).`);
  }
  return registry.byHand.table(bound);
}

const managers = new WeakMap<AnyClass, Manager>();

/** The manager of a class; each model, and each scoped subclass of one, has its own. */
export function managerOf(model: AnyClass): Manager {
  const known = managers.get(model);
  if (known !== undefined) return known;
  const Own = (managerClassOf(model) ?? Manager) as typeof Manager;
  const manager = new Own(model as unknown as ModelStatic<Model>);
  checkManagerInstance(model, manager, Manager);
  managers.set(model, manager);
  return manager;
}

