/** The bare `memcached` client, as promises: what the cache is compared with. */
import Memcached from 'memcached';

/**
 * The `memcached` package with its own settings, but for one: after 5 s without traffic, as between
 * two slices, its pool gives its connections up, and the next lookups wait for a second.
 */
export const openClient = (servers: readonly string[]): Memcached => new Memcached([...servers], { idle: 600_000 });

/** What somebody uses who does without this package. */
export class RawClient {
  readonly #client: Memcached;

  constructor(servers: readonly string[]) {
    this.#client = openClient(servers);
  }

  get(key: string): Promise<string> {
    return this.#call((done) => {
      this.#client.get(key, done);
    });
  }

  getMulti(keys: string[]): Promise<Readonly<Record<string, string>>> {
    return this.#call((done) => {
      this.#client.getMulti(keys, done);
    });
  }

  set(key: string, value: string): Promise<boolean> {
    return this.#call((done) => {
      this.#client.set(key, value, 3600, done);
    });
  }

  delete(key: string): Promise<boolean> {
    return this.#call((done) => {
      this.#client.del(key, done);
    });
  }

  /** `VERSION` of the first server. */
  async version(): Promise<string> {
    const [first] = await this.#call<readonly { readonly version: string }[]>((done) => {
      this.#client.version(done as never);
    });
    return first?.version ?? 'unknown';
  }

  close(): void {
    this.#client.end();
  }

  #call<T>(send: (done: (error: unknown, answer: T) => void) => void): Promise<T> {
    return new Promise((resolve, reject) => {
      send((error, answer) => {
        if (error !== undefined && error !== null) reject(error instanceof Error ? error : new Error('The raw client failed.', { cause: error }));
        else resolve(answer);
      });
    });
  }
}
