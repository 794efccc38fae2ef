/**
 * The net under every write: what happens before and after each statement.
 *
 * `interception.ts` tells of every statement that is sent, with `hooks: false` too, in pairs: the end
 * of a statement is told whether or not it succeeded. So no write path has to be known by
 * name, and no failure leaves a marker behind. COMMIT is a statement as well: there the entries of
 * a whole transaction are marked at once.
 */
import { QueryTypes, Transaction, type Model, type ModelStatic, type QueryOptions, type Sequelize } from 'sequelize';
import { setImmediate } from '../clock.js';
import type { Registry } from '../caches/registry.js';
import type { Affected, Table } from '../coherence/affected.js';
import type { Coherence } from '../coherence/coherence.js';
import type { Write } from '../coherence/write.js';
import { canonicalValues, tableName } from '../models/cached-model.js';
import { ownValues } from '../models/hydrate.js';
import { publish } from '../events.js';
import { noteWrite } from '../request-cache.js';
import { reachedBy, voidReached } from './cascades.js';
import { dependsOnAfter, Effects } from './effects.js';
import { aboutTables, canWrite, changeIn, dropsDatabase, isOneWrite, kindOf, mayEndTransaction } from './raw-sql.js';
import { ExactRows } from './exact-rows.js';
import { hasRowLocks, type RowLock } from './images.js';
import { aroundRun, Interception, type Sending } from './interception.js';
import { LostConnections } from './lost-connections.js';
import { isQuestion, rootOf, stateOf, watchTransaction } from './open-transactions.js';
import { CannotPrepare, inTheNameOf } from './own-statements.js';
import { inOwnTransaction, isOwn, sendUntilThrough } from './own-transaction.js';
import { nothingRead, readAfter, readBefore, type Before } from './row-reads.js';
import { Turns } from './turns.js';
import { isUndoable } from './undoable.js';
import { TextTransactions } from './text-transactions.js';
import { isTruncate, isWrite, planOf, readsRows, voidRowsOf, withoutReads, writtenColumns, type StatementOptions, type WritePlan } from './writes.js';

/** A transaction may write as many entries one by one as a statement's most rows have with a few keys each. */
const entriesPerRow = 4;

/** How many rows a transaction may write one by one where a bulk write may none. */
const rowsOfTransaction = 1000;

/** A statement between its two hooks. */
interface InFlight {
  readonly plan: WritePlan | undefined;
  readonly effects: Effects;
  /** The user's transaction that it runs in, to its root. */
  readonly root: Transaction | undefined;
  /** The rows as they were, by the plan's models. */
  before: Before;
  /** Without row locks: whether another write came between the reads and the statement. */
  wasDisturbed?: () => boolean;
  readonly write: Write | undefined;
  readonly unlock: (() => void) | undefined;
}

/** A save that is about to send its statement. */
interface Announced {
  readonly write: Write;
  readonly affected: Affected;
  /** Settles when the row is marked, with the error if that was refused. */
  readonly marked: Promise<{ readonly refused: unknown } | undefined>;
}

/** Sees the statements of one Sequelize instance. */
export class Statements {
  readonly #sequelize: Sequelize;
  readonly #registry: Registry;
  readonly #coherence: Coherence;
  readonly #rowLimit: number;
  readonly #byText = new TextTransactions();
  readonly #inFlight = new WeakMap<object, InFlight>();
  /** Statements that failed: `afterQuery` is not told. */
  readonly #failed = new WeakSet<object>();
  /** What the transactions will change when they commit. */
  readonly #pending = new WeakMap<Transaction, Effects>();
  /** Other Sequelize instances whose transactions this one wrote in. */
  readonly #watched = new Set<Sequelize>();
  readonly #rows: ExactRows;
  readonly #lost: LostConnections;
  /** Saves whose row is being marked already, by their instance. */
  readonly #announced = new WeakMap<Model, Announced>();
  readonly #turns = new Turns();
  readonly #locks = new Map<string, Promise<void>>();
  readonly #unlisten = new Set<() => void>();
  /** Outermost transactions that statements were sent in, until they end. */
  readonly #open = new Set<Transaction>();
  /** Set when only the transactions that are open are still seen; called when the last one has ended. */
  #closing: (() => void) | undefined;

