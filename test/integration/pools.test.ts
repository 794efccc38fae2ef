/**
 * Small connection pools: what the plugin asks while a statement holds a connection goes over that
 * connection, so that a pool of one is enough. Each cell begins with an instance that has asked nothing
 * yet, and makes more calls at once than there are connections.
 */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { Sequelize, type Dialect, type Model, type Transaction } from 'sequelize';
import { QuerysetCache, QuerysetCountCache, registerCache, setupCache, type JsonValue } from '../../src/index.js';
import { errorNumber } from '../../src/hooks/own-statements.js';
import { memcachedStore, mysqlUrl } from '../support/backends.js';
import { Random } from '../oracle/random.js';
import { defineLoad, fillLoad, type LoadModels } from '../support/deadlock-load.js';
import { drawn } from '../support/matrix.js';
import { seed } from '../support/seed.js';

/** Longer than the calls of a cell take, however busy the machine is; a lock-up fails after it. */
const acquire = 15_000;
const at = seed();
const random = new Random(at);

/** What these calls need of a model's `cache`, whose types the models of a load do not carry. */
interface Manager {
  getOrNone(key: object, options?: { readonly transaction: Transaction }): Promise<unknown>;
  getMany(keys: readonly object[]): Promise<unknown>;
  filter(key: object): Promise<unknown>;
  invalidateWhere(where: object): Promise<unknown>;
}

interface Place extends LoadModels {
  readonly sequelize: Sequelize;
  /** The number of the call. */
  readonly at: number;
  readonly job: Manager;
}

type Call = (place: Place) => Promise<unknown>;

const call = (instance: Model, accessor: string, ...args: readonly unknown[]): Promise<unknown> =>
  Reflect.apply(Reflect.get(instance, accessor) as (...given: readonly unknown[]) => Promise<unknown>, instance, args);

const owner = ({ Owner, at }: Place): Model => Owner.build({ id: 1 + at, name: '' }, { isNewRecord: false });

/** In a transaction of the program's. */
const inside = (work: (place: Place, transaction: Transaction) => Promise<unknown>): Call => (place) =>
  place.sequelize.transaction((transaction) => work(place, transaction));

const writes: Readonly<Record<string, Call>> = {
  'bulk update by condition': ({ Job, at }) => Job.update({ queue: at + 20 }, { where: { state: at } }),
  'bulk update of a value': ({ Job, at }) => Job.update({ name: 'n' }, { where: { state: at } }),
  'bulk update by primary key': ({ Job, at }) => Job.update({ queue: at + 20 }, { where: { id: at + 1 } }),
  'bulk update with a limit': ({ Job, at }) => Job.update({ queue: at + 20 }, { where: { state: at }, limit: 1 }),
  'bulk destroy': ({ Job, at }) => Job.destroy({ where: { state: at } }),
  'paranoid destroy': ({ Task, at }) => Task.destroy({ where: { state: at } }),
  restore: ({ Task, at }) => Task.restore({ where: { state: at } }),
  increment: ({ Job, at }) => Job.increment('state', { where: { queue: at } }),
  save: async ({ Job, at }) => (await Job.create({ queue: at, state: at })).update({ queue: at + 20 }),
  destroy: async ({ Job, at }) => (await Job.create({ queue: at, state: at })).destroy(),
  create: ({ Job, at }) => Job.create({ queue: at, state: at }),
  bulkCreate: ({ Job, at }) => Job.bulkCreate([{ queue: at, state: at }, { queue: at, state: at }]),
  upsert: ({ Job, at }) => Job.upsert({ id: at + 1, queue: at, state: at }),
  findOrCreate: ({ Owner, at }) => Owner.findOrCreate({ where: { name: `new ${String(at)}` } }),
  'individual hooks': ({ Job, at }) => Job.update({ queue: at + 20 }, { where: { state: at }, individualHooks: true }),
  'raw SQL': ({ sequelize, Job, at }) => sequelize.query(`UPDATE ${Job.tableName} SET name = 'r' WHERE state = ${String(at)}`),
  'set of a hasMany': async (place) => call(owner(place), 'setJobs', await place.Job.findAll({ where: { state: place.at } })),
  'set of a belongsToMany': (place) => call(owner(place), 'setLabels', [1, 2]),
  'a transaction': inside(async ({ Job, at }, transaction) => {
    await Job.update({ queue: at + 20 }, { where: { state: at }, transaction });
    await Job.destroy({ where: { state: at + 20 }, transaction });
    await Job.create({ queue: at, state: at }, { transaction });
  }),
  'a transaction with a savepoint': inside(({ sequelize, Task, at }, outer) =>
    sequelize.transaction({ transaction: outer }, (transaction) => Task.destroy({ where: { state: at }, transaction })),
  ),
  'a transaction that is rolled back': (place) =>
    assert.rejects(
      inside(async ({ Job, at }, transaction) => {
        await Job.update({ queue: at + 20 }, { where: { state: at }, transaction });
        throw new Error('stop');
      })(place),
      /stop/,
    ),
};

