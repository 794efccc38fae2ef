/**
 * When and where leases are placed: before the database is asked, or, on rows that are known only from
 * its answer, so that it is as good as before.
 */
import { monotonic } from '../clock.js';
import type { BoundCache } from '../caches/bound-cache.js';
import type { Look } from '../coherence/affected.js';
import type { Coherence } from '../coherence/coherence.js';
import { isUncacheableUnder, joined, valueHead, type Seen } from '../entries/envelope.js';
import type { LeasedLoad, Load } from './load.js';
import { definedOf, needsEpoch, unseen } from './lookup.js';

/** Leases that were placed before the look, by key, and the look at them. */
export interface Tried {
  readonly leases: ReadonlyMap<string, string>;
  readonly look: Look;
}

export const noneTried: Tried = { leases: new Map(), look: unseen };

/** The loads that may begin; those that are not there lost a race against another reader or a writer. */
export type Acquired = ReadonlyMap<Load, LeasedLoad>;

/** A row that is to be stored: what its value begins with, and whether one that is there is replaced. */
export interface RowWanted {
  readonly head: string;
  readonly refresh: boolean;
  /** What stood in its place after the query, where that was looked at. */
  readonly seen?: Seen;
}

/** What came of placing leases. */
interface Placement {
  readonly leases: ReadonlyMap<string, string>;
  /** The texts of stamps that were read or made. */
  readonly stamps: ReadonlyMap<string, string>;
  readonly look: Look;
  /** The look at a lease since it was placed. */
  readonly lookOf: (key: string) => Look | undefined;
}

/** Leases on rows, and what was seen after the last of them. */
export interface RowLeases {
  readonly leases: Map<string, string>;
  readonly look: Look;
  readonly epoch: string | undefined;
  readonly late: boolean;
}

/** Places the leases of loads. */
export class Leases {
  readonly #coherence: Coherence;

  constructor(coherence: Coherence) {
    this.#coherence = coherence;
  }

  /**
   * Places the leases, and gives tables without generation or epoch new ones.
   * @param waited what the loads were prepared with may be outdated: it is looked at again
   */
  async acquire(loads: readonly Load[], tried: Tried, waited: boolean): Promise<Acquired> {
    const stamped = waited ? await this.#lookAgain(loads) : loads;
    const targets = new Map<string, Seen>();
    const generations = new Map<string, Seen>();
    const epochs = new Map<string, Seen | undefined>();
    const indexes = new Set<string>();
    for (const load of stamped) {
      const { tableKeys } = load.lookup.cache.model;
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
      keep(leases, key, await this.#coherence.leases.place(key, seen));
    });
    const [look, placed] = await Promise.all([
      this.#readEpochs(epochs, [...indexes], stamps),
      inOrder ? this.#coherence.look(early) : undefined,
      ...placing,
      ...Array.from(generations, async ([key, seen]) => {
        keep(stamps, key, await this.#coherence.stamp(key, seen));
      }),
    ]);
    const placement = { leases, stamps, look, lookOf: (key: string) => (tried.leases.has(key) ? tried.look : placed) };
    return this.#assign(loads, stamped, placement);
  }

  /** Gives each load its lease: one of those that share a bucket holds it, and fills. */
  async #assign(loads: readonly Load[], stamped: readonly Load[], { leases, stamps, look, lookOf }: Placement): Promise<Acquired> {
    const acquired = new Map<Load, LeasedLoad>();
    const abandoned = new Map<string, string>();
    const taken = new Set<string>();
    for (const [at, load] of stamped.entries()) {
      const { lookup, target } = load;
      const current = load.stampsSeen.map((seen, of) => {
        const text = stamps.get(lookup.cache.stamps[of] as string);
        return text === undefined ? seen : ({ state: 'stamp', text, token: '' } as const);
      });
      const generation = joined(current);
      const lease = load.bypass === undefined ? leases.get(target) : undefined;
      if (load.bypass === undefined && (lease === undefined || generation === undefined)) {
        // Another reader or a writer was faster, or the store failed: look again.
        if (lease !== undefined) abandoned.set(target, lease);
        lookup.attempts += 1;
        continue;
      }
      const isHolder = lease !== undefined && !taken.has(target);
      if (isHolder) taken.add(target);
      acquired.set(loads[at] as Load, {
        ...load,
        generation,
        tableGeneration: joined(current.slice(0, 1)),
        epoch: stamps.get(lookup.cache.model.tableKeys.epoch),
        lease: isHolder ? lease : undefined,
        placed: lease === undefined ? undefined : lookOf(target),
        index: lease !== undefined && load.hint !== undefined ? look(lookup.key) : undefined,
      });
    }
    await this.#coherence.leases.abandon(abandoned);
    return acquired;
  }

