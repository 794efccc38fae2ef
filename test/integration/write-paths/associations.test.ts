/** Association accessors and cascades, Sequelize's own and the database's. */
import type { Model } from 'sequelize';
import { describePaths } from './write-paths.js';

const found = { rejectOnEmpty: true } as const;
/** A transaction of the statement's own, to read the rows before it, after it, or both. */
const after = 3;
const both = 4;
/** By a condition: at READ COMMITTED, which has to be set. */
const byCondition = 4;
/** In a transaction of the statement's own, the row itself and the rows of one table that refer to it. */
const cascade = 4;
const ofUser = ['Post', 'Avatar', 'Membership', 'Vote', 'Profile'] as const;

/** An accessor that an association adds. */
const call = (instance: Model, accessor: string, ...args: unknown[]): Promise<unknown> => {
  const method: unknown = Reflect.get(instance, accessor);
  if (typeof method !== 'function') throw new Error(`no ${accessor}`);
  return Reflect.apply(method, instance, args) as Promise<unknown>;
};

describePaths('belongsToMany', (path) => {
  path('add', {}, async ({ models: { User }, primed }) => {
    const user = await User.findByPk(1, found);
    await primed();
    await call(user, 'addGroup', 3, { through: { role: 'guest' } });
  });

  path('add several', {}, async ({ models: { User, Group }, primed }) => {
    const user = await User.findByPk(3, found);
    const groups = await Group.findAll({ where: { id: [1, 2] } });
    await primed();
    await call(user, 'addGroups', groups, { through: { role: 'guest' } });
  });

  path('add of one that is there, with other through values', { extra: after }, async ({ models: { User }, primed }) => {
    const user = await User.findByPk(1, found);
    await primed();
    await call(user, 'addGroup', 1, { through: { role: 'admin' } });
  });

  path('set: adds, changes and removes', { extra: after }, async ({ models: { User }, primed }) => {
    const user = await User.findByPk(1, found);
    await primed();
    await call(user, 'setGroups', [2, 3], { through: { role: 'guest' } });
  });

  path('set to none', {}, async ({ models: { User }, primed }) => {
    const user = await User.findByPk(1, found);
    await primed();
    await call(user, 'setGroups', []);
  });

  path('remove', {}, async ({ models: { Group }, primed }) => {
    const group = await Group.findByPk(1, found);
    await primed();
    await call(group, 'removeUser', 1);
  });

  path('remove several', {}, async ({ models: { Group }, primed }) => {
    const group = await Group.findByPk(1, found);
    await primed();
    await call(group, 'removeUsers', [1, 2]);
  });

  path('create', {}, async ({ models: { User }, primed }) => {
    const user = await User.findByPk(1, found);
    await primed();
    await call(user, 'createGroup', { label: 'n1' }, { through: { role: 'guest' } });
  });

  path('get, count, has: no write', { of: ['Membership', 'Group'] }, async ({ models: { User }, primed }) => {
    const user = await User.findByPk(1, found);
    await primed();
    await call(user, 'getGroups');
    await call(user, 'countGroups');
    await call(user, 'hasGroup', 1);
  });
});

describePaths('hasMany', (path) => {
  path('add', { extra: both }, async ({ models: { User, Avatar }, primed }) => {
    const user = await User.findByPk(1, found);
    const avatar = await Avatar.findByPk(3, found);
    await primed();
    await call(user, 'addAvatar', avatar);
  });

  path('add by primary key, of a paranoid model', { extra: both }, async ({ models: { User }, primed }) => {
    const user = await User.findByPk(3, found);
    await primed();
    await call(user, 'addPosts', [1, 2]);
  });

  path('set', { extra: 2 * both }, async ({ models: { User }, primed }) => {
    const user = await User.findByPk(1, found);
    await primed();
    await call(user, 'setAvatars', [2, 3]);
  });

  path('set to none', { extra: both }, async ({ models: { User }, primed }) => {
    const user = await User.findByPk(1, found);
    await primed();
    await call(user, 'setAvatars', []);
  });

  path('remove', { extra: both }, async ({ models: { User }, primed }) => {
    const user = await User.findByPk(1, found);
    await primed();
    await call(user, 'removeAvatar', 1);
  });

  path('create', {}, async ({ models: { User }, primed }) => {
    const user = await User.findByPk(3, found);
    await primed();
    await call(user, 'createAvatar', { url: 'n1', isPrimary: true });
  });

  path('of a model with simple caches only: add, create', { extra: after }, async ({ models: { Box }, primed }) => {
    const box = await Box.findByPk(1, found);
    await primed();
    await call(box, 'addThing', 2);
    await call(box, 'createThing', { tag: 'n1' });
  });
});

describePaths('hasOne and belongsTo', (path) => {
  path('hasOne set: the old one is let go', {}, async ({ models: { User, Profile }, primed }) => {
    const user = await User.findByPk(1, found);
    const profile = await Profile.findByPk(3, found);
    await primed();
    await call(user, 'setProfile', profile);
  });

  path('hasOne set by primary key', {}, async ({ models: { User }, primed }) => {
    const user = await User.findByPk(1, found);
    await primed();
    await call(user, 'setProfile', 3);
  });

  path('hasOne set to null', {}, async ({ models: { User }, primed }) => {
    const user = await User.findByPk(1, found);
    await primed();
    await call(user, 'setProfile', null);
  });

  path('hasOne create', {}, async ({ models: { User }, primed }) => {
    const user = await User.findByPk(3, found);
    await primed();
    await call(user, 'createProfile', { handle: 'n1' });
  });

  path('belongsTo set', { extra: both }, async ({ models: { Avatar, User }, primed }) => {
    const avatar = await Avatar.findByPk(1, found);
    const user = await User.findByPk(3, found);
    await primed();
    await call(avatar, 'setUser', user);
  });

  path('belongsTo set to null', { extra: both }, async ({ models: { Post }, primed }) => {
    const post = await Post.findByPk(1, found);
    await primed();
    await call(post, 'setAuthor', null);
  });

  path('belongsTo create', { extra: both }, async ({ models: { Avatar }, primed }) => {
    const avatar = await Avatar.findByPk(1, found);
    await primed();
    await call(avatar, 'createUser', { username: 'eve', email: 'eve@x', tenantId: 3, slug: 'e', city: 'Oslo', level: 1 });
  });

  path('belongsTo to a key that is no primary key of its kind', {}, async ({ models: { Town }, primed }) => {
    const town = await Town.findByPk(1, found);
    await primed();
    await call(town, 'setCountry', 'CH');
  });
});

