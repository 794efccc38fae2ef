/**
 * Whatever Sequelize accepts as a model's definition, or as options of an instance, works with the cache:
 * each answer is compared with plain `findOne`, cold, warm, after an update and after a destroy, for models
 * that are defined before set-up and after it.
 */
import assert from 'node:assert/strict';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { describe, it } from 'node:test';
import { DataTypes, Model, type ModelAttributes, type ModelOptions, type ModelStatic, type Options, type Sequelize } from 'sequelize';
import type { FlashEvents } from '../../src/index.js';
import { backendNames, openBackend } from '../support/backends.js';
import { cached, type UntypedModel } from '../support/misuse-models.js';
import { makers } from '../support/model-makers.js';

interface Odd {
  readonly attributes?: (sequelize: Sequelize) => object;
  readonly options?: object;
}

const parent = (sequelize: Sequelize): ModelStatic<Model> => (sequelize.models.Parent ?? sequelize.define('Parent', { name: DataTypes.STRING }, { timestamps: false }));

/** Parts of attributes and options that Sequelize takes, each unusual. */
const odd: Readonly<Record<string, Odd>> = {
  'references: null': { attributes: () => ({ other: { type: DataTypes.INTEGER, references: null } }) },
  'references: false': { attributes: () => ({ other: { type: DataTypes.INTEGER, references: false } }) },
  'references: undefined': { attributes: () => ({ other: { type: DataTypes.INTEGER, references: undefined } }) },
  'references: a model': { attributes: (s) => ({ other: { type: DataTypes.INTEGER, references: { model: parent(s), key: 'id' } } }) },
  'references: a table': { attributes: (s) => ({ other: { type: DataTypes.INTEGER, references: { model: parent(s).tableName, key: 'id' } } }) },
  'references: a table as an object': { attributes: (s) => ({ other: { type: DataTypes.INTEGER, references: { model: { tableName: parent(s).tableName }, key: 'id' } } }) },
  'references without a key': { attributes: (s) => ({ other: { type: DataTypes.INTEGER, references: { model: parent(s).tableName, key: 'id' }, onDelete: undefined, onUpdate: undefined } }) },
  'a plain type': { attributes: () => ({ other: DataTypes.INTEGER }) },
  'a type as a text': { attributes: () => ({ other: { type: 'INTEGER' } }) },
  'unique: null': { attributes: () => ({ other: { type: DataTypes.INTEGER, unique: null } }) },
  'unique: false': { attributes: () => ({ other: { type: DataTypes.INTEGER, unique: false } }) },
  'unique: a name': { attributes: () => ({ other: { type: DataTypes.INTEGER, unique: 'one' }, another: { type: DataTypes.INTEGER, unique: 'one' } }) },
  'unique: an object': { attributes: () => ({ other: { type: DataTypes.INTEGER, unique: { name: 'odd_one', msg: 'taken' } } }) },
  'defaultValue: null': { attributes: () => ({ other: { type: DataTypes.INTEGER, defaultValue: null } }) },
  'validate: undefined': { attributes: () => ({ other: { type: DataTypes.INTEGER, validate: undefined } }) },
  'a column with a space': { attributes: () => ({ other: { type: DataTypes.INTEGER, field: 'the other' } }) },
  'a virtual attribute without a getter': { attributes: () => ({ shown: DataTypes.VIRTUAL }) },
  'a virtual attribute of others': { attributes: () => ({ shown: { type: DataTypes.VIRTUAL(DataTypes.STRING, ['name']), get(this: Model): string { return `<${String(this.getDataValue('name'))}>`; } } }) },
  'a getter and a setter': { attributes: () => ({ other: { type: DataTypes.STRING, get(this: Model): string { return `<${String(this.getDataValue('other'))}>`; }, set(this: Model, value: unknown): void { this.setDataValue('other', String(value)); } } }) },
  'an attribute called as a property of every object': { attributes: () => ({ constructorName: { type: DataTypes.STRING, field: 'constructor' }, toJSONs: { type: DataTypes.STRING, field: 'toJSON' } }) },
  'indexes: empty': { options: { indexes: [] } },
  'a unique index with a condition on another name': { options: { indexes: [{ unique: true, fields: ['id', 'name'], name: 'odd_unique' }] } },
  'defaultScope: null': { options: { defaultScope: null } },
  'defaultScope: undefined': { options: { defaultScope: undefined } },
  'defaultScope: a function': { options: { defaultScope: (): object => ({ where: { name: 'nobody' } }) } },
  'defaultScope: where null': { options: { defaultScope: { where: null } } },
  'defaultScope: parts undefined': { options: { defaultScope: { where: undefined, order: undefined, attributes: undefined, include: undefined } } },
  'scopes: empty': { options: { scopes: {} } },
  'hooks: null': { options: { hooks: null } },
  'hooks: empty': { options: { hooks: {} } },
  'validate: empty': { options: { validate: {} } },
  'timestamps under other names': { options: { timestamps: true, createdAt: 'madeAt', updatedAt: false } },
  'underscored, paranoid': { options: { timestamps: true, underscored: true, paranoid: true, deletedAt: 'goneAt' } },
  'a version': { options: { version: true } },
  'a table name with a dot': { options: { tableName: 'odd.table' } },
  'freezeTableName': { options: { freezeTableName: true } },
  'whereMergeStrategy: and': { options: { whereMergeStrategy: 'and', defaultScope: { where: { name: 'a' } } } },
  'rejectOnEmpty': { options: { rejectOnEmpty: true } },
  'getterMethods': { options: { getterMethods: { loud(this: Model): string { return String(this.getDataValue('name')).toUpperCase(); } } } },
  'a primary key of another name': { attributes: () => ({ id: { type: DataTypes.INTEGER, field: 'odd_id', primaryKey: true, autoIncrement: true } }) },
  'omitNull': { options: { omitNull: true } },
};

