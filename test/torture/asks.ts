/** Questions to the cache: which ones are asked, and how. */
import { EmptyResultError, type Model } from 'sequelize';
import type { ReadOptions } from '../../src/index.js';
import type { Random } from '../oracle/random.js';
import { inOrder, isSet, questionOf, questions, rowTableOf, sumText, textOfRows, type Question } from './questions.js';
import { askIdOf, contentOf, specOf, tables, type KeySpec, type TableName } from './tables.js';
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
  run(options?: ReadOptions): Promise<unknown>;
  /** The answer as it is logged; null for "no such row". */
  contentOf(answer: unknown): string | null;
  /** The instances in the answer, and of which table they are. */
  rowsIn(answer: unknown): { readonly table: TableName; readonly rows: readonly Model[] };
}

const contentOfRow = (table: TableName, row: Model): string => contentOf(table, (column) => row.getDataValue(column as never));

/** The question for these values, as the application spells them. */
export function askFor(world: World, table: TableName, key: KeySpec, values: readonly (string | number)[]): Ask {
  const askId = askIdOf(table, key.name, values);
  const Custom = world.custom[`${table}:${key.name}`];
  const reading: Pick<Ask, 'contentOf' | 'rowsIn'> = {
    contentOf: (answer) => (answer == null ? null : contentOfRow(table, answer as Model)),
    rowsIn: (answer) => ({ table, rows: answer == null ? [] : [answer as Model] }),
  };
  if (Custom !== undefined) {
    return { askId, table, params: undefined, key: new Custom(...values).key, run: (options) => new Custom(...values).resolve(options), ...reading };
  }
  const params =
    key.name === 'target'
      ? { target: values }
      : Object.fromEntries(key.columns.map((column, at) => [associations[`${table}.${column}`] ?? column, values[at]]));
  const cache = world.caches[table];
  return { askId, table, params, key: cache.getKey(params), run: (options) => cache.getOrNone(params, options), ...reading };
}

/** The question about several rows, or rows of several tables. */
export function questionFor(world: World, question: Question, values: readonly (string | number)[]): Ask {
  const { table, name, columns } = question;
  const askId = askIdOf(table, name, values);
  const reading: Pick<Ask, 'contentOf' | 'rowsIn'> = {
    contentOf: (answer) => contentOfAnswer(question, answer),
    rowsIn: (answer) => ({
      table: rowTableOf(question),
      rows: (isSet(question) && question.kind === 'list') || question.kind === 'related many' ? (answer as readonly Model[]) : [],
    }),
  };
  const Class = world.custom[`${table}:${name}`];
  if (Class !== undefined) {
    const given = columns.includes('targetId') ? [values] : values;
    return { askId, table, params: undefined, key: new Class(...given).key, run: (options) => orNone(new Class(...given).resolve(options)), ...reading };
  }
  const params = columns.includes('targetId')
    ? { target: values }
    : Object.fromEntries(columns.map((column, at) => [associations[`${table}.${column}`] ?? column, values[at]]));
  const query = world.caches[table].filterQuery(params);
  return { askId, table, params: undefined, key: query.key, run: (options) => query.resolve(options), ...reading };
}

/** Where there is no such row, a cache of instances says so by an error. */
async function orNone(answer: Promise<unknown>): Promise<unknown> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof EmptyResultError) return null;
    throw error;
  }
}

function contentOfAnswer(question: Question, answer: unknown): string | null {
  if (isSet(question)) {
    if (question.kind === 'sum') {
      const { sum, ids } = answer as { readonly sum: number; readonly ids: readonly number[] };
      return sumText(sum, ids);
    }
    if (question.kind !== 'list') return String(answer);
    const contents = (answer as readonly Model[]).map((row) => contentOfRow(question.table, row));
    return textOfRows(question.order === undefined ? inOrder(contents) : contents);
  }
  const { kind, table, target } = question;
  if (answer === null) return null;
  switch (kind) {
    case 'related one':
      return contentOfRow(target, answer as Model);
    case 'related many':
      return textOfRows(inOrder((answer as readonly Model[]).map((row) => contentOfRow(target, row))));
    case 'related through':
      return textOfRows(inOrder((answer as readonly Model[]).map((row) => String(row.get('id')))));
    case 'with one': {
      const owner = (answer as Model).get('owner') as Model | null;
      return textOfRows([contentOfRow(table, answer as Model), ...(owner === null ? [] : [contentOfRow(target, owner)])]);
    }
    case 'with many': {
      const docs = (answer as Model).get('docs') as readonly Model[];
      return textOfRows([contentOfRow(table, answer as Model), ...inOrder(docs.map((row) => contentOfRow(target, row)))]);
    }
  }
}

/** The question by its name. */
export function askById(world: World, askId: string): Ask {
  const asked = questionOf(askId);
  if (asked !== undefined) return questionFor(world, asked.question, spelled(asked.question.columns, asked.values));
  const { table, key } = specOf(askId);
  return askFor(world, table, key, spelled(key.columns, askId.slice(table.length + key.name.length + 2)));
}

function spelled(columns: readonly string[], values: string): (string | number)[] {
  if (columns.length === 0) return [];
  return values.split(',').map((value, at) => {
    if (columns[at] === 'targetType') return value.charAt(0).toUpperCase() + value.slice(1);
    return /^\d+$/.test(value) ? Number(value) : value;
  });
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
  if (random.once(4)) {
    const question = random.pick(questions);
    return questionFor(world, question, randomValues(question.table, question.columns, random, ids));
  }
  const table = random.weighted(weights);
  const key = random.pick(tables[table].keys);
  return askFor(world, table, key, randomValues(table, key.columns, random, ids));
}

function randomValues(table: TableName, columns: readonly string[], random: Random, ids: Ids): (string | number)[] {
  const type = random.pick(pools.targetType);
  return columns.map((column): string | number => {
    if (column === 'id') return ids.pick(random, table);
    if (column === 'ownerId' || column === 'userId') return ids.pick(random, 'User');
    if (column === 'groupId') return 1 + random.below(groups);
    if (column === 'targetType') return type;
    if (column === 'targetId') return ids.pick(random, type);
    const value = random.pick<string | number>(pools[column as keyof typeof pools]);
    return typeof value === 'string' && random.once(6) ? value.toUpperCase() : value;
  });
}

/** Every question that rows with these contents answer, by name, and those that none may answer. */
export function* fixedAskIds(): Generator<string> {
  for (const name of pools.name) yield askIdOf('User', 'name', [name]);
  for (const tenant of pools.tenantId) for (const slug of pools.slug) yield askIdOf('User', 'slug', [tenant, slug]);
  for (const code of pools.code) yield askIdOf('Doc', 'code', [code]);
  for (const url of pools.url) yield askIdOf('Avatar', 'url', [url]);
  for (const label of pools.label) yield askIdOf('Tag', 'label', [label]);
  for (const { table, name, columns } of questions) {
    if (columns.length === 0) yield askIdOf(table, name, []);
    else if (columns.join() === 'tenantId') for (const tenant of pools.tenantId) yield askIdOf(table, name, [tenant]);
    else if (columns.join() === 'name') for (const one of pools.name) yield askIdOf(table, name, [one]);
    else if (columns.join() === 'code') for (const code of pools.code) yield askIdOf(table, name, [code]);
    else if (columns.join() === 'groupId') for (let group = 1; group <= groups; group += 1) yield askIdOf(table, name, [group]);
  }
}

