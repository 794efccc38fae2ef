/**
 * Store keys: `prefix:alias:kind:name:values`, printable ASCII without space, at most 250 bytes.
 *
 * Every part is escaped so that no two different lists of parts share a key and none can break
 * memcached's protocol. A key that would be too long ends in a SHA-256 of the whole.
 */
import { loneSurrogate, sha256, type Canonical } from './key-types.js';

/** The longest key that memcached takes, in bytes. */
export const maxKeyLength = 250;

/** What a key leads to. */
export type EntryKind = 'row' | 'index' | 'result' | 'list' | 'last' | 'generation' | 'version' | 'epoch';

const letter: Readonly<Record<EntryKind, string>> = {
  row: 'r',
  index: 'i',
  result: 'q',
  list: 'l',
  last: 's',
  generation: 'g',
  version: 'v',
  epoch: 'e',
};

/** Builds the keys of one Sequelize instance. */
export class KeySpace {
  readonly #head: string;

  constructor(prefix: string, alias: string) {
    this.#head = `${escapePart(prefix)}:${escapePart(alias)}:`;
  }

  /** The part of all keys of one kind and name, up to the values. */
  stem(kind: EntryKind, name: string): string {
    return `${this.#head}${letter[kind]}:${escapePart(name)}:`;
  }

  /** The key of an entry that has no values, such as a table's generation. */
  single(kind: EntryKind, name: string): string {
    return bounded(this.stem(kind, name));
  }
}

/** The key with these bucketed values under a stem. */
export function keyOf(stem: string, buckets: readonly Canonical[]): string {
  let key = stem;
  for (let i = 0; i < buckets.length; i += 1) {
    const bucket = buckets[i] as Canonical;
    if (i > 0) key += ',';
    // A value starts with "=", so NULL cannot be confused with any text.
    key += bucket === null ? '-' : `=${escapePart(bucket)}`;
  }
  return bounded(key);
}

function bounded(key: string): string {
  if (key.length <= maxKeyLength) return key;
  // "#" is always escaped in parts, so a shortened key never equals a whole one.
  return `${key.slice(0, maxKeyLength - 44)}#${sha256(key)}`;
}

const safe = /^[A-Za-z0-9_.~-]*$/;

/** Percent-encodes all but unreserved characters; injective. */
function escapePart(text: string): string {
  if (safe.test(text)) return text;
  // encodeURIComponent refuses lone surrogates, and never writes "%u" itself.
  let escaped = '';
  let from = 0;
  for (const { index, 0: surrogate } of text.matchAll(loneSurrogate)) {
    escaped += `${escapeWellFormed(text.slice(from, index))}%u${surrogate.charCodeAt(0).toString(16)}`;
    from = index + 1;
  }
  return escaped + escapeWellFormed(text.slice(from));
}

const escapeWellFormed = (text: string): string =>
  encodeURIComponent(text).replace(/[!'()*]/g, (character) => `%${character.charCodeAt(0).toString(16)}`);
