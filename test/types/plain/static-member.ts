/** `static readonly cache = withCache(User, …)`: parameters and results of every method. */
import type { DoesNotExist } from '../../../src/errors.js';
import type { CacheQuery, InvalidationResult, ModelCache, ModelCacheStats } from '../support.js';
import { type Equal, type Expect, expectType, withCache } from '../support.js';
import { Category, category, Comment, comment, Event, event, Participation, participation, Post, post, User, user } from './models.js';

// ---- What is inferred ----

export type Inferred = [
  Expect<Equal<typeof User.cache, ModelCache<User, 'id' | 'username' | readonly ['tenantId', 'slug']>>>,
  Expect<Equal<typeof Comment.cache, ModelCache<Comment, 'target' | readonly ['user', 'target'], 'target'>>>,
  Expect<Equal<Awaited<ReturnType<User['twin']>>, User | null>>,
  // the comparison itself sees a difference
  Expect<Equal<Equal<typeof User.cache, ModelCache<User, 'id'>>, false>>,
  Expect<Equal<Equal<typeof User.cache, ModelCache<Event, 'id'>>, false>>,
];

export async function results(): Promise<void> {
  expectType<User>()(await User.cache.get({ username: 'bill' }));
  expectType<User | null>()(await User.cache.getOrNone({ username: 'bill' }));
  expectType<User>()(await User.cache.getOr404({ username: 'bill' }));
  expectType<(User | null)[]>()(await User.cache.getMany([{ id: 1 }, { id: 2 }]));
  expectType<CacheQuery<User>>()(User.cache.getQuery({ id: 1 }));
  expectType<User>()(await User.cache.getQuery({ id: 1 }).resolve());
  expectType<string>()(User.cache.getQuery({ id: 1 }).key);
  expectType<string>()(User.cache.getKey({ id: 1 }));
  expectType<Promise<InvalidationResult>>()(User.cache.invalidate(user));
  expectType<Promise<InvalidationResult>>()(User.cache.invalidate({ username: 'bill' }));
  expectType<typeof DoesNotExist>()(User.cache.DoesNotExist);
  expectType<ModelCacheStats>()(User.cache.stats());
  expectType<number | undefined>()(User.cache.stats()['User.username']?.hits);

  // @ts-expect-error the result is a User
  expectType<Event>()(await User.cache.get({ username: 'bill' }));
  // @ts-expect-error the result may be null
  (await User.cache.getOrNone({ username: 'bill' })).username;
  // @ts-expect-error counters are read only
  User.cache.stats()['User.username']!.hits = 0;
}

// ---- Plain attributes ----

export function plainAttributes(maybe: string | undefined): void {
  void User.cache.get({ id: 1 });
  void User.cache.get({ username: 'bill' });
  void User.cache.get({ tenantId: 1, slug: 'bill' });
  void User.cache.get({ slug: 'bill', tenantId: 1 });
  const params = { tenantId: 1, slug: 'bill' };
  void User.cache.get(params);
  const either: { id: number } | { username: string } = Math.random() < 0.5 ? { id: 1 } : { username: 'bill' };
  void User.cache.get(either);
  void Event.cache.get({ id: 9007199254740993n });
  void Event.cache.get({ startsAt: new Date() });
  void Event.cache.get({ code: 'spring' });

  // @ts-expect-error misspelt name
  void User.cache.get({ usernam: 'bill' });
  // @ts-expect-error an attribute that no cache was declared on
  void User.cache.get({ email: 'bill@example.org' });
  // @ts-expect-error not an attribute
  void User.cache.get({ label: 'bill' });
  // @ts-expect-error the missing one: slug
  void User.cache.get({ tenantId: 1 });
  // @ts-expect-error missing: tenantId
  void User.cache.get({ slug: 'bill' });
  // @ts-expect-error extra: email, an attribute
  void User.cache.get({ username: 'bill', email: 'bill@example.org' });
  // @ts-expect-error extra: foo, not an attribute
  void User.cache.get({ tenantId: 1, slug: 'bill', foo: 1 });
  // @ts-expect-error id and username are declared, their combination is not
  void User.cache.get({ id: 1, username: 'bill' });
  // @ts-expect-error the declared combination, and id
  void User.cache.get({ tenantId: 1, slug: 'bill', id: 1 });
  // @ts-expect-error half of a combination with another key field
  void User.cache.get({ tenantId: 1, username: 'bill' });
  // @ts-expect-error nothing at all
  void User.cache.get({});
  // @ts-expect-error no argument
  void User.cache.get();
  // @ts-expect-error wrong type of value
  void User.cache.get({ username: 5 });
  // @ts-expect-error wrong type of value
  void User.cache.get({ id: '1' });
  // @ts-expect-error wrong type of value in a combination
  void User.cache.get({ tenantId: 1, slug: 1 });
  // @ts-expect-error undefined is no value
  void User.cache.get({ username: undefined });
  // @ts-expect-error maybe undefined
  void User.cache.get({ username: maybe });
  // @ts-expect-error null where the attribute does not allow it
  void User.cache.get({ username: null });
  // @ts-expect-error an operator is not a value
  void User.cache.get({ id: [1, 2] });
  // @ts-expect-error number for a bigint
  void Event.cache.get({ id: 1 });
  // @ts-expect-error string for a Date
  void Event.cache.get({ startsAt: '2020-01-01' });
  // @ts-expect-error not a member of the enum
  void Event.cache.get({ code: 'summer' });
}

