/** The write paths: each is made by plain Sequelize on one database and with the cache on the other. */
import { literal, QueryTypes, type Model, type ModelStatic, type Sequelize, type Transaction, type WhereOptions } from 'sequelize';
import type { Surroundings } from './axes.js';
import { keyOf, newRow, quotedTable as table, valuesOf, type Models } from './models.js';

/** What a write has at hand. */
export interface Side {
  readonly sequelize: Sequelize;
  readonly models: Models;
  readonly surroundings: Surroundings;
  /** In a transaction, before it ends: own writes are read in it, and nothing of it outside. */
  inside(transaction: Transaction): Promise<void>;
}

export type Write = (side: Side) => Promise<unknown>;

/** The program itself gives up; what it wrote in its transaction is rolled back. */
class GivesUp extends Error {
  override readonly name = 'GivesUp';
}

interface Within {
  readonly transaction?: Transaction | null;
}

const where = (condition: Readonly<Record<string, unknown>>): WhereOptions => condition;
const item = ({ models: { Item } }: Side, n: number, within: Within = {}): Promise<Model> =>
  Item.findOne({ where: { name: `n${n}` }, raw: false, rejectOnEmpty: true, ...within });
const owner = ({ models: { Owner } }: Side, id: number): Promise<Owner> =>
  Owner.findOne({ where: { id }, raw: false, rejectOnEmpty: true }) as Promise<unknown> as Promise<Owner>;
const keysOfItem = ({ surroundings }: Side, ...numbers: readonly number[]): WhereOptions =>
  numbers.length === 1 ? keyOf(surroundings, numbers[0] as number) : where({ name: numbers.map((n) => `n${n}`) });

/** Two rows. Where each is inserted by a statement of its own, beside the other, their keys are given: chance would choose them. */
const newRows = ({ surroundings }: Side, individually = surroundings.hooks === 'individual'): Readonly<Record<string, unknown>>[] =>
  [7, 8].map((n) => ({ ...newRow(surroundings, n), ...(individually ? keyOf(surroundings, n) : {}) }));

/** Methods that Sequelize's associations put on instances. */
type Owner = Model & Record<'setItems' | 'addItem' | 'removeItem' | 'createItem', (...args: unknown[]) => Promise<unknown>>;
type Item = Model & Record<'setOwner' | 'createOwner' | 'setTags' | 'addTag' | 'removeTag' | 'createTag', (...args: unknown[]) => Promise<unknown>>;

const column = (model: ModelStatic<Model>, attribute: string): string => model.getAttributes()[attribute]?.field ?? attribute;

/** Whatever comes of each: a value, or the class of its error. */
async function outcomes(all: readonly Promise<unknown>[]): Promise<unknown[]> {
  const settled = await Promise.allSettled(all);
  return settled.map((one) => (one.status === 'fulfilled' ? one.value : `rejects: ${nameOf(one.reason)}`));
}

export const nameOf = (error: unknown): string => (error instanceof Error ? `${error.constructor.name}/${error.name}` : typeof error);

