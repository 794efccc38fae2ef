/**
 * Declarations bound to the initialised models of one Sequelize instance.
 *
 * In three passes, because relations need caches of other models: what each model declares; what
 * its relations ask of the models that they lead to; and then every model with all its caches.
 */
import type { Model, ModelStatic, Sequelize } from 'sequelize';
import { DuplicateCacheNameError, InvalidCacheClassError, InvalidOptionError } from '../errors.js';
import type { KeySpace } from '../entries/keys.js';
import { CachedModel, tableName } from '../models/cached-model.js';
import { columnsOf, isKeyColumn, primaryKeyOf, type Column, type KeyColumn } from '../models/columns.js';
import { invalidations, show, wholeNumber, type Invalidation, type ResolvedOptions } from '../options.js';
import type { CacheClass, ReadOptions } from '../types.js';
import {
  checkManyMethod,
  countOf,
  customInstance,
  customResult,
  existsOf,
  familyOf,
  listOf,
  listOptionsOf,
  ownMethodOf,
  plainListOptions,
  wholeInstance,
  wholeList,
  type Family,
} from './answers.js';
import type { Counters} from './bound-cache.js';
import { ListCache, ResultCache, SimpleCache, type BoundCache, type CacheDeclaration } from './bound-cache.js';
import { IncludingCache, RelatedCache, type Chain } from './chains.js';
import { declarationOf, type ModelOptions } from './declarations.js';
import { GenericForeignKeys } from './generic-foreign-keys.js';
import { keyFieldOf, type KeyField } from './key-fields.js';
import { References } from './references.js';
import { cachesOf, hopsOf, inclusionsOf, stepOf, stepsOf, type CacheFinder, type Inclusion, type Step, type StepCache } from './relations.js';

/** Everything that is cached of one model. */
export interface BoundModel {
  readonly cached: CachedModel;
  readonly generics: GenericForeignKeys;
  /** The row by its primary key; there is one whether or not it was declared. */
  readonly primary: SimpleCache;
  /** The simple caches that were declared, for the manager. */
  readonly simple: readonly SimpleCache[];
  /** The lists that the manager's `filter` knows. */
  readonly lists: readonly ListCache[];
  /** What relations lead to, and instances with others included. */
  readonly chains: readonly Chain[];
  /** All caches that writes void. */
  readonly all: readonly BoundCache[];
  /** Those that only their timeout ends. */
  readonly timed: readonly BoundCache[];
  /** A row that was written is to be read anew. */
  readonly resetsRows: boolean;
  /** `belongsTo` associations whose getter reads the cache. */
  readonly foreignKeys: readonly Step[];
}

/** What a cache class is here. */
export type Answerer = BoundCache | Chain;

/** What binding needs of the registry. */
export interface BindingContext {
  readonly sequelize: Sequelize;
  readonly keys: KeySpace;
  readonly options: ResolvedOptions;
  /** By cache name; they outlive a new binding. */
  readonly countersOf: (name: string) => Counters;
  /**
   * What is declared after set-up, and wrong, must not break other models: lookups of this one and
   * writes to its table are refused, because nobody knows what to invalidate.
   */
  readonly tolerant: boolean;
}

/** Declarations bound to the models of one Sequelize instance. */
export class Bindings {
  readonly models = new Map<ModelStatic<Model>, BoundModel>();
  readonly tables = new Map<string, readonly BoundModel[]>();
  readonly classes = new Map<CacheClass, Answerer>();
  readonly references: References;
  /** By table: why what is declared of it could not be bound. */
  readonly broken = new Map<string, Error>();
  /** Caches that steps of relations need, by model and attribute. */
  readonly #stepCaches = new Map<string, SimpleCache | ListCache>();

  /** The cache that a step of a relation looks in. */
  readonly stepCache: CacheFinder = (step) => {
    const found = this.#stepCaches.get(stepName(step));
    if (found === undefined) throw this.broken.get(tableName(step.model)) ?? new RangeError(`no cache for ${stepName(step)}`);
    return found;
  };

