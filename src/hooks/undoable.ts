/** Tells whether ROLLBACK undoes all that a statement did. */
import { QueryTypes, type Sequelize, type Transaction } from 'sequelize';
import { publish } from '../events.js';
import { noRetry } from './own-statements.js';

/**
 * Asks, in the statement's transaction, whether its table has an engine with transactions and no triggers: a
 * trigger can write to a table without transactions, whose rows stay as they are at ROLLBACK while the statement's
 * own rows are undone. What cannot be asked counts as a no.
 */
export async function isUndoable(sequelize: Sequelize, transaction: Transaction, table: string): Promise<boolean> {
  try {
    const rows = await sequelize.query(
      `SELECT 1 FROM information_schema.TABLES AS t JOIN information_schema.ENGINES AS e ON e.ENGINE = t.ENGINE
        WHERE t.TABLE_SCHEMA = DATABASE() AND t.TABLE_NAME = :table AND e.TRANSACTIONS = 'YES' AND NOT EXISTS (
          SELECT 1 FROM information_schema.TRIGGERS WHERE EVENT_OBJECT_SCHEMA = DATABASE() AND EVENT_OBJECT_TABLE = :table)`,
      { type: QueryTypes.SELECT, replacements: { table }, transaction, raw: true, ...noRetry },
    );
    return rows.length > 0;
  } catch (cause) {
    publish('error', () => ({ operation: 'ask for the engine of a table', cause }));
    return false;
  }
}
