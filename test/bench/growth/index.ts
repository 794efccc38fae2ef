/**
 * What grows as an application grows, and what does not: `npm run growth`.
 *
 *   -- --quick               small sizes and few rounds: whether it runs, and nothing to rely on
 *   -- --json                one JSON object on stdout, and nothing else there
 *   -- --write docs/scaling  charts into docs/scaling/, tables into docs/scaling.md between its markers
 *   -- --only heap,lost      only these parts: curves, processes, heap, long run, lost server; not with --write
 *   -- --rounds 5
 *
 * All points of all curves are measured in turn, in small slices, as ratios to the first of their
 * curve. Every answer is checked; a wrong one, SQL in a warm run, an eviction, or a count of SQL
 * statements that grows ends the run.
 */
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { parseArgs } from 'node:util';
import { startMemcached, type MemcachedProcess } from '../../support/memcached-process.js';
import { measure, type Case, type Measured, type Plan } from '../measure.js';
import { statsOf } from '../memcached-stats.js';
import { range } from '../places.js';
import { machineOf } from '../report.js';
import { axes, curveOf } from './curve.js';
import { openGround, smallRows, type Ground } from './ground.js';
import { measureLostServer, type Lost } from './lost-server.js';
import { betweenMarkers, chartsOf, markdown, readable, type Connections, type GrowthResult, type Weight } from './page.js';
import { measureHeap, measureLongRun, measureTogether, type Heap, type LongRun, type Together } from './processes.js';
import {
  cacheSpot,
  countSpot,
  fillRows,
  lookupCases,
  modelSpot,
  nameCurve,
  plansOf,
  rowSpot,
  serverSpot,
  writeCases,
  type CountRange,
  type Sizes,
  type Spot,
} from './spots.js';
import { svgOf } from './svg.js';

const { values: flags } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    write: { type: 'string' },
    only: { type: 'string' },
    rounds: { type: 'string' },
  },
});

const sizes: Sizes = flags.quick
  ? { models: [1, 10], caches: [1, 4], rows: [1000, 10_000], servers: [1, 3], processes: [1, 2] }
  : { models: [1, 10, 100], caches: [1, 4, 16], rows: [1000, 10_000, 100_000, 1_000_000], servers: [1, 3, 16], processes: [1, 2, 4] };
const rounds = flags.rounds === undefined ? (flags.quick ? 3 : 15) : Number(flags.rounds);
if (!Number.isInteger(rounds) || rounds < 1) throw new Error(`--rounds must be a whole number from 1; it is '${String(flags.rounds)}'.`);
const warmUp = flags.quick ? 1 : 2;
const parts = ['curves', 'processes', 'heap', 'long run', 'lost server'] as const;
type Part = (typeof parts)[number];
const words = flags.only?.split(',').map((word) => word.trim().toLowerCase()).filter((word) => word !== '') ?? [];
const wanted: readonly Part[] = parts.filter((part) => words.length === 0 || words.some((word) => part.includes(word)));
if (wanted.length === 0) throw new Error(`No part is named like '${words.join("' or '")}'. They are: ${parts.join(', ')}.`);
if (flags.write !== undefined && wanted.length < parts.length) throw new Error('A page is written as a whole: --write does not go with --only.');
/** After how many lookups the heap is weighed, and of how many rows. */
const longRuns = flags.quick
  ? { rows: [1000, 100], marks: [2000, 10_000, 20_000] }
  : { rows: [100_000, 1000], marks: [100_000, 1_000_000, 2_000_000, 4_000_000, 6_000_000, 8_000_000, 10_000_000] };
/** Writes take much longer. */
const plans = {
  lookups: { rounds, warmUp, turns: flags.quick ? 2 : 8 },
  writes: { rounds, warmUp, turns: flags.quick ? 2 : 4 },
} satisfies Readonly<Record<string, Plan>>;
const most = Math.max(...sizes.rows);
/** Which of the caches these parts look into. */
const processRows = sizes.rows.find((rows) => rows >= 10_000) ?? most;
const longRunRows = sizes.rows.find((rows) => rows >= longRuns.rows[0]!) ?? most;
const mysql = process.env.SEQUELIZE_FLASH_MYSQL_URL;
if (mysql === undefined) throw new Error('Run this with npm run growth, which provides servers.');

const began = performance.now();
/** What is going on; with --json it is beside the result. */
const say = (text: string): void => {
  const line = `${((performance.now() - began) / 1000).toFixed(0).padStart(4)} s  ${text}`;
  if (flags.json) console.error(line);
  else console.log(line);
};

async function main(url: string): Promise<void> {
  const started: MemcachedProcess[] = [];
  const server = async (memoryMb = 64): Promise<MemcachedProcess> => {
    const one = await startMemcached({ memoryMb });
    started.push(one);
    return one;
  };
  const ground = await openGround(url);
  try {
    const result = await run(ground, server);
    assert.deepEqual(await evictionsOf(started), [], 'memcached had too little memory');
    if (flags.write !== undefined) write(flags.write, result);
    if (flags.json) console.log(JSON.stringify(result));
    else console.log(`\n${readable(result)}`);
  } finally {
    await ground.close();
    await Promise.all(started.map((one) => one.stop()));
  }
}

