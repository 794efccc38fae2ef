/** A program may empty, replace or freeze `sequelize.options.hooks`: every write is seen all the same. */
import assert from 'node:assert/strict';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { after, before, beforeEach, describe, it } from 'node:test';
import type { ModelStatic, Sequelize } from 'sequelize';
import type { FlashEvents } from '../../../src/index.js';
import { backendNames, openBackend, type Backend } from '../../support/backends.js';
import { cacheCoins, defineCoins, optionsOf, plain, type Coin } from './coins.js';

/** What a program, or a test helper of its, does to the hooks. */
const removals: Readonly<Record<string, (sequelize: Sequelize) => void>> = {
  'options.hooks = {}': (sequelize) => (optionsOf(sequelize).hooks = {}),
  'options.hooks = undefined': (sequelize) => Reflect.set(optionsOf(sequelize), 'hooks', undefined),
  'options.hooks = null': (sequelize) => (optionsOf(sequelize).hooks = null),
  'delete options.hooks': (sequelize) => delete optionsOf(sequelize).hooks,
  'Object.assign(options, { hooks: {} })': (sequelize) => Object.assign(optionsOf(sequelize), { hooks: {} }),
  'Object.freeze({})': (sequelize) => (optionsOf(sequelize).hooks = Object.freeze({})),
  'each list emptied': (sequelize) => {
    for (const list of Object.values(optionsOf(sequelize).hooks ?? {})) (list as unknown[]).length = 0;
  },
  'each list replaced by a frozen one': (sequelize) => {
    const { hooks } = optionsOf(sequelize);
    for (const name in hooks) hooks[name] = Object.freeze([]);
  },
  'a single function in place of a list': (sequelize) => {
    optionsOf(sequelize).hooks = { beforeBulkCreate: () => undefined, afterBulkCreate: () => undefined };
  },
  'removeHook with each function': (sequelize) => {
    for (const [name, list] of Object.entries(optionsOf(sequelize).hooks ?? {})) {
      for (const hook of [...(list as (() => void)[])]) sequelize.removeHook(name as 'beforeUpdate', hook as never);
    }
  },
};