  constructor(models: readonly ModelStatic<Model>[], context: BindingContext) {
    this.references = new References(models);
    const drafts = new Map<ModelStatic<Model>, Draft>();
    const names = new Set<string>();
    const attempt = (model: ModelStatic<Model>, work: () => void): void => {
      if (this.broken.has(tableName(model))) return;
      try {
        work();
      } catch (error) {
        if (!context.tolerant) throw error;
        drafts.delete(model);
        this.models.delete(model);
        this.broken.set(tableName(model), error instanceof Error ? error : new Error(String(error)));
      }
    };
    for (const model of models) {
      attempt(model, () => {
        const draft = draftOf(model, context, names);
        if (draft !== undefined) drafts.set(model, draft);
      });
    }
    // Relations may lead to models of which nothing is declared, and ask for caches of those that are.
    for (const [model, draft] of [...drafts]) {
      attempt(model, () => {
        for (const step of draft.steps) {
          const target = drafts.get(step.model) ?? emptyDraft(step.model, context);
          drafts.set(step.model, target);
          target.needed.set(stepName(step), step);
        }
      });
    }
    for (const [model, draft] of drafts) {
      attempt(model, () => {
        this.#bindModel(draft, context);
      });
    }
    for (const [model, { chains, foreignKeys }] of drafts) {
      attempt(model, () => {
        for (const step of foreignKeys) {
          this.#checkStep(model, step, `withCache(${model.name}), 'cachedForeignKeys'`);
          checkGetter(model, step.as);
        }
        for (const { name, steps, inclusions } of chains) {
          let from = model;
          for (const step of steps) {
            this.#checkStep(from, step, name);
            from = step.target;
          }
          this.#checkInclusions(model, inclusions ?? [], name);
        }
      });
    }
  }

  #checkInclusions(model: ModelStatic<Model>, inclusions: readonly Inclusion[], who: string): void {
    for (const { step, include } of inclusions) {
      this.#checkStep(model, step, who);
      this.#checkInclusions(step.target, include, who);
    }
  }

  /** A step starts from a value of the row, so the row has to come with it. @throws InvalidCacheClassError */
  #checkStep(model: ModelStatic<Model>, { as, hops: [first, then] }: Step, who: string): void {
    const starts = [{ at: model, from: first.from }, ...(then === undefined ? [] : [{ at: first.cache.model, from: then.from }])];
    for (const { at, from } of starts) {
      const attributes = this.models.get(at)?.cached.scope.attributes;
      if (attributes?.includes(from) === false) {
        throw new InvalidCacheClassError(`${who}: '${as}' starts from '${from}' of model ${at.name}, which its default scope leaves out. Add it to the scope's attributes.`);
      }
    }
  }

  #bindModel(draft: Draft, context: BindingContext): void {
    const { model, version } = draft;
    const { keys } = context;
    const keyAttributes = new Set([
      ...[...draft.keys, ...draft.filters, ...draft.classes, ...draft.chains].flatMap(({ fields }) =>
        fields.flatMap((field) => field.columns.map(({ name }) => name)),
      ),
      // What steps of relations look for.
      ...Array.from(draft.needed.values(), ({ attribute }) => attribute),
    ]);
    const cached = new CachedModel(model, context.sequelize, keys, keyAttributes, version);
    const declared = draft.keys.map((declaration) => new SimpleCache(cached, declaration, keys));
    const lists = draft.filters.map((declaration) => plainList(cached, declaration, keys));
    const others: BoundCache[] = [];
    for (const declaration of draft.classes) {
      const bound = bindClass(declaration, cached, keys);
      this.classes.set(declaration.cacheClass, bound);
      if (bound.kind === 'simple') declared.push(bound);
      else others.push(bound);
    }
    const simple = [...declared];
    const hidden = (kind: StepCache['kind'], declaration: CacheDeclaration): SimpleCache | ListCache => {
      if (kind === 'list') {
        const list = plainList(cached, declaration, keys);
        others.push(list);
        return list;
      }
      const row = new SimpleCache(cached, declaration, keys);
      simple.push(row);
      return row;
    };
    for (const [name, { kind, attribute }] of draft.needed) {
      const known = (kind === 'list' ? lists : simple).find(({ columns }) => columns.length === 1 && columns[0]?.name === attribute);
      const title = kind === 'list' ? `${model.name}[${attribute}]` : `${model.name}(${attribute})`;
      this.#stepCaches.set(name, known ?? hidden(kind, plainDeclaration(draft, title, [attributeField(draft, attribute)], context)));
    }
    for (const chain of draft.chains) {
      const { name, fields, family } = chain;
      const columns = fields.flatMap((field) => field.columns);
      const declaration = plainDeclaration(draft, `${name}(root)`, fields, context);
      // Two caches of the same rows would each ask for them.
      const same = (cache: BoundCache): boolean =>
        cache.columns.length === columns.length && columns.every((column, at) => column.name === cache.columns[at]?.name);
      const row = simple.find(same) ?? new SimpleCache(cached, declaration, keys);
      const startsFromRow = family !== 'related-queryset' || row.single;
      if (startsFromRow && !simple.includes(row)) simple.push(row);
      const root = startsFromRow ? row : (lists.find(same) ?? hidden('list', declaration));
      this.classes.set(chain.cacheClass, chainOf(chain, cached, keys, this.stepCache, root));
    }
    const primary =
      simple.find((cache) => cache.primary) ??
      new SimpleCache(cached, plainDeclaration(draft, `${model.name}(primary key)`, cached.primaryKey.map(columnField), context), keys);
    const every = [...(simple.includes(primary) ? simple : [primary, ...simple]), ...lists, ...others];
    for (const cache of every) cache.rows = primary;
    this.models.set(model, {
      cached,
      generics: draft.generics,
      primary,
      simple: declared,
      lists,
      chains: draft.chains.map(({ cacheClass }) => this.classes.get(cacheClass) as Chain),
      all: every.filter(({ invalidation }) => invalidation !== 'OFF'),
      timed: every.filter(({ invalidation }) => invalidation === 'OFF'),
      resetsRows: simple.some(({ invalidation }) => invalidation === 'RESET'),
      foreignKeys: draft.foreignKeys,
    });
    this.tables.set(cached.table, [...(this.tables.get(cached.table) ?? []), this.models.get(model) as BoundModel]);
  }
}

