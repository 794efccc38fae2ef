/**
 * A cache class of every family on the shop's models, each with the answer that plain Sequelize gives.
 *
 * What depends on key values before a write (existence, counts, own results) is only on models that
 * have a custom cache anyway: what a write costs the others shows that lists and relations cost none.
 * For the same reason a list of theirs is ordered by its primary key, or has no key fields: what
 * it is ordered by, where a write sets that alone, tells it only together with its key values.
 */
import type { Includeable, Model, ModelStatic, Order, WhereOptions } from 'sequelize';
import {
  InstanceCache,
  QuerysetCache,
  QuerysetCountCache,
  QuerysetExistsCache,
  RelatedInstanceCache,
  RelatedQuerysetCache,
  type CacheClass,
  type JsonValue,
} from '../../../src/index.js';
import type { ShopName } from './shop-names.js';

/** How a lookup comes from a row to the rows of another table. */
export interface Via {
  readonly model: ShopName;
  /** The attribute of the row that it comes from. */
  readonly from: string;
  /** The attribute that has the same value. */
  readonly to: string;
  readonly then?: readonly Via[];
}

/** A cache class and what it has to answer. */
export interface FamilyMember {
  readonly model: ShopName;
  readonly cacheClass: CacheClass;
  readonly kind: 'list' | 'result' | 'chain';
  /** Its rows come in an order that it declares. */
  readonly ordered?: true;
  /** The rows that it reads beside those with the key values. */
  readonly via?: readonly Via[];
  /** The database's own answer for the rows that match. */
  actual(where: WhereOptions): Promise<unknown>;
}

type Models = Readonly<Record<ShopName, ModelStatic<Model>>>;

/** All of them, on the models of one Sequelize instance. */
export function familyOn(models: Models): readonly FamilyMember[] {
  return [...listsOn(models), ...resultsOn(models), ...relatedOn(models), ...includingOn(models)];
}

// ---- Lists -------------------------------------------------------------------------------------

interface ListClass extends CacheClass {
  readonly order?: Order & CacheClass['order'];
  readonly limit?: number;
}

function listsOn(models: Models): FamilyMember[] {
  const { User, Post, Article, Group, Membership, Vote, Country, Item, Score } = models;
  class LatestPostsOfAuthor extends QuerysetCache<Model> {
    static model = Post;
    static keyFields = ['author'];
    static order = [['id', 'DESC']] as const;
    static limit = 2;
  }
  class ArticlesOfSection extends QuerysetCache<Model> {
    static model = Article;
    static keyFields = ['section'];
    static order = [['kind', 'DESC'], 'slug'] as const;
    static limit = 2;
  }
  class ArticlesOfKind extends QuerysetCache<Model> {
    static model = Article;
    static keyFields = ['section', 'kind'];
  }
  class VotesOnTarget extends QuerysetCache<Model> {
    static model = Vote;
    static keyFields = ['target'];
    static order = [['id', 'DESC']] as const;
    static limit = 2;
  }
  class VotesOfUserOnTarget extends QuerysetCache<Model> {
    static model = Vote;
    static keyFields = ['user', 'target'];
  }
  class MembersWithRole extends QuerysetCache<Model> {
    static model = Membership;
    static keyFields = ['group', 'role'];
  }
  class ShopUsersOfCity extends QuerysetCache<Model> {
    static model = User;
    static keyFields = ['city'];
  }
  class FirstUsersOfCity extends QuerysetCache<Model> {
    static model = User;
    static keyFields = ['city'];
    static order = ['id'] as const;
    static limit = 1;
  }
  class AllGroups extends QuerysetCache<Model> {
    static model = Group;
    static keyFields = [];
    static order = [['label', 'DESC']] as const;
  }
  class CountriesOfSize extends QuerysetCache<Model> {
    static model = Country;
    static keyFields = ['population'];
  }
  class LatestItemsOfColor extends QuerysetCache<Model> {
    static model = Item;
    static keyFields = ['color'];
    static order = [['id', 'DESC']] as const;
    static limit = 2;
  }
  class FullestItems extends QuerysetCache<Model> {
    static model = Item;
    static keyFields = [];
    static order = [['stock', 'DESC'], 'id'] as const;
    static limit = 3;
  }
  class BestScores extends QuerysetCache<Model> {
    static model = Score;
    static keyFields = ['player'];
    static order = [['points', 'DESC'], 'id'] as const;
    static limit = 1;
  }
  const list = (model: ShopName, cacheClass: CacheClass): FamilyMember => {
    const { order, limit } = cacheClass as ListClass;
    return {
      model,
      cacheClass,
      kind: 'list',
      ...(order === undefined ? {} : { ordered: true }),
      actual: (where) =>
        models[model].findAll({
          where,
          transaction: null,
          // Sequelize changes the one that it is given.
          ...(order === undefined ? {} : { order: structuredClone(order) as Order }),
          ...(limit === undefined ? {} : { limit }),
        }),
    };
  };
  return [
    list('Post', LatestPostsOfAuthor),
    list('Article', ArticlesOfSection),
    list('Article', ArticlesOfKind),
    list('Vote', VotesOnTarget),
    list('Vote', VotesOfUserOnTarget),
    list('Membership', MembersWithRole),
    list('User', ShopUsersOfCity),
    list('User', FirstUsersOfCity),
    list('Group', AllGroups),
    list('Country', CountriesOfSize),
    list('Item', LatestItemsOfColor),
    list('Item', FullestItems),
    list('Score', BestScores),
  ];
}

