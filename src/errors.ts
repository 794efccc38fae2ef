/** Every error of the package. Each has a stable `code`; the README lists them with their meaning. */
import { EmptyResultError } from 'sequelize';
import type { RefusalReason } from './events.js';

/** Base of every error that this package throws, except `DoesNotExist` and `NotFoundError`. */
export abstract class FlashError extends Error {
  /** Stable, machine-readable; never changes with the wording. */
  abstract readonly code: string;
}

// ---- Declaration: found when a model or cache class is declared or set up --------------------

/** An option has a value that it cannot have. */
export class InvalidOptionError extends FlashError {
  readonly code = 'FLASH_INVALID_OPTION';
}

/** A declared key field does not exist, is a foreign key's column, or has a type that cannot be a key. */
export class InvalidKeyFieldError extends FlashError {
  readonly code = 'FLASH_INVALID_KEY_FIELD';
}

/** `withCache` (or `setupCache`) was called a second time for the same model (or Sequelize instance). */
export class AlreadyCachedError extends FlashError {
  readonly code = 'FLASH_ALREADY_CACHED';
}

/** Two cache classes of one Sequelize instance have the same name. */
export class DuplicateCacheNameError extends FlashError {
  readonly code = 'FLASH_DUPLICATE_CACHE_NAME';
}

/** A cache class lacks `model` or `keyFields`, or they are not what they must be. */
export class InvalidCacheClassError extends FlashError {
  readonly code = 'FLASH_INVALID_CACHE_CLASS';
}

// ---- Use: found when a lookup is made ---------------------------------------------------------

/** The cache was used before `setupCache(sequelize)`, before `init`, or after `close()`. */
export class CacheNotSetUpError extends FlashError {
  readonly code = 'FLASH_NOT_SET_UP';
}

/** No cache was registered on the key fields asked for, or the cache class was never registered. */
export class CacheNotRegisteredError extends FlashError {
  readonly code = 'FLASH_NOT_REGISTERED';
}

/** With `cacheOnly`: the value is not in the cache (which says nothing about the database). */
export class NotInCacheError extends FlashError {
  readonly code = 'FLASH_NOT_IN_CACHE';
}

/** A key field of the cache was not passed. */
export class KeyFieldNotPassedError extends FlashError {
  readonly code = 'FLASH_KEY_FIELD_NOT_PASSED';
}

/** A parameter was passed that is not a key field of the cache. */
export class UnknownKeyFieldError extends FlashError {
  readonly code = 'FLASH_UNKNOWN_KEY_FIELD';
}

/**
 * The value of a key field is `undefined`, or does not fit the column's type.
 *
 * Where a request can have such a value (text, a number, nothing, a list or an object of these), it is bad
 * input: `status` and `statusCode` are 400 and `expose` is true, which Express, Koa, Fastify and Nest answer
 * with. Functions, promises, instances and the like are mistakes of the program, without a status.
 */
export class InvalidKeyValueError extends FlashError {
  readonly code = 'FLASH_INVALID_KEY_VALUE';
  /**
   * Whether it is a text that is no value of the column, or a number such as `NaN` that `Number` makes
   * of one, or an invalid `Date`: an id out of a URL, say. No row has it, so that `getOr404` takes it for
   * "not found".
   */
  readonly unreadable: boolean;
  readonly status: 400 | undefined;
  readonly statusCode: 400 | undefined;
  /** The flag of http-errors: the message may be shown to the client. */
  readonly expose: boolean;

  constructor(message: string, options?: { readonly unreadable?: boolean; readonly isInput?: boolean }) {
    super(message);
    this.unreadable = options?.unreadable ?? false;
    this.expose = options?.isInput ?? this.unreadable;
    this.status = this.statusCode = this.expose ? 400 : undefined;
  }
}

/** An instance was passed whose model is not the one that the key field refers to. */
export class WrongModelError extends FlashError {
  readonly code = 'FLASH_WRONG_MODEL';
}

/** An instance was passed that was not saved yet, or that was loaded without its key. */
export class UnsavedInstanceError extends FlashError {
  readonly code = 'FLASH_UNSAVED_INSTANCE';
}

/** One bare value was passed where it could mean several key fields, or none. */
export class AmbiguousKeyError extends FlashError {
  readonly code = 'FLASH_AMBIGUOUS_KEY';
}

/** `User.scope(…).cache`, `unscoped()` or `schema(…)`: the cache answers for the model's default scope only. */
export class ScopedModelError extends FlashError {
  readonly code = 'FLASH_SCOPED_MODEL';
}

