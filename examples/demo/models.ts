/** The models of the demo: a small calendar of events in the places of the world. */
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
import { InstanceCache, withCache } from 'sequelize-flash';

export class User extends Model<InferAttributes<User>, InferCreationAttributes<User>> {
  static readonly cache = withCache(User, { keys: ['id', 'username'] });

  declare id: CreationOptional<number>;
  declare username: string;
  declare city: string;
}

export class Place extends Model<InferAttributes<Place>, InferCreationAttributes<Place>> {
  static readonly cache = withCache(Place, { keys: ['id', 'name', ['country', 'region', 'name']] });

  declare id: CreationOptional<number>;
  declare name: string;
  declare country: string;
  declare region: string;
  declare latitude: number;
  declare longitude: number;
}

export class Event extends Model<InferAttributes<Event>, InferCreationAttributes<Event>> {
  static readonly cache = withCache(Event, { keys: ['id', 'slug'] });

  declare id: CreationOptional<number>;
  declare slug: string;
  declare seats: number;
  declare placeId: ForeignKey<number>;
  declare place?: NonAttribute<Place>;
}

export class Participation extends Model<InferAttributes<Participation>, InferCreationAttributes<Participation>> {
  static readonly cache = withCache(Participation, { keys: [['user', 'event']] });

  declare id: CreationOptional<number>;
  declare role: 'guest' | 'host';
  declare userId: ForeignKey<number>;
  declare eventId: ForeignKey<number>;
  declare user?: NonAttribute<User>;
  declare event?: NonAttribute<Event>;
}

export class Avatar extends Model<InferAttributes<Avatar>, InferCreationAttributes<Avatar>> {
  static readonly cache = withCache(Avatar, { keys: ['id'], caches: () => [PrimaryAvatarCacheOnUser] });

  declare id: CreationOptional<number>;
  declare path: string;
  declare primary: boolean;
  declare userId: ForeignKey<number>;
  declare user?: NonAttribute<User>;
}

/** A custom cache: its answer is what `getInstance` returns, `null` included. */
export class PrimaryAvatarCacheOnUser extends InstanceCache<Avatar> {
  static model = Avatar;
  static keyFields = ['user'] as const;

  override getInstance({ user }: { user: number }) {
    return this.queryset().findOne({ where: { userId: user, primary: true } });
  }
}

/** A comment on an event or on a place. */
export class Comment extends Model<InferAttributes<Comment>, InferCreationAttributes<Comment>> {
  static readonly cache = withCache(Comment, {
    keys: ['id', ['user', 'target']],
    genericForeignKeys: { target: { type: 'targetType', id: 'targetId', models: () => [Event, Place] } },
  });

  declare id: CreationOptional<number>;
  declare text: string;
  declare targetType: string;
  declare targetId: number;
  declare userId: ForeignKey<number>;
  declare user?: NonAttribute<User>;
  /** Defined by the cache, for the generic foreign key `target`. */
  declare getTarget: () => Promise<Event | Place | null>;
}

// Functions, because Sequelize writes into the descriptions that it is given.
const id = () => ({ type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true }) as const;
const text = () => ({ type: DataTypes.STRING(80), allowNull: false }) as const;
const integer = () => ({ type: DataTypes.INTEGER, allowNull: false }) as const;
const degrees = () => ({ type: DataTypes.DOUBLE, allowNull: false }) as const;

/** Initialises every model on this database, before `setupCache`. */
export function defineModels(sequelize: Sequelize): void {
  User.init({ id: id(), username: { ...text(), unique: true }, city: text() }, { sequelize });
  Place.init(
    {
      id: id(),
      name: text(),
      country: { type: DataTypes.CHAR(2), allowNull: false },
      region: { type: DataTypes.STRING(8), allowNull: false },
      latitude: degrees(),
      longitude: degrees(),
    },
    { sequelize, timestamps: false, indexes: [{ unique: true, fields: ['country', 'region', 'name'] }, { fields: ['name'] }] },
  );
  Event.init({ id: id(), slug: { ...text(), unique: true }, seats: integer() }, { sequelize });
  Participation.init({ id: id(), role: text() }, { sequelize });
  Avatar.init({ id: id(), path: text(), primary: { type: DataTypes.BOOLEAN, allowNull: false } }, { sequelize });
  Comment.init(
    { id: id(), text: text(), targetType: text(), targetId: integer() },
    { sequelize, indexes: [{ fields: ['targetType', 'targetId'] }] },
  );

  Event.belongsTo(Place, { as: 'place', foreignKey: { name: 'placeId', allowNull: false } });
  Participation.belongsTo(Event, { as: 'event', foreignKey: { name: 'eventId', allowNull: false } });
  Participation.belongsTo(User, { as: 'user', foreignKey: { name: 'userId', allowNull: false } });
  Avatar.belongsTo(User, { as: 'user', foreignKey: { name: 'userId', allowNull: false } });
  Comment.belongsTo(User, { as: 'user', foreignKey: { name: 'userId', allowNull: false } });
}
