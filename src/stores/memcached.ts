/**
 * `MemcachedStore`: the operations of `Store` on one or many memcached servers.
 *
 * Read from the top: the store maps keys to servers, a `MemcachedServer` stands between requests
 * and its circuit breaker, a `Connection` owns one socket with its deadline, a `Command` knows its
 * own request and reply. The `memcached` package connects, queues and writes; it decides nothing
 * about failures and does not read replies (`Connection` says why).
 */
import { createRequire } from 'node:module';
import { isIPv6, type Socket } from 'node:net';
import {
  InvalidOptionError,
  StoreClosedError,
  StoreError,
  StoreProtocolError,
  StoreTimeoutError,
  StoreUnavailableError,
} from '../errors.js';
import { show, wholeNumber } from '../options.js';
import { CircuitBreaker } from './breaker.js';
import type { Store, StoreItem, StoreReply, StoreToken } from './store.js';

/** A server went down or came back. */
export interface ServerStateChange {
  /** The server as messages name it, for example `127.0.0.1:11211`. */
  readonly server: string;
  readonly state: 'up' | 'down';
  /** Why it went down. */
  readonly cause?: Error;
}

/** Options of a `MemcachedStore`. */
export interface MemcachedStoreOptions {
  /**
   * Deadline of every operation, from the call to its outcome, in milliseconds, 1 to 60000. The
   * first operation that misses it makes the server "down".
   * @default 250
   */
  readonly timeoutMs?: number;
  /** From one probe of a server that is down to the next, in milliseconds, 1 to 60000. @default 500 */
  readonly retryMs?: number;
  /**
   * Connections to each server, 1 to 64; each key has its own. More than one pays only where
   * replies are so large that a small one should not wait behind them.
   * @default 1
   */
  readonly connectionsPerServer?: number;
  /** The most unanswered commands to one server; further ones are refused at once. @default 10000 */
  readonly maxPending?: number;
  /**
   * Largest value in bytes. memcached's own limit (`-I`, 1 MiB by default) counts the key and the
   * item's header too.
   * @default 1000000
   */
  readonly maxValueBytes?: number;
  /** The most keys that one command asks for, 1 to 10000; a larger `get` becomes several commands. @default 200 */
  readonly batchSize?: number;
  /** Called when a server goes down, and when it is back; not for the first connection. Must not throw. */
  readonly onStateChange?: (change: ServerStateChange) => void;
}

type ResolvedOptions = Required<Omit<MemcachedStoreOptions, 'onStateChange'>> &
  Pick<MemcachedStoreOptions, 'onStateChange'>;

/**
 * A store on memcached servers, through the optional peer dependency `memcached`.
 *
 * Each key belongs to one server for as long as the list of servers stays the same: a server that
 * fails is not replaced by another, because its entries, among them the markers of writes in
 * flight, could then be found on the wrong one. Every process must be given the same servers; their
 * order does not matter. Name the servers themselves: behind a proxy that chooses among servers,
 * neither this nor what `readToken` relies on holds.
 *
 * A token is good for as long as the connection that it was read through. After the server was
 * restarted, or the connection lost, compareAndSwap and compareAndDelete resolve to `false`.
 *
 * @example
 * const store = new MemcachedStore(['10.0.0.1:11211', '10.0.0.2:11211'], { timeoutMs: 100 });
 */
export class MemcachedStore implements Store {
  readonly name: string;
  readonly maxValueBytes: number;
  readonly #batchSize: number;
  /** Sorted by name, so that the order in which they were given cannot matter. */
  readonly #servers: readonly MemcachedServer[];
  /** Set where there is nothing to choose. */
  readonly #onlyRoute: Route | undefined;
  #closed: StoreClosedError | undefined;

  /**
   * Connects on first use.
   * @param servers `host:port`, `host` (port 11211), `[ipv6]:port` or the path of a Unix socket
   * @throws InvalidOptionError for a wrong server or option, or when `memcached` is not installed
   */
  constructor(servers: string | readonly string[], options: MemcachedStoreOptions = {}) {
    const addresses = parseServers(servers);
    const resolved = resolveOptions(options);
    const Client = loadClient();
    this.name = `memcached(${addresses.map(({ name }) => name).join(', ')})`;
    this.maxValueBytes = resolved.maxValueBytes;
    this.#batchSize = resolved.batchSize;
    this.#servers = addresses.map((address) => new MemcachedServer(address, Client, resolved));
    const [first, second] = this.#servers.flatMap(({ routes }) => routes);
    this.#onlyRoute = second === undefined ? first : undefined;
  }

