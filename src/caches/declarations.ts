/**
 * What the program declared, before any Sequelize instance is set up: which models are cached, on
 * which keys, and which cache classes belong to them.
 *
 * Kept beside the classes, because a declaration is made while the model's class is still being
 * defined and long before it is initialised.
 */
import { Model, type ModelStatic } from 'sequelize';
import { AlreadyCachedError, DoesNotExist, InvalidCacheClassError, InvalidOptionError, ScopedModelError } from '../errors.js';
import { show, wholeNumber } from '../options.js';
import type { CacheClass, ManagerClass, WithCacheOptions } from '../types.js';
import { familyOf, membersOf, type Family } from './answers.js';
import { distance } from './key-fields.js';

/** Options of a model, whatever its type. */
export type ModelOptions = WithCacheOptions<Model, string | readonly string[], string, CacheClass, string | readonly string[]>;

/** A class that can have a declaration: a model, or a base class of models. */
export type AnyClass = abstract new (...args: never[]) => unknown;

let changes = 0;

/** Counts declarations, so that whoever bound them can tell whether there are new ones. */
export const declarationCount = (): number => changes;

const declared = new WeakMap<AnyClass, ModelOptions>();
const mixins = new WeakSet<AnyClass>();
const classes = new WeakMap<AnyClass, Set<CacheClass>>();
const notFound = new WeakMap<AnyClass, typeof DoesNotExist>();

/** Declares what is cached of a model. @throws AlreadyCachedError, InvalidOptionError, ScopedModelError */
export function declare(model: AnyClass, options: ModelOptions): void {
  checkIsModel(model, 'withCache');
  if (declared.has(model)) {
    throw new AlreadyCachedError(
      `withCache was called twice for model ${model.name}. Declare all its keys and caches in one call.`,
    );
  }
  declared.set(model, checked(model.name, options));
  changes += 1;
}

/**
 * Refuses a class that `scope()`, `unscoped()` or `schema()` made of a model: it has the model's name, and
 * Sequelize does not list it, so nothing that is declared of it would be found.
 * @throws ScopedModelError
 */
function checkIsModel(model: AnyClass, who: string): void {
  const { name, sequelize } = model as unknown as ModelStatic<Model>;
  const own = sequelize?.models[name];
  const isMade = Object.hasOwn(model, 'scoped') || Object.hasOwn(model, '_schema');
  if (!isMade || own === undefined || own === model || !(model.prototype instanceof own)) return;
  throw new ScopedModelError(
    `${who} was given a class that is not the model itself, such as ${name}.scope(…), unscoped() or schema(…). Pass ${name}; a schema belongs in the options of its definition.`,
  );
}

/** Marks a class as made by the mixin: models that extend it declare themselves by `cacheMeta`. */
export function declareMixin(base: AnyClass): void {
  mixins.add(base);
  changes += 1;
}

/** Adds a cache class to its model. Adding the same class again changes nothing. @throws InvalidCacheClassError */
export function declareClass(cacheClass: CacheClass): void {
  const model = checkClass(cacheClass);
  const known = classes.get(model) ?? new Set<CacheClass>();
  if (known.has(cacheClass)) return;
  classes.set(model, known.add(cacheClass));
  changes += 1;
}

function checkClass(cacheClass: CacheClass): AnyClass {
  const given: unknown = cacheClass;
  if (typeof given !== 'function' || typeof (given.prototype as { readonly resolve?: unknown } | undefined)?.resolve !== 'function') {
    throw new InvalidCacheClassError(
      `A cache class is a class that extends InstanceCache, QuerysetCache or one of their kin; received ${show(given)}${given === undefined ? ". Is it defined later? Then use the function form, 'caches: () => […]'" : ''}.`,
    );
  }
  const { model, keyFields } = cacheClass as { readonly model?: unknown; readonly keyFields?: unknown };
  const { name } = cacheClass;
  if (name === '') {
    throw new InvalidCacheClassError('A cache class without a name cannot be registered: names are part of the keys. Give it one.');
  }
  if (typeof model !== 'function' || !((model as AnyClass).prototype instanceof Model)) {
    throw new InvalidCacheClassError(`Cache class ${name} needs 'static model = …', the model whose instance it caches; received ${show(model)}.`);
  }
  checkIsModel(model as AnyClass, `Cache class ${name}, 'static model',`);
  const family = familyOf(cacheClass);
  const wholeTable = family === 'queryset' || family === 'exists' || family === 'count' || family === 'related-queryset';
  if (!Array.isArray(keyFields) || (keyFields.length === 0 && !wholeTable) || !keyFields.every((field) => typeof field === 'string')) {
    throw new InvalidCacheClassError(
      `Cache class ${name} needs 'static keyFields = [\u2026]', a list of ${wholeTable ? "key fields' names (an empty one for the whole table)" : "at least one key field's name"}; received ${show(keyFields)}.`,
    );
  }
  checkMembers(cacheClass, family);
  return model as AnyClass;
}

