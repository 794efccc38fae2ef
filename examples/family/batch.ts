/** Queries of different classes and models, run together: one round trip for all that are in the cache. */
import assert from 'node:assert/strict';
import { DataTypes, Model, Sequelize, type CreationOptional, type InferAttributes, type InferCreationAttributes } from 'sequelize';
import { BatchCacheQuery, QuerysetCountCache, registerCache, setupCache, withCache } from 'sequelize-flash';
import { MemoryStore } from 'sequelize-flash/stores/memory';
import { costs, emptyDatabase } from '../support/short.js';

class User extends Model<InferAttributes<User>, InferCreationAttributes<User>> {
  static readonly cache = withCache(User, { keys: ['id', 'username'] });
  declare id: CreationOptional<number>;
  declare username: string;
}

class Message extends Model<InferAttributes<Message>, InferCreationAttributes<Message>> {
  static readonly cache = withCache(Message, { filters: ['recipient'] });
  declare id: CreationOptional<number>;
  declare recipient: string;
}

@registerCache
class MessageCount extends QuerysetCountCache<Message, ['recipient']> {
  static model = Message;
  static keyFields = ['recipient'] as const;
}

async function main(): Promise<void> {
  const sequelize = new Sequelize(await emptyDatabase());
  const id = { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true };
  User.init({ id: { ...id }, username: { type: DataTypes.STRING, unique: true } }, { sequelize });
  Message.init({ id: { ...id }, recipient: DataTypes.STRING }, { sequelize });
  await sequelize.sync();
  const cache = setupCache(sequelize, { store: new MemoryStore() });
  await User.create({ username: 'bill' });
  await Message.create({ recipient: 'bill' });

  const batch = new BatchCacheQuery({
    user: User.cache.getQuery({ username: 'bill' }),
    messages: Message.cache.filterQuery({ recipient: 'bill' }),
  }).push('count', new MessageCount('bill'));

  // Ask the cache alone: what is not in it is undefined.
  assert.deepEqual(await costs(0, () => batch.get({ onlyCache: true })), { user: undefined, messages: undefined, count: undefined });
  const { user, messages, count } = await costs(3, () => batch.get());
  assert.deepEqual([user.username, messages.length, count], ['bill', 1, 1]);
  // Every `get` runs all of it anew.
  await Message.create({ recipient: 'bill' });
  await batch.get();
  assert.equal((await costs(0, () => batch.get())).count, 2);

  // One that fails: it rejects, or is null, or is the error.
  const failing = new BatchCacheQuery({ bill: User.cache.getQuery({ id: 1 }), nobody: User.cache.getQuery({ id: 99 }) });
  await assert.rejects(failing.get(), User.cache.DoesNotExist);
  const { bill, nobody } = await failing.get({ noneOnException: true });
  assert.deepEqual([bill?.username, nobody], ['bill', null]);
  assert.ok((await failing.get({ returnExceptions: true })).nobody instanceof User.cache.DoesNotExist);

  await cache.close();
  await sequelize.close();
  console.log('batch ok');
}

void main();
