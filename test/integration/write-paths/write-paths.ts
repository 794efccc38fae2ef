/**
 * Runs one way to write after another and holds each to the same: no lookup by any key that the
 * test ever had answers otherwise than the database, in the writer's process and in another one;
 * what the write did not touch is still cached; no marker stays.
 *
 * Every path runs twice on the same rows: first without a cache, which tells the key values and the
 * number of statements to come, then with one, every key primed.
 */
import assert from 'node:assert/strict';
import { appendFileSync } from 'node:fs';
import { randomUUID } from 'node:crypto';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { after, before, describe, it } from 'node:test';
import { isDeepStrictEqual } from 'node:util';
import { createConnection, type Connection } from 'mysql2/promise';
import { DataTypes, Model, type ModelStatic, type Sequelize } from 'sequelize';
import { classify } from '../../../src/entries/envelope.js';
import { setupCache, type FlashCache, type FlashEvents, type SetupOptions, type Store, type StoreReply } from '../../../src/index.js';
import { memcachedStore, mysqlUrl, openBackend, type Backend } from '../../support/backends.js';
import { ObservedStore } from '../../support/observed-store.js';
import type { Via } from './shop-caches.js';
import { baseRows, defineShop, shopNames, type Lookup, type Shop, type ShopName, type Value } from './shop.js';

/** A write as a test tells it. */
export interface WritePath {
  /** Models whose whole table is void afterwards; all others stay exact. */
  readonly wide?: readonly ShopName[];
  /** Statements more than without the cache. @default 0 */
  readonly extra?: number;
  /** The write itself rejects. */
  readonly rejects?: RegExp;
  /** Tables to look at although no row of theirs changes. */
  readonly of?: readonly ShopName[];
  /** Tables of which the write matches every row, though it may change few. */
  readonly touches?: readonly ShopName[];
  /** Tables are dropped or made anew. */
  readonly rebuild?: true;
  /** What the write does depends on when it runs, so the two runs may differ. */
  readonly racy?: true;
}

/** What a write has at hand. */
export interface Stage extends Shop {
  /** Whether this is the run with the cache. */
  readonly cachedRun: boolean;
  /** The writer's store; only with the cache. */
  readonly store: ObservedStore;
  /** Another process, without a cache: what it writes the cache is not told. */
  readonly outside: Shop;
  /** Another process with a cache. Without a cache: the same as `outside`. */
  readonly other: Shop;
  /** Call it when all is arranged: from now on every key is cached, and the clock runs. */
  primed(): Promise<void>;
  /** In the middle of a write: nobody outside of its transaction sees anything but what is committed. */
  check(moment: string): Promise<void>;
  /** Does something that is not counted. */
  aside<T>(work: () => Promise<T>): Promise<T>;
}

type Row = Readonly<Record<string, Value>>;
type Snapshot = ReadonlyMap<ShopName, readonly Row[]>;

/** The writer, another process, and the database itself. */
interface Processes {
  readonly backend: Backend;
  readonly a: Shop;
  readonly b: Shop;
  readonly bare: Shop;
  readonly caches: readonly FlashCache[];
  readonly recorder: RecordingStore;
  /** Statements by process since it began. */
  readonly sql: { a: string[]; b: string[]; bare: string[] };
  readonly connection: Connection;
  /** What fills each table. */
  readonly seed: Readonly<Record<string, string>>;
  pristine: Snapshot | undefined;
  /** Tables may be missing. */
  rebuild: boolean;
}

/** Collects the keys that anything was put under. The order of operations is as without it. */
class RecordingStore implements Store {
  readonly put = new Set<string>();
  readonly #store = memcachedStore();

  get name(): string {
    return this.#store.name;
  }

  get maxValueBytes(): number {
    return this.#store.maxValueBytes;
  }

  get(keys: readonly string[]): Promise<StoreReply> {
    return this.#store.get(keys);
  }

  add(...operation: Parameters<Store['add']>): Promise<boolean> {
    this.put.add(operation[0]);
    return this.#store.add(...operation);
  }

  compareAndSwap(...operation: Parameters<Store['compareAndSwap']>): Promise<boolean> {
    this.put.add(operation[0]);
    return this.#store.compareAndSwap(...operation);
  }

  compareAndDelete(...operation: Parameters<Store['compareAndDelete']>): Promise<boolean> {
    return this.#store.compareAndDelete(...operation);
  }

  delete(key: string): Promise<boolean> {
    return this.#store.delete(key);
  }

