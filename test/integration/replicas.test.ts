/**
 * A replica that lags: what the cache stores, and what writes look up, comes from the primary.
 *
 * Two databases stand for the two servers. The replica is a copy that is made before the
 * primary goes on, so it is late in every test; every connection to it is counted.
 */
import assert from 'node:assert/strict';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import {
  DataTypes,
  Model,
  Sequelize,
  type CreationOptional,
  type InferAttributes,
  type InferCreationAttributes,
  type Options,
} from 'sequelize';
import { leaseText, markerText, randomToken } from '../../src/entries/envelope.js';
import { InstanceCache, setupCache, withCache, type BypassReason, type FlashCache } from '../../src/index.js';
import { MemoryStore } from '../../src/stores/memory.js';
import { mysqlUrl, openBackend, type Backend } from '../support/backends.js';

class Post extends Model<InferAttributes<Post>, InferCreationAttributes<Post>> {
  static readonly cache = withCache(Post, {
    keys: ['id', 'name', 'city', ['tenant', 'slug']],
    caches: () => [LastInCity, FirstInCity, TownHall],
  });
  declare id: CreationOptional<number>;
  declare name: string;
  /** Not unique. */
  declare city: string;
  declare tenant: number;
  declare slug: string;
  declare text: string;
  declare likes: CreationOptional<number>;
}

class LastInCity extends InstanceCache<Post, readonly ['city']> {
  static model = Post;
  static keyFields = ['city'] as const;
  override getInstance({ city }: { city: string }): Promise<Post | null> {
    return this.queryset().findOne({ where: { city }, order: [['id', 'DESC']] });
  }
}

class FirstInCity extends InstanceCache<Post, readonly ['city']> {
  static model = Post;
  static keyFields = ['city'] as const;
  override async getInstance({ city }: { city: string }): Promise<Post | null> {
    const [first] = await this.queryset().findAll({ where: { city }, order: ['id'] });
    return first ?? null;
  }
}

/** The first post of a city that has several. */
class TownHall extends InstanceCache<Post, readonly ['city']> {
  static model = Post;
  static keyFields = ['city'] as const;
  override async getInstance({ city }: { city: string }): Promise<Post | null> {
    if ((await this.queryset().count({ where: { city } })) < 2) return null;
    return this.queryset().findOne({ where: { city }, order: ['id'] });
  }
}

/** Its finds run a hook, so only a find can answer. */
class Hooked extends Model<InferAttributes<Hooked>, InferCreationAttributes<Hooked>> {
  static readonly cache = withCache(Hooked, { keys: ['id'] });
  declare id: CreationOptional<number>;
  declare text: string;
}

/** A key that replaces the default scope's condition. */
class Draft extends Model<InferAttributes<Draft>, InferCreationAttributes<Draft>> {
  static readonly cache = withCache(Draft, { keys: [['state', 'name']] });
  declare id: CreationOptional<number>;
  declare state: string;
  declare name: string;
  declare text: string;
}

/** Without a cache. */
class Photo extends Model<InferAttributes<Photo>, InferCreationAttributes<Photo>> {
  declare id: CreationOptional<number>;
  declare text: string;
}

class Vote extends Model<InferAttributes<Vote>, InferCreationAttributes<Vote>> {
  static readonly cache = withCache(Vote, {
    keys: ['id', 'target'],
    genericForeignKeys: { target: { type: 'targetType', id: 'targetId', models: () => [Post, Photo] } },
  });
  declare id: CreationOptional<number>;
  declare targetType: string;
  declare targetId: number;
  declare text: string;
  declare getTarget: () => Promise<Post | Photo | null>;
}

