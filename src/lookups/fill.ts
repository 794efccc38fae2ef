/**
 * Whether and where the answer of the database is stored: the entries that a load leaves, each under
 * a lease that was there before the database was asked, or as good as that.
 */
import type { Model } from 'sequelize';
import type { ResultCache, SimpleCache } from '../caches/bound-cache.js';
import type { Coherence } from '../coherence/coherence.js';
import { bodyText } from '../entries/codec.js';
import { valueHead } from '../entries/envelope.js';
import type { Canonical } from '../entries/key-types.js';
import { sameValues } from '../models/cached-model.js';
import { EntryFiller, ownClaim, type Claim } from './entry-fill.js';
import type { Hints, ListHints } from './hints.js';
import type { Leases, RowWanted } from './leases.js';
import { ListFiller } from './list-fill.js';
import { nothingSent, type AnsweredLoad, type Sent } from './load.js';
import { unseen, type Lookup } from './lookup.js';

/** What entries are stored with. */
export interface FillerParts {
  readonly coherence: Coherence;
  readonly leases: Leases;
  readonly hints: Hints;
  readonly listHints: ListHints;
  /** Seconds. */
  readonly writeLease: number;
}

/** Stores what loads found, under the leases that they hold. */
export class Filler {
  readonly #coherence: Coherence;
  readonly #leases: Leases;
  readonly #hints: Hints;
  readonly #entries: EntryFiller;
  /** Stores lists. */
  readonly lists: ListFiller;

  constructor({ coherence, leases, hints, listHints, writeLease }: FillerParts) {
    this.#coherence = coherence;
    this.#leases = leases;
    this.#hints = hints;
    this.#entries = new EntryFiller(coherence, writeLease);
    this.lists = new ListFiller(coherence, leases, this.#entries, listHints);
  }

  /** Fills the leases on rows that were asked for by their primary key. */
  primary(cache: SimpleCache, loads: readonly AnsweredLoad[]): Promise<void> {
    const { fingerprint } = cache.model;
    return this.#own(loads, (load) => ownClaim(load, fingerprint, rowBody(cache, load.lookup, load.answer as Model | null, load.cells), load.cells === null));
  }

  /** Fills the leases on results. */
  results({ fingerprint }: ResultCache, loads: readonly AnsweredLoad[]): Promise<void> {
    return this.#own(loads, (load) => ownClaim(load, fingerprint, load.cells === undefined ? undefined : resultBody(load.lookup.values, load.cells), load.cells === null));
  }

  /** Fills the leases that loads began with, and that were looked at meanwhile. */
  #own(loads: readonly AnsweredLoad[], claimOf: (load: AnsweredLoad) => Claim | undefined): Promise<void> {
    const claims = loads.flatMap((load) => claimOf(load) ?? []);
    const looks = new Map(claims.map(({ key, load: { placed } }) => [key, placed ?? unseen]));
    return this.#entries.fill(claims, (key) => (looks.get(key) ?? unseen)(key));
  }

  /**
   * Stores rows that were found by another key, and what leads to them: the rows' leases can only be
   * placed now (see coherence.ts, "epoch").
   */
  async byKey(cache: SimpleCache, loads: readonly AnsweredLoad[]): Promise<Sent> {
    const { model } = cache;
    const plans = loads.map((load) => this.#indexPlan(cache, load));
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
    const { leases: rowLeases, look, epoch, late } = await this.#leases.rows(model, wanted, targets, since);
    const unused = new Map<string, string>();
    const claims: (Claim | undefined)[] = [];
    const replaced: Promise<void>[] = [];
    for (const { load, rowKey, body, index } of plans) {
      if (load.lease !== undefined) {
        if (load.hint === undefined) {
          claims.push(ownClaim(load, cache.fingerprint, index, rowKey === undefined));
        } else if (rowKey === load.target) {
          claims.push(ownClaim(load, model.fingerprint, body));
        } else {
          unused.set(load.target, load.lease);
          replaced.push(this.#replaceIndex(load, cache, index));
        }
      }
      const lease = rowKey === undefined ? undefined : rowLeases.get(rowKey);
      if (rowKey === undefined || lease === undefined) continue;
      rowLeases.delete(rowKey);
      if (epoch !== undefined && epoch === load.epoch && body !== undefined && load.generation !== undefined) {
        claims.push({ load, key: rowKey, lease, head: valueHead(model.fingerprint, load.generation), body });
      } else {
        unused.set(rowKey, lease);
      }
    }
    const fills = [this.#entries.fill(claims.flatMap((claim) => claim ?? []), look), this.#coherence.leases.abandon(unused, look), ...replaced];
    const rest = late ? plans.flatMap(({ rowKey, primaryKey }) => (rowKey !== undefined && primaryKey !== undefined && wanted.has(rowKey) ? [primaryKey] : [])) : [];
    return { stored: Promise.all(fills), rest };
  }

  /** The index entry led astray: it is replaced as it was seen before the query. */
  async #replaceIndex({ lookup, index, generation }: AnsweredLoad, cache: SimpleCache, body: IndexPlan['index']): Promise<void> {
    if (index === undefined || generation === undefined || body === undefined) return;
    const value = valueHead(cache.fingerprint, generation) + bodyText(body);
    const { state } = await this.#coherence.leases.replace(lookup.key, index, value, cache.timeout);
    if (state === 'stored') cache.counters.fills += 1;
  }

  /** What a load by another key than the primary has to store. */
  #indexPlan(cache: SimpleCache, load: AnsweredLoad): IndexPlan {
    const { model } = cache;
    const { cells } = load;
    const instance = load.answer as Model | null;
    if (instance === null) {
      this.#hints.delete(load.lookup);
      return { load, rowKey: undefined, primaryKey: undefined, body: undefined, index: [load.lookup.values] };
    }
    const primaryKey = model.keyValues(instance, model.primaryKey);
    const rowValues = model.keyValues(instance, cache.columns);
    if (primaryKey === undefined || rowValues === undefined || cells == null) {
      return { load, rowKey: undefined, primaryKey: undefined, body: undefined, index: undefined };
    }
    const rowKey = model.rowKey(primaryKey);
    this.#hints.set(load.lookup, { rowKey, primaryKey, rowValues });
    // What the next one will look at.
    load.lookup.page?.wanted.add(rowKey);
    return { load, rowKey, primaryKey, body: [0, cells], index: [load.lookup.values, primaryKey, rowValues] };
  }
}

interface IndexPlan {
  readonly load: AnsweredLoad;
  readonly rowKey: string | undefined;
  readonly primaryKey: readonly Canonical[] | undefined;
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
  cells: unknown,
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
