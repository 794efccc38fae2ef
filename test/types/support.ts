/** What the type tests share: the API under test, and assertions on types. */

export {
  BatchCacheQuery,
  bumpVersion,
  InstanceCache,
  ModelCacheManager,
  QuerysetCache,
  QuerysetCountCache,
  QuerysetExistsCache,
  fastifyRequestCache,
  registerCache,
  requestCache,
  withRequestCache,
  RelatedInstanceCache,
  RelatedQuerysetCache,
  withCache,
} from '../../src/index.js';
export type * from '../../src/types.js';

/** `true` if `A` and `B` are the same type, also in optionality, `any` and `readonly`. */
export type Equal<A, B> =
  (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;

/** Does not compile unless `T` is `true`. */
export type Expect<T extends true> = T;

/** Does not compile unless `value` is exactly of type `T`: `expectType<User>()(await …)`. */
export declare function expectType<T>(): <A>(value: A, ...same: Equal<A, T> extends true ? [] : [expected: T]) => void;