// ---- What is declared -------------------------------------------------------------------------

interface ClassDraft extends CacheDeclaration {
  readonly cacheClass: CacheClass;
  readonly family: Family;
}

interface ChainDraft extends ClassDraft {
  readonly steps: readonly Step[];
  readonly inclusions: readonly Inclusion[] | undefined;
}

/** What is declared of one model, with all names resolved. */
interface Draft {
  readonly model: ModelStatic<Model>;
  readonly columns: ReadonlyMap<string, Column>;
  readonly generics: GenericForeignKeys;
  readonly version: string;
  readonly timeout: number;
  readonly negativeTimeout: number;
  readonly keys: readonly CacheDeclaration[];
  readonly filters: readonly CacheDeclaration[];
  readonly classes: readonly ClassDraft[];
  readonly chains: readonly ChainDraft[];
  readonly foreignKeys: readonly Step[];
  /** The caches that its relations need, of whichever models. */
  readonly steps: readonly StepCache[];
  /** The caches that relations of any model need of this one, by name. */
  readonly needed: Map<string, StepCache>;
}

const stepName = ({ model, kind, attribute }: StepCache): string => `${kind} ${tableName(model)} ${model.name} ${attribute}`;

function emptyDraft(model: ModelStatic<Model>, { options }: BindingContext): Draft {
  const columns = columnsOf(model);
  return {
    model,
    columns,
    generics: new GenericForeignKeys(model, columns, {}),
    version: '0',
    timeout: options.timeout,
    negativeTimeout: options.timeout,
    keys: [],
    filters: [],
    classes: [],
    chains: [],
    foreignKeys: [],
    steps: [],
    needed: new Map(),
  };
}

