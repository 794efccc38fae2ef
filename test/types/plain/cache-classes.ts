/** Cache classes: their constructors, `resolve`, `getInstance`, and their place in `withCache`. */
import { type CreationOptional, type ForeignKey, type InferAttributes, type InferCreationAttributes, Model, type NonAttribute } from 'sequelize';
import type { CacheClass, CacheQuery, InvalidationResult, KeyValues, ModelCache } from '../support.js';
import { type Equal, type Expect, expectType, InstanceCache, QuerysetCache, registerCache, RelatedQuerysetCache, withCache } from '../support.js';
import { type Comment, Event, event, Participation, participation, Post, post, User, user } from './models.js';

// ---- Key fields not in the type: checked at run time ----

@registerCache
class UserCacheOnUsername extends InstanceCache<User> {
  static model = User;
  static keyFields = ['username'] as const;
}

class ParticipationCacheOnUserEvent extends InstanceCache<Participation> {
  static model = Participation;
  static keyFields = ['user', 'event'] as const;
}
registerCache(ParticipationCacheOnUserEvent);

export async function loose(): Promise<void> {
  expectType<User>()(await new UserCacheOnUsername('bill1992').resolve());
  expectType<User>()(await new UserCacheOnUsername({ username: 'bill1992' }).resolve({ refresh: true }));
  expectType<Participation>()(await new ParticipationCacheOnUserEvent(user, event).resolve());
  expectType<Participation>()(await new ParticipationCacheOnUserEvent(user, { event }).resolve());
  expectType<Participation>()(await new ParticipationCacheOnUserEvent({ event, user }).resolve());
  void new ParticipationCacheOnUserEvent({ user, eventId: 7n }).resolve();
  void new ParticipationCacheOnUserEvent(7, ['Post', 5]).resolve();
  void new ParticipationCacheOnUserEvent(null, new Date()).resolve();

  // @ts-expect-error nothing at all
  new UserCacheOnUsername();
  // @ts-expect-error undefined is no value
  new UserCacheOnUsername(undefined);
  // @ts-expect-error undefined by name
  new UserCacheOnUsername({ username: undefined });
  // @ts-expect-error is not a key value
  new UserCacheOnUsername({ username: { eq: 'bill' } });
  // @ts-expect-error is not a key value
  new UserCacheOnUsername(() => 'bill');
}

// ---- Key fields as a tuple: checked by the compiler ----

class TypedUserCache extends InstanceCache<User, ['username']> {
  static model = User;
  static keyFields = ['username'] as const;
}

class TypedParticipationCache extends InstanceCache<Participation, ['user', 'event', 'role']> {
  static model = Participation;
  static keyFields = ['user', 'event', 'role'] as const;
}

class VoteCacheOnUserTarget extends InstanceCache<Participation, readonly ['user', 'target']> {
  static model = Participation;
  static keyFields = ['user', 'target'] as const;
}

export async function typed(): Promise<void> {
  expectType<User>()(await new TypedUserCache('bill').resolve());
  expectType<User>()(await new TypedUserCache({ username: 'bill' }).resolve());
  expectType<Participation>()(await new TypedParticipationCache(user, event, 'guest').resolve());
  new TypedParticipationCache(user, event, { role: 'guest' });
  new TypedParticipationCache(7, { role: 'guest', event });
  new TypedParticipationCache(7, { role: 'guest', eventId: 7n });
  new TypedParticipationCache({ role: 'guest', eventId: 7n, userId: 7 });
  // a generic foreign key is not known here: any key value
  new VoteCacheOnUserTarget(user, post);
  new VoteCacheOnUserTarget(user, ['Post', 5]);
  new VoteCacheOnUserTarget(user, { target: post });

  // @ts-expect-error nothing at all
  new TypedUserCache();
  // @ts-expect-error wrong type of value
  new TypedUserCache(5);
  // @ts-expect-error undefined is no value
  new TypedUserCache(undefined);
  // @ts-expect-error misspelt name
  new TypedUserCache({ usernam: 'bill' });
  // @ts-expect-error wrong type of value by name
  new TypedUserCache({ username: 5 });
  // @ts-expect-error too many values
  new TypedUserCache('bill', 'bob');
  // @ts-expect-error one name too many
  new TypedUserCache({ username: 'bill', id: 1 });
  // @ts-expect-error the missing one: role
  new TypedParticipationCache(user, event);
  // @ts-expect-error the missing one: role
  new TypedParticipationCache(user, { event });
  // @ts-expect-error in the wrong order
  new TypedParticipationCache(event, user, 'guest');
  // @ts-expect-error by name before by order
  new TypedParticipationCache({ event }, user, 'guest');
  // @ts-expect-error passed twice
  new TypedParticipationCache(user, { user, event, role: 'guest' });
  // @ts-expect-error the association and its column
  new TypedParticipationCache({ user, userId: 7, event, role: 'guest' });
  // @ts-expect-error an instance of another model
  new TypedParticipationCache({ user: event, event, role: 'guest' });
}

