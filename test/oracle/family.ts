/**
 * The rest of the family: lists, results, what relations lead to, and what comes with an instance. Each
 * member says how it is asked through the cache and which plain queries have to give the same.
 */
import assert from 'node:assert/strict';
import { EmptyResultError, Model, type ModelStatic, type Order, type Transaction, type WhereOptions } from 'sequelize';
import {
  InstanceCache,
  NotInCacheError,
  QuerysetCache,
  QuerysetCountCache,
  QuerysetExistsCache,
  RelatedInstanceCache,
  RelatedQuerysetCache,
  type CacheClass,
  type JsonValue,
  type ReadOptions,
  type Runnable,
} from '../../src/index.js';
import type { AnyCache, ModelName } from './names.js';

/** The key fields that a model is listed by. Without any: the whole table. */
export const filters: Readonly<Record<ModelName, readonly (readonly string[])[]>> = {
  User: [['city'], ['level'], ['city', 'level'], ['country'], []],
  Post: [['author'], ['author', 'published'], ['published'], ['score'], ['at']],
  Article: [['section'], ['section', 'kind'], ['state'], ['secret'], ['serial']],
  Avatar: [['user'], ['user', 'isPrimary']],
  Group: [[]],
  Membership: [['user'], ['group', 'role']],
  Vote: [['target'], ['user', 'target'], ['value']],
  Country: [[], ['population'], ['name']],
};

/** The associations whose getter reads the cache. */
export const cachedForeignKeys: Readonly<Partial<Record<ModelName, readonly string[]>>> = {
  User: ['country'],
  Post: ['author'],
  Avatar: ['user'],
  Membership: ['user', 'group'],
};

type Shape = readonly [model: ModelName, key: readonly string[]];

/** The members that have a class of their own, by its name. */
const classShapes = {
  NewestPostsOfAuthor: ['Post', ['author']],
  LatestPosts: ['Post', ['published']],
  TopVotesOfTarget: ['Vote', ['target']],
  UsersOfLevel: ['User', ['level']],
  PopulousCountries: ['Country', []],
  IsMember: ['Membership', ['user', 'group']],
  HasVoted: ['Vote', ['user', 'target']],
  HasArticle: ['Article', ['state']],
  HasPost: ['Post', ['author']],
  HasLevel: ['User', ['level']],
  HasCountry: ['Country', []],
  PostsOfAuthor: ['Post', ['author']],
  VotesOfTarget: ['Vote', ['target']],
  ArticlesWithSecret: ['Article', ['secret']],
  UsersOfCity: ['User', ['city']],
  AllCountries: ['Country', []],
  AllArticles: ['Article', []],
  SumOfTarget: ['Vote', ['target']],
  NamesOfCity: ['User', ['city']],
  IdsOfSection: ['Article', ['section']],
  AvatarsAnew: ['Avatar', ['user']],
  VotesAnew: ['Vote', ['value']],
  GroupAnew: ['Group', ['label']],
  AuthorOfPost: ['Post', ['id']],
  CountryOfAuthor: ['Post', ['id']],
  CountryOfAvatar: ['Avatar', ['url']],
  PostsOfUser: ['User', ['username']],
  AvatarsOfCity: ['User', ['city']],
  GroupsOfUser: ['User', ['id']],
  UsersOfGroup: ['Group', ['label']],
  PostsOfGroup: ['Group', ['id']],
  UsersOfCountry: ['Country', ['code']],
  LeaderOfCountry: ['Country', ['code']],
  PostsOfLeader: ['Country', ['name']],
  PostWithAuthor: ['Post', ['id']],
  UserWithAll: ['User', ['username']],
  GroupWithUsers: ['Group', ['label']],
  MembershipWithBoth: ['Membership', ['user', 'group']],
} as const satisfies Readonly<Record<string, Shape>>;

export type ClassName = keyof typeof classShapes;

