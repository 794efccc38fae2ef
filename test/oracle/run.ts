/** Runs plans: each step on real services, each lookup compared with what the database answers. */
import assert from 'node:assert/strict';
import { AsyncLocalStorage } from 'node:async_hooks';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { inspect } from 'node:util';
import {
  BaseError,
  EmptyResultError,
  literal,
  type FindOptions,
  type Model,
  type ModelStatic,
  type Sequelize,
  type Transaction,
  type WhereOptions,
} from 'sequelize';
import { BatchCacheQuery, bumpVersion, FlashError, NotInCacheError, type ReadOptions, type Runnable } from '../../src/index.js';
import { answerOfError, isSame } from './family.js';
import { modelNames, type ModelName, type World } from './models.js';
import type { Ask, LookHow, Plan, RowRef, Step, Value, Values, Via, Write } from './plan.js';

/** A cached answer was not the database's. */
export class OracleFailure extends Error {
  constructor(
    message: string,
    /** The step of the plan, counted from 0, in which it came to light. */
    readonly step: number,
  ) {
    super(message);
    this.name = 'OracleFailure';
  }
}

/** What a run did. */
export interface Tally {
  steps: number;
  writes: number;
  lookups: number;
  /** Lookups with `cacheOnly` that the cache did not know. */
  unknown: number;
  /** Writes that the database refused, by the name of the error. */
  readonly refused: Map<string, number>;
}

/** Runs a plan to its end. @throws OracleFailure */
export async function runPlan(plan: Plan, worlds: readonly World[]): Promise<Tally> {
  const runner = new Runner(worlds);
  for (const [at, step] of plan.entries()) {
    try {
      await runner.step(step, undefined);
    } catch (error) {
      throw error instanceof Mismatch
        ? new OracleFailure(error.message, at)
        : new Error(`Step ${at} failed: ${inspect(step, { depth: 8, breakLength: 160 })}`, { cause: error });
    }
    runner.tally.steps += 1;
  }
  return runner.tally;
}

class Mismatch extends Error {}

/** Ends a managed transaction by an error of its own. */
class Abort extends Error {}

interface Options {
  readonly transaction?: Transaction;
}

/** What a step needs of the instances that Sequelize leaves untyped. */
type Loose = Readonly<Record<string, (...values: unknown[]) => Promise<unknown>>>;

const primaryKeys: Readonly<Partial<Record<ModelName, readonly string[]>>> = { Membership: ['userId', 'groupId'], Country: ['code'] };

const foreignKeys: Readonly<Record<string, string>> = { user: 'userId', author: 'authorId', group: 'groupId', country: 'countryCode' };

/** Without an order, any of the rows that match may be `findOne`'s. */
const unordered: ReadonlySet<string> = new Set([
  'Post author',
  'Post author published',
  'Post score',
  'Post weight',
  'Post day',
  'Post at',
  'Post published',
  'Post code',
  'Avatar user',
  'Avatar user isPrimary',
  'Membership group role',
  'Membership user',
  'Vote target',
  'Vote user target',
  'Vote value',
  'Country population',
  'Country name',
]);

class Runner {
  readonly tally: Tally = { steps: 0, writes: 0, lookups: 0, unknown: 0, refused: new Map() };
  readonly #worlds: readonly World[];
  /** Instances that are kept from earlier steps, by side. */
  readonly #pools: readonly Map<ModelName, Model[]>[];
  /** Primary keys that were ever seen. */
  readonly #seen = new Map<ModelName, Values[]>();
  /** The statements under way of the write that is run. */
  readonly #underWay = new AsyncLocalStorage<Set<Promise<unknown>>>();
  #rows = new Map<ModelName, readonly Values[]>();
  #turn = 0;

  constructor(worlds: readonly World[]) {
    this.#worlds = worlds;
    this.#pools = worlds.map(() => new Map());
    for (const { sequelize } of worlds) this.#watch(sequelize);
  }

