/** Lists of one tick that have to be loaded: what they cost together, and lists of which parts were evicted. */
import assert from 'node:assert/strict';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { after, before, beforeEach, describe, it } from 'node:test';
import { DataTypes, Model, type CreationOptional, type InferAttributes, type InferCreationAttributes } from 'sequelize';
import { QuerysetCache, RelatedQuerysetCache, registerCache, withCache } from '../../src/index.js';
import { MemcachedStore } from '../../src/stores/memcached.js';
import { MemoryStore } from '../../src/stores/memory.js';
import { backendNames, openBackend, type Backend, type BackendName } from '../support/backends.js';
import { costing } from '../support/cost.js';
import { startMemcached } from '../support/memcached-process.js';

const plain = (answer: unknown): unknown => JSON.parse(JSON.stringify(answer)) as unknown;

/** A shop with items, on each stack. */
function define(name: BackendName) {
  class Shop extends Model<InferAttributes<Shop>, InferCreationAttributes<Shop>> {
    static readonly cache = withCache(Shop, { keys: ['id'] });
    declare id: CreationOptional<number>;
  }
  class Item extends Model<InferAttributes<Item>, InferCreationAttributes<Item>> {
    static readonly cache = withCache(Item, { keys: ['id'], filters: ['shopId'] });
    declare id: CreationOptional<number>;
    declare shopId: number;
    declare weight: number;
  }
  class Heaviest extends QuerysetCache<Item, ['shopId']> {
    static model = Item;
    static keyFields = ['shopId'] as const;
    static order = [['weight', 'DESC']] as const;
    static limit = 3;
  }
  class ItemsOf extends RelatedQuerysetCache<Shop, Item, ['id']> {
    static model = Shop;
    static keyFields = ['id'] as const;
    static relation = 'items';
  }
  registerCache(Heaviest);
  registerCache(ItemsOf);
  return {
    name,
    Shop,
    Item,
    async open(backend: Backend): Promise<void> {
      const { sequelize } = backend;
      const id = { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true };
      Shop.init({ id }, { sequelize, timestamps: false });
      Item.init({ id, shopId: DataTypes.INTEGER, weight: DataTypes.INTEGER }, { sequelize, timestamps: false, indexes: [{ fields: ['shopId'] }] });
      Shop.hasMany(Item, { as: 'items', foreignKey: 'shopId' });
      await sequelize.sync();
    },
    /** So many shops, each with so many items; the ids of the shops. */
    async fill(shops: number, items: number): Promise<number[]> {
      await Item.destroy({ where: {}, truncate: true });
      const found = await Shop.bulkCreate(Array.from({ length: shops }, (_, at) => ({ id: at + 1 })), { ignoreDuplicates: true });
      const ids = found.map((shop) => shop.id);
      await Item.bulkCreate(ids.flatMap((shopId) => Array.from({ length: items }, (_, at) => ({ shopId, weight: at }))));
      return ids;
    },
    kinds: {
      'filter': (shopId: number) => Item.cache.filter({ shopId }),
      'order and limit': (shopId: number) => new Heaviest(shopId).resolve(),
      'has-many relation': (shopId: number) => new ItemsOf(shopId).resolve(),
    } as Readonly<Record<string, (shopId: number) => Promise<readonly Item[]>>>,
    found: {
      'filter': (shopId: number) => Item.findAll({ where: { shopId }, order: ['id'] }),
      'order and limit': (shopId: number) => Item.findAll({ where: { shopId }, order: [['weight', 'DESC'], 'id'], limit: 3 }),
      'has-many relation': (shopId: number) => Item.findAll({ where: { shopId }, order: ['id'] }),
    } as Readonly<Record<string, (shopId: number) => Promise<readonly Item[]>>>,
  };
}

