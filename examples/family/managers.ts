/** A manager of a model's own: methods on `User.cache`, built on those that are there. */
import assert from 'node:assert/strict';
import { DataTypes, Model, Sequelize, type CreationOptional, type InferAttributes, type InferCreationAttributes } from 'sequelize';
import { ModelCacheManager, setupCache, withCache, type InvalidationResult } from 'sequelize-flash';
import { MemoryStore } from 'sequelize-flash/stores/memory';
import { costs, emptyDatabase } from '../support/short.js';

/** The type arguments: the model, its keys, no generic foreign keys, its lists. */
class UserManager extends ModelCacheManager<User, 'id' | 'username', never, 'team'> {
  /** Who is mentioned in a text, in one round trip. */
  async mentionedIn(text: string): Promise<User[]> {
    const names = new Set(Array.from(text.matchAll(/@(\w+)/g), ([, name]) => name ?? ''));
    const users = await this.getMany(Array.from(names, (username) => ({ username })));
    return users.filter((user) => user !== null);
  }

  async colleaguesOf({ id, team }: User): Promise<User[]> {
    return (await this.filter({ team })).filter((user) => user.id !== id);
  }
}

class User extends Model<InferAttributes<User>, InferCreationAttributes<User>> {
  static readonly cache = withCache(User, { keys: ['id', 'username'], filters: ['team'], manager: UserManager });

  declare id: CreationOptional<number>;
  declare username: string;
  declare team: string;
}

async function main(): Promise<void> {
  const sequelize = new Sequelize(await emptyDatabase());
  const id = { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true };
  User.init({ id, username: { type: DataTypes.STRING, unique: true }, team: DataTypes.STRING }, { sequelize });
  await sequelize.sync();
  const cache = setupCache(sequelize, { store: new MemoryStore() });
  await User.bulkCreate(['bill', 'emma', 'zoe'].map((username) => ({ username, team: username === 'zoe' ? 'land' : 'sea' })));

  const mentioned = () => User.cache.mentionedIn('@emma, did you see what @bill told @nobody?');
  await costs(1, mentioned);
  const [emma] = await costs(0, mentioned);
  assert.equal(emma?.username, 'emma');
  assert.deepEqual((await User.cache.colleaguesOf(emma)).map(({ username }) => username), ['bill']);
  await User.update({ team: 'sea' }, { where: { username: 'zoe' } });
  assert.deepEqual((await User.cache.colleaguesOf(emma)).map(({ username }) => username).sort(), ['bill', 'zoe']);

  // A method that would hide one that is there is refused where it is declared.
  class Careless extends ModelCacheManager<User> {
    override clear(): Promise<InvalidationResult> {
      return Promise.resolve({ delivered: true });
    }
  }
  class Guest extends Model {}
  assert.throws(() => withCache(Guest, { manager: Careless }), /has a member 'clear'.*Give it another name/);

  await cache.close();
  await sequelize.close();
  console.log('managers ok');
}

void main();
