/**
 * Several processes and memcached servers that lose entries, replies, connections and each other:
 * what is read is what the database has. One process and one server: store-failures.test.ts.
 */
import assert from 'node:assert/strict';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { after, before, describe, it, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Sequelize } from 'sequelize';
import { InvalidationFailedError, setupCache, type FlashCache, type FlashEvents, type SetupOptions } from '../../src/index.js';
import { MemcachedStore, type MemcachedStoreOptions } from '../../src/stores/memcached.js';
import { openBackend, type Backend } from '../support/backends.js';
import { startMemcached, type MemcachedProcess } from '../support/memcached-process.js';
import { holdFirst, ObservedStore } from '../support/observed-store.js';
import { beforeStatements, Hold } from '../support/statements.js';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.js';
import { answersOf, createTable, defineTable, truthOf, type TeamTable } from '../support/team-rows.js';

const writeLease = 2;
/** Until a marker or a lease of a reader (3 s) is sure to be gone: memcached counts in whole seconds. */
const expired = 4200;

/** What one process has of a table. */
interface Stack {
  readonly sequelize: Sequelize;
  readonly store: ObservedStore;
  readonly flash: FlashCache;
  readonly models: TeamTable;
  /** SQL statements so far. */
  readonly statements: () => number;
}

interface StackOptions {
  readonly setup?: SetupOptions;
  readonly store?: MemcachedStoreOptions;
  readonly beforeStatement?: (sql: string) => Promise<void> | undefined;
}

let backend: Backend;
let tables = 0;

before(async () => {
  backend = await openBackend('mariadb');
});
after(() => backend.close());

async function newTable(): Promise<string> {
  tables += 1;
  const table = `rows_${String(tables)}`;
  await createTable(backend.sequelize, table);
  return table;
}

/** Another process on a table, as far as the cache can tell. */
function open(t: TestContext, table: string, servers: string | readonly string[], options: StackOptions = {}): Stack {
  const { username, password, host, port, database } = backend.sequelize.config as unknown as Readonly<Record<string, string>>;
  const url = `mysql://${username ?? ''}:${password ?? ''}@${host ?? ''}:${port ?? ''}/${database ?? ''}`;
  const sequelize = new Sequelize(url, { dialect: 'mysql', logging: false, pool: { max: 2, idle: 300, evict: 100 } });
  let statements = 0;
  beforeStatements(sequelize, (sql) => {
    statements += 1;
    return options.beforeStatement?.(sql);
  });
  const models = defineTable(sequelize, table);
  const store = new ObservedStore(new MemcachedStore(servers, { timeoutMs: 10_000, ...options.store }));
  const flash = setupCache(sequelize, { store, prefix: 'cluster', alias: 'main', writeLease, leaseWait: 200, ...options.setup });
  t.after(async () => {
    await flash.close(0);
    await store.close();
    await sequelize.close();
  });
  return { sequelize, store, flash, models, statements: () => statements };
}

/** Every lookup answers what the database answers. */
async function assertTrue(table: string, ...stacks: readonly Stack[]): Promise<void> {
  const truth = await truthOf(backend.sequelize, table);
  for (const { models } of stacks) assert.deepEqual(await answersOf(models), truth);
}

/** Nothing is asked of the database any more, and every answer is right. */
async function assertCached(table: string, ...stacks: readonly Stack[]): Promise<void> {
  for (const stack of stacks) {
    let asked = Infinity;
    // Entries "no such row" last no longer than `writeLease`, and may end in between.
    for (let round = 0; round < 10 && asked > 0; round += 1) {
      const from = stack.statements();
      await assertTrue(table, stack);
      asked = stack.statements() - from;
    }
    assert.equal(asked, 0, 'it is cached');
  }
}

async function memcached(t: TestContext, ...given: Parameters<typeof startMemcached>): Promise<MemcachedProcess> {
  const server = await startMemcached(...given);
  t.after(() => server.stop());
  return server;
}

async function proxyOf(t: TestContext, server: MemcachedProcess): Promise<TcpProxy> {
  const proxy = await startTcpProxy(server.port);
  t.after(() => proxy.close());
  return proxy;
}

