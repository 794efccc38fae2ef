import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { keyType, misfit, type Canonical, type ColumnLimits, type KeyKind } from '../../src/entries/key-types.js';
import { hostileText, runs } from '../support/arbitraries.js';

const limitsOf: Partial<Record<KeyKind, ColumnLimits>> = { enum: { members: ['user', 'admin', 'Straße'] }, decimal: { scale: 2 }, text: { length: 5 } };
const kinds: readonly KeyKind[] = ['integer', 'decimal', 'float', 'text', 'binary-text', 'uuid', 'enum', 'boolean', 'date', 'dateonly', 'time', 'blob'];
const of = (kind: KeyKind) => keyType(kind, limitsOf[kind]);
const day = new Date('2024-02-29T12:34:56.789Z');
const uuid = '0190b0c8-7e1f-7c3a-9d7e-0123456789ab';

/** Canonical forms, or undefined for what does not fit. */
const table: Readonly<Record<KeyKind, readonly (readonly [value: unknown, canonical: Canonical | undefined])[]>> = {
  integer: [
    [1, '1'], ['1', '1'], ['+1', '1'], ['001', '1'], [1n, '1'], [-0, '0'], ['-0', '0'], ['-000', '0'], ['-07', '-7'],
    [Number.MAX_SAFE_INTEGER, '9007199254740991'], [2 ** 53, undefined], ['18446744073709551615', '18446744073709551615'],
    [-(2n ** 63n), '-9223372036854775808'], ['9'.repeat(60), '9'.repeat(60)],
    [1.5, undefined], [Number.NaN, undefined], ['', undefined], [' 1', undefined], ['1 ', undefined], ['42abc', undefined], ['1e3', undefined],
    ['0x10', undefined], ['１', undefined], ['1\n', undefined], [true, undefined], [[1], undefined], [{}, undefined],
  ],
  decimal: [
    ['12.30', '12.3'], ['012.300', '12.3'], ['+1', '1'], [12.3, '12.3'], [5n, '5'], ['-0.00', '0'], [-0, '0'], ['7.', '7'], ['0.50', '0.5'],
    ['123456789012345678901234567890.123456789', '123456789012345678901234567890.123456789'],
    ['.5', undefined], ['1e3', undefined], [1e21, undefined], [Infinity, undefined], ['', undefined], ['1,5', undefined], ['12.3.4', undefined], [true, undefined],
  ],
  float: [
    [1.5, '1.5'], ['1.50', '1.5'], ['1e3', '1000'], ['.5', '0.5'], ['5.', '5'], [-0, '0'], ['-0', '0'], [1e300, '1e+300'],
    [Number.NaN, undefined], [Infinity, undefined], ['1e999', undefined], ['', undefined], ['x', undefined], ['1f', undefined], [1n, undefined],
  ],
  text: [['a', 'a'], ['A ', 'A '], ['', ''], ['1', '1'], ['null', 'null'], [1, undefined], [true, undefined], [day, undefined], [Buffer.from('a'), undefined]],
  'binary-text': [['a', 'a'], ['A ', 'A '], ['', ''], [1, undefined]],
  uuid: [[uuid, uuid], [uuid.toUpperCase(), uuid.toUpperCase()], [`{${uuid}}`, undefined], [uuid.replaceAll('-', ''), undefined], [`${uuid}\n`, undefined], ['', undefined], [1, undefined]],
  enum: [['user', 'user'], ['USER', 'USER'], ['strasse', 'strasse'], ['root', undefined], ['', undefined], [1, undefined]],
  boolean: [[true, '1'], [1, '1'], [false, '0'], [0, '0'], [-0, '0'], ['1', undefined], ['true', undefined], [2, undefined], ['', undefined]],
  date: [
    [day, String(day.getTime())], [day.getTime(), String(day.getTime())], ['2024-02-29T12:34:56.789Z', String(day.getTime())],
    ['2024-02-29T13:34:56.789+01:00', String(day.getTime())], [new Date(0), '0'], [-0, '0'], [-1, '-1'],
    [new Date(Number.NaN), undefined], [Number.NaN, undefined], [1.5, undefined], [1e20, undefined], ['2024-02-30T00:00:00Z', undefined],
    ['2024-13-01T00:00:00Z', undefined], ['2024-02-29', undefined], ['2024-02-29T12:34:56', undefined], ['yesterday', undefined], [1n, undefined],
  ],
  dateonly: [['2024-02-29', '2024-02-29'], ['2023-02-29', undefined], ['2024-2-9', undefined], ['0000-00-00', undefined], ['2024-02-29T00:00:00Z', undefined], [day, undefined], [1, undefined]],
  time: [['13:30:00', '13:30:00'], ['13:30:00.5', '13:30:00.5'], ['-838:59:59', '-838:59:59'], ['133000', undefined], ['25', undefined], ['', undefined], [1, undefined]],
  blob: [[Buffer.from([0, 255]), '00ff'], [new Uint8Array([1]), '01'], [Buffer.alloc(0), ''], ['00ff', undefined], [[1], undefined]],
};

