/**
 * Lookups that miss: how often they wait for the store, that the answer does not wait for the fill, and
 * that leases which are placed before it is known to be a miss do no harm.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  DataTypes,
  Model,
  type CreationOptional,
  type InferAttributes,
  type InferCreationAttributes,
  type Sequelize,
} from 'sequelize';
import { setupCache, withCache, type FlashCache, type ModelCache, type SetupOptions } from '../../src/index.js';
import { leaseText, markerText, randomToken } from '../../src/entries/envelope.js';
import { MemcachedStore } from '../../src/stores/memcached.js';
import { MemoryStore } from '../../src/stores/memory.js';
import { StoreUnavailableError } from '../../src/errors.js';
import type { Store, StoreReply, StoreToken } from '../../src/stores/store.js';
import { backendNames, openBackend, type Backend, type BackendName } from '../support/backends.js';
import { costing } from '../support/cost.js';
import { startMemcached } from '../support/memcached-process.js';
import { holdFirst } from '../support/observed-store.js';
import { startTcpProxy } from '../support/tcp-proxy.js';

class Item extends Model<InferAttributes<Item>, InferCreationAttributes<Item>> {
  declare static readonly cache: ModelCache<Item, 'id' | 'slug' | 'shelf'>;
  declare id: CreationOptional<number>;
  declare slug: string;
  /** Not unique. */
  declare shelf: CreationOptional<number | null>;
  declare count: number;
}

function defineItem(sequelize: Sequelize): typeof Item {
  const Own = class extends Item {};
  Own.init(
    {
      id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true },
      slug: { type: DataTypes.STRING(40), allowNull: false, unique: true },
      shelf: DataTypes.INTEGER,
      count: { type: DataTypes.INTEGER, allowNull: false },
    },
    { sequelize, modelName: 'Item', tableName: 'items', timestamps: false },
  );
  withCache(Own, { keys: ['id', 'slug', 'shelf'] });
  return Own;
}

const rows = 60;
/** So many misses in a row of what this process has not heard of, and the next one is thought to be likely. */
const enough = 4;
/** So many that were there, and it is not any more. */
const enoughHits = 30;

async function fillTable(Own: typeof Item): Promise<void> {
  await Own.sync({ force: true });
  await Own.bulkCreate(Array.from({ length: rows }, (_, at) => ({ id: at + 1, slug: `s${String(at + 1)}`, shelf: at + 1, count: 0 })));
}

const oneAfterTheOther = async (from: number, to: number, read: (id: number) => Promise<unknown>): Promise<void> => {
  for (let id = from; id <= to; id += 1) await read(id);
};

/** A database with the table, a cache on it, and nothing of its rows in the store. */
interface Ground {
  readonly backend: Backend;
  readonly Own: typeof Item;
  readonly cache: FlashCache;
}

async function onGround(name: BackendName, work: (ground: Ground) => Promise<void>, store?: Store, options: SetupOptions = {}): Promise<void> {
  const backend = await openBackend(name, store === undefined ? {} : { store });
  try {
    const Own = defineItem(backend.sequelize);
    await fillTable(Own);
    const cache = backend.setup(options);
    // The table's generation and epoch are there from now on.
    await Own.cache.get({ slug: `s${String(rows)}` });
    backend.store.moveAway();
    await backend.store.quiet();
    backend.reset();
    await work({ backend, Own, cache });
  } finally {
    await backend.close();
  }
}