/** @throws InvalidKeyFieldError, NoPrimaryKeyError, InvalidOptionError, InvalidCacheClassError, DuplicateCacheNameError */
function draftOf(model: ModelStatic<Model>, context: BindingContext, names: Set<string>): Draft | undefined {
  const declaration = declarationOf(model);
  if (declaration === undefined) return undefined;
  const { options, classes } = declaration;
  const columns = columnsOf(model);
  primaryKeyOf(model, columns);
  const generics = new GenericForeignKeys(model, columns, options.genericForeignKeys ?? {});
  const timeout = options.timeout ?? context.options.timeout;
  const draft = {
    ...emptyDraft(model, context),
    columns,
    generics,
    version: String(options.version ?? 0),
    timeout,
    negativeTimeout: Math.min(options.negativeTimeout ?? timeout, timeout),
  };
  const fieldsOf = (fields: readonly string[], cache: string): readonly KeyField[] => {
    const twice = fields.find((name, at) => fields.indexOf(name) !== at);
    if (twice !== undefined) throw new InvalidOptionError(`Cache ${cache} names the key field '${twice}' twice.`);
    return fields.map((name) => keyFieldOf(model, columns, generics, name, cache));
  };
  const plain = (specs: ModelOptions['keys'], title: (fields: string) => string): CacheDeclaration[] =>
    (specs ?? []).map((spec) => {
      const fields = [spec].flat() as readonly string[];
      const name = title(fields.join(','));
      return plainDeclaration(draft, name, fieldsOf(fields, name), context);
    });
  const keys = plain(options.keys ?? options.getKeyFieldsList, (fields) => `${model.name}(${fields})`);
  const filters = plain(options.filters ?? options.filterKeyFieldsList, (fields) => `${model.name}[${fields}]`);
  const ofClasses: ClassDraft[] = [];
  const chains: ChainDraft[] = [];
  for (const cacheClass of classes) {
    const family = familyOf(cacheClass);
    const fields = fieldsOf(cacheClass.keyFields, cacheClass.name);
    const own = { ...classDeclaration(cacheClass, family, draft, context), fields, cacheClass, family };
    const chain = chainParts(cacheClass, family, model);
    if (chain === undefined) ofClasses.push(own);
    else chains.push({ ...own, ...chain });
  }
  for (const { name } of [...keys, ...filters, ...ofClasses, ...chains]) claim(names, name, model);
  const foreignKeys = (options.cachedForeignKeys ?? []).map((as) => foreignKeyStep(model, as));
  const inclusions = chains.flatMap((chain) => chain.inclusions ?? []);
  const steps = [...foreignKeys, ...chains.flatMap((chain) => chain.steps)];
  return {
    ...draft,
    keys,
    filters,
    classes: ofClasses,
    chains,
    foreignKeys,
    steps: [...steps.flatMap((step) => [...hopsOf(step)]), ...cachesOf(inclusions)],
  };
}

/** Takes a cache's name. @throws DuplicateCacheNameError */
function claim(names: Set<string>, name: string, model: ModelStatic<Model>): void {
  if (names.has(name)) {
    throw new DuplicateCacheNameError(
      `Two caches are named '${name}' (the second one on model ${model.name}). Names are part of the keys; give each cache class a name of its own.`,
    );
  }
  names.add(name);
}

function plainDeclaration(
  draft: Pick<Draft, 'timeout' | 'negativeTimeout' | 'version'>,
  name: string,
  fields: readonly KeyField[],
  { countersOf }: BindingContext,
): CacheDeclaration {
  const { timeout, negativeTimeout, version } = draft;
  return { name, fields, timeout, negativeTimeout, version, counters: countersOf(name), invalidation: 'UNSET', allowtime: 0 };
}

