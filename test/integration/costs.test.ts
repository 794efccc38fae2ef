/**
 * What each operation costs, exactly: SQL statements, round trips to the store, operations on it.
 *
 * A guard against regressions that no clock is needed for. A number that falls is good news: put
 * the new one here. One that rises has to be worth it.
 */
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import { DataTypes, Model, type CreationOptional, type InferAttributes, type InferCreationAttributes } from 'sequelize';
import { leaseText } from '../../src/entries/envelope.js';
import { InstanceCache, withCache } from '../../src/index.js';
import { backendNames, openBackend, type Backend, type BackendName } from '../support/backends.js';
import { thinkHits } from '../support/misses.js';
import type { Operation } from '../support/observed-store.js';

class Member extends Model<InferAttributes<Member>, InferCreationAttributes<Member>> {
  static readonly cache = withCache(Member, { keys: ['id', 'handle', 'city', ['tenant', 'slug']] });
  declare id: CreationOptional<number>;
  declare handle: string;
  /** Not unique. */
  declare city: string;
  declare tenant: number;
  declare slug: string;
  /** In no key. */
  declare age: number;
}

/** A model with a cache whose answers are its own: they depend on a row's values before a write too. */
class Badge extends Model<InferAttributes<Badge>, InferCreationAttributes<Badge>> {
  static readonly cache = withCache(Badge, { keys: ['id'], caches: () => [LastBadgeCacheOnOwner] });
  declare id: CreationOptional<number>;
  declare owner: number;
  declare title: string;
}

class LastBadgeCacheOnOwner extends InstanceCache<Badge, readonly ['owner']> {
  static model = Badge;
  static keyFields = ['owner'] as const;
  override getInstance({ owner }: { owner: number }): Promise<Badge | null> {
    return this.queryset().findOne({ where: { owner }, order: [['id', 'DESC']] });
  }
}

/** What is counted. Round trips are those of a network: in memory there are none. */
interface Cost {
  /** Statements that Sequelize sends for the same work without the cache. */
  readonly own: number;
  /** Statements that the cache adds. */
  readonly extra: number;
  /** Not compared where it depends on which of several statements is answered first. */
  readonly trips?: number;
  readonly get?: number;
  readonly add?: number;
  readonly cas?: number;
  /** compareAndDelete */
  readonly cad?: number;
  /** delete */
  readonly del?: number;
}

/** The same on both backends, or not. */
type Costs = Cost | Readonly<Record<BackendName, Cost>>;

const names: readonly (readonly [keyof Cost, Operation])[] = [
  ['get', 'get'],
  ['add', 'add'],
  ['cas', 'compareAndSwap'],
  ['cad', 'compareAndDelete'],
  ['del', 'delete'],
];

/** A read that is answered from the store. */
const warm: Cost = { own: 0, extra: 0, trips: 1, get: 1 };
/** No operation of the store at all. */
const past = (own: number): Cost => ({ own, extra: 0, trips: 0 });

/** A cold read: look, lease, the statement (and meanwhile a look for the lease's token), fill. */
const reads = {
  'by primary key': { own: 1, extra: 0, trips: 3, get: 2, add: 1, cas: 1 },
  'by another key': { own: 1, extra: 0, trips: 4, get: 2, add: 2, cas: 2 },
  // The second add is the lease on the row, which is refused: a value stands there.
  'by another key, with the row cached': { own: 1, extra: 0, trips: 4, get: 2, add: 2, cas: 1 },
  'by primary key, of a row that does not exist': { own: 1, extra: 0, trips: 3, get: 2, add: 1, cas: 1 },
  'by another key, of a row that does not exist': { own: 1, extra: 0, trips: 4, get: 2, add: 1, cas: 1 },
  // The old name still leads to the row, so that is where the lease is; it is given back (cad).
  // The second add is the table's epoch, which the rename removed.
  'by the old name after a rename': { own: 1, extra: 0, trips: 5, get: 3, add: 2, cas: 1, cad: 1 },
  'by the new name after a rename': { own: 1, extra: 0, trips: 4, get: 2, add: 2, cas: 2 },
  'getMany of 100 by primary key': { own: 1, extra: 0, trips: 3, get: 2, add: 100, cas: 100 },
  // 100 leases on index entries, 100 refused ones on rows, and the epoch, which the insert removed.
  'getMany of 100 by another key, with the rows cached': { own: 1, extra: 0, trips: 4, get: 2, add: 201, cas: 100 },
  // Of 30 entries two are there (see beforeEach). The 19 adds more are for rows of which the
  // lookup by id has the lease. The three statements run side by side: no count of round trips.
  '100 lookups in one tick, of ten rows by three keys': { own: 3, extra: 0, get: 4, add: 47, cas: 28 },
} satisfies Record<string, Costs>;

