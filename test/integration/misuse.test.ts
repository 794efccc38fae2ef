/**
 * Wrong use, one row each: what is done, the error's class, its exact message. Lookups that are
 * wrong cost neither a statement nor a round trip, and a right one works after each of them.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { DataTypes, literal, Model, type Sequelize } from 'sequelize';
import * as flash from '../../src/index.js';
import {
  AlreadyCachedError,
  AmbiguousKeyError,
  CacheNotRegisteredError,
  CacheNotSetUpError,
  DuplicateCacheNameError,
  InstanceCache,
  InvalidCacheClassError,
  InvalidKeyFieldError,
  InvalidKeyValueError,
  InvalidOptionError,
  KeyFieldNotPassedError,
  NoPrimaryKeyError,
  NotInCacheError,
  registerCache,
  ScopedModelError,
  setupCache,
  UnknownKeyFieldError,
  UnknownTargetTypeError,
  UnsavedInstanceError,
  UnsupportedResultError,
  UnsupportedScopeError,
  withCache,
  WrongModelError,
  type CacheClass,
  type FlashCache,
} from '../../src/index.js';
import { MemoryStore } from '../../src/stores/memory.js';
import { openBackend, type Backend } from '../support/backends.js';
import { cached, defineKinds, type UntypedModel } from '../support/misuse-models.js';
import { defineSeedModels, type SeedModels } from '../support/seed-models.js';

type ErrorClass = new (message: string) => Error & { readonly code: string };

/** Wrong use of caches that are set up. */
type Misuse = readonly [what: string, does: (world: World) => unknown, error: ErrorClass, message: string];

interface World {
  readonly backend: Backend;
  readonly models: Untyped;
  readonly Kind: UntypedModel;
  readonly Person: UntypedModel;
  readonly user: Model;
  readonly event: Model;
  /** Loaded with its username only. */
  readonly partial: Model;
  /** A user of another Sequelize instance. */
  readonly stranger: Model;
  /** A vote on something that is not among the models. */
  readonly strayVote: Model & { getTarget(): Promise<unknown> };
  /** Cache classes that cannot be used. */
  readonly classes: Readonly<Record<'Unregistered' | 'NoModel' | 'Derived', AnyCacheClass>>;
}

type AnyCacheClass = new (...args: unknown[]) => { readonly key: string; resolve(options?: object): Promise<unknown> };

/** The seed's models as JavaScript has them. */
type Untyped = { readonly [N in keyof SeedModels]: UntypedModel & AnyCacheClass };

const kind =
  (field: string, value: unknown) =>
  ({ Kind }: World): unknown =>
    Kind.cache.get({ [field]: value });

