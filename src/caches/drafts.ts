/**
 * What is declared of one model, with all names resolved: the first pass of binding.
 *
 * At set-up whatever is wrong throws. What is declared later must not break what is there: each key,
 * list, cache class and foreign key is resolved by itself, and one that is wrong is left out and
 * remembered with its error, which its own lookups throw.
 */
import type { Model, ModelStatic, Sequelize } from 'sequelize';
import { InvalidCacheClassError, InvalidOptionError } from '../errors.js';
import type { KeySpace } from '../entries/keys.js';
import type { PassThrough } from '../models/cached-model.js';
import { columnsOf, isKeyColumn, primaryKeyOf, type Column, type KeyColumn } from '../models/columns.js';
import { defaultScopeOf, openScope, type DefaultScope } from '../models/default-scope.js';
import { NotCacheable } from '../models/not-cacheable.js';
import { invalidations, show, wholeNumber, type Invalidation, type ResolvedOptions } from '../options.js';
import type { CacheClass } from '../types.js';
import { checkManyMethod, familyOf, ownMethodOf, type Family } from './answers.js';
import { checkGetter } from './association-getters.js';
import type { CacheDeclaration, Counters } from './bound-cache.js';
import { declarationOf, type Declaration } from './declarations.js';
import { GenericForeignKeys } from './generic-foreign-keys.js';
import { keyFieldOf, type KeyField } from './key-fields.js';
import { cachesOf, hopsOf, inclusionsOf, stepOf, stepsOf, type Inclusion, type Step, type StepCache } from './relations.js';

/** What binding needs of the registry. */
export interface BindingContext {
  readonly sequelize: Sequelize;
  readonly keys: KeySpace;
  readonly options: ResolvedOptions;
  /** By cache name; they outlive a new binding. */
  readonly countersOf: (name: string) => Counters;
  /** What is wrong is left out, with its error, instead of thrown: set-up is over. */
  readonly tolerant: boolean;
  /** Whose the names of caches were before: these keep them. */
  readonly names: ReadonlyMap<string, object>;
}

/** A key, a list, a cache class or a foreign key that is declared wrongly. */
export interface Failure {
  readonly kind: 'keys' | 'filters' | 'class' | 'cachedForeignKeys';
  /** The key fields' names, or the association's. */
  readonly fields: readonly string[];
  readonly cacheClass?: CacheClass;
  readonly error: Error;
}

export interface ClassDraft extends CacheDeclaration {
  readonly cacheClass: CacheClass;
  readonly family: Family;
}

export interface ChainDraft extends ClassDraft {
  readonly steps: readonly Step[];
  readonly inclusions: readonly Inclusion[] | undefined;
}

/** What is declared of one model. */
export interface Draft {
  readonly model: ModelStatic<Model>;
  readonly columns: ReadonlyMap<string, Column>;
  readonly scope: DefaultScope;
  readonly passThrough: PassThrough | undefined;
  readonly generics: GenericForeignKeys;
  readonly version: string;
  readonly timeout: number;
  readonly negativeTimeout: number;
  keys: readonly CacheDeclaration[];
  filters: readonly CacheDeclaration[];
  classes: readonly ClassDraft[];
  chains: readonly ChainDraft[];
  foreignKeys: readonly Step[];
  /** The caches that relations of any model need of this one, by name. */
  readonly needed: Map<string, StepCache>;
  readonly failures: Failure[];
}

/** Does something that throws where a declaration is wrong; after set-up, tells that and goes on. */
export function attempt<T>({ tolerant }: BindingContext, work: () => T, failed: (error: Error) => void): T | undefined {
  if (!tolerant) return work();
  try {
    return work();
  } catch (error) {
    failed(error instanceof Error ? error : new Error(String(error), { cause: error }));
    return undefined;
  }
}

