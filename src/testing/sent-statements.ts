/** The SQL statements that a Sequelize instance sends. */
import type { Sequelize } from 'sequelize';

let serial = 0;

/**
 * Sees every statement of one Sequelize instance from its construction until `stop()`.
 *
 * It needs no `afterQuery`, which a hook of the user's that throws would keep from running: what
 * `beforeQuery` is given gets its text in the moment in which it is sent. What a hook refused never
 * gets one, and was not sent.
 */
export class SentStatements {
  readonly #sequelize: Sequelize;
  readonly #name: string;
  #queries: object[] = [];
  #stopped = false;

  constructor(sequelize: Sequelize) {
    this.#sequelize = sequelize;
    // Removing a hook removes all of its name.
    serial += 1;
    this.#name = `sequelize-flash/testing/${String(serial)}`;
    sequelize.addHook('beforeQuery', this.#name, (_options, query) => {
      // Sequelize goes on with the list of hooks that it began with, removed ones included.
      if (!this.#stopped) this.#queries.push(query);
    });
  }

  /** Their texts, in the order in which Sequelize began them. */
  get texts(): readonly string[] {
    return this.#queries.map((query): unknown => Reflect.get(query, 'sql')).filter((sql) => typeof sql === 'string');
  }

  /** Forgets what was sent so far. */
  reset(): void {
    this.#queries = [];
  }

  /** Removes the hook. */
  stop(): void {
    this.#stopped = true;
    this.#sequelize.removeHook('beforeQuery', this.#name);
  }
}
