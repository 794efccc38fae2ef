/** Curves: what was measured at several sizes, as ratios to the first of them. */
import { ratioOfRounds, tooWide, type Measured, type Ratio, type Rounds } from '../measure.js';

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

/**
 * The curve of a plan.
 * @throws Error if a case of it was not measured
 */
export function curveOf({ name, axis, points }: CurvePlan, measured: readonly Measured[]): Curve {
  const of = (planned: Planned): Measured => {
    const found = measured.find((one) => one.name === planned.case);
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
      const { quantities } = of(planned);
      const [ofTime, ofCpu] = (['time', 'cpu'] as const).map((quantity) => ratioOfRounds(quantities[quantity], first.quantities[quantity])) as [Ratio, Ratio];
      return {
        size: planned.size,
        time: tooWide(ofTime) ? undefined : ofTime,
        cpu: tooWide(ofCpu) ? undefined : ofCpu,
        spread: { time: [ofTime.lowest, ofTime.highest], cpu: [ofCpu.lowest, ofCpu.highest] },
        microseconds: { time: middleOf(quantities.time), cpu: middleOf(quantities.cpu) },
      };
    }),
  };
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
export function middleOf(rounds: Rounds): number {
  const sorted = rounds.flat().sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  if (sorted.length === 0) throw new Error('Nothing was measured.');
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
