/** Transactions that nobody passes: CLS, which Sequelize keeps for all its instances together. */
import assert from 'node:assert/strict';
import { AsyncLocalStorage } from 'node:async_hooks';
import { Sequelize, type Model } from 'sequelize';
import { describePaths } from './write-paths.js';

const found = { rejectOnEmpty: true } as const;
const storage = new AsyncLocalStorage<Map<string, unknown>>();

// Before the first instance. All that Sequelize asks of a namespace.
Sequelize.useCLS({
  get: (name: string) => storage.getStore()?.get(name),
  set: (name: string, value: unknown) => storage.getStore()?.set(name, value),
  run: (work: (context: object) => unknown) => {
    const context = new Map(storage.getStore());
    storage.run(context, () => work(context));
    return context;
  },
  bind: <F extends (...args: never[]) => unknown>(work: F, context: unknown) =>
    ((...args: never[]) => storage.run(context as Map<string, unknown>, () => work(...args))) as F,
});

const outOfContext = <T>(work: () => Promise<T>): Promise<T> => storage.exit(work);

describePaths(
  'CLS',
  (path) => {
    path('writes join the transaction', { extra: 3 }, async ({ sequelize, models: { Item, Score }, check, primed }) => {
      await primed();
      await sequelize.transaction(async () => {
        await Item.update({ sku: 'n1' }, { where: { id: 1 }, fields: ['sku'] });
        await Score.increment('points', { by: 100, where: { id: 2 } });
        await check('before the commit');
      });
    });

    path('they are rolled back', { rejects: /no/, of: ['Item'] }, async ({ sequelize, models: { Item }, check, primed }) => {
      await primed();
      await sequelize.transaction(async () => {
        const item = await Item.findByPk(1, found);
        await item.update({ sku: 'n1', color: 'blue' });
        await check('before the rollback');
        throw new Error('no');
      });
    });

    path('raw SQL and increments join', { wide: ['Item', 'User'] }, async ({ sequelize, models: { User }, check, primed }) => {
      await primed();
      await sequelize.transaction(async () => {
        await sequelize.query("UPDATE Items SET item_color = 'blue' WHERE id = 1");
        await User.increment({ visits: 1 } as never, { where: { city: 'Oslo' } });
        await check('before the commit');
      });
    });

    path('transaction: null opts out: committed at once', {}, async ({ sequelize, models: { Item }, check, primed }) => {
      await primed();
      await sequelize.transaction(async () => {
        await Item.update({ note: 'in' }, { where: { id: 1 } });
        await Item.update({ note: 'out' }, { where: { id: 2 }, transaction: null });
        await check('one is committed');
      });
    });

    path('findOrCreate in the transaction', {}, async ({ sequelize, models: { Item }, check, primed }) => {
      await primed();
      await sequelize.transaction(async () => {
        await Item.findOrCreate({ where: { sku: 'n1' }, defaults: { aisle: 1, bin: 'a', color: 'red' } });
        await check('before the commit');
      });
    });

    path('findOrCreate in the transaction, which rolls back', { rejects: /no/, of: ['Item'] }, async ({ sequelize, models: { Item }, check, primed }) => {
      await primed();
      await sequelize.transaction(async () => {
        await Item.findOrCreate({ where: { sku: 'n1' }, defaults: { aisle: 1, bin: 'a', color: 'red' } });
        await check('before the rollback');
        throw new Error('no');
      });
    });

    path('an unmanaged transaction is not in CLS', {}, async ({ sequelize, models: { Item }, check, primed }) => {
      await primed();
      const transaction = await sequelize.transaction();
      await Item.update({ note: 'in' }, { where: { id: 1 }, transaction });
      await Item.update({ note: 'out' }, { where: { id: 2 } });
      await check('one is committed');
      await transaction.commit();
    });

    path('a nested transaction is independent: it commits, the outer one rolls back', { rejects: /no/ }, async ({ sequelize, models: { Item }, check, primed }) => {
      await primed();
      await sequelize.transaction(async () => {
        await Item.update({ note: 'outer' }, { where: { id: 1 } });
        await sequelize.transaction(async () => {
          await Item.update({ note: 'inner' }, { where: { id: 2 } });
          await check('none is committed');
        });
        await check('the inner one is committed');
        throw new Error('no');
      });
    });

    path('a savepoint by CLS', {}, async ({ sequelize, models: { Item }, check, primed }) => {
      await primed();
      await sequelize.transaction(async (parent) => {
        await sequelize.transaction({ transaction: parent }, async () => {
          await Item.update({ note: 'child' }, { where: { id: 1 } });
        });
        await check('the child committed, which is no commit');
      });
    });

    path('afterCommit is out of the transaction', {}, async ({ sequelize, models: { Item }, check, primed }) => {
      await primed();
      await sequelize.transaction(async (transaction) => {
        await Item.update({ note: 'in' }, { where: { id: 1 } });
        transaction.afterCommit(async () => {
          await Item.update({ note: 'after' }, { where: { id: 2 } });
          await check('both');
        });
      });
    });

    path('a read in the transaction is a read of it, one that opts out is cached', { racy: true }, async ({ sequelize, models: { Item }, lookups, primed, cachedRun }) => {
      const bySku = lookups.find(({ name }) => name === 'Item.cache(sku)')!;
      await primed();
      await sequelize.transaction(async () => {
        await Item.update({ sku: 'n1' }, { where: { id: 1 }, fields: ['sku'] });
        if (!cachedRun) return;
        assert.equal(((await bySku.cached(['n1'])) as Model | null)?.get('id'), 1);
        assert.equal(await bySku.cached(['n1'], { transaction: null }), null);
        assert.equal(((await bySku.cached(['s1'], { transaction: null })) as Model | null)?.get('id'), 1);
      });
    });

    path('another Sequelize instance writes in the transaction of the first', { of: ['Item'], racy: true }, async ({ sequelize, other, models: { Item }, check, primed }) => {
      await primed();
      await sequelize.transaction(async () => {
        await Item.update({ note: 'first' }, { where: { id: 1 } });
        await other.models.Item.update({ note: 'second', color: 'blue' }, { where: { id: 2 }, fields: ['note'] });
        await check('before the commit');
      });
    });

    path('one with a cache writes in the transaction of one without', { of: ['Item'], racy: true }, async ({ outside, models: { Item }, check, primed }) => {
      await primed();
      await outside.sequelize.transaction(async () => {
        await Item.update({ note: 'n', sku: 'n1' }, { where: { id: 1 }, fields: ['note'] });
        await check('before the commit');
      });
    });

    path('and it rolls back', { rejects: /no/, of: ['Item'], racy: true }, async ({ sequelize, other, check, primed }) => {
      await primed();
      await sequelize.transaction(async () => {
        await other.models.Item.update({ note: 'second' }, { where: { id: 2 } });
        await check('before the rollback');
        throw new Error('no');
      });
    });
  },
  { outOfContext },
);
