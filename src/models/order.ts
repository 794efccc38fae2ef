/**
 * The order of rows where SQL leaves it open: the primary key is the last order of every list, and of
 * every lookup by a key that several rows may have.
 */
import { Op, Sequelize, type FindOptions, type Order, type OrderItem, type WhereOptions } from 'sequelize';
import type { CachedModel } from './cached-model.js';
import type { KeyColumn } from './columns.js';
import { scopeOf } from './default-scope.js';
import { aggregateOf, hasFindHooks } from './select.js';

/**
 * The `order` of a find: what the class says, then the primary key. Sequelize puts the default scope's order
 * before it only if that is an array; this function puts any other there.
 */
export function orderOf({ model, scope, primaryKey }: Pick<CachedModel, 'model' | 'scope' | 'primaryKey'>, own: Order | undefined): OrderItem[] {
  const ofScope: unknown = Reflect.get(scopeOf(model), 'order');
  const before = ofScope == null || Array.isArray(ofScope) ? [] : [ofScope as OrderItem];
  // Sequelize turns a list of plain names into its own form, in place.
  const items = own === undefined ? [] : structuredClone<unknown>(own);
  const given = (Array.isArray(items) ? items : [items]) as OrderItem[];
  if (sumsUp(scopeOf(model))) return [...before, ...given];
  const named = new Set<unknown>([...scope.order, ...given.map((item: unknown) => (Array.isArray(item) ? (item as unknown[])[0] : item))]);
  return [...before, ...given, ...primaryKey.flatMap(({ name }): OrderItem[] => (named.has(name) ? [] : [[name, 'ASC']]))];
}

/** Whether a scope may show something else than rows: the server refuses an order by a key that is not shown. */
function sumsUp(scope: { readonly group?: unknown; readonly attributes?: unknown }): boolean {
  const { group, attributes } = scope;
  const shown: unknown = Array.isArray(attributes) ? attributes : (attributes as { readonly include?: unknown } | null | undefined)?.include;
  return group !== undefined || (Array.isArray(shown) && shown.some((one) => typeof one !== 'string'));
}

/**
 * The options of the find of the first row that has key values, without those of the connection.
 *
 * `WHERE city = ? ORDER BY id LIMIT 1` invites the optimizer to walk the primary key until a row has the
 * city, which takes the whole table where those rows are its last ones. The least primary key is asked for
 * in a subquery instead, which an index on the key answers alone: see docs/decisions/0013.
 */
export async function firstOf(cached: CachedModel, columns: readonly KeyColumn[], where: WhereOptions): Promise<FindOptions> {
  const { model, primaryKey, scope, passThrough } = cached;
  const ordered: FindOptions = { where, order: orderOf(cached, undefined) };
  const rest = primaryKey.filter(({ name }) => !columns.some((column) => column.name === name));
  if (passThrough !== undefined || scope.order.size > 0 || rest.length === 0 || rest.some(({ key }) => key.kind === 'enum') || hasFindHooks(model)) return ordered;
  let first = where;
  for (const { name } of rest) {
    const least = await aggregateOf(model, { min: name }, { where: first, transaction: null } as object);
    if (least === undefined) return ordered;
    first = also(cached, first, { [name]: { [Op.eq]: Sequelize.literal(`(${least.text})`) } });
  }
  return { where: first };
}

/** Adds to a condition one that leaves the default scope's as they are. */
function also({ model }: CachedModel, where: WhereOptions, condition: WhereOptions): WhereOptions {
  const { [Op.and]: before, ...rest } = where as { readonly [Op.and]?: readonly WhereOptions[] };
  const scope: unknown = Reflect.get(scopeOf(model), 'where');
  // Sequelize would replace an `Op.and` of the scope by this one.
  const ofScope = before === undefined && typeof scope === 'object' && scope !== null ? (scope as { readonly [Op.and]?: WhereOptions })[Op.and] : undefined;
  return { ...rest, [Op.and]: [...(before ?? []), ...(ofScope === undefined ? [] : [{ [Op.and]: ofScope }]), condition] };
}
