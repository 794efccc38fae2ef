/**
 * What one request has looked up already: the same lookup twice in a request costs one.
 *
 * A request's answers are found through `AsyncLocalStorage`, so that nothing is handed around and
 * concurrent requests cannot see each other's. They are kept as text and never as objects: whoever
 * asks gets an instance of its own. An answer counts only as long as this process has not written
 * since its load began; what other processes write is seen at the latest when the request's answers
 * are given up.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { monotonic } from './clock.js';
import { NotSerialisable } from './entries/codec.js';
import { InvalidOptionError } from './errors.js';
import { show, wholeNumber } from './options.js';

/** Options of `withRequestCache` and `requestCache`. */
export interface RequestCacheOptions {
  /**
   * How long after its start a request's answers are given up, in milliseconds, 1 to 3600000. Within
   * it, a row that the request has read may be older than what another process wrote since.
   * @default 10000
   */
  maxAgeMs?: number;
  /** The most answers that a request keeps, 1 to 1000000; the oldest go. @default 10000 */
  maxEntries?: number;
  /** The clock, in milliseconds. @default performance.now */
  now?: () => number;
}

/** How answers of a cache are copied: plain JSON cells in between. */
export interface Copier<A = unknown> {
  /** @throws NotSerialisable, if the answer cannot be copied exactly; it is not kept then */
  encode(answer: A): unknown;
  /** A fresh answer. */
  decode(cells: unknown): A;
}

/** `refresh` neither uses nor joins what is kept, and replaces it; `cache-only` never waits for a load of another kind. */
export type Reading = 'read' | 'refresh' | 'cache-only';

/** The part of an HTTP response that tells when its request is over. */
export interface ClosingResponse {
  once(event: 'close', listener: () => void): unknown;
}

/** A middleware of Express, Connect and Nest. */
export type RequestMiddleware = (request: object, response: ClosingResponse, next: () => void) => void;

/**
 * Runs `work`, and with it everything that it starts: in there the same cached lookup is made once.
 * What this process writes is seen at once. What *another* process writes may not be, for rows that
 * were read in there before, until `work` (its promise) has settled or `maxAgeMs` has passed.
 *
 * Nested calls join the outer one, whose options count.
 *
 * @throws InvalidOptionError
 */
export function withRequestCache<T>(work: () => T, options: RequestCacheOptions = {}): T {
  const limits = resolveLimits('withRequestCache', options);
  if (typeof work !== 'function') {
    throw new InvalidOptionError(`withRequestCache takes the function to run, then its options; received ${show(work)}.`);
  }
  if (currentAnswers() !== undefined) return work();
  const answers = open(limits);
  let result: T;
  try {
    result = requests.run(answers, work);
  } catch (error) {
    answers.giveUp();
    throw error;
  }
  // Whatever still runs then, and pooled connections that were opened in there, hold the answers no longer.
  if (result instanceof Promise) return (result as Promise<unknown>).finally(() => answers.giveUp()) as T;
  return result;
}

/**
 * Middleware that makes each request a `withRequestCache`, until its response is closed:
 * `app.use(requestCache())` in Express and Connect, before the routes; in Nest the same, or
 * `consumer.apply(requestCache()).forRoutes(…)`.
 *
 * @throws InvalidOptionError
 */
export function requestCache(options: RequestCacheOptions = {}): RequestMiddleware {
  const limits = resolveLimits('requestCache', options);
  return (request, response, next) => {
    enter(request, response, limits, next);
  };
}

/** The same for Fastify, as a hook: `fastify.addHook('onRequest', fastifyRequestCache)`. */
export const fastifyRequestCache = (
  request: { readonly raw: object },
  reply: { readonly raw: ClosingResponse },
  done: () => void,
): void => {
  enter(request.raw, reply.raw, defaults, done);
};

/** Whether a request's answers are kept here. It costs nothing until the first request is opened. */
export const isRequestOpen = (): boolean => currentAnswers() !== undefined;

/** How many writes of this process to what the owner has were noted so far. */
export const writesOf = (owner: object): number => ledgerOf(owner).writes;

/**
 * An answer that the request has already, or that of `load`. Rejects with the errors of `load`.
 *
 * @param owner what is written to as one; see `noteWrite`
 * @param id of the lookup, among those of the owner
 * @param since what `writesOf` said when that was looked at which `load` will take its answer from;
 *   undefined where that is still to come. An answer from before a write is not kept.
 */
