/**
 * The models that the oracle plays with, and what they are cached on: one of everything that a
 * declaration can be.
 *
 * A function of the Sequelize instance, because two instances in one process stand for two processes.
 */
import { DataTypes, type Model, type ModelStatic, type Sequelize, type WhereOptions } from 'sequelize';
import { InstanceCache, withCache, type CacheClass } from '../../src/index.js';
import type { AnyCache, ModelName } from './names.js';
import { cachedForeignKeys, defineFamily, familyClasses, filters, type ClassName, type Member } from './family.js';

export type { AnyCache, ModelName } from './names.js';

/** In the order in which tables refer to each other. */
export const modelNames: readonly ModelName[] = ['Country', 'User', 'Post', 'Article', 'Avatar', 'Group', 'Membership', 'Vote'];

/** A cache with its own `getInstance`, and what it has to answer. */
export interface CustomLookup {
  readonly model: ModelName;
  readonly keyFields: readonly string[];
  readonly cacheClass: CacheClass;
  expected(values: readonly unknown[]): Promise<Model | null>;
}

export type CustomName = 'PrimaryAvatarOfUser' | 'NewestPostOfAuthor' | 'BestOfSection';

/** The models of one Sequelize instance. */
export interface World {
  readonly sequelize: Sequelize;
  readonly models: Readonly<Record<ModelName, ModelStatic<Model>>>;
  readonly caches: Readonly<Record<ModelName, AnyCache>>;
  readonly custom: Readonly<Record<CustomName, CustomLookup>>;
  /** The rest of the family, by the names of `memberShapes`. */
  readonly members: Readonly<Record<string, Member>>;
  readonly classes: Readonly<Record<ClassName, CacheClass>>;
}

/**
 * Defines everything anew for this Sequelize instance.
 * @param options with `family: false` without lists, results and relations, for tests that have their own
 */
