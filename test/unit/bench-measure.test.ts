import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { notFresh, numberOf, parseStats } from '../bench/memcached-stats.js';
import { measure, mostRepeats, operationsOf, percentile99, ratioOf, Refused, relativeRatio, tooWide, type Case, type LeftOut, type Measured } from '../bench/measure.js';
import { linesOf, refusalOf } from '../bench/report.js';

const measuredAs = (name: string, time: readonly (readonly number[])[], rest: Partial<Measured['quantities']> = {}): Measured => ({
  name,
  inFlight: 1,
  quantities: { time, cpu: time, p99: time, ...rest },
});

/** Rounds of one turn. */
const rounds = (...values: number[]): number[][] => values.map((value) => [value]);

describe('ratios of the benchmark', () => {
  it('compare turn with turn, and take the median of each round and then of all', () => {
    const slow = measuredAs('slow', [[10, 20, 90], [30, 30, 30], [8, 8, 8]]);
    const fast = measuredAs('fast', [[5, 10, 10], [10, 10, 10], [8, 4, 8]]);
    const ratio = ratioOf(slow, fast);
    assert.equal(ratio.median, 2);
    assert.equal(ratio.lowest, 1);
    assert.equal(ratio.highest, 3);
  });

  it('are those of the quantity that is asked for', () => {
    const a = measuredAs('a', rounds(10, 10), { cpu: rounds(2, 2), p99: rounds(70, 70) });
    const b = measuredAs('b', rounds(10, 10), { cpu: rounds(8, 8), p99: rounds(10, 10) });
    assert.equal(ratioOf(a, b).median, 1);
    assert.equal(ratioOf(a, b, 'cpu').median, 0.25);
    assert.equal(ratioOf(a, b, 'p99').median, 7);
  });

  it('have a spread: the range, and quartiles that are rounds', () => {
    const one = measuredAs('one', rounds(1, 1, 1, 1, 1));
    const { lowest, lowerQuartile, median, upperQuartile, highest } = ratioOf(measuredAs('many', rounds(5, 1, 4, 2, 3)), one);
    assert.deepEqual([lowest, lowerQuartile, median, upperQuartile, highest], [1, 2, 3, 4, 5]);
  });

  it('can be relative to another ratio, turn by turn', () => {
    const [large, small] = [measuredAs('large', [[30, 12], [9, 8]]), measuredAs('small', [[10, 10], [3, 4]])];
    const [rawLarge, rawSmall] = [measuredAs('raw large', [[20, 6], [6, 4]]), measuredAs('raw small', [[10, 10], [4, 8]])];
    // 3 and 1.2 against 2 and 0.6; then 3 and 2 against 1.5 and 0.5.
    const ratio = relativeRatio([large, small], [rawLarge, rawSmall]);
    assert.deepEqual([ratio.lowest.toFixed(6), ratio.highest.toFixed(6)], ['1.750000', '3.000000']);
    const comparison = { name: 'flat', of: ['large', 'small'], relativeTo: ['raw large', 'raw small'], says: 'times the time', aim: { most: 2 } } as const;
    const [line] = linesOf([comparison], [large, small, rawLarge, rawSmall], []);
    assert.deepEqual(line?.spread, [ratio.lowest, ratio.highest]);
    assert.deepEqual(linesOf([comparison], [large, small, rawLarge], []), [], 'not without all four');
  });

  it('know their 99th percentile', () => {
    assert.equal(percentile99(Array.from({ length: 100 }, (_, i) => 100 - i)), 99);
    assert.equal(percentile99(Array.from({ length: 200 }, (_, i) => i + 1)), 198);
    assert.equal(percentile99([7]), 7);
  });
});

describe('a ratio that says nothing', () => {
  const one = measuredAs('one', rounds(1, 1, 1, 1, 1));
  const wide = measuredAs('wide', rounds(1, 1, 2, 3, 3));
  const narrow = measuredAs('narrow', rounds(1, 1.9, 2, 2.1, 9));
  const comparison = { name: 'wide against one', of: ['wide', 'one'], says: 'times the time', aim: { most: 100 } } as const;

  it('is one whose middle rounds lie far apart, whatever its outliers', () => {
    assert.equal(tooWide(ratioOf(wide, one)), true);
    assert.equal(tooWide(ratioOf(narrow, one)), false);
  });

  it('is one that is no number', () => {
    assert.equal(tooWide(ratioOf(measuredAs('none', rounds(0, 0)), measuredAs('none', rounds(0, 0)))), true);
  });

  it('is not printed, meets no aim, and says why', () => {
    assert.equal(refusalOf(ratioOf(narrow, one)), undefined);
    assert.match(refusalOf(ratioOf(wide, one)) ?? '', /between 1\.00 and 3\.00/);
    const [line] = linesOf([comparison], [wide, one], []);
    assert.equal(line?.ratio, undefined);
    assert.equal(line?.met, undefined);
    assert.match(line?.refused ?? '', /middle half/);
  });

  it('leaves the others as they are', () => {
    const [line] = linesOf([{ ...comparison, of: ['narrow', 'one'] }], [narrow, one], []);
    assert.equal(line?.ratio?.median, 2);
    assert.equal(line.met, true);
    assert.equal('refused' in line, false);
  });
});

