/**
 * The static side of the public API. Nothing here exists at run time.
 *
 * Read from the top for what an application meets (`WithCache`, `ModelCache`, cache classes); the
 * private types at the end compute which names are key fields and which values they take. They
 * look only at the *instance* side of a model, so that `static readonly cache = withCache(User, …)`
 * does not refer to its own type.
 */
import type {
  Attributes,
  CountOptions,
  CreationOptional,
  FindOptions,
  ForeignKey,
  IncludeOptions,
  Model,
  ModelStatic,
  NonAttribute,
  NonNullFindOptions,
  Transaction,
  WhereOptions,
} from 'sequelize';
import type { DoesNotExist } from './errors.js';
import type { BypassReason, RefusalReason, WideReason } from './events.js';
import type { Invalidation } from './options.js';

// ---- withCache --------------------------------------------------------------------------------

/**
 * `withCache` in its three uses.
 *
 * @example As a static member: keys, values and results are inferred.
 * class User extends Model<InferAttributes<User>, InferCreationAttributes<User>> {
 *   static readonly cache = withCache(User, { keys: ['id', 'username', ['tenantId', 'slug']] });
 *   declare id: CreationOptional<number>;
 *   …
 * }
 *
 * @example After definition.
 * const userCache = withCache(User, { keys: ['username'] });
 *
 * @example As a mixin base class, plain or sequelize-typescript: the type of `cache` is declared.
 * class User extends withCache(Model)<InferAttributes<User>, InferCreationAttributes<User>> {
 *   declare static readonly cache: ModelCache<User, 'username' | readonly ['tenantId', 'slug']>;
 *   static cacheMeta = { keys: ['username', ['tenantId', 'slug']] };
 *   …
 * }
 *
 * @example With a manager of the model's own: its methods, and what its type says is cached, are on `cache`.
 * class UserManager extends ModelCacheManager<User, 'username'> {
 *   static keys = ['username'];
 *   byMail(mail: string) {
 *     return this.getOrNone({ username: mail.split('@')[0] ?? '' });
 *   }
 * }
 * static readonly cache = withCache(User, { keys: ['id'], manager: UserManager }); // as a static member
 * declare static readonly cache: ModelCache<User, 'id', never, never, never, UserManager>; // in the mixin
 */
export interface WithCache {
  /** One argument: the mixin. The base class keeps its type, `cache` and `cacheMeta` are left to the subclass. */
  <B extends ModelBase>(base: B): B;
  /** Two arguments: declares the caches of `model` and returns its manager. */
  <
    M extends Model,
    const S extends KeySpec<M, G> = never,
    G extends string = never,
    C extends CacheClass<M> = never,
    const F extends FilterSpec<M, G> = never,
    const A extends AssociationOf<M> = never,
    P extends CacheManager<M> = CacheManager<M>,
  >(
    model: ModelStatic<M>,
    options: WithCacheOptions<M, S, G, C, F, A, P>,
  ): MergedManager<M, S | Extract<SpecOfClass<C>, KeySpec<M, G>>, G, F, A, P>;
}

/** A class that the mixin can extend: `Model` of Sequelize or sequelize-typescript, or an abstract base of models. */
export type ModelBase = abstract new (...args: never) => Model;

/**
 * What is cached of a model: the second argument of `withCache`.
 *
 * @typeParam S the key specifications of `keys`, as a union of literals
 * @typeParam G the names of `genericForeignKeys`
 * @typeParam C the classes of `caches`
 * @typeParam F the key specifications of `filters`
 * @typeParam A the names of `cachedForeignKeys`
 * @typeParam P the instance type of `manager`
 */
export interface WithCacheOptions<
  M extends Model,
  S = KeySpec<M>,
  G extends string = never,
  C extends CacheClass<M> = CacheClass<M>,
  F = FilterSpec<M>,
  A extends string = AssociationOf<M>,
  P extends object = CacheManager<M>,