const instances: Readonly<Record<string, Write>> = {
  create: (side) => side.models.Item.create(newRow(side.surroundings, 7)),
  'build and save': (side) => side.models.Item.build(newRow(side.surroundings, 7)).save(),
  'create with a duplicate name': (side) => side.models.Item.create({ ...newRow(side.surroundings, 7), name: 'n1' }),
  'create without a name': (side) => side.models.Item.create({ ...newRow(side.surroundings, 7), name: null }),
  'create with an owner': (side) =>
    side.models.Item.create({ ...newRow(side.surroundings, 7), ownerId: undefined, owner: { name: 'renamed owner' } }, { include: ['owner'] }),
  rename: async (side) => (await item(side, 1)).update({ name: 'renamed' }),
  'save after set': async (side) => {
    const one = await item(side, 1);
    one.set({ city: 'paris', level: 70, score: '99.25', flag: true, data: { changed: true }, at: new Date(Date.UTC(2024, 1, 2)), day: '2024-02-03' });
    return one.save();
  },
  'save of some fields': async (side) => {
    const one = await item(side, 2);
    one.set({ city: 'paris', level: 70 });
    return one.save({ fields: ['city'] });
  },
  'save without a change': async (side) => (await item(side, 1)).save(),
  'save without hooks': async (side) => (await item(side, 1)).update({ city: 'paris' }, { hooks: false }),
  'update to null': async (side) => (await item(side, 1)).update({ level: null, ownerId: null, data: null, bytes: null }),
  'change and change back': async (side) => {
    const one = await item(side, 1);
    await one.update({ city: 'paris' });
    return one.update({ city: 'berlin' });
  },
  'two saves of the same row': async (side) => {
    const [first, second] = [await item(side, 1), await item(side, 1)];
    await first.update({ city: 'paris' });
    return second.update({ level: 70 });
  },
  'move out of the scope': async (side) => (await item(side, 1)).update({ kind: 'old' }),
  'destroy an instance': async (side) => (await item(side, 1)).destroy(),
  'destroy by force': async (side) => (await item(side, 1)).destroy({ force: true }),
  'destroy and restore': async (side) => {
    const one = await item(side, 1);
    await one.destroy();
    return one.restore();
  },
  'increment an instance': async (side) => {
    await (await item(side, 1)).increment({ visits: 5, level: 69 });
  },
  'decrement an instance': async (side) => {
    await (await item(side, 2)).decrement('visits', { by: 2 });
  },
  reload: async (side) => {
    const one = await item(side, 1);
    await side.models.Item.update({ city: 'paris' }, { where: where({ name: 'n1' }) });
    return one.reload();
  },
};

const statics: Readonly<Record<string, Write>> = {
  'update by condition': ({ models }) => models.Item.update({ level: 70 }, { where: where({ city: 'berlin' }) }),
  'update by key': (side) => side.models.Item.update({ city: 'paris' }, { where: keysOfItem(side, 1) }),
  'update by keys': (side) => side.models.Item.update({ city: 'paris', name: literal("'renamed'") as never }, { where: keysOfItem(side, 1) }),
  'update of what is in the condition': ({ models }) => models.Item.update({ city: 'paris' }, { where: where({ city: 'berlin' }) }),
  'update of all': ({ models }) => models.Item.update({ city: 'paris' }, { where: {} }),
  'update with a limit': ({ models }) => models.Item.update({ level: 70 }, { where: where({ name: ['n1', 'n3'] }), limit: 2 }),
  'update with individual hooks': ({ models }) => models.Item.update({ city: 'paris' }, { where: where({ city: 'berlin' }), individualHooks: true }),
  'update without hooks': ({ models }) => models.Item.update({ city: 'paris' }, { where: where({ city: 'rome' }), hooks: false }),
  'update of nothing': ({ models }) => models.Item.update({ city: 'paris' }, { where: where({ name: 'nobody' }) }),
  'destroy by key': (side) => side.models.Item.destroy({ where: keysOfItem(side, 1) }),
  'destroy by condition': ({ models }) => models.Item.destroy({ where: where({ city: 'berlin' }) }),
  'destroy with individual hooks': ({ models }) => models.Item.destroy({ where: where({ city: 'berlin' }), individualHooks: true }),
  'destroy by condition by force': ({ models }) => models.Item.destroy({ where: where({ city: 'berlin' }), force: true }),
  'destroy and restore by condition': async ({ models }) => {
    await models.Item.destroy({ where: where({ city: 'berlin' }) });
    return models.Item.restore({ where: where({ name: 'n1' }) });
  },
  'increment by condition': async ({ models }) => {
    await models.Item.increment({ visits: 5 }, { where: where({ city: 'berlin' }) });
  },
  'decrement by key': async (side) => {
    await side.models.Item.decrement('visits', { by: 3, where: keysOfItem(side, 1) });
  },
  'upsert of a new row': async (side) => (await side.models.Item.upsert(newRow(side.surroundings, 7)))[1],
  'upsert of a row': async (side) => (await side.models.Item.upsert({ ...keyOf(side.surroundings, 1), ...valuesOf(1), city: 'paris' }))[1],
  'upsert by another unique key': async (side) => (await side.models.Item.upsert({ ...newRow(side.surroundings, 7), name: 'n1', city: 'paris' }))[1],
  bulkCreate: (side) => side.models.Item.bulkCreate(newRows(side)),
  'bulkCreate with updateOnDuplicate': async (side) => {
    const [first, second] = newRows(side);
    await side.models.Item.bulkCreate([{ ...first, name: 'n1' }, { ...second }], { updateOnDuplicate: ['city', 'level'] });
  },
  'bulkCreate with ignoreDuplicates': async (side) => {
    const [first, second] = newRows(side);
    await side.models.Item.bulkCreate([{ ...first, name: 'n1' }, { ...second }], { ignoreDuplicates: true });
  },
  'bulkCreate with individual hooks': (side) => side.models.Item.bulkCreate(newRows(side, true), { individualHooks: true }),
  'findOrCreate of a row': async ({ models, surroundings }) =>
    (await models.Item.findOrCreate({ where: where({ name: 'n1' }), defaults: newRow(surroundings, 7) }))[1],
  'findOrCreate of a new row': async ({ models, surroundings }) =>
    (await models.Item.findOrCreate({ where: where({ name: 'created 7' }), defaults: newRow(surroundings, 7) }))[1],
  'findCreateFind': async ({ models, surroundings }) =>
    (await models.Item.findCreateFind({ where: where({ name: 'created 7' }), defaults: newRow(surroundings, 7) }))[1],
  truncate: ({ models }) => models.Item.truncate(),
};

