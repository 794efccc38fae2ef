/**
 * The plugin's own transaction around one autocommitted statement.
 *
 * It makes what is read before and after the statement true until its commit. The application knows
 * nothing of it, so nothing that the transaction adds may reach it: it takes no more locks than needed,
 * and is run again as a whole when the server has chosen it as the victim of a deadlock.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Transaction, type Sequelize } from 'sequelize';
import { publish } from '../events.js';
import { CannotPrepare, isVictim, needsRepeatable, noRetry, prepare, withoutRows } from './own-statements.js';
import type { Sent } from './exact-rows.js';
import type { Level, ServerSettings } from './server-settings.js';

/** How often the transaction is begun before the statement is sent without one. */
const mostAttempts = 6;

/** How often it is begun again because rows joined those that had been read. */
const mostRepeats = 2;

/** The longest pause before the second attempt, in milliseconds; it doubles with each one. */
const firstPauseMs = 4;

/** What is done inside the transaction. */
export interface OwnWork {
  /** It may be run again. */
  readonly repeatable: boolean;
  /** Chooses the level, over the connection, before the transaction begins. */
  level(connection: Transaction): Promise<Level>;
  /** Reads, runs the statement and reads again. */
  run(transaction: Transaction, level: Level): Promise<Sent>;
  /** Whether ROLLBACK undoes all that was done. */
  isUndoable(transaction: Transaction): Promise<boolean>;
  /** Takes in that not all is known that was changed: it cannot be undone, or was tried often enough. */
  acceptJoined(joined: Sent['joined']): void;
  /** Marks what was changed, before COMMIT. */
  mark(): Promise<void>;
  /** The last resort: runs the statement without a transaction. */
  runAlone(): Promise<unknown>;
}

/** Runs a statement in a transaction on the statement's own connection. */
export async function inOwnTransaction(
  sequelize: Sequelize,
  connection: unknown,
  settings: ServerSettings,
  work: OwnWork,
): Promise<unknown> {
  let repeats = 0;
  for (let attempt = 1; attempt <= mostAttempts; attempt += 1) {
    if (attempt > 1) await pauseAfter(attempt - 1);
    const own = new StatementTransaction(sequelize, connection);
    try {
      const level = await work.level(own.transaction);
      await prepare(() => own.begin(level));
      const { result, joined } = await work.run(own.transaction, level);
      if (joined.length > 0) {
        repeats += 1;
        if (work.repeatable && repeats <= mostRepeats && (await work.isUndoable(own.transaction))) {
          await own.undo();
          continue;
        }
        work.acceptJoined(joined);
      }
      await work.mark();
      await own.commit();
      return result;
    } catch (error) {
      await own.rollback();
      if (error instanceof CannotPrepare) break;
      if (needsRepeatable(error)) settings.noteStatementLog(own.transaction);
      else if (!work.repeatable || !isVictim(error)) throw error;
    }
  }
  return work.runAlone();
}

/**
 * Sends an autocommitted statement, and again when the server has chosen it as the victim of a deadlock:
 * it may be the victim of a transaction of the plugin's own. Nothing of it is left then.
 */
export async function sendUntilThrough(run: () => Promise<unknown>): Promise<unknown> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await run();
    } catch (error) {
      if (attempt === mostAttempts || !isVictim(error)) throw error;
      await pauseAfter(attempt);
    }
  }
}

/** Lets the others go first; for longer, the more often they were in the way. */
const pauseAfter = (attempt: number): Promise<void> => sleep(Math.random() * firstPauseMs * 2 ** (attempt - 1));

const own = new WeakSet<Transaction>();

/** Whether a transaction is one of the plugin's own. */
export const isOwn = (transaction: Transaction): boolean => own.has(transaction);

/** A transaction on a connection that Sequelize has taken for a statement, and gives back after it. */
class StatementTransaction {
  readonly transaction: Transaction;
  readonly #sequelize: Sequelize;
  #begun = false;

  constructor(sequelize: Sequelize, connection: unknown) {
    this.#sequelize = sequelize;
    // At a deadlock Sequelize rolls a transaction back and gives its connection to the pool; this one is the statement's.
    const forceCleanup = (): Promise<void> => {
      this.#close();
      return Promise.resolve();
    };
    const keep = { connection, cleanup: () => undefined, forceCleanup };
    this.transaction = Object.assign(new Transaction(sequelize, {}), keep);
    own.add(this.transaction);
  }

  async begin(level: Level): Promise<void> {
    if (level !== 'as set') await this.#run(`SET TRANSACTION ISOLATION LEVEL ${level.toUpperCase()}`);
    this.#begun = true;
    await this.#run('START TRANSACTION');
  }

  async commit(): Promise<void> {
    await this.#run('COMMIT');
    this.#begun = false;
  }

  async undo(): Promise<void> {
    await this.#run('ROLLBACK');
    this.#begun = false;
  }

  /** Never rejects: it follows an error that the caller has to see. */
  async rollback(): Promise<void> {
    // A deadlock: Sequelize has done it.
    if (!this.#begun || (this.transaction as { readonly finished?: string }).finished !== undefined) return;
    try {
      await this.undo();
    } catch (cause) {
      publish('error', () => ({ operation: 'rollback', cause }));
      this.#close();
    }
  }

  /** What state the connection is in is not known: nobody may use it again. Sequelize does so where a COMMIT fails. */
  #close(): void {
    const { connectionManager } = this.#sequelize as unknown as {
      readonly connectionManager: { destroyConnection(connection: unknown): Promise<void> };
    };
    const { connection } = this.transaction as unknown as { readonly connection: unknown };
    connectionManager.destroyConnection(connection).catch((cause: unknown) => {
      publish('error', () => ({ operation: 'close connection', cause }));
    });
  }

  async #run(sql: string): Promise<void> {
    await this.#sequelize.query(sql, { transaction: this.transaction, ...withoutRows, ...noRetry });
  }
}
