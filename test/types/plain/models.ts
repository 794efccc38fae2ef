/** Models that declare their caches as a static member, as the README shows it first. */
import {
  type CreationOptional,
  type ForeignKey,
  type InferAttributes,
  type InferCreationAttributes,
  Model,
  type NonAttribute,
} from 'sequelize';
import { withCache } from '../support.js';

export class User extends Model<InferAttributes<User>, InferCreationAttributes<User>> {
  static readonly cache = withCache(User, { keys: ['id', 'username', ['tenantId', 'slug']] });

  declare id: CreationOptional<number>;
  declare username: string;
  declare tenantId: number;
  declare slug: string;
  declare email: string | null;
  declare readonly createdAt: CreationOptional<Date>;

  get label(): NonAttribute<string> {
    return this.username;
  }

  /** Its result is inferred from `cache`, whose type looks at this class. */
  async twin() {
    return User.cache.getOrNone({ tenantId: this.tenantId, slug: this.slug });
  }
}

export class Event extends Model<InferAttributes<Event>, InferCreationAttributes<Event>> {
  static readonly cache = withCache(Event, { keys: ['id', 'startsAt', 'code'], timeout: 60, version: 2 });

  declare id: CreationOptional<bigint>;
  declare startsAt: Date;
  declare code: 'spring' | 'autumn';
  declare title: string;
}

/** `userId` is marked as a foreign key, `eventId` is not, `inviter` has no column among the members. */
export class Participation extends Model<
  InferAttributes<Participation>,
  InferCreationAttributes<Participation>
> {
  static readonly cache = withCache(Participation, {
    keys: ['user', ['user', 'event'], ['event', 'role'], 'inviter', ['substitute', 'event']],
  });

  declare id: CreationOptional<number>;
  declare userId: ForeignKey<User['id']>;
  declare eventId: bigint;
  declare substitute_id: ForeignKey<User['id']> | null;
  declare role: string;
  declare user?: NonAttribute<User>;
  declare event?: NonAttribute<Event>;
  declare inviter?: NonAttribute<User> | null;
  declare substitute?: NonAttribute<User>;
}

/** A reference to itself: an instance of the model is also a bare value. */
export class Category extends Model<InferAttributes<Category>, InferCreationAttributes<Category>> {
  static readonly cache = withCache(Category, { keys: ['id', 'parent'] });

  declare id: CreationOptional<number>;
  declare slug: string;
  declare parent?: NonAttribute<Category>;
  declare children?: NonAttribute<Category[]>;
}

// Three models whose generic foreign keys refer to each other in a circle.

export class Post extends Model<InferAttributes<Post>, InferCreationAttributes<Post>> {
  static readonly cache = withCache(Post, {
    keys: ['id', 'cover'],
    genericForeignKeys: { cover: { type: 'coverType', id: 'coverId', models: () => [Photo, Comment] } },
  });

  declare id: CreationOptional<number>;
  declare coverType: string;
  declare coverId: number;
}

export class Photo extends Model<InferAttributes<Photo>, InferCreationAttributes<Photo>> {
  static readonly cache = withCache(Photo, {
    keys: ['id', 'subject'],
    genericForeignKeys: { subject: { type: 'subjectType', id: 'subjectId', models: () => [Post, Comment] } },
  });

  declare id: CreationOptional<number>;
  declare subjectType: string;
  declare subjectId: number;
}

export class Comment extends Model<InferAttributes<Comment>, InferCreationAttributes<Comment>> {
  static readonly cache = withCache(Comment, {
    genericForeignKeys: { target: { type: 'targetType', id: 'targetId', models: () => [Post, Photo] } },
    keys: ['target', ['user', 'target']],
  });

  declare id: CreationOptional<number>;
  declare targetType: string;
  declare targetId: number;
  declare userId: number;
  declare user?: NonAttribute<User>;
}

export declare const user: User;
export declare const event: Event;
export declare const participation: Participation;
export declare const category: Category;
export declare const post: Post;
export declare const comment: Comment;
