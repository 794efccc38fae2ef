/** The ratios, and how they are printed. */
import { readFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join } from 'node:path';
import { caseOf, comparedPackages, competitors, concurrencies, inTable, tableLine } from './competitors.js';
import type { Counts } from './counts.js';
import { ratioOf, relativeRatio, tooWide, type Comparison, type LeftOut, type Measured, type Ratio } from './measure.js';
import type { Bytes } from './reads.js';
import type { Resources } from './resources.js';
import { settingColumns, settingLine, type SettingColumn } from './settings.js';

/** One line of the result. */
export interface Line {
  readonly name: string;
  readonly says: Comparison['says'];
  /** `undefined` where it is refused. */
  readonly ratio: Ratio | undefined;
  /** Why there is no ratio. */
  readonly refused?: string;
  readonly spread: readonly [lowest: number, highest: number];
  readonly aim: string | undefined;
  readonly met: boolean | undefined;
  /** In how many rounds it was measured. */
  readonly rounds: number;
  /** Of a write: SQL statements that the cache adds to one, and what it asks of the store. */
  readonly cost?: Pick<Counts, 'extraSql' | 'roundTrips' | 'operations'>;
}

/** What a run found. `npm run bench -- --json` prints it. */
export interface Result {
  readonly date: string;
  readonly machine: {
    readonly cpu: string;
    readonly cores: number;
    readonly node: string;
    readonly platform: string;
    readonly database: string;
    readonly flushLogAtCommit: string;
    readonly memcached: string;
  };
  /** Of the packages that are compared. */
  readonly versions: Readonly<Record<string, string>>;
  readonly rows: number;
  readonly rounds: number;
  readonly ratios: readonly Line[];
  /** The table of competitors: its lines by their names. */
  readonly competitors: readonly Line[];
  /** The table of settings: the lines of each by their names. */
  readonly settings: readonly { readonly name: string; readonly base: string | undefined; readonly lines: readonly Line[] }[];
  readonly resources: readonly Resources[];
  /** Cases that were disturbed too often. The lines that need them are missing. */
  readonly leftOut: readonly LeftOut[];
  readonly counts: readonly Counts[];
  readonly bytes: Bytes | undefined;
  /** Microseconds an operation, on this machine at this time. */
  readonly microseconds: Readonly<Record<string, number>>;
}

export function machineOf(server: { readonly version: string; readonly flushLogAtCommit: string }, memcached: string): Result['machine'] {
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: cpus().length,
    node: process.version,
    platform: `${process.platform} ${process.arch}`,
    database: server.version,
    flushLogAtCommit: server.flushLogAtCommit,
    memcached,
  };
}

/** As they are installed here. */
export function versionsOf(): Record<string, string> {
  const modules = join(__dirname, '../../../node_modules');
  return Object.fromEntries(
    comparedPackages.map((name) => {
      const { version } = JSON.parse(readFileSync(join(modules, name, 'package.json'), 'utf8')) as { version: string };
      return [name, version];
    }),
  );
}

/** Why a ratio says nothing; undefined if it says something. */
export function refusalOf(ratio: Ratio): string | undefined {
  if (!tooWide(ratio)) return undefined;
  return `the middle half of its rounds lies between ${two(ratio.lowerQuartile)} and ${two(ratio.upperQuartile)}`;
}

