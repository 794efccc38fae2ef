/**
 * Invalidation by hand says whether it was delivered: on real memcached processes that one process reaches and
 * another does not, in every form, under both values of `onStoreFailure`.
 */
import assert from 'node:assert/strict';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { after, afterEach, before, describe, it } from 'node:test';
import { DataTypes, Model, type CreationOptional, type InferAttributes, type InferCreationAttributes, type ModelStatic, type Sequelize } from 'sequelize';
import {
  bumpVersion,
  channels,
  InvalidationFailedError,
  QuerysetCountCache,
  registerCache,
  setupCache,
  StoreError,
  withCache,
  type FlashCache,
  type InvalidationResult,
  type ModelCache,
} from '../../src/index.js';
import { MemcachedStore } from '../../src/stores/memcached.js';
import type { OnStoreFailure } from '../../src/options.js';
import { openBackend, type Backend } from '../support/backends.js';
import { startMemcached, type MemcachedProcess } from '../support/memcached-process.js';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.js';

interface Row extends Model<InferAttributes<Row>, InferCreationAttributes<Row>> {
  id: CreationOptional<number>;
  code: string;
  title: string;
}

/** A process of the fleet. */
interface Process {
  readonly Item: ModelStatic<Row> & { cache: ModelCache<Row, 'id' | 'code', never, 'title'> };
  readonly ItemsOfTitle: new (title: string) => { resolve(): Promise<number> };
  readonly flash: FlashCache;
  readonly store: MemcachedStore;
}

const processes: Process[] = [];

function process(sequelize: Sequelize, store: MemcachedStore, prefix: string, onStoreFailure: OnStoreFailure): Process {
  class Item extends Model {}
  Item.init(
    { id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true }, code: { type: DataTypes.STRING(50), unique: true }, title: DataTypes.STRING(50) },
    { sequelize, modelName: 'Item', timestamps: false },
  );
  const model = Item as unknown as ModelStatic<Row>;
  const cache = withCache(model, { keys: ['id', 'code'], filters: ['title'] });
  class ItemsOfTitle extends QuerysetCountCache<Row> {
    static model = model;
    static keyFields = ['title'] as const;
  }
  registerCache(ItemsOfTitle);
  const flash = setupCache(sequelize, { store, prefix, onStoreFailure, leaseWait: 50 });
  const one = { Item: Object.assign(model, { cache }), ItemsOfTitle: ItemsOfTitle as unknown as Process['ItemsOfTitle'], flash, store };
  processes.push(one);
  return one;
}

/** Every form of an invalidation that concerns one row. */
const forms: readonly (readonly [name: string, invalidate: (process: Process, row: Row) => Promise<InvalidationResult & { readonly rows?: number }>])[] = [
  ['invalidate(instance)', ({ Item }, row) => Item.cache.invalidate(row)],
  ['invalidate(primary key)', ({ Item }, { id }) => Item.cache.invalidate({ id })],
  ['invalidate(another key)', ({ Item }, { code }) => Item.cache.invalidate({ code })],
  ['invalidateWhere', ({ Item }, { id }) => Item.cache.invalidateWhere({ id })],
  ['clear', ({ Item }) => Item.cache.clear()],
  ['bumpVersion(Model)', ({ Item }) => bumpVersion(Item)],
];

