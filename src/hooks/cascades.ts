/**
 * Rows that the database itself changes because of a statement on another table: the rules ON DELETE
 * and ON UPDATE of foreign keys, as the models declare them.
 *
 * It starts from the written table, whether or not that is cached, and ends at the tables that are. Where
 * the written rows can be read before the statement, so can the rows that refer to them: these are void
 * one by one. Otherwise everything that is cached of their table is.
 */
import { Op, Transaction, type FindOptions, type Model, type ModelStatic, type WhereOptions } from 'sequelize';
import type { Reference, Rule } from '../caches/references.js';
import type { BoundModel, Registry } from '../caches/registry.js';
import type { KeyKind } from '../entries/key-types.js';
import { canonicalValues, tableName } from '../models/cached-model.js';
import { columnsOf, type Column, type KeyColumn } from '../models/columns.js';
import { dependsOnAfter, type Effects, type RowValues, type SetAttributes, isKnown } from './effects.js';
import { hasRowLocks, type Image } from './images.js';
import { noRetry } from './own-statements.js';

/** What happens to rows of a table. */
export interface Change {
  /** They are removed. */
  readonly removes: boolean;
  /** What they set, if anything, is NULL. */
  readonly nulls?: boolean;
  /** Whether it can set this column, which may be given by its attribute. */
  readonly sets: (column: string) => boolean;
}

/** Rows that a statement will change in other tables, to be read before it. */
export interface CascadePlan {
  readonly registry: Registry;
  readonly model: ModelStatic<Model>;
  /** Which rows of the model the statement changes. */
  readonly where: WhereOptions | undefined;
  /** How many rows it names by their primary keys; undefined where a condition says which. */
  readonly asked: number | undefined;
  readonly change: Change;
  /** The cached models of which rows can change. */
  readonly reached: readonly BoundModel[];
  /** Rows can join those that were read unless gaps are locked: see `needsGapLocks`. */
  readonly needsGaps: boolean;
}

/** Where a cascade is read, and what for. */
export interface CascadeScope {
  readonly effects: Effects;
  /** The most rows that are read; of more, everything is void. */
  readonly most: number;
  /** The transaction in which the rows stay locked. */
  readonly transaction: Transaction | null;
}

/** Rows of one cached model that a rule changes. */
export interface Followers {
  readonly bound: BoundModel;
  readonly set: SetAttributes;
  readonly images: readonly Image[];
  /** They are still there after the statement, with other values. */
  readonly readAfter: boolean;
}

type Row = Readonly<Record<string, unknown>>;

const removal: Change = { removes: true, sets: () => false };

function setting({ column, attribute }: Reference, rule: Rule): Change {
  const names = new Set([column.toLowerCase(), attribute.toLowerCase()]);
  return { removes: false, nulls: rule === 'set null', sets: (name) => names.has(name.toLowerCase()) };
}

/** What a rule makes of a change: undefined if nothing. */
function consequenceOf(reference: Reference, change: Change): Change | undefined {
  const { onDelete, onUpdate, keys } = reference;
  if (change.removes && onDelete !== 'none') return onDelete === 'remove' ? removal : setting(reference, onDelete);
  return onUpdate !== 'none' && keys.some((key) => change.sets(key)) ? setting(reference, onUpdate) : undefined;
}

/** The cached models of which rows change, in the end, when rows of a model do. */
export function reachedBy(registry: Registry, references: readonly Reference[], change: Change): readonly BoundModel[] {
  const reached = new Set<BoundModel>();
  const seen = new Set<string>();
  const visit = (these: readonly Reference[], by: Change): void => {
    for (const reference of these) {
      const next = consequenceOf(reference, by);
      if (next === undefined) continue;
      const { child, column } = reference;
      const place = JSON.stringify([tableName(child), next.removes || column]);
      if (seen.has(place)) continue;
      seen.add(place);
      for (const bound of registry.ofTable(child)) reached.add(bound);
      visit(registry.references.to(child), next);
    }
  };
  visit(references, change);
  return [...reached];
}

/**
 * Tells whether a foreign key on the way refers to another column than the primary key. An INSERT into the
 * child locks the parent's entry in the index of that column, which a lock on the row by its primary key
 * leaves free: only gap locks in the child keep the new row out.
 */
export function needsGapLocks(registry: Registry, model: ModelStatic<Model>, change: Change): boolean {
  const seen = new Set<string>();
  const visit = (parent: ModelStatic<Model>, by: Change): boolean =>
    registry.references.to(parent).some((reference) => {
      const next = consequenceOf(reference, by);
      if (next === undefined) return false;
      const { child, column } = reference;
      const [primary, ...more] = parent.primaryKeyAttributes;
      if (more.length > 0 || primary === undefined || keyAttribute(parent, reference) !== primary) return true;
      const place = JSON.stringify([tableName(child), next.removes || column]);
      if (seen.has(place)) return false;
      seen.add(place);
      return visit(child, next);
    });
  return visit(model, change);
}