describe('a replica that lags', () => {
  let backend: Backend;
  let flash: FlashCache;
  let admin: Sequelize;
  let primary: string;
  let replica: string;
  /** How often a connection to the replica was taken. */
  let replicaReads = 0;
  let bypasses: BypassReason[] = [];
  const noteBypass = (message: unknown): void => {
    bypasses.push((message as { readonly reason: BypassReason }).reason);
  };

  before(async () => {
    admin = new Sequelize(mysqlUrl(), { dialect: 'mysql', logging: false, pool: { max: 1 } });
    replica = `flash_replica_${randomToken().replace(/\W/g, '_')}`;
    await admin.query(`CREATE DATABASE ${replica} CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci`);
    const replication: Options['replication'] = { read: [{ database: replica }], write: {} };
    backend = await openBackend('mariadb', { define: { timestamps: false }, options: { replication } });
    const { sequelize } = backend;
    primary = sequelize.getDatabaseName();
    const id = { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true } as const;
    const text = { type: DataTypes.STRING, allowNull: false } as const;
    Post.init(
      {
        id,
        name: { type: DataTypes.STRING(40), unique: true },
        city: DataTypes.STRING(40),
        tenant: DataTypes.INTEGER,
        slug: DataTypes.STRING(40),
        text,
        likes: { type: DataTypes.INTEGER, defaultValue: 0 },
      },
      { sequelize, indexes: [{ unique: true, fields: ['tenant', 'slug'] }] },
    );
    Hooked.init({ id, text }, { sequelize, hooks: { beforeFind: () => undefined } });
    Draft.init(
      { id, state: DataTypes.STRING(20), name: DataTypes.STRING(40), text },
      { sequelize, defaultScope: { where: { state: 'open' } } },
    );
    Photo.init({ id, text }, { sequelize });
    Vote.init({ id, targetType: DataTypes.STRING(20), targetId: DataTypes.INTEGER, text }, { sequelize });
    await sequelize.sync();
    sequelize.addHook('afterPoolAcquire', (connection: unknown) => {
      if ((connection as { readonly queryType?: string }).queryType === 'read') replicaReads += 1;
    });
    // A short wait for other processes' fills, so that the test of a wait that ends is short.
    flash = backend.setup({ leaseWait: 20 });
    subscribe('sequelize-flash:bypass', noteBypass);
    await fill();
  });

  after(async () => {
    unsubscribe('sequelize-flash:bypass', noteBypass);
    await backend.close();
    await admin.query(`DROP DATABASE ${replica}`);
    await admin.close();
  });

  beforeEach(async () => {
    await admin.query(`TRUNCATE TABLE ${primary}.${tableOf(Post)}`);
    await firstPosts();
    // Bill moves to Paris, where somebody goes and somebody comes.
    await Post.update({ city: 'Paris', text: 'new' }, { where: { id: 1 } });
    await Post.destroy({ where: { id: 2 } });
    await Post.create({ name: 'dora', city: 'Paris', tenant: 1, slug: 'dora', text: 'new' });
    for (const model of [Post, Hooked, Draft, Vote]) await model.cache.clear();
    bypasses = [];
    replicaReads = 0;
  });

  afterEach(async () => {
    const found = await Post.findOne({ where: { id: 1 }, raw: true });
    assert.equal(found?.text, 'old', 'a plain findOne reads the replica, which is late: else no test could fail');
  });

  const tableOf = (model: { readonly tableName: string }): string => `\`${model.tableName}\``;

  const firstPosts = (): Promise<unknown> =>
    Post.bulkCreate([
      { name: 'bill', city: 'Oslo', tenant: 1, slug: 'bill', text: 'old' },
      { name: 'gone', city: 'Paris', tenant: 1, slug: 'gone', text: 'old' },
      { name: 'carl', city: 'Rome', tenant: 1, slug: 'carl', text: 'old' },
    ]);

  /** Both servers with the same rows; then the primary goes on, and the replica never follows. */
  async function fill(): Promise<void> {
    await firstPosts();
    await Hooked.create({ text: 'old' });
    await Draft.create({ state: 'shut', name: 'one', text: 'old' });
    await Photo.create({ text: 'old' });
    await Vote.bulkCreate([
      { targetType: 'Post', targetId: 1, text: 'old' },
      { targetType: 'Photo', targetId: 1, text: 'old' },
    ]);
    for (const table of [Post, Hooked, Draft, Photo, Vote].map(tableOf)) {
      await admin.query(`CREATE TABLE ${replica}.${table} AS SELECT * FROM ${primary}.${table}`);
    }
    await Hooked.update({ text: 'new' }, { where: { id: 1 } });
    await Draft.unscoped().update({ text: 'new' }, { where: { id: 1 } });
    await Photo.update({ text: 'new' }, { where: { id: 1 } });
    await Vote.update({ text: 'new' }, { where: { targetId: 1 } });
    // The first update by a condition has asked a server for its isolation level: the primary.
    assert.equal(replicaReads, 0, 'a write read the replica');
  }

  const textOf = (row: { readonly text: string } | null | undefined): string | null => row?.text ?? null;

  /** Reads, and asserts that no connection to the replica was taken. */
  async function fromPrimary<T>(read: () => Promise<T>, expected: T): Promise<void> {
    const before = replicaReads;
    assert.deepEqual(await read(), expected);
    assert.equal(replicaReads - before, 0, 'the replica was read');
  }

  describe('reads that fill', () => {
    const reads: readonly (readonly [name: string, read: () => Promise<unknown>, expected: unknown])[] = [
      ['by primary key', async () => textOf(await Post.cache.get({ id: 1 })), 'new'],
      ['by a unique name', async () => textOf(await Post.cache.get({ name: 'bill' })), 'new'],
      ['by a field that is not unique', async () => textOf(await Post.cache.get({ city: 'Paris' })), 'new'],
      ['by two fields', async () => textOf(await Post.cache.get({ tenant: 1, slug: 'bill' })), 'new'],
      ['of a row that the replica does not have yet', async () => textOf(await Post.cache.get({ name: 'dora' })), 'new'],
      ['of a row that the replica still has', async () => textOf(await Post.cache.getOrNone({ id: 2 })), null],
      ['of a row that the replica still has, by name', async () => textOf(await Post.cache.getOrNone({ name: 'gone' })), null],
      ['where the replica still has a row', async () => textOf(await Post.cache.getOrNone({ city: 'Oslo' })), null],
      ['getMany by id', async () => (await Post.cache.getMany([{ id: 1 }, { id: 2 }, { id: 4 }])).map(textOf), ['new', null, 'new']],
      ['getMany by name', async () => (await Post.cache.getMany([{ name: 'bill' }, { name: 'gone' }, { name: 'dora' }])).map(textOf), ['new', null, 'new']],
      ['getMany by two fields', async () => (await Post.cache.getMany([{ tenant: 1, slug: 'dora' }, { tenant: 1, slug: 'bill' }])).map(textOf), ['new', 'new']],
      ['a query', async () => textOf(await Post.cache.getQuery({ name: 'bill' }).resolve()), 'new'],
      ['a getInstance with findOne', async () => textOf(await new LastInCity('Paris').resolve()), 'new'],
      ['a getInstance with findAll', async () => textOf(await new FirstInCity('Paris').resolve()), 'new'],
      ['a getInstance with count', async () => textOf(await new TownHall('Paris').resolve()), 'new'],
      ['a getInstance that finds nothing', async () => textOf(await new FirstInCity('Oslo').resolve()), null],
      ['a generic foreign key', async () => textOf(await Vote.cache.get({ target: ['Post', 1] })), 'new'],
      ['the target of a generic foreign key', async () => textOf(await (await Vote.cache.get({ id: 1 })).getTarget()), 'new'],
    ];
    for (const [name, read, expected] of reads) {
      it(name, async () => {
        await fromPrimary(read, expected);
        backend.reset();
        assert.deepEqual(await read(), expected);
        assert.deepEqual(backend.sql, [], 'it was filled');
      });
    }

    it('many callers at once: each gets a copy of what the primary said', async () => {
      const read = async (): Promise<unknown> => textOf(await Post.cache.get({ name: 'bill' }));
      await fromPrimary(() => Promise.all([read(), read(), read()]), ['new', 'new', 'new']);
    });

    it('two spellings of one row in one statement: the second instance is asked for once more', async () => {
      await fromPrimary(async () => (await Post.cache.getMany([{ name: 'bill' }, { name: 'BILL' }])).map(textOf), ['new', 'new']);
    });

    it('an instance that cannot be stored is computed once more for each caller', async () => {
      Post.addHook('afterFind', 'test', (found) => {
        // A symbol in a value: no text can hold it.
        if (found instanceof Post) found.setDataValue('text', Symbol.for(found.text) as unknown as string);
      });
      try {
        const read = async (): Promise<string> => String(textOf(await new LastInCity('Paris').resolve()));
        await fromPrimary(() => Promise.all([read(), read()]), ['Symbol(new)', 'Symbol(new)']);
        assert.ok(bypasses.includes('not-serialisable'));
      } finally {
        Post.removeHook('afterFind', 'test');
      }
    });

    it('the target of a generic foreign key whose model has no cache', async () => {
      const vote = await Vote.cache.get({ id: 2 });
      await fromPrimary(async () => textOf(await vote.getTarget()), 'new');
    });

    it('refresh', async () => {
      for (const [read, expected] of [
        [(refresh: boolean) => Post.cache.get({ id: 1 }, { refresh }), 'newer'],
        [(refresh: boolean) => Post.cache.get({ name: 'bill' }, { refresh }), 'newest'],
        [(refresh: boolean) => new LastInCity('Paris').resolve({ refresh }), 'newest of all'],
      ] as const) {
        await read(false);
        await admin.query(`UPDATE ${primary}.${tableOf(Post)} SET text = '${expected}' WHERE city = 'Paris'`);
        await fromPrimary(async () => textOf(await read(true)), expected);
        await fromPrimary(async () => textOf(await read(false)), expected);
      }
    });
  });

  describe('reads that fill nothing', () => {
    const byEveryWay = async (): Promise<unknown> =>
      [
        await Post.cache.get({ id: 1 }),
        await Post.cache.get({ name: 'bill' }),
        ...(await Post.cache.getMany([{ tenant: 1, slug: 'bill' }, { tenant: 1, slug: 'dora' }])),
        await new FirstInCity('Paris').resolve(),
      ].map(textOf);
    const allNew = ['new', 'new', 'new', 'new', 'new'];

    it('a write is in flight', async () => {
      await byEveryWay();
      for (const key of [Post.cache.getKey({ id: 1 }), Post.cache.getKey({ id: 4 }), new FirstInCity('Paris').key]) {
        await backend.store.delete(key);
        assert.ok(await backend.store.add(key, markerText([randomToken()]), 60));
      }
      bypasses = [];
      await fromPrimary(byEveryWay, allNew);
      assert.deepEqual(new Set(bypasses), new Set(['write-in-flight']));
      for (const { id } of [{ id: 1 }, { id: 4 }]) await backend.store.delete(Post.cache.getKey({ id }));
      await backend.store.delete(new FirstInCity('Paris').key);
    });

    it('another process was waited for in vain', async () => {
      await byEveryWay();
      for (const key of [Post.cache.getKey({ id: 1 }), Post.cache.getKey({ id: 4 }), new FirstInCity('Paris').key]) {
        await backend.store.delete(key);
        assert.ok(await backend.store.add(key, leaseText(), 60));
      }
      bypasses = [];
      await fromPrimary(byEveryWay, allNew);
      assert.deepEqual(new Set(bypasses), new Set(['lease-wait']));
    });

    it('the store is down', async () => {
      const restore = backend.store.intercept(() => {
        throw new Error('the store is down');
      });
      try {
        await fromPrimary(byEveryWay, allNew);
        assert.deepEqual(new Set(bypasses), new Set(['store-unavailable']));
      } finally {
        restore();
      }
    });

    it('an invalidation was not delivered', async () => {
      await byEveryWay();
      const restore = backend.store.intercept((operation) => {
        if (operation !== 'get') throw new Error('the store takes nothing');
      });
      try {
        await Post.update({ text: 'newer' }, { where: { id: [1, 4] } });
        assert.ok(flash.undelivered > 0);
        bypasses = [];
        await fromPrimary(byEveryWay, ['newer', 'newer', 'newer', 'newer', 'newer']);
        assert.deepEqual(new Set(bypasses), new Set(['undelivered-invalidation']));
      } finally {
        restore();
      }
      // The retries are waited for, so that the next test begins with nothing undelivered.
      const delivered = new Promise<void>((resolve) => {
        const check = (): void => {
          if (flash.undelivered > 0) return;
          unsubscribe('sequelize-flash:delivered', check);
          resolve();
        };
        subscribe('sequelize-flash:delivered', check);
      });
      await delivered;
    });

    it('finds that run hooks, and keys that replace the default scope', async () => {
      await fromPrimary(async () => textOf(await Hooked.cache.get({ id: 1 })), 'new');
      await fromPrimary(async () => textOf(await Draft.cache.get({ state: 'shut', name: 'one' })), 'new');
      assert.deepEqual(bypasses, ['find-hooks', 'default-scope']);
    });
  });

  describe('transactions', () => {
    it('a read in one goes through it', async () => {
      await Post.cache.get({ id: 1 });
      await backend.sequelize.transaction(async (transaction) => {
        await Post.update({ text: 'uncommitted' }, { where: { id: 1 }, transaction });
        const read = async (): Promise<unknown> =>
          [
            await Post.cache.get({ id: 1 }, { transaction }),
            await Post.cache.get({ name: 'bill' }, { transaction }),
            ...(await Post.cache.getMany([{ city: 'Paris' }], { transaction })),
            await new FirstInCity('Paris').resolve({ transaction }),
            await new TownHall('Paris').resolve({ transaction }),
          ].map(textOf);
        await fromPrimary(read, Array(5).fill('uncommitted'));
        // Outside of it, nothing is committed yet.
        await fromPrimary(async () => textOf(await Post.cache.get({ id: 1 })), 'new');
        await fromPrimary(async () => textOf(await new FirstInCity('Paris').resolve()), 'new');
      });
      await fromPrimary(async () => textOf(await Post.cache.get({ id: 1 })), 'uncommitted');
    });

    it('a read-only one is on the replica, as Sequelize has it, and leaves nothing in the cache', async () => {
      await backend.sequelize.transaction({ readOnly: true } as object, async (transaction) => {
        assert.equal(textOf(await Post.cache.get({ id: 1 }, { transaction })), 'old');
        assert.equal(textOf(await Post.cache.get({ name: 'bill' }, { transaction })), 'old');
        assert.equal(textOf(await new LastInCity('Oslo').resolve({ transaction })), 'old');
      });
      await fromPrimary(async () => textOf(await Post.cache.get({ id: 1 })), 'new');
      await fromPrimary(async () => textOf(await Post.cache.get({ name: 'bill' })), 'new');
      await fromPrimary(async () => textOf(await new LastInCity('Oslo').resolve()), null);
    });
  });

  describe('writes', () => {
    const cities = ['Oslo', 'Paris', 'Rome', 'Bonn'];
    const names = ['bill', 'gone', 'carl', 'dora', 'emma'];

    /** Every cache, for every key, against the primary. */
    async function agree(when: string): Promise<void> {
      const master = { useMaster: true, raw: true } as const;
      const compare = async (what: string, cached: Promise<Model | null | undefined>, found: Promise<unknown>): Promise<void> => {
        assert.deepEqual((await cached)?.get({ plain: true }) ?? null, await found, `${what}, ${when}`);
      };
      const byId = [1, 2, 3, 4, 5].map((id) => compare(`id ${String(id)}`, Post.cache.getOrNone({ id }), Post.findOne({ where: { id }, ...master })));
      const byName = names.map((name) => compare(name, Post.cache.getOrNone({ name }), Post.findOne({ where: { name }, ...master })));
      const bySlug = names.map((slug) => {
        const where = { tenant: 1, slug };
        return compare(`slug ${slug}`, Post.cache.getOrNone(where), Post.findOne({ where, ...master }));
      });
      const byCity = cities.map(async (city) => {
        const where = { city };
        const first = Post.findOne({ where, order: ['id'], ...master });
        const last = Post.findOne({ where, order: [['id', 'DESC']], ...master });
        const several = (await Post.count({ where, useMaster: true } as object)) > 1;
        // "The" row of a city is any one of it.
        const one = await Post.cache.getOrNone({ city });
        await compare(`a row of ${city}`, Promise.resolve(one), one == null ? first : Post.findOne({ where: { ...where, id: one.id }, ...master }));
        await compare(`the first of ${city}`, new FirstInCity(city).resolve(), first);
        await compare(`the last of ${city}`, new LastInCity(city).resolve(), last);
        await compare(`the hall of ${city}`, new TownHall(city).resolve(), several ? first : Promise.resolve(null));
      });
      await Promise.all([...byId, ...byName, ...bySlug, ...byCity]);
    }

    /** As a program has it that read the replica: it says Oslo, and 'old'. */
    const late = (): Promise<Post> => Post.findByPk(1, { rejectOnEmpty: true });
    const individualHooks = true;

    /** `finds`: how many of Sequelize's own finds read the replica on the way. */
    const writes: readonly (readonly [name: string, write: () => Promise<unknown>, finds?: number])[] = [
      ['save of a late instance', async () => (await late()).update({ text: 'newer' }), 1],
      ['save of a late instance that moves', async () => (await late()).update({ city: 'Rome' }), 1],
      ['save of a late instance that is renamed', async () => (await late()).update({ name: 'emma', slug: 'emma' }), 1],
      ['save of a row that is gone', async () => (await Post.findByPk(2, { rejectOnEmpty: true })).update({ city: 'Bonn' }), 1],
      ['save of a late instance after reload', async () => (await (await late()).reload()).update({ city: 'Rome', text: 'newer' }), 2],
      ['destroy of a late instance', async () => (await late()).destroy(), 1],
      ['increment of a late instance', async () => (await late()).increment('likes'), 1],
      ['increment by a condition', () => Post.increment('likes', { where: { city: 'Paris' } })],
      ['increment by a condition that only the replica meets', () => Post.increment('likes', { where: { city: 'Oslo' } })],
      ['decrement by id', () => Post.decrement({ likes: 2 }, { where: { id: 4 } })],
      ['update by ids', () => Post.update({ text: 'newer' }, { where: { id: [1, 4] } })],
      ['update by ids that moves', () => Post.update({ city: 'Bonn' }, { where: { id: [1, 3] } })],
      ['update by a condition', () => Post.update({ text: 'newer' }, { where: { city: 'Paris' } })],
      ['update by a condition that moves', () => Post.update({ city: 'Bonn' }, { where: { city: 'Paris' } })],
      ['update by a condition that only the replica meets', () => Post.update({ city: 'Bonn' }, { where: { city: 'Oslo' } })],
      ['update by a condition in a transaction', () =>
        backend.sequelize.transaction((transaction) => Post.update({ city: 'Bonn' }, { where: { city: 'Paris' }, transaction })),
      ],
      ['update with individualHooks', () => Post.update({ city: 'Bonn' }, { where: { city: 'Paris' }, individualHooks }), 1],
      ['update with individualHooks, of a row by id', () => Post.update({ city: 'Bonn' }, { where: { id: 1 }, individualHooks }), 1],
      ['update with individualHooks where only the replica has a row', () => Post.update({ city: 'Bonn' }, { where: { city: 'Oslo' }, individualHooks }), 1],
      ['update with individualHooks in a transaction', () =>
        backend.sequelize.transaction((transaction) => Post.update({ city: 'Bonn' }, { where: { city: 'Paris' }, individualHooks, transaction })),
      ],
      ['update with individualHooks whose rows are saved one by one', async () => {
        // A hook makes the rows differ, and Sequelize saves what its find found: the rows of the replica.
        Post.addHook('beforeUpdate', 'test', (post) => {
          const { id } = post as Post;
          (post as Post).text = `newer ${String(id)}`;
          (post as Post).city = id === 1 ? 'Bonn' : 'Rome';
        });
        try {
          await Post.update({ text: 'newer', city: 'Rome' }, { where: { id: [1, 2, 3, 4] }, individualHooks });
        } finally {
          Post.removeHook('beforeUpdate', 'test');
        }
        assert.equal((await Post.findByPk(1, { useMaster: true } as object))?.text, 'newer 1', 'saved one by one');
      }, 1],
      ['destroy by a condition', () => Post.destroy({ where: { city: 'Paris' } })],
      ['destroy with individualHooks', () => Post.destroy({ where: { city: 'Paris' }, individualHooks }), 1],
      ['destroy with individualHooks where only the replica has a row', () => Post.destroy({ where: { city: 'Oslo' }, individualHooks }), 1],
      ['create', () => Post.create({ name: 'emma', city: 'Paris', tenant: 1, slug: 'emma', text: 'newer' })],
      ['create of what the replica still has', () => Post.create({ name: 'gone', city: 'Oslo', tenant: 1, slug: 'gone', text: 'newer' })],
      ['findOrCreate that finds what the replica does not have', async () => {
        const [found, created] = await Post.findOrCreate({
          where: { name: 'dora' },
          defaults: { name: 'dora', city: 'Bonn', tenant: 1, slug: 'dora', text: 'newer' },
        });
        assert.deepEqual([found.text, created], ['new', false]);
      }],
      ['findOrCreate that creates what the replica still has', async () => {
        const [found, created] = await Post.findOrCreate({
          where: { name: 'gone' },
          defaults: { name: 'gone', city: 'Bonn', tenant: 1, slug: 'gone', text: 'newer' },
        });
        assert.deepEqual([found.text, created], ['newer', true]);
      }],
      ['findOrCreate in a transaction', () =>
        backend.sequelize.transaction((transaction) =>
          Post.findOrCreate({
            where: { name: 'emma' },
            defaults: { name: 'emma', city: 'Oslo', tenant: 1, slug: 'emma', text: 'newer' },
            transaction,
          }),
        ),
      ],
      ['findCreateFind that creates', () =>
        Post.findCreateFind({
          where: { name: 'emma' },
          defaults: { name: 'emma', city: 'Oslo', tenant: 1, slug: 'emma', text: 'newer' },
        }), 1],
      ['findCreateFind of what the replica does not have', async () => {
        // Its finds read the replica: it finds nothing, may not create, and finds nothing again.
        await Post.findCreateFind({
          where: { name: 'dora' },
          defaults: { name: 'dora', city: 'Bonn', tenant: 1, slug: 'dora', text: 'newer' },
        });
      }, 2],
      ['upsert', () => Post.upsert({ id: 1, name: 'bill', city: 'Bonn', tenant: 1, slug: 'bill', text: 'newer' })],
      ['bulkCreate that updates', () =>
        Post.bulkCreate(
          [
            { name: 'bill', city: 'Bonn', tenant: 1, slug: 'bill', text: 'newer' },
            { name: 'emma', city: 'Paris', tenant: 1, slug: 'emma', text: 'newer' },
          ],
          { updateOnDuplicate: ['city', 'text'] },
        ),
      ],
    ];
    for (const [name, write, finds = 0] of writes) {
      it(name, async () => {
        await agree('before');
        replicaReads = 0;
        await write();
        assert.equal(replicaReads, finds, "reads of the replica, Sequelize's own included");
        await agree('after');
        assert.equal(replicaReads, finds);
      });
    }
  });

  it('invalidate by key values voids the row that the primary leads to', async () => {
    const namesOf = async (): Promise<unknown> => [(await Post.cache.get({ id: 1 })).name, (await Post.cache.get({ id: 3 })).name];
    await Post.cache.get({ name: 'bill' });
    assert.deepEqual(await namesOf(), ['bill', 'carl']);
    // By another program: the name goes from one row to another, and the replica does not know.
    const table = `${primary}.${tableOf(Post)}`;
    await admin.query(`UPDATE ${table} SET name = 'bob' WHERE id = 1`);
    await admin.query(`UPDATE ${table} SET name = 'bill' WHERE id = 3`);
    await fromPrimary(() => Post.cache.invalidate({ name: 'bill' }), { delivered: true });
    await fromPrimary(namesOf, ['bob', 'bill']);
  });
});

