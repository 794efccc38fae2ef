/** What the text of a statement tells, where no model says what it does: raw SQL and DDL. */

/** Texts that are no code, and comments. Those that begin with an exclamation mark are code to the server. */
const notCode = /'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*"|`(?:[^`]|``)*`|\/\*(?![!M])[^]*?\*\/|(?:--(?=\s|$)|#).*/g;

/** The statements in a text, without the texts and comments in them. */
function statementsIn(sql: string): readonly string[] {
  return sql
    .replace(notCode, ' ')
    .split(';')
    .map((statement) => statement.replace(/\s+/g, ' ').trim())
    .filter((statement) => statement !== '');
}

/** `ANALYZE` and `SET STATEMENT` run the statement that follows them, and `BEGIN NOT ATOMIC` a whole block. */
const harmless =
  /^\(*\s*(select|show|desc(ribe)?(?! *analyze)|explain(?! *analyze)|set(?! *statement)|use|start|begin(?! *not)|commit|rollback|savepoint|release|pragma|analyze +(local +|no_write_to_binlog +)?table|lock|unlock|values|table|help)\b/i;

/**
 * MySQL's and MariaDB's statements that commit (or roll back) the transaction they are sent in.
 * `CREATE` and `DROP` of temporary tables do not.
 */
const committing =
  /^(alter|analyze|cache +index|change +master|check|commit|create(?! +(or +replace +)?temporary)|drop(?! +temporary)|flush(?! +tables\b.*\bwith\b)|grant|install|load +index|lock|optimize|rename|repair|reset|revoke|rollback(?! *(work *)?to\b)|set +password|truncate)\b/i;
const beginning = /^(begin(?! *not)|start +transaction|xa +(begin|start))\b/i;

/** Whether a text may change rows. */
export const canWrite = (sql: string): boolean => statementsIn(sql).some((statement) => !harmless.test(statement));

/**
 * What a text does to the transaction that it is sent in: nothing, end it, so that everything that
 * follows is committed at once, or end it and begin another one.
 */
export function transactionAfter(sql: string): 'same' | 'none' | 'another' {
  let after: ReturnType<typeof transactionAfter> = 'same';
  for (const statement of statementsIn(sql)) {
    if (beginning.test(statement)) after = 'another';
    else if (committing.test(statement)) after = 'none';
  }
  return after;
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
