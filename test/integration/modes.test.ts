/** What a write does to entries: `invalidation` OFF, UNSET, RESET and DYNAMIC, and how long each is kept. */
import assert from 'node:assert/strict';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { after, before, beforeEach, describe, it } from 'node:test';
import { DataTypes, type Model, type ModelStatic, type Sequelize } from 'sequelize';
import {
  bumpVersion,
  InstanceCache,
  QuerysetCache,
  QuerysetCountCache,
  setupCache,
  withCache,
  type CacheClass,
  type FlashEvents,
  type JsonValue,
} from '../../src/index.js';
import { MemoryStore } from '../../src/stores/memory.js';
import { backendNames, memcachedStore, openBackend, type Backend } from '../support/backends.js';
import { costing } from '../support/cost.js';
import { ObservedStore } from '../support/observed-store.js';
import { Hold } from '../support/statements.js';

interface Row {
  id: number;
  team: string;
  points: number;
}

const allowtime = 30;

/** A process's models and cache classes; `hold` stops computing until it is let go. */
function define(sequelize: Sequelize) {
  const Player = sequelize.define<Model<Row, Omit<Row, 'id'>> & Row>(
    'Player',
    { id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true }, team: DataTypes.STRING, points: DataTypes.INTEGER },
    { timestamps: false },
  );
  const hold: { now: Hold | undefined } = { now: undefined };
  const model: ModelStatic<Model> = Player;
  class Sum extends QuerysetCache<Model, ['team']> {
    static model = model;
    static keyFields = ['team'] as const;
    override async getResult({ team }: { readonly team: unknown }): Promise<JsonValue> {
      const rows = (await this.queryset().findAll({ where: { team } as never, raw: true })) as unknown as Row[];
      const sum = rows.reduce((total, { points }) => total + points, 0);
      await hold.now?.here();
      return sum;
    }
  }
  class DynamicSum extends Sum {
    static invalidation = 'DYNAMIC' as const;
    static allowtime = allowtime;
  }
  class ResetSum extends Sum {
    static invalidation = 'RESET' as const;
  }
  class OffSum extends Sum {
    static invalidation = 'OFF' as const;
    static timeout = 100;
  }
  class OffPlayer extends InstanceCache<Model, ['id']> {
    static model = model;
    static keyFields = ['id'] as const;
    static invalidation = 'OFF' as const;
    static timeout = 100;
    static negativeTimeout = 10;
  }
  class DynamicTeam extends QuerysetCache<Model, ['team']> {
    static model = model;
    static keyFields = ['team'] as const;
    static invalidation = 'DYNAMIC' as const;
    static allowtime = allowtime;
  }
  class ResetPlayer extends InstanceCache<Model, ['id']> {
    static model = model;
    static keyFields = ['id'] as const;
    static invalidation = 'RESET' as const;
  }
  class Count extends QuerysetCountCache<Model> {
    static model = model;
    static keyFields = [];
  }
  const classes = [DynamicSum, ResetSum, OffSum, OffPlayer, DynamicTeam, ResetPlayer, Count] satisfies CacheClass[];
  const cache = withCache(Player, { keys: ['id'] as never, filters: ['team'] as never, caches: classes as never, negativeTimeout: 20 });
  return { Player, cache, hold, DynamicSum, ResetSum, OffSum, OffPlayer, DynamicTeam, ResetPlayer, Count };
}

/** Resolves when something is stored under a key that contains this text. */
function filled(part: string): Promise<void> {
  return new Promise((resolve) => {
    const listen = (message: unknown): void => {
      if (!(message as FlashEvents['fill']).key.includes(part)) return;
      unsubscribe('sequelize-flash:fill', listen);
      resolve();
    };
    subscribe('sequelize-flash:fill', listen);
  });
}

