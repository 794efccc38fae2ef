/** A manager of the model's own: its methods on `cache`, and what it declares, in every style of models. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { DataTypes, Model, Sequelize, type CreationOptional, type InferAttributes, type InferCreationAttributes } from 'sequelize';
import { Column, Model as TypescriptModel, Sequelize as TypescriptSequelize, Table, type SequelizeOptions } from 'sequelize-typescript';
import { createSqliteModule } from '../../examples/support/sqlite.js';
import {
  CacheNotRegisteredError,
  ModelCacheManager,
  QuerysetCountCache,
  ScopedModelError,
  setupCache,
  withCache,
  type CacheMeta,
  type FlashCache,
  type ModelCache,
} from '../../src/index.js';
import { MemoryStore } from '../../src/stores/memory.js';
import { ObservedStore } from '../support/observed-store.js';

/** What a User of any style has. */
interface UserLike {
  readonly id: number;
  readonly username: string;
  readonly city: string;
  update(values: object): Promise<unknown>;
}

/** What the manager adds and what model and manager declare, of any style. */
interface Cache {
  get(key: { readonly id: number } | { readonly username: string }): Promise<UserLike>;
  getOrNone(key: { readonly city: string } | string): Promise<UserLike | null>;
  filter(params: { readonly city: string } | object): Promise<readonly UserLike[]>;
  stats(): Readonly<Record<string, object>>;
  byMail(mail: string): Promise<UserLike | null>;
  names(city: string): Promise<readonly string[]>;
}

interface Style {
  readonly create: (values: { username: string; city: string }) => Promise<UserLike>;
  readonly cache: () => Cache;
  readonly unscoped: () => Cache;
  readonly count: new (city: string) => { resolve(): Promise<number> };
}

const attributes = () => ({
  id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true } as const,
  username: { type: DataTypes.STRING(40), unique: true } as const,
  city: DataTypes.STRING(40),
});

/** As `Style` sees a model. The compiler knows more: test/types holds that. */
function style(model: unknown, count: unknown): Style {
  const User = model as { create(values: object): Promise<UserLike>; unscoped(): { readonly cache: Cache }; readonly cache: Cache };
  return {
    create: (values) => User.create(values),
    cache: () => User.cache,
    unscoped: () => User.unscoped().cache,
    count: count as Style['count'],
  };
}

const styles: Readonly<Record<string, (sequelize: Sequelize) => Style>> = {
  'a static member'(sequelize) {
    class UserManager extends ModelCacheManager<User, 'username', never, 'city'> {
      static keys = ['username'];
      static filters = ['city'];
      static caches = () => [UsersOfCity];
      static timeout = 60;
      byMail(mail: string) {
        return this.getOrNone({ username: mail.split('@')[0] ?? '' });
      }
      async names(city: string) {
        return (await this.filter({ city })).map(({ username }) => username).sort();
      }
    }
    class User extends Model<InferAttributes<User>, InferCreationAttributes<User>> {
      static readonly cache = withCache(User, { keys: ['id'], filters: [[]], manager: UserManager });
      declare id: CreationOptional<number>;
      declare username: string;
      declare city: string;
    }
    class UsersOfCity extends QuerysetCountCache<User, ['city']> {
      static model = User;
      static keyFields = ['city'] as const;
    }
    User.init(attributes(), { sequelize });
    return style(User, UsersOfCity);
  },
  'withCache after the definition'(sequelize) {
    class User extends Model<InferAttributes<User>, InferCreationAttributes<User>> {
      declare id: CreationOptional<number>;
      declare username: string;
      declare city: string;
    }
    class UsersOfCity extends QuerysetCountCache<User, ['city']> {
      static model = User;
      static keyFields = ['city'] as const;
    }
    /** Between the manager and the library's. */
    class BaseManager extends ModelCacheManager<User, 'username', never, 'city'> {
      static filterKeyFieldsList = ['city'];
      byMail(mail: string) {
        return this.getOrNone({ username: mail.split('@')[0] ?? '' });
      }
    }
    class UserManager extends BaseManager {
      static getKeyFieldsList = ['username'];
      static caches = [UsersOfCity];
      async names(city: string) {
        return (await this.filter({ city })).map(({ username }) => username).sort();
      }
    }
    User.init(attributes(), { sequelize });
    const cache = withCache(User, { getKeyFieldsList: ['id'], filterKeyFieldsList: [[]], manager: UserManager });
    const own = style(User, UsersOfCity);
    assert.equal(own.cache(), cache);
    assert.ok(cache instanceof UserManager);
    return own;
  },
  'the mixin with cacheMeta'(sequelize) {
    class UserManager extends ModelCacheManager<User, 'username', never, 'city'> {
      static keys = ['username'];
      static caches = () => [UsersOfCity];
      byMail(mail: string) {
        return this.getOrNone({ username: mail.split('@')[0] ?? '' });
      }
      async names(city: string) {
        return (await this.filter({ city })).map(({ username }) => username).sort();
      }
    }
    class User extends withCache(Model)<InferAttributes<User>, InferCreationAttributes<User>> {
      declare static readonly cache: ModelCache<User, 'id', never, readonly [], never, UserManager>;
      static cacheMeta = { keys: ['id'], filters: ['city', []], manager: UserManager } satisfies CacheMeta<User>;
      declare id: CreationOptional<number>;
      declare username: string;
      declare city: string;
    }
    class UsersOfCity extends QuerysetCountCache<User, ['city']> {
      static model = User;
      static keyFields = ['city'] as const;
    }
    User.init(attributes(), { sequelize });
    return style(User, UsersOfCity);
  },
};