/** @throws InvalidOptionError, InvalidCacheClassError */
function classDeclaration(
  cacheClass: CacheClass,
  family: Family,
  { timeout: modelTimeout, negativeTimeout: modelNegative, version }: Pick<Draft, 'timeout' | 'negativeTimeout' | 'version'>,
  { countersOf }: BindingContext,
): Omit<CacheDeclaration, 'fields'> {
  const { name } = cacheClass;
  const own = cacheClass as Readonly<Partial<Record<keyof CacheClass, unknown>>>;
  if (own.version !== undefined && typeof own.version !== 'string' && !Number.isFinite(own.version)) {
    throw new InvalidOptionError(`Option '${name}.version' must be a number or a string; received ${show(own.version)}.`);
  }
  const timeout = wholeNumber(`${name}.timeout`, own.timeout, modelTimeout, 1, 31_536_000, 'seconds');
  const negative = wholeNumber(`${name}.negativeTimeout`, own.negativeTimeout, Math.min(modelNegative, timeout), 1, 31_536_000, 'seconds');
  const invalidation = own.invalidation ?? 'UNSET';
  if (!invalidations.includes(invalidation as Invalidation)) {
    throw new InvalidOptionError(`Option '${name}.invalidation' must be one of ${invalidations.map((one) => `'${one}'`).join(', ')}; received ${show(invalidation)}.`);
  }
  if (invalidation !== 'UNSET' && (family.startsWith('related') || own.include !== undefined)) {
    throw new InvalidCacheClassError(
      `${name}.invalidation is '${invalidation as Invalidation}', but the class has no entry of its own: its answers are put together from those of the models on the way. Leave it out.`,
    );
  }
  if (invalidation === 'DYNAMIC' && own.allowtime === undefined) {
    throw new InvalidOptionError(`${name}.invalidation is 'DYNAMIC' and needs 'static allowtime = …', the seconds for which an outdated answer may be given after a write.`);
  }
  if (invalidation !== 'DYNAMIC' && own.allowtime !== undefined) {
    throw new InvalidOptionError(`${name}.allowtime is for invalidation 'DYNAMIC'; with '${invalidation as Invalidation}' an outdated answer is never given on purpose. Leave one of them out.`);
  }
  return {
    name,
    counters: countersOf(name),
    timeout,
    negativeTimeout: Math.min(negative, timeout),
    version: `${version}/${typeof own.version === 'string' || typeof own.version === 'number' ? String(own.version) : ''}`,
    invalidation: invalidation as Invalidation,
    allowtime: own.allowtime === undefined ? 0 : wholeNumber(`${name}.allowtime`, own.allowtime, 1, 1, 86_400, 'seconds'),
  };
}

/** The chain that a class is; `undefined` if it has an entry of its own. @throws InvalidCacheClassError */
function chainParts(
  cacheClass: CacheClass,
  family: Family,
  model: ModelStatic<Model>,
): Pick<ChainDraft, 'steps' | 'inclusions'> | undefined {
  const { name } = cacheClass;
  checkManyMethod(cacheClass);
  const method = ownMethodOf(cacheClass);
  const isRelated = family === 'related-instance' || family === 'related-queryset';
  const own = cacheClass as Readonly<Partial<Record<keyof CacheClass, unknown>>>;
  const misplaced = (option: keyof CacheClass, where: string): void => {
    if (own[option] !== undefined) throw new InvalidCacheClassError(`${name}.${option} has no effect: ${where}. Leave it out.`);
  };
  if (!isRelated) misplaced('relation', 'only RelatedInstanceCache and RelatedQuerysetCache follow a relation');
  if (family !== 'instance') misplaced('include', 'only an InstanceCache delivers related instances with its own');
  for (const option of ['order', 'limit'] as const) {
    if (family !== 'queryset') misplaced(option, 'only a QuerysetCache has a list');
    else if (method !== undefined) misplaced(option, `getResult says what the answer is`);
  }
  if (isRelated) {
    const steps = stepsOf(model, own.relation, name);
    const many = steps.find((step) => step.many);
    if (family === 'related-instance' && many !== undefined) {
      throw new InvalidCacheClassError(`${name}.relation leads to many rows by '${many.as}'. Derive RelatedQuerysetCache for that.`);
    }
    return { steps, inclusions: undefined };
  }
  if (own.include === undefined) return undefined;
  if (method !== undefined) {
    throw new InvalidCacheClassError(`${name} has both 'include' and a getInstance of its own. Related instances come with the row that has the key values; leave one of them out.`);
  }
  return { steps: [], inclusions: inclusionsOf(model, own.include, name) };
}

/** @throws InvalidOptionError, InvalidCacheClassError */
function foreignKeyStep(model: ModelStatic<Model>, as: string): Step {
  const who = `withCache(${model.name}), 'cachedForeignKeys'`;
  const step = stepOf(model, as, who);
  if (model.associations[as]?.associationType !== 'BelongsTo') {
    throw new InvalidOptionError(`${who}: the association '${as}' is a ${model.associations[as]?.associationType ?? ''}; only a BelongsTo has its foreign key in this model's table.`);
  }
  return step;
}

