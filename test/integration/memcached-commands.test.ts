/** What memcached itself counts for one operation: a guard that no clock is needed for. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { MemcachedStore } from '../../src/stores/memcached.js';
import { numberOf, parseStats, type Stats } from '../bench/memcached-stats.js';
import { inCountry, lookupNames, openLookups, Place, type Ground, type LookupName } from '../support/lookups.js';
import { startMemcached, type MemcachedProcess } from '../support/memcached-process.js';
import { ObservedStore } from '../support/observed-store.js';

/** Commands as memcached counts them: each key of a multi-get is one. What is left out is none. */
interface Commands {
  /** Keys that were asked for. */
  readonly get?: number;
  /** Of those: keys under which something stands. @default all */
  readonly hits?: number;
  /** `add` and `cas`, whatever came of them. */
  readonly set?: number;
  /** `cas` that found what it compares with. */
  readonly cas?: number;
  readonly delete?: number;
}

const counters: Readonly<Record<keyof Commands, readonly string[]>> = {
  get: ['cmd_get'],
  hits: ['get_hits'],
  set: ['cmd_set'],
  cas: ['cas_hits'],
  delete: ['delete_hits', 'delete_misses'],
};

/** A row and its table's generation. What leads from another key to the row is known to this process. */
const warm: Readonly<Record<LookupName, Commands>> = {
  'get by id': { get: 2 },
  'get by unique key': { get: 2 },
  '64 gets by id at once': { get: 65 },
  '64 gets by unique key at once': { get: 65 },
  'get by id of an absent row': { get: 2 },
  // It leads to no row, so that a load is likely: the table's epoch is asked for as well.
  'get by unique key of an absent row': { get: 3 },
  'getMany of 100 by id': { get: 101 },
};

const others = {
  'list of 20 rows, warm': { get: 25 },
  'get by id, cold': { get: 3, hits: 2, set: 2, cas: 1 },
  // The lease on the name is placed with the look, which shows it. The look at the row has the table's
  // generation, too: whether what stands there is newer than what would replace it.
  'get by unique key, cold': { get: 7, hits: 7, set: 4, cas: 2 },
  'getMany of 100 by id, cold': { get: 201, hits: 101, set: 200, cas: 100 },
  'save() of a row that this process read from the cache': { get: 1, set: 3, cas: 2, delete: 1 },
  'save() of a row that is not cached': { get: 1, set: 2, cas: 1, delete: 1 },
  'bulk update of 100 cached rows by id': { get: 100, set: 300, cas: 200, delete: 1 },
  'create()': { get: 3, hits: 2, set: 4, cas: 2, delete: 1 },
  'destroy()': { get: 1, set: 2, cas: 1, delete: 1 },
} satisfies Readonly<Record<string, Commands>>;

describe('commands that memcached counts', () => {
  let server: MemcachedProcess;
  let store: ObservedStore;
  let ground: Ground;
  const stats = async (): Promise<Stats> => parseStats(await server.command('stats\r\n'));

  before(async () => {
    server = await startMemcached();
    store = new ObservedStore(new MemcachedStore([server.address], { timeoutMs: 2000 }));
    ground = await openLookups('mariadb', store);
  });
  after(async () => {
    await ground.close();
    await server.stop();
  });

  async function counting(expected: Commands, sql: number, work: () => Promise<unknown>): Promise<void> {
    await store.quiet();
    const earlier = await stats();
    const sent = ground.statements();
    await work();
    assert.equal(ground.statements() - sent, sql, 'SQL statements');
    await store.quiet();
    const later = await stats();
    const more = (names: readonly string[]): number => names.reduce((sum, name) => sum + numberOf(later, name) - numberOf(earlier, name), 0);
    const counted = Object.fromEntries(Object.entries(counters).map(([kind, names]) => [kind, more(names)]));
    assert.deepEqual(counted, { get: 0, hits: expected.get ?? 0, set: 0, cas: 0, delete: 0, ...expected });
    // Whatever else it counts: nothing of it is sent.
    assert.equal(more(['cmd_touch', 'cmd_flush', 'cmd_meta']), 0);
  }

  for (const name of lookupNames) {
    it(`${name}, warm`, async () => {
      const { run } = ground.lookups[name];
      await counting(warm[name], 0, run);
    });
  }

  const forget = async (ids: readonly number[]): Promise<void> => {
    for (const id of ids) await store.delete(Place.cache.getKey({ id }));
  };
  const hundred = Array.from({ length: 100 }, (_, at) => ({ id: at + 1 }));
  const ids = hundred.map(({ id }) => id);
  /** The cache as it is long after a write: the table's epoch is there, and the rows. */
  const settle = async (): Promise<void> => {
    for (let pass = 0; pass < 2; pass += 1) {
      await Place.cache.getMany(hundred);
      await Place.cache.filter({ country: 1 });
      await Place.cache.filter({ country: 2 });
    }
  };

  it('a list of 20 rows, warm', async () => {
    await settle();
    await counting(others['list of 20 rows, warm'], 0, async () => {
      assert.equal((await Place.cache.filter({ country: 1 })).length, inCountry);
    });
  });

  it('get by id, cold', async () => {
    await settle();
    await forget([1]);
    await counting(others['get by id, cold'], 1, () => Place.cache.get({ id: 1 }));
  });

  it('get by unique key, cold', async () => {
    await settle();
    const { handle } = await Place.create({ handle: 'new', name: 'new', country: 100, latitude: '1', visits: 1, listed: true, openedAt: new Date(0) });
    await settle();
    await counting(others['get by unique key, cold'], 1, () => Place.cache.get({ handle }));
  });

  it('getMany of 100 by id, cold', async () => {
    await settle();
    await forget(ids);
    await counting(others['getMany of 100 by id, cold'], 1, () => Place.cache.getMany(hundred));
  });

  it('save()', async () => {
    await settle();
    const row = await Place.findByPk(1, { rejectOnEmpty: true });
    await counting(others['save() of a row that this process read from the cache'], 1, () => row.update({ visits: row.visits + 1 }));
    await forget([1]);
    await counting(others['save() of a row that is not cached'], 1, () => row.update({ visits: row.visits + 1 }));
  });

  it('bulk update of 100 cached rows by id', async () => {
    await settle();
    await counting(others['bulk update of 100 cached rows by id'], 1, () => Place.update({ visits: 7 }, { where: { id: ids } }));
  });

  it('create() and destroy()', async () => {
    await settle();
    let row: Place | undefined;
    await counting(others['create()'], 1, async () => {
      row = await Place.create({ handle: 'newer', name: 'newer', country: 100, latitude: '1', visits: 1, listed: true, openedAt: new Date(0) });
    });
    await counting(others['destroy()'], 1, () => row!.destroy());
  });
});
