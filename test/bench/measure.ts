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
export type Pace = 'every turn' | 'every second turn' | 'once a round' | 'every second round';

/**
 * What a slice is measured by, in microseconds.
 * - `time`: of an operation: the median, or the mean of closed loops
 * - `cpu`: of all threads of this process, an operation
 * - `p99`: what 99 % of the operations stayed below
 */
export type Quantity = 'time' | 'cpu' | 'p99';

const quantities: readonly Quantity[] = ['time', 'cpu', 'p99'];

/** A comparison of two cases, and what it aims at. */
export interface Comparison {
  readonly name: string;
  /** How many times faster or slower: the first case's quantity over the second's. */
  readonly of: readonly [string, string];
  /** Divides that by the ratio of these two: by how much more the first two differ than these do. */
  readonly relativeTo?: readonly [string, string];
  readonly says: 'times faster' | 'times the time' | 'times the throughput' | 'times the CPU time' | 'times the 99th percentile';
  /** @default 'time' */
  readonly quantity?: Quantity;
  readonly aim?: { readonly least: number } | { readonly most: number };
}

/** The cases that a comparison needs. */
export const casesOf = ({ of, relativeTo }: Pick<Comparison, 'of' | 'relativeTo'>): readonly string[] => [...of, ...(relativeTo ?? [])];

/** What a case took, by quantities, rounds and turns. */
export interface Measured {
  readonly name: string;
  readonly inFlight: number;
  readonly quantities: Readonly<Record<Quantity, Rounds>>;
}

/** Why no ratio is printed. */
export class Refused extends Error {
  override readonly name: string = 'Refused';
}

/**
 * A slice did what it is not compared for, such as SQL in a warm run: on a busy machine a deadline was
 * missed. Such a slice is repeated.
 */
export class Disturbed extends Refused {
  override readonly name = 'Disturbed';
}

/** How many slices of a case may be repeated before the case is left out. */
export const mostRepeats = 20;

/** Repeats what was disturbed, a few times. @throws Disturbed when it is disturbed each time */
export async function undisturbed<T>(work: () => Promise<T>): Promise<T> {
  for (let repeats = 0; ; repeats += 1) {
    try {
      return await work();
    } catch (error) {
      if (!(error instanceof Disturbed) || repeats === mostRepeats) throw error;
    }
  }
}

