/**
 * Rows to instances: the instance that `findOne` would have built, own property by own property.
 *
 * `Model.build(values, { raw: true })` is exact but slow, because it runs the model's set-up for
 * each row. Where the model's class adds nothing of its own to an instance (no constructor, no
 * class fields), the six own properties are laid directly on an object of the model's prototype.
 *
 * In between stands a `Row`: decoded once, and never changed, so that any number of instances can be
 * made of it.
 */
import { Model, type ModelStatic } from 'sequelize';
import { CorruptPayload, decodeCell, encodeCell, type Cell } from '../entries/codec.js';
import type { Column } from './columns.js';

type Values = Record<string, unknown>;

/** A decoded row. Nothing in it may be changed, or handed to a caller. */
export interface Row {
  /** By column position. */
  readonly values: readonly unknown[];
  /** What an instance shows, by attribute. */
  readonly shown: Readonly<Values>;
  /** Those of its attributes that an instance has copies of: Dates, Buffers, JSON. */
  readonly objects: readonly string[] | undefined;
}

/** Builds instances of one model from stored cells. */
export class Hydrator {
  readonly #model: ModelStatic<Model>;
  readonly #columns: readonly Column[];
  readonly #visible: readonly string[];
  readonly #hidden: ReadonlySet<string>;
  /** Makes an object of the model's prototype; undefined where only the model itself can make its instances. */
  readonly #Shell: (new () => Partial<Internals>) | undefined;

  /**
   * @param columns the stored columns in order of position
   * @param visible the attributes that an instance of the default scope has
   */
  constructor(model: ModelStatic<Model>, columns: readonly Column[], visible: readonly string[]) {
    this.#model = model;
    this.#columns = columns;
    this.#visible = visible;
    const shown = new Set(visible);
    this.#hidden = new Set(columns.map((column) => column.name).filter((name) => !shown.has(name)));
    this.#Shell = addsNothing(model) ? shellOf(model) : undefined;
  }

  /** The instance's row as cells by column position. @throws NotSerialisable */
  dehydrate(instance: Model): Cell[] {
    const values = ownValues(instance);
    return this.#columns.map((column) => encodeCell(values[column.name], column));
  }

