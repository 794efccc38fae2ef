/**
 * The bucket of a text: one form for all spellings that a database's collation may call equal.
 *
 * Index keys are built from it, so that a write voids the entries of every spelling. It has to be
 * at least as coarse as the collations (two texts that the database calls equal must have one
 * bucket) and may be coarser (texts in one bucket are told apart by the entry, which remembers the
 * exact text asked for). It is the same in every process and version that shares a store: nothing
 * here depends on the Unicode version of Node.
 *
 * `test/integration/collations.test.ts` compares it with MariaDB's collations, code point by code
 * point. All of utf8mb4's and latin1's case-insensitive ones are covered, UCA 4.0, 5.2 and 14.0, but
 * for these, which would make buckets useless for everyone else:
 * - `roman` (i = j, u = v), `persian` (a vowel sign equals a punctuation mark), `myanmar`, and the
 *   multi-level `thai_520_w2`;
 * - brackets and the backslash as letters in `latin1_swedish_ci`, `latin1_danish_ci` and
 *   `latin1_german2_ci`, relics of 7-bit sets: "[" = "å";
 * - in `general_ci` and `unicode_ci` all characters beyond U+FFFF are one; styled letters and digits
 *   among them ("𝐀") share a bucket with what they are styled after, and not with "😀";
 * - the ligature U+FDFA, which UCA 5.2 in MariaDB equates with a part of what it stands for.
 * Thai and Lao vowels that are written before their consonant are ignored, since newer collations
 * move them behind it.
 * A unique key stays right even there, since an index entry checks itself against its row; what a
 * rename could miss is an entry "no such row", or that of a key which several rows have.
 */
import { foldTable } from './fold-table.js';

/** The bucket of `text`. Pure. */
export function foldText(text: string): string {
  if (unchanged.test(text)) return text;
  let folded = '';
  let last = '';
  const append = (letter: string): void => {
    if (collapses(last, letter)) return;
    folded += letter;
    last = letter;
  };
  for (let at = 0; at < text.length; at += 1) {
    const point = text.codePointAt(at) as number;
    if (point > 0xffff) at += 1;
    const form = point < 128 ? (ascii[point] as string) : formOf(point);
    if (form.length === 1) append(form);
    else for (const letter of form) append(letter);
  }
  return withoutTrailingSpaces(folded);
}

/** Collations pad with spaces. Not a regular expression: a run of spaces inside would take it quadratic time. */
export function withoutTrailingSpaces(text: string): string {
  let end = text.length;
  while (end > 0 && text.charCodeAt(end - 1) === 0x20) end -= 1;
  return text.slice(0, end);
}

/** Most keys are lower-case ASCII, and many of those stay as they are. */
const unchanged = /^(?:[bd-hj-np-rtv-xz0-9_.@-]|c(?!h)|a(?![ae])|[io](?!e)|s(?!s))*$/;

/**
 * Whether a letter disappears behind another, because one collation equates them with one letter:
 * "ß" is "s" or "ss"; "ä" is "a" or "ae", "å" is "a" or "aa", "ö" is "o" or "oe"; "ü" is "u", "y" or
 * "ue"; and in Lithuanian "y" is "i", and "ch" is "c".
 */
function collapses(last: string, letter: string): boolean {
  switch (letter) {
    case 's':
    case 'a':
      return last === letter;
    case 'e':
      return last === 'a' || last === 'o' || last === 'i';
    case 'h':
      return last === 'c';
    default:
      return false;
  }
}

/** What a character folds to. Those that no collation equates with another stand for themselves. */
function formOf(point: number): string {
  const form = forms.get(point);
  if (form !== undefined) return form;
  // Collations that know them tell these apart, older ones do not; some of them are ignored.
  if (point > 0xffff) return '';
  // A surrogate without its pair reaches the database as U+FFFD, which is ignored like the above.
  if (point >= 0xd800 && point <= 0xdfff) return '';
  return point >= 0xac00 && point <= 0xd7a3 ? syllable(point - 0xac00) : String.fromCharCode(point);
}

/** A Hangul syllable by its letters, which collations equate it with. */
function syllable(index: number): string {
  const tail = index % 28;
  const letters = [0x1100 + Math.floor(index / 588), 0x1161 + Math.floor((index % 588) / 28), ...(tail === 0 ? [] : [0x11a7 + tail])];
  return letters.map(formOf).join('');
}

/** The table of `scripts/fold-table.mjs`, by code point. */
const forms = readTable();

function readTable(): ReadonlyMap<number, string> {
  const read = new Map<number, string>();
  for (const line of foldTable.split(';')) {
    const [target = '', members = ''] = line.split('=');
    const form = target === '' ? '' : String.fromCharCode(...target.split('.').map((part) => Number.parseInt(part, 36)));
    let point = 0;
    for (const run of members === '' ? [] : members.split(' ')) {
      const [delta = '', more = '0'] = run.split('+');
      point += Number.parseInt(delta, 36);
      read.set(point, form);
      for (let left = Number.parseInt(more, 36); left > 0; left -= 1) {
        point += 1;
        read.set(point, form);
      }
    }
  }
  return read;
}

const ascii: readonly string[] = Array.from({ length: 128 }, (_, unit) => formOf(unit));
