/** Values that the store refuses: nobody waits for them or tries again, and the rest is cached. */
import assert from 'node:assert/strict';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { after, before, beforeEach, describe, it } from 'node:test';
import { DataTypes, Model, type CreationOptional, type InferAttributes, type InferCreationAttributes, type Sequelize } from 'sequelize';
import { QuerysetCache, registerCache, setupCache, withCache, type FlashCache, type FlashEvents, type JsonValue } from '../../src/index.js';
import { MemcachedStore } from '../../src/stores/memcached.js';
import { MemoryStore } from '../../src/stores/memory.js';
import type { Store } from '../../src/stores/store.js';
import { openBackend, type Backend } from '../support/backends.js';
import { costing } from '../support/cost.js';
import { startMemcached, type MemcachedProcess } from '../support/memcached-process.js';
import { ObservedStore } from '../support/observed-store.js';

/** A wait for a lease would take this long, and end the test. */
const leaseWait = 60_000;
const large = 600_000;

const places: Readonly<Record<string, () => Promise<{ readonly store: Store; readonly server?: MemcachedProcess }>>> = {
  'a memcached whose items are smaller than maxValueBytes': async () => {
    const server = await startMemcached({ extraArgs: ['-I', '512k', '-o', 'slab_chunk_max=262144'] });
    return { server, store: new MemcachedStore(server.address, { timeoutMs: 5000 }) };
  },
  'a store that says its limit': () => Promise.resolve({ store: new MemoryStore({ maxValueBytes: 500_000 }) }),
};

for (const [place, open] of Object.entries(places)) {
  describe(`values refused by ${place}`, () => {
    class Doc extends Model<InferAttributes<Doc>, InferCreationAttributes<Doc>> {
      static readonly cache = withCache(Doc, { keys: ['id', 'name'], filters: ['folder'] });
      declare id: CreationOptional<number>;
      declare name: string;
      declare folder: number;
      declare body: string;
    }
    class Bodies extends QuerysetCache<Doc, ['folder']> {
      static model = Doc;
      static keyFields = ['folder'] as const;
      override async getResult({ folder }: { readonly folder: number }): Promise<JsonValue> {
        return (await this.queryset().findAll({ where: { folder } })).map(({ body }) => body);
      }
    }
    registerCache(Bodies);

    let backend: Backend;
    let server: MemcachedProcess | undefined;
    let folder = 0;
    let doc: Doc;
    const refused: FlashEvents['refused'][] = [];
    const errors: unknown[] = [];
    const listen = (message: unknown): void => void refused.push(message as FlashEvents['refused']);
    const listenToErrors = (message: unknown): void => void errors.push(message);

    before(async () => {
      const opened = await open();
      server = opened.server;
      backend = await openBackend('sqlite', { store: opened.store });
      Doc.init(
        { id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true }, name: { type: DataTypes.STRING, unique: true }, folder: DataTypes.INTEGER, body: DataTypes.TEXT('long') },
        { sequelize: backend.sequelize, timestamps: false },
      );
      await backend.sequelize.sync();
      backend.setup({ leaseWait });
      subscribe('sequelize-flash:refused', listen);
      subscribe('sequelize-flash:error', listenToErrors);
    });
    after(async () => {
      unsubscribe('sequelize-flash:refused', listen);
      unsubscribe('sequelize-flash:error', listenToErrors);
      await backend.close();
      await server?.stop();
    });
    beforeEach(async () => {
      folder += 1;
      await Doc.create({ name: `small ${String(folder)}`, folder, body: 'small' });
      doc = await Doc.create({ name: `large ${String(folder)}`, folder, body: 'x'.repeat(large) });
      await backend.store.quiet();
      refused.length = 0;
      errors.length = 0;
    });

    const lookups: Readonly<Record<string, { readonly key: () => string; read(): Promise<unknown> }>> = {
      'a row by its primary key': { key: () => Doc.cache.getKey({ id: doc.id }), read: () => Doc.cache.get({ id: doc.id }) },
      'a row by another key': { key: () => Doc.cache.getKey({ id: doc.id }), read: () => Doc.cache.get({ name: doc.name }) },
      'a result': { key: () => new Bodies(folder).key, read: () => new Bodies(folder).resolve() },
      'a list with such a row': { key: () => Doc.cache.getKey({ id: doc.id }), read: () => Doc.cache.filter({ folder }) },
      'a batch with such a row': { key: () => Doc.cache.getKey({ id: doc.id }), read: () => Doc.cache.getMany([{ id: doc.id }, { id: doc.id - 1 }]) },
    };

    for (const [kind, { key, read }] of Object.entries(lookups)) {
      it(`${kind}: is tried once; then everybody asks the database at once, together`, async () => {
        const expected = JSON.stringify(await read());
        await backend.store.quiet();
        assert.deepEqual(refused.map(({ key: of, reason }) => [of, reason]), [[key(), 'too-large']]);
        for (let time = 0; time < 2; time += 1) {
          const [one, other] = await costing(backend, { sql: 1 }, () => Promise.all([read(), read()]));
          assert.equal(JSON.stringify(one), expected);
          assert.equal(JSON.stringify(other), expected);
          await backend.store.quiet();
          assert.equal(backend.store.count('add'), 0, 'no lease');
        }
        assert.equal(refused.length, 1);
        assert.deepEqual(errors, []);
      });

      it(`${kind}: a write ends that`, async () => {
        await read();
        await backend.store.quiet();
        await doc.update({ body: 'short' });
        assert.match(JSON.stringify(await read()), /"short"/);
        await backend.store.quiet();
        assert.match(JSON.stringify(await costing(backend, { sql: 0 }, read)), /"short"/);
        await doc.update({ body: 'x'.repeat(large) });
        assert.match(JSON.stringify(await read()), /xxx/);
      });
    }

    it('the other rows of a list with such a row are hits', async () => {
      await Doc.cache.filter({ folder });
      await backend.store.quiet();
      await costing(backend, { sql: 0 }, () => Doc.cache.get({ id: doc.id - 1 }));
    });
  });
}

