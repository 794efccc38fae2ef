import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { keyType, type Canonical, type KeyKind } from '../../src/entries/key-types.js';
import { KeySpace, keyOf, maxKeyLength, type EntryKind } from '../../src/entries/keys.js';
import { hostileText, runs } from '../support/arbitraries.js';

/** What memcached, and the `memcached` client (which passes keys through String.replace), take. */
const legal = /^[!-#%-~]{1,250}$/;

const kinds = fc.constantFrom<EntryKind>('row', 'index', 'result', 'list', 'last', 'generation', 'version', 'epoch');
const value: fc.Arbitrary<Canonical> = fc.option(hostileText, { freq: 6 });
const parts = fc.record({
  prefix: hostileText,
  alias: hostileText,
  kind: kinds,
  name: hostileText,
  values: fc.array(value, { minLength: 1, maxLength: 4 }),
});
type Parts = typeof parts extends fc.Arbitrary<infer T> ? T : never;

const keyFrom = ({ prefix, alias, kind, name, values }: Parts): string => keyOf(new KeySpace(prefix, alias).stem(kind, name), values);

describe('keys', () => {
  it('are legal for memcached, whatever they are made from', () => {
    fc.assert(
      fc.property(parts, (given) => {
        assert.match(keyFrom(given), legal);
        assert.match(new KeySpace(given.prefix, given.alias).single(given.kind, given.name), legal);
      }),
      runs(3000),
    );
  });

  it('differ for different lists of parts', () => {
    // Neighbours: the same parts but for one, or with text moved over a border between two.
    const neighbours = fc.tuple(parts, parts, fc.integer({ min: 0, max: 6 }), hostileText).map(([a, b, how, text]): [Parts, Parts] => {
      const first = a.values[0] ?? '';
      switch (how) {
        case 0:
          return [a, { ...a, values: b.values }];
        case 1:
          return [a, { ...a, name: b.name }];
        case 2:
          return [{ ...a, prefix: `${a.prefix}${text}` }, { ...a, alias: `${text}${a.alias}` }];
        case 3:
          return [{ ...a, name: `${a.name}${text}` }, { ...a, values: [`${text}${first}`, ...a.values.slice(1)] }];
        case 4:
          return [{ ...a, values: [`${first}${text}`, first] }, { ...a, values: [first, `${text}${first}`] }];
        case 5:
          return [{ ...a, values: [`${first},=${text}`] }, { ...a, values: [first, text] }];
        default:
          return [a, b];
      }
    });
    fc.assert(
      fc.property(neighbours, ([a, b]) => {
        assert.equal(keyFrom(a) === keyFrom(b), JSON.stringify(a) === JSON.stringify(b));
      }),
      runs(10_000),
    );
  });

  it('differ where a careless escape would not', () => {
    const stem = new KeySpace('flash', 'db').stem('index', 'users.name');
    const lists: Canonical[][] = [
      [null], ['null'], [''], ['-'], ['='], ['%'], ['%25'], ['%2525'], ['a$b'], ['a$$b'], ['a$&b'], ['a b'], ['a+b'], ['a%20b'],
      ['a,b'], ['a', 'b'], ['a', null], [null, 'a'], ['', ''], ['a,=b'], ['\ud800'], ['\udc00'], ['\ufffd'], ['%ud800'], ['😀'], ['\0'], ['\n'], ['\r\n'],
      ['1'], ['01'], ["'"], ['%27'], ['*'], ['%2a'], ['%2A'], [':'], ['#'], ['x'.repeat(300)], ['x'.repeat(301)], ['é'.repeat(100)],
    ];
    assert.equal(new Set(lists.map((list) => keyOf(stem, list))).size, lists.length);
  });

  it('are readable as long as they fit, and end in a digest beyond', () => {
    const stem = new KeySpace('flash', 'mysql/db:3306/app').stem('row', 'users');
    assert.equal(keyOf(stem, ['42']), 'flash:mysql%2Fdb%3A3306%2Fapp:r:users:=42');
    const room = maxKeyLength - keyOf(stem, ['']).length;
    assert.equal(keyOf(stem, ['x'.repeat(room)]).includes('#'), false);
    assert.match(keyOf(stem, ['x'.repeat(room + 1)]), /^flash:mysql%2Fdb%3A3306%2Fapp:r:users:=x+#[\w-]{43}$/);
    assert.equal(keyOf(stem, ['x'.repeat(room + 1)]).length, maxKeyLength);
  });

  it('are the same exactly where each column has the same bucket', () => {
    const column = fc.constantFrom<KeyKind>('integer', 'text', 'binary-text', 'decimal', 'boolean', 'blob');
    const list = fc.array(fc.tuple(column, fc.constantFrom<unknown>('1', 'Ａ', 'a', 'á', 'a ', 'ß', 'ss', '', null), fc.constantFrom<unknown>('1', 'A', 'b', '01', null)), {
      minLength: 1,
      maxLength: 3,
    });
    const stem = new KeySpace('p', 'a').stem('index', 't');
    fc.assert(
      fc.property(list, (columns) => {
        const bucketsOf = (at: 1 | 2): (Canonical | undefined)[] =>
          columns.map((one) => {
            const type = keyType(one[0]);
            const canonical = type.canonical(one[at]);
            return canonical === undefined || canonical === null ? canonical : type.bucket(canonical);
          });
        const [a, b] = [bucketsOf(1), bucketsOf(2)];
        if (a.includes(undefined) || b.includes(undefined)) return;
        assert.equal(keyOf(stem, a as Canonical[]) === keyOf(stem, b as Canonical[]), JSON.stringify(a) === JSON.stringify(b));
      }),
      runs(3000),
    );
  });
});
