/** `RelatedInstanceCache` and `RelatedQuerysetCache`: what an application derives to cache what a relation leads to. */
import type { Model } from 'sequelize';
import type { ListArguments, ReadOptions } from '../types.js';
import { markFamily } from './answers.js';
import { CacheClassQuery } from './cache-query.js';

/**
 * The instance that a relation leads to from the row of `model` with the key values: `relation` is an
 * association's name, or several as `'event.venue'`, each to one instance. Every row on the way has
 * its own entry, so a write to any of them is seen.
 *
 * @example
 * class VenueOfParticipation extends RelatedInstanceCache<Participation, Venue> {
 *   static model = Participation;
 *   static keyFields = ['user', 'event'] as const;
 *   static relation = 'event.venue';
 * }
 * const venue = await new VenueOfParticipation(user, event).resolve(); // Venue | null
 *
 * @typeParam M the instance type of the model that the key fields are of
 * @typeParam R the instance type of the model that the relation leads to
 * @typeParam K the key fields as a tuple, to have the constructor's arguments checked by the compiler
 */
export abstract class RelatedInstanceCache<
  M extends Model,
  R extends Model,
  K extends readonly string[] = readonly string[],
> extends CacheClassQuery<M, K> {
  /** Of `InstanceCache`: it has no effect here. */
  declare readonly getInstance?: never;
  /** Of `InstanceCache`: it has no effect here. */
  declare readonly getInstances?: never;
  /** Of `QuerysetCache`: it has no effect here. */
  declare readonly getResult?: never;
  /** Of `QuerysetCache`: it has no effect here. */
  declare readonly getResults?: never;

  /** The related instance; `null` where the row or a related one does not exist. Throws what `QuerysetCache.resolve` throws. */
  async resolve(options: ReadOptions = {}): Promise<R | null> {
    return (await this.read(options)) as R | null;
  }

  static {
    markFamily(RelatedInstanceCache, 'related-instance');
  }
}

/**
 * All instances that a relation leads to from the rows of `model` with the key values, each once. The
 * steps of `relation` may be associations of any kind, through models included.
 *
 * @example
 * class TagsOfPost extends RelatedQuerysetCache<Post, Tag> {
 *   static model = Post;
 *   static keyFields = ['id'] as const;
 *   static relation = 'tags';
 * }
 */
export abstract class RelatedQuerysetCache<
  M extends Model,
  R extends Model,
  K extends readonly string[] = readonly string[],
> extends CacheClassQuery<M, K, ListArguments<M, K>> {
  /** Of `InstanceCache`: it has no effect here. */
  declare readonly getInstance?: never;
  /** Of `InstanceCache`: it has no effect here. */
  declare readonly getInstances?: never;
  /** Of `QuerysetCache`: it has no effect here. */
  declare readonly getResult?: never;
  /** Of `QuerysetCache`: it has no effect here. */
  declare readonly getResults?: never;

  /** The related instances, in the order in which they are come to. Throws what `QuerysetCache.resolve` throws. */
  async resolve(options: ReadOptions = {}): Promise<R[]> {
    return (await this.read(options)) as R[];
  }

  static {
    markFamily(RelatedQuerysetCache, 'related-queryset');
  }
}
