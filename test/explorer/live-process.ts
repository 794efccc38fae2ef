/**
 * One process that runs the real code: a Sequelize instance with `setupCache` on a store and a
 * database that do nothing by themselves. What the code asks of them comes out as operations, and
 * goes on when it is told the reply. Time stands still but for timers that are told to fire.
 *
 * Only one live process runs at a time, so replacing the global clock is safe.
 */
import { EventEmitter } from 'node:events';
import { DataTypes, Model, Sequelize } from 'sequelize';
import type * as Flash from '../../src/index.js';
import type { registryOf } from '../../src/caches/registry.js';
import type { StoreError } from '../../src/errors.js';
import type { Input, Op, Output, Reply, Settled, StoreOp } from './protocol-types.js';
import { taskOf, type Columns, type Hands, type RowModel, type TaskName } from './tasks.js';
import type * as clock from '../../src/clock.js';
import { Tokens } from './texts.js';

/** The compiled plugin that is explored: the one that was built, or a copy that was broken on purpose. */
export interface Plugin {
  readonly setupCache: typeof Flash.setupCache;
  readonly withCache: typeof Flash.withCache;
  readonly registryOf: typeof registryOf;
  readonly StoreTimeoutError: new (message: string) => StoreError;
  /** The module of its timers and clocks, `src/clock.ts`. */
  readonly clock: typeof clock;
}

/** What a process is and does. */
export interface ProcessSpec {
  /** Tasks of one thread follow each other; threads are concurrent. */
  readonly threads: readonly (readonly TaskName[])[];
  /** The store keeps the order of operations (`Store.inOrder`). */
  readonly inOrder: boolean;
  readonly onStoreFailure: Flash.OnStoreFailure;
  /** Milliseconds. */
  readonly leaseWait: number;
  /** How often the writers' heartbeat may beat. */
  readonly heartbeats: number;
  /** It has had so many misses that it places leases together with its looks. */
  readonly missesLikely: boolean;
  /** The largest value that the store takes, in bytes. */
  readonly maxValueBytes: number;
}

/** Seconds. */
export const writeLease = 10;

/** Timers that are set for longer never fire here: they are the connection pool's. */
const never = 60_000;

export class LiveProcess {
  readonly tokens = new Tokens();
  readonly #plugin: Plugin;
  readonly #spec: ProcessSpec;
  readonly #clock: Clock;
  readonly #pending = new Map<number, { readonly op: Op; settle(reply: Reply): void }>();
  readonly #progress: number[];
  #ops: { readonly number: number; readonly op: Op }[] = [];
  #settled: Settled[] = [];
  #issued = 0;
  #connections = 0;
  #hands: Hands | undefined;
  #flash: Flash.FlashCache | undefined;

  private constructor(plugin: Plugin, spec: ProcessSpec) {
    this.#plugin = plugin;
    this.#spec = spec;
    this.#clock = new Clock(spec.heartbeats);
    this.#progress = spec.threads.map(() => 0);
  }

