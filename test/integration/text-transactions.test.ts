/**
 * Transactions that the program begins by SQL text, on a pool of one connection: what it rolls back is
 * rolled back, what it commits is committed, locks stay, and the cache has afterwards what the database has.
 */
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import { DataTypes, type Model, type ModelStatic, type Sequelize } from 'sequelize';
import { openBackend, type Backend } from '../support/backends.js';
import { cached, type UntypedModel } from '../support/misuse-models.js';

const begins = ['BEGIN', 'START TRANSACTION', 'begin work', 'START TRANSACTION WITH CONSISTENT SNAPSHOT', 'SET autocommit = 0', 'SET SESSION autocommit=OFF'];
const ends: Readonly<Record<string, boolean>> = { COMMIT: true, ROLLBACK: false, 'rollback;': false };

type Rows = ModelStatic<Model>;

const writes: Readonly<Record<string, (coins: Rows, sequelize: Sequelize) => Promise<unknown>>> = {
  'an update by id': (coins) => coins.update({ worth: 5 }, { where: { id: 1 } }),
  'an update by a condition': (coins) => coins.update({ worth: 5 }, { where: { name: 'penny' } }),
  'a save': async (coins) => (await coins.findByPk(1, { rejectOnEmpty: true })).update({ worth: 5 }),
  'a destroy by a condition': (coins) => coins.destroy({ where: { name: 'penny' } }),
  'a destroy of an instance': async (coins) => (await coins.findByPk(1, { rejectOnEmpty: true })).destroy(),
  'a create': (coins) => coins.create({ id: 9, name: 'penny', worth: 9 }),
  'a bulkCreate': (coins) => coins.bulkCreate([{ id: 9, name: 'penny', worth: 9 }]),
  'an increment': (coins) => coins.increment('worth', { by: 4, where: { name: 'penny' } }),
  'raw SQL': (_, sequelize) => sequelize.query('UPDATE Coins SET worth = 5 WHERE id = 1'),
};

describe('transactions that are begun by a text', () => {
  let backend: Backend;
  let sequelize: Sequelize;
  let other: Sequelize;
  let coins: Rows;
  let outside: Rows;
  let cache: UntypedModel['cache'];

  const define = (of: Sequelize): Rows => {
    const model = of.define('Coin', { name: DataTypes.STRING, worth: DataTypes.INTEGER }, { timestamps: false });
    cached(model, { keys: ['id'], filters: ['name'] });
    return model;
  };

  before(async () => {
    backend = await openBackend('mariadb', { options: { pool: { max: 1 } } });
    ({ sequelize } = backend);
    other = backend.another();
    coins = define(sequelize);
    outside = other.define('Coin', { name: DataTypes.STRING, worth: DataTypes.INTEGER }, { timestamps: false });
    ({ cache } = coins as unknown as UntypedModel);
    await sequelize.sync();
    backend.setup();
  });
  after(() => backend.close());
  beforeEach(async () => {
    await sequelize.query('SET autocommit = 1');
    await coins.destroy({ where: {} });
    await coins.bulkCreate([{ id: 1, name: 'penny', worth: 1 }, { id: 2, name: 'pound', worth: 100 }]);
  });

  const plain = (found: unknown): unknown => JSON.parse(JSON.stringify(found ?? null)) as unknown;
  const answers = async (): Promise<unknown> =>
    plain([await cache.getOrNone({ id: 1 }), await cache.getOrNone({ id: 2 }), await cache.getOrNone({ id: 9 }), await cache.filter({ name: 'penny' })]);
  const truth = async (): Promise<unknown> =>
    plain([await outside.findByPk(1), await outside.findByPk(2), await outside.findByPk(9), await outside.findAll({ where: { name: 'penny' }, order: ['id'] })]);

  for (const begin of begins) {
    for (const [what, write] of Object.entries(writes)) {
      for (const [end, isKept] of Object.entries(ends)) {
        it(`${begin}, ${what}, ${end}`, async () => {
          const before = await truth();
          assert.deepEqual(await answers(), before, 'at first');
          await sequelize.query(begin);
          await write(coins, sequelize);
          assert.deepEqual(await truth(), before, 'not committed yet');
          // It reads its own writes, on its only connection, and the cache may keep them until the end.
          await answers();
          await sequelize.query(end);
          if (isKept) assert.notDeepEqual(await truth(), before, 'committed');
          else assert.deepEqual(await truth(), before, 'rolled back');
          for (const round of ['first', 'second']) assert.deepEqual(await answers(), await truth(), round);
        });
      }
    }
  }

  it('a lock of tables stays', async () => {
    await sequelize.query('LOCK TABLES Coins WRITE');
    await coins.update({ worth: 6 }, { where: { name: 'penny' } });
    let isFree = false;
    const reading = outside.findByPk(1).then((row) => {
      isFree = true;
      return row;
    });
    await sequelize.query('SELECT SLEEP(0.3) AS waited');
    assert.equal(isFree, false, 'locked');
    await sequelize.query('UNLOCK TABLES');
    assert.equal((await reading)?.get('worth'), 6);
    assert.deepEqual(await answers(), await truth());
  });

  it('afterwards rows are void exactly again', async () => {
    await answers();
    backend.reset();
    await coins.update({ worth: 7 }, { where: { name: 'penny' } });
    backend.reset();
    assert.equal((await cache.getOrNone({ id: 2 }))?.get('worth'), 100);
    assert.deepEqual(backend.sql, [], 'the other row is cached');
  });
});
