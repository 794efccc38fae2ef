/** Reads for a statement's plan what only the database knows: rows as they are before it and after it. */
import type { Transaction } from 'sequelize';
import type { BoundModel } from '../caches/registry.js';
import type { Canonical } from '../entries/key-types.js';
import { publish, type WideReason } from '../events.js';
import { readCascade, voidReached, type CascadePlan } from './cascades.js';
import type { Effects } from './effects.js';
import { imagesFoundAndLocked, imagesOf, imagesWhere, type Image, type RowLock } from './images.js';
import { mayHaveJoined } from './matched-rows.js';
import { isVictim } from './own-statements.js';
import type { ModelPlan, WritePlan } from './writes.js';

/** What was read before a statement. */
export interface Before {
  /**
   * The rows as they were, by the plan's models, and by those that follow them by foreign keys. A model is
   * missing if its table is void as a whole.
   */
  readonly rows: ReadonlyMap<ModelPlan, readonly Image[]>;
  /** How many rows there were from which foreign keys were followed. */
  readonly parents: number | undefined;
}

/** Nothing was read. */
export const nothingRead: Before = Object.freeze({ rows: new Map(), parents: undefined });

/**
 * How rows are locked that a condition names.
 * - `'scan'`: by the condition, as the statement itself does. This waits for every row that it passes.
 * - `'find first'`: those that a read without locks has found. At READ COMMITTED an UPDATE does not wait
 *   for locked rows that do not match, so neither must the read before it.
 */
export type LockBy = 'scan' | 'find first';

/** Reads and locks the rows that a statement will change, and adds them to its effects. */
export async function readBefore(plan: WritePlan, most: number, transaction: Transaction | null, lockBy: LockBy): Promise<Before> {
  const found = new Map<ModelPlan, readonly Image[]>();
  for (const model of plan.models) {
    if (!model.readBefore) continue;
    const { bound } = model;
    const images = await lock(model, most, transaction, lockBy);
    if (typeof images === 'string') {
      plan.effects.table(bound, images);
      continue;
    }
    found.set(model, images);
    for (const { primaryKey, values } of images) {
      plan.effects.row(bound, primaryKey);
      if (plan.effects.before(bound, model.set, values).length > 0) plan.effects.table(bound, 'unknown-rows');
    }
  }
  const parents = plan.cascade === undefined ? undefined : await readFollowers(plan.cascade, plan.effects, most, transaction, lockBy, found);
  return { rows: found, parents };
}

function lock(
  { bound, primaryKeys, where }: ModelPlan,
  most: number,
  transaction: Transaction | null,
  lockBy: LockBy,
): Promise<readonly Image[] | WideReason> {
  if (primaryKeys !== undefined) return imagesOf(bound, primaryKeys, transaction, 'lock');
  if (lockBy === 'scan' || transaction === null) return imagesWhere(bound, where, most, transaction, 'lock');
  return imagesFoundAndLocked(bound, where, most, transaction);
}

/**
 * Reads and locks the rows that follow by foreign keys, and adds them to those that were found.
 * @returns how many rows they follow; undefined if not all are known
 */
async function readFollowers(
  cascade: CascadePlan,
  effects: Effects,
  most: number,
  transaction: Transaction | null,
  lockBy: LockBy,
  found: Map<ModelPlan, readonly Image[]>,
): Promise<number | undefined> {
  if (lockBy === 'find first') {
    voidReached(cascade, effects);
    return undefined;
  }
  const { followers, parents } = await readCascade(cascade, { effects, most, transaction }, found);
  for (const { bound, set, images, readAfter: reads } of followers) {
    const primaryKeys = images.map(({ primaryKey }) => primaryKey);
    found.set({ bound, set, primaryKeys, where: undefined, readBefore: false, readAfter: reads, inserted: [] }, images);
  }
  return parents;
}

/** The models of which not all changed rows are known: others may have joined those that were read, before the statement ran. */
export function joinedModels({ cascade }: WritePlan, { rows, parents }: Before, matched: number | undefined, gapLock: boolean): readonly BoundModel[] {
  const joined = [...rows]
    .filter(([{ primaryKeys }, { length }]) => mayHaveJoined({ found: length, asked: primaryKeys?.length }, matched, gapLock))
    .map(([{ bound }]) => bound);
  if (cascade === undefined || parents === undefined) return joined;
  return joined.length > 0 || mayHaveJoined({ found: parents, asked: cascade.asked }, matched, gapLock) ? [...joined, ...cascade.reached] : joined;
}

/** Adds to a statement's effects the ids that the database chose, and the rows as they are after it. */
export async function readAfter(plan: WritePlan, before: Before, transaction: Transaction | null, rowLock: RowLock): Promise<void> {
  const { effects } = plan;
  for (const model of new Set([...plan.models, ...before.rows.keys()])) {
    const { bound, inserted, set } = model;
    const { cached } = bound;
    const primaryKeys = [...(model.primaryKeys ?? before.rows.get(model)?.map(({ primaryKey }) => primaryKey) ?? [])];
    for (const instance of inserted) {
      const primaryKey = cached.keyValues(instance, cached.primaryKey);
      // Of a bulk insert the ids come with its hook; of a failed one there are none.
      if (primaryKey === undefined || primaryKey.includes(null)) continue;
      effects.row(bound, primaryKey);
      primaryKeys.push(primaryKey);
    }
    if (!model.readAfter || primaryKeys.length === 0) continue;
    const images = await imagesAfter(model, primaryKeys, transaction, rowLock);
    if (typeof images === 'string') effects.table(bound, images);
    else if (images.some(({ values }) => effects.after(bound, set, values).length > 0)) effects.table(bound, 'unknown-rows');
  }
}

async function imagesAfter(
  { bound }: ModelPlan,
  primaryKeys: readonly (readonly Canonical[])[],
  transaction: Transaction | null,
  rowLock: RowLock,
): Promise<readonly Image[] | WideReason> {
  try {
    return await imagesOf(bound, primaryKeys, transaction, rowLock);
  } catch (cause) {
    // The transaction is gone, and the statement with it.
    if (isVictim(cause)) throw cause;
    publish('error', () => ({ operation: 'read after write', cause }));
    return 'unknown-rows';
  }
}
