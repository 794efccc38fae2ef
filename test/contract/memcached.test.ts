import { after, before, describe } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { MemcachedStore } from '../../src/stores/memcached.js';
import { startMemcached, type MemcachedProcess } from '../support/memcached-process.js';
import { storeContract } from './store.js';

// Far above what an answer takes: on a loaded machine the suite must not meet the deadline.
const timeoutMs = 10_000;

for (const [count, connectionsPerServer] of [
  [1, 1],
  [3, 1],
  [3, 3],
] as const) {
  describe(`${String(count)} memcached, ${String(connectionsPerServer)} connection(s) each`, () => {
    let servers: MemcachedProcess[] = [];
    before(async () => {
      servers = await Promise.all(Array.from({ length: count }, () => startMemcached()));
    });
    after(async () => {
      await Promise.all(servers.map((server) => server.stop()));
    });

    storeContract(`memcached x ${String(count)} x ${String(connectionsPerServer)}`, async () => {
      const flush = async (): Promise<void> => {
        await Promise.all(servers.map((server) => server.command('flush_all\r\n')));
      };
      await flush();
      return {
        store: new MemcachedStore(
          servers.map(({ address }) => address),
          { timeoutMs, connectionsPerServer },
        ),
        advance: (milliseconds) => sleep(milliseconds),
        flush,
      };
    });
  });
}
