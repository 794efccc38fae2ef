/** What one operation asks of the database and of the store: exact, so nothing of it is noise. */
import type { ObservedStore, Operation } from '../support/observed-store.js';

/** Counts of one operation. */
export interface Counts {
  readonly case: string;
  readonly sql: number;
  /** SQL statements more than without the cache, where the same operation exists without it. */
  readonly extraSql?: number;
  readonly roundTrips: number;
  readonly operations: Readonly<Partial<Record<Operation, number>>>;
}

const kinds: readonly Operation[] = ['get', 'add', 'compareAndSwap', 'compareAndDelete', 'delete'];

/** Runs an operation and counts. */
export async function countsOf(
  name: string,
  side: { statements(): number },
  store: ObservedStore,
  run: () => Promise<unknown>,
): Promise<Counts> {
  const sent = side.statements();
  store.reset();
  await run();
  const operations = Object.fromEntries(
    kinds.map((kind) => [kind, store.count(kind)]).filter(([, times]) => times !== 0),
  ) as Counts['operations'];
  return { case: name, sql: side.statements() - sent, roundTrips: store.roundTrips, operations };
}
