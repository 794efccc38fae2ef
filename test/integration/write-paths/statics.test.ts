/** Bulk and static writes with every option: each held to the database's own answers. */
import { Op, type Model } from 'sequelize';
import { describePaths } from './write-paths.js';

/** By condition: the rows are read under a lock first, in a transaction of the statement's own, at READ COMMITTED. */
const before = 4;
/** And read again after it. */
const both = 5;
/** At the session's own level: the rows are known, or a limit needs that no other can join. */
const asSet = { before: 3, both: 4 };
/** All that refers to a user. */
const ofUser = ['Post', 'Avatar', 'Membership', 'Vote', 'Profile'] as const;

describePaths('bulk update', (path) => {
  path('by primary key, a value in no key', {}, async ({ models: { Item }, primed }) => {
    await primed();
    await Item.update({ note: 'n' }, { where: { id: [1, 2] } });
  });

  path('by primary key, a key', { extra: 3 }, async ({ models: { Item }, primed }) => {
    await primed();
    await Item.update({ sku: 'n1' }, { where: { id: 1 } });
  });

  path('by condition, a value in no key', { extra: before }, async ({ models: { Item }, primed }) => {
    await primed();
    await Item.update({ note: 'n' }, { where: { color: 'red' } });
  });

  path('by condition, a key', { extra: both }, async ({ models: { Item }, primed }) => {
    await primed();
    await Item.update({ color: 'blue', bin: 'c' }, { where: { color: 'red' } });
  });

  path('by condition, no row matches', { extra: before, of: ['Item'] }, async ({ models: { Item }, primed }) => {
    await primed();
    await Item.update({ color: 'blue' }, { where: { color: 'none' } });
  });

  path('by ranges and alternatives', { extra: both }, async ({ models: { Item }, primed }) => {
    await primed();
    await Item.update({ color: 'blue' }, { where: { [Op.or]: [{ stock: { [Op.lt]: 15 } }, { sku: { [Op.like]: 's2%' } }] } });
  });

  path('of all rows', { extra: both }, async ({ models: { Item }, primed }) => {
    await primed();
    await Item.update({ color: 'blue' }, { where: {} });
  });

  path('of a model with a custom cache, by primary key', { extra: asSet.both }, async ({ models: { Score }, primed }) => {
    await primed();
    await Score.update({ player: 'lee' }, { where: { id: 1 } });
  });

  path('of a model with a custom cache, by condition', { extra: both }, async ({ models: { Score }, primed }) => {
    await primed();
    await Score.update({ player: 'lee' }, { where: { player: 'kim' } });
  });

  path('a literal', { extra: both }, async ({ sequelize, models: { Item }, primed }) => {
    await primed();
    await Item.update({ color: sequelize.literal("CONCAT(sku, '-')") as never }, { where: { color: 'red' } });
  });

  path('with a condition in SQL', { wide: ['Item'] }, async ({ sequelize, models: { Item }, primed }) => {
    await primed();
    await Item.update({ note: 'n' }, { where: sequelize.literal('stock < 15') });
  });

  path('fields', { extra: both }, async ({ models: { Item }, primed }) => {
    await primed();
    await Item.update({ color: 'blue', note: 'not written' }, { where: { color: 'red' }, fields: ['color'] });
  });

  path('limit', { extra: asSet.both }, async ({ models: { Item }, primed }) => {
    await primed();
    await Item.update({ color: 'blue' }, { where: { color: 'red' }, limit: 1 });
  });

  path('hooks: false', { extra: both }, async ({ models: { Item }, primed }) => {
    await primed();
    await Item.update({ color: 'blue' }, { where: { color: 'red' }, hooks: false });
  });

  path('individualHooks', { extra: both }, async ({ models: { Item }, primed }) => {
    await primed();
    await Item.update({ color: 'blue' }, { where: { color: 'red' }, individualHooks: true });
  });

  path('individualHooks, rows that a hook makes differ', {}, async ({ models: { Item }, primed }) => {
    await primed();
    Item.addHook('beforeUpdate', 'test-path', (row: Model) => void row.set('bin', `b${String(row.get('id'))}`));
    try {
      await Item.update({ color: 'blue' }, { where: { color: 'red' }, individualHooks: true });
    } finally {
      Item.removeHook('beforeUpdate', 'test-path');
    }
  });

  path('individualHooks and limit', { extra: asSet.both }, async ({ models: { Item }, primed }) => {
    await primed();
    await Item.update({ color: 'blue' }, { where: { color: 'red' }, individualHooks: true, limit: 1 });
  });

  path('individualHooks set in a hook', { extra: both }, async ({ models: { Item }, primed }) => {
    await primed();
    Item.addHook('beforeBulkUpdate', 'test-path', (options) => void Reflect.set(options, 'individualHooks', true));
    try {
      await Item.update({ color: 'blue' }, { where: { color: 'red' } });
    } finally {
      Item.removeHook('beforeBulkUpdate', 'test-path');
    }
  });

  path('where and values changed in beforeBulkUpdate', { extra: both }, async ({ models: { Item }, primed }) => {
    await primed();
    Item.addHook('beforeBulkUpdate', 'test-path', (options) => {
      Reflect.set(options, 'where', { sku: 's3' });
      Reflect.set(Reflect.get(options, 'attributes') as object, 'color', 'green');
    });
    try {
      await Item.update({ color: 'blue' }, { where: { color: 'red' } });
    } finally {
      Item.removeHook('beforeBulkUpdate', 'test-path');
    }
  });

  path('paranoid: deleted rows are left alone', { extra: both }, async ({ models: { Post }, primed }) => {
    await primed();
    await Post.update({ published: true }, { where: { published: false } });
  });

  path('paranoid: false', { extra: both }, async ({ models: { Post }, primed }) => {
    await primed();
    await Post.update({ published: true }, { where: { published: false }, paranoid: false });
  });

  path('deletedAt set to null', { extra: asSet.both }, async ({ models: { Post }, primed }) => {
    await primed();
    await Post.update({ deletedAt: null }, { where: { id: 3 }, paranoid: false });
  });

  path('of a primary key', { wide: ['Country'], of: ['Town'], extra: 5 }, async ({ models: { Country }, primed }) => {
    await primed();
    await Country.update({ code: 'XX' }, { where: { code: 'NO' } });
  });

  path('that the database refuses', { extra: 2, rejects: /Validation error/, of: ['Item'] }, async ({ models: { Item }, primed }) => {
    await primed();
    await Item.update({ sku: 's2' }, { where: { id: 1 } });
  });
});

