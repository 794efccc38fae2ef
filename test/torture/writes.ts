/**
 * What a worker writes: every way that Sequelize has, by chance.
 *
 * Each write puts a stamp of its own into the rows that it changes, where its way allows that, so
 * that two versions of a row seldom have the same content.
 */
import { Op, type Model, type ModelStatic, type Transaction, type WhereOptions } from 'sequelize';
import type { Random } from '../oracle/random.js';
import { pools, type Ids } from './asks.js';
import type { TableName } from './tables.js';
import { groups, type World } from './world.js';

/** What a write works with. */
export interface Act {
  readonly world: World;
  readonly random: Random;
  readonly ids: Ids;
  /** To be spread into the options of each call: the transaction, if it is not found otherwise. */
  readonly on: { readonly transaction?: Transaction };
  /** Instances that were loaded some time ago. */
  readonly pool: Pool;
  stamp(): string;
}

/** Instances that were loaded some time ago: what they hold is out of date by now. */
export class Pool {
  readonly #instances = new Map<TableName, Model[]>();

  add(table: TableName, instance: Model): void {
    const list = this.#instances.get(table) ?? [];
    this.#instances.set(table, list);
    list.push(instance);
    if (list.length > 8) list.shift();
  }

  pick(random: Random, table: TableName): Model | undefined {
    const list = this.#instances.get(table) ?? [];
    return list.length === 0 ? undefined : random.pick(list);
  }
}

type Values = Record<string, unknown>;
type Methods = Readonly<Record<string, (...given: unknown[]) => Promise<unknown>>>;
type Writable = 'User' | 'Doc' | 'Avatar' | 'Vote';

export interface Write {
  readonly name: string;
  run(act: Act): Promise<unknown>;
}

const uniqueOf: Readonly<Record<Writable, string>> = { User: 'name', Doc: 'code', Avatar: 'url', Vote: 'targetId' };

const tableOf = ({ random }: Act): Writable =>
  random.weighted<Writable>([[9, 'User'], [6, 'Doc'], [6, 'Avatar'], [2, 'Vote']]);

/** All columns of a new row. */
function newValues({ random, ids, stamp }: Act, table: Writable): Values {
  switch (table) {
    case 'User':
      return {
        name: random.pick(pools.name), tenantId: random.pick(pools.tenantId), slug: random.pick(pools.slug),
        active: random.once(2), count: random.below(5), stamp: stamp(),
      };
    case 'Doc':
      return { code: random.pick(pools.code), ownerId: random.once(6) ? null : ids.pick(random, 'User'), count: random.below(5), stamp: stamp() };
    case 'Avatar':
      return {
        url: random.pick(pools.url), userId: random.once(8) ? null : ids.pick(random, 'User'), isPrimary: !random.once(3),
        count: random.below(5), stamp: stamp(),
      };
    case 'Vote': {
      const type = random.pick(pools.targetType);
      return { targetType: type, targetId: ids.pick(random, type), count: random.below(5), stamp: stamp() };
    }
  }
}

/** Some columns, the stamp always. */
function someValues(act: Act, table: Writable): Values {
  const { random } = act;
  const all = newValues(act, table);
  const few: Values = { stamp: all.stamp, count: random.below(100) };
  for (const [name, value] of Object.entries(all)) {
    if (name !== 'stamp' && random.once(name === 'active' || name === 'isPrimary' ? 2 : 5)) few[name] = value;
  }
  return few;
}

/** A condition that names some rows without their primary keys. */
function someRows({ random, ids }: Act, table: Writable): WhereOptions {
  const where = (condition: Values): WhereOptions => condition;
  switch (table) {
    case 'User':
      return random.pick([
        where({ name: random.pick(pools.name) }),
        where({ tenantId: random.pick(pools.tenantId), slug: random.pick(pools.slug) }),
        where({ name: { [Op.in]: [random.pick(pools.name), random.pick(pools.name)] } }),
      ]);
    case 'Doc':
      return random.pick([where({ code: random.pick(pools.code) }), where({ ownerId: ids.pick(random, 'User') })]);
    case 'Avatar':
      return random.pick([where({ url: random.pick(pools.url) }), where({ userId: ids.pick(random, 'User') })]);
    case 'Vote':
      return where({ targetType: random.pick(pools.targetType), targetId: ids.pick(random, 'User') });
  }
}

const byId = ({ random, ids }: Act, table: Writable): WhereOptions => ({ id: ids.pick(random, table) });

