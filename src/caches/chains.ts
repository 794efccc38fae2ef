/**
 * Caches without entries of their own: what a relation leads to, and instances with others included.
 * Their answers are put together from the entries of the models on the way.
 */
import type { FindOptions, Includeable, Model, ModelStatic } from 'sequelize';
import type { Canonical } from '../entries/key-types.js';
import { keyOf, type KeySpace } from '../entries/keys.js';
import { bucketsOf, type CachedModel } from '../models/cached-model.js';
import { asInstances, firstSelect, readOptions, whereOf } from '../models/finder.js';
import { ownValues } from '../models/hydrate.js';
import { orderOf } from '../models/order.js';
import type { KeyColumn } from '../models/columns.js';
import type { Counters, ListCache, SimpleCache } from './bound-cache.js';
import { orderedBy, orderOfSingles, requires, ruled, sortByPrimaryKey, sortIncluded, whyNotIncluded, type ResolvedInclude, type Ruled } from './included.js';
import type { KeyField } from './key-fields.js';
import { follow, type Ask, type CacheFinder, type Inclusion, type Step } from './relations.js';

/** What a chain declares. */
export interface ChainDeclaration {
  readonly name: string;
  readonly fields: readonly KeyField[];
  readonly counters: Counters;
}

abstract class ChainCache {
  readonly kind = 'chain';
  readonly name: string;
  readonly fields: readonly KeyField[];
  readonly columns: readonly KeyColumn[];
  readonly counters: Counters;
  readonly #stem: string;

  constructor(
    readonly model: CachedModel,
    declaration: ChainDeclaration,
    keys: KeySpace,
    /** Finds the caches of the models on the way. */
    protected readonly caches: CacheFinder,
  ) {
    this.name = declaration.name;
    this.fields = declaration.fields;
    this.columns = declaration.fields.flatMap(({ columns }) => columns);
    this.counters = declaration.counters;
    this.#stem = keys.stem('result', declaration.name);
  }

  /** Names the answer, for debugging and in one process. Nothing is stored under it. */
  keyFor(values: readonly Canonical[]): string {
    return keyOf(this.#stem, bucketsOf(this.columns, values));
  }

  /** "There is none" is an error of `resolve`. */
  abstract readonly rejectsNull: boolean;

  /** The models whose rows it can answer with. */
  abstract readonly models: readonly ModelStatic<Model>[];

  /** The answer, by the lookups that `ask` makes. */
  abstract answer(values: readonly Canonical[], ask: Ask): Promise<unknown>;

  /** Why lookups by key cannot have the answer of the find that it stands for; `undefined` if they can. */
  get whyPassedThrough(): string | undefined {
    return undefined;
  }

  /** The answer by Sequelize's own means, in one statement; `undefined` where there is none. */
  abstract query(values: readonly Canonical[], options: object): Promise<unknown> | undefined;
}

/** What a relation leads to. */
export class RelatedCache extends ChainCache {
  readonly rejectsNull = false;
  readonly models: readonly ModelStatic<Model>[];
  readonly #root: SimpleCache | ListCache;
  readonly #steps: readonly Step[];

  constructor(
    model: CachedModel,
    declaration: ChainDeclaration,
    keys: KeySpace,
    caches: CacheFinder,
    root: SimpleCache | ListCache,
    steps: readonly Step[],
    /** The answer is all that is led to. */
    private readonly many: boolean,
  ) {
    super(model, declaration, keys, caches);
    this.#root = root;
    this.#steps = steps;
    this.models = [model.model, ...steps.map(({ target }) => target)];
  }

  async answer(values: readonly Canonical[], ask: Ask): Promise<unknown> {
    const found = await ask(this.#root, values);
    if (found === undefined) return undefined;
    let rows = Array.isArray(found) ? (found as Model[]) : found === null ? [] : [found as Model];
    for (const step of this.#steps) {
      const related = await Promise.all(rows.map((row) => follow(step, row, this.caches, ask)));
      rows = distinct(related.flatMap((some) => some.map(({ instance }) => instance)));
    }
    return this.many ? rows : (rows[0] ?? null);
  }

  query(): undefined {
    return undefined;
  }
}

/** An instance with others included. */
export class IncludingCache extends ChainCache {
  readonly rejectsNull = true;
  readonly models: readonly ModelStatic<Model>[];
  readonly #root: SimpleCache;
  readonly #inclusions: readonly Inclusion[];
  #resolved: Resolved | undefined;

  constructor(
    model: CachedModel,
    declaration: ChainDeclaration,
    keys: KeySpace,
    caches: CacheFinder,
    root: SimpleCache,
    inclusions: readonly Inclusion[],
  ) {
    super(model, declaration, keys, caches);
    this.#root = root;
    this.#inclusions = inclusions;
    this.models = [model.model, ...modelsOf(inclusions)];
  }

  override get whyPassedThrough(): string | undefined {
    return this.#resolve().why;
  }

