/**
 * The cached models of one Sequelize instance, in use: who answers a lookup, what voids an entry.
 *
 * Models and cache classes may be defined after set-up: what is new is bound before the first
 * lookup or write that follows.
 */
import { LRUCache } from 'lru-cache';
import { Model, type ModelStatic, type Sequelize, type Transaction } from 'sequelize';
import { atMost } from '../at-most.js';
import { CacheNotRegisteredError, CacheNotSetUpError, InvalidCacheClassError, InvalidOptionError, UnsavedInstanceError, WrongModelError } from '../errors.js';
import { publish, type BypassReason } from '../events.js';
import type { KeySpace } from '../entries/keys.js';
import type { Canonical } from '../entries/key-types.js';
import { tableName } from '../models/cached-model.js';
import { asInstances, firstSelect } from '../models/finder.js';
import { ownValues } from '../models/hydrate.js';
import { isAsBefore, stateOf, type ModelState } from '../models/model-state.js';
import { hasFindHooks } from '../models/select.js';
import { show, type ResolvedOptions } from '../options.js';
import { isRequestOpen, memoised, noteWrite, writesOf } from '../request-cache.js';
import type { CacheClass, PrefetchOptions, ReadOptions } from '../types.js';
import { Counters, type BoundCache, type ListCache, type SimpleCache } from './bound-cache.js';
import { cachedGetters, getterOf, type Getter } from './association-getters.js';
import { Bindings, type Answerer, type BoundModel } from './binding.js';
import { attach, preparedInclude, type Chain } from './chains.js';
import { declarationCount, doesNotExistOf } from './declarations.js';
import { isInstanceOf } from './instances.js';
import { InvalidationByHand, type Voider } from './invalidation-by-hand.js';
import type { References } from './references.js';
import { follow, NotInCache, type Step } from './relations.js';

export type { Answerer, BoundModel } from './binding.js';

/** How a lookup is made. */
type Mode = 'read' | 'refresh' | 'cache-only';

/** Keys that were looked at ahead of several lookups; the loader's. */
export interface AheadPage {
  readonly wanted: ReadonlySet<string>;
  readonly epochs: ReadonlyMap<string, string | undefined>;
  readonly missed: boolean;
}

/** Answers lookups; the loader. */
export interface Reader<P extends AheadPage = AheadPage> {
  load(cache: BoundCache, values: readonly Canonical[], mode: Mode, page?: P): Promise<unknown>;
  page(keys: ReadonlySet<string>, epochs: ReadonlyMap<string, string | undefined>): Promise<P>;
}

const registries = new WeakMap<Sequelize, Registry>();
const boundTo = new WeakMap<CacheClass, Set<Registry>>();

/** A chain's hint names so many keys, on average, before it takes the room of others. */
const keysPerHint = 20;

/** The bound models of one Sequelize instance. */
export class Registry {
  #bindings: Bindings;
  /** The state of the program that the bindings were made from. */
  #boundAt = { declarations: -1, models: -1 };
  /** The models' definitions that the bindings were made from. */
  #states = new Map<ModelStatic<Model>, ModelState>();
  #isSetUp = false;
  /** By cache name; they outlive a new binding. */
  readonly #counters = new Map<string, Counters>();
  /** The keys that chains asked for last, by the answer's name. */
  readonly #chainHints: LRUCache<string, AheadPage>;
  #disposed = false;
  readonly #recomputing = new Set<Promise<void>>();
  /** The models and reasons of which it was told that lookups go to the database. */
  readonly #told = new Set<string>();
  /** What the program voids by hand. */
  readonly byHand: InvalidationByHand;

  constructor(
    readonly sequelize: Sequelize,
    private readonly keys: KeySpace,
    private readonly options: ResolvedOptions,
    private readonly reader: Reader,
    voider: Voider,
    /** Gives a model its `cache`, if it has not kept it. */
    private readonly restoreCache: (model: ModelStatic<Model>) => void,
  ) {
    // Bounded by the number of keys.
    this.#chainHints = new LRUCache({ maxSize: options.maxHints * keysPerHint, sizeCalculation: ({ wanted }) => wanted.size + 1 });
    this.byHand = new InvalidationByHand(this, reader, voider, options.onStoreFailure);
    this.#bindings = this.#bound([], false);
    registries.set(sequelize, this);
  }

