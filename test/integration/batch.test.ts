/** `BatchCacheQuery`: queries of different classes and models, run together. */
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { DataTypes, Model, type CreationOptional, type ForeignKey, type InferAttributes, type InferCreationAttributes, type NonAttribute } from 'sequelize';
import {
  BatchCacheQuery,
  InstanceCache,
  NotInCacheError,
  QuerysetCountCache,
  registerCache,
  RelatedInstanceCache,
  withCache,
} from '../../src/index.js';
import { backendNames, openBackend, type Backend } from '../support/backends.js';
import { costing } from '../support/cost.js';

for (const name of backendNames) {
  describe(`batches on ${name}`, () => {
    class Town extends Model<InferAttributes<Town>, InferCreationAttributes<Town>> {
      static readonly cache = withCache(Town, { keys: ['id', 'name'] });
      declare id: CreationOptional<number>;
      declare name: string;
    }
    class User extends Model<InferAttributes<User>, InferCreationAttributes<User>> {
      static readonly cache = withCache(User, { keys: ['id'], filters: ['town'] });
      declare id: CreationOptional<number>;
      declare name: string;
      declare townId: ForeignKey<number | null>;
      declare town?: NonAttribute<Town>;
    }
    class UserByName extends InstanceCache<User, ['name']> {
      static model = User;
      static keyFields = ['name'] as const;
    }
    class UsersOfTown extends QuerysetCountCache<User, ['town']> {
      static model = User;
      static keyFields = ['town'] as const;
    }
    class TownOfUser extends RelatedInstanceCache<User, Town, ['id']> {
      static model = User;
      static keyFields = ['id'] as const;
      static relation = 'town';
    }
    const failure = new Error('out of order');
    class FailingUser extends InstanceCache<User, ['id']> {
      static model = User;
      static keyFields = ['id'] as const;
      override getInstance(): User {
        throw failure;
      }
    }
    for (const cacheClass of [UserByName, UsersOfTown, TownOfUser, FailingUser]) registerCache(cacheClass);

    let backend: Backend;
    let town: Town;
    let bill: User;
    let emma: User;
    const unhandled: unknown[] = [];
    const onUnhandled = (reason: unknown): void => {
      unhandled.push(reason);
    };

    before(async () => {
      process.on('unhandledRejection', onUnhandled);
      backend = await openBackend(name);
      const { sequelize } = backend;
      const id = { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true } as const;
      Town.init({ id, name: { type: DataTypes.STRING, unique: true } }, { sequelize, timestamps: false });
      User.init({ id, name: { type: DataTypes.STRING, unique: true } }, { sequelize, timestamps: false });
      User.belongsTo(Town, { as: 'town', foreignKey: 'townId' });
      await sequelize.sync();
      backend.setup();
    });
    after(async () => {
      await backend.close();
      process.off('unhandledRejection', onUnhandled);
    });
    beforeEach(async () => {
      await User.destroy({ where: {} });
      await Town.destroy({ where: {} });
      town = await Town.create({ name: 'Oslo' });
      bill = await User.create({ name: 'bill', townId: town.id });
      emma = await User.create({ name: 'emma', townId: town.id });
    });

    /** Seven queries of six classes and two models. */
    const mixed = () =>
      new BatchCacheQuery({
        bill: User.cache.getQuery({ id: bill.id }),
        emma: User.cache.getQuery({ id: emma.id }),
        byName: new UserByName('bill'),
        town: Town.cache.getQuery({ name: 'Oslo' }),
        users: User.cache.filterQuery({ town }),
        count: new UsersOfTown(town),
        related: new TownOfUser(emma.id),
      });
    const contents = (answers: object): unknown => JSON.parse(JSON.stringify(answers));
    const expected = async (): Promise<unknown> =>
      contents({
        bill: await User.findByPk(bill.id),
        emma: await User.findByPk(emma.id),
        byName: await User.findByPk(bill.id),
        town: await Town.findByPk(town.id),
        users: await User.findAll({ where: { townId: town.id } }),
        count: 2,
        related: await Town.findByPk(town.id),
      });

    it('is one round trip for all classes and models when it is warm, and no statement', async () => {
      const right = await expected();
      await mixed().get();
      await backend.store.quiet();
      const warm = await costing(backend, { sql: 0 }, () => mixed().get());
      assert.equal(backend.store.roundTrips, 1);
      assert.deepEqual(contents(warm), right);
      assert.deepEqual(Object.keys(warm), ['bill', 'emma', 'byName', 'town', 'users', 'count', 'related'], 'in the order of the queries');
      assert.ok(warm.bill instanceof User && warm.related instanceof Town);
      assert.notEqual(warm.bill, warm.byName, 'each has an instance of its own');
    });

    it('is one multi-get for rows and results of different classes and models', async () => {
      const batch = new BatchCacheQuery({
        bill: User.cache.getQuery({ id: bill.id }),
        byName: new UserByName('emma'),
        town: Town.cache.getQuery({ name: 'Oslo' }),
        count: new UsersOfTown(town),
      });
      await batch.get();
      const { byName, count } = await costing(backend, { sql: 0, gets: 1 }, () => batch.get());
      assert.deepEqual([byName.name, count], ['emma', 2]);
    });

    it('costs at most one statement for the misses of each class', async () => {
      const users = await User.bulkCreate(Array.from({ length: 5 }, (_, at) => ({ name: `user ${String(at)}`, townId: town.id })));
      const names = users.map(({ name: called }) => called);
      const batch = new BatchCacheQuery(
        Object.fromEntries([
          ...names.map((called) => [called, new UserByName(called)] as const),
          ['town', Town.cache.getQuery({ id: town.id })],
          ['count', new UsersOfTown(town)],
        ]),
      );
      const answers = await costing(backend, { sql: 3 }, () => batch.get());
      assert.deepEqual(names.map((called) => (answers[called] as User).name), names);
      assert.equal(answers.count, 7);
      await costing(backend, { sql: 0 }, () => batch.get());
    });

    it('push adds to it, and returns it; every get reads anew', async () => {
      const batch = new BatchCacheQuery();
      const same = batch.push('bill', User.cache.getQuery({ id: bill.id })).push('count', new UsersOfTown(town));
      assert.equal(same, batch);
      assert.equal((await same.get()).count, 2);
      await emma.destroy();
      const { bill: found, count } = await same.get();
      assert.deepEqual([found.name, count], ['bill', 1]);
      assert.deepEqual(await new BatchCacheQuery().get(), {});
    });

    it('onlyCache asks no database: undefined for what is not there', async () => {
      await User.cache.get({ id: bill.id });
      await assert.rejects(User.cache.get({ id: 999_999 }));
      const batch = new BatchCacheQuery({
        warm: User.cache.getQuery({ id: bill.id }),
        cold: User.cache.getQuery({ id: emma.id }),
        coldCount: new UsersOfTown(town),
        coldRelated: new TownOfUser(emma.id),
      });
      const answers = await costing(backend, { sql: 0 }, () => batch.get({ onlyCache: true }));
      assert.equal(answers.warm?.name, 'bill');
      assert.deepEqual({ ...answers, warm: 0 }, { warm: 0, cold: undefined, coldCount: undefined, coldRelated: undefined });
      // That there is none is known, and an error as it is from `resolve`.
      const none = new BatchCacheQuery({ cold: User.cache.getQuery({ id: emma.id }), none: User.cache.getQuery({ id: 999_999 }) });
      await costing(backend, { sql: 0 }, () => assert.rejects(none.get({ onlyCache: true }), User.cache.DoesNotExist));
      const { cold, none: error } = await none.get({ onlyCache: true, returnExceptions: true });
      assert.equal(cold, undefined);
      assert.ok(error instanceof User.cache.DoesNotExist);
      assert.ok(!(error instanceof NotInCacheError));
    });

    it('rejects with the first error in the order of the queries, after all of them, and leaves none unhandled', async () => {
      let last = false;
      const batch = new BatchCacheQuery({
        bill: User.cache.getQuery({ id: bill.id }),
        none: User.cache.getQuery({ id: 999_999 }),
        failing: new FailingUser(bill.id),
        // Rejects at once, before those that are asked for first.
        early: { resolve: () => Promise.reject(new Error('early')) },
        thrown: {
          resolve: (): Promise<string> => {
            throw new Error('not even a promise');
          },
        },
        late: {
          resolve: async () => {
            await nextTurn();
            last = true;
          },
        },
      });
      await assert.rejects(batch.get(), User.cache.DoesNotExist);
      assert.ok(last, 'nothing of it runs on');
      for (let turn = 0; turn < 3; turn += 1) await nextTurn();
      assert.deepEqual(unhandled, []);

      const errors = await batch.get({ returnExceptions: true });
      assert.ok(errors.bill instanceof User);
      assert.ok(errors.none instanceof User.cache.DoesNotExist);
      assert.equal(errors.failing, failure);
      assert.ok(errors.thrown instanceof Error);
      assert.match(errors.thrown.message, /not even a promise/);

      const { bill: found, ...others } = await batch.get({ noneOnException: true });
      assert.equal(found?.name, 'bill');
      assert.deepEqual(others, { none: null, failing: null, early: null, thrown: null, late: undefined });
    });

    it('in a transaction it reads what the transaction sees, and neither asks nor fills the cache', async () => {
      await mixed().get();
      const undone = new Error('undone');
      await assert.rejects(
        backend.sequelize.transaction(async (transaction) => {
          await bill.update({ name: 'william' }, { transaction });
          backend.reset();
          const batch = new BatchCacheQuery({ bill: User.cache.getQuery({ id: bill.id }), count: new UsersOfTown(town), related: new TownOfUser(bill.id) });
          const { bill: found, count, related } = await batch.get({ transaction });
          assert.deepEqual([found.name, count, related?.name], ['william', 2, 'Oslo']);
          assert.equal(backend.store.roundTrips, 0);
          throw undone;
        }),
        undone,
      );
      assert.equal((await mixed().get()).bill.name, 'bill');
      assert.deepEqual(contents(await mixed().get()), await expected());
    });
  });
}
