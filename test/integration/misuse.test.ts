/**
 * Wrong use, one row each: what is done, the error's class, its exact message. Lookups that are
 * wrong cost neither a statement nor a round trip, and a right one works after each of them.
 */
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { DataTypes, literal, Model, Sequelize, type Options } from 'sequelize';
import { createSqliteModule } from '../../examples/support/sqlite.js';
import * as flash from '../../src/index.js';
import {
  AlreadyCachedError,
  AmbiguousKeyError,
  BatchCacheQuery,
  bumpVersion,
  CacheNotRegisteredError,
  CacheNotSetUpError,
  DuplicateCacheNameError,
  InstanceCache,
  InvalidCacheClassError,
  InvalidKeyFieldError,
  InvalidKeyValueError,
  InvalidOptionError,
  KeyFieldNotPassedError,
  ModelCacheManager,
  NotFoundError,
  NotInCacheError,
  QuerysetCache,
  QuerysetCountCache,
  QuerysetExistsCache,
  registerCache,
  RelatedInstanceCache,
  RelatedQuerysetCache,
  ScopedModelError,
  setupCache,
  UnknownKeyFieldError,
  UnknownTargetTypeError,
  UnsavedInstanceError,
  UnsupportedResultError,
  withCache,
  WrongModelError,
  type CacheClass,
} from '../../src/index.js';
import { MemcachedStore } from '../../src/stores/memcached.js';
import { MemoryStore } from '../../src/stores/memory.js';
import { openBackend, type Backend } from '../support/backends.js';
import { cached, defineKinds, defineTracks, type UntypedModel } from '../support/misuse-models.js';
import { defineSeedModels, type SeedModels } from '../support/seed-models.js';

type ErrorClass = new (message: string) => Error & { readonly code: string };

/** Wrong use of caches that are set up. */
type Misuse = readonly [what: string, does: (world: World) => unknown, error: ErrorClass, message: string];

interface World {
  readonly backend: Backend;
  readonly models: Untyped;
  readonly Kind: UntypedModel;
  readonly Person: UntypedModel;
  readonly Album: UntypedModel;
  readonly Track: UntypedModel;
  readonly track: Model;
  /** Loaded without its foreign key. */
  readonly partialTrack: Model;
  readonly user: Model;
  readonly event: Model;
  /** Loaded with its username only. */
  readonly partial: Model;
  /** A user of another Sequelize instance. */
  readonly stranger: Model;
  /** A vote on something that is not among the models. */
  readonly strayVote: Model & { getTarget(): Promise<unknown> };
  /** Cache classes that cannot be used. */
  readonly classes: Readonly<Record<'Unregistered' | 'NoModel' | 'Derived' | 'AllTracks' | 'TracksOfAlbum', AnyCacheClass>>;
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
  ['a key field is missing', ({ models, user }) => models.Participation.cache.get({ user }), KeyFieldNotPassedError, "Participation.cache: key field 'event' not passed (received: user). Registered on Participation: user + event."],
  ['no key field at all', ({ models }) => models.Participation.cache.get({}), KeyFieldNotPassedError, "Participation.cache: key fields 'user', 'event' not passed (received: nothing). Registered on Participation: user + event."],
  ['a key field that the model does not have', ({ models }) => models.User.cache.get({ nickname: 'bill' }), UnknownKeyFieldError, "User.cache has no key field 'nickname'. Registered on User: id | username."],
  ['a misspelt key field', ({ models }) => models.User.cache.get({ usernam: 'bill' }), UnknownKeyFieldError, "User.cache has no key field 'usernam'; did you mean 'username'? Registered on User: id | username."],
  ['an extra key field', ({ models }) => models.User.cache.get({ username: 'bill', city: 'Oslo' }), CacheNotRegisteredError, "User.cache: no cache is registered on the key fields username + city. Registered on User: id | username. Use one of these, or add ['username', 'city'] to 'keys' of withCache(User)."],
  ['an extra name', ({ models }) => models.User.cache.get({ username: 'bill', limit: 1 }), UnknownKeyFieldError, "User.cache has no key field 'limit'. Registered on User: id | username."],
  ['key fields of no cache', ({ models }) => models.User.cache.get({ city: 'Oslo' }), CacheNotRegisteredError, "User.cache: no cache is registered on the key field city. Registered on User: id | username. Use one of these, or add 'city' to 'keys' of withCache(User)."],
  ['two caches at once', ({ models }) => models.User.cache.get({ id: 1, username: 'bill' }), CacheNotRegisteredError, "User.cache: no cache is registered on the key fields id + username. Registered on User: id | username. Use one of these, or add ['id', 'username'] to 'keys' of withCache(User)."],
  ['an association and its column', ({ models, user }) => models.Participation.cache.get({ user, userId: 1 }), UnknownKeyFieldError, "Participation.cache: key field 'user' was passed twice, as 'user' and as 'userId'."],
  ['an association and its column, and all the rest', ({ models, user, event }) => models.Participation.cache.get({ user, userId: 1, event }), UnknownKeyFieldError, "Participation.cache: key field 'user' was passed twice, as 'user' and as 'userId'."],
  ['the columns of a generic foreign key', ({ models }) => models.Vote.cache.get({ targetType: 'Post', targetId: 5 }), UnknownKeyFieldError, "Vote.cache: 'targetType' and 'targetId' are the columns of the generic foreign key 'target'. Pass 'target', an instance or a pair of type and id. Registered on Vote: id | target | user + target."],
  ['a model without any cache to ask', ({ Person }) => Person.cache.get({ name: 'x' }), CacheNotRegisteredError, "Person.cache: no cache is registered on the key field name. Registered on Person: none. Add 'name' to 'keys' of withCache(Person)."],

  // ---- cache classes ----
  ['class: a key field is missing', ({ models, user }) => new models.ParticipationCacheOnUserEvent(user).resolve(), KeyFieldNotPassedError, "ParticipationCacheOnUserEvent: key field 'event' was not passed. Its key fields are: 'user', 'event'."],
  ['class: nothing is passed', ({ models }) => new models.UserCacheOnUsername().resolve(), KeyFieldNotPassedError, "UserCacheOnUsername: key field 'username' was not passed. Its key fields are: 'username'."],
  ['class: one value too many', ({ models }) => new models.UserCacheOnUsername('bill', 'bob').resolve(), UnknownKeyFieldError, "UserCacheOnUsername takes 1 key field ('username'); received 2 values."],
  ['class: an unknown key field', ({ models }) => new models.UserCacheOnUsername({ username: 'bill', age: 3 }).resolve(), UnknownKeyFieldError, "UserCacheOnUsername has no key field 'age'. Its key fields are: 'username'."],
  ['class: a misspelt key field', ({ models, user }) => new models.ParticipationCacheOnUserEvent(user, { evnt: 7 }).resolve(), UnknownKeyFieldError, "ParticipationCacheOnUserEvent has no key field 'evnt'; did you mean 'event'? Its key fields are: 'user', 'event'."],
  ['class: by position and by name', ({ models, user, event }) => new models.ParticipationCacheOnUserEvent(user, { user, event }).resolve(), UnknownKeyFieldError, "ParticipationCacheOnUserEvent: key field 'user' was passed twice, by position and by name."],
  ['class: an association and its column', ({ models, user, event }) => new models.ParticipationCacheOnUserEvent({ user, userId: 1, event }).resolve(), UnknownKeyFieldError, "ParticipationCacheOnUserEvent: key field 'user' was passed twice, as 'user' and as 'userId'."],
  ['class: undefined by position', ({ models }) => new models.UserCacheOnUsername(undefined).resolve(), InvalidKeyValueError, "Key field 'username' of User is undefined; it must be a string, or null for rows without a value."],
  ['class: instances in the wrong order', ({ models, user, event }) => new models.ParticipationCacheOnUserEvent(event, user).resolve(), WrongModelError, "Key field 'user' of Participation must be a User or its id; received an instance of Event."],
  ['class: never registered', ({ classes }) => new classes.Unregistered('bill').resolve(), CacheNotRegisteredError, "Cache class Unregistered is not registered, so writes would not invalidate it. Put @registerCache before the class, call registerCache(Unregistered) after it, or list it in 'caches' of withCache."],
  ['class: never registered, its key', ({ classes }) => new classes.Unregistered('bill').key, CacheNotRegisteredError, "Cache class Unregistered is not registered, so writes would not invalidate it. Put @registerCache before the class, call registerCache(Unregistered) after it, or list it in 'caches' of withCache."],
  ['class: without model', ({ classes }) => new classes.NoModel('bill').resolve(), InvalidCacheClassError, "Cache class NoModel needs 'static model = …', the model whose instance it caches; received undefined."],
  ['class: derived from a registered one, but not registered', ({ classes }) => new classes.Derived('bill').resolve(), CacheNotRegisteredError, "Cache class Derived is not registered, so writes would not invalidate it. Put @registerCache before the class, call registerCache(Derived) after it, or list it in 'caches' of withCache."],

  // ---- values: undefined, null, containers ----
  ['undefined', ({ models }) => models.User.cache.get({ username: undefined }), InvalidKeyValueError, "Key field 'username' of User is undefined; it must be a string, or null for rows without a value."],
  ['undefined as association', ({ models, event }) => models.Participation.cache.get({ user: undefined, event }), InvalidKeyValueError, "Key field 'user' of Participation is undefined; it must be a saved User or its id, an integer (number, bigint or a string of digits; beyond 2^53 not a number), or null for rows without a value."],
  ['undefined as bare value', ({ models }) => models.User.cache.getOrNone(undefined), InvalidKeyValueError, "Key field 'username' of User is undefined; it must be a string, or null for rows without a value."],
  ['a list where one key is meant', ({ models }) => models.User.cache.get(['bill', 'bob']), InvalidKeyValueError, "Key field 'username' of User must be a string; received an array of 2."],
  ['an operator', ({ models }) => models.User.cache.get({ username: { like: 'b%' } }), InvalidKeyValueError, "Key field 'username' of User must be a string; received an object."],
  ['a function', ({ models }) => models.User.cache.get({ username: () => 'bill' }), InvalidKeyValueError, "Key field 'username' of User must be a string; received the function or class username."],
  ['a symbol', ({ models }) => models.User.cache.get({ username: Symbol('bill') }), InvalidKeyValueError, "Key field 'username' of User must be a string; received a symbol."],
  ['SQL', ({ models }) => models.User.cache.get({ username: literal("'bill'") }), InvalidKeyValueError, "Key field 'username' of User must be a string; received an instance of Literal."],
  ['a promise that was not awaited', ({ models }) => models.User.cache.get({ username: Promise.resolve('bill') }), InvalidKeyValueError, "Key field 'username' of User must be a string; received an instance of Promise."],
  ['a bare value with two candidates', ({ Kind }) => Kind.cache.get('bill'), AmbiguousKeyError, "Kind.cache: the value 'bill' alone does not say which key field is meant. Pass it by name; candidates: { id }, { int }, { big }, { dec }, { flt }, { str }, { bin }, { uuid }, { state }, { flag }, { at }, { day }, { time }, { blob }."],
  ['a bare value with caches on several fields only', ({ models }) => models.Participation.cache.get(5), AmbiguousKeyError, 'Participation.cache: the value 5 alone does not say which key field is meant. Pass it by name; no cache has a single key field (registered: user + event).'],
  ['a bare value where nothing is declared', ({ Person }) => Person.cache.get('x'), AmbiguousKeyError, "Person.cache: the value 'x' alone does not say which key field is meant. Pass it by name; no cache has a single key field (registered: none)."],

