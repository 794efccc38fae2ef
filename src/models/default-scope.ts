/**
 * The default scope as the cache can answer for it: conditions on the row's own columns.
 *
 * A row entry holds "the row as the default scope shows it". That is only sound if nothing but a
 * write to the row can change what the scope shows; with anything else the model is not cached.
 */
import type { Model, ModelAttributeColumnOptions, ModelStatic } from 'sequelize';
import { show } from '../options.js';
import { isVirtual, virtualDependencies } from './columns.js';
import { NotCacheable } from './not-cacheable.js';

/** What the cache needs to know of a default scope. */
export interface DefaultScope {
  /** Attributes that decide whether a row is visible; a write to one can make it appear. */
  readonly visibility: ReadonlySet<string>;
  /** Attributes whose condition a find replaces by its own, so that it finds rows that are hidden otherwise. */
  readonly replaceable: ReadonlySet<string>;
  /** Attributes that decide which of several rows comes first. */
  readonly order: ReadonlySet<string>;
  /** The attributes of an instance that `findOne` returns, as it records them in the instance. */
  readonly attributes: readonly string[];
  /** Says all of it, for fingerprints. */
  readonly description: string;
}

const known = new Set(['where', 'attributes', 'order']);

/** Reads a model's default scope. @throws NotCacheable */
export function defaultScopeOf(model: ModelStatic<Model>): DefaultScope {
  const all = model.getAttributes() as Readonly<Record<string, ModelAttributeColumnOptions>>;
  const scope: Readonly<Record<string, unknown>> = { ...scopeOf(model) };
  for (const [part, value] of Object.entries(scope)) {
    if (!known.has(part) && value !== undefined) {
      refuse(model, `it has '${part}'`);
    }
  }
  const visibility = new Set<string>();
  collectWhere(model, scope.where, visibility, new Set(Object.keys(all)));
  const runtime: unknown = Reflect.get(model, '_timestampAttributes');
  if (model.options.paranoid === true && typeof runtime === 'object' && runtime !== null) {
    const deletedAt: unknown = Reflect.get(runtime, 'deletedAt');
    if (typeof deletedAt === 'string') visibility.add(deletedAt);
  }
  const order = orderAttributes(model, scope.order, all);
  const attributes = withDependencies(attributeNames(model, scope.attributes, all), all);
  return {
    visibility,
    replaceable: new Set(isPlain(scope.where) ? Object.keys(scope.where) : []),
    order,
    attributes,
    description: JSON.stringify([describe(scope.where), [...visibility], describe(scope.order), attributes]),
  };
}

/** The default scope that a model's finds have, as it was declared: `addScope` replaces it. */
export function scopeOf(model: ModelStatic<Model>): object {
  const scope: unknown = Reflect.get(model, '_scope');
  return typeof scope === 'object' && scope !== null ? scope : {};
}

/** Stands for a default scope that cannot be cached: lookups are plain finds, and any write may change what they find. */
export function openScope(model: ModelStatic<Model>): DefaultScope {
  const names = Object.keys(model.getAttributes());
  return { visibility: new Set(names), replaceable: new Set(), order: new Set(), attributes: names, description: 'not cached' };
}

function refuse(model: ModelStatic<Model>, reason: string): never {
  throw new NotCacheable(
    'default-scope',
    `The default scope of model ${model.name} cannot be cached: ${reason}. ` +
      `A cached row may depend on the row's own columns only: 'where' with plain values, 'attributes' by name, and 'order' by attribute. ` +
      `Move the rest into a named scope, or do not cache this model.`,
  );
}

/** Collects the attributes that a condition tests. */
function collectWhere(model: ModelStatic<Model>, where: unknown, found: Set<string>, names: ReadonlySet<string>): void {
  if (where === undefined || where === null) return;
  if (Array.isArray(where)) {
    for (const part of where) collectWhere(model, part, found, names);
    return;
  }
  if (!isPlain(where)) refuse(model, `its 'where' holds ${show(where)}, whose answer may change without a write`);
  for (const key of Reflect.ownKeys(where)) {
    const condition: unknown = Reflect.get(where, key);
    if (typeof key === 'symbol') {
      collectWhere(model, condition, found, names);
    } else if (names.has(key)) {
      found.add(key);
      checkValue(model, condition);
    } else {
      refuse(model, `its 'where' tests '${key}', which is not an attribute of the model`);
    }
  }
}

