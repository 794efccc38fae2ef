/**
 * Writes: what being never stale costs. Each write is done with the cache and without it, on rows
 * of its own, in a table of its own: some of them void the whole table.
 */
import assert from 'node:assert/strict';
import { Op, type ModelStatic, type WhereOptions } from 'sequelize';
import { MemcachedStore } from '../../src/stores/memcached.js';
import { ObservedStore } from '../support/observed-store.js';
import type { FlashCache } from '../../src/index.js';
import { countsOf, type Counts } from './counts.js';
import type { Case, Comparison, Pace } from './measure.js';
import { range, type CachedPlaces, type PlaceRow, type Side, type Table } from './places.js';

/** A way in which a write is measured with the cache. */
interface Variant {
  /** As it is printed. */
  readonly name: string;
  /** `unlimited`: with a `bulkInvalidationLimit` that no write here exceeds. */
  readonly side: 'cached' | 'unlimited';
  /** Who has put the rows into the cache before they are written: this process, and read them there, or another one. */
  readonly warm?: 'here' | 'elsewhere';
  readonly most?: number;
}

/** One kind of write. */
interface Kind {
  readonly name: string;
  /** Rows of its own for each side. */
  readonly rows: number;
  /** Kinds of the same pool share their rows. @default rows of its own, for each variant */
  readonly pool?: string;
  /** In one slice. */
  readonly operations: number;
  readonly pace?: Pace;
  readonly variants: readonly Variant[];
  start(side: Side<ModelStatic<PlaceRow>>, ids: readonly number[], bench: Tools): Promise<Work>;
}

/** A kind of write on one side. */
interface Work {
  /** The rows that an operation changes. */
  changes?(at: number): readonly number[];
  /** Untimed, before a slice. Resolves to the handles of rows that it made, to be put into the cache. */
  prepare?(operations: number): Promise<readonly string[]>;
  run(at: number): Promise<unknown>;
  /** @default nothing */
  check?(answer: unknown, at: number): void;
}

/** What kinds share. */
interface Tools {
  /** Notes what a row is to hold from now on. */
  expect(id: number, visits: number): void;
  /** Notes that a row is to be gone. */
  expectGone(id: number): void;
  /** A number that no row holds: an update to the value that is there costs less. */
  nextVisits(): number;
  /** A new row's, whose id the database chooses. */
  newValues(): Omit<Table['rows'][number], 'id'>;
}

const few = 40;
/** More rows than the default `bulkInvalidationLimit`. */
const very = 10_000;

const readHere = (name: string): Variant => ({ name, side: 'cached', warm: 'here' });
const readElsewhere = (name: string): Variant => ({ name, side: 'cached', warm: 'elsewhere' });

const kinds: readonly Kind[] = [
  {
    name: 'save()',
    rows: few,
    operations: 8,
    variants: [
      { ...readHere('save() of a row that this process read from the cache'), most: 1.3 },
      { ...readElsewhere('save() of a row that another process read'), most: 1.3 },
      { name: 'save() of a row that is not cached', side: 'cached', most: 1.3 },
    ],
    async start(side, ids, bench) {
      const rows = await rowsOf(side, ids);
      const rowAt = (at: number): PlaceRow => rows[at % rows.length]!;
      return {
        changes: (at) => [rowAt(at).id],
        run: (at) => visit(rowAt(at), bench),
        check: (answer, at) => {
          assert.equal(answer, rowAt(at));
        },
      };
    },
  },
  {
    name: 'create()',
    rows: 0,
    operations: 4,
    variants: [{ name: 'create()', side: 'cached' }],
    start(side, _ids, bench) {
      return Promise.resolve({
        run: async () => {
          const row = await side.Place.create(bench.newValues());
          bench.expect(row.id, row.visits);
          return row;
        },
        check: (answer) => {
          assert.ok((answer as PlaceRow).id > 0);
        },
      });
    },
  },
  {
    name: 'destroy()',
    rows: 0,
    operations: 4,
    variants: [readHere('destroy() of a row that this process read from the cache')],
    start(side, _ids, bench) {
      let rows: PlaceRow[] = [];
      return Promise.resolve({
        prepare: async (operations) => {
          const values = range(1, operations).map(() => bench.newValues());
          await side.Place.bulkCreate(values);
          const handles = values.map(({ handle }) => handle);
          rows = await side.Place.findAll({ where: { handle: handles } });
          return handles;
        },
        run: async () => {
          const row = rows.pop()!;
          await row.destroy();
          bench.expectGone(row.id);
        },
      });
    },
  },
  ...[1, 100, very].flatMap((count): Kind[] => {
    const name = `bulk update of ${count.toLocaleString('en')} ${count === 1 ? 'row' : 'rows'}`;
    const common: Omit<Kind, 'name' | 'start' | 'variants'> = {
      pool: name,
      rows: count === very ? very : Math.max(few, 4 * count),
      operations: count === 1 ? 4 : count === very ? 1 : 2,
      pace: count === very ? 'every second round' : 'every turn',
    };
    const variants = (how: string): Variant[] =>
      count === very
        ? [
            // Only the table's generation is marked, whatever is cached of its rows.
            { name: `${name} ${how}, which voids the table`, side: 'cached' },
            { name: `${name} ${how}, row by row (bulkInvalidationLimit: ${String(very)})`, side: 'unlimited', warm: 'elsewhere' },
          ]
        : [readElsewhere(`${name} ${how}`)];
    const start =
      (whereOf: (ids: readonly number[]) => WhereOptions<{ readonly id: number }>): Kind['start'] =>
      ({ Place }, ids, bench) => {
        const idsAt = (at: number): readonly number[] => {
          const first = (at * count) % ids.length;
          return ids.slice(first, first + count);
        };
        return Promise.resolve({
          changes: idsAt,
          run: async (at) => {
            const visits = bench.nextVisits();
            const [affected] = await Place.update({ visits }, { where: whereOf(idsAt(at)) });
            for (const id of idsAt(at)) bench.expect(id, visits);
            return affected;
          },
          check: (answer) => {
            assert.equal(answer, count);
          },
        });
      };
    return [
      { ...common, name: `${name} by id`, variants: variants('by id'), start: start((ids) => ({ id: [...ids] })) },
      {
        ...common,
        name: `${name} by a condition`,
        variants: variants('by a condition'),
        // To the cache it is as good as any: which rows it finds, only the database knows.
        start: start((ids) => ({ id: { [Op.between]: [ids[0]!, ids.at(-1)!] } })),
      },
    ];
  }),
  ...[10, 100].map((count): Kind => ({
    name: `transaction of ${String(count)} saves`,
    rows: Math.max(few, count),
    operations: count === 10 ? 2 : 1,
    pace: count === 10 ? 'every turn' : 'once a round',
    variants: [readHere(`transaction of ${String(count)} saves`)],
    async start(side, ids, bench) {
      const rows = await rowsOf(side, ids);
      const rowsAt = (at: number): PlaceRow[] => range(0, count - 1).map((i) => rows[(at * count + i) % rows.length]!);
      return {
        changes: (at) => rowsAt(at).map(({ id }) => id),
        run: (at) =>
          side.sequelize.transaction(async (transaction) => {
            for (const row of rowsAt(at)) await visit(row, bench, { transaction });
          }),
      };
    },
  })),
];

