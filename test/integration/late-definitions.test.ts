/**
 * A model that changes after it was bound: the next read of it, and the next write of any model, see the
 * new definition. What is declared wrongly after set-up is an error of its own lookups and of nothing else.
 */
import assert from 'node:assert/strict';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { describe, it } from 'node:test';
import { DataTypes, type Model, type ModelStatic, type Sequelize } from 'sequelize';
import { InstanceCache, InvalidCacheClassError, InvalidKeyFieldError, QuerysetCache, QuerysetCountCache, registerCache, RelatedInstanceCache, type CacheClass, type FlashEvents } from '../../src/index.js';
import { backendNames, openBackend, type Backend } from '../support/backends.js';
import { cached, type UntypedModel } from '../support/misuse-models.js';

interface World {
  readonly backend: Backend;
  readonly sequelize: Sequelize;
  readonly User: UntypedModel & ModelStatic<Model>;
  readonly Task: UntypedModel & ModelStatic<Model>;
  readonly told: readonly FlashEvents['passthrough'][];
}

/** Two models, bound, each with a row (id 1) that is cached. */
async function inWorld(name: 'mariadb' | 'sqlite', work: (world: World) => Promise<void>): Promise<void> {
  const backend = await openBackend(name);
  const told: FlashEvents['passthrough'][] = [];
  const listen = (message: unknown): void => void told.push(message as FlashEvents['passthrough']);
  subscribe('sequelize-flash:passthrough', listen);
  try {
    const { sequelize } = backend;
    const User = sequelize.define('User', { name: DataTypes.STRING, state: { type: DataTypes.STRING, defaultValue: 'live' } }, { timestamps: false });
    const Task = sequelize.define('Task', { title: DataTypes.STRING, ownerId: DataTypes.INTEGER }, { timestamps: false });
    cached(User, { keys: ['id', 'name'], filters: ['state'] });
    cached(Task, { keys: ['id'], filters: ['title'] });
    backend.setup();
    await sequelize.sync();
    // Columns that the models learn of later.
    for (const column of ['userId INTEGER', 'extra VARCHAR(20)']) {
      for (const table of [User.tableName, Task.tableName]) await sequelize.query(`ALTER TABLE ${table} ADD COLUMN ${column}`);
    }
    await User.create({ name: 'ann' });
    await Task.create({ title: 't', ownerId: 1 });
    const world = { backend, sequelize, User, Task, told } as unknown as World;
    await same(world, 'at first');
    await work(world);
  } finally {
    unsubscribe('sequelize-flash:passthrough', listen);
    await backend.close();
  }
}

const plainly = (found: unknown): unknown => JSON.parse(JSON.stringify(found));

/** Compares what is cached of both models with plain finds, twice. */
async function same({ User, Task }: World, when: string): Promise<void> {
  for (const round of ['first', 'second']) {
    const [user, byName, list, task, tasks] = await Promise.all([
      User.cache.getOrNone({ id: 1 }), User.cache.getOrNone({ name: 'ann' }), 'state' in User.getAttributes() ? User.cache.filter({ state: 'live' }) : [], Task.cache.getOrNone({ id: 1 }), Task.cache.filter({ title: 't' }),
    ]);
    assert.deepStrictEqual(plainly(user), plainly(await User.findByPk(1)), `user, ${when}, ${round}`);
    assert.deepStrictEqual(plainly(byName), plainly(await User.findOne({ where: { name: 'ann' } })), `user by name, ${when}, ${round}`);
    assert.deepStrictEqual(plainly(list), plainly('state' in User.getAttributes() ? await User.findAll({ where: { state: 'live' }, order: ['id'] }) : []), `users, ${when}, ${round}`);
    assert.deepStrictEqual(plainly(task), plainly(await Task.findByPk(1)), `task, ${when}, ${round}`);
    assert.deepStrictEqual(plainly(tasks), plainly(await Task.findAll({ where: { title: 't' }, order: ['id'] })), `tasks, ${when}, ${round}`);
  }
}

const refresh = (model: object): void => (model as { refreshAttributes(): void }).refreshAttributes();

