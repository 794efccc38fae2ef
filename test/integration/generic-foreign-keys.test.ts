/** Generic foreign keys: a pair of columns, type and id, as one key field, and `getTarget()`. */
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import { DataTypes } from 'sequelize';
import { UnknownTargetTypeError } from '../../src/index.js';
import { backendNames, openBackend, type Backend } from '../support/backends.js';
import { coldThenWarm, costing } from '../support/cost.js';
import { cached, type UntypedModel } from '../support/misuse-models.js';
import { defineSeedModels, type SeedModels } from '../support/seed-models.js';

for (const name of backendNames) {
  describe(`generic foreign keys (${name})`, () => {
    let backend: Backend;
    let models: SeedModels;
    let Tag: UntypedModel;
    let user: InstanceType<SeedModels['User']>;
    let post: InstanceType<SeedModels['Post']>;
    let photo: InstanceType<SeedModels['Photo']>;
    let round = 0;

    before(async () => {
      backend = await openBackend(name);
      models = defineSeedModels(backend.sequelize);
      // A target whose key is a text, and ids of several kinds in one text column.
      const Country = backend.sequelize.define(
        'Country',
        { code: { type: DataTypes.STRING(2), primaryKey: true }, name: DataTypes.STRING },
        { timestamps: false },
      );
      const Plain = backend.sequelize.define('Plain', { name: DataTypes.STRING }, { timestamps: false });
      const tag = backend.sequelize.define(
        'Tag',
        { label: DataTypes.STRING(40), ofType: { type: DataTypes.STRING(40), field: 'of_type' }, ofId: { type: DataTypes.STRING(40), field: 'of_id' } },
        { timestamps: false },
      );
      cached(Country, { keys: ['code'] });
      cached(tag, {
        keys: ['of', ['of', 'label']],
        genericForeignKeys: { of: { type: 'ofType', id: 'ofId', models: () => [Country, models.Post, Plain] } },
      });
      Tag = tag as unknown as UntypedModel;
      backend.setup();
      await backend.sequelize.sync();
    });
    after(() => backend.close());

    beforeEach(async () => {
      round += 1;
      user = await models.User.create({ username: `user${round}` });
      post = await models.Post.create({ title: `post ${round}` });
      photo = await models.Photo.create({ title: `photo ${round}` });
    });

    const vote = (values: { targetType: string | null; targetId: number | null; value?: number }) =>
      models.Vote.create({ userId: user.id, value: 1, ...values });

    it('by an instance, by a pair, and by a pair with the id as text: one entry', async () => {
      const { Vote } = models;
      const created = await vote({ targetType: 'Post', targetId: post.id });
      const [, warm] = await coldThenWarm(backend, () => Vote.cache.get({ target: post }));
      assert.deepStrictEqual(warm, await Vote.findByPk(created.id));
      await costing(backend, { sql: 0, gets: 1 }, () => Vote.cache.get({ target: ['Post', post.id] }));
      await costing(backend, { sql: 0, gets: 1 }, () => Vote.cache.get({ target: ['Post', String(post.id)] }));
      assert.equal(Vote.cache.getKey({ target: post }), Vote.cache.getKey({ target: ['Post', post.id] }));
    });

    it('the same id of two types are two keys', async () => {
      const { Vote, Post, Photo } = models;
      const id = 10_000 + round;
      await Post.create({ id, title: 'a post' });
      await Photo.create({ id, title: 'a photo' });
      const onPost = await vote({ targetType: 'Post', targetId: id });
      assert.equal((await Vote.cache.get({ target: ['Post', id] })).id, onPost.id);
      assert.equal(await Vote.cache.getOrNone({ target: ['Photo', id] }), null);
      const onPhoto = await vote({ targetType: 'Photo', targetId: id });
      assert.equal((await Vote.cache.get({ target: ['Photo', id] })).id, onPhoto.id);
      assert.equal((await Vote.cache.get({ target: ['Post', id] })).id, onPost.id);
    });

    it('null: rows without target', async () => {
      const { Vote, VoteCacheOnUserTarget } = models;
      const [none] = await coldThenWarm(backend, () => Vote.cache.getOrNone({ target: null } as never));
      assert.equal(none, null);
      const created = await vote({ targetType: null, targetId: null });
      const [, found] = await coldThenWarm(backend, () => Vote.cache.getOrNone({ target: null } as never));
      assert.equal(found?.id, created.id);
      assert.equal((await new VoteCacheOnUserTarget(user, null).resolve()).id, created.id);
      assert.equal(await created.getTarget(), null);
      await created.destroy();
      assert.equal(await Vote.cache.getOrNone({ target: null } as never), null);
    });

    it('with another key field', async () => {
      const { Vote, VoteCacheOnUserTarget } = models;
      const other = await models.User.create({ username: `other${round}` });
      const mine = await vote({ targetType: 'Photo', targetId: photo.id });
      const [, warm] = await coldThenWarm(backend, () => new VoteCacheOnUserTarget(user, photo).resolve());
      assert.equal(warm.id, mine.id);
      await costing(backend, { sql: 0, gets: 1 }, () => Vote.cache.get({ user, target: photo }));
      await costing(backend, { sql: 0, gets: 1 }, () => Vote.cache.get({ target: ['Photo', photo.id], userId: user.id }));
      assert.equal(await Vote.cache.getOrNone({ user: other, target: photo }), null);
      await mine.update({ userId: other.id });
      assert.equal(await Vote.cache.getOrNone({ user, target: photo }), null);
      assert.equal((await new VoteCacheOnUserTarget(other, photo).resolve()).id, mine.id);
    });

    it('a message names the pair', async () => {
      await assert.rejects(models.Vote.cache.get({ target: ['Photo', photo.id] }), {
        message: `Vote { target: ['Photo', ${photo.id}] } does not exist.`,
      });
      await assert.rejects(new models.VoteCacheOnUserTarget(user, null).resolve(), {
        message: `Vote { user: ${user.id}, target: null } does not exist.`,
      });
    });

    it("a save that moves a row from one target to another voids both, also what a custom cache says of them", async () => {
      const { Vote, LatestVoteCacheOnTarget } = models;
      const latest = async (of: typeof post | typeof photo): Promise<number | null> =>
        (await new LatestVoteCacheOnTarget(of).resolve())?.id ?? null;
      const first = await vote({ targetType: 'Post', targetId: post.id });
      const second = await vote({ targetType: 'Post', targetId: post.id });
      assert.deepEqual([await latest(post), await latest(photo)], [second.id, null]);
      assert.deepEqual([await latest(post), await latest(photo)], [second.id, null]);
      assert.equal(await Vote.cache.getOrNone({ target: photo }), null);

      await second.update({ targetType: 'Photo', targetId: photo.id });
      assert.deepEqual([await latest(post), await latest(photo)], [first.id, second.id]);
      assert.equal((await Vote.cache.get({ target: photo })).id, second.id);

      // Both columns or one of them, by every way of writing.
      await Vote.update({ targetType: 'Post', targetId: post.id }, { where: { id: second.id } });
      assert.deepEqual([await latest(post), await latest(photo)], [second.id, null]);
      const loaded = await Vote.findByPk(second.id, { attributes: ['id'], rejectOnEmpty: true });
      await loaded.update({ targetType: 'Photo', targetId: photo.id });
      assert.deepEqual([await latest(post), await latest(photo)], [first.id, second.id]);
      const sibling = await models.Photo.create({ title: 'another one' });
      await second.reload();
      await second.update({ targetId: sibling.id });
      assert.deepEqual([await latest(photo), await latest(sibling)], [null, second.id]);

      const transaction = await backend.sequelize.transaction();
      await second.update({ targetType: null, targetId: null }, { transaction });
      if (name === 'mariadb') assert.equal(await latest(sibling), second.id, 'not committed yet');
      await transaction.commit();
      assert.equal(await latest(sibling), null);
      await first.destroy();
      assert.equal(await latest(post), null);
    });

    it("getTarget() reads through the target's cache: no statement when it is warm", async () => {
      const { Post, Vote } = models;
      const onPost = await vote({ targetType: 'Post', targetId: post.id });
      const onPhoto = await vote({ targetType: 'Photo', targetId: photo.id });
      const [cold, warm] = await coldThenWarm(backend, () => onPost.getTarget());
      assert.ok(cold instanceof Post);
      assert.deepStrictEqual(warm, await Post.findByPk(post.id));
      assert.ok((await onPhoto.getTarget()) instanceof models.Photo);
      // What the target's own cache has is used, and the other way round.
      await costing(backend, { sql: 0, gets: 1 }, () => Post.cache.get({ id: post.id }));
      await photo.update({ title: 'renamed' });
      await models.Photo.cache.get({ id: photo.id });
      const renamed = await costing(backend, { sql: 0, gets: 1 }, () => onPhoto.getTarget());
      assert.equal(renamed?.title, 'renamed');
      // From an instance out of the cache: two lookups, no statement.
      await Vote.cache.get({ id: onPost.id });
      const target = await costing(backend, { sql: 0, gets: 2 }, async () => (await Vote.cache.get({ id: onPost.id })).getTarget());
      assert.ok(target instanceof Post);
      // Targets of many, in one round trip.
      await costing(backend, { sql: 0, gets: 1 }, () => Promise.all([onPost.getTarget(), onPhoto.getTarget(), onPost.getTarget()]));
    });

    it('getTarget() sees every write of the target', async () => {
      const created = await vote({ targetType: 'Post', targetId: post.id });
      assert.equal((await created.getTarget())?.title, post.title);
      await models.Post.update({ title: 'second' }, { where: { id: post.id } });
      assert.equal((await created.getTarget())?.title, 'second');
      await post.destroy();
      assert.equal(await created.getTarget(), null);
      await models.Post.create({ id: post.id, title: 'third' });
      assert.equal((await created.getTarget())?.title, 'third');
    });

    it('getTarget() in a transaction reads in it', async () => {
      const created = await vote({ targetType: 'Post', targetId: post.id });
      await created.getTarget();
      const transaction = await backend.sequelize.transaction();
      await post.update({ title: 'uncommitted' }, { transaction });
      const getTarget = created.getTarget as unknown as (options: object) => Promise<typeof post | null>;
      assert.equal((await getTarget.call(created, { transaction }))?.title, 'uncommitted');
      await transaction.rollback();
      assert.equal((await created.getTarget())?.title, `post ${round}`);
    });

    it('a target without a cache is found in the database', async () => {
      const plain = (await (backend.sequelize.models.Plain as unknown as { create(values: object): Promise<unknown> }).create({
        name: 'plain',
      })) as { id: number };
      const tag = await create(Tag, { label: 'x', ofType: 'Plain', ofId: String(plain.id) });
      const found = await costing(backend, { sql: 1, gets: 0 }, () => tag.getOf());
      assert.equal((found as { name?: string } | null)?.name, 'plain');
    });

    it('ids of several kinds in a text column, columns with names of their own', async () => {
      const country = await create(backend.sequelize.models.Country as unknown as UntypedModel, { code: `${round % 10}x`, name: 'somewhere' });
      const onCountry = await create(Tag, { label: 'big', ofType: 'Country', ofId: `${round % 10}x` });
      const onPost = await create(Tag, { label: 'big', ofType: 'Post', ofId: String(post.id) });
      const [, found] = await coldThenWarm(backend, () => Tag.cache.get({ of: country }));
      assert.equal(found.get('id'), onCountry.get('id'));
      const [, other] = await coldThenWarm(backend, () => Tag.cache.get({ of: post, label: 'big' }));
      assert.equal(other.get('id'), onPost.get('id'));
      await costing(backend, { sql: 0, gets: 1 }, () => Tag.cache.get({ of: ['Post', post.id], label: 'big' }));
      const [, target] = await coldThenWarm(backend, () => onCountry.getOf());
      assert.equal((target as { name?: string } | null)?.name, 'somewhere');
      const [, second] = await coldThenWarm(backend, () => onPost.getOf());
      assert.ok(second instanceof models.Post);
      // An id that no row of the target can have.
      const lost = await create(Tag, { label: 'lost', ofType: 'Post', ofId: 'first' });
      assert.equal(await costing(backend, { sql: 0 }, () => lost.getOf()), null);
    });

    it('an unknown type is an error, in a lookup and in a row, and never a statement', async () => {
      const { Vote, LatestVoteCacheOnTarget } = models;
      const stray = await vote({ targetType: 'Users', targetId: 1 });
      const hostile = await vote({ targetType: 'Posts` WHERE 1; -- ', targetId: 1 });
      for (const use of [
        () => stray.getTarget(),
        () => hostile.getTarget(),
        () => Vote.cache.get({ target: ['Users', 1] }),
        () => Vote.cache.get({ target: ['posts', 1] }),
        () => Vote.cache.get({ target: user as never }),
        () => new LatestVoteCacheOnTarget(['toString', 1]).resolve(),
      ]) {
        await costing(backend, { sql: 0, gets: 0 }, () => assert.rejects(use, UnknownTargetTypeError));
      }
      // Rows with such a type are written and found otherwise.
      assert.equal((await Vote.cache.get({ id: stray.id })).targetType, 'Users');
      await stray.update({ targetType: 'Post', targetId: post.id });
      assert.equal((await Vote.cache.get({ target: post })).id, stray.id);
      await hostile.destroy();
    });
  });
}

interface Tagged {
  get(name: string): unknown;
  getOf(): Promise<unknown>;
}

async function create(model: UntypedModel, values: object): Promise<Tagged> {
  const instance = model.build(values);
  await instance.save();
  return instance as unknown as Tagged;
}