> {
  /** The key fields to look the model up by: one field, or several that identify a row together. */
  readonly keys?: readonly S[] | undefined;
  /** The long name of `keys`; pass one of them. */
  readonly getKeyFieldsList?: readonly S[] | undefined;
  /**
   * Cache classes of this model. Simple ones declared with `keyFields = [...] as const` can be
   * asked for through the manager too. Use the function form where the classes are defined later.
   */
  // `[]`: see `GenericForeignKey.models`. It also keeps TypeScript from leaving out a class whose
  // type another one's includes.
  readonly caches?: readonly C[] | [] | (() => readonly C[] | []) | undefined;
  /** References to one of several models by a pair of columns. Each name becomes a key field. */
  // oxlint-disable-next-line typescript/consistent-indexed-object-style -- through `Record`, TypeScript loses sight of the tuple in `models`
  readonly genericForeignKeys?: { readonly [N in G]: GenericForeignKey<M> } | undefined;
  /** The key fields to list the model by, with `filter`: as `keys`; an empty list is the whole table. */
  readonly filters?: readonly F[] | undefined;
  /** The long name of `filters`; pass one of them. */
  readonly filterKeyFieldsList?: readonly F[] | undefined;
  /** `belongsTo` associations whose getter (`participation.getEvent()`) reads the cache. */
  readonly cachedForeignKeys?: readonly A[] | undefined;
  /** A subclass of `ModelCacheManager`: its methods are on the model's `cache`. */
  readonly manager?: ManagerClass<P> | undefined;
  /** Seconds that an entry is kept. @default 604800 (one week) */
  readonly timeout?: number | undefined;
  /** Seconds that "there is none", or an empty list, is kept. @default `timeout` */
  readonly negativeTimeout?: number | undefined;
  /** Raise it to void everything that was cached under the former one. */
  readonly version?: number | string | undefined;
}

/**
 * `static cacheMeta` of a model that uses the mixin. Optional: it lets the compiler check the
 * names against the model.
 *
 * @example
 * static cacheMeta = { keys: ['username'] } satisfies CacheMeta<User>;
 */
export type CacheMeta<M extends Model, G extends string = never> = WithCacheOptions<M, KeySpec<M, G>, G, CacheClass<M>, FilterSpec<M, G>>;

/**
 * A subclass of `ModelCacheManager`. Its static members of the same names as the options of
 * `withCache` are put together with these.
 */
export interface ManagerClass<P extends object = object> {
  new (...args: never): P;
  readonly name: string;
  readonly keys?: readonly (string | readonly string[])[] | undefined;
  readonly getKeyFieldsList?: readonly (string | readonly string[])[] | undefined;
  readonly filters?: readonly (string | readonly string[])[] | undefined;
  readonly filterKeyFieldsList?: readonly (string | readonly string[])[] | undefined;
  readonly caches?: readonly CacheClass[] | (() => readonly CacheClass[]) | undefined;
  readonly cachedForeignKeys?: readonly string[] | undefined;
  readonly genericForeignKeys?: Readonly<Record<string, object>> | undefined;
  readonly timeout?: number | undefined;
  readonly negativeTimeout?: number | undefined;
  readonly version?: number | string | undefined;
}

/** The methods that a subclass of `ModelCacheManager` adds. */
export type ManagerMethods<P extends object> = Omit<P, keyof CacheManager<Model>>;

/** What `withCache` returns: what the options declare, and what the type of the manager class does. */
export type MergedManager<
  M extends Model,
  S,
  G extends string,
  F,
  A extends string,
  P extends object,
> = Merged<M, S, G, F, A, P, P extends { readonly [declaredBy]?: (...types: infer D extends Declared) => void } ? D : never>;

/** Names of associations to one instance, where the model declares its members; else any name. */
export type AssociationOf<M extends Model> = [AssociationName<M>] extends [never] ? string : AssociationName<M>;

/** A reference to a row of one of several models: a column that names the model, a column for its primary key. */
export interface GenericForeignKey<M extends Model> {
  /** The attribute that names the model. */
  readonly type: AttributeName<M>;
  /** The attribute that holds the primary key. */
  readonly id: AttributeName<M>;
  /**
   * The models that it may refer to: a list where the type column holds their names, else an object of
   * models by what it holds, such as `() => ({ image: Image })`. A function, because models refer to
   * each other.
   */
  // `[]` makes TypeScript infer a tuple: it would otherwise compare the models' static sides to
  // find their common type, and models that refer to each other would refer to their own type.
  readonly models: () => readonly ModelStatic<Model>[] | [] | Readonly<Record<string, ModelStatic<Model>>>;
}

// ---- Key fields -------------------------------------------------------------------------------

/** What a plain attribute's value can be as a part of a key. */
export type KeyScalar = string | number | bigint | boolean | Date | Uint8Array;

/** The id of an associated instance, where the type of the foreign key column is not known. */
export type KeyId = string | number | bigint;

/** A generic foreign key's value without the instance: `['Post', 5]`. */
export type GenericReference = readonly [typeName: string, id: string | number];

/** Whatever can be a key field's value where the types do not say which: the run time checks it. */
export type LooseKeyValue = KeyScalar | GenericReference | Model | null;