const addAttribute = (model: ModelStatic<Model>, name: string): void => {
  Reflect.set(Reflect.get(model, 'rawAttributes') as object, name, { type: DataTypes.STRING, field: name });
  refresh(model);
};

/** Each changes a definition, and then what is stored. */
const changes: Readonly<Record<string, (world: World) => Promise<void> | void>> = {
  'a belongsTo': async ({ User, Task }) => {
    Task.belongsTo(User, { as: 'user', foreignKey: 'userId' });
    await Task.update({ userId: 1 }, { where: { id: 1 } });
  },
  'a hasMany': async ({ User, Task }) => {
    User.hasMany(Task, { as: 'tasks', foreignKey: 'userId' });
    await Task.update({ userId: 1 }, { where: { id: 1 } });
  },
  'a hasOne': async ({ User, Task }) => {
    User.hasOne(Task, { as: 'task', foreignKey: 'userId' });
    await Task.update({ userId: 1 }, { where: { id: 1 } });
  },
  'an association by a column that is there': async ({ User, Task }) => {
    Task.belongsTo(User, { as: 'owner', foreignKey: 'ownerId' });
    await User.update({ name: 'eve' }, { where: { id: 1 } });
  },
  'an attribute': async ({ User }) => {
    addAttribute(User, 'extra');
    await User.update({ extra: 'y' }, { where: { id: 1 } });
  },
  'an attribute, and nothing written': ({ User }) => addAttribute(User, 'extra'),
  'an attribute taken away': ({ User }) => User.removeAttribute('state'),
  'an attribute taken away and put back': async ({ User }) => {
    const { state } = Reflect.get(User, 'rawAttributes') as Record<string, object>;
    User.removeAttribute('state');
    await User.cache.get({ id: 1 });
    Reflect.set(Reflect.get(User, 'rawAttributes') as object, 'state', state);
    refresh(User);
  },
  'another type': ({ User }) => {
    const { state } = Reflect.get(User, 'rawAttributes') as Record<string, { type: unknown }>;
    if (state !== undefined) state.type = DataTypes.TEXT;
    refresh(User);
  },
  'a default scope': async ({ User }) => {
    User.addScope('defaultScope', { where: { state: 'live' } }, { override: true });
    await User.update({ state: 'gone' }, { where: { id: 1 } });
  },
  'a default scope that hides an attribute': ({ User }) => User.addScope('defaultScope', { attributes: { exclude: ['name'] } }, { override: true }),
  'a default scope, and then another': async ({ User }) => {
    User.addScope('defaultScope', { where: { state: 'gone' } }, { override: true });
    await User.cache.getOrNone({ id: 1 });
    User.addScope('defaultScope', {}, { override: true });
  },
  'a default scope that cannot be cached': async ({ User }) => {
    User.addScope('defaultScope', { limit: 5 }, { override: true });
    await User.update({ name: 'eve' }, { where: { id: 1 } });
  },
  'a model over the same table': async ({ sequelize, User }) => {
    const Twin = sequelize.define('Twin', { name: DataTypes.STRING }, { timestamps: false, tableName: User.tableName });
    await Twin.update({ name: 'eve' }, { where: { id: 1 } });
  },
};