/** The static members that are read from a cache class. */
const classStatics: readonly string[] = [
  'model',
  'keyFields',
  'timeout',
  'negativeTimeout',
  'version',
  'invalidation',
  'allowtime',
  'order',
  'limit',
  'relation',
  'include',
] satisfies (keyof CacheClass)[];

/** What similar things are called elsewhere, without underscores and in lower case; and what to write here. */
const elsewhere: ReadonlyMap<string, string> = new Map([
  ['orderby', 'order'],
  ['ordering', 'order'],
  ['ttl', 'timeout'],
  ['selectrelated', 'include'],
  ['prefetchrelated', 'include'],
]);

/** Names that have no counterpart here, and what to do. */
const needless: ReadonlyMap<string, string> = new Map([
  ['serializer', 'Rows are stored by columns and need none. Leave it out.'],
  ['deserializer', 'Rows are stored by columns and need none. Leave it out.'],
]);

/** A name as it is compared: `key_fields` is `keyFields`. */
const plainName = (name: string): string => name.replaceAll('_', '').toLowerCase();

/** The name that was probably meant by one that is not known. */
function misspelt(name: string, known: readonly string[]): string | undefined {
  if (known.includes(name)) return undefined;
  const given = plainName(name);
  const other = elsewhere.get(given);
  if (other !== undefined && known.includes(other)) return other;
  return known.find((one) => distance(given, one.toLowerCase()) <= 1);
}

/** The methods by which a class of a family answers with something of its own. */
const ownMethods: Readonly<Record<Family, readonly string[]>> = {
  instance: ['getInstance', 'getInstances'],
  queryset: ['getResult', 'getResults'],
  exists: [],
  count: [],
  'related-instance': [],
  'related-queryset': [],
};

/** Methods of cache classes that a subclass must not have, or has no use for, without underscores and in lower case. */
const methodsOfOthers: ReadonlySet<string> = new Set(['getinstance', 'getresult', 'getinstances', 'getresults', 'queryset', 'getqueryset']);

/** Members of a cache class that look as if they had an effect, and have none. @throws InvalidCacheClassError */
function checkMembers(cacheClass: CacheClass, family: Family): void {
  const { name } = cacheClass;
  const { statics, methods } = membersOf(cacheClass);
  for (const given of statics) {
    const advice = needless.get(plainName(given));
    if (advice !== undefined) throw new InvalidCacheClassError(`Cache class ${name} has a static member '${given}', which has no effect. ${advice}`);
    const meant = misspelt(given, classStatics);
    if (meant !== undefined) {
      throw new InvalidCacheClassError(`Cache class ${name} has a static member '${given}', which has no effect; did you mean '${meant}'? If not, give it a name that is not taken for that one.`);
    }
  }
  const own = ownMethods[family];
  for (const given of methods) {
    if (own.includes(given)) continue;
    const plain = plainName(given);
    if (plain === 'queryset') {
      throw new InvalidCacheClassError(`Cache class ${name} has a member '${given}', which would hide that of its base. ${adviceFor(family, own)}`);
    }
    const meant = own.find((method) => plain === method.toLowerCase()) ?? own.find((method) => distance(plain, method.toLowerCase()) <= 2);
    if (meant === undefined && !methodsOfOthers.has(plain)) continue;
    throw new InvalidCacheClassError(
      `Cache class ${name} has a method '${given}', which has no effect${meant === undefined ? `. ${adviceFor(family, own)}` : `; did you mean '${meant}'? If not, give it a name that is not taken for that one.`}`,
    );
  }
}

