/** `sequelize-flash/testing`: what it counts, what it says, and that it leaves nothing behind. */
import assert, { AssertionError } from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { DataTypes, Model, Sequelize, type CreationOptional, type InferAttributes, type InferCreationAttributes } from 'sequelize';
import { createSqliteModule } from '../../examples/support/sqlite.js';
import { AlreadyCachedError, channels, InvalidationFailedError, InvalidOptionError, setupCache, StoreUnavailableError, withCache } from '../../src/index.js';
import { MemoryStore } from '../../src/stores/memory.js';
import { expectQueries, expectRoundTrips, testCache, type TestCache, type TestCacheOptions } from '../../src/testing/index.js';
import { mysqlUrl } from '../support/backends.js';
import { Hold } from '../support/statements.js';

class Book extends Model<InferAttributes<Book>, InferCreationAttributes<Book>> {
  static readonly cache = withCache(Book, { keys: ['id', 'isbn'] });
  declare id: CreationOptional<number>;
  declare isbn: string;
  declare title: string;
}

const attributes = {
  id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true },
  isbn: { type: DataTypes.STRING, unique: true },
  title: DataTypes.STRING,
};

let dialectModule: object;
let sequelize: Sequelize;
let one: Book;
let two: Book;

/** Connections to the same database, as several processes have them. */
const connect = (): Sequelize => new Sequelize({ dialect: 'sqlite', storage: 'library.db', dialectModule, logging: false });

beforeEach(async () => {
  dialectModule = await createSqliteModule();
  sequelize = connect();
  Book.init(attributes, { sequelize, timestamps: false });
  await sequelize.sync();
  one = await Book.create({ isbn: '1', title: 'One' });
  two = await Book.create({ isbn: '2', title: 'Two' });
});
afterEach(() => sequelize.close());

/** The hooks around statements that the instance has. */
function hooksOf(instance: Sequelize): number {
  const { hooks } = (instance as unknown as { options: { hooks: Record<string, unknown[] | undefined> } }).options;
  return (hooks.beforeQuery ?? []).length + (hooks.afterQuery ?? []).length;
}

/** The error of an expectation that was not met. */
async function unmet(expectation: Promise<unknown>): Promise<AssertionError> {
  try {
    await expectation;
  } catch (error) {
    assert.ok(error instanceof AssertionError, String(error));
    return error;
  }
  return assert.fail('the expectation was met');
}

const none = { gets: 0, adds: 0, swaps: 0, deletes: 0, roundTrips: 0 };

