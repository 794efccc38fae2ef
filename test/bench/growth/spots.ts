/** What is measured at each size: lookups and writes, each answer checked. */
import assert from 'node:assert/strict';
import type { ModelStatic } from 'sequelize';
import { countsOf, type Counts } from '../counts.js';
import type { Case } from '../measure.js';
import { range } from '../places.js';
import { axes, type CurvePlan } from './curve.js';
import { anyOf, isItem, nameOf, smallRows, wideKeyOf, type Ground, type Item, type Items, type Side, type Where } from './ground.js';

/** How many of each there are. */
export interface Sizes {
  readonly models: readonly number[];
  readonly caches: readonly number[];
  readonly rows: readonly number[];
  readonly servers: readonly number[];
  readonly processes: readonly number[];
}

const inFlight = 64;
const lookupsInSlice = 640;
const writesInSlice = 4;
/** Of each small table: rows that are only read, and behind them rows that are written. */
const readRows = 800;
/** Each spot writes rows of its own: what one writes, the others do not see, their keys being different. */
const writtenRows = 40;
/** Rows of one bulk update. */
export const bulkRows = 10;

type Cached = ModelStatic<Item> & { readonly cache: Items['cache'] };
type Key = Parameters<Items['cache']['get']>[0];

/** A lookup: its model, its key and the row that it has to find. */
interface Asked {
  readonly model: Cached;
  readonly key: Key;
  readonly id: number;
}

/** One size of what grows. */
export interface Spot {
  readonly axis: string;
  readonly size: number;
  readonly side: Side<ModelStatic<Item>>;
  /** `distinct`: how many are made before anything is measured. */
  readonly lookups: readonly { readonly curve: string; readonly distinct: number; at(at: number): Asked }[];
  /** Where writes are measured as well. */
  readonly writes?: {
    /** Which rows it writes: no other spot on the same tables has the same number. */
    readonly slot: number;
    /** The keys that a row is looked up by before it is written. */
    keysOf(id: number): readonly Key[];
  };
}

/** 64 lookups at once, none of which may reach the database. */
const caseOf = (spot: Spot, curve: string): string => `${curve}, ${String(spot.size)} ${spot.axis}`;

const byId = (id: number): Key => ({ id });
const byName = (id: number): Key => ({ name: nameOf(id) });

export function modelSpot(ground: Ground, count: number, where: Where, slot: number): Spot {
  const side = ground.items(range(0, count - 1).map((at) => `small${String(at)}`), where);
  const { models } = side;
  return {
    axis: axes.models,
    size: count,
    side,
    lookups: [
      {
        curve: 'get by id, over all models in turn',
        distinct: readRows,
        at: (at) => {
          const id = 1 + (Math.floor(at / count) % (readRows / count));
          return { model: models[at % count]!, key: byId(id), id };
        },
      },
      {
        curve: 'get by id, of one of the models',
        distinct: readRows,
        at: (at) => {
          const id = 1 + (at % readRows);
          return { model: models[0]!, key: byId(id), id };
        },
      },
    ],
    writes: { slot, keysOf: (id) => [byId(id), byName(id)] },
  };
}

export function cacheSpot(ground: Ground, count: number, where: Where, slot: number): Spot {
  const side = ground.wide(count, where);
  const [model] = side.models as readonly [Cached];
  const keyOf = (key: number, id: number): Key => ({ [`k${String(key)}`]: wideKeyOf(key, id) }) as unknown as Key;
  return {
    axis: axes.caches,
    size: count,
    side,
    lookups: [
      {
        curve: 'get by unique key, through all caches in turn',
        distinct: readRows,
        at: (at) => {
          const id = 1 + (Math.floor(at / count) % (readRows / count));
          return { model, key: keyOf(1 + (at % count), id), id };
        },
      },
    ],
    writes: { slot, keysOf: (id) => range(1, count).map((key) => keyOf(key, id)) },
  };
}

