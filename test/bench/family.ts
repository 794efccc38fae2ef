/** Lists, related rows and batches: the cache, and Sequelize without it, on the same rows. */
import assert from 'node:assert/strict';
import { DataTypes, type Model, type ModelStatic, type Sequelize } from 'sequelize';
import {
  BatchCacheQuery,
  InstanceCache,
  QuerysetCache,
  QuerysetCountCache,
  withCache,
  type CacheManager,
  type JsonValue,
} from '../../src/index.js';
import { MemcachedStore } from '../../src/stores/memcached.js';
import { ObservedStore } from '../support/observed-store.js';
import { countsOf, type Counts } from './counts.js';
import type { Case, Comparison } from './measure.js';
import { range, type Places } from './places.js';
import type { RawClient } from './raw-client.js';

/** What is compared with what. */
export const familyComparisons: readonly Comparison[] = [
  { name: 'list of 20 rows warm, against findAll', of: ['findAll of 20', 'filter of 20'], says: 'times faster' },
  { name: 'list of 20 rows warm, against raw get + JSON.parse of the list', of: ['filter of 20', 'raw list of 20'], says: 'times the time' },
  { name: 'list of 1,000 rows warm, against findAll', of: ['findAll of 1000', 'filter of 1000'], says: 'times faster' },
  { name: '50 lists of one tick from the database and filled, against 50 findAlls at once', of: ['50 findAlls', '50 filters refreshed'], says: 'times faster' },
  { name: 'chain of 3 included, warm, against findOne with include', of: ['findOne with include', 'get with include'], says: 'times faster' },
  { name: 'prefetch for 100 rows warm, against findAll with include', of: ['findAll with include', 'getMany and prefetch'], says: 'times faster' },
  { name: 'batch of 10 mixed queries warm, against 10 SQL queries', of: ['ten queries', 'batch of 10'], says: 'times faster' },
  { name: 'a class with a version of its own, against one without', of: ['result with version', 'result without version'], says: 'times the time' },
];

interface Post {
  id: number;
  title: string;
  writerId: number;
}

type Row<T extends object> = Model<T> & T;

const writers = 120;
/** The posts of each writer; the first one has a thousand. */
const posts = 20;
const manyPosts = 1000;
const many = 100;

/** The models, as an application has them. */
function define(sequelize: Sequelize) {
  const id = { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true } as const;
  const options = { timestamps: false };
  const Continent = sequelize.define<Row<{ id: number; title: string }>>('Continent', { id, title: DataTypes.STRING }, options);
  const Country = sequelize.define<Row<{ id: number; title: string }>>('Country', { id, title: DataTypes.STRING }, options);
  const Writer = sequelize.define<Row<{ id: number; name: string }>>('Writer', { id, name: { type: DataTypes.STRING(40), unique: true } }, options);
  const Post = sequelize.define<Row<Post>>(
    'Post',
    {
      id,
      title: DataTypes.STRING,
      slug: DataTypes.STRING,
      visits: DataTypes.INTEGER,
      openedAt: DataTypes.DATE,
      latitude: DataTypes.DECIMAL(9, 6),
      listed: DataTypes.BOOLEAN,
    } as never,
    options,
  );
  Country.belongsTo(Continent, { as: 'continent', foreignKey: 'continentId' });
  Writer.belongsTo(Country, { as: 'country', foreignKey: 'countryId' });
  Post.belongsTo(Writer, { as: 'writer', foreignKey: 'writerId' });
  return { Continent, Country, Writer, Post };
}

type Models = ReturnType<typeof define>;

async function fill({ Continent, Country, Writer, Post }: Models): Promise<void> {
  await Continent.bulkCreate(range(1, 5).map((at) => ({ title: `continent ${String(at)}` })) as never);
  await Country.bulkCreate(range(1, 50).map((at) => ({ title: `country ${String(at)}`, continentId: 1 + (at % 5) })) as never);
  await Writer.bulkCreate(range(1, writers).map((at) => ({ name: `writer${String(at)}`, countryId: 1 + (at % 50) })) as never);
  for (const writerId of range(1, writers)) {
    const rows = range(1, writerId === 1 ? manyPosts : posts).map((at) => ({
      title: `post ${String(at)} of ${String(writerId)}`,
      slug: `slug-${String(writerId)}-${String(at)}`,
      visits: at * 7,
      openedAt: new Date(Date.UTC(2020, 0, 1) + at * 61_000),
      latitude: (at / 7).toFixed(6),
      listed: at % 3 !== 0,
      writerId,
    }));
    await Post.bulkCreate(rows as never);
  }
}

