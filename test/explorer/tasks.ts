/** What the explored processes do: one call of the real API each. */
import type { Model, ModelStatic, Sequelize } from 'sequelize';
import type { ModelCache } from '../../src/index.js';
import { freshToken } from './texts.js';

/** The columns of the one table. */
export interface Columns {
  id: number;
  name: string;
  body: string;
}

export type RowModel = ModelStatic<Model<Columns, Columns>> & { readonly cache: ModelCache<Model<Columns, Columns>, 'id' | 'name'> };

/** What a task has at hand. */
export interface Hands {
  readonly sequelize: Sequelize;
  readonly rows: RowModel;
}

/** Which rows a read asks for. */
export type Question = { readonly by: 'id'; readonly value: number } | { readonly by: 'name'; readonly value: string };

/** One task. */
export interface Task {
  /** What a read asks for: its answer is judged. */
  readonly asks?: Question;
  /** Errors that may end it, by name. */
  readonly mayFail?: readonly string[];
  run(hands: Hands): Promise<unknown>;
}

const rolledBack = 'RolledBack';

class RolledBack extends Error {
  override readonly name = rolledBack;
}

const plain = (row: Model<Columns, Columns> | null | undefined): unknown => row?.get({ plain: true }) ?? null;

/** An instance as a program that loaded it long ago holds it. */
const held = ({ rows }: Hands, id: number, name: string): Model<Columns, Columns> =>
  rows.build({ id, name, body: 'as loaded' }, { isNewRecord: false, raw: true });

const byId = (value: number): Task => ({
  asks: { by: 'id', value },
  run: async ({ rows }) => plain(await rows.cache.getOrNone({ id: value })),
});

const byName = (value: string): Task => ({
  asks: { by: 'name', value },
  run: async ({ rows }) => plain(await rows.cache.getOrNone({ name: value })),
});

/** What a refused write or a lost connection makes of a write; the last one is judged. */
const writeErrors = ['InvalidationFailedError', 'SequelizeDatabaseError', 'SequelizeConnectionError', 'NotOwnWrite'];

const write = (run: Task['run'], ...errors: string[]): Task => ({
  mayFail: [...writeErrors, ...errors],
  run: async (hands) => {
    await run(hands);
    return 'written';
  },
});

/** The tasks by name. */
export const tasks = {
  'read 1': byId(1),
  'read 2': byId(2),
  'read a': byName('a'),
  'read b': byName('b'),
  'read c': byName('c'),
  'refresh 1': { asks: { by: 'id', value: 1 }, run: async ({ rows }) => plain(await rows.cache.getOrNone({ id: 1 }, { refresh: true })) },
  'refresh a': { asks: { by: 'name', value: 'a' }, run: async ({ rows }) => plain(await rows.cache.getOrNone({ name: 'a' }, { refresh: true })) },
  'save 1': write((hands) => held(hands, 1, 'a').update({ body: freshToken() })),
  'update 1': write(({ rows }) => rows.update({ body: freshToken() }, { where: { id: 1 } })),
  'rename 1 to b': write((hands) => held(hands, 1, 'a').update({ name: 'b', body: freshToken() }), 'SequelizeUniqueConstraintError'),
  'rename 1 to a': write((hands) => held(hands, 1, 'b').update({ name: 'a', body: freshToken() }), 'SequelizeUniqueConstraintError'),
  'rename 2 to a': write((hands) => held(hands, 2, 'c').update({ name: 'a', body: freshToken() }), 'SequelizeUniqueConstraintError'),
  'destroy 1': write((hands) => held(hands, 1, 'a').destroy()),
  'insert 1': write(({ rows }) => rows.create({ id: 1, name: 'a', body: freshToken() }), 'SequelizeUniqueConstraintError'),
  'transaction: save 1': write((hands) =>
    hands.sequelize.transaction(async (transaction) => {
      await held(hands, 1, 'a').update({ body: freshToken() }, { transaction });
    }),
  ),
  'transaction: save 1 twice': write((hands) =>
    hands.sequelize.transaction(async (transaction) => {
      const row = held(hands, 1, 'a');
      await row.update({ body: freshToken() }, { transaction });
      await row.update({ body: freshToken() }, { transaction });
    }),
  ),
  'transaction: destroy and insert 1': write((hands) =>
    hands.sequelize.transaction(async (transaction) => {
      await held(hands, 1, 'a').destroy({ transaction });
      await hands.rows.create({ id: 1, name: 'b', body: freshToken() }, { transaction });
    }),
    'SequelizeUniqueConstraintError',
  ),
  'rolled back: save 1': write(
    (hands) =>
      hands.sequelize.transaction(async (transaction) => {
        await held(hands, 1, 'a').update({ body: freshToken() }, { transaction });
        throw new RolledBack();
      }),
    rolledBack,
  ),
  'transaction: save 1, read 1': write((hands) =>
    hands.sequelize.transaction(async (transaction) => {
      const body = freshToken();
      await held(hands, 1, 'a').update({ body }, { transaction });
      const row = await hands.rows.cache.getOrNone({ id: 1 }, { transaction });
      if (row?.get('body') !== body) throw new NotOwnWrite();
    }),
  ),
  'rolled back: save 1, read 1': write(
    (hands) =>
      hands.sequelize.transaction(async (transaction) => {
        const body = freshToken();
        await held(hands, 1, 'a').update({ body }, { transaction });
        const row = await hands.rows.cache.getOrNone({ id: 1 }, { transaction });
        if (row?.get('body') !== body) throw new NotOwnWrite();
        throw new RolledBack();
      }),
    rolledBack,
  ),
} satisfies Readonly<Record<string, Task>>;

export type TaskName = keyof typeof tasks;

export const taskOf = (name: TaskName): Task => tasks[name];

/** A read inside a transaction did not see what the transaction wrote. */
export class NotOwnWrite extends Error {
  override readonly name = 'NotOwnWrite';
}