export function serverSpot(ground: Ground, where: Where, slot: number): Spot {
  const side = ground.items(['small0'], where);
  const [model] = side.models as readonly [Cached];
  return {
    axis: axes.servers,
    size: where.servers.length,
    side,
    lookups: [
      {
        curve: 'get by id',
        distinct: readRows,
        at: (at) => {
          const id = 1 + (at % readRows);
          return { model, key: byId(id), id };
        },
      },
    ],
    writes: { slot, keysOf: (id) => [byId(id), byName(id)] },
  };
}

export const nameCurve = 'get by unique name';

export function rowSpot(ground: Ground, rows: number, where: Where): Spot {
  const side = ground.items(['items'], where);
  const [model] = side.models as readonly [Cached];
  const lookup = (curve: string, keyOf: (id: number) => Key): Spot['lookups'][number] => ({
    curve,
    // They are filled by `fillRows`; a first turn is enough to make them known.
    distinct: Math.min(rows, 10_000),
    at: (at) => {
      const id = anyOf(at, rows);
      return { model, key: keyOf(id), id };
    },
  });
  return { axis: axes.rows, size: rows, side, lookups: [lookup('get by id', byId), lookup(nameCurve, byName)] };
}

/** Puts rows into the cache, 500 at a time. */
export async function fillRows({ side, size }: Spot, by: 'id' | 'name'): Promise<void> {
  const [model] = side.models as readonly [Cached];
  const keyOf = by === 'id' ? byId : byName;
  let next = 1;
  const loop = async (): Promise<void> => {
    while (next <= size) {
      const ids = range(next, Math.min(size, next + 499));
      next += 500;
      const rows = await model.cache.getMany(ids.map(keyOf));
      for (const [at, id] of ids.entries()) isItem(rows[at], id);
    }
  };
  await Promise.all([loop(), loop()]);
}

/** The lookups of a spot; warms and checks them first. */
export async function lookupCases(spot: Spot): Promise<Case[]> {
  const { side, lookups } = spot;
  const cases: Case[] = [];
  for (const { curve, distinct, at: asked } of lookups) {
    for (const pass of ['fill', 'known'] as const) {
      const sent = side.statements();
      for (let from = 0; from < distinct; from += 400) {
        await Promise.all(
          range(from, Math.min(distinct, from + 400) - 1).map(async (at) => {
            const { model, key, id } = asked(at);
            isItem(await model.cache.get(key), id);
          }),
        );
      }
      if (pass === 'known') assert.equal(side.statements() - sent, 0, `${caseOf(spot, curve)}: warm lookups sent SQL`);
    }
    let sent = 0;
    cases.push({
      name: caseOf(spot, curve),
      operations: lookupsInSlice,
      inFlight,
      run: (at) => {
        const { model, key } = asked(at);
        return model.cache.get(key);
      },
      check: (answer, at) => {
        isItem(answer, asked(at).id);
      },
      prepare: () => {
        sent = side.statements();
        return Promise.resolve();
      },
      after: () => {
        assert.equal(side.statements() - sent, 0, `${caseOf(spot, curve)}: a warm run sent SQL`);
      },
    });
  }
  return cases;
}

export const saveCurve = 'save()';
export const bulkCurve = `bulk update of ${String(bulkRows)} rows by id`;

