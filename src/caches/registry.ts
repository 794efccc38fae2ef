/**
 * The cached models of one Sequelize instance: declarations bound to initialised models.
 *
 * Models and cache classes may be defined after set-up: what is new is bound before the first
 * lookup or write that follows.
 */
import type { Model, ModelStatic, Sequelize, Transaction } from 'sequelize';
import {
  CacheNotRegisteredError,
  CacheNotSetUpError,
  DuplicateCacheNameError,
  InvalidCacheClassError,
  InvalidOptionError,
  UnsavedInstanceError,
} from '../errors.js';
import type { Affected, Table } from '../coherence/affected.js';
import { publish, type BypassReason } from '../events.js';
import type { KeySpace } from '../entries/keys.js';
import type { Canonical } from '../entries/key-types.js';
import { CachedModel, tableName } from '../models/cached-model.js';
import { columnsOf, primaryKeyOf } from '../models/columns.js';
import { findByKeys, whereOf } from '../models/finder.js';
import { show, wholeNumber, type ResolvedOptions } from '../options.js';
import type { CacheClass, ReadOptions } from '../types.js';
import { Counters, CustomCache, SimpleCache, type BoundCache } from './bound-cache.js';
import { declarationCount, declarationOf, doesNotExistOf } from './declarations.js';
import { GenericForeignKeys } from './generic-foreign-keys.js';
import { computeOf, isCustomClass } from './custom.js';
import { keyFieldOf } from './key-fields.js';

/** Answers lookups; the loader. */
export interface Reader {
  load(cache: BoundCache, values: readonly Canonical[], mode: 'read' | 'refresh' | 'cache-only'): Promise<Model | null | undefined>;
}

/** Voids entries; the coherence. */
export interface Voider {
  invalidate(affected: Affected): Promise<void>;
}

/** Everything that is cached of one model. */
export interface BoundModel {
  readonly cached: CachedModel;
  readonly generics: GenericForeignKeys;
  /** The row by its primary key; there is one whether or not it was declared. */
  readonly primary: SimpleCache;
  /** The simple caches that were declared, for the manager. */
  readonly simple: readonly SimpleCache[];
  /** All caches, for invalidation. */
  readonly all: readonly BoundCache[];
}

/** A foreign key, as a model declares it. */
export interface Reference {
  readonly child: ModelStatic<Model>;
  /** The child's column. */
  readonly column: string;
  /** The parent's column; the primary key if it is not said. */
  readonly key: string | undefined;
  readonly onDelete: string | undefined;
  readonly onUpdate: string | undefined;
}

function addReferences(child: ModelStatic<Model>, bindings: Bindings): void {
  for (const [name, attribute] of Object.entries(child.getAttributes())) {
    const { references, onDelete, onUpdate, field } = attribute;
    if (references === undefined) continue;
    const { model: target, key }: { model?: unknown; key?: string } =
      typeof references === 'string' ? { model: references } : references;
    const table = typeof target === 'string' ? target : (target as { readonly tableName?: string } | undefined)?.tableName;
    if (table === undefined) continue;
    const known = bindings.references.get(table) ?? [];
    bindings.references.set(table, [...known, { child, column: field ?? name, key, onDelete, onUpdate }]);
  }
}

const registries = new WeakMap<Sequelize, Registry>();
const boundTo = new WeakMap<CacheClass, Set<Registry>>();

/** Declarations bound to the models of one Sequelize instance. */
class Bindings {
  readonly models = new Map<ModelStatic<Model>, BoundModel>();
  readonly tables = new Map<string, readonly BoundModel[]>();
  readonly classes = new Map<CacheClass, BoundCache>();
  /** Foreign keys by the table that they refer to. */
  readonly references = new Map<string, Reference[]>();
  /** By table: why what is declared of it could not be bound. */
  readonly broken = new Map<string, Error>();
  readonly #names = new Set<string>();

  /** Takes a cache's name. @throws DuplicateCacheNameError */
  claim(name: string, model: ModelStatic<Model>): void {
    if (this.#names.has(name)) {
      throw new DuplicateCacheNameError(
        `Two caches are named '${name}' (the second one on model ${model.name}). Names are part of the keys; give each cache class a name of its own.`,
      );
    }
    this.#names.add(name);
  }
}

/** The bound models of one Sequelize instance. */
export class Registry {
  #bindings = new Bindings();
  /** The state of the program that the bindings were made from. */
  #boundAt = { declarations: -1, models: -1 };
  #isSetUp = false;
  /** By cache name; they outlive a new binding. */
  readonly #counters = new Map<string, Counters>();

