/**
 * What an operation costs does not depend on how much there is: the same SQL statements and round
 * trips with one model and ten, one cache and eight, one memcached server and three.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { DataTypes, type Model, type ModelStatic, type Sequelize } from 'sequelize';
import { registryOf } from '../../src/caches/registry.js';
import { withCache, type CacheManager } from '../../src/index.js';
import { MemcachedStore } from '../../src/stores/memcached.js';
import type { Store } from '../../src/stores/store.js';
import { openBackend, type Backend } from '../support/backends.js';
import { startMemcached, type MemcachedProcess } from '../support/memcached-process.js';

interface Item extends Model {
  id: number;
  visits: number;
}

type Items = ModelStatic<Item> & { readonly cache: CacheManager<Item, 'k1'> };

/** SQL statements and store round trips of each operation. */
interface Costs {
  readonly lookup: Cost;
  readonly save: Cost;
  readonly bulkUpdate: Cost;
  /** Of a row that the caller has. */
  readonly invalidation: Cost;
  /** Of the row that a key leads to. */
  readonly invalidationByKey: Cost;
}

interface Cost {
  readonly sql: number;
  readonly trips: number;
}

const keyNames = Array.from({ length: 8 }, (_, at) => `k${String(at + 1)}`);
const rows = 12;
const keyOf = (key: number, id: number): number => key * 1000 + id;

function define(sequelize: Sequelize, name: string, caches: number): Items {
  const model = sequelize.define<Item>(name, {
    id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true },
    visits: { type: DataTypes.INTEGER, allowNull: false, defaultValue: 0 },
    ...Object.fromEntries(keyNames.map((key) => [key, { type: DataTypes.INTEGER, unique: true }])),
  });
  withCache(model, { keys: keyNames.slice(0, caches) as never });
  return model as Items;
}

/** The costs with so many models, and caches of each, of every row in turn. */
async function costsWith(size: { readonly models?: number; readonly caches?: number; readonly store?: Store }): Promise<(Costs & { readonly together: boolean })[]> {
  const { models: count = 1, caches = 1, store } = size;
  const backend = await openBackend('mariadb', { define: { timestamps: false }, ...(store === undefined ? {} : { store }) });
  try {
    const models = Array.from({ length: count }, (_, at) => define(backend.sequelize, `Item${String(at)}`, caches));
    backend.setup();
    await backend.sequelize.sync();
    const values = Array.from({ length: rows }, (_, at) => Object.fromEntries(keyNames.map((key, index) => [key, keyOf(index + 1, at + 1)])));
    for (const model of models) await model.bulkCreate(values as never);
    /** Every cache of the model knows the row. */
    const warm = async (model: Items, id: number): Promise<void> => {
      for (let pass = 0; pass < 2; pass += 1) {
        for (let key = 1; key <= caches; key += 1) await model.cache.get({ [`k${String(key)}`]: keyOf(key, id) } as never);
      }
    };
    const found: (Costs & { together: boolean })[] = [];
    for (let id = 1; id <= rows; id += 1) {
      const model = models[id % count]!;
      const row = await model.findByPk(id, { rejectOnEmpty: true });
      await warm(model, id);
      const key = 1 + (id % caches);
      const lookup = await costOf(backend, async () => {
        assert.equal((await model.cache.get({ [`k${String(key)}`]: keyOf(key, id) } as never)).id, id);
      });
      const save = await costOf(backend, () => row.update({ visits: id }));
      await warm(model, id);
      const bulkUpdate = await costOf(backend, () => model.update({ visits: id + 1 }, { where: { id } }));
      await warm(model, id);
      const invalidation = await costOf(backend, () => model.cache.invalidate(row));
      await warm(model, id);
      const invalidationByKey = await costOf(backend, () => model.cache.invalidate({ k1: keyOf(1, id) } as never));
      await warm(model, id);
      assert.equal((await model.cache.get({ k1: keyOf(1, id) } as never)).visits, id + 1);
      found.push({ lookup, save, bulkUpdate, invalidation, invalidationByKey, together: onOneServer(backend, model, id) });
    }
    return found;
  } finally {
    await backend.close();
  }
}

async function costOf(backend: Backend, work: () => Promise<unknown>): Promise<Cost> {
  backend.reset();
  await work();
  return { sql: backend.sql.length, trips: backend.store.roundTrips };
}

/** Whether the row's entry and its table's epoch are on the same server. */
function onOneServer({ store }: Backend, model: Items, id: number): boolean {
  const { cached } = registryOf(model).of(model)!;
  return store.inOrder(cached.tableKeys.epoch, cached.rowKey([String(id)]));
}

/** The costs that all rows have in common. */
function common(all: readonly Costs[]): Costs {
  const [first, ...others] = all;
  assert.ok(first !== undefined);
  for (const other of others) assert.deepEqual(other, first);
  return first;
}

const without = ({ lookup, save, bulkUpdate, invalidation, invalidationByKey }: Costs): Costs => ({
  lookup,
  save,
  bulkUpdate,
  invalidation,
  invalidationByKey,
});

describe('costs that do not grow', () => {
  let cluster: MemcachedProcess[] = [];
  let one: Costs;

  before(async () => {
    one = common((await costsWith({})).map(without));
    cluster = await Promise.all([startMemcached(), startMemcached(), startMemcached()]);
  });

  after(() => Promise.all(cluster.map((server) => server.stop())));

  it('are these', () => {
    assert.deepEqual(one, {
      lookup: { sql: 0, trips: 1 },
      save: { sql: 1, trips: 2 },
      bulkUpdate: { sql: 1, trips: 2 },
      invalidation: { sql: 0, trips: 2 },
      // Which row it is, only the database knows.
      invalidationByKey: { sql: 1, trips: 3 },
    });
  });

  it('are the same with 10 models', async () => {
    assert.deepEqual(common((await costsWith({ models: 10 })).map(without)), one);
  });

  it('are the same with 8 caches of the model', async () => {
    assert.deepEqual(common((await costsWith({ caches: 8 })).map(without)), one);
  });

  it('are the same with 10 models of 8 caches', async () => {
    assert.deepEqual(common((await costsWith({ models: 10, caches: 8 })).map(without)), one);
  });

  it('are the same on 3 servers, but for one round trip where the row and its table’s epoch are on two of them', async () => {
    const store = new MemcachedStore(cluster.map(({ address }) => address), { timeoutMs: 2000 });
    const all = await costsWith({ store });
    for (const { together, invalidationByKey, ...costs } of all) {
      // A marker may go only after the epoch has, and two servers keep no order between them.
      const more = together ? 0 : 1;
      const { lookup, save, bulkUpdate, invalidation } = one;
      assert.deepEqual(costs, {
        lookup,
        save: { ...save, trips: save.trips + more },
        bulkUpdate: { ...bulkUpdate, trips: bulkUpdate.trips + more },
        invalidation,
      });
      // It voids the index entry as well, which may be on a server of its own.
      assert.equal(invalidationByKey.sql, one.invalidationByKey.sql);
      assert.ok([0, 1].includes(invalidationByKey.trips - one.invalidationByKey.trips), `${String(invalidationByKey.trips)} round trips`);
    }
    assert.deepEqual([...new Set(all.map(({ together }) => together))].sort(), [false, true], 'rows on the epoch’s server, and rows on another');
  });
});
