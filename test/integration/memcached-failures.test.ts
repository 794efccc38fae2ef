/** What the store promises while memcached is stopped, killed, restarted, cut off, or is no memcached. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { channels } from '../../src/events.js';
import { StoreClosedError, StoreProtocolError, StoreTimeoutError, StoreUnavailableError } from '../../src/errors.js';
import { MemcachedStore, type MemcachedStoreOptions, type ServerStateChange } from '../../src/stores/memcached.js';
import { startTcpProxy } from '../support/tcp-proxy.js';
import { freePort, startMemcached, type MemcachedProcess, type MemcachedProcessOptions } from '../support/memcached-process.js';

/** For tests that must not meet the deadline, however slow the machine is. */
const noDeadline = 30_000;

interface Observed {
  readonly store: MemcachedStore;
  readonly changes: readonly ServerStateChange[];
  /** Resolves with the next change to this state, or the one that has been announced already. */
  readonly becomes: (state: ServerStateChange['state']) => Promise<ServerStateChange>;
}

function observe(t: TestContext, servers: string | readonly string[], options: MemcachedStoreOptions = {}): Observed {
  const changes: ServerStateChange[] = [];
  let seen = 0;
  let wake = (): void => undefined;
  const store = new MemcachedStore(servers, {
    ...options,
    onStateChange: (change) => {
      changes.push(change);
      wake();
    },
  });
  t.after(() => store.close());
  return {
    store,
    changes,
    becomes: async (state) => {
      for (;;) {
        while (seen < changes.length) {
          const change = changes[seen];
          seen += 1;
          if (change?.state === state) return change;
        }
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    },
  };
}

async function memcached(t: TestContext, options?: MemcachedProcessOptions): Promise<MemcachedProcess> {
  const server = await startMemcached(options);
  t.after(() => server.stop());
  return server;
}

/** A TCP server on loopback that does with each connection what the test says. */
async function fakeServer(t: TestContext, serve: (socket: Socket, connection: number) => void, at: string | number = 0): Promise<string> {
  const sockets = new Set<Socket>();
  let connections = 0;
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    // The store cuts connections off in the middle of what is sent; that is what is tested.
    socket.on('error', () => socket.destroy());
    connections += 1;
    serve(socket, connections);
  });
  if (typeof at === 'string') server.listen(at);
  else server.listen(at, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  const address = server.address();
  assert.ok(address !== null);
  return typeof address === 'string' ? address : `127.0.0.1:${String(address.port)}`;
}

async function failureOf(store: MemcachedStore, key: string): Promise<Error | undefined> {
  const { items, failures } = await store.get([key]);
  assert.ok(!(items.has(key) && failures.has(key)));
  return failures.get(key);
}

async function valueOf(store: MemcachedStore, key: string): Promise<string | undefined> {
  const { items, failures } = await store.get([key]);
  assert.deepEqual([...failures.values()], []);
  return items.get(key)?.value;
}

/** Asserts that it settles without waiting for anything: no timer, no socket. */
async function atOnce<T>(promise: Promise<T>): Promise<T> {
  let late = false;
  setImmediate(() => {
    late = true;
  });
  try {
    return await promise;
  } finally {
    assert.equal(late, false, 'it waited for something');
  }
}