/** A case that was disturbed too often, so that nothing is said about it. */
export interface LeftOut {
  readonly name: string;
  readonly reason: string;
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

/** More operations than a case can be asked for under a plan, its repeated slices included. */
export const operationsOf = ({ rounds, turns, warmUp }: Plan, slice: number): number => ((rounds + warmUp) * turns + mostRepeats) * slice;

/**
 * Measures the cases in turn, in small slices, so that whatever else the machine does hits all of
 * them alike. The order changes from turn to turn, so that none always follows the same other one.
 * @param leaveOut is told of each case that was disturbed too often; the others go on
 * @throws Refused when a case gave a wrong answer, or was disturbed too often and nobody is told
 */
export async function measure(cases: readonly Case[], plan: Plan, leaveOut?: (one: LeftOut) => void): Promise<Measured[]> {
  const next = new Map<Case, number>();
  const repeats = new Map<Case, number>();
  const rounds = new Map<Case, Slice[][]>(cases.map((one) => [one, []]));
  /** Repeats a disturbed slice; undefined where that happened too often. */
  const sample = async (one: Case): Promise<Slice | undefined> => {
    for (;;) {
      const first = next.get(one) ?? 0;
      next.set(one, first + one.operations);
      try {
        return await sliceOf(one, first);
      } catch (error) {
        if (!(error instanceof Disturbed)) throw error;
        const repeated = repeats.get(one) ?? 0;
        repeats.set(one, repeated + 1);
        if (repeated < mostRepeats) continue;
        if (leaveOut === undefined) throw error;
        leaveOut({ name: one.name, reason: error.message });
        return undefined;
      }
    }
  };
  for (let round = -plan.warmUp; round < plan.rounds; round += 1) {
    const samples = new Map<Case, Slice[]>(Array.from(rounds.keys(), (one) => [one, []]));
    for (let turn = 0; turn < plan.turns; turn += 1) {
      for (const one of shuffled(cases)) {
        if (!rounds.has(one) || !isDue(one, round, turn)) continue;
        const slice = await sample(one);
        if (slice === undefined) rounds.delete(one);
        else samples.get(one)!.push(slice);
      }
    }
    if (round < 0) continue;
    for (const [one, found] of rounds) if (isDue(one, round, 0)) found.push(samples.get(one)!);
  }
  return Array.from(rounds.keys(), (one) => {
    const by = (quantity: Quantity): number[][] => rounds.get(one)!.map((turns) => turns.map((slice) => slice[quantity]));
    return {
      name: one.name,
      inFlight: one.inFlight ?? 1,
      quantities: Object.fromEntries(quantities.map((quantity) => [quantity, by(quantity)])) as Record<Quantity, number[][]>,
    };
  });
}

const isDue = ({ pace = 'every turn' }: Case, round: number, turn: number): boolean =>
  pace === 'every turn' ||
  (pace === 'every second turn' ? turn % 2 === 0 : turn === 0 && (pace === 'once a round' || round % 2 === 0));

/** The ratio of two cases. */
export const ratioOf = (numerator: Measured, denominator: Measured, quantity: Quantity = 'time'): Ratio =>
  ratioOfRounds(numerator.quantities[quantity], denominator.quantities[quantity]);

/** How many times the ratio of the second two the ratio of the first two is, turn by turn. */
export function relativeRatio(of: readonly [Measured, Measured], to: readonly [Measured, Measured], quantity: Quantity = 'time'): Ratio {
  const quotients = ([first, second]: readonly [Measured, Measured]): Rounds =>
    first.quantities[quantity].map((turns, round) => turns.map((value, turn) => value / second.quantities[quantity][round]![turn]!));
  return ratioOfRounds(quotients(of), quotients(to));
}

/** By rounds and turns. */
export type Rounds = readonly (readonly number[])[];

/**
 * The ratio of each turn, whose slices lie close together, then the median of each round, then that
 * of all rounds.
 */
export function ratioOfRounds(numerator: Rounds, below: Rounds): Ratio {
  const ratios = numerator
    .map((turns, round) => median(turns.map((value, turn) => value / below[round]![turn]!)))
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
export const tooWide = ({ lowerQuartile, upperQuartile }: Ratio): boolean => !(upperQuartile / lowerQuartile <= 1.6);

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** What must not be exceeded by more than one in a hundred. */
export function percentile99(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.ceil(sorted.length * 0.99) - 1]!;
}

type Slice = Readonly<Record<Quantity, number>>;

async function sliceOf(one: Case, first: number): Promise<Slice> {
  await one.prepare?.(first, one.operations);
  const { answers, latencies, elapsed, cpu } = await runSlice(one, first);
  verify(one, answers, first);
  return {
    time: (one.inFlight ?? 1) === 1 ? median(latencies) : elapsed / one.operations,
    cpu: cpu / one.operations,
    p99: percentile99(latencies),
  };
}

/** The operations of a slice, and nothing else: what they took together, and each, in microseconds. */
export async function runSlice(
  { operations, inFlight = 1, run, name }: Case,
  first: number,
): Promise<{ readonly answers: readonly unknown[]; readonly latencies: readonly number[]; readonly elapsed: number; readonly cpu: number }> {
  const answers = new Array<unknown>(operations);
  const latencies = new Array<number>(operations);
  let taken = 0;
  const loop = async (): Promise<void> => {
    while (taken < operations) {
      const i = taken;
      taken += 1;
      const began = performance.now();
      answers[i] = await run(first + i);
      latencies[i] = (performance.now() - began) * 1000;
    }
  };
  try {
    const usage = process.cpuUsage();
    const began = performance.now();
    if (inFlight === 1) await loop();
    else await Promise.all(Array.from({ length: inFlight }, loop));
    const elapsed = (performance.now() - began) * 1000;
    const { user, system } = process.cpuUsage(usage);
    return { answers, latencies, elapsed, cpu: user + system };
  } catch (error) {
    throw new Error(`'${name}' failed.`, { cause: error });
  }
}

/** @throws Refused when an answer is wrong; Disturbed when they are right and the slice did what it must not */
export function verify(one: Case, answers: readonly unknown[], first: number): void {
  const because = (error: unknown): [string, { cause: unknown }] => [
    `No ratio, because '${one.name}' did not do what it is compared for: ${messageOf(error)}`,
    { cause: error },
  ];
  try {
    for (const [i, answer] of answers.entries()) one.check(answer, first + i);
  } catch (error) {
    throw new Refused(...because(error));
  }
  try {
    one.after?.();
  } catch (error) {
    throw new Disturbed(...because(error));
  }
}

/** Its first line: a comparison of values follows in some. */
const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error)).split('\n')[0]!;

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
