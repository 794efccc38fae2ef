/** Lists, counts and "is there one": what they answer, what that costs, and when they are one moment's. */
import assert from 'node:assert/strict';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { after, before, beforeEach, describe, it } from 'node:test';
import { DataTypes, Model, type CreationOptional, type ForeignKey, type InferAttributes, type InferCreationAttributes, type NonAttribute } from 'sequelize';
import { QuerysetCache, QuerysetCountCache, QuerysetExistsCache, registerCache, withCache, type FlashEvents, type JsonValue } from '../../src/index.js';
import { MemoryStore } from '../../src/stores/memory.js';
import { backendNames, openBackend, type Backend } from '../support/backends.js';
import { costing } from '../support/cost.js';
import { holdFirst } from '../support/observed-store.js';

for (const name of backendNames) {
  describe(`querysets on ${name}`, () => {
    class User extends Model<InferAttributes<User>, InferCreationAttributes<User>> {
      static readonly cache = withCache(User, { keys: ['id'] });
      declare id: CreationOptional<number>;
      declare name: string;
    }
    class Vote extends Model<InferAttributes<Vote>, InferCreationAttributes<Vote>> {
      static readonly cache = withCache(Vote, { keys: ['id'], filters: ['user', ['user', 'kind']] });
      declare id: CreationOptional<number>;
      declare kind: string;
      declare weight: number;
      declare userId: ForeignKey<number | null>;
      declare user?: NonAttribute<User>;
    }
    class HeaviestVotes extends QuerysetCache<Vote, ['user']> {
      static model = Vote;
      static keyFields = ['user'] as const;
      static order = [['weight', 'DESC'], 'id'] as const;
      static limit = 2;
    }
    class WeightOfUser extends QuerysetCache<Vote, ['user']> {
      static model = Vote;
      static keyFields = ['user'] as const;
      override async getResult({ user }: { readonly user: number | null }): Promise<JsonValue> {
        const votes = await this.queryset().findAll({ where: { userId: user } });
        return { weight: votes.reduce((sum, { weight }) => sum + weight, 0), ids: votes.map(({ id }) => id).sort() };
      }
    }
    class HasVoted extends QuerysetExistsCache<Vote, ['user']> {
      static model = Vote;
      static keyFields = ['user'] as const;
    }
    class VotesOfUser extends QuerysetCountCache<Vote, ['user']> {
      static model = Vote;
      static keyFields = ['user'] as const;
    }
    class AllVotes extends QuerysetCountCache<Vote, []> {
      static model = Vote;
      static keyFields = [] as const;
    }
    for (const cacheClass of [HeaviestVotes, WeightOfUser, HasVoted, VotesOfUser, AllVotes]) registerCache(cacheClass);

    let backend: Backend;
    let bill: User;
    let emma: User;

    before(async () => {
      backend = await openBackend(name);
      const { sequelize } = backend;
      const id = { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true } as const;
      User.init({ id, name: DataTypes.STRING }, { sequelize, timestamps: false });
      Vote.init({ id, kind: DataTypes.STRING, weight: DataTypes.INTEGER }, { sequelize, timestamps: false });
      Vote.belongsTo(User, { as: 'user', foreignKey: 'userId' });
      await sequelize.sync();
      backend.setup();
    });
    after(() => backend.close());
    beforeEach(async () => {
      await Vote.destroy({ where: {} });
      [bill, emma] = (await User.bulkCreate([{ name: 'bill' }, { name: 'emma' }])) as [User, User];
      [bill, emma] = (await User.findAll({ order: [['id', 'DESC']], limit: 2 })).reverse() as [User, User];
      for (const weight of [1, 2, 3]) await Vote.create({ userId: bill.id, kind: 'up', weight });
    });

    const weights = (votes: readonly Vote[]): number[] => votes.map(({ weight }) => weight).sort();

    it('a list is cached with its rows, and costs one round trip when it is warm', async () => {
      const cold = await costing(backend, { sql: 1 }, () => Vote.cache.filter({ user: bill }));
      await backend.store.quiet();
      const warm = await costing(backend, { sql: 0 }, () => Vote.cache.filter({ userId: bill.id }));
      assert.equal(backend.store.roundTrips, 1);
      assert.deepEqual(weights(cold), [1, 2, 3]);
      assert.deepEqual(warm, await Vote.findAll({ where: { userId: bill.id } }));
      // The rows are those of all caches.
      await costing(backend, { sql: 0 }, () => Vote.cache.get({ id: warm[0]!.id }));
    });

    describe('the rounds of a list of twenty rows', () => {
      let near: () => void;
      before(() => {
        near = backend.store.moveAway();
      });
      after(() => near());
      beforeEach(async () => {
        await Vote.bulkCreate(Array.from({ length: 20 }, (_, at) => ({ userId: emma.id, kind: 'up', weight: at })));
        // The table is known to the store again, its epoch too, which the writes have removed.
        await Vote.cache.filter({ user: bill });
      });
      const read = async (): Promise<Vote[]> => Vote.cache.filter({ user: emma });

      it('that nothing is cached of: list and rows are stored at the same time', async () => {
        assert.equal((await costing(backend, { sql: 1, rounds: 4, operations: { get: 3, add: 21, compareAndSwap: 21 } }, read)).length, 20);
        await costing(backend, { sql: 0, rounds: 1, operations: { get: 2 } }, read);
      });

      it('that was there before, and lacks a row that was written', async () => {
        await read();
        await read();
        const [vote] = await Vote.findAll({ where: { userId: emma.id }, order: ['id'] });
        await vote!.update({ weight: 77 });
        assert.equal((await costing(backend, { sql: 1, rounds: 8, operations: { get: 8, add: 2, compareAndSwap: 3 } }, read)).find(({ id }) => id === vote!.id)?.weight, 77);
        await costing(backend, { sql: 0, rounds: 1, operations: { get: 2 } }, read);
      });
    });

    it('an empty list is cached, until a row comes', async () => {
      assert.deepEqual(await costing(backend, { sql: 1 }, () => Vote.cache.filter({ user: emma })), []);
      assert.deepEqual(await costing(backend, { sql: 0 }, () => Vote.cache.filter({ user: emma })), []);
      await Vote.create({ userId: emma.id, kind: 'up', weight: 7 });
      assert.deepEqual(weights(await Vote.cache.filter({ user: emma })), [7]);
    });

    it('a row that moves leaves one list and comes to the other, without extra SQL', async () => {
      await Promise.all([Vote.cache.filter({ user: bill }), Vote.cache.filter({ user: emma })]);
      const [vote] = await Vote.cache.filter({ user: bill });
      await vote!.update({ userId: emma.id });
      assert.equal((await Vote.cache.filter({ user: bill })).length, 2);
      assert.equal((await Vote.cache.filter({ user: emma })).length, 1);
      await vote!.destroy();
      assert.equal((await Vote.cache.filter({ user: emma })).length, 0);
    });

    it('order and limit: a row that is not in the list comes into it when its order changes', async () => {
      const heaviest = async (): Promise<number[]> => (await new HeaviestVotes(bill).resolve()).map(({ weight }) => weight);
      assert.deepEqual(await heaviest(), [3, 2]);
      assert.deepEqual(await costing(backend, { sql: 0 }, heaviest), [3, 2]);
      await Vote.update({ weight: 9 }, { where: { weight: 1 } });
      assert.deepEqual(await heaviest(), [9, 3]);
      await Vote.destroy({ where: { weight: 9 } });
      assert.deepEqual(await heaviest(), [3, 2]);
      await Vote.increment({ weight: 5 }, { where: { weight: 2 } });
      assert.deepEqual(await heaviest(), [7, 3]);
    });

    it('results, counts and existence are exact', async () => {
      const read = async (user: User): Promise<unknown> => [
        await new WeightOfUser(user).resolve(),
        await new HasVoted(user).resolve(),
        await new VotesOfUser({ user }).resolve(),
        await new AllVotes().resolve(),
      ];
      const ids = weights(await Vote.findAll()).length;
      assert.equal(ids, 3);
      const [{ weight }, ...others] = (await read(bill)) as [{ weight: number }, ...unknown[]];
      assert.deepEqual([weight, ...others], [6, true, 3, 3]);
      assert.deepEqual(await costing(backend, { sql: 0 }, () => read(bill)), await read(bill));
      assert.deepEqual(await read(emma), [{ weight: 0, ids: [] }, false, 0, 3]);
      const [vote] = await Vote.findAll({ order: ['weight'] });
      // Only the result depends on a weight.
      await costing(backend, {}, () => vote!.update({ weight: 4 }));
      await costing(backend, { sql: 1 }, () => read(bill));
      await Vote.update({ userId: emma.id }, { where: { userId: bill.id } });
      assert.deepEqual(await read(bill), [{ weight: 0, ids: [] }, false, 0, 3]);
      assert.deepEqual(((await read(emma)) as unknown[]).slice(1), [true, 3, 3]);
    });

    it('a list of more rows than the store takes at once is cached, and leaves room for others', async () => {
      const rows = Array.from({ length: 12_000 }, (_, at) => ({ userId: emma.id, kind: 'many', weight: at }));
      for (let from = 0; from < rows.length; from += 3000) await Vote.bulkCreate(rows.slice(from, from + 3000));
      const failures: unknown[] = [];
      const listen = (message: unknown): void => void failures.push(message);
      subscribe('sequelize-flash:error', listen);
      const expired: unknown[] = [];
      const listenToExpired = (message: unknown): void => void expired.push(message);
      subscribe('sequelize-flash:expired', listenToExpired);
      try {
        // A machine that is too busy to renew a lease in time says so, and gives the next one a longer life.
        do {
          expired.length = 0;
          assert.equal((await Vote.cache.filter({ user: emma })).length, 12_000);
          await backend.store.quiet();
        } while (expired.length > 0);
        assert.equal((await costing(backend, { sql: 0 }, () => Vote.cache.filter({ user: emma }))).length, 12_000);
      } finally {
        unsubscribe('sequelize-flash:error', listen);
        unsubscribe('sequelize-flash:expired', listenToExpired);
      }
      assert.deepEqual(failures, []);
    });

    it('a list is one moment: what one transaction changes in two rows is seen whole or not at all', async () => {
      const sum = async (): Promise<number> => (await Vote.cache.filter({ user: bill })).reduce((total, { weight }) => total + weight, 0);
      assert.equal(await sum(), 6);
      const [first, second] = await Vote.findAll({ where: { userId: bill.id }, order: ['weight'] });
      // The reader knows which rows are in the list, and has looked at the list but not at the rows yet.
      const held = holdFirst(backend.store, (operation, key) => operation === 'get' && key.includes(':r:'));
      const reading = sum();
      await held.reached;
      await backend.sequelize.transaction(async (transaction) => {
        await first!.update({ weight: 101 }, { transaction });
        await second!.update({ weight: -98 }, { transaction });
      });
      // Another reader fills one of the two rows.
      await Vote.cache.get({ id: second!.id });
      held.release();
      assert.equal(await reading, 6);
      assert.equal(await sum(), 6);
    });
  });
}