describe('MemcachedStore and a server that hangs (SIGSTOP)', () => {
  it('costs the deadline once, then nothing, and is used again within a second of its return', async (t) => {
    const server = await memcached(t);
    const { store, changes, becomes } = observe(t, server.address);
    await store.add('key', 'value', 60);
    const token = (await store.get(['key'])).items.get('key')?.token ?? '';

    server.pause();
    const started = performance.now();
    const [first, ...others] = await Promise.all([
      failureOf(store, 'key'),
      ...Array.from({ length: 20 }, () => failureOf(store, 'key')),
      store.add('other', 'value', 60).catch((error: unknown) => error),
    ]);
    const took = performance.now() - started;
    assert.ok(first instanceof StoreTimeoutError);
    // Those a moment behind the first do not wait for their own deadline.
    for (const other of others) {
      assert.ok(other instanceof StoreTimeoutError || (other instanceof StoreUnavailableError && other.cause === first));
    }
    assert.ok(took > 240 && took < 2000, `the deadline of 250 ms took ${String(took)} ms`);

    for (let i = 0; i < 20; i += 1) {
      assert.ok((await atOnce(failureOf(store, 'key'))) instanceof StoreUnavailableError);
      await assert.rejects(atOnce(store.add('other', 'value', 60)), StoreUnavailableError);
      await assert.rejects(atOnce(store.compareAndSwap('key', 'value', token, 60)), StoreUnavailableError);
      await assert.rejects(atOnce(store.compareAndDelete('key', token)), StoreUnavailableError);
      await assert.rejects(atOnce(store.delete('key')), StoreUnavailableError);
    }
    const down = await becomes('down');
    assert.equal(down.server, server.address);
    assert.ok(down.cause instanceof StoreTimeoutError);
    assert.match(down.cause.message, new RegExp(`${server.address} did not answer 'gets' within 250 ms`));

    server.resume();
    const resumed = performance.now();
    await becomes('up');
    const back = performance.now() - resumed;
    assert.ok(back < 1000, `it was used again after ${String(back)} ms`);
    assert.equal(await valueOf(store, 'key'), 'value');
    assert.deepEqual(changes.map(({ state }) => state), ['down', 'up']);
  });

  it('stays down while probe after probe hangs', async (t) => {
    const server = await memcached(t);
    const { store, changes, becomes } = observe(t, server.address, { timeoutMs: 30, retryMs: 20 });
    server.pause();
    assert.ok((await failureOf(store, 'key')) instanceof StoreTimeoutError);
    // Several probes go by: each hangs for 30 ms, 20 ms after the one before.
    for (const until = performance.now() + 300; performance.now() < until; ) {
      assert.ok((await atOnce(failureOf(store, 'key'))) instanceof StoreUnavailableError);
      await new Promise(setImmediate);
    }
    assert.deepEqual(changes.map(({ state }) => state), ['down']);
    server.resume();
    await becomes('up');
  });

  it('refuses commands over maxPending at once', async (t) => {
    const server = await memcached(t);
    const { store, changes } = observe(t, server.address, { timeoutMs: noDeadline, maxPending: 3 });
    await store.get(['key']);
    server.pause();
    const pending = ['a', 'b', 'c'].map((key) => store.add(key, 'value', 60));
    assert.match(String(await atOnce(failureOf(store, 'key'))), /3 unanswered commands.*'maxPending'/);
    await assert.rejects(atOnce(store.delete('key')), StoreUnavailableError);
    server.resume();
    assert.deepEqual(await Promise.all(pending), [true, true, true]);
    assert.equal(await failureOf(store, 'key'), undefined);
    assert.deepEqual(changes, []);
  });

  it('ends what is pending when it is closed', async (t) => {
    const server = await memcached(t);
    const { store } = observe(t, server.address, { timeoutMs: noDeadline });
    await store.get(['key']);
    server.pause();
    const got = failureOf(store, 'key');
    const added = store.add('key', 'value', 60);
    await store.close();
    assert.ok((await atOnce(got)) instanceof StoreClosedError);
    await assert.rejects(atOnce(added), StoreClosedError);
  });
});

describe('MemcachedStore and a server that accepts no connection', () => {
  it('costs the deadline once, and is used again within a second', async (t) => {
    const server = await memcached(t, { extraArgs: ['-b', '1'] });
    server.pause();
    // Once the kernel's queue is full it answers no further attempt to connect.
    const queued = Array.from({ length: 8 }, () => connect(server.port, '127.0.0.1').on('error', () => undefined));
    t.after(() => {
      for (const socket of queued) socket.destroy();
    });
    await once(queued[0] ?? assert.fail(), 'connect');
    const { store, becomes } = observe(t, server.address, { timeoutMs: 100 });
    assert.ok((await failureOf(store, 'key')) instanceof StoreTimeoutError);
    assert.ok((await atOnce(failureOf(store, 'key'))) instanceof StoreUnavailableError);
    for (const socket of queued) socket.destroy();
    server.resume();
    const resumed = performance.now();
    await becomes('up');
    const back = performance.now() - resumed;
    assert.ok(back < 1000, `it was used again after ${String(back)} ms`);
    assert.equal(await store.add('key', 'value', 60), true);
  });
});

describe('MemcachedStore and a process that was blocked', () => {
  it('takes an answer that came in time for one, although the deadline has passed', async (t) => {
    const server = await memcached(t);
    const { store, changes } = observe(t, server.address, { timeoutMs: 200 });
    await store.add('key', 'x'.repeat(500_000), 60);
    await store.get(['key']);
    const reply = store.get(['key']);
    // Let the command leave; then neither timers nor sockets are served until long after the deadline.
    await new Promise<void>((resolve) => {
      process.nextTick(resolve);
    });
    for (const until = performance.now() + 500; performance.now() < until; );
    const { items, failures } = await reply;
    assert.deepEqual([...failures.values()], []);
    assert.equal(items.get('key')?.value.length, 500_000);
    assert.deepEqual(changes, []);
  });
});

