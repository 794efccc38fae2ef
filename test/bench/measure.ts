/** Measuring by turns, and ratios that say how far they can be trusted. */

/** One thing that is measured. Its operations are numbered; each takes the next item. */
export interface Case {
  readonly name: string;
  /** Operations in one slice. */
  readonly operations: number;
  /** 1: one after the other, each timed. More: closed loops, timed together. @default 1 */
  readonly inFlight?: number;
  /** How often it is measured; what is compared with each other has to have the same. @default 'every turn' */
  readonly pace?: Pace;
  /** Untimed, before a slice of the operations from `first` on. */
  prepare?(first: number, operations: number): Promise<void>;
  /** The operation. */
  run(at: number): unknown;
  /** Untimed, for each answer. Throws if it is wrong. */
  check(answer: unknown, at: number): void;
  /** Untimed, after a slice. Throws if the slice did what it must not, such as SQL. */
  after?(): void;
}

/** Slow cases are measured less often, so that a run ends within minutes. */
export type Pace = 'every turn' | 'once a round' | 'every second round';

/** A comparison of two cases, and what it aims at. */
export interface Comparison {
  readonly name: string;
  /** How many times faster or slower: the first case's time over the second's. */
  readonly of: readonly [string, string];
  readonly says: 'times faster' | 'times the time' | 'times the throughput';
  readonly aim?: { readonly least: number } | { readonly most: number };
}

/** What a case took, by rounds and turns, in microseconds an operation: medians, or means of closed loops. */
export interface Measured {
  readonly name: string;
  readonly inFlight: number;
  readonly rounds: readonly (readonly number[])[];
}

/** Median, quartiles and range of the ratios of the rounds. */
export interface Ratio {
  readonly median: number;
  readonly lowest: number;
  readonly lowerQuartile: number;
  readonly upperQuartile: number;
  readonly highest: number;
}

/** How long and how often. */
export interface Plan {
  readonly rounds: number;
  /** Turns of every case within a round. */
  readonly turns: number;
  /** Rounds that are thrown away first. */
  readonly warmUp: number;
}

/** More operations than a case can be asked for under a plan. */
export const operationsOf = ({ rounds, turns, warmUp }: Plan, slice: number): number => (rounds + warmUp) * turns * slice;

/**
 * Measures the cases in turn, in small slices, so that whatever else the machine does hits all of
 * them alike. The order changes from turn to turn, so that none always follows the same other one.
 */
export async function measure(cases: readonly Case[], plan: Plan): Promise<Measured[]> {
  const next = new Map<Case, number>();
  const rounds = new Map<Case, number[][]>(cases.map((one) => [one, []]));
  for (let round = -plan.warmUp; round < plan.rounds; round += 1) {
    const samples = new Map<Case, number[]>(cases.map((one) => [one, []]));
    for (let turn = 0; turn < plan.turns; turn += 1) {
      for (const one of shuffled(cases)) {
        if (!isDue(one, round, turn)) continue;
        const first = next.get(one) ?? 0;
        next.set(one, first + one.operations);
        samples.get(one)!.push(median(await slice(one, first)));
      }
    }
    if (round < 0) continue;
    for (const one of cases) if (isDue(one, round, 0)) rounds.get(one)!.push(samples.get(one)!);
  }
  return cases.map((one) => ({ name: one.name, inFlight: one.inFlight ?? 1, rounds: rounds.get(one)! }));
}

const isDue = ({ pace = 'every turn' }: Case, round: number, turn: number): boolean =>
  pace === 'every turn' || (turn === 0 && (pace === 'once a round' || round % 2 === 0));

/**
 * The ratio of two cases: of each turn, whose slices lie close together, then the median of each
 * round, then that of all rounds.
 */
export function ratioOf(numerator: Measured, denominator: Measured): Ratio {
  const ratios = numerator.rounds
    .map((turns, round) => median(turns.map((value, turn) => value / denominator.rounds[round]![turn]!)))
    .sort((a, b) => a - b);
  return {
    median: median(ratios),
    lowest: ratios[0]!,
    lowerQuartile: ratios[Math.floor((ratios.length - 1) / 4)]!,
    upperQuartile: ratios[Math.ceil(((ratios.length - 1) * 3) / 4)]!,
    highest: ratios.at(-1)!,
  };
}

/**
 * Whether the middle half of the rounds lies so far apart that the ratio says nothing. Of 15 rounds
 * the quartiles are about the limits between which the true median lies with 95 %.
 */
export const tooWide = ({ lowerQuartile, upperQuartile }: Ratio): boolean => upperQuartile / lowerQuartile > 1.6;

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** Microseconds: of each operation, or once the mean of all. */
async function slice(one: Case, first: number): Promise<number[]> {
  const { operations, inFlight = 1 } = one;
  await one.prepare?.(first, operations);
  const answers = new Array<unknown>(operations);
  const times: number[] = [];
  if (inFlight === 1) {
    for (let i = 0; i < operations; i += 1) {
      const began = performance.now();
      answers[i] = await one.run(first + i);
      times.push((performance.now() - began) * 1000);
    }
  } else {
    let taken = 0;
    const loop = async (): Promise<void> => {
      while (taken < operations) {
        const i = taken;
        taken += 1;
        answers[i] = await one.run(first + i);
      }
    };
    const began = performance.now();
    await Promise.all(Array.from({ length: inFlight }, loop));
    times.push(((performance.now() - began) * 1000) / operations);
  }
  one.after?.();
  for (let i = 0; i < operations; i += 1) one.check(answers[i], first + i);
  return times;
}

// A generator of its own, so that the order of the cases is the same in every run.
let state = 1;

function shuffled<T>(items: readonly T[]): T[] {
  const all = [...items];
  for (let i = all.length - 1; i > 0; i -= 1) {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
    const j = state % (i + 1);
    [all[i], all[j]] = [all[j]!, all[i]!];
  }
  return all;
}
