/** Rows that the database itself changes by foreign keys: what can change is void, and nothing else. */
import assert from 'node:assert/strict';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { after, before, describe, it } from 'node:test';
import { DataTypes, type Model, type ModelAttributes, type ModelStatic, type Sequelize, type Transaction } from 'sequelize';
import { withCache, type FlashEvents } from '../../src/index.js';
import { backendNames, openBackend, type Backend } from '../support/backends.js';
import { Hold } from '../support/statements.js';

type Row = Model<Record<string, unknown>, Record<string, unknown>> & { readonly id: number };
type Table = ModelStatic<Row>;

interface Models {
  readonly sequelize: Sequelize;
  /** Not cached: effects start from what is written. */
  readonly Owner: Table;
  readonly Pet: Table;
  /** Refers to pets, and to itself. */
  readonly Note: Table;
  /** Refers to owners by a unique column under another name, twice. */
  readonly Badge: Table;
}

const id = { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true };

function defineModels(sequelize: Sequelize): Models {
  const define = (name: string, attributes: ModelAttributes): Table => sequelize.define(name, attributes, { timestamps: false }) as Table;
  const Owner = define('Owner', { id, name: DataTypes.STRING, code: { type: DataTypes.STRING, unique: true, field: 'owner_code' }, visits: { type: DataTypes.INTEGER, defaultValue: 0 } });
  const Pet = define('Pet', { id, name: DataTypes.STRING });
  const Note = define('Note', { id, text: DataTypes.STRING });
  const Badge = define('Badge', { id, title: DataTypes.STRING, byCode: { type: DataTypes.STRING, field: 'by_code' } });
  Pet.belongsTo(Owner, { as: 'owner', foreignKey: { name: 'ownerId', field: 'owner_id' }, onDelete: 'CASCADE', onUpdate: 'CASCADE' });
  Note.belongsTo(Pet, { as: 'pet', foreignKey: 'petId', onDelete: 'CASCADE' });
  Note.belongsTo(Note, { as: 'answered', foreignKey: 'answeredId', onDelete: 'CASCADE' });
  Badge.belongsTo(Owner, { as: 'owner', foreignKey: 'byCode', targetKey: 'code', onDelete: 'SET NULL', onUpdate: 'CASCADE' });
  Badge.belongsTo(Owner, { as: 'giver', foreignKey: 'giverId' });
  return { sequelize, Owner, Pet, Note, Badge };
}

const caches = ({ Pet, Note, Badge }: Models) => ({
  Pet: withCache(Pet, { keys: ['id'], filters: ['owner'] }),
  Note: withCache(Note, { keys: ['id'], filters: ['pet', 'answered'] }),
  Badge: withCache(Badge, { keys: ['id'], filters: ['owner', 'giver'] }),
});

/** Two owners with all that refers to them, and one with nothing. */
async function fill({ sequelize, Owner, Pet, Note, Badge }: Models): Promise<void> {
  for (const { tableName } of [Note, Badge, Pet, Owner]) await sequelize.query(`DELETE FROM ${tableName}`);
  await Owner.bulkCreate([1, 2, 3].map((n) => ({ id: n, name: `owner ${String(n)}`, code: `c${String(n)}` })));
  await Pet.bulkCreate([1, 2, 3, 4].map((n) => ({ id: n, name: `pet ${String(n)}`, ownerId: n < 3 ? 1 : 2 })));
  await Note.bulkCreate([{ id: 1, text: 'a', petId: 1 }, { id: 2, text: 'b', petId: 3 }, { id: 3, text: 'c', petId: 3 }]);
  await Note.bulkCreate([{ id: 4, text: 'd', petId: 3, answeredId: 1 }, { id: 5, text: 'e', petId: null, answeredId: 4 }]);
  await Badge.bulkCreate([{ id: 1, title: 'x', byCode: 'c1', giverId: 2 }, { id: 2, title: 'y', byCode: 'c2', giverId: 1 }, { id: 3, title: 'z', byCode: 'c2', giverId: 2 }]);
}

