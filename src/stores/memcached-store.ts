/**
 * `ClientStore`: the operations of `Store` on one or many memcached servers, with a client class that it is
 * given. `memcached.ts` has the one that programs make, with the `memcached` package as client.
 *
 * From the top: the store maps keys to servers (`rendezvous.ts`), a `MemcachedServer` stands between
 * requests and its circuit breaker, a `Connection` owns one socket with its deadline, a `Command`
 * knows its own request and reply (`memcached-protocol.ts`).
 */
import { StoreClosedError, type StoreError } from '../errors.js';
import { checkKey, keyProblem, valueBytes } from './checks.js';
import type { ClientConstructor } from './memcached-client.js';
import { parseServers, resolveOptions, type MemcachedStoreOptions } from './memcached-options.js';
import {
  addRequest,
  conditionalDeleteRequest,
  deleteRequest,
  GetCommand,
  MultiGet,
  OutcomeCommand,
  readToken,
  swapRequest,
  type OutcomeRequest,
} from './memcached-protocol.js';
import { MemcachedServer, type Route } from './memcached-server.js';
import { bestOf, hashOf } from './rendezvous.js';
import type { ServerHealth, ServerState, Store, StoreReply, StoreToken } from './store.js';

/** A store on memcached servers through a client class. `MemcachedStore` says what it promises. */
export class ClientStore implements Store {
  readonly name: string;
  readonly maxValueBytes: number;
  readonly maxPending: number;
  readonly servers: readonly string[];
  readonly #batchSize: number;
  readonly #servers: readonly MemcachedServer[];
  /** Set where there is nothing to choose. */
  readonly #onlyRoute: Route | undefined;
  #closed: StoreClosedError | undefined;

  /** @param load gives the client's class, where the options do not */
  constructor(servers: string | readonly string[], options: MemcachedStoreOptions, load: () => ClientConstructor) {
    const addresses = parseServers(servers);
    const resolved = resolveOptions(options);
    const Client = resolved.client ?? load();
    this.name = `memcached(${addresses.map(({ name }) => name).join(', ')})`;
    this.maxValueBytes = resolved.maxValueBytes;
    this.maxPending = resolved.maxPending;
    this.#batchSize = resolved.batchSize;
    this.#servers = addresses.map((address) => new MemcachedServer(address, Client, resolved));
    this.servers = Object.freeze(this.#servers.map(({ name }) => name));
    const [first, second] = this.#servers.flatMap(({ routes }) => routes);
    this.#onlyRoute = second === undefined ? first : undefined;
  }

  get(keys: readonly string[]): Promise<StoreReply> {
    return new Promise((resolve) => {
      const request = new MultiGet(resolve);
      for (const [route, own] of this.#byRoute(keys, request)) {
        for (let start = 0; start < own.length; start += this.#batchSize) {
          const batch = own.length <= this.#batchSize ? own : own.slice(start, start + this.#batchSize);
          route.server.send(new GetCommand(route.server.name, batch, request), route.place);
        }
      }
      request.allSent();
    });
  }

  add(key: string, value: string, ttlSeconds: number): Promise<boolean> {
    return new Promise((resolve, reject) => {
      checkKey(key);
      const bytes = valueBytes(value, this.maxValueBytes);
      this.#send(key, addRequest(key, value, bytes, ttlSeconds), resolve, reject);
    });
  }

  compareAndSwap(key: string, value: string, token: StoreToken, ttlSeconds: number): Promise<boolean> {
    return new Promise((resolve, reject) => {
      checkKey(key);
      const bytes = valueBytes(value, this.maxValueBytes);
      const [connection, unique] = readToken(token);
      this.#send(key, swapRequest(key, value, bytes, ttlSeconds, unique), resolve, reject, connection);
    });
  }

  compareAndDelete(key: string, token: StoreToken): Promise<boolean> {
    return new Promise((resolve, reject) => {
      checkKey(key);
      const [connection, unique] = readToken(token);
      this.#send(key, conditionalDeleteRequest(key, unique), resolve, reject, connection);
    });
  }

  delete(key: string): Promise<boolean> {
    return new Promise((resolve, reject) => {
      checkKey(key);
      this.#send(key, deleteRequest(key), resolve, reject);
    });
  }

  /** Keys of one connection: it carries commands in order, and a token dies with its connection. */
  inOrder(first: string, second: string): boolean {
    return this.#routeOf(first) === this.#routeOf(second);
  }

  state(): readonly ServerState[] {
    return this.#servers.map(({ state }) => state);
  }

  health(): Promise<readonly ServerHealth[]> {
    return Promise.all(this.#servers.map((server) => server.ping()));
  }

  close(): Promise<void> {
    this.#closed ??= new StoreClosedError(`The store ${this.name} was closed.`);
    for (const server of this.#servers) server.close(this.#closed);
    return Promise.resolve();
  }

  #send(
    key: string,
    request: OutcomeRequest,
    resolve: (done: boolean) => void,
    reject: (error: StoreError) => void,
    connection?: number,
  ): void {
    const { server, place } = this.#routeOf(key);
    server.send(new OutcomeCommand(server.name, request, resolve, reject), place, connection);
  }

  /** The legal ones of `keys` by the route they take; the others are failed. */
  #byRoute(keys: readonly string[], request: MultiGet): Map<Route, string[]> {
    const groups = new Map<Route, string[]>();
    let route: Route | undefined;
    let group: string[] = [];
    for (const key of keys) {
      const problem = keyProblem(key);
      if (problem !== undefined) {
        request.failed([key], problem);
        continue;
      }
      const own = this.#routeOf(key);
      if (own !== route) {
        route = own;
        group = groups.get(route) ?? [];
        groups.set(route, group);
      }
      group.push(key);
    }
    return groups;
  }

  #routeOf(key: string): Route {
    if (this.#onlyRoute !== undefined) return this.#onlyRoute;
    const hash = hashOf(key);
    return bestOf(this.#servers, hash).routeOf(hash);
  }
}
