/** Transactions: what is visible when, to whom, whatever way they end. */
import assert from 'node:assert/strict';
import type { Model, QueryOptions, Sequelize, Transaction } from 'sequelize';
import { describePaths, type Stage } from './write-paths.js';

const found = { rejectOnEmpty: true } as const;

/** Ends the connection of a transaction from outside. */
async function kill({ outside, aside }: Stage, transaction: Transaction): Promise<void> {
  const { threadId } = (transaction as unknown as { readonly connection: { readonly threadId: number } }).connection;
  await aside(() => outside.sequelize.query(`KILL ${threadId}`));
}

/** Reads and writes more than one row of every kind of cache. */
async function work({ models: { Item, Score, Page } }: Stage, transaction: Transaction): Promise<void> {
  const item = await Item.findByPk(1, { ...found, transaction });
  await item.update({ sku: 'n1', color: 'blue' }, { transaction });
  await Score.update({ player: 'lee' }, { where: { player: 'kim', points: 50 }, transaction });
  await Page.destroy({ where: { path: '/1' }, transaction });
  await Item.create({ sku: 'n2', aisle: 1, bin: 'a', color: 'red' }, { transaction });
  await Item.destroy({ where: { id: 3 }, transaction });
}

const both = 2;
/** What `work` reads: the score before and after, the page before and after. */
const ofWork = both + both;
const failure = new Error('no');
const disconnected = /clos|lost|shutdown|ECONNRESET|ended by the other party/i;

describePaths('transaction', (path) => {
  path('managed, commits', { extra: ofWork }, async (stage) => {
    await stage.primed();
    await stage.sequelize.transaction(async (transaction) => {
      await work(stage, transaction);
      await stage.check('before the commit');
    });
  });

  path('managed, rolls back', { extra: ofWork, rejects: /no/, of: ['Item', 'Score', 'Page'] }, async (stage) => {
    await stage.primed();
    await stage.sequelize.transaction(async (transaction) => {
      await work(stage, transaction);
      await stage.check('before the rollback');
      throw failure;
    });
  });

  path('unmanaged, commits', { extra: ofWork }, async (stage) => {
    await stage.primed();
    const transaction = await stage.sequelize.transaction();
    await work(stage, transaction);
    await stage.check('before the commit');
    await transaction.commit();
  });

  path('unmanaged, rolls back', { extra: ofWork, of: ['Item', 'Score', 'Page'] }, async (stage) => {
    await stage.primed();
    const transaction = await stage.sequelize.transaction();
    await work(stage, transaction);
    await stage.check('before the rollback');
    await transaction.rollback();
  });

  path('after hooks run before the commit', {}, async ({ sequelize, models: { Item }, check, primed }) => {
    await primed();
    Item.addHook('afterUpdate', 'test-path', () => check('in the after hook'));
    try {
      await sequelize.transaction(async (transaction) => {
        const item = await Item.findByPk(1, { ...found, transaction });
        await item.update({ sku: 'n1' }, { transaction });
      });
    } finally {
      Item.removeHook('afterUpdate', 'test-path');
    }
  });

  path('afterCommit sees the new value', {}, async ({ sequelize, models: { Item }, check, primed }) => {
    await primed();
    await sequelize.transaction(async (transaction) => {
      transaction.afterCommit(() => check('in afterCommit'));
      await Item.update({ note: 'n' }, { where: { id: 1 }, transaction });
    });
  });

  path('afterCommit that throws: it is committed all the same', { rejects: /thrown/ }, async ({ sequelize, models: { Item }, primed }) => {
    await primed();
    await sequelize.transaction(async (transaction) => {
      transaction.afterCommit(() => {
        throw new Error('thrown in afterCommit');
      });
      await Item.update({ note: 'n' }, { where: { id: 1 }, transaction });
    });
  });

  path('a read in the transaction sees its writes and fills nothing', { racy: true }, async (stage) => {
    const { sequelize, models: { Item }, lookups, check, primed, cachedRun } = stage;
    const item = await Item.findByPk(1, found);
    await primed();
    await sequelize.transaction(async (transaction) => {
      await item.update({ sku: 'n1' }, { transaction });
      if (!cachedRun) return;
      const bySku = lookups.find(({ name }) => name === 'Item.cache(sku)')!;
      assert.equal(((await bySku.cached(['n1'], { transaction })) as Model | null)?.get('id'), 1);
      assert.equal(await bySku.cached(['s1'], { transaction }), null);
      await check('after reads inside');
    });
  });

  path('a write of a transaction and one outside of it, of rows side by side', {}, async ({ sequelize, models: { Item }, check, primed }) => {
    await primed();
    await sequelize.transaction(async (transaction) => {
      await Item.update({ note: 'in' }, { where: { id: 1 }, transaction });
      await Item.update({ note: 'out' }, { where: { id: 2 } });
      await check('one is committed');
    });
  });

  path('findOrCreate, explicit transaction', {}, async ({ sequelize, models: { Item }, check, primed }) => {
    await primed();
    await sequelize.transaction(async (transaction) => {
      await Item.findOrCreate({ where: { sku: 'n1' }, defaults: { aisle: 1, bin: 'a', color: 'red' }, transaction });
      await check('before the commit');
    });
  });

  path('findOrCreate, explicit transaction that rolls back', { rejects: /no/, of: ['Item'] }, async ({ sequelize, models: { Item }, check, primed }) => {
    await primed();
    await sequelize.transaction(async (transaction) => {
      await Item.findOrCreate({ where: { sku: 'n1' }, defaults: { aisle: 1, bin: 'a', color: 'red' }, transaction });
      await check('before the rollback');
      throw failure;
    });
  });

  path('bulkCreate, increment, upsert and truncate-free writes of one transaction', { wide: ['Town'], extra: 0 }, async ({ sequelize, models: { Item, Town }, check, primed }) => {
    await primed();
    await sequelize.transaction(async (transaction) => {
      await Item.bulkCreate([{ sku: 'n1', aisle: 1, bin: 'a', color: 'red' }], { transaction });
      await Item.increment('stock', { by: 1, where: { id: 1 }, transaction });
      await Town.upsert({ id: 1, name: 'Voss', countryCode: 'NO' }, { transaction });
      await check('before the commit');
    });
  });

  path('association accessors in a transaction', { extra: 2 * both }, async ({ sequelize, models: { User }, check, primed }) => {
    const user = await User.findByPk(1, found);
    await primed();
    await sequelize.transaction(async (transaction) => {
      await (user as unknown as { setAvatars(ids: number[], options: object): Promise<void> }).setAvatars([2, 3], { transaction });
      await check('before the commit');
    });
  });
});