interface Expected {
  /** Rows that stay cached, by model: all that the write cannot change. */
  readonly stay: { readonly Pet: readonly number[]; readonly Note: readonly number[]; readonly Badge: readonly number[] };
  /** Tables that are void as a whole, and why. */
  readonly wide?: Readonly<Record<string, string>>;
  /** Statements more than plain Sequelize sends, on MariaDB at its own level. */
  readonly extra?: number;
}

const all = { Pet: [1, 2, 3, 4], Note: [1, 2, 3, 4, 5], Badge: [1, 2, 3] };
const nothing: Expected = { stay: all, extra: 0 };
const ofOwner1 = { stay: { Pet: [3, 4], Note: [2, 3], Badge: [3] } };
const everything: Expected = { stay: { Pet: [], Note: [], Badge: [] }, wide: { Pets: 'cascade', Notes: 'cascade', Badges: 'cascade' } };
const pets: Expected = { stay: { ...all, Pet: [], Badge: [] }, wide: { Pets: 'cascade', Badges: 'cascade' } };

type Write = (models: Models, transaction?: Transaction) => Promise<unknown>;
const owner = async ({ Owner }: Models, key: number): Promise<Row> => Owner.findByPk(key, { rejectOnEmpty: true });
const raw = (sql: string): Write => ({ sequelize }, transaction) => sequelize.query(sql, transaction === undefined ? {} : { transaction });
const inTransaction = (transaction: Transaction | undefined): { transaction?: Transaction } => (transaction === undefined ? {} : { transaction });

