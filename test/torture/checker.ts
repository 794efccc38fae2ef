/**
 * The checker: whether each answer that was given is one that the database would have given.
 *
 * A read from `start` to `end` may show a committed version of what was asked for if no newer one had
 * to be seen by `start`, and if its COMMIT had been sent by `end`. Where the answer depends on several
 * rows, each of them has such a set of versions, and some choice among them has to give the answer.
 * The answer to a question about all rows with some values has to be that of one moment, too.
 */
import type { Read } from './log.js';
import { Versions, type History, type Row, type Version } from './history.js';
import { Moments, type Span, type Whose } from './moments.js';
import {
  compareBy, isSet, questionOf, rowsIn, valuesIn,
  type LinkedQuestion, type SetQuestion,
} from './questions.js';
import { askIdIn, primaryKeyIn, specOf, tables, valueIn, type KeySpec, type TableName } from './tables.js';

/**
 * - `staleAfterAck`: older than a write that had been acknowledged when the read began.
 * - `uncommitted`: not committed when the read ended, or never.
 * - `wrongAnswers`: no version of what was asked for ever had that content.
 * - `staleAfterCrash`: older than a write whose writer had been killed longer than `writeLease` (and the
 *   allowance) before.
 * - `staleAfterFailure`: older than a write that had been reported as failed, and was committed.
 * - `torn`: of several rows, each right by itself, but never so together.
 */
export type FindingKind = 'staleAfterAck' | 'uncommitted' | 'wrongAnswers' | 'staleAfterCrash' | 'staleAfterFailure' | 'torn';

export interface Finding {
  readonly kind: FindingKind;
  readonly read: Read;
  readonly why: string;
  /** The row or key, and the versions that the answer should have been among. */
  readonly versions: Versions;
  readonly floor: number;
  /** The rows whose versions were a choice. */
  readonly spans?: readonly Span[];
}

type Trouble = Omit<Finding, 'read'>;

/** Answers of one sort. */
class Tally {
  reads = 0;
  hits = 0;

  add({ hit }: Read): void {
    this.reads += 1;
    if (hit) this.hits += 1;
  }
}

/** Checks reads against the history of their run. */
export class Checker {
  readonly #history: History;
  readonly #contents = new Set<string>();
  readonly #last = new Map<string, { readonly end: number; readonly versions: Versions; readonly at: number }>();
  reads = 0;
  hits = 0;
  /** Reads that were older than one that the same process had made of the same key before. */
  backwards = 0;
  /** The longest time after a kill at which an answer was older than what the killed process wrote. */
  maxStaleAfterCrash = 0;
  /** The same after a write that was reported as failed and was committed. */
  maxStaleAfterFailure = 0;
  readonly findings: Finding[] = [];
  readonly lists = new Tally();
  /** Counts, existence and results of a program's own. */
  readonly results = new Tally();
  /** What relations lead to. */
  readonly related = new Tally();
  /** Answers about several rows of which some may have been out of date by themselves, so that there need be no one moment. */
  loose = 0;
  /** Lists and results with more possible orders of commits than were looked at. */
  unjudged = 0;
  readonly #moments: Moments;

  constructor(history: History) {
    this.#history = history;
    this.#moments = new Moments(history);
    for (const { versions } of history.rows.values()) {
      for (const content of versions.places.keys()) if (content !== null) this.#contents.add(content);
    }
  }

  check(read: Read): void {
    this.reads += 1;
    if (read.hit) this.hits += 1;
    const asked = questionOf(read.askId);
    if (asked !== undefined) {
      const { question, values } = asked;
      const trouble = isSet(question) ? this.#checkSet(read, question, values) : this.#checkLinked(read, question, values);
      if (trouble !== undefined) this.findings.push({ ...trouble, read });
      return;
    }
    const { table, key } = specOf(read.askId);
    if (read.content !== null && askIdIn(read.content, table, key) !== read.askId) {
      const why = 'the row does not have the values that were asked for';
      this.findings.push({ kind: 'wrongAnswers', why, read, versions: nothing, floor: 0 });
      return;
    }
    const parts = this.#partsOf(read, table, key);
    const trouble = this.#judge(read, parts, 'acked') ?? this.#judge(read, parts, 'all');
    if (trouble !== undefined) this.findings.push({ ...trouble, read });
    else this.#measure(read, parts);
  }

