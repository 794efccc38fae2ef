/** Sequelize instances that are made from the options of another one, as programs with a database for each tenant do. */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { Sequelize, type Options } from 'sequelize';
import { setupCache, type FlashCache } from '../../../src/index.js';
import { MemoryStore } from '../../../src/stores/memory.js';
import { backendNames, openBackend, type Backend } from '../../support/backends.js';
import { ObservedStore } from '../../support/observed-store.js';
import { cacheCoins, defineCoins, optionsOf, plain, type HookLists } from './coins.js';

const hooks = ['beforeUpdate', 'beforeBulkCreate', 'afterBulkCreate'] as const;

/** As Sequelize's own tests make one. */
function copyOf(sequelize: Sequelize): Sequelize {
  const { database, username, password } = sequelize.config as unknown as Record<'database' | 'username' | 'password', string>;
  return new Sequelize(database, username, password, { ...(optionsOf(sequelize) as Options) });
}

const lengths = (sequelize: Sequelize): readonly number[] => hooks.map((name) => (optionsOf(sequelize).hooks?.[name] as unknown[] | undefined)?.length ?? 0);

/** The lists as they are, so that later ones can be compared with them. */
const listsOf = (sequelize: Sequelize): HookLists =>
  Object.fromEntries(Object.entries(optionsOf(sequelize).hooks ?? {}).map(([name, list]) => [name, Array.isArray(list) ? [...(list as unknown[])] : list]));