describe('which database it is, with replicas', () => {
  const keyOf = async (options: Options): Promise<string> => {
    const sequelize = new Sequelize({ dialect: 'mysql', logging: false, ...options });
    class Thing extends Model {}
    Thing.init({ id: { type: DataTypes.INTEGER, primaryKey: true } }, { sequelize, modelName: 'Thing' });
    const cache = withCache(Thing, { keys: ['id'] });
    const flash = setupCache(sequelize, { store: new MemoryStore() });
    const key = cache.getKey({ id: 1 } as never);
    await flash.close();
    await sequelize.close();
    return key;
  };

  it('is the primary: its place, and no replica’s, is the default alias', async () => {
    const main = { host: 'db1.test', port: 3307, database: 'shop' };
    const read = [{ host: 'replica.test', database: 'copy' }];
    const plain = await keyOf(main);
    assert.equal(await keyOf({ replication: { write: main, read } }), plain);
    assert.equal(await keyOf({ ...main, replication: { write: {}, read } }), plain);
    assert.equal(await keyOf({ database: 'shop', port: 3307, replication: { write: { host: 'db1.test' }, read } }), plain);
    assert.notEqual(await keyOf({ database: 'shop', port: 3307, replication: { write: { host: 'db2.test' }, read } }), plain);
    assert.notEqual(await keyOf({ ...main, replication: { write: { database: 'other' }, read } }), plain);
    assert.notEqual(await keyOf({ ...main, replication: { write: { port: '3308' }, read } }), plain);
  });
});