const associations: Readonly<Record<string, Write>> = {
  'owner.setItems': async (side) => {
    await (await owner(side, 1)).setItems([await item(side, 1), await item(side, 3)]);
  },
  'owner.addItem': async (side) => {
    await (await owner(side, 1)).addItem(await item(side, 4));
  },
  'owner.removeItem': async (side) => {
    await (await owner(side, 2)).removeItem(await item(side, 1));
  },
  'owner.createItem': async (side) => (await owner(side, 1)).createItem({ ...newRow(side.surroundings, 7), ownerId: undefined }),
  'item.setOwner': async (side) => {
    await ((await item(side, 1)) as Item).setOwner(3);
  },
  'item.setOwner to none': async (side) => {
    await ((await item(side, 1)) as Item).setOwner(null);
  },
  'item.createOwner': async (side) => ((await item(side, 1)) as Item).createOwner({ name: 'renamed owner' }),
  'item.setTags': async (side) => {
    // Without types Sequelize takes a tag that stays for another one, and removes and adds it at once: chance decides which is first.
    if (side.models.Tag !== undefined) await ((await item(side, side.surroundings.typeCast === 'off' ? 2 : 1)) as Item).setTags([2]);
  },
  'item.addTag': async (side) => {
    if (side.models.Tag !== undefined) await ((await item(side, 3)) as Item).addTag(1);
  },
  'item.removeTag': async (side) => {
    if (side.models.Tag !== undefined) await ((await item(side, 1)) as Item).removeTag(1);
  },
  'item.createTag': async (side) => {
    if (side.models.Tag !== undefined) await ((await item(side, 3)) as Item).createTag({ word: 'new' });
  },
  'owner renamed': async (side) => (await owner(side, 1)).update({ name: 'renamed owner' }),
  'owner destroyed': async (side) => (await owner(side, 1)).destroy(),
  'owners destroyed by condition': ({ models }) => models.Owner.destroy({ where: where({ rank: [1, 2] }) }),
  'comment moves to another target': async ({ models }) => models.Comment?.update({ targetType: 'Owner' }, { where: where({ id: 1 }) }),
};

const byHand: Readonly<Record<string, Write>> = {
  'raw UPDATE': async ({ sequelize, models: { Item } }) => {
    await sequelize.query(`UPDATE ${table(Item)} SET ${column(Item, 'city')} = ? WHERE ${column(Item, 'name')} = ?`, {
      replacements: ['paris', 'n1'],
      type: QueryTypes.UPDATE,
    });
  },
  'raw DELETE': async ({ sequelize, models: { Comment } }) => {
    if (Comment !== undefined) await sequelize.query(`DELETE FROM ${table(Comment)} WHERE id = 1`);
  },
  'raw INSERT': async ({ sequelize, models: { Tag } }) => {
    if (Tag === undefined) return;
    const times = Object.keys(Tag.getAttributes()).filter((name) => name === 'createdAt' || name === 'updatedAt');
    const columns = ['word', ...times.map((name) => column(Tag, name))];
    const values = ["'raw'", ...times.map(() => "'2024-01-01 00:00:00'")];
    await sequelize.query(`INSERT INTO ${table(Tag)} (${columns.join(', ')}) VALUES (${values.join(', ')})`, { type: QueryTypes.INSERT });
  },
  'queryInterface.bulkUpdate': async ({ sequelize, models: { Item } }) => {
    await sequelize.getQueryInterface().bulkUpdate(Item.getTableName(), { [column(Item, 'city')]: 'paris' }, { [column(Item, 'name')]: 'n1' });
  },
  'queryInterface.bulkDelete': async ({ sequelize, models: { Owner } }) => {
    await sequelize.getQueryInterface().bulkDelete(Owner.getTableName(), { id: 3 });
  },
};