// ---- Custom caches ----

class Avatar extends Model<InferAttributes<Avatar>, InferCreationAttributes<Avatar>> {
  static readonly cache = withCache(Avatar, {
    keys: ['id'],
    caches: () => [AvatarCacheOnPath, AvatarCacheOnUserPath, PrimaryAvatarCacheOnUser, AvatarCacheOnUnknown],
  });
  declare id: CreationOptional<number>;
  declare userId: ForeignKey<number>;
  declare path: string;
  declare primary: boolean;
  declare user?: NonAttribute<User>;
}

class AvatarCacheOnPath extends InstanceCache<Avatar, ['path']> {
  static model = Avatar;
  static keyFields = ['path'] as const;
}

class AvatarCacheOnUserPath extends InstanceCache<Avatar> {
  static model = Avatar;
  static keyFields = ['user', 'path'] as const;
}

class PrimaryAvatarCacheOnUser extends InstanceCache<Avatar> {
  static model = Avatar;
  static keyFields = ['user'] as const;

  override getInstance({ user }: { user: number }) {
    return this.queryset().findOne({ where: { userId: user, primary: true } });
  }

  /** The result of `resolve` within the class. */
  async path() {
    return (await this.resolve())?.path;
  }
}

class AvatarCacheOnUnknown extends InstanceCache<Avatar> {
  static model = Avatar;
  static keyFields: readonly string[] = ['primary'];
}

class TypedCustomCache extends InstanceCache<Avatar, ['user']> {
  static model = Avatar;
  static keyFields = ['user'] as const;

  override async getInstance({ user }: KeyValues<Avatar, ['user']>): Promise<Avatar | null> {
    expectType<number>()(user);
    const [first, ...more] = await this.queryset().findAll({ where: { userId: user }, order: ['id'], limit: 2 });
    return more.length > 0 ? null : first ?? null;
  }
}

class NeverNullCache extends InstanceCache<Avatar, ['user']> {
  static model = Avatar;
  static keyFields = ['user'] as const;

  override getInstance({ user }: { user: number }) {
    return this.queryset().findOne({ where: { userId: user }, rejectOnEmpty: true });
  }
}

class DelegatingCache extends InstanceCache<Avatar> {
  static model = Avatar;
  static keyFields = ['path'] as const;

  override getInstance(values: KeyValues) {
    return super.getInstance(values);
  }
}

class WithoutParameter extends InstanceCache<Avatar> {
  static model = Avatar;
  static keyFields = ['path'] as const;

  override async getInstance() {
    return (await this.queryset().count({ where: { primary: true } })) > 0 ? null : this.queryset().findOne();
  }
}

class SubclassOfCustom extends PrimaryAvatarCacheOnUser {}

