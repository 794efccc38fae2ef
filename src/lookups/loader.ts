/**
 * Many lookups, few round trips: what is asked in one tick is looked up in one multi-get, and what
 * is missing is loaded in one query per cache.
 *
 * A lookup goes round: look at its keys, decide, and either answer, load, wait and look again, or
 * share a load that is already running here (a *flight*). A flight is shared only with a reader
 * whose own look shows that no write was finished since the flight's query began.
 */
import { atMost } from '../at-most.js';
import { monotonic, nextTick, setTimeout } from '../clock.js';
import type { BoundCache, SimpleCache } from '../caches/bound-cache.js';
import type { Look, Sight } from '../coherence/affected.js';
import type { Coherence } from '../coherence/coherence.js';
import { NotSerialisable } from '../entries/codec.js';
import { isUncacheableUnder, joined, valueHead, type Seen } from '../entries/envelope.js';
import type { Canonical } from '../entries/key-types.js';
import { publish, type BypassReason } from '../events.js';
import { Gate } from '../gate.js';
import type { ResolvedOptions } from '../options.js';
import { Filler } from './fill.js';
import { answersOf, loadsMany, partsOf } from './groups.js';
import { createListHints, Hints, type Hint, type ListHint, type ListHints } from './hints.js';
import { Judge, type Verdict } from './judge.js';
import { isFilledByLease, Leases, noneTried, type Tried } from './leases.js';
import { Statement } from './statement.js';
import { noteBypass, witnessOf, type AnsweredLoad, type Flight, type LeasedLoad, type Load, type Outcome, type Sent } from './load.js';
import { inOwnCode, isInOwnCode, runsOwnCode } from './own-code.js';
import { Pages } from './pages.js';
import { Renewal } from './renewal.js';
import {
  definedOf,
  isUnique,
  lastKeyOf,
  listKeysOf,
  Lookup,
  needsEpoch,
  nothingSeen,
  Queue,
  through,
  Wanted,
  type Answer,
  type Mode,
  type Page,
  type Waiter,
} from './lookup.js';

/** Answers lookups of all caches of one Sequelize instance. */
export class Loader {
  readonly #coherence: Coherence;
  readonly #options: ResolvedOptions;
  readonly #hints: Hints;
  readonly #listHints: ListHints;
  readonly #judge: Judge;
  readonly #leases: Leases;
  readonly #filler: Filler;
  readonly #pages: Pages;
  readonly #flights = new Map<string, Flight>();
  readonly #gate: Gate;
  /** Statements that hold leases: those that run, and some that are about to. */
  readonly #admission: Gate;
  /** Code of the program inside loads. It is entered before the other gates, and they are free while the code runs. */
  readonly #ownCode: Gate;
  #queue = new Queue();

  constructor(coherence: Coherence, options: ResolvedOptions) {
    this.#coherence = coherence;
    this.#options = options;
    this.#hints = new Hints(options.maxHints);
    this.#listHints = createListHints(options.maxHints);
    this.#judge = new Judge(coherence, this.#hints, this.#listHints);
    this.#leases = new Leases(coherence);
    this.#admission = new Gate(options.maxConcurrentLoads * waitingPerLoad);
    this.#filler = new Filler({ coherence, leases: this.#leases, hints: this.#hints, listHints: this.#listHints, writeLease: options.writeLease });
    this.#pages = new Pages(coherence);
    this.#gate = new Gate(options.maxConcurrentLoads);
    this.#ownCode = new Gate(options.maxConcurrentLoads);
  }

  /** The row (or custom result) with these key values. Rejects only with the database's errors. */
  load(cache: BoundCache, values: readonly Canonical[], mode: Mode, page?: Page): Promise<Answer> {
    const now = mode === 'refresh' || page !== undefined ? undefined : this.#answerNow(cache, values, mode);
    if (now !== undefined) return Promise.resolve(now.answer);
    return this.#lookUp(cache, values, { mode, page, isNested: isInOwnCode() });
  }

