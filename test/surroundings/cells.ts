/** Draws cells by seed, so that pairs of choices that did not meet yet do. */
import { Random } from '../oracle/random.js';
import { axisNames, defaults, groupAxes, passedThrough, valid, type AxisName, type Cell, type Stack, type Surroundings } from './axes.js';

/** Cells with the same surroundings: they share Sequelize instances and tables. */
export interface Group {
  readonly stack: Stack;
  readonly surroundings: Surroundings;
  readonly writes: readonly string[];
}

/** How many write paths are tried in the same surroundings. */
const writesOfGroup = 20;
/** How many surroundings are drawn for each that is taken: the one with the most new pairs. */
const drawsOfGroup = 8;

/** Draws groups for as long as they are asked for. */
export class Cells {
  readonly #random: Random;
  readonly #stack: Stack;
  readonly #writes: readonly string[];
  /** Pairs of choices that were in a cell. */
  readonly #met = new Set<string>();

  constructor(seed: number, stack: Stack, writes: readonly string[]) {
    this.#random = new Random(seed);
    this.#stack = stack;
    this.#writes = writes;
  }

  next(): Group {
    const drawn = Array.from({ length: drawsOfGroup }, () => this.#draw());
    const [surroundings] = mostOf(drawn, (one) => this.#fresh(pairsOf(one)));
    for (const pair of pairsOf(surroundings)) this.#met.add(pair);
    // By how many of these surroundings each path has not met yet; chance decides between equals.
    const writes = this.#writes
      .map((write) => ({ write, fresh: this.#fresh(pairsWith(write, surroundings)), chance: this.#random.next() }))
      .sort((a, b) => b.fresh - a.fresh || a.chance - b.chance)
      .slice(0, writesOfGroup)
      .map(({ write }) => write);
    for (const write of writes) for (const pair of pairsWith(write, surroundings)) this.#met.add(pair);
    return { stack: this.#stack, surroundings, writes };
  }

  /** Pairs of choices that were in at least one cell. */
  get pairs(): number {
    return this.#met.size;
  }

  #fresh(pairs: readonly string[]): number {
    return pairs.filter((pair) => !this.#met.has(pair)).length;
  }

  /** Half of the axes at their default, so that a fault is not hidden behind another one each time. */
  #draw(): Surroundings {
    const chosen: Record<string, string> = {};
    for (const name of axisNames) {
      const value = this.#random.once(2) ? defaults[name] : this.#random.pick<string>(groupAxes[name]);
      chosen[name] = value === passedThrough[name] && this.#random.once(2) ? defaults[name] : value;
    }
    return valid(this.#stack, chosen as unknown as Surroundings);
  }
}

const choiceOf = (name: AxisName, { [name]: value }: Surroundings): string => `${name}=${value}`;

function pairsOf(surroundings: Surroundings): string[] {
  const choices = axisNames.map((name) => choiceOf(name, surroundings));
  return choices.flatMap((one, at) => choices.slice(at + 1).map((other) => `${one}&${other}`));
}

const pairsWith = (write: string, surroundings: Surroundings): string[] =>
  axisNames.map((name) => `write=${write}&${choiceOf(name, surroundings)}`);

function mostOf<T>(all: readonly T[], measure: (one: T) => number): [T] {
  const measured = all.map((one) => [one, measure(one)] as const);
  const [best] = measured.reduce((most, one) => (one[1] > most[1] ? one : most));
  return [best];
}

/** The cells of a group. */
export const cellsOf = ({ stack, surroundings, writes }: Group): Cell[] => writes.map((write) => ({ stack, surroundings, write }));