export function everyMethod(): void {
  // @ts-expect-error misspelt name
  void User.cache.getOrNone({ usernam: 'bill' });
  // @ts-expect-error misspelt name
  void User.cache.getOr404({ usernam: 'bill' });
  // @ts-expect-error misspelt in one of many
  void User.cache.getMany([{ id: 1 }, { usernam: 'bill' }]);
  // @ts-expect-error wrong type of value in one of many
  void User.cache.getMany([{ id: 1 }, { username: 2 }]);
  // @ts-expect-error must be a list
  void User.cache.getMany({ id: 1 });
  // @ts-expect-error misspelt name
  void User.cache.getQuery({ usernam: 'bill' });
  // @ts-expect-error wrong type of value
  void User.cache.getKey({ username: 1 });
  // @ts-expect-error an undeclared combination
  void User.cache.invalidate({ id: 1, username: 'bill' });
  // @ts-expect-error an instance of another model
  void User.cache.invalidate(event);
  // @ts-expect-error no such method
  void User.cache.find({ id: 1 });
}

// ---- Bare values ----

export function bareValues(): void {
  void User.cache.get('bill');
  void User.cache.get(1);
  void User.cache.getMany([1, 'bill', { tenantId: 1, slug: 'bill' }]);
  void Event.cache.get(new Date());
  void Participation.cache.get(user);
  void Participation.cache.get(7);
  void Category.cache.get(category);
  void Post.cache.get(comment);
  void Post.cache.get(['Comment', 5]);

  // @ts-expect-error no single key field is a boolean
  void User.cache.get(true);
  // @ts-expect-error undefined is not either
  void User.cache.get(undefined);
  // @ts-expect-error null is not either
  void User.cache.get(null);
  // @ts-expect-error a list is not either
  void User.cache.get([1, 'bill']);
  // @ts-expect-error nor any string
  void Event.cache.get('summer');
  // @ts-expect-error an instance of a model that is not a key field by itself
  void Participation.cache.get(event);
  // @ts-expect-error an instance of the model that is asked for
  void Participation.cache.get(participation);
}

// ---- Associations ----

export function associations(): void {
  void Participation.cache.get({ user });
  void Participation.cache.get({ user: 7 });
  void Participation.cache.get({ userId: 7 });
  void Participation.cache.get({ user, event });
  void Participation.cache.get({ event, user });
  void Participation.cache.get({ user, eventId: 7n });
  void Participation.cache.get({ userId: 7, event });
  void Participation.cache.get({ userId: 7, eventId: 7n });
  void Participation.cache.get({ user: user as User | number, event: 7n });
  void Participation.cache.get({ role: 'guest', event });
  // null: where the type of the association has it …
  void Participation.cache.get({ inviter: null });
  // … or its column
  void Participation.cache.get({ substitute: null, event });
  void Participation.cache.get({ substitute_id: null, event });
  void Participation.cache.get({ substitute: user, eventId: 7n });
  // an id of unknown type: no column among the members
  void Participation.cache.get({ inviter: user });
  void Participation.cache.get({ inviter: 7 });
  void Participation.cache.get({ inviter: '7' });
  void Participation.cache.get({ inviter: 7n });
  void Category.cache.get({ parent: category });
  void Category.cache.get({ parent: 7 });

  // @ts-expect-error an instance of another model
  void Participation.cache.get({ user: event });
  // @ts-expect-error an instance of another model
  void Participation.cache.get({ user, event: user });
  // @ts-expect-error an instance under the column's name
  void Participation.cache.get({ userId: user });
  // @ts-expect-error the association and its column
  void Participation.cache.get({ user, userId: 7 });
  // @ts-expect-error the association and its column, in a combination
  void Participation.cache.get({ user, userId: 7, event });
  // @ts-expect-error wrong type of id: the column is a number
  void Participation.cache.get({ user: '7' });
  // @ts-expect-error wrong type of id
  void Participation.cache.get({ userId: '7' });
  // @ts-expect-error wrong type of id
  void Participation.cache.get({ user: true });
  // @ts-expect-error undefined is no value
  void Participation.cache.get({ user: undefined });
  // @ts-expect-error participation.user is undefined unless it was included
  void Participation.cache.get({ user: participation.user });
  // @ts-expect-error null for a column that does not allow it
  void Participation.cache.get({ user: null });
  // @ts-expect-error the missing one: role
  void Participation.cache.get({ event });
  // @ts-expect-error undeclared combination
  void Participation.cache.get({ user, role: 'guest' });
  // @ts-expect-error undeclared: both, and role
  void Participation.cache.get({ user, event, role: 'guest' });
  // @ts-expect-error extra, named like an attribute of User
  void Participation.cache.get({ user, username: 'bill' });
  // @ts-expect-error extra, named like a member of every instance
  void Participation.cache.get({ user, isNewRecord: true });
  // @ts-expect-error no such attribute
  void Participation.cache.get({ inviterId: 7 });
  // @ts-expect-error extra, where the instance itself has a member called parent
  void Category.cache.get({ parent: category, slug: 'x' });
  // @ts-expect-error many instances
  void Category.cache.get({ parent: [category] });
}

