/**
 * Relations as chains of lookups: each step leads from a row to the rows of an association, through
 * caches of the models on the way. What a chain answers is put together from entries that are each
 * voided by writes to their own row, so no write has to know who is related to it.
 */
import type { BelongsTo, BelongsToMany, HasMany, HasOne, Model, ModelStatic } from 'sequelize';
import { InvalidCacheClassError } from '../errors.js';
import type { Canonical } from '../entries/key-types.js';
import { ownValues } from '../models/hydrate.js';
import { show } from '../options.js';
import type { BoundCache, ListCache, SimpleCache } from './bound-cache.js';
import { suggestion } from './key-fields.js';

/** A cache that a step needs of a model: the row, or the rows, with a value of one attribute. */
export interface StepCache {
  readonly model: ModelStatic<Model>;
  readonly kind: 'simple' | 'list';
  readonly attribute: string;
}

/** One lookup of a step: the value of an attribute of the row that it comes from, in a cache. */
export interface Hop {
  readonly from: string;
  readonly cache: StepCache;
}

/** One association as lookups: one, or two where a through model is between. */
export interface Step {
  readonly as: string;
  readonly target: ModelStatic<Model>;
  /** It leads to any number of rows. */
  readonly many: boolean;
  readonly hops: readonly [Hop, then?: Hop];
  /** The name of the through model, under which its row comes with the instance. */
  readonly through: string | undefined;
}

/** The step of an association. @throws InvalidCacheClassError that begins with `who` */
export function stepOf(model: ModelStatic<Model>, as: string, who: string): Step {
  const association = Object.hasOwn(model.associations, as) ? model.associations[as] : undefined;
  if (association === undefined) {
    throw new InvalidCacheClassError(
      `${who}: '${as}' is not an association of model ${model.name}${suggestion(as, Object.keys(model.associations))} (Associations must be declared before setupCache.)`,
    );
  }
  const { target, scope } = association as unknown as { readonly target: ModelStatic<Model>; readonly scope?: object };
  const refuse = (why: string): never => {
    throw new InvalidCacheClassError(`${who}: the association '${as}' of model ${model.name} ${why}, so rows are not found by a key alone. Use an association without.`);
  };
  if (scope !== undefined && Reflect.ownKeys(scope).length > 0) refuse('has a scope');
  if ((target as { readonly scoped?: boolean }).scoped === true) refuse(`leads to a scoped ${target.name}`);
  const one = (from: string, cache: StepCache, many: boolean): Step => ({ as, target, many, hops: [{ from, cache }], through: undefined });
  switch (association.associationType) {
    case 'BelongsTo': {
      const { foreignKey, targetKey } = association as BelongsTo & { readonly targetKey: string };
      return one(foreignKey, { model: target, kind: 'simple', attribute: targetKey }, false);
    }
    case 'HasOne': {
      const { foreignKey, sourceKey } = association as HasOne & { readonly sourceKey: string };
      return one(sourceKey, { model: target, kind: 'simple', attribute: foreignKey }, false);
    }
    case 'HasMany': {
      const { foreignKey, sourceKey } = association as HasMany & { readonly sourceKey: string };
      return one(sourceKey, { model: target, kind: 'list', attribute: foreignKey }, true);
    }
    default: {
      const { foreignKey, otherKey, sourceKey, targetKey, through } = association as BelongsToMany & {
        readonly sourceKey: string;
        readonly targetKey: string;
        readonly through: { readonly model: ModelStatic<Model>; readonly scope?: object };
      };
      if (through.scope !== undefined) refuse('has a scope on its through model');
      if (Reflect.ownKeys(through.model.options.defaultScope ?? {}).length > 0) refuse(`has the through model ${through.model.name} with a default scope`);
      return {
        as,
        target,
        many: true,
        hops: [
          { from: sourceKey, cache: { model: through.model, kind: 'list', attribute: foreignKey } },
          { from: otherKey, cache: { model: target, kind: 'simple', attribute: targetKey } },
        ],
        through: through.model.name,
      };
    }
  }
}

/** The steps of `static relation`. @throws InvalidCacheClassError */
export function stepsOf(model: ModelStatic<Model>, relation: unknown, who: string): readonly Step[] {
  if (typeof relation !== 'string' || relation === '') {
    throw new InvalidCacheClassError(`${who} needs 'static relation = …', an association's name, or several as 'event.venue'; received ${show(relation)}.`);
  }
  const steps: Step[] = [];
  let at = model;
  for (const as of relation.split('.')) {
    const step = stepOf(at, as, `${who}.relation`);
    steps.push(step);
    at = step.target;
  }
  return steps;
}

