/** Lists, counts, existence, and any other JSON value that follows from the rows with some key values. */
import assert from 'node:assert/strict';
import { DataTypes, Model, Sequelize, type CreationOptional, type InferAttributes, type InferCreationAttributes } from 'sequelize';
import { QuerysetCache, QuerysetCountCache, QuerysetExistsCache, registerCache, setupCache, withCache } from 'sequelize-flash';
import { MemoryStore } from 'sequelize-flash/stores/memory';
import { costs, emptyDatabase } from '../support/short.js';

class Score extends Model<InferAttributes<Score>, InferCreationAttributes<Score>> {
  /** `Score.cache.filter({ player })`, and `filter({})` for the whole table. */
  static readonly cache = withCache(Score, { keys: ['id'], filters: ['player', []] });

  declare id: CreationOptional<number>;
  declare player: string;
  declare points: number;
}

class BestScores extends QuerysetCache<Score, ['player']> {
  static model = Score;
  static keyFields = ['player'] as const;
  static order = [['points', 'DESC']] as const;
  static limit = 2;
}

/** `getResult` answers with a JSON value of its own. */
class TotalOfPlayer extends QuerysetCache<Score, ['player']> {
  static model = Score;
  static keyFields = ['player'] as const;

  override async getResult({ player }: { readonly player: string }) {
    const scores = await this.queryset().findAll({ where: { player } });
    return { games: scores.length, points: scores.reduce((sum, { points }) => sum + points, 0) };
  }
}

class HasPlayed extends QuerysetExistsCache<Score, ['player']> {
  static model = Score;
  static keyFields = ['player'] as const;
}

/** No key fields: of the whole table. */
class AllScores extends QuerysetCountCache<Score, []> {
  static model = Score;
  static keyFields = [] as const;
}

[BestScores, TotalOfPlayer, HasPlayed, AllScores].forEach((cacheClass) => registerCache(cacheClass));

async function main(): Promise<void> {
  const sequelize = new Sequelize(await emptyDatabase());
  const id = { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true };
  Score.init({ id, player: DataTypes.STRING, points: DataTypes.INTEGER }, { sequelize });
  await sequelize.sync();
  const cache = setupCache(sequelize, { store: new MemoryStore() });
  await Score.bulkCreate([5, 9, 7].map((points) => ({ player: 'bill', points })));

  const read = async () => ({
    list: (await Score.cache.filter({ player: 'bill' })).length,
    best: (await new BestScores('bill').resolve()).map(({ points }) => points),
    total: await new TotalOfPlayer('bill').resolve(),
    played: await new HasPlayed('emma').resolve(),
    all: await new AllScores().resolve(),
  });
  const before = { list: 3, best: [9, 7], total: { games: 3, points: 21 }, played: false, all: 3 };
  assert.deepEqual(await costs(5, read), before);
  assert.deepEqual(await costs(0, read), before);

  // The row leaves bill's lists and comes into emma's.
  await Score.update({ player: 'emma' }, { where: { points: 9 } });
  assert.deepEqual(await read(), { list: 2, best: [7, 5], total: { games: 2, points: 12 }, played: true, all: 3 });
  assert.equal((await Score.cache.filter({})).length, 3);

  await cache.close();
  await sequelize.close();
  console.log('querysets ok');
}

void main();