describe('testCache', () => {
  let test: TestCache;

  const open = (options?: TestCacheOptions): TestCache => (test = testCache(sequelize, options));
  afterEach(() => test.close());

  it('counts what the store is asked, and round trips as memcached has them', async () => {
    open();
    assert.deepEqual(test.counts, none);
    const costs: [what: string, work: () => Promise<unknown>, expected: object][] = [
      ['the table is new to the store', () => Book.cache.get({ id: two.id }), { gets: 2, adds: 2, swaps: 1, deletes: 0, roundTrips: 3 }],
      ['cold, by id', () => Book.cache.get({ id: one.id }), { gets: 2, adds: 1, swaps: 1, deletes: 0, roundTrips: 3 }],
      ['warm, by id', () => Book.cache.get({ id: one.id }), { ...none, gets: 1, roundTrips: 1 }],
      ['two in one tick', () => Promise.all([one, two].map(({ id }) => Book.cache.get({ id }))), { ...none, gets: 1, roundTrips: 1 }],
      ['cold, by another key', () => Book.cache.get({ isbn: '1' }), { gets: 2, adds: 3, swaps: 1, deletes: 0, roundTrips: 4 }],
      ['warm, by another key', () => Book.cache.get({ isbn: '1' }), { ...none, gets: 1, roundTrips: 1 }],
      ['a save', () => one.update({ title: 'Uno' }), { gets: 1, adds: 1, swaps: 1, deletes: 2, roundTrips: 2 }],
      ['a plain find', () => Book.findByPk(one.id), none],
    ];
    for (const [what, work, expected] of costs) {
      test.reset();
      await work();
      assert.deepEqual(test.counts, expected, what);
    }
  });

  it('has the counters of its cache, and the state of its store', async () => {
    const { cache, store } = open();
    const stateOf = (): (string | boolean)[] => store.state?.().flatMap(({ server, state, lastError }) => [server, state, lastError instanceof StoreUnavailableError]) ?? [];
    await Book.cache.get({ id: one.id });
    await Book.cache.get({ id: one.id });
    test.reset();
    assert.deepEqual(test.stats(), cache.stats());
    assert.deepEqual(Object.values(test.stats().Book ?? {}).map(({ hits, misses }) => hits + misses).filter((count) => count > 0), [2]);
    assert.deepEqual(stateOf(), ['memory', 'up', false]);
    assert.equal((await test.health()).ok, true);
    test.break();
    assert.deepEqual(stateOf(), ['memory', 'down', true]);
    const health = await test.health();
    assert.deepEqual([health.ok, health.store.servers.map(({ state }) => state)], [false, ['down']]);
    await test.mend();
    assert.deepEqual(stateOf(), ['memory', 'up', false]);
    assert.equal((await test.health()).ok, true);
  });

  it('counts until it is reset, which leaves the cache as it is', async () => {
    open();
    await Book.cache.get({ id: one.id });
    test.reset();
    assert.deepEqual(test.counts, none);
    await Book.cache.get({ id: one.id });
    const before = test.counts;
    await Book.cache.get({ id: one.id });
    assert.deepEqual(before, { ...none, gets: 1, roundTrips: 1 }, 'counts are a copy');
    assert.deepEqual(test.counts, { ...none, gets: 2, roundTrips: 2 });
    assert.deepEqual(test.sql, []);
  });

  it('counts an operation after a reset that joins one from before it', async () => {
    open();
    const first = test.store.get(['a']);
    test.reset();
    await Promise.all([first, test.store.get(['b']), test.store.delete('c')]);
    assert.deepEqual(test.counts, { ...none, gets: 1, deletes: 1, roundTrips: 1 });
  });

  it('asks nothing for no keys', async () => {
    open();
    assert.equal((await test.store.get([])).items.size, 0);
    assert.deepEqual(test.counts, none);
  });

  it('knows the statements that were sent, with the writes of the plugin', async () => {
    open();
    await Book.cache.get({ id: one.id });
    const sent = test.sql;
    assert.equal(sent.length, 1);
    assert.match(sent[0] ?? '', /^SELECT .* FROM `Books`/);
    test.reset();
    assert.equal(sent.length, 1, 'what was handed out stays');
    await Book.update({ title: 'Both' }, { where: { title: ['One', 'Two'] } });
    assert.deepEqual(test.sql.map((sql) => sql.split(' ')[0]), ['SELECT', 'UPDATE']);
  });

  it('passes options on to setupCache', () => {
    open({ prefix: 'own', alias: 'library' });
    assert.match(Book.cache.getKey({ id: one.id }), /^own:library:/);
    assert.equal(test.cache.store, test.store);
    assert.throws(() => testCache(sequelize), AlreadyCachedError);
  });

  it('refuses what setupCache refuses, and a store', () => {
    open();
    const other = connect();
    for (const [options, message] of [
      [{ prefx: 'own' }, /^setupCache has no option 'prefx'/],
      [{ store: new MemoryStore() }, /^testCache has no option 'store': it brings a memory store that it can count\. For another one, call setupCache\.$/],
      [null, /^The options of testCache must be an object; received null\.$/],
    ] as const) {
      assert.throws(
        () => testCache(other, options as unknown as TestCacheOptions),
        (error: unknown) => error instanceof InvalidOptionError && message.test(error.message),
        String(message),
      );
    }
    assert.equal(hooksOf(other), 0);
  });

  it('flush empties the store', async () => {
    open();
    await Book.cache.get({ id: one.id });
    test.flush();
    await expectQueries(sequelize, 1, () => Book.cache.get({ id: one.id }));
    await expectQueries(sequelize, 0, () => Book.cache.get({ id: one.id }));
  });

  it('break lets every operation fail as a store does, and mend ends that', async () => {
    open();
    await test.store.add('key', 'value', 60);
    const underWay = test.store.get(['key']);
    test.break();
    const late = test.store.get(['key', 'other']);
    const later = underWay.then(() => test.store.delete('key'));
    // Not unhandled while the others are awaited.
    const refusal = assert.rejects(later, StoreUnavailableError);
    assert.equal((await underWay).items.get('key')?.value, 'value', 'what was started before');
    const { items, failures } = await late;
    assert.equal(items.size, 0);
    assert.deepEqual([...failures.keys()], ['key', 'other']);
    await refusal;
    const isDown = (error: unknown): boolean =>
      error instanceof StoreUnavailableError && error.message === 'The store of testCache is down: break() was called, and not mend().';
    assert.ok([...failures.values()].every(isDown));
    await assert.rejects(test.store.add('new', 'value', 60), isDown);
    await assert.rejects(test.store.compareAndSwap('key', 'value', '1', 60), isDown);
    await assert.rejects(test.store.compareAndDelete('key', '1'), isDown);
    assert.deepEqual(test.counts, { gets: 2, adds: 2, swaps: 1, deletes: 2, roundTrips: 6 }, 'they count all the same');
    await test.mend();
    assert.equal((await test.store.get(['key', 'new'])).items.get('key')?.value, 'value', 'what was stored is still there');
    assert.equal((await test.store.get(['new'])).items.size, 0);
  });

  it('lets nothing overtake an operation that fails', async () => {
    open();
    test.break();
    const first = test.store.add('first', '', 60);
    const mended = test.mend();
    await assert.rejects(test.store.add('second', '', 60), StoreUnavailableError);
    await assert.rejects(first, StoreUnavailableError);
    await mended;
    assert.ok(await test.store.add('third', '', 60));
  });

  it('while the store is down reads come from the database, and a write is delivered when it is mended', async () => {
    open();
    await Book.cache.get({ id: one.id });
    test.break();
    await expectQueries(sequelize, 1, () => Book.cache.get({ id: one.id }));
    await expectQueries(sequelize, 1, () => one.update({ title: 'Uno' }));
    assert.ok(test.cache.undelivered > 0);
    assert.equal((await Book.cache.get({ id: one.id })).title, 'Uno');
    await test.mend();
    assert.equal(test.cache.undelivered, 0);
    assert.ok(!channels.delivered.hasSubscribers, 'nobody listens any more');
    assert.equal((await Book.cache.get({ id: one.id })).title, 'Uno');
    await expectQueries(sequelize, 0, () => Book.cache.get({ id: one.id }));
  });

  it('while the store is down a strict write is refused and not sent', async () => {
    open({ onStoreFailure: 'strict' });
    test.break();
    await expectQueries(sequelize, 0, () => assert.rejects(one.update({ title: 'Uno' }), InvalidationFailedError));
  });

  it('mend waits no longer than until the cache is closed', async () => {
    open();
    test.break();
    await one.update({ title: 'Uno' });
    assert.ok(test.cache.undelivered > 0);
    const mended = test.mend();
    test.break();
    await test.close();
    await mended;
    await test.mend();
  });

  it('has a store that a second instance can share, as another process does', async () => {
    open();
    const elsewhere = connect();
    const there = withCache(elsewhere.define<Book>('Book', attributes, { timestamps: false }), { keys: ['id'] });
    const other = setupCache(elsewhere, { store: test.store });
    await Book.cache.get({ id: one.id });
    assert.equal((await expectQueries(elsewhere, 0, async () => there.get({ id: one.id }))).title, 'One');
    await (await there.get({ id: one.id })).update({ title: 'Uno' });
    assert.equal((await Book.cache.get({ id: one.id })).title, 'Uno');
    await other.close();
    await elsewhere.close();
  });

  it('close takes it apart, once', async () => {
    const hold = new Hold();
    sequelize.addHook('beforeQuery', 'holds', () => hold.here());
    open();
    const find = Book.findByPk(one.id);
    await hold.reached;
    await Promise.all([test.close(), test.close()]);
    sequelize.removeHook('beforeQuery', 'holds');
    assert.equal(hooksOf(sequelize), 0);
    hold.release();
    assert.equal((await find)?.title, 'One');
    assert.deepEqual(test.sql, [], 'what was on its way to the hook is not seen any more');
    open();
    assert.equal((await expectQueries(sequelize, 1, () => Book.cache.get({ id: one.id }))).title, 'One');
  });
});