/** The cache on these models. */
function cacheOf({ Writer, Post }: Models) {
  const model: ModelStatic<Model> = Post;
  class PostPage extends InstanceCache<Model, ['id']> {
    static model = model;
    static keyFields = ['id'] as const;
    static include = { association: 'writer', include: [{ association: 'country', include: 'continent' }] };
  }
  class Titles extends QuerysetCache<Model, ['writer']> {
    static model = model;
    static keyFields = ['writer'] as const;
    override async getResult({ writer }: { readonly writer: unknown }): Promise<JsonValue> {
      const found = (await this.queryset().findAll({ where: { writerId: writer } as never, raw: true })) as unknown as Post[];
      return found.map(({ title }) => title);
    }
  }
  /** The same under one stamp. */
  class TitlesTimed extends Titles {
    static invalidation = 'OFF' as const;
  }
  class PostCount extends QuerysetCountCache<Model, ['writer']> {
    static model = model;
    static keyFields = ['writer'] as const;
  }
  withCache(Writer, { keys: ['id', 'name'] as never });
  const cache = withCache(Post, {
    keys: ['id'] as never,
    filters: ['writer'] as never,
    cachedForeignKeys: ['writer'] as never,
    caches: [PostPage, Titles, TitlesTimed, PostCount] as never,
  }) as unknown as CacheManager<Row<Post>, 'id', never, 'writer', 'writer'>;
  const writersCache = (Writer as unknown as { readonly cache: CacheManager<Row<{ id: number; name: string }>, 'id' | 'name'> }).cache;
  return { cache, writersCache, PostPage, Titles, TitlesTimed, PostCount };
}

/** The cases and counts of the family. */
export interface FamilyBench {
  cases(wanted: readonly Comparison[]): Case[];
  counts(): Promise<Counts[]>;
}

