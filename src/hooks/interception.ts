/**
 * Every change that this package makes to objects of Sequelize's, so that it sees their statements.
 *
 * Statements are seen through an own property `runHooks` of the Sequelize instance: `query` calls
 * `this.runHooks('beforeQuery', …)` before each statement and `this.runHooks('afterQuery', …)` in a
 * `finally` after it. Unlike an entry in `options.hooks` it is not copied with the options of the
 * instance, and is not lost when a program empties or replaces `options.hooks`.
 *
 * Hooks of models run from `options.hooks` only. Those of this package serve speed and the ids of bulk
 * inserts. They are plain functions, the same ones for every Sequelize instance: a copy of the options
 * takes them along, and there they find out that nobody listens. Each statement checks that they are
 * still in place, and puts them back.
 */
import type { Model, ModelStatic, Sequelize, WhereOptions } from 'sequelize';
import { publish } from '../events.js';
import { BulkCondition, bulkCondition, bulkInstances, writtenColumns, type StatementOptions } from './writes.js';

/** Is told of every statement of a Sequelize instance. */
export interface StatementListener {
  /** Runs after the program's own hooks, right before the statement is sent. If it rejects, nothing is sent. */
  beforeStatement(options: StatementOptions, query: object): Promise<void>;
  /**
   * Runs before the program's own hooks, one of which may throw. It also runs where a hook `beforeQuery` of the
   * program refused the statement, of which `beforeStatement` is not told: a refused COMMIT ends its transaction.
   */
  afterStatement(options: StatementOptions, query: object): Promise<void>;
}

/** Is told what models do beyond their statements. */
export interface ModelListener {
  afterDefine(): void;
  beforeUpdate(instance: Model, options: StatementOptions): void;
  afterBulkCreate(instances: readonly Model[], options: StatementOptions): Promise<void>;
}

type RunHooks = (this: unknown, ...args: readonly unknown[]) => unknown;

const interceptions = new WeakMap<Sequelize, Interception>();

/** What is intercepted of one Sequelize instance, for everybody who listens to it. */
export class Interception {
  readonly #sequelize: Sequelize;
  readonly #hooks: ModelHooks;
  #statementListeners: readonly StatementListener[] = [];
  #modelListener: ModelListener | undefined;
  /** Who was told that a statement begins, and has to be told that it ended. */
  readonly #told = new WeakMap<object, readonly StatementListener[]>();
  #underWay = 0;
  #restore: (() => void) | undefined;

  private constructor(sequelize: Sequelize) {
    this.#sequelize = sequelize;
    this.#hooks = new ModelHooks(sequelize);
  }

  /** The interception of a Sequelize instance; nothing is changed until somebody listens. */
  static of(sequelize: Sequelize): Interception {
    const interception = interceptions.get(sequelize) ?? new Interception(sequelize);
    interceptions.set(sequelize, interception);
    return interception;
  }

  /** The listener for the models of a Sequelize instance, if there is one. */
  static modelListenerOf(sequelize: Sequelize | undefined): ModelListener | undefined {
    const interception = sequelize === undefined ? undefined : interceptions.get(sequelize);
    return interception === undefined ? undefined : interception.#modelListener;
  }

  /** Tells a listener of every statement from now on. Returns what ends it. */
  listen(listener: StatementListener): () => void {
    this.#statementListeners = [...this.#statementListeners, listener];
    this.#restore ??= this.#replaceRunHooks();
    return () => {
      this.#statementListeners = this.#statementListeners.filter((one) => one !== listener);
      this.#restoreIfIdle();
    };
  }