describePaths('savepoint', (path) => {
  path('child commits, parent commits', { extra: ofWork }, async (stage) => {
    const { sequelize, check, primed } = stage;
    await primed();
    await sequelize.transaction(async (parent) => {
      await sequelize.transaction({ transaction: parent }, (child) => work(stage, child));
      await check('the child committed, which is no commit');
    });
  });

  path('child commits, parent rolls back', { extra: ofWork, rejects: /no/, of: ['Item', 'Score', 'Page'] }, async (stage) => {
    const { sequelize, check, primed } = stage;
    await primed();
    await sequelize.transaction(async (parent) => {
      await sequelize.transaction({ transaction: parent }, (child) => work(stage, child));
      await check('the child committed, which is no commit');
      throw failure;
    });
  });

  path('child left open, parent commits', { extra: ofWork }, async (stage) => {
    const { sequelize, check, primed } = stage;
    await primed();
    const parent = await sequelize.transaction();
    const child = await sequelize.transaction({ transaction: parent });
    await work(stage, child);
    await check('both are open');
    await parent.commit();
  });

  path('child rolls back, parent commits', { extra: ofWork, of: ['Score', 'Page'] }, async (stage) => {
    const { sequelize, models: { Item }, check, primed } = stage;
    await primed();
    await sequelize.transaction(async (parent) => {
      await Item.update({ note: 'kept' }, { where: { id: 2 }, transaction: parent });
      await assert.rejects(
        sequelize.transaction({ transaction: parent }, async (child) => {
          await work(stage, child);
          throw failure;
        }),
      );
      await check('the child is undone');
    });
  });

  path('child rolls back to a grandchild’s savepoint of the same name: its earlier rows stay', { extra: 0 }, async ({ sequelize, models: { Item }, check, primed }) => {
    await primed();
    const parent = await sequelize.transaction();
    const child = await sequelize.transaction({ transaction: parent });
    await Item.update({ note: 'child' }, { where: { id: 1 }, transaction: child });
    const grandchild = await sequelize.transaction({ transaction: child });
    await Item.update({ note: 'grandchild' }, { where: { id: 2 }, transaction: grandchild });
    await child.rollback();
    await check('all are open');
    await parent.commit();
  });

  path('writes of parent, child and parent again', {}, async ({ sequelize, models: { Item }, check, primed }) => {
    await primed();
    await sequelize.transaction(async (parent) => {
      await Item.update({ note: '1' }, { where: { id: 1 }, transaction: parent });
      await sequelize.transaction({ transaction: parent }, (child) => Item.update({ note: '2' }, { where: { id: 2 }, transaction: child }));
      await Item.update({ note: '3' }, { where: { id: 3 }, transaction: parent });
      await check('before the commit');
    });
  });

  path('findOrCreate in a child of a transaction', {}, async ({ sequelize, models: { Item }, check, primed }) => {
    await primed();
    await sequelize.transaction((parent) =>
      sequelize.transaction({ transaction: parent }, async (child) => {
        await Item.findOrCreate({ where: { sku: 'n1' }, defaults: { aisle: 1, bin: 'a', color: 'red' }, transaction: child });
        await check('before the commit');
      }),
    );
  });
});

