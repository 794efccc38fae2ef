/** A model's attributes as the cache sees them: what to store, what can be a key, and how. */
import type { Model, ModelAttributeColumnOptions, ModelStatic } from 'sequelize';
import type { CellColumn } from '../entries/codec.js';
import { keyType, type KeyKind, type KeyType } from '../entries/key-types.js';
import { NotCacheable } from './not-cacheable.js';

/** One stored attribute of a model. */
export interface Column extends CellColumn {
  /** The attribute's name. */
  readonly name: string;
  /** The column's name in the table. */
  readonly field: string;
  /** How values become key values; `undefined` where the type cannot be a key (JSON, GEOMETRY …). */
  readonly key: KeyType | undefined;
  /** The name of its type, for messages. */
  readonly type: string;
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
  readonly _decimals?: unknown;
  readonly _unsigned?: unknown;
  readonly options?: { readonly length?: unknown; readonly scale?: unknown };
  readonly values?: unknown;
  readonly fields?: unknown;
  toSql?(): string;
  stringify?(value: unknown, options: object): unknown;
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
  const clock = clockOf(model);
  for (const [name, attribute] of Object.entries(model.getAttributes())) {
    if (!isVirtual(attribute)) columns.set(name, columnOf(name, attribute, clock));
  }
  return columns;
}

/** The primary key's columns, in order. @throws NotCacheable */
export function primaryKeyOf(model: ModelStatic<Model>, columns: ReadonlyMap<string, Column>): readonly KeyColumn[] {
  const names = model.primaryKeyAttributes;
  if (names.length === 0) {
    throw new NotCacheable(
      'primary-key',
      `Model ${model.name} has no primary key, so its rows cannot be told apart. Declare one, or do not cache this model.`,
    );
  }
  return names.map((name) => {
    const column = columns.get(name);
    if (column === undefined || !isKeyColumn(column)) {
      throw new NotCacheable(
        'primary-key',
        `The primary key '${name}' of model ${model.name} has the type ${column?.type ?? 'VIRTUAL'}, whose values cannot be told apart by the cache. Declare another one, or do not cache this model.`,
      );
    }
    return column;
  });
}

/** The columns of the primary key that can be key values, of a model that is not cached. */
export function keyColumnsOf(model: ModelStatic<Model>, columns: ReadonlyMap<string, Column>): readonly KeyColumn[] {
  return model.primaryKeyAttributes.flatMap((name) => {
    const column = columns.get(name);
    return column !== undefined && isKeyColumn(column) ? [column] : [];
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

/** The clock of the time zone in which a model's dates are written. */
interface ZoneClock {
  readonly timezone: string | undefined;
  /** Minutes ahead of UTC, where that is always the same. */
  readonly offset: number | undefined;
}

function clockOf({ sequelize }: ModelStatic<Model>): ZoneClock {
  const { timezone } = (sequelize as unknown as { readonly options: { readonly timezone?: string } } | undefined)?.options ?? {};
  // SQLite knows no time zone: Sequelize writes UTC, and says so in the text.
  if (sequelize?.getDialect() === 'sqlite') return { timezone, offset: 0 };
  const fixed = /^([+-])(\d\d?):?(\d\d)$/.exec(timezone ?? '');
  if (fixed === null) return { timezone, offset: timezone === 'Z' || timezone === 'UTC' ? 0 : undefined };
  const minutes = Number(fixed[2]) * 60 + Number(fixed[3]);
  return { timezone, offset: fixed[1] === '-' ? -minutes : minutes };
}

/**
 * The second that a clock on the wall shows at a moment, as the column holds it. Two moments of the
 * hour that a zone has twice are one to the database, and so they are here.
 */
function wallSecond(type: RuntimeType, { timezone, offset }: ZoneClock): (milliseconds: number) => number {
  if (offset !== undefined) return (milliseconds) => Math.floor((milliseconds + offset * 60_000) / 1000);
  return (milliseconds) => {
    // Sequelize's own text: nobody else knows which zone it takes this for.
    const text = type.stringify?.(new Date(milliseconds), { timezone });
    const shown = typeof text === 'string' ? Date.parse(`${text.slice(0, 19).replace(' ', 'T')}Z`) : Number.NaN;
    return Math.floor((Number.isNaN(shown) ? milliseconds : shown) / 1000);
  };
}

function columnOf(name: string, attribute: ModelAttributeColumnOptions, clock: ZoneClock): Column {
  const type = runtimeType(attribute);
  const typeKey = typeof type.key === 'string' ? type.key : 'unknown';
  const binary = type._binary === true;
  const mapped = kinds.get(typeKey);
  const kind: KeyKind | undefined = mapped === 'text' && binary ? 'binary-text' : mapped;
  const limits = {
    length: typeKey === 'BLOB' || typeKey === 'TEXT' ? capacity(typeKey, type._length) : numberOf(type._length ?? type.options?.length),
    range: rangeOf(typeKey, type._unsigned === true),
    scale: numberOf(type._scale ?? type._decimals ?? type.options?.scale),
    members: stringsOf(type.values),
    wallSecond: wallSecond(type, clock),
  };
  return {
    name,
    field: attribute.field ?? name,
    isDate: typeKey === 'DATE',
    plain: plainTypes.get(kind ?? ''),
    key: kind === undefined ? undefined : keyType(kind, limits),
    type: typeKey,
    description: `${typeKey}${binary ? ' BINARY' : ''}(${JSON.stringify({ ...limits, range: limits.range?.map(String), ...(typeKey === 'DATE' ? { timezone: clock.timezone } : {}) })})`,
  };
}

/** What drivers usually hand out, where that is one type. Others are told apart by tags. */
const plainTypes: ReadonlyMap<string, 'string' | 'number' | 'boolean'> = new Map([
  ['text', 'string'],
  ['binary-text', 'string'],
  ['uuid', 'string'],
  ['enum', 'string'],
  ['time', 'string'],
  ['dateonly', 'string'],
  ['decimal', 'string'],
  ['integer', 'number'],
  ['float', 'number'],
  ['boolean', 'boolean'],
]);

/** How much a TEXT (in characters, should each take four bytes) or BLOB (in bytes) is sure to hold. */
function capacity(typeKey: string, size: unknown): number | undefined {
  const bytes = size === 'tiny' ? 255 : size === undefined || size === '' ? 65_535 : undefined;
  return bytes === undefined ? undefined : typeKey === 'TEXT' ? Math.floor(bytes / 4) : bytes;
}

const bits: ReadonlyMap<string, bigint> = new Map([
  ['TINYINT', 8n],
  ['SMALLINT', 16n],
  ['MEDIUMINT', 24n],
  ['INTEGER', 32n],
  ['BIGINT', 64n],
]);

function rangeOf(typeKey: string, unsigned: boolean): readonly [bigint, bigint] | undefined {
  const size = bits.get(typeKey);
  if (size === undefined) return undefined;
  return unsigned ? [0n, 2n ** size - 1n] : [-(2n ** (size - 1n)), 2n ** (size - 1n) - 1n];
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
