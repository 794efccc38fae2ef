/**
 * `Connection`: one socket to one server, with the deadline of its commands.
 *
 * The `memcached` package connects, queues and writes; it decides nothing about failures and does
 * not read replies (`Connection` says why).
 */
import { createRequire } from 'node:module';
import type { Socket } from 'node:net';
import {
  InvalidOptionError,
  StoreError,
  StoreProtocolError,
  StoreTimeoutError,
  StoreUnavailableError,
} from '../errors.js';
import type { ServerAddress } from './memcached-options.js';
import { ReplyReader, type Command } from './memcached-protocol.js';

/** What this store uses of a client of the `memcached` package: three of its public methods. */
interface Client {
  /** Takes a connection with `connect`, pushes the query on its `metaData`, and writes it. */
  command(compile: () => ClientQuery, server: string): void;
  connect(server: string, callback: (error: unknown, socket: ClientSocket | false | undefined) => void): void;
  connectionIssue(error: unknown, socket: unknown): void;
}

export type ClientConstructor = new (server: string, options: Readonly<Record<string, number>>) => Client;

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

/** Loaded here and not imported, since the package is optional: other stores work without it. */
export function loadClient(): ClientConstructor {
  try {
    return createRequire(__filename)('memcached') as ClientConstructor;
  } catch (cause) {
    throw new InvalidOptionError(
      "MemcachedStore needs the package 'memcached', an optional peer dependency. Install it: npm install memcached",
      { cause },
    );
  }
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
export class Connection {
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
