/** Hooks of the user's that throw, added before set-up and after it: no stale value, no marker that stays. */
import type { QueryOptions, Sequelize } from 'sequelize';
import { describePaths, type Stage } from './write-paths.js';

const found = { rejectOnEmpty: true } as const;
const hooks = ['beforeSave', 'beforeUpdate', 'afterUpdate', 'afterSave', 'beforeQuery', 'afterQuery'] as const;
type Hook = (typeof hooks)[number];

/** Which hook throws on which instance; the hooks stand before set-up and look here. */
const throwing = new WeakMap<Sequelize, Hook>();

function throwIf(sequelize: Sequelize, hook: Hook, options?: QueryOptions, query?: object): void {
  if (throwing.get(sequelize) !== hook) return;
  if (options !== undefined) {
    const { type, transaction } = options as { type?: string; transaction?: unknown };
    if (type !== 'UPDATE' && type !== 'BULKUPDATE' && type !== 'INSERT') return;
    // Sequelize itself loses the connection of an autocommitted statement whose afterQuery throws.
    if (hook === 'afterQuery' && transaction == null) sequelize.connectionManager.releaseConnection(Reflect.get(query!, 'connection') as object);
  }
  throw new Error(`thrown by ${hook}`);
}

const addBefore = (sequelize: Sequelize): void => {
  for (const hook of hooks) {
    if (hook === 'beforeQuery' || hook === 'afterQuery') sequelize.addHook(hook, (options: QueryOptions, query: object) => throwIf(sequelize, hook, options, query));
    else sequelize.addHook(hook as 'beforeUpdate', () => throwIf(sequelize, hook));
  }
};

async function throws({ sequelize }: Stage, hook: Hook, added: 'before' | 'after', work: () => Promise<unknown>): Promise<void> {
  const own = `${hook} that is added after`;
  if (added === 'before') throwing.set(sequelize, hook);
  else if (hook === 'beforeQuery' || hook === 'afterQuery') {
    sequelize.addHook(hook, own, (options: QueryOptions, query: object) => {
      throwing.set(sequelize, hook);
      try {
        throwIf(sequelize, hook, options, query);
      } finally {
        throwing.delete(sequelize);
      }
    });
  } else {
    sequelize.addHook(hook as 'beforeUpdate', own, () => {
      throw new Error(`thrown by ${hook}`);
    });
  }
  try {
    await work();
  } finally {
    throwing.delete(sequelize);
    for (const one of hook.endsWith('Save') ? [hook.replace('Save', 'Create'), hook.replace('Save', 'Update')] : [hook]) {
      sequelize.removeHook(one as 'beforeUpdate', own);
    }
  }
}

describePaths(
  'a hook that throws',
  (path) => {
    for (const added of ['before', 'after'] as const) {
      for (const hook of hooks) {
        for (const model of ['Item', 'Score'] as const) {
          path(
            `${hook}, added ${added} set-up, ${model === 'Item' ? 'simple caches only' : 'a custom cache'}`,
            { rejects: /thrown by/, racy: true, of: [model] },
            async (stage) => {
              const row = await stage.models[model].findByPk(1, found);
              await stage.primed();
              await throws(stage, hook, added, () => row.update(model === 'Item' ? { sku: 'n1', color: 'blue' } : { player: 'lee' }));
            },
          );
        }
        if (hook.endsWith('Query')) {
          path(`${hook}, added ${added} set-up, create`, { rejects: /thrown by/, racy: true, of: ['Item'] }, async (stage) => {
            await stage.primed();
            await throws(stage, hook, added, () => stage.models.Item.create({ sku: 'n1', aisle: 1, bin: 'a', color: 'red' }));
          });
          path(`${hook}, added ${added} set-up, bulk update by condition`, { rejects: /thrown by/, racy: true, of: ['Item'] }, async (stage) => {
            await stage.primed();
            await throws(stage, hook, added, () => stage.models.Item.update({ color: 'blue' }, { where: { color: 'red' } }));
          });
          path(`${hook}, added ${added} set-up, in a transaction that commits all the same`, { racy: true, of: ['Item'] }, async (stage) => {
            await stage.primed();
            await stage.sequelize.transaction(async (transaction) => {
              await throws(stage, hook, added, () => stage.models.Item.update({ color: 'blue' }, { where: { color: 'red' }, transaction })).catch(ignoreThrown);
              await stage.check('before the commit');
            });
          });
        }
      }
    }
  },
  { prepare: addBefore },
);

function ignoreThrown(error: unknown): void {
  if (!String(error).includes('thrown by')) throw error;
}