export async function custom(): Promise<void> {
  expectType<Avatar | null>()(await new PrimaryAvatarCacheOnUser(user).resolve());
  expectType<Avatar | null>()(await new PrimaryAvatarCacheOnUser({ user: 7 }).resolve());
  expectType<string | undefined>()(await new PrimaryAvatarCacheOnUser(7).path());
  expectType<Avatar | null>()(await new TypedCustomCache({ userId: 7 }).resolve());
  expectType<Avatar>()(await new NeverNullCache(7).resolve());
  expectType<Avatar | null>()(await new DelegatingCache('a.png').resolve());
  expectType<Avatar | null>()(await new WithoutParameter('a.png').resolve());
  expectType<Avatar | null>()(await new SubclassOfCustom(7).resolve());
  expectType<Avatar>()(await new AvatarCacheOnPath('a.png').resolve());

  expectType<null>()(await new SynchronousCache(7).resolve());

  const query: CacheQuery<Avatar | null> = new PrimaryAvatarCacheOnUser(7);
  const simple: InstanceCache<Avatar> = new AvatarCacheOnUnknown('a.png');
  expectType<Avatar>()(await simple.resolve());
  void query.resolve();
  // @ts-expect-error a custom cache may resolve to null where a simple one does not
  const mistaken: InstanceCache<Avatar> = new PrimaryAvatarCacheOnUser(7);
  // @ts-expect-error the result may be null
  (await new PrimaryAvatarCacheOnUser(7).resolve()).path;
}

class WrongResult extends InstanceCache<Avatar> {
  static model = Avatar;
  static keyFields = ['user'] as const;
  // @ts-expect-error an instance of another model
  override async getInstance({ user }: { user: number }) {
    return Event.findByPk(user);
  }
}

class WrongValues extends InstanceCache<Avatar, ['user']> {
  static model = Avatar;
  static keyFields = ['user'] as const;
  // @ts-expect-error the id is a number
  override async getInstance({ user }: { user: string }) {
    return this.queryset().findOne({ where: { path: user } });
  }
}

class WrongLooseValues extends InstanceCache<Avatar> {
  static model = Avatar;
  static keyFields = ['id'] as const;
  // @ts-expect-error an integer comes as a number, never as a bigint
  override getInstance({ id }: { id: bigint }) {
    return this.queryset().findOne({ where: { id: Number(id) } });
  }
}

class SynchronousCache extends InstanceCache<Avatar> {
  static model = Avatar;
  static keyFields = ['id'] as const;
  override getInstance() {
    return null;
  }
}

class WrongQueries extends InstanceCache<Avatar> {
  static model = Avatar;
  static keyFields = ['user'] as const;
  override async getInstance({ user }: { user: number }) {
    // @ts-expect-error misspelt attribute
    await this.queryset().findAll({ where: { user_id: user } });
    // @ts-expect-error the queryset chooses the connection
    await this.queryset().findOne({ where: { userId: user }, transaction: null });
    // @ts-expect-error it reads only
    await this.queryset().create({});
    return null;
  }
}

// ---- Lists that compute something ----

class AvatarsOfUser extends QuerysetCache<Avatar, ['user']> {
  static model = Avatar;
  static keyFields = ['user'] as const;
  override getResult({ user }: { user: number }) {
    return this.queryset().findAll({ where: { userId: user, primary: true } });
  }
}

class AvatarOfUser extends QuerysetCache<Avatar, ['user']> {
  static model = Avatar;
  static keyFields = ['user'] as const;
  override getResult({ user }: { user: number }) {
    return this.queryset().findOne({ where: { userId: user, primary: true } });
  }
}

class MapOfUser extends QuerysetCache<Avatar, ['user']> {
  static model = Avatar;
  static keyFields = ['user'] as const;
  // @ts-expect-error JSON cannot hold a Map
  override getResult() {
    return new Map<string, number>();
  }
}

class EventsOfUser extends QuerysetCache<Avatar, ['user']> {
  static model = Avatar;
  static keyFields = ['user'] as const;
  // @ts-expect-error instances of another model
  override getResult() {
    return Event.findAll();
  }
}

class NothingOfUser extends QuerysetCache<Avatar, ['user']> {
  static model = Avatar;
  static keyFields = ['user'] as const;
  // @ts-expect-error undefined is no result
  override getResult() {
    return undefined;
  }
}

class WrongMethod extends QuerysetCache<Avatar, ['user']> {
  static model = Avatar;
  static keyFields = ['user'] as const;
  // @ts-expect-error the method of an InstanceCache
  override getInstance() {
    return null;
  }
}

class WrongMethodOfOne extends InstanceCache<Avatar, ['user']> {
  static model = Avatar;
  static keyFields = ['user'] as const;
  // @ts-expect-error the method of a QuerysetCache
  override getResult() {
    return 5;
  }
}

