/**
 * Stores the lists that one statement has found: which rows are in each, and those of the rows that are
 * not stored yet. They share their round trips, however many they are.
 */
import type { Model } from 'sequelize';
import type { ListCache } from '../caches/bound-cache.js';
import { longestPart, type Look } from '../coherence/affected.js';
import type { Coherence } from '../coherence/coherence.js';
import { isUncacheableUnder, valueHead } from '../entries/envelope.js';
import type { Canonical } from '../entries/key-types.js';
import type { CachedModel } from '../models/cached-model.js';
import type { Claim, EntryFiller } from './entry-fill.js';
import type { ListHints } from './hints.js';
import type { Leases, RowLeases, RowWanted } from './leases.js';
import { nothingSent, type AnsweredLoad, type Sent } from './load.js';
import { unseen } from './lookup.js';

/** A list that can be stored. */
interface FoundList {
  readonly claim: Claim;
  readonly rowKeys: readonly string[];
  readonly primaryKeys: readonly (readonly Canonical[])[];
}

/** A row of a list: under which head it is stored, and on behalf of which list. */
interface FoundRow extends RowWanted {
  readonly load: AnsweredLoad;
  readonly primaryKey: readonly Canonical[];
  readonly cells: unknown;
}

type FoundRows = ReadonlyMap<string, FoundRow>;

/** What the rows of lists came to. */
interface FilledRows {
  /** A look at the lists' own leases, after the last one on a row. */
  readonly look: Look;
  /** The last rows that were sent. */
  readonly stored: Promise<unknown>;
  /** The keys of rows that were not stored, because a write may have come between. */
  readonly rest: ReadonlySet<string>;
  /** It was too late to say so. */
  readonly late: boolean;
}

/** Stores lists under the leases that their loads hold. */
export class ListFiller {
  readonly #coherence: Coherence;
  readonly #leases: Leases;
  readonly #entries: EntryFiller;
  readonly #listHints: ListHints;

  constructor(coherence: Coherence, leases: Leases, entries: EntryFiller, listHints: ListHints) {
    this.#coherence = coherence;
    this.#leases = leases;
    this.#entries = entries;
    this.#listHints = listHints;
  }

