/**
 * What stands under a key: a value, a lease, a marker or a generation, told apart by one letter.
 *
 *   V<fingerprint 11><generation 11 or 22><body>
 *                                            a value, with what it was filled under: the table's
 *                                            generation, and the cache class's where it has its own
 *   S<the same>                              a value that a write has outdated, kept for `allowtime`
 *   L<token>                                 a read lease: someone is filling this key
 *   M<nonce>;<token>,<token>…                a marker: writes by these writers are in flight
 *   G<random>                                a generation or an epoch
 *   U<fingerprint><generation><why><nonce>   an entry that cannot be stored: read from the database,
 *                                            by everybody and without a lease, until it expires
 *
 * Leases are those of "Scaling Memcache at Facebook" (Nishtala et al., NSDI 2013); the marker is
 * a lease held by writers. Every text is written once and never again (each holds fresh
 * randomness or is removed by its token), so two looks that see the same lease or marker know that
 * nothing happened to the key in between.
 */
import { randomBytes } from 'node:crypto';
import type { RefusalReason } from '../events.js';
import { sha256 } from './key-types.js';

/** What a look at a key showed. */
export type Seen =
  | { readonly state: 'absent' }
  | { readonly state: 'value'; readonly text: string; readonly token: string }
  /** A value that a write has outdated, of a cache that may answer with it for a while. */
  | { readonly state: 'outdated'; readonly text: string; readonly token: string }
  | { readonly state: 'lease'; readonly text: string; readonly token: string }
  | { readonly state: 'marker'; readonly text: string; readonly token: string; readonly writers: readonly string[] }
  | { readonly state: 'stamp'; readonly text: string; readonly token: string }
  /** The value cannot be stored, under what the text names: see `isUncacheableUnder`. */
  | { readonly state: 'uncacheable'; readonly text: string; readonly token: string; readonly reason: UncacheableReason }
  /** Not one of our texts: foreign, or of another version. */
  | { readonly state: 'foreign'; readonly text: string; readonly token: string }
  /** The server did not answer. */
  | { readonly state: 'unknown'; readonly cause: Error };

const absent: Seen = Object.freeze({ state: 'absent' });

/** Classifies a stored text. */
export function classify(item: { readonly value: string; readonly token: string } | undefined): Seen {
  if (item === undefined) return absent;
  const { value: text, token } = item;
  switch (text.charCodeAt(0)) {
    case 0x56: // V
      return { state: 'value', text, token };
    case 0x53: // S
      return { state: 'outdated', text, token };
    case 0x4c: // L
      if (oneToken.test(text)) return { state: 'lease', text, token };
      break;
    case 0x47: // G
      if (text === lastStamp || oneToken.test(text)) {
        lastStamp = text;
        return { state: 'stamp', text, token };
      }
      break;
    case 0x4d: // M
      if (marker.test(text)) return { state: 'marker', text, token, writers: text.slice(13).split(',') };
      break;
    case 0x55: // U
      if (uncacheable.test(text)) return { state: 'uncacheable', text, token, reason: reasonOf(text) };
      break;
    default:
  }
  return { state: 'foreign', text, token };
}

// Mostly it is the same table's that is asked for again.
let lastStamp = '';

// A text that only begins like one of ours must not count as one: nobody would ever remove it.
const oneToken = /^.[\w-]{11}$/;
const uncacheable = /^U[\w-]{22}([\w-]{11})?[lmrs][\w-]{11}$/;
const marker = /^M[\w-]{11};[\w-]{11}(,[\w-]{11})*$/;

// Random bytes are drawn in bulk: one call to the system per thousand tokens.
let pool = Buffer.alloc(0);
let used = 0;

/** 64 random bits as 11 characters of base64url. */
export function randomToken(): string {
  if (used + 8 > pool.length) {
    pool = randomBytes(8192);
    used = 0;
  }
  used += 8;
  return pool.toString('base64url', used - 8, used);
}

/** A new lease's text. */
export const leaseText = (): string => `L${randomToken()}`;

/** A new generation's or epoch's text. */
export const stampText = (): string => `G${randomToken()}`;

/** A marker's text for these writers. */
export const markerText = (writers: readonly string[]): string => `M${randomToken()};${writers.join(',')}`;

/** Several stamps' texts as one, in this order. */
export const joinedStamps = (first: string, second: string): string => first + second.slice(1);

/** The text of one or two stamps that were looked at, if all are there. */
export function joined([first, second]: readonly Seen[]): string | undefined {
  if (first?.state !== 'stamp') return undefined;
  if (second === undefined) return first.text;
  return second.state === 'stamp' ? joinedStamps(first.text, second.text) : undefined;
}

/** The start of every value that was filled under this fingerprint and generation (stamps' texts, joined). */
export const valueHead = (fingerprint: string, generation: string): string =>
  `V${fingerprint}${generation.slice(1)}`;

/** Why an entry cannot be stored. */
export type UncacheableReason = RefusalReason | 'not-serialisable';

const reasonLetters: Readonly<Record<UncacheableReason, string>> = {
  'too-large': 'l',
  'out-of-memory': 'm',
  refused: 'r',
  'not-serialisable': 's',
};

const reasonsByLetter = new Map(Object.entries(reasonLetters).map(([reason, code]) => [code, reason as UncacheableReason]));

const nonceLength = 11;

const reasonOf = (text: string): UncacheableReason => reasonsByLetter.get(text.charAt(text.length - nonceLength - 1)) ?? 'refused';

/** The text for an entry that cannot be stored, though its value would begin with `head`. */
export const uncacheableText = (head: string, reason: UncacheableReason): string =>
  `U${head.slice(1)}${reasonLetters[reason]}${randomToken()}`;

/**
 * Tells whether an entry cannot be stored by those whose values begin with `head`. Others, of another
 * shape or after the table was voided, may try.
 */
export const isUncacheableUnder = (head: string, seen: Seen): seen is Seen & { readonly state: 'uncacheable' } =>
  seen.state === 'uncacheable' && seen.text.startsWith(head.slice(1), 1);

/** What a value's text becomes when a write outdates it, and back. */
export const outdatedText = (value: string): string => `S${value.slice(1)}`;
export const valueText = (outdated: string): string => `V${outdated.slice(1)}`;

/** Raise it when what stands in the store changes its form: entries of older versions are misses then. */
export const storedFormat = 1;

/** A short digest that changes with any part of what it is made from, and with the stored format. */
export const fingerprintOf = (description: unknown): string =>
  sha256(JSON.stringify([storedFormat, description])).slice(0, 11);
