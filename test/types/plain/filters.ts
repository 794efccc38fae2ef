/** `filter`, `prefetch` and the other methods for many rows: parameters and results. */
import { type CreationOptional, type ForeignKey, type InferAttributes, type InferCreationAttributes, Model, type NonAttribute } from 'sequelize';
import type { CacheMeta, CacheQuery, InvalidationResult, ModelCache, RowsInvalidationResult } from '../support.js';
import { type Equal, type Expect, expectType, withCache } from '../support.js';
import { type Event, event, Photo, Post, post, type User, user } from './models.js';

class Vote extends Model<InferAttributes<Vote>, InferCreationAttributes<Vote>> {
  static readonly cache = withCache(Vote, {
    keys: ['id'],
    filters: ['user', 'kind', ['user', 'kind'], ['event', 'target'], []],
    cachedForeignKeys: ['user', 'event'],
    genericForeignKeys: { target: { type: 'targetType', id: 'targetId', models: () => [Post, Photo] } },
  });

  declare id: CreationOptional<number>;
  declare kind: 'up' | 'down';
  declare weight: number;
  declare targetType: string;
  declare targetId: number;
  declare userId: ForeignKey<number | null>;
  declare eventId: ForeignKey<bigint>;
  declare user?: NonAttribute<User>;
  declare event?: NonAttribute<Event>;
  declare referee?: NonAttribute<User>;
  declare photos?: NonAttribute<Photo[]>;

  /** Its result is inferred from `cache`, whose type looks at this class. */
  async others() {
    return Vote.cache.filter({ kind: this.kind });
  }
}
declare const vote: Vote;

export type Inferred = [
  Expect<
    Equal<
      typeof Vote.cache,
      ModelCache<
        Vote,
        'id',
        'target',
        'user' | 'kind' | readonly ['user', 'kind'] | readonly ['event', 'target'] | readonly [],
        'user' | 'event'
      >
    >
  >,
  Expect<Equal<Awaited<ReturnType<Vote['others']>>, Vote[]>>,
];

export async function filters(flag: boolean): Promise<void> {
  expectType<Vote[]>()(await Vote.cache.filter({ user }));
  expectType<Vote[]>()(await Vote.cache.filter({ user: 7 }));
  expectType<Vote[]>()(await Vote.cache.filter({ userId: 7 }));
  expectType<Vote[]>()(await Vote.cache.filter({ userId: null }, { refresh: true }));
  expectType<Vote[]>()(await Vote.cache.filter({ kind: 'up', userId: 7 }));
  expectType<Vote[]>()(await Vote.cache.filter({ event, target: post }));
  expectType<Vote[]>()(await Vote.cache.filter({ eventId: 7n, target: ['Post', 5] }));
  expectType<Vote[]>()(await Vote.cache.filter({}));
  expectType<Vote[] | undefined>()(await Vote.cache.filter({ user }, { cacheOnly: true }));
  expectType<Vote[] | undefined>()(await Vote.cache.filter({ user }, { cacheOnly: flag }));
  expectType<CacheQuery<Vote[]>>()(Vote.cache.filterQuery({ user }));
  expectType<Vote[]>()(await Vote.cache.filterQuery({ kind: 'up' }).resolve({ cacheOnly: true }));
  expectType<RowsInvalidationResult>()(await Vote.cache.invalidateWhere({ weight: 7 }));
  expectType<Promise<InvalidationResult>>()(Vote.cache.clear());

  // @ts-expect-error misspelt name
  void Vote.cache.filter({ usr: user });
  // @ts-expect-error wrong type of value
  void Vote.cache.filter({ kind: 'sideways' });
  // @ts-expect-error an attribute that no list is declared on
  void Vote.cache.filter({ weight: 7 });
  // @ts-expect-error a key, not a filter
  void Vote.cache.filter({ id: 7 });
  // @ts-expect-error a filter, not a key
  void Vote.cache.get({ user });
  // @ts-expect-error the missing one: target
  void Vote.cache.filter({ event });
  // @ts-expect-error undeclared combination
  void Vote.cache.filter({ event, kind: 'up' });
  // @ts-expect-error the association and its column
  void Vote.cache.filter({ user, userId: 7 });
  // @ts-expect-error wrong type of id: the column is a bigint
  void Vote.cache.filter({ eventId: 7, target: post });
  // @ts-expect-error an instance of another model
  void Vote.cache.filter({ user: event });
  // @ts-expect-error an id does not say of which model
  void Vote.cache.filter({ event, target: 5 });
  // @ts-expect-error undefined is no value
  void Vote.cache.filter({ user: undefined });
  // @ts-expect-error a bare value does not say which list
  void Vote.cache.filter('up');
  // @ts-expect-error nor does an instance
  void Vote.cache.filter(user);
  // @ts-expect-error no argument
  void Vote.cache.filter();
  // @ts-expect-error order and limit are for a QuerysetCache
  void Vote.cache.filter({ user }, { limit: 5 });
  // @ts-expect-error the result is a list
  expectType<Vote>()(await Vote.cache.filter({ user }));
  // @ts-expect-error misspelt name
  void Vote.cache.filterQuery({ usr: user });
  // @ts-expect-error misspelt attribute
  void Vote.cache.invalidateWhere({ wieght: 7 });
  // @ts-expect-error a condition is needed
  void Vote.cache.invalidateWhere();
}