  /** @param loads those of one statement */
  async fill({ model, fingerprint }: ListCache, loads: readonly AnsweredLoad[]): Promise<Sent> {
    const lists: FoundList[] = [];
    const others: Claim[] = [];
    for (const load of loads) {
      const { lease, target, generation, tableGeneration } = load;
      if (lease === undefined || generation === undefined || tableGeneration === undefined) continue;
      const claim: Claim = { load, key: target, lease, head: valueHead(fingerprint, generation), body: undefined };
      const list = listOf(model, claim);
      if (list === undefined) others.push(claim);
      else lists.push(list);
    }
    const [found, ended] = await Promise.all([this.#lists(model, lists), this.#end(others)]);
    return { stored: Promise.all([found.stored, ended?.filled]), rest: found.rest };
  }

  /** Ends the leases of lists that cannot be stored. Nobody waits for the last of it. */
  async #end(claims: readonly Claim[]): Promise<{ readonly filled: Promise<unknown> } | undefined> {
    const [first] = claims;
    if (first === undefined) return undefined;
    const targets = claims.map(({ key }) => key);
    await first.load.renewal.release(targets);
    return { filled: this.#entries.fill(claims, await this.#coherence.look(targets)) };
  }

  async #lists(model: CachedModel, lists: readonly FoundList[]): Promise<Sent> {
    const [first] = lists;
    if (first === undefined) return nothingSent;
    // First, because storing the rows can take longer than a new lease may be late.
    const outlived = lists.filter(({ claim: { load, key } }) => load.epoch !== undefined && load.renewal.outlived(key) !== undefined);
    await Promise.all(outlived.map(({ claim }) => this.#placeAnew(claim, unseen)));
    const leased = outlived.length === 0 ? lists : lists.filter((list) => !outlived.includes(list));
    const rows = rowsOf(model, lists);
    const lacking = await this.#lacking(lists, rows);
    const { look, stored: rowsStored, rest, late } = await this.#fillRows(model, lists, lacking);
    const stored = Promise.all([this.#listEntries(leased, look), rowsStored]);
    // A caller that loads so many rows waits until they are stored, to leave room for others.
    if (lacking.size > longestPart) await stored;
    const again = new Set<string>();
    for (const list of lists) {
      const isLong = lacking.size > longestPart && list.rowKeys.length > longestPart;
      const lost = rest.size === 0 ? [] : list.rowKeys.filter((key) => rest.has(key));
      if (isLong || late) for (const key of lost) again.add(key);
      const { load } = list.claim;
      const isWhole = load.epoch !== undefined && lost.length === 0;
      if (isWhole || isLong || late) this.#remember(model, list, isWhole);
    }
    return { stored, rest: Array.from(again, (key) => (rows.get(key) as FoundRow).primaryKey) };
  }

  /** Remembers where a list led, for the next look at it. */
  #remember({ tableKeys }: CachedModel, { claim: { load }, rowKeys }: FoundList, isWhole: boolean): void {
    const { lookup, epoch } = load;
    this.#listHints.set(lookup.id, { rowKeys, epoch: isWhole ? epoch : undefined });
    // What the next one will look at.
    for (const key of rowKeys) lookup.page?.wanted.add(key);
    if (isWhole) lookup.page?.epochs.set(tableKeys.epoch, epoch);
  }

  /**
   * The rows that are to be stored. Where a list was there before, most of its rows are stored already, or
   * something stands in their places: a look says what.
   */
  async #lacking(lists: readonly FoundList[], rows: FoundRows): Promise<FoundRows> {
    const known = new Set(lists.flatMap(({ claim: { load }, rowKeys }) => (load.epoch !== undefined && (load.seen.state === 'value' || load.lookup.mode === 'refresh') ? rowKeys : [])));
    const look = known.size === 0 ? undefined : await this.#coherence.look([...known]);
    const lacking = new Map<string, FoundRow>();
    for (const [key, row] of rows) {
      if (row.load.epoch === undefined) continue;
      const seen = known.has(key) ? look?.(key) : undefined;
      if (seen === undefined) lacking.set(key, row);
      else if (row.refresh || !((seen.state === 'value' && seen.text.startsWith(row.head)) || isUncacheableUnder(row.head, seen))) lacking.set(key, { ...row, seen });
    }
    return lacking;
  }

  /**
   * Stores rows part by part, so that no lease on a row waits for those of all others, and no more than two
   * parts are under way. The lists' own leases are renewed until the last part.
   */
  async #fillRows(model: CachedModel, lists: readonly FoundList[], lacking: FoundRows): Promise<FilledRows> {
    const targets = lists.map(({ claim }) => claim.key);
    const { epoch, since, renewal } = (lists[0] as FoundList).claim.load;
    const keys = [...lacking.keys()];
    let before: Promise<unknown> = Promise.resolve();
    for (let from = 0; ; from += longestPart) {
      const isWhole = keys.length <= longestPart;
      const part = isWhole ? lacking : new Map(keys.slice(from, from + longestPart).map((key) => [key, lacking.get(key) as FoundRow]));
      const isLast = from + longestPart >= keys.length;
      const place = async (): Promise<RowLeases> => {
        if (isLast) await renewal.release(targets);
        return this.#leases.rows(model, part, isLast ? targets : [], since);
      };
      const [placed] = await Promise.all([place(), before]);
      const isQuiet = placed.epoch !== undefined && placed.epoch === epoch;
      const stored = isQuiet ? this.#entries.fill(Array.from(placed.leases, ([key, lease]) => rowClaim(key, lease, part)), placed.look) : this.#coherence.leases.abandon(placed.leases, placed.look);
      if (isQuiet && !isLast) {
        before = stored;
        continue;
      }
      const rest = new Set(isQuiet ? [] : keys.slice(from));
      if (isLast) return { look: placed.look, stored, rest, late: placed.late };
      await stored;
      await renewal.release(targets);
      return { look: await this.#coherence.look(targets), stored, rest, late: placed.late };
    }
  }

  /** Stores the lists' own entries. */
  async #listEntries(lists: readonly FoundList[], look: Look): Promise<void> {
    const claims: Claim[] = [];
    const anew: Promise<void>[] = [];
    for (const { claim } of lists) {
      const { load, key } = claim;
      if (load.epoch !== undefined && look(key).state === 'absent' && load.renewal.outlived(key) !== undefined) anew.push(this.#placeAnew(claim, look));
      else claims.push(claim);
    }
    await Promise.all([this.#entries.fill(claims, look), ...anew]);
  }

  /**
   * Stores a list whose lease this process was too busy to renew, under a new one: as for a row that was found
   * by another key, that is as good as before the query while the epoch is the same.
   */
  async #placeAnew(claim: Claim, look: Look): Promise<void> {
    const { load, key, head } = claim;
    const { leases, look: now, epoch } = await this.#leases.rows(load.lookup.cache.model, new Map([[key, { head, refresh: false }]]), [], load.since);
    const lease = leases.get(key);
    if (lease !== undefined && epoch === load.epoch) {
      await this.#entries.fill([{ ...claim, lease }], now);
      return;
    }
    await this.#coherence.leases.abandon(leases, now);
    await this.#entries.fill([claim], look);
  }
}

const rowClaim = (key: string, lease: string, rows: FoundRows): Claim => {
  const { load, head, cells } = rows.get(key) as FoundRow;
  return { load, key, lease, head, body: [0, cells] };
};

/** The list, if it can be stored. */
function listOf(model: CachedModel, claim: Claim): FoundList | undefined {
  const { answer, cells, lookup } = claim.load;
  if (cells === undefined) return undefined;
  const primaryKeys: (readonly Canonical[])[] = [];
  for (const instance of answer as readonly Model[]) {
    const primaryKey = model.keyValues(instance, model.primaryKey);
    if (primaryKey === undefined) return undefined;
    primaryKeys.push(primaryKey);
  }
  return {
    claim: { ...claim, body: [lookup.values, primaryKeys], none: primaryKeys.length === 0 },
    rowKeys: primaryKeys.map((primaryKey) => model.rowKey(primaryKey)),
    primaryKeys,
  };
}

/** The rows of lists, each once. */
function rowsOf(model: CachedModel, lists: readonly FoundList[]): FoundRows {
  const rows = new Map<string, FoundRow>();
  for (const { claim: { load }, rowKeys, primaryKeys } of lists) {
    const head = valueHead(model.fingerprint, load.tableGeneration as string);
    const isRefresh = load.lookup.mode === 'refresh';
    const cells = load.cells as readonly unknown[];
    for (const [at, key] of rowKeys.entries()) {
      // One that is in several lists is stored once, and replaced if one of them says so.
      if (rows.has(key) && !isRefresh) continue;
      rows.set(key, { load, head, refresh: isRefresh, primaryKey: primaryKeys[at] as readonly Canonical[], cells: cells[at] });
    }
  }
  return rows;
}
