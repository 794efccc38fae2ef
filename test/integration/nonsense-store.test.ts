/**
 * Stores that answer nonsense: the answers of the cache are the database's all the same, and a
 * server that does it is down. The fake servers are here because no real one does this.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, type AddressInfo, type Socket } from 'node:net';
import { describe, it, type TestContext } from 'node:test';
import { DataTypes, Model, QueryTypes, type CreationOptional, type InferAttributes, type InferCreationAttributes, type Sequelize } from 'sequelize';
import { InstanceCache, withCache } from '../../src/index.js';
import { StoreProtocolError, StoreTimeoutError, StoreUnavailableError } from '../../src/errors.js';
import { MemcachedStore, type ServerStateChange } from '../../src/stores/memcached.js';
import { MemoryStore } from '../../src/stores/memory.js';
import type { Store, StoreItem, StoreReply } from '../../src/stores/store.js';
import { openBackend, type Backend } from '../support/backends.js';

/** A class belongs to one Sequelize instance, so each test has its own. */
function defineItem(sequelize: Sequelize) {
  class Item extends Model<InferAttributes<Item>, InferCreationAttributes<Item>> {
    static readonly cache = withCache(Item, { keys: ['id', 'code'], caches: () => [LatestOfKind] });
    declare id: CreationOptional<number>;
    declare code: string;
    declare kind: string;
    declare count: number;
  }

  class LatestOfKind extends InstanceCache<Item> {
    static model = Item;
    static keyFields = ['kind'] as const;

    override getInstance({ kind }: { kind: string }) {
      return this.queryset().findOne({ where: { kind }, order: [['id', 'DESC']] });
    }
  }

  Item.init(
    {
      id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true },
      code: { type: DataTypes.STRING, unique: true },
      kind: DataTypes.STRING,
      count: DataTypes.INTEGER,
    },
    { sequelize, timestamps: false },
  );
  return { Item, LatestOfKind };
}

type Items = ReturnType<typeof defineItem>;
type Item = InstanceType<Items['Item']>;

type Override = Partial<Record<'get' | 'add' | 'compareAndSwap' | 'compareAndDelete' | 'delete', (honest: Store, ...args: never[]) => unknown>>;

/** A store some of whose methods answer something else, while it is told to. */
class NonsenseStore {
  nonsense = false;
  readonly name = 'nonsense';
  readonly maxValueBytes = 1_000_000;
  readonly #honest: Store = new MemoryStore();
  readonly #override: Override;

  constructor(override: Override) {
    this.#override = override;
  }

  get(...args: Parameters<Store['get']>): unknown {
    return this.#answer('get', args);
  }

  add(...args: Parameters<Store['add']>): unknown {
    return this.#answer('add', args);
  }

  compareAndSwap(...args: Parameters<Store['compareAndSwap']>): unknown {
    return this.#answer('compareAndSwap', args);
  }

  compareAndDelete(...args: Parameters<Store['compareAndDelete']>): unknown {
    return this.#answer('compareAndDelete', args);
  }

  delete(...args: Parameters<Store['delete']>): unknown {
    return this.#answer('delete', args);
  }

  inOrder(): boolean {
    return true;
  }

  close(): Promise<void> {
    return this.#honest.close();
  }

