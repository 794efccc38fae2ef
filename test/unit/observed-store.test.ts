import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { MemoryStore } from '../../src/stores/memory.js';
import { holdFirst, ObservedStore } from '../support/observed-store.js';

const far = (): ObservedStore => {
  const store = new ObservedStore(new MemoryStore());
  store.moveAway();
  return store;
};

describe('rounds of an observed store', () => {
  it('are one for what is started together, however late', async () => {
    const store = far();
    const after = async (waits: number, key: string): Promise<void> => {
      for (let at = 0; at < waits; at += 1) await Promise.resolve();
      await store.add(key, 'x', 60);
    };
    await Promise.all([after(0, 'a'), after(1, 'b'), after(9, 'c')]);
    assert.equal(store.rounds, 1);
    assert.equal(store.count('add'), 3);
  });

  it('are as many as wait for one another', async () => {
    const store = far();
    const chain = async (key: string): Promise<void> => {
      await store.add(key, 'x', 60);
      await store.get([key]);
      await store.delete(key);
    };
    await Promise.all([chain('a'), chain('b')]);
    assert.equal(store.rounds, 3);
    await chain('a');
    assert.equal(store.rounds, 6);
  });

  it('are more when two that were sent together are sent one after the other', async () => {
    const store = far();
    const store2 = far();
    await Promise.all([store.add('list', 'x', 60), store.add('row', 'x', 60)]);
    await store2.add('list', 'x', 60);
    await store2.add('row', 'x', 60);
    assert.deepEqual([store.rounds, store2.rounds], [1, 2]);
  });

  it('do not depend on the turn of the event loop in which something is sent', async () => {
    const store = far();
    const held = holdFirst(store, (operation) => operation === 'add');
    const first = store.add('a', 'x', 60);
    await held.reached;
    // Not answered yet, so this cannot have waited for it.
    for (let turns = 0; turns < 3; turns += 1) await new Promise(setImmediate);
    const second = store.get(['b']);
    held.release();
    await Promise.all([first, second]);
    assert.equal(store.rounds, 1);
    assert.equal(store.roundTrips, 2);
  });

  it('begin anew with reset(), without what was under way', async () => {
    const store = far();
    await store.get(['a']);
    const late = store.get(['a']);
    store.reset();
    assert.equal(store.rounds, 0);
    await late;
    await store.get(['a']);
    assert.equal(store.rounds, 1);
  });
});
