/** A TCP proxy on loopback in front of a real server, for networks that are slow, silent or broken. */
import { once } from 'node:events';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from './memcached-process.js';

/**
 * What happens to bytes and connections, open ones and new ones alike.
 * - `pass`: everything is forwarded.
 * - `{ delay }`: it is, each piece so many milliseconds after it came, in order.
 * - `blackhole`: connections are accepted and nothing is forwarded. What arrives is held and delivered
 *   when the mode changes, also from clients that gave up and are gone, as TCP does after a partition.
 * - `reset`: connections are reset.
 * - `refuse`: connections are reset, and nobody listens on the port.
 */
export type ProxyMode = 'pass' | 'blackhole' | 'reset' | 'refuse' | { readonly delay: number };

/** A piece of a stream on its way. */
export interface Piece {
  readonly from: 'client' | 'server';
  readonly data: Buffer;
  /** Number of the connection, from 1. */
  readonly connection: number;
}

/**
 * Says what becomes of a piece. `reset`: it is lost, and the connection is reset on both sides. A
 * number: so many of its bytes are forwarded first.
 */
export type Filter = (piece: Piece) => 'forward' | 'reset' | number;

/** A proxy under the test's control. */
export interface TcpProxy {
  readonly port: number;
  /** `127.0.0.1:port` */
  readonly address: string;
  /** Connections accepted so far. */
  readonly connections: number;
  readonly mode: ProxyMode;
  /** Switches; resolves when it is in effect. */
  set(mode: ProxyMode): Promise<void>;
  /** Looks at every piece that would be forwarded; without argument none is looked at. */
  filter(filter?: Filter): void;
  /** Resets the connections that are open now. */
  cut(): void;
  /** Ends it and every connection; calling it again has no effect. */
  close(): Promise<void>;
}

const host = '127.0.0.1';

/**
 * Starts a proxy in front of a server.
 * @param target a port of loopback, or `host:port`
 */
export async function startTcpProxy(target: number | string): Promise<TcpProxy> {
  const [targetHost, targetPort] = typeof target === 'number' ? [host, target] : splitAddress(target);
  const links = new Set<Link>();
  let mode: ProxyMode = 'pass';
  let filter: Filter = () => 'forward';
  let connections = 0;
  let leave: () => void = () => undefined;
  /** Resolves when the mode is left. */
  let left = Promise.resolve();
  const gate = async (): Promise<void> => {
    if (typeof mode === 'object') await sleep(mode.delay);
    while (mode === 'blackhole') await left;
  };
  const accept = (client: Socket): void => {
    connections += 1;
    if (mode === 'reset') {
      client.resetAndDestroy();
      return;
    }
    const link = new Link(client, connect(targetPort, targetHost), connections, gate, (piece) => filter(piece), () => links.delete(link));
    links.add(link);
  };
  const port = await freePort();
  let server: Server | undefined = await listen(port, accept);
  const cut = (): void => {
    for (const link of links) link.reset();
  };
  const unlisten = async (): Promise<void> => {
    const listening = server;
    server = undefined;
    if (listening === undefined) return;
    const closed = once(listening, 'close');
    listening.close();
    cut();
    await closed;
  };
  let closed = false;
  return {
    port,
    address: `${host}:${String(port)}`,
    get connections() {
      return connections;
    },
    get mode() {
      return mode;
    },
    set: async (next) => {
      const leaving = leave;
      mode = next;
      left = new Promise((resolve) => {
        leave = resolve;
      });
      leaving();
      if (next === 'reset') cut();
      if (next === 'refuse') await unlisten();
      else if (!closed) server ??= await listen(port, accept);
    },
    filter: (next = () => 'forward') => {
      filter = next;
    },
    cut,
    close: async () => {
      closed = true;
      mode = 'reset';
      leave();
      await unlisten();
    },
  };
}

/** A client's connection and the one to the server that stands for it. */
class Link {
  readonly #client: Socket;
  readonly #server: Socket;
  readonly #ended: () => void;
  #reset = false;

  constructor(
    client: Socket,
    server: Socket,
    connection: number,
    gate: () => Promise<void>,
    filter: Filter,
    ended: () => void,
  ) {
    this.#client = client;
    this.#server = server;
    this.#ended = ended;
    for (const [from, source, sink] of [
      ['client', client, server],
      ['server', server, client],
    ] as const) {
      source.setNoDelay(true);
      // Each piece waits for the one before it, so that they stay in order whatever the mode becomes.
      let last = Promise.resolve();
      const inTurn = (act: () => void): void => {
        const passed = gate();
        last = last
          .then(() => passed)
          .then(() => {
            if (!this.#reset) act();
          });
      };
      source.on('data', (data) => {
        inTurn(() => {
          const verdict = filter({ from, data, connection });
          if (verdict === 'reset') this.reset();
          else if (sink.destroyed) return;
          else if (verdict === 'forward') sink.write(data);
          else {
            sink.write(data.subarray(0, verdict), () => {
              this.reset();
            });
          }
        });
      });
      source.on('end', () => {
        inTurn(() => {
          sink.end();
        });
      });
      // An error is followed by 'close'.
      source.on('error', () => undefined);
      source.on('close', (broken) => {
        inTurn(() => {
          if (broken) this.reset();
          else if (!sink.destroyed) sink.end();
          if (this.#client.destroyed && this.#server.destroyed) this.#ended();
        });
      });
    }
  }

  /** What is on its way is lost. */
  reset(): void {
    this.#reset = true;
    for (const socket of [this.#client, this.#server]) {
      // A reset of a socket that is being ended keeps Node 20 from exiting: its handle is never closed.
      if (socket.connecting || socket.writableEnded) socket.destroy();
      else socket.resetAndDestroy();
    }
    this.#ended();
  }
}

async function listen(port: number, accept: (client: Socket) => void): Promise<Server> {
  const server = createServer({ allowHalfOpen: true }, accept);
  server.listen(port, host);
  await once(server, 'listening');
  return server;
}

function splitAddress(address: string): [host: string, port: number] {
  const [, name = '', port = ''] = /^(.+):(\d+)$/.exec(address) ?? [];
  if (name === '') throw new RangeError(`'${address}' is no host:port.`);
  return [name, Number(port)];
}
