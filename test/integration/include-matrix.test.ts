/**
 * Instances with others included, as the cache puts them together, against `findOne({ include })`: random
 * models with random default scopes and associations, cold, warm and in a transaction. Children are in the
 * order of their primary key.
 */
import assert from 'node:assert/strict';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { after, before, describe, it } from 'node:test';
import { DatabaseError, DataTypes, type FindOptions, type Model, type ModelAttributes, type ModelStatic } from 'sequelize';
import { DoesNotExist, InstanceCache, withCache } from '../../src/index.js';
import { Random } from '../oracle/random.js';
import { backendNames, openBackend, type Backend } from '../support/backends.js';
import { matrixPart } from '../support/matrix.js';
import { seed } from '../support/seed.js';

type Values = Readonly<Record<string, unknown>>;
type Row = Model<Record<string, unknown>, Record<string, unknown>>;
type Rows = ModelStatic<Row>;

/** An include, as a cache class and as a find take it. */
interface Item {
  readonly association: string;
  readonly include?: readonly Item[];
}

interface Page {
  readonly key: string;
  readonly include: readonly Item[];
  readonly Cache: new (value: unknown) => InstanceCache<Row>;
}

interface World {
  readonly models: readonly [Rows, Rows, Rows];
  readonly pages: readonly Page[];
  /** What the world is made of, for messages. */
  readonly text: string;
}

const worlds = Math.ceil(24 * matrixPart);
const pagesOfWorld = 7;

const scopes: Readonly<Record<string, FindOptions | undefined>> = {
  none: undefined,
  where: { where: { live: true } },
  'where and order': { where: { live: true }, order: [['rank', 'DESC']] },
  order: { order: [['rank', 'DESC']] },
  attributes: { attributes: ['id', 'rank', 'code', 'group', 'aId', 'bId', 'cId'] },
  'where and attributes': { where: { live: true }, attributes: { exclude: ['note'] } },
  'attributes without the primary key': { attributes: ['rank', 'code', 'group', 'aId', 'bId', 'cId'] },
};

const columns = (random: Random, textIds: boolean): ModelAttributes => ({
  id: textIds
    ? { type: DataTypes.STRING(8), primaryKey: true }
    : { type: DataTypes.INTEGER, primaryKey: true, ...(random.once(3) ? { field: 'row_id' } : {}) },
  code: { type: DataTypes.STRING(10), unique: true },
  group: { type: DataTypes.INTEGER, ...(random.once(2) ? { field: 'grp' } : {}) },
  rank: DataTypes.INTEGER,
  live: DataTypes.BOOLEAN,
  note: DataTypes.STRING(10),
});

/** Whether the default scope of a model leaves its primary key out. */
function hidesKey({ options }: Rows): boolean {
  const attributes = options.defaultScope?.attributes;
  return Array.isArray(attributes) && !attributes.includes('id');
}

