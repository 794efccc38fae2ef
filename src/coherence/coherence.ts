/**
 * The one door to the store: looks, leases, fills, and the writers' markers.
 *
 * The read side is in `read-leases.ts`: a value is put in only by compare-and-swap over the lease that
 * its reader placed before it asked the database. The write side replaces every entry that a write
 * changes by a marker before the database commits and removes it afterwards, so a crash in between
 * costs a marker's life time (`writeLease`) and never leaves a stale value.
 *
 * A marker lists every writer in flight. With one token only, a second writer that marks after the
 * first and releases before it would leave the first without protection.
 *
 * A table's *epoch* is removed by every write to the table between its commit and the removal of
 * its markers. A reader that finds a row by something else than its primary key cannot place the
 * row's lease before it asks the database; it places it afterwards, and fills only if the epoch
 * that it saw before is still there: then no write was finished in between.
 */
import { atMost } from '../at-most.js';
import { StoreProtocolError } from '../errors.js';
import { publish } from '../events.js';
import { show, type OnStoreFailure } from '../options.js';
import type { Store, StoreReply } from '../stores/store.js';
import { classify, markerText, outdatedText, stampText, type Seen } from '../entries/envelope.js';
import { longestPart, type Affected, type Failed, type Look, type Marked, type Sight, type Target } from './affected.js';
import { Gate } from '../gate.js';
import { Recent } from '../recent.js';
import { FirstContact } from './first-contact.js';
import { ReadLeases } from './read-leases.js';
import { Undelivered } from './undelivered.js';
import { Write } from './write.js';

/** What the coherence needs of the options. */
export interface CoherenceOptions {
  readonly writeLease: number;
  readonly lockWaitTimeout: number;
  readonly leaseWait: number;
  readonly onStoreFailure: OnStoreFailure;
  readonly maxUndelivered: number;
  readonly maxHints: number;
  readonly recentBytes: number;
}

/** How often a compare-and-swap that lost a race is tried again. */
const maxAttempts = 30;

/** The most operations that are under way for one key of a write. */
const operationsPerKey = 3;

/** What was read under a key. */
interface Reading {
  readonly token: string;
  readonly content: unknown;
  /** In bytes, as far as they can be estimated. */
  readonly weight: number;
}

/** Of a value that this process has stored and not read yet. */
const unknownToken = '';

/** What a reading takes beside its content, in bytes: its key, its token, its place. */
const readingBytes = 200;
/** What decoded content takes for a character of its text. */
const bytesPerCharacter = 3;

const done: Failed = Object.freeze({ keys: Object.freeze([]) });

const undelivered: Seen = Object.freeze({
  state: 'unknown',
  cause: new Error('An invalidation of this key was not delivered yet.'),
});

const absent: Seen = Object.freeze({ state: 'absent' });

/** Failures of one kind of operation. */
export interface StoreFailures {
  readonly count: number;
  readonly lastError: unknown;
  readonly lastErrorAt: Date;
}

/** The coherence protocol on one store. */
export class Coherence {
  readonly #store: Store;
  readonly #options: CoherenceOptions;
  readonly #undelivered: Undelivered;
  /** The readers' side: leases, and the values that take their places. */
  readonly leases: ReadLeases;
  /** How long a marker outlives its writer: as long as the database may still be at what that one sent. */
  readonly #markerSeconds: number;
  /** Tokens of values as they were read last: whoever saves a row has mostly read it here before. */
  readonly #tokens: Recent<string>;
  /** What was made of values that were read again. */
  readonly #readings: Recent<Reading>;
  /** Looks at a key at once, where the store can; undefined where it cannot. Never throws. */
  readonly lookNow: Look | undefined;
  readonly #firstContact: FirstContact;
  readonly #failures = new Map<string, StoreFailures>();
  /** What was sent and is waited for by nobody. */
  readonly #background = new Set<Promise<unknown>>();
  /** A write of many keys goes in parts: what the store refuses because it is too much at once would go undelivered. */
  readonly #gate: Gate;
  readonly #partSize: number;