  // ---- values: one kind of column each ----
  ['INTEGER: digits and letters', kind('int', '42abc'), InvalidKeyValueError, "Key field 'int' of Kind must be an integer (number, bigint or a string of digits; beyond 2^53 not a number); received '42abc'."],
  ['INTEGER: empty', kind('int', ''), InvalidKeyValueError, "Key field 'int' of Kind must be an integer (number, bigint or a string of digits; beyond 2^53 not a number); received ''."],
  ['INTEGER: a fraction', kind('int', 4.5), InvalidKeyValueError, "Key field 'int' of Kind must be an integer (number, bigint or a string of digits; beyond 2^53 not a number); received 4.5."],
  ['INTEGER: NaN', kind('int', Number.NaN), InvalidKeyValueError, "Key field 'int' of Kind must be an integer (number, bigint or a string of digits; beyond 2^53 not a number); received NaN."],
  ['INTEGER: infinite', kind('int', Number.POSITIVE_INFINITY), InvalidKeyValueError, "Key field 'int' of Kind must be an integer (number, bigint or a string of digits; beyond 2^53 not a number); received Infinity."],
  ['INTEGER: a boolean', kind('int', true), InvalidKeyValueError, "Key field 'int' of Kind must be an integer (number, bigint or a string of digits; beyond 2^53 not a number); received true."],
  ['INTEGER: a Date', kind('int', new Date(0)), InvalidKeyValueError, "Key field 'int' of Kind must be an integer (number, bigint or a string of digits; beyond 2^53 not a number); received a Date (1970-01-01T00:00:00.000Z)."],
  ['BIGINT: a number that is not exact', kind('big', 2 ** 53), InvalidKeyValueError, "Key field 'big' of Kind must be an integer (number, bigint or a string of digits; beyond 2^53 not a number); received 9007199254740992."],
  ['DECIMAL: text', kind('dec', 'ten'), InvalidKeyValueError, `Key field 'dec' of Kind must be a decimal number (a string such as "12.30", or a number); received 'ten'.`],
  ['DECIMAL: NaN', kind('dec', Number.NaN), InvalidKeyValueError, `Key field 'dec' of Kind must be a decimal number (a string such as "12.30", or a number); received NaN.`],
  ['FLOAT: NaN', kind('flt', Number.NaN), InvalidKeyValueError, "Key field 'flt' of Kind must be a finite number; received NaN."],
  ['FLOAT: text', kind('flt', '1,5'), InvalidKeyValueError, "Key field 'flt' of Kind must be a finite number; received '1,5'."],
  ['STRING: a number', kind('str', 42), InvalidKeyValueError, "Key field 'str' of Kind must be a string; received 42."],
  ['STRING: a Buffer', kind('str', Buffer.from('bill')), InvalidKeyValueError, "Key field 'str' of Kind must be a string; received an instance of Buffer."],
  ['STRING: very long, and not a text', kind('str', ['x'.repeat(500)]), InvalidKeyValueError, "Key field 'str' of Kind must be a string; received an array of 1."],
  ['STRING BINARY: a number', kind('bin', 42), InvalidKeyValueError, "Key field 'bin' of Kind must be a string; received 42."],
  ['UUID: not one', kind('uuid', '12345678-1234-1234-1234-12345678901'), InvalidKeyValueError, "Key field 'uuid' of Kind must be a UUID; received '12345678-1234-1234-1234-12345678901'."],
  ['ENUM: not a member', kind('state', 'lost'), InvalidKeyValueError, "Key field 'state' of Kind must be one of 'draft', 'sent'; received 'lost'."],
  ['BOOLEAN: text', kind('flag', 'true'), InvalidKeyValueError, "Key field 'flag' of Kind must be true or false; received 'true'."],
  ['BOOLEAN: 2', kind('flag', 2), InvalidKeyValueError, "Key field 'flag' of Kind must be true or false; received 2."],
  ['DATE: invalid', kind('at', new Date('never')), InvalidKeyValueError, "Key field 'at' of Kind must be a Date, milliseconds since 1970, or an ISO 8601 string with a time zone; received a Date (invalid)."],
  ['DATE: text without a time zone', kind('at', '2024-02-29 12:00:00'), InvalidKeyValueError, "Key field 'at' of Kind must be a Date, milliseconds since 1970, or an ISO 8601 string with a time zone; received '2024-02-29 12:00:00'."],
  ['DATE: a day that does not exist', kind('at', '2024-02-30T12:00:00Z'), InvalidKeyValueError, "Key field 'at' of Kind must be a Date, milliseconds since 1970, or an ISO 8601 string with a time zone; received '2024-02-30T12:00:00Z'."],
  ['DATEONLY: a Date', kind('day', new Date(0)), InvalidKeyValueError, `Key field 'day' of Kind must be a day as "YYYY-MM-DD"; received a Date (1970-01-01T00:00:00.000Z).`],
  ['DATEONLY: a day that does not exist', kind('day', '2024-02-30'), InvalidKeyValueError, `Key field 'day' of Kind must be a day as "YYYY-MM-DD"; received '2024-02-30'.`],
  ['TIME: not one', kind('time', 'noon'), InvalidKeyValueError, `Key field 'time' of Kind must be a time as "HH:MM:SS"; received 'noon'.`],
  ['TIME: in another spelling', kind('time', '7:30'), InvalidKeyValueError, `Key field 'time' of Kind must be a time as "HH:MM:SS"; received '7:30'.`],
  ['BLOB: text', kind('blob', 'bill'), InvalidKeyValueError, "Key field 'blob' of Kind must be a Buffer; received 'bill'."],

  // ---- instances ----
  ['an instance of another model', ({ models, event }) => models.Participation.cache.get({ user: event, event }), WrongModelError, "Key field 'user' of Participation must be a User or its id; received an instance of Event."],
  ['an instance of the same model of another Sequelize', ({ models, stranger, event }) => models.Participation.cache.get({ user: stranger, event }), WrongModelError, "Key field 'user' of Participation must be a User or its id; received an instance of User of another Sequelize instance."],
  ['an instance under the name of the column', ({ models, user, event }) => models.Participation.cache.get({ userId: models.Post.build({}), event, user }), UnknownKeyFieldError, "Participation.cache: key field 'user' was passed twice, as 'user' and as 'userId'."],
  ['an instance for an attribute', ({ models, user }) => models.User.cache.get({ username: user }), WrongModelError, "Key field 'username' of User must be a string; received an instance of User."],
  ['an instance of the model itself', ({ models, user }) => models.User.cache.get(user), WrongModelError, 'User.cache looks up by key values; received an instance of User itself. Pass the value of a key field.'],
  ['an instance that is not saved', ({ models, event }) => models.Participation.cache.get({ user: models.User.build({ username: 'new' }), event }), UnsavedInstanceError, "Key field 'user' of Participation was given a User that is not saved yet. Save it first, or pass the id."],
  ['an instance with an id that is not saved', ({ models, event }) => models.Participation.cache.get({ user: models.User.build({ id: 77 }), event }), UnsavedInstanceError, "Key field 'user' of Participation was given a User that is not saved yet. Save it first, or pass the id."],
  ['an instance that was loaded without its key', ({ models, partial, event }) => models.Participation.cache.get({ user: partial, event }), UnsavedInstanceError, "Key field 'user' of Participation was given a User that was loaded without its 'id'. Load it with that attribute, or pass the id."],
  ["an instance's JSON", ({ models, user, event }) => models.Participation.cache.get({ user: user.toJSON(), event }), InvalidKeyValueError, "Key field 'user' of Participation must be a saved User or its id, an integer (number, bigint or a string of digits; beyond 2^53 not a number); received an object."],

  // ---- generic foreign keys ----
  ['generic: an unknown type', ({ models }) => models.Vote.cache.get({ target: ['User', 5] }), UnknownTargetTypeError, "'User' is not a target of the generic foreign key 'target' of model Vote. Its models are: Post, Photo."],
  ['generic: a hostile type', ({ models }) => models.Vote.cache.get({ target: ['Posts; DROP TABLE Posts', 5] }), UnknownTargetTypeError, "'Posts; DROP TABLE Posts' is not a target of the generic foreign key 'target' of model Vote. Its models are: Post, Photo."],
  ['generic: the name of a property of every object', ({ models }) => models.Vote.cache.get({ target: ['constructor', 5] }), UnknownTargetTypeError, "'constructor' is not a target of the generic foreign key 'target' of model Vote. Its models are: Post, Photo."],
  ['generic: an instance of no target', ({ models, user }) => models.Vote.cache.get({ target: user }), UnknownTargetTypeError, "'User' is not a target of the generic foreign key 'target' of model Vote. Its models are: Post, Photo."],
  ['generic: an instance that is not saved', ({ models }) => models.Vote.cache.get({ target: models.Post.build({}) }), UnsavedInstanceError, "Key field 'target' of Vote was given a Post that is not saved yet. Save it first, or pass the id."],
  ['generic: an id alone', ({ models }) => models.Vote.cache.get({ target: 5 }), InvalidKeyValueError, "Key field 'target' of Vote must be a saved instance of Post or Photo, a pair such as ['Post', 5], or null; received 5."],
  ['generic: half a pair', ({ models }) => models.Vote.cache.get({ target: ['Post'] }), InvalidKeyValueError, "Key field 'target' of Vote must be a saved instance of Post or Photo, a pair such as ['Post', 5], or null; received an array of 1."],
  ['generic: a pair the other way round', ({ models }) => models.Vote.cache.get({ target: [5, 'Post'] }), InvalidKeyValueError, "Key field 'target' of Vote must be a saved instance of Post or Photo, a pair such as ['Post', 5], or null; received an array of 2."],
  ['generic: a pair by name', ({ models }) => models.Vote.cache.get({ target: { type: 'Post', id: 5 } }), InvalidKeyValueError, "Key field 'target' of Vote must be a saved instance of Post or Photo, a pair such as ['Post', 5], or null; received an object."],
  ['generic: a pair with null', ({ models }) => models.Vote.cache.get({ target: ['Post', null] }), InvalidKeyValueError, "Key field 'target' of Vote: the id must be an integer (number, bigint or a string of digits; beyond 2^53 not a number); received null."],
  ['generic: a pair with a wrong id', ({ models }) => models.Vote.cache.get({ target: ['Post', '5x'] }), InvalidKeyValueError, "Key field 'target' of Vote: the id must be an integer (number, bigint or a string of digits; beyond 2^53 not a number); received '5x'."],
  ['generic: undefined', ({ models }) => models.Vote.cache.get({ target: undefined }), InvalidKeyValueError, "Key field 'target' of Vote must be a saved instance of Post or Photo, a pair such as ['Post', 5], or null; received undefined."],
  ['generic: the row refers to an unknown type', ({ strayVote }) => strayVote.getTarget(), UnknownTargetTypeError, "'Users' is not a target of the generic foreign key 'target' of model Vote. Its models are: Post, Photo."],

  // ---- the manager's methods ----
  ['getMany of one key', ({ models }) => models.User.cache.getMany('bill'), InvalidKeyValueError, "User.cache.getMany takes a list of keys; received 'bill'."],
  ['getMany of parameters by name', ({ models }) => models.User.cache.getMany({ username: 'bill' }), InvalidKeyValueError, 'User.cache.getMany takes a list of keys; received an object.'],
  ['getMany of nothing', ({ models }) => models.User.cache.getMany(undefined), InvalidKeyValueError, 'User.cache.getMany takes a list of keys; received undefined.'],
  ['getMany with one wrong key', ({ models }) => models.User.cache.getMany([{ username: 'bill' }, { username: 5 }]), InvalidKeyValueError, "Key field 'username' of User must be a string; received 5."],
  ['getOr404 with a wrong value', ({ models }) => models.User.cache.getOr404({ username: 5 }), InvalidKeyValueError, "Key field 'username' of User must be a string; received 5."],
  ['getOr404 with a text that is no value of the column', ({ Kind }) => Kind.cache.getOr404({ int: '42abc' }), NotFoundError, 'There is no such Kind.'],
  ['getOr404 with what Number makes of such a text', ({ Kind }) => Kind.cache.getOr404({ int: Number('42abc') }), NotFoundError, 'There is no such Kind.'],
  ['getOr404 with a fraction for an integer', ({ Kind }) => Kind.cache.getOr404({ int: 4.5 }), NotFoundError, 'There is no such Kind.'],
  ['getOr404 with an object for an integer', ({ Kind }) => Kind.cache.getOr404({ int: {} }), InvalidKeyValueError, "Key field 'int' of Kind must be an integer (number, bigint or a string of digits; beyond 2^53 not a number); received an object."],
  ['getQuery with a wrong value', ({ models }) => models.User.cache.getQuery({ username: 5 }), InvalidKeyValueError, "Key field 'username' of User must be a string; received 5."],
  ['getKey with a wrong value', ({ models }) => models.User.cache.getKey({ username: 5 }), InvalidKeyValueError, "Key field 'username' of User must be a string; received 5."],
  ['invalidate with a wrong value', ({ models }) => models.User.cache.invalidate({ username: 5 }), InvalidKeyValueError, "Key field 'username' of User must be a string; received 5."],
  ['invalidate an instance of another model', ({ models, event }) => models.User.cache.invalidate(event), WrongModelError, 'User.cache.invalidate takes an instance of User, or key values; received an instance of Event.'],
  ['invalidate an instance that is not saved', ({ models }) => models.User.cache.invalidate(models.User.build({ username: 'new' })), UnsavedInstanceError, 'User.cache.invalidate was given an instance that is not saved yet. Pass a saved one, or key values.'],
  ['invalidate an instance that was loaded without its key', ({ models, partial }) => models.User.cache.invalidate(partial), UnsavedInstanceError, 'User.cache.invalidate was given an instance that was loaded without its primary key. Pass a saved one, or key values.'],
  ['an unknown read option', ({ models }) => models.User.cache.get({ username: 'bill' }, { transacton: null }), InvalidOptionError, "A cached read has no option 'transacton'. Its options are: transaction, refresh, cacheOnly. For another query use findOne."],
  ['an option of findOne', ({ models }) => models.User.cache.get({ username: 'bill' }, { include: [] }), InvalidOptionError, "A cached read has no option 'include'. Its options are: transaction, refresh, cacheOnly. For another query use findOne."],
  ['an unknown read option of a class', ({ models }) => new models.UserCacheOnUsername('bill').resolve({ raw: true }), InvalidOptionError, "A cached read has no option 'raw'. Its options are: transaction, refresh, cacheOnly. For another query use findOne."],
  ['null in place of the options', ({ models }) => models.User.cache.get({ username: 'bill' }, null), InvalidOptionError, 'The options of a cached read must be an object; received null.'],
  ['refresh and cacheOnly together', ({ models }) => models.User.cache.get({ username: 'bill' }, { refresh: true, cacheOnly: true }), InvalidOptionError, "'refresh' (read the database) and 'cacheOnly' (never read it) exclude each other."],

