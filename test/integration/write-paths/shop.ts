/**
 * The models that the write paths are tried on: those of the oracle, and what they lack. With every
 * lookup that there is, and the rows that each test begins with.
 */
import { DataTypes, type Model, type ModelStatic, type Sequelize, type WhereOptions } from 'sequelize';
import { DoesNotExist, InstanceCache, registerCache, withCache, type CacheClass, type ReadOptions } from '../../../src/index.js';
import { defineWorld, type AnyCache } from '../../oracle/models.js';
import { familyOn, type Via } from './shop-caches.js';
import { moreNames, shopNames, type ShopName } from './shop-names.js';

export { shopNames, type ShopName } from './shop-names.js';

/** A value of a key field's column. */
export type Value = string | number | boolean | null;

/**
 * One way to ask for a row, for rows, or for what follows from them. The answer is an instance, null,
 * a list of instances, or a JSON value.
 */
export interface Lookup {
  /** The model that the key fields are of. */
  readonly model: ShopName;
  /** How the answer is stored: see `bound-cache.ts`, and `chains.ts` for what is put together. */
  readonly kind: 'simple' | 'list' | 'result' | 'chain';
  /** For messages. */
  readonly name: string;
  /** The attributes that the key fields stand for, in order. None: the whole table. */
  readonly attributes: readonly string[];
  /** The rows that it reads beside those with the key values. */
  readonly via: readonly Via[];
  /** All models whose rows can change the answer. */
  readonly models: readonly ShopName[];
  /** A list whose order is declared; any other may come in any order. */
  readonly ordered: boolean;
  /** With the cache, never in a transaction. */
  cached(values: readonly Value[], options?: ReadOptions): Promise<unknown>;
  /** The database's own answer. */
  actual(values: readonly Value[]): Promise<unknown>;
}

/** The models of one Sequelize instance. */
export interface Shop {
  readonly sequelize: Sequelize;
  readonly models: Readonly<Record<ShopName, ModelStatic<Model>>>;
  readonly lookups: readonly Lookup[];
}

/** A key field with the attributes that it stands for. */
type Field = readonly [field: string, ...attributes: string[]];

const fields: Readonly<Record<string, Field>> = {
  author: ['author', 'authorId'],
  user: ['user', 'userId'],
  group: ['group', 'groupId'],
  page: ['page', 'pageId'],
  shelf: ['shelf', 'shelfId'],
  box: ['box', 'boxId'],
  country: ['country', 'countryCode'],
  target: ['target', 'targetType', 'targetId'],
};

/** The simple caches; the tests look up by all of them. */
const keys: Readonly<Record<ShopName, readonly (readonly string[])[]>> = {
  User: [['id'], ['username'], ['email'], ['tenantId', 'slug'], ['city'], ['level'], ['city', 'level']],
  Post: [['id'], ['code'], ['author'], ['author', 'published'], ['published']],
  Article: [['id'], ['slug'], ['section'], ['section', 'kind'], ['serial']],
  Avatar: [['id'], ['url'], ['user'], ['user', 'isPrimary']],
  Group: [['id'], ['label']],
  Membership: [['user', 'group'], ['group', 'role'], ['user']],
  Vote: [['id'], ['target'], ['user', 'target'], ['value']],
  Country: [['code'], ['name'], ['population']],
  Item: [['id'], ['sku'], ['aisle', 'bin'], ['color']],
  Profile: [['id'], ['handle'], ['user']],
  Page: [['id'], ['path']],
  Reply: [['id'], ['page']],
  Shelf: [['id'], ['name']],
  Box: [['id'], ['label'], ['shelf']],
  Thing: [['id'], ['tag'], ['box']],
  Town: [['id'], ['name'], ['country']],
  Score: [['id'], ['player']],
};

/**
 * What `filter` takes; the lists of the oracle's models are classes. Each is on columns that a
 * simple cache is on as well: no write has to find out more about a row because of a list.
 */
const filters: Readonly<Partial<Record<ShopName, readonly (readonly string[])[]>>> = {
  Item: [['color'], ['aisle', 'bin'], []],
  Profile: [['user']],
  Page: [[]],
  Reply: [['page']],
  Box: [['shelf']],
  Thing: [['box']],
  Town: [['country'], []],
  Score: [['player']],
};

