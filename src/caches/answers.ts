/** What each family of cache classes answers with: how it is computed, and what is stored of it. */
import { InvalidCacheClassError, UnsupportedResultError } from '../errors.js';
import { Model, Op, type ModelStatic, type Order, type Transaction, type WhereOptions } from 'sequelize';
import { assertJson, CorruptPayload, decodeJson, encodeJson, NotSerialisable } from '../entries/codec.js';
import type { Canonical } from '../entries/key-types.js';
import type { CachedModel } from '../models/cached-model.js';
import { countRows, countsOfRows, findByKeys, findFirst, findList, findLists, hasRow, haveRows, NotTogether, onConnection, whereOf, type Asks, type ListOptions as ListSelect, type Question } from '../models/finder.js';
import { ownValues } from '../models/hydrate.js';
import { show } from '../options.js';
import type { CacheClass } from '../types.js';
import { instanceCodec, isUnique, listCodec, type AnswerCodec, type Computing, type ListShape, type ResultShape } from './bound-cache.js';
import { isInstanceOf } from './instances.js';
import { suggestion, type KeyField } from './key-fields.js';

/** The base classes that an application derives. */
export type Family = 'instance' | 'queryset' | 'exists' | 'count' | 'related-instance' | 'related-queryset';

interface FamilyBase {
  readonly family: Family;
  /** The method that a class overrides to answer with something of its own. */
  readonly method: OwnMethod | undefined;
  readonly inherited: unknown;
}

type OwnMethod = 'getInstance' | 'getResult';

/** The method that answers several lookups at once, by the one that answers one. */
const manyMethods = { getInstance: 'getInstances', getResult: 'getResults' } as const;

const families = new WeakMap<object, FamilyBase>();

/** Makes a class the base of a family. */
export function markFamily(base: { readonly prototype: object }, family: Family, method?: OwnMethod): void {
  families.set(base, { family, method, inherited: method === undefined ? undefined : Reflect.get(base.prototype, method) });
}

function baseOf(cacheClass: CacheClass): FamilyBase {
  for (let c: unknown = cacheClass; typeof c === 'function'; c = Object.getPrototypeOf(c)) {
    const found = families.get(c);
    if (found !== undefined) return found;
  }
  throw new InvalidCacheClassError(`Cache class ${cacheClass.name} extends none of the cache classes of sequelize-flash, such as InstanceCache.`);
}

/** Which family a cache class belongs to. @throws InvalidCacheClassError */
export const familyOf = (cacheClass: CacheClass): Family => baseOf(cacheClass).family;

/**
 * The names of the static members that a cache class, or one between it and its family, has, and of its
 * methods, static ones included.
 */
export function membersOf(cacheClass: CacheClass): { readonly statics: ReadonlySet<string>; readonly methods: ReadonlySet<string> } {
  const statics = new Set<string>();
  const methods = new Set<string>();
  for (let c: unknown = cacheClass; typeof c === 'function' && !families.has(c); c = Object.getPrototypeOf(c)) {
    for (const [name, { value }] of Object.entries(Object.getOwnPropertyDescriptors(c))) {
      if (name === 'prototype') continue;
      if (typeof value === 'function' && name !== 'model') methods.add(name);
      else statics.add(name);
    }
    for (const name of Object.getOwnPropertyNames(c.prototype)) if (name !== 'constructor') methods.add(name);
  }
  return { statics, methods };
}

/** The name of the method by which a cache class answers with something of its own; `undefined` if it does not. */
export function ownMethodOf(cacheClass: CacheClass): OwnMethod | undefined {
  const { method, inherited } = baseOf(cacheClass);
  if (method === undefined) return undefined;
  return Reflect.get(cacheClass.prototype as object, method) === inherited ? undefined : method;
}

/**
 * Checks that a class which answers several lookups at once answers one, too: in a transaction, and where
 * only one is asked for. @throws InvalidCacheClassError
 */
export function checkManyMethod(cacheClass: CacheClass): void {
  const { method } = baseOf(cacheClass);
  if (method === undefined || ownMethodOf(cacheClass) !== undefined) return;
  const many = manyMethods[method];
  if (typeof Reflect.get(cacheClass.prototype as object, many) !== 'function') return;
  throw new InvalidCacheClassError(
    `Cache class ${cacheClass.name} has ${many}, which answers several lookups at once, and no ${method}, which answers one. Add it, or leave ${many} out.`,
  );
}