/** A registered class may read through the cache of its model. */
@registerCache
class ThroughCache extends InstanceCache<Avatar, ['user']> {
  static model = Avatar;
  static keyFields = ['user'] as const;
  override async getInstance({ user }: { user: number }) {
    return Avatar.cache.get({ id: user });
  }
}

export const lists = [ThroughCache, MapOfUser, EventsOfUser, NothingOfUser, WrongMethod, WrongMethodOfOne];

export async function computed(): Promise<void> {
  expectType<Avatar[]>()(await new AvatarsOfUser(7).resolve());
  expectType<Avatar | null>()(await new AvatarOfUser(7).resolve());
}

// ---- In withCache ----

export type FromClasses = [
  // simple classes with literal key fields can be asked for through the manager, custom ones cannot
  Expect<Equal<typeof Avatar.cache, ModelCache<Avatar, 'id' | readonly ['path'] | readonly ['user', 'path']>>>,
];

export async function registered(): Promise<void> {
  expectType<Avatar>()(await Avatar.cache.get({ path: 'a.png' }));
  expectType<Avatar>()(await Avatar.cache.get('a.png'));
  expectType<Avatar>()(await Avatar.cache.get({ user, path: 'a.png' }));
  const onlyClasses = withCache(Participation, { caches: [ParticipationCacheOnUserEvent] });
  expectType<Participation>()(await onlyClasses.get({ user, eventId: 7n }));
  expectType<Promise<InvalidationResult>>()(onlyClasses.invalidate(participation));

  // @ts-expect-error a custom cache is not asked through the manager
  void Avatar.cache.get({ user: 7 });
  // @ts-expect-error key fields that the compiler does not know
  void Avatar.cache.get({ primary: true });
  // @ts-expect-error the missing one: event
  void onlyClasses.get({ user });
  // @ts-expect-error a cache of another model
  withCache(User, { caches: [PrimaryAvatarCacheOnUser] });
  // @ts-expect-error a cache of another model, from a function
  withCache(User, { caches: () => [UserCacheOnUsername, PrimaryAvatarCacheOnUser] });
  // @ts-expect-error an instance, not a class
  withCache(User, { caches: [new UserCacheOnUsername('bill')] });
  // @ts-expect-error not a cache class
  withCache(User, { caches: [Event] });
}

class NoKeyFields extends InstanceCache<User> {
  static model = User;
}
class NoModel extends InstanceCache<User> {
  static keyFields = ['username'] as const;
}
// @ts-expect-error has no static keyFields
registerCache(NoKeyFields);
// @ts-expect-error has no static model
withCache(User, { caches: [NoModel] });

// @ts-expect-error has no static model
@registerCache
class Decorated extends InstanceCache<User> {
  static keyFields = ['username'] as const;
}

export const classes: readonly CacheClass[] = [UserCacheOnUsername, TypedParticipationCache, PrimaryAvatarCacheOnUser];

// ---- Members that have no effect ----

export class ResultOfInstance extends InstanceCache<User> {
  static model = User;
  static keyFields = ['username'] as const;
  // @ts-expect-error an instance cache answers with getInstance
  getResult(): number {
    return 1;
  }
}

export class InstanceOfList extends QuerysetCache<User> {
  static model = User;
  static keyFields = ['username'] as const;
  // @ts-expect-error a list answers with getResult
  getInstance(): null {
    return null;
  }
}

export class ComputedRelation extends RelatedQuerysetCache<Post, Comment> {
  static model = Post;
  static keyFields = ['id'] as const;
  static relation = 'comments';
  // @ts-expect-error a relation computes nothing
  getResult(): number {
    return 1;
  }
}

class WithSelectRelated extends InstanceCache<User> {
  static model = User;
  static keyFields = ['username'] as const;
  static selectRelated = ['profile'];
}
// @ts-expect-error 'include' is meant
registerCache(WithSelectRelated);

class WithSnakeCase extends InstanceCache<User> {
  static model = User;
  static keyFields = ['username'] as const;
  static negative_timeout = 5;
}
// @ts-expect-error 'negativeTimeout' is meant
registerCache(WithSnakeCase);

class WithSerializer extends InstanceCache<User> {
  static model = User;
  static keyFields = ['username'] as const;
  static serializer = JSON;
}
// @ts-expect-error there is none
withCache(User, { caches: [WithSerializer] });
