/** `expectQueries`, `expectRoundTrips`: assertions about what something cost. */
import { AssertionError } from 'node:assert';
import type { Sequelize } from 'sequelize';
import { InvalidOptionError } from '../errors.js';
import { show } from '../options.js';
import { CountedStore, type Asked } from './counted-store.js';
import { SentStatements } from './sent-statements.js';
import type { TestCache } from './test-cache.js';

/**
 * Runs `work` and asserts that the Sequelize instance sends exactly `n` SQL statements meanwhile.
 *
 * Every statement that goes through Sequelize counts: `START TRANSACTION`, savepoints and `COMMIT`,
 * `SELECT VERSION()` with which Sequelize begins on MySQL, each repetition of a failed one, and those
 * that the cache adds to a write. It does not matter whether it succeeds, who sends it, or
 * whether `logging` shows it: what other code does on the same instance at the same time counts
 * too, also in an `expectQueries` around or beside this one. A statement that a `beforeQuery` hook
 * refuses is not sent; one that was begun before `work` does not count. What a driver sends by itself
 * when it connects is not seen.
 *
 * @param n whole number of statements, 0 or more
 * @returns what `work` resolves to
 * @throws AssertionError with the statements in its message; InvalidOptionError for arguments that make
 *   no sense; what `work` throws or rejects with, whatever was sent
 *
 * @example
 * const user = await expectQueries(sequelize, 1, () => User.cache.get({ username: 'bill1992' }));
 */
export async function expectQueries<T>(sequelize: Sequelize, n: number, work: () => T | PromiseLike<T>): Promise<T> {
  if (typeof (sequelize as Partial<Sequelize> | null | undefined)?.addHook !== 'function') {
    throw new InvalidOptionError(`expectQueries takes a Sequelize instance, a number and a function; received ${show(sequelize)} for the first.`);
  }
  checkArguments('expectQueries', 'statements', n, work);
  const statements = new SentStatements(sequelize);
  let sent: readonly string[];
  let result: T;
  try {
    result = await work();
  } finally {
    sent = statements.texts;
    statements.stop();
  }
  if (sent.length !== n) {
    fail(expectQueries, sent.length, n, `${counted(n, 'SQL statement')}, but ${sent.length === 0 ? 'none was' : `${String(sent.length)} ${were(sent.length)}`} sent`, sent);
  }
  return result;
}

/**
 * Runs `work` and asserts that exactly `n` round trips to the store of `testCache` are made
 * meanwhile. Operations that are under way together are one round trip, those that fail because the
 * store is down included; what is done with the same store at the same time counts too.
 *
 * @param n whole number of round trips, 0 or more
 * @returns what `work` resolves to
 * @throws AssertionError with the operations of each round trip in its message; InvalidOptionError for
 *   arguments that make no sense; what `work` throws or rejects with, whatever the store was asked
 *
 * @example
 * const user = await expectRoundTrips(test, 1, () => User.cache.get({ id: 1 }));
 */
export async function expectRoundTrips<T>(testCache: Pick<TestCache, 'store'>, n: number, work: () => T | PromiseLike<T>): Promise<T> {
  const store = (testCache as Partial<TestCache> | null | undefined)?.store;
  if (!(store instanceof CountedStore)) {
    throw new InvalidOptionError(`expectRoundTrips takes what testCache returned, a number and a function; received ${show(testCache)} for the first.`);
  }
  checkArguments('expectRoundTrips', 'round trips', n, work);
  const tally = store.count();
  let trips: readonly (readonly Asked[])[];
  let result: T;
  try {
    result = await work();
  } finally {
    trips = tally.trips;
    store.stopCounting(tally);
  }
  if (trips.length !== n) {
    fail(expectRoundTrips, trips.length, n, `${counted(n, 'round trip')} to the store, but there ${trips.length === 0 ? 'was none' : `${were(trips.length)} ${String(trips.length)}`}`, trips.map(tripText));
  }
  return result;
}

function checkArguments(name: string, unit: string, n: unknown, work: unknown): void {
  if (typeof n !== 'number' || !Number.isInteger(n) || n < 0) {
    throw new InvalidOptionError(`${name} takes a whole number of ${unit}, 0 or more; received ${show(n)}.`);
  }
  if (typeof work !== 'function') {
    // A promise is a common mistake: its work began before anybody could count.
    throw new InvalidOptionError(`${name} takes a function that does the work, such as () => User.cache.get(1); received ${show(work)}.`);
  }
}

function fail(caller: (...args: never[]) => unknown, actual: number, expected: number, message: string, list: readonly string[]): never {
  const lines = list.map((line, index) => `\n  ${String(index + 1)}. ${line}`).join('');
  throw new AssertionError({
    message: `Expected ${message}${lines === '' ? '.' : `:${lines}`}`,
    actual,
    expected,
    operator: caller.name,
    stackStartFn: caller,
  });
}

const counted = (n: number, noun: string): string => `${String(n)} ${noun}${n === 1 ? '' : 's'}`;
const were = (n: number): string => (n === 1 ? 'was' : 'were');

/** What one round trip carried: `get 2 keys (…), add 1 key (…)`. */
function tripText(trip: readonly Asked[]): string {
  const keysOf = new Map<string, string[]>();
  for (const { operation, keys } of trip) keysOf.set(operation, [...(keysOf.get(operation) ?? []), ...keys]);
  return Array.from(keysOf, ([operation, keys]) => {
    const more = keys.length > shownKeys ? ', …' : '';
    return `${operation} ${counted(keys.length, 'key')} (${keys.slice(0, shownKeys).join(', ')}${more})`;
  }).join(', ');
}

const shownKeys = 4;
