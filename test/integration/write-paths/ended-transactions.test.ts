/**
 * Transactions that the server has ended although Sequelize goes on with them: an error that rolls all of it
 * back, or a statement that commits. What is sent in them from then on is committed at once.
 */
import assert from 'node:assert/strict';
import { after } from 'node:test';
import { DataTypes, QueryTypes, type Transaction } from 'sequelize';
import { errorNumber } from '../../../src/hooks/own-statements.js';
import { startMariadb, type MariadbServer } from '../../support/mariadb-process.js';
import { describePaths, type Stage } from './write-paths.js';

let server: MariadbServer | undefined;

/** Another program holds item 2 during something. */
async function whileHeld({ outside, aside }: Stage, during: () => Promise<unknown>): Promise<void> {
  const other = await aside(() => outside.sequelize.transaction());
  await aside(() => outside.models.Item.update({ stock: 20 }, { where: { id: 2 }, transaction: other }));
  try {
    await during();
  } finally {
    await aside(() => other.rollback());
  }
}

/** Ends a transaction of the program's in any case: one that stays open keeps its tables from the next test. */
async function inTransaction({ sequelize }: Stage, end: 'commit' | 'rollback', during: (transaction: Transaction) => Promise<unknown>): Promise<void> {
  const transaction = await sequelize.transaction();
  try {
    await during(transaction);
  } catch (error) {
    await transaction.rollback();
    throw error;
  }
  await transaction[end]();
}

const refusedWith = (number: number, work: Promise<unknown>): Promise<void> => assert.rejects(work, (error) => errorNumber(error) === number);

type Work = (stage: Stage, transaction: Transaction) => Promise<unknown>;

/** Statements of a transaction that wait for item 2, which another program holds. */
const waiting: Readonly<Record<string, Work>> = {
  'an update of a row': ({ models: { Item } }, transaction) => Item.update({ note: 'ours' }, { where: { id: 2 }, transaction }),
  'an update by a condition': ({ models: { Item } }, transaction) => Item.update({ note: 'ours' }, { where: { color: 'red' }, transaction }),
  'a destroy by a condition': ({ models: { Item } }, transaction) => Item.destroy({ where: { sku: 's2' }, transaction }),
  'a find with a lock': ({ models: { Item } }, transaction) => Item.findByPk(2, { lock: true, transaction }),
  'a raw update': ({ sequelize }, transaction) => sequelize.query('UPDATE Items SET note = 1 WHERE id = 2', { transaction }),
  'a raw find with a lock': ({ sequelize }, transaction) => sequelize.query('SELECT * FROM Items WHERE id = 2 FOR UPDATE', { transaction }),
};

/** Statements that are committed at once, since the server has no transaction any more. */
const following: Readonly<Record<string, Work>> = {
  'an update of a row': ({ models: { Item } }, transaction) => Item.update({ sku: 'n1', color: 'blue' }, { where: { id: 1 }, transaction }),
  'an update by a condition': ({ models: { Item } }, transaction) => Item.update({ sku: 'n1' }, { where: { sku: 's1' }, transaction }),
  'a create': ({ models: { Item } }, transaction) => Item.create({ sku: 'n9', aisle: 1, bin: 'a', color: 'red' }, { transaction }),
  'a bulkCreate': ({ models: { Item } }, transaction) => Item.bulkCreate([{ sku: 'n9', aisle: 1, bin: 'a', color: 'red' }], { transaction }),
  'a save in a savepoint': ({ sequelize, models: { Item } }, transaction) =>
    sequelize.transaction({ transaction }, async (child) => (await Item.findByPk(1, { rejectOnEmpty: true, transaction: child })).update({ sku: 'n1' }, { transaction: child })),
};

