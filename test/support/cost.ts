/** What something cost: SQL statements and multi-gets of the store. */
import assert from 'node:assert/strict';
import type { Backend } from './backends.js';

/** What to expect; what is left out does not matter. */
export interface Cost {
  /** SQL statements, the plugin's own included. */
  readonly sql?: number;
  /** `get` operations of the store; a multi-get is one. */
  readonly gets?: number;
}

/** Runs `work` and asserts what it cost. */
export async function costing<T>(backend: Backend, expected: Cost, work: () => Promise<T>): Promise<T> {
  backend.reset();
  const result = await work();
  if (expected.sql !== undefined) {
    assert.equal(backend.sql.length, expected.sql, `SQL statements:\n${backend.sql.join('\n') || 'none'}`);
  }
  if (expected.gets !== undefined) assert.equal(backend.store.count('get'), expected.gets, 'gets of the store');
  return result;
}

/** The first read asks the database once, the second one the store once and the database never. */
export async function coldThenWarm<T>(backend: Backend, read: () => Promise<T>): Promise<[cold: T, warm: T]> {
  const cold = await costing(backend, { sql: 1 }, read);
  const warm = await costing(backend, { sql: 0, gets: 1 }, read);
  return [cold, warm];
}
