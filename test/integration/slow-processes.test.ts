/** Loads that take longer than a lease, in several processes: SLOW_LOAD_SECONDS says how long. */
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { QueryTypes } from 'sequelize';
import { openBackend, type Backend } from '../support/backends.js';
import { defineRow, Row, type Order, type Place } from '../support/cache-worker.js';
import { startMemcached, type MemcachedProcess } from '../support/memcached-process.js';
import { placeOf, Worker } from '../support/workers.js';

/** Longer than the life of a lease that is not renewed, which is 3 s. */
const seconds = Math.max(5, Number(process.env.SLOW_LOAD_SECONDS ?? 5));
/** So long a lease stands that nobody renews. */
const leaseSeconds = 3;
/** What a busy machine may need on top of it. */
const slack = 10;

describe(`several processes and loads of ${String(seconds)} s`, () => {
  let backend: Backend;
  let memcached: MemcachedProcess;
  let workers: Worker[] = [];
  let place: Place;

  before(async () => {
    memcached = await startMemcached();
    backend = await openBackend('mariadb');
    defineRow(backend.sequelize);
    await backend.sequelize.sync();
    place = placeOf(backend.sequelize, { memcached: memcached.address, computes: true, prefix: 'slow', writeLease: 10 });
  });
  beforeEach(async () => {
    await Promise.all(workers.map((worker) => worker.kill()));
    await memcached.command('flush_all\r\n');
    await Row.destroy({ where: {}, truncate: true });
    await Row.create({ name: 'one', count: 1 });
    workers = await Promise.all([Worker.start(place), Worker.start(place), Worker.start(place)]);
  });
  after(async () => {
    await Promise.all(workers.map((worker) => worker.kill()));
    await backend.close();
    await memcached.stop();
  });

  const [A, B, C] = [0, 1, 2].map((at) => () => workers[at] as Worker) as [() => Worker, () => Worker, () => Worker];

  /** How many statements of the workers are in this state at the database. */
  const statementsIn = async (column: 'state' | 'info', like: string): Promise<number> => {
    const rows = await backend.sequelize.query<{ readonly n: number }>(
      `SELECT COUNT(*) AS n FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID() AND ${column} LIKE :like`,
      { replacements: { like }, type: QueryTypes.SELECT },
    );
    return Number(rows[0]?.n);
  };
  const until = async (what: string, condition: () => Promise<boolean>, most = 60): Promise<void> => {
    const deadline = performance.now() + most * 1000;
    while (!(await condition())) {
      assert.ok(performance.now() < deadline, `${what}: not within ${String(most)} s`);
      await sleep(20);
    }
  };
  const computing = (count = 1): Promise<void> => until('the slow statement runs', async () => (await statementsIn('info', '%SLEEP(%')) >= count);

  /** A statement goes on although its process was killed, and holds the table. */
  async function endSlowStatements(): Promise<void> {
    const slow = await backend.sequelize.query<{ readonly id: number }>("SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID() AND info LIKE '%SLEEP(%'", { type: QueryTypes.SELECT });
    for (const { id } of slow) await backend.sequelize.query(`KILL ${String(id)}`);
  }

  /** Reads while no statement can read the table, for as long as a load is to take; the replies of all processes. */
  async function whileLocked(order: Order): Promise<readonly { readonly sql: number; readonly count: number | null }[]> {
    const transaction = await backend.sequelize.transaction();
    try {
      await backend.sequelize.query('LOCK TABLES `Rows` WRITE', { transaction });
      const reading = Promise.all(workers.map((worker) => worker.tell(order)));
      await until('a read waits', async () => (await statementsIn('state', 'Waiting for table%')) >= 1);
      await sleep(seconds * 1000);
      await backend.sequelize.query('UNLOCK TABLES', { transaction });
      return await reading;
    } finally {
      await transaction.rollback();
    }
  }

  const kinds: Readonly<Record<string, { readonly order: Order; readonly most: number; read(): Promise<readonly { readonly sql: number; readonly count: number | null }[]> }>> = {
    'a row by its primary key': {
      order: { do: 'read by id', id: 1, times: 5 },
      most: 1,
      read: () => whileLocked({ do: 'read by id', id: 1, times: 5 }),
    },
    // One more by primary key, if the row came too late for a lease of its own (decision 10).
    'a row by another key': {
      order: { do: 'read', name: 'one', times: 5 },
      most: 2,
      read: () => whileLocked({ do: 'read', name: 'one', times: 5 }),
    },
    'a result': {
      order: { do: 'compute', name: 'one', seconds: 0, times: 5 },
      most: 1,
      read: () => Promise.all(workers.map((worker) => worker.tell({ do: 'compute', name: 'one', seconds, times: 5 }))),
    },
  };
  for (const [kind, { order, most, read }] of Object.entries(kinds)) {
    it(`P6: ${kind}: one statement in each process at most, and then it is cached`, async () => {
      const began = performance.now();
      const replies = await read();
      assert.ok(performance.now() - began >= seconds * 1000);
      assert.deepEqual(replies.map(({ count }) => count), [1, 1, 1]);
      for (const { sql } of replies) assert.ok(sql <= most, `${String(sql)} statements in one process`);
      for (const worker of workers) {
        const { sql, count } = await worker.tell(order);
        assert.deepEqual({ sql, count }, { sql: 0, count: 1 });
      }
    });
  }

  it('P6: the loading process is killed: others answer meanwhile, and the answer is cached when its lease has ended', async () => {
    A().abandon({ do: 'compute', name: 'one', seconds: 3600, times: 1 });
    await computing();
    // By now it lives by renewals alone.
    await sleep(leaseSeconds * 1000 + 500);
    const waiting = B().tell({ do: 'compute', name: 'one', seconds: 0, times: 3 });
    assert.deepEqual((await waiting).sql, 1, 'it waits for leaseWait, and no longer');
    await A().kill();
    const killed = performance.now();
    for (let sql = 1; sql > 0; ) {
      const reply = await C().tell({ do: 'compute', name: 'one', seconds: 0, times: 1 });
      assert.equal(reply.count, 1);
      ({ sql } = reply);
      assert.ok(sql <= 1 && performance.now() - killed < (leaseSeconds + slack) * 1000, 'not cached again');
    }
    assert.equal((await B().tell({ do: 'compute', name: 'one', seconds: 0, times: 1 })).sql, 0);
    await endSlowStatements();
  });

  const outdating: Readonly<Record<string, { readonly order: Order; readonly after: number }>> = {
    'a write': { order: { do: 'write', id: 1, count: 2 }, after: 2 },
    'bumpVersion': { order: { do: 'bump' }, after: 1 },
    'clear': { order: { do: 'clear' }, after: 1 },
  };
  for (const [what, { order, after: expected }] of Object.entries(outdating)) {
    it(`P1: ${what} during the load: nobody who reads after it gets the older load, and that is not stored`, async () => {
      const older = A().tell({ do: 'compute', name: 'one', seconds, times: 1 });
      await computing();
      await C().tell(order);
      // While the older load runs: in its own process, in the writer's, and in a third.
      for (const worker of [A(), C(), B()]) {
        const { count } = await worker.tell({ do: 'compute', name: 'one', seconds: 0, times: 2 });
        assert.equal(count, expected);
      }
      assert.ok((await statementsIn('info', '%SLEEP(%')) >= 1, 'the older load runs still');
      assert.equal((await older).count, 1, 'it began before');
      for (const worker of workers) {
        const { sql, count } = await worker.tell({ do: 'compute', name: 'one', seconds: 0, times: 1 });
        assert.deepEqual({ sql, count }, { sql: 0, count: expected });
      }
    });
  }

  it('P1: whoever waits for another process’s load when the row is written is answered with the new value', async () => {
    const older = A().tell({ do: 'compute', name: 'one', seconds, times: 1 });
    await computing();
    const write = C().tell({ do: 'write', id: 1, count: 2 });
    const beside = B().tell({ do: 'compute', name: 'one', seconds: 0, times: 3 });
    await write;
    const behind = B().tell({ do: 'compute', name: 'one', seconds: 0, times: 3 });
    assert.equal((await behind).count, 2);
    assert.ok([1, 2].includes((await beside).count as number), 'it began beside the write');
    await older;
    assert.equal((await B().tell({ do: 'compute', name: 'one', seconds: 0, times: 1 })).count, 2);
  });
});
