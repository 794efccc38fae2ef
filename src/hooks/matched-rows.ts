/** How many rows a statement matched, compared with those that were read and locked before it. */

/**
 * Watches a query for the number of rows that its statement matches. Those of an UPDATE that were set to
 * what they were count too, which is why the number of affected rows does not tell it: drivers are set
 * to count changed rows.
 * @returns the number, when the statement has been run; undefined where the driver does not tell it
 */
export function watchMatchedRows(query: object, deletes: boolean): () => number | undefined {
  const format = Reflect.get(query, 'formatResults') as (this: unknown, ...args: unknown[]) => unknown;
  let matched: number | undefined;
  Reflect.set(query, 'formatResults', (...args: unknown[]) => {
    // With `showWarnings` the answer to SHOW WARNINGS comes through here first.
    if (isOkPacket(args[0])) matched = matchedRows(args[0], deletes);
    return format.apply(query, args);
  });
  return () => matched;
}

/** A driver's answer to a statement that writes. */
interface OkPacket {
  readonly affectedRows: number;
  /** "Rows matched: 3  Changed: 2  Warnings: 0", in the server's language. */
  readonly info?: unknown;
}

const isOkPacket = (data: unknown): data is OkPacket =>
  typeof data === 'object' && data !== null && typeof Reflect.get(data, 'affectedRows') === 'number';

function matchedRows({ affectedRows, info }: OkPacket, deletes: boolean): number | undefined {
  if (deletes) return affectedRows;
  const numbers = typeof info === 'string' ? info.match(/\d+/g) : null;
  return numbers?.length === 3 ? Number(numbers[0]) : undefined;
}

/** What was read of a model's rows before a statement. */
export interface RowsRead {
  readonly found: number;
  /** How many primary keys were asked for; undefined where a condition said which rows. */
  readonly asked: number | undefined;
}

/**
 * Whether rows may have joined those that were read, before the statement ran.
 *
 * Rows that were read are locked and still match, so that the statement matches all of them: if it
 * matches as many, it matches no other. Under a `gapLock` no row can join: a smaller number says only
 * that the statement's condition is narrower, or has a limit.
 */
export function mayHaveJoined({ found, asked }: RowsRead, matched: number | undefined, gapLock: boolean): boolean {
  if (asked === undefined) return gapLock ? matched !== undefined && matched > found : matched !== found;
  return !gapLock && found < asked && matched !== 0;
}