/** Members that are asked through an instance, or for many. */
const methodShapes = {
  'post.getAuthor': ['Post', ['id']],
  'user.getCountry': ['User', ['id']],
  'vote.getTarget': ['Vote', ['id']],
  'prefetch author': ['Post', ['published']],
  'prefetch country': ['User', []],
  'prefetch user and group': ['Membership', []],
} as const satisfies Readonly<Record<string, Shape>>;

type MethodName = keyof typeof methodShapes;

/** All members: by class name, by `Model[fields]` for lists, and what `methodShapes` names. */
export const memberShapes: Readonly<Record<string, Shape>> = {
  ...classShapes,
  ...methodShapes,
  ...Object.fromEntries(
    Object.entries(filters).flatMap(([model, lists]) =>
      lists.map((key): [string, Shape] => [`${model}[${key.join(',')}]`, [model as ModelName, key]]),
    ),
  ),
};

export const classNames = Object.keys(classShapes) as readonly ClassName[];

interface Within {
  readonly transaction?: Transaction;
}

/** One member on one Sequelize instance. */
export interface Member {
  /** The cached answer; `undefined` where it is not in the cache and only that was asked. */
  read(params: Readonly<Record<string, unknown>>, where: WhereOptions, options: ReadOptions): Promise<unknown>;
  /** The same as a query of its own, for batches. */
  query?(params: Readonly<Record<string, unknown>>): Runnable;
  /** Whether plain queries give the same answer; else what they give. */
  check(answer: unknown, where: WhereOptions, within: Within): Promise<{ readonly expected?: unknown } | 'same'>;
}

export interface Family {
  readonly members: Readonly<Record<string, Member>>;
  readonly classes: Readonly<Record<ClassName, CacheClass>>;
}

type Models = Readonly<Record<ModelName, ModelStatic<Model>>>;

