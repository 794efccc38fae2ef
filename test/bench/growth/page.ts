/** What the growth benchmark found: as text, and as a part of a page with charts. */
import type { Ratio } from '../measure.js';
import type { Result as BenchResult } from '../report.js';
import { axes, lostShare, type Curve, type Point } from './curve.js';
import type { Lost } from './lost-server.js';
import { growthOf, longRunFrom, longRunTo, noGrowth, type Heap, type LongRun, type Together } from './processes.js';
import type { CountRange } from './spots.js';
import type { Chart } from './svg.js';

/** Entries in memcached. */
export interface Weight {
  readonly rows: number;
  /** `row`: only the rows; `both`: an index entry for each row as well. */
  readonly entries: 'row' | 'both';
  readonly items: number;
  readonly bytes: number;
  /** What `-m` has to allow. */
  readonly allocated: number;
}

/** Connections that one process holds to each server. */
export interface Connections {
  readonly connectionsPerServer: number;
  readonly servers: number;
  readonly each: readonly number[];
}

/** `npm run growth -- --json` prints it. */
export interface GrowthResult {
  readonly date: string;
  readonly command: string;
  readonly machine: BenchResult['machine'];
  readonly rounds: number;
  readonly minutes: number;
  readonly curves: readonly Curve[];
  readonly counts: readonly CountRange[];
  readonly weights: readonly Weight[];
  readonly together: readonly Together[];
  readonly connections: readonly Connections[];
  readonly heaps: readonly Heap[];
  readonly longRuns: readonly LongRun[];
  /** Undefined where only other parts were asked for; what else was not is empty. */
  readonly lost: Lost | undefined;
}

/** memcached takes memory by the page: of fewer rows that says nothing. */
const fewestWeighed = 100_000;