/** The getter of an association, and where it is to be found. */
export interface AssociationGetter {
  readonly name: string;
  readonly original: Getter;
  /** Set where the model's own class does not inherit it. */
  readonly descriptor: PropertyDescriptor | undefined;
}

/** `getEvent` of the association 'event'. */
export type Getter = (this: Model, options?: ReadOptions) => Promise<unknown>;

/** Those that read the cache. */
export const cachedGetters = new WeakSet<Getter>();

/** The getter that the model has for an association. */
export function getterOf(model: ModelStatic<Model>, as: string): AssociationGetter {
  const name = (model.associations[as] as unknown as { readonly accessors: { readonly get: string } }).accessors.get;
  const prototype = model.prototype as object;
  const descriptor = Object.getOwnPropertyDescriptor(prototype, name);
  return { name, descriptor, original: (descriptor === undefined ? Reflect.get(prototype, name) : descriptor.value) as Getter };
}

/** Those of Sequelize are plain properties; a method of the class is not. @throws InvalidOptionError */
function checkGetter(model: ModelStatic<Model>, as: string): void {
  const { name, original, descriptor } = getterOf(model, as);
  if (cachedGetters.has(original) || descriptor?.enumerable === true) return;
  throw new InvalidOptionError(
    `withCache(${model.name}), 'cachedForeignKeys': the model has a method ${name} of its own, which would be hidden. Rename it, or leave '${as}' out.`,
  );
}

// ---- Caches -----------------------------------------------------------------------------------

const plainList = (cached: CachedModel, declaration: CacheDeclaration, keys: KeySpace): ListCache =>
  new ListCache(cached, declaration, keys, listOf(cached, declaration.fields, plainListOptions));

/** The cache that a class with an entry of its own is. */
function bindClass(declaration: ClassDraft, cached: CachedModel, keys: KeySpace): BoundCache {
  const { cacheClass, family, fields, invalidation } = declaration;
  // An entry that outlives a write, or is never voided by one, cannot lead to rows whose entries are.
  const whole = invalidation === 'OFF' || invalidation === 'DYNAMIC';
  const result = (shape: ConstructorParameters<typeof ResultCache>[3]): ResultCache => new ResultCache(cached, declaration, keys, shape);
  switch (family) {
    case 'exists':
      return result(existsOf(cached, fields));
    case 'count':
      return result(countOf(cached, fields));
    case 'queryset': {
      if (ownMethodOf(cacheClass) !== undefined) return result(customResult(cacheClass, cached, fields));
      const list = listOptionsOf(cacheClass, cached);
      return whole
        ? result(wholeList(cached, fields, list))
        : new ListCache(cached, declaration, keys, listOf(cached, fields, list));
    }
    default:
      if (ownMethodOf(cacheClass) !== undefined) return result(customInstance(cacheClass, cached, fields));
      return whole ? result(wholeInstance(cached, fields)) : new SimpleCache(cached, declaration, keys);
  }
}

function chainOf(draft: ChainDraft, cached: CachedModel, keys: KeySpace, caches: CacheFinder, root: SimpleCache | ListCache): Chain {
  if (draft.inclusions !== undefined && root.kind === 'simple') return new IncludingCache(cached, draft, keys, caches, root, draft.inclusions);
  return new RelatedCache(cached, draft, keys, caches, root, draft.steps, draft.family === 'related-queryset');
}

/** A key field that is a column, whatever it is called and whichever association it belongs to. */
function columnField(column: KeyColumn): KeyField {
  return {
    name: column.name,
    idName: undefined,
    takesInstances: false,
    columns: [column],
    read: (value) => [column.key.canonical(value) ?? null],
    argument: ([value]) => (value == null ? null : column.key.queryValue(value)),
  };
}

function attributeField({ model, columns }: Draft, attribute: string): KeyField {
  const column = columns.get(attribute);
  if (column === undefined || !isKeyColumn(column)) {
    throw new InvalidCacheClassError(`'${attribute}' of model ${model.name}, by which a relation finds its rows, has the type ${column?.type ?? 'VIRTUAL'}, which cannot be a key.`);
  }
  return columnField(column);
}
