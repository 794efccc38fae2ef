/** The ratios, and how they are printed. */
import { cpus } from 'node:os';
import type { Counts } from './counts.js';
import { ratioOf, tooWide, type Comparison, type Measured, type Ratio } from './measure.js';
import type { Bytes } from './reads.js';

/** One line of the result. */
export interface Line {
  readonly name: string;
  readonly says: Comparison['says'];
  /** `undefined` where the rounds lie too far apart to say anything. */
  readonly ratio: Ratio | undefined;
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
  readonly rows: number;
  readonly rounds: number;
  readonly ratios: readonly Line[];
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

export function linesOf(comparisons: readonly Comparison[], measured: readonly Measured[], counts: readonly Counts[]): Line[] {
  const named = new Map(measured.map((one) => [one.name, one]));
  return comparisons.flatMap(({ name, of: [first, second], says, aim }) => {
    const [a, b] = [named.get(first), named.get(second)];
    if (a === undefined || b === undefined) return [];
    const ratio = ratioOf(a, b);
    const known = tooWide(ratio) ? undefined : ratio;
    const cost = counts.find((count) => count.case === name);
    return [
      {
        name,
        says,
        ratio: known,
        spread: [ratio.lowest, ratio.highest] as const,
        aim: aim === undefined ? undefined : 'least' in aim ? `at least ${String(aim.least)}` : `at most ${String(aim.most)}`,
        met: aim === undefined || known === undefined ? undefined : 'least' in aim ? known.median >= aim.least : known.median <= aim.most,
        rounds: a.rounds.length,
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
    'of one operation: SQL statements, store round trips (operations)',
    ...result.counts.map(
      (count) =>
        `${count.case.padEnd(wide)}  ${String(count.sql).padStart(3)} SQL  ${String(count.roundTrips).padStart(2)} round trips  (${operationsOf(count)})`,
    ),
    '',
    ...bytesLines(result),
    `µs an operation (this machine, this run): ${Object.entries(result.microseconds)
      .map(([name, value]) => `${name} ${value.toPrecision(3)}`)
      .join(', ')}`,
  ].join('\n');
}

/** For the README. */
export function markdown(result: Result): string {
  const reads = result.ratios.filter(({ cost }) => cost === undefined);
  const writes = result.ratios.filter(({ cost }) => cost !== undefined);
  const aim = (line: Line): string => `${line.aim ?? ''}${line.met === undefined ? '' : line.met ? ', met' : ', not met'}`;
  return [
    ...(reads.length === 0 ? [] : ['| case | ratio (lowest–highest) | aim |', '|---|---|---|']),
    ...reads.map((line) => `| ${line.name} | ${figures(line)} ${line.says} | ${aim(line)} |`),
    '',
    ...(writes.length === 0
      ? []
      : ['| write with the cache, against without | times the time (lowest–highest) | extra SQL | store round trips | aim |', '|---|---|---|---|---|']),
    ...writes.map(
      (line) => `| ${line.name} | ${figures(line)} | ${String(line.cost?.extraSql)} | ${String(line.cost?.roundTrips)} | ${aim(line)} |`,
    ),
    '',
    '| one read | SQL | store round trips |',
    '|---|---|---|',
    ...readsOf(result).map((count) => `| ${count.case} | ${String(count.sql)} | ${String(count.roundTrips)} |`),
    '',
    ...bytesLines(result),
    machineLine(result),
  ].join('\n');
}

const readsOf = ({ counts }: Result): readonly Counts[] => counts.filter(({ extraSql }) => extraSql === undefined);

const costOf = ({ cost }: Line): string =>
  cost === undefined ? '' : `, +${String(cost.extraSql)} SQL, ${String(cost.roundTrips)} round trips`;

const figures = ({ ratio, spread }: Line): string =>
  `${ratio === undefined ? 'says nothing' : two(ratio.median)} (${two(spread[0])}–${two(spread[1])})`;

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
    `(innodb_flush_log_at_trx_commit=${m.flushLogAtCommit}), memcached ${m.memcached}, all on one machine.`
  );
}
