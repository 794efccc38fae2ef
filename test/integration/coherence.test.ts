/**
 * Races between readers and writers, forced: one side is held at a step, the other acts.
 * Each test says which interleaving would go wrong without the protocol.
 */
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import {
  DataTypes,
  Model,
  QueryTypes,
  Transaction,
  type CreationOptional,
  type InferAttributes,
  type InferCreationAttributes,
} from 'sequelize';
import { InstanceCache, registerCache, withCache, type FlashCache } from '../../src/index.js';
import { beforeSending, type SentOptions } from '../support/before-sending.js';
import { backendNames, memcachedStore, openBackend, type Backend } from '../support/backends.js';
import { holdFirst } from '../support/observed-store.js';
import { MemoryStore } from '../../src/stores/memory.js';

for (const name of backendNames) {
  class Account extends Model<InferAttributes<Account>, InferCreationAttributes<Account>> {
    static readonly cache = withCache(Account, { keys: ['id', 'name', 'city', ['tenant', 'slug']] });
    declare id: CreationOptional<number>;
    declare name: string;
    declare city: string | null;
    declare tenant: number;
    declare slug: string;
    declare age: CreationOptional<number>;
  }

  /** Without a custom cache: its saves need no lock of their own. */
  class Counter extends Model<InferAttributes<Counter>, InferCreationAttributes<Counter>> {
    static readonly cache = withCache(Counter, { keys: ['id'] });
    declare id: CreationOptional<number>;
    declare count: number;
  }

  class Day extends Model<InferAttributes<Day>, InferCreationAttributes<Day>> {
    static readonly cache = withCache(Day, { keys: ['id'] });
    declare id: CreationOptional<number>;
    declare at: Date;
    declare count: number;
  }

  class Note extends Model<InferAttributes<Note>, InferCreationAttributes<Note>> {
    static readonly cache = withCache(Note, { keys: ['id'] });
    declare id: CreationOptional<number>;
    declare accountId: number;
    declare text: string;
  }

  @registerCache
  class OldestInCity extends InstanceCache<Account> {
    static readonly model = Account;
    static readonly keyFields = ['city'] as const;
    override getInstance({ city }: { city: string }): Promise<Account | null> {
      return this.queryset().findOne({ where: { city }, order: [['age', 'DESC'], ['id', 'ASC']] });
    }
  }
  Object.defineProperty(OldestInCity, 'name', { value: `OldestInCity_${name}` });

  describe(`coherence on ${name}`, () => {
    let backend: Backend;
    let flash: FlashCache;

    before(async () => {
      backend = await openBackend(name);
      Account.init(
        {
          id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true },
          name: { type: DataTypes.STRING, unique: true },
          city: DataTypes.STRING,
          tenant: { type: DataTypes.INTEGER, defaultValue: 1 },
          slug: { type: DataTypes.STRING, defaultValue: '' },
          age: { type: DataTypes.INTEGER, defaultValue: 0 },
        },
        { sequelize: backend.sequelize, modelName: `Account`, timestamps: false },
      );
      Counter.init(
        { id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true }, count: DataTypes.INTEGER },
        { sequelize: backend.sequelize, timestamps: false },
      );
      Day.init(
        { id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true }, at: DataTypes.DATE(3), count: DataTypes.INTEGER },
        { sequelize: backend.sequelize, timestamps: false },
      );
      Note.init(
        {
          id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true },
          accountId: DataTypes.INTEGER,
          text: DataTypes.STRING,
        },
        { sequelize: backend.sequelize, timestamps: false },
      );
      Note.belongsTo(Account, { as: 'account', foreignKey: 'accountId', onDelete: 'CASCADE', onUpdate: 'CASCADE' });
      await backend.sequelize.sync();
      flash = backend.setup();
    });
    after(() => backend.close());
    beforeEach(async () => {
      // Not TRUNCATE, which a foreign key forbids; ids begin anew all the same.
      await Note.destroy({ where: {} });
      await Account.destroy({ where: {} });
      await backend.sequelize.query(
        name === 'sqlite' ? `DELETE FROM sqlite_sequence WHERE name = 'Accounts'` : 'ALTER TABLE Accounts AUTO_INCREMENT = 1',
      );
      await Account.create({ name: 'bill', city: 'Paris', tenant: 1, slug: 'bill', age: 20 });
      backend.reset();
    });

    const cost = async <T>(work: () => Promise<T>): Promise<{ result: T; sql: number }> => {
      backend.reset();
      const result = await work();
      return { result, sql: backend.sql.length };
    };
    const ageOf = async (): Promise<number | undefined> => (await Account.cache.getOrNone({ name: 'bill' }))?.age;

    it('a fill that started before a write is not stored (peers: "stale fill")', async () => {
      const held = holdFirst(backend.store, (operation, key) => operation === 'compareAndSwap' && key.includes(':r:'));
      const reading = Account.cache.get({ id: 1 });
      await held.reached;
      await Account.update({ age: 21 }, { where: { id: 1 } });
      held.release();
      assert.equal((await reading).age, 20, 'the read began before the write');
      assert.equal((await Account.cache.get({ id: 1 })).age, 21);
    });

    it('the same by another key: the row was found before its lease could be placed', async () => {
      const held = holdFirst(backend.store, (operation, key) => operation === 'add' && key.includes(':r:'));
      const reading = Account.cache.get({ name: 'bill' });
      await held.reached;
      await Account.update({ age: 22 }, { where: { id: 1 } });
      held.release();
      await reading;
      assert.equal(await ageOf(), 22);
      assert.equal((await Account.cache.get({ id: 1 })).age, 22);
    });

    it('a reader that starts after the write does not share a load that began before it', async () => {
      // The first reader's query is done, its fill is held; the second reader starts after the ack.
      const held = holdFirst(backend.store, (operation, key) => operation === 'add' && key.includes(':r:'));
      const first = Account.cache.get({ name: 'bill' });
      await held.reached;
      await Account.update({ age: 23 }, { where: { id: 1 } });
      const second = Account.cache.get({ name: 'bill' });
      await new Promise(setImmediate);
      held.release();
      assert.equal((await second).age, 23);
      await first;
    });

    it('a reader that starts during a load shares it: one statement', async () => {
      const held = holdFirst(backend.store, (operation, key) => operation === 'compareAndSwap' && key.includes(':r:'));
      backend.reset();
      const first = Account.cache.get({ id: 1 });
      await held.reached;
      const others = Array.from({ length: 5 }, () => Account.cache.get({ id: 1 }));
      await new Promise(setImmediate);
      held.release();
      const found = await Promise.all([first, ...others]);
      assert.equal(new Set(found).size, 6, 'an instance for each');
      assert.equal(backend.sql.length, 1);
    });

    it('concurrent reads of one cold key cost one statement', async () => {
      const { sql } = await cost(() => Promise.all(Array.from({ length: 50 }, () => Account.cache.get({ name: 'bill' }))));
      assert.equal(sql, 1);
    });

    it('while a write is in flight, readers ask the database and do not fill', async () => {
      await ageOf();
      const held = holdFirst(backend.store, (operation, key) => operation === 'delete' && key.includes(':e:'));
      const writing = Account.update({ age: 24 }, { where: { id: 1 } });
      await held.reached;
      const { sql } = await cost(async () => {
        assert.equal(await ageOf(), 24);
        assert.equal(await ageOf(), 24);
      });
      assert.equal(sql, 2, 'not stored');
      held.release();
      await writing;
      await ageOf();
      assert.equal((await cost(ageOf)).sql, 0);
    });

    it('a second writer that comes and goes does not unprotect the first', async () => {
      // Writer 1 has marked and is held before its statement; writer 2 marks, commits and releases.
      const pause = gate();
      const endHold = beforeSending(backend.sequelize, ({ type, instance }) => type === QueryTypes.UPDATE && instance === first, () => pause.wait());
      const { id } = await Counter.create({ count: 1 });
      const first = await Counter.findByPk(id, { rejectOnEmpty: true });
      const second = await Counter.findByPk(id, { rejectOnEmpty: true });
      const writing = first.update({ count: 30 });
      await pause.reached;
      await second.update({ count: 31 });
      const count = async (): Promise<number> => (await Counter.cache.get({ id })).count;
      assert.equal(await count(), 31);
      assert.equal((await cost(count)).sql, 1, 'the first writer is still in flight: nothing may be stored');
      pause.open();
      await writing;
      endHold();
      assert.equal(await count(), 30);
      assert.equal((await cost(count)).sql, 0);
    });

    it('a rolled-back transaction changes nothing and touches no store', async () => {
      await ageOf();
      backend.reset();
      await assert.rejects(
        backend.sequelize.transaction(async (transaction) => {
          await Account.update({ age: 99 }, { where: { id: 1 }, transaction });
          assert.equal((await Account.cache.get({ id: 1 }, { transaction })).age, 99, 'own writes');
          throw new Error('no');
        }),
        /no/,
      );
      assert.equal(backend.store.roundTrips, 0);
      const { result, sql } = await cost(ageOf);
      assert.equal(result, 20);
      assert.equal(sql, 0);
    });

    it('a transaction is invisible to cached reads until its commit, and visible at its ack', async () => {
      if (name === 'sqlite') return; // one connection: a reader outside of the transaction is inside of it
      await ageOf();
      await backend.sequelize.transaction(async (transaction) => {
        const account = await Account.findByPk(1, { transaction, rejectOnEmpty: true });
        await account.update({ age: 41, name: 'ben' }, { transaction });
        assert.equal(await ageOf(), 20);
        assert.equal(await Account.cache.getOrNone({ name: 'ben' }), null);
      });
      assert.equal(await ageOf(), undefined);
      assert.equal((await Account.cache.get({ name: 'ben' })).age, 41);
      assert.equal((await Account.cache.get({ id: 1 })).name, 'ben');
    });

    it('a savepoint that commits is not a commit', async () => {
      if (name === 'sqlite') return;
      await ageOf();
      await assert.rejects(
        backend.sequelize.transaction(async (transaction) => {
          await backend.sequelize.transaction({ transaction }, async (child) => {
            await Account.update({ age: 51 }, { where: { id: 1 }, transaction: child });
          });
          assert.equal(await ageOf(), 20);
          throw new Error('no');
        }),
        /no/,
      );
      assert.equal(await ageOf(), 20);
      await backend.sequelize.transaction(async (transaction) => {
        await backend.sequelize.transaction({ transaction }, async (child) => {
          await Account.update({ age: 52 }, { where: { id: 1 }, transaction: child });
        });
      });
      assert.equal(await ageOf(), 52);
    });

    it('an instance loaded long ago renames one column of a composite key that another writer changed since', async () => {
      const old = await Account.findByPk(1, { rejectOnEmpty: true });
      await Account.update({ tenant: 2 }, { where: { id: 1 } });
      assert.equal(await Account.cache.getOrNone({ tenant: 2, slug: 'new' }), null);
      await old.update({ slug: 'new' });
      assert.equal((await Account.cache.get({ tenant: 2, slug: 'new' })).id, 1);
      assert.equal(await Account.cache.getOrNone({ tenant: 1, slug: 'new' }), null);
    });

    it('an instance with few attributes moves a row between results of a custom cache', async () => {
      await Account.create({ name: 'old', city: 'Oslo', tenant: 1, slug: 'old', age: 80 });
      const oldest = async (city: string): Promise<string | undefined> => (await new OldestInCity(city).resolve())?.name;
      assert.equal(await oldest('Paris'), 'bill');
      assert.equal(await oldest('Oslo'), 'old');
      assert.equal(await oldest('Rome'), undefined);
      const partial = await Account.findOne({ where: { name: 'old' }, attributes: ['id'], rejectOnEmpty: true });
      await partial.update({ city: 'Paris' });
      assert.equal(await oldest('Paris'), 'old');
      assert.equal(await oldest('Oslo'), undefined);
      await Account.update({ city: 'Rome' }, { where: { age: 80 } });
      assert.equal(await oldest('Paris'), 'bill');
      assert.equal(await oldest('Rome'), 'old');
      await Account.increment({ age: -79 }, { where: { name: 'old' } });
      await Account.update({ city: 'Rome' }, { where: { name: 'bill' } });
      assert.equal(await oldest('Rome'), 'bill');
      await Account.destroy({ where: { name: 'bill' } });
      assert.equal(await oldest('Rome'), 'old');
      assert.equal(await oldest('Paris'), undefined);
      assert.equal(await oldest('Paris'), undefined);
    });

    it('"no such row" is void once the row is there, by every key', async () => {
      const absent = async (): Promise<(Account | null)[]> =>
        Promise.all([
          Account.cache.getOrNone({ id: 2 }),
          Account.cache.getOrNone({ name: 'ann' }),
          Account.cache.getOrNone({ name: 'ANN' }),
          Account.cache.getOrNone({ city: 'Oslo' }),
          Account.cache.getOrNone({ tenant: 3, slug: 'ann' }),
        ]);
      assert.deepEqual(await absent(), [null, null, null, null, null]);
      assert.equal((await cost(absent)).sql, 1, 'two spellings share a bucket: one of them is stored');
      await Account.create({ name: 'ann', city: 'Oslo', tenant: 3, slug: 'ann' });
      const present = await absent();
      assert.deepEqual(present.map((one) => one?.name), ['ann', 'ann', name === 'mariadb' ? 'ann' : undefined, 'ann', 'ann']);
    });

    it('bulkCreate voids "no such row" for the ids that it makes, and for the keys', async () => {
      assert.equal(await Account.cache.getOrNone({ id: 2 }), null);
      assert.equal(await Account.cache.getOrNone({ name: 'b2' }), null);
      await Account.bulkCreate([
        { name: 'b2', tenant: 1, slug: 'b2', city: null },
        { name: 'b3', tenant: 1, slug: 'b3', city: null },
      ]);
      assert.equal((await Account.cache.get({ id: 2 })).name, 'b2');
      assert.equal((await Account.cache.get({ name: 'b2' })).id, 2);
    });

    it('a failed write leaves no marker behind', async () => {
      await Account.create({ name: 'ann', tenant: 1, slug: 'ann', city: null });
      await ageOf();
      const bill = await Account.findByPk(1, { rejectOnEmpty: true });
      await assert.rejects(bill.update({ name: 'ann' }));
      assert.equal(await ageOf(), 20);
      assert.equal((await cost(ageOf)).sql, 0);
    });

    it("a hook of the user's that throws leaves no marker behind", async () => {
      await ageOf();
      for (const hook of ['beforeQuery', 'afterQuery'] as const) {
        backend.sequelize.addHook(hook, 'test-throw', (options: { type?: string }, query: object) => {
          if (options.type !== QueryTypes.UPDATE) return;
          // Sequelize itself loses the connection of a statement whose afterQuery throws.
          if (hook === 'afterQuery') backend.sequelize.connectionManager.releaseConnection(Reflect.get(query, 'connection') as object);
          throw new Error('thrown by a hook');
        });
        const bill = await Account.findByPk(1, { rejectOnEmpty: true });
        await assert.rejects(bill.update({ age: bill.age + 1 }), /thrown by a hook/);
        backend.sequelize.removeHook(hook, 'test-throw');
        await ageOf();
        assert.equal((await cost(ageOf)).sql, 0, hook);
        assert.equal(await ageOf(), (await Account.findByPk(1))?.age);
      }
    });

    it('upsert, truncate, increment, hooks: false: what no model hook announces', async () => {
      await ageOf();
      await Account.increment('age', { by: 5, where: { id: 1 } });
      assert.equal(await ageOf(), 25);
      await Account.update({ age: 26 }, { where: { name: 'bill' }, hooks: false });
      assert.equal(await ageOf(), 26);
      await Account.upsert({ id: 1, name: 'bill', tenant: 1, slug: 'bill', age: 27, city: 'Paris' }, { hooks: false });
      assert.equal(await ageOf(), 27);
      const { id } = await Counter.create({ count: 1 });
      await Counter.cache.get({ id });
      await Counter.truncate();
      assert.equal(await Counter.cache.getOrNone({ id }), null);
    });

    it('raw SQL through Sequelize, sync({ force }) and drop void the tables that they name', async () => {
      await ageOf();
      await backend.sequelize.query('UPDATE Accounts SET age = 28 WHERE id = 1');
      assert.equal(await ageOf(), 28);
      await backend.sequelize.getQueryInterface().bulkUpdate('Accounts', { age: 29 }, { id: 1 });
      assert.equal(await ageOf(), 29);
      await backend.sequelize.transaction(async (transaction) => {
        await backend.sequelize.query('UPDATE Accounts SET age = 30 WHERE id = 1', { transaction });
      });
      assert.equal(await ageOf(), 30);
      await backend.sequelize.getQueryInterface().bulkDelete('Accounts', { id: 1 });
      assert.equal(await ageOf(), undefined);
      const { id } = await Counter.create({ count: 1 });
      await Counter.cache.get({ id });
      await Counter.sync({ force: true });
      assert.equal(await Counter.cache.getOrNone({ id }), null);
      await Counter.create({ id, count: 2 });
      await Counter.cache.get({ id });
      await Counter.drop();
      await assert.rejects(Counter.cache.get({ id }), /Counters/);
      await Counter.sync();
    });

    it('invalidate and clear: rows that another program changed', async () => {
      const program = await otherProgram(backend);
      for (const tell of [
        () => Account.cache.invalidate({ name: 'bill' }),
        async () => Account.cache.invalidate(await Account.findByPk(1, { rejectOnEmpty: true })),
        () => Account.cache.clear(),
      ]) {
        const age = ((await ageOf()) ?? 0) + 1;
        await program(`UPDATE Accounts SET age = ${age} WHERE id = 1`);
        assert.equal(await ageOf(), age - 1, 'nobody told the cache');
        await tell();
        assert.equal(await ageOf(), age);
        assert.equal((await Account.cache.get({ id: 1 })).age, age);
      }
      // Renamed behind our back: told by the old name.
      await program(`UPDATE Accounts SET name = 'ben' WHERE id = 1`);
      await Account.cache.invalidate({ name: 'bill' });
      assert.equal(await ageOf(), undefined);
      assert.equal((await Account.cache.get({ id: 1 })).name, 'ben');
    });

    it('what the database does by itself to rows that refer to a changed one is seen: ON DELETE and ON UPDATE', async () => {
      const { id } = await Account.create({ name: 'parent', city: null, tenant: 1, slug: 'parent' });
      const [gone, kept] = await Promise.all([Note.create({ accountId: id, text: 'a' }), Note.create({ accountId: 1, text: 'b' })]);
      if (gone === undefined || kept === undefined) throw new Error('not created');
      const read = async (note: Note): Promise<number | null | undefined> => (await Note.cache.getOrNone({ id: note.id }))?.accountId;
      assert.deepEqual([await read(gone), await read(kept)], [id, 1]);
      await Account.destroy({ where: { name: 'parent' } });
      assert.deepEqual([await read(gone), await read(kept)], [undefined, 1]);
      await Account.update({ id: 500 }, { where: { id: 1 } });
      assert.equal(await read(kept), 500);
    });

    it('conditions that the statement reads otherwise than a find would', async () => {
      await Account.create({ name: '7 dwarfs', city: null, tenant: 7, slug: 's' });
      const dwarfs = async (): Promise<number | undefined> => (await Account.cache.getOrNone({ name: '7 dwarfs' }))?.age;
      const actual = async (): Promise<number | undefined> => (await Account.findOne({ where: { name: '7 dwarfs' } }))?.age;
      const where = { name: 7 as unknown as string };
      for (const write of [
        () => Account.increment('age', { by: 5, where }),
        () => Account.update({ age: 40 }, { where }),
        () => backend.sequelize.getQueryInterface().bulkUpdate('Accounts', { age: 50 }, where),
        () => Account.destroy({ where }),
      ]) {
        await dwarfs();
        // MariaDB in strict mode may refuse to compare text with a number in a write.
        await write().catch((error: unknown) => assert.match(String(error), /Truncated incorrect/));
        assert.equal(await dwarfs(), await actual());
      }
      // A DATE(3) column, a Date with milliseconds: an increment formats it without them.
      const day = await Day.create({ at: new Date('2024-02-29T12:00:00.000Z'), count: 1 });
      const count = async (): Promise<number> => (await Day.cache.get({ id: day.id })).count;
      await count();
      await Day.increment('count', { by: 2, where: { at: new Date('2024-02-29T12:00:00.400Z') } });
      assert.equal(await count(), (await Day.findByPk(day.id))?.count);
      await count();
      await Day.update({ count: 9 }, { where: { at: new Date('2024-02-29T12:00:00.000Z') } });
      assert.equal(await count(), 9);
    });

    it('after a deadlock in a savepoint the parent commits at once what it writes, and the cache knows', async () => {
      if (name === 'sqlite') return; // one writer at a time
      const { sequelize } = backend;
      await Counter.bulkCreate(Array.from({ length: 30 }, () => ({ count: 0 })));
      const [a, b, ...many] = await Counter.findAll({ order: [['id', 'DESC']], limit: 30 });
      if (a === undefined || b === undefined) throw new Error('not created');
      const read = async (): Promise<number> => (await Counter.cache.get({ id: many[0]!.id })).count;
      const set = (id: number, count: number, transaction: Transaction): Promise<unknown> =>
        Counter.update({ count }, { where: { id }, transaction });
      await read();
      // The other transaction has changed more rows, so the database gives up ours. (One by one: a
      // long list would make it scan, and lock, the whole table.)
      const other = await sequelize.transaction();
      for (const { id } of [...many.slice(1), b]) await set(id, 1, other);
      const parent = await sequelize.transaction();
      const child = await sequelize.transaction({ transaction: parent });
      await set(a.id, 2, child);
      const waiting = set(a.id, 1, other);
      await assert.rejects(set(b.id, 2, child), /[Dd]eadlock/);
      await waiting;
      await other.commit();
      await set(many[0]!.id, 7, parent);
      assert.equal((await Counter.findByPk(many[0]!.id))?.count, 7, 'visible to others before the commit');
      assert.equal(await read(), 7);
      await parent.commit();
      assert.equal(await read(), 7);
    });

    it('below REPEATABLE READ a row that joins a bulk update while it begins is void too', async () => {
      if (name === 'sqlite') return; // has one level
      const { sequelize } = backend;
      await Account.create({ name: 'late', city: 'Oslo', tenant: 1, slug: 'late', age: 1 });
      const late = async (): Promise<number | undefined> => (await Account.cache.getOrNone({ name: 'late' }))?.age;
      await late();
      let endJoin = (): void => undefined;
      await sequelize.transaction({ isolationLevel: Transaction.ISOLATION_LEVELS.READ_COMMITTED }, async (transaction) => {
        // Our hook has read which rows are in Paris; before the statement runs, another one moves there.
        let joined = false;
        const isBulk = ({ type, transaction: of }: SentOptions): boolean => type === QueryTypes.BULKUPDATE && of === transaction;
        endJoin = beforeSending(sequelize, isBulk, async () => {
          if (joined) return;
          joined = true;
          await Account.update({ city: 'Paris' }, { where: { name: 'late' } });
          await late();
        });
        await Account.update({ age: 60 }, { where: { city: 'Paris' }, transaction });
        assert.ok(joined);
      });
      endJoin();
      assert.equal((await Account.findOne({ where: { name: 'late' } }))?.age, 60);
      assert.equal(await late(), 60);
    });

    it('a write wider than bulkInvalidationLimit voids the whole table', async () => {
      await flash.close();
      flash = backend.setup({ bulkInvalidationLimit: 2, store: name === 'mariadb' ? memcachedStore() : new MemoryStore() });
      await Account.bulkCreate(Array.from({ length: 4 }, (_, i) => ({ name: `n${String(i)}`, tenant: 2, slug: `n${String(i)}`, city: null })));
      const names = ['bill', 'n0', 'n1', 'n2', 'n3'];
      await Account.cache.getMany(names.map((one) => ({ name: one })));
      await Account.update({ age: 70 }, { where: {} });
      const found = await Account.cache.getMany(names.map((one) => ({ name: one })));
      assert.deepEqual(found.map((one) => one?.age), [70, 70, 70, 70, 70]);
      assert.equal((await cost(() => Account.cache.getMany(names.map((one) => ({ name: one }))))).sql, 0);
    });
  });
}

/** Runs SQL that the plugin does not see. */
async function otherProgram(backend: Backend): Promise<(sql: string) => Promise<void>> {
  if (backend.name === 'mariadb') {
    const other = backend.another();
    return async (sql) => {
      await other.query(sql);
    };
  }
  // The database lives in this process: its one connection, without Sequelize.
  const connection = (await backend.sequelize.connectionManager.getConnection({ type: 'read' })) as unknown as {
    run(sql: string, done: (error: Error | null) => void): void;
  };
  return (sql) =>
    new Promise((resolve, reject) => {
      connection.run(sql, (error) => {
        if (error === null) resolve();
        else reject(error);
      });
    });
}

/** A place where the code under test waits until the test lets it go. */
function gate(): { readonly reached: Promise<void>; wait(): Promise<void>; open(): void } {
  let reach: () => void = () => undefined;
  let open: () => void = () => undefined;
  const reached = new Promise<void>((resolve) => {
    reach = resolve;
  });
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  return {
    reached,
    wait: () => {
      reach();
      return opened;
    },
    open: () => {
      open();
    },
  };
}

