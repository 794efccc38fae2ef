/**
 * memcached's text protocol: commands to text, replies from bytes. It neither sends nor waits.
 *
 * A `Command` knows its own request and reply; `ReplyReader` cuts what a server sends for them.
 */
import { wallClock } from '../clock.js';
import { StoreError, StoreProtocolError, StoreRefusedError, StoreUnavailableError } from '../errors.js';
import type { RefusalReason } from '../events.js';
import { show } from '../options.js';
import { wholeSeconds } from './checks.js';
import type { StoreItem, StoreReply, StoreToken } from './store.js';

const lineBreak = '\r\n';
/** Longest line of a reply that is waited for; that of a value has its key and three numbers. */
const longestLine = 2048;

/** Cuts what a server sends into lines and data blocks, for the commands in the order they were sent. */
export class ReplyReader {
  readonly #server: string;
  readonly #refused: (refusal: StoreProtocolError, type: string) => void;
  /** What was received and not taken yet, one character per byte. */
  #unread = '';
  /** Characters of `#unread` without which there is nothing to take. */
  #needed = 0;

  /** @param refused called when the server refuses one command */
  constructor(server: string, refused: (refusal: StoreProtocolError, type: string) => void = () => undefined) {
    this.#server = server;
    this.#refused = refused;
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
        if (command.takeLine(text, start, end)) {
          queue.shift();
          if (command.refusal !== undefined) this.#refused(command.refusal, command.type);
        }
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

/**
 * A command that was written. It ends once: with its last line, or with the error that `fail` is given.
 *
 * It is also the query that the `memcached` package writes. Tracing wraps `callback` of a query, as
 * OpenTelemetry's instrumentation does, so every command ends by a call of it.
 */
export abstract class Command {
  /** On the clock of `performance.now()`. Set when it is sent. */
  deadline = 0;
  /** Id of the connection that carries it. Set when it is sent. */
  connection = 0;
  /** The complete reply by which the server refused this command alone, such as "out of memory". */
  refusal: StoreProtocolError | undefined;
  #ended = false;

  constructor(
    readonly server: string,
    readonly type: string,
    readonly command: string,
    /** For tracing only. */
    readonly key?: string | readonly string[],
  ) {}

  /**
   * Ends the command, with its error or its reply. The client itself calls it only when it could not
   * write the command.
   */
  callback = (error: unknown, _reply?: unknown): void => {
    this.#ended = true;
    if (error === undefined || error === null) this.succeeded();
    else if (error instanceof StoreError) this.failed(error);
    else this.failed(new StoreUnavailableError(`memcached ${this.server} did not take '${this.type}'.`, { cause: error }));
  };

  /** Bytes of the data block that comes next, or -1 when a line does. */
  get dataLength(): number {
    return -1;
  }

  /** Ends the command with an error. Has no effect on one that has ended. */
  fail(error: StoreError): void {
    if (!this.#ended) this.callback(error);
  }

  /** The connection that it had to be sent through is gone. Only conditional commands name one. */
  outdated(): void {
    this.fail(new StoreUnavailableError(`The connection to memcached ${this.server} is gone.`));
  }

  /** Takes the next data block of the reply, in which each character is a byte. */
  takeData(data: string): void {
    throw new StoreProtocolError(`memcached ${this.server} answered '${this.type}' with ${show(data)}.`);
  }

  /**
   * Takes the next line of the reply, from `start` to `end` of what was received. Returns whether it
   * was the last.
   * @throws StoreProtocolError when this is no reply to this command; the connection is then useless
   */
  abstract takeLine(text: string, start: number, end: number): boolean;

  protected abstract succeeded(): void;
  protected abstract failed(error: StoreError): void;

  /** Ends the command with its reply. */
  protected succeed(reply?: unknown): void {
    if (!this.#ended) this.callback(undefined, reply);
  }

  /** The error for a reply that refuses this command alone. */
  protected refusalOf(message: string, _line: string): StoreProtocolError {
    return new StoreProtocolError(message);
  }

  /** The reply is none of those that the command has of its own. */
  protected takeError(line: string): boolean {
    const message = `memcached ${this.server} answered '${this.type}' with ${show(line)}.`;
    if (line.startsWith('SERVER_ERROR')) {
      this.refusal = this.refusalOf(message, line);
      this.fail(this.refusal);
      return true;
    }
    const error = new StoreProtocolError(message);
    // After ERROR and CLIENT_ERROR, what was to be the value may be read as further commands.
    throw error;
  }
}

const valueHead = 'VALUE ';
const endLine = 'END';
const casUnique = /^\d{1,20}$/;
/** What a memcached that was started with `-C` gives every value, and takes for any value in a compare-and-swap. */
const noUnique = '0';

/** The server keeps no tokens. It would store over whatever is there, so nothing of its may be used. */
export class NoTokensError extends StoreProtocolError {
  constructor(server: string) {
    super(
      `memcached ${server} gives values no tokens: it was started with -C, or --disable-cas. Start it without, since every compare-and-swap would succeed there.`,
    );
  }
}

/** `gets` for some of the keys of one `MultiGet`. */
export class GetCommand extends Command {
  readonly #keys: readonly string[];
  readonly #request: MultiGet;
  /** Servers answer in the order of the keys, so the next value is looked for from here. */
  #position = 0;
  #key = '';
  #unique = '';
  #dataLength = -1;

  constructor(server: string, keys: readonly string[], request: MultiGet) {
    super(server, 'gets', `gets ${keys.join(' ')}`, keys);
    this.#keys = keys;
    this.#request = request;
    request.sent();
  }

  override get dataLength(): number {
    return this.#dataLength;
  }

  takeLine(text: string, start: number, end: number): boolean {
    if (text.startsWith(valueHead, start)) {
      this.#takeHeader(text, start, end);
      return false;
    }
    if (end - start !== endLine.length || !text.startsWith(endLine, start)) return this.takeError(text.slice(start, end));
    this.succeed(this.#request.items);
    return true;
  }

  /**
   * The flags are not looked at. This store writes 0; what another program wrote under the key is
   * handed over as text, with its token, so that the reader can replace or remove it.
   */
  override takeData(data: string): void {
    this.#dataLength = -1;
    this.#request.items.set(this.#key, { value: fromUtf8(data), token: tokenOf(this.connection, this.#unique) });
  }

  protected succeeded(): void {
    this.#request.settled();
  }

  protected failed(error: StoreError): void {
    this.#request.failed(this.#keys, error);
    this.#request.settled();
  }

  /** `VALUE <key> <flags> <bytes> <cas unique>`, read where it stands: this is done for every value. */
  #takeHeader(text: string, start: number, end: number): void {
    const keyAt = start + valueHead.length;
    let position = this.#position;
    // Servers answer in the order of the keys, and leave out those that they have not.
    while (position < this.#keys.length && !isWordAt(text, keyAt, this.#keys[position] as string)) position += 1;
    // A proxy that collects from several servers may answer in another order.
    if (position === this.#keys.length) position = this.#keys.findIndex((key) => isWordAt(text, keyAt, key));
    const key = this.#keys[position];
    const again = position < this.#position && key !== undefined && this.#request.items.has(key);
    const flagsEnd = key === undefined ? -1 : text.indexOf(' ', keyAt + key.length + 1);
    const bytesEnd = flagsEnd < 0 ? -1 : text.indexOf(' ', flagsEnd + 1);
    const dataLength = bytesEnd < 0 ? -1 : wholeNumberIn(text, flagsEnd + 1, bytesEnd);
    const unique = bytesEnd < 0 ? '' : text.slice(bytesEnd + 1, end);
    if (key === undefined || again || dataLength < 0 || bytesEnd >= end || !casUnique.test(unique)) {
      throw new StoreProtocolError(`memcached ${this.server} answered 'gets' with ${show(text.slice(start, end))}.`);
    }
    if (unique === noUnique) throw new NoTokensError(this.server);
    this.#position = position + 1;
    this.#key = key;
    this.#unique = unique;
    this.#dataLength = dataLength;
  }
}

/** Whether this word stands there, with a space after it. */
const isWordAt = (text: string, at: number, word: string): boolean =>
  text.startsWith(word, at) && text.charCodeAt(at + word.length) === 0x20;

/** The number of up to ten digits that stands there; -1 if there is none. */
function wholeNumberIn(text: string, start: number, end: number): number {
  if (end <= start || end > start + 10) return -1;
  let number = 0;
  for (let at = start; at < end; at += 1) {
    const digit = text.charCodeAt(at) - 0x30;
    if (digit < 0 || digit > 9) return -1;
    number = number * 10 + digit;
  }
  return number;
}

/** The text whose UTF-8 bytes are the characters of `bytes`. */
function fromUtf8(bytes: string): string {
  // Bytes above 127 are one character here and two bytes in UTF-8: this finds them fastest.
  return Buffer.byteLength(bytes) === bytes.length ? bytes : Buffer.from(bytes, 'latin1').toString('utf8');
}

const noFailures: ReadonlyMap<string, Error> = new Map();

/** One `get` of the store, which its commands fill; it resolves when the last one has settled. */
export class MultiGet {
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

type OutcomeVerb = 'add' | 'cas' | 'delete';

/** The text of a command whose reply is one word, without its last line break. */
export interface OutcomeRequest {
  readonly verb: OutcomeVerb;
  readonly key: string;
  readonly text: string;
}

/** @param bytes the value's length in UTF-8 */
export function addRequest(key: string, value: string, bytes: number, ttlSeconds: number): OutcomeRequest {
  return { verb: 'add', key, text: `add ${key} 0 ${expiryOf(ttlSeconds)} ${String(bytes)}\r\n${value}` };
}

/**
 * @param bytes the value's length in UTF-8
 * @param unique from `readToken`
 */
export function swapRequest(
  key: string,
  value: string,
  bytes: number,
  ttlSeconds: number,
  unique: string,
): OutcomeRequest {
  return { verb: 'cas', key, text: `cas ${key} 0 ${expiryOf(ttlSeconds)} ${String(bytes)} ${unique}\r\n${value}` };
}

/**
 * The earliest expiry that memcached takes for a date, one in January 1970. It also takes a negative
 * number for "expired", but twemproxy closes the connection over one.
 */
const longPast = 60 * 60 * 24 * 30 + 1;

/**
 * memcached has no conditional delete in its text protocol, but an item that is stored with an expiry
 * in the past is expired from the start.
 * @param unique from `readToken`
 */
export function conditionalDeleteRequest(key: string, unique: string): OutcomeRequest {
  return { verb: 'cas', key, text: `cas ${key} 0 ${String(longPast)} 0 ${unique}\r\n` };
}

export function deleteRequest(key: string): OutcomeRequest {
  return { verb: 'delete', key, text: `delete ${key}` };
}

/** memcached takes more seconds than these for a date, in Unix time. */
const longestRelativeExpiry = 60 * 60 * 24 * 30;
/** It parses an expiry as a signed 32-bit number, and refuses what is more. */
const latestExpiry = 2 ** 31 - 1;

function expiryOf(ttlSeconds: number): string {
  const seconds = wholeSeconds(ttlSeconds);
  if (seconds <= longestRelativeExpiry) return String(seconds);
  return String(Math.min(Math.ceil(wallClock() / 1000) + seconds, latestExpiry));
}

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

/** Reads why memcached refused a value from its reply. Its wording has been the same since version 1.2. */
function refusalReason(line: string): RefusalReason {
  if (line.includes('too large')) return 'too-large';
  return line.includes('out of memory') ? 'out-of-memory' : 'refused';
}

/** A command whose reply is one word. */
export class OutcomeCommand extends Command {
  readonly #verb: OutcomeVerb;
  readonly #resolve: (done: boolean) => void;
  readonly #reject: (error: StoreError) => void;
  #outcome = false;

  constructor(
    server: string,
    request: OutcomeRequest,
    resolve: (done: boolean) => void,
    reject: (error: StoreError) => void,
  ) {
    super(server, request.verb, request.text, request.key);
    this.#verb = request.verb;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  takeLine(text: string, start: number, end: number): boolean {
    const line = text.slice(start, end);
    const outcome = outcomes[this.#verb].get(line);
    if (outcome === undefined) return this.takeError(line);
    this.#outcome = outcome;
    this.succeed(outcome);
    return true;
  }

  override outdated(): void {
    this.succeed(false);
  }

  protected succeeded(): void {
    this.#resolve(this.#outcome);
  }

  protected failed(error: StoreError): void {
    this.#reject(error);
  }

  protected override refusalOf(message: string, line: string): StoreRefusedError {
    return new StoreRefusedError(message, refusalReason(line));
  }
}

/** Asks whether the server answers. */
export class VersionCommand extends Command {
  readonly #settle: (failure: StoreError | undefined) => void;

  constructor(server: string, settle: (failure: StoreError | undefined) => void) {
    super(server, 'version', 'version');
    this.#settle = settle;
  }

  takeLine(text: string, start: number, end: number): boolean {
    if (!text.startsWith('VERSION ', start)) return this.takeError(text.slice(start, end));
    this.succeed(text.slice(start, end));
    return true;
  }

  protected succeeded(): void {
    this.#settle(undefined);
  }

  protected failed(error: StoreError): void {
    this.#settle(error);
  }
}

/** Asks a server that gave no tokens whether it gives them now. */
export class SettingsCommand extends Command {
  readonly #settle: (failure: StoreError | undefined) => void;
  #givesTokens = false;

  constructor(server: string, settle: (failure: StoreError | undefined) => void) {
    super(server, 'stats settings', 'stats settings');
    this.#settle = settle;
  }

  takeLine(text: string, start: number, end: number): boolean {
    const line = text.slice(start, end);
    if (line === 'STAT cas_enabled yes') this.#givesTokens = true;
    if (line.startsWith('STAT ')) return false;
    if (line !== endLine) return this.takeError(line);
    if (this.#givesTokens) this.succeed(line);
    else this.fail(new NoTokensError(this.server));
    return true;
  }

  protected succeeded(): void {
    this.#settle(undefined);
  }

  protected failed(error: StoreError): void {
    this.#settle(error);
  }
}

// ---- Tokens -----------------------------------------------------------------------------------

const issuedToken = /^(\d{1,15})\.(\d{1,20})$/;

/**
 * A token is the id of the connection that it was read through, and memcached's "cas unique".
 *
 * memcached counts that number from 1 again after a restart, so a number from before can fit
 * another value afterwards. No connection outlives the server's process: a token that is used only
 * through its own connection cannot be mistaken, and therefore a key always takes the same one. When
 * that is gone, nothing is known of the value any more, and the command's answer is "not the same".
 */
function tokenOf(connection: number, unique: string): StoreToken {
  return `${String(connection)}.${unique}`;
}

/** The parts of a token; for one that this store did not issue, parts that fit nothing. */
export function readToken(token: StoreToken): [connection: number, unique: string] {
  const [, connection = '0', unique = '0'] = issuedToken.exec(token) ?? [];
  return [Number(connection), unique];
}
