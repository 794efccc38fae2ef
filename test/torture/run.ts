/** One run: servers and workers are started, things go wrong, and the whole history is checked. */
import { createReadStream, readFileSync } from 'node:fs';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { Arena } from './arena.js';
import { fixedAskIds } from './asks.js';
import { Checker, explain, type Finding } from './checker.js';
import { now } from './clock.js';
import { Crew } from './crew.js';
import { Faults, type FaultPlan, type FaultRecord } from './faults.js';
import { History, type HistoryRow } from './history.js';
import { parseWrites, ReadParser, type Read, type WriteLine } from './log.js';
import { questionOf } from './questions.js';
import type { Sabotage } from './sabotage.js';
import { askIdIn, tableNames, tables } from './tables.js';

export interface TortureOptions {
  readonly seconds: number;
  readonly seed: number;
  /** @default 4 */
  readonly workers?: number;
  /** Seconds. @default 2 */
  readonly writeLease?: number;
  /** By all workers together. @default 4000 */
  readonly readsPerSecond?: number;
  /** By all workers together. @default 40 */
  readonly writesPerSecond?: number;
  /** @default true */
  readonly faults?: boolean;
  /** Breaks the cache on purpose. */
  readonly sabotage?: Sabotage;
  /** Keep the logs, and say where they are. */
  readonly keep?: boolean;
  /** Progress, and what was found. */
  readonly say?: (line: string) => void;
}

/** The last line of a run. */
export interface Report {
  readonly seconds: number;
  readonly seed: number;
  readonly reads: number;
  readonly hits: number;
  readonly writes: number;
  readonly kills: number;
  readonly storeFaults: number;
  readonly databaseFaults: number;
  readonly staleAfterAck: number;
  readonly uncommitted: number;
  readonly wrongAnswers: number;
  /** Lists and results that never were the answer at one moment, though each row is right by itself. */
  readonly tornLists: number;
  readonly lists: number;
  readonly listHits: number;
  /** Counts, existence, and results of a program's own. */
  readonly results: number;
  readonly resultHits: number;
  /** What relations lead to, and instances with others included. */
  readonly related: number;
  /** Findings in answers about one row, which were not enough to notice what is kept of several rows only. */
  readonly ofOneRow: number;
  /** Lists and results of which some rows may have been out of date by themselves, so that there need be no one moment. */
  readonly looseAnswers: number;
  /** Lists and results with more possible orders of commits than were looked at. */
  readonly unjudged: number;
  readonly maxStaleAfterCrashMs: number;
  /** Answers older than a write whose process was killed, for longer than `writeLease` and the allowance. */
  readonly staleAfterCrash: number;
  /** Answers older than a write that was reported as failed and was committed, for longer than a statement can wait. */
  readonly staleAfterFailure: number;
  /** Milliseconds. */
  readonly writeLease: number;
  readonly maxStaleAfterFailureMs: number;
  /** Reads in a transaction that did not show its own write. */
  readonly ownWritesMissed: number;
  /** Writes that strict mode refused, and that the database has. */
  readonly refusedButWritten: number;
  /** Rows whose state by the history is not what the database has: the history would be wrong. */
  readonly historyMismatches: number;
  /** Errors that neither the database nor the store explains. */
  readonly broken: number;
  /** For information: reads that went back in time, which nobody promises to prevent. */
  readonly backwards: number;
  readonly pauses: number;
  readonly changes: number;
  readonly failedWrites: number;
  readonly refusedWrites: number;
  readonly undeliveredWrites: number;
  readonly crashedWrites: number;
  /** Writes that a killed process took with it undelivered; only in mode 'available'. */
  readonly excusedWrites: number;
  readonly failedReads: number;
  readonly tornLines: number;
  readonly ok: boolean;
}

/** What statements that outlive their client, and a clock of whole seconds, add to `writeLease`. */
const allowanceMs = 1000;
/** A statement that outlives its connection waits for a lock for at most a second (see arena.ts). */
const failureMs = 1500;