  inOrder(first: string, second: string): boolean {
    return this.#store.inOrder(first, second);
  }

  close(): Promise<void> {
    return this.#store.close();
  }
}

/** How the paths of one `describe` are run. */
export interface PathsOptions {
  readonly setup?: SetupOptions;
  /** Before the first path, on each process's Sequelize instance, before `setupCache`. */
  readonly prepare?: (sequelize: Sequelize) => void;
  /** A server of the test's own: resolves to its URL. */
  readonly server?: () => Promise<string>;
  /** Leaves the transaction that a CLS has, for what is not counted. */
  readonly outOfContext?: <T>(work: () => Promise<T>) => Promise<T>;
}

export type PathFunction = (name: string, expected: WritePath, write: (stage: Stage) => Promise<unknown>) => void;

/** Defines a `describe` of write paths. */
export function describePaths(title: string, define: (path: PathFunction) => void, options: PathsOptions = {}): void {
  describe(title, () => {
    let processes: Processes;
    before(async () => {
      // `openBackend` and `mysqlUrl` look there; each test file is a process of its own.
      if (options.server !== undefined) process.env.SEQUELIZE_FLASH_MYSQL_URL = await options.server();
      processes = await open(options);
    });
    after(() => close(processes));
    define(
      (name, expected, write) => {
        it(name, async () => {
          const report = await runPath(processes, options, expected, write);
          tabulate(title, name, report, expected);
        });
      },
    );
  });
}

async function open(options: PathsOptions): Promise<Processes> {
  const recorder = new RecordingStore();
  const backend = await openBackend('mariadb', { store: recorder, options: { pool: { max: 12 } } });
  try {
    return await furnish(backend, recorder, options);
  } catch (error) {
    await backend.close();
    throw error;
  }
}

async function furnish(backend: Backend, recorder: RecordingStore, { setup = {}, prepare }: PathsOptions): Promise<Processes> {
  const sql = { a: [] as string[], b: [] as string[], bare: [] as string[] };
  const [a, b, bare] = [backend.sequelize, backend.another(), backend.another()].map((sequelize, at) => {
    const log = [sql.a, sql.b, sql.bare][at]!;
    (sequelize as unknown as { options: { logging?: unknown } }).options.logging = (statement: string) => log.push(statement.replace(/^Executing \(.*?\): /, ''));
    prepare?.(sequelize);
    return defineShop(sequelize);
  });
  if (a === undefined || b === undefined || bare === undefined) throw new Error('three processes');
  await bare.sequelize.sync();
  const seed: Record<string, string> = {};
  for (const name of shopNames) {
    await bare.models[name].bulkCreate(baseRows[name]);
    seed[name] = sql.bare.at(-1)!.replace(/;?$/, ';');
  }
  const prefix = `t${randomUUID().slice(0, 8)}`;
  const caches = [
    backend.setup({ prefix, ...setup }),
    setupCache(b.sequelize, { prefix, store: new ObservedStore(memcachedStore()), ...setup }),
  ];
  const connection = await createConnection({
    uri: mysqlUrl(),
    database: a.sequelize.getDatabaseName(),
    multipleStatements: true,
  });
  return { backend, a, b, bare, caches, recorder, sql, connection, seed, pristine: undefined, rebuild: true };
}

async function close({ backend, caches, connection }: Processes): Promise<void> {
  await connection.end();
  await caches[1]?.close(0);
  await backend.close();
}

// ---- One path ----------------------------------------------------------------------------------

interface Report {
  readonly wide: readonly ShopName[];
  readonly changed: readonly ShopName[];
  readonly extra: number;
}

