/** By hand: for rows that were changed where no write of this package saw it, by another program or a trigger. */
import assert from 'node:assert/strict';
import { DataTypes, Model, Sequelize, type CreationOptional, type InferAttributes, type InferCreationAttributes } from 'sequelize';
import { QuerysetCountCache, registerCache, setupCache, withCache } from 'sequelize-flash';
import { MemoryStore } from 'sequelize-flash/stores/memory';
import { costs, emptyDatabase } from '../support/short.js';

class Article extends Model<InferAttributes<Article>, InferCreationAttributes<Article>> {
  static readonly cache = withCache(Article, { keys: ['id', 'code'] });
  declare id: CreationOptional<number>;
  declare code: string;
  declare stock: number;
}

class OutOfStock extends QuerysetCountCache<Article, ['stock']> {
  static model = Article;
  static keyFields = ['stock'] as const;
}
registerCache(OutOfStock);

async function main(): Promise<void> {
  const options = await emptyDatabase();
  const sequelize = new Sequelize(options);
  const id = { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true };
  Article.init({ id, code: { type: DataTypes.STRING, unique: true }, stock: DataTypes.INTEGER }, { sequelize, timestamps: false });
  await sequelize.sync();
  const cache = setupCache(sequelize, { store: new MemoryStore() });
  await Article.bulkCreate(['net', 'rope', 'buoy'].map((code) => ({ code, stock: 5 })));

  /** The same database, and no cache set up: another program. */
  const warehouse = new Sequelize({ ...options, logging: false });
  const stocks = async () => (await Article.cache.getMany(['net', 'rope', 'buoy'])).map((article) => article?.stock);
  const read = async () => [...(await stocks()), await new OutOfStock(0).resolve()];
  assert.deepEqual(await read(), [5, 5, 5, 0]);

  // One row, by an instance or by key values.
  await warehouse.query(`UPDATE Articles SET stock = 4 WHERE code = 'net'`);
  assert.deepEqual(await costs(0, stocks), [5, 5, 5], 'nobody has told us');
  await Article.cache.invalidate({ code: 'net' });
  assert.deepEqual(await stocks(), [4, 5, 5]);

  // The rows that match now, and all results of the model: what these rows were before is not known.
  await warehouse.query(`UPDATE Articles SET stock = 0 WHERE code IN ('rope', 'buoy')`);
  assert.deepEqual(await Article.cache.invalidateWhere({ stock: 0 }), { delivered: true, rows: 2 });
  assert.deepEqual(await read(), [4, 0, 0, 2]);

  // Everything that is cached of the table.
  await warehouse.query('UPDATE Articles SET stock = 9');
  await Article.cache.clear();
  assert.deepEqual(await costs(2, read), [9, 9, 9, 0]);

  // Raw SQL by the Sequelize instance that was set up is no such case: the tables that it names are voided.
  await sequelize.query('UPDATE Articles SET stock = 8');
  assert.deepEqual(await read(), [8, 8, 8, 0]);

  await cache.close();
  await warehouse.close();
  await sequelize.close();
  console.log('manual ok');
}

void main();
