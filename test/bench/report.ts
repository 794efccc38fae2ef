/** The ratios, and how they are printed. */
import { cpus } from 'node:os';
import type { Bytes, Counts } from './cases.js';
import { ratioOf, tooWide, type Measured, type Ratio } from './measure.js';

/** A comparison of two cases, and what it aims at. */
interface Comparison {
  readonly name: string;
  /** How many times faster or slower: the first case's time over the second's. */
  readonly of: readonly [string, string];
  readonly says: 'times faster' | 'times the time' | 'times the throughput';
  readonly aim?: { readonly least: number } | { readonly most: number };
}

const comparisons: readonly Comparison[] = [
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
  { name: 'save() with the cache, against without', of: ['save cached', 'save plain'], says: 'times the time', aim: { most: 1.5 } },
  { name: 'transaction of 10 saves with the cache, against without', of: ['transaction cached', 'transaction plain'], says: 'times the time' },
  { name: 'hydration of a row, against Model.build(raw)', of: ['Model.build', 'hydrate'], says: 'times faster' },
];

/** One line of the result. */
export interface Line {
  readonly name: string;
  readonly says: Comparison['says'];
  /** `undefined` where the rounds lie too far apart to say anything. */
  readonly ratio: Ratio | undefined;
  readonly spread: readonly [lowest: number, highest: number];
  readonly aim: string | undefined;
  readonly met: boolean | undefined;
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
  readonly rows: number;
  readonly rounds: number;
  readonly ratios: readonly Line[];
  readonly counts: readonly Counts[];
  readonly bytes: Bytes;
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

export function linesOf(measured: readonly Measured[]): Line[] {
  const named = new Map(measured.map((one) => [one.name, one]));
  return comparisons.flatMap(({ name, of: [first, second], says, aim }) => {
    const [a, b] = [named.get(first), named.get(second)];
    if (a === undefined || b === undefined) return [];
    const ratio = ratioOf(a, b);
    const known = tooWide(ratio) ? undefined : ratio;
    return [
      {
        name,
        says,
        ratio: known,
        spread: [ratio.lowest, ratio.highest] as const,
        aim: aim === undefined ? undefined : 'least' in aim ? `at least ${String(aim.least)}` : `at most ${String(aim.most)}`,
        met: aim === undefined || known === undefined ? undefined : 'least' in aim ? known.median >= aim.least : known.median <= aim.most,
      },
    ];
  });
}

/** For a terminal. */
export function readable(result: Result): string {
  const wide = Math.max(...result.ratios.map(({ name }) => name.length));
  return [
    '',
    machineLine(result),
    `${String(result.rounds)} rounds, ${String(result.rows)} rows; ratios of the rounds: median (lowest–highest)`,
    '',
    ...result.ratios.map((line) => `${line.name.padEnd(wide)}  ${figures(line).padEnd(24)} ${line.says}${verdict(line)}`),
    '',
    'of one operation: SQL statements, store round trips (operations)',
    ...result.counts.map(
      (count) => `${count.case.padEnd(wide)}  ${String(count.sql).padStart(3)} SQL  ${String(count.roundTrips).padStart(2)} round trips  (${operationsOf(count)})`,
    ),
    '',
    bytesLine(result.bytes),
    '',
    `µs an operation (this machine, this run): ${Object.entries(result.microseconds)
      .map(([name, value]) => `${name} ${value.toPrecision(3)}`)
      .join(', ')}`,
  ].join('\n');
}

/** For the README. */
export function markdown(result: Result): string {
  return [
    '| case | ratio (lowest–highest) | aim |',
    '|---|---|---|',
    ...result.ratios.map((line) => `| ${line.name} | ${figures(line)} ${line.says} | ${line.aim ?? ''}${line.met === undefined ? '' : line.met ? ', met' : ', not met'} |`),
    '',
    '| one operation | SQL | store round trips |',
    '|---|---|---|',
    ...result.counts.map((count) => `| ${count.case} | ${String(count.sql)} | ${String(count.roundTrips)} |`),
    '',
    bytesLine(result.bytes),
    '',
    machineLine(result),
  ].join('\n');
}

const figures = ({ ratio, spread }: Line): string =>
  `${ratio === undefined ? 'says nothing' : two(ratio.median)} (${two(spread[0])}–${two(spread[1])})`;

const verdict = ({ aim, met }: Line): string =>
  aim === undefined ? '' : `; aim ${aim}: ${met === undefined ? 'unknown' : met ? 'met' : 'NOT MET'}`;

const two = (value: number): string => value.toPrecision(value >= 10 ? 3 : value >= 1 ? 3 : 2);

const operationsOf = ({ operations }: Counts): string =>
  Object.entries(operations)
    .map(([kind, times]) => `${String(times)} ${kind}`)
    .join(', ');

const bytesLine = ({ rowEntry, indexEntry, rawJson }: Bytes): string =>
  `Bytes in memcached, key and value: ${String(rowEntry)} a row, ${String(indexEntry)} an index entry; the same row as plain JSON: ${String(rawJson)}.`;

function machineLine({ date, machine: m }: Result): string {
  return (
    `${date}: ${m.cpu}, ${String(m.cores)} cores, Node ${m.node} on ${m.platform}, ${m.database} ` +
    `(innodb_flush_log_at_trx_commit=${m.flushLogAtCommit}), memcached ${m.memcached}, all on one machine.`
  );
}
