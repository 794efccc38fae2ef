import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { foldText } from '../../src/entries/fold.js';
import { hostileText, runs } from '../support/arbitraries.js';

const bucketOf = (text: string): string => foldText(text);

describe('foldText', () => {
  it('ignores case, accents, width and trailing spaces', () => {
    for (const [a, b] of [
      ['Bill1992', 'bill1992'],
      ['José', 'jose'],
      ['JOSE\u0301', 'josé'],
      ['ＡＢＣ', 'abc'],
      ['x', 'x   '],
      ['', '   '],
      ['Ёж', 'еж'],
      ['ΑΘΉΝΑ', 'αθηνα'],
      ['ガギ', 'かき'],
      ['각', '\u1100\u1161\u11a8'],
      ['١٢', '12'],
      ['𝐀', 'a'],
    ] as const) {
      assert.equal(bucketOf(a), bucketOf(b), `${a} and ${b}`);
    }
  });

  it('takes an expansion and its one-letter reading for the same', () => {
    const groups = [
      ['Straße', 'strasse', 'STRASE', 'straẞe'],
      ['Müller', 'Mueller', 'Muller', 'Myller'],
      ['Århus', 'Aarhus', 'arhus'],
      ['Æsop', 'Aesop', 'Äsop', 'asop'],
      ['Œuvre', 'oeuvre', 'Öuvre'],
      ['ﬁn', 'fin'],
      ['ǆ', 'dž'],
    ];
    for (const group of groups) assert.equal(new Set(group.map(bucketOf)).size, 1, group.join(' '));
  });

  it('skips what collations ignore', () => {
    for (const text of ['a\0b', 'a\u200bb', 'a\u00adb', 'a\u0301b', 'a\u{e0100}b', 'a\u0007b', 'a\ufeffb', 'a\ufffdb', 'a\ud800b']) {
      assert.equal(bucketOf(text), 'ab', JSON.stringify(text));
    }
    assert.equal(bucketOf('a \0 '), 'a');
  });

  it('tells different names apart', () => {
    const names = ['anna', 'hanna', 'bill1992', 'bill1993', 'bill.1992', 'bill_1992', 'bill-1992', 'a b', 'ab', '東京', '京都', 'москва', 'минск'];
    assert.equal(new Set(names.map(bucketOf)).size, names.length);
  });

  it('is its own bucket, whatever the spelling', () => {
    fc.assert(
      fc.property(hostileText, (text) => {
        const bucket = bucketOf(text);
        assert.equal(bucketOf(bucket), bucket);
        assert.equal(bucketOf(text.toLowerCase().toLowerCase()), bucketOf(text.toLowerCase()));
        assert.equal(bucketOf(`${text}   `), bucket);
      }),
      runs(3000),
    );
  });

  it('gives ASCII in any case the bucket of lower case, by the short way too', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(...Array.from('abcdefghijklmnopqrstuvwxyzaeiouss0123456789_.@-')) }), (text) => {
        assert.equal(bucketOf(text.toUpperCase()), bucketOf(text));
        // A character that is ignored keeps the text from the short way.
        assert.equal(bucketOf(`${text}\0`), bucketOf(text));
      }),
      runs(3000),
    );
  });

  it('takes time in proportion to the length', () => {
    const long = `${'a'.repeat(50_000)}${' '.repeat(500_000)}b`;
    const began = performance.now();
    assert.equal(bucketOf(long).length, 500_002);
    assert.ok(performance.now() - began < 5_000);
  });
});
