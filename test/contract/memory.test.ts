import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { InvalidOptionError, StoreProtocolError } from '../../src/errors.js';
import { MemoryStore } from '../../src/stores/memory.js';
import { storeContract } from '../../src/testing/store-contract.js';

storeContract('memory', () => {
  let time = 0;
  const store = new MemoryStore({ now: () => time });
  return Promise.resolve({
    store,
    advance: (milliseconds) => {
      time += milliseconds;
      return Promise.resolve();
    },
    flush: () => {
      store.flush();
      return Promise.resolve();
    },
  });
});

storeContract('memory, bounded in bytes', () =>
  Promise.resolve({ store: new MemoryStore({ maxBytes: 8_000_000, maxValueBytes: 1_000_000 }) }),
);

describe('MemoryStore', () => {
  it('ends a lifetime at its last millisecond', async () => {
    let time = 0;
    const store = new MemoryStore({ now: () => time });
    await store.add('key', 'value', 1);
    time = 999;
    assert.equal((await store.get(['key'])).items.size, 1);
    time = 1000;
    assert.equal((await store.get(['key'])).items.size, 0);
  });

  it('keeps the values that were used last when there are too many', async () => {
    const store = new MemoryStore({ maxEntries: 2 });
    await store.add('a', '1', 0);
    await store.add('b', '2', 0);
    await store.get(['a']);
    await store.add('c', '3', 0);
    assert.deepEqual([...(await store.get(['a', 'b', 'c'])).items.keys()], ['a', 'c']);
  });

  it('keeps the values that were used last when they are too large together', async () => {
    const store = new MemoryStore({ maxBytes: 10 });
    await store.add('a', 'äää', 0);
    await store.add('b', '', 0);
    await store.add('c', 'xxxx', 0);
    assert.deepEqual([...(await store.get(['a', 'b', 'c'])).items.keys()], ['b', 'c']);
    assert.equal(store.maxValueBytes, 10);
    await assert.rejects(store.add('d', 'x'.repeat(11), 0), StoreProtocolError);
  });

  it('refuses wrong options', () => {
    for (const [options, message] of [
      [{ maxEntries: 0 }, /'maxEntries'.*received 0/],
      [{ maxEntries: 1.5 }, /'maxEntries'.*received 1.5/],
      [{ maxBytes: -1 }, /'maxBytes'.*received -1/],
      [{ maxBytes: 10, maxValueBytes: 11 }, /'maxValueBytes'.*received 11/],
      [{ now: 5 }, /'now'.*received 5/],
      [{ maxEntry: 5 }, /no option 'maxEntry'/],
    ] as const) {
      assert.throws(
        () => new MemoryStore(options as ConstructorParameters<typeof MemoryStore>[0]),
        (error: unknown) => error instanceof InvalidOptionError && message.test(error.message),
      );
    }
  });
});
