/**
 * A process that reads and writes at the same time until it is told to stop, or is killed. What it
 * does follows from its seed; when, and beside what others do, is the machine's.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { subscribe } from 'node:diagnostics_channel';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { QueryTypes, Sequelize, type Transaction } from 'sequelize';
import { BatchCacheQuery, FlashError, InvalidationFailedError, setupCache, type FlashCache, type FlashEvents, type ReadOptions } from '../../src/index.js';
import { MemcachedStore } from '../../src/stores/memcached.js';
import { Random } from '../oracle/random.js';
import { askById, Ids, pools, randomAsk, type Ask } from './asks.js';
import { now } from './clock.js';
import { ReadLog, WriteLog, type Mode, type Outcome } from './log.js';
import { sabotage, type Sabotage } from './sabotage.js';
import { tables } from './tables.js';
import { lockWaitTimeout, defineWorld, type World } from './world.js';
import { Pool, randomWrite, type Act } from './writes.js';

/** What a worker has to know. */
export interface Place {
  /** Names the process in logs. */
  readonly process: string;
  readonly seed: number;
  readonly url: string;
  readonly memcached: readonly string[];
  readonly prefix: string;
  /** Seconds. */
  readonly writeLease: number;
  readonly mode: Mode;
  /** Transactions are found by continuation-local storage. */
  readonly cls: boolean;
  /** Where it writes its logs. */
  readonly folder: string;
  readonly readsPerSecond: number;
  readonly writesPerSecond: number;
  /** Breaks the cache on purpose. */
  readonly sabotage: Sabotage | undefined;
}

/**
 * What a worker is told. `tags`: the episode with TRUNCATE. `die`: kill yourself in the middle of the
 * next write. `final`: write no more, read these.
 */
export type Order = { readonly do: 'tags' | 'die' | 'quiet' | 'exit' } | { readonly do: 'final'; readonly askIds: readonly string[] };

/** What a worker tells. */
export type Reply =
  | { readonly kind: 'ready' | 'done' }
  | { readonly kind: 'counts'; readonly reads: number; readonly writes: number; readonly undelivered: number; readonly readErrors: number };

/** What is running: its unit labels go into the history. */
interface Operation {
  readonly id: string;
  units: number;
  stamps: number;
  readonly labels: WeakMap<object, string>;
}

const storeTimeoutMs = 250;
/** A read or a write that takes longer hangs: a restart of the database takes a few seconds, waiting for a connection 20. */
const longestMs = 40_000;

class Worker {
  readonly #place: Place;
  readonly #random: Random;
  readonly #sequelize: Sequelize;
  readonly #world: World;
  readonly #flash: FlashCache;
  readonly #ids = new Ids();
  readonly #pool = new Pool();
  readonly #reads: ReadLog;
  readonly #writes: WriteLog;
  readonly #running = new AsyncLocalStorage<Operation>();
  /** Keys that wait to be delivered, by operation. */
  readonly #undelivered = new Map<string, Set<string>>();
  readonly #hitAt = new Map<string, number>();
  /** What has begun and not ended, with its start. */
  readonly #pending = new Map<object, { readonly what: string; readonly start: number }>();
  readonly #counts = { reads: 0, writes: 0, readErrors: 0 };
  #operations = 0;
  #writers: Promise<unknown> = Promise.resolve();
  #readers: Promise<unknown> = Promise.resolve();
  /** The next write is the last. */
  #dies = false;
  #writing = true;
  #reading = true;