/** Names of the attributes of `M` whose values can be part of a key. */
export type AttributeName<M extends Model> = {
  readonly [N in AttributeCandidate<M>]-?: Scalar<AttributeSource<M>[N]> extends never ? never : N;
}[AttributeCandidate<M>];

/**
 * Names of the associations to one instance that `M` declares, such as
 * `declare user?: NonAttribute<User>`. The types do not tell belongsTo from hasOne.
 */
export type AssociationName<M extends Model> = {
  readonly [N in MemberName<M>]-?: IsInstance<M[N]> extends true ? N : never;
}[MemberName<M>];

/**
 * Names that can be key fields of `M`: its attributes and its belongsTo associations.
 *
 * An association must be declared to be a key field: `declare user?: NonAttribute<User>`.
 * A foreign key's column is left out where it is marked `ForeignKey<…>` and is called after a
 * declared association (`userId` beside `user`): the association's name is the key field. Other
 * foreign key columns cannot be told from attributes; the run time rejects them.
 * A model without declared members (`sequelize.define`, JavaScript) takes any name.
 */
export type KeyField<M extends Model> =
  | Exclude<AttributeName<M>, MarkedForeignKey<M>>
  | AssociationName<M>
  | ([AttributeName<M> | AssociationName<M>] extends [never] ? string : never);

/**
 * What a cache is keyed on: one key field, or several in order.
 *
 * @typeParam G the names of the model's generic foreign keys
 */
export type KeySpec<M extends Model, G extends string = never> =
  KeyField<M> | G | readonly [KeyField<M> | G, ...(KeyField<M> | G)[]];

/** What a list is keyed on: as a {@link KeySpec}, or nothing, which is the whole table. */
export type FilterSpec<M extends Model, G extends string = never> = KeySpec<M, G> | readonly [];

// ---- Looking up -------------------------------------------------------------------------------

/**
 * The parameters of a lookup by name: one object type for each declared combination, and exactly
 * these combinations. For the key field `user` with the column `userId`: `{ user: User | number }`
 * or `{ userId: number }`.
 */
export type KeyParams<M extends Model, S, G extends string = never> = Exact<
  SpecParams<M, S, G>,
  KeysOfUnion<SpecParams<M, S, G>> | ShadowedNames<M, SingleField<S>>
>;

/** One bare value in place of the parameters: the value of a cache with a single key field. */
export type BareKey<M extends Model, S, G extends string = never> = Bare<
  SingleValue<M, SingleField<S>, G>,
  KeysOfUnion<SpecParams<M, S, G>>
>;

/** What a lookup takes: the parameters of a declared combination, or a bare value. */
export type KeyLookup<M extends Model, S, G extends string = never> = KeyParams<M, S, G> | BareKey<M, S, G>;

/**
 * Options of every read.
 *
 * @typeParam C the type of `cacheOnly`, from which `getOrNone` and `getMany` derive their result
 */
export interface ReadOptions<C extends boolean = boolean> {
  /**
   * Read in this transaction: a plain Sequelize read that neither reads nor fills the cache.
   * `null` opts out of a CLS transaction.
   */
  readonly transaction?: Transaction | null | undefined;
  /** Skip the cached value, read the database, and fill the cache with the answer. @default false */
  readonly refresh?: boolean | undefined;
  /**
   * Ask the cache alone, never the database. What is not in the cache is `undefined` from
   * `getOrNone` and `getMany` (`null` still means that the row is known not to exist), and a
   * `NotInCacheError` from every other read. @default false
   */
  readonly cacheOnly?: C | undefined;
}

/** Result of a read with `cacheOnly`: `undefined` where the value is not in the cache. */
export type NotCached<C extends boolean> = true extends C ? undefined : never;

/** Options of `prefetch`. */
export type PrefetchOptions = Pick<ReadOptions, 'transaction' | 'refresh'>;

/** The parameters of `filter`: one object type for each declared combination, `{}` for the whole table. */
export type FilterParams<M extends Model, F, G extends string = never> = KeyParams<M, F, G>;

/** A lookup that has not been run. */
export interface CacheQuery<T> {
  /** The store key that it reads, for debugging. */
  readonly key: string;
  /** Runs it. Every call is a new read. */
  resolve(options?: ReadOptions): Promise<T>;
}

