/**
 * Many lookups, few round trips: what is asked in one tick is looked up in one multi-get, and what
 * is missing is loaded in one query per cache.
 *
 * A lookup goes round: look at its keys, decide, and either answer, load, wait and look again, or
 * share a load that is already running here (a *flight*). A flight is shared only with a reader
 * whose own look shows that no write was finished since the flight's query began.
 */
import type { Model } from 'sequelize';
import type { Look, Sight } from './coherence/affected.js';
import type { Coherence } from './coherence/coherence.js';
import type { BoundCache, ListCache, ResultCache, SimpleCache } from './caches/bound-cache.js';
import { joinedStamps, valueHead, valueText, type Seen } from './entries/envelope.js';
import { CorruptPayload, NotSerialisable, bodyText, parseBody } from './entries/codec.js';
import type { Canonical } from './entries/key-types.js';
import { publish, type BypassReason } from './events.js';
import { Gate } from './gate.js';
import { bucketsOf, sameValues } from './models/cached-model.js';
import { findByKeys } from './models/finder.js';
import type { Row } from './models/hydrate.js';
import type { ResolvedOptions } from './options.js';
import { LRUCache } from 'lru-cache';

/** How a lookup is made. */
export type Mode = 'read' | 'refresh' | 'cache-only';

/** The answer: what the cache answers with, null for "no such row", undefined for "not in the cache" (cache-only). */
export type Answer = unknown;

/**
 * Keys that were looked at together, ahead of several lookups that follow one another: they find
 * there what they would ask for one round trip after the other. Every key that is asked for through
 * it is remembered in `wanted`.
 */
