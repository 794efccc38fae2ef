/**
 * A process that makes one write (or read) many times over, each in a world of its own, stops each at
 * another step, and then kills itself.
 *
 * A step is each store operation and each SQL statement, before it is sent and after its answer has
 * come. Whoever looks from outside cannot tell a program that was stopped at a step, and of which
 * nothing is ever sent again, from one that was killed there; and so one `kill -9` makes as many
 * crashes as there are steps. Store operations are sent one by one, which a batch that leaves in one
 * system call is not, so that a crash can also come between two of the same batch.
 *
 * The store and the database connection are wrapped from outside. Nothing in `src` knows of this.
 */
import { EventEmitter } from 'node:events';
import { Sequelize } from 'sequelize';
import { setupCache, type FlashCache } from '../../src/index.js';
import { MemcachedStore } from '../../src/stores/memcached.js';
import type { Store, StoreReply, StoreToken } from '../../src/stores/store.js';
import { defineTable, type TeamTable } from './team-rows.js';

/** Where the workers and their observers meet. */
export interface CrashPlace {
  readonly url: string;
  readonly memcached: string;
  readonly prefix: string;
  readonly alias: string;
  readonly writeLease: number;
  /** Seconds. @default 0, so that a crash is over after writeLease */
  readonly lockWaitTimeout?: number;
  readonly leaseWait: number;
}

/** What the worker is told. */
export type CrashOrder =
  /** Make it once in this table, to the end, and say which steps there were. */
  | { readonly do: 'count'; readonly action: ActionName; readonly table: string }
  /** Make it in each table; in the first stop at step `from`, in the next one step later, and so on. Then kill yourself. */
  | { readonly do: 'crash'; readonly action: ActionName; readonly tables: readonly string[]; readonly from: number }
  /** Write the row 'a' of this table without end: counts that only grow, and negative ones that are rolled back. */
  | { readonly do: 'churn'; readonly table: string };

/** What the worker answers. */
export type CrashReply =
  | { readonly kind: 'ready' }
  | { readonly kind: 'steps'; readonly labels: readonly string[] }
  /** The write of this count was acknowledged. */
  | { readonly kind: 'wrote'; readonly count: number }
  | { readonly kind: 'failed'; readonly message: string };

type Row = InstanceType<TeamTable['Row']>;

/** Prepares, then resolves to what is done step by step. */
type Action = (table: TeamTable, sequelize: Sequelize) => Promise<() => Promise<unknown>> | (() => Promise<unknown>);

const rowOf = ({ Row }: TeamTable, id: number): Promise<Row> => Row.findByPk(id, { rejectOnEmpty: true });

/** Each kind of write, and each kind of load. */
export const writeActions = {
  save: async (table) => {
    const row = await rowOf(table, 1);
    return () => row.update({ count: 100 });
  },
  'save that moves a custom cache': async (table) => {
    const row = await rowOf(table, 3);
    return () => row.update({ team: 'y' });
  },
  'transaction of four writes': async (table, sequelize) => {
    const [first, second, third] = await Promise.all([rowOf(table, 1), rowOf(table, 2), rowOf(table, 3)]);
    return () =>
      sequelize.transaction(async (transaction) => {
        await first.update({ count: 100 }, { transaction });
        await second.update({ team: 'y' }, { transaction });
        await third.update({ name: 'new' }, { transaction });
        await table.Row.create({ name: 'other', team: 'z', count: 100 }, { transaction });
      });
  },
  'transaction with a savepoint': async (table, sequelize) => {
    const [first, second] = await Promise.all([rowOf(table, 1), rowOf(table, 2)]);
    return () =>
      sequelize.transaction(async (transaction) => {
        await first.update({ count: 100 }, { transaction });
        await sequelize.transaction({ transaction }, (inner) => second.update({ name: 'new' }, { transaction: inner }));
      });
  },
  'bulk update by condition':
    ({ Row }) =>
    () =>
      Row.update({ count: 100, team: 'z' }, { where: { team: 'x' } }),
  'insert with auto-increment':
    ({ Row }) =>
    () =>
      Row.create({ name: 'new', team: 'x', count: 100 }),
  'rename with a unique key': async (table) => {
    const row = await rowOf(table, 1);
    return () => row.update({ name: 'new' });
  },
  destroy: async (table) => {
    const row = await rowOf(table, 3);
    return () => row.destroy();
  },
  'upsert (wide)':
    ({ Row }) =>
    () =>
      Row.upsert({ name: 'a', team: 'y', count: 100 }),
  'bulk insert':
    ({ Row }) =>
    () =>
      Row.bulkCreate([
        { name: 'new', team: 'x', count: 100 },
        { name: 'other', team: 'z', count: 100 },
      ]),
  increment:
    ({ Row }) =>
    () =>
      Row.increment({ count: 99 }, { where: { id: 1 } }),
  truncate:
    ({ Row }) =>
    () =>
      Row.destroy({ truncate: true }),
} satisfies Readonly<Record<string, Action>>;