describe('MemcachedStore and a server that dies (SIGKILL)', () => {
  it('fails what is under way without waiting for the deadline, and comes back empty', async (t) => {
    const server = await memcached(t);
    const { store, changes, becomes } = observe(t, server.address, { timeoutMs: noDeadline });
    await store.add('key', 'value', 60);
    server.pause();
    const got = failureOf(store, 'key');
    const added = assert.rejects(store.add('other', 'value', 60), StoreUnavailableError);
    await server.kill();
    assert.ok((await got) instanceof StoreUnavailableError);
    await added;
    assert.ok((await atOnce(failureOf(store, 'key'))) instanceof StoreUnavailableError);
    assert.ok((await becomes('down')).cause instanceof StoreUnavailableError);

    await server.restart();
    const restarted = performance.now();
    await becomes('up');
    const back = performance.now() - restarted;
    assert.ok(back < 1000, `it was used again after ${String(back)} ms`);
    assert.equal(await valueOf(store, 'key'), undefined);
    assert.equal(await store.add('key', 'new', 60), true);
    assert.deepEqual(changes.map(({ state }) => state), ['down', 'up']);
  });

  it('is down at once when nothing listens, from the first use', async (t) => {
    const address = `127.0.0.1:${String(await freePort())}`;
    const { store, becomes } = observe(t, address, { timeoutMs: noDeadline });
    const failures = await Promise.all(Array.from({ length: 5 }, () => failureOf(store, 'key')));
    for (const failure of failures) {
      assert.ok(failure instanceof StoreUnavailableError);
      assert.match(failure.message, /ECONNREFUSED/);
    }
    const { cause } = await becomes('down');
    assert.match(String(cause), /cannot be reached: .*ECONNREFUSED/);
  });

  it('does not notice a restart between two commands', async (t) => {
    const server = await memcached(t);
    const { store, changes } = observe(t, server.address, { timeoutMs: noDeadline });
    await store.add('key', 'value', 60);
    await server.restart();
    assert.equal(await valueOf(store, 'key'), undefined);
    assert.equal(await store.add('key', 'new', 60), true);
    assert.deepEqual(changes, []);
  });

  it('never takes a token from before a restart for the number that counts anew', async (t) => {
    const server = await memcached(t);
    const { store } = observe(t, server.address, { timeoutMs: noDeadline });
    const uniqueOf = async (): Promise<string | undefined> =>
      /^VALUE key 0 \d+ (\d+)/.exec(await server.command('gets key\r\n'))?.[1];
    await store.add('key', 'old', 60);
    const token = (await store.get(['key'])).items.get('key')?.token ?? '';
    const unique = await uniqueOf();

    await server.restart();
    await store.add('key', 'new', 60);
    assert.equal(await uniqueOf(), unique, 'the test is void unless both have the same number');
    assert.equal(await store.compareAndSwap('key', 'stale', token, 60), false);
    assert.equal(await store.compareAndDelete('key', token), false);
    assert.equal(await valueOf(store, 'key'), 'new');
  });

  it('recovers from a connection that is reset in the middle of a reply', async (t) => {
    const server = await memcached(t);
    let reset = true;
    const address = await fakeServer(t, (socket) => {
      const upstream = connect(server.port, '127.0.0.1');
      socket.pipe(upstream);
      upstream.on('error', () => socket.destroy());
      upstream.on('data', (data) => {
        if (!reset) socket.write(data);
        else socket.write(data.subarray(0, 10), () => socket.resetAndDestroy());
      });
      socket.on('close', () => upstream.destroy());
    });
    const { store, becomes } = observe(t, address, { timeoutMs: noDeadline, retryMs: 10 });
    assert.equal((await server.command('add key 0 0 5\r\nvalue\r\n')).trim(), 'STORED');
    assert.ok((await failureOf(store, 'key')) instanceof StoreUnavailableError);
    reset = false;
    await becomes('up');
    assert.equal(await valueOf(store, 'key'), 'value');
  });
});

