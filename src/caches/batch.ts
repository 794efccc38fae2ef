/** `BatchCacheQuery`: queries of different classes and models, run together. */
import { InvalidOptionError, NotInCacheError } from '../errors.js';
import { show } from '../options.js';
import type { ReadOptions } from '../types.js';

/** What can be run in a batch: `User.cache.getQuery(…)`, or an instance of a cache class. */
export interface Runnable<T = unknown> {
  resolve(options?: ReadOptions): Promise<T>;
}

/** A batch that has no queries yet. */
// oxlint-disable-next-line typescript/no-empty-object-type -- exactly that: no names
type NoQueries = {};

/**
 * Options of `BatchCacheQuery.get`.
 *
 * @typeParam C the type of `onlyCache`, from which the results are derived, as from `N` and `E`
 * @typeParam N the type of `noneOnException`
 * @typeParam E the type of `returnExceptions`
 */
export interface BatchOptions<C extends boolean = boolean, N extends boolean = boolean, E extends boolean = boolean> {
  /** Ask the cache alone: `undefined` for what is not in it. @default false */
  readonly onlyCache?: C | undefined;
  /** `null` for a query that rejects. @default false */
  readonly noneOnException?: N | undefined;
  /** The error for a query that rejects. @default false */
  readonly returnExceptions?: E | undefined;
  /** As in every read. */
  readonly transaction?: ReadOptions['transaction'];
}

/** The results by name. */
export type BatchResult<Q, C extends boolean = false, N extends boolean = false, E extends boolean = false> = {
  readonly [K in keyof Q]:
    | (Q[K] extends Runnable<infer T> ? T : never)
    | (true extends C ? undefined : never)
    | (true extends N ? null : never)
    | (true extends E ? Error : never);
};

/**
 * Queries that are run together: one round trip to the store for all that are answered from it, and
 * at most one statement for the misses of each class.
 *
 * @example
 * const { user, event } = await new BatchCacheQuery({
 *   user: User.cache.getQuery({ id: 7 }),
 *   event: new EventCacheOnSlug('harbour-walk'),
 * }).get();
 */
export class BatchCacheQuery<Q extends Readonly<Record<string, Runnable>> = NoQueries> {
  readonly #queries = new Map<string, Runnable>();

  /** @throws InvalidOptionError */
  constructor(queries?: Q) {
    const given: unknown = queries ?? {};
    if (typeof given !== 'object' || Array.isArray(given) || typeof (given as Partial<Runnable>).resolve === 'function') {
      throw new InvalidOptionError(`BatchCacheQuery takes queries by name, such as { user: User.cache.getQuery({ id: 7 }) }; received ${show(given)}.`);
    }
    for (const [name, query] of Object.entries(queries ?? {})) this.#add(name, query);
  }

  /**
   * Adds a query, under a name that has none yet. Returns the batch itself, with the query's result in
   * its type. @throws InvalidOptionError
   */
  push<N extends string, T>(name: N extends keyof Q ? never : N, query: Runnable<T>): BatchCacheQuery<Q & Readonly<Record<N, Runnable<T>>>> {
    this.#add(name, query);
    return this as unknown as BatchCacheQuery<Q & Readonly<Record<N, Runnable<T>>>>;
  }

  /**
   * Runs all queries; every call runs them anew. Rejects with the first error, in the order of the
   * queries, unless the options say otherwise.
   */
  async get<C extends boolean = false, N extends boolean = false, E extends boolean = false>(
    options?: BatchOptions<C, N, E>,
  ): Promise<BatchResult<Q, C, N, E>> {
    const { onlyCache, noneOnException, returnExceptions, transaction } = checked(options ?? {});
    const read: ReadOptions = { ...(onlyCache === true ? { cacheOnly: true } : {}), ...(transaction === undefined ? {} : { transaction }) };
    // A `resolve` of the application's own may throw; the others have left by then, and are to be waited for.
    const settled = await Promise.allSettled(Array.from(this.#queries.values(), async (query) => query.resolve(read)));
    const names = [...this.#queries.keys()];
    return Object.fromEntries(
      settled.map((outcome, at): [string, unknown] => {
        const name = names[at] as string;
        if (outcome.status === 'fulfilled') return [name, outcome.value];
        const error: unknown = outcome.reason;
        if (onlyCache === true && error instanceof NotInCacheError) return [name, undefined];
        if (returnExceptions === true) return [name, error];
        if (noneOnException === true) return [name, null];
        throw error;
      }),
    ) as BatchResult<Q, C, N, E>;
  }

  #add(name: unknown, query: unknown): void {
    if (typeof name !== 'string') throw new InvalidOptionError(`BatchCacheQuery.push takes a name, then a query; received ${show(name)} as name.`);
    if (this.#queries.has(name)) throw new InvalidOptionError(`BatchCacheQuery has a query '${name}' already. Give each a name of its own.`);
    const runnable = query as Partial<Runnable> | null | undefined;
    if (typeof query !== 'object' || typeof runnable?.resolve !== 'function') {
      throw new InvalidOptionError(
        `BatchCacheQuery: '${name}' must be a query, such as User.cache.getQuery({ id: 7 }) or new UserCacheOnUsername('bill1992'); received ${show(query)}${query instanceof Promise ? ', which runs already' : ''}.`,
      );
    }
    this.#queries.set(name, query as Runnable);
  }
}

const optionNames: ReadonlySet<string> = new Set<keyof BatchOptions>(['onlyCache', 'noneOnException', 'returnExceptions', 'transaction']);

/** @throws InvalidOptionError */
function checked(options: BatchOptions): BatchOptions {
  if (typeof options !== 'object' || Array.isArray(options)) {
    throw new InvalidOptionError(`The options of BatchCacheQuery.get must be an object; received ${show(options)}.`);
  }
  for (const name of Object.keys(options)) {
    if (!optionNames.has(name)) throw new InvalidOptionError(`BatchCacheQuery.get has no option '${name}'. Its options are: ${[...optionNames].join(', ')}.`);
  }
  for (const name of ['onlyCache', 'noneOnException', 'returnExceptions'] as const) {
    const value: unknown = options[name] ?? false;
    if (typeof value !== 'boolean') throw new InvalidOptionError(`BatchCacheQuery.get: '${name}' must be true or false; received ${show(value)}.`);
  }
  if (options.noneOnException === true && options.returnExceptions === true) {
    throw new InvalidOptionError(`BatchCacheQuery.get: 'noneOnException' (null for an error) and 'returnExceptions' (the error itself) exclude each other.`);
  }
  return options;
}
