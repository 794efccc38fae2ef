import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { bodyText, CorruptPayload, decodeCell, encodeCell, NotSerialisable, parseBody, type CellColumn } from '../../src/entries/codec.js';
import { hostileText, jsonStructure, runs } from '../support/arbitraries.js';

const columns: readonly CellColumn[] = [
  { isDate: false },
  { isDate: true },
  { isDate: false, plain: 'string' },
  { isDate: false, plain: 'number' },
  { isDate: false, plain: 'boolean' },
];
const column = fc.constantFrom(...columns);

const stored = (value: unknown, of: CellColumn): unknown => decodeCell(parseBody(bodyText([encodeCell(value, of)]), 0)[0], of);

/** `deepStrictEqual`, which in Node 20 takes two invalid dates for different. */
function same(actual: unknown, expected: unknown): void {
  if (expected instanceof Date && Number.isNaN(expected.getTime())) assert.ok(actual instanceof Date && Number.isNaN(actual.getTime()));
  else assert.deepStrictEqual(actual, expected);
}

/** Everything that a driver may hand out. */
const cellValue: fc.Arbitrary<unknown> = fc.oneof(
  hostileText,
  fc.boolean(),
  fc.double(),
  fc.constantFrom(-0, Number.NaN, Infinity, -Infinity, Number.MAX_VALUE, 5e-324, 2 ** 53, null, undefined),
  fc.bigInt(),
  fc.date({ noInvalidDate: false }),
  fc.uint8Array().map((bytes) => Buffer.from(bytes)),
  jsonStructure,
);

describe('codec', () => {
  it('gives back every value exactly, in every column', () => {
    fc.assert(
      fc.property(cellValue, column, (value, of) => {
        const back = stored(value, of);
        same(back, value);
        if (Buffer.isBuffer(value)) assert.ok(Buffer.isBuffer(back));
      }),
      runs(5000),
    );
  });

  it('keeps property names that mean something to JavaScript as data', () => {
    const value = JSON.parse('{"__proto__":{"polluted":1},"constructor":{"prototype":{}},"toJSON":1,"a":[{"__proto__":null}]}') as object;
    const back = stored(value, { isDate: false }) as object;
    assert.deepStrictEqual(back, value);
    assert.equal(Object.getPrototypeOf(back), Object.prototype);
    assert.equal(Object.hasOwn(back, '__proto__'), true);
    assert.equal(({} as { polluted?: unknown }).polluted, undefined);
  });

  it('gives back negative zeros, wherever they are in a JSON value', () => {
    for (const value of [[-0], { a: -0 }, { a: [1, { b: -0, c: 0 }], d: [-0, -0] }, JSON.parse('{"__proto__": -0, "x": [[-0]]}')] as unknown[]) {
      assert.deepStrictEqual(stored(value, { isDate: false }), value);
    }
    for (const cell of [['z', [0], []], ['z', [0], [[1]]], ['z', [1], [[0]]], ['z', [0], [['length']]], ['z', [0]], ['z', [0], [[0]], 1], ['z', [0], 'x']]) {
      assert.throws(() => decodeCell(cell, { isDate: false }), CorruptPayload, JSON.stringify(cell));
    }
  });

  it('refuses what it cannot give back exactly', () => {
    class Money {
      amount = 1;
    }
    const cycle: unknown[] = [];
    cycle.push({ cycle }, { cycle });
    let deep: unknown = 1;
    for (let i = 0; i < 100_000; i += 1) deep = [deep];
    const refused: readonly unknown[] = [
      new Money(), { price: new Money() }, () => 1, { f: () => 1 }, Symbol('s'), [Symbol('s')], cycle, deep, new Map(), new Set(), /x/, new Uint8Array(2),
      Object.create(null), [undefined], { a: undefined }, [Number.NaN], [1n], [new Date(0)], [Buffer.alloc(1)], { toJSON: () => 1 },
      new (class List extends Array<number> {})(), Array(2),
    ];
    for (const value of refused) assert.throws(() => encodeCell(value, { isDate: false }), NotSerialisable, typeof value);
  });

  it('rejects a body that was cut, at every position', () => {
    const cells = ['text "quoted" 😀', 1, -1.5e-7, true, null, undefined, 2n ** 70n, new Date(0), Buffer.from('bytes'), { a: [1, '2'] }].map((value) => encodeCell(value, { isDate: false }));
    const text = bodyText([0, cells]);
    for (let at = 0; at < text.length; at += 1) assert.throws(() => parseBody(text.slice(0, at), 0), CorruptPayload, `cut at ${at}`);
    assert.deepEqual(parseBody(`head${text}`, 4), JSON.parse(text));
    for (const other of ['', 'null', '1', '"text"', '{}', `${text}]`, `${text} x`, '[1,]', "['a']", '\0', '[NaN]', '[undefined]']) {
      assert.throws(() => parseBody(other, 0), CorruptPayload, other);
    }
  });

  it('rejects cells of another shape or type, with nothing but CorruptPayload', () => {
    const corrupt: readonly (readonly [unknown, CellColumn])[] = [
      ...columns.flatMap((of): [unknown, CellColumn][] =>
        [
          {}, [], [[]], ['x'], ['n'], ['n', 1], ['n', ''], ['n', 'abc'], ['n', '1 '], ['n', '01'], ['i', '-0'], ['i', '1.5'], ['i', 1], ['b', '!'], ['b', 'abc'], ['b', 1],
          ['d', 1.5], ['d', 1e300], ['d', null], ['d', 'x'], ['d', undefined], ['j', null], ['j', 1], ['j', 'x'], ['j', [Infinity]], ['j', {}, 1], ['u', 1], ['u', undefined], ['v', 1],
          ['v', null], ['__proto__', 1], [null, 1], undefined, Infinity, Number.NaN,
        ].map((cell) => [cell, of]),
      ),
      ['text', { isDate: false, plain: 'number' }],
      [1, { isDate: false, plain: 'string' }],
      [true, { isDate: false, plain: 'number' }],
      [-0, { isDate: false }],
      [1.5, { isDate: true }],
      [8.64e15 + 1, { isDate: true }],
      [['v', 'text'], { isDate: false, plain: 'string' }],
      [['v', 'text'], { isDate: false }],
    ];
    for (const [cell, of] of corrupt) assert.throws(() => decodeCell(cell, of), CorruptPayload, `${JSON.stringify(cell)} in ${JSON.stringify(of)}`);
  });

  it('survives random texts and random JSON', () => {
    fc.assert(
      fc.property(fc.oneof(hostileText, fc.json(), fc.json().map((json) => `[${json}]`)), column, (text, of) => {
        try {
          for (const cell of parseBody(text, 0)) {
            const value = decodeCell(cell, of);
            // What is accepted is a value that would be written, and comes back.
            same(stored(value, of), value);
          }
        } catch (error) {
          assert.ok(error instanceof CorruptPayload);
        }
      }),
      runs(5000),
    );
  });

  it('is not brought down by nesting', () => {
    const deep = 200_000;
    for (const bomb of ['['.repeat(deep), `${'['.repeat(deep)}${']'.repeat(deep)}`, `[["j",${'['.repeat(deep)}${']'.repeat(deep)}]]`, `[["j",${'{"a":'.repeat(deep)}1${'}'.repeat(deep)}]]`]) {
      assert.throws(() => decodeCell(parseBody(bomb, 0)[0], { isDate: false }), CorruptPayload, bomb.slice(0, 20));
    }
  });
});
