/**
 * Canonical key values: for each kind of column, one text per value that the database would call
 * the same, and the bucket that a write voids.
 *
 * Pure: knows nothing of Sequelize's classes; `models/columns.ts` maps a model's attribute to one
 * of these kinds.
 */
import { createHash } from 'node:crypto';
import { InvalidKeyValueError } from '../errors.js';
import { show } from '../options.js';
import { foldText, withoutTrailingSpaces } from './fold.js';

/** A key value in canonical form; `null` is SQL's NULL. */
export type Canonical = string | null;

/** What a canonical value is given to the database as. */
export type QueryValue = string | number | boolean | Date | Buffer | null;

/** The kinds of columns that can be key fields. */
export type KeyKind =
  | 'integer'
  | 'decimal'
  | 'float'
  | 'text'
  | 'binary-text'
  | 'uuid'
  | 'enum'
  | 'boolean'
  | 'date'
  | 'dateonly'
  | 'time'
  | 'blob';

/** How values of one column become key values. */
export interface KeyType {
  readonly kind: KeyKind;
  /**
   * The canonical form of a value that a caller, a row or a statement holds.
   * Returns `undefined` for a value that does not fit the column's type; never guesses.
   */
  canonical(value: unknown): Canonical | undefined;
  /** The bucket: equal for all canonical values that the database may call equal. */
  bucket(canonical: string): string;
  /** The value to compare the column with in SQL. */
  queryValue(canonical: string): QueryValue;
  /**
   * Whether the database stores this value as it is, so that the canonical form of what was
   * written is that of what a read will return (up to its bucket).
   */
  storedAsGiven(canonical: string): boolean;
  /** What fits, for error messages. */
  readonly expects: string;
}

/** Limits of a column that decide whether a written value is stored unchanged. */
export interface ColumnLimits {
  /** Longest text in characters. */
  readonly length?: number | undefined;
  /** Digits after the decimal point. */
  readonly scale?: number | undefined;
  /** The least and the greatest integer. */
  readonly range?: readonly [least: bigint, greatest: bigint] | undefined;
  /** Members of an ENUM. */
  readonly members?: readonly string[] | undefined;
  /** The second that a date column holds for a moment, on the clock of its time zone. @default that of UTC */
  readonly wallSecond?: ((milliseconds: number) => number) | undefined;
}

