/**
 * Whether and where the answer of the database is stored: the entries that a load leaves, each under
 * a lease that was there before the database was asked, or as good as that.
 */
import type { Model } from 'sequelize';
import { monotonic } from '../clock.js';
import type { ListCache, ResultCache, SimpleCache } from '../caches/bound-cache.js';
import { longestPart, type Look } from '../coherence/affected.js';
import type { Coherence } from '../coherence/coherence.js';
import { bodyText } from '../entries/codec.js';
import { isUncacheableUnder, valueHead } from '../entries/envelope.js';
import type { Canonical } from '../entries/key-types.js';
import { StoreClosedError, StoreRefusedError, StoreTimeoutError, StoreUnavailableError } from '../errors.js';
import { sameValues } from '../models/cached-model.js';
import type { Hints, ListHints } from './hints.js';
import type { Leases, RowWanted } from './leases.js';
import { noteExpired, noteRefused, nothingSent, type AnsweredLoad, type Sent } from './load.js';
import { unseen, type Lookup } from './lookup.js';

/** A lease, and what is stored in its place. */
interface Claim {
  readonly load: AnsweredLoad;
  readonly key: string;
  readonly lease: string;
  /** What the value begins with. */
  readonly head: string;
  readonly body: readonly unknown[] | undefined;
  /** The value says that there is no such row. */
  readonly none?: boolean;
}

