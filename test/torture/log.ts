/**
 * What a worker writes down, so that it survives a `kill -9` of the worker.
 *
 * Lines about writes reach the operating system before the write goes on: they say what the worker
 * had begun when it was killed. Lines about reads are many and collected; a killed worker's last ones
 * are lost, and its files may end in a torn line.
 */
import { closeSync, openSync, writeSync } from 'node:fs';

/** How the cache of a worker treats a store that fails. */
export type Mode = 'available' | 'strict';

/** What came of an operation: `refused` by the cache in strict mode, `failed` with another error. */
export type Outcome = 'done' | 'refused' | 'failed';

/**
 * One line about writes. Times are in microseconds (clock.ts). An *operation* is what a program asked
 * for; a *unit* is what the database commits at once: a transaction or an autocommitted statement.
 * Its label stands in the history.
 */
export type WriteLine =
  | readonly ['worker', process: string, mode: Mode, at: number]
  /** It is about to kill itself. */
  | readonly ['dying', process: string, at: number]
  | readonly ['begin', operation: string, what: string, at: number]
  /** The unit's first statement is about to be sent. */
  | readonly ['unit', operation: string, label: string, at: number, transaction: 0 | 1]
  /** For those who read the log. */
  | readonly ['statement', label: string, what: string]
  /** COMMIT is about to be sent. */
  | readonly ['commit', label: string, at: number]
  /** The unit's statements may have been committed one by one: TRUNCATE or a deadlock ended its transaction. */
  | readonly ['apart', label: string]
  /** The store could not be told of the operation before the commit. */
  | readonly ['unmarked', operation: string]
  /** The store could not be told after the commit; it is being retried. */
  | readonly ['undelivered', operation: string]
  | readonly ['delivered', operation: string, at: number]
  | readonly ['end', operation: string, at: number, outcome: Outcome, error: string]
  /** A read in a transaction did not show the transaction's own write. */
  | readonly ['not-own', operation: string, what: string]
  /** Something went wrong that is not the database's or the store's doing. */
  | readonly ['broken', operation: string, what: string];

/** Writes lines at once. */
export class WriteLog {
  readonly #file: number;

  constructor(path: string) {
    this.#file = openSync(path, 'a');
  }

  write(line: WriteLine): void {
    writeSync(this.#file, `${JSON.stringify(line)}\n`);
  }

  close(): void {
    closeSync(this.#file);
  }
}

/**
 * Reads, compactly: `k` and `c` give a question and a content a number, `r` is one read with both
 * numbers, its start, how long it took, and whether it was a hit. Content 0 is "no such row".
 */
export class ReadLog {
  readonly #file: number;
  readonly #keys = new Map<string, number>();
  readonly #contents = new Map<string, number>();
  #buffer = '';

  constructor(path: string) {
    this.#file = openSync(path, 'a');
  }

  read(askId: string, content: string | null, start: number, end: number, hit: boolean): void {
    const key = this.#numberOf('k', this.#keys, askId);
    const answer = content === null ? 0 : this.#numberOf('c', this.#contents, content);
    this.#buffer += `r ${key} ${answer} ${start.toString(36)} ${(end - start).toString(36)} ${hit ? 1 : 0}\n`;
    if (this.#buffer.length > 32_000) this.flush();
  }

  flush(): void {
    if (this.#buffer === '') return;
    writeSync(this.#file, this.#buffer);
    this.#buffer = '';
  }

  close(): void {
    this.flush();
    closeSync(this.#file);
  }

  #numberOf(letter: 'k' | 'c', numbers: Map<string, number>, text: string): number {
    const known = numbers.get(text);
    if (known !== undefined) return known;
    const number = numbers.size + 1;
    numbers.set(text, number);
    this.#buffer += `${letter} ${number} ${text}\n`;
    return number;
  }
}

/** One read, as it was logged. */
export interface Read {
  readonly process: string;
  readonly askId: string;
  /** null for "no such row". */
  readonly content: string | null;
  readonly start: number;
  readonly end: number;
  readonly hit: boolean;
}

/** Parses a log of reads line by line. A line that is no whole one is left out and counted. */
export class ReadParser {
  readonly #process: string;
  readonly #keys = new Map<string, string>();
  readonly #contents = new Map<string, string | null>([['0', null]]);
  /** Lines that could not be read. */
  torn = 0;

  constructor(process: string) {
    this.#process = process;
  }

  parse(line: string): Read | undefined {
    const kind = line.charAt(0);
    if (kind === 'r') {
      const [, key = '', answer = '', start = '', took = '', hit] = line.split(' ');
      const askId = this.#keys.get(key);
      const content = this.#contents.get(answer);
      if (askId !== undefined && content !== undefined && (hit === '0' || hit === '1') && took !== '') {
        const began = parseInt(start, 36);
        return { process: this.#process, askId, content, start: began, end: began + parseInt(took, 36), hit: hit === '1' };
      }
    } else if (kind === 'k' || kind === 'c') {
      const at = line.indexOf(' ', 2);
      if (at > 2) {
        (kind === 'k' ? this.#keys : this.#contents).set(line.slice(2, at), line.slice(at + 1));
        return undefined;
      }
    }
    if (line !== '') this.torn += 1;
    return undefined;
  }
}

/** Parses a log of writes. A last line that is torn is left out. */
export function parseWrites(text: string): WriteLine[] {
  const lines = text.split('\n');
  // After the last whole line comes the empty one, or what was torn.
  lines.pop();
  return lines.map((line) => JSON.parse(line) as WriteLine);
}
