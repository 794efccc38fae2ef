/**
 * `Connection`: one socket to one server, with the deadline of its commands.
 *
 * The `memcached` package connects, queues and writes; it decides nothing about failures and does
 * not read replies (`Connection` says why).
 */
import { connect } from 'node:net';
import { clearTimeout, monotonic, nextTick, setTimeout } from '../clock.js';
import {
  StoreError,
  StoreProtocolError,
  StoreTimeoutError,
  StoreUnavailableError,
} from '../errors.js';
import { show } from '../options.js';
import type { Client, ClientConstructor, ClientSocket } from './memcached-client.js';
import type { ServerAddress } from './memcached-options.js';
import { ReplyReader, type Command } from './memcached-protocol.js';

let connectionsSoFar = 0;

function nextConnectionId(): number {
  connectionsSoFar += 1;
  return connectionsSoFar;
}

interface ConnectionOwner {
  replied(): void;
  /** The server refused one command; the connection goes on. */
  refused(refusal: StoreProtocolError, type: string): void;
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
 * - its pool prefers one connection, refuses commands while that is being opened, keeps an attempt
 *   to connect that nobody wants any more, and keeps the process alive. The socket is opened here.
 * - its arguments' validation rewrites commands. Queries here have no `validate`, so it is not run.
 *
 * The socket keeps the process alive only while a command waits for its reply: a program that is done
 * ends, although the store is still open.
 */
export class Connection {
  /** Unique in this process. */
  readonly id = nextConnectionId();
  readonly #address: ServerAddress;
  readonly #timeoutMs: number;
  readonly #owner: ConnectionOwner;
  readonly #client: Client;
  readonly #reader: ReplyReader;
  readonly #socket: ClientSocket;
  #isConnected = false;
  /** Nothing waits for a reply: the socket does not keep the process alive. */
  #idle = false;
  #isProbe = false;
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
    this.#reader = new ReplyReader(address.name, (refusal, type) => {
      owner.refused(refusal, type);
    });
    // Given, since `Memcached.config` may say otherwise and the client's count never goes down here.
    this.#client = new Client(address.target, { poolSize: 1, maxQueueSize: -1 });
    // Nothing is lost: the same error also goes to the command or to the socket's listeners.
    this.#client.connectionIssue = () => undefined;
    const socket = (this.#socket = Object.assign(connect(address.socket), { metaData: [] }));
    this.#client.connect = (_server, callback) => {
      callback(undefined, socket);
    };
    // One character per byte, whatever is in the values, so that their lengths can be counted.
    socket.setNoDelay(true).setEncoding('latin1');
    socket.on('connect', () => {
      this.#isConnected = true;
      for (const command of this.#waiting.splice(0)) this.#write(command);
    });
    socket.on('data', (bytes: string) => {
      this.#receive(bytes, socket.metaData);
    });
    socket.on('error', (cause) => {
      this.#lost(this.#isConnected ? 'broke the connection' : 'cannot be reached', cause);
    });
    socket.on('end', () => {
      this.#lost('ended the connection', undefined);
    });
    socket.on('close', () => {
      this.#lost('closed the connection', undefined);
    });
  }

  /** A probe, which the process need not wait for: until `serve`, the socket does not keep it alive. */
  probe(command: Command): void {
    this.#isProbe = true;
    this.#socket.unref();
    this.send(command);
  }

  /** The probe was answered, and the connection is used for requests from now on. */
  serve(): void {
    this.#isProbe = false;
    this.#idle = true;
  }

  /** Number of unanswered commands. */
  get pending(): number {
    return this.#waiting.length + this.#socket.metaData.length;
  }

  send(command: Command): void {
    command.deadline = monotonic() + this.#timeoutMs;
    command.connection = this.id;
    if (this.#isConnected) this.#write(command);
    else this.#waiting.push(command);
    this.#deadlineTimer ??= this.#checkDeadlineIn(this.#timeoutMs);
  }

  /** Ends the connection and fails its commands. Calling it again has no effect. */
  retire(failure: StoreError | undefined, errorOf?: (command: Command) => StoreError): void {
    if (this.#retired) return;
    this.#retired = true;
    clearTimeout(this.#deadlineTimer);
    this.#socket.destroy();
    const unanswered = [...this.#socket.metaData.splice(0), ...this.#waiting.splice(0)];
    // First, so that whoever learns of a failed command finds the breaker open.
    this.#owner.ended(this, failure);
    const ended = failure ?? new StoreUnavailableError(`memcached ${this.#address.name} ended the connection.`);
    for (const command of unanswered) command.fail(errorOf?.(command) ?? ended);
  }

  #write(command: Command): void {
    if (this.#idle && !this.#isProbe) {
      this.#idle = false;
      this.#socket.ref();
    }
    if (!this.#corked) {
      // All commands of one tick leave in one system call.
      this.#corked = true;
      this.#socket.cork();
      nextTick(() => {
        this.#corked = false;
        this.#socket.uncork();
      });
    }
    this.#client.command(() => command, this.#address.target);
  }

  #lost(what: string, cause: unknown): void {
    const reason = cause instanceof Error ? `: ${reasonOf(cause)}` : '';
    const failure = new StoreUnavailableError(`memcached ${this.#address.name} ${what}${reason}.`, { cause });
    // Servers and proxies close idle connections. That says nothing about the next command.
    this.retire(this.pending === 0 ? undefined : failure);
  }

  #receive(bytes: string, queue: Command[]): void {
    if (this.#retired) return;
    const unanswered = queue.length;
    try {
      this.#reader.read(bytes, queue);
      // A piece of a line may be anything: only a whole reply shows that it is memcached.
      if (queue.length < unanswered) this.#owner.replied();
      if (queue.length === 0 && !this.#idle) {
        this.#idle = true;
        this.#socket.unref();
      }
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
    const due = monotonic() + milliseconds;
    return setTimeout(() => {
      this.#deadlineTimer = undefined;
      const oldest = this.#oldest();
      if (oldest === undefined) return;
      const now = monotonic();
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
      !this.#isConnected
        ? `memcached ${name} could not be connected to ${within}.`
        : `memcached ${name} did not answer '${overdue.type}' ${within}.`,
    );
    const behind = new StoreUnavailableError(`The connection was given up on: ${missed.message}`, { cause: missed });
    const now = monotonic();
    this.retire(missed, (command) => (command.deadline <= now ? missed : behind));
  }

  #oldest(): Command | undefined {
    return this.#socket.metaData[0] ?? this.#waiting[0];
  }
}

/** Node's error for a name with several addresses has its messages in `errors` only. */
function reasonOf(cause: Error): string {
  if (cause.message !== '' || !(cause instanceof AggregateError)) return cause.message;
  return cause.errors.map((error: unknown) => (error instanceof Error ? error.message : show(error))).join('; ');
}
