/** What a case takes beside time: commands and bytes of memcached, heap, garbage collection, the event loop. */
import { monitorEventLoopDelay, PerformanceObserver, type IntervalHistogram } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Traffic } from './memcached-stats.js';
import { Disturbed, median, mostRepeats, operationsOf, runSlice, verify, type Case, type Measured, type Plan } from './measure.js';

/** Of one case. */
export interface Resources {
  readonly case: string;
  /** Microseconds of all threads of this process an operation: the median of the timed slices. */
  readonly cpu: number;
  /** To memcached an operation; each key of a multi-get is one. */
  readonly commands: number;
  readonly bytesTo: number;
  readonly bytesFrom: number;
  /** Heap, in bytes an operation; undefined if every slice was interrupted by a collection. */
  readonly allocated: number | undefined;
  /** Heap that a full collection leaves, in bytes an operation: what is below some hundred is noise. */
  readonly kept: number;
  /** Milliseconds in 1000 operations; undefined if there was none. */
  readonly garbageCollection: number | undefined;
  /** How late the event loop's timers were, in milliseconds: the 99th percentile; undefined if none was due. */
  readonly eventLoopDelay: number | undefined;
}

/** So many slices at most. */
const mostSlices = 150;
/** With what is done before and after the slices, it may take so many times as long as they. */
const patience = 4;
/** How often the event loop is looked at, in milliseconds. */
const resolution = 1;

/** More operations than a case can be asked for under a plan, its resources included. */
export const allOperationsOf = (plan: Plan, slice: number): number => operationsOf(plan, slice) + mostSlices * slice;

/** One slice, in `performance.now()` milliseconds. */
interface Window {
  readonly began: number;
  readonly ended: number;
  /** Bytes. */
  readonly growth: number;
}

interface Metered extends Omit<Resources, 'allocated' | 'garbageCollection'> {
  readonly windows: readonly Window[];
  readonly slice: number;
}

/**
 * Runs some slices more of each case, one case after the other: what is counted here would disturb
 * what is timed. Needs `node --expose-gc`.
 * @throws Refused when a case gave a wrong answer
 */
export async function meter(
  cases: readonly Case[],
  plan: Plan & {
    /** Slices of a case are run until so many were spent in them. */
    readonly milliseconds: number;
  },
  measured: readonly Measured[],
  traffic: () => Promise<Traffic>,
): Promise<Resources[]> {
  const { gc } = globalThis;
  if (gc === undefined) throw new Error('Resources are measured by node --expose-gc; npm run bench does that.');
  const collect = (): void => {
    gc();
  };
  const collections: { readonly began: number; readonly took: number }[] = [];
  const observer = new PerformanceObserver((list) => {
    for (const { startTime, duration } of list.getEntries()) collections.push({ began: startTime, took: duration });
  });
  observer.observe({ entryTypes: ['gc'] });
  const metered: Metered[] = [];
  for (const one of cases) {
    const timed = measured.find(({ name }) => name === one.name);
    if (timed === undefined) continue;
    const found = await meterCase(one, operationsOf(plan, one.operations), median(timed.quantities.cpu.flat()), plan.milliseconds, traffic, collect);
    if (found !== undefined) metered.push(found);
  }
  // Collections are reported a little later.
  await sleep(50);
  observer.disconnect();
  return metered.map(({ windows, slice, ...rest }) => {
    const within = ({ began, ended }: Window): number[] =>
      collections.filter((one) => one.began >= began && one.began <= ended).map(({ took }) => took);
    const quiet = windows.filter((window) => within(window).length === 0);
    const collected = windows.flatMap(within).reduce((sum, took) => sum + took, 0);
    return {
      ...rest,
      allocated: quiet.length === 0 ? undefined : median(quiet.map(({ growth }) => growth)) / slice,
      garbageCollection: quiet.length === windows.length ? undefined : (collected / (windows.length * slice)) * 1000,
    };
  });
}

async function meterCase(
  one: Case,
  firstOperation: number,
  cpu: number,
  milliseconds: number,
  traffic: () => Promise<Traffic>,
  collect: () => void,
): Promise<Metered | undefined> {
  const delays = monitorEventLoopDelay({ resolution });
  const windows: Window[] = [];
  const sum = { commands: 0, bytesTo: 0, bytesFrom: 0 };
  collect();
  const heapBefore = process.memoryUsage().heapUsed;
  const began = performance.now();
  let spent = 0;
  let tried = 0;
  while (tried < mostSlices && spent < milliseconds && (performance.now() - began < patience * milliseconds || windows.length === 0)) {
    const slice = await meterSlice(one, firstOperation + tried * one.operations, delays, traffic).catch((error: unknown) => {
      if (error instanceof Disturbed) return undefined;
      throw error;
    });
    tried += 1;
    if (slice === undefined && tried - windows.length > mostRepeats) break;
    if (slice === undefined) continue;
    const { used, ...window } = slice;
    for (const name of ['commands', 'bytesTo', 'bytesFrom'] as const) sum[name] += used[name];
    windows.push(window);
    spent += window.ended - window.began;
  }
  collect();
  if (windows.length === 0) return undefined;
  const operations = windows.length * one.operations;
  return {
    case: one.name,
    cpu,
    commands: sum.commands / operations,
    bytesTo: sum.bytesTo / operations,
    bytesFrom: sum.bytesFrom / operations,
    kept: (process.memoryUsage().heapUsed - heapBefore) / operations,
    eventLoopDelay: delays.count === 0 ? undefined : Math.max(0, delays.percentile(99) / 1e6 - resolution),
    windows,
    slice: one.operations,
  };
}

/** A function of its own, so that nothing holds the answers when the heap is looked at. */
async function meterSlice(
  one: Case,
  first: number,
  delays: IntervalHistogram,
  traffic: () => Promise<Traffic>,
): Promise<Window & { readonly used: Traffic }> {
  await one.prepare?.(first, one.operations);
  const before = await traffic();
  delays.enable();
  const heap = process.memoryUsage().heapUsed;
  const began = performance.now();
  const { answers } = await runSlice(one, first);
  const ended = performance.now();
  const growth = process.memoryUsage().heapUsed - heap;
  delays.disable();
  const after = await traffic();
  verify(one, answers, first);
  const used = {
    commands: after.commands - before.commands,
    bytesTo: after.bytesTo - before.bytesTo,
    bytesFrom: after.bytesFrom - before.bytesFrom,
  };
  return { began, ended, growth, used };
}
