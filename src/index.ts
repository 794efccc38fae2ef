/** sequelize-flash: a coherent model cache for Sequelize 6. The public names, one by one. */
import { announceCopy } from './copies.js';

export { withCache, registerCache } from './with-cache.js';
export { setupCache, type FlashCache } from './setup.js';
export type { CacheHealth } from './health.js';
export { bumpVersion, ModelCacheManager } from './manager.js';
export {
  fastifyRequestCache,
  requestCache,
  withRequestCache,
  type ClosingResponse,
  type RequestCacheOptions,
  type RequestMiddleware,
} from './request-cache.js';
export { InstanceCache } from './caches/instance-cache.js';
export { QuerysetCache, QuerysetCountCache, QuerysetExistsCache } from './caches/queryset-caches.js';
export { RelatedInstanceCache, RelatedQuerysetCache } from './caches/related-caches.js';
export { BatchCacheQuery, type BatchOptions, type BatchResult, type Runnable } from './caches/batch.js';
export type { Invalidation, SetupOptions, OnStoreFailure } from './options.js';
export { channels, type BypassReason, type FlashEventKind, type FlashEvents } from './events.js';
export type { ServerCondition, ServerHealth, ServerState, Store, StoreItem, StoreReply, StoreToken } from './stores/store.js';
export type { MemcachedClientClass, MemcachedStoreOptions, ServerStateChange } from './stores/memcached-options.js';
export type { MemoryStoreOptions } from './stores/memory.js';
export type {
  AssociationOf,
  AttributeName,
  CacheArguments,
  CacheClass,
  CacheManager,
  CacheMeta,
  CacheQuery,
  CacheStats,
  CanonicalKeyValue,
  DefaultKeyValues,
  GenericForeignKey,
  GenericReference,
  FilterParams,
  FilterSpec,
  IncludedAssociation,
  IncludeSpec,
  JsonValue,
  KeyField,
  KeyLookup,
  KeyParams,
  KeySpec,
  KeyValues,
  ListArguments,
  ListOrder,
  ManagerClass,
  ManagerMethods,
  MergedManager,
  MistakenStatics,
  ModelCache,
  InvalidationResult,
  ModelCacheStats,
  NotCached,
  OrderAttribute,
  OrderDirection,
  PrefetchOptions,
  Queryset,
  ReadOptions,
  RowsInvalidationResult,
  RegisterCache,
  ResultOf,
  ResultOfQueryset,
  WithCache,
  WithCacheOptions,
} from './types.js';
export {
  AlreadyCachedError,
  AmbiguousKeyError,
  CacheNotRegisteredError,
  CacheNotSetUpError,
  DoesNotExist,
  DuplicateCacheNameError,
  FlashError,
  InvalidCacheClassError,
  InvalidKeyFieldError,
  InvalidKeyValueError,
  InvalidOptionError,
  InvalidationFailedError,
  KeyFieldNotPassedError,
  NotFoundError,
  NotInCacheError,
  ScopedModelError,
  StoreClosedError,
  StoreError,
  StoreProtocolError,
  StoreRefusedError,
  StoreTimeoutError,
  StoreUnavailableError,
  UnknownKeyFieldError,
  UnknownTargetTypeError,
  UnsavedInstanceError,
  UnsupportedResultError,
  WrongModelError,
} from './errors.js';

announceCopy();