/** The draft of a model of which nothing is declared. */
export function emptyDraft(model: ModelStatic<Model>, context: BindingContext, declared?: Declaration): Draft {
  const columns = columnsOf(model);
  const options = declared?.options ?? {};
  const passThrough = whyNotCached(model, columns);
  const timeout = options.timeout ?? context.options.timeout;
  return {
    model,
    columns,
    scope: passThrough === undefined ? defaultScopeOf(model) : openScope(model),
    passThrough,
    generics: new GenericForeignKeys(model, columns, options.genericForeignKeys ?? {}),
    version: String(options.version ?? 0),
    timeout,
    negativeTimeout: Math.min(options.negativeTimeout ?? timeout, timeout),
    keys: [],
    filters: [],
    classes: [],
    chains: [],
    foreignKeys: [],
    needed: new Map(),
    failures: [],
  };
}

/** The draft of a model whose declaration is wrong as a whole: its writes void the table. */
export function wrongDraft(model: ModelStatic<Model>, { options }: BindingContext, detail: string): Draft {
  const columns = columnsOf(model);
  const { timeout } = options;
  return {
    model,
    columns,
    scope: openScope(model),
    passThrough: { reason: 'invalid-declaration', detail },
    generics: new GenericForeignKeys(model, columns, {}),
    version: '0',
    timeout,
    negativeTimeout: timeout,
    keys: [],
    filters: [],
    classes: [],
    chains: [],
    foreignKeys: [],
    needed: new Map(),
    failures: [],
  };
}

/** Why a valid model cannot be cached. */
function whyNotCached(model: ModelStatic<Model>, columns: ReadonlyMap<string, Column>): PassThrough | undefined {
  try {
    primaryKeyOf(model, columns);
    defaultScopeOf(model);
    return undefined;
  } catch (error) {
    if (error instanceof NotCacheable) return { reason: error.reason, detail: error.message };
    throw error;
  }
}

/**
 * What is declared of a model; `undefined` if nothing is.
 * @throws InvalidKeyFieldError, InvalidOptionError, InvalidCacheClassError …
 */
export function draftOf(model: ModelStatic<Model>, context: BindingContext): Draft | undefined {
  const declaration = declarationOf(model);
  if (declaration === undefined) return undefined;
  const { options, classes } = declaration;
  const draft = emptyDraft(model, context, declaration);
  const { columns, generics, failures } = draft;
  const fieldsOf = (fields: readonly string[], cache: string): readonly KeyField[] => {
    const twice = fields.find((name, at) => fields.indexOf(name) !== at);
    if (twice !== undefined) throw new InvalidOptionError(`Cache ${cache} names the key field '${twice}' twice.`);
    return fields.map((name) => keyFieldOf(model, columns, generics, name, cache));
  };
  const plain = (kind: 'keys' | 'filters', specs: readonly (string | readonly string[])[], title: (fields: string) => string): CacheDeclaration[] =>
    specs.flatMap((spec) => {
      const fields = [spec].flat() as readonly string[];
      const name = title(fields.join(','));
      const made = attempt(context, () => plainDeclaration(draft, name, fieldsOf(fields, name), context), (error) => failures.push({ kind, fields, error }));
      return made ?? [];
    });
  draft.keys = plain('keys', options.keys ?? options.getKeyFieldsList ?? [], (fields) => `${model.name}(${fields})`);
  draft.filters = plain('filters', options.filters ?? options.filterKeyFieldsList ?? [], (fields) => `${model.name}[${fields}]`);
  const ofClasses: ClassDraft[] = [];
  const chains: ChainDraft[] = [];
  for (const cacheClass of classes) {
    const failed = (error: Error): void => {
      failures.push({ kind: 'class', fields: cacheClass.keyFields, cacheClass, error });
    };
    attempt(context, () => {
      const family = familyOf(cacheClass);
      const fields = fieldsOf(cacheClass.keyFields, cacheClass.name);
      const own = { ...classDeclaration(cacheClass, family, draft, context), fields, cacheClass, family };
      const chain = chainParts(cacheClass, family, model);
      if (chain === undefined) ofClasses.push(own);
      else chains.push({ ...own, ...chain });
    }, failed);
  }
  draft.classes = ofClasses;
  draft.chains = chains;
  draft.foreignKeys = (options.cachedForeignKeys ?? []).flatMap(
    (as) => attempt(context, () => foreignKeyStep(model, as), (error) => failures.push({ kind: 'cachedForeignKeys', fields: [as], error })) ?? [],
  );
  return draft;
}

