/** Plain Sequelize: the cache as a static member of the model, and as a call after its definition. */
import assert from 'node:assert/strict';
import {
  DataTypes,
  Model,
  Sequelize,
  type CreationOptional,
  type ForeignKey,
  type InferAttributes,
  type InferCreationAttributes,
  type NonAttribute,
} from 'sequelize';
import { DoesNotExist, setupCache, withCache } from 'sequelize-flash';
import { MemoryStore } from 'sequelize-flash/stores/memory';
import { createSqliteModule } from '../support/sqlite.js';

class User extends Model<InferAttributes<User>, InferCreationAttributes<User>> {
  static readonly cache = withCache(User, { keys: ['id', 'username'] });

  declare id: CreationOptional<number>;
  declare username: string;
}

class Participation extends Model<InferAttributes<Participation>, InferCreationAttributes<Participation>> {
  declare id: CreationOptional<number>;
  declare userId: ForeignKey<number>;
  declare event: string;
  declare user?: NonAttribute<User>;
}

/** After the definition, where the model's file is not to be touched. */
const participations = withCache(Participation, { keys: [['user', 'event']] });

async function main(): Promise<void> {
  const statements: string[] = [];
  const sequelize = new Sequelize({
    dialect: 'sqlite',
    dialectModule: await createSqliteModule(),
    storage: 'plain.db',
    logging: (statement) => statements.push(statement),
  });
  User.init(
    {
      id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true },
      username: { type: DataTypes.STRING, allowNull: false, unique: true },
    },
    { sequelize },
  );
  Participation.init(
    {
      id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true },
      event: { type: DataTypes.STRING, allowNull: false },
    },
    { sequelize, indexes: [{ unique: true, fields: ['userId', 'event'] }] },
  );
  Participation.belongsTo(User, { as: 'user', foreignKey: 'userId' });
  await sequelize.sync();

  // After the models and their associations, in every process that reads or writes them.
  const cache = setupCache(sequelize, { store: new MemoryStore() });

  const user = await User.create({ username: 'bill1992' });
  await Participation.create({ userId: user.id, event: 'harbour-walk' });
  await User.cache.get({ username: 'bill1992' });
  await participations.get({ user, event: 'harbour-walk' });

  // By now both rows come from the cache, by any of their keys.
  statements.length = 0;
  assert.equal((await User.cache.get({ id: user.id })).username, 'bill1992');
  assert.equal((await User.cache.getOrNone('bill1992'))?.id, user.id);
  assert.equal((await participations.get({ userId: user.id, event: 'harbour-walk' })).userId, user.id);
  assert.deepEqual(statements, []);

  // A write voids what it changes before its promise resolves.
  await user.update({ username: 'bill2026' });
  assert.equal(await User.cache.getOrNone('bill1992'), null);
  assert.equal((await User.cache.get('bill2026')).id, user.id);
  await assert.rejects(User.cache.get('bill1992'), DoesNotExist);

  await cache.close();
  await sequelize.close();
  console.log('plain ok');
}

void main();
