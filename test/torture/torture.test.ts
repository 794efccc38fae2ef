/**
 * A short run of the torture, and runs with a cache that is broken on purpose: they have to show it.
 *
 *   SEED=… npm test -- torture/torture            the same plans again, if not the same interleaving
 *   npm run torture -- --seconds 600 --seed 1     for longer
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { seed } from '../support/seed.js';
import { torture, type Report } from './run.js';

const chosenSeed = seed();

describe('torture', () => {
  it('shows nothing stale, nothing uncommitted and nothing wrong', async (t) => {
    t.diagnostic(`SEED=${chosenSeed}`);
    const said: string[] = [];
    const report = await torture({ seconds: 12, seed: chosenSeed, workers: 3, readsPerSecond: 2000, say: (line) => said.push(line) });
    t.diagnostic(JSON.stringify(report));
    assert.ok(report.ok, `SEED=${chosenSeed}\n${said.join('\n')}\n${JSON.stringify(report)}`);
  });

  for (const sabotage of ['lost-writes', 'old-answers'] as const) {
    it(`notices a cache that is broken: ${sabotage}`, async (t) => {
      t.diagnostic(`SEED=${chosenSeed}`);
      const report = await torture({ seconds: 4, seed: chosenSeed, workers: 2, faults: false, writesPerSecond: 80, sabotage });
      t.diagnostic(JSON.stringify(report));
      assert.ok(report.staleAfterAck > 0, JSON.stringify(report));
      assert.equal(report.ok, false);
    });
  }

  // Each row by itself is right then. A list that is torn has to be looked at while two of its rows are
  // written and read again by others: how often that happens depends on the machine, so a run may have to be repeated.
  for (const [sabotage, kind, rates] of [
    ['lost-lists', 'staleAfterAck', { writesPerSecond: 80 }],
    ['torn-lists', 'tornLists', { readsPerSecond: 8000, writesPerSecond: 40 }],
  ] as const) {
    it(`notices a cache whose lists are broken by what it knows of lists alone: ${sabotage}`, async (t) => {
      t.diagnostic(`SEED=${chosenSeed}`);
      const reports: Report[] = [];
      while (reports.length < 20 && !reports.some((report) => report[kind] > 0)) {
        const report = await torture({ seconds: 8, seed: chosenSeed + reports.length, workers: 3, faults: false, sabotage, ...rates });
        t.diagnostic(JSON.stringify(report));
        reports.push(report);
        assert.equal(report.ofOneRow, 0, JSON.stringify(report));
      }
      assert.ok((reports.at(-1)?.[kind] ?? 0) > 0, JSON.stringify(reports));
      assert.equal(reports.at(-1)?.ok, false);
    });
  }
});