  async step(step: Step, transaction: Transaction | undefined): Promise<void> {
    switch (step.do) {
      case 'look':
        await this.#look(step.asks, step.how, step.side, step.inside ? transaction : undefined, true);
        return;
      case 'transaction':
        await this.#transaction(step, transaction);
        return;
      case 'savepoint':
        await this.#savepoint(step, transaction);
        return;
      case 'concurrently': {
        // SQLite has one writer: transactions side by side only lock each other out.
        const alone = (one: Step): boolean =>
          this.#world(step.side).sequelize.getDialect() === 'sqlite' && (one.do === 'swap' || one.do === 'findOrCreate');
        const results = await Promise.allSettled(
          step.steps
            .filter((one) => !alone(one))
            .map(async (one) =>
              one.do === 'look' ? this.#look(one.asks, one.how, one.side, undefined, false) : this.step(one, undefined),
            ),
        );
        for (const result of results) if (result.status === 'rejected') throw result.reason;
        for (const one of step.steps) if (alone(one)) await this.step(one, undefined);
        return;
      }
      default:
        await this.#refusable(async () => this.#write(step, step.side, transaction));
    }
  }

  /** The database may refuse a write; nothing else may go wrong. */
  async #refusable(write: () => Promise<unknown>): Promise<void> {
    this.tally.writes += 1;
    const underWay = new Set<Promise<unknown>>();
    try {
      await this.#underWay.run(underWay, write);
    } catch (error) {
      // Of several statements side by side (`individualHooks`, associations) one is refused, and the others go on.
      await settled(underWay);
      if (!isRefusal(error)) throw error;
      this.tally.refused.set(error.name, (this.tally.refused.get(error.name) ?? 0) + 1);
    } finally {
      this.#rows = new Map();
    }
  }

  #watch(sequelize: Sequelize): void {
    const query = sequelize.query.bind(sequelize) as (...given: readonly unknown[]) => Promise<unknown>;
    const watched = (...given: readonly unknown[]): Promise<unknown> => {
      const underWay = this.#underWay.getStore();
      const statement = query(...given);
      underWay?.add(statement);
      const over = (): void => void underWay?.delete(statement);
      statement.then(over, over);
      return statement;
    };
    Object.defineProperty(sequelize, 'query', { value: watched, configurable: true, writable: true });
  }

  // ---- Transactions ---------------------------------------------------------------------------

  async #transaction(step: Step & { do: 'transaction' }, outer: Transaction | undefined): Promise<void> {
    if (outer !== undefined) throw new TypeError('a plan has no transactions inside of others');
    const { sequelize } = this.#world(step.side);
    const run = async (transaction: Transaction): Promise<void> => {
      for (const one of step.steps) await this.step(one, transaction);
    };
    try {
      if (step.managed) {
        await sequelize.transaction(async (transaction) => {
          await run(transaction);
          if (step.end !== 'commit') throw new Abort();
        });
        return;
      }
      const transaction = await sequelize.transaction();
      try {
        await run(transaction);
      } catch (error) {
        await transaction.rollback();
        throw error;
      }
      await (step.end === 'commit' ? transaction.commit() : transaction.rollback());
    } catch (error) {
      if (!(error instanceof Abort) && !(error instanceof BaseError)) throw error;
    } finally {
      this.#rows = new Map();
    }
  }

  async #savepoint(step: Step & { do: 'savepoint' }, outer: Transaction | undefined): Promise<void> {
    if (outer === undefined) {
      for (const one of step.steps) await this.step(one, undefined);
      return;
    }
    const child = await this.#world(step.side).sequelize.transaction({ transaction: outer });
    for (const one of step.steps) await this.step(one, child);
    // TRUNCATE has ended the transaction, and its savepoints with it.
    await this.#refusable(() => (step.end === 'commit' ? child.commit() : child.rollback()));
  }

  // ---- Lookups --------------------------------------------------------------------------------

  async #look(
    asks: readonly Ask[],
    how: LookHow,
    side: number,
    transaction: Transaction | undefined,
    compared: boolean,
  ): Promise<void> {
    const resolved: { ask: Ask; values: unknown[] }[] = [];
    for (const ask of asks) {
      const values: unknown[] = [];
      for (const value of ask.values) values.push(await this.#value(value, side, transaction));
      resolved.push({ ask, values });
    }
    const options: ReadOptions = {
      ...(transaction === undefined ? {} : { transaction }),
      ...(how === 'refresh' ? { refresh: true } : {}),
      ...(how === 'cacheOnly' ? { cacheOnly: true } : {}),
    };
    this.tally.lookups += asks.length;
    const got = await this.#answers(resolved, how, side, options);
    if (!compared) return;
    const within = transaction === undefined ? {} : { transaction };
    for (const [at, { ask, values }] of resolved.entries()) {
      const answer = got[at];
      if (answer === undefined) {
        assert.equal(options.cacheOnly, true);
        this.tally.unknown += 1;
      } else {
        await this.#compare(ask, values, answer, side, within);
        // Those of lists are instances as any other; relations lead to other models.
        const [kept] = [answer].flat();
        if (kept instanceof this.#world(side).models[ask.model]) this.#keep(side, ask.model, kept);
      }
    }
    const instances = got.flat().filter((one) => typeof one === 'object' && one !== null);
    if (new Set(instances).size < instances.length) throw new Mismatch('two lookups were given the same instance');
  }

  async #answers(
    asks: readonly { ask: Ask; values: readonly unknown[] }[],
    how: LookHow,
    side: number,
    options: ReadOptions,
  ): Promise<unknown[]> {
    const { caches, custom, members } = this.#world(side);
    const one = async ({ ask, values }: { ask: Ask; values: readonly unknown[] }): Promise<unknown> => {
      if (ask.member !== undefined) return members[ask.member]?.read(keyOf(ask, values), whereOf(ask, values), options);
      if (ask.custom !== undefined) {
        try {
          return await new custom[ask.custom].cacheClass(...values).resolve(options);
        } catch (error) {
          if (error instanceof NotInCacheError) return undefined;
          throw error;
        }
      }
      const key = keyOf(ask, values);
      if (how !== 'get') return caches[ask.model].getOrNone(key, options);
      try {
        return await caches[ask.model].get(key, options);
      } catch (error) {
        if (error instanceof EmptyResultError) return null;
        throw error;
      }
    };
    if (how === 'batch') {
      const batch = new BatchCacheQuery();
      const query = ({ ask, values }: { ask: Ask; values: readonly unknown[] }): Runnable => {
        if (ask.custom !== undefined) return new custom[ask.custom].cacheClass(...values);
        if (ask.member === undefined) return caches[ask.model].getQuery(keyOf(ask, values));
        return members[ask.member]?.query?.(keyOf(ask, values)) ?? { resolve: () => one({ ask, values }) };
      };
      for (const [at, ask] of asks.entries()) batch.push(String(at), query(ask));
      const { transaction } = options;
      const results: Readonly<Record<string, unknown>> = await batch.get({ returnExceptions: true, ...(transaction === undefined ? {} : { transaction }) });
      return asks.map((_ask, at) => {
        const result = results[at];
        return result instanceof Error ? answerOfError(result) : result;
      });
    }
    if (how === 'apart') {
      const answers: unknown[] = [];
      for (const ask of asks) answers.push(await one(ask));
      return answers;
    }
    if (how !== 'many') return Promise.all(asks.map(one));
    const answers = new Array<unknown>(asks.length);
    await Promise.all([
      ...asks.map(async (ask, at) => {
        if (ask.ask.custom !== undefined || ask.ask.member !== undefined) answers[at] = await one(ask);
      }),
      ...modelNames.map(async (model) => {
        const own = [...asks.entries()].filter(([, { ask }]) => ask.model === model && ask.custom === undefined && ask.member === undefined);
        const found = await caches[model].getMany(own.map(([, { ask, values }]) => keyOf(ask, values)), options);
        own.forEach(([at], place) => (answers[at] = found[place]));
      }),
    ]);
    return answers;
  }

  async #compare(ask: Ask, values: readonly unknown[], answer: unknown, side: number, options: Options): Promise<void> {
    const world = this.#world(side);
    const model = world.models[ask.model];
    if (ask.member !== undefined) {
      const found = await world.members[ask.member]?.check(answer, whereOf(ask, values), options);
      if (found !== 'same') throw new Mismatch(report(ask, values, answer, found?.expected));
      return;
    }
    if (ask.custom !== undefined) {
      // Inside a transaction it is asked there, which `expected` is not.
      if (options.transaction !== undefined) return;
      const expected = await world.custom[ask.custom].expected(values.map(idOf));
      if (!isSame(answer, expected)) throw new Mismatch(report(ask, values, answer, expected));
      return;
    }
    const where = whereOf(ask, values);
    const expected = await model.findOne({ where, ...options });
    if (isSame(answer, expected)) return;
    if (answer !== null && expected !== null && unordered.has(`${ask.model} ${ask.key.join(' ')}`)) {
      const all = await model.findAll({ where, ...options });
      if (all.some((one) => isSame(answer, one))) return;
    }
    throw new Mismatch(report(ask, values, answer, expected));
  }

  // ---- Writes ---------------------------------------------------------------------------------

  async #write(write: Write, side: number, transaction: Transaction | undefined): Promise<unknown> {
    const { models } = this.#world(side);
    const options: Options = transaction === undefined ? {} : { transaction };
    const resolve = (values: Values): Promise<Record<string, unknown>> => this.#values(values, side, transaction);
    switch (write.do) {
      case 'create': {
        const values = await resolve(write.values);
        const instance = models[write.model].build(values);
        await instance.save({ ...options, ...(write.how === 'noHooks' ? { hooks: false } : {}) });
        return this.#keep(side, write.model, instance);
      }
      case 'save': {
        const instance = await this.#instance(write.model, write.slot, write.via, side, transaction);
        if (instance === null) return undefined;
        const sets = [];
        for (const values of write.sets) sets.push(await resolve(values));
        const last = sets.pop() ?? {};
        for (const values of sets) instance.set(values);
        if (write.how === 'update') return instance.update(last, options);
        if (write.how === 'setDataValue') {
          for (const [name, value] of Object.entries(last)) {
            instance.setDataValue(name as never, value);
            instance.changed(name as never, true);
          }
        } else {
          instance.set(last);
        }
        return instance.save({
          ...options,
          ...(write.how === 'noHooks' ? { hooks: false } : {}),
          ...(write.how === 'fields' ? { fields: Object.keys(last).slice(0, 1) } : {}),
        });
      }
      case 'destroy': {
        const instance = await this.#instance(write.model, write.slot, write.via, side, transaction);
        return instance?.destroy({ ...options, ...write.options });
      }
      case 'restore': {
        const instance = await this.#instance('Post', write.slot, write.via, side, transaction);
        if (instance === null) return undefined;
        if (write.how === 'instance') return instance.restore(options);
        if (write.how === 'bulk') return models.Post.restore({ where: whereOfRow(instance, 'Post'), ...options });
        instance.setDataValue('deletedAt' as never, null);
        instance.changed('deletedAt' as never, true);
        return instance.save({ ...options, ...({ paranoid: false } as object) });
      }
      case 'increment':
        return this.#increment(write, side, transaction);
      case 'bulkUpdate':
        return models[write.model].update(await resolve(write.values), {
          where: await resolve(write.where),
          ...options,
          ...write.options,
        });
      case 'bulkDestroy':
        return models[write.model].destroy({ where: await resolve(write.where), ...options, ...write.options });
      case 'upsert': {
        const [instance] = await models[write.model].upsert(await resolve(write.values), options);
        return instance;
      }
      case 'bulkCreate': {
        const rows = [];
        for (const row of write.rows) rows.push(await resolve(row));
        return models[write.model].bulkCreate(rows, {
          ...options,
          ...(write.how === 'ignoreDuplicates' ? { ignoreDuplicates: true } : {}),
          ...(write.how === 'individualHooks' ? { individualHooks: true } : {}),
          ...(write.how === 'updateOnDuplicate' ? { updateOnDuplicate: Object.keys(rows[0] ?? {}) } : {}),
        });
      }
      case 'findOrCreate': {
        const where = await resolve(write.where);
        const given = { where, defaults: { ...(await resolve(write.defaults)), ...where }, ...options };
        const [instance] = await models[write.model][write.how](given as never);
        return this.#keep(side, write.model, instance);
      }
      case 'truncate':
        return models[write.model].truncate({ ...options, force: true });
      case 'associate':
        return this.#associate(write, side, transaction);
      case 'swap':
        return this.#swap(write, side, transaction);
      case 'void':
        return this.#void(write, side, transaction);
    }
  }

  async #increment(write: Write & { do: 'increment' }, side: number, transaction: Transaction | undefined): Promise<unknown> {
    const model = this.#world(side).models[write.model];
    const { attribute, by } = write;
    const options: Options = transaction === undefined ? {} : { transaction };
    if (write.how === 'where') {
      const where = (await this.#values(write.where, side, transaction)) as WhereOptions;
      return model.increment({ [attribute]: by } as never, { where, ...options });
    }
    const instance = await this.#instance(write.model, write.slot, 'fresh', side, transaction);
    if (instance === null) return undefined;
    const where = whereOfRow(instance, write.model);
    switch (write.how) {
      case 'instance':
        return instance.increment(attribute as never, { by, ...options });
      case 'decrement':
        return instance.decrement([attribute] as never, { by, ...options });
      case 'object':
        return instance.increment({ [attribute]: by } as never, options);
      case 'static':
        return model.increment(attribute as never, { by, where, ...options });
      case 'staticDecrement':
        return model.decrement([attribute] as never, { by, where, ...options });
    }
  }

  async #void(write: Write & { do: 'void' }, side: number, transaction: Transaction | undefined): Promise<unknown> {
    const { models, caches, classes } = this.#world(side);
    switch (write.how) {
      case 'clear':
        return caches[write.model].clear();
      case 'bumpModel':
        return bumpVersion(models[write.model]);
      case 'bumpClass':
        return bumpVersion(classes[write.cacheClass]);
      case 'invalidateWhere':
        return caches[write.model].invalidateWhere((await this.#values(write.where, side, transaction)));
      case 'invalidate': {
        const instance = await this.#instance(write.model, write.slot, write.via, side, transaction);
        return instance === null ? undefined : caches[write.model].invalidate(instance);
      }
    }
  }

  async #associate(write: Write & { do: 'associate' }, side: number, transaction: Transaction | undefined): Promise<unknown> {
    const { how } = write;
    const options: Options = transaction === undefined ? {} : { transaction };
    const owner: ModelName = how === 'setAuthor' || how === 'createAuthor' ? 'Post' : how === 'setUser' ? 'Avatar' : /Users?$/.test(how) ? 'Group' : 'User';
    const target: ModelName = owner !== 'User' ? 'User' : how === 'setCountry' ? 'Country' : how.endsWith('Avatars') ? 'Avatar' : /Groups?$/.test(how) ? 'Group' : 'Post';
    const instance = (await this.#instance(owner, write.slot, 'fresh', side, transaction)) as unknown as Loose | null;
    if (instance === null) return undefined;
    const others: unknown[] = [];
    for (const other of write.others) others.push(await this.#value({ ...other, ref: target }, side, transaction));
    const values = await this.#values(write.values, side, transaction);
    switch (how) {
      case 'setAuthor':
      case 'setUser':
      case 'setCountry':
        return instance[how]?.(others[0] ?? null, options);
      case 'createAuthor': {
        const { username, tenantId, slug, city } = values;
        return instance[how]?.({ username, tenantId, slug, city }, options);
      }
      case 'createAvatar':
        return instance[how]?.({ url: values.url, isPrimary: values.isPrimary ?? false }, options);
      case 'setPosts':
      case 'setAvatars':
        return instance[how]?.(others, options);
      case 'setGroups':
      case 'setUsers':
        return instance[how]?.(others, { through: { role: values.role ?? 'x' }, ...options });
      default:
        return others[0] === undefined ? undefined : instance[how]?.(others[0], options);
    }
  }

  async #swap(write: Write & { do: 'swap' }, side: number, outer: Transaction | undefined): Promise<unknown> {
    const run = async (transaction: Transaction): Promise<void> => {
      const a = await this.#instance(write.model, write.slots[0], 'fresh', side, transaction);
      const b = await this.#instance(write.model, write.slots[1], 'fresh', side, transaction);
      if (a === null || b === null) return;
      const [first, second]: unknown[] = [a.getDataValue(write.attribute as never), b.getDataValue(write.attribute as never)];
      await a.update({ [write.attribute]: 'tmp' }, { transaction });
      await b.update({ [write.attribute]: first }, { transaction });
      await a.update({ [write.attribute]: second }, { transaction });
    };
    return outer === undefined ? this.#world(side).sequelize.transaction(run) : run(outer);
  }

  // ---- Rows and values ------------------------------------------------------------------------

  #world(side: number): World {
    return this.#worlds[side % this.#worlds.length] as World;
  }

  /** Keeps a few instances, to be saved long after they were loaded. */
  #keep(side: number, model: ModelName, instance: Model): Model {
    const pools = this.#pools[side % this.#pools.length] as Map<ModelName, Model[]>;
    const pool = pools.get(model) ?? [];
    pools.set(model, pool);
    this.#turn += 1;
    // Most instances are kept for long: only every fifth replaces one.
    if (pool.length < 6) pool.push(instance);
    else if (this.#turn % 5 === 0) pool[this.#turn % 6] = instance;
    return instance;
  }

  async #instance(
    name: ModelName,
    slot: number,
    via: Via,
    side: number,
    transaction: Transaction | undefined,
  ): Promise<Model | null> {
    const model = this.#world(side).models[name];
    const pool = this.#pools[side % this.#pools.length]?.get(name) ?? [];
    if (via === 'pool' && pool.length > 0) return pool[slot % pool.length] as Model;
    const where = await this.#row(name, slot, side, transaction);
    if (where === undefined) return null;
    if (via === 'built') return model.build(where, { isNewRecord: false });
    const source = (slot % 2 === 0 ? model : model.unscoped());
    const options: FindOptions = {
      where,
      paranoid: false,
      ...(via === 'partial' ? { attributes: Object.keys(where) } : {}),
      ...(transaction === undefined ? {} : { transaction }),
    };
    const found = await source.findOne(options);
    return found === null ? null : this.#keep(side, name, found);
  }

  /** The primary key of the row that a slot means. */
  async #row(name: ModelName, slot: number, side: number, transaction: Transaction | undefined): Promise<Values | undefined> {
    const rows = await this.#rowsOf(name, side, transaction);
    const seen = this.#seen.get(name) ?? [];
    if (slot === 16) {
      const last = Number(rows.at(-1)?.id ?? 0);
      return { id: last + 1 };
    }
    const from = slot < 12 && rows.length > 0 ? rows : seen;
    return from.length === 0 ? undefined : from[slot % from.length];
  }

  async #rowsOf(name: ModelName, side: number, transaction: Transaction | undefined): Promise<readonly Values[]> {
    const known = this.#rows.get(name);
    if (known !== undefined) return known;
    const key = [...(primaryKeys[name] ?? ['id'])];
    const model: ModelStatic<Model> = this.#world(side).models[name].unscoped();
    const options = {
      attributes: key,
      order: key,
      raw: true,
      paranoid: false,
      ...(transaction === undefined ? {} : { transaction }),
    };
    const rows: readonly unknown[] = await model.findAll(options);
    const found = rows as readonly Values[];
    this.#rows.set(name, found);
    const seen = this.#seen.get(name) ?? [];
    for (const row of found) {
      if (!seen.some((one) => key.every((column) => one[column] === row[column]))) seen.push(row);
    }
    this.#seen.set(name, seen.slice(-16));
    return found;
  }

  async #values(values: Values, side: number, transaction: Transaction | undefined): Promise<Record<string, unknown>> {
    const resolved: Record<string, unknown> = {};
    for (const [name, value] of Object.entries(values)) resolved[name] = await this.#value(value, side, transaction);
    return resolved;
  }

  async #value(value: Value, side: number, transaction: Transaction | undefined): Promise<unknown> {
    if (typeof value !== 'object' || value === null) return value;
    if ('date' in value) return new Date(value.date);
    if ('sql' in value) return literal(value.sql.replace(/^\w+/, '`$&`'));
    if ('json' in value) return structuredClone(value.json);
    if ('target' in value) {
      const { target } = value;
      const id = await this.#value(target, side, transaction);
      return target.as === 'instance' ? id : [target.ref, id];
    }
    return this.#reference(value, side, transaction);
  }

  async #reference({ ref, slot, as }: RowRef, side: number, transaction: Transaction | undefined): Promise<unknown> {
    const row = (await this.#row(ref, slot, side, transaction)) ?? { id: 1 };
    if (as === 'instance') return this.#world(side).models[ref].build(row, { isNewRecord: false });
    return as === 'text' ? String(Number(row.id)) : row.id;
  }
}