  constructor(
    readonly sequelize: Sequelize,
    private readonly keys: KeySpace,
    private readonly options: ResolvedOptions,
    private readonly reader: Reader,
    private readonly voider: Voider,
    /** Gives a model its `cache`, if it has not kept it. */
    private readonly restoreCache: (model: ModelStatic<Model>) => void,
  ) {
    registries.set(sequelize, this);
  }

  /** Binds anew before the next use: a model was defined. */
  outdated(): void {
    this.#boundAt = { declarations: -1, models: -1 };
  }

  /** Forgets the Sequelize instance: lookups through it are errors from now on. */
  dispose(): void {
    registries.delete(this.sequelize);
  }

  /**
   * Binds what is defined and declared by now, all anew if there is anything new.
   * @throws InvalidKeyFieldError, NoPrimaryKeyError, UnsupportedScopeError, DuplicateCacheNameError …
   */
  bind(): Bindings {
    const declarations = declarationCount();
    // Declared as abstract classes; those that are defined are not.
    const models = this.sequelize.modelManager.all as unknown as readonly ModelStatic<Model>[];
    if (this.#boundAt.declarations === declarations && this.#boundAt.models === models.length) return this.#bindings;
    const bindings = new Bindings();
    for (const model of models) {
      addReferences(model, bindings);
      try {
        this.#bind(model, bindings);
      } catch (error) {
        if (!this.#isSetUp) throw error;
        // Declared after set-up, and wrong. Lookups of this model and writes to its table are
        // refused, because nobody knows what to invalidate; other models go on working.
        const cause = error instanceof Error ? error : new Error(String(error));
        bindings.models.delete(model);
        bindings.broken.set(tableName(model), cause);
      }
    }
    this.#isSetUp = true;
    this.#bindings = bindings;
    this.#boundAt = { declarations, models: models.length };
    return bindings;
  }

  /** What is cached of a model; `undefined` if nothing is. */
  of(model: ModelStatic<Model>): BoundModel | undefined {
    const { models, broken } = this.bind();
    const found = models.get(model);
    const cause = found === undefined ? broken.get(tableName(model)) : undefined;
    if (cause !== undefined) throw cause;
    return found;
  }

  /** The cached models of the table that a model (or a scoped subclass of it) writes to. */
  ofTable(model: ModelStatic<Model>): readonly BoundModel[] {
    const { tables, broken } = this.bind();
    const table = tableName(model);
    const cause = broken.get(table);
    if (cause !== undefined) throw cause;
    return tables.get(table) ?? [];
  }

  /** The foreign keys that refer to a table: through them the database itself changes rows. */
  referencesTo(table: string): readonly Reference[] {
    return this.bind().references.get(table) ?? [];
  }

  /** The cached models of which the text of a statement names the table. */
  namedIn(sql: string): readonly BoundModel[] {
    // Some databases fold the case of names.
    const text = sql.toLowerCase();
    return [...this].filter(({ cached }) => text.includes(cached.model.tableName.toLowerCase()));
  }

  /** All cached models. */
  [Symbol.iterator](): IterableIterator<BoundModel> {
    return this.bind().models.values();
  }

  /** The cache that a class is here. @throws CacheNotRegisteredError */
  ofClass(cacheClass: CacheClass): BoundCache {
    const { classes, broken } = this.bind();
    const found = classes.get(cacheClass);
    if (found === undefined) {
      const [cause] = broken.values();
      if (cause !== undefined) throw cause;
      throw new CacheNotRegisteredError(
        `Cache class ${cacheClass.name} is not registered, so writes would not invalidate it. ` +
          `Put @registerCache before the class, call registerCache(${cacheClass.name}) after it, or list it in 'caches' of withCache.`,
      );
    }
    return found;
  }

  /** Reads through the cache, or past it inside a transaction. */
  async read(cache: BoundCache, values: readonly Canonical[], options: ReadOptions = {}): Promise<Model | null | undefined> {
    checkReadOptions(options);
    const transaction = options.transaction === undefined ? currentTransaction(this.sequelize) : options.transaction;
    if (transaction != null) {
      cache.counters.bypasses += 1;
      return readThrough(cache, values, transaction);
    }
    const reason = cache.kind === 'simple' ? whyNotCached(cache) : undefined;
    if (reason !== undefined) {
      cache.counters.bypasses += 1;
      publish('bypass', () => ({ cache: cache.name, reason }));
      return options.cacheOnly === true ? undefined : readThrough(cache, values, null);
    }
    const mode = options.cacheOnly === true ? 'cache-only' : options.refresh === true ? 'refresh' : 'read';
    return this.reader.load(cache, values, mode);
  }

  async #void(affected: Affected): Promise<void> {
    publish('invalidate', () => ({ keys: [...affected.keys()], wide: [] }));
    await this.voider.invalidate(affected);
  }

  /** Voids everything that is cached of a model's table. */
  async invalidateTable({ cached }: BoundModel): Promise<void> {
    await this.#void(new Map([[cached.tableKeys.generation, cached.tableKeys]]));
  }

  /** Voids what is cached of the row that an instance stands for, under the key values that it holds. */
  async invalidateInstance({ cached, all }: BoundModel, instance: Model): Promise<void> {
    const primaryKey = cached.keyValues(instance, cached.primaryKey);
    if (instance.isNewRecord || primaryKey === undefined) {
      throw new UnsavedInstanceError(
        `${cached.name}.cache.invalidate was given an instance that ${instance.isNewRecord ? 'is not saved yet' : 'was loaded without its primary key'}. Pass a saved one, or key values.`,
      );
    }
    const affected = new Map<string, Table>();
    for (const cache of all) {
      const values = cached.keyValues(instance, cache.columns);
      if (values !== undefined) affected.set(cache.keyFor(values), cached.tableKeys);
      // Which of its results depend on the row is not known.
      else if (cache.kind === 'custom') affected.set(cached.tableKeys.generation, cached.tableKeys);
    }
    await this.#void(affected);
  }

  /** Voids what is cached under key values, and the row that they lead to. */
  async invalidateKey({ cached, all }: BoundModel, cache: SimpleCache, values: readonly Canonical[]): Promise<void> {
    const affected = new Map<string, Table>([[cache.keyFor(values), cached.tableKeys]]);
    for (const other of all) {
      // Caches on the same columns share their values.
      if (other.columns.length !== cache.columns.length) continue;
      const shared = other.columns.map(({ name }) => values[cache.columns.findIndex((column) => column.name === name)]);
      if (shared.every((value) => value !== undefined)) affected.set(other.keyFor(shared), cached.tableKeys);
    }
    if (!cache.primary) {
      // The row that the cache leads to and the one that the database has now may be two.
      const believed = await this.reader.load(cache, values, 'cache-only');
      const [actual] = await findByKeys(cached, cache, [values]);
      for (const row of [believed, actual]) {
        const primaryKey = row == null ? undefined : cached.keyValues(row, cached.primaryKey);
        if (primaryKey !== undefined) affected.set(cached.rowKey(primaryKey), cached.tableKeys);
      }
      // Another process may still know the way to a row that is not found from here.
      if (believed === undefined) affected.set(cached.tableKeys.generation, cached.tableKeys);
    }
    await this.#void(affected);
  }

  #bind(model: ModelStatic<Model>, bindings: Bindings): void {
    const declaration = declarationOf(model);
    if (declaration === undefined) return;
    const { options, classes } = declaration;
    const specs = (options.keys ?? options.getKeyFieldsList ?? []).map((spec) => (typeof spec === 'string' ? [spec] : spec));
    const columns = columnsOf(model);
    const primaryKey = primaryKeyOf(model, columns);
    const generics = new GenericForeignKeys(
      model,
      columns,
      (options.genericForeignKeys ?? {}),
    );
    const fieldsOf = (names: readonly string[], cache: string): readonly ReturnType<typeof keyFieldOf>[] => {
      const twice = names.find((name, at) => names.indexOf(name) !== at);
      if (twice !== undefined) throw new InvalidOptionError(`Cache ${cache} names the key field '${twice}' twice.`);
      return names.map((name) => keyFieldOf(model, columns, generics, name, cache));
    };
    const version = String(options.version ?? 0);
    const timeout = options.timeout ?? this.options.timeout;
    const declared = specs.map((names) => {
      const name = `${model.name}(${names.join(',')})`;
      return { name, fields: fieldsOf(names, name), timeout, version, counters: this.#countersOf(name) };
    });
    const ofClasses = [...classes].map((cacheClass) => {
      const own = cacheClass as { readonly timeout?: unknown; readonly version?: unknown };
      if (own.version !== undefined && typeof own.version !== 'string' && !Number.isFinite(own.version)) {
        throw new InvalidOptionError(`Option '${cacheClass.name}.version' must be a number or a string; received ${show(own.version)}.`);
      }
      return {
        cacheClass,
        name: cacheClass.name,
        counters: this.#countersOf(cacheClass.name),
        fields: fieldsOf(cacheClass.keyFields, cacheClass.name),
        timeout: wholeNumber(`${cacheClass.name}.timeout`, own.timeout, timeout, 1, 31_536_000, 'seconds'),
        version: `${version}/${typeof own.version === 'string' || typeof own.version === 'number' ? String(own.version) : ''}`,
      };
    });
    for (const { name } of [...declared, ...ofClasses]) bindings.claim(name, model);

    const keyAttributes = new Set([...declared, ...ofClasses].flatMap(({ fields }) => fields.flatMap((field) => field.columns.map(({ name }) => name))));
    const cached = new CachedModel(model, this.sequelize, this.keys, keyAttributes, version);
    const simple: SimpleCache[] = declared.map((declaration) => new SimpleCache(cached, declaration, this.keys));
    const custom: CustomCache[] = [];
    for (const declaration of ofClasses) {
      const { cacheClass } = declaration;
      let bound: BoundCache;
      if (isCustomClass(cacheClass)) {
        bound = new CustomCache(cached, declaration, this.keys, computeOf(cacheClass, cached, declaration.fields));
        custom.push(bound);
      } else {
        bound = new SimpleCache(cached, declaration, this.keys);
        simple.push(bound);
      }
      bindings.classes.set(cacheClass, bound);
      boundTo.set(cacheClass, (boundTo.get(cacheClass) ?? new Set<Registry>()).add(this));
    }
    const primary =
      simple.find((cache) => cache.primary) ??
      new SimpleCache(
        cached,
        {
          name: `${model.name}(primary key)`,
          fields: primaryKey.map(({ name }) => primaryField(name, cached)),
          timeout,
          version,
          counters: this.#countersOf(`${model.name}(primary key)`),
        },
        this.keys,
      );
    const bound: BoundModel = {
      cached,
      generics,
      primary,
      simple,
      all: [...(simple.includes(primary) ? simple : [primary, ...simple]), ...custom],
    };
    bindings.models.set(model, bound);
    bindings.tables.set(cached.table, [...(bindings.tables.get(cached.table) ?? []), bound]);
    if (!('DoesNotExist' in model)) {
      Object.defineProperty(model, 'DoesNotExist', { value: doesNotExistOf(model), configurable: true });
    }
    this.#defineTargetGetters(model, generics);
    this.restoreCache(model);
  }

  #countersOf(name: string): Counters {
    const counters = this.#counters.get(name) ?? new Counters();
    this.#counters.set(name, counters);
    return counters;
  }