describe('MemcachedStore and several servers', () => {
  const keys = Array.from({ length: 3000 }, (_, i) => `flash:main:r:users:=${String(i)}`);

  it('loses the keys of the server that is down, moves none, and has them back', async (t) => {
    const servers = await Promise.all([memcached(t), memcached(t), memcached(t)]);
    const [dead, ...alive] = servers;
    const { store, changes, becomes } = observe(t, servers.map(({ address }) => address), { timeoutMs: noDeadline });
    await Promise.all(keys.map((key) => store.add(key, key, 600)));

    const holds = async (server: MemcachedProcess, key: string): Promise<boolean> =>
      (await server.command(`get ${key}\r\n`)).startsWith('VALUE');
    await dead.kill();
    const first = await store.get(keys);
    assert.equal(first.items.size + first.failures.size, keys.length);
    for (const failure of first.failures.values()) assert.ok(failure instanceof StoreUnavailableError);
    const lost = [...first.failures.keys()];
    // A third each: the probability of being off by more than 20 % is that of ten standard deviations.
    assert.ok(lost.length > 800 && lost.length < 1200, `${String(lost.length)} of 3000 keys are on one of three servers`);
    assert.deepEqual((await becomes('down')).server, dead.address);

    const key = lost[0] ?? '';
    await assert.rejects(atOnce(store.add(key, 'elsewhere', 60)), StoreUnavailableError);
    for (const server of alive) assert.equal(await holds(server, key), false);
    const kept = keys.filter((candidate) => !first.failures.has(candidate));
    const second = await store.get(kept);
    assert.equal(second.items.size, kept.length);
    assert.equal(await store.delete(kept[0] ?? ''), true);

    await dead.restart();
    await becomes('up');
    assert.equal(await store.add(key, 'back', 60), true);
    assert.equal(await holds(dead, key), true);
    assert.deepEqual(new Set(changes.map(({ server }) => server)), new Set([dead.address]));
  });

  it('finds the same server whatever the order, and moves only keys of a server that was taken out', async (t) => {
    const [gone, ...others] = await Promise.all([memcached(t), memcached(t), memcached(t)]);
    const addresses = [gone, ...others].map(({ address }) => address);
    const { store } = observe(t, addresses, { timeoutMs: noDeadline });
    await Promise.all(keys.map((key) => store.add(key, 'value', 600)));

    const reversed = observe(t, [...addresses].reverse(), { timeoutMs: noDeadline, connectionsPerServer: 2 });
    assert.equal((await reversed.store.get(keys)).items.size, keys.length);

    const before = Number(/STAT curr_items (\d+)/.exec(await gone.command('stats\r\n'))?.[1]);
    const fewer = observe(t, others.map(({ address }) => address), { timeoutMs: noDeadline });
    assert.equal((await fewer.store.get(keys)).items.size, keys.length - before);
  });
});

describe('MemcachedStore and what other programs stored', () => {
  it('hands it over as text, whatever its flags and bytes, and loses no other reply', async (t) => {
    const server = await memcached(t);
    const { store, changes } = observe(t, server.address, { timeoutMs: noDeadline });
    const foreign: readonly [key: string, flags: number, value: Buffer][] = [
      ['json', 2, Buffer.from('{not json')],
      ['json2', 2, Buffer.from('{"__proto__":{"polluted":true}}')],
      ['binary', 4, Buffer.from([0, 1, 2, 253, 254, 255])],
      ['number', 8, Buffer.from('12.50')],
      ['all', 4_294_967_295, Buffer.from('x')],
      ['lines', 0, Buffer.from('a\r\nEND\r\nVALUE ours 0 1 1\r\nx\r\nEND\r\nSTORED\r\n')],
      ['breaks', 2, Buffer.from('\r\n\r\n\r\n')],
      ['error', 0, Buffer.from('SERVER_ERROR out of memory\r\nERROR\r\n')],
      ['end', 0, Buffer.from('END')],
      ['empty', 2, Buffer.alloc(0)],
      ['large', 2, Buffer.alloc(900_000, '\r\nEND')],
    ];
    for (const [key, flags, value] of foreign) {
      const head = Buffer.from(`set ${key} ${String(flags)} 0 ${String(value.length)}\r\n`);
      assert.equal((await server.command(Buffer.concat([head, value, Buffer.from('\r\n')]))).trim(), 'STORED');
    }
    await store.add('ours', 'our value', 60);
    for (const [key, , value] of foreign) {
      const [alone, together, ours] = await Promise.all([
        store.get([key]),
        store.get(['absent', ...foreign.map(([other]) => other), 'ours']),
        store.get(['ours']),
      ]);
      for (const { items, failures } of [alone, together]) {
        assert.equal(failures.size, 0);
        assert.equal(items.get(key)?.value, value.toString('utf8'), key);
      }
      assert.equal(together.items.size, foreign.length + 1);
      assert.equal(ours.items.get('ours')?.value, 'our value');
    }
    // What cannot be used can be replaced and removed.
    const { items } = await store.get(['json', 'lines']);
    assert.equal(await store.compareAndSwap('json', 'healed', items.get('json')?.token ?? '', 60), true);
    assert.equal(await store.compareAndDelete('lines', items.get('lines')?.token ?? ''), true);
    assert.equal(await valueOf(store, 'json'), 'healed');
    assert.equal(await valueOf(store, 'lines'), undefined);
    assert.deepEqual(changes, []);
  });
});