const transactions: Readonly<Record<string, Write>> = {
  'a transaction': (side) =>
    side.sequelize.transaction(async (transaction) => {
      await (await item(side, 1, { transaction })).update({ name: 'renamed', city: 'paris' }, { transaction });
      await side.models.Item.update({ level: 70 }, { where: where({ city: 'rome' }), transaction });
      await side.inside(transaction);
    }),
  'a transaction that rolls back': (side) =>
    side.sequelize.transaction(async (transaction) => {
      await side.models.Item.create(newRow(side.surroundings, 7), { transaction });
      await side.models.Item.destroy({ where: where({ name: 'n1' }), transaction });
      await side.inside(transaction);
      throw new GivesUp('never mind');
    }),
  'a transaction by hand': async (side) => {
    const transaction = await side.sequelize.transaction();
    await side.models.Item.increment({ visits: 1 }, { where: where({ city: 'berlin' }), transaction });
    await side.models.Owner.update({ name: 'renamed owner' }, { where: where({ id: 1 }), transaction });
    await side.inside(transaction);
    await transaction.commit();
  },
  'a savepoint that rolls back': (side) =>
    side.sequelize.transaction(async (transaction) => {
      await side.models.Item.update({ city: 'paris' }, { where: where({ name: 'n1' }), transaction });
      const savepoint = await side.sequelize.transaction({ transaction });
      await side.models.Item.update({ city: 'paris' }, { where: where({ name: 'n2' }), transaction: savepoint });
      await savepoint.rollback();
      await side.inside(transaction);
    }),
  'a savepoint that is released': (side) =>
    side.sequelize.transaction(async (transaction) => {
      await side.sequelize.transaction({ transaction }, async (savepoint) => {
        await side.models.Item.update({ city: 'paris' }, { where: where({ name: 'n2' }), transaction: savepoint });
      });
      await side.models.Item.destroy({ where: where({ name: 'n3' }), transaction });
    }),
  'findOrCreate in a transaction': (side) =>
    side.sequelize.transaction(async (transaction) => {
      await side.models.Item.findOrCreate({ where: where({ name: 'created 7' }), defaults: newRow(side.surroundings, 7), transaction });
      await side.models.Item.upsert({ ...keyOf(side.surroundings, 1), ...valuesOf(1), city: 'paris' }, { transaction });
    }),
  'a transaction in the context': (side) =>
    side.sequelize.transaction(async (transaction) => {
      // With CLS all of it is in the transaction; without, it has to be said.
      const within = side.surroundings.cls === 'on' ? {} : { transaction };
      await side.models.Item.update({ city: 'paris' }, { where: where({ city: 'berlin' }), ...within });
      await (await item(side, 2, within)).destroy(within);
      await side.inside(transaction);
    }),
};

/** A scope of the model's, as a class of its own. */
const scoped = ({ models: { Item } }: Side, ...scope: readonly unknown[]): ModelStatic<Model> =>
  (Item as unknown as { scope(...scope: unknown[]): ModelStatic<Model> }).scope(...scope);