function checkValue(model: ModelStatic<Model>, value: unknown): void {
  if (typeof value !== 'object' || value === null || value instanceof Date || Buffer.isBuffer(value)) return;
  if (Array.isArray(value)) {
    for (const item of value) checkValue(model, item);
    return;
  }
  if (!isPlain(value)) refuse(model, `its 'where' holds ${show(value)}, whose answer may change without a write`);
  for (const key of Reflect.ownKeys(value)) checkValue(model, Reflect.get(value, key));
}

function orderAttributes(
  model: ModelStatic<Model>,
  order: unknown,
  all: Readonly<Record<string, ModelAttributeColumnOptions>>,
): ReadonlySet<string> {
  const found = new Set<string>();
  if (order === undefined || order === null) return found;
  const items: readonly unknown[] = Array.isArray(order) ? order : [order];
  for (const item of items) {
    const name: unknown = Array.isArray(item) ? item[0] : item;
    const rest: readonly unknown[] = Array.isArray(item) ? item.slice(1) : [];
    if (typeof name !== 'string' || !rest.every((part) => typeof part === 'string')) {
      refuse(model, `its 'order' holds ${show(name)}`);
    }
    if (name in all) found.add(name);
    else if (!/^(asc|desc)$/i.test(name)) refuse(model, `its 'order' names '${name}', which is not an attribute of the model`);
  }
  return found;
}

function attributeNames(
  model: ModelStatic<Model>,
  attributes: unknown,
  all: Readonly<Record<string, ModelAttributeColumnOptions>>,
): readonly string[] {
  const names = Object.keys(all);
  const strings = (list: unknown, part: string): readonly string[] => {
    if (list === undefined) return [];
    if (!Array.isArray(list) || !list.every((name) => typeof name === 'string')) {
      refuse(model, `its '${part}' holds more than attribute names`);
    }
    return list;
  };
  let chosen: readonly string[];
  if (attributes === undefined || attributes === null) {
    chosen = names;
  } else if (Array.isArray(attributes)) {
    chosen = strings(attributes, 'attributes');
  } else if (typeof attributes === 'object') {
    const { include, exclude } = attributes as { include?: unknown; exclude?: unknown };
    const excluded = new Set(strings(exclude, 'attributes.exclude'));
    chosen = [...names.filter((name) => !excluded.has(name)), ...strings(include, 'attributes.include')];
  } else {
    refuse(model, `its 'attributes' is ${show(attributes)}`);
  }
  const unknown = chosen.find((name) => !(name in all));
  if (unknown !== undefined) refuse(model, `its 'attributes' names '${unknown}', which is not an attribute of the model`);
  return chosen;
}

/** Adds what virtual attributes are computed from, as `findAll` does. */
function withDependencies(
  chosen: readonly string[],
  all: Readonly<Record<string, ModelAttributeColumnOptions>>,
): readonly string[] {
  if (!Object.values(all).some(isVirtual)) return chosen;
  let names = [...chosen];
  for (const name of chosen) {
    const attribute = all[name];
    if (attribute !== undefined && isVirtual(attribute)) names = names.concat(virtualDependencies(attribute));
  }
  return [...new Set(names)];
}

function isPlain(value: unknown): value is object {
  if (typeof value !== 'object' || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

/** A structure with its symbols (operators) spelled out, so that it can be fingerprinted. */
function describe(value: unknown): unknown {
  if (typeof value === 'bigint' || value instanceof Date) return String(Number(value));
  if (Buffer.isBuffer(value)) return value.toString('hex');
  if (Array.isArray(value)) return value.map(describe);
  if (typeof value !== 'object' || value === null) return value;
  return Reflect.ownKeys(value).map((key) => [String(key), describe(Reflect.get(value, key))]);
}