describe('MemcachedStore and a command that the server refuses', () => {
  it('fails that command only when the value is too large for the server', async (t) => {
    const server = await memcached(t);
    const { store, changes } = observe(t, server.address, { timeoutMs: noDeadline, maxValueBytes: 4_000_000 });
    await store.add('key', 'value', 60);
    const [added, large, other] = await Promise.allSettled([
      store.add('a', 'value', 60),
      store.add('large', 'x'.repeat(2_000_000), 60),
      store.add('b', 'value', 60),
    ]);
    assert.deepEqual([added.status, other.status], ['fulfilled', 'fulfilled']);
    assert.ok(large.status === 'rejected' && large.reason instanceof StoreProtocolError);
    assert.match(large.reason.message, /SERVER_ERROR object too large/);
    const { token } = (await store.get(['key'])).items.get('key') ?? { token: '' };
    await assert.rejects(store.compareAndSwap('key', 'x'.repeat(2_000_000), token, 60), StoreProtocolError);
    assert.equal(await valueOf(store, 'b'), 'value');
    assert.deepEqual(changes, []);
  });

  it('fails that command only when the server is out of memory', async (t) => {
    const server = await memcached(t, { memoryMb: 8, extraArgs: ['-M'] });
    const { store, changes } = observe(t, server.address, { timeoutMs: noDeadline });
    await store.add('key', 'value', 60);
    const outcomes = await Promise.allSettled(
      Array.from({ length: 100 }, (_, i) => store.add(`large:${String(i)}`, 'x'.repeat(400_000), 60)),
    );
    const refused = outcomes.filter((outcome) => outcome.status === 'rejected');
    assert.ok(refused.length > 0);
    for (const { reason } of refused) {
      assert.ok(reason instanceof StoreProtocolError);
      assert.match(reason.message, /SERVER_ERROR out of memory/);
    }
    assert.equal(await valueOf(store, 'key'), 'value');
    // However often it refuses, it is said once.
    assert.deepEqual(changes.map(({ server: name, state }) => [name, state]), [[server.address, 'full']]);
    const [state] = store.state();
    assert.equal(state?.state, 'full');
    assert.equal(state.reached, true);
    assert.match(String(state.lastError), /SERVER_ERROR out of memory/);
  });
});

describe('MemcachedStore and the state of its servers', () => {
  it('says what it knows of each, and publishes every change', async (t) => {
    const published: unknown[] = [];
    const listen = (message: unknown): void => void published.push(message);
    subscribe(channels.server.name, listen);
    t.after(() => unsubscribe(channels.server.name, listen));
    const server = await memcached(t);
    const never = `127.0.0.1:${String(await freePort())}`;
    const { store, changes, becomes } = observe(t, [server.address, never], { retryMs: 10 });
    const stateOf = (name: string) => store.state().find((state) => state.server === name) ?? assert.fail();
    for (const name of [server.address, never]) {
      const { state, reached, lastError } = stateOf(name);
      assert.deepEqual([state, reached, lastError], ['untried', false, undefined]);
    }
    const keys = Array.from({ length: 50 }, (_, i) => `key:${String(i)}`);
    const { failures } = await store.get(keys);
    assert.ok(failures.size > 0 && failures.size < keys.length, 'the keys are spread');
    assert.deepEqual([stateOf(server.address).state, stateOf(server.address).reached], ['up', true]);
    assert.deepEqual([stateOf(never).state, stateOf(never).reached], ['down', false]);
    assert.match(String(stateOf(never).lastError), /cannot be reached: .*ECONNREFUSED/);
    await becomes('down');

    const before = stateOf(server.address).since;
    await server.kill();
    await store.get(keys);
    assert.equal((await becomes('down')).server, server.address);
    const down = stateOf(server.address);
    assert.deepEqual([down.state, down.reached], ['down', true]);
    assert.ok(down.since >= before && down.lastErrorAt !== undefined && down.lastErrorAt >= before);
    await server.restart();
    await becomes('up');
    const up = stateOf(server.address);
    assert.deepEqual([up.state, up.reached, up.lastError !== undefined], ['up', true, true]);
    assert.equal(stateOf(never).state, 'down');

    assert.deepEqual(published, changes);
    assert.deepEqual(changes.map(({ server: name, state }) => [name, state]), [[never, 'down'], [server.address, 'down'], [server.address, 'up']]);
  });

  it('does not use a server without tokens (-C), says so once, and uses it when it has them', async (t) => {
    const server = await memcached(t, { extraArgs: ['-C'] });
    const { store, changes, becomes } = observe(t, server.address, { timeoutMs: noDeadline, retryMs: 10 });
    assert.equal(await store.add('key', 'value', 60), true);
    const failure = await failureOf(store, 'key');
    assert.ok(failure instanceof StoreProtocolError, String(failure));
    assert.match(failure.message, /gives values no tokens: it was started with -C/);
    assert.match(String((await becomes('down')).cause), /started with -C/);
    // Several probes go by, and each finds it as it was.
    for (const until = performance.now() + 200; performance.now() < until; ) {
      await assert.rejects(store.add('other', 'value', 60), StoreUnavailableError);
      await new Promise(setImmediate);
    }
    assert.deepEqual(changes.map(({ state }) => state), ['down']);
    const [state] = store.state();
    assert.deepEqual([state?.state, state?.reached], ['down', true]);
    assert.match(String(state?.lastError), /started with -C/);

    const { port } = server;
    await server.kill();
    const other = await memcached(t, { port });
    await becomes('up');
    assert.equal(await store.add('key', 'value', 60), true);
    assert.equal(await valueOf(store, 'key'), 'value');
    await other.stop();
  });

  it('names every address of a host that cannot be reached', async (t) => {
    const { store } = observe(t, `localhost:${String(await freePort())}`);
    assert.match(String(await failureOf(store, 'key')), /cannot be reached: .*ECONNREFUSED/);
  });
});