const lookups: readonly Misuse[] = [
  // ---- key fields ----
  ['a key field is missing', ({ models, user }) => models.Participation.cache.get({ user }), KeyFieldNotPassedError, '@@'],
  ['no key field at all', ({ models }) => models.Participation.cache.get({}), KeyFieldNotPassedError, '@@'],
  ['a key field that the model does not have', ({ models }) => models.User.cache.get({ nickname: 'bill' }), UnknownKeyFieldError, '@@'],
  ['a misspelt key field', ({ models }) => models.User.cache.get({ usernam: 'bill' }), UnknownKeyFieldError, '@@'],
  ['an extra key field', ({ models }) => models.User.cache.get({ username: 'bill', city: 'Oslo' }), CacheNotRegisteredError, '@@'],
  ['an extra name', ({ models }) => models.User.cache.get({ username: 'bill', limit: 1 }), UnknownKeyFieldError, '@@'],
  ['key fields of no cache', ({ models }) => models.User.cache.get({ city: 'Oslo' }), CacheNotRegisteredError, '@@'],
  ['two caches at once', ({ models }) => models.User.cache.get({ id: 1, username: 'bill' }), CacheNotRegisteredError, '@@'],
  ['an association and its column', ({ models, user }) => models.Participation.cache.get({ user, userId: 1 }), UnknownKeyFieldError, '@@'],
  ['an association and its column, and all the rest', ({ models, user, event }) => models.Participation.cache.get({ user, userId: 1, event }), UnknownKeyFieldError, '@@'],
  ['the columns of a generic foreign key', ({ models }) => models.Vote.cache.get({ targetType: 'Post', targetId: 5 }), UnknownKeyFieldError, '@@'],
  ['a model without any cache to ask', ({ Person }) => Person.cache.get({ name: 'x' }), CacheNotRegisteredError, '@@'],

  // ---- cache classes ----
  ['class: a key field is missing', ({ models, user }) => new models.ParticipationCacheOnUserEvent(user).resolve(), KeyFieldNotPassedError, '@@'],
  ['class: nothing is passed', ({ models }) => new models.UserCacheOnUsername().resolve(), KeyFieldNotPassedError, '@@'],
  ['class: one value too many', ({ models }) => new models.UserCacheOnUsername('bill', 'bob').resolve(), UnknownKeyFieldError, '@@'],
  ['class: an unknown key field', ({ models }) => new models.UserCacheOnUsername({ username: 'bill', age: 3 }).resolve(), UnknownKeyFieldError, '@@'],
  ['class: a misspelt key field', ({ models, user }) => new models.ParticipationCacheOnUserEvent(user, { evnt: 7 }).resolve(), UnknownKeyFieldError, '@@'],
  ['class: by position and by name', ({ models, user, event }) => new models.ParticipationCacheOnUserEvent(user, { user, event }).resolve(), UnknownKeyFieldError, '@@'],
  ['class: an association and its column', ({ models, user, event }) => new models.ParticipationCacheOnUserEvent({ user, userId: 1, event }).resolve(), UnknownKeyFieldError, '@@'],
  ['class: undefined by position', ({ models }) => new models.UserCacheOnUsername(undefined).resolve(), InvalidKeyValueError, '@@'],
  ['class: instances in the wrong order', ({ models, user, event }) => new models.ParticipationCacheOnUserEvent(event, user).resolve(), WrongModelError, '@@'],
  ['class: never registered', ({ classes }) => new classes.Unregistered('bill').resolve(), CacheNotRegisteredError, '@@'],
  ['class: never registered, its key', ({ classes }) => new classes.Unregistered('bill').key, CacheNotRegisteredError, '@@'],
  ['class: without model', ({ classes }) => new classes.NoModel('bill').resolve(), InvalidCacheClassError, '@@'],
  ['class: derived from a registered one, but not registered', ({ classes }) => new classes.Derived('bill').resolve(), CacheNotRegisteredError, '@@'],

  // ---- values: undefined, null, containers ----
  ['undefined', ({ models }) => models.User.cache.get({ username: undefined }), InvalidKeyValueError, '@@'],
  ['undefined as association', ({ models, event }) => models.Participation.cache.get({ user: undefined, event }), InvalidKeyValueError, '@@'],
  ['undefined as bare value', ({ models }) => models.User.cache.getOrNone(undefined), InvalidKeyValueError, '@@'],
  ['a list where one key is meant', ({ models }) => models.User.cache.get(['bill', 'bob']), InvalidKeyValueError, '@@'],
  ['an operator', ({ models }) => models.User.cache.get({ username: { like: 'b%' } }), InvalidKeyValueError, '@@'],
  ['a function', ({ models }) => models.User.cache.get({ username: () => 'bill' }), InvalidKeyValueError, '@@'],
  ['a symbol', ({ models }) => models.User.cache.get({ username: Symbol('bill') }), InvalidKeyValueError, '@@'],
  ['SQL', ({ models }) => models.User.cache.get({ username: literal("'bill'") }), InvalidKeyValueError, '@@'],
  ['a promise that was not awaited', ({ models }) => models.User.cache.get({ username: Promise.resolve('bill') }), InvalidKeyValueError, '@@'],
  ['a bare value with two candidates', ({ Kind }) => Kind.cache.get('bill'), AmbiguousKeyError, '@@'],
  ['a bare value with caches on several fields only', ({ models }) => models.Participation.cache.get(5), AmbiguousKeyError, '@@'],
  ['a bare value where nothing is declared', ({ Person }) => Person.cache.get('x'), AmbiguousKeyError, '@@'],

  // ---- values: one kind of column each ----
  ['INTEGER: digits and letters', kind('int', '42abc'), InvalidKeyValueError, '@@'],
  ['INTEGER: empty', kind('int', ''), InvalidKeyValueError, '@@'],
  ['INTEGER: a fraction', kind('int', 4.5), InvalidKeyValueError, '@@'],
  ['INTEGER: NaN', kind('int', Number.NaN), InvalidKeyValueError, '@@'],
  ['INTEGER: infinite', kind('int', Number.POSITIVE_INFINITY), InvalidKeyValueError, '@@'],
  ['INTEGER: a boolean', kind('int', true), InvalidKeyValueError, '@@'],
  ['INTEGER: a Date', kind('int', new Date(0)), InvalidKeyValueError, '@@'],
  ['BIGINT: a number that is not exact', kind('big', 2 ** 53), InvalidKeyValueError, '@@'],
  ['DECIMAL: text', kind('dec', 'ten'), InvalidKeyValueError, '@@'],
  ['DECIMAL: NaN', kind('dec', Number.NaN), InvalidKeyValueError, '@@'],
  ['FLOAT: NaN', kind('flt', Number.NaN), InvalidKeyValueError, '@@'],
  ['FLOAT: text', kind('flt', '1,5'), InvalidKeyValueError, '@@'],
  ['STRING: a number', kind('str', 42), InvalidKeyValueError, '@@'],
  ['STRING: a Buffer', kind('str', Buffer.from('bill')), InvalidKeyValueError, '@@'],
  ['STRING: very long, and not a text', kind('str', ['x'.repeat(500)]), InvalidKeyValueError, '@@'],
  ['STRING BINARY: a number', kind('bin', 42), InvalidKeyValueError, '@@'],
  ['UUID: not one', kind('uuid', '12345678-1234-1234-1234-12345678901'), InvalidKeyValueError, '@@'],
  ['ENUM: not a member', kind('state', 'lost'), InvalidKeyValueError, '@@'],
  ['BOOLEAN: text', kind('flag', 'true'), InvalidKeyValueError, '@@'],
  ['BOOLEAN: 2', kind('flag', 2), InvalidKeyValueError, '@@'],
  ['DATE: invalid', kind('at', new Date('never')), InvalidKeyValueError, '@@'],
  ['DATE: text without a time zone', kind('at', '2024-02-29 12:00:00'), InvalidKeyValueError, '@@'],
  ['DATE: a day that does not exist', kind('at', '2024-02-30T12:00:00Z'), InvalidKeyValueError, '@@'],
  ['DATEONLY: a Date', kind('day', new Date(0)), InvalidKeyValueError, '@@'],
  ['DATEONLY: a day that does not exist', kind('day', '2024-02-30'), InvalidKeyValueError, '@@'],
  ['TIME: not one', kind('time', 'noon'), InvalidKeyValueError, '@@'],
  ['TIME: in another spelling', kind('time', '7:30'), InvalidKeyValueError, '@@'],
  ['BLOB: text', kind('blob', 'bill'), InvalidKeyValueError, '@@'],

  // ---- instances ----
  ['an instance of another model', ({ models, event }) => models.Participation.cache.get({ user: event, event }), WrongModelError, '@@'],
  ['an instance of the same model of another Sequelize', ({ models, stranger, event }) => models.Participation.cache.get({ user: stranger, event }), WrongModelError, '@@'],
  ['an instance under the name of the column', ({ models, user, event }) => models.Participation.cache.get({ userId: models.Post.build({}), event, user }), UnknownKeyFieldError, '@@'],
  ['an instance for an attribute', ({ models, user }) => models.User.cache.get({ username: user }), WrongModelError, '@@'],
  ['an instance of the model itself', ({ models, user }) => models.User.cache.get(user), WrongModelError, '@@'],
  ['an instance that is not saved', ({ models, event }) => models.Participation.cache.get({ user: models.User.build({ username: 'new' }), event }), UnsavedInstanceError, '@@'],
  ['an instance with an id that is not saved', ({ models, event }) => models.Participation.cache.get({ user: models.User.build({ id: 77 }), event }), UnsavedInstanceError, '@@'],
  ['an instance that was loaded without its key', ({ models, partial, event }) => models.Participation.cache.get({ user: partial, event }), UnsavedInstanceError, '@@'],
  ["an instance's JSON", ({ models, user, event }) => models.Participation.cache.get({ user: user.toJSON(), event }), InvalidKeyValueError, '@@'],

  // ---- generic foreign keys ----
  ['generic: an unknown type', ({ models }) => models.Vote.cache.get({ target: ['User', 5] }), UnknownTargetTypeError, '@@'],
  ['generic: a hostile type', ({ models }) => models.Vote.cache.get({ target: ['Posts; DROP TABLE Posts', 5] }), UnknownTargetTypeError, '@@'],
  ['generic: the name of a property of every object', ({ models }) => models.Vote.cache.get({ target: ['constructor', 5] }), UnknownTargetTypeError, '@@'],
  ['generic: an instance of no target', ({ models, user }) => models.Vote.cache.get({ target: user }), UnknownTargetTypeError, '@@'],
  ['generic: an instance that is not saved', ({ models }) => models.Vote.cache.get({ target: models.Post.build({}) }), UnsavedInstanceError, '@@'],
  ['generic: an id alone', ({ models }) => models.Vote.cache.get({ target: 5 }), InvalidKeyValueError, '@@'],
  ['generic: half a pair', ({ models }) => models.Vote.cache.get({ target: ['Post'] }), InvalidKeyValueError, '@@'],
  ['generic: a pair the other way round', ({ models }) => models.Vote.cache.get({ target: [5, 'Post'] }), InvalidKeyValueError, '@@'],
  ['generic: a pair by name', ({ models }) => models.Vote.cache.get({ target: { type: 'Post', id: 5 } }), InvalidKeyValueError, '@@'],
  ['generic: a pair with null', ({ models }) => models.Vote.cache.get({ target: ['Post', null] }), InvalidKeyValueError, '@@'],
  ['generic: a pair with a wrong id', ({ models }) => models.Vote.cache.get({ target: ['Post', '5x'] }), InvalidKeyValueError, '@@'],
  ['generic: undefined', ({ models }) => models.Vote.cache.get({ target: undefined }), InvalidKeyValueError, '@@'],
  ['generic: the row refers to an unknown type', ({ strayVote }) => strayVote.getTarget(), UnknownTargetTypeError, '@@'],

  // ---- the manager's methods ----
  ['getMany of one key', ({ models }) => models.User.cache.getMany('bill'), InvalidKeyValueError, '@@'],
  ['getMany of parameters by name', ({ models }) => models.User.cache.getMany({ username: 'bill' }), InvalidKeyValueError, '@@'],
  ['getMany of nothing', ({ models }) => models.User.cache.getMany(undefined), InvalidKeyValueError, '@@'],
  ['getMany with one wrong key', ({ models }) => models.User.cache.getMany([{ username: 'bill' }, { username: 5 }]), InvalidKeyValueError, '@@'],
  ['getOr404 with a wrong value', ({ models }) => models.User.cache.getOr404({ username: 5 }), InvalidKeyValueError, '@@'],
  ['getQuery with a wrong value', ({ models }) => models.User.cache.getQuery({ username: 5 }), InvalidKeyValueError, '@@'],
  ['getKey with a wrong value', ({ models }) => models.User.cache.getKey({ username: 5 }), InvalidKeyValueError, '@@'],
  ['invalidate with a wrong value', ({ models }) => models.User.cache.invalidate({ username: 5 }), InvalidKeyValueError, '@@'],
  ['invalidate an instance of another model', ({ models, event }) => models.User.cache.invalidate(event), WrongModelError, '@@'],
  ['invalidate an instance that is not saved', ({ models }) => models.User.cache.invalidate(models.User.build({ username: 'new' })), UnsavedInstanceError, '@@'],
  ['invalidate an instance that was loaded without its key', ({ models, partial }) => models.User.cache.invalidate(partial), UnsavedInstanceError, '@@'],
  ['an unknown read option', ({ models }) => models.User.cache.get({ username: 'bill' }, { transacton: null }), InvalidOptionError, '@@'],
  ['an option of findOne', ({ models }) => models.User.cache.get({ username: 'bill' }, { include: [] }), InvalidOptionError, '@@'],
  ['an unknown read option of a class', ({ models }) => new models.UserCacheOnUsername('bill').resolve({ raw: true }), InvalidOptionError, '@@'],
  ['null in place of the options', ({ models }) => models.User.cache.get({ username: 'bill' }, null), InvalidOptionError, '@@'],
  ['refresh and cacheOnly together', ({ models }) => models.User.cache.get({ username: 'bill' }, { refresh: true, cacheOnly: true }), InvalidOptionError, '@@'],

  // ---- scopes ----
  ['scope(…).cache', ({ models }) => models.User.scope(null).cache.get({ username: 'bill' }), ScopedModelError, '@@'],
  ['unscoped().cache', ({ models }) => models.User.unscoped().cache.get({ username: 'bill' }), ScopedModelError, '@@'],
  ["schema('s').cache", ({ models }) => models.User.schema('s').cache.getKey({ username: 'bill' }), ScopedModelError, '@@'],
];