// ---- Results -----------------------------------------------------------------------------------

function resultsOn(models: Models): FamilyMember[] {
  const { Post, Article, Avatar, Score } = models;
  class HasPosts extends QuerysetExistsCache<Model> {
    static model = Post;
    static keyFields = ['author'];
  }
  class PublishedPosts extends QuerysetCountCache<Model> {
    static model = Post;
    static keyFields = ['author', 'published'];
  }
  class HasArticles extends QuerysetExistsCache<Model> {
    static model = Article;
    static keyFields = ['section', 'kind'];
  }
  class ArticleCount extends QuerysetCountCache<Model> {
    static model = Article;
    static keyFields = ['section'];
  }
  class HasAvatar extends QuerysetExistsCache<Model> {
    static model = Avatar;
    static keyFields = ['user', 'isPrimary'];
  }
  class AvatarCount extends QuerysetCountCache<Model> {
    static model = Avatar;
    static keyFields = ['user'];
  }
  class ScoreCount extends QuerysetCountCache<Model> {
    static model = Score;
    static keyFields = [];
  }
  class HasScores extends QuerysetExistsCache<Model> {
    static model = Score;
    static keyFields = [];
  }
  class PointsOfPlayer extends QuerysetCache<Model> {
    static model = Score;
    static keyFields = ['player'];
    override async getResult({ player }: Readonly<Record<string, unknown>>): Promise<JsonValue> {
      return pointsOf(await this.queryset().findAll({ where: { player } as WhereOptions, order: ['id'] }));
    }
  }
  const exists = (model: ShopName, cacheClass: CacheClass): FamilyMember => ({
    model,
    cacheClass,
    kind: 'result',
    actual: async (where) => (await models[model].count({ where, transaction: null })) > 0,
  });
  const count = (model: ShopName, cacheClass: CacheClass): FamilyMember => ({
    model,
    cacheClass,
    kind: 'result',
    actual: async (where) => (await models[model].findAll({ where, transaction: null })).length,
  });
  return [
    exists('Post', HasPosts),
    count('Post', PublishedPosts),
    exists('Article', HasArticles),
    count('Article', ArticleCount),
    exists('Avatar', HasAvatar),
    count('Avatar', AvatarCount),
    exists('Score', HasScores),
    count('Score', ScoreCount),
    {
      model: 'Score',
      cacheClass: PointsOfPlayer,
      kind: 'result',
      actual: async (where) => pointsOf(await Score.findAll({ where, order: ['id'], transaction: null })),
    },
  ];
}

const pointsOf = (scores: readonly Model[]): JsonValue => ({
  sum: scores.reduce((sum, score) => sum + Number(score.get('points')), 0),
  ids: scores.map((score) => score.get('id') as number),
});