async function runPath(
  processes: Processes,
  { outOfContext = (work) => work() }: PathsOptions,
  expected: WritePath,
  write: (stage: Stage) => Promise<unknown>,
): Promise<Report> {
  const { a, b, bare, sql, backend } = processes;
  const attempt = async (stage: Stage): Promise<void> => {
    if (expected.rejects === undefined) await write(stage);
    else await assert.rejects(write(stage), expected.rejects);
  };

  // Without a cache: what will there be?
  await reset(processes, expected);
  let begun = 0;
  let notCounted = 0;
  const snapshots: Snapshot[] = [];
  await attempt({
    ...bare,
    cachedRun: false,
    store: backend.store,
    outside: bare,
    other: bare,
    primed: async () => {
      snapshots.push(await outOfContext(() => snapshot(processes)));
      begun = sql.bare.length;
    },
    check: async () => {
      snapshots.push(await outOfContext(() => snapshot(processes)));
    },
    aside: async (work) => {
      const from = sql.bare.length;
      const result = await outOfContext(work);
      notCounted += sql.bare.length - from;
      return result;
    },
  });
  const plainCost = sql.bare.length - begun - notCounted;
  const plainOutcome = await snapshot(processes, expected.rebuild);
  const first = snapshots[0];
  assert.ok(first, 'a path says when it is primed');
  snapshots.push(plainOutcome);

  // With a cache.
  await reset(processes, expected);
  const changed = shopNames.filter((name) => snapshots.some((one) => !isDeepStrictEqual(keyed(one.get(name)), keyed(first.get(name)))));
  const looked = new Set<ShopName>([...changed, ...(expected.of ?? [])]);
  const questions = questionsOf(a, looked, snapshots);
  // What came before changed rows of these, and nobody told the cache that they were set back.
  const asked = new Set([...looked, ...questions.flatMap(({ lookup }) => lookup.models)]);
  await Promise.all([...asked].map((name) => (a.models[name] as unknown as { cache: { clear(): Promise<void> } }).cache.clear()));
  const bystanders = bystandersOf(a, looked, expected, snapshots);
  const voided = new Set<string>();
  const channel = 'sequelize-flash:invalidate';
  const listener = (message: unknown): void => {
    for (const { table } of (message as FlashEvents['invalidate']).wide) voided.add(table);
  };
  const toldOf = (): readonly ShopName[] => shopNames.filter((name) => voided.has(a.models[name].tableName));
  let generations = new Map<ShopName, string>();
  let wide: readonly ShopName[];
  let told: readonly ShopName[];
  notCounted = 0;
  const check = (moment: string): Promise<void> => outOfContext(() => compare(processes, questions, moment));
  const uncounted = async <T>(work: () => Promise<T>): Promise<T> => {
    const from = sql.a.length;
    const result = await outOfContext(work);
    notCounted += sql.a.slice(from).filter(isOfWrite).length;
    return result;
  };
  let invalidations = 0;
  try {
    await attempt({
      ...a,
      cachedRun: true,
      store: backend.store,
      outside: bare,
      other: b,
      primed: () =>
        outOfContext(async () => {
          await prime(processes, [...questions, ...bystanders]);
          generations = await generationsOf(processes);
          processes.recorder.put.clear();
          invalidations = invalidationsOf(processes.caches);
          subscribe(channel, listener);
          begun = sql.a.length;
        }),
      check: (moment) => uncounted(() => check(moment)),
      aside: uncounted,
    });
    await assertNoMarker(processes);
    wide = changedBetween(generations, await generationsOf(processes));
    // Writes that Sequelize leaves running when it rejects have removed their markers, and tell of it next.
    const until = performance.now() + 3000;
    while (toldOf().length < wide.length && performance.now() < until) await new Promise(setImmediate);
    told = toldOf();
  } finally {
    unsubscribe(channel, listener);
  }
  const statements = sql.a.slice(begun).filter(isOfWrite);
  const extra = statements.length - notCounted - plainCost;

  // Exact: what the write did not touch is still there.
  const untouched = bystanders.filter(
    ({ lookup: { models } }) => !models.some((model) => wide.includes(model) || expected.touches?.includes(model) === true),
  );
  for (const name of ['b', 'a'] as const) {
    const from = sql[name].length;
    await ask(processes[name], untouched);
    assert.deepEqual(sql[name].slice(from), [], `process ${name}: rows that were not written are still cached`);
  }
  await compare(processes, [...questions, ...bystanders.filter(({ lookup }) => dependsOn(lookup, looked))], 'after the write');
  const outcome = await snapshot(processes, expected.rebuild);
  if (expected.racy !== true) assert.deepEqual(timeless(outcome), timeless(plainOutcome), 'the write does what it does without a cache');

  assert.deepEqual(wide, shopNames.filter((name) => expected.wide?.includes(name)), 'tables that are void as a whole');
  assert.deepEqual(told, wide, "tables that the event 'invalidate' tells of as void as a whole");
  if (expected.racy !== true) assert.equal(extra, expected.extra ?? 0, `extra statements; all of them:\n${statements.join('\n')}`);
  if (changed.some((name) => !isDeepStrictEqual(keyed(outcome.get(name)), keyed(first.get(name))))) {
    assert.ok(invalidationsOf(processes.caches) > invalidations, 'the write is counted in the stats');
  }
  return { wide, changed, extra };
}

