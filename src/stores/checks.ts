/** What keys, values and lifetimes every store takes: exactly those that memcached takes. */
import { StoreProtocolError, StoreRefusedError } from '../errors.js';
import { show } from '../options.js';

const legalKey = /^[\x21-\x7e]{1,250}$/;

/** What is wrong with a key that memcached would not take. */
export function keyProblem(key: string): StoreProtocolError | undefined {
  if (legalKey.test(key)) return undefined;
  return new StoreProtocolError(
    `A key must be 1 to 250 printable ASCII characters without space; received ${show(key)} of length ${String(key.length)}.`,
  );
}

/**
 * Refuses what memcached does not take for a key.
 * @throws StoreProtocolError
 */
export function checkKey(key: string): void {
  const problem = keyProblem(key);
  if (problem !== undefined) throw problem;
}

/**
 * Length of a value in bytes of UTF-8.
 * @throws StoreRefusedError when it is more than `most`
 */
export function valueBytes(value: string, most: number): number {
  const bytes = Buffer.byteLength(value);
  if (bytes > most) {
    throw new StoreRefusedError(`A value of ${String(bytes)} bytes is over the store's limit of ${String(most)} bytes.`, 'too-large');
  }
  return bytes;
}

/**
 * A lifetime in whole seconds, rounded up so that a positive one never becomes 0, which is "for ever".
 * @throws StoreProtocolError when it is negative or not a finite number
 */
export function wholeSeconds(ttlSeconds: number): number {
  if (!Number.isFinite(ttlSeconds) || ttlSeconds < 0) {
    throw new StoreProtocolError(`A lifetime must be 0 or a number of seconds; received ${show(ttlSeconds)}.`);
  }
  return Math.ceil(ttlSeconds);
}
