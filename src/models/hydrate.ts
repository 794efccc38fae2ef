/**
 * Rows to instances: the instance that `findOne` would have built, own property by own property.
 *
 * `Model.build(values, { raw: true })` is exact but slow, because it runs the model's set-up for
 * each row. Where the model's class adds nothing of its own to an instance (no constructor, no
 * class fields), the six own properties are laid directly on an object of the model's prototype.
 */
import { Model, type ModelStatic } from 'sequelize';
import { CorruptPayload, decodeCell, encodeCell, type Cell } from '../entries/codec.js';
import type { Column } from './columns.js';

type Values = Record<string, unknown>;

/** Builds instances of one model from stored cells. */
export class Hydrator {
  readonly #model: ModelStatic<Model>;
  readonly #columns: readonly Column[];
  readonly #visible: readonly string[];
  readonly #hidden: ReadonlySet<string>;
  readonly #direct: boolean;

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
    this.#direct = addsNothing(model);
  }

  /** The instance's row as cells by column position. @throws NotSerialisable */
  dehydrate(instance: Model): Cell[] {
    const values = ownValues(instance);
    return this.#columns.map((column) => encodeCell(values[column.name], column));
  }

  /** The values of a row by column position. @throws CorruptPayload */
  values(cells: unknown): unknown[] {
    const columns = this.#columns;
    if (!Array.isArray(cells) || cells.length !== columns.length) throw new CorruptPayload('a row of another shape');
    const values = new Array<unknown>(columns.length);
    for (let i = 0; i < columns.length; i += 1) values[i] = decodeCell(cells[i], columns[i] as Column);
    return values;
  }

  /** An instance of its own from decoded values; they become the instance's. */
  instance(values: readonly unknown[]): Model {
    const columns = this.#columns;
    const dataValues: Values = {};
    for (let i = 0; i < columns.length; i += 1) {
      const name = (columns[i] as Column).name;
      // `findOne` leaves out what the driver did not return.
      if (values[i] !== undefined && !this.#hidden.has(name)) dataValues[name] = values[i];
    }
    if (!this.#direct) return this.#model.build(dataValues, this.#options());
    const schemaOptions = this.#model as unknown as SchemaOptions;
    return Object.assign(Object.create(this.#model.prototype as object) as Model, {
      dataValues,
      _previousDataValues: { ...dataValues },
      uniqno: 1,
      _changed: new Set<string>(),
      _options: {
        isNewRecord: false,
        _schema: schemaOptions._schema,
        _schemaDelimiter: schemaOptions._schemaDelimiter,
        raw: true,
        attributes: this.#visible,
      },
      isNewRecord: false,
    });
  }

  /** Takes from a found instance what was read for the cache only, so that it is what `findOne` returns. */
  conceal(instance: Model): Model {
    return this.drop(instance, this.#hidden);
  }

  /** Takes these selected columns from a found instance. */
  drop(instance: Model, names: Iterable<string>): Model {
    const internals = instance as unknown as Internals;
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

interface Internals {
  readonly dataValues: Values;
  readonly _previousDataValues: Values;
  readonly _options: { attributes: readonly string[] };
}

/** The values that an instance holds, without getters. */
export function ownValues(instance: Model): Values {
  return (instance as unknown as Internals).dataValues;
}

const standard = new Set(['dataValues', '_previousDataValues', 'uniqno', '_changed', '_options', 'isNewRecord']);

/** Whether an instance of the model holds nothing but what Sequelize itself lays on it. */
function addsNothing(model: ModelStatic<Model>): boolean {
  for (let c: unknown = model; typeof c === 'function' && c !== Model; c = Object.getPrototypeOf(c)) {
    // sequelize-typescript's base has a constructor that only checks that the model is initialised.
    if (Object.hasOwn(c, 'isInitialized') && c.name === 'Model') continue;
    // A constructor of the user's may do anything, and private fields exist only if it ran.
    if (/\bconstructor\s*\(|#[\p{ID_Start}$_]/u.test(Function.prototype.toString.call(c))) return false;
  }
  const probe = model.build({}, { isNewRecord: false, raw: true });
  return Reflect.ownKeys(probe).every((key) => typeof key === 'string' && standard.has(key));
}