describe('wrong lookups', () => {
  let world: World;

  before(async () => {
    const backend = await openBackend('sqlite');
    const seed = defineSeedModels(backend.sequelize);
    const Kind = defineKinds(backend.sequelize);
    const Person = backend.sequelize.define('Person', { name: DataTypes.STRING }, { timestamps: false });
    cached(Person, {});
    class Unregistered extends InstanceCache<InstanceType<SeedModels['User']>> {
      static model = seed.User;
      static keyFields = ['username'] as const;
    }
    class NoModel extends InstanceCache<Model> {
      static keyFields = ['username'] as const;
    }
    class Derived extends seed.UserCacheOnUsername {}
    backend.setup();
    await backend.sequelize.sync();
    const user = await seed.User.create({ username: 'bill1992' });
    const event = await seed.Event.create({ name: 'launch' });
    const strayVote = await seed.Vote.create({ userId: user.id, targetType: 'Users', targetId: 1, value: 1 });
    const partial = await seed.User.findOne({ attributes: ['username'], rejectOnEmpty: true });
    const other = await openBackend('sqlite');
    const stranger = defineSeedModels(other.sequelize).User.build({ id: 1, username: 'bill1992' }, { isNewRecord: false });
    await other.close();
    world = {
      backend,
      models: seed as unknown as Untyped,
      Kind,
      Person: Person as unknown as UntypedModel,
      user,
      event,
      partial,
      stranger,
      strayVote: strayVote as unknown as World['strayVote'],
      classes: { Unregistered, NoModel, Derived } as unknown as World['classes'],
    };
  });
  after(() => world.backend.close());

  for (const [what, does, ErrorClass, message] of lookups) {
    it(what, async () => {
      const { backend, models } = world;
      backend.reset();
      assertIs(await thrownBy(() => does(world)), ErrorClass, message);
      assert.deepEqual(backend.sql, [], 'no statement is sent');
      assert.equal(backend.store.roundTrips, 0, 'the store is not asked');
      const found = await models.User.cache.get({ username: 'bill1992' });
      assert.equal(found.get('id'), world.user.get('id'));
    });
  }

  it('cacheOnly: what is not in the cache', async () => {
    const { models } = world;
    assertIs(
      await thrownBy(() => models.User.cache.get({ username: 'cold' }, { cacheOnly: true })),
      NotInCacheError,
      '@@',
    );
    assertIs(
      await thrownBy(() => new models.UserCacheOnUsername('colder').resolve({ cacheOnly: true })),
      NotInCacheError,
      '@@',
    );
    assert.equal(await models.User.cache.getOrNone({ username: 'coldest' }, { cacheOnly: true }), undefined);
  });
});