/** Runs it. Rejects only if the run itself could not be made. */
export async function torture(options: TortureOptions): Promise<Report> {
  const { seconds, seed, workers = 4, writeLease = 2, faults: withFaults = true, say = () => undefined } = options;
  const folder = await mkdtemp(join(tmpdir(), 'flash-torture-'));
  const arena = await Arena.open();
  try {
    const crew = new Crew(workers, seed, {
      url: arena.url,
      memcached: arena.memcached,
      prefix: 'tt',
      writeLease,
      folder,
      readsPerSecond: (options.readsPerSecond ?? 4000) / workers,
      writesPerSecond: (options.writesPerSecond ?? 40) / workers,
      sabotage: options.sabotage,
    });
    const faults = new Faults(arena, crew, planFor(seconds, writeLease), seed);
    say(`seed ${seed}: ${seconds} s, ${workers} workers, writeLease ${writeLease} s; what they do follows from the seed, when they do it from the machine`);
    await crew.each((slot) => slot.start());
    const origin = now();
    if (withFaults) faults.start();
    await progress(seconds, crew, faults, say);
    await faults.stop();
    await crew.each((slot) => slot.tell({ do: 'quiet' }));
    if (options.sabotage === undefined) {
      // Whatever was cut short is over, and every answer has to be the current one.
      await sleep(writeLease * 1000 + allowanceMs + 500);
      const askIds = finalAskIds(await arena.history());
      await crew.each((slot) => slot.tell({ do: 'final', askIds }));
    }
    await crew.each((slot) => slot.end());
    const rows = await arena.history();

    if (options.keep === true) {
      await writeFile(join(folder, 'history.jsonl'), rows.map((row) => JSON.stringify(row)).join('\n'));
      await writeFile(join(folder, 'run.json'), JSON.stringify({ seed, writeLease, origin, kills: [...crew.kills], faults: faults.records }));
    }
    const lines = await writeLines(folder);
    const history = new History(lines, crew.kills, {
      writeLease: writeLease * 1e6,
      allowance: allowanceMs * 1000,
      failure: failureMs * 1000,
    }).replay(rows);
    const mismatches = await mismatchesOf(history, arena);
    const checker = new Checker(history);
    const tornLines = await eachRead(folder, (read) => {
      checker.check(read);
    });
    const notes = [
      ...mismatches,
      ...history.unexplained.map((row) => `no operation explains ${JSON.stringify(row)}`),
      ...history.refusedButWritten.map(({ label, operation }) => `refused and written: ${label} ${operation.what}`),
      ...lines.filter((line) => line[0] === 'not-own' || line[0] === 'broken').map((line) => line.join(' ')),
      ...crew.deaths,
    ];
    const report = reportOf(options, { crew, faults, history, checker, lines, mismatches, rows, tornLines, writeLease });
    for (const note of notes.slice(0, 20)) say(note);
    await sayFindings(checker.findings, { folder, origin, faults: faults.records, say });
    if (!report.ok && options.keep === true) say(`logs: ${folder}`);
    return report;
  } finally {
    await arena.close();
    if (options.keep !== true) await rm(folder, { recursive: true, force: true });
  }
}

/** Short runs have their faults closer together: each kind of lane has some. */
function planFor(seconds: number, writeLease: number): FaultPlan {
  const short = seconds < 60;
  return {
    storeGap: short ? 4000 : 7000,
    databaseGap: short ? 3000 : 5000,
    killGap: 2000,
    tagGap: short ? 5000 : 8000,
    writeLease,
    databaseRestarts: !short,
  };
}

async function progress(seconds: number, crew: Crew, faults: Faults, say: (line: string) => void): Promise<void> {
  const until = performance.now() + seconds * 1000;
  let tell = performance.now() + 10_000;
  while (performance.now() < until) {
    await sleep(Math.min(200, until - performance.now()));
    if (performance.now() < tell) continue;
    tell += 10_000;
    const left = Math.round((until - performance.now()) / 1000);
    say(
      `${left} s left: ${crew.reads} reads (${crew.readErrors} failed), ${crew.writes} writes, ${crew.kills.size} kills, ` +
        `${faults.storeFaults} store faults, ${faults.databaseFaults} database faults`,
    );
  }
}

