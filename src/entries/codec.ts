/**
 * Row values as JSON by column position, exact for everything that a driver hands out.
 *
 * A cell that JSON holds exactly stands as itself; anything else is a tagged array. In a date
 * column a bare number is a Date in milliseconds. Nothing that is decoded is ever executed, and a
 * text that is not exactly what `encodeCells` writes is a `CorruptPayload`.
 */

/** The part of a column that the codec needs. */
export interface CellColumn {
  /** The column's values are `Date`s. */
  readonly isDate: boolean;
  /**
   * What the driver usually hands out for the column. Only that stands as itself in a cell; whatever
   * else is tagged, so that a cell of the wrong type is corrupt. Default: any of the three.
   */
  readonly plain?: 'string' | 'number' | 'boolean' | undefined;
}

/** The text under a key is not what was written there. It counts as a miss. */
export class CorruptPayload extends Error {}

/** A value cannot be stored exactly; it is served and not cached. */
export class NotSerialisable extends Error {}

/** One encoded cell. */
export type Cell = string | number | boolean | null | readonly [tag: string, value?: unknown, places?: readonly Place[]];

/** Where in a JSON value something is: names and indices, from the outside. */
type Place = readonly (string | number)[];

/** Encodes one value. @throws NotSerialisable */
export function encodeCell(value: unknown, column: CellColumn): Cell {
  const { plain } = column;
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return plain === undefined || typeof value === plain ? value : ['v', value];
    case 'number':
      if (!column.isDate && isPlainNumber(value) && (plain === undefined || plain === 'number')) return value;
      return ['n', Object.is(value, -0) ? '-0' : String(value)];
    case 'bigint':
      return ['i', String(value)];
    case 'undefined':
      return ['u'];
    case 'object':
      if (value === null) return null;
      if (value instanceof Date) {
        const time = value.getTime();
        if (Number.isNaN(time)) return ['d'];
        return column.isDate ? time : ['d', time];
      }
      if (Buffer.isBuffer(value)) return ['b', value.toString('base64')];
      return encodeJson(value);
    default:
      throw new NotSerialisable(`a ${typeof value}`);
  }
}

/** Decodes one cell. @throws CorruptPayload */
export function decodeCell(cell: unknown, column: CellColumn): unknown {
  switch (typeof cell) {
    case 'number':
      if (column.isDate) return dateOf(cell);
      if (isPlainNumber(cell) && (column.plain === undefined || column.plain === 'number')) return cell;
      break;
    case 'string':
    case 'boolean':
      if (column.plain === undefined || column.plain === typeof cell) return cell;
      break;
    default:
      if (cell === null) return null;
      if (Array.isArray(cell)) return decodeTagged(cell, column);
  }
  throw new CorruptPayload('a cell of another type than its column');
}

function decodeTagged(cell: readonly unknown[], column: CellColumn): unknown {
  const [tag, value] = cell;
  if (cell.length === 1) {
    if (tag === 'u') return undefined;
    if (tag === 'd') return new Date(Number.NaN);
  }
  if (cell.length === 2) {
    switch (tag) {
      case 'j':
        if (typeof value === 'object' && value !== null) return checkedJson(value);
        break;
      case 'b':
        if (typeof value === 'string' && isBase64(value)) return Buffer.from(value, 'base64');
        break;
      case 'd':
        if (typeof value === 'number') return dateOf(value);
        break;
      case 'n':
        if (typeof value === 'string' && isNumeral(value)) return Number(value);
        break;
      case 'i':
        if (typeof value === 'string' && /^(0|-?[1-9]\d*)$/.test(value)) return BigInt(value);
        break;
      case 'v':
        if ((typeof value === 'string' || typeof value === 'boolean') && column.plain !== undefined && typeof value !== column.plain) return value;
        break;
      default:
    }
  }
  if (cell.length === 3 && tag === 'z' && typeof value === 'object') return decodeJson(cell);
  throw new CorruptPayload(`an unknown cell ${typeof tag === 'string' ? tag.slice(0, 20) : typeof tag}`);
}

/** Whether JSON holds a number exactly. */
const isPlainNumber = (value: number): boolean => Number.isFinite(value) && !Object.is(value, -0);

/** Whether a text is what `String` makes of a number. */
const isNumeral = (text: string): boolean => text === '-0' || String(Number(text)) === text;

/** Buffer.from would skip whatever is not base64. */
const isBase64 = (text: string): boolean => text.length % 4 === 0 && /^[A-Za-z0-9+/]*={0,2}$/.test(text);