describe('expectQueries', () => {
  const select = (text: string) => (): Promise<unknown> => sequelize.query(`SELECT '${text}'`);
  const sent = (text: string): string => `SELECT '${text}'`;

  it('resolves to what the work does', async () => {
    assert.equal((await expectQueries(sequelize, 1, () => Book.findByPk(one.id)))?.title, 'One');
    assert.equal(await expectQueries(sequelize, 0, () => 5), 5);
  });

  it('lists the statements when they are too many or too few', async () => {
    const both = async (): Promise<void> => {
      await select('a')();
      await select('b')();
    };
    for (const [n, work, message] of [
      [1, both, `Expected 1 SQL statement, but 2 were sent:\n  1. ${sent('a')}\n  2. ${sent('b')}`],
      [0, select('a'), `Expected 0 SQL statements, but 1 was sent:\n  1. ${sent('a')}`],
      [2, select('a'), `Expected 2 SQL statements, but 1 was sent:\n  1. ${sent('a')}`],
      [1, () => undefined, 'Expected 1 SQL statement, but none was sent.'],
    ] as const) {
      assert.equal((await unmet(expectQueries<unknown>(sequelize, n, work))).message, message);
    }
  });

  it('fails with an AssertionError that runners understand', async () => {
    const { name, code, actual, expected, operator } = await unmet(expectQueries(sequelize, 3, select('a')));
    assert.deepEqual(
      { name, code, actual, expected, operator },
      { name: 'AssertionError', code: 'ERR_ASSERTION', actual: 1, expected: 3, operator: 'expectQueries' },
    );
  });

  it('lets an error of the work win', async () => {
    const mine = new Error('mine');
    const before = hooksOf(sequelize);
    await assert.rejects(expectQueries(sequelize, 5, () => Promise.reject(mine)), mine);
    const failing = (): never => {
      throw mine;
    };
    await assert.rejects(expectQueries(sequelize, 5, failing), mine);
    await assert.rejects(expectQueries(sequelize, 5, () => sequelize.query('nonsense')), /syntax error/);
    assert.equal(hooksOf(sequelize), before);
  });

  it('can be nested, repeated and run side by side, and leaves no hook', async () => {
    const before = hooksOf(sequelize);
    await expectQueries(sequelize, 3, async () => {
      await select('a')();
      await expectQueries(sequelize, 1, select('b'));
      const { message } = await unmet(expectQueries(sequelize, 0, select('c')));
      assert.match(message, /1\. SELECT 'c'$/);
    });
    let both: Promise<unknown> | undefined;
    // Begun by whichever comes first, seen by both.
    const beside = (): Promise<unknown> => (both ??= Promise.resolve().then(() => Promise.all([select('d')(), select('e')()])));
    await Promise.all([expectQueries(sequelize, 2, beside), expectQueries(sequelize, 2, beside)]);
    await expectQueries(sequelize, 1, select('f'));
    assert.equal(hooksOf(sequelize), before);
  });

  it('counts everything that Sequelize sends', async () => {
    const inTransaction = (): Promise<unknown> => sequelize.transaction((transaction) => Book.findByPk(one.id, { transaction }));
    await expectQueries(sequelize, 3, inTransaction);
    await expectQueries(sequelize, 1, () => sequelize.query('nonsense').catch(() => undefined));
    await expectQueries(sequelize, 1, () => Book.update({ title: 'Uno' }, { where: { id: one.id }, hooks: false, logging: false }));
    const first = new Sequelize(mysqlUrl(), { dialect: 'mysql', logging: false });
    const { message } = await unmet(expectQueries(first, 1, () => first.query(sent('a'))));
    assert.match(message, /but 2 were sent:\n {2}1\. SELECT VERSION\(\).*\n {2}2\. SELECT 'a'$/);
    await expectQueries(first, 1, () => first.query(sent('b')));
    await first.close();
  });

  it('counts the statements of the plugin', async () => {
    const byTitle = (): Promise<unknown> => Book.update({ title: 'Both' }, { where: { title: ['One', 'Two', 'Both'] } });
    await expectQueries(sequelize, 1, byTitle);
    const test = testCache(sequelize);
    const { message } = await unmet(expectQueries(sequelize, 1, byTitle));
    assert.match(message, /but 2 were sent:\n {2}1\. SELECT .*\n {2}2\. UPDATE /);
    await test.close();
  });

  it('counts a statement of which a later hook of the user says that it failed', async () => {
    sequelize.addHook('afterQuery', 'mine', () => {
      throw new Error('mine');
    });
    await expectQueries(sequelize, 1, () => assert.rejects(select('a')(), /mine/));
    sequelize.removeHook('afterQuery', 'mine');
  });

  it('does not count a statement that a hook refused', async () => {
    await expectQueries(sequelize, 0, async () => {
      sequelize.addHook('beforeQuery', 'mine', () => {
        throw new Error('mine');
      });
      await assert.rejects(select('a')(), /mine/);
    });
    sequelize.removeHook('beforeQuery', 'mine');
  });

  it('counts what was sent while the work ran, and nothing from before or after it', async () => {
    const hold = new Hold();
    sequelize.addHook('beforeQuery', 'holds', async (_options, query) => {
      if (Reflect.get(query, 'holds') === undefined) await hold.here();
    });
    const before = select('before')();
    await hold.reached;
    sequelize.removeHook('beforeQuery', 'holds');
    const after = await expectQueries(sequelize, 1, async () => {
      await select('a')();
      // Not sent yet when the work ends.
      return [select('after')()];
    });
    hold.release();
    await Promise.all([before, ...after]);
    await expectQueries(sequelize, 1, select('b'));
  });

  it('refuses arguments that make no sense', async () => {
    const work = (): undefined => undefined;
    for (const [args, message] of [
      [[undefined, 1, work], 'expectQueries takes a Sequelize instance, a number and a function; received undefined for the first.'],
      [[Sequelize.prototype.query, 1, work], 'expectQueries takes a Sequelize instance, a number and a function; received the function or class query for the first.'],
      [[sequelize, '1', work], "expectQueries takes a whole number of statements, 0 or more; received '1'."],
      [[sequelize, -1, work], 'expectQueries takes a whole number of statements, 0 or more; received -1.'],
      [[sequelize, 0.5, work], 'expectQueries takes a whole number of statements, 0 or more; received 0.5.'],
      [[sequelize, 1, Promise.resolve()], 'expectQueries takes a function that does the work, such as () => User.cache.get(1); received an instance of Promise.'],
    ] as const) {
      await assert.rejects(
        expectQueries(...(args as unknown as Parameters<typeof expectQueries>)),
        (error: unknown) => error instanceof InvalidOptionError && error.message === message,
        message,
      );
    }
  });
});

