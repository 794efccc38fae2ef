/** sequelize-typescript with inferred attributes: static member, mixin, after definition. */
import type { CreationOptional, ForeignKey, InferAttributes, InferCreationAttributes, NonAttribute } from 'sequelize';
import { BelongsTo, Column, DataType, ForeignKey as IsForeignKey, HasMany, Model, Sequelize, Table } from 'sequelize-typescript';
import type { CacheMeta, ModelCache } from '../support.js';
import { type Equal, type Expect, expectType, withCache } from '../support.js';

@Table
class User extends Model<InferAttributes<User>, InferCreationAttributes<User>> {
  static readonly cache = withCache(User, { keys: ['id', 'username', ['tenantId', 'slug']] });

  @Column({ primaryKey: true, autoIncrement: true })
  declare id: CreationOptional<number>;

  @Column
  declare username: string;

  @Column
  declare tenantId: number;

  @Column(DataType.STRING)
  declare slug: string | null;

  @HasMany(() => Participation)
  declare participations?: NonAttribute<Participation[]>;

  async twin() {
    return User.cache.getOrNone({ tenantId: this.tenantId, slug: this.slug });
  }
}

@Table
class Event extends Model<InferAttributes<Event>, InferCreationAttributes<Event>> {
  @Column({ primaryKey: true })
  declare id: string;

  @Column
  declare startsAt: Date;
}

@Table
class Participation extends withCache(Model)<InferAttributes<Participation>, InferCreationAttributes<Participation>> {
  declare static readonly cache: ModelCache<
    Participation,
    'user' | readonly ['user', 'event'] | readonly ['user', 'target'],
    'target'
  >;
  static cacheMeta = {
    keys: ['user', ['user', 'event'], ['user', 'target']],
    genericForeignKeys: { target: { type: 'targetType', id: 'targetId', models: () => [User, Event] } },
  } satisfies CacheMeta<Participation, 'target'>;

  @IsForeignKey(() => User)
  @Column
  declare userId: ForeignKey<number>;

  @IsForeignKey(() => Event)
  @Column
  declare eventId: string;

  @Column
  declare targetType: string;

  @Column
  declare targetId: number;

  @BelongsTo(() => User)
  declare user?: NonAttribute<User>;

  /** Without NonAttribute it counts as an attribute; the cache still sees an association. */
  @BelongsTo(() => Event)
  declare event?: Event;
}

export type Inferred = [
  Expect<Equal<typeof User.cache, ModelCache<User, 'id' | 'username' | readonly ['tenantId', 'slug']>>>,
  Expect<Equal<Awaited<ReturnType<User['twin']>>, User | null>>,
];

export async function lookups(user: User, event: Event): Promise<void> {
  expectType<User>()(await User.cache.get({ username: 'bill' }));
  expectType<User>()(await User.cache.get('bill'));
  expectType<User | null>()(await User.cache.getOrNone({ tenantId: 1, slug: null }));
  expectType<(User | null)[]>()(await User.cache.getMany([{ id: 1 }, { id: 2 }]));
  expectType<Participation>()(await Participation.cache.get({ user, event }));
  expectType<Participation>()(await Participation.cache.get({ user, eventId: 'e7' }));
  expectType<Participation>()(await Participation.cache.get({ userId: 7, event: 'e7' }));
  expectType<Participation>()(await Participation.cache.get(user));
  expectType<Participation>()(await Participation.cache.get({ user, target: event }));
  expectType<Participation>()(await Participation.cache.get({ user, target: ['Event', 'e7'] }));

  const events = withCache(Event, { keys: ['id', 'startsAt'] });
  expectType<Event>()(await events.get({ startsAt: new Date() }));

  // @ts-expect-error misspelt name
  void User.cache.get({ usernam: 'bill' });
  // @ts-expect-error wrong type of value
  void User.cache.get({ username: 5 });
  // @ts-expect-error undefined is no value
  void User.cache.get({ username: undefined });
  // @ts-expect-error a key field is missing
  void User.cache.get({ tenantId: 1 });
  // @ts-expect-error one name too many
  void User.cache.get({ username: 'bill', foo: 1 });
  // @ts-expect-error undeclared combination
  void User.cache.get({ id: 1, username: 'bill' });
  // @ts-expect-error undeclared: a timestamp that sequelize-typescript declares
  void User.cache.get({ createdAt: new Date() });
  // @ts-expect-error no single key field is a boolean
  void User.cache.get(true);
  // @ts-expect-error an instance of another model
  void Participation.cache.get({ user: event });
  // @ts-expect-error an instance of another model
  void Participation.cache.get(event);
  // @ts-expect-error wrong type of id: the column is a string
  void Participation.cache.get({ user, event: 7 });
  // @ts-expect-error the association and its column
  void Participation.cache.get({ user, userId: 7, event });
  // @ts-expect-error wrong generic foreign key
  void Participation.cache.get({ user, target: 7 });
  // @ts-expect-error missing: target or event
  void Participation.cache.get({ userId: 7, targetType: 'Event' });
  // @ts-expect-error string for a Date
  void events.get({ startsAt: '2020-01-01' });
  // @ts-expect-error misspelt key field
  withCache(Event, { keys: ['startAt'] });
  // @ts-expect-error a list of instances
  withCache(User, { keys: ['participations'] });
  // @ts-expect-error a foreign key's column that is marked as one
  withCache(Participation, { keys: ['userId'] });
  // @ts-expect-error a member of every model
  withCache(User, { keys: ['isNewRecord'] });
}

export async function unharmed(sequelize: Sequelize, user: User): Promise<void> {
  sequelize.addModels([User, Event, Participation]);
  new Sequelize({ models: [User, Event, Participation] });
  expectType<Participation | null>()(await Participation.findOne({ where: { userId: 1 }, include: [User] }));
  expectType<User[]>()(await sequelize.getRepository(User).findAll());
  expectType<Participation>()(await Participation.create({ userId: 1, eventId: 'e7', targetType: 'User', targetId: 1 }));
  expectType<Participation[] | null>()((await user.$get('participations')) as Participation[] | null);
  // @ts-expect-error Sequelize checks the attributes of where
  void Participation.findOne({ where: { usrId: 1 } });
}
