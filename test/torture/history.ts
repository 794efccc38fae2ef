/**
 * The truth: what the database committed, as a list of versions for each row and each key.
 *
 * It is made from the rows that the triggers wrote and from what the workers logged: which operation
 * a change belongs to, when it can have become visible at the earliest, and from when on every read
 * has to see it.
 */
import type { Mode, Outcome, WriteLine } from './log.js';
import { groupings, groupOf, valuesIn } from './questions.js';
import { askIdIn, primaryKeyIn, tables, valueIn, withValue, type KeySpec, type TableName } from './tables.js';

/** One row of the history table. */
export interface HistoryRow {
  readonly seq: number;
  readonly label: string | null;
  readonly tbl: TableName;
  /** Insert, update, delete; T is a TRUNCATE, which fires no triggers. */
  readonly action: 'I' | 'U' | 'D' | 'T';
  readonly old_pk: string | null;
  readonly visible: number;
  readonly content: string | null;
}

/** What a program asked for. */
export interface Operation {
  readonly id: string;
  readonly process: string;
  readonly mode: Mode;
  readonly what: string;
  readonly start: number;
  end: number | undefined;
  outcome: Outcome | undefined;
  error: string;
  unmarked: boolean;
  undelivered: boolean;
  delivered: number | undefined;
}

/** What the database commits at once. */
export interface Unit {
  readonly label: string;
  readonly operation: Operation;
  readonly start: number;
  readonly transaction: boolean;
  commit: number | undefined;
  apart: boolean;
  /** For those who read of it. */
  readonly statements: string[];
  /** It stands in the history. */
  committed: boolean;
}

/** How long an old answer may be given after a write that was not acknowledged, in microseconds. */
export interface Patience {
  readonly writeLease: number;
  /** For clocks that count whole seconds and for statements that outlive their client. */
  readonly allowance: number;
  /** After a write that was reported as failed, for a statement that outlives its connection. */
  readonly failure: number;
}

/**
 * Why a version has to be seen, from `due` on.
 * - `acked`: its write was acknowledged.
 * - `crashed`: its writer was killed before.
 * - `failed`: its write was reported as failed, and was committed nevertheless.
 * - `excused`: its writer was killed with an undelivered invalidation; only in mode 'available'.
 */
export type Standing = 'acked' | 'crashed' | 'failed' | 'excused';

/** One committed state of a row or a key. */
export interface Version {
  readonly content: string | null;
  readonly seq: number;
  readonly unit: Unit | undefined;
  /** No read that ends before it can have seen it. */
  readonly from: number;
  /** Every read that starts after it has to see it or something newer. */
  readonly due: number;
  readonly standing: Standing;
  /** From when on it should have been seen, for measuring: the kill, or the failure. */
  readonly since: number;
}

/** What a row or a key was, in the order of the commits. Version 0 is "none", from the beginning of time. */
export class Versions {
  readonly list: Version[] = [{ content: null, seq: 0, unit: undefined, from: -Infinity, due: -Infinity, standing: 'acked', since: -Infinity }];
  /** By content, in ascending order. */
  readonly places = new Map<string | null, number[]>([[null, [0]]]);
  /** Contents that were there inside of a transaction only. */
  readonly never = new Map<string, Unit>();
  /** Versions that were not acknowledged. */
  readonly uncertain: number[] = [];
  #acked: Floor | undefined;
  #all: Floor | undefined;

  push(version: Version): void {
    const { list, places } = this;
    const last = list.at(-1) as Version;
    if (last.unit !== undefined && last.unit === version.unit && !version.unit.apart) {
      list.pop();
      const former = places.get(last.content) as number[];
      former.pop();
      if (this.uncertain.at(-1) === list.length) this.uncertain.pop();
      if (last.content !== null) this.never.set(last.content, last.unit);
    }
    const same = places.get(version.content);
    if (same === undefined) places.set(version.content, [list.length]);
    else same.push(list.length);
    if (version.standing !== 'acked') this.uncertain.push(list.length);
    list.push(version);
  }

