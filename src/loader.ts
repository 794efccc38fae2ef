/**
 * Many lookups, few round trips: what is asked in one tick is looked up in one multi-get, and what
 * is missing is loaded in one query per cache.
 *
 * A lookup goes round: look at its keys, decide, and either answer, load, wait and look again, or
 * share a load that is already running here (a *flight*). A flight is shared only with a reader
 * whose own look shows that no write was finished since the flight's query began.
 */
import type { Model } from 'sequelize';
import type { Look } from './coherence/affected.js';
import type { Coherence } from './coherence/coherence.js';
import type { BoundCache, CustomCache, SimpleCache } from './caches/bound-cache.js';
import type { Seen } from './entries/envelope.js';
import { CorruptPayload, NotSerialisable, bodyText, parseBody } from './entries/codec.js';
import { valueHead } from './entries/envelope.js';
import type { Canonical } from './entries/key-types.js';
import { publish, type BypassReason } from './events.js';
import { Gate } from './gate.js';
import { sameValues } from './models/cached-model.js';
import { findByKeys } from './models/finder.js';
import type { ResolvedOptions } from './options.js';
import { LRUCache } from 'lru-cache';

/** How a lookup is made. */
export type Mode = 'read' | 'refresh' | 'cache-only';

/** The answer: an instance, null for "no such row", undefined for "not in the cache" (cache-only). */
export type Answer = Model | null | undefined;

interface Waiter {
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: unknown) => void;
}

class Lookup {
  /** Flights and duplicates are told apart by this: the cache, the exact values, the mode. */
  readonly id: string;
  readonly waiters: Waiter[];
  /** Until when to wait for another process's fill, in `performance.now()` milliseconds. */
  waitUntil: number | undefined = undefined;
  /** The next wait for another process's fill, in milliseconds. */
  waitStep = 4;
  /** Not to be answered through this process's hint again. */
  ignoreHint: boolean;
  /** It was counted as a miss. */
  counted = false;
  /** How often its lease could not be placed. */
  attempts = 0;
  #key: string | undefined;

  constructor(
    readonly cache: BoundCache,
    readonly values: readonly Canonical[],
    readonly mode: Mode,
    waiter: Waiter,
  ) {
    this.id = `${mode} ${cache.name} ${values.length === 1 ? exact(values[0] as Canonical) : JSON.stringify(values)}`;
    this.waiters = [waiter];
    this.ignoreHint = mode === 'refresh';
  }

  /** Computed when it is asked for: a hit through a hint needs none. */
  get key(): string {
    return (this.#key ??= this.cache.keyFor(this.values));
  }
}

/** "These key values lead to this row": checked against the row whenever it is used. */
interface Hint {
  readonly rowKey: string;
  readonly primaryKey: readonly Canonical[];
  /** The row's own key values as they matched. */
  readonly rowValues: readonly Canonical[];
}

/** What one look says about a lookup. */
type Verdict =
  | { readonly state: 'hit'; readonly values: readonly unknown[] | null }
  /** The row entry has to be looked at as well. */
  | { readonly state: 'row'; readonly hint: Hint }
  /** The hint was wrong. */
  | { readonly state: 'astray' }
  /** To be loaded, with a lease on `target`. */
  | { readonly state: 'miss'; readonly target: string; readonly hint: Hint | undefined };

/** A load that runs in this process. */
interface Flight {
  /** What no write may have changed since the query began; undefined when nothing is known. */
  witness: { readonly key: string; readonly text: string; readonly generation: string } | undefined;
  readonly outcome: Promise<Outcome>;
  settle(outcome: Outcome): void;
}

/** What a load found, so that each waiter can have an instance of its own. */
type Outcome =
  | { readonly state: 'found'; readonly instance: Model | null; copy(): Promise<Model | null> }
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
  readonly generationSeen: Seen;
  /** The table's epoch; undefined if it was not looked at yet. */
  readonly epochSeen: Seen | undefined;
  readonly hint: Hint | undefined;
  /** When the last look before the query was made, in `performance.now()` milliseconds. */
  since: number;
  /** The generation's text that a fill is made under. */
  generation: string | undefined;
  /** The lease's text on `target`. */
  lease: string | undefined;
  epoch: string | undefined;
  /** The index entry as it was before the query, where the lease is on the row that it leads to. */
  index: Seen | undefined;
  readonly bypass: BypassReason | undefined;
}

