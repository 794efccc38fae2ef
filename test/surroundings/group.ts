/**
 * One group of cells: plain Sequelize on one database, and two processes' worth of caches on another.
 * Every write is made on both. It must end in the same way and leave the same rows, and afterwards every
 * lookup must give what a plain find gives.
 */
import { randomUUID } from 'node:crypto';
import type { Model, ModelStatic, Sequelize, Transaction } from 'sequelize';
import { bumpVersion, CacheNotRegisteredError, setupCache, type FlashCache, type Store } from '../../src/index.js';
import type { Surroundings } from './axes.js';
import { textOf, type CanonicalOptions } from './canonical.js';
import type { Database, Databases } from './databases.js';
import type { Group } from './cells.js';
import { declareCaches, type Lookup } from './lookups.js';
import { addJoiningScope, baseRows, defineModels, quotedTable, refusalsOf, type Models } from './models.js';
import { cloneOf, outOfContext, sequelizeIn, useContext } from './options.js';
import { nameOf, writes, type Side } from './writes.js';

/** A difference between the plugin and plain Sequelize. */
export class Difference extends Error {
  override readonly name: string = 'Difference';
}

/** One that is there before anything is written, and so for every write path. */
export class EarlyDifference extends Difference {
  override readonly name = 'EarlyDifference';
}

/** Plain Sequelize does not work in these surroundings, so that there is nothing to compare with. */
export class NothingToCompare extends Error {
  override readonly name = 'NothingToCompare';
}

/** Only something that hangs takes so long. */
const deadlineMs = Number(process.env.SURROUNDINGS_DEADLINE_MS ?? 90_000);

/** Only statements that were never sent leave rows different for so long. */
const settleMs = 15_000;

/** A process with a cache. */
interface Process {
  readonly sequelize: Sequelize;
  readonly models: Models;
  readonly lookups: readonly Lookup[];
  readonly cache: FlashCache;
}

/** What a group runs on. */
export interface Lab {
  readonly databases: Databases;
  /** A store for each process; the file closes them. */
  readonly stores: readonly Store[];
}

interface Outcome {
  readonly value?: unknown;
  readonly error?: string;
  readonly thrown?: unknown;
}

export class GroupRun {
  readonly #group: Group;
  readonly #plainDatabase: Database;
  readonly #cachedDatabase: Database;
  #plain!: { readonly sequelize: Sequelize; readonly models: Models };
  #processes: readonly Process[] = [];
  /** Restores the rows that every cell begins with. */
  #seed: readonly string[] = [];
  /** What every lookup answers then. */
  #before: readonly string[] | undefined;
  /** Whether plain finds were compared after a write; once is enough. */
  #foundAlike = false;
  readonly #closing: (() => Promise<unknown>)[] = [];

  private constructor(group: Group, plain: Database, cached: Database) {
    this.#group = group;
    this.#plainDatabase = plain;
    this.#cachedDatabase = cached;
  }

  static async open(lab: Lab, group: Group): Promise<GroupRun> {
    const id = randomUUID().slice(0, 8);
    useContext(group.surroundings.cls === 'on');
    const run = new GroupRun(group, await lab.databases.create(`around_${id}_a`), await lab.databases.create(`around_${id}_b`));
    try {
      await run.#openPlain();
      await run.#openCached(lab.stores);
    } catch (error) {
      await run.close();
      throw error;
    }
    return run;
  }

  async #openPlain(): Promise<void> {
    const { stack, surroundings } = this.#group;
    const sequelize = sequelizeIn(stack, surroundings, this.#plainDatabase);
    this.#closing.push(() => sequelize.close());
    try {
      const models = defineModels(sequelize, surroundings, false);
      addJoiningScope(models, surroundings);
      await within('sync of plain Sequelize', sequelize.sync());
      const seed: string[] = Object.values(sequelize.models).map((model) => `DELETE FROM ${quotedTable(model)}`);
      for (const [model, rows] of baseRows(models, surroundings)) {
        const logging = (sql: string): void => {
          seed.push(sql.replace(/^Execut(?:ing|ed) \(.*?\): /, '').replace(/;$/, ''));
        };
        await model.bulkCreate(rows, { hooks: false, validate: false, logging, benchmark: false });
      }
      await this.#plainDatabase.run(refusalsOf(models, surroundings));
      this.#seed = seed.filter((sql) => /^(?:DELETE|INSERT)/.test(sql));
      this.#plain = { sequelize, models };
    } catch (error) {
      throw new NothingToCompare(`plain Sequelize: ${String(error)}`, { cause: error });
    }
  }