describePaths('bulk destroy and restore', (path) => {
  path('by primary key', {}, async ({ models: { Item }, primed }) => {
    await primed();
    await Item.destroy({ where: { id: [1, 2] } });
  });

  path('by condition', { extra: before }, async ({ models: { Item }, primed }) => {
    await primed();
    await Item.destroy({ where: { color: 'red' } });
  });

  path('of a model with a custom cache', { extra: before }, async ({ models: { Score }, primed }) => {
    await primed();
    await Score.destroy({ where: { player: 'kim', points: 50 } });
  });

  path('limit', { extra: asSet.before }, async ({ models: { Item }, primed }) => {
    await primed();
    await Item.destroy({ where: { color: 'red' }, limit: 1 });
  });

  path('hooks: false', { extra: before }, async ({ models: { Item }, primed }) => {
    await primed();
    await Item.destroy({ where: { color: 'red' }, hooks: false });
  });

  path('individualHooks', { extra: before }, async ({ models: { Item }, primed }) => {
    await primed();
    await Item.destroy({ where: { color: 'red' }, individualHooks: true });
  });

  path('individualHooks set in a hook', { extra: before }, async ({ models: { Item }, primed }) => {
    await primed();
    Item.addHook('beforeBulkDestroy', 'test-path', (options) => void Reflect.set(options, 'individualHooks', true));
    try {
      await Item.destroy({ where: { color: 'red' } });
    } finally {
      Item.removeHook('beforeBulkDestroy', 'test-path');
    }
  });

  path('paranoid', { extra: both }, async ({ models: { Post }, primed }) => {
    await primed();
    await Post.destroy({ where: { authorId: 1 } });
  });

  path('paranoid, force', { extra: before, wide: [] }, async ({ models: { Post }, primed }) => {
    await primed();
    await Post.destroy({ where: { authorId: 1 }, force: true });
  });

  path('paranoid, individualHooks', { extra: both }, async ({ models: { Post }, primed }) => {
    await primed();
    await Post.destroy({ where: { authorId: 1 }, individualHooks: true });
  });

  path('truncate: true', { wide: ['Item'] }, async ({ models: { Item }, primed }) => {
    await primed();
    await Item.destroy({ truncate: true });
  });

  path('truncate: true with a where, which SQL ignores', { wide: ['Item'] }, async ({ models: { Item }, primed }) => {
    await primed();
    await Item.destroy({ truncate: true, where: { id: 1 } });
  });

  path('Model.truncate', { wide: ['Item'] }, async ({ models: { Item }, primed }) => {
    await primed();
    await Item.truncate();
  });

  path('truncate({ cascade, restartIdentity })', { wide: ['Item'] }, async ({ models: { Item }, primed }) => {
    await primed();
    await Item.truncate({ cascade: true, restartIdentity: true });
  });

  path('truncate of a table that others refer to: refused', { rejects: /foreign key/, wide: ['Page', 'Reply'] }, async ({ models: { Page }, primed }) => {
    await primed();
    await Page.truncate({ force: true });
  });

  path('truncate of a paranoid model: an update', { wide: ['Post'] }, async ({ models: { Post }, primed }) => {
    await primed();
    await Post.truncate();
  });

  path('restore by condition', { extra: both }, async ({ models: { Post }, primed }) => {
    await primed();
    await Post.restore({ where: { code: 'p3' } });
  });

  path('restore of all', { extra: both, touches: ['Post'] }, async ({ models: { Post }, primed }) => {
    await primed();
    await Post.restore();
  });

  path('restore, individualHooks', { extra: both }, async ({ models: { Post }, primed }) => {
    await primed();
    await Post.restore({ where: { code: 'p3' }, individualHooks: true });
  });

  path('restore, hooks: false', { extra: both }, async ({ models: { Page }, primed }) => {
    await primed();
    await Page.restore({ where: { path: '/3' }, hooks: false });
  });

  path('of rows that others refer to', { extra: before + 5, of: ofUser }, async ({ models: { User }, primed }) => {
    await primed();
    await User.destroy({ where: { city: 'Oslo' } });
  });
});

