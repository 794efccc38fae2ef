/** Writes that need more operations of the store at once than it takes: a full queue is no failed store. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { DataTypes, Model, type InferAttributes, type InferCreationAttributes } from 'sequelize';
import { setupCache, withCache } from '../../src/index.js';
import { MemcachedStore } from '../../src/stores/memcached.js';
import { memcachedStore, openBackend } from '../support/backends.js';

describe('a write with more entries than the store takes commands at once', () => {
  class Tally extends Model<InferAttributes<Tally>, InferCreationAttributes<Tally>> {
    declare id: number;
    declare count: number;
  }

  it('is seen by other processes when it is acknowledged, as any other', async () => {
    const servers = process.env.SEQUELIZE_FLASH_MEMCACHED?.split(',') ?? [];
    const backend = await openBackend('mariadb', {
      define: { timestamps: false },
      store: new MemcachedStore(servers, { timeoutMs: 2000, maxPending: 50 }),
    });
    try {
      const columns = { id: { type: DataTypes.INTEGER, primaryKey: true }, count: DataTypes.INTEGER };
      Tally.init(columns, { sequelize: backend.sequelize, modelName: 'Tally' });
      const setup = { prefix: `many${String(process.pid)}`, alias: 'many' };
      withCache(Tally, { keys: ['id'] });
      const here = backend.setup(setup);
      class Elsewhere extends Tally {}
      Elsewhere.init(columns, { sequelize: backend.another(), modelName: 'Elsewhere', tableName: Tally.tableName });
      const elsewhere = withCache(Elsewhere, { keys: ['id'] });
      const other = setupCache(Elsewhere.sequelize!, { ...setup, store: memcachedStore() });
      await backend.sequelize.sync();
      const ids = Array.from({ length: 200 }, (_, i) => i + 1);
      await Tally.bulkCreate(ids.map((id) => ({ id, count: 0 })));
      const countsElsewhere = async (): Promise<Set<unknown>> =>
        new Set((await elsewhere.getMany(ids.map((id) => ({ id })))).map((row) => row?.count));
      for (const [count, write] of [
        [1, () => Tally.update({ count: 1 }, { where: { id: ids } })],
        [2, () => Promise.all(ids.map((id) => Tally.update({ count: 2 }, { where: { id } })))],
        [3, () => backend.sequelize.transaction(async (transaction) => {
          for (const id of ids) await Tally.update({ count: 3 }, { where: { id }, transaction });
        })],
      ] as const) {
        await countsElsewhere();
        await write();
        assert.equal(here.undelivered, 0, 'invalidations were not delivered');
        assert.deepEqual(await countsElsewhere(), new Set([count]));
      }
      await other.close();
    } finally {
      await backend.close();
    }
  });

  it('in one transaction, many small statements are as wide as a large one', async () => {
    const backend = await openBackend('mariadb', { define: { timestamps: false } });
    try {
      class Mark extends Model<InferAttributes<Mark>, InferCreationAttributes<Mark>> {
        declare id: number;
        declare count: number;
      }
      Mark.init(
        { id: { type: DataTypes.INTEGER, primaryKey: true }, count: DataTypes.INTEGER },
        { sequelize: backend.sequelize, modelName: 'Mark' },
      );
      const marks = withCache(Mark, { keys: ['id'] });
      backend.setup({ bulkInvalidationLimit: 10 });
      await backend.sequelize.sync();
      const ids = Array.from({ length: 60 }, (_, i) => i + 1);
      await Mark.bulkCreate(ids.map((id) => ({ id, count: 0 })));
      const wide = (): number => Object.values(marks.stats()).reduce((sum, { tableInvalidations }) => sum + tableInvalidations, 0);
      for (const [rows, voids] of [
        [40, 0],
        [60, 1],
      ] as const) {
        const before = wide();
        await marks.getMany(ids.map((id) => ({ id })));
        await backend.sequelize.transaction(async (transaction) => {
          for (const id of ids.slice(0, rows)) await Mark.increment('count', { where: { id }, transaction });
        });
        assert.equal(wide() - before, voids, `${String(rows)} rows`);
        const found = await Mark.findAll({ order: ['id'] });
        assert.deepEqual(
          (await marks.getMany(ids.map((id) => ({ id })))).map((mark) => mark?.count),
          found.map(({ count }) => count),
        );
      }
    } finally {
      await backend.close();
    }
  });
});