/** What a `getInstance` or `getResult` runs in. */
export interface Context {
  readonly model: ModelStatic<Model>;
  readonly transaction: Transaction | null | undefined;
  /** "The rows with these key values", or with one of several such lists. */
  readonly where: WhereOptions;
}

const contexts = new WeakMap<object, Context>();

/** What this query object runs in; `undefined` outside of a load. */
export const contextOf = (query: object): Context | undefined => contexts.get(query);

/**
 * The answers of a class's own `getInstance` or `getResult`, on a model of one Sequelize instance, and of
 * its `getInstances` or `getResults` where it has them.
 * @param checked makes of what such a method returned the answer
 */
function ownAnswer(
  cacheClass: CacheClass,
  method: OwnMethod,
  cached: CachedModel,
  fields: readonly KeyField[],
  checked: (answer: unknown) => unknown,
): Computing {
  const columns = fields.flatMap((field) => field.columns);
  type Query = Readonly<Partial<Record<string, (given: unknown) => unknown>>>;
  const run = async (name: string, asks: Asks, argument: (given: readonly Named[]) => unknown, transaction?: Transaction | null): Promise<unknown> => {
    const given = asks.map((values) => argumentsOf(fields, values));
    const query = new cacheClass(given[0] ?? {}) as unknown as Query;
    const wheres = asks.map((values) => whereOf(columns, values));
    contexts.set(query, { model: cached.model, transaction, where: wheres.length === 1 ? (wheres[0] as WhereOptions) : { [Op.or]: wheres } });
    return query[name]?.(argument(given));
  };
  const many = manyMethods[method];
  const hasMany = typeof Reflect.get(cacheClass.prototype as object, many) === 'function';
  return {
    isOwn: true,
    compute: async (values, transaction) => checked(await run(method, [values], ([only]) => only, transaction)),
    computeMany: hasMany ? async (asks) => (await ownAnswers(`${cacheClass.name}.${many}`, asks, () => run(many, asks, (given) => given))).map(checked) : undefined,
  };
}

/** What a method returned for each of several lookups. @throws NotTogether where it rejected: only one of them may be why. */
async function ownAnswers(who: string, asks: Asks, run: () => Promise<unknown>): Promise<readonly unknown[]> {
  let found: unknown;
  try {
    found = await run();
  } catch (cause) {
    throw new NotTogether(`${who} rejected`, { cause });
  }
  if (!Array.isArray(found) || found.length !== asks.length) {
    throw new UnsupportedResultError(
      `${who} must resolve to a list with one answer for each of the key values, in their order (${String(asks.length)} here); received ${Array.isArray(found) ? `a list of ${String(found.length)}` : show(found)}.`,
    );
  }
  return found as readonly unknown[];
}

type Named = Readonly<Record<string, unknown>>;

/** Key values by name, as a method of a cache class gets them. */
function argumentsOf(fields: readonly KeyField[], values: readonly Canonical[]): Named {
  const given: Record<string, unknown> = {};
  let at = 0;
  for (const field of fields) {
    given[field.name] = field.argument(values.slice(at, at + field.columns.length));
    at += field.columns.length;
  }
  return given;
}

// ---- Instances --------------------------------------------------------------------------------

/** A cache of what an overridden `getInstance` returns. */
export function customInstance(cacheClass: CacheClass, cached: CachedModel, fields: readonly KeyField[]): ResultShape {
  return {
    ...instanceCodec(cached),
    ...ownAnswer(cacheClass, 'getInstance', cached, fields, (answer) => checkedInstance(`${cacheClass.name}.getInstance`, cached, answer)),
    watched: 'all',
    rejectsNull: false,
    isFind: false,
    description: 'instance',
  };
}

/** A cache of the row with the key values, stored whole: one that may give an outdated answer cannot use the row's entry. */
export function wholeInstance(cached: CachedModel, fields: readonly KeyField[]): ResultShape {
  const columns = fields.flatMap((field) => field.columns);
  const question: Question = { columns, ...isUnique(cached, columns) };
  return {
    ...instanceCodec(cached),
    compute: (values, transaction, as) => findFirst(cached, question, values, onConnection(transaction, as)),
    computeMany: (asks) => findByKeys(cached, question, asks),
    watched: 'all',
    rejectsNull: true,
    isFind: true,
    description: 'row',
  };
}

