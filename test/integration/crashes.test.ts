/** `kill -9` at every step of every kind of write and of load: what other processes read afterwards. */
import assert from 'node:assert/strict';
import { fork, type ChildProcess } from 'node:child_process';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, sep } from 'node:path';
import { after, before, describe, it, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Sequelize } from 'sequelize';
import type { FlashCache, FlashEvents } from '../../src/index.js';
import { MemcachedStore } from '../../src/stores/memcached.js';
import type { Store, StoreToken } from '../../src/stores/store.js';
import { openBackend, type Backend } from '../support/backends.js';
import {
  loadActions,
  setUp,
  writeActions,
  type ActionName,
  type CrashOrder,
  type CrashPlace,
  type CrashReply,
  type CrashWorld,
} from '../support/crash-worker.js';
import { holdFirst, ObservedStore } from '../support/observed-store.js';
import { startMemcached, type MemcachedProcess } from '../support/memcached-process.js';
import { answersOf, createTable, defineTable, show, truthOf, type Answers, type TeamTable } from '../support/team-rows.js';

const writeLease = 4;
const leaseWait = 200;
/** How long a reader's lease stands, in seconds. */
const readLease = 3;
/** How long one stands of which a test is sure that others meet it, in seconds. */
const longLease = 60;
/** How often the steps are counted, and those crashed at that were missed before. */
const maxRounds = 6;

/** How many tables are read at the same time until all is cached. */
const readAtOnce = 8;

/** A process's view of many tables: a Sequelize instance with its cache. */
class Observer {
  readonly #sequelize: Sequelize;
  readonly #store: Store;
  readonly #cache: FlashCache;
  readonly #tables: ReadonlyMap<string, TeamTable>;
  #statements = 0;