  get last(): Version {
    return this.list.at(-1) as Version;
  }

  /** The oldest version that a read may show that starts then. */
  floor(start: number, whose: 'acked' | 'all'): number {
    const floor =
      whose === 'acked'
        ? (this.#acked ??= new Floor(this.list, (version) => version.standing === 'acked'))
        : (this.#all ??= new Floor(this.list, () => true));
    return floor.at(start);
  }
}

/** "The newest version that was due by then", by binary search. */
class Floor {
  readonly #times: number[] = [];
  readonly #places: number[] = [];

  constructor(list: readonly Version[], counts: (version: Version) => boolean) {
    const due = list.map((version, at) => ({ version, at })).filter(({ version }) => counts(version) && version.due < Infinity);
    due.sort((a, b) => a.version.due - b.version.due || a.at - b.at);
    let newest = 0;
    for (const { version, at } of due) {
      newest = Math.max(newest, at);
      this.#times.push(version.due);
      this.#places.push(newest);
    }
  }

  at(time: number): number {
    let low = 0;
    let high = this.#times.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#times[middle] as number) < time) low = middle + 1;
      else high = middle;
    }
    return low === 0 ? 0 : (this.#places[low - 1] as number);
  }
}

/** A row that is or was there. */
export interface Row {
  readonly table: TableName;
  readonly primaryKey: string;
  readonly versions: Versions;
  /** As it is at this point of the history, also when it is not visible. */
  content: string | null;
}

/** The committed history of a run. */
export class History {
  readonly operations = new Map<string, Operation>();
  readonly units = new Map<string, Unit>();
  /** Rows by table and primary key. */
  readonly rows = new Map<string, Row>();
  /** Unique keys by question: the primary key of the row that has them. */
  readonly holders = new Map<string, Versions>();
  /**
   * Other questions: the rows that ever had the values that are asked for, each with its primary key
   * (or, where the whole answer is kept under the question, its content) while it had them.
   */
  readonly members = new Map<string, Map<Row, Versions>>();
  /** The rows that ever had the values of a question about several rows (see `groupOf`). */
  readonly groups = new Map<string, Set<Row>>();
  /** Changes that no operation explains. */
  readonly unexplained: HistoryRow[] = [];
  /** Refused by the cache, and committed. */
  readonly refusedButWritten: Unit[] = [];
  readonly #presentRows = new Map<TableName, Set<Row>>();
  /** When processes were killed, by name. */
  readonly #kills: Map<string, number>;
  readonly #patience: Patience;

  /** @param kills when processes were killed */
  constructor(lines: Iterable<WriteLine>, kills: ReadonlyMap<string, number>, patience: Patience) {
    this.#kills = new Map(kills);
    this.#patience = patience;
    this.#readLines(lines);
  }

  /** Takes the history table's rows, in order. */
  replay(rows: Iterable<HistoryRow>): this {
    for (const row of rows) {
      const unit = row.label === null ? undefined : this.units.get(row.label);
      if (row.label !== 'init' && unit === undefined) this.unexplained.push(row);
      if (unit !== undefined) unit.committed = true;
      this.#apply(row, unit);
    }
    for (const unit of this.units.values()) {
      const { operation, committed, apart, transaction } = unit;
      // An autocommitted statement that is refused is not even sent; those before it in its operation are there rightly.
      if (committed && transaction && !apart && operation.outcome === 'refused') this.refusedButWritten.push(unit);
    }
    return this;
  }

  /** The contents of the rows that are there at the end, soft-deleted ones included. */
  present(table: TableName): string[] {
    return Array.from(this.#present(table), ({ content }) => content ?? '');
  }

  #present(table: TableName): Set<Row> {
    const known = this.#presentRows.get(table);
    if (known !== undefined) return known;
    const rows = new Set<Row>();
    this.#presentRows.set(table, rows);
    return rows;
  }

  #readLines(lines: Iterable<WriteLine>): void {
    let worker = { process: '', mode: 'available' as Mode };
    for (const line of lines) {
      switch (line[0]) {
        case 'worker':
          worker = { process: line[1], mode: line[2] };
          break;
        case 'dying':
          this.#kills.set(line[1], line[2]);
          break;
        case 'begin':
          this.operations.set(line[1], {
            id: line[1], ...worker, what: line[2], start: line[3],
            end: undefined, outcome: undefined, error: '', unmarked: false, undelivered: false, delivered: undefined,
          });
          break;
        case 'unit': {
          const operation = this.operations.get(line[1]);
          if (operation === undefined) break;
          this.units.set(line[2], {
            label: line[2], operation, start: line[3], transaction: line[4] === 1, commit: undefined, apart: false, committed: false, statements: [],
          });
          break;
        }
        case 'statement':
          this.units.get(line[1])?.statements.push(line[2]);
          break;
        case 'commit': {
          const unit = this.units.get(line[1]);
          if (unit !== undefined) unit.commit ??= line[2];
          break;
        }
        case 'apart': {
          const unit = this.units.get(line[1]);
          if (unit !== undefined) unit.apart = true;
          break;
        }
        case 'unmarked':
        case 'undelivered': {
          const operation = this.operations.get(line[1]);
          if (operation !== undefined) operation[line[0]] = true;
          break;
        }
        case 'delivered': {
          const operation = this.operations.get(line[1]);
          if (operation !== undefined) operation.delivered = line[2];
          break;
        }
        case 'end': {
          const operation = this.operations.get(line[1]);
          if (operation !== undefined) Object.assign(operation, { end: line[2], outcome: line[3], error: line[4] });
          break;
        }
        case 'not-own':
        case 'broken':
          break;
      }
    }
  }

  #apply({ seq, tbl, action, old_pk, visible, content }: HistoryRow, unit: Unit | undefined): void {
    if (action === 'T') {
      for (const row of [...this.#present(tbl)]) this.#change(row, null, false, seq, unit, false);
      return;
    }
    if (content === null) return;
    const primaryKey = primaryKeyIn(content, tbl);
    if (action === 'D') {
      this.#cascade(tbl, old_pk ?? primaryKey, null, seq, unit);
      this.#change(this.#row(tbl, old_pk ?? primaryKey), null, false, seq, unit, false);
      return;
    }
    if (old_pk !== null && old_pk !== primaryKey) {
      this.#cascade(tbl, old_pk, primaryKey, seq, unit);
      this.#change(this.#row(tbl, old_pk), null, false, seq, unit, false);
    }
    this.#change(this.#row(tbl, primaryKey), content, visible === 1, seq, unit, action === 'I');
  }

  /** What the database itself does to the rows that refer to one that goes, or that gets another primary key. */
  #cascade(parent: TableName, from: string, to: string | null, seq: number, unit: Unit | undefined): void {
    for (const { child, column, onDelete } of tables[parent].references) {
      const rows = [...this.#present(child)].filter(({ content }) => content !== null && valueIn(content, child, column) === from);
      for (const row of rows) {
        const content = row.content as string;
        if (to === null && onDelete === 'cascade') {
          this.#change(row, null, false, seq, unit, false);
          continue;
        }
        const changed = withValue(content, child, column, to);
        const primaryKey = primaryKeyIn(changed, child);
        const shown = row.versions.last.content !== null;
        if (primaryKey !== row.primaryKey) this.#change(row, null, false, seq, unit, false);
        this.#change(this.#row(child, primaryKey), changed, shown, seq, unit, false);
      }
    }
  }

  #row(table: TableName, primaryKey: string): Row {
    const id = `${table}:${primaryKey}`;
    const known = this.rows.get(id);
    if (known !== undefined) return known;
    const row: Row = { table, primaryKey, versions: new Versions(), content: null };
    this.rows.set(id, row);
    return row;
  }

  #change(row: Row, content: string | null, visible: boolean, seq: number, unit: Unit | undefined, inserted: boolean): void {
    const { table, versions } = row;
    const before = versions.last.content;
    const after = visible ? content : null;
    row.content = content;
    if (content === null) this.#present(table).delete(row);
    else this.#present(table).add(row);
    const version = this.#version(after, seq, unit, inserted && tables[table].autoIncrement);
    versions.push(version);
    if (after !== null) this.#group(row, after);
    for (const key of tables[table].keys) {
      if (key.answer === 'row') continue;
      const old = before === null ? undefined : askIdIn(before, table, key);
      const next = after === null ? undefined : askIdIn(after, table, key);
      const known = this.#version(after, seq, unit, false);
      const whole = key.answer === 'first' || key.answer === 'last';
      // Where the answer is kept with the row, only what becomes of the row's values matters here.
      if (old !== undefined && old !== next) this.#versionsFor(old, key, row).push({ ...known, content: null });
      if (next !== undefined && (whole || old !== next)) {
        this.#versionsFor(next, key, row).push(whole ? known : { ...known, content: row.primaryKey });
      }
    }
  }