async function delivered(stack: Stack, withinMs = 10_000): Promise<void> {
  const until = performance.now() + withinMs;
  while (stack.flash.undelivered > 0) {
    assert.ok(performance.now() < until, `${String(stack.flash.undelivered)} invalidations are still undelivered`);
    await sleep(10);
  }
}

/** Ten at a time: each has connections of its own. */
async function inTurns<T>(tasks: readonly (() => Promise<T>)[]): Promise<T[]> {
  const results: T[] = [];
  for (let from = 0; from < tasks.length; from += 10) {
    results.push(...(await Promise.all(tasks.slice(from, from + 10).map((task) => task()))));
  }
  return results;
}

/** The writes that every failure is tried on. */
const writes: Readonly<Record<string, (stack: Stack, count: number) => Promise<unknown>>> = {
  save: async ({ models: { Row } }, count) => (await Row.findByPk(1, { rejectOnEmpty: true })).update({ count }),
  'a rename in a transaction': ({ models: { Row }, sequelize }, count) =>
    sequelize.transaction(async (transaction) => {
      await Row.update({ count, name: 'new' }, { where: { id: 1 }, transaction });
      await Row.create({ name: 'other', team: 'z', count }, { transaction });
    }),
  'a bulk update': ({ models: { Row } }, count) => Row.update({ count, team: 'z' }, { where: { team: 'x' } }),
  'an upsert (wide)': ({ models: { Row } }, count) => Row.upsert({ name: 'a', team: 'y', count }),
};

describe('a reply that gets lost', { concurrency: 2 }, () => {
  /** Cuts the connection after the n-th line that comes from the server, and its first `more` bytes, if n is not 0; counts lines. */
  function cutAfter(proxy: TcpProxy, n: number, more: number): () => number {
    let lines = 0;
    proxy.filter(({ from, data }) => {
      if (from === 'client') return 'forward';
      for (let end = data.indexOf('\r\n'); end >= 0; end = data.indexOf('\r\n', end + 2)) {
        lines += 1;
        if (lines === n) return Math.min(end + 2 + more, data.length);
      }
      return 'forward';
    });
    return () => lines;
  }

  for (const [name, write] of Object.entries(writes)) {
    it(`each one of ${name}: the others read what the database has, and no marker stays`, async (t) => {
      const server = await memcached(t);
      const lose = async (n: number): Promise<{ table: string; stacks: Stack[]; lines: number }> => {
        const table = await newTable();
        const proxy = await proxyOf(t, server);
        const writer = open(t, table, proxy.address, { store: { timeoutMs: 1000, retryMs: 20 } });
        const reader = open(t, table, server.address);
        await assertCached(table, writer, reader);
        const lines = cutAfter(proxy, n, n % 2 === 0 ? 3 : 0);
        await write(writer, 100 + n);
        const counted = lines();
        await delivered(writer);
        await assertTrue(table, reader, writer);
        return { table, stacks: [reader, writer], lines: counted };
      };
      const { lines } = await lose(0);
      assert.ok(lines > 5);
      t.diagnostic(`${name}: ${String(lines)} lines of replies`);
      const cut = await inTurns(Array.from({ length: lines }, (_, at) => () => lose(at + 1)));
      await sleep(expired);
      for (const { table, stacks } of cut) await assertCached(table, ...stacks);
    });
  }

  it('each one of a load: the answer is right, and the next write is seen', async (t) => {
    const server = await memcached(t);
    const lose = async (n: number): Promise<{ table: string; stacks: Stack[]; lines: number }> => {
      const table = await newTable();
      const proxy = await proxyOf(t, server);
      const reader = open(t, table, proxy.address, { store: { timeoutMs: 1000, retryMs: 20 } });
      const writer = open(t, table, server.address);
      const lines = cutAfter(proxy, n, n % 2 === 0 ? 3 : 0);
      await assertTrue(table, reader);
      const counted = lines();
      await writes.save?.(writer, 100 + n);
      await assertTrue(table, reader, writer);
      return { table, stacks: [reader, writer], lines: counted };
    };
    const { lines } = await lose(0);
    assert.ok(lines > 5);
    t.diagnostic(`a load: ${String(lines)} lines of replies`);
    const cut = await inTurns(Array.from({ length: lines }, (_, at) => () => lose(at + 1)));
    await sleep(expired);
    for (const { table, stacks } of cut) await assertCached(table, ...stacks);
  });
});

