/** What something cost: SQL statements and operations of the store. */
import assert from 'node:assert/strict';
import type { Backend } from './backends.js';
import type { Operation } from './observed-store.js';

/** What to expect; what is left out does not matter. */
export interface Cost {
  /** SQL statements, the plugin's own included. */
  readonly sql?: number;
  /** `get` operations of the store; a multi-get is one. */
  readonly gets?: number;
  /** How often the store was waited for. The memory store has to be moved away to tell. */
  readonly rounds?: number;
  /** All operations of the store; what is left out has to be none. */
  readonly operations?: Readonly<Partial<Record<Operation, number>>>;
}

const operations: readonly Operation[] = ['get', 'add', 'compareAndSwap', 'compareAndDelete', 'delete'];

/** Runs `work` and asserts what it cost. */
export async function costing<T>(backend: Backend, expected: Cost, work: () => Promise<T>): Promise<T> {
  backend.reset();
  const result = await work();
  if (expected.sql !== undefined) {
    assert.equal(backend.sql.length, expected.sql, `SQL statements:\n${backend.sql.join('\n') || 'none'}`);
  }
  if (expected.gets !== undefined) assert.equal(backend.store.count('get'), expected.gets, 'gets of the store');
  if (expected.operations !== undefined) {
    const counted = operations.map((operation) => [operation, backend.store.count(operation)] as const).filter(([, times]) => times > 0);
    assert.deepEqual(Object.fromEntries(counted), expected.operations, 'operations of the store');
  }
  if (expected.rounds !== undefined) assert.equal(backend.store.rounds, expected.rounds, 'rounds of operations that wait for one another');
  return result;
}

/** The first read asks the database once, the second one the store once and the database never. */
export async function coldThenWarm<T>(backend: Backend, read: () => Promise<T>): Promise<[cold: T, warm: T]> {
  const cold = await costing(backend, { sql: 1 }, read);
  const warm = await costing(backend, { sql: 0, gets: 1 }, read);
  return [cold, warm];
}
