/** What voids everything at once: dynamic versions, another shape of a model, and what is done by hand. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, beforeEach, describe, it } from 'node:test';
import { DataTypes, type Model, type ModelAttributes, type ModelStatic, type Sequelize } from 'sequelize';
import {
  bumpVersion,
  CacheNotRegisteredError,
  InstanceCache,
  InvalidOptionError,
  QuerysetCache,
  setupCache,
  withCache,
  type CacheManager,
  type FlashCache,
  type JsonValue,
} from '../../src/index.js';
import { MemcachedStore } from '../../src/stores/memcached.js';
import { memcachedStore, openBackend, type Backend } from '../support/backends.js';
import { costing } from '../support/cost.js';
import { startMemcached, type MemcachedProcess } from '../support/memcached-process.js';
import { ObservedStore } from '../support/observed-store.js';

interface Row {
  id: number;
  slug: string;
  team: string;
  city: string | null;
}

type Item = Model<Row, Partial<Row>> & Row;

/** One build's model, on the table that all builds share. */
function build(sequelize: Sequelize, extra: ModelAttributes = {}) {
  const Item = sequelize.define<Item>(
    'Item',
    {
      id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true },
      slug: { type: DataTypes.STRING, unique: true },
      team: DataTypes.STRING,
      city: DataTypes.STRING,
      note: DataTypes.STRING,
      ...extra,
    } as never,
    { timestamps: false },
  );
  const model: ModelStatic<Model> = Item;
  class SlugsOfTeam extends QuerysetCache<Model, ['team']> {
    static model = model;
    static keyFields = ['team'] as const;
    override async getResult({ team }: { readonly team: unknown }): Promise<JsonValue> {
      const rows = (await this.queryset().findAll({ where: { team } as never })) as unknown as Row[];
      return rows.map(({ slug }) => slug).sort();
    }
  }
  class LatestOfTeam extends QuerysetCache<Model, ['team']> {
    static model = model;
    static keyFields = ['team'] as const;
    static order = [['id', 'DESC']] as const;
  }
  class SlugsOfCity extends QuerysetCache<Model, ['city']> {
    static model = model;
    static keyFields = ['city'] as const;
    static invalidation = 'OFF' as const;
    override async getResult({ city }: { readonly city: unknown }): Promise<JsonValue> {
      const rows = (await this.queryset().findAll({ where: { city } as never })) as unknown as Row[];
      return rows.map(({ slug }) => slug).sort();
    }
  }
  class ItemBySlug extends InstanceCache<Model, ['slug']> {
    static model = model;
    static keyFields = ['slug'] as const;
  }
  const cache = withCache(Item, { keys: ['id'], filters: ['team'], caches: () => [SlugsOfTeam, LatestOfTeam, ItemBySlug, SlugsOfCity] as never }) as unknown as CacheManager<
    Item,
    'id',
    never,
    'team'
  >;
  return { Item, cache, SlugsOfTeam, LatestOfTeam, ItemBySlug, SlugsOfCity };
}

