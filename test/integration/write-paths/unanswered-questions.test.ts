/**
 * Transactions of which the server did not say whether they are open: the plugin's question failed. What is written
 * in them stays the program's to roll back, and no lookup is stale, whether the server has ended them or not.
 */
import assert from 'node:assert/strict';
import { QueryTypes, type QueryOptions, type Sequelize, type Transaction } from 'sequelize';
import { isQuestion } from '../../../src/hooks/open-transactions.js';
import type { ShopName } from './shop.js';
import { describePaths, type Stage } from './write-paths.js';

/** Statements after which the server is asked, by what they do to the transaction. */
const asking = { open: 'CALL ends_nothing()', ended: 'CALL ends()' } as const;

/** Ways in which the question fails. Each begins and returns what ends it. */
const failures: Readonly<Record<string, (sequelize: Sequelize, fail: () => void) => () => void>> = {
  'logging throws': (sequelize, fail) => {
    const options = (sequelize as unknown as { readonly options: { logging: (sql: string) => unknown } }).options;
    const { logging } = options;
    options.logging = (sql) => {
      if (sql.includes('SET TRANSACTION READ WRITE')) fail();
      return logging(sql);
    };
    return () => {
      options.logging = logging;
    };
  },
  'a hook refuses it': (sequelize, fail) => failIn(sequelize, 'beforeQuery', fail),
  'a hook loses its answer': (sequelize, fail) => failIn(sequelize, 'afterQuery', fail),
};

function failIn(sequelize: Sequelize, hook: 'beforeQuery' | 'afterQuery', fail: () => void): () => void {
  const name = 'fails the question';
  sequelize.addHook(hook, name, (options: QueryOptions) => {
    if (isQuestion in options) fail();
  });
  return () => {
    sequelize.removeHook(hook, name);
  };
}

interface Write {
  readonly work: (stage: Stage, transaction: Transaction) => Promise<unknown>;
  /** It reads rows otherwise, which no lock is sure to keep here; or its rows are not known in any case. */
  readonly reads?: true;
}

const writes: Readonly<Record<string, Write>> = {
  'a save that reads nothing': {
    work: async ({ models: { Item } }, transaction) => (await Item.findByPk(1, { rejectOnEmpty: true, transaction })).update({ note: 'n' }, { transaction }),
  },
  'a save that changes keys': {
    work: async ({ models: { Item } }, transaction) => (await Item.findByPk(1, { rejectOnEmpty: true, transaction })).update({ sku: 'n1' }, { transaction }),
  },
  'an update of a row': {
    work: ({ models: { Item } }, transaction) => Item.update({ bin: 'q' }, { where: { id: 1 }, transaction }),
    reads: true,
  },
  'an update by a condition': { work: ({ models: { Item } }, transaction) => Item.update({ sku: 'n1' }, { where: { sku: 's1' }, transaction }), reads: true },
  'a destroy by a condition': { work: ({ models: { Item } }, transaction) => Item.destroy({ where: { sku: 's1' }, transaction }), reads: true },
  'a create': { work: ({ models: { Item } }, transaction) => Item.create({ sku: 'n9', aisle: 1, bin: 'a', color: 'red' }, { transaction }) },
  'a bulkCreate': { work: ({ models: { Item } }, transaction) => Item.bulkCreate([{ sku: 'n9', aisle: 1, bin: 'a', color: 'red' }], { transaction }) },
  'raw SQL': { work: ({ sequelize }, transaction) => sequelize.query("UPDATE Items SET note = 'n' WHERE id = 1", { transaction }), reads: true },
};

const itemsOf = ({ outside, aside }: Stage): Promise<unknown> =>
  aside(() => outside.sequelize.query('SELECT * FROM Items ORDER BY id', { type: QueryTypes.SELECT }));

