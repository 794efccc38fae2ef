/** `MemcachedStore`: a store on memcached servers, through the optional peer dependency `memcached`. */
import { announceCopy } from '../copies.js';
import { InvalidOptionError } from '../errors.js';
import { clientClass, isNotFound, type ClientConstructor } from './memcached-client.js';
import { readEnvironment } from './memcached-env.js';
import type { MemcachedStoreOptions } from './memcached-options.js';
import { ClientStore } from './memcached-store.js';

export type { MemcachedClientClass, MemcachedStoreOptions, ServerStateChange } from './memcached-options.js';

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
export class MemcachedStore extends ClientStore {
  /**
   * Connects on first use.
   * @param servers `host:port`, `host` (port 11211), `[ipv6]:port` or the path of a Unix socket
   * @throws InvalidOptionError for a wrong server or option, or when `memcached` cannot be loaded
   */
  constructor(servers: string | readonly string[], options: MemcachedStoreOptions = {}) {
    super(servers, options, loadClient);
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
  const described = readEnvironment(env);
  return described && new MemcachedStore(described.servers, { ...options, ...described.options });
}

/** Loads the package when the first store is made: this module can be imported without it. */
function loadClient(): ClientConstructor {
  try {
    return clientClass(requireClient());
  } catch (cause) {
    if (cause instanceof InvalidOptionError) throw cause;
    throw new InvalidOptionError(
      isNotFound(cause)
        ? "MemcachedStore needs the package 'memcached', an optional peer dependency, and this program cannot find it. Install it, npm install memcached, or pass a client class: new MemcachedStore(servers, { client: Memcached })."
        : `MemcachedStore could not load the package 'memcached' (${reasonOf(cause)}). Import it in your program and pass its class: new MemcachedStore(servers, { client: Memcached }).`,
      { cause },
    );
  }
}

/**
 * Not in the `try` itself: Rollup leaves a `require` alone that stands in one. Bundlers take the package
 * along as with any other import.
 */
function requireClient(): unknown {
  return require('memcached');
}

function reasonOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}

announceCopy();