describe('measuring', () => {
  const plan = { rounds: 2, turns: 2, warmUp: 1 };
  const caseOf = (more: Partial<Case>): Case => ({ name: 'some competitor', operations: 3, run: (at) => at, check: () => {}, ...more });

  it('has every quantity of every turn', async () => {
    const [measured] = await measure([caseOf({ inFlight: 2, run: async (at) => at })], plan);
    for (const turns of Object.values(measured!.quantities)) {
      assert.deepEqual(turns.map(({ length }) => length), [2, 2]);
      assert.ok(turns.flat().every((value) => value >= 0));
    }
  });

  it('measures slow cases less often', async () => {
    let slices = 0;
    const prepare = async (): Promise<void> => {
      slices += 1;
    };
    await measure([caseOf({ pace: 'every second turn', prepare })], { rounds: 2, turns: 8, warmUp: 0 });
    assert.equal(slices, 8);
  });

  it('numbers the operations through', async () => {
    const seen: number[] = [];
    await measure([caseOf({ run: (at) => seen.push(at) })], plan);
    assert.deepEqual(seen, Array.from({ length: 18 }, (_, at) => at));
  });

  it('ends at a wrong answer, naming who gave it', async () => {
    const check = (answer: unknown, at: number): void => {
      assert.ok(at !== 4, `a wrong answer for row ${String(answer)}`);
    };
    await assert.rejects(measure([caseOf({}), caseOf({ name: 'liar', check })], plan), (error: unknown) => {
      assert.ok(error instanceof Refused);
      assert.match(error.message, /'liar'.*a wrong answer for row 4/);
      return true;
    });
  });

  const disturbed = (times: number): (() => void) => {
    let left = times;
    return () => {
      left -= 1;
      if (left >= 0) throw new Error('a warm run sent SQL');
    };
  };

  it('repeats a slice that did what it must not, with operations of its own', async () => {
    const seen: number[] = [];
    const [quiet] = await measure([caseOf({})], plan);
    const [measured] = await measure([caseOf({ after: disturbed(mostRepeats), run: (at) => seen.push(at) })], plan, ({ name }) => assert.fail(name));
    assert.equal(measured?.quantities.time.flat().length, quiet?.quantities.time.flat().length);
    assert.equal(new Set(seen).size, seen.length);
    assert.ok(Math.max(...seen) < operationsOf(plan, caseOf({}).operations));
  });

  it('leaves out a case that is disturbed again and again, says so, and measures the others', async () => {
    const leftOut: LeftOut[] = [];
    const cases = [caseOf({}), caseOf({ name: 'disturbed', after: disturbed(mostRepeats + 1) })];
    const measured = await measure(cases, plan, (one) => leftOut.push(one));
    assert.deepEqual(measured.map(({ name }) => name), ['some competitor']);
    assert.deepEqual(leftOut.map(({ name }) => name), ['disturbed']);
    assert.match(leftOut[0]?.reason ?? '', /'disturbed'.*a warm run sent SQL/);
    const comparison = { name: 'a line', of: ['disturbed', 'some competitor'], says: 'times the time' } as const;
    assert.deepEqual(linesOf([comparison], measured, []), []);
  });

  it('ends at a case that is disturbed too often where nobody is told', async () => {
    await assert.rejects(measure([caseOf({ after: disturbed(Infinity) })], plan), /'some competitor'.*a warm run sent SQL/);
  });

  it('does not repeat a wrong answer', async () => {
    let runs = 0;
    const run = (at: number): number => {
      runs += 1;
      return at;
    };
    const check = (): void => assert.fail('wrong');
    await assert.rejects(measure([caseOf({ run, check })], plan, () => assert.fail('left out')), Refused);
    assert.equal(runs, caseOf({}).operations);
  });

  it('ends at an operation that fails, with its error', async () => {
    const run = (): Promise<never> => Promise.reject(new Error('connection lost'));
    await assert.rejects(measure([caseOf({ run })], plan), (error: unknown) => {
      assert.ok(error instanceof Error && !(error instanceof Refused));
      assert.match(error.message, /'some competitor' failed/);
      assert.match(String(error.cause), /connection lost/);
      return true;
    });
  });
});

describe('a memcached server', () => {
  const statsOf = (items: number, writes: number) =>
    parseStats(`STAT version 1.6.18\r\nSTAT curr_items ${String(items)}\r\nSTAT cmd_set ${String(writes)}\r\nEND\r\n`);

  it('is fresh as long as nothing was stored', () => {
    assert.equal(notFresh('127.0.0.1:11211', statsOf(0, 0)), undefined);
  });

  it('is not fresh while it holds something, or once it did', () => {
    assert.match(notFresh('127.0.0.1:11211', statsOf(3, 3)) ?? '', /127\.0\.0\.1:11211 is not fresh: it holds 3 items/);
    assert.match(notFresh('127.0.0.1:11211', statsOf(0, 7)) ?? '', /has stored 7/);
  });

  it('is not taken for fresh if it does not say', () => {
    assert.throws(() => notFresh('127.0.0.1:11211', parseStats('END\r\n')), /no statistic 'curr_items'/);
  });
});

describe('statistics of memcached', () => {
  const stats = parseStats('STAT version 1.6.18\r\nSTAT curr_items 12\r\nSTAT rusage_user 0.250000\r\nEND\r\n');

  it('are the numbers of STAT lines', () => {
    assert.equal(numberOf(stats, 'curr_items'), 12);
    assert.equal(numberOf(stats, 'rusage_user'), 0.25);
  });

  it('are there, and are numbers; but for a counter of commands that an older memcached does not know', () => {
    assert.throws(() => numberOf(stats, 'evictions'), /no statistic 'evictions'/);
    assert.throws(() => numberOf(stats, 'version'), /'version' is no number: '1\.6\.18'/);
    assert.equal(numberOf(stats, 'cmd_meta'), 0);
  });
});
