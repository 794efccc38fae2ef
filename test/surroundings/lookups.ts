/** What is cached of the models, and for each lookup the plain finds that have to give the same. */
import type { FindOptions, Model, ModelStatic, Order, Transaction, WhereOptions } from 'sequelize';
import {
  DoesNotExist,
  InstanceCache,
  ModelCacheManager,
  QuerysetCache,
  QuerysetCountCache,
  QuerysetExistsCache,
  RelatedInstanceCache,
  RelatedQuerysetCache,
  withCache,
  type CacheClass,
  type JsonValue,
  type ReadOptions,
} from '../../src/index.js';
import type { AnyCache } from '../oracle/names.js';
import { keyOf, type Models } from './models.js';
import type { Surroundings } from './axes.js';

/** One lookup: through the cache, and by plain finds on the models of any instance. */
export interface Lookup {
  readonly name: string;
  /** Whether it is put together from finds that a transaction option reaches. */
  readonly transactional: boolean;
  cached(options?: ReadOptions): Promise<unknown>;
  actual(models: Models, within: Within): Promise<unknown>;
}

/** The transaction that a plain find runs in, if any. */
export interface Within {
  readonly transaction?: Transaction;
}

type Kind = 'rows' | 'lists' | 'results' | 'related';
type Params = Readonly<Record<string, unknown>>;
type Classes = ReturnType<typeof classesOf>;

class ItemManager extends ModelCacheManager<Model> {
  byName(name: string): Promise<Model | null | undefined> {
    return (this as unknown as AnyCache).getOrNone({ name });
  }
}

interface CachedModel {
  readonly cache: AnyCache & { byName?(name: string): Promise<unknown>; filterMany(params: readonly unknown[], options?: ReadOptions): Promise<unknown> };
}

/** The order that every list ends in: the primary key. */
export const keyOrder = (model: ModelStatic<Model>): Order => model.primaryKeyAttributes.map((name): [string, string] => [name, 'ASC']);

const cities = ['berlin', 'rome', 'paris'] as const;
const names = ['n1', 'n2', 'n3', 'n5', 'renamed', 'created 7', 'nobody'] as const;

/** How many lookups each cell asks for, at most. */
const lookupsOfPart = 5;

/** Declares the caches of these models, and returns the lookups that are asked in these surroundings. */
export function declareCaches(models: Models, surroundings: Surroundings): readonly Lookup[] {
  const { Item, Owner, Tag, Comment } = models;
  const classes = classesOf(models);
  // A relation whose join table has a default scope is refused, as documented.
  const related = surroundings.scope === 'define' ? { ...models, Tag: undefined } : models;
  // An instance that comes with others is none that `getInstance` may answer with.
  const joins = surroundings.scope.startsWith('include');
  const wants = (kind: Kind): boolean => surroundings.caches === kind || (surroundings.caches === 'all' && !(kind === 'related' && joins));
  const ofItem: CacheClass[] = [
    ...(wants('lists') ? [classes.LatestOfCity] : []),
    ...(wants('results') ? [classes.CountOfCity, classes.HasCity, classes.SumOfCity, classes.FirstOfCity] : []),
    ...(wants('related') ? [classes.OwnerOfItem, classes.ItemWithOwner, ...(related.Tag === undefined ? [] : [classes.TagsOfItem])] : []),
  ];
  const declare = (model: ModelStatic<Model>, options: object): void => {
    withCache(model, options as never);
  };
  declare(Item, {
    keys: [Item.primaryKeyAttributes, ...keysOf(surroundings)],
    filters: wants('lists') ? [['city'], ['owner'], ['city', 'level'], []] : [],
    cachedForeignKeys: wants('related') ? ['owner'] : [],
    caches: ofItem,
    ...(surroundings.manager === 'on' ? { manager: ItemManager } : {}),
  });
  declare(Owner, { keys: ['id', 'name'], caches: wants('related') ? [classes.ItemsOfOwner, classes.OwnerWithItems] : [] });
  if (Tag !== undefined) declare(Tag, { keys: ['id'] });
  if (Comment !== undefined) {
    declare(Comment, {
      keys: ['id'],
      filters: ['target'],
      genericForeignKeys: { target: { type: 'targetType', id: 'targetId', models: () => [Item, Owner] } },
    });
  }
  const all = [
    ...(wants('rows') ? rowLookups(models, surroundings) : []),
    ...(wants('lists') ? listLookups(models, classes) : []),
    ...(wants('results') ? resultLookups(classes).filter(({ name }) => !(joins && name.startsWith('FirstOfCity'))) : []),
    ...(wants('related') ? relatedLookups(related, classes) : []),
  ];
  const parts = Math.ceil(all.length / lookupsOfPart);
  return all.filter((_, at) => at % parts === (Number(surroundings.part) - 1) % parts);
}

