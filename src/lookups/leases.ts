/**
 * When and where leases are placed: before the database is asked, or, on rows that are known only from
 * its answer, so that it is as good as before.
 */
import { monotonic } from '../clock.js';
import type { BoundCache } from '../caches/bound-cache.js';
import type { Look } from '../coherence/affected.js';
import type { Coherence } from '../coherence/coherence.js';
import type { Seen } from '../entries/envelope.js';
import { joined, witnessOf, type Load, type Sent } from './load.js';
import { needsEpoch, unseen } from './lookup.js';

/** Leases that were placed before the look, by key, and the look at them. */
export interface Tried {
  readonly leases: ReadonlyMap<string, string>;
  readonly look: Look;
}

export const noneTried: Tried = { leases: new Map(), look: unseen };

/** Loads that may begin, and those that another reader or a writer was faster than. */
export interface Acquired {
  readonly ready: readonly Load[];
  readonly lost: readonly Load[];
}

/** A row that is to be stored: what its value begins with, and whether one that is there is replaced. */
export interface RowWanted {
  readonly head: string;
  readonly refresh: boolean;
}

/** Places the leases of loads. */
export class Leases {
  readonly #coherence: Coherence;

  constructor(coherence: Coherence) {
    this.#coherence = coherence;
  }

  /** Places the leases, and gives tables without generation or epoch new ones. */
  async acquire(loads: readonly Load[], tried: Tried): Promise<Acquired> {
    const targets = new Map<string, Seen>();
    const generations = new Map<string, Seen>();
    const epochs = new Map<string, Seen | undefined>();
    const indexes = new Set<string>();
    for (const load of loads) {
      const { tableKeys } = load.lookup.cache.model;
      load.since = monotonic();
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
    const lost: Load[] = [];
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
          lost.push(load);
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
    return { ready, lost };
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
   * @returns `epoch` as it is then; undefined if it is too late to say that nothing came between
   */
  async rows(
    { tableKeys }: BoundCache['model'],
    wanted: ReadonlyMap<string, RowWanted>,
    others: readonly string[],
    since: number,
  ): Promise<{ readonly leases: ReadonlyMap<string, string>; readonly look: Look; readonly epoch: string | undefined }> {
    const leases = new Map<string, string>();
    const early = (): boolean => monotonic() - since < this.#coherence.lateLeaseLimit;
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
}

/** Whether its lease is on the very key that its answer is stored under, and nothing else is: a look at it suffices. */
export const isFilledByLease = (cache: BoundCache): boolean => cache.kind === 'result' || (cache.kind === 'simple' && cache.primary);

/** The most operations on rows that one load sends at the same time: what is too much at once the store refuses, to others too. */
export const longestPart = 500;

/**
 * Does something for each item, for so many at a time.
 * @returns what was begun last, once all before it is done
 */
export async function inParts<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<Sent> {
  // The first part is begun at once: what the caller sends next comes after it.
  let last = Promise.all(items.slice(0, longestPart).map(work));
  for (let from = longestPart; from < items.length; from += longestPart) {
    await last;
    last = Promise.all(items.slice(from, from + longestPart).map(work));
  }
  return { stored: last };
}
