/** The SQL statements that a Sequelize instance sends. */
import type { Sequelize } from 'sequelize';
import { Interception } from '../hooks/interception.js';

/**
 * Sees every statement of one Sequelize instance from its construction until `stop()`.
 *
 * It hears of a statement after the cache of the instance, which may send others before it. What it is
 * told of gets its text in the moment in which it is sent; what was refused before never gets one.
 */
export class SentStatements {
  #queries: object[] = [];
  readonly #ignore: () => void;

  constructor(sequelize: Sequelize) {
    this.#ignore = Interception.of(sequelize).listen({
      beforeStatement: (_options, query) => {
        this.#queries.push(query);
        return Promise.resolve();
      },
      afterStatement: () => Promise.resolve(),
    });
  }

  /** Their texts, in the order in which they were sent. */
  get texts(): readonly string[] {
    return this.#queries.map((query): unknown => Reflect.get(query, 'sql')).filter((sql) => typeof sql === 'string');
  }

  /** Forgets what was sent so far. */
  reset(): void {
    this.#queries = [];
  }

  /** Hears of no further statement. */
  stop(): void {
    this.#ignore();
  }
}
