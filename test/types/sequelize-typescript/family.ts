/** The whole family beside sequelize-typescript models: with inferred attributes, and without attribute types. */
import type { CreationOptional, ForeignKey as ForeignKeyOf, InferAttributes, InferCreationAttributes, NonAttribute } from 'sequelize';
import { BelongsTo, BelongsToMany, Column, DataType, ForeignKey, HasMany, Model, Table } from 'sequelize-typescript';
import type { CacheMeta, CacheQuery, InvalidationResult, JsonValue, KeyValues, ModelCache, RowsInvalidationResult } from '../support.js';
import {
  BatchCacheQuery,
  bumpVersion,
  type Equal,
  type Expect,
  expectType,
  InstanceCache,
  ModelCacheManager,
  QuerysetCache,
  QuerysetCountCache,
  QuerysetExistsCache,
  registerCache,
  RelatedInstanceCache,
  RelatedQuerysetCache,
  withCache,
} from '../support.js';

class UserManager extends ModelCacheManager<User, 'username', never, 'city'> {
  static keys = ['username'];

  byMail(mail: string) {
    return this.getOrNone({ username: mail.split('@')[0] ?? '' });
  }

  neighbours(user: User) {
    // @ts-expect-error a key, not a filter
    void this.filter({ username: 'bill' });
    return this.filter({ city: user.city });
  }
}

/** Without attribute types, as most code has it. */
@Table
class User extends Model {
  static readonly cache = withCache(User, { keys: ['id'], filters: [[]], manager: UserManager });

  @Column
  declare username: string;

  @Column
  declare city: string;

  @HasMany(() => Post)
  declare posts: Post[];

  async twin() {
    return User.cache.byMail(`${this.username}@example.org`);
  }
}

@Table
class Post extends Model<InferAttributes<Post>, InferCreationAttributes<Post>> {
  static readonly cache = withCache(Post, {
    keys: ['id'],
    filters: ['author', ['author', 'kind'], []],
    cachedForeignKeys: ['author'],
    caches: () => [LatestPosts, PostsOfAuthor, TagsOfPost, PostWithAuthor],
  });

  @Column({ primaryKey: true, autoIncrement: true })
  declare id: CreationOptional<number>;

  @Column
  declare kind: string;

  @Column(DataType.JSON)
  declare settings: { theme: string };

  @ForeignKey(() => User)
  @Column
  declare authorId: ForeignKeyOf<number>;

  @BelongsTo(() => User)
  declare author?: NonAttribute<User>;

  @BelongsToMany(() => Tag, () => PostTag)
  declare tags?: NonAttribute<Tag[]>;
}

@Table
class Tag extends withCache(Model)<InferAttributes<Tag>, InferCreationAttributes<Tag>> {
  declare static readonly cache: ModelCache<Tag, 'id' | 'word', never, 'kind' | readonly [], never, TagManager>;
  static cacheMeta = { keys: ['id', 'word'], filters: ['kind', []] } satisfies CacheMeta<Tag>;

  @Column({ primaryKey: true, autoIncrement: true })
  declare id: CreationOptional<number>;

  @Column
  declare word: string;

  @Column
  declare kind: string;
}

class TagManager extends ModelCacheManager<Tag> {
  hello() {
    return 'hello';
  }
}

@Table
class PostTag extends Model {
  @ForeignKey(() => Post)
  @Column
  declare postId: number;

  @ForeignKey(() => Tag)
  @Column
  declare tagId: number;

  @BelongsTo(() => Post)
  declare post: Post;
}

@registerCache
class LatestPosts extends QuerysetCache<Post, ['author']> {
  static model = Post;
  static keyFields = ['author'] as const;
  static order = [['createdAt', 'DESC'], ['id', 'DESC']] as const;
  static limit = 20;
}
class KindsOfAuthor extends QuerysetCache<Post, ['author']> {
  static model = Post;
  static keyFields = ['author'] as const;
  override async getResult({ author }: KeyValues<Post, ['author']>): Promise<string[]> {
    const posts = await this.queryset().findAll({ where: { authorId: author } });
    return posts.map(({ kind }) => kind);
  }
}
class UsersInOrder extends QuerysetCache<User> {
  static model = User;
  static keyFields = ['city'] as const;
  static order = ['username', ['createdAt', 'DESC']] as const;
}
@registerCache
class PostsOfAuthor extends QuerysetCountCache<Post, ['author']> {
  static model = Post;
  static keyFields = ['author'] as const;
}
class HasPosted extends QuerysetExistsCache<Post, ['author']> {
  static model = Post;
  static keyFields = ['author'] as const;
}
class AllPosts extends QuerysetCountCache<Post> {
  static model = Post;
  static keyFields = [];
}
class TagsOfPost extends RelatedQuerysetCache<Post, Tag, ['id']> {
  static model = Post;
  static keyFields = ['id'] as const;
  static relation = 'tags';
}
class AuthorOfPost extends RelatedInstanceCache<Post, User, ['id']> {
  static model = Post;
  static keyFields = ['id'] as const;
  static relation = 'author';
}
class PostWithAuthor extends InstanceCache<Post, ['id']> {
  static model = Post;
  static keyFields = ['id'] as const;
  static include = ['author', 'tags'];
}

export type Inferred = [
  Expect<Equal<typeof Post.cache, ModelCache<Post, 'id', never, 'author' | readonly ['author', 'kind'] | readonly [], 'author'>>>,
  Expect<Equal<Awaited<ReturnType<User['twin']>>, User | null>>,
];

