/** sequelize-typescript: decorated models, the mixin, a custom cache class, and repository mode. */
import assert from 'node:assert/strict';
import type { CreationOptional, InferAttributes, InferCreationAttributes, NonAttribute } from 'sequelize';
import { BelongsTo, Column, DataType, ForeignKey, Model, Sequelize, Table, type Repository } from 'sequelize-typescript';
import { InstanceCache, registerCache, setupCache, withCache, type CacheMeta, type ModelCache } from 'sequelize-flash';
import { MemoryStore } from 'sequelize-flash/stores/memory';
import { createSqliteModule } from '../support/sqlite.js';

/** As a static member: the type of `cache` is inferred. */
@Table
class User extends Model<InferAttributes<User>, InferCreationAttributes<User>> {
  static readonly cache = withCache(User, { keys: ['id', 'username'] });

  @Column({ type: DataType.INTEGER, primaryKey: true, autoIncrement: true })
  declare id: CreationOptional<number>;

  @Column({ type: DataType.STRING, unique: true })
  declare username: string;
}

/** As a mixin base class: the type of `cache` is declared. */
@Table
class Avatar extends withCache(Model)<InferAttributes<Avatar>, InferCreationAttributes<Avatar>> {
  declare static readonly cache: ModelCache<Avatar, readonly ['user', 'path']>;
  static cacheMeta = { keys: [['user', 'path']] } satisfies CacheMeta<Avatar>;

  @Column({ type: DataType.INTEGER, primaryKey: true, autoIncrement: true })
  declare id: CreationOptional<number>;

  @Column(DataType.STRING)
  declare path: string;

  @Column(DataType.BOOLEAN)
  declare primary: boolean;

  @ForeignKey(() => User)
  @Column(DataType.INTEGER)
  declare userId: number;

  @BelongsTo(() => User)
  declare user?: NonAttribute<User>;
}

/** The decorator makes it known to invalidation as soon as this file is imported. */
@registerCache
class PrimaryAvatarCacheOnUser extends InstanceCache<Avatar> {
  static model = Avatar;
  static keyFields = ['user'] as const;

  override getInstance({ user }: { user: number }) {
    return this.queryset().findOne({ where: { userId: user, primary: true } });
  }
}

async function main(): Promise<void> {
  await models();
  await repositories();
  console.log('typescript ok');
}

async function connect(storage: string, repositoryMode: boolean): Promise<Sequelize> {
  const sequelize = new Sequelize({
    dialect: 'sqlite',
    dialectModule: await createSqliteModule(),
    storage,
    logging: false,
    repositoryMode,
    models: [User, Avatar],
  });
  await sequelize.sync();
  return sequelize;
}

async function models(): Promise<void> {
  const sequelize = await connect('models.db', false);
  const cache = setupCache(sequelize, { store: new MemoryStore() });

  const user = await User.create({ username: 'bill1992' });
  assert.equal((await User.cache.get('bill1992')).id, user.id);
  assert.equal((await User.cache.get({ id: user.id })).username, 'bill1992');

  // `null` is an answer of a custom cache, and cached like any other.
  assert.equal(await new PrimaryAvatarCacheOnUser(user).resolve(), null);
  await Avatar.create({ userId: user.id, path: 'owl.png', primary: true });
  assert.equal((await new PrimaryAvatarCacheOnUser(user).resolve())?.path, 'owl.png');
  assert.equal((await Avatar.cache.get({ user, path: 'owl.png' })).primary, true);

  await cache.close();
  await sequelize.close();
}

/** The cache is that of the repository, a subclass of the model. */
async function repositories(): Promise<void> {
  const sequelize = await connect('repositories.db', true);
  const cache = setupCache(sequelize, { store: new MemoryStore() });

  // sequelize-typescript's type of a repository leaves out the model's static members.
  const users = sequelize.getRepository(User) as Repository<User> & Pick<typeof User, 'cache'>;
  const { id } = await users.create({ username: 'bill1992' });
  assert.equal((await users.cache.get('bill1992')).id, id);
  await users.destroy({ where: { id } });
  assert.equal(await users.cache.getOrNone('bill1992'), null);

  await cache.close();
  await sequelize.close();
}

void main();
