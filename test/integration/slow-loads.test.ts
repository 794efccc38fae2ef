/** Loads that take longer than a lease: their answers are stored, and nobody asks twice or joins what is outdated. */
import assert from 'node:assert/strict';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { after, before, beforeEach, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { DataTypes, Model, type CreationOptional, type InferAttributes, type InferCreationAttributes, type Sequelize } from 'sequelize';
import { bumpVersion, InstanceCache, QuerysetCache, QuerysetCountCache, QuerysetExistsCache, registerCache, withCache, type FlashEvents, type JsonValue } from '../../src/index.js';
import { backendNames, openBackend, type Backend } from '../support/backends.js';
import { costing } from '../support/cost.js';

/** One more than a lease of three seconds stands without a renewal. */
const renewals = 4;

for (const name of backendNames) {
  describe(`slow loads on ${name}`, () => {
    class Sale extends Model<InferAttributes<Sale>, InferCreationAttributes<Sale>> {
      static readonly cache = withCache(Sale, { keys: ['id', 'code', ['shop', 'code']], filters: ['shop'] });
      declare id: CreationOptional<number>;
      declare code: string;
      declare shop: number;
      declare amount: number;
    }
    class Total extends QuerysetCache<Sale, ['shop']> {
      static model = Sale;
      static keyFields = ['shop'] as const;
      override async getResult({ shop }: { readonly shop: number }): Promise<JsonValue> {
        const sales = await this.queryset().findAll({ where: { shop } });
        return sales.reduce((sum, { amount }) => sum + amount, 0);
      }
    }
    class Patient extends QuerysetCache<Sale, ['shop']> {
      static model = Sale;
      static keyFields = ['shop'] as const;
      static invalidation = 'DYNAMIC' as const;
      static allowtime = 60;
      override async getResult({ shop }: { readonly shop: number }): Promise<JsonValue> {
        return (await this.queryset().findAll({ where: { shop } })).length;
      }
    }
    class Last extends InstanceCache<Sale, ['shop']> {
      static model = Sale;
      static keyFields = ['shop'] as const;
      override getInstance({ shop }: { readonly shop: number }): Promise<Sale | null> {
        return this.queryset().findOne({ where: { shop }, order: [['id', 'DESC']] });
      }
    }
    class Largest extends QuerysetCache<Sale, ['shop']> {
      static model = Sale;
      static keyFields = ['shop'] as const;
      static order = [['amount', 'DESC'], 'id'] as const;
      static limit = 2;
    }
    class HasSales extends QuerysetExistsCache<Sale, ['shop']> {
      static model = Sale;
      static keyFields = ['shop'] as const;
    }
    class SalesOf extends QuerysetCountCache<Sale, ['shop']> {
      static model = Sale;
      static keyFields = ['shop'] as const;
    }
    for (const cacheClass of [Total, Patient, Last, Largest, HasSales, SalesOf]) registerCache(cacheClass);

    let backend: Backend;
    let shop = 0;
    let sales: Sale[];

    before(async () => {
      backend = await openBackend(name);
      const { sequelize } = backend;
      Sale.init(
        { id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true }, code: { type: DataTypes.STRING, unique: true }, shop: DataTypes.INTEGER, amount: DataTypes.INTEGER },
        { sequelize, timestamps: false },
      );
      await sequelize.sync();
      backend.setup();
    });
    after(() => backend.close());
    beforeEach(async () => {
      shop += 1;
      await Sale.bulkCreate([1, 2, 3].map((amount) => ({ code: `sale ${String(shop)}.${String(amount)}`, shop, amount })));
      sales = await Sale.findAll({ where: { shop }, order: ['id'] });
      await backend.store.quiet();
    });

    const lookups: Readonly<Record<string, () => Promise<unknown>>> = {
      'by primary key': () => Sale.cache.get({ id: sales[0]!.id }),
      'by a unique key': () => Sale.cache.get({ code: sales[1]!.code }),
      'by two fields': () => Sale.cache.get({ shop, code: sales[2]!.code }),
      'of a row that is not there': () => Sale.cache.getOrNone({ code: `none ${String(shop)}` }),
      'of many rows': () => Sale.cache.getMany(sales.map(({ id }) => ({ id }))),
      'a list': () => Sale.cache.filter({ shop }),
      'a list with an order and a limit': () => new Largest(shop).resolve(),
      'a count': () => new SalesOf(shop).resolve(),
      'whether there is one': () => new HasSales(shop).resolve(),
      'a result': () => new Total(shop).resolve(),
      'a result that may be outdated for a while': () => new Patient(shop).resolve(),
      'an instance of its own kind': () => new Last(shop).resolve(),
    };

    it('the answer of every kind of load is stored, and asked for once', async () => {
      const loads = new Map<string, number>();
      const listen = (message: unknown): void => {
        const { cache } = message as FlashEvents['load'];
        loads.set(cache, (loads.get(cache) ?? 0) + 1);
      };
      subscribe('sequelize-flash:load', listen);
      try {
        const statements = holdSelects(backend.sequelize);
        backend.reset();
        const readAll = (): Promise<unknown[]> => Promise.all(Object.values(lookups).map((read) => read()));
        const reading = Promise.all([readAll(), readAll()]);
        await statements.reached;
        // In another tick: these share the loads that run.
        const joining = readAll();
        await outlive(backend);
        statements.release();
        const expected = plain(await joining);
        for (const answers of await reading) assert.deepEqual(plain(answers), expected);
        await backend.store.quiet();
        // Of rows that were found by another key too late to be stored, it reads by primary key once more.
        loads.delete('Sale(id)');
        assert.deepEqual([...loads.values()].filter((count) => count !== 1), [], JSON.stringify([...loads]));
        assert.deepEqual(plain(await costing(backend, { sql: 0 }, readAll)), expected);
      } finally {
        unsubscribe('sequelize-flash:load', listen);
      }
    });

    for (const [kind, read] of Object.entries(lookups)) {
      it(`${kind}: a read after an acknowledged write does not join the load that began before it`, async () => {
        const statements = holdSelects(backend.sequelize);
        const older = read();
        await statements.reached;
        statements.letPass();
        // Each kind of answer depends on one of these.
        for (const sale of sales) await Sale.update({ amount: sale.amount + 100 }, { where: { id: sale.id } });
        await Sale.create({ code: `none ${String(shop)}`, shop, amount: 1 });
        const newer = plain(await read());
        assert.deepEqual(newer, plain(await uncached(kind)), 'answered while the older load is held');
        statements.release();
        await older;
        await backend.store.quiet();
        assert.deepEqual(plain(await read()), newer);
      });
    }

    const voidings: Readonly<Record<string, () => Promise<unknown>>> = {
      'clear()': () => Sale.cache.clear(),
      'bumpVersion()': () => bumpVersion(Sale),
      // Raw SQL voids the table as a whole.
      'raw SQL': () => backend.sequelize.query('UPDATE Sales SET amount = amount + 1'),
    };
    for (const [what, voidAll] of Object.entries(voidings)) {
      for (const [kind, read] of Object.entries(lookups)) {
        it(`${kind}: after ${what} beside it, a slow load keeps nobody from storing what is read anew`, async () => {
          const statements = holdSelects(backend.sequelize);
          const older = read();
          try {
            await statements.reached;
            statements.letPass();
            await voidAll();
            const newer = plain(await read());
            assert.deepEqual(newer, plain(await uncached(kind)), 'answered while the older load is held');
            // Its lease is given up when it would be renewed.
            const deadline = performance.now() + 10_000;
            for (let sent = 1; sent > 0; sent = backend.sql.length) {
              assert.ok(performance.now() < deadline, `still not stored: ${backend.sql.join('; ')}`);
              await sleep(100);
              backend.reset();
              assert.deepEqual(plain(await read()), newer);
            }
          } finally {
            statements.release();
            await older;
          }
          await backend.store.quiet();
          assert.deepEqual(plain(await costing(backend, { sql: 0 }, read)), plain(await uncached(kind)));
        });
      }
    }

    /** The same lookup, asked of the database. */
    const uncached = (kind: string): Promise<unknown> => backend.sequelize.transaction(async (transaction) => {
      switch (kind) {
        case 'by primary key':
          return Sale.findByPk(sales[0]!.id, { transaction });
        case 'by a unique key':
          return Sale.findByPk(sales[1]!.id, { transaction });
        case 'by two fields':
          return Sale.findByPk(sales[2]!.id, { transaction });
        case 'of a row that is not there':
          return Sale.findOne({ where: { code: `none ${String(shop)}` }, transaction });
        case 'of many rows':
          return Sale.findAll({ where: { id: sales.map(({ id }) => id) }, order: ['id'], transaction });
        case 'a list':
          return Sale.findAll({ where: { shop }, order: ['id'], transaction });
        case 'a list with an order and a limit':
          return Sale.findAll({ where: { shop }, order: [['amount', 'DESC'], 'id'], limit: 2, transaction });
        case 'a count':
        case 'a result that may be outdated for a while':
          return Sale.count({ where: { shop }, transaction });
        case 'whether there is one':
          return true;
        case 'a result':
          return Sale.sum('amount', { where: { shop }, transaction });
        default:
          return Sale.findOne({ where: { shop }, order: [['id', 'DESC']], transaction });
      }
    });

    it('a lease is not renewed for a load that is fast, and once for many keys of a slow one', async () => {
      const ids = sales.map(({ id }) => ({ id }));
      backend.reset();
      await Sale.cache.getMany(ids);
      await backend.store.quiet();
      assert.equal(backend.store.count('compareAndSwap'), ids.length, 'the fills');
      await Sale.update({ amount: 7 }, { where: { shop } });
      const statements = holdSelects(backend.sequelize);
      const reading = Sale.cache.getMany(ids);
      await statements.reached;
      backend.reset();
      await until(() => backend.store.count('compareAndSwap') >= ids.length);
      assert.equal(backend.store.count('get'), 1, 'one multi-get for all of them');
      statements.release();
      await reading;
    });

    it('a process that is too busy to renew its lease answers, does not store, and says so', async () => {
      const expired: FlashEvents['expired'][] = [];
      const listen = (message: unknown): void => void expired.push(message as FlashEvents['expired']);
      subscribe('sequelize-flash:expired', listen);
      try {
        const statements = holdSelects(backend.sequelize);
        const reading = new Total(shop).resolve();
        await statements.reached;
        block(3500);
        statements.release();
        assert.equal(await reading, 6);
        await backend.store.quiet();
        assert.deepEqual(expired.map(({ cache, key }) => [cache, key]), [['Total', new Total(shop).key]]);
        assert.ok(expired[0]!.milliseconds >= 3000);
        assert.equal(await costing(backend, { sql: 1 }, () => new Total(shop).resolve()), 6);
        await backend.store.quiet();
        await costing(backend, { sql: 0 }, () => new Total(shop).resolve());
      } finally {
        unsubscribe('sequelize-flash:expired', listen);
      }
    });

    it('a write that takes the lease away is no expiry', async () => {
      const expired: unknown[] = [];
      const listen = (message: unknown): void => void expired.push(message);
      subscribe('sequelize-flash:expired', listen);
      try {
        const statements = holdSelects(backend.sequelize);
        const reading = new Total(shop).resolve();
        await statements.reached;
        statements.letPass();
        await sales[0]!.update({ amount: 50 });
        statements.release();
        await reading;
        await backend.store.quiet();
        assert.deepEqual(expired, []);
        assert.equal(await new Total(shop).resolve(), 55);
      } finally {
        unsubscribe('sequelize-flash:expired', listen);
      }
    });
  });
}