// ---- Relations ---------------------------------------------------------------------------------

const toAuthor: Via = { model: 'User', from: 'authorId', to: 'id' };
const toUser: Via = { model: 'User', from: 'userId', to: 'id' };
const toGroup: Via = { model: 'Group', from: 'groupId', to: 'id' };
const toProfile: Via = { model: 'Profile', from: 'id', to: 'userId' };
const toAvatars: Via = { model: 'Avatar', from: 'id', to: 'userId' };
const toPosts: Via = { model: 'Post', from: 'id', to: 'authorId' };
const toGroups: Via = { model: 'Membership', from: 'id', to: 'userId', then: [toGroup] };
const toUsers: Via = { model: 'Membership', from: 'id', to: 'groupId', then: [toUser] };
const toThings: Via = { model: 'Thing', from: 'id', to: 'boxId' };
const toBoxesAndThings: Via = { model: 'Box', from: 'id', to: 'shelfId', then: [toThings] };

function relatedOn(models: Models): FamilyMember[] {
  const { User, Post, Group, Membership, Page, Shelf, Thing, Town } = models;
  class ShopAuthorOfPost extends RelatedInstanceCache<Model, Model> {
    static model = Post;
    static keyFields = ['code'];
    static relation = 'author';
  }
  class ProfileOfAuthor extends RelatedInstanceCache<Model, Model> {
    static model = Post;
    static keyFields = ['code'];
    static relation = 'author.profile';
  }
  class ShelfOfThing extends RelatedInstanceCache<Model, Model> {
    static model = Thing;
    static keyFields = ['tag'];
    static relation = 'box.shelf';
  }
  class CountryOfTown extends RelatedInstanceCache<Model, Model> {
    static model = Town;
    static keyFields = ['name'];
    static relation = 'country';
  }
  class AvatarsOfUser extends RelatedQuerysetCache<Model, Model> {
    static model = User;
    static keyFields = ['username'];
    static relation = 'avatars';
  }
  class PostsOfCity extends RelatedQuerysetCache<Model, Model> {
    static model = User;
    static keyFields = ['city'];
    static relation = 'posts';
  }
  class RepliesOfPage extends RelatedQuerysetCache<Model, Model> {
    static model = Page;
    static keyFields = ['path'];
    static relation = 'replies';
  }
  class ThingsOfShelf extends RelatedQuerysetCache<Model, Model> {
    static model = Shelf;
    static keyFields = ['name'];
    static relation = 'boxes.things';
  }
  class ProfilesOfCity extends RelatedQuerysetCache<Model, Model> {
    static model = User;
    static keyFields = ['city'];
    static relation = 'profile';
  }
  class AuthorsOfPublished extends RelatedQuerysetCache<Model, Model> {
    static model = Post;
    static keyFields = ['published'];
    static relation = 'author';
  }
  class ShopGroupsOfUser extends RelatedQuerysetCache<Model, Model> {
    static model = User;
    static keyFields = ['username'];
    static relation = 'groups';
  }
  class ShopUsersOfGroup extends RelatedQuerysetCache<Model, Model> {
    static model = Group;
    static keyFields = ['label'];
    static relation = 'users';
  }
  class GroupsOfMember extends RelatedQuerysetCache<Model, Model> {
    static model = Membership;
    static keyFields = ['user'];
    static relation = 'group';
  }
  class MembersOfGroup extends RelatedQuerysetCache<Model, Model> {
    static model = Membership;
    static keyFields = ['group'];
    static relation = 'user';
  }
  const related = (model: ShopName, cacheClass: CacheClass, via: Via): FamilyMember => {
    const names = (cacheClass.relation ?? '').split('.');
    const isOne = cacheClass.prototype instanceof RelatedInstanceCache;
    return {
      model,
      cacheClass,
      kind: 'chain',
      via: [via],
      actual: async (where) => {
        const query = { where, include: [nestedInclude(names)], transaction: null };
        const root = isOne ? [await models[model].findOne(query)].filter((row) => row !== null) : await models[model].findAll(query);
        const found = reached(root, names);
        return isOne ? (found[0] ?? null) : found;
      },
    };
  };
  return [
    related('Post', ShopAuthorOfPost, toAuthor),
    related('Post', ProfileOfAuthor, { ...toAuthor, then: [toProfile] }),
    related('Thing', ShelfOfThing, { model: 'Box', from: 'boxId', to: 'id', then: [{ model: 'Shelf', from: 'shelfId', to: 'id' }] }),
    related('Town', CountryOfTown, { model: 'Country', from: 'countryCode', to: 'code' }),
    related('User', AvatarsOfUser, toAvatars),
    related('User', PostsOfCity, toPosts),
    related('Page', RepliesOfPage, { model: 'Reply', from: 'id', to: 'pageId' }),
    related('Shelf', ThingsOfShelf, toBoxesAndThings),
    related('User', ProfilesOfCity, toProfile),
    related('Post', AuthorsOfPublished, toAuthor),
    related('User', ShopGroupsOfUser, toGroups),
    related('Group', ShopUsersOfGroup, toUsers),
    related('Membership', GroupsOfMember, toGroup),
    related('Membership', MembersOfGroup, toUser),
  ];
}

