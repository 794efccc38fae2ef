/** Reads: the cache, and what it is compared with, on the same rows. */
import assert from 'node:assert/strict';
import type { ModelStatic } from 'sequelize';
import { registryOf } from '../../src/caches/registry.js';
import { MemcachedStore } from '../../src/stores/memcached.js';
import { ObservedStore } from '../support/observed-store.js';
import type { Subject } from './competitors.js';
import { countsOf, type Counts } from './counts.js';
import { Disturbed, undisturbed, type Case, type Comparison, type Plan } from './measure.js';
import { range, type CachedPlaces, type PlaceRow, type Side, type Table } from './places.js';
import type { RawClient } from './raw-client.js';
import { allOperationsOf } from './resources.js';

/** How many lookups are made at once in the cases on throughput. */
const inFlight = 64;
/** How many keys `getMany` is asked for. */
const many = 100;

const sliceOfCold = 12;
const coldRows = 400;
const sliceOfInvalidated = 12;
const invalidatedRows = 10 * sliceOfInvalidated;

/** How many rows a plan needs. */
export const rowsFor = (plan: Plan, warmRows: number): number =>
  warmRows + coldRows + invalidatedRows + 2 * allOperationsOf(plan, sliceOfCold) + 10;

/** The rows that stay as they are, for all competitors. */
export const warmSubject = (table: Table, warmRows: number): Subject => ({
  name: 'places',
  ids: range(1, warmRows),
  plain: () => {
    const { Place, statements } = table.plain();
    return { model: Place, statements };
  },
  cached: (store, options) => {
    const { Place, statements } = table.cached(store, options);
    return { get: (id) => Place.cache.get({ id }), statements };
  },
  check: (answer, id) => {
    isRow(table, answer, id);
  },
});

/** What is compared with what. */
export const readComparisons: readonly Comparison[] = [
  { name: 'warm get by primary key, against findOne', of: ['findOne id', 'get id'], says: 'times faster' },
  { name: 'warm get by unique name, against findOne', of: ['findOne handle', 'get handle'], says: 'times faster' },
  { name: 'warm get by primary key, against raw get + JSON.parse', of: ['get id', 'raw get'], says: 'times the time', aim: { most: 1.15 } },
  { name: 'warm get by unique name, against raw get + JSON.parse', of: ['get handle', 'raw get'], says: 'times the time', aim: { most: 1.15 } },
  { name: '64 in flight: warm get by primary key, against findOne', of: ['findOne id ×64', 'get id ×64'], says: 'times the throughput', aim: { least: 15 } },
  { name: '64 in flight: warm get by unique name, against findOne', of: ['findOne handle ×64', 'get handle ×64'], says: 'times the throughput', aim: { least: 15 } },
  { name: '64 in flight: CPU time of a warm get by primary key, against findOne', of: ['get id ×64', 'findOne id ×64'], says: 'times the CPU time', quantity: 'cpu', aim: { most: 1 / 8 } },
  { name: '64 in flight: warm get by primary key, against raw', of: ['raw get ×64', 'get id ×64'], says: 'times the throughput', aim: { least: 1.5 } },
  { name: '64 in flight: warm get by unique name, against raw', of: ['raw get ×64', 'get handle ×64'], says: 'times the throughput', aim: { least: 1.5 } },
  { name: '64 in flight: warm get by primary key, against a pipelined socket', of: ['pipelined socket ×64', 'get id ×64'], says: 'times the throughput', aim: { least: 0.7 } },
  { name: '64 in flight: warm get by primary key, nothing remembered (recentBytes: 0), against raw', of: ['raw get ×64', 'get id, nothing remembered ×64'], says: 'times the throughput' },
  { name: '64 in flight: warm get by primary key, against sequelize-transparent-cache', of: ['sequelize-transparent-cache ×64', 'get id ×64'], says: 'times the throughput', aim: { least: 2 } },
  { name: '64 in flight: in process, warm get by primary key, against sequelize-simple-cache', of: ['sequelize-simple-cache ×64', 'get id from memory ×64'], says: 'times the throughput', aim: { least: 5 } },
  { name: '512 in flight: tail of a warm get by primary key, against raw', of: ['get id ×512', 'raw get ×512'], says: 'times the 99th percentile', quantity: 'p99', aim: { most: 1.5 } },
  { name: 'absent row warm by primary key, against a present one', of: ['getOrNone absent id', 'get id'], says: 'times the time', aim: { most: 1.05 } },
  { name: 'absent row warm by unique name, against a present one', of: ['getOrNone absent handle', 'get handle'], says: 'times the time', aim: { most: 1.05 } },
  { name: 'cold get by primary key, never seen, against findOne', of: ['cold get id', 'findOne id'], says: 'times the time', aim: { most: 1.3 } },
  { name: 'cold get by unique name, never seen, against findOne', of: ['cold get handle', 'findOne handle'], says: 'times the time', aim: { most: 1.3 } },
  { name: 'get by primary key, evicted from memcached, against findOne', of: ['get id evicted', 'findOne id'], says: 'times the time' },
  { name: 'get by primary key, just invalidated, against findOne', of: ['get id just invalidated', 'findOne id'], says: 'times the time' },
  { name: 'getMany(100) warm, against one findAll', of: ['findAll IN', 'getMany warm'], says: 'times faster' },
  { name: 'getMany(100) warm, against raw getMulti + JSON.parse', of: ['getMany warm', 'raw getMulti'], says: 'times the time', aim: { most: 1.5 } },
  { name: 'getMany(100) cold, against one findAll', of: ['getMany cold', 'findAll IN'], says: 'times the time' },
  { name: 'hydration of a row, against Model.build(raw)', of: ['Model.build', 'hydrate'], says: 'times faster', aim: { least: 2.5 } },
];