  /** `getTarget()` on instances, for each generic foreign key `target`. */
  #defineTargetGetters(model: ModelStatic<Model>, generics: GenericForeignKeys): void {
    const registry = this as Registry;
    for (const generic of generics) {
      const method = `get${generic.name.charAt(0).toUpperCase()}${generic.name.slice(1)}`;
      if (method in (model.prototype as object)) continue;
      Object.defineProperty(model.prototype, method, {
        configurable: true,
        writable: true,
        value: async function getTarget(this: Model, options?: ReadOptions): Promise<Model | null | undefined> {
          const type: unknown = this.get(generic.type.name, { raw: true } as never);
          const id: unknown = this.get(generic.id.name, { raw: true } as never);
          if (typeof type !== 'string' || id == null) return null;
          const target = generic.target(type);
          const bound = registry.of(target);
          if (bound === undefined) {
            // On the primary, as if it were cached; a transaction has its own connection.
            return target.findByPk(id as string, {
              useMaster: true,
              ...(options?.transaction === undefined ? {} : { transaction: options.transaction }),
            });
          }
          const [column] = bound.primary.columns;
          const value = column?.key.canonical(id);
          // An id that no row of the target can have, such as 'x' for an integer.
          if (value === undefined) return null;
          return registry.read(bound.primary, [value], options);
        },
      });
    }
  }
}

