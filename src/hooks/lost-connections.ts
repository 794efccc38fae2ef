/** Connections that were lost during a statement: the server may go on with it for a while. */
import { QueryTypes, type Sequelize } from 'sequelize';
import { publish } from '../events.js';

/**
 * Asks the server which of its threads have ended.
 *
 * The connection in question is dead, so another one asks: one statement at a time for all lost
 * connections together, and nobody's call waits for it. It takes at most one connection of the pool.
 */
export class LostConnections {
  readonly #sequelize: Sequelize;
  /** The threads that the next statement asks for, and its answer. */
  #next: { readonly threadIds: Set<number>; readonly alive: Promise<ReadonlySet<number> | undefined> } | undefined;
  #asking: Promise<unknown> = Promise.resolve();

  constructor(sequelize: Sequelize) {
    this.#sequelize = sequelize;
  }

  /** Whether the driver has not noticed yet that a connection is lost, or it is not. */
  isUsable(connection: unknown): boolean {
    const { connectionManager } = this.#sequelize as unknown as {
      readonly connectionManager: { validate(connection: unknown): boolean };
    };
    return connectionManager.validate(connection);
  }

  /** Whether the server has ended a connection; false as long as it cannot be asked. */
  async isGone(connection: unknown): Promise<boolean> {
    const threadId: unknown = typeof connection === 'object' && connection !== null ? Reflect.get(connection, 'threadId') : undefined;
    // It was never opened.
    if (typeof threadId !== 'number') return true;
    const alive = await this.#alive(threadId);
    return alive !== undefined && !alive.has(threadId);
  }

  /** The threads that the server has, of those that are asked for; undefined if it could not be asked. */
  #alive(threadId: number): Promise<ReadonlySet<number> | undefined> {
    if (this.#next === undefined) {
      const threadIds = new Set<number>();
      const alive = this.#asking.then(() => {
        this.#next = undefined;
        return this.#ask([...threadIds]);
      });
      this.#asking = alive;
      this.#next = { threadIds, alive };
    }
    this.#next.threadIds.add(threadId);
    return this.#next.alive;
  }

  async #ask(threadIds: readonly number[]): Promise<ReadonlySet<number> | undefined> {
    try {
      const found = await this.#sequelize.query<{ readonly id: number | string }>(
        'SELECT ID AS id FROM information_schema.PROCESSLIST WHERE ID IN (:threadIds)',
        { type: QueryTypes.SELECT, replacements: { threadIds }, transaction: null, useMaster: true, raw: true },
      );
      return new Set(found.map(({ id }) => Number(id)));
    } catch (cause) {
      publish('error', () => ({ operation: 'ask for a lost connection', cause }));
      return undefined;
    }
  }
}
