/** Invalidation that the program asks for: of a row, of key values, of the rows of a condition, of a table, of a cache class. */
import { Op, type Model, type CountOptions, type WhereOptions } from 'sequelize';
import type { Affected, Failed, Target } from '../coherence/affected.js';
import type { Canonical } from '../entries/key-types.js';
import { InvalidationFailedError, InvalidOptionError, UnsavedInstanceError } from '../errors.js';
import { publish } from '../events.js';
import { canonicalValues } from '../models/cached-model.js';
import { findByKeys, onPrimary, rawRows } from '../models/finder.js';
import { show, type OnStoreFailure } from '../options.js';
import { noteWrite } from '../request-cache.js';
import type { InvalidationResult, RowsInvalidationResult } from '../types.js';
import type { Answerer, BoundModel } from './binding.js';
import type { BoundCache, SimpleCache } from './bound-cache.js';

/** Voids entries; the coherence. */
export interface Voider {
  /** Resolves to the entries that could not be voided, which are retried. */
  invalidate(affected: Affected): Promise<Failed>;
}

/** Looks up what is believed of a row; the loader. */
interface Believer {
  load(cache: BoundCache, values: readonly Canonical[], mode: 'cache-only'): Promise<unknown>;
}

/** What came of voiding some entries. */
interface Outcome {
  readonly entries: number;
  readonly failed: Failed;
}

/** How many rows `where` reads at a time. */
const batchOfRows = 1000;

/**
 * Invalidation by hand. It follows `onStoreFailure` as a write does: with `'strict'` each method rejects when
 * an entry could not be voided, otherwise the result says so. What could not be delivered is retried.
 */
export class InvalidationByHand {
  readonly #owner: object & Iterable<BoundModel>;
  readonly #believer: Believer;
  readonly #voider: Voider;
  readonly #onStoreFailure: OnStoreFailure;

  constructor(owner: object & Iterable<BoundModel>, believer: Believer, voider: Voider, onStoreFailure: OnStoreFailure) {
    this.#owner = owner;
    this.#believer = believer;
    this.#voider = voider;
    this.#onStoreFailure = onStoreFailure;
  }

  /** Voids everything that is cached of a model's table. */
  table({ cached, timed }: BoundModel): Promise<InvalidationResult> {
    const own = timed.flatMap(({ stamps }) => stamps.map((key) => [key as string, cached.tableKeys] as const));
    return this.#only(new Map([[cached.tableKeys.generation, cached.tableKeys], ...own]));
  }

  /** Voids everything that a cache class has cached. */
  cache(cache: Answerer): Promise<InvalidationResult> {
    const { tableKeys } = cache.model;
    // A cache of rows shares their entries with all caches of the model, and a chain those of others.
    const key = cache.kind === 'list' ? cache.stamps[1] : cache.kind === 'result' ? (cache.stamps.at(-1) as string) : tableKeys.generation;
    return this.#only(new Map([[key, tableKeys]]));
  }

