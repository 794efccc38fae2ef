/**
 * Invalidations that the store did not take: kept, bounded, and retried until they are delivered.
 *
 * While a key waits here, this process does not believe what the store says about it.
 */
import { clearTimeout, monotonic, setTimeout } from '../clock.js';
import { publish } from '../events.js';
import type { Affected, Failed, Table } from './affected.js';

type Deliver = (affected: Affected, writer: string) => Promise<Failed>;

const firstDelay = 100;
const longestDelay = 1000;

/** The undelivered invalidations of one process for one store. */
export class Undelivered {
  readonly #most: number;
  readonly #deliver: Deliver;
  /** By key: the table, and the writers whose markers may still stand there. */
  readonly #waiting = new Map<string, { readonly table: Table; readonly writers: Set<string> }>();
  #timer: NodeJS.Timeout | undefined;
  #delay = firstDelay;
  #running: Promise<void> | undefined;
  #closed = false;

  constructor(most: number, deliver: Deliver) {
    this.#most = most;
    this.#deliver = deliver;
  }

  get size(): number {
    return this.#waiting.size;
  }

  /** Whether an invalidation of this key is undelivered. */
  has(key: string): boolean {
    return this.#waiting.size > 0 && this.#waiting.has(key);
  }

  /** Takes over invalidations that failed. */
  add(affected: Affected, writer: string, cause: unknown): void {
    for (const [key, table] of affected) {
      const known = this.#waiting.get(key);
      if (known === undefined) this.#waiting.set(key, { table, writers: new Set([writer]) });
      else known.writers.add(writer);
    }
    if (this.#waiting.size > this.#most) this.#collapse();
    publish('undelivered', () => ({ keys: [...affected.keys()], waiting: this.#waiting.size, cause }));
    this.#schedule();
  }

  /** Tries for at most `milliseconds`. Resolves to how many are left, which are retried in the background. */
  async flush(milliseconds: number): Promise<number> {
    const until = monotonic() + milliseconds;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    await this.#running;
    while (this.#waiting.size > 0 && monotonic() < until) {
      await this.#retry();
      if (this.#waiting.size > 0) await new Promise((resolve) => setTimeout(resolve, firstDelay));
    }
    if (this.#waiting.size > 0) this.#schedule();
    return this.#waiting.size;
  }

  /** Gives up. */
  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  /** Too many keys: void their tables as a whole instead, which is few keys and covers them all. */
  #collapse(): void {
    const tables = new Map<string, { readonly table: Table; readonly writers: Set<string> }>();
    for (const { table, writers } of this.#waiting.values()) {
      const known = tables.get(table.generation);
      if (known === undefined) tables.set(table.generation, { table, writers: new Set(writers) });
      else for (const writer of writers) known.writers.add(writer);
    }
    this.#waiting.clear();
    for (const [key, entry] of tables) this.#waiting.set(key, { ...entry, writers: new Set() });
  }

  #schedule(): void {
    if (this.#timer !== undefined || this.#running !== undefined || this.#closed) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#running = this.#retry().finally(() => {
        this.#running = undefined;
        if (this.#waiting.size > 0) this.#schedule();
      });
    }, this.#delay).unref();
    this.#delay = Math.min(this.#delay * 2, longestDelay);
  }

  async #retry(): Promise<void> {
    const byWriter = new Map<string, Map<string, Table>>();
    for (const [key, { table, writers }] of this.#waiting) {
      for (const writer of writers.size === 0 ? ['-'] : writers) {
        const group = byWriter.get(writer) ?? new Map<string, Table>();
        byWriter.set(writer, group.set(key, table));
      }
    }
    for (const [writer, affected] of byWriter) {
      const failed = new Set((await this.#deliver(affected, writer)).keys);
      const delivered: string[] = [];
      for (const key of affected.keys()) {
        if (failed.has(key)) continue;
        const entry = this.#waiting.get(key);
        entry?.writers.delete(writer);
        if (entry?.writers.size === 0) {
          this.#waiting.delete(key);
          delivered.push(key);
        }
      }
      if (delivered.length > 0) {
        this.#delay = firstDelay;
        publish('delivered', () => ({ keys: delivered, waiting: this.#waiting.size }));
      }
    }
  }
}