  /** A new process; one with a single thread has begun it. */
  static async start(plugin: Plugin, spec: ProcessSpec): Promise<{ readonly process: LiveProcess; readonly output: Output }> {
    const process = new LiveProcess(plugin, spec);
    const output = await process.#turn(() => {
      process.#setUp();
      if (spec.threads.length === 1) process.#next(0);
    });
    return { process, output };
  }

  /** Lets something happen and runs until nothing is left to run. */
  async input(input: Input): Promise<Output> {
    return this.#turn(() => {
      switch (input.kind) {
        case 'start':
          this.#next(input.thread);
          break;
        case 'timer':
          this.#clock.fire();
          break;
        case 'pause':
          this.#clock.pause(input.milliseconds);
          break;
        case 'reply': {
          this.#learn(input.reply);
          const pending = this.#pending.get(input.op);
          if (pending === undefined) throw new RangeError(`operation ${input.op} is not pending`);
          this.#pending.delete(input.op);
          pending.settle(input.reply);
        }
      }
    });
  }

  async #turn(work: () => void): Promise<Output> {
    this.#ops = [];
    this.#settled = [];
    const leave = this.#clock.enter(this.#plugin.clock);
    try {
      work();
      do {
        // Nothing real is in flight, so all that can run has run when the event loop comes round.
        await new Promise((resolve) => {
          setImmediate(resolve);
        });
      } while (this.#clock.fireZero());
    } finally {
      leave();
    }
    return {
      ops: this.#ops,
      settled: this.#settled,
      timer: this.#clock.next?.delay,
      waiting: this.#flash?.undelivered ?? 0,
      tokens: this.tokens.count,
    };
  }

  #setUp(): void {
    const sequelize = new Sequelize('mysql://nobody@nowhere/model', {
      dialect: 'mysql',
      dialectModule: { createConnection: () => this.#connect() },
      databaseVersion: '10.11.0',
      keepDefaultTimezone: true,
      logging: false,
      pool: { max: 5, acquire: never, idle: never, evict: never },
    } as ConstructorParameters<typeof Sequelize>[1] & object);
    class Item extends Model<Columns, Columns> {}
    Item.init(
      {
        // Not chosen by the database, so that a missing row may be cached for as long as a row.
        id: { type: DataTypes.INTEGER, primaryKey: true },
        name: { type: DataTypes.STRING, unique: true },
        body: DataTypes.STRING,
      },
      { sequelize, timestamps: false },
    );
    this.#plugin.withCache(Item, { keys: ['id', 'name'] });
    const { inOrder, onStoreFailure, leaseWait, missesLikely, maxValueBytes } = this.#spec;
    this.#flash = this.#plugin.setupCache(sequelize, {
      store: {
        name: 'model',
        maxValueBytes,
        get: (keys) => this.#get(keys),
        add: (key, value, seconds) => this.#flag({ kind: 'add', key, text: this.tokens.abstract(value), seconds }),
        compareAndSwap: (key, value, version, seconds) =>
          this.#flag({ kind: 'swap', key, text: this.tokens.abstract(value), version: this.tokens.id(version), seconds }),
        compareAndDelete: (key, version) => this.#flag({ kind: 'remove', key, version: this.tokens.id(version) }),
        delete: (key) => this.#flag({ kind: 'delete', key }),
        close: () => Promise.resolve(),
        ...(inOrder ? { inOrder: () => true } : {}),
      },
      prefix: 'x',
      alias: 'x',
      maxHints: 4,
      recentBytes: 800,
      writeLease,
      onStoreFailure,
      leaseWait,
    });
    if (missesLikely) for (const { counters } of this.#plugin.registryOf(Item).of(Item)?.simple ?? []) counters.newMissRate = 1;
    this.#hands = { sequelize, rows: Item as unknown as RowModel };
  }

  /** Begins the next task of a thread. */
  #next(thread: number): void {
    const task = this.#progress[thread] as number;
    const name = this.#spec.threads[thread]?.[task];
    if (name === undefined || this.#hands === undefined) return;
    this.#progress[thread] = task + 1;
    const settle = (ok: boolean, value: unknown): void => {
      this.#settled.push({ thread, task, ok, text: this.tokens.abstract(JSON.stringify(value)) });
      if (this.#spec.threads.length === 1) this.#next(thread);
    };
    void taskOf(name)
      .run(this.#hands)
      .then(
        (value) => {
          settle(true, value);
        },
        (error: unknown) => {
          settle(false, error instanceof Error ? error.name : String(error));
        },
      );
  }

  // ---- The store ------------------------------------------------------------------------------

  #issue(op: Op, settle: (reply: Reply) => void): void {
    const number = this.#issued;
    this.#issued += 1;
    this.#pending.set(number, { op, settle });
    this.#ops.push({ number, op });
  }

  #flag(op: StoreOp): Promise<boolean> {
    return new Promise((resolve, reject) => {
      this.#issue(op, (reply) => {
        if (reply.kind === 'flag') resolve(reply.flag);
        else reject(new this.#plugin.StoreTimeoutError('the reply was lost'));
      });
    });
  }

  #get(keys: readonly string[]): Promise<Flash.StoreReply> {
    return new Promise((resolve) => {
      this.#issue({ kind: 'get', keys: [...keys] }, (reply) => {
        const items = new Map<string, Flash.StoreItem>();
        const failures = new Map<string, Error>();
        keys.forEach((key, at) => {
          if (reply.kind !== 'items') failures.set(key, new this.#plugin.StoreTimeoutError('the reply was lost'));
          else {
            const item = reply.items[at];
            if (item != null) items.set(key, { value: this.tokens.concrete(item.text), token: this.tokens.text(item.version) });
          }
        });
        resolve({ items, failures });
      });
    });
  }

  /** New numbers in a reply stand for tokens that this process meets for the first time. */
  #learn(reply: Reply): void {
    const ids =
      reply.kind === 'items'
        ? reply.items.flatMap((item) => (item === null ? [] : [...item.text.ids, item.version]))
        : reply.kind === 'rows'
          ? reply.rows.map(({ body }) => body)
          : [];
    for (const id of ids) while (this.tokens.count <= id) this.tokens.learn();
  }

  // ---- The database ---------------------------------------------------------------------------

  #connect(): EventEmitter {
    const number = this.#connections;
    this.#connections += 1;
    let inTransaction = false;
    let broken = false;
    const run = (sql: string, parameters: readonly unknown[], callback: Callback): void => {
      if (broken) {
        process.nextTick(() => {
          callback(broke());
        });
        return;
      }
      const instant = instantly(sql);
      if (instant !== undefined) {
        if (sql.startsWith('START TRANSACTION')) inTransaction = true;
        process.nextTick(() => {
          callback(null, instant);
        });
        return;
      }
      const text = this.tokens.abstract(`${sql}\n${JSON.stringify(parameters)}`);
      this.#issue({ kind: 'sql', connection: number, inTransaction, text }, (reply) => {
        if (sql.startsWith('COMMIT') || sql.startsWith('ROLLBACK')) inTransaction = false;
        switch (reply.kind) {
          case 'rows':
            callback(null, reply.rows.map((row) => ({ ...row, body: this.tokens.text(row.body) })));
            break;
          case 'count':
            callback(null, { affectedRows: reply.count, insertId: 0, warningStatus: 0 });
            break;
          case 'duplicate':
            callback(Object.assign(new Error(`Duplicate entry 'a' for key 'name'`), { errno: 1062, code: 'ER_DUP_ENTRY' }));
            break;
          default:
            broken = true;
            // So that the pool gives the connection up, as it does with a real one.
            connection._fatalError = true;
            callback(broke());
        }
      });
    };
    const connection = Object.assign(new EventEmitter(), {
      stream: { destroyed: false },
      _fatalError: false,
      execute: (sql: string, parameters: readonly unknown[], callback: Callback) => {
        run(sql, parameters, callback);
        return connection;
      },
      query: (query: string | { readonly sql: string }, callback: Callback) => {
        run(typeof query === 'string' ? query : query.sql, [], callback);
        return connection;
      },
      end: (callback: () => void) => {
        process.nextTick(callback);
      },
    });
    process.nextTick(() => {
      connection.emit('connect');
    });
    return connection;
  }
}

