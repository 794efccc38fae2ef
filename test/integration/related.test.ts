/** What relations lead to: related rows, included instances, cached foreign keys. */
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import { DataTypes, Model, type CreationOptional, type ForeignKey, type InferAttributes, type InferCreationAttributes, type ModelStatic, type NonAttribute } from 'sequelize';
import { DoesNotExist, InstanceCache, NotInCacheError, registerCache, RelatedInstanceCache, RelatedQuerysetCache, withCache } from '../../src/index.js';
import { backendNames, openBackend, type Backend } from '../support/backends.js';
import { costing } from '../support/cost.js';
import { cached, type UntypedModel } from '../support/misuse-models.js';

for (const name of backendNames) {
  describe(`relations on ${name}`, () => {
    class Country extends Model<InferAttributes<Country>, InferCreationAttributes<Country>> {
      declare code: string;
      declare title: string;
    }
    class User extends Model<InferAttributes<User>, InferCreationAttributes<User>> {
      static readonly cache = withCache(User, { keys: ['id', 'name'], cachedForeignKeys: ['country'] });
      declare id: CreationOptional<number>;
      declare name: string;
      declare bossId: CreationOptional<number | null>;
      declare countryCode: ForeignKey<string | null>;
      declare country?: NonAttribute<Country | null>;
      declare profile?: NonAttribute<Profile | null>;
      declare posts?: NonAttribute<Post[]>;
      declare boss?: NonAttribute<User | null>;
      declare getCountry: (options?: object) => Promise<Country | null>;
    }
    class Profile extends Model<InferAttributes<Profile>, InferCreationAttributes<Profile>> {
      declare id: CreationOptional<number>;
      declare text: string;
      declare userId: ForeignKey<number | null>;
    }
    class Post extends Model<InferAttributes<Post>, InferCreationAttributes<Post>> {
      declare id: CreationOptional<number>;
      declare title: string;
      declare authorId: ForeignKey<number | null>;
      declare author?: NonAttribute<User | null>;
      declare tags?: NonAttribute<Tag[]>;
    }
    class Tag extends Model<InferAttributes<Tag>, InferCreationAttributes<Tag>> {
      declare id: CreationOptional<number>;
      declare word: string;
      declare deletedAt: CreationOptional<Date | null>;
    }
    class PostTag extends Model<InferAttributes<PostTag>, InferCreationAttributes<PostTag>> {
      declare postId: ForeignKey<number>;
      declare tagId: ForeignKey<number>;
      declare tag?: NonAttribute<Tag>;
      declare post?: NonAttribute<Post>;
      declare rank: CreationOptional<number | null>;
    }

    class CountryOfAuthor extends RelatedInstanceCache<Post, Country, ['id']> {
      static model = Post;
      static keyFields = ['id'] as const;
      static relation = 'author.country';
    }
    class ProfileOfUser extends RelatedInstanceCache<User, Profile, ['name']> {
      static model = User;
      static keyFields = ['name'] as const;
      static relation = 'profile';
    }
    class TagsOfPost extends RelatedQuerysetCache<Post, Tag, ['id']> {
      static model = Post;
      static keyFields = ['id'] as const;
      static relation = 'tags';
    }
    class TagsOfAuthor extends RelatedQuerysetCache<User, Tag, ['id']> {
      static model = User;
      static keyFields = ['id'] as const;
      static relation = 'posts.tags';
    }
    class PostsByTag extends RelatedQuerysetCache<PostTag, Post, ['tag']> {
      static model = PostTag;
      static keyFields = ['tag'] as const;
      static relation = 'post';
    }
    class PostPage extends InstanceCache<Post, ['id']> {
      static model = Post;
      static keyFields = ['id'] as const;
      static include = [{ association: 'author', include: ['country', 'profile', { association: 'posts' }] }, 'tags'] as const;
    }
    registerCache(CountryOfAuthor);
    registerCache(ProfileOfUser);
    registerCache(TagsOfPost);
    registerCache(TagsOfAuthor);
    registerCache(PostsByTag);
    registerCache(PostPage);

    let backend: Backend;
    let bill: User;
    let post: Post;
    let other: Post;
    let tags: Tag[];

    before(async () => {
      backend = await openBackend(name);
      const { sequelize } = backend;
      const id = { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true } as const;
      const plain = { sequelize, timestamps: false };
      Country.init({ code: { type: DataTypes.STRING(2), primaryKey: true }, title: DataTypes.STRING }, plain);
      User.init({ id, name: { type: DataTypes.STRING, unique: true }, bossId: DataTypes.INTEGER }, plain);
      Profile.init({ id, text: DataTypes.STRING }, plain);
      Post.init({ id, title: DataTypes.STRING }, plain);
      Tag.init({ id, word: DataTypes.STRING, deletedAt: DataTypes.DATE }, { sequelize, paranoid: true, createdAt: false, updatedAt: false });
      PostTag.init({ rank: DataTypes.INTEGER }, plain);
      User.belongsTo(Country, { as: 'country', foreignKey: 'countryCode' });
      User.belongsTo(User, { as: 'boss', foreignKey: 'bossId', constraints: false });
      User.hasOne(Profile, { as: 'profile', foreignKey: 'userId' });
      User.hasMany(Post, { as: 'posts', foreignKey: 'authorId' });
      Post.belongsTo(User, { as: 'author', foreignKey: 'authorId' });
      Post.belongsToMany(Tag, { as: 'tags', through: PostTag, foreignKey: 'postId', otherKey: 'tagId' });
      Tag.belongsToMany(Post, { as: 'posts', through: PostTag, foreignKey: 'tagId', otherKey: 'postId' });
      PostTag.belongsTo(Tag, { as: 'tag', foreignKey: 'tagId' });
      PostTag.belongsTo(Post, { as: 'post', foreignKey: 'postId' });
      await sequelize.sync();
      backend.setup();
      await Country.bulkCreate([
        { code: 'no', title: 'Norway' },
        { code: 'fi', title: 'Finland' },
      ]);
    });
    after(() => backend.close());
    let users = 0;
    beforeEach(async () => {
      bill = await User.create({ name: `bill ${String((users += 1))}`, countryCode: 'no' });
      await Profile.create({ userId: bill.id, text: 'hello' });
      post = await Post.create({ title: 'first', authorId: bill.id });
      other = await Post.create({ title: 'other', authorId: bill.id });
      await Tag.bulkCreate(['sea', 'walk', 'rain'].map((word) => ({ word })));
      tags = (await Tag.findAll({ order: [['id', 'DESC']], limit: 3 })).reverse();
      await PostTag.bulkCreate([
        { postId: post.id, tagId: tags[0]!.id, rank: 1 },
        { postId: post.id, tagId: tags[1]!.id },
        { postId: other.id, tagId: tags[1]!.id },
      ]);
    });

    const plainPage = (): Promise<Post | null> =>
      Post.findOne({
        where: { id: post.id },
        include: [{ association: 'author', include: [{ association: 'country' }, { association: 'profile' }, { association: 'posts' }] }, { association: 'tags' }],
      });
    /** What instances hold, lists in the order of their keys. */
    const page = (found: Post | null): unknown => {
      const data = found?.toJSON() as { author: { posts: { id: number }[] } | null; tags: { id: number }[] } | undefined;
      data?.author?.posts.sort((a, b) => a.id - b.id);
      data?.tags.sort((a, b) => a.id - b.id);
      return data;
    };
    const words = (found: readonly Tag[]): string[] => found.map(({ word }) => word).sort();
    /** One more read, warm: no SQL, and one round trip. */
    async function warm<T>(read: () => Promise<T>): Promise<T> {
      await backend.store.quiet();
      const answer = await costing(backend, { sql: 0 }, read);
      if (name === 'mariadb') assert.equal(backend.store.roundTrips, 1);
      return answer;
    }

    it('one instance over two steps, fresh after a write to any row on the way', async () => {
      const read = async (): Promise<string | undefined> => (await new CountryOfAuthor(post.id).resolve())?.title;
      assert.equal(await read(), 'Norway');
      assert.equal(await warm(read), 'Norway');
      await Country.update({ title: 'Noreg' }, { where: { code: 'no' } });
      assert.equal(await read(), 'Noreg');
      await bill.update({ countryCode: 'fi' });
      assert.equal(await read(), 'Finland');
      await post.update({ authorId: null });
      assert.equal(await read(), undefined);
      await Country.update({ title: 'Norway' }, { where: { code: 'no' } });
    });

    it('hasOne', async () => {
      const read = async (): Promise<string | undefined> => (await new ProfileOfUser(bill.name).resolve())?.text;
      assert.equal(await read(), 'hello');
      assert.equal(await warm(read), 'hello');
      await Profile.destroy({ where: { userId: bill.id } });
      assert.equal(await read(), undefined);
      await Profile.create({ userId: bill.id, text: 'again' });
      assert.equal(await read(), 'again');
    });

    it('the row that a relation starts from is the one that the model is looked up by', async () => {
      const both = (): Promise<unknown> => Promise.all([User.cache.get({ name: bill.name }), new ProfileOfUser(bill.name).resolve()]);
      // The user, and the profile.
      await costing(backend, { sql: 2 }, both);
      await warm(both);
      await User.update({ bossId: bill.id }, { where: { id: bill.id } });
      await User.cache.get({ name: bill.name });
      await costing(backend, { sql: 0 }, () => new ProfileOfUser(bill.name).resolve());
    });

    it('what relates to a row of a unique key starts from the row, not from a list of one', async () => {
      await new PostPage(post.id).resolve();
      assert.deepEqual(words(await costing(backend, { sql: 0 }, () => new TagsOfPost(post.id).resolve())), ['sea', 'walk']);
      // The page has the author with his posts, and the tags of one of them: what is not known is which the other one has.
      assert.deepEqual(words(await costing(backend, { sql: 1 }, () => new TagsOfAuthor(bill.id).resolve())), ['sea', 'walk']);
      assert.deepEqual(await new TagsOfPost(0).resolve(), []);
      await costing(backend, { sql: 0 }, () => assert.rejects(new PostPage(0).resolve(), DoesNotExist));
      await post.destroy();
      assert.deepEqual(await new TagsOfPost(post.id).resolve(), []);
    });

    it('belongsToMany in both directions, and over its through model', async () => {
      const read = async (): Promise<unknown> => [
        words(await new TagsOfPost(post.id).resolve()),
        words(await new TagsOfAuthor(bill.id).resolve()),
        (await new PostsByTag({ tag: tags[1]! }).resolve()).map(({ title }) => title).sort(),
      ];
      assert.deepEqual(await read(), [['sea', 'walk'], ['sea', 'walk'], ['first', 'other']]);
      assert.deepEqual(await costing(backend, { sql: 0 }, read), [['sea', 'walk'], ['sea', 'walk'], ['first', 'other']]);
      await (other as unknown as { addTag(tag: Tag): Promise<void> }).addTag(tags[2]!);
      assert.deepEqual(await read(), [['sea', 'walk'], ['rain', 'sea', 'walk'], ['first', 'other']]);
      await (post as unknown as { setTags(tags: Tag[]): Promise<void> }).setTags([tags[2]!]);
      assert.deepEqual(await read(), [['rain'], ['rain', 'walk'], ['other']]);
      await tags[2]!.destroy();
      assert.deepEqual(await read(), [[], ['walk'], ['other']]);
      await tags[2]!.restore();
      assert.deepEqual(await read(), [['rain'], ['rain', 'walk'], ['other']]);
      await warm(() => new TagsOfAuthor(bill.id).resolve());
    });

    it('include: the instances that findOne delivers, from one round trip', async () => {
      const read = (): Promise<Post> => new PostPage(post.id).resolve();
      assert.deepEqual(page(await read()), page(await plainPage()));
      const cached = await warm(read);
      const found = (await plainPage())!;
      assert.deepEqual(page(cached), page(found));
      assert.ok(cached.author instanceof User && cached.author.country instanceof Country && cached.tags?.[0] instanceof Tag);
      const links = ({ tags: some }: Post): unknown[] =>
        (some as unknown as { id: number; PostTag: Model }[]).sort((a, b) => a.id - b.id).map(({ PostTag: link }) => [link instanceof PostTag, link.get({ plain: true })]);
      assert.deepEqual(links(cached), links(found));
      assert.equal(cached.changed(), false);
      assert.equal(cached.author.changed(), false);
      assert.deepEqual(cached.get({ plain: true }), cached.toJSON());
      await cached.author.update({ name: `renamed ${cached.author.name}` });
      await cached.update({ title: 'second' });
      assert.deepEqual(page(await read()), page(await plainPage()));
      await cached.reload();
      assert.equal(cached.author.name, (await plainPage())!.author!.name);
      // Any row on the way.
      await Profile.update({ text: 'new' }, { where: { userId: bill.id } });
      await Post.create({ title: 'third', authorId: bill.id });
      await PostTag.destroy({ where: { postId: post.id, tagId: tags[0]!.id } });
      assert.deepEqual(page(await read()), page(await plainPage()));
      await post.update({ authorId: null });
      assert.deepEqual(page(await read()), page(await plainPage()));
      await post.destroy();
      await assert.rejects(read(), DoesNotExist);
    });

    it('include in a transaction is one statement of it', async () => {
      await new PostPage(post.id).resolve();
      await backend.sequelize.transaction(async (transaction) => {
        await bill.update({ name: `inside ${bill.name}` }, { transaction });
        const inside = await costing(backend, { sql: 1, gets: 0 }, () => new PostPage(post.id).resolve({ transaction }));
        assert.match(inside.author!.name, /^inside/);
        const related = await new CountryOfAuthor(post.id).resolve({ transaction });
        assert.equal(related?.title, 'Norway');
      });
      assert.match((await new PostPage(post.id).resolve()).author!.name, /^inside/);
    });

    it('cacheOnly asks no database', async () => {
      await costing(backend, { sql: 0 }, () => assert.rejects(new PostPage(post.id).resolve({ cacheOnly: true }), NotInCacheError));
      await new PostPage(post.id).resolve();
      await costing(backend, { sql: 0 }, () => new PostPage(post.id).resolve({ cacheOnly: true }));
    });

    it('a cached foreign key: its getter reads the cache, unless it is asked for something else', async () => {
      await bill.getCountry();
      const country = await costing(backend, { sql: 0 }, () => bill.getCountry());
      assert.equal(country?.title, 'Norway');
      await Country.update({ title: 'Noreg' }, { where: { code: 'no' } });
      assert.equal((await bill.getCountry())?.title, 'Noreg');
      await costing(backend, { sql: 1 }, () => bill.getCountry({ attributes: ['code'] }));
      await backend.sequelize.transaction(async (transaction) => {
        await costing(backend, { sql: 1, gets: 0 }, () => bill.getCountry({ transaction }));
      });
      bill.countryCode = null;
      assert.equal(await bill.getCountry(), null);
      // Loaded without the column, it cannot say what it refers to.
      const partial = await User.findByPk(bill.id, { attributes: ['id'], rejectOnEmpty: true });
      assert.equal(await partial.getCountry(), null);
      await Country.update({ title: 'Norway' }, { where: { code: 'no' } });
    });

    it('prefetch: many at once, laid on the instances as include does', async () => {
      const people = await User.bulkCreate(['a', 'b', 'c'].map((letter) => ({ name: `${letter} ${bill.name}`, countryCode: letter === 'c' ? null : letter === 'a' ? 'no' : 'fi' })));
      const found = await User.findAll({ where: { name: people.map((one) => one.name) }, order: ['id'] });
      const included = await User.findAll({ where: { name: people.map((one) => one.name) }, order: ['id'], include: 'country' });
      await User.cache.prefetch(found, ['country']);
      await backend.store.quiet();
      const again = await costing(backend, { sql: 0 }, () => User.cache.prefetch(found, ['country']));
      if (name === 'mariadb') assert.equal(backend.store.roundTrips, 1);
      assert.deepEqual(again.map((user) => user.country?.title), ['Norway', 'Finland', undefined]);
      assert.deepEqual(found.map((user) => user.toJSON()), included.map((user) => user.toJSON()));
      await found[0]!.update({ name: `saved ${found[0]!.name}` });
      await found[0]!.reload();
      assert.equal(found[0]!.country?.title, 'Norway');
    });

    it('prefetch takes what getMany returns: null and undefined stay in their places', async () => {
      const [one, two] = await User.bulkCreate(['x', 'y'].map((letter) => ({ name: `${letter} ${bill.name}`, countryCode: 'no' })));
      const keys = [one!.id, -1, two!.id].map((id) => ({ id }));
      await User.cache.getMany(keys);
      await backend.store.quiet();
      const found = await User.cache.getMany([...keys, { name: `nobody ${bill.name}` }], { cacheOnly: true });
      assert.deepEqual(found.map((user) => user?.id), [one!.id, undefined, two!.id, undefined]);
      assert.deepEqual([found[1], found[3]], [null, undefined], 'one that does not exist, one that is not cached');
      await User.cache.prefetch(found, ['country']);
      await backend.store.quiet();
      const again = await costing(backend, { sql: 0 }, () => User.cache.prefetch(found, ['country']));
      assert.equal(again, found);
      assert.deepEqual(again.map((user) => user?.country?.title), ['Norway', undefined, 'Norway', undefined]);
      assert.deepEqual(await costing(backend, { sql: 0, gets: 0 }, () => User.cache.prefetch([null, undefined], ['country'])), [null, undefined]);
    });
  });

  describe(`associations of a class that a model made (${name})`, () => {
    const made: Readonly<Record<string, (model: ModelStatic<Model>) => ModelStatic<Model>>> = {
      'schema(…)': (model) => model.schema('other'),
      'scope(…)': (model) => model.scope({ where: { title: 'a' } }),
      'unscoped()': (model) => model.unscoped(),
    };
    for (const [how, make] of Object.entries(made)) {
      it(`${how}: its getter reads the cache, and the model goes on`, async () => {
        const backend = await openBackend(name);
        try {
          const Shop = backend.sequelize.define('Shop', { title: DataTypes.STRING }, { timestamps: false });
          const Offer = backend.sequelize.define('Offer', { title: DataTypes.STRING }, { timestamps: false });
          const Made = make(Offer);
          Made.belongsTo(Shop, { as: 'shop', foreignKey: 'shopId', constraints: false });
          cached(Shop, { keys: ['id'] });
          cached(Offer, { keys: ['id'], cachedForeignKeys: ['shop'] });
          backend.setup();
          await Shop.sync();
          await Made.sync();
          const shop = await Shop.create({ title: 'first' });
          await Made.create({ title: 'a', shopId: shop.get('id') });
          const found = (await Made.findOne({ rejectOnEmpty: true })) as Model & { getShop(): Promise<Model | null> };
          for (const title of ['first', 'second']) {
            await shop.update({ title });
            assert.equal((await found.getShop())?.get('title'), title);
            await backend.store.quiet();
            assert.equal((await costing(backend, { sql: 0 }, () => found.getShop()))?.get('title'), title);
          }
          // Sequelize does not add the foreign key to the table that the model itself has in another schema.
          if (how === 'schema(…)') return;
          const offer = await Offer.create({ title: 'a' });
          const cache = (Offer as unknown as UntypedModel).cache;
          assert.equal((await cache.get({ id: offer.get('id') })).get('title'), 'a');
        } finally {
          await backend.close();
        }
      });
    }
  });
}
