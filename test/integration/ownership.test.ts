/** Who makes a store closes it: `close()` of a cache ends no store that another cache may use. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { describe, it, type TestContext } from 'node:test';
import { DataTypes, Sequelize, type Model, type ModelStatic } from 'sequelize';
import { createSqliteModule } from '../../examples/support/sqlite.js';
import { setupCache, withCache, type FlashCache, type Store } from '../../src/index.js';
import { MemcachedStore } from '../../src/stores/memcached.js';
import { MemoryStore } from '../../src/stores/memory.js';
import { testCache } from '../../src/testing/index.js';
import { freePort, startMemcached } from '../support/memcached-process.js';

interface Row extends Model {
  readonly id: number;
  age: number;
}

interface App {
  readonly sequelize: Sequelize;
  readonly User: ModelStatic<Row> & { readonly cache: { get(key: { id: number }): Promise<Row> } };
  readonly cache: FlashCache;
}

/** A program on a database of its own; `database` is its alias too. */
async function app(t: TestContext, store: Store, database: string): Promise<App> {
  const sequelize = new Sequelize({ dialect: 'sqlite', dialectModule: await createSqliteModule(), storage: `${database}.db`, logging: false });
  const User = sequelize.define<Row>('User', { age: DataTypes.INTEGER }, { timestamps: false });
  withCache(User, { keys: ['id'] });
  const cache = setupCache(sequelize, { store, alias: database });
  t.after(() => sequelize.close());
  await sequelize.sync();
  return { sequelize, User: User as unknown as App['User'], cache };
}

async function memcachedStore(t: TestContext): Promise<MemcachedStore> {
  const server = await startMemcached();
  t.after(() => server.stop());
  const store = new MemcachedStore(server.address, { timeoutMs: 10_000 });
  t.after(() => store.close());
  return store;
}

const stores: readonly (readonly [name: string, open: (t: TestContext) => Promise<Store>])[] = [
  ['a MemcachedStore', memcachedStore],
  ['a MemoryStore', () => Promise.resolve(new MemoryStore())],
];

for (const [name, open] of stores) {
  describe(`${name} that the program made`, () => {
    it('goes on for another cache when one is closed, which delivers its writes', async (t) => {
      const store = await open(t);
      const first = await app(t, store, `first-${String(process.pid)}-${name.length}`);
      const second = await app(t, store, `second-${String(process.pid)}-${name.length}`);
      const { id } = await first.User.create({ age: 10 });
      assert.equal((await first.User.cache.get({ id })).age, 10);
      assert.equal(await second.cache.close(), 0);
      // Twice, and of a cache that used nothing.
      assert.equal(await second.cache.close(), 0);
      await first.User.update({ age: 20 }, { where: { id } });
      assert.equal(first.cache.undelivered, 0);
      assert.equal((await first.User.cache.get({ id })).age, 20);
      assert.equal(await first.cache.close(), 0);
      assert.equal(await store.add('still', 'open', 60), true);
      await store.close();
    });

    it('can be used for the next cache of the same Sequelize instance', async (t) => {
      const store = await open(t);
      const { sequelize, User, cache } = await app(t, store, `again-${String(process.pid)}-${name.length}`);
      const { id } = await User.create({ age: 10 });
      await User.cache.get({ id });
      await cache.close();
      const again = setupCache(sequelize, { store });
      assert.equal((await User.cache.get({ id })).age, 10);
      await again.close();
      await store.close();
    });
  });
}

describe('the store of testCache', () => {
  it('is closed with it', async (t) => {
    const sequelize = new Sequelize({ dialect: 'sqlite', dialectModule: await createSqliteModule(), storage: ':memory:', logging: false });
    t.after(() => sequelize.close());
    const { store, close } = testCache(sequelize);
    await close();
    await assert.rejects(store.add('key', 'value', 60), { code: 'FLASH_STORE_CLOSED' });
  });
});

describe('a program', () => {
  /** Runs a program with a cache in a process of its own, and resolves to what it printed when it ended by itself. */
  const run = async (t: TestContext, servers: string, script: string): Promise<string> => {
    const built = (path: string): string => JSON.stringify(join(__dirname, '../..', path));
    const source = `
      const { DataTypes, Sequelize } = require('sequelize');
      const { setupCache, withCache } = require(${built('src/index.js')});
      const { MemcachedStore } = require(${built('src/stores/memcached.js')});
      const { createSqliteModule } = require(${built('examples/support/sqlite.js')});
      (async () => {
        const sequelize = new Sequelize({ dialect: 'sqlite', dialectModule: await createSqliteModule(), storage: ':memory:', logging: false });
        const User = sequelize.define('User', { age: DataTypes.INTEGER });
        withCache(User, { keys: ['id'] });
        await sequelize.sync();
        const use = async () => {
          const { id } = await User.create({ age: 1 });
          await User.cache.get({ id });
          console.log((await User.cache.get({ id })).age);
        };
        ${script}
        console.log('done');
      })();`;
    const child = spawn(process.execPath, ['-e', source], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, SEQUELIZE_FLASH_MEMCACHED: servers },
    });
    t.after(() => child.kill('SIGKILL'));
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
    const [code] = (await once(child, 'close', { signal: AbortSignal.timeout(60_000) })) as [number | null];
    assert.equal(code, 0);
    return output.trim().replaceAll('\n', ' ');
  };

  it('closes the store of the environment with its cache', async (t) => {
    const server = await startMemcached();
    t.after(() => server.stop());
    const script = `
      const cache = setupCache(sequelize, { alias: 'a' + process.pid });
      await use();
      await cache.close();
      await cache.store.add('key', 'value', 60).catch((error) => console.log(error.code));`;
    assert.equal(await run(t, server.address, script), '1 FLASH_STORE_CLOSED done');
  });

  it('ends when it closed its cache and forgot its store', async (t) => {
    const server = await startMemcached();
    t.after(() => server.stop());
    const script = (address: string): string => `
      const cache = setupCache(sequelize, { store: new MemcachedStore(${JSON.stringify(address)}), alias: 'b' + process.pid });
      await use();
      console.log(await cache.close(0) > 0);`;
    assert.equal(await run(t, '', script(server.address)), '1 false done');
    assert.equal(await run(t, '', script(`127.0.0.1:${String(await freePort())}`)), '1 true done');
  });
});