  constructor(place: Place) {
    this.#place = place;
    this.#random = new Random(place.seed);
    this.#reads = new ReadLog(join(place.folder, `${place.process}.reads`));
    this.#writes = new WriteLog(join(place.folder, `${place.process}.writes`));
    this.#writes.write(['worker', place.process, place.mode, now()]);
    if (place.cls) useCls();
    this.#sequelize = new Sequelize(place.url, {
      dialect: 'mysql',
      logging: false,
      pool: { max: 8, acquire: 20_000 },
      dialectOptions: { connectTimeout: 5000 },
    });
    this.#world = defineWorld(this.#sequelize);
    const store = new MemcachedStore(place.memcached, { timeoutMs: storeTimeoutMs, retryMs: 100 });
    this.#listen();
    this.#flash = setupCache(this.#sequelize, {
      store: place.sabotage === undefined ? store : sabotage(store, place.sabotage, new Random(place.seed + 1)),
      prefix: place.prefix,
      alias: 'torture',
      writeLease: place.writeLease,
      lockWaitTimeout,
      onStoreFailure: place.mode,
    });
    // After the cache's own hook, so that "about to be sent" means it.
    this.#sequelize.addHook('beforeQuery', (options, query) => {
      this.#announce(options, (query as unknown as { readonly connection: Connection }).connection);
    });
  }

  async work(): Promise<void> {
    process.on('message', (order: Order) => {
      this.#obey(order).then(
        () => send({ kind: 'done' }),
        (error: unknown) => {
          this.#writes.write(['broken', '-', inspectError(error)]);
          send({ kind: 'done' });
        },
      );
    });
    // Nobody is left to end it.
    process.on('disconnect', () => {
      if (this.#reading || this.#writing) process.exit(1);
    });
    const beat = setInterval(() => {
      this.#reads.flush();
      this.#tellCounts();
      this.#reportHanging();
    }, 200);
    send({ kind: 'ready' });
    this.#writers = Promise.all([this.#writeLoop(), this.#writeLoop()]);
    this.#readers = Promise.all([this.#readLoop(), this.#readLoop()]);
    await Promise.all([this.#writers, this.#readers]);
    clearInterval(beat);
  }

  async #obey(order: Order): Promise<void> {
    switch (order.do) {
      case 'tags':
        await this.#tagEpisode();
        break;
      case 'die':
        this.#dies = true;
        break;
      case 'quiet':
        this.#writing = false;
        await this.#writers;
        break;
      case 'final': {
        this.#reading = false;
        await this.#readers;
        const asks = order.askIds.map((askId) => askById(this.#world, askId));
        for (let from = 0; from < asks.length; from += 50) await this.#readTogether(asks.slice(from, from + 50));
        break;
      }
      case 'exit':
        this.#writing = this.#reading = false;
        await Promise.all([this.#writers, this.#readers]);
        await this.#flash.close(5000);
        await this.#sequelize.close();
        this.#reads.close();
        this.#tellCounts();
        process.disconnect();
    }
  }

  // ---- Reads ----------------------------------------------------------------------------------

  async #readLoop(): Promise<void> {
    const { readsPerSecond } = this.#place;
    const random = this.#random;
    const loops = 2;
    let due = performance.now();
    while (this.#reading) {
      const size = 1 + random.below(80);
      const asks = random.list(size, () => randomAsk(this.#world, random, this.#ids));
      switch (random.weighted<'together' | 'many' | 'batch' | 'refresh'>([[13, 'together'], [3, 'many'], [3, 'batch'], [1, 'refresh']])) {
        case 'together':
          await this.#readTogether(asks);
          break;
        case 'many':
          await this.#readMany(asks);
          break;
        case 'batch':
          await this.#readBatch(asks);
          break;
        case 'refresh':
          await this.#readTogether(asks.slice(0, 4), { refresh: true });
      }
      due = Math.max(due + (1000 * size * loops) / readsPerSecond, performance.now() - 500);
      const ahead = due - performance.now();
      if (ahead > 1) await sleep(ahead);
    }
  }

  async #readTogether(asks: readonly Ask[], options: ReadOptions = {}): Promise<void> {
    await Promise.all(asks.map((ask) => this.#read(ask, () => ask.run(options))));
  }

  /** Those that are of one model by one call. */
  async #readMany(asks: readonly Ask[]): Promise<void> {
    const [{ table } = { table: 'User' as const }] = asks;
    const same = asks.filter((ask) => ask.table === table && ask.params !== undefined);
    const answers = this.#world.caches[table].getMany(same.map(({ params }) => params));
    await Promise.all(same.map((ask, at) => this.#read(ask, async () => (await answers)[at])));
  }

  /** All of them in one batch. */
  async #readBatch(asks: readonly Ask[]): Promise<void> {
    const batch = new BatchCacheQuery(Object.fromEntries(asks.map(({ run }, at) => [String(at), { resolve: run }])));
    const answers = batch.get({ returnExceptions: true });
    await Promise.all(
      asks.map((ask, at) =>
        this.#read(ask, async () => {
          const answer = (await answers)[String(at)];
          if (answer instanceof Error) throw answer;
          return answer;
        }),
      ),
    );
  }

  async #read(ask: Ask, run: () => Promise<unknown>): Promise<void> {
    const start = now();
    const pending = this.#begin(ask.askId, start);
    let answer: unknown;
    try {
      answer = await run();
    } catch (error) {
      this.#counts.readErrors += 1;
      if (isOurFault(error)) this.#writes.write(['broken', '-', `${ask.askId}: ${inspectError(error)}`]);
      return;
    } finally {
      this.#pending.delete(pending);
    }
    const end = now();
    this.#counts.reads += 1;
    this.#see(ask, answer);
    this.#reads.read(ask.askId, ask.contentOf(answer), start, end, (this.#hitAt.get(ask.key) ?? -1) >= start);
  }

  /** Remembers what there is: its ids are asked for later, and some of the instances are written. */
  #see(ask: Ask, answer: unknown): void {
    const { table, rows } = ask.rowsIn(answer);
    for (const row of rows) {
      if (tables[table].autoIncrement) this.#ids.see(table, row.getDataValue('id' as never));
      if (table !== 'Tag' && this.#random.once(200)) this.#pool.add(table, row);
    }
  }

  // ---- Writes ---------------------------------------------------------------------------------

  async #writeLoop(): Promise<void> {
    const { writesPerSecond } = this.#place;
    const random = this.#random;
    const loops = 2;
    while (this.#writing) {
      // In bursts, with time between them in which the cache fills.
      const burst = 1 + random.below(6);
      const began = performance.now();
      for (let left = burst; left > 0 && this.#writing; left -= 1) await this.#operation();
      const pause = ((1000 * burst * loops) / writesPerSecond) * (0.5 + random.next()) - (performance.now() - began);
      for (let left = pause; left > 0 && this.#writing; left -= 100) await sleep(Math.min(100, left));
    }
  }

  async #operation(): Promise<void> {
    const random = this.#random;
    const kind = random.weighted<'single' | 'managed' | 'unmanaged'>([[12, 'single'], [3, 'managed'], [2, 'unmanaged']]);
    if (kind === 'single') {
      const write = randomWrite(random);
      await this.#logged(write.name, (operation) => write.run(this.#act(operation, {})));
      return;
    }
    const end = random.pick(['commit', 'commit', 'rollback'] as const);
    await this.#logged(`${kind} ${end}`, async (operation) => {
      await (kind === 'managed' ? this.#managed(operation, end) : this.#unmanaged(operation, end));
    });
  }

  /** Runs an operation and writes down how it went. */
  async #logged(what: string, run: (operation: Operation) => Promise<unknown>): Promise<void> {
    this.#operations += 1;
    this.#counts.writes += 1;
    const operation: Operation = { id: `${this.#place.process}/${this.#operations}`, units: 0, stamps: 0, labels: new WeakMap() };
    const start = now();
    this.#writes.write(['begin', operation.id, what, start]);
    const pending = this.#begin(`${operation.id} ${what}`, start);
    let outcome: Outcome = 'done';
    let message = '';
    try {
      await this.#running.run(operation, () => run(operation));
    } catch (error) {
      outcome = error instanceof InvalidationFailedError ? 'refused' : 'failed';
      message = shortError(error);
      if (isOurFault(error)) this.#writes.write(['broken', operation.id, inspectError(error)]);
    }
    this.#pending.delete(pending);
    this.#writes.write(['end', operation.id, now(), outcome, message]);
  }

  #begin(what: string, start: number): object {
    const token = { what, start };
    this.#pending.set(token, token);
    return token;
  }

  /** Nothing may take that long, whatever fails. */
  #reportHanging(): void {
    for (const [token, { what, start }] of this.#pending) {
      const ms = (now() - start) / 1000;
      if (ms < longestMs) continue;
      this.#pending.delete(token);
      this.#writes.write(['broken', '-', `${what} has not ended after ${ms.toFixed(0)} ms`]);
    }
  }

  #act(operation: Operation, on: Act['on']): Act {
    return {
      world: this.#world,
      random: this.#random,
      ids: this.#ids,
      pool: this.#pool,
      on,
      stamp: () => `${operation.id}.${(operation.stamps += 1)}`,
    };
  }

  async #managed(operation: Operation, end: 'commit' | 'rollback'): Promise<void> {
    try {
      await this.#sequelize.transaction(async (transaction) => {
        await this.#steps(operation, transaction, this.#place.cls ? {} : { transaction });
        if (end === 'rollback') throw new RolledBack();
      });
    } catch (error) {
      if (!(error instanceof RolledBack)) throw error;
    }
  }

  async #unmanaged(operation: Operation, end: 'commit' | 'rollback'): Promise<void> {
    const transaction = await this.#sequelize.transaction();
    try {
      await this.#steps(operation, transaction, { transaction });
    } catch (error) {
      if ((transaction as { readonly finished?: string }).finished === undefined) await transaction.rollback();
      throw error;
    }
    await transaction[end]();
  }

  async #steps(operation: Operation, transaction: Transaction, on: Act['on']): Promise<void> {
    const random = this.#random;
    const act = this.#act(operation, on);
    for (let left = 1 + random.below(3); left > 0; left -= 1) {
      try {
        if (random.once(4)) await this.#savepoint(operation, transaction);
        else if (random.once(3)) await this.#ownWrite(act, operation, transaction);
        else await randomWrite(random).run(act);
      } catch (error) {
        if (isDeadlock(error)) this.#apart(operation, transaction);
        // Some programs go on after an error in a transaction.
        if (random.once(2) || error instanceof RolledBack) throw error;
      }
      // The same rows from outside, while the transaction is open.
      if (random.once(2)) await this.#running.exit(() => this.#outside());
    }
    if (random.once(30)) await sleep(random.below(400));
  }

  async #savepoint(operation: Operation, parent: Transaction): Promise<void> {
    const random = this.#random;
    const rolledBack = random.once(2);
    try {
      await this.#sequelize.transaction({ transaction: parent }, async (transaction) => {
        const on = this.#place.cls ? {} : { transaction };
        await randomWrite(random).run(this.#act(operation, on));
        if (rolledBack) throw new RolledBack();
      });
    } catch (error) {
      if (!(error instanceof RolledBack)) throw error;
    }
  }

  /** P3: a read in the transaction shows the transaction's own write. */
  async #ownWrite(act: Act, operation: Operation, transaction: Transaction): Promise<void> {
    const { random, ids, world, on } = act;
    const id = ids.pick(random, 'User');
    const stamp = act.stamp();
    const [changed] = await world.models.User.update({ count: random.below(100), stamp }, { where: { id }, ...on });
    if (changed === 0) return;
    const found = await world.caches.User.getOrNone({ id }, { transaction });
    const byCls = this.#place.cls && on.transaction === undefined ? await world.caches.User.getOrNone({ id }) : found;
    for (const one of [found, byCls]) {
      const shown: unknown = one?.get('stamp');
      if (shown !== stamp) this.#writes.write(['not-own', operation.id, `user ${id}: wrote ${stamp}, read ${String(shown)}`]);
    }
  }

  async #outside(): Promise<void> {
    const asks = this.#random.list(6, () => randomAsk(this.#world, this.#random, this.#ids));
    await this.#readTogether(asks, { transaction: null });
  }

  /**
   * Writes to the table that is truncated now and then. One worker at a time does that, and is not
   * killed meanwhile: TRUNCATE leaves no trace in the history but the line that is written here.
   */
  async #tagEpisode(): Promise<void> {
    const random = this.#random;
    const { Tag, User } = this.#world.models;
    const some = async (): Promise<void> => {
      for (let left = 2 + random.below(4); left > 0; left -= 1) {
        await this.#logged('tag', async (operation) => {
          const stamp = this.#act(operation, {}).stamp();
          const label = random.pick(pools.label);
          if (random.once(2)) await Tag.create({ label, stamp });
          else await Tag.update({ count: random.below(100), stamp }, { where: { label } });
        });
        await sleep(random.below(60));
      }
    };
    await some();
    await this.#logged('truncate', async (operation) => {
      const label = this.#label(operation, undefined);
      const truncated = (): Promise<unknown> =>
        this.#sequelize.query(`INSERT INTO history (label, tbl, action) VALUES (?, 'Tag', 'T')`, {
          replacements: [label],
          type: QueryTypes.INSERT,
          transaction: null,
        });
      if (random.once(2)) {
        await Tag.truncate();
        await truncated();
        return;
      }
      const transaction = await this.#sequelize.transaction();
      try {
        const stamp = this.#act(operation, {}).stamp();
        await User.update({ count: random.below(100), stamp }, { where: { name: random.pick(pools.name) }, transaction });
        // TRUNCATE commits it.
        this.#apart(operation, transaction);
        await Tag.truncate({ transaction });
        await truncated();
      } catch (error) {
        if ((transaction as { readonly finished?: string }).finished === undefined) await transaction.rollback();
        throw error;
      }
      await transaction[random.pick(['commit', 'rollback'] as const)]();
    });
    await some();
  }

  // ---- What is written down about statements ---------------------------------------------------

  /** Writes down which unit a statement belongs to, and tells the database. */
  #announce({ type, model, where, transaction, completesTransaction }: StatementOptions, connection: Connection): void {
    if (completesTransaction === true) {
      const label = transaction == null ? undefined : this.#running.getStore()?.labels.get(transaction);
      if (label !== undefined && (transaction as { readonly finished?: string }).finished === 'commit') {
        this.#writes.write(['commit', label, now()]);
        this.#dieSoon(true);
      }
      return;
    }
    if (model === undefined || !writeTypes.has(type)) return;
    const operation = this.#running.getStore();
    if (operation === undefined) {
      this.#writes.write(['broken', '-', `a statement of type ${String(type)} outside of any operation`]);
      return;
    }
    // It is sent before the statement: a connection sends in order. Its failure is the statement's.
    const label = this.#label(operation, transaction ?? undefined);
    connection.query(`SET @op = '${label}'`, () => undefined);
    const inner = transaction != null && rootOf(transaction) !== transaction;
    this.#writes.write(['statement', label, `${String(type)} ${model.name} ${JSON.stringify(where) ?? ''}${inner ? ' in a savepoint' : ''}`]);
    this.#dieSoon(transaction == null);
  }

  /** Where it was told to: at some moment between a statement (or COMMIT) and the end of its write. */
  #dieSoon(commits: boolean): void {
    if (!this.#dies || !commits) return;
    this.#dies = false;
    const until = performance.now() + this.#random.next() * 6;
    const wait = (): void => {
      if (performance.now() < until) {
        setImmediate(wait);
        return;
      }
      this.#writes.write(['dying', this.#place.process, now()]);
      process.kill(process.pid, 'SIGKILL');
    };
    setImmediate(wait);
  }

  /** The label of the unit that a statement in this transaction belongs to. */
  #label(operation: Operation, transaction: Transaction | undefined): string {
    const root = transaction === undefined ? undefined : rootOf(transaction);
    const known = root === undefined ? undefined : operation.labels.get(root);
    if (known !== undefined) return known;
    operation.units += 1;
    const label = `${operation.id}-${operation.units}`;
    if (root !== undefined) operation.labels.set(root, label);
    this.#writes.write(['unit', operation.id, label, now(), root === undefined ? 0 : 1]);
    return label;
  }

  #apart(operation: Operation, transaction: Transaction): void {
    this.#writes.write(['apart', this.#label(operation, transaction)]);
  }

  #listen(): void {
    on('hit', ({ key }) => {
      this.#hitAt.set(key, now());
    });
    on('error', ({ operation }) => {
      const running = this.#running.getStore();
      if (operation === 'mark' && running !== undefined) this.#writes.write(['unmarked', running.id]);
    });
    on('undelivered', ({ keys }) => {
      const running = this.#running.getStore();
      if (running === undefined) {
        this.#writes.write(['broken', '-', 'something is undelivered outside of any operation']);
        return;
      }
      const waiting = this.#undelivered.get(running.id) ?? new Set();
      this.#undelivered.set(running.id, waiting);
      for (const key of keys) waiting.add(key);
      this.#writes.write(['undelivered', running.id]);
      this.#tellCounts();
    });
    on('delivered', ({ keys }) => {
      for (const [id, waiting] of this.#undelivered) {
        for (const key of keys) waiting.delete(key);
        if (waiting.size > 0) continue;
        this.#undelivered.delete(id);
        this.#writes.write(['delivered', id, now()]);
      }
      this.#tellCounts();
    });
  }

  #tellCounts(): void {
    send({ kind: 'counts', ...this.#counts, undelivered: this.#undelivered.size });
  }
}

