/**
 * What is asked: the lookups of one tick, and the keys that they want to see.
 */
import type { BoundCache } from '../caches/bound-cache.js';
import type { Look, Sight } from '../coherence/affected.js';
import type { Canonical } from '../entries/key-types.js';
import type { ListHint } from './hints.js';

/** How a lookup is made. */
export type Mode = 'read' | 'refresh' | 'cache-only';

/** The answer: what the cache answers with, null for "no such row", undefined for "not in the cache" (cache-only). */
export type Answer = unknown;

/** Who is to be answered. */
export interface Waiter {
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: unknown) => void;
}

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

/** What one or several callers ask for. */
export class Lookup {
  #id: string | undefined;
  readonly waiters: Waiter[];
  /** Until when to wait for another process's fill, in milliseconds of the monotonic clock. */
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
  /** Code of the program inside a load waits for it. */
  isNested = false;
  /** Shares no load: the one that runs may wait for this lookup. */
  isAlone = false;
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
export class Queue {
  readonly lookups: Lookup[] = [];
  /** By cache and value, as most are asked for: found without putting a text together for each. */
  readonly #reads = new Map<BoundCache, Map<Canonical, Lookup>>();
  readonly #others = new Map<string, Lookup>();

  /** Adds it, or its waiters to the one that is there. */
  add(lookup: Lookup): void {
    const same = this.#placed(lookup);
    if (same === lookup) {
      this.lookups.push(lookup);
      return;
    }
    same.waiters.push(...lookup.waiters);
    same.isNested ||= lookup.isNested;
    same.isAlone ||= lookup.isAlone;
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

/** The keys that lookups of one batch want to see. */
export class Wanted {
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
export const listKeysOf = ({ key, cache }: Lookup, hint: ListHint | undefined): string[] => [
  key,
  cache.model.tableKeys.epoch,
  ...definedOf(cache.stamps),
  ...(hint?.rowKeys ?? []),
];

/** The stamps' keys. */
export const definedOf = ([first, second]: BoundCache['stamps']): string[] => (second === undefined ? [first] : [first, second]);

/** Where an outdated answer may be found that can still be given. */
export const lastKeyOf = ({ cache, values, mode }: Lookup): string | undefined =>
  cache.kind === 'result' && mode === 'read' ? cache.lastKeyFor(values) : undefined;

/** What a lookup sees: its page, and what that does not show as `sight` has it. */
export const through = ({ page, ahead }: Lookup, sight: Sight): Sight => (page !== undefined && ahead ? page.over(sight) : sight);

/** Whether what it finds is rows that it could not lease before. */
export const needsEpoch = (cache: BoundCache): boolean => cache.kind === 'list' || (cache.kind === 'simple' && !cache.primary);

/** Whether at most one row has the key values asked for. */
export const isUnique = ({ cache, values }: Lookup): boolean =>
  cache.kind === 'simple' && cache.unique && !values.includes(null);

/** Nothing was looked at. */
export const unseen: Look = () => ({ state: 'absent' });

export const nothingSeen: Sight = { look: unseen, steady: () => undefined };

/** A value as a text that tells null and every string apart. */
const exact = (value: Canonical): string => (value === null ? '-' : `=${value}`);