describe('expectRoundTrips', () => {
  let test: TestCache;
  beforeEach(() => {
    test = testCache(sequelize, { prefix: 'p', alias: 'a' });
  });
  afterEach(() => test.close());

  it('resolves to what the work does', async () => {
    await Book.cache.get({ id: one.id });
    assert.equal((await expectRoundTrips(test, 1, () => Book.cache.get({ id: one.id }))).title, 'One');
    assert.equal(await expectRoundTrips(test, 0, () => 5), 5);
  });

  it('lists the round trips when they are too many or too few', async () => {
    const { store } = test;
    const together = (): Promise<unknown> => Promise.all([store.get(['a', 'b', 'c', 'd']), store.delete('c'), store.delete('d')]);
    const trips = async (): Promise<void> => {
      await together();
      await store.get(['1', '2', '3', '4', '5']);
    };
    for (const [n, work, message] of [
      [
        1,
        trips,
        'Expected 1 round trip to the store, but there were 2:\n  1. get 4 keys (a, b, c, d), delete 2 keys (c, d)\n  2. get 5 keys (1, 2, 3, 4, …)',
      ],
      [0, () => store.add('e', '', 60), 'Expected 0 round trips to the store, but there was 1:\n  1. add 1 key (e)'],
      [2, () => undefined, 'Expected 2 round trips to the store, but there was none.'],
    ] as const) {
      assert.equal((await unmet(expectRoundTrips<unknown>(test, n, work))).message, message);
    }
    const { actual, expected, operator } = await unmet(expectRoundTrips(test, 0, together));
    assert.deepEqual({ actual, expected, operator }, { actual: 1, expected: 0, operator: 'expectRoundTrips' });
  });

  it('lets an error of the work win', async () => {
    const mine = new Error('mine');
    await assert.rejects(expectRoundTrips(test, 5, () => Promise.reject(mine)), mine);
  });

  it('can be nested, and leaves the counts to themselves', async () => {
    await expectRoundTrips(test, 2, async () => {
      await test.store.get(['a']);
      test.reset();
      await expectRoundTrips(test, 1, () => test.store.get(['b']));
    });
    assert.deepEqual(test.counts, { ...none, gets: 1, roundTrips: 1 });
  });

  it('refuses arguments that make no sense', async () => {
    const work = (): undefined => undefined;
    for (const [args, message] of [
      [[{ store: new MemoryStore() }, 1, work], 'expectRoundTrips takes what testCache returned, a number and a function; received an object for the first.'],
      [[undefined, 1, work], 'expectRoundTrips takes what testCache returned, a number and a function; received undefined for the first.'],
      [[test, Number.NaN, work], 'expectRoundTrips takes a whole number of round trips, 0 or more; received NaN.'],
      [[test, 1, undefined], 'expectRoundTrips takes a function that does the work, such as () => User.cache.get(1); received undefined.'],
    ] as const) {
      await assert.rejects(
        expectRoundTrips(...(args as unknown as Parameters<typeof expectRoundTrips>)),
        (error: unknown) => error instanceof InvalidOptionError && error.message === message,
        message,
      );
    }
  });
});
