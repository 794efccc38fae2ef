/**
 * Whether and where the answer of the database is stored: the entries that a load leaves, each under
 * a lease that was there before the database was asked, or as good as that.
 */
import type { Model } from 'sequelize';
import type { BoundCache, ListCache, ResultCache, SimpleCache } from '../caches/bound-cache.js';
import type { Look } from '../coherence/affected.js';
import type { Coherence } from '../coherence/coherence.js';
import { bodyText } from '../entries/codec.js';
import { valueHead } from '../entries/envelope.js';
import type { Canonical } from '../entries/key-types.js';
import { sameValues } from '../models/cached-model.js';
import type { Hints, ListHints } from './hints.js';
import { inParts, longestPart, type Leases, type RowWanted } from './leases.js';
import { noteBypass, nothingSent, type Load, type Result, type Sent } from './load.js';
import { unseen, type Lookup } from './lookup.js';

/** Stores what loads found, under the leases that they hold. */
export class Filler {
  readonly #coherence: Coherence;
  readonly #leases: Leases;
  readonly #hints: Hints;
  readonly #listHints: ListHints;
  /** Seconds. */
  readonly #writeLease: number;

  constructor(coherence: Coherence, leases: Leases, hints: Hints, listHints: ListHints, writeLease: number) {
    this.#coherence = coherence;
    this.#leases = leases;
    this.#hints = hints;
    this.#listHints = listHints;
    this.#writeLease = writeLease;
  }

  /** Fills the leases on rows that were asked for by their primary key. */
  async primary(cache: SimpleCache, loads: readonly Load[], results: readonly Result[]): Promise<void> {
    await Promise.all(
      loads.map(async (load, at) => {
        const { cells, answer } = results[at] as Result;
        await this.#entry(load, cache.model.fingerprint, load.placed ?? unseen, rowBody(cache, load.lookup, answer as Model | null, cells), cache, cells === null);
      }),
    );
  }

  /** Fills the lease on a result. */
  async result(cache: ResultCache, load: Load, { cells }: Result): Promise<void> {
    const body = cells === undefined ? undefined : resultBody(load.lookup.values, cells);
    await this.#entry(load, cache.fingerprint, load.placed ?? unseen, body, cache, cells === null);
  }