/** The classes of the family, on these models. */
export function familyClasses({ User, Post, Article, Avatar, Group, Membership, Vote, Country }: Models): Readonly<Record<ClassName, CacheClass>> {
  type Given = Readonly<Record<string, unknown>>;
  class NewestPostsOfAuthor extends QuerysetCache<Model> {
    static model = Post;
    static keyFields = ['author'];
    static order = [['id', 'DESC']] as const;
    static limit = 2;
  }
  class LatestPosts extends QuerysetCache<Model> {
    static model = Post;
    static keyFields = ['published'];
    static order = [['at', 'DESC'], 'id'] as const;
    static limit = 3;
  }
  class TopVotesOfTarget extends QuerysetCache<Model> {
    static model = Vote;
    static keyFields = ['target'];
    static order = [['value', 'DESC']] as const;
    static limit = 2;
  }
  class UsersOfLevel extends QuerysetCache<Model> {
    static model = User;
    static keyFields = ['level'];
    static order = [['visits', 'ASC']] as const;
  }
  class PopulousCountries extends QuerysetCache<Model> {
    static model = Country;
    static keyFields = [];
    static order = [['population', 'DESC'], 'code'] as const;
    static limit = 3;
  }
  class IsMember extends QuerysetExistsCache<Model> {
    static model = Membership;
    static keyFields = ['user', 'group'];
  }
  class HasVoted extends QuerysetExistsCache<Model> {
    static model = Vote;
    static keyFields = ['user', 'target'];
  }
  class HasArticle extends QuerysetExistsCache<Model> {
    static model = Article;
    static keyFields = ['state'];
  }
  class HasPost extends QuerysetExistsCache<Model> {
    static model = Post;
    static keyFields = ['author'];
  }
  class HasLevel extends QuerysetExistsCache<Model> {
    static model = User;
    static keyFields = ['level'];
  }
  class HasCountry extends QuerysetExistsCache<Model> {
    static model = Country;
    static keyFields = [];
  }
  class PostsOfAuthor extends QuerysetCountCache<Model> {
    static model = Post;
    static keyFields = ['author'];
  }
  class VotesOfTarget extends QuerysetCountCache<Model> {
    static model = Vote;
    static keyFields = ['target'];
  }
  class ArticlesWithSecret extends QuerysetCountCache<Model> {
    static model = Article;
    static keyFields = ['secret'];
  }
  class UsersOfCity extends QuerysetCountCache<Model> {
    static model = User;
    static keyFields = ['city'];
  }
  class AllCountries extends QuerysetCountCache<Model> {
    static model = Country;
    static keyFields = [];
  }
  class AllArticles extends QuerysetCountCache<Model> {
    static model = Article;
    static keyFields = [];
  }
  class SumOfTarget extends QuerysetCache<Model> {
    static model = Vote;
    static keyFields = ['target'];
    override async getResult({ target }: Given): Promise<JsonValue> {
      const [targetType, targetId] = (target ?? [null, null]) as readonly unknown[];
      return sumOf(await this.queryset().findAll({ where: { targetType, targetId } as WhereOptions }));
    }
  }
  class NamesOfCity extends QuerysetCache<Model> {
    static model = User;
    static keyFields = ['city'];
    override async getResult({ city }: Given): Promise<JsonValue> {
      return namesOf(await this.queryset().findAll({ where: { city } as WhereOptions, order: ['id'] }));
    }
  }
  class IdsOfSection extends QuerysetCache<Model> {
    static model = Article;
    static keyFields = ['section'];
    override async getResult({ section }: Given): Promise<JsonValue> {
      return idsOf(await this.queryset().findAll({ where: { section } as WhereOptions }));
    }
  }
  // Computed anew right after a write: no less fresh for that.
  class AvatarsAnew extends QuerysetCache<Model> {
    static model = Avatar;
    static keyFields = ['user'];
    static order = [['url', 'DESC'], 'id'] as const;
    static invalidation = 'RESET' as const;
  }
  class VotesAnew extends QuerysetCountCache<Model> {
    static model = Vote;
    static keyFields = ['value'];
    static invalidation = 'RESET' as const;
  }
  class GroupAnew extends InstanceCache<Model> {
    static model = Group;
    static keyFields = ['label'];
    static invalidation = 'RESET' as const;
  }
  class AuthorOfPost extends RelatedInstanceCache<Model, Model> {
    static model = Post;
    static keyFields = ['id'];
    static relation = 'author';
  }
  class CountryOfAuthor extends RelatedInstanceCache<Model, Model> {
    static model = Post;
    static keyFields = ['id'];
    static relation = 'author.country';
  }
  class CountryOfAvatar extends RelatedInstanceCache<Model, Model> {
    static model = Avatar;
    static keyFields = ['url'];
    static relation = 'user.country';
  }
  class PostsOfUser extends RelatedQuerysetCache<Model, Model> {
    static model = User;
    static keyFields = ['username'];
    static relation = 'posts';
  }
  class AvatarsOfCity extends RelatedQuerysetCache<Model, Model> {
    static model = User;
    static keyFields = ['city'];
    static relation = 'avatars';
  }
  class GroupsOfUser extends RelatedQuerysetCache<Model, Model> {
    static model = User;
    static keyFields = ['id'];
    static relation = 'groups';
  }
  class UsersOfGroup extends RelatedQuerysetCache<Model, Model> {
    static model = Group;
    static keyFields = ['label'];
    static relation = 'users';
  }
  class PostsOfGroup extends RelatedQuerysetCache<Model, Model> {
    static model = Group;
    static keyFields = ['id'];
    static relation = 'users.posts';
  }
  class UsersOfCountry extends RelatedQuerysetCache<Model, Model> {
    static model = Country;
    static keyFields = ['code'];
    static relation = 'users';
  }
  class LeaderOfCountry extends RelatedInstanceCache<Model, Model> {
    static model = Country;
    static keyFields = ['code'];
    static relation = 'leader';
  }
  class PostsOfLeader extends RelatedQuerysetCache<Model, Model> {
    static model = Country;
    static keyFields = ['name'];
    static relation = 'leader.posts';
  }
  class PostWithAuthor extends InstanceCache<Model> {
    static model = Post;
    static keyFields = ['id'];
    static include = [{ association: 'author', include: ['country', 'avatars'] }];
  }
  class UserWithAll extends InstanceCache<Model> {
    static model = User;
    static keyFields = ['username'];
    static include = ['country', 'avatars', 'posts', { association: 'groups' }];
  }
  class GroupWithUsers extends InstanceCache<Model> {
    static model = Group;
    static keyFields = ['label'];
    static include = [{ association: 'users', include: ['country', 'posts'] }];
  }
  class MembershipWithBoth extends InstanceCache<Model> {
    static model = Membership;
    static keyFields = ['user', 'group'];
    static include = ['user', 'group'];
  }
  return {
    NewestPostsOfAuthor,
    LatestPosts,
    TopVotesOfTarget,
    UsersOfLevel,
    PopulousCountries,
    IsMember,
    HasVoted,
    HasArticle,
    HasPost,
    HasLevel,
    HasCountry,
    PostsOfAuthor,
    VotesOfTarget,
    ArticlesWithSecret,
    UsersOfCity,
    AllCountries,
    AllArticles,
    SumOfTarget,
    NamesOfCity,
    IdsOfSection,
    AvatarsAnew,
    VotesAnew,
    GroupAnew,
    AuthorOfPost,
    CountryOfAuthor,
    CountryOfAvatar,
    PostsOfUser,
    AvatarsOfCity,
    GroupsOfUser,
    UsersOfGroup,
    PostsOfGroup,
    UsersOfCountry,
    LeaderOfCountry,
    PostsOfLeader,
    PostWithAuthor,
    UserWithAll,
    GroupWithUsers,
    MembershipWithBoth,
  };
}