  #answer(method: keyof Override, args: readonly unknown[]): unknown {
    const override = this.nonsense ? this.#override[method] : undefined;
    if (override !== undefined) return (override as (honest: Store, ...args: readonly unknown[]) => unknown)(this.#honest, ...args);
    return (this.#honest[method] as (...args: readonly unknown[]) => unknown).call(this.#honest, ...args);
  }
}

/** The honest reply, changed. */
const changed =
  (change: (items: Map<string, StoreItem>, keys: readonly string[]) => unknown) =>
  async (honest: Store, keys: readonly string[]): Promise<unknown> => {
    const { items, failures } = await honest.get(keys);
    const copy = new Map(items);
    return change(copy, keys) ?? { items: copy, failures };
  };

const eachItem = (change: (item: StoreItem) => unknown): ReturnType<typeof changed> =>
  changed((items) => {
    for (const [key, item] of items) items.set(key, change(item) as StoreItem);
  });

const rejecting = (reason: unknown) => (): Promise<never> =>
  // What is no Error is what is tested.
  // oxlint-disable-next-line typescript/prefer-promise-reject-errors
  Promise.reject(reason);

const throwing = (): never => {
  throw new Error('thrown, not rejected');
};

const replies: Readonly<Record<string, Override['get']>> = {
  'values for keys that were not asked for': changed((items) => {
    const [first] = items.values();
    if (first !== undefined) items.set('flash:other:r:x:1', first);
  }),
  'only values for keys that were not asked for': changed((items, keys) => {
    const all = [...items.values()];
    items.clear();
    for (const [at, item] of all.entries()) items.set(`${keys[at] ?? ''}x`, item);
  }),
  "each key's value under another key": changed((items) => {
    const keys = [...items.keys()];
    const values = [...items.values()];
    for (const [at, key] of keys.entries()) items.set(key, values[(at + 1) % values.length] as StoreItem);
  }),
  'the same value under every key': changed((items, keys) => {
    const last = [...items.values()].at(-1);
    if (last !== undefined) for (const key of keys) items.set(key, last);
  }),
  'values that are numbers': eachItem(({ token }) => ({ value: 42, token })),
  'values that are missing': eachItem(({ token }) => ({ token })),
  'values that are buffers': eachItem(({ value, token }) => ({ value: Buffer.from(value), token })),
  'items that are null': eachItem(() => null),
  'items that are texts': eachItem(({ value }) => value),
  'tokens that are numbers': eachItem(({ value }) => ({ value, token: 7 })),
  'tokens that are missing': eachItem(({ value }) => ({ value })),
  'tokens that are objects': eachItem(({ value }) => ({ value, token: { value } })),
  nothing: changed(() => ({})),
  null: () => Promise.resolve(null),
  undefined: () => Promise.resolve(undefined),
  'plain objects for maps': changed((items) => ({ items: Object.fromEntries(items), failures: {} })),
  'failures that are no errors': changed((_, keys) => ({ items: new Map(), failures: new Map(keys.map((key) => [key, 'down'])) })),
  'both a value and a failure': changed((items, keys) => ({ items, failures: new Map(keys.map((key) => [key, new Error('down')])) })),
  'a reply that is no promise': (_, keys: readonly string[]) => ({ items: new Map(), failures: new Map(keys.map((key) => [key, new Error('down')])) }),
  'a rejection': rejecting(new Error('down')),
  'a rejection with a text': rejecting('down'),
  'a rejection with nothing': rejecting(undefined),
  'an exception': throwing,
};

const outcomes = {
  'what is no promise': () => false,
  'nothing for a boolean': () => Promise.resolve(undefined),
  'a text for a boolean': () => Promise.resolve('STORED'),
  false: () => Promise.resolve(false),
  'a rejection with a text': rejecting('down'),
  'a rejection with nothing': rejecting(undefined),
  'an exception': throwing,
};

const cases: readonly (readonly [name: string, override: Override])[] = [
  ...Object.entries(replies).map(([name, get]) => [`get answers with ${name}`, { get }] as [string, Override]),
  ...(['add', 'compareAndSwap', 'compareAndDelete', 'delete'] as const).flatMap((method) =>
    Object.entries(outcomes).map(([name, outcome]) => [`${method} answers with ${name}`, { [method]: outcome }] as [string, Override]),
  ),
  ['every method throws', { get: throwing, add: throwing, compareAndSwap: throwing, compareAndDelete: throwing, delete: throwing }],
];

describe('a store of others that answers nonsense', { concurrency: 8 }, () => {
  const show = (item: Item | null | undefined): string | null => (item == null ? null : JSON.stringify(item.get({ plain: true })));

  async function assertTrue(backend: Backend, { Item, LatestOfKind }: Items): Promise<void> {
    const all = await backend.sequelize.query<InferAttributes<Item>>('SELECT * FROM Items ORDER BY id', { type: QueryTypes.SELECT });
    const plain = (item: InferAttributes<Item> | undefined): string | null =>
      item === undefined ? null : JSON.stringify({ id: item.id, code: item.code, kind: item.kind, count: item.count });
    for (const id of [1, 2, 3, 4]) assert.equal(show(await Item.cache.getOrNone({ id })), plain(all.find((item) => item.id === id)), `id ${String(id)}`);
    for (const code of ['a', 'b', 'c', 'new']) {
      assert.equal(show(await Item.cache.getOrNone({ code })), plain(all.find((item) => item.code === code)), `code ${code}`);
    }
    for (const kind of ['x', 'y']) {
      assert.equal(show(await new LatestOfKind(kind).resolve()), plain(all.findLast((item) => item.kind === kind)), `kind ${kind}`);
    }
    const many = await Item.cache.getMany([{ id: 1 }, { code: 'b' }, { id: 3 }, { code: 'new' }]);
    assert.deepEqual(many.map(show), [all.find(({ id }) => id === 1), all.find(({ code }) => code === 'b'), all.find(({ id }) => id === 3), all.find(({ code }) => code === 'new')].map(plain));
  }

  for (const [name, override] of cases) {
    it(`${name}: every answer is the database's, and it is cached again when the store is sane`, async (t) => {
      const store = new NonsenseStore(override);
      const backend = await openBackend('sqlite');
      t.after(() => backend.close());
      const items = defineItem(backend.sequelize);
      const { Item } = items;
      const checkAnswers = (): Promise<void> => assertTrue(backend, items);
      await backend.sequelize.sync();
      await Item.bulkCreate(['a', 'b', 'c'].map((code, at) => ({ code, kind: at === 2 ? 'y' : 'x', count: at })));
      const flash = backend.setup({ store: store as unknown as Store, writeLease: 2, lockWaitTimeout: 0, leaseWait: 20 });
      await checkAnswers();
      await checkAnswers();
      store.nonsense = true;
      await checkAnswers();
      const first = await Item.findByPk(1, { rejectOnEmpty: true });
      await first.update({ count: 100 });
      await checkAnswers();
      await Item.update({ count: 200, kind: 'y' }, { where: { kind: 'x' } });
      await checkAnswers();
      await backend.sequelize.transaction(async (transaction) => {
        await first.update({ code: 'new' }, { transaction });
      });
      await checkAnswers();
      await Item.upsert({ id: 2, code: 'b', kind: 'x', count: 300 });
      await checkAnswers();
      store.nonsense = false;
      // What was not delivered is retried within a second; a marker that could not be removed ends with writeLease.
      let asked = Infinity;
      for (const until = performance.now() + 8000; asked > 0 && performance.now() < until; ) {
        backend.reset();
        await checkAnswers();
        // One is the test's own.
        asked = backend.sql.length - 1;
        if (asked > 0) await new Promise((resolve) => setTimeout(resolve, 50));
      }
      assert.equal(asked, 0, 'it is cached');
      assert.equal(flash.undelivered, 0);
    });
  }
});

describe('a memcached server that answers nonsense', () => {
  /** Answers `gets` with a text; and everything else as memcached does, storing nothing. */
  async function server(t: TestContext, answer: string, also: (socket: Socket) => void = () => undefined): Promise<{ store: MemcachedStore; changes: ServerStateChange[]; ended: Promise<unknown> }> {
    let end: () => void = () => undefined;
    const ended = new Promise<void>((resolve) => {
      end = resolve;
    });
    const listener = createServer((socket) => {
      socket.on('error', () => socket.destroy());
      socket.on('close', end);
      also(socket);
      socket.on('data', (data) => {
        const text = data.toString('latin1');
        socket.write(text.startsWith('version') ? 'VERSION 1\r\n' : text.startsWith('gets') ? answer : 'STORED\r\n');
      });
    });
    listener.listen(0, '127.0.0.1');
    await once(listener, 'listening');
    const changes: ServerStateChange[] = [];
    const store = new MemcachedStore(`127.0.0.1:${String((listener.address() as AddressInfo).port)}`, {
      timeoutMs: 300,
      retryMs: 60_000,
      onStateChange: (change) => changes.push(change),
    });
    t.after(async () => {
      await store.close();
      listener.close();
    });
    return { store, changes, ended };
  }

  const answers: Readonly<Record<string, string>> = {
    'a key twice': 'VALUE key 0 1 1\r\nx\r\nVALUE key 0 1 2\r\ny\r\nEND\r\n',
    'more values than were asked for': 'VALUE key 0 1 1\r\nx\r\nVALUE second 0 1 1\r\nx\r\nVALUE third 0 1 1\r\nx\r\nEND\r\n',
    'a negative cas': 'VALUE key 0 1 -1\r\nx\r\nEND\r\n',
    'a cas that is no number': 'VALUE key 0 1 one\r\nx\r\nEND\r\n',
    'a cas of 30 digits': `VALUE key 0 1 ${'9'.repeat(30)}\r\nx\r\nEND\r\n`,
    'a fraction for a cas': 'VALUE key 0 1 1.5\r\nx\r\nEND\r\n',
    'an absurd length': 'VALUE key 0 99999999999999 1\r\nx\r\nEND\r\n',
    'a length that is no number': 'VALUE key 0 NaN 1\r\nx\r\nEND\r\n',
    'a key with a prefix of its own': 'VALUE mkey 0 1 1\r\nx\r\nEND\r\n',
    'a key in capitals': 'VALUE KEY 0 1 1\r\nx\r\nEND\r\n',
    'an error in the middle': 'VALUE key 0 1 1\r\nx\r\nERROR\r\n',
    'a reply to a command that was not sent': 'DELETED\r\n',
    'a value and no end, then another reply': 'VALUE key 0 1 1\r\nx\r\nSTORED\r\n',
  };
  for (const [name, answer] of Object.entries(answers)) {
    it(`sends ${name}: no part of the reply counts, the connection is dropped, the server is down`, async (t) => {
      const { store, changes, ended } = await server(t, answer);
      const { items, failures } = await store.get(['key', 'second']);
      assert.deepEqual([...items], []);
      assert.deepEqual([...failures.keys()].sort(), ['key', 'second']);
      for (const failure of failures.values()) assert.ok(failure instanceof StoreProtocolError, String(failure));
      await ended;
      assert.deepEqual(changes.map(({ state }) => state), ['down']);
      await assert.rejects(store.add('key', 'value', 1), StoreUnavailableError);
    });
  }

  it('announces a value of ten thousand million bytes: it is waited for until the deadline, no longer', async (t) => {
    const { store, changes, ended } = await server(t, 'VALUE key 0 9999999999 1\r\nx\r\nEND\r\n');
    const { items, failures } = await store.get(['key']);
    assert.equal(items.size, 0);
    assert.ok(failures.get('key') instanceof StoreTimeoutError);
    await ended;
    assert.deepEqual(changes.map(({ state }) => state), ['down']);
  });

  it('refuses in the middle of a reply: what came before does not count', async (t) => {
    const { store, changes } = await server(t, 'VALUE key 0 1 1\r\nx\r\nSERVER_ERROR out of memory writing get response\r\n');
    const { items, failures } = await store.get(['key', 'second']);
    assert.equal(items.size, 0);
    assert.equal(failures.size, 2);
    // A refusal is a reply: the connection is still good.
    assert.equal(await store.add('key', 'value', 1), true);
    assert.deepEqual(changes, []);
  });

  it('speaks while nothing is asked: the connection is dropped, the server is down', async (t) => {
    let speak: () => void = () => undefined;
    const { store, changes, ended } = await server(t, 'END\r\n', (socket) => {
      speak = () => void socket.write('VALUE key 0 1 1\r\nx\r\nEND\r\n');
    });
    assert.equal((await store.get(['key'])).items.size, 0);
    speak();
    await ended;
    const { items, failures } = (await store.get(['key'])) satisfies StoreReply;
    assert.equal(items.size, 0);
    assert.ok(failures.get('key') instanceof StoreUnavailableError);
    assert.deepEqual(changes.map(({ state }) => state), ['down']);
  });
});
