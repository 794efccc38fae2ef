/**
 * Which database a Sequelize instance reads, by its options: every pair of one group has the same default
 * alias, and every two groups have different ones.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { after, describe, it } from 'node:test';
import { Sequelize, type Options } from 'sequelize';
import { createSqliteModule } from '../../examples/support/sqlite.js';
import { identityOf, type DatabaseIdentity } from '../../src/identity.js';

type Given = Options | string | readonly [url: string, options: Options];

const open = (given: Given): Sequelize => {
  const [url, options] = typeof given === 'string' ? [given, {}] : (Array.isArray(given) ? given : [undefined, given as Options]) as [string | undefined, Options];
  // Sequelize writes into the options that it is given.
  const own = { logging: false as const, ...options, ...(options.dialectOptions === undefined ? {} : { dialectOptions: { ...options.dialectOptions } }) };
  return url === undefined ? new Sequelize({ dialect: 'mysql', ...own }) : new Sequelize(url, own);
};

const identity = (given: Given): DatabaseIdentity => identityOf(open(given));

const long = `primary-instance-of-the-orders-cluster.c9akciq32.${'x'.repeat(60)}.eu-central-1.rds.amazonaws.com`;
const main: Options = { host: 'db1.test', port: 3307, database: 'shop' };
const driverOptions = (dialectOptions: object): Options => ({ ...main, dialectOptions });

/** Each group is one database, in several spellings. */
const groups: Readonly<Record<string, readonly Given[]>> = {
  'a server by name': [
    main,
    { ...main, dialect: 'mariadb' },
    { ...main, host: 'DB1.Test' },
    { ...main, host: 'db1.test.' },
    { ...main, port: '3307' as never },
    { ...main, username: 'app', password: 'secret' },
    { ...main, username: 'migrations', password: 'other' },
    { ...main, timezone: '+02:00', pool: { max: 1 }, logging: () => undefined, define: { underscored: true } },
    'mysql://db1.test:3307/shop',
    'mysql://app:s%40cret@db1.test:3307/shop',
    'mariadb://app:secret@DB1.test:3307/shop?charset=utf8mb4&connectTimeout=2000&timezone=local',
    'mysql://127.0.0.9:3307/shop?host=db1.test',
    { host: 'ignored.test', database: 'ignored', dialectOptions: { host: 'db1.test', port: 3307, database: 'shop' } },
    driverOptions({ dateStrings: true, decimalNumbers: true, supportBigNumbers: false, bigNumberStrings: true, typeCast: () => null, jsonStrings: true }),
    driverOptions({ charset: 'utf8mb4', collation: 'utf8mb4_bin', timezone: 'Z', connectTimeout: 1, multipleStatements: true, flags: 'FOUND_ROWS' }),
    driverOptions({ user: 'app', password: 'secret', passwordSha1: 'x', authPlugins: {}, rsaPublicKey: 'x', compress: true, trace: false }),
    driverOptions({ ssl: { ca: 'a certificate', rejectUnauthorized: true } }),
    driverOptions({ ssl: { key: 'k', cert: 'c', servername: 'db1.test' }, socketPath: undefined, stream: undefined }),
    driverOptions({ ssl: 'Amazon RDS', connectAttributes: { program_name: 'shop' }, sessionVariables: { wait_timeout: 5 } }),
    driverOptions({ initSql: "SET SESSION sql_mode = 'ANSI'" }),
    { dialectOptions: { host: undefined, port: undefined, database: undefined, uri: 'mysql://app:secret@db1.test:3307/shop' } },
    { ...main, replication: { write: {}, read: [{ host: 'replica.test' }] } },
    { database: 'shop', replication: { write: { host: 'db1.test', port: '3307' }, read: [] } },
    { host: 'db9.test', database: 'x', replication: { write: main, read: [{ host: 'replica.test', database: 'copy' }] } },
    { replication: { write: { ...main, username: 'app', password: 'secret' }, read: [] } },
    { ...main, replication: { write: [] as never, read: [] } },
  ],
  'another host': [{ ...main, host: 'db2.test' }, driverOptions({ host: 'db2.test' }), 'mysql://db2.test:3307/shop'],
  'a longer host': [{ ...main, host: 'db1.test.example' }],
  'another port': [{ ...main, port: 3308 }, driverOptions({ port: 3308 }), 'mysql://db1.test:3308/shop'],
  'the default port': [
    { host: 'db1.test', database: 'shop' },
    { host: 'db1.test', database: 'shop', port: 3306 },
    { host: 'db1.test', database: 'shop', port: 0 },
    'mysql://db1.test/shop',
    'mysql://db1.test:3306/shop',
    { host: 'db1.test', database: 'shop', port: 3307, dialectOptions: { port: undefined } },
  ],
  'another database': [{ ...main, database: 'shop2' }, driverOptions({ database: 'shop2' }), { dialectOptions: { database: 'shop2', host: 'db1.test', port: 3307 } }],
  'a database of another case': [{ ...main, database: 'Shop' }],
  'no database': [{ host: 'db1.test', port: 3307 }, 'mysql://db1.test:3307', 'mysql://db1.test:3307/'],
  'a database that looks like a place': [{ ...main, database: 'db1.test:3307/shop' }],
  'another primary': [{ ...main, replication: { write: { host: 'db3.test' }, read: [main] } }, { ...main, host: 'db3.test' }],
  'a list of primaries': [{ ...main, replication: { write: [{ host: 'db4.test' }] as never, read: [] } }],
  'another list of primaries': [{ ...main, replication: { write: [{ host: 'db5.test', password: 'secret' }] as never, read: [] } }],
  'localhost': [{ database: 'shop' }, { database: 'shop', host: 'localhost' }, { database: 'shop', host: 'LOCALHOST' }, { database: 'shop', host: '' }, 'mysql://localhost/shop', { database: 'shop', dialectOptions: { host: null } }],
  'an address': [{ ...main, host: '127.0.0.1' }, 'mysql://127.0.0.1:3307/shop'],
  'an address of IPv6': [{ ...main, host: '::1' }, { ...main, host: '[::1]' }, { ...main, host: '0:0:0:0:0:0:0:1' }, { ...main, host: '::0001' }, 'mysql://[::1]:3307/shop'],
  'a socket': [
    { database: 'shop', dialectOptions: { socketPath: '/run/mysqld/mysqld.sock' } },
    { ...main, dialectOptions: { socketPath: '/run/mysqld/mysqld.sock' } },
    { host: 'localhost', port: 5, database: 'shop', dialectOptions: { socketPath: '/run/mysqld/../mysqld/mysqld.sock', user: 'app' } },
    'mysql://db8.test:3307/shop?socketPath=/run/mysqld/mysqld.sock',
    { dialect: 'mariadb', database: 'shop', dialectOptions: { socketPath: '/run/mysqld/mysqld.sock' } },
    { replication: { write: { ...main, dialectOptions: { socketPath: '/run/mysqld/mysqld.sock' } }, read: [] } } as Options,
  ],
  'another socket': [{ database: 'shop', dialectOptions: { socketPath: '/run/mysqld2/mysqld.sock' } }],
  'another database over the socket': [{ database: 'shop2', dialectOptions: { socketPath: '/run/mysqld/mysqld.sock' } }],
  'a socket of a managed database': [{ database: 'shop', dialectOptions: { socketPath: '/cloudsql/project:europe-west1:tenant-one' } }],
  'a socket of another managed database': [{ database: 'shop', dialectOptions: { socketPath: '/cloudsql/project:europe-west1:tenant-two' } }],
  'a name for TLS': [driverOptions({ ssl: { servername: 'tenant-one.test' } }), driverOptions({ ssl: { servername: 'Tenant-One.test', ca: 'x' } })],
  'another name for TLS': [driverOptions({ ssl: { servername: 'tenant-two.test' } })],
  'an option that the drivers do not have': [driverOptions({ shard: 1 }), driverOptions({ shard: '1' })],
  'another value of it': [driverOptions({ shard: 2 })],
  'an option with parts': [driverOptions({ target: { zone: 'a', keyspace: ['x', 1] } }), driverOptions({ target: { keyspace: ['x', 1], zone: 'a' } })],
  'an option with another part': [driverOptions({ target: { zone: 'a', keyspace: ['x', 2] } })],
  'a long name': [{ host: `tenant-1.${long}`, database: 'app' }],
  'a long name with another beginning': [{ host: `tenant-2.${long}`, database: 'app' }],
  'a long name with another end': [{ host: `tenant-1.${long}.cn`, database: 'app' }],
  'a long database': [{ ...main, database: `${'d'.repeat(63)}1` }],
  'a long database with another end': [{ ...main, database: `${'d'.repeat(63)}2` }],
  'a database in other letters': [{ ...main, database: 'żółw' }],
  'a database in other letters of the same readable part': [{ ...main, database: 'źńęą' }],
  'a URI of the driver with a socket': [{ dialectOptions: { uri: 'mysql://app:secret@x/uris?socketPath=/run/uri.sock', database: undefined } }, { database: 'uris', dialectOptions: { socketPath: '/run/uri.sock' } }],
};

