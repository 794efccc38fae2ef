/** What the torture found once, each as a test without chance. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { DataTypes, Sequelize, type Model, type ModelStatic } from 'sequelize';
import { InstanceCache, InvalidationFailedError, setupCache, withCache } from '../../src/index.js';
import { openBackend, type Backend } from '../support/backends.js';
import { startTcpProxy } from '../support/tcp-proxy.js';

describe('once found by the torture', () => {
  let backend: Backend;
  let Item: ModelStatic<Model>;

  before(async () => {
    backend = await openBackend('mariadb');
    Item = backend.sequelize.define('Item', { name: DataTypes.STRING, count: DataTypes.INTEGER }, { timestamps: false });
    class FirstOfName extends InstanceCache<Model> {
      static model = Item;
      static keyFields = ['name'];
      override getInstance({ name }: Readonly<Record<string, unknown>>): Promise<Model | null> {
        return this.queryset().findOne({ where: { name: name as string }, order: [['id', 'ASC']] });
      }
    }
    // Its results depend on what rows were, so each write runs in a transaction of the cache's own.
    withCache(Item, { keys: ['id'], caches: [FirstOfName] });
    await backend.sequelize.sync();
    await Item.create({ name: 'a', count: 1 });
    backend.setup({ onStoreFailure: 'strict' });
  });
  after(() => backend.close());

  const using = (): number =>
    (backend.sequelize.connectionManager as unknown as { readonly pool: { readonly using: number } }).pool.using;

  it('a refused write keeps no connection of the pool', async () => {
    const repair = backend.store.intercept((operation) => {
      if (operation !== 'get') throw new Error('the store is down');
    });
    for (let times = 0; times < 12; times += 1) {
      await assert.rejects(Item.update({ count: 2 }, { where: { id: 1 } }), InvalidationFailedError);
    }
    repair();
    assert.equal(using(), 0);
    await Item.update({ count: 3 }, { where: { id: 1 } });
    assert.equal((await Item.findByPk(1))?.get('count'), 3);
  });

  it('nor does one whose COMMIT fails', async () => {
    const spoilt = new WeakSet<object>();
    backend.sequelize.addHook('beforeQuery', 'spoil', (_options, query) => {
      const { connection } = query as unknown as { readonly connection: { query(statement: { sql: string }, ...rest: unknown[]): unknown } };
      if (spoilt.has(connection)) return;
      spoilt.add(connection);
      const send = connection.query.bind(connection);
      connection.query = (statement, ...rest) => send(statement.sql === 'COMMIT' ? { ...statement, sql: 'COMMIT AND NONSENSE' } : statement, ...rest);
    });
    for (let times = 0; times < 12; times += 1) {
      await assert.rejects(Item.update({ count: 4 }, { where: { id: 1 } }), /NONSENSE/);
    }
    backend.sequelize.removeHook('beforeQuery', 'spoil');
    assert.equal(using(), 0);
    assert.equal((await Item.findByPk(1))?.get('count'), 3, 'given up, so rolled back');
  });

  for (const end of ['commit', 'rollback'] as const) {
    it(`a savepoint that is rolled back while a statement of it runs does not end its transaction (${end})`, async () => {
      const { sequelize } = backend;
      await Item.bulkCreate([{ name: 'locked', count: 0 }, { name: 'written', count: 0 }]);
      const [locked, written] = await Promise.all(['locked', 'written'].map((name) => Item.findOne({ where: { name }, order: [['id', 'DESC']], rejectOnEmpty: true })));
      const id = written?.get('id') as number;
      const read = async (): Promise<unknown> => (await cacheOf(Item).getOrNone({ id }))?.get('count');
      assert.equal(await read(), 0);

      const outer = await sequelize.transaction();
      const other = await sequelize.transaction();
      await Item.update({ count: 1 }, { where: { id: locked?.get('id') as number }, transaction: other });
      let slow: Promise<unknown> = Promise.resolve();
      backend.reset();
      const inner = sequelize.transaction({ transaction: outer }, async (transaction) => {
        // It waits for the other transaction, and is still under way when this one is rolled back.
        slow = Item.update({ count: 2 }, { where: { id: locked?.get('id') as number }, transaction }).catch(() => undefined);
        while (!backend.sql.some((statement) => /FOR UPDATE|UPDATE `Items`/.test(statement))) await new Promise(setImmediate);
        throw new Error('a sibling failed');
      });
      const failed = assert.rejects(inner, /a sibling failed/);
      // The savepoint is rolled back before the statement can end.
      while (!backend.sql.some((statement) => statement.includes('ROLLBACK TO'))) await new Promise(setImmediate);
      await other.commit();
      await failed;
      await slow;

      await Item.update({ count: 3 }, { where: { id }, transaction: outer });
      assert.equal(await read(), 0, 'not committed yet');
      await outer[end]();
      const expected = end === 'commit' ? 3 : 0;
      assert.equal((await Item.findByPk(id))?.get('count'), expected, 'in the database');
      assert.equal(await read(), expected, 'through the cache');
    });
  }
});

describe('found by thinking about it', () => {
  // The server does not look whether its client is still there while a statement waits for a lock. When
  // the lock is given, it commits. The cache had released its markers by then, because the statement had
  // failed, and a reader had put the old row in, which stayed for the entry's timeout.
  it('a statement that outlives its connection leaves nothing stale', async (t) => {
    const backend = await openBackend('mariadb');
    t.after(() => backend.close());
    const { port, database, username, password } = backend.sequelize.config as unknown as Readonly<Record<string, string>>;
    const proxy = await startTcpProxy(Number(port));
    t.after(() => proxy.close());
    // Two instances at one address, as two processes have them.
    const connect = (): Sequelize => {
      const sequelize = new Sequelize(database ?? '', username ?? '', password, { dialect: 'mysql', host: '127.0.0.1', port: proxy.port, logging: false });
      t.after(() => sequelize.close());
      return sequelize;
    };
    const [reader, cut] = [connect(), connect()];
    const define = (sequelize: Sequelize): ModelStatic<Model> => {
      const model = sequelize.define('Row', { count: DataTypes.INTEGER }, { timestamps: false });
      withCache(model, { keys: ['id'] });
      return model;
    };
    const Row = define(reader);
    const CutRow = define(cut);
    await reader.sync();
    await Row.create({ count: 1 });
    const options = { store: backend.store, prefix: 'cut', alias: 'cut', writeLease: 2 };
    setupCache(reader, options);
    setupCache(cut, options);
    const read = async (): Promise<unknown> => (await cacheOf(Row).getOrNone({ id: 1 }))?.get('count');

    const lock = await backend.sequelize.transaction();
    await backend.sequelize.query('SELECT id FROM `Rows` WHERE id = 1 FOR UPDATE', { transaction: lock });
    const isWaiting = async (): Promise<boolean> =>
      (await backend.sequelize.query(`SELECT 1 FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT' AND trx_query LIKE 'UPDATE \`Rows\`%'`))[0].length > 0;
    const write = assert.rejects(CutRow.update({ count: 2 }, { where: { id: 1 } }));
    // InnoDB shows an old picture to those who ask again within a tenth of a second.
    while (!(await isWaiting())) await new Promise((resolve) => setTimeout(resolve, 150));
    proxy.cut();
    await write;
    assert.equal(await read(), 1);
    await lock.commit();
    // It is committed now; whoever knew of it would wait for its end.
    while ((await Row.findByPk(1))?.get('count') !== 2);
    const until = performance.now() + 3000;
    while ((await read()) !== 2) assert.ok(performance.now() < until, 'the database has 2, and the cache had 1 for longer than writeLease');
  });
});

const cacheOf = (model: ModelStatic<Model>): { getOrNone(key: object): Promise<Model | null> } =>
  (model as unknown as { readonly cache: { getOrNone(key: object): Promise<Model | null> } }).cache;
