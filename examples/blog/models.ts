/** The models of the blog, and what is cached of each by its keys. */
import type { CreationOptional, InferAttributes, InferCreationAttributes, NonAttribute } from 'sequelize';
import {
  AllowNull,
  AutoIncrement,
  BelongsTo,
  BelongsToMany,
  Column,
  DataType,
  Default,
  ForeignKey,
  HasMany,
  HasOne,
  Is,
  Length,
  Model,
  PrimaryKey,
  Table,
  Unique,
} from 'sequelize-typescript';
import { ModelCacheManager, withCache } from 'sequelize-flash';

@Table
export class User extends Model<InferAttributes<User>, InferCreationAttributes<User>> {
  static readonly cache = withCache(User, { keys: ['id', 'username'] });

  @PrimaryKey
  @AutoIncrement
  @Column(DataType.INTEGER)
  declare id: CreationOptional<number>;

  @Is({ args: /^[a-z0-9-]{3,20}$/, msg: 'A username has 3 to 20 lower-case letters, digits and hyphens.' })
  @Unique
  @AllowNull(false)
  @Column(DataType.STRING(20))
  declare username: string;

  @Default(false)
  @AllowNull(false)
  @Column(DataType.BOOLEAN)
  declare admin: CreationOptional<boolean>;

  @HasOne(() => Profile)
  declare profile?: NonAttribute<Profile | null>;

  @HasMany(() => Post)
  declare posts?: NonAttribute<Post[]>;
}

/** A user may have one. */
@Table({ timestamps: false })
export class Profile extends Model<InferAttributes<Profile>, InferCreationAttributes<Profile>> {
  @PrimaryKey
  @AutoIncrement
  @Column(DataType.INTEGER)
  declare id: CreationOptional<number>;

  @Length({ max: 200 })
  @AllowNull(false)
  @Column(DataType.STRING(200))
  declare bio: string;

  @Unique
  @ForeignKey(() => User)
  @AllowNull(false)
  @Column(DataType.INTEGER)
  declare userId: number;
}

@Table
export class Post extends Model<InferAttributes<Post>, InferCreationAttributes<Post>> {
  static readonly cache = withCache(Post, { keys: ['id', 'slug'], cachedForeignKeys: ['author'] });

  @PrimaryKey
  @AutoIncrement
  @Column(DataType.INTEGER)
  declare id: CreationOptional<number>;

  @Is({ args: /^[a-z0-9-]{1,60}$/, msg: 'A slug has 1 to 60 lower-case letters, digits and hyphens.' })
  @Unique
  @AllowNull(false)
  @Column(DataType.STRING(60))
  declare slug: string;

  @Length({ min: 1, max: 100 })
  @AllowNull(false)
  @Column(DataType.STRING(100))
  declare title: string;

  @AllowNull(false)
  @Column(DataType.TEXT)
  declare text: string;

  @ForeignKey(() => User)
  @AllowNull(false)
  @Column(DataType.INTEGER)
  declare authorId: number;

  @BelongsTo(() => User)
  declare author?: NonAttribute<User>;

  @BelongsToMany(() => Tag, () => PostTag)
  declare tags?: NonAttribute<Tag[]>;
}

@Table
export class Photo extends Model<InferAttributes<Photo>, InferCreationAttributes<Photo>> {
  static readonly cache = withCache(Photo, { keys: ['id'] });

  @PrimaryKey
  @AutoIncrement
  @Column(DataType.INTEGER)
  declare id: CreationOptional<number>;

  @Length({ min: 1, max: 100 })
  @AllowNull(false)
  @Column(DataType.STRING(100))
  declare caption: string;
}

@Table({ timestamps: false })
export class Tag extends Model<InferAttributes<Tag>, InferCreationAttributes<Tag>> {
  static readonly cache = withCache(Tag, { keys: ['id', 'word'] });

