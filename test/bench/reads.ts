/** Reads: the cache, Sequelize without it, and the bare memcached client, on the same rows. */
import assert from 'node:assert/strict';
import type { ModelStatic } from 'sequelize';
import { registryOf } from '../../src/caches/registry.js';
import { MemcachedStore } from '../../src/stores/memcached.js';
import { ObservedStore } from '../support/observed-store.js';
import { countsOf, type Counts } from './counts.js';
import { operationsOf, type Case, type Comparison, type Plan } from './measure.js';
import { range, type CachedPlaces, type PlaceRow, type Side, type Table } from './places.js';
import type { RawClient } from './raw-client.js';

/** How many lookups are made at once in the cases on throughput. */
const inFlight = 64;
/** How many keys `getMany` is asked for. */
const many = 100;

const sliceOfColdHandles = 12;
const coldRows = 400;

/** How many rows a plan needs. */
export const rowsFor = (plan: Plan, warmRows: number): number =>
  warmRows + coldRows + operationsOf(plan, sliceOfColdHandles) + 10;

/** What is compared with what. */
export const readComparisons: readonly Comparison[] = [
  { name: 'warm get by primary key, against findOne', of: ['findOne id', 'get id'], says: 'times faster' },
  { name: 'warm get by unique name, against findOne', of: ['findOne handle', 'get handle'], says: 'times faster' },
  { name: 'warm get by primary key, against raw get + JSON.parse', of: ['get id', 'raw get'], says: 'times the time', aim: { most: 1.25 } },
  { name: 'warm get by unique name, against raw get + JSON.parse', of: ['get handle', 'raw get'], says: 'times the time', aim: { most: 1.25 } },
  { name: '64 in flight: warm get by primary key, against findOne', of: ['findOne id ×64', 'get id ×64'], says: 'times the throughput' },
  { name: '64 in flight: warm get by unique name, against findOne', of: ['findOne handle ×64', 'get handle ×64'], says: 'times the throughput' },
  { name: '64 in flight: warm get by primary key, against raw', of: ['raw get ×64', 'get id ×64'], says: 'times the throughput', aim: { least: 1.2 } },
  { name: '64 in flight: warm get by unique name, against raw', of: ['raw get ×64', 'get handle ×64'], says: 'times the throughput', aim: { least: 1.2 } },
  { name: 'cold get by primary key, against findOne', of: ['cold get id', 'findOne id'], says: 'times the time' },
  { name: 'cold get by unique name, never seen, against findOne', of: ['cold get handle', 'findOne handle'], says: 'times the time' },
  { name: 'getMany(100) warm, against one findAll', of: ['findAll IN', 'getMany warm'], says: 'times faster' },
  { name: 'getMany(100) warm, against raw getMulti + JSON.parse', of: ['getMany warm', 'raw getMulti'], says: 'times the time' },
  { name: 'getMany(100) cold, against one findAll', of: ['getMany cold', 'findAll IN'], says: 'times the time' },
  { name: 'hydration of a row, against Model.build(raw)', of: ['Model.build', 'hydrate'], says: 'times faster' },
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
    await this.#verify(ids);
    const raw = await this.#raw.get(this.#rawKey(1));
    assert.deepEqual(JSON.parse(raw), JSON.parse(JSON.stringify(await oracle.findByPk(1))), 'the raw client’s answer');
  }

  async #verify(ids: readonly number[]): Promise<void> {
    const { Place } = this.#cached;
    const sent = this.#cached.statements();
    const byId = await Place.cache.getMany(ids.map((id) => ({ id })));
    const byHandle = await Place.cache.getMany(ids.map((id) => ({ handle: this.#handle(id) })));
    assert.equal(this.#cached.statements() - sent, 0, 'warm lookups sent SQL');
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
    const isRow = (answer: unknown, at: number): void => {
      this.#isRow(answer, warmId(at));
    };
    const warm = this.#withoutSql();
    const findById = (at: number): Promise<unknown> => oracle.findOne({ where: { id: warmId(at) } });
    const findByHandle = (at: number): Promise<unknown> => oracle.findOne({ where: { handle: this.#handle(warmId(at)) } });
    const getById = (at: number): Promise<unknown> => Place.cache.get({ id: warmId(at) });
    const getByHandle = (at: number): Promise<unknown> => Place.cache.get({ handle: this.#handle(warmId(at)) });
    const raw = async (at: number): Promise<unknown> => JSON.parse(await this.#raw.get(this.#rawKey(warmId(at)))) as unknown;

    const idsAt = (at: number, of: number): number[] => range(0, many - 1).map((i) => 1 + ((at * many + i) % of));
    const areRows = (ids: (at: number) => number[]) => (answer: unknown, at: number) => {
      const rows = answer as readonly unknown[];
      assert.equal(rows.length, many);
      for (const [i, id] of ids(at).entries()) this.#isRow(rows[i], id);
    };
    const warmIds = (at: number): number[] => idsAt(at, this.#warm);
    const firstCold = this.#warm;
    const coldId = (at: number): number => firstCold + 1 + (at % (coldRows / 2));
    const coldIds = (at: number): number[] => idsAt(at, coldRows / 2).map((i) => firstCold + coldRows / 2 + i);
    const firstUnseen = firstCold + coldRows + 1;
    const forget = (idsOf: (at: number) => readonly number[]) => async (first: number, operations: number) => {
      const keys = new Set(range(first, first + operations - 1).flatMap((at) => idsOf(at).map((id) => Place.cache.getKey({ id }))));
      for (const key of keys) await this.#raw.delete(key);
    };

    const { cached } = registryOf(Place).of(Place)!;
    const cells = cached.hydrator.dehydrate((await oracle.findByPk(1))!);
    const hundred = range(1, 100);
    const rawValues = (await oracle.findByPk(1))!.get({ plain: true });

    return [
      { name: 'findOne id', operations: 30, run: findById, check: isRow },
      { name: 'findOne handle', operations: 30, run: findByHandle, check: isRow },
      { name: 'get id', operations: 100, run: getById, check: isRow, ...warm },
      { name: 'get handle', operations: 100, run: getByHandle, check: isRow, ...warm },
      { name: 'raw get', operations: 100, run: raw, check: isRow },
      { name: 'findOne id ×64', operations: 192, inFlight, run: findById, check: isRow },
      { name: 'findOne handle ×64', operations: 192, inFlight, run: findByHandle, check: isRow },
      { name: 'get id ×64', operations: 640, inFlight, run: getById, check: isRow, ...warm },
      { name: 'get handle ×64', operations: 640, inFlight, run: getByHandle, check: isRow, ...warm },
      { name: 'raw get ×64', operations: 640, inFlight, run: raw, check: isRow },
      {
        name: 'cold get id',
        operations: 12,
        prepare: forget((at) => [coldId(at)]),
        run: (at) => Place.cache.get({ id: coldId(at) }),
        check: (answer, at) => {
          this.#isRow(answer, coldId(at));
        },
      },
      {
        name: 'cold get handle',
        operations: sliceOfColdHandles,
        run: (at) => Place.cache.get({ handle: this.#handle(firstUnseen + at) }),
        check: (answer, at) => {
          this.#isRow(answer, firstUnseen + at);
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
        run: () => hundred.map(() => cached.hydrator.instance(cached.hydrator.values(cells))),
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
    const row = answer as { readonly id: number; readonly handle: string; readonly name: string } | null;
    const { handle, name } = this.#table.rows[id - 1]!;
    assert.ok(row !== null && row.id === id && row.handle === handle && row.name === name, `a wrong answer for row ${String(id)}`);
  }

  #handle(id: number): string {
    return this.#table.rows[id - 1]!.handle;
  }

  #rawKey(id: number): string {
    return `${this.#prefix}${String(id)}`;
  }
}