/**
 * The type of a model's `cache`, as an application writes it: the names are checked against the model.
 *
 * @typeParam S the declared `keys`: `'username' | readonly ['tenantId', 'slug']`
 * @typeParam G the names of the model's generic foreign keys
 * @typeParam F the declared `filters`: `'user' | readonly ['user', 'kind'] | readonly []`
 * @typeParam A the declared `cachedForeignKeys`: `'user' | 'event'`
 * @typeParam P the manager class, whose methods it has as well
 *
 * @example
 * declare static readonly cache: ModelCache<User, 'username' | readonly ['tenantId', 'slug']>;
 */
export type ModelCache<
  M extends Model,
  S extends KeySpec<M, G> = never,
  G extends string = never,
  F extends FilterSpec<M, G> = never,
  A extends AssociationOf<M> = never,
  P extends CacheManager<M> = CacheManager<M>,
> = MergedManager<M, S, G, F, A, P>;

/**
 * The manager of a model's caches, `User.cache`; {@link ModelCache} is this type with its names checked.
 */
// `S` is not constrained here: comparing two managers, as TypeScript does for a list of models,
// would take seconds of compile time to expand the constraint.
export interface CacheManager<M extends Model, S = never, G extends string = never, F = never, A extends string = never> {
  /** Only for the compiler: what is declared, to be read off a subclass of the manager. */
  readonly [declaredBy]?: (keys: S, generics: G, filters: F, foreignKeys: A) => void;
  /** The row with these key values. Rejects with the model's `DoesNotExist` if there is none. */
  get(key: KeyLookup<M, S, G>, options?: ReadOptions): Promise<M>;
  /** The row with these key values, or `null`; with `cacheOnly`, `undefined` if the cache does not know. */
  getOrNone<C extends boolean = false>(
    key: KeyLookup<M, S, G>,
    options?: ReadOptions<C>,
  ): Promise<M | null | NotCached<C>>;
  /**
   * The row with these key values. Rejects with an error of status 404 if there is none, and none has a
   * text that is no value of the column, such as the id 'x' in a URL.
   */
  getOr404(key: KeyLookup<M, S, G>, options?: ReadOptions): Promise<M>;
  /** Many rows in one round trip, in the order asked for, `null` where there is none. */
  getMany<C extends boolean = false>(
    keys: readonly KeyLookup<M, S, G>[],
    options?: ReadOptions<C>,
  ): Promise<(M | null | NotCached<C>)[]>;
  /** The lookup as an object that is run later. */
  getQuery(key: KeyLookup<M, S, G>): CacheQuery<M>;
  /**
   * The rows with these key values, of a combination that `filters` declares, in the order of the default
   * scope, then of the primary key.
   */
  filter<C extends boolean = false>(
    params: FilterParams<M, F, G>,
    options?: ReadOptions<C>,
  ): Promise<M[] | NotCached<C>>;
  /**
   * Many lists in one round trip, in the order asked for: what is not in the cache is loaded by one
   * statement for each combination of key fields.
   */
  filterMany<C extends boolean = false>(
    params: readonly FilterParams<M, F, G>[],
    options?: ReadOptions<C>,
  ): Promise<(M[] | NotCached<C>)[]>;
  /** The list as an object that is run later. */
  filterQuery(params: FilterParams<M, F, G>): CacheQuery<M[]>;
  /**
   * Loads what these `cachedForeignKeys` refer to, for many instances in one round trip, and lays it on
   * them as `include` would. Resolves to the instances. A `null` or `undefined` among them, as
   * `getMany` has it where there is no row, is left as it is.
   */
  prefetch<T extends M | null | undefined>(instances: readonly T[], foreignKeys: readonly A[], options?: PrefetchOptions): Promise<readonly T[]>;
  /** The store key of a lookup, for debugging. */
  getKey(key: KeyLookup<M, S, G>): string;
  /**
   * Voids everything that is cached of this row.
   * @throws InvalidationFailedError with `onStoreFailure: 'strict'`, as the next three methods do
   */
  invalidate(instance: M): Promise<InvalidationResult>;
  /** Voids what is cached under these key values. */
  invalidate(params: KeyParams<M, S, G>): Promise<InvalidationResult>;
  /**
   * Voids what is cached of the rows that match a condition now, in batches and without loading whole
   * rows: for rows that another program changed. What depends on the values that they had before is
   * not known, so results (counts, `getResult`, `getInstance`) of the model are void altogether.
   */
  invalidateWhere(where: WhereOptions<Attributes<M>>): Promise<RowsInvalidationResult>;
  /** Voids everything that is cached of the model's table, in every process. */
  clear(): Promise<InvalidationResult>;
  /** What was counted in this process, by the name of the cache class. */
  stats(): ModelCacheStats;
  /** The model's own "not found" error, for `instanceof`. */
  readonly DoesNotExist: typeof DoesNotExist;
}

