/** Acts right before a statement is sent: behind every hook, the package's own turn included. */
import type { Sequelize } from 'sequelize';

/** Options of a statement, as Sequelize hands them to its hooks. */
export interface SentOptions {
  readonly type?: string;
  readonly instance?: object;
  readonly transaction?: unknown;
}

/**
 * Calls `act` before each statement that `isMeant` chooses is sent; the statement waits for it. Returns
 * what ends it.
 */
export function beforeSending(sequelize: Sequelize, isMeant: (options: SentOptions) => boolean, act: () => unknown): () => void {
  const hook = (options: unknown, query: object): void => {
    if (!isMeant(options as SentOptions)) return;
    const run = Reflect.get(query, 'run') as (...args: readonly unknown[]) => Promise<unknown>;
    Reflect.set(query, 'run', async (...args: readonly unknown[]) => {
      await act();
      return run.apply(query, [...args]);
    });
  };
  sequelize.addHook('beforeQuery', hook);
  return () => {
    sequelize.removeHook('beforeQuery', hook as never);
  };
}