describePaths('a transaction whose state the server did not tell', (path) => {
  for (const [how, begin] of Object.entries(failures)) {
    for (const [title, { work, reads }] of Object.entries(writes)) {
      if (how !== 'logging throws' && title !== 'an update of a row' && title !== 'a save that reads nothing') continue;
      for (const state of ['open', 'ended'] as const) {
        for (const end of ['commit', 'rollback'] as const) {
          const wide: readonly ShopName[] = reads === true ? ['Item'] : [];
          path(`${how}; it is ${state}; ${title}, then ${end}`, { racy: true, of: ['Item'], wide }, async (stage) => {
            const { sequelize, outside, aside, models: { Item }, check, primed } = stage;
            await aside(() => outside.sequelize.query('CREATE OR REPLACE PROCEDURE ends_nothing() SELECT 1'));
            await aside(() => outside.sequelize.query('CREATE OR REPLACE PROCEDURE ends() COMMIT'));
            await primed();
            const before = await itemsOf(stage);
            const transaction = await sequelize.transaction();
            let failed = 0;
            const restore = begin(sequelize, () => {
              failed += 1;
              throw new Error('no question, please');
            });
            try {
              await Item.update({ bin: 'z' }, { where: { id: 3 }, transaction });
              await sequelize.query(asking[state], { transaction });
              await check('what was before');
              await work(stage, transaction);
              await check('before the end');
              if (state === 'open') assert.deepEqual(await itemsOf(stage), before, 'nothing is committed');
            } finally {
              restore();
              await transaction[end]();
            }
            if (stage.cachedRun) assert.ok(failed > 0, 'the question failed');
            if (state === 'open' && end === 'rollback') assert.deepEqual(await itemsOf(stage), before, 'all is rolled back');
          });
        }
      }
    }
  }

  path('the program catches a lock wait that timed out, and rolls back', { racy: true, of: ['Item'], wide: ['Item'] }, async (stage) => {
    const { sequelize, outside, aside, models: { Item }, primed } = stage;
    await primed();
    const before = await itemsOf(stage);
    const transaction = await sequelize.transaction();
    const restore = failures['logging throws']!(sequelize, () => {
      throw new Error('no question, please');
    });
    const other = await aside(() => outside.sequelize.transaction());
    try {
      await sequelize.query('SET innodb_lock_wait_timeout = 1', { transaction });
      await Item.update({ bin: 'z' }, { where: { id: 3 }, transaction });
      await aside(() => outside.models.Item.update({ stock: 20 }, { where: { id: 2 }, transaction: other }));
      await assert.rejects(Item.update({ note: 'ours' }, { where: { id: 2 }, transaction }), /Lock wait timeout/);
      await Item.update({ bin: 'q' }, { where: { id: 1 }, transaction });
    } finally {
      restore();
      await aside(() => other.rollback());
      await sequelize.query('SET innodb_lock_wait_timeout = DEFAULT', { transaction });
      await transaction.rollback();
    }
    assert.deepEqual(await itemsOf(stage), before, 'all is rolled back');
  });

  path('the next answer counts: what follows is exact, and nothing more is asked', { racy: true, of: ['Item'] }, async (stage) => {
    const { sequelize, outside, aside, cachedRun, models: { Item }, check, primed } = stage;
    await aside(() => outside.sequelize.query('CREATE OR REPLACE PROCEDURE ends_nothing() SELECT 1'));
    await primed();
    let asked = 0;
    const restore = failures['a hook refuses it']!(sequelize, () => {
      asked += 1;
      if (asked === 1) throw new Error('no question, please');
    });
    const transaction = await sequelize.transaction();
    try {
      await sequelize.query(asking.open, { transaction });
      await Item.findByPk(1, { transaction });
      assert.equal(asked, cachedRun ? 2 : 0);
      await Item.update({ bin: 'q' }, { where: { id: 1 }, transaction });
      await Item.update({ sku: 'n2' }, { where: { sku: 's2' }, transaction });
      assert.equal(asked, cachedRun ? 2 : 0);
      await check('before the end');
    } finally {
      restore();
      await transaction.commit();
    }
  });
});