/** Bytes in memcached: keys and values, without what memcached adds for itself to each item. */
export interface Bytes {
  readonly rowEntry: number;
  readonly indexEntry: number;
  readonly rawJson: number;
}

/** All reads on one set of rows. */
export class ReadBench {
  readonly #table: Table;
  readonly #warm: number;
  readonly #servers: readonly string[];
  readonly #raw: RawClient;
  readonly #plain: Side<ModelStatic<PlaceRow>>;
  readonly #cached: Side<CachedPlaces>;
  readonly #counted: Side<CachedPlaces>;
  readonly #observed: ObservedStore;
  readonly #prefix = `raw${String(process.pid)}:`;

  constructor(table: Table, servers: readonly string[], raw: RawClient, warmRows: number) {
    this.#table = table;
    this.#servers = servers;
    this.#warm = warmRows;
    this.#raw = raw;
    this.#plain = table.plain();
    this.#cached = table.cached(this.#store());
    this.#observed = new ObservedStore(this.#store());
    this.#counted = table.cached(this.#observed);
  }

  #store(): MemcachedStore {
    // The machine that runs this may be busy; a missed deadline would send reads to the database.
    return new MemcachedStore(this.#servers, { timeoutMs: 5000 });
  }

  /** Fills the cache and the raw client's entries with the warm rows, and compares every answer. */
  async fillAndVerify(): Promise<void> {
    const { Place } = this.#cached;
    const oracle = this.#plain.Place;
    const ids = range(1, this.#warm);
    for (let from = 0; from < ids.length; from += many) {
      const chunk = ids.slice(from, from + many);
      const found = new Map((await oracle.findAll({ where: { id: chunk } })).map((row) => [row.id, row]));
      for (const id of chunk) await this.#raw.set(this.#rawKey(id), JSON.stringify(found.get(id)?.get({ plain: true })));
      await Place.cache.getMany(chunk.map((id) => ({ id })));
      await Place.cache.getMany(chunk.map((id) => ({ handle: this.#handle(id) })));
    }
    await undisturbed(() => this.#verify(ids));
    const raw = await this.#raw.get(this.#rawKey(1));
    assert.deepEqual(JSON.parse(raw), JSON.parse(JSON.stringify(await oracle.findByPk(1))), 'the raw client’s answer');
  }

  async #verify(ids: readonly number[]): Promise<void> {
    const { Place } = this.#cached;
    const sent = this.#cached.statements();
    const byId = await Place.cache.getMany(ids.map((id) => ({ id })));
    const byHandle = await Place.cache.getMany(ids.map((id) => ({ handle: this.#handle(id) })));
    if (this.#cached.statements() !== sent) throw new Disturbed('No ratio, because warm lookups sent SQL.');
    // One by one for some of them; findAll gives the same instances but for their options.
    const found = new Map((await Place.findAll({ where: { id: [...ids] } })).map((row) => [row.id, row]));
    for (const [at, id] of ids.entries()) {
      const row = at % 20 === 0 ? await Place.findOne({ where: { id } }) : found.get(id);
      const byHandleToo = at % 20 === 10 ? await Place.findOne({ where: { handle: this.#handle(id) } }) : row;
      assert.ok(row !== null && row !== undefined, `row ${String(id)}`);
      for (const [answer, expected] of [
        [byId[at], row],
        [byHandle[at], byHandleToo],
      ] as const) {
        if (at % 20 === 0) assert.deepEqual(answer, expected, `row ${String(id)}`);
        assert.deepEqual(answer?.get({ plain: true }), expected?.get({ plain: true }), `row ${String(id)}`);
      }
    }
  }

  /** The cases that the comparisons name. */
  async cases(wanted: readonly Comparison[]): Promise<Case[]> {
    const names = new Set(wanted.flatMap(({ of }) => of));
    return (await this.#cases()).filter(({ name }) => names.has(name));
  }

  async #cases(): Promise<Case[]> {
    const { Place } = this.#cached;
    const oracle = this.#plain.Place;
    const warmId = (at: number): number => 1 + ((at * 7) % this.#warm);
    const isWarm = (answer: unknown, at: number): void => {
      this.#isRow(answer, warmId(at));
    };
    const warm = this.#withoutSql();
    const findByHandle = (at: number): Promise<unknown> => oracle.findOne({ where: { handle: this.#handle(warmId(at)) } });
    const getByHandle = (at: number): Promise<unknown> => Place.cache.get({ handle: this.#handle(warmId(at)) });

    const idsAt = (at: number, of: number): number[] => range(0, many - 1).map((i) => 1 + ((at * many + i) % of));
    const areRows = (ids: (at: number) => number[]) => (answer: unknown, at: number) => {
      const rows = answer as readonly unknown[];
      assert.equal(rows.length, many);
      for (const [i, id] of ids(at).entries()) this.#isRow(rows[i], id);
    };
    const warmIds = (at: number): number[] => idsAt(at, this.#warm);
    const firstCold = this.#warm;
    const evictedId = (at: number): number => firstCold + 1 + (at % (coldRows / 2));
    const coldIds = (at: number): number[] => idsAt(at, coldRows / 2).map((i) => firstCold + coldRows / 2 + i);
    const firstInvalidated = firstCold + coldRows + 1;
    const invalidatedId = (at: number): number => firstInvalidated + (at % invalidatedRows);
    let visits = 0;
    const firstUnseen = firstInvalidated + invalidatedRows;
    // A row that was found by one key would be known by the other.
    const unseenId = (at: number): number => firstUnseen + 2 * at;
    const unseenByHandle = (at: number): number => firstUnseen + 2 * at + 1;
    // An absent row that may get this id by auto-increment is cached for seconds.
    const absentId = (at: number): number => 10_000_000 + (at % 500);
    const absentHandle = (at: number): string => `nobody${String(at % 500)}`;
    const known = (lookup: (at: number) => Promise<unknown>): Pick<Case, 'prepare' | 'after'> => ({
      prepare: async (first, operations) => {
        for (let time = 0; time < 2; time += 1) await Promise.all(range(first, first + operations - 1).map(lookup));
        await warm.prepare?.(first, operations);
      },
      after: warm.after!,
    });
    const isAbsent = (answer: unknown): void => {
      assert.equal(answer, null, 'a row that is not there');
    };
    const absentById = (at: number): Promise<unknown> => Place.cache.getOrNone({ id: absentId(at) });
    const absentByHandle = (at: number): Promise<unknown> => Place.cache.getOrNone({ handle: absentHandle(at) });
    const forget = (idsOf: (at: number) => readonly number[]) => async (first: number, operations: number) => {
      const keys = new Set(range(first, first + operations - 1).flatMap((at) => idsOf(at).map((id) => Place.cache.getKey({ id }))));
      for (const key of keys) await this.#raw.delete(key);
    };

    const { cached } = registryOf(Place).of(Place)!;
    const cells = cached.hydrator.dehydrate((await oracle.findByPk(1))!);
    const hundred = range(1, 100);
    const rawValues = (await oracle.findByPk(1))!.get({ plain: true });

    return [
      { name: 'findOne handle', operations: 30, run: findByHandle, check: isWarm },
      { name: 'get handle', operations: 100, run: getByHandle, check: isWarm, ...warm },
      { name: 'findOne handle ×64', operations: 192, inFlight, run: findByHandle, check: isWarm },
      { name: 'get handle ×64', operations: 640, inFlight, run: getByHandle, check: isWarm, ...warm },
      { name: 'getOrNone absent id', operations: 100, run: absentById, check: isAbsent, ...known(absentById) },
      { name: 'getOrNone absent handle', operations: 100, run: absentByHandle, check: isAbsent, ...known(absentByHandle) },
      {
        name: 'get id just invalidated',
        operations: sliceOfInvalidated,
        prepare: async (first, operations) => {
          const ids = range(first, first + operations - 1).map(invalidatedId);
          await Place.cache.getMany(ids.map((id) => ({ id })));
          visits += 1;
          await Place.update({ visits }, { where: { id: ids } });
        },
        run: (at) => Place.cache.get({ id: invalidatedId(at) }),
        check: (answer, at) => {
          this.#isRow(answer, invalidatedId(at));
          assert.equal((answer as PlaceRow).visits, visits, 'a stale row');
        },
      },
      {
        name: 'get id evicted',
        operations: 12,
        prepare: forget((at) => [evictedId(at)]),
        run: (at) => Place.cache.get({ id: evictedId(at) }),
        check: (answer, at) => {
          this.#isRow(answer, evictedId(at));
        },
      },
      {
        name: 'cold get id',
        operations: sliceOfCold,
        run: (at) => Place.cache.get({ id: unseenId(at) }),
        check: (answer, at) => {
          this.#isRow(answer, unseenId(at));
        },
      },
      {
        name: 'cold get handle',
        operations: sliceOfCold,
        run: (at) => Place.cache.get({ handle: this.#handle(unseenByHandle(at)) }),
        check: (answer, at) => {
          this.#isRow(answer, unseenByHandle(at));
        },
      },
      {
        name: 'getMany warm',
        operations: 5,
        run: (at) => Place.cache.getMany(warmIds(at).map((id) => ({ id }))),
        check: areRows(warmIds),
        ...warm,
      },
      {
        name: 'raw getMulti',
        operations: 5,
        run: async (at) => {
          const keys = warmIds(at).map((id) => this.#rawKey(id));
          const found = await this.#raw.getMulti(keys);
          return keys.map((key) => JSON.parse(found[key]!) as unknown);
        },
        check: areRows(warmIds),
      },
      {
        name: 'getMany cold',
        operations: 2,
        prepare: forget(coldIds),
        run: (at) => Place.cache.getMany(coldIds(at).map((id) => ({ id }))),
        check: areRows(coldIds),
      },
      {
        name: 'findAll IN',
        operations: 2,
        run: (at) => oracle.findAll({ where: { id: coldIds(at) } }),
        check: (answer, at) => {
          assert.equal((answer as readonly unknown[]).length, coldIds(at).length);
        },
      },
      {
        name: 'hydrate',
        operations: 4,
        run: () => hundred.map(() => cached.hydrator.instance(cached.hydrator.row(cells))),
        check: (answer) => {
          this.#isRow((answer as readonly unknown[])[0], 1);
        },
      },
      {
        name: 'Model.build',
        operations: 4,
        run: () => hundred.map(() => Place.build({ ...rawValues }, { raw: true, isNewRecord: false })),
        check: (answer) => {
          this.#isRow((answer as readonly unknown[])[0], 1);
        },
      },
    ];
  }

  /** What one operation of each kind asks of the database and of the store. */
  async counts(): Promise<Counts[]> {
    const { Place } = this.#counted;
    const counts: Counts[] = [];
    const count = async (name: string, run: () => Promise<unknown>): Promise<void> => {
      counts.push(await countsOf(name, this.#counted, this.#observed, run));
    };
    const forget = async (...keys: Parameters<typeof Place.cache.getKey>[0][]): Promise<void> => {
      for (const key of keys) await this.#raw.delete(Place.cache.getKey(key));
    };
    const handle = this.#handle(2);
    const ids = range(1, many).map((id) => ({ id }));
    await Place.cache.get({ id: 1 });
    await count('get by id, warm', () => Place.cache.get({ id: 1 }));
    await count('get by handle, warm, first time in this process', () => Place.cache.get({ handle }));
    await count('get by handle, warm', () => Place.cache.get({ handle }));
    await forget({ id: 2 });
    await count('get by id, cold', () => Place.cache.get({ id: 2 }));
    const last = this.#table.rows.at(-1)!;
    await count('get by handle, cold', () => Place.cache.get({ handle: last.handle }));
    await count('getMany(100), warm', () => Place.cache.getMany(ids));
    await forget(...ids);
    await count('getMany(100), cold', () => Place.cache.getMany(ids));
    // The cold lookups have used these.
    await Place.cache.getMany(ids);
    return counts;
  }

  /** The bytes of a row in memcached, on average over the warm rows. */
  async bytes(): Promise<Bytes> {
    const { Place } = this.#cached;
    const store = this.#store();
    const size = async (keys: string[]): Promise<number> => {
      const { items } = await store.get(keys);
      assert.equal(items.size, keys.length, 'entries of warm rows are missing');
      let bytes = 0;
      for (const [key, { value }] of items) bytes += key.length + Buffer.byteLength(value);
      return Math.round(bytes / keys.length);
    };
    const ids = range(1, Math.min(this.#warm, 500));
    const bytes = {
      rowEntry: await size(ids.map((id) => Place.cache.getKey({ id }))),
      indexEntry: await size(ids.map((id) => Place.cache.getKey({ handle: this.#handle(id) }))),
      rawJson: await size(ids.map((id) => this.#rawKey(id))),
    };
    await store.close();
    return bytes;
  }

  #withoutSql(): Pick<Case, 'prepare' | 'after'> {
    let sent = 0;
    return {
      prepare: () => {
        sent = this.#cached.statements();
        return Promise.resolve();
      },
      after: () => {
        assert.equal(this.#cached.statements() - sent, 0, 'a warm run sent SQL');
      },
    };
  }

  #isRow(answer: unknown, id: number): void {
    isRow(this.#table, answer, id);
  }

  #handle(id: number): string {
    return this.#table.rows[id - 1]!.handle;
  }

  #rawKey(id: number): string {
    return `${this.#prefix}${String(id)}`;
  }
}

function isRow(table: Table, answer: unknown, id: number): void {
  const row = answer as { readonly id: number; readonly handle: string; readonly name: string } | null;
  const { handle, name } = table.rows[id - 1]!;
  assert.ok(row?.id === id && row.handle === handle && row.name === name, `a wrong answer for row ${String(id)}`);
}
