/** OpenTelemetry's instrumentation of the `memcached` package: every span that a command starts ends once. */
import assert from 'node:assert/strict';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { once } from 'node:events';
import { after, before, beforeEach, describe, it, type TestContext } from 'node:test';
import { context, SpanStatusCode, trace } from '@opentelemetry/api';
import { registerInstrumentations } from '@opentelemetry/instrumentation';
import { MemcachedInstrumentation } from '@opentelemetry/instrumentation-memcached';
import { InMemorySpanExporter, SimpleSpanProcessor, type ReadableSpan, type SpanProcessor } from '@opentelemetry/sdk-trace-base';
import { NodeTracerProvider } from '@opentelemetry/sdk-trace-node';
import { DataTypes, Model, type CreationOptional, type InferAttributes, type InferCreationAttributes } from 'sequelize';
import { withCache, type FlashCache } from '../../src/index.js';
import { MemcachedStore, type MemcachedStoreOptions } from '../../src/stores/memcached.js';
import { openBackend } from '../support/backends.js';
import { freePort, startMemcached, type MemcachedProcess, type MemcachedProcessOptions } from '../support/memcached-process.js';

const noDeadline = 30_000;

/** Counts starts and ends; a span that is ended twice counts twice. */
class Tally implements SpanProcessor {
  started = 0;
  ended = 0;
  onStart(): void {
    this.started += 1;
  }
  onEnd(): void {
    this.ended += 1;
  }
  forceFlush(): Promise<void> {
    return Promise.resolve();
  }
  shutdown(): Promise<void> {
    return Promise.resolve();
  }
}

const tally = new Tally();
const exporter = new InMemorySpanExporter();
const tracerProvider = new NodeTracerProvider({ spanProcessors: [tally, new SimpleSpanProcessor(exporter)] });
tracerProvider.register();
registerInstrumentations({ tracerProvider, instrumentations: [new MemcachedInstrumentation({ enhancedDatabaseReporting: true })] });

const commandSpans = (): ReadableSpan[] => exporter.getFinishedSpans().filter(({ name }) => name.startsWith('memcached '));
const failed = (spans: readonly ReadableSpan[]): ReadableSpan[] => spans.filter(({ status }) => status.code === SpanStatusCode.ERROR);

function assertAllEnded(): void {
  assert.equal(tally.ended, tally.started, 'spans that started and spans that ended');
  const ids = exporter.getFinishedSpans().map((span) => span.spanContext().spanId);
  assert.equal(new Set(ids).size, ids.length, 'a span ended twice');
}

async function memcached(t: TestContext, options?: MemcachedProcessOptions): Promise<MemcachedProcess> {
  const server = await startMemcached(options);
  t.after(() => server.stop());
  return server;
}

function open(t: TestContext, address: string, options: MemcachedStoreOptions = {}): MemcachedStore {
  const store = new MemcachedStore(address, { timeoutMs: noDeadline, ...options });
  t.after(() => store.close());
  return store;
}

const settled = (operations: readonly Promise<unknown>[]) => Promise.allSettled(operations);