/** Defines everything anew for this Sequelize instance. */
export function defineShop(sequelize: Sequelize): Shop {
  const world = defineWorld(sequelize, { family: false });
  const { User, Country } = world.models;
  const plain = { timestamps: false };
  const id = { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true };
  const text = DataTypes.STRING(20);
  // Sequelize writes the attribute's name into such an object: one for each.
  const unique = (): { type: typeof text; allowNull: false; unique: true } => ({ type: text, allowNull: false, unique: true });
  /** Simple caches only, no association: what a write costs where it costs least. */
  const Item = sequelize.define(
    'Item',
    {
      id,
      sku: unique(),
      aisle: DataTypes.INTEGER,
      bin: text,
      color: { type: text, field: 'item_color' },
      stock: { type: DataTypes.INTEGER, allowNull: false, defaultValue: 0 },
      note: text,
    },
    plain,
  );
  const Profile = sequelize.define('Profile', { id, handle: unique() }, plain);
  const Page = sequelize.define('Page', { id, path: unique(), title: text }, { paranoid: true });
  const Reply = sequelize.define('Reply', { id, text }, plain);
  const Shelf = sequelize.define('Shelf', { id, name: unique() }, plain);
  const Box = sequelize.define('Box', { id, label: unique() }, plain);
  const Thing = sequelize.define('Thing', { id, tag: unique() }, plain);
  const Town = sequelize.define('Town', { id, name: unique() }, plain);
  const Score = sequelize.define('Score', { id, player: text, points: DataTypes.INTEGER, note: text }, plain);

  User.hasOne(Profile, { as: 'profile', foreignKey: 'userId' });
  Profile.belongsTo(User, { as: 'user', foreignKey: 'userId' });
  // Sequelize runs these cascades itself, the database the last one.
  Page.hasMany(Reply, { as: 'replies', foreignKey: 'pageId', onDelete: 'CASCADE', hooks: true });
  Reply.belongsTo(Page, { as: 'page', foreignKey: 'pageId', onDelete: 'CASCADE' });
  Shelf.hasMany(Box, { as: 'boxes', foreignKey: 'shelfId', onDelete: 'CASCADE', hooks: true });
  Box.belongsTo(Shelf, { as: 'shelf', foreignKey: 'shelfId', onDelete: 'CASCADE' });
  Box.hasMany(Thing, { as: 'things', foreignKey: 'boxId', onDelete: 'CASCADE' });
  Thing.belongsTo(Box, { as: 'box', foreignKey: 'boxId', onDelete: 'CASCADE' });
  Town.belongsTo(Country, { as: 'country', foreignKey: 'countryCode', onUpdate: 'CASCADE', onDelete: 'SET NULL' });

  class BestScoreOfPlayer extends InstanceCache<Model> {
    static model = Score;
    static keyFields = ['player'];
    override getInstance({ player }: Readonly<Record<string, unknown>>): Promise<Model | null> {
      return this.queryset().findOne(bestOf(player));
    }
  }
  const models = { ...world.models, Item, Profile, Page, Reply, Shelf, Box, Thing, Town, Score };
  const caches: Record<string, AnyCache> = { ...world.caches };
  for (const name of moreNames) {
    const cache: unknown = withCache(models[name], {
      keys: keys[name].map((names) => [...names]) as never,
      filters: (filters[name] ?? []).map((names) => [...names]) as never,
      caches: name === 'Score' ? [BestScoreOfPlayer] : [],
    });
    caches[name] = cache as AnyCache;
  }

  const lookups: Lookup[] = [];
  const add = (
    model: ShopName,
    name: string,
    keyFields: readonly string[],
    { cached, actual, via = [], ...shape }: Pick<Lookup, 'kind'> & Partial<Pick<Lookup, 'ordered' | 'via'>> & Asked,
  ): void => {
    const ofFields = keyFields.map((field): Field => fields[field] ?? [field, field]);
    const attributes = ofFields.flatMap(([, ...own]) => own);
    lookups.push({
      model,
      name,
      attributes,
      ordered: false,
      ...shape,
      via,
      models: [...new Set([model, ...modelsOf(via)])],
      cached: (values, options) => cached(paramsOf(ofFields, values), options),
      actual: (values) => actual(whereOf(attributes, values), values),
    });
  };
  for (const model of shopNames) {
    for (const names of keys[model]) {
      add(model, `${model}.cache(${names.join(',')})`, names, {
        kind: 'simple',
        cached: (params, options) => caches[model]!.getOrNone(params, options),
        actual: (where) => models[model].findOne({ where, transaction: null }),
      });
    }
    for (const names of filters[model] ?? []) {
      add(model, `${model}.cache[${names.join(',')}]`, names, {
        kind: 'list',
        cached: (params, options) => (caches[model] as unknown as Filtering).filter(params, options),
        actual: (where) => models[model].findAll({ where, transaction: null }),
      });
    }
  }
  const resolve = (cacheClass: CacheClass) => (params: Params, options?: ReadOptions): Promise<unknown> => {
    const query = new cacheClass(params);
    return query.resolve(options).catch(nullIfNone);
  };
  const custom = { ...world.custom, BestScoreOfPlayer: { model: 'Score', keyFields: ['player'], cacheClass: BestScoreOfPlayer } } as const;
  for (const [name, { model, keyFields, cacheClass, ...more }] of Object.entries(custom)) {
    add(model, name, keyFields, {
      kind: 'result',
      cached: resolve(cacheClass),
      actual: (_, values) => ('expected' in more ? more.expected(values) : Score.findOne({ ...bestOf(values[0]), transaction: null })),
    });
  }
  for (const { model, cacheClass, actual, ...shape } of familyOn(models)) {
    registerCache(cacheClass);
    add(model, cacheClass.name, cacheClass.keyFields, { ...shape, cached: resolve(cacheClass), actual });
  }
  return { sequelize, models, lookups };
}

