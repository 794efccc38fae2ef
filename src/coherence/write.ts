/** One write to the database as the store sees it: markers before the commit, gone after it. */
import { clearInterval, monotonic, setInterval, setTimeout } from '../clock.js';
import { InvalidationFailedError } from '../errors.js';
import type { OnStoreFailure } from '../options.js';
import { randomToken } from '../entries/envelope.js';
import type { Affected, Failed, Marked, Target } from './affected.js';

/** The operations of the coherence protocol that a write needs. */
export interface WriteDoor {
  /** Marks every key for the writer. */
  mark(affected: Affected, writer: string): Promise<Marked>;
  /** Lets the writer's markers stand for another `writeLease`. */
  renew(affected: Affected, writer: string): Promise<void>;
  /**
   * Ends the epochs and removes the writer's markers, values and leases.
   * @param marked what was seen after the keys were marked
   */
  voidAll(affected: Affected, writer: string, marked?: Marked['marked']): Promise<Failed>;
  /** Takes over what could not be voided. */
  defer(affected: Affected, writer: string, cause: unknown): void;
}

const nothing: Failed = Object.freeze({ keys: Object.freeze([]) });

/** How often it is asked whether a write is over, in milliseconds. */
const askAgainMs = 100;

/** A write in flight. */
export class Write {
  readonly #door: WriteDoor;
  readonly #onStoreFailure: OnStoreFailure;
  readonly #heartbeatMs: number;
  readonly #writer = randomToken();
  readonly #affected = new Map<string, Target>();
  #heartbeat: NodeJS.Timeout | undefined;
  #beating: Promise<unknown> | undefined;
  /** The markers, with the tokens for their removal. */
  #marked: Marked['marked'] | undefined;

  /** @param heartbeatMs how often markers are renewed, in milliseconds */
  constructor(door: WriteDoor, onStoreFailure: OnStoreFailure, heartbeatMs: number) {
    this.#door = door;
    this.#onStoreFailure = onStoreFailure;
    this.#heartbeatMs = heartbeatMs;
  }

  /**
   * Replaces the entries by markers: from now on readers ask the database and do not fill.
   * @throws InvalidationFailedError with `onStoreFailure: 'strict'`, if an entry could not be marked
   */
  async mark(affected: Affected): Promise<void> {
    if (affected.size === 0) return;
    for (const [key, table] of affected) this.#affected.set(key, table);
    const { failed, marked } = await this.#door.mark(affected, this.#writer);
    this.#marked = this.#marked === undefined ? marked : new Map([...this.#marked, ...marked]);
    if (failed.keys.length > 0 && this.#onStoreFailure === 'strict') {
      await this.release();
      throw new InvalidationFailedError(
        `The write was refused: ${String(failed.keys.length)} of the ${String(affected.size)} cache entries that it changes could not be marked, ` +
          `and onStoreFailure is 'strict'. Bring the store back, or set onStoreFailure to 'available'.`,
        { cause: failed.cause },
      );
    }
    // A statement that waits for a lock longer than the markers stand must not lose them.
    this.#heartbeat ??= setInterval(() => {
      this.#beating = this.#door.renew(this.#affected, this.#writer);
    }, this.#heartbeatMs).unref();
  }

  /**
   * Removes the markers, and whatever stands under keys that became known only now. What cannot
   * be delivered is retried in the background, and is what it resolves to. Never rejects.
   */
  async release(more?: Affected): Promise<Failed> {
    clearInterval(this.#heartbeat);
    this.#heartbeat = undefined;
    await this.#beating;
    if (more !== undefined) for (const [key, table] of more) this.#affected.set(key, table);
    if (this.#affected.size === 0) return nothing;
    const failed = await this.#door.voidAll(this.#affected, this.#writer, this.#marked);
    if (failed.keys.length === 0) return failed;
    const rest = new Map<string, Target>();
    for (const key of failed.keys) {
      const table = this.#affected.get(key);
      if (table !== undefined) rest.set(key, table);
    }
    this.#door.defer(rest, this.#writer, failed.cause);
    return failed;
  }

  /**
   * Keeps the markers until `isOver` resolves to true, for at most `milliseconds`, and releases them
   * then: it is not known yet what becomes of the write. Never rejects.
   */
  async releaseWhen(isOver: () => Promise<boolean>, milliseconds: number, more?: Affected): Promise<void> {
    const until = monotonic() + milliseconds;
    while (monotonic() < until && !(await isOver())) {
      await new Promise<void>((resolve) => {
        setTimeout(resolve, askAgainMs).unref();
      });
    }
    await this.release(more);
  }
}