  #judge(read: Read, parts: readonly Part[], whose: Whose): Trouble | undefined {
    for (const part of parts) {
      const trouble = this.#judgePart(read, part, whose);
      if (trouble !== undefined) return trouble;
    }
    return undefined;
  }

  /**
   * What has to be true for the answer to be in order. A row and the way to it are two things that may
   * be out of date, each for its own reason.
   */
  #partsOf({ askId, content }: Read, table: TableName, { answer }: KeySpec): Part[] {
    const { rows, holders, members } = this.#history;
    const primaryKey = content === null ? askId.slice(askId.indexOf(':', table.length + 1) + 1) : primaryKeyIn(content, table);
    const row = rows.get(`${table}:${primaryKey}`);
    const own: Part = { versions: row?.versions ?? nothing, content };
    if (answer === 'row') return [own];
    const way = content === null ? null : primaryKey;
    if (answer === 'unique') return [...(content === null ? [] : [own]), { versions: holders.get(askId) ?? nothing, content: way }];
    const others = [...(members.get(askId) ?? [])].filter(([other]) => content === null || other !== row);
    const mine = row === undefined ? undefined : members.get(askId)?.get(row);
    if (answer === 'any') {
      if (content !== null) return [own, { versions: mine ?? nothing, content: way }];
      return others.map(([other, versions]) => ({ versions, content: null, other }));
    }
    const before = others.filter(([other]) => content === null || row === undefined || comesBefore(other, row, answer));
    return [
      ...(content === null ? [] : [{ versions: mine ?? nothing, content }]),
      ...before.map(([other, versions]) => ({ versions, content: null, other })),
    ];
  }

  // ---- Several rows ---------------------------------------------------------------------------

  #checkSet(read: Read, question: SetQuestion, values: string): Trouble | undefined {
    const isList = question.kind === 'list';
    (isList ? this.lists : this.results).add(read);
    if (read.content === null) return wrong('it is none');
    const malformed = isList ? this.#malformed(read.content, question, values) : undefined;
    if (malformed !== undefined) return wrong(malformed);
    const verdict = this.#moments.gives(read, question, values, 'all');
    if (verdict === 'moment') return undefined;
    if (verdict === 'loosely' || (verdict === 'unknown' && !isList)) {
      if (verdict === 'loosely') this.loose += 1;
      else this.unjudged += 1;
      return undefined;
    }
    const rows = isList ? (this.#judgeRows(read, question, values, 'acked') ?? this.#judgeRows(read, question, values, 'all')) : undefined;
    if (rows !== undefined) return rows;
    if (verdict === 'unknown') {
      if (this.#spans(read, question, values, 'all').some(({ loose }) => loose)) this.loose += 1;
      else this.unjudged += 1;
      return undefined;
    }
    const spans = this.#spans(read, question, values, 'acked');
    if (this.#moments.gives(read, question, values, 'acked') !== 'never') {
      return { kind: 'staleAfterCrash', why: 'a write that was cut short was not seen', versions: nothing, floor: 0, spans };
    }
    if (this.#moments.gives(read, question, values, 'acked', true) !== 'never') {
      return { kind: 'torn', why: 'each row is right by itself, and they were never so together', versions: nothing, floor: 0, spans };
    }
    const ever = this.#moments.ever(read, question, values);
    if (ever === 'before') return { kind: 'staleAfterAck', why: 'it was the answer before', versions: nothing, floor: 0, spans };
    if (ever === 'after') return { kind: 'uncommitted', why: 'it was the answer later', versions: nothing, floor: 0, spans };
    return { ...wrong('it was never the answer'), spans };
  }

  /** What is wrong with a list whatever was committed. */
  #malformed(content: string, question: SetQuestion, values: string): string | undefined {
    const { table, columns, limit = Infinity } = question;
    const rows = rowsIn(content);
    if (rows.some((row) => valuesIn(row, table, columns) !== values)) return 'a row does not have the values that were asked for';
    if (new Set(rows.map((row) => primaryKeyIn(row, table))).size < rows.length) return 'a row is in it twice';
    if (rows.length > limit) return 'it is too long';
    return undefined;
  }

  /** Each row of a list by itself, those that are in it and those that are not. */
  #judgeRows(read: Read, question: SetQuestion, values: string, whose: Whose): Trouble | undefined {
    const { table, limit = Infinity } = question;
    const listed = rowsIn(read.content ?? '');
    const trouble = this.#judgeListed(read, table, listed, whose);
    if (trouble !== undefined) return trouble;
    const spans = this.#spans(read, question, values, whose);
    const ids = new Set(listed.map((content) => primaryKeyIn(content, table)));
    const isLoose = spans.some(({ loose }) => loose);
    const last = listed.length < limit ? undefined : listed.at(-1);
    // The last one's place may be that of an older version of it.
    if (last !== undefined && isLoose) return undefined;
    const fits = (content: string): boolean =>
      valuesIn(content, table, question.columns) === values && (last === undefined || compareBy(question, content, last) < 0);
    return this.#lacking(spans, ids, fits, whose);
  }

  #judgeListed(read: Read, table: TableName, contents: readonly string[], whose: Whose): Trouble | undefined {
    for (const content of contents) {
      const row = this.#history.rows.get(`${table}:${primaryKeyIn(content, table)}`);
      const trouble = this.#judgePart(read, { versions: row?.versions ?? nothing, content }, whose);
      if (trouble !== undefined) return { ...trouble, why: `row ${content}: ${trouble.why}` };
    }
    return undefined;
  }

  /** A row that is not in a list, and has to be whichever version of it was seen. */
  #lacking(spans: readonly Span[], listed: ReadonlySet<string>, fits: (content: string) => boolean, whose: Whose): Trouble | undefined {
    for (const span of spans) {
      const { primaryKey, versions } = span.row;
      if (listed.has(primaryKey)) continue;
      if (this.#moments.contents(span).some((content) => content === null || !fits(content))) continue;
      return {
        kind: whose === 'acked' ? 'staleAfterAck' : 'staleAfterCrash',
        why: `row ${primaryKey} is not in it`, versions, floor: span.low, spans: [span],
      };
    }
    return undefined;
  }

  #spans(read: Read, { table, columns }: Pick<SetQuestion, 'table' | 'columns'>, values: string, whose: Whose): Span[] {
    return this.#moments.spans(table, columns, values, read, whose);
  }

  // ---- What relations lead to -----------------------------------------------------------------

  #checkLinked(read: Read, question: LinkedQuestion, values: string): Trouble | undefined {
    this.related.add(read);
    return this.#judgeLinked(read, question, values, 'acked') ?? this.#judgeLinked(read, question, values, 'all');
  }

  /** Each row on the way is right by itself. */
  #judgeLinked(read: Read, question: LinkedQuestion, values: string, whose: Whose): Trouble | undefined {
    const { table, columns, kind, target, column } = question;
    const { content } = read;
    const roots = this.#spans(read, question, values, whose).flatMap((span) => this.#moments.contents(span));
    const isRoot = (root: string | null): root is string => root !== null && valuesIn(root, table, columns) === values;
    const mayBeNone = this.#spans(read, question, values, whose).every((span) => this.#moments.contents(span).some((root) => !isRoot(root)));
    if (kind === 'related one') {
      if (content === null) {
        if (mayBeNone || roots.some((root) => isRoot(root) && this.#mayBeNone(read, target, valueIn(root, table, column), whose))) return undefined;
        return stale('there is a row that it leads to', whose);
      }
      const trouble = this.#judgeListed(read, target, [content], whose);
      if (trouble !== undefined) return trouble;
      const id = primaryKeyIn(content, target);
      return roots.some((root) => isRoot(root) && valueIn(root, table, column) === id) ? undefined : stale('nothing leads to this row', whose);
    }
    if (kind === 'with one' || kind === 'with many') {
      if (content === null) return mayBeNone ? undefined : stale('there is such a row', whose);
      const [root = '', ...linked] = content.split('	');
      if (!isRoot(root)) return wrong('the row does not have the values that were asked for');
      const trouble = this.#judgeListed(read, table, [root], whose);
      if (trouble !== undefined) return trouble;
      if (kind === 'with many') return this.#judgeMany(read, question, primaryKeyIn(root, table), linked, whose);
      const id = valueIn(root, table, column);
      const [one] = linked;
      if (one !== undefined) {
        if (primaryKeyIn(one, target) !== id) return wrong('the row does not refer to the one that came with it');
        return this.#judgeListed(read, target, [one], whose);
      }
      return this.#mayBeNone(read, target, id, whose) ? undefined : stale('the row that it refers to did not come with it', whose);
    }
    if (content === null) return wrong('it is none');
    // Nothing is found from a row that is not there, whatever refers to it.
    if (content === '' && mayBeNone) return undefined;
    return this.#judgeMany(read, question, values, rowsIn(content), whose);
  }

  #mayBeNone(read: Read, target: TableName, id: string | null, whose: Whose): boolean {
    const row = id === null ? undefined : this.#history.rows.get(`${target}:${id}`);
    return row === undefined || this.#moments.contents(this.#moments.span(row, read, whose)).includes(null);
  }

  /** The rows that refer to one. */
  #judgeMany(read: Read, { kind, target, column, other = '' }: LinkedQuestion, id: string, found: readonly string[], whose: Whose): Trouble | undefined {
    const spans = this.#moments.spans(target, [column], id, read, whose);
    const fits = (content: string): boolean => valueIn(content, target, column) === id;
    if (new Set(found).size < found.length) return wrong('a row came twice');
    if (kind === 'related through') {
      for (const one of found) {
        const some = spans.filter((span) => this.#moments.contents(span).some((content) => content !== null && fits(content) && valueIn(content, target, other) === one));
        if (some.length === 0) return stale(`nothing leads to row ${one}`, whose);
      }
      const there = new Set(found.map((one) => tables[target].primaryKey.map((name) => (name === column ? id : one)).join()));
      return this.#lacking(spans, there, fits, whose);
    }
    if (!found.every(fits)) return wrong('a row does not refer to the one that was asked for');
    return this.#judgeListed(read, target, found, whose) ?? this.#lacking(spans, new Set(found.map((content) => primaryKeyIn(content, target))), fits, whose);
  }

  count(kind: FindingKind): number {
    return this.findings.filter((finding) => finding.kind === kind).length;
  }

  #judgePart({ start, end }: Read, { versions, content, other }: Part, whose: Whose): Trouble | undefined {
    const floor = versions.floor(start, whose);
    const places = versions.places.get(content) ?? [];
    let early = false;
    for (let at = places.length - 1; at >= 0; at -= 1) {
      const place = places[at] as number;
      if (place < floor) break;
      if ((versions.list[place] as Version).from < end) return undefined;
      early = true;
    }
    const at = { versions, floor };
    const what = other === undefined ? '' : `; row ${other.primaryKey} would have been the answer`;
    if (early) return { kind: 'uncommitted', why: `it was read before its COMMIT was sent${what}`, ...at };
    if (places.length > 0) {
      return whose === 'acked'
        ? { kind: 'staleAfterAck', why: `version ${places.at(-1) ?? 0} was answered, and version ${floor} had been acknowledged${what}`, ...at }
        : this.#late(versions, floor, start);
    }
    // "No such row" is version 0.
    return { ...this.#neverThere(content ?? '', versions), ...at };
  }

  #neverThere(content: string, versions: Versions): Pick<Trouble, 'kind' | 'why'> {
    const inside = versions.never.get(content);
    if (inside !== undefined) return { kind: 'uncommitted', why: `it was there inside of transaction ${inside.label} only` };
    if (this.#contents.has(content)) return { kind: 'wrongAnswers', why: 'it is the content of another key' };
    const stamp = content.slice(content.lastIndexOf('|') + 1);
    // A stamp is the label of the operation that wrote it, and a number.
    const operation = this.#history.operations.get(stamp.slice(0, stamp.lastIndexOf('.')));
    if (operation !== undefined) {
      return { kind: 'uncommitted', why: `operation ${operation.id} (${operation.what}, ${operation.outcome ?? 'killed'}) never committed it` };
    }
    return { kind: 'wrongAnswers', why: 'the row never had this content' };
  }

  #late(versions: Versions, floor: number, start: number): Trouble {
    const version = versions.list[floor] as Version;
    const late = start - version.since;
    if (version.standing === 'failed') this.maxStaleAfterFailure = Math.max(this.maxStaleAfterFailure, late);
    else this.maxStaleAfterCrash = Math.max(this.maxStaleAfterCrash, late);
    const what = version.standing === 'failed' ? 'reported as failed' : 'cut short by a kill';
    return {
      kind: version.standing === 'failed' ? 'staleAfterFailure' : 'staleAfterCrash',
      why: `version ${floor}, whose write was ${what} ${(late / 1000).toFixed(0)} ms before, was not seen`,
      versions,
      floor,
    };
  }

  /** How old an answer was that is in order, and whether it went back in time. */
  #measure({ process, askId, start, end }: Read, parts: readonly Part[]): void {
    for (const [part, { versions, content, other }] of parts.entries()) {
      const floor = versions.floor(start, 'acked');
      const places = (versions.places.get(content) ?? []).filter((place) => place >= floor && (versions.list[place] as Version).from < end);
      const newest = places.at(-1) ?? floor;
      for (const place of versions.uncertain) {
        if (place <= newest) continue;
        const { standing, since } = versions.list[place] as Version;
        if (standing === 'excused' || since >= start) continue;
        if (standing === 'failed') this.maxStaleAfterFailure = Math.max(this.maxStaleAfterFailure, start - since);
        else this.maxStaleAfterCrash = Math.max(this.maxStaleAfterCrash, start - since);
      }
      if (part > 0 || other !== undefined) continue;
      const id = `${process} ${askId}`;
      const last = this.#last.get(id);
      if (last?.versions === versions && last.end < start && newest < last.at) this.backwards += 1;
      if (last === undefined || end > last.end) this.#last.set(id, { end, versions, at: places[0] ?? floor });
    }
  }
}

