/**
 * Learns which rows a statement changes: reads and locks them before it, and makes sure after it that
 * these were all.
 */
import type { Sequelize, Transaction } from 'sequelize';
import type { Sending } from './interception.js';
import type { BoundModel } from '../caches/registry.js';
import { watchMatchedRows } from './matched-rows.js';
import { inTheNameOf, prepare } from './own-statements.js';
import { joinedModels, nothingRead, readBefore, type Before, type LockBy } from './row-reads.js';
import { ServerSettings, type Level } from './server-settings.js';
import { byCondition, type WritePlan } from './writes.js';

/** What came of a statement. */
export interface Sent {
  readonly result: unknown;
  readonly before: Before;
  /** Models whose rows are not all known. */
  readonly joined: readonly BoundModel[];
}

/** Reads rows around the statements of one Sequelize instance, inside transactions. */
export class ExactRows {
  readonly settings: ServerSettings;
  readonly #rowLimit: number;
  /** Whether the driver tells how many rows an UPDATE matches: mysql2 does, mariadb counts changed rows only. */
  #tellsMatched: boolean;

  constructor(sequelize: Sequelize, rowLimit: number) {
    this.settings = new ServerSettings(sequelize);
    this.#rowLimit = rowLimit;
    this.#tellsMatched = sequelize.getDialect() === 'mysql';
  }

  /** Chooses the level of the plugin's own transaction: the one with the fewest locks at which no row is missed. */
  async levelFor(plan: WritePlan, own: Transaction): Promise<Level> {
    const needsGaps = plan.cascade?.needsGaps === true;
    // Primary keys are locked row by row at any level.
    if (!byCondition(plan) && !needsGaps) return 'as set';
    const { isolation, logsStatements } = await this.settings.over(own);
    // The user asked for it.
    if (isolation === 'serializable') return 'as set';
    const weak = isolation === 'weak';
    if (needsGaps || !this.#isCounted(plan) || logsStatements) return weak ? 'repeatable read' : 'as set';
    return weak ? 'as set' : 'read committed';
  }

  /** Runs a statement in the plugin's own transaction, between the reads that it needs. */
  async runInOwn(plan: WritePlan, query: object, own: Transaction, level: Level, sending: Sending): Promise<Sent> {
    const isWeak = async (): Promise<boolean> =>
      level === 'as set' ? (await this.settings.over(own)).isolation === 'weak' : level === 'read committed';
    const findFirst = level === 'as set' && byCondition(plan) && !plan.deletes && (await isWeak());
    return this.#run(plan, query, own, findFirst ? 'find first' : 'scan', isWeak, sending);
  }

  /**
   * Runs a statement in a transaction of the user's.
   *
   * Where no gaps are locked an UPDATE locks only the rows that match, a SELECT before it every row that it
   * passes: that could wait, or end in a deadlock, where the statement does not. So the table is void then.
   * A DELETE locks what the SELECT locks. Nor can be told which rows follow, where that takes gap locks.
   */
  async runInUsers(plan: WritePlan, query: object, transaction: Transaction, root: Transaction, sending: Sending): Promise<Sent> {
    const isWeak = (): Promise<boolean> => this.settings.isWeak(root);
    const needsGaps = plan.cascade?.needsGaps === true || (byCondition(plan) && !(plan.deletes && this.#isCounted(plan)));
    const inexact = needsGaps && (await isWeak());
    if (!inexact) return this.#run(plan, query, transaction, 'scan', isWeak, sending);
    const joined = [...plan.models.flatMap(({ bound, readBefore: reads }) => (reads ? [bound] : [])), ...(plan.cascade?.reached ?? [])];
    return { result: await sending.run(), before: nothingRead, joined };
  }

  /** Whether the number of rows that a statement matches is known, and tells whether rows have joined. */
  #isCounted({ deletes, limited }: WritePlan): boolean {
    return !limited && (deletes || this.#tellsMatched);
  }

  async #run(
    plan: WritePlan,
    query: object,
    transaction: Transaction,
    lockBy: LockBy,
    isWeak: () => Promise<boolean>,
    sending: Sending,
  ): Promise<Sent> {
    const before = await this.#readBefore(plan, transaction, lockBy, sending);
    if (before.rows.size === 0 && before.parents === undefined) return { result: await sending.run(), before, joined: [] };
    const matched = watchMatchedRows(query, plan.deletes);
    const result = await sending.run();
    const number = matched();
    if (number === undefined) this.#tellsMatched = false;
    const suspects = joinedModels(plan, before, number, false);
    const joined = suspects.length === 0 || (await isWeak()) ? suspects : joinedModels(plan, before, number, true);
    return { result, before, joined };
  }

  async #readBefore(plan: WritePlan, transaction: Transaction, lockBy: LockBy, { sql, parameters }: Sending): Promise<Before> {
    try {
      return await prepare(() => readBefore(plan, this.#rowLimit, transaction, lockBy));
    } catch (error) {
      throw inTheNameOf(error, sql, parameters);
    }
  }
}