export function memoised<A>(
  owner: object,
  id: string,
  copier: Copier<A>,
  load: () => Promise<A | null | undefined>,
  reading: Reading = 'read',
  since?: number,
): Promise<A | null | undefined> {
  const answers = currentAnswers();
  if (answers === undefined) return load();
  const ledger = ledgerOf(owner);
  if (since !== undefined && since !== ledger.writes) return load();
  return answers.read({ key: `${String(ledger.serial)} ${id}`, ledger, copier, load }, reading);
}

/**
 * A statement of this process wrote: what any request has of this owner, or is loading, is void for
 * reads that start from now on.
 */
export function noteWrite(owner: object): void {
  const ledger = isUsed ? ledgers.get(owner) : undefined;
  // Without a ledger nothing was ever kept.
  if (ledger !== undefined) ledger.writes += 1;
}

interface Limits {
  readonly maxAgeMs: number;
  readonly maxEntries: number;
  readonly now: () => number;
}

/** The writes of one owner. */
interface Ledger {
  readonly serial: number;
  writes: number;
}

interface Lookup<A> {
  readonly key: string;
  readonly ledger: Ledger;
  readonly copier: Copier<A>;
  readonly load: () => Promise<A | null | undefined>;
}

/** An answer's cells as text, or null for "no such row". As objects, two copies would share what is nested in them. */
type Kept = string | null;

/** What became of a load, for those that share it. */
type Outcome =
  | { readonly state: 'kept'; readonly kept: Kept }
  /** It cannot be copied. */
  | { readonly state: 'not kept' }
  | { readonly state: 'failed'; readonly error: unknown };

/** One answer, or the load that will have it. */
interface Memo {
  /** The owner's writes when the load began. */
  readonly writes: number;
  /** `undefined` while it is loaded. */
  kept: Kept | undefined;
  /** Never rejects. */
  readonly outcome: Promise<Outcome>;
}

/** The answers of one request. */
class Answers {
  readonly #limits: Limits;
  readonly #opened: number;
  /** From the oldest to the youngest. */
  readonly #memos = new Map<string, Memo>();
  #isGivenUp = false;

  constructor(limits: Limits) {
    this.#limits = limits;
    this.#opened = limits.now();
  }

  /** Whether they may be used still. */
  isCurrent(): boolean {
    if (!this.#isGivenUp && this.#limits.now() - this.#opened >= this.#limits.maxAgeMs) this.giveUp();
    return !this.#isGivenUp;
  }

  giveUp(): void {
    this.#isGivenUp = true;
    this.#memos.clear();
  }

  async read<A>(lookup: Lookup<A>, reading: Reading): Promise<A | null | undefined> {
    const memo = reading === 'refresh' ? undefined : this.#valid(lookup);
    if (memo?.kept !== undefined) return copyOf(memo.kept, lookup.copier);
    if (reading === 'cache-only') return this.#readCacheOnly(lookup);
    if (memo === undefined) return this.#load(lookup);
    const outcome = await memo.outcome;
    if (outcome.state === 'failed') throw outcome.error;
    return outcome.state === 'kept' ? copyOf(outcome.kept, lookup.copier) : lookup.load();
  }

  /** The memo that no write has voided. */
  #valid({ key, ledger }: Lookup<unknown>): Memo | undefined {
    const memo = this.#memos.get(key);
    return memo?.writes === ledger.writes ? memo : undefined;
  }