for (const name of backendNames) {
  describe(`lookups that miss, ${name}`, () => {
    it('look, place a lease, ask the database, and answer', () =>
      onGround(name, async ({ backend, Own }) => {
        const row = await costing(backend, { sql: 1, rounds: 3, operations: { get: 2, add: 1, compareAndSwap: 1 } }, () => Own.cache.get({ id: 1 }));
        assert.equal(row.slug, 's1');
        await costing(backend, { sql: 0, rounds: 1, operations: { get: 1 } }, () => Own.cache.get({ id: 1 }));
      }));

    it('by another key lease the row after they have found it', () =>
      onGround(name, async ({ backend, Own }) => {
        const row = await costing(backend, { sql: 1, rounds: 4, operations: { get: 2, add: 2, compareAndSwap: 2 } }, () => Own.cache.get({ slug: 's1' }));
        assert.equal(row.id, 1);
        await costing(backend, { sql: 0, rounds: 1, operations: { get: 1 } }, () => Own.cache.get({ slug: 's1' }));
        await costing(backend, { sql: 0, rounds: 1, operations: { get: 1 } }, () => Own.cache.get({ id: 1 }));
      }));

    it('place the lease with the look where misses are likely', () =>
      onGround(name, async ({ backend, Own }) => {
        const ahead = { sql: 1, rounds: 2, operations: { get: 1, add: 1, compareAndSwap: 1 } };
        const behind = { sql: 1, rounds: 3, operations: { get: 2, add: 1, compareAndSwap: 1 } };
        for (let id = 1; id <= enough; id += 1) await costing(backend, behind, () => Own.cache.get({ id }));
        await costing(backend, ahead, () => Own.cache.get({ id: enough + 1 }));
        // What it has stored itself says nothing of what it has not heard of.
        for (let time = 0; time < enoughHits; time += 1) await costing(backend, { sql: 0, operations: { get: 1 } }, () => Own.cache.get({ id: 1 }));
        await costing(backend, ahead, () => Own.cache.get({ id: enough + 2 }));
      }));

    it('place it after the look again where what this process has not heard of is there', () =>
      onGround(
        name,
        async ({ backend, Own }) => {
          await oneAfterTheOther(1, enoughHits, (id) => Own.cache.get({ id }));
          await oneAfterTheOther(1, enoughHits, (id) => costing(backend, { sql: 0, rounds: 1 }, () => Own.cache.get({ id })));
          await costing(backend, { sql: 1, rounds: 3, operations: { get: 2, add: 1, compareAndSwap: 1 } }, () => Own.cache.get({ id: enoughHits + 1 }));
        },
        undefined,
        // It forgets what it has stored: all that it reads is as if another process had stored it.
        { maxHints: 1 },
      ));

    it('so it is by a key that is not unique', () =>
      onGround(
        name,
        async ({ backend, Own }) => {
          const shelf = (id: number): Promise<unknown> => Own.cache.get({ shelf: id });
          for (let time = 0; time < 2; time += 1) await oneAfterTheOther(1, enoughHits, shelf);
          await costing(backend, { sql: 0, operations: { get: 2 } }, () => shelf(1));
        },
        undefined,
        { maxHints: 1 },
      ));

    it('by another key, too', () =>
      onGround(name, async ({ backend, Own }) => {
        const slug = (id: number): { slug: string } => ({ slug: `s${String(id)}` });
        await oneAfterTheOther(1, enough, (id) => Own.cache.get(slug(id)));
        await costing(backend, { sql: 1, rounds: 3, operations: { get: 2, add: 2, compareAndSwap: 2 } }, () => Own.cache.get(slug(enough + 1)));
        await costing(backend, { sql: 0, rounds: 1, operations: { get: 1 } }, () => Own.cache.get(slug(enough + 1)));
      }));

    it('cost a hit one lease that is refused, where a miss was thought to be likely', () =>
      onGround(
        name,
        async ({ backend, Own }) => {
          await Own.cache.get({ id: enough + 1 });
          await oneAfterTheOther(1, enough, (id) => Own.cache.get({ id }));
          await costing(backend, { sql: 0, rounds: 1, operations: { get: 1, add: 1 } }, () => Own.cache.get({ id: enough + 1 }));
        },
        undefined,
        // It has not heard of what another process has stored; here it forgets what it has stored itself.
        { maxHints: 1 },
      ));

    it('of one statement are all stored, whether their leases were placed with the look or after it', () =>
      onGround(name, async ({ backend, Own }) => {
        await oneAfterTheOther(1, enough, (id) => Own.cache.get({ id }));
        // Gone behind this process's back, which has stored it: no likely miss.
        await backend.store.quiet();
        await backend.store.delete(Own.cache.getKey({ id: 1 }));
        const both = (): Promise<unknown> => Own.cache.getMany([{ id: enough + 1 }, { id: 1 }]);
        await costing(backend, { sql: 1, operations: { get: 2, add: 2, compareAndSwap: 2 } }, both);
        await costing(backend, { sql: 0, rounds: 1, operations: { get: 1 } }, both);
      }));

    it('by a name that was pushed out of what this process remembers ask for the row after its name', () =>
      onGround(
        name,
        async ({ backend, Own }) => {
          const slug = (id: number): { slug: string } => ({ slug: `s${String(id)}` });
          // Twice, so that all are stored; a hint is also what a load leaves.
          for (let time = 0; time < 2; time += 1) await oneAfterTheOther(1, 10, (id) => Own.cache.get(slug(id)));
          assert.equal((await costing(backend, { sql: 0, rounds: 1 }, () => Own.cache.get(slug(10)))).id, 10);
          assert.equal((await costing(backend, { sql: 0, rounds: 2 }, () => Own.cache.get(slug(1)))).id, 1);
          // It is remembered again.
          assert.equal((await costing(backend, { sql: 0, rounds: 1 }, () => Own.cache.get(slug(1)))).id, 1);
          // Names that could stand for none are names.
          assert.deepEqual(await Own.cache.getMany([slug(10), { slug: '-' }, { slug: '' }]).then((found) => found.map((row) => row?.id)), [10, undefined, undefined]);
        },
        undefined,
        { maxHints: 4 },
      ));

    it('are answered although the fill hangs, and a write that comes before it is not overwritten', () =>
      onGround(name, async ({ backend, Own }) => {
        const key = Own.cache.getKey({ id: 1 });
        const hold = holdFirst(backend.store, (operation, of) => operation === 'compareAndSwap' && of === key);
        const row = await Own.cache.get({ id: 1 });
        await hold.reached;
        await row.update({ count: 1 });
        hold.release();
        await backend.store.quiet();
        assert.equal((await Own.cache.get({ id: 1 })).count, 1);
      }));

    it('are stored when close has resolved', () =>
      onGround(name, async ({ backend, Own, cache }) => {
        const key = Own.cache.getKey({ id: 1 });
        const hold = holdFirst(backend.store, (operation, of) => operation === 'compareAndSwap' && of === key);
        await Own.cache.get({ id: 1 });
        await hold.reached;
        const over = Symbol('over');
        const closing = cache.close();
        const first = await Promise.race([closing, new Promise((resolve) => setTimeout(resolve, 50, over))]);
        assert.equal(first, over, 'close did not wait for the fill');
        hold.release();
        assert.equal(await closing, 0);
        assert.equal(backend.store.count('compareAndSwap'), 1);
      }));
  });
}

