/** What a write does to the entries that depend on it: `static invalidation`, for each class its own. */
import assert from 'node:assert/strict';
import { DataTypes, Model, Sequelize, type CreationOptional, type InferAttributes, type InferCreationAttributes } from 'sequelize';
import { QuerysetCache, QuerysetCountCache, registerCache, setupCache } from 'sequelize-flash';
import { MemoryStore } from 'sequelize-flash/stores/memory';
import { costs, emptyDatabase } from '../support/short.js';

class Vote extends Model<InferAttributes<Vote>, InferCreationAttributes<Vote>> {
  declare id: CreationOptional<number>;
  declare song: string;
}

/** The default: void at once. */
@registerCache
class Exact extends QuerysetCountCache<Vote, ['song']> {
  static model = Vote;
  static keyFields = ['song'] as const;
  static invalidation = 'UNSET' as const;
}

/** Only the timeout ends it: writes do not. */
@registerCache
class EveryMinute extends QuerysetCountCache<Vote, ['song']> {
  static model = Vote;
  static keyFields = ['song'] as const;
  static invalidation = 'OFF' as const;
  static timeout = 60;
}

/** Void at once, and computed anew by whoever wrote, behind its back. */
@registerCache
class Ready extends QuerysetCountCache<Vote, ['song']> {
  static model = Vote;
  static keyFields = ['song'] as const;
  static invalidation = 'RESET' as const;
}

/** While one reader computes it anew, the others are given the former answer, for ten seconds at most. */
@registerCache
class Chart extends QuerysetCache<Vote, []> {
  static model = Vote;
  static keyFields = [] as const;
  static invalidation = 'DYNAMIC' as const;
  static allowtime = 10;
  /** What holds the computation up, and who wants to know that it has begun. */
  static slow: { begun(): void; readonly until: Promise<void> } | undefined;

  override async getResult() {
    Chart.slow?.begun();
    await Chart.slow?.until;
    return { votes: await this.queryset().count() };
  }
}

async function main(): Promise<void> {
  const sequelize = new Sequelize(await emptyDatabase());
  Vote.init({ id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true }, song: DataTypes.STRING }, { sequelize });
  await sequelize.sync();
  const cache = setupCache(sequelize, { store: new MemoryStore() });

  const counts = async () => [await new Exact('Fog').resolve(), await new EveryMinute('Fog').resolve()];
  assert.deepEqual([await counts(), await new Ready('Fog').resolve(), await new Chart().resolve()], [[0, 0], 0, { votes: 0 }]);
  await Vote.create({ song: 'Fog' });
  assert.equal(await new Ready('Fog').resolve(), 1);
  assert.deepEqual(await costs(1, counts), [1, 0]);

  let letGo = (): void => undefined;
  const begun = new Promise<void>((resolve) => {
    Chart.slow = { begun: resolve, until: new Promise((release) => (letGo = release)) };
  });
  const first = new Chart().resolve();
  await begun;
  assert.deepEqual(await new Chart().resolve(), { votes: 0 }, 'somebody else, meanwhile');
  letGo();
  assert.deepEqual(await first, { votes: 1 });
  assert.deepEqual(await costs(0, () => new Chart().resolve()), { votes: 1 });

  await cache.close();
  await sequelize.close();
  console.log('modes ok');
}

void main();
