/** What a test does right before a statement leaves for the database, the plugin's own included. */
import { EventEmitter } from 'node:events';
import type { Sequelize } from 'sequelize';

type Send = (this: unknown, ...args: unknown[]) => EventEmitter;

/**
 * Calls `before` with every statement of connections that are opened from now on; the statement is
 * sent when that has settled. For mysql2.
 */
export function beforeStatements(sequelize: Sequelize, before: (sql: string) => Promise<void> | undefined): void {
  sequelize.addHook('afterConnect', (connection) => {
    const methods = connection as Record<'query' | 'execute', Send>;
    for (const method of ['query', 'execute'] as const) {
      const send = methods[method];
      methods[method] = function watched(...args) {
        const [statement] = args;
        const waiting = before(typeof statement === 'string' ? statement : (statement as { readonly sql: string }).sql);
        if (waiting === undefined) return send.apply(this, args);
        void waiting.then(() => {
          send.apply(this, args);
        });
        // Sequelize sets its number of listeners, and nothing else.
        return new EventEmitter();
      };
    }
  });
}

/** Lets something be held at one place until it is let go. */
export class Hold {
  readonly reached: Promise<void>;
  readonly #released: Promise<void>;
  #reach: () => void = () => undefined;
  #release: () => void = () => undefined;

  constructor() {
    this.reached = new Promise((resolve) => {
      this.#reach = resolve;
    });
    this.#released = new Promise((resolve) => {
      this.#release = resolve;
    });
  }

  /** To be awaited where it is to be held. */
  here(): Promise<void> {
    this.#reach();
    return this.#released;
  }

  release(): void {
    this.#release();
  }
}
