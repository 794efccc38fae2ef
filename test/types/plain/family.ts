/** Lists, counts, existence, related rows and batches: arguments, results, static members. */
import { type CreationOptional, type ForeignKey, type InferAttributes, type InferCreationAttributes, Model, type NonAttribute } from 'sequelize';
import type { CacheQuery, InvalidationResult, JsonValue, KeyValues } from '../support.js';
import {
  BatchCacheQuery,
  bumpVersion,
  expectType,
  InstanceCache,
  QuerysetCache,
  QuerysetCountCache,
  QuerysetExistsCache,
  registerCache,
  RelatedInstanceCache,
  RelatedQuerysetCache,
  withCache,
} from '../support.js';
import { Event, event, type Photo, Post, User, user } from './models.js';

class Vote extends Model<InferAttributes<Vote>, InferCreationAttributes<Vote>> {
  static readonly cache = withCache(Vote, {
    keys: ['id'],
    filters: ['user'],
    caches: () => [HeaviestVotes, WeightOfUser, HasVoted, VotesOfUser, AllVotes, VoteWithUser, EventOfVote, PhotosOfUser],
  });
  declare id: CreationOptional<number>;
  declare kind: string;
  declare weight: number;
  declare userId: ForeignKey<number>;
  declare user?: NonAttribute<User>;
  declare event?: NonAttribute<Event>;
  declare photos?: NonAttribute<Photo[]>;
}

class HeaviestVotes extends QuerysetCache<Vote, ['user']> {
  static model = Vote;
  static keyFields = ['user'] as const;
  static order = [['weight', 'DESC'], 'id', ['createdAt']] as const;
  static limit = 20;
  static invalidation = 'DYNAMIC' as const;
  static allowtime = 30;
  static negativeTimeout = 10;
}
class LooseVotes extends QuerysetCache<Vote> {
  static model = Vote;
  static keyFields = ['kind'] as const;
}
class WeightOfUser extends QuerysetCache<Vote, ['user']> {
  static model = Vote;
  static keyFields = ['user'] as const;
  override async getResult({ user: id }: KeyValues<Vote, ['user']>) {
    expectType<number>()(id);
    const votes = await this.queryset().findAll({ where: { userId: id } });
    expectType<Vote[]>()(votes);
    return { weight: votes.length, ids: votes.map((vote) => vote.id) };
  }
}
class AnyValue extends QuerysetCache<Vote, ['user']> {
  static model = Vote;
  static keyFields = ['user'] as const;
  override getResult(): JsonValue {
    return null;
  }
}
class HasVoted extends QuerysetExistsCache<Vote, ['user', 'kind']> {
  static model = Vote;
  static keyFields = ['user', 'kind'] as const;
}
class VotesOfUser extends QuerysetCountCache<Vote, ['user']> {
  static model = Vote;
  static keyFields = ['user'] as const;
}
class AllVotes extends QuerysetCountCache<Vote> {
  static model = Vote;
  static keyFields = [];
}
class TypedAllVotes extends QuerysetCache<Vote, []> {
  static model = Vote;
  static keyFields = [] as const;
}
class VoteWithUser extends InstanceCache<Vote, ['id']> {
  static model = Vote;
  static keyFields = ['id'] as const;
  static include = ['event', { association: 'user', include: ['profile', { association: 'team' }] }];
}
class EventOfVote extends RelatedInstanceCache<Vote, Event, ['id']> {
  static model = Vote;
  static keyFields = ['id'] as const;
  static relation = 'event';
}
class PhotosOfUser extends RelatedQuerysetCache<Vote, Photo, ['user']> {
  static model = Vote;
  static keyFields = ['user'] as const;
  static relation = 'photos';
}
class PhotosOfAll extends RelatedQuerysetCache<Vote, Photo> {
  static model = Vote;
  static keyFields = [];
  static relation = 'photos';
}

class OutdatedVote extends InstanceCache<Vote, ['kind']> {
  static model = Vote;
  static keyFields = ['kind'] as const;
  static invalidation = 'OFF' as const;
}