  /** A row of its cells. @throws CorruptPayload */
  row(cells: unknown): Row {
    const columns = this.#columns;
    if (!Array.isArray(cells) || cells.length !== columns.length) throw new CorruptPayload('a row of another shape');
    const values = new Array<unknown>(columns.length);
    const shown: Values = {};
    let objects: string[] | undefined;
    for (let i = 0; i < columns.length; i += 1) {
      const column = columns[i] as Column;
      const value = decodeCell(cells[i], column);
      values[i] = value;
      // `findOne` leaves out what the driver did not return.
      if (value === undefined || this.#hidden.has(column.name)) continue;
      shown[column.name] = value;
      if (typeof value === 'object' && value !== null) (objects ??= []).push(column.name);
    }
    return { values, shown, objects };
  }

  /** An instance of its own. */
  instance({ shown, objects }: Row): Model {
    const dataValues = { ...shown };
    if (objects !== undefined) for (const name of objects) dataValues[name] = copyOf(dataValues[name]);
    // As a query does: a model may have a `bulkBuild` of its own.
    if (this.#Shell === undefined) return this.#model.bulkBuild([dataValues], this.#options())[0] as Model;
    const { _schema, _schemaDelimiter } = this.#model as unknown as SchemaOptions;
    const instance = new this.#Shell();
    instance.dataValues = dataValues;
    instance._previousDataValues = { ...dataValues };
    instance.uniqno = 1;
    instance._changed = new Set();
    instance._options = { isNewRecord: false, _schema, _schemaDelimiter, raw: true, attributes: this.#visible };
    instance.isNewRecord = false;
    return instance as unknown as Model;
  }

  /** Instances of their own, of the rows of one list. */
  instances(rows: readonly Row[]): Model[] {
    if (this.#Shell !== undefined || rows.length === 0) return rows.map((row) => this.instance(row));
    return this.#model.bulkBuild(rows.map(({ shown }) => copyOf(shown) as Values), this.#options());
  }

  /** Takes from a found instance what was read for the cache only, so that it is what `findOne` returns. */
  conceal(instance: Model): Model {
    return this.drop(instance, this.#hidden);
  }

  /** Takes these selected columns from a found instance. */
  drop(instance: Model, names: Iterable<string>): Model {
    const internals = instance as unknown as Internals;
    if (!(instance instanceof Model)) {
      // A plain object, as `query: { raw: true }` makes finds answer.
      for (const name of names) Reflect.deleteProperty(instance, name);
      return instance;
    }
    let dropped = false;
    for (const name of names) {
      Reflect.deleteProperty(internals.dataValues, name);
      Reflect.deleteProperty(internals._previousDataValues, name);
      dropped = true;
    }
    if (dropped) internals._options.attributes = [...this.#visible];
    return instance;
  }

  #options(): { isNewRecord: false; raw: true; attributes: string[] } {
    return { isNewRecord: false, raw: true, attributes: [...this.#visible] };
  }
}

interface SchemaOptions {
  readonly _schema: unknown;
  readonly _schemaDelimiter: unknown;
}

/** The own properties of an instance. */
interface Internals {
  dataValues: Values;
  _previousDataValues: Values;
  uniqno: 1;
  _changed: Set<string>;
  _options: { attributes: readonly string[] } & SchemaOptions & { isNewRecord: false; raw: true };
  isNewRecord: false;
}

/** The values that an instance holds, without getters. */
export function ownValues(instance: Model): Values {
  return (instance as unknown as Internals).dataValues;
}

/** A constructor that does nothing, with the model's prototype: V8 lays out what it makes faster than what `Object.create` does. */
function shellOf(model: ModelStatic<Model>): new () => Partial<Internals> {
  const Shell = function (): void {
    // What it makes is filled by `instance`.
  };
  Shell.prototype = model.prototype as unknown;
  return Shell as unknown as new () => Partial<Internals>;
}

/** A copy of what `decodeCell` makes of a cell that is no scalar. */
function copyOf(value: unknown): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (value instanceof Date) return new Date(value.getTime());
  if (Buffer.isBuffer(value)) return Buffer.from(value);
  if (Array.isArray(value)) return value.map(copyOf);
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, copyOf(item)]));
}

const standard = new Set(['dataValues', '_previousDataValues', 'uniqno', '_changed', '_options', 'isNewRecord']);

/** Whether an instance of the model holds nothing but what Sequelize itself lays on it. */
function addsNothing(model: ModelStatic<Model>): boolean {
  for (let c: unknown = model; typeof c === 'function' && c !== Model; c = Object.getPrototypeOf(c)) {
    // sequelize-typescript's base has a constructor that only checks that the model is initialised.
    if (Object.hasOwn(c, 'isInitialized') && c.name === 'Model') continue;
    // How the user makes instances is the user's: it may do anything.
    if (Object.hasOwn(c, 'build') || Object.hasOwn(c, 'bulkBuild')) return false;
    const text = Function.prototype.toString.call(c);
    // So may a constructor, and private fields exist only if it ran.
    if (!text.startsWith('class') || /\bconstructor\s*\(|#[\p{ID_Start}$_]/u.test(text)) return false;
  }
  return hasOnlyStandardFields(model);
}

/** Makes an instance, to see what class fields it gets. */
function hasOnlyStandardFields(model: ModelStatic<Model>): boolean {
  let probe: Model;
  try {
    probe = model.build({}, { isNewRecord: false, raw: true });
  } catch {
    // A class field that cannot do without a row's values: only the model can make its instances.
    return false;
  }
  return Reflect.ownKeys(probe).every((key) => typeof key === 'string' && standard.has(key));
}
