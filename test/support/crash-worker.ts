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

/** A table, and the step at which the action that is made in it stops; without one it is made to the end. */
export interface CrashWorld {
  readonly table: string;
  readonly stopAt?: string;
  /** How long its leases stand, in seconds, if not as long as any other's. */
  readonly leaseSeconds?: number;
}

/** What the worker is told. */
export type CrashOrder =
  /** Connect, and read what the action needs, for each table: what follows is then made at once. */
  | { readonly do: 'prepare'; readonly action: ActionName; readonly tables: readonly string[] }
  /** Make it once in this table, to the end, and say which steps there were. */
  | { readonly do: 'count'; readonly action: ActionName; readonly table: string }
  /** Make it in each world, and stop where that says. Then kill yourself. */
  | { readonly do: 'crash'; readonly action: ActionName; readonly worlds: readonly CrashWorld[] }
  /** Write the row 'a' of this table without end: counts that only grow, and negative ones that are rolled back. */
  | { readonly do: 'churn'; readonly table: string };

/** What the worker answers. */
export type CrashReply =
  | { readonly kind: 'ready' }
  | { readonly kind: 'prepared' }
  | { readonly kind: 'steps'; readonly steps: readonly string[] }
  /** It kills itself now; these worlds came to their end without the step that they were to stop at. */
  | { readonly kind: 'crashed'; readonly missed: readonly CrashWorld[] }
  /** The write of this count was acknowledged. */
  | { readonly kind: 'wrote'; readonly count: number }
  | { readonly kind: 'failed'; readonly message: string };

type Row = InstanceType<TeamTable['Row']>;

/** Prepares, then resolves to what is done step by step. */
type Action = (table: TeamTable, sequelize: Sequelize) => Promise<() => Promise<unknown>> | (() => Promise<unknown>);

/** One after the other: each at the same time as another opens one more connection, of which a server has few. */
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
    const [first, second, third] = [await rowOf(table, 1), await rowOf(table, 2), await rowOf(table, 3)];
    return () =>
      sequelize.transaction(async (transaction) => {
        await first.update({ count: 100 }, { transaction });
        await second.update({ team: 'y' }, { transaction });
        await third.update({ name: 'new' }, { transaction });
        await table.Row.create({ name: 'other', team: 'z', count: 100 }, { transaction });
      });
  },
  'transaction with a savepoint': async (table, sequelize) => {
    const [first, second] = [await rowOf(table, 1), await rowOf(table, 2)];
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

/**
 * Names the steps, and stops at one. A name is what is done and how often that was done before: an
 * entry that expired, or a marker that was renewed, changes how many steps there are, but not which
 * one a name means.
 */
class Steps {
  readonly names: string[] = [];
  readonly #times = new Map<string, number>();
  #armed = false;
  #stopped = false;
  #stopAt: string | undefined;
  #stop: () => void = () => undefined;

  arm(stopAt?: string, stop: () => void = () => undefined): void {
    this.#armed = true;
    this.#stopAt = stopAt;
    this.#stop = stop;
  }

  /** Whether it goes on. Once it does not, it never does. */
  reach(label: string): boolean {
    if (!this.#armed) return true;
    if (this.#stopped) return false;
    const times = (this.#times.get(label) ?? 0) + 1;
    this.#times.set(label, times);
    const name = `${label} #${String(times)}`;
    this.names.push(name);
    if (name !== this.#stopAt) return true;
    this.#stopped = true;
    this.#stop();
    return false;
  }
}

const never = new Promise<never>(() => undefined);

/** Sends one operation after the other, each between two steps. */
class SteppedStore implements Store {
  leaseSeconds: number | undefined;
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
    return this.#inTurn(`add ${kindOf(key)}`, () => this.#store.add(key, value, ttlSeconds === 0 ? 0 : (this.leaseSeconds ?? ttlSeconds)));
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

  /** Resolves when nothing is under way; never, if it was stopped. */
  async settled(): Promise<void> {
    for (let last: unknown; last !== this.#last; ) {
      last = this.#last;
      await last;
    }
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

/** An action in a table, ready to be made. */
interface Prepared {
  readonly steps: Steps;
  readonly store: SteppedStore;
  readonly act: () => Promise<unknown>;
}

const prepared = new Map<string, Prepared>();

/** How many worlds connect at the same time. */
const preparedAtOnce = 8;

async function obey(place: CrashPlace, order: CrashOrder): Promise<void> {
  if (order.do === 'churn') {
    await churn(place, order.table);
    return;
  }
  const tables = order.do === 'prepare' ? order.tables : order.do === 'count' ? [order.table] : order.worlds.map(({ table }) => table);
  const worlds: Prepared[] = [];
  for (let at = 0; at < tables.length; at += preparedAtOnce) {
    worlds.push(...(await Promise.all(tables.slice(at, at + preparedAtOnce).map((table) => prepare(place, actions[order.action], table)))));
  }
  if (order.do === 'prepare') {
    send({ kind: 'prepared' });
    return;
  }
  if (order.do === 'count') {
    for (const { steps, store, act } of worlds) {
      steps.arm();
      await act();
      await store.settled();
      send({ kind: 'steps', steps: steps.names });
    }
    return;
  }
  const missed: CrashWorld[] = [];
  let going = worlds.length;
  const over = (): void => {
    going -= 1;
    if (going !== 0) return;
    process.send?.({ kind: 'crashed', missed } satisfies CrashReply, () => process.kill(process.pid, 'SIGKILL'));
  };
  await Promise.all(
    worlds.map(async ({ steps, store, act }, at) => {
      const world = order.worlds[at];
      store.leaseSeconds = world?.leaseSeconds;
      steps.arm(world?.stopAt, over);
      await act();
      // An answer does not wait for what it is stored with.
      await store.settled();
      // What goes on in the background after that comes too late to stop anything.
      steps.arm();
      if (world?.stopAt !== undefined) missed.push(world);
      over();
    }),
  );
}

async function prepare(place: CrashPlace, action: Action, table: string): Promise<Prepared> {
  const before = prepared.get(table);
  if (before !== undefined) return before;
  const steps = new Steps();
  // A connection that is closed because others are not ready yet would have to be opened anew.
  const sequelize = new Sequelize(place.url, { dialect: 'mysql', logging: false, pool: { max: 2, idle: 300_000 } });
  sequelize.addHook('afterConnect', (connection) => {
    stepStatements(connection as Record<'query' | 'execute', Send>, steps);
  });
  const models = defineTable(sequelize, table);
  const store = new SteppedStore(new MemcachedStore(place.memcached, { timeoutMs: 20_000 }), steps);
  setUp(sequelize, store, place);
  // Connects both servers, so that connecting takes no part.
  await store.get(['connect']);
  await sequelize.query('SELECT 1');
  const world = { steps, store, act: await action(models, sequelize) };
  prepared.set(table, world);
  return world;
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