export async function lists(user: User, posts: Post[]): Promise<void> {
  expectType<Post[]>()(await Post.cache.filter({ author: user }));
  expectType<Post[]>()(await Post.cache.filter({ authorId: 7, kind: 'draft' }));
  expectType<Post[]>()(await Post.cache.filter({}));
  expectType<Post[] | undefined>()(await Post.cache.filter({}, { cacheOnly: true }));
  expectType<CacheQuery<Post[]>>()(Post.cache.filterQuery({ author: 7 }));
  expectType<readonly Post[]>()(await Post.cache.prefetch(posts, ['author']));
  expectType<Tag[]>()(await Tag.cache.filter({ kind: 'x' }));
  expectType<RowsInvalidationResult>()(await Post.cache.invalidateWhere({ kind: 'draft' }));

  // @ts-expect-error misspelt name
  void Post.cache.filter({ autor: user });
  // @ts-expect-error wrong type of value
  void Post.cache.filter({ authorId: '7' });
  // @ts-expect-error a key, not a filter
  void Post.cache.filter({ id: 7 });
  // @ts-expect-error undefined is no value
  void Post.cache.filter({ author: undefined });
  // @ts-expect-error not among cachedForeignKeys
  void Post.cache.prefetch(posts, ['tags']);
  // @ts-expect-error instances of another model
  void Post.cache.prefetch([user], ['author']);
  // @ts-expect-error nothing can be prefetched
  void User.cache.prefetch([user], ['posts']);
  // @ts-expect-error misspelt key field
  withCache(Post, { filters: ['autor'] });
  // @ts-expect-error cannot be a key
  withCache(Post, { filters: ['settings'] });
  // @ts-expect-error leads to many
  withCache(Post, { cachedForeignKeys: ['tags'] });
  // @ts-expect-error a list of instances
  withCache(User, { filters: ['posts'] });
}

export async function managers(user: User): Promise<void> {
  expectType<User | null>()(await User.cache.byMail('bill@example.org'));
  expectType<User[]>()(await User.cache.neighbours(user));
  expectType<User>()(await User.cache.get({ id: 1 }));
  expectType<User>()(await User.cache.get({ username: 'bill' }));
  expectType<User[]>()(await User.cache.filter({ city: 'Oslo' }));
  expectType<User[]>()(await User.cache.filter({}));
  expectType<string>()(Tag.cache.hello());
  expectType<Tag>()(await Tag.cache.get({ word: 'x' }));

  // @ts-expect-error misspelt method
  void User.cache.byMial('bill@example.org');
  // @ts-expect-error misspelt method
  Tag.cache.helo();
  // @ts-expect-error declared by neither
  void User.cache.get({ city: 'Oslo' });
  // @ts-expect-error a manager of another model
  withCache(Post, { manager: UserManager });
}

export async function results(user: User): Promise<void> {
  expectType<Post[]>()(await new LatestPosts(user).resolve());
  expectType<string[]>()(await new KindsOfAuthor(7).resolve());
  expectType<User[]>()(await new UsersInOrder('Oslo').resolve());
  expectType<number>()(await new PostsOfAuthor({ authorId: 7 }).resolve());
  expectType<boolean>()(await new HasPosted(user).resolve());
  expectType<number>()(await new AllPosts().resolve());
  expectType<Tag[]>()(await new TagsOfPost(7).resolve());
  expectType<User | null>()(await new AuthorOfPost(7).resolve());
  expectType<Post>()(await new PostWithAuthor(7).resolve());
  expectType<Promise<InvalidationResult>>()(bumpVersion(User));
  expectType<Promise<InvalidationResult>>()(bumpVersion(AllPosts));
  const batch = new BatchCacheQuery({ user: User.cache.getQuery({ id: 7 }), posts: Post.cache.filterQuery({ author: user }) }).push('tags', new TagsOfPost(7));
  expectType<{ readonly user: User; readonly posts: Post[]; readonly tags: Tag[] }>()(await batch.get().then(({ user: found, posts, tags }) => ({ user: found, posts, tags }) as const));
  expectType<Post[] | null>()((await batch.get({ noneOnException: true })).posts);

  // @ts-expect-error wrong type of value
  new LatestPosts('7');
  // @ts-expect-error nothing at all
  new LatestPosts();
  // @ts-expect-error the author may not exist
  (await new AuthorOfPost(7).resolve()).username;
  // @ts-expect-error the name is taken
  batch.push('tags', new AllPosts());
  // @ts-expect-error no query of that name
  (await batch.get()).tag;
}

// ---- Static members ----

// @ts-expect-error not an attribute
@registerCache
class UnknownOrder extends QuerysetCache<Post> {
  static model = Post;
  static keyFields = ['author'] as const;
  static order = ['knd'] as const;
}

// @ts-expect-error not an attribute, of a model without attribute types
@registerCache
class UnknownUntypedOrder extends QuerysetCache<User> {
  static model = User;
  static keyFields = ['city'] as const;
  static order = [['usernam', 'ASC']] as const;
}

// @ts-expect-error is written in capitals
@registerCache
class UnknownInvalidation extends QuerysetCache<Post> {
  static model = Post;
  static keyFields = ['author'] as const;
  static invalidation = 'reset' as const;
}

// @ts-expect-error not a number
@registerCache
class LimitAsText extends QuerysetCache<Post> {
  static model = Post;
  static keyFields = ['author'] as const;
  static limit = '5';
}

// @ts-expect-error is called timeout
@registerCache
class Ttl extends QuerysetCache<Post> {
  static model = Post;
  static keyFields = ['author'] as const;
  static ttl = 5;
}

class NotJson extends QuerysetCache<Post, ['author']> {
  static model = Post;
  static keyFields = ['author'] as const;
  // @ts-expect-error a Map is no JSON value
  override async getResult() {
    return new Map<string, JsonValue>();
  }
}
