/** `withCache`: declares what is cached of a model, and gives it its `cache`. */
import { Model } from 'sequelize';
import { queueMicrotask } from './clock.js';
import { declare, declareClass, declareMixin, doesNotExistOf, type AnyClass, type ModelOptions } from './caches/declarations.js';
import { InvalidOptionError } from './errors.js';
import { managerOf } from './manager.js';
import { show } from './options.js';
import type { CacheClass, ModelBase, RegisterCache, WithCache } from './types.js';

/**
 * Makes a model cached: as a mixin base class (one argument), as a static member, or after the
 * model's definition (two arguments).
 * @throws AlreadyCachedError, InvalidOptionError
 */
export const withCache: WithCache = ((target: AnyClass, options?: ModelOptions): unknown => {
  if (typeof target !== 'function' || (target !== Model && !(target.prototype instanceof Model))) {
    throw new InvalidOptionError(
      `withCache takes a model, a class that extends Sequelize's Model; received ${show(target)}. Is it loaded, and from the same copy of sequelize?`,
    );
  }
  if (options === undefined) return mixin(target as unknown as ModelBase);
  declare(target, options);
  addCache(target);
  // After the class's static fields are there.
  queueMicrotask(() => {
    restoreCache(target);
  });
  return managerOf(target);
}) as WithCache;

/**
 * Makes `cache` an accessor again where a class field took its place: `static cache = withCache(…)`
 * defines a plain value, and `User.unscoped().cache` would inherit it and answer for the default scope.
 */
export function restoreCache(model: AnyClass): void {
  for (let c: unknown = model; typeof c === 'function' && c !== Model; c = Object.getPrototypeOf(c)) {
    const own = Object.getOwnPropertyDescriptor(c, 'cache');
    if (own?.value !== undefined && own.value === managerOf(c as AnyClass)) addCache(c as AnyClass);
  }
}

/**
 * Registers a cache class with its model: `registerCache(UserCacheOnUsername)`, or as a decorator.
 * From then on every write of the model invalidates it.
 * @throws InvalidCacheClassError
 */
export const registerCache: RegisterCache = (cacheClass: object, context?: ClassDecoratorContext): void => {
  const given = cacheClass as CacheClass;
  // A standard decorator runs before the static members are there.
  if (context === undefined) declareClass(given);
  else context.addInitializer(() => {
    declareClass(given);
  });
};

function mixin(base: ModelBase): ModelBase {
  abstract class Cached extends base {}
  // Messages of Sequelize name the model's class, never this one; its own name only helps in stack traces.
  Object.defineProperty(Cached, 'name', { value: `Cached${base.name}` });
  declareMixin(Cached);
  addCache(Cached);
  return Cached;
}

/** `cache` as an accessor: a scoped subclass of the model inherits it and gets a manager of its own. */
function addCache(target: AnyClass): void {
  Object.defineProperty(target, 'cache', {
    configurable: true,
    enumerable: true,
    get(this: AnyClass) {
      return managerOf(this);
    },
    // `static cache = withCache(User, …)` assigns the manager where class fields are compiled to assignments.
    set(this: AnyClass, value: unknown) {
      if (value === managerOf(this)) return;
      Object.defineProperty(this, 'cache', { value, configurable: true, writable: true, enumerable: true });
    },
  });
  if (Object.hasOwn(target, 'DoesNotExist')) return;
  Object.defineProperty(target, 'DoesNotExist', {
    configurable: true,
    get(this: AnyClass) {
      return doesNotExistOf(this);
    },
  });
}

/** Only for `Model`'s type. */