// ---- Results of getInstance ---------------------------------------------------------------------

/** What an overridden getInstance returns. */
type Returned = readonly [what: string, returns: (models: SeedModels) => unknown, message: string];

const expected = (cache: string): string => `${cache}.getInstance must resolve to an instance of User as its findOne returns it, or to null`;

const results: readonly Returned[] = [
  ['a plain object', () => ({ id: 1, username: 'bill1992' }), '@@'],
  ["a row of 'raw: true'", ({ User }) => User.findOne({ raw: true }), '@@'],
  ['a list', ({ User }) => User.findAll(), '@@'],
  ['a number', () => 1, '@@'],
  ['an instance of another model', ({ Event }) => Event.findOne(), '@@'],
  ['an instance that is not saved', ({ User }) => User.build({ username: 'new' }), '@@'],
  ["an instance with 'include'", ({ User }) => User.findOne({ include: ['participations'] }), '@@'],
  ['a partial instance', ({ User }) => User.findOne({ attributes: ['id'] }), '@@'],
  ['an instance with an attribute more', ({ User }) => User.findOne({ attributes: { include: [[literal('1 + 1'), 'two']] } }), '@@'],
];

describe('what getInstance must not return', () => {
  let backend: Backend;
  let models: SeedModels;

  before(async () => {
    backend = await openBackend('sqlite');
    models = defineSeedModels(backend.sequelize);
    backend.setup();
    await backend.sequelize.sync();
    await models.User.create({ username: 'bill1992' });
    await models.Event.create({ name: 'launch' });
  });
  after(() => backend.close());

  results.forEach(([what, returns, message], at) => {
    it(what, async () => {
      const { User } = models;
      let right = false;
      class WrongUser extends InstanceCache<InstanceType<SeedModels['User']>> {
        static model = User;
        static keyFields = ['username'] as const;

        override async getInstance() {
          return right ? this.queryset().findOne({ where: { username: 'bill1992' } }) : ((await returns(models)) as null);
        }
      }
      Object.defineProperty(WrongUser, 'name', { value: `WrongUser${at}` });
      registerCache(WrongUser);
      assertIs(await thrownBy(() => new WrongUser('bill1992').resolve()), UnsupportedResultError, `${expected(WrongUser.name)}; ${message}`);
      // It is not cached, and neither is the refusal.
      right = true;
      assert.equal((await new WrongUser('bill1992').resolve())?.username, 'bill1992');
    });
  });

  it("an error of getInstance's own is passed on, and not cached", async () => {
    const { User } = models;
    const failure = new Error('out of order');
    let failing = true;
    class FailingUser extends InstanceCache<InstanceType<SeedModels['User']>> {
      static model = User;
      static keyFields = ['username'] as const;

      override getInstance() {
        if (failing) throw failure;
        return null;
      }
    }
    registerCache(FailingUser);
    assert.equal(await thrownBy(() => new FailingUser('x').resolve()), failure);
    failing = false;
    assert.equal(await new FailingUser('x').resolve(), null);
  });

  it('undefined is null', async () => {
    const { User } = models;
    class UndefinedUser extends InstanceCache<InstanceType<SeedModels['User']>> {
      static model = User;
      static keyFields = ['username'] as const;

      override getInstance() {
        return undefined as unknown as null;
      }
    }
    registerCache(UndefinedUser);
    assert.equal(await new UndefinedUser('x').resolve(), null);
    assert.equal(await new UndefinedUser('x').resolve(), null);
  });
});

// ---- Declarations and set-up --------------------------------------------------------------------

/** Something wrong with what is declared or set up on a Sequelize instance that has no models yet. */
type Misdeclared = readonly [what: string, does: (sequelize: Sequelize) => unknown, error: ErrorClass, message: string];

const store = new MemoryStore();

