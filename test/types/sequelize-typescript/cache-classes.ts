/** Cache classes beside sequelize-typescript models, with legacy decorators. */
import type { CreationOptional, InferAttributes, InferCreationAttributes, NonAttribute } from 'sequelize';
import { BelongsTo, Column, ForeignKey, Model, Table } from 'sequelize-typescript';
import { type Equal, type Expect, expectType, InstanceCache, type ModelCache, registerCache, withCache } from '../support.js';

@Table
class User extends Model {
  @Column
  declare username: string;
}

@Table
class Avatar extends Model<InferAttributes<Avatar>, InferCreationAttributes<Avatar>> {
  static readonly cache = withCache(Avatar, { keys: ['id'], caches: () => [AvatarCacheOnPath, PrimaryAvatarCacheOnUser] });

  @Column({ primaryKey: true })
  declare id: CreationOptional<number>;

  @ForeignKey(() => User)
  @Column
  declare userId: number;

  @Column
  declare path: string;

  @Column
  declare primary: boolean;

  @BelongsTo(() => User)
  declare user?: NonAttribute<User>;
}

@registerCache
class UserCacheOnUsername extends InstanceCache<User> {
  static model = User;
  static keyFields = ['username'] as const;
}

@registerCache
class AvatarCacheOnPath extends InstanceCache<Avatar, ['path']> {
  static model = Avatar;
  static keyFields = ['path'] as const;
}

@registerCache
class PrimaryAvatarCacheOnUser extends InstanceCache<Avatar, ['user']> {
  static model = Avatar;
  static keyFields = ['user'] as const;

  override getInstance({ user }: { user: number }) {
    return this.queryset().findOne({ where: { userId: user, primary: true } });
  }
}

// @ts-expect-error has no static keyFields
@registerCache
class NoKeyFields extends InstanceCache<User> {
  static model = User;
}

// @ts-expect-error not a cache class
@registerCache
class NotACache {
  static model = User;
  static keyFields = ['username'] as const;
}

export type FromClasses = Expect<Equal<typeof Avatar.cache, ModelCache<Avatar, 'id' | readonly ['path']>>>;

export async function lookups(user: User): Promise<void> {
  expectType<User>()(await new UserCacheOnUsername('bill1992').resolve());
  expectType<User>()(await new UserCacheOnUsername({ username: 'bill1992' }).resolve());
  expectType<Avatar>()(await new AvatarCacheOnPath('a.png').resolve());
  expectType<Avatar | null>()(await new PrimaryAvatarCacheOnUser(user).resolve());
  expectType<Avatar | null>()(await new PrimaryAvatarCacheOnUser({ userId: 7 }).resolve());
  expectType<Avatar>()(await Avatar.cache.get({ path: 'a.png' }));

  // @ts-expect-error wrong type of value
  new AvatarCacheOnPath(5);
  // @ts-expect-error misspelt name
  new AvatarCacheOnPath({ pth: 'a.png' });
  // @ts-expect-error a custom cache is not asked through the manager
  void Avatar.cache.get({ user });
  // @ts-expect-error a cache of another model
  withCache(User, { caches: [AvatarCacheOnPath] });
}
