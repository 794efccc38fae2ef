import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { classify, fingerprintOf, leaseText, markerText, randomToken, stampText, valueHead } from '../../src/entries/envelope.js';
import { hostileText, runs } from '../support/arbitraries.js';

const seen = (value: string) => classify({ value, token: '1' });

describe('envelope', () => {
  it('tells its texts apart', () => {
    assert.equal(classify(undefined).state, 'absent');
    assert.equal(seen(leaseText()).state, 'lease');
    assert.equal(seen(stampText()).state, 'stamp');
    assert.equal(seen(`${valueHead(fingerprintOf(['t']), stampText())}[0]`).state, 'value');
    const writers = [randomToken(), randomToken()];
    const text = markerText(writers);
    assert.deepEqual(seen(text), { state: 'marker', text, token: '1', writers });
  });

  it('gives no two texts the same randomness', () => {
    const texts = Array.from({ length: 5000 }, leaseText);
    assert.equal(new Set(texts).size, texts.length);
    for (const text of texts) assert.match(text, /^L[\w-]{11}$/);
  });

  it('takes a truncated lease, stamp or marker for foreign at every position', () => {
    const marker = markerText([randomToken(), randomToken()]);
    for (const text of [leaseText(), stampText(), marker]) {
      for (let at = 0; at < text.length; at += 1) {
        // A marker that lost its last writer whole cannot be told from one that never had it.
        if (text === marker && at === marker.lastIndexOf(',')) continue;
        assert.equal(seen(text.slice(0, at)).state, 'foreign', `${text.charAt(0)} cut at ${at}`);
      }
      assert.equal(seen(`${text}!`).state, 'foreign');
    }
  });

  it('never throws, whatever stands under a key', () => {
    fc.assert(
      fc.property(fc.constantFrom('', 'V', 'L', 'G', 'M', 'M;', 'M,'), hostileText, (head, text) => {
        const { state } = seen(head + text);
        assert.ok(state === 'foreign' || (state === 'value' && `${head}${text}`.startsWith('V')) || /^[LGM]/.test(`${head}${text}`));
      }),
      runs(3000),
    );
  });

  it('makes a head that changes with fingerprint and generation only', () => {
    const [a, b] = [stampText(), stampText()];
    assert.equal(valueHead('f'.repeat(11), a).length, 23);
    assert.notEqual(valueHead('f'.repeat(11), a), valueHead('f'.repeat(11), b));
    assert.notEqual(fingerprintOf(['a', 'b']), fingerprintOf(['a,b']));
    assert.equal(fingerprintOf(['a', { b: 1 }]), fingerprintOf(['a', { b: 1 }]));
  });
});
