/** Rows of few and of many columns, and large values: the same lookups on tables of other shapes. */
import assert from 'node:assert/strict';
import { DataTypes, type Model, type ModelAttributes } from 'sequelize';
import { withCache, type CacheManager } from '../../src/index.js';
import { caseOf, Competitors, type concurrencies, type Subject } from './competitors.js';
import type { Case, Comparison, Pace } from './measure.js';
import { range, type Places } from './places.js';

interface Shape {
  /** As the cases' names have it. */
  readonly name: string;
  readonly rows: number;
  /** Operations in a slice, at most. */
  readonly most: number;
  /** How many lookups are under way at the same time, where there are several. */
  readonly inFlight: (typeof concurrencies)[number];
  readonly pace: Pace;
  readonly columns: ModelAttributes;
  values(id: number): Readonly<Record<string, unknown>>;
}

type Row = Model<{ id: number }, { id: number }> & { readonly id: number };

const usual = { rows: 300, most: 320, inFlight: 64, pace: 'every second turn' } as const;
/** With 64 of these in flight the raw client takes tens of times as much CPU time for each as one by one. */
const large = { rows: 30, most: 32, inFlight: 8, pace: 'once a round' } as const;

/** Columns of the kinds that tables are made of. */
function shapeOf(count: number): Shape {
  const kinds: readonly (readonly [type: ModelAttributes[string], value: (id: number, at: number) => unknown])[] = [
    [DataTypes.STRING(80), (id, at) => `text ${String(at)} of row ${String(id)}`],
    [DataTypes.INTEGER, (id, at) => id * 31 + at],
    [DataTypes.BOOLEAN, (id, at) => (id + at) % 3 === 0],
    [DataTypes.DATE, (id, at) => new Date(Date.UTC(2021, 0, 1) + (id * 61 + at) * 60_000)],
    [DataTypes.DECIMAL(9, 3), (id, at) => (id / (at + 1)).toFixed(3)],
  ];
  const rest = range(0, count - 2).map((at) => ({ name: `c${String(at)}`, at, kind: kinds[at % kinds.length]! }));
  return {
    name: `${String(count)} columns`,
    ...usual,
    columns: Object.fromEntries(rest.map(({ name, kind: [type] }) => [name, type])),
    values: (id) => Object.fromEntries(rest.map(({ name, at, kind: [, value] }) => [name, value(id, at)])),
  };
}

function textOf(kilobytes: number): Shape {
  return {
    name: `${String(kilobytes)} kB`,
    ...(kilobytes < 10 ? usual : large),
    columns: { c0: DataTypes.TEXT('medium') },
    values: (id) => ({ c0: `${String(id)} ${'It is a long text. '.repeat(kilobytes * 60)}`.slice(0, kilobytes * 1000) }),
  };
}

const shapes: readonly Shape[] = [shapeOf(10), shapeOf(60), textOf(1), textOf(100)];

/** What is compared with what. */
export const shapeComparisons: readonly Comparison[] = shapes.flatMap(({ name, inFlight }): Comparison[] => {
  const [get, raw, findOne, socket] = [`get id, ${name}`, `raw get, ${name}`, `findOne id, ${name}`, `pipelined socket, ${name}`] as const;
  return [
    { name: `row of ${name} warm, against raw get + JSON.parse`, of: [get, raw], says: 'times the time' },
    { name: `${String(inFlight)} in flight: row of ${name} warm, against findOne`, of: [caseOf(findOne, inFlight), caseOf(get, inFlight)], says: 'times the throughput' },
    { name: `${String(inFlight)} in flight: row of ${name} warm, against raw`, of: [caseOf(raw, inFlight), caseOf(get, inFlight)], says: 'times the throughput' },
    { name: `${String(inFlight)} in flight: row of ${name} warm, against a pipelined socket`, of: [caseOf(socket, inFlight), caseOf(get, inFlight)], says: 'times the throughput' },
  ];
});

/** The tables of the shapes that the comparisons name. */
export class ShapeBench {
  readonly #opened: readonly Competitors[];

  private constructor(opened: readonly Competitors[]) {
    this.#opened = opened;
  }

  /** Creates the tables, and compares every answer. */
  static async open(places: Places, servers: readonly string[], wanted: readonly Comparison[]): Promise<ShapeBench> {
    const opened: Competitors[] = [];
    for (const shape of shapes) {
      if (!wanted.some(({ of }) => of.some((name) => name.includes(`, ${shape.name}`)))) continue;
      const competitors = new Competitors(await subjectOf(places, shape), servers, {
        rows: shape.name,
        most: shape.most,
        pace: shape.pace,
      });
      opened.push(competitors);
      await competitors.fillAndVerify(wanted);
    }
    return new ShapeBench(opened);
  }

  cases(wanted: readonly Comparison[]): Case[] {
    return this.#opened.flatMap((competitors) => competitors.cases(wanted));
  }

  async close(): Promise<void> {
    for (const competitors of this.#opened) await competitors.close();
  }
}

async function subjectOf(places: Places, shape: Shape): Promise<Subject> {
  const name = shape.name.replace(' ', '_');
  const define = () => {
    const { sequelize, statements } = places.connect();
    const id = { type: DataTypes.INTEGER, primaryKey: true };
    const model = sequelize.define<Row>(`Row_${name}`, { id, ...shape.columns }, { timestamps: false });
    return { sequelize, statements, model };
  };
  const ids = range(1, shape.rows);
  const values = new Map(ids.map((id) => [id, shape.values(id)]));
  const { sequelize, model } = define();
  await sequelize.sync();
  for (const id of ids) await model.create({ id, ...values.get(id) });
  return {
    name,
    ids,
    plain: () => {
      const side = define();
      return { model: side.model, statements: side.statements };
    },
    cached: (store, options) => {
      const side = define();
      const cache = withCache(side.model, { keys: ['id'] }) as unknown as CacheManager<Row, 'id'>;
      places.setup(side.sequelize, store, options);
      return { get: (id) => cache.get({ id }), statements: side.statements };
    },
    check: (answer, id) => {
      const row = answer as Readonly<Record<string, unknown>> | null;
      assert.ok(row?.id === id && row.c0 === values.get(id)!.c0, `a wrong answer for row ${String(id)}`);
    },
  };
}
