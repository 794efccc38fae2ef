/**
 * Many lookups of one tick, cold: one statement for each cache, and for each lookup the answer that it
 * gets alone, in a transaction, and from plain Sequelize with the primary key as last order.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { DataTypes, type Attributes, type Model, type ModelAttributes, type ModelOptions, type ModelStatic, type Order, type Transaction, type WhereOptions } from 'sequelize';
import { QuerysetCache, QuerysetCountCache, QuerysetExistsCache, withCache } from '../../src/index.js';
import { Random } from '../oracle/random.js';
import { backendNames, openBackend, type Backend, type BackendName } from '../support/backends.js';
import { drawn } from '../support/matrix.js';
import { seed } from '../support/seed.js';

/** Values of key fields, each in spellings that some collation or type takes for the same, and near misses. */
const pools: Readonly<Record<string, { readonly type: unknown; readonly values: readonly unknown[]; readonly onlyOn?: BackendName }>> = {
  text: { type: DataTypes.STRING(40), values: ['bill', 'BILL', 'Bill ', 'bíll', 'emma', 'Emmä', 'straße', 'strasse', '', ' ', '😀', '🎉', "o'neil", 'a?b:c $1'] },
  exactText: { type: DataTypes.STRING(40, true), values: ['bill', 'BILL', 'bill ', 'bíll', 'emma', '', '😀'] },
  code: { type: DataTypes.CHAR(6), values: ['ab', 'AB', 'ab  ', 'b', 'çb', 'cb'] },
  whole: { type: DataTypes.INTEGER, values: [0, 1, -1, 7, 8, 2_147_483_647] },
  big: { type: DataTypes.BIGINT, values: ['9007199254740993', '9007199254740992', '9007199254740991', 5, 6, '-9007199254740995'], onlyOn: 'mariadb' },
  money: { type: DataTypes.DECIMAL(30, 4), values: ['12.3', '12.30', '12.3001', '-1', '0', '12345678901234567890.1', '12345678901234567890.2'], onlyOn: 'mariadb' },
  price: { type: DataTypes.DECIMAL(10, 2), values: ['12.3', '12.30', '12.5', '-1', '0'] },
  ratio: { type: DataTypes.DOUBLE, values: [0.1, 0.5, 1e100, -2.25, 0.30000000000000004, 0.3] },
  single: { type: DataTypes.FLOAT, values: [0.5, 0.25, 100, -3] },
  flag: { type: DataTypes.BOOLEAN, values: [true, false] },
  at: { type: DataTypes.DATE(3), values: ['2020-01-01T00:00:00.000Z', '2020-01-01T00:00:00.500Z', '2020-01-01T00:00:00.501Z', '2021-06-01T12:30:00.000Z'].map((text) => new Date(text)) },
  day: { type: DataTypes.DATEONLY, values: ['2020-02-29', '2020-03-01', '1999-12-31'] },
  time: { type: DataTypes.TIME, values: ['10:00:00', '10:00:01', '23:59:59'] },
  uuid: { type: DataTypes.UUID, values: ['0f8fad5b-d9cb-469f-a165-70867728950e', '0F8FAD5B-D9CB-469F-A165-70867728950E', '7c9e6679-7425-40de-944b-e07fc1f90ae7'] },
  kind: { type: DataTypes.ENUM('red', 'Green', 'blue'), values: ['red', 'Green', 'blue'] },
  bytes: { type: DataTypes.BLOB('tiny'), values: [Buffer.from('a'), Buffer.from('A'), Buffer.from([0, 255]), Buffer.alloc(0)] },
};

type Row = Model<Record<string, unknown>, Record<string, unknown>>;
type Rows = ModelStatic<Row>;
type Values = Readonly<Record<string, unknown>>;

/** How a model is declared, beside its key columns. */
interface Variant {
  readonly primaryKey: ModelAttributes;
  readonly options?: ModelOptions;
  /** Columns have other names than attributes. */
  readonly mapped?: boolean;
  /** A primary key for the row of this number; the database chooses one otherwise. */
  readonly keyOf?: (at: number) => Values;
}

