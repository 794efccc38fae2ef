/**
 * Writes by a condition beside creates, as many at the same time as a busy application has them: with
 * the locks of one statement each none of them meets a deadlock.
 */
import { DataTypes, Model, type CreationOptional, type InferAttributes, type InferCreationAttributes, type Sequelize, type Transaction } from 'sequelize';
import { withCache } from '../../src/index.js';
import { errorNumber } from '../../src/hooks/own-statements.js';

class Owner extends Model<InferAttributes<Owner>, InferCreationAttributes<Owner>> {
  declare id: CreationOptional<number>;
  declare name: string;
}

class Job extends Model<InferAttributes<Job>, InferCreationAttributes<Job>> {
  declare id: CreationOptional<number>;
  declare queue: number;
  declare state: number;
  declare name: CreationOptional<string | null>;
  declare ownerId: CreationOptional<number | null>;
}

class Task extends Model<InferAttributes<Task>, InferCreationAttributes<Task>> {
  declare id: CreationOptional<number>;
  declare queue: number;
  declare state: number;
  declare deletedAt: CreationOptional<Date | null>;
}

class Label extends Model<InferAttributes<Label>, InferCreationAttributes<Label>> {
  declare id: CreationOptional<number>;
  declare name: string;
}

class Labelled extends Model<InferAttributes<Labelled>, InferCreationAttributes<Labelled>> {
  declare ownerId: number;
  declare labelId: number;
}

/** The models of one Sequelize instance. */
export interface LoadModels {
  readonly Owner: typeof Owner;
  readonly Job: typeof Job;
  readonly Task: typeof Task;
  readonly Label: typeof Label;
  readonly Labelled: typeof Labelled;
}

const queues = 10;
const states = 50;
const owners = 20;
const labels = 8;

const id = { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true } as const;

/** Defines the models, as classes of their own for each instance. */
export function defineLoad(sequelize: Sequelize, cached: boolean): LoadModels {
  const models: LoadModels = {
    Owner: class extends Owner {},
    Job: class extends Job {},
    Task: class extends Task {},
    Label: class extends Label {},
    Labelled: class extends Labelled {},
  };
  const common = { sequelize, timestamps: false };
  const indexes = [{ fields: ['queue'] }, { fields: ['state'] }];
  const place = { queue: { type: DataTypes.INTEGER, allowNull: false }, state: { type: DataTypes.INTEGER, allowNull: false } };
  models.Owner.init({ id, name: DataTypes.STRING }, { ...common, modelName: 'LoadOwner' });
  models.Job.init({ id, ...place, name: DataTypes.STRING, ownerId: DataTypes.INTEGER }, { ...common, modelName: 'LoadJob', indexes: [...indexes, { fields: ['ownerId'] }] });
  models.Task.init({ id, ...place, deletedAt: DataTypes.DATE }, { ...common, timestamps: true, createdAt: false, updatedAt: false, paranoid: true, modelName: 'LoadTask', indexes });
  models.Label.init({ id, name: DataTypes.STRING }, { ...common, modelName: 'LoadLabel' });
  models.Labelled.init({ ownerId: { type: DataTypes.INTEGER, primaryKey: true }, labelId: { type: DataTypes.INTEGER, primaryKey: true } }, { ...common, modelName: 'LoadLabelled' });
  models.Owner.hasMany(models.Job, { foreignKey: 'ownerId', as: 'Jobs', constraints: false });
  const through = { through: models.Labelled, constraints: false };
  models.Owner.belongsToMany(models.Label, { ...through, foreignKey: 'ownerId', otherKey: 'labelId', as: 'Labels' });
  models.Label.belongsToMany(models.Owner, { ...through, foreignKey: 'labelId', otherKey: 'ownerId', as: 'Owners' });
  if (cached) {
    withCache(models.Owner, { keys: ['id'] });
    withCache(models.Job, { keys: ['id'], filters: ['queue', ['queue', 'state']] });
    withCache(models.Task, { keys: ['id'], filters: ['queue'] });
    withCache(models.Label, { keys: ['id'] });
    withCache(models.Labelled, { keys: [['ownerId', 'labelId']], filters: ['ownerId'] });
  }
  return models;
}

/** Fills the tables. */
export async function fillLoad({ Owner: owner, Job: job, Task: task, Label: label }: LoadModels): Promise<void> {
  const numbers = (count: number): number[] => Array.from({ length: count }, (_, at) => at);
  await owner.bulkCreate(numbers(owners).map((at) => ({ name: `o${String(at)}` })));
  await label.bulkCreate(numbers(labels).map((at) => ({ name: `l${String(at)}` })));
  await job.bulkCreate(numbers(200).map((at) => ({ queue: at % queues, state: at % states, ownerId: 1 + (at % owners) })));
  await task.bulkCreate(numbers(200).map((at) => ({ queue: at % queues, state: at % states, deletedAt: at % 2 === 0 ? new Date(0) : null })));
}

/** Numbers from 0 up to, not including, `below`. */
export type Dice = (below: number) => number;

