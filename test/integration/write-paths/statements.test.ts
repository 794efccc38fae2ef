/** Statements that no model hook announces, scoped subclasses, and hooks that change what a bulk call does. */
import { QueryTypes } from 'sequelize';
import { describePaths } from './write-paths.js';

/** A transaction of the statement's own, to read the rows before it, or before and after it. */
const before = 3;
const both = 4;
/** SET TRANSACTION, before a write by a condition. */
const level = 1;

const found = { rejectOnEmpty: true } as const;

describePaths('queryInterface', (path) => {
  path('bulkUpdate', { wide: ['Item'] }, async ({ sequelize, primed }) => {
    await primed();
    await sequelize.getQueryInterface().bulkUpdate('Items', { item_color: 'blue' }, { item_color: 'red' });
  });

  path('bulkUpdate, of a model with a custom cache', { wide: ['Score'] }, async ({ sequelize, primed }) => {
    await primed();
    await sequelize.getQueryInterface().bulkUpdate('Scores', { player: 'lee' }, { player: 'kim' });
  });

  path('bulkInsert', { wide: ['Item'] }, async ({ sequelize, primed }) => {
    await primed();
    await sequelize.getQueryInterface().bulkInsert('Items', [{ sku: 'n1', aisle: 1, bin: 'a', item_color: 'red' }]);
  });

  path('bulkDelete', { wide: ['Item'] }, async ({ sequelize, primed }) => {
    await primed();
    await sequelize.getQueryInterface().bulkDelete('Items', { item_color: 'red' });
  });

  path('bulkDelete of rows that others refer to', { wide: ['Box', 'Thing'] }, async ({ sequelize, primed }) => {
    await primed();
    await sequelize.getQueryInterface().bulkDelete('Boxes', { id: 1 });
  });

  path('bulkDelete({ truncate })', { wide: ['Item'] }, async ({ sequelize, primed }) => {
    await primed();
    await sequelize.getQueryInterface().bulkDelete('Items', {}, { truncate: true } as never);
  });

  path('insert', { wide: ['Item'] }, async ({ sequelize, primed }) => {
    await primed();
    await sequelize.getQueryInterface().insert(null as never, 'Items', { sku: 'n1', aisle: 1, bin: 'a', item_color: 'red' });
  });

  path('update', { wide: ['Item'] }, async ({ sequelize, models: { Item }, primed }) => {
    const item = await Item.findByPk(1, found);
    await primed();
    await sequelize.getQueryInterface().update(item, 'Items', { item_color: 'blue' }, { id: 1 }, {});
  });

  path('delete', {}, async ({ sequelize, models: { Item }, primed }) => {
    const item = await Item.findByPk(1, found);
    await primed();
    await sequelize.getQueryInterface().delete(item, 'Items', { id: 1 }, { type: QueryTypes.DELETE });
  });

  path('upsert', { wide: ['Item'] }, async ({ sequelize, models: { Item }, primed }) => {
    await primed();
    const values = { sku: 's1', item_color: 'blue' };
    await sequelize.getQueryInterface().upsert('Items', values, values, {}, { model: Item, updateOnDuplicate: ['item_color'] } as never);
  });

  for (const method of ['increment', 'decrement'] as const) {
    path(method, { wide: ['Item'] }, async ({ sequelize, models: { Item }, primed }) => {
      await primed();
      const queryInterface = sequelize.getQueryInterface() as unknown as Record<typeof method, (...args: unknown[]) => Promise<void>>;
      await queryInterface[method](Item, 'Items', { id: 1 }, { stock: 5 }, {}, {});
    });
  }

  path('removeColumn and addColumn', { wide: ['Item'], rebuild: true, of: ['Item'], racy: true }, async ({ sequelize, primed }) => {
    await primed();
    await sequelize.getQueryInterface().removeColumn('Items', 'note');
    await sequelize.query('ALTER TABLE Items ADD COLUMN note VARCHAR(20)');
  });

  path('dropTable', { wide: ['Item'], rebuild: true }, async ({ sequelize, primed }) => {
    await primed();
    await sequelize.getQueryInterface().dropTable('Items');
  });
});

