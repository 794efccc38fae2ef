/** MariaDB that restarts, kills connections, loses them around COMMIT, deadlocks, refuses and makes wait. */
import assert from 'node:assert/strict';
import { connect, type Socket } from 'node:net';
import { fork } from 'node:child_process';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { once } from 'node:events';
import { join } from 'node:path';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Sequelize, UniqueConstraintError, type Transaction } from 'sequelize';
import { setupCache, type FlashCache } from '../../src/index.js';
import { MemcachedStore } from '../../src/stores/memcached.js';
import type { CrashOrder, CrashPlace } from '../support/crash-worker.js';
import { startMariadb, type MariadbServer } from '../support/mariadb-process.js';
import { startMemcached, type MemcachedProcess } from '../support/memcached-process.js';
import { ObservedStore } from '../support/observed-store.js';
import { beforeStatements, Hold } from '../support/statements.js';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.js';
import { answersOf, createTable, defineTable, truthOf, type TeamTable } from '../support/team-rows.js';

const writeLease = 2;
/** Longer than any statement here waits for a lock. */
const lockWaitTimeout = 5;

/** What one process has of the table. */
interface Stack {
  readonly sequelize: Sequelize;
  readonly store: ObservedStore;
  readonly flash: FlashCache;
  readonly models: TeamTable;
  /** SQL statements so far. */
  readonly statements: () => number;
  /** Called before each statement. */
  before: (sql: string) => Promise<void> | undefined;
}