/** The key type of a column of this kind. */
export function keyType(kind: KeyKind, limits: ColumnLimits = {}): KeyType {
  switch (kind) {
    case 'integer':
      return {
        kind,
        canonical: canonicalInteger,
        bucket: identity,
        queryValue: (text) => (Number.isSafeInteger(Number(text)) ? Number(text) : text),
        // Without strict mode the database takes the nearest value that the column can hold.
        storedAsGiven: (text) => limits.range === undefined || within(BigInt(text), limits.range),
        expects: 'an integer (number, bigint or a string of digits; beyond 2^53 not a number)',
      };
    case 'decimal':
      return {
        kind,
        canonical: canonicalDecimal,
        bucket: identity,
        queryValue: identity,
        storedAsGiven: (text) => (text.split('.')[1]?.length ?? 0) <= (limits.scale ?? 0),
        expects: 'a decimal number (a string such as "12.30", or a number)',
      };
    case 'float':
      return {
        kind,
        canonical: canonicalFloat,
        bucket: singleDigits,
        queryValue: Number,
        // FLOAT(7,2) rounds.
        storedAsGiven: () => limits.scale === undefined,
        expects: 'a finite number',
      };
    case 'text':
      return textType(kind, limits, foldText, 'a string');
    case 'binary-text':
      return textType(kind, limits, binaryBucket, 'a string');
    case 'time':
      return {
        kind,
        canonical: (value) => (value === null ? null : typeof value === 'string' && timeOfDay.test(value) ? value : undefined),
        // A TIME column without fraction drops it, and knows no negative zero.
        bucket: (text) => text.replace(/^-|\.\d*$/g, ''),
        queryValue: identity,
        storedAsGiven: (text) => !text.includes('.'),
        expects: 'a time as "HH:MM:SS"',
      };
    case 'uuid':
      return {
        ...textType(kind, limits, foldText, 'a UUID'),
        canonical: (value) =>
          value === null ? null : typeof value === 'string' && uuid.test(value) ? value : undefined,
      };
    case 'enum': {
      const members = limits.members ?? [];
      const buckets = new Set(members.map(foldText));
      return {
        ...textType(kind, limits, foldText, `one of ${members.map((member) => `'${member}'`).join(', ')}`),
        canonical: (value) =>
          value === null ? null : typeof value === 'string' && buckets.has(foldText(value)) ? value : undefined,
      };
    }
    case 'boolean':
      return {
        kind,
        canonical: (value) =>
          value === null
            ? null
            : value === true || value === 1
              ? '1'
              : value === false || value === 0
                ? '0'
                : undefined,
        bucket: identity,
        queryValue: (text) => text === '1',
        storedAsGiven: yes,
        expects: 'true or false',
      };
    case 'date':
      return {
        kind,
        canonical: canonicalDate,
        // A DATETIME column without fraction drops the milliseconds, one with fraction keeps them.
        bucket: (text) => String(limits.wallSecond?.(Number(text)) ?? Math.floor(Number(text) / 1000)),
        queryValue: (text) => new Date(Number(text)),
        // MySQL rounds to one or two digits, and that may be the next second.
        storedAsGiven: () => limits.length === undefined || limits.length === 0 || limits.length >= 3,
        expects: 'a Date, milliseconds since 1970, or an ISO 8601 string with a time zone',
      };
    case 'dateonly':
      return {
        kind,
        canonical: (value) =>
          value === null ? null : typeof value === 'string' && isDay(value) ? value : undefined,
        bucket: identity,
        queryValue: identity,
        storedAsGiven: yes,
        expects: 'a day as "YYYY-MM-DD"',
      };
    case 'blob':
      return {
        kind,
        canonical: (value) =>
          value === null ? null : value instanceof Uint8Array ? Buffer.from(value).toString('hex') : undefined,
        bucket: (text) => (text.length > 64 ? sha256(text) : text),
        queryValue: (text) => Buffer.from(text, 'hex'),
        storedAsGiven: (text) => limits.length === undefined || text.length <= limits.length * 2,
        expects: 'a Buffer',
      };
  }
}

/** A surrogate that is not half of a pair. */
export const loneSurrogate = /[\uD800-\uDBFF](?![\uDC00-\uDFFF])|(?<![\uD800-\uDBFF])[\uDC00-\uDFFF]/g;

/** SHA-256 of a text, as 43 characters of base64url. */
export function sha256(text: string): string {
  return createHash('sha256').update(text).digest('base64url');
}

/** Whether a value that does not fit is a text, or what `Number` or `Date` may have made of one for a column of these. */
const isUnreadable = ({ kind }: KeyType, value: unknown): boolean =>
  typeof value === 'string' || (kind !== 'text' && (typeof value === 'number' || isInvalidDate(value)));

const isInvalidDate = (value: unknown): boolean => value instanceof Date && Number.isNaN(value.getTime());

/**
 * Whether a request can have such a value, parsed out of its URL or its JSON: what does not fit is the
 * client's mistake then, and otherwise the program's.
 */
