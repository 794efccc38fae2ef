/**
 * A circuit breaker for one server: requests are refused at once while the server is known to be
 * down, and one probe at a time finds out whether it is back.
 */
import { monotonic } from '../clock.js';

/** `closed`: requests go through. `open`: they do not. `half-open`: only the probe is under way. */
export type BreakerState = 'closed' | 'open' | 'half-open';

/** Options of a `CircuitBreaker`. */
export interface BreakerOptions {
  /**
   * Failed requests in a row that open the breaker.
   *
   * One is enough by default. Every failed request has already cost a caller the whole deadline,
   * so a second one would double what an outage costs; and being wrong is cheap, because the next
   * probe closes the breaker again within `retryMs`, during which the database answers.
   * @default 1
   */
  readonly failureThreshold?: number;
  /** From opening, or from a failed probe, to the next probe, in milliseconds. @default 500 */
  readonly retryMs?: number;
  /** Monotonic clock in milliseconds. @default performance.now */
  readonly now?: () => number;
}

/**
 * The state machine only: it owns no timer and sends nothing. Its owner asks `allowsRequests`
 * before a request, reports the outcome, and starts a probe when `msUntilProbe` has passed.
 *
 * Requests and the probe report separately, because a request that was sent before the breaker
 * opened may settle long after: only the probe's outcome says how the server is now.
 */
export class CircuitBreaker {
  readonly #failureThreshold: number;
  readonly #retryMs: number;
  readonly #now: () => number;
  #state: BreakerState = 'closed';
  #failuresInARow = 0;
  #probeDueAt = 0;

  constructor(options: BreakerOptions = {}) {
    this.#failureThreshold = options.failureThreshold ?? 1;
    this.#retryMs = options.retryMs ?? 500;
    this.#now = options.now ?? (() => monotonic());
  }

  get state(): BreakerState {
    return this.#state;
  }

  /** Whether a request may be sent. The probe is not a request; see `startProbe`. */
  get allowsRequests(): boolean {
    return this.#state === 'closed';
  }

  /** Milliseconds until a probe may start: 0 when it is due, `Infinity` when none is wanted. */
  get msUntilProbe(): number {
    return this.#state === 'open' ? Math.max(0, this.#probeDueAt - this.#now()) : Infinity;
  }

  /** A request was answered. */
  requestSucceeded(): void {
    if (this.#state === 'closed') this.#failuresInARow = 0;
  }

  /** A request got no answer. Returns whether that opened the breaker. */
  requestFailed(): boolean {
    if (this.#state !== 'closed') return false;
    this.#failuresInARow += 1;
    if (this.#failuresInARow < this.#failureThreshold) return false;
    this.#open();
    return true;
  }

  /** Takes the one probe if it is due. After `true`, `probeSucceeded` or `probeFailed` must follow. */
  startProbe(): boolean {
    if (this.msUntilProbe > 0) return false;
    this.#state = 'half-open';
    return true;
  }

  /** The probe was answered: requests go through again. */
  probeSucceeded(): void {
    if (this.#state !== 'half-open') return;
    this.#state = 'closed';
    this.#failuresInARow = 0;
  }

  /** The probe was not answered: the next one is due in `retryMs`. */
  probeFailed(): void {
    if (this.#state === 'half-open') this.#open();
  }

  #open(): void {
    this.#state = 'open';
    this.#probeDueAt = this.#now() + this.#retryMs;
  }
}
