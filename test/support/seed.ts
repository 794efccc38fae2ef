/** The seed of random tests. */
import { randomInt } from 'node:crypto';

/**
 * From the environment's SEED, to replay a failure, or else a new one. Print it: a failure that
 * cannot be replayed is of little use.
 */
export function seed(): number {
  const given = process.env.SEED;
  if (given === undefined || given === '') return randomInt(2 ** 31);
  if (!/^\d+$/.test(given)) throw new RangeError(`SEED must be a whole number; it is '${given}'.`);
  return Number(given) >>> 0;
}
