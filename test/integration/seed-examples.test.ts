/**
 * The examples of the source system's documentation of InstanceCache, translated one by one and
 * named after them, with what each must cost.
 */
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import { EmptyResultError } from 'sequelize';
import {
  CacheNotRegisteredError,
  DoesNotExist,
  DuplicateCacheNameError,
  InstanceCache,
  InvalidKeyFieldError,
  NotFoundError,
  registerCache,
} from '../../src/index.js';
import { backendNames, openBackend, type Backend } from '../support/backends.js';
import { coldThenWarm, costing } from '../support/cost.js';
import { defineSeedModels, type SeedModels } from '../support/seed-models.js';

for (const name of backendNames) {
  describe(`InstanceCache, the documented examples (${name})`, () => {
    let backend: Backend;
    let models: SeedModels;
    let user: InstanceType<SeedModels['User']>;
    let event: InstanceType<SeedModels['Event']>;
    let round = 0;
    let username: string;

    before(async () => {
      backend = await openBackend(name);
      models = defineSeedModels(backend.sequelize);
      backend.setup();
      await backend.sequelize.sync();
    });
    after(() => backend.close());

    beforeEach(async () => {
      round += 1;
      username = `bill${1992 + round}`;
      // Rows of their own for each example, so that its first read is a cold one.
      user = await models.User.create({ username });
      event = await models.Event.create({ name: 'launch' });
    });

    it('UserCacheOnUsername(username).resolve()', async () => {
      const { User, UserCacheOnUsername } = models;
      const [cold, warm] = await coldThenWarm(backend, () => new UserCacheOnUsername(username).resolve());
      const found = await User.findOne({ where: { username } });
      assert.ok(cold instanceof User && warm instanceof User);
      assert.deepStrictEqual(cold, found);
      assert.deepStrictEqual(warm, found);
      assert.notEqual(cold, warm);
    });

    it('UserCacheOnUsername(username=username).resolve()', async () => {
      const { User, UserCacheOnUsername } = models;
      const [, warm] = await coldThenWarm(backend, () => new UserCacheOnUsername({ username }).resolve());
      assert.deepStrictEqual(warm, await User.findOne({ where: { username } }));
      // By position and by name are the same query.
      await costing(backend, { sql: 0, gets: 1 }, () => new UserCacheOnUsername(username).resolve());
      assert.equal(new UserCacheOnUsername(username).key, new UserCacheOnUsername({ username }).key);
    });

    it('UserCacheOnUsername(username) creates the query: nothing is read before resolve()', async () => {
      const query = await costing(backend, { sql: 0, gets: 0 }, async () => new models.UserCacheOnUsername(username));
      const first = await query.resolve();
      await models.User.update({ city: 'Oslo' }, { where: { username } });
      const second = await query.resolve();
      assert.deepEqual([first.city, second.city], [null, 'Oslo']);
    });

    it('UserCacheOnUsername(username).resolve() raises User.DoesNotExist, as User.objects.get does', async () => {
      const { User, Event, UserCacheOnUsername } = models;
      const raises = () =>
        assert.rejects(new UserCacheOnUsername('nobody').resolve(), (error: unknown) => {
          assert.ok(error instanceof EmptyResultError, 'as findOne({ rejectOnEmpty: true }) throws');
          assert.equal(error.message, "User { username: 'nobody' } does not exist.");
          assert.ok(error instanceof DoesNotExist);
          assert.ok(error instanceof (Reflect.get(User, 'DoesNotExist') as typeof DoesNotExist));
          assert.equal(error instanceof (Reflect.get(Event, 'DoesNotExist') as typeof DoesNotExist), false);
          return true;
        });
      await coldThenWarm(backend, raises);
      // That there is none is cached, and voided by the insert.
      const created = await User.create({ username: 'nobody' });
      assert.equal((await new UserCacheOnUsername('nobody').resolve()).id, created.id);
      await created.destroy();
      await assert.rejects(new UserCacheOnUsername('nobody').resolve(), DoesNotExist);
    });

    it('User.cache.get(username=username)', async () => {
      const { User, UserCacheOnUsername } = models;
      const [, warm] = await coldThenWarm(backend, () => User.cache.get({ username }));
      assert.deepStrictEqual(warm, await User.findOne({ where: { username } }));
      // The manager uses the very class.
      await costing(backend, { sql: 0, gets: 1 }, () => new UserCacheOnUsername(username).resolve());
      assert.equal(User.cache.getKey({ username }), new UserCacheOnUsername(username).key);
      await assert.rejects(User.cache.get({ username: 'missing' }), {
        name: 'DoesNotExist',
        code: 'FLASH_DOES_NOT_EXIST',
        message: "User { username: 'missing' } does not exist.",
      });
    });

    it('User.cache.get_or_none(username=username)', async () => {
      const { User } = models;
      const [, warm] = await coldThenWarm(backend, () => User.cache.getOrNone({ username }));
      assert.deepStrictEqual(warm, await User.findOne({ where: { username } }));
      const [none, noneAgain] = await coldThenWarm(backend, () => User.cache.getOrNone({ username: `${username}-none` }));
      assert.deepEqual([none, noneAgain], [null, null]);
    });

    it('User.cache.getOrNone(username), one bare value', async () => {
      const { User } = models;
      const [, warm] = await coldThenWarm(backend, () => User.cache.getOrNone(username));
      assert.deepStrictEqual(warm, await User.findOne({ where: { username } }));
    });

    it('User.cache.get_or_404(username=username)', async () => {
      const { User } = models;
      const [, warm] = await coldThenWarm(backend, () => User.cache.getOr404({ username }));
      assert.deepStrictEqual(warm, await User.findOne({ where: { username } }));
      await assert.rejects(User.cache.getOr404({ username: 'nowhere' }), (error) => {
        assert.ok(error instanceof NotFoundError);
        assert.ok(error instanceof EmptyResultError);
        assert.deepEqual([error.status, error.statusCode, error.expose], [404, 404, true]);
        assert.equal(error.message, "User { username: 'nowhere' } does not exist.");
        return true;
      });
    });

    it('PrimaryAvatarCacheOnUser(user=user).resolve(), getInstance overridden', async () => {
      const { Avatar, PrimaryAvatarCacheOnUser } = models;
      await Avatar.create({ userId: user.id, filePath: 'a.png', primary: false });
      const primary = await Avatar.create({ userId: user.id, filePath: 'b.png', primary: true });
      const [, warm] = await coldThenWarm(backend, () => new PrimaryAvatarCacheOnUser({ user }).resolve());
      assert.ok(warm instanceof Avatar);
      assert.deepStrictEqual(warm, await Avatar.findByPk(primary.id));
      // By id as well, which is the same entry.
      await costing(backend, { sql: 0, gets: 1 }, () => new PrimaryAvatarCacheOnUser(user.id).resolve());
      await costing(backend, { sql: 0, gets: 1 }, () => new PrimaryAvatarCacheOnUser({ userId: user.id }).resolve());
    });

    it('PrimaryAvatarCacheOnUser: null is cached and returned, never Avatar.DoesNotExist', async () => {
      const { PrimaryAvatarCacheOnUser } = models;
      const [cold, warm] = await coldThenWarm(backend, () => new PrimaryAvatarCacheOnUser(user).resolve());
      assert.deepEqual([cold, warm], [null, null]);
    });

    it('PrimaryAvatarCacheOnUser: every write that changes the answer is seen', async () => {
      const { Avatar, PrimaryAvatarCacheOnUser } = models;
      const other = await models.User.create({ username: `${username}-other` });
      const pathOf = async (of: typeof user): Promise<string | null> =>
        (await new PrimaryAvatarCacheOnUser(of).resolve())?.filePath ?? null;
      assert.deepEqual([await pathOf(user), await pathOf(other)], [null, null]);

      const avatar = await Avatar.create({ userId: user.id, filePath: 'b.png', primary: false });
      assert.equal(await pathOf(user), null);
      await avatar.update({ primary: true });
      assert.equal(await pathOf(user), 'b.png');
      await Avatar.update({ filePath: 'c.png' }, { where: { id: avatar.id } });
      assert.equal(await pathOf(user), 'c.png');
      await avatar.update({ userId: other.id });
      assert.deepEqual([await pathOf(user), await pathOf(other)], [null, 'c.png']);
      await Avatar.destroy({ where: { userId: other.id } });
      assert.deepEqual([await pathOf(user), await pathOf(other)], [null, null]);
    });

    it('PrimaryAvatarCacheOnUser is not what Avatar.cache.get uses', async () => {
      const { Avatar } = models;
      await assert.rejects(Avatar.cache.get({ user } as never), (error) => {
        assert.ok(error instanceof CacheNotRegisteredError);
        assert.match(error.message, /Registered on Avatar: id\./);
        return true;
      });
    });

    it('getInstance: queryset() reads in the transaction that the lookup is made in', async () => {
      const { Avatar, PrimaryAvatarCacheOnUser } = models;
      assert.equal(await new PrimaryAvatarCacheOnUser(user).resolve(), null);
      const transaction = await backend.sequelize.transaction();
      await Avatar.create({ userId: user.id, filePath: 'own.png', primary: true }, { transaction });
      const inside = await new PrimaryAvatarCacheOnUser(user).resolve({ transaction });
      assert.equal(inside?.filePath, 'own.png');
      await transaction.rollback();
      assert.equal(await new PrimaryAvatarCacheOnUser(user).resolve(), null);
    });

    it('getInstance: the base class\'s answer can be used, and changed', async () => {
      const { User } = models;
      @registerCache
      class CitizenCacheOnUsername extends InstanceCache<InstanceType<SeedModels['User']>> {
        static model = User;
        static keyFields = ['username'] as const;

        override async getInstance(keyValues: { username: string }) {
          const found = await super.getInstance(keyValues);
          return found?.city === 'Paris' ? found : null;
        }
      }
      const [, without] = await coldThenWarm(backend, () => new CitizenCacheOnUsername(username).resolve());
      assert.equal(without, null);
      await user.update({ city: 'Paris' });
      const [, found] = await coldThenWarm(backend, () => new CitizenCacheOnUsername(username).resolve());
      assert.equal(found?.city, 'Paris');
    });

    it('ParticipationCacheOnUserEvent(user, event).resolve()', async () => {
      const { Participation, ParticipationCacheOnUserEvent } = models;
      const created = await Participation.create({ userId: user.id, eventId: event.id, role: 'guest' });
      const [, warm] = await coldThenWarm(backend, () => new ParticipationCacheOnUserEvent(user, event).resolve());
      assert.deepStrictEqual(warm, await Participation.findByPk(created.id));
    });

    it('ParticipationCacheOnUserEvent(user, event=event).resolve(), hybrid', async () => {
      const { Participation, ParticipationCacheOnUserEvent } = models;
      await Participation.create({ userId: user.id, eventId: event.id, role: 'guest' });
      const [, warm] = await coldThenWarm(backend, () => new ParticipationCacheOnUserEvent(user, { event }).resolve());
      assert.equal(warm.role, 'guest');
      await costing(backend, { sql: 0, gets: 1 }, () => new ParticipationCacheOnUserEvent(user, { eventId: event.id }).resolve());
    });

    it('ParticipationCacheOnUserEvent(event=event, user=user).resolve(), any order', async () => {
      const { Participation, ParticipationCacheOnUserEvent } = models;
      await Participation.create({ userId: user.id, eventId: event.id, role: 'guest' });
      const [, warm] = await coldThenWarm(backend, () => new ParticipationCacheOnUserEvent({ event, user }).resolve());
      assert.equal(warm.role, 'guest');
      await costing(backend, { sql: 0, gets: 1 }, () => new ParticipationCacheOnUserEvent({ user, event }).resolve());
      await costing(backend, { sql: 0, gets: 1 }, () => new ParticipationCacheOnUserEvent(user, event).resolve());
    });

    it('Participation.cache.get(user=user, event=event)', async () => {
      const { Participation, ParticipationCacheOnUserEvent } = models;
      const created = await Participation.create({ userId: user.id, eventId: event.id, role: 'guest' });
      const [, warm] = await coldThenWarm(backend, () => Participation.cache.get({ user, event }));
      assert.deepStrictEqual(warm, await Participation.findByPk(created.id));
      await costing(backend, { sql: 0, gets: 1 }, () => Participation.cache.get({ event, user }));
      await costing(backend, { sql: 0, gets: 1 }, () => new ParticipationCacheOnUserEvent(user, event).resolve());
    });

    it('Participation.cache.get(user=user, event_id=event_id), an id in place of an instance', async () => {
      const { Participation } = models;
      const created = await Participation.create({ userId: user.id, eventId: event.id, role: 'guest' });
      const [, warm] = await coldThenWarm(backend, () => Participation.cache.get({ user, eventId: event.id }));
      assert.deepStrictEqual(warm, await Participation.findByPk(created.id));
      // The id under the association's own name, and for both.
      await costing(backend, { sql: 0, gets: 1 }, () => Participation.cache.get({ user: user.id, event: event.id }));
      await costing(backend, { sql: 0, gets: 1 }, () => Participation.cache.get({ userId: user.id, eventId: event.id }));
    });

    it('a participation that moves to another event is no longer found at the first', async () => {
      const { Participation } = models;
      const later = await models.Event.create({ name: 'later' });
      const created = await Participation.create({ userId: user.id, eventId: event.id, role: 'guest' });
      assert.equal((await Participation.cache.get({ user, event })).id, created.id);
      assert.equal(await Participation.cache.getOrNone({ user, event: later }), null);
      await created.update({ eventId: later.id });
      assert.equal(await Participation.cache.getOrNone({ user, event }), null);
      assert.equal((await Participation.cache.get({ user, event: later })).id, created.id);
    });

    it('names of cache classes are unique, because cache keys are made using that name', async () => {
      const own = await openBackend('sqlite');
      try {
        const { User } = defineSeedModels(own.sequelize);
        registerCache(
          class PrimaryAvatarCacheOnUser extends InstanceCache<InstanceType<SeedModels['User']>> {
            static model = User;
            static keyFields = ['username'] as const;
          },
        );
        assert.throws(() => own.setup(), DuplicateCacheNameError);
      } finally {
        await own.close();
      }
    });

    it("a related field's column name is refused as key field", async () => {
      const own = await openBackend('sqlite');
      try {
        const { Participation } = defineSeedModels(own.sequelize);
        registerCache(
          class ParticipationCacheOnIds extends InstanceCache<InstanceType<SeedModels['Participation']>> {
            static model = Participation;
            static keyFields = ['userId', 'eventId'] as const;
          },
        );
        assert.throws(() => own.setup(), (error) => {
          assert.ok(error instanceof InvalidKeyFieldError);
          assert.match(error.message, /'userId' is the column of the association 'user'.*Use 'user' as key field/);
          return true;
        });
      } finally {
        await own.close();
      }
    });

    it('a custom getInstance receives the key fields by name, in their order', async () => {
      const { Participation } = models;
      const received: [string[], unknown[]][] = [];
      class AnyParticipationCacheOnEventUser extends InstanceCache<InstanceType<SeedModels['Participation']>> {
        static model = Participation;
        static keyFields = ['event', 'user'] as const;

        override getInstance(keyValues: { event: number; user: number }) {
          received.push([Object.keys(keyValues), Object.values(keyValues)]);
          return this.queryset().findOne({ where: { eventId: keyValues.event, userId: keyValues.user } });
        }
      }
      registerCache(AnyParticipationCacheOnEventUser);
      await Participation.create({ userId: user.id, eventId: event.id, role: 'host' });
      const [, warm] = await coldThenWarm(backend, () => new AnyParticipationCacheOnEventUser({ user, event }).resolve());
      assert.equal(warm?.role, 'host');
      assert.deepEqual(received, [[['event', 'user'], [event.id, user.id]]]);
    });

    it("a generic foreign key's name in keyFields", async () => {
      const { Vote, Post, Photo, VoteCacheOnUserTarget } = models;
      const post = await Post.create({ title: 'a post' });
      const photo = await Photo.create({ id: post.id, title: 'a photo with the same id' });
      const onPost = await Vote.create({ userId: user.id, targetType: 'Post', targetId: post.id, value: 1 });
      const onPhoto = await Vote.create({ userId: user.id, targetType: 'Photo', targetId: photo.id, value: -1 });
      const [, first] = await coldThenWarm(backend, () => new VoteCacheOnUserTarget(user, post).resolve());
      const [, second] = await coldThenWarm(backend, () => new VoteCacheOnUserTarget({ target: photo, user }).resolve());
      assert.deepEqual([first.id, second.id], [onPost.id, onPhoto.id]);
      await costing(backend, { sql: 0, gets: 1 }, () => new VoteCacheOnUserTarget(user, ['Post', post.id]).resolve());
    });
  });
}