// ---- Generic foreign keys ----

export function genericForeignKeys(): void {
  void Comment.cache.get({ target: post });
  void Comment.cache.get({ target: ['Post', 5] });
  void Comment.cache.get({ target: ['Post', '5'] as const, user });
  void Comment.cache.get({ target: post, userId: 7 });
  void Post.cache.get({ cover: comment });

  // @ts-expect-error an id does not say of which model
  void Comment.cache.get({ target: 5 });
  // @ts-expect-error a type without an id
  void Comment.cache.get({ target: 'Post' });
  // @ts-expect-error a type without an id
  void Comment.cache.get({ target: ['Post'] });
  // @ts-expect-error the pair is the wrong way round
  void Comment.cache.get({ target: [5, 'Post'] });
  // @ts-expect-error three elements
  void Comment.cache.get({ target: ['Post', 5, 6] });
  // @ts-expect-error null is no target
  void Comment.cache.get({ target: null });
  // @ts-expect-error its columns, not its name
  void Comment.cache.get({ targetType: 'Post', targetId: 5 });
  // @ts-expect-error a column under a convention that generic foreign keys do not have
  void Comment.cache.get({ targetId: 5 });
  // @ts-expect-error undeclared combination
  void Comment.cache.get({ user });
  // @ts-expect-error the name of another model's generic foreign key
  void Comment.cache.get({ cover: post });
  // @ts-expect-error one name too many
  void Comment.cache.get({ target: post, targetType: 'Post' });
}

// ---- Managers beside each other ----

export async function managers(): Promise<void> {
  // one with more caches stands in for one with fewer
  const byId: ModelCache<User, 'id'> = User.cache;
  expectType<User>()(await byId.get({ id: 1 }));
  const find = <R>(cache: { get(key: { id: number }): Promise<R> }, id: number): Promise<R> => cache.get({ id });
  expectType<User>()(await find(User.cache, 1));
  expectType<Post>()(await find(Post.cache, 1));
  expectType<number>()([User, Event, Participation, Category, Post, Comment].length);

  // @ts-expect-error no cache on email
  const byEmail: ModelCache<User, 'email'> = User.cache;
  // @ts-expect-error a manager of another model
  expectType<ModelCache<Event, 'id'>>()(User.cache);
  // @ts-expect-error Event has no cache on a number
  void find(Event.cache, 1);
}

class Manager extends User {
  static override readonly cache = withCache(Manager, { keys: ['id', 'username', ['tenantId', 'slug'], 'email'] });
}

// @ts-expect-error a model that extends another must have its caches too: User.cache.get is also Guest.cache.get
class Guest extends User {
  static override readonly cache = withCache(Guest, { keys: ['email'] });
}

export async function inheritance(): Promise<void> {
  expectType<Manager>()(await Manager.cache.get({ email: 'bill@example.org' }));
  void Guest.cache.get({ email: 'bill@example.org' });
}

// ---- Sequelize's own inference is as it was ----

export async function unharmed(): Promise<void> {
  expectType<User | null>()(await User.findOne({ where: { username: 'bill' } }));
  expectType<User>()(await User.create({ username: 'bill', tenantId: 1, slug: 'bill', email: null }));
  Participation.belongsTo(User, { as: 'user' });
  // @ts-expect-error Sequelize checks the attributes of where
  void User.findOne({ where: { usernam: 'bill' } });
}
