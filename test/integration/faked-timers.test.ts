/**
 * A test suite that fakes timers must not stop the cache: everything that waits or measures uses the
 * timers of Node as they were when the package was loaded. Nothing here advances the faked clock.
 */
import assert from 'node:assert/strict';
import { after, before, beforeEach, afterEach, describe, it, mock } from 'node:test';
import timers from 'node:timers';
import FakeTimers from '@sinonjs/fake-timers';
import { DataTypes, QueryTypes, type Model, type ModelStatic } from 'sequelize';
import { setupCache, StoreTimeoutError, StoreUnavailableError, withCache, type CacheManager } from '../../src/index.js';
import { MemcachedStore } from '../../src/stores/memcached.js';
import { MemoryStore } from '../../src/stores/memory.js';
import type { Store } from '../../src/stores/store.js';
import { beforeSending } from '../support/before-sending.js';
import { backendNames, memcachedStore, openBackend, type Backend } from '../support/backends.js';
import { startMemcached, type MemcachedProcess } from '../support/memcached-process.js';
import { ObservedStore } from '../support/observed-store.js';
import { Hold } from '../support/statements.js';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.js';

type Fakes = readonly FakeTimers.FakeMethod[];

/** What Sequelize and its drivers need themselves; a program that fakes these cannot query at all. */
const driversNeed: ReadonlySet<string> = new Set(['nextTick', 'queueMicrotask', 'setImmediate']);

const all = Object.keys(FakeTimers.timers) as FakeTimers.FakeMethod[];

/** Ways to fake timers: all that Sequelize survives, and some subsets that people choose. */
const ways: readonly { readonly name: string; install(): () => void }[] = [
  ...([all.filter((name) => !driversNeed.has(name)), ['setTimeout', 'clearTimeout'], ['Date'], ['performance', 'hrtime'], ['setInterval', 'clearInterval']] as Fakes[]).map((toFake) => ({
    name: `sinon: ${toFake.join(', ')}`,
    install: () => {
      const clock = FakeTimers.install({ toFake: [...toFake], now: 0, ignoreMissingTimers: true });
      return () => {
        clock.uninstall();
      };
    },
  })),
  {
    name: 'mock.timers of node:test',
    install: () => {
      mock.timers.enable({ apis: ['setTimeout', 'setInterval', 'Date'] });
      return () => {
        mock.timers.reset();
      };
    },
  },
];

const { setTimeout: realTimeout, clearTimeout: clearReal } = { ...timers };
/** Ends a test that waits for a faked timer, on a timer that is not. */
async function inTime<T>(what: string, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = realTimeout(() => {
      reject(new Error(`${what} waits for a faked timer`));
    }, 30_000);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearReal(timer);
  }
}

/** Resolves when it is so; looks now and again on a real timer. */
async function until(isSo: () => boolean): Promise<void> {
  while (!isSo()) await new Promise((resolve) => realTimeout(resolve, 10));
}

interface Row {
  id: number;
  name: string;
  team: string;
}