/** Creates the tables, and warms every lookup. */
export async function openFamily(places: Places, servers: readonly string[], raw: RawClient): Promise<FamilyBench> {
  const plainSide = places.connect();
  const plain = define(plainSide.sequelize);
  await plainSide.sequelize.sync();
  await fill(plain);
  const side = places.connect();
  const models = define(side.sequelize);
  const caches = cacheOf(models);
  const { cache, writersCache, PostPage, Titles, TitlesTimed, PostCount } = caches;
  const store = new ObservedStore(new MemcachedStore(servers, { timeoutMs: 5000 }));
  places.setup(side.sequelize, store);

  const listKey = (writerId: number): string => `list${String(process.pid)}:${String(writerId)}`;
  for (const writerId of range(1, writers)) {
    await raw.set(listKey(writerId), JSON.stringify(await plain.Post.findAll({ where: { writerId } })));
  }

  const writerAt = (at: number): number => 2 + (at % (writers - 1));
  const idsAt = (at: number): number[] => range(0, many - 1).map((i) => manyPosts + 1 + ((at * many + i) % ((writers - 1) * posts)));
  const include = { association: 'writer', include: [{ association: 'country', include: [{ association: 'continent' }] }] };
  const json = (rows: unknown): unknown => JSON.parse(JSON.stringify(rows));
  const byId = (rows: unknown): unknown => (json(rows) as { id: number }[]).sort((a, b) => a.id - b.id);

  const runs = {
    'findAll of 20': (at: number) => plain.Post.findAll({ where: { writerId: writerAt(at) } }),
    'filter of 20': (at: number) => cache.filter({ writer: writerAt(at) }),
    'raw list of 20': async (at: number) => JSON.parse(await raw.get(listKey(writerAt(at)))) as unknown,
    'findAll of 1000': () => plain.Post.findAll({ where: { writerId: 1 } }),
    'filter of 1000': () => cache.filter({ writer: 1 }),
    'findOne with include': (at: number) => plain.Post.findOne({ where: { id: idsAt(0)[at % many]! }, include: [include] }),
    'get with include': (at: number) => new PostPage(idsAt(0)[at % many]!).resolve(),
    'findAll with include': (at: number) => plain.Post.findAll({ where: { id: idsAt(at) }, include: 'writer' }),
    'getMany and prefetch': async (at: number) => cache.prefetch((await cache.getMany(idsAt(at).map((id) => ({ id })))) as Row<Post>[], ['writer']),
    'ten queries': (at: number) =>
      Promise.all([
        ...range(1, 3).map((i) => plain.Post.findOne({ where: { id: idsAt(at)[i]! } })),
        ...range(1, 3).map((i) => plain.Writer.findOne({ where: { name: `writer${String(writerAt(at + i))}` } })),
        ...range(1, 2).map((i) => plain.Post.count({ where: { writerId: writerAt(at + i) } })),
        plain.Post.findAll({ where: { writerId: writerAt(at) } }),
        plain.Post.findOne({ where: { id: idsAt(0)[at % many]! }, include: [include] }),
      ]),
    'batch of 10': async (at: number) =>
      Object.values(
        await new BatchCacheQuery({
          ...Object.fromEntries(range(1, 3).map((i) => [`post${String(i)}`, cache.getQuery({ id: idsAt(at)[i]! })])),
          ...Object.fromEntries(range(1, 3).map((i) => [`writer${String(i)}`, writersCache.getQuery({ name: `writer${String(writerAt(at + i))}` })])),
          ...Object.fromEntries(range(1, 2).map((i) => [`count${String(i)}`, new PostCount(writerAt(at + i))])),
          list: cache.filterQuery({ writer: writerAt(at) }),
          page: new PostPage(idsAt(0)[at % many]!),
        }).get(),
      ),
    '50 findAlls': (at: number) => Promise.all(range(1, 50).map((i) => plain.Post.findAll({ where: { writerId: writerAt(at + i) } }))),
    '50 filters refreshed': (at: number) => cache.filterMany(range(1, 50).map((i) => ({ writer: writerAt(at + i) })), { refresh: true }),
    'result with version': (at: number) => new Titles(writerAt(at)).resolve(),
    'result without version': (at: number) => new TitlesTimed(writerAt(at)).resolve(),
  } satisfies Readonly<Record<string, (at: number) => unknown>>;
  type Name = keyof typeof runs;

  const pairs: readonly (readonly [plain: Name, cached: Name, same: (rows: unknown) => unknown, times: number])[] = [
    ['findAll of 20', 'filter of 20', byId, writers],
    ['findAll of 20', 'raw list of 20', byId, writers],
    ['findAll of 1000', 'filter of 1000', byId, 1],
    ['findOne with include', 'get with include', json, many],
    ['findAll with include', 'getMany and prefetch', byId, 24],
    ['ten queries', 'batch of 10', (rows) => (json(rows) as unknown[]).map((row) => (Array.isArray(row) ? byId(row) : row)), writers],
    ['result with version', 'result without version', json, writers],
  ];
  // Twice: what was filled is what is compared.
  for (const [expected, cached, same, times] of pairs) {
    for (const at of range(0, times - 1)) {
      await runs[cached](at);
      assert.deepEqual(same(await runs[cached](at)), same(await runs[expected](at)), `${cached} ${String(at)}`);
    }
  }
  const sizes: Readonly<Partial<Record<Name, number>>> = {
    'findAll of 20': posts,
    'filter of 20': posts,
    'raw list of 20': posts,
    'findAll of 1000': manyPosts,
    'filter of 1000': manyPosts,
    'findAll with include': many,
    'getMany and prefetch': many,
    'ten queries': 10,
    'batch of 10': 10,
    '50 findAlls': 50,
    '50 filters refreshed': 50,
  };
  const operations: Readonly<Partial<Record<Name, number>>> = { 'findAll of 1000': 2, 'filter of 1000': 2, 'findAll with include': 4, 'getMany and prefetch': 4, '50 findAlls': 2, '50 filters refreshed': 2 };
  const cachedNames = new Set<Name>(pairs.map(([, cached]) => cached));
  return {
    cases(wanted) {
      const names = new Set(wanted.flatMap(({ of }) => of));
      return (Object.keys(runs) as Name[])
        .filter((name) => names.has(name))
        .map((name) => {
          let sent = 0;
          return {
            name,
            operations: operations[name] ?? 20,
            run: runs[name],
            check: (answer) => {
              const size = sizes[name];
              if (size === undefined) assert.ok(answer !== null && answer !== undefined, name);
              else assert.equal((answer as readonly unknown[]).length, size, name);
            },
            prepare: () => {
              sent = side.statements();
              return Promise.resolve();
            },
            after: () => {
              if (cachedNames.has(name) || name === 'result with version') assert.equal(side.statements() - sent, 0, `${name}: a warm run sent SQL`);
            },
          } satisfies Case;
        });
    },
    async counts() {
      const counts: Counts[] = [];
      for (const [, cached] of pairs.filter(([, name]) => name !== 'raw list of 20')) counts.push(await countsOf(`${cached}, warm`, side, store, () => Promise.resolve(runs[cached](0))));
      return counts;
    },
  };
}
