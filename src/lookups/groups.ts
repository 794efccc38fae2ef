/** Loads of one cache that are one statement, and what becomes of them when it fails. */
import type { BoundCache } from '../caches/bound-cache.js';
import { findByKeys, isRefused, NotTogether, type Asks } from '../models/finder.js';
import type { Load } from './load.js';

/** Asks the database by one statement. Several at once only where the cache can. */
export async function answersOf(cache: BoundCache, asks: Asks): Promise<readonly unknown[]> {
  if (cache.kind === 'simple') return findByKeys(cache.model, cache, asks);
  const [only] = asks;
  if (asks.length > 1 && cache.computeMany !== undefined) return cache.computeMany(asks);
  return only === undefined ? [] : [await cache.compute(only)];
}

/** Whether the cache loads several lookups by one statement. */
export const loadsMany = (cache: BoundCache): boolean => cache.kind === 'simple' || cache.computeMany !== undefined;

/**
 * Divides loads whose statement has failed, where only one of them may be why: each by itself, or in
 * halves, so that one among many is found by few statements. Returns one group where all would fail alike.
 */
export function partsOf<L extends Load>(loads: readonly L[], error: unknown): readonly (readonly L[])[] {
  if (loads.length === 1) return [loads];
  if (error instanceof NotTogether) return loads.map((load) => [load]);
  if (!isRefused(error)) return [loads];
  const middle = loads.length >> 1;
  return [loads.slice(0, middle), loads.slice(middle)];
}
