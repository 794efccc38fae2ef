/** Hooks as programs have them: they change values, wait, refuse, or only watch. */
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Model, ModelStatic, Sequelize } from 'sequelize';
import type { Surroundings } from './axes.js';

/** A hook of the program said no. */
export class RefusedByHook extends Error {
  override readonly name = 'RefusedByHook';
}

interface BulkOptions {
  attributes?: Record<string, unknown>;
  fields?: string[];
  individualHooks?: boolean;
}

type Hook = (...args: never[]) => unknown;

/** `addHook` for hooks by name, which its types do not take in a loop. */
function add(target: ModelStatic<Model> | Sequelize, name: string, hook: Hook, hookName?: string): void {
  const { addHook } = target as unknown as { addHook(...args: unknown[]): unknown };
  addHook.apply(target, hookName === undefined ? [name, hook] : [name, hookName, hook]);
}

const touch = (item: Model): void => {
  item.set('note', 'touched');
};

function touchBulk(options: BulkOptions): void {
  if (options.attributes === undefined) return;
  options.attributes.note = 'touched in bulk';
  options.fields?.push('note');
}

const refuse = (): never => {
  throw new RefusedByHook('The hook refuses.');
};

const individually = (options: BulkOptions): void => {
  options.individualHooks = true;
};

/** Adds the hooks of this kind to the item's model. */
export function addHooks(Item: ModelStatic<Model>, kind: Surroundings['hooks']): void {
  switch (kind) {
    case 'none':
      return;
    case 'sync':
      add(Item, 'beforeCreate', touch);
      add(Item, 'beforeUpdate', touch);
      add(Item, 'beforeBulkUpdate', touchBulk);
      add(Item, 'afterUpdate', () => undefined);
      return;
    case 'async':
      add(Item, 'beforeSave', async (item: Model) => {
        await nextTurn();
        touch(item);
      });
      add(Item, 'beforeBulkUpdate', async (options: BulkOptions) => {
        await nextTurn();
        touchBulk(options);
      });
      for (const name of ['afterSave', 'afterDestroy', 'afterBulkDestroy', 'afterBulkCreate']) add(Item, name, () => nextTurn());
      return;
    case 'throwing before':
      for (const name of ['beforeUpdate', 'beforeDestroy', 'beforeBulkUpdate', 'beforeUpsert', 'beforeBulkDestroy']) add(Item, name, refuse);
      return;
    case 'throwing after':
      for (const name of ['afterUpdate', 'afterCreate', 'afterDestroy', 'afterBulkUpdate', 'afterBulkDestroy', 'afterUpsert']) add(Item, name, refuse);
      return;
    case 'individual':
      for (const name of ['beforeBulkUpdate', 'beforeBulkDestroy', 'beforeBulkRestore']) add(Item, name, individually);
      add(Item, 'beforeBulkCreate', (_items: readonly Model[], options: BulkOptions) => {
        individually(options);
      });
      return;
    case 'find':
      add(Item, 'beforeFind', () => undefined);
      return;
    case 'validating':
      add(Item, 'beforeValidate', touch);
      return;
    case 'named':
      add(Item, 'beforeSave', touch, 'mine');
      add(Item, 'afterBulkUpdate', () => undefined, 'mine too');
      return;
  }
}