/** Answers lookups of all caches of one Sequelize instance. */
export class Loader {
  readonly #coherence: Coherence;
  readonly #options: ResolvedOptions;
  readonly #hints: LRUCache<string, Hint>;
  readonly #flights = new Map<string, Flight>();
  readonly #gate: Gate;
  #queue = new Map<string, Lookup>();
  #lastHead = { fingerprint: '', generation: '', head: '' };

  constructor(coherence: Coherence, options: ResolvedOptions) {
    this.#coherence = coherence;
    this.#options = options;
    this.#hints = new LRUCache({ max: options.maxHints });
    this.#gate = new Gate(options.maxConcurrentLoads);
  }

  /** The row (or custom result) with these key values. Rejects only with the database's errors. */
  load(cache: BoundCache, values: readonly Canonical[], mode: Mode): Promise<Answer> {
    return new Promise((resolve, reject) => {
      this.#enqueue(new Lookup(cache, values, mode, { resolve, reject }));
    });
  }

  #enqueue(lookup: Lookup): void {
    const same = this.#queue.get(lookup.id);
    if (same !== undefined) {
      same.waiters.push(...lookup.waiters);
      return;
    }
    if (this.#queue.size === 0) {
      // After the microtasks of this tick, so that lookups behind an await join.
      void Promise.resolve().then(() => {
        process.nextTick(() => {
          this.#flush();
        });
      });
    }
    this.#queue.set(lookup.id, lookup);
  }

  #flush(): void {
    const lookups = [...this.#queue.values()];
    this.#queue = new Map();
    const { maxBatch } = this.#options;
    for (let from = 0; from < lookups.length; from += maxBatch) {
      const batch = lookups.slice(from, from + maxBatch);
      this.#answer(batch).catch((error: unknown) => {
        for (const { waiters } of batch) for (const { reject } of waiters) reject(error);
      });
    }
  }

  async #answer(lookups: readonly Lookup[]): Promise<void> {
    const hints = new Map<Lookup, Hint>();
    const keys = new Set<string>();
    for (const lookup of lookups) {
      const { cache } = lookup;
      keys.add(cache.model.tableKeys.generation);
      const hint = this.#hintOf(lookup);
      if (hint === undefined) {
        keys.add(lookup.key);
        // It is known to this process for the first time, so a load is likely: it saves a round trip.
        if (needsEpoch(cache)) keys.add(cache.model.tableKeys.epoch);
        continue;
      }
      hints.set(lookup, hint);
      keys.add(hint.rowKey);
      // A unique key leads to one row or none: while the row still has the key, it is the answer.
      if (!isUnique(lookup)) keys.add(lookup.key);
    }
    const look = await this.#coherence.look([...keys]);

    const misses: Miss[] = [];
    const astray: Lookup[] = [];
    const rows: { readonly lookup: Lookup; readonly hint: Hint }[] = [];
    const decide = (lookup: Lookup, judge: () => Verdict, looked: Look): void => {
      const verdict = judge();
      switch (verdict.state) {
        case 'hit':
          this.#hit(lookup, verdict.values, judge);
          break;
        case 'row':
          rows.push({ lookup, hint: verdict.hint });
          break;
        case 'astray':
          astray.push(lookup);
          break;
        case 'miss':
          misses.push(this.#missOf(lookup, verdict, looked, needsEpoch(lookup.cache) && !hints.has(lookup)));
      }
    };
    for (const lookup of lookups) decide(lookup, () => this.#judge(lookup, look, hints.get(lookup)), look);

    if (rows.length > 0) {
      const wanted = new Set(rows.flatMap(({ lookup, hint }) => [hint.rowKey, lookup.cache.model.tableKeys.generation]));
      const second = await this.#coherence.look([...wanted]);
      const both: Look = (key) => (wanted.has(key) ? second(key) : look(key));
      for (const { lookup, hint } of rows) {
        decide(lookup, () => this.#judgeRow(lookup, lookup.cache as SimpleCache, hint, both, true), both);
      }
    }
    for (const lookup of astray) {
      this.#hints.delete(lookup.id);
      lookup.ignoreHint = true;
      this.#enqueue(lookup);
    }
    if (misses.length > 0) await this.#miss(misses);
  }

  // ---- Judging what a look showed -------------------------------------------------------------

  #hintOf(lookup: Lookup): Hint | undefined {
    if (lookup.ignoreHint || lookup.cache.kind === 'custom' || lookup.cache.primary) return undefined;
    return this.#hints.get(lookup.id);
  }

  #judge(lookup: Lookup, look: Look, hint: Hint | undefined): Verdict {
    const { cache } = lookup;
    if (lookup.mode === 'refresh') return { state: 'miss', target: lookup.key, hint: undefined };
    if (cache.kind === 'custom') return this.#judgeResult(lookup, cache, look);
    if (cache.primary) return this.#judgePrimary(lookup, cache, look);
    if (hint !== undefined && isUnique(lookup)) return this.#judgeRow(lookup, cache, hint, look, false);
    return this.#judgeIndex(lookup, cache, look, hint);
  }

  #judgePrimary(lookup: Lookup, cache: SimpleCache, look: Look): Verdict {
    const miss: Verdict = { state: 'miss', target: lookup.key, hint: undefined };
    const asked = cache.primaryKeyOf(lookup.values);
    return (
      this.#read(lookup, cache.model.fingerprint, lookup.key, look, (body) => {
        const row = rowOf(body, asked, cache);
        return row === 'other' ? miss : { state: 'hit', values: row };
      }) ?? miss
    );
  }

  #judgeIndex(lookup: Lookup, cache: SimpleCache, look: Look, hint: Hint | undefined): Verdict {
    const miss: Verdict = { state: 'miss', target: lookup.key, hint: undefined };
    return (
      this.#read(lookup, cache.fingerprint, lookup.key, look, ([asked, primaryKey, rowValues]) => {
        if (!isCanonical(asked)) throw new CorruptPayload('an index entry of another shape');
        if (primaryKey === undefined) {
          return sameValues(asked, lookup.values) ? { state: 'hit', values: null } : miss;
        }
        if (!isCanonical(primaryKey) || !isCanonical(rowValues) || primaryKey.length !== cache.model.primaryKey.length) {
          throw new CorruptPayload('an index entry of another shape');
        }
        // Another spelling of the bucket: only the database knows whether it is the same row.
        if (!sameValues(asked, lookup.values) && !sameValues(rowValues, lookup.values)) return miss;
        const found: Hint = { rowKey: cache.model.rowKey(primaryKey), primaryKey, rowValues };
        return found.rowKey === hint?.rowKey
          ? this.#judgeRow(lookup, cache, found, look, true)
          : { state: 'row', hint: found };
      }) ?? miss
    );
  }

  #judgeRow(lookup: Lookup, cache: SimpleCache, hint: Hint, look: Look, viaIndex: boolean): Verdict {
    // The lease goes to the row's key: the index entry (or hint) is right as far as it is known.
    const miss: Verdict = { state: 'miss', target: hint.rowKey, hint };
    return (
      this.#read(lookup, cache.model.fingerprint, hint.rowKey, look, (body) => {
        const values = rowOf(body, hint.primaryKey, cache);
        const key = values === 'other' || values === null ? undefined : cache.model.keyValuesAt(values, cache.columns);
        if (key === undefined || !sameValues(key, hint.rowValues)) {
          // The row is gone or was renamed.
          return viaIndex ? { state: 'miss', target: lookup.key, hint: undefined } : { state: 'astray' };
        }
        // A hint that was used is the one that is remembered.
        if (viaIndex) this.#hints.set(lookup.id, hint);
        return { state: 'hit', values: values as readonly unknown[] };
      }) ?? miss
    );
  }

  #judgeResult(lookup: Lookup, cache: CustomCache, look: Look): Verdict {
    const miss: Verdict = { state: 'miss', target: lookup.key, hint: undefined };
    return (
      this.#read(lookup, cache.fingerprint, lookup.key, look, ([asked, cells]) => {
        if (!isCanonical(asked)) throw new CorruptPayload('a result entry of another shape');
        if (!sameValues(asked, lookup.values)) return miss;
        return { state: 'hit', values: cells === undefined ? null : cache.model.hydrator.values(cells) };
      }) ?? miss
    );
  }

  /** Hands the body of a valid value to `judge`; `undefined` for everything else. */
  #read(
    lookup: Lookup,
    fingerprint: string,
    key: string,
    look: Look,
    judge: (body: readonly unknown[]) => Verdict,
  ): Verdict | undefined {
    const seen = look(key);
    if (seen.state === 'foreign') {
      lookup.cache.counters.errors += 1;
      publish('corrupt', () => ({ key, cause: new CorruptPayload('not an entry of ours') }));
    }
    if (seen.state !== 'value') return undefined;
    const generation = look(lookup.cache.model.tableKeys.generation);
    if (generation.state !== 'stamp') return undefined;
    const head = this.#headOf(fingerprint, generation.text);
    if (!seen.text.startsWith(head)) return undefined;
    try {
      const verdict = judge(parseBody(seen.text, head.length));
      if (verdict.state === 'hit') this.#coherence.remember(key, seen.token);
      return verdict;
    } catch (cause) {
      if (!(cause instanceof CorruptPayload)) throw cause;
      lookup.cache.counters.errors += 1;
      publish('corrupt', () => ({ key, cause }));
      return undefined;
    }
  }

  /** `valueHead`, kept for the next lookup: those of one batch are mostly of one table. */
  #headOf(fingerprint: string, generation: string): string {
    const last = this.#lastHead;
    if (last.fingerprint === fingerprint && last.generation === generation) return last.head;
    const head = valueHead(fingerprint, generation);
    this.#lastHead = { fingerprint, generation, head };
    return head;
  }

  /** Answers every waiter with an instance of its own; `judge` decodes once more for each further one. */
  #hit(lookup: Lookup, values: readonly unknown[] | null, judge: () => Verdict): void {
    const { cache, waiters } = lookup;
    cache.counters.hits += waiters.length;
    publish('hit', () => ({ cache: cache.name, key: lookup.key }));
    const { hydrator } = cache.model;
    let own = values;
    for (let at = 0; at < waiters.length; at += 1) {
      if (at > 0) {
        const again = judge();
        own = again.state === 'hit' ? again.values : null;
      }
      (waiters[at] as Waiter).resolve(own === null ? null : hydrator.instance(own));
    }
  }

  // ---- Misses ---------------------------------------------------------------------------------

  #missOf(lookup: Lookup, verdict: Miss['verdict'], look: Look, sawEpoch: boolean): Miss {
    const { generation, epoch } = lookup.cache.model.tableKeys;
    return {
      lookup,
      verdict,
      seen: look(verdict.target),
      generation: look(generation),
      epoch: sawEpoch ? look(epoch) : undefined,
    };
  }

  async #miss(misses: readonly Miss[]): Promise<void> {
    const loads: Load[] = [];
    const joins: Promise<void>[] = [];
    const waiting: Lookup[] = [];
    const now = performance.now();
    for (const miss of misses) {
      const { lookup } = miss;
      if (!lookup.counted) {
        lookup.counted = true;
        lookup.cache.counters.misses += lookup.waiters.length;
        publish('miss', () => ({ cache: lookup.cache.name, key: lookup.key }));
      }
      if (lookup.mode === 'cache-only') {
        for (const { resolve } of lookup.waiters) resolve(undefined);
        continue;
      }
      const flight = this.#flights.get(lookup.id);
      if (flight !== undefined) {
        joins.push(this.#join(miss, flight));
        continue;
      }
      const load = this.#prepare(miss, now);
      if (load === undefined) waiting.push(lookup);
      else loads.push(load);
    }
    this.#wait(waiting, now);
    await Promise.all([this.#run(loads), ...joins]);
  }

  /** Decides how a miss is loaded; `undefined` if it waits for another process's fill instead. */
  #prepare({ lookup, verdict, seen, generation, epoch }: Miss, now: number): Load | undefined {
    let bypass: BypassReason | undefined;
    if (seen.state === 'unknown' || generation.state === 'unknown') {
      bypass = this.#coherence.waiting > 0 ? 'undelivered-invalidation' : 'store-unavailable';
    } else if (seen.state === 'marker' || generation.state === 'marker') {
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
      generationSeen: generation,
      epochSeen: epoch,
      hint: verdict.hint,
      since: performance.now(),
      generation: generation.state === 'stamp' ? generation.text : undefined,
      lease: undefined,
      epoch: undefined,
      index: undefined,
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
      for (const lookup of lookups) this.#enqueue(lookup);
    }, delay);
  }

  /** Shares a running load if no write was finished since it began; else looks again after it. */
  async #join({ lookup, seen, generation }: Miss, flight: Flight): Promise<void> {
    const { witness } = flight;
    let fresh = false;
    if (witness !== undefined && generation.state === 'stamp' && generation.text === witness.generation) {
      if (witness.key === lookup.key) {
        fresh = 'text' in seen && seen.text === witness.text;
      } else {
        const now = (await this.#coherence.look([witness.key]))(witness.key);
        fresh = now.state === 'stamp' && now.text === witness.text;
      }
    }
    const outcome = await flight.outcome;
    if (!fresh || outcome.state === 'void') {
      this.#enqueue(lookup);
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
          resolve(own && at === 0 ? outcome.instance : await outcome.copy());
        } catch (error) {
          reject(error);
        }
      }),
    );
  }

  // ---- Loads ----------------------------------------------------------------------------------

  async #run(loads: readonly Load[]): Promise<void> {
    if (loads.length === 0) return;
    try {
      const ready = await this.#acquire(loads);
      const groups = new Map<BoundCache, Load[]>();
      for (const load of ready) groups.set(load.lookup.cache, [...(groups.get(load.lookup.cache) ?? []), load]);
      await Promise.all(
        Array.from(groups, ([cache, group]) =>
          cache.kind === 'custom'
            ? Promise.all(group.map((load) => this.#loadResult(cache, load)))
            : this.#loadRows(cache, group),
        ),
      );
    } catch (error) {
      // Nobody may be left waiting, whatever went wrong.
      await this.#fail(loads, error);
    }
  }

  /** Places the leases, and gives tables without generation or epoch new ones. */
  async #acquire(loads: readonly Load[]): Promise<Load[]> {
    const targets = new Map<string, Seen>();
    const generations = new Map<string, Seen>();
    const epochs = new Map<string, Seen | undefined>();
    const indexes = new Set<string>();
    for (const load of loads) {
      const { tableKeys } = load.lookup.cache.model;
      load.since = performance.now();
      if (load.bypass === undefined) {
        targets.set(load.target, load.seen);
        if (load.generation === undefined) generations.set(tableKeys.generation, load.generationSeen);
      }
      if (needsEpoch(load.lookup.cache) && load.bypass !== 'store-unavailable') {
        epochs.set(tableKeys.epoch, load.epochSeen ?? epochs.get(tableKeys.epoch));
      }
      if (load.hint !== undefined && load.bypass === undefined) indexes.add(load.lookup.key);
    }
    const leases = new Map<string, string>();
    const stamps = new Map<string, string>();
    const keep = (kept: Map<string, string>, key: string, text: string | undefined): void => {
      if (text !== undefined) kept.set(key, text);
    };
    const [look] = await Promise.all([
      this.#readEpochs(epochs, [...indexes], stamps),
      ...Array.from(targets, async ([key, seen]) => {
        keep(leases, key, await this.#coherence.lease(key, seen));
      }),
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
      load.generation ??= stamps.get(tableKeys.generation);
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
        if (load.hint !== undefined) load.index = look(load.lookup.key);
      }
      load.flight.witness = witnessOf(load);
      ready.push(load);
    }
    await this.#coherence.abandon(abandoned);
    // Not earlier: they would meet leases of their own, and wait for them.
    for (const load of again) {
      this.#end(load, { state: 'void' });
      this.#enqueue(load.lookup);
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
    const began = performance.now();
    // Leases on what is asked for can be looked at (for their tokens) while the database answers.
    const early = loads.filter(({ lease }) => lease !== undefined && cache.primary).map(({ target }) => target);
    const earlyLook = early.length > 0 ? this.#coherence.look(early) : undefined;
    let found: (Model | null)[];
    try {
      found = await this.#gate.pass(() =>
        findByKeys(model, cache, loads.map(({ lookup }) => lookup.values)),
      );
    } catch (error) {
      await earlyLook;
      await this.#fail(loads, error);
      return;
    }
    publish('load', () => ({ cache: cache.name, lookups: loads.length, milliseconds: performance.now() - began }));
    const results = loads.map((load, at) => this.#result(load, cache, found[at] ?? null));
    await this.#fillRows(cache, loads, results, earlyLook);
    await Promise.all(loads.map((load, at) => this.#conclude(load, cache, results[at] as Result)));
  }

  async #loadResult(cache: CustomCache, load: Load): Promise<void> {
    const began = performance.now();
    const earlyLook = load.lease === undefined ? undefined : this.#coherence.look([load.target]);
    let result: Result;
    try {
      const instance = await this.#gate.pass(() => cache.compute(load.lookup.values));
      publish('load', () => ({ cache: cache.name, lookups: 1, milliseconds: performance.now() - began }));
      result = this.#result(load, cache, instance);
    } catch (error) {
      await earlyLook;
      await this.#fail([load], error);
      return;
    }
    if (earlyLook !== undefined) {
      const body = result.cells === undefined ? undefined : bodyOf(load.lookup.values, result.cells);
      await this.#fill(load, cache.fingerprint, await earlyLook, body, cache);
    }
    await this.#conclude(load, cache, result);
  }

  /** The found row as cells, as far as it can be stored. */
  #result(load: Load, cache: BoundCache, instance: Model | null): Result {
    if (instance === null) return { instance, cells: null };
    const { hydrator } = cache.model;
    try {
      return { instance, cells: hydrator.dehydrate(instance) };
    } catch (cause) {
      if (!(cause instanceof NotSerialisable)) throw cause;
      this.#bypassed(load.lookup, 'not-serialisable');
      return { instance, cells: undefined };
    }
  }

  async #fillRows(
    cache: SimpleCache,
    loads: readonly Load[],
    results: readonly Result[],
    earlyLook: Promise<Look> | undefined,
  ): Promise<void> {
    const { model } = cache;
    if (cache.primary) {
      const look = await earlyLook;
      if (look === undefined) return;
      await Promise.all(
        loads.map(async (load, at) => {
          if (load.lease === undefined) return;
          const { cells, instance } = results[at] as Result;
          await this.#fill(load, model.fingerprint, look, rowBody(cache, load.lookup, instance, cells), cache, cells === null);
        }),
      );
      return;
    }
    // Found by another key: the row's lease can only be placed now (see coherence.ts, "epoch").
    const plans = loads.map((load, at) => this.#indexPlan(cache, load, results[at] as Result));
    const rowLeases = new Map<string, string>();
    const since = Math.min(...loads.map((load) => load.since));
    const keys = new Set<string>([model.tableKeys.epoch]);
    for (const { load } of plans) if (load.lease !== undefined) keys.add(load.target);
    const early = (): boolean => performance.now() - since < this.#coherence.lateLeaseLimit;
    const seen = early() ? await this.#leaseRows(plans, rowLeases, keys) : undefined;
    // Once more, now that they stand: this process may have been stopped in between.
    const inTime = early();
    for (const key of rowLeases.keys()) keys.add(key);
    if (keys.size === 1) return;
    const look = seen ?? (await this.#coherence.look([...keys]));
    const epoch = look(model.tableKeys.epoch);
    const used = new Set<string>();
    const unused = new Map<string, string>();
    await Promise.all(
      plans.flatMap(({ load, rowKey, body, index }) => {
        const quiet = inTime && epoch.state === 'stamp' && epoch.text === load.epoch;
        const fills: Promise<void>[] = [];
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
        if (rowKey === undefined || lease === undefined || used.has(rowKey)) return fills;
        used.add(rowKey);
        if (quiet && body !== undefined) {
          fills.push(this.#fill({ ...load, target: rowKey, lease }, model.fingerprint, look, body, cache));
        } else {
          unused.set(rowKey, lease);
        }
        return fills;
      }).concat(this.#coherence.abandon(unused, look)),
    );
  }

  /** The index entry led astray: it is replaced as it was seen before the query. */
  async #replaceIndex({ lookup, index, generation }: Load, cache: SimpleCache, body: IndexPlan['index']): Promise<void> {
    if (index === undefined || generation === undefined || body === undefined) return;
    const value = valueHead(cache.fingerprint, generation) + bodyText(body);
    if (await this.#coherence.replace(lookup.key, index, value, cache.timeout)) cache.counters.fills += 1;
  }

  /** What a load by another key than the primary has to store. */
  #indexPlan(cache: SimpleCache, load: Load, { instance, cells }: Result): IndexPlan {
    const { model } = cache;
    if (instance === null) {
      this.#hints.delete(load.lookup.id);
      return { load, rowKey: undefined, body: undefined, index: [load.lookup.values] };
    }
    const primaryKey = model.keyValues(instance, model.primaryKey);
    const rowValues = model.keyValues(instance, cache.columns);
    if (primaryKey === undefined || rowValues === undefined || cells == null) {
      return { load, rowKey: undefined, body: undefined, index: undefined };
    }
    const rowKey = model.rowKey(primaryKey);
    this.#hints.set(load.lookup.id, { rowKey, primaryKey, rowValues });
    return { load, rowKey, body: [0, cells], index: [load.lookup.values, primaryKey, rowValues] };
  }

  /**
   * Places leases on rows that were found by another key. Resolves to a look at them and at `keys`
   * that was made after the last lease, if there had to be one.
   */
  async #leaseRows(
    plans: readonly IndexPlan[],
    leases: Map<string, string>,
    keys: ReadonlySet<string>,
  ): Promise<Look | undefined> {
    const wanted = new Set<string>();
    for (const { load, rowKey } of plans) {
      if (rowKey === undefined || load.epoch === undefined || load.generation === undefined) continue;
      if (load.lease === undefined || load.target === rowKey) continue;
      wanted.add(rowKey);
    }
    if (wanted.size === 0) return undefined;
    const again: string[] = [];
    await Promise.all(
      Array.from(wanted, async (key) => {
        const lease = await this.#coherence.lease(key, { state: 'absent' });
        if (lease === undefined) again.push(key);
        else leases.set(key, lease);
      }),
    );
    if (again.length === 0) return undefined;
    // Something stands there: replace it unless it is in use or a value that may still be good.
    const look = await this.#coherence.look([...new Set([...keys, ...leases.keys(), ...again])]);
    const placed = leases.size;
    const heads = new Map(
      plans.map(({ load, rowKey }) => [rowKey, load.generation === undefined ? '' : valueHead(load.lookup.cache.model.fingerprint, load.generation)]),
    );
    const refreshed = new Set(plans.filter(({ load }) => load.lookup.mode === 'refresh').map(({ rowKey }) => rowKey));
    await Promise.all(
      again.map(async (key) => {
        const seen = look(key);
        if (seen.state === 'value' && seen.text.startsWith(heads.get(key) ?? '') && !refreshed.has(key)) return;
        const lease = await this.#coherence.lease(key, seen);
        if (lease !== undefined) leases.set(key, lease);
      }),
    );
    return leases.size === placed ? look : undefined;
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
    // An id that the database will choose is known to a writer only after the row was committed.
    const seconds =
      none && cache.kind === 'simple' && cache.model.autoIncrement && cache.primary
        ? Math.min(cache.timeout, this.#options.writeLease)
        : cache.timeout;
    if (await this.#coherence.fill(target, lease, look(target), value, seconds)) cache.counters.fills += 1;
  }

  async #conclude(load: Load, cache: BoundCache, { instance, cells }: Result): Promise<void> {
    if (load.bypass !== undefined) this.#bypassed(load.lookup, load.bypass);
    const { hydrator } = cache.model;
    const own = instance === null ? null : hydrator.conceal(instance);
    // A nested JSON value is the instance's own, which its caller may change at once.
    const text = cells?.some((cell) => Array.isArray(cell) && cell[0] === 'j') === true ? JSON.stringify(cells) : undefined;
    const outcome: Outcome & { state: 'found' } = {
      state: 'found',
      instance: own,
      copy: async () => {
        if (own === null) return null;
        if (cells != null) return hydrator.instance(hydrator.values(text === undefined ? cells : JSON.parse(text)));
        // It cannot be copied exactly: ask again.
        const { values } = load.lookup;
        const copied =
          cache.kind === 'custom' ? await cache.compute(values) : (await findByKeys(cache.model, cache, [values]))[0];
        return copied == null ? null : hydrator.conceal(copied);
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
  readonly seen: Seen;
  readonly generation: Seen;
  readonly epoch: Seen | undefined;
}

interface Result {
  readonly instance: Model | null;
  /** The row's cells, null for no row, undefined if they cannot be stored. */
  readonly cells: readonly unknown[] | null | undefined;
}

interface IndexPlan {
  readonly load: Load;
  readonly rowKey: string | undefined;
  /** The row entry's body. */
  readonly body: readonly unknown[] | undefined;
  /** The index entry's body. */
  readonly index: readonly unknown[] | undefined;
}

/** After so many leases that could not be placed, the store is as good as down for this lookup. */
const maxLeaseAttempts = 5;

/** A value as a text that tells null and every string apart. */
const exact = (value: Canonical): string => (value === null ? '-' : `=${value}`);

const unseen: Look = () => ({ state: 'absent' });

const needsEpoch = (cache: BoundCache): boolean => cache.kind === 'simple' && !cache.primary;

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

/** The row in a row entry's body: its values, null for no such row, 'other' for another spelling's. */
function rowOf(
  [asked, cells]: readonly unknown[],
  primaryKey: readonly Canonical[],
  { model }: SimpleCache,
): unknown[] | null | 'other' {
  if (asked !== 0 && !isCanonical(asked)) throw new CorruptPayload('a row entry of another shape');
  if (cells === undefined) {
    if (asked === 0) throw new CorruptPayload('a row entry of another shape');
    return sameValues(asked, primaryKey) ? null : 'other';
  }
  const values = model.hydrator.values(cells);
  const own = model.keyValuesAt(values, model.primaryKey);
  if (own === undefined) throw new CorruptPayload('a row without primary key');
  if (sameValues(own, primaryKey)) return values;
  return asked !== 0 && sameValues(asked, primaryKey) ? values : 'other';
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
function bodyOf(values: readonly Canonical[], cells: readonly unknown[] | null): readonly unknown[] {
  return cells === null ? [values] : [values, cells];
}