describePaths('transaction that fails', (path) => {
  path('deadlock on the root', { of: ['Item'], racy: true, rejects: /[Dd]eadlock/ }, async (stage) => {
    const { sequelize, models: { Item } } = stage;
    const release = await lockForDeadlock(stage);
    await stage.primed();
    await sequelize.transaction(async (transaction) => {
      await Item.update({ note: 'ours', color: 'blue' }, { where: { id: 1 }, transaction });
      await release(() => Item.update({ note: 'ours' }, { where: { id: 2 }, transaction }));
    });
  });

  path('deadlock in a savepoint: the parent’s next write is committed at once', { racy: true }, async (stage) => {
    const { sequelize, models: { Item }, check } = stage;
    const release = await lockForDeadlock(stage);
    await stage.primed();
    const parent = await sequelize.transaction();
    await Item.update({ note: 'lost' }, { where: { id: 3 }, transaction: parent });
    const child = await sequelize.transaction({ transaction: parent });
    await assert.rejects(async () => {
      await Item.update({ note: 'ours' }, { where: { id: 1 }, transaction: child });
      await release(() => Item.update({ note: 'ours' }, { where: { id: 2 }, transaction: child }));
    }, /[Dd]eadlock/);
    await check('all is rolled back');
    await Item.update({ sku: 'n1' }, { where: { id: 1 }, transaction: parent });
    await check('committed before the commit');
    await parent.commit();
  });

  path('TRUNCATE in a transaction commits what was before, then rolls back', { extra: 0, wide: ['Thing'] }, async ({ sequelize, models: { Item, Thing }, check, primed }) => {
    await primed();
    const transaction = await sequelize.transaction();
    await Item.update({ note: 'committed' }, { where: { id: 1 }, transaction });
    await check('before TRUNCATE');
    await Thing.truncate({ transaction });
    await check('after TRUNCATE');
    await Item.update({ note: 'at once' }, { where: { id: 2 }, transaction });
    await check('committed before the rollback');
    await transaction.rollback();
  });

  path('DDL in a transaction commits what was before; the server is asked whether it is open', { extra: 1, wide: ['Thing'], of: ['Thing'] }, async ({ sequelize, models: { Item }, check, primed }) => {
    await primed();
    const transaction = await sequelize.transaction();
    await Item.update({ note: 'committed' }, { where: { id: 1 }, transaction });
    await sequelize.query('ALTER TABLE Things COMMENT = ""', { transaction });
    await check('after DDL');
    await Item.update({ note: 'at once' }, { where: { id: 2 }, transaction });
    await check('committed before the rollback');
    await transaction.rollback();
  });

  path('connection killed in the middle, managed', { of: ['Item'], rejects: disconnected, racy: true }, async (stage) => {
    const { sequelize, models: { Item }, check, primed } = stage;
    await primed();
    await sequelize.transaction(async (transaction) => {
      await Item.update({ sku: 'n1' }, { where: { id: 1 }, transaction });
      await check('before');
      await kill(stage, transaction);
      await Item.update({ note: 'n' }, { where: { id: 2 }, transaction });
    });
  });

  path('connection killed in the middle, unmanaged', { of: ['Item'], rejects: disconnected, racy: true }, async (stage) => {
    const { sequelize, models: { Item }, primed } = stage;
    await primed();
    const transaction = await sequelize.transaction();
    await Item.update({ sku: 'n1' }, { where: { id: 1 }, transaction });
    await kill(stage, transaction);
    await transaction.commit();
  });

  path('COMMIT that fails: the connection is killed', { of: ['Item'], rejects: disconnected, racy: true }, async (stage) => {
    const { sequelize, models: { Item }, primed } = stage;
    await primed();
    await sequelize.transaction(async (transaction) => {
      await Item.update({ sku: 'n1' }, { where: { id: 1 }, transaction });
      await kill(stage, transaction);
    });
  });

  for (const hook of ['beforeQuery', 'afterQuery'] as const) {
    path(`COMMIT at which ${hook} throws`, { of: ['Item'], rejects: /thrown/, racy: true }, async ({ sequelize, models: { Item }, primed }) => {
      await primed();
      await withQueryHook(sequelize, hook, ({ completesTransaction }) => completesTransaction === true, async () => {
        await sequelize.transaction(async (transaction) => {
          await Item.update({ sku: 'n1' }, { where: { id: 1 }, transaction });
        });
      });
    });
  }

  path('a statement that the database refuses, then commit', { extra: 0 }, async ({ sequelize, models: { Item }, check, primed }) => {
    await primed();
    await sequelize.transaction(async (transaction) => {
      await Item.update({ note: 'n' }, { where: { id: 1 }, transaction });
      await assert.rejects(Item.create({ sku: 's2' }, { transaction }), /Validation error/);
      await check('before the commit');
    });
  });
});