const writes: Readonly<Record<string, readonly [Write, Expected]>> = {
  create: [({ Owner }, t) => Owner.create({ name: 'new' }, inTransaction(t)), nothing],
  bulkCreate: [({ Owner }, t) => Owner.bulkCreate([{ name: 'new' }, { name: 'newer' }], inTransaction(t)), nothing],
  'bulkCreate, ignoreDuplicates': [({ Owner }, t) => Owner.bulkCreate([{ id: 1, name: 'new' }], { ignoreDuplicates: true, ...inTransaction(t) }), nothing],
  'bulkCreate, updateOnDuplicate of another column': [({ Owner }, t) => Owner.bulkCreate([{ id: 1, name: 'new' }], { updateOnDuplicate: ['name'], conflictAttributes: ['id'], ...inTransaction(t) }), nothing],
  'bulkCreate, updateOnDuplicate of the unique column': [
    ({ Owner }, t) => Owner.bulkCreate([{ id: 1, code: 'c9' }], { updateOnDuplicate: ['code'], conflictAttributes: ['id'], ...inTransaction(t) }),
    { stay: { ...all, Badge: [] }, wide: { Badges: 'cascade' } },
  ],
  'upsert that does not name the key': [({ Owner }, t) => Owner.upsert({ name: 'new' }, inTransaction(t)), nothing],
  'upsert that names the key': [({ Owner }, t) => Owner.upsert({ id: 1, name: 'new' }, inTransaction(t)), pets],
  'instance.update of another column': [async (models, t) => (await owner(models, 1)).update({ name: 'new' }, inTransaction(t)), nothing],
  'Model.update of another column': [({ Owner }, t) => Owner.update({ name: 'new' }, { where: { code: 'c1' }, ...inTransaction(t) }), nothing],
  'increment of another column': [({ Owner }, t) => Owner.increment('visits', { where: { code: 'c1' }, ...inTransaction(t) }), nothing],
  'queryInterface.bulkUpdate of another column': [({ sequelize }, t) => sequelize.getQueryInterface().bulkUpdate('Owners', { name: 'new' }, { id: 1 }, inTransaction(t)), nothing],
  'destroy of one to which nothing refers': [async (models, t) => (await owner(models, 3)).destroy(inTransaction(t)), { stay: all }],
  'destroy by a condition that no row has': [({ Owner }, t) => Owner.destroy({ where: { name: 'nobody' }, ...inTransaction(t) }), { stay: all }],
  'instance.destroy': [async (models, t) => (await owner(models, 1)).destroy(inTransaction(t)), ofOwner1],
  'Model.destroy by primary key': [({ Owner }, t) => Owner.destroy({ where: { id: 1 }, ...inTransaction(t) }), ofOwner1],
  'Model.destroy by a condition': [({ Owner }, t) => Owner.destroy({ where: { name: 'owner 1' }, ...inTransaction(t) }), ofOwner1],
  'Model.destroy, hooks: false': [({ Owner }, t) => Owner.destroy({ where: { id: [1] }, hooks: false, ...inTransaction(t) }), ofOwner1],
  'Model.destroy, individualHooks': [({ Owner }, t) => Owner.destroy({ where: { id: 1 }, individualHooks: true, ...inTransaction(t) }), ofOwner1],
  'Model.destroy of a child, which is cached': [({ Pet }, t) => Pet.destroy({ where: { name: 'pet 1' }, ...inTransaction(t) }), { stay: { ...all, Pet: [2, 3, 4], Note: [2, 3] } }],
  'destroy by a condition with SQL in it': [
    ({ Owner, sequelize }, t) => Owner.destroy({ where: sequelize.literal('id = 1') as never, ...inTransaction(t) }),
    everything,
  ],
  'Model.update of the unique column': [
    ({ Owner }, t) => Owner.update({ code: 'c9' }, { where: { name: 'owner 1' }, ...inTransaction(t) }),
    { stay: { ...all, Badge: [2, 3] } },
  ],
  'Model.update of the key to what it is': [({ Owner }, t) => Owner.update({ id: 2, name: 'new' }, { where: { id: 2 }, ...inTransaction(t) }), { stay: { ...all, Pet: [1, 2], Badge: [2] } }],
  'Model.update of the key': [({ Owner }, t) => Owner.update({ id: 9 }, { where: { id: 1 }, ...inTransaction(t) }), { stay: { ...all, Pet: [3, 4], Badge: [1, 3] } }],
  'queryInterface.bulkUpdate of the key': [({ sequelize }, t) => sequelize.getQueryInterface().bulkUpdate('Owners', { id: 9 }, { id: 1 }, inTransaction(t)), pets],
  'queryInterface.bulkDelete': [({ sequelize }, t) => sequelize.getQueryInterface().bulkDelete('Owners', { id: 1 }, inTransaction(t)), everything],
  'raw INSERT': [raw(`INSERT INTO Owners (name) VALUES ('id')`), nothing],
  'raw UPDATE of another column': [raw(`UPDATE Owners SET name = 'id, owner_code' /* id */ WHERE id = 1 AND owner_code = 'c1'`), nothing],
  'raw UPDATE of the key': [raw('UPDATE Owners SET visits = 1, id = id + 8 WHERE id = 1'), pets],
  'raw UPDATE of the unique column, in quotes': [raw("UPDATE Owners SET `owner_code` = 'c9' WHERE id = 1"), { stay: { ...all, Badge: [] }, wide: { Badges: 'cascade' } }],
  'raw DELETE': [raw('DELETE FROM Owners WHERE id = 1'), everything],
  'raw SQL, with a model and a type that are wrong': [
    ({ sequelize, Owner }, t) => sequelize.query('DELETE FROM Owners WHERE id = 1', { type: 'INSERT', model: Owner, ...inTransaction(t) } as never),
    everything,
  ],
};

