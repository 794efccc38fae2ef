/** `close()`: what becomes of transactions that are open, whether they have written yet or not. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { DataTypes, Model, type CreationOptional, type InferAttributes, type InferCreationAttributes, type Sequelize, type Transaction } from 'sequelize';
import { setupCache, withCache, type FlashCache } from '../../src/index.js';
import { backendNames, memcachedStore, openBackend, type Backend } from '../support/backends.js';

class User extends Model<InferAttributes<User>, InferCreationAttributes<User>> {
  static readonly cache = withCache(User, { keys: ['id', 'name'], filters: ['team'] });
  declare id: CreationOptional<number>;
  declare name: string;
  declare team: number;
}

type Work = (transaction: Transaction) => Promise<unknown>;

/** Writes of a transaction. Each changes what is cached by some key, or puts a row where none was. */
const writes: Readonly<Record<string, Work>> = {
  'a save': async (transaction) => (await User.findByPk(1, { rejectOnEmpty: true, transaction })).update({ name: 'anna' }, { transaction }),
  'a bulk update': (transaction) => User.update({ team: 2 }, { where: { team: 1 }, transaction }),
  'a create': (transaction) => User.create({ name: 'new', team: 1 }, { transaction }),
  'a bulkCreate': (transaction) => User.bulkCreate([{ name: 'new', team: 1 }], { transaction }),
  'a destroy': (transaction) => User.destroy({ where: { name: 'bob' }, transaction }),
  'raw SQL': (transaction) => User.sequelize!.query('UPDATE Users SET team = 2 WHERE id = 1', { transaction }),
  'a write of a savepoint': (transaction) =>
    User.sequelize!.transaction({ transaction }, (child) => User.update({ name: 'anna' }, { where: { id: 1 }, transaction: child })),
};

for (const name of backendNames) {
  describe(`close(), ${name}`, () => {
    let backend: Backend;
    let flash: FlashCache;
    let prefix: string;

    before(async () => {
      backend = await openBackend(name);
      User.init(
        { id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true }, name: { type: DataTypes.STRING, unique: true }, team: DataTypes.INTEGER },
        { sequelize: backend.sequelize, timestamps: false },
      );
    });
    beforeEach(async () => {
      prefix = `c${randomUUID().slice(0, 8)}`;
      await backend.sequelize.sync({ force: true });
      await User.bulkCreate([{ name: 'ann', team: 1 }, { name: 'bob', team: 1 }, { name: 'cy', team: 2 }]);
      flash = backend.setup({ prefix, alias: 'close' });
      await answers();
    });
    afterEach(() => flash.close(0));
    after(() => backend.close());

    const names = ['ann', 'anna', 'bob', 'cy', 'new'];

    async function answers(): Promise<unknown> {
      const plain = (user: User | null): unknown => user?.get() ?? null;
      return {
        ids: (await Promise.all([1, 2, 3, 4].map((id) => User.cache.getOrNone({ id })))).map(plain),
        names: (await Promise.all(names.map((one) => User.cache.getOrNone({ name: one })))).map(plain),
        teams: (await Promise.all([1, 2].map((team) => User.cache.filter({ team })))).map((users) => users.map(plain)),
      };
    }

    async function truth(): Promise<unknown> {
      const plain = (user: User | null): unknown => user?.get() ?? null;
      return {
        ids: (await Promise.all([1, 2, 3, 4].map((id) => User.findByPk(id)))).map(plain),
        names: (await Promise.all(names.map((one) => User.findOne({ where: { name: one } })))).map(plain),
        teams: (await Promise.all([1, 2].map((team) => User.findAll({ where: { team }, order: ['id'] })))).map((users) => users.map(plain)),
      };
    }

    /** Another process, or the next life of this one: it reads what the store has. */
    async function assertRight(): Promise<void> {
      await flash.close();
      flash = backend.setup({ prefix, alias: 'close' });
      assert.deepEqual(await answers(), await truth());
    }

    const isWatched = (): boolean => Object.hasOwn(backend.sequelize, 'runHooks');

    for (const [title, write] of Object.entries(writes)) {
      for (const moment of ['before', 'after'] as const) {
        for (const end of ['commit', 'rollback'] as const) {
          if (end === 'rollback' && title !== 'a save' && title !== 'a bulkCreate') continue;
          it(`${title} ${moment} it, in a transaction that was open: void at its ${end}`, async () => {
            const transaction = await backend.sequelize.transaction();
            try {
              if (moment === 'before') await write(transaction);
              assert.equal(await flash.close(), 0);
              if (moment === 'after') await write(transaction);
              assert.equal(isWatched(), true);
            } catch (error) {
              await transaction.rollback();
              throw error;
            }
            await transaction[end]();
            assert.equal(isWatched(), false, 'nothing is left on the Sequelize instance');
            await assertRight();
          });
        }
      }
    }

    it('nothing is open: nothing is left, and later transactions are not seen', async () => {
      await backend.sequelize.transaction((transaction) => User.update({ team: 3 }, { where: { id: 3 }, transaction }));
      await flash.close();
      assert.equal(isWatched(), false);
      backend.store.reset();
      await backend.sequelize.transaction((transaction) => User.update({ team: 1 }, { where: { id: 3 }, transaction }));
      assert.equal(backend.store.roundTrips, 0);
    });

    // In SQLite every statement is of the one transaction.
    if (name === 'mariadb') {
      it('what is written beside a transaction that is open is not seen', async () => {
        const open = await backend.sequelize.transaction();
        await flash.close();
        backend.store.reset();
        await backend.sequelize.transaction((transaction) => User.update({ team: 1 }, { where: { id: 3 }, transaction }));
        await User.update({ team: 2 }, { where: { id: 3 } });
        await User.bulkCreate([{ name: 'dan', team: 2 }]);
        assert.equal(backend.store.roundTrips, 0);
        await open.rollback();
        assert.equal(isWatched(), false);
      });
    }

    for (const end of ['commit', 'rollback'] as const) {
      it(`a hook of the program refuses the ${end} of the last transaction that is open, after it: nothing is left`, async () => {
        const { sequelize } = backend;
        const transaction = await sequelize.transaction();
        try {
          await writes['a save']!(transaction);
          await flash.close();
          sequelize.addHook('beforeQuery', 'refuses', (options: object) => {
            if (Reflect.get(options, 'completesTransaction') === true) throw new Error('not now');
          });
          await assert.rejects(transaction[end](), /not now/);
        } finally {
          sequelize.removeHook('beforeQuery', 'refuses');
          // Its one connection is not given up.
          if (name === 'sqlite') await sequelize.query('ROLLBACK');
        }
        assert.equal(isWatched(), false);
        await assertRight();
      });
    }

    it('every cache is closed while a hook of the program holds a statement: nothing is left, and it can be set up anew', async () => {
      const { sequelize } = backend;
      let letGo: () => void = () => undefined;
      const held = new Promise<void>((resolve) => {
        letGo = resolve;
      });
      let reached: () => void = () => undefined;
      const isHeld = new Promise<void>((resolve) => {
        reached = resolve;
      });
      sequelize.addHook('beforeQuery', 'holds', async () => {
        reached();
        await held;
      });
      const reading = User.findByPk(1);
      try {
        await isHeld;
        await flash.close();
      } finally {
        sequelize.removeHook('beforeQuery', 'holds');
        letGo();
      }
      await reading;
      assert.equal(isWatched(), false);
      flash = backend.setup({ prefix, alias: 'close' });
      assert.equal(isWatched(), true);
      await flash.close();
      assert.equal(isWatched(), false);
    });

    it('set up anew while a transaction is open: it is right after its commit, and still watched', async () => {
      const transaction = await backend.sequelize.transaction();
      await writes['a save']!(transaction);
      await flash.close();
      flash = backend.setup({ prefix, alias: 'close' });
      await writes['a bulkCreate']!(transaction);
      if (name === 'mariadb') await answers();
      await transaction.commit();
      assert.equal(isWatched(), true);
      assert.deepEqual(await answers(), await truth());
      await User.update({ team: 2 }, { where: { name: 'bob' } });
      await User.bulkCreate([{ name: 'dan', team: 2 }]);
      assert.deepEqual(await answers(), await truth());
    });

    it('health() says that it is closed', async () => {
      assert.equal((await flash.health()).closed, false);
      await flash.close();
      const { ok, closed, enabled } = await flash.health();
      assert.deepEqual({ ok, closed, enabled }, { ok: false, closed: true, enabled: true });
    });
  });
}