export function linesOf(comparisons: readonly Comparison[], measured: readonly Measured[], counts: readonly Counts[]): Line[] {
  const named = new Map(measured.map((one) => [one.name, one]));
  return comparisons.flatMap(({ name, of: [first, second], relativeTo, says, quantity = 'time', aim }) => {
    const [a, b] = [named.get(first), named.get(second)];
    if (a === undefined || b === undefined) return [];
    const others = relativeTo?.map((one) => named.get(one));
    if (others?.includes(undefined) === true) return [];
    const ratio = others === undefined ? ratioOf(a, b, quantity) : relativeRatio([a, b], others as [Measured, Measured], quantity);
    const refused = refusalOf(ratio);
    const known = refused === undefined ? ratio : undefined;
    const cost = counts.find((count) => count.case === name);
    return [
      {
        name,
        says,
        ratio: known,
        ...(refused === undefined ? {} : { refused }),
        spread: [ratio.lowest, ratio.highest] as const,
        aim: aim === undefined ? undefined : 'least' in aim ? `at least ${String(aim.least)}` : `at most ${String(aim.most)}`,
        met: aim === undefined || known === undefined ? undefined : 'least' in aim ? known.median >= aim.least : known.median <= aim.most,
        rounds: a.quantities[quantity].length,
        ...(cost?.extraSql === undefined ? {} : { cost: { extraSql: cost.extraSql, roundTrips: cost.roundTrips, operations: cost.operations } }),
      },
    ];
  });
}

/** For a terminal. */
export function readable(result: Result): string {
  const wide = Math.max(...[...result.ratios, ...readsOf(result).map((count) => ({ name: count.case }))].map(({ name }) => name.length));
  return [
    '',
    machineLine(result),
    `${String(result.rounds)} rounds (the slowest cases: fewer), ${String(result.rows)} rows; ratios of the rounds: median (lowest–highest)`,
    '',
    ...result.ratios.map(
      (line) => `${line.name.padEnd(wide)}  ${figures(line).padEnd(24)} ${line.says}${costOf(line)}${verdict(line)}`,
    ),
    '',
    ...plainTable(competitorTable(result, (text) => text.replaceAll('`', ''))),
    ...plainTable(settingTable(result)),
    ...refusals(result),
    'of one operation: SQL statements, store round trips (operations)',
    ...result.counts.map(
      (count) =>
        `${count.case.padEnd(wide)}  ${String(count.sql).padStart(3)} SQL  ${String(count.roundTrips).padStart(2)} round trips  (${operationsOf(count)})`,
    ),
    '',
    ...plainTable(resourceTable(result)),
    ...bytesLines(result),
    `µs an operation (this machine, this run): ${Object.entries(result.microseconds)
      .map(([name, value]) => `${name} ${value.toPrecision(3)}`)
      .join(', ')}`,
    versionLine(result),
  ].join('\n');
}

/** For the README: all but what each case takes. */
export function forReadme(result: Result): string {
  const reads = result.ratios.filter(({ cost }) => cost === undefined);
  const writes = result.ratios.filter(({ cost }) => cost !== undefined);
  const aim = (line: Line): string => `${line.aim ?? ''}${line.met === undefined ? '' : line.met ? ', met' : ', not met'}`;
  const oneRead = readsOf(result);
  const competing = competitorTable(result);
  return [
    `Measured with \`npm run bench\` (${machineLine(result)}): the cases in turn on the same rows (places of the world), every answer checked. ` +
      `Each figure is a ratio of two cases of the same run: the median of ${String(result.rounds)} rounds (the slowest cases: fewer) and their lowest and highest. ` +
      '"Raw" is the `memcached` client\'s `get` and `JSON.parse` of the same row, without an instance. Nothing below is an absolute time: trust ratios. ' +
      `${versionLine(result)} What each case asked of memcached, the heap and the processor is in [docs/benchmark.md](docs/benchmark.md); what costs more as an application grows, in [docs/scaling.md](docs/scaling.md).`,
    '',
    ...markdownTable(competing),
    ...(competing.length === 0
      ? []
      : [`Throughput (more is better) and CPU time of the process (less is better) are against raw; commands and bytes are those of one lookup, with ${String(inTable)} in flight.`, '']),
    ...markdownTable(reads.length === 0 ? [] : [['case', 'ratio (lowest–highest)', 'aim'], ...reads.map((line) => [line.name, `${figures(line)} ${line.says}`, aim(line)])]),
    ...markdownTable(settingTable(result)),
    ...markdownTable(
      writes.length === 0
        ? []
        : [
            ['write with the cache, against without', 'times the time (lowest–highest)', 'extra SQL', 'store round trips', 'aim'],
            ...writes.map((line) => [line.name, figures(line), String(line.cost?.extraSql), String(line.cost?.roundTrips), aim(line)]),
          ],
    ),
    ...refusals(result),
    ...markdownTable(oneRead.length === 0 ? [] : [['one read', 'SQL', 'store round trips'], ...oneRead.map((count) => [count.case, String(count.sql), String(count.roundTrips)])]),
    ...bytesLines(result),
  ]
    .join('\n')
    .trimEnd();
}