/** The writes of a spot: of rows that this process has read from the cache, in all models in turn. */
export async function writeCases(spot: Spot): Promise<Case[]> {
  const { side, writes } = spot;
  if (writes === undefined) return [];
  const firstWritten = readRows + 1 + writes.slot * writtenRows;
  assert.ok(firstWritten + writtenRows - 1 <= smallRows, 'more rows are written than there are');
  const models = side.models as readonly Cached[];
  const modelAt = (at: number): Cached => models[at % models.length]!;
  const firstId = (at: number, count: number): number => firstWritten + ((Math.floor(at / models.length) * count) % writtenRows);
  const rows = new Map<Cached, readonly Item[]>();
  for (const model of models) rows.set(model, await model.findAll({ where: { id: range(firstWritten, firstWritten + writtenRows - 1) }, order: ['id'] }));
  const visits = new Map<string, number>();
  const read = async (model: Cached, ids: readonly number[]): Promise<void> => {
    const keys = ids.flatMap((id) => [...writes.keysOf(id)]);
    // Once more: to read a row from the cache is more than to have put it there.
    for (let pass = 0; pass < 2; pass += 1) {
      for (const row of await Promise.all(keys.map((key) => model.cache.get(key)))) {
        assert.equal(row.visits, visits.get(`${model.name} ${String(row.id)}`) ?? row.visits, 'a stale row');
      }
    }
  };
  let counter = 0;
  const common = (count: number): Pick<Case, 'operations' | 'prepare' | 'after'> => ({
    operations: writesInSlice,
    prepare: async (first, operations) => {
      for (const at of range(first, first + operations - 1)) await read(modelAt(at), range(firstId(at, count), firstId(at, count) + count - 1));
    },
    after: () => {
      assert.equal(side.cache.undelivered, 0, 'invalidations were not delivered');
    },
  });
  const note = (model: Cached, id: number, value: number): void => void visits.set(`${model.name} ${String(id)}`, value);
  return [
    {
      ...common(1),
      name: caseOf(spot, saveCurve),
      run: async (at) => {
        const model = modelAt(at);
        const row = rows.get(model)![firstId(at, 1) - firstWritten]!;
        counter += 1;
        row.visits = counter;
        await row.save();
        note(model, row.id, counter);
        return row;
      },
      check: (answer) => {
        assert.ok((answer as Item).changed() === false);
      },
    },
    {
      ...common(bulkRows),
      name: caseOf(spot, bulkCurve),
      run: async (at) => {
        const model = modelAt(at);
        const ids = range(firstId(at, bulkRows), firstId(at, bulkRows) + bulkRows - 1);
        counter += 1;
        const value = counter;
        const [affected] = await model.update({ visits: value }, { where: { id: ids } });
        for (const id of ids) note(model, id, value);
        return affected;
      },
      check: (answer) => {
        assert.equal(answer, bulkRows);
      },
    },
  ];
}

/** The curves of all spots of one axis. */
export function plansOf(spots: readonly Spot[]): CurvePlan[] {
  const plans = new Map<string, { name: string; axis: string; points: { size: number; case: string }[] }>();
  for (const spot of spots) {
    const curves = [...spot.lookups.map(({ curve }) => curve), ...(spot.writes === undefined ? [] : [saveCurve, bulkCurve])];
    for (const name of curves) {
      const key = `${name}, ${spot.axis}`;
      const plan = plans.get(key) ?? { name, axis: spot.axis, points: [] };
      plans.set(key, plan);
      plan.points.push({ size: spot.size, case: caseOf(spot, name) });
    }
  }
  return [...plans.values()];
}

/** The same counts for every one of several operations, or how they differ. */
export interface CountRange {
  readonly axis: string;
  readonly size: number;
  readonly what: string;
  readonly sql: number;
  readonly fewestTrips: number;
  readonly mostTrips: number;
}

const counted = 8;

/** Counts of lookups and writes of a spot whose store is observed. */
export async function countSpot(spot: Spot): Promise<CountRange[]> {
  const { side } = spot;
  const { observed } = side;
  assert.ok(observed !== undefined, 'a spot that is counted has an observed store');
  const cases = [...(await lookupCases(spot)), ...(await writeCases(spot))];
  const names = [...spot.lookups.map(({ curve }) => curve), ...(spot.writes === undefined ? [] : [saveCurve, bulkCurve])];
  const ranges: CountRange[] = [];
  for (const [index, one] of cases.entries()) {
    const counts: Counts[] = [];
    // Lookups that were not made before, if there are any.
    const first = spot.lookups[index]?.distinct ?? 0;
    for (let at = first; at < first + counted; at += 1) {
      await one.prepare?.(at, 1);
      counts.push(await countsOf(one.name, side, observed, async () => one.run(at)));
      one.after?.();
    }
    const [sql, ...others] = new Set(counts.map((count) => count.sql));
    assert.ok(sql !== undefined && others.length === 0, `${one.name}: ${String([sql, ...others])} SQL statements`);
    const trips = counts.map(({ roundTrips }) => roundTrips);
    ranges.push({ axis: spot.axis, size: spot.size, what: names[index]!, sql, fewestTrips: Math.min(...trips), mostTrips: Math.max(...trips) });
  }
  return ranges;
}