  get(keys: readonly string[]): Promise<StoreReply> {
    return new Promise((resolve) => {
      const request = new MultiGet(resolve);
      for (const [route, own] of this.#byRoute(keys, request)) {
        for (let start = 0; start < own.length; start += this.#batchSize) {
          const batch = own.slice(start, start + this.#batchSize);
          route.server.send(new GetCommand(route.server.name, batch, request), route.place);
        }
      }
      request.allSent();
    });
  }

  add(key: string, value: string, ttlSeconds: number): Promise<boolean> {
    return new Promise((resolve, reject) => {
      checkKey(key);
      const bytes = valueBytes(value, this.maxValueBytes);
      const text = `add ${key} 0 ${expiryOf(ttlSeconds)} ${String(bytes)}\r\n${value}`;
      this.#send(key, 'add', text, resolve, reject);
    });
  }

  compareAndSwap(key: string, value: string, token: StoreToken, ttlSeconds: number): Promise<boolean> {
    return new Promise((resolve, reject) => {
      checkKey(key);
      const bytes = valueBytes(value, this.maxValueBytes);
      const [connection, unique] = readToken(token);
      const text = `cas ${key} 0 ${expiryOf(ttlSeconds)} ${String(bytes)} ${unique}\r\n${value}`;
      this.#send(key, 'cas', text, resolve, reject, connection);
    });
  }

  compareAndDelete(key: string, token: StoreToken): Promise<boolean> {
    return new Promise((resolve, reject) => {
      checkKey(key);
      const [connection, unique] = readToken(token);
      // memcached has no conditional delete in its text protocol, but an item that is stored with
      // a negative expiry is expired from the start.
      this.#send(key, 'cas', `cas ${key} 0 -1 0 ${unique}\r\n`, resolve, reject, connection);
    });
  }

  delete(key: string): Promise<boolean> {
    return new Promise((resolve, reject) => {
      checkKey(key);
      this.#send(key, 'delete', `delete ${key}`, resolve, reject);
    });
  }

  close(): Promise<void> {
    this.#closed ??= new StoreClosedError(`The store ${this.name} was closed.`);
    for (const server of this.#servers) server.close(this.#closed);
    return Promise.resolve();
  }

  #send(
    key: string,
    verb: OutcomeVerb,
    text: string,
    resolve: (done: boolean) => void,
    reject: (error: StoreError) => void,
    connection?: number,
  ): void {
    const { server, place } = this.#routeOf(key);
    server.send(new OutcomeCommand(server.name, verb, text, resolve, reject), place, connection);
  }

  /** The legal ones of `keys` by the route they take; the others are failed. */
  #byRoute(keys: readonly string[], request: MultiGet): Map<Route, string[]> {
    const groups = new Map<Route, string[]>();
    for (const key of keys) {
      if (!legalKey.test(key)) {
        request.failed([key], illegalKey(key));
        continue;
      }
      const route = this.#routeOf(key);
      const group = groups.get(route);
      if (group === undefined) groups.set(route, [key]);
      else group.push(key);
    }
    return groups;
  }

  /**
   * Rendezvous hashing: the server with the highest score for this key. Taking a server out of the
   * list, or adding one, moves only the keys of that server.
   */
  #routeOf(key: string): Route {
    if (this.#onlyRoute !== undefined) return this.#onlyRoute;
    const hash = fnv1a(key);
    let [best] = this.#servers as readonly [MemcachedServer];
    let highest = -1;
    for (const server of this.#servers) {
      const score = avalanche(hash ^ server.seed);
      if (score > highest) {
        highest = score;
        best = server;
      }
    }
    return best.routeOf(hash);
  }
}

/**
 * The store that the environment describes, or `undefined` when it names no server.
 *
 * - `SEQUELIZE_FLASH_MEMCACHED`: servers, separated by commas
 * - `SEQUELIZE_FLASH_MEMCACHED_TIMEOUT_MS`: `timeoutMs`
 * - `SEQUELIZE_FLASH_MEMCACHED_CONNECTIONS`: `connectionsPerServer`
 *
 * @throws InvalidOptionError that names the variable
 */
export function memcachedFromEnv(
  env: NodeJS.ProcessEnv = process.env,
  options: Pick<MemcachedStoreOptions, 'onStateChange'> = {},
): MemcachedStore | undefined {
  const servers = (env.SEQUELIZE_FLASH_MEMCACHED ?? '')
    .split(',')
    .map((server) => server.trim())
    .filter((server) => server !== '');
  if (servers.length === 0) return undefined;
  parseServers(servers, 'SEQUELIZE_FLASH_MEMCACHED');
  const fromVariable = (name: string, fallback: number, most: number, unit: string): number => {
    const text = env[name]?.trim() ?? '';
    if (text === '') return fallback;
    return wholeNumber(name, /^\d+$/.test(text) ? Number(text) : text, fallback, 1, most, unit);
  };
  return new MemcachedStore(servers, {
    ...options,
    timeoutMs: fromVariable('SEQUELIZE_FLASH_MEMCACHED_TIMEOUT_MS', defaults.timeoutMs, 60_000, 'milliseconds'),
    connectionsPerServer: fromVariable(
      'SEQUELIZE_FLASH_MEMCACHED_CONNECTIONS',
      defaults.connectionsPerServer,
      64,
      'connections',
    ),
  });
}