/** docs/benchmark.md: what each case takes. */
export function resourcePage(result: Result): string {
  return [
    '# Benchmark: what each case takes',
    '',
    'The resources of the cases of `npm run bench`, of one operation each: time and processor time of the process, commands and bytes that memcached counted, the heap. They are measured after the ratios, which are in the [README](../README.md#speed), so that counting does not disturb them.',
    '',
    `Measured with \`npm run bench\` (${machineLine(result)}). Microseconds are those of this machine at that time: trust ratios. ×64 is with 64 operations in flight; "without" is Sequelize without the cache. "–": no collection of garbage fell into the slices. Heap that is kept by fewer than some hundred bytes an operation is noise.`,
    '',
    ...markdownTable(resourceTable(result)),
  ].join('\n');
}

/** The head, and a row for each line. The first column is text. */
type Cells = readonly (readonly string[])[];

/** Throughput as a multiple of the raw client's, CPU time too; what the others cost with 64 in flight. */
function competitorTable({ competitors: lines, resources }: Result, titled: (title: string) => string = (title) => title): Cells {
  if (lines.length === 0) return [];
  const named = new Map(lines.map((line) => [line.name, line]));
  const ratio = (name: string): string => {
    const line = named.get(name);
    return line === undefined ? '' : figures(line);
  };
  const head = [
    'warm row by primary key',
    ...concurrencies.map((inFlight) => `throughput, ${String(inFlight)} in flight`),
    `CPU time, ${String(inTable)} in flight`,
    'commands',
    'bytes to memcached',
    'bytes from it',
  ];
  const rows = competitors.map(({ name, title }) => {
    const used = resources.find((one) => one.case === caseOf(name, inTable));
    return [
      titled(title),
      ...concurrencies.map((inFlight) => ratio(tableLine(name, 'throughput', inFlight))),
      ratio(tableLine(name, 'CPU time', inTable)),
      ...(used === undefined ? ['', '', ''] : [three(used.commands), three(used.bytesTo), three(used.bytesFrom)]),
    ];
  });
  return [head, ...rows.filter((cells) => cells.slice(1).some((cell) => cell !== ''))];
}

/** Each setting, against the others who look rows up there, and against the setting that it is compared with. */
function settingTable({ settings }: Result): Cells {
  if (settings.length === 0) return [];
  const columns = Object.keys(settingColumns) as SettingColumn[];
  return [
    ['warm row of three columns by primary key, 64 in flight', ...columns.map((column) => settingColumns[column])],
    ...settings.map(({ name, base, lines }) => [
      base === undefined ? name : `${name} (base: ${base})`,
      ...columns.map((column) => {
        const line = lines.find((one) => one.name === settingLine(name, column));
        // Against its base a setting has more throughput, or takes more time.
        const says = column === 'own' || column === 'rawOwn' ? ` ${line?.says ?? ''}` : '';
        return line === undefined ? '' : `${figures(line)}${says}${verdict(line)}`;
      }),
    ]),
  ];
}