for (const backendName of backendNames) {
  describe(`definitions that change (${backendName})`, () => {
    for (const [what, change] of Object.entries(changes)) {
      it(what, () =>
        inWorld(backendName, async (world) => {
          const { User } = world;
          const before = User.cache.stats()['User(id)']?.hits ?? 0;
          const query = User.cache.getQuery({ id: 1 });
          await change(world);
          await same(world, 'after the change');
          assert.deepStrictEqual(plainly(await query.resolve().catch(() => null)), plainly(await User.findByPk(1)), 'a query that was made before');
          await User.update({ name: 'bob' }, { where: { id: 1 } });
          await same(world, 'after another write');
          assert.ok((User.cache.stats()['User(id)']?.hits ?? 0) >= before, 'counters go on');
        }));
    }

    it('a belongsTo that cascades: the parent voids what is cached of the child', () =>
      inWorld(backendName, async (world) => {
        const { sequelize, User, Task } = world;
        Task.belongsTo(User, { as: 'user', foreignKey: 'userId', onDelete: 'CASCADE' });
        // Foreign keys of MariaDB and SQLite both: the table is made anew.
        await sequelize.query('PRAGMA foreign_keys = ON').catch(() => undefined);
        await Task.sync({ force: true });
        await Task.create({ id: 1, title: 't', ownerId: 1, userId: 1 });
        await same(world, 'before');
        await User.destroy({ where: { id: 1 } });
        await same(world, 'after the parent was destroyed');
      }));

    it('costs no statement and no entry while nothing changes', () =>
      inWorld(backendName, async ({ backend, User }) => {
        await User.cache.get({ id: 1 });
        backend.reset();
        await User.cache.get({ id: 1 });
        assert.deepEqual(backend.sql, []);
      }));

    it('a scope that cannot be cached is told once, and what it replaces comes back', () =>
      inWorld(backendName, async (world) => {
        const { backend, User, told } = world;
        for (const scope of [{ limit: 5 }, { limit: 6 }]) {
          User.addScope('defaultScope', scope, { override: true });
          await User.cache.get({ id: 1 });
          await User.cache.get({ id: 1 });
        }
        assert.deepEqual(told.map(({ model, reason }) => [model, reason]), [['User', 'default-scope']]);
        assert.match(told[0]?.detail ?? '', /^The default scope of model User cannot be cached: it has 'limit'\./);
        User.addScope('defaultScope', {}, { override: true });
        await same(world, 'again without');
        backend.reset();
        await User.cache.get({ id: 1 });
        assert.deepEqual(backend.sql, []);
      }));

    it('the primary key is taken away: passed through', () =>
      inWorld(backendName, async ({ User, told }) => {
        User.removeAttribute('id');
        assert.equal((await User.cache.get({ name: 'ann' })).get('state'), 'live');
        await User.update({ state: 'gone' }, { where: { name: 'ann' } });
        assert.equal((await User.cache.get({ name: 'ann' })).get('state'), 'gone');
        assert.deepEqual(told.map(({ reason }) => reason).sort().filter((reason) => reason !== 'invalid-declaration'), ['primary-key']);
      }));
  });
}

// ---- Wrong declarations after set-up ---------------------------------------------------------------

type Mistake = (world: World) => readonly CacheClass[];

const named = (name: string, cacheClass: unknown): CacheClass => {
  Object.defineProperty(cacheClass, 'name', { value: name });
  return cacheClass as CacheClass;
};

const mistakes: Readonly<Record<string, Mistake>> = {
  'a column of an association': ({ User, Task }) => {
    Task.belongsTo(User, { as: 'owner', foreignKey: 'ownerId' });
    return [named('ByOwnerId', class extends InstanceCache<Model> { static model = Task; static keyFields = ['ownerId']; })];
  },
  'a misspelt key field': ({ Task }) => [named('ByTitel', class extends InstanceCache<Model> { static model = Task; static keyFields = ['titel']; })],
  'several': ({ Task, User }) => [
    named('One', class extends QuerysetCache<Model> { static model = Task; static keyFields = ['nope']; }),
    named('Two', class extends QuerysetCountCache<Model> { static model = Task; static keyFields = ['title', 'title']; }),
    named('Three', class extends InstanceCache<Model> { static model = User; static keyFields = ['state', 'nope']; }),
  ],
  'a limit without an order': ({ Task }) => [named('Some', class extends QuerysetCache<Model> { static model = Task; static keyFields = ['title']; static limit = 5; })],
  'a relation that is none': ({ Task }) => [named('Venue', class extends RelatedInstanceCache<Model, Model> { static model = Task; static keyFields = ['id']; static relation = 'venue'; })],
  'an include that is none': ({ Task }) => [named('With', class extends InstanceCache<Model> { static model = Task; static keyFields = ['id']; static include = ['venue']; })],
  'a name that is taken': ({ Task }) => [named('User(id)', class extends InstanceCache<Model> { static model = Task; static keyFields = ['id']; })],
};