describe('a database that fails', () => {
  let mariadb: MariadbServer;
  let memcached: MemcachedProcess;
  let proxy: TcpProxy;
  let admin: Sequelize;
  /** Writes through the proxy. */
  let writer: Stack;
  let reader: Stack;
  let stacks: Stack[] = [];
  const blockers: Transaction[] = [];
  let tables = 0;
  let table = '';

  before(async () => {
    [mariadb, memcached] = await Promise.all([startMariadb(), startMemcached()]);
    proxy = await startTcpProxy(mariadb.port);
    admin = new Sequelize(mariadb.url, { dialect: 'mysql', logging: false, pool: { max: 4 } });
    await admin.query('CREATE DATABASE failures CHARACTER SET utf8mb4');
    await admin.close();
    admin = new Sequelize(`${mariadb.url}failures`, { dialect: 'mysql', logging: false, pool: { max: 4 } });
  });
  after(async () => {
    await admin.close();
    await proxy.close();
    await Promise.all([mariadb.stop(), memcached.stop()]);
  });
  beforeEach(async () => {
    tables += 1;
    table = `rows_${String(tables)}`;
    await createTable(admin, table);
    writer = open(proxy.port);
    reader = open(mariadb.port);
    await assertCached();
  });
  afterEach(async () => {
    proxy.filter();
    // Of a test that failed.
    for (const blocker of blockers.splice(0)) if (!('finished' in blocker)) await blocker.rollback();
    for (const { flash, store, sequelize } of stacks) {
      await flash.close(0);
      await store.close();
      await sequelize.close();
    }
    stacks = [];
  });

  function open(port: number): Stack {
    // One database, which the writer reaches through the proxy.
    const stream = (): Socket => connect(port, '127.0.0.1');
    const sequelize = new Sequelize(`${mariadb.url}failures`, { dialect: 'mysql', logging: false, pool: { max: 4 }, dialectOptions: { stream } });
    let statements = 0;
    beforeStatements(sequelize, (sql) => {
      statements += 1;
      return stack.before(sql);
    });
    const models = defineTable(sequelize, table);
    const store = new ObservedStore(new MemcachedStore(memcached.address, { timeoutMs: 10_000 }));
    const flash = setupCache(sequelize, { store, prefix: 'database', alias: 'main', writeLease, lockWaitTimeout, leaseWait: 200 });
    const stack: Stack = { sequelize, store, flash, models, statements: () => statements, before: () => undefined };
    stacks.push(stack);
    return stack;
  }

  /** Locks the first row until the transaction is rolled back. */
  async function lockRow(): Promise<Transaction> {
    const blocker = await admin.transaction();
    blockers.push(blocker);
    await admin.query(`SELECT * FROM ${table} WHERE id = 1 FOR UPDATE`, { transaction: blocker });
    return blocker;
  }

  async function assertTrue(...of: readonly Stack[]): Promise<void> {
    const truth = await truthOf(admin, table);
    for (const { models } of of) assert.deepEqual(await answersOf(models), truth);
  }

  /**
   * Right at once, and soon nothing is asked of the database: no marker and no lease is left. A write
   * whose end is not known asks every 100 ms whether it is over, so it may take a while, but not as
   * long as a marker that nobody removes.
   */
  async function assertCached(...of: readonly Stack[]): Promise<void> {
    for (const stack of of.length === 0 ? [reader, writer] : of) {
      const until = performance.now() + (writeLease * 1000) / 2;
      for (;;) {
        const from = stack.statements();
        await assertTrue(stack);
        const asked = stack.statements() - from;
        if (asked === 0) break;
        assert.ok(performance.now() < until, `it is not cached: ${String(asked)} statements`);
        await sleep(10);
      }
    }
  }

  const update = (stack: Stack, count: number, id = 1, transaction?: Transaction): Promise<unknown> =>
    stack.models.Row.update({ count }, { where: { id }, ...(transaction === undefined ? {} : { transaction }) });

  const inTransaction = (stack: Stack, count: number): Promise<unknown> =>
    stack.sequelize.transaction(async (transaction) => {
      await update(stack, count, 1, transaction);
      await stack.models.Row.create({ name: 'new', team: 'x', count }, { transaction });
    });

  const kinds: Readonly<Record<string, (stack: Stack, count: number) => Promise<unknown>>> = {
    'an autocommitted write': (stack, count) => stack.models.Row.upsert({ name: 'a', team: 'y', count }),
    'a save': async (stack, count) => (await stack.models.Row.findByPk(1, { rejectOnEmpty: true })).update({ count }),
    'a transaction': inTransaction,
    'a write with a transaction of its own': (stack, count) => stack.models.Row.update({ count, team: 'z' }, { where: { team: 'x' } }),
  };

  for (const [name, write] of Object.entries(kinds)) {
    for (const [when, pattern, from] of [
      ['before the statement reaches the server', /INSERT|UPDATE `|UPDATE rows/, 'client'],
      ['after it was executed, before its answer', /INSERT|UPDATE `|UPDATE rows/, 'server'],
      ['before COMMIT reaches the server', /COMMIT/, 'client'],
      ['after COMMIT was executed, before its answer', /COMMIT/, 'server'],
    ] as const) {
      if (name === 'an autocommitted write' && when.includes('COMMIT')) continue;
      it(`the connection is lost during ${name}, ${when}`, async () => {
        let armed = true;
        const sent = new Set<number>();
        proxy.filter((piece) => {
          if (!armed) return 'forward';
          if (piece.from === 'client') {
            if (!pattern.test(piece.data.toString('latin1'))) return 'forward';
            if (from === 'client') {
              armed = false;
              return 'reset';
            }
            sent.add(piece.connection);
            return 'forward';
          }
          if (!sent.has(piece.connection)) return 'forward';
          armed = false;
          return 'reset';
        });
        await assert.rejects(write(writer, 100));
        assert.equal(armed, false, 'the statement was seen');
        // The server notices that its client is gone, and rolls back what was not committed.
        for (let settled = ''; ; ) {
          const now = JSON.stringify([...(await truthOf(admin, table))]);
          await assertTrue(reader, writer);
          if (now === settled) break;
          settled = now;
          await sleep(50);
        }
        // Without waiting for writeLease.
        await assertCached();
        await update(writer, 200);
        await assertCached();
      });
    }
  }

  it('KILL of the connection while its statement waits for a lock', async () => {
    const blocker = await lockRow();
    const write = assert.rejects(inTransaction(writer, 100));
    await waitFor(async () => (await waitingThreads()).length > 0);
    const [thread] = await waitingThreads();
    await admin.query(`KILL ${String(thread)}`);
    await write;
    await blocker.rollback();
    await assertCached();
  });

  it('a statement that waits for a lock longer than writeLease: its marker stands, and readers do not fill meanwhile', async () => {
    const blocker = await lockRow();
    const write = writer.models.Row.upsert({ id: 1, name: 'a', team: 'y', count: 100 });
    await waitFor(async () => (await waitingThreads()).length > 0);
    const until = performance.now() + (writeLease + 2) * 1000;
    while (performance.now() < until) {
      const from = reader.statements();
      assert.equal((await reader.models.Row.cache.get({ id: 1 })).count, 1);
      assert.ok(reader.statements() > from, 'it was filled while the write was in flight');
      await sleep(100);
    }
    await blocker.rollback();
    await write;
    await assertCached();
  });

  /** The statement goes on in the server, and is committed when the lock is free. */
  for (const how of ['whose process is killed', 'whose connection is lost'] as const) {
    it(`a writer ${how} while its autocommitted statement waits for a lock: what the server does later is seen`, async (t) => {
      // It takes a while after it has the lock, so that whoever looks too early sees that.
      await admin.query(`CREATE TRIGGER slow_${table} BEFORE UPDATE ON ${table} FOR EACH ROW DO SLEEP(0.3)`);
      const blocker = await lockRow();
      if (how === 'whose process is killed') {
        const url = `${mariadb.url}failures`;
        const place: CrashPlace = { url, memcached: memcached.address, prefix: 'database', alias: 'main', writeLease, lockWaitTimeout, leaseWait: 200 };
        const worker = fork(join(__dirname, '../support/crash-worker.js'), { env: { ...process.env, FLASH_TEST_CRASH: JSON.stringify(place) } });
        t.after(() => worker.kill('SIGKILL'));
        await once(worker, 'message');
        worker.send({ do: 'count', action: 'upsert (wide)', table } satisfies CrashOrder);
        await waitFor(async () => (await waitingThreads()).length > 0);
        worker.kill('SIGKILL');
        await once(worker, 'exit');
      } else {
        const write = assert.rejects(writer.models.Row.upsert({ name: 'a', team: 'y', count: 100 }));
        await waitFor(async () => (await waitingThreads()).length > 0);
        proxy.cut();
        await write;
      }
      const [thread] = await waitingThreads();
      assert.ok(thread !== undefined, 'it still waits');
      await sleep((writeLease + 1) * 1000);
      await assertTrue(reader, writer);
      await assertTrue(reader, writer);
      await blocker.rollback();
      // The server ends a thread without client when its statement is committed, not when that has its lock.
      await waitFor(async () => !(await isThread(thread)));
      t.diagnostic(`the database has ${String((await truthOf(admin, table)).get('id 1'))}`);
      await assertTrue(reader, writer);
      // Since the process was killed or the connection lost, writeLease + 1 have passed already.
      await sleep(lockWaitTimeout * 1000);
      await assertCached();
    });
  }

  it('a lock wait that times out', async () => {
    const blocker = await lockRow();
    await assert.rejects(
      writer.sequelize.transaction(async (transaction) => {
        await writer.sequelize.query('SET innodb_lock_wait_timeout = 1', { transaction });
        await update(writer, 50, 2, transaction);
        await update(writer, 100, 1, transaction);
      }),
      /Lock wait timeout/,
    );
    await blocker.rollback();
    await assertCached();
  });

  for (const inSavepoint of [false, true]) {
    it(`a deadlock ${inSavepoint ? 'in a savepoint' : 'in a transaction'}: the victim's rows and the winner's are right`, async () => {
      const both = new Hold();
      let met = 0;
      const meet = async (): Promise<void> => {
        met += 1;
        if (met === 2) both.release();
        else await both.here();
      };
      const cross = (stack: Stack, ids: readonly [number, number], count: number): Promise<unknown> =>
        stack.sequelize.transaction(async (outer) => {
          const run = async (transaction: Transaction): Promise<void> => {
            await update(stack, count, ids[0], transaction);
            await meet();
            await update(stack, count, ids[1], transaction);
          };
          if (inSavepoint) await stack.sequelize.transaction({ transaction: outer }, run);
          else await run(outer);
        });
      const outcomes = await Promise.allSettled([cross(writer, [1, 2], 100), cross(reader, [2, 1], 200)]);
      assert.deepEqual(outcomes.map(({ status }) => status).sort(), ['fulfilled', 'rejected']);
      await assertTrue(reader, writer);
      await assertCached();
    });
  }

  for (const inTransaction of [false, true]) {
    it(`two inserts of a key that is there, at the same time${inTransaction ? ', in transactions' : ''}: refused for that, without a deadlock of ours`, async () => {
      // Each holds a shared lock on the row when it reads what it may have written.
      const both = new Hold();
      let met = 0;
      const errors: unknown[] = [];
      const note = (error: unknown): unknown => errors.push(error);
      subscribe('sequelize-flash:error', note);
      try {
        for (const stack of [writer, reader]) {
          let inserting = false;
          stack.before = (sql) => {
            if (sql.startsWith('INSERT')) inserting = true;
            if (!inserting || !sql.startsWith('SELECT')) return undefined;
            inserting = false;
            met += 1;
            if (met < 2) return both.here();
            both.release();
            return undefined;
          };
        }
        // The team that is not written is the database's to choose, so the row is read.
        const insert = (stack: Stack, transaction?: Transaction): Promise<unknown> =>
          stack.models.Row.create({ id: 1, name: 'new', count: 1 } as never, { transaction: transaction ?? null });
        const outcomes = await Promise.allSettled(
          [writer, reader].map((stack) =>
            inTransaction
              ? stack.sequelize.transaction(async (transaction) => {
                  await assert.rejects(insert(stack, transaction), UniqueConstraintError);
                  // Nor has it ended.
                  await update(stack, 100, stack === writer ? 3 : 4, transaction);
                })
              : assert.rejects(insert(stack), UniqueConstraintError),
          ),
        );
        // Outside of a transaction of the program's, a statement that failed is undone as a whole: nothing is read after it.
        assert.equal(met, inTransaction ? 2 : 0);
        assert.deepEqual(outcomes.map((outcome) => (outcome.status === 'rejected' ? String(outcome.reason) : 'right')), ['right', 'right']);
        assert.deepEqual(errors, []);
        await assertCached();
      } finally {
        unsubscribe('sequelize-flash:error', note);
      }
    });
  }

  it('a server that is read-only: the write is rejected, no marker is left', async () => {
    await admin.query(`CREATE USER IF NOT EXISTS 'plain'@'127.0.0.1' IDENTIFIED BY 'plain'`);
    await admin.query(`GRANT SELECT, INSERT, UPDATE, DELETE ON failures.* TO 'plain'@'127.0.0.1'`);
    const url = new URL(`${mariadb.url}failures`);
    url.username = 'plain';
    url.password = 'plain';
    const sequelize = new Sequelize(url.href, { dialect: 'mysql', logging: false });
    const models = defineTable(sequelize, table);
    const store = new ObservedStore(new MemcachedStore(memcached.address, { timeoutMs: 10_000 }));
    const flash = setupCache(sequelize, { store, prefix: 'database', alias: 'main', writeLease, leaseWait: 200 });
    const plain: Stack = { sequelize, store, flash, models, statements: () => 0, before: () => undefined };
    stacks.push(plain);
    await assertTrue(plain);
    await admin.query('SET GLOBAL read_only = 1');
    try {
      for (const [name, write] of Object.entries(kinds)) {
        await assert.rejects(write(plain, 100), /read-only/, name);
        await assertCached();
      }
      await assertTrue(plain);
    } finally {
      await admin.query('SET GLOBAL read_only = 0');
    }
    for (const write of Object.values(kinds)) {
      await Promise.allSettled([write(plain, 200)]);
      await assertTrue(plain, reader, writer);
    }
    await assertCached();
  });

  for (const how of ['killed', 'stopped in order'] as const) {
    it(`${how} during writes and loads, and started again: errors meanwhile, right answers after, nothing left in the cache`, async () => {
      const writeHold = new Hold();
      writer.before = (sql) => (sql.startsWith('COMMIT') ? writeHold.here() : undefined);
      const write = assert.rejects(inTransaction(writer, 100));
      await writeHold.reached;
      // A load that is in the server when that goes down.
      const loadHold = new Hold();
      await memcached.command('flush_all\r\n');
      reader.before = (sql) => (sql.startsWith('SELECT') ? loadHold.here() : undefined);
      const load = assert.rejects(reader.models.Row.cache.get({ id: 1 }));
      await loadHold.reached;
      if (how === 'killed') await mariadb.kill();
      await mariadb.restart();
      writeHold.release();
      loadHold.release();
      await Promise.all([write, load]);
      writer.before = () => undefined;
      reader.before = () => undefined;
      await waitFor(() => Promise.allSettled([truthOf(admin, table)]).then(([outcome]) => outcome.status === 'fulfilled'));
      await waitFor(() => Promise.allSettled([assertTrue(reader), assertTrue(writer)]).then((all) => all.every(isRight)));
      await assertCached();
    });
  }

  it('a load that fails leaves no lease that others would wait for', async () => {
    await memcached.command('flush_all\r\n');
    let armed = true;
    writer.before = (sql) => {
      if (armed && sql.startsWith('SELECT')) {
        armed = false;
        proxy.cut();
      }
      return undefined;
    };
    await assert.rejects(writer.models.Row.cache.get({ id: 1 }));
    const bypasses: unknown[] = [];
    const listen = (message: unknown): void => void bypasses.push(message);
    subscribe('sequelize-flash:bypass', listen);
    try {
      assert.equal((await reader.models.Row.cache.get({ id: 1 })).count, 1);
    } finally {
      unsubscribe('sequelize-flash:bypass', listen);
    }
    assert.deepEqual(bypasses, []);
    await assertCached();
  });

  /** Whether the server still has a thread. */
  async function isThread(id: number): Promise<boolean> {
    const [found] = await admin.query(`SELECT 1 FROM information_schema.processlist WHERE id = ${String(id)}`);
    return found.length > 0;
  }

  /** Threads of the server that wait for a row lock in this test's table. */
  async function waitingThreads(): Promise<number[]> {
    const [found] = (await admin.query(
      `SELECT trx_mysql_thread_id AS id FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT' AND trx_query LIKE '%${table}%'`,
    )) as [{ readonly id: number }[], unknown];
    return found.map(({ id }) => id);
  }
});

/** Errors of the database are answers here; wrong answers are not. */
function isRight(outcome: PromiseSettledResult<unknown>): boolean {
  if (outcome.status === 'fulfilled') return true;
  if (outcome.reason instanceof assert.AssertionError) throw outcome.reason;
  return false;
}

async function waitFor(holds: () => Promise<boolean>): Promise<void> {
  const until = performance.now() + 20_000;
  while (!(await holds())) {
    assert.ok(performance.now() < until, 'it never came to that');
    // InnoDB shows its transactions anew only if nobody has looked for 100 ms.
    await sleep(150);
  }
}
