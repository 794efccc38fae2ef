/**
 * Rules of Sequelize's `include` that instances put together from other caches have to follow: which rows
 * an included one is required for, in which order rows come, and where none of this can be told from
 * lookups by key.
 */
import type { FindOptions, Model, ModelStatic, OrderItem } from 'sequelize';
import type { CachedModel } from '../models/cached-model.js';
import { columnsOf, keyColumnsOf, type KeyColumn } from '../models/columns.js';
import { ownValues } from '../models/hydrate.js';
import type { Inclusion } from './relations.js';

/** What Sequelize makes of an included association when it builds a query. */
export interface ResolvedInclude {
  readonly as?: string;
  /** A row without an included one is left out. */
  readonly required?: boolean;
  readonly include?: readonly ResolvedInclude[];
}

/** An inclusion with the rules that Sequelize found for it. */
export interface Ruled extends Pick<Inclusion, 'step'> {
  readonly required: boolean;
  readonly include: readonly Ruled[];
}

/** Joins inclusions with what Sequelize resolved them to. */
export const ruled = (inclusions: readonly Inclusion[], resolved: readonly ResolvedInclude[]): readonly Ruled[] =>
  inclusions.map(({ step, include }) => {
    const found = resolved.find(({ as }) => as === step.as);
    return { step, required: found?.required === true, include: ruled(include, found?.include ?? []) };
  });

/** Why lookups by key cannot answer as `findOne({ include })` does; `undefined` if they can. */
export function whyNotIncluded(inclusions: readonly Ruled[], root: { readonly model: CachedModel; readonly columns: readonly KeyColumn[] }): string | undefined {
  if (requires(inclusions) && isLimited(root.model.model, root.columns)) {
    return 'it includes a model whose default scope has a condition, which decides which row with the key values is found';
  }
  if (!showsPrimaryKey(root.model.model)) return `the default scope of ${root.model.name} leaves out its primary key`;
  return whyNotFollowed(root.model.model, inclusions);
}

/** Whether a row is left out for the lack of an included one, at any depth. */
export const requires = (inclusions: readonly Ruled[]): boolean => inclusions.some(({ required, include }) => required || requires(include));

/**
 * Whether `findOne` by these columns has a limit: unless one of them is unique by itself, as far as
 * Sequelize looks. With a limit, included rows that are required at any depth decide which row is found.
 */
export function isLimited(model: ModelStatic<Model>, columns: readonly KeyColumn[]): boolean {
  const { primaryKeyAttribute, uniqueKeys } = model as unknown as {
    readonly primaryKeyAttribute: string;
    readonly uniqueKeys: Readonly<Record<string, { readonly fields: readonly string[]; readonly column: string | false }>>;
  };
  const single = new Set<unknown>([primaryKeyAttribute, ...Object.values(uniqueKeys).flatMap(({ fields, column }) => (fields.length === 1 ? [column] : []))]);
  // A Date is no primitive value to Sequelize.
  return !columns.some(({ name, key }) => single.has(name) && key.kind !== 'date');
}

function whyNotFollowed(from: ModelStatic<Model>, inclusions: readonly Ruled[]): string | undefined {
  for (const { step, include } of inclusions) {
    const { as, target } = step;
    // Sequelize tells included rows apart by it.
    if (!showsPrimaryKey(target)) return `the default scope of ${target.name} leaves out its primary key`;
    const association = from.associations[as] as unknown as { readonly associationType: string; readonly through?: { readonly unique?: boolean } };
    if (association.through?.unique === false) return `'${as}' may lead to a row twice, as its through model is not unique`;
    if (association.associationType === 'HasOne' && include.some(({ required }) => required)) {
      return `what '${as}' includes decides which of several rows it leads to`;
    }
    const nested = whyNotFollowed(target, include);
    if (nested !== undefined) return nested;
  }
  return undefined;
}

function showsPrimaryKey(model: ModelStatic<Model>): boolean {
  const chosen: unknown = model.options.defaultScope?.attributes;
  if (chosen === undefined) return true;
  if (Array.isArray(chosen)) return model.primaryKeyAttributes.every((name) => chosen.includes(name));
  const { exclude } = chosen as { readonly exclude?: readonly unknown[] };
  return exclude === undefined || !model.primaryKeyAttributes.some((name) => exclude.includes(name));
}

// ---- Order -------------------------------------------------------------------------------------

/** Puts included rows in the order of their primary key, in place: numbers by value, texts by their code units. */
export function sortByPrimaryKey<R>(model: ModelStatic<Model>, rows: R[], valuesOf: (row: R) => Readonly<Record<string, unknown>>): R[] {
  if (rows.length < 2) return rows;
  const columns = keyColumnsOf(model, columnsOf(model));
  return rows.sort((a, b) => {
    const [left, right] = [valuesOf(a), valuesOf(b)];
    for (const column of columns) {
      const difference = compare(column, left[column.name], right[column.name]);
      if (difference !== 0) return difference;
    }
    return 0;
  });
}

function compare({ key }: KeyColumn, a: unknown, b: unknown): number {
  if (typeof a === 'number' && typeof b === 'number') return a - b;
  const [left, right] = [key.canonical(a), key.canonical(b)];
  if (left == null || right == null || left === right) return 0;
  switch (key.kind) {
    case 'integer':
      return BigInt(left) < BigInt(right) ? -1 : 1;
    case 'decimal':
    case 'float':
    case 'date':
      return Number(left) - Number(right);
    default:
      return left < right ? -1 : 1;
  }
}

/** Sorts the rows that Sequelize included in an instance. */
export function sortIncluded(instance: Model, inclusions: readonly Pick<Inclusion, 'step' | 'include'>[]): void {
  for (const { step, include } of inclusions) {
    const found = ownValues(instance)[step.as];
    const rows = (Array.isArray(found) ? found : found == null ? [] : [found]) as Model[];
    if (step.many) sortByPrimaryKey(step.target, rows, ownValues);
    for (const row of rows) sortIncluded(row, include);
  }
}

/**
 * The order of a find by which a `hasOne` that several rows answer has the one with the least primary key.
 * Of a row's several joined ones Sequelize keeps the last where it puts together lists, and else the first.
 */
export function orderOfSingles(model: ModelStatic<Model>, inclusions: readonly Inclusion[]): OrderItem[] {
  const direction = hasMany(inclusions) ? 'DESC' : 'ASC';
  const items: OrderItem[] = [];
  const collect = (from: ModelStatic<Model>, of: readonly Inclusion[], path: readonly unknown[]): void => {
    for (const { step, include } of of) {
      const at = [...path, from.associations[step.as]];
      if (from.associations[step.as]?.associationType === 'HasOne') {
        for (const name of step.target.primaryKeyAttributes) items.push([...at, name, direction] as unknown as OrderItem);
      }
      collect(step.target, include, at);
    }
  };
  collect(model, inclusions, []);
  return items;
}

const hasMany = (inclusions: readonly Inclusion[]): boolean => inclusions.some(({ step, include }) => step.many || hasMany(include));

/** Adds to the options of a find an order that comes after its own. */
export const orderedBy = (options: FindOptions, more: readonly OrderItem[]): FindOptions =>
  more.length === 0 ? options : { ...options, order: [...((options.order ?? []) as OrderItem[]), ...more] };
