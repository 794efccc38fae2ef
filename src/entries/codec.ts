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
}

/** The text under a key is not what was written there. It counts as a miss. */
export class CorruptPayload extends Error {}

/** A value cannot be stored exactly; it is served and not cached. */
export class NotSerialisable extends Error {}

/** One encoded cell. */
export type Cell = string | number | boolean | null | readonly [tag: string, value?: unknown];

/** Encodes one value. @throws NotSerialisable */
export function encodeCell(value: unknown, column: CellColumn): Cell {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return value;
    case 'number':
      if (column.isDate || !Number.isFinite(value) || Object.is(value, -0)) return ['n', Object.is(value, -0) ? '-0' : String(value)];
      return value;
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
      assertJson(value, 0);
      return ['j', value];
    default:
      throw new NotSerialisable(`a ${typeof value}`);
  }
}

/** Decodes one cell. @throws CorruptPayload */
export function decodeCell(cell: unknown, column: CellColumn): unknown {
  if (typeof cell === 'number') return column.isDate ? new Date(cell) : cell;
  if (typeof cell !== 'object' || cell === null) return cell;
  if (!Array.isArray(cell)) throw new CorruptPayload('a cell is an object');
  const [tag, value] = cell as readonly unknown[];
  switch (tag) {
    case 'j':
      if (typeof value === 'object' && value !== null) return value;
      break;
    case 'b':
      if (typeof value === 'string') return Buffer.from(value, 'base64');
      break;
    case 'd':
      if (value === undefined) return new Date(Number.NaN);
      if (typeof value === 'number') return new Date(value);
      break;
    case 'n':
      if (typeof value === 'string') return Number(value);
      break;
    case 'i':
      if (typeof value === 'string' && /^-?\d+$/.test(value)) return BigInt(value);
      break;
    case 'u':
      return undefined;
    default:
  }
  throw new CorruptPayload(`an unknown cell ${JSON.stringify(tag)}`);
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

/** Whether a JSON column's value survives JSON exactly. @throws NotSerialisable */
function assertJson(value: unknown, depth: number): void {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return;
    case 'number':
      if (!Number.isFinite(value) || Object.is(value, -0)) throw new NotSerialisable('a number that JSON cannot hold');
      return;
    case 'object':
      break;
    default:
      throw new NotSerialisable(`a ${typeof value} in a JSON value`);
  }
  if (value === null) return;
  if (depth > maxDepth) throw new NotSerialisable('a JSON value that is nested too deeply');
  if (Array.isArray(value)) {
    for (const item of value) assertJson(item, depth + 1);
    return;
  }
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype || 'toJSON' in value) {
    throw new NotSerialisable('an object of a class of its own');
  }
  for (const item of Object.values(value)) assertJson(item, depth + 1);
}