describe('MemcachedStore and a server that is no memcached', () => {
  const reply =
    (text: string | Buffer) =>
    (socket: Socket): void => {
      socket.on('data', () => socket.write(text));
    };
  const cases: readonly [name: string, serve: (socket: Socket) => void][] = [
    ['speaks HTTP', reply('HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n')],
    ['says ERROR', reply('ERROR\r\n')],
    ['refuses the client', reply('CLIENT_ERROR unauthenticated\r\n')],
    ['answers another command', reply('STORED\r\n')],
    ['answers a number', reply('42\r\n')],
    ['answers an empty line', reply('\r\n')],
    ['greets before it is asked', (socket) => void socket.write('220 mail.example.org ESMTP\r\n')],
    ['sends random bytes', reply(Buffer.from(Array.from({ length: 4096 }, (_, i) => (i * 167) % 256)))],
    ['sends a line without end', (socket) => void socket.on('data', () => socket.write('x'.repeat(100_000)))],
    ['sends a key that was not asked for', reply('VALUE other 0 1 1\r\nx\r\nEND\r\n')],
    ['sends no token', reply('VALUE key 0 1\r\nx\r\nEND\r\n')],
    ['sends a malformed token', reply('VALUE key 0 1 1x\r\nx\r\nEND\r\n')],
    ['sends a malformed length', reply('VALUE key 0 -1 1\r\nx\r\nEND\r\n')],
    ['sends more fields than there are', reply('VALUE key 0 1 1 1\r\nx\r\nEND\r\n')],
    ['sends a longer value than announced', reply('VALUE key 0 1 1\r\nxyz\r\nEND\r\n')],
    ['sends a shorter value than announced', reply('VALUE key 0 4 1\r\nxyz\r\nEND\r\n')],
  ];
  for (const [name, serve] of cases) {
    it(`and ${name}: the reply counts for nothing, and the connection is not used again`, async (t) => {
      const address = await fakeServer(t, serve);
      // A retry that is far off: nothing but the one reply decides.
      const { store, becomes } = observe(t, address, { timeoutMs: noDeadline, retryMs: 60_000 });
      const { items, failures } = await store.get(['key', 'second']);
      assert.equal(items.size, 0);
      assert.deepEqual([...failures.keys()], ['key', 'second']);
      for (const failure of failures.values()) assert.ok(failure instanceof StoreProtocolError, String(failure));
      assert.ok((await becomes('down')).cause instanceof StoreProtocolError);
      assert.ok((await atOnce(failureOf(store, 'key'))) instanceof StoreUnavailableError);
    });
  }

  it('and closes every connection: unavailable', async (t) => {
    const address = await fakeServer(t, (socket) => socket.end());
    const { store, becomes } = observe(t, address, { timeoutMs: noDeadline });
    assert.ok((await failureOf(store, 'key')) instanceof StoreUnavailableError);
    await becomes('down');
  });

  it('and says nothing: the deadline', async (t) => {
    const address = await fakeServer(t, () => undefined);
    const { store, becomes } = observe(t, address, { timeoutMs: 20 });
    await assert.rejects(store.delete('key'), StoreTimeoutError);
    assert.ok((await becomes('down')).cause instanceof StoreTimeoutError);
  });

  it('and refuses to be probed: stays down, and no connection or timer is left behind', async (t) => {
    const warnings: Error[] = [];
    const warned = (warning: Error): void => void warnings.push(warning);
    process.on('warning', warned);
    t.after(() => process.off('warning', warned));
    const open = new Set<Socket>();
    let connections = 0;
    const address = await fakeServer(t, (socket, connection) => {
      connections = connection;
      open.add(socket);
      socket.on('close', () => open.delete(socket));
      socket.on('data', (data) => {
        const probed = data.toString().startsWith('version');
        socket.write(probed ? (connections < 5 ? 'SERVER_ERROR busy\r\n' : 'VERSION 1\r\n') : 'ERROR\r\n');
      });
    });
    const { store, changes, becomes } = observe(t, address, { timeoutMs: noDeadline, retryMs: 5 });
    await failureOf(store, 'key');
    await becomes('up');
    assert.equal(connections, 5);
    assert.deepEqual(changes.map(({ state }) => state), ['down', 'up']);
    while (open.size > 1) await new Promise(setImmediate);
    await store.close();
    // A timer for a probe that nobody wants has no end, which Node warns of and takes for at once.
    await sleep(20);
    assert.deepEqual(warnings, []);
    assert.equal(connections, 5);
  });

  it('and answers twice: the second answer reaches no command', async (t) => {
    let connections = 0;
    const address = await fakeServer(t, (socket, connection) => {
      connections = connection;
      socket.on('data', (data) => {
        const text = data.toString();
        if (text.startsWith('version')) socket.write('VERSION 1\r\n');
        else if (connection === 1) socket.write('END\r\nVALUE key 0 5 1\r\nwrong\r\nEND\r\n');
        else socket.write('VALUE key 0 5 1\r\nright\r\nEND\r\n');
      });
    });
    const { store, becomes } = observe(t, address, { timeoutMs: noDeadline, retryMs: 10 });
    assert.equal(await valueOf(store, 'key'), undefined);
    assert.ok((await becomes('down')).cause instanceof StoreProtocolError);
    await becomes('up');
    assert.equal(await valueOf(store, 'key'), 'right');
    assert.equal(connections, 2);
  });

  it('and answers after the deadline: the late answer reaches no command', async (t) => {
    const sockets: Socket[] = [];
    const address = await fakeServer(t, (socket, connection) => {
      sockets.push(socket);
      socket.on('data', (data) => {
        if (data.toString().startsWith('version')) socket.write('VERSION 1\r\n');
        else if (connection > 1) socket.write('VALUE key 0 5 1\r\nright\r\nEND\r\n');
      });
    });
    const { store, becomes } = observe(t, address, { timeoutMs: 20, retryMs: 10 });
    assert.ok((await failureOf(store, 'key')) instanceof StoreTimeoutError);
    sockets[0]?.write('VALUE key 0 5 1\r\nwrong\r\nEND\r\n');
    await becomes('up');
    const answers = await Promise.all(Array.from({ length: 3 }, () => store.get(['key'])));
    for (const { items } of answers) assert.notEqual(items.get('key')?.value, 'wrong');
  });

  it('and sends its reply byte by byte: it is read all the same', async (t) => {
    const text = Buffer.from('VALUE key 0 8 7\r\n\r\nä\r\nx\r\r\nVALUE second 2 0 8\r\n\r\nEND\r\n');
    const address = await fakeServer(t, (socket) => {
      socket.setNoDelay(true);
      socket.on('data', () => {
        const send = (at: number): void => {
          if (at < text.length) socket.write(text.subarray(at, at + 1), () => setImmediate(send, at + 1));
        };
        send(0);
      });
    });
    const { store } = observe(t, address, { timeoutMs: noDeadline });
    const { items, failures } = await store.get(['second', 'key']);
    assert.equal(failures.size, 0);
    assert.deepEqual([...items].map(([key, { value }]) => [key, value]), [
      ['key', '\r\nä\r\nx\r'],
      ['second', ''],
    ]);
  });
});