describe('a list over the item limit of the store', () => {
  it('is served and not cached, is counted, and an event says why; its rows are cached', async () => {
    class Line extends Model<InferAttributes<Line>, InferCreationAttributes<Line>> {
      static readonly cache = withCache(Line, { keys: ['id'], filters: [[]], caches: () => [Texts] });
      declare id: CreationOptional<number>;
      declare text: string;
    }
    class Texts extends QuerysetCache<Line, []> {
      static model = Line;
      static keyFields = [] as const;
      override async getResult(): Promise<string[]> {
        return (await this.queryset().findAll()).map(({ text }) => text);
      }
    }
    const backend = await openBackend('sqlite', { store: new MemoryStore({ maxValueBytes: 600 }) });
    const bypasses: FlashEvents['bypass'][] = [];
    const listen = (message: unknown): void => {
      bypasses.push(message as FlashEvents['bypass']);
    };
    try {
      const { sequelize } = backend;
      const id = { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true } as const;
      Line.init({ id, text: DataTypes.STRING }, { sequelize, timestamps: false });
      await sequelize.sync();
      backend.setup();
      await Line.bulkCreate(Array.from({ length: 300 }, (_, at) => ({ text: `line ${String(at)}` })));
      subscribe('sequelize-flash:bypass', listen);
      for (const [cache, read] of [
        ['Line[]', () => Line.cache.filter({})],
        ['Texts', () => new Texts().resolve()],
      ] as const) {
        bypasses.length = 0;
        for (let time = 1; time <= 2; time += 1) {
          const answer: readonly unknown[] = await costing<readonly unknown[]>(backend, { sql: 1 }, read);
          assert.equal(answer.length, 300);
          assert.deepEqual(bypasses, Array.from({ length: time }, () => ({ cache, reason: 'too-large' })));
          assert.equal(Line.cache.stats()[cache]?.bypasses, time);
        }
      }
      const [line] = await Line.cache.filter({});
      await costing(backend, { sql: 0 }, () => Line.cache.get({ id: line!.id }));
      await line!.update({ text: 'another' });
      assert.ok((await Line.cache.filter({})).some(({ text }) => text === 'another'));
    } finally {
      unsubscribe('sequelize-flash:bypass', listen);
      await backend.close();
    }
  });
});