  @PrimaryKey
  @AutoIncrement
  @Column(DataType.INTEGER)
  declare id: CreationOptional<number>;

  @Is({ args: /^[^\s/]{1,30}$/, msg: 'A tag is one word of 1 to 30 letters.' })
  @Unique
  @AllowNull(false)
  @Column(DataType.STRING(30))
  declare word: string;

  @BelongsToMany(() => Post, () => PostTag)
  declare posts?: NonAttribute<Post[]>;
}

/** The through model of posts and tags: a model like any other, so what follows from it is cached like any other. */
@Table({ timestamps: false })
export class PostTag extends Model<InferAttributes<PostTag>, InferCreationAttributes<PostTag>> {
  @ForeignKey(() => Post)
  @PrimaryKey
  @Column(DataType.INTEGER)
  declare postId: number;

  @ForeignKey(() => Tag)
  @PrimaryKey
  @Column(DataType.INTEGER)
  declare tagId: number;
}

/** What can be commented and voted on. */
export type Target = Post | Photo;
const target = { type: 'targetType', id: 'targetId', models: () => [Post, Photo] } as const;

/** `Comment.cache` with a method of its own. */
class CommentManager extends ModelCacheManager<Comment, 'id', 'target', 'target', 'author'> {
  /** The comments on a target with their authors, the oldest first: two round trips, whatever their number. */
  async thread(of: Target): Promise<readonly Comment[]> {
    const comments = await this.filter({ target: of });
    await this.prefetch(comments, ['author']);
    return comments.sort((a, b) => a.id - b.id);
  }
}

/** A comment on a post or on a photo. */
@Table({ indexes: [{ fields: ['targetType', 'targetId'] }] })
export class Comment extends Model<InferAttributes<Comment>, InferCreationAttributes<Comment>> {
  static readonly cache = withCache(Comment, {
    keys: ['id'],
    filters: ['target'],
    cachedForeignKeys: ['author'],
    genericForeignKeys: { target },
    manager: CommentManager,
  });

  @PrimaryKey
  @AutoIncrement
  @Column(DataType.INTEGER)
  declare id: CreationOptional<number>;

  @Length({ min: 1, max: 500 })
  @AllowNull(false)
  @Column(DataType.STRING(500))
  declare text: string;

  @AllowNull(false)
  @Column(DataType.STRING(10))
  declare targetType: string;

  @AllowNull(false)
  @Column(DataType.INTEGER)
  declare targetId: number;

  @ForeignKey(() => User)
  @AllowNull(false)
  @Column(DataType.INTEGER)
  declare authorId: number;

  @BelongsTo(() => User)
  declare author?: NonAttribute<User>;

  /** Sequelize's, which reads the cache: `author` is among `cachedForeignKeys`. */
  declare getAuthor: () => Promise<User>;
  /** Defined by the cache, for the generic foreign key `target`. */
  declare getTarget: () => Promise<Target | null>;
}

/** A user's vote for a post or a photo. */
@Table({ updatedAt: false, indexes: [{ unique: true, fields: ['userId', 'targetType', 'targetId'] }] })
export class Vote extends Model<InferAttributes<Vote>, InferCreationAttributes<Vote>> {
  static readonly cache = withCache(Vote, { genericForeignKeys: { target } });

  @PrimaryKey
  @AutoIncrement
  @Column(DataType.INTEGER)
  declare id: CreationOptional<number>;

  @AllowNull(false)
  @Column(DataType.STRING(10))
  declare targetType: string;

  @AllowNull(false)
  @Column(DataType.INTEGER)
  declare targetId: number;

  @ForeignKey(() => User)
  @AllowNull(false)
  @Column(DataType.INTEGER)
  declare userId: number;

  @BelongsTo(() => User)
  declare user?: NonAttribute<User>;
}

/** All of them, as `new Sequelize` takes them. */
export const models = [User, Profile, Post, Photo, Tag, PostTag, Comment, Vote];
