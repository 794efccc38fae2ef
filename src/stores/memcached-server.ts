/**
 * `MemcachedServer` stands between requests and one server: it owns the connections, and the circuit
 * breaker that decides whether they are used.
 */
import { clearTimeout, setTimeout, monotonic } from '../clock.js';
import { StoreUnavailableError, type StoreClosedError, type StoreError } from '../errors.js';
import { CircuitBreaker } from './breaker.js';
import type { ClientConstructor } from './memcached-client.js';
import { Connection } from './memcached-connection.js';
import type { ResolvedOptions, ServerAddress } from './memcached-options.js';
import { NoTokensError, SettingsCommand, VersionCommand, type Command } from './memcached-protocol.js';
import { placeOf, seedOf } from './rendezvous.js';
import { ServerStatus } from './server-status.js';
import type { ServerHealth, ServerState } from './store.js';

/** The way of a key: to its server, and there on the connection in one place. */
export interface Route {
  readonly server: MemcachedServer;
  readonly place: number;
}

/** One server: its connections, its circuit breaker, and the probe that closes it again. */
export class MemcachedServer {
  /** For messages, events and hashing. */
  readonly name: string;
  /** What this server's scores are computed from. */
  readonly seed: number;
  readonly routes: readonly Route[];
  readonly #address: ServerAddress;
  readonly #Client: ClientConstructor;
  readonly #options: ResolvedOptions;
  readonly #breaker: CircuitBreaker;
  readonly #status: ServerStatus;
  /** Opened when a command needs one; a connection that ended leaves its place empty. */
  readonly #connections: (Connection | undefined)[];
  #probe: Connection | undefined;
  #probeTimer: NodeJS.Timeout | undefined;
  /** What commands get while the breaker is open; built once, so that refusing one costs nothing. */
  #down: StoreUnavailableError | undefined;
  #closed: StoreClosedError | undefined;
  /** It was started with `-C`, as far as is known. */
  #givesNoTokens = false;

  constructor(address: ServerAddress, Client: ClientConstructor, options: ResolvedOptions) {
    this.name = address.name;
    this.seed = seedOf(address.name);
    this.#address = address;
    this.#Client = Client;
    this.#options = options;
    this.#breaker = new CircuitBreaker({ retryMs: options.retryMs });
    this.#status = new ServerStatus(address.name, options.onStateChange);
    this.#connections = new Array<Connection | undefined>(options.connectionsPerServer).fill(undefined);
    this.routes = this.#connections.map((_, place) => ({ server: this, place }));
  }

  get state(): ServerState {
    return this.#status.snapshot();
  }

  /** Asks for a sign of life. A server that is known to be down is not asked. */
  async ping(): Promise<ServerHealth> {
    const sent = monotonic();
    const failure = await new Promise<StoreError | undefined>((resolve) => {
      this.send(new VersionCommand(this.name, resolve), 0);
    });
    return { ...this.state, roundTripMs: failure === undefined ? monotonic() - sent : undefined };
  }

  /** The route of the key with this hash. */
  routeOf(hash: number): Route {
    const route = this.routes[placeOf(hash, this.routes.length)];
    if (route === undefined) throw new RangeError(`memcached ${this.name} has no connections.`);
    return route;
  }

  /**
   * Sends the command or fails it; either way it settles within the deadline.
   * @param place which of the connections carries it
   * @param through id of the connection that must be there; see `readToken`
   */
  send(command: Command, place: number, through?: number): void {
    const refusal = this.#closed ?? this.#down ?? this.#overload();
    if (refusal !== undefined) {
      command.fail(refusal);
      return;
    }
    if (through !== undefined && this.#connections[place]?.id !== through) command.outdated();
    else (this.#connections[place] ??= this.#connect()).send(command);
  }

  close(error: StoreClosedError): void {
    this.#closed = error;
    clearTimeout(this.#probeTimer);
    for (const connection of [...this.#connections, this.#probe]) connection?.retire(error);
  }

  #overload(): StoreUnavailableError | undefined {
    let pending = 0;
    for (const connection of this.#connections) pending += connection?.pending ?? 0;
    if (pending < this.#options.maxPending) return undefined;
    return new StoreUnavailableError(
      `memcached ${this.name} has ${String(pending)} unanswered commands, the most that 'maxPending' allows.`,
    );
  }

  #connect(): Connection {
    return new Connection(this.#address, this.#Client, this.#options.timeoutMs, {
      replied: () => {
        this.#breaker.requestSucceeded();
        this.#status.replied();
      },
      refused: (refusal, type) => {
        // A 'gets' can be refused for memory too: that of a buffer, for a moment.
        if (type !== 'gets' && refusal.message.includes('out of memory')) this.#status.full(refusal);
        else this.#status.noteError(refusal);
      },
      ended: (connection, failure) => {
        const place = this.#connections.indexOf(connection);
        if (place >= 0) this.#connections[place] = undefined;
        if (failure !== undefined && this.#closed === undefined && this.#breaker.requestFailed()) {
          this.#goDown(failure);
        }
      },
    });
  }

  #goDown(cause: StoreError): void {
    this.#givesNoTokens = cause instanceof NoTokensError;
    this.#down = new StoreUnavailableError(`memcached ${this.name} is down: ${cause.message}`, { cause });
    this.#status.down(cause);
    this.#scheduleProbe();
    // Those may hang as well, and would cost their own deadline each once the server is back.
    for (const connection of this.#connections) connection?.retire(this.#down);
  }

  #scheduleProbe(): void {
    // Rounded up, since a timer that is set to a fraction of a millisecond fires too early.
    const delay = Math.ceil(this.#breaker.msUntilProbe);
    this.#probeTimer = setTimeout(() => {
      if (this.#breaker.startProbe()) this.#sendProbe();
      else this.#scheduleProbe();
    }, delay).unref();
  }

  /** In the background and on a fresh connection, which then serves the requests. */
  #sendProbe(): void {
    const probe = (this.#probe = this.#connect());
    // 'version' is the one command that every server and proxy answers without looking at its items.
    const Probe = this.#givesNoTokens ? SettingsCommand : VersionCommand;
    probe.probe(
      new Probe(this.name, (failure) => {
        // Retiring the connection below fails a command that was refused once more.
        if (this.#probe !== probe) return;
        this.#probe = undefined;
        if (this.#closed !== undefined) return;
        if (failure !== undefined) {
          // A refusal leaves the connection open, and the next probe has one of its own.
          probe.retire(failure);
          this.#status.noteError(failure);
          this.#breaker.probeFailed();
          this.#scheduleProbe();
          return;
        }
        probe.serve();
        this.#connections[0] = probe;
        this.#breaker.probeSucceeded();
        this.#down = undefined;
        this.#status.up();
      }),
    );
  }
}