function book(sequelize: Sequelize, options: object = {}): typeof Model & (new () => Model) {
  return sequelize.define('Book', { title: DataTypes.STRING, data: DataTypes.JSON, kind: DataTypes.STRING, shelf: new DataTypes.VIRTUAL(DataTypes.STRING) }, { timestamps: false, ...options }) as typeof Model & (new () => Model);
}

/** `setupCache` after `withCache` with these options. */
const declaring =
  (options: object, modelOptions: object = {}) =>
  (sequelize: Sequelize): unknown => {
    const Book = book(sequelize, modelOptions);
    const Author = sequelize.define('Author', { name: DataTypes.STRING }, { timestamps: false });
    const Page = sequelize.define('Page', { number: DataTypes.INTEGER }, { timestamps: false });
    Book.belongsTo(Author, { as: 'author' });
    Book.hasMany(Page, { as: 'pages' });
    Book.hasOne(Page, { as: 'cover', foreignKey: 'coverOf' });
    cached(Book, options);
    return setupCache(sequelize, { store });
  };

const settingUp =
  (options: unknown) =>
  (sequelize: Sequelize): unknown => {
    book(sequelize);
    return setupCache(sequelize, options as never);
  };

/** A cache class of a Book with these static members. */
const registering =
  (members: object) =>
  (sequelize: Sequelize): unknown => {
    class BookCacheOnTitle extends InstanceCache<Model> {}
    Object.assign(BookCacheOnTitle, { model: book(sequelize), keyFields: ['title'] }, members);
    registerCache(BookCacheOnTitle as unknown as CacheClass);
    return setupCache(sequelize, { store });
  };

const generic = { target: { type: 'kind', id: 'id', models: () => [] } };

