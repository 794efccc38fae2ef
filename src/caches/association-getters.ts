/** The getter that Sequelize gives a model for an association, and its place in the model's class. */
import type { Model, ModelStatic } from 'sequelize';
import { InvalidOptionError } from '../errors.js';
import type { ReadOptions } from '../types.js';

/** The getter of an association, and where it is to be found. */
export interface AssociationGetter {
  readonly name: string;
  /** The prototype that it is in. */
  readonly holder: object;
  readonly original: Getter;
  /** Set where the model's own class does not inherit it. */
  readonly descriptor: PropertyDescriptor | undefined;
}

/** `getEvent` of the association 'event'. */
export type Getter = (this: Model, options?: ReadOptions) => Promise<unknown>;

/** Those that read the cache. */
export const cachedGetters = new WeakSet<Getter>();

/**
 * The getter that the model has for an association. An association that was declared on a
 * `Model.schema(…)` or `Model.scope(…)` is in the model's list, and its getter in that class alone.
 */
export function getterOf(model: ModelStatic<Model>, as: string): AssociationGetter {
  const { accessors, source } = model.associations[as] as unknown as { readonly accessors: { readonly get: string }; readonly source: ModelStatic<Model> };
  const name = accessors.get;
  const holder = (name in (model.prototype as object) ? model.prototype : source.prototype) as object;
  const descriptor = Object.getOwnPropertyDescriptor(holder, name);
  return { name, holder, descriptor, original: (descriptor === undefined ? Reflect.get(holder, name) : descriptor.value) as Getter };
}

/** Those of Sequelize are plain properties; a method of the class is not. @throws InvalidOptionError */
export function checkGetter(model: ModelStatic<Model>, as: string): void {
  const { name, original, descriptor } = getterOf(model, as);
  if (cachedGetters.has(original) || descriptor?.enumerable === true) return;
  throw new InvalidOptionError(
    `withCache(${model.name}), 'cachedForeignKeys': the model has a method ${name} of its own, which would be hidden. Rename it, or leave '${as}' out.`,
  );
}