/**
 * A write: one round trip to mark what it changes, one after the commit to void it. One more to mark
 * an entry that is there and that this process did not read last.
 */
const writes = {
  'save of a row that is not cached': { own: 1, extra: 0, trips: 2, get: 1, add: 1, cad: 1, del: 1 },
  'save of a row that this process read from the cache': { own: 1, extra: 0, trips: 2, get: 1, add: 1, cas: 1, cad: 1, del: 1 },
  'save of a row that another process cached': { own: 1, extra: 0, trips: 3, get: 2, add: 1, cas: 1, cad: 1, del: 1 },
  'save of a key value': { own: 1, extra: 0, trips: 2, get: 1, add: 2, cad: 2, del: 1 },
  'save without a change': past(0),
  create: { own: 1, extra: 0, trips: 2, get: 2, add: 3, cad: 3, del: 1 },
  destroy: { own: 1, extra: 0, trips: 2, get: 1, add: 1, cad: 1, del: 1 },
  'bulk update of 1 row by id': { own: 1, extra: 0, trips: 2, get: 1, add: 1, cad: 1, del: 1 },
  'bulk update of 1 cached row by id': { own: 1, extra: 0, trips: 3, get: 2, add: 1, cas: 1, cad: 1, del: 1 },
  'bulk update of 100 rows by id': { own: 1, extra: 0, trips: 2, get: 1, add: 100, cad: 100, del: 1 },
  'bulk update of 100 cached rows by id': { own: 1, extra: 0, trips: 3, get: 2, add: 100, cas: 100, cad: 100, del: 1 },
  // Which rows it finds, only the database knows: SET TRANSACTION, START TRANSACTION, SELECT … FOR UPDATE, COMMIT.
  'bulk update of 1 row by a condition': {
    mariadb: { own: 1, extra: 4, trips: 2, get: 1, add: 1, cad: 1, del: 1 },
    sqlite: { own: 1, extra: 1, get: 1, add: 1, cad: 1, del: 1 },
  },
  'bulk update of 100 cached rows by a condition': {
    mariadb: { own: 1, extra: 4, trips: 3, get: 2, add: 100, cas: 100, cad: 100, del: 1 },
    sqlite: { own: 1, extra: 1, get: 2, add: 100, cas: 100, cad: 100, del: 1 },
  },
  // The table's generation is all that is marked.
  'bulk update by id of more rows than bulkInvalidationLimit': { own: 1, extra: 0, trips: 3, get: 2, add: 1, cas: 1, cad: 1, del: 1 },
  'bulk update by a condition of more rows than bulkInvalidationLimit': {
    mariadb: { own: 1, extra: 4, trips: 3, get: 2, add: 1, cas: 1, cad: 1, del: 1 },
    sqlite: { own: 1, extra: 1, get: 2, add: 1, cas: 1, cad: 1, del: 1 },
  },
  'a transaction that is rolled back': past(12),
  'a transaction that writes nothing': past(3),
  // The values before and after are read under a lock.
  'save of a model with a custom cache': {
    mariadb: { own: 1, extra: 3, trips: 2, get: 1, add: 2, cad: 2, del: 1 },
    sqlite: { own: 1, extra: 1, get: 1, add: 2, cad: 2, del: 1 },
  },
  // Without row locks the new owner's entry is voided after the statement, and nothing is there.
  'save of a key value of a custom cache': {
    mariadb: { own: 1, extra: 4, trips: 2, get: 1, add: 3, cad: 3, del: 1 },
    sqlite: { own: 1, extra: 2, get: 2, add: 2, cad: 2, del: 1 },
  },
} satisfies Record<string, Costs>;

