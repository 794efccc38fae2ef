/** A server whose default is SERIALIZABLE: every read inside a transaction locks what it reads. */
import assert from 'node:assert/strict';
import { after } from 'node:test';
import { startMariadb, type MariadbServer } from '../../support/mariadb-process.js';
import { betweenReadAndWrite } from './races.js';
import { describePaths } from './write-paths.js';

/** The row is read before and after, in a transaction of the statement's own. */
const inTransaction = 4;
let server: MariadbServer | undefined;

describePaths(
  'SERIALIZABLE by default',
  (path) => {
    path('bulk update by condition', { extra: inTransaction }, async ({ models: { Item }, primed }) => {
      await primed();
      await Item.update({ color: 'green' }, { where: { color: 'red' } });
    });

    path('bulk destroy by condition', { extra: inTransaction - 1 }, async ({ models: { Item }, primed }) => {
      await primed();
      await Item.destroy({ where: { color: 'red' } });
    });

    path('a row wants to join a bulk update while it begins', { racy: true }, async ({ sequelize, outside, other, models: { Item }, primed, cachedRun }) => {
      await primed();
      const outcome = await betweenReadAndWrite(
        sequelize,
        outside.sequelize,
        () => other.models.Item.update({ color: 'red' }, { where: { id: 3 } }),
        () => Item.update({ note: 'n', bin: 'q' }, { where: { color: 'red' } }),
      );
      if (cachedRun) assert.equal(outcome, 'waited');
    });

    path('save, of a model with a custom cache', { extra: inTransaction }, async ({ models: { Score }, primed }) => {
      const score = await Score.findByPk(1, { rejectOnEmpty: true });
      await primed();
      await score.update({ player: 'lee' });
    });

    path('a transaction that reads through the cache and writes', { extra: 2 }, async ({ sequelize, models: { Item }, check, primed }) => {
      await primed();
      await sequelize.transaction(async (transaction) => {
        await Item.findByPk(1, { transaction });
        await Item.update({ bin: 'q' }, { where: { color: 'red' }, transaction });
        await check('before the commit');
      });
    });

    path('a transaction that is rolled back', { extra: 2 }, async ({ sequelize, models: { Item }, check, primed }) => {
      await primed();
      const stop = new Error('stop');
      await assert.rejects(
        sequelize.transaction(async (transaction) => {
          await Item.update({ bin: 'q' }, { where: { color: 'red' }, transaction });
          await check('before the roll-back');
          throw stop;
        }),
        stop,
      );
    });
  },
  {
    server: async () => {
      server = await startMariadb({ args: ['--transaction-isolation=SERIALIZABLE'] });
      return server.url;
    },
  },
);

after(async () => {
  await server?.stop();
});
