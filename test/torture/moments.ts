/**
 * The points in the order of commits: whether an answer about several rows is that of one of them.
 *
 * The history numbers the changes of each row in the order of their commits. Between rows there is
 * less: what a transaction changed became visible at once, and what was acknowledged before another
 * COMMIT was sent came before it. So there may be several orders that the commits can have had, and
 * one of them has to have a point at which the committed rows give the answer.
 */
import type { Read } from './log.js';
import type { History, Row, Unit, Version, Versions } from './history.js';
import { answerOf, groupOf, valuesIn, type SetQuestion } from './questions.js';
import type { TableName } from './tables.js';

export type Whose = 'acked' | 'all';

/** The versions of a row that an answer may have been made from. */
export interface Span {
  readonly row: Row;
  readonly low: number;
  readonly high: number;
  /**
   * A write to it was not acknowledged, or the store was not told of it in time: entries that depend on
   * the row may be out of date, each for itself, and there need be no one moment.
   */
  readonly loose: boolean;
}

/**
 * - `moment`: there is a point that gives the answer.
 * - `loosely`: there is one but for rows that may be out of date by themselves.
 * - `never`: there is none.
 * - `unknown`: there are too many orders to look at, or the rows of a list may be out of date by themselves.
 */
export type Verdict = 'moment' | 'loosely' | 'never' | 'unknown';

/** So many points, and versions of rows that are out of date by themselves, are looked at for one answer. */
const maxPoints = 4000;
/** Commits whose order is open. */
const maxUnits = 24;

/** Finds points in the order of commits. */
export class Moments {
  readonly #history: History;
  readonly #loose = new WeakMap<Versions, readonly number[]>();
  readonly #lives = new WeakMap<Versions, Life>();
  #places: ReadonlyMap<Unit, readonly Place[]> | undefined;

  constructor(history: History) {
    this.#history = history;
  }

  /** The rows that may have had these values when the read was made. */
  spans(table: TableName, columns: readonly string[], values: string, read: Read, whose: Whose): Span[] {
    const spans: Span[] = [];
    for (const row of this.#history.groups.get(groupOf(table, columns, values)) ?? []) {
      const { born, gone } = this.#lifeOf(row.versions);
      if (born < read.end && gone >= read.start) spans.push(this.span(row, read, whose));
    }
    return spans;
  }

  span(row: Row, { start, end }: Pick<Read, 'start' | 'end'>, whose: Whose): Span {
    const { versions } = row;
    const { list } = versions;
    const floor = versions.floor(start, whose);
    let low = floor;
    let loose = false;
    for (const at of this.#looseIn(versions)) {
      const version = list[at] as Version;
      if (version.from >= end) break;
      if ((whose === 'acked' && version.standing !== 'acked') || version.due >= start) {
        loose = true;
        low = Math.min(low, at - 1);
      }
    }
    let high = low;
    while (high + 1 < list.length && (high + 1 <= floor || (list[high + 1] as Version).from < end)) high += 1;
    return { row, low, high, loose };
  }

  /** What a row can have been, each once. */
  contents({ row: { versions }, low, high }: Span): (string | null)[] {
    return [...new Set(versions.list.slice(low, high + 1).map(({ content }) => content))];
  }

  /**
   * Whether a point gives this answer.
   * @param asunder each row by itself, whatever was committed at once
   */
  gives(read: Read, question: SetQuestion, values: string, whose: Whose, asunder = false): Verdict {
    const { table, columns } = question;
    const member = (content: string | null): string | undefined =>
      content !== null && valuesIn(content, table, columns) === values ? content : undefined;
    const fixed: string[] = [];
    const choices: Span[] = [];
    const free: (string | undefined)[][] = [];
    for (const span of this.spans(table, columns, values, read, whose)) {
      const options = [...new Set(this.contents(span).map(member))];
      if (options.length === 1) {
        if (options[0] !== undefined && !span.loose) fixed.push(options[0]);
        else if (options[0] !== undefined) free.push(options);
      } else if (span.loose || asunder) free.push(options);
      else choices.push(span);
    }
    if (question.kind === 'list' && free.length > 0 && !asunder) return 'unknown';
    const cuts = choices.length === 0 ? [() => false] : this.#cuts(choices, read, whose);
    if (cuts === undefined) return 'unknown';
    let left = maxPoints;
    const tries = (members: readonly string[], at: number): boolean => {
      const options = free[at];
      if (options === undefined) {
        left -= 1;
        return answerOf(question, members) === read.content;
      }
      return options.some((option) => left > 0 && tries(option === undefined ? members : [...members, option], at + 1));
    };
    for (const includes of cuts) {
      const members = [...fixed];
      for (const { row, low, high } of choices) {
        const { list } = row.versions;
        let at = low;
        while (at < high && includes((list[at + 1] as Version).unit as Unit)) at += 1;
        const content = member((list[at] as Version).content);
        if (content !== undefined) members.push(content);
      }
      if (tries(members, 0)) return free.length === 0 ? 'moment' : 'loosely';
      if (left <= 0) return 'unknown';
    }
    return 'never';
  }