  /** Binds anew before the next use: a model was defined. */
  outdated(): void {
    this.#boundAt = { declarations: -1, models: -1 };
  }

  /** Forgets the Sequelize instance: lookups through it are errors from now on. */
  dispose(): void {
    registries.delete(this.sequelize);
    this.#disposed = true;
  }

  /**
   * Binds what is defined and declared by now, all anew if there is anything new.
   * @param of the models that a read is about; a write may have to do with any, and looks at all
   * @throws InvalidKeyFieldError, InvalidCacheClassError, DuplicateCacheNameError … at set-up
   */
  bind(...of: readonly ModelStatic<Model>[]): Bindings {
    const declarations = declarationCount();
    // Declared as abstract classes; those that are defined are not.
    const models = this.sequelize.modelManager.all as unknown as readonly ModelStatic<Model>[];
    const isCurrent =
      this.#boundAt.declarations === declarations && this.#boundAt.models === models.length && this.#areAsBefore(of.length === 0 ? models : of);
    return isCurrent ? this.#bindings : this.#bindAnew(models, declarations);
  }

  /** Whether models are defined as they were when they were bound. */
  #areAsBefore(models: readonly ModelStatic<Model>[]): boolean {
    for (const model of models) {
      const before = this.#states.get(model);
      // Not one of this Sequelize instance's, such as a scoped class.
      if (before !== undefined && !isAsBefore(model, before)) return false;
    }
    return true;
  }

  #bindAnew(models: readonly ModelStatic<Model>[], declarations: number): Bindings {
    const states = new Map(models.map((model) => [model, stateOf(model)]));
    const bindings = this.#bound(models, this.#isSetUp);
    for (const [cacheClass] of bindings.classes) {
      boundTo.set(cacheClass, (boundTo.get(cacheClass) ?? new Set<Registry>()).add(this));
    }
    for (const [model, bound] of bindings.models) {
      if (!('DoesNotExist' in model)) {
        Object.defineProperty(model, 'DoesNotExist', { value: doesNotExistOf(model), configurable: true });
      }
      this.#defineTargetGetters(model, bound);
      for (const step of bound.foreignKeys) this.#cacheGetter(model, step);
      this.restoreCache(model);
    }
    this.#isSetUp = true;
    this.#bindings = bindings;
    this.#boundAt = { declarations, models: models.length };
    this.#states = states;
    this.#tell(bindings);
    // A model may have other columns now than a request's answers.
    noteWrite(this);
    return bindings;
  }

  /** Publishes, once, what cannot be cached. */
  #tell({ tables, broken }: Bindings): void {
    for (const [{ name }, error] of broken) this.#passThrough(name, 'invalid-declaration', error.message);
    for (const { cached, failures } of [...tables.values()].flat()) {
      const { passThrough } = cached;
      if (passThrough !== undefined) this.#passThrough(cached.name, passThrough.reason, passThrough.detail);
      for (const { error } of failures) this.#passThrough(cached.name, 'invalid-declaration', error.message);
    }
  }

  #passThrough(model: string, reason: string, detail: string): void {
    // Of a model's declarations each is told; what the model itself is, once.
    const name = JSON.stringify(['invalid-declaration', 'include'].includes(reason) ? [model, reason, detail] : [model, reason]);
    if (this.#told.has(name)) return;
    this.#told.add(name);
    publish('passthrough', () => ({ model, reason, detail }));
  }

  #bound(models: readonly ModelStatic<Model>[], tolerant: boolean): Bindings {
    return new Bindings(models, {
      sequelize: this.sequelize,
      keys: this.keys,
      options: this.options,
      countersOf: (name) => this.#countersOf(name),
      tolerant,
      names: tolerant ? this.#bindings.names : new Map<string, object>(),
    });
  }

  /** What is cached of a model; `undefined` if nothing is. @throws what is wrong with its declaration, after set-up */
  of(model: ModelStatic<Model>): BoundModel | undefined {
    const found = this.bind(model).models.get(model);
    if (found !== undefined) return found;
    const cause = this.#bindings.broken.get(model);
    if (cause !== undefined) throw cause;
    return undefined;
  }

  /** The cached models of the table that a model (or a scoped subclass of it) writes to. */
  ofTable(model: ModelStatic<Model>): readonly BoundModel[] {
    return this.bind().tables.get(tableName(model)) ?? [];
  }

  /** The foreign keys of all models: through them the database itself changes rows. */
  get references(): References {
    return this.bind().references;
  }

  /** The cached models of which the text of a statement names the table. */
  namedIn(sql: string): readonly BoundModel[] {
    // Some databases fold the case of names.
    const text = sql.toLowerCase();
    return [...this].filter(({ cached }) => text.includes(cached.model.tableName.toLowerCase()));
  }

  /** All models of which something is declared. */
  *[Symbol.iterator](): Generator<BoundModel> {
    for (const ofTable of this.bind().tables.values()) yield* ofTable;
  }

  /** The cache that a class is here. @throws CacheNotRegisteredError, and what is wrong with the class */
  ofClass(cacheClass: CacheClass): Answerer {
    const known = this.#bindings.classes.get(cacheClass);
    const { classes, failed, broken } = known === undefined ? this.bind() : known.kind === 'chain' ? this.bind(...known.models) : this.bind(known.model.model);
    const found = classes.get(cacheClass);
    if (found !== undefined) return found;
    const cause = failed.get(cacheClass) ?? [...broken].find(([model]) => model === cacheClass.model || model.prototype instanceof cacheClass.model)?.[1];
    if (cause !== undefined) throw cause;
    throw new CacheNotRegisteredError(
      `Cache class ${cacheClass.name} is not registered, so writes would not invalidate it. ` +
        `Put @registerCache before the class, call registerCache(${cacheClass.name}) after it, or list it in 'caches' of withCache.`,
    );
  }

  /**
   * Reads through the cache, or past it inside a transaction.
   * @throws InvalidOptionError at once
   */
  read(cache: Answerer, values: readonly Canonical[], options: ReadOptions = noOptions, as: 'plain' | 'instance' = 'plain'): Promise<unknown> {
    checkReadOptions(options);
    const transaction = options.transaction === undefined ? currentTransaction(this.sequelize) : options.transaction;
    if (transaction != null) {
      cache.counters.noteBypass('transaction');
      return readThrough(cache, values, transaction);
    }
    const reason = this.#whyNotCached(cache);
    if (reason !== undefined) {
      cache.counters.noteBypass(reason);
      const detail = this.#detailOf(cache, reason);
      // A hook may be added at any time.
      if (detail !== undefined && reason !== 'passthrough') this.#passThrough(cache.model.name, reason, detail);
      publish('bypass', () => ({ cache: cache.name, reason }));
      return options.cacheOnly === true ? Promise.resolve(undefined) : readThrough(cache, values, null, as);
    }
    const mode = options.cacheOnly === true ? 'cache-only' : options.refresh === true ? 'refresh' : 'read';
    return cache.kind === 'chain' ? this.#readChain(cache, values, mode) : this.#load(cache, values, mode);
  }

  /** The caches whose lookups go to the database, and the models whose declarations cannot be bound. */
  passedThrough(): readonly PassedThrough[] {
    const caches = Array.from(this, ({ all, chains }) => [...all, ...chains]).flat();
    const reasons = caches.flatMap((cache): PassedThrough[] => {
      const reason = this.#whyNotCached(cache);
      return reason === undefined || reason === 'disabled' ? [] : [{ model: cache.model.name, cache: cache.name, reason, detail: this.#detailOf(cache, reason) ?? reason }];
    });
    const broken = Array.from(this.bind().broken, ([{ name }, { message }]) => ({ model: name, cache: undefined, reason: 'declaration', detail: message }));
    return [...reasons, ...broken];
  }

  /** A sentence that says why lookups go to the database. */
  #detailOf({ model }: Answerer, reason: BypassReason): string | undefined {
    if (reason !== 'passthrough') return details[reason];
    const option = this.#queryOption();
    return model.passThrough?.detail ?? (option === undefined ? undefined : queryOptionDetail(option));
  }

  /** Why lookups of a cache are plain finds; `undefined` if they are not. */
  #whyNotCached(cache: Answerer): BypassReason | undefined {
    // A query that was made before close(): writes are not seen any more, so the database answers it.
    if (!this.options.enabled || this.#disposed) return 'disabled';
    if (cache.model.passThrough !== undefined) return 'passthrough';
    if ((cache.kind !== 'result' || cache.isFind) && this.#hasQueryOption(cache.model.name)) return 'passthrough';
    switch (cache.kind) {
      case 'chain':
        if (cache.models.some(hasFindHooks)) return 'find-hooks';
        return cache.whyPassedThrough === undefined ? undefined : this.#passedThroughChain(cache, cache.whyPassedThrough);
      case 'result':
        return undefined;
      default:
        return whyNotCached(cache);
    }
  }

  /** Tells once that a chain's answers are those of plain finds. */
  #passedThroughChain(chain: Chain, why: string): BypassReason {
    this.#passThrough(chain.model.name, 'include', `${chain.name} is not cached: ${why}.`);
    return 'default-scope';
  }

  /** The option of `new Sequelize({ query })` with which finds answer with something else than instances. */
  #queryOption(): string | undefined {
    const { query } = (this.sequelize as unknown as { readonly options: { readonly query?: Readonly<Record<string, unknown>> } }).options;
    for (const name in query) if (!harmlessQueryOptions.has(name) && Boolean(query[name])) return name;
    return undefined;
  }

  /** Whether the finds of a model do not answer with instances; told once. */
  #hasQueryOption(model: string): boolean {
    const option = this.#queryOption();
    if (option !== undefined) this.#passThrough(model, 'query-option', queryOptionDetail(option));
    return option !== undefined;
  }

  /**
   * The keys that the lookups of a chain asked for last time are looked at all at once: while nothing
   * changed they are the ones that it asks for now, and it takes one round trip, however long it is.
   */
  async #readChain(chain: Chain, values: readonly Canonical[], mode: Mode): Promise<unknown> {
    const id = chain.keyFor(values);
    const hint = mode === 'refresh' ? undefined : this.#chainHints.get(id);
    const ahead = new Ahead(this, () => this.reader.page(hint?.wanted ?? new Set(), hint?.epochs ?? new Map()));
    let answer: unknown;
    try {
      answer = await chain.answer(values, (cache, of) => this.#ask(cache, of, mode, ahead));
    } catch (error) {
      if (!(error instanceof NotInCache)) throw error;
    }
    const page = await ahead.looked;
    if (page !== undefined) this.#chainHints.set(id, { wanted: page.wanted, epochs: page.epochs, missed: page.missed });
    if (page?.missed === true) chain.counters.misses += 1;
    else chain.counters.hits += 1;
    return answer;
  }

  /** One lookup of a chain. */
  #ask(cache: BoundCache, values: readonly Canonical[], mode: Mode, ahead: Ahead): Promise<unknown> {
    if (cache.kind !== 'result' && (cache.model.passThrough !== undefined || whyNotCached(cache) !== undefined)) {
      return mode === 'cache-only' ? Promise.resolve(undefined) : readThrough(cache, values, null);
    }
    return this.#load(cache, values, mode, ahead);
  }

  /** A lookup in the store, unless the request that it is made in has the answer already. */
  #load(cache: BoundCache, values: readonly Canonical[], mode: Mode, ahead?: Ahead): Promise<unknown> {
    const load = (): Promise<unknown> =>
      ahead === undefined
        ? this.reader.load(cache, values, mode)
        : ahead.page().then((page) => this.reader.load(cache, values, mode, page));
    if (!isRequestOpen()) return load();
    const copier = { encode: (answer: unknown) => cache.encode(answer), decode: (cells: unknown) => cache.present(cache.decode(cells)) };
    return memoised(this, JSON.stringify([cache.name, ...values]), copier, load, mode, ahead?.writes);
  }

  /**
   * Computes anew what a write has voided, behind the back of whoever wrote. A failure is an event:
   * the next read asks again.
   */
  recompute(resets: readonly { readonly cache: BoundCache; readonly values: readonly Canonical[] }[]): void {
    for (const { cache, values } of resets) {
      if (this.#whyNotCached(cache) !== undefined) continue;
      // Not for the request that wrote: nobody asked.
      const work = this.reader.load(cache, values, 'read').then(
        () => undefined,
        (cause: unknown) => {
          publish('error', () => ({ operation: 'reset', cause }));
        },
      );
      this.#recomputing.add(work);
      void work.then(() => this.#recomputing.delete(work));
    }
  }

  /** Waits until nothing is being computed anew, for at most `milliseconds`. Nobody waits for it but `close()`. */
  settled(milliseconds: number): Promise<void> {
    return atMost(milliseconds, Promise.all(this.#recomputing));
  }

  /**
   * Lays on instances what cached foreign keys refer to. All of it is looked up in one round trip.
   * @throws InvalidOptionError
   */
  async prefetch({ cached, foreignKeys, failures }: BoundModel, instances: readonly Model[], names: readonly string[], options: PrefetchOptions): Promise<void> {
    const steps = names.map((name) => {
      const step = foreignKeys.find(({ as }) => as === name);
      if (step !== undefined) return step;
      const wrong = failures.find(({ kind, fields: [as] }) => kind === 'cachedForeignKeys' && as === name);
      if (wrong !== undefined) throw wrong.error;
      throw new InvalidOptionError(
        `${cached.name}.cache.prefetch: '${name}' is not among 'cachedForeignKeys' of withCache(${cached.name}) (${foreignKeys.map(({ as }) => as).join(', ') || 'there are none'}). Add it there.`,
      );
    });
    checkReadOptions(options);
    if ((options as ReadOptions).cacheOnly !== undefined) {
      throw new InvalidOptionError(`${cached.name}.cache.prefetch has no option 'cacheOnly': it would leave instances with nothing on them. Leave it out.`);
    }
    for (const instance of instances) {
      const given: unknown = instance;
      if (!(given instanceof Model) || !isInstanceOf(given, cached.model)) {
        throw new WrongModelError(`${cached.name}.cache.prefetch takes instances of ${cached.name}; received ${show(given)}.`);
      }
      const partial = steps.find(({ hops }) => isLoadedWithout(instance, hops[0].from));
      if (partial !== undefined) {
        throw new UnsavedInstanceError(
          `${cached.name}.cache.prefetch was given an instance that was loaded without '${partial.hops[0].from}', which leads to '${partial.as}'. Load it with that attribute.`,
        );
      }
    }
    const { stepCache } = this.bind(cached.model, ...steps.map(({ target }) => target));
    const related = await Promise.all(
      steps.map((step) =>
        Promise.all(instances.map(async (instance) => (await follow(step, instance, stepCache, (cache, values) => this.read(cache, values, options, 'instance')))[0]?.instance ?? null)),
      ),
    );
    for (const [at, step] of steps.entries()) {
      const prepared = preparedInclude(cached.model, [{ step, include: [] }]);
      for (const [of, instance] of instances.entries()) attach(instance, step.as, related[at]?.[of] ?? null, prepared);
    }
  }

  #countersOf(name: string): Counters {
    const counters = this.#counters.get(name) ?? new Counters();
    this.#counters.set(name, counters);
    return counters;
  }

  /** `getTarget()` on instances, for each generic foreign key `target`. */
  #defineTargetGetters(model: ModelStatic<Model>, { generics }: BoundModel): void {
    // The registry that there is when it is called may be another one.
    const { sequelize } = this;
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
          const current = registries.get(sequelize);
          const bound = current?.of(target);
          if (current === undefined || bound?.cached.passThrough !== undefined || bound === undefined) {
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
          return current.read(bound.primary, [value], options) as Promise<Model | null | undefined>;
        },
      });
    }
  }

  /** Lets a `belongsTo` association's getter read the cache, wherever its options leave the query as it is. */
  #cacheGetter(model: ModelStatic<Model>, step: Step): void {
    const { as, hops } = step;
    const { name, holder, original, descriptor } = getterOf(model, as);
    if (cachedGetters.has(original)) return;
    // The registry that there is when it is called may be another one.
    const { sequelize } = this;
    const getter: Getter = function cachedGetter(this: Model, options?: ReadOptions) {
      const plain = Object.keys(options ?? {}).every((option) => readOptionNames.has(option));
      const value = ownValues(this)[hops[0].from];
      const current = registries.get(sequelize);
      if (!plain || value === undefined || current === undefined) return original.call(this, options);
      return current.#follow(step, this, original, options);
    };
    cachedGetters.add(getter);
    Object.defineProperty(holder, name, { ...descriptor, value: getter });
  }

  async #follow(step: Step, instance: Model, original: Getter, options: ReadOptions = {}): Promise<unknown> {
    const { transaction, ...others } = options;
    const current = transaction === undefined ? currentTransaction(this.sequelize) : transaction;
    if (current != null) return original.call(instance, { transaction: current });
    if (this.#hasQueryOption(step.target.name)) return original.call(instance, options);
    try {
      const [found] = await follow(step, instance, this.bind(instance.constructor as ModelStatic<Model>, step.target).stepCache, (cache, values) => this.read(cache, values, { ...others, transaction: null }));
      return found?.instance ?? null;
    } catch (error) {
      if (!(error instanceof NotInCache)) throw error;
      return undefined;
    }
  }
}

