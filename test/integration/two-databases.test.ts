/** Two databases never share keys: on real servers, over TCP and sockets, with default options throughout. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { DataTypes, Model, Sequelize, type CreationOptional, type InferAttributes, type InferCreationAttributes, type ModelStatic, type Options } from 'sequelize';
import { createSqliteModule } from '../../examples/support/sqlite.js';
import { InvalidOptionError, setupCache, withCache, type FlashCache, type ModelCache } from '../../src/index.js';
import { MemcachedStore } from '../../src/stores/memcached.js';
import { MemoryStore } from '../../src/stores/memory.js';
import type { Store } from '../../src/stores/store.js';
import { memcachedStore, mysqlUrl } from '../support/backends.js';
import { startMariadb, type MariadbServer } from '../support/mariadb-process.js';
import { startMemcached, type MemcachedProcess } from '../support/memcached-process.js';

interface Row extends Model<InferAttributes<Row>, InferCreationAttributes<Row>> {
  id: number;
  tenant: CreationOptional<string>;
}

interface Tenant {
  readonly sequelize: Sequelize;
  readonly Account: ModelStatic<Row> & { cache: ModelCache<Row, 'id'> };
  readonly flash: FlashCache;
}

const open: Tenant[] = [];

function define(sequelize: Sequelize): Tenant['Account'] {
  class Account extends Model {}
  Account.init({ id: { type: DataTypes.INTEGER, primaryKey: true }, tenant: DataTypes.STRING }, { sequelize, modelName: 'Account', timestamps: false });
  return Object.assign(Account as unknown as ModelStatic<Row>, { cache: withCache(Account as unknown as ModelStatic<Row>, { keys: ['id'] }) });
}

/** A process's view of a database. Without other options: what is tested is the default. */
function tenant(options: Options, store: Store = memcachedStore()): Tenant {
  const sequelize = new Sequelize({ dialect: 'mysql', logging: false, ...options });
  const Account = define(sequelize);
  const one = { sequelize, Account, flash: setupCache(sequelize, { store }) };
  open.push(one);
  return one;
}

async function closeAll(): Promise<void> {
  for (const { sequelize, flash } of open.splice(0)) {
    await flash.close(0);
    await sequelize.close();
  }
}

const keyOf = ({ Account }: Tenant): string => Account.cache.getKey({ id: 1 });