const reads: Readonly<Record<string, Call>> = {
  get: ({ job, at }) => job.getOrNone({ id: at + 1 }),
  getMany: ({ job, at }) => job.getMany([{ id: at + 1 }, { id: at + 2 }]),
  filter: ({ job, at }) => job.filter({ queue: at }),
  invalidateWhere: ({ job, at }) => job.invalidateWhere({ queue: at }),
  'a read in a transaction': inside(({ job, at }, transaction) => job.getOrNone({ id: at + 1 }, { transaction })),
};

/** Each write beside each read. */
const mixed: Readonly<Record<string, Call>> = Object.fromEntries(
  ['bulk update by condition', 'bulk destroy', 'save', 'a transaction'].map((name) => [
    `${name}, beside reads`,
    (place: Place) => Promise.all([(writes[name] as Call)(place), ...Object.values(reads).map((read) => read(place))]),
  ]),
);

describe('a pool that is smaller than the number of calls', () => {
  const name = `flash_${randomUUID().slice(0, 8)}`;
  const admin = new Sequelize(mysqlUrl(), { dialect: 'mysql', logging: false, pool: { max: 1 } });
  let url: string;

  before(async () => {
    await admin.query(`CREATE DATABASE ${name} CHARACTER SET utf8mb4`);
    const own = new URL(mysqlUrl());
    own.pathname = `/${name}`;
    url = own.href;
    const sequelize = new Sequelize(url, { dialect: 'mysql', logging: false });
    const models = defineLoad(sequelize, false);
    await sequelize.sync();
    await fillLoad(models);
    await sequelize.close();
  });
  after(async () => {
    await admin.query(`DROP DATABASE ${name}`);
    await admin.close();
  });

  /** Runs as many calls at once; resolves to the number of connections that were opened. */
  async function run(work: Call, calls: number, max: number, dialect: Dialect): Promise<number> {
    const address = new URL(url);
    address.protocol = `${dialect}:`;
    const sequelize = new Sequelize(address.href, { dialect, logging: false, pool: { max, acquire } });
    let connections = 0;
    sequelize.addHook('afterConnect', () => void (connections += 1));
    const models = defineLoad(sequelize, true);
    const store = memcachedStore();
    const cache = setup(sequelize, models, store);
    try {
      const job = Reflect.get(models.Job, 'cache') as Manager;
      const outcomes = await Promise.allSettled(Array.from({ length: calls }, (_, at) => work({ ...models, sequelize, at, job })));
      const errors: unknown[] = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason] : []));
      // Writes of several rows at once meet deadlocks with each other, which is not what this is about.
      assert.deepEqual(errors.filter((error) => errorNumber(error) !== 1213), []);
      return connections;
    } finally {
      await cache.close();
      await store.close();
      await sequelize.close();
    }
  }

  for (const [dialect, max] of [['mysql', 1], ['mysql', 2], ['mysql', 5], ['mariadb', 1], ['mariadb', 2]] as const) {
    describe(`${String(max)} connections, ${dialect}`, () => {
      for (const [title, work] of drawn(Object.entries({ ...writes, ...reads, ...mixed }), random)) {
        it(`${title} (SEED=${String(at)})`, async () => {
          const connections = await run(work, max + 3, max, dialect);
          // Sequelize itself opens one more to ask for the server's version.
          assert.ok(connections <= max + 1, `${String(connections)} connections were opened`);
        });
      }
    });
  }
});

/** A cache of a value needs a row's key values from before each write, which saves have to read. */
function setup(sequelize: Sequelize, models: LoadModels, store: ReturnType<typeof memcachedStore>): ReturnType<typeof setupCache> {
  type Job = InstanceType<LoadModels['Job']>;
  class StatesOfQueue extends QuerysetCache<Job, ['queue']> {
    static readonly model = models.Job;
    static readonly keyFields = ['queue'] as const;
    override async getResult({ queue }: { readonly queue: number }): Promise<JsonValue> {
      const jobs = await models.Job.findAll({ where: { queue } });
      return jobs.map(({ state }) => state);
    }
  }
  class CountOfQueue extends QuerysetCountCache<Job, ['queue']> {
    static readonly model = models.Job;
    static readonly keyFields = ['queue'] as const;
  }
  for (const cacheClass of [StatesOfQueue, CountOfQueue]) registerCache(cacheClass);
  return setupCache(sequelize, { store, prefix: `p${randomUUID().slice(0, 8)}` });
}