  constructor(sequelize: Sequelize, registry: Registry, coherence: Coherence, rowLimit: number) {
    this.#sequelize = sequelize;
    this.#registry = registry;
    this.#coherence = coherence;
    this.#rowLimit = rowLimit;
    this.#rows = new ExactRows(sequelize, rowLimit);
    this.#lost = new LostConnections(sequelize);
  }

  /** Begins to see statements. */
  attach(): void {
    const interception = Interception.of(this.#sequelize);
    this.#unlisten.add(
      interception.listen({
        beforeStatement: (options, query) => this.#before(options, query),
        afterStatement: (options, query) => this.#after(options, query),
      }),
    );
    this.#unlisten.add(
      interception.listenToModels({
        afterDefine: () => {
          this.#registry.outdated();
        },
        beforeUpdate: (instance, options) => {
          this.#announce(instance, options);
        },
        afterBulkCreate: (instances, options) => this.#afterBulkCreate(instances, options),
      }),
    );
  }

  /**
   * Ends it, but for the transactions that are open: what they write is void when they end, as before.
   * @returns a promise that resolves when the last of them has ended; undefined if none is open
   */
  detach(): Promise<void> | undefined {
    const ended = new Promise<void>((resolve) => {
      this.#closing = resolve;
    });
    this.#endIfIdle();
    return this.#unlisten.size === 0 ? undefined : ended;
  }

  #noteOpen(root: Transaction): void {
    if (this.#open.has(root)) return;
    const owner = (root as unknown as { readonly sequelize?: Sequelize }).sequelize;
    // Where Sequelize asks for the server's version, it passes something that has a connection only.
    if (owner === undefined || isOver(root)) return;
    this.#open.add(root);
    this.#watch(owner);
  }

  #endIfIdle(): void {
    if (this.#closing === undefined) return;
    for (const transaction of this.#open) if (isOver(transaction)) this.#open.delete(transaction);
    if (this.#open.size > 0) return;
    for (const unlisten of this.#unlisten) unlisten();
    this.#unlisten.clear();
    this.#closing();
  }

  /** Whether a statement is none of this cache's business any more. */
  #isOutside(transaction: Transaction | null | undefined): boolean {
    return this.#closing !== undefined && (transaction == null || !this.#open.has(rootOf(transaction)));
  }

  async #before(options: StatementOptions, query: object): Promise<void> {
    if (this.#isOutside(options.transaction)) return;
    if (options.transaction != null && !isOwn(options.transaction)) this.#noteOpen(rootOf(options.transaction));
    if (options.type !== QueryTypes.SELECT || !isByModel(options)) this.#turns.begin(query);
    if (options.completesTransaction === true) {
      await this.#beforeCompletion(options, query);
      return;
    }
    this.#watchTransaction(options, query);
    if (!isByModel(options)) {
      this.#atRun(query, (sql) => this.#beforeText(sql, options, query));
      return;
    }
    const plan = planOf(options, this.#registry, this.#rowLimit);
    if (plan === undefined) {
      if (isTruncate(options)) await this.#beforeCommitting(options, query);
      return;
    }
    if (options.transaction == null || stateOf(options.transaction) === 'ended') await this.#beforeAutocommitted(plan, query, options);
    else await this.#beforeInTransaction(plan, options.transaction, query);
  }

  async #after(options: StatementOptions, query: object): Promise<void> {
    this.#turns.end(query);
    const statement = this.#inFlight.get(query);
    if (statement !== undefined) await this.#afterOwn(statement, options, query);
    // It ends with its COMMIT or ROLLBACK, whatever becomes of that.
    if (options.completesTransaction !== true || options.transaction == null || !isOver(options.transaction)) return;
    this.#open.delete(options.transaction);
    this.#endIfIdle();
  }

  async #afterOwn(statement: InFlight, options: StatementOptions, query: object): Promise<void> {
    this.#inFlight.delete(query);
    const { plan, effects, root, write, unlock } = statement;
    if (plan?.cascade !== undefined && statement.wasDisturbed?.() === true) voidReached(plan.cascade, effects);
    try {
      if (plan === undefined) {
        // COMMIT or raw SQL, whether it failed or not: after a failure it is not known what the database has.
        await this.#release(write, connectionOf(query));
        this.#registry.recompute(effects.resets);
        return;
      }
      if (root !== undefined) await this.#afterInTransaction(statement, plan, root, options.transaction ?? root, this.#failed.has(query) ? 'no lock' : 'lock');
      else {
        await readAfter(plan, statement.before, null, 'no lock');
        await this.#release(write, connectionOf(query), effects.affected);
      }
      if (root === undefined || write !== undefined) {
        this.#publish(effects);
        this.#registry.recompute(effects.resets);
      }
    } finally {
      unlock?.();
    }
  }

  // ---- Raw SQL and DDL ------------------------------------------------------------------------

  /** Calls `look` with a statement's text right before it is sent: `beforeQuery` comes too early to know it. */
  #atRun(query: object, look: (sql: string) => Promise<void>): void {
    aroundRun(query, async ({ run, sql }) => {
      if (typeof sql === 'string') await look(sql);
      return run();
    });
  }

  /** What raw SQL changes is known only by the tables that its text names: all that is cached of them. */
  async #beforeText(sql: string, { transaction, type = '', model }: StatementOptions, query: object): Promise<void> {
    if (transaction != null && isOwn(transaction)) return;
    // SET TRANSACTION is about one transaction, which Sequelize begins next.
    const connection = connectionOf(query);
    let written: Effects | undefined;
    if (!bySequelize.has(type)) {
      this.#rows.settings.noteText(sql, connection);
      written = this.#byText.note(sql, connection);
    }
    const effects = new Effects(kindOf(sql));
    if (canWrite(sql)) this.#nameTables(sql, effects);
    if (this.#byText.isOpenOn(connection)) this.#byText.keep(connection, effects);
    if (written !== undefined) effects.addAll(written);
    // The program says that it writes the model's table, which the text of a CALL does not name.
    if (model !== undefined && isWrite(type)) for (const bound of this.#registry.ofTable(model)) effects.table(bound, 'raw-sql');
    if (transaction == null) await this.#markText(effects, query);
    else await this.#beforeTextInTransaction(sql, rootOf(transaction), effects, query);
  }

  async #beforeTextInTransaction(sql: string, root: Transaction, effects: Effects, query: object): Promise<void> {
    const pending = this.#pendingOf(root, effects);
    // DDL and some others commit what the transaction did so far.
    const mayCommit = hasRowLocks(this.#sequelize) && (stateOf(root) !== 'open' || mayEndTransaction(sql));
    if (mayCommit) await this.#markText(pending, query);
  }

  /** TRUNCATE of a table of which nothing is cached commits what the transaction did so far. */
  async #beforeCommitting({ transaction, type = '' }: StatementOptions, query: object): Promise<void> {
    if (transaction != null && hasRowLocks(this.#sequelize)) await this.#markText(this.#pendingOf(rootOf(transaction), new Effects(type)), query);
  }

  async #markText(effects: Effects, query: object): Promise<void> {
    if (effects.empty) return;
    const write = this.#coherence.write();
    await write.mark(effects.affected);
    noteWrite(this.#registry);
    this.#inFlight.set(query, { plan: undefined, effects, root: undefined, before: nothingRead, write, unlock: undefined });
    this.#publish(effects);
  }

  /** Voids the tables that a text names. */
  #nameTables(sql: string, effects: Effects): void {
    for (const bound of dropsDatabase(sql) ? this.#registry : this.#registry.namedIn(sql)) {
      effects.table(bound, aboutTables(sql) ? 'whole-table' : 'raw-sql');
    }
    const { references } = this.#registry;
    voidReached({ reached: reachedBy(this.#registry, references.namedIn(sql.toLowerCase()), changeIn(sql)) }, effects);
  }

  // ---- Autocommitted statements ---------------------------------------------------------------

  /**
   * An instance is about to be saved: its row is marked while Sequelize validates it and writes the
   * statement, which takes about as long as the round trip. If the statement does not follow at once
   * (a hook of the user's waits, or nothing is saved after all), the marker goes again.
   */
  #announce(instance: Model, { transaction }: StatementOptions): void {
    const changed = instance.changed();
    if (transaction != null || this.#closing !== undefined || changed === false || this.#announced.has(instance)) return;
    const set = new Set(changed);
    const affected = new Map<string, Table>();
    for (const { cached, all } of this.#registry.ofTable(instance.constructor as ModelStatic<Model>)) {
      const primaryKey = cached.keyValues(instance, cached.primaryKey);
      // More than the row depends on it, which only the statement's plan can tell.
      if (primaryKey === undefined || cached.passThrough !== undefined || all.some((cache) => dependsOnAfter(cache, set))) return;
      affected.set(cached.rowKey(primaryKey), cached.tableKeys);
    }
    if (affected.size === 0) return;
    const write = this.#coherence.write();
    const marked = write.mark(affected).then(
      () => undefined,
      (refused: unknown) => ({ refused }),
    );
    this.#announced.set(instance, { write, affected, marked });
    setImmediate(() => {
      if (this.#announced.get(instance)?.write !== write) return;
      this.#announced.delete(instance);
      void marked.then(() => write.release());
    });
  }

  /** The write that was announced for the statement's instance, with its markers in place; or a new one. */
  async #begin(instance: Model | undefined): Promise<{ write: Write; marked: Affected }> {
    const announced = instance === undefined ? undefined : this.#announced.get(instance);
    if (instance === undefined || announced === undefined) return { write: this.#coherence.write(), marked: new Map() };
    this.#announced.delete(instance);
    const refusal = await announced.marked;
    if (refusal !== undefined) throw refusal.refused;
    return { write: announced.write, marked: announced.affected };
  }

  async #beforeAutocommitted(plan: WritePlan, query: object, options: StatementOptions): Promise<void> {
    const { effects } = plan;
    const isByText = this.#keepByText(plan, options, connectionOf(query));
    const reads = readsRows(plan);
    if (reads && hasRowLocks(this.#sequelize)) {
      aroundRun(query, (sending) => this.#runInOwnTransaction(plan, query, options, sending));
      return;
    }
    if (hasRowLocks(this.#sequelize) && options.transaction == null && !isByText) {
      aroundRun(query, ({ sql, run }) => (typeof sql === 'string' && isOneWrite(sql) ? sendUntilThrough(run) : run()));
    }
    const unlock = reads ? await this.#lock(tableOf(plan)) : undefined;
    let write: Write | undefined;
    try {
      const begun = await this.#begin(options.instance);
      write = begun.write;
      const wasDisturbed = this.#turns.watch(query);
      const before = await readBefore(plan, this.#rowLimit, null, 'scan');
      await write.mark(without(effects.affected, begun.marked));
      noteWrite(this.#registry);
      this.#inFlight.set(query, { plan, effects, root: undefined, before, write, unlock, wasDisturbed });
    } catch (error) {
      // `afterQuery` runs, but knows nothing of this statement.
      unlock?.();
      await write?.release();
      throw error;
    }
  }

  /** Keeps the tables of a statement in a transaction that the program began by a text, if it is in one. */
  #keepByText(plan: WritePlan, { instance, model }: StatementOptions, connection: unknown): boolean {
    if (!this.#byText.isOpenOn(connection)) return false;
    const effects = new Effects('COMMIT');
    voidRowsOf({ ...plan, effects });
    const written = (instance?.constructor as ModelStatic<Model> | undefined) ?? model;
    // Of what is void as a whole already the plan has no more.
    if (written !== undefined) for (const bound of this.#registry.ofTable(written)) effects.table(bound, 'unknown-rows');
    this.#byText.keep(connection, effects);
    return true;
  }

  /** Runs a statement whose rows have to be read, in a transaction around it on its own connection. */
  async #runInOwnTransaction(plan: WritePlan, query: object, options: StatementOptions, sending: Sending): Promise<unknown> {
    const { effects } = plan;
    const connection = connectionOf(query);
    const { write } = await this.#begin(options.instance);
    noteWrite(this.#registry);
    const mark = async (): Promise<void> => {
      await write.mark(effects.affected);
      noteWrite(this.#registry);
    };
    const runAlone = async (): Promise<unknown> => {
      voidRowsOf(plan);
      await mark();
      return sending.run();
    };
    let result: unknown;
    try {
      const isOpen = this.#byText.isOpenOn(connection);
      result = isOpen ? await runAlone() : await inOwnTransaction(this.#sequelize, connection, this.#rows.settings, {
        // Sequelize itself has ended, at a deadlock, the user's transaction that TRUNCATE had ended in the server.
        repeatable: options.transaction == null && typeof sending.sql === 'string' && isOneWrite(sending.sql),
        level: (own) => this.#rows.levelFor(plan, own),
        run: async (own, level) => {
          const sent = await this.#rows.runInOwn(plan, query, own, level, sending);
          // The rows that it wrote are its own until the commit.
          await readAfter(plan, sent.before, own, 'no lock');
          return sent;
        },
        isUndoable: (own) => isUndoable(this.#sequelize, own, tableOf(plan)),
        acceptJoined: (joined) => {
          for (const bound of joined) effects.table(bound, 'weak-isolation');
        },
        mark,
        runAlone,
      });
    } catch (error) {
      throw inTheNameOf(error, sending.sql, sending.parameters);
    } finally {
      await this.#release(write, connection);
    }
    this.#publish(effects);
    this.#registry.recompute(effects.resets);
    return result;
  }

  // ---- Transactions ---------------------------------------------------------------------------

  async #beforeInTransaction(given: WritePlan, transaction: Transaction, query: object): Promise<void> {
    const root = rootOf(transaction);
    // It may be committed at once, or with the transaction: void now and at COMMIT. No lock is sure to outlast a read.
    const isUnsure = hasRowLocks(this.#sequelize) && stateOf(root) === 'unknown';
    const plan = isUnsure ? withoutReads(given) : given;
    let write: Write | undefined;
    if (plan.commits || isUnsure) {
      write = this.#coherence.write();
      // TRUNCATE commits what the transaction did so far.
      await write.mark((plan.commits ? this.#pendingOf(root, plan.effects) : plan.effects).affected);
      noteWrite(this.#registry);
    }
    const statement: InFlight = { plan, effects: plan.effects, root, before: nothingRead, write, unlock: undefined };
    this.#inFlight.set(query, statement);
    aroundRun(query, (sending) => this.#runInTransaction(statement, plan, transaction, query, sending));
  }

  async #runInTransaction(statement: InFlight, plan: WritePlan, transaction: Transaction, query: object, sending: Sending): Promise<unknown> {
    const { effects } = plan;
    try {
      if (!hasRowLocks(this.#sequelize)) {
        statement.wasDisturbed = this.#turns.watch(query);
        statement.before = await readBefore(plan, this.#rowLimit, transaction, 'scan');
        return await sending.run();
      }
      const { result, before, joined } = await this.#rows.runInUsers(plan, query, transaction, rootOf(transaction), sending);
      statement.before = before;
      for (const bound of joined) effects.table(bound, 'weak-isolation');
      return result;
    } catch (error) {
      if (!(error instanceof CannotPrepare)) {
        this.#failed.add(query);
        throw error;
      }
      voidRowsOf(plan);
      return await sending.run();
    }
  }

  /**
   * @param rowLock rows that the statement wrote are locked anyway; to read them without a lock
   *   would take the transaction's snapshot, before the user's first read does
   */
  async #afterInTransaction(
    statement: InFlight,
    plan: WritePlan,
    root: Transaction,
    transaction: Transaction,
    rowLock: RowLock,
  ): Promise<void> {
    if (isOver(root)) {
      // Rolled back by a deadlock: nothing that it did is there, and nothing can be read in it.
      for (const { bound } of plan.models) if (plan.commits) statement.effects.table(bound, 'whole-table');
    } else {
      await readAfter(plan, statement.before, transaction, rowLock);
    }
    this.#pendingOf(root, statement.effects);
    if (statement.write !== undefined) await this.#release(statement.write, connectionOf(transaction), statement.effects.affected);
    // The transaction ended before the statement, or by it; or may have.
    else if (stateOf(root) !== 'open') {
      await this.#invalidate(statement.effects);
      this.#publish(statement.effects);
    }
  }

  /** Voids what was committed already. */
  async #invalidate(effects: Effects): Promise<void> {
    if (effects.empty) return;
    await this.#coherence.invalidate(effects.affected);
    noteWrite(this.#registry);
    this.#registry.recompute(effects.resets);
  }

  /** Notices when a statement ends the transaction that it is sent in. */
  #watchTransaction(options: StatementOptions, query: object): void {
    const { transaction, type = '' } = options;
    if (transaction == null || isOwn(transaction) || Object.hasOwn(options, isQuestion) || bySequelize.has(type)) return;
    watchTransaction(this.#sequelize, transaction, query, (sql) => {
      if (isTruncate(options)) return 'ends';
      return !isByModel(options) && typeof sql === 'string' && mayEndTransaction(sql) ? 'unknown' : 'goes on';
    });
  }

  /** COMMIT or ROLLBACK of a transaction, or ROLLBACK TO SAVEPOINT. */
  async #beforeCompletion({ transaction }: StatementOptions, query: object): Promise<void> {
    const finished = (transaction as { readonly finished?: string } | null | undefined)?.finished;
    // What a savepoint rolled back stays pending: an entry too many is void, none is missed.
    if (transaction == null || finished !== 'commit') return;
    const effects = this.#pending.get(transaction);
    if (effects === undefined || effects.empty) return;
    this.#pending.delete(transaction);
    const write = this.#coherence.write();
    try {
      await write.mark(effects.affected);
    } catch (refused) {
      // COMMIT will not be sent; Sequelize only gives the connection up, which need not end the transaction.
      await this.#rollback(transaction);
      throw refused;
    }
    noteWrite(this.#registry);
    this.#inFlight.set(query, {
      plan: undefined,
      effects,
      root: transaction,
      before: nothingRead,
      write,
      unlock: undefined,
    });
    this.#publish(effects);
  }

  async #rollback(transaction: Transaction): Promise<void> {
    const options: QueryOptions & { completesTransaction: true } = { transaction, raw: true, completesTransaction: true };
    try {
      await this.#sequelize.query('ROLLBACK', options);
    } catch (cause) {
      publish('error', () => ({ operation: 'rollback', cause }));
    }
  }

  /** Adds to what a transaction will change; resolves to all of it. */
  #pendingOf(root: Transaction, effects: Effects): Effects {
    const pending = this.#pending.get(root) ?? new Effects('COMMIT');
    pending.addAll(effects);
    const crowded = pending.crowded((this.#rowLimit === 0 ? rowsOfTransaction : this.#rowLimit) * entriesPerRow);
    if (crowded.length > 0) {
      // Many small statements are as wide as a large one.
      for (const bound of this.#registry) if (crowded.includes(bound.cached.tableKeys.generation)) pending.table(bound, 'too-many-rows');
    }
    this.#pending.set(root, pending);
    return pending;
  }

  /**
   * CLS is one for all Sequelize instances, so that one writes in another's transaction: its COMMIT
   * goes through the other one's hooks.
   */
  #watch(owner: Sequelize): void {
    if (owner === this.#sequelize || this.#watched.has(owner)) return;
    this.#watched.add(owner);
    this.#unlisten.add(
      Interception.of(owner).listen({
        beforeStatement: (options, query) =>
          options.completesTransaction === true ? this.#beforeCompletion(options, query) : this.#beforeStatementOfOwner(options, query),
        afterStatement: (options, query) => this.#after(options, query),
      }),
    );
  }

  /** A statement of another Sequelize instance, in a transaction that this one wrote in. */
  async #beforeStatementOfOwner(options: StatementOptions, query: object): Promise<void> {
    const { transaction } = options;
    if (transaction == null || !this.#pending.has(rootOf(transaction))) return;
    this.#watchTransaction(options, query);
    if (isTruncate(options)) await this.#beforeCommitting(options, query);
    else if (!isByModel(options)) this.#atRun(query, (sql) => this.#beforeTextInTransaction(sql, rootOf(transaction), new Effects(kindOf(sql)), query));
  }

  /** The ids of a bulk insert, which only its hook knows. */
  async #afterBulkCreate(instances: readonly Model[], options: StatementOptions): Promise<void> {
    const [first] = instances;
    if (first === undefined || this.#isOutside(options.transaction)) return;
    const effects = new Effects(QueryTypes.INSERT);
    for (const bound of this.#registry.ofTable(first.constructor as (typeof Model & (new () => Model)))) {
      const { cached } = bound;
      if (!cached.autoIncrement || cached.passThrough !== undefined) continue;
      for (const instance of instances) {
        const primaryKey = canonicalValues(cached.primaryKey, ({ name }) => ownValues(instance)[name] ?? undefined);
        if (primaryKey === undefined) effects.table(bound, 'unknown-rows');
        else effects.row(bound, primaryKey);
      }
    }
    const { transaction } = options;
    const state = transaction == null ? 'ended' : stateOf(transaction);
    if (transaction != null && state !== 'ended') this.#pendingOf(rootOf(transaction), effects);
    if (state !== 'open') await this.#invalidate(effects);
  }

  // ---- Release --------------------------------------------------------------------------------

  /**
   * Removes a write's markers. But a server does not notice that its client is gone while a statement
   * waits for a lock, and commits it later: where the connection was lost, the markers stand until the
   * server has ended its side of it.
   *
   * What requests have looked up is void after the store was told, not before: a read in between
   * may find there what stood under a key that became known only now.
   */
  async #release(write: Write | undefined, connection: unknown, more?: Affected): Promise<void> {
    if (write === undefined) return;
    if (!hasRowLocks(this.#sequelize) || this.#lost.isUsable(connection)) await write.release(more);
    else {
      const isOver = (): Promise<boolean> => this.#lost.isGone(connection);
      void write.releaseWhen(isOver, this.#coherence.markerLife, more).then(() => {
        noteWrite(this.#registry);
      });
    }
    noteWrite(this.#registry);
  }

  // ---- Helpers --------------------------------------------------------------------------------

  /** Where the database has no row locks, writes that have to read take turns. */
  async #lock(table: string): Promise<() => void> {
    const before = this.#locks.get(table);
    let unlock: () => void = () => undefined;
    const held = new Promise<void>((resolve) => {
      unlock = resolve;
    });
    const chain = (before ?? Promise.resolve()).then(() => held);
    this.#locks.set(table, chain);
    await before;
    return () => {
      unlock();
      if (this.#locks.get(table) === chain) this.#locks.delete(table);
    };
  }

  #publish(effects: Effects): void {
    publish('invalidate', () => ({ keys: [...effects.affected.keys()], wide: effects.wide }));
  }
}

/** Whether a method of a model or of the query interface sends a statement, so that its plan says what it writes. */
const isByModel = (options: StatementOptions): boolean =>
  options.model !== undefined && (isWrite(options.type) ? !isText(options) : options.type === QueryTypes.SELECT && typeof options.hooks === 'boolean');

/**
 * Whether the program wrote a text itself, whatever type, model and instance it gave. A text can do anything.
 * The methods of models set `hooks`; those of the query interface tell what they set.
 */
const isText = ({ hooks, increment, [writtenColumns]: columns }: StatementOptions): boolean =>
  typeof hooks !== 'boolean' && increment === undefined && columns === undefined;

/** Whether COMMIT or ROLLBACK of a transaction was begun. */
const isOver = (transaction: Transaction): boolean => (transaction as { readonly finished?: string }).finished !== undefined;

/** What Sequelize gives START TRANSACTION and SAVEPOINT in place of a query's type. */
const bySequelize: ReadonlySet<string> = new Set(Object.values(Transaction.TYPES));

/** The connection of a query or a transaction. */
const connectionOf = (holder: object): unknown => Reflect.get(holder, 'connection');

/** The table that a statement writes to. */
const tableOf = ({ models: [first], cascade }: WritePlan): string => first?.bound.cached.table ?? (cascade === undefined ? '' : tableName(cascade.model));

/** What of the entries is not among `others`. */
function without(entries: Affected, others: Affected): Affected {
  if (others.size === 0) return entries;
  return new Map([...entries].filter(([key]) => !others.has(key)));
}