for (const name of backendNames) {
  describe(`lists of one tick on ${name}`, () => {
    const { Item, open, fill, kinds, found } = define(name);
    let backend: Backend;
    before(async () => {
      backend = await openBackend(name);
      await open(backend);
      backend.setup();
      backend.store.moveAway();
    });
    after(() => backend.close());
    beforeEach(() => backend.store.quiet());

    /** Counts what nobody waits for, too. */
    const quietly = (work: () => Promise<unknown>) => async (): Promise<unknown> => {
      const answer = await work();
      await backend.store.quiet();
      return answer;
    };
    const together = (kind: string, ids: readonly number[]): Promise<unknown> => Promise.all(ids.map((id) => kinds[kind]!(id)));

    for (const [lists, items] of [[2, 3], [10, 3], [50, 3], [20, 20]] as const) {
      it(`${String(lists)} of ${String(items)} rows: one statement, and as many waits for the store as one of them`, async () => {
        const [first = 0, one = 0, ...many] = await fill(lists + 2, items);
        // The table's generation and epoch are there from now on.
        await kinds.filter!(first);
        const rows = lists * items;
        await backend.store.quiet();
        await costing(backend, { sql: 1 }, quietly(() => kinds.filter!(one)));
        const { rounds } = backend.store;
        const gets = backend.store.count('get');
        await costing(backend, { sql: 1, rounds, operations: { get: gets, add: lists + rows, compareAndSwap: lists + rows } }, quietly(() => together('filter', many)));
        await costing(backend, { sql: 0 }, () => kinds.filter!(one));
        const warm = backend.store.count('get');
        await costing(backend, { sql: 0, gets: warm }, () => together('filter', many));
      });

      it(`${String(lists)} of ${String(items)} rows read anew: one statement, one look at the rows`, async () => {
        const ids = await fill(lists, items);
        await together('filter', ids);
        await backend.store.quiet();
        const rows = lists * items;
        const refresh = (): Promise<unknown> => Item.cache.filterMany(ids.map((shopId) => ({ shopId })), { refresh: true });
        // Each row that is there takes a lease in its place, and then its value: no `add` that is refused.
        await costing(backend, { sql: 1, operations: { get: 4, compareAndSwap: 2 * (lists + rows) } }, quietly(refresh));
        await costing(backend, { sql: 0, gets: 2 }, () => together('filter', ids));
      });
    }

    const evictions: Readonly<Record<string, (rows: readonly { readonly id: number }[], shopId: number) => readonly string[]>> = {
      'its first row': ([row]) => [Item.cache.getKey({ id: row!.id })],
      'its last row': (rows) => [Item.cache.getKey({ id: rows.at(-1)!.id })],
      'two of its rows': ([first, second]) => [first, second].map((row) => Item.cache.getKey({ id: row!.id })),
      'all of its rows': (rows) => rows.map(({ id }) => Item.cache.getKey({ id })),
    };

    for (const kind of Object.keys(kinds)) {
      for (const [what, keysOf] of Object.entries(evictions)) {
        it(`${kind}: where the store has evicted ${what} of one or several lists, one statement makes them whole`, async () => {
          const ids = await fill(12, 4);
          const expected = plain(await Promise.all(ids.map((id) => found[kind]!(id))));
          await together(kind, ids);
          await together(kind, ids);
          for (const some of [ids.slice(0, 1), ids.slice(3, 5), ids]) {
            await backend.store.quiet();
            for (const id of some) {
              for (const key of keysOf(await found[kind]!(id), id)) assert.equal(await backend.store.delete(key), true, 'it was there');
            }
            assert.deepEqual(plain(await costing(backend, { sql: 1 }, () => together(kind, ids))), expected);
            await backend.store.quiet();
            assert.deepEqual(plain(await costing(backend, { sql: 0 }, () => together(kind, ids))), expected);
          }
        });
      }
    }
  });
}

const smallRooms = {
  'a memcached store': async () => {
    const server = await startMemcached();
    return { store: new MemcachedStore(server.address, { timeoutMs: 5000, maxPending: 2500 }), stop: () => server.stop() };
  },
  'the memory store': () => Promise.resolve({ store: new MemoryStore(), stop: () => Promise.resolve() }),
};

for (const [place, openStore] of Object.entries(smallRooms)) {
  it(`many lists whose rows are more than ${place} takes at once are cached by one read`, async () => {
    const { store, stop } = await openStore();
    const backend = await openBackend('sqlite', { store });
    const errors: unknown[] = [];
    const listen = (message: unknown): void => void errors.push(message);
    subscribe('sequelize-flash:error', listen);
    try {
      const { open, fill, kinds } = define('sqlite');
      await open(backend);
      backend.setup();
      const ids = await fill(100, 40);
      const read = (): Promise<unknown> => Promise.all(ids.map((id) => kinds.filter!(id)));
      await costing(backend, { sql: 1 }, read);
      await backend.store.quiet();
      await costing(backend, { sql: 0 }, read);
      assert.deepEqual(errors, []);
    } finally {
      unsubscribe('sequelize-flash:error', listen);
      await backend.close();
      await stop();
    }
  });
}
