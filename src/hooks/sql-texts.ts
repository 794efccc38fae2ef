/**
 * Finds what is no code in SQL: texts, names in quotes, and comments. It takes time in proportion to the
 * length, and no stack: a statement that inserts a large value has millions of characters.
 */

/** The beginnings. Comments that begin with an exclamation mark are code to the server. */
const opening = /['"`]|\/\*(?![!M])|--(?=\s|$)|#/g;
const endings: Readonly<Record<string, RegExp>> = { "'": /['\\]/g, '"': /["\\]/g, '`': /`/g };

/** The end of what begins at `from` with `opener`; -1 if it has none. */
function endOf(sql: string, opener: string, from: number): number {
  if (opener === '/*') {
    const end = sql.indexOf('*/', from + 2);
    return end < 0 ? -1 : end + 2;
  }
  if (opener === '--' || opener === '#') {
    const end = sql.indexOf('\n', from);
    return end < 0 ? sql.length : end;
  }
  const ending = endings[opener] as RegExp;
  ending.lastIndex = from + 1;
  for (let found = ending.exec(sql); found !== null; found = ending.exec(sql)) {
    const isEscape = found[0] === '\\' || sql[found.index + 1] === opener;
    if (!isEscape) return found.index + 1;
    ending.lastIndex = found.index + 2;
  }
  return -1;
}

/** The pieces of SQL in their order: what is code, and what is not. */
export function* piecesOf(sql: string): Generator<{ readonly text: string; readonly isCode: boolean }> {
  const openers = new RegExp(opening);
  /** What has no end once has none later. */
  const endless = new Set<string>();
  let from = 0;
  for (let found = openers.exec(sql); found !== null; found = openers.exec(sql)) {
    const [opener] = found;
    const end = endless.has(opener) ? -1 : endOf(sql, opener, found.index);
    if (end < 0) {
      endless.add(opener);
      continue;
    }
    if (found.index > from) yield { text: sql.slice(from, found.index), isCode: true };
    yield { text: sql.slice(found.index, end), isCode: false };
    from = end;
    openers.lastIndex = end;
  }
  if (from < sql.length) yield { text: sql.slice(from), isCode: true };
}

/** SQL with something in the place of what is no code. */
export function replaceTexts(sql: string, by: (text: string) => string): string {
  const parts: string[] = [];
  for (const { text, isCode } of piecesOf(sql)) parts.push(isCode ? text : by(text));
  return parts.join('');
}