const typescriptStyles: Readonly<Record<string, (sequelize: TypescriptSequelize) => Style>> = {
  'sequelize-typescript, a static member'(sequelize) {
    class UserManager extends ModelCacheManager<User, 'username', never, 'city'> {
      static keys = ['username'];
      static filters = ['city'];
      static caches = () => [UsersOfCity];
      byMail(mail: string) {
        return this.getOrNone({ username: mail.split('@')[0] ?? '' });
      }
      async names(city: string) {
        return (await this.filter({ city })).map(({ username }) => username).sort();
      }
    }
    @Table
    class User extends TypescriptModel {
      static readonly cache = withCache(User, { keys: ['id'], filters: [[]], manager: UserManager });
      @Column({ type: DataTypes.STRING(40), unique: true })
      declare username: string;
      @Column({ type: DataTypes.STRING(40) })
      declare city: string;
    }
    class UsersOfCity extends QuerysetCountCache<User, ['city']> {
      static model = User;
      static keyFields = ['city'] as const;
    }
    sequelize.addModels([User]);
    return style(User, UsersOfCity);
  },
  'sequelize-typescript, the mixin'(sequelize) {
    class UserManager extends ModelCacheManager<User, 'id' | 'username', never, 'city' | readonly []> {
      static keys = ['id', 'username'];
      static filters = ['city', []];
      static caches = () => [UsersOfCity];
      byMail(mail: string) {
        return this.getOrNone({ username: mail.split('@')[0] ?? '' });
      }
      async names(city: string) {
        return (await this.filter({ city })).map(({ username }) => username).sort();
      }
    }
    @Table
    class User extends withCache(TypescriptModel) {
      declare static readonly cache: UserManager;
      static cacheMeta = { manager: UserManager };
      @Column({ type: DataTypes.STRING(40), unique: true })
      declare username: string;
      @Column({ type: DataTypes.STRING(40) })
      declare city: string;
    }
    class UsersOfCity extends QuerysetCountCache<User, ['city']> {
      static model = User;
      static keyFields = ['city'] as const;
    }
    sequelize.addModels([User]);
    return style(User, UsersOfCity);
  },
};

const opened = Object.entries<(sequelize: never) => Style>({ ...styles, ...typescriptStyles });

for (const [name, define] of opened) {
  describe(`a manager of the model's own: ${name}`, () => {
    const sql: string[] = [];
    let sequelize: Sequelize;
    let cache: FlashCache;
    let users: Style;

    before(async () => {
      const options: SequelizeOptions = {
        dialect: 'sqlite',
        storage: ':memory:',
        dialectModule: await createSqliteModule(),
        logging: (statement) => sql.push(statement),
        define: { timestamps: false },
      };
      sequelize = name in typescriptStyles ? new TypescriptSequelize(options) : new Sequelize(options);
      users = define(sequelize as never);
      cache = setupCache(sequelize, { store: new ObservedStore(new MemoryStore()) });
      await sequelize.sync();
      await users.create({ username: 'bill', city: 'Oslo' });
      await users.create({ username: 'emma', city: 'Oslo' });
    });
    after(async () => {
      await cache.close(0);
      await sequelize.close();
    });

    /** The answers, and how many statements they took. */
    const statements = async <T>(work: () => Promise<T>): Promise<[T, number]> => {
      sql.length = 0;
      return [await work(), sql.length];
    };

    it('its own methods are on cache, and read it', async () => {
      const mail = (): Promise<string | undefined> => users.cache().byMail('bill@example.org').then((user) => user?.username);
      assert.deepEqual(await statements(mail), ['bill', 1]);
      assert.deepEqual(await statements(mail), ['bill', 0]);
      const names = (): Promise<readonly string[]> => users.cache().names('Oslo');
      assert.deepEqual(await statements(names), [['bill', 'emma'], 1]);
      assert.deepEqual(await statements(names), [['bill', 'emma'], 0]);
    });

    it('what the model declares and what the manager declares is one', async () => {
      const bill = await users.cache().get({ username: 'bill' });
      assert.equal((await users.cache().get({ id: bill.id })).username, 'bill');
      assert.equal((await users.cache().filter({})).length, 2);
      assert.equal((await users.cache().filter({ city: 'Oslo' })).length, 2);
      assert.equal(await new users.count('Oslo').resolve(), 2);
      assert.equal((await users.cache().getOrNone('bill'))?.id, bill.id, 'username is the one key field that is not the primary key');
      const counted = Object.keys(users.cache().stats());
      for (const one of ['User(id)', 'User(username)', 'User[city]', 'User[]', 'UsersOfCity']) assert.ok(counted.includes(one), `${one} among ${counted.join(', ')}`);
      await assert.rejects(users.cache().getOrNone({ city: 'Oslo' }), CacheNotRegisteredError);
    });

    it('a write is seen by all of it', async () => {
      const emma = await users.cache().get({ username: 'emma' });
      await emma.update({ city: 'Rome', username: 'emmy' });
      assert.deepEqual(await users.cache().names('Oslo'), ['bill']);
      assert.deepEqual(await users.cache().names('Rome'), ['emmy']);
      assert.equal(await users.cache().byMail('emma@example.org'), null);
      assert.equal((await users.cache().byMail('emmy@example.org'))?.id, emma.id);
      assert.equal(await new users.count('Oslo').resolve(), 1);
      await emma.update({ city: 'Oslo', username: 'emma' });
    });

    it('a scoped model has one that refuses', async () => {
      assert.notEqual(users.unscoped(), users.cache());
      await assert.rejects(users.unscoped().byMail('bill@example.org'), ScopedModelError);
      await assert.rejects(users.unscoped().names('Oslo'), ScopedModelError);
    });
  });
}
