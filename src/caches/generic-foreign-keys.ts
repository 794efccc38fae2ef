/**
 * Generic foreign keys: a reference to a row of one of several models, as a pair of columns: one
 * names the model, the other holds the row's id.
 */
import { Model, type ModelStatic } from 'sequelize';
import { InvalidKeyFieldError, InvalidKeyValueError, UnknownTargetTypeError } from '../errors.js';
import { isInput, misfitError, type Canonical } from '../entries/key-types.js';
import { isKeyColumn, type Column, type KeyColumn } from '../models/columns.js';
import { show } from '../options.js';
import { isInstanceOf, valueOfInstance } from './instances.js';

/** How one generic foreign key is declared. */
export interface GenericForeignKeyDeclaration {
  /** The attribute that names the target model. */
  readonly type: string;
  /** The attribute that holds the target row's primary key. */
  readonly id: string;
  /** The models that it may refer to, or those models by name; a function, so that models can refer to each other. */
  readonly models: () => readonly ModelStatic<Model>[] | Readonly<Record<string, ModelStatic<Model>>>;
}

/** A model that a generic foreign key may refer to, and what the type column holds for it. */
interface Target {
  readonly name: string;
  readonly model: ModelStatic<Model>;
}

/** One generic foreign key of a model. */
export class GenericForeignKey {
  #targets: readonly Target[] | undefined;
  #isMap = false;

  constructor(
    readonly name: string,
    readonly type: KeyColumn,
    readonly id: KeyColumn,
    private readonly owner: ModelStatic<Model>,
    private readonly models: GenericForeignKeyDeclaration['models'],
  ) {}

  /**
   * Looks at the models, if all of them are loaded by now.
   * @throws InvalidKeyFieldError
   */
  check(): void {
    let models: unknown;
    try {
      models = this.models();
    } catch {
      // A module that is loaded later: the first use tells.
      return;
    }
    if (Object.values(Object(models) as object).includes(undefined)) return;
    this.#targets = this.#checked(models);
  }

  /** The target model by the name in the type column. @throws UnknownTargetTypeError */
  target(type: string): ModelStatic<Model> {
    return this.#named(type).model;
  }

