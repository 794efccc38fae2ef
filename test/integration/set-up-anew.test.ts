/** `close()` and `setupCache` again: what was put on models before belongs to the new cache. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { DataTypes, Model, type CreationOptional, type ForeignKey, type InferAttributes, type InferCreationAttributes, type NonAttribute } from 'sequelize';
import { withCache } from '../../src/index.js';
import { MemoryStore } from '../../src/stores/memory.js';
import { openBackend } from '../support/backends.js';
import { costing } from '../support/cost.js';

describe('set up anew', () => {
  it('getters of cached foreign keys and of generic ones read the cache that there is now, or the database', async () => {
    class Post extends Model<InferAttributes<Post>, InferCreationAttributes<Post>> {
      static readonly cache = withCache(Post, { keys: ['id'] });
      declare id: CreationOptional<number>;
      declare title: string;
    }
    class Comment extends Model<InferAttributes<Comment>, InferCreationAttributes<Comment>> {
      static readonly cache = withCache(Comment, {
        keys: ['id'],
        cachedForeignKeys: ['post'],
        genericForeignKeys: { target: { type: 'targetType', id: 'targetId', models: () => [Post] } },
      });
      declare id: CreationOptional<number>;
      declare postId: ForeignKey<number>;
      declare targetType: string;
      declare targetId: number;
      declare post?: NonAttribute<Post>;
      declare getPost: () => Promise<Post | null>;
      declare getTarget: () => Promise<Post | null>;
    }
    const backend = await openBackend('sqlite');
    try {
      const { sequelize } = backend;
      const id = { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true } as const;
      Post.init({ id, title: DataTypes.STRING }, { sequelize, timestamps: false });
      Comment.init({ id, targetType: DataTypes.STRING, targetId: DataTypes.INTEGER }, { sequelize, timestamps: false });
      Comment.belongsTo(Post, { as: 'post', foreignKey: 'postId' });
      await sequelize.sync();
      // A store that outlives the first cache, as memcached does.
      const store = new MemoryStore();
      const lasting = new Proxy(store, {
        get: (of, name) => (name === 'close' ? () => Promise.resolve() : typeof Reflect.get(of, name) === 'function' ? (Reflect.get(of, name) as () => unknown).bind(of) : Reflect.get(of, name)),
      });
      const first = backend.setup({ store: lasting, prefix: 'first' });
      const post = await Post.create({ title: 'old' });
      const comment = await Comment.create({ postId: post.id, targetType: 'Post', targetId: post.id });
      const titles = async (): Promise<unknown> => [(await comment.getPost())?.title, (await comment.getTarget())?.title];
      assert.deepEqual(await titles(), ['old', 'old']);
      assert.deepEqual(await costing(backend, { sql: 0 }, titles), ['old', 'old']);
      await first.close();
      await post.update({ title: 'between' });
      assert.deepEqual(await costing(backend, { sql: 2 }, titles), ['between', 'between'], 'from the database');
      backend.setup({ store: lasting, prefix: 'second' });
      assert.deepEqual(await titles(), ['between', 'between']);
      assert.deepEqual(await costing(backend, { sql: 0 }, titles), ['between', 'between']);
      await post.update({ title: 'new' });
      assert.deepEqual(await titles(), ['new', 'new']);
    } finally {
      await backend.close();
    }
  });
});

describe('a cached foreign key that is declared after setupCache, and wrong', () => {
  it("is left out: the getter stays the model's own, and all else goes on", async () => {
    const backend = await openBackend('sqlite');
    try {
      const { sequelize } = backend;
      class Post extends Model<InferAttributes<Post>, InferCreationAttributes<Post>> {
        static readonly cache = withCache(Post, { keys: ['id'] });
        declare id: CreationOptional<number>;
      }
      const id = { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true } as const;
      Post.init({ id }, { sequelize, timestamps: false });
      backend.setup();
      class Comment extends Model<InferAttributes<Comment>, InferCreationAttributes<Comment>> {
        declare id: CreationOptional<number>;
        declare post?: NonAttribute<Post>;
        getPost(): string {
          return 'of its own';
        }
      }
      Comment.init({ id }, { sequelize, timestamps: false });
      Comment.belongsTo(Post, { as: 'post', foreignKey: 'postId' });
      await sequelize.sync();
      const comments = withCache(Comment, { keys: ['id'], cachedForeignKeys: ['post'] });
      const post = await Post.create({});
      assert.equal((await Post.cache.get({ id: post.id })).id, post.id);
      const comment = await Comment.create({});
      const found = await comments.get({ id: comment.id });
      assert.equal(found.getPost(), 'of its own');
      const wrong = { name: 'InvalidOptionError', message: /the model has a method getPost of its own/ };
      await assert.rejects(comments.prefetch([found], ['post']), wrong);
    } finally {
      await backend.close();
    }
  });
});