describePaths(
  'a transaction that the server has ended',
  (path) => {
    // Its own lock wait, not the plugin's: each ends after a second.
    for (const [title, wait] of Object.entries(waiting)) {
      path(`rolled back by ${title} that timed out, then one more and rolled back`, { racy: true, of: ['Item'] }, async (stage) => {
        const { models: { Item }, check, primed } = stage;
        await primed();
        await inTransaction(stage, 'rollback', async (transaction) => {
          await Item.update({ bin: 'q' }, { where: { id: 3 }, transaction });
          await whileHeld(stage, () => refusedWith(1205, wait(stage, transaction)));
          await check('the server has undone it');
          await Item.update({ sku: 'n1', color: 'blue' }, { where: { id: 1 }, transaction });
          await check('committed at once');
        });
      });
    }

    for (const [title, write] of Object.entries(following)) {
      for (const end of title === 'a bulkCreate' ? (['commit', 'rollback'] as const) : (['rollback'] as const)) {
        path(`rolled back by a lock wait that timed out, then ${title} and ${end}`, { racy: true, of: ['Item'] }, async (stage) => {
          const { models: { Item }, check, primed } = stage;
          await primed();
          await inTransaction(stage, end, async (transaction) => {
            await whileHeld(stage, () => refusedWith(1205, Item.update({ note: 'ours' }, { where: { id: 2 }, transaction })));
            // In a savepoint the server refuses its end; the row is written.
            await write(stage, transaction).catch((error: unknown) => {
              assert.match(String(error), /SAVEPOINT .* does not exist/);
            });
            await check('committed at once');
          });
        });
      }
    }

    path('rolled back by a lock wait in a savepoint, whose parent goes on', { racy: true, of: ['Item'] }, async (stage) => {
      const { sequelize, models: { Item }, check, primed } = stage;
      await primed();
      await inTransaction(stage, 'rollback', async (parent) => {
        await Item.update({ bin: 'q' }, { where: { id: 3 }, transaction: parent });
        const child = await sequelize.transaction({ transaction: parent });
        await whileHeld(stage, () => refusedWith(1205, Item.update({ note: 'ours' }, { where: { id: 2 }, transaction: child })));
        await Item.update({ sku: 'n1' }, { where: { id: 1 }, transaction: parent });
        await check('committed at once');
      });
    });

    path('rolled back by a row that has changed since its snapshot (1020)', { racy: true, of: ['Item'] }, async (stage) => {
      const { sequelize, outside, aside, models: { Item }, check, primed } = stage;
      await primed();
      await inTransaction(stage, 'rollback', async (transaction) => {
        await sequelize.query('SET innodb_snapshot_isolation = ON', { transaction });
        await Item.findByPk(1, { transaction });
        await aside(() => outside.models.Item.update({ stock: 7 }, { where: { id: 2 } }));
        await refusedWith(1020, Item.update({ note: 'ours' }, { where: { id: 2 }, transaction }));
        await Item.update({ sku: 'n1' }, { where: { id: 1 }, transaction });
        await check('committed at once');
        await sequelize.query('SET innodb_snapshot_isolation = OFF', { transaction });
      });
    });

    // What a statement runs is not in its text.
    const hiding: Readonly<Record<string, string>> = {
      'a procedure': 'CALL ends()',
      'a prepared statement': 'EXECUTE ending',
      'a text made at run time': "EXECUTE IMMEDIATE 'COMMIT'",
      'a block': 'BEGIN NOT ATOMIC COMMIT; END',
      'a procedure with settings of its own': 'SET STATEMENT max_statement_time = 60 FOR CALL ends()',
    };
    for (const [title, text] of Object.entries(hiding)) {
      for (const [title2, write] of Object.entries(following)) {
        if (title !== 'a procedure' && title2 !== 'an update of a row') continue;
        path(`committed by ${title}, then ${title2}, and rolled back`, { racy: true, of: ['Item'] }, async (stage) => {
          const { sequelize, outside, aside, models: { Item }, check, primed } = stage;
          await aside(() => outside.sequelize.query('CREATE OR REPLACE PROCEDURE ends() COMMIT'));
          await primed();
          await inTransaction(stage, 'rollback', async (transaction) => {
            await sequelize.query("PREPARE ending FROM 'COMMIT'", { transaction });
            await Item.update({ bin: 'q' }, { where: { id: 3 }, transaction });
            await check('before it');
            await sequelize.query(text, { transaction });
            await check('what was before is committed');
            await write(stage, transaction).catch((error: unknown) => {
              assert.match(String(error), /SAVEPOINT .* does not exist/);
            });
            await check('committed at once');
          });
        });
      }
    }

    // The model's table is void, and so is what was changed in the transaction before.
    for (const type of [QueryTypes.INSERT, QueryTypes.UPDATE, QueryTypes.BULKUPDATE, QueryTypes.UPSERT, QueryTypes.DELETE, QueryTypes.BULKDELETE]) {
      for (const given of ['model', 'instance'] as const) {
        path(`committed by a procedure that is sent as ${type} of another ${given}, then rolled back`, { racy: true, of: ['Item', 'Thing'], wide: ['Thing'] }, async (stage) => {
          const { sequelize, outside, aside, models: { Item, Thing }, check, primed } = stage;
          await aside(() => outside.sequelize.query('CREATE OR REPLACE PROCEDURE ends() COMMIT'));
          await primed();
          await inTransaction(stage, 'rollback', async (transaction) => {
            await Item.update({ bin: 'q' }, { where: { id: 3 }, transaction });
            const options = { type, transaction, ...(given === 'model' ? { model: Thing } : { instance: Thing.build() }) };
            // It has no rows, and Sequelize fails on some answers after the statement was run.
            await sequelize.query('CALL ends()', options as never).catch((error: unknown) => {
              assert.ok(error instanceof TypeError, String(error));
            });
            await check('what was before is committed');
            await Item.update({ sku: 'n1' }, { where: { id: 1 }, transaction });
            await check('committed at once');
          });
        });
      }
    }

    // Each looks as if it ended the transaction, or is an error that ends another one.
    const keeping: Readonly<Record<string, { readonly work: Work; readonly wide?: readonly ('Page' | 'Thing')[]; readonly wideAlways?: true }>> = {
      'a procedure that commits nothing': { work: ({ sequelize }, transaction) => sequelize.query('CALL ends_nothing()', { transaction }) },
      'a statement that takes too long': {
        work: ({ sequelize }, transaction) => refusedWith(1969, sequelize.query('SET STATEMENT max_statement_time = 0.05 FOR SELECT SLEEP(5)', { transaction })),
      },
      'a duplicate': { work: ({ models: { Item } }, transaction) => refusedWith(1062, Item.create({ sku: 's2' }, { transaction })) },
      'DDL that is not understood': { work: ({ sequelize }, transaction) => refusedWith(1064, sequelize.query('ALTER TABLE Things NO', { transaction })), wide: ['Thing'], wideAlways: true },
      'an analysis of a query': { work: ({ sequelize }, transaction) => sequelize.query('ANALYZE FORMAT=JSON SELECT * FROM Things', { transaction }), wide: ['Thing'] },
      'a truncate that is an UPDATE, of a paranoid model': { work: ({ models: { Page } }, transaction) => Page.truncate({ transaction }), wide: ['Page'] },
    };
    for (const [title, { work, wide = [], wideAlways }] of Object.entries(keeping)) {
      for (const end of ['commit', 'rollback'] as const) {
        path(`kept by ${title}, then ${end}`, { racy: true, of: ['Item', 'Page', 'Thing'], wide: end === 'commit' || wideAlways === true ? wide : [] }, async (stage) => {
          const { outside, aside, models: { Item }, check, primed } = stage;
          await aside(() => outside.sequelize.query('CREATE OR REPLACE PROCEDURE ends_nothing() SELECT 1'));
          await primed();
          await inTransaction(stage, end, async (transaction) => {
            await Item.update({ sku: 'n1' }, { where: { id: 1 }, transaction });
            await work(stage, transaction);
            await Item.update({ color: 'blue' }, { where: { id: 3 }, transaction });
            await check('before the end');
          });
        });
      }
    }

    for (const [title, commit] of Object.entries<Work>({
      TRUNCATE: ({ models: { Thing } }, transaction) => Thing.truncate({ transaction }),
      DDL: ({ sequelize }, transaction) => sequelize.query('ALTER TABLE Things COMMENT = ""', { transaction }),
      'TRUNCATE of a table that is not cached': async ({ sequelize, outside, aside }, transaction) => {
        await aside(() => outside.sequelize.query('CREATE TABLE IF NOT EXISTS Notes (id INT PRIMARY KEY)'));
        await sequelize.define('Note', { id: { type: DataTypes.INTEGER, primaryKey: true } }, { tableName: 'Notes', timestamps: false }).truncate({ transaction });
      },
      'a sync of a model that is not cached': ({ sequelize }, transaction) =>
        sequelize.define('Memo', { id: { type: DataTypes.INTEGER, primaryKey: true } }, { tableName: 'Memos', timestamps: false }).sync({ force: true, transaction } as never),
      'a raw COMMIT': ({ sequelize }, transaction) => sequelize.query('COMMIT', { transaction }),
    })) {
      for (const [title2, write] of Object.entries(following)) {
        if (title !== 'TRUNCATE' && title2 !== 'an update of a row' && title2 !== 'a bulkCreate') continue;
        for (const end of title2 === 'a bulkCreate' ? (['commit', 'rollback'] as const) : (['rollback'] as const)) {
          const wide = title === 'TRUNCATE' || title === 'DDL' ? (['Thing'] as const) : [];
          path(`committed by ${title}, then ${title2} and ${end}`, { racy: true, of: ['Item', 'Thing'], wide }, async (stage) => {
            const { models: { Item }, check, primed } = stage;
            await primed();
            await inTransaction(stage, end, async (transaction) => {
              await Item.update({ bin: 'q' }, { where: { id: 3 }, transaction });
              await commit(stage, transaction);
              await check('what was before is committed');
              await write(stage, transaction).catch((error: unknown) => {
                assert.match(String(error), /SAVEPOINT .* does not exist/);
              });
              await check('committed at once');
            });
          });
        }
      }
    }
  },
  {
    server: async () => {
      server = await startMariadb({ args: ['--innodb-rollback-on-timeout=ON', '--innodb-lock-wait-timeout=1'] });
      return server.url;
    },
  },
);

after(async () => {
  await server?.stop();
});