/** A find's answer, to the last own property. */
function view(found: unknown): unknown {
  if (!(found instanceof Model)) return found;
  const { _options: options, ...own } = found as unknown as Record<string, unknown> & { readonly _options: { readonly attributes?: unknown } };
  return { class: found.constructor, own: Object.keys(own).sort(), values: own.dataValues, previous: own._previousDataValues, shown: JSON.parse(JSON.stringify(found)), attributes: [...((options.attributes ?? []) as string[])].sort() };
}

async function settled(work: () => Promise<unknown>): Promise<unknown> {
  try {
    return view(await work());
  } catch (error) {
    return (error as Error).name.replace(/^\w*DoesNotExist$/, 'SequelizeEmptyResultError');
  }
}

/** Compares lookups with plain finds, through the life of a row. */
async function compare(model: UntypedModel, what: string): Promise<void> {
  const plain = model as unknown as ModelStatic<Model>;
  const at = (id: unknown) => ({ where: { id } as never, rejectOnEmpty: false as const });
  const row = await plain.create({ name: 'a' } as never);
  const id = row.get('id') as number;
  const same = async (when: string): Promise<void> => {
    for (const round of ['cold', 'warm']) {
      assert.deepStrictEqual(await settled(() => model.cache.getOrNone({ id })), await settled(() => plain.findOne(at(id))), `${what}, ${when}, ${round}`);
      assert.deepStrictEqual(
        ((await model.cache.filter({ name: 'a' })) as unknown[]).map(view),
        // A list that is empty is none of the answers that `rejectOnEmpty` is about.
        (await plain.findAll({ where: { name: 'a' } as never, order: ['id'], rejectOnEmpty: false } as object)).map(view),
        `${what}, the list, ${when}, ${round}`,
      );
    }
  };
  await same('created');
  await row.update({ name: 'b' } as never);
  await same('updated');
  await plain.update({ name: 'a' }, { where: { id } });
  await same('updated by a condition');
  await row.destroy();
  await same('destroyed');
}

const attributesOf = (sequelize: Sequelize, { attributes }: Odd): ModelAttributes => ({ name: DataTypes.STRING, ...attributes?.(sequelize) }) as ModelAttributes;

