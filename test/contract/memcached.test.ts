import assert from 'node:assert/strict';
import { once } from 'node:events';
import Module from 'node:module';
import { connect, createServer, type AddressInfo } from 'node:net';
import { after, before, describe, it, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import Memcached from 'memcached';
import { InvalidOptionError } from '../../src/errors.js';
import { MemcachedStore, memcachedFromEnv, type MemcachedStoreOptions } from '../../src/stores/memcached.js';
import { storeFromEnvironment } from '../../src/stores/memcached-env.js';
import { storeContract } from '../../src/testing/store-contract.js';
import { startMemcached, type MemcachedProcess } from '../support/memcached-process.js';

// Far above what an answer takes: on a loaded machine the suite must not meet the deadline.
const timeoutMs = 10_000;

// Together, since they mostly wait for lifetimes to end.
describe('MemcachedStore', { concurrency: true }, () => {
  for (const [count, connectionsPerServer] of [
    [1, 1],
    [3, 1],
    [3, 3],
  ] as const) {
    describe(`${String(count)} memcached, ${String(connectionsPerServer)} connection(s) each`, () => {
      let servers: MemcachedProcess[] = [];
      before(async () => {
        servers = await Promise.all(Array.from({ length: count }, () => startMemcached()));
      });
      after(async () => {
        await Promise.all(servers.map((server) => server.stop()));
      });

      storeContract(`memcached x ${String(count)} x ${String(connectionsPerServer)}`, async () => {
        const flush = async (): Promise<void> => {
          await Promise.all(servers.map((server) => server.command('flush_all\r\n')));
        };
        await flush();
        return {
          store: new MemcachedStore(
            servers.map(({ address }) => address),
            { timeoutMs, connectionsPerServer },
          ),
          advance: (milliseconds) => sleep(milliseconds),
          flush,
        };
      });
    });
  }
});

describe('MemcachedStore on the wire', () => {
  let server: MemcachedProcess;
  before(async () => {
    server = await startMemcached();
  });
  after(() => server.stop());

  it('asks for as many keys per command as batchSize allows, and sends nothing for none', async (t) => {
    const commands: string[] = [];
    const relay = createServer((socket) => {
      const upstream = connect(server.port, '127.0.0.1');
      let received = '';
      socket.setEncoding('latin1').on('data', (text: string) => {
        received += text;
        const lines = received.split('\r\n');
        received = lines.pop() ?? '';
        commands.push(...lines);
        upstream.write(text, 'latin1');
      });
      upstream.pipe(socket);
    });
    relay.listen(0, '127.0.0.1');
    await once(relay, 'listening');
    const address = `127.0.0.1:${String((relay.address() as AddressInfo).port)}`;
    t.after(() => relay.close());

    const keys = Array.from({ length: 450 }, (_, i) => `key:${String(i)}`);
    for (const [batchSize, expected] of [
      [undefined, [200, 200, 50]],
      [450, [450]],
      [1, keys.map(() => 1)],
    ] as const) {
      const store = new MemcachedStore(address, { timeoutMs, ...(batchSize === undefined ? {} : { batchSize }) });
      commands.length = 0;
      await store.get([]);
      await store.get(['not legal']);
      await store.get(keys);
      assert.deepEqual(commands.map((command) => command.split(' ').length - 1), expected);
      assert.ok(commands.every((command) => command.startsWith('gets key:')));
      await store.close();
    }
  });

  it('turns a lifetime into what memcached takes for it', async () => {
    const store = new MemcachedStore(server.address, { timeoutMs });
    const remaining = async (key: string): Promise<number> =>
      Number(/ t(-?\d+)/.exec(await server.command(`mg ${key} t\r\n`))?.[1]);
    const day = 86_400;
    const untilOverflow = 2 ** 31 - 1 - Math.floor(Date.now() / 1000);
    for (const [i, [seconds, least, most]] of (
      [
        [0, -1, -1],
        [0.2, 0, 1],
        [60, 55, 60],
        [59.1, 55, 60],
        [30 * day, 30 * day - 5, 30 * day],
        // From here on a date, and memcached's clock may be seconds away from ours.
        [30 * day + 1, 30 * day - 5, 30 * day + 5],
        [400 * day, 400 * day - 5, 400 * day + 5],
        [500 * 365 * day, untilOverflow - 5, untilOverflow + 5],
      ] as const
    ).entries()) {
      const key = `lifetime:${String(i)}`;
      await store.add(key, 'value', seconds);
      const left = await remaining(key);
      assert.ok(left >= least && left <= most, `${String(seconds)} s became ${String(left)} s`);
    }
    await store.close();
  });
});

describe('MemcachedStore options', () => {
  const refuses = (make: () => unknown, message: RegExp): void => {
    assert.throws(make, (error: unknown) => {
      assert.ok(error instanceof InvalidOptionError);
      assert.match(error.message, message);
      return true;
    });
  };

  it('name the servers in several ways', () => {
    for (const [given, name] of [
      ['127.0.0.1:11212', 'memcached(127.0.0.1:11212)'],
      ['cache-1.example.org', 'memcached(cache-1.example.org:11211)'],
      ['LocalHost:1', 'memcached(localhost:1)'],
      ['[::1]', 'memcached([::1]:11211)'],
      ['[fe80::1]:65535', 'memcached([fe80::1]:65535)'],
      ['/run/memcached.sock', 'memcached(/run/memcached.sock)'],
      ['/run/memcached.sock:0', 'memcached(/run/memcached.sock:0)'],
      [['b:2', 'a:1'], 'memcached(a:1, b:2)'],
    ] as const) {
      assert.equal(new MemcachedStore(given).name, name);
    }
  });

  it('refuse servers that cannot be reached', () => {
    for (const [given, message] of [
      ['', /'servers' must name servers as 'host:port'.*received ''/],
      ['a:1,b:2', /received 'a:1,b:2'/],
      ['host:port', /received 'host:port'/],
      ['host:0', /received 'host:0'/],
      ['host:65536', /received 'host:65536'/],
      ['::1', /received '::1'/],
      ['[::g]:1', /received '\[::g\]:1'/],
      ['[127.0.0.1]:1', /received '\[127\.0\.0\.1\]:1'/],
      ['memcached://host', /received 'memcached:\/\/host'/],
      ['user@host', /received 'user@host'/],
      [' host', /received ' host'/],
      [[], /one server or an array of servers; received an array of 0/],
      [[5], /received 5/],
      [undefined, /received undefined/],
      [{ 'a:1': 1 }, /received an object/],
      [['a:1', 'A:1'], /names the server a:1 more than once/],
    ] as const) {
      refuses(() => new MemcachedStore(given as string), message);
    }
  });

  it('refuse wrong values', () => {
    for (const [options, message] of [
      [{ timeoutMs: 0 }, /'timeoutMs' must be a whole number of milliseconds from 1 to 60000; received 0/],
      [{ timeoutMs: '250' }, /'timeoutMs'.*received '250'/],
      [{ retryMs: Number.NaN }, /'retryMs'.*received NaN/],
      [{ connectionsPerServer: 65 }, /'connectionsPerServer'.*received 65/],
      [{ maxPending: 1.5 }, /'maxPending'.*received 1.5/],
      [{ maxValueBytes: -1 }, /'maxValueBytes'.*received -1/],
      [{ batchSize: Infinity }, /'batchSize'.*received Infinity/],
      [{ onStateChange: true }, /'onStateChange' must be a function; received true/],
      [{ timeout: 5 }, /no option 'timeout'\. Its options are: timeoutMs, .*onStateChange/],
      [{ toString: 5 }, /no option 'toString'/],
    ] as const) {
      refuses(() => new MemcachedStore('host', options as unknown as MemcachedStoreOptions), message);
    }
  });

  it('take a class of the client, or a module with it', () => {
    for (const client of [Memcached, { default: Memcached }, class Own extends Memcached {}]) {
      assert.equal(new MemcachedStore('host', { client: client as typeof Memcached }).name, 'memcached(host:11211)');
    }
    for (const [client, message] of [
      [new Memcached('host'), /'client' must be the class of the package 'memcached'.*received an instance of Client/],
      [class Other {}, /'client' must be .*received the function or class Other/],
      [{}, /received an object/],
      [null, /received null/],
      ['memcached', /received 'memcached'/],
    ] as const) {
      refuses(() => new MemcachedStore('host', { client } as unknown as MemcachedStoreOptions), message);
    }
  });

  /** Lets Node fail to load the package. */
  const withoutClient = (t: TestContext, error: Error): void => {
    const resolver = Module as unknown as { _load: (request: string, ...rest: unknown[]) => unknown };
    const original = resolver._load;
    t.mock.method(resolver, '_load', (request: string, ...rest: unknown[]) => {
      if (request === 'memcached') throw error;
      return original(request, ...rest);
    });
  };
  const missing = (name: string): Error => Object.assign(new Error(`Cannot find module '${name}'`), { code: 'MODULE_NOT_FOUND' });

  it('say which package is missing, and do without it where a class is passed', (t) => {
    withoutClient(t, missing('memcached'));
    refuses(() => new MemcachedStore('host'), /needs the package 'memcached'.*npm install memcached.*\{ client: Memcached \}/);
    refuses(() => storeFromEnvironment({ SEQUELIZE_FLASH_MEMCACHED: 'host' }), /cannot find the package 'memcached'.*SEQUELIZE_FLASH_MEMCACHED.*npm install memcached/);
    assert.equal(new MemcachedStore('host', { client: Memcached }).name, 'memcached(host:11211)');
    assert.equal(storeFromEnvironment({}), undefined);
  });

  it('do not tell to install what is installed', (t) => {
    for (const error of [new Error('Dynamic require of "memcached" is not supported'), new ReferenceError('require is not defined'), missing('hashring')]) {
      withoutClient(t, error);
      for (const make of [() => new MemcachedStore('host'), () => storeFromEnvironment({ SEQUELIZE_FLASH_MEMCACHED: 'host' })]) {
        assert.throws(make, (thrown: unknown) => {
          assert.ok(thrown instanceof InvalidOptionError);
          assert.doesNotMatch(thrown.message, /install/);
          assert.match(thrown.message, /'memcached'/);
          assert.equal(thrown.cause, error);
          return true;
        });
      }
      t.mock.restoreAll();
    }
  });
});

describe('memcachedFromEnv', () => {
  it('makes no store without servers', () => {
    for (const env of [{}, { SEQUELIZE_FLASH_MEMCACHED: '' }, { SEQUELIZE_FLASH_MEMCACHED: ' , ' }]) {
      assert.equal(memcachedFromEnv(env), undefined);
    }
  });

  it('takes the servers and numbers that the variables name', () => {
    const store = memcachedFromEnv({
      SEQUELIZE_FLASH_MEMCACHED: ' b:2, a ,',
      SEQUELIZE_FLASH_MEMCACHED_TIMEOUT_MS: '100',
      SEQUELIZE_FLASH_MEMCACHED_CONNECTIONS: '',
    });
    assert.equal(store?.name, 'memcached(a:11211, b:2)');
  });

  it('refuses wrong values, naming the variable', () => {
    for (const [env, message] of [
      [{ SEQUELIZE_FLASH_MEMCACHED: 'a:1,b:x' }, /'SEQUELIZE_FLASH_MEMCACHED' must name servers.*received 'b:x'/],
      [{ SEQUELIZE_FLASH_MEMCACHED: 'a,a:11211' }, /'SEQUELIZE_FLASH_MEMCACHED' names the server a:11211 more than once/],
      [
        { SEQUELIZE_FLASH_MEMCACHED: 'a', SEQUELIZE_FLASH_MEMCACHED_TIMEOUT_MS: '1s' },
        /'SEQUELIZE_FLASH_MEMCACHED_TIMEOUT_MS'.*received '1s'/,
      ],
      [
        { SEQUELIZE_FLASH_MEMCACHED: 'a', SEQUELIZE_FLASH_MEMCACHED_CONNECTIONS: '0' },
        /'SEQUELIZE_FLASH_MEMCACHED_CONNECTIONS'.*from 1 to 64; received 0/,
      ],
    ] as const) {
      assert.throws(
        () => memcachedFromEnv(env),
        (error: unknown) => error instanceof InvalidOptionError && message.test(error.message),
      );
    }
  });
});