function adviceFor(family: Family, [own]: readonly string[]): string {
  if (own !== undefined) return `Override ${own}, and read with this.queryset() in it.`;
  const other = family === 'related-instance' ? 'an InstanceCache with getInstance' : 'a QuerysetCache with getResult';
  return `This kind of class computes nothing of its own. For that derive ${other}.`;
}

/** What is declared of one model. */
export interface Declaration {
  readonly options: ModelOptions;
  readonly classes: ReadonlySet<CacheClass>;
}

/** What is declared of a model, or of a class that it extends; `undefined` if nothing is. */
export function declarationOf(model: ModelStatic<Model>): Declaration | undefined {
  const declaredHere = optionsOf(model);
  const found = new Set<CacheClass>();
  for (const c of ancestors(model)) for (const cacheClass of classes.get(c) ?? []) found.add(cacheClass);
  if (declaredHere === undefined && found.size === 0) return undefined;
  const options = declaredHere === undefined ? undefined : withManager(model, declaredHere);
  for (const cacheClass of listOfCaches(options ?? {}, `withCache(${model.name})`)) {
    const of = checkClass(cacheClass);
    if (![...ancestors(model)].includes(of)) {
      throw new InvalidCacheClassError(
        `Cache class ${cacheClass.name} is listed in 'caches' of model ${model.name}, but its 'static model' is ${of.name}. List it there.`,
      );
    }
    found.add(cacheClass);
  }
  return { options: options ?? {}, classes: found };
}

/** The options of a model; `undefined` if nothing is declared. */
function optionsOf(model: AnyClass): ModelOptions | undefined {
  let options: ModelOptions | undefined;
  for (const c of ancestors(model)) {
    options ??= declared.get(c);
    if (!mixins.has(c)) continue;
    const meta: unknown = Reflect.get(model, 'cacheMeta');
    if (meta !== undefined && options !== undefined) {
      throw new AlreadyCachedError(
        `Model ${model.name} has 'static cacheMeta' and was passed to withCache as well. Declare all its keys and caches in one of them.`,
      );
    }
    return meta === undefined ? (options ?? {}) : checked(model.name, meta as ModelOptions);
  }
  return options;
}

/** The manager class of a model; `undefined` if it has none of its own. */
export const managerClassOf = (model: AnyClass): ManagerClass | undefined => optionsOf(model)?.manager;

/**
 * The options of a model and the static members of its manager class as one: lists are put together,
 * and of anything else there is one.
 * @throws InvalidOptionError where both say the same thing
 */
function withManager(model: AnyClass, options: ModelOptions): ModelOptions {
  const { manager } = options;
  if (manager === undefined) return options;
  const who = `the manager ${manager.name} of model ${model.name}`;
  const given: Record<string, unknown> = {};
  for (const name of known) {
    const value: unknown = name === 'manager' ? undefined : Reflect.get(manager, name);
    if (value !== undefined) given[name] = value;
  }
  const own = checked(model.name, given as ModelOptions, who, manager.name);
  const clash = (what: string): never => {
    throw new InvalidOptionError(`${what} is declared by model ${model.name} and by ${who}. Declare it in one of them.`);
  };
  const together = <T>(name: string, ofModel: readonly T[], ofManager: readonly T[], text: (item: T) => string): readonly T[] => {
    const texts = new Set(ofModel.map(text));
    const twice = ofManager.map(text).find((one) => texts.has(one));
    return twice === undefined ? [...ofModel, ...ofManager] : clash(`'${name}': ${twice}`);
  };
  for (const name of ['genericForeignKeys', 'timeout', 'negativeTimeout', 'version'] as const) {
    if (own[name] !== undefined && options[name] !== undefined) clash(`'${name}'`);
  }
  const fields = (spec: string | readonly string[]): string => [spec].flat().join(' + ') || 'the whole table';
  const { getKeyFieldsList, filterKeyFieldsList, ...others } = options;
  return {
    ...own,
    ...others,
    keys: together('keys', options.keys ?? getKeyFieldsList ?? [], own.keys ?? own.getKeyFieldsList ?? [], fields),
    getKeyFieldsList: undefined,
    filters: together('filters', options.filters ?? filterKeyFieldsList ?? [], own.filters ?? own.filterKeyFieldsList ?? [], fields),
    filterKeyFieldsList: undefined,
    caches: () =>
      together('caches', listOfCaches(options, `withCache(${model.name})`), listOfCaches(own, who), (cacheClass) => {
        checkClass(cacheClass);
        return cacheClass.name;
      }),
    cachedForeignKeys: together('cachedForeignKeys', options.cachedForeignKeys ?? [], own.cachedForeignKeys ?? [], String),
  };
}