function resourceTable({ resources, microseconds }: Result): Cells {
  if (resources.length === 0) return [];
  return [
    [
      'an operation of',
      'µs',
      'CPU µs',
      'commands',
      'bytes to memcached',
      'bytes from it',
      'heap allocated, bytes',
      'heap kept, bytes',
      'ms of GC in 1000',
      'event-loop delay, p99 ms',
    ],
    ...resources.map((one) => [
      one.case,
      three(microseconds[one.case]),
      three(one.cpu),
      three(one.commands),
      three(one.bytesTo),
      three(one.bytesFrom),
      three(one.allocated),
      three(one.kept),
      three(one.garbageCollection),
      three(one.eventLoopDelay),
    ]),
  ];
}

function plainTable(cells: Cells): string[] {
  const widths = (cells[0] ?? []).map((_, column) => Math.max(...cells.map((row) => row[column]!.length)));
  const line = (row: readonly string[]): string =>
    row.map((cell, column) => (column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!))).join('  ');
  return cells.length === 0 ? [] : [...cells.map(line), ''];
}

function markdownTable([head, ...rows]: Cells): string[] {
  if (head === undefined) return [];
  return [`| ${head.join(' | ')} |`, `|${'---|'.repeat(head.length)}`, ...rows.map((row) => `| ${row.join(' | ')} |`), ''];
}

/** Which ratios are not printed, and why. */
function refusals({ ratios, competitors: lines, settings, leftOut }: Result): string[] {
  const refused = [...ratios, ...lines, ...settings.flatMap((one) => one.lines)].filter((line) => line.refused !== undefined);
  return [
    ...(refused.length === 0 ? [] : ['No ratio, because the rounds lie too far apart:', ...refused.map((line) => `- ${line.name}: ${line.refused!}`), '']),
    ...(leftOut.length === 0 ? [] : ['Left out, with every line that needs it:', ...leftOut.map(({ name, reason }) => `- ${name}: ${reason}`), '']),
  ];
}

/** A figure in three digits, none where nothing was measured. */
function three(value: number | undefined): string {
  if (value === undefined) return '–';
  const rounded = Number(value.toPrecision(3));
  return Math.abs(rounded) < 0.001 ? '0' : String(rounded);
}

const versionLine = ({ versions }: Result): string =>
  `Packages: ${Object.entries(versions)
    .map(([name, version]) => `${name} ${version}`)
    .join(', ')}.`;

const readsOf = ({ counts }: Result): readonly Counts[] => counts.filter(({ extraSql }) => extraSql === undefined);

const costOf = ({ cost }: Line): string =>
  cost === undefined ? '' : `, +${String(cost.extraSql)} SQL, ${String(cost.roundTrips)} round trips`;

const figures = ({ ratio, spread }: Line): string =>
  `${ratio === undefined ? 'no ratio' : two(ratio.median)} (${two(spread[0])}–${two(spread[1])})`;

const verdict = ({ aim, met }: Line): string =>
  aim === undefined ? '' : `; aim ${aim}: ${met === undefined ? 'unknown' : met ? 'met' : 'NOT MET'}`;

const two = (value: number): string => value.toPrecision(value >= 10 ? 3 : value >= 1 ? 3 : 2);

const operationsOf = ({ operations }: Counts): string =>
  Object.entries(operations)
    .map(([kind, times]) => `${String(times)} ${kind}`)
    .join(', ');

const bytesLines = ({ bytes }: Result): readonly string[] =>
  bytes === undefined
    ? []
    : [
        `Bytes in memcached, key and value: ${String(bytes.rowEntry)} a row, ${String(bytes.indexEntry)} an index entry; the same row as plain JSON: ${String(bytes.rawJson)}.`,
        '',
      ];

function machineLine({ date, machine: m }: Result): string {
  return (
    `${date}: ${m.cpu}, ${String(m.cores)} cores, Node ${m.node} on ${m.platform}, ${m.database} ` +
    `(innodb_flush_log_at_trx_commit=${m.flushLogAtCommit}), memcached ${m.memcached}, all on one machine`
  );
}