export const loadActions = {
  'load by primary key':
    ({ Row }) =>
    () =>
      Row.cache.getOrNone({ id: 1 }),
  'load by secondary key':
    ({ Row }) =>
    () =>
      Row.cache.getOrNone({ name: 'a' }),
  'load of no such row':
    ({ Row }) =>
    () =>
      Row.cache.getOrNone({ name: 'new' }),
  'load of a custom cache':
    ({ LatestOfTeam }) =>
    () =>
      new LatestOfTeam('x').resolve(),
  'load of many':
    ({ Row }) =>
    () =>
      Row.cache.getMany([{ id: 1 }, { name: 'a' }, { name: 'b' }, { id: 4 }]),
  refresh:
    ({ Row }) =>
    () =>
      Row.cache.getOrNone({ name: 'a' }, { refresh: true }),
} satisfies Readonly<Record<string, Action>>;

export type ActionName = keyof typeof writeActions | keyof typeof loadActions;

const actions: Readonly<Record<ActionName, Action>> = { ...writeActions, ...loadActions };

/** Sets up the cache as every process of a crash test has it. */
export function setUp(sequelize: Sequelize, store: Store, { prefix, alias, writeLease, lockWaitTimeout = 0, leaseWait }: CrashPlace): FlashCache {
  return setupCache(sequelize, { store, prefix, writeLease, lockWaitTimeout, leaseWait, alias });
}

/** Entries that expire in between, such as "no such row", cost a write more steps while they stand. */
const spareSteps = 6;
/** Tables for steps that were not counted, and for a crash after the last one. */
export const extraTables = 3;

/** Counts steps, and stops at one. */
class Steps {
  readonly labels: string[] = [];
  #armed = false;
  #stopAt = Infinity;
  #stop: () => void = () => undefined;

  /** @param stopAt from 1 */
  arm(stopAt = Infinity, stop: () => void = () => undefined): void {
    this.#armed = true;
    this.#stopAt = stopAt;
    this.#stop = stop;
  }

  /** It is over, and was not stopped: a step after the last one. */
  end(wanted: number): void {
    if (this.labels.length < wanted - spareSteps - extraTables) {
      throw new Error(`It ended after ${String(this.labels.length)} steps, before step ${String(wanted)}: ${this.labels.join(', ')}`);
    }
    this.#stop();
  }

