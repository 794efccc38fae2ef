/**
 * What the demo prints, and the meter that it prints from: SQL statements and round trips to the
 * store, counted from outside, as an application can do it.
 */
import { Model } from 'sequelize';
import type { Store, StoreReply, StoreToken } from 'sequelize-flash';

/** Counts SQL statements, as Sequelize's `logging`, and round trips, as a store around a store. */
export class Meter implements Store {
  sql = 0;
  /** Operations that are sent before one of them is answered are one round trip. */
  trips = 0;
  #isSending = false;
  readonly #underWay = new Set<Promise<unknown>>();

  constructor(private readonly store: Store) {}

  readonly logging = (): void => {
    this.sql += 1;
  };

  get name(): string {
    return this.store.name;
  }

  get maxValueBytes(): number {
    return this.store.maxValueBytes;
  }

  get(keys: readonly string[]): Promise<StoreReply> {
    return this.#send(this.store.get(keys));
  }

  add(key: string, value: string, ttlSeconds: number): Promise<boolean> {
    return this.#send(this.store.add(key, value, ttlSeconds));
  }

  compareAndSwap(key: string, value: string, token: StoreToken, ttlSeconds: number): Promise<boolean> {
    return this.#send(this.store.compareAndSwap(key, value, token, ttlSeconds));
  }

  compareAndDelete(key: string, token: StoreToken): Promise<boolean> {
    return this.#send(this.store.compareAndDelete(key, token));
  }

  delete(key: string): Promise<boolean> {
    return this.#send(this.store.delete(key));
  }

  close(): Promise<void> {
    return this.store.close();
  }

  async #send<T>(answer: Promise<T>): Promise<T> {
    if (!this.#isSending) this.trips += 1;
    this.#isSending = true;
    this.#underWay.add(answer);
    try {
      return await answer;
    } finally {
      this.#isSending = false;
      this.#underWay.delete(answer);
    }
  }

  /** Resolves when nothing is under way. */
  async quiet(): Promise<void> {
    while (this.#underWay.size > 0) await Promise.allSettled(this.#underWay);
  }
}

/** What a step has to show. Whatever is given is checked. */
export interface Expected {
  /** The answer, as `describe` words it. */
  readonly answer: string;
  /** SQL statements. */
  readonly sql?: number;
  /** Round trips to the store. */
  readonly trips?: number;
}

/** A step did not show what it claims. */
export class WrongClaim extends Error {}

const width = 78;
const answerAt = 50;
const isTerminal = process.stdout.isTTY && process.env.NO_COLOR === undefined;
const style = (code: number, text: string): string => (isTerminal ? `\u001b[${code}m${text}\u001b[0m` : text);
const bold = (text: string): string => style(1, text);
const dim = (text: string): string => style(2, text);
const green = (text: string): string => style(32, text);

/** Runs steps and prints each as a line: the code, its answer, what it cost. */
export class Page {
  /** Lookups that were made, and what they cost together. */
  lookups = 0;
  lookupSql = 0;
  #wasCode = '';

  constructor(private readonly meter: Meter) {}

  /** A heading, with a sentence or two below it. */
  section(title: string, ...remarks: string[]): void {
    console.log(`\n${bold(title)}${dim('SQL  store'.padStart(width - title.length))}`);
    for (const remark of remarks) console.log(dim(`  ${remark}`));
    this.#wasCode = '';
  }

  /** A lookup, or several: its code is what is printed. */
  async lookup(code: () => Promise<unknown>, expected: Expected, count = 1): Promise<void> {
    const { sql } = await this.#run(code, expected);
    this.lookups += count;
    this.lookupSql += sql;
  }

  /** A write, or anything else that is not a lookup. */
  async step(code: () => Promise<unknown>, expected: Expected): Promise<void> {
    await this.#run(code, expected);
  }

  async #run(code: () => Promise<unknown>, expected: Expected): Promise<{ readonly sql: number }> {
    const before = { sql: this.meter.sql, trips: this.meter.trips };
    const answer = describe(await code().catch(thrown));
    // What an answer is stored with may be on its way still, and belongs to this step.
    await this.meter.quiet();
    const cost = { sql: this.meter.sql - before.sql, trips: this.meter.trips - before.trips };
    this.#print(sourceOf(code), answer, cost);
    check(code, 'answer', answer, expected.answer);
    if (expected.sql !== undefined) check(code, 'SQL statements', cost.sql, expected.sql);
    if (expected.trips !== undefined) check(code, 'round trips', cost.trips, expected.trips);
    return cost;
  }

  #print(code: string, answer: string, cost: { readonly sql: number; readonly trips: number }): void {
    const shown = code === this.#wasCode ? dim('again') : code;
    const length = code === this.#wasCode ? 'again'.length : code.length;
    this.#wasCode = code;
    const sql = String(cost.sql).padStart(4);
    const figures = `${cost.sql === 0 ? green(sql) : sql}${String(cost.trips).padStart(7)}`;
    const isWide = length + 3 > answerAt;
    if (isWide) console.log(`  ${shown}`);
    const left = isWide ? '    ' : `  ${shown}`.padEnd(answerAt + shown.length - length);
    const leftLength = isWide ? 4 : answerAt;
    console.log(`${left}${green(answer)}${' '.repeat(Math.max(1, width - 11 - leftLength - answer.length))}${figures}`);
  }
}

/** Fails the demo unless a claim holds that no step printed. */
export function claim(what: string, holds: boolean): void {
  if (!holds) throw new WrongClaim(`the demo claims that ${what}, but it does not hold`);
}

function check<T extends string | number>(code: () => unknown, what: string, actual: T, expected: T): void {
  if (actual === expected) return;
  throw new WrongClaim(`${sourceOf(code)}\n  ${what}: expected ${expected}, got ${actual}`);
}

/** The text of the code that is run: nothing can be shown that is not run. */
function sourceOf(code: () => unknown): string {
  return code
    .toString()
    .replace(/^(async )?\(\) => /, '')
    .replace(/\s+/g, ' ');
}

/** An error as an answer; one that is not meant as an answer ends the demo. */
function thrown(error: unknown): string {
  if (error instanceof Error && 'code' in error && typeof error.code === 'string' && error.code.startsWith('FLASH_')) {
    return 'status' in error ? `${String(error.status)} ${error.name}` : error.name;
  }
  throw error;
}

function describe(value: unknown): string {
  if (value instanceof Model) return summary(value);
  if (Array.isArray(value)) {
    const kinds = new Set(value.map((one) => (one instanceof Model ? one.constructor.name : undefined)));
    return kinds.has(undefined) ? `[${value.join(', ')}]` : `${value.length} × ${[...kinds].join(', ')}`;
  }
  if (value === undefined) return 'done';
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** The values of a row that tell most, in the order of these names. */
function summary(instance: Model): string {
  return ['username', 'city', 'slug', 'seats', 'name', 'role', 'path', 'text', 'country']
    .map((name): unknown => instance.get(name))
    .filter((value) => typeof value === 'string' || typeof value === 'number')
    .slice(0, 2)
    .join(', ');
}
