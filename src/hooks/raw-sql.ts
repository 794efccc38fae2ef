/** What the text of a statement tells, where no model says what it does: raw SQL and DDL. */
import type { Change } from './cascades.js';
import { piecesOf, replaceTexts } from './sql-texts.js';

/** The statements in a text, without the texts and comments in them. */
function statementsIn(sql: string): readonly string[] {
  return replaceTexts(sql, () => ' ')
    .split(';')
    .map((statement) => statement.replace(/\s+/g, ' ').trim())
    .filter((statement) => statement !== '');
}

/** `ANALYZE` and `SET STATEMENT` run the statement that follows them, and `BEGIN NOT ATOMIC` a whole block. */
const harmless =
  /^\(*\s*(select|show|desc(ribe)?(?! *analyze)|explain(?! *analyze)|set(?! *statement)|use|start|begin(?! *not)|commit|rollback|savepoint|release|pragma|analyze +(local +|no_write_to_binlog +)?table|lock|unlock|values|table|help)\b/i;

/** Statements of MySQL and MariaDB that neither commit the transaction that they are sent in nor roll it back. */
const keeping =
  /^[(\s]*(select|insert|update|delete|replace|with|values|table|show|desc|describe|explain|analyze(?! +(local +|no_write_to_binlog +)?table)|set(?! +(statement|password))(?!.*\bautocommit\b)|use|savepoint|release|rollback +(work +)?to|create +(or +replace +)?temporary|drop +temporary|load +(data|xml)|prepare|deallocate|do|handler|help)\b/i;

/** Whether a text may change rows. */
export const canWrite = (sql: string): boolean => statementsIn(sql).some((statement) => !harmless.test(statement));

/** Whether a text may end the transaction that it is sent in. What a procedure or a block runs is not in the text. */
export const mayEndTransaction = (sql: string): boolean => statementsIn(sql).some((statement) => !keeping.test(statement));

/**
 * Whether a text is one statement that changes rows and nothing else. If the server undoes it, nothing of
 * the text is left.
 */
export function isOneWrite(sql: string): boolean {
  if (!/^\s*(insert|update|delete|replace)\b/i.test(sql)) return false;
  let hasEnded = false;
  for (const { text, isCode } of piecesOf(sql)) {
    if (!isCode) continue;
    const end: number = hasEnded ? -1 : text.indexOf(';');
    hasEnded ||= end >= 0;
    if (hasEnded && text.slice(end + 1).trim() !== '') return false;
  }
  return true;
}

/** The kind of statement that a text is: the first word, in upper case, of the first one in it that may change rows. */
export function kindOf(sql: string): string {
  const statements = statementsIn(sql);
  const telling = statements.find((statement) => !harmless.test(statement)) ?? statements[0] ?? '';
  return /[a-z]+/i.exec(telling)?.[0].toUpperCase() ?? 'RAW';
}

/** Whether a text has statements about tables, not about some of their rows. */
export const aboutTables = (sql: string): boolean => statementsIn(sql).some((statement) => /^(alter|create|drop|rename|truncate)\b/i.test(statement));

/** Whether a text drops tables that it does not name. */
export const dropsDatabase = (sql: string): boolean => statementsIn(sql).some((statement) => /^drop +(database|schema)\b/i.test(statement));

/**
 * What the statements in a text do to rows that are there, as far as the text tells: whether they can
 * remove some, and which columns they can set.
 */
export function changeIn(sql: string): Change {
  const clauses: string[] = [];
  let removes = false;
  for (const statement of namingStatementsIn(sql)) {
    if (harmless.test(statement)) continue;
    const kind = /^[(\s]*([a-z]+)/.exec(statement)?.[1];
    if (kind === 'delete' || kind === 'replace' || /^(insert|update) +or +replace\b/.test(statement)) removes = true;
    if (kind === 'insert') clauses.push(/(?<![\w$§])(on duplicate key|do) update\b(.*)/s.exec(statement)?.[2] ?? '');
    else if (kind === 'update') clauses.push(setClause(statement));
    else if (kind !== 'delete' && kind !== 'replace') return { removes: true, sets: () => true };
  }
  // In some modes a backslash ends no text: then what is taken for one may be code.
  if (sql.includes('\\')) {
    clauses.push(sql.toLowerCase());
    removes ||= /delete|replace/i.test(sql);
  }
  return { removes, sets: (column) => clauses.some((clause) => names(clause, column.toLowerCase())) };
}

/** Before the parts of a quoted name, so that none is taken for a word of the language. */
const quoted = '§';

/** The statements in a text in lower case, with names in quotes (which may be texts) and without other texts. */
const namingStatementsIn = (sql: string): readonly string[] =>
  statementsIn(
    replaceTexts(sql, (text) => (/^["`]/.test(text) ? ` ${text.slice(1, -1).replace(/^[^\p{L}\p{N}_$]*|[^\p{L}\p{N}_$]+/gu, quoted)} ` : ' ')),
  ).map((statement) => statement.toLowerCase());

/** What an UPDATE sets: from its first SET to the end of the list. */
function setClause(statement: string): string {
  const from = /(?<![\w$§])set(?![\w$])/.exec(statement)?.index ?? 0;
  let depth = 0;
  for (const token of statement.slice(from).matchAll(/[()]|(?<![\w$§])(where|order|limit|returning|from)(?![\w$])/g)) {
    if (token[0] === '(') depth += 1;
    else if (token[0] === ')') depth -= 1;
    else if (depth === 0) return statement.slice(from, from + token.index);
  }
  return statement.slice(from);
}

/** Whether a column is named in a part of a statement. */
function names(clause: string, column: string): boolean {
  const word = column.replace(/[^\p{L}\p{N}_$]+/gu, quoted);
  // Several words in quotes are one name.
  return new RegExp(`(?<![\\p{L}\\p{N}_$]§?)${word.replace(/\$/g, '\\$')}(?!§?[\\p{L}\\p{N}_$])`, 'u').test(clause);
}