const scopes: Readonly<Record<string, Write>> = {
  'update in a scope': (side) => scoped(side, 'inBerlin').update({ level: 70 }, { where: where({ name: ['n1', 'n2', 'n3'] }) }),
  'destroy in a scope': (side) => scoped(side, { method: ['ofOwner', 1] }).destroy({ where: {} }),
  'increment in a scope': async (side) => {
    await scoped(side, 'inBerlin').increment('visits', { by: 5, where: where({ level: [1, 2] }) });
  },
  'save of an instance from a scope': async (side) => {
    const one = await scoped(side, 'withOwner').findOne({ where: where({ name: 'n1' }), raw: false, rejectOnEmpty: true });
    await one.update({ city: 'paris' });
  },
  'destroy of an instance from a scope': async (side) => {
    const one = await scoped(side, 'defaultScope', 'inBerlin').findOne({ where: where({ name: 'n3' }), raw: false });
    await one?.destroy();
  },
  'create in a scope': (side) => scoped(side, 'inBerlin').create(newRow(side.surroundings, 7)),
  'unscoped update': (side) => side.models.Item.unscoped().update({ city: 'paris' }, { where: where({ kind: 'old' }) }),
  'unscoped save of an included row': async (side) => {
    const one = await side.models.Item.unscoped().findOne({ where: where({ name: 'n1' }), include: ['owner'], raw: false, rejectOnEmpty: true });
    await (one.get('owner') as Model).update({ name: 'renamed owner' });
  },
};

/** A program that empties `options.hooks` of an instance or a model, as some tests do. */
async function withoutHooks(target: object, work: () => Promise<unknown>): Promise<unknown> {
  const { options } = target as { readonly options: { hooks?: unknown } };
  const { hooks } = options;
  options.hooks = {};
  try {
    return await work();
  } finally {
    options.hooks = hooks;
  }
}

const emptied: Readonly<Record<string, Write>> = {
  'save after the hooks are emptied': (side) => withoutHooks(side.sequelize, async () => (await item(side, 1)).update({ name: 'renamed', city: 'paris' })),
  'update after the hooks are emptied': (side) =>
    withoutHooks(side.sequelize, () => side.models.Item.update({ city: 'paris' }, { where: where({ city: 'berlin' }) })),
  'destroy after the hooks are emptied': (side) => withoutHooks(side.sequelize, () => side.models.Owner.destroy({ where: where({ id: 1 }) })),
  "save after the model's hooks are emptied": (side) =>
    withoutHooks(side.models.Item, async () => (await item(side, 1)).update({ name: 'renamed', city: 'paris' })),
  "update after the model's hooks are emptied": (side) =>
    withoutHooks(side.models.Item, () => side.models.Item.update({ city: 'paris' }, { where: where({ city: 'berlin' }) })),
  "bulkCreate after the model's hooks are emptied": (side) => withoutHooks(side.models.Item, () => side.models.Item.bulkCreate(newRows(side))),
  'hooks emptied within a transaction': (side) =>
    side.sequelize.transaction(async (transaction) => {
      await (await item(side, 1, { transaction })).update({ city: 'paris' }, { transaction });
      await withoutHooks(side.sequelize, () => side.models.Item.destroy({ where: where({ name: 'n3' }), transaction }));
      await side.inside(transaction);
    }),
};

/** More calls at once than there may be connections. */
const atOnce: Readonly<Record<string, Write>> = {
  'updates at once': ({ models }) =>
    outcomes([1, 2, 3, 4, 5, 6].map((n) => models.Item.update({ level: 70 + n }, { where: where({ name: `n${n}` }) }))),
  'updates by condition at once': ({ models }) =>
    outcomes(['berlin', 'rome', 'paris'].map((city) => models.Item.update({ level: 70 }, { where: where({ city }) }))),
  'creates at once': async (side) => {
    // Which gets which id is a matter of chance where the database chooses them.
    const { models, surroundings } = side;
    await outcomes([7].map((n) => models.Item.create(newRow(surroundings, n))));
    return outcomes([1, 2, 3].map((n) => models.Owner.update({ rank: 10 + n }, { where: where({ id: n }) })));
  },
  'destroys at once': ({ models }) => outcomes([1, 2, 3].map((n) => models.Item.destroy({ where: where({ name: `n${n}` }) }))),
  'saves at once': async (side) => {
    const items = [await item(side, 1), await item(side, 2), await item(side, 3)];
    return outcomes(items.map((one) => one.update({ city: 'paris' })));
  },
  'increments at once': async ({ models }) => {
    await outcomes([1, 2, 3, 1, 2, 3].map((n) => models.Item.increment('visits', { by: n, where: where({ name: `n${n}` }) })));
  },
};

export const writes: Readonly<Record<string, Write>> = { ...instances, ...statics, ...associations, ...byHand, ...transactions, ...scopes, ...emptied, ...atOnce };