// ---- One server -------------------------------------------------------------------------------

/** The way of a key: to its server, and there on the connection in one place. */
interface Route {
  readonly server: MemcachedServer;
  readonly place: number;
}

/** One server: its connections, its circuit breaker, and the probe that closes it again. */
class MemcachedServer {
  /** For messages, events and hashing. */
  readonly name: string;
  /** What this server's scores are computed from. */
  readonly seed: number;
  readonly routes: readonly Route[];
  readonly #address: ServerAddress;
  readonly #Client: ClientConstructor;
  readonly #options: ResolvedOptions;
  readonly #breaker: CircuitBreaker;
  /** Opened when a command needs one; a connection that ended leaves its place empty. */
  readonly #connections: (Connection | undefined)[];
  #probe: Connection | undefined;
  #probeTimer: NodeJS.Timeout | undefined;
  /** What commands get while the breaker is open; built once, so that refusing one costs nothing. */
  #down: StoreUnavailableError | undefined;
  #closed: StoreClosedError | undefined;

  constructor(address: ServerAddress, Client: ClientConstructor, options: ResolvedOptions) {
    this.name = address.name;
    this.seed = avalanche(fnv1a(address.name));
    this.#address = address;
    this.#Client = Client;
    this.#options = options;
    this.#breaker = new CircuitBreaker({ retryMs: options.retryMs });
    this.#connections = new Array<Connection | undefined>(options.connectionsPerServer).fill(undefined);
    this.routes = this.#connections.map((_, place) => ({ server: this, place }));
  }

  /** The route of the key with this hash. */
  routeOf(hash: number): Route {
    const route = this.routes[avalanche(hash) % this.routes.length];
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
    this.#down = new StoreUnavailableError(`memcached ${this.name} is down: ${cause.message}`, { cause });
    this.#announce({ server: this.name, state: 'down', cause });
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
    probe.send(
      new VersionCommand(this.name, (failure) => {
        // Retiring the connection below fails a command that was refused once more.
        if (this.#probe !== probe) return;
        this.#probe = undefined;
        if (this.#closed !== undefined) return;
        if (failure !== undefined) {
          // A refusal leaves the connection open, and the next probe has one of its own.
          probe.retire(failure);
          this.#breaker.probeFailed();
          this.#scheduleProbe();
          return;
        }
        this.#connections[0] = probe;
        this.#breaker.probeSucceeded();
        this.#down = undefined;
        this.#announce({ server: this.name, state: 'up' });
      }),
    );
  }

  /**
   * In a microtask: a listener that throws is reported as an uncaught exception like any other
   * listener, and cannot leave this server half-way between two states.
   */
  #announce(change: ServerStateChange): void {
    const { onStateChange } = this.#options;
    if (onStateChange !== undefined) {
      queueMicrotask(() => {
        onStateChange(change);
      });
    }
  }
}

// ---- One connection ---------------------------------------------------------------------------

/** What this store uses of a client of the `memcached` package: three of its public methods. */
interface Client {
  /** Takes a connection with `connect`, pushes the query on its `metaData`, and writes it. */
  command(compile: () => ClientQuery, server: string): void;
  connect(server: string, callback: (error: unknown, socket: ClientSocket | false | undefined) => void): void;
  connectionIssue(error: unknown, socket: unknown): void;
}

type ClientConstructor = new (server: string, options: Readonly<Record<string, number>>) => Client;

/** A command as the package queues and writes it. */
interface ClientQuery {
  readonly type: string;
  readonly command: string;
  readonly callback: (error: unknown) => void;
}

interface ClientSocket extends Socket {
  /** The commands that were written and not answered, oldest first. */
  readonly metaData: Command[];
}

let connectionsSoFar = 0;

function nextConnectionId(): number {
  connectionsSoFar += 1;
  return connectionsSoFar;
}

interface ConnectionOwner {
  replied(): void;
  /** Called once. `failure` is what went wrong; the end of an idle connection is no failure. */
  ended(connection: Connection, failure: StoreError | undefined): void;
}

/**
 * One client of the `memcached` package with one socket, used until its first failure and then
 * thrown away: after a missed deadline or a strange reply, nothing that still comes can be assigned
 * to a command any more.
 *
 * Of the client's own behaviour, four things would break the store's promises and are replaced:
 * - its reader runs `JSON.parse` on values that other programs wrote (and throws where nobody can
 *   catch it), loses count of replies when a value contains a line break, reports "out of memory"
 *   as "not stored", and takes time that grows with the square of a reply's length. Replies are
 *   read here instead, by their byte lengths.
 * - its log of issues spawns `ping` and keeps a server dead for hours. The breaker decides instead.
 * - its pool prefers one connection and refuses commands while that is being opened. Here every
 *   client has one connection, and commands wait for it here.
 * - its arguments' validation rewrites commands. Queries here have no `validate`, so it is not run.
 */
class Connection {
  /** Unique in this process. */
  readonly id = nextConnectionId();
  readonly #address: ServerAddress;
  readonly #timeoutMs: number;
  readonly #owner: ConnectionOwner;
  readonly #client: Client;
  readonly #reader: ReplyReader;
  #socket: ClientSocket | undefined;
  #corked = false;
  #retired = false;
  /** Commands that were sent before the socket was connected. */
  readonly #waiting: Command[] = [];
  #deadlineTimer: NodeJS.Timeout | undefined;
  /** The command that is overdue and was given more time. */
  #reprieved: Command | undefined;

