/**
 * Tells which transactions of the program's are still open in the server.
 *
 * A server ends a transaction without being told to at some errors (a deadlock, a lock wait that times out with
 * `innodb_rollback_on_timeout`, a row that has changed since the snapshot) and at statements that commit: DDL,
 * or whatever a procedure runs. Sequelize goes on with the transaction, and what it sends in it from then on is
 * committed at once. So the server is asked, over the connection of the transaction, where a statement may have
 * ended it. Statements that were carried out and end nothing cost nothing.
 */
import type { QueryOptionsWithType, QueryTypes, Sequelize, Transaction } from 'sequelize';
import { hasRowLocks } from './images.js';
import { aroundRun } from './interception.js';
import { publish } from '../events.js';
import { errorNumber, noRetry, withoutRows } from './own-statements.js';

/** State of a transaction in the server; unknown if the server did not answer the question. */
export type TransactionState = 'open' | 'ended' | 'unknown';

/** The outermost transactions that are not sure to be open. One map for all Sequelize instances: by CLS one writes in another's. */
const states = new WeakMap<Transaction, 'ended' | 'unknown'>();

/** Marks the plugin's own question in a statement's options. */
export const isQuestion = Symbol('sequelize-flash.isQuestion');

/** The outermost transaction: only its commit makes anything visible. */
export function rootOf(transaction: Transaction): Transaction {
  let root = transaction;
  for (;;) {
    const { parent } = root as { readonly parent?: Transaction | null };
    if (parent == null) return root;
    root = parent;
  }
}

/** State of the outermost transaction that a transaction belongs to. Where it has ended, the server commits each statement at once. */
export const stateOf = (transaction: Transaction): TransactionState => states.get(rootOf(transaction)) ?? 'open';

/**
 * Learns from a statement in a transaction, when it has been run, whether the transaction goes on.
 * @param consequence of the statement by its text, if it is carried out
 */
export function watchTransaction(sequelize: Sequelize, transaction: Transaction, query: object, consequence: (sql: unknown) => 'goes on' | 'ends' | 'unknown'): void {
  const root = rootOf(transaction);
  if (!hasRowLocks(sequelize)) return;
  aroundRun(query, async ({ sql, run }) => {
    const expected = consequence(sql);
    let isCertain = false;
    try {
      const result = await run();
      isCertain = expected !== 'unknown';
      if (expected === 'ends') states.set(root, 'ended');
      return result;
    } catch (error) {
      isCertain = expected === 'goes on' && undoesStatementOnly.has(errorNumber(error) ?? connectionLost);
      throw error;
    } finally {
      if (!(isCertain && states.get(root) !== 'unknown') && isInUse(root)) await ask(sequelize, root);
    }
  });
}

/**
 * Asks the server. Only its own answer counts. The question may never have been sent (`logging` throws, a hook of
 * the program refuses it) or be killed: the transaction is as it was then, and is asked for again after its next
 * statement.
 */
async function ask(sequelize: Sequelize, root: Transaction): Promise<void> {
  const options: QueryOptionsWithType<QueryTypes.RAW> & { [isQuestion]: true } = { transaction: root, ...withoutRows, ...noRetry, [isQuestion]: true };
  try {
    // It is refused only inside of a transaction, and it changes nothing.
    await sequelize.query('SET TRANSACTION READ WRITE', options);
    states.set(root, 'ended');
  } catch (cause) {
    if (errorNumber(cause) === cannotChangeTransaction) {
      states.delete(root);
      return;
    }
    states.set(root, 'unknown');
    publish('error', () => ({ operation: 'ask for the state of a transaction', cause }));
  }
}

/** After its end Sequelize sends nothing more in a transaction, and its connection may be another's. */
const isInUse = (root: Transaction): boolean => (root as { readonly finished?: string }).finished === undefined;

/** "Transaction characteristics can't be changed while a transaction is in progress". */
const cannotChangeTransaction = 1568;

/** In place of a number of the server's. */
const connectionLost = 0;

/** Errors that are common, and undo the statement that they are of and nothing else. */
const undoesStatementOnly: ReadonlySet<number> = new Set([
  connectionLost,
  // A duplicate; foreign keys; a check.
  1062, 1216, 1217, 1451, 1452, 3819, 4025,
  // Values that a column does not take.
  1048, 1264, 1265, 1292, 1364, 1366, 1406,
  // Not understood: syntax, an unknown column or table.
  1054, 1064, 1146,
]);