/** Thrown to roll a transaction back. */
class RolledBack extends Error {}

interface StatementOptions {
  readonly type?: string;
  readonly model?: { readonly name: string };
  readonly where?: unknown;
  readonly transaction?: Transaction | null;
  readonly completesTransaction?: boolean;
}

/** A connection of mysql2. */
interface Connection {
  query(sql: string, callback: () => void): void;
}

const writeTypes: ReadonlySet<string | undefined> = new Set([
  QueryTypes.INSERT,
  QueryTypes.UPDATE,
  QueryTypes.UPSERT,
  QueryTypes.DELETE,
  QueryTypes.BULKUPDATE,
  QueryTypes.BULKDELETE,
]);

function rootOf(transaction: Transaction): Transaction {
  const { parent } = transaction as { readonly parent?: Transaction | null };
  return parent == null ? transaction : rootOf(parent);
}

function on<K extends keyof FlashEvents>(kind: K, listener: (message: FlashEvents[K]) => void): void {
  subscribe(`sequelize-flash:${kind}`, (message) => {
    listener(message as FlashEvents[K]);
  });
}

const codeOf = (error: unknown): string => String((error as { readonly parent?: { readonly code?: string } } | null)?.parent?.code);
const isDeadlock = (error: unknown): boolean => codeOf(error) === 'ER_LOCK_DEADLOCK';

