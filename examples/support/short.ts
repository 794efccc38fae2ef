/** What the short examples share: an empty database of their own, and what something may cost. */
import assert from 'node:assert/strict';
import type { Options } from 'sequelize';
import { createSqliteModule } from './sqlite.js';

const statements: string[] = [];

/** SQLite with nothing in it, for `new Sequelize` of either package. */
export async function emptyDatabase(): Promise<Options> {
  return {
    dialect: 'sqlite',
    dialectModule: await createSqliteModule(),
    storage: 'short.db',
    logging: (statement) => statements.push(statement),
  };
}

/** Runs something, and asserts how many SQL statements that took. */
export async function costs<T>(sql: number, work: () => Promise<T>): Promise<T> {
  statements.length = 0;
  const result = await work();
  assert.equal(statements.length, sql, `SQL statements:\n${statements.join('\n') || 'none'}`);
  return result;
}