type Params = Readonly<Record<string, unknown>>;

/** How a lookup is answered. */
interface Asked {
  cached(params: Params, options?: ReadOptions): Promise<unknown>;
  actual(where: WhereOptions, values: readonly Value[]): Promise<unknown>;
}

/** The part of a manager that answers with lists. */
interface Filtering {
  filter(params: Params, options?: ReadOptions): Promise<Model[] | undefined>;
}

/** A class that delivers one row rejects where there is none; `findOne` resolves to null. */
function nullIfNone(error: unknown): null {
  if (error instanceof DoesNotExist) return null;
  throw error;
}

function* modelsOf(via: readonly Via[]): Generator<ShopName> {
  for (const { model, then = [] } of via) {
    yield model;
    yield* modelsOf(then);
  }
}

const bestOf = (player: unknown): { where: WhereOptions; order: [string, string][] } => ({
  where: { player },
  order: [
    ['points', 'DESC'],
    ['id', 'ASC'],
  ],
});

function paramsOf(ofFields: readonly Field[], values: readonly Value[]): Record<string, unknown> {
  const params: Record<string, unknown> = {};
  let at = 0;
  for (const [field, ...attributes] of ofFields) {
    const own = values.slice(at, at + attributes.length);
    at += attributes.length;
    params[field] = own.length === 1 ? own[0] : own.includes(null) ? null : own;
  }
  return params;
}

const whereOf = (attributes: readonly string[], values: readonly Value[]): WhereOptions =>
  Object.fromEntries(attributes.map((attribute, at) => [attribute, values[at]]));

/**
 * The rows that each test begins with. The last row of a table is the *bystander*: no test writes
 * it, and its key values are its own.
 */