  /** The loads with the stamps as they are now, and without an epoch. */
  async #lookAgain(loads: readonly Load[]): Promise<readonly Load[]> {
    const look = await this.#coherence.look([...new Set(loads.flatMap(({ lookup }) => definedOf(lookup.cache.stamps)))]);
    return loads.map((load) => ({
      ...load,
      stampsSeen: definedOf(load.lookup.cache.stamps).map((key) => look(key)),
      epochSeen: undefined,
    }));
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

  /**
   * Places leases on rows that were found by another key than their own, and looks at them, at
   * `others` and at the table's epoch after the last lease.
   * @param since when the last look before the query was made, in milliseconds of the monotonic clock
   * @returns `epoch` as it is then; undefined if it is too late to say that nothing came between (`late`)
   */
  async rows(
    { tableKeys, fingerprint }: BoundCache['model'],
    wanted: ReadonlyMap<string, RowWanted>,
    others: readonly string[],
    since: number,
  ): Promise<RowLeases> {
    let leases: Map<string, string> | undefined;
    const early = (): boolean => monotonic() - since < this.#coherence.lateLeaseLimit;
    let look: Look | undefined;
    if (early() && wanted.size > 0) {
      const all = [...new Set([tableKeys.epoch, tableKeys.generation, ...others, ...wanted.keys()])];
      // Where the store keeps the order, a look that is sent after the leases shows them, and the epoch after them.
      const inOrder = this.#coherence.keepsOrder(all);
      const placing = this.#coherence.leases.placeAll(wanted.keys(), (key) => wanted.get(key)?.seen ?? absent);
      look = inOrder ? await this.#coherence.look(all) : undefined;
      leases = await placing;
      if (leases.size < wanted.size) {
        // Something stands there: replace it unless it is in use or a value that may still be good.
        const again = [...wanted.keys()].filter((key) => leases?.has(key) === false);
        const seenAt = (look ??= await this.#coherence.look(all));
        const generation = seenAt(tableKeys.generation);
        // What was stored since the table was voided as a whole is newer than what is stored now.
        const current = generation.state === 'stamp' ? valueHead(fingerprint, generation.text) : undefined;
        const outdated = again.filter((key) => current === wanted.get(key)?.head && !isKept(seenAt(key), wanted.get(key) as RowWanted));
        const more = await this.#coherence.leases.placeAll(outdated, seenAt);
        for (const [key, lease] of more) leases.set(key, lease);
        if (more.size > 0) look = undefined;
      }
    }
    leases ??= new Map();
    // Once more, now that they stand: this process may have been stopped in between.
    const inTime = early();
    look ??= await this.#coherence.look([...new Set([tableKeys.epoch, ...others, ...leases.keys()])]);
    const epoch = look(tableKeys.epoch);
    return { leases, look, epoch: inTime && epoch.state === 'stamp' ? epoch.text : undefined, late: !inTime };
  }
}

/** Whether what stands in a row's place stays there. */
const isKept = (seen: Seen, { head, refresh }: RowWanted): boolean =>
  !refresh && ((seen.state === 'value' && seen.text.startsWith(head)) || isUncacheableUnder(head, seen));

const absent: Seen = Object.freeze({ state: 'absent' });

/** Whether its lease is on the very key that its answer is stored under, and nothing else is: a look at it suffices. */
export const isFilledByLease = (cache: BoundCache): boolean => cache.kind === 'result' || (cache.kind === 'simple' && cache.primary);