  // ---- lists ----
  ['filter: a bare value', ({ Track }) => Track.cache.filter(5), AmbiguousKeyError, 'Track.cache.filter takes key fields by name, such as { album }; received 5.'],
  ['filterMany of one list', ({ Track }) => Track.cache.filterMany({ album: 5 }), InvalidKeyValueError, 'Track.cache.filterMany takes a list of key fields by name; received an object.'],
  ['filterMany of nothing', ({ Track }) => Track.cache.filterMany(), InvalidKeyValueError, 'Track.cache.filterMany takes a list of key fields by name; received undefined.'],
  ['filterMany with one wrong value', ({ Track }) => Track.cache.filterMany([{ album: 5 }, { album: 'x' }]), InvalidKeyValueError, "Key field 'album' of Track must be a saved Album or its id, an integer (number, bigint or a string of digits; beyond 2^53 not a number); received 'x'."],
  ['filterMany with a bare value', ({ Track }) => Track.cache.filterMany([5]), AmbiguousKeyError, 'Track.cache.filter takes key fields by name, such as { album }; received 5.'],
  ['filter: an instance', ({ Track, user }) => Track.cache.filter(user), AmbiguousKeyError, 'Track.cache.filter takes key fields by name, such as { album }; received an instance of User.'],
  ['filter: nothing', ({ Track }) => Track.cache.filter(), AmbiguousKeyError, 'Track.cache.filter takes key fields by name, such as { album }; received undefined.'],
  ['filter: a list', ({ Track }) => Track.cache.filter([{ album: 5 }]), AmbiguousKeyError, 'Track.cache.filter takes key fields by name, such as { album }; received an array of 1.'],
  ['filter: nothing, of the whole table', ({ Album }) => Album.cache.filter(), AmbiguousKeyError, 'Album.cache.filter takes key fields by name, such as {} for the whole table; received undefined.'],
  ['filter: a bare value where no list is declared', ({ Person }) => Person.cache.filter('x'), AmbiguousKeyError, "Person.cache.filter takes key fields by name; received 'x'."],
  ['filter: an attribute of no list', ({ Track }) => Track.cache.filter({ title: 'x' }), CacheNotRegisteredError, "Track.cache: no list is registered on the key field title. Registered on Track: album | album + kind. Use one of these, or add 'title' to 'filters' of withCache(Track)."],
  ['filter: the key of a row', ({ Track }) => Track.cache.filter({ id: 5 }), CacheNotRegisteredError, "Track.cache: no list is registered on the key field id. Registered on Track: album | album + kind. Use one of these, or add 'id' to 'filters' of withCache(Track)."],
  ['filter: one key field too many', ({ Track }) => Track.cache.filter({ album: 5, title: 'x' }), CacheNotRegisteredError, "Track.cache: no list is registered on the key fields album + title. Registered on Track: album | album + kind. Use one of these, or add ['album', 'title'] to 'filters' of withCache(Track)."],
  ['filter: the whole table, undeclared', ({ Track }) => Track.cache.filter({}), CacheNotRegisteredError, "Track.cache: no list is registered without key fields. Registered on Track: album | album + kind. Use one of these, or add [] to 'filters' of withCache(Track)."],
  ['filter: only the whole table is declared', ({ Album }) => Album.cache.filter({ title: 'x' }), CacheNotRegisteredError, "Album.cache: no list is registered on the key field title. Registered on Album: no key field. Use one of these, or add 'title' to 'filters' of withCache(Album)."],
  ['filter: no list is declared', ({ Person }) => Person.cache.filter({ name: 'x' }), CacheNotRegisteredError, "Person.cache: no list is registered on the key field name. Registered on Person: none. Add 'name' to 'filters' of withCache(Person)."],
  ['filter: the whole table where no list is declared', ({ Person }) => Person.cache.filter({}), CacheNotRegisteredError, "Person.cache: no list is registered without key fields. Registered on Person: none. Add [] to 'filters' of withCache(Person)."],
  ['filter: half a combination', ({ Track }) => Track.cache.filter({ kind: 'x' }), KeyFieldNotPassedError, "Track.cache: key field 'album' not passed (received: kind). Registered on Track: album | album + kind."],
  ['filter: an unknown name', ({ Track }) => Track.cache.filter({ album: 5, limit: 1 }), UnknownKeyFieldError, "Track.cache has no key field 'limit'. Registered on Track: album | album + kind."],
  ['filter: a misspelt name', ({ Track }) => Track.cache.filter({ albun: 5 }), UnknownKeyFieldError, "Track.cache has no key field 'albun'; did you mean 'album'? Registered on Track: album | album + kind."],
  ['filter: an association and its column', ({ Track }) => Track.cache.filter({ album: 5, albumId: 5 }), UnknownKeyFieldError, "Track.cache: key field 'album' was passed twice, as 'album' and as 'albumId'."],
  ['filter: an instance of another model', ({ Track, user }) => Track.cache.filter({ album: user }), WrongModelError, "Key field 'album' of Track must be a Album or its id; received an instance of User."],
  ['filter: an instance that is not saved', ({ Track, Album }) => Track.cache.filter({ album: Album.build({}) }), UnsavedInstanceError, "Key field 'album' of Track was given a Album that is not saved yet. Save it first, or pass the id."],
  ['filter: undefined', ({ Track }) => Track.cache.filter({ album: undefined }), InvalidKeyValueError, "Key field 'album' of Track is undefined; it must be a saved Album or its id, an integer (number, bigint or a string of digits; beyond 2^53 not a number), or null for rows without a value."],
  ['filter: a list of values', ({ Track }) => Track.cache.filter({ album: [1, 2] }), InvalidKeyValueError, "Key field 'album' of Track must be a saved Album or its id, an integer (number, bigint or a string of digits; beyond 2^53 not a number); received an array of 2."],
  ['filter: an option of findAll', ({ Track }) => Track.cache.filter({ album: 5 }, { limit: 5 }), InvalidOptionError, "A cached read has no option 'limit'. Its options are: transaction, refresh, cacheOnly. For another query use findOne."],
  ['filterQuery: a bare value', ({ Track }) => Track.cache.filterQuery(5), AmbiguousKeyError, 'Track.cache.filter takes key fields by name, such as { album }; received 5.'],
  ['filterQuery: a wrong value', ({ Track }) => Track.cache.filterQuery({ album: 'x' }), InvalidKeyValueError, "Key field 'album' of Track must be a saved Album or its id, an integer (number, bigint or a string of digits; beyond 2^53 not a number); received 'x'."],
  ['get by the key fields of a list', ({ Track }) => Track.cache.get({ album: 5 }), CacheNotRegisteredError, "Track.cache: no cache is registered on the key field album. Registered on Track: id. Use one of these, or add 'album' to 'keys' of withCache(Track)."],
  ['class of the whole table: a value', ({ classes }) => new classes.AllTracks(5).resolve(), UnknownKeyFieldError, 'AllTracks takes no key fields, as it is about the whole table; received 1 value.'],
  ['class of the whole table: a name', ({ classes }) => new classes.AllTracks({ album: 5 }).resolve(), UnknownKeyFieldError, "AllTracks has no key field 'album'. It has none, as it is about the whole table."],
  ['class of a list: nothing is passed', ({ classes }) => new classes.TracksOfAlbum().resolve(), KeyFieldNotPassedError, "TracksOfAlbum: key field 'album' was not passed. Its key fields are: 'album'."],

  // ---- cached foreign keys ----
  ['prefetch: an association that is not cached', ({ Track, track }) => Track.cache.prefetch([track], ['bonusOf']), InvalidOptionError, "Track.cache.prefetch: 'bonusOf' is not among 'cachedForeignKeys' of withCache(Track) (album). Add it there."],
  ['prefetch: a misspelt name', ({ Track, track }) => Track.cache.prefetch([track], ['albun']), InvalidOptionError, "Track.cache.prefetch: 'albun' is not among 'cachedForeignKeys' of withCache(Track) (album). Add it there."],
  ['prefetch: a model without cached foreign keys', ({ Album }) => Album.cache.prefetch([], ['tracks']), InvalidOptionError, "Album.cache.prefetch: 'tracks' is not among 'cachedForeignKeys' of withCache(Album) (there are none). Add it there."],
  ['prefetch: one name', ({ Track, track }) => Track.cache.prefetch([track], 'album'), InvalidOptionError, "Track.cache.prefetch takes a list of instances, then a list of associations' names; received an array of 1 and 'album'."],
  ['prefetch: one instance', ({ Track, track }) => Track.cache.prefetch(track, ['album']), InvalidOptionError, "Track.cache.prefetch takes a list of instances, then a list of associations' names; received an instance of Track and an array of 1."],
  ['prefetch: a promise that was not awaited', ({ Track }) => Track.cache.prefetch(Promise.resolve([]), ['album']), InvalidOptionError, "Track.cache.prefetch takes a list of instances, then a list of associations' names; received an instance of Promise and an array of 1."],
  ['prefetch: no names', ({ Track, track }) => Track.cache.prefetch([track]), InvalidOptionError, "Track.cache.prefetch takes a list of instances, then a list of associations' names; received an array of 1 and undefined."],
  ['prefetch: instances of another model', ({ Track, track, user }) => Track.cache.prefetch([track, user], ['album']), WrongModelError, 'Track.cache.prefetch takes instances of Track; received an instance of User.'],
  ['prefetch: plain objects', ({ Track }) => Track.cache.prefetch([{ id: 1, albumId: 5 }], ['album']), WrongModelError, 'Track.cache.prefetch takes instances of Track; received an object.'],
  ['prefetch: an instance that was loaded without its foreign key', ({ Track, track, partialTrack }) => Track.cache.prefetch([track, partialTrack], ['album']), UnsavedInstanceError, "Track.cache.prefetch was given an instance that was loaded without 'albumId', which leads to 'album'. Load it with that attribute."],
  ['prefetch: cacheOnly', ({ Track, track }) => Track.cache.prefetch([track], ['album'], { cacheOnly: true }), InvalidOptionError, "Track.cache.prefetch has no option 'cacheOnly': it would leave instances with nothing on them. Leave it out."],
  ['prefetch: an option of include', ({ Track }) => Track.cache.prefetch([], ['album'], { attributes: ['title'] }), InvalidOptionError, "A cached read has no option 'attributes'. Its options are: transaction, refresh, cacheOnly. For another query use findOne."],
  ['prefetch: null in place of the options', ({ Track }) => Track.cache.prefetch([], ['album'], null), InvalidOptionError, 'The options of a cached read must be an object; received null.'],

  // ---- voiding ----
  ['invalidateWhere: no condition', ({ Track }) => Track.cache.invalidateWhere(), InvalidOptionError, "Track.cache.invalidateWhere takes a condition, as 'where' of findAll; received undefined. For everything of the model use clear()."],
  ['invalidateWhere: an id', ({ Track }) => Track.cache.invalidateWhere(5), InvalidOptionError, "Track.cache.invalidateWhere takes a condition, as 'where' of findAll; received 5. For everything of the model use clear()."],
  ['bump the version of nothing', () => bumpVersion(undefined as never), InvalidOptionError, 'bumpVersion takes a model or a cache class; received undefined.'],
  ['bump the version of a name', () => bumpVersion('Track' as never), InvalidOptionError, "bumpVersion takes a model or a cache class; received 'Track'."],
  ['bump the version of an instance', ({ track }) => bumpVersion(track as never), InvalidOptionError, 'bumpVersion takes a model or a cache class; received an instance of Track.'],
  ['bump the version of a class that is neither', () => bumpVersion(Map as never), InvalidOptionError, 'bumpVersion takes a model or a cache class; received the function or class Map.'],
  ['bump the version of a class that is not registered', ({ classes }) => bumpVersion(classes.Unregistered as never), CacheNotRegisteredError, "Cache class Unregistered is not registered, so writes would not invalidate it. Put @registerCache before the class, call registerCache(Unregistered) after it, or list it in 'caches' of withCache."],
  ['bump the version of a class without model', ({ classes }) => bumpVersion(classes.NoModel as never), InvalidCacheClassError, "Cache class NoModel needs 'static model = …', the model whose instance it caches; received undefined."],
  ['bump the version of a model of which nothing is cached', ({ backend }) => bumpVersion(backend.sequelize.define('Uncached', {})), CacheNotRegisteredError, 'Nothing of model Uncached is cached, so there is no version to bump. Declare its caches with withCache(Uncached, …).'],
  ['bump the version of a scoped model', ({ Track }) => bumpVersion(Track.unscoped() as never), ScopedModelError, 'bumpVersion was given a class that is not the model itself, such as Track.scope(…), unscoped() or schema(…). Pass Track.'],

  // ---- batches ----
  ['batch: a list of queries', ({ models }) => new BatchCacheQuery([models.User.cache.getQuery({ id: 1 })] as never), InvalidOptionError, 'BatchCacheQuery takes queries by name, such as { user: User.cache.getQuery({ id: 7 }) }; received an array of 1.'],
  ['batch: a query alone', ({ classes }) => new BatchCacheQuery(new classes.AllTracks() as never).get(), InvalidOptionError, 'BatchCacheQuery takes queries by name, such as { user: User.cache.getQuery({ id: 7 }) }; received an instance of AllTracks.'],
  ['batch: a lookup that runs already', ({ models }) => new BatchCacheQuery({ user: models.User.cache.getOrNone({ id: 1 }, { cacheOnly: true }) } as never), InvalidOptionError, "BatchCacheQuery: 'user' must be a query, such as User.cache.getQuery({ id: 7 }) or new UserCacheOnUsername('bill1992'); received an instance of Promise, which runs already."],
  ['batch: a class', ({ classes }) => new BatchCacheQuery({ all: classes.AllTracks } as never), InvalidOptionError, "BatchCacheQuery: 'all' must be a query, such as User.cache.getQuery({ id: 7 }) or new UserCacheOnUsername('bill1992'); received the function or class AllTracks."],
  ['batch: null as query', () => new BatchCacheQuery({ user: null } as never), InvalidOptionError, "BatchCacheQuery: 'user' must be a query, such as User.cache.getQuery({ id: 7 }) or new UserCacheOnUsername('bill1992'); received null."],
  ['batch: push of the same name twice', ({ classes }) => { const batch = new BatchCacheQuery().push('all', new classes.AllTracks()); batch.push('all' as never, new classes.AllTracks()); }, InvalidOptionError, "BatchCacheQuery has a query 'all' already. Give each a name of its own."],
  ['batch: push of a name that the constructor had', ({ classes }) => new BatchCacheQuery({ all: new classes.AllTracks() }).push('all' as never, new classes.AllTracks()), InvalidOptionError, "BatchCacheQuery has a query 'all' already. Give each a name of its own."],
  ['batch: push without a name', ({ classes }) => new BatchCacheQuery().push(new classes.AllTracks() as never, undefined as never), InvalidOptionError, 'BatchCacheQuery.push takes a name, then a query; received an instance of AllTracks as name.'],
  ['batch: an unknown option', () => new BatchCacheQuery().get({ cacheOnly: true } as never), InvalidOptionError, "BatchCacheQuery.get has no option 'cacheOnly'. Its options are: onlyCache, noneOnException, returnExceptions, transaction."],
  ['batch: an option that is no boolean', () => new BatchCacheQuery().get({ onlyCache: 'yes' } as never), InvalidOptionError, "BatchCacheQuery.get: 'onlyCache' must be true or false; received 'yes'."],
  ['batch: options that are none', () => new BatchCacheQuery().get(true as never), InvalidOptionError, 'The options of BatchCacheQuery.get must be an object; received true.'],
  ['batch: null and the error for an error', () => new BatchCacheQuery().get({ noneOnException: true, returnExceptions: true }), InvalidOptionError, "BatchCacheQuery.get: 'noneOnException' (null for an error) and 'returnExceptions' (the error itself) exclude each other."],

