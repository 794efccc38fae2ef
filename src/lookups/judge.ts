/**
 * What one look says about a lookup: an answer, a miss, or that more has to be looked at.
 */
import type { BoundCache, ListCache, ResultCache, SimpleCache } from '../caches/bound-cache.js';
import type { Look, Sight } from '../coherence/affected.js';
import type { Coherence } from '../coherence/coherence.js';
import { CorruptPayload, parseBody } from '../entries/codec.js';
import { isUncacheableUnder, joinedStamps, valueHead, valueText } from '../entries/envelope.js';
import type { Canonical } from '../entries/key-types.js';
import { publish, type BypassReason } from '../events.js';
import { bucketsOf, sameValues } from '../models/cached-model.js';
import type { Row } from '../models/hydrate.js';
import type { Hint, Hints, ListHint, ListHints } from './hints.js';
import { isUnique, lastKeyOf, type Lookup } from './lookup.js';

/** What one look says about a lookup. */
export type Verdict =
  /** `content` is what the cache makes an answer of. */
  | { readonly state: 'hit'; readonly content: unknown }
  /** The row entry has to be looked at as well. */
  | { readonly state: 'row'; readonly hint: Hint }
  /** These row entries have to be looked at, together with the list that names them. */
  | { readonly state: 'rows'; readonly hint: ListHint }
  /** The hint was wrong. */
  | { readonly state: 'astray' }
  /** To be loaded, with a lease on `target`; without one where it is known by now that it could not be answered from there (`bypass`). */
  | { readonly state: 'miss'; readonly target: string; readonly hint: Hint | undefined; readonly bypass?: BypassReason };

/** Judges looks, and remembers for the next ones where they led and what was decoded. */
export class Judge {
  readonly #coherence: Coherence;
  readonly #hints: Hints;
  readonly #listHints: ListHints;
  #lastHead = { fingerprint: '', generation: '', head: '' };

  constructor(coherence: Coherence, hints: Hints, listHints: ListHints) {
    this.#coherence = coherence;
    this.#hints = hints;
    this.#listHints = listHints;
  }

  /** The hint that a lookup may be answered through. */
  hintOf(lookup: Lookup): Hint | undefined {
    if (lookup.ignoreHint || lookup.cache.kind !== 'simple' || lookup.cache.primary) return undefined;
    return this.#hints.get(lookup);
  }

  /** Of a lookup by key: what was seen under its key, or through its hint. */
  verdict(lookup: Lookup, look: Look, hint: Hint | undefined): Verdict {
    const { cache } = lookup;
    if (lookup.mode === 'refresh' || cache.kind === 'list') return missOn(lookup.key);
    if (cache.kind === 'result') return this.#result(lookup, cache, look);
    if (cache.primary) return this.#primary(lookup, cache, look);
    if (hint !== undefined && isUnique(lookup)) return this.row(lookup, cache, hint, look, false);
    return this.#index(lookup, cache, look, hint);
  }

  #primary(lookup: Lookup, cache: SimpleCache, look: Look): Verdict {
    const found = this.#rowAt(lookup, lookup.key, cache.primaryKeyOf(lookup.values), look);
    return found === undefined || found === 'other' ? missOn(lookup.key) : { state: 'hit', content: found.row };
  }

  #index(lookup: Lookup, cache: SimpleCache, look: Look, hint: Hint | undefined): Verdict {
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
          ? this.row(lookup, cache, found, look, true)
          : { state: 'row', hint: found };
      }) ?? missOn(lookup.key)
    );
  }

  /**
   * Of the row that a hint leads to.
   * @param viaIndex the hint was found in the store just now
   */
  row(lookup: Lookup, cache: SimpleCache, hint: Hint, look: Look, viaIndex: boolean): Verdict {
    const found = this.#rowAt(lookup, hint.rowKey, hint.primaryKey, look);
    // The lease goes to the row's key: the index entry (or hint) is right as far as it is known.
    if (found === undefined) return missOn(hint.rowKey, hint);
    if (found === 'other' || !isStill(found, hint, cache)) {
      // The row is gone or was renamed.
      return viaIndex ? missOn(lookup.key) : { state: 'astray' };
    }
    // A hint that was used is the one that is remembered.
    if (viaIndex) {
      if (this.#hints.get(lookup) === undefined) cache.counters.noteNew(true);
      this.#hints.set(lookup, hint);
    }
    return { state: 'hit', content: found.row };
  }

  #result(lookup: Lookup, cache: ResultCache, look: Look): Verdict {
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
  list(lookup: Lookup, cache: ListCache, { look, steady }: Sight, hint: ListHint | undefined, round: number): Verdict {
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
            return missOn(lookup.key, undefined, whyNot(rowKeys, look, this.#rowHead(cache, look)));
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
  outdated(lookup: Lookup, look: Look): Verdict | undefined {
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

  /** What the rows' values begin with. */
  #rowHead({ model }: BoundCache, look: Look): string | undefined {
    const stamp = look(model.stamps[0]);
    return stamp.state === 'stamp' ? this.#headOf(model.fingerprint, stamp.text) : undefined;
  }

  /** `valueHead`, kept for the next lookup: those of one batch are mostly of one table. */
  #headOf(fingerprint: string, generation: string): string {
    const last = this.#lastHead;
    if (last.fingerprint === fingerprint && last.generation === generation) return last.head;
    const head = valueHead(fingerprint, generation);
    this.#lastHead = { fingerprint, generation, head };
    return head;
  }
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

const missOn = (target: string, hint?: Hint, bypass?: BypassReason): Verdict =>
  bypass === undefined ? { state: 'miss', target, hint } : { state: 'miss', target, hint, bypass };

/** Why a list cannot be answered from these rows, and could not after another load either. */
function whyNot(rowKeys: readonly string[], look: Look, head: string | undefined): BypassReason | undefined {
  let reason: BypassReason | undefined;
  for (const key of rowKeys) {
    const seen = look(key);
    if (seen.state === 'marker') return 'write-in-flight';
    if (head !== undefined && isUncacheableUnder(head, seen)) ({ reason } = seen);
  }
  return reason;
}

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

function isCanonical(value: unknown): value is readonly Canonical[] {
  return Array.isArray(value) && value.every((item) => item === null || typeof item === 'string');
}

/** A list's rows are looked at again so often if a write was finished meanwhile. */
const maxListRounds = 3;