/** What Sequelize rejects a write with that it or the database cannot do. */
function isRefusal(error: unknown): error is Error {
  if (error instanceof FlashError || !(error instanceof Error)) return false;
  return error instanceof BaseError || error instanceof AggregateError || refusals.some((message) => message.test(error.message));
}

/** Refusals that Sequelize words as plain errors. */
const refusals = [
  // An instance without its version, or its primary key.
  /^WHERE parameter "\w+" has invalid "undefined" value$/,
];

/** The parameters of a lookup. */
function keyOf({ key }: Ask, values: readonly unknown[]): Record<string, unknown> {
  return Object.fromEntries(
    key.map((field, at) => {
      const value = values[at];
      // An id may be passed under the column's name.
      const column = foreignKeys[field];
      return [column !== undefined && typeof value === 'string' ? column : field, value];
    }),
  );
}

/** The same lookup as a condition. */
function whereOf({ key }: Ask, values: readonly unknown[]): WhereOptions {
  return Object.fromEntries(
    key.flatMap((field, at) => {
      const value = values[at];
      if (field !== 'target') return [[foreignKeys[field] ?? field, idOf(value)]];
      if (value === null) return [['targetType', null], ['targetId', null]];
      const [type, id] = Array.isArray(value) ? (value as unknown[]) : [(value as Model).constructor.name, idOf(value)];
      return [['targetType', type], ['targetId', id]];
    }),
  );
}

