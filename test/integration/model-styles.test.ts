/**
 * Every way to define a model and to declare its caches, and every option of a model that changes
 * what a found instance is: what the cache answers is what `findOne` answers.
 */
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import {
  DataTypes,
  Model,
  type Sequelize,
  type CreationOptional,
  type InferAttributes,
  type InferCreationAttributes,
  type ModelStatic,
} from 'sequelize';
import { Column, Model as TypescriptModel, Sequelize as TypescriptSequelize, Table, type SequelizeOptions } from 'sequelize-typescript';
import { createSqliteModule } from '../../examples/support/sqlite.js';
import {
  InstanceCache,
  registerCache,
  setupCache,
  withCache,
  type CacheMeta,
  DoesNotExist,
  type FlashCache,
  type ModelCache,
} from '../../src/index.js';
import { backendNames, openBackend, type Backend } from '../support/backends.js';
import { coldThenWarm, costing } from '../support/cost.js';
import { cached, type UntypedModel } from '../support/misuse-models.js';

/** A model with a `username`, whatever its style, and its manager. */
interface Style {
  readonly model: ModelStatic<Model>;
  readonly cache: Pick<UntypedModel['cache'], 'get' | 'getOrNone' | 'getMany'>;
}

const username = { type: DataTypes.STRING(40), unique: true } as const;

/** Plain Sequelize. */
const styles: Readonly<Record<string, (sequelize: Sequelize) => Style>> = {
  'a static member'(sequelize) {
    class User extends Model<InferAttributes<User>, InferCreationAttributes<User>> {
      static readonly cache = withCache(User, { keys: ['username'] });
      declare id: CreationOptional<number>;
      declare username: string;
    }
    User.init({ id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true }, username }, { sequelize });
    return style(User);
  },
  'a mixin with cacheMeta'(sequelize) {
    class User extends withCache(Model)<InferAttributes<User>, InferCreationAttributes<User>> {
      declare static readonly cache: ModelCache<User, 'username'>;
      static cacheMeta = { keys: ['username'] } satisfies CacheMeta<User>;
      declare id: CreationOptional<number>;
      declare username: string;
    }
    User.init({ id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true }, username }, { sequelize });
    return style(User);
  },
  'a mixin of an abstract base, cacheMeta under its long name'(sequelize) {
    abstract class Base extends Model {
      get shout(): string {
        return String(this.get('username')).toUpperCase();
      }
    }
    class User extends withCache(Base) {
      static cacheMeta = { getKeyFieldsList: ['username'] };
    }
    User.init({ username }, { sequelize });
    return style(User);
  },
  'withCache after the definition'(sequelize) {
    class User extends Model<InferAttributes<User>, InferCreationAttributes<User>> {
      declare id: CreationOptional<number>;
      declare username: string;
    }
    User.init({ id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true }, username }, { sequelize });
    const userCache = withCache(User, { keys: ['username'] });
    assert.equal(userCache, style(User).cache);
    return style(User);
  },
  'withCache before init'(sequelize) {
    class User extends Model {}
    cached(User, { keys: ['username'] });
    User.init({ username }, { sequelize });
    return style(User);
  },
  'sequelize.define'(sequelize) {
    const User = sequelize.define('User', { username });
    cached(User, { keys: ['username'] });
    return style(User);
  },
  'a static member assigned, as class fields are compiled for older targets'(sequelize) {
    class User extends Model {}
    Reflect.set(User, 'cache', withCache(User, { keys: ['username'] as never[] }));
    User.init({ username }, { sequelize });
    return style(User);
  },
  'a model that extends a cached model'(sequelize) {
    class Person extends Model {}
    cached(Person, { keys: ['username'] });
    class User extends Person {}
    User.init({ username }, { sequelize });
    return style(User);
  },
  'a cache class registered, nothing else'(sequelize) {
    class User extends Model {}
    class UserCacheOnUsername extends InstanceCache<User> {
      static model = User;
      static keyFields = ['username'] as const;
    }
    registerCache(UserCacheOnUsername);
    User.init({ username }, { sequelize });
    const get = async (key: unknown): Promise<Model> => new UserCacheOnUsername(key as never).resolve();
    const getOrNone = async (key: unknown): Promise<Model | null> => {
      try {
        return await get(key);
      } catch (error) {
        if (error instanceof DoesNotExist) return null;
        throw error;
      }
    };
    return {
      model: User,
      cache: {
        get,
        getOrNone,
        getMany: (keys) => Promise.all((keys as readonly unknown[]).map(getOrNone)),
      },
    };
  },
};

