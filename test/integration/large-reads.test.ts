/** Reads of tens of thousands of rows: the second one asks no database. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { DataTypes, Model, type CreationOptional, type InferAttributes, type InferCreationAttributes } from 'sequelize';
import { withCache } from '../../src/index.js';
import { backendNames, openBackend, type Backend } from '../support/backends.js';
import { costing } from '../support/cost.js';

const rows = 60_000;

for (const name of backendNames) {
  describe(`reads of many rows on ${name}`, () => {
    class Reading extends Model<InferAttributes<Reading>, InferCreationAttributes<Reading>> {
      static readonly cache = withCache(Reading, { keys: ['id'], filters: ['meter'] });
      declare id: CreationOptional<number>;
      declare meter: number;
    }
    let backend: Backend;
    before(async () => {
      backend = await openBackend(name);
      Reading.init({ id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true }, meter: DataTypes.INTEGER }, { sequelize: backend.sequelize, timestamps: false });
      await backend.sequelize.sync();
      const digits = (of: string): string => `(${Array.from({ length: 10 }, (_, digit) => `SELECT ${String(digit)} AS n`).join(' UNION ALL ')}) ${of}`;
      await backend.sequelize.query(
        `INSERT INTO Readings (id, meter) SELECT 1 + a.n + 10 * b.n + 100 * c.n + 1000 * d.n + 10000 * e.n, 1 FROM ${['a', 'b', 'c', 'd'].map(digits).join(', ')}, (SELECT n FROM ${digits('f')} WHERE n < ${String(rows / 10_000)}) e`,
      );
      backend.setup();
    });
    after(() => backend.close());

    for (const many of [20_000, 50_000]) {
      it(`getMany of ${String(many)} keys`, async () => {
        const keys = Array.from({ length: many }, (_, at) => ({ id: at + 1 }));
        assert.equal((await Reading.cache.getMany(keys)).length, many);
        await backend.store.quiet();
        const found = await costing(backend, { sql: 0 }, () => Reading.cache.getMany(keys));
        assert.ok(found.every((row, at) => row?.id === at + 1));
      });
    }

    it(`a list of ${String(rows)} rows`, async () => {
      assert.equal((await Reading.cache.filter({ meter: 1 })).length, rows);
      await backend.store.quiet();
      const found = await costing(backend, { sql: 0 }, () => Reading.cache.filter({ meter: 1 }));
      assert.ok(found.every((row, at) => row.id === at + 1));
    });
  });
}