interface Turn {
  readonly models: LoadModels;
  readonly dice: Dice;
  readonly transaction: Transaction | null;
}

type Act = (turn: Turn) => Promise<unknown>;

const someOf = (dice: Dice, count: number): number[] => Array.from({ length: 1 + dice(3) }, () => 1 + dice(count));

const createJob: Act = ({ models: { Job: job }, dice, transaction }) => job.create({ queue: dice(queues), state: dice(states), ownerId: 1 + dice(owners) }, { transaction });
const createTask: Act = ({ models: { Task: task }, dice, transaction }) =>
  task.create({ queue: dice(queues), state: dice(states), deletedAt: dice(2) === 0 ? new Date(0) : null }, { transaction });
const createLabelled: Act = ({ models: { Labelled: labelled }, dice, transaction }) =>
  labelled.bulkCreate([{ ownerId: 1 + dice(owners), labelId: 1 + dice(labels) }], { ignoreDuplicates: true, transaction });

const where = (dice: Dice): { queue: number; state: number } => ({ queue: dice(queues), state: dice(states) });

/** What an association adds to an instance. */
const call = (instance: Model, accessor: string, ...args: readonly unknown[]): Promise<unknown> =>
  Reflect.apply(Reflect.get(instance, accessor) as (...given: readonly unknown[]) => Promise<unknown>, instance, args);

/** Each kind of write by a condition, with the creates beside it. */
export const loadKinds: Readonly<Record<string, { readonly write: Act; readonly create: Act }>> = {
  'bulk destroy': { write: ({ models: { Job: job }, dice, transaction }) => job.destroy({ where: where(dice), transaction }), create: createJob },
  'bulk update of a key': {
    write: ({ models: { Job: job }, dice, transaction }) => job.update({ queue: dice(queues) }, { where: where(dice), transaction }),
    create: createJob,
  },
  'bulk update of a value': {
    write: ({ models: { Job: job }, dice, transaction }) => job.update({ name: `n${String(dice(9))}` }, { where: { state: dice(states) }, transaction }),
    create: createJob,
  },
  'bulk update with a limit': {
    write: ({ models: { Job: job }, dice, transaction }) => job.update({ queue: dice(queues) }, { where: where(dice), limit: 2, transaction }),
    create: createJob,
  },
  'paranoid destroy': { write: ({ models: { Task: task }, dice, transaction }) => task.destroy({ where: where(dice), transaction }), create: createTask },
  restore: { write: ({ models: { Task: task }, dice, transaction }) => task.restore({ where: where(dice), transaction }), create: createTask },
  'destroy by primary keys': {
    write: ({ models: { Job: job }, dice, transaction }) => job.destroy({ where: { id: someOf(dice, 400) }, transaction }),
    create: createJob,
  },
  'set of a hasMany': {
    write: async ({ models: { Owner: owner, Job: job }, dice, transaction }) => {
      const jobs = await job.findAll({ where: { state: dice(states) }, limit: 2, transaction });
      await call(owner.build({ id: 1 + dice(owners), name: '' }, { isNewRecord: false }), 'setJobs', jobs, { transaction });
    },
    create: createJob,
  },
  'set of a belongsToMany': {
    write: ({ models: { Owner: owner }, dice, transaction }) =>
      call(owner.build({ id: 1 + dice(owners), name: '' }, { isNewRecord: false }), 'setLabels', [...new Set(someOf(dice, labels))], { transaction }),
    create: createLabelled,
  },
};

/** What came of a load. */
export interface LoadOutcome {
  readonly writes: number;
  readonly creates: number;
  readonly deadlocks: { readonly writes: number; readonly creates: number };
  readonly milliseconds: number;
}

/** Runs a kind of write until so many were tried, with as many creates beside them. */
export async function runLoad(
  models: LoadModels,
  kind: string,
  { writes, inFlight, dice, inTransactions }: { readonly writes: number; readonly inFlight: number; readonly dice: Dice; readonly inTransactions: boolean },
): Promise<LoadOutcome> {
  const acts = loadKinds[kind];
  const { sequelize } = models.Job;
  if (acts === undefined || sequelize === undefined) throw new Error(`no load '${kind}'`);
  const done = { writes: 0, creates: 0 };
  const deadlocks = { writes: 0, creates: 0 };
  const began = performance.now();
  const one = async (): Promise<void> => {
    while (done.writes < writes) {
      const what = dice(2) === 0 ? 'writes' : 'creates';
      const act = what === 'writes' ? acts.write : acts.create;
      done[what] += 1;
      try {
        if (inTransactions) await sequelize.transaction((transaction) => act({ models, dice, transaction }));
        else await act({ models, dice, transaction: null });
      } catch (error) {
        if (errorNumber(error) === 1213) deadlocks[what] += 1;
        // Two setters add the same row, with or without the cache.
        else if (errorNumber(error) !== 1062) throw error;
      }
    }
  };
  await Promise.all(Array.from({ length: inFlight }, one));
  return { ...done, deadlocks, milliseconds: performance.now() - began };
}