describePaths('sequelize.query', (path) => {
  for (const [name, type] of [['without type', undefined], ['RAW', QueryTypes.RAW], ['UPDATE', QueryTypes.UPDATE], ['BULKUPDATE', QueryTypes.BULKUPDATE]] as const) {
    path(`UPDATE, type ${name}`, { wide: ['Item'] }, async ({ sequelize, primed }) => {
      await primed();
      await sequelize.query("UPDATE Items SET item_color = 'blue', sku = CONCAT(sku, '-') WHERE item_color = 'red'", type === undefined ? {} : ({ type }));
    });
  }

  path('UPDATE, type SELECT', { wide: ['Item'] }, async ({ sequelize, primed }) => {
    await primed();
    await sequelize.query("UPDATE Items SET item_color = 'blue' WHERE id = 1", { type: QueryTypes.SELECT }).catch(() => undefined);
  });

  path('UPDATE with a model and replacements: done before Sequelize fails on the answer', { wide: ['Item'], rejects: /valueSets/ }, async ({ sequelize, models: { Item }, primed }) => {
    await primed();
    await sequelize.query('UPDATE Items SET item_color = ? WHERE id = ?', { replacements: ['blue', 1], model: Item } as never);
  });

  path('UPDATE with a model and its type', { wide: ['Item'] }, async ({ sequelize, models: { Item }, primed }) => {
    await primed();
    await sequelize.query("UPDATE Items SET item_color = 'blue' WHERE id = 1", { type: QueryTypes.UPDATE, model: Item } as never);
  });

  path('INSERT', { wide: ['Item'] }, async ({ sequelize, primed }) => {
    await primed();
    await sequelize.query("INSERT INTO `Items` (sku, aisle, bin, item_color) VALUES ('n1', 1, 'a', 'red')", { type: QueryTypes.INSERT });
  });

  path('DELETE over a join', { wide: ['Country', 'Thing', 'Town'] }, async ({ sequelize, primed }) => {
    await primed();
    await sequelize.query('DELETE Things FROM Things JOIN Countries ON 1 WHERE Things.boxId = 1');
  });

  path('DELETE of rows that others refer to', { wide: ['Box', 'Thing'] }, async ({ sequelize, primed }) => {
    await primed();
    await sequelize.query('delete from `Boxes` where id = 1');
  });

  path('SELECT: no write', { of: ['Item'] }, async ({ sequelize, primed }) => {
    await primed();
    await sequelize.query('SELECT * FROM Items');
    await sequelize.query('/* UPDATE */ SELECT * FROM Items', { type: QueryTypes.SELECT });
  });

  path('UPDATE that fails', { wide: ['Item'], of: ['Item'], rejects: /Validation error/ }, async ({ sequelize, primed }) => {
    await primed();
    await sequelize.query("UPDATE Items SET sku = 's2' WHERE id = 1");
  });

  path('UPDATE in a transaction', { wide: ['Item'] }, async ({ sequelize, check, primed }) => {
    await primed();
    await sequelize.transaction(async (transaction) => {
      await sequelize.query("UPDATE Items SET item_color = 'blue' WHERE id = 1", { transaction });
      await check('before the commit');
    });
  });
});

describePaths('scopes', (path) => {
  path('unscoped().update', { extra: level + both }, async ({ models: { Article }, primed }) => {
    await primed();
    await Article.unscoped().update({ title: 'n' }, { where: { state: 'draft' } });
  });

  path('scope(): the condition is merged', { extra: level + both }, async ({ models: { Item }, primed }) => {
    Item.addScope('red', { where: { color: 'red' } }, { override: true });
    await primed();
    await Item.scope('red').update({ bin: 'q' }, { where: { aisle: 1 } });
  });

  path('instances of a scope: update, increment, destroy', { extra: both + both + before }, async ({ models: { Score }, primed }) => {
    Score.addScope('kim', { where: { player: 'kim' } }, { override: true });
    const [one, two] = await Score.scope('kim').findAll({ order: ['id'] });
    await primed();
    await one!.update({ player: 'lee' });
    await one!.increment('points', { by: 1 });
    await two!.destroy();
  });

  path('scope().destroy', { extra: level + before }, async ({ models: { Item }, primed }) => {
    Item.addScope('red', { where: { color: 'red' } }, { override: true });
    await primed();
    await Item.scope('red').destroy({ where: { aisle: 1 } });
  });

  path('unscoped().bulkCreate that leaves key columns to the database', { wide: ['Article'] }, async ({ models: { Article }, primed }) => {
    await primed();
    await Article.unscoped().bulkCreate([{ slug: 'n1', section: 'home', kind: 'news', rank: 9 }]);
  });

  path('schema(): another table', { of: ['Item'] }, async ({ models: { Item }, primed }) => {
    const elsewhere = Item.schema('elsewhere');
    await elsewhere.sync();
    await elsewhere.destroy({ where: {} });
    await elsewhere.create({ id: 1, sku: 's1' });
    await primed();
    await elsewhere.update({ sku: 'n1' }, { where: { id: 1 } });
  });
});