/** Defines three models that are associated at random, and caches of what they include. */
function worldOf(backend: Backend, random: Random, number: number): World {
  const { sequelize } = backend;
  const texts: string[] = [];
  const textIds = random.once(3);
  const [A, B, C] = ['A', 'B', 'C'].map((letter): Rows => {
    const scope = random.weighted([[4, 'none'], [3, 'where'], [1, 'where and order'], [1, 'order'], [1, 'attributes'], [1, 'where and attributes'], [letter === 'A' ? 0 : 0.3, 'attributes without the primary key']] as const);
    const paranoid = random.once(4);
    texts.push(`${letter}: ${scope}${paranoid ? ', paranoid' : ''}`);
    const foreignKeys = Object.fromEntries(['aId', 'bId', 'cId'].map((name) => [name, { type: textIds ? DataTypes.STRING(8) : DataTypes.INTEGER, ...(random.once(2) ? { field: `${name}_` } : {}) }]));
    return sequelize.define<Row>(`World${String(number)}${letter}`, { ...columns(random, textIds), ...foreignKeys }, {
      timestamps: paranoid,
      ...(paranoid ? { paranoid, createdAt: false, updatedAt: false } : {}),
      ...(scopes[scope] === undefined ? {} : { defaultScope: scopes[scope] as never }),
    });
  }) as [Rows, Rows, Rows];
  const associate = (from: Rows, to: Rows, as: string): void => {
    const foreignKey = `${to === A ? 'a' : to === B ? 'b' : 'c'}Id`;
    const backKey = `${from === A ? 'a' : from === B ? 'b' : 'c'}Id`;
    const type = random.pick(['belongsTo', 'hasOne', 'hasMany', 'belongsToMany'] as const);
    texts.push(`${from.name} ${type} ${to.name} as ${as}`);
    switch (type) {
      case 'belongsTo':
        from.belongsTo(to, { as, foreignKey, constraints: false });
        break;
      case 'hasOne':
        from.hasOne(to, { as, foreignKey: backKey, constraints: false });
        break;
      case 'hasMany':
        from.hasMany(to, { as, foreignKey: backKey, constraints: false });
        break;
      default: {
        const through = sequelize.define(`${from.name}${as}`, { mark: DataTypes.INTEGER }, { timestamps: random.once(2), updatedAt: false });
        from.belongsToMany(to, { as, through, foreignKey: 'fromId', otherKey: 'toId', constraints: false });
      }
    }
  };
  associate(A, B, 'first');
  associate(A, B, 'second');
  associate(A, C, 'third');
  associate(B, C, 'leaf');
  associate(B, A, 'back');
  associate(C, B, 'up');
  /** Of many rows without their primary key Sequelize keeps the one that the database happens to send first. */
  const isDefinite = (model: Rows, name: string): boolean => {
    const { isMultiAssociation, target } = model.associations[name] as unknown as { readonly isMultiAssociation: boolean; readonly target: Rows };
    return !/world/i.test(name) && !(isMultiAssociation && hidesKey(target));
  };
  const itemsOf = (model: Rows, depth: number): Item[] => {
    const names = Object.keys(model.associations).filter((name) => isDefinite(model, name));
    if (names.length === 0) return [];
    const chosen = names.filter(() => random.once(2)).slice(0, depth === 1 ? 3 : 2);
    return (chosen.length === 0 ? [random.pick(names)] : chosen).map((association) => {
      const target = (model.associations[association] as { readonly target: Rows }).target;
      // Nothing leads on from a row without its primary key.
      const inner = depth < 3 && !hidesKey(target) && random.once(2) ? itemsOf(target, depth + 1) : [];
      return { association, ...(inner.length > 0 ? { include: inner } : {}) };
    });
  };
  const pages = random.list(pagesOfWorld, () => ({ key: random.weighted([[3, 'id'], [2, 'code'], [2, 'group']] as const), include: itemsOf(A, 1) })).filter(({ include }) => include.length > 0).map(({ key, include }, at): Page => {
    const Cache = class extends InstanceCache<Row> {
      static model = A;
      static keyFields = [key];
      static include = include as never;
    };
    Object.defineProperty(Cache, 'name', { value: `World${String(number)}Page${String(at)}` });
    return { key, include, Cache: Cache as unknown as Page['Cache'] };
  });
  withCache(A, { keys: ['id'] as never, caches: pages.map(({ Cache }) => Cache) as never });
  return { models: [A, B, C], pages, text: texts.join('; ') };
}

async function fill({ models }: World, sequelize: Backend['sequelize'], random: Random): Promise<void> {
  const idOf = (model: Rows, at: number): unknown => (model.getAttributes().id?.type instanceof DataTypes.STRING ? `k${String(at)}` : at);
  const rows = 7;
  for (const model of models) {
    // Several rows that one `hasOne` leads to are the subject of another test.
    const referred = random.list(rows, () => random.below(rows) + 1);
    const distinct = (): number[] => Array.from({ length: rows }, (_, at) => at + 1).sort(() => random.next() - 0.5);
    const isOne = models.some((from) => Object.values(from.associations).some((one) => one.associationType === 'HasOne' && one.target === model));
    const [a, b, c] = [1, 2, 3].map(() => (isOne ? distinct() : random.list(rows, () => random.pick(referred)))) as [number[], number[], number[]];
    await model.bulkCreate(
      Array.from({ length: rows }, (_, at) => ({
        id: idOf(model, at + 1),
        code: random.once(6) ? null : `c${String(at)}`,
        group: random.below(3),
        rank: random.below(3),
        live: !random.once(4),
        note: 'n',
        aId: random.once(5) ? null : idOf(models[0], a[at] as number),
        bId: random.once(5) ? null : idOf(models[1], b[at] as number),
        cId: random.once(5) ? null : idOf(models[2], c[at] as number),
      })),
    );
    if (model.options.paranoid === true) await model.destroy({ where: { rank: 2 } });
  }
  for (const through of Object.values(sequelize.models) as Rows[]) {
    const own = models.find((model) => through.name.startsWith(model.name) && through !== model);
    if (own === undefined) continue;
    const association = Object.values(own.associations).find((one) => (one as unknown as { through?: { model: unknown } }).through?.model === through);
    if (association === undefined) continue;
    const pairs = new Set(random.list(14, () => `${String(random.below(rows) + 1)} ${String(random.below(rows) + 1)}`));
    await through.bulkCreate(
      Array.from(pairs, (pair) => pair.split(' ').map(Number) as [number, number]).map(([from, to]) => ({ fromId: idOf(own, from), toId: idOf(association.target as Rows, to), mark: random.below(9) })),
    );
  }
}

