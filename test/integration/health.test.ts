/** Whether it works, and why not: `health()`, counters by cause and the process's warning, on real servers. */
import assert from 'node:assert/strict';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { DataTypes, Model, type CreationOptional, type InferAttributes, type InferCreationAttributes } from 'sequelize';
import { setupCache, withCache, type FlashCache, type FlashEventKind, type FlashEvents } from '../../src/index.js';
import { MemcachedStore } from '../../src/stores/memcached.js';
import { MemoryStore } from '../../src/stores/memory.js';
import type { Store } from '../../src/stores/store.js';
import { openBackend, type Backend } from '../support/backends.js';
import { freePort, startMemcached, type MemcachedProcess } from '../support/memcached-process.js';
import { startTcpProxy } from '../support/tcp-proxy.js';

class User extends Model<InferAttributes<User>, InferCreationAttributes<User>> {
  static readonly cache = withCache(User, { keys: ['id', 'name'] });
  declare id: CreationOptional<number>;
  declare name: string;
}

describe('is it working?', () => {
  let memcached: MemcachedProcess;
  let backend: Backend;
  let flash: FlashCache | undefined;
  const stores: Store[] = [];
  const listeners: [name: string, listener: (message: unknown) => void][] = [];

  const hear = <K extends FlashEventKind>(kind: K): FlashEvents[K][] => {
    const heard: FlashEvents[K][] = [];
    const listener = (message: unknown): void => void heard.push(message as FlashEvents[K]);
    subscribe(`sequelize-flash:${kind}`, listener);
    listeners.push([`sequelize-flash:${kind}`, listener]);
    return heard;
  };

  before(async () => {
    memcached = await startMemcached();
  });
  beforeEach(async () => {
    backend = await openBackend('sqlite');
    User.init({ id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true }, name: { type: DataTypes.STRING, unique: true } }, { sequelize: backend.sequelize, timestamps: false });
    await backend.sequelize.sync();
    await User.create({ name: 'ann' });
  });
  afterEach(async () => {
    await flash?.close(0);
    flash = undefined;
    for (const store of stores.splice(0)) await store.close();
    for (const [name, listener] of listeners.splice(0)) unsubscribe(name, listener);
    await backend.close();
  });
  after(() => memcached.stop());

  function setUp(store: Store, options: object = {}): FlashCache {
    stores.push(store);
    flash = setupCache(backend.sequelize, { store, alias: 'health', ...options });
    return flash;
  }
  const deadAddress = async (): Promise<string> => `127.0.0.1:${String(await freePort())}`;

  it('all is well: every server answers', async () => {
    const cache = setUp(new MemcachedStore(memcached.address));
    await User.cache.get({ id: 1 });
    const { store, database, ...rest } = await cache.health();
    assert.deepEqual(rest, { ok: true, enabled: true, closed: false, undelivered: 0, passedThrough: [] });
    assert.deepEqual(database, { alias: 'health', place: 'sqlite::memory:', unknown: undefined });
    const [server] = store.servers;
    assert.deepEqual([store.servers.length, server?.server, server?.state, server?.reached], [1, memcached.address, 'up', true]);
    assert.ok(server?.roundTripMs !== undefined && server.roundTripMs >= 0);
    assert.deepEqual(store.failures, {});
  });

  it('before the first lookup, too: health() itself reaches the server', async () => {
    const cache = setUp(new MemcachedStore(memcached.address));
    assert.equal((await cache.health()).ok, true);
  });

  it('one of two servers does not exist: which one, since when, and why', async () => {
    const dead = await deadAddress();
    const cache = setUp(new MemcachedStore([memcached.address, dead], { timeoutMs: 1000 }));
    const { ok, store } = await cache.health();
    assert.equal(ok, false);
    const states = new Map(store.servers.map((server) => [server.server, server]));
    assert.equal(states.get(memcached.address)?.state, 'up');
    const down = states.get(dead);
    assert.deepEqual([down?.state, down?.reached, down?.roundTripMs], ['down', false, undefined]);
    assert.match(String(down?.lastError?.message), /ECONNREFUSED/);
    assert.ok(down?.since instanceof Date && down.lastErrorAt instanceof Date);
  });

  it('a silent server: within the deadline, and at once when it is known', async () => {
    const proxy = await startTcpProxy(memcached.port);
    const cache = setUp(new MemcachedStore(proxy.address, { timeoutMs: 300, retryMs: 60_000 }));
    await proxy.set('blackhole');
    const began = performance.now();
    assert.equal((await cache.health()).store.servers[0]?.state, 'down');
    assert.ok(performance.now() - began >= 290);
    assert.equal((await cache.health()).store.servers[0]?.roundTripMs, undefined);
    await proxy.close();
  });

  it('a server that stores without tokens (-C): the cause is said', async () => {
    const server = await startMemcached({ extraArgs: ['-C'] });
    const cache = setUp(new MemcachedStore(server.address));
    for (let at = 0; at < 3; at += 1) await User.cache.get({ id: 1 });
    const { ok, store } = await cache.health();
    assert.equal(ok, false);
    assert.match(String(store.servers[0]?.lastError?.message), /-C|token/);
    await server.stop();
  });

  it('every server unreachable: reads, events and counters tell of it, by cause', async () => {
    const errors = hear('error');
    const bypasses = hear('bypass');
    const servers = hear('server');
    const cache = setUp(new MemcachedStore([await deadAddress(), await deadAddress()], { timeoutMs: 1000, retryMs: 60_000 }));
    for (let at = 0; at < 50; at += 1) await User.cache.getOrNone({ id: 1 + (at % 20) });
    await User.update({ name: 'bob' }, { where: { id: 1 } });
    const stats = Object.values(User.cache.stats()).reduce((sum, { errors: failed, bypasses: past, bypassReasons }) => ({
      errors: sum.errors + failed,
      bypasses: sum.bypasses + past,
      unavailable: sum.unavailable + (bypassReasons['store-unavailable'] ?? 0),
      undelivered: sum.undelivered + (bypassReasons['undelivered-invalidation'] ?? 0),
    }), { errors: 0, bypasses: 0, unavailable: 0, undelivered: 0 });
    assert.deepEqual(stats, { errors: 50, bypasses: 50, unavailable: 50, undelivered: 0 });
    assert.ok(bypasses.length >= 50 && bypasses.every(({ reason }) => reason === 'store-unavailable'));
    assert.ok(errors.length >= 50 && errors.some(({ operation }) => operation === 'get'));
    assert.equal(servers.length, 2);
    const { store, undelivered, ok } = await cache.health();
    assert.ok(undelivered > 0 && !ok);
    assert.ok((store.failures.get?.count ?? 0) >= 50);
    assert.ok(store.failures.mark !== undefined);
  });

  it('the process is warned once when no server was ever reached, with the addresses and the cause', async () => {
    const dead = await deadAddress();
    setUp(new MemcachedStore(dead, { timeoutMs: 1000, retryMs: 60_000 }));
    const warnings: (Error & { readonly code?: string })[] = [];
    const listener = (warning: Error): void => {
      if (warning.name === 'SequelizeFlashWarning') warnings.push(warning);
    };
    process.on('warning', listener);
    const first = once(process, 'warning');
    for (let at = 0; at < 30; at += 1) await User.cache.get({ id: 1 });
    await first;
    process.off('warning', listener);
    assert.deepEqual(warnings.map(({ code }) => code), ['FLASH_STORE_UNREACHED']);
    assert.ok(warnings[0]?.message.includes(dead) && warnings[0].message.includes('ECONNREFUSED'), warnings[0]?.message);
  });

  it('a server that was reached and is gone is no wrong address: no warning', async () => {
    const server = await startMemcached();
    setUp(new MemcachedStore(server.address, { timeoutMs: 1000, retryMs: 60_000 }));
    await User.cache.get({ id: 1 });
    await server.stop();
    const warnings: Error[] = [];
    const listener = (warning: Error): void => void warnings.push(warning);
    process.on('warning', listener);
    for (let at = 0; at < 30; at += 1) await User.cache.get({ id: 1 });
    await new Promise(setImmediate);
    process.off('warning', listener);
    assert.deepEqual(warnings.filter(({ name }) => name === 'SequelizeFlashWarning'), []);
  });

  it('a find hook turns caching off: told once with the cause, counted, and in health()', async () => {
    const told = hear('passthrough');
    const cache = setUp(new MemoryStore());
    await User.cache.get({ id: 1 });
    assert.deepEqual((await cache.health()).passedThrough, []);
    backend.sequelize.addHook('beforeFind', 'tenants', () => undefined);
    for (let at = 0; at < 3; at += 1) await User.cache.get({ id: 1 });
    assert.deepEqual(told.map(({ model, reason }) => [model, reason]), [['User', 'find-hooks']]);
    const { passedThrough, ok } = await cache.health();
    assert.deepEqual(passedThrough.map(({ model, reason }) => [model, reason]), [['User', 'find-hooks'], ['User', 'find-hooks']]);
    assert.match(passedThrough[0]?.detail ?? '', /find hook/);
    assert.equal(ok, true, 'the store works');
    assert.equal(Object.values(User.cache.stats()).reduce((sum, { bypassReasons }) => sum + (bypassReasons['find-hooks'] ?? 0), 0), 3);
    backend.sequelize.removeHook('beforeFind', 'tenants');
  });

  // What a server says that is not memcached.
  for (const greeting of ['', '220 mail', '220 mail\r\n', 'HTTP/1.1 400 Bad Request\r\n\r\n', '-ERR unknown command\r\n', 'VERSION']) {
    it(`a server that takes connections and never spoke memcached is not reached: ${JSON.stringify(greeting)}`, async () => {
      const sockets = new Set<Socket>();
      const server = createServer((socket) => {
        sockets.add(socket.on('error', () => undefined));
        socket.on('data', () => socket.write(greeting));
      }).listen(0, '127.0.0.1');
      await once(server, 'listening');
      const cache = setUp(new MemcachedStore(`127.0.0.1:${String((server.address() as AddressInfo).port)}`, { timeoutMs: 300, retryMs: 60_000 }));
      for (let at = 0; at < 3; at += 1) await User.cache.get({ id: 1 });
      const { ok, store } = await cache.health();
      assert.deepEqual([ok, store.servers.map(({ reached }) => reached)], [false, [false]]);
      for (const socket of sockets) socket.destroy();
      server.close();
    });
  }

  it('a query option: health() says in a sentence why nothing is cached, as the event does', async () => {
    const told = hear('passthrough');
    const options = (backend.sequelize as unknown as { readonly options: { query?: object } }).options;
    const before = options.query;
    options.query = { raw: true };
    try {
      const cache = setUp(new MemoryStore());
      for (let at = 0; at < 2; at += 1) await User.cache.get({ id: 1 });
      const { passedThrough } = await cache.health();
      assert.deepEqual(told.map(({ reason }) => reason), ['query-option']);
      assert.equal(passedThrough[0]?.reason, 'passthrough');
      assert.deepEqual(new Set(passedThrough.map(({ detail }) => detail)), new Set(told.map(({ detail }) => detail)));
    } finally {
      options.query = before ?? {};
    }
  });

  it('disabled', async () => {
    const cache = setUp(new MemoryStore(), { enabled: false });
    await User.cache.get({ id: 1 });
    const { ok, enabled } = await cache.health();
    assert.deepEqual([ok, enabled], [false, false]);
    assert.equal(Object.values(User.cache.stats()).reduce((sum, { bypassReasons }) => sum + (bypassReasons.disabled ?? 0), 0), 1);
  });

  it('bypasses and table invalidations have their reasons', async () => {
    setUp(new MemoryStore());
    await backend.sequelize.transaction((transaction) => User.cache.get({ id: 1 }, { transaction }));
    await User.cache.clear();
    const all = Object.values(User.cache.stats());
    assert.equal(all.reduce((sum, { bypassReasons }) => sum + (bypassReasons.transaction ?? 0), 0), 1);
    assert.ok(all.every(({ tableInvalidations, tableInvalidationReasons }) => tableInvalidations === (tableInvalidationReasons.requested ?? 0)));
    for (const { bypasses, bypassReasons } of all) assert.equal(bypasses, Object.values(bypassReasons).reduce((sum, count) => sum + count, 0));
  });

  it('a value that is too large for the store: refused, counted by reason', async () => {
    const refused = hear('refused');
    setUp(new MemoryStore({ maxValueBytes: 400 }));
    const { id } = await User.create({ name: 'x'.repeat(1000) });
    for (let at = 0; at < 3; at += 1) await User.cache.get({ id });
    const refusals = Object.values(User.cache.stats()).reduce((sum, one) => sum + (one.refusals['too-large'] ?? 0), 0);
    assert.ok(refused.length > 0);
    assert.equal(refusals, refused.length);
  });

  const customs: readonly (readonly [what: string, store: () => Store, state: string, error?: RegExp])[] = [
    ['that answers', () => new MemoryStore(), 'up'],
    ['that rejects', () => Object.assign(Object.create(new MemoryStore()) as Store, { get: () => Promise.reject(new Error('out of order')) }), 'down', /out of order/],
    ['that throws', () => Object.assign(Object.create(new MemoryStore()) as Store, { get: () => { throw new Error('broken'); } }), 'down', /broken/],
    ['that never answers', () => Object.assign(Object.create(new MemoryStore()) as Store, { get: () => new Promise(() => undefined) }), 'down', /did not answer within/],
    ['that answers nonsense', () => Object.assign(Object.create(new MemoryStore()) as Store, { get: () => Promise.resolve(5) }), 'down'],
  ];
  for (const [what, make, state, error] of customs) {
    it(`a store without health() ${what}`, async () => {
      const cache = setUp(make());
      const { store } = await cache.health();
      assert.deepEqual(store.servers.map((server) => [server.server, server.state]), [[store.name, state]]);
      if (error !== undefined) assert.match(String(store.servers[0]?.lastError?.message), error);
      stores.length = 0;
    });
  }
});
