/**
 * The database as the protocol sees it: one table with a primary key and a unique name, committed
 * rows, open transactions with their row locks. It understands the few statements that Sequelize
 * and the plugin send for it, and refuses every other.
 *
 * As in InnoDB, a statement that writes a row waits until no other transaction holds the row or a
 * name that it takes; a plain read sees what is committed when it takes effect, and in a transaction
 * the transaction's own rows instead. (Snapshots of REPEATABLE READ are left out: a cached read
 * outside of transactions never sees one.)
 */
import type { Reply, Row, SqlOp } from './protocol-types.js';

export type Rows = ReadonlyMap<number, Row>;

/** A transaction of one connection: what it changed (null for a deleted row) and holds. */
export interface OpenTransaction {
  readonly owner: string;
  readonly changes: ReadonlyMap<number, Row | null>;
  readonly locks: ReadonlySet<string>;
}

/** The database at one moment. */
export interface DatabaseState {
  readonly rows: Rows;
  readonly open: readonly OpenTransaction[];
}

/** What a statement does. */
export interface Effect {
  readonly state: DatabaseState;
  readonly reply: Reply;
}

interface Condition {
  readonly column: "id" | "name";
  readonly values: readonly string[];
}

type Statement =
  | { readonly kind: 'select'; readonly where: Condition; readonly locks: boolean }
  | { readonly kind: 'update'; readonly where: Condition; readonly set: Partial<Record<keyof Row, Value>> }
  | { readonly kind: 'insert'; readonly set: Partial<Record<keyof Row, Value>> }
  | { readonly kind: 'delete'; readonly where: Condition }
  | { readonly kind: 'commit' }
  | { readonly kind: 'rollback' };

/** A value in a statement: a literal, or the number of a token. */
type Value = string | number;

const parsed = new Map<string, (ids: readonly number[]) => Statement>();

/** What a statement says. @throws Error for one that is not understood */
export function statementOf({ text }: SqlOp): Statement {
  let parse = parsed.get(text.template);
  if (parse === undefined) {
    parse = parserOf(text.template);
    parsed.set(text.template, parse);
  }
  return parse(text.ids);
}

function parserOf(template: string): (ids: readonly number[]) => Statement {
  const [sql = '', json = '[]'] = template.split('\n');
  const parameters = JSON.parse(json.replaceAll('\0', '\\u0000')) as readonly (string | number)[];
  const refuse = (): never => {
    throw new Error(`The model database does not understand: ${template}`);
  };
  /** Values in order: parameters take the places of "?", tokens those of U+0000. */
  const valuesIn = (list: string, next: { parameter: number; token: number }, ids: readonly number[]): Value[] =>
    Array.from(list.matchAll(/\?|'([^']*)'|\d+/g), ([literal, quoted]) => {
      const value = literal === '?' ? (parameters[next.parameter++] ?? refuse()) : (quoted ?? literal);
      return value === '\0' ? (ids[next.token++] ?? refuse()) : String(value);
    });
  const whereOf = (text: string, next: { parameter: number; token: number }, ids: readonly number[]): Condition => {
    const found = /^(?:`\w+`\.)?`(id|name)` (?:= ([^ ]+)|IN \(([^)]*)\))$/.exec(text) ?? refuse();
    return { column: found[1] as 'id' | 'name', values: valuesIn(found[2] ?? found[3] ?? '', next, ids).map(String) };
  };
  return (ids) => {
    const next = { parameter: 0, token: 0 };
    if (/^COMMIT;?$/.test(sql)) return { kind: 'commit' };
    if (/^ROLLBACK;?$/.test(sql)) return { kind: 'rollback' };
    const select = /^SELECT .* FROM `Items` AS `Item` WHERE (.*?)(?: ORDER BY [^;]*?)?(?: LIMIT \d+)?( FOR UPDATE)?;$/.exec(sql);
    if (select !== null) return { kind: 'select', where: whereOf(select[1] as string, next, ids), locks: select[2] !== undefined };
    const update = /^UPDATE `Items` SET (.*) WHERE (.*?);?$/.exec(sql);
    if (update !== null) {
      const columns = Array.from((update[1] as string).matchAll(/`(\w+)`=/g), ([, name]) => name as keyof Row);
      const values = valuesIn((update[1] as string).replaceAll(/`\w+`=/g, ''), next, ids);
      const set = Object.fromEntries(columns.map((name, at) => [name, values[at]])) as Partial<Record<keyof Row, Value>>;
      return { kind: 'update', set, where: whereOf(update[2] as string, next, ids) };
    }
    const insert = /^INSERT INTO `Items` \(([^)]*)\) VALUES \(([^)]*)\);?$/.exec(sql);
    if (insert !== null) {
      const columns = Array.from((insert[1] as string).matchAll(/`(\w+)`/g), ([, name]) => name as keyof Row);
      const values = valuesIn(insert[2] as string, next, ids);
      return { kind: 'insert', set: Object.fromEntries(columns.map((name, at) => [name, values[at]])) };
    }
    const remove = /^DELETE FROM `Items` WHERE (.*?);?$/.exec(sql);
    if (remove !== null) return { kind: 'delete', where: whereOf(remove[1] as string, next, ids) };
    return refuse();
  };
}