/** Lets something happen right after a look at a key, before whatever was sent after the look. */
class Interrupted implements Store {
  readonly name = 'interrupted';
  readonly maxValueBytes = 1_000_000;
  readonly #store = new MemoryStore();
  #key: string | undefined;
  #then: (reply: StoreReply) => Promise<StoreReply> | StoreReply = (reply) => reply;

  /** After the next look at this key; what it returns is what the look shows. */
  afterLookAt(key: string, then: (reply: StoreReply) => Promise<StoreReply> | StoreReply): void {
    this.#key = key;
    this.#then = then;
  }

  async get(keys: readonly string[]): Promise<StoreReply> {
    const looking = this.#store.get(keys);
    if (this.#key === undefined || !keys.includes(this.#key)) return looking;
    this.#key = undefined;
    // A memory store has answered by now.
    return this.#then(await Promise.resolve(looking));
  }

  add(key: string, value: string, ttlSeconds: number): Promise<boolean> {
    return this.#store.add(key, value, ttlSeconds);
  }

  compareAndSwap(key: string, value: string, token: StoreToken, ttlSeconds: number): Promise<boolean> {
    return this.#store.compareAndSwap(key, value, token, ttlSeconds);
  }

  compareAndDelete(key: string, token: StoreToken): Promise<boolean> {
    return this.#store.compareAndDelete(key, token);
  }

  delete(key: string): Promise<boolean> {
    return this.#store.delete(key);
  }

  inOrder(): boolean {
    return true;
  }

  close(): Promise<void> {
    return this.#store.close();
  }
}

describe('leases that are placed with the look', () => {
  const likely = enough + 1;
  const onLikely = (work: (ground: Ground, store: Interrupted, key: string) => Promise<void>): Promise<void> => {
    const store = new Interrupted();
    return onGround(
      'sqlite',
      async (ground) => {
        await oneAfterTheOther(1, enough, (id) => ground.Own.cache.get({ id }));
        await work(ground, store, ground.Own.cache.getKey({ id: likely }));
      },
      store,
    );
  };
  const standing = async (store: Store, key: string): Promise<string | undefined> => (await store.get([key])).items.get(key)?.value;

  it('leave another reader’s lease alone, and wait for its fill', () =>
    onLikely(async ({ backend, Own }, store, key) => {
      const lease = leaseText();
      await store.add(key, lease, 10);
      const reading = Own.cache.get({ id: likely });
      await new Promise((resolve) => setTimeout(resolve, 20));
      assert.equal(await standing(store, key), lease);
      const { items } = await store.get([key]);
      await store.compareAndDelete(key, items.get(key)!.token);
      assert.equal((await reading).id, likely);
      assert.match((await standing(store, key)) ?? '', /^V/);
      assert.equal(backend.sql.filter((sql) => sql.includes(`= ${String(likely)}`)).length, 1);
    }));

  it('leave a writer’s marker alone, whose row is then answered and not stored', () =>
    onLikely(async ({ Own }, store, key) => {
      const marker = markerText([randomToken()]);
      await store.add(key, marker, 10);
      assert.equal((await Own.cache.get({ id: likely })).id, likely);
      assert.equal(await standing(store, key), marker);
    }));

  it('are taken back where the look says that nothing can be stored', () =>
    onLikely(async ({ Own, cache }, store, key) => {
      const before = cache.stats().Item?.['Item(id)']?.bypasses ?? -1;
      store.afterLookAt(key, ({ items, failures }) => {
        const generation = [...items.keys()].find((one) => one.includes(':g:'));
        assert.ok(generation !== undefined);
        const shown = new Map([...items].filter(([one]) => one !== generation));
        return { items: shown, failures: new Map([...failures, [generation, new StoreUnavailableError('the other server is down')]]) };
      });
      assert.equal((await Own.cache.get({ id: likely })).id, likely);
      await new Promise(setImmediate);
      assert.equal(cache.stats().Item?.['Item(id)']?.bypasses, before + 1);
      assert.equal(await standing(store, key), undefined);
    }));
});

describe('leases that are placed with the look, whose reply is lost', () => {
  it('stand until they expire: the row is answered and not stored, others wait for leaseWait, and a write is seen', async (t) => {
    const memcached = await startMemcached();
    t.after(() => memcached.stop());
    const proxy = await startTcpProxy(memcached.port);
    t.after(() => proxy.close());
    const options = { prefix: 'lost', alias: 'main', leaseWait: 60 };
    const id = enough + 1;
    await onGround(
      'mariadb',
      async ({ backend, Own }) => {
        const sequelize = backend.another();
        const Other = defineItem(sequelize);
        const direct = new MemcachedStore(memcached.address, { timeoutMs: 2000 });
        const other = setupCache(sequelize, { ...options, store: direct });
        try {
          await oneAfterTheOther(1, enough, (one) => Own.cache.get({ id: one }));
          const key = Own.cache.getKey({ id });
          let sent = false;
          proxy.filter(({ from, data }) => {
            if (from === 'client') sent ||= data.includes(`add ${key} `);
            return from === 'server' && sent ? 'reset' : 'forward';
          });
          assert.equal((await costing(backend, { sql: 1 }, () => Own.cache.get({ id }))).count, 0);
          assert.ok(sent, 'it was placed with the look');
          proxy.filter();
          const standing = async (): Promise<string> => (await direct.get([key])).items.get(key)?.value ?? '';
          assert.match(await standing(), /^L/);
          // It stands for 3 s; whoever waits for it gives up before, and stores nothing.
          const row = await costing(backend, { sql: 1 }, () => Other.cache.get({ id }));
          assert.match(await standing(), /^L/);
          await row.update({ count: 1 });
          for (const Model of [Other, Own, Other, Own]) assert.equal((await Model.cache.get({ id })).count, 1);
          await costing(backend, { sql: 0 }, () => Other.cache.get({ id }));
        } finally {
          await other.close(0);
        }
      },
      new MemcachedStore(proxy.address, { timeoutMs: 2000 }),
      options,
    );
  });
});