describe('MemcachedStore by other addresses', () => {
  const relay =
    (server: MemcachedProcess) =>
    (socket: Socket): void => {
      const upstream = connect(server.port, '127.0.0.1');
      upstream.on('error', () => socket.destroy());
      socket.pipe(upstream).pipe(socket);
    };

  it('reaches a Unix socket', async (t) => {
    const directory = await mkdtemp(join(tmpdir(), 'flash-'));
    t.after(() => rm(directory, { recursive: true }));
    const server = await memcached(t);
    for (const name of ['memcached.sock', 'memcached.sock:11211', 'with space:1']) {
      const path = join(directory, name);
      await fakeServer(t, relay(server), path);
      const { store } = observe(t, path, { timeoutMs: noDeadline });
      assert.equal(await store.add(`key:${String(name.length)}`, 'value', 60), true);
      assert.equal(await valueOf(store, `key:${String(name.length)}`), 'value');
      assert.equal(store.name, `memcached(${path})`);
    }
  });

  it('reaches an IPv6 address', async (t) => {
    const server = await memcached(t);
    const listener = createServer(relay(server));
    listener.listen(0, '::1');
    try {
      await once(listener, 'listening');
    } catch (error) {
      t.skip(`this machine has no ::1 (${String(error)})`);
      return;
    }
    t.after(() => listener.close());
    const { store } = observe(t, `[::1]:${String((listener.address() as AddressInfo).port)}`, { timeoutMs: noDeadline });
    assert.equal(await store.add('key', 'value', 60), true);
    assert.equal(await valueOf(store, 'key'), 'value');
    await store.close();
  });

  it('reaches a host by name', async (t) => {
    const server = await memcached(t);
    const { store } = observe(t, `localhost:${String(server.port)}`, { timeoutMs: noDeadline });
    assert.equal(await store.add('key', 'value', 60), true);
  });
});

