/** `BatchCacheQuery`: queries of different classes and models, run together. */
import { InvalidOptionError, NotInCacheError } from '../errors.js';
import { show } from '../options.js';
import type { ReadOptions } from '../types.js';

/** What can be run in a batch: `User.cache.getQuery(…)`, or an instance of a cache class. */
export interface Runnable<T = unknown> {
  resolve(options?: ReadOptions): Promise<T>;
}

/** A batch that has no queries yet. */
// eslint-disable-next-line @typescript-eslint/no-empty-object-type -- exactly that: no names
type NoQueries = {};

/** Options of `BatchCacheQuery.get`. */
export interface BatchOptions {
  /** Ask the cache alone: `undefined` for what is not in it. @default false */
  readonly onlyCache?: boolean | undefined;
  /** `null` for a query that rejects. @default false */
  readonly noneOnException?: boolean | undefined;
  /** The error for a query that rejects. @default false */
  readonly returnExceptions?: boolean | undefined;
  /** As in every read. */
  readonly transaction?: ReadOptions['transaction'];
}

/** The results by name. */
export type BatchResult<Q, O extends BatchOptions> = {
  readonly [N in keyof Q]:
    | (Q[N] extends Runnable<infer T> ? T : never)
    | (O extends { readonly onlyCache: true } ? undefined : never)
    | (O extends { readonly noneOnException: true } ? null : never)
    | (O extends { readonly returnExceptions: true } ? Error : never);
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
    for (const [name, query] of Object.entries(queries ?? {})) this.#add(name, query);
  }

  /** Adds a query. Returns the batch itself, with the query's result in its type. @throws InvalidOptionError */
  push<N extends string, T>(name: N, query: Runnable<T>): BatchCacheQuery<Q & Readonly<Record<N, Runnable<T>>>> {
    this.#add(name, query);
    return this.#self() as BatchCacheQuery<Q & Readonly<Record<N, Runnable<T>>>>;
  }

  /**
   * Runs all queries; every call runs them anew. Rejects with the first error, in the order of the
   * queries, unless the options say otherwise.
   */
  async get<const O extends BatchOptions = BatchOptions>(options?: O): Promise<BatchResult<Q, O>> {
    const { onlyCache, noneOnException, returnExceptions, transaction } = checked(options ?? {});
    const read: ReadOptions = { ...(onlyCache === true ? { cacheOnly: true } : {}), ...(transaction === undefined ? {} : { transaction }) };
    const settled = await Promise.allSettled(Array.from(this.#queries.values(), (query) => query.resolve(read)));
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
    ) as BatchResult<Q, O>;
  }

  /** The batch, of whose queries the compiler is to forget what it knew. */
  #self(): unknown {
    return this;
  }

  #add(name: string, query: unknown): void {
    if (this.#queries.has(name)) throw new InvalidOptionError(`BatchCacheQuery has a query '${name}' already. Give each a name of its own.`);
    if (typeof query !== 'object' || typeof (query as Partial<Runnable> | null)?.resolve !== 'function') {
      throw new InvalidOptionError(
        `BatchCacheQuery: '${name}' must be a query, such as User.cache.getQuery({ id: 7 }) or new UserCacheOnUsername('bill1992'); received ${show(query)}.`,
      );
    }
    this.#queries.set(name, query as Runnable);
  }
}

const optionNames: ReadonlySet<string> = new Set<keyof BatchOptions>(['onlyCache', 'noneOnException', 'returnExceptions', 'transaction']);

/** @throws InvalidOptionError */
function checked(options: BatchOptions): BatchOptions {
  for (const name of Object.keys(options)) {
    if (!optionNames.has(name)) throw new InvalidOptionError(`BatchCacheQuery.get has no option '${name}'. Its options are: ${[...optionNames].join(', ')}.`);
  }
  if (options.noneOnException === true && options.returnExceptions === true) {
    throw new InvalidOptionError(`BatchCacheQuery.get: 'noneOnException' (null for an error) and 'returnExceptions' (the error itself) exclude each other.`);
  }
  return options;
}
