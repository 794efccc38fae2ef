/** What memcached itself has counted, read through connections of its own. */
import type { Socket } from 'node:net';
import { connectTo } from './pipelined-socket.js';

/** `stats` of one server. */
export type Stats = ReadonlyMap<string, string>;

/** What came to all servers together, and what went from them. */
export interface Traffic {
  /** As memcached counts them: each key of a multi-get is one. */
  readonly commands: number;
  readonly bytesTo: number;
  readonly bytesFrom: number;
}

/** What memcached counts a command in: reads, writes of any kind, deletions. */
const commandCounters = ['cmd_get', 'cmd_set', 'cmd_touch', 'cmd_meta', 'delete_hits', 'delete_misses'];

const request = 'stats';
const end = 'END\r\n';

/** One connection for each server. */
export class MemcachedStats {
  readonly #servers: readonly StatsConnection[];

  constructor(servers: readonly string[]) {
    this.#servers = servers.map((server) => new StatsConnection(server));
  }

  /** Why a server is not fresh, for each that is not. */
  async notFresh(): Promise<readonly string[]> {
    const all = await Promise.all(this.#servers.map(async (server) => notFresh(server.name, await server.read())));
    return all.filter((reason) => reason !== undefined);
  }

  /** So far, without what was asked and answered here. */
  async traffic(): Promise<Traffic> {
    const all = await Promise.all(
      this.#servers.map(async (server) => {
        const { sent, received } = server;
        return { stats: await server.read(), sent: sent + request.length + 2, received };
      }),
    );
    const sum = (of: (one: (typeof all)[number]) => number): number => all.reduce((total, one) => total + of(one), 0);
    return {
      commands: sum(({ stats }) => commandCounters.reduce((total, name) => total + numberOf(stats, name), 0)),
      bytesTo: sum(({ stats, sent }) => numberOf(stats, 'bytes_read') - sent),
      bytesFrom: sum(({ stats, received }) => numberOf(stats, 'bytes_written') - received),
    };
  }

  close(): void {
    for (const server of this.#servers) server.close();
  }
}

/** Some of `stats` and `stats slabs` of one server. */
export interface ServerStats {
  readonly items: number;
  /** Of the items: keys, values and memcached's own header of each. */
  readonly bytes: number;
  /** What was taken from the system for items, in whole pages: what `-m` has to allow. */
  readonly allocated: number;
  readonly evictions: number;
  readonly connections: number;
  /** Processor time so far, in microseconds. */
  readonly cpu: number;
}

/** Asks a server, through a connection for this question alone. */
export async function statsOf(server: { readonly address: string }): Promise<ServerStats> {
  const connection = new StatsConnection(server.address);
  try {
    const stats = new Map([...(await connection.read()), ...(await connection.read('stats slabs'))]);
    return {
      items: numberOf(stats, 'curr_items'),
      bytes: numberOf(stats, 'bytes'),
      allocated: numberOf(stats, 'total_malloced'),
      evictions: numberOf(stats, 'evictions'),
      connections: numberOf(stats, 'curr_connections'),
      cpu: Math.round((numberOf(stats, 'rusage_user') + numberOf(stats, 'rusage_system')) * 1e6),
    };
  } finally {
    connection.close();
  }
}

/** Why a server is not fresh; undefined if it is. What others store there takes room and time. */
export function notFresh(server: string, stats: Stats): string | undefined {
  const [items, writes] = [numberOf(stats, 'curr_items'), numberOf(stats, 'cmd_set')];
  if (items === 0 && writes === 0) return undefined;
  return `memcached at ${server} is not fresh: it holds ${String(items)} items and has stored ${String(writes)}`;
}

/** The lines `STAT name value` of a reply. */
export const parseStats = (reply: string): Stats =>
  new Map(
    reply
      .split('\r\n')
      .filter((line) => line.startsWith('STAT '))
      .map((line) => {
        const [, name = '', ...value] = line.split(' ');
        return [name, value.join(' ')];
      }),
  );

/** A counter that every memcached has, but for those of commands that an older one does not know. */
export function numberOf(stats: Stats, name: string): number {
  const value = stats.get(name);
  if (value === undefined && name !== 'cmd_meta') throw new Error(`memcached has no statistic '${name}'.`);
  const number = Number(value ?? 0);
  if (Number.isNaN(number)) throw new Error(`memcached's statistic '${name}' is no number: '${String(value)}'.`);
  return number;
}

class StatsConnection {
  readonly name: string;
  /** Bytes. */
  sent = 0;
  received = 0;
  readonly #socket: Socket;
  #reply = '';
  #waiter: { resolve(stats: Stats): void; reject(error: Error): void } | undefined;

  constructor(server: string) {
    this.name = server;
    this.#socket = connectTo(server);
    this.#socket.setEncoding('latin1');
    this.#socket.on('data', (chunk: string) => {
      this.#reply += chunk;
      if (!this.#reply.endsWith(end)) return;
      this.received += this.#reply.length;
      this.#waiter?.resolve(parseStats(this.#reply));
      this.#waiter = undefined;
      this.#reply = '';
    });
    const fail = (error: Error): void => {
      this.#waiter?.reject(error);
      this.#waiter = undefined;
    };
    this.#socket.on('error', fail);
    this.#socket.on('close', () => {
      fail(new Error(`memcached at ${server} closed the connection.`));
    });
  }

  /** One at a time. */
  read(what = request): Promise<Stats> {
    return new Promise((resolve, reject) => {
      if (this.#socket.destroyed) {
        reject(new Error(`The connection to memcached at ${this.name} is closed.`));
        return;
      }
      this.#waiter = { resolve, reject };
      const line = `${what}\r\n`;
      this.sent += line.length;
      this.#socket.write(line);
    });
  }

  close(): void {
    this.#socket.destroy();
  }
}