describePaths('insert', (path) => {
  path('bulkCreate', {}, async ({ models: { Item }, primed }) => {
    await primed();
    await Item.bulkCreate([
      { sku: 'n1', aisle: 1, bin: 'a', color: 'red' },
      { sku: 'n2', aisle: 1, bin: 'a', color: 'blue' },
    ]);
  });

  path('bulkCreate, of a model with a custom cache', {}, async ({ models: { Avatar }, primed }) => {
    await primed();
    await Avatar.bulkCreate([{ url: 'n1', userId: 2, isPrimary: true }, { url: 'n2', userId: 3, isPrimary: true }]);
  });

  path('bulkCreate([])', { of: ['Item'] }, async ({ models: { Item }, primed }) => {
    await primed();
    await Item.bulkCreate([]);
  });

  path('bulkCreate with primary keys', {}, async ({ models: { Country }, primed }) => {
    await primed();
    await Country.bulkCreate([{ code: 'SE', name: 'Sweden', population: 10 }, { code: 'DK', name: 'Denmark', population: 6 }]);
  });

  path('bulkCreate, hooks: false', { wide: ['Item'] }, async ({ models: { Item }, primed }) => {
    await primed();
    await Item.bulkCreate([{ sku: 'n1', aisle: 1, bin: 'a', color: 'red' }], { hooks: false });
  });

  path('bulkCreate, individualHooks', {}, async ({ models: { Item }, primed }) => {
    await primed();
    await Item.bulkCreate([{ sku: 'n1', aisle: 1, bin: 'a', color: 'red' }], { individualHooks: true });
  });

  path('bulkCreate, individualHooks set in a hook', {}, async ({ models: { Item }, primed }) => {
    await primed();
    Item.addHook('beforeBulkCreate', 'test-path', (_, options) => void Reflect.set(options, 'individualHooks', true));
    try {
      await Item.bulkCreate([{ sku: 'n1', aisle: 1, bin: 'a', color: 'red' }]);
    } finally {
      Item.removeHook('beforeBulkCreate', 'test-path');
    }
  });

  path('bulkCreate, fields', { wide: ['Item'] }, async ({ models: { Item }, primed }) => {
    await primed();
    await Item.bulkCreate([{ sku: 'n1', aisle: 1, bin: 'a', color: 'red' }], { fields: ['sku', 'color'] });
  });

  path('bulkCreate, updateOnDuplicate', { wide: ['Item'] }, async ({ models: { Item }, primed }) => {
    await primed();
    await Item.bulkCreate(
      [
        { sku: 'n1', aisle: 1, bin: 'a' },
        { sku: 's1', aisle: 3, bin: 'c' },
        { sku: 'n2', aisle: 1, bin: 'a' },
      ],
      { updateOnDuplicate: ['aisle', 'bin'] },
    );
  });

  path('bulkCreate, updateOnDuplicate of a column of another name', { wide: ['Item'] }, async ({ models: { Item }, primed }) => {
    await primed();
    await Item.bulkCreate([{ sku: 's1', color: 'blue' }], { updateOnDuplicate: ['color'] });
  });

  path('bulkCreate, ignoreDuplicates: ids that are wrong', { wide: ['Item'] }, async ({ models: { Item }, primed }) => {
    await primed();
    await Item.bulkCreate(
      [
        { sku: 's1', aisle: 7, bin: 'q' },
        { sku: 'n1', aisle: 1, bin: 'a' },
        { sku: 's2', aisle: 7, bin: 'q' },
        { sku: 'n2', aisle: 1, bin: 'b' },
      ],
      { ignoreDuplicates: true },
    );
  });

  path('bulkCreate that the database refuses', { rejects: /Validation error/, of: ['Item'] }, async ({ models: { Item }, primed }) => {
    await primed();
    await Item.bulkCreate([{ sku: 'n1', aisle: 1, bin: 'a', color: 'red' }, { sku: 's1', aisle: 1, bin: 'a', color: 'red' }]);
  });

  path('bulkCreate with include', {}, async ({ models: { User, Avatar }, primed }) => {
    await primed();
    await User.bulkCreate(
      [{ username: 'eve', email: 'eve@x', tenantId: 3, slug: 'e', city: 'Oslo', level: 1, avatars: [{ url: 'n1', isPrimary: true }] }],
      { include: [{ model: Avatar, as: 'avatars' }] },
    );
  });

  path('upsert that inserts', { wide: ['Item'] }, async ({ models: { Item }, primed }) => {
    await primed();
    await Item.upsert({ sku: 'n1', aisle: 1, bin: 'a', color: 'red' });
  });

  path('upsert that updates', { wide: ['Item'] }, async ({ models: { Item }, primed }) => {
    await primed();
    await Item.upsert({ sku: 's1', aisle: 1, bin: 'b', color: 'blue' });
  });

  path('upsert that moves a primary key', { wide: ['Item'] }, async ({ models: { Item }, primed }) => {
    await primed();
    await Item.upsert({ id: 77, sku: 's1', color: 'green' });
  });

  path('upsert that changes nothing', { wide: ['Item'], of: ['Item'] }, async ({ models: { Item }, primed }) => {
    await primed();
    await Item.upsert({ sku: 's1' });
  });

  path('upsert, hooks: false, of a model with a custom cache', { wide: ['Score'] }, async ({ models: { Score }, primed }) => {
    await primed();
    await Score.upsert({ id: 1, player: 'lee', points: 50 }, { hooks: false });
  });

  path('upsert of a row that others refer to', { wide: ['User'] }, async ({ models: { User }, primed }) => {
    await primed();
    await User.upsert({ username: 'ann', email: 'ann@y', tenantId: 1, slug: 'a' });
  });

  path('upsert that moves a primary key that others refer to', { wide: ['User', ...ofUser] }, async ({ models: { User }, primed }) => {
    await primed();
    await User.upsert({ id: 77, username: 'ann', email: 'ann@x', tenantId: 1, slug: 'a' });
  });

  path('bulkCreate, updateOnDuplicate of a primary key that others refer to', { wide: ['User', ...ofUser] }, async ({ models: { User }, primed }) => {
    await primed();
    await User.bulkCreate([{ id: 77, username: 'ann', email: 'ann@x', tenantId: 1, slug: 'a' }], { updateOnDuplicate: ['id'] });
  });

  for (const method of ['findOrCreate', 'findCreateFind'] as const) {
    path(`${method} that creates`, {}, async ({ models: { Item }, primed }) => {
      await primed();
      await Item[method]({ where: { sku: 'n1' }, defaults: { aisle: 1, bin: 'a', color: 'red' } });
    });

    path(`${method} that finds`, { of: ['Item'] }, async ({ models: { Item }, primed }) => {
      await primed();
      await Item[method]({ where: { sku: 's1' }, defaults: { aisle: 2 } });
    });
  }

  path('findOrBuild, then save', {}, async ({ models: { Item }, primed }) => {
    await primed();
    const [item] = await Item.findOrBuild({ where: { sku: 'n1' }, defaults: { aisle: 1, bin: 'a', color: 'red' } });
    await item.save();
  });
});

describePaths('static increment', (path) => {
  path('increment by primary key', {}, async ({ models: { Item }, primed }) => {
    await primed();
    await Item.increment('stock', { by: 5, where: { id: 1 } });
  });

  path('increment by condition', { wide: ['Item'] }, async ({ models: { Item }, primed }) => {
    await primed();
    await Item.increment({ stock: 5 }, { where: { color: 'red' } });
  });

  path('decrement by primary key', {}, async ({ models: { Item }, primed }) => {
    await primed();
    await Item.decrement(['stock'], { by: 5, where: { id: 1 } });
  });

  path('decrement by condition', { wide: ['Item'] }, async ({ models: { Item }, primed }) => {
    await primed();
    await Item.decrement({ stock: 5 } as never, { where: { color: 'red' } });
  });

  path('increment of a key', { wide: ['User'] }, async ({ models: { User }, primed }) => {
    await primed();
    await User.increment({ level: 1, visits: 3 } as never, { where: { city: 'Oslo' } });
  });

  path('increment of a column of the default scope’s order', { extra: asSet.both }, async ({ models: { Article }, primed }) => {
    await primed();
    await Article.increment('rank', { by: 5, where: { id: 1 } });
  });
});