  #group(row: Row, content: string): void {
    for (const columns of groupings[row.table]) {
      const values = valuesIn(content, row.table, columns);
      if (values === undefined) continue;
      const group = groupOf(row.table, columns, values);
      (this.groups.get(group) ?? added(this.groups, group, new Set<Row>())).add(row);
    }
  }

  #versionsFor(askId: string, key: KeySpec, row: Row): Versions {
    const versions = new Versions();
    if (key.answer === 'unique') return this.holders.get(askId) ?? added(this.holders, askId, versions);
    const rows = this.members.get(askId) ?? added(this.members, askId, new Map<Row, Versions>());
    return rows.get(row) ?? added(rows, row, versions);
  }

  /** @param chosen the database chose the row's primary key, so that no writer could mark it before */
  #version(content: string | null, seq: number, unit: Unit | undefined, chosen: boolean): Version {
    if (unit === undefined) return { content, seq, unit, from: -Infinity, due: -Infinity, standing: 'acked', since: -Infinity };
    const { operation } = unit;
    const from = unit.transaction && !unit.apart ? (unit.commit ?? unit.start) : unit.start;
    return { content, seq, unit, from, ...this.#due(operation, chosen) };
  }

  #due(operation: Operation, chosen: boolean): Pick<Version, 'due' | 'standing' | 'since'> {
    const { mode, end, outcome, unmarked, undelivered, delivered } = operation;
    const lease = this.#patience.writeLease + this.#patience.allowance;
    const killed = this.#kills.get(operation.process);
    if (mode === 'available') {
      if (undelivered && delivered === undefined) return { due: Infinity, standing: 'excused', since: end ?? killed ?? Infinity };
      if (end === undefined && unmarked) return { due: Infinity, standing: 'excused', since: killed ?? Infinity };
    }
    if (end === undefined) {
      const since = killed ?? Infinity;
      return { due: since + lease, standing: 'crashed', since };
    }
    // The last moment at which the store can have been told.
    const told = undelivered && mode === 'available' ? Math.max(end, delivered ?? end) : end;
    if (outcome !== 'done') return { due: told + this.#patience.failure, standing: 'failed', since: told };
    // "No such row" under a primary key that the database chose stands no longer than writeLease.
    if (undelivered && mode === 'strict' && chosen) return { due: end + lease, standing: 'acked', since: end };
    return { due: told, standing: 'acked', since: told };
  }
}

function added<K, V>(map: Map<K, V>, key: K, value: V): V {
  map.set(key, value);
  return value;
}