/** What a chain looks at ahead of its lookups: not before one of them has to ask the store. */
class Ahead {
  readonly #owner: object;
  readonly #look: () => Promise<AheadPage>;
  #page: Promise<AheadPage> | undefined;
  #writes: number | undefined;

  constructor(owner: object, look: () => Promise<AheadPage>) {
    this.#owner = owner;
    this.#look = look;
  }

  /** How many writes of this process there were when it was looked; undefined as long as it was not. */
  get writes(): number | undefined {
    return this.#writes;
  }

  /** The page, if it was ever needed. */
  get looked(): Promise<AheadPage> | undefined {
    return this.#page;
  }

  page(): Promise<AheadPage> {
    this.#writes ??= writesOf(this.#owner);
    return (this.#page ??= this.#look());
  }
}

/** Whether a find chose other attributes. What was created without a value has none either, and it is NULL. */
function isLoadedWithout(instance: Model, attribute: string): boolean {
  if (ownValues(instance)[attribute] !== undefined) return false;
  const { attributes } = (instance as unknown as { readonly _options: { readonly attributes?: readonly unknown[] } })._options;
  return attributes?.some((chosen) => (Array.isArray(chosen) ? (chosen as unknown[])[1] : chosen) === attribute) === false;
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
async function readThrough(cache: Answerer, values: readonly Canonical[], transaction: Transaction | null, as: 'plain' | 'instance' = 'plain'): Promise<unknown> {
  const options = {
    transaction,
    rejectOnEmpty: false,
    ...(transaction === null ? { useMaster: true } : {}),
    // What is put together from several finds needs instances, whatever the Sequelize instance has in its option `query`.
    ...(as === 'instance' ? asInstances : {}),
  };
  switch (cache.kind) {
    case 'simple':
      return cache.model.model.findOne({ ...options, ...(await firstSelect(cache.model, cache, values)) });
    case 'chain':
      return cache.query(values, options) ?? cache.answer(values, (step, of) => readThrough(step, of, transaction, 'instance'));
    default:
      return cache.conceal(await cache.compute(values, transaction, as));
  }
}

/** Lookups of a cache that go to the database, always. */
export interface PassedThrough {
  readonly model: string;
  /** Undefined where all of the model's are. */
  readonly cache: string | undefined;
  readonly reason: string;
  readonly detail: string;
}

const details: Readonly<Partial<Record<BypassReason, string>>> = {
  'find-hooks': 'A find hook (beforeFind, afterFind …) of the model or of its Sequelize instance can change what is found, and only a find runs it.',
  'default-scope': 'A key field is part of the default scope’s condition, which the lookup’s own condition replaces.',
};

const queryOptionDetail = (option: string): string =>
  `The Sequelize instance has query: { ${option}: … }, so its finds do not answer with instances. Pass '${option}' to the finds that need it.`;

const noOptions: ReadOptions = Object.freeze({});

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

/** Options of `new Sequelize({ query })` that leave the answers as they are. `nest` is about plain rows only. */
const harmlessQueryOptions: ReadonlySet<string> = new Set(['logging', 'benchmark', 'logQueryParameters', 'retry', 'useMaster', 'nest', 'type']);

/** Why lookups of a cache of rows are plain finds; `undefined` if they are not. */
function whyNotCached({ model, columns }: SimpleCache | ListCache): BypassReason | undefined {
  if (hasFindHooks(model.model)) return 'find-hooks';
  // `findOne` has its own condition in place of the default scope's, so the row may be one that
  // the default scope hides: not the row that the row entry is about.
  return columns.some(({ name }) => model.scope.replaceable.has(name)) ? 'default-scope' : undefined;
}