const evictionsOf = async (servers: readonly MemcachedProcess[]): Promise<string[]> => {
  const all = await Promise.all(servers.map(async (one) => ({ address: one.address, ...(await statsOf(one)) })));
  return all.filter(({ evictions }) => evictions > 0).map(({ address, evictions }) => `${address}: ${String(evictions)} evictions`);
};

async function run(ground: Ground, server: (memoryMb?: number) => Promise<MemcachedProcess>): Promise<GrowthResult> {
  const models = Math.max(...sizes.models);
  const caches = sizes.rows.filter(isNeeded);
  const rowsInTable = Math.max(smallRows, ...caches);
  say(`${rowsInTable.toLocaleString('en')} rows and ${String(models)} small tables …`);
  await ground.fill(rowsInTable, models);
  const rowSpots: RowSpot[] = [];
  const weights: Weight[] = [];
  for (const rows of caches) rowSpots.push(await fillCache(ground, rows, server, weights));
  const shared = await server(256);
  const { curves, counts } = wanted.includes('curves') ? await measureCurves(ground, rowSpots, shared, server) : { curves: [], counts: [] };

  const taskOf = ({ spot, address, prefix }: RowSpot) => ({ url: ground.url, servers: [address], prefix, rows: spot.size });
  const ofSize = (rows: number): RowSpot => rowSpots.find(({ spot }) => spot.size === rows)!;
  let together: Together[] = [];
  if (wanted.includes('processes')) {
    say('processes …');
    const inAll = ofSize(processRows);
    together = await measureTogether(sizes.processes, taskOf(inAll), inAll, { rounds: flags.quick ? 2 : 7, milliseconds: flags.quick ? 300 : 700 });
  }

  let heaps: Heap[] = [];
  if (wanted.includes('heap')) {
    say('heap …');
    // Nothing is timed, so they may run at the same time. Each row once, then half of them again.
    heaps = await Promise.all([10_000, 100_000].map((maxHints) => measureHeap({ ...taskOf(ofSize(most)), maxHints }, most / 4, 6)));
  }

  let runs: LongRun[] = [];
  if (wanted.includes('long run')) {
    say(`${longRuns.marks.at(-1)!.toLocaleString('en')} lookups …`);
    runs = await Promise.all(longRuns.rows.map((rows) => measureLongRun(taskOf(ofSize(longRunRows)), rows, longRuns.marks)));
  }

  const connections: Connections[] = [];
  let lost: Lost | undefined;
  if (wanted.includes('lost server')) {
    say('a lost server …');
    const three = [await server(), await server(), await server()];
    for (const connectionsPerServer of [1, 4]) connections.push(await connectionsOf(ground, three, connectionsPerServer));
    lost = await measureLostServer(ground, three, models, flags.quick ? 3 : 9);
  }

  const given = [...(flags.quick ? ['--quick'] : []), ...(flags.only === undefined ? [] : [`--only '${flags.only}'`])];
  const version = /VERSION (\S+)/.exec(await shared.command('version\r\n'))?.[1] ?? 'unknown';
  return {
    date: new Date().toISOString().slice(0, 10),
    command: ['npm run growth', ...(given.length === 0 ? [] : ['--', ...given])].join(' '),
    machine: machineOf(ground.server, version),
    rounds,
    minutes: (performance.now() - began) / 60_000,
    curves,
    counts,
    weights,
    together,
    connections,
    heaps,
    longRuns: runs,
    lost,
  };
}

/** A cache of so many rows, on a server of its own: what is measured is the cache of that size. */
interface RowSpot {
  readonly spot: Spot;
  readonly address: string;
  readonly prefix: string;
}

function isNeeded(rows: number): boolean {
  return (
    wanted.includes('curves') ||
    (wanted.includes('processes') && rows === processRows) ||
    (wanted.includes('heap') && rows === most) ||
    (wanted.includes('long run') && rows === longRunRows)
  );
}

/** Fills one, and weighs what memcached holds then. */
async function fillCache(ground: Ground, rows: number, server: (memoryMb?: number) => Promise<MemcachedProcess>, weights: Weight[]): Promise<RowSpot> {
  const own = await server(rows > 100_000 ? 2048 : 256);
  const prefix = `rows${String(rows)}`;
  const spot = rowSpot(ground, rows, { servers: [own.address], prefix });
  const weigh = async (entries: Weight['entries']): Promise<void> => {
    const { items, bytes, allocated } = await statsOf(own);
    assert.ok(items >= rows * (entries === 'row' ? 1 : 2), `${String(items)} entries of ${String(rows)} rows`);
    weights.push({ rows, entries, items, bytes, allocated });
  };
  // By name both entries are made at once; the smaller caches tell what the rows alone are.
  if (rows < most || rows < 100_000) {
    await fillRows(spot, 'id');
    await weigh('row');
  }
  await fillRows(spot, 'name');
  await weigh('both');
  say(`${rows.toLocaleString('en')} rows are in a cache`);
  return { spot, address: own.address, prefix };
}