for (const name of backendNames) {
  describe(`hooks that the program removes, on ${name}`, () => {
    let backend: Backend;
    let Coins: ModelStatic<Coin>;
    let cache: ReturnType<typeof cacheCoins>;
    const rehooked: { readonly hooks: readonly string[]; readonly statements: number }[] = [];
    const listener = (message: unknown): void => {
      rehooked.push({ hooks: (message as FlashEvents['rehooked']).hooks, statements: backend.sql.length });
    };

    before(async () => {
      backend = await openBackend(name);
      Coins = defineCoins(backend.sequelize);
      cache = cacheCoins(Coins);
      backend.setup();
      subscribe('sequelize-flash:rehooked', listener);
      await backend.sequelize.sync();
    });

    after(async () => {
      unsubscribe('sequelize-flash:rehooked', listener);
      await backend.close();
    });

    beforeEach(async () => {
      await Coins.destroy({ where: {} });
      await Coins.bulkCreate([{ id: 1, name: 'penny', worth: 1 }, { id: 2, name: 'dime', worth: 10 }]);
    });

    const snapshot = async (next: number): Promise<unknown> =>
      Promise.all([
        ...[1, 2, next, next + 1].map((id) => cache.getOrNone({ id })),
        ...['penny', 'dime', 'new', 'newer', 'renamed'].map((of) => cache.getOrNone({ name: of })),
        ...[1, 2, 5, 10].map((worth) => cache.filter({ worth })),
      ]);
    const inDatabase = async (next: number): Promise<unknown> =>
      Promise.all([
        ...[1, 2, next, next + 1].map((id) => Coins.findByPk(id)),
        ...['penny', 'dime', 'new', 'newer', 'renamed'].map((of) => Coins.findOne({ where: { name: of } })),
        ...[1, 2, 5, 10].map((worth) => Coins.findAll({ where: { worth }, order: ['id'] })),
      ]);

    const writes: Readonly<Record<string, (coin: Coin) => Promise<unknown>>> = {
      'instance.update': (coin) => coin.update({ worth: 5, name: 'renamed' }),
      'Model.update': () => Coins.update({ worth: 5 }, { where: { name: 'penny' } }),
      create: () => Coins.create({ name: 'new', worth: 5 }),
      'bulkCreate, whose ids the database chooses': () => Coins.bulkCreate([{ name: 'new', worth: 5 }, { name: 'newer', worth: 2 }]),
      'instance.destroy': (coin) => coin.destroy(),
      increment: (coin) => coin.increment('worth', { by: 4 }),
      'raw SQL': () => backend.sequelize.query('UPDATE Coins SET worth = 5 WHERE id = 1'),
      'a transaction': () =>
        backend.sequelize.transaction(async (transaction) => {
          await Coins.update({ worth: 5 }, { where: { id: 1 }, transaction });
          await Coins.bulkCreate([{ name: 'new', worth: 5 }], { transaction });
        }),
    };

    for (const [how, remove] of Object.entries(removals)) {
      it(how, async () => {
        for (const [what, write] of Object.entries(writes)) {
          await Coins.destroy({ where: {} });
          await Coins.bulkCreate([{ id: 1, name: 'penny', worth: 1 }, { id: 2, name: 'dime', worth: 10 }]);
          const coin = await Coins.findByPk(1, { rejectOnEmpty: true });
          const { id: next } = await Coins.create({ name: 'a number', worth: 0 });
          await coin.reload();
          await snapshot(next + 1);
          remove(backend.sequelize);
          assert.deepEqual(plain(await snapshot(next + 1)), plain(await inDatabase(next + 1)), `${what}: lookups before it`);
          remove(backend.sequelize);
          rehooked.length = 0;
          backend.reset();
          await write(coin);
          assert.deepEqual(plain(await snapshot(next + 1)), plain(await inDatabase(next + 1)), what);
          assert.equal(rehooked[0]?.statements, 0, `${what}: noticed before the first statement was sent`);
          assert.ok(rehooked[0].hooks.includes('afterBulkCreate'), `${what}: told`);
        }
      });
    }

    it('in the middle of a bulk insert, by a hook of the program', async () => {
      const { id: next } = await Coins.create({ name: 'a number', worth: 0 });
      for (const hook of ['beforeQuery', 'afterQuery', 'beforeBulkCreate'] as const) {
        for (const [how, remove] of Object.entries(removals)) {
          await snapshot(next + 1);
          let once = true;
          backend.sequelize.addHook(hook as 'beforeQuery', 'remover', () => {
            if (once) remove(backend.sequelize);
            once = false;
          });
          const [made] = await Coins.bulkCreate([{ name: `${hook} ${how}`, worth: 5 }]);
          assert.equal(once, false);
          optionsOf(backend.sequelize).hooks = {};
          assert.ok(made);
          assert.deepEqual(plain(await cache.getOrNone({ id: made.id })), plain(await Coins.findByPk(made.id)), `${hook}, ${how}`);
          assert.deepEqual(plain(await cache.filter({ worth: 5 })), plain(await Coins.findAll({ where: { worth: 5 }, order: ['id'] })), `${hook}, ${how}`);
        }
      }
    });

    it('says nothing where nothing was removed', async () => {
      await Coins.count();
      rehooked.length = 0;
      backend.sequelize.addHook('beforeUpdate', 'of the program', () => undefined);
      await Coins.update({ worth: 5 }, { where: { id: 1 } });
      backend.sequelize.removeHook('beforeUpdate', 'of the program');
      await Coins.bulkCreate([{ name: 'new', worth: 5 }]);
      assert.deepEqual(rehooked, []);
    });
  });
}