/** A connection is asked for its settings once, by whichever path comes first. */
const isOfWrite = (statement: string): boolean => !statement.startsWith('SHOW VARIABLES');

// ---- Lookups -----------------------------------------------------------------------------------

interface Question {
  readonly lookup: Lookup;
  readonly values: readonly Value[];
}

const keyOfQuestion = ({ lookup, values }: Question): string => `${lookup.name} ${JSON.stringify(values)}`;

/** Whether a change in one of these tables can change the lookup's answer. */
const dependsOn = ({ models }: Lookup, changed: ReadonlySet<ShopName>): boolean => models.some((model) => changed.has(model));

/** Every key that any snapshot has, and some that none has, of all lookups that depend on one of the models. */
function questionsOf({ lookups }: Shop, looked: ReadonlySet<ShopName>, snapshots: readonly Snapshot[]): Question[] {
  const questions = new Map<string, Question>();
  for (const lookup of lookups) {
    if (!dependsOn(lookup, looked)) continue;
    const rows = snapshots.flatMap((one) => one.get(lookup.model) ?? []);
    const lists = lookup.attributes.length === 0 ? [[]] : rows.map((row) => valuesOf(lookup, row));
    // Mixtures of two rows' values, and the next number.
    const mixed = lookup.attributes.length < 2 ? [] : lists.slice(1).map((list, at) => [list[0] ?? null, ...(lists[at]?.slice(1) ?? [])]);
    const [only, ...more] = lookup.attributes;
    const numbers = more.length > 0 || only === undefined ? [] : lists.map(([value]) => value).filter((value) => typeof value === 'number');
    const next = numbers.length === 0 ? [] : [[Math.max(...numbers) + 1]];
    for (const values of [...lists, ...mixed, ...next]) {
      // Half a generic reference is none.
      if (lookup.attributes.includes('targetType') && values.includes(null) && !values.every((value) => value === null)) continue;
      const question = { lookup, values };
      questions.set(keyOfQuestion(question), question);
    }
  }
  return [...questions.values()];
}

const valuesOf = ({ attributes }: Lookup, row: Row): readonly Value[] => attributes.map((attribute) => row[attribute] ?? null);

/**
 * Every lookup by the key values of its table's last row, if all rows that it reads on its way are
 * the same in all snapshots.
 */
function bystandersOf({ lookups }: Shop, looked: ReadonlySet<ShopName>, expected: WritePath, snapshots: readonly Snapshot[]): Question[] {
  const questions: Question[] = [];
  for (const lookup of lookups) {
    const { model, kind, attributes } = lookup;
    // Of tables that the write has nothing to do with one lookup of each kind is enough.
    if (!dependsOn(lookup, looked) && questions.some(({ lookup: other }) => other.model === model && other.kind === kind)) continue;
    // A write that leaves a table as it was may have voided what is cached of the whole of it.
    if (attributes.length === 0 && looked.has(model)) continue;
    const row = snapshots[0]?.get(model)?.find((one) => isBystander(model, one));
    if (row === undefined) continue;
    const values = valuesOf(lookup, row);
    const [first, ...others] = snapshots.map((one) => readBy(lookup, values, one));
    if (first?.length !== 0 && others.every((other) => isDeepStrictEqual(other, first))) questions.push({ lookup, values });
  }
  assert.ok(questions.length > 0 || expected.rebuild === true, 'no bystander is left');
  return questions;
}

/** The rows that a lookup reads, whether or not a scope hides them from it. */
function readBy(lookup: Lookup, values: readonly Value[], tables: Snapshot): readonly string[] {
  const found = new Set<string>();
  const visit = (model: ShopName, rows: readonly Row[], via: readonly Via[]): void => {
    for (const row of rows) {
      found.add(`${model} ${JSON.stringify(row)}`);
      for (const { model: next, from, to, then = [] } of via) {
        visit(next, (tables.get(next) ?? []).filter((one) => row[from] != null && one[to] === row[from]), then);
      }
    }
  };
  visit(lookup.model, (tables.get(lookup.model) ?? []).filter((row) => isDeepStrictEqual(valuesOf(lookup, row), values)), lookup.via);
  return [...found].sort();
}

/** The last of the rows that a test begins with. */
function isBystander(model: ShopName, row: Row): boolean {
  const base = baseRows[model].at(-1) ?? {};
  return Object.entries(base).every(([name, value]) => row[name] === value);
}