/** Everything that was asked for lately or can be asked for at the end. */
function finalAskIds(rows: readonly HistoryRow[]): string[] {
  const askIds = new Set(fixedAskIds());
  for (const { tbl, content } of rows.slice(-600)) {
    if (content === null) continue;
    for (const key of tables[tbl].keys) {
      const askId = askIdIn(content, tbl, key);
      if (askId !== undefined) askIds.add(askId);
    }
  }
  return [...askIds];
}

async function writeLines(folder: string): Promise<WriteLine[]> {
  const lines: WriteLine[] = [];
  for (const file of await logsOf(folder, '.writes')) lines.push(...parseWrites(readFileSync(join(folder, file), 'utf8')));
  return lines;
}

const logsOf = async (folder: string, ending: string): Promise<string[]> =>
  (await readdir(folder)).filter((file) => file.endsWith(ending)).sort();

/** Resolves to the number of lines that could not be read. */
async function eachRead(folder: string, take: (read: Read) => void): Promise<number> {
  let torn = 0;
  for (const file of await logsOf(folder, '.reads')) {
    const parser = new ReadParser(file.slice(0, -'.reads'.length));
    for await (const line of createInterface({ input: createReadStream(join(folder, file)) })) {
      const read = parser.parse(line);
      if (read !== undefined) take(read);
    }
    torn += parser.torn;
  }
  return torn;
}

/** The history is the measure of all answers, so it is measured itself. */
async function mismatchesOf(history: History, arena: Arena): Promise<string[]> {
  const mismatches: string[] = [];
  for (const table of tableNames) {
    const actual = new Set(await arena.rows(table));
    const expected = new Set(history.present(table));
    for (const row of actual) if (!expected.has(row)) mismatches.push(`${table} ${row}: in the database, not by the history`);
    for (const row of expected) if (!actual.has(row)) mismatches.push(`${table} ${row}: by the history, not in the database`);
  }
  return mismatches;
}

interface Outcome {
  readonly crew: Crew;
  readonly faults: Faults;
  readonly history: History;
  readonly checker: Checker;
  readonly lines: readonly WriteLine[];
  readonly mismatches: readonly string[];
  readonly rows: readonly HistoryRow[];
  readonly tornLines: number;
  readonly writeLease: number;
}