/** @throws InvalidOptionError */
function listOfCaches({ caches }: ModelOptions, where: string): readonly CacheClass[] {
  const listed: unknown = (typeof caches === 'function' ? caches() : caches) ?? [];
  if (!Array.isArray(listed)) {
    throw new InvalidOptionError(`${where}: 'caches' must be a list of cache classes, or a function that returns one; received ${show(listed)}.`);
  }
  return listed as readonly CacheClass[];
}

/** The model's own `DoesNotExist`; a model in repository mode shares that of the class it extends. */
export function doesNotExistOf(model: AnyClass): typeof DoesNotExist {
  for (const c of ancestors(model)) {
    const known = notFound.get(c);
    if (known !== undefined) return known;
  }
  const own = class extends DoesNotExist {};
  Object.defineProperty(own, 'name', { value: `${model.name}DoesNotExist` });
  notFound.set(model, own);
  return own;
}

/** The class and what it extends, up to Sequelize's `Model`. */
function* ancestors(model: AnyClass): Generator<AnyClass> {
  for (let c: unknown = model; typeof c === 'function' && c !== Model; c = Object.getPrototypeOf(c)) yield c as unknown as AnyClass;
}

const known = new Set<keyof ModelOptions>([
  'keys',
  'getKeyFieldsList',
  'filters',
  'filterKeyFieldsList',
  'caches',
  'cachedForeignKeys',
  'genericForeignKeys',
  'manager',
  'timeout',
  'negativeTimeout',
  'version',
]);

/** Checks the options of a model. @throws InvalidOptionError */
function checked(model: string, options: ModelOptions, where = `withCache(${model})`, short = where): ModelOptions {
  if (typeof options !== 'object' || (options as unknown) === null || Array.isArray(options)) {
    throw new InvalidOptionError(`${where}: the options must be an object; received ${show(options)}.`);
  }
  for (const name of Object.keys(options)) {
    if (!known.has(name as keyof ModelOptions)) {
      throw new InvalidOptionError(`${where} has no option '${name}'. Its options are: ${[...known].join(', ')}.`);
    }
  }
  checkSpecs(where, options, 'keys', 'getKeyFieldsList', 1);
  checkSpecs(where, options, 'filters', 'filterKeyFieldsList', 0);
  const foreignKeys: unknown = options.cachedForeignKeys ?? [];
  if (!Array.isArray(foreignKeys) || !foreignKeys.every((name) => typeof name === 'string')) {
    throw new InvalidOptionError(`${where}: 'cachedForeignKeys' must be a list of associations' names, such as ['event']; received ${show(foreignKeys)}.`);
  }
  checkManager(where, options.manager);
  wholeNumber(`${short}.timeout`, options.timeout, 1, 1, 31_536_000, 'seconds');
  wholeNumber(`${short}.negativeTimeout`, options.negativeTimeout, 1, 1, 31_536_000, 'seconds');
  const version: unknown = options.version;
  if (version !== undefined && typeof version !== 'string' && !Number.isFinite(version)) {
    throw new InvalidOptionError(`${where}: 'version' must be a number or a string; received ${show(version)}.`);
  }
  checkGenerics(where, options.genericForeignKeys);
  return options;
}

