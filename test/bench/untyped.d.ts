/** What is used of packages that have no types. */
declare module 'sequelize-transparent-cache' {
  import type { Model, ModelStatic } from 'sequelize';

  interface CachedModel<M extends Model> {
    cache(): { findByPk(id: number): Promise<M | null> };
  }
  function transparentCache(adaptor: object): { withCache<M extends Model>(model: ModelStatic<M>): CachedModel<M> };
  export = transparentCache;
}

declare module 'sequelize-transparent-cache-memcached' {
  import type Memcached from 'memcached';

  class MemcachedAdaptor {
    constructor(options: { client: Memcached; namespace?: string; lifetime?: number });
  }
  export = MemcachedAdaptor;
}