function reportOf(
  { seconds, seed, faults: withFaults = true }: TortureOptions,
  { crew, faults, history, checker, lines, mismatches, rows, tornLines, writeLease }: Outcome,
): Report {
  const operations = [...history.operations.values()];
  const versions = Array.from(history.rows.values(), (row) => row.versions.list).flat();
  const excused = new Set(versions.filter(({ standing }) => standing === 'excused').map(({ unit }) => unit?.operation));
  const counts = {
    staleAfterAck: checker.count('staleAfterAck'),
    uncommitted: checker.count('uncommitted'),
    wrongAnswers: checker.count('wrongAnswers'),
    staleAfterCrash: checker.count('staleAfterCrash'),
    staleAfterFailure: checker.count('staleAfterFailure'),
    tornLists: checker.count('torn'),
    ownWritesMissed: lines.filter(([kind]) => kind === 'not-own').length,
    refusedButWritten: history.refusedButWritten.length,
    historyMismatches: mismatches.length + history.unexplained.length,
    broken: lines.filter(([kind]) => kind === 'broken').length + crew.deaths.length,
  };
  const maxStaleAfterCrashMs = Math.ceil(checker.maxStaleAfterCrash / 1000);
  const maxStaleAfterFailureMs = Math.ceil(checker.maxStaleAfterFailure / 1000);
  const longest = writeLease * 1000 + allowanceMs;
  const { lists, results, related } = checker;
  // Most lists and results have to be compared with moments, and many of them have to come from the cache.
  const several = [lists, results].every(({ reads, hits }) => hits * 5 > reads) && related.reads > 0;
  const compared = (checker.loose + checker.unjudged) * 2 < lists.reads + results.reads;
  const happened = several && compared && checker.hits > 0 && history.operations.size > 0 && rows.length > 0;
  const wentWrong = !withFaults || (crew.kills.size > 0 && faults.storeFaults > 0 && faults.databaseFaults > 0);
  return {
    seconds,
    seed,
    reads: checker.reads,
    hits: checker.hits,
    writes: operations.length,
    kills: crew.kills.size,
    storeFaults: faults.storeFaults,
    databaseFaults: faults.databaseFaults,
    ...counts,
    lists: checker.lists.reads,
    listHits: checker.lists.hits,
    results: checker.results.reads,
    resultHits: checker.results.hits,
    related: checker.related.reads,
    ofOneRow: checker.findings.filter(({ read }) => questionOf(read.askId) === undefined).length,
    looseAnswers: checker.loose,
    unjudged: checker.unjudged,
    maxStaleAfterCrashMs,
    maxStaleAfterFailureMs,
    writeLease: writeLease * 1000,
    backwards: checker.backwards,
    pauses: faults.pauses,
    changes: rows.length,
    failedWrites: operations.filter(({ outcome }) => outcome === 'failed').length,
    refusedWrites: operations.filter(({ outcome }) => outcome === 'refused').length,
    undeliveredWrites: operations.filter(({ undelivered }) => undelivered).length,
    crashedWrites: operations.filter(({ end }) => end === undefined).length,
    excusedWrites: excused.size,
    failedReads: crew.readErrors,
    tornLines,
    ok:
      happened && wentWrong && Object.values(counts).every((count) => count === 0) &&
      maxStaleAfterCrashMs <= longest && maxStaleAfterFailureMs <= failureMs,
  };
}

interface Scene {
  readonly folder: string;
  readonly origin: number;
  readonly faults: readonly FaultRecord[];
  readonly say: (line: string) => void;
}

/** The first findings of each kind, with what happened around them. */
async function sayFindings(findings: readonly Finding[], { folder, origin, faults, say }: Scene): Promise<void> {
  const told = new Map<string, number>();
  const shown = findings.filter(({ kind, read }) => {
    const id = `${kind} ${read.askId}`;
    const times = (told.get(id) ?? 0) + 1;
    told.set(id, times);
    return times === 1;
  }).slice(0, 6);
  const around: Read[] = [];
  if (shown.length > 0) {
    await eachRead(folder, (read) => {
      if (shown.some((finding) => finding.read.askId === read.askId && Math.abs(finding.read.start - read.start) < 3e6)) around.push(read);
    });
  }
  const ms = (time: number): string => (Number.isFinite(time) ? ((time - origin) / 1000).toFixed(1) : String(time));
  for (const finding of shown) {
    const { read } = finding;
    say('');
    for (const line of explain(finding, origin)) say(line);
    say('  reads of it about then:');
    const near = around.filter(({ askId, start }) => askId === read.askId && Math.abs(start - read.start) < 3e6);
    near.sort((a, b) => a.start - b.start);
    const at = near.findIndex((one) => one.start === read.start && one.process === read.process);
    for (const one of near.slice(Math.max(0, at - 8), at + 6)) {
      say(`    ${ms(one.start)} to ${ms(one.end)} ${one.process} ${one.hit ? 'hit ' : 'miss'} ${one.content ?? 'none'}`);
    }
    say('  faults about then:');
    for (const { what, start, end } of faults) {
      if (start < read.end + 1e6 && end > read.start - 5e6) say(`    ${ms(start)} to ${ms(end)} ${what}`);
    }
  }
  if (findings.length > shown.length) say(`… ${findings.length} findings in all`);
}