describePaths('include', (path) => {
  path('create with include, hasMany and hasOne', {}, async ({ models: { User, Avatar, Profile }, primed }) => {
    await primed();
    await User.create(
      { username: 'eve', email: 'eve@x', tenantId: 3, slug: 'e', city: 'Oslo', level: 1, avatars: [{ url: 'n1', isPrimary: true }], profile: { handle: 'n1' } },
      { include: [{ model: Avatar, as: 'avatars' }, { model: Profile, as: 'profile' }] },
    );
  });

  path('create with include, belongsToMany', { extra: after }, async ({ models: { User, Group }, primed }) => {
    await primed();
    await User.create(
      { username: 'eve', email: 'eve@x', tenantId: 3, slug: 'e', groups: [{ label: 'n1' }] },
      { include: [{ model: Group, as: 'groups' }] },
    );
  });

  path('bulkCreate with include, belongsToMany', { wide: ['User'] }, async ({ models: { User, Group }, primed }) => {
    await primed();
    await User.bulkCreate(
      [{ username: 'eve', email: 'eve@x', tenantId: 3, slug: 'e', groups: [{ label: 'n1' }] }],
      { include: [{ model: Group, as: 'groups' }] },
    );
  });

  path('create with include, belongsTo', { extra: after }, async ({ models: { Avatar, User }, primed }) => {
    await primed();
    await Avatar.create(
      { url: 'n1', isPrimary: true, user: { username: 'eve', email: 'eve@x', tenantId: 3, slug: 'e' } },
      { include: [{ model: User, as: 'user' }] },
    );
  });

  path('save of a parent with eager-loaded children that were changed', { of: ['Avatar'], extra: after }, async ({ models: { User, Avatar }, primed }) => {
    const user = await User.findByPk(1, { include: [{ model: Avatar, as: 'avatars' }], ...found });
    await primed();
    const [avatar] = user.get('avatars') as Model[];
    avatar!.set('url', 'not saved');
    await user.update({ slug: 'n' });
  });
});

describePaths('cascade', (path) => {
  path('by Sequelize: hooks: true, instance.destroy()', { of: ['Box', 'Thing'], extra: 3 * cascade }, async ({ models: { Shelf }, primed }) => {
    const shelf = await Shelf.findByPk(1, found);
    await primed();
    await shelf.destroy();
  });

  path('hooks: true, destroy({ hooks: false })', { of: ['Box', 'Thing'], extra: 3 * cascade }, async ({ models: { Shelf }, primed }) => {
    const shelf = await Shelf.findByPk(1, found);
    await primed();
    await shelf.destroy({ hooks: false });
  });

  path('hooks: true, bulk destroy of the parent', { of: ['Box', 'Thing'], extra: byCondition + 2 }, async ({ models: { Shelf }, primed }) => {
    await primed();
    await Shelf.destroy({ where: { name: 'f1' } });
  });

  path('hooks: true, bulk destroy of the parent with individualHooks', { of: ['Box', 'Thing'], extra: byCondition + 2 }, async ({ models: { Shelf }, primed }) => {
    await primed();
    await Shelf.destroy({ where: { name: 'f1' }, individualHooks: true });
  });

  path('hooks: true, paranoid parent: children stay', { extra: after, of: ['Reply'] }, async ({ models: { Page }, primed }) => {
    const page = await Page.findByPk(1, found);
    await primed();
    await page.destroy();
  });

  path('hooks: true, paranoid parent, force', { of: ['Reply'], extra: cascade }, async ({ models: { Page }, primed }) => {
    const page = await Page.findByPk(1, found);
    await primed();
    await page.destroy({ force: true });
  });

  path('by the database: CASCADE over one table', { of: ['Thing'], extra: cascade }, async ({ models: { Box }, primed }) => {
    await primed();
    await Box.destroy({ where: { id: 1 } });
  });

  path('by the database: CASCADE and SET NULL', { of: ofUser, extra: cascade + 4 }, async ({ models: { User }, primed }) => {
    await primed();
    await User.destroy({ where: { id: 1 }, hooks: false });
  });

  path('by the database: SET NULL', { of: ['Town'], extra: cascade }, async ({ models: { Country }, primed }) => {
    const country = await Country.findByPk('NO', found);
    await primed();
    await country.destroy();
  });

  path('by the database: ON UPDATE CASCADE', { wide: ['Country'], of: ['Town'], extra: byCondition + 2 }, async ({ models: { Country }, primed }) => {
    await primed();
    await Country.update({ code: 'XX' }, { where: { name: 'Norway' } });
  });

  path('by the database: ON UPDATE CASCADE over a column of a composite primary key', { wide: ['User', 'Membership'], of: ofUser, extra: byCondition + 8 }, async ({ models: { User }, primed }) => {
    await primed();
    await User.update({ id: 77 }, { where: { username: 'ann' } });
  });
});