  async answer(values: readonly Canonical[], ask: Ask): Promise<unknown> {
    const found = await ask(this.#root, values);
    if (found === undefined || found === null) return found;
    const { prepared, ruled: inclusions } = this.#resolve();
    // Several rows may have a null in a unique key, and those that are included decide which is found.
    if (values.includes(null) && requires(inclusions)) return this.query(values, readOptions);
    const row = await nested(found as Model, inclusions, this.caches, ask);
    if (row === undefined) return null;
    // As a query does: a model may have a `bulkBuild` of its own.
    return this.model.model.bulkBuild([row], { ...prepared, isNewRecord: false, raw: true, attributes: [...this.model.scope.attributes] } as object)[0];
  }

  async query(values: readonly Canonical[], options: object): Promise<Model | null> {
    const { model } = this.model;
    const find = await this.#find(values);
    // Sequelize cannot include rows in plain ones, as its option `query` may ask for.
    const found = await model.findOne({ ...options, ...asInstances, ...find, include: includeOf(this.#inclusions) });
    if (found !== null) sortIncluded(found, this.#inclusions);
    return found;
  }

  /** The find of the one row. */
  async #find(values: readonly Canonical[]): Promise<FindOptions> {
    const isOne = this.#root.unique && !values.includes(null);
    const isLimited = !isOne || this.#resolve().why !== undefined;
    // Where included rows decide which row is found, the first one is not known without them.
    if (isLimited && requires(this.#resolve().ruled)) return { where: whereOf(this.columns, values), order: orderOf(this.model, undefined) };
    const find = await firstSelect(this.model, this.#root, values);
    // Without a limit: Sequelize would put the row into a subquery, by which included ones cannot be ordered.
    return isOne || find.order === undefined ? { ...orderedBy(find, orderOfSingles(this.model.model, this.#inclusions)), limit: null as never } : find;
  }

  /** What Sequelize makes of the include, which does not change. */
  #resolve(): Resolved {
    if (this.#resolved === undefined) {
      const prepared = preparedInclude(this.model.model, this.#inclusions);
      const rules = ruled(this.#inclusions, prepared.include);
      this.#resolved = { prepared, ruled: rules, why: whyNotIncluded(rules, this.#root) };
    }
    return this.#resolved;
  }
}

interface Resolved {
  readonly prepared: BuildOptions;
  readonly ruled: readonly Ruled[];
  readonly why: string | undefined;
}

/** A chain of either kind. */
export type Chain = RelatedCache | IncludingCache;

/** Lays a related instance on one that is there, as if it had been included. */
export function attach(instance: Model, as: string, related: Model | null, { include, includeMap }: BuildOptions): void {
  const internals = instance as unknown as { dataValues: Record<string, unknown>; _options: Partial<BuildOptions> };
  const { _options: options } = internals;
  internals._options = {
    ...options,
    include: [...(options.include ?? []).filter((other) => other.as !== as), ...include],
    includeNames: [...new Set([...(options.includeNames ?? []), as])],
    includeMap: { ...options.includeMap, ...includeMap },
    includeValidated: true,
  };
  internals.dataValues[as] = related;
  Reflect.set(instance, as, related);
}

/** What Sequelize makes of `include` when it builds an instance with it. */
export interface BuildOptions {
  readonly include: readonly ResolvedInclude[];
  readonly includeNames: readonly string[];
  readonly includeMap: Readonly<Record<string, unknown>>;
  readonly includeValidated: true;
}

/** Lets Sequelize resolve an include once, as it does for every query. Without an instance: a constructor may need values. */
export function preparedInclude(model: ModelStatic<Model>, inclusions: readonly Inclusion[]): BuildOptions {
  const options = { include: includeOf(inclusions) };
  const internals = model as unknown as IncludeInternals;
  internals._conformIncludes(options, model);
  internals._validateIncludedElements(options);
  const { include, includeNames, includeMap } = options as unknown as BuildOptions;
  return { include, includeNames, includeMap, includeValidated: true };
}

/** The part of `bulkBuild` that resolves includes, in place. */
interface IncludeInternals {
  _conformIncludes(options: object, self: ModelStatic<Model>): void;
  _validateIncludedElements(options: object): void;
}

/** A fresh `include`: Sequelize changes the one that it is given. */
const includeOf = (inclusions: readonly Inclusion[]): Includeable[] =>
  inclusions.map(({ step, include }) => ({ association: step.as, ...(include.length === 0 ? {} : { include: includeOf(include) }) }));

function* modelsOf(inclusions: readonly Inclusion[]): Generator<ModelStatic<Model>> {
  for (const { step, include } of inclusions) {
    yield step.target;
    yield* modelsOf(include);
  }
}

/**
 * The values of an instance, with those of the included ones under their names; `undefined` if it lacks
 * one that is required.
 */
async function nested(instance: Model, inclusions: readonly Ruled[], caches: CacheFinder, ask: Ask): Promise<Record<string, unknown> | undefined> {
  const parts = await Promise.all(
    inclusions.map(async ({ step, include, required }) => {
      const related = await follow(step, instance, caches, ask);
      const rows = await Promise.all(
        related.map(async (one) => {
          const row = await nested(one.instance, include, caches, ask);
          return row === undefined || one.link === undefined || step.through === undefined ? row : { ...row, [step.through]: ownValues(one.link) };
        }),
      );
      const found = rows.filter((row) => row !== undefined);
      if (step.many) sortByPrimaryKey(step.target, found, (row) => row);
      return required && found.length === 0 ? undefined : ([step.as, step.many ? found : (found[0] ?? null)] as const);
    }),
  );
  return parts.every((part) => part !== undefined) ? { ...ownValues(instance), ...Object.fromEntries(parts) } : undefined;
}

/** Each row once. Rows whose default scope hides their primary key cannot be told apart, and all stay. */
function distinct(rows: readonly Model[]): Model[] {
  const found = new Map<unknown, Model>();
  for (const row of rows) {
    const { primaryKeyAttributes } = row.constructor as ModelStatic<Model>;
    const values = primaryKeyAttributes.map((name) => ownValues(row)[name]);
    const isTold = values.length > 0 && !values.includes(undefined);
    const key = isTold ? JSON.stringify(values.map(String)) : row;
    if (!found.has(key)) found.set(key, row);
  }
  return [...found.values()];
}