describe('key types', () => {
  for (const kind of kinds) {
    it(`${kind}: one form for each value, and none for what does not fit`, () => {
      for (const [value, canonical] of table[kind]) assert.equal(of(kind).canonical(value), canonical, `${typeof value} ${String(value)}`);
      assert.equal(of(kind).canonical(null), null);
      for (const value of [undefined, Symbol('x'), () => 1, {}, [], new Map()]) assert.equal(of(kind).canonical(value), undefined);
    });
  }

  it('take canonical forms as they are given to the database for the same value', () => {
    for (const kind of kinds) {
      for (const [, canonical] of table[kind]) {
        if (canonical === undefined || canonical === null) continue;
        assert.equal(of(kind).canonical(of(kind).queryValue(canonical)), canonical, `${kind} ${canonical}`);
      }
    }
  });

  it('never throw and never answer with anything but a text, null or undefined', () => {
    fc.assert(
      fc.property(fc.constantFrom(...kinds), fc.oneof(hostileText, fc.anything({ withBigInt: true, withDate: true, withTypedArray: true })), (kind, value) => {
        const type = of(kind);
        const canonical = type.canonical(value);
        if (canonical === undefined || canonical === null) {
          assert.equal(canonical === null, value === null);
          return;
        }
        assert.equal(typeof type.bucket(canonical), 'string');
        assert.equal(typeof type.storedAsGiven(canonical), 'boolean');
        type.queryValue(canonical);
        assert.equal(misfit("'f' of Model", type.expects, value).startsWith(`Key field 'f' of Model ${value === undefined ? 'is undefined; it ' : ''}must be ${type.expects}`), true);
      }),
      runs(5000),
    );
  });

  it('give an integer one form in all its spellings', () => {
    fc.assert(
      fc.property(fc.bigInt(), fc.nat({ max: 5 }), (value, zeros) => {
        const type = of('integer');
        const digits = String(value < 0n ? -value : value);
        const spelled = `${value < 0n ? '-' : ''}${'0'.repeat(zeros)}${digits}`;
        assert.equal(type.canonical(spelled), String(value));
        assert.equal(type.canonical(value), String(value));
        if (Number.isSafeInteger(Number(value))) assert.equal(type.canonical(Number(value)), String(value));
        // A number column's "1" is a text in a text column, and a number is none.
        assert.equal(of('text').canonical(Number(value)), undefined);
      }),
      runs(2000),
    );
  });

  it('give what a FLOAT column is written and what it shows one bucket', () => {
    const { bucket } = of('float');
    for (const [written, shown] of [['16777217', '16777200'], ['0.1', '0.1'], ['0.10000000149011612', '0.1'], ['1.23456789', '1.23457'], ['-3.4028235e38', '-3.40282e38']] as const) {
      assert.equal(bucket(written), bucket(shown), written);
    }
    assert.notEqual(bucket('1.5'), bucket('1.6'));
    fc.assert(
      fc.property(fc.float({ noNaN: true, noDefaultInfinity: true }), (value) => {
        assert.equal(bucket(String(value)), bucket(bucket(String(value))));
      }),
      runs(2000),
    );
  });

  it('say of what the database would change that it is not stored as given', () => {
    const stored = (kind: KeyKind, limits: ColumnLimits, value: string): boolean => keyType(kind, limits).storedAsGiven(value);
    assert.equal(stored('text', { length: 3 }, 'abc'), true);
    assert.equal(stored('text', { length: 3 }, 'abcd'), false);
    assert.equal(stored('text', { length: 1 }, '😀'), true);
    assert.equal(stored('decimal', { scale: 1 }, '1.5'), true);
    assert.equal(stored('decimal', { scale: 1 }, '1.55'), false);
    assert.equal(stored('decimal', {}, '1.5'), false);
    assert.equal(stored('integer', { range: [-128n, 127n] }, '127'), true);
    assert.equal(stored('integer', { range: [-128n, 127n] }, '128'), false);
    assert.equal(stored('integer', { range: [0n, 255n] }, '-1'), false);
    assert.equal(stored('float', { scale: 2 }, '1.5'), false);
    assert.equal(stored('date', {}, '1'), true);
    assert.equal(stored('date', { length: 6 }, '1'), true);
    assert.equal(stored('date', { length: 1 }, '1'), false);
    assert.equal(stored('time', {}, '13:30:00.5'), false);
    assert.equal(stored('blob', { length: 1 }, '00ff'), false);
  });

  it('take long values in proportion to their length', () => {
    const long = 200_000;
    const values: readonly (readonly [KeyKind, string])[] = [
      ['integer', `${'0'.repeat(long)}x`],
      ['decimal', `${'0'.repeat(long)}.${'0'.repeat(long)}x`],
      ['float', `${'1'.repeat(long)}x`],
      ['text', `a${' '.repeat(long)}b`],
      ['binary-text', `a${' '.repeat(long)}b`],
    ];
    const began = performance.now();
    for (const [kind, value] of values) {
      const canonical = of(kind).canonical(value);
      if (canonical !== undefined && canonical !== null) of(kind).bucket(canonical);
    }
    assert.ok(performance.now() - began < 5_000);
  });
});