  #lookUp(cache: BoundCache, values: readonly Canonical[], { mode, page, isNested }: Asked): Promise<Answer> {
    return new Promise((resolve, reject) => {
      const lookup = new Lookup(cache, values, mode, { resolve, reject }, page);
      lookup.isNested = isNested;
      this.#enqueue(lookup);
    });
  }

  /**
   * Looks at keys ahead of lookups, in one round trip for all pages of one tick.
   * @param epochs those of them that are tables' epochs, as they were last
   */
  page(keys: ReadonlySet<string>, epochs: ReadonlyMap<string, string | undefined>): Promise<Page> {
    return this.#pages.open(keys, epochs);
  }

  /** The answer, where a store in this process has it: what is no hit goes the way of all lookups. */
  #answerNow(cache: BoundCache, values: readonly Canonical[], mode: Mode): { readonly answer: Answer } | undefined {
    const look = this.#coherence.lookNow;
    if (look === undefined || cache.kind === 'list') return undefined;
    const lookup = new Lookup(cache, values, mode, undefined, undefined);
    lookup.tells = false;
    let verdict = this.#judge.verdict(lookup, look, this.#judge.hintOf(lookup));
    if (verdict.state === 'row' && cache.kind === 'simple') verdict = this.#judge.row(lookup, cache, verdict.hint, look, true);
    if (verdict.state !== 'hit') return undefined;
    cache.counters.hits += 1;
    publish('hit', () => ({ cache: cache.name, key: lookup.key }));
    return { answer: cache.present(verdict.content) };
  }

  #enqueue(lookup: Lookup): void {
    if (this.#queue.lookups.length === 0) {
      // After the microtasks of this tick, so that lookups behind an await join.
      void Promise.resolve().then(() => {
        nextTick(() => {
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
    const isOne = lookups.length <= maxBatch;
    for (let from = 0; from < lookups.length; from += maxBatch) {
      const batch = isOne ? lookups : lookups.slice(from, from + maxBatch);
      this.#answer(batch, isOne).catch((error: unknown) => {
        for (const { waiters } of batch) for (const { reject } of waiters) reject(error);
      });
    }
  }

  /** @param mayTry leases may be placed ahead of the look: not where many batches would wait with theirs */
  async #answer(lookups: readonly Lookup[], mayTry: boolean): Promise<void> {
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
      const hint = this.#judge.hintOf(lookup);
      if (hint === undefined) {
        want.add(lookup, lookup.key);
        const last = lastKeyOf(lookup);
        if (last !== undefined) want.add(lookup, last);
        // It is known to this process for the first time, so a load is likely: it saves a round trip.
        if (needsEpoch(cache)) want.add(lookup, cache.model.tableKeys.epoch);
        if (mayTry && this.#isLikelyMiss(lookup)) likely.push(lookup.key);
        continue;
      }
      hints.set(lookup, hint);
      want.add(lookup, hint.rowKey);
      // A unique key leads to one row or none: while the row still has the key, it is the answer.
      if (!isUnique(lookup)) want.add(lookup, lookup.key);
    }
    // The leases of likely misses are sent right before the look, which shows them.
    const trying = likely.length > 0 && this.#coherence.looksInOrder(likely) ? this.#coherence.leases.placeAhead(likely) : undefined;
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
        () => (cache.kind === 'list' ? this.#judge.list(lookup, cache, sight, listHints.get(lookup), 0) : this.#judge.verdict(lookup, look, hints.get(lookup))),
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
              ? this.#judge.row(lookup, cache as SimpleCache, hint as Hint, both, true)
              : this.#judge.list(lookup, cache, { look: both, steady }, hint, round + 1),
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

  // ---- Hits -----------------------------------------------------------------------------------

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
    const now = monotonic();
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
        const judge = (): Verdict | undefined => this.#judge.outdated(lookup, miss.look);
        const outdated = judge();
        if (outdated?.state === 'hit') {
          lookup.cache.counters.outdated += lookup.waiters.length;
          this.#present(lookup, outdated.content, judge);
          continue;
        }
      }
      if (flight !== undefined && !lookup.isAlone) {
        joins.push(this.#join(miss, flight));
        continue;
      }
      const load = this.#prepare(miss, now, flight);
      if (load === undefined) waiting.push(lookup);
      else loads.push(load);
    }
    this.#wait(waiting, now);
    const leased = new Set(loads.flatMap(({ bypass, target }) => (bypass === undefined ? [target] : [])));
    const unused = [...tried.leases].filter(([key]) => !leased.has(key));
    if (unused.length > 0) void this.#coherence.inBackground(this.#coherence.leases.abandon(new Map(unused), tried.look));
    await Promise.all([this.#run(loads, tried), ...joins]);
  }

  /**
   * Decides how a miss is loaded; `undefined` if it waits for another process's fill instead.
   * @param older a load of the same that runs still, and that a write has outdated
   */
  #prepare({ lookup, verdict, seen, stamps, epoch }: Miss, now: number, older?: Flight): Load | undefined {
    let bypass: BypassReason | undefined;
    if (seen.state === 'unknown' || stamps.some(({ state }) => state === 'unknown')) {
      bypass = this.#coherence.waiting > 0 ? 'undelivered-invalidation' : 'store-unavailable';
    } else if (verdict.bypass !== undefined) {
      ({ bypass } = verdict);
    } else if (seen.state === 'marker' || stamps.some(({ state }) => state === 'marker')) {
      bypass = 'write-in-flight';
    } else if (seen.state === 'uncacheable' && isUncacheableUnder(headOf(lookup.cache, verdict.hint, stamps), seen)) {
      bypass = seen.reason;
      // Not heard of for the first time: no lease is tried ahead.
      this.#coherence.remember(verdict.target, seen.token);
    } else if (seen.state === 'lease') {
      lookup.waitUntil ??= now + this.#options.leaseWait;
      // The lease may be the older load's, and what that will fill is outdated.
      if (older === undefined && now < lookup.waitUntil) return undefined;
      bypass = 'lease-wait';
    } else if (lookup.attempts >= maxLeaseAttempts) {
      bypass = 'store-unavailable';
    }
    let settle: (outcome: Outcome) => void = () => undefined;
    const outcome = new Promise<Outcome>((resolve) => {
      settle = resolve;
    });
    const flight: Flight = { asked: undefined, older, isOver: false, isQueued: false, outcome, settle };
    this.#flights.set(lookup.id, flight);
    return {
      lookup,
      flight,
      target: verdict.target,
      seen,
      stampsSeen: stamps,
      epochSeen: epoch,
      hint: verdict.hint,
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

  /**
   * Shares a running load if no write was finished since it began. If one was, the lookup does not wait
   * for an answer that is outdated already, and begins a load of its own; but there are no more than two
   * for one lookup at the same time, and where nothing is known, it looks again after the one that runs.
   */
  async #join(miss: Miss, running: Flight): Promise<void> {
    const { lookup } = miss;
    let flight = running;
    let freshness = await this.#freshnessOf(miss, flight);
    for (let current = this.#flights.get(lookup.id); current !== flight && freshness !== 'fresh'; current = this.#flights.get(lookup.id)) {
      if (current === undefined) {
        this.#again(lookup);
        return;
      }
      flight = current;
      freshness = await this.#freshnessOf(miss, flight);
    }
    if (freshness === 'outdated' && !flight.isOver && flight.older?.isOver !== false) {
      const load = this.#prepare(miss, monotonic(), flight);
      if (load !== undefined) {
        await this.#run([load], noneTried);
        return;
      }
    }
    if (lookup.isNested && !(await this.#canWait(lookup, flight))) {
      lookup.isAlone = true;
      this.#again(lookup);
      return;
    }
    const outcome = await flight.outcome;
    if (freshness !== 'fresh' || outcome.state === 'void') {
      this.#again(lookup);
      return;
    }
    if (outcome.state === 'failed') {
      for (const { reject } of lookup.waiters) reject(outcome.error);
      return;
    }
    await this.#give(lookup, outcome, false);
  }

  /**
   * Waits for a load on behalf of code of the program inside another load, no longer than for another
   * process's fill: the one load may wait for the other, when both were made of several lookups.
   */
  async #canWait({ cache }: Lookup, flight: Flight): Promise<boolean> {
    if (flight.isQueued) return false;
    if (runsOwnCode(cache)) await atMost(this.#options.leaseWait, flight.outcome);
    else await flight.outcome;
    return flight.isOver;
  }

  /** What a look says about a running load. The rule is P1: a read sees every write that was acknowledged before it. */
  async #freshnessOf({ lookup, seen, stamps }: Miss, { asked }: Flight): Promise<'fresh' | 'outdated' | 'unknown'> {
    // The database will see whatever was committed by now.
    if (asked === undefined) return 'fresh';
    const { witness } = asked;
    const generation = joined(stamps);
    if (witness === undefined || seen.state === 'unknown' || stamps.some(({ state }) => state === 'unknown')) return 'unknown';
    if (generation !== witness.generation) return 'outdated';
    const now = witness.key === lookup.key ? seen : (await this.#coherence.look([witness.key]))(witness.key);
    if (now.state === 'unknown') return 'unknown';
    return 'text' in now && now.text === witness.text ? 'fresh' : 'outdated';
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

  /** Loads, one statement for each cache. A lease is placed when its statement is about to run, not before. */
  async #run(loads: readonly Load[], tried: Tried): Promise<void> {
    if (loads.length === 0) return;
    const groups = new Map<BoundCache, Load[]>();
    const single: Load[][] = [];
    for (const load of loads) {
      const { cache } = load.lookup;
      const group = groups.get(cache);
      if (!loadsMany(cache)) single.push([load]);
      else if (group === undefined) groups.set(cache, [load]);
      else group.push(load);
    }
    const atOnce: Statement[] = [];
    const later: Statement[] = [];
    for (const together of [...groups.values(), ...single]) {
      const statement = this.#statementOf(together);
      (statement.tryEnter() ? atOnce : later).push(statement);
    }
    // Nobody waits in the queue with a lease.
    const unused = new Map(later.flatMap(({ loads }) => loads).flatMap(({ target }) => (tried.leases.has(target) ? [[target, tried.leases.get(target) as string]] : [])));
    if (unused.size > 0) void this.#coherence.inBackground(this.#coherence.leases.abandon(unused, tried.look));
    await Promise.all([
      this.#start(atOnce, tried, false),
      ...later.map(async (statement) => {
        await statement.enter();
        await this.#start([statement], noneTried, true);
      }),
    ]);
  }

  #statementOf(loads: readonly Load[]): Statement {
    const isOwn = runsOwnCode((loads[0] as Load).lookup.cache);
    const turn = isOwn && !loads.some(({ lookup }) => lookup.isNested) ? this.#ownCode : undefined;
    return new Statement(loads, { isOwn, turn, admission: this.#admission, weight: this.#weightOf(loads), parts: this.#options.maxConcurrentLoads });
  }

  /** How much of the admission a statement takes: many leases at once leave the store no room for others. */
  #weightOf({ length }: readonly Load[]): number {
    return Math.max(1, Math.ceil((length * this.#options.maxConcurrentLoads * waitingPerLoad) / this.#coherence.leaseRoom));
  }

  /** Runs statements that were admitted, under leases that are placed together. */
  async #start(statements: readonly Statement[], tried: Tried, waited: boolean): Promise<void> {
    if (statements.length === 0) return;
    const acquiring = this.#leases.acquire(statements.flatMap(({ loads }) => loads), tried, waited);
    await Promise.all(
      statements.map(async (statement) => {
        try {
          const acquired = await acquiring;
          const ready = statement.loads.flatMap((load) => acquired.get(load) ?? []);
          // Not earlier: they would meet leases of their own, and wait for them.
          for (const load of statement.loads) {
            if (acquired.has(load)) continue;
            this.#end(load, { state: 'void' });
            this.#again(load.lookup);
          }
          if (ready.length > 0) await this.#ask(ready, statement);
        } catch (error) {
          // Nobody may be left waiting, whatever went wrong.
          this.#fail(statement.loads, error);
        } finally {
          statement.end();
        }
      }),
    );
  }

  /** Asks the database, stores what it answers and hands it out. */
  async #ask(loads: readonly LeasedLoad[], statement: Statement): Promise<void> {
    const { cache } = (loads[0] as LeasedLoad).lookup;
    const leases = new Map(loads.flatMap(({ target, lease }) => (lease === undefined ? [] : [[target, lease] as const])));
    const held = new Map(loads.flatMap(({ target, lease, generation }) => (lease === undefined ? [] : [[target, { text: lease, generation }] as const])));
    const renewal = new Renewal(this.#coherence.leases, held, definedOf(cache.stamps));
    let answered: readonly AnsweredLoad[];
    let sent: Sent;
    try {
      answered = await this.#answersOf(loads, renewal, statement);
      sent = await this.#store(cache, answered);
    } catch (error) {
      await renewal.stop();
      const parts = partsOf(loads, error);
      // Under the same leases, whose tokens have to be looked at again.
      if (parts.length > 1) await Promise.all(parts.map((part) => this.#ask(part.map((load) => ({ ...load, placed: undefined })), statement)));
      else {
        this.#fail(loads, error);
        await this.#coherence.leases.abandon(leases);
      }
      return;
    }
    // Of a list that nothing was stored of.
    await renewal.stop();
    const stored = this.#coherence.inBackground(sent.stored);
    if (sent.rest.length > 0) {
      // These are loads of their own, and wait to be admitted.
      statement.leave();
      await this.#readRows(cache, sent.rest, loads.some(({ lookup }) => lookup.isNested));
    }
    if (statement.isOwn) {
      // A copy may have to be computed again.
      if (loads.length > manyLeases) await stored;
      statement.leave();
    }
    // What the answers were stored with has been sent, and whoever looks next sends after it: nobody waits for how it ends.
    await Promise.all(answered.map((load) => this.#hand(cache, load)));
    if (loads.length > manyLeases) await stored;
  }

  /**
   * The database's answers, and meanwhile a look at the leases that were not seen when they were placed
   * and are filled without another look.
   */
  async #answersOf(loads: readonly LeasedLoad[], renewal: Renewal, statement: Statement): Promise<readonly AnsweredLoad[]> {
    const { cache } = (loads[0] as LeasedLoad).lookup;
    const began = monotonic();
    const seesLease = isFilledByLease(cache);
    // Of one statement's leases, some may have been placed with the look, and others after it.
    const unplaced = seesLease ? loads.filter(({ lease, placed }) => lease !== undefined && placed === undefined) : [];
    const looking = unplaced.length === 0 ? undefined : this.#coherence.look(unplaced.map(({ target }) => target));
    let since = began;
    const ask = (): Promise<readonly unknown[]> => {
      since = monotonic();
      for (const load of loads) load.flight.asked = { witness: witnessOf(load) };
      return answersOf(cache, loads.map(({ lookup }) => lookup.values));
    };
    const found = await (statement.isOwn ? statement.outside(() => inOwnCode(ask)) : this.#gate.pass(ask));
    publish('load', () => ({ cache: cache.name, lookups: loads.length, milliseconds: monotonic() - began }));
    await renewal.catchUp();
    const look = await looking;
    let renewed: Look | undefined;
    // The rows of a list are stored first, and its own lease has to stand until they are.
    if (cache.kind !== 'list') {
      await renewal.stop();
      if (seesLease && renewal.isRenewed) renewed = await this.#coherence.look(loads.flatMap(({ lease, target }) => (lease === undefined ? [] : [target])));
    }
    return loads.map((load, at) => ({
      ...load,
      ...encoded(load, found[at] ?? null),
      placed: renewed ?? load.placed ?? look,
      since,
      renewal,
    }));
  }

  /** Sends what is stored of answers. */
  async #store(cache: BoundCache, loads: readonly AnsweredLoad[]): Promise<Sent> {
    switch (cache.kind) {
      case 'simple':
        return cache.primary ? { stored: this.#filler.primary(cache, loads), rest: [] } : this.#filler.byKey(cache, loads);
      case 'list':
        return this.#filler.lists.fill(cache, loads);
      case 'result':
        return { stored: this.#filler.results(cache, loads), rest: [] };
    }
  }

  /** Reads rows by primary key, so that they are stored under leases that were there before. Never rejects. */
  async #readRows({ rows }: BoundCache, primaryKeys: readonly (readonly Canonical[])[], isNested: boolean): Promise<void> {
    if (rows === undefined) return;
    await Promise.allSettled(primaryKeys.map((primaryKey) => this.#lookUp(rows, rows.valuesOfPrimaryKey(primaryKey), { mode: 'read', page: undefined, isNested })));
  }

  async #hand(cache: BoundCache, load: AnsweredLoad): Promise<void> {
    const { answer, cells } = load;
    if (load.bypass !== undefined) noteBypass(load.lookup, load.bypass);
    const own = cache.conceal(answer);
    // What is nested in it is the answer's own, which its caller may change at once.
    const text = cache.kind === 'result' || holdsObjects(cells) ? JSON.stringify(cells) : undefined;
    const outcome: Outcome & { state: 'found' } = {
      state: 'found',
      answer: own,
      copy: async () => {
        if (cells !== undefined) return cache.present(cache.decode(text === undefined ? cells : JSON.parse(text)));
        // It cannot be copied exactly: ask again.
        const [copied] = await inOwnCode(() => answersOf(cache, [load.lookup.values]));
        return cache.conceal(copied ?? null);
      },
    };
    this.#end(load, outcome);
    await this.#give(load.lookup, outcome, true);
  }

  #fail(loads: readonly Load[], error: unknown): void {
    for (const load of loads) {
      this.#end(load, { state: 'failed', error });
      for (const { reject } of load.lookup.waiters) reject(error);
    }
  }

  #end({ lookup, flight }: Load, outcome: Outcome): void {
    if (this.#flights.get(lookup.id) === flight) this.#flights.delete(lookup.id);
    flight.isOver = true;
    flight.settle(outcome);
  }
}

/** An answer as cells, as far as it can be stored. */
function encoded({ lookup }: Load, answer: unknown): Pick<AnsweredLoad, 'answer' | 'cells' | 'unstorable'> {
  try {
    return { answer, cells: lookup.cache.encode(answer), unstorable: undefined };
  } catch (cause) {
    if (!(cause instanceof NotSerialisable)) throw cause;
    noteBypass(lookup, 'not-serialisable');
    return { answer, cells: undefined, unstorable: 'not-serialisable' };
  }
}

/** What the value would begin with that a lookup is loaded for. */
const headOf = (cache: BoundCache, hint: Hint | undefined, stamps: readonly Seen[]): string =>
  valueHead(hint === undefined ? cache.fingerprint : cache.model.fingerprint, joined(hint === undefined ? stamps : stamps.slice(0, 1)) ?? '');

/** How a lookup is asked for. */
interface Asked {
  readonly mode: Mode;
  readonly page: Page | undefined;
  readonly isNested: boolean;
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

/**
 * Above this rate of misses, leases are placed ahead; it takes four in a row to get there. One that is
 * placed ahead spares a miss a round trip; one that is refused costs a hit a command, a tenth of that.
 */
const likelyMiss = 0.2;

/** For each statement that may run, so many more may hold leases and wait: the next one is ready when it has ended. */
const waitingPerLoad = 4;

/** From so many leases on, a statement makes room only when its answers are stored. */
const manyLeases = 100;

/** After so many leases that could not be placed, the store is as good as down for this lookup. */
const maxLeaseAttempts = 5;

/** What a look shows, had these leases not been placed before it. */
const without =
  (leases: ReadonlyMap<string, string>, look: Look): Look =>
  (key) => {
    const seen = look(key);
    return seen.state === 'lease' && seen.text === leases.get(key) ? { state: 'absent' } : seen;
  };

/** Whether cells hold values that are the answer's own: nested JSON. */
const holdsObjects = (cells: unknown): boolean =>
  Array.isArray(cells) ? cells[0] === 'j' || cells.some(holdsObjects) : typeof cells === 'object' && cells !== null;
