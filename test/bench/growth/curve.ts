/** Curves: what was measured at several sizes, as ratios to the first of them. */
import { ratioOf, tooWide, type Measured, type Ratio } from '../measure.js';

/** What grows. */
export const axes = {
  models: 'cached models in the process',
  caches: 'caches of the model',
  rows: 'rows in the cache',
  servers: 'memcached servers',
} as const;

/** What is to be measured at one size. */
export interface Planned {
  /** How many there are of what grows. */
  readonly size: number;
  /** The case that is measured there. */
  readonly case: string;
}

/** One thing that may cost more as something grows. */
export interface CurvePlan {
  /** What is done. */
  readonly name: string;
  /** What grows; the curves of one axis are drawn together. */
  readonly axis: string;
  /** The first one is what the others are compared with. */
  readonly points: readonly Planned[];
}

/** A point of a curve. */
export interface Point {
  readonly size: number;
  /** Against the first point; `undefined` where the rounds lie too far apart to say anything. */
  readonly time: Ratio | undefined;
  readonly cpu: Ratio | undefined;
  /** Lowest and highest of the rounds, also where the ratio says nothing. */
  readonly spread: { readonly time: Range; readonly cpu: Range };
  /** Microseconds an operation on this machine, at this time. */
  readonly microseconds: { readonly time: number; readonly cpu: number };
}

type Range = readonly [lowest: number, highest: number];

/** A curve as it was measured. */
export interface Curve {
  readonly name: string;
  readonly axis: string;
  readonly points: readonly Point[];
}

/** Time and CPU time of each case, by its name. */
export interface Timed {
  readonly time: Measured;
  readonly cpu: Measured;
}

/**
 * The curve of a plan.
 * @throws Error if a case of it was not measured
 */
export function curveOf({ name, axis, points }: CurvePlan, measured: ReadonlyMap<string, Timed>): Curve {
  const of = (planned: Planned): Timed => {
    const found = measured.get(planned.case);
    if (found === undefined) throw new Error(`'${planned.case}' was not measured.`);
    return found;
  };
  const [firstPoint] = points;
  if (firstPoint === undefined) throw new Error(`The curve '${name}' has no points.`);
  const first = of(firstPoint);
  return {
    name,
    axis,
    points: points.map((planned) => {
      const { time, cpu } = of(planned);
      const [ofTime, ofCpu] = [ratioOf(time, first.time), ratioOf(cpu, first.cpu)];
      return {
        size: planned.size,
        time: tooWide(ofTime) ? undefined : ofTime,
        cpu: tooWide(ofCpu) ? undefined : ofCpu,
        spread: { time: [ofTime.lowest, ofTime.highest], cpu: [ofCpu.lowest, ofCpu.highest] },
        microseconds: { time: middleOf(time), cpu: middleOf(cpu) },
      };
    }),
  };
}

/**
 * A flat list of slices, in the order in which they were measured, as rounds of turns without those
 * of the warm-up.
 * @throws Error if it is not as long as the plan has it
 */
export function inRounds(slices: readonly number[], plan: { readonly rounds: number; readonly turns: number; readonly warmUp: number }): number[][] {
  const { rounds, turns, warmUp } = plan;
  if (slices.length !== (rounds + warmUp) * turns) {
    throw new Error(`${String(slices.length)} slices are not ${String(rounds + warmUp)} rounds of ${String(turns)}.`);
  }
  return Array.from({ length: rounds }, (_, round) => slices.slice((warmUp + round) * turns, (warmUp + round + 1) * turns));
}

/**
 * The share of the lookups of one table that miss when one of `servers` is gone, on average over
 * tables: all of those whose table's generation was there, and of the others those whose own entries
 * were.
 * @param entries how many entries of its own a lookup needs
 */
export function lostShare(servers: number, entries = 1): number {
  return 1 - ((servers - 1) / servers) ** (entries + 1);
}

/** The median over all slices. */
export function middleOf({ rounds }: Measured): number {
  const sorted = rounds.flat().sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  if (sorted.length === 0) throw new Error('Nothing was measured.');
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
