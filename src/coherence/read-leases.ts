/**
 * Read leases, from placing one to the value that takes its place.
 *
 * A reader places a lease on a missing entry before it asks the database, renews it while the answer is
 * on its way, and fills the entry by compare-and-swap over it. A write in between removes the lease, and
 * the answer is then not stored. After the leases of "Scaling Memcache at Facebook" (Nishtala et al.,
 * NSDI 2013).
 *
 * A renewal writes the lease's own text again, over its own CAS token: the text stands for as long as
 * nothing happened to the entry, so that others can tell by it that no write came between.
 */
import { StoreRefusedError } from '../errors.js';
import { publish } from '../events.js';
import { leaseText, uncacheableText, type Seen, type UncacheableReason } from '../entries/envelope.js';
import { Recent } from '../recent.js';
import type { Store } from '../stores/store.js';
import type { Look } from './affected.js';

/** The rest of the coherence, as the leases need it. */
export interface LeaseContext {
  readonly store: Store;
  /** How long a lease stands that is not renewed, in seconds. */
  readonly seconds: number;
  look(keys: readonly string[]): Promise<Look>;
  /** Notes that this process has stored a value that it has not read yet. */
  noteFilled(key: string): void;
  failed(operation: string, cause: unknown): void;
}

/** What came of storing a value. */
export type Filled =
  | { readonly state: 'stored' }
  /** The lease did not stand any more. */
  | { readonly state: 'lost' }
  /** The store does not take this value. */
  | { readonly state: 'refused'; readonly cause: StoreRefusedError }
  /** The store failed. */
  | { readonly state: 'failed'; readonly cause: unknown };

const stored: Filled = Object.freeze({ state: 'stored' });
const lost: Filled = Object.freeze({ state: 'lost' });

const absent: Seen = Object.freeze({ state: 'absent' });

/** How long an entry that cannot be stored is remembered as such, in seconds. */
export const uncacheableSeconds = 60;

/** The longest life of a lease whose load has blocked this process before, in seconds. */
const longestLife = 30;
/** Of so many keys that is remembered. */
const mostSlowKeys = 1000;

/** Places, renews and ends the leases of readers. */
export class ReadLeases {
  readonly #context: LeaseContext;
  /** Keys whose last load outlived its lease, with the life in seconds that it would have needed. */
  readonly #slow = new Recent<number>(mostSlowKeys, () => 1);

  constructor(context: LeaseContext) {
    this.#context = context;
  }