/** All members on these models. */
export function defineFamily(
  models: Models,
  caches: Readonly<Record<ModelName, AnyCache>>,
  classes: Readonly<Record<ClassName, CacheClass>>,
): Readonly<Record<string, Member>> {
  const members: Record<string, Member> = {};
  for (const [model, lists] of Object.entries(filters) as [ModelName, readonly (readonly string[])[]][]) {
    for (const key of lists) {
      members[`${model}[${key.join(',')}]`] = {
        read: (params, _where, options) => caches[model].filter(params, options),
        query: (params) => caches[model].filterQuery(params),
        check: async (answer, where, within) => {
          const expected = await models[model].findAll({ where, ...within });
          // What the default scope orders is ordered; the rest is a set.
          return verdict(hasOrder(models[model]) ? [answer, expected] : [byPrimaryKey(answer), byPrimaryKey(expected)]);
        },
      };
    }
  }
  for (const name of classNames) {
    const cacheClass = classes[name];
    members[name] = {
      read: (params, _where, options) => answerOf(new cacheClass(params).resolve(options)),
      query: (params) => new cacheClass(params),
      check: checkOf(cacheClass, models[classShapes[name][0]]),
    };
  }
  const getter = (model: ModelName, method: string, plain: (instance: Model, within: Within) => Promise<unknown>): Member => ({
    read: async (_params, where, options) => {
      const instance = (await models[model].findOne({ where, ...withinOf(options) })) as unknown as Getters | null;
      return instance === null ? null : instance[method]?.(options);
    },
    check: async (answer, where, within) => {
      const instance = await models[model].findOne({ where, ...within });
      return verdict([answer, instance === null ? null : await plain(instance, within)]);
    },
  });
  const prefetch = (model: ModelName, associations: readonly string[]): Member => ({
    read: async (_params, where, options) => {
      const instances = await models[model].findAll({ where, ...withinOf(options) });
      // It takes no answer that is not there.
      const { cacheOnly: _cacheOnly, ...others } = options;
      await caches[model].prefetch(instances, associations, others);
      return instances;
    },
    check: async (answer, where, within) =>
      verdict([plainly(answer), plainly(await models[model].findAll({ where, include: [...associations], ...within }))]),
  });
  const methods: Record<MethodName, Member> = {
    'post.getAuthor': getter('Post', 'getAuthor', (post, within) => related(post, 'author', within)),
    'user.getCountry': getter('User', 'getCountry', (user, within) => related(user, 'country', within)),
    'vote.getTarget': getter('Vote', 'getTarget', async (vote, within) => {
      const { targetType, targetId } = vote.get() as { targetType: ModelName | null; targetId: number | null };
      return targetType === null || targetId === null ? null : models[targetType].findOne({ where: { id: targetId } as WhereOptions, ...within });
    }),
    'prefetch author': prefetch('Post', ['author']),
    'prefetch country': prefetch('User', ['country']),
    'prefetch user and group': prefetch('Membership', ['user', 'group']),
  };
  return { ...members, ...methods };
}