/** One thing that has to be true: that this was a legal content of these versions. */
interface Part {
  readonly versions: Versions;
  readonly content: string | null;
  /** It is about this row, which must not have been the answer. */
  readonly other?: Row;
}

const nothing = new Versions();

const wrong = (why: string): Trouble => ({ kind: 'wrongAnswers', why, versions: nothing, floor: 0 });
const stale = (why: string, whose: Whose): Trouble =>
  ({ kind: whose === 'acked' ? 'staleAfterAck' : 'staleAfterCrash', why, versions: nothing, floor: 0 });

/** Whether the one row would be the answer in place of the other. */
function comesBefore(row: Row, other: Row, answer: 'first' | 'last'): boolean {
  const [one, two] = [Number(row.primaryKey), Number(other.primaryKey)];
  return answer === 'first' ? one < two : one > two;
}

/** Everything around a finding that helps to explain it, as lines. */
export function explain({ kind, read, why, versions, floor, spans = [] }: Finding, origin: number): string[] {
  const ms = (time: number): string => (Number.isFinite(time) ? ((time - origin) / 1000).toFixed(1) : String(time));
  const line = (version: Version, at: number): string => {
    const { content, unit, from, due, standing, seq } = version;
    const { operation } = unit ?? {};
    const by =
      operation === undefined
        ? 'the beginning'
        : `${unit?.label ?? ''} ${operation.what} [${operation.mode}] ${ms(operation.start)} to ${operation.end === undefined ? 'its kill' : ms(operation.end)} ` +
          `${operation.outcome ?? ''} ${operation.error}${operation.undelivered ? ` undelivered until ${operation.delivered === undefined ? 'the end' : ms(operation.delivered)}` : ''}`;
    const statements = unit === undefined ? '' : `\n        ${unit.statements.join('; ')}${unit.apart ? ' (apart)' : ''}`;
    return `${at === floor ? '  → ' : '    '}${at}: seq ${seq} ${content ?? 'none'}  from ${ms(from)}, due ${ms(due)} (${standing}) by ${by}${statements}`;
  };
  const answered = versions.places.get(read.content)?.at(-1) ?? floor;
  const first = Math.max(0, Math.min(floor, answered) - 2);
  return [
    `${kind}: ${read.askId} ${read.hit ? 'from the cache' : 'from the database'} by ${read.process}, ${ms(read.start)} to ${ms(read.end)} ms: ${read.content ?? 'none'}`,
    `    ${why}`,
    ...(versions === nothing ? [] : versions.list.slice(first, floor + 5).map((version, at) => line(version, first + at))),
    ...spans.flatMap(({ row, low, high, loose }) => [
      `    row ${row.primaryKey} was ${low === high ? '' : 'one of '}${loose ? '(it may be out of date by itself) ' : ''}`,
      ...row.versions.list.slice(low, high + 1).map((version, at) => line(version, low + at)),
    ]),
  ];
}