describe('MemcachedStore in a process that wants to end', () => {
  /** Runs a script with `store` in a process of its own, and resolves to what it printed when it ended by itself. */
  const run = async (t: TestContext, address: string, options: MemcachedStoreOptions, script: string): Promise<string> => {
    const source = `
      const { MemcachedStore } = require(${JSON.stringify(join(__dirname, '../../src/stores/memcached.js'))});
      const store = new MemcachedStore(${JSON.stringify(address)}, ${JSON.stringify(options)});
      (async () => { ${script} console.log('done'); })();`;
    const child = spawn(process.execPath, ['-e', source], { stdio: ['ignore', 'pipe', 'inherit'] });
    t.after(() => child.kill('SIGKILL'));
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
    const [code] = (await once(child, 'close', { signal: AbortSignal.timeout(20_000) })) as [number | null];
    assert.equal(code, 0);
    return output.trim();
  };

  it('lets it end after close', async (t) => {
    const server = await memcached(t);
    const script = `
      await store.add('key', 'value', 60);
      console.log((await store.get(['key'])).items.get('key').value);
      await store.close();`;
    assert.equal(await run(t, server.address, { connectionsPerServer: 3 }, script), 'value\ndone');
  });

  it('lets it end after close while the server hangs', async (t) => {
    const server = await memcached(t);
    server.pause();
    const script = `
      const pending = store.get(['key']);
      setTimeout(async () => { await store.close(); console.log([...(await pending).failures.values()][0].code); }, 50);`;
    assert.equal(await run(t, server.address, { timeoutMs: noDeadline }, script), 'done\nFLASH_STORE_CLOSED');
  });

  it('lets it end after close while the server is probed', async (t) => {
    const address = `127.0.0.1:${String(await freePort())}`;
    const script = `
      console.log([...(await store.get(['key'])).failures.values()][0].code);
      await store.close();`;
    assert.equal(await run(t, address, {}, script), 'FLASH_STORE_UNAVAILABLE\ndone');
  });

  it('lets it end after close while it is being connected to', async (t) => {
    const server = await memcached(t, { extraArgs: ['-b', '1'] });
    server.pause();
    const queued = Array.from({ length: 8 }, () => connect(server.port, '127.0.0.1').on('error', () => undefined));
    t.after(() => {
      for (const socket of queued) socket.destroy();
    });
    await once(queued[0] ?? assert.fail(), 'connect');
    const script = `
      const pending = store.get(['key']);
      await store.close();
      console.log([...(await pending).failures.values()][0].code);`;
    assert.equal(await run(t, server.address, {}, script), 'FLASH_STORE_CLOSED\ndone');
  });

  it('lets it end without close', async (t) => {
    const server = await memcached(t);
    const script = `
      await Promise.all(Array.from({ length: 20 }, (_, i) => store.add('key:' + i, 'value', 60)));
      console.log((await store.get(['key:19'])).items.size);`;
    assert.equal(await run(t, server.address, { connectionsPerServer: 3 }, script), '1\ndone');
  });

  it('keeps it alive while a command waits for its reply', async (t) => {
    const proxy = await startTcpProxy((await memcached(t)).port);
    t.after(() => proxy.close());
    await proxy.set({ delay: 20 });
    // Nothing but the replies, one after another and idle in between, keeps this process alive.
    const script = `
      let answered = 0;
      for (let i = 0; i < 15; i += 1) {
        if (await store.add('key:' + i, 'value', 60)) answered += 1;
        if ((await store.get(['key:' + i, 'other'])).items.size === 1) answered += 1;
        if (await store.delete('key:' + i)) answered += 1;
      }
      console.log(answered);
      void store.add('last', 'value', 60).then((added) => console.log(added));`;
    assert.equal(await run(t, proxy.address, { timeoutMs: noDeadline }, script), '45\ndone\ntrue');
  });

  it('lets it end without close while the server hangs and is probed', async (t) => {
    const server = await memcached(t);
    server.pause();
    // Each probe would take half a minute if the process had to wait for it.
    const script = `
      console.log([...(await store.get(['key'])).failures.values()][0].code);
      await new Promise((resolve) => setTimeout(resolve, 100));`;
    assert.equal(await run(t, server.address, { timeoutMs: 2000, retryMs: 1 }, script), 'FLASH_STORE_TIMEOUT\ndone');
  });

  it('lets it end without close while the server is down', async (t) => {
    const address = `127.0.0.1:${String(await freePort())}`;
    const script = `await store.get(['key']);`;
    assert.equal(await run(t, address, {}, script), 'done');
  });

  it('lets it end when it was never used', async (t) => {
    assert.equal(await run(t, '127.0.0.1:1', {}, ''), 'done');
  });
});