describe('an entry that is evicted while a write is in flight', { concurrency: 4 }, () => {
  let server: MemcachedProcess;
  before(async () => {
    server = await startMemcached();
  });
  after(() => server.stop());

  const kinds = { epoch: 'e', generation: 'g', 'row entries and their markers': 'r', 'index entries and their markers': 'i', 'results and their markers': 'q', everything: '.' };
  for (const [name, write] of Object.entries(writes)) {
    for (const [what, kind] of Object.entries(kinds)) {
      for (const at of ['before its last statement', 'between its commit and its release'] as const) {
        it(`${name}; ${what}, ${at}`, async (t) => {
          const table = await newTable();
          const hold = new Hold();
          let armed = false;
          const last = name.includes('upsert') ? /^INSERT/ : /^COMMIT/;
          const holdOnce = (): Promise<void> | undefined => {
            if (!armed) return undefined;
            armed = false;
            return hold.here();
          };
          const writer = open(t, table, server.address, {
            beforeStatement: (sql) => (at === 'before its last statement' && last.test(sql) ? holdOnce() : undefined),
          });
          const keys = new Set<string>();
          const reader = open(t, table, server.address);
          for (const { store } of [writer, reader]) {
            const collect = (key: string): void => {
              for (const one of key.split(' ')) keys.add(one);
            };
            store.intercept((_, key) => {
              collect(key);
            });
          }
          if (at !== 'before its last statement') {
            writer.store.intercept((operation, key) => (operation === 'delete' && key.includes(':e:') ? holdOnce() : undefined));
          }
          const late = open(t, table, server.address);
          await assertCached(table, writer, reader);
          armed = true;
          const written = write(writer, 100);
          await hold.reached;
          const evict = async (): Promise<void> => {
            const gone = [...keys].filter((key) => kind === '.' || key.split(':')[2] === kind);
            assert.ok(gone.length > 0, [...keys].join());
            await server.command(gone.map((key) => `delete ${key} noreply\r\n`).join(''));
          };
          await evict();
          // Fills what is not marked any more, and one that has found what it will fill only after the release.
          await assertTrue(table, reader);
          await evict();
          const { reached, release } = holdFirst(late.store, (operation) => operation === 'compareAndSwap');
          const slow = answersOf(late.models);
          await Promise.race([reached, slow]);
          hold.release();
          await written;
          await assertTrue(table, reader, writer);
          release();
          await slow;
          await assertTrue(table, late, reader, writer);
        });
      }
    }
  }
});

describe('memcached under memory pressure', () => {
  it('evicts markers, generation and epoch under load: what is written is read', async (t) => {
    const server = await memcached(t, { memoryMb: 2, extraArgs: ['-o', 'no_modern', '-f', '2'] });
    const table = await newTable();
    const writer = open(t, table, server.address);
    const other = open(t, table, server.address);
    const readers = [open(t, table, server.address), open(t, table, server.address)];
    const until = performance.now() + 4000;
    const running = (): boolean => performance.now() < until;
    const filler = new MemcachedStore(server.address, { timeoutMs: 10_000 });
    t.after(() => filler.close());
    let refused = 0;
    const fill = async (): Promise<void> => {
      for (let at = 0; running(); at += 1) {
        const outcomes = await Promise.allSettled(
          Array.from({ length: 200 }, (_, i) => filler.add(`filler:${String(at)}:${String(i)}`, 'x'.repeat(20 + ((at * 37 + i * 13) % 400)), 60)),
        );
        refused += outcomes.filter(({ status }) => status === 'rejected').length;
      }
    };
    const written = [0, 0];
    let reads = 0;
    const write = async (stack: Stack, id: 1 | 2): Promise<void> => {
      for (let count = 100; running(); count += 1) {
        if (count % 5 === 0) await stack.models.Row.upsert({ id, name: id === 1 ? 'a' : 'b', team: 'x', count });
        else if (count % 2 === 0) await stack.models.Row.update({ count }, { where: { id } });
        else {
          await stack.sequelize.transaction(async (transaction) => {
            await stack.models.Row.update({ count }, { where: { id }, transaction });
          });
        }
        written[id - 1] = count;
      }
    };
    const read = async ({ models: { Row } }: Stack): Promise<void> => {
      while (running()) {
        const least = [...written];
        const found = await Promise.all([Row.cache.get({ id: 1 }), Row.cache.get({ id: 2 }), Row.cache.get({ name: 'a' }), Row.cache.get({ name: 'b' })]);
        reads += found.length;
        for (const [at, { count }] of found.entries()) {
          assert.ok(count >= (least[at % 2] ?? 0), `read ${String(count)} after ${String(least[at % 2])} was written`);
        }
      }
    };
    await Promise.all([fill(), write(writer, 1), write(other, 2), ...readers.map(read)]);
    await assertTrue(table, writer, other, ...readers);
    const stats = await server.command('stats\r\n');
    const evictions = Number(/STAT evictions (\d+)/.exec(stats)?.[1]);
    t.diagnostic(`${String(evictions)} evictions, ${String(refused)} refusals, ${String(reads)} reads, written up to ${written.join(' and ')}`);
    assert.ok(evictions > 1000);
  });
});

