/**
 * Generic foreign keys: a reference to a row of one of several models, as a pair of columns that
 * hold the model's name and the row's id.
 */
import { Model, type ModelStatic } from 'sequelize';
import { InvalidKeyFieldError, InvalidKeyValueError, UnknownTargetTypeError } from '../errors.js';
import { isInput, misfitError, type Canonical } from '../entries/key-types.js';
import { isKeyColumn, type Column, type KeyColumn } from '../models/columns.js';
import { show } from '../options.js';
import { isInstanceOf, valueOfInstance } from './instances.js';

/** How one generic foreign key is declared. */
export interface GenericForeignKeyDeclaration {
  /** The attribute that holds the target model's name. */
  readonly type: string;
  /** The attribute that holds the target row's primary key. */
  readonly id: string;
  /** The models that it may refer to; a function, so that models can refer to each other. */
  readonly models: () => readonly ModelStatic<Model>[];
}

/** One generic foreign key of a model. */
export class GenericForeignKey {
  constructor(
    readonly name: string,
    readonly type: KeyColumn,
    readonly id: KeyColumn,
    private readonly owner: ModelStatic<Model>,
    private readonly models: () => readonly ModelStatic<Model>[],
  ) {}

  /**
   * The target model by the name in the type column.
   * @param isGiven a lookup was given the name
   * @throws UnknownTargetTypeError
   */
  target(type: string, isGiven = false): ModelStatic<Model> {
    const found = this.targets().find((model) => model.name === type);
    if (found === undefined) {
      throw new UnknownTargetTypeError(
        `${show(type)} is not a target of the generic foreign key '${this.name}' of model ${this.owner.name}. ` +
          `Its models are: ${this.targets().map(({ name }) => name).join(', ')}.`,
        { isInput: isGiven },
      );
    }
    return found;
  }

  /** The models of the declaration, as this Sequelize instance has them. */
  targets(): readonly ModelStatic<Model>[] {
    const own = this.owner.sequelize?.models ?? {};
    return this.models().map((model) => (own[model.name] as ModelStatic<Model> | undefined) ?? model);
  }

  get #label(): string {
    return `'${this.name}' of ${this.owner.name}`;
  }

  /** The canonical pair of an instance, a `[type, id]` pair, or null. */
  read(value: unknown): readonly Canonical[] {
    if (value === null) return [null, null];
    if (value instanceof Model) {
      const target = this.targets().find((model) => isInstanceOf(value, model));
      if (target === undefined) this.target(value.constructor.name);
      else {
        const [key, ...more] = target.primaryKeyAttributes;
        if (key === undefined || more.length > 0) {
          throw new InvalidKeyValueError(`Key field ${this.#label}: model ${target.name} has no single primary key, so a pair of type and id cannot refer to its rows.`);
        }
        return [target.name, this.#id(valueOfInstance(this.#label, value, target, key))];
      }
    }
    if (!Array.isArray(value) || value.length !== 2 || typeof value[0] !== 'string') {
      throw new InvalidKeyValueError(
        `Key field ${this.#label} must be a saved instance of ${this.targets().map(({ name }) => name).join(' or ')}, ` +
          `a pair such as ['${this.targets()[0]?.name ?? 'Post'}', 5], or null; received ${show(value)}.`,
        { isInput: isInput(value) },
      );
    }
    return [this.target(value[0], true).name, this.#id(value[1])];
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
      this.#keys.set(name, new GenericForeignKey(name, typeColumn, idColumn, model, models));
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
