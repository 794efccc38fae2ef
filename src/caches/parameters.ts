/** Parameters to canonical key values: positional, by name, mixed, or one bare value. */
import { Model } from 'sequelize';
import {
  AmbiguousKeyError,
  CacheNotRegisteredError,
  KeyFieldNotPassedError,
  UnknownKeyFieldError,
} from '../errors.js';
import type { Canonical } from '../entries/key-types.js';
import { show } from '../options.js';
import type { ListCache, SimpleCache } from './bound-cache.js';
import { suggestion, type KeyField } from './key-fields.js';

/** Parameters by name. */
export type Named = Readonly<Record<string, unknown>>;

/** Whether a parameter is an object of parameters by name, rather than a value. */
export function isNamed(parameter: unknown): parameter is Named {
  if (typeof parameter !== 'object' || parameter === null || parameter instanceof Model) return false;
  const prototype: unknown = Object.getPrototypeOf(parameter);
  return prototype === Object.prototype || prototype === null;
}

/**
 * The key values of a cache class's constructor arguments: values in the order of the key fields,
 * then at most one object with the rest by name.
 * @throws KeyFieldNotPassedError, UnknownKeyFieldError, and what `KeyField.read` throws
 */
export function valuesOfArguments(cache: string, fields: readonly KeyField[], given: readonly unknown[]): readonly Canonical[] {
  const last = given.at(-1);
  const named = isNamed(last) ? last : {};
  const positional = isNamed(last) ? given.slice(0, -1) : given;
  if (positional.length > fields.length) {
    throw new UnknownKeyFieldError(
      fields.length === 0
        ? `${cache} takes no key fields, as it is about the whole table; received ${String(positional.length)} value${positional.length === 1 ? '' : 's'}.`
        : `${cache} takes ${String(fields.length)} key field${fields.length === 1 ? '' : 's'} (${listOf(fields)}); received ${String(positional.length)} values.`,
    );
  }
  for (const name of Object.keys(named)) {
    const at = fields.findIndex((field) => accepts(field, name));
    if (at < 0) {
      throw new UnknownKeyFieldError(
        `${cache} has no key field ${show(name)}${suggestion(name, namesOf(fields))} ${fields.length === 0 ? 'It has none, as it is about the whole table.' : `Its key fields are: ${listOf(fields)}.`}`,
      );
    }
    if (at < positional.length) {
      throw new UnknownKeyFieldError(`${cache}: key field '${name}' was passed twice, by position and by name.`);
    }
  }
  return fields.flatMap((field, at) =>
    at < positional.length ? field.read(positional[at]) : field.read(valueByName(cache, fields, field, named)),
  );
}

/**
 * Which of a model's simple caches the parameters mean, and their key values.
 * @throws AmbiguousKeyError, CacheNotRegisteredError, KeyFieldNotPassedError, UnknownKeyFieldError
 */
export function resolveLookup(
  model: string,
  caches: readonly SimpleCache[],
  /** Whether the model has an attribute or association of that name. */
  isMember: (name: string) => boolean,
  parameters: unknown,
): { readonly cache: SimpleCache; readonly values: readonly Canonical[] } {
  if (!isNamed(parameters)) return bare(model, caches, parameters);
  const names = Object.keys(parameters);
  const [only] = names;
  if (only !== undefined && names.length === 1) {
    // Most lookups: found without a function call for each cache and field.
    for (const cache of caches) {
      const [field] = cache.fields;
      if (field !== undefined && cache.fields.length === 1 && accepts(field, only)) {
        return { cache, values: field.read(parameters[only]) };
      }
    }
  }
  const cache = withFields(caches, names);
  if (cache === undefined) return noCache(model, caches, isMember, names);
  return { cache, values: cache.fields.flatMap((field) => field.read(valueByName(cache.name, cache.fields, field, parameters))) };
}

/**
 * Which of a model's lists the parameters mean, and their key values.
 * @throws CacheNotRegisteredError, KeyFieldNotPassedError, UnknownKeyFieldError
 */
export function resolveFilter(
  model: string,
  lists: readonly ListCache[],
  isMember: (name: string) => boolean,
  parameters: unknown,
): { readonly cache: ListCache; readonly values: readonly Canonical[] } {
  if (!isNamed(parameters)) {
    const [example] = lists.map(({ fields }) => fields.map(({ name }) => name).join(', '));
    throw new AmbiguousKeyError(
      `${model}.cache.filter takes key fields by name${example === undefined ? '' : `, such as ${example === '' ? '{} for the whole table' : `{ ${example} }`}`}; received ${show(parameters)}.`,
    );
  }
  const cache = withFields(lists, Object.keys(parameters));
  if (cache === undefined) return noCache(model, lists, isMember, Object.keys(parameters), 'filters');
  return { cache, values: cache.fields.flatMap((field) => field.read(valueByName(cache.name, cache.fields, field, parameters))) };
}

/** The cache on exactly these key fields. */
const withFields = <C extends SimpleCache | ListCache>(caches: readonly C[], names: readonly string[]): C | undefined =>
  caches.find(
    ({ fields }) => fields.length === names.length && fields.every((field) => names.some((name) => accepts(field, name))),
  );