/** The registry of a model's Sequelize instance. @throws CacheNotSetUpError */
export function registryOf(model: ModelStatic<Model>): Registry {
  const { sequelize } = model as { readonly sequelize?: Sequelize };
  if (sequelize === undefined) {
    throw new CacheNotSetUpError(
      `Model ${model.name} is not initialised yet. Call its init (or add it to a Sequelize instance) and setupCache(sequelize) before its cache is used.`,
    );
  }
  const registry = registries.get(sequelize);
  if (registry === undefined) {
    throw new CacheNotSetUpError(
      `The cache of model ${model.name} was used before setupCache(sequelize), or after close(). Call setupCache once for each Sequelize instance, in every process that reads or writes cached models.`,
    );
  }
  return registry;
}

/** The registry that a cache class is used with. @throws CacheNotSetUpError, InvalidCacheClassError */
export function registryOfClass(cacheClass: CacheClass): Registry {
  const { model } = cacheClass as { readonly model?: ModelStatic<Model> };
  if (model === undefined) {
    throw new InvalidCacheClassError(`Cache class ${cacheClass.name} needs 'static model = …', the model whose instance it caches; received undefined.`);
  }
  if ((model as { readonly sequelize?: Sequelize }).sequelize !== undefined) return registryOf(model);
  // In repository mode the exported class is never initialised; its subclasses are.
  const [only, ...more] = [...(boundTo.get(cacheClass) ?? [])].filter((registry) => registries.get(registry.sequelize) === registry);
  if (only === undefined) return registryOf(model);
  if (more.length > 0) {
    throw new InvalidCacheClassError(
      `Cache class ${cacheClass.name} belongs to several Sequelize instances; which one is meant is not known in repository mode.`,
    );
  }
  return only;
}

