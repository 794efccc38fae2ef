/** The memcached servers that the environment names, and the store on them that `setupCache` makes by itself. */
import { InvalidOptionError } from '../errors.js';
import { wholeNumber } from '../options.js';
import { clientClass, isNotFound, type ClientConstructor } from './memcached-client.js';
import { defaults, parseServers, type MemcachedStoreOptions } from './memcached-options.js';
import { ClientStore } from './memcached-store.js';

interface Described {
  readonly servers: readonly string[];
  readonly options: Required<Pick<MemcachedStoreOptions, 'timeoutMs' | 'connectionsPerServer'>>;
}

/**
 * What the environment says, or `undefined` when it names no server.
 * @throws InvalidOptionError that names the variable
 */
export function readEnvironment(env: NodeJS.ProcessEnv): Described | undefined {
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
  return {
    servers,
    options: {
      timeoutMs: fromVariable('SEQUELIZE_FLASH_MEMCACHED_TIMEOUT_MS', defaults.timeoutMs, 60_000, 'milliseconds'),
      connectionsPerServer: fromVariable(
        'SEQUELIZE_FLASH_MEMCACHED_CONNECTIONS',
        defaults.connectionsPerServer,
        64,
        'connections',
      ),
    },
  };
}

/**
 * The store of `setupCache`, where it is given none. The program may not have the package `memcached`, so
 * this module never needs it, nor does a bundle that it is part of.
 * @throws InvalidOptionError
 */
export function storeFromEnvironment(env: NodeJS.ProcessEnv): ClientStore | undefined {
  const described = readEnvironment(env);
  return described && new ClientStore(described.servers, described.options, loadClient);
}

/**
 * The `require` stands in the `try` itself: so bundlers take it for one that may fail, and do not fail when
 * the package is not installed. There is none in an ES module bundle that left the package out.
 */
function loadClient(): ClientConstructor {
  try {
    return clientClass(require('memcached'));
  } catch (cause) {
    throw new InvalidOptionError(
      isNotFound(cause)
        ? "setupCache cannot find the package 'memcached', which the servers in SEQUELIZE_FLASH_MEMCACHED need. Install it, npm install memcached, or pass a store as { store }."
        : "setupCache cannot load the package 'memcached' here, as in an ES module bundle: pass a store for the servers in SEQUELIZE_FLASH_MEMCACHED, { store: new MemcachedStore(servers) }, imported from 'sequelize-flash/stores/memcached'.",
      { cause },
    );
  }
}