/** Everything that a cascade can reach is void. */
export function voidReached({ reached }: Pick<CascadePlan, 'reached'>, effects: Effects): void {
  for (const bound of reached) effects.table(bound, 'cascade');
}

/**
 * Reads which rows a statement will change in other tables, and adds them to its effects.
 * The rows of the statement itself are locked first, as it does.
 * @param before rows that were read and locked already
 */
export async function readCascade(
  plan: CascadePlan,
  scope: CascadeScope,
  before: Iterable<readonly [{ readonly bound: BoundModel }, readonly Image[]]>,
): Promise<{ readonly followers: readonly Followers[]; readonly parents: number | undefined }> {
  const { registry, model, where, change } = plan;
  const { effects, most, transaction } = scope;
  const followers = new FollowersReader(registry, scope);
  const keys = followers.keysFor(model, change);
  const known = rowsAmong(before, model, keys);
  const rows = keys.length === 0 ? [] : (known ?? (await readRows(model, keys, where, most + 1, transaction)));
  if (rows.length > most) {
    voidReached(plan, effects);
    return { followers: [], parents: undefined };
  }
  await followers.follow(model, rows, change);
  return { followers: followers.found, parents: keys.length === 0 ? undefined : rows.length };
}

/** The rows of a model among those that were read, if they have what is needed of them. */
function rowsAmong(
  read: Iterable<readonly [{ readonly bound: BoundModel }, readonly Image[]]>,
  model: ModelStatic<Model>,
  keys: readonly string[],
): readonly Row[] | undefined {
  for (const [{ bound }, images] of read) {
    const columns = keys.map((name) => imageColumns(bound).find((column) => column.name === name));
    const isSame = bound.cached.table === tableName(model) && bound.cached.model.getAttributes() === model.getAttributes();
    if (isSame && columns.every((column) => column !== undefined)) return images.map(({ values }) => Object.fromEntries(columns.map((column) => [column.name, values(column)])));
  }
  return undefined;
}

/** Follows foreign keys from rows to the rows that refer to them, and so on. */
class FollowersReader {
  readonly found: Followers[] = [];
  readonly #registry: Registry;
  readonly #effects: Effects;
  readonly #transaction: Transaction | null;
  #left: number;
  /** The keys that were followed already, by reference: rows can refer to each other in a circle. */
  readonly #followed = new Map<string, Set<string>>();

  constructor(registry: Registry, { effects, most, transaction }: CascadeScope) {
    this.#registry = registry;
    this.#effects = effects;
    this.#left = most;
    this.#transaction = transaction;
  }

  /** The attributes of a model whose values say which rows follow. */
  keysFor(model: ModelStatic<Model>, change: Change): readonly string[] {
    const names = this.#steps(model, change).map(({ reference }) => keyAttribute(model, reference));
    return [...new Set(names.filter((name) => name !== undefined))];
  }