/** What came of an invalidation that the program asked for. */
export interface InvalidationResult {
  /**
   * Whether the store has it, for all processes. If not, it is retried until it is delivered, and `cause` is
   * the store's error; other processes can read the old values until then.
   */
  readonly delivered: boolean;
  readonly cause?: unknown;
}

/** What came of an invalidation by a condition. */
export interface RowsInvalidationResult extends InvalidationResult {
  /** How many rows matched. */
  readonly rows: number;
}

/** What one cache class did in this process since set-up. */
export interface CacheStats {
  /** Reads answered from the cache. */
  readonly hits: number;
  /** Reads that the cache could not answer. */
  readonly misses: number;
  /** Values written to the cache. */
  readonly fills: number;
  /** Reads that went to the database without asking or filling the cache, as in a transaction. */
  readonly bypasses: number;
  /** Reads that the store did not answer, and values found that could not be used. */
  readonly errors: number;
  /** Answers that were not stored because their load's lease was gone. */
  readonly expired: number;
  /** Entries voided; all entries at once count as one. */
  readonly invalidations: number;
  /** How many of these voided all entries of the table at once, because the write did not tell which rows it changes, or too many. */
  readonly tableInvalidations: number;
  /** Reads answered with a value that a write had outdated, as `invalidation: 'DYNAMIC'` allows. */
  readonly outdated: number;
  /** How many of the bypasses there were for each reason. */
  readonly bypassReasons: Readonly<Partial<Record<BypassReason, number>>>;
  /** Values that the store refused, by reason. */
  readonly refusals: Readonly<Partial<Record<RefusalReason, number>>>;
  /** How many of the table invalidations there were for each reason. */
  readonly tableInvalidationReasons: Readonly<Partial<Record<WideReason, number>>>;
}

/** Counters by the name of the cache class. */
export type ModelCacheStats = Readonly<Record<string, CacheStats>>;

// ---- Cache classes ----------------------------------------------------------------------------

/**
 * A class derived from one of the cache classes, as `caches` and the decorator take it: it must
 * have `static model` and `static keyFields`.
 */
export interface CacheClass<M extends Model = Model> extends MistakenStatics {
  // oxlint-disable-next-line typescript/no-explicit-any -- the constructors' tuples are assignable to nothing narrower that can be called
  new (...args: any): { resolve(options?: ReadOptions): Promise<unknown> };
  readonly name: string;
  /** The model whose instance is cached. */
  readonly model: ModelStatic<M>;
  /** What it is keyed on: attributes, belongsTo associations by name, generic foreign keys. */
  readonly keyFields: readonly string[];
  /** Seconds that an entry is kept. @default the model's, or one week */
  readonly timeout?: number | undefined;
  /** Seconds that "there is none", or an empty list, is kept. @default the model's, or `timeout` */
  readonly negativeTimeout?: number | undefined;
  /** Raise it to void everything that was cached under the former one. */
  readonly version?: number | string | undefined;
  /** What a write does to the entries that depend on it. @default 'UNSET' */
  readonly invalidation?: Invalidation | undefined;
  /** With `'DYNAMIC'`: seconds for which an outdated answer may be given after a write. */
  readonly allowtime?: number | undefined;
  /** Of a `QuerysetCache`: attributes that the list is ordered by, each with its direction. */
  readonly order?: ListOrder<M> | undefined;
  /** Of a `QuerysetCache`: the most rows that the list has. Needs an `order`. */
  readonly limit?: number | undefined;
  /** Of a related cache: an association's name, or several as `'event.venue'`. */
  readonly relation?: string | undefined;
  /** Of an `InstanceCache`: associations that are delivered with the instance. */
  readonly include?: IncludeSpec | undefined;
}

/** Names that are taken for those of static members of a cache class, and have no effect. */
export type MistakenStatics = Readonly<
  Partial<
    Record<
      | 'keyField' | 'keyfields' | 'key_fields'
      | 'ttl' | 'timeOut' | 'negativeTimeOut' | 'negative_timeout'
      | 'allowTime' | 'allow_time'
      | 'orderBy' | 'order_by' | 'ordering'
      | 'relations' | 'includes' | 'selectRelated' | 'select_related' | 'prefetchRelated' | 'prefetch_related'
      | 'serializer' | 'deserializer',
      never
    >
  >
>;

/** `static order`: attributes, each with its direction. */
export type ListOrder<M extends Model = Model> = readonly (OrderAttribute<M> | readonly [attribute: OrderAttribute<M>, direction?: OrderDirection])[];