type Callback = (error: Error | null, result?: unknown) => void;

const broke = (): Error => Object.assign(new Error('Connection lost'), { errno: -104, code: 'ECONNRESET' });

/**
 * The answer to a statement that neither changes anything for others nor depends on them: when it
 * is answered makes no difference, so it needs no place in the schedule.
 */
function instantly(sql: string): unknown {
  if (sql.startsWith('START TRANSACTION') || sql.startsWith('SET ')) return { affectedRows: 0, insertId: 0, warningStatus: 0 };
  if (sql.startsWith('SHOW VARIABLES')) return [{ Variable_name: 'tx_isolation', Value: 'REPEATABLE-READ' }];
  return undefined;
}

interface Timer {
  readonly number: number;
  due: number;
  readonly delay: number;
  readonly repeats: boolean;
  readonly run: () => void;
}

/** A process's time: it passes only when a timer fires. */
class Clock {
  #now = 0;
  #timers = new Map<object, Timer>();
  #set = 0;
  #beats: number;

  constructor(beats: number) {
    this.#beats = beats;
  }

  /** The timer that is due next. */
  get next(): Timer | undefined {
    return [...this.#timers.values()]
      .filter(({ repeats, delay }) => (repeats ? this.#beats > 0 : delay < never))
      .sort((a, b) => a.due - b.due || a.number - b.number)[0];
  }

  /** Fires a timer that was set for no time at all (Sequelize's own): it may as well come at once. */
  fireZero(): boolean {
    for (const [handle, timer] of this.#timers) {
      if (timer.repeats || timer.delay > 0) continue;
      this.#timers.delete(handle);
      timer.run();
      return true;
    }
    return false;
  }

  pause(milliseconds: number): void {
    this.#now += milliseconds;
  }

  fire(): void {
    const timer = this.next;
    if (timer === undefined) throw new RangeError('no timer is set');
    this.#now = Math.max(this.#now, timer.due);
    if (timer.repeats) {
      this.#beats -= 1;
      timer.due += timer.delay;
    } else {
      for (const [handle, one] of this.#timers) if (one === timer) this.#timers.delete(handle);
    }
    timer.run();
  }

  /** Takes the place of the real clock, Sequelize's and the plugin's, until what it returns is called. */
  enter(ofPlugin: typeof clock): () => void {
    const { setTimeout, setInterval, clearTimeout, clearInterval } = globalThis;
    const before = { ...ofPlugin };
    const set = (repeats: boolean) => (callback: (...args: unknown[]) => void, delay = 0, ...args: unknown[]) => {
      const handle = { ref: () => handle, unref: () => handle, hasRef: () => false };
      this.#set += 1;
      this.#timers.set(handle, { number: this.#set, due: this.#now + delay, delay, repeats, run: () => callback(...args) });
      return handle;
    };
    const clear = (handle: object | undefined): void => {
      if (handle !== undefined) this.#timers.delete(handle);
    };
    const timers = { setTimeout: set(false), setInterval: set(true), clearTimeout: clear, clearInterval: clear };
    Object.assign(globalThis, timers);
    Object.assign(ofPlugin, timers, { monotonic: () => this.#now });
    // Sequelize tells of broken connections there.
    const warn: unknown = Reflect.get(console, 'warn');
    Reflect.set(console, 'warn', () => undefined);
    return () => {
      Object.assign(globalThis, { setTimeout, setInterval, clearTimeout, clearInterval });
      Object.assign(ofPlugin, before);
      Reflect.set(console, 'warn', warn);
    };
  }
}