const declarations: readonly Misdeclared[] = [
  // ---- withCache ----
  ['withCache of nothing', () => withCache(undefined as never, { keys: [] } as never), InvalidOptionError, '@@'],
  ['withCache of an instance', (sequelize) => withCache(book(sequelize).build() as never, {} as never), InvalidOptionError, '@@'],
  ['withCache of a class that is no model', () => withCache(class NotAModel {} as never, {} as never), InvalidOptionError, '@@'],
  ['the mixin of a class that is no model', () => withCache(Map as never), InvalidOptionError, '@@'],
  ['withCache twice', (sequelize) => { const Book = book(sequelize); cached(Book, { keys: ['title'] }); cached(Book, { keys: ['title'] }); }, AlreadyCachedError, '@@'],
  ['withCache and cacheMeta', (sequelize) => {
    class Book extends withCache(Model) { static cacheMeta = { keys: ['id'] }; }
    Book.init({}, { sequelize, modelName: 'Book' });
    cached(Book, { keys: ['id'] });
    setupCache(sequelize, { store });
  }, AlreadyCachedError, '@@'],
  ['an unknown option of withCache', declaring({ key: ['title'] }), InvalidOptionError, '@@'],
  ['options that are no object', declaring(['title']), InvalidOptionError, '@@'],
  ['options that are null', declaring(null as never), InvalidOptionError, '@@'],
  ['keys that are no list', declaring({ keys: 'title' }), InvalidOptionError, '@@'],
  ['a key that is no name', declaring({ keys: [{ fields: ['title'] }] }), InvalidOptionError, '@@'],
  ['a key without fields', declaring({ keys: [[]] }), InvalidOptionError, '@@'],
  ['keys under both names', declaring({ keys: ['title'], getKeyFieldsList: ['title'] }), InvalidOptionError, '@@'],
  ['a key declared twice', declaring({ keys: ['title', ['title']] }), InvalidOptionError, '@@'],
  ['a key field twice in one key', declaring({ keys: [['title', 'title']] }), InvalidOptionError, '@@'],
  ['an association and its column in one key', declaring({ keys: [['author', 'authorId']] }), InvalidKeyFieldError, '@@'],
  ['a timeout of zero', declaring({ timeout: 0 }), InvalidOptionError, '@@'],
  ['a timeout in milliseconds', declaring({ timeout: 604_800_000 }), InvalidOptionError, '@@'],
  ['a version that is no version', declaring({ version: {} }), InvalidOptionError, '@@'],
  ['caches that are no list', declaring({ caches: 'BookCacheOnTitle' }), InvalidOptionError, '@@'],
  ['caches that are not defined yet', declaring({ caches: [undefined] }), InvalidCacheClassError, '@@'],
  ['a cache class that is none', declaring({ caches: [Map] }), InvalidCacheClassError, '@@'],
  ['cacheMeta with an unknown option', (sequelize) => {
    class Book extends withCache(Model) { static cacheMeta = { key: ['id'] }; }
    Book.init({}, { sequelize, modelName: 'Book' });
    setupCache(sequelize, { store });
  }, InvalidOptionError, '@@'],

  // ---- key fields ----
  ['an unknown key field', declaring({ keys: ['isbn'] }), InvalidKeyFieldError, '@@'],
  ['a misspelt key field', declaring({ keys: ['titel'] }), InvalidKeyFieldError, '@@'],
  ["an association's column", declaring({ keys: ['authorId'] }), InvalidKeyFieldError, '@@'],
  ['a hasMany association', declaring({ keys: ['pages'] }), InvalidKeyFieldError, '@@'],
  ['a hasOne association', declaring({ keys: ['cover'] }), InvalidKeyFieldError, '@@'],
  ['a JSON column', declaring({ keys: ['data'] }), InvalidKeyFieldError, '@@'],
  ['a virtual attribute', declaring({ keys: ['shelf'] }), InvalidKeyFieldError, '@@'],
  ['a column of a generic foreign key', declaring({ keys: ['kind'], genericForeignKeys: generic }), InvalidKeyFieldError, '@@'],
  ['a generic foreign key named like an attribute', declaring({ genericForeignKeys: { title: generic.target } }), InvalidKeyFieldError, '@@'],
  ['a generic foreign key named like an association', declaring({ genericForeignKeys: { author: generic.target } }), InvalidKeyFieldError, '@@'],
  ['a generic foreign key of an unknown column', declaring({ genericForeignKeys: { target: { ...generic.target, type: 'targetType' } } }), InvalidKeyFieldError, '@@'],
  ['a generic foreign key of a JSON column', declaring({ genericForeignKeys: { target: { ...generic.target, id: 'data' } } }), InvalidKeyFieldError, '@@'],
  ['a generic foreign key without models', declaring({ genericForeignKeys: { target: { type: 'kind', id: 'id' } } }), InvalidOptionError, '@@'],
  ['generic foreign keys as a list', declaring({ genericForeignKeys: ['target'] }), InvalidOptionError, '@@'],

  // ---- models ----
  ['a model without primary key', (sequelize) => {
    const Log = book(sequelize);
    Log.removeAttribute('id');
    cached(Log, { keys: ['title'] });
    setupCache(sequelize, { store });
  }, NoPrimaryKeyError, '@@'],
  ['a model whose primary key cannot be a key', (sequelize) => {
    const Log = sequelize.define('Log', { where: { type: DataTypes.GEOMETRY, primaryKey: true } });
    cached(Log, {});
    setupCache(sequelize, { store });
  }, NoPrimaryKeyError, '@@'],
  ['a default scope with include', declaring({ keys: ['title'] }, { defaultScope: { include: ['author'] } }), UnsupportedScopeError, '@@'],
  ['a default scope with a literal', declaring({ keys: ['title'] }, { defaultScope: { where: literal('published <= NOW()') } }), UnsupportedScopeError, '@@'],
  ['a default scope with a literal value', declaring({ keys: ['title'] }, { defaultScope: { where: { title: literal('USER()') } } }), UnsupportedScopeError, '@@'],
  ['a default scope on an unknown attribute', declaring({ keys: ['title'] }, { defaultScope: { where: { '$author.name$': 'Ann' } } }), UnsupportedScopeError, '@@'],
  ['a default scope with limit', declaring({ keys: ['title'] }, { defaultScope: { limit: 1 } }), UnsupportedScopeError, '@@'],
  ['a default scope ordered by an expression', declaring({ keys: ['title'] }, { defaultScope: { order: literal('RAND()') } }), UnsupportedScopeError, '@@'],
  ['a default scope ordered by another table', declaring({ keys: ['title'] }, { defaultScope: { order: [['author', 'name', 'ASC']] } }), UnsupportedScopeError, '@@'],
  ['a default scope with an aggregate', declaring({ keys: ['title'] }, { defaultScope: { attributes: { include: [[literal('1'), 'one']] } } }), UnsupportedScopeError, '@@'],
  ['a default scope with an unknown attribute', declaring({ keys: ['title'] }, { defaultScope: { attributes: ['isbn'] } }), UnsupportedScopeError, '@@'],

  // ---- cache classes ----
  ['register nothing', () => registerCache(undefined as never), InvalidCacheClassError, '@@'],
  ['register a class that is no cache class', () => registerCache(Map as never), InvalidCacheClassError, '@@'],
  ['register a cache class without model', registering({ model: undefined }), InvalidCacheClassError, '@@'],
  ['register a cache class with a model by name', registering({ model: 'Book' }), InvalidCacheClassError, '@@'],
  ['register a cache class without key fields', registering({ keyFields: undefined }), InvalidCacheClassError, '@@'],
  ['register a cache class with no key field', registering({ keyFields: [] }), InvalidCacheClassError, '@@'],
  ['register a cache class with a name as list', registering({ keyFields: 'title' }), InvalidCacheClassError, '@@'],
  ['a cache class with an unknown key field', registering({ keyFields: ['tilte'] }), InvalidKeyFieldError, '@@'],
  ['a cache class with a key field twice', registering({ keyFields: ['title', 'title'] }), InvalidOptionError, '@@'],
  ['a cache class with a timeout of zero', registering({ timeout: 0 }), InvalidOptionError, '@@'],
  ['a cache class with a timeout as text', registering({ timeout: '60' }), InvalidOptionError, '@@'],
  ['a cache class with a timeout in milliseconds', registering({ timeout: 604_800_000 }), InvalidOptionError, '@@'],
  ['a cache class with a version that is none', registering({ version: null }), InvalidOptionError, '@@'],
  ['two cache classes of one name', (sequelize) => {
    const model = book(sequelize);
    const sameName = () => class BookCacheOnTitle extends InstanceCache<Model> { static model = model; static keyFields = ['title'] as const; };
    registerCache(sameName());
    registerCache(sameName());
    setupCache(sequelize, { store });
  }, DuplicateCacheNameError, '@@'],
  ['a cache class without a name', (sequelize) => {
    const model = book(sequelize);
    registerCache((() => class extends InstanceCache<Model> { static model = model; static keyFields = ['title'] as const; })());
    setupCache(sequelize, { store });
  }, InvalidCacheClassError, '@@'],
  ['a cache class in the list of another model', (sequelize) => {
    const model = book(sequelize);
    const Author = sequelize.define('Author', {});
    class BookCacheOnTitle extends InstanceCache<Model> { static model = model; static keyFields = ['title'] as const; }
    cached(Author, { caches: [BookCacheOnTitle] });
    setupCache(sequelize, { store });
  }, InvalidCacheClassError, '@@'],

  // ---- setupCache ----
  ['setupCache of nothing', () => setupCache(undefined as never, { store }), InvalidOptionError, '@@'],
  ['setupCache of a model', (sequelize) => setupCache(book(sequelize) as never, { store }), InvalidOptionError, '@@'],
  ['setupCache twice', (sequelize) => { setupCache(sequelize, { store }); setupCache(sequelize, { store }); }, AlreadyCachedError, '@@'],
  ['set up with null', settingUp(null), InvalidOptionError, '@@'],
  ['set up with a store in place of the options', settingUp(store), InvalidOptionError, '@@'],
  ['set up without a store', settingUp({}), InvalidOptionError, '@@'],
  ['set up with an address as store', settingUp({ store: '127.0.0.1:11211' }), InvalidOptionError, '@@'],
  ['set up with a store that is none', settingUp({ store: new Map() }), InvalidOptionError, '@@'],
  ['an unknown option', settingUp({ store, ttl: 5 }), InvalidOptionError, '@@'],
  ['prefix: a space', settingUp({ store, prefix: 'my app' }), InvalidOptionError, '@@'],
  ['prefix: empty', settingUp({ store, prefix: '' }), InvalidOptionError, '@@'],
  ['prefix: too long', settingUp({ store, prefix: 'p'.repeat(33) }), InvalidOptionError, '@@'],
  ['alias: empty', settingUp({ store, alias: '' }), InvalidOptionError, '@@'],
  ['alias: too long', settingUp({ store, alias: 'a'.repeat(65) }), InvalidOptionError, '@@'],
  ['alias: a number', settingUp({ store, alias: 5 }), InvalidOptionError, '@@'],
  ['timeout: zero', settingUp({ store, timeout: 0 }), InvalidOptionError, '@@'],
  ['timeout: a fraction', settingUp({ store, timeout: 0.5 }), InvalidOptionError, '@@'],
  ['timeout: text', settingUp({ store, timeout: '60' }), InvalidOptionError, '@@'],
  ['timeout: NaN', settingUp({ store, timeout: Number.NaN }), InvalidOptionError, '@@'],
  ['timeout: over a year', settingUp({ store, timeout: 31_536_001 }), InvalidOptionError, '@@'],
  ['writeLease: 1', settingUp({ store, writeLease: 1 }), InvalidOptionError, '@@'],
  ['writeLease: 301', settingUp({ store, writeLease: 301 }), InvalidOptionError, '@@'],
  ['leaseWait: negative', settingUp({ store, leaseWait: -1 }), InvalidOptionError, '@@'],
  ['onStoreFailure: unknown', settingUp({ store, onStoreFailure: 'ignore' }), InvalidOptionError, '@@'],
  ['bulkInvalidationLimit: infinite', settingUp({ store, bulkInvalidationLimit: Number.POSITIVE_INFINITY }), InvalidOptionError, '@@'],
  ['maxBatch: zero', settingUp({ store, maxBatch: 0 }), InvalidOptionError, '@@'],
  ['maxConcurrentLoads: zero', settingUp({ store, maxConcurrentLoads: 0 }), InvalidOptionError, '@@'],
  ['maxHints: null', settingUp({ store, maxHints: null }), InvalidOptionError, '@@'],
  ['maxUndelivered: a bigint', settingUp({ store, maxUndelivered: 5n }), InvalidOptionError, '@@'],
];