/** Waits until one lease was renewed so often that it would have expired long ago. */
async function outlive({ store }: Backend): Promise<void> {
  const counts = new Map<string, number>();
  const stop = store.intercept((operation, key) => {
    if (operation === 'compareAndSwap') counts.set(key, (counts.get(key) ?? 0) + 1);
  });
  await until(() => [...counts.values()].some((count) => count >= renewals));
  stop();
}

async function until(condition: () => boolean): Promise<void> {
  const deadline = performance.now() + 60_000;
  while (!condition()) {
    assert.ok(performance.now() < deadline, 'it did not come to that within a minute');
    await sleep(5);
  }
}

/** Keeps this process busy: no timer fires, no reply is read. */
function block(milliseconds: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}

/** Holds SELECTs before they are sent. */
function holdSelects(sequelize: Sequelize): { readonly reached: Promise<void>; readonly held: number; letPass(): void; release(): void } {
  let reach: () => void = () => undefined;
  let open: () => void = () => undefined;
  const reached = new Promise<void>((resolve) => {
    reach = resolve;
  });
  const opened = new Promise<void>((resolve) => {
    open = resolve;
  });
  let held = 0;
  let passes = false;
  const hook = `hold ${String(Math.random())}`;
  sequelize.addHook('beforeQuery', hook, async (options: { readonly type?: string }) => {
    if (passes || options.type !== 'SELECT') return;
    held += 1;
    reach();
    await opened;
  });
  return {
    reached,
    get held() {
      return held;
    },
    letPass: () => {
      passes = true;
    },
    release: () => {
      passes = true;
      sequelize.removeHook('beforeQuery', hook);
      open();
    },
  };
}

/** Answers as they can be compared; the order of a list without one is the database's. */
const plain = (answer: unknown): unknown => {
  const all = JSON.parse(JSON.stringify(answer ?? null)) as unknown;
  return all;
};