/** The id of an instance, or the value itself. */
function idOf(value: unknown): unknown {
  const loaded = value as { readonly dataValues?: Readonly<Record<string, unknown>> } | null;
  return typeof value === 'object' && loaded?.dataValues !== undefined ? loaded.dataValues.id : value;
}

function whereOfRow(instance: Model, name: ModelName): WhereOptions {
  const values = (instance as unknown as { readonly dataValues: Readonly<Record<string, unknown>> }).dataValues;
  return Object.fromEntries((primaryKeys[name] ?? ['id']).map((column) => [column, values[column] ?? null]));
}

function report(ask: Ask, values: readonly unknown[], answer: unknown, expected: unknown): string {
  const plain = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(plain);
    const { dataValues } = (value ?? {}) as { readonly dataValues?: Readonly<Record<string, unknown>> };
    return dataValues === undefined ? value : Object.fromEntries(Object.entries(dataValues).map(([name, one]) => [name, plain(one)]));
  };
  const show = (value: unknown): string => inspect(plain(value), { breakLength: 200, depth: 8 });
  const key = ask.key.map((field, at) => `${field}: ${inspect(idOf(values[at]))}`).join(', ');
  return `${ask.custom ?? ask.member ?? ask.model} { ${key} }\n  the cache:    ${show(answer)}\n  the database: ${show(expected)}`;
}

/** Resolves when none is under way, nor is begun after another one. */
async function settled(underWay: ReadonlySet<Promise<unknown>>): Promise<void> {
  for (let turns = 0; turns < 3; turns += 1) {
    await nextTurn();
    if (underWay.size === 0) continue;
    await Promise.allSettled(underWay);
    turns = -1;
  }
}
