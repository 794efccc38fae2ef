/**
 * The routes: each reads from the cache, and writes with Sequelize as if there were none. What a
 * write changes is void before its promise resolves, so whoever is answered after it sees it.
 */
import { Router, type Request } from 'express';
import type { Sequelize, Transaction } from 'sequelize';
import { BatchCacheQuery, bumpVersion } from 'sequelize-flash';
import {
  caches,
  CommentCount,
  HasVoted,
  LatestPosts,
  LatestPostsOfAuthor,
  MostUsedTags,
  PostPage,
  PostsOfTag,
  ProfileOfUser,
  TagsOfPost,
  VoteCount,
} from './caches.js';
import { allTexts, HttpError, mayChange, onlyAdmins, signedIn, textList, texts, viewerOf } from './http.js';
import { Comment, models, Photo, Post, Profile, Tag, User, Vote, type Target } from './models.js';
import { frontPage } from './page.js';

/** Everything that a browser or a client asks for. */
export function routes(sequelize: Sequelize): Router {
  const router = Router();
  router.use(reading());
  router.use(writing(sequelize));
  router.use(targets());
  router.use('/admin', onlyAdmins, administration());
  return router;
}

// ---- Reading ----------------------------------------------------------------------------------

function reading(): Router {
  const router = Router();

  router.get('/', async (_request, response) => {
    // One round trip for all of it.
    const { posts, uses } = await new BatchCacheQuery({ posts: new LatestPosts(), uses: new MostUsedTags() }).get();
    // And one for what belongs to it. Lookups of the same tick leave together, without a batch.
    const [comments, tags] = await Promise.all([
      Promise.all(posts.map((post) => new CommentCount({ target: post }).resolve())),
      Tag.cache.getMany(uses.map(({ tagId }) => ({ id: tagId }))),
      Post.cache.prefetch(posts, ['author']),
    ]);
    response.type('html').send(
      frontPage({
        viewer: viewerOf(response)?.username ?? null,
        posts: posts.map(({ slug, title, author }, at) => ({ slug, title, author: author?.username ?? '', comments: comments[at] ?? 0 })),
        tags: uses.flatMap(({ posts: count }, at) => {
          const tag = tags[at];
          return tag ? [{ word: tag.word, posts: count }] : [];
        }),
      }),
    );
  });

  router.get('/users/:username', async (request, response) => {
    const { username } = request.params;
    const [user, profile] = await Promise.all([User.cache.getOr404({ username }), new ProfileOfUser(username).resolve()]);
    const posts = await new LatestPostsOfAuthor(user).resolve();
    response.json({ username: user.username, bio: profile?.bio ?? null, posts: posts.map(headline) });
  });

  router.get('/posts/:slug', async (request, response) => {
    const post = await pageOf(request.params.slug);
    const viewer = viewerOf(response);
    const [comments, votes, voted] = await Promise.all([
      new CommentCount({ target: post }).resolve(),
      new VoteCount({ target: post }).resolve(),
      viewer === null ? false : new HasVoted(viewer, { target: post }).resolve(),
    ]);
    response.json({
      ...headline(post),
      text: post.text,
      author: post.author?.username,
      tags: post.tags?.map(({ word }) => word).sort(),
      comments,
      votes,
      voted,
    });
  });

  router.get('/posts/:slug/tags', async (request, response) => {
    const tags = await new TagsOfPost(request.params.slug).resolve();
    response.json(tags.map(({ word }) => word).sort());
  });

  router.get('/tags/:word/posts', async (request, response) => {
    const { word } = request.params;
    const [tag, posts] = await Promise.all([Tag.cache.getOr404({ word }), new PostsOfTag(word).resolve()]);
    response.json({ word: tag.word, posts: posts.sort((a, b) => b.id - a.id).map(headline) });
  });

  router.get('/comments/:id', async (request, response) => {
    const comment = await Comment.cache.getOr404({ id: Number(request.params.id) });
    const [author, target] = await Promise.all([comment.getAuthor(), comment.getTarget()]);
    const on = target instanceof Post ? { post: target.slug } : { photo: comment.targetId };
    response.json({ id: comment.id, text: comment.text, author: author.username, on });
  });

  router.get('/photos/:id', async (request, response) => {
    const photo = await photoOf(request);
    response.json({ id: photo.id, caption: photo.caption, comments: await new CommentCount({ target: photo }).resolve() });
  });

  return router;
}

/** A post in a list. */
const headline = ({ slug, title }: Post): { slug: string; title: string } => ({ slug, title });

/** A post with its author and tags. A class of its own has `resolve`, which rejects with `DoesNotExist`. */
async function pageOf(slug: string): Promise<Post> {
  try {
    return await new PostPage(slug).resolve();
  } catch (error) {
    if (error instanceof Post.cache.DoesNotExist) throw new HttpError(404, `There is no post ${slug}.`);
    throw error;
  }
}

const postOf = ({ params }: Request<{ slug: string }>): Promise<Post> => Post.cache.getOr404({ slug: params.slug });
const photoOf = ({ params }: Request<{ id: string }>): Promise<Photo> => Photo.cache.getOr404({ id: Number(params.id) });

// ---- Writing ----------------------------------------------------------------------------------

