/**
 * Key fields: what a cache is keyed on, and how a parameter becomes canonical key values.
 *
 * A key field is a plain attribute, a belongsTo association by its name, or a generic foreign key
 * (a pair of type and id columns).
 */
import { Model, type BelongsTo, type ModelStatic } from 'sequelize';
import { InvalidKeyFieldError, WrongModelError } from '../errors.js';
import { misfitError, type Canonical } from '../entries/key-types.js';
import { isKeyColumn, type Column, type KeyColumn } from '../models/columns.js';
import type { GenericForeignKeys } from './generic-foreign-keys.js';
import { valueOfInstance } from './instances.js';

/** One key field of a cache. */
export interface KeyField {
  /** As declared: an attribute's, an association's or a generic foreign key's name. */
  readonly name: string;
  /** The attribute under which a bare id may be passed instead of an instance (`userId` for `user`). */
  readonly idName: string | undefined;
  /** An instance of another model can be its value. */
  readonly takesInstances: boolean;
  /** The columns behind it: one, or type and id. */
  readonly columns: readonly KeyColumn[];
  /**
   * The canonical values of a parameter, one per column.
   * @throws InvalidKeyValueError, WrongModelError, UnsavedInstanceError
   */
  read(value: unknown): readonly Canonical[];
  /** What a custom `getInstance` gets: the scalar, the id, or the pair of type and id. */
  argument(values: readonly Canonical[]): unknown;
}

/** Resolves a declared name. @throws InvalidKeyFieldError */
export function keyFieldOf(
  model: ModelStatic<Model>,
  columns: ReadonlyMap<string, Column>,
  generics: GenericForeignKeys,
  name: string,
  cache: string,
): KeyField {
  const generic = generics.find(name);
  if (generic !== undefined) {
    return {
      name,
      idName: undefined,
      takesInstances: true,
      columns: [generic.type, generic.id],
      read: (value) => generic.read(value),
      argument: ([type, id]) => (type == null || id == null ? null : [type, generic.id.key.queryValue(id)]),
    };
  }
  const association = Object.hasOwn(model.associations, name) ? model.associations[name] : undefined;
  if (association !== undefined) return associationField(model, columns, association, name, cache);
  const column = columns.get(name);
  if (column === undefined && Object.hasOwn(model.getAttributes(), name)) {
    throw new InvalidKeyFieldError(`Cache ${cache}: '${name}' of model ${model.name} is virtual; a key field needs a column.`);
  }
  if (column === undefined) {
    const known = [...columns.keys(), ...Object.keys(model.associations), ...generics.names];
    throw new InvalidKeyFieldError(
      `Cache ${cache}: '${name}' is neither an attribute nor an association nor a generic foreign key of model ${model.name}` +
        `${suggestion(name, known)} (Associations must be declared before setupCache.)`,
    );
  }
  const owner = Object.values(model.associations).find(
    (candidate) => candidate.associationType === 'BelongsTo' && candidate.foreignKey === name,
  );
  if (owner !== undefined) {
    throw new InvalidKeyFieldError(
      `Cache ${cache}: '${name}' is the column of the association '${owner.as}' of model ${model.name}. Use '${owner.as}' as key field; ` +
        `an id can still be passed, as { ${owner.as}: 7 } or { ${name}: 7 }.`,
    );
  }
  const part = generics.columnOwner(name);
  if (part !== undefined) {
    throw new InvalidKeyFieldError(
      `Cache ${cache}: '${name}' is a column of the generic foreign key '${part}' of model ${model.name}. Use '${part}' as key field.`,
    );
  }
  return scalarField(model, keyColumn(model, column, cache), name);
}

/** The end of a sentence: `; did you mean 'x'?` when one of the names is close, else a full stop. */
export function suggestion(name: string, known: readonly string[]): string {
  const close = known.find((other) => distance(name.toLowerCase(), other.toLowerCase()) <= 2);
  return close === undefined ? '.' : `; did you mean '${close}'?`;
}

function keyColumn(model: ModelStatic<Model>, column: Column, cache: string): KeyColumn {
  if (isKeyColumn(column)) return column;
  throw new InvalidKeyFieldError(
    `Cache ${cache}: '${column.name}' of model ${model.name} has the type ${column.type}, which cannot be a key field.`,
  );
}

function scalarField(model: ModelStatic<Model>, column: KeyColumn, name: string): KeyField {
  const label = `'${name}' of ${model.name}`;
  return {
    name,
    idName: undefined,
    takesInstances: false,
    columns: [column],
    read: (value) => [readScalar(label, column, column.key.expects, value)],
    argument: ([value]) => (value == null ? null : column.key.queryValue(value)),
  };
}

function associationField(
  model: ModelStatic<Model>,
  columns: ReadonlyMap<string, Column>,
  association: ModelStatic<Model>['associations'][string],
  name: string,
  cache: string,
): KeyField {
  if (association.associationType !== 'BelongsTo') {
    throw new InvalidKeyFieldError(
      `Cache ${cache}: the association '${name}' of model ${model.name} is a ${association.associationType}; only a BelongsTo has its column in this model's table.`,
    );
  }
  const { foreignKey, target, targetKey } = association as BelongsTo & { readonly targetKey: string };
  const column = columns.get(foreignKey);
  if (column === undefined) {
    throw new InvalidKeyFieldError(`Cache ${cache}: the association '${name}' of model ${model.name} has no column.`);
  }
  const key = keyColumn(model, column, cache);
  const label = `'${name}' of ${model.name}`;
  const expects = `a saved ${target.name} or its ${targetKey}, ${key.key.expects}`;
  return {
    ...scalarField(model, key, name),
    idName: foreignKey,
    takesInstances: true,
    read: (value) => [
      readScalar(label, key, expects, value instanceof Model ? valueOfInstance(label, value, target, targetKey) : value),
    ],
  };
}

function readScalar(label: string, column: KeyColumn, expects: string, value: unknown): Canonical {
  if (value instanceof Model) {
    throw new WrongModelError(`Key field ${label} must be ${expects}; received an instance of ${value.constructor.name}.`);
  }
  const canonical = column.key.canonical(value);
  if (canonical === undefined) throw misfitError(label, column.key, expects, value);
  return canonical;
}

/** Levenshtein's distance, given up beyond 2. */
export function distance(a: string, b: string): number {
  if (Math.abs(a.length - b.length) > 2) return 3;
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i += 1) {
    const next = [i];
    for (let j = 1; j <= b.length; j += 1) {
      next.push(
        Math.min((row[j] as number) + 1, (next[j - 1] as number) + 1, (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1)),
      );
    }
    row = next;
  }
  return row[b.length] as number;
}

