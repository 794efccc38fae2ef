/** Answers and results in a form that can be compared: instances with their values and state, dates and buffers as text. */
import { Model } from 'sequelize';

/** How answers are compared. */
export interface CanonicalOptions {
  /** Times that Sequelize sets differ between two runs. Only whether they are set is compared. */
  readonly withoutTimes?: boolean;
}

const times: ReadonlySet<string> = new Set(['createdAt', 'updatedAt', 'deletedAt', 'created_at', 'updated_at', 'deleted_at']);

/** The value in a form whose `JSON.stringify` is the same for equal answers. */
export function canonical(value: unknown, options: CanonicalOptions = {}): unknown {
  if (value === null || value === undefined) return null;
  if (value instanceof Model) return ofInstance(value, options);
  if (value instanceof Date) return `date ${Number.isNaN(value.getTime()) ? 'invalid' : value.toISOString()}`;
  if (Buffer.isBuffer(value)) return `bytes ${value.toString('hex')}`;
  if (typeof value === 'bigint') return `bigint ${value}`;
  if (Array.isArray(value)) return value.map((one) => canonical(one, options));
  if (typeof value === 'object') return ofRecord(value as Readonly<Record<string, unknown>>, options);
  return value;
}

/** The canonical value as text. */
export const textOf = (value: unknown, options?: CanonicalOptions): string => JSON.stringify(canonical(value, options));

function ofRecord(record: Readonly<Record<string, unknown>>, options: CanonicalOptions): unknown {
  const entries = Object.entries(record).filter(([, value]) => value !== undefined);
  return Object.fromEntries(
    entries
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([name, value]) => [name, options.withoutTimes === true && times.has(name) ? value !== null : canonical(value, options)]),
  );
}

/** What a program can see of an instance: stored and shown values, what counts as changed, and what `bulkBuild` put there. */
function ofInstance(instance: Model, options: CanonicalOptions): unknown {
  const { dataValues, stamp } = instance as unknown as { readonly dataValues: Readonly<Record<string, unknown>>; readonly stamp?: unknown };
  const shown = instance.get() as Readonly<Record<string, unknown>>;
  const getters = Object.keys(shown).filter((name) => !Object.is(shown[name], dataValues[name]));
  return {
    model: instance.constructor.name,
    values: ofRecord(dataValues, options),
    shown: ofRecord(Object.fromEntries(getters.map((name) => [name, shown[name]])), options),
    changed: canonical(instance.changed()),
    isNewRecord: instance.isNewRecord,
    stamp: canonical(stamp),
  };
}
