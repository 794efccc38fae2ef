/** `ServerStatus`: what is known of one server, kept and announced. */
import { monotonic, queueMicrotask } from '../clock.js';
import type { StoreError } from '../errors.js';
import { publish } from '../events.js';
import type { ServerCondition, ServerState } from './store.js';

/** A server went down, came back, or has no memory left. */
export interface ServerStateChange {
  /** The server as messages name it, for example `127.0.0.1:11211`. */
  readonly server: string;
  readonly state: Exclude<ServerCondition, 'untried'>;
  /** Why it went down, or what it refused. */
  readonly cause?: Error;
}

/** How long after a refusal a server counts as full, in milliseconds. */
const fullFor = 60_000;

/** State of one server. Every change goes to the listener and to the channel `server`. */
export class ServerStatus {
  readonly #server: string;
  readonly #listener: ((change: ServerStateChange) => void) | undefined;
  #state: Exclude<ServerCondition, 'full'> = 'untried';
  #since = new Date();
  #reached = false;
  #lastError: StoreError | undefined;
  #lastErrorAt: Date | undefined;
  /** On the clock of `monotonic`. */
  #fullUntil = -Infinity;
  #fullSince = this.#since;

  constructor(server: string, listener: ((change: ServerStateChange) => void) | undefined) {
    this.#server = server;
    this.#listener = listener;
  }

  /** The server answered. */
  replied(): void {
    if (this.#state !== 'untried') return;
    this.#reached = true;
    this.#enter('up');
  }

  /** The server does not answer any more, or in a way that cannot be relied on. */
  down(cause: StoreError): void {
    this.#failed(cause);
    this.#enter('down');
    this.#announce({ server: this.#server, state: 'down', cause });
  }

  /** The server answers again. */
  up(): void {
    this.#reached = true;
    this.#enter('up');
    this.#announce({ server: this.#server, state: 'up' });
  }

  /** Something went wrong that does not make the server unusable. */
  noteError(error: StoreError): void {
    this.#failed(error);
  }

  /** The server has no memory for a value. Announced once, until there was no refusal for a minute. */
  full(cause: StoreError): void {
    this.#failed(cause);
    const now = monotonic();
    const known = now < this.#fullUntil;
    this.#fullUntil = now + fullFor;
    if (known) return;
    this.#fullSince = new Date();
    this.#announce({ server: this.#server, state: 'full', cause });
  }

  snapshot(): ServerState {
    const full = this.#state === 'up' && monotonic() < this.#fullUntil;
    return {
      server: this.#server,
      state: full ? 'full' : this.#state,
      since: full ? this.#fullSince : this.#since,
      reached: this.#reached,
      lastError: this.#lastError,
      lastErrorAt: this.#lastErrorAt,
    };
  }

  #enter(state: Exclude<ServerCondition, 'full'>): void {
    this.#state = state;
    this.#since = new Date();
  }

  #failed(error: StoreError): void {
    this.#lastError = error;
    this.#lastErrorAt = new Date();
  }

  /**
   * In a microtask: a listener that throws is reported as an uncaught exception like any other
   * listener, and cannot leave the server half-way between two states.
   */
  #announce(change: ServerStateChange): void {
    const listener = this.#listener;
    queueMicrotask(() => {
      publish('server', () => change);
      listener?.(change);
    });
  }
}