const rowsOf = (side: Side<ModelStatic<PlaceRow>>, ids: readonly number[]): Promise<PlaceRow[]> =>
  side.Place.findAll({ where: { id: [...ids] }, order: ['id'] });

async function visit(row: PlaceRow, bench: Tools, options: Parameters<PlaceRow['save']>[0] = {}): Promise<PlaceRow> {
  row.visits += 1;
  bench.expect(row.id, row.visits);
  return row.save(options);
}

/** Rows for every kind and side, and some whose values are those of new rows. */
export const rowsToWrite = 2 * very + 4000;

const plainCase = (kind: Kind): string => `${kind.name} without`;

/** What is compared with what: each write with the cache, against the same one without. */
export const writeComparisons: readonly Comparison[] = kinds.flatMap((kind) =>
  kind.variants.map(({ name, most }) => ({
    name,
    of: [name, plainCase(kind)] as const,
    says: 'times the time' as const,
    ...(most === undefined ? {} : { aim: { most } }),
  })),
);

/** All writes on one table. */
export class WriteBench implements Tools {
  readonly #table: Table;
  readonly #sides: { readonly plain: Side<ModelStatic<PlaceRow>> } & Readonly<Record<Variant['side'], Side<CachedPlaces>>>;
  readonly #caches: readonly FlashCache[];
  /** The sides again, with a store that counts. */
  readonly #counted: Readonly<Record<Variant['side'], Side<CachedPlaces>>>;
  readonly #observed: ObservedStore;
  readonly #reader: Side<CachedPlaces>;
  readonly #expected = new Map<number, number>();
  readonly #gone: number[] = [];
  readonly #pools = new Map<string, readonly number[]>();
  #taken = 0;
  #made = 0;
  #visits = 1_000_000;

