/** The models that the workers play with, as Sequelize has them, and the history that triggers write of them. */
import { DataTypes, type Model, type ModelStatic, type Sequelize, type WhereOptions } from 'sequelize';
import {
  InstanceCache, QuerysetCache, QuerysetCountCache, QuerysetExistsCache, RelatedInstanceCache, RelatedQuerysetCache, withCache,
  type CacheQuery, type JsonValue, type ReadOptions,
} from '../../src/index.js';
import { contentSql, tableNames, tables, type TableName } from './tables.js';

/** How long a statement waits for a lock, and goes on waiting for when its client was killed, in seconds. */
export const lockWaitTimeout = 1;

/** The manager of a model, whatever its declared keys. */
export interface AnyCache {
  getOrNone(key: unknown, options?: ReadOptions): Promise<Model | null | undefined>;
  getMany(keys: readonly unknown[], options?: ReadOptions): Promise<(Model | null | undefined)[]>;
  getKey(key: unknown): string;
  filterQuery(params: unknown): CacheQuery<Model[]>;
}

/** A cache class of the program's own. */
export type CustomClass = new (...values: unknown[]) => { readonly key: string; resolve(options?: ReadOptions): Promise<unknown> };

/** The models of one process. */
export interface World {
  readonly sequelize: Sequelize;
  readonly models: Readonly<Record<TableName | 'Group', ModelStatic<Model>>>;
  readonly caches: Readonly<Record<TableName, AnyCache>>;
  /** By table and key. */
  readonly custom: Readonly<Record<string, CustomClass>>;
}

/** How many groups there are; they never change. */
export const groups = 3;

