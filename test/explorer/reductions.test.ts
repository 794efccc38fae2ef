/**
 * What the explorer leaves out is only as good as the argument for it. So it is held against
 * explorations without any reduction: the sets of states in which runs end have to be the same.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { explore, told } from './explore.js';
import { ModelStore } from './model-store.js';
import { builtSources, pluginFrom } from './plugin.js';
import { drawRecognisably } from './texts.js';
import { Forest, World, type Scenario } from './world.js';

describe('what the explorer leaves out makes no difference', () => {
  const everyFault = ['crash', 'eviction', 'lost reply', 'pause'] as const;
  const samples: readonly Omit<Scenario, 'name'>[] = [
    { before: ['read a'], processes: [[['rename 1 to b']], [['read a']]], inOrder: true, faults: everyFault },
    { before: ['read a'], processes: [[['rename 1 to b']], [['read b']]], inOrder: true, faults: ['crash', 'eviction'] },
    { processes: [[['save 1']], [['read 1']]], inOrder: true, faults: everyFault },
    { before: ['read 1'], processes: [[['save 1']], [['read 1']]], inOrder: false, faults: ['crash'] },
    { before: ['read 1'], processes: [[['save 1']], [['save 1']], [['read 1']]], inOrder: true, faults: ['crash'] },
    { before: ['read 1'], processes: [[['transaction: save 1']], [['rolled back: save 1']], [['read 1']]], inOrder: true, faults: ['crash'] },
    { before: ['read 1'], processes: [[['transaction: save 1, read 1']], [['rolled back: save 1, read 1']]], inOrder: true, faults: everyFault },
    { before: ['read 1'], processes: [[['destroy 1', 'insert 1']], [['read 1']]], inOrder: true, faults: ['crash'] },
    { before: ['read a'], processes: [[['rename 1 to b']], [['read a', 'read a']]], inOrder: true, faults: ['crash'] },
    { before: ['read a'], processes: [[['save 1', 'read 1']], [['read a']]], inOrder: true, faults: ['lost reply'] },
  ];
  let store: ModelStore;
  let draw: () => void;
  before(async () => {
    draw = drawRecognisably();
    store = await ModelStore.learn();
  });
  after(() => {
    draw();
  });

  for (const sample of samples) {
    const name = `${sample.processes.map(String).join(' / ')}${sample.inOrder ? '' : ', no order'}`;
    it(name, async (t) => {
      const scenario = { ...sample, name };
      const plain = new Forest(pluginFrom(builtSources), false);
      const full = await explore(new World(scenario, plain, store), 1_000_000, false);
      const reduced = await explore(new World(scenario, new Forest(pluginFrom(builtSources), true, plain), store), 1_000_000);
      t.diagnostic(`${full.states} states in full, ${reduced.states} reduced, ${full.ends.size} ends`);
      for (const report of [full, reduced]) {
        assert.equal(report.violation, undefined, told(report));
        assert.ok(report.exhaustive);
      }
      assert.deepEqual([...reduced.ends].sort(), [...full.ends].sort());
    });
  }
});