const all = Object.entries(groups).flatMap(([group, givens]) => givens.map((given) => ({ group, given, identity: identity(given) })));

describe('the identity of a MySQL or MariaDB database', () => {
  for (const [group, givens] of Object.entries(groups)) {
    it(`${group}: one alias in every spelling, and no other database's`, () => {
      const [expected] = givens.map((given) => identity(given).alias);
      for (const given of givens) assert.equal(identity(given).alias, expected, JSON.stringify(given));
      for (const other of all) {
        if (other.group !== group) assert.notEqual(other.identity.alias, expected, `${other.group}: ${JSON.stringify(other.given)}`);
      }
    });
  }

  it('an alias is at most 64 characters that need no escape, and begins with the database’s name', () => {
    for (const { identity: one } of all) {
      assert.match(one.alias, /^[A-Za-z0-9_.~-]{22,64}$/);
      assert.equal(one.unknown, undefined);
    }
    assert.match(identity(main).alias, /^shop-[A-Za-z0-9_-]{22}$/);
    assert.match(identity({ ...main, database: 'a b/c:d' }).alias, /^a_b_c_d-/);
  });

  it('is the same in the next process and the next release', () => {
    assert.equal(identity(main).alias, 'shop-F1xz6jxdggMaesgQXIePFl');
  });

  it('no password is in it, nor in its description', () => {
    const url = 'mysql://app:s3cret-p4ssword@db1.test:3307/shop';
    for (const given of [url, { dialectOptions: { uri: url } }, { ...main, password: 's3cret-p4ssword' }, driverOptions({ password: 's3cret-p4ssword', password2: 's3cret-p4ssword' })]) {
      assert.doesNotMatch(JSON.stringify(identity(given)), /s3cret|app/);
    }
    assert.equal(identity(url).description, 'mysql://db1.test:3307/shop');
    assert.equal(identity({ ...main, host: '::1' }).description, 'mysql://[::1]:3307/shop');
  });

  it('options that contain themselves, functions and instances are no trouble', () => {
    const circular: Record<string, unknown> = { name: 'x' };
    circular.self = circular;
    for (const value of [circular, () => undefined, new Map([[1, 2]]), Symbol('x'), 5n, null, Buffer.from('x'), Object.create(null)]) {
      assert.match(identity(driverOptions({ odd: value })).alias, /^shop-/);
    }
  });

  const unknown: readonly (readonly [what: string, given: Given, why: RegExp])[] = [
    ['a hook', { ...main, hooks: { beforeConnect: () => undefined } }, /hook beforeConnect/],
    ['a stream', driverOptions({ stream: () => undefined }), /dialectOptions\.stream/],
    ['a stream that is open', driverOptions({ stream: {} }), /dialectOptions\.stream/],
    ['a function that chooses the primary', { ...main, replication: { write: (() => main) as never, read: [] } }, /replication\.write/],
    ['initial SQL', driverOptions({ initSql: 'USE tenant2' }), /initSql/],
    ['initial SQL in a list', driverOptions({ initSql: ['SET @a = 1', 'SET @b = 2; use tenant2'] }), /initSql/],
    ['a service that chooses by user', { ...main, host: 'aws.connect.psdb.cloud' }, /psdb\.cloud/],
    ['another one', 'mysql://2xyz.root:p@gateway01.eu-central-1.prod.aws.tidbcloud.com:4000/test', /tidbcloud\.com/],
  ];
  for (const [what, given, why] of unknown) {
    it(`${what}: not known from the options`, () => {
      assert.match(identity(given).unknown ?? '', why);
    });
  }
  it('a hook that was added later', () => {
    const sequelize = open(main);
    sequelize.addHook('beforeConnect', 'token', () => undefined);
    assert.match(identityOf(sequelize).unknown ?? '', /hook beforeConnect/);
    sequelize.removeHook('beforeConnect', 'token');
    assert.equal(identityOf(sequelize).unknown, undefined);
  });
});

