/** A store in memory that counts what it is asked, takes a turn to answer, and can be down. */
import { setImmediate } from '../clock.js';
import { StoreUnavailableError } from '../errors.js';
import type { MemoryStore } from '../stores/memory.js';
import type { ServerState, Store, StoreReply, StoreToken } from '../stores/store.js';

/** One operation that the store was asked for. */
export interface Asked {
  readonly operation: 'get' | 'add' | 'compareAndSwap' | 'compareAndDelete' | 'delete';
  readonly keys: readonly string[];
}

/** Operations that are under way together, and share their fate. */
interface Trip {
  readonly arrival: Promise<void>;
  readonly down: boolean;
}

/** What a store was asked while somebody counted, trip by trip. */
export class Tally {
  readonly #trips: { readonly trip: Trip; readonly asked: Asked[] }[] = [];

  get trips(): readonly (readonly Asked[])[] {
    return this.#trips.map(({ asked }) => asked);
  }

  note(trip: Trip, asked: Asked): void {
    const last = this.#trips.at(-1);
    if (last?.trip === trip) last.asked.push(asked);
    else this.#trips.push({ trip, asked: [asked] });
  }
}

/** A later turn of the event loop, also where a suite replaces the timers afterwards. */
const nextTurn = setImmediate;

/**
 * A memory store with the manners of one behind a network.
 *
 * It answers in a later turn of the event loop. Otherwise an operation that was started because
 * another one was answered could not be told from one that was started together with it, and a
 * cache would seem to need fewer round trips than it does.
 */
export class CountedStore implements Store {
  readonly #store: MemoryStore;
  readonly #tallies = new Set<Tally>();
  /** The one that operations join. */
  #trip: Trip | undefined;
  #down = false;
  /** When it went down, or up again. */
  #since = new Date();

  constructor(store: MemoryStore) {
    this.#store = store;
  }

  get name(): string {
    return this.#store.name;
  }

  get isLocal(): boolean {
    return this.#store.isLocal;
  }

  get maxValueBytes(): number {
    return this.#store.maxValueBytes;
  }

  /** Counts from now on, until `stopCounting`. */
  count(): Tally {
    const tally = new Tally();
    this.#tallies.add(tally);
    return tally;
  }

  stopCounting(tally: Tally): void {
    this.#tallies.delete(tally);
  }

  /** Removes everything at once. */
  flush(): void {
    this.#store.flush();
  }

  /** Lets every operation fail that is started from now on. What is stored stays. */
  break(): void {
    if (!this.#down) this.#since = new Date();
    this.#down = true;
    this.#trip = undefined;
  }

  /**
   * Resolves when operations succeed again: after a trip that is under way, since none may overtake
   * an operation that fails (see `inOrder`).
   */
  async mend(): Promise<void> {
    if (this.#down) this.#since = new Date();
    this.#down = false;
    await this.#trip?.arrival;
  }

  async get(keys: readonly string[]): Promise<StoreReply> {
    // No store asks its server for nothing.
    if (keys.length > 0) {
      try {
        await this.#reach({ operation: 'get', keys });
      } catch (error) {
        if (!(error instanceof StoreUnavailableError)) throw error;
        return { items: new Map(), failures: new Map(keys.map((key) => [key, error])) };
      }
    }
    return this.#store.get(keys);
  }

  async add(key: string, value: string, ttlSeconds: number): Promise<boolean> {
    await this.#reach({ operation: 'add', keys: [key] });
    return this.#store.add(key, value, ttlSeconds);
  }

  async compareAndSwap(key: string, value: string, token: StoreToken, ttlSeconds: number): Promise<boolean> {
    await this.#reach({ operation: 'compareAndSwap', keys: [key] });
    return this.#store.compareAndSwap(key, value, token, ttlSeconds);
  }

  async compareAndDelete(key: string, token: StoreToken): Promise<boolean> {
    await this.#reach({ operation: 'compareAndDelete', keys: [key] });
    return this.#store.compareAndDelete(key, token);
  }

  async delete(key: string): Promise<boolean> {
    await this.#reach({ operation: 'delete', keys: [key] });
    return this.#store.delete(key);
  }

  /** As one memcached does; a trip fails as a whole. */
  inOrder(): boolean {
    return true;
  }

  /** One server, which `break()` takes down. */
  state(): readonly ServerState[] {
    const state = this.#down ? 'down' : 'up';
    const lastError = this.#down ? downError() : undefined;
    return [{ server: this.name, state, since: this.#since, reached: true, lastError, lastErrorAt: lastError && this.#since }];
  }

  close(): Promise<void> {
    return this.#store.close();
  }

  /** @throws StoreUnavailableError when the store was down as the trip began */
  async #reach(asked: Asked): Promise<void> {
    const trip = (this.#trip ??= this.#depart());
    for (const tally of this.#tallies) tally.note(trip, asked);
    await trip.arrival;
    if (trip.down) throw downError();
  }

  #depart(): Trip {
    const trip = {
      down: this.#down,
      arrival: new Promise<void>((resolve) => {
        nextTurn(() => {
          if (this.#trip === trip) this.#trip = undefined;
          resolve();
        });
      }),
    };
    return trip;
  }
}

function downError(): StoreUnavailableError {
  return new StoreUnavailableError('The store of testCache is down: break() was called, and not mend().');
}