export function plainDeclaration(
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

// ---- What relations need ----------------------------------------------------------------------

/** Finds the draft of a model that a relation leads to; one of a model of which nothing is declared is made. */
export type DraftFinder = (model: ModelStatic<Model>) => Draft;

export const stepName = ({ model, kind, attribute }: StepCache, table: string): string => `${kind} ${table} ${model.name} ${attribute}`;

/**
 * The caches that relations of a model need. A relation that needs what cannot be is left out.
 * @throws InvalidCacheClassError, InvalidOptionError at set-up
 */
export function neededBy(draft: Draft, find: DraftFinder, context: BindingContext): readonly StepCache[] {
  const { model, failures } = draft;
  const needed: StepCache[] = [];
  const keep = (steps: readonly StepCache[]): true => {
    // All of them are looked at before one is taken.
    for (const step of steps) attributeField(find(step.model), step.attribute);
    needed.push(...steps);
    return true;
  };
  draft.foreignKeys = draft.foreignKeys.filter((step) =>
    attempt(context, () => {
      checkStep(draft, step, find, `withCache(${model.name}), 'cachedForeignKeys'`);
      checkGetter(model, step.as);
      return keep([...hopsOf(step)]);
    }, (error) => failures.push({ kind: 'cachedForeignKeys', fields: [step.as], error })),
  );
  draft.chains = draft.chains.filter(({ name, cacheClass, steps, inclusions }) =>
    attempt(context, () => {
      let from = draft;
      for (const step of steps) {
        checkStep(from, step, find, name);
        from = find(step.target);
      }
      checkInclusions(draft, inclusions ?? [], find, name);
      return keep([...steps.flatMap((step) => [...hopsOf(step)]), ...cachesOf(inclusions ?? [])]);
    }, (error) => failures.push({ kind: 'class', fields: cacheClass.keyFields, cacheClass, error })),
  );
  return needed;
}

function checkInclusions(draft: Draft, inclusions: readonly Inclusion[], find: DraftFinder, who: string): void {
  for (const { step, include } of inclusions) {
    checkStep(draft, step, find, who);
    checkInclusions(find(step.target), include, find, who);
  }
}

/** A step starts from a value of the row, so the row has to come with it. @throws InvalidCacheClassError */
function checkStep(draft: Draft, { as, hops: [first, then] }: Step, find: DraftFinder, who: string): void {
  const starts = [{ at: draft, from: first.from }, ...(then === undefined ? [] : [{ at: find(first.cache.model), from: then.from }])];
  for (const { at, from } of starts) {
    if (at.scope.attributes.includes(from)) continue;
    throw new InvalidCacheClassError(`${who}: '${as}' starts from '${from}' of model ${at.model.name}, which its default scope leaves out. Add it to the scope's attributes.`);
  }
}

/** A key field that is a column, whatever it is called and whichever association it belongs to. */
export function columnField(column: KeyColumn): KeyField {
  return {
    name: column.name,
    idName: undefined,
    takesInstances: false,
    columns: [column],
    read: (value) => [column.key.canonical(value) ?? null],
    argument: ([value]) => (value == null ? null : column.key.queryValue(value)),
  };
}

export function attributeField({ model, columns }: Draft, attribute: string): KeyField {
  const column = columns.get(attribute);
  if (column === undefined || !isKeyColumn(column)) {
    throw new InvalidCacheClassError(`'${attribute}' of model ${model.name}, by which a relation finds its rows, has the type ${column?.type ?? 'VIRTUAL'}, which cannot be a key.`);
  }
  return columnField(column);
}