  /**
   * Stores rows that were found by another key, and what leads to them: the rows' leases can only be
   * placed now (see coherence.ts, "epoch").
   */
  async byKey(cache: SimpleCache, loads: readonly Load[], results: readonly Result[]): Promise<Sent> {
    const { model } = cache;
    const plans = loads.map((load, at) => this.#indexPlan(cache, load, results[at] as Result));
    const wanted = new Map<string, RowWanted>();
    for (const { load, rowKey } of plans) {
      if (rowKey === undefined || load.epoch === undefined || load.generation === undefined) continue;
      if (load.lease === undefined || load.target === rowKey) continue;
      const refresh = load.lookup.mode === 'refresh' || wanted.get(rowKey)?.refresh === true;
      wanted.set(rowKey, { head: valueHead(model.fingerprint, load.generation), refresh });
    }
    const targets = plans.flatMap(({ load }) => (load.lease === undefined ? [] : [load.target]));
    if (wanted.size === 0 && targets.length === 0) return nothingSent;
    const since = Math.min(...loads.map((load) => load.since));
    const { leases: rowLeases, look, epoch } = await this.#leases.rows(model, wanted, targets, since);
    const used = new Set<string>();
    const unused = new Map<string, string>();
    const fills: Promise<void>[] = [];
    for (const { load, rowKey, body, index } of plans) {
      const quiet = epoch !== undefined && epoch === load.epoch;
      if (load.lease !== undefined) {
        if (load.hint === undefined) {
          fills.push(this.#entry(load, cache.fingerprint, look, index, cache, rowKey === undefined));
        } else if (rowKey === load.target) {
          fills.push(this.#entry(load, model.fingerprint, look, body, cache));
        } else {
          unused.set(load.target, load.lease);
          fills.push(this.#replaceIndex(load, cache, index));
        }
      }
      const lease = rowKey === undefined ? undefined : rowLeases.get(rowKey);
      if (rowKey === undefined || lease === undefined || used.has(rowKey)) continue;
      used.add(rowKey);
      if (quiet && body !== undefined) {
        fills.push(this.#entry({ ...load, target: rowKey, lease }, model.fingerprint, look, body, cache));
      } else {
        unused.set(rowKey, lease);
      }
    }
    fills.push(this.#coherence.abandon(unused, look));
    return { stored: Promise.all(fills) };
  }

  /** Stores which rows are in a list, and those of the rows that are not stored yet. */
  async list(cache: ListCache, load: Load, { answer, cells }: Result): Promise<Sent> {
    const { model } = cache;
    const { lease, target, epoch, tableGeneration, lookup } = load;
    if (lease === undefined || tableGeneration === undefined) return nothingSent;
    const primaryKeys = (answer as readonly Model[]).map((instance) => model.keyValues(instance, model.primaryKey));
    if (cells === undefined || !primaryKeys.every((primaryKey) => primaryKey !== undefined)) {
      await this.#coherence.abandon(new Map([[target, lease]]));
      return nothingSent;
    }
    const rows = new Map(primaryKeys.map((primaryKey, at) => [model.rowKey(primaryKey), [0, (cells as readonly unknown[])[at]] as const]));
    const head = valueHead(model.fingerprint, tableGeneration);
    const refresh = lookup.mode === 'refresh';
    const wanted = epoch === undefined ? [] : Array.from(rows.keys(), (key) => [key, { head, refresh }] as const);
    // A list that was there before mostly lacks one row.
    const present = load.seen.state === 'value' ? await this.#coherence.look([...rows.keys()]) : undefined;
    const lacking = wanted.filter(([key]) => {
      const seen = present?.(key);
      return refresh || seen?.state !== 'value' || !seen.text.startsWith(head);
    });
    const { leases, look, epoch: now } = await this.#leases.rows(model, new Map(lacking), [target], load.since);
    const quiet = now !== undefined && now === epoch;
    const list = this.#entry(load, cache.fingerprint, look, [lookup.values, primaryKeys], cache, primaryKeys.length === 0);
    const last = await inParts([...leases], async ([key, rowLease]) => {
      if (!quiet) await this.#coherence.abandon(new Map([[key, rowLease]]), look);
      else await this.#entry({ ...load, target: key, lease: rowLease, generation: tableGeneration }, model.fingerprint, look, rows.get(key), cache);
    });
    const stored = Promise.all([list, last.stored]);
    // So many operations under way leave no room for others: whoever asked for so much waits for them.
    if (leases.size > longestPart) await stored;
    if (!quiet) return { stored };
    this.#listHints.set(lookup.id, { rowKeys: [...rows.keys()], epoch });
    // What the next one will look at.
    for (const key of rows.keys()) lookup.page?.wanted.add(key);
    lookup.page?.epochs.set(model.tableKeys.epoch, epoch);
    return { stored };
  }

  /** The index entry led astray: it is replaced as it was seen before the query. */
  async #replaceIndex({ lookup, index, generation }: Load, cache: SimpleCache, body: IndexPlan['index']): Promise<void> {
    if (index === undefined || generation === undefined || body === undefined) return;
    const value = valueHead(cache.fingerprint, generation) + bodyText(body);
    if (await this.#coherence.replace(lookup.key, index, value, cache.timeout)) cache.counters.fills += 1;
  }

  /** What a load by another key than the primary has to store. */
  #indexPlan(cache: SimpleCache, load: Load, { answer, cells }: Result): IndexPlan {
    const { model } = cache;
    const instance = answer as Model | null;
    if (instance === null) {
      this.#hints.delete(load.lookup);
      return { load, rowKey: undefined, body: undefined, index: [load.lookup.values] };
    }
    const primaryKey = model.keyValues(instance, model.primaryKey);
    const rowValues = model.keyValues(instance, cache.columns);
    if (primaryKey === undefined || rowValues === undefined || cells == null) {
      return { load, rowKey: undefined, body: undefined, index: undefined };
    }
    const rowKey = model.rowKey(primaryKey);
    this.#hints.set(load.lookup, { rowKey, primaryKey, rowValues });
    // What the next one will look at.
    load.lookup.page?.wanted.add(rowKey);
    return { load, rowKey, body: [0, cells], index: [load.lookup.values, primaryKey, rowValues] };
  }

  /** Puts a body under the load's lease; takes the lease back if that cannot be done. */
  async #entry(
    load: Load,
    fingerprint: string,
    look: Look,
    body: readonly unknown[] | undefined,
    cache: BoundCache,
    none = false,
  ): Promise<void> {
    const { target, lease, generation } = load;
    if (lease === undefined || generation === undefined) return;
    const value = body === undefined ? undefined : valueHead(fingerprint, generation) + bodyText(body);
    if (value === undefined || Buffer.byteLength(value) > this.#coherence.maxValueBytes) {
      if (value !== undefined) noteBypass(load.lookup, 'too-large');
      await this.#coherence.abandon(new Map([[target, lease]]));
      return;
    }
    const lifetime = none ? Math.min(cache.timeout, cache.negativeTimeout) : cache.timeout;
    // An id that the database will choose is known to a writer only after the row was committed.
    const chosenLater = none && cache.kind === 'simple' && cache.model.autoIncrement && cache.primary;
    const seconds = chosenLater ? Math.min(lifetime, this.#writeLease) : lifetime;
    if (await this.#coherence.fill(target, lease, look(target), value, seconds)) cache.counters.fills += 1;
  }
}

interface IndexPlan {
  readonly load: Load;
  readonly rowKey: string | undefined;
  /** The row entry's body. */
  readonly body: readonly unknown[] | undefined;
  /** The index entry's body. */
  readonly index: readonly unknown[] | undefined;
}

/** The body of a row entry. */
function rowBody(
  cache: SimpleCache,
  { values }: Lookup,
  instance: Model | null,
  cells: Result['cells'],
): readonly unknown[] | undefined {
  if (cells === undefined) return undefined;
  const asked = cache.primaryKeyOf(values);
  if (instance === null || cells === null) return [asked];
  const own = cache.model.keyValues(instance, cache.model.primaryKey);
  if (own === undefined) return undefined;
  return [sameValues(own, asked) ? 0 : asked, cells];
}

/** The body of a result entry. */
function resultBody(values: readonly Canonical[], cells: unknown): readonly unknown[] {
  return cells === null ? [values] : [values, cells];
}