/** An instance to work on, from wherever a program may have it. */
async function instanceOf(act: Act, table: Writable): Promise<Model | undefined> {
  const { world, random, ids, on, pool } = act;
  const model = world.models[table];
  const id = ids.pick(random, table);
  switch (random.below(7)) {
    case 0: {
      const cached = await world.caches[table].getOrNone({ id }, on);
      return cached ?? undefined;
    }
    case 1:
    case 2:
      return pool.pick(random, table);
    case 3:
      return (await model.findByPk(id, { attributes: ['id'], ...on })) ?? undefined;
    case 4:
      return model.build({ id }, { isNewRecord: false });
    default: {
      const found = await model.findOne({ where: random.once(2) ? byId(act, table) : someRows(act, table), ...on });
      if (found !== null) pool.add(table, found);
      return found ?? undefined;
    }
  }
}

async function save(act: Act): Promise<void> {
  const { random, on } = act;
  const table = tableOf(act);
  const instance = await instanceOf(act, table);
  if (instance === undefined) return;
  const values = someValues(act, table);
  switch (random.below(6)) {
    case 0:
      await instance.update(values, { ...on });
      return;
    case 1:
      instance.set(values);
      await instance.save({ fields: ['stamp', 'count'] as never, ...on });
      return;
    case 2:
      instance.set(values);
      await instance.save({ hooks: false, ...on });
      return;
    case 3:
      for (const [name, value] of Object.entries(values)) instance.setDataValue(name as never, value);
      await instance.save(on);
      return;
    case 4:
      // Set twice, so that `previous()` no longer knows what the database has.
      instance.set(newValues(act, table));
      instance.set(values);
      await instance.save(on);
      return;
    default:
      instance.set(values);
      await instance.save(on);
  }
}

async function increment(act: Act): Promise<void> {
  const { world, random, on } = act;
  const table = tableOf(act);
  const model = world.models[table];
  const counter = 'count' as never;
  const by = 1 + random.below(5);
  if (random.once(2)) {
    const instance = await instanceOf(act, table);
    if (instance === undefined) return;
    if (random.once(2)) await instance.increment(counter, { by, ...on });
    else await instance.decrement(random.once(2) ? counter : ({ count: by } as never), { by, ...on });
    return;
  }
  // Without the primary key it voids the whole table, so it is rare.
  const where = random.once(10) ? someRows(act, table) : byId(act, table);
  if (random.once(2)) await model.increment(counter, { by, where, ...on });
  else await model.decrement({ count: by } as never, { where, ...on } as never);
}

async function bulkUpdate(act: Act): Promise<void> {
  const { world, random, on } = act;
  const table = tableOf(act);
  const where = random.once(2) ? byId(act, table) : someRows(act, table);
  const options: Values = random.weighted<Values>([
    [6, {}],
    [2, { hooks: false }],
    [2, { individualHooks: true }],
    [1, { limit: 1 }],
    [1, { paranoid: false }],
  ]);
  // Of several rows only one can have a unique value.
  const values = Object.fromEntries(Object.entries(someValues(act, table)).filter(([name]) => name !== uniqueOf[table]));
  await world.models[table].update(values, { where, ...options, ...on });
}

async function bulkDestroy(act: Act): Promise<void> {
  const { world, random, on } = act;
  const table = tableOf(act);
  const where = random.once(2) ? byId(act, table) : someRows(act, table);
  const options = random.pick<Values>([{}, {}, { hooks: false }, { individualHooks: true }, { force: true }, { limit: 1 }]);
  await world.models[table].destroy({ where, ...options, ...on });
}

async function destroy(act: Act): Promise<void> {
  const table = tableOf(act);
  const instance = await instanceOf(act, table);
  await instance?.destroy({ ...act.random.pick<Values>([{}, {}, { hooks: false }, { force: true }]), ...act.on });
}

async function restore(act: Act): Promise<void> {
  const { world, random, on } = act;
  const { Doc } = world.models;
  const where: WhereOptions = random.once(2) ? byId(act, 'Doc') : { code: random.pick(pools.code) };
  if (random.once(3)) {
    await Doc.restore({ where, ...on });
    return;
  }
  const instance = await Doc.findOne({ where, paranoid: false, ...on });
  if (instance === null) return;
  if (random.once(2)) await instance.restore(on);
  else await instance.set({ deletedAt: null, stamp: act.stamp() }).save(on);
}

async function create(act: Act): Promise<void> {
  const { world, random, ids, on } = act;
  const table = tableOf(act);
  const model = world.models[table];
  const values = newValues(act, table);
  const created = random.once(2) ? await model.create(values, { ...(random.once(4) ? { hooks: false } : {}), ...on }) : await model.build(values).save(on);
  ids.see(table, created.get('id') as number);
}

async function bulkCreate(act: Act): Promise<void> {
  const { world, random, on } = act;
  const table = tableOf(act);
  const rows = random.list(1 + random.below(3), () => newValues(act, table));
  const options = random.weighted<Values>([
    [6, {}],
    [1, { ignoreDuplicates: true }],
    [1, { updateOnDuplicate: ['count', 'stamp', ...(table === 'User' ? ['name'] : [])] }],
    [2, { individualHooks: true }],
  ]);
  if (table === 'Vote') delete options.updateOnDuplicate;
  await world.models[table].bulkCreate(rows, { ...options, ...on });
}