export async function throughTheManager(): Promise<void> {
  const cache = withCache(Vote, { caches: [VoteWithUser, OutdatedVote, HeaviestVotes] });
  // @ts-expect-error the manager gives rows, not rows with others
  void cache.get({ id: 7 });
  // @ts-expect-error nor one that may be outdated
  void cache.get({ kind: 'up' });
  // @ts-expect-error nor the lists of classes
  void cache.filter({ user });
  expectType<Vote>()(await new OutdatedVote('up').resolve());
}

export async function results(vote: Vote): Promise<void> {
  expectType<Vote[]>()(await new HeaviestVotes(user).resolve());
  expectType<Vote[]>()(await new HeaviestVotes({ userId: 7 }).resolve({ refresh: true }));
  expectType<Vote[]>()(await new LooseVotes('up').resolve());
  expectType<{ weight: number; ids: CreationOptional<number>[] }>()(await new WeightOfUser(7).resolve());
  expectType<JsonValue>()(await new AnyValue(7).resolve());
  expectType<boolean>()(await new HasVoted(user, 'up').resolve());
  expectType<boolean>()(await new HasVoted(user, { kind: 'up' }).resolve());
  expectType<number>()(await new VotesOfUser(user).resolve());
  expectType<number>()(await new AllVotes().resolve());
  expectType<Vote[]>()(await new TypedAllVotes().resolve());
  expectType<Vote>()(await new VoteWithUser(7).resolve());
  expectType<NonAttribute<User> | undefined>()((await new VoteWithUser(7).resolve()).user);
  expectType<Event | null>()(await new EventOfVote(7).resolve());
  expectType<Photo[]>()(await new PhotosOfUser(user).resolve());
  expectType<Photo[]>()(await new PhotosOfAll().resolve());
  expectType<string>()(new HeaviestVotes(user).key);
  const query: CacheQuery<Vote[]> = new HeaviestVotes(user);
  query;

  // @ts-expect-error wrong type of value
  new HeaviestVotes('7');
  // @ts-expect-error nothing at all
  new HeaviestVotes();
  // @ts-expect-error misspelt name
  new HeaviestVotes({ usr: user });
  // @ts-expect-error too many values
  new HeaviestVotes(user, 5);
  // @ts-expect-error the missing one: kind
  new HasVoted(user);
  // @ts-expect-error undefined is no value
  new LooseVotes(undefined);
  // @ts-expect-error has no key fields
  new TypedAllVotes(7);
  // @ts-expect-error has no key fields
  new TypedAllVotes({});
  // @ts-expect-error the event may not exist
  (await new EventOfVote(7).resolve()).title;
  // @ts-expect-error is a list, not one photo
  (await new PhotosOfUser(user).resolve()).id;
  // @ts-expect-error a count is no list
  expectType<Vote[]>()(await new AllVotes().resolve());
  // @ts-expect-error a member that Vote does not declare
  (await new VoteWithUser(vote.id).resolve()).profile;
}

// ---- getResult ----

class ResultNotJson extends QuerysetCache<Vote, ['user']> {
  static model = Vote;
  static keyFields = ['user'] as const;
  // @ts-expect-error a Date is no JSON value
  override async getResult() {
    return new Date();
  }
}
class ResultOfFunction extends QuerysetCache<Vote, ['user']> {
  static model = Vote;
  static keyFields = ['user'] as const;
  // @ts-expect-error a function is no JSON value
  override async getResult() {
    return () => 5;
  }
}
class ResultOfNothing extends QuerysetCache<Vote, ['user']> {
  static model = Vote;
  static keyFields = ['user'] as const;
  // @ts-expect-error undefined is no JSON value
  override async getResult() {
    await this.queryset().count();
  }
}
class ResultOfAnotherModel extends QuerysetCache<Vote, ['user']> {
  static model = Vote;
  static keyFields = ['user'] as const;
  // @ts-expect-error instances are no JSON values
  override async getResult() {
    return Event.findAll();
  }
}
class WrongValues extends QuerysetCache<Vote, ['user']> {
  static model = Vote;
  static keyFields = ['user'] as const;
  // @ts-expect-error the id is a number
  override async getResult({ user: id }: { user: string }) {
    return id;
  }
}
class CountOfItsOwn extends QuerysetCountCache<Vote, ['user']> {
  static model = Vote;
  static keyFields = ['user'] as const;
  // @ts-expect-error a count has no method of that name to override
  override async getResult() {
    return 5;
  }
}

// ---- Static members ----

const members = { model: Vote, keyFields: ['user'] as const };