function dateOf(time: number): Date {
  const date = new Date(time);
  // Not a whole number of milliseconds, or too far away.
  if (date.getTime() !== time) throw new CorruptPayload('a time that is none');
  return date;
}

/** A JSON value as it is written here: an application's own JSON.stringify must not overflow the stack. */
function checkedJson<T>(value: T): T {
  try {
    if (!assertJson(value)) return value;
  } catch (cause) {
    if (!(cause instanceof NotSerialisable)) throw cause;
    throw new CorruptPayload('a JSON value that is not written so', { cause });
  }
  throw new CorruptPayload('a negative zero that is written as such');
}

/**
 * A JSON value as a cell: JSON has no negative zero, so the places of those are told beside it.
 * @throws NotSerialisable
 */
export function encodeJson(value: unknown): Cell {
  if (!assertJson(value)) return ['j', value];
  return ['z', value, [...negativeZeros(value, [])]];
}

/** The JSON value of a cell. @throws CorruptPayload */
export function decodeJson(cell: unknown): unknown {
  const [tag, value, places, ...more] = Array.isArray(cell) ? (cell as readonly unknown[]) : [];
  if (tag === 'j' && (cell as unknown[]).length === 2) return checkedJson(value);
  if (tag !== 'z' || !Array.isArray(places) || places.length === 0 || more.length > 0) throw new CorruptPayload('a JSON value in another form');
  const holder = { value: checkedJson(value) };
  for (const place of places as readonly unknown[]) setNegativeZero(holder, place);
  return holder.value;
}

function* negativeZeros(value: unknown, place: Place): Generator<Place> {
  if (Object.is(value, -0)) yield place;
  if (typeof value !== 'object' || value === null) return;
  for (const [name, item] of Object.entries(value)) yield* negativeZeros(item, [...place, Array.isArray(value) ? Number(name) : name]);
}

function setNegativeZero(holder: object, place: unknown): void {
  const path: readonly unknown[] = ['value', ...(Array.isArray(place) ? (place as unknown[]) : [undefined])];
  let at: unknown = holder;
  for (const [step, name] of path.entries()) {
    const isName = typeof name === 'string' || typeof name === 'number';
    if (typeof at !== 'object' || at === null || !isName || !Object.hasOwn(at, name)) break;
    const item: unknown = Reflect.get(at, name);
    if (step < path.length - 1) {
      at = item;
      continue;
    }
    if (item !== 0) break;
    // Not an assignment: `__proto__` may be the name of data.
    Object.defineProperty(at, name, { value: -0, configurable: true, enumerable: true, writable: true });
    return;
  }
  throw new CorruptPayload('a negative zero where there is none');
}

/** JSON of a body, for `parseBody`. */
export function bodyText(body: readonly unknown[]): string {
  return JSON.stringify(body);
}

/** The array that a value's body holds. @throws CorruptPayload */
export function parseBody(text: string, head: number): unknown[] {
  let body: unknown;
  try {
    body = JSON.parse(text.slice(head));
  } catch (cause) {
    throw new CorruptPayload('not JSON', { cause });
  }
  if (!Array.isArray(body)) throw new CorruptPayload('not an array');
  return body;
}

const maxDepth = 200;

function nameOfClass(prototype: unknown): string {
  const name: unknown = (prototype as { readonly constructor?: { readonly name?: unknown } } | null)?.constructor?.name;
  return typeof name === 'string' && name !== '' ? ` (${name})` : '';
}

/** Checks that JSON holds a value, exactly but for negative zeros. Returns whether it has any. @throws NotSerialisable */
export function assertJson(value: unknown, depth = 0): boolean {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return false;
    case 'number':
      if (!Number.isFinite(value)) throw new NotSerialisable('a number that JSON cannot hold');
      return Object.is(value, -0);
    case 'object':
      break;
    default:
      throw new NotSerialisable(value === undefined ? 'undefined in a JSON value' : `a ${typeof value} in a JSON value`);
  }
  if (value === null) return false;
  if (depth > maxDepth) throw new NotSerialisable('a JSON value that is nested too deeply, or in itself');
  const isArray = Array.isArray(value);
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== (isArray ? Array.prototype : Object.prototype)) {
    throw new NotSerialisable(`an object of a class of its own${nameOfClass(prototype)}`);
  }
  // Data of that name is fine, a method replaces what JSON.stringify writes.
  if (typeof (value as { readonly toJSON?: unknown }).toJSON === 'function') throw new NotSerialisable('an object with a toJSON method');
  let hasNegativeZero = false;
  for (const item of isArray ? value : Object.values(value)) hasNegativeZero = assertJson(item, depth + 1) || hasNegativeZero;
  return hasNegativeZero;
}
