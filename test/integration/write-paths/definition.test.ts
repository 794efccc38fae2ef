/** Tables that are dropped, made anew or emptied all together. */
import type { Sequelize } from 'sequelize';
import { describePaths } from './write-paths.js';

describePaths('definition', (path) => {
  const all = [
    ...['User', 'Post', 'Article', 'Avatar', 'Vote', 'Country', 'Group', 'Membership', 'Item', 'Profile', 'Page', 'Reply'],
    ...['Shelf', 'Box', 'Thing', 'Town', 'Score'],
  ] as never[];

  path('Model.sync', { of: ['Item'], rebuild: true }, async ({ models: { Item }, primed }) => {
    await primed();
    await Item.sync();
  });

  path('Model.sync({ alter })', { of: ['Score'], rebuild: true, wide: ['Score'] }, async ({ models: { Score }, primed }) => {
    await primed();
    await Score.sync({ alter: true });
  });

  path('Model.sync({ force })', { rebuild: true, wide: ['Item'] }, async ({ models: { Item }, primed }) => {
    await primed();
    await Item.sync({ force: true });
  });

  path('Model.drop', { rebuild: true, wide: ['Item'] }, async ({ models: { Item }, primed }) => {
    await primed();
    await Item.drop();
  });

  path('sequelize.sync({ force })', { rebuild: true, wide: all }, async ({ sequelize, primed }) => {
    await primed();
    await sequelize.sync({ force: true });
  });

  path('sequelize.drop', { rebuild: true, wide: all }, async ({ sequelize, primed }) => {
    await primed();
    await sequelize.drop();
  });

  path('sequelize.truncate', { rejects: /foreign key/, rebuild: true, racy: true, wide: all }, async ({ sequelize, primed }) => {
    await primed();
    try {
      await sequelize.truncate();
    } finally {
      // It sends all tables' statements at once and rejects at the first that fails: the others are still under way.
      await statementsSettled(sequelize);
    }
  });

  path('sequelize.truncate({ cascade }), foreign keys off', { rebuild: true, wide: all }, async ({ sequelize, primed }) => {
    // One connection.
    const transaction = await sequelize.transaction();
    await primed();
    await sequelize.query('SET FOREIGN_KEY_CHECKS = 0', { transaction });
    await sequelize.truncate({ cascade: true, force: true, transaction } as never);
    await sequelize.query('SET FOREIGN_KEY_CHECKS = 1', { transaction });
    await transaction.commit();
  });
});

/** Until no statement of a Sequelize instance is under way, its hooks included: only then its connection is given back. */
async function statementsSettled(sequelize: Sequelize): Promise<void> {
  const { pool } = (sequelize as unknown as { readonly connectionManager: { readonly pool: { readonly using: number; readonly waiting: number } } })
    .connectionManager;
  while (pool.using + pool.waiting > 0) await new Promise(setImmediate);
}
