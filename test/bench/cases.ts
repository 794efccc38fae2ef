/** What is measured: the cache, Sequelize without it, and the bare memcached client, on the same rows. */
import assert from 'node:assert/strict';
import Memcached from 'memcached';
import type { ModelStatic } from 'sequelize';
import { registryOf } from '../../src/caches/registry.js';
import { MemcachedStore } from '../../src/stores/memcached.js';
import { ObservedStore, type Operation } from '../support/observed-store.js';
import { operationsOf, type Case, type Plan } from './measure.js';
import type { CachedPlaces, Places, PlaceRow, Side } from './places.js';

/** How many lookups are made at once in the cases on throughput. */
export const inFlight = 64;
/** How many keys `getMany` is asked for. */
export const many = 100;
/** How many rows the measured transaction saves. */
export const savesInTransaction = 10;

const sliceOfColdHandles = 12;
const writtenRows = 40;
const coldRows = 400;

/** How many rows a plan needs. */
export const rowsFor = (plan: Plan, warmRows: number): number =>
  warmRows + 4 * writtenRows + coldRows + operationsOf(plan, sliceOfColdHandles) + 10;

/** Counts of one operation. */
export interface Counts {
  readonly case: string;
  readonly sql: number;
  readonly roundTrips: number;
  readonly operations: Readonly<Partial<Record<Operation, number>>>;
}

/** Bytes in memcached: keys and values, without what memcached adds for itself to each item. */
export interface Bytes {
  readonly rowEntry: number;
  readonly indexEntry: number;
  readonly rawJson: number;
}

/** Everything on one set of rows. */
export class Bench {
  readonly #places: Places;
  readonly #warm: number;
  readonly #servers: readonly string[];
  readonly #raw: RawClient;
  readonly #plain: Side<ModelStatic<PlaceRow>>;
  readonly #cached: Side<CachedPlaces>;
  readonly #counted: Side<CachedPlaces>;
  readonly #observed: ObservedStore;
  readonly #prefix = `raw${String(process.pid)}:`;

  constructor(places: Places, servers: readonly string[], warmRows: number) {
    this.#places = places;
    this.#servers = servers;
    this.#warm = warmRows;
    this.#raw = new RawClient(servers);
    this.#plain = places.plain();
    this.#cached = places.cached(this.#store());
    this.#observed = new ObservedStore(this.#store());
    this.#counted = places.cached(this.#observed);
  }

  #store(): MemcachedStore {
    // The machine that runs this may be busy; a missed deadline would send reads to the database.
    return new MemcachedStore(this.#servers, { timeoutMs: 5000 });
  }

  /** `VERSION` of the first server. */
  version(): Promise<string> {
    return this.#raw.version();
  }

  close(): void {
    this.#raw.close();
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
    await this.#verify(ids, 'warm');
    const raw = await this.#raw.get(this.#rawKey(1));
    assert.deepEqual(JSON.parse(raw), JSON.parse(JSON.stringify(await oracle.findByPk(1))), 'the raw client’s answer');
  }

  /** Compares with `findOne` what the cache says of the rows that were written meanwhile. */
  async verifyWritten(): Promise<void> {
    await this.#verify(range(this.#warm + 1, this.#warm + 4 * writtenRows), 'written');
  }

