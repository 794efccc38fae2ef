import { MemoryStore } from '../../src/stores/memory.js';
import { CountedStore } from '../../src/testing/counted-store.js';
import { storeContract } from '../../src/testing/store-contract.js';

storeContract('the store of testCache', () => {
  let time = 0;
  const store = new CountedStore(new MemoryStore({ now: () => time }));
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
