/**
 * A short run of the torture, and runs with a cache that is broken on purpose: they have to show it.
 *
 *   SEED=… npm test -- torture/torture            the same plans again, if not the same interleaving
 *   TORTURE_SECONDS=60 npm test -- torture/torture
 *   npm run torture -- --seconds 600 --seed 1     for longer
 */
import assert from 'node:assert/strict';
import { describe, it, type TestContext } from 'node:test';
import { seed } from '../support/seed.js';
import { torture, type Report, type TortureOptions } from './run.js';
import type { Sabotage } from './sabotage.js';

const chosenSeed = seed();
const seconds = Number(process.env.TORTURE_SECONDS ?? 12);

describe('torture', () => {
  it('shows nothing stale, nothing uncommitted and nothing wrong', async (t) => {
    t.diagnostic(`SEED=${chosenSeed}`);
    const said: string[] = [];
    const report = await torture({ seconds, seed: chosenSeed, workers: 3, readsPerSecond: 2000, say: (line) => said.push(line) });
    t.diagnostic(JSON.stringify(report));
    assert.ok(report.ok, `SEED=${chosenSeed}\n${said.join('\n')}\n${JSON.stringify(report)}`);
  });

  // How much is read and written, and what meets what, depends on the machine: a run may have to be repeated.
  const notices = async (t: TestContext, sabotage: Sabotage, kind: 'staleAfterAck' | 'tornLists', options: Pick<TortureOptions, 'workers' | 'readsPerSecond' | 'writesPerSecond'> & { readonly seconds: number }): Promise<Report> => {
    t.diagnostic(`SEED=${chosenSeed}`);
    for (let run = 0; ; run += 1) {
      const report = await torture({ ...options, seed: chosenSeed + run, faults: false, sabotage });
      t.diagnostic(JSON.stringify(report));
      if (report[kind] === 0 && run < 20) continue;
      assert.ok(report[kind] > 0, `SEED=${String(chosenSeed)}: not noticed in ${String(run + 1)} runs`);
      assert.equal(report.ok, false);
      return report;
    }
  };

  for (const sabotage of ['lost-writes', 'old-answers'] as const) {
    it(`notices a cache that is broken: ${sabotage}`, async (t) => {
      await notices(t, sabotage, 'staleAfterAck', { seconds: 4, workers: 2, writesPerSecond: 80 });
    });
  }

  // Each row by itself is right then. A list that is torn has to be looked at while two of its rows are
  // written and read again by others.
  for (const [sabotage, kind, rates] of [
    ['lost-lists', 'staleAfterAck', { writesPerSecond: 80 }],
    ['torn-lists', 'tornLists', { readsPerSecond: 8000, writesPerSecond: 40 }],
  ] as const) {
    it(`notices a cache whose lists are broken by what it knows of lists alone: ${sabotage}`, async (t) => {
      const report = await notices(t, sabotage, kind, { seconds: 8, workers: 3, ...rates });
      assert.equal(report.ofOneRow, 0, JSON.stringify(report));
    });
  }
});