for (const name of backendNames) {
  describe(`cascades, on ${name}`, () => {
    let backend: Backend;
    let models: Models;
    let cached: ReturnType<typeof caches>;
    let told: FlashEvents['invalidate']['wide'][number][] = [];
    const listener = (message: unknown): void => {
      told.push(...(message as FlashEvents['invalidate']).wide);
    };

    before(async () => {
      backend = await openBackend(name);
      models = defineModels(backend.sequelize);
      cached = caches(models);
      await backend.sequelize.sync();
      backend.setup();
      subscribe('sequelize-flash:invalidate', listener);
    });

    after(async () => {
      unsubscribe('sequelize-flash:invalidate', listener);
      await backend.close();
    });

    const tables = ['Pet', 'Note', 'Badge'] as const;
    const lists = { Pet: { owner: 'ownerId' }, Note: { pet: 'petId', answered: 'answeredId' }, Badge: { owner: 'byCode', giver: 'giverId' } } as const;
    const keys = [1, 2, 3, 4, 5, 9];
    const valuesOf = (table: (typeof tables)[number], key: number): (readonly [list: string, column: string, value: string | number | null])[] =>
      Object.entries(lists[table]).flatMap(([list, column]) => [[list, column, column === 'byCode' ? `c${String(key)}` : key] as const, [list, column, null] as const]);

    /** What every lookup finds, all asked at once. */
    const fromCache = async (): Promise<unknown> => {
      const found = tables.flatMap((table) =>
        keys.flatMap((key) => [
          cached[table].getOrNone({ id: key }).then((row) => [table, key, row]),
          ...valuesOf(table, key).map(async ([list, , value]) => [table, list, value, await (cached[table].filter as (of: object) => Promise<unknown>)({ [list]: value })]),
        ]),
      );
      return JSON.parse(JSON.stringify(await Promise.all(found))) as unknown;
    };
    /** The same, told from the rows of the tables. */
    const fromDatabase = async (): Promise<unknown> => {
      const found: unknown[] = [];
      for (const table of tables) {
        const rows = await models[table].findAll({ order: ['id'] });
        for (const key of keys) {
          found.push([table, key, rows.find((row) => row.get('id') === key) ?? null]);
          for (const [list, column, value] of valuesOf(table, key)) found.push([table, list, value, rows.filter((row) => row.get(column) === value)]);
        }
      }
      return JSON.parse(JSON.stringify(found)) as unknown;
    };
    const left = async (): Promise<Expected['stay']> => {
      const of = async (table: (typeof tables)[number]): Promise<readonly number[]> => {
        const found = await Promise.all(all[table].map(async (key) => ((await cached[table].getOrNone({ id: key }, { cacheOnly: true })) == null ? [] : [key])));
        return found.flat();
      };
      return { Pet: await of('Pet'), Note: await of('Note'), Badge: await of('Badge') };
    };

    const prime = async (): Promise<void> => {
      await fill(models);
      for (const table of tables) await cached[table].clear();
      await fromCache();
      assert.deepEqual(await left(), all, 'primed');
      told = [];
      backend.reset();
    };
    const check = async (expected: Expected): Promise<void> => {
      const stay = await left();
      assert.deepEqual(await fromCache(), await fromDatabase());
      assert.deepEqual(stay, expected.stay, 'rows that stay cached');
      assert.deepEqual(Object.fromEntries(told.map(({ table, reason }) => [table, reason])), expected.wide ?? {}, 'tables that are void as a whole');
    };

    for (const [what, [write, expected]] of Object.entries(writes)) {
      it(what, async () => {
        await prime();
        await write(models);
        const sent = backend.sql.length;
        if (expected.extra === 0) assert.ok(sent <= 2, `no read more: ${backend.sql.join('\n')}`);
        await check(expected);
      });

      if (name === 'mariadb') {
        it(`${what}, in a transaction`, async () => {
          await prime();
          await models.sequelize.transaction(async (transaction) => {
            await write(models, transaction);
            assert.deepEqual(await left(), all, 'nothing is void before the commit');
          });
          await check(expected);
          await prime();
          const undone = new Error('undone');
          await assert.rejects(
            models.sequelize.transaction(async (transaction) => {
              await write(models, transaction);
              throw undone;
            }),
            undone,
          );
          await check({ stay: all });
        });
      }
    }

    it('of more rows than are read, everything is void', async () => {
      await prime();
      await models.Pet.bulkCreate(Array.from({ length: 1001 }, (_, n) => ({ name: `more ${String(n)}`, ownerId: 1 })));
      await fromCache();
      told = [];
      await models.Owner.destroy({ where: { id: 1 } });
      assert.deepEqual(told.map(({ table, statement, reason }) => [table, statement, reason]), [
        ['Pets', 'BULKDELETE', 'cascade'],
        ['Notes', 'BULKDELETE', 'cascade'],
      ]);
      assert.deepEqual(await fromCache(), await fromDatabase());
    });

    it('a child that is inserted and read between our reads and the statement is not missed', async () => {
      await prime();
      const hold = new Hold();
      const remove = backend.store.intercept((operation) => (operation === 'add' || operation === 'compareAndSwap' ? hold.here() : undefined));
      const destroying = models.Owner.destroy({ where: { id: 1 } });
      await hold.reached;
      // Where rows are locked it has to wait for the end of the parent, and is refused.
      const inserting = models.Pet.create({ id: 77, name: 'late', ownerId: 1 }).then(
        () => cached.Pet.getOrNone({ id: 77 }),
        (error: unknown) => error,
      );
      hold.release();
      remove();
      await Promise.all([destroying, inserting]);
      assert.deepEqual(JSON.stringify(await cached.Pet.getOrNone({ id: 77 })), JSON.stringify(await models.Pet.findByPk(77)));
      assert.deepEqual(await fromCache(), await fromDatabase());
    });

    if (name === 'mariadb') {
      // An INSERT that refers to a unique column locks the entry of its index, which a lock on the row by its primary key leaves free.
      const byCode: Readonly<Record<string, (transaction?: Transaction) => Promise<unknown>>> = {
        'a DELETE by a condition': (t) => models.Owner.destroy({ where: { name: 'owner 1' }, ...inTransaction(t) }),
        'a DELETE by the primary key': (t) => models.Owner.destroy({ where: { id: 1 }, ...inTransaction(t) }),
        'an UPDATE of the unique column': (t) => models.Owner.update({ code: 'c9' }, { where: { id: 1 }, ...inTransaction(t) }),
      };
      const levels: Readonly<Record<string, (write: (transaction?: Transaction) => Promise<unknown>) => Promise<unknown>>> = {
        'autocommitted': (write) => write(),
        'in a transaction': (write) => models.sequelize.transaction(write),
        'at READ COMMITTED': (write) => models.sequelize.transaction({ isolationLevel: 'READ COMMITTED' as never }, write),
      };
      for (const [what, write] of Object.entries(byCode)) {
        for (const [how, run] of Object.entries(levels)) {
          it(`${what}, ${how}: a child that refers to a unique column is not missed if it is inserted after our reads`, async () => {
            await prime();
            await models.Pet.destroy({ where: {} });
            let inserting: Promise<unknown> | undefined;
            const insert = async (): Promise<void> => {
              await models.Badge.create({ id: 77, title: 'late', byCode: 'c1' });
              await cached.Badge.getOrNone({ id: 77 });
            };
            models.sequelize.addHook('afterQuery', 'insert', async (_, query: unknown) => {
              if (inserting !== undefined || !/FROM `Badges`.* FOR UPDATE/.test(String(Reflect.get(query as object, 'sql')))) return;
              inserting = insert().catch(() => undefined);
              // Long enough, where it has not to wait for the write.
              await Promise.race([inserting, new Promise((resolve) => setTimeout(resolve, 1000))]);
            });
            await run(write);
            models.sequelize.removeHook('afterQuery', 'insert');
            await inserting;
            assert.deepEqual(JSON.stringify(await cached.Badge.getOrNone({ id: 77 })), JSON.stringify(await models.Badge.findByPk(77)));
          });
        }
      }
    }
  });
}