  constructor(store: Store, options: CoherenceOptions) {
    this.#store = store;
    this.#firstContact = new FirstContact(store.name);
    this.#options = options;
    this.#markerSeconds = options.writeLease + options.lockWaitTimeout;
    this.#tokens = new Recent(options.maxHints, () => 1);
    this.#readings = new Recent(options.recentBytes, ({ weight }) => weight);
    // The other half is for readers.
    const room = Math.max(1, Math.floor((store.maxPending ?? 10_000) / 2));
    this.#gate = new Gate(room);
    this.#partSize = Math.min(longestPart, Math.max(1, Math.floor(room / operationsPerKey)));
    this.leases = new ReadLeases({
      store,
      seconds: Math.max(3, Math.ceil(options.leaseWait / 1000) + 2),
      look: (keys) => this.look(keys),
      noteFilled: (key) => {
        this.#tokens.set(key, unknownToken);
      },
      failed: (operation, cause) => {
        this.#failed(operation, cause);
      },
    });
    this.lookNow = store.peek === undefined ? undefined : (key) => this.#peek(key);
    this.#undelivered = new Undelivered(options.maxUndelivered, (affected, writer) =>
      this.#voidAll(affected, writer),
    );
  }

  /** Largest value in bytes that can be filled. */
  get maxValueBytes(): number {
    return this.#store.maxValueBytes;
  }

  /** Operations of the store that failed, by what they were for. */
  get failures(): ReadonlyMap<string, StoreFailures> {
    return this.#failures;
  }

  /** How many invalidations wait to be delivered. */
  get waiting(): number {
    return this.#undelivered.size;
  }

  /**
   * How long after its look a reader may still lease a row that it found by another key, in
   * milliseconds: less than a crashed writer's marker is sure to stand.
   */
  get lateLeaseLimit(): number {
    const { writeLease } = this.#options;
    return (writeLease - 1) * 1000 - writeLease * 250;
  }

  /** How many leases may be placed at the same time, so that the store has room for others. */
  get leaseRoom(): number {
    return Math.max(1, Math.floor((this.#store.maxPending ?? 10_000) / 4));
  }

  /** How long a marker stands that is not renewed, in milliseconds. */
  get markerLife(): number {
    return this.#markerSeconds * 1000;
  }

  /** Whether a look at one of these keys shows what was sent for the same key before, though nobody has waited for it. */
  looksInOrder(keys: readonly string[]): boolean {
    return keys.every((key) => this.#store.inOrder?.(key, key) === true);
  }

  /** Looks at keys, in one round trip per server. Never rejects: a silent server shows as `unknown`. */
  async look(keys: readonly string[]): Promise<Look> {
    const { items, failures } = await this.#get(keys);
    const complete = failures.size === 0;
    return (key) => {
      if (this.#undelivered.has(key)) return undelivered;
      const cause = complete ? undefined : failures.get(key);
      return cause === undefined ? classify(items.get(key)) : { state: 'unknown', cause };
    };
  }

  /**
   * Looks at many keys so that what they show can be put together: if a table's epoch is the same
   * before and after, no write to it was finished meanwhile, and its entries are those of one moment.
   * One round trip where the store keeps the order of what is sent, or else two.
   * @param epochs the keys of the tables' epochs, each with what it was when it was seen last, if ever
   * @param insist to give a table without epoch one, and to look again if it changed meanwhile
   */
  async survey(keys: readonly string[], epochs: ReadonlyMap<string, string | undefined>, insist: boolean): Promise<Sight> {
    const tables = [...epochs.keys()];
    if (tables.length === 0) return { look: await this.look(keys), steady: () => undefined };
    // In this order: the epochs are seen before all others.
    const all = [...tables, ...keys.filter((key) => !epochs.has(key))];
    const ordered = this.keepsOrder(all);
    let known = epochs;
    for (let again = insist; ; again = false) {
      if (!ordered && insist && [...known.values()].includes(undefined)) known = stampsIn(await this.look(tables), tables);
      const first = this.look(all);
      const [look, after] = ordered ? await Promise.all([first, this.look(tables)]) : [await first, await this.look(tables)];
      const before = ordered ? stampsIn(look, tables) : known;
      const now = stampsIn(after, tables);
      const isSteady = (table: string): boolean => now.get(table) !== undefined && now.get(table) === before.get(table);
      if (!again || tables.every(isSteady)) return { look, steady: (table) => (isSteady(table) ? now.get(table) : undefined) };
      // Every write removes its table's epoch.
      const missing = tables.filter((table) => now.get(table) === undefined);
      await Promise.all(missing.map((table) => this.stamp(table, after(table))));
      known = missing.length === 0 ? now : new Map(tables.map((table) => [table, undefined]));
    }
  }

  /** Whether what is done with these keys is done in the order in which it is sent. */
  keepsOrder(keys: readonly string[]): boolean {
    const [first] = keys;
    return first === undefined || keys.every((key) => this.#store.inOrder?.(first, key) === true);
  }

  /**
   * What was made of the value under a key when this process read it last, if it is that very value
   * still: a token is of one value, so the same token says that it is the same text.
   */
  recall(key: string, token: string): unknown {
    const reading = this.#readings.get(key);
    return reading?.token === token ? reading.content : undefined;
  }

  /** Whether this process has neither read a value under a key lately, nor an invalidation of it to deliver. */
  knowsNothingOf(key: string): boolean {
    return this.#tokens.get(key) === undefined && this.#readings.get(key) === undefined && !this.#undelivered.has(key);
  }

  /**
   * Remembers that a value stood under a key, so that a write to it need not look first. What was made
   * of it is remembered from its second reading on: most values are read once within a while.
   * @param content is kept as it is; nobody may change it
   * @param length of the value's text
   * @returns whether something was known of the key before
   */
  remember(key: string, token: string, content?: unknown, length = 0): boolean {
    const last = this.#tokens.get(key);
    if (content === undefined || last !== token) this.#tokens.set(key, token);
    else this.#readings.set(key, { token, content, weight: readingBytes + length * bytesPerCharacter });
    return last !== undefined;
  }

  /** Gives a key without generation or epoch a new one. Resolves to it, or `undefined`. */
  async stamp(key: string, seen: Seen): Promise<string | undefined> {
    const text = stampText();
    try {
      if (seen.state === 'absent') return (await this.#store.add(key, text, 0)) ? text : undefined;
      if (seen.state !== 'stamp' && seen.state !== 'marker' && seen.state !== 'unknown') {
        return (await this.#store.compareAndSwap(key, text, seen.token, 0)) ? text : undefined;
      }
    } catch (cause) {
      this.#failed('stamp', cause);
    }
    return undefined;
  }

  /** Begins a write. Nothing happens until it marks. */
  write(): Write {
    return new Write(
      {
        mark: (affected, writer) => this.#mark(affected, writer),
        renew: async (affected, writer) => {
          await this.#inParts(affected, (part) => this.#renew(part, writer));
        },
        voidAll: (affected, writer, marked) => this.#voidAll(affected, writer, marked),
        defer: (affected, writer, cause) => {
          this.#undelivered.add(affected, writer, cause);
        },
      },
      this.#options.onStoreFailure,
      this.#options.writeLease * 250,
    );
  }

  /**
   * Voids entries without a write of ours, for example after raw SQL. Resolves to those that could not be
   * voided; they are retried.
   */
  invalidate(affected: Affected): Promise<Failed> {
    return this.write().release(affected);
  }

  /** Goes on without whoever asked for it: `work` was sent, and nobody needs to know how it ends. Resolves when it has ended. */
  inBackground(work: Promise<unknown>): Promise<unknown> {
    const ended = work
      .catch((cause: unknown) => {
        this.#failed('fill', cause);
      })
      .finally(() => {
        this.#background.delete(ended);
      });
    this.#background.add(ended);
    return ended;
  }

  /** Delivers what is undelivered, for at most `milliseconds`. Resolves to the number of invalidations that could not be delivered. */
  async flush(milliseconds: number): Promise<number> {
    this.#firstContact.end();
    await atMost(milliseconds, Promise.all(this.#background));
    return this.#undelivered.flush(milliseconds);
  }

  /** The same, and stops; the store stays open. */
  async close(milliseconds: number): Promise<number> {
    const left = await this.flush(milliseconds);
    this.#undelivered.close();
    return left;
  }

  #peek(key: string): Seen {
    if (this.#undelivered.has(key)) return undelivered;
    try {
      const item = this.#store.peek?.(key);
      if (item !== undefined) checkItem(key, item);
      return classify(item);
    } catch (cause) {
      // Whoever sees it looks again by `get`, which tells of it.
      return { state: 'unknown', cause: cause instanceof Error ? cause : new Error(String(cause)) };
    }
  }

  async #get(keys: readonly string[]): Promise<Awaited<ReturnType<Store['get']>>> {
    try {
      const reply = checkReply(await this.#store.get(keys));
      const { failures } = reply;
      if (failures.size < keys.length) this.#firstContact.succeeded();
      // One failure for all keys that a server did not answer for.
      if (failures.size > 0) this.#failed('get', failures.values().next().value);
      return reply;
    } catch (error) {
      this.#failed('get', error);
      const cause = error instanceof Error ? error : new Error(String(error));
      return { items: new Map(), failures: new Map(keys.map((key) => [key, cause])) };
    }
  }

  /** Runs `work` on the keys in parts, as there is room for them. */
  async #inParts<T>(affected: Affected, work: (part: Affected) => Promise<T>): Promise<readonly T[]> {
    const parts = affected.size <= this.#partSize ? [affected] : split(affected, this.#partSize);
    return Promise.all(parts.map((part) => this.#gate.pass(() => work(part), part.size * operationsPerKey)));
  }

  async #mark(affected: Affected, writer: string): Promise<Marked> {
    const [first, ...more] = await this.#inParts(affected, (part) => this.#markPart(part, writer));
    if (first === undefined || more.length === 0) return first ?? { failed: done, marked: new Map() };
    const all = [first, ...more];
    return { failed: together(all.map(({ failed }) => failed)), marked: new Map(all.flatMap(({ marked }) => [...marked])) };
  }

  /**
   * Marks every key. Each round acts on what is known and looks at the same time; on a store that
   * keeps the order the look shows what the act did, with the token for the marker's removal. So a
   * key without entry, or with a value that this process read last, costs one round trip; another
   * one two.
   */
  async #markPart(affected: Affected, writer: string): Promise<Marked> {
    const marked = new Map<string, Seen>();
    const failed: string[] = [];
    let cause: unknown;
    let open = [...affected.keys()];
    // A value that readers may still be given has to be known.
    const keeping = open.some((key) => affected.get(key)?.last !== undefined);
    let known: Look = keeping ? await this.#lookThrough(open) : (key) => this.#lastRead(key);
    const kept: Promise<void>[] = [];
    for (let attempt = 0; open.length > 0 && attempt < maxAttempts; attempt += 1) {
      const last = known;
      const acts = open.map((key) => this.#place(key, last(key), writer, attempt === 0 && !keeping));
      const look = this.#lookThrough(open);
      const outcomes = await Promise.allSettled(acts);
      known = await look;
      const again: string[] = [];
      for (const [at, key] of open.entries()) {
        const seen = known(key);
        const outcome = outcomes[at];
        if (seen.state === 'marker' && seen.writers.includes(writer)) {
          marked.set(key, seen);
          if (outcome?.status === 'fulfilled' && outcome.value) kept.push(this.#keep(affected.get(key)?.last, last(key)));
        } else if (seen.state === 'unknown' || outcome?.status === 'rejected') {
          cause = seen.state === 'unknown' ? seen.cause : (outcome as PromiseRejectedResult).reason;
          failed.push(key);
        } else again.push(key);
      }
      open = again;
    }
    if (open.length > 0) {
      cause ??= new Error(`mark lost ${String(maxAttempts)} races`);
      failed.push(...open);
    }
    if (failed.length > 0) this.#failed('mark', cause);
    await Promise.all(kept);
    return { failed: failed.length === 0 ? done : { keys: failed, cause }, marked };
  }

  /**
   * Keeps the value that a marker has taken the place of, for readers that may be given it a while
   * longer. One that is kept already is older, and ends when its own time is over.
   */
  async #keep(last: Target['last'], replaced: Seen): Promise<void> {
    if (last === undefined || replaced.state !== 'value') return;
    try {
      await this.#store.add(last.key, outdatedText(replaced.text), last.seconds);
    } catch (cause) {
      // Readers wait for the new value then.
      this.#failed('keep', cause);
    }
  }

  /** Lets the markers stand for another `writeLease`. */
  async #renew(affected: Affected, writer: string): Promise<void> {
    const keys = [...affected.keys()];
    await this.#untilDone(keys, 'renew', await this.#lookThrough(keys), (key, seen) => this.#place(key, seen, writer));
  }

  /** What a key held when this process read it last. */
  #lastRead(key: string): Seen {
    // One that was tried already is of no use any more, and does no harm.
    // A reading may be older than what was read, and not decoded twice yet, since.
    const token = this.#tokens.get(key) ?? this.#readings.get(key)?.token;
    this.#readings.delete(key);
    this.#tokens.delete(key);
    return token === undefined || token === unknownToken ? absent : { state: 'value', text: '', token };
  }

  /**
   * Replaces what was seen by a marker that names the writer, too.
   * @param outdated what was seen may be gone by now
   */
  async #place(key: string, seen: Seen, writer: string, outdated = false): Promise<boolean> {
    const seconds = this.#markerSeconds;
    if (seen.state === 'absent' || seen.state === 'unknown') return this.#store.add(key, markerText([writer]), seconds);
    const writers =
      seen.state !== 'marker' ? [writer] : seen.writers.includes(writer) ? seen.writers : [...seen.writers, writer];
    const text = markerText(writers);
    const swapped = this.#store.compareAndSwap(key, text, seen.token, seconds);
    if (!outdated) return swapped;
    const [replaced, added] = await Promise.all([swapped, this.#place(key, absent, writer)]);
    return replaced || added;
  }

  async #voidAll(affected: Affected, writer: string, marked?: Marked['marked']): Promise<Failed> {
    const look: Look = (key) => marked?.get(key) ?? absent;
    return together(await this.#inParts(affected, (part) => this.#voidPart(part, writer, look)));
  }

  /**
   * Ends the tables' epochs, then removes from every key the writer's marker, a value or a lease.
   * @param marked what was seen after the keys were marked
   */
  async #voidPart(affected: Affected, writer: string, marked: Look): Promise<Failed> {
    const keys = [...affected.keys()];
    const guarded = (key: string): boolean => {
      const seen = marked(key);
      return seen.state === 'marker' && seen.writers.includes(writer);
    };
    const others = keys.filter((key) => !guarded(key));
    const epochs = new Set(Array.from(affected.values(), (table) => table.epoch));
    const ended = Promise.all(Array.from(epochs, async (epoch) => this.#store.delete(epoch)));
    // No entry may go before its epoch; where the store keeps the order, both are sent at once.
    const ordered = new Set<string>();
    const sent = new Map<string, Promise<boolean>>();
    for (const [key, { epoch }] of affected) {
      if (this.#store.inOrder?.(epoch, key) !== true) continue;
      ordered.add(key);
      if (guarded(key)) sent.set(key, this.#unmark(key, marked(key), writer));
    }
    const look = others.length === 0 ? undefined : this.#lookThrough(others);
    const [ending] = await Promise.allSettled([ended, ...sent.values()]);
    if (ending.status === 'rejected') {
      const cause: unknown = ending.reason;
      this.#failed('epoch', cause);
      await look;
      return { keys, cause };
    }
    const first = await look;
    return this.#untilDone(
      keys,
      'release',
      (key) => (guarded(key) ? marked(key) : (first?.(key) ?? absent)),
      (key, seen, attempt) => {
        // What was absent before the epoch ended may have been filled until it did.
        if (seen.state === 'absent') return attempt > 0 || ordered.has(key);
        return (attempt === 0 ? sent.get(key) : undefined) ?? this.#unmark(key, seen, writer);
      },
    );
  }

  /** Removes the writer's marker, or a value or a lease; the markers of other writers stay. */
  async #unmark(key: string, seen: Seen, writer: string): Promise<boolean> {
    if (seen.state === 'absent' || seen.state === 'unknown') return false;
    if (seen.state !== 'marker') return this.#store.compareAndDelete(key, seen.token);
    if (!seen.writers.includes(writer)) return true;
    const rest = seen.writers.filter((other) => other !== writer);
    return rest.length === 0
      ? this.#store.compareAndDelete(key, seen.token)
      : this.#store.compareAndSwap(key, markerText(rest), seen.token, this.#markerSeconds);
  }

  /** Applies `step` to each key until it says that it is done; a step that lost a race looks again. */
  async #untilDone(
    keys: readonly string[],
    operation: string,
    firstLook: Look,
    step: (key: string, seen: Exclude<Seen, { state: 'unknown' }>, attempt: number) => boolean | Promise<boolean>,
  ): Promise<Failed> {
    const failed: string[] = [];
    let cause: unknown;
    let open = keys;
    for (let attempt = 0; open.length > 0 && attempt < maxAttempts; attempt += 1) {
      const look = attempt === 0 ? firstLook : await this.#lookThrough(open);
      const again: string[] = [];
      await Promise.all(
        open.map(async (key) => {
          const seen = look(key);
          if (seen.state === 'unknown') {
            cause = seen.cause;
            failed.push(key);
            return;
          }
          try {
            if (!(await step(key, seen, attempt))) again.push(key);
          } catch (error) {
            cause = error;
            failed.push(key);
            this.#failed(operation, error);
          }
        }),
      );
      open = again;
    }
    if (open.length > 0) {
      cause ??= new Error(`${operation} lost ${String(maxAttempts)} races`);
      failed.push(...open);
    }
    return failed.length === 0 ? done : { keys: failed, cause };
  }

  /** A look that shows what the store has even where an invalidation is undelivered. */
  async #lookThrough(keys: readonly string[]): Promise<Look> {
    const { items, failures } = await this.#get(keys);
    return (key) => {
      const cause = failures.get(key);
      return cause === undefined ? classify(items.get(key)) : { state: 'unknown', cause };
    };
  }

  #failed(operation: string, cause: unknown): void {
    this.#firstContact.failed(cause);
    const known = this.#failures.get(operation);
    this.#failures.set(operation, { count: (known?.count ?? 0) + 1, lastError: cause, lastErrorAt: new Date() });
    publish('error', () => ({ operation, cause }));
  }
}

/** The stamps that a look showed. */
const stampsIn = (look: Look, keys: readonly string[]): ReadonlyMap<string, string | undefined> =>
  new Map(
    keys.map((key) => {
      const seen = look(key);
      return [key, seen.state === 'stamp' ? seen.text : undefined];
    }),
  );

function split(affected: Affected, size: number): readonly Affected[] {
  const entries = [...affected];
  return Array.from(
    { length: Math.ceil(entries.length / size) },
    (_, part) => new Map(entries.slice(part * size, (part + 1) * size)),
  );
}

function together(parts: readonly Failed[]): Failed {
  const failed = parts.filter(({ keys }) => keys.length > 0);
  const [first] = failed;
  return first === undefined || failed.length === 1
    ? (first ?? done)
    : { keys: failed.flatMap(({ keys }) => keys), cause: first.cause };
}

/**
 * A store may be anybody's. What it answers is looked at in many places, so it is checked in one.
 * @throws StoreProtocolError
 */
function checkReply(reply: unknown): StoreReply {
  const { items, failures } = (reply ?? {}) as { readonly items?: unknown; readonly failures?: unknown };
  if (!(items instanceof Map) || !(failures instanceof Map)) {
    throw new StoreProtocolError('The store answered a get without its maps of items and failures.');
  }
  for (const [key, item] of items as ReadonlyMap<unknown, unknown>) checkItem(key, item);
  return reply as StoreReply;
}

/** @throws StoreProtocolError */
function checkItem(key: unknown, item: unknown): void {
  const { value, token } = (item ?? {}) as { readonly value?: unknown; readonly token?: unknown };
  if (typeof value === 'string' && typeof token === 'string') return;
  throw new StoreProtocolError(`The store answered a get of ${show(key)} with something else than a value and its token.`);
}