type Getters = Readonly<Record<string, (options: ReadOptions) => Promise<unknown>>>;

/** Of what `resolve` rejects with, "there is none" and "it is not in the cache" are answers. */
async function answerOf(resolving: Promise<unknown>): Promise<unknown> {
  try {
    return await resolving;
  } catch (error) {
    return answerOfError(error);
  }
}

/** The answer that an error stands for. Throws any other. */
export function answerOfError(error: unknown): null | undefined {
  if (error instanceof NotInCacheError) return undefined;
  if (error instanceof EmptyResultError) return null;
  throw error;
}

/** What a class has to answer, from what it declares. */
function checkOf(cacheClass: CacheClass, model: ModelStatic<Model>): Member['check'] {
  const { prototype } = cacheClass as unknown as { readonly prototype: unknown };
  const { relation, include, order, limit } = cacheClass;
  if (prototype instanceof QuerysetExistsCache) {
    return async (answer, where, within) => verdict([answer, (await model.count({ where, ...within })) > 0]);
  }
  if (prototype instanceof QuerysetCountCache) {
    return async (answer, where, within) => verdict([answer, await model.count({ where, ...within })]);
  }
  if (prototype instanceof RelatedInstanceCache) {
    return async (answer, where, within) => {
      const row = await model.findOne({ where, ...within });
      const [expected = null] = await reached(row === null ? [] : [row], String(relation), within);
      return verdict([answer, expected]);
    };
  }
  if (prototype instanceof RelatedQuerysetCache) {
    return async (answer, where, within) =>
      verdict([byPrimaryKey(answer), byPrimaryKey(await reached(await model.findAll({ where, ...within }), String(relation), within))]);
  }
  if (include !== undefined) {
    return async (answer, where, within) =>
      // Sequelize writes into an `include`.
      verdict([plainly(answer), plainly(await model.findOne({ where, include: structuredClone(include) as never, ...within }))]);
  }
  if (prototype instanceof InstanceCache) {
    return async (answer, where, within) => verdict([answer, await model.findOne({ where, ...within })]);
  }
  const result = results[cacheClass.name];
  if (result !== undefined) {
    return async (answer, where, within) => verdict([answer, result(await model.findAll({ where, ...within }))]);
  }
  assert.ok(order !== undefined, `nothing says what ${cacheClass.name} has to answer`);
  const ordered = structuredClone(order) as Order & readonly unknown[];
  const names = ordered.map((item) => (Array.isArray(item) ? (item as [string])[0] : String(item)));
  return async (answer, where, within) => {
    const expected = await model.findAll({ where, order: structuredClone<Order>(ordered), ...(limit === undefined ? {} : { limit }), ...within });
    const got = answer as readonly Model[];
    if (hasOrder(model) || names.some((name) => model.primaryKeyAttributes.includes(name))) return verdict([got, expected]);
    // Among rows that are equal in the order, any may come first, or be the last within the limit.
    const all = await model.findAll({ where, ...within });
    const found = got.map((one) => all.find((other) => isSame(one, other)));
    const sequence = (rows: readonly Model[]): unknown[] => rows.map((row) => names.map((name) => row.get(name)));
    const right = found.every((one) => one !== undefined) && new Set(found).size === got.length && isSame(sequence(got), sequence(expected));
    return right ? 'same' : { expected };
  };
}

/** What the overridden `getResult`s make of the rows. */
const results: Readonly<Record<string, (rows: readonly Model[]) => JsonValue>> = {
  SumOfTarget: sumOf,
  NamesOfCity: namesOf,
  IdsOfSection: idsOf,
};