/** `['boxes', 'things']` as an include. */
function nestedInclude([association, ...more]: readonly string[]): Includeable {
  return { association: association ?? '', ...(more.length === 0 ? {} : { include: [nestedInclude(more)] }) };
}

/** What included associations lead to: each row once, and itself without anything that came with it. */
function reached(rows: readonly Model[], names: readonly string[]): Model[] {
  let at = rows;
  for (const name of names) {
    at = at.flatMap((row) => row.get(name) as Model | Model[] | null).filter((row) => row !== null);
  }
  const found = new Map<string, Model>();
  for (const row of at) {
    const { primaryKeyAttributes, rawAttributes } = row.constructor as unknown as { readonly primaryKeyAttributes: readonly string[]; readonly rawAttributes: object };
    const { dataValues } = row as unknown as { readonly dataValues: object };
    for (const name of Object.keys(dataValues)) if (!Object.hasOwn(rawAttributes, name)) Reflect.deleteProperty(dataValues, name);
    found.set(JSON.stringify(primaryKeyAttributes.map((name) => row.get(name))), row);
  }
  return [...found.values()];
}

// ---- Included ----------------------------------------------------------------------------------

function includingOn(models: Models): FamilyMember[] {
  const { User, Post, Group, Shelf } = models;
  class ShopPostWithAuthor extends InstanceCache<Model> {
    static model = Post;
    static keyFields = ['code'];
    static include = [{ association: 'author', include: ['profile'] }];
  }
  class ShelfWithBoxes extends InstanceCache<Model> {
    static model = Shelf;
    static keyFields = ['name'];
    static include = [{ association: 'boxes', include: ['things'] }];
  }
  class UserWithGroups extends InstanceCache<Model> {
    static model = User;
    static keyFields = ['username'];
    static include = ['groups', 'profile', 'posts'];
  }
  class ShopGroupWithUsers extends InstanceCache<Model> {
    static model = Group;
    static keyFields = ['label'];
    static include = [{ association: 'users', include: ['avatars'] }];
  }
  const including = (model: ShopName, cacheClass: CacheClass, via: readonly Via[], include: () => Includeable[]): FamilyMember => ({
    model,
    cacheClass,
    kind: 'chain',
    via,
    actual: (where) => models[model].findOne({ where, include: include(), transaction: null }),
  });
  return [
    including('Post', ShopPostWithAuthor, [{ ...toAuthor, then: [toProfile] }], () => [nestedInclude(['author', 'profile'])]),
    including('Shelf', ShelfWithBoxes, [toBoxesAndThings], () => [nestedInclude(['boxes', 'things'])]),
    including('User', UserWithGroups, [toGroups, toProfile, toPosts], () => ['groups', 'profile', 'posts']),
    including('Group', ShopGroupWithUsers, [{ ...toUsers, then: [{ ...toUser, then: [toAvatars] }] }], () => [nestedInclude(['users', 'avatars'])]),
  ];
}