export const baseRows: Readonly<Record<ShopName, readonly Readonly<Record<string, unknown>>[]>> = {
  User: [
    { username: 'ann', email: 'ann@x', tenantId: 1, slug: 'a', city: 'Oslo', level: 1, rank: 5 },
    { username: 'bea', email: 'bea@x', tenantId: 1, slug: 'b', city: 'Oslo', level: 2 },
    { username: 'cid', email: 'cid@x', tenantId: 2, slug: 'a', city: 'Rome', level: 2 },
    { username: 'dan', email: 'dan@x', tenantId: 9, slug: 'd', city: 'Lima', level: 9 },
  ],
  Post: [
    { code: 'p1', title: 'one', authorId: 1, published: false },
    { code: 'p2', title: 'two', authorId: 1, published: null },
    { code: 'p3', title: 'gone', authorId: 2, published: false, deletedAt: new Date('2020-01-01T00:00:00Z') },
    { code: 'p4', title: 'four', authorId: 4, published: true },
  ],
  Article: [
    { slug: 'a1', section: 'home', kind: 'news', rank: 1, serial: 101 },
    { slug: 'a2', section: 'home', kind: 'essay', rank: 2, serial: 102 },
    { slug: 'a3', section: 'world', kind: 'news', state: 'draft', serial: 103 },
    { slug: 'a4', section: 'sport', kind: 'essay', serial: 104 },
  ],
  Avatar: [
    { url: 'u1', userId: 1, isPrimary: true },
    { url: 'u2', userId: 1, isPrimary: false },
    { url: 'u3', userId: 2, isPrimary: false },
    { url: 'u4', userId: 4, isPrimary: true },
  ],
  Group: [{ label: 'g1' }, { label: 'g2' }, { label: 'g3' }, { label: 'g4' }],
  Membership: [
    { userId: 1, groupId: 1, role: 'member' },
    { userId: 1, groupId: 2, role: 'admin' },
    { userId: 2, groupId: 1, role: 'member' },
    { userId: 4, groupId: 4, role: 'boss' },
  ],
  Vote: [
    { userId: 1, targetType: 'Post', targetId: 1, value: 1 },
    { userId: 1, targetType: 'Article', targetId: 1, value: 2 },
    { userId: 2, targetType: 'Post', targetId: 1, value: 2 },
    { userId: 4, targetType: 'Post', targetId: 4, value: 9 },
  ],
  Country: [
    { code: 'NO', name: 'Norway', population: 5 },
    { code: 'IT', name: 'Italy', population: 60 },
    { code: 'CH', name: 'Switzerland', population: 5 },
    { code: 'PE', name: 'Peru', population: 34 },
  ],
  Item: [
    { sku: 's1', aisle: 1, bin: 'a', color: 'red', stock: 10, note: 'x' },
    { sku: 's2', aisle: 1, bin: 'b', color: 'red', stock: 20 },
    { sku: 's3', aisle: 1, bin: 'a', color: 'blue', stock: 30 },
    { sku: 's4', aisle: 9, bin: 'z', color: 'grey', stock: 40 },
  ],
  Profile: [
    { handle: 'h1', userId: 1 },
    { handle: 'h2', userId: 2 },
    { handle: 'h3', userId: null },
    { handle: 'h4', userId: 4 },
  ],
  Page: [
    { path: '/1', title: 'one' },
    { path: '/2', title: 'two' },
    { path: '/3', title: 'gone', deletedAt: new Date('2020-01-01T00:00:00Z') },
    { path: '/4', title: 'four' },
  ],
  Reply: [
    { pageId: 1, text: 'r1' },
    { pageId: 1, text: 'r2' },
    { pageId: 2, text: 'r3' },
    { pageId: 4, text: 'r4' },
  ],
  Shelf: [{ name: 'f1' }, { name: 'f2' }, { name: 'f3' }, { name: 'f4' }],
  Box: [
    { shelfId: 1, label: 'b1' },
    { shelfId: 1, label: 'b2' },
    { shelfId: 2, label: 'b3' },
    { shelfId: 4, label: 'b4' },
  ],
  Thing: [
    { boxId: 1, tag: 't1' },
    { boxId: 2, tag: 't2' },
    { boxId: 3, tag: 't3' },
    { boxId: 4, tag: 't4' },
  ],
  Town: [
    { name: 'Bergen', countryCode: 'NO' },
    { name: 'Milan', countryCode: 'IT' },
    { name: 'Turin', countryCode: 'IT' },
    { name: 'Cusco', countryCode: 'PE' },
  ],
  Score: [
    { player: 'kim', points: 50 },
    { player: 'kim', points: 40 },
    { player: 'lee', points: 30 },
    { player: 'max', points: 99 },
  ],
};
