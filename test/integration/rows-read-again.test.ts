/**
 * Rows that a process reads again and again: they are decoded once, and yet every answer is what the
 * database has, and its caller's own.
 */
import assert from 'node:assert/strict';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { after, before, beforeEach, describe, it, type TestContext } from 'node:test';
import {
  DataTypes,
  Model,
  type CreationOptional,
  type InferAttributes,
  type InferCreationAttributes,
  type Sequelize,
} from 'sequelize';
import { setupCache, withCache, type ModelCache, type ModelCacheStats } from '../../src/index.js';
import { channels } from '../../src/events.js';
import { MemoryStore } from '../../src/stores/memory.js';
import type { Store, StoreReply } from '../../src/stores/store.js';
import { backendNames, memcachedStore, openBackend, type Backend } from '../support/backends.js';

class Item extends Model<InferAttributes<Item>, InferCreationAttributes<Item>> {
  declare static readonly cache: ModelCache<Item, 'id' | 'slug'>;
  declare id: CreationOptional<number>;
  declare slug: string;
  declare at: Date;
  declare bytes: Buffer;
  declare data: unknown;
  declare count: number;
}

function defineItem(sequelize: Sequelize): typeof Item {
  const Own = class extends Item {};
  Own.init(
    {
      id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true },
      slug: { type: DataTypes.STRING(40), allowNull: false, unique: true },
      at: { type: DataTypes.DATE(3), allowNull: false },
      bytes: { type: DataTypes.BLOB, allowNull: false },
      data: { type: DataTypes.JSON, allowNull: false },
      count: { type: DataTypes.INTEGER, allowNull: false },
    },
    { sequelize, modelName: 'Item', tableName: 'items', timestamps: false },
  );
  withCache(Own, { keys: ['id', 'slug'] });
  return Own;
}

const values = (): InferCreationAttributes<Item> => ({
  id: 1,
  slug: 'one',
  at: new Date(1_700_000_000_123),
  bytes: Buffer.from('bytes'),
  data: { list: [1, { deep: 'text' }] },
  count: 1,
});

/** How often an entry of a row was parsed from now on. */
function countParsedRows(t: TestContext): () => number {
  const parse = t.mock.method(JSON, 'parse');
  return () => parse.mock.calls.filter(({ arguments: [text] }) => typeof text === 'string' && text.startsWith('[0,[')).length;
}