class EventsInOrder extends QuerysetCache<Event> {
  static model = Event;
  static keyFields = ['code'] as const;
  static order = ['startsAt'] as const;
}
class UnknownOrder extends QuerysetCache<Vote> {
  static model = members.model;
  static keyFields = members.keyFields;
  static order = [['wieght', 'DESC']] as const;
}
class UnknownDirection extends QuerysetCache<Vote> {
  static model = members.model;
  static keyFields = members.keyFields;
  static order = [['weight', 'DOWN']] as const;
}
class OrderedByMethod extends QuerysetCache<Vote> {
  static model = members.model;
  static keyFields = members.keyFields;
  static order = ['save'] as const;
}
class OrderedByAssociation extends QuerysetCache<Vote> {
  static model = members.model;
  static keyFields = members.keyFields;
  static order = ['user'] as const;
}
class UnknownInvalidation extends QuerysetCache<Vote> {
  static model = members.model;
  static keyFields = members.keyFields;
  static invalidation = 'dynamic' as const;
}
class LimitAsText extends QuerysetCache<Vote> {
  static model = members.model;
  static keyFields = members.keyFields;
  static limit = '5';
}
class AllowtimeAsText extends QuerysetCache<Vote> {
  static model = members.model;
  static keyFields = members.keyFields;
  static allowtime = '30s';
}
class MisspeltAllowtime extends QuerysetCache<Vote> {
  static model = members.model;
  static keyFields = members.keyFields;
  static allowTime = 30;
}
class OrderElsewhere extends QuerysetCache<Vote> {
  static model = members.model;
  static keyFields = members.keyFields;
  static orderBy = 'weight';
}
class RelationAsList extends RelatedInstanceCache<Vote, Event> {
  static model = members.model;
  static keyFields = members.keyFields;
  static relation = ['event'];
}
class IncludeWithOptions extends InstanceCache<Vote> {
  static model = members.model;
  static keyFields = members.keyFields;
  static include = [{ association: 'user', where: { username: 'bill' } }];
}
class IncludeOfModel extends InstanceCache<Vote> {
  static model = members.model;
  static keyFields = members.keyFields;
  static include = [User];
}
class NoModel extends QuerysetCache<Vote> {
  static keyFields = members.keyFields;
}

export function statics(): void {
  for (const right of [HeaviestVotes, WeightOfUser, AllVotes, VoteWithUser, EventOfVote, PhotosOfAll]) registerCache(right);
  for (const right of [HeaviestVotes, EventsInOrder]) registerCache(right);
  // @ts-expect-error one of several is wrong
  for (const wrong of [UnknownOrder, EventsInOrder]) registerCache(wrong);

  // @ts-expect-error not an attribute
  registerCache(UnknownOrder);
  // @ts-expect-error not a direction
  registerCache(UnknownDirection);
  // @ts-expect-error not an attribute
  registerCache(OrderedByMethod);
  // @ts-expect-error not an attribute
  registerCache(OrderedByAssociation);
  // @ts-expect-error is written in capitals
  registerCache(UnknownInvalidation);
  // @ts-expect-error not a number
  registerCache(LimitAsText);
  // @ts-expect-error not a number
  registerCache(AllowtimeAsText);
  // @ts-expect-error is called allowtime
  registerCache(MisspeltAllowtime);
  // @ts-expect-error is called order
  registerCache(OrderElsewhere);
  // @ts-expect-error steps are joined by dots
  registerCache(RelationAsList);
  // @ts-expect-error related rows are found by their keys alone
  registerCache(IncludeWithOptions);
  // @ts-expect-error associations are named
  registerCache(IncludeOfModel);
  // @ts-expect-error has no static model
  registerCache(NoModel);

  withCache(Vote, { caches: [HeaviestVotes, AllVotes, EventOfVote] });
  // @ts-expect-error not an attribute
  withCache(Vote, { caches: [UnknownOrder] });
  // @ts-expect-error one of several
  withCache(Vote, { caches: [HeaviestVotes, UnknownInvalidation] });
  // @ts-expect-error from a function
  withCache(Vote, { caches: () => [LimitAsText] });
  // @ts-expect-error of another model
  withCache(User, { caches: [HeaviestVotes] });
  // @ts-expect-error of another model
  withCache(User, { caches: [EventOfVote] });
}