const autoIncrement: ModelAttributes = { id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true } };
const variants: Readonly<Record<string, Variant>> = {
  plain: { primaryKey: autoIncrement },
  mapped: { primaryKey: { id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true, field: 'row_no' } }, mapped: true },
  paranoid: { primaryKey: autoIncrement, options: { paranoid: true, timestamps: true, createdAt: false, updatedAt: false } },
  scoped: { primaryKey: autoIncrement, options: { defaultScope: { where: { live: true } } } },
  'scoped and ordered': { primaryKey: autoIncrement, options: { defaultScope: { where: { live: true }, order: [['rank', 'DESC']] } }, mapped: true },
  'scoped by attributes': { primaryKey: autoIncrement, options: { defaultScope: { attributes: ['id', 'rank'] } } },
  'text primary key': { primaryKey: { id: { type: DataTypes.STRING(20), primaryKey: true } }, keyOf: (at) => ({ id: `${'zYxäb'.charAt(at % 5)}${String(at)}` }) },
  'composite primary key': {
    primaryKey: { part: { type: DataTypes.INTEGER, primaryKey: true }, no: { type: DataTypes.STRING(10), primaryKey: true, field: 'number' } },
    keyOf: (at) => ({ part: 9 - (at % 10), no: `n${String((at * 7) % 100)}` }),
  },
};

/** How lookups of one tick are made, and the same without the cache. */
interface Kind {
  readonly name: string;
  ask(model: Rows, values: Values, options?: { readonly transaction: Transaction }): Promise<unknown>;
  plain(model: Rows, values: Values, options: { readonly transaction?: Transaction }): Promise<unknown>;
}

const primaryKeyOrder = (model: Rows): [string, 'ASC'][] => model.primaryKeyAttributes.map((name) => [name, 'ASC']);

interface CacheClasses {
  readonly latest: new (values: Values) => QuerysetCache<Row>;
  readonly count: new (values: Values) => QuerysetCountCache<Row>;
  readonly exists: new (values: Values) => QuerysetExistsCache<Row>;
}

/** Caches of each family on the same key fields. */
function cacheClassesOf(model: Rows, fields: readonly string[]): CacheClasses {
  const stem = `${model.name}By${fields.join('')}`;
  const named = <C extends new (...args: never[]) => unknown>(suffix: string, cacheClass: C): C =>
    Object.defineProperty(cacheClass, 'name', { value: `${stem}${suffix}` });
  return {
    latest: named('Latest', class extends QuerysetCache<Row> {
      static model = model;
      static keyFields = fields;
      static order: Order = [['rank', 'DESC']];
      static limit = 3;
    }) as unknown as CacheClasses['latest'],
    count: named('Count', class extends QuerysetCountCache<Row> {
      static model = model;
      static keyFields = fields;
    }) as unknown as CacheClasses['count'],
    exists: named('Exists', class extends QuerysetExistsCache<Row> {
      static model = model;
      static keyFields = fields;
    }) as unknown as CacheClasses['exists'],
  };
}

function kindsOf(fields: readonly string[], { latest: Latest, count: Count, exists: Exists }: CacheClasses): readonly Kind[] {
  const where = (values: Values): WhereOptions => Object.fromEntries(fields.map((name) => [name, values[name]]));
  const latest: Order = [['rank', 'DESC']];
  return [
    {
      name: 'getOrNone',
      ask: (model, values, options) => managerOf(model).getOrNone(values, options),
      plain: (model, values, options) => model.findOne({ where: where(values), order: primaryKeyOrder(model), ...options }),
    },
    {
      name: 'filter',
      ask: (model, values, options) => managerOf(model).filter(values, options),
      plain: (model, values, options) => model.findAll({ where: where(values), order: primaryKeyOrder(model), ...options }),
    },
    {
      name: 'a list with order and limit',
      ask: (_, values, options) => new Latest(values).resolve(options),
      plain: (model, values, options) => model.findAll({ where: where(values), order: [...(latest as [string, string][]), ...primaryKeyOrder(model)], limit: 3, ...options }),
    },
    {
      name: 'a count',
      ask: (_, values, options) => new Count(values).resolve(options),
      plain: (model, values, options) => model.count({ where: where(values), ...options }),
    },
    {
      name: 'existence',
      ask: (_, values, options) => new Exists(values).resolve(options),
      plain: async (model, values, options) => (await model.findOne({ where: where(values), ...options })) !== null,
    },
  ];
}

interface Lookups {
  getOrNone(values: Values, options?: object): Promise<unknown>;
  filter(values: Values, options?: object): Promise<unknown>;
  clear(): Promise<unknown>;
}

const managers = new Map<Rows, Lookups>();
const managerOf = (model: Rows): Lookups => managers.get(model) as Lookups;

/** What an answer holds, hidden attributes and bookkeeping included. */
function told(answer: unknown): unknown {
  if (Array.isArray(answer)) return answer.map(told);
  if (typeof answer !== 'object' || answer === null) return answer;
  const { dataValues, _previousDataValues: previous, _options: { attributes } } = answer as unknown as {
    dataValues: Values;
    _previousDataValues: Values;
    _options: { attributes: readonly unknown[] };
  };
  return { dataValues, previous, attributes: attributes.map((one) => (Array.isArray(one) ? one[1] as unknown : one)).sort() };
}