/** The keys beside the primary key; more where rows are what is asked for. */
const keysOf = ({ caches }: Surroundings): readonly (readonly string[])[] =>
  caches === 'rows' || caches === 'all' ? [['name'], ['city'], ['owner'], ['level'], ['city', 'level'], ['at'], ['day'], ['big'], ['score']] : [['name']];

const cacheOf = (model: ModelStatic<Model>): CachedModel['cache'] => (model as unknown as CachedModel).cache;

/** Resolves to null where there is no such row, as `findOne` does. */
async function orNull(asked: Promise<unknown>): Promise<unknown> {
  try {
    return await asked;
  } catch (error) {
    if (error instanceof DoesNotExist) return null;
    throw error;
  }
}

const resolved = (cacheClass: CacheClass, params: Params, options?: ReadOptions): Promise<unknown> =>
  orNull(new cacheClass(params).resolve(options));

// ---- Rows --------------------------------------------------------------------------------------

function rowLookups({ Item }: Models, surroundings: Surroundings): Lookup[] {
  const cache = cacheOf(Item);
  const row = (params: Params, where: Params = params): Lookup => ({
    name: `Item.get(${JSON.stringify(params)})`,
    transactional: true,
    cached: (options) => cache.getOrNone(params, options),
    actual: (models, within) => models.Item.findOne({ where: where as WhereOptions, order: keyOrder(models.Item), ...within }),
  });
  const many = (keys: readonly Params[]): Lookup => ({
    name: `Item.getMany(${JSON.stringify(keys)})`,
    transactional: true,
    cached: (options) => cache.getMany(keys, options),
    actual: (models, within) =>
      Promise.all(keys.map((key) => models.Item.findOne({ where: key as WhereOptions, order: keyOrder(models.Item), ...within }))),
  });
  return [
    ...[1, 2, 3, 7].map((n) => row(keyOf(surroundings, n))),
    ...names.map((name) => row({ name })),
    ...cities.map((city) => row({ city })),
    many(names.map((name) => ({ name }))),
    many([...cities, 'berlin', 'nowhere'].map((city) => ({ city }))),
    many([7, 3, 1, 2, 1].map((n) => keyOf(surroundings, n))),
    row({ owner: 1 }, { ownerId: 1 }),
    row({ owner: null }, { ownerId: null }),
    row({ level: null }),
    row({ level: 70 }),
    row({ city: 'berlin', level: 1 }),
    ...(surroundings.dateStrings === 'on' ? [] : [row({ at: new Date(Date.UTC(2023, 5, 1, 22, 15)) })]),
    row({ day: '2023-12-02' }),
    row({ big: '9007199254740994' }),
    row({ score: '1.50' }),
    ...(cache.byName === undefined
      ? []
      : [{ ...row({ name: 'n1' }), name: "Item.byName('n1')", transactional: false, cached: () => cache.byName?.('n1') ?? Promise.resolve() }]),
  ];
}

// ---- Lists -------------------------------------------------------------------------------------

function listLookups({ Item }: Models, { LatestOfCity }: Classes): Lookup[] {
  const list = (params: Params, where: Params = params): Lookup => ({
    name: `Item.filter(${JSON.stringify(params)})`,
    transactional: true,
    cached: (options) => cacheOf(Item).filter(params, options),
    actual: (models, within) => models.Item.findAll({ where: where as WhereOptions, order: keyOrder(models.Item), ...within }),
  });
  return [
    ...cities.map((city) => list({ city })),
    list({ owner: 1 }, { ownerId: 1 }),
    list({ owner: 2 }, { ownerId: 2 }),
    list({ city: 'berlin', level: 1 }),
    list({}),
    {
      name: 'Item.filterMany(cities)',
      transactional: true,
      cached: (options) => cacheOf(Item).filterMany(cities.map((city) => ({ city })), options),
      actual: (models, within) =>
        Promise.all(cities.map((city) => models.Item.findAll({ where: { city }, order: keyOrder(models.Item), ...within }))),
    },
    ...cities.map((city): Lookup => ({
      name: `LatestOfCity(${city})`,
      transactional: true,
      cached: (options) => resolved(LatestOfCity, { city }, options),
      actual: (models, within) =>
        models.Item.findAll({ where: { city }, order: [['level', 'DESC'], ...(keyOrder(models.Item) as [string, string][])], limit: 2, ...within }),
    })),
  ];
}