  // ---- scopes ----
  ['scope(…).cache.filter', ({ Track }) => Track.scope(null).cache.filter({ album: 5 }), ScopedModelError, "Track.cache was used on a class that is not the model itself, such as Track.scope(…), unscoped() or schema(…). The cache answers for the model's default scope; use Track.cache, or a plain find."],
  ['unscoped().cache.prefetch', ({ Track }) => Track.unscoped().cache.prefetch([], ['album']), ScopedModelError, "Track.cache was used on a class that is not the model itself, such as Track.scope(…), unscoped() or schema(…). The cache answers for the model's default scope; use Track.cache, or a plain find."],
  ['unscoped().cache.clear', ({ Track }) => Track.unscoped().cache.clear(), ScopedModelError, "Track.cache was used on a class that is not the model itself, such as Track.scope(…), unscoped() or schema(…). The cache answers for the model's default scope; use Track.cache, or a plain find."],
  ['scope(…).cache', ({ models }) => models.User.scope(null).cache.get({ username: 'bill' }), ScopedModelError, "User.cache was used on a class that is not the model itself, such as User.scope(…), unscoped() or schema(…). The cache answers for the model's default scope; use User.cache, or a plain find."],
  ['unscoped().cache', ({ models }) => models.User.unscoped().cache.get({ username: 'bill' }), ScopedModelError, "User.cache was used on a class that is not the model itself, such as User.scope(…), unscoped() or schema(…). The cache answers for the model's default scope; use User.cache, or a plain find."],
  ["schema('s').cache", ({ models }) => models.User.schema('s').cache.getKey({ username: 'bill' }), ScopedModelError, "User.cache was used on a class that is not the model itself, such as User.scope(…), unscoped() or schema(…). The cache answers for the model's default scope; use User.cache, or a plain find."],
  ['withCache of scope(…)', ({ backend }) => cached(backend.sequelize.define('Shelf', {}).scope(), { keys: ['id'] }), ScopedModelError, 'withCache was given a class that is not the model itself, such as Shelf.scope(…), unscoped() or schema(…). Pass Shelf; a schema belongs in the options of its definition.'],
  ["withCache of schema('s')", ({ backend }) => cached(backend.sequelize.define('Shelf', {}).schema('s'), { keys: ['id'] }), ScopedModelError, 'withCache was given a class that is not the model itself, such as Shelf.scope(…), unscoped() or schema(…). Pass Shelf; a schema belongs in the options of its definition.'],
  ["a class on schema('s')", ({ backend }) => registerCache(class OnShelf extends InstanceCache<Model> { static model = backend.sequelize.define('Shelf', {}).schema('s'); static keyFields = ['id']; }), ScopedModelError, "Cache class OnShelf, 'static model', was given a class that is not the model itself, such as Shelf.scope(…), unscoped() or schema(…). Pass Shelf; a schema belongs in the options of its definition."],
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
    const { Album, Track } = defineTracks(backend.sequelize);
    class AllTracks extends QuerysetCountCache<Model> {
      static model = backend.sequelize.model('Track');
      static keyFields = [];
    }
    class TracksOfAlbum extends QuerysetCache<Model> {
      static model = backend.sequelize.model('Track');
      static keyFields = ['album'];
    }
    registerCache(AllTracks);
    registerCache(TracksOfAlbum);
    backend.setup();
    await backend.sequelize.sync();
    const user = await seed.User.create({ username: 'bill1992' });
    const event = await seed.Event.create({ name: 'launch' });
    const strayVote = await seed.Vote.create({ userId: user.id, targetType: 'Users', targetId: 1, value: 1 });
    const partial = await seed.User.findOne({ attributes: ['username'], rejectOnEmpty: true });
    const track = await backend.sequelize.model('Track').create({ title: 'one' });
    const partialTrack = await backend.sequelize.model('Track').findOne({ attributes: ['id'], rejectOnEmpty: true });
    const other = await openBackend('sqlite');
    const stranger = defineSeedModels(other.sequelize).User.build({ id: 1, username: 'bill1992' }, { isNewRecord: false });
    await other.close();
    world = {
      backend,
      models: seed as unknown as Untyped,
      Kind,
      Person: Person as unknown as UntypedModel,
      Album,
      Track,
      track,
      partialTrack,
      user,
      event,
      partial,
      stranger,
      strayVote,
      classes: { Unregistered, NoModel, Derived, AllTracks, TracksOfAlbum } as unknown as World['classes'],
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

  it('prefetch of an instance that was created without a foreign key is right: there is none', async () => {
    const { Track, track } = world;
    assert.equal((await Track.cache.prefetch([track], ['album']))[0], track);
    assert.equal(track.get('album'), null);
  });

  it('cacheOnly: what is not in the cache', async () => {
    const { models } = world;
    assertIs(
      await thrownBy(() => models.User.cache.get({ username: 'cold' }, { cacheOnly: true })),
      NotInCacheError,
      "User { username: 'cold' } is not in the cache, and 'cacheOnly' was asked for.",
    );
    assertIs(
      await thrownBy(() => new models.UserCacheOnUsername('colder').resolve({ cacheOnly: true })),
      NotInCacheError,
      "UserCacheOnUsername { username: 'colder' } is not in the cache, and 'cacheOnly' was asked for.",
    );
    assert.equal(await models.User.cache.getOrNone({ username: 'coldest' }, { cacheOnly: true }), undefined);
  });
});

// ---- Results of getInstance ---------------------------------------------------------------------

/** What an overridden getInstance returns. */
type Returned = readonly [what: string, returns: (models: SeedModels) => unknown, message: string];

const expected = (cache: string): string => `${cache}.getInstance must resolve to an instance of User as its findOne returns it, or to null`;

