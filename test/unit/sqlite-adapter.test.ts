/** examples/support/sqlite.ts: Sequelize's sqlite dialect on sql.js behaves as on the sqlite3 package. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import {
  type CreationOptional,
  DatabaseError,
  DataTypes,
  ForeignKeyConstraintError,
  type InferAttributes,
  type InferCreationAttributes,
  Model,
  QueryTypes,
  Sequelize,
  TimeoutError,
  Transaction,
  UniqueConstraintError,
} from 'sequelize';
import { createSqliteModule } from '../../examples/support/sqlite.js';

class User extends Model<InferAttributes<User>, InferCreationAttributes<User>> {
  declare id: CreationOptional<number>;
  declare username: string;
  declare age: number | null;
  declare born: Date | null;
  declare day: string | null;
  declare photo: Buffer | null;
  declare settings: object | null;
  declare isAdmin: CreationOptional<boolean>;
}

class Post extends Model<InferAttributes<Post>, InferCreationAttributes<Post>> {
  declare id: CreationOptional<number>;
  declare userId: number;
}

interface RawDatabase {
  run(sql: string, ...rest: unknown[]): this;
  all(sql: string, ...rest: unknown[]): this;
  get(sql: string, ...rest: unknown[]): this;
  exec(sql: string, callback?: (error: Error | null) => void): this;
  close(callback?: (error: Error | null) => void): void;
  configure(option: string, value: unknown): void;
  on(event: 'error', listener: (error: Error) => void): this;
}

let sqlite: object;
let sequelize: Sequelize;

beforeEach(async () => {
  sqlite = await createSqliteModule();
  sequelize = connect('test.db');
  User.init(
    {
      id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true },
      username: { type: DataTypes.STRING, allowNull: false, unique: true },
      age: DataTypes.INTEGER,
      born: DataTypes.DATE,
      day: DataTypes.DATEONLY,
      photo: DataTypes.BLOB,
      settings: DataTypes.JSON,
      isAdmin: { type: DataTypes.BOOLEAN, allowNull: false, defaultValue: false },
    },
    { sequelize, tableName: 'users', timestamps: false },
  );
  Post.init(
    {
      id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true },
      userId: { type: DataTypes.INTEGER, allowNull: false, references: { model: 'users', key: 'id' } },
    },
    { sequelize, tableName: 'posts', timestamps: false },
  );
  await sequelize.sync();
});

afterEach(() => sequelize.close());

function connect(storage: string): Sequelize {
  return new Sequelize({ dialect: 'sqlite', dialectModule: sqlite, storage, logging: false });
}

function user(username: string, values: Partial<InferCreationAttributes<User>> = {}) {
  return { username, age: null, born: null, day: null, photo: null, settings: null, ...values };
}

function openRaw(filename: string): RawDatabase {
  return new (sqlite as { Database: new (name: string) => RawDatabase }).Database(filename);
}

describe('values', () => {
  it('round-trip in every type', async () => {
    const values = user('bill', {
      age: -7,
      born: new Date('2024-02-29T12:34:56.789Z'),
      day: '2024-02-29',
      photo: Buffer.from([0, 1, 127, 128, 255]),
      settings: { theme: 'dark', list: [1, null, 'ü'] },
      isAdmin: true,
    });
    const created = await User.create(values);
    assert.equal(created.id, 1);
    const found = await User.findOne({ where: { username: 'bill' }, rejectOnEmpty: true });
    assert.deepEqual(found.get(), { id: 1, ...values });
    assert.ok(Buffer.isBuffer(found.photo));
    assert.ok(found.born instanceof Date);
  });

  it('may be null', async () => {
    await User.create(user('nobody'));
    const found = await User.findByPk(1, { rejectOnEmpty: true });
    assert.deepEqual(found.get(), { id: 1, ...user('nobody'), isAdmin: false });
  });

  it('are bound by name and by position', async () => {
    const named = await sequelize.query<{ sum: number }>('SELECT $a + $b AS sum', {
      bind: { a: 2, b: 3 },
      type: QueryTypes.SELECT,
    });
    assert.deepEqual(named, [{ sum: 5 }]);
    const positional = await sequelize.query('SELECT $1 AS one, $2 AS two', {
      bind: ['x', null],
      type: QueryTypes.SELECT,
    });
    assert.deepEqual(positional, [{ one: 'x', two: null }]);
  });

  it('come with joined models', async () => {
    User.hasMany(Post, { as: 'posts', foreignKey: 'userId' });
    const { id } = await User.create(user('bill'));
    await Post.bulkCreate([{ userId: id }, { userId: id }]);
    const found = await User.findByPk(id, { include: 'posts', rejectOnEmpty: true });
    assert.equal((found.get() as { posts?: Post[] }).posts?.length, 2);
  });
});

describe('writes', () => {
  it('bulkCreate, update and destroy count their rows', async () => {
    await User.bulkCreate(['a', 'b', 'c'].map((name) => user(name)));
    assert.deepEqual((await User.findAll({ order: ['id'] })).map((row) => [row.id, row.username]), [
      [1, 'a'],
      [2, 'b'],
      [3, 'c'],
    ]);
    assert.deepEqual(await User.update({ age: 9 }, { where: { username: ['a', 'b'] } }), [2]);
    assert.equal(await User.destroy({ where: { age: 9 } }), 2);
    assert.equal(await User.count(), 1);
  });

  it('upsert inserts, then updates', async () => {
    await User.upsert(user('bill', { age: 1 }));
    await User.upsert(user('bill', { age: 2 }));
    assert.deepEqual((await User.findAll()).map((row) => [row.username, row.age]), [['bill', 2]]);
  });

  it('increment and save change the row', async () => {
    const row = await User.create(user('bill', { age: 1 }));
    await row.increment('age', { by: 4 });
    await row.reload();
    assert.equal(row.age, 5);
    row.username = 'william';
    await row.save();
    assert.equal(await User.count({ where: { username: 'william' } }), 1);
  });

  it('findOrCreate creates once', async () => {
    const [, isNew] = await User.findOrCreate({ where: { username: 'bill' }, defaults: user('bill') });
    const [, isNewAgain] = await User.findOrCreate({ where: { username: 'bill' }, defaults: user('bill') });
    assert.deepEqual([isNew, isNewAgain], [true, false]);
  });
});

describe('errors', () => {
  it('a taken name is a UniqueConstraintError with the field', async () => {
    await User.create(user('bill'));
    await assert.rejects(User.create(user('bill')), (error) => {
      assert.ok(error instanceof UniqueConstraintError);
      assert.deepEqual(error.errors.map(({ path }) => path), ['username']);
      const parent = error.parent as Error & { code?: unknown; errno?: unknown };
      assert.equal(parent.message, 'SQLITE_CONSTRAINT: UNIQUE constraint failed: users.username');
      assert.deepEqual([parent.code, parent.errno], ['SQLITE_CONSTRAINT', 19]);
      return true;
    });
  });

  it('a missing parent row is a ForeignKeyConstraintError', async () => {
    await assert.rejects(Post.create({ userId: 404 }), ForeignKeyConstraintError);
  });

  it('a statement that cannot be understood is a DatabaseError, and the next one runs', async () => {
    await assert.rejects(sequelize.query('SELEKT 1'), DatabaseError);
    await assert.rejects(sequelize.query('SELECT * FROM nowhere'), /no such table: nowhere/);
    assert.equal(await User.count(), 0);
  });
});

describe('transactions', () => {
  it('commit', async () => {
    await sequelize.transaction((transaction) => User.create(user('bill'), { transaction }));
    assert.equal(await User.count(), 1);
  });

  it('roll back', async () => {
    const failure = new Error('no');
    const attempt = sequelize.transaction(async (transaction) => {
      await User.create(user('bill'), { transaction });
      throw failure;
    });
    await assert.rejects(attempt, failure);
    assert.equal(await User.count(), 0);
  });

  it('show their writes to nobody else before the commit', async () => {
    const transaction = await sequelize.transaction();
    await User.create(user('bill'), { transaction });
    assert.equal(await User.count({ transaction }), 1);
    assert.equal(await User.count(), 0);
    await transaction.commit();
    assert.equal(await User.count(), 1);
  });

  it('undo a savepoint alone', async () => {
    await sequelize.transaction(async (transaction) => {
      await User.create(user('kept'), { transaction });
      const inner = await sequelize.transaction({ transaction });
      await User.create(user('undone'), { transaction: inner });
      await inner.rollback();
    });
    assert.deepEqual((await User.findAll()).map(({ username }) => username), ['kept']);
  });

  it('let another writer wait for its turn', async () => {
    const transaction = await sequelize.transaction({ type: Transaction.TYPES.IMMEDIATE });
    const other = User.create(user('other'));
    await User.create(user('first'), { transaction });
    await transaction.commit();
    await other;
    assert.deepEqual((await User.findAll({ order: ['id'] })).map(({ username }) => username), ['first', 'other']);
  });

  it('make another writer give up in the end', async () => {
    const transaction = await sequelize.transaction({ type: Transaction.TYPES.IMMEDIATE });
    // Sequelize itself would try five times.
    const insert = sequelize.query('INSERT INTO users (username) VALUES (?)', {
      replacements: ['other'],
      retry: { max: 1 },
    });
    await assert.rejects(insert, TimeoutError);
    await transaction.rollback();
    await User.create(user('other'));
    assert.equal(await User.count(), 1);
  });
});

describe('databases', () => {
  it('are the same under the same name, also after every connection was closed', async () => {
    await User.create(user('bill'));
    const second = connect('test.db');
    assert.deepEqual(await second.query('SELECT username FROM users', { type: QueryTypes.SELECT }), [
      { username: 'bill' },
    ]);
    await second.close();
    await sequelize.close();
    sequelize = connect('test.db');
    assert.equal((await sequelize.query('SELECT * FROM users', { type: QueryTypes.SELECT })).length, 1);
  });

  it('are different under other names, in memory, and in other modules', async () => {
    for (const other of [connect('other.db'), connect(':memory:')]) {
      await assert.rejects(other.query('SELECT * FROM users'), /no such table/);
      await other.close();
    }
    sqlite = await createSqliteModule();
    const foreign = connect('test.db');
    await assert.rejects(foreign.query('SELECT * FROM users'), /no such table/);
    await foreign.close();
  });
});

describe('the interface of sqlite3', () => {
  it('calls back later, in order, with the statement as `this`', async () => {
    const database = openRaw(':memory:');
    const log: unknown[] = [];
    await new Promise<void>((resolve) => {
      database.run('CREATE TABLE t (id INTEGER PRIMARY KEY, v)');
      database.run('INSERT INTO t (v) VALUES (?), (?)', [true, new Date(5)], function (this: object, error: unknown) {
        log.push(error, this.constructor.name, { ...this });
      });
      database.get('SELECT v FROM t WHERE id = ?', 2, (error: unknown, row: unknown) => log.push(error, row));
      database.all('SELECT v FROM t', (_error: unknown, rows: unknown) => {
        log.push(rows);
        resolve();
      });
      log.push('first');
    });
    assert.deepEqual(log, [
      'first',
      null,
      'Statement',
      { sql: 'INSERT INTO t (v) VALUES (?), (?)', lastID: 2, changes: 2 },
      null,
      { v: 5 },
      [{ v: 1 }, { v: 5 }],
    ]);
  });

  it('runs several statements with exec, and stops at the first failure', async () => {
    const database = openRaw(':memory:');
    const run = (sql: string) => new Promise<Error | null>((resolve) => database.exec(sql, resolve));
    assert.equal(await run('CREATE TABLE t (v); INSERT INTO t VALUES (1); INSERT INTO t VALUES (2)'), null);
    assert.match(String(await run('INSERT INTO t VALUES (3); nonsense; INSERT INTO t VALUES (4)')), /SQLITE_ERROR/);
    const rows = await new Promise((resolve) => {
      database.all('SELECT v FROM t', (_error: unknown, found: unknown) => resolve(found));
    });
    assert.deepEqual(rows, [{ v: 1 }, { v: 2 }, { v: 3 }]);
  });

  it('reports what no callback takes as an event, and a closed database as misuse', async () => {
    const database = openRaw(':memory:');
    const event = new Promise<Error>((resolve) => database.on('error', resolve));
    database.run('nonsense');
    assert.match((await event).message, /^SQLITE_ERROR: near "nonsense"/);
    await new Promise((resolve) => database.close(resolve));
    const failure = await new Promise((resolve) => database.run('SELECT 1', resolve));
    assert.equal((failure as { code?: unknown }).code, 'SQLITE_MISUSE');
  });
});