export class Page {
  readonly wanted = new Set<string>();
  /** The epochs among them, as they were last. */
  readonly epochs = new Map<string, string | undefined>();
  /** Whether a lookup was not answered from the cache. */
  missed = false;
  readonly #keys: ReadonlySet<string>;
  readonly #sight: Sight;
  static #pages = 0;
  /** Tells lookups through different pages apart. */
  readonly id = (Page.#pages += 1);

  constructor(keys: ReadonlySet<string> = new Set(), sight: Sight = nothingSeen) {
    this.#keys = keys;
    this.#sight = sight;
  }

  /** Whether the page shows a key. */
  has(key: string): boolean {
    return this.#keys.has(key);
  }

  /** What the page shows, and the rest as another sight has it. */
  over(sight: Sight): Sight {
    return {
      look: (key) => (this.#keys.has(key) ? this.#sight : sight).look(key),
      steady: (epoch) => (this.#keys.has(epoch) ? this.#sight : sight).steady(epoch),
    };
  }
}

interface Waiter {
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: unknown) => void;
}

class Lookup {
  #id: string | undefined;
  readonly waiters: Waiter[];
  /** Until when to wait for another process's fill, in `performance.now()` milliseconds. */
  waitUntil: number | undefined = undefined;
  /** The next wait for another process's fill, in milliseconds. */
  waitStep = 4;
  /** Not to be answered through this process's hint again. */
  ignoreHint: boolean;
  /** May be answered from its page: not when it looks again, because something is on its way. */
  ahead: boolean;
  /** A corrupt entry is told of: not by a look ahead of the one that counts. */
  tells = true;
  /** It was counted as a miss. */
  counted = false;
  /** How often its lease could not be placed. */
  attempts = 0;
  #key: string | undefined;

  constructor(
    readonly cache: BoundCache,
    readonly values: readonly Canonical[],
    readonly mode: Mode,
    waiter: Waiter | undefined,
    readonly page: Page | undefined,
  ) {
    this.waiters = waiter === undefined ? [] : [waiter];
    this.ignoreHint = mode === 'refresh';
    this.ahead = page !== undefined;
  }

  /** Its place among the lookups of its cache: the exact values, as one. */
  get place(): Canonical {
    const [value = null] = this.values;
    return this.values.length === 1 ? value : JSON.stringify(this.values);
  }

  /** Flights are told apart by this: the cache, the exact values, the mode. */
  get id(): string {
    return (this.#id ??= `${this.mode} ${this.cache.name} ${this.values.length === 1 ? exact(this.values[0] as Canonical) : JSON.stringify(this.values)}`);
  }

  /** Computed when it is asked for: a hit through a hint needs none. */
  get key(): string {
    return (this.#key ??= this.cache.keyFor(this.values));
  }
}

/**
 * The lookups of one tick. What is asked for twice is looked up once; but a page's looks are older
 * than the lookups of others.
 */
class Queue {
  readonly lookups: Lookup[] = [];
  /** By cache and value, as most are asked for: found without putting a text together for each. */
  readonly #reads = new Map<BoundCache, Map<Canonical, Lookup>>();
  readonly #others = new Map<string, Lookup>();

  /** Adds it, or its waiters to the one that is there. */
  add(lookup: Lookup): void {
    const same = this.#placed(lookup);
    if (same === lookup) this.lookups.push(lookup);
    else same.waiters.push(...lookup.waiters);
  }

  /** The lookup in this one's place: itself, if the place was free. */
  #placed(lookup: Lookup): Lookup {
    const { cache, mode, page, ahead, place } = lookup;
    const paged = page !== undefined && ahead;
    if (mode !== 'read' || paged) {
      const other = paged ? `${lookup.id} ${String(page.id)}` : lookup.id;
      const same = this.#others.get(other);
      if (same === undefined) this.#others.set(other, lookup);
      return same ?? lookup;
    }
    let reads = this.#reads.get(cache);
    if (reads === undefined) {
      reads = new Map<Canonical, Lookup>();
      this.#reads.set(cache, reads);
    }
    const same = reads.get(place);
    if (same === undefined) reads.set(place, lookup);
    return same ?? lookup;
  }
}

/** "These key values lead to this row": checked against the row whenever it is used. */
interface Hint {
  readonly rowKey: string;
  readonly primaryKey: readonly Canonical[];
  /** The row's own key values as they matched. */
  readonly rowValues: readonly Canonical[];
}

/**
 * What is remembered of where a cache's key values lead: what was used last, as in `Recent`. By the
 * caches' names, which stay the same when a program defines another model and all are bound anew.
 */
class Hints {
  readonly #half: number;
  #young = new Map<string, Map<Canonical, Hint>>();
  #old: ReadonlyMap<string, Map<Canonical, Hint>> = new Map<string, Map<Canonical, Hint>>();
  #count = 0;

  /** @param most how many hints there may be */
  constructor(most: number) {
    this.#half = Math.ceil(most / 2);
  }

  get({ cache: { name }, place }: Lookup): Hint | undefined {
    const hint = this.#young.get(name)?.get(place);
    if (hint !== undefined) return hint;
    const older = this.#old.get(name)?.get(place);
    if (older !== undefined) this.#put(name, place, older);
    return older;
  }

  set({ cache: { name }, place }: Lookup, hint: Hint): void {
    this.#put(name, place, hint);
  }

  delete({ cache: { name }, place }: Lookup): void {
    if (this.#young.get(name)?.delete(place) === true) this.#count -= 1;
    this.#old.get(name)?.delete(place);
  }

  #put(name: string, place: Canonical, hint: Hint): void {
    let hints = this.#young.get(name);
    if (hints?.has(place) !== true) {
      if (this.#count >= this.#half) {
        this.#old = this.#young;
        this.#young = new Map<string, Map<Canonical, Hint>>();
        this.#count = 0;
        hints = undefined;
      }
      this.#count += 1;
    }
    if (hints === undefined) {
      hints = new Map<Canonical, Hint>();
      this.#young.set(name, hints);
    }
    hints.set(place, hint);
  }
}

/** "These rows are in the list": as with a hint, only the look says whether they are. */
interface ListHint {
  readonly rowKeys: readonly string[];
  /** The table's epoch when all of it was seen. */
  readonly epoch: string | undefined;
}

/** What one look says about a lookup. */
type Verdict =
  /** `content` is what the cache makes an answer of. */
  | { readonly state: 'hit'; readonly content: unknown }
  /** The row entry has to be looked at as well. */
  | { readonly state: 'row'; readonly hint: Hint }
  /** These row entries have to be looked at, together with the list that names them. */
  | { readonly state: 'rows'; readonly hint: ListHint }
  /** The hint was wrong. */
  | { readonly state: 'astray' }
  /** To be loaded, with a lease on `target`; without one where a write in flight would take the answer away again. */
  | { readonly state: 'miss'; readonly target: string; readonly hint: Hint | undefined; readonly inFlight?: boolean };

/** A load that runs in this process. */
interface Flight {
  /** What no write may have changed since the query began; undefined when nothing is known. */
  witness: { readonly key: string; readonly text: string; readonly generation: string } | undefined;
  readonly outcome: Promise<Outcome>;
  settle(outcome: Outcome): void;
}

/** What a load found, so that each waiter can have an instance of its own. */
type Outcome =
  | { readonly state: 'found'; readonly answer: Answer; copy(): Promise<Answer> }
  | { readonly state: 'failed'; readonly error: unknown }
  /** It came to nothing; look again. */
  | { readonly state: 'void' };

/** A load as it is prepared, run and stored. */
interface Load {
  readonly lookup: Lookup;
  readonly flight: Flight;
  readonly target: string;
  /** What the look showed under `target` and under the table's generation. */
  readonly seen: Seen;
  /** What it showed under the cache's stamps. */
  readonly stampsSeen: readonly Seen[];
  /** The table's epoch; undefined if it was not looked at yet. */
  readonly epochSeen: Seen | undefined;
  readonly hint: Hint | undefined;
  /** When the last look before the query was made, in `performance.now()` milliseconds. */
  since: number;
  /** The stamps' text that a fill is made under. */
  generation: string | undefined;
  /** Of these, the table's, under which its rows are filled. */
  tableGeneration: string | undefined;
  /** The lease's text on `target`. */
  lease: string | undefined;
  epoch: string | undefined;
  /** The index entry as it was before the query, where the lease is on the row that it leads to. */
  index: Seen | undefined;
  /** A look at the lease since it was placed, for its token. */
  placed: Look | undefined;
  readonly bypass: BypassReason | undefined;
}

/** Answers lookups of all caches of one Sequelize instance. */
export class Loader {
  readonly #coherence: Coherence;
  readonly #options: ResolvedOptions;
  readonly #hints: Hints;
  /** Bounded by the number of rows that they name. */
  readonly #listHints: LRUCache<string, ListHint>;
  readonly #flights = new Map<string, Flight>();
  readonly #gate: Gate;
  #queue = new Queue();
  #lastHead = { fingerprint: '', generation: '', head: '' };

  constructor(coherence: Coherence, options: ResolvedOptions) {
    this.#coherence = coherence;
    this.#options = options;
    this.#hints = new Hints(options.maxHints);
    this.#listHints = new LRUCache({ maxSize: options.maxHints * rowsPerHint, sizeCalculation: ({ rowKeys }) => rowKeys.length + 1 });
    this.#gate = new Gate(options.maxConcurrentLoads);
  }

  /** The row (or custom result) with these key values. Rejects only with the database's errors. */
  load(cache: BoundCache, values: readonly Canonical[], mode: Mode, page?: Page): Promise<Answer> {
    const now = mode === 'refresh' || page !== undefined ? undefined : this.#answerNow(cache, values, mode);
    if (now !== undefined) return Promise.resolve(now.answer);
    return new Promise((resolve, reject) => {
      this.#enqueue(new Lookup(cache, values, mode, { resolve, reject }, page));
    });
  }

  /**
   * Looks at keys ahead of lookups, in one round trip.
   * @param epochs those of them that are tables' epochs, as they were last
   */
  async page(keys: ReadonlySet<string>, epochs: ReadonlyMap<string, string | undefined>): Promise<Page> {
    return keys.size === 0 ? new Page() : new Page(keys, await this.#coherence.survey([...keys], epochs, false));
  }

  /** The answer, where a store in this process has it: what is no hit goes the way of all lookups. */
  #answerNow(cache: BoundCache, values: readonly Canonical[], mode: Mode): { readonly answer: Answer } | undefined {
    const look = this.#coherence.lookNow;
    if (look === undefined || cache.kind === 'list') return undefined;
    const lookup = new Lookup(cache, values, mode, undefined, undefined);
    lookup.tells = false;
    let verdict = this.#judge(lookup, look, this.#hintOf(lookup));
    if (verdict.state === 'row' && cache.kind === 'simple') verdict = this.#judgeRow(lookup, cache, verdict.hint, look, true);
    if (verdict.state !== 'hit') return undefined;
    cache.counters.hits += 1;
    publish('hit', () => ({ cache: cache.name, key: lookup.key }));
    return { answer: cache.present(verdict.content) };
  }

  #enqueue(lookup: Lookup): void {
    if (this.#queue.lookups.length === 0) {
      // After the microtasks of this tick, so that lookups behind an await join.
      void Promise.resolve().then(() => {
        process.nextTick(() => {
          this.#flush();
        });
      });
    }
    this.#queue.add(lookup);
  }

  /** Looks again at the store itself. */
  #again(lookup: Lookup): void {
    lookup.ahead = false;
    this.#enqueue(lookup);
  }

  #flush(): void {
    const { lookups } = this.#queue;
    this.#queue = new Queue();
    const { maxBatch } = this.#options;
    for (let from = 0; from < lookups.length; from += maxBatch) {
      const batch = lookups.length <= maxBatch ? lookups : lookups.slice(from, from + maxBatch);
      this.#answer(batch).catch((error: unknown) => {
        for (const { waiters } of batch) for (const { reject } of waiters) reject(error);
      });
    }
  }

  async #answer(lookups: readonly Lookup[]): Promise<void> {
    const hints = new Map<Lookup, Hint>();
    const listHints = new Map<Lookup, ListHint>();
    const want = new Wanted();
    const likely: string[] = [];
    for (const lookup of lookups) {
      const { cache } = lookup;
      if (cache.kind === 'list') {
        const hint = lookup.mode === 'refresh' ? undefined : this.#listHints.get(lookup.id);
        if (hint !== undefined) listHints.set(lookup, hint);
        want.atOnce(lookup, hint);
        continue;
      }
      want.addStamps(lookup);
      const hint = this.#hintOf(lookup);
      if (hint === undefined) {
        want.add(lookup, lookup.key);
        const last = lastKeyOf(lookup);
        if (last !== undefined) want.add(lookup, last);
        // It is known to this process for the first time, so a load is likely: it saves a round trip.
        if (needsEpoch(cache)) want.add(lookup, cache.model.tableKeys.epoch);
        if (this.#isLikelyMiss(lookup)) likely.push(lookup.key);
        continue;
      }
      hints.set(lookup, hint);
      want.add(lookup, hint.rowKey);
      // A unique key leads to one row or none: while the row still has the key, it is the answer.
      if (!isUnique(lookup)) want.add(lookup, lookup.key);
    }
    // The leases of likely misses are sent right before the look, which shows them.
    const trying = likely.length > 0 && this.#coherence.looksInOrder(likely) ? this.#coherence.tryLeases(likely) : undefined;
    const sight = await this.#sight(want, false);
    const leases = await trying;
    const tried = leases === undefined ? noneTried : { leases, look: sight.look };
    const first = leases === undefined ? sight : { ...sight, look: without(leases, sight.look) };

    const misses: Miss[] = [];
    const astray: Lookup[] = [];
    const again: { readonly lookup: Lookup; readonly hint: Hint | ListHint; readonly round: number }[] = [];
    const decide = (lookup: Lookup, judge: () => Verdict, look: Look, round: number): void => {
      const verdict = judge();
      switch (verdict.state) {
        case 'hit':
          this.#hit(lookup, verdict.content, judge);
          break;
        case 'rows':
          // A page does not show them at the moment of what is looked at now.
          lookup.ahead = false;
          again.push({ lookup, hint: verdict.hint, round });
          break;
        case 'row':
          again.push({ lookup, hint: verdict.hint, round });
          break;
        case 'astray':
          astray.push(lookup);
          break;
        case 'miss':
          misses.push(this.#missOf(lookup, verdict, look, needsEpoch(lookup.cache) && !hints.has(lookup)));
      }
    };
    for (const lookup of lookups) {
      const sight = through(lookup, first);
      const { look } = sight;
      const { cache } = lookup;
      decide(
        lookup,
        () => (cache.kind === 'list' ? this.#judgeList(lookup, cache, sight, listHints.get(lookup), 0) : this.#judge(lookup, look, hints.get(lookup))),
        look,
        0,
      );
    }

    while (again.length > 0) {
      const open = again.splice(0);
      const more = new Wanted();
      for (const { lookup, hint } of open) {
        if ('rowKey' in hint) {
          more.addStamps(lookup);
          more.add(lookup, hint.rowKey);
        } else more.atOnce(lookup, hint);
      }
      const second = await this.#sight(more, true);
      for (const { lookup, hint, round } of open) {
        const { cache } = lookup;
        const { look: found, steady } = through(lookup, second);
        const before = through(lookup, first).look;
        const seen = new Set('rowKey' in hint ? [...definedOf(cache.stamps), hint.rowKey] : listKeysOf(lookup, hint));
        const both: Look = (key) => (seen.has(key) ? found : before)(key);
        decide(
          lookup,
          () =>
            'rowKey' in hint || cache.kind !== 'list'
              ? this.#judgeRow(lookup, cache as SimpleCache, hint as Hint, both, true)
              : this.#judgeList(lookup, cache, { look: both, steady }, hint, round + 1),
          both,
          round + 1,
        );
      }
    }
    for (const lookup of astray) {
      this.#hints.delete(lookup);
      lookup.ignoreHint = true;
      this.#again(lookup);
    }
    if (misses.length > 0 || leases !== undefined) await this.#miss(misses, tried);
  }

  /**
   * Whether a lookup is worth a lease before it is known to be a miss, which spares a round trip: this
   * process has not heard of the entry, and too many of those were not there lately.
   */
  #isLikelyMiss(lookup: Lookup): boolean {
    const { cache, mode, page } = lookup;
    if (mode !== 'read' || page !== undefined || cache.counters.newMissRate <= likelyMiss) return false;
    return this.#coherence.knowsNothingOf(lookup.key) && !this.#flights.has(lookup.id);
  }

  /**
   * Looks at what is wanted and on no page.
   * @param insist of lists that are known to be there: what they lead to is worth another look
   */
  async #sight(wanted: Wanted, insist: boolean): Promise<Sight> {
    const { keys, epochs } = wanted;
    if (epochs.size > 0) return this.#coherence.survey([...keys], epochs, insist);
    if (keys.size === 0) return nothingSeen;
    return { look: await this.#coherence.look([...keys]), steady: nothingSeen.steady };
  }

  // ---- Judging what a look showed -------------------------------------------------------------

  #hintOf(lookup: Lookup): Hint | undefined {
    if (lookup.ignoreHint || lookup.cache.kind !== 'simple' || lookup.cache.primary) return undefined;
    return this.#hints.get(lookup);
  }

  #judge(lookup: Lookup, look: Look, hint: Hint | undefined): Verdict {
    const { cache } = lookup;
    if (lookup.mode === 'refresh' || cache.kind === 'list') return missOn(lookup.key);
    if (cache.kind === 'result') return this.#judgeResult(lookup, cache, look);
    if (cache.primary) return this.#judgePrimary(lookup, cache, look);
    if (hint !== undefined && isUnique(lookup)) return this.#judgeRow(lookup, cache, hint, look, false);
    return this.#judgeIndex(lookup, cache, look, hint);
  }

  #judgePrimary(lookup: Lookup, cache: SimpleCache, look: Look): Verdict {
    const found = this.#rowAt(lookup, lookup.key, cache.primaryKeyOf(lookup.values), look);
    return found === undefined || found === 'other' ? missOn(lookup.key) : { state: 'hit', content: found.row };
  }

  #judgeIndex(lookup: Lookup, cache: SimpleCache, look: Look, hint: Hint | undefined): Verdict {
    return (
      this.#read(lookup, cache, lookup.key, look, ([asked, primaryKey, rowValues], { token }): Verdict => {
        if (!isCanonical(asked)) throw new CorruptPayload('an index entry of another shape');
        if (primaryKey === undefined) {
          if (!sameValues(asked, lookup.values)) return missOn(lookup.key);
          if (!this.#coherence.remember(lookup.key, token)) cache.counters.noteNew(true);
          return { state: 'hit', content: null };
        }
        if (!isCanonical(primaryKey) || !isCanonical(rowValues) || primaryKey.length !== cache.model.primaryKey.length) {
          throw new CorruptPayload('an index entry of another shape');
        }
        // Another spelling of the bucket: only the database knows whether it is the same row.
        if (!sameValues(asked, lookup.values) && !sameValues(rowValues, lookup.values)) return missOn(lookup.key);
        const found: Hint = { rowKey: cache.model.rowKey(primaryKey), primaryKey, rowValues };
        return found.rowKey === hint?.rowKey
          ? this.#judgeRow(lookup, cache, found, look, true)
          : { state: 'row', hint: found };
      }) ?? missOn(lookup.key)
    );
  }

  #judgeRow(lookup: Lookup, cache: SimpleCache, hint: Hint, look: Look, viaIndex: boolean): Verdict {
    const found = this.#rowAt(lookup, hint.rowKey, hint.primaryKey, look);
    // The lease goes to the row's key: the index entry (or hint) is right as far as it is known.
    if (found === undefined) return missOn(hint.rowKey, hint);
    if (found === 'other' || !isStill(found, hint, cache)) {
      // The row is gone or was renamed.
      return viaIndex ? missOn(lookup.key) : { state: 'astray' };
    }
    // A hint that was used is the one that is remembered.
    if (viaIndex) {
      if (isUnique(lookup)) cache.counters.noteNew(true);
      this.#hints.set(lookup, hint);
    }
    return { state: 'hit', content: found.row };
  }

  #judgeResult(lookup: Lookup, cache: ResultCache, look: Look): Verdict {
    return (
      this.#read(lookup, cache, lookup.key, look, (body, { token }): Verdict => {
        const content = contentOf(body, lookup, cache);
        if (content === undefined) return missOn(lookup.key);
        if (!this.#coherence.remember(lookup.key, token)) cache.counters.noteNew(true);
        return { state: 'hit', content };
      }) ?? missOn(lookup.key)
    );
  }

  /**
   * A list counts if each of its rows is there and still has the key values, and if no write to the
   * table was finished between the first and the last of these looks: rows of one moment, as one
   * statement would have found them.
   * @param hint the rows that were looked at
   */
  #judgeList(lookup: Lookup, cache: ListCache, { look, steady }: Sight, hint: ListHint | undefined, round: number): Verdict {
    if (lookup.mode === 'refresh') return missOn(lookup.key);
    const { model } = cache;
    return (
      this.#read(lookup, cache, lookup.key, look, ([asked, primaryKeys], { token }): Verdict => {
        if (!isCanonical(asked) || !Array.isArray(primaryKeys)) throw new CorruptPayload('a list entry of another shape');
        if (!sameValues(asked, lookup.values)) return missOn(lookup.key);
        const rowKeys = primaryKeys.map((primaryKey: unknown) => {
          if (!isCanonical(primaryKey) || primaryKey.length !== model.primaryKey.length) {
            throw new CorruptPayload('a list entry of another shape');
          }
          return model.rowKey(primaryKey);
        });
        const epoch = steady(model.tableKeys.epoch);
        if (!hasAll(hint?.rowKeys ?? [], rowKeys) || (epoch === undefined && rowKeys.length > 0)) {
          return round < maxListRounds ? { state: 'rows', hint: { rowKeys, epoch } } : missOn(lookup.key);
        }
        const rows: Row[] = [];
        for (const [at, rowKey] of rowKeys.entries()) {
          const found = this.#rowAt(lookup, rowKey, primaryKeys[at] as readonly Canonical[], look);
          const row = found === undefined || found === 'other' ? null : found.row;
          if (row === null || !hasKey(row, lookup, cache)) {
            return { state: 'miss', target: lookup.key, hint: undefined, inFlight: rowKeys.some((one) => look(one).state === 'marker') };
          }
          rows.push(row);
        }
        this.#listHints.set(lookup.id, { rowKeys, epoch });
        this.#coherence.remember(lookup.key, token);
        return { state: 'hit', content: rows };
      }) ?? missOn(lookup.key)
    );
  }

  /** The value that a write has outdated, where the cache may still answer with it. */
  #judgeOutdated(lookup: Lookup, look: Look): Verdict | undefined {
    const { cache } = lookup;
    const last = lastKeyOf(lookup);
    if (last === undefined || cache.kind !== 'result') return undefined;
    const seen = look(last);
    if (seen.state !== 'outdated') return undefined;
    const asValue: Look = (key) => (key === last ? { ...seen, state: 'value', text: valueText(seen.text) } : look(key));
    return this.#read(lookup, cache, last, asValue, (body) => {
      const content = contentOf(body, lookup, cache);
      return content === undefined ? undefined : { state: 'hit', content };
    });
  }

  /** Hands the body of a valid entry of the cache's own to `judge`; `undefined` for everything else. */
  #read<T>(
    lookup: Lookup,
    cache: BoundCache,
    key: string,
    look: Look,
    judge: (body: readonly unknown[], seen: { readonly token: string }) => T | undefined,
  ): T | undefined {
    return this.#readUnder(lookup, cache.fingerprint, cache.stamps, key, look, judge);
  }

  /**
   * What a valid row entry says: 'other' if it is about another spelling, undefined for everything
   * else. An entry that this process has read before is not parsed again.
   */
  #rowAt(lookup: Lookup, key: string, primaryKey: readonly Canonical[], look: Look): KnownRow | 'other' | undefined {
    const { model } = lookup.cache;
    const seen = look(key);
    if (seen.state === 'value') {
      const stamp = look(model.stamps[0]);
      const known = this.#coherence.recall(key, seen.token);
      if (
        known instanceof KnownRow &&
        stamp.state === 'stamp' &&
        known.head === this.#headOf(model.fingerprint, stamp.text) &&
        sameValues(known.primaryKey, primaryKey)
      ) {
        return known;
      }
    }
    return this.#readUnder(lookup, model.fingerprint, model.stamps, key, look, (body, { token, text }, head) => {
      const row = rowOf(body, primaryKey, lookup.cache);
      if (row === 'other') return row;
      const found = new KnownRow(head, primaryKey, row);
      if (!this.#coherence.remember(key, token, found, text.length) && key === lookup.key) lookup.cache.counters.noteNew(true);
      return found;
    });
  }

  #readUnder<T>(
    lookup: Lookup,
    fingerprint: string,
    [first, second]: readonly [string, second?: string],
    key: string,
    look: Look,
    judge: (body: readonly unknown[], seen: { readonly token: string; readonly text: string }, head: string) => T | undefined,
  ): T | undefined {
    const seen = look(key);
    if (seen.state === 'foreign') this.#tellCorrupt(lookup, key, new CorruptPayload('not an entry of ours'));
    if (seen.state !== 'value') return undefined;
    const stamp = look(first);
    const more = second === undefined ? undefined : look(second);
    if (stamp.state !== 'stamp' || (more !== undefined && more.state !== 'stamp')) return undefined;
    const head = this.#headOf(fingerprint, more === undefined ? stamp.text : joinedStamps(stamp.text, more.text));
    if (!seen.text.startsWith(head)) return undefined;
    try {
      return judge(parseBody(seen.text, head.length), seen, head);
    } catch (cause) {
      if (!(cause instanceof CorruptPayload)) throw cause;
      this.#tellCorrupt(lookup, key, cause);
      return undefined;
    }
  }

  #tellCorrupt(lookup: Lookup, key: string, cause: CorruptPayload): void {
    if (!lookup.tells) return;
    lookup.cache.counters.errors += 1;
    publish('corrupt', () => ({ key, cause }));
  }

  /** `valueHead`, kept for the next lookup: those of one batch are mostly of one table. */
  #headOf(fingerprint: string, generation: string): string {
    const last = this.#lastHead;
    if (last.fingerprint === fingerprint && last.generation === generation) return last.head;
    const head = valueHead(fingerprint, generation);
    this.#lastHead = { fingerprint, generation, head };
    return head;
  }

  #hit(lookup: Lookup, content: unknown, judge: () => Verdict): void {
    const { cache, waiters } = lookup;
    cache.counters.hits += waiters.length;
    publish('hit', () => ({ cache: cache.name, key: lookup.key }));
    this.#present(lookup, content, judge);
  }

  /** Answers every waiter with an instance of its own; of a result, `judge` decodes one for each further waiter. */
  #present({ cache, waiters }: Lookup, content: unknown, judge: () => Verdict | undefined): void {
    let own = content;
    for (let at = 0; at < waiters.length; at += 1) {
      if (at > 0 && cache.kind === 'result') {
        const again = judge();
        if (again?.state !== 'hit') throw new Error('The same look gave another answer.');
        own = again.content;
      }
      (waiters[at] as Waiter).resolve(cache.present(own));
    }
  }

  // ---- Misses ---------------------------------------------------------------------------------

  #missOf(lookup: Lookup, verdict: Miss['verdict'], look: Look, sawEpoch: boolean): Miss {
    const { stamps, model } = lookup.cache;
    return {
      lookup,
      verdict,
      look,
      seen: look(verdict.target),
      stamps: stamps.map((key) => look(key as string)),
      epoch: sawEpoch ? look(model.tableKeys.epoch) : undefined,
    };
  }

  /** @param tried leases that were placed ahead, where misses were likely */
  async #miss(misses: readonly Miss[], tried: Tried): Promise<void> {
    const loads: Load[] = [];
    const joins: Promise<void>[] = [];
    const waiting: Lookup[] = [];
    const now = performance.now();
    for (const miss of misses) {
      const { lookup } = miss;
      if (!lookup.counted) {
        lookup.counted = true;
        if (lookup.page !== undefined) lookup.page.missed = true;
        const { counters } = lookup.cache;
        counters.misses += lookup.waiters.length;
        if (miss.seen.state === 'absent' && miss.verdict.hint === undefined && this.#coherence.knowsNothingOf(lookup.key)) counters.noteNew(false);
        publish('miss', () => ({ cache: lookup.cache.name, key: lookup.key }));
      }
      if (lookup.mode === 'cache-only') {
        for (const { resolve } of lookup.waiters) resolve(undefined);
        continue;
      }
      const flight = this.#flights.get(lookup.id);
      if (flight !== undefined || miss.seen.state === 'lease' || miss.seen.state === 'marker') {
        const judge = (): Verdict | undefined => this.#judgeOutdated(lookup, miss.look);
        const outdated = judge();
        if (outdated?.state === 'hit') {
          lookup.cache.counters.outdated += lookup.waiters.length;
          this.#present(lookup, outdated.content, judge);
          continue;
        }
      }
      if (flight !== undefined) {
        joins.push(this.#join(miss, flight));
        continue;
      }
      const load = this.#prepare(miss, now);
      if (load === undefined) waiting.push(lookup);
      else loads.push(load);
    }
    this.#wait(waiting, now);
    const leased = new Set(loads.flatMap(({ bypass, target }) => (bypass === undefined ? [target] : [])));
    const unused = [...tried.leases].filter(([key]) => !leased.has(key));
    if (unused.length > 0) this.#coherence.inBackground(this.#coherence.abandon(new Map(unused), tried.look));
    await Promise.all([this.#run(loads, tried), ...joins]);
  }

  /** Decides how a miss is loaded; `undefined` if it waits for another process's fill instead. */
  #prepare({ lookup, verdict, seen, stamps, epoch }: Miss, now: number): Load | undefined {
    let bypass: BypassReason | undefined;
    if (seen.state === 'unknown' || stamps.some(({ state }) => state === 'unknown')) {
      bypass = this.#coherence.waiting > 0 ? 'undelivered-invalidation' : 'store-unavailable';
    } else if (verdict.inFlight === true || seen.state === 'marker' || stamps.some(({ state }) => state === 'marker')) {
      bypass = 'write-in-flight';
    } else if (seen.state === 'lease') {
      lookup.waitUntil ??= now + this.#options.leaseWait;
      if (now < lookup.waitUntil) return undefined;
      bypass = 'lease-wait';
    } else if (lookup.attempts >= maxLeaseAttempts) {
      bypass = 'store-unavailable';
    }
    let settle: (outcome: Outcome) => void = () => undefined;
    const outcome = new Promise<Outcome>((resolve) => {
      settle = resolve;
    });
    const flight: Flight = { witness: undefined, outcome, settle };
    this.#flights.set(lookup.id, flight);
    return {
      lookup,
      flight,
      target: verdict.target,
      seen,
      stampsSeen: stamps,
      epochSeen: epoch,
      hint: verdict.hint,
      since: performance.now(),
      generation: undefined,
      tableGeneration: undefined,
      lease: undefined,
      epoch: undefined,
      index: undefined,
      placed: undefined,
      bypass,
    };
  }

  /** Looks again a little later. What waits together is looked up, and if need be loaded, together. */
  #wait(lookups: readonly Lookup[], now: number): void {
    if (lookups.length === 0) return;
    let delay = Infinity;
    for (const lookup of lookups) {
      delay = Math.min(delay, lookup.waitStep, (lookup.waitUntil ?? now) - now);
      lookup.waitStep = Math.min(lookup.waitStep * 2, 64);
    }
    setTimeout(() => {
      for (const lookup of lookups) this.#again(lookup);
    }, delay);
  }

  /** Shares a running load if no write was finished since it began; else looks again after it. */
  async #join({ lookup, seen, stamps }: Miss, flight: Flight): Promise<void> {
    const { witness } = flight;
    let fresh = false;
    if (witness !== undefined && joined(stamps) === witness.generation) {
      if (witness.key === lookup.key) {
        fresh = 'text' in seen && seen.text === witness.text;
      } else {
        const now = (await this.#coherence.look([witness.key]))(witness.key);
        fresh = now.state === 'stamp' && now.text === witness.text;
      }
    }
    const outcome = await flight.outcome;
    if (!fresh || outcome.state === 'void') {
      this.#again(lookup);
      return;
    }
    if (outcome.state === 'failed') {
      for (const { reject } of lookup.waiters) reject(outcome.error);
      return;
    }
    await this.#give(lookup, outcome, false);
  }

  /** Hands an outcome to a lookup's waiters, each an instance of its own. */
  async #give(lookup: Lookup, outcome: Outcome & { state: 'found' }, own: boolean): Promise<void> {
    await Promise.all(
      lookup.waiters.map(async ({ resolve, reject }, at) => {
        try {
          resolve(own && at === 0 ? outcome.answer : await outcome.copy());
        } catch (error) {
          reject(error);
        }
      }),
    );
  }

  // ---- Loads ----------------------------------------------------------------------------------

  async #run(loads: readonly Load[], tried: Tried): Promise<void> {
    if (loads.length === 0) return;
    try {
      const ready = await this.#acquire(loads, tried);
      const groups = new Map<BoundCache, Load[]>();
      for (const load of ready) groups.set(load.lookup.cache, [...(groups.get(load.lookup.cache) ?? []), load]);
      await Promise.all(
        Array.from(groups, ([cache, group]) =>
          cache.kind === 'simple'
            ? this.#loadRows(cache, group)
            : Promise.all(group.map((load) => (cache.kind === 'list' ? this.#loadList(cache, load) : this.#loadResult(cache, load)))),
        ),
      );
    } catch (error) {
      // Nobody may be left waiting, whatever went wrong.
      await this.#fail(loads, error);
    }
  }

  /** Places the leases, and gives tables without generation or epoch new ones. */
  async #acquire(loads: readonly Load[], tried: Tried): Promise<Load[]> {
    const targets = new Map<string, Seen>();
    const generations = new Map<string, Seen>();
    const epochs = new Map<string, Seen | undefined>();
    const indexes = new Set<string>();
    for (const load of loads) {
      const { tableKeys } = load.lookup.cache.model;
      load.since = performance.now();
      if (load.bypass === undefined) {
        if (!tried.leases.has(load.target)) targets.set(load.target, load.seen);
        for (const [at, seen] of load.stampsSeen.entries()) {
          if (seen.state !== 'stamp') generations.set(load.lookup.cache.stamps[at] as string, seen);
        }
      }
      if (needsEpoch(load.lookup.cache) && load.bypass !== 'store-unavailable') {
        epochs.set(tableKeys.epoch, load.epochSeen ?? epochs.get(tableKeys.epoch));
      }
      if (load.hint !== undefined && load.bypass === undefined) indexes.add(load.lookup.key);
    }
    // A fill needs the lease's token: where it can be seen in the same round trip, nobody asks for it later.
    const early = loads.filter(({ lookup, target }) => targets.has(target) && isFilledByLease(lookup.cache)).map(({ target }) => target);
    const inOrder = early.length > 0 && this.#coherence.looksInOrder(early);
    const leases = new Map(tried.leases);
    const stamps = new Map<string, string>();
    const keep = (kept: Map<string, string>, key: string, text: string | undefined): void => {
      if (text !== undefined) kept.set(key, text);
    };
    const placing = Array.from(targets, async ([key, seen]) => {
      keep(leases, key, await this.#coherence.lease(key, seen));
    });
    const [look, placed] = await Promise.all([
      this.#readEpochs(epochs, [...indexes], stamps),
      inOrder ? this.#coherence.look(early) : undefined,
      ...placing,
      ...Array.from(generations, async ([key, seen]) => {
        keep(stamps, key, await this.#coherence.stamp(key, seen));
      }),
    ]);
    const ready: Load[] = [];
    const abandoned = new Map<string, string>();
    const again: Load[] = [];
    const taken = new Set<string>();
    for (const load of loads) {
      const { tableKeys } = load.lookup.cache.model;
      const current = load.stampsSeen.map((seen, at) => {
        const text = stamps.get(load.lookup.cache.stamps[at] as string);
        return text === undefined ? seen : ({ state: 'stamp', text, token: '' } as const);
      });
      load.generation = joined(current);
      load.tableGeneration = joined(current.slice(0, 1));
      load.epoch = stamps.get(tableKeys.epoch);
      if (load.bypass === undefined) {
        const lease = leases.get(load.target);
        if (lease === undefined || load.generation === undefined) {
          // Another reader or a writer was faster, or the store failed: look again.
          if (lease !== undefined) abandoned.set(load.target, lease);
          load.lookup.attempts += 1;
          again.push(load);
          continue;
        }
        // Two spellings of one bucket: one of them holds the lease and fills.
        if (!taken.has(load.target)) load.lease = lease;
        taken.add(load.target);
        load.placed = tried.leases.has(load.target) ? tried.look : placed;
        if (load.hint !== undefined) load.index = look(load.lookup.key);
      }
      load.flight.witness = witnessOf(load);
      ready.push(load);
    }
    await this.#coherence.abandon(abandoned);
    // Not earlier: they would meet leases of their own, and wait for them.
    for (const load of again) {
      this.#end(load, { state: 'void' });
      this.#again(load.lookup);
    }
    return ready;
  }

  /** Reads the epochs that were not seen, and gives tables without one a new one; looks at index entries on the way. */
  async #readEpochs(
    epochs: ReadonlyMap<string, Seen | undefined>,
    indexes: readonly string[],
    stamps: Map<string, string>,
  ): Promise<Look> {
    const keys = [...indexes];
    for (const [key, known] of epochs) if (known === undefined) keys.push(key);
    const look = keys.length === 0 ? unseen : await this.#coherence.look(keys);
    await Promise.all(
      Array.from(epochs, async ([key, known]) => {
        const seen = known ?? look(key);
        const text = seen.state === 'stamp' ? seen.text : await this.#coherence.stamp(key, seen);
        if (text !== undefined) stamps.set(key, text);
      }),
    );
    return look;
  }

  async #loadRows(cache: SimpleCache, loads: readonly Load[]): Promise<void> {
    const { model } = cache;
    const results = await this.#ask(cache, loads, () => findByKeys(model, cache, loads.map(({ lookup }) => lookup.values)));
    if (results === undefined) return;
    const stored = cache.primary ? this.#fillPrimary(cache, loads, results) : (await this.#fillByKey(cache, loads, results)).stored;
    await this.#conclude(cache, loads, results, stored);
  }

  async #loadResult(cache: ResultCache, load: Load): Promise<void> {
    const result = (await this.#ask(cache, [load], async () => [await cache.compute(load.lookup.values)]))?.[0];
    if (result === undefined) return;
    const body = result.cells === undefined ? undefined : bodyOf(load.lookup.values, result.cells);
    const stored = this.#fill(load, cache.fingerprint, load.placed ?? unseen, body, cache, result.cells === null);
    await this.#conclude(cache, [load], [result], stored);
  }

  async #loadList(cache: ListCache, load: Load): Promise<void> {
    const result = (await this.#ask(cache, [load], async () => [await cache.compute(load.lookup.values)]))?.[0];
    if (result === undefined) return;
    const { stored } = await this.#fillList(cache, load, result);
    await this.#conclude(cache, [load], [result], stored);
  }

  /**
   * Asks the database, and looks meanwhile at the leases that were not seen when they were placed and
   * are filled without another look. Without results the loads have failed.
   */
  async #ask(
    cache: BoundCache,
    loads: readonly Load[],
    ask: () => Promise<readonly unknown[]>,
  ): Promise<readonly Result[] | undefined> {
    const began = performance.now();
    // Of one statement's leases, some may have been placed with the look, and others after it.
    const unplaced = isFilledByLease(cache) ? loads.filter(({ lease, placed }) => lease !== undefined && placed === undefined) : [];
    const looking = unplaced.length === 0 ? undefined : this.#coherence.look(unplaced.map(({ target }) => target));
    try {
      const found = await this.#gate.pass(ask);
      publish('load', () => ({ cache: cache.name, lookups: loads.length, milliseconds: performance.now() - began }));
      const look = await looking;
      for (const load of unplaced) load.placed = look;
      return loads.map((load, at) => this.#result(load, cache, found[at] ?? null));
    } catch (error) {
      await looking;
      await this.#fail(loads, error);
      return undefined;
    }
  }

  /** The answer as cells, as far as it can be stored. */
  #result(load: Load, cache: BoundCache, answer: unknown): Result {
    try {
      return { answer, cells: cache.encode(answer) };
    } catch (cause) {
      if (!(cause instanceof NotSerialisable)) throw cause;
      this.#bypassed(load.lookup, 'not-serialisable');
      return { answer, cells: undefined };
    }
  }

  /** Fills the leases on rows that were asked for by their primary key. */
  async #fillPrimary(cache: SimpleCache, loads: readonly Load[], results: readonly Result[]): Promise<void> {
    await Promise.all(
      loads.map(async (load, at) => {
        const { cells, answer } = results[at] as Result;
        await this.#fill(load, cache.model.fingerprint, load.placed ?? unseen, rowBody(cache, load.lookup, answer as Model | null, cells), cache, cells === null);
      }),
    );
  }

  /**
   * Stores rows that were found by another key, and what leads to them: the rows' leases can only be
   * placed now (see coherence.ts, "epoch").
   */
  async #fillByKey(cache: SimpleCache, loads: readonly Load[], results: readonly Result[]): Promise<Sent> {
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
    const { leases: rowLeases, look, epoch } = await this.#leaseRows(model, wanted, targets, since);
    const used = new Set<string>();
    const unused = new Map<string, string>();
    const fills: Promise<void>[] = [];
    for (const { load, rowKey, body, index } of plans) {
      const quiet = epoch !== undefined && epoch === load.epoch;
      if (load.lease !== undefined) {
        if (load.hint === undefined) {
          fills.push(this.#fill(load, cache.fingerprint, look, index, cache, rowKey === undefined));
        } else if (rowKey === load.target) {
          fills.push(this.#fill(load, model.fingerprint, look, body, cache));
        } else {
          unused.set(load.target, load.lease);
          fills.push(this.#replaceIndex(load, cache, index));
        }
      }
      const lease = rowKey === undefined ? undefined : rowLeases.get(rowKey);
      if (rowKey === undefined || lease === undefined || used.has(rowKey)) continue;
      used.add(rowKey);
      if (quiet && body !== undefined) {
        fills.push(this.#fill({ ...load, target: rowKey, lease }, model.fingerprint, look, body, cache));
      } else {
        unused.set(rowKey, lease);
      }
    }
    fills.push(this.#coherence.abandon(unused, look));
    return { stored: Promise.all(fills) };
  }

  /** Stores which rows are in a list, and those of the rows that are not stored yet. */
  async #fillList(cache: ListCache, load: Load, { answer, cells }: Result): Promise<Sent> {
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
    const { leases, look, epoch: now } = await this.#leaseRows(model, new Map(lacking), [target], load.since);
    const quiet = now !== undefined && now === epoch;
    const list = this.#fill(load, cache.fingerprint, look, [lookup.values, primaryKeys], cache, primaryKeys.length === 0);
    const last = await inParts([...leases], async ([key, rowLease]) => {
      if (!quiet) await this.#coherence.abandon(new Map([[key, rowLease]]), look);
      else await this.#fill({ ...load, target: key, lease: rowLease, generation: tableGeneration }, model.fingerprint, look, rows.get(key), cache);
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

  /**
   * Places leases on rows that were found by another key than their own, and looks at them, at
   * `others` and at the table's epoch after the last lease.
   * @param since when the last look before the query was made, in `performance.now()` milliseconds
   * @returns `epoch` as it is then; undefined if it is too late to say that nothing came between
   */
  async #leaseRows(
    { tableKeys }: BoundCache['model'],
    wanted: ReadonlyMap<string, RowWanted>,
    others: readonly string[],
    since: number,
  ): Promise<{ readonly leases: ReadonlyMap<string, string>; readonly look: Look; readonly epoch: string | undefined }> {
    const leases = new Map<string, string>();
    const early = (): boolean => performance.now() - since < this.#coherence.lateLeaseLimit;
    const keys = (): string[] => [...new Set([tableKeys.epoch, ...others, ...leases.keys()])];
    let look: Look | undefined;
    if (early() && wanted.size > 0) {
      const all = [...new Set([tableKeys.epoch, ...others, ...wanted.keys()])];
      // Where the store keeps the order, a look that is sent after the leases shows them, and the epoch after them.
      const inOrder = wanted.size <= longestPart && this.#coherence.keepsOrder(all);
      const again: string[] = [];
      const placing = inParts([...wanted.keys()], async (key) => {
        const lease = await this.#coherence.lease(key, { state: 'absent' });
        if (lease === undefined) again.push(key);
        else leases.set(key, lease);
      });
      look = inOrder ? await this.#coherence.look(all) : undefined;
      await (await placing).stored;
      if (again.length > 0) {
        // Something stands there: replace it unless it is in use or a value that may still be good.
        const seenAt = look ?? (await this.#coherence.look([...keys(), ...again]));
        look = seenAt;
        const placed = leases.size;
        const replacing = await inParts(again, async (key) => {
          const seen = seenAt(key);
          const { head, refresh } = wanted.get(key) as RowWanted;
          if (seen.state === 'value' && seen.text.startsWith(head) && !refresh) return;
          const lease = await this.#coherence.lease(key, seen);
          if (lease !== undefined) leases.set(key, lease);
        });
        await replacing.stored;
        if (leases.size > placed) look = undefined;
      }
    }
    // Once more, now that they stand: this process may have been stopped in between.
    const inTime = early();
    look ??= await this.#coherence.look(keys());
    const epoch = look(tableKeys.epoch);
    return { leases, look, epoch: inTime && epoch.state === 'stamp' ? epoch.text : undefined };
  }

  /** Puts a body under the load's lease; takes the lease back if that cannot be done. */
  async #fill(
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
      if (value !== undefined) this.#bypassed(load.lookup, 'too-large');
      await this.#coherence.abandon(new Map([[target, lease]]));
      return;
    }
    const lifetime = none ? Math.min(cache.timeout, cache.negativeTimeout) : cache.timeout;
    // An id that the database will choose is known to a writer only after the row was committed.
    const chosenLater = none && cache.kind === 'simple' && cache.model.autoIncrement && cache.primary;
    const seconds = chosenLater ? Math.min(lifetime, this.#options.writeLease) : lifetime;
    if (await this.#coherence.fill(target, lease, look(target), value, seconds)) cache.counters.fills += 1;
  }

  /**
   * Answers. What the answers were stored with has been sent, and whoever looks next sends after it, so
   * nobody waits for how it ends.
   */
  async #conclude(cache: BoundCache, loads: readonly Load[], results: readonly Result[], stored: Promise<unknown>): Promise<void> {
    this.#coherence.inBackground(stored);
    await Promise.all(loads.map((load, at) => this.#hand(cache, load, results[at] as Result)));
  }

  async #hand(cache: BoundCache, load: Load, { answer, cells }: Result): Promise<void> {
    if (load.bypass !== undefined) this.#bypassed(load.lookup, load.bypass);
    const own = cache.conceal(answer);
    // What is nested in it is the answer's own, which its caller may change at once.
    const text = cache.kind === 'result' || holdsObjects(cells) ? JSON.stringify(cells) : undefined;
    const outcome: Outcome & { state: 'found' } = {
      state: 'found',
      answer: own,
      copy: async () => {
        if (cells !== undefined) return cache.present(cache.decode(text === undefined ? cells : JSON.parse(text)));
        // It cannot be copied exactly: ask again.
        const { values } = load.lookup;
        const copied = cache.kind === 'simple' ? (await findByKeys(cache.model, cache, [values]))[0] : await cache.compute(values);
        return cache.conceal(copied ?? null);
      },
    };
    this.#end(load, outcome);
    await this.#give(load.lookup, outcome, true);
  }

  async #fail(loads: readonly Load[], error: unknown): Promise<void> {
    const leases = new Map<string, string>();
    for (const load of loads) {
      if (load.lease !== undefined) leases.set(load.target, load.lease);
      this.#end(load, { state: 'failed', error });
      for (const { reject } of load.lookup.waiters) reject(error);
    }
    await this.#coherence.abandon(leases);
  }

  #end({ lookup, flight }: Load, outcome: Outcome): void {
    if (this.#flights.get(lookup.id) === flight) this.#flights.delete(lookup.id);
    flight.settle(outcome);
  }

  #bypassed({ cache }: Lookup, reason: BypassReason): void {
    cache.counters.bypasses += 1;
    publish('bypass', () => ({ cache: cache.name, reason }));
  }
}

interface Miss {
  readonly lookup: Lookup;
  readonly verdict: Verdict & { state: 'miss' };
  readonly look: Look;
  /** What the look showed under the target, and under the cache's stamps. */
  readonly seen: Seen;
  readonly stamps: readonly Seen[];
  readonly epoch: Seen | undefined;
}

interface Result {
  readonly answer: Answer;
  /** The answer as it is stored, null for no row, undefined if it cannot be stored. */
  readonly cells: unknown;
}

/** A row that is to be stored: what its value begins with, and whether one that is there is replaced. */
interface RowWanted {
  readonly head: string;
  readonly refresh: boolean;
}

/** What was made of a row entry. */
class KnownRow {
  /** The hint whose key values it was last seen to have. */
  hint: Hint | undefined = undefined;

  constructor(
    /** What the entry's text begins with. */
    readonly head: string,
    /** The primary key that it was read for. */
    readonly primaryKey: readonly Canonical[],
    /** Null for no such row. */
    readonly row: Row | null,
  ) {}
}

/** The keys that lookups of one batch want to see. */
class Wanted {
  /** What no page has. */
  readonly keys = new Set<string>();
  /** Tables whose lists are among them, with the epoch that they had last. */
  readonly epochs = new Map<string, string | undefined>();

  add(lookup: Lookup, key: string): void {
    const { page } = lookup;
    if (page !== undefined) {
      page.wanted.add(key);
      if (lookup.ahead && page.has(key)) return;
    }
    this.keys.add(key);
  }

  /** The stamps that the lookup's entries count under. */
  addStamps(lookup: Lookup): void {
    const [first, second] = lookup.cache.stamps;
    this.add(lookup, first);
    if (second !== undefined) this.add(lookup, second);
  }

  /** A list and the rows that it is known to lead to, as they were at one moment. */
  atOnce(lookup: Lookup, hint: ListHint | undefined): void {
    const { cache, page } = lookup;
    const { epoch } = cache.model.tableKeys;
    const keys = listKeysOf(lookup, hint);
    // What a page shows is of one moment, and what is looked at now of another.
    if (page !== undefined && !keys.every((key) => page.has(key))) lookup.ahead = false;
    for (const key of keys) this.add(lookup, key);
    page?.epochs.set(epoch, hint?.epoch);
    if (this.keys.has(epoch)) this.epochs.set(epoch, this.epochs.get(epoch) ?? hint?.epoch);
  }
}

/** What a list is judged by. */
const listKeysOf = ({ key, cache }: Lookup, hint: ListHint | undefined): string[] => [
  key,
  cache.model.tableKeys.epoch,
  ...definedOf(cache.stamps),
  ...(hint?.rowKeys ?? []),
];

const definedOf = ([first, second]: BoundCache['stamps']): string[] => (second === undefined ? [first] : [first, second]);

interface IndexPlan {
  readonly load: Load;
  readonly rowKey: string | undefined;
  /** The row entry's body. */
  readonly body: readonly unknown[] | undefined;
  /** The index entry's body. */
  readonly index: readonly unknown[] | undefined;
}

/** The most operations on rows that one load sends at the same time: what is too much at once the store refuses, to others too. */
const longestPart = 500;

/**
 * Does something for each item, for so many at a time.
 * @returns what was begun last, once all before it is done
 */
async function inParts<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<Sent> {
  // The first part is begun at once: what the caller sends next comes after it.
  let last = Promise.all(items.slice(0, longestPart).map(work));
  for (let from = longestPart; from < items.length; from += longestPart) {
    await last;
    last = Promise.all(items.slice(from, from + longestPart).map(work));
  }
  return { stored: last };
}

/** What was sent to the store: how it ends, which only few wait for. */
interface Sent {
  readonly stored: Promise<unknown>;
}

const nothingSent: Sent = { stored: Promise.resolve() };

/** A list's rows are looked at again so often if a write was finished meanwhile. */
const maxListRounds = 3;

/** A hint of a list names so many rows, on average, before it takes the room of others. */
const rowsPerHint = 20;

/**
 * Above this rate of misses, leases are placed ahead; it takes four in a row to get there. One that is
 * placed ahead spares a miss a round trip; one that is refused costs a hit a command, a tenth of that.
 */
const likelyMiss = 0.2;

/** After so many leases that could not be placed, the store is as good as down for this lookup. */
const maxLeaseAttempts = 5;

/** A value as a text that tells null and every string apart. */
const exact = (value: Canonical): string => (value === null ? '-' : `=${value}`);

const unseen: Look = () => ({ state: 'absent' });

/** Leases that were placed before the look, by key, and the look at them. */
interface Tried {
  readonly leases: ReadonlyMap<string, string>;
  readonly look: Look;
}

const noneTried: Tried = { leases: new Map(), look: unseen };

/** What a look shows, had these leases not been placed before it. */
const without =
  (leases: ReadonlyMap<string, string>, look: Look): Look =>
  (key) => {
    const seen = look(key);
    return seen.state === 'lease' && seen.text === leases.get(key) ? { state: 'absent' } : seen;
  };

const nothingSeen: Sight = { look: unseen, steady: () => undefined };

/** What a lookup sees: its page, and what that does not show as `sight` has it. */
const through = ({ page, ahead }: Lookup, sight: Sight): Sight => (page !== undefined && ahead ? page.over(sight) : sight);

const missOn = (target: string, hint?: Hint): Verdict => ({ state: 'miss', target, hint });

/** Whether what it finds is rows that it could not lease before. */
const needsEpoch = (cache: BoundCache): boolean => cache.kind === 'list' || (cache.kind === 'simple' && !cache.primary);

/** Whether its lease is on the very key that its answer is stored under, and nothing else is: a look at it suffices. */
const isFilledByLease = (cache: BoundCache): boolean => cache.kind === 'result' || (cache.kind === 'simple' && cache.primary);

/** The stamps' text, if all are there. */
function joined([first, second]: readonly Seen[]): string | undefined {
  if (first?.state !== 'stamp') return undefined;
  if (second === undefined) return first.text;
  return second.state === 'stamp' ? joinedStamps(first.text, second.text) : undefined;
}

const lastKeyOf = ({ cache, values, mode }: Lookup): string | undefined =>
  cache.kind === 'result' && mode === 'read' ? cache.lastKeyFor(values) : undefined;

/** The content of a result entry's body; `undefined` if it is another spelling's. */
function contentOf([asked, cells]: readonly unknown[], { values }: Lookup, cache: ResultCache): unknown {
  if (!isCanonical(asked)) throw new CorruptPayload('a result entry of another shape');
  return sameValues(asked, values) ? cache.decode(cells ?? null) : undefined;
}

/** Whether it is a row with the key values that a hint was made of. */
function isStill(found: KnownRow, hint: Hint, { model, columns }: SimpleCache): boolean {
  if (found.hint === hint) return true;
  const key = found.row === null ? undefined : model.keyValuesAt(found.row.values, columns);
  if (key === undefined || !sameValues(key, hint.rowValues)) return false;
  found.hint = hint;
  return true;
}

/** Whether a row has the key values asked for, as far as buckets tell. */
function hasKey({ values: row }: Row, { values }: Lookup, { model, columns }: ListCache): boolean {
  const key = model.keyValuesAt(row, columns);
  return key !== undefined && (sameValues(key, values) || sameValues(bucketsOf(columns, key), bucketsOf(columns, values)));
}

/** Whether all keys are among those that were looked at: mostly they are the very same. */
function hasAll(looked: readonly string[], keys: readonly string[]): boolean {
  if (sameValues(looked, keys)) return true;
  const known = new Set(looked);
  return keys.every((key) => known.has(key));
}

/** Whether cells hold values that are the answer's own: nested JSON. */
const holdsObjects = (cells: unknown): boolean =>
  Array.isArray(cells) ? cells[0] === 'j' || cells.some(holdsObjects) : typeof cells === 'object' && cells !== null;

/** What a later reader must still see to share this load. */
function witnessOf({ lookup, generation, lease, epoch, seen }: Load): Flight['witness'] {
  if (generation === undefined) return undefined;
  if (needsEpoch(lookup.cache)) {
    return epoch === undefined ? undefined : { key: lookup.cache.model.tableKeys.epoch, text: epoch, generation };
  }
  const text = lease ?? ('text' in seen ? seen.text : undefined);
  return text === undefined ? undefined : { key: lookup.key, text, generation };
}

const isUnique = ({ cache, values }: Lookup): boolean =>
  cache.kind === 'simple' && cache.unique && !values.includes(null);

function isCanonical(value: unknown): value is readonly Canonical[] {
  return Array.isArray(value) && value.every((item) => item === null || typeof item === 'string');
}

/** The row in a row entry's body: null for no such row, 'other' for another spelling's. */
function rowOf([asked, cells]: readonly unknown[], primaryKey: readonly Canonical[], { model }: BoundCache): Row | null | 'other' {
  if (asked !== 0 && !isCanonical(asked)) throw new CorruptPayload('a row entry of another shape');
  if (cells === undefined) {
    if (asked === 0) throw new CorruptPayload('a row entry of another shape');
    return sameValues(asked, primaryKey) ? null : 'other';
  }
  const row = model.hydrator.row(cells);
  const own = model.keyValuesAt(row.values, model.primaryKey);
  if (own === undefined) throw new CorruptPayload('a row without primary key');
  if (sameValues(own, primaryKey)) return row;
  return asked !== 0 && sameValues(asked, primaryKey) ? row : 'other';
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
function bodyOf(values: readonly Canonical[], cells: unknown): readonly unknown[] {
  return cells === null ? [values] : [values, cells];
}

