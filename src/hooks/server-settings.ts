/** Settings of the database server that decide how writes are watched. */
import { QueryTypes, type Sequelize, type Transaction } from 'sequelize';
import { hasRowLocks } from './images.js';

/**
 * Whether rows that are locked by a condition can be joined by others before the transaction ends:
 * so it is below REPEATABLE READ, where InnoDB locks no gaps.
 */
export class Isolation {
  readonly #sequelize: Sequelize;
  #serverIsWeak: Promise<boolean> | undefined;

  constructor(sequelize: Sequelize) {
    this.#sequelize = sequelize;
  }

  /** For a transaction of the user's, or (null) for one that is begun without saying its level. */
  async isWeak(transaction: Transaction | null): Promise<boolean> {
    if (!hasRowLocks(this.#sequelize)) return false;
    const level = (transaction as { readonly options?: { readonly isolationLevel?: string | null } } | null)?.options?.isolationLevel;
    if (level != null) return weak.test(level);
    // A rejection is not remembered: the next write asks again.
    this.#serverIsWeak ??= this.#ask().catch((error: unknown) => {
      this.#serverIsWeak = undefined;
      throw error;
    });
    return this.#serverIsWeak;
  }

  async #ask(): Promise<boolean> {
    const rows = await this.#sequelize.query<{ readonly Value: string }>(
      `SHOW VARIABLES WHERE Variable_name IN ('tx_isolation', 'transaction_isolation')`,
      { type: QueryTypes.SELECT, transaction: null, useMaster: true },
    );
    return rows.some(({ Value }) => weak.test(Value));
  }
}

const weak = /uncommitted|read.committed/i;