describe('servers that are lost and come back', { concurrency: 4 }, () => {
  const quick = { timeoutMs: 250, retryMs: 50 };

  for (const how of ['blackhole', 'refuse'] as const) {
    it(`one of three, for all (${how}): it comes back with its old contents, and nothing of them is read once everything is delivered`, async (t) => {
      const [lost, ...others] = await Promise.all([memcached(t), memcached(t), memcached(t)]);
      const proxy = await proxyOf(t, lost);
      const addresses = [proxy.address, ...others.map(({ address }) => address)];
      const tablesHere = await Promise.all(Array.from({ length: 6 }, newTable));
      // All tables, so that some of each kind of entry are on the server that is lost.
      const writers = tablesHere.map((table) => open(t, table, addresses, { store: quick }));
      const readers = tablesHere.map((table) => open(t, table, addresses, { store: quick }));
      for (const [at, table] of tablesHere.entries()) await assertCached(table, writers[at] ?? assert.fail(), readers[at] ?? assert.fail());
      await proxy.set(how);
      for (const [at, write] of [...Object.values(writes), ...Object.values(writes)].slice(0, 6).entries()) {
        const [table, writer, reader] = [tablesHere[at] ?? '', writers[at] ?? assert.fail(), readers[at] ?? assert.fail()];
        await write(writer, 100);
        await assertTrue(table, writer, reader);
      }
      assert.ok(writers.some(({ flash }) => flash.undelivered > 0));
      await proxy.set('pass');
      for (const [at, table] of tablesHere.entries()) {
        const [writer, reader] = [writers[at] ?? assert.fail(), readers[at] ?? assert.fail()];
        // What this process did not deliver it does not believe.
        await assertTrue(table, writer);
        await delivered(writer);
        await assertTrue(table, reader, writer);
      }
      await sleep(expired);
      for (const [at, table] of tablesHere.entries()) await assertCached(table, writers[at] ?? assert.fail(), readers[at] ?? assert.fail());
    });
  }

  it("'strict': a server that only the writer has lost: a write that could be missed is refused, and nobody ever reads an old value", async (t) => {
    const server = await memcached(t);
    const proxy = await proxyOf(t, server);
    const table = await newTable();
    const writer = open(t, table, proxy.address, { store: quick, setup: { onStoreFailure: 'strict' } });
    const reader = open(t, table, server.address);
    const modes = ['pass', 'refuse', 'pass', 'blackhole', 'pass', 'reset'] as const;
    let refused = 0;
    let done = 0;
    for (const [at, mode] of [...modes, ...modes, ...modes].entries()) {
      await assertTrue(table, reader, writer);
      await proxy.set(mode);
      // A writer that has not noticed yet that the server is back refuses as well.
      if (mode === 'pass') await sleep(4 * quick.retryMs);
      const write = Object.values(writes)[at % 4];
      try {
        if (at % 5 === 0) await write?.(writer, 100 + at);
        else await writer.models.Row.update({ count: 100 + at }, { where: { id: (at % 3) + 1 } });
        done += 1;
      } catch (error) {
        assert.ok(error instanceof InvalidationFailedError, String(error));
        refused += 1;
      }
      await assertTrue(table, reader, writer);
    }
    t.diagnostic(`${String(done)} writes done, ${String(refused)} refused`);
    assert.ok(done > 0 && refused > 0);
  });

  it("a retry does not take the marker of a later write away", async (t) => {
    const server = await memcached(t);
    const proxy = await proxyOf(t, server);
    const table = await newTable();
    const hold = new Hold();
    let armed = false;
    const writer = open(t, table, proxy.address, { store: quick });
    const second = open(t, table, server.address, {
      beforeStatement: (sql) => {
        if (!armed || !sql.startsWith('COMMIT')) return undefined;
        armed = false;
        return hold.here();
      },
    });
    const reader = open(t, table, server.address);
    await assertCached(table, writer, second, reader);
    await proxy.set('refuse');
    await writer.models.Row.update({ count: 100 }, { where: { id: 1 } });
    assert.ok(writer.flash.undelivered > 0);
    armed = true;
    const later = second.sequelize.transaction(async (transaction) => {
      await second.models.Row.update({ count: 200 }, { where: { id: 1 }, transaction });
    });
    await hold.reached;
    await proxy.set('pass');
    await delivered(writer);
    const from = reader.statements();
    await assertTrue(table, reader);
    assert.ok(reader.statements() > from, 'the marker stands');
    const { reached, release } = holdFirst(reader.store, (operation) => operation === 'compareAndSwap');
    const slow = answersOf(reader.models);
    await Promise.race([reached, slow]);
    hold.release();
    await later;
    release();
    await slow;
    await assertTrue(table, reader, writer, second);
  });

  it('undelivered invalidations are bounded, reported, delivered after a late and empty restart, and counted by close()', async (t) => {
    const server = await memcached(t);
    const table = await newTable();
    const writer = open(t, table, server.address, { store: quick, setup: { maxUndelivered: 3 } });
    const reader = open(t, table, server.address, { store: quick });
    await assertCached(table, writer, reader);
    const events: FlashEvents['undelivered'][] = [];
    const listen = (message: unknown): void => void events.push(message as FlashEvents['undelivered']);
    subscribe('sequelize-flash:undelivered', listen);
    t.after(() => {
      unsubscribe('sequelize-flash:undelivered', listen);
    });
    await server.kill();
    for (let count = 100; count < 110; count += 1) {
      await writer.models.Row.update({ count }, { where: { id: (count % 4) + 1 } });
      assert.ok(writer.flash.undelivered <= 3, String(writer.flash.undelivered));
      await assertTrue(table, writer, reader);
    }
    assert.ok(events.length >= 10 && events.every(({ cause, keys }) => cause instanceof Error && keys.length > 0));
    // Late: many retries have failed by then, and their pauses have grown.
    await sleep(2500);
    await server.restart();
    await delivered(writer, 5000);
    await assertTrue(table, writer, reader);
    await server.kill();
    await writer.models.Row.update({ count: 500 }, { where: { id: 1 } });
    const closing = performance.now();
    assert.ok((await writer.flash.close(300)) > 0);
    assert.ok(performance.now() - closing < 3000);
  });

  it('a server that is slow, at times beyond the deadline: right answers, and the deadline is paid once', async (t) => {
    const server = await memcached(t);
    const proxy = await proxyOf(t, server);
    const table = await newTable();
    const slow = open(t, table, proxy.address, { store: quick });
    const other = open(t, table, server.address);
    await assertCached(table, slow, other);
    await proxy.set({ delay: 30 });
    const from = slow.statements();
    await assertTrue(table, slow);
    assert.equal(slow.statements(), from, 'below the deadline it is used');
    await proxy.set({ delay: 400 });
    await slow.models.Row.cache.get({ id: 1 });
    const began = performance.now();
    for (let at = 0; at < 20; at += 1) await slow.models.Row.cache.get({ id: 1 });
    assert.ok(performance.now() - began < 20 * 200, 'the breaker spares the deadline');
    for (const [at, delay] of [400, 0, 200, 120, 400, 60, 130, 0].entries()) {
      await proxy.set({ delay });
      await slow.models.Row.update({ count: 1000 + at }, { where: { id: 1 } });
      await sleep(100);
      await proxy.set({ delay: 5 });
      await delivered(slow);
      await assertTrue(table, slow, other);
      await other.models.Row.update({ count: 2000 + at }, { where: { id: 2 } });
      await assertTrue(table, slow, other);
    }
    await proxy.set('pass');
    await sleep(expired);
    await assertCached(table, slow, other);
  });
});