describe('a memcached without room', () => {
  it('answers from the database, without waits, and says why nothing is stored', async () => {
    class Page extends Model<InferAttributes<Page>, InferCreationAttributes<Page>> {
      static readonly cache = withCache(Page, { keys: ['id'] });
      declare id: CreationOptional<number>;
      declare text: string;
    }
    const server = await startMemcached({ memoryMb: 2, extraArgs: ['-M'] });
    const backend = await openBackend('sqlite', { store: new MemcachedStore(server.address, { timeoutMs: 5000 }) });
    const reasons = new Set<string>();
    const listen = (message: unknown): void => void reasons.add((message as FlashEvents['refused']).reason);
    subscribe('sequelize-flash:refused', listen);
    try {
      Page.init({ id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true }, text: DataTypes.TEXT }, { sequelize: backend.sequelize, timestamps: false });
      await backend.sequelize.sync();
      backend.setup({ leaseWait });
      await Page.bulkCreate(Array.from({ length: 100 }, () => ({ text: 'x'.repeat(50_000) })));
      for (let id = 1; id <= 100; id += 1) assert.equal((await Page.cache.get({ id })).text.length, 50_000);
      await backend.store.quiet();
      assert.deepEqual([...reasons], ['out-of-memory']);
      for (let id = 1; id <= 100; id += 1) assert.equal((await Page.cache.get({ id })).text.length, 50_000);
    } finally {
      unsubscribe('sequelize-flash:refused', listen);
      await backend.close();
      await server.stop();
    }
  });
});

it('what one process could not store, another neither waits for nor tries again', async () => {
  const define = (sequelize: Sequelize) => {
    class Scan extends Model<InferAttributes<Scan>, InferCreationAttributes<Scan>> {
      static readonly cache = withCache(Scan, { keys: ['id', 'name'] });
      declare id: CreationOptional<number>;
      declare name: string;
      declare body: string;
    }
    Scan.init({ id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true }, name: { type: DataTypes.STRING, unique: true }, body: DataTypes.TEXT('long') }, { sequelize, timestamps: false, modelName: 'Scan' });
    return Scan;
  };
  const server = await startMemcached({ extraArgs: ['-I', '512k', '-o', 'slab_chunk_max=262144'] });
  const backend = await openBackend('mariadb', { store: new MemcachedStore(server.address, { timeoutMs: 5000 }) });
  const otherStore = new ObservedStore(new MemcachedStore(server.address, { timeoutMs: 5000 }));
  const refused: unknown[] = [];
  const listen = (message: unknown): void => void refused.push(message);
  subscribe('sequelize-flash:refused', listen);
  const others: FlashCache[] = [];
  try {
    const One = define(backend.sequelize);
    await One.sync();
    const prefix = 'refused';
    backend.setup({ leaseWait, prefix });
    const another = backend.another();
    const Other = define(another);
    others.push(setupCache(another, { store: otherStore, prefix, leaseWait }));
    const { id, name } = await One.create({ name: 'large', body: 'x'.repeat(large) });
    await backend.store.quiet();
    for (const key of [{ id }, { name }]) {
      assert.equal((await One.cache.get(key)).body.length, large);
      await backend.store.quiet();
      const before = refused.length;
      otherStore.reset();
      backend.reset();
      const began = performance.now();
      assert.equal((await Other.cache.get(key)).body.length, large);
      await otherStore.quiet();
      // A wait for the lease would have lasted for leaseWait.
      assert.ok(performance.now() - began < leaseWait / 2);
      assert.equal(backend.sql.filter((sql) => sql.includes('SELECT')).length, 1);
      assert.equal(refused.length, before, 'it is not tried again');
    }
  } finally {
    unsubscribe('sequelize-flash:refused', listen);
    for (const cache of others) await cache.close(0);
    await otherStore.close();
    await backend.close();
    await server.stop();
  }
});