  constructor(address: ServerAddress, Client: ClientConstructor, timeoutMs: number, owner: ConnectionOwner) {
    this.#address = address;
    this.#timeoutMs = timeoutMs;
    this.#owner = owner;
    this.#reader = new ReplyReader(address.name);
    this.#client = new Client(address.target, {
      poolSize: 1,
      retries: 0,
      // Never disconnect for idleness: it is not announced to commands.
      idle: 0,
      // Given, since `Memcached.config` may say otherwise and the client's count never goes down here.
      maxQueueSize: -1,
      // Well after the deadline, which decides. It only frees the socket of an attempt to connect
      // that hangs, because the client hands that out no earlier.
      timeout: 3 * timeoutMs,
    });
    // Nothing is lost: the same error also goes to the command or to the socket's listeners.
    this.#client.connectionIssue = () => undefined;
    this.#client.connect(address.target, (error, socket) => {
      this.#connected(error, socket);
    });
  }

  /** Number of unanswered commands. */
  get pending(): number {
    return this.#waiting.length + (this.#socket?.metaData.length ?? 0);
  }

  send(command: Command): void {
    command.deadline = performance.now() + this.#timeoutMs;
    command.connection = this.id;
    if (this.#socket === undefined) this.#waiting.push(command);
    else this.#write(command, this.#socket);
    this.#deadlineTimer ??= this.#checkDeadlineIn(this.#timeoutMs);
  }

  /** Ends the connection and fails its commands. Calling it again has no effect. */
  retire(failure: StoreError | undefined, errorOf?: (command: Command) => StoreError): void {
    if (this.#retired) return;
    this.#retired = true;
    clearTimeout(this.#deadlineTimer);
    this.#socket?.destroy();
    const unanswered = [...(this.#socket?.metaData.splice(0) ?? []), ...this.#waiting.splice(0)];
    // First, so that whoever learns of a failed command finds the breaker open.
    this.#owner.ended(this, failure);
    const ended = failure ?? new StoreUnavailableError(`memcached ${this.#address.name} ended the connection.`);
    for (const command of unanswered) command.fail(errorOf?.(command) ?? ended);
  }

  #connected(error: unknown, socket: ClientSocket | false | undefined): void {
    if (this.#retired) {
      if (socket) socket.destroy();
      return;
    }
    if (error !== undefined || !socket) {
      this.#lost('cannot be reached', error);
      return;
    }
    this.#socket = socket;
    // From now on the client has this connection and no other. Its pool would silently open
    // another one, whose replies nobody waits for, as soon as this one ends.
    this.#client.connect = (_server, callback) => {
      callback(undefined, socket);
    };
    // One character per byte, whatever is in the values, so that their lengths can be counted.
    socket.setEncoding('latin1');
    // The only listener is the client's own reader.
    socket.removeAllListeners('data');
    socket.on('data', (bytes: string) => {
      this.#receive(bytes, socket.metaData);
    });
    socket.on('error', (cause) => {
      this.#lost('broke the connection', cause);
    });
    socket.on('end', () => {
      this.#lost('ended the connection', undefined);
    });
    socket.on('close', () => {
      this.#lost('closed the connection', undefined);
    });
    for (const command of this.#waiting.splice(0)) this.#write(command, socket);
  }

  #write(command: Command, socket: ClientSocket): void {
    if (!this.#corked) {
      // All commands of one tick leave in one system call.
      this.#corked = true;
      socket.cork();
      process.nextTick(() => {
        this.#corked = false;
        socket.uncork();
      });
    }
    this.#client.command(() => command, this.#address.target);
  }

  #lost(what: string, cause: unknown): void {
    const reason = cause instanceof Error ? `: ${cause.message}` : '';
    const failure = new StoreUnavailableError(`memcached ${this.#address.name} ${what}${reason}.`, { cause });
    // Servers and proxies close idle connections. That says nothing about the next command.
    this.retire(this.pending === 0 ? undefined : failure);
  }

  #receive(bytes: string, queue: Command[]): void {
    if (this.#retired) return;
    try {
      this.#reader.read(bytes, queue);
      this.#owner.replied();
    } catch (error) {
      // Thrown on, it would be an uncaught exception in the socket's event handler.
      this.retire(
        error instanceof StoreError
          ? error
          : new StoreProtocolError(`A reply of memcached ${this.#address.name} could not be read.`, { cause: error }),
      );
    }
  }

  /**
   * Replies come in the order of the commands, and all have the same deadline: one timer for the
   * oldest command does for all of them, and is set anew at most once per deadline.
   *
   * A timer that fires late means that this process was blocked. Then the reply may be there and
   * not read yet, or may not even have found room to arrive, so the command gets that time back,
   * once; and always a millisecond, in which sockets are read.
   */
  #checkDeadlineIn(milliseconds: number): NodeJS.Timeout {
    const due = performance.now() + milliseconds;
    return setTimeout(() => {
      this.#deadlineTimer = undefined;
      const oldest = this.#oldest();
      if (oldest === undefined) return;
      const now = performance.now();
      if (now < oldest.deadline) {
        this.#deadlineTimer = this.#checkDeadlineIn(Math.ceil(oldest.deadline - now));
      } else if (oldest !== this.#reprieved) {
        this.#reprieved = oldest;
        this.#deadlineTimer = this.#checkDeadlineIn(Math.ceil(Math.min(Math.max(1, now - due), this.#timeoutMs)));
      } else this.#giveUp(oldest);
    }, milliseconds).unref();
  }

  #giveUp(overdue: Command): void {
    const { name } = this.#address;
    const within = `within ${String(this.#timeoutMs)} ms`;
    const missed = new StoreTimeoutError(
      this.#socket === undefined
        ? `memcached ${name} could not be connected to ${within}.`
        : `memcached ${name} did not answer '${overdue.type}' ${within}.`,
    );
    const behind = new StoreUnavailableError(`The connection was given up on: ${missed.message}`, { cause: missed });
    const now = performance.now();
    this.retire(missed, (command) => (command.deadline <= now ? missed : behind));
  }

  #oldest(): Command | undefined {
    return this.#socket?.metaData[0] ?? this.#waiting[0];
  }
}