describe('the identity of an SQLite database', async () => {
  const folder = realpathSync(mkdtempSync(join(tmpdir(), 'identity-')));
  after(() => {
    rmSync(folder, { recursive: true });
  });
  const dialectModule = await createSqliteModule();
  const other = await createSqliteModule();
  const sqlite = (options: Options): DatabaseIdentity => identityOf(new Sequelize({ dialect: 'sqlite', dialectModule, logging: false, ...options }));
  const file = join(folder, 'shop.db');
  writeFileSync(file, '');
  symlinkSync(file, join(folder, 'link.db'));
  symlinkSync(folder, join(folder, 'folder'));

  it('a file: its absolute path, however it is written', () => {
    const spellings = [file, relative(process.cwd(), file), join(folder, 'link.db'), join(folder, 'folder', 'shop.db'), `${folder}/./x/../shop.db`];
    for (const storage of spellings) assert.equal(sqlite({ storage }).alias, sqlite({ storage: file }).alias, storage);
    assert.equal(sqlite({ host: file }).alias, sqlite({ storage: file }).alias);
    for (const uri of [`file:${file}`, `file://${file}?cache=private`, `file://localhost${file}`, `file:${relative(process.cwd(), file)}?mode=rw`]) {
      assert.equal(sqlite({ storage: uri, dialectOptions: { mode: 0x46 } }).alias, sqlite({ storage: file }).alias, uri);
    }
    assert.equal(sqlite({ storage: file }).description, `sqlite:${file}`);
    assert.match(sqlite({ storage: file }).alias, /^shop\.db-/);
  });

  it('a file that is not there yet: the same before and after', () => {
    const storage = join(folder, 'folder', 'later', 'later.db');
    assert.equal(sqlite({ storage }).alias, sqlite({ storage: join(folder, 'later', 'later.db') }).alias);
  });

  it('two files, in whatever they differ', () => {
    const storages = [file, join(folder, 'shop.db2'), join(folder, 'x', 'shop.db'), `${folder}/${'x'.repeat(80)}/shop.db`, `${folder}/${'x'.repeat(79)}y/shop.db`, `file:${file}`];
    assert.equal(new Set(storages.map((storage) => sqlite({ storage }).alias)).size, storages.length);
  });

  it('in memory: of its instance alone', () => {
    const inMemory = [{}, { storage: ':memory:' }, { storage: '' }, { host: ':memory:' }, { storage: 'file::memory:', dialectOptions: { mode: 0x46 } }];
    const aliases = [...inMemory, ...inMemory].map((options) => sqlite(options).alias);
    assert.equal(new Set(aliases).size, aliases.length);
    const sequelize = new Sequelize({ dialect: 'sqlite', storage: ':memory:', dialectModule, logging: false });
    assert.equal(identityOf(sequelize).alias, identityOf(sequelize).alias);
    assert.match(identityOf(sequelize).alias, /^memory-/);
  });

  it('in memory and shared: of its process', () => {
    const shared = (storage: string): string => sqlite({ storage, dialectOptions: { mode: 0x46 } }).alias;
    assert.equal(shared('file:one?mode=memory&cache=shared'), shared('file:one?mode=memory&cache=shared'));
    assert.notEqual(shared('file:one?mode=memory&cache=shared'), shared('file:two?mode=memory&cache=shared'));
    assert.notEqual(shared('file:one?mode=memory'), shared('file:one?mode=memory'));
  });

  it('two drivers can take one name for two databases; other processes know nothing of it', () => {
    const [one, two] = [sqlite({ storage: file }), sqlite({ storage: file, dialectModule: other })];
    assert.equal(one.alias, two.alias);
    assert.notEqual(one.id, two.id);
    assert.equal(one.id, sqlite({ storage: file }).id);
  });

  it('a password is none of it', () => {
    assert.equal(sqlite({ storage: file, password: 'secret' }).alias, sqlite({ storage: file }).alias);
  });
});