export async function prefetch(): Promise<void> {
  expectType<readonly Vote[]>()(await Vote.cache.prefetch([vote], ['user', 'event']));
  expectType<readonly Vote[]>()(await Vote.cache.prefetch(await Vote.cache.filter({}), ['user'], { refresh: true }));
  void Vote.cache.prefetch([vote], ['event'], { transaction: null });
  expectType<readonly (Vote | null)[]>()(await Vote.cache.prefetch(await Vote.cache.getMany([{ id: 1 }]), ['user']));
  expectType<readonly (Vote | null | undefined)[]>()(
    await Vote.cache.prefetch(await Vote.cache.getMany([{ id: 1 }], { cacheOnly: true }), ['user']),
  );
  // @ts-expect-error null and instances of another model
  void Vote.cache.prefetch([null, user], ['user']);

  // @ts-expect-error an association that is not among cachedForeignKeys
  void Vote.cache.prefetch([vote], ['referee']);
  // @ts-expect-error misspelt name
  void Vote.cache.prefetch([vote], ['usr']);
  // @ts-expect-error must be a list
  void Vote.cache.prefetch([vote], 'user');
  // @ts-expect-error must be a list
  void Vote.cache.prefetch(vote, ['user']);
  // @ts-expect-error instances of another model
  void Vote.cache.prefetch([user], ['user']);
  // @ts-expect-error would leave it half done
  void Vote.cache.prefetch([vote], ['user'], { cacheOnly: true });
}

export async function declarations(): Promise<void> {
  const whole = withCache(Vote, { filters: [[]] });
  expectType<Vote[]>()(await whole.filter({}));
  // @ts-expect-error the whole table has no parameters
  void whole.filter({ user });
  // @ts-expect-error not even a value
  void whole.filter(5);

  const long = withCache(Vote, { filterKeyFieldsList: ['kind'] });
  expectType<Vote[]>()(await long.filter({ kind: 'up' }));
  // @ts-expect-error nothing was declared to be prefetched
  void long.prefetch([vote], ['user']);
  void long.prefetch([vote], []);

  const none = withCache(Vote, { keys: ['id'] });
  // @ts-expect-error no filters were declared
  void none.filter({});
  // @ts-expect-error no filters were declared
  void none.filter({ user });

  // @ts-expect-error misspelt key field
  withCache(Vote, { filters: ['usr'] });
  // @ts-expect-error misspelt key field in a combination
  withCache(Vote, { filters: [['user', 'knd']] });
  // @ts-expect-error a foreign key's column
  withCache(Vote, { filters: ['userId'] });
  // @ts-expect-error a list of instances
  withCache(Vote, { filters: ['photos'] });
  // @ts-expect-error must be a list
  withCache(Vote, { filters: 'user' });
  // @ts-expect-error a key has at least one field
  withCache(Vote, { keys: [[]] });
  // @ts-expect-error a generic foreign key that was not declared
  withCache(Vote, { filters: ['target'] });
  // @ts-expect-error misspelt association
  withCache(Vote, { cachedForeignKeys: ['usr'] });
  // @ts-expect-error a foreign key's column
  withCache(Vote, { cachedForeignKeys: ['userId'] });
  // @ts-expect-error leads to many
  withCache(Vote, { cachedForeignKeys: ['photos'] });
  // @ts-expect-error must be a list
  withCache(Vote, { cachedForeignKeys: 'user' });
  // @ts-expect-error not a number
  withCache(Vote, { keys: ['id'], negativeTimeout: '60' });
}

// ---- The mixin ----

class Meeting extends withCache(Model)<InferAttributes<Meeting>, InferCreationAttributes<Meeting>> {
  declare static readonly cache: ModelCache<Meeting, 'id', never, 'host' | readonly [], 'host'>;
  static cacheMeta = { keys: ['id'], filters: ['host', []], cachedForeignKeys: ['host'] } satisfies CacheMeta<Meeting>;
  declare id: CreationOptional<number>;
  declare hostId: ForeignKey<number>;
  declare host?: NonAttribute<User>;
}

class Wrong extends withCache(Model)<InferAttributes<Wrong>, InferCreationAttributes<Wrong>> {
  // @ts-expect-error misspelt filter
  declare static readonly cache: ModelCache<Wrong, 'id', never, 'hst'>;
  // @ts-expect-error misspelt filter
  static cacheMeta = { filters: ['hst'] } satisfies CacheMeta<Wrong>;
  declare id: CreationOptional<number>;
  declare host?: NonAttribute<User>;
}

class WrongForeignKey extends withCache(Model)<InferAttributes<WrongForeignKey>, InferCreationAttributes<WrongForeignKey>> {
  // @ts-expect-error misspelt association
  declare static readonly cache: ModelCache<WrongForeignKey, 'id', never, never, 'hst'>;
  // @ts-expect-error misspelt association
  static cacheMeta = { cachedForeignKeys: ['hst'] } satisfies CacheMeta<WrongForeignKey>;
  declare id: CreationOptional<number>;
  declare host?: NonAttribute<User>;
}

export async function mixin(meetings: readonly Meeting[]): Promise<void> {
  expectType<Meeting[]>()(await Meeting.cache.filter({ host: user }));
  expectType<Meeting[]>()(await Meeting.cache.filter({ hostId: 7 }));
  expectType<Meeting[]>()(await Meeting.cache.filter({}));
  expectType<Meeting[][]>()(await Meeting.cache.filterMany([{ host: user }, { hostId: 7 }, {}]));
  expectType<(Meeting[] | undefined)[]>()(await Meeting.cache.filterMany([{ host: user }], { cacheOnly: true }));
  // @ts-expect-error misspelt name
  void Meeting.cache.filterMany([{ hst: user }]);
  // @ts-expect-error not a list
  void Meeting.cache.filterMany({ host: user });
  expectType<readonly Meeting[]>()(await Meeting.cache.prefetch(meetings, ['host']));
  // @ts-expect-error misspelt name
  void Meeting.cache.filter({ hst: user });
  // @ts-expect-error misspelt name
  void Meeting.cache.prefetch(meetings, ['hst']);
}