/** Whether a Sequelize instance has been set up. */
export const isSetUp = (sequelize: Sequelize): boolean => registries.has(sequelize);

/** The transaction that a read without the option is in, by CLS. */
export function currentTransaction(sequelize: Sequelize): Transaction | undefined {
  const { _cls } = sequelize.constructor as { readonly _cls?: { get(name: string): unknown } };
  return (_cls?.get('transaction') ?? undefined) as Transaction | undefined;
}

/** A plain Sequelize read. */
async function readThrough(
  cache: BoundCache,
  values: readonly Canonical[],
  transaction: Transaction | null,
): Promise<Model | null> {
  if (cache.kind === 'custom') return cache.compute(values, transaction);
  return cache.model.model.findOne({
    where: whereOf(cache.columns, values),
    transaction,
    rejectOnEmpty: false,
    ...(transaction === null ? { useMaster: true } : {}),
  });
}

const readOptionNames: ReadonlySet<string> = new Set<keyof ReadOptions>(['transaction', 'refresh', 'cacheOnly']);

/** A misspelt `transaction` would read past the transaction. @throws InvalidOptionError */
function checkReadOptions(options: ReadOptions): void {
  if (typeof options !== 'object' || (options as unknown) === null) {
    throw new InvalidOptionError(`The options of a cached read must be an object; received ${show(options)}.`);
  }
  for (const name in options) {
    if (!readOptionNames.has(name)) {
      throw new InvalidOptionError(
        `A cached read has no option '${name}'. Its options are: ${[...readOptionNames].join(', ')}. For another query use findOne.`,
      );
    }
  }
  if (options.refresh === true && options.cacheOnly === true) {
    throw new InvalidOptionError(`'refresh' (read the database) and 'cacheOnly' (never read it) exclude each other.`);
  }
}

const findHooks = ['beforeFind', 'beforeFindAfterExpandIncludeAll', 'beforeFindAfterOptions', 'afterFind'] as const;

/** Why a simple cache's lookups are plain finds; `undefined` if they are not. */
function whyNotCached({ model, columns }: SimpleCache): BypassReason | undefined {
  if (hasFindHooks(model.model)) return 'find-hooks';
  // `findOne` has its own condition in place of the default scope's, so the row may be one that
  // the default scope hides: not the row that the row entry is about.
  return columns.some(({ name }) => model.scope.replaceable.has(name)) ? 'default-scope' : undefined;
}

/** Hooks of the user's can change what a find asks for or returns; only a find can run them. */
function hasFindHooks(model: ModelStatic<Model>): boolean {
  const { sequelize } = model;
  return findHooks.some((hook) => model.hasHook(hook) || sequelize?.hasHook(hook) === true);
}

/** The key field of a primary key column, which may be an association's column too. */
function primaryField(name: string, cached: CachedModel): ReturnType<typeof keyFieldOf> {
  const column = cached.primaryKey.find((candidate) => candidate.name === name);
  if (column === undefined) throw new RangeError(`${name} is not in the primary key`);
  return {
    name,
    idName: undefined,
    takesInstances: false,
    columns: [column],
    read: (value) => [column.key.canonical(value) ?? null],
    argument: ([value]) => (value == null ? null : column.key.queryValue(value)),
  };
}