// ---- Results -----------------------------------------------------------------------------------

function resultLookups({ CountOfCity, HasCity, SumOfCity, FirstOfCity }: Classes): Lookup[] {
  const ofCity = (cacheClass: CacheClass, city: string, actual: (models: Models, where: { city: string } & Within) => Promise<unknown>): Lookup => ({
    name: `${cacheClass.name}(${city})`,
    transactional: true,
    cached: (options) => resolved(cacheClass, { city }, options),
    actual: (models, within) => actual(models, { city, ...within }),
  });
  return cities.flatMap((city) => [
    ofCity(CountOfCity, city, ({ Item }, { city: value, ...within }) => Item.count({ where: { city: value }, ...within })),
    ofCity(HasCity, city, async ({ Item }, { city: value, ...within }) => (await itemsOf(Item, value, within)).length > 0),
    ofCity(SumOfCity, city, async ({ Item }, { city: value, ...within }) => sumOf(await itemsOf(Item, value, within))),
    ofCity(FirstOfCity, city, async ({ Item }, { city: value, ...within }) => (await itemsOf(Item, value, within))[0] ?? null),
  ]);
}

const itemsOf = (Item: ModelStatic<Model>, city: string, within: Within): Promise<Model[]> =>
  Item.findAll({ where: { city }, order: [['name', 'ASC']], raw: false, ...within });

const sumOf = (items: readonly Model[]): JsonValue => ({
  visits: items.reduce((sum, item) => sum + Number(item.get('visits')), 0),
  names: items.map((item) => String(item.get('name'))),
});

// ---- Relations ---------------------------------------------------------------------------------

function relatedLookups({ Item, Owner, Tag, Comment }: Models, classes: Classes): Lookup[] {
  const byName = (cacheClass: CacheClass, name: string, actual: Lookup['actual']): Lookup => ({
    name: `${cacheClass.name}(${name})`,
    transactional: true,
    cached: (options) => resolved(cacheClass, { name }, options),
    actual,
  });
  const ownerOf = async (models: Models, item: Model | null, options: FindOptions): Promise<Model | null> => {
    const id = item?.get('ownerId') as number | null | undefined;
    return id === null || id === undefined ? null : models.Owner.findOne({ where: { id }, ...options });
  };
  const itemNamed = (models: Models, name: string, within: Within): Promise<Model | null> =>
    models.Item.findOne({ where: { name }, raw: false, ...within });
  return [
    ...['n1', 'n2', 'n4', 'created 7', 'nobody'].flatMap((name) => [
      byName(classes.OwnerOfItem, name, async (models, within) => ownerOf(models, await itemNamed(models, name, within), { raw: false, ...within })),
      byName(classes.ItemWithOwner, name, (models, within) => models.Item.findOne({ where: { name }, include: ['owner'], raw: false, ...within })),
    ]),
    ...['owner 1', 'owner 2', 'renamed owner', 'nobody'].flatMap((name) => [
      byName(classes.ItemsOfOwner, name, async (models, within) => {
        const owner = await models.Owner.findOne({ where: { name }, raw: false, ...within });
        if (owner === null) return [];
        return models.Item.findAll({ where: { ownerId: owner.get('id') as number }, order: keyOrder(models.Item), raw: false, ...within });
      }),
      byName(classes.OwnerWithItems, name, (models, within) => models.Owner.findOne({ where: { name }, include: ['items'], raw: false, ...within })),
    ]),
    {
      name: 'item.getOwner()',
      transactional: false,
      cached: async () => {
        const item = await itemNamed({ Item, Owner, Tag, Comment }, 'n1', {});
        return item === null ? null : (item as Model & { getOwner(): Promise<unknown> }).getOwner();
      },
      actual: async (models) => ownerOf(models, await itemNamed(models, 'n1', {}), {}),
    },
    {
      name: 'Item.prefetch(owner)',
      transactional: false,
      cached: async () => {
        const items = await Item.findAll({ order: keyOrder(Item), raw: false });
        return (await cacheOf(Item).prefetch(items, ['owner'])).map((item) => item.get('owner'));
      },
      actual: async (models) => {
        const items = await models.Item.findAll({ order: keyOrder(models.Item), raw: false });
        return Promise.all(items.map((item) => ownerOf(models, item, { raw: false })));
      },
    },
    ...(Tag === undefined ? [] : tagLookups(classes, byName)),
    ...(Comment === undefined ? [] : commentLookups(Comment)),
  ];
}

