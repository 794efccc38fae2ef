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
 * where every connection of the pool is held by somebody who waits for a second one. Each connection is asked
 * once, since sessions can differ: by a hook `afterConnect`, by `SET SESSION` as text, by `SET GLOBAL` between
 * two of them.
 */
export class ServerSettings {
  readonly #sequelize: Sequelize;
  /** By connection. */
  readonly #known = new WeakMap<object, Settings>();

  constructor(sequelize: Sequelize) {
    this.#sequelize = sequelize;
  }

  /**
   * Asks once for each connection, over the transaction's. Never rejects: what cannot be asked counts as the
   * servers' default, and the next write asks again.
   */
  async over(transaction: Transaction): Promise<Settings> {
    const connection = connectionOf(transaction);
    const known = this.#known.get(connection);
    if (known !== undefined) return known;
    try {
      const settings = await this.#ask(transaction);
      this.#known.set(connection, settings);
      return settings;
    } catch (cause) {
      publish('error', () => ({ operation: 'ask for the isolation level', cause }));
      return unknown;
    }
  }

  /** The server has refused a write at READ COMMITTED over a connection. */
  noteStatementLog(transaction: Transaction): void {
    const connection = connectionOf(transaction);
    this.#known.set(connection, { ...(this.#known.get(connection) ?? unknown), logsStatements: true });
  }

  /** A text of the program's is sent over a connection: where it may change settings, they are asked for anew. */
  noteText(sql: string, connection: unknown): void {
    if (changesSettings(sql) && typeof connection === 'object' && connection !== null) this.#known.delete(connection);
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

/** Two tests, since one expression for both takes a time that grows with the square of the length. */
const changesSettings = (sql: string): boolean => /isolation|binlog_format/i.test(sql) && /\bset\b/i.test(sql);

/** An object of the driver's. */
const connectionOf = (transaction: Transaction): object => (transaction as unknown as { readonly connection: object }).connection;

function kindOf(level: string): IsolationKind {
  if (/uncommitted|read.committed/i.test(level)) return 'weak';
  return /serializable/i.test(level) ? 'serializable' : 'repeatable';
}
