/** The generator of the surroundings suite: it replays by seed, covers pairs of choices, and its lines can be read back. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { axisNames, cellOf, defaults, groupAxes, lineOf, valid, type Stack } from '../surroundings/axes.js';
import { textOf } from '../surroundings/canonical.js';
import { Cells, cellsOf, type Group } from '../surroundings/cells.js';
import { writes } from '../surroundings/writes.js';

const stacks: readonly Stack[] = ['mysql', 'mariadb', 'sqlite'];
const names = Object.keys(writes);

const drawn = (seed: number, stack: Stack, groups: number): Group[] => {
  const cells = new Cells(seed, stack, names);
  return Array.from({ length: groups }, () => cells.next());
};

describe('cells', () => {
  it('are the same for the same seed, and others for another', () => {
    assert.deepEqual(drawn(7, 'mysql', 5), drawn(7, 'mysql', 5));
    assert.notDeepEqual(drawn(7, 'mysql', 5), drawn(8, 'mysql', 5));
  });

  for (const stack of stacks) {
    it(`have every value and every write path that ${stack} allows, in the share of .ci/run`, () => {
      const groups = drawn(1, stack, 40);
      const seen = new Set(groups.flatMap(({ surroundings }) => axisNames.map((name) => `${name}=${surroundings[name]}`)));
      const missing = axisNames.flatMap((name) =>
        groupAxes[name].filter((value) => !seen.has(`${name}=${value}`) && valid(stack, { ...defaults, [name]: value })[name] === value).map((value) => `${name}=${value}`),
      );
      // What is valid only beside other choices need not be drawn in so few groups.
      assert.deepEqual(missing, []);
      assert.deepEqual([...new Set(groups.flatMap((group) => group.writes))].sort(), [...names].sort());
    });
  }

  it('prefer pairs of choices that did not meet yet', () => {
    const met = (groups: number): number => {
      const cells = new Cells(3, 'mysql', names);
      for (let group = 0; group < groups; group += 1) cells.next();
      return cells.pairs;
    };
    const [few, many] = [met(10), met(60)];
    assert.ok(many > 1.5 * few, `${few} pairs, then ${many}`);
  });

  it('are written as one line that reads back', () => {
    for (const group of drawn(11, 'mariadb', 10)) {
      for (const cell of cellsOf(group)) assert.deepEqual(cellOf(lineOf(cell)), cell);
    }
    assert.equal(lineOf({ stack: 'mysql', surroundings: defaults, write: 'create' }), '{"stack":"mysql","write":"create"}');
  });

  it('cannot be read with a misspelt axis, value or stack', () => {
    assert.throws(() => cellOf('{"stack":"oracle","write":"create"}'), /no stack 'oracle'/);
    assert.throws(() => cellOf('{"stack":"mysql","write":"create","pool":"3"}'), /no pool '3'/);
    assert.throws(() => cellOf('{"stack":"mysql","write":"create","size":"3"}'), /no size '3'/);
    assert.throws(() => cellOf('{"stack":"mysql"}'), /no write path/);
  });
});

describe('canonical answers', () => {
  it('tell apart what a program can tell apart', () => {
    const different: readonly unknown[] = [null, 0, '0', false, true, 1, '1', 1n, new Date(0), new Date(0).toISOString(), Buffer.from('1'), [], [null], {}, { a: null }];
    assert.equal(new Set(different.map((one) => textOf(one))).size, different.length);
  });

  it('do not depend on the order of names, nor on when a row was written if that is left out', () => {
    assert.equal(textOf({ a: 1, b: 2 }), textOf({ b: 2, a: 1 }));
    const at = (time: Date | null): string => textOf({ id: 1, updatedAt: time }, { withoutTimes: true });
    assert.equal(at(new Date(0)), at(new Date(1)));
    assert.notEqual(at(new Date(0)), at(null));
  });
});
