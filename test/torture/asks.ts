/** Questions to the cache: which ones are asked, and how. */
import type { Model } from 'sequelize';
import type { ReadOptions } from '../../src/index.js';
import type { Random } from '../oracle/random.js';
import { askIdOf, specOf, tables, type KeySpec, type TableName } from './tables.js';
import { groups, type World } from './world.js';

/** So few values that rows meet under them, and take them from each other. */
export const pools = {
  name: ['ann', 'bob', 'cid', 'dee', 'eve', 'fay', 'gus', 'hal'],
  slug: ['s1', 's2', 's3', 's4', 's5'],
  tenantId: [1, 2],
  code: ['c1', 'c2', 'c3', 'c4', 'c5', 'c6', 'c7', 'c8'],
  url: ['u1', 'u2', 'u3', 'u4', 'u5', 'u6', 'u7', 'u8'],
  label: ['t1', 't2', 't3', 't4', 't5'],
  targetType: ['User', 'Doc'],
} as const;

/** Primary keys that were seen lately. Rows come and go; asking for old ones only would find nothing. */
export class Ids {
  readonly #seen = new Map<TableName, number[]>();

  see(table: TableName, id: number): void {
    const ids = this.#seen.get(table) ?? [];
    this.#seen.set(table, ids);
    if (ids.includes(id)) return;
    ids.push(id);
    if (ids.length > 12) ids.shift();
  }

  /** Mostly one that was seen; now and then one that may come next. */
  pick(random: Random, table: TableName): number {
    const ids = this.#seen.get(table) ?? [];
    if (ids.length === 0) return 1 + random.below(8);
    return random.once(12) ? Math.max(...ids) + 1 + random.below(2) : random.pick(ids);
  }
}

/** A question as a worker asks it. */
export interface Ask {
  readonly askId: string;
  readonly table: TableName;
  /** Under which a simple cache's manager is asked; undefined for a cache class of its own. */
  readonly params: Readonly<Record<string, unknown>> | undefined;
  /** The store's key. */
  readonly key: string;
  run(options?: ReadOptions): Promise<Model | null | undefined>;
}

/** The question for these values, as the application spells them. */
export function askFor(world: World, table: TableName, key: KeySpec, values: readonly (string | number)[]): Ask {
  const askId = askIdOf(table, key.name, values);
  const Custom = world.custom[`${table}:${key.name}`];
  if (Custom !== undefined) {
    return { askId, table, params: undefined, key: new Custom(...values).key, run: (options) => new Custom(...values).resolve(options) };
  }
  const params =
    key.name === 'target'
      ? { target: values }
      : Object.fromEntries(key.columns.map((column, at) => [associations[`${table}.${column}`] ?? column, values[at]]));
  const cache = world.caches[table];
  return { askId, table, params, key: cache.getKey(params), run: (options) => cache.getOrNone(params, options) };
}

/** The question by its name. */
export function askById(world: World, askId: string): Ask {
  const { table, key } = specOf(askId);
  const values = askId.slice(table.length + key.name.length + 2).split(',');
  const spelled = key.name === 'target' ? values.map((value) => value.charAt(0).toUpperCase() + value.slice(1)) : values;
  return askFor(world, table, key, spelled.map((value) => (/^\d+$/.test(value) ? Number(value) : value)));
}

const associations: Readonly<Record<string, string>> = {
  'Doc.ownerId': 'owner',
  'Avatar.userId': 'user',
  'Membership.userId': 'user',
  'Membership.groupId': 'group',
};

const weights: readonly (readonly [number, TableName])[] = [
  [10, 'User'],
  [6, 'Doc'],
  [6, 'Avatar'],
  [2, 'Membership'],
  [2, 'Vote'],
  [1, 'Tag'],
];

/** A question by chance. */
export function randomAsk(world: World, random: Random, ids: Ids): Ask {
  const table = random.weighted(weights);
  const key = random.pick(tables[table].keys);
  const type = random.pick(pools.targetType);
  const values = key.columns.map((column): string | number => {
    if (column === 'id') return ids.pick(random, table);
    if (column === 'ownerId' || column === 'userId') return ids.pick(random, 'User');
    if (column === 'groupId') return 1 + random.below(groups);
    if (column === 'targetType') return type;
    if (column === 'targetId') return ids.pick(random, type);
    const value = random.pick<string | number>(pools[column as keyof typeof pools]);
    return typeof value === 'string' && random.once(6) ? value.toUpperCase() : value;
  });
  return askFor(world, table, key, values);
}

/** Every question that rows with these contents answer, by name, and those that none may answer. */
export function* fixedAskIds(): Generator<string> {
  for (const name of pools.name) yield askIdOf('User', 'name', [name]);
  for (const tenant of pools.tenantId) for (const slug of pools.slug) yield askIdOf('User', 'slug', [tenant, slug]);
  for (const code of pools.code) yield askIdOf('Doc', 'code', [code]);
  for (const url of pools.url) yield askIdOf('Avatar', 'url', [url]);
  for (const label of pools.label) yield askIdOf('Tag', 'label', [label]);
}