for (const backendName of backendNames) {
  describe(`odd but valid definitions (${backendName})`, () => {
    for (const [what, one] of Object.entries(odd)) {
      it(what, async () => {
        const backend = await openBackend(backendName);
        try {
          const { sequelize } = backend;
          const define = (name: string): UntypedModel => {
            const model = sequelize.define(name, attributesOf(sequelize, one), { timestamps: false, ...one.options } as ModelOptions);
            cached(model, { keys: ['id'], filters: ['name'] });
            return model as unknown as UntypedModel;
          };
          const early = define('Early');
          // Nothing is declared of this one.
          sequelize.define('Aside', attributesOf(sequelize, { ...one, attributes: (s) => ({ ...(one.attributes?.(s) ?? {}) }) }), { timestamps: false, ...one.options, tableName: 'aside', indexes: [] } as ModelOptions);
          backend.setup();
          const isAlone = one.options !== undefined && ('tableName' in one.options || 'indexes' in one.options);
          const late = isAlone ? undefined : define('Late');
          await sequelize.sync();
          await compare(early, 'early');
          if (late !== undefined) await compare(late, 'late');
        } finally {
          await backend.close();
        }
      });
    }
  });
}

// ---- Options of a Sequelize instance ------------------------------------------------------------

/** Defaults that hold for all queries, or all models. */
const globals: Readonly<Record<string, { readonly options: Options; readonly passedThrough: boolean }>> = {
  'query: raw': { options: { query: { raw: true } }, passedThrough: true },
  'query: raw and nest': { options: { query: { raw: true, nest: true } }, passedThrough: true },
  'query: nest': { options: { query: { nest: true } }, passedThrough: false },
  'query: raw false': { options: { query: { raw: false } }, passedThrough: false },
  'query: logging, benchmark': { options: { query: { logging: false, benchmark: true } }, passedThrough: false },
  'query: empty': { options: { query: {} }, passedThrough: false },
  'define: underscored, paranoid': { options: { define: { underscored: true, paranoid: true, timestamps: true } }, passedThrough: false },
  'define: a default scope': { options: { define: { defaultScope: { where: { name: 'a' } } } }, passedThrough: true },
  'define: rejectOnEmpty': { options: { define: { rejectOnEmpty: true } as never }, passedThrough: false },
  'define: raw': { options: { define: { raw: true } as never }, passedThrough: false },
  'define: freezeTableName, charset': { options: { define: { freezeTableName: true, charset: 'utf8mb4' } }, passedThrough: false },
};

for (const backendName of backendNames) {
  describe(`options of the Sequelize instance (${backendName})`, () => {
    for (const [what, { options, passedThrough }] of Object.entries(globals)) {
      it(what, async () => {
        const { query, ...others } = options;
        const backend = await openBackend(backendName, { options: others });
        const told: FlashEvents['passthrough'][] = [];
        const listen = (message: unknown): void => void told.push(message as FlashEvents['passthrough']);
        subscribe('sequelize-flash:passthrough', listen);
        try {
          const { sequelize } = backend;
          const Team = sequelize.define('Team', { name: DataTypes.STRING });
          const User = sequelize.define('User', { name: DataTypes.STRING, code: DataTypes.STRING });
          User.belongsTo(Team, { as: 'team', foreignKey: 'teamId' });
          cached(Team, { keys: ['id'] });
          cached(User, { keys: ['id', 'code'], filters: ['name'], cachedForeignKeys: ['team'] });
          const model = User as unknown as UntypedModel;
          backend.setup();
          await sequelize.sync();
          const rows = sequelize.getQueryInterface();
          const stamps = Object.fromEntries(['createdAt', 'updatedAt'].flatMap((name) => (User.getAttributes()[name] === undefined ? [] : [[(User.getAttributes() as Record<string, { field?: string }>)[name]?.field ?? name, new Date(0)]])));
          await rows.bulkInsert(Team.getTableName(), [{ id: 1, name: 'a', ...stamps }]);
          const teamColumn = (User.getAttributes() as Record<string, { field?: string }>).teamId?.field ?? 'teamId';
          await rows.bulkInsert(User.getTableName(), [1, 2, 3].map((id) => ({ id, name: id === 3 ? 'b' : 'a', code: `c${id}`, [teamColumn]: 1, ...stamps })));
          // With `nest` Sequelize itself cannot create a table.
          (sequelize as unknown as { readonly options: { query?: unknown } }).options.query = query ?? {};
          const plain = <T>(find: () => Promise<T>) => settled(find);
          for (const round of ['cold', 'warm']) {
            for (const id of [1, 3, 9]) {
              assert.deepStrictEqual(await settled(() => model.cache.get({ id })), await plain(() => User.findOne({ where: { id }, rejectOnEmpty: true })), `get ${id}, ${round}`);
              assert.deepStrictEqual(await settled(() => model.cache.getOrNone({ code: `c${id}` })), await plain(() => User.findOne({ where: { code: `c${id}` }, rejectOnEmpty: false })), `by code ${id}, ${round}`);
            }
            const list = (await model.cache.filter({ name: 'a' })) as unknown as unknown[];
            assert.deepStrictEqual(list.map(view), ((await User.findAll({ where: { name: 'a' }, order: ['id'], rejectOnEmpty: false } as object)) as unknown[]).map(view), `filter, ${round}`);
            const many = (await model.cache.getMany([{ id: 2 }, { id: 1 }])) as unknown[];
            assert.deepStrictEqual(many.map(view), await Promise.all([2, 1].map(async (id) => view(await User.findOne({ where: { id }, rejectOnEmpty: false })))), `getMany, ${round}`);
          }
          // Written by a condition: the plugin itself has to read rows.
          await User.update({ name: 'z' }, { where: { code: 'c1' } });
          assert.deepStrictEqual(await settled(() => model.cache.getOrNone({ id: 1 })), await plain(() => User.findOne({ where: { id: 1 }, rejectOnEmpty: false })), 'after an update by a condition');
          const instance = await User.findOne({ where: { id: 3 }, raw: false, rejectOnEmpty: false });
          if (instance !== null) {
            const getter = instance as unknown as { getTeam(): Promise<unknown> };
            const answer = view(await getter.getTeam());
            assert.deepStrictEqual(answer, view(await Team.findOne({ where: { id: 1 } })), 'the getter of a cached foreign key');
          }
          assert.equal(told.length > 0, passedThrough, JSON.stringify(told));
          assert.equal(new Set(told.map(({ model: of, reason }) => `${of} ${reason}`)).size, told.length, 'each is told once');
        } finally {
          unsubscribe('sequelize-flash:passthrough', listen);
          await backend.close();
        }
      });
    }
  });
}

