/** A server whose default is READ COMMITTED: rows that are locked by a condition can be joined by others. */
import assert from 'node:assert/strict';
import { after } from 'node:test';
import { Transaction } from 'sequelize';
import { startMariadb, type MariadbServer } from '../../support/mariadb-process.js';
import { betweenReadAndWrite } from './races.js';
import { describePaths, type Stage } from './write-paths.js';

/** In a transaction of the statement's own: rows are found, then locked (of a DELETE at once), and read after it. */
const update = 5;
const destroy = 3;
let server: MariadbServer | undefined;

/** A row joins the condition after the plugin has read which rows it is about. */
const joined = ({ sequelize, outside, other }: Stage, write: () => Promise<unknown>): Promise<string> =>
  betweenReadAndWrite(sequelize, outside.sequelize, () => other.models.Item.update({ color: 'red' }, { where: { id: 3 } }), write);

describePaths(
  'READ COMMITTED by default',
  (path) => {
    path('bulk update by condition', { extra: update }, async ({ models: { Item }, primed }) => {
      await primed();
      await Item.update({ color: 'green' }, { where: { color: 'red' } });
    });

    path('bulk destroy by condition', { extra: destroy }, async ({ models: { Item }, primed }) => {
      await primed();
      await Item.destroy({ where: { color: 'red' } });
    });

    path('bulk update by condition, of a model with a custom cache', { extra: update }, async ({ models: { Score }, primed }) => {
      await primed();
      await Score.update({ player: 'lee' }, { where: { player: 'kim' } });
    });

    path('a row joins a bulk update while it begins: the plugin’s transaction is begun again', { racy: true }, async (stage) => {
      const { models: { Item }, primed, cachedRun } = stage;
      await primed();
      const outcome = await joined(stage, () => Item.update({ note: 'n', bin: 'q' }, { where: { color: 'red' } }));
      if (cachedRun) assert.equal(outcome, 'finished before');
    });

    path('a row joins a bulk destroy while it begins: the plugin’s transaction is begun again', { racy: true }, async (stage) => {
      const { models: { Item }, primed, cachedRun } = stage;
      await primed();
      const outcome = await joined(stage, () => Item.destroy({ where: { color: 'red' } }));
      if (cachedRun) assert.equal(outcome, 'finished before');
    });

    path('a transaction of the user’s: the table is void', { wide: ['Item'], racy: true }, async (stage) => {
      const { sequelize, models: { Item }, check, primed } = stage;
      await primed();
      await sequelize.transaction(async (transaction) => {
        await joined(stage, () => Item.update({ note: 'n', bin: 'q' }, { where: { color: 'red' }, transaction }));
        await check('before the commit');
      });
    });

    path('a transaction of the user’s that destroys: the row is read under the lock that the statement takes', { extra: 1 }, async ({ sequelize, models: { Item }, check, primed }) => {
      await primed();
      await sequelize.transaction(async (transaction) => {
        await Item.destroy({ where: { color: 'red' }, transaction });
        await check('before the commit');
      });
    });

    path('a row joins a destroy in a transaction of the user’s: the table is void', { wide: ['Item'], racy: true }, async (stage) => {
      const { sequelize, models: { Item }, check, primed } = stage;
      await primed();
      await sequelize.transaction(async (transaction) => {
        await joined(stage, () => Item.destroy({ where: { color: 'red' }, transaction }));
        await check('before the commit');
      });
    });

    path('a transaction of the user’s at REPEATABLE READ', { extra: 2 }, async ({ sequelize, models: { Item }, check, primed }) => {
      await primed();
      await sequelize.transaction({ isolationLevel: Transaction.ISOLATION_LEVELS.REPEATABLE_READ }, async (transaction) => {
        await Item.update({ bin: 'q' }, { where: { color: 'red' }, transaction });
        await check('before the commit');
      });
    });

    path('save, of a model with a custom cache', { extra: 4 }, async ({ models: { Score }, primed }) => {
      const score = await Score.findByPk(1, { rejectOnEmpty: true });
      await primed();
      await score.update({ player: 'lee' });
    });
  },
  {
    server: async () => {
      server = await startMariadb({ args: ['--transaction-isolation=READ-COMMITTED'] });
      return server.url;
    },
  },
);

after(async () => {
  await server?.stop();
});
