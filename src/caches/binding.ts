/**
 * Declarations bound to the initialised models of one Sequelize instance.
 *
 * In passes, because relations need caches of other models: what each model declares (`drafts.ts`);
 * whose the names of caches are; what relations ask of the models that they lead to; and then every
 * model with all its caches.
 */
import type { Model, ModelStatic } from 'sequelize';
import { DuplicateCacheNameError } from '../errors.js';
import type { KeySpace } from '../entries/keys.js';
import { CachedModel, tableName } from '../models/cached-model.js';
import type { CacheClass } from '../types.js';
import {
  countOf,
  customInstance,
  customResult,
  existsOf,
  listOf,
  listOptionsOf,
  ownMethodOf,
  plainListOptions,
  wholeInstance,
  wholeList,
} from './answers.js';
import { ListCache, ResultCache, SimpleCache, type BoundCache, type CacheDeclaration } from './bound-cache.js';
import { IncludingCache, RelatedCache, type Chain } from './chains.js';
import {
  attempt,
  attributeField,
  columnField,
  draftOf,
  emptyDraft,
  neededBy,
  plainDeclaration,
  stepName,
  wrongDraft,
  type BindingContext,
  type ChainDraft,
  type ClassDraft,
  type Draft,
  type Failure,
} from './drafts.js';
import type { GenericForeignKeys } from './generic-foreign-keys.js';
import { References } from './references.js';
import type { CacheFinder, Step, StepCache } from './relations.js';

export type { BindingContext, Failure } from './drafts.js';

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
  /** What is declared wrongly of it, after set-up. */
  readonly failures: readonly Failure[];
}

/** What a cache class is here. */
export type Answerer = BoundCache | Chain;

/** Declarations bound to the models of one Sequelize instance. */
export class Bindings {
  readonly models = new Map<ModelStatic<Model>, BoundModel>();
  /** By table, those too whose declaration is wrong as a whole. */
  readonly tables = new Map<string, readonly BoundModel[]>();
  readonly classes = new Map<CacheClass, Answerer>();
  readonly references: References;
  /** Whose the names of caches are. */
  readonly names = new Map<string, object>();
  /** Models whose declaration is wrong as a whole, by the error that their lookups throw. */
  readonly broken = new Map<ModelStatic<Model>, Error>();
  /** Why cache classes could not be bound. */
  readonly failed = new Map<CacheClass, Error>();
  /** Caches that steps of relations need, by model and attribute. */
  readonly #stepCaches = new Map<string, SimpleCache | ListCache>();

  /** The cache that a step of a relation looks in. */
  readonly stepCache: CacheFinder = (step) => {
    const name = nameOf(step);
    const found = this.#stepCaches.get(name);
    if (found === undefined) throw this.broken.get(step.model) ?? new RangeError(`no cache for ${name}`);
    return found;
  };

  constructor(models: readonly ModelStatic<Model>[], context: BindingContext) {
    this.references = new References(models);
    const drafts = new Map<ModelStatic<Model>, Draft>();
    const broke = (model: ModelStatic<Model>) => (error: Error): void => {
      drafts.delete(model);
      this.broken.set(model, error);
    };
    for (const model of models) {
      attempt(context, () => {
        const draft = draftOf(model, context);
        if (draft !== undefined) drafts.set(model, draft);
      }, broke(model));
    }
    for (const draft of drafts.values()) this.#claimNames(draft, context, 'kept');
    for (const draft of drafts.values()) this.#claimNames(draft, context, 'new');
    // Relations may lead to models of which nothing is declared, and ask for caches of those that are.
    const find = (model: ModelStatic<Model>): Draft => {
      const cause = this.broken.get(model);
      if (cause !== undefined) throw cause;
      const draft = drafts.get(model) ?? emptyDraft(model, context);
      drafts.set(model, draft);
      return draft;
    };
    for (const draft of [...drafts.values()]) {
      for (const step of neededBy(draft, find, context)) find(step.model).needed.set(nameOf(step), step);
    }
    for (const [model, draft] of drafts) attempt(context, () => {
      this.#bindModel(draft, context);
    }, broke(model));
    for (const [model, error] of this.broken) this.#bindWrong(model, error, context);
    for (const { failures } of this.models.values()) {
      for (const { cacheClass, error } of failures) if (cacheClass !== undefined) this.failed.set(cacheClass, error);
    }
  }