function writing(sequelize: Sequelize): Router {
  const router = Router();

  router.post('/users', async (request, response) => {
    const { username } = allTexts(request, 'username');
    const { bio } = texts(request, 'bio');
    await sequelize.transaction(async (transaction) => {
      const user = await User.create({ username }, { transaction });
      if (bio !== undefined) await Profile.create({ userId: user.id, bio }, { transaction });
    });
    response.status(201).location(`/users/${username}`).json({ username });
  });

  /** Instances from the cache are instances as found: they can be saved. */
  router.patch('/me', async (request, response) => {
    const viewer = signedIn(response);
    const { username, bio } = texts(request, 'username', 'bio');
    await sequelize.transaction(async (transaction) => {
      if (username !== undefined) await viewer.update({ username }, { transaction });
      if (bio !== undefined) await Profile.upsert({ userId: viewer.id, bio }, { transaction });
    });
    response.json({ username: viewer.username });
  });

  router.post('/posts', async (request, response) => {
    const author = signedIn(response);
    const { slug, title, text } = allTexts(request, 'slug', 'title', 'text');
    const words = textList(request, 'tags') ?? [];
    await sequelize.transaction(async (transaction) => {
      const post = await Post.create({ slug, title, text, authorId: author.id }, { transaction });
      await tagWith(post, words, transaction);
    });
    response.status(201).location(`/posts/${slug}`).json({ slug });
  });

  router.patch('/posts/:slug', async (request, response) => {
    const post = await postOf(request);
    mayChange(response, post.authorId);
    const words = textList(request, 'tags');
    await sequelize.transaction(async (transaction) => {
      await post.update(texts(request, 'slug', 'title', 'text'), { transaction });
      if (words !== undefined) await tagWith(post, words, transaction);
    });
    response.json({ slug: post.slug });
  });

  router.delete('/posts/:slug', async (request, response) => {
    const post = await postOf(request);
    mayChange(response, post.authorId);
    await sequelize.transaction(async (transaction) => {
      // No foreign key leads from these to the post. Its tags' rows are deleted by the database itself.
      const where = { targetType: 'Post', targetId: post.id };
      await Comment.destroy({ where, transaction });
      await Vote.destroy({ where, transaction });
      await post.destroy({ transaction });
    });
    response.status(204).end();
  });

  router.post('/photos', async (request, response) => {
    signedIn(response);
    const { id } = await Photo.create(allTexts(request, 'caption'));
    response.status(201).location(`/photos/${id}`).json({ id });
  });

  router.patch('/comments/:id', async (request, response) => {
    const comment = await Comment.cache.getOr404({ id: Number(request.params.id) });
    mayChange(response, comment.authorId);
    await comment.update(allTexts(request, 'text'));
    response.json({ id: comment.id });
  });

  router.delete('/comments/:id', async (request, response) => {
    const comment = await Comment.cache.getOr404({ id: Number(request.params.id) });
    mayChange(response, comment.authorId);
    await comment.destroy();
    response.status(204).end();
  });

  return router;
}

/** Makes these the tags of a post. */
async function tagWith(post: Post, words: readonly string[], transaction: Transaction): Promise<void> {
  const tags: Tag[] = [];
  for (const word of new Set(words.map((one) => one.trim().toLowerCase()))) {
    const [tag] = await Tag.findOrCreate({ where: { word }, transaction });
    tags.push(tag);
  }
  await post.$set('tags', tags, { transaction });
}

// ---- On posts and photos ----------------------------------------------------------------------

/** Comments and votes, which are on either. */
function targets(): Router {
  const router = Router();
  const kinds: readonly (readonly [path: string, find: (request: Request<{ slug: string; id: string }>) => Promise<Target>])[] = [
    ['/posts/:slug', postOf],
    ['/photos/:id', photoOf],
  ];
  for (const [path, find] of kinds) {
    // The parameters are those of `path`, which is not known here as a literal.
    const targetOf = (request: Request): Promise<Target> => find(request as Request<{ slug: string; id: string }>);

    router.get(`${path}/comments`, async (request, response) => {
      const comments = await Comment.cache.thread(await targetOf(request));
      response.json(comments.map(({ id, text, author }) => ({ id, text, author: author?.username })));
    });

    router.post(`${path}/comments`, async (request, response) => {
      const author = signedIn(response);
      const target = await targetOf(request);
      const { text } = allTexts(request, 'text');
      const { id } = await Comment.create({ text, authorId: author.id, targetType: target.constructor.name, targetId: target.id });
      response.status(201).location(`/comments/${id}`).json({ id });
    });

    router.put(`${path}/vote`, async (request, response) => {
      const user = signedIn(response);
      const target = await targetOf(request);
      await Vote.findOrCreate({ where: { userId: user.id, targetType: target.constructor.name, targetId: target.id } });
      response.status(204).end();
    });

    router.delete(`${path}/vote`, async (request, response) => {
      const user = signedIn(response);
      const target = await targetOf(request);
      await Vote.destroy({ where: { userId: user.id, targetType: target.constructor.name, targetId: target.id } });
      response.status(204).end();
    });
  }
  return router;
}

// ---- Administration ---------------------------------------------------------------------------

function administration(): Router {
  const router = Router();

  /** The rows of PostPage are those of Post and of the models that it includes. */
  router.patch('/tags/:word', async (request, response) => {
    const tag = await Tag.cache.getOr404({ word: request.params.word });
    await tag.update(allTexts(request, 'word'));
    response.json({ word: tag.word });
  });

  /** For when what is computed has changed, or the data behind the cache's back: nothing old is answered by any process. */
  /**
   * For when what is computed has changed, or the data behind the cache's back: no process answers
   * with anything old from then on.
   */
  router.post('/bump', async (_request, response) => {
    await Promise.all(models.map((model) => bumpVersion(model)));
    response.status(204).end();
  });

  router.post('/bump/:cache', async (request, response) => {
    const cache = caches.get(request.params.cache);
    if (cache === undefined) throw new HttpError(404, `There is no cache ${request.params.cache}; there are ${[...caches.keys()].join(', ')}.`);
    await bumpVersion(cache);
    response.status(204).end();
  });

  return router;
}
