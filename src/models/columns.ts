/** A model's attributes as the cache sees them: what to store, what can be a key, and how. */
import type { Model, ModelAttributeColumnOptions, ModelStatic } from 'sequelize';
import { NoPrimaryKeyError } from '../errors.js';
import type { CellColumn } from '../entries/codec.js';
import { keyType, type KeyKind, type KeyType } from '../entries/key-types.js';

/** One stored attribute of a model. */
export interface Column extends CellColumn {
  /** The attribute's name. */
  readonly name: string;
  /** The column's name in the table. */
  readonly field: string;
  /** How values become key values; `undefined` where the type cannot be a key (JSON, GEOMETRY …). */
  readonly key: KeyType | undefined;
  /** Says which values it can hold, for fingerprints. */
  readonly description: string;
}

/** A column that can be part of a key. */
export interface KeyColumn extends Column {
  readonly key: KeyType;
}

/** What the data types of Sequelize have at run time beyond their declared types. */
interface RuntimeType {
  readonly key?: unknown;
  readonly _binary?: unknown;
  readonly _length?: unknown;
  readonly _scale?: unknown;
  readonly options?: { readonly length?: unknown; readonly scale?: unknown };
  readonly values?: unknown;
  readonly fields?: unknown;
  toSql?(): string;
}

const kinds: ReadonlyMap<string, KeyKind> = new Map<string, KeyKind>([
  ['STRING', 'text'],
  ['CHAR', 'text'],
  ['TEXT', 'text'],
  ['CITEXT', 'text'],
  ['INTEGER', 'integer'],
  ['TINYINT', 'integer'],
  ['SMALLINT', 'integer'],
  ['MEDIUMINT', 'integer'],
  ['BIGINT', 'integer'],
  ['DECIMAL', 'decimal'],
  ['FLOAT', 'float'],
  ['REAL', 'float'],
  ['DOUBLE PRECISION', 'float'],
  ['BOOLEAN', 'boolean'],
  ['DATE', 'date'],
  ['DATEONLY', 'dateonly'],
  ['TIME', 'time'],
  ['UUID', 'uuid'],
  ['UUIDV1', 'uuid'],
  ['UUIDV4', 'uuid'],
  ['ENUM', 'enum'],
  ['BLOB', 'blob'],
]);

/** The stored (not virtual) attributes of a model, by name, in the order of their declaration. */
export function columnsOf(model: ModelStatic<Model>): ReadonlyMap<string, Column> {
  const columns = new Map<string, Column>();
  for (const [name, attribute] of Object.entries(model.getAttributes())) {
    if (!isVirtual(attribute)) columns.set(name, columnOf(name, attribute));
  }
  return columns;
}

/** The primary key's columns, in order. @throws NoPrimaryKeyError */
export function primaryKeyOf(model: ModelStatic<Model>, columns: ReadonlyMap<string, Column>): readonly KeyColumn[] {
  const names = model.primaryKeyAttributes;
  if (names.length === 0) {
    throw new NoPrimaryKeyError(
      `Model ${model.name} has no primary key, so its rows cannot be told apart. Declare one, or do not cache this model.`,
    );
  }
  return names.map((name) => {
    const column = columns.get(name);
    if (column === undefined || !isKeyColumn(column)) {
      throw new NoPrimaryKeyError(
        `The primary key '${name}' of model ${model.name} has the type ${column?.description ?? 'VIRTUAL'}, which cannot be a key.`,
      );
    }
    return column;
  });
}

/** Whether values of this column can be key values. */
export function isKeyColumn(column: Column): column is KeyColumn {
  return column.key !== undefined;
}

/** Whether an attribute is computed and has no column. */
export function isVirtual(attribute: ModelAttributeColumnOptions): boolean {
  return runtimeType(attribute).key === 'VIRTUAL';
}

/** The attributes that a virtual attribute is computed from. */
export function virtualDependencies(attribute: ModelAttributeColumnOptions): readonly string[] {
  const { fields } = runtimeType(attribute);
  return Array.isArray(fields) ? fields.filter((field): field is string => typeof field === 'string') : [];
}

function columnOf(name: string, attribute: ModelAttributeColumnOptions): Column {
  const type = runtimeType(attribute);
  const typeKey = typeof type.key === 'string' ? type.key : 'unknown';
  const binary = type._binary === true;
  const mapped = kinds.get(typeKey);
  const kind: KeyKind | undefined = mapped === 'text' && binary ? 'binary-text' : mapped;
  const limits = {
    length: typeKey === 'BLOB' ? undefined : numberOf(type._length ?? type.options?.length),
    scale: numberOf(type._scale ?? type.options?.scale),
    members: stringsOf(type.values),
  };
  return {
    name,
    field: attribute.field ?? name,
    isDate: typeKey === 'DATE',
    key: kind === undefined ? undefined : keyType(kind, limits),
    description: `${typeKey}${binary ? ' BINARY' : ''}(${JSON.stringify(limits)})`,
  };
}

function runtimeType(attribute: ModelAttributeColumnOptions): RuntimeType {
  const type: unknown = attribute.type;
  return typeof type === 'object' && type !== null ? type : typeof type === 'string' ? { key: type } : {};
}

function numberOf(value: unknown): number | undefined {
  const number = typeof value === 'string' ? Number.parseInt(value, 10) : value;
  return typeof number === 'number' && Number.isFinite(number) ? number : undefined;
}

function stringsOf(value: unknown): readonly string[] | undefined {
  return Array.isArray(value) && value.every((item) => typeof item === 'string') ? value : undefined;
}
