/** Writes of single instances: each held to the database's own answers. */
import assert from 'node:assert/strict';
import type { Model } from 'sequelize';
import { describePaths } from './write-paths.js';

const found = { rejectOnEmpty: true } as const;
/** A transaction of the statement's own, to read the row after it: a key value that only the database knows. */
const after = 3;
/** What a custom cache costs: the values before under a lock, in a transaction of the statement's own. */
const custom = 3;
/** And the values after. */
const moved = 4;

describePaths('instance', (path) => {
  path('create', {}, async ({ models: { Item }, primed }) => {
    await primed();
    await Item.create({ sku: 'n1', aisle: 1, bin: 'a', color: 'red' });
  });

  path('create, of a model with a custom cache', {}, async ({ models: { Avatar }, primed }) => {
    await primed();
    await Avatar.create({ url: 'n1', userId: 2, isPrimary: true });
  });

  path('create, where the database fills in key values', { extra: after }, async ({ models: { Score }, primed }) => {
    await primed();
    await Score.create({ points: 70 });
  });

  path('create, with a primary key of its own', {}, async ({ models: { Country }, primed }) => {
    await primed();
    await Country.create({ code: 'SE', name: 'Sweden', population: 60 });
  });

  path('build().save()', { extra: after }, async ({ models: { Item }, primed }) => {
    await primed();
    await Item.build({ sku: 'n1', aisle: 2, bin: 'b' }).save();
  });

  path('create that the database refuses', { rejects: /Validation error/, of: ['Item'], extra: 2 }, async ({ models: { Item }, primed }) => {
    await primed();
    await Item.create({ sku: 's1', aisle: 7 });
  });

  path('save of values that are in no key', {}, async ({ models: { Item }, primed }) => {
    const item = await Item.findByPk(1, found);
    await primed();
    item.set({ note: 'changed', stock: 11 });
    await item.save();
  });

  path('update of a unique key', {}, async ({ models: { Item }, primed }) => {
    const item = await Item.findByPk(1, found);
    await primed();
    await item.update({ sku: 'n1' });
  });

  path('update of one column of a composite key', { extra: after }, async ({ models: { Item }, primed }) => {
    const item = await Item.findByPk(1, found);
    await primed();
    await item.update({ bin: 'b' });
  });

  path('update of a column of another name', {}, async ({ models: { Item }, primed }) => {
    const item = await Item.findByPk(1, found);
    await primed();
    await item.update({ color: 'blue' });
  });

  path('update to null and to another type of value', {}, async ({ models: { Item }, primed }) => {
    const item = await Item.findByPk(1, found);
    await primed();
    await item.update({ aisle: '9', bin: null, color: null });
  });

  // The best score is a list, ordered by the points: which player's it is, is read after the write.
  path('update of a model with a custom cache: what a list is ordered by', { extra: moved }, async ({ models: { Score }, primed }) => {
    const score = await Score.findByPk(1, found);
    await primed();
    await score.update({ points: 10 });
  });

  path('update of a model with a custom cache: a value that is in no key', { extra: custom }, async ({ models: { Score }, primed }) => {
    const score = await Score.findByPk(1, found);
    await primed();
    await score.update({ note: 'n' });
  });

  path('update of what a custom cache is keyed on', { extra: moved }, async ({ models: { Score }, primed }) => {
    const score = await Score.findByPk(1, found);
    await primed();
    await score.update({ player: 'lee' });
  });

  path('update of the association that a custom cache is keyed on', { extra: moved }, async ({ models: { Avatar }, primed }) => {
    const avatar = await Avatar.findByPk(1, found);
    await primed();
    await avatar.update({ userId: 2 });
  });

  path('update of a row that the default scope hides', { extra: moved }, async ({ models: { Article }, primed }) => {
    const draft = await Article.unscoped().findByPk(3, found);
    await primed();
    await draft.update({ state: 'live', section: 'home' });
  });

  path('update that hides a row from the default scope', { extra: moved }, async ({ models: { Article }, primed }) => {
    const article = await Article.findByPk(1, found);
    await primed();
    await article.update({ state: 'draft' });
  });

  path('update of a column of the default scope’s order', { extra: moved }, async ({ models: { Article }, primed }) => {
    const article = await Article.findByPk(1, found);
    await primed();
    await article.update({ rank: 9 });
  });

  path('update of a generic foreign key', { extra: after }, async ({ models: { Vote }, primed }) => {
    const vote = await Vote.findByPk(1, found);
    await primed();
    await vote.update({ targetType: 'Article', targetId: 2 });
  });

  path('update of half a generic foreign key', { extra: after }, async ({ models: { Vote }, primed }) => {
    const vote = await Vote.findByPk(3, found);
    await primed();
    await vote.update({ targetType: 'Article' });
  });

  path('update of a row with a composite primary key', { extra: after }, async ({ models: { Membership }, primed }) => {
    const membership = await Membership.findOne({ where: { userId: 1, groupId: 1 }, ...found });
    await primed();
    await membership.update({ role: 'admin' });
  });

  path('save({ fields }) with other changes in hand', {}, async ({ models: { Item }, primed }) => {
    const item = await Item.findByPk(1, found);
    await primed();
    item.set({ sku: 'n1', color: 'blue', note: 'n' });
    await item.save({ fields: ['color'] });
  });

  path('save with nothing changed', { of: ['Item'] }, async ({ models: { Item }, primed }) => {
    const item = await Item.findByPk(1, found);
    await primed();
    await item.save();
  });

  path('update({ hooks: false })', {}, async ({ models: { Item }, primed }) => {
    const item = await Item.findByPk(1, found);
    await primed();
    await item.update({ sku: 'n1', color: 'blue' }, { hooks: false });
  });

  path('destroy', {}, async ({ models: { Item }, primed }) => {
    const item = await Item.findByPk(1, found);
    await primed();
    await item.destroy();
  });

  path('destroy({ hooks: false })', {}, async ({ models: { Item }, primed }) => {
    const item = await Item.findByPk(1, found);
    await primed();
    await item.destroy({ hooks: false });
  });

  path('destroy, of a model with a custom cache', { extra: custom }, async ({ models: { Avatar }, primed }) => {
    const avatar = await Avatar.findByPk(1, found);
    await primed();
    await avatar.destroy();
  });

  path('paranoid destroy', { extra: after }, async ({ models: { Page }, primed }) => {
    const page = await Page.findByPk(2, found);
    await primed();
    await page.destroy();
  });

  path('paranoid destroy, of a model with a custom cache, with other changes that it writes', { extra: moved }, async ({ models: { Post }, primed }) => {
    const post = await Post.findByPk(2, found);
    await primed();
    post.set({ code: 'n1', authorId: 2, title: 'dirty' });
    await post.destroy();
  });

  path('paranoid destroy({ force })', { extra: 4 }, async ({ models: { Page }, primed }) => {
    const page = await Page.findByPk(2, { ...found });
    await primed();
    await page.destroy({ force: true });
  });

  path('restore', { extra: after }, async ({ models: { Page }, primed }) => {
    const page = await Page.findByPk(3, { ...found, paranoid: false });
    await primed();
    await page.restore();
  });

  path('restore with other changes that it writes', { extra: moved }, async ({ models: { Post }, primed }) => {
    const post = await Post.findByPk(3, { ...found, paranoid: false });
    await primed();
    post.set({ code: 'n1', authorId: 1 });
    await post.restore();
  });

  path('deletedAt set to null and saved', { extra: after }, async ({ models: { Page }, primed }) => {
    const page = await Page.findByPk(3, { ...found, paranoid: false });
    await primed();
    page.setDataValue('deletedAt' as never, null);
    await page.save({ paranoid: false } as object);
  });

  path('increment', {}, async ({ models: { Item }, primed }) => {
    const item = await Item.findByPk(1, found);
    await primed();
    await item.increment('stock', { by: 5 });
  });

  path('decrement', {}, async ({ models: { Item }, primed }) => {
    const item = await Item.findByPk(1, found);
    await primed();
    await item.decrement({ stock: 3 });
  });

  path('increment of a key', { extra: after }, async ({ models: { Item }, primed }) => {
    const item = await Item.findByPk(1, found);
    await primed();
    await item.increment({ aisle: 8 });
  });

  path('increment, of a model with a custom cache', { extra: moved }, async ({ models: { Score }, primed }) => {
    const score = await Score.findByPk(2, found);
    await primed();
    await score.increment('points', { by: 50 });
  });

  path('setDataValue of a key', { extra: moved }, async ({ models: { Score }, primed }) => {
    const score = await Score.findByPk(1, found);
    await primed();
    score.setDataValue('player' as never, 'lee');
    await score.save();
  });

  path('a field set twice', { extra: moved }, async ({ models: { Score }, primed }) => {
    const score = await Score.findByPk(1, found);
    await primed();
    score.set('player', 'zoe');
    score.set('player', 'lee');
    await score.save();
  });

  path('a field set, then update', { extra: moved }, async ({ models: { Score }, primed }) => {
    const score = await Score.findByPk(1, found);
    await primed();
    score.set('player', 'zoe');
    await score.update({ player: 'lee' });
  });

  path('a field set and set back', { extra: moved, of: ['Score'] }, async ({ models: { Score }, primed }) => {
    const score = await Score.findByPk(1, found);
    await primed();
    score.set('player', 'zoe');
    score.set('player', 'kim');
    await score.save();
  });

  path('a partial instance', { extra: moved }, async ({ models: { Score }, primed }) => {
    const score = await Score.findByPk(1, { ...found, attributes: ['id'] });
    await primed();
    await score.update({ player: 'lee' });
  });

  path('an instance that was built, not loaded', { extra: moved }, async ({ models: { Score }, primed }) => {
    await primed();
    const score = Score.build({ id: 1 }, { isNewRecord: false });
    await score.update({ player: 'lee' });
  });

  path('a partial instance, of a model with simple caches only', {}, async ({ models: { Item }, primed }) => {
    const item = await Item.findByPk(1, { ...found, attributes: ['id'] });
    await primed();
    await item.update({ sku: 'n1', color: 'blue' });
  });

  path('a stale instance: its row was changed since by another process', { extra: moved }, async ({ models: { Score }, other, primed }) => {
    const score = await Score.findByPk(1, found);
    await other.models.Score.update({ player: 'lee' }, { where: { id: 1 } });
    await primed();
    await score.update({ player: 'max' });
  });

  path('a stale instance, one column of a composite key', { extra: after }, async ({ models: { Item }, other, primed }) => {
    const item = await Item.findByPk(1, found);
    await other.models.Item.update({ aisle: 2 }, { where: { id: 1 } });
    await primed();
    await item.update({ bin: 'z' });
  });

  path('an instance whose row is gone', { of: ['Item'] }, async ({ models: { Item }, other, primed }) => {
    const item = await Item.findByPk(1, found);
    await other.models.Item.destroy({ where: { id: 1 } });
    await primed();
    await item.update({ sku: 'n1' });
  });

  path('the primary key by its setter: ignored', { of: ['Item'] }, async ({ models: { Item }, primed }) => {
    const item = await Item.findByPk(1, found);
    await primed();
    item.set('id', 77);
    await item.update({ note: 'n' });
  });

  path('the primary key by setDataValue: another row is written', { of: ['Item'] }, async ({ models: { Item }, primed }) => {
    const item = await Item.findByPk(1, found);
    await primed();
    item.setDataValue('id' as never, 2);
    item.set({ color: 'green' });
    await item.save();
  });

  path('a given primary key by setDataValue', { of: ['Country'], extra: 3 }, async ({ models: { Country }, primed }) => {
    const country = await Country.findByPk('CH', found);
    await primed();
    country.setDataValue('code' as never, 'XX');
    await country.save();
  });

  path('destroy of a changed instance', { extra: custom }, async ({ models: { Score }, primed }) => {
    const score = await Score.findByPk(1, found);
    await primed();
    score.set({ player: 'lee', points: 1 });
    await score.destroy();
  });

  path('destroy of a partial and stale instance', { extra: custom }, async ({ models: { Score }, other, primed }) => {
    const score = await Score.findByPk(1, { ...found, attributes: ['id'] });
    await other.models.Score.update({ player: 'lee' }, { where: { id: 1 } });
    await primed();
    await score.destroy();
  });

  path('destroy of a row that others refer to', { extra: 8 }, async ({ models: { User }, primed }) => {
    const user = await User.findByPk(1, found);
    await primed();
    await user.destroy();
  });

  path('save, version: true', {}, async ({ models: { Group }, primed }) => {
    const group = await Group.findByPk(1, found);
    await primed();
    await group.update({ label: 'n1' });
  });

  path('save that conflicts, version: true', { rejects: /OptimisticLock|version/i, of: ['Group'] }, async ({ models: { Group }, other, primed }) => {
    const group = await Group.findByPk(1, found);
    await other.models.Group.update({ label: 'n1' }, { where: { id: 1 } });
    const theirs = await other.models.Group.findByPk(1, found);
    await theirs.update({ label: 'n2' });
    await primed();
    await group.update({ label: 'n3' });
  });

  path('fields changed in beforeUpdate', { extra: moved }, async ({ sequelize, models: { Score }, primed }) => {
    const score = await Score.findByPk(1, found);
    await primed();
    await withHook(sequelize.models.Score!, 'beforeUpdate', (row) => void row.set('player', 'lee'), () => score.update({ note: 'n' }));
  });

  path('fields changed in beforeCreate', {}, async ({ models: { Item }, primed }) => {
    await primed();
    await withHook(Item, 'beforeCreate', (row) => void row.set({ sku: 'n2', color: 'blue' }), () => Item.create({ sku: 'n1', aisle: 1, bin: 'a' }));
  });

  for (const hook of ['afterUpdate', 'afterSave'] as const) {
    path(`${hook} that throws: the row stays written`, { extra: moved, rejects: /thrown/ }, async ({ models: { Score }, primed }) => {
      const score = await Score.findByPk(1, found);
      await primed();
      await withHook(Score, hook, fail, () => score.update({ player: 'lee' }));
    });
  }

  path('afterCreate that throws: the row stays', { rejects: /thrown/ }, async ({ models: { Item }, primed }) => {
    await primed();
    await withHook(Item, 'afterCreate', fail, () => Item.create({ sku: 'n1', aisle: 1, bin: 'a', color: 'red' }));
  });

  path('afterDestroy that throws: the row is gone', { rejects: /thrown/ }, async ({ models: { Item }, primed }) => {
    const item = await Item.findByPk(1, found);
    await primed();
    await withHook(Item, 'afterDestroy', fail, () => item.destroy());
  });

  path('beforeUpdate that throws: nothing is written', { rejects: /thrown/, of: ['Score'] }, async ({ models: { Score }, primed }) => {
    const score = await Score.findByPk(1, found);
    await primed();
    await withHook(Score, 'beforeUpdate', fail, () => score.update({ player: 'lee' }));
  });

  path('beforeUpdate that throws, of a model with simple caches only', { rejects: /thrown/, of: ['Item'] }, async ({ models: { Item }, primed }) => {
    const item = await Item.findByPk(1, found);
    await primed();
    await withHook(Item, 'beforeUpdate', fail, () => item.update({ sku: 'n1' }));
  });

  path('a value that validation refuses', { rejects: /notNull/, of: ['Item'] }, async ({ models: { Item }, primed }) => {
    const item = await Item.findByPk(1, found);
    await primed();
    await item.update({ sku: null });
  });

  path('reload', { of: ['Item'] }, async ({ models: { Item }, primed }) => {
    const item = await Item.findByPk(1, found);
    await primed();
    item.set('sku', 'never saved');
    await item.reload();
    assert.equal(item.get('sku'), 's1');
  });

  path('several saves of one row at the same time', { racy: true, extra: 2 * moved }, async ({ models: { Score }, primed }) => {
    await Score.create({ player: 'zoe', points: 1 });
    const [one, two] = [await Score.findByPk(1, found), await Score.findByPk(1, found)];
    await primed();
    await Promise.all([one.update({ player: 'lee' }), two.update({ player: 'zoe' })]);
  });
});

type Hook = 'beforeCreate' | 'beforeUpdate' | 'afterCreate' | 'afterUpdate' | 'afterSave' | 'afterDestroy';

function fail(): void {
  throw new Error('thrown by a hook');
}

async function withHook(
  model: { addHook(type: Hook, name: string, hook: (row: Model) => void): unknown; removeHook(type: Hook, name: string): unknown },
  type: Hook,
  hook: (row: Model) => void,
  work: () => Promise<unknown>,
): Promise<void> {
  model.addHook(type, 'test-path', hook);
  try {
    await work();
  } finally {
    model.removeHook(type, 'test-path');
    if (type === 'afterSave') for (const one of ['afterCreate', 'afterUpdate'] as const) model.removeHook(one, 'test-path');
  }
}