describe('wrong declarations and set-ups', () => {
  for (const [what, does, ErrorClass, message] of declarations) {
    it(what, async () => {
      const backend = await openBackend('sqlite');
      const { SEQUELIZE_FLASH_MEMCACHED: servers } = process.env;
      delete process.env.SEQUELIZE_FLASH_MEMCACHED;
      let left: FlashCache | undefined;
      try {
        const thrown = await thrownBy(() => {
          left = does(backend.sequelize) as FlashCache | undefined;
        });
        assertIs(thrown, ErrorClass, message);
        assert.deepEqual(backend.sql, []);
        // Nothing of it is left: a right set-up of another instance works.
        const right = await openBackend('sqlite');
        try {
          const { User } = defineSeedModels(right.sequelize);
          right.setup();
          await right.sequelize.sync();
          await User.create({ username: 'ann' });
          assert.equal((await User.cache.get({ username: 'ann' })).username, 'ann');
        } finally {
          await right.close();
        }
      } finally {
        if (servers !== undefined) process.env.SEQUELIZE_FLASH_MEMCACHED = servers;
        await left?.close(0);
        await backend.close();
      }
    });
  }
});

/** What a call throws or rejects with. */
async function thrownBy(call: () => unknown): Promise<unknown> {
  try {
    await call();
  } catch (error) {
    return error;
  }
  return assert.fail('No error was thrown.');
}

function assertIs(error: unknown, ErrorClass: ErrorClass, message: string): void {
  if (process.env.PRINT_MISUSE) console.log(`##${JSON.stringify({ given: message, error: (error as Error)?.constructor?.name, want: ErrorClass.name, actual: (error as Error)?.message })}`);
  assert.ok(error instanceof ErrorClass, `${ErrorClass.name} was expected; thrown was ${String(error)}`);
  assert.equal(error.message, message);
  assert.equal(error.name, ErrorClass.name);
}

// ---- Before, between and after ------------------------------------------------------------------

