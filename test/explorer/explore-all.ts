/** Registers a test for each of some scenarios, and one that says how much they were together. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { explore, told, type Report } from './explore.js';
import { ModelStore } from './model-store.js';
import { builtSources, pluginFrom } from './plugin.js';
import { drawRecognisably } from './texts.js';
import { Forest, World, type Scenario } from './world.js';

const large = process.env.SEQUELIZE_FLASH_EXPLORE === 'large';
const mostStates = Number(process.env.SEQUELIZE_FLASH_EXPLORE_STATES ?? 3_000_000);

const shown = ({ scenario, states, transitions, ends, exhaustive, milliseconds }: Report): string =>
  `${scenario.name}: ${states} states, ${transitions} transitions, ${ends.size} ends, ` +
  `${exhaustive ? 'exhaustive' : 'NOT exhaustive'}, ${(milliseconds / 1000).toFixed(1)} s`;

/** @param larger explored too where SEQUELIZE_FLASH_EXPLORE=large; these may be bounded */
export function exploreAll(title: string, scenarios: readonly Scenario[], larger: readonly Scenario[]): void {
  describe(title, () => {
    let store: ModelStore;
    let draw: () => void;
    before(async () => {
      draw = drawRecognisably();
      store = await ModelStore.learn();
    });
    after(() => {
      draw();
    });

    let total = { states: 0, transitions: 0 };
    for (const scenario of [...scenarios, ...(large ? larger : [])]) {
      it(scenario.name, { timeout: large ? 3_600_000 : 280_000 }, async (t) => {
        const report = await explore(new World(scenario, new Forest(pluginFrom(builtSources)), store), mostStates);
        t.diagnostic(shown(report));
        total = { states: total.states + report.states, transitions: total.transitions + report.transitions };
        assert.equal(report.violation, undefined, told(report));
        assert.ok(report.exhaustive || larger.includes(scenario), 'what is explored by default is explored exhaustively');
        assert.ok(report.ends.size > 0);
      });
    }

    it('says how much that was', (t) => {
      t.diagnostic(`in total: ${total.states} states, ${total.transitions} transitions`);
      assert.ok(total.states > 10_000);
    });
  });
}
