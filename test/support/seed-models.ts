/**
 * The models of the source system's documentation: users with avatars, their participations in
 * events, comments and votes on a generic target. With the cache classes that the documentation
 * shows, translated.
 */
import {
  DataTypes,
  Model,
  type CreationOptional,
  type ForeignKey,
  type InferAttributes,
  type InferCreationAttributes,
  type NonAttribute,
  type Sequelize,
} from 'sequelize';
import { InstanceCache, registerCache, withCache, type GenericReference } from '../../src/index.js';

/** Defines the models anew: a class belongs to one Sequelize instance. */
export function defineSeedModels(sequelize: Sequelize) {
  class User extends Model<InferAttributes<User>, InferCreationAttributes<User>> {
    static readonly cache = withCache(User, { keys: ['id'], caches: () => [UserCacheOnUsername] });
    declare id: CreationOptional<number>;
    declare username: string;
    declare city: CreationOptional<string | null>;
  }

  class UserCacheOnUsername extends InstanceCache<User> {
    static model = User;
    static keyFields = ['username'] as const;
  }

  class Event extends Model<InferAttributes<Event>, InferCreationAttributes<Event>> {
    static readonly cache = withCache(Event, { keys: ['id'] });
    declare id: CreationOptional<number>;
    declare name: string;
  }

  class Participation extends Model<InferAttributes<Participation>, InferCreationAttributes<Participation>> {
    static readonly cache = withCache(Participation, { caches: () => [ParticipationCacheOnUserEvent] });
    declare id: CreationOptional<number>;
    declare userId: ForeignKey<number>;
    declare eventId: ForeignKey<number>;
    declare role: string;
    declare user?: NonAttribute<User>;
    declare event?: NonAttribute<Event>;
  }

  // Only one participation exists for a user and an event.
  class ParticipationCacheOnUserEvent extends InstanceCache<Participation> {
    static model = Participation;
    static keyFields = ['user', 'event'] as const;
  }

  class Avatar extends Model<InferAttributes<Avatar>, InferCreationAttributes<Avatar>> {
    static readonly cache = withCache(Avatar, { keys: ['id'] });
    declare id: CreationOptional<number>;
    declare userId: ForeignKey<number>;
    declare filePath: string;
    declare primary: boolean;
    declare user?: NonAttribute<User>;
  }

  @registerCache
  class PrimaryAvatarCacheOnUser extends InstanceCache<Avatar> {
    static model = Avatar;
    static keyFields = ['user'] as const;

    override getInstance({ user }: { user: number }) {
      return this.queryset().findOne({ where: { userId: user, primary: true } });
    }
  }

  class Post extends Model<InferAttributes<Post>, InferCreationAttributes<Post>> {
    static readonly cache = withCache(Post, { keys: ['id'] });
    declare id: CreationOptional<number>;
    declare title: string;
  }

  class Photo extends Model<InferAttributes<Photo>, InferCreationAttributes<Photo>> {
    static readonly cache = withCache(Photo, { keys: ['id'] });
    declare id: CreationOptional<number>;
    declare title: string;
  }

  class Vote extends Model<InferAttributes<Vote>, InferCreationAttributes<Vote>> {
    static readonly cache = withCache(Vote, {
      keys: ['id', 'target'],
      caches: () => [VoteCacheOnUserTarget, LatestVoteCacheOnTarget],
      genericForeignKeys: { target: { type: 'targetType', id: 'targetId', models: () => [Post, Photo] } },
    });
    declare id: CreationOptional<number>;
    declare userId: ForeignKey<number>;
    declare targetType: string | null;
    declare targetId: number | null;
    declare value: number;
    declare user?: NonAttribute<User>;
    declare getTarget: () => Promise<Post | Photo | null>;
  }

  class VoteCacheOnUserTarget extends InstanceCache<Vote> {
    static model = Vote;
    static keyFields = ['user', 'target'] as const;
  }

  class LatestVoteCacheOnTarget extends InstanceCache<Vote> {
    static model = Vote;
    static keyFields = ['target'] as const;

    override getInstance({ target }: { target: GenericReference | null }) {
      const [targetType, targetId] = target ?? [null, null];
      return this.queryset().findOne({ where: { targetType, targetId: targetId as number | null }, order: [['id', 'DESC']] });
    }
  }

  const id = { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true } as const;
  const options = { sequelize, timestamps: false };
  User.init({ id, username: { type: DataTypes.STRING(60), unique: true, allowNull: false }, city: DataTypes.STRING }, options);
  Event.init({ id, name: DataTypes.STRING }, options);
  Participation.init(
    { id, role: DataTypes.STRING },
    { ...options, indexes: [{ unique: true, fields: ['userId', 'eventId'] }] },
  );
  Avatar.init({ id, filePath: DataTypes.STRING, primary: DataTypes.BOOLEAN }, options);
  Post.init({ id, title: DataTypes.STRING }, options);
  Photo.init({ id, title: DataTypes.STRING }, options);
  Vote.init(
    { id, targetType: DataTypes.STRING(40), targetId: DataTypes.INTEGER, value: DataTypes.INTEGER },
    options,
  );
  Participation.belongsTo(User, { as: 'user' });
  Participation.belongsTo(Event, { as: 'event' });
  User.hasMany(Participation, { as: 'participations', foreignKey: 'userId' });
  Avatar.belongsTo(User, { as: 'user' });
  Vote.belongsTo(User, { as: 'user' });

  return {
    User,
    UserCacheOnUsername,
    Event,
    Participation,
    ParticipationCacheOnUserEvent,
    Avatar,
    PrimaryAvatarCacheOnUser,
    Post,
    Photo,
    Vote,
    VoteCacheOnUserTarget,
    LatestVoteCacheOnTarget,
  };
}

export type SeedModels = ReturnType<typeof defineSeedModels>;
