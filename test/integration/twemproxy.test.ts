/** MemcachedStore behind the proxy twemproxy (nutcracker), which refuses some commands by closing the connection. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { DataTypes, type Model, type ModelStatic } from 'sequelize';
import { findBinaries } from '../../scripts/servers.mjs';
import { withCache } from '../../src/index.js';
import { MemcachedStore, type ServerStateChange } from '../../src/stores/memcached.js';
import { openBackend } from '../support/backends.js';
import { freePort, startMemcached, type MemcachedProcess } from '../support/memcached-process.js';

interface Proxy {
  readonly address: string;
  readonly servers: readonly MemcachedProcess[];
  stop(): Promise<void>;
}

async function startTwemproxy(binary: string, count: number): Promise<Proxy> {
  const directory = await mkdtemp(join(tmpdir(), 'flash-twemproxy-'));
  const servers = await Promise.all(Array.from({ length: count }, () => startMemcached()));
  const [port, statistics] = [await freePort(), await freePort()];
  const file = join(directory, 'nutcracker.yml');
  const pool = ['pool:', `  listen: 127.0.0.1:${String(port)}`, '  hash: md5', '  distribution: ketama', '  timeout: 10000', '  servers:'];
  await writeFile(file, [...pool, ...servers.map(({ address }) => `   - ${address}:1`), ''].join('\n'));
  const child = spawn(binary, ['-c', file, '-s', String(statistics)], { stdio: 'ignore' });
  const stop = async (): Promise<void> => {
    if (child.exitCode === null && child.signalCode === null && child.kill('SIGKILL')) await once(child, 'exit');
    await Promise.all(servers.map((server) => server.stop()));
    await rm(directory, { recursive: true });
  };
  for (;;) {
    if (child.exitCode !== null) throw new Error(`${binary} ended at once.`);
    const socket = connect(port, '127.0.0.1');
    const [outcome] = await Promise.race([once(socket, 'connect').then(() => ['up']), once(socket, 'error')]).catch(() => ['down']);
    socket.destroy();
    if (outcome === 'up') return { address: `127.0.0.1:${String(port)}`, servers, stop };
    await sleep(20);
  }
}

const { nutcracker } = findBinaries();

for (const count of [1, 3]) {
  describe(`twemproxy in front of ${String(count)} memcached`, { skip: nutcracker === undefined && 'nutcracker (twemproxy) is not installed: not run' }, () => {
    let proxy: Proxy;
    before(async () => {
      proxy = await startTwemproxy(nutcracker ?? assert.fail(), count);
    });
    after(() => proxy.stop());

    it('takes every command of the store, and keeps the connection', async (t) => {
      const changes: ServerStateChange[] = [];
      const store = new MemcachedStore(proxy.address, { timeoutMs: 30_000, onStateChange: (change) => changes.push(change) });
      t.after(() => store.close());
      for (let i = 0; i < 50; i += 1) {
        const key = `key:${String(i)}`;
        assert.equal(await store.add(key, 'value', 60), true);
        const token = (await store.get([key, 'absent'])).items.get(key)?.token ?? assert.fail();
        assert.equal(await store.compareAndSwap(key, 'other', token, 60), true);
        assert.equal(await store.compareAndDelete(key, token), false);
        assert.equal((await store.get([key])).items.get(key)?.value, 'other');
        const next = (await store.get([key])).items.get(key)?.token ?? assert.fail();
        assert.equal(await store.compareAndDelete(key, next), true);
        assert.equal((await store.get([key])).items.size, 0);
        // What was removed is gone at once, not at the next second.
        assert.equal(await store.add(key, 'again', 40 * 86_400), true);
        assert.equal(await store.delete(key), true);
        assert.equal(await store.delete(key), false);
      }
      const keys = Array.from({ length: 300 }, (_, i) => `many:${String(i)}`);
      await Promise.all(keys.map((key) => store.add(key, key, 60)));
      const { items, failures } = await store.get(keys);
      assert.equal(failures.size, 0);
      assert.deepEqual([...items].map(([key, { value }]) => key === value), keys.map(() => true));
      assert.deepEqual(changes, []);
      const connections = await Promise.all(proxy.servers.map((server) => server.command('stats\r\n')));
      assert.ok(connections.every((text) => Number(/STAT cmd_set (\d+)/.exec(text)?.[1]) > 0), 'every server is used');
    });

    it('serves a cached model: reads are hits and writes are delivered', async (t) => {
      const changes: ServerStateChange[] = [];
      const store = new MemcachedStore(proxy.address, { timeoutMs: 30_000, onStateChange: (change) => changes.push(change) });
      const backend = await openBackend('mariadb', { store });
      t.after(() => backend.close());
      const User = backend.sequelize.define('User', { name: DataTypes.STRING }, { timestamps: false });
      withCache(User, { keys: ['id', 'name'] });
      const cache = backend.setup();
      await backend.sequelize.sync();
      const { cache: users } = User as unknown as { readonly cache: { get(key: object): Promise<Model & { name: string }> } } & ModelStatic<Model>;
      await User.create({ name: 'n' });
      for (let i = 0; i < 10; i += 1) {
        await User.update({ name: `n${String(i)}` }, { where: { id: 1 } });
        await users.get({ id: 1 });
        backend.reset();
        for (let j = 0; j < 3; j += 1) assert.equal((await users.get({ id: 1 })).name, `n${String(i)}`);
        assert.equal((await users.get({ name: `n${String(i)}` })).get('id'), 1);
        assert.ok(backend.sql.length <= 1, backend.sql.join('\n'));
      }
      assert.equal(cache.undelivered, 0);
      assert.deepEqual(changes, []);
    });
  });
}