for (const name of backendNames) {
  describe(`invalidation modes on ${name}`, () => {
    let backend: Backend;
    let time = 0;
    let models: ReturnType<typeof define>;
    /** The same in another process; on SQLite there is none. */
    let other: ReturnType<typeof define> | undefined;
    let ended: () => Promise<unknown> = () => Promise.resolve();
    let sum = 0;

    before(async () => {
      backend = await openBackend(name, name === 'sqlite' ? { store: new MemoryStore({ now: () => time }) } : {});
      models = define(backend.sequelize);
      await backend.sequelize.sync();
      backend.setup({ prefix: `modes-${String(process.pid)}` });
      if (name !== 'mariadb') return;
      const sequelize = backend.another();
      other = define(sequelize);
      const cache = setupCache(sequelize, { store: new ObservedStore(memcachedStore()), prefix: `modes-${String(process.pid)}` });
      ended = () => cache.close(0);
    });
    after(async () => {
      await ended();
      await backend.close();
    });
    let team = '';
    beforeEach(async () => {
      time += 1_000_000;
      models.hold.now = undefined;
      team = `team ${String(Math.random())}`;
      await models.Player.bulkCreate([{ team, points: 1 }, { team, points: 2 }]);
      sum = 3;
    });
    const add = async (points: number): Promise<void> => {
      await models.Player.create({ team, points });
      sum += points;
    };

    it('DYNAMIC: one reader computes, the others are given the outdated value meanwhile', async () => {
      const read = (): Promise<unknown> => new models.DynamicSum(team).resolve();
      assert.equal(await read(), 3);
      models.hold.now = new Hold();
      await add(10);
      const computing = read();
      await models.hold.now.reached;
      const before = models.cache.stats().DynamicSum!.outdated;
      const outdated = await costing(backend, { sql: 0 }, () => Promise.all([read(), read()]));
      assert.deepEqual(outdated, [3, 3]);
      assert.equal(models.cache.stats().DynamicSum!.outdated, before + 2);
      if (other !== undefined) assert.equal(await costing(backend, { sql: 0 }, () => new other!.DynamicSum(team).resolve()), 3);
      models.hold.now.release();
      models.hold.now = undefined;
      assert.equal(await computing, 13);
      assert.equal(await costing(backend, { sql: 0 }, read), 13);
    });

    it('DYNAMIC: the reader that computes, and one that asks for a refresh, get the new value', async () => {
      await new models.DynamicSum(team).resolve();
      await add(10);
      assert.equal(await new models.DynamicSum(team).resolve(), 13);
      await add(1);
      assert.equal(await new models.DynamicSum(team).resolve({ refresh: true }), 14);
    });

    it('DYNAMIC: a value is outdated by the first write after it, and not kept longer by the next', { skip: name !== 'sqlite' && 'needs a clock' }, async () => {
      const read = (): Promise<unknown> => new models.DynamicSum(team).resolve();
      await read();
      await add(10);
      models.hold.now = new Hold();
      const computing = read();
      await models.hold.now.reached;
      time += (allowtime - 1) * 1000;
      assert.equal(await read(), 3);
      await add(100);
      time += 1000;
      // It takes part in the load that runs, or waits for the next: what it must not be is outdated.
      const late = read();
      models.hold.now.release();
      models.hold.now = undefined;
      assert.equal(await late, 113);
      await computing;
      assert.equal(await read(), 113);
    });

    it('DYNAMIC: while a write is in flight, and when it is rolled back', async () => {
      const read = (): Promise<unknown> => new models.DynamicSum(team).resolve();
      await read();
      const undone = new Error('undone');
      await assert.rejects(
        backend.sequelize.transaction(async (transaction) => {
          await models.Player.create({ team, points: 5 }, { transaction });
          throw undone;
        }),
        undone,
      );
      assert.equal(await costing(backend, { sql: 0 }, read), 3);
    });

    it('DYNAMIC: a list of instances', async () => {
      const read = async (): Promise<number[]> =>
        ((await new models.DynamicTeam(team).resolve()) as unknown as Row[]).map(({ points }) => points).sort();
      assert.deepEqual(await read(), [1, 2]);
      await models.Player.update({ points: 7 }, { where: { team, points: 2 } });
      assert.deepEqual(await read(), [1, 7]);
      assert.deepEqual(await costing(backend, { sql: 0 }, read), [1, 7]);
    });

    it('RESET: the value is there again after the write, without a read', async () => {
      await new models.ResetSum(team).resolve();
      // That it is stored is not what is waited for.
      await backend.store.quiet();
      const reset = filled(`ResetSum:=${encodeURIComponent(team)}`);
      await add(10);
      await reset;
      assert.equal(await costing(backend, { sql: 0 }, () => new models.ResetSum(team).resolve()), 13);
    });

    it('RESET: of a row, and after a transaction', async () => {
      const row = await models.Player.findOne({ where: { team, points: 1 }, rejectOnEmpty: true });
      await new models.ResetPlayer(row.id).resolve();
      await backend.store.quiet();
      const reset = filled(`:r:Players:=${String(row.id)}`);
      await backend.sequelize.transaction((transaction) => row.update({ points: 9 }, { transaction }));
      await reset;
      const read = await costing(backend, { sql: 0 }, () => new models.ResetPlayer(row.id).resolve());
      assert.equal((read as unknown as Row).points, 9);
    });

    it('RESET: close() waits for what is computed anew no longer than for what is undelivered', { skip: name !== 'mariadb' && 'needs a second process' }, async () => {
      const sequelize = backend.another();
      const third = define(sequelize);
      const cache = setupCache(sequelize, { store: memcachedStore(), prefix: `closing-${String(process.pid)}` });
      await new third.ResetSum(team).resolve();
      const held = new Hold();
      third.hold.now = held;
      await third.Player.create({ team, points: 10 });
      await held.reached;
      // It is never let go before close() has returned.
      assert.equal(await cache.close(50), 0);
      held.release();
    });

    it('OFF: no write changes it; a version does', async () => {
      const row = await models.Player.findOne({ where: { team, points: 1 }, rejectOnEmpty: true });
      const read = async (): Promise<unknown> => [await new models.OffSum(team).resolve(), ((await new models.OffPlayer(row.id).resolve()) as unknown as Row).points];
      assert.deepEqual(await read(), [3, 1]);
      await backend.store.quiet();
      // Those that are reset ask the database, behind the write's back.
      const reset = [filled(`:r:Players:=${String(row.id)}`), filled(`ResetSum:=${encodeURIComponent(team)}`)];
      await row.update({ points: 50 });
      await Promise.all(reset);
      assert.deepEqual(await costing(backend, { sql: 0 }, read), [3, 1]);
      await bumpVersion(models.OffSum);
      assert.deepEqual(await read(), [sum + 49, 1]);
      await models.cache.clear();
      assert.deepEqual(await read(), [sum + 49, 50]);
    });

    it('OFF: the timeout ends it; "there is none" sooner', { skip: name !== 'sqlite' && 'needs a clock' }, async () => {
      assert.equal(await new models.OffSum(team).resolve(), 3);
      await assert.rejects(new models.OffPlayer(9_999_999).resolve(), /does not exist/);
      await add(1);
      await models.Player.create({ id: 9_999_999, team: 'late', points: 0 } as never);
      time += 9_900;
      await costing(backend, { sql: 0 }, () => assert.rejects(new models.OffPlayer(9_999_999).resolve(), /does not exist/));
      time += 200;
      await new models.OffPlayer(9_999_999).resolve();
      time += 89_800;
      assert.equal(await costing(backend, { sql: 0 }, () => new models.OffSum(team).resolve()), 3);
      time += 200;
      assert.equal(await new models.OffSum(team).resolve(), 4);
      await models.Player.destroy({ where: { id: 9_999_999 } });
    });

    it('an empty list is kept for negativeTimeout', { skip: name !== 'sqlite' && 'needs a clock' }, async () => {
      const read = (): Promise<unknown> => models.cache.filter({ team: 'nobody' } as never);
      assert.deepEqual(await read(), []);
      time += 19_900;
      await costing(backend, { sql: 0 }, read);
      time += 200;
      await costing(backend, { sql: 1 }, read);
    });
  });
}
