/** An explorer that finds nothing proves nothing: broken on purpose, the protocol has to be found broken. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { breaks, broken } from './breaks.js';
import { explore, told } from './explore.js';
import { ModelStore } from './model-store.js';
import { drawRecognisably } from './texts.js';
import { Forest, World } from './world.js';

describe('the explorer finds the protocol broken', () => {
  let store: ModelStore;
  let draw: () => void;
  before(async () => {
    draw = drawRecognisably();
    store = await ModelStore.learn();
  });
  after(() => {
    draw();
  });

  for (const one of breaks) {
    it(one.name, async (t) => {
      const { plugin, remove } = broken(one);
      try {
        // Nothing left out: what is found is a run of the real code as it is.
        const world = new World({ ...one.scenario, name: one.name }, new Forest(plugin, false), store);
        const report = await explore(world, 1_000_000, false);
        t.diagnostic(`${one.name}: ${told(report)}`);
        assert.ok(report.violation !== undefined, 'it was not found');
        assert.ok(one.promises.includes(report.violation.promise), told(report));
      } finally {
        remove();
      }
    });
  }
});
