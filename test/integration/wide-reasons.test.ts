/** Each table that a write voids as a whole is told of, with the statement and the reason; others are not. */
import assert from 'node:assert/strict';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { after, before, describe, it } from 'node:test';
import type { Sequelize} from 'sequelize';
import { Transaction, type ModelStatic } from 'sequelize';
import type { FlashEvents, WideReason } from '../../src/events.js';
import { openBackend, type Backend } from '../support/backends.js';
import { cacheCoins, defineCoins, type Coin } from './interception/coins.js';

interface Scene {
  readonly sequelize: Sequelize;
  readonly coins: ModelStatic<Coin>;
  readonly cache: ReturnType<typeof cacheCoins>;
}

const found = { rejectOnEmpty: true } as const;
const many = Array.from({ length: 11 }, (_, n) => ({ name: `many ${String(n)}`, worth: 3 }));

const exact: Readonly<Record<string, (scene: Scene) => Promise<unknown>>> = {
  create: ({ coins }) => coins.create({ name: 'new', worth: 1 }),
  update: async ({ coins }) => (await coins.findByPk(1, found)).update({ worth: 9 }),
  destroy: async ({ coins }) => (await coins.findByPk(2, found)).destroy(),
  bulkCreate: ({ coins }) => coins.bulkCreate([{ name: 'bulk', worth: 1 }]),
  'update by a condition': ({ coins }) => coins.update({ worth: 8 }, { where: { name: 'penny' } }),
  'destroy by a condition': ({ coins }) => coins.destroy({ where: { name: 'bulk' } }),
  'a SELECT': ({ sequelize }) => sequelize.query('SELECT 1 FROM Coins'),
};

const wide: Readonly<Record<string, readonly [(scene: Scene) => Promise<unknown>, string, WideReason]>> = {
  'a condition with SQL': [({ coins, sequelize }) => coins.update({ worth: 1 }, { where: sequelize.literal('id = 1') }), 'BULKUPDATE', 'unknown-rows'],
  'an increment by a condition': [({ coins }) => coins.increment('worth', { where: { name: 'penny' } }), 'UPDATE', 'unknown-rows'],
  'an insert without hooks': [({ coins }) => coins.bulkCreate([{ name: 'hidden', worth: 1 }], { hooks: false }), 'INSERT', 'unknown-rows'],
  'many rows inserted': [({ coins }) => coins.bulkCreate(many), 'INSERT', 'too-many-rows'],
  'many rows by a condition': [({ coins }) => coins.update({ worth: 4 }, { where: { worth: 3 } }), 'BULKUPDATE', 'too-many-rows'],
  'many rows by primary keys': [({ coins }) => coins.destroy({ where: { id: many.map((_, at) => 500 + at) } }), 'BULKDELETE', 'too-many-rows'],
  'many statements in a transaction': [
    ({ coins, sequelize }) =>
      sequelize.transaction(async (transaction) => {
        for (let n = 0; n < 50; n += 1) await coins.update({ worth: n }, { where: { id: 1000 + n }, transaction });
      }),
    'COMMIT',
    'too-many-rows',
  ],
  'a primary key that changes': [({ coins }) => coins.update({ id: 90 }, { where: { name: 'penny' } }), 'BULKUPDATE', 'primary-key-changed'],
  upsert: [({ coins }) => coins.upsert({ id: 90, name: 'penny', worth: 1 }), 'UPSERT', 'upsert'],
  updateOnDuplicate: [({ coins }) => coins.bulkCreate([{ id: 90, name: 'penny', worth: 2 }], { updateOnDuplicate: ['worth'] }), 'INSERT', 'upsert'],
  ignoreDuplicates: [({ coins }) => coins.bulkCreate([{ id: 90, name: 'penny', worth: 2 }], { ignoreDuplicates: true }), 'INSERT', 'upsert'],
  'raw SQL': [({ sequelize }) => sequelize.query('UPDATE Coins SET worth = 1'), 'UPDATE', 'raw-sql'],
  'raw SQL behind another statement': [({ sequelize }) => sequelize.query('/* a comment */ DELETE FROM Coins WHERE id = 77'), 'DELETE', 'raw-sql'],
  'a column that is added': [({ sequelize }) => sequelize.query('ALTER TABLE Coins ADD COLUMN more INT'), 'ALTER', 'whole-table'],
  'an update below REPEATABLE READ, by a condition': [
    ({ coins, sequelize }) =>
      sequelize.transaction({ isolationLevel: Transaction.ISOLATION_LEVELS.READ_COMMITTED }, (transaction) =>
        coins.update({ worth: 1 }, { where: { name: 'penny' }, transaction }),
      ),
    'BULKUPDATE',
    'weak-isolation',
  ],
  truncate: [({ coins }) => coins.truncate(), 'BULKDELETE', 'whole-table'],
  'clear()': [({ cache }) => cache.clear(), 'MANUAL', 'requested'],
};

describe('wide invalidations', () => {
  let backend: Backend;
  let scene: Scene;
  const told: FlashEvents['invalidate'][] = [];
  const listener = (message: unknown): void => {
    told.push(message as FlashEvents['invalidate']);
  };

  before(async () => {
    backend = await openBackend('mariadb');
    const coins = defineCoins(backend.sequelize);
    scene = { sequelize: backend.sequelize, coins, cache: cacheCoins(coins) };
    backend.setup({ bulkInvalidationLimit: 10 });
    await backend.sequelize.sync();
    await coins.bulkCreate([{ id: 1, name: 'penny', worth: 1 }, { id: 2, name: 'dime', worth: 10 }]);
    subscribe('sequelize-flash:invalidate', listener);
  });

  after(async () => {
    unsubscribe('sequelize-flash:invalidate', listener);
    await backend.close();
  });

  for (const [what, write] of Object.entries(exact)) {
    it(`not by ${what}`, async () => {
      told.length = 0;
      await write(scene);
      assert.deepEqual(told.flatMap((one) => one.wide), []);
    });
  }

  for (const [what, [write, statement, reason]] of Object.entries(wide)) {
    it(`${what}: ${reason}`, async () => {
      told.length = 0;
      await write(scene);
      assert.deepEqual(told.flatMap((one) => one.wide), [{ table: 'Coins', statement, reason }]);
    });
  }
});