describe('tracing of memcached commands', () => {
  beforeEach(() => {
    exporter.reset();
    tally.started = 0;
    tally.ended = 0;
  });

  it('ends a span without an error for each command that is answered, whatever the answer', async (t) => {
    const store = open(t, (await memcached(t)).address);
    assert.equal(await store.add('key', 'value', 60), true);
    assert.equal(await store.add('key', 'value', 60), false);
    const { items } = await store.get(['key', 'absent']);
    await store.get(['absent']);
    const token = items.get('key')?.token ?? assert.fail();
    assert.equal(await store.compareAndSwap('key', 'other', token, 60), true);
    assert.equal(await store.compareAndSwap('key', 'other', token, 60), false);
    assert.equal(await store.compareAndDelete('key', token), false);
    assert.equal(await store.compareAndDelete('absent', token), false);
    assert.equal(await store.delete('key'), true);
    assert.equal(await store.delete('key'), false);
    assertAllEnded();
    const [add, , gets] = commandSpans();
    assert.deepEqual([add?.attributes['db.memcached.key'], add?.attributes['db.statement']], ['key', 'add key 0 60 5\r\nvalue']);
    assert.deepEqual([gets?.attributes['db.memcached.key'], gets?.attributes['db.statement']], [['key', 'absent'], 'gets key absent']);
    assert.deepEqual(commandSpans().map(({ name }) => name.slice('memcached '.length)), ['add', 'add', 'gets', 'gets', 'cas', 'cas', 'cas', 'cas', 'delete', 'delete']);
    assert.deepEqual(failed(commandSpans()), []);
  });

  it('ends those of many commands under way together', async (t) => {
    const store = open(t, (await memcached(t)).address, { connectionsPerServer: 3, batchSize: 2 });
    const keys = Array.from({ length: 300 }, (_, i) => `key:${String(i)}`);
    await Promise.all([...keys.map((key) => store.add(key, key, 60)), store.get(keys), ...keys.map((key) => store.get([key]))]);
    assertAllEnded();
    assert.ok(tally.started >= 750, `${String(tally.started)} spans`);
    assert.deepEqual(failed(commandSpans()), []);
  });

  it('hands a command the active span as its parent', async (t) => {
    const store = open(t, (await memcached(t)).address);
    await store.get(['key']);
    exporter.reset();
    const tracer = tracerProvider.getTracer('test');
    const parent = tracer.startSpan('request');
    await context.with(trace.setSpan(context.active(), parent), () => store.get(['key']));
    parent.end();
    assert.equal(commandSpans()[0]?.parentSpanContext?.spanId, parent.spanContext().spanId);
  });

  it('ends those of a server that hangs, with the error', async (t) => {
    const server = await memcached(t);
    const store = open(t, server.address, { timeoutMs: 100, retryMs: 10 });
    await store.get(['key']).then(({ failures }) => assert.equal(failures.size, 0, 'the server answers first'));
    exporter.reset();
    tally.started = tally.ended = 0;
    server.pause();
    await settled([store.get(['key']), store.add('key', 'value', 60), store.delete('key')]);
    assertAllEnded();
    const spans = commandSpans();
    assert.deepEqual(spans.map(({ name }) => name), ['memcached gets', 'memcached add', 'memcached delete']);
    assert.equal(failed(spans).length, 3);
    assert.match(spans[0]?.status.message ?? '', /did not answer 'gets' within 100 ms/);
    // The late answers are nobody's.
    server.resume();
    while ((await store.get(['key'])).failures.size > 0) await new Promise((resolve) => setTimeout(resolve, 5));
    assert.equal(tally.ended, tally.started);
  });

  it('starts none, or ends it, where no connection can be made', async (t) => {
    const store = open(t, `127.0.0.1:${String(await freePort())}`, { retryMs: 5 });
    for (let i = 0; i < 5; i += 1) await settled([store.get(['key']), store.add('key', 'value', 60), store.delete('key')]);
    assertAllEnded();
  });

  it('ends those under way at close, and at the end of the connection', async (t) => {
    const server = await memcached(t);
    for (const end of [(store: MemcachedStore) => store.close(), () => server.kill()]) {
      const store = open(t, server.address);
      await store.get(['key']);
      server.pause();
      const pending = settled([store.get(['a', 'b']), store.add('key', 'value', 60), store.compareAndDelete('key', '1.1')]);
      await new Promise(setImmediate);
      await end(store);
      await pending;
      assertAllEnded();
      assert.ok(failed(commandSpans()).length >= 2);
      await store.close();
      server.resume();
      exporter.reset();
      tally.started = tally.ended = 0;
    }
  });

  it('ends those that are refused or answered with nonsense, with the error', async (t) => {
    for (const [reply, expected] of [
      ['SERVER_ERROR out of memory\r\n', /out of memory/],
      ['nonsense\r\n', /nonsense/],
      ['ERROR\r\n', /ERROR/],
      ['VALUE other 0 1 1\r\nx\r\nEND\r\n', /VALUE other/],
    ] as const) {
      exporter.reset();
      tally.started = tally.ended = 0;
      const sockets = new Set<Socket>();
      const nonsense = createServer((socket) => {
        sockets.add(socket);
        socket.on('error', () => undefined).on('data', () => socket.write(reply));
      });
      nonsense.listen(0, '127.0.0.1');
      await once(nonsense, 'listening');
      const store = open(t, `127.0.0.1:${String((nonsense.address() as AddressInfo).port)}`, { retryMs: noDeadline });
      await settled([store.get(['key'])]);
      assertAllEnded();
      const [span] = commandSpans();
      assert.match(span?.status.message ?? '', expected);
      await store.close();
      for (const socket of sockets) socket.destroy();
      nonsense.close();
    }
  });
});

class User extends Model<InferAttributes<User>, InferCreationAttributes<User>> {
  declare id: CreationOptional<number>;
  declare name: string;
}

describe('tracing of a cached model', () => {
  let close: () => Promise<void> = () => Promise.resolve();
  let cache: FlashCache;
  after(() => close());
  before(async () => {
    const backend = await openBackend('mariadb');
    close = () => backend.close();
    User.init({ id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true }, name: DataTypes.STRING }, { sequelize: backend.sequelize, timestamps: false });
    withCache(User, { keys: ['id', 'name'] });
    cache = backend.setup();
    await backend.sequelize.sync();
  });

  it('ends every span of cold and warm reads, misses and writes', async () => {
    exporter.reset();
    tally.started = tally.ended = 0;
    const manager = (User as unknown as { cache: { getOrNone(key: object): Promise<User | null> } }).cache;
    await User.create({ name: 'a' });
    for (let i = 0; i < 20; i += 1) assert.equal((await manager.getOrNone({ id: 1 }))?.name, 'a');
    await Promise.all(Array.from({ length: 100 }, (_, i) => manager.getOrNone({ id: i + 1 })));
    await User.update({ name: 'b' }, { where: { id: 1 } });
    assert.equal((await manager.getOrNone({ name: 'b' }))?.id, 1);
    await User.destroy({ where: { id: 1 } });
    assert.equal(await manager.getOrNone({ id: 1 }), null);
    await cache.close();
    assertAllEnded();
    assert.ok(tally.started > 100);
    assert.deepEqual(failed(commandSpans()), []);
  });
});