  /**
   * Takes the names of a model's caches: after set-up, first of those who had them.
   * @throws DuplicateCacheNameError at set-up
   */
  #claimNames(draft: Draft, context: BindingContext, which: 'kept' | 'new'): void {
    const { model, failures } = draft;
    const claim = (name: string, owner: object, failed: (error: Error) => void): boolean => {
      if ((context.names.get(name) === owner) !== (which === 'kept')) return true;
      return attempt(context, () => {
        if (this.names.has(name)) {
          throw new DuplicateCacheNameError(
            `Two caches are named '${name}' (the second one on model ${model.name}). Names are part of the keys; give each cache class a name of its own.`,
          );
        }
        this.names.set(name, owner);
        return true;
      }, failed) === true;
    };
    const plain = (kind: 'keys' | 'filters') => ({ name, fields }: CacheDeclaration) =>
      claim(name, model, (error) => failures.push({ kind, fields: fields.map((field) => field.name), error }));
    const ofClass = ({ name, cacheClass }: ClassDraft): boolean =>
      claim(name, cacheClass, (error) => failures.push({ kind: 'class', fields: cacheClass.keyFields, cacheClass, error }));
    draft.keys = draft.keys.filter(plain('keys'));
    draft.filters = draft.filters.filter(plain('filters'));
    draft.classes = draft.classes.filter(ofClass);
    draft.chains = draft.chains.filter(ofClass);
  }

  /** Nothing is cached of it, but writes to its table void what other processes may have cached. */
  #bindWrong(model: ModelStatic<Model>, error: Error, context: BindingContext): void {
    const known = this.models.get(model);
    this.models.delete(model);
    const bound = known ?? boundOf(wrongDraft(model, context, error.message), context);
    this.#addToTable(bound);
  }

  #bindModel(draft: Draft, context: BindingContext): void {
    const { model, version, passThrough, failures } = draft;
    const { keys } = context;
    const keyAttributes = new Set([
      ...[...draft.keys, ...draft.filters, ...draft.classes, ...draft.chains].flatMap(({ fields }) =>
        fields.flatMap((field) => field.columns.map(({ name }) => name)),
      ),
      // What steps of relations look for.
      ...Array.from(draft.needed.values(), ({ attribute }) => attribute),
    ]);
    const cached = new CachedModel(model, { sequelize: context.sequelize, keys, keyAttributes, version, passThrough });
    const declared = draft.keys.map((declaration) => new SimpleCache(cached, declaration, keys));
    const lists = draft.filters.map((declaration) => plainList(cached, declaration, keys));
    const others: BoundCache[] = [];
    for (const declaration of draft.classes) {
      const { cacheClass } = declaration;
      const failed = (error: Error): void => {
        failures.push({ kind: 'class', fields: cacheClass.keyFields, cacheClass, error });
      };
      const bound = attempt(context, () => bindClass(declaration, cached, keys), failed);
      if (bound === undefined) continue;
      this.classes.set(cacheClass, bound);
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
    const bound: BoundModel = {
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
      failures,
    };
    this.models.set(model, bound);
    this.#addToTable(bound);
  }

  #addToTable(bound: BoundModel): void {
    const { table } = bound.cached;
    const others = (this.tables.get(table) ?? []).filter((other) => other !== bound);
    this.tables.set(table, [...others, bound]);
  }
}

const nameOf = (step: StepCache): string => stepName(step, tableName(step.model));

/** A model without any cache. */
function boundOf(draft: Draft, { sequelize, keys, countersOf }: BindingContext): BoundModel {
  const { model, version, passThrough, generics, timeout, negativeTimeout } = draft;
  const cached = new CachedModel(model, { sequelize, keys, keyAttributes: new Set(), version, passThrough });
  const name = `${model.name}(primary key)`;
  const declaration: CacheDeclaration = { name, fields: [], timeout, negativeTimeout, version, counters: countersOf(name), invalidation: 'UNSET', allowtime: 0 };
  const primary = new SimpleCache(cached, declaration, keys);
  return { cached, generics, primary, simple: [], lists: [], chains: [], all: [], timed: [], resetsRows: false, foreignKeys: [], failures: [] };
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
