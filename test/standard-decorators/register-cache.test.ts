/**
 * `@registerCache` as TC39 has decorators: it runs before the class's static members are there, so
 * the class is registered by an initializer. (Everything else in test/ has legacy decorators.)
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { DataTypes, Model, type CreationOptional, type InferAttributes, type InferCreationAttributes } from 'sequelize';
import { InstanceCache, InvalidCacheClassError, registerCache, withCache } from '../../src/index.js';
import { openBackend, type Backend } from '../support/backends.js';

describe('@registerCache as a standard decorator', () => {
  class User extends Model<InferAttributes<User>, InferCreationAttributes<User>> {
    static readonly cache = withCache(User, { keys: ['id'] });
    declare id: CreationOptional<number>;
    declare username: string;
    declare active: CreationOptional<boolean>;
  }

  @registerCache
  class UserCacheOnUsername extends InstanceCache<User> {
    static model = User;
    static keyFields = ['username'] as const;
  }

  @registerCache
  class ActiveUserCacheOnUsername extends InstanceCache<User> {
    static model = User;
    static keyFields = ['username'] as const;

    override getInstance({ username }: { username: string }) {
      return this.queryset().findOne({ where: { username, active: true } });
    }
  }

  let backend: Backend;

  before(async () => {
    backend = await openBackend('sqlite');
    User.init(
      {
        id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true },
        username: { type: DataTypes.STRING, unique: true },
        active: { type: DataTypes.BOOLEAN, defaultValue: true },
      },
      { sequelize: backend.sequelize, timestamps: false },
    );
    backend.setup();
    await backend.sequelize.sync();
  });
  after(() => backend.close());

  it('leaves the class as it is', () => {
    assert.equal(UserCacheOnUsername.name, 'UserCacheOnUsername');
    assert.equal(UserCacheOnUsername.model, User);
    assert.deepEqual(UserCacheOnUsername.keyFields, ['username']);
  });

  it('registers it: lookups, the manager, and invalidation', async () => {
    const user = await User.create({ username: 'bill1992' });
    backend.reset();
    const cold = await new UserCacheOnUsername('bill1992').resolve();
    const warm = await new UserCacheOnUsername({ username: 'bill1992' }).resolve();
    assert.equal(backend.sql.length, 1, backend.sql.join('\n'));
    assert.deepStrictEqual(warm, cold);
    const byManager = await (User.cache as unknown as { get(key: object): Promise<User> }).get({ username: 'bill1992' });
    assert.equal(byManager.id, user.id);
    assert.equal((await new ActiveUserCacheOnUsername('bill1992').resolve())?.id, user.id);

    await user.update({ active: false });
    assert.equal((await new UserCacheOnUsername('bill1992').resolve()).active, false);
    assert.equal(await new ActiveUserCacheOnUsername('bill1992').resolve(), null);
  });

  it('refuses a class without key fields where it is defined', () => {
    assert.throws(() => {
      // @ts-expect-error no keyFields
      @registerCache
      class Keyless extends InstanceCache<User> {
        static model = User;
      }
      return Keyless;
    }, InvalidCacheClassError);
  });
});