/** `cache` is asked for at each use, as `User.cache.get(…)` is written. */
const style = (model: unknown): Style => ({
  model: model as ModelStatic<Model>,
  get cache() {
    return (model as UntypedModel).cache;
  },
});

/** sequelize-typescript. Classes are made anew, because one belongs to one Sequelize instance. */
const typescriptStyles: Readonly<Record<string, { readonly options?: SequelizeOptions; readonly of: (add: (model: unknown) => TypescriptSequelize) => Style }>> = {
  '@Table with a static member': {
    of(add) {
      @Table
      class User extends TypescriptModel<InferAttributes<User>, InferCreationAttributes<User>> {
        static readonly cache = withCache(User, { keys: ['username'] });
        @Column({ type: DataTypes.STRING(40), unique: true })
        declare username: string;
      }
      add(User);
      return style(User);
    },
  },
  '@Table with the mixin': {
    of(add) {
      @Table
      class User extends withCache(TypescriptModel)<InferAttributes<User>, InferCreationAttributes<User>> {
        static cacheMeta = { keys: ['username'] };
        @Column({ type: DataTypes.STRING(40), unique: true })
        declare username: string;
      }
      add(User);
      return style(User);
    },
  },
  '@Table, withCache after the definition': {
    of(add) {
      @Table
      class User extends TypescriptModel {
        @Column({ type: DataTypes.STRING(40), unique: true })
        declare username: string;
      }
      cached(User, { keys: ['username'] });
      add(User);
      return style(User);
    },
  },
  'repositoryMode with a static member': {
    options: { repositoryMode: true },
    of(add) {
      @Table
      class User extends TypescriptModel<InferAttributes<User>, InferCreationAttributes<User>> {
        static readonly cache = withCache(User, { keys: ['username'] });
        @Column({ type: DataTypes.STRING(40), unique: true })
        declare username: string;
      }
      return style(add(User).getRepository(User));
    },
  },
  'repositoryMode with the mixin': {
    options: { repositoryMode: true },
    of(add) {
      @Table
      class User extends withCache(TypescriptModel)<InferAttributes<User>, InferCreationAttributes<User>> {
        static cacheMeta = { keys: ['username'] };
        @Column({ type: DataTypes.STRING(40), unique: true })
        declare username: string;
      }
      return style(add(User).getRepository(User));
    },
  },
};

/** What every style has to do. */
async function behaves(backend: Backend, defined: Style): Promise<void> {
  const { model } = defined;
  const created = await model.create({ username: 'ann' });
  const [cold, warm] = await coldThenWarm(backend, () => defined.cache.get({ username: 'ann' }));
  const found = await model.findOne({ where: { username: 'ann' } });
  assert.ok(warm instanceof model);
  assert.deepStrictEqual(cold, found);
  assert.deepStrictEqual(warm, found);
  await created.update({ username: 'eve' });
  assert.equal(await defined.cache.getOrNone({ username: 'ann' }), null);
  assert.equal((await defined.cache.get({ username: 'eve' })).get('id'), created.get('id'));
  const [eve, nobody] = await defined.cache.getMany([{ username: 'eve' }, { username: 'nobody' }]);
  assert.equal(eve?.get('username'), 'eve');
  assert.equal(nobody, null);
  await model.destroy({ where: { username: 'eve' } });
  const NotThere = Reflect.get(model, 'DoesNotExist') as typeof DoesNotExist;
  await assert.rejects(defined.cache.get({ username: 'eve' }), NotThere);
}

