/** sequelize-typescript as most code has it: `extends Model` without attribute types. */
import { BelongsTo, Column, DataType, ForeignKey, HasMany, Model, type Sequelize, Table } from 'sequelize-typescript';
import type { ModelCache } from '../support.js';
import { type Equal, type Expect, expectType, withCache } from '../support.js';

@Table
class User extends Model {
  static readonly cache = withCache(User, { keys: ['id', 'username', ['tenantId', 'slug'], ['createdAt', 'slug']] });

  @Column
  declare username: string;

  @Column
  declare tenantId: number;

  @Column(DataType.STRING)
  declare slug: string | null;

  @Column(DataType.JSON)
  declare settings: { theme: string };

  @HasMany(() => Participation)
  declare participations: Participation[];

  async twin() {
    return User.cache.getOrNone({ tenantId: this.tenantId, slug: this.slug });
  }
}

@Table
class Event extends withCache(Model) {
  declare static readonly cache: ModelCache<Event, 'title'>;
  static cacheMeta = { keys: ['title'] };

  @Column
  declare title: string;
}

@Table
class Participation extends Model {
  static readonly cache = withCache(Participation, {
    keys: [['user', 'event'], ['event', 'target'], 'user'],
    genericForeignKeys: { target: { type: 'targetType', id: 'targetId', models: () => [User, Event] } },
  });

  @ForeignKey(() => User)
  @Column
  declare userId: number;

  @ForeignKey(() => Event)
  @Column
  declare event_id: number;

  @Column
  declare targetType: string;

  @Column
  declare targetId: number;

  @BelongsTo(() => User)
  declare user: User;

  @BelongsTo(() => Event, 'event_id')
  declare event?: Event;
}

export type Inferred = [
  Expect<Equal<typeof User.cache, ModelCache<User, 'id' | 'username' | readonly ['tenantId', 'slug'] | readonly ['createdAt', 'slug']>>>,
  Expect<Equal<Awaited<ReturnType<User['twin']>>, User | null>>,
];

export async function lookups(user: User, event: Event): Promise<void> {
  expectType<User>()(await User.cache.get({ username: 'bill' }));
  expectType<User>()(await User.cache.get('bill'));
  expectType<User>()(await User.cache.get({ id: 1 }));
  expectType<User | null>()(await User.cache.getOrNone({ tenantId: 1, slug: null }));
  expectType<Event>()(await Event.cache.get({ title: 'x' }));
  expectType<Participation>()(await Participation.cache.get({ user, event }));
  expectType<Participation>()(await Participation.cache.get({ user, event_id: 7 }));
  expectType<Participation>()(await Participation.cache.get({ userId: 7, event: 7 }));
  expectType<Participation>()(await Participation.cache.get(user));
  expectType<Participation>()(await Participation.cache.get({ event, target: user }));
  expectType<Participation>()(await Participation.cache.get({ event, target: ['User', 5] }));
  const later = withCache(Event, { keys: ['title', ['id', 'title']] });
  expectType<Event>()(await later.get({ id: 1, title: 'x' }));

  // @ts-expect-error misspelt name
  void User.cache.get({ usernam: 'bill' });
  // @ts-expect-error wrong type of value
  void User.cache.get({ username: 5 });
  // @ts-expect-error undefined is no value
  void User.cache.get({ username: undefined });
  // @ts-expect-error undefined, where sequelize-typescript declares `any`
  void User.cache.get({ id: undefined });
  // @ts-expect-error not a key value, where sequelize-typescript declares `any`
  void User.cache.get({ id: { gt: 5 } });
  // @ts-expect-error null, where sequelize-typescript declares `any`
  void User.cache.get({ id: null });
  // @ts-expect-error neither an id nor a username
  void User.cache.get(true);
  // @ts-expect-error null where the member does not allow it
  void User.cache.get({ username: null });
  // @ts-expect-error a key field is missing
  void User.cache.get({ tenantId: 1 });
  // @ts-expect-error one name too many
  void User.cache.get({ username: 'bill', foo: 1 });
  // @ts-expect-error undeclared combination
  void User.cache.get({ id: 1, username: 'bill' });
  // @ts-expect-error undeclared key field
  void Event.cache.get({ id: 1 });
  // @ts-expect-error the only single key field is a string
  void Event.cache.get(5);
  // @ts-expect-error an instance of another model
  void Participation.cache.get({ user: event, event });
  // @ts-expect-error the association and its column
  void Participation.cache.get({ user, userId: 7, event });
  // @ts-expect-error a column under another convention than the declared one
  void Participation.cache.get({ user, eventId: 7 });
  // @ts-expect-error missing: target
  void Participation.cache.get({ event });
  // @ts-expect-error wrong generic foreign key
  void Participation.cache.get({ event, target: 5 });
  // @ts-expect-error misspelt key field
  withCache(Event, { keys: ['titel'] });
  // @ts-expect-error a method of sequelize-typescript's Model
  withCache(Event, { keys: ['$get'] });
  // @ts-expect-error a list of instances
  withCache(User, { keys: ['participations'] });
  // @ts-expect-error cannot be a key
  withCache(User, { keys: ['settings'] });
  // @ts-expect-error misspelt column
  withCache(Participation, { keys: ['target'], genericForeignKeys: { target: { type: 'targetTyp', id: 'targetId', models: () => [User] } } });
}

export async function unharmed(sequelize: Sequelize): Promise<void> {
  sequelize.addModels([User, Event, Participation]);
  expectType<User | null>()(await User.findOne({ where: { username: 'bill' }, include: [Participation] }));
  expectType<User>()(await User.create({ username: 'bill' }));
}