const results: readonly Returned[] = [
  ['a plain object', () => ({ id: 1, username: 'bill1992' }), 'received an object.'],
  ["a row of 'raw: true'", ({ User }) => User.findOne({ raw: true }), 'received an object.'],
  ['a list', ({ User }) => User.findAll(), 'received an array of 1.'],
  ['a number', () => 1, 'received 1.'],
  ['an instance of another model', ({ Event }) => Event.findOne(), 'received an instance of Event.'],
  ['an instance that is not saved', ({ User }) => User.build({ username: 'new' }), 'received one that is not saved.'],
  ["an instance with 'include'", ({ User }) => User.findOne({ include: ['participations'] }), "received one that was loaded with 'include'."],
  ['a partial instance', ({ User }) => User.findOne({ attributes: ['id'] }), "received one that was loaded without 'username'. Leave 'attributes' out."],
  ['an instance with an attribute more', ({ User }) => User.findOne({ attributes: { include: [[literal('1 + 1'), 'two']] } }), "received one that was loaded with 'two' as well. Leave 'attributes' out."],
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

// ---- Results of getResult -----------------------------------------------------------------------

const selfish: Record<string, unknown> = { name: 'loop' };
selfish.self = selfish;

/** What an overridden getResult returns. */
const values: readonly (readonly [what: string, returns: (models: SeedModels) => unknown, message: string])[] = [
  ['a function', () => () => 5, 'a function. Return ids or other plain values.'],
  ['a class', () => Map, 'the function or class Map. Return ids or other plain values.'],
  ['a class instance', () => new Map([['a', 1]]), 'an instance of Map. Return ids or other plain values.'],
  ['a class instance within', () => ({ users: new Set([1]) }), 'an object, with an object of a class of its own (Set). Return ids or other plain values.'],
  ['a cycle', () => selfish, 'an object, with a JSON value that is nested too deeply, or in itself. Return ids or other plain values.'],
  ['a Date', () => new Date(0), 'a Date (1970-01-01T00:00:00.000Z). Return ids or other plain values.'],
  ['a Date within', () => [{ at: new Date(0) }], 'an array of 1, with an object of a class of its own (Date). Return ids or other plain values.'],
  ['undefined', () => undefined, "undefined. Return something, or null for 'nothing'."],
  ['undefined within', () => ({ city: undefined }), 'an object, with undefined in a JSON value. Return ids or other plain values.'],
  ['a hole in a list', () => [1, , 3], 'an array of 3, with undefined in a JSON value. Return ids or other plain values.'], // oxlint-disable-line no-sparse-arrays -- that is what is tested
  ['an instance within', async ({ User }) => ({ user: await User.findOne() }), 'an object, with an object of a class of its own (User). Return ids or other plain values.'],
  ['a promise within', () => ({ count: Promise.resolve(5) }), 'an object, with an object of a class of its own (Promise). Return ids or other plain values.'],
  ['a lazy query', ({ User }) => User.cache.getQuery({ id: 1 }), 'an object, with a function in a JSON value. Return ids or other plain values.'],
  ['a bigint', () => 5n, '5n. Return ids or other plain values.'],
  ['NaN', () => Number.NaN, 'NaN. Return ids or other plain values.'],
  ['a symbol', () => Symbol('x'), 'a symbol. Return ids or other plain values.'],
  ['a Buffer', () => Buffer.from('x'), 'an instance of Buffer. Return ids or other plain values.'],
  ['an object that says how it is written', () => ({ toJSON: () => 5 }), 'an object, with an object with a toJSON method. Return ids or other plain values.'],
];

describe('what getResult must not return', () => {
  let backend: Backend;
  let models: SeedModels;

  before(async () => {
    backend = await openBackend('sqlite');
    models = defineSeedModels(backend.sequelize);
    backend.setup();
    await backend.sequelize.sync();
    await models.User.create({ username: 'bill1992' });
  });
  after(() => backend.close());

  values.forEach(([what, returns, message], at) => {
    it(what, async () => {
      const { User } = models;
      let right = false;
      class WrongValue extends QuerysetCache<InstanceType<SeedModels['User']>> {
        static model = User;
        static keyFields = ['username'] as const;

        override async getResult() {
          return right ? 'right' : ((await returns(models)) as null);
        }
      }
      Object.defineProperty(WrongValue, 'name', { value: `WrongValue${at}` });
      registerCache(WrongValue);
      const expectedOf = `${WrongValue.name}.getResult must resolve to a JSON value (numbers, strings, booleans, null, arrays and plain objects of these), to an instance of User, or to a list of instances; received `;
      assertIs(await thrownBy(() => new WrongValue('bill1992').resolve()), UnsupportedResultError, expectedOf + message);
      // It is not cached, and neither is the refusal.
      right = true;
      assert.equal(await new WrongValue('bill1992').resolve(), 'right');
    });
  });
});

// ---- Declarations and set-up --------------------------------------------------------------------

/** Something wrong with what is declared or set up on a Sequelize instance that has no models yet. */
type Misdeclared = readonly [what: string, does: (sequelize: Sequelize) => unknown, error: ErrorClass, message: string];

const store = new MemoryStore();

function book(sequelize: Sequelize, options: object = {}): typeof Model & (new () => Model) {
  return sequelize.define('Book', { title: DataTypes.STRING, data: DataTypes.JSON, kind: DataTypes.STRING, shelf: new DataTypes.VIRTUAL(DataTypes.STRING) }, { timestamps: false, ...options });
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

/** A database that nobody connects to. */
const elsewhere = (options: Options = {}): Sequelize => new Sequelize({ dialect: 'mysql', host: 'db1.test', database: 'shop', logging: false, ...options });

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

/** A cache class of a Book derived from `Base`, with these static members and methods, and relations of every kind. */
const deriving =
  (Base: object, members: object, methods: object = {}, related: Related = {}) =>
  (sequelize: Sequelize): unknown => {
    class BookFamily extends (Base as typeof InstanceCache<Model>) {}
    Object.assign(BookFamily, { model: library(sequelize, related), keyFields: ['title'] }, members);
    Object.assign(BookFamily.prototype, methods);
    registerCache(BookFamily as unknown as CacheClass);
    return setupCache(sequelize, { store });
  };

/** What is different about the models of a library. */
interface Related {
  /** Options of Book. */
  readonly book?: object;
  /** Options of Author. */
  readonly author?: object;
  /** Options of the through model. */
  readonly through?: object;
}

/** Books with an author, who has a country; pages, a cover, and tags through a model. */
function library(sequelize: Sequelize, related: Related = {}): ReturnType<typeof book> {
  const Book = book(sequelize, related.book);
  const plain = { timestamps: false };
  const Country = sequelize.define('Country', { name: DataTypes.STRING }, plain);
  const Author = sequelize.define('Author', { name: DataTypes.STRING, place: DataTypes.GEOMETRY }, { ...plain, ...related.author });
  const Page = sequelize.define('Page', { number: DataTypes.INTEGER }, plain);
  const Tag = sequelize.define('Tag', { word: DataTypes.STRING }, plain);
  const BookTag = sequelize.define('BookTag', { rank: DataTypes.INTEGER }, { ...plain, ...related.through });
  Book.belongsTo(Author, { as: 'author' });
  Author.belongsTo(Country, { as: 'country' });
  Book.hasMany(Page, { as: 'pages', foreignKey: 'bookId' });
  Book.hasMany(Page, { as: 'firstPages', foreignKey: 'bookId', scope: { number: 1 } });
  Book.hasOne(Page, { as: 'cover', foreignKey: 'coverOf' });
  Book.belongsTo(Author.unscoped(), { as: 'anybody', foreignKey: 'anybodyId', constraints: false });
  Book.belongsToMany(Tag, { as: 'tags', through: BookTag, foreignKey: 'bookId', otherKey: 'tagId' });
  Book.belongsToMany(Tag, { as: 'topTags', through: { model: BookTag, scope: { rank: 1 } }, foreignKey: 'bookId', otherKey: 'tagId' });
  return Book;
}

/** A library whose Book is declared with these options. */
const shelving =
  (options: (Book: ReturnType<typeof book>) => object, related: Related = {}) =>
  (sequelize: Sequelize): unknown => {
    const Book = library(sequelize, related);
    cached(Book, options(Book));
    return setupCache(sequelize, { store });
  };

/** A manager of Book's own, with these static members and methods, beside these options. */
const managing = (statics: object, methods: object = {}, options: object = {}): ReturnType<typeof shelving> =>
  shelving(() => {
    class BookManager extends ModelCacheManager<Model> {}
    Object.assign(BookManager, statics);
    Object.assign(BookManager.prototype, methods);
    return { ...options, manager: BookManager };
  });

/** A cache class on a Book's title. */
function titled(Book: ReturnType<typeof book>, name = 'BookCacheOnTitle'): CacheClass {
  const cacheClass = class extends InstanceCache<Model> {
    static model = Book;
    static keyFields = ['title'];
  };
  Object.defineProperty(cacheClass, 'name', { value: name });
  return cacheClass;
}

const generic = { target: { type: 'kind', id: 'id', models: () => [] } };

const declarations: readonly Misdeclared[] = [
  // ---- withCache ----
  ['withCache of nothing', () => withCache(undefined as never, { keys: [] } as never), InvalidOptionError, "withCache takes a model, a class that extends Sequelize's Model; received undefined. Is it loaded, and from the same copy of sequelize?"],
  ['withCache of an instance', (sequelize) => withCache(book(sequelize).build() as never, {} as never), InvalidOptionError, "withCache takes a model, a class that extends Sequelize's Model; received an instance of Book. Is it loaded, and from the same copy of sequelize?"],
  ['withCache of a class that is no model', () => withCache(class NotAModel {} as never, {} as never), InvalidOptionError, "withCache takes a model, a class that extends Sequelize's Model; received the function or class NotAModel. Is it loaded, and from the same copy of sequelize?"],
  ['the mixin of a class that is no model', () => withCache(Map as never), InvalidOptionError, "withCache takes a model, a class that extends Sequelize's Model; received the function or class Map. Is it loaded, and from the same copy of sequelize?"],
  ['withCache twice', (sequelize) => { const Book = book(sequelize); cached(Book, { keys: ['title'] }); cached(Book, { keys: ['title'] }); }, AlreadyCachedError, 'withCache was called twice for model Book. Declare all its keys and caches in one call.'],
  ['withCache and cacheMeta', (sequelize) => {
    class Book extends withCache(Model) { static cacheMeta = { keys: ['id'] }; }
    Book.init({}, { sequelize, modelName: 'Book' });
    cached(Book, { keys: ['id'] });
    setupCache(sequelize, { store });
  }, AlreadyCachedError, "Model Book has 'static cacheMeta' and was passed to withCache as well. Declare all its keys and caches in one of them."],
  ['an unknown option of withCache', declaring({ key: ['title'] }), InvalidOptionError, "withCache(Book) has no option 'key'. Its options are: keys, getKeyFieldsList, filters, filterKeyFieldsList, caches, cachedForeignKeys, genericForeignKeys, manager, timeout, negativeTimeout, version."],
  ['options that are no object', declaring(['title']), InvalidOptionError, 'withCache(Book): the options must be an object; received an array of 1.'],
  ['options that are null', declaring(null as never), InvalidOptionError, 'withCache(Book): the options must be an object; received null.'],
  ['keys that are no list', declaring({ keys: 'title' }), InvalidOptionError, "withCache(Book): 'keys' must be a list of names or of lists of names, such as ['username', ['tenantId', 'slug']]; received 'title'."],
  ['a key that is no name', declaring({ keys: [{ fields: ['title'] }] }), InvalidOptionError, "withCache(Book): 'keys' must be a list of names or of lists of names, such as ['username', ['tenantId', 'slug']]; received an array of 1."],
  ['a key without fields', declaring({ keys: [[]] }), InvalidOptionError, "withCache(Book): 'keys' must be a list of names or of lists of names, such as ['username', ['tenantId', 'slug']]; received an array of 1."],
  ['keys under both names', declaring({ keys: ['title'], getKeyFieldsList: ['title'] }), InvalidOptionError, "withCache(Book): 'keys' is the short name of 'getKeyFieldsList'; pass one of them."],
  ['a key declared twice', declaring({ keys: ['title', ['title']] }), InvalidOptionError, "withCache(Book): 'keys' names title twice."],
  ['a key field twice in one key', declaring({ keys: [['title', 'title']] }), InvalidOptionError, "Cache Book(title,title) names the key field 'title' twice."],
  ['an association and its column in one key', declaring({ keys: [['author', 'authorId']] }), InvalidKeyFieldError, "Cache Book(author,authorId): 'authorId' is the column of the association 'author' of model Book. Use 'author' as key field; an id can still be passed, as { author: 7 } or { authorId: 7 }."],
  ['a timeout of zero', declaring({ timeout: 0 }), InvalidOptionError, "Option 'withCache(Book).timeout' must be a whole number of seconds from 1 to 31536000; received 0."],
  ['a timeout in milliseconds', declaring({ timeout: 604_800_000 }), InvalidOptionError, "Option 'withCache(Book).timeout' must be a whole number of seconds from 1 to 31536000; received 604800000."],
  ['a version that is no version', declaring({ version: {} }), InvalidOptionError, "withCache(Book): 'version' must be a number or a string; received an object."],
  ['caches that are no list', declaring({ caches: 'BookCacheOnTitle' }), InvalidOptionError, "withCache(Book): 'caches' must be a list of cache classes, or a function that returns one; received 'BookCacheOnTitle'."],
  ['caches that are not defined yet', declaring({ caches: [undefined] }), InvalidCacheClassError, "A cache class is a class that extends InstanceCache, QuerysetCache or one of their kin; received undefined. Is it defined later? Then use the function form, 'caches: () => […]'."],
  ['a cache class that is none', declaring({ caches: [Map] }), InvalidCacheClassError, 'A cache class is a class that extends InstanceCache, QuerysetCache or one of their kin; received the function or class Map.'],
  ['cacheMeta with an unknown option', (sequelize) => {
    class Book extends withCache(Model) { static cacheMeta = { key: ['id'] }; }
    Book.init({}, { sequelize, modelName: 'Book' });
    setupCache(sequelize, { store });
  }, InvalidOptionError, "withCache(Book) has no option 'key'. Its options are: keys, getKeyFieldsList, filters, filterKeyFieldsList, caches, cachedForeignKeys, genericForeignKeys, manager, timeout, negativeTimeout, version."],

  // ---- key fields ----
  ['an unknown key field', declaring({ keys: ['isbn'] }), InvalidKeyFieldError, "Cache Book(isbn): 'isbn' is neither an attribute nor an association nor a generic foreign key of model Book. (Associations must be declared before setupCache.)"],
  ['a misspelt key field', declaring({ keys: ['titel'] }), InvalidKeyFieldError, "Cache Book(titel): 'titel' is neither an attribute nor an association nor a generic foreign key of model Book; did you mean 'title'? (Associations must be declared before setupCache.)"],
  ["an association's column", declaring({ keys: ['authorId'] }), InvalidKeyFieldError, "Cache Book(authorId): 'authorId' is the column of the association 'author' of model Book. Use 'author' as key field; an id can still be passed, as { author: 7 } or { authorId: 7 }."],
  ['a hasMany association', declaring({ keys: ['pages'] }), InvalidKeyFieldError, "Cache Book(pages): the association 'pages' of model Book is a HasMany; only a BelongsTo has its column in this model's table."],
  ['a hasOne association', declaring({ keys: ['cover'] }), InvalidKeyFieldError, "Cache Book(cover): the association 'cover' of model Book is a HasOne; only a BelongsTo has its column in this model's table."],
  ['a JSON column', declaring({ keys: ['data'] }), InvalidKeyFieldError, "Cache Book(data): 'data' of model Book has the type JSON, which cannot be a key field."],
  ['a virtual attribute', declaring({ keys: ['shelf'] }), InvalidKeyFieldError, "Cache Book(shelf): 'shelf' of model Book is virtual; a key field needs a column."],
  ['a column of a generic foreign key', declaring({ keys: ['kind'], genericForeignKeys: generic }), InvalidKeyFieldError, "Cache Book(kind): 'kind' is a column of the generic foreign key 'target' of model Book. Use 'target' as key field."],
  ['a generic foreign key named like an attribute', declaring({ genericForeignKeys: { title: generic.target } }), InvalidKeyFieldError, "The generic foreign key 'title' of model Book has the name of an attribute or association."],
  ['a generic foreign key named like an association', declaring({ genericForeignKeys: { author: generic.target } }), InvalidKeyFieldError, "The generic foreign key 'author' of model Book has the name of an attribute or association."],
  ['a generic foreign key of an unknown column', declaring({ genericForeignKeys: { target: { ...generic.target, type: 'targetType' } } }), InvalidKeyFieldError, "The generic foreign key 'target' of model Book: 'targetType' is not an attribute that can be a key."],
  ['a generic foreign key of a JSON column', declaring({ genericForeignKeys: { target: { ...generic.target, id: 'data' } } }), InvalidKeyFieldError, "The generic foreign key 'target' of model Book: 'data' is not an attribute that can be a key."],
  ['a generic foreign key without models', declaring({ genericForeignKeys: { target: { type: 'kind', id: 'id' } } }), InvalidOptionError, "withCache(Book): the generic foreign key 'target' must be declared as { type: 'targetType', id: 'targetId', models: () => [Post, Photo] }, two attributes' names and a function that returns models, or an object of models by the names that 'targetType' holds."],
  ['generic foreign keys as a list', declaring({ genericForeignKeys: ['target'] }), InvalidOptionError, "withCache(Book): 'genericForeignKeys' must be an object, a declaration by name; received an array of 1."],

  // ---- cache classes ----
  ['register nothing', () => registerCache(undefined as never), InvalidCacheClassError, "A cache class is a class that extends InstanceCache, QuerysetCache or one of their kin; received undefined. Is it defined later? Then use the function form, 'caches: () => […]'."],
  ['register a class that is no cache class', () => registerCache(Map as never), InvalidCacheClassError, 'A cache class is a class that extends InstanceCache, QuerysetCache or one of their kin; received the function or class Map.'],
  ['register a cache class without model', registering({ model: undefined }), InvalidCacheClassError, "Cache class BookCacheOnTitle needs 'static model = …', the model whose instance it caches; received undefined."],
  ['register a cache class with a model by name', registering({ model: 'Book' }), InvalidCacheClassError, "Cache class BookCacheOnTitle needs 'static model = …', the model whose instance it caches; received 'Book'."],
  ['register a cache class without key fields', registering({ keyFields: undefined }), InvalidCacheClassError, "Cache class BookCacheOnTitle needs 'static keyFields = […]', a list of at least one key field's name; received undefined."],
  ['register a cache class with no key field', registering({ keyFields: [] }), InvalidCacheClassError, "Cache class BookCacheOnTitle needs 'static keyFields = […]', a list of at least one key field's name; received an array of 0."],
  ['register a cache class with a name as list', registering({ keyFields: 'title' }), InvalidCacheClassError, "Cache class BookCacheOnTitle needs 'static keyFields = […]', a list of at least one key field's name; received 'title'."],
  ['a cache class with an unknown key field', registering({ keyFields: ['tilte'] }), InvalidKeyFieldError, "Cache BookCacheOnTitle: 'tilte' is neither an attribute nor an association nor a generic foreign key of model Book; did you mean 'title'? (Associations must be declared before setupCache.)"],
  ['a cache class with a key field twice', registering({ keyFields: ['title', 'title'] }), InvalidOptionError, "Cache BookCacheOnTitle names the key field 'title' twice."],
  ['a cache class with a timeout of zero', registering({ timeout: 0 }), InvalidOptionError, "Option 'BookCacheOnTitle.timeout' must be a whole number of seconds from 1 to 31536000; received 0."],
  ['a cache class with a timeout as text', registering({ timeout: '60' }), InvalidOptionError, "Option 'BookCacheOnTitle.timeout' must be a whole number of seconds from 1 to 31536000; received '60'."],
  ['a cache class with a timeout in milliseconds', registering({ timeout: 604_800_000 }), InvalidOptionError, "Option 'BookCacheOnTitle.timeout' must be a whole number of seconds from 1 to 31536000; received 604800000."],
  ['a cache class with a version that is none', registering({ version: null }), InvalidOptionError, "Option 'BookCacheOnTitle.version' must be a number or a string; received null."],
  ['two cache classes of one name', (sequelize) => {
    const model = book(sequelize);
    const sameName = () => class BookCacheOnTitle extends InstanceCache<Model> { static model = model; static keyFields = ['title'] as const; };
    registerCache(sameName());
    registerCache(sameName());
    setupCache(sequelize, { store });
  }, DuplicateCacheNameError, "Two caches are named 'BookCacheOnTitle' (the second one on model Book). Names are part of the keys; give each cache class a name of its own."],
  ['a cache class without a name', (sequelize) => {
    const model = book(sequelize);
    registerCache((() => class extends InstanceCache<Model> { static model = model; static keyFields = ['title'] as const; })());
    setupCache(sequelize, { store });
  }, InvalidCacheClassError, 'A cache class without a name cannot be registered: names are part of the keys. Give it one.'],
  ['a cache class in the list of another model', (sequelize) => {
    const model = book(sequelize);
    const Author = sequelize.define('Author', {});
    class BookCacheOnTitle extends InstanceCache<Model> { static model = model; static keyFields = ['title'] as const; }
    cached(Author, { caches: [BookCacheOnTitle] });
    setupCache(sequelize, { store });
  }, InvalidCacheClassError, "Cache class BookCacheOnTitle is listed in 'caches' of model Author, but its 'static model' is Book. List it there."],

  // ---- static members ----
  ['a version of the wrong type', deriving(QuerysetCache, { version: [] }), InvalidOptionError, "Option 'BookFamily.version' must be a number or a string; received an array of 0."],
  ['a negativeTimeout of zero', deriving(QuerysetCache, { negativeTimeout: 0 }), InvalidOptionError, "Option 'BookFamily.negativeTimeout' must be a whole number of seconds from 1 to 31536000; received 0."],
  ['an unknown invalidation', deriving(QuerysetCache, { invalidation: 'dynamic' }), InvalidOptionError, "Option 'BookFamily.invalidation' must be one of 'OFF', 'UNSET', 'RESET', 'DYNAMIC'; received 'dynamic'."],
  ['DYNAMIC without allowtime', deriving(QuerysetCache, { invalidation: 'DYNAMIC' }), InvalidOptionError, "BookFamily.invalidation is 'DYNAMIC' and needs 'static allowtime = …', the seconds for which an outdated answer may be given after a write."],
  ['allowtime without DYNAMIC', deriving(QuerysetCache, { allowtime: 30 }), InvalidOptionError, "BookFamily.allowtime is for invalidation 'DYNAMIC'; with 'UNSET' an outdated answer is never given on purpose. Leave one of them out."],
  ['allowtime with RESET', deriving(QuerysetCache, { invalidation: 'RESET', allowtime: 30 }), InvalidOptionError, "BookFamily.allowtime is for invalidation 'DYNAMIC'; with 'RESET' an outdated answer is never given on purpose. Leave one of them out."],
  ['an allowtime of zero', deriving(QuerysetCache, { invalidation: 'DYNAMIC', allowtime: 0 }), InvalidOptionError, "Option 'BookFamily.allowtime' must be a whole number of seconds from 1 to 86400; received 0."],
  ['an allowtime of two days', deriving(QuerysetCache, { invalidation: 'DYNAMIC', allowtime: 172_800 }), InvalidOptionError, "Option 'BookFamily.allowtime' must be a whole number of seconds from 1 to 86400; received 172800."],
  ['invalidation of a related cache', deriving(RelatedInstanceCache, { relation: 'author', invalidation: 'RESET' }), InvalidCacheClassError, "BookFamily.invalidation is 'RESET', but the class has no entry of its own: its answers are put together from those of the models on the way. Leave it out."],
  ['invalidation with include', deriving(InstanceCache, { include: 'author', invalidation: 'DYNAMIC', allowtime: 5 }), InvalidCacheClassError, "BookFamily.invalidation is 'DYNAMIC', but the class has no entry of its own: its answers are put together from those of the models on the way. Leave it out."],
  ['a limit without an order', deriving(QuerysetCache, { limit: 5 }), InvalidCacheClassError, "BookFamily has a limit and no order, so which rows it has would be chance. Add 'static order = [[…]]'."],
  ['a limit with an empty order', deriving(QuerysetCache, { limit: 5, order: [] }), InvalidCacheClassError, "BookFamily has a limit and no order, so which rows it has would be chance. Add 'static order = [[…]]'."],
  ['a limit of zero', deriving(QuerysetCache, { limit: 0, order: ['id'] }), InvalidCacheClassError, 'BookFamily.limit must be a whole number of rows, at least 1; received 0.'],
  ['a limit as text', deriving(QuerysetCache, { limit: '5', order: ['id'] }), InvalidCacheClassError, "BookFamily.limit must be a whole number of rows, at least 1; received '5'."],
  ['an order by something that is no attribute', deriving(QuerysetCache, { order: [['titel', 'DESC']] }), InvalidCacheClassError, "BookFamily.order must be a list of attributes of Book that have columns, each with 'ASC' or 'DESC', such as [['id', 'DESC']]; received 'titel'; did you mean 'title'?"],
  ['an order by a virtual attribute', deriving(QuerysetCache, { order: ['shelf'] }), InvalidCacheClassError, "BookFamily.order must be a list of attributes of Book that have columns, each with 'ASC' or 'DESC', such as [['id', 'DESC']]; received 'shelf'."],
  ['an order by an association', deriving(QuerysetCache, { order: [['author', 'name', 'ASC']] }), InvalidCacheClassError, "BookFamily.order must be a list of attributes of Book that have columns, each with 'ASC' or 'DESC', such as [['id', 'DESC']]; received 'author'; did you mean 'authorId'?"],
  ['an order by an expression', deriving(QuerysetCache, { order: [literal('RAND()')] }), InvalidCacheClassError, "BookFamily.order must be a list of attributes of Book that have columns, each with 'ASC' or 'DESC', such as [['id', 'DESC']]; received an instance of Literal."],
  ['an order in no direction', deriving(QuerysetCache, { order: [['title', 'DOWN']] }), InvalidCacheClassError, "BookFamily.order must be a list of attributes of Book that have columns, each with 'ASC' or 'DESC', such as [['id', 'DESC']]; received 'DOWN' after 'title'."],
  ['an order in two directions', deriving(QuerysetCache, { order: [['title', 'ASC', 'DESC']] }), InvalidCacheClassError, "BookFamily.order must be a list of attributes of Book that have columns, each with 'ASC' or 'DESC', such as [['id', 'DESC']]; received 'DESC' after 'title' and its direction."],
  ['an order of a count', deriving(QuerysetCountCache, { order: ['id'] }), InvalidCacheClassError, 'BookFamily.order has no effect: only a QuerysetCache has a list. Leave it out.'],
  ['a limit of a related list', deriving(RelatedQuerysetCache, { relation: 'pages', limit: 5 }), InvalidCacheClassError, 'BookFamily.limit has no effect: only a QuerysetCache has a list. Leave it out.'],
  ['an order of a result', deriving(QuerysetCache, { order: ['id'] }, { getResult: () => 5 }), InvalidCacheClassError, 'BookFamily.order has no effect: getResult says what the answer is. Leave it out.'],
  ['getResults without getResult', deriving(QuerysetCache, {}, { getResults: () => [] }), InvalidCacheClassError, 'Cache class BookFamily has getResults, which answers several lookups at once, and no getResult, which answers one. Add it, or leave getResults out.'],
  ['getInstances without getInstance', deriving(InstanceCache, {}, { getInstances: () => [] }), InvalidCacheClassError, 'Cache class BookFamily has getInstances, which answers several lookups at once, and no getInstance, which answers one. Add it, or leave getInstances out.'],
  ['a relation of a list', deriving(QuerysetCache, { relation: 'author' }), InvalidCacheClassError, 'BookFamily.relation has no effect: only RelatedInstanceCache and RelatedQuerysetCache follow a relation. Leave it out.'],
  ['an include of a list', deriving(QuerysetCache, { include: ['author'] }), InvalidCacheClassError, 'BookFamily.include has no effect: only an InstanceCache delivers related instances with its own. Leave it out.'],
  ['an include of "is there one"', deriving(QuerysetExistsCache, { include: ['author'] }), InvalidCacheClassError, 'BookFamily.include has no effect: only an InstanceCache delivers related instances with its own. Leave it out.'],
  ['a misspelt static member', deriving(QuerysetCache, { limt: 5 }), InvalidCacheClassError, "Cache class BookFamily has a static member 'limt', which has no effect; did you mean 'limit'? If not, give it a name that is not taken for that one."],
  ['a static member in other letters', deriving(QuerysetCache, { allowTime: 5 }), InvalidCacheClassError, "Cache class BookFamily has a static member 'allowTime', which has no effect; did you mean 'allowtime'? If not, give it a name that is not taken for that one."],
  ['a static member as it is called elsewhere', deriving(QuerysetCache, { orderBy: 'title' }), InvalidCacheClassError, "Cache class BookFamily has a static member 'orderBy', which has no effect; did you mean 'order'? If not, give it a name that is not taken for that one."],
  ['the source system: key_fields', deriving(InstanceCache, { key_fields: ['title'] }), InvalidCacheClassError, "Cache class BookFamily has a static member 'key_fields', which has no effect; did you mean 'keyFields'? If not, give it a name that is not taken for that one."],
  ['the source system: select_related', deriving(InstanceCache, { select_related: ['author'] }), InvalidCacheClassError, "Cache class BookFamily has a static member 'select_related', which has no effect; did you mean 'include'? If not, give it a name that is not taken for that one."],
  ['the source system: selectRelated', deriving(InstanceCache, { selectRelated: ['author'] }), InvalidCacheClassError, "Cache class BookFamily has a static member 'selectRelated', which has no effect; did you mean 'include'? If not, give it a name that is not taken for that one."],
  ['the source system: negative_timeout', deriving(QuerysetCache, { negative_timeout: 5 }), InvalidCacheClassError, "Cache class BookFamily has a static member 'negative_timeout', which has no effect; did you mean 'negativeTimeout'? If not, give it a name that is not taken for that one."],
  ['the source system: order_by', deriving(QuerysetCache, { order_by: 'title' }), InvalidCacheClassError, "Cache class BookFamily has a static member 'order_by', which has no effect; did you mean 'order'? If not, give it a name that is not taken for that one."],
  ['other words: orderBy for a count', deriving(QuerysetCountCache, { ordering: 'title' }), InvalidCacheClassError, "Cache class BookFamily has a static member 'ordering', which has no effect; did you mean 'order'? If not, give it a name that is not taken for that one."],
  ['other words: time_out', deriving(QuerysetExistsCache, { time_out: 5 }), InvalidCacheClassError, "Cache class BookFamily has a static member 'time_out', which has no effect; did you mean 'timeout'? If not, give it a name that is not taken for that one."],
  ['a serializer', deriving(QuerysetCache, { serializer: 'json' }), InvalidCacheClassError, "Cache class BookFamily has a static member 'serializer', which has no effect. Rows are stored by columns and need none. Leave it out."],
  ['a method: get_instance', deriving(InstanceCache, {}, { get_instance: () => null }), InvalidCacheClassError, "Cache class BookFamily has a method 'get_instance', which has no effect; did you mean 'getInstance'? If not, give it a name that is not taken for that one."],
  ['a method: getinstance', deriving(InstanceCache, {}, { getinstance: () => null }), InvalidCacheClassError, "Cache class BookFamily has a method 'getinstance', which has no effect; did you mean 'getInstance'? If not, give it a name that is not taken for that one."],
  ['a method: getInstence', deriving(InstanceCache, {}, { getInstence: () => null }), InvalidCacheClassError, "Cache class BookFamily has a method 'getInstence', which has no effect; did you mean 'getInstance'? If not, give it a name that is not taken for that one."],
  ['a method: get_result', deriving(QuerysetCache, {}, { get_result: () => null }), InvalidCacheClassError, "Cache class BookFamily has a method 'get_result', which has no effect; did you mean 'getResult'? If not, give it a name that is not taken for that one."],
  ['a method: getresult', deriving(QuerysetCache, {}, { getresult: () => null }), InvalidCacheClassError, "Cache class BookFamily has a method 'getresult', which has no effect; did you mean 'getResult'? If not, give it a name that is not taken for that one."],
  ['a method: GetResult', deriving(QuerysetCache, {}, { GetResult: () => null }), InvalidCacheClassError, "Cache class BookFamily has a method 'GetResult', which has no effect; did you mean 'getResult'? If not, give it a name that is not taken for that one."],
  ['a method: get_results', deriving(QuerysetCache, {}, { get_results: () => null }), InvalidCacheClassError, "Cache class BookFamily has a method 'get_results', which has no effect; did you mean 'getResults'? If not, give it a name that is not taken for that one."],
  ['getInstance on a QuerysetCache', deriving(QuerysetCache, {}, { getInstance: () => null }), InvalidCacheClassError, "Cache class BookFamily has a method 'getInstance', which has no effect. Override getResult, and read with this.queryset() in it."],
  ['getResult on a InstanceCache', deriving(InstanceCache, {}, { getResult: () => null }), InvalidCacheClassError, "Cache class BookFamily has a method 'getResult', which has no effect. Override getInstance, and read with this.queryset() in it."],
  ['getResult on a QuerysetCountCache', deriving(QuerysetCountCache, {}, { getResult: () => null }), InvalidCacheClassError, "Cache class BookFamily has a method 'getResult', which has no effect. This kind of class computes nothing of its own. For that derive a QuerysetCache with getResult."],
  ['get_result on a QuerysetExistsCache', deriving(QuerysetExistsCache, {}, { get_result: () => null }), InvalidCacheClassError, "Cache class BookFamily has a method 'get_result', which has no effect. This kind of class computes nothing of its own. For that derive a QuerysetCache with getResult."],
  ['getInstance on a RelatedInstanceCache', deriving(RelatedInstanceCache, { relation: 'author' }, { getInstance: () => null }), InvalidCacheClassError, "Cache class BookFamily has a method 'getInstance', which has no effect. This kind of class computes nothing of its own. For that derive an InstanceCache with getInstance."],
  ['getResult on a RelatedQuerysetCache', deriving(RelatedQuerysetCache, { relation: 'pages' }, { getResult: () => null }), InvalidCacheClassError, "Cache class BookFamily has a method 'getResult', which has no effect. This kind of class computes nothing of its own. For that derive a QuerysetCache with getResult."],
  ['queryset() of its own', deriving(QuerysetCache, {}, { queryset: () => null }), InvalidCacheClassError, "Cache class BookFamily has a member 'queryset', which would hide that of its base. Override getResult, and read with this.queryset() in it."],
  ['getQueryset() of its own', deriving(InstanceCache, {}, { getQueryset: () => null }), InvalidCacheClassError, "Cache class BookFamily has a method 'getQueryset', which has no effect. Override getInstance, and read with this.queryset() in it."],
  ['a list without key fields', deriving(QuerysetCache, { keyFields: undefined }), InvalidCacheClassError, "Cache class BookFamily needs 'static keyFields = […]', a list of key fields' names (an empty one for the whole table); received undefined."],
  ['a related instance of the whole table', deriving(RelatedInstanceCache, { keyFields: [], relation: 'author' }), InvalidCacheClassError, "Cache class BookFamily needs 'static keyFields = […]', a list of at least one key field's name; received an array of 0."],
  ['a class that only looks like a cache class', (sequelize) => {
    class BookFamily { static model = book(sequelize); static keyFields = ['title']; resolve() { return 5; } }
    registerCache(BookFamily as never);
  }, InvalidCacheClassError, 'Cache class BookFamily extends none of the cache classes of sequelize-flash, such as InstanceCache.'],

  // ---- relations ----
  ['a related cache without relation', deriving(RelatedInstanceCache, {}), InvalidCacheClassError, "BookFamily needs 'static relation = …', an association's name, or several as 'event.venue'; received undefined."],
  ['a relation as a list', deriving(RelatedQuerysetCache, { relation: ['author', 'country'] }), InvalidCacheClassError, "BookFamily needs 'static relation = …', an association's name, or several as 'event.venue'; received an array of 2."],
  ['a relation that does not exist', deriving(RelatedInstanceCache, { relation: 'publisher' }), InvalidCacheClassError, "BookFamily.relation: 'publisher' is not an association of model Book. (Associations must be declared before setupCache.)"],
  ['a misspelt relation', deriving(RelatedInstanceCache, { relation: 'autor' }), InvalidCacheClassError, "BookFamily.relation: 'autor' is not an association of model Book; did you mean 'author'? (Associations must be declared before setupCache.)"],
  ["a foreign key's column as relation", deriving(RelatedInstanceCache, { relation: 'authorId' }), InvalidCacheClassError, "BookFamily.relation: 'authorId' is not an association of model Book; did you mean 'author'? (Associations must be declared before setupCache.)"],
  ['a relation whose second step does not exist', deriving(RelatedInstanceCache, { relation: 'author.town' }), InvalidCacheClassError, "BookFamily.relation: 'town' is not an association of model Author. (Associations must be declared before setupCache.)"],
  ['a relation that ends in a dot', deriving(RelatedInstanceCache, { relation: 'author.' }), InvalidCacheClassError, "BookFamily.relation: '' is not an association of model Author. (Associations must be declared before setupCache.)"],
  ['a relation to many where one is meant', deriving(RelatedInstanceCache, { relation: 'pages' }), InvalidCacheClassError, "BookFamily.relation leads to many rows by 'pages'. Derive RelatedQuerysetCache for that."],
  ['a relation through a model where one is meant', deriving(RelatedInstanceCache, { relation: 'tags' }), InvalidCacheClassError, "BookFamily.relation leads to many rows by 'tags'. Derive RelatedQuerysetCache for that."],
  ['a relation with a scope', deriving(RelatedQuerysetCache, { relation: 'firstPages' }), InvalidCacheClassError, "BookFamily.relation: the association 'firstPages' of model Book has a scope, so rows are not found by a key alone. Use an association without."],
  ['a relation to a scoped model', deriving(RelatedInstanceCache, { relation: 'anybody' }), InvalidCacheClassError, "BookFamily.relation: the association 'anybody' of model Book leads to a scoped Author, so rows are not found by a key alone. Use an association without."],
  ['a relation with a scope on its through model', deriving(RelatedQuerysetCache, { relation: 'topTags' }), InvalidCacheClassError, "BookFamily.relation: the association 'topTags' of model Book has a scope on its through model, so rows are not found by a key alone. Use an association without."],
  ['a relation through a model with a default scope', deriving(RelatedQuerysetCache, { relation: 'tags' }, {}, { through: { defaultScope: { where: { rank: 1 } } } }), InvalidCacheClassError, "BookFamily.relation: the association 'tags' of model Book has the through model BookTag with a default scope, so rows are not found by a key alone. Use an association without."],
  ['a relation whose start the default scope leaves out', deriving(RelatedInstanceCache, { relation: 'author' }, {}, { book: { defaultScope: { attributes: ['id', 'title'] } } }), InvalidCacheClassError, "BookFamily: 'author' starts from 'authorId' of model Book, which its default scope leaves out. Add it to the scope's attributes."],
  ['an include that does not exist', deriving(InstanceCache, { include: ['publisher'] }), InvalidCacheClassError, "BookFamily.include: 'publisher' is not an association of model Book. (Associations must be declared before setupCache.)"],
  ['an include within that does not exist', deriving(InstanceCache, { include: [{ association: 'author', include: ['town'] }] }), InvalidCacheClassError, "BookFamily.include: 'town' is not an association of model Author. (Associations must be declared before setupCache.)"],
  ['an include with options', deriving(InstanceCache, { include: [{ association: 'author', where: { name: 'Ann' } }] }), InvalidCacheClassError, "BookFamily.include: 'where' of 'author' cannot be cached: related rows are found by their keys alone. Leave it out, and choose among them afterwards."],
  ['an include with attributes', deriving(InstanceCache, { include: [{ association: 'author', attributes: ['name'] }] }), InvalidCacheClassError, "BookFamily.include: 'attributes' of 'author' cannot be cached: related rows are found by their keys alone. Leave it out, and choose among them afterwards."],
  ['an include of a model', deriving(InstanceCache, { include: [Model] }), InvalidCacheClassError, "BookFamily.include must be a list of associations of Book by name, such as ['event', { association: 'user', include: ['profile'] }]; received the function or class Model."],
  ['an include by model and name', deriving(InstanceCache, { include: [{ model: Model, as: 'author' }] }), InvalidCacheClassError, "BookFamily.include must be a list of associations of Book by name, such as ['event', { association: 'user', include: ['profile'] }]; received an object."],
  ['an include of nothing', deriving(InstanceCache, { include: [] }), InvalidCacheClassError, 'BookFamily.include is an empty list. Name associations of Book, or leave it out.'],
  ['an include twice', deriving(InstanceCache, { include: ['author', { association: 'author' }] }), InvalidCacheClassError, "BookFamily.include names 'author' twice."],
  ['an include of everything', deriving(InstanceCache, { include: { all: true } }), InvalidCacheClassError, "BookFamily.include must be a list of associations of Book by name, such as ['event', { association: 'user', include: ['profile'] }]; received an object."],
  ['an include beside getInstance', deriving(InstanceCache, { include: ['author'] }, { getInstance: () => null }), InvalidCacheClassError, "BookFamily has both 'include' and a getInstance of its own. Related instances come with the row that has the key values; leave one of them out."],

  // ---- filters, cached foreign keys ----
  ['filters that are no list', shelving(() => ({ filters: 'title' })), InvalidOptionError, "withCache(Book): 'filters' must be a list of names or of lists of names, such as ['username', ['tenantId', 'slug']]; received 'title'."],
  ['filters under both names', shelving(() => ({ filters: ['title'], filterKeyFieldsList: ['title'] })), InvalidOptionError, "withCache(Book): 'filters' is the short name of 'filterKeyFieldsList'; pass one of them."],
  ['the whole table twice', shelving(() => ({ filters: [[], []] })), InvalidOptionError, "withCache(Book): 'filters' names the whole table twice."],
  ['a filter twice', shelving(() => ({ filters: ['title', ['title']] })), InvalidOptionError, "withCache(Book): 'filters' names title twice."],
  ['an unknown key field of a filter', shelving(() => ({ filters: ['titel'] })), InvalidKeyFieldError, "Cache Book[titel]: 'titel' is neither an attribute nor an association nor a generic foreign key of model Book; did you mean 'title'? (Associations must be declared before setupCache.)"],
  ["a filter on a foreign key's column", shelving(() => ({ filters: ['authorId'] })), InvalidKeyFieldError, "Cache Book[authorId]: 'authorId' is the column of the association 'author' of model Book. Use 'author' as key field; an id can still be passed, as { author: 7 } or { authorId: 7 }."],
  ['a filter on many', shelving(() => ({ filters: ['pages'] })), InvalidKeyFieldError, "Cache Book[pages]: the association 'pages' of model Book is a HasMany; only a BelongsTo has its column in this model's table."],
  ['a negativeTimeout as text', shelving(() => ({ negativeTimeout: '60' })), InvalidOptionError, "Option 'withCache(Book).negativeTimeout' must be a whole number of seconds from 1 to 31536000; received '60'."],
  ['cached foreign keys that are no list', shelving(() => ({ cachedForeignKeys: 'author' })), InvalidOptionError, "withCache(Book): 'cachedForeignKeys' must be a list of associations' names, such as ['event']; received 'author'."],
  ['a cached foreign key that does not exist', shelving(() => ({ cachedForeignKeys: ['autor'] })), InvalidCacheClassError, "withCache(Book), 'cachedForeignKeys': 'autor' is not an association of model Book; did you mean 'author'? (Associations must be declared before setupCache.)"],
  ['a cached foreign key by its column', shelving(() => ({ cachedForeignKeys: ['authorId'] })), InvalidCacheClassError, "withCache(Book), 'cachedForeignKeys': 'authorId' is not an association of model Book; did you mean 'author'? (Associations must be declared before setupCache.)"],
  ['a cached foreign key of many', shelving(() => ({ cachedForeignKeys: ['pages'] })), InvalidOptionError, "withCache(Book), 'cachedForeignKeys': the association 'pages' is a HasMany; only a BelongsTo has its foreign key in this model's table."],
  ['a cached foreign key in the other table', shelving(() => ({ cachedForeignKeys: ['cover'] })), InvalidOptionError, "withCache(Book), 'cachedForeignKeys': the association 'cover' is a HasOne; only a BelongsTo has its foreign key in this model's table."],
  ['a cached foreign key that the default scope leaves out', shelving(() => ({ cachedForeignKeys: ['author'] }), { book: { defaultScope: { attributes: ['id'] } } }), InvalidCacheClassError, "withCache(Book), 'cachedForeignKeys': 'author' starts from 'authorId' of model Book, which its default scope leaves out. Add it to the scope's attributes."],
  ["a cached foreign key where the model has a method of the getter's name", (sequelize) => {
    class Book extends Model { getAuthor() { return 'Ann'; } }
    Book.init({}, { sequelize, modelName: 'Book' });
    Book.belongsTo(sequelize.define('Author', {}), { as: 'author' });
    cached(Book, { cachedForeignKeys: ['author'] });
    setupCache(sequelize, { store });
  }, InvalidOptionError, "withCache(Book), 'cachedForeignKeys': the model has a method getAuthor of its own, which would be hidden. Rename it, or leave 'author' out."],

  // ---- managers ----
  ['a manager that is no class', shelving(() => ({ manager: {} })), InvalidOptionError, "withCache(Book): 'manager' must be a class that extends ModelCacheManager; received an object."],
  ['a manager that extends nothing', shelving(() => ({ manager: class BookManager {} })), InvalidOptionError, "withCache(Book): 'manager' must be a class that extends ModelCacheManager; received the function or class BookManager."],
  ['a method that hides one of the manager', managing({}, { get: () => 5 }), InvalidOptionError, "withCache(Book): the manager BookManager has a member 'get', which would hide that of ModelCacheManager. Give it another name."],
  ['a method that hides a newer one', managing({}, { filter: () => 5 }), InvalidOptionError, "withCache(Book): the manager BookManager has a member 'filter', which would hide that of ModelCacheManager. Give it another name."],
  ['a getter that hides a method', (sequelize) => {
    class BookManager extends ModelCacheManager<Model> {}
    Object.defineProperty(BookManager.prototype, 'stats', { get: () => 5 });
    cached(book(sequelize), { manager: BookManager });
  }, InvalidOptionError, "withCache(Book): the manager BookManager has a member 'stats', which would hide that of ModelCacheManager. Give it another name."],
  ['a field that hides a method', (sequelize) => {
    class BookManager extends ModelCacheManager<Model> { override clear = () => Promise.resolve({ delivered: true }); }
    cached(book(sequelize), { manager: BookManager });
    setupCache(sequelize, { store });
  }, InvalidOptionError, "withCache(Book): the manager BookManager has a member 'clear', which would hide that of ModelCacheManager. Give it another name."],
  ['a misspelt static member of a manager', managing({ timeuot: 5, filtres: [], key: ['title'] }), InvalidOptionError, "withCache(Book): the manager BookManager has a static member 'key', which has no effect; did you mean 'keys'? If not, give it a name that is not taken for that one."],
  ['a wrong static member of a manager', managing({ timeout: '60' }), InvalidOptionError, "Option 'BookManager.timeout' must be a whole number of seconds from 1 to 31536000; received '60'."],
  ['keys of a manager that are no list', managing({ keys: 'title' }), InvalidOptionError, "the manager BookManager of model Book: 'keys' must be a list of names or of lists of names, such as ['username', ['tenantId', 'slug']]; received 'title'."],
  ['keys under both names, in a manager', managing({ keys: ['title'], getKeyFieldsList: ['title'] }), InvalidOptionError, "the manager BookManager of model Book: 'keys' is the short name of 'getKeyFieldsList'; pass one of them."],
  ['a key that the model and its manager declare', managing({ keys: ['title'] }, {}, { keys: ['id', 'title'] }), InvalidOptionError, "'keys': title is declared by model Book and by the manager BookManager of model Book. Declare it in one of them."],
  ['a key under the long name that the manager declares too', managing({ keys: [['title', 'kind']] }, {}, { getKeyFieldsList: [['title', 'kind']] }), InvalidOptionError, "'keys': title + kind is declared by model Book and by the manager BookManager of model Book. Declare it in one of them."],
  ['a filter that both declare', managing({ filters: [[]] }, {}, { filters: [[]] }), InvalidOptionError, "'filters': the whole table is declared by model Book and by the manager BookManager of model Book. Declare it in one of them."],
  ['a cached foreign key that both declare', managing({ cachedForeignKeys: ['author'] }, {}, { cachedForeignKeys: ['author'] }), InvalidOptionError, "'cachedForeignKeys': author is declared by model Book and by the manager BookManager of model Book. Declare it in one of them."],
  ['a timeout that both declare', managing({ timeout: 5 }, {}, { timeout: 5 }), InvalidOptionError, "'timeout' is declared by model Book and by the manager BookManager of model Book. Declare it in one of them."],
  ['a version that both declare', managing({ version: 1 }, {}, { version: 2 }), InvalidOptionError, "'version' is declared by model Book and by the manager BookManager of model Book. Declare it in one of them."],
  ['generic foreign keys that both declare', managing({ genericForeignKeys: {} }, {}, { genericForeignKeys: {} }), InvalidOptionError, "'genericForeignKeys' is declared by model Book and by the manager BookManager of model Book. Declare it in one of them."],
  ['a cache class that both list', shelving((Book) => {
    const BookCache = titled(Book);
    class BookManager extends ModelCacheManager<Model> { static caches = [BookCache]; }
    return { caches: () => [BookCache], manager: BookManager };
  }), InvalidOptionError, "'caches': BookCacheOnTitle is declared by model Book and by the manager BookManager of model Book. Declare it in one of them."],
  ['caches of a manager that are no list', managing({ caches: 'BookCacheOnTitle' }), InvalidOptionError, "the manager BookManager of model Book: 'caches' must be a list of cache classes, or a function that returns one; received 'BookCacheOnTitle'."],
  ['caches of a manager that are not defined yet', managing({ caches: [undefined] }), InvalidCacheClassError, "A cache class is a class that extends InstanceCache, QuerysetCache or one of their kin; received undefined. Is it defined later? Then use the function form, 'caches: () => […]'."],
  ['an unknown key field of a manager', managing({ keys: ['titel'] }), InvalidKeyFieldError, "Cache Book(titel): 'titel' is neither an attribute nor an association nor a generic foreign key of model Book; did you mean 'title'? (Associations must be declared before setupCache.)"],
  ['cacheMeta and its manager', (sequelize) => {
    class BookManager extends ModelCacheManager<Model> { static timeout = 5; }
    class Book extends withCache(Model) { static cacheMeta = { keys: ['id'], timeout: 6, manager: BookManager }; }
    Book.init({}, { sequelize, modelName: 'Book' });
    setupCache(sequelize, { store });
  }, InvalidOptionError, "'timeout' is declared by model Book and by the manager BookManager of model Book. Declare it in one of them."],

  // ---- setupCache ----
  ['enabled: text', settingUp({ store, enabled: 'false' }), InvalidOptionError, "Option 'enabled' must be true or false; received 'false'."],
  ['a client that is no class', () => new MemcachedStore('host', { client: {} as never }), InvalidOptionError, "Option 'client' must be the class of the package 'memcached', whose instances have a method 'command'; received an object."],
  ['a client that is an instance', () => new MemcachedStore('host', { client: new MemcachedStore('host') as never }), InvalidOptionError, "Option 'client' must be the class of the package 'memcached', whose instances have a method 'command'; received an instance of MemcachedStore."],
  ['setupCache of nothing', () => setupCache(undefined as never, { store }), InvalidOptionError, 'setupCache takes a Sequelize instance, then its options; received undefined.'],
  ['setupCache of a model', (sequelize) => setupCache(book(sequelize) as never, { store }), InvalidOptionError, 'setupCache takes a Sequelize instance, then its options; received the function or class Book.'],
  ['setupCache twice', (sequelize) => { setupCache(sequelize, { store }); setupCache(sequelize, { store }); }, AlreadyCachedError, 'setupCache was called twice for the same Sequelize instance. Call it once; close() it before you set it up anew.'],
  ['set up with null', settingUp(null), InvalidOptionError, 'The options of setupCache must be an object; received null.'],
  ['set up with a store in place of the options', settingUp(store), InvalidOptionError, 'setupCache received a store in place of its options. Pass it as { store }.'],
  ['set up without a store', settingUp({}), InvalidOptionError, "setupCache needs a store: pass { store: new MemcachedStore('127.0.0.1:11211') }, or name the servers in SEQUELIZE_FLASH_MEMCACHED."],
  ['set up with an address as store', settingUp({ store: '127.0.0.1:11211' }), InvalidOptionError, "Option 'store' must be a store, such as new MemcachedStore('127.0.0.1:11211') or new MemoryStore(); received '127.0.0.1:11211', which has no method 'get'."],
  ['set up with a store that is none', settingUp({ store: new Map() }), InvalidOptionError, "Option 'store' must be a store, such as new MemcachedStore('127.0.0.1:11211') or new MemoryStore(); received an instance of Map, which has no method 'add'."],
  ['an unknown option', settingUp({ store, ttl: 5 }), InvalidOptionError, "setupCache has no option 'ttl'. Its options are: store, prefix, alias, enabled, timeout, writeLease, lockWaitTimeout, leaseWait, onStoreFailure, bulkInvalidationLimit, maxBatch, maxConcurrentLoads, maxHints, recentBytes, maxUndelivered."],
  ['prefix: a space', settingUp({ store, prefix: 'my app' }), InvalidOptionError, "Option 'prefix' must be 1 to 32 letters, digits, '.', '_' or '-'; received 'my app'."],
  ['prefix: empty', settingUp({ store, prefix: '' }), InvalidOptionError, "Option 'prefix' must be 1 to 32 letters, digits, '.', '_' or '-'; received ''."],
  ['prefix: too long', settingUp({ store, prefix: 'p'.repeat(33) }), InvalidOptionError, "Option 'prefix' must be 1 to 32 letters, digits, '.', '_' or '-'; received 'ppppppppppppppppppppppppppppppppp'."],
  ['alias: empty', settingUp({ store, alias: '' }), InvalidOptionError, "Option 'alias' must be a text of 1 to 64 characters; received ''."],
  ['alias: too long', settingUp({ store, alias: 'a'.repeat(65) }), InvalidOptionError, "Option 'alias' must be a text of 1 to 64 characters; received 'aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa…'."],
  ['alias: a number', settingUp({ store, alias: 5 }), InvalidOptionError, "Option 'alias' must be a text of 1 to 64 characters; received 5."],
  ['alias: of two databases', (sequelize) => { const twice = new MemoryStore(); setupCache(elsewhere(), { store: twice, alias: 'a' }); setupCache(sequelize, { store: twice, alias: 'a' }); }, InvalidOptionError, "Option 'alias': 'a' would stand for the databases mysql://db1.test:3306/shop and sqlite::memory:, and each would be given rows of the other from the cache. Give each database an alias of its own, for example { alias: 'shop' }: the same in every process that uses this database."],
  ['alias: none, of a database that a hook chooses', () => setupCache(elsewhere({ hooks: { beforeConnect: () => undefined } }), { store: new MemcachedStore('127.0.0.1:1') }), InvalidOptionError, "setupCache needs option 'alias' for this Sequelize instance, since its options do not tell which database it is: its hook beforeConnect can change where it connects to. Name the database, for example { alias: 'shop' }: the same in every process that uses it, another one for each other database."],
  ['timeout: zero', settingUp({ store, timeout: 0 }), InvalidOptionError, "Option 'timeout' must be a whole number of seconds from 1 to 31536000; received 0."],
  ['timeout: a fraction', settingUp({ store, timeout: 0.5 }), InvalidOptionError, "Option 'timeout' must be a whole number of seconds from 1 to 31536000; received 0.5."],
  ['timeout: text', settingUp({ store, timeout: '60' }), InvalidOptionError, "Option 'timeout' must be a whole number of seconds from 1 to 31536000; received '60'."],
  ['timeout: NaN', settingUp({ store, timeout: Number.NaN }), InvalidOptionError, "Option 'timeout' must be a whole number of seconds from 1 to 31536000; received NaN."],
  ['timeout: over a year', settingUp({ store, timeout: 31_536_001 }), InvalidOptionError, "Option 'timeout' must be a whole number of seconds from 1 to 31536000; received 31536001."],
  ['writeLease: 1', settingUp({ store, writeLease: 1 }), InvalidOptionError, "Option 'writeLease' must be a whole number of seconds from 2 to 300; received 1."],
  ['writeLease: 301', settingUp({ store, writeLease: 301 }), InvalidOptionError, "Option 'writeLease' must be a whole number of seconds from 2 to 300; received 301."],
  ['leaseWait: negative', settingUp({ store, leaseWait: -1 }), InvalidOptionError, "Option 'leaseWait' must be a whole number of milliseconds from 0 to 60000; received -1."],
  ['onStoreFailure: unknown', settingUp({ store, onStoreFailure: 'ignore' }), InvalidOptionError, "Option 'onStoreFailure' must be 'available' or 'strict'; received 'ignore'."],
  ['bulkInvalidationLimit: infinite', settingUp({ store, bulkInvalidationLimit: Number.POSITIVE_INFINITY }), InvalidOptionError, "Option 'bulkInvalidationLimit' must be a whole number of rows from 0 to 100000; received Infinity."],
  ['maxBatch: zero', settingUp({ store, maxBatch: 0 }), InvalidOptionError, "Option 'maxBatch' must be a whole number of lookups from 1 to 10000; received 0."],
  ['maxConcurrentLoads: zero', settingUp({ store, maxConcurrentLoads: 0 }), InvalidOptionError, "Option 'maxConcurrentLoads' must be a whole number of statements from 1 to 1000; received 0."],
  ['lockWaitTimeout: -1', settingUp({ store, lockWaitTimeout: -1 }), InvalidOptionError, "Option 'lockWaitTimeout' must be a whole number of seconds from 0 to 3600; received -1."],
  ['maxHints: null', settingUp({ store, maxHints: null }), InvalidOptionError, "Option 'maxHints' must be a whole number of hints from 1 to 10000000; received null."],
  ['recentBytes: -1', settingUp({ store, recentBytes: -1 }), InvalidOptionError, "Option 'recentBytes' must be a whole number of bytes from 0 to 1099511627776; received -1."],
  ['maxUndelivered: a bigint', settingUp({ store, maxUndelivered: 5n }), InvalidOptionError, "Option 'maxUndelivered' must be a whole number of keys from 1 to 10000000; received 5n."],
];

describe('wrong declarations and set-ups', () => {
  let right: Backend;
  let models: SeedModels;
  let dialectModule: object;
  const { SEQUELIZE_FLASH_MEMCACHED: servers } = process.env;

  before(async () => {
    dialectModule = await createSqliteModule();
    right = await openBackend('sqlite');
    models = defineSeedModels(right.sequelize);
    right.setup();
    await right.sequelize.sync();
    delete process.env.SEQUELIZE_FLASH_MEMCACHED;
  });
  after(async () => {
    if (servers !== undefined) process.env.SEQUELIZE_FLASH_MEMCACHED = servers;
    await right.close();
  });

  for (const [what, does, ErrorClass, message] of declarations) {
    it(what, async () => {
      const statements: string[] = [];
      const logging = (sql: string): number => statements.push(sql);
      const sequelize = new Sequelize({ dialect: 'sqlite', storage: ':memory:', dialectModule, logging });
      const { User } = models;
      const user = await User.create({ username: what });
      assertIs(await thrownBy(() => does(sequelize)), ErrorClass, message);
      assert.deepEqual(statements, []);
      // Nothing of it is left: what is set up goes on, and what is right can be set up.
      await user.update({ city: 'Oslo' });
      assert.equal((await User.cache.get({ username: what })).city, 'Oslo');
      const another = new Sequelize({ dialect: 'sqlite', storage: ':memory:', dialectModule, logging });
      cached(book(another), { keys: ['title'] });
      const flashCache = setupCache(another, { store });
      assert.match((another.models.Book as unknown as UntypedModel).cache.getKey({ title: 'x' }), /^flash:/);
      await flashCache.close(0);
      await another.close();
      await sequelize.close();
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
  it('is an error of its own lookups, and nothing else', async () => {
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
      for (let round = 0; round < 2; round += 1) assertIs(await thrownBy(() => new EventCacheOnNaem('launch').resolve()), InvalidKeyFieldError, message);
      assert.deepEqual(backend.sql, []);
      // The model's other lookups, and its writes, go on.
      assert.equal((await Event.cache.get({ id: event.id })).name, 'launch');
      await event.update({ name: 'landing' });
      assert.equal((await Event.cache.get({ id: event.id })).name, 'landing');
      await event.update({ name: 'launch' });
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
