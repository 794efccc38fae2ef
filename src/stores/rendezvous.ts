/** Rendezvous hashing: which server a key belongs to, computed from the two names alone. */

/** A server as far as hashing goes. */
export interface Candidate {
  /** From `seedOf`. */
  readonly seed: number;
}

/** What the scores of a server are computed from. */
export function seedOf(server: string): number {
  return avalanche(fnv1a(server));
}

/** What the scores of a key are computed from. */
export function hashOf(key: string): number {
  return fnv1a(key);
}

/**
 * The candidate with the highest score for the key with this hash. Taking one out of the list, or
 * adding one, moves only the keys of that one.
 */
export function bestOf<C extends Candidate>(candidates: readonly C[], hash: number): C {
  let [best] = candidates;
  if (best === undefined) throw new RangeError('There is no server to choose.');
  let highest = -1;
  for (const candidate of candidates) {
    const score = avalanche(hash ^ candidate.seed);
    if (score > highest) {
      highest = score;
      best = candidate;
    }
  }
  return best;
}

/** One of `count` places for the key with this hash: the same for as long as the count is. */
export function placeOf(hash: number, count: number): number {
  return avalanche(hash) % count;
}

/** 32-bit FNV-1a of printable ASCII. */
function fnv1a(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i += 1) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}

/** MurmurHash3's finaliser: every bit of the input changes every bit of the result half of the time. */
function avalanche(input: number): number {
  let hash = input;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}