  async #verify(ids: readonly number[], which: string): Promise<void> {
    const { Place } = this.#cached;
    const sent = this.#cached.statements();
    const byId = await Place.cache.getMany(ids.map((id) => ({ id })));
    const byHandle = await Place.cache.getMany(ids.map((id) => ({ handle: this.#handle(id) })));
    if (which === 'warm') assert.equal(this.#cached.statements() - sent, 0, 'warm lookups sent SQL');
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
        if (at % 20 === 0) assert.deepEqual(answer, expected, `${which} row ${String(id)}`);
        assert.deepEqual(answer?.get({ plain: true }), expected?.get({ plain: true }), `${which} row ${String(id)}`);
      }
    }
  }

  /** The cases; names are those that `report.ts` compares. */
  async cases(): Promise<Case[]> {
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
    const firstCold = this.#warm + 4 * writtenRows;
    const coldId = (at: number): number => firstCold + 1 + (at % (coldRows / 2));
    const coldIds = (at: number): number[] => idsAt(at, coldRows / 2).map((i) => firstCold + coldRows / 2 + i);
    const firstUnseen = firstCold + coldRows + 1;
    const forget = (idsOf: (at: number) => readonly number[]) => async (first: number, operations: number) => {
      const keys = new Set(range(first, first + operations - 1).flatMap((at) => idsOf(at).map((id) => Place.cache.getKey({ id }))));
      for (const key of keys) await this.#raw.delete(key);
    };

    const [plainSaves, cachedSaves, plainTransactions, cachedTransactions] = await Promise.all(
      [oracle, Place, oracle, Place].map((model, i) => {
        const first = this.#warm + 1 + i * writtenRows;
        return model.findAll({ where: { id: range(first, first + writtenRows - 1) } });
      }),
    );
    const saves = (rows: readonly PlaceRow[]): Pick<Case, 'run' | 'check'> => ({
      run: async (at) => {
        const row = rows[at % writtenRows]!;
        row.visits += 1;
        return row.save();
      },
      check: (answer, at) => {
        assert.equal(answer, rows[at % writtenRows]);
      },
    });
    const transactions = (side: Side<ModelStatic<PlaceRow>>, rows: readonly PlaceRow[]): Pick<Case, 'run' | 'check'> => ({
      run: (at) =>
        side.sequelize.transaction(async (transaction) => {
          for (let i = 0; i < savesInTransaction; i += 1) {
            const row = rows[(at * savesInTransaction + i) % writtenRows]!;
            row.visits += 1;
            await row.save({ transaction });
          }
        }),
      check: () => undefined,
    });
    const warmUpRows = (rows: readonly PlaceRow[]) => async () => {
      await Place.cache.getMany(rows.map(({ id }) => ({ id })));
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
      { name: 'save plain', operations: 8, ...saves(plainSaves!) },
      { name: 'save cached', operations: 8, prepare: warmUpRows(cachedSaves!), ...saves(cachedSaves!) },
      { name: 'transaction plain', operations: 2, ...transactions(this.#plain, plainTransactions!) },
      {
        name: 'transaction cached',
        operations: 2,
        prepare: warmUpRows(cachedTransactions!),
        ...transactions(this.#cached, cachedTransactions!),
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
    const { Place, sequelize } = this.#counted;
    const counts: Counts[] = [];
    const count = async (name: string, run: () => Promise<unknown>): Promise<void> => {
      const sent = this.#counted.statements();
      this.#observed.reset();
      await run();
      const kinds: readonly Operation[] = ['get', 'add', 'compareAndSwap', 'compareAndDelete', 'delete'];
      const operations = Object.fromEntries(
        kinds.map((kind) => [kind, this.#observed.count(kind)]).filter(([, times]) => times !== 0),
      ) as Counts['operations'];
      counts.push({ case: name, sql: this.#counted.statements() - sent, roundTrips: this.#observed.roundTrips, operations });
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
    const last = this.#places.rows.at(-1)!;
    await count('get by handle, cold', () => Place.cache.get({ handle: last.handle }));
    await count('getMany(100), warm', () => Place.cache.getMany(ids));
    await forget(...ids);
    await count('getMany(100), cold', () => Place.cache.getMany(ids));
    const row = await Place.cache.get({ id: this.#warm + 1 });
    await count('save()', () => row.update({ visits: row.visits + 1 }));
    const rows = await Place.findAll({ where: { id: range(this.#warm + 1, this.#warm + savesInTransaction) } });
    await count('transaction of 10 saves', () =>
      sequelize.transaction(async (transaction) => {
        for (const one of rows) await one.update({ visits: one.visits + 1 }, { transaction });
      }),
    );
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
    const { handle, name } = this.#places.rows[id - 1]!;
    assert.ok(row !== null && row.id === id && row.handle === handle && row.name === name, `a wrong answer for row ${String(id)}`);
  }

  #handle(id: number): string {
    return this.#places.rows[id - 1]!.handle;
  }

  #rawKey(id: number): string {
    return `${this.#prefix}${String(id)}`;
  }
}

/** The `memcached` package with its own settings: what somebody uses who does without this package. */
class RawClient {
  readonly #client: Memcached;

  constructor(servers: readonly string[]) {
    this.#client = new Memcached([...servers]);
  }

  get(key: string): Promise<string> {
    return this.#call((done) => {
      this.#client.get(key, done);
    });
  }

  getMulti(keys: string[]): Promise<Readonly<Record<string, string>>> {
    return this.#call((done) => {
      this.#client.getMulti(keys, done);
    });
  }

  set(key: string, value: string): Promise<boolean> {
    return this.#call((done) => {
      this.#client.set(key, value, 3600, done);
    });
  }

  delete(key: string): Promise<boolean> {
    return this.#call((done) => {
      this.#client.del(key, done);
    });
  }

  async version(): Promise<string> {
    const [first] = await this.#call<readonly { readonly version: string }[]>((done) => {
      this.#client.version(done as never);
    });
    return first?.version ?? 'unknown';
  }

  close(): void {
    this.#client.end();
  }

  #call<T>(send: (done: (error: unknown, answer: T) => void) => void): Promise<T> {
    return new Promise((resolve, reject) => {
      send((error, answer) => {
        if (error !== undefined && error !== null) reject(error instanceof Error ? error : new Error('The raw client failed.', { cause: error }));
        else resolve(answer);
      });
    });
  }
}

/** Whole numbers, both ends included. */
function range(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}

