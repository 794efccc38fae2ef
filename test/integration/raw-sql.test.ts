/** Raw SQL and DDL through a Sequelize instance that is set up: seen by their text, in transactions too. */
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import { DataTypes, Model, QueryTypes, type CreationOptional, type InferAttributes, type InferCreationAttributes, type ModelStatic } from 'sequelize';
import { InvalidationFailedError, withCache } from '../../src/index.js';
import { openBackend, type Backend } from '../support/backends.js';
import { holdFirst } from '../support/observed-store.js';

class Coin extends Model<InferAttributes<Coin>, InferCreationAttributes<Coin>> {
  static readonly cache = withCache(Coin, { keys: ['id', 'name'] });
  declare id: CreationOptional<number>;
  declare name: string;
  declare worth: number;
}

class Uncached extends Model {}

describe('raw SQL', () => {
  let backend: Backend;

  before(async () => {
    backend = await openBackend('mariadb', { options: { dialectOptions: { multipleStatements: true } } });
    Coin.init(
      {
        id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true },
        name: { type: DataTypes.STRING, unique: true },
        worth: DataTypes.INTEGER,
      },
      { sequelize: backend.sequelize, timestamps: false },
    );
    Uncached.init({ id: { type: DataTypes.INTEGER, primaryKey: true } }, { sequelize: backend.sequelize, timestamps: false });
    backend.setup({ onStoreFailure: 'strict' });
    await backend.sequelize.sync();
    await Coin.create({ name: 'penny', worth: 0 });
  });

  after(async () => {
    await backend.close();
  });

  const worth = async (): Promise<number> => (await Coin.cache.get({ name: 'penny' })).worth;
  const inDatabase = async (): Promise<number> => (await Coin.findOne({ where: { name: 'penny' }, rejectOnEmpty: true })).worth;

  beforeEach(async () => {
    await Coin.update({ worth: 1 }, { where: { name: 'penny' } });
    await worth();
    backend.reset();
    assert.equal(await worth(), 1);
    assert.equal(backend.sql.length, 0, 'primed');
  });

  const texts: readonly (readonly [string, string, { readonly type?: QueryTypes; readonly model?: ModelStatic<Model> }])[] = [
    ['a plain text', 'UPDATE Coins SET worth = 2', {}],
    ['with a model for its answer', "INSERT INTO Coins (id, name, worth) VALUES (1, 'penny', 2) ON DUPLICATE KEY UPDATE worth = 2", { model: Coin }],
    ['with a model and a type', 'UPDATE Coins SET worth = 2', { model: Coin, type: QueryTypes.UPDATE }],
    ['with the model of another table and a type', 'UPDATE Coins SET worth = 2', { model: Uncached, type: QueryTypes.UPDATE }],
    ['with a model, a type and a second statement', 'SELECT 1; UPDATE Coins SET worth = 2', { model: Uncached, type: QueryTypes.BULKUPDATE }],
    ['as the second of two statements', 'SELECT 1; UPDATE Coins SET worth = 2', {}],
    ['the same, called a SELECT', 'SELECT 1; UPDATE Coins SET worth = 2', { type: QueryTypes.SELECT }],
    ['behind a comment', '-- a comment\nUPDATE Coins SET worth = 2', {}],
    ['in a block of its own', 'BEGIN NOT ATOMIC UPDATE Coins SET worth = 2; END', {}],
    ['run by ANALYZE', 'ANALYZE UPDATE Coins SET worth = 2', {}],
    ['run by SET STATEMENT', 'SET STATEMENT max_statement_time = 5 FOR UPDATE Coins SET worth = 2', {}],
  ];
  for (const [how, sql, options] of texts) {
    it(`is seen: ${how}`, async () => {
      const sent = backend.sequelize.query(sql, { ...options } as { type: QueryTypes.RAW });
      // Sequelize takes every answer for rows then, after the statement was run.
      if (options.model !== undefined && options.type === undefined) await assert.rejects(sent, TypeError);
      else await sent;
      assert.equal(await inDatabase(), 2);
      assert.equal(await worth(), 2);
    });
  }

  it('is counted as what it is: the whole table is void', async () => {
    const counts = (): readonly number[] =>
      Object.values(Coin.cache.stats()).map(({ tableInvalidations }) => tableInvalidations);
    const before = counts();
    await Coin.update({ worth: 2 }, { where: { id: 1 } });
    assert.deepEqual(counts(), before, 'a known row');
    await backend.sequelize.query('UPDATE Coins SET worth = 3');
    assert.deepEqual(counts(), before.map((count) => count + 1));
  });

  it('is marked before it is sent: a process killed in between leaves nothing stale', async () => {
    const { sequelize } = backend;
    const { reached, release } = holdFirst(backend.store, (operation) => operation === 'delete');
    const writing = sequelize.query('UPDATE Coins SET worth = 2');
    await reached;
    // Committed, and its process does nothing more: readers ask the database, and fill nothing.
    for (let read = 0; read < 2; read += 1) {
      backend.reset();
      assert.equal(await worth(), 2);
      assert.equal(backend.sql.length, 1);
    }
    release();
    await writing;
  });

  it('a SELECT voids nothing, whatever its texts say', async () => {
    await backend.sequelize.query(`SELECT '; UPDATE Coins SET worth = 2' AS text /* ; DELETE FROM Coins */ FROM Coins`);
    backend.reset();
    assert.equal(await worth(), 1);
    assert.equal(backend.sql.length, 0);
  });

  // What these leave is not a transaction any more: each statement after them is committed at once.
  for (const ending of ['CREATE TABLE IF NOT EXISTS other (id INT)', 'COMMIT', 'LOCK TABLES Coins WRITE; UNLOCK TABLES', 'ROLLBACK']) {
    it(`after ${ending} in a transaction, its writes are seen at once`, async () => {
      const { sequelize } = backend;
      const transaction = await sequelize.transaction();
      await Coin.update({ worth: 2 }, { where: { name: 'penny' }, transaction });
      assert.equal(await worth(), 1, 'not committed yet');
      await sequelize.query(ending, { transaction });
      assert.equal(await worth(), await inDatabase(), 'what it had done until then');
      await worth();
      await Coin.increment({ worth: 5 }, { where: { name: 'penny' }, transaction });
      assert.equal(await inDatabase(), ending === 'ROLLBACK' ? 6 : 7, 'visible to others before the commit');
      assert.equal(await worth(), await inDatabase());
      await transaction.rollback();
      assert.equal(await worth(), await inDatabase());
    });
  }

  it('a raw START TRANSACTION commits what was done before it, and no more', async () => {
    const { sequelize } = backend;
    const transaction = await sequelize.transaction();
    await Coin.update({ worth: 2 }, { where: { name: 'penny' }, transaction });
    await sequelize.query('START TRANSACTION', { transaction });
    assert.equal(await inDatabase(), 2);
    assert.equal(await worth(), 2);
    await Coin.update({ worth: 3 }, { where: { name: 'penny' }, transaction });
    assert.equal(await worth(), 2, 'not committed yet');
    await transaction.commit();
    assert.equal(await inDatabase(), 3);
    assert.equal(await worth(), 3);
  });

  it('a temporary table ends nothing', async () => {
    const { sequelize } = backend;
    const transaction = await sequelize.transaction();
    await sequelize.query('CREATE TEMPORARY TABLE scratch (id INT)', { transaction });
    await Coin.update({ worth: 2 }, { where: { name: 'penny' }, transaction });
    assert.equal(await worth(), 1);
    await transaction.commit();
    assert.equal(await worth(), 2);
  });

  it('is refused where the store cannot be told, if that is what was asked for', async () => {
    const remove = backend.store.intercept((operation) => {
      if (operation !== 'get') throw new Error('the store is down');
    });
    await assert.rejects(backend.sequelize.query('UPDATE Coins SET worth = 2'), InvalidationFailedError);
    remove();
    assert.equal(await inDatabase(), 1);
  });
});
