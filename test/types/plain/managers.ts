/** `manager`: own methods, typed, on `User.cache`, and what the manager itself can call. */
import { type CreationOptional, type InferAttributes, type InferCreationAttributes, Model } from 'sequelize';
import type { CacheMeta, CacheQuery, ModelCache } from '../support.js';
import { type Equal, type Expect, expectType, ModelCacheManager, withCache } from '../support.js';
import type { User as OtherUser } from './models.js';

class UserManager extends ModelCacheManager<User, 'username', never, readonly ['tenantId', 'city'] | readonly []> {
  static keys = ['username'];
  static filters = [['tenantId', 'city'], []];
  static timeout = 60;

  byMail(mail: string) {
    return this.getOrNone({ username: mail.split('@')[0] ?? '' });
  }

  async usernames(tenantId: number): Promise<readonly string[]> {
    const users = await this.filter({ tenantId, city: 'Oslo' });
    expectType<User[]>()(users);
    return users.map(({ username }) => username);
  }

  query(username: string): CacheQuery<User> {
    // @ts-expect-error misspelt name
    void this.get({ usernam: username });
    // @ts-expect-error wrong type of value
    void this.get({ username: 5 });
    // @ts-expect-error declared by the model, which the manager does not know
    void this.get({ id: 5 });
    // @ts-expect-error a key, not a filter
    void this.filter({ username });
    return this.getQuery({ username });
  }

  protected secret(): number {
    return 1;
  }
}

class User extends Model<InferAttributes<User>, InferCreationAttributes<User>> {
  static readonly cache = withCache(User, { keys: ['id'], filters: ['city'], manager: UserManager });
  declare id: CreationOptional<number>;
  declare username: string;
  declare city: string;
  declare tenantId: number;

  /** Its result is inferred from the manager. */
  async twin() {
    return User.cache.byMail(`${this.username}@example.org`);
  }
}

export async function staticMember(user: User): Promise<void> {
  expectType<User | null>()(await User.cache.byMail('bill@example.org'));
  expectType<readonly string[]>()(await User.cache.usernames(7));
  expectType<CacheQuery<User>>()(User.cache.query('bill'));
  expectType<User | null>()(await user.twin());
  // What the model declares, and what the manager does.
  expectType<User>()(await User.cache.get({ id: 1 }));
  expectType<User>()(await User.cache.get({ username: 'bill' }));
  expectType<User[]>()(await User.cache.filter({ city: 'Oslo' }));
  expectType<User[]>()(await User.cache.filter({ tenantId: 1, city: 'Oslo' }));
  expectType<User[]>()(await User.cache.filter({}));

  // @ts-expect-error misspelt method
  void User.cache.byMial('bill@example.org');
  // @ts-expect-error wrong argument
  void User.cache.byMail(5);
  // @ts-expect-error is protected
  User.cache.secret();
  // @ts-expect-error declared by neither
  void User.cache.get({ city: 'Oslo' });
  // @ts-expect-error declared by neither
  void User.cache.filter({ tenantId: 1 });
}

export async function afterDefinition(): Promise<void> {
  const cache = withCache(User, { manager: UserManager });
  expectType<User | null>()(await cache.byMail('bill@example.org'));
  expectType<User>()(await cache.get('bill'));
  // @ts-expect-error not declared here
  void cache.get({ id: 1 });

  class Plain extends ModelCacheManager<User> {
    hello() {
      return 'hello';
    }
  }
  const plain = withCache(User, { keys: ['id'], manager: Plain });
  expectType<string>()(plain.hello());
  expectType<User>()(await plain.get({ id: 1 }));

  class OfAnother extends ModelCacheManager<OtherUser> {}
  // @ts-expect-error a manager of another model
  withCache(User, { manager: OfAnother });
  // @ts-expect-error not a manager
  withCache(User, { manager: class {} });
  // @ts-expect-error not a class
  withCache(User, { manager: { byMail() {} } });

  class WrongTimeout extends ModelCacheManager<User> {
    static timeout = '60';
  }
  // @ts-expect-error not a number
  withCache(User, { manager: WrongTimeout });

  class WrongKeys extends ModelCacheManager<User> {
    static keys = 'username';
  }
  // @ts-expect-error not a list
  withCache(User, { manager: WrongKeys });
}

// @ts-expect-error misspelt key field
class Misspelt extends ModelCacheManager<User, 'usernam'> {}
// @ts-expect-error misspelt key field
class MisspeltFilter extends ModelCacheManager<User, never, never, 'cty'> {}

class Hiding extends ModelCacheManager<User, 'username'> {
  // @ts-expect-error would hide one that takes key fields
  override get(id: number): Promise<User> {
    return this.getOr404({ username: String(id) });
  }
}

// ---- The mixin ----

class TeamManager extends ModelCacheManager<Team, 'name'> {
  static keys = ['name'];
  called(name: string) {
    return this.get({ name });
  }
}

class Team extends withCache(Model)<InferAttributes<Team>, InferCreationAttributes<Team>> {
  declare static readonly cache: ModelCache<Team, 'id', never, never, never, TeamManager>;
  static cacheMeta = { keys: ['id'], manager: TeamManager } satisfies CacheMeta<Team>;
  declare id: CreationOptional<number>;
  declare name: string;
}

class ClubManager extends ModelCacheManager<Club, 'name'> {
  called(name: string) {
    return this.get({ name });
  }
}

/** Where the manager declares everything, its type is that of `cache`. */
class Club extends withCache(Model)<InferAttributes<Club>, InferCreationAttributes<Club>> {
  declare static readonly cache: ClubManager;
  static cacheMeta = { manager: ClubManager };
  declare id: CreationOptional<number>;
  declare name: string;
}

export async function mixin(): Promise<void> {
  expectType<Team>()(await Team.cache.called('x'));
  expectType<Team>()(await Team.cache.get({ name: 'x' }));
  expectType<Team>()(await Team.cache.get({ id: 1 }));
  expectType<Club>()(await Club.cache.called('x'));
  expectType<Club>()(await Club.cache.get({ name: 'x' }));
  // @ts-expect-error misspelt method
  void Team.cache.caled('x');
  // @ts-expect-error declared by neither
  void Team.cache.get({ title: 'x' });
  // @ts-expect-error misspelt method
  void Club.cache.caled('x');
}

export type Merged = Expect<
  Equal<Parameters<typeof User.cache.getKey>, Parameters<ModelCache<User, 'id' | 'username'>['getKey']>>
>;
