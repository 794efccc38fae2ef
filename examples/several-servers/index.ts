/**
 * Several memcached servers, and what happens when they do not answer.
 *
 * SEQUELIZE_FLASH_MEMCACHED names the servers, separated by commas; `npm test` provides them.
 */
import assert from 'node:assert/strict';
import { subscribe } from 'node:diagnostics_channel';
import { DataTypes, Model, Sequelize, type CreationOptional, type InferAttributes, type InferCreationAttributes } from 'sequelize';
import { setupCache, withCache } from 'sequelize-flash';
import { MemcachedStore } from 'sequelize-flash/stores/memcached';
import { createSqliteModule } from '../support/sqlite.js';

class User extends Model<InferAttributes<User>, InferCreationAttributes<User>> {
  static readonly cache = withCache(User, { keys: ['id', 'username'] });

  declare id: CreationOptional<number>;
  declare username: string;
}

async function main(): Promise<void> {
  const servers = (process.env.SEQUELIZE_FLASH_MEMCACHED ?? '127.0.0.1:11211').split(',');
  const statements: string[] = [];
  const sequelize = new Sequelize({
    dialect: 'sqlite',
    dialectModule: await createSqliteModule(),
    storage: 'servers.db',
    logging: (statement) => statements.push(statement),
  });
  User.init(
    {
      id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true },
      username: { type: DataTypes.STRING, allowNull: false, unique: true },
    },
    { sequelize },
  );
  await sequelize.sync();
  const users = await User.bulkCreate(Array.from({ length: 50 }, (_, at) => ({ username: `user${at + 1}` })));
  const keys = users.map(({ username }) => ({ username }));

  // The same list in every process; the order does not matter, a key always has the same server.
  const store = new MemcachedStore(servers, { timeoutMs: 1000 });
  // Other runs may use the same servers: an alias of its own keeps the keys apart.
  const cache = setupCache(sequelize, { store, alias: `servers-${process.pid}-${Date.now()}` });
  await User.cache.getMany(keys);
  statements.length = 0;
  assert.ok((await User.cache.getMany(keys)).every((user, at) => user?.username === `user${at + 1}`));
  assert.deepEqual(statements, [], 'all rows come from the servers');
  // The program made the store, so the program closes it.
  await cache.close();
  await store.close();

  // Nobody listens there. Reads go on from the database, and events say what is wrong.
  const errors: unknown[] = [];
  subscribe('sequelize-flash:error', (message) => errors.push(message));
  const nobody = new MemcachedStore(['127.0.0.1:1', '127.0.0.1:2']);
  const down = setupCache(sequelize, { store: nobody });
  assert.equal((await User.cache.get('user7')).username, 'user7');
  const user = await User.cache.get('user7');
  await user.update({ username: 'user7b' });
  assert.equal(await User.cache.getOrNone('user7'), null);
  assert.ok(statements.length > 0 && errors.length > 0);
  assert.ok(down.undelivered > 0, 'what could not be voided is retried until the servers are back');
  assert.deepEqual(nobody.state().map(({ state, reached }) => [state, reached]).at(-1), ['down', false]);
  assert.ok((await down.close(0)) > 0, 'and the last ones are given up at the end');
  await nobody.close();

  await sequelize.close();
  console.log(`several servers ok: ${servers.length} of them`);
}

void main();