  /** Whether it goes on. Once it does not, it never does. */
  reach(label: string): boolean {
    if (!this.#armed) return true;
    if (this.labels.length >= this.#stopAt) return false;
    this.labels.push(label);
    if (this.labels.length < this.#stopAt) return true;
    this.#stop();
    return false;
  }
}

const never = new Promise<never>(() => undefined);

/** Sends one operation after the other, each between two steps. */
class SteppedStore implements Store {
  readonly #store: Store;
  readonly #steps: Steps;
  #last: Promise<unknown> = Promise.resolve();

  constructor(store: Store, steps: Steps) {
    this.#store = store;
    this.#steps = steps;
  }

  get name(): string {
    return this.#store.name;
  }

  get maxValueBytes(): number {
    return this.#store.maxValueBytes;
  }

  get(keys: readonly string[]): Promise<StoreReply> {
    return this.#inTurn(`get ${keys.map(kindOf).join('')}`, () => this.#store.get(keys));
  }

  add(key: string, value: string, ttlSeconds: number): Promise<boolean> {
    return this.#inTurn(`add ${kindOf(key)}`, () => this.#store.add(key, value, ttlSeconds));
  }

  compareAndSwap(key: string, value: string, token: StoreToken, ttlSeconds: number): Promise<boolean> {
    return this.#inTurn(`swap ${kindOf(key)}`, () => this.#store.compareAndSwap(key, value, token, ttlSeconds));
  }

  compareAndDelete(key: string, token: StoreToken): Promise<boolean> {
    return this.#inTurn(`remove ${kindOf(key)}`, () => this.#store.compareAndDelete(key, token));
  }

  delete(key: string): Promise<boolean> {
    return this.#inTurn(`delete ${kindOf(key)}`, () => this.#store.delete(key));
  }

  inOrder(first: string, second: string): boolean {
    return this.#store.inOrder?.(first, second) === true;
  }

  close(): Promise<void> {
    return this.#store.close();
  }

  #inTurn<T>(label: string, operate: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(async () => {
      if (!this.#steps.reach(`before ${label}`)) await never;
      try {
        return await operate();
      } finally {
        if (!this.#steps.reach(`after ${label}`)) await never;
      }
    });
    this.#last = turn.catch(() => undefined);
    return turn;
  }
}

/** The kind of an entry: one letter of its key. */
const kindOf = (key: string): string => key.split(':')[2] ?? key;

type Send = (this: unknown, ...args: unknown[]) => EventEmitter;

/** Makes each statement of a connection of mysql2 stand between two steps. */
function stepStatements(connection: Record<'query' | 'execute', Send>, steps: Steps): void {
  for (const method of ['query', 'execute'] as const) {
    const send = connection[method];
    connection[method] = function stepped(...args) {
      const callback = args.pop() as (...outcome: unknown[]) => void;
      const [statement] = args;
      const sql = typeof statement === 'string' ? statement : (statement as { readonly sql: string }).sql;
      const label = sql.split(' ', 1)[0] ?? sql;
      if (!steps.reach(`before ${label}`)) return new EventEmitter();
      return send.call(this, ...args, (...outcome: unknown[]) => {
        if (steps.reach(`after ${label}`)) callback(...outcome);
      });
    };
  }
}

const send = (reply: CrashReply): void => void process.send?.(reply);

if (process.send !== undefined && process.env.FLASH_TEST_CRASH !== undefined) {
  const place = JSON.parse(process.env.FLASH_TEST_CRASH) as CrashPlace;
  process.on('message', (order: CrashOrder) => {
    obey(place, order).catch((error: unknown) => {
      send({ kind: 'failed', message: error instanceof Error ? (error.stack ?? error.message) : String(error) });
    });
  });
  send({ kind: 'ready' });
}

async function obey(place: CrashPlace, order: CrashOrder): Promise<void> {
  if (order.do === 'churn') {
    await churn(place, order.table);
    return;
  }
  const action = actions[order.action];
  if (order.do === 'count') {
    const { steps, act } = await prepare(place, action, order.table);
    steps.arm();
    await act();
    send({ kind: 'steps', labels: steps.labels });
    return;
  }
  const prepared = await Promise.all(order.tables.map((table) => prepare(place, action, table)));
  let going = prepared.length;
  await Promise.all(
    prepared.map(async ({ steps, act }, at) => {
      steps.arm(order.from + at, () => {
        going -= 1;
        if (going === 0) process.kill(process.pid, 'SIGKILL');
      });
      await act();
      steps.end(order.from + at);
    }),
  );
}

async function prepare(place: CrashPlace, action: Action, table: string): Promise<{ steps: Steps; act: () => Promise<unknown> }> {
  const steps = new Steps();
  const sequelize = new Sequelize(place.url, { dialect: 'mysql', logging: false, pool: { max: 2 } });
  sequelize.addHook('afterConnect', (connection) => {
    stepStatements(connection as Record<'query' | 'execute', Send>, steps);
  });
  const models = defineTable(sequelize, table);
  const store = new SteppedStore(new MemcachedStore(place.memcached, { timeoutMs: 20_000 }), steps);
  setUp(sequelize, store, place);
  // Connects both servers, so that connecting takes no part.
  await store.get(['connect']);
  await sequelize.query('SELECT 1');
  return { steps, act: await action(models, sequelize) };
}

async function churn(place: CrashPlace, table: string): Promise<void> {
  const sequelize = new Sequelize(place.url, { dialect: 'mysql', logging: false, pool: { max: 2 } });
  const { Row } = defineTable(sequelize, table);
  setUp(sequelize, new MemcachedStore(place.memcached, { timeoutMs: 20_000 }), place);
  const row = await Row.findOne({ where: { name: 'a' }, rejectOnEmpty: true });
  const writes: readonly ((count: number) => Promise<unknown>)[] = [
    (count) => row.update({ count }),
    (count) => Row.update({ count }, { where: { team: 'x' } }),
    (count) => Row.upsert({ name: 'a', team: 'x', count }),
    (count) =>
      sequelize.transaction(async (transaction) => {
        await row.update({ count: -count }, { transaction });
        await row.update({ count }, { transaction });
      }),
  ];
  const undone = new Error('rolled back');
  for (let count = row.count + 1; ; count += 1) {
    await writes[count % writes.length]?.(count);
    send({ kind: 'wrote', count });
    await sequelize
      .transaction(async (transaction) => {
        await Row.update({ count: -count }, { where: { name: 'a' }, transaction });
        throw undone;
      })
      .catch((error: unknown) => {
        if (error !== undone) throw error;
      });
  }
}