const tagLookups = (
  { TagsOfItem }: Classes,
  byName: (cacheClass: CacheClass, name: string, actual: Lookup['actual']) => Lookup,
): Lookup[] =>
  ['n1', 'n2', 'n3'].map((name) =>
    byName(TagsOfItem, name, async (models, within) => {
      const item = await models.Item.findOne({ where: { name }, include: ['tags'], raw: false, ...within });
      const tags = (item?.get('tags') ?? []) as Model[];
      // The relation's rows come without what the join table says about them.
      const ids = tags.map((tag) => tag.get('id') as number);
      return models.Tag?.findAll({ where: { id: ids }, order: keyOrder(models.Tag), raw: false, ...within });
    }),
  );

const commentLookups = (Comment: ModelStatic<Model>): Lookup[] =>
  (['Item', 'Owner'] as const).map((targetType) => ({
    name: `Comment.filter(${targetType} 1)`,
    transactional: true,
    cached: (options) => cacheOf(Comment).filter({ target: [targetType, 1] }, options),
    actual: async (models, within) =>
      models.Comment?.findAll({ where: { targetType, targetId: 1 }, order: keyOrder(models.Comment), ...within }),
  }));

// ---- Classes -----------------------------------------------------------------------------------

function classesOf({ Item, Owner }: Models) {
  class LatestOfCity extends QuerysetCache<Model> {
    static model = Item;
    static keyFields = ['city'];
    static order = [['level', 'DESC']] as const;
    static limit = 2;
  }
  class CountOfCity extends QuerysetCountCache<Model> {
    static model = Item;
    static keyFields = ['city'];
  }
  class HasCity extends QuerysetExistsCache<Model> {
    static model = Item;
    static keyFields = ['city'];
  }
  class SumOfCity extends QuerysetCache<Model> {
    static model = Item;
    static keyFields = ['city'];
    override async getResult({ city }: Params): Promise<JsonValue> {
      return sumOf(await this.queryset().findAll({ where: { city } as WhereOptions, order: [['name', 'ASC']] }));
    }
  }
  class FirstOfCity extends InstanceCache<Model> {
    static model = Item;
    static keyFields = ['city'];
    override getInstance({ city }: Params): Promise<Model | null> {
      return this.queryset().findOne({ where: { city } as WhereOptions, order: [['name', 'ASC']] });
    }
  }
  class OwnerOfItem extends RelatedInstanceCache<Model, Model> {
    static model = Item;
    static keyFields = ['name'];
    static relation = 'owner';
  }
  class ItemWithOwner extends InstanceCache<Model> {
    static model = Item;
    static keyFields = ['name'];
    static include = ['owner'];
  }
  class TagsOfItem extends RelatedQuerysetCache<Model, Model> {
    static model = Item;
    static keyFields = ['name'];
    static relation = 'tags';
  }
  class ItemsOfOwner extends RelatedQuerysetCache<Model, Model> {
    static model = Owner;
    static keyFields = ['name'];
    static relation = 'items';
  }
  class OwnerWithItems extends InstanceCache<Model> {
    static model = Owner;
    static keyFields = ['name'];
    static include = ['items'];
  }
  return { LatestOfCity, CountOfCity, HasCity, SumOfCity, FirstOfCity, OwnerOfItem, ItemWithOwner, TagsOfItem, ItemsOfOwner, OwnerWithItems };
}