for (const name of backendNames) {
  describe(`copies of a Sequelize instance, on ${name}`, () => {
    let backend: Backend;
    const opened: Sequelize[] = [];
    const caches: FlashCache[] = [];
    const copy = (sequelize: Sequelize): Sequelize => {
      const made = copyOf(sequelize);
      opened.push(made);
      return made;
    };
    const setUp = (sequelize: Sequelize, store = new ObservedStore(new MemoryStore())): { cache: FlashCache; store: ObservedStore } => {
      const cache = setupCache(sequelize, { store, alias: `tenant${String(caches.length)}` });
      caches.push(cache);
      return { cache, store };
    };

    before(async () => {
      backend = await openBackend(name);
    });

    after(async () => {
      for (const cache of caches) await cache.close(0);
      for (const one of opened) await one.close();
      await backend.close();
    });

    /** Every kind of write, each compared with a find. */
    const works = async (sequelize: Sequelize): Promise<void> => {
      const coins = sequelize.isDefined('Coin') ? (sequelize.model('Coin') as ReturnType<typeof defineCoins>) : defineCoins(sequelize);
      const { cache } = coins as unknown as { cache?: ReturnType<typeof cacheCoins> };
      await sequelize.sync({ force: true });
      const check = async (what: string): Promise<void> => {
        if (cache === undefined) return;
        for (let id = 1; id < 6; id += 1) assert.deepEqual(plain(await cache.getOrNone({ id })), plain(await coins.findByPk(id)), `${what}: ${String(id)}`);
        for (const worth of [1, 2, 5]) assert.deepEqual(plain(await cache.filter({ worth })), plain(await coins.findAll({ where: { worth }, order: ['id'] })), what);
      };
      await check('empty');
      const coin = await coins.create({ name: 'penny', worth: 1 });
      await check('create');
      await coin.update({ worth: 2 });
      await check('update');
      await coins.bulkCreate([{ name: 'dime', worth: 5 }, { name: 'cent', worth: 1 }]);
      await check('bulkCreate');
      await coins.increment({ worth: 1 }, { where: { name: 'cent' } });
      await check('increment');
      await sequelize.transaction(async (transaction) => {
        await coins.update({ worth: 5 }, { where: { worth: 2 }, transaction });
      });
      await check('a transaction');
      await coin.destroy();
      await check('destroy');
    };

    it('work without a cache, and tell the first one nothing', async () => {
      const first = copy(backend.sequelize);
      first.addHook('beforeQuery', () => undefined);
      cacheCoins(defineCoins(first));
      const early = copy(first);
      const { store, cache } = setUp(first);
      const late = copy(first);
      const latest = copy(late);
      await works(first);
      store.reset();
      for (const one of [early, late, latest]) await works(one);
      assert.deepEqual([store.count('add'), store.count('compareAndSwap'), store.count('delete')], [0, 0, 0]);
      await cache.close();
      await works(late);
      await works(copy(first));
    });

    it('have caches of their own', async () => {
      const first = copy(backend.sequelize);
      cacheCoins(defineCoins(first));
      const early = copy(first);
      setUp(first);
      const late = copy(first);
      for (const one of [early, late]) {
        cacheCoins(defineCoins(one));
        setUp(one);
      }
      for (const one of [first, early, late, first]) await works(one);
    });

    it('made one from another, have each hook once, and go on when one of them is closed', async () => {
      const tenants: { sequelize: Sequelize; cache: FlashCache }[] = [];
      let from = backend.sequelize;
      for (let tenant = 0; tenant < 6; tenant += 1) {
        const sequelize = copy(from);
        cacheCoins(defineCoins(sequelize));
        tenants.push({ sequelize, cache: setUp(sequelize).cache });
        assert.deepEqual(lengths(sequelize), [1, 1, 1]);
        from = sequelize;
      }
      for (const { sequelize } of tenants) await works(sequelize);
      for (const [at, { cache }] of tenants.entries()) {
        await cache.close();
        for (const { sequelize } of tenants.slice(at + 1)) await works(sequelize);
      }
    });

    it('may share the very lists of hooks', async () => {
      const first = copy(backend.sequelize);
      cacheCoins(defineCoins(first));
      const { cache } = setUp(first);
      const second = copy(backend.sequelize);
      Object.assign(optionsOf(second).hooks as HookLists, optionsOf(first).hooks);
      cacheCoins(defineCoins(second));
      setUp(second);
      await works(second);
      await works(first);
      await cache.close();
      await works(second);
    });

    it('of the whole object are seen as the object is', async () => {
      const first = copy(backend.sequelize);
      const coins = defineCoins(first);
      const cache = cacheCoins(coins);
      setUp(first);
      await first.sync({ force: true });
      await coins.create({ name: 'penny', worth: 1 });
      for (const whole of [Object.assign(Object.create(Sequelize.prototype) as Sequelize, first), Object.create(first) as Sequelize]) {
        await cache.get({ id: 1 });
        await whole.query('UPDATE Coins SET worth = worth + 1');
        assert.deepEqual(plain(await cache.get({ id: 1 })), plain(await coins.findByPk(1)));
      }
    });

    it('leave the options as they were when the cache is closed', async () => {
      const first = copy(backend.sequelize);
      const own = (): void => undefined;
      first.addHook('beforeUpdate', own);
      optionsOf(first).hooks!.beforeBulkCreate = [];
      const names = Object.getOwnPropertyNames(first);
      const methods = Object.getOwnPropertyNames(first.getQueryInterface());
      const lists = listsOf(first);
      const { cache } = setUp(first);
      assert.equal(first.hasHook('beforeFind') || first.hasHook('afterFind') || first.hasHook('beforeQuery') || first.hasHook('afterQuery'), undefined);
      const late = (): void => undefined;
      first.addHook('afterBulkCreate', late);
      await cache.close();
      assert.deepEqual(listsOf(first), { ...lists, afterBulkCreate: [late] });
      assert.deepEqual(Object.getOwnPropertyNames(first), names);
      assert.deepEqual(Object.getOwnPropertyNames(first.getQueryInterface()), methods);
      await works(first);
    });

    it('may be set up where Sequelize itself tells of each new instance', async () => {
      const made: FlashCache[] = [];
      Sequelize.addHook('afterInit', 'set up', (sequelize) => {
        made.push(setUp(sequelize).cache);
      });
      let sequelize: Sequelize;
      try {
        sequelize = copy(backend.sequelize);
      } finally {
        Sequelize.removeHook('afterInit', 'set up');
      }
      assert.equal(made.length, 1);
      cacheCoins(defineCoins(sequelize));
      await works(sequelize);
    });
  });
}
