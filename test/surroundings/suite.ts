/**
 * Registers the comparison of one stack.
 *
 *   SURROUNDINGS_CELLS=12000 npm test -- surroundings       more cells, over all stacks
 *   SEED=… npm test -- surroundings                         the same cells again
 *   SURROUNDINGS_CELL='…' npm test -- surroundings          one cell, as a failure printed it
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { seed } from '../support/seed.js';
import { cellOf, lineOf, type Stack } from './axes.js';
import { compareCell, compareCells, openLab, type Failure } from './run.js';

const cells = Number(process.env.SURROUNDINGS_CELLS ?? 2000);
const given = process.env.SURROUNDINGS_CELL;
const chosenSeed = seed();

/** @param share how much of all cells this stack gets */
export function compareOn(stack: Stack, share: number): void {
  describe(`surroundings on ${stack}`, () => {
    let lab: Awaited<ReturnType<typeof openLab>>;
    before(async () => {
      lab = await openLab(stack);
    });
    after(() => lab.close());

    it('with the plugin everything is as with plain Sequelize', async (t) => {
      if (given !== undefined) {
        const cell = cellOf(given);
        const failure = cell.stack === stack ? await compareCell(lab, cell) : undefined;
        assert.equal(failure?.message, undefined);
        return;
      }
      const least = Math.ceil(cells * share);
      const began = performance.now();
      const { cells: compared, groups, pairs, nothingToCompare, failures } = await compareCells(lab, stack, chosenSeed, least);
      t.diagnostic(
        `SEED=${chosenSeed}: ${compared} cells in ${groups} groups, ${pairs} pairs of choices, ` +
          `${nothingToCompare.length} groups in which plain Sequelize does not work; ${Math.round((performance.now() - began) / 1000)} s`,
      );
      assert.equal(failures.length, 0, `SEED=${chosenSeed}\n${failures.map(told).join('\n\n')}`);
      assert.ok(nothingToCompare.length <= groups * 0.02, nothingToCompare.join('\n'));
      assert.ok(compared >= least);
    });
  });
}

const told = ({ cell, message }: Failure): string => `SURROUNDINGS_CELL='${lineOf(cell)}'\n${message}`;
