/** Statements of the plugin's own: how they are sent, and what their errors mean. */
import { ConnectionError, DatabaseError, QueryTypes } from 'sequelize';
import { publish } from '../events.js';

/**
 * For statements inside a transaction: Sequelize's option `retry` would send one again after its
 * transaction is gone. Whoever began the transaction begins it again.
 */
export const noRetry = { retry: { max: 1 } } as const;

/** A statement without rows, whatever the Sequelize instance has in its option `query`. */
export const withoutRows = { type: QueryTypes.RAW, raw: true, nest: false, plain: false } as const;

/** The server's number of an error, as the drivers hand it on inside of Sequelize's. */
export function errorNumber(error: unknown): number | undefined {
  for (let one = error, depth = 0; typeof one === 'object' && one !== null && depth < 3; depth += 1) {
    const number: unknown = Reflect.get(one, 'errno');
    if (typeof number === 'number' && number > 0) return number;
    one = Reflect.get(one, 'parent');
  }
  return undefined;
}

/**
 * The server has undone the whole transaction, and says that it may be tried again: a deadlock, a commit
 * that a group of servers has refused, a row that has changed since the transaction's snapshot.
 */
export const isVictim = (error: unknown): boolean => victims.has(errorNumber(error) ?? 0);

const victims: ReadonlySet<number> = new Set([1213, 3101, 1020]);

/** READ COMMITTED with `binlog_format=STATEMENT`. */
export const needsRepeatable = (error: unknown): boolean => errorNumber(error) === 1665;

/** A statement of the plugin's own was refused for a reason that the user's statement need not meet. */
export class CannotPrepare extends Error {
  override readonly name = 'CannotPrepare';
}

/**
 * Sends statements ahead of the user's.
 * @throws CannotPrepare, so that the user's statement is run without them; or an error that it would have met too
 */
export async function prepare<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    if (isStatementsOwn(cause)) throw cause;
    publish('error', () => ({ operation: 'read before write', cause }));
    throw new CannotPrepare('A read before a write was refused.', { cause });
  }
}

/**
 * The user's statement would have met the same: a lock that does not come free, a query that was killed
 * or has taken too long, a lost connection (which has no number of the server's). Not what was never sent:
 * Sequelize refuses a value, or a hook of the program refuses the read.
 */
function isStatementsOwn(error: unknown): boolean {
  const number = errorNumber(error);
  if (number === undefined) return isOfConnection(error);
  return number < 1000 || (number >= 2000 && number < 3000) || waits.has(number) || isVictim(error);
}

const isOfConnection = (error: unknown): boolean =>
  error instanceof DatabaseError || error instanceof ConnectionError || (error instanceof Error && ('errno' in error || 'fatal' in error));

const waits: ReadonlySet<number> = new Set([
  // Lock wait timeout; NOWAIT.
  1205, 3572,
  // KILL QUERY; the server's or the session's limit of time.
  1317, 3024, 1969,
  // The server shuts down; KILL of the connection.
  1053, 1927,
]);

/** Lets an error of a statement that the plugin sent ahead name the user's statement, as it would without the plugin. */
export function inTheNameOf(error: unknown, sql: unknown, parameters: unknown): unknown {
  for (let one = error, depth = 0; typeof one === 'object' && one !== null && depth < 2; depth += 1) {
    if (Reflect.has(one, 'sql')) {
      Reflect.set(one, 'sql', sql);
      Reflect.set(one, 'parameters', parameters);
    }
    one = Reflect.get(one, 'parent');
  }
  return error;
}