for (const name of backendNames) {
  describe(`styles of models (${name})`, () => {
    for (const [title, define] of Object.entries(styles)) {
      it(title, async () => {
        const backend = await openBackend(name);
        try {
          const defined = define(backend.sequelize);
          backend.setup();
          await backend.sequelize.sync();
          await behaves(backend, defined);
        } finally {
          await backend.close();
        }
      });
    }

    for (const [title, { options, of }] of Object.entries(typescriptStyles)) {
      it(`sequelize-typescript: ${title}`, async () => {
        const backend = await openBackend(name);
        const sequelize = await typescriptOn(backend, options);
        let cache: FlashCache | undefined;
        try {
          const defined = of((model) => {
            sequelize.addModels([model as typeof TypescriptModel & (new () => TypescriptModel)]);
            return sequelize;
          });
          cache = setupCache(sequelize, { store: backend.store });
          await sequelize.sync();
          await behaves(backend, defined);
        } finally {
          await cache?.close(0);
          await sequelize.close();
          await backend.close();
        }
      });
    }
  });
}

/** A Sequelize of sequelize-typescript on the backend's database. */
async function typescriptOn(backend: Backend, options: SequelizeOptions = {}): Promise<TypescriptSequelize> {
  const logging = (sql: string): void => {
    (backend.sql as string[]).push(sql);
  };
  if (backend.name === 'sqlite') {
    return new TypescriptSequelize({ dialect: 'sqlite', storage: ':memory:', dialectModule: await createSqliteModule(), logging, ...options });
  }
  const { host, port, database, username: user, password } = backend.sequelize.config;
  return new TypescriptSequelize({
    dialect: 'mysql',
    host: host ?? 'localhost',
    port: Number(port),
    database,
    username: user,
    password: password ?? '',
    logging,
    ...options,
  });
}

// ---- Order of definition, several instances -----------------------------------------------------

describe('models and classes in any order', () => {
  let backend: Backend;
  before(async () => {
    backend = await openBackend('sqlite');
    backend.setup();
  });
  after(() => backend.close());

  it('a model that is defined after setupCache', async () => {
    const defined = styles['a static member']!(backend.sequelize);
    await defined.model.sync({ force: true });
    await behaves(backend, defined);
  });

  it('a model that is defined anew under its name', async () => {
    const first = backend.sequelize.define('Town', { name: { type: DataTypes.STRING, unique: true } }, { timestamps: false });
    cached(first, { keys: ['name'] });
    await first.sync({ force: true });
    await first.create({ name: 'Rome' });
    await style(first).cache.get({ name: 'Rome' });

    const second = backend.sequelize.define('Town', { name: { type: DataTypes.STRING, unique: true }, mayor: DataTypes.STRING }, { timestamps: false });
    cached(second, { keys: ['name'] });
    await second.sync({ force: true });
    await second.create({ name: 'Rome', mayor: 'Ann' });
    const found = await style(second).cache.get({ name: 'Rome' });
    assert.deepStrictEqual(found, await second.findOne({ where: { name: 'Rome' } }));
    await second.update({ mayor: 'Eve' }, { where: {} });
    assert.equal((await style(second).cache.get({ name: 'Rome' })).get('mayor'), 'Eve');
  });

  it('a cache class that is registered after setupCache sees the writes that follow', async () => {
    class Item extends Model<InferAttributes<Item>, InferCreationAttributes<Item>> {
      static readonly cache = withCache(Item, { keys: ['id'] });
      declare id: CreationOptional<number>;
      declare label: string;
    }
    Item.init({ id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true }, label: DataTypes.STRING }, { sequelize: backend.sequelize, timestamps: false });
    await Item.sync();
    const item = await Item.create({ label: 'a' });
    await Item.cache.get({ id: item.id });
    class ItemCountCache extends InstanceCache<Item> {
      static model = Item;
      static keyFields = ['label'] as const;

      override getInstance({ label }: { label: string }) {
        return this.queryset().findOne({ where: { label }, order: [['id', 'DESC']] });
      }
    }
    registerCache(ItemCountCache);
    assert.equal((await new ItemCountCache('a').resolve())?.id, item.id);
    const second = await Item.create({ label: 'a' });
    assert.equal((await new ItemCountCache('a').resolve())?.id, second.id);
    await second.destroy();
    assert.equal((await new ItemCountCache('a').resolve())?.id, item.id);
  });

  it('User.scope(…), unscoped() and schema(…) do not answer for the default scope', async () => {
    const { model } = styles['a static member']!(backend.sequelize);
    await model.sync({ force: true });
    for (const scoped of [model.scope(), model.unscoped(), model.schema('s')]) {
      await assert.rejects(async () => style(scoped).cache.get({ username: 'ann' }), { name: 'ScopedModelError' });
    }
    assert.equal(await style(model).cache.getOrNone({ username: 'ann' }), null);
  });
});