  constructor(place: CrashPlace, tables: readonly string[], wrap: (store: Store) => Store = (store) => store) {
    this.#sequelize = new Sequelize(place.url, {
      dialect: 'mysql',
      logging: () => (this.#statements += 1),
      pool: { max: 4 },
    });
    this.#tables = new Map(tables.map((table) => [table, defineTable(this.#sequelize, table)]));
    this.#store = wrap(new MemcachedStore(place.memcached, { timeoutMs: 20_000 }));
    this.#cache = setUp(this.#sequelize, this.#store, place);
  }

  /** Connects both servers, so that connecting takes no part in what is read next. */
  async connect(): Promise<void> {
    await Promise.all([this.#store.get(['connect']), this.#sequelize.query('SELECT 1')]);
  }

  /** Every lookup in these tables, and how many SQL statements that took. */
  async read(only: readonly string[]): Promise<{ answers: ReadonlyMap<string, Answers>; statements: number }> {
    const statements = this.#statements;
    const answers = await Promise.all(
      only.map(async (table) => [table, await answersOf(this.#tables.get(table) ?? assert.fail(table))] as const),
    );
    return { answers: new Map(answers), statements: this.#statements - statements };
  }

  /** One lookup by a secondary key. */
  async readByName(table: string, name: string): Promise<string | null> {
    return show(await this.#tables.get(table)?.Row.cache.getOrNone({ name }));
  }

  /** A write by this process. */
  async write(table: string): Promise<void> {
    await this.#tables.get(table)?.Row.update({ count: 500 }, { where: { id: 1 } });
  }

  async close(): Promise<void> {
    await this.#cache.close(0);
    await this.#store.close();
    await this.#sequelize.close();
  }
}

/** A store whose values do not expire while a test runs. */
class LastingStore extends ObservedStore {
  override compareAndSwap(key: string, value: string, token: StoreToken, ttlSeconds: number): Promise<boolean> {
    return super.compareAndSwap(key, value, token, ttlSeconds === 0 ? 0 : 3600);
  }
}

/** Reads until nothing is asked of the database. */
async function cachedEverything(tables: readonly string[], read: (only: readonly string[]) => Promise<{ readonly statements: number }>): Promise<void> {
  // A few tables after the other: entries "no such row" last no longer than `writeLease`, which reading all of them may take.
  for (let at = 0; at < tables.length; at += readAtOnce) {
    const some = tables.slice(at, at + readAtOnce);
    let statements = Infinity;
    for (let round = 0; round < 10 && statements > 0; round += 1) ({ statements } = await read(some));
    assert.equal(statements, 0, `it is cached: ${some.join(', ')}`);
  }
}

/** Whether a reader's lease stands after this step of a load. */
const isLeased = (step: string): boolean => /^after add [irq] /.test(step);

describe('a process that is killed', { concurrency: 4 }, () => {
  let backend: Backend;
  let memcached: MemcachedProcess;
  let place: CrashPlace;

  before(async () => {
    memcached = await startMemcached();
    backend = await openBackend('mariadb');
    const { username, password, host, port, database } = backend.sequelize.config as unknown as Readonly<Record<string, string>>;
    place = {
      url: `mysql://${username ?? ''}:${password ?? ''}@${host ?? ''}:${port ?? ''}/${database ?? ''}`,
      memcached: memcached.address,
      prefix: 'crashes',
      alias: 'main',
      writeLease,
      leaseWait,
    };
  });
  after(async () => {
    await backend.close();
    await memcached.stop();
  });

  async function truthsOf(tables: readonly string[]): Promise<ReadonlyMap<string, Answers>> {
    return new Map(await Promise.all(tables.map(async (table) => [table, await truthOf(backend.sequelize, table)] as const)));
  }

  async function startWorker(t: TestContext, at = place): Promise<ChildProcess> {
    const child = fork(join(__dirname, '../support/crash-worker.js'), {
      env: { ...process.env, FLASH_TEST_CRASH: JSON.stringify(at) },
    });
    t.after(() => child.kill('SIGKILL'));
    await once(child, 'message');
    return child;
  }

  /** Sends an order; resolves to the answer of this kind. */
  async function order<K extends CrashReply['kind']>(worker: ChildProcess, what: CrashOrder, kind: K): Promise<Extract<CrashReply, { kind: K }>> {
    worker.send(what);
    const answered = new AbortController();
    const { signal } = answered;
    try {
      const ended = once(worker, 'disconnect', { signal }).then(() => assert.fail('it ended without an answer'));
      const [reply] = (await Promise.race([once(worker, 'message', { signal }), ended])) as [CrashReply];
      if (reply.kind !== kind) assert.fail(JSON.stringify(reply));
      return reply as Extract<CrashReply, { kind: K }>;
    } finally {
      answered.abort();
    }
  }

  /** Makes the action once to the end; its steps. */
  async function stepsOf(worker: ChildProcess, action: ActionName, table: string): Promise<readonly string[]> {
    return (await order(worker, { do: 'count', action, table }, 'steps')).steps;
  }

  /** Kills it at the worlds' steps; resolves to the worlds that ended before theirs. */
  async function crash(worker: ChildProcess, action: ActionName, worlds: readonly CrashWorld[]): Promise<readonly CrashWorld[]> {
    const exit = once(worker, 'exit') as Promise<[number | null, NodeJS.Signals | null]>;
    const { missed } = await order(worker, { do: 'crash', action, worlds }, 'crashed');
    const [, signal] = await exit;
    assert.equal(signal, 'SIGKILL');
    return missed;
  }

  /** Kills at every step, and compares every later answer with the database. */
  async function killAtEveryStep(t: TestContext, action: ActionName, warm: boolean, lease: number): Promise<void> {
    const slug = action.replace(/\W+/g, '_');
    const crashed = new Set<string>();
    for (let round = 1; ; round += 1) {
      const worker = await startWorker(t);
      const steps = await countSteps(t, worker, action, warm, `${slug}_${String(round)}_count`);
      t.diagnostic(`${action}: ${String(steps.length)} steps`);
      const left = steps.filter((step) => !crashed.has(step));
      if (left.length === 0) return;
      assert.ok(warm || steps.some(isLeased), `a load without a lease: ${steps.join(', ')}`);
      assert.ok(round <= maxRounds, `steps that were not reached in ${String(maxRounds)} rounds: ${left.join(', ')}`);
      const missed = await killAt(t, worker, action, warm, lease, left, `${slug}_${String(round)}`);
      for (const step of left) if (!missed.includes(step)) crashed.add(step);
      if (missed.length === 0) return;
      // On a slow machine an entry may expire, or a marker be renewed, in one run and not in another.
      // With few tables left everything stands; a step that was no more than a renewal is not counted again.
      t.diagnostic(`${action}: missed ${missed.join(', ')}`);
    }
  }

  /** The steps of an action when all entries stand that it may meet: in this table they do not expire. */
  async function countSteps(t: TestContext, worker: ChildProcess, action: ActionName, warm: boolean, table: string): Promise<readonly string[]> {
    await createTable(backend.sequelize, table);
    if (warm) await warmUp(t, [table], (store) => new LastingStore(store));
    return stepsOf(worker, action, table);
  }

  async function warmUp(t: TestContext, tables: readonly string[], wrap?: (store: Store) => Store): Promise<Observer> {
    const observer = new Observer(place, tables, wrap);
    t.after(() => observer.close());
    await cachedEverything(tables, (only) => observer.read(only));
    return observer;
  }

  /** Kills at these steps, and compares every later answer with the database. Resolves to the steps that were not reached. */
  async function killAt(
    t: TestContext,
    worker: ChildProcess,
    action: ActionName,
    warm: boolean,
    lease: number,
    steps: readonly string[],
    slug: string,
  ): Promise<readonly string[]> {
    // The last one is killed when the action has come to its end.
    const worlds: readonly CrashWorld[] = [...steps.map((stopAt, at) => ({ table: `${slug}_${String(at)}`, stopAt })), { table: `${slug}_end` }];
    const tables = worlds.map(({ table }) => table);
    // On a slow machine a lease could be over before anybody meets it.
    const stopAt = warm ? undefined : steps.find(isLeased);
    const leased = stopAt === undefined ? [] : [{ table: `${slug}_leased`, stopAt, leaseSeconds: longLease }];
    const all = [...tables, ...leased.map(({ table }) => table)];
    await Promise.all(all.map((table) => createTable(backend.sequelize, table)));
    const old = await truthsOf(tables);
    await order(worker, { do: 'prepare', action, tables: all }, 'prepared');
    // Another process, that knows no way to any row yet.
    const cold = new Observer(place, all);
    t.after(() => cold.close());
    const warmed = warm ? await warmUp(t, tables) : new Observer(place, tables);
    if (!warm) t.after(() => warmed.close());

    const missed = await crash(worker, action, [...worlds, ...leased]);
    const killed = performance.now();
    let truths = await truthsOf(tables);
    let late = 0;
    /** @param settled what a crash may leave for `writeLease` is over */
    const check = async (observer: Observer, settled: boolean, only: readonly string[] = tables): Promise<{ statements: number }> => {
      const { answers, statements } = await observer.read(only);
      for (const { table, stopAt } of worlds.filter(({ table }) => only.includes(table))) {
        for (const [what, truth] of truths.get(table) ?? []) {
          const answer = answers.get(table)?.get(what);
          if (answer === truth) continue;
          late += 1;
          // "No such row" under an id that the database chose: the one answer that a crash leaves wrong for a while.
          const chosenLater = answer === null && what.startsWith('id ') && old.get(table)?.get(what) === null;
          assert.ok(
            chosenLater && !settled,
            `killed at '${stopAt ?? 'the end'}': ` +
              `${what} is answered with ${String(answer)}; the database has ${String(truth)}, and had ${String(old.get(table)?.get(what))}`,
          );
        }
      }
      return { statements };
    };

    for (const { table } of leased) {
      // A lease that nobody will ever fill is soon passed by.
      let passedBy = 0;
      const listen = (message: unknown): void => {
        const { cache, reason } = message as FlashEvents['bypass'];
        if (reason === 'lease-wait' && cache.includes(table)) passedBy += 1;
      };
      subscribe('sequelize-flash:bypass', listen);
      const { answers } = await cold.read([table]);
      unsubscribe('sequelize-flash:bypass', listen);
      assert.ok(passedBy > 0, `reads waited for a killed reader's lease in ${table}`);
      assert.deepEqual(answers.get(table), await truthOf(backend.sequelize, table));
    }
    await Promise.all([check(cold, false), check(warmed, false)]);
    if (!warm) {
      // A write does not mind it either.
      const written = tables.filter((_, at) => at % 2 === 0);
      await Promise.all(written.map((table) => cold.write(table)));
      truths = await truthsOf(tables);
      await Promise.all([check(cold, true), check(warmed, true)]);
    }
    for (const wait of [0.2, 0.6, 1]) {
      await sleep(Math.max(0, killed + wait * lease * 1000 - performance.now()));
      await Promise.all([check(cold, false), check(warmed, false)]);
    }
    // memcached counts in whole seconds.
    await sleep(Math.max(0, killed + (lease + 1) * 1000 - performance.now()));
    for (const observer of [warmed, cold]) {
      await check(observer, true);
      await cachedEverything(tables, (only) => check(observer, true, only));
    }
    if (late > 0) t.diagnostic(`${action}: ${String(late)} times 'no such row' under the id of a new one, within writeLease`);
    return missed.flatMap(({ stopAt }) => stopAt ?? []);
  }

  for (const action of Object.keys(writeActions) as (keyof typeof writeActions)[]) {
    it(`at every step of a write: ${action}`, (t) => killAtEveryStep(t, action, true, writeLease));
  }
  for (const action of Object.keys(loadActions) as (keyof typeof loadActions)[]) {
    it(`at every step of a load: ${action}`, (t) => killAtEveryStep(t, action, false, readLease));
  }

  it('after its commit, while a reader that found the old row is held up for longer than the marker stands', async (t) => {
    await createTable(backend.sequelize, 'held_up');
    await createTable(backend.sequelize, 'held_up_0');
    // Readers in time are those who place their lease before half of it is over.
    const longer = { ...place, writeLease: 6 };
    const worker = await startWorker(t, longer);
    const steps = await stepsOf(worker, 'save', 'held_up_0');
    const committed = steps.find((step) => step.startsWith('after COMMIT ')) ?? assert.fail(steps.join());
    await order(worker, { do: 'prepare', action: 'save', tables: ['held_up'] }, 'prepared');
    let observed: ObservedStore | undefined;
    const reader = new Observer(longer, ['held_up'], (store) => (observed = new ObservedStore(store)));
    const other = new Observer(longer, ['held_up']);
    t.after(() => Promise.all([reader.close(), other.close()]));
    await reader.connect();
    // The row is found by its name, so its lease is placed after the query: there the reader is held.
    const { reached, release } = holdFirst(observed ?? assert.fail(), (operation, key) => operation === 'add' && key.includes(':r:'));
    const answer = reader.readByName('held_up', 'a');
    await Promise.race([reached, answer.then(() => assert.fail('it was not held: the query took too long'))]);
    assert.deepEqual(await crash(worker, 'save', [{ table: 'held_up', stopAt: committed }]), []);
    await sleep((longer.writeLease + 1) * 1000);
    release();
    assert.equal(await answer, JSON.stringify([1, 'a', 'x', 1]), 'it asked before the write');
    const truth = await truthOf(backend.sequelize, 'held_up');
    for (const observer of [other, reader, other]) {
      assert.deepEqual((await observer.read(['held_up'])).answers.get('held_up'), truth);
    }
  });

  it('at any time, while others read what it writes', async (t) => {
    const tables = Array.from({ length: 5 }, (_, at) => `random_${String(at)}`);
    await Promise.all(tables.map((table) => createTable(backend.sequelize, table)));
    const observer = new Observer(place, tables);
    t.after(() => observer.close());
    const countOf = (answer: string | null | undefined): number => (JSON.parse(answer ?? 'null') as [number, string, string, number])[3];
    let reads = 0;
    let writes = 0;
    await Promise.all(
      tables.map(async (table) => {
        const worker = await startWorker(t);
        let written = 1;
        const failures: CrashReply[] = [];
        worker.on('message', (reply: CrashReply) => {
          if (reply.kind === 'wrote') written = reply.count;
          else failures.push(reply);
        });
        const exit = once(worker, 'exit');
        worker.send({ do: 'churn', table } satisfies CrashOrder);
        while (written === 1 && failures.length === 0) await once(worker, 'message');
        const killAt = performance.now() + 200 + Math.random() * 800;
        while (performance.now() < killAt) {
          const least = written;
          const { answers } = await observer.read([table]);
          reads += 2;
          for (const what of ['id 1', 'name a']) {
            const count = countOf(answers.get(table)?.get(what));
            // Whatever was rolled back is negative.
            assert.ok(count >= least, `${what} has ${String(count)} after ${String(least)} was written`);
          }
        }
        worker.kill('SIGKILL');
        await exit;
        assert.deepEqual(failures, []);
        writes += written;
        await sleep((writeLease + 1) * 1000);
        const truth = await truthOf(backend.sequelize, table);
        for (let round = 0; round < 2; round += 1) assert.deepEqual((await observer.read([table])).answers.get(table), truth);
      }),
    );
    t.diagnostic(`${String(tables.length)} kills in ${String(writes)} writes and ${String(reads)} reads`);
  });
});

describe('what ships', () => {
  const root = join(__dirname, '..', '..', '..');
  const filesOf = (folder: string): readonly string[] =>
    readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile() && /\.[cm]?[jt]s$/.test(entry.name))
      .map((entry) => join(entry.parentPath, entry.name));
  const sources = filesOf('src').map((path) => ({ path, text: readFileSync(path, 'utf8') }));

  it('has no failpoint and no other hook for tests', () => {
    const built = existsSync(join(root, 'dist')) ? filesOf('dist').map((path) => ({ path, text: readFileSync(path, 'utf8') })) : [];
    assert.ok(sources.length > 20);
    for (const { path, text } of [...sources, ...built]) {
      // Helpers for users' own suites, which nothing else that ships may import: an import rule holds that.
      if (path.includes(`${sep}testing${sep}`)) continue;
      assert.doesNotMatch(text, /fail-?\s?points?\b|NODE_ENV|NODE_TEST|for tests only|test-only|ForTest/i, path);
    }
  });

  it('reads exactly the environment variables that .env.example lists for the plugin', () => {
    const [plugin = ''] = readFileSync(join(root, '.env.example'), 'utf8').split('# ---- The demo');
    const listed = new Set(plugin.match(/\bSEQUELIZE_FLASH_\w+(?==)/g));
    const used = new Set<string>();
    for (const { path, text } of sources) {
      const code = text.replace(/\/\*[^]*?\*\/|\/\/.*/g, '');
      for (const [name] of code.matchAll(/\bSEQUELIZE_FLASH_\w+/g)) used.add(name);
      // By name, or by a name that is a text of the same file; no other variable, and not by destructuring.
      for (const [access, name = ''] of code.matchAll(/(?<!-)\benv(?:\.(\w+)|\[(?!name\])|\s*\}?\s*=\s*process\b)|\}\s*=\s*(?:process\.)?env\b/g)) {
        if (access !== 'env = process') assert.match(name, /^SEQUELIZE_FLASH_/, `${path}: ${access}`);
      }
    }
    assert.deepEqual([...used].sort(), [...listed].sort());
  });
});