describe('close() of a cache whose store is from the environment', () => {
  it('ends the store after the last transaction that was open, though a hook of the program refused its COMMIT', async () => {
    const backend = await openBackend('mariadb');
    const flash = setupCache(backend.sequelize, { prefix: `c${randomUUID().slice(0, 8)}` });
    try {
      const transaction = await backend.sequelize.transaction();
      await flash.close();
      backend.sequelize.addHook('beforeQuery', (options: object) => {
        if (Reflect.get(options, 'completesTransaction') === true) throw new Error('not now');
      });
      await assert.rejects(transaction.commit(), /not now/);
      await untilClosed(flash);
    } finally {
      await backend.close();
    }
  });

  it('ends the store after the last transaction that was open', async () => {
    const backend = await openBackend('mariadb');
    const define = (sequelize: Sequelize): typeof User => {
      const Named = class extends User {};
      Object.defineProperty(Named, 'name', { value: 'User' });
      Named.init(
        { id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true }, name: { type: DataTypes.STRING, unique: true }, team: DataTypes.INTEGER },
        { sequelize, timestamps: false, modelName: 'User', tableName: 'Users' },
      );
      return Named;
    };
    const prefix = `c${randomUUID().slice(0, 8)}`;
    const Own = define(backend.sequelize);
    withCache(Own, { keys: ['id'] });
    const flash = setupCache(backend.sequelize, { prefix });
    const Other = define(backend.another());
    const otherCache = withCache(Other, { keys: ['id'] });
    const store = memcachedStore();
    const other = setupCache(Other.sequelize!, { prefix, store });
    try {
      await backend.sequelize.sync();
      await Own.create({ name: 'ann', team: 1 });
      await otherCache.get({ id: 1 });
      const transaction = await backend.sequelize.transaction();
      await flash.close();
      await Own.update({ name: 'anna' }, { where: { id: 1 }, transaction });
      await transaction.commit();
      assert.equal((await otherCache.get({ id: 1 })).name, 'anna');
      await untilClosed(flash);
    } finally {
      await other.close(0);
      await store.close();
      await backend.close();
    }
  });
});

/** Its commands are refused from now on. */
async function untilClosed({ store }: FlashCache): Promise<void> {
  const until = performance.now() + 10_000;
  while ((await store.get(['a'])).failures.size === 0 && performance.now() < until) await new Promise(setImmediate);
  assert.match(String((await store.get(['a'])).failures.get('a')?.message), /was closed/);
}