describe('versions', () => {
  let backend: Backend;
  let prefix: string;
  let here: ReturnType<typeof build>;
  let there: ReturnType<typeof build>;
  const caches: FlashCache[] = [];

  before(async () => {
    backend = await openBackend('mariadb');
    prefix = `v${randomUUID().slice(0, 8)}`;
    here = build(backend.sequelize);
    await backend.sequelize.sync();
    backend.setup({ prefix });
    const sequelize = backend.another();
    there = build(sequelize);
    caches.push(setupCache(sequelize, { store: memcachedStore(), prefix }));
  });
  after(async () => {
    for (const cache of caches) await cache.close(0);
    await backend.close();
  });
  let slug = '';
  let team = '';
  beforeEach(async () => {
    slug = `slug ${randomUUID()}`;
    team = `team ${randomUUID()}`;
    await here.Item.create({ slug, team, city: 'Oslo' });
  });

  const answers = async ({ cache, SlugsOfTeam, LatestOfTeam, ItemBySlug }: ReturnType<typeof build>): Promise<unknown> => [
    await new SlugsOfTeam(team).resolve(),
    ((await new LatestOfTeam(team).resolve()) as unknown as Row[]).map((row) => row.slug),
    ((await new ItemBySlug(slug).resolve()) as unknown as Row).city,
    (await cache.filter({ team })).length,
  ];
  /** A change that nobody sees: by another program. */
  const behindTheBack = async (): Promise<void> => {
    const bare = backend.another();
    await bare.query('UPDATE Items SET city = :city WHERE slug = :slug', { replacements: { slug, city: 'Bergen' } });
    await bare.query('INSERT INTO Items (slug, team) VALUES (:slug, :team)', { replacements: { slug: `${slug} 2`, team } });
  };
  const old = (): unknown => [[slug], [slug], 'Oslo', 1];
  const fresh = (): unknown => [[slug, `${slug} 2`], [`${slug} 2`, slug], 'Bergen', 2];

  it('of a model: all that is cached of it is void at once in every process', async () => {
    for (const process of [here, there]) assert.deepEqual(await answers(process), old());
    await behindTheBack();
    for (const process of [here, there]) assert.deepEqual(await answers(process), old(), 'it is cached');
    await bumpVersion(here.Item);
    for (const process of [here, there]) assert.deepEqual(await answers(process), fresh());
  });

  it('of a cache class: of that class alone', async () => {
    for (const process of [here, there]) await answers(process);
    await behindTheBack();
    await bumpVersion(there.SlugsOfTeam);
    const expected = [[slug, `${slug} 2`], [slug], 'Oslo', 1];
    for (const process of [here, there]) assert.deepEqual(await answers(process), expected);
    await bumpVersion(here.LatestOfTeam);
    // Its rows are those of all caches, and one of them is still the old one.
    assert.deepEqual(((await new there.LatestOfTeam(team).resolve()) as unknown as Row[]).map((row) => row.slug), [`${slug} 2`, slug]);
    await bumpVersion(here.ItemBySlug);
    for (const process of [here, there]) assert.deepEqual(await answers(process), fresh());
  });

  it('costs no round trip: a lookup asks for its stamps with everything else', async () => {
    await answers(here);
    for (const query of [new here.SlugsOfTeam(team), new here.LatestOfTeam(team), new here.ItemBySlug(slug)]) {
      await backend.store.quiet();
      await costing(backend, { sql: 0 }, async () => query.resolve());
      assert.equal(backend.store.roundTrips, 1);
    }
  });

  it('a stamp that is gone (evicted, flushed) brings nothing old back', async () => {
    await answers(here);
    await behindTheBack();
    await bumpVersion(here.Item);
    await bumpVersion(here.SlugsOfTeam);
    await answers(here);
    const store = memcachedStore();
    caches.push({ close: () => store.close().then(() => 0) } as FlashCache);
    const stamp = new here.SlugsOfTeam(team).key.replace(/:[a-z]:SlugsOfTeam:.*$/, ':v:SlugsOfTeam:');
    assert.ok((await store.get([stamp])).items.get(stamp), `there is ${stamp}`);
    await store.delete(stamp);
    await costing(backend, { sql: 1 }, () => new here.SlugsOfTeam(team).resolve());
    assert.deepEqual(await answers(there), fresh());
  });

  it('one of three servers restarted empty: what it held is gone, and nothing older is believed', async (t) => {
    const servers = await Promise.all([startMemcached(), startMemcached(), startMemcached()]);
    t.after(() => Promise.all(servers.map((server: MemcachedProcess) => server.stop())));
    const addresses = servers.map(({ address }) => address);
    const [one, two] = [backend.another(), backend.another()];
    const stores = [new ObservedStore(new MemcachedStore(addresses)), new ObservedStore(new MemcachedStore(addresses))];
    const [a, b] = [build(one), build(two)];
    caches.push(setupCache(one, { store: stores[0]!, prefix: 'three' }), setupCache(two, { store: stores[1]!, prefix: 'three' }));
    for (const process of [a, b]) assert.deepEqual(await answers(process), old());
    await behindTheBack();
    await bumpVersion(a.Item);
    // Each in turn, so the one with the generation is among them.
    for (const server of servers) {
      await server.restart();
      for (const process of [a, b]) assert.deepEqual(await answers(process), fresh());
    }
  });

  it('old and new code side by side: each has entries of its own, and voids those of the other', async () => {
    await backend.sequelize.query('ALTER TABLE Items ADD COLUMN colour VARCHAR(20)');
    const sequelize = backend.another();
    const next = build(sequelize, { colour: DataTypes.STRING });
    caches.push(setupCache(sequelize, { store: memcachedStore(), prefix }));
    const row = await here.Item.findOne({ where: { slug }, rejectOnEmpty: true });
    const read = async (): Promise<unknown> => {
      const now = (await next.cache.get({ id: row.id })) as unknown as { colour: string | null; city: string | null };
      return [(await here.cache.get({ id: row.id })).city, now.city, now.colour, (await there.cache.filter({ team })).length, (await next.cache.filter({ team })).length];
    };
    assert.deepEqual(await read(), ['Oslo', 'Oslo', null, 1, 1]);
    await next.Item.update({ colour: 'red', city: 'Bodø' } as never, { where: { id: row.id } });
    assert.deepEqual(await read(), ['Bodø', 'Bodø', 'red', 1, 1]);
    await row.update({ city: 'Hamar' });
    assert.deepEqual(await read(), ['Hamar', 'Hamar', 'red', 1, 1]);
    await next.Item.create({ slug: `${slug} new`, team, colour: 'blue' } as never);
    assert.deepEqual(await read(), ['Hamar', 'Hamar', 'red', 2, 2]);
    await there.Item.destroy({ where: { slug: `${slug} new` } });
    assert.deepEqual(await read(), ['Hamar', 'Hamar', 'red', 1, 1]);
  });

  it('by hand: invalidate, invalidateWhere in batches, clear', async () => {
    const rows = Array.from({ length: 2300 }, (_, at) => ({ slug: `${slug} ${String(at)}`, team, city: 'Oslo' }));
    await here.Item.bulkCreate(rows);
    const sample = await here.Item.findAll({ where: { team }, order: ['id'] });
    const some = [sample[1]!, sample[1500]!, sample[2299]!];
    const cities = (): Promise<unknown> => Promise.all(some.map(async ({ id }) => (await there.cache.get({ id })).city));
    assert.deepEqual(await cities(), ['Oslo', 'Oslo', 'Oslo']);
    const bare = backend.another();
    await bare.query('UPDATE Items SET city = :city WHERE team = :team', { replacements: { team, city: 'Moss' } });
    assert.deepEqual(await cities(), ['Oslo', 'Oslo', 'Oslo'], 'nobody knows of it');
    await here.cache.invalidate(some[0]!);
    assert.deepEqual(await cities(), ['Moss', 'Oslo', 'Oslo']);
    // 2301 rows in batches of 1000, of which each has the columns of keys only.
    const { rows: count } = await costing(backend, { sql: 3 }, () => here.cache.invalidateWhere({ team }));
    assert.equal(count, 2301);
    assert.doesNotMatch(backend.sql.join(), /`note`/);
    assert.deepEqual(await cities(), ['Moss', 'Moss', 'Moss']);
    assert.deepEqual(await here.cache.invalidateWhere({ team: 'nobody' }), { delivered: true, rows: 0 });
  });

  it('by hand: invalidateWhere voids a cache that no write voids, and no more than it must', async () => {
    const city = `city ${randomUUID()}`;
    await here.Item.update({ city }, { where: { slug } });
    const other = await here.Item.create({ slug: `other ${slug}`, team: 'another', city: 'Oslo' });
    await there.cache.get({ id: other.id });
    assert.deepEqual(await new there.SlugsOfCity(city).resolve(), [slug]);
    await here.Item.create({ slug: `${slug} 2`, team, city });
    assert.deepEqual(await new there.SlugsOfCity(city).resolve(), [slug], 'no write voids it');
    await here.cache.invalidateWhere({ slug });
    assert.deepEqual(await new there.SlugsOfCity(city).resolve(), [slug, `${slug} 2`]);
    assert.ok(await there.cache.getOrNone({ id: other.id }, { cacheOnly: true }), 'a row that does not match is still cached');
  });

  it('of something that is not cached', async () => {
    const Plain = backend.sequelize.define('Plain', {});
    await assert.rejects(bumpVersion(Plain), CacheNotRegisteredError);
    class Unregistered extends InstanceCache<Model> {
      static model = here.Item as ModelStatic<Model>;
      static keyFields = ['slug'];
    }
    await assert.rejects(bumpVersion(Unregistered), CacheNotRegisteredError);
    await assert.rejects(bumpVersion({} as never), InvalidOptionError);
  });
});
