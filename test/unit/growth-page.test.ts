import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { betweenMarkers, chartsOf, markdown, type GrowthResult } from '../bench/growth/page.js';
import { growthOf, type LongRun } from '../bench/growth/processes.js';
import { svgOf, ticksTo, type Chart } from '../bench/growth/svg.js';

const chart: Chart = {
  title: 'Time of a get',
  x: 'rows in the cache',
  y: 'times the first point',
  lines: [
    {
      name: 'by id',
      points: [
        [1000, 1],
        [10_000, 1.5],
        [1_000_000, 2],
      ],
    },
    { name: 'by name', points: [[1000, 0.5]] },
  ],
};

/** The points of the lines, as they are drawn. */
const drawn = (svg: string): number[][][] =>
  Array.from(svg.matchAll(/<polyline [^>]*points="([^"]*)"/g), ([, points = '']) => points.split(' ').map((pair) => pair.split(',').map(Number)));

describe('svgOf', () => {
  it('draws x by its logarithm, and y from 0 upwards', () => {
    const [line = [], other = []] = drawn(svgOf(chart));
    assert.equal(line.length, 3);
    const [[x1 = 0, y1 = 0] = [], [x2 = 0, y2 = 0] = [], [x3 = 0, y3 = 0] = []] = line;
    // One power of ten, then two.
    assert.ok(Math.abs((x3 - x2) / (x2 - x1) - 2) < 0.01, `${String(x1)} ${String(x2)} ${String(x3)}`);
    assert.ok(Math.abs((y1 - y2) - (y2 - y3)) < 0.2, `${String(y1)} ${String(y2)} ${String(y3)}`);
    assert.ok((other[0]?.[1] ?? 0) > y1, 'less is lower');
  });

  it('names the chart, its axes, its ticks and its lines', () => {
    const svg = svgOf(chart);
    assert.match(svg, /^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg" /);
    for (const text of ['Time of a get', 'rows in the cache', 'times the first point', 'by id', 'by name', '1,000', '1,000,000', '1.5']) {
      assert.ok(svg.includes(`>${text}</text>`), text);
    }
  });

  it('gives the same text for the same chart', () => {
    assert.equal(svgOf(chart), svgOf(chart));
  });

  it('escapes what is markup', () => {
    const svg = svgOf({ ...chart, title: 'a < b & "c"' });
    assert.ok(svg.includes('<title>a &#60; b &#38; &#34;c&#34;</title>'));
  });

  it('draws a single point in the middle', () => {
    const [[[x = 0] = []] = []] = drawn(svgOf({ ...chart, lines: [{ name: 'one', points: [[4, 1]] }] }));
    assert.ok(x > 250 && x < 400, String(x));
  });

  it('refuses what cannot be drawn', () => {
    assert.throws(() => svgOf({ ...chart, lines: [] }), /has no points/);
    for (const point of [[0, 1], [-1, 1], [1, NaN], [Infinity, 1]] as const) {
      assert.throws(() => svgOf({ ...chart, lines: [{ name: 'one', points: [point] }] }), /cannot be drawn/, String(point));
    }
  });
});

describe('ticksTo', () => {
  it('goes in round steps from 0 to the highest value, or just beyond it', () => {
    assert.deepEqual(ticksTo(1), [0, 0.2, 0.4, 0.6, 0.8, 1]);
    assert.deepEqual(ticksTo(1.07), [0, 0.5, 1, 1.5]);
    assert.deepEqual(ticksTo(48.2), [0, 10, 20, 30, 40, 50]);
    assert.deepEqual(ticksTo(0), [0, 1]);
    for (const highest of [0.003, 0.7, 2, 3.3, 9.99, 10, 51, 12_345]) {
      const ticks = ticksTo(highest);
      assert.ok(ticks.length >= 2 && ticks.length <= 7 && ticks.at(-1)! >= highest * (1 - 1e-9), `${String(highest)}: ${ticks.join(' ')}`);
    }
  });
});

describe('betweenMarkers', () => {
  it('replaces what is between them, and nothing else', () => {
    const page = '# Growth\n\n<!-- growth -->\nold\n<!-- /growth -->\n\nProse.\n';
    const once = betweenMarkers(page, 'new');
    assert.equal(once, '# Growth\n\n<!-- growth -->\nnew\n<!-- /growth -->\n\nProse.\n');
    assert.equal(betweenMarkers(once, 'new'), once);
    // Not taken for a replacement pattern.
    assert.ok(betweenMarkers(page, 'cost $& $1').includes('cost $& $1'));
  });

  it('refuses a page without them', () => {
    for (const page of ['', '<!-- growth -->', '<!-- /growth --> <!-- growth -->', '<!-- growth --><!-- growth --><!-- /growth -->']) {
      assert.throws(() => betweenMarkers(page, 'new'), /once and in this order/, page);
    }
  });
});

/** A process whose heap was so large, in MB, after so many million lookups. */
const longRun = (...megabytes: readonly (readonly [millions: number, size: number])[]): LongRun => ({
  rows: 100_000,
  after: megabytes.map(([millions, size]) => ({ lookups: millions * 1e6, bytes: size * 1e6 })),
  seconds: 120,
});

describe('the heap over ten million lookups', () => {
  it('has grown by what it is larger than after two million, whatever came before and between', () => {
    const growth = growthOf(longRun([0.1, 20], [2, 50], [6, 90], [10, 50.5]));
    assert.equal(growth?.bytes, 500_000);
    assert.equal(growth.share, 0.01);
    assert.equal(growth.met, true);
  });

  it('is not to grow by a megabyte, nor by a twentieth', () => {
    assert.equal(growthOf(longRun([2, 50], [10, 51]))?.met, false);
    assert.equal(growthOf(longRun([2, 10], [10, 10.6]))?.met, false);
    assert.equal(growthOf(longRun([2, 10], [10, 10.4]))?.met, true);
    assert.equal(growthOf(longRun([2, 50], [10, 40]))?.met, true);
  });

  it('is not judged where there were fewer lookups', () => {
    assert.equal(growthOf(longRun([0.1, 20], [2, 50])), undefined);
  });
});

describe('a page of one part', () => {
  const result = (longRuns: readonly LongRun[]): GrowthResult => ({
    date: '2026-01-01',
    command: "npm run growth -- --only 'long run'",
    machine: { cpu: 'a processor', cores: 2, node: 'v20', platform: 'linux', database: 'MariaDB', flushLogAtCommit: '1', memcached: '1.6' },
    rounds: 15,
    minutes: 3,
    curves: [],
    counts: [],
    weights: [],
    together: [],
    connections: [],
    heaps: [],
    longRuns,
    lost: undefined,
  });

  it('says by how much the heap grew, and whether that is nothing', () => {
    const page = markdown(result([longRun([2, 50], [10, 50.25]), { ...longRun([2, 40], [10, 48]), rows: 1000 }]), []);
    assert.match(page, /\| lookups \| 100,000 rows, 120 s \| 1,000 rows, 120 s \|/);
    assert.match(page, /\| 10,000,000 \| 50\.25 \| 48\.00 \|/);
    assert.match(page, /\| growth from 2,000,000 to 10,000,000; aim: less than 1\.0 MB and 5 % \| 0\.25 MB, 0\.5 %: met \| 8\.00 MB, 20\.0 %: NOT MET \|/);
  });

  it('has no other tables and no charts', () => {
    assert.equal(Array.from(markdown(result([longRun([0.1, 20])]), []).matchAll(/^\|---/gm)).length, 1);
    assert.deepEqual(chartsOf(result([longRun([0.1, 20])])), []);
  });
});