/** Names of attributes, where the model declares its members; else any name. */
export type OrderAttribute<M extends Model> = [keyof AttributeSource<M>] extends [never]
  ? string
  : Extract<keyof AttributeSource<M>, string> | Timestamp;

/** The timestamps of Sequelize: models have them without declaring them. */
type Timestamp = 'createdAt' | 'updatedAt' | 'deletedAt';

/** The directions of `static order`. */
export type OrderDirection = 'ASC' | 'DESC' | 'asc' | 'desc';

/** `static include`: associations by name, with others in turn. */
export type IncludeSpec = string | readonly (string | IncludedAssociation)[];

/** An association of `static include`: by name and without options, since related rows are found by their keys alone. */
export interface IncludedAssociation extends Readonly<Partial<Record<Exclude<keyof IncludeOptions, 'association' | 'include'>, never>>> {
  readonly association: string;
  readonly include?: IncludeSpec | undefined;
}

/** What JSON holds. */
export type JsonValue = string | number | boolean | null | readonly JsonValue[] | { readonly [name: string]: JsonValue };

/**
 * Registers a cache class: as a function, as a standard decorator and as a legacy one.
 *
 * @example
 * @registerCache
 * class UserCacheOnUsername extends InstanceCache<User> {
 *   static model = User;
 *   static keyFields = ['username'] as const;
 * }
 */
export type RegisterCache = <C extends CacheClass>(cacheClass: OfItsModel<C>, context?: ClassDecoratorContext) => void;

/** `C` where its static members fit its own model, also where `C` is a union of classes of several. */
type OfItsModel<C extends CacheClass> = C extends { readonly model: ModelStatic<infer M> } ? (C extends CacheClass<M> ? C : CacheClass<M>) : C;

/** Parameters by name where the key fields are not known to the compiler. */
export type LooseKeyParams = Readonly<Record<string, LooseKeyValue>>;

/** A value or parameters by name where the key fields are not known to the compiler. */
export type LooseKeyLookup = LooseKeyValue | LooseKeyParams;

/**
 * The constructor arguments of a cache class: values in the order of `K`, then at most one object
 * with the rest by name. With `K` a tuple each is checked; with the default `K` any key values
 * compile and the run time checks them.
 */
export type CacheArguments<M extends Model, K extends readonly string[] = readonly string[]> =
  number extends K['length']
    ? [first: LooseKeyLookup, ...rest: LooseKeyLookup[]]
    : PositionalArguments<M, K>;

/** The same of a cache class that may have no key fields. */
export type ListArguments<M extends Model, K extends readonly string[] = readonly string[]> =
  number extends K['length'] ? LooseKeyLookup[] : PositionalArguments<M, K>;

/**
 * One canonical value: an integer is a number, or a string of digits where a number cannot hold it;
 * a binary value is a Buffer; a generic foreign key is the pair of type and id.
 */
export type CanonicalKeyValue =
  string | number | boolean | Date | Buffer | GenericReference | null;

/**
 * What `getInstance` receives: the canonical value of every key field under its name, an
 * association's id under the association's name.
 */
export type KeyValues<M extends Model = Model, K extends readonly string[] = readonly string[]> =
  number extends K['length']
    ? Readonly<Record<string, CanonicalKeyValue>>
    : { readonly [N in K[number]]: CanonicalValue<M, N> };

/**
 * What the inherited `getInstance` receives. It carries a mark that no value has, by which
 * {@link ResultOf} tells a class that inherits `getInstance` from one that overrides it.
 */
export type DefaultKeyValues<M extends Model = Model, K extends readonly string[] = readonly string[]> =
  KeyValues<M, K> & { readonly [defaultLookup]?: never };

/**
 * What `resolve()` of the cache class instance `T` gives. A simple cache: `M`, or it rejects with
 * `DoesNotExist`. A custom one (`getInstance` overridden): what its `getInstance` resolves to.
 */
export type ResultOf<T, M extends Model> =
  IsCustom<T> extends true ? (T extends { getInstance(...args: never): infer R } ? Awaited<R> : never) : M;

/** What `resolve()` of a `QuerysetCache` gives: the instances, or what an overridden `getResult` resolves to. */
export type ResultOfQueryset<T, M extends Model> =
  OverridesResult<T> extends true ? (T extends { getResult(...args: never): infer R } ? Awaited<R> : never) : M[];

/**
 * `this.queryset()` in a cache class: reads of the model on the primary connection, never a
 * transaction's.
 */