/**
 * An instance as plain values, with lists in the order of the primary key where `sorted`.
 */
function told(found: Row | null, sorted: boolean): unknown {
  const plain = (value: unknown): unknown => {
    if (Array.isArray(value)) {
      const rows = value.map(plain) as Values[];
      return sorted ? rows.sort((a, b) => ((a.id as number) < (b.id as number) ? -1 : 1)) : rows;
    }
    if (typeof value !== 'object' || value === null || value instanceof Date) return value;
    return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, plain(item)]));
  };
  return found === null ? null : plain(found.get({ plain: true }));
}

for (const backendName of backendNames) {
  describe(`included instances on ${backendName}`, () => {
    const at = seed();
    const random = new Random(at);
    let backend: Backend;
    let all: readonly World[];
    const passedThrough = new Set<string>();
    const onPassThrough = (message: unknown): void => {
      passedThrough.add((message as { readonly detail: string }).detail.split(' ', 1)[0] ?? '');
    };

    before(async () => {
      subscribe('sequelize-flash:passthrough', onPassThrough);
      backend = await openBackend(backendName);
      all = Array.from({ length: worlds }, (_, number) => worldOf(backend, random, number));
      await backend.sequelize.sync();
      for (const world of all) await fill(world, backend.sequelize, random);
      backend.setup();
    });
    after(async () => {
      unsubscribe('sequelize-flash:passthrough', onPassThrough);
      await backend.close();
    });

    it(`equal findOne({ include }) (SEED=${String(at)})`, async () => {
      let compared = 0;
      for (const { models: [A], pages, text } of all) {
        const rows = await A.unscoped().findAll({ paranoid: false, raw: true });
        for (const { key, include, Cache } of pages) {
          const values = [...new Set(rows.map((row) => (row as unknown as Values)[key])), ...(key === 'id' ? [] : [null])];
          for (const value of values.slice(0, 6)) {
            const plain = structuredClone(include) as never;
            // Of some nested includes with a limit Sequelize makes statements that no database takes.
            const found = await A.findOne({ where: { [key]: value as string }, order: [['id', 'ASC']], include: plain }).catch((error: unknown) => {
              if (error instanceof DatabaseError) return undefined;
              throw error;
            });
            if (found === undefined) continue;
            const expected = told(found, true);
            const where = `${key} ${String(value)}, include ${JSON.stringify(include)} of ${text}`;
            const get = async (options?: object): Promise<unknown> =>
              told(await new Cache(value).resolve(options).catch((error: unknown) => (error instanceof DoesNotExist ? null : Promise.reject(error as Error))), false);
            assert.deepEqual(await get(), expected, `cold: ${where}`);
            assert.deepEqual(await get(), expected, `warm: ${where}`);
            assert.deepEqual(await backend.sequelize.transaction((transaction) => get({ transaction })), expected, `in a transaction: ${where}`);
            compared += 3;
          }
        }
      }
      const classes = all.reduce((sum, { pages }) => sum + pages.length, 0);
      assert.ok(compared > classes * 4, `only ${String(compared)} answers were compared`);
      // A cache that passes everything through is right as well, and tests nothing.
      assert.ok(passedThrough.size < classes, `${String(passedThrough.size)} of ${String(classes)} classes were passed through`);
    });
  });
}
