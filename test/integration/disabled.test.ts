/** `enabled: false`: reads ask the database, and writes void what others have cached, where there is a store. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, beforeEach, describe, it } from 'node:test';
import { DataTypes, type Model, type ModelStatic, type Sequelize } from 'sequelize';
import { InvalidOptionError } from '../../src/errors.js';
import { bumpVersion, setupCache, withCache, withRequestCache, type FlashCache } from '../../src/index.js';
import { backendNames, memcachedStore, openBackend, type Backend } from '../support/backends.js';

interface Row extends Model {
  readonly id: number;
  name: string;
  city: string | null;
}

interface Manager {
  get(key: object): Promise<Row>;
  getOrNone(key: object): Promise<Row | null>;
  getMany(keys: readonly object[]): Promise<(Row | null)[]>;
  filter(key: object): Promise<Row[]>;
  invalidate(key: object): Promise<unknown>;
  invalidateWhere(where: object): Promise<unknown>;
  clear(): Promise<unknown>;
}

type Cached = ModelStatic<Row> & { readonly cache: Manager };

function define(sequelize: Sequelize): Cached {
  const User = sequelize.define<Row>('User', { name: DataTypes.STRING, city: DataTypes.STRING }, { timestamps: false });
  withCache(User, { keys: ['id', 'name'], filters: ['city'] });
  return User as unknown as Cached;
}

/** Every kind of write, each with the statements that plain Sequelize sends for it. */
const writes: readonly (readonly [name: string, write: (User: ModelStatic<Row>, id: number) => Promise<unknown>])[] = [
  ['create', (User) => User.create({ name: 'new', city: 'Rome' })],
  ['save', async (User, id) => (await User.findByPk(id))?.update({ name: 'saved' })],
  ['update by a condition', (User) => User.update({ city: 'Oslo' }, { where: { city: 'Rome' } })],
  ['increment', (User, id) => User.increment({ id: 0 }, { where: { id } })],
  ['upsert', (User, id) => User.upsert({ id, name: 'upserted', city: 'Rome' })],
  ['bulkCreate', (User) => User.bulkCreate([{ name: 'a' }, { name: 'b' }])],
  ['destroy by a condition', (User, id) => User.destroy({ where: { id } })],
  ['raw SQL', (User, id) => User.sequelize?.query(`UPDATE ${User.sequelize.getQueryInterface().quoteIdentifier('Users')} SET name = 'raw' WHERE id = ${String(id)}`) ?? assert.fail()],
  [
    'a transaction',
    async (User, id) => User.sequelize?.transaction(async (transaction) => User.update({ name: 'in it' }, { where: { id }, transaction })),
  ],
  ['truncate', (User) => User.truncate()],
];

/** Statements without what differs from one transaction to the next. */
const comparable = (sql: readonly string[]): string[] => sql.map((text) => text.replace(/^Executing \([^)]*\): /, ''));

for (const name of backendNames) {
  describe(`enabled: false without a store, ${name}`, () => {
    let backend: Backend;
    let cache: FlashCache;
    let User: Cached;
    let id: number;
    const environment = process.env.SEQUELIZE_FLASH_MEMCACHED;
    before(async () => {
      backend = await openBackend(name);
      // The environment of the tests names a server, which would be a store.
      delete process.env.SEQUELIZE_FLASH_MEMCACHED;
      User = define(backend.sequelize);
      assert.throws(() => setupCache(backend.sequelize), InvalidOptionError);
      assert.throws(() => setupCache(backend.sequelize, { enabled: true }), InvalidOptionError);
      cache = setupCache(backend.sequelize, { enabled: false });
      if (environment !== undefined) process.env.SEQUELIZE_FLASH_MEMCACHED = environment;
    });
    after(async () => {
      await cache.close();
      await backend.close();
    });
    beforeEach(async () => {
      await backend.sequelize.sync({ force: true });
      ({ id } = await User.create({ name: 'bill', city: 'Rome' }));
      backend.reset();
    });

    it('reads from the database, one statement for each, also in a request', async () => {
      for (let i = 1; i <= 3; i += 1) {
        assert.equal((await User.cache.get({ id })).name, 'bill');
        assert.equal(backend.sql.length, i);
      }
      assert.equal(await User.cache.getOrNone({ name: 'nobody' }), null);
      assert.deepEqual((await User.cache.filter({ city: 'Rome' })).map((row) => row.id), [id]);
      assert.deepEqual((await User.cache.getMany([{ id }, { id: id + 1 }])).map((row) => row?.id), [id, undefined]);
      await withRequestCache(async () => {
        await User.cache.get({ id });
        await User.update({ name: 'ann' }, { where: { id } });
        assert.equal((await User.cache.get({ id })).name, 'ann');
      });
    });

    it('invalidates nothing, without an error', async () => {
      await User.cache.invalidate({ id });
      await User.cache.invalidateWhere({ city: 'Rome' });
      await User.cache.clear();
      await bumpVersion(User);
      assert.equal(cache.undelivered, 0);
      assert.equal((await User.cache.get({ id })).name, 'bill');
    });

    for (const [kind, write] of writes) {
      it(`sends for ${kind} the statements of plain Sequelize`, async () => {
        await write(User, id);
        const sent = comparable(backend.sql);
        await cache.close();
        await backend.sequelize.sync({ force: true });
        ({ id } = await User.create({ name: 'bill', city: 'Rome' }));
        backend.reset();
        await write(User, id);
        assert.deepEqual(sent, comparable(backend.sql));
        delete process.env.SEQUELIZE_FLASH_MEMCACHED;
        cache = setupCache(backend.sequelize, { enabled: false });
        if (environment !== undefined) process.env.SEQUELIZE_FLASH_MEMCACHED = environment;
      });
    }
  });
}

describe('enabled: false with a store', () => {
  for (const [kind, write] of writes.filter(([kind]) => kind !== 'create' && kind !== 'bulkCreate')) {
    it(`voids by ${kind} what another process has cached`, async (t) => {
      const backend = await openBackend('mariadb');
      t.after(() => backend.close());
      const User = define(backend.sequelize);
      const prefix = `off${String(process.pid)}.${randomUUID().slice(0, 8)}`;
      backend.setup({ prefix });
      const other = backend.another();
      const Other = define(other);
      const store = memcachedStore();
      t.after(() => store.close());
      const off = setupCache(other, { store, prefix, enabled: false });
      t.after(() => off.close());
      await backend.sequelize.sync();
      const { id } = await User.create({ name: 'bill', city: 'Rome' });
      await User.cache.get({ id });
      await User.cache.filter({ city: 'Rome' });
      await write(Other, id);
      const [row, list] = [await User.findByPk(id), await User.findAll({ where: { city: 'Rome' } })];
      assert.equal((await User.cache.getOrNone({ id }))?.name, row?.name);
      assert.deepEqual((await User.cache.filter({ city: 'Rome' })).map((found) => found.id), list.map((found) => found.id));
      assert.equal((await Other.cache.getOrNone({ id }))?.name, row?.name);
    });
  }
});