for (const backendName of backendNames) {
  describe(`lookups of one tick on ${backendName}`, () => {
    const columns = Object.entries(pools).filter(([, { onlyOn }]) => onlyOn === undefined || onlyOn === backendName);
    const fieldLists: readonly (readonly string[])[] = [...columns.map(([name]) => [name]), ['text', 'whole'], ['at', 'flag'], ['kind', 'text', 'price']];
    let backend: Backend;
    const models = new Map<string, { readonly model: Rows; readonly kinds: ReadonlyMap<string, readonly Kind[]> }>();
    const at = seed();
    const random = new Random(at);
    const valueOf = (name: string): unknown => (random.once(8) ? null : random.pick((pools[name] as { values: readonly unknown[] }).values));

    before(async () => {
      backend = await openBackend(backendName);
      const { sequelize } = backend;
      for (const [name, variant] of Object.entries(variants)) {
        const keyColumns = Object.fromEntries(
          columns.map(([column, { type }]) => [column, { type: type as string, allowNull: true, ...(variant.mapped === true ? { field: `f_${column}` } : {}) }]),
        );
        const model: Rows = sequelize.define<Row>(
          `Row${name.replaceAll(/[^a-z]/g, '')}`,
          { ...variant.primaryKey, ...keyColumns, live: DataTypes.BOOLEAN, rank: DataTypes.INTEGER },
          { timestamps: false, ...variant.options },
        );
        const classes = fieldLists.map((fields) => [fields, cacheClassesOf(model, fields)] as const);
        managers.set(
          model,
          withCache(model, {
            keys: fieldLists.map((fields) => [...fields]) as never,
            filters: fieldLists.map((fields) => [...fields]) as never,
            caches: classes.flatMap(([, one]) => [one.latest, one.count, one.exists]) as never,
          }),
        );
        models.set(name, { model, kinds: new Map(classes.map(([fields, one]) => [fields.join(' + '), kindsOf(fields, one)])) });
      }
      await sequelize.sync();
      for (const [name, { keyOf }] of Object.entries(variants)) {
        const { model } = models.get(name) as { readonly model: Rows };
        await model.bulkCreate(
          Array.from({ length: 60 }, (_, row) => ({
            ...keyOf?.(row),
            ...Object.fromEntries(columns.map(([column]) => [column, valueOf(column)])),
            live: !random.once(4),
            rank: random.below(4),
          })),
        );
        if (model.options.paranoid === true) await model.destroy({ where: { rank: 3 } as WhereOptions<Attributes<Row>> });
      }
      backend.setup();
    });
    after(() => backend.close());

    for (const name of Object.keys(variants)) {
      it(`have the answers of single ones: ${name} (SEED=${String(at)})`, async () => {
        const { model, kinds } = models.get(name) as { readonly model: Rows; readonly kinds: ReadonlyMap<string, readonly Kind[]> };
        for (const [fields, kindsOfFields] of drawn([...kinds], random)) {
          const asked = random.list(6, () => Object.fromEntries(fields.split(' + ').map((field) => [field, valueOf(field)])));
          for (const kind of kindsOfFields) {
            const where = `${kind.name} of ${fields}: ${JSON.stringify(asked)}`;
            const expected: unknown[] = [];
            for (const values of asked) expected.push(told(await kind.plain(model, values, {})));
            await managerOf(model).clear();
            backend.reset();
            const cold = await Promise.all(asked.map((values) => kind.ask(model, values)));
            assert.ok(backend.sql.length <= 2, `${where}\n${backend.sql.join('\n')}`);
            assert.deepEqual(cold.map(told), expected, `cold, ${where}\n${backend.sql.join('\n')}`);
            const warm = await Promise.all(asked.map((values) => kind.ask(model, values)));
            assert.deepEqual(warm.map(told), expected, `warm, ${where}`);
            await managerOf(model).clear();
            const alone = [];
            for (const values of asked) alone.push(told(await kind.ask(model, values)));
            assert.deepEqual(alone, expected, `alone, ${where}`);
            await backend.sequelize.transaction(async (transaction) => {
              for (const [index, values] of asked.entries()) {
                assert.deepEqual(told(await kind.ask(model, values, { transaction })), expected[index], `in a transaction, ${where}`);
              }
            });
          }
        }
      });
    }
  });
}