describe('two Sequelize instances in one process, models of the same names, one store', () => {
  it('keep apart', async () => {
    const [first, second] = [await openBackend('sqlite'), await openBackend('sqlite')];
    try {
      const [one, other] = [styles['a static member']!(first.sequelize), styles['a static member']!(second.sequelize)];
      first.setup({ alias: 'first', prefix: 'two' });
      const cache = setupCache(second.sequelize, { store: first.store, alias: 'second', prefix: 'two' });
      await first.sequelize.sync();
      await second.sequelize.sync();
      await one.model.create({ id: 1, username: 'ann' });
      await other.model.create({ id: 7, username: 'ann' });
      for (let round = 0; round < 2; round += 1) {
        assert.equal((await one.cache.get({ username: 'ann' })).get('id'), 1);
        assert.equal((await other.cache.get({ username: 'ann' })).get('id'), 7);
      }
      assert.ok((await other.cache.get({ username: 'ann' })) instanceof other.model);
      await other.model.update({ username: 'eve' }, { where: { id: 7 } });
      assert.equal(await other.cache.getOrNone({ username: 'ann' }), null);
      first.reset();
      assert.equal((await one.cache.get({ username: 'ann' })).get('id'), 1);
      assert.deepEqual(first.sql, [], 'the write was none of its own');
      await cache.close(0);
      assert.equal((await one.cache.get({ username: 'ann' })).get('id'), 1);
    } finally {
      await first.close();
      await second.close();
    }
  });

  it('keep apart in repository mode, where they share the class', async () => {
    @Table
    class Place extends withCache(TypescriptModel)<InferAttributes<Place>, InferCreationAttributes<Place>> {
      static cacheMeta = { keys: ['name'] };
      @Column({ type: DataTypes.STRING(40), unique: true })
      declare name: string;
    }
    const backend = await openBackend('sqlite');
    const [one, other] = [await typescriptOn(backend, { repositoryMode: true }), await typescriptOn(backend, { repositoryMode: true })];
    one.addModels([Place]);
    other.addModels([Place]);
    const caches = [setupCache(one, { store: backend.store, alias: 'one' }), setupCache(other, { store: backend.store, alias: 'other' })];
    try {
      await one.sync();
      await other.sync();
      const [here, there] = [one.getRepository(Place), other.getRepository(Place)];
      await here.create({ id: 1, name: 'Rome' });
      await there.create({ id: 2, name: 'Rome' });
      for (let round = 0; round < 2; round += 1) {
        assert.equal((await style(here).cache.get({ name: 'Rome' })).get('id'), 1);
        assert.equal((await style(there).cache.get({ name: 'Rome' })).get('id'), 2);
      }
      await assert.rejects(async () => style(Place).cache.get({ name: 'Rome' }), { name: 'CacheNotSetUpError' });
    } finally {
      for (const cache of caches) await cache.close(0);
      await one.close();
      await other.close();
      await backend.close();
    }
  });
});

// ---- Options of a model -------------------------------------------------------------------------