  /** Whether it was the answer at some time, and whether before the read: by the numbers of the changes. */
  ever(read: Read, question: SetQuestion, values: string): 'before' | 'after' | undefined {
    const { table, columns } = question;
    const changes = [...(this.#history.groups.get(groupOf(table, columns, values)) ?? [])]
      .flatMap((row) => row.versions.list.map((version) => ({ row, version })))
      .sort((one, other) => one.version.seq - other.version.seq);
    const now = new Map<Row, string>();
    let after: 'after' | undefined;
    for (const { row, version: { content, from } } of changes) {
      if (content !== null && valuesIn(content, table, columns) === values) now.set(row, content);
      else now.delete(row);
      if (answerOf(question, [...now.values()]) !== read.content) continue;
      if (from < read.end) return 'before';
      after = 'after';
    }
    return after;
  }

  /** Every set of commits that can have been all that there were, as "is this one of them". */
  #cuts(choices: readonly Span[], { start }: Read, whose: Whose): ((unit: Unit) => boolean)[] | undefined {
    const units = new Map<Unit, { readonly number: number; readonly from: number; needs: number }>();
    for (const { row, low, high } of choices) {
      let before = 0;
      for (const { unit, from } of row.versions.list.slice(low + 1, high + 1)) {
        if (unit === undefined) continue;
        const known = units.get(unit) ?? { number: units.size, from, needs: 0 };
        units.set(unit, known);
        known.needs |= before;
        before |= 1 << known.number;
      }
    }
    if (units.size > maxUnits) return undefined;
    for (const one of units.values()) {
      for (const [earlier, { number }] of units) if ((earlier.operation.end ?? Infinity) < one.from) one.needs |= 1 << number;
    }
    let least = 0;
    for (const [unit, { number }] of units) {
      if (this.#placesOf(unit).some(({ row, at }) => at <= row.versions.floor(start, whose))) least |= 1 << number;
    }
    for (let grown = -1; grown !== least; ) {
      grown = least;
      for (const { number, needs } of units.values()) if ((least & (1 << number)) !== 0) least |= needs;
    }
    const found = new Set([least]);
    for (const cut of found) {
      if (found.size > maxPoints) return undefined;
      for (const { number, needs } of units.values()) {
        if ((cut & (1 << number)) === 0 && (needs & ~cut) === 0) found.add(cut | (1 << number));
      }
    }
    return Array.from(found, (cut) => (unit: Unit) => (cut & (1 << (units.get(unit)?.number ?? 31))) !== 0);
  }

  #placesOf(unit: Unit): readonly Place[] {
    this.#places ??= placesIn(this.#history);
    return this.#places.get(unit) ?? [];
  }

  #looseIn(versions: Versions): readonly number[] {
    const known = this.#loose.get(versions);
    if (known !== undefined) return known;
    const found = versions.list.flatMap(({ unit }, at) => (unit !== undefined && isLoose(unit) ? [at] : []));
    this.#loose.set(versions, found);
    return found;
  }

  #lifeOf(versions: Versions): Life {
    const known = this.#lives.get(versions);
    if (known !== undefined) return known;
    const changes = versions.list.slice(1);
    const life = {
      born: Math.min(...changes.map(({ from }) => from)),
      gone: versions.last.content !== null ? Infinity : Math.max(...changes.map(({ due, standing }) => (standing === 'acked' ? due : Infinity))),
    };
    this.#lives.set(versions, life);
    return life;
  }
}

/** Where a commit is among the versions of a row. */
interface Place {
  readonly row: Row;
  readonly at: number;
}

/** From when on there can have been such a row, and until when. */
interface Life {
  readonly born: number;
  readonly gone: number;
}

function placesIn(history: History): Map<Unit, Place[]> {
  const places = new Map<Unit, Place[]>();
  for (const row of history.rows.values()) {
    for (const [at, { unit }] of row.versions.list.entries()) {
      if (unit === undefined) continue;
      const known = places.get(unit);
      if (known === undefined) places.set(unit, [{ row, at }]);
      else known.push({ row, at });
    }
  }
  return places;
}

/** Whether the store may have learnt of its rows one by one, or of some of them never. */
function isLoose({ apart, operation: { end, outcome, unmarked, undelivered, mode } }: Unit): boolean {
  return apart || end === undefined || outcome !== 'done' || unmarked || (undelivered && mode === 'available');
}