  async #load<A>({ key, ledger, copier, load }: Lookup<A>): Promise<A | null | undefined> {
    let settle: (outcome: Outcome) => void = () => undefined;
    const outcome = new Promise<Outcome>((resolve) => {
      settle = resolve;
    });
    const memo: Memo = { writes: ledger.writes, kept: undefined, outcome };
    this.#put(key, memo);
    try {
      const answer = await load();
      // Now, because the caller may change its instance as soon as it has it.
      memo.kept = keptOf(answer, copier);
      if (memo.kept === undefined) this.#remove(key, memo);
      settle(memo.kept === undefined ? { state: 'not kept' } : { state: 'kept', kept: memo.kept });
      return answer;
    } catch (error) {
      this.#remove(key, memo);
      settle({ state: 'failed', error });
      throw error;
    }
  }

  /** It neither waits for the database nor lets others wait for an answer that may be "not in the cache". */
  async #readCacheOnly<A>(lookup: Lookup<A>): Promise<A | null | undefined> {
    const { key, ledger, copier, load } = lookup;
    const { writes } = ledger;
    const answer = await load();
    const kept = keptOf(answer, copier);
    if (kept !== undefined && ledger.writes === writes && this.#valid(lookup) === undefined) {
      this.#put(key, { writes, kept, outcome: Promise.resolve({ state: 'kept', kept }) });
    }
    return answer;
  }

  #put(key: string, memo: Memo): void {
    if (!this.isCurrent()) return;
    // A key that is set again would keep its old place.
    this.#memos.delete(key);
    this.#memos.set(key, memo);
    const [oldest] = this.#memos.size > this.#limits.maxEntries ? this.#memos.keys() : [];
    if (oldest !== undefined) this.#memos.delete(oldest);
  }

  /** Unless another load has taken its place. */
  #remove(key: string, memo: Memo): void {
    if (this.#memos.get(key) === memo) this.#memos.delete(key);
  }
}

const requests = new AsyncLocalStorage<Answers>();
/** Until a request is opened in this process, not even the storage is asked. */
let isUsed = false;

const ledgers = new WeakMap<object, Ledger>();
let serials = 0;

/** By request: one that comes by twice, through two routers, has one memory. */
const answersOfRequests = new WeakMap<object, Answers>();

function open(limits: Limits): Answers {
  isUsed = true;
  return new Answers(limits);
}

function currentAnswers(): Answers | undefined {
  const answers = isUsed ? requests.getStore() : undefined;
  return answers?.isCurrent() === true ? answers : undefined;
}

/**
 * Goes on inside of a request's answers, and not those that are open here: a server may read the
 * next request of a connection in the context of the one before.
 */
function enter(request: object, response: ClosingResponse, limits: Limits, next: () => void): void {
  let answers = answersOfRequests.get(request);
  if (answers === undefined) {
    const opened = open(limits);
    answersOfRequests.set(request, opened);
    response.once('close', () => {
      opened.giveUp();
    });
    answers = opened;
  }
  requests.run(answers, next);
}

function ledgerOf(owner: object): Ledger {
  const known = ledgers.get(owner);
  if (known !== undefined) return known;
  serials += 1;
  const ledger = { serial: serials, writes: 0 };
  ledgers.set(owner, ledger);
  return ledger;
}

/** `undefined` for what is not kept: "not in the cache", and what cannot be copied. */
function keptOf<A>(answer: A | null | undefined, copier: Copier<A>): Kept | undefined {
  if (answer === undefined) return undefined;
  if (answer === null) return null;
  try {
    return JSON.stringify(copier.encode(answer));
  } catch (error) {
    if (!(error instanceof NotSerialisable)) throw error;
    return undefined;
  }
}

const copyOf = <A>(kept: Kept, copier: Copier<A>): A | null => (kept === null ? null : copier.decode(JSON.parse(kept)));

const defaults: Limits = Object.freeze({ maxAgeMs: 10_000, maxEntries: 10_000, now: () => monotonic() });

const knownOptions: ReadonlySet<string> = new Set<keyof RequestCacheOptions>(['maxAgeMs', 'maxEntries', 'now']);

/** @throws InvalidOptionError */
function resolveLimits(name: string, given: RequestCacheOptions): Limits {
  if (typeof given !== 'object' || (given as unknown) === null) {
    throw new InvalidOptionError(`The options of ${name} must be an object; received ${show(given)}.`);
  }
  for (const option of Object.keys(given)) {
    if (!knownOptions.has(option)) {
      // A request, if the middleware was not made but used itself.
      const hint = name === 'requestCache' ? ' As a middleware it is called first: app.use(requestCache()).' : '';
      throw new InvalidOptionError(`${name} has no option '${option}'.${hint} Its options are: ${[...knownOptions].join(', ')}.`);
    }
  }
  const now: unknown = given.now ?? defaults.now;
  if (typeof now !== 'function') throw new InvalidOptionError(`Option 'now' must be a function; received ${show(now)}.`);
  return {
    maxAgeMs: wholeNumber('maxAgeMs', given.maxAgeMs, defaults.maxAgeMs, 1, 3_600_000, 'milliseconds'),
    maxEntries: wholeNumber('maxEntries', given.maxEntries, defaults.maxEntries, 1, 1_000_000, 'answers'),
    now: now as () => number,
  };
}