export function isInput(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return typeof value !== 'function' && typeof value !== 'symbol' && typeof value !== 'bigint';
  if (Array.isArray(value) || isInvalidDate(value)) return true;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

/** The error for a value that does not fit. */
export const misfitError = (label: string, key: KeyType, expects: string, value: unknown): InvalidKeyValueError =>
  new InvalidKeyValueError(misfit(label, expects, value), { unreadable: isUnreadable(key, value), isInput: isInput(value) });

/** The message for a value that does not fit. */
export function misfit(label: string, expects: string, value: unknown): string {
  return value === undefined
    ? `Key field ${label} is undefined; it must be ${expects}, or null for rows without a value.`
    : `Key field ${label} must be ${expects}; received ${show(value)}.`;
}

const identity = (text: string): string => text;
const yes = (): boolean => true;
const within = (value: bigint, [least, greatest]: readonly [bigint, bigint]): boolean => value >= least && value <= greatest;

/** Exact but for trailing spaces. A surrogate without its pair reaches the database as U+FFFD. */
const binaryBucket = (text: string): string => withoutTrailingSpaces(text.replace(loneSurrogate, '\uFFFD'));

/**
 * As many digits as MySQL shows of a FLOAT column, six, rounded as it does: what was written and
 * what is read back are then in one bucket.
 */
function singleDigits(text: string): string {
  const single = Math.fround(Number(text));
  if (!Number.isFinite(single)) return String(single);
  const seven = single.toPrecision(7);
  const digits = seven.replace(/e.*$/, '').replace(/[-.]/g, '');
  // Exactly in the middle: MySQL rounds to the even digit, JavaScript away from zero.
  if (Number(seven) === single && digits.endsWith('5') && Number(digits.charAt(digits.length - 2)) % 2 === 0) {
    return String(Number(seven.replace(/5(?=$|e)/, '0')));
  }
  return String(Number(single.toPrecision(6)));
}

/** One spelling only: the database takes many ('7:5', '70500'), and takes what is no time for midnight. */
const timeOfDay = /^-?(\d\d|[1-7]\d\d|8[0-2]\d|83[0-8]):[0-5]\d:[0-5]\d(\.\d+)?$/;
const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

function textType(
  kind: KeyKind,
  limits: ColumnLimits,
  bucket: (text: string) => string,
  expects: string,
): KeyType {
  return {
    kind,
    canonical: (value) => (value === null || typeof value === 'string' ? value : undefined),
    bucket,
    queryValue: identity,
    // Without strict mode the database cuts what is too long.
    storedAsGiven: (text) => limits.length === undefined || [...text].length <= limits.length,
    expects,
  };
}

function canonicalInteger(value: unknown): Canonical | undefined {
  if (value === null) return null;
  if (typeof value === 'number') return Number.isSafeInteger(value) ? String(value === 0 ? 0 : value) : undefined;
  if (typeof value === 'bigint') return String(value);
  if (typeof value !== 'string') return undefined;
  const match = /^([+-]?)(\d+)$/.exec(value);
  return match?.[2] === undefined ? undefined : signed(match[1], withoutLeadingZeros(match[2]));
}

function canonicalDecimal(value: unknown): Canonical | undefined {
  if (value === null) return null;
  const text =
    typeof value === 'string'
      ? value
      : typeof value === 'bigint' || (typeof value === 'number' && Number.isFinite(value))
        ? String(value)
        : undefined;
  const match = text === undefined ? null : /^([+-]?)(\d+)(?:\.(\d*))?$/.exec(text);
  if (match?.[2] === undefined) return undefined;
  const [, sign, whole, fraction = ''] = match;
  let end = fraction.length;
  while (end > 0 && fraction.charAt(end - 1) === '0') end -= 1;
  return signed(sign, `${withoutLeadingZeros(whole)}${end === 0 ? '' : `.${fraction.slice(0, end)}`}`);
}

// Without nested repetition: keys come from outside, and a long one may not take quadratic time.
const withoutLeadingZeros = (digits: string): string => digits.replace(/^0+(?=\d)/, '');

const signed = (sign: string | undefined, digits: string): string => (sign === '-' && digits !== '0' ? `-${digits}` : digits);

function canonicalFloat(value: unknown): Canonical | undefined {
  if (value === null) return null;
  const number =
    typeof value === 'number'
      ? value
      : typeof value === 'string' && /^[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?$/i.test(value)
        ? Number(value)
        : Number.NaN;
  return Number.isFinite(number) ? String(number === 0 ? 0 : number) : undefined;
}

/** A `Date` cannot be further from 1970, in milliseconds. */
const latestTime = 8.64e15;

const isoWithZone = /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)$/;

function canonicalDate(value: unknown): Canonical | undefined {
  if (value === null) return null;
  const time =
    value instanceof Date
      ? value.getTime()
      : typeof value === 'number'
        ? value
        : typeof value === 'string' && isoWithZone.test(value) && isDay(value.slice(0, 10))
          ? Date.parse(value)
          : Number.NaN;
  return Number.isInteger(time) && Math.abs(time) <= latestTime ? String(time === 0 ? 0 : time) : undefined;
}

function isDay(value: string): boolean {
  if (!/^\d{4}-\d\d-\d\d$/.test(value)) return false;
  const time = Date.parse(`${value}T00:00:00Z`);
  return !Number.isNaN(time) && new Date(time).toISOString().startsWith(value);
}