/**
 * A generic foreign key's type column names a model that is not among its `models`. Where a lookup was given
 * the name as text, it is bad input, as an `InvalidKeyValueError` with status 400 is.
 */
export class UnknownTargetTypeError extends FlashError {
  readonly code = 'FLASH_UNKNOWN_TARGET_TYPE';
  readonly status: 400 | undefined;
  readonly statusCode: 400 | undefined;
  readonly expose: boolean;

  constructor(message: string, options?: { readonly isInput?: boolean }) {
    super(message);
    this.expose = options?.isInput ?? false;
    this.status = this.statusCode = this.expose ? 400 : undefined;
  }
}

/** An overridden `getInstance` resolved to something that cannot be cached as this model's instance. */
export class UnsupportedResultError extends FlashError {
  readonly code = 'FLASH_UNSUPPORTED_RESULT';
}

// ---- Stores -----------------------------------------------------------------------------------

/** Base of what a store reports. A cached read never throws one; it answers from the database. */
export abstract class StoreError extends FlashError {}

/** The server did not answer within the store's deadline. */
export class StoreTimeoutError extends StoreError {
  readonly code = 'FLASH_STORE_TIMEOUT';
}

/** The server cannot be reached, or its circuit breaker is open, or the store's queue is full. */
export class StoreUnavailableError extends StoreError {
  readonly code = 'FLASH_STORE_UNAVAILABLE';
}

/** The server answered with something that is not the protocol, or refused a command. */
export class StoreProtocolError extends StoreError {
  readonly code: string = 'FLASH_STORE_PROTOCOL';
}

/**
 * The store understood the command and refused its value: it is too large, or there is no room for it.
 * The entry is as it was before, and the next command is answered as usual.
 */
export class StoreRefusedError extends StoreProtocolError {
  override readonly code = 'FLASH_STORE_REFUSED';

  constructor(
    message: string,
    readonly reason: RefusalReason,
    options?: { cause?: unknown },
  ) {
    super(message, options);
  }
}

/** The store was closed. */
export class StoreClosedError extends StoreError {
  readonly code = 'FLASH_STORE_CLOSED';
}

/**
 * With `onStoreFailure: 'strict'`: the write was refused before it reached the database, because the entries
 * that it changes could not be marked in the store; or an invalidation by hand was not delivered. `cause` is
 * the store's error.
 */
export class InvalidationFailedError extends FlashError {
  readonly code = 'FLASH_INVALIDATION_FAILED';
}

// ---- Not found --------------------------------------------------------------------------------

/**
 * No row has these key values. One subclass per model, as `User.DoesNotExist`; it is also an
 * `EmptyResultError` of Sequelize, as `findOne({ rejectOnEmpty: true })` throws. `status` and `statusCode` are
 * 404, which Express, Koa, Fastify and Nest answer with.
 */
export class DoesNotExist extends EmptyResultError {
  readonly code: string = 'FLASH_DOES_NOT_EXIST';
  readonly status = 404;
  readonly statusCode = 404;
  /** The flag of http-errors: the message may be shown to the client. */
  readonly expose = true;

  constructor(message = 'No row matches the key fields.') {
    super(message);
    this.name = 'DoesNotExist';
    this.message = message;
  }
}

/** Thrown by `getOr404`, where the key values are malformed, too: the error of that is its `cause`. */
export class NotFoundError extends DoesNotExist {
  override readonly code = 'FLASH_NOT_FOUND';

  constructor(message?: string, options?: { readonly cause?: unknown }) {
    super(message);
    this.name = 'NotFoundError';
    if (options?.cause !== undefined) Object.defineProperty(this, 'cause', { value: options.cause, configurable: true, writable: true });
  }
}

// A minifier renames classes and keeps the keys of objects: `error.name` is the documented one in a bundle, too.
const named = {
  FlashError,
  StoreError,
  InvalidOptionError,
  InvalidKeyFieldError,
  AlreadyCachedError,
  DuplicateCacheNameError,
  InvalidCacheClassError,
  CacheNotSetUpError,
  CacheNotRegisteredError,
  NotInCacheError,
  KeyFieldNotPassedError,
  UnknownKeyFieldError,
  InvalidKeyValueError,
  WrongModelError,
  UnsavedInstanceError,
  AmbiguousKeyError,
  ScopedModelError,
  UnknownTargetTypeError,
  UnsupportedResultError,
  StoreTimeoutError,
  StoreUnavailableError,
  StoreProtocolError,
  StoreRefusedError,
  StoreClosedError,
  InvalidationFailedError,
};
for (const [name, type] of Object.entries(named)) {
  Object.defineProperty(type.prototype, 'name', { value: name, configurable: true, writable: true });
}