export interface Queryset<M extends Model> {
  /** One row, or rejects (`rejectOnEmpty`). */
  findOne(options: QuerysetOptions<NonNullFindOptions<Attributes<M>>>): Promise<M>;
  /** One row, or `null`. */
  findOne(options?: QuerysetOptions<FindOptions<Attributes<M>>>): Promise<M | null>;
  /** All rows that match. */
  findAll(options?: QuerysetOptions<FindOptions<Attributes<M>>>): Promise<M[]>;
  /** How many rows match. */
  count(options?: QuerysetOptions<CountOptions<Attributes<M>>>): Promise<number>;
}

/** Sequelize's options without those that choose the connection, which the queryset does. */
export type QuerysetOptions<O> = Omit<O, 'transaction' | 'useMaster'>;

// ---- Private: which names ---------------------------------------------------------------------

declare const defaultLookup: unique symbol;

declare const declaredBy: unique symbol;

/** What the type of a manager says: `S`, `G`, `F` and `A` of {@link CacheManager}. */
type Declared = [keys: unknown, generics: string, filters: unknown, foreignKeys: string];

type Merged<M extends Model, S, G extends string, F, A extends string, P extends object, D extends Declared> = CacheManager<
  M,
  S | D[0],
  G | D[1],
  F | D[2],
  A | D[3]
> &
  ManagerMethods<P>;

type IsAny<T> = 0 extends 1 & T ? true : false;

type AnyFunction = (...args: never) => unknown;

/** The members that the model's own class declares. */
type MemberName<M extends Model> = Extract<Exclude<keyof M, keyof Model>, string>;

/** Where attributes are declared: in the model's type argument, or else as its members. */
type AttributeSource<M extends Model> =
  IsAny<Attributes<M>> extends true ? Pick<M, MemberName<M>> : Attributes<M>;

type AttributeCandidate<M extends Model> = Extract<keyof AttributeSource<M>, string>;

/** The part of an attribute's type that a key can hold; `never` for methods, JSON and instances. */
type Scalar<T> = unknown extends T
  ? KeyScalar
  : T extends AnyFunction
    ? never
    : Unbranded<Extract<T, KeyScalar>>;

/** Whether a member is one associated instance, loaded or not. Neither arrays nor methods are. */
type IsInstance<T> = unknown extends T
  ? false
  : [NonNullable<T>] extends [never]
    ? false
    : [NonNullable<T>] extends [AnyFunction]
      ? false
      : [NonNullable<T>] extends [Model]
        ? true
        : false;

/** The attribute that Sequelize may have named after the association `N`, where one is declared. */
type ForeignKeyOf<M extends Model, N extends string> = Extract<
  AttributeName<M>,
  `${N}Id` | `${N}_id` | `${N}ID`
>;

/** Attributes named after an association and marked `ForeignKey<…>`. */
type MarkedForeignKey<M extends Model> = {
  [N in ForeignKeyOf<M, AssociationName<M>>]: N extends keyof AttributeSource<M>
    ? unknown extends AttributeSource<M>[N]
      ? never
      : keyof ForeignKey<object> extends keyof NonNullable<AttributeSource<M>[N]>
        ? N
        : never
    : never;
}[ForeignKeyOf<M, AssociationName<M>>];

/** `T` without the brands of Sequelize's types, so that messages say `number`. */
type Unbranded<T> = T extends infer U &
  Brand<keyof CreationOptional<object>> &
  Brand<keyof ForeignKey<object>> &
  Brand<keyof NonAttribute<object>>
  ? U
  : T;
type Brand<B extends PropertyKey> = Partial<Record<B, true>>;

// ---- Private: which values --------------------------------------------------------------------

/** An attribute's value. `id` is `any` in every model of sequelize-typescript that does not declare it. */
type AttributeValue<M extends Model, N extends string> = N extends keyof AttributeSource<M>
  ? unknown extends AttributeSource<M>[N]
    ? N extends 'id'
      ? KeyId
      : KeyScalar | null
    : Scalar<AttributeSource<M>[N]> | Extract<AttributeSource<M>[N], null>
  : LooseKeyValue;

/** The id of an association: typed as its foreign key column where that is declared. */
type AssociationId<M extends Model, N extends AssociationName<M>> = [ForeignKeyOf<M, N>] extends [never]
  ? KeyId | Extract<M[N], null>
  : AttributeValue<M, ForeignKeyOf<M, N>>;

type FieldValue<M extends Model, N extends string, G extends string> = N extends G
  ? Model | GenericReference
  : N extends AssociationName<M>
    ? Unbranded<NonNullable<M[N]>> | AssociationId<M, N>
    : AttributeValue<M, N>;

