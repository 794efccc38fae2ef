/** Renews the leases of one statement for as long as it runs, and of what is stored of its answer. */
import { clearInterval, monotonic, setInterval } from '../clock.js';
import type { ReadLeases } from '../coherence/read-leases.js';
import { longestPart, type Look } from '../coherence/affected.js';
import { joined } from '../entries/envelope.js';

/** A lease as it was placed. */
export interface PlacedLease {
  readonly text: string;
  /** The stamps' text that its value will be stored under. */
  readonly generation: string | undefined;
}

/** A lease of a statement. */
interface Held extends PlacedLease {
  /** When it was placed or renewed last, in milliseconds of the monotonic clock. */
  since: number;
  /** When it was found to be gone. */
  goneAt: number | undefined;
}

/** Leases that are kept alive until `stop`. A statement that is faster than the first renewal costs a timer. */
export class Renewal {
  readonly #leases: ReadLeases;
  /** The keys of the stamps that all values count under. */
  readonly #stamps: readonly string[];
  readonly #held: ReadonlyMap<string, Held>;
  readonly #released = new Set<string>();
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;
  #isRenewed = false;

  /**
   * @param placed by key; they were placed just now
   * @param stamps the keys of the stamps that the values count under
   */
  constructor(leases: ReadLeases, placed: ReadonlyMap<string, PlacedLease>, stamps: readonly string[]) {
    this.#leases = leases;
    this.#stamps = stamps;
    const since = monotonic();
    this.#held = new Map(Array.from(placed, ([key, lease]) => [key, { ...lease, since, goneAt: undefined }]));
    if (placed.size === 0) return;
    // An interval, so that one late beat does not make all that follow late.
    this.#timer = setInterval(() => {
      void this.#renew();
    }, leases.renewEvery).unref();
  }

  /**
   * Renews now what should have been renewed by now: a long answer blocks this process, and what is done
   * with it blocks it once more before a timer can fire.
   */
  async catchUp(): Promise<void> {
    const now = monotonic();
    if (this.#timer !== undefined && [...this.#held.values()].some(({ since }) => now - since > this.#leases.renewEvery)) await this.#renew();
  }

  /** Whether a lease has another CAS token now than when it was placed. */
  get isRenewed(): boolean {
    return this.#isRenewed;
  }

  /** Ends the renewals. Resolves when none is under way, so that the leases' tokens stay what they are. Never rejects. */
  async stop(): Promise<void> {
    clearInterval(this.#timer);
    this.#timer = undefined;
    await this.#running;
  }

  /** Ends the renewals of these leases. Resolves when none is under way. */
  async release(keys: readonly string[]): Promise<void> {
    for (const key of keys) this.#released.add(key);
    if (this.#released.size === this.#held.size) clearInterval(this.#timer);
    await this.#running;
  }

  /**
   * How long a lease that is gone had stood without a renewal, in milliseconds, if that is longer than
   * its life: this process, or its store, was too slow.
   */
  outlived(key: string): number | undefined {
    const held = this.#held.get(key);
    if (held === undefined) return undefined;
    const milliseconds = (held.goneAt ?? monotonic()) - held.since;
    return milliseconds >= this.#leases.lifeOf(key) ? milliseconds : undefined;
  }

  #renew(): Promise<void> {
    this.#running ??= this.#beat().finally(() => {
      this.#running = undefined;
    });
    return this.#running;
  }

  async #beat(): Promise<void> {
    const now = monotonic();
    const standing = [...this.#held].filter(([key, { goneAt }]) => goneAt === undefined && !this.#released.has(key));
    if (standing.length === 0) {
      clearInterval(this.#timer);
      return;
    }
    for (let from = 0; from < standing.length; from += longestPart) {
      const part = standing.slice(from, from + longestPart);
      // Counted before it is sent: what fails on the way may have taken effect.
      this.#isRenewed = true;
      const { renewed, gone } = await this.#leases.renew(new Map(part.map(([key, { text }]) => [key, text])), this.#stamps, (key, look) => this.#isOutdated(key, look));
      for (const key of renewed) (this.#held.get(key) as Held).since = now;
      for (const key of gone) (this.#held.get(key) as Held).goneAt = now;
    }
  }

  /** Tells that the table, or the cache class, was voided as a whole since the lease was placed. */
  #isOutdated(key: string, look: Look): boolean {
    const seen = this.#stamps.map(look);
    // A marker: the write may come to nothing.
    if (seen.some(({ state }) => state === 'unknown' || state === 'marker')) return false;
    return joined(seen) !== this.#held.get(key)?.generation;
  }
}