const ask = (shop: Shop, questions: readonly Question[]): Promise<unknown[]> =>
  Promise.all(questions.map(({ lookup, values }) => lookupOf(shop, lookup).cached(values, { transaction: null })));

const lookupOf = ({ lookups }: Shop, { name }: Lookup): Lookup => lookups.find((one) => one.name === name)!;

/** Reads until nothing is missing any more, in both processes. */
async function prime(processes: Processes, questions: readonly Question[]): Promise<void> {
  for (const name of ['a', 'b'] as const) {
    let missing: string[] = [];
    for (let pass = 0; pass < 5; pass += 1) {
      const from = processes.sql[name].length;
      await ask(processes[name], questions);
      missing = processes.sql[name].slice(from);
      if (missing.length === 0) break;
    }
    assert.deepEqual(missing, [], `process ${name}: primed`);
  }
}

async function compare(processes: Processes, questions: readonly Question[], moment: string): Promise<void> {
  const expected = await Promise.all(questions.map(({ lookup, values }) => settled(lookup, lookupOf(processes.bare, lookup).actual(values))));
  // Twice: what the first one put into the cache has to be right as well.
  for (const process of ['b', 'a', 'b', 'a'] as const) {
    const found = await Promise.all(
      questions.map(({ lookup, values }) => settled(lookup, lookupOf(processes[process], lookup).cached(values, { transaction: null }))),
    );
    found.forEach((answer, at) =>
      assert.deepEqual(answer, expected[at], `${moment}, process ${process}: ${keyOfQuestion(questions[at]!)}`),
    );
  }
}

/** An answer as a value; a missing table is one, too. */
async function settled({ ordered }: Lookup, answer: Promise<unknown>): Promise<unknown> {
  try {
    return plainAnswer(await answer, ordered);
  } catch (error) {
    return error instanceof Error ? error.message : error;
  }
}

/** Instances as their values, with whatever came with them; rows in no particular order by primary key. */
function plainAnswer(answer: unknown, ordered = false): unknown {
  if (answer instanceof Model) {
    const { dataValues } = answer as unknown as { readonly dataValues: Readonly<Record<string, unknown>> };
    return Object.fromEntries(Object.entries(dataValues).map(([name, value]) => [name, plainAnswer(value)]));
  }
  if (!Array.isArray(answer) || !answer.every((item): item is Model => item instanceof Model)) return answer;
  const rows = ordered ? answer : [...answer].sort((one, other) => (primaryKeyText(one) < primaryKeyText(other) ? -1 : 1));
  return rows.map((row) => plainAnswer(row));
}

const primaryKeyText = (row: Model): string =>
  JSON.stringify((row.constructor as ModelStatic<Model>).primaryKeyAttributes.map((name) => row.getDataValue(name as never) as unknown));

// ---- The store ---------------------------------------------------------------------------------

async function assertNoMarker({ recorder }: Processes): Promise<void> {
  const markers = async (): Promise<string[]> => {
    const { items, failures } = await recorder.get([...recorder.put]);
    assert.equal(failures.size, 0);
    return [...items].filter(([, item]) => classify(item).state === 'marker').map(([key]) => key);
  };
  let left = await markers();
  // What is removed in the background, or left running by Sequelize when it rejects, is gone long
  // before a marker ends by itself.
  const until = performance.now() + 3000;
  while ( left.length > 0 && performance.now() < until) {
    await new Promise(setImmediate);
    left = await markers();
  }
  assert.deepEqual(left, [], 'markers that stand after the write');
}

const changedBetween = (before: ReadonlyMap<ShopName, string>, now: ReadonlyMap<ShopName, string>): readonly ShopName[] =>
  shopNames.filter((name) => before.get(name) !== now.get(name));

async function generationsOf({ recorder, a }: Processes): Promise<Map<ShopName, string>> {
  const keys = [...known, ...recorder.put].filter((key) => /^[^:]+:[^:]+:g:/.test(key));
  for (const key of keys) known.add(key);
  const { items } = await recorder.get([...new Set(keys)]);
  const prefix = [...recorder.put].at(-1)?.split(':')[0];
  const found = new Map<ShopName, string>();
  for (const [key, { value }] of items) {
    const name = modelOfGeneration(a, key);
    if (name !== undefined && (prefix === undefined || key.startsWith(`${prefix}:`))) found.set(name, value);
  }
  return found;
}

/** Generation keys outlive the recorder's list, which each path begins anew. */
const known = new Set<string>();