const lineBreak = '\r\n';
/** Longest line of a reply that is waited for; that of a value has its key and three numbers. */
const longestLine = 2048;

/** Cuts what a server sends into lines and data blocks, for the commands in the order they were sent. */
class ReplyReader {
  readonly #server: string;
  /** What was received and not taken yet, one character per byte. */
  #unread = '';
  /** Characters of `#unread` without which there is nothing to take. */
  #needed = 0;

  constructor(server: string) {
    this.#server = server;
  }

  /**
   * Gives `bytes` to the commands, and removes those from `queue` whose reply is complete.
   * @throws StoreProtocolError when it is no reply to them
   */
  read(bytes: string, queue: Command[]): void {
    this.#unread += bytes;
    // Until a large value is complete its pieces are only put in a row, and not looked through.
    if (this.#unread.length < this.#needed) return;
    const text = this.#unread;
    this.#needed = 0;
    let start = 0;
    while (start < text.length) {
      const command = queue[0];
      if (command === undefined) throw this.#unreadable(text, start);
      const { dataLength } = command;
      const end = dataLength < 0 ? text.indexOf(lineBreak, start) : start + dataLength;
      if (dataLength < 0 && end < 0) {
        if (text.length - start > longestLine) throw this.#unreadable(text, start);
        break;
      }
      if (text.length < end + lineBreak.length) {
        this.#needed = dataLength + lineBreak.length;
        break;
      }
      if (dataLength < 0) {
        if (command.takeLine(text.slice(start, end))) queue.shift();
      } else {
        if (!text.startsWith(lineBreak, end)) throw this.#unreadable(text, end);
        command.takeData(text.slice(start, end));
      }
      start = end + lineBreak.length;
    }
    this.#unread = text.slice(start);
  }

  #unreadable(text: string, start: number): StoreProtocolError {
    return new StoreProtocolError(
      `memcached ${this.#server} sent what is no reply: ${show(text.slice(start, start + 60))}.`,
    );
  }
}

// ---- Commands: one request and its reply ------------------------------------------------------

/** A command that was written; it is settled once, by its last line or by `fail`. */
abstract class Command implements ClientQuery {
  /** On the clock of `performance.now()`. Set when it is sent. */
  deadline = 0;
  /** Id of the connection that carries it. Set when it is sent. */
  connection = 0;