/** An error that neither the database nor a store that failed explains. */
const isOurFault = (error: unknown): boolean =>
  error instanceof TypeError ||
  error instanceof RangeError ||
  error instanceof ReferenceError ||
  error instanceof SyntaxError ||
  (error instanceof FlashError && !(error instanceof InvalidationFailedError)) ||
  ['ER_PARSE_ERROR', 'ER_BAD_FIELD_ERROR', 'ER_NO_SUCH_TABLE', 'ER_DATA_TOO_LONG'].includes(codeOf(error));

const shortError = (error: unknown): string =>
  error instanceof Error ? `${error.name} ${codeOf(error)} ${error.message.slice(0, 80)}` : String(error);

const inspectError = (error: unknown): string => (error instanceof Error ? (error.stack ?? error.message) : String(error));

/** Sequelize wants `bind`, `run`, `get` and `set` of a namespace; an AsyncLocalStorage has all that they need. */
function useCls(): void {
  const storage = new AsyncLocalStorage<Map<string, unknown>>();
  Sequelize.useCLS({
    get: (name: string) => storage.getStore()?.get(name),
    set: (name: string, value: unknown) => void storage.getStore()?.set(name, value),
    run: (body: (context: unknown) => unknown) => storage.run(new Map(storage.getStore()), () => body(undefined)),
    bind: (body: (...given: unknown[]) => unknown) => {
      const context = storage.getStore();
      return (...given: unknown[]) => (context === undefined ? body(...given) : storage.run(context, () => body(...given)));
    },
  });
}

function send(reply: Reply): void {
  if (process.connected) process.send?.(reply);
}

if (process.send !== undefined && process.env.FLASH_TORTURE !== undefined) {
  void new Worker(JSON.parse(process.env.FLASH_TORTURE) as Place).work();
}
