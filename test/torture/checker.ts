/**
 * The checker: whether each answer that was given is one that the database would have given.
 *
 * A read from `start` to `end` may show a committed version of what was asked for if no newer one had
 * to be seen by `start`, and if its COMMIT had been sent by `end`. Where the answer depends on several
 * rows, each of them has such a set of versions, and some choice among them has to give the answer.
 */
import type { Read } from './log.js';
import { Versions, type History, type Row, type Version } from './history.js';
import { askIdIn, primaryKeyIn, specOf, type KeySpec, type TableName } from './tables.js';

/**
 * - `staleAfterAck`: older than a write that had been acknowledged when the read began.
 * - `uncommitted`: not committed when the read ended, or never.
 * - `wrongAnswers`: no version of what was asked for ever had that content.
 * - `staleAfterCrash`: older than a write whose writer had been killed longer than `writeLease` (and the
 *   allowance) before.
 * - `staleAfterFailure`: older than a write that had been reported as failed, and was committed.
 */
export type FindingKind = 'staleAfterAck' | 'uncommitted' | 'wrongAnswers' | 'staleAfterCrash' | 'staleAfterFailure';

export interface Finding {
  readonly kind: FindingKind;
  readonly read: Read;
  readonly why: string;
  /** The row or key, and the versions that the answer should have been among. */
  readonly versions: Versions;
  readonly floor: number;
}

type Trouble = Omit<Finding, 'read'>;
type Whose = 'acked' | 'all';

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

  constructor(history: History) {
    this.#history = history;
    for (const { versions } of history.rows.values()) {
      for (const content of versions.places.keys()) if (content !== null) this.#contents.add(content);
    }
  }

  check(read: Read): void {
    this.reads += 1;
    if (read.hit) this.hits += 1;
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

/** Whether the one row would be the answer in place of the other. */
function comesBefore(row: Row, other: Row, answer: 'first' | 'last'): boolean {
  const [one, two] = [Number(row.primaryKey), Number(other.primaryKey)];
  return answer === 'first' ? one < two : one > two;
}

/** Everything around a finding that helps to explain it, as lines. */
export function explain({ kind, read, why, versions, floor }: Finding, origin: number): string[] {
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
    ...versions.list.slice(first, floor + 5).map((version, at) => line(version, first + at)),
  ];
}