for (const backendName of backendNames) {
  describe(`declared wrongly after set-up (${backendName})`, () => {
    for (const [what, mistake] of Object.entries(mistakes)) {
      it(what, () =>
        inWorld(backendName, async (world) => {
          const { User, Task, sequelize, told } = world;
          const wrong = mistake(world);
          for (const cacheClass of wrong) registerCache(cacheClass as never);
          for (let round = 0; round < 2; round += 1) {
            for (const cacheClass of wrong) {
              const error: unknown = await new cacheClass(1).resolve().then(() => undefined, (cause: unknown) => cause);
              assert.ok(error instanceof Error && 'code' in error && error.message.includes(cacheClass.name), String(error));
              assert.ok(!(error instanceof RangeError));
            }
            await same(world, 'beside a mistake');
            await Task.update({ title: 'u' }, { where: { id: 1 } });
            await User.update({ name: 'eve' }, { where: { id: 1 } });
            await same(world, 'after writes beside a mistake');
            await Task.update({ title: 't' }, { where: { id: 1 } });
            await User.update({ name: 'ann' }, { where: { id: 1 } });
            const created = await Task.create({ title: 't' });
            await sequelize.query(`UPDATE ${Task.tableName} SET title = 'raw' WHERE id = ${String(created.get('id'))}`);
            await created.destroy();
            await same(world, 'back again');
          }
          assert.equal(told.filter(({ reason }) => reason === 'invalid-declaration').length, wrong.length, JSON.stringify(told));
        }));
    }

    it('a relation to a model with a mistake works', () =>
      inWorld(backendName, async (world) => {
        const { User, Task } = world;
        Task.belongsTo(User, { as: 'owner', foreignKey: 'ownerId' });
        registerCache(named('WrongOfUser', class extends InstanceCache<Model> { static model = User; static keyFields = ['nope']; }) as never);
        const Owner = named('OwnerOfTask', class extends RelatedInstanceCache<Model, Model> { static model = Task; static keyFields = ['id']; static relation = 'owner'; });
        const With = named('TaskWithOwner', class extends InstanceCache<Model> { static model = Task; static keyFields = ['id']; static include = ['owner']; });
        registerCache(Owner as never);
        registerCache(With as never);
        for (let round = 0; round < 2; round += 1) {
          assert.equal(((await new Owner(1).resolve()) as Model).get('name'), 'ann');
          assert.deepEqual(plainly(await new With(1).resolve()), plainly(await Task.findOne({ where: { id: 1 }, include: ['owner'] })));
        }
        await User.update({ name: 'eve' }, { where: { id: 1 } });
        assert.equal(((await new Owner(1).resolve()) as Model).get('name'), 'eve');
      }));

    it('is looked at again when it is repaired', () =>
      inWorld(backendName, async ({ User, Task }) => {
        const Owner = named('LateOwner', class extends RelatedInstanceCache<Model, Model> { static model = Task; static keyFields = ['id']; static relation = 'owner'; });
        registerCache(Owner as never);
        await assert.rejects(async () => new Owner(1).resolve(), InvalidCacheClassError);
        Task.belongsTo(User, { as: 'owner', foreignKey: 'ownerId' });
        assert.equal(((await new Owner(1).resolve()) as Model).get('name'), 'ann');
      }));

    it('keys and lists of a model that is declared late: each is its own', () =>
      inWorld(backendName, async ({ sequelize }) => {
        const Late = sequelize.define('Late', { name: DataTypes.STRING }, { timestamps: false });
        cached(Late, { keys: ['id', 'nope'], filters: ['name', 'nope'], cachedForeignKeys: ['nobody'] });
        const model = Late as unknown as UntypedModel & ModelStatic<Model>;
        await Late.sync();
        await Late.create({ name: 'a' });
        assert.equal((await model.cache.get({ id: 1 })).get('name'), 'a');
        assert.equal((await model.cache.filter({ name: 'a' }) as unknown[]).length, 1);
        await assert.rejects(async () => model.cache.get({ nope: 1 }), InvalidKeyFieldError);
        await assert.rejects(async () => model.cache.filter({ nope: 1 }), InvalidKeyFieldError);
        await Late.update({ name: 'b' }, { where: { id: 1 } });
        assert.equal((await model.cache.get({ id: 1 })).get('name'), 'b');
      }));
  });
}
