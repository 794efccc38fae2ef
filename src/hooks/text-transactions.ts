/**
 * Transactions that the program begins by SQL text, which Sequelize knows nothing of: `BEGIN`,
 * `SET autocommit = 0`, `LOCK TABLES`. A transaction of the plugin's own on their connection would commit
 * them, or release the locks.
 */

import { Effects } from './effects.js';

const begins = /^[(\s]*(?:begin(?!\s+not)|start\s+transaction|lock\s+tables?|xa\s+(?:start|begin))\b/i;
const ends = /(?:^|;)\s*(?:(?:commit|rollback)(?!\s+(?:work\s+)?(?:to|and\s+chain))|unlock\s+tables?|xa\s+(?:commit|rollback))\b[^;]{0,100};?\s*$/i;
const autocommit = /^[(\s]*set\b.*\bautocommit\b\s*:?=\s*(?<off>0|off|false)?/is;

/** The connections on which the program has begun a transaction by a text, and what it wrote in it. */
export class TextTransactions {
  readonly #begun = new WeakSet();
  readonly #withoutAutocommit = new WeakSet();
  readonly #written = new WeakMap<object, Effects>();

  /**
   * A text of the program's is sent over a connection.
   * @returns what the transaction wrote that the text ends
   */
  note(sql: string, connection: unknown): Effects | undefined {
    if (typeof connection !== 'object' || connection === null) return undefined;
    const setting = autocommit.exec(sql.slice(0, firstPart));
    if (setting !== null) {
      if (setting.groups?.off === undefined) this.#withoutAutocommit.delete(connection);
      else this.#withoutAutocommit.add(connection);
    }
    // The last statement decides; no text that is long begins or ends a transaction by it.
    const isEnd = ends.test(sql.slice(-lastPart));
    const isBeginning = !isEnd && begins.test(sql.slice(0, firstPart));
    if (isEnd) this.#begun.delete(connection);
    if (isBeginning) this.#begun.add(connection);
    if (!isEnd && !isBeginning && setting === null) return undefined;
    // A transaction that begins, or a setting that is changed, commits what was open.
    const written = this.#written.get(connection);
    this.#written.delete(connection);
    return written;
  }

  isOpenOn(connection: unknown): connection is object {
    return typeof connection === 'object' && connection !== null && (this.#begun.has(connection) || this.#withoutAutocommit.has(connection));
  }

  /** Keeps the tables that were written in an open transaction: rows read meanwhile may be uncommitted, or old. */
  keep(connection: object, effects: Effects): void {
    const written = this.#written.get(connection) ?? new Effects('COMMIT');
    written.addAll(effects);
    this.#written.set(connection, written);
  }
}

/** Characters. */
const firstPart = 200;
const lastPart = 200;
