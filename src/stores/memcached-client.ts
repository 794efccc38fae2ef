/** The class of the `memcached` package, however it reaches this package. */
import type { Socket } from 'node:net';
import { InvalidOptionError } from '../errors.js';
import { show } from '../options.js';
import type { Command } from './memcached-protocol.js';

/** What this store uses of a client of the `memcached` package: `command`, and two methods that are replaced. */
export interface Client {
  /** Takes a connection with `connect`, pushes the query on its `metaData`, and writes it. */
  command(compile: () => ClientQuery, server: string): void;
  connect(server: string, callback: (error: unknown, socket: ClientSocket) => void): void;
  connectionIssue(error: unknown, socket: unknown): void;
}

export type ClientConstructor = new (server: string, options: { readonly poolSize: number; readonly maxQueueSize: number }) => Client;

/** A command as the package writes it. Tracing wraps `callback`. */
interface ClientQuery {
  readonly type: string;
  readonly command: string;
  callback: (error: unknown, reply?: unknown) => void;
}

export interface ClientSocket extends Socket {
  /** The commands that were written and not answered, oldest first. */
  readonly metaData: Command[];
}

/**
 * The client class in what was passed or loaded: the class, or a module whose default export it is, as
 * `import * as` and some bundlers have it.
 * @throws InvalidOptionError
 */
export function clientClass(given: unknown): ClientConstructor {
  for (const candidate of [given, (given as { default?: unknown } | null | undefined)?.default]) {
    if (typeof candidate === 'function' && typeof (candidate.prototype as { command?: unknown } | undefined)?.command === 'function') {
      return candidate as ClientConstructor;
    }
  }
  throw new InvalidOptionError(`Option 'client' must be the class of the package 'memcached', whose instances have a method 'command'; received ${show(given)}.`);
}

/** Whether a module could not be loaded because the package `memcached` itself is not there. */
export function isNotFound(cause: unknown): boolean {
  const { code, message } = (cause ?? {}) as { readonly code?: unknown; readonly message?: unknown };
  return (code === 'MODULE_NOT_FOUND' || code === 'ERR_MODULE_NOT_FOUND') && String(message).includes("'memcached'");
}