/** What the rows of a list came to. */
interface FilledRows {
  /** A look at the list's own lease, after the last one on a row. */
  readonly look: Look;
  /** The last rows that were sent. */
  readonly stored: Promise<unknown>;
  /** The keys of rows that were not stored, because a write may have come between. */
  readonly rest: readonly string[];
  /** It was too late to say so. */
  readonly late: boolean;
}

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
  async primary(cache: SimpleCache, loads: readonly AnsweredLoad[]): Promise<void> {
    await Promise.all(
      loads.map(async (load) => {
        const body = rowBody(cache, load.lookup, load.answer as Model | null, load.cells);
        await this.#ownEntry(load, cache.model.fingerprint, load.placed ?? unseen, body, load.cells === null);
      }),
    );
  }

  /** Fills the lease on a result. */
  async result(cache: ResultCache, load: AnsweredLoad): Promise<void> {
    const body = load.cells === undefined ? undefined : resultBody(load.lookup.values, load.cells);
    await this.#ownEntry(load, cache.fingerprint, load.placed ?? unseen, body, load.cells === null);
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
    const fills: Promise<void>[] = [];
    for (const { load, rowKey, body, index } of plans) {
      if (load.lease !== undefined) {
        if (load.hint === undefined) {
          fills.push(this.#ownEntry(load, cache.fingerprint, look, index, rowKey === undefined));
        } else if (rowKey === load.target) {
          fills.push(this.#ownEntry(load, model.fingerprint, look, body));
        } else {
          unused.set(load.target, load.lease);
          fills.push(this.#replaceIndex(load, cache, index));
        }
      }
      const lease = rowKey === undefined ? undefined : rowLeases.get(rowKey);
      if (rowKey === undefined || lease === undefined) continue;
      rowLeases.delete(rowKey);
      if (epoch !== undefined && epoch === load.epoch && body !== undefined && load.generation !== undefined) {
        fills.push(this.#entry({ load, key: rowKey, lease, head: valueHead(model.fingerprint, load.generation), body }, look));
      } else {
        unused.set(rowKey, lease);
      }
    }
    fills.push(this.#coherence.leases.abandon(unused, look));
    const rest = late ? plans.flatMap(({ rowKey, primaryKey }) => (rowKey !== undefined && primaryKey !== undefined && wanted.has(rowKey) ? [primaryKey] : [])) : [];
    return { stored: Promise.all(fills), rest };
  }

  /** Stores which rows are in a list, and those of the rows that are not stored yet. */
  async list(cache: ListCache, load: AnsweredLoad): Promise<Sent> {
    const { model } = cache;
    const { lease, target, epoch, generation, tableGeneration, lookup, cells } = load;
    if (lease === undefined || generation === undefined || tableGeneration === undefined) return nothingSent;
    const claim = { load, key: target, lease, head: valueHead(cache.fingerprint, generation) };
    const primaryKeys = (load.answer as readonly Model[]).map((instance) => model.keyValues(instance, model.primaryKey));
    if (cells === undefined || !primaryKeys.every((primaryKey) => primaryKey !== undefined)) {
      await load.renewal.release(target);
      return { stored: this.#entry({ ...claim, body: undefined }, await this.#coherence.look([target])), rest: [] };
    }
    const rows = new Map(primaryKeys.map((primaryKey, at) => [model.rowKey(primaryKey), [0, (cells as readonly unknown[])[at]] as const]));
    const wanted = { head: valueHead(model.fingerprint, tableGeneration), refresh: lookup.mode === 'refresh' };
    const lacking = epoch === undefined ? [] : await this.#lacking(load, [...rows.keys()], wanted);
    const { look, stored: rowsStored, rest, late } = await this.#rowsOf(load, rows, lacking, wanted);
    const entry = this.#listEntry({ ...claim, body: [lookup.values, primaryKeys], none: primaryKeys.length === 0 }, look);
    const stored = Promise.all([entry, rowsStored]);
    // So many operations under way leave no room for others: whoever asked for so much waits for them.
    const isLong = lacking.length > longestPart;
    if (isLong) await stored;
    const isWhole = epoch !== undefined && rest.length === 0;
    if (isWhole || isLong || late) {
      this.#listHints.set(lookup.id, { rowKeys: [...rows.keys()], epoch: isWhole ? epoch : undefined });
      // What the next one will look at.
      for (const key of rows.keys()) lookup.page?.wanted.add(key);
      if (isWhole) lookup.page?.epochs.set(model.tableKeys.epoch, epoch);
    }
    if (rest.length === 0 || !(isLong || late)) return { stored, rest: [] };
    const keys = new Map(primaryKeys.map((primaryKey) => [model.rowKey(primaryKey), primaryKey]));
    return { stored, rest: rest.map((key) => keys.get(key) as readonly Canonical[]) };
  }

  /**
   * Stores a list's own entry. A lease that this process was too busy to renew is placed anew: as for a
   * row that was found by another key, that is as good as before the query while the epoch is the same.
   */
  async #listEntry(claim: Claim, look: Look): Promise<void> {
    const { load, key, head } = claim;
    if (look(key).state === 'absent' && load.epoch !== undefined && load.renewal.outlived(key) !== undefined) {
      const { leases, look: now, epoch } = await this.#leases.rows(load.lookup.cache.model, new Map([[key, { head, refresh: false }]]), [], load.since);
      const lease = leases.get(key);
      if (lease !== undefined && epoch === load.epoch) {
        await this.#entry({ ...claim, lease }, now);
        return;
      }
      await this.#coherence.leases.abandon(leases, now);
    }
    await this.#entry(claim, look);
  }

  /** The rows of a list that are not stored yet. A list that was there before mostly lacks one. */
  async #lacking({ seen }: AnsweredLoad, keys: readonly string[], { head, refresh }: RowWanted): Promise<readonly string[]> {
    if (refresh || seen.state !== 'value') return keys;
    const look = await this.#coherence.look(keys);
    return keys.filter((key) => {
      const row = look(key);
      return !(row.state === 'value' && row.text.startsWith(head)) && !isUncacheableUnder(head, row);
    });
  }

  /**
   * Stores rows of a list part by part, so that no lease on a row waits for those of all others. The
   * list's own lease is renewed until the last part.
   */
  async #rowsOf(load: AnsweredLoad, rows: ReadonlyMap<string, readonly unknown[]>, keys: readonly string[], wanted: RowWanted): Promise<FilledRows> {
    const { target, epoch, since, renewal, lookup } = load;
    for (let from = 0; ; from += longestPart) {
      const part = keys.slice(from, from + longestPart);
      const isLast = from + longestPart >= keys.length;
      if (isLast) await renewal.release(target);
      const placed = await this.#leases.rows(lookup.cache.model, new Map(part.map((key) => [key, wanted])), isLast ? [target] : [], since);
      const isQuiet = placed.epoch !== undefined && placed.epoch === epoch;
      const stored = isQuiet
        ? Promise.all(Array.from(placed.leases, ([key, lease]) => this.#entry({ load, key, lease, head: wanted.head, body: rows.get(key) }, placed.look)))
        : this.#coherence.leases.abandon(placed.leases, placed.look);
      if (isLast) return { look: placed.look, stored, rest: isQuiet ? [] : part, late: placed.late };
      await stored;
      if (isQuiet) continue;
      await renewal.release(target);
      return { look: await this.#coherence.look([target]), stored, rest: keys.slice(from), late: placed.late };
    }
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

  /** Puts a body under the lease that a load began with. */
  async #ownEntry(load: AnsweredLoad, fingerprint: string, look: Look, body: Claim['body'], none = false): Promise<void> {
    const { target: key, lease, generation } = load;
    if (lease === undefined || generation === undefined) return;
    await this.#entry({ load, key, lease, head: valueHead(fingerprint, generation), body, none }, look);
  }

  /** Puts a body under a lease; ends the lease if that cannot be done. */
  async #entry(claim: Claim, look: Look): Promise<void> {
    const { load, key, lease, head, body, none = false } = claim;
    const { leases, maxValueBytes } = this.#coherence;
    const { cache } = load.lookup;
    if (body === undefined) {
      if (load.unstorable === undefined) await leases.abandon(new Map([[key, lease]]), look);
      else await leases.refuse(key, lease, look(key), head, load.unstorable);
      return;
    }
    const value = head + bodyText(body);
    const bytes = Buffer.byteLength(value);
    if (bytes > maxValueBytes) {
      const cause = new StoreRefusedError(`The value has ${String(bytes)} bytes, and the store takes ${String(maxValueBytes)} at most.`, 'too-large');
      await this.#refuse(claim, look, cause);
      return;
    }
    const lifetime = none ? Math.min(cache.timeout, cache.negativeTimeout) : cache.timeout;
    // An id that the database will choose is known to a writer only after the row was committed.
    const chosenLater = none && cache.kind === 'simple' && cache.model.autoIncrement && cache.primary;
    const seconds = chosenLater ? Math.min(lifetime, this.#writeLease) : lifetime;
    const filled = await leases.fill(key, lease, look(key), value, seconds);
    switch (filled.state) {
      case 'stored':
        cache.counters.fills += 1;
        break;
      case 'lost':
        if (key === load.target) this.#noteLost(load);
        break;
      case 'refused':
        await this.#refuse(claim, look, filled.cause);
        break;
      case 'failed':
        // It expires by itself where the server is gone.
        if (!isUnreachable(filled.cause)) await leases.abandon(new Map([[key, lease]]));
    }
  }

  /** Tells of a lease that this process was too busy to renew. One that is gone for another reason was taken by a write. */
  #noteLost({ lookup, target, renewal, since }: AnsweredLoad): void {
    const milliseconds = renewal.outlived(target);
    if (milliseconds === undefined) return;
    this.#coherence.leases.noteOutlived(target, milliseconds);
    noteExpired(lookup, target, monotonic() - since);
  }

  /** The store does not take the value: nobody is to wait for it, or to try again for a while. */
  async #refuse({ load, key, lease, head }: Claim, look: Look, cause: StoreRefusedError): Promise<void> {
    noteRefused(load.lookup, key, cause);
    await this.#coherence.leases.refuse(key, lease, look(key), head, cause.reason);
  }
}

/** Whether a server was not reached, and will not be reached by the next command either. */
const isUnreachable = (cause: unknown): boolean =>
  cause instanceof StoreTimeoutError || cause instanceof StoreUnavailableError || cause instanceof StoreClosedError;

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