for (const name of backendNames) {
  for (const peeks of name === 'sqlite' ? [false, true] : [false]) {
    describe(`rows that are read again, ${name}${peeks ? ', from a store that answers at once' : ''}`, () => {
      let backend: Backend;
      let Own: typeof Item;
      let store: Store;

      before(async () => {
        backend = await openBackend(name);
        store = peeks ? new MemoryStore() : backend.store;
        Own = defineItem(backend.sequelize);
        await backend.sequelize.sync({ force: true });
        backend.setup({ store });
      });
      after(() => backend.close());
      beforeEach(async () => {
        await Own.destroy({ where: {} });
        await Own.create(values());
        await Own.cache.clear();
      });

      const readAgain = async (read: () => Promise<unknown>): Promise<void> => {
        for (let time = 0; time < 4; time += 1) await read();
        backend.reset();
      };
      const find = async (): Promise<Item> => Own.findOne({ where: { id: 1 }, rejectOnEmpty: true });
      const keys = [{ id: 1 }, { slug: 'one' }] as const;

      for (const key of keys) {
        describe(`by ${Object.keys(key).join()}`, () => {
          it('are decoded twice and no more', async (t) => {
            await Own.cache.get(key);
            const parsed = countParsedRows(t);
            await Own.cache.get(key);
            await Own.cache.get(key);
            assert.equal(parsed(), 2);
            await Own.cache.get(key);
            await Promise.all([Own.cache.get(key), Own.cache.get(key), Own.cache.getMany([key, key])]);
            assert.equal(parsed(), 2);
          });

          it('are their callers’ own: whatever one does to an instance, the next is as found', async () => {
            const expected = await find();
            await readAgain(() => Own.cache.get(key));
            for (let time = 0; time < 3; time += 1) {
              const row = await Own.cache.get(key);
              assert.deepEqual(row, expected);
              row.at.setFullYear(1999);
              row.bytes.fill(0);
              if (typeof row.data === 'object' && row.data !== null) Object.assign(row.data, { list: null });
              row.count = 99;
              row.setDataValue('slug', 'changed');
            }
            assert.deepEqual(backend.sql, []);
          });

          it('are read from the store: what another write voids is gone', async () => {
            await readAgain(() => Own.cache.get(key));
            await Own.update({ count: 2 }, { where: { id: 1 } });
            assert.equal((await Own.cache.get(key)).count, 2);
            await readAgain(() => Own.cache.get(key));
            assert.equal((await Own.cache.get(key)).count, 2);
            await Own.destroy({ where: { id: 1 } });
            assert.equal(await Own.cache.getOrNone(key), null);
          });

          it('are gone with their table’s generation, although the entry still stands', async () => {
            await readAgain(() => Own.cache.get(key));
            await backend.sequelize.query('UPDATE items SET count = 7');
            await Own.cache.clear();
            assert.equal((await Own.cache.get(key)).count, 7);
          });
        });
      }

      it('are not the answer for a name that they had before', async () => {
        await readAgain(() => Own.cache.get({ slug: 'one' }));
        await readAgain(() => Own.cache.get({ id: 1 }));
        await Own.update({ slug: 'renamed' }, { where: { id: 1 } });
        await readAgain(() => Own.cache.get({ slug: 'renamed' }));
        await readAgain(() => Own.cache.get({ id: 1 }));
        assert.equal(await Own.cache.getOrNone({ slug: 'one' }), null);
        await Own.create({ ...values(), id: 2 });
        assert.equal((await Own.cache.get({ slug: 'one' })).id, 2);
      });

      if (peeks) {
        it('are answered before the next tick', async () => {
          await readAgain(() => Own.cache.get({ id: 1 }));
          let ticked = false;
          await Promise.resolve();
          process.nextTick(() => {
            ticked = true;
          });
          const row = await Own.cache.get({ id: 1 });
          assert.deepEqual([row.count, ticked], [1, false]);
        });

        it('are counted as hits, and told of', async () => {
          await readAgain(() => Own.cache.get({ id: 1 }));
          const told: unknown[] = [];
          const listen = (message: unknown): void => {
            told.push(message);
          };
          subscribe(channels.hit.name, listen);
          const before = statsOf(Own.cache.stats());
          await Own.cache.get({ id: 1 });
          unsubscribe(channels.hit.name, listen);
          const after = statsOf(Own.cache.stats());
          assert.deepEqual([after.hits - before.hits, after.misses - before.misses], [1, 0]);
          assert.equal(told.length, 1);
        });

        it('are told of once where the entry is corrupt', async () => {
          await readAgain(() => Own.cache.get({ id: 1 }));
          const key = Own.cache.getKey({ id: 1 });
          const { items }: StoreReply = await store.get([key]);
          const item = items.get(key)!;
          await store.compareAndSwap(key, `${item.value}!`, item.token, 60);
          const before = statsOf(Own.cache.stats());
          assert.equal((await Own.cache.get({ id: 1 })).count, 1);
          const after = statsOf(Own.cache.stats());
          assert.deepEqual([after.errors - before.errors, after.misses - before.misses], [1, 1]);
        });
      }
    });
  }
}

describe('rows that are read again where nothing is to be remembered', () => {
  it('are decoded each time', async (t) => {
    const backend = await openBackend('sqlite');
    try {
      const Own = defineItem(backend.sequelize);
      await backend.sequelize.sync({ force: true });
      backend.setup({ recentBytes: 0 });
      await Own.create(values());
      await Own.cache.get({ id: 1 });
      const parsed = countParsedRows(t);
      for (let time = 0; time < 5; time += 1) await Own.cache.get({ id: 1 });
      assert.equal(parsed(), 5);
    } finally {
      await backend.close();
    }
  });
});

describe('rows that are read again, and another process', () => {
  it('are what that process wrote', async () => {
    const backend = await openBackend('mariadb');
    try {
      const Own = defineItem(backend.sequelize);
      await backend.sequelize.sync({ force: true });
      backend.setup({ prefix: 'again' });
      const Other = defineItem(backend.another());
      const other = setupCache(Other.sequelize!, { store: memcachedStore(), prefix: 'again' });
      await Own.create(values());
      for (let round = 1; round <= 5; round += 1) {
        for (let time = 0; time < 4; time += 1) {
          assert.equal((await Own.cache.get({ id: 1 })).count, round);
          assert.equal((await Own.cache.get({ slug: 'one' })).count, round);
        }
        const theirs = await Other.cache.get({ id: 1 });
        await theirs.update({ count: round + 1 });
      }
      await other.close();
    } finally {
      await backend.close();
    }
  });
});

const statsOf = (stats: ModelCacheStats): ModelCacheStats[string] & object => Object.values(stats)[0]!;
