/** `extends withCache(Model)<…>`, with the type of `cache` declared. */
import { type CreationOptional, DataTypes, type InferAttributes, type InferCreationAttributes, Model, type ModelStatic, type NonAttribute, type Sequelize } from 'sequelize';
import type { CacheMeta, ModelCache } from '../support.js';
import { expectType, InstanceCache, withCache } from '../support.js';
import { Photo, Post } from './models.js';

class User extends withCache(Model)<InferAttributes<User>, InferCreationAttributes<User>> {
  declare static readonly cache: ModelCache<User, 'username' | readonly ['tenantId', 'slug']>;
  static cacheMeta = { keys: ['username', ['tenantId', 'slug']], timeout: 60 };

  declare id: CreationOptional<number>;
  declare username: string;
  declare tenantId: number;
  declare slug: string;
  declare comments?: NonAttribute<Comment[]>;

  async twin() {
    return User.cache.getOrNone({ tenantId: this.tenantId, slug: this.slug });
  }
}

class Comment extends withCache(Model)<InferAttributes<Comment>, InferCreationAttributes<Comment>> {
  declare static readonly cache: ModelCache<Comment, 'user' | readonly ['user', 'target'], 'target'>;
  static cacheMeta = {
    keys: [['user', 'target']],
    genericForeignKeys: { target: { type: 'targetType', id: 'targetId', models: () => [Post, Photo] } },
    caches: () => [CommentCacheOnUser, LatestCommentCacheOnUser],
  } satisfies CacheMeta<Comment, 'target'>;

  declare id: CreationOptional<number>;
  declare targetType: string;
  declare targetId: number;
  declare userId: number;
  declare user?: NonAttribute<User>;
}

class CommentCacheOnUser extends InstanceCache<Comment, ['user']> {
  static model = Comment;
  static keyFields = ['user'] as const;
}

class LatestCommentCacheOnUser extends InstanceCache<Comment> {
  static model = Comment;
  static keyFields = ['user'] as const;
  override getInstance({ user }: { user: number }) {
    return this.queryset().findOne({ where: { userId: user }, order: [['id', 'DESC']] });
  }
}

/** An intermediate base class of the application's own. */
abstract class Base<A extends object, C extends object = A> extends Model<A, C> {
  static tablePrefix = 'app_';
  hello(): string {
    return 'hello';
  }
}
class Team extends withCache(Base)<InferAttributes<Team>, InferCreationAttributes<Team>> {
  declare static readonly cache: ModelCache<Team, 'name'>;
  declare name: string;
}

class Wrong extends withCache(Model)<InferAttributes<Wrong>, InferCreationAttributes<Wrong>> {
  // @ts-expect-error misspelt key field
  declare static readonly cache: ModelCache<Wrong, 'nam'>;
  // @ts-expect-error misspelt key field
  static cacheMeta = { keys: ['nam'] } satisfies CacheMeta<Wrong>;
  declare name: string;
}

export async function mixin(sequelize: Sequelize, user: User): Promise<void> {
  User.init(
    { id: DataTypes.INTEGER, username: DataTypes.STRING, tenantId: DataTypes.INTEGER, slug: DataTypes.STRING },
    { sequelize, modelName: 'User' },
  );
  Comment.belongsTo(User, { as: 'user' });
  User.hasMany(Comment);
  const model: ModelStatic<User> = User;
  expectType<User>()(await User.create({ username: 'bill', tenantId: 1, slug: 'bill' }));
  expectType<User | null>()(await User.findOne({ where: { username: 'bill' } }));
  expectType<User[]>()(await model.findAll());

  expectType<User>()(await User.cache.get({ username: 'bill' }));
  expectType<User>()(await User.cache.get('bill'));
  expectType<User | null>()(await User.cache.getOrNone({ tenantId: 1, slug: 'bill' }));
  expectType<User | null>()(await user.twin());
  expectType<Comment>()(await Comment.cache.get({ user, target: ['Post', 5] }));
  expectType<Comment>()(await Comment.cache.get(user));
  expectType<Comment>()(await new CommentCacheOnUser(user).resolve());
  expectType<Team>()(await Team.cache.get({ name: 'x' }));
  expectType<string>()(Team.tablePrefix);
  expectType<string>()((await Team.cache.get('x')).hello());

  // @ts-expect-error misspelt name
  void User.cache.get({ usernam: 'bill' });
  // @ts-expect-error wrong type of value
  void User.cache.get({ username: 5 });
  // @ts-expect-error a key field is missing
  void User.cache.get({ tenantId: 1 });
  // @ts-expect-error undeclared key field
  void User.cache.get({ id: 1 });
  // @ts-expect-error no cache has a single number
  void User.cache.get(1);
  // @ts-expect-error no single key field is a string
  void Comment.cache.get('bill');
  // @ts-expect-error wrong generic foreign key
  void Comment.cache.get({ user, target: 5 });
  // @ts-expect-error Sequelize checks creation
  void User.create({ username: 'bill' });
  // @ts-expect-error not declared: the mixin adds no type of its own
  (class extends withCache(Model) {}).cache.toString();
  // @ts-expect-error is not a model
  withCache(Date);
}