describe('a cache that is not set up', () => {
  it('a model that is not initialised', async () => {
    class Draft extends Model {
      static readonly cache = withCache(Draft, {});
    }
    class DraftCacheOnId extends InstanceCache<Draft> {
      static model = Draft;
      static keyFields = ['id'] as const;
    }
    registerCache(DraftCacheOnId);
    const message =
      'Model Draft is not initialised yet. Call its init (or add it to a Sequelize instance) and setupCache(sequelize) before its cache is used.';
    for (const use of [
      () => Draft.cache.get({ id: 1 } as never),
      () => Draft.cache.getKey({ id: 1 } as never),
      () => Draft.cache.stats(),
      () => new DraftCacheOnId(1).resolve(),
      () => new DraftCacheOnId(1).key,
    ]) {
      assertIs(await thrownBy(use), CacheNotSetUpError, message);
    }
  });

  it('before setupCache, after close, and set up anew', async () => {
    const backend = await openBackend('sqlite');
    try {
      const models = defineSeedModels(backend.sequelize);
      await backend.sequelize.sync();
      const user = await models.User.create({ username: 'bill1992' });
      const vote = await models.Vote.create({ userId: user.id, targetType: 'Post', targetId: 1, value: 1 });
      const message =
        'The cache of model User was used before setupCache(sequelize), or after close(). Call setupCache once for each Sequelize instance, in every process that reads or writes cached models.';
      const uses = [
        () => models.User.cache.get({ username: 'bill1992' }),
        () => models.User.cache.getOrNone('bill1992'),
        () => models.User.cache.getMany([{ username: 'bill1992' }]),
        () => models.User.cache.getQuery({ username: 'bill1992' }),
        () => models.User.cache.getKey({ username: 'bill1992' }),
        () => models.User.cache.invalidate(user),
        () => models.User.cache.stats(),
        () => new models.UserCacheOnUsername('bill1992').resolve(),
      ];
      for (const use of uses) assertIs(await thrownBy(use), CacheNotSetUpError, message);

      const cache = backend.setup();
      assert.equal((await models.User.cache.get({ username: 'bill1992' })).id, user.id);
      const query = models.User.cache.getQuery({ username: 'bill1992' });
      await cache.close();
      backend.reset();
      for (const use of uses) assertIs(await thrownBy(use), CacheNotSetUpError, message);
      assert.deepEqual(backend.sql, []);
      // What was begun before reads the database: late, but right.
      await user.update({ city: 'Rome' });
      const late = await thrownOrNot(() => query.resolve());
      if (late instanceof models.User) assert.equal(late.city, 'Rome');
      else assertIs(late, CacheNotSetUpError, message);
      assert.equal(await vote.getTarget(), null);

      // The store of the first one was closed by its test only if it owns it: a new one is passed.
      backend.setup({ store: new MemoryStore() });
      assert.equal((await models.User.cache.get({ username: 'bill1992' })).city, 'Rome');
    } finally {
      await backend.close();
    }
  });

  it('setupCache that failed can be called again', async () => {
    const backend = await openBackend('sqlite');
    try {
      const { User } = defineSeedModels(backend.sequelize);
      await backend.sequelize.sync();
      assert.throws(() => backend.setup({ maxBatch: 0 }), InvalidOptionError);
      assert.throws(() => setupCache(backend.sequelize, { store: {} as never }), InvalidOptionError);
      backend.setup();
      assert.throws(() => backend.setup(), AlreadyCachedError);
      const user = await User.create({ username: 'ann' });
      assert.equal((await User.cache.get({ username: 'ann' })).id, user.id);
      await user.update({ username: 'eve' });
      assert.equal(await User.cache.getOrNone({ username: 'ann' }), null);
    } finally {
      await backend.close();
    }
  });

  it('a second withCache, and a wrong one, leave the first as it is', async () => {
    const backend = await openBackend('sqlite');
    try {
      const { User } = defineSeedModels(backend.sequelize);
      assert.throws(() => cached(User, { keys: ['city'] }), AlreadyCachedError);
      const Town = backend.sequelize.define('Town', { name: DataTypes.STRING }, { timestamps: false });
      assert.throws(() => cached(Town, { keys: 'name' }), InvalidOptionError);
      cached(Town, { keys: ['name'] });
      backend.setup();
      await backend.sequelize.sync();
      await User.create({ username: 'ann' });
      await Town.create({ name: 'Rome' });
      assert.equal((await User.cache.get({ username: 'ann' })).username, 'ann');
      assert.equal((await (Town as unknown as UntypedModel).cache.get({ name: 'Rome' })).get('name'), 'Rome');
    } finally {
      await backend.close();
    }
  });
});

describe('a wrong declaration after setupCache', () => {
  it('refuses lookups of and writes to its model, and nothing else', async () => {
    const backend = await openBackend('sqlite');
    try {
      const { User, UserCacheOnUsername, Event } = defineSeedModels(backend.sequelize);
      backend.setup();
      await backend.sequelize.sync();
      await User.create({ username: 'ann' });
      const event = await Event.create({ name: 'launch' });
      class EventCacheOnNaem extends InstanceCache<InstanceType<SeedModels['Event']>> {
        static model = Event;
        static keyFields: readonly string[] = ['naem'];
      }
      registerCache(EventCacheOnNaem);
      const message =
        "Cache EventCacheOnNaem: 'naem' is neither an attribute nor an association nor a generic foreign key of model Event; did you mean 'name'? (Associations must be declared before setupCache.)";
      backend.reset();
      for (const use of [
        () => new EventCacheOnNaem('launch').resolve(),
        () => Event.cache.get({ id: event.id }),
        // Another process may have what this one cannot invalidate.
        () => event.update({ name: 'landing' }),
        () => Event.destroy({ where: {} }),
      ]) {
        assertIs(await thrownBy(use), InvalidKeyFieldError, message);
      }
      assert.deepEqual(backend.sql, [], 'the writes are refused before the database');
      // Reads, and all that is done to other models, go on.
      assert.equal((await Event.findByPk(event.id))?.name, 'launch');
      const user = await new UserCacheOnUsername('ann').resolve();
      await user.update({ username: 'eve' });
      assert.equal(await User.cache.getOrNone({ username: 'ann' }), null);
      assert.equal((await User.cache.get({ username: 'eve' })).id, user.id);

      EventCacheOnNaem.keyFields = ['name'];
      // Anything that is declared has it looked at again.
      registerCache(
        class EventCacheOnId extends InstanceCache<InstanceType<SeedModels['Event']>> {
          static model = Event;
          static keyFields = ['id'] as const;
        },
      );
      assert.equal((await new EventCacheOnNaem('launch').resolve()).id, event.id);
    } finally {
      await backend.close();
    }
  });
});

describe('codes', () => {
  it('every error has one of its own', () => {
    const codes = new Map<string, string>();
    for (const [name, exported] of Object.entries(flash) as [string, unknown][]) {
      if (typeof exported !== 'function' || !(exported.prototype instanceof Error)) continue;
      if (name === 'FlashError' || name === 'StoreError') continue;
      const { code, name: own } = new (exported as ErrorClass)('a message');
      assert.match(code, /^FLASH_[A-Z]+(_[A-Z0-9]+)*$/, name);
      assert.equal(own, name);
      assert.equal(codes.get(code), undefined, `${name} has the code of ${codes.get(code) ?? ''}`);
      codes.set(code, name);
    }
    assert.ok(codes.size >= 25, `${codes.size} errors`);
  });
});

/** What a call resolves to, or what it throws. */
async function thrownOrNot(call: () => unknown): Promise<unknown> {
  try {
    return await call();
  } catch (error) {
    return error;
  }
}
