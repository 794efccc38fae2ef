/** Versions: what was cached of a class or of a model is void at once, in every process, without a restart. */
import assert from 'node:assert/strict';
import type { CreationOptional, InferAttributes, InferCreationAttributes } from 'sequelize';
import { Column, DataType, Model, Sequelize, Table } from 'sequelize-typescript';
import { bumpVersion, QuerysetCache, registerCache, setupCache, withCache } from 'sequelize-flash';
import { MemoryStore } from 'sequelize-flash/stores/memory';
import { costs, emptyDatabase } from '../support/short.js';

@Table
class Price extends Model<InferAttributes<Price>, InferCreationAttributes<Price>> {
  /** `version`: raised with a release that changes what rows mean, it leaves no old entry to be read. */
  static readonly cache = withCache(Price, { keys: ['article'], version: 2 });

  @Column({ type: DataType.INTEGER, primaryKey: true, autoIncrement: true })
  declare id: CreationOptional<number>;

  @Column({ type: DataType.STRING, unique: true })
  declare article: string;

  @Column(DataType.INTEGER)
  declare cents: number;
}

/** Kept outside of the database, so no write says that it has changed. */
let discount = 0;

@registerCache
class Offers extends QuerysetCache<Price, []> {
  static model = Price;
  static keyFields = [] as const;
  static version = 1;

  override async getResult() {
    const prices = await this.queryset().findAll();
    return prices.map(({ article, cents }) => `${article} ${cents - discount}`).sort();
  }
}

async function main(): Promise<void> {
  const sequelize = new Sequelize({ ...(await emptyDatabase()), models: [Price] });
  await sequelize.sync();
  const cache = setupCache(sequelize, { store: new MemoryStore() });
  await Price.bulkCreate([{ article: 'net', cents: 900 }, { article: 'rope', cents: 500 }]);

  const offers = () => new Offers().resolve();
  const rope = () => Price.cache.get({ article: 'rope' });
  await Promise.all([offers(), rope()]);

  // What is computed has changed: all that this class has cached is void, and nothing else.
  discount = 100;
  assert.deepEqual(await costs(0, offers), ['net 900', 'rope 500']);
  await bumpVersion(Offers);
  assert.deepEqual(await costs(1, offers), ['net 800', 'rope 400']);
  await costs(0, rope);

  // All that is cached of a model, its rows and its classes.
  await bumpVersion(Price);
  await costs(1, rope);
  await costs(1, offers);
  await costs(0, () => Promise.all([offers(), rope()]));

  await cache.close();
  await sequelize.close();
  console.log('versions ok');
}

void main();