interface Table {
  readonly title: string;
  readonly head: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/** For a terminal. */
export const readable = (result: GrowthResult): string =>
  [machineLine(result), ...tablesOf(result).map(textOf)].join('\n\n');

/** For docs/scaling.md, with links to the charts. */
export function markdown(result: GrowthResult, charts: readonly { readonly file: string; readonly title: string }[]): string {
  return [
    machineLine(result),
    ...charts.map(({ file, title }) => `![${title}](${file})`),
    ...tablesOf(result).map(({ title, head, rows }) =>
      [`**${title}**`, '', `| ${head.join(' | ')} |`, `|${'---|'.repeat(head.length)}`, ...rows.map((row) => `| ${row.join(' | ')} |`)].join('\n'),
    ),
  ].join('\n\n');
}

/**
 * The page with everything between its markers replaced.
 * @throws Error if it does not have each of them once
 */
export function betweenMarkers(page: string, content: string): string {
  const parts = page.split(/<!-- \/?growth -->/);
  if (parts.length !== 3 || page.indexOf('<!-- growth -->') > page.indexOf('<!-- /growth -->')) {
    throw new Error('The page needs <!-- growth --> and <!-- /growth -->, once and in this order.');
  }
  const [before = '', , after = ''] = parts;
  return `${before}<!-- growth -->\n${content}\n<!-- /growth -->${after}`;
}

/** The charts by the names of their files. */
export function chartsOf({ curves, together, heaps }: GrowthResult): { readonly file: string; readonly chart: Chart }[] {
  const drawnAxes = [...new Set(curves.map(({ axis }) => axis))];
  const files: Readonly<Record<string, string>> = {
    [axes.models]: 'models',
    [axes.caches]: 'caches',
    [axes.rows]: 'rows',
    [axes.servers]: 'servers',
  };
  const drawn = drawnAxes.flatMap((axis) => {
    const of = curves.filter((curve) => curve.axis === axis);
    return (['time', 'cpu'] as const).map((which) => ({
      file: `${files[axis] ?? axis.replace(/\W+/g, '-')}-${which}.svg`,
      chart: {
        title: `${which === 'time' ? 'Time' : 'Processor time'} of an operation, by ${axis}`,
        x: axis,
        y: 'times the first point',
        // A point that says nothing is not drawn.
        lines: of
          .map(({ name, points }) => ({ name, points: points.flatMap((point) => (point[which] === undefined ? [] : [[point.size, point[which].median] as const])) }))
          .filter(({ points }) => points.length > 0),
      },
    }));
  });
  const lookups = together.flatMap(({ processes, throughput }) => (throughput === undefined ? [] : [[processes, throughput.median] as const]));
  return [
    ...drawn.filter(({ chart }) => chart.lines.length > 0),
    ...(lookups.length === 0
      ? []
      : [{ file: 'processes.svg', chart: { title: 'Lookups a second of all processes together', x: 'processes', y: 'times one process', lines: [{ name: 'get by id', points: lookups }] } }]),
    ...(heaps.length === 0
      ? []
      : [
          {
            file: 'heap.svg',
            chart: {
              title: 'Heap of a process after lookups of different keys',
              x: 'lookups',
              y: 'MB',
              lines: heaps.map(({ maxHints, after }) => ({
                name: `maxHints ${whole(maxHints)}`,
                points: after.map(({ lookups: at, bytes }) => [at, bytes / 1e6] as const),
              })),
            },
          },
        ]),
  ];
}

function tablesOf(result: GrowthResult): Table[] {
  const { curves, counts, weights, together, connections, heaps, longRuns, lost } = result;
  const tables: Table[] = [
    {
      title: 'Cost of an operation as something grows: times the first point, median (lowest–highest)',
      head: ['operation', 'what grows', 'how many', 'time', 'processor time of the process', 'here, in µs: time, processor time'],
      rows: curves.flatMap(({ name, axis, points }) =>
        points.map((point, at) => [
          name,
          axis,
          whole(point.size),
          at === 0 ? '1' : pointText(point, 'time'),
          at === 0 ? '1' : pointText(point, 'cpu'),
          `${three(point.microseconds.time)}, ${three(point.microseconds.cpu)}`,
        ]),
      ),
    },
    {
      title: 'SQL statements and store round trips of one operation',
      head: ['operation', 'what grows', 'how many', 'SQL statements', 'round trips'],
      rows: counts.map(({ what, axis, size, sql, fewestTrips, mostTrips }) => [
        what,
        axis,
        whole(size),
        String(sql),
        fewestTrips === mostTrips ? String(mostTrips) : `${String(fewestTrips)} or ${String(mostTrips)}`,
      ]),
    },
    {
      title: 'Bytes in memcached',
      head: ['rows', 'entries', 'items', 'bytes a row', 'MB for a million rows', 'MB that memcached took for it, for a million rows'],
      rows: weights.map(({ rows, entries, items, bytes, allocated }) => [
        whole(rows),
        entries === 'row' ? 'rows' : 'rows, and an index entry each',
        whole(items),
        three(bytes / rows),
        whole(Math.round(bytes / rows)),
        rows < fewestWeighed ? '' : whole(Math.round(allocated / rows)),
      ]),
    },
    {
      title: 'Processes that read at the same time, 64 lookups in flight in each, one memcached server',
      head: ['processes', 'lookups a second of all, against one process', 'lookups a second here', 'processor time of a lookup, µs: its process', 'memcached'],
      rows: together.map(({ processes, throughput, spread, lookupsPerSecond, cpu, serverCpu }, at) => [
        whole(processes),
        at === 0 ? '1' : ratioText(throughput, spread),
        whole(lookupsPerSecond),
        three(cpu),
        three(serverCpu),
      ]),
    },
    {
      title: 'Connections that one process holds',
      head: ['connectionsPerServer', 'servers', 'to each', 'in total'],
      rows: connections.map(({ connectionsPerServer, servers, each }) => [
        String(connectionsPerServer),
        String(servers),
        [...new Set(each)].join(' or '),
        String(each.reduce((sum, count) => sum + count, 0)),
      ]),
    },
    {
      title: 'Heap of a process after lookups by name, each of another row (then of the same ones again), in MB',
      head: ['lookups', ...heaps.map(({ maxHints }) => `maxHints ${whole(maxHints)}`)],
      rows: (heaps[0]?.after ?? []).map(({ lookups }, at) => [whole(lookups), ...heaps.map(({ after }) => tenths(after[at]?.bytes ?? NaN))]),
    },
    longRunTable(longRuns),
    ...(lost === undefined ? [] : [lostTable(lost)]),
    // Sums of figures of all parts.
    ...(lost === undefined || weights.length === 0 ? [] : [arithmeticOf(result)]),
  ];
  return tables.filter(({ rows }) => rows.length > 0);
}

/** The heap after each number of lookups, and whether it grew. */
function longRunTable(runs: readonly LongRun[]): Table {
  const grown = runs.map(growthOf);
  const aim = `less than ${tenths(noGrowth.bytes)} MB and ${percent(noGrowth.share)}`;
  return {
    title: 'Heap of a process after very many warm lookups by id of the same rows over and over, in MB',
    head: ['lookups', ...runs.map(({ rows, seconds }) => `${whole(rows)} rows, ${seconds.toFixed(0)} s`)],
    rows: [
      ...(runs[0]?.after ?? []).map(({ lookups }, at) => [whole(lookups), ...runs.map(({ after }) => hundredths(after[at]?.bytes ?? NaN))]),
      ...(grown.every((one) => one === undefined)
        ? []
        : [
            [
              `growth from ${whole(longRunFrom)} to ${whole(longRunTo)}; aim: ${aim}`,
              ...grown.map((one) => (one === undefined ? '' : `${hundredths(one.bytes)} MB, ${(one.share * 100).toFixed(1)} %: ${one.met ? 'met' : 'NOT MET'}`)),
            ],
          ]),
    ],
  };
}

function lostTable(lost: Lost): Table {
  return {
    title: `One of ${String(lost.servers)} servers stopped (SIGSTOP), ${whole(lost.lookups)} rows of ${whole(lost.models)} models, timeoutMs ${String(lost.timeoutMs)}, ${String(lost.outages)} outages`,
    head: ['what', 'measured (lowest–highest)'],
    rows: [
      [`lookups that asked the database (expected: ${percent(lostShare(lost.servers))})`, `${percent(lost.share.mean)} (${percent(lost.share.lowest)}–${percent(lost.share.highest)})`],
      ['models of which all lookups did', `${String(lost.wholeTables.lowest)}–${String(lost.wholeTables.highest)} of ${String(lost.models)}`],
      ['of the first 64 lookups, made at once: how many waited for the deadline', `${String(lost.waited.lowest)}–${String(lost.waited.highest)}`],
      ['until all of them were answered', `${whole(Math.round(lost.firstMs))} ms`],
      ...lost.ratios.map(({ name, ratio, spread }) => [name, `${ratioText(ratio, spread)} times the time`]),
    ],
  };
}

/** What follows for sizes that were not measured. The sums are written out. */
function arithmeticOf({ weights, together, heaps }: GrowthResult): Table {
  const rows: string[][] = [];
  const largest = weights.at(-1);
  if (largest !== undefined && largest.rows >= fewestWeighed) {
    const each = largest.allocated / largest.rows;
    rows.push(['memory of memcached for 10 million rows with an index entry each', `10,000,000 × ${whole(Math.round(each))} bytes = ${whole(Math.round(each * 10))} MB`]);
  }
  const [fewest, most] = [heaps[0], heaps.at(-1)];
  const [lean, fat] = [fewest?.after.at(-1), most?.after.at(-1)];
  if (fewest !== undefined && most !== undefined && lean !== undefined && fat !== undefined) {
    // No more are remembered than there are rows.
    const kept = (maxHints: number): number => Math.min(maxHints, Math.max(...weights.map((weight) => weight.rows)));
    const hints = kept(most.maxHints) - kept(fewest.maxHints);
    if (hints > 0) {
      const each = (fat.bytes - lean.bytes) / hints;
      rows.push(['heap of one hint', `(${tenths(fat.bytes)} MB − ${tenths(lean.bytes)} MB) / ${whole(hints)} = ${whole(Math.round(each))} bytes`]);
      rows.push(['heap of maxHints 1,000,000, in each process', `1,000,000 × ${whole(Math.round(each))} bytes = ${whole(Math.round(each))} MB`]);
    }
  }
  const [alone] = together;
  if (alone !== undefined) {
    rows.push(['lookups a second that one core of memcached answers', `1,000,000 / ${three(alone.serverCpu)} µs = ${whole(Math.round(1e6 / alone.serverCpu))}`]);
    rows.push(['lookups a second that one core of Node makes', `1,000,000 / ${three(alone.cpu)} µs = ${whole(Math.round(1e6 / alone.cpu))}`]);
    rows.push(['cores of Node that one core of memcached serves', `${three(alone.cpu)} / ${three(alone.serverCpu)} = ${three(alone.cpu / alone.serverCpu)}`]);
    rows.push([
      'cores for a million lookups a second: of memcached, of Node',
      `${three(alone.serverCpu)} and ${three(alone.cpu)} (microseconds a lookup are cores a million lookups)`,
    ]);
  }
  rows.push(['connections of 50 processes to 16 servers', '50 × 16 × 1 (connectionsPerServer) = 800 in total, 50 at each server']);
  for (const servers of [2, 3, 8, 16]) {
    const share = lostShare(servers);
    rows.push([
      `lookups that ask the database while one of ${String(servers)} servers is lost`,
      `1 − (${String(servers - 1)}/${String(servers)})² = ${percent(share)}; of 10,000 a second, ${whole(Math.round(share * 10_000))}`,
    ]);
  }
  return { title: 'Arithmetic with these figures', head: ['what', 'how much'], rows };
}

const hundredths = (bytes: number): string => (bytes / 1e6).toFixed(2);

const tenths = (bytes: number): string => (bytes / 1e6).toFixed(1);

const machineLine = ({ date, machine: m, command, rounds, minutes }: GrowthResult): string =>
  `Measured with \`${command}\` (${date}: ${m.cpu}, ${String(m.cores)} cores, Node ${m.node} on ${m.platform}, ${m.database} ` +
  `(innodb_flush_log_at_trx_commit=${m.flushLogAtCommit}), memcached ${m.memcached}, all servers and processes on this machine) ` +
  `in ${minutes.toFixed(1)} minutes: the points of all curves in turn, ${String(rounds)} rounds, every answer checked. ` +
  'Lookups are made with 64 in flight and are warm; writes are made one after the other, of rows that this process has read from the cache. ' +
  '"Says nothing": the middle half of the rounds lies too far apart; the charts leave such points out. Microseconds are those of this machine at that time: trust ratios.';

const pointText = (point: Point, which: 'time' | 'cpu'): string => ratioText(point[which], point.spread[which]);

const ratioText = (ratio: Ratio | undefined, [lowest, highest]: readonly [number, number]): string =>
  `${ratio === undefined ? 'says nothing' : three(ratio.median)} (${three(lowest)}–${three(highest)})`;

/** Three digits, and no exponent. */
const three = (value: number): string => Number(value.toPrecision(3)).toLocaleString('en', { maximumFractionDigits: 3 });

const whole = (value: number): string => value.toLocaleString('en');

const percent = (share: number): string => `${(share * 100).toFixed(0)} %`;

function textOf({ title, head, rows }: Table): string {
  const widths = head.map((name, column) => Math.max(name.length, ...rows.map((row) => row[column]!.length)));
  const line = (cells: readonly string[]): string => cells.map((cell, column) => cell.padEnd(widths[column]!)).join('  ').trimEnd();
  return [title, '', line(head), ...rows.map(line)].join('\n');
}
