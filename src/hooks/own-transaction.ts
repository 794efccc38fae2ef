/** The plugin's own transaction around an autocommitted statement. */
import { Transaction, type Sequelize } from 'sequelize';
import { publish } from '../events.js';

/**
 * A transaction around one autocommitted statement, on the statement's own connection. It makes
 * what is read before and after the statement true until its commit.
 */
export class StatementTransaction {
  readonly transaction: Transaction;
  readonly #sequelize: Sequelize;

  constructor(sequelize: Sequelize, connection: unknown) {
    this.#sequelize = sequelize;
    this.transaction = Object.assign(new Transaction(sequelize, {}), { connection });
  }

  /** @param repeatable the server's default is weaker than REPEATABLE READ, which is needed here */
  async begin(repeatable: boolean): Promise<void> {
    if (repeatable) await this.#run('SET TRANSACTION ISOLATION LEVEL REPEATABLE READ');
    await this.#run('START TRANSACTION');
  }

  async commit(): Promise<void> {
    await this.#run('COMMIT');
  }

  /** Never rejects: it follows an error that the caller has to see. */
  async rollback(): Promise<void> {
    // A deadlock: Sequelize has done it.
    if ((this.transaction as { readonly finished?: string }).finished !== undefined) return;
    try {
      await this.#run('ROLLBACK');
    } catch (cause) {
      publish('error', () => ({ operation: 'rollback', cause }));
    }
  }

  /**
   * Before `afterQuery` rejects: Sequelize gives a statement's connection back to the pool only if its
   * hooks do not, and a pool without connections is the end of every read. What state this one is in is
   * not known, so it is closed, as Sequelize does where a COMMIT fails.
   */
  giveUpConnection(): void {
    const { connectionManager } = this.#sequelize as unknown as {
      readonly connectionManager: { destroyConnection(connection: unknown): Promise<void> };
    };
    const { connection } = this.transaction as unknown as { readonly connection: unknown };
    connectionManager.destroyConnection(connection).catch((cause: unknown) => {
      publish('error', () => ({ operation: 'close connection', cause }));
    });
  }

  async #run(sql: string): Promise<void> {
    await this.#sequelize.query(sql, { transaction: this.transaction, raw: true });
  }
}