  constructor(
    readonly server: string,
    readonly type: string,
    readonly command: string,
  ) {}

  /** The client calls this only when it could not write the command. */
  readonly callback = (cause: unknown): void => {
    this.fail(new StoreUnavailableError(`memcached ${this.server} did not take '${this.type}'.`, { cause }));
  };

  /** Bytes of the data block that comes next, or -1 when a line does. */
  get dataLength(): number {
    return -1;
  }

  /**
   * Takes the next line of the reply. Returns whether it was the last.
   * @throws StoreProtocolError when this is no reply to this command; the connection is then useless
   */
  abstract takeLine(line: string): boolean;
  abstract fail(error: StoreError): void;

  /** Takes the next data block of the reply, in which each character is a byte. */
  takeData(data: string): void {
    throw new StoreProtocolError(`memcached ${this.server} answered '${this.type}' with ${show(data)}.`);
  }

  /** The connection that it had to be sent through is gone. Only conditional commands name one. */
  outdated(): void {
    this.fail(new StoreUnavailableError(`The connection to memcached ${this.server} is gone.`));
  }

  /** The reply is none of those that the command has of its own. */
  protected takeError(line: string): boolean {
    const error = new StoreProtocolError(`memcached ${this.server} answered '${this.type}' with ${show(line)}.`);
    // A complete reply that refuses this command alone, such as "out of memory".
    if (line.startsWith('SERVER_ERROR')) {
      this.fail(error);
      return true;
    }
    // After ERROR and CLIENT_ERROR, what was to be the value may be read as further commands.
    throw error;
  }
}

/** `gets` for some of the keys of one `MultiGet`. */
class GetCommand extends Command {
  readonly #keys: readonly string[];
  readonly #request: MultiGet;
  /** Servers answer in the order of the keys, so the next value is looked for from here. */
  #position = 0;
  #key = '';
  #unique = '';
  #dataLength = -1;

  constructor(server: string, keys: readonly string[], request: MultiGet) {
    super(server, 'gets', `gets ${keys.join(' ')}`);
    this.#keys = keys;
    this.#request = request;
    request.sent();
  }

  override get dataLength(): number {
    return this.#dataLength;
  }

  takeLine(line: string): boolean {
    if (line === 'END') {
      this.#request.settled();
      return true;
    }
    if (!line.startsWith('VALUE ')) return this.takeError(line);
    this.#takeHeader(line);
    return false;
  }

  /**
   * The flags are not looked at. This store writes 0; what another program wrote under the key is
   * handed over as text, with its token, so that the reader can replace or remove it.
   */
  override takeData(data: string): void {
    this.#dataLength = -1;
    this.#request.items.set(this.#key, { value: fromUtf8(data), token: `${String(this.connection)}.${this.#unique}` });
  }

  fail(error: StoreError): void {
    this.#request.failed(this.#keys, error);
    this.#request.settled();
  }

  /** `VALUE <key> <flags> <bytes> <cas unique>` */
  #takeHeader(line: string): void {
    const [, key = '', , bytes = '', unique = '', ...rest] = line.split(' ');
    let position = this.#keys.indexOf(key, this.#position);
    // A proxy that collects from several servers may answer in another order.
    if (position < 0) position = this.#keys.indexOf(key);
    const asked = this.#keys[position];
    if (asked === undefined || !/^\d{1,10}$/.test(bytes) || !casUnique.test(unique) || rest.length > 0) {
      throw new StoreProtocolError(`memcached ${this.server} answered 'gets' with ${show(line)}.`);
    }
    this.#position = position + 1;
    this.#key = asked;
    this.#unique = unique;
    this.#dataLength = Number(bytes);
  }
}

type OutcomeVerb = 'add' | 'cas' | 'delete';

const outcomes: Readonly<Record<OutcomeVerb, ReadonlyMap<string, boolean>>> = {
  add: new Map([
    ['STORED', true],
    ['NOT_STORED', false],
  ]),
  cas: new Map([
    ['STORED', true],
    ['EXISTS', false],
    ['NOT_FOUND', false],
  ]),
  delete: new Map([
    ['DELETED', true],
    ['NOT_FOUND', false],
  ]),
};

/** A command whose reply is one word. */
class OutcomeCommand extends Command {
  readonly #verb: OutcomeVerb;
  readonly #resolve: (done: boolean) => void;
  readonly #reject: (error: StoreError) => void;