/** Defines the models. */
export function defineWorld(sequelize: Sequelize): World {
  // Each model gets objects of its own: Sequelize writes into them.
  const common = () => ({
    id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true },
    count: { type: DataTypes.INTEGER, allowNull: false, defaultValue: 0 },
    stamp: { type: DataTypes.STRING(40), allowNull: false, defaultValue: '-' },
  });
  const options = (name: TableName): { tableName: string; timestamps: false } => ({ tableName: tables[name].table, timestamps: false });
  const User = sequelize.define(
    'User',
    {
      ...common(),
      name: { type: DataTypes.STRING(20), allowNull: false, unique: true },
      tenantId: { type: DataTypes.INTEGER, allowNull: false },
      slug: { type: DataTypes.STRING(20), allowNull: false },
      active: { type: DataTypes.BOOLEAN, allowNull: false, defaultValue: true },
    },
    { ...options('User'), indexes: [{ unique: true, fields: ['tenantId', 'slug'] }] },
  );
  const Doc = sequelize.define(
    'Doc',
    { ...common(), code: { type: DataTypes.STRING(20), allowNull: false, unique: true } },
    // Without the two other columns of Sequelize, whose values would differ from one writer to the next.
    { tableName: tables.Doc.table, paranoid: true, timestamps: true, createdAt: false, updatedAt: false },
  );
  const Avatar = sequelize.define(
    'Avatar',
    {
      ...common(),
      url: { type: DataTypes.STRING(20), allowNull: false, unique: true },
      isPrimary: { type: DataTypes.BOOLEAN, allowNull: false, defaultValue: false },
    },
    options('Avatar'),
  );
  const Group = sequelize.define('Group', { id: common().id }, { tableName: 'tt_groups', timestamps: false });
  const Membership = sequelize.define('Membership', { role: { type: DataTypes.STRING(20), defaultValue: 'guest' }, stamp: common().stamp }, options('Membership'));
  const Vote = sequelize.define(
    'Vote',
    { ...common(), targetType: DataTypes.STRING(20), targetId: DataTypes.INTEGER },
    { ...options('Vote'), indexes: [{ fields: ['targetType', 'targetId'] }] },
  );
  const Tag = sequelize.define(
    'Tag',
    { ...common(), label: { type: DataTypes.STRING(20), allowNull: false, unique: true } },
    options('Tag'),
  );

  User.hasMany(Doc, { as: 'docs', foreignKey: 'ownerId', onDelete: 'SET NULL' });
  Doc.belongsTo(User, { as: 'owner', foreignKey: 'ownerId', onDelete: 'SET NULL' });
  // Sequelize runs this cascade itself when an instance is destroyed; else the database does.
  User.hasMany(Avatar, { as: 'avatars', foreignKey: 'userId', onDelete: 'CASCADE', hooks: true });
  Avatar.belongsTo(User, { as: 'user', foreignKey: 'userId', onDelete: 'CASCADE' });
  User.belongsToMany(Group, { as: 'groups', through: Membership, foreignKey: 'userId', otherKey: 'groupId' });
  Group.belongsToMany(User, { as: 'users', through: Membership, foreignKey: 'groupId', otherKey: 'userId' });
  Membership.belongsTo(User, { as: 'user', foreignKey: 'userId' });
  Membership.belongsTo(Group, { as: 'group', foreignKey: 'groupId' });

  class PrimaryAvatarOfUser extends InstanceCache<Model> {
    static model = Avatar;
    static keyFields = ['user'];
    override getInstance({ user }: Readonly<Record<string, unknown>>): Promise<Model | null> {
      return this.queryset().findOne({ where: { userId: user, isPrimary: true } as WhereOptions, order: [['id', 'ASC']] });
    }
  }
  class NewestDocOfOwner extends InstanceCache<Model> {
    static model = Doc;
    static keyFields = ['owner'];
    override getInstance({ owner }: Readonly<Record<string, unknown>>): Promise<Model | null> {
      return this.queryset().findOne({ where: { ownerId: owner } as WhereOptions, order: [['id', 'DESC']] });
    }
  }

  class TopOfTenant extends QuerysetCache<Model> {
    static model = User;
    static keyFields = ['tenantId'];
    static order = [['count', 'DESC'], ['id', 'ASC']] as const;
    static limit = 3;
  }
  class SumOfTenant extends QuerysetCache<Model> {
    static model = User;
    static keyFields = ['tenantId'];
    override async getResult({ tenantId }: Readonly<Record<string, unknown>>): Promise<JsonValue> {
      const users = await this.queryset().findAll({ where: { tenantId } as WhereOptions });
      return {
        sum: users.reduce((sum, user) => sum + (user.get('count') as number), 0),
        ids: users.map((user) => user.get('id') as number),
      };
    }
  }
  class NumberOfUsers extends QuerysetCountCache<Model> {
    static model = User;
    static keyFields = [];
  }
  class LatestDocs extends QuerysetCache<Model> {
    static model = Doc;
    static keyFields = [];
    static order = [['id', 'DESC']] as const;
    static limit = 4;
  }
  class NumberOfDocsOfOwner extends QuerysetCountCache<Model> {
    static model = Doc;
    static keyFields = ['owner'];
  }
  class HasAvatar extends QuerysetExistsCache<Model> {
    static model = Avatar;
    static keyFields = ['user'];
  }
  class NumberOfVotesOnTarget extends QuerysetCountCache<Model> {
    static model = Vote;
    static keyFields = ['target'];
  }
  class OwnerOfCode extends RelatedInstanceCache<Model, Model> {
    static model = Doc;
    static keyFields = ['code'];
    static relation = 'owner';
  }
  class AvatarsOfUser extends RelatedQuerysetCache<Model, Model> {
    static model = User;
    static keyFields = ['id'];
    static relation = 'avatars';
  }
  class GroupsOfUser extends RelatedQuerysetCache<Model, Model> {
    static model = User;
    static keyFields = ['id'];
    static relation = 'groups';
  }
  class DocWithOwner extends InstanceCache<Model> {
    static model = Doc;
    static keyFields = ['id'];
    static include = ['owner'];
  }
  class UserWithDocs extends InstanceCache<Model> {
    static model = User;
    static keyFields = ['name'];
    static include = ['docs'];
  }

  withCache(Group, { keys: ['id'] });
  // Sequelize's untyped models take any key fields.
  const caches: Record<TableName, unknown> = {
    User: withCache(User, {
      keys: ['id', 'name', ['tenantId', 'slug']],
      filters: ['tenantId'],
      caches: [TopOfTenant, SumOfTenant, NumberOfUsers, AvatarsOfUser, GroupsOfUser, UserWithDocs],
    }),
    Doc: withCache(Doc, {
      keys: ['id', 'code', 'owner'],
      filters: ['owner'],
      caches: [NewestDocOfOwner, LatestDocs, NumberOfDocsOfOwner, OwnerOfCode, DocWithOwner],
    }),
    Avatar: withCache(Avatar, { keys: ['id', 'url', 'user'], filters: ['user', []], caches: [PrimaryAvatarOfUser, HasAvatar] }),
    Membership: withCache(Membership, { keys: [['user', 'group']], filters: ['group'] }),
    Vote: withCache(Vote, {
      keys: ['id', 'target'],
      filters: ['target'],
      caches: [NumberOfVotesOnTarget],
      genericForeignKeys: { target: { type: 'targetType' as never, id: 'targetId' as never, models: () => [User, Doc] } },
    }),
    Tag: withCache(Tag, { keys: ['id', 'label'] }),
  };
  return {
    sequelize,
    models: { User, Doc, Avatar, Membership, Vote, Tag, Group },
    caches: caches as Record<TableName, AnyCache>,
    custom: Object.fromEntries(
      Object.entries({
        'Avatar:primary': PrimaryAvatarOfUser,
        'Avatar:hasUser': HasAvatar,
        'Doc:newest': NewestDocOfOwner,
        'Doc:latest': LatestDocs,
        'Doc:numberOfOwner': NumberOfDocsOfOwner,
        'Doc:ownerOfCode': OwnerOfCode,
        'Doc:withOwner': DocWithOwner,
        'User:topOfTenant': TopOfTenant,
        'User:sumOfTenant': SumOfTenant,
        'User:number': NumberOfUsers,
        'User:avatars': AvatarsOfUser,
        'User:groups': GroupsOfUser,
        'User:withDocs': UserWithDocs,
        'Vote:numberOnTarget': NumberOfVotesOnTarget,
      }).map(([name, cacheClass]) => [name, cacheClass as unknown as CustomClass]),
    ),
  };
}