function checkedInstance(method: string, cached: CachedModel, found: unknown): Model | null {
  if (found === null || found === undefined) return null;
  const expected = method.endsWith('.getInstance')
    ? `${method} must resolve to an instance of ${cached.name} as its findOne returns it, or to null`
    : `${method} must resolve to instances of ${cached.name} as its findAll returns them, or to a JSON value`;
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

// ---- Lists ------------------------------------------------------------------------------------

/** How a class orders and limits its list. */
export interface ListOptions extends ListSelect {
  readonly shape: ListShape;
}

/** A list without order and limit of its own. */
export const plainListOptions: ListOptions = { order: undefined, limit: undefined, shape: { order: new Set(), description: 'list, primary key last' } };

/** Reads `static order` and `static limit` of a class. @throws InvalidCacheClassError */
export function listOptionsOf(cacheClass: CacheClass, { model, columns }: CachedModel): ListOptions {
  const { order, limit } = cacheClass as { readonly order?: unknown; readonly limit?: unknown };
  if (limit !== undefined && (!Number.isInteger(limit) || (limit as number) < 1)) {
    throw new InvalidCacheClassError(`${cacheClass.name}.limit must be a whole number of rows, at least 1; received ${show(limit)}.`);
  }
  const names = new Set<string>();
  const items: readonly unknown[] = order === undefined ? [] : Array.isArray(order) ? order : [order];
  for (const item of items) {
    const parts: readonly unknown[] = Array.isArray(item) ? item : [item];
    const [name, direction = 'ASC', ...more] = parts;
    const refuse = (received: string): never => {
      throw new InvalidCacheClassError(
        `${cacheClass.name}.order must be a list of attributes of ${model.name} that have columns, each with 'ASC' or 'DESC', such as [['id', 'DESC']]; received ${received}`,
      );
    };
    if (typeof name !== 'string') return refuse(`${show(name)}.`);
    if (!columns.has(name)) refuse(`${show(name)}${suggestion(name, [...columns.keys()])}`);
    if (typeof direction !== 'string' || !/^(asc|desc)$/i.test(direction)) refuse(`${show(direction)} after ${show(name)}.`);
    if (more.length > 0) refuse(`${show(more[0])} after ${show(name)} and its direction.`);
    names.add(name);
  }
  if (limit !== undefined && names.size === 0) {
    throw new InvalidCacheClassError(`${cacheClass.name} has a limit and no order, so which rows it has would be chance. Add 'static order = [[…]]'.`);
  }
  return {
    order: order as Order | undefined,
    limit: limit as number | undefined,
    shape: { order: names, description: JSON.stringify(['list, primary key last', items, limit ?? 0]) },
  };
}

/** Computes the rows with the key values, as `findAll` finds them. */
export function listOf(cached: CachedModel, fields: readonly KeyField[], options: ListOptions): Computing & ListShape {
  const columns = fields.flatMap((field) => field.columns);
  return {
    ...options.shape,
    compute: (values, transaction, as) => findList(cached, columns, values, { ...options, on: onConnection(transaction, as) }),
    computeMany: (asks) => findLists(cached, columns, asks, options),
  };
}

/** A list that is stored whole: one that may give an outdated answer cannot refer to the rows' entries. */
export const wholeList = (cached: CachedModel, fields: readonly KeyField[], options: ListOptions): ResultShape => ({
  ...listCodec(cached),
  ...listOf(cached, fields, options),
  watched: 'all',
  rejectsNull: false,
  isFind: true,
});

// ---- Values -----------------------------------------------------------------------------------

const jsonCodec: AnswerCodec = {
  encode: (answer) => answer,
  decode: (cells) => cells,
  present: (content) => content,
  conceal: (answer) => answer,
};

/**
 * What a `getResult` may return: any JSON value, an instance of the model, or a list of instances. What
 * it is stands beside what is stored of it, since a class may return now the one, now the other.
 */
function valueCodec(cached: CachedModel): AnswerCodec {
  const instance = instanceCodec(cached);
  const list = listCodec(cached);
  const codecOf = (kind: unknown): AnswerCodec => (kind === 'instance' ? instance : kind === 'list' ? list : jsonCodec);
  const kindOf = (answer: unknown): 'instance' | 'list' | 'json' =>
    answer instanceof Model ? 'instance' : Array.isArray(answer) && answer[0] instanceof Model ? 'list' : 'json';
  return {
    encode: (answer) => {
      if (answer === null) return null;
      const kind = kindOf(answer);
      return kind === 'json' ? encodeJson(answer) : [kind, codecOf(kind).encode(answer)];
    },
    decode: (cells) => {
      if (cells === null) return null;
      const [kind, stored, ...more] = Array.isArray(cells) ? (cells as readonly unknown[]) : [];
      if (kind !== 'instance' && kind !== 'list') return { kind: 'json', content: decodeJson(cells) };
      if (more.length > 0) throw new CorruptPayload('a result of another shape');
      return { kind, content: codecOf(kind).decode(stored) };
    },
    present: (content) => {
      if (content === null) return null;
      const { kind, content: decoded } = content as { readonly kind: string; readonly content: unknown };
      return codecOf(kind).present(decoded);
    },
    conceal: (answer) => codecOf(kindOf(answer)).conceal(answer),
  };
}

/** A cache of what an overridden `getResult` returns. */
export function customResult(cacheClass: CacheClass, cached: CachedModel, fields: readonly KeyField[]): ResultShape {
  return {
    ...valueCodec(cached),
    ...ownAnswer(cacheClass, 'getResult', cached, fields, (answer) => checkedResult(cacheClass.name, cached, answer)),
    watched: 'all',
    rejectsNull: false,
    isFind: false,
    description: 'value',
  };
}

/** @throws UnsupportedResultError */
function checkedResult(cache: string, cached: CachedModel, value: unknown): unknown {
  const method = `${cache}.getResult`;
  if (value instanceof Model) return checkedInstance(method, cached, value);
  if (!Array.isArray(value) || !value.some((item) => item instanceof Model)) return checkedJson(cache, cached, value);
  for (const item of value as readonly unknown[]) {
    if (!(item instanceof Model)) {
      throw new UnsupportedResultError(
        `${method} must resolve to a list of instances of ${cached.name} and nothing else, or to a JSON value; received a list with instances and ${show(item)}. Leave out what is no instance.`,
      );
    }
    checkedInstance(method, cached, item);
  }
  return value;
}

/** The number of rows with the key values. */
export function countOf(cached: CachedModel, fields: readonly KeyField[]): ResultShape {
  const columns = fields.flatMap((field) => field.columns);
  return {
    ...jsonCodec,
    compute: (values, transaction) => countRows(cached, columns, values, onConnection(transaction)),
    computeMany: (asks) => countsOfRows(cached, columns, asks),
    watched: cached.scope.visibility,
    rejectsNull: false,
    isFind: false,
    description: 'count',
  };
}

/** Whether there is a row with the key values. */
export function existsOf(cached: CachedModel, fields: readonly KeyField[]): ResultShape {
  const columns = fields.flatMap((field) => field.columns);
  return {
    ...jsonCodec,
    compute: (values, transaction) => hasRow(cached, columns, values, onConnection(transaction)),
    computeMany: (asks) => haveRows(cached, columns, asks),
    watched: cached.scope.visibility,
    rejectsNull: false,
    isFind: false,
    description: 'exists',
  };
}

/** A value that JSON holds. @throws UnsupportedResultError */
function checkedJson(cache: string, cached: CachedModel, value: unknown): unknown {
  try {
    assertJson(value);
    return value;
  } catch (cause) {
    if (!(cause instanceof NotSerialisable)) throw cause;
    const isContainer = typeof value === 'object' && /^an (object|array)/.test(show(value));
    const advice = value === undefined ? "Return something, or null for 'nothing'" : 'Return ids or other plain values';
    throw new UnsupportedResultError(
      `${cache}.getResult must resolve to a JSON value (numbers, strings, booleans, null, arrays and plain objects of these), to an instance of ${cached.name}, or to a list of instances; ` +
        `received ${show(value)}${isContainer ? `, with ${cause.message}` : ''}. ${advice}.`,
      { cause },
    );
  }
}
