/**
 * The plugin's own transaction around an autocommitted statement: what the database does to it does not
 * reach the caller, unless it would have without the plugin.
 */
import assert from 'node:assert/strict';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { randomUUID } from 'node:crypto';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { Op, QueryTypes, Sequelize, type Options, type Transaction } from 'sequelize';
import { setupCache, type FlashCache, type FlashEvents } from '../../src/index.js';
import { errorNumber } from '../../src/hooks/own-statements.js';
import { Random } from '../oracle/random.js';
import { memcachedStore, mysqlUrl } from '../support/backends.js';
import { defineLoad, fillLoad, loadKinds, runLoad, type LoadModels } from '../support/deadlock-load.js';
import { seed } from '../support/seed.js';
import { beforeStatements, Hold } from '../support/statements.js';

interface Manager {
  filter(key: object): Promise<readonly { readonly id: number }[]>;
  getOrNone(key: object): Promise<{ readonly id: number } | null>;
}

/** A process: the models, and what it sends. */
interface Process {
  readonly sequelize: Sequelize;
  readonly models: LoadModels;
  readonly flash: FlashCache | undefined;
  readonly sql: string[];
  /** Called before each statement leaves. */
  before: (sql: string) => Promise<void> | undefined;
}

const managerOf = (model: object): Manager => Reflect.get(model, 'cache') as Manager;