/**
 * The history: one row for each row that a statement changed, written by triggers in the same
 * transaction. Whoever holds the lock on a row, or on a unique key, until its commit numbers its
 * changes meanwhile, so for each of them the numbers are in the order of the commits. `@op` is set by
 * the workers before each statement. Cascades of the database fire no triggers; see history.ts.
 */
export function historySql(): string[] {
  const statements = [
    `CREATE TABLE history (
       seq BIGINT AUTO_INCREMENT PRIMARY KEY, label VARCHAR(60), tbl VARCHAR(12), action CHAR(1),
       old_pk VARCHAR(30), visible TINYINT, content VARCHAR(250)
     ) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin`,
  ];
  for (const name of tableNames) {
    const { table, primaryKey, paranoid } = tables[name];
    const oldKey = `CONCAT_WS(',', ${primaryKey.map((column) => `OLD.\`${column}\``).join(', ')})`;
    const visible = paranoid ? 'NEW.deletedAt IS NULL' : '1';
    const trigger = (event: string, action: string, old: string, shown: string, content: string): string =>
      `CREATE TRIGGER ${table}_${action} AFTER ${event} ON ${table} FOR EACH ROW
       INSERT INTO history (label, tbl, action, old_pk, visible, content) VALUES (@op, '${name}', '${action}', ${old}, ${shown}, ${content})`;
    statements.push(
      trigger('INSERT', 'I', 'NULL', visible, contentSql(name, 'NEW')),
      trigger('UPDATE', 'U', oldKey, visible, contentSql(name, 'NEW')),
      trigger('DELETE', 'D', oldKey, '0', contentSql(name, 'OLD')),
    );
  }
  return statements;
}
