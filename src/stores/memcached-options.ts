/** How a `MemcachedStore` is configured: its options and the servers' addresses, checked once. */
import { isIPv6 } from 'node:net';
import { InvalidOptionError } from '../errors.js';
import { show, wholeNumber } from '../options.js';
import { clientClass, type ClientConstructor } from './memcached-client.js';
import type { ServerStateChange } from './server-status.js';

export type { ServerStateChange };

/** The class of the `memcached` package, as far as it matters here. */
export type MemcachedClientClass = new (
  servers: string,
  options: { readonly poolSize: number; readonly maxQueueSize: number },
) => object;

/** Options of a `MemcachedStore`. */
export interface MemcachedStoreOptions {
  /**
   * The class of the package `memcached`, as Sequelize takes a driver by `dialectModule`: for programs that
   * import it themselves, because their bundler does not find it.
   * @default the package, loaded when the store is made
   */
  readonly client?: MemcachedClientClass;
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
  /**
   * Called when a server goes down, when it is back, and when it has no memory left; not for the first
   * connection. Must not throw. The channel `sequelize-flash:server` has the same messages.
   */
  readonly onStateChange?: (change: ServerStateChange) => void;
}

/** `MemcachedStoreOptions` with every default filled in, frozen. */
export type ResolvedOptions = Required<Omit<MemcachedStoreOptions, 'client' | 'onStateChange'>> &
  Pick<MemcachedStoreOptions, 'onStateChange'> & { readonly client?: ClientConstructor };

const others: ReadonlySet<string> = new Set<keyof MemcachedStoreOptions>(['client', 'onStateChange']);

export const defaults = Object.freeze({
  timeoutMs: 250,
  retryMs: 500,
  connectionsPerServer: 1,
  maxPending: 10_000,
  maxValueBytes: 1_000_000,
  batchSize: 200,
});

/** @throws InvalidOptionError that names the option, what it may be and what it was */
export function resolveOptions(given: MemcachedStoreOptions): ResolvedOptions {
  for (const name of Object.keys(given)) {
    if (!Object.hasOwn(defaults, name) && !others.has(name)) {
      const known = [...Object.keys(defaults), ...others].join(', ');
      throw new InvalidOptionError(`MemcachedStore has no option '${name}'. Its options are: ${known}.`);
    }
  }
  const { client, onStateChange } = given;
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
    ...(client === undefined ? {} : { client: clientClass(client) }),
  });
}

export interface ServerAddress {
  /** For messages, events and hashing. */
  readonly name: string;
  /** As the `memcached` package takes it. */
  readonly target: string;
  /** As Node takes it. */
  readonly socket: { readonly host: string; readonly port: number } | { readonly path: string };
}

/**
 * The servers, sorted by name, so that the order in which they were given cannot matter.
 * @param option what to call the list in messages
 * @throws InvalidOptionError
 */
export function parseServers(given: string | readonly string[], option = 'servers'): ServerAddress[] {
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
  if (text.startsWith('/')) return { name: text, target: text, socket: { path: text } };
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
    socket: { host, port },
  };
}