describe('the plugin’s own transaction', () => {
  const name = `flash_${randomUUID().slice(0, 8)}`;
  const admin = new Sequelize(mysqlUrl(), { dialect: 'mysql', logging: false, pool: { max: 2 } });
  const stores: { close(): Promise<void> }[] = [];
  let processes: Process[] = [];
  let prefix: string;
  let url: string;
  /** Writes with the plugin. */
  let writer: Process;
  /** Another program, without it. */
  let plain: Process;

  before(async () => {
    await admin.query(`CREATE DATABASE ${name} CHARACTER SET utf8mb4`);
    const own = new URL(mysqlUrl());
    own.pathname = `/${name}`;
    url = own.href;
  });
  after(async () => {
    await admin.query(`DROP DATABASE ${name}`);
    await admin.close();
  });
  beforeEach(async () => {
    prefix = `o${randomUUID().slice(0, 8)}`;
    plain = open(false);
    await plain.sequelize.sync({ force: true });
    await fillLoad(plain.models);
    writer = open(true);
    await warm(writer);
  });
  afterEach(async () => {
    for (const { flash, sequelize } of processes) {
      await flash?.close(0);
      await sequelize.close();
    }
    for (const store of stores.splice(0)) await store.close();
    processes = [];
  });

  function open(cached: boolean, options: Options = {}, afterConnect: readonly string[] = [], address = url): Process {
    const sequelize = new Sequelize(address, { dialect: 'mysql', logging: false, pool: { max: 12 }, ...options });
    const sql: string[] = [];
    const process: Process = { sequelize, models: defineLoad(sequelize, cached), flash: undefined, sql, before: () => undefined };
    sequelize.addHook('afterConnect', async (connection) => {
      for (const statement of afterConnect) {
        await new Promise<void>((resolve, reject) => {
          const query = Reflect.get(connection as object, 'query') as (sql: string, done: (error: Error | null) => void) => unknown;
          query.call(connection, statement, (error) => {
            if (error === null) resolve();
            else reject(error);
          });
        });
      }
    });
    beforeStatements(sequelize, (statement) => {
      sql.push(statement);
      return process.before(statement);
    });
    const store = memcachedStore();
    stores.push(store);
    const opened = cached ? Object.assign(process, { flash: setupCache(sequelize, { store, prefix, alias: 'own' }) }) : process;
    processes.push(opened);
    return opened;
  }

  /** Caches every list and row, and asks for the settings of the server. */
  async function warm({ models }: Process): Promise<void> {
    await models.Job.update({ name: 'nobody' }, { where: { state: 999 } });
    await answers(models);
  }

  async function answers({ Job, Task, Labelled }: LoadModels): Promise<unknown> {
    const ids = (rows: readonly { readonly id: number }[]): number[] => rows.map(({ id }) => id);
    const queues = Array.from({ length: 12 }, (_, queue) => queue);
    return {
      jobs: await Promise.all(queues.map(async (queue) => ids(await managerOf(Job).filter({ queue })))),
      tasks: await Promise.all(queues.map(async (queue) => ids(await managerOf(Task).filter({ queue })))),
      labelled: await Promise.all(queues.map(async (at) => (await (managerOf(Labelled) as unknown as { filter(key: object): Promise<readonly InstanceType<LoadModels['Labelled']>[]> }).filter({ ownerId: at + 1 })).map(({ labelId }) => labelId))),
      rows: await Promise.all(Array.from({ length: 230 }, async (_, at) => (await managerOf(Job).getOrNone({ id: at + 1 })) === null)),
    };
  }

  async function truth({ Job, Task, Labelled }: LoadModels): Promise<unknown> {
    const queues = Array.from({ length: 12 }, (_, queue) => queue);
    return {
      jobs: await Promise.all(queues.map(async (queue) => (await Job.findAll({ where: { queue }, order: ['id'] })).map(({ id }) => id))),
      tasks: await Promise.all(queues.map(async (queue) => (await Task.findAll({ where: { queue }, order: ['id'] })).map(({ id }) => id))),
      labelled: await Promise.all(queues.map(async (at) => (await Labelled.findAll({ where: { ownerId: at + 1 }, order: ['ownerId', 'labelId'] })).map(({ labelId }) => labelId))),
      rows: await Promise.all(Array.from({ length: 230 }, async (_, at) => (await Job.findByPk(at + 1)) === null)),
    };
  }

  async function assertRight(): Promise<void> {
    assert.deepEqual(await answers(writer.models), await truth(plain.models));
  }

  /** Events of one kind while something runs. */
  async function listening<K extends 'invalidate' | 'error'>(kind: K, work: () => Promise<unknown>): Promise<FlashEvents[K][]> {
    const events: FlashEvents[K][] = [];
    const listen = (message: unknown): void => void events.push(message as FlashEvents[K]);
    subscribe(`sequelize-flash:${kind}`, listen);
    try {
      await work();
    } finally {
      unsubscribe(`sequelize-flash:${kind}`, listen);
    }
    return events;
  }

  /** Would send a statement again whose transaction is gone. */
  const withRetry: Options = { retry: { max: 4, match: [/Deadlock/] } };

  // ---- Under load -----------------------------------------------------------------------------

  const shared = seed();
  for (const kind of Object.keys(loadKinds)) {
    it(`${kind} beside creates, 8 at the same time: no deadlock reaches the caller, and the cache is right afterwards (SEED=${String(shared)})`, async () => {
      const random = new Random(shared);
      const load = { writes: 60, inFlight: 8, dice: (below: number) => random.below(below), inTransactions: false };
      const { deadlocks } = await runLoad(writer.models, kind, load);
      assert.deepEqual(deadlocks, { writes: 0, creates: 0 });
      await assertRight();
    });
  }

  // ---- Deadlocks that are forced --------------------------------------------------------------

  /** Begins a transaction that weighs more than ours, so that the server chooses ours as the victim. */
  async function heavyTransaction(): Promise<Transaction> {
    const transaction = await plain.sequelize.transaction();
    await plain.models.Task.update({ state: 60 }, { where: { id: { [Op.gt]: 0 } }, transaction });
    return transaction;
  }

  /** Resolves when somebody waits for a lock in this test's database. */
  async function waitsForLock(): Promise<void> {
    const until = performance.now() + 40_000;
    for (;;) {
      assert.ok(performance.now() < until, 'nobody waits for a lock');
      const [rows] = await admin.query(
        `SELECT 1 FROM information_schema.innodb_trx JOIN information_schema.processlist ON processlist.id = trx_mysql_thread_id
         WHERE trx_state = 'LOCK WAIT' AND processlist.db = '${name}'`,
      );
      if (rows.length > 0) return;
      // The table is a copy that is renewed only if nobody looked at it for a tenth of a second.
      await new Promise((resolve) => setTimeout(resolve, 120));
    }
  }

  /** Holds the next statement that matches, before it is sent. */
  function holdNext(process: Process, pattern: RegExp): Hold {
    const hold = new Hold();
    process.before = (sql) => {
      if (!pattern.test(sql)) return undefined;
      process.before = () => undefined;
      return hold.here();
    };
    return hold;
  }

  const count = (process: Process, pattern: RegExp): number => process.sql.filter((sql) => pattern.test(sql)).length;
  /** Of rows 2 and 52: the first is locked, and then the second waited for. */
  const bothRows = { state: 1, id: { [Op.lt]: 100 } };

  /** Makes our read before the write the victim of a deadlock, so many times. */
  async function deadlockAtRead(process: Process, times: number, write: () => Promise<unknown>): Promise<void> {
    let hold = holdNext(process, /FOR UPDATE/);
    const writing = write();
    // It may reject before it is awaited.
    void writing.catch(() => undefined);
    for (let at = 1; at <= times; at += 1) {
      await hold.reached;
      const other = await heavyTransaction();
      await plain.models.Job.update({ name: `held ${String(at)}` }, { where: { id: 52 }, transaction: other });
      const released = hold;
      if (at < times) hold = holdNext(process, /FOR UPDATE/);
      released.release();
      await waitsForLock();
      await plain.models.Job.update({ name: 'crossed' }, { where: { id: 2 }, transaction: other });
      await other.commit();
    }
    await writing;
  }

  const statements: Readonly<Record<string, (models: LoadModels) => Promise<unknown>>> = {
    'bulk update': ({ Job }) => Job.update({ queue: 11 }, { where: bothRows }),
    'bulk destroy': ({ Job }) => Job.destroy({ where: bothRows }),
    'bulk update with a limit': ({ Job }) => Job.update({ queue: 11 }, { where: bothRows, limit: 5 }),
  };

  for (const [title, write] of Object.entries(statements)) {
    for (const [how, options] of [['', {}], [', with Sequelize’s option retry', withRetry]] as const) {
      it(`${title}: the read before it is the victim of a deadlock, and the transaction is begun again${how}`, async () => {
        const process = open(true, options);
        await warm(process);
        process.sql.length = 0;
        const wide = await listening('invalidate', () => deadlockAtRead(process, 1, () => write(process.models)));
        assert.equal(count(process, /^START TRANSACTION/), 2);
        assert.equal(count(process, /^(UPDATE|DELETE)/), 1);
        assert.deepEqual(wide.flatMap(({ wide: tables }) => tables), []);
        await assertRight();
      });
    }
  }

  it('the victim again and again: the statement is sent alone, and the table is void', async () => {
    writer.sql.length = 0;
    const wide = await listening('invalidate', () => deadlockAtRead(writer, 6, () => writer.models.Job.update({ queue: 11 }, { where: bothRows })));
    assert.equal(count(writer, /^START TRANSACTION/), 6);
    assert.equal(count(writer, /^UPDATE/), 1);
    assert.deepEqual(wide.flatMap(({ wide: tables }) => tables.map(({ table, reason }) => ({ table, reason }))), [{ table: 'LoadJobs', reason: 'unknown-rows' }]);
    await assertRight();
  });

  it('the statement itself is the victim of a deadlock: begun again', async () => {
    writer.sql.length = 0;
    const hold = holdNext(writer, /^UPDATE/);
    const writing = writer.models.Job.update({ queue: 11 }, { where: { state: 1 } });
    await hold.reached;
    // A row joins those that were read and locked, and the statement waits for it.
    const other = await heavyTransaction();
    await plain.models.Job.create({ queue: 1, state: 1 }, { transaction: other });
    hold.release();
    await waitsForLock();
    await plain.models.Job.update({ name: 'crossed' }, { where: { id: 2 }, transaction: other });
    await other.commit();
    await writing;
    assert.equal(count(writer, /^START TRANSACTION/), 2);
    assert.equal(count(writer, /^UPDATE/), 2);
    await assertRight();
  });

  it('a write whose rows are known is the victim of a deadlock: sent again', async () => {
    const hold = holdNext(writer, /^DELETE/);
    const writing = writer.models.Job.destroy({ where: { id: [2, 52] } });
    await hold.reached;
    writer.sql.length = 0;
    const other = await heavyTransaction();
    await plain.models.Job.update({ name: 'held' }, { where: { id: 52 }, transaction: other });
    hold.release();
    await waitsForLock();
    await plain.models.Job.update({ name: 'crossed' }, { where: { id: 2 }, transaction: other });
    await other.commit();
    assert.equal(await writing, 2);
    assert.equal(count(writer, /^DELETE/), 1);
    await assertRight();
  });

  // The first one is committed when the second is the victim.
  const several: Readonly<Record<string, string>> = {
    'two updates': "UPDATE LoadJobs SET name = CONCAT(name, '+') WHERE id = 1; UPDATE LoadJobs SET name = 'last' WHERE id IN (2, 52)",
    'an insert and an update': "INSERT INTO LoadJobs (queue, state, name) VALUES (1, 1, 'a;+'); UPDATE LoadJobs SET name = 'last' WHERE id IN (2, 52);",
    'a procedure': 'CALL two_updates()',
    'a block': "BEGIN NOT ATOMIC UPDATE LoadJobs SET name = CONCAT(name, '+') WHERE id = 1; UPDATE LoadJobs SET name = 'last' WHERE id IN (2, 52); END",
  };
  for (const [title, text] of Object.entries(several)) {
    for (const type of title === 'two updates' ? [QueryTypes.UPDATE, QueryTypes.BULKUPDATE, QueryTypes.INSERT] : [QueryTypes.UPDATE]) {
      it(`${title} in one text, as ${type} of a model: the deadlock is the program’s, and nothing is applied twice`, async () => {
        const process = open(true, { dialectOptions: { multipleStatements: true } });
        await plain.sequelize.query(
          "CREATE OR REPLACE PROCEDURE two_updates() BEGIN UPDATE LoadJobs SET name = CONCAT(name, '+') WHERE id = 1; UPDATE LoadJobs SET name = 'last' WHERE id IN (2, 52); END",
        );
        await plain.models.Job.update({ name: '' }, { where: {} });
        await warm(process);
        const other = await heavyTransaction();
        await plain.models.Job.update({ name: 'held' }, { where: { id: 52 }, transaction: other });
        const writing = process.sequelize.query(text, { type: type as QueryTypes.UPDATE, model: process.models.Job } as object).then(
          () => undefined,
          (error: unknown) => error,
        );
        await waitsForLock();
        await plain.models.Job.update({ name: 'crossed' }, { where: { id: 2 }, transaction: other });
        await other.commit();
        assert.equal(errorNumber(await writing), 1213);
        const applied = await plain.models.Job.findAll({ where: { name: { [Op.like]: '%+' } }, raw: true });
        assert.deepEqual(applied.map(({ name }) => name?.replace(/[^+]/g, '')), ['+']);
        await assertRight();
      });
    }
  }

  it('a deadlock in a transaction of the program’s is the program’s: nothing is begun again', async () => {
    writer.sql.length = 0;
    const error = await deadlockAtRead(writer, 1, () =>
      writer.sequelize.transaction((transaction) => writer.models.Job.update({ queue: 11 }, { where: bothRows, transaction })),
    ).then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    assert.equal(errorNumber(error), 1213);
    assert.equal(count(writer, /^START TRANSACTION/), 1);
    await assertRight();
  });

  // ---- Rows that join -------------------------------------------------------------------------

  const joins: Readonly<Record<string, { readonly write: (models: LoadModels) => Promise<unknown>; readonly join: (models: LoadModels) => Promise<unknown> }>> = {
    'bulk update': { write: ({ Job }) => Job.update({ queue: 11 }, { where: { state: 1 } }), join: ({ Job }) => Job.create({ queue: 3, state: 1 }) },
    'bulk destroy': { write: ({ Job }) => Job.destroy({ where: { state: 1 } }), join: ({ Job }) => Job.create({ queue: 3, state: 1 }) },
    'paranoid destroy': { write: ({ Task }) => Task.destroy({ where: { state: 1 } }), join: ({ Task }) => Task.create({ queue: 3, state: 1 }) },
    restore: { write: ({ Task }) => Task.restore({ where: { queue: 3 } }), join: ({ Task }) => Task.create({ queue: 3, state: 1, deletedAt: new Date(0) }) },
  };
  for (const [title, { write, join }] of Object.entries(joins)) {
    for (const times of [1, 3]) {
      it(`${title}: a row joins those that were read, ${times === 1 ? 'once: begun again, and no table is void' : 'each time: the table is void'}`, async () => {
        writer.sql.length = 0;
        const wide = await listening('invalidate', async () => {
          let hold = holdNext(writer, /^(UPDATE|DELETE)/);
          const writing = write(writer.models);
          for (let at = 1; at <= times; at += 1) {
            await hold.reached;
            await join(plain.models);
            const released = hold;
            if (at < times) hold = holdNext(writer, /^(UPDATE|DELETE)/);
            released.release();
          }
          await writing;
        });
        assert.equal(count(writer, /^START TRANSACTION/), Math.min(times + 1, 3));
        assert.deepEqual(wide.flatMap(({ wide: tables }) => tables.map(({ reason }) => reason)), times === 1 ? [] : ['weak-isolation']);
      });
    }
  }

  /** A statement that a row joins; resolves to how many rows were written, and how often. */
  async function joinedBy(process: Process, write: (models: LoadModels) => Promise<unknown>): Promise<readonly string[]> {
    const wide = await listening('invalidate', async () => {
      const hold = holdNext(process, /^(UPDATE|DELETE)/);
      const writing = write(process.models);
      await hold.reached;
      await plain.models.Job.create({ queue: 3, state: 1, name: '' });
      hold.release();
      await writing;
    });
    return wide.flatMap(({ wide: tables }) => tables.map(({ reason }) => reason));
  }

  const audited = `CREATE TABLE IF NOT EXISTS Audits (n INT) ENGINE = MyISAM`;
  const notUndoable: Readonly<Record<string, readonly string[]>> = {
    'a trigger that writes to a table without transactions': [audited, 'CREATE TRIGGER audit AFTER UPDATE ON LoadJobs FOR EACH ROW INSERT INTO Audits VALUES (NEW.id)'],
    'a trigger before it': [audited, 'CREATE TRIGGER audit BEFORE UPDATE ON LoadJobs FOR EACH ROW INSERT INTO Audits VALUES (NEW.id)'],
    'a table without transactions': ['ALTER TABLE LoadJobs ENGINE = MyISAM'],
    'a table of Aria': ['ALTER TABLE LoadJobs ENGINE = Aria'],
  };
  for (const [title, given] of Object.entries(notUndoable)) {
    it(`${title}: a row that joins undoes nothing, the statement is applied once, and the table is void`, async () => {
      for (const statement of given) await plain.sequelize.query(statement);
      const process = open(true);
      await warm(process);
      process.sql.length = 0;
      const affected = await plain.models.Job.count({ where: { state: 1 } });
      const reasons = await joinedBy(process, ({ Job }) => Job.update({ queue: 11, name: Sequelize.literal("CONCAT(COALESCE(name, ''), '+')") }, { where: { state: 1 } }));
      assert.deepEqual(reasons, ['weak-isolation']);
      assert.equal(count(process, /^START TRANSACTION/), 1);
      const written = await plain.models.Job.findAll({ where: { state: 1 }, raw: true });
      assert.deepEqual([written.length, new Set(written.map(({ name: text, queue }) => `${text ?? ''} ${String(queue)}`))], [affected + 1, new Set(['+ 11'])]);
      await plain.sequelize.query('DROP TRIGGER IF EXISTS audit');
      await plain.sequelize.query('DROP TABLE IF EXISTS Audits');
      await assertRight();
    });
  }

  it('a trigger, and a user without the privilege TRIGGER: nothing is lost', async () => {
    for (const statement of [audited, 'CREATE TRIGGER audit AFTER UPDATE ON LoadJobs FOR EACH ROW INSERT INTO Audits VALUES (NEW.id)']) await plain.sequelize.query(statement);
    const user = `u${randomUUID().slice(0, 8)}`;
    await admin.query(`CREATE USER '${user}'@'%' IDENTIFIED BY 'p'`);
    try {
      await admin.query(`GRANT SELECT, UPDATE ON ${name}.* TO '${user}'@'%'`);
      const process = open(true, {}, [], Object.assign(new URL(url), { username: user, password: 'p' }).href);
      await warm(process);
      assert.deepEqual(await joinedBy(process, ({ Job }) => Job.update({ queue: 11 }, { where: { state: 1 } })), ['weak-isolation']);
      assert.deepEqual(new Set((await plain.models.Job.findAll({ where: { state: 1 }, raw: true })).map(({ queue }) => queue)), new Set([11]));
      await assertRight();
    } finally {
      await admin.query(`DROP USER '${user}'@'%'`);
      await plain.sequelize.query('DROP TRIGGER audit');
      await plain.sequelize.query('DROP TABLE Audits');
    }
  });

  // ---- Drivers and options --------------------------------------------------------------------

  for (const [title, options, level] of [
    ['mysql2, rows that are set to what they are', {}, 1],
    ['mysql2 that counts found rows', { dialectOptions: { flags: 'FOUND_ROWS' } }, 1],
    ['showWarnings', { dialectOptions: {}, showWarnings: true } as Options, 1],
    ['query: { raw: true }', { query: { raw: true } }, 1],
    ['isolationLevel', { isolationLevel: 'SERIALIZABLE' as never }, 1],
  ] as const) {
    it(`${title}: one transaction of the plugin’s own`, async () => {
      const process = open(true, options);
      await warm(process);
      process.sql.length = 0;
      const wide = await listening('invalidate', () => process.models.Job.update({ queue: 1, name: 'n' }, { where: { queue: 1 } }));
      assert.equal(count(process, /^SET TRANSACTION ISOLATION LEVEL READ COMMITTED/), level);
      assert.equal(count(process, /^START TRANSACTION/), 1);
      assert.deepEqual(wide.flatMap(({ wide: tables }) => tables), []);
      await assertRight();
    });
  }

  // ---- Sessions that differ -------------------------------------------------------------------

  const weak = 'SET SESSION TRANSACTION ISOLATION LEVEL READ UNCOMMITTED';
  /** A LIMIT makes the number of matched rows useless: only gap locks keep rows out. */
  const limited = { where: { state: 1, id: { [Op.lt]: 100 } }, limit: 2, order: [['id', 'ASC']] as never };

  /** A row with the least id joins a limited update, if the server lets it. */
  async function limitedJoin(process: Process): Promise<void> {
    const hold = holdNext(process, /^UPDATE/);
    const writing = process.models.Job.update({ queue: 11 }, limited);
    await hold.reached;
    const joining = plain.models.Job.update({ state: 1 }, { where: { id: 1 } });
    await Promise.race([joining, waitsForLock()]);
    hold.release();
    await writing;
    await joining;
    // The other program voids nothing.
    await (process.models.Job as unknown as { cache: { invalidate(key: object): Promise<unknown> } }).cache.invalidate({ id: 1 });
  }

  it('one session of the pool is weaker than the one that was asked first: each is asked, once', async () => {
    const process = open(true, { pool: { max: 2, idle: 600_000 } });
    let connections = 0;
    process.sequelize.addHook('afterConnect', async (connection) => {
      connections += 1;
      // Over the first one Sequelize asks for the server's version.
      if (connections < 3) return;
      await new Promise<void>((resolve, reject) => {
        (connection as { query(sql: string, done: (error: Error | null) => void): void }).query(weak, (error) => (error === null ? resolve() : reject(error)));
      });
    });
    await warm(process);
    // The first session is busy.
    const busy = await process.sequelize.transaction();
    await limitedJoin(process);
    await process.models.Job.update({ name: 'n' }, { where: { state: 2 } });
    await busy.rollback();
    await process.models.Job.update({ name: 'm' }, { where: { state: 2 } });
    assert.equal(connections, 3);
    assert.equal(count(process, /^SHOW VARIABLES/), 2);
    await assertRight();
  });

  for (const text of [weak, `/* weaker */ ${weak.toLowerCase()}`, "SET tx_isolation = 'READ-COMMITTED'", "SET @a = 1, @@session.tx_isolation = 'READ-UNCOMMITTED'"]) {
    it(`a session that the program makes weaker by a text is asked again: ${text}`, async () => {
      const process = open(true, { pool: { max: 1 } });
      await warm(process);
      await process.sequelize.query(text);
      await limitedJoin(process);
      assert.equal(count(process, /^SHOW VARIABLES/), 2);
      await assertRight();
    });
  }

  it('a lock wait that times out is the statement’s error, and is not waited for twice', async () => {
    const process = open(true, {}, ['SET innodb_lock_wait_timeout = 1']);
    await warm(process);
    process.sql.length = 0;
    const other = await plain.sequelize.transaction();
    await plain.models.Job.update({ name: 'held' }, { where: { id: 2 }, transaction: other });
    const error: unknown = await process.models.Job.update({ queue: 11 }, { where: bothRows }).then(
      () => undefined,
      (thrown: unknown) => thrown,
    );
    await other.rollback();
    assert.equal(errorNumber(error), 1205);
    assert.match(String(Reflect.get(error as object, 'sql')), /^UPDATE `LoadJobs`/);
    assert.equal(count(process, /FOR UPDATE/), 1);
    assert.equal(count(process, /^UPDATE/), 0);
    await assertRight();
  });

  it('sessions that refuse rows that have changed since their snapshot: no new error', async () => {
    const process = open(true, {}, ['SET innodb_snapshot_isolation = ON']);
    await warm(process);
    const random = new Random(shared);
    for (const kind of ['bulk destroy', 'bulk update of a key', 'bulk update with a limit']) {
      const load = { writes: 40, inFlight: 8, dice: (below: number) => random.below(below), inTransactions: false };
      assert.deepEqual((await runLoad(process.models, kind, load)).deadlocks, { writes: 0, creates: 0 });
    }
    await assertRight();
  });

  it('a user who may not read all columns: the statement is sent alone, and the table is void', async () => {
    const user = `u${randomUUID().slice(0, 8)}`;
    await admin.query(`CREATE USER '${user}'@'%' IDENTIFIED BY 'p'`);
    try {
      await admin.query(`GRANT SELECT (state), DELETE ON ${name}.LoadJobs TO '${user}'@'%'`);
      const address = Object.assign(new URL(url), { username: user, password: 'p' });
      const process = open(true, {}, [], address.href);
      const wide = await listening('invalidate', () => process.models.Job.destroy({ where: { state: 1 } }));
      assert.deepEqual(wide.flatMap(({ wide: tables }) => tables.map(({ reason }) => reason)), ['unknown-rows']);
      await assertRight();
    } finally {
      await admin.query(`DROP USER '${user}'@'%'`);
    }
  });

  // ---- bulkInvalidationLimit: 0 ----------------------------------------------------------------

  it('bulkInvalidationLimit: 0 reads no row before a bulk write, in a transaction or without one', async () => {
    const sequelize = new Sequelize(url, { dialect: 'mysql', logging: false });
    const sql: string[] = [];
    beforeStatements(sequelize, (statement) => void sql.push(statement));
    const models = defineLoad(sequelize, true);
    const store = memcachedStore();
    stores.push(store);
    const flash = setupCache(sequelize, { store, prefix, alias: 'own', bulkInvalidationLimit: 0 });
    processes.push({ sequelize, models, flash, sql, before: () => undefined });
    const writes = async (transaction: Transaction | null): Promise<void> => {
      await models.Job.update({ queue: 11 }, { where: { state: 1 }, transaction });
      await models.Job.destroy({ where: { state: 2 }, transaction });
      await models.Task.destroy({ where: { state: 2 }, transaction });
      await models.Task.restore({ where: { state: 3 }, transaction });
    };
    await writes(null);
    await sequelize.transaction(writes);
    assert.equal(count({ sql } as unknown as Process, /^SELECT/), 1, 'the server’s version only');
    await assertRight();
    // One instance is one row, and named.
    const exact = await listening('invalidate', async () => {
      await models.Job.create({ queue: 1, state: 1 });
      await sequelize.transaction((transaction) => models.Job.create({ queue: 1, state: 1 }, { transaction }));
    });
    assert.deepEqual(exact.flatMap(({ wide }) => wide), []);
    await assertRight();
  });
});