async function measureCurves(
  ground: Ground,
  rowSpots: readonly RowSpot[],
  shared: MemcachedProcess,
  server: () => Promise<MemcachedProcess>,
): Promise<Pick<GrowthResult, 'curves' | 'counts'>> {
  const clusters = new Map<number, string[]>();
  const cluster: MemcachedProcess[] = [];
  for (const count of sizes.servers) {
    while (cluster.length < count) cluster.push(await server());
    clusters.set(count, cluster.slice(0, count).map(({ address }) => address));
  }
  const grown = (observe: boolean): Spot[] => {
    const where = (name: string, size: number, servers: readonly string[]) => ({ servers, prefix: `${observe ? 'c' : ''}${name}${String(size)}`, observe });
    let slot = observe ? 0 : 9;
    return [
      ...sizes.models.map((size) => modelSpot(ground, size, where('models', size, [shared.address]), slot++)),
      ...sizes.caches.map((size) => cacheSpot(ground, size, where('caches', size, [shared.address]), slot++)),
      ...sizes.servers.map((size) => serverSpot(ground, where('servers', size, clusters.get(size)!), slot++)),
    ];
  };

  say('counting …');
  const counts: CountRange[] = [];
  const observed = rowSpots.map(({ spot, address, prefix }) => rowSpot(ground, spot.size, { servers: [address], prefix, observe: true }));
  for (const spot of [...grown(true), ...observed]) counts.push(...(await countSpot(spot)));
  areConstant(counts);

  const spots = [...grown(false), ...rowSpots.map(({ spot }) => spot)];
  const measured: Measured[] = [];
  // What is compared with each other is measured together, so that its slices lie close to each other.
  for (const axis of Object.values(axes)) {
    say(`measuring by ${axis} …`);
    for (const [kind, casesOf] of [['lookups', lookupCases], ['writes', writeCases]] as const) {
      const cases: Case[] = [];
      for (const spot of spots.filter((one) => one.axis === axis)) cases.push(...(await casesOf(spot)));
      measured.push(...(await measure(cases, plans[kind])));
    }
  }
  return { curves: plansOf(spots).map((one) => curveOf(one, measured)), counts };
}

/**
 * No count may depend on how many models or caches there are. On several servers a write makes one
 * round trip more where the row and its table's epoch are on different ones, however many there are;
 * so does a lookup by name of a row that `maxHints` has pushed out, however many rows there are.
 */
function areConstant(counts: readonly CountRange[]): void {
  const firsts = new Map<string, CountRange>();
  for (const count of counts) {
    const key = `${count.what}, ${count.axis}`;
    const first = firsts.get(key) ?? count;
    firsts.set(key, first);
    const more = (count.axis === axes.servers && count.sql > 0) || (count.axis === axes.rows && count.what === nameCurve) ? 1 : 0;
    assert.equal(count.sql, first.sql, `${key}: SQL statements with ${String(count.size)}`);
    assert.equal(first.fewestTrips, first.mostTrips, `${key}: round trips`);
    assert.ok(
      count.fewestTrips >= first.fewestTrips && count.mostTrips <= first.mostTrips + more,
      `${key}: ${String(count.fewestTrips)} to ${String(count.mostTrips)} round trips with ${String(count.size)}, ${String(first.mostTrips)} with ${String(first.size)}`,
    );
  }
}

async function connectionsOf(ground: Ground, servers: readonly MemcachedProcess[], connectionsPerServer: number): Promise<Connections> {
  const connected = async (): Promise<number[]> => (await Promise.all(servers.map(statsOf))).map(({ connections }) => connections);
  const before = await connected();
  const side = ground.items(['small0'], {
    servers: servers.map(({ address }) => address),
    prefix: `connections${String(connectionsPerServer)}`,
    store: { timeoutMs: 5000, connectionsPerServer },
  });
  const [model] = side.models;
  // So many keys that every connection has some.
  await model!.cache.getMany(range(1, 500).map((id) => ({ id })));
  const after = await connected();
  await side.cache.close();
  return { connectionsPerServer, servers: servers.length, each: after.map((count, at) => count - before[at]!) };
}

/** The charts into a folder, and the tables into the page of the same name. */
function write(folder: string, result: GrowthResult): void {
  mkdirSync(folder, { recursive: true });
  const charts = chartsOf(result);
  for (const { file, chart } of charts) writeFileSync(join(folder, file), svgOf(chart));
  const page = `${folder}.md`;
  const links = charts.map(({ file, chart }) => ({ file: `${basename(folder)}/${file}`, title: chart.title }));
  writeFileSync(page, betweenMarkers(readFileSync(page, 'utf8'), markdown(result, links)));
  say(`${page} and ${String(charts.length)} charts are written`);
}

main(mysql).catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