describe('two servers, one name of a database', () => {
  const name = `tenant_${String(process.pid)}`;
  let second: MariadbServer;
  let places: Record<string, Options>;
  /** The same places, written otherwise: Sequelize's own options say one thing, the driver's another. */
  let variants: Record<string, Options[]>;

  before(async () => {
    second = await startMariadb();
    const [first, other] = [new URL(mysqlUrl()), new URL(second.url)];
    const admins = [new Sequelize(first.href, { logging: false }), new Sequelize(other.href, { logging: false })];
    const sockets: string[] = [];
    for (const [at, admin] of admins.entries()) {
      await admin.query(`CREATE DATABASE ${name}`);
      await admin.query(`CREATE DATABASE ${name}_2`);
      const user = at === 0 ? first.username : other.username;
      const password = at === 0 ? first.password : other.password;
      await admin.query(`CREATE USER IF NOT EXISTS '${user}'@'localhost' IDENTIFIED BY '${password}'`);
      await admin.query(`GRANT ALL PRIVILEGES ON ${name}.* TO '${user}'@'localhost'`);
      const [[{ socket }]] = (await admin.query('SELECT @@socket AS socket')) as unknown as [[{ socket: string }]];
      sockets.push(socket);
      for (const database of [name, `${name}_2`]) {
        const label = `${String(at)} ${database}`;
        await admin.query(`CREATE TABLE ${database}.Accounts (id INT PRIMARY KEY, tenant VARCHAR(80))`);
        await admin.query(`INSERT INTO ${database}.Accounts VALUES (1, '${label}')`);
      }
      await admin.close();
    }
    const login = { username: first.username, password: first.password };
    const [at, of] = [{ host: first.hostname, port: Number(first.port) }, { host: other.hostname, port: Number(other.port) }];
    places = {
      [`0 ${name}`]: { ...login, ...at, database: name },
      [`0 ${name}_2`]: { ...login, ...at, database: `${name}_2` },
      [`1 ${name}`]: { ...login, ...of, database: name },
    };
    variants = {
      [`0 ${name}`]: [
        { ...login, database: name, dialectOptions: at },
        { ...login, ...of, database: `${name}_2`, dialectOptions: { ...at, database: name } },
        { ...login, ...of, database: name, replication: { write: at, read: [of] } },
        { ...login, ...at, database: name, dialect: 'mariadb', timezone: '+02:00', dialectOptions: { connectTimeout: 20_000 } },
      ],
      [`0 ${name}_2`]: [{ ...login, ...at, database: name, dialectOptions: { database: `${name}_2` } }],
      [`1 ${name}`]: [{ ...login, ...at, database: name, dialectOptions: { ...of } }],
      [`0 ${name} by socket`]: [{ ...login, ...at, database: name, dialectOptions: { socketPath: sockets[0] } }],
      [`1 ${name} by socket`]: [{ ...login, ...at, database: name, dialectOptions: { socketPath: sockets[1] } }],
    };
  });
  after(async () => {
    await closeAll();
    await second.stop();
    const admin = new Sequelize(mysqlUrl(), { logging: false });
    for (const database of [name, `${name}_2`]) await admin.query(`DROP DATABASE IF EXISTS ${database}`);
    await admin.close();
  });

  it('each database answers with its own row, in every process, however its place is written', async () => {
    for (let round = 0; round < 2; round += 1) {
      for (const [label, options] of Object.entries(places)) {
        for (const one of [options, ...(variants[label] ?? [])]) assert.equal((await tenant(one).Account.cache.get({ id: 1 })).tenant, label, JSON.stringify(one));
      }
      for (const [label, [options]] of Object.entries(variants)) {
        if (!label.endsWith(' by socket')) continue;
        assert.equal((await tenant(options!).Account.cache.get({ id: 1 })).tenant, label.replace(' by socket', ''));
      }
      await closeAll();
    }
  });

  it('all spellings of one place share their keys: a write through one is seen through the others', async () => {
    for (const [label, options] of Object.entries(places)) {
      const processes = [options, ...(variants[label] ?? [])].map((one) => tenant(one));
      for (const writer of processes) {
        for (const reader of processes) await reader.Account.cache.get({ id: 1 });
        const tenantName = `${label} ${String(processes.indexOf(writer))}`;
        await writer.Account.update({ tenant: tenantName }, { where: { id: 1 } });
        for (const reader of processes) assert.equal((await reader.Account.cache.get({ id: 1 })).tenant, tenantName);
      }
      await processes[0]!.Account.update({ tenant: label }, { where: { id: 1 } });
      await closeAll();
    }
  });
});

