/** The part of a generated matrix that a run tests. */
import type { Random } from '../oracle/random.js';

/**
 * From 0 to 1: how much of its matrix a test of generated cells runs. MATRIX_PART, or a quarter: every run
 * draws other cells, and `npm run test:all` runs them all.
 */
export const matrixPart: number = partOf(process.env.MATRIX_PART ?? '0.25');

function partOf(given: string): number {
  const part = Number(given);
  if (!(part > 0 && part <= 1)) throw new RangeError(`MATRIX_PART must be more than 0 and at most 1; it is '${given}'.`);
  return part;
}

/** Draws that part of the cells, rounded up. They keep their order. */
export function drawn<T>(cells: readonly T[], random: Random): T[] {
  const left = Array.from(cells.keys());
  const chosen = new Set(random.list(Math.ceil(cells.length * matrixPart), () => left.splice(random.below(left.length), 1)[0] as number));
  return cells.filter((_, at) => chosen.has(at));
}