/**
 * Another process holds row 2 and has written more than we will, so that ours is the transaction
 * that a deadlock ends. The result runs our statement on row 2 while theirs asks for row 1.
 */
async function lockForDeadlock({ outside, aside }: Stage): Promise<(ours: () => Promise<unknown>) => Promise<void>> {
  const { Item, Town, Thing, Reply } = outside.models;
  const transaction = await outside.sequelize.transaction();
  await Item.update({ stock: 20 }, { where: { id: 2 }, transaction });
  // Weight: rolled back at the end.
  for (const id of [1, 2, 3]) {
    await Town.update({ name: `w${String(id)}` }, { where: { id }, transaction });
    await Thing.update({ tag: `w${String(id)}` }, { where: { id }, transaction });
    await Reply.update({ text: `w${String(id)}` }, { where: { id }, transaction });
  }
  return async (ours) => {
    let theirs: Promise<unknown> = Promise.resolve();
    try {
      await aside(async () => {
        theirs = Item.update({ stock: 10 }, { where: { id: 1 }, transaction });
        theirs.catch(() => undefined);
      });
      await ours();
    } finally {
      await aside(async () => {
        try {
          await theirs;
        } finally {
          await transaction.rollback();
        }
      });
    }
  };
}

interface QueryHookOptions extends QueryOptions {
  readonly completesTransaction?: boolean;
}

async function withQueryHook(
  sequelize: Sequelize,
  hook: 'beforeQuery' | 'afterQuery',
  matches: (options: QueryHookOptions) => boolean,
  during: () => Promise<unknown>,
): Promise<void> {
  sequelize.addHook(hook, 'test-path', (options: QueryHookOptions, query: object) => {
    if (!matches(options)) return;
    // Sequelize itself loses the connection of an autocommitted statement whose afterQuery throws.
    if (hook === 'afterQuery' && options.transaction == null) {
      sequelize.connectionManager.releaseConnection(Reflect.get(query, 'connection') as object);
    }
    throw new Error(`thrown by ${hook}`);
  });
  try {
    await during();
  } finally {
    sequelize.removeHook(hook, 'test-path');
  }
}

