/** Instances as parameters: which model they are of, and what they stand for. */
import type { Model, ModelStatic } from 'sequelize';
import { UnsavedInstanceError, WrongModelError } from '../errors.js';
import { ownValues } from '../models/hydrate.js';

/**
 * A column's value of an instance that stands for its row.
 * @throws WrongModelError, UnsavedInstanceError
 */
export function valueOfInstance(
  label: string,
  instance: Model,
  expected: ModelStatic<Model>,
  attribute: string,
): unknown {
  if (!isInstanceOf(instance, expected)) {
    throw new WrongModelError(
      `Key field ${label} must be a ${expected.name} or its ${attribute}; received an instance of ${instance.constructor.name}` +
        `${instance.constructor.name === expected.name ? ' of another Sequelize instance' : ''}.`,
    );
  }
  const value = ownValues(instance)[attribute];
  if (instance.isNewRecord || value === undefined || value === null) {
    throw new UnsavedInstanceError(
      `Key field ${label} was given a ${expected.name} ${
        instance.isNewRecord ? 'that is not saved yet. Save it first' : `that was loaded without its '${attribute}'. Load it with that attribute`
      }, or pass the ${attribute}.`,
    );
  }
  return value;
}

/** Whether an instance is of this model, also when it comes from a scoped or re-schemed subclass. */
export function isInstanceOf(instance: Model, model: ModelStatic<Model>): boolean {
  const own = instance.constructor as ModelStatic<Model>;
  if (own === model || own.prototype instanceof model) return true;
  return own.name === model.name && own.sequelize !== undefined && own.sequelize === model.sequelize;
}