function sumOf(votes: readonly Model[]): JsonValue {
  return { sum: votes.reduce((sum, vote) => sum + Number(vote.get('value')), 0), ids: idsOf(votes) };
}

function namesOf(users: readonly Model[]): JsonValue {
  return [...users].sort(ascending).map((user) => [user.get('id'), user.get('username'), user.get('level')] as JsonValue);
}

function idsOf(rows: readonly Model[]): JsonValue {
  return [...rows].sort(ascending).map((row) => row.get('id') as number);
}

const ascending = (a: Model, b: Model): number => Number(a.get('id')) - Number(b.get('id'));

/** What the associations lead to from these rows, each once, as a plain find gives it. */
async function reached(rows: readonly Model[], relation: string, within: Within): Promise<Model[]> {
  let at = [...rows];
  for (const as of relation.split('.')) {
    const [first] = at;
    if (first === undefined) return [];
    const { target } = (first.constructor as ModelStatic<Model>).associations[as] as unknown as { readonly target: ModelStatic<Model> };
    const found: Model[] = [];
    for (const row of at) found.push(...[(await related(row, as, within)) ?? []].flat());
    const name = target.primaryKeyAttribute;
    // Those of a through model come with its row.
    at = await target.findAll({ where: { [name]: [...new Set(found.map((one) => one.get(name)))] } as WhereOptions, ...within });
  }
  return at;
}

/** What Sequelize's own getter of an association gives, whatever became of the method on the model. */
function related(row: Model, as: string, within: Within): Promise<Model | Model[] | null> {
  const association = (row.constructor as ModelStatic<Model>).associations[as] as unknown as {
    get(instance: Model, options: object): Promise<Model | Model[] | null>;
  };
  return association.get(row, { ...within });
}

const withinOf = ({ transaction }: ReadOptions): Within => (transaction == null ? {} : { transaction });

const hasOrder = (model: ModelStatic<Model>): boolean => (model.options.defaultScope as { readonly order?: unknown } | undefined)?.order !== undefined;

function byPrimaryKey(rows: unknown): unknown {
  const keyOf = (row: Model): string => JSON.stringify((row.constructor as ModelStatic<Model>).primaryKeyAttributes.map((name) => row.get(name)));
  return [...(rows as readonly Model[])].sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
}

/**
 * What can be seen of instances, and of those that came with them. The order in which related ones
 * come says nothing.
 */
function plainly(answer: unknown): unknown {
  if (Array.isArray(answer)) return (byPrimaryKey(answer) as readonly unknown[]).map(plainly);
  if (!(answer instanceof Model)) return answer;
  const { name } = answer.constructor as ModelStatic<Model>;
  const members = answer as unknown as Readonly<Record<string, unknown>>;
  const values = Object.entries(answer.get()).map(([attribute, value]: [string, unknown]) => {
    const isInstance = value instanceof Model || (Array.isArray(value) && value.every((one) => one instanceof Model));
    return [attribute, isInstance ? [plainly(value), members[attribute] === value] : value] as const;
  });
  return { name, isNewRecord: answer.isNewRecord, changed: answer.changed(), json: jsonOf(answer), values: Object.fromEntries(values) };
}

/** Its own values as `toJSON` gives them. */
function jsonOf(instance: Model): unknown {
  const { associations } = instance.constructor as ModelStatic<Model>;
  return Object.fromEntries(Object.entries(instance.toJSON()).filter(([name]) => !Object.hasOwn(associations, name)));
}

function verdict([answer, expected]: readonly [unknown, unknown]): { readonly expected: unknown } | 'same' {
  return isSame(answer, expected) ? 'same' : { expected };
}

/** Deeply equal. */
export function isSame(a: unknown, b: unknown): boolean {
  try {
    assert.deepStrictEqual(a, b);
    return true;
  } catch (error) {
    if (error instanceof assert.AssertionError) return false;
    throw error;
  }
}
