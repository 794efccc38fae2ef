/** Rows as the database has them, read by the plugin itself inside a write's transaction. */
import { Op, QueryTypes, Transaction, type FindOptions, type Sequelize, type WhereOptions } from 'sequelize';
import type { BoundModel } from '../caches/registry.js';
import type { Canonical } from '../entries/key-types.js';
import { publish } from '../events.js';
import { canonicalValues } from '../models/cached-model.js';
import { whereOf } from '../models/finder.js';
import type { RowValues } from './effects.js';

/** One row as read. */
export interface Image {
  readonly primaryKey: readonly Canonical[];
  readonly values: RowValues;
}

/** Whether the dialect has row locks, so that what is read inside a transaction stays so until its end. */
export const hasRowLocks = (sequelize: Sequelize): boolean => ['mysql', 'mariadb'].includes(sequelize.getDialect());

/** Whether rows are locked until the transaction ends. What is not locked is read as the transaction sees it, without waiting. */
export type RowLock = 'lock' | 'no lock';

/**
 * The rows of a condition (in column names); `undefined` if there are more than `most`, or one
 * without a canonical primary key.
 */
export async function imagesWhere(
  bound: BoundModel,
  where: WhereOptions | undefined,
  most: number,
  transaction: Transaction | null,
  rowLock: RowLock,
): Promise<readonly Image[] | undefined> {
  const { cached, all } = bound;
  const names = new Set([...cached.primaryKey, ...all.flatMap((cache) => cache.columns)].map(({ name }) => name));
  const model = cached.model.unscoped();
  const options: FindOptions & { hooks: false } = {
    attributes: [...names],
    ...(where === undefined ? {} : { where }),
    limit: most + 1,
    raw: true,
    hooks: false,
    paranoid: false,
    useMaster: true,
    transaction,
    ...(rowLock === 'lock' && transaction !== null && hasRowLocks(cached.sequelize) ? { lock: Transaction.LOCK.UPDATE } : {}),
  };
  const rows = (await model.findAll(options)) as unknown as readonly Readonly<Record<string, unknown>>[];
  if (rows.length > most) return undefined;
  const images: Image[] = [];
  for (const row of rows) {
    const primaryKey = canonicalValues(cached.primaryKey, ({ name }) => row[name]);
    if (primaryKey === undefined) return undefined;
    images.push({ primaryKey, values: ({ name }) => row[name] });
  }
  return images;
}

/** The rows with these primary keys. */
export async function imagesOf(
  bound: BoundModel,
  primaryKeys: readonly (readonly Canonical[])[],
  transaction: Transaction | null,
  rowLock: RowLock,
): Promise<readonly Image[] | undefined> {
  if (primaryKeys.length === 0) return [];
  const columns = bound.cached.primaryKey;
  const [column, ...more] = columns;
  const where: WhereOptions =
    column !== undefined && more.length === 0
      ? { [column.name]: { [Op.in]: primaryKeys.map(([value]) => column.key.queryValue(value as string)) } }
      : { [Op.or]: primaryKeys.map((values) => whereOf(columns, values)) };
  return imagesWhere(bound, where, primaryKeys.length, transaction, rowLock);
}

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