  /** Voids what refers to rows of a model, of which the values of `keysFor` are known. */
  async follow(model: ModelStatic<Model>, rows: readonly Row[], change: Change): Promise<void> {
    for (const { reference, next, reached } of this.#steps(model, change)) {
      const key = keyAttribute(model, reference);
      if (key === undefined || !isExact(reference.child, reference.attribute)) voidReached({ reached }, this.#effects);
      else if (rows.length > 0) await this.#followOne(reference, next, reached, this.#fresh(reference, next, rows.map((row) => askedFor(row[key]))));
    }
  }

  /** The foreign keys that matter: those by which something cached can change. */
  #steps(model: ModelStatic<Model>, change: Change): readonly { reference: Reference; next: Change; reached: readonly BoundModel[] }[] {
    return this.#registry.references.to(model).flatMap((reference) => {
      const next = consequenceOf(reference, change);
      const reached = next === undefined ? [] : reachedBy(this.#registry, [reference], change);
      return next === undefined || reached.length === 0 ? [] : [{ reference, next, reached }];
    });
  }

  /** Those of the values that were not followed yet. */
  #fresh({ child, column }: Reference, next: Change, values: readonly unknown[]): readonly unknown[] {
    const place = JSON.stringify([tableName(child), column, next.removes]);
    const followed = this.#followed.get(place) ?? new Set<string>();
    this.#followed.set(place, followed);
    return values.filter((value) => {
      const text = String(value);
      if (value == null || followed.has(text)) return false;
      followed.add(text);
      return true;
    });
  }

  async #followOne(reference: Reference, next: Change, reached: readonly BoundModel[], values: readonly unknown[]): Promise<void> {
    if (values.length === 0) return;
    const { child, column } = reference;
    const bounds = this.#registry.ofTable(child);
    const [first] = bounds;
    // The same rows, as each model of the table knows them.
    for (const model of bounds.length === 0 ? [child] : bounds.map(({ cached }) => cached.model)) {
      const bound = bounds.find(({ cached }) => cached.model === model);
      const attribute = bound === undefined ? reference.attribute : attributeFor(bound, column, next);
      const names = [...(bound === undefined ? [] : imageColumns(bound).map(({ name }) => name)), ...this.keysFor(model, next)];
      if (bound === undefined && names.length === 0) continue;
      const rows = attribute === undefined ? undefined : await readRows(model, names, { [attribute]: { [Op.in]: values } }, this.#left + 1, this.#transaction);
      if (attribute === undefined || rows === undefined || rows.length > this.#left) {
        voidReached({ reached }, this.#effects);
        return;
      }
      this.#left -= rows.length;
      if (bound !== undefined) this.#voidRows(bound, attribute, rows, next);
      // Further rows are the same for each model of the table.
      if (bound === first) await this.follow(model, rows, next);
    }
  }

  #voidRows(bound: BoundModel, attribute: string, rows: readonly Row[], { removes, nulls }: Change): void {
    if (!isKnown(bound)) {
      this.#effects.table(bound, 'cascade');
      return;
    }
    const set: SetAttributes = removes ? 'all' : new Set([attribute]);
    const images: Image[] = [];
    for (const row of rows) {
      const values: RowValues = ({ name }) => row[name];
      const later: RowValues = ({ name }) => (name === attribute ? null : row[name]);
      const primaryKey = canonicalValues(bound.cached.primaryKey, values);
      const unknown = this.#effects.before(bound, set, values).length > 0 || (nulls === true && this.#effects.after(bound, set, later).length > 0);
      if (primaryKey === undefined || unknown) {
        this.#effects.table(bound, 'cascade');
        return;
      }
      this.#effects.row(bound, primaryKey);
      images.push({ primaryKey, values });
    }
    const readAfter = !removes && nulls !== true && bound.all.some((cache) => dependsOnAfter(cache, set));
    if (images.length > 0) this.found.push({ bound, set, images, readAfter });
  }
}

/** The attribute of a foreign key's column; undefined where its rows cannot be told, because they move to another primary key. */
function attributeFor({ cached }: BoundModel, column: string, { removes }: Change): string | undefined {
  const found = cached.byField.get(column);
  return found !== undefined && (removes || !cached.primaryKey.some(({ name }) => name === found.name)) ? found.name : undefined;
}

const imageColumns = ({ cached, all }: BoundModel): readonly KeyColumn[] => [...cached.primaryKey, ...all.flatMap((cache) => cache.columns)];

/** The attribute that a foreign key refers to; undefined if that is not known. */
function keyAttribute(model: ModelStatic<Model>, { keys }: Reference): string | undefined {
  const named = (key: string): readonly Column[] => {
    const columns = [...columnsOf(model).values()];
    const byField = columns.filter(({ field }) => field.toLowerCase() === key.toLowerCase());
    return byField.length > 0 ? byField : columns.filter(({ name }) => name === key);
  };
  const [only, ...more] = new Set(keys.flatMap(named).map(({ name }) => name));
  return only !== undefined && more.length === 0 && isExact(model, only) ? only : undefined;
}

/** Kinds of columns whose values, as they were read, find the same rows again. */
const exact: ReadonlySet<KeyKind | undefined> = new Set<KeyKind>(['integer', 'text', 'binary-text', 'uuid', 'enum', 'decimal', 'dateonly']);

const isExact = (model: ModelStatic<Model>, attribute: string): boolean => exact.has(columnsOf(model).get(attribute)?.key?.kind);

/**
 * A value that was read, as a condition takes it: with `typeCast: false` the driver leaves texts as bytes,
 * which Sequelize's `typeValidation` refuses. All kinds that are `exact` are texts to the driver.
 */
const askedFor = (value: unknown): unknown => (Buffer.isBuffer(value) ? value.toString() : value);

async function readRows(
  model: ModelStatic<Model>,
  attributes: readonly string[],
  where: WhereOptions | undefined,
  limit: number,
  transaction: Transaction | null,
): Promise<readonly Row[]> {
  const { sequelize } = model;
  const options: FindOptions & { hooks: false; retry?: { max: number } } = {
    attributes: [...new Set(attributes)],
    ...(where === undefined ? {} : { where }),
    limit,
    raw: true,
    hooks: false,
    paranoid: false,
    useMaster: true,
    transaction,
    ...(transaction === null ? {} : noRetry),
    ...(transaction !== null && sequelize !== undefined && hasRowLocks(sequelize) ? { lock: Transaction.LOCK.UPDATE } : {}),
  };
  return (await model.unscoped().findAll(options)) as unknown as readonly Row[];
}
