/** Generators for property tests. */
import fc from 'fast-check';
import { seed } from './seed.js';

/** Parameters of `fc.assert`: the seed is the environment's SEED or a new one, which a failure prints. */
export function runs(numRuns: number): fc.Parameters<unknown> & { seed: number; numRuns: number } {
  return { seed: seed(), numRuns };
}

/** UTF-16 code units of every sort, half of them trouble: control characters, separators, lone surrogates. */
const unit: fc.Arbitrary<string> = fc.oneof(
  fc.constantFrom('\0', '\n', '\r', ' ', '$', '$$', '$&', ':', '%', '%25', '%u', '#', ',', '=', '-', '/', '\u007f', '\ud800', '\udc00', '\ufffd', '😀', 'null', 'ß'),
  fc.integer({ min: 0, max: 0xffff }).map((code) => String.fromCharCode(code)),
  fc.constantFrom('a', 'b', 'c', 'A', '1', '0', 'e', 's'),
);

/** Texts that try to break a key, a few of them longer than a key may be. */
export const hostileText: fc.Arbitrary<string> = fc.oneof(
  { weight: 8, arbitrary: fc.array(unit, { maxLength: 12 }).map((units) => units.join('')) },
  { weight: 1, arbitrary: fc.array(unit, { minLength: 100, maxLength: 400 }).map((units) => units.join('')) },
);

/** Values that JSON holds exactly, with odd property names. */
export const jsonValue: fc.Arbitrary<unknown> = fc
  .jsonValue({ depthSize: 'medium', stringUnit: 'binary' })
  .filter((value) => !JSON.stringify(value).includes('-0'));

/** The same, but never a bare scalar. */
export const jsonStructure: fc.Arbitrary<object> = fc
  .oneof(
    fc.array(jsonValue, { maxLength: 5 }),
    fc.dictionary(fc.oneof(fc.string(), fc.constantFrom('__proto__', 'constructor', 'toString', 'toJSON', '1', '')), jsonValue, { maxKeys: 5, noNullPrototype: true }),
  )
  .map((value) => JSON.parse(JSON.stringify(value)) as object);
