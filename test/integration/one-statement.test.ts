/** What the misses of one tick cost: the exact number of statements for each kind, and what breaks a statement apart. */
import assert from 'node:assert/strict';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { after, before, beforeEach, describe, it } from 'node:test';
import { DataTypes, Model, type CreationOptional, type ForeignKey, type InferAttributes, type InferCreationAttributes, type NonAttribute } from 'sequelize';
import {
  BatchCacheQuery,
  InstanceCache,
  QuerysetCache,
  QuerysetCountCache,
  QuerysetExistsCache,
  RelatedInstanceCache,
  RelatedQuerysetCache,
  UnsupportedResultError,
  withCache,
} from '../../src/index.js';
import { backendNames, openBackend, type Backend } from '../support/backends.js';
import { costing } from '../support/cost.js';

const users = 50;

for (const name of backendNames) {
  describe(`misses of one tick on ${name}`, () => {
    class User extends Model<InferAttributes<User>, InferCreationAttributes<User>> {
      declare id: CreationOptional<number>;
      declare name: string;
      declare posts?: NonAttribute<Post[]>;
    }
    class Post extends Model<InferAttributes<Post>, InferCreationAttributes<Post>> {
      declare id: CreationOptional<number>;
      declare title: string;
      declare slug: string;
      declare userId: ForeignKey<number>;
      declare user?: NonAttribute<User>;
    }
    class Tag extends Model<InferAttributes<Tag>, InferCreationAttributes<Tag>> {
      declare id: CreationOptional<number>;
      declare name: string;
    }
    class Latest extends QuerysetCache<Post, ['user']> {
      static model = Post;
      static keyFields = ['user'] as const;
      static order = [['title', 'DESC']] as const;
      static limit = 2;
    }
    class Count extends QuerysetCountCache<Post, ['user']> {
      static model = Post;
      static keyFields = ['user'] as const;
    }
    class Total extends QuerysetCountCache<Post, []> {
      static model = Post;
      static keyFields = [] as const;
    }
    class Exists extends QuerysetExistsCache<Post, ['user']> {
      static model = Post;
      static keyFields = ['user'] as const;
    }
    class Titles extends QuerysetCache<Post, ['user']> {
      static model = Post;
      static keyFields = ['user'] as const;
      override async getResult({ user }: { user: number | null }): Promise<string[]> {
        return (await this.queryset().findAll({ where: { userId: user as number }, order: ['id'] })).map(({ title }) => title);
      }
      override async getResults(keys: readonly { user: number | null }[]): Promise<string[][]> {
        calls.push(keys.length);
        if (mistake === 'rejects') throw new Error('not today');
        const rows = await this.queryset().findAll({ where: { userId: keys.map(({ user }) => user as number) }, order: ['id'] });
        const found = keys.map(({ user }) => rows.filter(({ userId }) => userId === user).map(({ title }) => title));
        return mistake === 'too few' ? found.slice(1) : found;
      }
    }
    class OneEach extends QuerysetCache<Post, ['user']> {
      static model = Post;
      static keyFields = ['user'] as const;
      override getResult({ user }: { user: number | null }): Promise<number> {
        return this.queryset().count({ where: { userId: user as number } });
      }
    }
    class FirstPost extends InstanceCache<Post, ['user']> {
      static model = Post;
      static keyFields = ['user'] as const;
      override getInstance({ user }: { user: number | null }): Promise<Post | null> {
        return this.queryset().findOne({ where: { userId: user as number }, order: ['id'] });
      }
      override async getInstances(keys: readonly { user: number | null }[]): Promise<(Post | null)[]> {
        const rows = await this.queryset().findAll({ where: { userId: keys.map(({ user }) => user as number) }, order: ['id'] });
        return keys.map(({ user }) => rows.find(({ userId }) => userId === user) ?? null);
      }
    }
    class PostsOfUser extends RelatedQuerysetCache<User, Post, ['id']> {
      static model = User;
      static keyFields = ['id'] as const;
      static relation = 'posts';
    }
    class TagsOfUser extends RelatedQuerysetCache<User, Tag, ['id']> {
      static model = User;
      static keyFields = ['id'] as const;
      static relation = 'tags';
    }
    class AuthorBySlug extends RelatedInstanceCache<Post, User, ['slug']> {
      static model = Post;
      static keyFields = ['slug'] as const;
      static relation = 'user';
    }
    class UserPage extends InstanceCache<User, ['id']> {
      static model = User;
      static keyFields = ['id'] as const;
      static include = ['posts'] as const;
    }
    const userCache = withCache(User, { keys: ['id'], caches: [PostsOfUser, TagsOfUser, UserPage] });
    const postCache = withCache(Post, { keys: ['slug', 'title'], filters: ['user', []], caches: [Latest, Count, Total, Exists, Titles, OneEach, FirstPost, AuthorBySlug] });
    const calls: number[] = [];
    let mistake: 'rejects' | 'too few' | undefined;
    let backend: Backend;

    before(async () => {
      backend = await openBackend(name);
      const { sequelize } = backend;
      const options = { sequelize, timestamps: false };
      const id = { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true } as const;
      User.init({ id, name: DataTypes.STRING }, options);
      Post.init({ id, title: DataTypes.STRING, slug: { type: DataTypes.STRING, unique: true } }, options);
      Tag.init({ id, name: DataTypes.STRING }, options);
      User.hasMany(Post, { as: 'posts', foreignKey: 'userId' });
      Post.belongsTo(User, { as: 'user', foreignKey: 'userId' });
      User.belongsToMany(Tag, { as: 'tags', through: 'UserTags', timestamps: false });
      await sequelize.sync();
      await User.bulkCreate(Array.from({ length: users }, (_, at) => ({ id: at + 1, name: `u${String(at + 1)}` })));
      await Post.bulkCreate(
        Array.from({ length: users * 3 }, (_, at) => ({ title: `t${String(at % 7)}`, slug: `s${String(at)}`, userId: (at % users) + 1 })).filter(({ userId }) => userId % 9 !== 0),
      );
      const tags = await Tag.bulkCreate(Array.from({ length: 5 }, (_, at) => ({ id: at + 1, name: `n${String(at)}` })));
      const link = sequelize.models.UserTags as unknown as { bulkCreate(rows: object[]): Promise<unknown> };
      await link.bulkCreate(Array.from({ length: users }, (_, at) => ({ UserId: at + 1, TagId: (tags[at % 5] as Tag).id })));
      backend.setup();
    });
    after(() => backend.close());
    beforeEach(async () => {
      mistake = undefined;
      calls.length = 0;
      await userCache.clear();
      await postCache.clear();
    });

    const byUser = { order: ['id'] as ['id'] };
    const ids = (rows: readonly { readonly id: number }[]): number[] => rows.map(({ id }) => id);
    const kinds: readonly (readonly [what: string, statements: number, ask: (user: number) => Promise<unknown>, expected: (user: number) => Promise<unknown>])[] = [
      ['rows by primary key', 1, async (id) => (await userCache.get({ id })).name, (id) => Promise.resolve(`u${String(id)}`)],
      ['rows by a unique key', 1, async (at) => (await postCache.getOrNone({ slug: `s${String(at)}` }))?.id, async (at) => (await Post.findOne({ where: { slug: `s${String(at)}` } }))?.id],
      [
        'rows by a key that several have', 1,
        async (at) => (await postCache.getOrNone({ title: `t${String(at)}` }))?.id,
        async (at) => (await Post.findOne({ where: { title: `t${String(at)}` }, ...byUser }))?.id,
      ],
      ['lists', 1, async (user) => ids(await postCache.filter({ user })), async (userId) => ids(await Post.findAll({ where: { userId }, ...byUser }))],
      [
        'lists with order and limit', 1,
        async (user) => ids(await new Latest(user).resolve()),
        async (userId) => ids(await Post.findAll({ where: { userId }, order: [['title', 'DESC'], ['id', 'ASC']], limit: 2 })),
      ],
      ['counts', 1, (user) => new Count(user).resolve(), (userId) => Post.count({ where: { userId } })],
      ['the count of the table', 1, () => new Total().resolve(), () => Post.count()],
      ['the table', 1, async () => ids(await postCache.filter({})), async () => ids(await Post.findAll(byUser))],
      ['existence', 1, (user) => new Exists(user).resolve(), async (userId) => (await Post.count({ where: { userId } })) > 0],
      ['getResults', 1, (user) => new Titles(user).resolve(), async (userId) => (await Post.findAll({ where: { userId }, ...byUser })).map(({ title }) => title)],
      ['getResult without getResults', users, (user) => new OneEach(user).resolve(), (userId) => Post.count({ where: { userId } })],
      ['getInstances', 1, async (user) => (await new FirstPost(user).resolve())?.id, async (userId) => (await Post.findOne({ where: { userId }, ...byUser }))?.id],
      ['a relation to many', 2, async (user) => ids(await new PostsOfUser(user).resolve()), async (userId) => ids(await Post.findAll({ where: { userId }, ...byUser }))],
      ['a relation through a third model', 3, async (user) => ids(await new TagsOfUser(user).resolve()), (user) => Promise.resolve([((user - 1) % 5) + 1])],
      ['a relation to one', 2, async (at) => (await new AuthorBySlug(`s${String(at)}`).resolve())?.id, async (at) => (await Post.findOne({ where: { slug: `s${String(at)}` } }))?.userId],
      [
        'include', 2,
        async (user) => ids((await new UserPage(user).resolve()).posts ?? []),
        async (id) => ids(((await User.findOne({ where: { id }, include: 'posts', order: [['posts', 'id', 'ASC']] }))?.posts) ?? []),
      ],
    ];

    for (const [what, statements, ask, expected] of kinds) {
      it(`${what}: ${String(statements)} statement${statements === 1 ? '' : 's'} for ${String(users)} lookups`, async () => {
        const asked = Array.from({ length: users }, (_, at) => at + 1);
        const found = await costing(backend, { sql: statements }, () => Promise.all(asked.map(ask)));
        assert.deepEqual(found, await Promise.all(asked.map(expected)));
        assert.deepEqual(await costing(backend, { sql: 0 }, () => Promise.all(asked.map(ask))), found);
      });
    }

    it('filterMany and a BatchCacheQuery of many lists: one statement', async () => {
      const asked = Array.from({ length: users }, (_, at) => ({ userId: at + 1 }));
      const found = await costing(backend, { sql: 1 }, () => postCache.filterMany(asked));
      assert.deepEqual(found.map(ids), await Promise.all(asked.map(async (where) => ids(await Post.findAll({ where, ...byUser })))));
      await postCache.clear();
      const queries = Object.fromEntries(asked.map((key) => [`of${String(key.userId)}`, postCache.filterQuery(key)]));
      const batch = await costing(backend, { sql: 1 }, () => new BatchCacheQuery(queries).get());
      assert.deepEqual(Object.values(batch).map((rows) => ids(rows)), found.map(ids));
      assert.deepEqual(await postCache.filterMany([]), []);
      await postCache.clear();
      assert.deepEqual(await postCache.filterMany([{ user: 1 }], { cacheOnly: true }), [undefined]);
    });

    it('a call of getResults that rejects is made one by one, and one that leaves an answer out is an error', async () => {
      mistake = 'rejects';
      const found = await costing(backend, { sql: 2 }, () => Promise.all([1, 2].map((user) => new Titles(user).resolve())));
      assert.equal(found.length, 2);
      assert.deepEqual(calls, [2]);
      await postCache.clear();
      mistake = 'too few';
      await assert.rejects(Promise.all([1, 2].map((user) => new Titles(user).resolve())), (error: unknown) => {
        assert.ok(error instanceof UnsupportedResultError);
        assert.equal(error.message, 'Titles.getResults must resolve to a list with one answer for each of the key values, in their order (2 here); received a list of 1.');
        return true;
      });
    });

    it('a value that the database refuses fails alone, and is found by few statements', async () => {
      const refused = 't-refused';
      backend.sequelize.addHook('beforeQuery', 'refuse', (_: unknown, query: unknown) => {
        const given = query as { sql?: string; run(sql: string, parameters?: unknown): Promise<unknown> };
        const { run } = given;
        given.run = (sql, parameters) => run.call(given, sql.includes(refused) ? `${sql.replace(/;$/, '')} AND no_such_column = 1` : sql, parameters);
      });
      try {
        const titles = [...Array.from({ length: 31 }, (_, at) => `t${String(at)}`), refused];
        backend.reset();
        const settled = await Promise.allSettled(titles.map((title) => postCache.getOrNone({ title })));
        assert.deepEqual(settled.map(({ status }) => status), titles.map((title) => (title === refused ? 'rejected' : 'fulfilled')));
        assert.deepEqual(
          settled.slice(0, 7).map((one) => (one.status === 'fulfilled' ? one.value?.id : undefined)),
          await Promise.all(titles.slice(0, 7).map(async (title) => (await Post.findOne({ where: { title }, ...byUser }))?.id)),
        );
        // Halves, down to one: of 32 lookups no more than two statements at each of five levels, and the first.
        assert.ok(backend.sql.filter((sql) => sql.includes('UNION ALL') || sql.includes('min(')).length <= 11, backend.sql.join('\n'));
      } finally {
        backend.sequelize.removeHook('beforeQuery', 'refuse');
      }
    });

    it('lists that would be too many rows together are loaded one by one', async () => {
      const big = 2;
      await Post.bulkCreate(Array.from({ length: 20_001 }, (_, at) => ({ title: 'many', slug: `big${String(at)}`, userId: (at % big) + 1 })));
      try {
        await postCache.clear();
        const loads: number[] = [];
        const onLoad = (message: unknown): void => {
          const { cache, lookups } = message as { readonly cache: string; readonly lookups: number };
          if (cache === 'Post[user]') loads.push(lookups);
        };
        subscribe('sequelize-flash:load', onLoad);
        backend.reset();
        const [first, second, third] = await postCache.filterMany([{ user: 1 }, { user: 2 }, { user: 3 }]);
        // On a busy machine the leases of ten thousand rows come too late, and rows are read again by their ids.
        assert.equal(backend.sql.filter((sql) => /WHERE.*`userId`/.test(sql)).length, 4, backend.sql.join('\n'));
        unsubscribe('sequelize-flash:load', onLoad);
        assert.deepEqual(loads, [1, 1, 1]);
        for (const [rows, userId] of [[first, 1], [second, 2], [third, 3]] as const) assert.equal(rows?.length, await Post.count({ where: { userId } }));
      } finally {
        await Post.destroy({ where: { title: 'many' } });
      }
    });
  });
}