  constructor(
    server: string,
    verb: OutcomeVerb,
    text: string,
    resolve: (done: boolean) => void,
    reject: (error: StoreError) => void,
  ) {
    super(server, verb, text);
    this.#verb = verb;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  takeLine(line: string): boolean {
    const outcome = outcomes[this.#verb].get(line);
    if (outcome === undefined) return this.takeError(line);
    this.#resolve(outcome);
    return true;
  }

  fail(error: StoreError): void {
    this.#reject(error);
  }

  override outdated(): void {
    this.#resolve(false);
  }
}

/** The probe: the one command that every memcached answers without looking at its items. */
class VersionCommand extends Command {
  readonly #settle: (failure: StoreError | undefined) => void;

  constructor(server: string, settle: (failure: StoreError | undefined) => void) {
    super(server, 'version', 'version');
    this.#settle = settle;
  }

  takeLine(line: string): boolean {
    if (!line.startsWith('VERSION ')) return this.takeError(line);
    this.#settle(undefined);
    return true;
  }

  fail(error: StoreError): void {
    this.#settle(error);
  }
}

const noFailures: ReadonlyMap<string, Error> = new Map();

/** One `get` of the store, which its commands fill; it resolves when the last one has settled. */
class MultiGet {
  readonly items = new Map<string, StoreItem>();
  #failures: Map<string, Error> | undefined;
  /** Commands under way, and one for the sending itself, so that it cannot resolve in between. */
  #outstanding = 1;
  readonly #resolve: (reply: StoreReply) => void;

  constructor(resolve: (reply: StoreReply) => void) {
    this.#resolve = resolve;
  }

  sent(): void {
    this.#outstanding += 1;
  }

