/** `class User extends Model` without attribute types: key fields come from the declared members. */
import { Model, type NonAttribute } from 'sequelize';
import type { ModelCache } from '../support.js';
import { type Equal, type Expect, expectType, withCache } from '../support.js';

class User extends Model {
  static readonly cache = withCache(User, { keys: ['id', 'username', ['tenantId', 'slug']] });
  declare id: number;
  declare username: string;
  declare tenantId: number;
  declare slug: string | null;
  declare settings: { theme: string };

  async twin() {
    return User.cache.getOrNone({ tenantId: this.tenantId, slug: this.slug });
  }
}

class Participation extends withCache(Model) {
  declare static readonly cache: ModelCache<Participation, 'user' | readonly ['user', 'event']>;
  declare userId: number;
  declare user: User;
  declare event?: NonAttribute<Event>;
}

class Event extends Model {
  declare id: number;
  declare title: string;
}

/** JavaScript style: no members at all. */
class Bag extends Model {
  static readonly cache = withCache(Bag, { keys: ['label', ['owner', 'size']] });
}

export type Inferred = Expect<Equal<typeof User.cache, ModelCache<User, 'id' | 'username' | readonly ['tenantId', 'slug']>>>;

export async function untyped(user: User, event: Event): Promise<void> {
  expectType<User>()(await User.cache.get({ username: 'bill' }));
  expectType<User | null>()(await user.twin());
  void User.cache.get('bill');
  void User.cache.get({ tenantId: 1, slug: null });
  void Participation.cache.get(user);
  void Participation.cache.get({ user, event });
  void Participation.cache.get({ userId: 1, event: 'e1' });
  expectType<Bag>()(await Bag.cache.get({ label: 'x' }));
  void Bag.cache.get({ owner: user, size: 5 });

  // @ts-expect-error misspelt name
  void User.cache.get({ usernam: 'bill' });
  // @ts-expect-error wrong type of value
  void User.cache.get({ username: 5 });
  // @ts-expect-error null where the member does not allow it
  void User.cache.get({ username: null });
  // @ts-expect-error undefined is no value
  void User.cache.get({ username: undefined });
  // @ts-expect-error a key field is missing
  void User.cache.get({ tenantId: 1 });
  // @ts-expect-error undeclared combination
  void User.cache.get({ id: 1, username: 'bill' });
  // @ts-expect-error one name too many
  void User.cache.get({ id: 1, foo: 1 });
  // @ts-expect-error no single key field is a boolean
  void User.cache.get(true);
  // @ts-expect-error an instance of another model
  void Participation.cache.get({ user: event });
  // @ts-expect-error not a member
  withCache(User, { keys: ['usernam'] });
  // @ts-expect-error a member of every model
  withCache(User, { keys: ['isNewRecord'] });
  // @ts-expect-error is a method
  withCache(User, { keys: ['twin'] });
  // @ts-expect-error cannot be a key
  withCache(User, { keys: ['settings'] });
  // @ts-expect-error undeclared key field
  void Bag.cache.get({ labl: 'x' });
  // @ts-expect-error a key field is missing
  void Bag.cache.get({ owner: 1 });
  // @ts-expect-error undefined is no value
  void Bag.cache.get({ label: undefined });
}