/** Associations that come with an instance, and with those in turn. */
export interface Inclusion {
  readonly step: Step;
  readonly include: readonly Inclusion[];
}

/**
 * The associations of `static include`: names, or `{ association, include }`.
 * @throws InvalidCacheClassError
 */
export function inclusionsOf(model: ModelStatic<Model>, include: unknown, who: string): readonly Inclusion[] {
  const items: readonly unknown[] = Array.isArray(include) ? include : [include];
  if (items.length === 0) throw new InvalidCacheClassError(`${who}.include is an empty list. Name associations of ${model.name}, or leave it out.`);
  const names = new Set<string>();
  return items.map((item) => {
    const { association, include: nested, ...more } =
      typeof item === 'string' ? { association: item } : typeof item === 'object' && item !== null ? (item as IncludeItem) : ({} as IncludeItem);
    if (typeof association !== 'string') {
      throw new InvalidCacheClassError(
        `${who}.include must be a list of associations of ${model.name} by name, such as ['event', { association: 'user', include: ['profile'] }]; received ${show(item)}.`,
      );
    }
    const [option] = Object.keys(more);
    if (option !== undefined) {
      throw new InvalidCacheClassError(
        `${who}.include: '${option}' of '${association}' cannot be cached: related rows are found by their keys alone. Leave it out, and choose among them afterwards.`,
      );
    }
    if (names.has(association)) throw new InvalidCacheClassError(`${who}.include names '${association}' twice.`);
    names.add(association);
    const step = stepOf(model, association, `${who}.include`);
    return { step, include: nested === undefined ? [] : inclusionsOf(step.target, nested, who) };
  });
}

interface IncludeItem {
  readonly association?: unknown;
  readonly include?: unknown;
  readonly [option: string]: unknown;
}

/** All caches that inclusions need. */
export function* cachesOf(inclusions: readonly Inclusion[]): Generator<StepCache> {
  for (const { step, include } of inclusions) {
    yield* hopsOf(step);
    yield* cachesOf(include);
  }
}

/** The caches that a step needs. */
export function* hopsOf({ hops }: Step): Generator<StepCache> {
  for (const hop of hops) if (hop !== undefined) yield hop.cache;
}

/** Finds the cache that was bound for a step. */
export type CacheFinder = (cache: StepCache) => SimpleCache | ListCache;

/** Answers one lookup of a chain; `undefined` where it is not in the cache and only that was asked. */
export type Ask = (cache: BoundCache, values: readonly Canonical[]) => Promise<unknown>;

/** Thrown inside a chain where a lookup with `cacheOnly` finds nothing. */
export class NotInCache extends Error {}

/** One related row, with the through model's row where there is one. */
export interface Related {
  readonly instance: Model;
  readonly link: Model | undefined;
}

/** The rows that a step leads to from one row. Lookups of one hop leave in the same tick. */
export async function follow(step: Step, row: Model, caches: CacheFinder, ask: Ask): Promise<readonly Related[]> {
  const [first, then] = step.hops;
  const found = await hop(first, row, caches, ask);
  if (then === undefined) return found.map((instance) => ({ instance, link: undefined }));
  const targets = await Promise.all(found.map(async (link) => ({ link, targets: await hop(then, link, caches, ask) })));
  return targets.flatMap(({ link, targets: [instance] }) => (instance === undefined ? [] : [{ instance, link }]));
}

async function hop({ from, cache }: Hop, row: Model, caches: CacheFinder, ask: Ask): Promise<readonly Model[]> {
  const bound = caches(cache);
  const key = bound.columns[0]?.key;
  const own = ownValues(row)[from] ?? null;
  // With `typeCast: false` the driver leaves every value as bytes.
  const value = key?.canonical(Buffer.isBuffer(own) && key.kind !== 'blob' ? own.toString() : own);
  // NULL refers to nothing, and what does not fit the column to no row.
  if (value === null || value === undefined) return [];
  const answer = await ask(bound, [value]);
  if (answer === undefined) throw new NotInCache();
  return Array.isArray(answer) ? (answer as Model[]) : answer === null ? [] : [answer as Model];
}