  async #openCached(stores: readonly Store[]): Promise<void> {
    const { stack, surroundings } = this.#group;
    const prefix = `a${randomUUID().slice(0, 8)}`;
    const processes: Process[] = [];
    for (const store of stores) {
      const first = processes[0]?.sequelize;
      const sequelize =
        first !== undefined && surroundings.clone === 'on' ? cloneOf(first, surroundings) : sequelizeIn(stack, surroundings, this.#cachedDatabase);
      this.#closing.unshift(() => sequelize.close());
      const models = defineModels(sequelize, surroundings, true);
      const lookups = declareCaches(models, surroundings);
      const cache = setupCache(sequelize, { store, prefix });
      this.#closing.unshift(() => cache.close(0));
      addJoiningScope(models, surroundings);
      if (first === undefined) {
        await within('sync with the cache', sequelize.sync());
        await this.#cachedDatabase.run(refusalsOf(models, surroundings));
      }
      processes.push({ sequelize, models, lookups, cache });
    }
    this.#processes = processes;
  }

  /** Compares one write path. @throws Difference */
  async compare(write: string): Promise<void> {
    await this.#reset();
    await this.#prime().catch((error: unknown) => {
      throw error instanceof Difference ? new EarlyDifference(error.message, { cause: error.cause }) : error;
    });
    const path = writes[write];
    if (path === undefined) throw new RangeError(`There is no write path '${write}'.`);
    const [writer] = this.#processes;
    if (writer === undefined) throw new Error('No process has a cache.');

    const expected = await outcomeOf(write, path({ ...this.#side(this.#plain), inside: () => Promise.resolve() }));
    const actual = await outcomeOf(write, path({ ...this.#side(writer), inside: (transaction) => this.#inside(transaction) }));
    if (actual.thrown instanceof Difference) throw actual.thrown;
    if (expected.thrown instanceof Difference) throw new NothingToCompare(`plain Sequelize: ${expected.thrown.message}`);
    if (expected.error !== actual.error) {
      throw new Difference(`ends with ${actual.error ?? 'success'}; plain Sequelize: ${expected.error ?? 'success'}`, { cause: actual.thrown ?? expected.thrown });
    }
    const [given, wanted] = [actual, expected].map(({ value }) => textOf(value, { withoutTimes: true }));
    if (given !== wanted) throw new Difference(`resolves to ${given}; plain Sequelize: ${wanted}`);
    await this.#compareRows(expected.error !== undefined);
    await this.#compareLookups();
    if (!this.#foundAlike) await this.#compareFinds(writer);
    this.#foundAlike = true;
    const waiting = writer.cache.undelivered;
    if (waiting > 0) throw new Difference(`${waiting} invalidations were not delivered`);
  }

  async close(): Promise<void> {
    for (const close of this.#closing) await within('close', close());
    await this.#plainDatabase.drop();
    await this.#cachedDatabase.drop();
  }

  #side({ sequelize, models }: { readonly sequelize: Sequelize; readonly models: Models }): Omit<Side, 'inside'> {
    return { sequelize, models, surroundings: this.#group.surroundings };
  }

  /** The same rows in both databases, and nothing cached of them. */
  async #reset(): Promise<void> {
    await this.#plainDatabase.run(this.#seed);
    await this.#cachedDatabase.run(this.#seed);
    // The join table has entries too, where relations are cached.
    await within('bumpVersion', Promise.all(Object.values(this.#processes[0]?.sequelize.models ?? {}).map(clear)));
  }

  /** Asks every lookup in every process, so that all of it is cached. */
  async #prime(): Promise<void> {
    for (const [at, process] of this.#processes.entries()) {
      const answers = await this.#ask(process, 'together');
      this.#before ??= await this.#actual(process.models, process.lookups);
      this.#same(`before the write, in process ${at + 1}`, process.lookups, answers, this.#before);
    }
  }

  /** The writer is asked twice: what the first answers have put into the cache has to be right, too. */
  async #compareLookups(): Promise<void> {
    const [writer] = this.#processes as readonly [Process, ...Process[]];
    const actual = await this.#actual(writer.models, writer.lookups);
    for (const [at, process] of this.#processes.entries()) {
      this.#same(`after the write, in process ${at + 1}`, process.lookups, await this.#ask(process, this.#group.surroundings.asking), actual);
    }
    this.#same('when asked again', writer.lookups, await this.#ask(writer, 'together'), actual);
  }

  /** Plain finds of a process with a cache are those of one without. */
  async #compareFinds({ models, lookups }: Process): Promise<void> {
    const form: CanonicalOptions = { withoutTimes: true };
    this.#same('a plain find for', lookups, await this.#actual(models, lookups, form), await this.#actual(this.#plain.models, lookups, form));
  }

  /** @param failed what was rejected as a whole may have parts that are still under way, so they are waited for */
  async #compareRows(failed: boolean): Promise<void> {
    const until = performance.now() + (failed ? settleMs : 0);
    const tables = Object.values(this.#plain.sequelize.models).map(quotedTable);
    for (;;) {
      const [plain, cached] = await Promise.all([this.#plainDatabase.rows(tables), this.#cachedDatabase.rows(tables)]);
      const [given, wanted] = [cached, plain].map((all) => all.map((rows) => textOf(rows, { withoutTimes: true }))) as [string[], string[]];
      const at = tables.findIndex((_, table) => given[table] !== wanted[table]);
      if (at === -1) return;
      if (performance.now() > until) throw new Difference(`the rows of ${String(tables[at])} are ${String(given[at])}; plain Sequelize: ${String(wanted[at])}`);
    }
  }

  /** In the writer's transaction: its lookups read it, and those of the other process do not. */
  async #inside(transaction: Transaction): Promise<void> {
    const [writer, other] = this.#processes as readonly [Process, Process?];
    const some = writer.lookups.filter(({ transactional }) => transactional).slice(0, 4);
    for (const lookup of some) {
      const cached = textOf(await within(lookup.name, lookup.cached({ transaction })));
      const actual = textOf(await lookup.actual(writer.models, { transaction }));
      if (cached !== actual) throw new Difference(`in the transaction ${lookup.name} is ${cached}; a plain find there: ${actual}`);
    }
    if (other === undefined) return;
    this.#same('beside the transaction', other.lookups, await outOfContext(() => this.#ask(other, 'together')), this.#before ?? []);
  }

  async #ask({ lookups }: Process, asking: Surroundings['asking']): Promise<string[]> {
    const ask = async (lookup: Lookup): Promise<string> => {
      try {
        return textOf(await within(lookup.name, lookup.cached()));
      } catch (error) {
        if (error instanceof Difference) throw error;
        return `rejects: ${String(error)}`;
      }
    };
    if (asking === 'together') return Promise.all(lookups.map(ask));
    const answers: string[] = [];
    for (const lookup of lookups) answers.push(await ask(lookup));
    return answers;
  }

  #actual(models: Models, lookups: readonly Lookup[], form: CanonicalOptions = {}): Promise<string[]> {
    return within('plain finds', Promise.all(lookups.map(async (lookup) => textOf(await lookup.actual(models, {}), form))));
  }

  #same(moment: string, lookups: readonly Lookup[], answers: readonly string[], expected: readonly string[]): void {
    for (const [at, { name }] of lookups.entries()) {
      if (answers[at] !== expected[at]) throw new Difference(`${moment} ${name} is ${String(answers[at])}; a plain find: ${String(expected[at])}`);
    }
  }
}

async function outcomeOf(write: string, made: Promise<unknown>): Promise<Outcome> {
  try {
    return { value: await within(write, made) };
  } catch (thrown) {
    if (thrown instanceof Difference) return { thrown };
    return { error: nameOf(thrown), thrown };
  }
}

/** Voids what is cached of a model, if anything is. */
async function clear(model: ModelStatic<Model>): Promise<void> {
  try {
    await bumpVersion(model);
  } catch (error) {
    if (!(error instanceof CacheNotRegisteredError)) throw error;
  }
}

/** Rejects where something takes so long that it must be hanging. */
async function within<T>(what: string, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new Difference(`${what} did not end within ${deadlineMs / 1000} s`));
    }, deadlineMs);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

