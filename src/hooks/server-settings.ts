/** Settings of the database server that decide how writes are watched. */
import { QueryTypes, type Sequelize, type Transaction } from 'sequelize';
import { publish } from '../events.js';
import { hasRowLocks } from './images.js';
import { noRetry } from './own-statements.js';

/** How far a session's transactions are kept apart, as far as it matters here. */
export type IsolationKind =
  /** READ UNCOMMITTED or READ COMMITTED: InnoDB locks no gaps, so rows can join those that are locked. */
  | 'weak'
  | 'repeatable'
  | 'serializable';

/**
 * The isolation level of a transaction of the plugin's own.
 * - `'read committed'`: no gaps are locked; rows that join are found by their number.
 * - `'repeatable read'`: nothing can join.
 * - `'as set'`: the session's own level.
 */
export type Level = 'read committed' | 'repeatable read' | 'as set';

/** What a session was found to be set to. */
export interface Settings {
  readonly isolation: IsolationKind;
  /** Writes at READ COMMITTED are refused (error 1665): they could not be replicated as statements. */
  readonly logsStatements: boolean;
}

/** MySQL's and MariaDB's defaults. */
const unknown: Settings = { isolation: 'repeatable', logsStatements: true };

/**
 * The settings of one Sequelize instance's sessions.
 *
 * They are asked for over a connection that the caller holds anyway: a second one might never come,
 * where every connection of the pool is held by somebody who waits for a second one. The first answer
 * counts for all connections: one with another isolation level (`afterConnect`) costs locks or exactness,
 * but no stale entry, since the number of rows that a statement matched is checked in any case.
 */
export class ServerSettings {
  readonly #sequelize: Sequelize;
  #known: Settings | undefined;

  constructor(sequelize: Sequelize) {
    this.#sequelize = sequelize;
  }

  /**
   * Asks once, over the transaction's connection. Never rejects: what cannot be asked counts as the
   * servers' default, and the next write asks again.
   */
  async over(transaction: Transaction): Promise<Settings> {
    if (this.#known !== undefined) return this.#known;
    try {
      return (this.#known = await this.#ask(transaction));
    } catch (cause) {
      publish('error', () => ({ operation: 'ask for the isolation level', cause }));
      return unknown;
    }
  }

  /** The server has refused a write at READ COMMITTED. */
  noteStatementLog(): void {
    this.#known = { ...(this.#known ?? unknown), logsStatements: true };
  }

  /** Whether rows that are locked by a condition can be joined by others before the user's transaction ends. */
  async isWeak(transaction: Transaction): Promise<boolean> {
    if (!hasRowLocks(this.#sequelize)) return false;
    const level = (transaction as { readonly options?: { readonly isolationLevel?: string | null } }).options?.isolationLevel;
    if (level != null) return kindOf(level) === 'weak';
    return (await this.over(transaction)).isolation === 'weak';
  }

  async #ask(transaction: Transaction): Promise<Settings> {
    // MariaDB before 11.1 has tx_isolation only, MySQL since 8.0 transaction_isolation only.
    const rows = await this.#sequelize.query<{ readonly Variable_name: string | Buffer; readonly Value: string | Buffer }>(
      `SHOW VARIABLES WHERE Variable_name IN ('tx_isolation', 'transaction_isolation', 'binlog_format', 'log_bin')`,
      { type: QueryTypes.SELECT, transaction, raw: true, ...noRetry },
    );
    // With `typeCast: false` the driver leaves every value as bytes.
    const values = new Map(rows.map(({ Variable_name: name, Value: value }) => [String(name).toLowerCase(), String(value)]));
    const level = values.get('transaction_isolation') ?? values.get('tx_isolation');
    return {
      isolation: level === undefined ? unknown.isolation : kindOf(level),
      logsStatements: /^statement$/i.test(values.get('binlog_format') ?? '') && /^(on|1)$/i.test(values.get('log_bin') ?? ''),
    };
  }
}

function kindOf(level: string): IsolationKind {
  if (/uncommitted|read.committed/i.test(level)) return 'weak';
  return /serializable/i.test(level) ? 'serializable' : 'repeatable';
}
