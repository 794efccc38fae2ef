/**
 * What a store is: the five atomic operations that the coherence protocol stands on.
 *
 * A store sees printable ASCII keys of at most 250 bytes and values that are strings. It knows
 * nothing of models, leases or markers. There is deliberately no unconditional `set`: a command
 * that was given up on may still reach the server later, and only conditional commands are
 * harmless then.
 */

/**
 * Opaque version of one stored value, unique per modification of its key (memcached's "cas
 * unique"): the same token under the same key says that it is the same value, which is then not read
 * again. Valid only with the store that issued it.
 */
export type StoreToken = string;

/** One value as the store holds it, with the token to replace exactly that value. */
export interface StoreItem {
  readonly value: string;
  readonly token: StoreToken;
}

/** The answer to a multi-get. A key that is in neither map is absent from the store. */
export interface StoreReply {
  readonly items: ReadonlyMap<string, StoreItem>;
  /** Keys whose server did not answer, each with the reason. Nothing is known about them. */
  readonly failures: ReadonlyMap<string, Error>;
}

/**
 * - `untried`: nothing was sent to it yet.
 * - `up`: it answers.
 * - `full`: it answers, and refused a value in the last minute because it has no memory for it.
 * - `down`: it does not answer, or answers in a way that cannot be relied on. It is tried again in the background.
 */
export type ServerCondition = 'untried' | 'up' | 'full' | 'down';

/** State of one server of a store. */
export interface ServerState {
  /** The server as messages name it, for example `127.0.0.1:11211`. */
  readonly server: string;
  readonly state: ServerCondition;
  /** When it entered this state. */
  readonly since: Date;
  /** Whether it ever answered this process. */
  readonly reached: boolean;
  /** The last thing that went wrong with it, also where it is up again. */
  readonly lastError?: Error | undefined;
  readonly lastErrorAt?: Date | undefined;
}

/** State of one server, and what it answered just now. */
export interface ServerHealth extends ServerState {
  /** How long it took to answer, in milliseconds; undefined if it did not answer. */
  readonly roundTripMs: number | undefined;
}

/**
 * A cache server as the plugin sees it.
 *
 * Every method settles within the store's own deadline; none waits for a server that is known to
 * be down. `get` reports a failed server per key; the others reject with a `StoreError`. After a
 * rejection it is unknown whether the operation took effect.
 */
export interface Store {
  /** For events and messages, for example `memcached(127.0.0.1:11211)`. */
  readonly name: string;
  /** Largest value in bytes of UTF-8 that the store accepts; larger ones are not offered to it. */
  readonly maxValueBytes: number;
  /**
   * Names of the servers that hold the entries, such as `127.0.0.1:11211`. Two stores that name the same
   * server find each other's entries there. A store without servers leaves it out.
   */
  readonly servers?: readonly string[] | undefined;
  /** The entries are in this process's memory: no other process reads them. */
  readonly isLocal?: boolean | undefined;
  /** The most operations on single keys that it takes at the same time; without it, any number. */
  readonly maxPending?: number | undefined;
  /** The values of all `keys` (each at most once), in as few round trips as there are servers. */
  get(keys: readonly string[]): Promise<StoreReply>;
  /**
   * Stores `value` if the key is absent. Resolves to whether it did.
   * @param ttlSeconds whole seconds, at least 1; 0 means no expiry
   */
  add(key: string, value: string, ttlSeconds: number): Promise<boolean>;
  /**
   * Replaces the value that `token` was read with, and only that one. Resolves to whether it did.
   * @param ttlSeconds whole seconds, at least 1; 0 means no expiry
   */
  compareAndSwap(key: string, value: string, token: StoreToken, ttlSeconds: number): Promise<boolean>;
  /** Removes the value that `token` was read with, and only that one. Resolves to whether it did. */
  compareAndDelete(key: string, token: StoreToken): Promise<boolean>;
  /** Removes whatever is there. Resolves to whether there was something. */
  delete(key: string): Promise<boolean>;
  /**
   * Whether an operation on `first` that is started before one on `second` (conditional on a token)
   * reaches the store before it, and the second takes no effect unless the first did (or the server
   * itself refused the first, which none does with a delete). It saves writes a round trip. A store
   * that cannot promise it leaves it out.
   */
  inOrder?(first: string, second: string): boolean;
  /**
   * The value under a key, at once; `undefined` if there is none. Only where that is no I/O: a lookup
   * that is answered by it waits for nobody, and is not put together with others.
   */
  readonly peek?: ((key: string) => StoreItem | undefined) | undefined;
  /**
   * State of each server, from memory: nothing is sent. A store without servers leaves it out.
   * Changes are published on the channel `sequelize-flash:server` by the store itself.
   */
  state?(): readonly ServerState[];
  /**
   * Asks each server for a sign of life. Settles within the store's own deadline and never rejects. A store
   * without servers leaves it out: the plugin asks it for a key instead.
   */
  readonly health?: (() => Promise<readonly ServerHealth[]>) | undefined;
  /** Ends every connection and timer; pending operations reject. Calling it twice is harmless. */
  close(): Promise<void>;
}