async function upsert(act: Act): Promise<void> {
  const { world, random, ids, on } = act;
  const table = tableOf(act);
  // With another row's name it takes over that row, primary key included.
  const id = random.once(4) && table !== 'Vote' ? { id: ids.pick(random, table) } : {};
  await world.models[table].upsert({ ...newValues(act, table), ...id }, { ...on });
}

async function findOrCreate(act: Act): Promise<void> {
  const { world, random, on } = act;
  const table = tableOf(act);
  const model = world.models[table];
  const defaults = newValues(act, table);
  const where = { [uniqueOf[table]]: defaults[uniqueOf[table]] } as WhereOptions;
  if (random.once(3)) await model.findCreateFind({ where, defaults: defaults as never, ...on });
  else await model.findOrCreate({ where, defaults: defaults as never, ...on });
}

/** Two rows exchange a value, which takes three statements. */
async function swap(act: Act): Promise<void> {
  const { world, ids, random, on } = act;
  const [one, two] = [await world.models.User.findByPk(ids.pick(random, 'User'), on), await world.models.User.findByPk(ids.pick(random, 'User'), on)];
  if (one === null || two === null || one.get('id') === two.get('id')) return;
  const [first, second] = [one.get('name'), two.get('name')];
  await one.update({ name: `x${String(one.get('id'))}`, stamp: act.stamp() }, on);
  await two.update({ name: first, stamp: act.stamp() }, on);
  await one.update({ name: second, stamp: act.stamp() }, on);
}

/** Rows of two users are written in an order by chance: two who do that wait for each other. */
async function lockTwo(act: Act): Promise<void> {
  const { world, ids, random, on } = act;
  for (let left = 2; left > 0; left -= 1) {
    await world.models.User.update({ count: random.below(100), stamp: act.stamp() }, { where: { id: ids.pick(random, 'User') }, ...on });
  }
}

async function associate(act: Act): Promise<void> {
  const { world, random, ids, on } = act;
  const user = await world.models.User.findByPk(ids.pick(random, 'User'), on);
  if (user === null) return;
  const methods = user as unknown as Methods;
  const call = async (name: string, ...given: unknown[]): Promise<void> => {
    await methods[name]?.call(user, ...given);
  };
  const some = async (model: ModelStatic<Model>): Promise<Model[]> => model.findAll({ order: [['id', random.pick(['ASC', 'DESC'])]], limit: random.below(4), ...on });
  const through = { through: { role: random.pick(['guest', 'host', 'boss']), stamp: act.stamp() }, ...on };
  const someGroups = random.list(1 + random.below(2), () => 1 + random.below(groups)).filter((group, at, all) => all.indexOf(group) === at);
  switch (random.below(12)) {
    case 0:
      return call('setDocs', await some(world.models.Doc), on);
    case 1:
      return call('addDoc', ids.pick(random, 'Doc'), on);
    case 2:
      return call('removeDoc', ids.pick(random, 'Doc'), on);
    case 3:
      return call('createDoc', { code: random.pick(pools.code), stamp: act.stamp() }, on);
    case 4: {
      const doc = await world.models.Doc.findByPk(ids.pick(random, 'Doc'), on);
      await (doc as unknown as Methods | null)?.setOwner?.call(doc, random.once(4) ? null : user, on);
      return;
    }
    case 5:
      return call('setAvatars', await some(world.models.Avatar), on);
    case 6:
      return call('addAvatar', ids.pick(random, 'Avatar'), on);
    case 7:
      return call('createAvatar', { url: random.pick(pools.url), isPrimary: true, stamp: act.stamp() }, on);
    case 8:
      return call('setGroups', someGroups, through);
    case 9:
      return call('removeGroup', 1 + random.below(groups), on);
    default:
      return call('addGroups', someGroups, through);
  }
}

const writes: readonly (readonly [weight: number, write: Write])[] = [
  [22, { name: 'save', run: save }],
  [12, { name: 'increment', run: increment }],
  [12, { name: 'bulkUpdate', run: bulkUpdate }],
  [14, { name: 'create', run: create }],
  [3, { name: 'bulkCreate', run: bulkCreate }],
  [4, { name: 'destroy', run: destroy }],
  [3, { name: 'bulkDestroy', run: bulkDestroy }],
  [5, { name: 'restore', run: restore }],
  [2, { name: 'upsert', run: upsert }],
  [4, { name: 'findOrCreate', run: findOrCreate }],
  [3, { name: 'swap', run: swap }],
  [3, { name: 'lockTwo', run: lockTwo }],
  [6, { name: 'associate', run: associate }],
];

/** A write by chance. */
export const randomWrite = (random: Random): Write => random.weighted(writes);