// ---- How a model makes its instances --------------------------------------------------------------

for (const backendName of backendNames) {
  describe(`models that make their instances themselves (${backendName})`, () => {
    for (const [what, make] of Object.entries(makers)) {
      it(what, async () => {
        const backend = await openBackend(backendName);
        try {
          const Made = make();
          Made.init({ name: DataTypes.STRING }, { sequelize: backend.sequelize, timestamps: false, modelName: 'Made' });
          cached(Made, { keys: ['id', 'name'], filters: ['name'] });
          backend.setup();
          await backend.sequelize.sync();
          const model = Made as unknown as UntypedModel;
          await Made.create({ name: 'ann' });
          for (const round of ['cold', 'warm']) {
            assert.deepStrictEqual(view(await model.cache.get({ id: 1 })), view(await Made.findByPk(1)), round);
            assert.deepStrictEqual(Object.entries(await model.cache.get({ name: 'ann' })).filter(([, value]) => typeof value !== 'object'), Object.entries((await Made.findByPk(1)) ?? {}).filter(([, value]) => typeof value !== 'object'), round);
            assert.deepStrictEqual(((await model.cache.filter({ name: 'ann' })) as unknown[]).map(view), (await Made.findAll({ where: { name: 'ann' } })).map(view), round);
          }
          if (what === 'private fields') assert.equal(((await model.cache.get({ id: 1 })) as unknown as { secret: number }).secret, 5);
        } finally {
          await backend.close();
        }
      });
    }

    it('a bulkBuild that is set after the model was bound, and taken away again', async () => {
      const backend = await openBackend(backendName);
      try {
        const Made = backend.sequelize.define('Made', { name: DataTypes.STRING }, { timestamps: false });
        cached(Made, { keys: ['id'] });
        backend.setup();
        await backend.sequelize.sync();
        const model = Made as unknown as UntypedModel;
        await Made.create({ name: 'ann' });
        await model.cache.get({ id: 1 });
        const original = Made.bulkBuild.bind(Made) as (...given: unknown[]) => Model[];
        Reflect.set(Made, 'bulkBuild', (...given: unknown[]) => original(...given).map((one) => Object.assign(one, { mark: 1 })));
        assert.equal(Reflect.get(await model.cache.get({ id: 1 }), 'mark'), 1);
        Reflect.deleteProperty(Made, 'bulkBuild');
        assert.equal(Reflect.get(await model.cache.get({ id: 1 }), 'mark'), undefined);
      } finally {
        await backend.close();
      }
    });
  });
}