describe('two databases of one process on one store', () => {
  const place = { host: 'db1.test', database: 'shop' };
  const connection = (options: Options): Sequelize => {
    const sequelize = new Sequelize({ dialect: 'mysql', logging: false, ...options });
    define(sequelize);
    return sequelize;
  };
  let memcached: MemcachedProcess;
  let another: MemcachedProcess;
  const flashes: FlashCache[] = [];
  const stores: Store[] = [];
  before(async () => {
    [memcached, another] = await Promise.all([startMemcached(), startMemcached()]);
  });
  after(async () => {
    for (const flash of flashes) await flash.close(0);
    for (const store of stores) await store.close();
    await Promise.all([memcached.stop(), another.stop()]);
  });
  const onServers = (...servers: string[]): Store => {
    const store = new MemcachedStore(servers);
    stores.push(store);
    return store;
  };
  const setUp = (sequelize: Sequelize, store: Store, options: { alias?: string; prefix?: string } = {}): FlashCache => {
    const flash = setupCache(sequelize, { store, ...options });
    flashes.push(flash);
    return flash;
  };
  const refused = (expected: RegExp) => (error: unknown) => error instanceof InvalidOptionError && expected.test(error.message);

  const shared: readonly (readonly [what: string, stores: () => readonly [Store, Store]])[] = [
    ['one memory store', () => { const store = new MemoryStore(); return [store, store]; }],
    ['one memcached store', () => { const store = onServers(memcached.address); return [store, store]; }],
    ['two stores on one server', () => [onServers(memcached.address), onServers(memcached.address)]],
    ['two stores with one server in common', () => [onServers(memcached.address), onServers(another.address, memcached.address)]],
  ];
  for (const [what, both] of shared) {
    it(`${what}: one alias for two databases is an error that names both`, async () => {
      const [one, two] = both();
      const first = setUp(connection(place), one, { alias: 'main', prefix: 'p' });
      const other = connection({ ...place, database: 'archive' });
      assert.throws(() => setUp(other, two, { alias: 'main', prefix: 'p' }), refused(/^Option 'alias': 'main' would stand for the databases mysql:\/\/db1\.test:3306\/shop and mysql:\/\/db1\.test:3306\/archive/));
      // Nothing is left of it: with a name of its own it works, and the first goes on.
      const second = setUp(other, two, { alias: 'archive', prefix: 'p' });
      assert.match(first.store.name, /./);
      await second.close(0);
      await setUp(connection({ ...place, host: 'db2.test' }), two, { alias: 'main', prefix: 'q' }).close(0);
      await first.close(0);
    });
  }

  it('one connection twice, or once more after close, is no error', async () => {
    const store = new MemoryStore();
    const [one, two, three] = [connection(place), connection({ ...place, host: 'DB1.test', username: 'other' }), connection({ ...place, host: 'db2.test' })];
    const first = setUp(one, store, { alias: 'main' });
    const second = setUp(two, store, { alias: 'main' });
    await first.close(0);
    assert.throws(() => setUp(three, store, { alias: 'main' }), refused(/would stand for the databases/));
    await second.close(0);
    await second.close(0);
    setUp(three, new MemoryStore(), { alias: 'main' });
    setUp(one, store, { alias: 'main' });
  });

  it('two stores that share nothing do not mind', () => {
    setUp(connection(place), onServers(memcached.address), { alias: 'same' });
    setUp(connection({ ...place, database: 'archive' }), onServers(another.address), { alias: 'same' });
    setUp(connection({ ...place, database: 'third' }), new MemoryStore(), { alias: 'same' });
    setUp(connection({ ...place, database: 'fourth' }), new MemoryStore(), { alias: 'same' });
  });

  const hooks = { beforeConnect: (): void => undefined };
  const untold: readonly Options[] = [
    { ...place, hooks },
    { ...place, dialectOptions: { stream: () => undefined } },
    { ...place, dialect: 'mariadb', dialectOptions: { initSql: ['USE tenant2'] } },
    { ...place, host: 'aws.connect.psdb.cloud' },
  ];
  for (const options of untold) {
    it(`a database that the options do not tell needs an alias: ${Object.keys(options.dialectOptions ?? options).join(', ')}`, () => {
      const sequelize = connection(options);
      assert.throws(() => setUp(sequelize, onServers(memcached.address)), refused(/^setupCache needs option 'alias' for this Sequelize instance, since its options do not tell which database it is: /));
      setUp(sequelize, onServers(memcached.address), { alias: `named-${String(untold.indexOf(options))}` });
      // In the memory of this process there is no other database, unless there is.
      const store = new MemoryStore();
      setUp(connection(options), store);
      assert.throws(() => setUp(connection(options), store), refused(/two Sequelize instances on .* which can be two databases/));
      assert.throws(() => setUp(connection({ ...options, hooks: {}, dialectOptions: {} }), store), refused(/./));
      setUp(connection(options), store, { alias: 'two' });
      setUp(connection(options), store, { alias: 'two' });
    });
  }

  it('databases in memory never share keys, on any store', async () => {
    const dialectModule = await createSqliteModule();
    const memory = (): Options => ({ dialect: 'sqlite', storage: ':memory:', dialectModule });
    const store = onServers(memcached.address);
    const tenants = [tenant(memory(), store), tenant(memory(), store), tenant(memory(), onServers(memcached.address))];
    for (const [at, { sequelize, Account }] of tenants.entries()) {
      await sequelize.sync();
      await Account.create({ id: 1, tenant: String(at) });
    }
    for (let round = 0; round < 2; round += 1) {
      assert.deepEqual(await Promise.all(tenants.map(async ({ Account }) => (await Account.cache.get({ id: 1 })).tenant)), ['0', '1', '2']);
    }
    assert.equal(new Set(tenants.map(keyOf)).size, 3);
    await closeAll();
  });

  it('what the drivers of SQLite take one name for is told apart', async () => {
    const file = async (): Promise<Options> => ({ dialect: 'sqlite', storage: 'one-name.db', dialectModule: await createSqliteModule() });
    const [one, two] = [await file(), await file()];
    const store = new MemoryStore();
    const [first, same] = [tenant(one, store), tenant(one, store)];
    assert.equal(keyOf(first), keyOf(same));
    assert.throws(() => tenant(two, store), refused(/two Sequelize instances on sqlite:/));
    await closeAll();
  });
});
