/**
 * What each operation costs, exactly: SQL statements, round trips to the store, operations on it.
 *
 * A guard against regressions that no clock is needed for. A number that falls is good news: put
 * the new one here. One that rises has to be worth it.
 */
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import { DataTypes, Model, type CreationOptional, type InferAttributes, type InferCreationAttributes } from 'sequelize';
import { InstanceCache, withCache } from '../../src/index.js';
import { backendNames, openBackend, type Backend, type BackendName } from '../support/backends.js';
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
  readonly sql: number;
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

const names: readonly (readonly [keyof Cost, Operation])[] = [
  ['get', 'get'],
  ['add', 'add'],
  ['cas', 'compareAndSwap'],
  ['cad', 'compareAndDelete'],
  ['del', 'delete'],
];

/** A read that is answered from the store. */
const warm: Cost = { sql: 0, trips: 1, get: 1 };
/** No operation of the store at all. */
const past = (sql: number): Cost => ({ sql, trips: 0 });

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
      backend.setup();
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

    async function costs<T>(expected: Cost | ((name: BackendName) => Cost), work: () => Promise<T>): Promise<T> {
      backend.reset();
      const result = await work();
      const { store } = backend;
      const { sql, trips, ...operations } = typeof expected === 'function' ? expected(backendName) : expected;
      const counted = Object.fromEntries(names.map(([short, operation]) => [short, store.count(operation)]));
      const wanted = Object.fromEntries(names.map(([short]) => [short, operations[short as keyof typeof operations] ?? 0]));
      const network = backendName === 'mariadb' && trips !== undefined;
      assert.deepEqual(
        { sql: backend.sql.length, ...(network ? { trips: store.roundTrips } : {}), ...counted },
        { sql, ...(network ? { trips } : {}), ...wanted },
        `${String(backend.sql.length)} statements, ${String(store.roundTrips)} round trips, ${JSON.stringify(counted)}\n${backend.sql.join('\n')}`,
      );
      return result;
    }

    describe('reads', () => {
      it('by primary key', async () => {
        const { id } = members[0]!;
        await costs({ sql: 1, trips: 4, get: 2, add: 1, cas: 1 }, () => Member.cache.get({ id }));
        await costs(warm, () => Member.cache.get({ id }));
      });

      for (const [name, keyOf] of [
        ['a unique name', ({ handle }: Member) => ({ handle })],
        ['two fields that are unique together', ({ tenant, slug }: Member) => ({ tenant, slug })],
        ['a field that is not unique', ({ city }: Member) => ({ city })],
      ] as const) {
        it(`by ${name}`, async () => {
          const key = keyOf(members[0]!);
          await costs({ sql: 1, trips: 5, get: 2, add: 2, cas: 2 }, () => Member.cache.getOrNone(key as { handle: string }));
          await costs(warm, () => Member.cache.getOrNone(key as { handle: string }));
        });

        it(`by ${name}, with the row cached under another key`, async () => {
          const key = keyOf(members[0]!);
          await Member.cache.get({ id: members[0]!.id });
          // The second add is the lease on the row, which is refused: a value stands there.
          await costs({ sql: 1, trips: 5, get: 2, add: 2, cas: 1 }, () => Member.cache.getOrNone(key as { handle: string }));
          await costs(warm, () => Member.cache.getOrNone(key as { handle: string }));
        });
      }

      it('of a row that does not exist', async () => {
        await costs({ sql: 1, trips: 4, get: 2, add: 1, cas: 1 }, () => Member.cache.getOrNone({ id: 1_000_000 + serial }));
        await costs(warm, () => Member.cache.getOrNone({ id: 1_000_000 + serial }));
        const { handle } = member();
        await costs({ sql: 1, trips: 4, get: 2, add: 1, cas: 1 }, () => Member.cache.getOrNone({ handle }));
        await costs(warm, () => Member.cache.getOrNone({ handle }));
      });

      it('after a rename: the old name and the new one', async () => {
        const row = members[0]!;
        const { handle: old } = row;
        const { handle } = member();
        await Member.cache.get({ handle: old });
        await row.update({ handle });
        // The old name still leads to the row, so that is where the lease is; it is given back (cad).
        // The second add is the table's epoch, which the rename removed.
        await costs({ sql: 1, trips: 5, get: 3, add: 2, cas: 1, cad: 1 }, () => Member.cache.getOrNone({ handle: old }));
        await costs(warm, () => Member.cache.getOrNone({ handle: old }));
        await costs({ sql: 1, trips: 5, get: 2, add: 2, cas: 2 }, () => Member.cache.get({ handle }));
        await costs(warm, () => Member.cache.get({ handle }));
      });

      it('getMany of 100 rows', async () => {
        const values = Array.from({ length: 100 }, member);
        await Member.bulkCreate(values);
        const rows = await Member.findAll({ where: { handle: values.map(({ handle }) => handle) } });
        const ids = rows.map(({ id }) => ({ id }));
        await costs({ sql: 1, trips: 4, get: 2, add: 100, cas: 100 }, () => Member.cache.getMany(ids));
        await costs(warm, () => Member.cache.getMany(ids));
        const handles = rows.map(({ handle }) => ({ handle }));
        // 100 leases on index entries, 100 refused ones on rows, and the epoch, which the insert removed.
        await costs({ sql: 1, trips: 5, get: 2, add: 201, cas: 100 }, () => Member.cache.getMany(handles));
        await costs(warm, () => Member.cache.getMany(handles));
      });

      it('100 lookups in one tick, of ten rows by three keys', async () => {
        const lookups = Array.from({ length: 100 }, (_, i) => members[i % 10]!).map((row, i) =>
          i % 3 === 0 ? { id: row.id } : i % 3 === 1 ? { handle: row.handle } : { tenant: row.tenant, slug: row.slug },
        );
        const all = (): Promise<unknown> => Promise.all(lookups.map((key) => Member.cache.get(key as { id: number })));
        // Of 30 entries two are there (see beforeEach). The 19 adds more are for rows of which the
        // lookup by id has the lease. The three statements run side by side: no count of round trips.
        await costs({ sql: 3, get: 4, add: 47, cas: 28 }, all);
        await costs(warm, all);
      });

      it('in a transaction', async () => {
        const { id } = members[0]!;
        await costs(past(3), () => backend.sequelize.transaction((transaction) => Member.cache.get({ id }, { transaction })));
      });
    });

    // One round trip to mark (two where an entry stands), one after the commit.
    describe('writes', () => {
      it('save of a value that is in no key', async () => {
        const row = members[0]!;
        await Member.cache.get({ id: row.id });
        await costs({ sql: 1, trips: 3, get: 2, add: 1, cas: 1, cad: 1, del: 1 }, () => row.update({ age: 21 }));
        // Nothing is cached of it now.
        await costs({ sql: 1, trips: 2, get: 1, add: 1, cad: 1, del: 1 }, () => row.update({ age: 22 }));
      });

      it('save of a key value', async () => {
        const row = members[0]!;
        await costs({ sql: 1, trips: 2, get: 1, add: 2, cad: 2, del: 1 }, () => row.update({ handle: member().handle }));
      });

      it('save without a change', async () => {
        await costs(past(0), () => members[0]!.save());
      });

      it('create', async () => {
        await costs({ sql: 1, trips: 2, get: 2, add: 3, cad: 3, del: 1 }, () => Member.create(member()));
      });

      it('destroy', async () => {
        await costs({ sql: 1, trips: 2, get: 1, add: 1, cad: 1, del: 1 }, () => members[0]!.destroy());
      });

      it('bulk update by id', async () => {
        const id = members.map((row) => row.id);
        await costs({ sql: 1, trips: 3, get: 2, add: 10, cas: 1, cad: 10, del: 1 }, () => Member.update({ age: 30 }, { where: { id } }));
      });

      it('bulk update by a condition', async () => {
        const tenant = members.map((row) => row.tenant);
        // The first such statement asks the server once for its isolation level.
        await Member.update({ age: 29 }, { where: { handle: 'nobody' } });
        await costs(
          (name) => ({ sql: name === 'mariadb' ? 4 : 2, trips: 3, get: 2, add: 10, cas: 1, cad: 10, del: 1 }),
          () => Member.update({ age: 30 }, { where: { tenant } }),
        );
      });

      it('a transaction of one save and one of ten cost the same round trips on the way', async () => {
        const saves = (rows: readonly Member[]): Promise<void> =>
          backend.sequelize.transaction(async (transaction) => {
            for (const row of rows) await row.update({ age: row.age + 1 }, { transaction });
          });
        await costs({ sql: 3, trips: 2, get: 1, add: 1, cad: 1, del: 1 }, () => saves(members.slice(0, 1)));
        await costs({ sql: 12, trips: 3, get: 2, add: 10, cas: 1, cad: 10, del: 1 }, () => saves(members));
      });

      it('a transaction that is rolled back asks the store for nothing', async () => {
        const work = backend.sequelize.transaction.bind(backend.sequelize);
        await costs(past(12), async () => {
          const transaction = await work();
          for (const row of members) await row.update({ age: row.age + 1 }, { transaction });
          await transaction.rollback();
        });
      });

      it('a transaction that writes nothing', async () => {
        await costs(past(3), () => backend.sequelize.transaction((transaction) => Member.findOne({ transaction })));
      });

      it('save of a model with a cache of its own kind: the values before and after are read under a lock', async () => {
        const badge = await Badge.create({ owner: serial, title: 'first' });
        await costs(
          (name) => ({ sql: name === 'mariadb' ? 4 : 2, trips: 2, get: 1, add: 2, cad: 2, del: 1 }),
          () => badge.update({ title: 'second' }),
        );
        await costs(
          // Without row locks the new owner's entry is voided after the statement, and nothing is there.
          (name) => (name === 'mariadb' ? { sql: 5, trips: 2, get: 1, add: 3, cad: 3, del: 1 } : { sql: 3, get: 2, add: 2, cad: 2, del: 1 }),
          () => badge.update({ owner: serial + 1 }),
        );
      });
    });
  });
}