for (const backendName of backendNames) {
  describe(`faked timers, ${backendName}`, () => {
    let backend: Backend;
    let User: ModelStatic<Model<Row, Omit<Row, 'id'>> & Row>;
    let cache: CacheManager<Model<Row, Omit<Row, 'id'>> & Row, 'id' | 'name', never, 'team'>;

    before(async () => {
      backend = await openBackend(backendName);
      User = backend.sequelize.define<Model<Row, Omit<Row, 'id'>> & Row>(
        'User',
        { id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true }, name: { type: DataTypes.STRING, unique: true }, team: DataTypes.STRING },
        { timestamps: false },
      );
      cache = withCache(User, { keys: ['id', 'name'], filters: ['team'] });
      await backend.sequelize.sync();
    });
    after(() => backend.close());

    for (const { name, install } of ways) {
      describe(name, () => {
        let uninstall: () => void;
        let store: ObservedStore;
        beforeEach(() => {
          store = new ObservedStore(backendName === 'mariadb' ? memcachedStore() : new MemoryStore());
          uninstall = install();
        });
        afterEach(() => {
          uninstall();
          return store.close();
        });

        it('reads, writes and lists beside each other', async () => {
          const flash = backend.setup({ store });
          await inTime('plain Sequelize', User.destroy({ where: {} }));
          for (let round = 0; round < 3; round += 1) {
            const user = await inTime('create', User.create({ name: `n${String(round)}`, team: 'a' }));
            await inTime('reads beside a write', Promise.all([
              cache.filter({ team: 'a' }),
              user.update({ team: 'b' }),
              cache.filter({ team: 'b' }),
              cache.getOrNone({ name: user.name }),
              cache.getMany([{ id: user.id }, { id: 999 }]),
            ]));
            assert.equal((await inTime('get', cache.get({ id: user.id }))).team, 'b');
            assert.equal((await inTime('filter', cache.filter({ team: 'b' }))).length, round + 1);
          }
          assert.equal(await inTime('close', flash.close(1000)), 0);
        });

        it('renews the markers of a write that takes long', async () => {
          const flash = backend.setup({ store, writeLease: 2 });
          await inTime('plain Sequelize', User.destroy({ where: {} }));
          const user = await User.create({ name: 'x', team: 'a' });
          await inTime('get', cache.get({ id: user.id }));
          const hold = new Hold();
          const endHold = beforeSending(backend.sequelize, ({ type }) => type === QueryTypes.UPDATE, () => hold.here());
          try {
            const write = user.update({ team: 'b' });
            await inTime('the statement', hold.reached);
            await store.quiet();
            store.reset();
            await inTime('the heartbeat', until(() => store.count('get') > 0 || store.count('compareAndSwap') > 0));
            hold.release();
            await inTime('the write', write);
            assert.equal((await inTime('get', cache.get({ id: user.id }))).team, 'b');
          } finally {
            hold.release();
            endHold();
            await inTime('close', flash.close(1000));
          }
        });

        it('waits for the lease of another process, for leaseWait and no longer', async (t) => {
          if (backendName === 'sqlite') {
            t.diagnostic('the memory store is of one process');
            return;
          }
          const shared = { prefix: `lease${String(process.pid)}x${String(ways.findIndex((way) => way.name === name))}`, alias: 'one', leaseWait: 100 };
          const flash = backend.setup({ ...shared, store });
          await inTime('plain Sequelize', User.destroy({ where: {} }));
          const user = await User.create({ name: 'x', team: 'a' });
          // A process that dies between its lease and its fill.
          const second = new ObservedStore(memcachedStore());
          const other = backend.another();
          const Twin = other.define('User', { id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true }, name: { type: DataTypes.STRING, unique: true }, team: DataTypes.STRING }, { timestamps: false });
          const twin = withCache(Twin, { keys: ['id', 'name'], filters: ['team'] });
          const dead = setupCache(other, { ...shared, store: second });
          const hold = new Hold();
          other.addHook('beforeQuery', ({ type }) => (type === QueryTypes.SELECT ? hold.here() : undefined));
          const reading = twin.get({ id: user.id });
          try {
            await inTime('the other reader', hold.reached);
            await second.quiet();
            assert.equal((await inTime('a reader behind a lease', cache.get({ id: user.id }))).name, 'x');
          } finally {
            hold.release();
            await inTime('the other reader', reading);
            await inTime('close', dead.close(1000));
            await inTime('close', flash.close(1000));
            await second.close();
          }
        });
      });
    }
  });
}

describe('faked timers, stores', () => {
  let server: MemcachedProcess;
  let proxy: TcpProxy;
  const stores = new Set<Store>();
  before(async () => {
    server = await startMemcached();
    proxy = await startTcpProxy(server.port);
  });
  afterEach(async () => {
    await proxy.set('pass');
    for (const store of stores) await store.close();
    stores.clear();
  });
  after(async () => {
    await proxy.close();
    await server.kill();
  });

  const opened = <S extends Store>(store: S): S => {
    stores.add(store);
    return store;
  };

  // Node's own streams need `process.nextTick`: with that faked no program can use a socket.
  for (const toFake of [all.filter((name) => !driversNeed.has(name)), all.filter((name) => name !== 'nextTick')]) {
    const fake = (): (() => void) => {
      const clock = FakeTimers.install({ toFake: [...toFake], now: 0, ignoreMissingTimers: true });
      return () => {
        clock.uninstall();
      };
    };

    it(`MemcachedStore's deadline and circuit breaker end, with ${String(toFake.length)} methods faked`, async () => {
      const key = `k${String(toFake.length)}`;
      const store = opened(new MemcachedStore(proxy.address, { timeoutMs: 200 }));
      assert.equal(await store.add(key, 'v', 60), true);
      const uninstall = fake();
      try {
        await proxy.set('blackhole');
        const failures: unknown[] = [];
        for (let n = 0; n < 5; n += 1) await inTime('a silent server', store.add(`s${String(n)}`, 'v', 60).catch((cause: unknown) => failures.push(cause)));
        assert.ok(failures.length === 5 && failures.every((cause) => cause instanceof StoreTimeoutError || cause instanceof StoreUnavailableError), String(failures));
        await proxy.set('pass');
        // The probe finds the server again.
        await inTime('a server that is back', (async () => {
          for (;;) {
            if ((await store.get([key])).items.get(key)?.value === 'v') return;
            await new Promise((resolve) => realTimeout(resolve, 20));
          }
        })());
      } finally {
        uninstall();
      }
    });

    it(`an entry lives for as long as it is given, with ${String(toFake.length)} methods faked`, async () => {
      const uninstall = fake();
      try {
        for (const store of [opened(new MemcachedStore(server.address)), opened(new MemoryStore())]) {
          // Beyond 30 days memcached takes a date: on a faked one it would be long past.
          const key = `long${String(toFake.length)}`;
          assert.equal(await inTime('add', store.add(key, 'v', 40 * 86_400)), true);
          const { items } = await inTime('get', store.get([key]));
          assert.equal(items.get(key)?.value, 'v', `${store.name} lost the entry`);
        }
      } finally {
        uninstall();
      }
    });
  }
});
