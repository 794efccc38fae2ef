/** Programs and tools that wrap the methods of a Sequelize instance, and hooks that wait or throw. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { Sequelize, type ModelStatic } from 'sequelize';
import type { FlashCache } from '../../../src/index.js';
import { backendNames, openBackend, type Backend } from '../../support/backends.js';
import { Hold } from '../../support/statements.js';
import { cacheCoins, defineCoins, plain, type Coin } from './coins.js';

type Method = (this: unknown, ...args: unknown[]) => Promise<unknown>;

/** `runHooks` of an instance, which its types do not have. */
const methods = (target: unknown): { runHooks: Method; query: Method } => target as { runHooks: Method; query: Method };

const inherited = methods(Sequelize.prototype).runHooks;

/** What is put in the place of `runHooks`, given what is found there. */
const patches: Readonly<Record<string, (found: Method) => Method>> = {
  'calls what it found': (found) =>
    async function (this: unknown, ...args) {
      await Promise.resolve();
      return found.apply(this, args);
    },
  'calls what it found, bound': (found) => found,
  'calls the inherited one': () =>
    function (this: unknown, ...args) {
      return inherited.apply(this, args);
    },
  'calls no hook at all': () => () => Promise.resolve(),
};

for (const name of backendNames) {
  describe(`patched methods, on ${name}`, () => {
    let backend: Backend;
    let coins: ModelStatic<Coin>;
    let cache: ReturnType<typeof cacheCoins>;

    beforeEach(async () => {
      backend = await openBackend(name);
      coins = defineCoins(backend.sequelize);
      cache = cacheCoins(coins);
      await backend.sequelize.sync();
      await coins.create({ name: 'penny', worth: 1 });
    });

    afterEach(async () => {
      await backend.close();
    });

    const seen = async (what: string): Promise<void> => {
      await cache.get({ id: 1 });
      const { store } = backend;
      store.reset();
      await backend.sequelize.query('UPDATE Coins SET worth = worth + 1');
      await coins.increment({ worth: 1 }, { where: { id: 1 } });
      assert.deepEqual(plain(await cache.get({ id: 1 })), plain(await coins.findByPk(1)), what);
      // Each statement is marked once, however many wrappers it comes through.
      assert.equal(store.count('delete') > 0, true);
    };

    for (const [how, patch] of Object.entries(patches)) {
      it(`runHooks is replaced before set-up by one that ${how}`, async () => {
        const { sequelize } = backend;
        const before = patch(methods(sequelize).runHooks.bind(sequelize));
        methods(sequelize).runHooks = before;
        const flash = backend.setup();
        await seen('set up');
        await flash.close();
        assert.equal(methods(sequelize).runHooks, before);
      });

      it(`runHooks is replaced after set-up by one that ${how}, and put back`, async () => {
        const { sequelize } = backend;
        const flash = backend.setup();
        const found = methods(sequelize).runHooks;
        const theirs = patch(how.endsWith('bound') ? found.bind(sequelize) : found);
        methods(sequelize).runHooks = theirs;
        await seen('once');
        methods(sequelize).runHooks = patch(methods(sequelize).runHooks);
        await seen('twice');
        methods(sequelize).runHooks = found;
        await seen('put back');
        methods(sequelize).runHooks = theirs;
        await flash.close();
        assert.equal(methods(sequelize).runHooks, theirs, 'theirs is there when the cache is closed');
        await coins.update({ worth: 7 }, { where: { id: 1 } });
      });
    }

    it('runHooks of all instances is replaced after set-up', async () => {
      backend.setup();
      let calls = 0;
      methods(Sequelize.prototype).runHooks = function (this: unknown, ...args) {
        calls += 1;
        return inherited.apply(this, args);
      };
      try {
        await seen('patched');
      } finally {
        methods(Sequelize.prototype).runHooks = inherited;
      }
      assert.ok(calls > 0);
    });

    it('query is wrapped, as tracing does', async () => {
      backend.setup();
      const original = methods(Sequelize.prototype).query;
      const wrapped = function (this: unknown, ...args: unknown[]): Promise<unknown> {
        return Promise.resolve().then(() => original.apply(this, args));
      };
      try {
        methods(Sequelize.prototype).query = wrapped;
        await seen('on the prototype');
        methods(backend.sequelize).query = wrapped;
        await seen('on the instance');
      } finally {
        methods(Sequelize.prototype).query = original;
        Reflect.deleteProperty(backend.sequelize, 'query');
      }
    });

    it('the program has its hooks around each statement, once, with what it had without', async () => {
      const { sequelize } = backend;
      const calls: string[] = [];
      sequelize.addHook('beforeQuery', ({ type }: { type?: string }) => {
        calls.push(`before ${String(type)}`);
      });
      backend.setup();
      sequelize.addHook('afterQuery', ({ type }: { type?: string }, query) => {
        calls.push(`after ${String(type)} ${typeof (query as { sql?: unknown }).sql}`);
      });
      await coins.update({ worth: 2 }, { where: { id: 1 } });
      // Rows that are read before and after it are statements as well.
      assert.deepEqual(calls.filter((call) => call.includes('BULKUPDATE')), ['before BULKUPDATE', 'after BULKUPDATE string']);
    });

    it('a write that is under way when the cache is closed is finished', async () => {
      const flash: FlashCache = backend.setup();
      const hold = new Hold();
      backend.sequelize.addHook('afterQuery', 'hold', ({ type }: { type?: string }) => (type === 'BULKUPDATE' ? hold.here() : undefined));
      // By a condition: on MariaDB in a transaction of ours, which has to be committed.
      const writing = coins.update({ worth: 9 }, { where: { name: 'penny' } });
      await hold.reached;
      await flash.close();
      hold.release();
      assert.deepEqual(await writing, [1]);
      backend.sequelize.removeHook('afterQuery', 'hold');
      assert.equal((await coins.findByPk(1))?.worth, 9);
      assert.equal(Object.hasOwn(backend.sequelize, 'runHooks'), false);
    });

    it('a write that is sent while the cache is closed is finished', async () => {
      const flash: FlashCache = backend.setup();
      const hold = new Hold();
      const remove = backend.store.intercept((operation) => (operation === 'delete' || operation === 'add' || operation === 'compareAndSwap' ? hold.here() : undefined));
      const writing = coins.update({ worth: 9 }, { where: { name: 'penny' } });
      await hold.reached;
      const closing = flash.close(0);
      hold.release();
      remove();
      assert.deepEqual(await writing, [1]);
      await closing;
      const [outside] = (await backend.sequelize.query('SELECT worth FROM Coins')) as [{ worth: number }[], unknown];
      assert.equal(outside[0]?.worth, 9);
    });
  });
}