/** The rows that a condition selects, as one who sees these rows. */
export const matching = (rows: Rows, { column, values }: { readonly column: 'id' | 'name'; readonly values: readonly string[] }): Row[] =>
  [...rows.values()].filter((row) => values.includes(String(row[column])));

/** The rows as a transaction sees them. */
function viewOf(rows: Rows, changes: ReadonlyMap<number, Row | null> | undefined): Rows {
  if (changes === undefined || changes.size === 0) return rows;
  const view = new Map(rows);
  for (const [id, row] of changes) {
    if (row === null) view.delete(id);
    else view.set(id, row);
  }
  return view;
}

/**
 * What a statement does now; undefined if it has to wait for a lock.
 * @param owner the connection, unless the statement commits by itself
 */
export function execute(state: DatabaseState, op: SqlOp, owner: string): Effect | undefined {
  const statement = statementOf(op);
  const mine = op.inTransaction ? state.open.find((transaction) => transaction.owner === owner) : undefined;
  const others = state.open.filter((transaction) => transaction !== mine);
  if (statement.kind === 'commit') {
    return { state: { rows: viewOf(state.rows, mine?.changes), open: others }, reply: { kind: 'count', count: 0 } };
  }
  if (statement.kind === 'rollback') return { state: { rows: state.rows, open: others }, reply: { kind: 'count', count: 0 } };
  const view = viewOf(state.rows, mine?.changes);
  if (statement.kind === 'select' && !statement.locks) {
    return { state, reply: { kind: 'rows', rows: matching(view, statement.where) } };
  }
  const found = statement.kind === 'insert' ? [] : matching(view, statement.where);
  const locks = new Set(found.flatMap(({ id, name }) => [`id ${id}`, `name ${name}`]));
  if (statement.kind !== 'insert') for (const value of statement.where.values) locks.add(`${statement.where.column} ${value}`);
  if (statement.kind === 'update' || statement.kind === 'insert') {
    if (statement.set.name !== undefined) locks.add(`name ${statement.set.name}`);
    if (statement.set.id !== undefined) locks.add(`id ${statement.set.id}`);
  }
  if (others.some((other) => [...locks].some((lock) => other.locks.has(lock)))) return undefined;
  const changes = new Map(mine?.changes);
  let reply: Reply = { kind: 'count', count: found.length };
  switch (statement.kind) {
    case 'select':
      reply = { kind: 'rows', rows: found };
      break;
    case 'delete':
      for (const { id } of found) changes.set(id, null);
      break;
    case 'update':
    case 'insert': {
      const written = (statement.kind === 'insert' ? [{ id: 0, name: '', body: -1 }] : found).map((row) => ({
        id: Number(statement.set.id ?? row.id),
        name: String(statement.set.name ?? row.name),
        body: statement.set.body === undefined ? row.body : Number(statement.set.body),
      }));
      const taken = [...view.values()].some(
        (row) => !found.includes(row) && written.some(({ id, name }) => id === row.id || name === row.name),
      );
      if (taken) return { state, reply: { kind: 'duplicate' } };
      for (const row of written) changes.set(row.id, row);
      if (statement.kind === 'insert') reply = { kind: 'count', count: 1 };
    }
  }
  if (!op.inTransaction) return { state: { rows: viewOf(state.rows, changes), open: state.open }, reply };
  const transaction = { owner, changes, locks: new Set([...(mine?.locks ?? []), ...locks]) };
  return { state: { rows: state.rows, open: [...others, transaction] }, reply };
}

/** Whether a statement could change anything; if not, it need not be known whether it took effect. */
export const writesAnything = (op: SqlOp): boolean => {
  const statement = statementOf(op);
  return statement.kind !== 'select' && statement.kind !== 'rollback';
};

/** What becomes of the database when a connection is gone. */
export const abandon = (state: DatabaseState, owners: (owner: string) => boolean): DatabaseState => ({
  rows: state.rows,
  open: state.open.filter(({ owner }) => !owners(owner)),
});
