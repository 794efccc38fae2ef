/** Custom caches: what an overridden `getInstance` runs in, and what it may return. */
import type { Model, ModelStatic, Transaction, WhereOptions } from 'sequelize';
import { UnsupportedResultError } from '../errors.js';
import type { CachedModel } from '../models/cached-model.js';
import { whereOf } from '../models/finder.js';
import { ownValues } from '../models/hydrate.js';
import { show } from '../options.js';
import type { CacheClass } from '../types.js';
import type { Compute } from './bound-cache.js';
import { isInstanceOf } from './instances.js';
import type { KeyField } from './key-fields.js';

/** What a custom `getInstance` runs in. */
export interface Context {
  readonly model: ModelStatic<Model>;
  readonly transaction: Transaction | null | undefined;
  /** "The row with these key values". */
  readonly where: WhereOptions;
}

interface WithGetInstance {
  getInstance(keyValues: object): unknown;
}

const inherited = new WeakSet<object>();
const contexts = new WeakMap<object, Context>();

/** Marks the `getInstance` that a simple cache inherits. */
export function markInherited(prototype: object, method: string): void {
  inherited.add(Reflect.get(prototype, method) as object);
}

/** What this query object runs in; `undefined` outside of a load. */
export const contextOf = (query: object): Context | undefined => contexts.get(query);

/** Whether a cache class overrides `getInstance`. */
export function isCustomClass(cacheClass: CacheClass): boolean {
  const { getInstance } = cacheClass.prototype as Partial<WithGetInstance>;
  return typeof getInstance === 'function' && !inherited.has(getInstance);
}

/** How a custom cache's answer is computed: its `getInstance`, on a model of one Sequelize instance. */
export function computeOf(cacheClass: CacheClass, cached: CachedModel, fields: readonly KeyField[]): Compute {
  const columns = fields.flatMap((field) => field.columns);
  return async (values, transaction) => {
    const given: Record<string, unknown> = {};
    let at = 0;
    for (const field of fields) {
      given[field.name] = field.argument(values.slice(at, at + field.columns.length));
      at += field.columns.length;
    }
    const query = new cacheClass(given) as unknown as WithGetInstance;
    contexts.set(query, { model: cached.model, transaction, where: whereOf(columns, values) });
    const found: unknown = await query.getInstance(given);
    return checkedResult(cacheClass.name, cached, found);
  };
}

function checkedResult(cache: string, cached: CachedModel, found: unknown): Model | null {
  if (found === null || found === undefined) return null;
  const expected = `${cache}.getInstance must resolve to an instance of ${cached.name} as its findOne returns it, or to null`;
  if (typeof found !== 'object' || !(found instanceof cached.model || isModelInstance(found, cached))) {
    throw new UnsupportedResultError(`${expected}; received ${show(found)}.`);
  }
  const instance = found as Model & { readonly _options?: { readonly include?: unknown } };
  if (instance.isNewRecord || instance._options?.include !== undefined) {
    throw new UnsupportedResultError(
      `${expected}; received one that ${instance.isNewRecord ? 'is not saved' : "was loaded with 'include'"}.`,
    );
  }
  const values = ownValues(instance);
  const missing = cached.stored.find(({ name }) => values[name] === undefined && cached.scope.attributes.includes(name));
  if (missing !== undefined) {
    throw new UnsupportedResultError(`${expected}; received one that was loaded without '${missing.name}'. Leave 'attributes' out.`);
  }
  const more = Object.keys(values).find((name) => !cached.scope.attributes.includes(name));
  if (more !== undefined) {
    throw new UnsupportedResultError(`${expected}; received one that was loaded with '${more}' as well. Leave 'attributes' out.`);
  }
  return instance;
}

const isModelInstance = (found: object, cached: CachedModel): boolean =>
  'isNewRecord' in found && isInstanceOf(found as Model, cached.model);