type CanonicalValue<M extends Model, N extends string> =
  N extends AssociationName<M>
    ? CanonicalOf<AssociationId<M, N>>
    : N extends keyof AttributeSource<M>
      ? CanonicalOf<AttributeValue<M, N>>
      : CanonicalKeyValue;
type CanonicalOf<T> = T extends bigint ? number | string : T extends Uint8Array ? Buffer : T;

/** The ways to pass one key field: under its name, and an association's id under its column's name. */
type FieldParams<M extends Model, N extends string, G extends string> =
  | ForeignKeyParams<M, N extends G ? never : ForeignKeyOf<M, N & AssociationName<M>>>
  | { [P in N]: FieldValue<M, P, G> };
type ForeignKeyParams<M extends Model, F extends string> = F extends F
  ? { [P in F]: AttributeValue<M, P> }
  : never;

type FieldsParams<M extends Model, T extends readonly string[], G extends string> =
  T extends readonly [infer H extends string, ...infer R extends readonly string[]]
    ? FieldParams<M, H, G> & FieldsParams<M, R, G>
    : T extends readonly []
      ? unknown
      : { [P in T[number]]: FieldValue<M, P, G> };

/** Not `unknown`, which would be all that is left of a union with it. */
// oxlint-disable-next-line typescript/no-empty-object-type -- exactly that: no names
type NoParams = {};

/** The parameters of every specification in `S`, not yet exact. */
type SpecParams<M extends Model, S, G extends string> = S extends string
  ? FieldParams<M, S, G>
  : S extends readonly []
    ? NoParams
    : S extends readonly string[]
      ? FieldsParams<M, S, G>
      : never;

type KeysOfUnion<T> = T extends T ? keyof T : never;

/**
 * Every member of the union `T`, without the names in `All` that it lacks. The union alone would
 * admit an object with the names of several members.
 */
type Exact<T, All extends PropertyKey> = T extends T
  ? T & Partial<Record<Exclude<All, keyof T>, never>> extends infer O
    ? [keyof O] extends [never]
      ? Readonly<Record<string, never>>
      : { [P in keyof O]: O[P] }
    : never
  : never;

type SingleField<S> = S extends string ? S : S extends readonly [infer N extends string] ? N : never;

type SingleValue<M extends Model, N, G extends string> = N extends string ? FieldValue<M, N, G> : never;

/**
 * An instance as a bare value, told apart from the parameters: TypeScript would otherwise let an
 * object literal of parameters have the instance's properties too.
 */
type Bare<T, All extends PropertyKey> = T extends Model
  ? T & Partial<Record<Exclude<All, keyof T>, never>>
  : T;

/** For the same purpose, where the instance itself has a property of the key field's name (`parent`). */
type ShadowedNames<M extends Model, N> = N extends AssociationName<M>
  ? N extends keyof NonNullable<M[N]>
    ? AttributeName<Extract<M[N], Model>>
    : never
  : never;

type PositionalArguments<M extends Model, K extends readonly string[]> =
  K extends readonly [infer N extends string]
    ? [key: KeyLookup<M, N>]
    : K extends readonly [infer H extends string, ...infer R extends readonly string[]]
      ? [params: KeyParams<M, K>] | [value: FieldValue<M, H, never>, ...rest: PositionalArguments<M, R>]
      : [];

/** Whether a cache class instance overrides `getInstance`: its parameter then lacks the mark. */
type IsCustom<T> = T extends { getInstance(...args: infer A): unknown }
  ? A extends [infer V]
    ? IsAny<V> extends true
      ? true
      : typeof defaultLookup extends keyof V
        ? false
        : true
    : true
  : true;

/** The same for `getResult`. */
type OverridesResult<T> = T extends { getResult(...args: infer A): unknown }
  ? A extends [infer V]
    ? IsAny<V> extends true
      ? true
      : typeof defaultLookup extends keyof V
        ? false
        : true
    : true
  : true;

/**
 * The key specification that a simple cache class adds to its model's manager. One with `include`, or
 * whose answers may be outdated, answers with something else than the row.
 */
type SpecOfClass<C> = C extends { readonly include: IncludeSpec } | { readonly invalidation: 'OFF' | 'DYNAMIC' }
  ? never
  : C extends {
        readonly prototype: infer I;
        readonly keyFields: infer K extends readonly string[];
      }
    ? IsCustom<I> extends true
      ? never
      : readonly string[] extends K
        ? never
        : K
    : never;