  /** Tells a listener of what models do from now on. Returns what ends it. */
  listenToModels(listener: ModelListener): () => void {
    this.#modelListener = listener;
    this.#hooks.putBack();
    const untell = tellArguments(this.#sequelize.getQueryInterface());
    return () => {
      untell();
      // The cache may have been set up anew.
      if (this.#modelListener !== listener) return;
      this.#modelListener = undefined;
      this.#hooks.remove();
    };
  }

  /** A statement under way has to be told that it ended, although everybody has left meanwhile. */
  #restoreIfIdle(): void {
    if (this.#statementListeners.length > 0 || this.#underWay > 0) return;
    this.#restore?.();
    this.#restore = undefined;
  }

  /**
   * `runHooks` is an accessor: a program that assigns a function of its own wraps ours, whether or not
   * that function calls what it found. Returns what undoes it.
   */
  #replaceRunHooks(): () => void {
    const target = this.#sequelize as object;
    const before = Object.getOwnPropertyDescriptor(target, 'runHooks');
    const original: RunHooks = function runHooks(this: unknown, ...args) {
      const found: unknown = before === undefined ? Reflect.get(Object.getPrototypeOf(target) as object, 'runHooks', this) : before.get === undefined ? before.value : before.get.call(this);
      return Reflect.apply(found as RunHooks, this, args);
    };
    const first = this.#around(original);
    const ours = new Map<unknown, RunHooks>([[first, original]]);
    let current = first;
    const getter = (): RunHooks => current;
    const setter = (given: RunHooks): void => {
      // A program that puts back what it found has ours again.
      if (!ours.has(given)) ours.set(this.#around(given), given);
      current = ours.has(given) ? given : ([...ours.keys()].at(-1) as RunHooks);
    };
    // It can be enumerated: a copy of the whole instance shares its connections and models, and what sees its statements.
    Object.defineProperty(target, 'runHooks', { configurable: true, enumerable: true, get: getter, set: setter });
    return () => {
      // Somebody's who defined the property anew calls ours, which does nothing any more.
      if (Object.getOwnPropertyDescriptor(target, 'runHooks')?.get !== getter) return;
      if (current !== first) Object.defineProperty(target, 'runHooks', { configurable: true, enumerable: true, writable: true, value: ours.get(current) });
      else if (before === undefined) Reflect.deleteProperty(target, 'runHooks');
      else Object.defineProperty(target, 'runHooks', before);
    };
  }

  /** `runHooks` with our listeners around those of the program. */
  #around(next: RunHooks): RunHooks {
    const before = (self: unknown, args: readonly unknown[]): unknown => this.#before(next, self, args);
    const after = (self: unknown, args: readonly unknown[]): unknown => this.#after(next, self, args);
    const defined = (): void => this.#modelListener?.afterDefine();
    return function runHooks(this: unknown, ...args) {
      if (args[0] === 'beforeQuery') return before(this, args);
      if (args[0] === 'afterQuery') return after(this, args);
      if (args[0] === 'afterDefine') defined();
      return Reflect.apply(next, this, args);
    };
  }

  async #before(next: RunHooks, self: unknown, args: readonly unknown[]): Promise<void> {
    const [, options, query] = args as readonly [string, StatementOptions, object];
    // Where a program has wrapped ours, both are called, and the outer one tells.
    if (this.#told.has(query) || this.#statementListeners.length === 0) {
      await Reflect.apply(next, self, args);
      return;
    }
    this.#told.set(query, []);
    try {
      await Reflect.apply(next, self, args);
    } finally {
      // They may all have left since.
      this.#told.set(query, this.#statementListeners);
      if (this.#statementListeners.length > 0) this.#underWay += 1;
    }
    if (this.#checkHooks()) Reflect.deleteProperty(options, bulkInstances);
    for (const listener of this.#told.get(query) ?? []) await listener.beforeStatement(options, query);
  }

  async #after(next: RunHooks, self: unknown, args: readonly unknown[]): Promise<void> {
    const [, options, query] = args as readonly [string, StatementOptions, object];
    const listeners = this.#told.get(query) ?? [];
    if (listeners.length === 0) {
      await Reflect.apply(next, self, args);
      return;
    }
    this.#told.set(query, []);
    const errors: unknown[] = [];
    try {
      for (const listener of listeners) {
        try {
          await listener.afterStatement(options, query);
        } catch (error) {
          errors.push(error);
        }
      }
      this.#underWay -= 1;
      this.#restoreIfIdle();
      if (errors.length > 0) throw errors[0];
    } finally {
      await Reflect.apply(next, self, args);
      // The hook of a bulk insert comes next.
      this.#checkHooks();
    }
  }

  /** Puts the hooks of models back where the program removed them. Returns whether it had. */
  #checkHooks(): boolean {
    if (this.#modelListener === undefined) return false;
    const missing = this.#hooks.putBack();
    if (missing.length > 0) publish('rehooked', () => ({ hooks: missing }));
    return missing.length > 0;
  }
}

// ---- Hooks of models ----------------------------------------------------------------------------

const sequelizeOf = (instance: Model | undefined): Sequelize | undefined => (instance?.constructor as ModelStatic<Model> | undefined)?.sequelize;

/** Shared by all Sequelize instances, so that a copy of one's options has what the other needs too. */
const modelHooks = {
  beforeUpdate: (instance: Model, options: StatementOptions): void => {
    Interception.modelListenerOf(sequelizeOf(instance))?.beforeUpdate(instance, options);
  },
  beforeBulkCreate: (instances: readonly Model[], options: StatementOptions): void => {
    // The statement's options are copies of these.
    if (Interception.modelListenerOf(sequelizeOf(instances[0])) !== undefined) Reflect.set(options, bulkInstances, instances);
  },
  afterBulkCreate: (instances: readonly Model[], options: StatementOptions): Promise<void> | undefined =>
    Interception.modelListenerOf(sequelizeOf(instances[0]))?.afterBulkCreate(instances, options),
} as const;

interface HookOptions {
  hooks?: Record<string, unknown> | null;
}

/** Our hooks among the program's in `options.hooks`, which it may replace, empty or freeze. */
class ModelHooks {
  readonly #options: HookOptions;
  /** The lists that were not there before. */
  readonly #created = new WeakSet<unknown[]>();

  constructor(sequelize: Sequelize) {
    this.#options = (sequelize as unknown as { readonly options: HookOptions }).options;
  }

  /** Adds those that are not there. Returns their names. */
  putBack(): readonly string[] {
    const missing: string[] = [];
    for (const name in modelHooks) {
      const list = this.#options.hooks?.[name];
      const hook = modelHooks[name as keyof typeof modelHooks];
      if (!(Array.isArray(list) && list.includes(hook)) && this.#add(name, list, hook)) missing.push(name);
    }
    return missing;
  }

  /** Leaves the lists as if ours had never been in them. */
  remove(): void {
    const { hooks } = this.#options;
    for (const name in modelHooks) {
      const list = hooks?.[name];
      if (!Array.isArray(list)) continue;
      const at = list.indexOf(modelHooks[name as keyof typeof modelHooks]);
      if (at < 0) continue;
      if (Object.isFrozen(list)) Reflect.set(hooks as object, name, list.filter((_, index) => index !== at));
      else list.splice(at, 1);
      if (list.length === 0 && this.#created.has(list)) Reflect.deleteProperty(hooks as object, name);
    }
  }

  #add(name: string, list: unknown, hook: unknown): boolean {
    const { hooks } = this.#options;
    if (hooks == null || !Object.isExtensible(hooks)) Reflect.set(this.#options, 'hooks', { ...hooks });
    if (Array.isArray(list) && Object.isExtensible(list)) return list.push(hook) > 0;
    // Sequelize takes a single function for a list of one.
    const added = [...(Array.isArray(list) ? (list as unknown[]) : list === undefined ? [] : [list]), hook];
    if (list === undefined) this.#created.add(added);
    return Reflect.set(this.#options.hooks ?? {}, name, added);
  }
}

// ---- One query ----------------------------------------------------------------------------------

/** A statement that is about to be sent. */
export interface Sending {
  readonly sql: unknown;
  readonly parameters: unknown;
  /** Sends it. */
  readonly run: () => Promise<unknown>;
}

/** Lets `around` send a query's statement. With `showWarnings` the query runs another one meanwhile. */
export function aroundRun(query: object, around: (sending: Sending) => Promise<unknown>): void {
  const run = Reflect.get(query, 'run') as (this: unknown, sql: unknown, parameters: unknown) => Promise<unknown>;
  let isRunning = false;
  Reflect.set(query, 'run', async (sql: unknown, parameters: unknown) => {
    if (isRunning) return run.call(query, sql, parameters);
    isRunning = true;
    try {
      return await around({ sql, parameters, run: () => run.call(query, sql, parameters) });
    } finally {
      isRunning = false;
    }
  });
}

// ---- The query interface ------------------------------------------------------------------------

type Method = (...args: readonly unknown[]) => Promise<unknown>;

/** Methods whose statements show in their arguments only what they set, and where: the places of these among the arguments. */
const setters: Readonly<Record<string, { readonly columns: readonly number[]; readonly options: number; readonly condition?: number }>> = {
  increment: { columns: [3, 4], options: 5 },
  decrement: { columns: [3, 4], options: 5 },
  update: { columns: [2], options: 4 },
  bulkUpdate: { columns: [1], options: 3, condition: 2 },
  // Only to tell that the program did not write the text.
  insert: { columns: [], options: 3 },
  delete: { columns: [], options: 3 },
};

/** Whether a method of a model calls: it sets `hooks`. */
const isOfModel = (options: unknown): boolean => typeof options === 'object' && options !== null && typeof Reflect.get(options, 'hooks') === 'boolean';

/** Lets the statements of a query interface tell which columns they set, and by which condition. Returns what undoes it. */
function tellArguments(queryInterface: object): () => void {
  const undo = Object.entries(setters).map(([method, { columns, options, condition }]) => {
    const before = Object.getOwnPropertyDescriptor(queryInterface, method);
    const original = Reflect.get(queryInterface, method) as Method;
    const telling: Method = (...args) => {
      if (columns.length === 0 && isOfModel(args[options])) return Reflect.apply(original, queryInterface, args);
      const named = columns.map((at) => args[at]).filter((values) => typeof values === 'object' && values !== null);
      const given = args[options];
      const told = {
        ...(typeof given === 'object' ? given : undefined),
        [writtenColumns]: named.flatMap((values) => Object.keys(values)),
        ...(condition === undefined ? {} : { [bulkCondition]: new BulkCondition(args[condition] as WhereOptions | undefined) }),
      };
      return Reflect.apply(original, queryInterface, Object.assign([...args], { [options]: told }));
    };
    Reflect.set(queryInterface, method, telling);
    return () => {
      // Whoever wrapped it since calls ours, which does no harm.
      if (Reflect.get(queryInterface, method) !== telling) return;
      if (before === undefined) Reflect.deleteProperty(queryInterface, method);
      else Object.defineProperty(queryInterface, method, before);
    };
  });
  return () => {
    for (const restore of undo) restore();
  };
}
