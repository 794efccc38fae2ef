/** Processes that read at the same time, and what a process keeps after many lookups. */
import assert from 'node:assert/strict';
import { Disturbed, median, ratioOfRounds, tooWide, undisturbed, type Ratio, type Rounds } from '../measure.js';
import { statsOf } from '../memcached-stats.js';
import { range } from '../places.js';
import { startWorker, type Order, type Report, type Task, type Worker } from './worker.js';

/** Processes that read at the same time, against one alone. */
export interface Together {
  readonly processes: number;
  /** Of all of them: times the lookups a second; `undefined` where it says nothing. */
  readonly throughput: Ratio | undefined;
  readonly spread: readonly [lowest: number, highest: number];
  readonly lookupsPerSecond: number;
  /** Processor time of a lookup in the processes that read, in microseconds. */
  readonly cpu: number;
  /** The same in memcached. */
  readonly serverCpu: number;
  /** Connections of one process to the server. */
  readonly connections: number;
}

/**
 * Has all of them read at the same time.
 * @returns the lookups of all together, how many in a second, and the processor time of each in microseconds
 * @throws Disturbed if they sent SQL each time that they were asked
 */
export async function readTogether(
  workers: readonly Worker[],
  order: Order & { readonly do: 'read' },
): Promise<{ readonly lookups: number; readonly perSecond: number; readonly cpu: number }> {
  const reports = await undisturbed(async () => {
    const told = await Promise.all(workers.map((worker) => worker.tell(order)));
    if (!told.every(({ sql }) => sql === 0)) throw new Disturbed('No ratio of several processes, because warm lookups sent SQL.');
    return told;
  });
  const sum = (of: (report: Report) => number): number => reports.reduce((total, report) => total + of(report), 0);
  const lookups = sum((report) => report.lookups);
  return { lookups, perSecond: sum((report) => (report.lookups * 1000) / report.milliseconds), cpu: sum(({ cpu }) => cpu) / lookups };
}

/** Measures each number of processes in turn. */
export async function measureTogether(
  sizes: readonly number[],
  task: Task,
  server: { readonly address: string },
  plan: { readonly rounds: number; readonly milliseconds: number },
): Promise<Together[]> {
  const before = (await statsOf(server)).connections;
  const workers: Worker[] = [];
  try {
    for (let started = 0; started < Math.max(...sizes); started += 1) workers.push(await startWorker(task));
    const connections = ((await statsOf(server)).connections - before) / workers.length;
    const samples = new Map(sizes.map((size) => [size, { lookups: [] as number[], cpu: [] as number[], serverCpu: [] as number[] }]));
    for (let round = -1; round < plan.rounds; round += 1) {
      // Up in one round and down in the next.
      for (const size of round % 2 === 0 ? sizes : [...sizes].reverse()) {
        const cpuBefore = (await statsOf(server)).cpu;
        const { lookups, perSecond, cpu } = await readTogether(workers.slice(0, size), { do: 'read', milliseconds: plan.milliseconds });
        const serverCpu = (await statsOf(server)).cpu - cpuBefore;
        if (round < 0) continue;
        const sample = samples.get(size)!;
        sample.lookups.push(perSecond);
        sample.cpu.push(cpu);
        sample.serverCpu.push(serverCpu / lookups);
      }
    }
    const rounds = (size: number): Rounds => samples.get(size)!.lookups.map((value) => [value]);
    return sizes.map((size) => {
      const ratio = ratioOfRounds(rounds(size), rounds(sizes[0]!));
      const { lookups, cpu, serverCpu } = samples.get(size)!;
      return {
        processes: size,
        throughput: tooWide(ratio) ? undefined : ratio,
        spread: [ratio.lowest, ratio.highest],
        lookupsPerSecond: Math.round(median(lookups)),
        cpu: median(cpu),
        serverCpu: median(serverCpu),
        connections,
      };
    });
  } finally {
    await Promise.all(workers.map((worker) => worker.stop()));
  }
}

/** What a process keeps after lookups of different keys. */
export interface Heap {
  readonly maxHints: number;
  /** After so many lookups, each of another key; then of the same keys again. */
  readonly after: readonly { readonly lookups: number; readonly bytes: number }[];
}

/** Looks `steps` times through a part of the rows, in a process of its own, and weighs its heap after each. */
export async function measureHeap(task: Task & { readonly maxHints: number }, perStep: number, steps: number): Promise<Heap> {
  const worker = await startWorker(task);
  try {
    const after: { lookups: number; bytes: number }[] = [];
    for (const step of range(0, steps - 1)) {
      const report = await worker.tell({ do: 'names', first: 1 + step * perStep, count: perStep });
      assert.equal(report.sql, 0, 'warm lookups sent SQL');
      after.push({ lookups: (step + 1) * perStep, bytes: report.heap });
    }
    return { maxHints: task.maxHints, after };
  } finally {
    await worker.stop();
  }
}

/** What a process keeps after very many lookups of the same rows, over and over. */
export interface LongRun {
  /** How many different rows. */
  readonly rows: number;
  /** After so many lookups, and a forced collection. */
  readonly after: readonly { readonly lookups: number; readonly bytes: number }[];
  readonly seconds: number;
}

/** Looks rows up by id, 64 at a time, in a process of its own, and weighs its heap after each of the numbers of lookups. */
export async function measureLongRun(task: Task, rows: number, marks: readonly number[]): Promise<LongRun> {
  const worker = await startWorker(task);
  try {
    const began = performance.now();
    const after: { lookups: number; bytes: number }[] = [];
    let lookups = 0;
    for (const mark of marks) {
      const report = await worker.tell({ do: 'ids', rows, count: mark - lookups });
      assert.equal(report.sql, 0, 'warm lookups sent SQL');
      lookups += report.lookups;
      assert.equal(lookups, mark);
      after.push({ lookups, bytes: report.heap });
    }
    return { rows, after, seconds: (performance.now() - began) / 1000 };
  } finally {
    await worker.stop();
  }
}

/** From the one to the other number of lookups the heap is not to grow: everything that is kept is there before. */
export const longRunFrom = 2_000_000;
export const longRunTo = 10_000_000;
/** What is less is noise: bytes, and share of the heap. */
export const noGrowth = { bytes: 1_000_000, share: 0.05 } as const;

/** How much it grew, and whether that is nothing; undefined where it was not looked up so often. */
export function growthOf({ after }: LongRun): { readonly bytes: number; readonly share: number; readonly met: boolean } | undefined {
  const [from, to] = [longRunFrom, longRunTo].map((lookups) => after.find((one) => one.lookups === lookups));
  if (from === undefined || to === undefined) return undefined;
  const bytes = to.bytes - from.bytes;
  const share = bytes / from.bytes;
  return { bytes, share, met: bytes < noGrowth.bytes && share < noGrowth.share };
}