  /** How long a lease is sure to stand that is not renewed, in milliseconds. A server counts in whole seconds. */
  lifeOf(key: string): number {
    return (this.#secondsOf(key) - 1) * 1000;
  }

  /**
   * Notes that a load blocked this process for so long that its lease was not renewed in time: the next
   * one gets a longer life, or it would never be stored.
   */
  noteOutlived(key: string, milliseconds: number): void {
    this.#slow.set(key, Math.min(longestLife, 2 * Math.ceil(milliseconds / 1000) + 1));
  }

  #secondsOf(key: string): number {
    return Math.max(this.#context.seconds, this.#slow.get(key) ?? 0);
  }

  /** How often leases are renewed, in milliseconds: a load that is faster than that costs nothing more. */
  get renewEvery(): number {
    return (this.#context.seconds * 1000) / 3;
  }

  /** Places a read lease where `seen` was seen. Resolves to its text, or `undefined` if another was faster. */
  async place(key: string, seen: Seen): Promise<string | undefined> {
    const { store } = this.#context;
    const seconds = this.#secondsOf(key);
    const text = leaseText();
    try {
      if (seen.state === 'absent') return (await store.add(key, text, seconds)) ? text : undefined;
      if (seen.state === 'unknown' || seen.state === 'marker' || seen.state === 'lease') return undefined;
      return (await store.compareAndSwap(key, text, seen.token, seconds)) ? text : undefined;
    } catch (cause) {
      this.#context.failed('lease', cause);
      return undefined;
    }
  }

  /** Places read leases where `seen` says what stands there. Resolves to those that were placed, by key. */
  async placeAll(keys: Iterable<string>, seen: Look): Promise<Map<string, string>> {
    const wanted = [...keys];
    const leases = new Map<string, string>();
    for (const [at, lease] of (await Promise.all(wanted.map((key) => this.place(key, seen(key))))).entries()) {
      if (lease !== undefined) leases.set(wanted[at] as string, lease);
    }
    return leases;
  }

  /**
   * Places read leases where nothing is thought to stand. They are sent before whatever is sent next, so
   * that a look behind them shows them. Resolves to those that were placed, by key.
   */
  placeAhead(keys: readonly string[]): Promise<ReadonlyMap<string, string>> {
    return this.placeAll(keys, () => absent);
  }

  /**
   * Lets leases stand for another life. One that is gone, or that something else has replaced, is left
   * as it is: a write came between. It deletes a lease whose value would be outdated, so that nobody waits for it.
   * @param stamps keys to look at, too
   * @param isOutdated tells whether the lease's value would be outdated, by the same look
   * @returns the keys of those that were renewed for certain, and of those that are gone
   */
  async renew(
    leases: ReadonlyMap<string, string>,
    stamps: readonly string[],
    isOutdated: (key: string, look: Look) => boolean,
  ): Promise<{ readonly renewed: readonly string[]; readonly gone: readonly string[] }> {
    const { store } = this.#context;
    const look = await this.#context.look([...stamps, ...leases.keys()]);
    const renewed: string[] = [];
    const gone: string[] = [];
    const outdated = new Map<string, string>();
    await Promise.all(
      Array.from(leases, async ([key, lease]) => {
        const seen = look(key);
        // The server is silent: the next renewal may reach it.
        if (seen.state === 'unknown') return;
        if (seen.state !== 'lease' || seen.text !== lease) {
          gone.push(key);
          return;
        }
        if (isOutdated(key, look)) {
          gone.push(key);
          outdated.set(key, lease);
          return;
        }
        try {
          if (await store.compareAndSwap(key, lease, seen.token, this.#secondsOf(key))) renewed.push(key);
        } catch (cause) {
          this.#context.failed('renew', cause);
        }
      }),
    );
    await this.abandon(outdated, look);
    return { renewed, gone };
  }

  /** Replaces a lease by a value. */
  fill(key: string, lease: string, seen: Seen, value: string, seconds: number): Promise<Filled> {
    if (seen.state !== 'lease' || seen.text !== lease) return Promise.resolve(lost);
    return this.#swap(key, value, seen.token, seconds);
  }

  /**
   * Replaces a value that was seen before the database was asked. Nothing else may have happened
   * to the key since, so the old value serves as the lease.
   */
  async replace(key: string, seen: Seen, value: string, seconds: number): Promise<Filled> {
    return seen.state === 'value' ? this.#swap(key, value, seen.token, seconds) : lost;
  }

  /**
   * Replaces a lease by the note that the entry cannot be stored, so that nobody waits for it or tries
   * again for a while. Where the store has no room even for that, the lease is taken away.
   * @param head the beginning of the value that could not be stored
   */
  async refuse(key: string, lease: string, seen: Seen, head: string, reason: UncacheableReason): Promise<void> {
    if (seen.state !== 'lease' || seen.text !== lease) return;
    this.#context.noteFilled(key);
    try {
      await this.#context.store.compareAndSwap(key, uncacheableText(head, reason), seen.token, uncacheableSeconds);
    } catch (cause) {
      if (!(cause instanceof StoreRefusedError)) this.#context.failed('refuse', cause);
      await this.abandon(new Map([[key, lease]]));
    }
  }

  /**
   * Takes back leases that will not be filled, so that nobody waits for them.
   * @param looked a look that was made since they were placed, or renewed
   */
  async abandon(leases: ReadonlyMap<string, string>, looked?: Look): Promise<void> {
    if (leases.size === 0) return;
    const look = looked ?? (await this.#context.look([...leases.keys()]));
    await Promise.all(
      Array.from(leases, async ([key, lease]) => {
        const seen = look(key);
        if (seen.state !== 'lease' || seen.text !== lease) return;
        try {
          await this.#context.store.compareAndDelete(key, seen.token);
        } catch (cause) {
          // It expires by itself.
          this.#context.failed('abandon', cause);
        }
      }),
    );
  }

  async #swap(key: string, value: string, token: string, seconds: number): Promise<Filled> {
    this.#context.noteFilled(key);
    try {
      if (!(await this.#context.store.compareAndSwap(key, value, token, seconds))) return lost;
      publish('fill', () => ({ key, bytes: Buffer.byteLength(value) }));
      return stored;
    } catch (cause) {
      if (cause instanceof StoreRefusedError) return { state: 'refused', cause };
      this.#context.failed('fill', cause);
      return { state: 'failed', cause };
    }
  }
}