function modelOfGeneration({ models }: Shop, key: string): ShopName | undefined {
  const table = decodeURIComponent(key.split(':')[3] ?? '');
  return shopNames.find((name) => models[name].tableName === table);
}

const invalidationsOf = (caches: readonly FlashCache[]): number =>
  caches
    .flatMap((cache) => Object.values(cache.stats()).flatMap((ofModel) => Object.values(ofModel)))
    .reduce((sum, { invalidations }) => sum + invalidations, 0);

// ---- The database ------------------------------------------------------------------------------

/** All rows, by attribute. */
async function snapshot({ connection, bare }: Processes, mayLack = false): Promise<Snapshot> {
  const found = new Map<ShopName, Row[]>();
  const names = mayLack ? await existing(connection, bare) : shopNames;
  const sql = names.map((name) => `SELECT * FROM \`${bare.models[name].tableName}\``).join('; ');
  const [tables] = sql === '' ? [[]] : await connection.query(sql);
  for (const name of shopNames) {
    // One statement has one answer, several have a list of them.
    const answers = (names.length === 1 ? [tables] : tables) as Readonly<Record<string, unknown>>[][];
    const rows = names.includes(name) ? answers[names.indexOf(name)] : undefined;
    found.set(name, (rows ?? []).map((row) => byAttribute(bare.models[name], row)));
  }
  return found;
}

/** The models whose tables are there. */
async function existing(connection: Connection, { models }: Shop): Promise<readonly ShopName[]> {
  const [tables] = await connection.query('SHOW TABLES');
  const there = new Set((tables as Readonly<Record<string, string>>[]).flatMap((row) => Object.values(row)));
  return shopNames.filter((name) => there.has(models[name].tableName));
}

function byAttribute(model: ModelStatic<Model>, row: Readonly<Record<string, unknown>>): Row {
  const values: Record<string, Value> = {};
  for (const [name, { field, type }] of Object.entries(model.getAttributes())) {
    const value = row[field ?? name];
    if (value === undefined) continue;
    values[name] = value instanceof Date ? value.toISOString() : type instanceof DataTypes.BOOLEAN && value !== null ? Boolean(value) : (value as Value);
  }
  return values;
}

const keyed = (rows: readonly Row[] | undefined): readonly string[] => (rows ?? []).map((row) => JSON.stringify(row)).sort();

/** Without the moments that it was written at. */
const timeless = (all: Snapshot): unknown =>
  Object.fromEntries(
    [...all].map(([name, rows]) => [
      name,
      rows.map(({ createdAt: _created, updatedAt: _updated, deletedAt, ...row }) => ({ ...row, deleted: deletedAt != null })),
    ]),
  );

/** The base rows again, with the ids that they had. */
async function reset(processes: Processes, { rebuild }: WritePath): Promise<void> {
  const { connection, bare, sql } = processes;
  if (processes.rebuild) await bare.sequelize.sync();
  const inserted = new Set([...sql.a, ...sql.b, ...sql.bare].flatMap((statement) => /INSERT (?:IGNORE )?INTO `?(\w+)/.exec(statement)?.[1] ?? []));
  const now = processes.pristine === undefined ? undefined : await snapshot(processes);
  const dirty = shopNames.filter(
    (name) => processes.rebuild || inserted.has(bare.models[name].tableName) || !isDeepStrictEqual(now?.get(name), processes.pristine?.get(name)),
  );
  await connection.query(
    `SET FOREIGN_KEY_CHECKS = 0; ${dirty.map((name) => `TRUNCATE \`${bare.models[name].tableName}\`; ${processes.seed[name]}`).join(' ')} SET FOREIGN_KEY_CHECKS = 1;`,
  );
  processes.pristine ??= await snapshot(processes);
  processes.rebuild = rebuild === true;
  for (const log of [sql.a, sql.b, sql.bare]) log.length = 0;
}

/** Where `SEQUELIZE_FLASH_WRITE_PATHS` names a file, each path adds its line of a table to it. */
function tabulate(title: string, name: string, { wide, extra, changed }: Report, { racy }: WritePath): void {
  const file = process.env.SEQUELIZE_FLASH_WRITE_PATHS;
  if (file === undefined) return;
  const exact = changed.filter((one) => !wide.includes(one));
  appendFileSync(file, `| ${title} | ${name} | ${exact.join(', ') || '–'} | ${wide.join(', ') || '–'} | ${racy === true ? 'varies' : extra} |\n`);
}
