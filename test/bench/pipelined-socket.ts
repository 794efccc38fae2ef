/**
 * The limit: `get` in memcached's text protocol on one socket, and nothing else. No other command,
 * no deadline, no second server, no reconnection; what is asked in one tick is sent in one write.
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';

/** A socket to `host:port`, `[ipv6]:port` or the path of a Unix socket. */
export function connectTo(server: string): Socket {
  if (server.startsWith('/')) return connect(server);
  const { hostname, port } = new URL(`memcached://${server}`);
  return connect({ host: hostname.replace(/^\[|\]$/g, ''), port: Number(port || 11211), noDelay: true });
}

/** In bytes, about: what is handed to the socket at once. */
const pieceLength = 256 * 1024;

/**
 * Stores very many values, as ASCII keys and what is under them.
 * @throws Error if the server did not take all of them
 */
export async function storeAll(server: string, ids: readonly number[], entryOf: (id: number) => readonly [key: string, value: string]): Promise<void> {
  const socket = connectTo(server);
  socket.setEncoding('latin1');
  let answer = '';
  socket.on('data', (text: string) => {
    answer += text;
  });
  const closed = once(socket, 'close');
  let piece = '';
  for (const id of ids) {
    const [key, value] = entryOf(id);
    piece += `set ${key} 0 86400 ${String(Buffer.byteLength(value))} noreply\r\n${value}\r\n`;
    if (piece.length < pieceLength) continue;
    if (!socket.write(piece)) await once(socket, 'drain');
    piece = '';
  }
  // What was refused is answered in spite of `noreply`.
  socket.write(`${piece}version\r\nquit\r\n`);
  await closed;
  if (!/^VERSION [^\r]*\r\n$/.test(answer)) throw new Error(`memcached answered '${answer.slice(0, 60)}'.`);
}

interface Waiter {
  readonly key: string;
  readonly resolve: (value: unknown) => void;
  readonly reject: (error: Error) => void;
}

/** `END\r\n`, by which a reply without a value begins, and every reply ends. */
const end = 'END\r\n';
const [digit0, digit9] = [0x30, 0x39];

/** Replies come in the order of the requests. */
export class PipelinedSocket {
  readonly #socket: Socket;
  readonly #waiters: Waiter[] = [];
  /** The first waiter that has no reply yet. */
  #next = 0;
  #unsent = '';
  /** What came of a reply that is not complete. */
  #pieces: Buffer[] = [];
  #pieceBytes = 0;
  /** So many bytes a reply has at least; to look before would be in vain. */
  #needed = end.length;
  #failure: Error | undefined;

  constructor(server: string) {
    this.#socket = connectTo(server);
    this.#socket.on('data', (chunk: Buffer) => {
      this.#received(chunk);
    });
    this.#socket.on('error', (error) => {
      this.#fail(error);
    });
    this.#socket.on('close', () => {
      this.#fail(new Error('memcached closed the connection.'));
    });
  }

  /** The value under an ASCII key, parsed as JSON; undefined if there is none. */
  get(key: string): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== undefined) {
        reject(this.#failure);
        return;
      }
      if (this.#unsent === '') process.nextTick(this.#send);
      this.#unsent += `get ${key}\r\n`;
      this.#waiters.push({ key, resolve, reject });
    });
  }

  close(): void {
    this.#socket.destroy();
  }

  readonly #send = (): void => {
    this.#socket.write(this.#unsent, 'latin1');
    this.#unsent = '';
  };

  #received(chunk: Buffer): void {
    let data = chunk;
    if (this.#pieceBytes > 0) {
      this.#pieces.push(chunk);
      this.#pieceBytes += chunk.length;
      if (this.#pieceBytes < this.#needed) return;
      data = Buffer.concat(this.#pieces, this.#pieceBytes);
      this.#pieces = [];
      this.#pieceBytes = 0;
    }
    const rest = this.#parse(data);
    if (rest < data.length) {
      this.#pieces.push(data.subarray(rest));
      this.#pieceBytes = data.length - rest;
    }
    // All are answered mostly; the others move up once in a while.
    if (this.#next === this.#waiters.length) {
      this.#waiters.length = 0;
      this.#next = 0;
    } else if (this.#next > 1000) {
      this.#waiters.splice(0, this.#next);
      this.#next = 0;
    }
  }

  /** Answers the waiters whose replies are complete. @returns where the first incomplete one begins */
  #parse(data: Buffer): number {
    let at = 0;
    this.#needed = end.length;
    while (at + end.length <= data.length) {
      const waiter = this.#waiters[this.#next];
      if (waiter === undefined) {
        this.#fail(new Error('memcached sent a reply that nobody asked for.'));
        return data.length;
      }
      if (data[at] === 0x45 && data[at + 1] === 0x4e) {
        this.#next += 1;
        at += end.length;
        waiter.resolve(undefined);
        continue;
      }
      if (data[at] !== 0x56) {
        this.#fail(new Error(`memcached answered '${data.toString('latin1', at, at + 60)}'.`));
        return data.length;
      }
      // VALUE key flags bytes\r\n
      let byte = at + 'VALUE '.length + waiter.key.length + 1;
      while (byte < data.length && isDigit(data[byte]!)) byte += 1;
      byte += 1;
      let length = 0;
      while (byte < data.length && isDigit(data[byte]!)) {
        length = length * 10 + data[byte]! - digit0;
        byte += 1;
      }
      if (byte >= data.length) return at;
      const from = byte + 2;
      const next = from + length + 2 + end.length;
      if (next > data.length) {
        this.#needed = next - at;
        return at;
      }
      this.#next += 1;
      at = next;
      try {
        waiter.resolve(JSON.parse(data.toString('utf8', from, from + length)));
      } catch (error) {
        waiter.reject(error as SyntaxError);
      }
    }
    return at;
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    for (const { reject } of this.#waiters.splice(0).slice(this.#next)) reject(error);
    this.#next = 0;
    this.#socket.destroy();
  }
}

const isDigit = (byte: number): boolean => byte >= digit0 && byte <= digit9;