export function defineWorld(sequelize: Sequelize, { family: withFamily = true }: { readonly family?: boolean } = {}): World {
  const plain = { timestamps: false };
  const User = sequelize.define(
    'User',
    {
      id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true },
      username: { type: DataTypes.STRING(40), allowNull: false, unique: true },
      email: { type: DataTypes.STRING(60), unique: true },
      tenantId: { type: DataTypes.INTEGER, allowNull: false },
      slug: { type: DataTypes.STRING(20), allowNull: false },
      city: { type: DataTypes.STRING(30), field: 'home_city' },
      level: DataTypes.INTEGER,
      rank: { type: DataTypes.INTEGER, allowNull: false, defaultValue: 0 },
      visits: { type: DataTypes.INTEGER, allowNull: false, defaultValue: 0 },
    },
    {
      defaultScope: { order: [['rank', 'DESC'], ['id', 'ASC']] },
      indexes: [{ unique: true, fields: ['tenantId', 'slug'] }, { fields: ['home_city'] }],
    },
  );
  const Post = sequelize.define(
    'Post',
    {
      id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true },
      code: { type: DataTypes.STRING(10), unique: true },
      title: DataTypes.STRING(30),
      score: DataTypes.DECIMAL(8, 2),
      weight: DataTypes.DOUBLE,
      day: DataTypes.DATEONLY,
      at: DataTypes.DATE,
      published: DataTypes.BOOLEAN,
    },
    { paranoid: true },
  );
  const Article = sequelize.define(
    'Article',
    {
      id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true },
      slug: { type: DataTypes.STRING(20), allowNull: false, unique: true, field: 'article_slug' },
      section: DataTypes.STRING(20),
      kind: DataTypes.ENUM('news', 'essay'),
      state: { type: DataTypes.ENUM('live', 'draft'), allowNull: false, defaultValue: 'live' },
      rank: { type: DataTypes.INTEGER, allowNull: false, defaultValue: 0 },
      serial: { type: DataTypes.BIGINT, unique: true },
      at: DataTypes.DATE(3),
      meta: DataTypes.JSON,
      secret: DataTypes.STRING(20),
      title: {
        type: DataTypes.STRING(30),
        get(this: Model): unknown {
          const title: unknown = this.getDataValue('title');
          return typeof title === 'string' ? title.toUpperCase() : title;
        },
      },
      label: {
        type: new DataTypes.VIRTUAL(DataTypes.STRING, ['slug']),
        get(this: Model): string {
          return `article ${String(this.getDataValue('slug'))}`;
        },
      },
    },
    {
      ...plain,
      defaultScope: { where: { state: 'live' }, order: [['rank', 'DESC'], ['id', 'ASC']], attributes: { exclude: ['secret'] } },
    },
  );
  const Avatar = sequelize.define(
    'Avatar',
    {
      id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true },
      url: { type: DataTypes.STRING(20), allowNull: false, unique: true },
      isPrimary: { type: DataTypes.BOOLEAN, allowNull: false, defaultValue: false },
    },
    plain,
  );
  const Group = sequelize.define(
    'Group',
    {
      id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true },
      label: { type: DataTypes.STRING(20), allowNull: false, unique: true },
    },
    { version: true },
  );
  const Membership = sequelize.define('Membership', { role: { type: DataTypes.STRING(10), defaultValue: 'member' } }, plain);
  const Vote = sequelize.define(
    'Vote',
    {
      id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true },
      targetType: DataTypes.STRING(20),
      targetId: DataTypes.INTEGER,
      value: { type: DataTypes.INTEGER, allowNull: false, defaultValue: 1 },
    },
    { ...plain, indexes: [{ unique: true, fields: ['userId', 'targetType', 'targetId'] }] },
  );
  const Country = sequelize.define(
    'Country',
    {
      code: { type: DataTypes.STRING(6), primaryKey: true },
      name: { type: DataTypes.STRING(20), unique: true },
      population: DataTypes.INTEGER,
    },
    plain,
  );

  if (withFamily) {
    // A reference by text: what it leads to is a matter of collation.
    User.belongsTo(Country, { as: 'country', foreignKey: 'countryCode' });
    Country.hasMany(User, { as: 'users', foreignKey: 'countryCode' });
    // The default scope's order says which of several users it is.
    Country.hasOne(User, { as: 'leader', foreignKey: 'countryCode' });
  }
  User.hasMany(Post, { as: 'posts', foreignKey: 'authorId' });
  Post.belongsTo(User, { as: 'author', foreignKey: 'authorId' });
  User.hasMany(Avatar, { as: 'avatars', foreignKey: 'userId', onDelete: 'CASCADE' });
  Avatar.belongsTo(User, { as: 'user', foreignKey: 'userId', onDelete: 'CASCADE' });
  User.belongsToMany(Group, { as: 'groups', through: Membership, foreignKey: 'userId', otherKey: 'groupId' });
  Group.belongsToMany(User, { as: 'users', through: Membership, foreignKey: 'groupId', otherKey: 'userId' });
  Membership.belongsTo(User, { as: 'user', foreignKey: 'userId' });
  Membership.belongsTo(Group, { as: 'group', foreignKey: 'groupId' });
  Vote.belongsTo(User, { as: 'user', foreignKey: 'userId', onDelete: 'SET NULL' });

  class PrimaryAvatarOfUser extends InstanceCache<Model> {
    static model = Avatar;
    static keyFields = ['user'];
    override getInstance({ user }: Readonly<Record<string, unknown>>): Promise<Model | null> {
      return this.queryset().findOne({ where: { userId: user, isPrimary: true } as WhereOptions, order: [['id', 'ASC']] });
    }
  }
  class NewestPostOfAuthor extends InstanceCache<Model> {
    static model = Post;
    static keyFields = ['author'];
    override getInstance({ author }: Readonly<Record<string, unknown>>): Promise<Model | null> {
      return this.queryset().findOne({ where: { authorId: author } as WhereOptions, order: [['id', 'DESC']] });
    }
  }
  class BestOfSection extends InstanceCache<Model> {
    static model = Article;
    static keyFields = ['section', 'kind'];
    override getInstance({ section, kind }: Readonly<Record<string, unknown>>): Promise<Model | null> {
      return this.queryset().findOne({ where: { section, kind } as WhereOptions });
    }
  }

  const models = { User, Post, Article, Avatar, Group, Membership, Vote, Country };
  const classes = familyClasses(models);
  const family = (model: ModelName, ...more: readonly CacheClass[]) => ({
    filters: withFamily ? (filters[model] as readonly never[]) : [],
    cachedForeignKeys: withFamily ? (cachedForeignKeys[model] ?? []) : [],
    caches: [...more, ...(withFamily ? Object.values(classes).filter((cacheClass) => cacheClass.model === models[model]) : [])],
  });
  // Sequelize's untyped models take any key fields; `AnyCache` says what the oracle calls.
  const caches: Record<ModelName, unknown> = {
    User: withCache(User, { keys: ['id', 'username', 'email', ['tenantId', 'slug'], 'city', 'level', ['city', 'level']], ...family('User') }),
    Post: withCache(Post, {
      keys: ['id', 'code', 'author', ['author', 'published'], 'score', 'weight', 'day', 'at', 'published'],
      ...family('Post', NewestPostOfAuthor),
    }),
    Article: withCache(Article, {
      keys: ['id', 'slug', 'section', ['section', 'kind'], 'serial', 'at', 'secret', 'state'],
      ...family('Article', BestOfSection),
    }),
    Avatar: withCache(Avatar, { keys: ['id', 'url', 'user', ['user', 'isPrimary']], ...family('Avatar', PrimaryAvatarOfUser) }),
    Group: withCache(Group, { keys: ['id', 'label'], ...family('Group') }),
    Membership: withCache(Membership, { keys: [['user', 'group'], ['group', 'role'], 'user'], ...family('Membership') }),
    Vote: withCache(Vote, {
      keys: ['id', 'target', ['user', 'target'], 'value'],
      ...family('Vote'),
      genericForeignKeys: { target: { type: 'targetType' as never, id: 'targetId' as never, models: () => [Post, Article] } },
    }),
    Country: withCache(Country, { keys: ['code', 'name', 'population'], ...family('Country') }),
  };
  return {
    sequelize,
    models,
    caches: caches as Record<ModelName, AnyCache>,
    classes,
    members: withFamily ? defineFamily(models, caches as Record<ModelName, AnyCache>, classes) : {},
    custom: {
      PrimaryAvatarOfUser: {
        model: 'Avatar',
        keyFields: ['user'],
        cacheClass: PrimaryAvatarOfUser,
        expected: ([user]) => Avatar.findOne({ where: { userId: user, isPrimary: true } as WhereOptions, order: [['id', 'ASC']] }),
      },
      NewestPostOfAuthor: {
        model: 'Post',
        keyFields: ['author'],
        cacheClass: NewestPostOfAuthor,
        expected: ([author]) => Post.findOne({ where: { authorId: author } as WhereOptions, order: [['id', 'DESC']] }),
      },
      BestOfSection: {
        model: 'Article',
        keyFields: ['section', 'kind'],
        cacheClass: BestOfSection,
        expected: ([section, kind]) => Article.findOne({ where: { section, kind } as WhereOptions }),
      },
    },
  };
}