function checkSpecs(
  where: string,
  options: ModelOptions,
  short: 'keys' | 'filters',
  longName: 'getKeyFieldsList' | 'filterKeyFieldsList',
  least: number,
): void {
  if (options[short] !== undefined && options[longName] !== undefined) {
    throw new InvalidOptionError(`${where}: '${short}' is the short name of '${longName}'; pass one of them.`);
  }
  const specs: unknown = options[short] ?? options[longName] ?? [];
  const isSpec = (spec: unknown): boolean =>
    typeof spec === 'string' || (Array.isArray(spec) && spec.length >= least && spec.every((name) => typeof name === 'string'));
  if (!Array.isArray(specs) || !specs.every(isSpec)) {
    throw new InvalidOptionError(
      `${where}: '${short}' must be a list of names or of lists of names, such as ['username', ['tenantId', 'slug']]; received ${show(specs)}.`,
    );
  }
  const names = specs.map((spec: string | readonly string[]) => [spec].flat().join(' + '));
  const twice = names.find((name, at) => names.indexOf(name) !== at);
  if (twice !== undefined) throw new InvalidOptionError(`${where}: '${short}' names ${twice === '' ? 'the whole table' : twice} twice.`);
}

const managerBases = new WeakSet<object>();

/** Makes a class the base of managers. */
export function markManager(base: object): void {
  managerBases.add(base);
}

/** @throws InvalidOptionError */
function checkManager(where: string, manager: unknown): void {
  if (manager === undefined) return;
  const own = new Set<string>();
  const statics = new Set<string>();
  let base: unknown = manager;
  for (; typeof base === 'function' && !managerBases.has(base); base = Object.getPrototypeOf(base)) {
    for (const [name, { value }] of Object.entries(Object.getOwnPropertyDescriptors(base))) {
      if (name !== 'prototype' && (typeof value !== 'function' || name === 'caches')) statics.add(name);
    }
    for (const name of Object.getOwnPropertyNames((base as AnyClass).prototype ?? {})) if (name !== 'constructor') own.add(name);
  }
  if (typeof base !== 'function') {
    throw new InvalidOptionError(`${where}: 'manager' must be a class that extends ModelCacheManager; received ${show(manager)}.`);
  }
  const { name } = manager as AnyClass;
  checkHidden(where, name, own, base as AnyClass);
  const names = [...known];
  for (const given of statics) {
    const meant = misspelt(given, names);
    if (meant !== undefined) {
      throw new InvalidOptionError(`${where}: the manager ${name} has a static member '${given}', which has no effect; did you mean '${meant}'? If not, give it a name that is not taken for that one.`);
    }
  }
}

/** A method of a manager that its base has too would be called by the base itself. @throws InvalidOptionError */
function checkHidden(where: string, manager: string, own: Iterable<string>, base: AnyClass): void {
  for (const name of own) {
    if (name in (base.prototype as object)) {
      throw new InvalidOptionError(`${where}: the manager ${manager} has a member '${name}', which would hide that of ModelCacheManager. Give it another name.`);
    }
  }
}

/** Checks the members that a manager's constructor and class fields gave it. @throws InvalidOptionError */
export function checkManagerInstance(model: AnyClass, manager: object, base: AnyClass): void {
  checkHidden(`withCache(${model.name})`, manager.constructor.name, Object.getOwnPropertyNames(manager), base);
}

function checkGenerics(where: string, declared: unknown): void {
  if (declared === undefined) return;
  if (typeof declared !== 'object' || declared === null || Array.isArray(declared)) {
    throw new InvalidOptionError(`${where}: 'genericForeignKeys' must be an object, a declaration by name; received ${show(declared)}.`);
  }
  for (const [name, one] of Object.entries(declared) as [string, unknown][]) {
    const { type, id, models } = (one ?? {}) as { readonly type?: unknown; readonly id?: unknown; readonly models?: unknown };
    if (typeof type !== 'string' || typeof id !== 'string' || typeof models !== 'function') {
      throw new InvalidOptionError(
        `${where}: the generic foreign key '${name}' must be declared as { type: '${name}Type', id: '${name}Id', models: () => [Post, Photo] }, ` +
          `two attributes' names and a function that returns models, or an object of models by the names that '${name}Type' holds.`,
      );
    }
  }
}
