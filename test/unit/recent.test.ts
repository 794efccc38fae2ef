/** What was used last: what stays, what goes, and that the bound holds. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { Recent } from '../../src/recent.js';

const one = (): number => 1;

describe('Recent', () => {
  it('has what was set last', () => {
    const recent = new Recent<string>(10, one);
    recent.set('a', 'first');
    recent.set('a', 'second');
    assert.equal(recent.get('a'), 'second');
    assert.equal(recent.get('b'), undefined);
  });

  it('keeps what is used, and forgets what is not', () => {
    const recent = new Recent<number>(10, one);
    recent.set('used', 1);
    recent.set('unused', 2);
    for (let i = 0; i < 20; i += 1) {
      recent.set(`other ${String(i)}`, i);
      assert.equal(recent.get('used'), 1, `after ${String(i + 1)} others`);
    }
    assert.equal(recent.get('unused'), undefined);
  });

  it('forgets a deleted value in both generations', () => {
    const recent = new Recent<number>(4, one);
    recent.set('old', 1);
    recent.set('also old', 2);
    recent.set('young', 3);
    recent.delete('old');
    recent.delete('young');
    assert.deepEqual([recent.get('old'), recent.get('also old'), recent.get('young')], [undefined, 2, undefined]);
  });

  it('does not bring an older value back', () => {
    const recent = new Recent<number>(4, one);
    recent.set('key', 1);
    recent.set('b', 0);
    // The first one is of the older generation now.
    recent.set('c', 0);
    recent.set('key', 2);
    recent.delete('key');
    assert.equal(recent.get('key'), undefined);
  });

  it('keeps nothing with a bound of 0, and nothing that weighs more than half', () => {
    const nothing = new Recent<number>(0, one);
    nothing.set('a', 1);
    assert.equal(nothing.get('a'), undefined);
    const recent = new Recent<number>(10, (value) => value);
    recent.set('small', 1);
    recent.set('large', 6);
    assert.deepEqual([recent.get('small'), recent.get('large')], [1, undefined]);
    // What was there under the key is not the value any more.
    recent.set('small', 6);
    assert.equal(recent.get('small'), undefined);
  });

  it('never has more than its bound, nor anything but what was set last', () => {
    const step = fc.record({ key: fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f', 'g'), action: fc.constantFrom('set', 'get', 'delete'), value: fc.integer({ min: 1, max: 6 }) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), fc.integer({ min: 0, max: 20 }), (steps, bound) => {
        const recent = new Recent<number>(bound, (value) => value);
        const last = new Map<string, number>();
        for (const { key, action, value } of steps) {
          if (action === 'set') {
            recent.set(key, value);
            last.set(key, value);
          } else if (action === 'delete') {
            recent.delete(key);
            last.delete(key);
          } else {
            const found = recent.get(key);
            if (found !== undefined) assert.equal(found, last.get(key));
          }
        }
        const left = ['a', 'b', 'c', 'd', 'e', 'f', 'g'].map((key) => recent.get(key));
        // Reading them may have let some go, never too many be there.
        const weight = left.reduce<number>((sum, value) => sum + (value ?? 0), 0);
        assert.ok(weight <= bound || bound === 0, `${String(weight)} of ${String(bound)}`);
      }),
    );
  });
});
