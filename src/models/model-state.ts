/**
 * What of a model's definition is looked at when it is bound, so that a later change is noticed: an
 * association or attribute added or removed, another default scope, another way to build instances.
 */
import type { Model, ModelStatic } from 'sequelize';

/** Parts of a model that Sequelize replaces by another object whenever they change. */
export interface ModelState {
  /** Every `refreshAttributes` makes a new one; so does an association, in one of its models. */
  readonly tableAttributes: unknown;
  readonly scope: unknown;
  readonly build: unknown;
  readonly bulkBuild: unknown;
}

interface Definition {
  readonly tableAttributes?: unknown;
  readonly _scope?: unknown;
  readonly build?: unknown;
  readonly bulkBuild?: unknown;
}

/** The state of a model now. */
export function stateOf(model: ModelStatic<Model>): ModelState {
  const { tableAttributes, _scope: scope, build, bulkBuild } = model as Definition;
  return { tableAttributes, scope, build, bulkBuild };
}

/** Whether a model is defined as it was. */
export function isAsBefore(model: ModelStatic<Model>, before: ModelState): boolean {
  const now = model as Definition;
  return (
    now.tableAttributes === before.tableAttributes &&
    now._scope === before.scope &&
    now.build === before.build &&
    now.bulkBuild === before.bulkBuild
  );
}