for (const name of backendNames) {
  describe(`models of every kind (${name})`, () => {
    let backend: Backend;
    before(async () => {
      backend = await openBackend(name);
      backend.setup();
    });
    after(() => backend.close());

    /** What the cache has is what `findOne` finds, cold and warm. */
    async function same(model: ModelStatic<Model>, key: object): Promise<Model> {
      const found = await model.findOne({ where: key as never });
      assert.deepStrictEqual(await style(model).cache.getOrNone(key), found);
      // A way that led to a row which is gone costs one query more, then it is known.
      assert.deepStrictEqual(await style(model).cache.getOrNone(key), found);
      const warm = await costing(backend, { sql: 0 }, () => style(model).cache.getOrNone(key));
      assert.deepStrictEqual(warm, found);
      return warm as Model;
    }

    it('a constructor of its own', async () => {
      let made = 0;
      class Widget extends Model {
        readonly born: string;
        constructor(...args: never[]) {
          super(...args);
          made += 1;
          this.born = 'here';
        }
      }
      Widget.init({ code: { type: DataTypes.STRING, unique: true } }, { sequelize: backend.sequelize, timestamps: false });
      cached(Widget, { keys: ['code'] });
      await Widget.sync();
      await Widget.create({ code: 'x' });
      const widget = (await same(Widget, { code: 'x' })) as Widget;
      assert.equal(widget.born, 'here');
      const before = made;
      await style(Widget).cache.get({ code: 'x' });
      assert.equal(made, before + 1, 'the constructor runs for each instance');
    });

    it('private fields, accessors over them, and class fields', async () => {
      class Secret extends Model {
        #seen = 0;
        readonly tags: string[] = ['fresh'];
        look(): number {
          this.#seen += 1;
          return this.#seen;
        }
      }
      Secret.init({ code: { type: DataTypes.STRING, unique: true } }, { sequelize: backend.sequelize, timestamps: false });
      cached(Secret, { keys: ['code'] });
      await Secret.sync();
      await Secret.create({ code: 'x' });
      const secret = (await same(Secret, { code: 'x' })) as Secret;
      assert.deepEqual([secret.look(), secret.look()], [1, 2]);
      secret.tags.push('mine');
      assert.deepEqual(((await style(Secret).cache.get({ code: 'x' })) as Secret).tags, ['fresh']);
    });

    it('class fields that shadow the attributes: as Sequelize itself answers', async () => {
      class Shadow extends Model {
        code: unknown;
      }
      Shadow.init({ code: { type: DataTypes.STRING, unique: true } }, { sequelize: backend.sequelize, timestamps: false });
      cached(Shadow, { keys: ['code'] });
      await Shadow.sync();
      await Shadow.bulkCreate([{ code: 'x' }]);
      await backend.sequelize.query(`UPDATE ${name === 'mariadb' ? '`Shadows`' : 'Shadows'} SET code = 'x'`);
      const shadow = await same(Shadow, { code: 'x' });
      assert.equal((shadow as Shadow).code, undefined);
      assert.equal(shadow.getDataValue('code' as never), 'x');
    });

    it('timestamps, underscored, columns with other names', async () => {
      const Note = backend.sequelize.define(
        'Note',
        {
          noteId: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true, field: 'pk' },
          shortTitle: { type: DataTypes.STRING(40), field: 'ttl', unique: true },
          bodyText: DataTypes.TEXT,
        },
        { underscored: true },
      );
      cached(Note, { keys: ['noteId', 'shortTitle', ['shortTitle', 'bodyText']] });
      await Note.sync();
      const note = await Note.create({ shortTitle: 'one', bodyText: 'text' });
      for (const key of [{ noteId: note.get('noteId') }, { shortTitle: 'one' }, { shortTitle: 'one', bodyText: 'text' }]) await same(Note, key);
      await Note.update({ shortTitle: 'two' }, { where: { bodyText: 'text' } });
      await same(Note, { shortTitle: 'two' });
      assert.equal(await style(Note).cache.getOrNone({ shortTitle: 'one' }), null);
      const found = await same(Note, { shortTitle: 'two' });
      assert.ok(found.get('createdAt') instanceof Date);
    });

    it('paranoid', async () => {
      const File = backend.sequelize.define('File', { path: { type: DataTypes.STRING(40), unique: true } }, { paranoid: true });
      cached(File, { keys: ['id', 'path'] });
      await File.sync();
      const file = await File.create({ path: 'a' });
      const id = file.get('id');
      await same(File, { path: 'a' });
      await file.destroy();
      assert.equal(await same(File, { path: 'a' }), null);
      assert.equal(await same(File, { id }), null);
      await file.restore();
      assert.equal((await same(File, { path: 'a' })).get('id'), id);
      await File.destroy({ where: { path: 'a' } });
      assert.equal(await same(File, { id }), null);
      await File.restore({ where: { path: 'a' } });
      await same(File, { id });
      await file.destroy({ force: true });
      assert.equal(await same(File, { id }), null);
    });

    it('a composite primary key', async () => {
      const Seat = backend.sequelize.define(
        'Seat',
        { row: { type: DataTypes.STRING(4), primaryKey: true }, number: { type: DataTypes.INTEGER, primaryKey: true }, guest: { type: DataTypes.STRING, unique: true } },
        { timestamps: false },
      );
      cached(Seat, { keys: [['number', 'row'], 'guest'] });
      await Seat.sync();
      const seat = await Seat.create({ row: 'A', number: 1, guest: 'ann' });
      await Seat.create({ row: 'B', number: 1, guest: 'eve' });
      await same(Seat, { row: 'A', number: 1 });
      await same(Seat, { number: 1, row: 'B' });
      await same(Seat, { guest: 'ann' });
      await seat.update({ guest: 'bob' });
      assert.equal((await same(Seat, { row: 'A', number: 1 })).get('guest'), 'bob');
      assert.equal(await same(Seat, { guest: 'ann' }), null);
      await Seat.destroy({ where: { number: 1 } });
      assert.equal(await same(Seat, { row: 'B', number: 1 }), null);
    });

    it('a text as primary key, in other spellings', async () => {
      const Country = backend.sequelize.define('Country', { code: { type: DataTypes.STRING(10), primaryKey: true }, name: DataTypes.STRING }, { timestamps: false });
      cached(Country, { keys: ['code'] });
      await Country.sync();
      const country = await Country.create({ code: 'Käs', name: 'one' });
      const spellings = ['Käs', 'käs', 'KAS', 'kas ', 'kàs', 'k', ''];
      const check = async (): Promise<(string | null)[]> => {
        const names: (string | null)[] = [];
        for (const code of spellings) names.push(((await same(Country, { code })) as Model | null)?.get('name') as string ?? null);
        return names;
      };
      assert.deepEqual(await check(), name === 'mariadb' ? ['one', 'one', 'one', 'one', 'one', null, null] : ['one', null, null, null, null, null, null]);
      await country.update({ name: 'two' });
      assert.equal((await check())[0], 'two');
      await Country.update({ name: 'three' }, { where: { code: 'KAS' } });
      await check();
      await Country.destroy({ where: { code: 'Käs' } });
      assert.deepEqual(await check(), [null, null, null, null, null, null, null]);
    });

    it('a schema', async () => {
      const Part = backend.sequelize.define('Part', { code: { type: DataTypes.STRING(40), unique: true } }, { timestamps: false, schema: 'stock' });
      const Other = backend.sequelize.define('OtherPart', { code: { type: DataTypes.STRING(40), unique: true } }, { timestamps: false, tableName: 'Parts' });
      cached(Part, { keys: ['code'] });
      cached(Other, { keys: ['code'] });
      await Part.sync();
      await Other.sync();
      const part = await Part.create({ code: 'a' });
      await same(Part, { code: 'a' });
      assert.equal(await same(Other, { code: 'a' }), null);
      await part.update({ code: 'b' });
      assert.equal(await same(Part, { code: 'a' }), null);
      await same(Part, { code: 'b' });
    });

    it('a default scope with where, and attributes without the key', async () => {
      const Member = backend.sequelize.define(
        'Member',
        { email: { type: DataTypes.STRING(40), unique: true }, active: DataTypes.BOOLEAN, name: DataTypes.STRING, secret: DataTypes.STRING },
        { timestamps: false, defaultScope: { where: { active: true }, attributes: ['name'] } },
      );
      cached(Member, { keys: ['id', 'email'] });
      await Member.sync();
      const member = await Member.create({ email: 'ann', active: true, name: 'Ann', secret: 's' });
      const found = await same(Member, { email: 'ann' });
      assert.deepEqual(found.toJSON(), { name: 'Ann' });
      await same(Member, { id: member.get('id') });
      await member.update({ active: false });
      assert.equal(await same(Member, { email: 'ann' }), null);
      await Member.unscoped().update({ active: true, name: 'Anna' }, { where: { email: 'ann' } });
      assert.equal((await same(Member, { email: 'ann' })).get('name'), 'Anna');
      await member.update({ email: 'anna' });
      assert.equal(await same(Member, { email: 'ann' }), null);
      await same(Member, { email: 'anna' });
    });

    it('getters, setters and virtual attributes', async () => {
      const Person = backend.sequelize.define(
        'Person',
        {
          email: {
            type: DataTypes.STRING(40),
            unique: true,
            get(this: Model) {
              return `<${String(this.getDataValue('email' as never))}>`;
            },
            set(this: Model, value: string) {
              this.setDataValue('email' as never, value.trim());
            },
          },
          first: DataTypes.STRING,
          last: DataTypes.STRING,
          full: {
            type: new DataTypes.VIRTUAL(DataTypes.STRING, ['first', 'last']),
            get(this: Model) {
              return `${String(this.get('first'))} ${String(this.get('last'))}`;
            },
          },
        },
        { timestamps: false },
      );
      cached(Person, { keys: ['email'] });
      await Person.sync();
      await Person.create({ email: ' ann ', first: 'Ann', last: 'Lee' });
      const found = await same(Person, { email: 'ann' });
      assert.deepEqual([found.get('email'), found.get('full')], ['<ann>', 'Ann Lee']);
      found.set({ email: ' anna ' });
      await found.save();
      assert.equal(await same(Person, { email: 'ann' }), null);
      assert.equal((await same(Person, { email: 'anna' })).getDataValue('email' as never), 'anna');
      assert.deepEqual(found.toJSON(), (await Person.findByPk(found.get('id') as number))?.toJSON());
    });
  });

  // ---- What an instance from the cache can do -----------------------------------------------------

  describe(`an instance from the cache (${name})`, () => {
    let backend: Backend;
    let Author: ModelStatic<Model>;
    let Book: ModelStatic<Model>;
    let author: Model;
    let book: Model;
    let round = 0;
    const get = async (): Promise<Model> => style(Book).cache.get({ title: `title ${round}` });

    before(async () => {
      backend = await openBackend(name);
      Author = backend.sequelize.define('Author', { name: DataTypes.STRING }, { timestamps: false });
      Book = backend.sequelize.define('Book', {
        title: { type: DataTypes.STRING(40), unique: true },
        pages: DataTypes.INTEGER,
        printed: DataTypes.DATE,
        meta: DataTypes.JSON,
        cover: DataTypes.BLOB,
      });
      Book.belongsTo(Author, { as: 'author' });
      Author.hasMany(Book, { as: 'books', foreignKey: 'authorId' });
      cached(Author, { keys: ['id'] });
      cached(Book, { keys: ['id', 'title'] });
      backend.setup();
      await backend.sequelize.sync();
    });
    after(() => backend.close());

    beforeEach(async () => {
      round += 1;
      author = await Author.create({ name: `author ${round}` });
      book = await Book.create({
        title: `title ${round}`,
        pages: 100,
        printed: new Date('2024-02-29T12:34:56Z'),
        meta: { tags: ['a'], nested: { deep: true } },
        cover: Buffer.from([1, 2, 3]),
        authorId: author.get('id'),
      });
      await get();
    });

    it('is not new, not changed, and equal to a found one', async () => {
      const instance = await costing(backend, { sql: 0, gets: 1 }, get);
      assert.deepStrictEqual(instance, await Book.findByPk(book.get('id') as number));
      assert.equal(instance.isNewRecord, false);
      assert.equal(instance.changed(), false);
      assert.equal(instance.previous('title' as never), `title ${round}`);
      assert.deepEqual(instance.toJSON(), (await Book.findByPk(book.get('id') as number))?.toJSON());
    });

    it('knows what changes: setting the same changes nothing', async () => {
      const instance = await get();
      instance.set({ title: `title ${round}`, printed: new Date('2024-02-29T12:34:56Z') });
      assert.equal(instance.changed(), false);
      instance.set({ pages: 101 });
      assert.deepEqual(instance.changed(), ['pages']);
      assert.equal(instance.previous('pages' as never), 100);
    });

    it('save() writes what changed and nothing else', async () => {
      const instance = await get();
      instance.set({ pages: 222 });
      await instance.save();
      assert.equal((await Book.findByPk(book.get('id') as number))?.get('pages'), 222);
      assert.equal((await get()).get('pages'), 222);
      await costing(backend, { sql: 0 }, () => instance.save());
    });

    it('update(), reload() and destroy()', async () => {
      const instance = await get();
      await instance.update({ title: `renamed ${round}` });
      assert.equal(await style(Book).cache.getOrNone({ title: `title ${round}` }), null);
      const renamed = await style(Book).cache.get({ title: `renamed ${round}` });
      await Book.update({ pages: 7 }, { where: { id: book.get('id') as number } });
      await renamed.reload();
      assert.equal(renamed.get('pages'), 7);
      await renamed.increment('pages');
      assert.equal((await style(Book).cache.get({ title: `renamed ${round}` })).get('pages'), 8);
      await renamed.destroy();
      assert.equal(await style(Book).cache.getOrNone({ title: `renamed ${round}` }), null);
      assert.equal(await Book.findByPk(book.get('id') as number), null);
    });

    it('has the getters and setters of its associations', async () => {
      const instance = (await get()) as Model & { getAuthor(): Promise<Model>; setAuthor(other: Model): Promise<void> };
      assert.equal((await instance.getAuthor()).get('id'), author.get('id'));
      const other = await Author.create({ name: 'another' });
      await instance.setAuthor(other);
      assert.equal((await get()).get('authorId'), other.get('id'));
      const cachedAuthor = (await style(Author).cache.get({ id: other.get('id') })) as Model & { getBooks(): Promise<Model[]>; createBook(values: object): Promise<Model> };
      assert.deepEqual((await cachedAuthor.getBooks()).map((one) => one.get('id')), [book.get('id')]);
      const more = await cachedAuthor.createBook({ title: `second ${round}` });
      assert.equal((await style(Book).cache.get({ title: `second ${round}` })).get('id'), more.get('id'));
    });

    it('is the caller\'s own: what one changes, no other sees', async () => {
      const [first, second] = await Promise.all([get(), get()]);
      const [viaMany, again] = await style(Book).cache.getMany([{ title: `title ${round}` }, { title: `title ${round}` }]);
      const all = [first, second, viaMany!, again!];
      assert.equal(new Set(all).size, 4);
      first.set({ pages: 1 });
      const printed = first.get('printed') as Date;
      printed.setFullYear(1999);
      (first.get('cover') as Buffer)[0] = 9;
      const meta = first.get('meta');
      if (typeof meta === 'object') (meta as { tags: string[] }).tags.push('mine');
      const found = await Book.findByPk(book.get('id') as number);
      for (const other of [...all.slice(1), await get()]) assert.deepStrictEqual(other, found);
    });

    it("is each caller's own when it was loaded for several at once", async () => {
      await style(Book).cache.get({ title: `title ${round}` });
      await book.update({ pages: 5 });
      const [first, second, third] = await costing(backend, { sql: 1 }, () => Promise.all([get(), get(), get()]));
      assert.equal(new Set([first, second, third]).size, 3);
      first.set({ pages: 6 });
      (first.get('printed') as Date).setFullYear(1999);
      const found = await Book.findByPk(book.get('id') as number);
      assert.deepStrictEqual(second, found);
      assert.deepStrictEqual(third, found);
    });
  });
}