/** Round trips of a transaction, whether it saves 1 row, 10 or 100. It adds no statement to theirs. */
const transactionTrips = {
  'rows that are not cached': 2,
  'rows that this process read from the cache': 2,
  'rows that another process cached': 3,
} as const;

/** Of one bulk write: more rows void the table. */
const limit = 150;

for (const backendName of backendNames) {
  describe(`costs on ${backendName}`, () => {
    let backend: Backend;
    let members: Member[];
    let serial = 0;

    before(async () => {
      backend = await openBackend(backendName, { define: { timestamps: false } });
      const { sequelize } = backend;
      Member.init(
        {
          id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true },
          handle: { type: DataTypes.STRING(40), allowNull: false, unique: true },
          city: { type: DataTypes.STRING(40), allowNull: false },
          tenant: { type: DataTypes.INTEGER, allowNull: false },
          slug: { type: DataTypes.STRING(40), allowNull: false },
          age: { type: DataTypes.INTEGER, allowNull: false },
        },
        { sequelize, modelName: 'Member', indexes: [{ unique: true, fields: ['tenant', 'slug'] }] },
      );
      Badge.init(
        {
          id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true },
          owner: { type: DataTypes.INTEGER, allowNull: false },
          title: { type: DataTypes.STRING(40), allowNull: false },
        },
        { sequelize, modelName: 'Badge' },
      );
      backend.setup({ bulkInvalidationLimit: limit, leaseWait: 50 });
      await sequelize.sync();
    });

    after(() => backend.close());

    beforeEach(async () => {
      // Rows of its own for every test, that nobody has looked up, in a table that is known to the store.
      members = await Member.bulkCreate(Array.from({ length: 10 }, () => member()));
      const created = await Member.findAll({ where: { handle: members.map(({ handle }) => handle) }, order: ['id'] });
      members = created;
      await Member.cache.getOrNone({ handle: members[9]!.handle });
    });

    /** New values; each is used once. */
    function member(): { handle: string; city: string; tenant: number; slug: string; age: number } {
      serial += 1;
      const own = String(serial);
      return { handle: `member ${own}`, city: `city ${own}`, tenant: serial, slug: `slug ${own}`, age: 20 };
    }

    /** Rows that nobody has looked up. */
    async function newMembers(count: number): Promise<Member[]> {
      const values = Array.from({ length: count }, member);
      for (let from = 0; from < count; from += limit) await Member.bulkCreate(values.slice(from, from + limit));
      return Member.findAll({ where: { handle: values.map(({ handle }) => handle) }, order: ['id'] });
    }

    const idsOf = (rows: readonly Member[]): { id: number }[] => rows.map(({ id }) => ({ id }));
    const fill = (rows: readonly Member[]): Promise<unknown> => Member.cache.getMany(idsOf(rows));
    const fillAndRead = async (rows: readonly Member[]): Promise<void> => {
      await fill(rows);
      await fill(rows);
    };

    async function costs<T>(expected: Costs, work: () => Promise<T>): Promise<T> {
      // Where misses are likely it takes a round trip less, see `cold-lookups`.
      thinkHits(Member);
      backend.reset();
      const result = await work();
      const { store } = backend;
      const { own, extra, trips, ...operations } = 'own' in expected ? expected : expected[backendName];
      const counted = Object.fromEntries(names.map(([short, operation]) => [short, store.count(operation)]));
      const wanted = Object.fromEntries(names.map(([short]) => [short, operations[short as keyof typeof operations] ?? 0]));
      const network = backendName === 'mariadb' && trips !== undefined;
      assert.deepEqual(
        { extra: backend.sql.length - own, ...(network ? { trips: store.roundTrips } : {}), ...counted },
        { extra, ...(network ? { trips } : {}), ...wanted },
        `${String(backend.sql.length)} statements, ${String(store.roundTrips)} round trips, ${JSON.stringify(counted)}\n${backend.sql.join('\n')}`,
      );
      return result;
    }

    describe('reads', () => {
      it('by primary key', async () => {
        const { id } = members[0]!;
        await costs(reads['by primary key'], () => Member.cache.get({ id }));
        await costs(warm, () => Member.cache.get({ id }));
      });

      for (const [name, keyOf] of [
        ['a unique name', ({ handle }: Member) => ({ handle })],
        ['two fields that are unique together', ({ tenant, slug }: Member) => ({ tenant, slug })],
        ['a field that is not unique', ({ city }: Member) => ({ city })],
      ] as const) {
        it(`by ${name}`, async () => {
          const key = keyOf(members[0]!);
          await costs(reads['by another key'], () => Member.cache.getOrNone(key as { handle: string }));
          await costs(warm, () => Member.cache.getOrNone(key as { handle: string }));
        });

        it(`by ${name}, with the row cached under another key`, async () => {
          const key = keyOf(members[0]!);
          await Member.cache.get({ id: members[0]!.id });
          await costs(reads['by another key, with the row cached'], () => Member.cache.getOrNone(key as { handle: string }));
          await costs(warm, () => Member.cache.getOrNone(key as { handle: string }));
        });
      }

      it('of a row that does not exist', async () => {
        await costs(reads['by primary key, of a row that does not exist'], () => Member.cache.getOrNone({ id: 1_000_000 + serial }));
        await costs(warm, () => Member.cache.getOrNone({ id: 1_000_000 + serial }));
        const { handle } = member();
        await costs(reads['by another key, of a row that does not exist'], () => Member.cache.getOrNone({ handle }));
        await costs(warm, () => Member.cache.getOrNone({ handle }));
      });

      it('after a rename: the old name and the new one', async () => {
        const row = members[0]!;
        const { handle: old } = row;
        const { handle } = member();
        await Member.cache.get({ handle: old });
        await row.update({ handle });
        await costs(reads['by the old name after a rename'], () => Member.cache.getOrNone({ handle: old }));
        await costs(warm, () => Member.cache.getOrNone({ handle: old }));
        await costs(reads['by the new name after a rename'], () => Member.cache.get({ handle }));
        await costs(warm, () => Member.cache.get({ handle }));
      });

      it('getMany of 100 rows', async () => {
        const rows = await newMembers(100);
        await costs(reads['getMany of 100 by primary key'], () => fill(rows));
        await costs(warm, () => fill(rows));
        const handles = rows.map(({ handle }) => ({ handle }));
        await costs(reads['getMany of 100 by another key, with the rows cached'], () => Member.cache.getMany(handles));
        await costs(warm, () => Member.cache.getMany(handles));
      });

      it('getMany of more rows than one statement takes, as the first lookups of the table', async () => {
        // 500 is the default of maxBatch. All batches give the table its generation; one of them does.
        const rows = await newMembers(1100);
        await Member.cache.clear();
        backend.reset();
        await fill(rows);
        assert.equal(backend.sql.length, 3);
        backend.reset();
        await fill(rows);
        assert.equal(backend.sql.length, 0, 'all of it was stored');
      });

      it('rows that another process was to fill and did not: one statement for all of them', async () => {
        for (const key of idsOf(members)) {
          await backend.store.delete(Member.cache.getKey(key));
          assert.ok(await backend.store.add(Member.cache.getKey(key), leaseText(), 60));
        }
        backend.reset();
        await fill(members);
        assert.equal(backend.sql.length, 1, backend.sql.join('\n'));
      });

      it('100 lookups in one tick, of ten rows by three keys', async () => {
        const lookups = Array.from({ length: 100 }, (_, i) => members[i % 10]!).map((row, i) =>
          i % 3 === 0 ? { id: row.id } : i % 3 === 1 ? { handle: row.handle } : { tenant: row.tenant, slug: row.slug },
        );
        const all = (): Promise<unknown> => Promise.all(lookups.map((key) => Member.cache.get(key as { id: number })));
        await costs(reads['100 lookups in one tick, of ten rows by three keys'], all);
        await costs(warm, all);
      });

      it('in a transaction', async () => {
        const { id } = members[0]!;
        await costs(past(3), () => backend.sequelize.transaction((transaction) => Member.cache.get({ id }, { transaction })));
      });
    });

    describe('writes', () => {
      it('save', async () => {
        const [fresh, readHere, readElsewhere] = members as [Member, Member, Member];
        await fillAndRead([readHere]);
        await fill([readElsewhere]);
        await costs(writes['save of a row that is not cached'], () => fresh.update({ age: 21 }));
        await costs(writes['save of a row that this process read from the cache'], () => readHere.update({ age: 21 }));
        await costs(writes['save of a row that another process cached'], () => readElsewhere.update({ age: 21 }));
        for (const row of [fresh, readHere, readElsewhere]) {
          await costs(writes['save of a row that is not cached'], () => row.update({ age: 22 }));
        }
      });

      it('save of a key value', async () => {
        await costs(writes['save of a key value'], () => members[0]!.update({ handle: member().handle }));
      });

      it('save without a change', async () => {
        await costs(writes['save without a change'], () => members[0]!.save());
      });

      it('create', async () => {
        await costs(writes.create, () => Member.create(member()));
      });

      it('destroy', async () => {
        await costs(writes.destroy, () => members[0]!.destroy());
      });

      it('bulk update by id', async () => {
        const update = (rows: readonly Member[]) => (): Promise<unknown> =>
          Member.update({ age: 30 + serial }, { where: { id: rows.map(({ id }) => id) } });
        const [one] = members as [Member];
        await costs(writes['bulk update of 1 row by id'], update([one]));
        await fill([one]);
        await costs(writes['bulk update of 1 cached row by id'], update([one]));
        const rows = await newMembers(100);
        await costs(writes['bulk update of 100 rows by id'], update(rows));
        await fill(rows);
        await costs(writes['bulk update of 100 cached rows by id'], update(rows));
        const many = await newMembers(limit + 1);
        await fill(many);
        await costs(writes['bulk update by id of more rows than bulkInvalidationLimit'], update(many));
      });

      it('bulk update by a condition', async () => {
        const update = (rows: readonly Member[]) => (): Promise<unknown> =>
          Member.update({ age: 30 }, { where: { tenant: rows.map(({ tenant }) => tenant) } });
        // The first such statement asks the server once for its isolation level.
        await Member.update({ age: 29 }, { where: { handle: 'nobody' } });
        await costs(writes['bulk update of 1 row by a condition'], update(members.slice(0, 1)));
        const rows = await newMembers(100);
        await fill(rows);
        await costs(writes['bulk update of 100 cached rows by a condition'], update(rows));
        const many = await newMembers(limit + 1);
        await fill(many);
        await costs(writes['bulk update by a condition of more rows than bulkInvalidationLimit'], update(many));
      });

      for (const [which, trips] of Object.entries(transactionTrips)) {
        it(`a transaction of 1, 10 and 100 saves of ${which} cost the same round trips`, async () => {
          for (const count of [1, 10, 100]) {
            const rows = await newMembers(count);
            if (which === 'rows that this process read from the cache') await fillAndRead(rows);
            if (which === 'rows that another process cached') await fill(rows);
            backend.reset();
            await backend.sequelize.transaction(async (transaction) => {
              for (const row of rows) await row.update({ age: row.age + 1 }, { transaction });
            });
            assert.equal(backend.sql.length, count + 2, backend.sql.join('\n'));
            if (backendName === 'mariadb') assert.equal(backend.store.roundTrips, trips, `${String(count)} saves`);
          }
        });
      }

      it('a transaction that is rolled back asks the store for nothing', async () => {
        await costs(writes['a transaction that is rolled back'], async () => {
          const transaction = await backend.sequelize.transaction();
          for (const row of members) await row.update({ age: row.age + 1 }, { transaction });
          await transaction.rollback();
        });
      });

      it('a transaction that writes nothing', async () => {
        await costs(writes['a transaction that writes nothing'], () =>
          backend.sequelize.transaction((transaction) => Member.findOne({ transaction })),
        );
      });

      it('save of a model with a cache of its own kind', async () => {
        const badge = await Badge.create({ owner: serial, title: 'first' });
        await costs(writes['save of a model with a custom cache'], () => badge.update({ title: 'second' }));
        await costs(writes['save of a key value of a custom cache'], () => badge.update({ owner: serial + 1 }));
      });
    });
  });
}
