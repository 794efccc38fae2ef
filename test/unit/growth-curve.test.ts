import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { curveOf, lostShare, middleOf, type CurvePlan } from '../bench/growth/curve.js';
import type { Measured } from '../bench/measure.js';

const timed = (name: string, time: number[][], cpu: number[][] = time): Measured => ({ name, inFlight: 64, quantities: { time, cpu, p99: time } });

const plan: CurvePlan = {
  name: 'get by id',
  axis: 'rows in the cache',
  points: [
    { size: 10, case: 'ten' },
    { size: 1000, case: 'thousand' },
  ],
};

describe('curveOf', () => {
  it('compares every point with the first one, turn by turn', () => {
    // The second round is slow for both: what else the machine does hits them alike.
    const all = [
      timed('ten', [[2, 2], [20, 20], [2, 2]], [[1, 1], [1, 1], [1, 1]]),
      timed('thousand', [[4, 4], [40, 40], [4, 4]], [[3, 3], [3, 3], [3, 3]]),
    ];
    const { points } = curveOf(plan, all);
    assert.deepEqual(points.map(({ size }) => size), [10, 1000]);
    assert.equal(points[0]?.time?.median, 1);
    assert.equal(points[1]?.time?.median, 2);
    assert.equal(points[1].cpu?.median, 3);
    assert.deepEqual(points[1].spread, { time: [2, 2], cpu: [3, 3] });
    assert.deepEqual(points[1].microseconds, { time: 4, cpu: 3 });
  });

  it('has no ratio where the rounds lie too far apart, but their spread', () => {
    const all = [timed('ten', [[1], [1], [1]]), timed('thousand', [[1], [2], [4]], [[1], [1], [1]])];
    const [, point] = curveOf(plan, all).points;
    assert.equal(point?.time, undefined);
    assert.deepEqual(point?.spread.time, [1, 4]);
    assert.equal(point?.cpu?.median, 1);
  });

  it('says which case was not measured', () => {
    assert.throws(() => curveOf(plan, [timed('ten', [[1]])]), /'thousand' was not measured/);
    assert.throws(() => curveOf({ ...plan, points: [] }, []), /has no points/);
  });
});

describe('lostShare', () => {
  it('is what is lost of the row entries, and of the generations that they stand under', () => {
    assert.equal(lostShare(1), 1);
    assert.ok(Math.abs(lostShare(3) - (1 / 3 + (2 / 3) * (1 / 3))) < 1e-12);
    // An index entry, too.
    assert.ok(Math.abs(lostShare(3, 2) - (1 - (2 / 3) ** 3)) < 1e-12);
  });

  it('is nearly twice an equal share where there are many servers', () => {
    assert.ok(lostShare(16) < 2 / 16);
    assert.ok(lostShare(100) > 1.9 / 100);
  });
});

describe('middleOf', () => {
  it('is the median over all slices', () => {
    assert.equal(middleOf([[5, 1], [3, 9], [4, 2]]), 3.5);
    assert.equal(middleOf([[5, 1, 3]]), 3);
    assert.throws(() => middleOf([]), /Nothing was measured/);
  });
});