  settled(): void {
    this.#outstanding -= 1;
    if (this.#outstanding === 0) this.#resolve({ items: this.items, failures: this.#failures ?? noFailures });
  }

  allSent(): void {
    this.settled();
  }

  /** A part of a reply counts for nothing: its keys are unknown again. */
  failed(keys: readonly string[], error: StoreError): void {
    this.#failures ??= new Map();
    for (const key of keys) {
      this.items.delete(key);
      this.#failures.set(key, error);
    }
  }
}

// ---- Tokens -----------------------------------------------------------------------------------

const casUnique = /^\d{1,20}$/;
const issuedToken = /^(\d{1,15})\.(\d{1,20})$/;

/**
 * A token is the id of the connection that it was read through, and memcached's "cas unique".
 *
 * memcached counts that number from 1 again after a restart, so a number from before can fit
 * another value afterwards. No connection outlives the server's process: a token that is used only
 * through its own connection cannot be mistaken, and therefore a key always takes the same one. When
 * that is gone, nothing is known of the value any more, and the command's answer is "not the same".
 */
function readToken(token: StoreToken): [connection: number, unique: string] {
  const [, connection = '0', unique = '0'] = issuedToken.exec(token) ?? [];
  return [Number(connection), unique];
}

// ---- Checks, shared with the memory store -----------------------------------------------------

const legalKey = /^[\x21-\x7e]{1,250}$/;

function illegalKey(key: string): StoreProtocolError {
  return new StoreProtocolError(
    `A key must be 1 to 250 printable ASCII characters without space; received ${show(key)} of length ${String(key.length)}.`,
  );
}

/**
 * Refuses what memcached does not take for a key.
 * @throws StoreProtocolError
 */
export function checkKey(key: string): void {
  if (!legalKey.test(key)) throw illegalKey(key);
}

/**
 * Length of a value in bytes of UTF-8.
 * @throws StoreProtocolError when it is more than `most`
 */
export function valueBytes(value: string, most: number): number {
  const bytes = Buffer.byteLength(value);
  if (bytes > most) {
    throw new StoreProtocolError(`A value of ${String(bytes)} bytes is over the store's limit of ${String(most)} bytes.`);
  }
  return bytes;
}

/**
 * A lifetime in whole seconds, rounded up so that a positive one never becomes 0, which is "for ever".
 * @throws StoreProtocolError when it is negative or not a finite number
 */
export function wholeSeconds(ttlSeconds: number): number {
  if (!Number.isFinite(ttlSeconds) || ttlSeconds < 0) {
    throw new StoreProtocolError(`A lifetime must be 0 or a number of seconds; received ${show(ttlSeconds)}.`);
  }
  return Math.ceil(ttlSeconds);
}

/** memcached takes more seconds than these for a date, in Unix time. */
const longestRelativeExpiry = 60 * 60 * 24 * 30;
/** It parses an expiry as a signed 32-bit number, and refuses what is more. */
const latestExpiry = 2 ** 31 - 1;

function expiryOf(ttlSeconds: number): string {
  const seconds = wholeSeconds(ttlSeconds);
  if (seconds <= longestRelativeExpiry) return String(seconds);
  return String(Math.min(Math.ceil(Date.now() / 1000) + seconds, latestExpiry));
}

/** The text whose UTF-8 bytes are the characters of `bytes`. */
function fromUtf8(bytes: string): string {
  // Bytes above 127 are one character here and two bytes in UTF-8: this finds them fastest.
  return Buffer.byteLength(bytes) === bytes.length ? bytes : Buffer.from(bytes, 'latin1').toString('utf8');
}

// ---- Hashing ----------------------------------------------------------------------------------

/** 32-bit FNV-1a of printable ASCII. */
function fnv1a(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i += 1) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}

/** MurmurHash3's finaliser: every bit of the input changes every bit of the result half of the time. */
function avalanche(input: number): number {
  let hash = input;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

// ---- Set-up -----------------------------------------------------------------------------------

const defaults = Object.freeze({
  timeoutMs: 250,
  retryMs: 500,
  connectionsPerServer: 1,
  maxPending: 10_000,
  maxValueBytes: 1_000_000,
  batchSize: 200,
});

function resolveOptions(given: MemcachedStoreOptions): ResolvedOptions {
  for (const name of Object.keys(given)) {
    if (!Object.hasOwn(defaults, name) && name !== 'onStateChange') {
      const known = [...Object.keys(defaults), 'onStateChange'].join(', ');
      throw new InvalidOptionError(`MemcachedStore has no option '${name}'. Its options are: ${known}.`);
    }
  }
  const { onStateChange } = given;
  if (onStateChange !== undefined && typeof onStateChange !== 'function') {
    throw new InvalidOptionError(`Option 'onStateChange' must be a function; received ${show(onStateChange)}.`);
  }
  const number = (name: keyof typeof defaults, most: number, unit: string): number =>
    wholeNumber(name, given[name], defaults[name], 1, most, unit);
  return Object.freeze({
    timeoutMs: number('timeoutMs', 60_000, 'milliseconds'),
    retryMs: number('retryMs', 60_000, 'milliseconds'),
    connectionsPerServer: number('connectionsPerServer', 64, 'connections'),
    maxPending: number('maxPending', 10_000_000, 'commands'),
    maxValueBytes: number('maxValueBytes', 2 ** 30, 'bytes'),
    batchSize: number('batchSize', 10_000, 'keys'),
    ...(onStateChange === undefined ? {} : { onStateChange }),
  });
}

interface ServerAddress {
  readonly name: string;
  /** As the `memcached` package takes it. */
  readonly target: string;
}

function parseServers(given: string | readonly string[], option = 'servers'): ServerAddress[] {
  const list: readonly string[] = typeof given === 'string' ? [given] : given;
  if (!Array.isArray(list) || list.length === 0) {
    throw new InvalidOptionError(`Option '${option}' must be one server or an array of servers; received ${show(given)}.`);
  }
  const addresses = new Map<string, ServerAddress>();
  for (const server of list) {
    const address = parseServer(server, option);
    if (addresses.has(address.name)) {
      throw new InvalidOptionError(`Option '${option}' names the server ${address.name} more than once.`);
    }
    addresses.set(address.name, address);
  }
  return [...addresses.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

function parseServer(server: unknown, option: string): ServerAddress {
  const text = typeof server === 'string' ? server : '';
  if (text.startsWith('/')) return parseSocketPath(text, option);
  const [, ipv6, name, digits = '11211'] = /^(?:\[([^\]]+)\]|([A-Za-z0-9._-]+))(?::(\d{1,5}))?$/.exec(text) ?? [];
  const host = ipv6 ?? name?.toLowerCase();
  const port = Number(digits);
  if (host === undefined || (ipv6 !== undefined && !isIPv6(ipv6)) || port < 1 || port > 65_535) {
    throw new InvalidOptionError(
      `Option '${option}' must name servers as 'host:port', 'host', '[ipv6]:port' or the path of a Unix socket; received ${show(server)}.`,
    );
  }
  return {
    name: ipv6 === undefined ? `${host}:${String(port)}` : `[${host}]:${String(port)}`,
    // The package splits at the last colon and takes no brackets.
    target: `${host}:${String(port)}`,
  };
}

function parseSocketPath(path: string, option: string): ServerAddress {
  if (!/:\d+$/.test(path)) {
    // https://github.com/3rd-Eden/memcached/issues/242, open since 2015.
    throw new InvalidOptionError(
      `Option '${option}': the package 'memcached' adds ':11211' to the path of a Unix socket, so it reaches only ` +
        `those that end in a colon and a number. Make a link, 'ln -s ${path} ${path}:11211', and name that; received ${show(path)}.`,
    );
  }
  return { name: path, target: path };
}

/** Loaded here and not imported, since the package is optional: other stores work without it. */
function loadClient(): ClientConstructor {
  try {
    return createRequire(__filename)('memcached') as ClientConstructor;
  } catch (cause) {
    throw new InvalidOptionError(
      "MemcachedStore needs the package 'memcached', an optional peer dependency. Install it: npm install memcached",
      { cause },
    );
  }
}