  /** @param isGiven a lookup was given the name */
  #named(type: string, isGiven = false): Target {
    const found = this.#all().find(({ name }) => name === type);
    if (found === undefined) {
      throw new UnknownTargetTypeError(
        `${show(type)} is not a target of the generic foreign key '${this.name}' of model ${this.owner.name}. ` +
          `${this.#all().every(({ name, model }) => name === model.name) ? 'Its models are' : 'The names of its models are'}: ${this.#names(', ')}.`,
        { isInput: isGiven },
      );
    }
    return found;
  }

  /** The models of the declaration, as this Sequelize instance has them. */
  #all(): readonly Target[] {
    this.#targets ??= this.#checked(this.models());
    const own = this.owner.sequelize?.models ?? {};
    return this.#targets.map(({ name, model }) => ({
      // A model has its name only when it is initialised.
      name: this.#isMap ? name : model.name,
      model: own[model.name] ?? model,
    }));
  }

  /** @throws InvalidKeyFieldError */
  #checked(models: unknown): readonly Target[] {
    const who = `The generic foreign key '${this.name}' of model ${this.owner.name}`;
    const isMap = !Array.isArray(models);
    this.#isMap = isMap;
    if (typeof models !== 'object' || models === null) {
      throw new InvalidKeyFieldError(`${who}: 'models' must return a list of models, or an object of models by the names that '${this.type.name}' holds; it returned ${show(models)}.`);
    }
    const targets: Target[] = [];
    for (const [key, given] of Object.entries(models) as [string, unknown][]) {
      if (typeof given !== 'function' || !(given.prototype instanceof Model)) {
        throw new InvalidKeyFieldError(`${who}: 'models' must return models; it returned ${show(given)}${isMap ? ` as '${key}'` : ''}. Is its module loaded?`);
      }
      const model = given as unknown as ModelStatic<Model>;
      const target = { name: isMap ? key : model.name, model };
      const twice = targets.find((other) => other.model === model || other.name === target.name);
      if (twice !== undefined) {
        throw new InvalidKeyFieldError(
          twice.model === model
            ? `${who} names model ${model.name} twice${isMap ? `, as '${twice.name}' and as '${key}': rows would refer to an instance under either` : ''}. Name it once.`
            : `${who} has two models of the name '${target.name}'. Pass an object of models by the names that '${this.type.name}' holds.`,
        );
      }
      targets.push(target);
    }
    return targets;
  }

  #names(separator: string): string {
    return this.#all().map(({ name }) => name).join(separator);
  }

  get #label(): string {
    return `'${this.name}' of ${this.owner.name}`;
  }

  /** The canonical pair of an instance, a `[type, id]` pair, or null. */
  read(value: unknown): readonly Canonical[] {
    if (value === null) return [null, null];
    if (value instanceof Model) {
      const found = this.#all().find(({ model }) => isInstanceOf(value, model));
      if (found === undefined) {
        throw new UnknownTargetTypeError(
          `'${value.constructor.name}' is not a target of the generic foreign key '${this.name}' of model ${this.owner.name}. ` +
            `Its models are: ${this.#all().map(({ model }) => model.name).join(', ')}.`,
        );
      }
      const { name, model } = found;
      const [key, ...more] = model.primaryKeyAttributes;
      if (key === undefined || more.length > 0) {
        throw new InvalidKeyValueError(`Key field ${this.#label}: model ${model.name} has no single primary key, so a pair of type and id cannot refer to its rows.`);
      }
      return [name, this.#id(valueOfInstance(this.#label, value, model, key))];
    }
    if (!Array.isArray(value) || value.length !== 2 || typeof value[0] !== 'string') {
      throw new InvalidKeyValueError(
        `Key field ${this.#label} must be a saved instance of ${this.#all().map(({ model }) => model.name).join(' or ')}, ` +
          `a pair such as ['${this.#all()[0]?.name ?? 'Post'}', 5], or null; received ${show(value)}.`,
        { isInput: isInput(value) },
      );
    }
    return [this.#named(value[0], true).name, this.#id(value[1])];
  }

  #id(value: unknown): Canonical {
    // The id column holds ids of several models, often as text.
    const text = this.id.key.kind === 'text' && (typeof value === 'number' || typeof value === 'bigint') ? String(value) : value;
    const canonical = this.id.key.canonical(text);
    if (canonical === undefined || canonical === null) {
      throw misfitError(`${this.#label}: the id`, this.id.key, this.id.key.expects, value);
    }
    return canonical;
  }
}

/** The generic foreign keys of one model, by name. */
export class GenericForeignKeys {
  readonly #keys = new Map<string, GenericForeignKey>();

  /** @throws InvalidKeyFieldError */
  constructor(
    model: ModelStatic<Model>,
    columns: ReadonlyMap<string, Column>,
    declared: Readonly<Record<string, GenericForeignKeyDeclaration>>,
  ) {
    for (const [name, { type, id, models }] of Object.entries(declared)) {
      if (columns.has(name) || Object.hasOwn(model.associations, name)) {
        throw new InvalidKeyFieldError(
          `The generic foreign key '${name}' of model ${model.name} has the name of an attribute or association.`,
        );
      }
      const [typeColumn, idColumn] = [type, id].map((attribute) => {
        const column = columns.get(attribute);
        if (column === undefined || !isKeyColumn(column)) {
          throw new InvalidKeyFieldError(
            `The generic foreign key '${name}' of model ${model.name}: '${attribute}' is not an attribute that can be a key.`,
          );
        }
        return column;
      }) as [KeyColumn, KeyColumn];
      const key = new GenericForeignKey(name, typeColumn, idColumn, model, models);
      key.check();
      this.#keys.set(name, key);
    }
  }

  get names(): readonly string[] {
    return [...this.#keys.keys()];
  }

  find(name: string): GenericForeignKey | undefined {
    return this.#keys.get(name);
  }

  /** The generic foreign key that an attribute is part of. */
  columnOwner(attribute: string): string | undefined {
    for (const { name, type, id } of this.#keys.values()) {
      if (type.name === attribute || id.name === attribute) return name;
    }
    return undefined;
  }

  [Symbol.iterator](): IterableIterator<GenericForeignKey> {
    return this.#keys.values();
  }
}
