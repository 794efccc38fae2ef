/**
 * The bucket of a text: one form for all spellings that a database's collation may call equal.
 *
 * Index keys are built from it, so that a write voids the entries of every spelling. It has to be
 * at least as coarse as the collations (two texts that the database calls equal must have one
 * bucket) and may be coarser (texts in one bucket are told apart by the entry, which remembers the
 * exact text asked for). A test compares it with MariaDB's collations, code point by code point.
 */

/** Letters that collations equate with others although Unicode does not decompose them. */
const equivalents: ReadonlyMap<string, string> = new Map([
  ['ß', 's'],
  ['ẞ', 's'],
  ['ſ', 's'],
  ['ı', 'i'],
  ['æ', 'ae'],
  ['œ', 'oe'],
  ['ø', 'o'],
  ['đ', 'd'],
  ['ð', 'd'],
  ['ħ', 'h'],
  ['ł', 'l'],
  ['ŧ', 't'],
  ['þ', 'th'],
  ['ŋ', 'n'],
  ['ĸ', 'q'],
  ['ς', 'σ'],
]);

const plain = /^[a-z0-9_.@-]*$/;

/** The bucket of `text`. Pure; the same in every process and version that shares a store. */
export function foldText(text: string): string {
  // Most keys are lower-case ASCII: they are their own bucket, unless they hold a run of "s".
  if (plain.test(text)) return text.includes('ss') ? text.replace(/s+/g, 's') : text;
  let folded = '';
  for (const character of text.normalize('NFKD').toLowerCase().normalize('NFKD')) {
    // Simple collations give every supplementary character the same weight.
    if (character.length > 1) folded += '\uFFFD';
    else if (ignorable.test(character)) continue;
    else folded += equivalents.get(character) ?? kana(character);
  }
  // "ß" is "s" in one collation and "ss" in another, hence "s" and "ss" share a bucket.
  return folded.replace(/s+/g, 's').replace(/\uFFFD+/g, '\uFFFD').replace(/ +$/, '');
}

/** Marks, controls and format characters: several collations skip them. */
const ignorable = /[\p{M}\p{C}]/u;

/** Katakana as hiragana. */
function kana(character: string): string {
  const code = character.charCodeAt(0);
  return code >= 0x30a1 && code <= 0x30f6 ? String.fromCharCode(code - 0x60) : character;
}