describe('invalidation by hand', () => {
  let memcached: MemcachedProcess[];
  let proxies: TcpProxy[];
  let backend: Backend;
  let serial = 0;

  before(async () => {
    memcached = await Promise.all([startMemcached(), startMemcached(), startMemcached()]);
    proxies = await Promise.all(memcached.map(({ port }) => startTcpProxy(port)));
    backend = await openBackend('mariadb');
    await backend.sequelize.query('CREATE TABLE Items (id INT PRIMARY KEY AUTO_INCREMENT, code VARCHAR(50) UNIQUE, title VARCHAR(50))');
  });
  afterEach(async () => {
    for (const proxy of proxies) await proxy.set('pass');
    for (const { flash, store } of processes.splice(0)) {
      await flash.close(0);
      await store.close();
    }
  });
  after(async () => {
    await backend.close();
    for (const proxy of proxies) await proxy.close();
    for (const server of memcached) await server.stop();
  });

  /** One process behind the proxies, one beside them. Both reach the same servers, each by names of its own. */
  function fleet(onStoreFailure: OnStoreFailure, servers = 1): { behind: Process; beside: Process } {
    serial += 1;
    const prefix = `hand${String(serial)}`;
    const options = { timeoutMs: 1000, retryMs: 50 };
    const behind = process(backend.another(), new MemcachedStore(proxies.slice(0, servers).map(({ address }) => address), options), prefix, onStoreFailure);
    const beside = process(backend.another(), new MemcachedStore(memcached.slice(0, servers).map(({ address }) => address), options), prefix, onStoreFailure);
    return { behind, beside };
  }

  const outside = (sql: string): Promise<unknown> => backend.sequelize.query(sql);
  const delivered = async (flash: FlashCache): Promise<void> => {
    await new Promise<void>((resolve) => {
      const look = (): void => {
        if (flash.undelivered > 0) return;
        unsubscribe(channels.delivered.name, look);
        clearInterval(alive);
        resolve();
      };
      const alive = setInterval(() => undefined, 60_000);
      subscribe(channels.delivered.name, look);
      look();
    });
  };

  for (const [name, invalidate] of forms) {
    it(`${name}: delivered, and another process reads the new row`, async () => {
      const { behind, beside } = fleet('strict');
      const row = await behind.Item.create({ code: `code ${String(serial)}`, title: 'old' });
      for (const one of [behind, beside]) assert.equal((await one.Item.cache.get({ code: row.code })).title, 'old');
      await outside(`UPDATE Items SET title = 'new' WHERE id = ${String(row.id)}`);
      assert.equal((await beside.Item.cache.get({ code: row.code })).title, 'old', 'it is cached');
      const result = await invalidate(behind, row);
      assert.deepEqual(result, name === 'invalidateWhere' ? { delivered: true, rows: 1 } : { delivered: true });
      assert.equal((await beside.Item.cache.get({ code: row.code })).title, 'new');
    });

    for (const mode of ['refuse', 'blackhole'] as const) {
      it(`${name}, cut off (${mode}), 'available': resolves to "not delivered", and is delivered later`, async () => {
        const { behind, beside } = fleet('available');
        const row = await behind.Item.create({ code: `code ${String(serial)}`, title: 'old' });
        for (const one of [behind, beside]) await one.Item.cache.get({ code: row.code });
        await outside(`UPDATE Items SET title = 'new' WHERE id = ${String(row.id)}`);
        await proxies[0]!.set(mode);
        const { cause, ...result } = await invalidate(behind, row);
        assert.deepEqual(result, name === 'invalidateWhere' ? { delivered: false, rows: 1 } : { delivered: false });
        assert.ok(cause instanceof StoreError, String(cause));
        assert.ok(behind.flash.undelivered > 0);
        assert.equal((await beside.Item.cache.get({ code: row.code })).title, 'old', 'the other process has not heard of it');
        assert.equal((await behind.Item.cache.get({ code: row.code })).title, 'new', 'this process has');
        await proxies[0]!.set('pass');
        await delivered(behind.flash);
        assert.equal((await beside.Item.cache.get({ code: row.code })).title, 'new');
        assert.equal((await invalidate(behind, row)).delivered, true);
      });
    }

    it(`${name}, cut off, 'strict': rejects with the store's error, and is delivered later all the same`, async () => {
      const { behind, beside } = fleet('strict');
      const row = await behind.Item.create({ code: `code ${String(serial)}`, title: 'old' });
      for (const one of [behind, beside]) await one.Item.cache.get({ code: row.code });
      await outside(`UPDATE Items SET title = 'new' WHERE id = ${String(row.id)}`);
      await proxies[0]!.set('refuse');
      await assert.rejects(invalidate(behind, row), (error) => {
        assert.ok(error instanceof InvalidationFailedError);
        assert.match(error.message, /^The invalidation was not delivered: (\d+) of the \1 cache entries concerned could not be voided, and onStoreFailure is 'strict'\./);
        assert.ok(error.cause instanceof StoreError);
        return true;
      });
      await proxies[0]!.set('pass');
      await delivered(behind.flash);
      assert.equal((await beside.Item.cache.get({ code: row.code })).title, 'new');
    });
  }

  it('a cache class: bumpVersion tells the same', async () => {
    for (const onStoreFailure of ['available', 'strict'] as const) {
      const { behind, beside } = fleet(onStoreFailure);
      const title = `title ${String(serial)}`;
      await behind.Item.create({ code: title, title });
      for (const one of [behind, beside]) assert.equal(await new one.ItemsOfTitle(title).resolve(), 1);
      await outside(`INSERT INTO Items (code, title) VALUES ('${title} 2', '${title}')`);
      await proxies[0]!.set('refuse');
      const bump = bumpVersion(behind.ItemsOfTitle as never);
      if (onStoreFailure === 'strict') await assert.rejects(bump, InvalidationFailedError);
      else assert.equal((await bump).delivered, false);
      await proxies[0]!.set('pass');
      await delivered(behind.flash);
      assert.equal(await new beside.ItemsOfTitle(title).resolve(), 2);
      assert.deepEqual(await bumpVersion(behind.ItemsOfTitle as never), { delivered: true });
    }
  });

  it('one of three servers down: what is on it is not delivered, and the result says so', async () => {
    for (const onStoreFailure of ['available', 'strict'] as const) {
      // Without the proxies, so that both processes place the keys alike.
      serial += 1;
      const servers = memcached.map(({ address }) => address);
      const prefix = `three${String(serial)}`;
      const options = { timeoutMs: 1000, retryMs: 50 };
      const one = process(backend.another(), new MemcachedStore(servers, options), prefix, onStoreFailure);
      const other = process(backend.another(), new MemcachedStore(servers, options), prefix, onStoreFailure);
      const rows = await Promise.all(Array.from({ length: 30 }, (_, at) => one.Item.create({ code: `${prefix} ${String(at)}`, title: `${prefix} old` })));
      for (const { id } of rows) await other.Item.cache.get({ id });
      await outside(`UPDATE Items SET title = '${prefix} new' WHERE title = '${prefix} old'`);
      memcached[0]!.pause();
      const outcome = await one.Item.cache.invalidateWhere({ title: `${prefix} new` }).then(
        ({ delivered: all, rows: matched }) => ({ all, matched }),
        (error: unknown) => error,
      );
      if (onStoreFailure === 'available') assert.deepEqual(outcome, { all: false, matched: 30 });
      else assert.ok(outcome instanceof InvalidationFailedError);
      assert.ok(one.flash.undelivered > 0);
      memcached[0]!.resume();
      await delivered(one.flash);
      for (const { id } of rows) assert.equal((await other.Item.cache.get({ id })).title, `${prefix} new`);
      assert.deepEqual(await one.Item.cache.invalidateWhere({ title: `${prefix} new` }), { delivered: true, rows: 30 });
    }
  });

  it('thousands of rows, cut off on the way: all that was not delivered is known, and delivered later', async () => {
    const { behind, beside } = fleet('available');
    const prefix = `many${String(serial)}`;
    await outside(`INSERT INTO Items (code, title) SELECT CONCAT('${prefix} ', seq), '${prefix} old' FROM seq_1_to_2500`);
    const some = await beside.Item.findAll({ where: { title: `${prefix} old` } });
    const read = (): Promise<readonly (Row | null)[]> => beside.Item.cache.getMany(some.map(({ id }) => ({ id })));
    await read();
    await outside(`UPDATE Items SET title = '${prefix} new' WHERE title = '${prefix} old'`);
    let bytes = 0;
    // Some rows get through, and most do not.
    proxies[0]!.filter(({ data }) => ((bytes += data.length) < 200_000 ? 'forward' : 'reset'));
    const result = await behind.Item.cache.invalidateWhere({ title: `${prefix} new` });
    assert.deepEqual([result.delivered, result.rows], [false, 2500]);
    assert.ok(bytes > 200_000);
    proxies[0]!.filter();
    await delivered(behind.flash);
    assert.deepEqual(new Set((await read()).map((row) => row?.title)), new Set([`${prefix} new`]));
  });
});
