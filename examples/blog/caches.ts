/**
 * What else is cached: lists, counts, related rows and results. `@registerCache` makes a class known
 * to invalidation as soon as this file is imported, in processes that only write, too.
 */
import { col, fn, literal } from 'sequelize';
import {
  InstanceCache,
  QuerysetCache,
  QuerysetCountCache,
  QuerysetExistsCache,
  registerCache,
  RelatedInstanceCache,
  RelatedQuerysetCache,
} from 'sequelize-flash';
import { Comment, Post, PostTag, type Profile, Tag, User, Vote } from './models.js';

/** A post with what its page shows: what `findOne({ include })` would find. */
@registerCache
export class PostPage extends InstanceCache<Post, ['slug']> {
  static model = Post;
  static keyFields = ['slug'] as const;
  static include = ['author', 'tags'] as const;
}

/** The newest posts of all. */
@registerCache
export class LatestPosts extends QuerysetCache<Post, []> {
  static model = Post;
  static keyFields = [] as const;
  static order = [['id', 'DESC']] as const;
  static limit = 10;
}

/** The newest posts of one author. */
@registerCache
export class LatestPostsOfAuthor extends QuerysetCache<Post, ['author']> {
  static model = Post;
  static keyFields = ['author'] as const;
  static order = [['id', 'DESC']] as const;
  static limit = 5;
}

@registerCache
export class ProfileOfUser extends RelatedInstanceCache<User, Profile, ['username']> {
  static model = User;
  static keyFields = ['username'] as const;
  static relation = 'profile';
}

@registerCache
export class TagsOfPost extends RelatedQuerysetCache<Post, Tag, ['slug']> {
  static model = Post;
  static keyFields = ['slug'] as const;
  static relation = 'tags';
}

/** The other direction. */
@registerCache
export class PostsOfTag extends RelatedQuerysetCache<Tag, Post, ['word']> {
  static model = Tag;
  static keyFields = ['word'] as const;
  static relation = 'posts';
}

@registerCache
export class CommentCount extends QuerysetCountCache<Comment, ['target']> {
  static model = Comment;
  static keyFields = ['target'] as const;
}

@registerCache
export class VoteCount extends QuerysetCountCache<Vote, ['target']> {
  static model = Vote;
  static keyFields = ['target'] as const;
}

@registerCache
export class HasVoted extends QuerysetExistsCache<Vote, ['user', 'target']> {
  static model = Vote;
  static keyFields = ['user', 'target'] as const;
}

/** How often a tag is used. */
export type TagUse = {
  readonly tagId: number;
  readonly posts: number;
};

/**
 * The tags that most posts have. While one reader counts anew, the others are given the former answer,
 * for half a minute at most: nobody waits for a sidebar. Their words are not part of it, but of the
 * rows of Tag, which `Tag.cache` has: a result depends on rows of its own model and on nothing else.
 */
@registerCache
export class MostUsedTags extends QuerysetCache<PostTag, []> {
  static model = PostTag;
  static keyFields = [] as const;
  static invalidation = 'DYNAMIC' as const;
  static allowtime = 30;

  override async getResult(): Promise<readonly TagUse[]> {
    const uses = await this.queryset().findAll({
      attributes: ['tagId', [fn('COUNT', col('postId')), 'posts']],
      group: 'tagId',
      order: [[literal('posts'), 'DESC'], 'tagId'],
      limit: 10,
    });
    return uses.map((use) => ({ tagId: use.tagId, posts: Number(use.get('posts')) }));
  }
}

/** The classes whose answers an administrator may void altogether, by name. */
export const caches = new Map(
  [PostPage, LatestPosts, LatestPostsOfAuthor, CommentCount, VoteCount, HasVoted, MostUsedTags].map((cache) => [cache.name, cache]),
);