  constructor(table: Table, servers: readonly string[]) {
    // The machine that runs this may be busy; a missed deadline would leave invalidations undelivered.
    // Each of so many rows is a command or two, all at once: more than a store takes by default.
    const store = (): MemcachedStore => new MemcachedStore(servers, { timeoutMs: 5000, maxPending: 10 * very });
    const unlimited = { bulkInvalidationLimit: very };
    this.#observed = new ObservedStore(store());
    const measured = { cached: table.cached(store()), unlimited: table.cached(store(), unlimited) };
    const counted = { cached: table.cached(this.#observed), unlimited: table.cached(this.#observed, unlimited) };
    this.#table = table;
    this.#sides = { plain: table.plain(), ...measured };
    this.#counted = counted;
    this.#caches = [measured, counted].flatMap((sides) => Object.values(sides)).map(({ cache }) => cache);
    this.#reader = table.cached(store());
  }

  expect(id: number, visits: number): void {
    this.#expected.set(id, visits);
  }

  expectGone(id: number): void {
    this.#expected.delete(id);
    this.#gone.push(id);
  }

  nextVisits(): number {
    this.#visits += 1;
    return this.#visits;
  }

  newValues(): Omit<Table['rows'][number], 'id'> {
    this.#made += 1;
    const { id, ...values } = this.#table.rows[this.#made % this.#table.rows.length]!;
    return { ...values, handle: `${values.handle}-${String(id)}-${String(this.#made)}` };
  }

  /** The cases that the comparisons name. */
  async cases(wanted: readonly Comparison[]): Promise<Case[]> {
    const cases: Case[] = [];
    for (const kind of kinds) {
      const variants = kind.variants.filter(({ name }) => wanted.some((one) => one.name === name));
      if (variants.length === 0) continue;
      cases.push(await this.#case(plainCase(kind), kind, this.#sides.plain));
      for (const variant of variants) {
        const side = this.#sides[variant.side];
        cases.push(await this.#case(variant.name, kind, side, variant, variant.warm === 'here' ? side : undefined));
      }
    }
    return cases;
  }

  /** What one operation of each kind asks of the database, more than without the cache, and of the store. */
  async counts(wanted: readonly Comparison[]): Promise<Counts[]> {
    const counts: Counts[] = [];
    // The first update by a condition asks the server for its isolation level, once in a process.
    for (const { Place } of Object.values(this.#counted)) await Place.update({ visits: 0 }, { where: { handle: 'nobody' } });
    for (const kind of kinds) {
      for (const variant of kind.variants) {
        if (!wanted.some(({ name }) => name === variant.name)) continue;
        const { plain } = this.#sides;
        const without = await this.#case(plainCase(kind), kind, plain);
        await without.prepare?.(0, 1);
        const sent = plain.statements();
        await without.run(0);
        const sql = plain.statements() - sent;
        const side = this.#counted[variant.side];
        const one = await this.#case(variant.name, kind, side, variant, variant.warm === 'here' ? side : undefined);
        await one.prepare?.(0, 1);
        const counted = await countsOf(variant.name, side, this.#observed, async () => one.run(0));
        one.after?.();
        counts.push({ ...counted, extraSql: counted.sql - sql });
      }
    }
    return counts;
  }

  /** Compares what the cache says of the rows that were written with what the database has. */
  async verify(): Promise<void> {
    const ids = [...this.#expected.keys()];
    for (let from = 0; from < ids.length; from += 1000) {
      const some = ids.slice(from, from + 1000);
      const found = new Map((await this.#sides.plain.Place.findAll({ where: { id: some } })).map((row) => [row.id, row]));
      const rows = await this.#reader.Place.cache.getMany(some.map((id) => ({ id })));
      for (const [at, id] of some.entries()) {
        const row = rows[at];
        assert.equal(row?.visits, this.#expected.get(id), `row ${String(id)}`);
        assert.deepEqual(row?.get({ plain: true }), found.get(id)?.get({ plain: true }), `row ${String(id)}`);
      }
    }
    const rows = await this.#reader.Place.cache.getMany(this.#gone.map((id) => ({ id })));
    assert.ok(rows.every((row) => row === null), 'a row that was destroyed');
  }

  async #case(name: string, kind: Kind, side: Side<ModelStatic<PlaceRow>>, variant?: Variant, reader = this.#reader): Promise<Case> {
    // What is written past the cache is never looked up in it.
    const pool = kind.pool === undefined ? name : `${kind.pool}, ${variant === undefined ? 'past the cache' : 'cached'}`;
    const ids = this.#idsOf(pool, kind.rows);
    const work = await kind.start(side, ids, this);
    return {
      name,
      operations: kind.operations,
      ...(kind.pace === undefined ? {} : { pace: kind.pace }),
      prepare: async (first, operations) => {
        const handles = (await work.prepare?.(operations)) ?? [];
        if (variant?.warm === undefined) return;
        const { changes } = work;
        const changed = changes === undefined ? [] : [...new Set(range(first, first + operations - 1).flatMap((at) => [...changes(at)]))];
        const { cache } = reader.Place;
        const keys = [...changed.map((id) => ({ id })), ...handles.map((handle) => ({ handle }))];
        await cache.getMany(keys);
        // Once more: to read a row from the cache is more than to have put it there.
        for (const row of await cache.getMany(keys)) {
          assert.ok(row !== null, 'a row is missing');
          assert.equal(row.visits, this.#expected.get(row.id) ?? row.visits, 'a stale row');
        }
      },
      run: (at) => work.run(at),
      check: (answer, at) => work.check?.(answer, at),
      after: () => {
        assert.ok(this.#caches.every(({ undelivered }) => undelivered === 0), 'invalidations were not delivered');
      },
    };
  }

  #idsOf(pool: string, count: number): readonly number[] {
    const known = this.#pools.get(pool);
    if (known !== undefined) return known;
    const ids = range(this.#taken + 1, this.#taken + count);
    this.#taken += count;
    assert.ok(this.#taken <= this.#table.rows.length, 'more rows are written than there are');
    this.#pools.set(pool, ids);
    return ids;
  }
}