// @ts-expect-error not an attribute
@registerCache
class Decorated extends QuerysetCache<Vote> {
  static model = Vote;
  static keyFields = ['user'] as const;
  static order = ['wieght'] as const;
}

// ---- bumpVersion ----

export async function versions(): Promise<void> {
  expectType<Promise<InvalidationResult>>()(bumpVersion(Vote));
  expectType<Promise<InvalidationResult>>()(bumpVersion(HeaviestVotes));
  expectType<Promise<InvalidationResult>>()(bumpVersion(EventOfVote));
  // @ts-expect-error an instance
  void bumpVersion(user);
  // @ts-expect-error a query, not its class
  void bumpVersion(new HeaviestVotes(user));
  // @ts-expect-error the name, not the class
  void bumpVersion('Vote');
  // @ts-expect-error neither a model nor a cache class
  void bumpVersion(Map);
}

// ---- Batches ----

export async function batches(flag: boolean): Promise<void> {
  const batch = new BatchCacheQuery({
    user: User.cache.getQuery({ id: 7 }),
    votes: Vote.cache.filterQuery({ user }),
    heaviest: new HeaviestVotes(user),
    event: new EventOfVote(7),
    weight: new WeightOfUser(7),
  });
  type Results = {
    readonly user: User;
    readonly votes: Vote[];
    readonly heaviest: Vote[];
    readonly event: Event | null;
    readonly weight: { weight: number; ids: CreationOptional<number>[] };
  };
  expectType<Results>()(await batch.get());
  expectType<Results>()(await batch.get({}));
  expectType<Results>()(await batch.get({ transaction: null }));
  expectType<Results>()(await batch.get({ onlyCache: false }));
  const { user: found, event: related } = await batch.get({ onlyCache: true });
  expectType<User | undefined>()(found);
  expectType<Event | null | undefined>()(related);
  expectType<User | undefined>()((await batch.get({ onlyCache: flag })).user);
  expectType<User | null>()((await batch.get({ noneOnException: true })).user);
  expectType<User | Error>()((await batch.get({ returnExceptions: true })).user);
  expectType<User | undefined | Error>()((await batch.get({ onlyCache: true, returnExceptions: true })).user);

  const pushed = new BatchCacheQuery()
    .push('count', new AllVotes())
    .push('voted', new HasVoted(user, 'up'))
    .push('post', Post.cache.getQuery({ id: 5 }));
  expectType<number>()((await pushed.get()).count);
  expectType<boolean>()((await pushed.get()).voted);
  expectType<Post | null>()((await pushed.get({ noneOnException: true })).post);
  expectType<User>()((await batch.push('more', new AllVotes()).get()).user);
  expectType<number>()((await batch.push('more', new AllVotes()).get()).more);
  const own = new BatchCacheQuery({ own: { resolve: () => Promise.resolve('x') } });
  expectType<string>()((await own.get()).own);
  const name = String(flag);
  expectType<number | undefined>()((await new BatchCacheQuery().push(name, new AllVotes()).get())[name]);

  // @ts-expect-error no query of that name
  (await batch.get()).usr;
  // @ts-expect-error the name is taken
  batch.push('user', new AllVotes());
  // @ts-expect-error the name is taken by a query that was pushed
  pushed.push('count', new AllVotes());
  // @ts-expect-error runs already
  batch.push('other', new AllVotes().resolve());
  // @ts-expect-error not a query
  new BatchCacheQuery({ user: User.cache.get({ id: 7 }) });
  // @ts-expect-error not a query
  new BatchCacheQuery({ user });
  // @ts-expect-error the class, not a query
  new BatchCacheQuery({ votes: HeaviestVotes });
  // @ts-expect-error queries by name
  new BatchCacheQuery([new AllVotes()]);
  // @ts-expect-error misspelt option
  void batch.get({ onlycache: true });
  // @ts-expect-error misspelt beside a known one
  void batch.get({ onlyCache: true, noneOnExeption: true });
  // @ts-expect-error not a boolean
  void batch.get({ returnExceptions: 1 });
  // @ts-expect-error the result may be undefined
  (await batch.get({ onlyCache: true })).user.username;
  // @ts-expect-error the result may be an error
  (await batch.get({ returnExceptions: true })).user.username;
}