  /** Voids what is cached of the rows that match a condition now. */
  async where(bound: BoundModel, where: WhereOptions): Promise<RowsInvalidationResult> {
    const { cached, all, timed } = bound;
    if (typeof where !== 'object' || (where as unknown) === null) {
      throw new InvalidOptionError(`${cached.name}.cache.invalidateWhere takes a condition, as findAll's 'where'; received ${show(where)}. For the whole table use clear().`);
    }
    if (cached.passThrough !== undefined) {
      // Its rows cannot be told apart by what the cache knows.
      const rows = await cached.model.unscoped().count({ ...onPrimary, where, paranoid: false, hooks: false } as CountOptions);
      return { ...(await this.table(bound)), rows };
    }
    const every = [...all, ...timed];
    const names = [...new Set([...cached.primaryKey, ...every.flatMap(({ columns }) => columns)].map(({ name }) => name))];
    const order = cached.primaryKey.map(({ name }) => name);
    const outcomes: Outcome[] = [];
    let count = 0;
    let after: WhereOptions | undefined;
    for (;;) {
      const rows = (await cached.model.unscoped().findAll({
        ...onPrimary,
        attributes: names,
        where: after === undefined ? where : { [Op.and]: [where, after] },
        order,
        limit: batchOfRows,
        paranoid: false,
        ...rawRows,
        hooks: false,
      } as object)) as unknown as readonly Readonly<Record<string, unknown>>[];
      const affected = new Map<string, Target>();
      for (const row of rows) {
        for (const cache of every) {
          const values = canonicalValues(cache.columns, ({ name }) => row[name]);
          if (values === undefined) affected.set(cache.stamps.at(-1) as string, cached.tableKeys);
          else affected.set(cache.keyFor(values), cached.tableKeys);
        }
      }
      // What results depended on before is not known.
      if (count === 0) for (const { kind, stamps } of every) if (kind === 'result') affected.set(stamps.at(-1) as string, cached.tableKeys);
      // All rows are gone through, whatever fails: what was not delivered is retried.
      outcomes.push(await this.#void(affected));
      count += rows.length;
      const last = rows.at(-1);
      if (last === undefined || rows.length < batchOfRows) return { ...this.#result(outcomes), rows: count };
      after = beyond(order, last);
    }
  }

  /** Voids what is cached of the row that an instance stands for, under the key values that it holds. */
  async instance(bound: BoundModel, instance: Model): Promise<InvalidationResult> {
    const { cached, all, timed } = bound;
    if (cached.passThrough !== undefined) return this.table(bound);
    const primaryKey = cached.keyValues(instance, cached.primaryKey);
    if (instance.isNewRecord || primaryKey === undefined) {
      throw new UnsavedInstanceError(
        `${cached.name}.cache.invalidate was given an instance that ${instance.isNewRecord ? 'is not saved yet' : 'was loaded without its primary key'}. Pass a saved one, or key values.`,
      );
    }
    const affected = new Map<string, Target>();
    for (const cache of [...all, ...timed]) {
      const values = cached.keyValues(instance, cache.columns);
      if (values !== undefined) affected.set(cache.keyFor(values), cached.tableKeys);
      // Which of its results depend on the row is not known.
      else if (cache.kind !== 'simple') affected.set(cache.stamps.at(-1) as string, cached.tableKeys);
    }
    return this.#only(affected);
  }

  /** Voids what is cached under key values, and the row that they lead to. */
  async key(bound: BoundModel, cache: SimpleCache, values: readonly Canonical[]): Promise<InvalidationResult> {
    const { cached, all, timed } = bound;
    if (cached.passThrough !== undefined) return this.table(bound);
    const affected = new Map<string, Target>([[cache.keyFor(values), cached.tableKeys]]);
    for (const other of [...all, ...timed]) {
      // Caches on the same columns share their values.
      if (other.columns.length !== cache.columns.length) continue;
      const shared = other.columns.map(({ name }) => values[cache.columns.findIndex((column) => column.name === name)]);
      if (shared.every((value) => value !== undefined)) affected.set(other.keyFor(shared), cached.tableKeys);
    }
    if (!cache.primary) {
      // The row that the cache leads to and the one that the database has now may be two.
      const believed = (await this.#believer.load(cache, values, 'cache-only')) as Model | null | undefined;
      const [actual] = await findByKeys(cached, cache, [values]);
      for (const row of [believed, actual]) {
        const primaryKey = row == null ? undefined : cached.keyValues(row, cached.primaryKey);
        if (primaryKey !== undefined) affected.set(cached.rowKey(primaryKey), cached.tableKeys);
      }
      // Another process may still know the way to a row that is not found from here.
      if (believed === undefined) affected.set(cached.tableKeys.generation, cached.tableKeys);
    }
    return this.#only(affected);
  }

  async #only(affected: Affected): Promise<InvalidationResult> {
    return this.#result([await this.#void(affected)]);
  }

  async #void(affected: Affected): Promise<Outcome> {
    const whole = [...this.#owner].filter(({ cached }) => affected.has(cached.tableKeys.generation));
    for (const { all } of whole) for (const { counters } of all) counters.noteWide('requested');
    publish('invalidate', () => ({
      keys: [...affected.keys()],
      wide: whole.map(({ cached }) => ({ table: cached.table, statement: 'MANUAL', reason: 'requested' as const })),
    }));
    const failed = await this.#voider.invalidate(affected);
    noteWrite(this.#owner);
    return { entries: affected.size, failed };
  }

  /** @throws InvalidationFailedError */
  #result(outcomes: readonly Outcome[]): InvalidationResult {
    const failures = outcomes.filter(({ failed }) => failed.keys.length > 0);
    const [first] = failures;
    if (first === undefined) return { delivered: true };
    const { cause } = first.failed;
    if (this.#onStoreFailure === 'available') return { delivered: false, cause };
    const sum = (numbers: readonly number[]): string => String(numbers.reduce((total, number) => total + number, 0));
    throw new InvalidationFailedError(
      `The invalidation was not delivered: ${sum(failures.map(({ failed }) => failed.keys.length))} of the ${sum(outcomes.map(({ entries }) => entries))} cache entries concerned could not be voided, ` +
        `and onStoreFailure is 'strict'. It is retried until it is delivered; until then other processes can read the old values.`,
      { cause },
    );
  }
}

/** The rows after this one, in the order of these attributes. */
function beyond(order: readonly string[], row: Readonly<Record<string, unknown>>): WhereOptions {
  return {
    [Op.or]: order.map((name, at) => ({
      ...Object.fromEntries(order.slice(0, at).map((before) => [before, row[before]])),
      [name]: { [Op.gt]: row[name] },
    })),
  };
}

