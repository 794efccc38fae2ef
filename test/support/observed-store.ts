/** A store that counts what it is asked, and can be held or broken at any operation. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { ServerState, Store, StoreReply, StoreToken } from '../../src/stores/store.js';

/** The operations of a store. */
export type Operation = 'get' | 'add' | 'compareAndSwap' | 'compareAndDelete' | 'delete';

/** Something that happens before an operation reaches the store: it may wait, or throw. */
export type Interceptor = (operation: Operation, key: string) => Promise<void> | void;

/** Wraps a real store. Operations started in the same tick count as one round trip of the store. */
export class ObservedStore implements Store {
  readonly #store: Store;
  #counts = new Map<Operation, number>();
  #roundTrips = 0;
  #ticking = false;
  #rounds = 0;
  #roundsAnswered = 0;
  /** Counts `reset()`: what was started before one and is answered after it is none of the new counts. */
  #era = 0;
  #far = false;
  #underWay = 0;
  #interceptors: Interceptor[] = [];
  /** Since the last `reset()`, or still. */
  #intercepted = false;

  constructor(store: Store) {
    this.#store = store;
  }

  get name(): string {
    return this.#store.name;
  }

  get servers(): readonly string[] | undefined {
    return this.#store.servers;
  }

  get isLocal(): boolean | undefined {
    return this.#store.isLocal;
  }

  get maxValueBytes(): number {
    return this.#store.maxValueBytes;
  }

  get maxPending(): number | undefined {
    return this.#store.maxPending;
  }

  /** Operations since the last `reset()`; a multi-get counts once. */
  count(operation: Operation): number {
    return this.#counts.get(operation) ?? 0;
  }

  /** Groups of operations that were sent together since the last `reset()`. */
  get roundTrips(): number {
    return this.#roundTrips;
  }

  /**
   * How often, since the last `reset()`, operations were started that may have waited for an answer:
   * the longest row of operations each of which was started after an answer to the one before. Other
   * than a round trip it does not depend on the turn of the event loop in which something is sent.
   */
  get rounds(): number {
    return this.#rounds;
  }

  reset(): void {
    this.#counts = new Map();
    this.#roundTrips = 0;
    this.#rounds = 0;
    this.#roundsAnswered = 0;
    this.#era += 1;
    this.#ticking = false;
    this.#intercepted = this.#interceptors.length > 0;
  }

  /** Resolves when nothing is under way any more: a marker, say, that nobody waits for. */
  async quiet(): Promise<void> {
    for (let turns = 0; turns < 3; turns += 1) {
      await new Promise(setImmediate);
      if (this.#underWay > 0) turns = -1;
    }
  }

  /** Runs before every operation from now on; call the result to take it away again. */
  intercept(interceptor: Interceptor): () => void {
    this.#interceptors.push(interceptor);
    this.#intercepted = true;
    return () => {
      this.#interceptors = this.#interceptors.filter((one) => one !== interceptor);
    };
  }

  /**
   * From now on an answer takes a turn of the event loop at least, as over a network: a store in memory
   * may have answered one operation before the next one of a group is started. Call the result to end it.
   */
  moveAway(): () => void {
    this.#far = true;
    return () => {
      this.#far = false;
    };
  }

  get(keys: readonly string[]): Promise<StoreReply> {
    return this.#run('get', keys.join(' '), () => this.#store.get(keys));
  }

  add(key: string, value: string, ttlSeconds: number): Promise<boolean> {
    return this.#run('add', key, () => this.#store.add(key, value, ttlSeconds));
  }

  compareAndSwap(key: string, value: string, token: StoreToken, ttlSeconds: number): Promise<boolean> {
    return this.#run('compareAndSwap', key, () => this.#store.compareAndSwap(key, value, token, ttlSeconds));
  }

  compareAndDelete(key: string, token: StoreToken): Promise<boolean> {
    return this.#run('compareAndDelete', key, () => this.#store.compareAndDelete(key, token));
  }

  delete(key: string): Promise<boolean> {
    return this.#run('delete', key, () => this.#store.delete(key));
  }

  /** Not where an operation may be held: another one would overtake it. */
  inOrder(first: string, second: string): boolean {
    return !this.#intercepted && this.#store.inOrder?.(first, second) === true;
  }

  state(): readonly ServerState[] {
    return this.#store.state?.() ?? [];
  }

  get health(): Store['health'] {
    return this.#store.health?.bind(this.#store);
  }

  close(): Promise<void> {
    return this.#store.close();
  }

  async #run<T>(operation: Operation, key: string, send: () => Promise<T>): Promise<T> {
    this.#underWay += 1;
    const era = this.#era;
    const round = this.#roundsAnswered + 1;
    this.#rounds = Math.max(this.#rounds, round);
    try {
      await this.#before(operation, key);
      const answer = send();
      // It may fail before it has come so far.
      if (this.#far) await Promise.allSettled([answer, nextTurn()]);
      return await answer;
    } finally {
      this.#underWay -= 1;
      if (era === this.#era) this.#roundsAnswered = Math.max(this.#roundsAnswered, round);
    }
  }

  async #before(operation: Operation, key: string): Promise<void> {
    this.#counts.set(operation, this.count(operation) + 1);
    if (!this.#ticking) {
      this.#ticking = true;
      this.#roundTrips += 1;
      const era = this.#era;
      setImmediate(() => {
        if (era === this.#era) this.#ticking = false;
      });
    }
    for (const interceptor of this.#interceptors) await interceptor(operation, key);
  }
}

/** Holds the first operation that matches until it is let go. */
export function holdFirst(
  store: ObservedStore,
  matches: (operation: Operation, key: string) => boolean,
): { readonly reached: Promise<void>; release(): void } {
  let reach: () => void = () => undefined;
  let release: () => void = () => undefined;
  const reached = new Promise<void>((resolve) => {
    reach = resolve;
  });
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  let first = true;
  const remove = store.intercept(async (operation, key) => {
    if (!first || !matches(operation, key)) return;
    first = false;
    remove();
    reach();
    await released;
  });
  return { reached, release };
}
