/**
 * The cache may fail, answers may not: the plugin on real memcached processes that are stopped,
 * killed and restarted, and on servers that are none.
 */
import assert from 'node:assert/strict';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { once } from 'node:events';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { DataTypes, Model, type CreationOptional, type InferAttributes, type InferCreationAttributes } from 'sequelize';
import { InvalidationFailedError, withCache, type FlashCache, type FlashEvents } from '../../src/index.js';
import { MemcachedStore } from '../../src/stores/memcached.js';
import { openBackend, type Backend } from '../support/backends.js';
import { startMemcached, type MemcachedProcess } from '../support/memcached-process.js';

class Item extends Model<InferAttributes<Item>, InferCreationAttributes<Item>> {
  static readonly cache = withCache(Item, { keys: ['id', 'code'] });
  declare id: CreationOptional<number>;
  declare code: string;
  declare count: number;
  declare text: CreationOptional<string | null>;
}

const timeoutMs = 150;

describe('a store that fails', () => {
  let memcached: MemcachedProcess;
  let backend: Backend;
  let flash: FlashCache;

  beforeEach(async () => {
    memcached = await startMemcached();
    await open(memcached.address);
  });
  afterEach(async () => {
    await flash.close(0);
    await backend.close();
    await memcached.stop();
  });

  async function open(servers: string | string[], options: Parameters<Backend['setup']>[0] = {}, deadline = timeoutMs): Promise<void> {
    backend = await openBackend('sqlite', { store: new MemcachedStore(servers, { timeoutMs: deadline, retryMs: 100 }) });
    Item.init(
      {
        id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true },
        code: { type: DataTypes.STRING, unique: true },
        count: DataTypes.INTEGER,
        text: DataTypes.TEXT,
      },
      { sequelize: backend.sequelize, timestamps: false },
    );
    await backend.sequelize.sync();
    await Item.create({ code: 'a', count: 1 });
    flash = backend.setup(options);
  }

  /** Sets up anew, with other servers or options. */
  async function reopen(...given: Parameters<typeof open>): Promise<void> {
    await flash.close(0);
    await backend.close();
    await open(...given);
  }

  const count = async (): Promise<number> => (await Item.cache.get({ code: 'a' })).count;

  it('stopped: reads come from the database within the deadline once, then at once', async () => {
    // So long that a read of the database cannot take it, however slow the machine is.
    const deadline = 5000;
    await reopen(memcached.address, {}, deadline);
    await count();
    memcached.pause();
    const first = await timed(count);
    assert.equal(first.result, 1);
    const second = await timed(count);
    assert.equal(second.result, 1);
    assert.ok(second.ms < deadline, `the second read took ${second.ms.toFixed(0)} ms`);
    memcached.resume();
  });

  it('stopped: a write goes on, says so, is read at once by this process, and is delivered when the server is back', async () => {
    await count();
    const undelivered = nextEvent('undelivered');
    memcached.pause();
    await Item.update({ count: 2 }, { where: { id: 1 } });
    assert.ok((await undelivered).waiting > 0);
    assert.ok(flash.undelivered > 0);
    const delivered = nextEvent('delivered', ({ waiting }) => waiting === 0);
    memcached.resume();
    // The old value is in the server and can be read; this process must not believe it.
    assert.equal(await count(), 2);
    await delivered;
    assert.equal(flash.undelivered, 0);
    assert.equal(await count(), 2);
    backend.reset();
    await count();
    await count();
    assert.ok(backend.sql.length <= 1, 'cached again');
  });

  it("'strict': a write is refused before it reaches the database", async () => {
    await reopen(memcached.address, { onStoreFailure: 'strict' });
    await count();
    memcached.pause();
    await assert.rejects(Item.update({ count: 3 }, { where: { id: 1 } }), InvalidationFailedError);
    await assert.rejects(
      backend.sequelize.transaction(async (transaction) => {
        await Item.update({ count: 4 }, { where: { id: 1 }, transaction });
      }),
      InvalidationFailedError,
    );
    memcached.resume();
    assert.equal((await Item.findByPk(1))?.count, 1);
    assert.equal(await count(), 1);
  });

  it('killed, written to, and restarted empty: cached again within a second, never stale', async () => {
    await count();
    await memcached.kill();
    assert.equal(await count(), 1);
    await Item.update({ count: 5 }, { where: { id: 1 } });
    assert.equal(await count(), 5);
    await memcached.restart();
    const until = performance.now() + 3000;
    do {
      backend.reset();
      assert.equal(await count(), 5);
    } while (backend.sql.length > 0 && performance.now() < until);
    assert.equal(backend.sql.length, 0, 'not cached again within 3 s');
  });

  it('a flush brings nothing old back', async () => {
    await count();
    await memcached.command('flush_all\r\n');
    assert.equal(await count(), 1);
    backend.reset();
    assert.equal(await count(), 1);
    assert.equal(backend.sql.length, 0);
  });

  it('close() delivers what is undelivered', async () => {
    await count();
    memcached.pause();
    await Item.update({ count: 6 }, { where: { id: 1 } });
    assert.ok(flash.undelivered > 0);
    memcached.resume();
    assert.equal(await flash.close(3000), 0);
  });

  it('one of three servers down: its keys come from the database, the others from the cache', async () => {
    const others = [await startMemcached(), await startMemcached()];
    await reopen([memcached.address, ...others.map(({ address }) => address)]);
    await Item.bulkCreate(Array.from({ length: 60 }, (_, i) => ({ code: `c${String(i)}`, count: i })));
    const keys = Array.from({ length: 60 }, (_, i) => ({ code: `c${String(i)}` }));
    await Item.cache.getMany(keys);
    await memcached.kill();
    const found = await Item.cache.getMany(keys);
    assert.deepEqual(found.map((item) => item?.count), keys.map((_, i) => i));
    await Item.update({ count: 1000 }, { where: { code: 'c7' } });
    assert.equal((await Item.cache.get({ code: 'c7' })).count, 1000);
    await Promise.all(others.map((other) => other.stop()));
  });

  it('a value over the item limit is served, not cached, and counted', async () => {
    const reasons: string[] = [];
    const listen = (message: unknown): void => void reasons.push((message as FlashEvents['bypass']).reason);
    subscribe('sequelize-flash:bypass', listen);
    await Item.update({ text: 'x'.repeat(1_200_000) }, { where: { id: 1 } });
    assert.equal((await Item.cache.get({ id: 1 })).text?.length, 1_200_000);
    backend.reset();
    assert.equal((await Item.cache.get({ id: 1 })).text?.length, 1_200_000);
    assert.equal(backend.sql.length, 1);
    assert.deepEqual(reasons, ['too-large', 'too-large']);
    await Item.update({ text: 'short' }, { where: { id: 1 } });
    assert.equal((await Item.cache.get({ id: 1 })).text, 'short');
    unsubscribe('sequelize-flash:bypass', listen);
  });

  for (const [what, answer] of [
    ['that is not memcached', 'HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n'],
    ['that accepts and never answers', undefined],
  ] as const) {
    it(`a server ${what}: answers come from the database`, async () => {
      const server = await impostor(answer);
      await reopen(`127.0.0.1:${String((server.address() as AddressInfo).port)}`);
      assert.equal(await count(), 1);
      await Item.update({ count: 9 }, { where: { id: 1 } });
      assert.equal(await count(), 9);
      assert.equal(await Item.cache.getOrNone({ code: 'none' }), null);
      server.close();
    });
  }

  it('nobody listens there: answers come from the database', async () => {
    await memcached.stop();
    await reopen(memcached.address);
    assert.equal(await count(), 1);
    await Item.update({ count: 10 }, { where: { id: 1 } });
    assert.equal(await count(), 10);
  });
});

async function timed<T>(work: () => Promise<T>): Promise<{ result: T; ms: number }> {
  const from = performance.now();
  const result = await work();
  return { result, ms: performance.now() - from };
}

/** The next event of a kind that fits. */
function nextEvent<K extends 'delivered' | 'undelivered'>(
  kind: K,
  fits: (event: FlashEvents[K]) => boolean = () => true,
): Promise<FlashEvents[K]> {
  return new Promise((resolve) => {
    const listen = (message: unknown): void => {
      const event = message as FlashEvents[K];
      if (!fits(event)) return;
      unsubscribe(`sequelize-flash:${kind}`, listen);
      resolve(event);
    };
    subscribe(`sequelize-flash:${kind}`, listen);
  });
}

/** A TCP server that answers every chunk with the same text, or not at all. */
async function impostor(answer: string | undefined): Promise<Server> {
  const server = createServer((socket) => {
    socket.on('error', () => socket.destroy());
    socket.on('data', () => {
      if (answer !== undefined) socket.end(answer);
    });
    server.once('close', () => socket.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return server;
}