/** Key values for messages: `{ username: 'bill1992' }`. */
export function describeValues(fields: readonly KeyField[], values: readonly Canonical[]): string {
  let at = 0;
  const parts = fields.map((field) => {
    const value = field.argument(values.slice(at, at + field.columns.length));
    at += field.columns.length;
    return `${field.name}: ${Array.isArray(value) ? `[${value.map(show).join(', ')}]` : show(value)}`;
  });
  return `{ ${parts.join(', ')} }`;
}

/** What is declared, for messages: `username | tenantId + slug`. */
export function describeCaches(caches: readonly (SimpleCache | ListCache)[]): string {
  return caches.length === 0 ? 'none' : caches.map(({ fields }) => fields.map(({ name }) => name).join(' + ') || 'no key field').join(' | ');
}

function bare(model: string, caches: readonly SimpleCache[], value: unknown): ReturnType<typeof resolveLookup> {
  // Several caches on the same field (a key and a cache class) mean the same lookup.
  const single = [
    ...new Map(caches.filter(({ fields }) => fields.length === 1).map((cache) => [cache.fields[0]?.name, cache])).values(),
  ];
  const secondary = single.filter(({ primary }) => !primary);
  const cache = single.length === 1 ? single[0] : secondary.length === 1 ? secondary[0] : undefined;
  const field = cache?.fields[0];
  if (cache === undefined || field === undefined) {
    throw new AmbiguousKeyError(
      `${model}.cache: the value ${show(value)} alone does not say which key field is meant. Pass it by name; ${ 
        single.length === 0
          ? `no cache has a single key field (registered: ${describeCaches(caches)}).`
          : `candidates: ${single.map(({ fields }) => `{ ${fields[0]?.name ?? ''} }`).join(', ')}.`}`,
    );
  }
  return { cache, values: field.read(value) };
}

function noCache(
  model: string,
  caches: readonly (SimpleCache | ListCache)[],
  isMember: (name: string) => boolean,
  names: readonly string[],
  option: 'keys' | 'filters' = 'keys',
): never {
  const registered = `Registered on ${model}: ${describeCaches(caches)}.`;
  const fields = caches.flatMap((cache) => cache.fields);
  const unknown = names.find((name) => !isMember(name) && !fields.some((field) => accepts(field, name)));
  if (unknown !== undefined) {
    throw new UnknownKeyFieldError(
      `${model}.cache has no key field ${show(unknown)}${suggestion(unknown, fields.flatMap((field) => namesOf([field])))} ${registered}`,
    );
  }
  for (const { name, idName } of fields) {
    if (idName !== undefined && names.includes(name) && names.includes(idName)) {
      throw new UnknownKeyFieldError(`${model}.cache: key field '${name}' was passed twice, as '${name}' and as '${idName}'.`);
    }
  }
  const generic = fields.find(({ columns }) => columns.length > 1 && columns.some((column) => names.includes(column.name)));
  if (generic !== undefined) {
    throw new UnknownKeyFieldError(
      `${model}.cache: ${generic.columns.map((column) => `'${column.name}'`).join(' and ')} are the columns of the generic foreign key '${generic.name}'. Pass '${generic.name}', an instance or a pair of type and id. ${registered}`,
    );
  }
  const wider = caches
    .filter((cache) => names.every((name) => cache.fields.some((field) => accepts(field, name))))
    .sort((a, b) => a.fields.length - b.fields.length)[0];
  // A list of the whole table is not a list with key fields missing.
  if (wider !== undefined && (names.length > 0 || option === 'keys')) {
    const missing = wider.fields.filter((field) => !names.some((name) => accepts(field, name)));
    throw new KeyFieldNotPassedError(
      `${model}.cache: key field${missing.length === 1 ? '' : 's'} ${missing.map(({ name }) => `'${name}'`).join(', ')} not passed ` +
        `(received: ${names.length === 0 ? 'nothing' : names.join(', ')}). ${registered}`,
    );
  }
  throw new CacheNotRegisteredError(
    `${model}.cache: no ${option === 'keys' ? 'cache' : 'list'} is registered ${names.length === 0 ? 'without key fields' : `on the key field${names.length === 1 ? '' : 's'} ${names.join(' + ')}`}. ${registered} ` +
      `${caches.length === 0 ? 'Add' : 'Use one of these, or add'} ${names.length === 1 ? `'${names[0] ?? ''}'` : `[${names.map((name) => `'${name}'`).join(', ')}]`} to '${option}' of withCache(${model}).`,
  );
}

function valueByName(cache: string, fields: readonly KeyField[], field: KeyField, named: Named): unknown {
  const { name, idName } = field;
  const byId = idName !== undefined && Object.hasOwn(named, idName);
  if (Object.hasOwn(named, name)) {
    if (byId) throw new UnknownKeyFieldError(`${cache}: key field '${name}' was passed twice, as '${name}' and as '${idName}'.`);
    return named[name];
  }
  if (byId) return named[idName];
  throw new KeyFieldNotPassedError(`${cache}: key field '${name}' was not passed. Its key fields are: ${listOf(fields)}.`);
}

const accepts = ({ name, idName }: KeyField, given: string): boolean => name === given || idName === given;

const namesOf = (fields: readonly KeyField[]): string[] =>
  fields.flatMap(({ name, idName }) => (idName === undefined ? [name] : [name, idName]));

const listOf = (fields: readonly KeyField[]): string => fields.map(({ name }) => `'${name}'`).join(', ');
