/**
 * The whole system at one moment, and everything that can happen next.
 *
 * A step is one operation taking effect at the store or the database and its reply reaching the
 * process. That both are one step loses nothing: what the process does with the reply is to start
 * further operations, and those take effect whenever the scheduler wants. Not so where two threads
 * of one process share what it knows (a load in flight, a connection that keeps the order): there
 * replies travel by themselves (`lateReplies`).
 */
import type { Plugin, ProcessSpec } from './live-process.js';
import { writeLease } from './live-process.js';
import { abandon, execute, matching, writesAnything, type DatabaseState, type Rows } from './model-database.js';
import type { ModelStore, StoredItem, StoreState } from './model-store.js';
import { ProcessTree, Unexplored, type ProcessNode } from './process-tree.js';
import type { Input, Item, Op, Reply, SqlOp, StoreOp } from './protocol-types.js';
import { taskOf, type Question, type TaskName } from './tasks.js';
import { renumbered } from './texts.js';

export type Fault = 'crash' | 'eviction' | 'lost reply' | 'pause';

/** What is explored. */
export interface Scenario {
  readonly name: string;
  /** Each process by its threads' tasks. Processes with the same tasks are interchangeable. */
  readonly processes: readonly (readonly (readonly TaskName[])[])[];
  /** Tasks that were done one after the other before it begins, so that the cache is warm. */
  readonly before?: readonly TaskName[];
  /** The names of the rows at the start, by id. @default { 1: 'a' } */
  readonly rows?: Readonly<Record<number, string>>;
  readonly inOrder: boolean;
  /** The keys of one multi-get are read one by one, as memcached's threads may do it. */
  readonly torn?: boolean;
  /** Replies take their time. */
  readonly lateReplies?: boolean;
  readonly faults?: readonly Fault[];
  /** How many faults one run may have. @default 1 */
  readonly mostFaults?: number;
  readonly onStoreFailure?: ProcessSpec['onStoreFailure'];
  /** Milliseconds. @default 4, which is one wait of a reader for another one's fill */
  readonly leaseWait?: number;
  readonly heartbeats?: number;
  /** Readers place leases together with their looks. */
  readonly missesLikely?: boolean;
  /** The largest value that the store takes, in bytes. A row has more than 40. @default 1024 */
  readonly maxValueBytes?: number;
  /** What fresh processes read at the end. @default by every id and name */
  readonly questions?: readonly TaskName[];
}

/** A promise that was broken. */
export class Violation extends Error {
  constructor(
    readonly promise: 'P1' | 'P2' | 'P3' | 'P4' | 'liveness',
    message: string,
  ) {
    super(message);
  }
}

interface Proc {
  readonly name: string;
  readonly tree: ProcessTree;
  /** null when it is finished or crashed. */
  readonly node: ProcessNode | null;
  /** What the process's own numbers are here. */
  readonly ids: readonly number[];
  /** Multi-gets of which some keys were read: by operation. */
  readonly partial: ReadonlyMap<number, readonly (Item | null | undefined)[]>;
  /** Replies that are on their way. */
  readonly ready: readonly { readonly op: number; readonly reply: Reply }[];
  /** Where in the log the running write committed; -1 if it did not. */
  readonly commit: number;
  /** A commit that was acknowledged while its invalidation was not delivered yet (`onStoreFailure: 'available'`). */
  readonly owed: number;
  /** Its plain SELECT will not take effect before something more is committed. */
  readonly deferred: boolean;
  /** From where in the log each thread's running read may answer; -1 before it began. */
  readonly since: readonly number[];
}

/** An operation whose process will not hear of it: it may still take effect, at any time or never. */
type Orphan =
  | { readonly kind: 'store'; readonly ops: readonly StoreOp[] }
  /** A crashed process's connection: the statement that was on its way, and the end of the connection. */
  | { readonly kind: 'database'; readonly owner: string; readonly op: SqlOp | undefined };

export interface State {
  readonly store: StoreState;
  readonly database: DatabaseState;
  readonly procs: readonly Proc[];
  readonly orphans: readonly Orphan[];
  /** The committed rows, from the oldest that a read may still answer with to the newest. */
  readonly log: readonly Rows[];
  /** Where in the log the newest acknowledged write is. */
  readonly floor: number;
  readonly faults: number;
  /** Markers of live writers may be left over. */
  readonly markersMayStay: boolean;
  readonly nextId: number;
}

/** What happens next. */
export type Step =
  | { readonly kind: 'op'; readonly proc: number; readonly op: number; readonly key: number; readonly first?: readonly Prelude[]; readonly crash?: true }
  | { readonly kind: 'deliver'; readonly proc: number; readonly at: number; readonly crash?: true }
  | { readonly kind: 'start'; readonly proc: number; readonly thread: number; readonly crash?: true }
  | { readonly kind: 'timer'; readonly proc: number; readonly crash?: true }
  /** A crashed process's statement takes effect. */
  | { readonly kind: 'statement'; readonly at: number }
  | { readonly kind: 'hang up'; readonly at: number }
  | { readonly kind: 'crash'; readonly proc: number }
  | { readonly kind: 'lose'; readonly proc: number; readonly op: number; readonly took: boolean }
  | { readonly kind: 'pause' }
  /** The process's SELECT waits for another commit. */
  | { readonly kind: 'defer'; readonly proc: number };

/**
 * What happens right before an operation on the same key: an eviction, or late operations of an
 * orphan, `count` of them. At any time since the last operation on the key it would have been the
 * same, for nobody looked; so these have no other place in a schedule.
 */
export type Prelude = { readonly evict: string } | { readonly orphan: number; readonly count: number };

const whole = -1;
const nothing: ReadonlyMap<number, never> = new Map<number, never>();

export class World {
  readonly scenario: Scenario;
  /** Whether schedules that make no difference are left out. */
  reduces = true;
  readonly #trees: readonly ProcessTree[];
  readonly #store: ModelStore;
  readonly #forest: Forest;
  readonly #questions: readonly TaskName[];
  readonly #ends = new Map<string, Violation | undefined>();
  readonly #interned = new Map<string, number>();

  constructor(scenario: Scenario, forest: Forest, store: ModelStore) {
    if (scenario.lateReplies !== true && scenario.processes.some(({ length }) => length > 1)) {
      throw new RangeError(`'${scenario.name}': threads of one process need late replies.`);
    }
    this.scenario = scenario;
    this.#forest = forest;
    this.#store = store;
    this.#trees = scenario.processes.map((threads) => forest.tree(threads, scenario));
    const ids = Object.keys(scenario.rows ?? { 1: 'a' });
    this.#questions = scenario.questions ?? [
      ...ids.map((id) => `read ${id}` as TaskName),
      ...(ids.length > 1 ? (['read a', 'read b', 'read c'] as const) : (['read a', 'read b'] as const)),
    ];
  }

  async start(): Promise<State> {
    const { processes, before = [], rows = { 1: 'a' } } = this.scenario;
    const entries = Object.entries(rows);
    const table: Rows = new Map(entries.map(([id, name], at) => [Number(id), { id: Number(id), name, body: at }]));
    const empty = { store: new Map(), orphans: [], faults: 0, markersMayStay: false } as const;
    let state: State = {
      ...empty,
      database: { rows: table, open: [] },
      log: [table],
      floor: 0,
      procs: [],
      nextId: entries.length,
    };
    for (const task of before) state = await this.#alone(state, task, 'before');
    const procs: Proc[] = [];
    let { nextId } = state;
    const counts = new Map<string, number>();
    for (const threads of processes) {
      const tree = this.#forest.tree(threads, this.scenario);
      const node = await tree.root();
      const label = threads.map((thread) => thread.join(', ')).join(' | ');
      const count = (counts.get(label) ?? 0) + 1;
      counts.set(label, count);
      const ids = Array.from({ length: node.tokens }, () => nextId++);
      const several = processes.filter((other) => JSON.stringify(other) === JSON.stringify(threads)).length > 1;
      procs.push({
        name: several ? `[${label} #${count}]` : `[${label}]`,
        tree, node, ids, partial: nothing, ready: [], commit: -1, owed: -1, deferred: false, since: threads.map(() => -1),
      });
    }
    return { ...state, procs, log: [state.database.rows], floor: 0, nextId };
  }

  // ---- What can happen ------------------------------------------------------------------------

  /**
   * The steps that have to be explored from a state. Left out are schedules that differ from others
   * in nothing but the order of steps that do not concern each other:
   * - A plain SELECT is concerned by commits only. So it takes effect at once, or right after a
   *   later commit; and the choice between the two comes before everything else.
   * - An operation on a key that no other process looks at concerns nobody. If it is all that its
   *   process can do, it comes first.
   */
  steps(state: State): Step[] {
    const all = this.#allSteps(state);
    if (!this.reduces) return all;
    const mayCommit = (except: number): boolean =>
      state.orphans.some(({ kind }) => kind === 'database') ||
      state.procs.some(({ node, tree }, at) => at !== except && node !== null && tree.spec.threads.some((thread, of) => thread.slice(node.ended[of]).some((task) => taskOf(task).asks === undefined)));
    for (const step of all) {
      if (step.kind !== 'op' || !this.#isSelect(state, step)) continue;
      const { proc, op } = step;
      const same = all.filter((one) => one.kind === 'op' && one.proc === proc && one.op === op);
      return mayCommit(proc) ? [...same, { kind: 'defer', proc }] : same;
    }
    if (!(this.scenario.faults ?? []).includes('pause')) {
      for (let proc = 0; proc < state.procs.length; proc += 1) {
        const { node, ready } = state.procs[proc] as Proc;
        if (node === null || ready.length > 0 || node.timer !== undefined || node.pending.length === 0 || node.parent === undefined) continue;
        const own = all.filter((step) => 'proc' in step && step.proc === proc);
        if (own.length > 0 && node.pending.every(({ op }) => op.kind !== 'sql') && own.every((step) => this.#concernsNobody(state, proc, step))) return own;
      }
    }
    return all;
  }

  #isSelect(state: State, { proc, op: number, key }: Step & { kind: 'op' }): boolean {
    const { node, deferred } = state.procs[proc] as Proc;
    if (key !== whole || deferred) return false;
    const op = opOf(node as ProcessNode, number);
    return op.kind === 'sql' && !op.inTransaction && !writesAnything(op);
  }

  #concernsNobody(state: State, proc: number, step: Step): boolean {
    if (step.kind !== 'op' && step.kind !== 'lose') return false;
    const op = opOf((state.procs[proc] as Proc).node as ProcessNode, step.op);
    // The keys are those that were seen in use so far; `explore` begins anew if they become more.
    const keys = op.kind === 'get' ? op.keys : op.kind === 'sql' ? undefined : [op.key];
    return keys?.every((key) => state.procs.every(({ node, tree }, at) => at === proc || node === null || !tree.looksAt.has(key))) === true;
  }

  /** The keys that processes were seen to look at. */
  get looks(): number {
    return this.#trees.reduce((sum, { looksAt }) => sum + looksAt.size, 0);
  }

  #allSteps(state: State): Step[] {
    const { inOrder, torn = false, faults = [], mostFaults = 1 } = this.scenario;
    const steps: Step[] = [];
    state.procs.forEach(({ node, tree, partial, ready, name, ids, deferred }, proc) => {
      if (node === null) return;
      const travelling = new Set(ready.map(({ op }) => op));
      let first = true;
      for (const { number, op } of node.pending) {
        if (travelling.has(number)) continue;
        if (op.kind === 'sql') {
          if (deferred && !op.inTransaction && !writesAnything(op)) continue;
          const { statement, owner } = globalSql(op, ids, name);
          if (execute(state.database, statement, owner) !== undefined) steps.push({ kind: 'op', proc, op: number, key: whole });
          continue;
        }
        // One connection: an operation takes effect after those that were started before it.
        if (inOrder && !first) continue;
        first = false;
        if (op.kind !== 'get' || !torn || op.keys.length === 1) {
          for (const first of this.#preludes(state, op.kind === 'get' ? op.keys : [op.key])) {
            steps.push({ kind: 'op', proc, op: number, key: whole, ...first });
          }
          continue;
        }
        const read = partial.get(number);
        for (let key = 0; key < op.keys.length; key += 1) {
          if (read?.[key] !== undefined) continue;
          for (const first of this.#preludes(state, [op.keys[key] as string])) steps.push({ kind: 'op', proc, op: number, key, ...first });
          // One server reads them in order; several do not.
          if (inOrder) break;
        }
      }
      ready.forEach(({ op }, at) => {
        // Replies of one connection come in order, too; the database's come on others.
        const isStore = node.pending.find(({ number }) => number === op)?.op.kind !== 'sql';
        const overtakes = ready.slice(0, at).some(({ op: other }) => node.pending.find(({ number }) => number === other)?.op.kind !== 'sql');
        if (!inOrder || !isStore || !overtakes) steps.push({ kind: 'deliver', proc, at });
      });
      if (node.timer !== undefined) steps.push({ kind: 'timer', proc });
      const { threads } = tree.spec;
      if (threads.length > 1) {
        threads.forEach((thread, at) => {
          if (node.begun[at] === node.ended[at] && (node.begun[at] as number) < thread.length) steps.push({ kind: 'start', proc, thread: at });
        });
      }
    });
    state.orphans.forEach((orphan, at) => {
      if (orphan.kind === 'store') return;
      if (orphan.op !== undefined && execute(state.database, orphan.op, orphan.owner) !== undefined) steps.push({ kind: 'statement', at });
      steps.push({ kind: 'hang up', at });
    });
    if (state.faults < mostFaults) {
      if (faults.includes('crash')) {
        // Whatever others do meanwhile, a process might as well have crashed right after its last step.
        for (const step of [...steps]) {
          if (!('proc' in step) || step.kind === 'lose' || step.kind === 'crash') continue;
          const evictions = step.kind === 'op' ? (step.first ?? []).filter((prelude) => 'evict' in prelude).length : 0;
          if (state.faults + evictions < mostFaults) steps.push({ ...step, crash: true } as Step);
        }
        state.procs.forEach(({ node }, proc) => {
          if (node?.parent === undefined && node !== null) steps.push({ kind: 'crash', proc });
        });
      }
      if (faults.includes('pause') && [...state.store.values()].some(({ seconds }) => seconds > 0 && seconds <= writeLease + 1)) {
        steps.push({ kind: 'pause' });
      }
      if (faults.includes('lost reply')) {
        state.procs.forEach(({ node, name, ids, ready }, proc) => {
          let first = true;
          for (const { number, op } of node?.pending ?? []) {
            if (ready.some((one) => one.op === number)) continue;
            if (op.kind !== 'sql') {
              // A connection that keeps the order breaks as a whole.
              if (!inOrder || first) steps.push({ kind: 'lose', proc, op: number, took: false });
              first = false;
            } else if (writesAnything(op)) {
              steps.push({ kind: 'lose', proc, op: number, took: false });
              const { statement, owner } = globalSql(op, ids, name);
              if (execute(state.database, statement, owner) !== undefined) steps.push({ kind: 'lose', proc, op: number, took: true });
            }
          }
        });
      }
    }
    return steps;
  }

  /** What may come right before an operation on these keys: nothing, and every sequence of preludes that matters to it. */
  #preludes(state: State, keys: readonly string[]): { readonly first?: readonly Prelude[] }[] {
    const { faults = [], mostFaults = 1 } = this.scenario;
    const found: { readonly first?: readonly Prelude[] }[] = [{}];
    if (state.orphans.length === 0 && (state.faults >= mostFaults || !faults.includes('eviction'))) return found;
    const extend = (before: readonly Prelude[], evictions: number, used: ReadonlySet<number | string>): void => {
      const add = (prelude: Prelude, evicted: number, which: number | string): void => {
        const first = [...before, prelude];
        found.push({ first });
        extend(first, evicted, new Set([...used, which]));
      };
      if (faults.includes('eviction') && state.faults + evictions < mostFaults) {
        for (const key of keys) if (state.store.has(key) && !used.has(key)) add({ evict: key }, evictions + 1, key);
      }
      state.orphans.forEach((orphan, at) => {
        if (orphan.kind !== 'store' || used.has(at)) return;
        orphan.ops.forEach((op, index) => {
          if (op.kind !== 'get' && keys.includes(op.key)) add({ orphan: at, count: index + 1 }, evictions, at);
        });
      });
    };
    extend([], 0, new Set());
    return found;
  }

  #prepare(state: State, preludes: readonly Prelude[] = []): State {
    let next = state;
    for (const prelude of preludes) {
      if ('evict' in prelude) {
        const store = new Map(next.store);
        store.delete(prelude.evict);
        next = { ...next, store, faults: next.faults + 1 };
        continue;
      }
      const { ops } = next.orphans[prelude.orphan] as Orphan & { kind: 'store' };
      for (const op of ops.slice(0, prelude.count)) {
        const effect = this.#store.apply(next.store, op as Exclude<StoreOp, { kind: 'get' }>, next.nextId);
        next = { ...next, store: effect.state, nextId: next.nextId + 1 };
      }
      const orphans = next.orphans.map((orphan, at) => (at === prelude.orphan ? { kind: 'store' as const, ops: ops.slice(prelude.count) } : orphan));
      next = { ...next, orphans };
    }
    return next;
  }

  /** The state after a step. @throws Unexplored, Violation */
  apply(state: State, step: Step): State {
    const next = this.#apply(state, step);
    const crashes = 'crash' in step && step.crash && (next.procs[step.proc] as Proc).node !== null;
    return this.#tidy(crashes ? this.#crash(next, step.proc) : next);
  }

  #apply(state: State, step: Step): State {
    switch (step.kind) {
      case 'op':
        return this.#operate(this.#prepare(state, step.first), step.proc, step.op, step.key);
      case 'deliver': {
        const proc = state.procs[step.proc] as Proc;
        const { op, reply } = proc.ready[step.at] as Proc['ready'][number];
        const ready = proc.ready.filter((_, at) => at !== step.at);
        return this.#tell(withProc(state, step.proc, { ...proc, ready }), step.proc, op, reply);
      }
      case 'start': {
        const proc = state.procs[step.proc] as Proc;
        const since = proc.since.map((one, thread) => (thread === step.thread ? state.floor : one));
        const begun = withProc(state, step.proc, { ...proc, since });
        return this.#input(begun, step.proc, `s${step.thread}`, () => ({ kind: 'start', thread: step.thread }));
      }
      case 'timer':
        return this.#input(this.#begin(state, step.proc), step.proc, 't', () => ({ kind: 'timer' }));
      case 'statement': {
        const orphan = state.orphans[step.at] as Orphan & { kind: 'database' };
        const effect = execute(state.database, orphan.op as SqlOp, orphan.owner);
        if (effect === undefined) throw new RangeError('the statement waits');
        const orphans = state.orphans.map((one, at) => (at === step.at ? { ...orphan, op: undefined } : one));
        return this.#committed({ ...state, orphans }, effect.state, undefined);
      }
      case 'hang up': {
        const orphan = state.orphans[step.at] as Orphan & { kind: 'database' };
        const database = abandon(state.database, (owner) => owner === orphan.owner);
        return { ...state, database, orphans: state.orphans.filter((_, at) => at !== step.at) };
      }
      case 'defer':
        return withProc(state, step.proc, { ...(state.procs[step.proc] as Proc), deferred: true });
      case 'crash':
        return this.#crash(state, step.proc);
      case 'lose':
        return this.#lose(state, step.proc, step.op, step.took);
      case 'pause': {
        const store = new Map([...state.store].filter(([, { seconds }]) => seconds === 0 || seconds > writeLease + 1));
        let next: State = { ...state, store, faults: state.faults + 1 };
        state.procs.forEach(({ node }, at) => {
          if (node !== null) next = this.#input(next, at, 'z', () => ({ kind: 'pause', milliseconds: (writeLease + 1) * 1000 }));
        });
        return next;
      }
    }
  }

  #operate(state: State, proc: number, number: number, key: number): State {
    const begun = this.#begin(state, proc);
    const { node, ids, name, partial } = begun.procs[proc] as Proc;
    const op = opOf(node as ProcessNode, number);
    if (op.kind === 'sql') {
      const { statement, owner } = globalSql(op, ids, name);
      const effect = execute(begun.database, statement, owner);
      if (effect === undefined) throw new RangeError('the statement waits');
      return this.#reply(this.#committed(begun, effect.state, proc), proc, number, effect.reply);
    }
    if (op.kind !== 'get') {
      const effect = this.#store.apply(begun.store, globalOp(op, ids) as Exclude<StoreOp, { kind: 'get' }>, begun.nextId);
      return this.#reply({ ...begun, store: effect.state, nextId: begun.nextId + 1 }, proc, number, effect.reply);
    }
    if (key === whole) {
      const items = op.keys.map((one) => begun.store.get(one) ?? null);
      return this.#reply(begun, proc, number, { kind: 'items', items });
    }
    const read = [...(partial.get(number) ?? new Array<undefined>(op.keys.length).fill(undefined))];
    read[key] = begun.store.get(op.keys[key] as string) ?? null;
    const others = new Map(partial);
    others.delete(number);
    if (read.every((item) => item !== undefined)) {
      const state = withProc(begun, proc, { ...(begun.procs[proc] as Proc), partial: others });
      return this.#reply(state, proc, number, { kind: 'items', items: read });
    }
    return withProc(begun, proc, { ...(begun.procs[proc] as Proc), partial: others.set(number, read) });
  }

  /**
   * A read may answer what is acknowledged when it begins, or anything newer. Where a process has
   * one thread, its tasks begin right before the first thing that happens to them: nothing can tell
   * that from an earlier beginning, and the later one promises more.
   */
  #begin(state: State, at: number): State {
    const proc = state.procs[at] as Proc;
    if (proc.since.length > 1 || proc.since[0] !== -1) return state;
    return withProc(state, at, { ...proc, since: [state.floor] });
  }

  /** Notes what a statement committed. */
  #committed(state: State, database: DatabaseState, proc: number | undefined): State {
    if (database.rows === state.database.rows) return { ...state, database };
    const log = [...state.log, database.rows];
    const procs = state.procs.some(({ deferred }) => deferred)
      ? state.procs.map((one) => (one.deferred ? { ...one, deferred: false } : one))
      : state.procs;
    const next = { ...state, database, log, procs };
    return proc === undefined ? next : withProc(next, proc, { ...(next.procs[proc] as Proc), commit: log.length - 1 });
  }

  #reply(state: State, at: number, op: number, reply: Reply): State {
    if (this.scenario.lateReplies !== true) return this.#tell(state, at, op, reply);
    const proc = state.procs[at] as Proc;
    return withProc(state, at, { ...proc, ready: [...proc.ready, { op, reply }] });
  }

  /** Hands a reply to a process. */
  #tell(state: State, at: number, op: number, reply: Reply): State {
    const proc = state.procs[at] as Proc;
    const ids = [...proc.ids];
    const local = (id: number): number => {
      const known = ids.indexOf(id);
      if (known >= 0) return known;
      ids.push(id);
      return ids.length - 1;
    };
    let key = `${op}`;
    let own: Reply = reply;
    switch (reply.kind) {
      case 'items': {
        const items = reply.items.map((item) => {
          if (item === null) {
            key += '-';
            return null;
          }
          const text = renumbered(item.text, local);
          const version = local(item.version);
          key += `,${this.#forest.intern(text.template)}:${text.ids.join('.')}@${version}`;
          return { text, version };
        });
        own = { kind: 'items', items };
        break;
      }
      case 'rows': {
        const rows = reply.rows.map((row) => ({ ...row, body: local(row.body) }));
        key += `r${rows.map(({ id, name, body }) => `${id}${name}${body}`).join()}`;
        own = { kind: 'rows', rows };
        break;
      }
      case 'flag':
        key += reply.flag ? '+' : '-';
        break;
      case 'count':
        key += `n${reply.count}`;
        break;
      case 'duplicate':
      case 'lost':
        key += reply.kind;
    }
    return this.#input(withProc(state, at, { ...proc, ids }), at, key, () => ({ kind: 'reply', op, reply: own }));
  }

  /** Lets something happen to a process, and judges what it shows. */
  #input(state: State, at: number, key: string, input: () => Input): State {
    const proc = state.procs[at] as Proc;
    const { node, settled, tokens, numbers, ops } = proc.tree.child(proc.node as ProcessNode, key, input);
    const ids = [...proc.ids];
    let { nextId, floor } = state;
    while (ids.length < tokens) ids.push(nextId++);
    let { commit, owed } = proc;
    const since = [...proc.since];
    const { threads, onStoreFailure } = proc.tree.spec;
    for (const { thread, task, ok, text } of settled) {
      const name = threads[thread]?.[task] as TaskName;
      const { asks } = taskOf(name);
      if (asks !== undefined) {
        this.#judge(state, proc.name, asks, since[thread] as number, { ...text, ids: text.ids.map((id) => ids[id] as number) });
      } else {
        if (text.template === '"NotOwnWrite"') throw new Violation('P3', `${proc.name}: a read inside its transaction did not see the transaction's write.`);
        if (ok) owed = Math.max(owed, commit);
        commit = -1;
      }
      since[thread] = -1;
    }
    if (owed >= 0 && (node.waiting === 0 || onStoreFailure === 'strict')) {
      floor = Math.max(floor, owed);
      owed = -1;
    }
    const finished = node.finished;
    const next: Proc = finished
      ? { ...proc, node: null, ids: [], commit: -1, owed: -1, deferred: false, since: since.map(() => -1) }
      : {
          ...proc,
          node,
          ids: numbers === undefined ? ids : numbers.map((number) => (number < 0 ? -1 : (ids[number] as number))),
          partial: ops === undefined ? proc.partial : new Map(Array.from(proc.partial, ([op, items]) => [ops.get(op) as number, items])),
          ready: ops === undefined ? proc.ready : proc.ready.map(({ op, reply }) => ({ op: ops.get(op) as number, reply })),
          commit,
          owed,
          since,
        };
    return { ...withProc(state, at, next), nextId, floor };
  }

  #judge(state: State, who: string, asks: Question, since: number, answer: { readonly template: string; readonly ids: readonly number[] }): void {
    const given = JSON.parse(answer.template.replaceAll('\0', '*')) as { id: number; name: string } | null;
    const [body] = answer.ids;
    const condition = { column: asks.by, values: [String(asks.value)] };
    const fits = state.log.slice(Math.max(0, since)).some((rows) => {
      const [row] = matching(rows, condition);
      return row === undefined ? given === null : given !== null && row.id === given.id && row.name === given.name && row.body === body;
    });
    if (fits) return;
    const shown = given === null ? 'no row' : `row ${given.id}, name ${given.name}, body #${body ?? -1}`;
    throw new Violation('P1', `${who}: asked for ${asks.by} ${asks.value}, answered ${shown}, which is neither the newest acknowledged answer when it began nor a newer one.`);
  }

  // ---- Faults ---------------------------------------------------------------------------------

  #crash(state: State, at: number): State {
    const proc = state.procs[at] as Proc;
    const orphans = [...state.orphans];
    const travelling = new Set(proc.ready.map(({ op }) => op));
    const pending = (proc.node?.pending ?? []).filter(({ number }) => !travelling.has(number));
    const store = pending.flatMap(({ op }) => (op.kind === 'sql' ? [] : [globalOp(op, proc.ids)]));
    if (this.scenario.inOrder) orphans.push({ kind: 'store', ops: store });
    else for (const op of store) orphans.push({ kind: 'store', ops: [op] });
    const owners = new Set(state.database.open.filter(({ owner }) => owner.startsWith(`${proc.name} `)).map(({ owner }) => owner));
    const statements = new Map<string, SqlOp>();
    for (const { op } of pending) {
      if (op.kind !== 'sql' || !writesAnything(op)) continue;
      const { statement, owner } = globalSql(op, proc.ids, proc.name);
      // What a transaction did without its COMMIT on the way will be rolled back anyway.
      if (op.inTransaction && !op.text.template.startsWith('COMMIT')) continue;
      owners.add(owner);
      statements.set(owner, statement);
    }
    for (const owner of owners) orphans.push({ kind: 'database', owner, op: statements.get(owner) });
    const gone: Proc = { ...proc, node: null, ids: [], partial: nothing, ready: [], commit: -1, owed: -1, deferred: false, since: proc.since.map(() => -1) };
    return { ...withProc(state, at, gone), orphans, faults: state.faults + 1, markersMayStay: true };
  }

  #lose(state: State, at: number, number: number, took: boolean): State {
    const begun = this.#begin({ ...state, faults: state.faults + 1, markersMayStay: true }, at);
    const proc = begun.procs[at] as Proc;
    const op = opOf(proc.node as ProcessNode, number);
    if (op.kind === 'sql') {
      const { statement, owner } = globalSql(op, proc.ids, proc.name);
      const effect = took ? execute(begun.database, statement, owner) : undefined;
      const left = abandon(effect?.state ?? begun.database, (one) => one === owner);
      // Nothing is acknowledged by an error, so the commit is nobody's.
      return this.#tell(this.#committed(begun, left, undefined), at, number, { kind: 'lost' });
    }
    const travelling = new Set(proc.ready.map(({ op: one }) => one));
    const broken = (proc.node?.pending ?? []).filter((one) => one.op.kind !== 'sql' && !travelling.has(one.number) && (this.scenario.inOrder || one.number === number));
    const orphans = [...begun.orphans, { kind: 'store' as const, ops: broken.map((one) => globalOp(one.op as StoreOp, proc.ids)) }];
    let next: State = withProc({ ...begun, orphans }, at, { ...proc, partial: new Map([...proc.partial].filter(([one]) => !broken.some((two) => two.number === one))) });
    for (let count = broken.length; count > 0; count -= 1) {
      // Told of one, the process may be taken for an earlier node with other numbers; the order stays.
      const { node, ready } = next.procs[at] as Proc;
      const first = node?.pending.find((two) => (broken.length === 1 ? two.number === number : two.op.kind !== 'sql' && !ready.some(({ op: three }) => three === two.number)));
      if (first !== undefined) next = this.#tell(next, at, first.number, { kind: 'lost' });
    }
    return next;
  }

  /** Drops what cannot matter any more. */
  #tidy(state: State): State {
    let { orphans, log, floor, procs } = state;
    if (orphans.length > 0) {
      orphans = orphans.flatMap((orphan): Orphan[] => {
        if (orphan.kind === 'database') {
          const isOpen = state.database.open.some(({ owner }) => owner === orphan.owner);
          return orphan.op === undefined && !isOpen ? [] : [orphan];
        }
        const ops = orphan.ops.filter((op) => {
          if (op.kind === 'get') return false;
          // A version that is gone never comes back. (In a chain only later operations could depend
          // on an earlier one, and none can have its version: the process never saw it.)
          return !('version' in op) || state.store.get(op.key)?.version === op.version;
        });
        return ops.length === 0 ? [] : [{ kind: 'store', ops }];
      });
    }
    let oldest = floor;
    for (const { since } of procs) for (const one of since) if (one >= 0) oldest = Math.min(oldest, one);
    if (oldest > 0) {
      log = log.slice(oldest);
      floor -= oldest;
      const shifted = (position: number): number => (position < oldest ? -1 : position - oldest);
      procs = procs.map((proc) => ({
        ...proc,
        commit: shifted(proc.commit),
        owed: shifted(proc.owed),
        since: proc.since.map((one) => (one < 0 ? -1 : one - oldest)),
      }));
    }
    return { ...state, orphans, log, floor, procs };
  }

  // ---- Ends -----------------------------------------------------------------------------------

  /** Whether every process has finished or crashed, and every connection of a crashed one is gone. */
  isEnd(state: State): boolean {
    return state.procs.every(({ node }) => node === null) && state.orphans.every(({ kind }) => kind === 'store');
  }

  /** Nothing can happen, but somebody still waits. */
  stuck(state: State): Violation | undefined {
    // A SELECT that waited for a commit that never came: another schedule has it at once.
    if (this.isEnd(state) || state.procs.some(({ deferred }) => deferred)) return undefined;
    const waiting = state.procs.filter(({ node }) => node !== null).map(({ name }) => name);
    return new Violation('liveness', `${waiting.join(' and ')} never come to an end.`);
  }

  /** Lets time pass and fresh processes read. */
  async judgeEnd(state: State): Promise<Violation | undefined> {
    if (!state.markersMayStay) {
      for (const [key, { text }] of state.store) {
        if (text.template.startsWith('M')) return new Violation('liveness', `A marker of a live writer is left at ${keyName(key)}.`);
      }
    }
    const keys = new Set(state.store.keys());
    for (const orphan of state.orphans) if (orphan.kind === 'store') for (const op of orphan.ops) if (op.kind !== 'get') keys.add(op.key);
    // What may happen before an operation may happen before the last reads, too.
    for (const { first } of this.#preludes(state, [...keys])) {
      const violation = await this.#judgeCalm(this.#prepare(state, first), first);
      if (violation !== undefined) return violation;
    }
    return undefined;
  }

  async #judgeCalm(state: State, first: readonly Prelude[] | undefined): Promise<Violation | undefined> {
    const store = await this.#store.after(state.store, writeLease + 1);
    const calm: State = { ...state, store, procs: [], orphans: [], log: [state.database.rows], floor: 0, faults: 0, markersMayStay: false };
    const which = this.canonical(calm);
    if (this.#ends.has(which)) return this.#ends.get(which);
    let violation: Violation | undefined;
    for (const question of this.#questions) {
      try {
        await this.#alone(calm, question, 'end');
      } catch (error) {
        if (!(error instanceof Violation)) throw error;
        const late = first === undefined ? '' : `${this.#preludeName(state, first)}; `;
        violation ??= new Violation(state.faults === 0 ? 'P1' : 'P4', `At the end, ${late}${writeLease + 1} s later: ${error.message}`);
      }
    }
    this.#ends.set(which, violation);
    return violation;
  }

  #preludeName(state: State, preludes: readonly Prelude[] = []): string {
    return preludes
      .map((prelude) => {
        if ('evict' in prelude) return `EVICTION of ${keyName(prelude.evict)} = ${itemName(state.store.get(prelude.evict))}`;
        const orphan = state.orphans[prelude.orphan] as Orphan & { kind: 'store' };
        return `late: ${orphan.ops.slice(0, prelude.count).map(opName).join(', ')}`;
      })
      .join('; ');
  }

  /** A fresh process does one task, and nothing else happens. */
  async #alone(state: State, task: TaskName, when: string): Promise<State> {
    const tree = this.#forest.tree([[task]], this.scenario);
    const node = await tree.root();
    let { nextId } = state;
    const ids = Array.from({ length: node.tokens }, () => nextId++);
    const proc: Proc = { name: `[${when}: ${task}]`, tree, node, ids, partial: nothing, ready: [], commit: -1, owed: -1, deferred: false, since: [-1] };
    let next: State = { ...state, procs: [proc], nextId };
    for (;;) {
      const { node: at } = next.procs[0] as Proc;
      if (at === null) return { ...next, procs: [] };
      const [pending] = at.pending;
      const step = (): State => {
        if (pending !== undefined) return this.#operate(next, 0, pending.number, whole);
        if (at.timer === undefined) throw new Violation('liveness', `${proc.name} never comes to an end.`);
        return this.#input(this.#begin(next, 0), 0, 't', () => ({ kind: 'timer' }));
      };
      next = await growing(step);
      // Late replies have no place here.
      const [{ ready } = proc] = next.procs;
      for (const { op, reply } of ready) {
        const before = withProc(next, 0, { ...(next.procs[0] as Proc), ready: [] });
        next = await growing(() => this.#tell(before, 0, op, reply));
      }
    }
  }

  // ---- Telling states apart -------------------------------------------------------------------

  /**
   * A text that two states share exactly if they differ in nothing but the numbers of tokens and
   * versions (given anew, in order of appearance) and the order of processes with the same tasks.
   */
  canonical(state: State): string {
    const numbers: number[] = [];
    let last = 0;
    const fresh = (id: number): number => (numbers[id] ??= ++last);
    const item = ({ text, version }: Item): string => {
      let out = `${this.#forest.intern(text.template)}`;
      for (const id of text.ids) out += `.${fresh(id)}`;
      return `${out}@${fresh(version)}`;
    };
    const rows = (table: Rows): string => {
      let out = '';
      for (const id of [...table.keys()].sort()) {
        const row = table.get(id) as Rows extends ReadonlyMap<number, infer R> ? R : never;
        out += `${id}${row.name}${fresh(row.body)} `;
      }
      return out;
    };
    let out = `${state.faults}${state.markersMayStay ? 'm' : ''}${state.floor}`;
    const shapes = state.procs.map((proc, at) => ({ proc, at, shape: shapeOf(proc) }));
    shapes.sort((a, b) => a.proc.tree.number - b.proc.tree.number || (a.shape < b.shape ? -1 : a.shape > b.shape ? 1 : a.at - b.at));
    const order: number[] = [];
    for (const { proc, at, shape } of shapes) {
      order.push(at);
      out += `|${shape}`;
      for (const id of proc.node?.live ?? []) out += `.${fresh(proc.ids[id] as number)}`;
      for (const [op, items] of proc.partial) out += `p${op}${items.map((one) => (one === undefined ? '?' : one === null ? '-' : item(one))).join()}`;
      for (const { op, reply } of proc.ready) {
        out += `r${op}${reply.kind}`;
        if (reply.kind === 'items') out += reply.items.map((one) => (one === null ? '-' : item(one))).join();
        else if (reply.kind === 'rows') out += reply.rows.map(({ id, name, body }) => `${id}${name}${fresh(body)}`).join();
        else out += JSON.stringify(reply);
      }
    }
    out += '|';
    for (const key of [...state.store.keys()].sort()) {
      const stored = state.store.get(key) as StoredItem;
      out += `${this.#number(key)}=${item(stored)}:${stored.seconds} `;
    }
    out += `|${state.log.map(rows).join('/')}|${rows(state.database.rows)}`;
    const owners = new Map(shapes.map(({ at }, place) => [(state.procs[at] as Proc).name, place]));
    const ownerOf = (owner: string): string => {
      const cut = owner.lastIndexOf(' ');
      return `${owners.get(owner.slice(0, cut)) ?? '?'}${owner.slice(cut)}`;
    };
    const open = state.database.open.map(({ owner, changes, locks }) => {
      const changed = [...changes].sort(([a], [b]) => a - b).map(([id, row]) => (row === null ? `${id}-` : `${id}${row.name}${fresh(row.body)}`));
      return `${ownerOf(owner)}(${changed.join()}/${[...locks].sort().join()})`;
    });
    if (open.length > 0) out += `|${open.sort().join('')}`;
    for (const orphan of state.orphans) {
      if (orphan.kind === 'database') out += `|d${ownerOf(orphan.owner)}${orphan.op === undefined ? '' : orphan.op.text.template + orphan.op.text.ids.map(fresh).join()}`;
      else {
        out += '|o';
        for (const op of orphan.ops) {
          out += `${op.kind}${this.#number(op.kind === 'get' ? '' : op.key)}`;
          if ('text' in op) out += `${this.#forest.intern(op.text.template)}.${op.text.ids.map(fresh).join('.')}`;
          if ('version' in op) out += `@${fresh(op.version)}`;
        }
      }
    }
    return out;
  }

  #number(key: string): number {
    const known = this.#interned.get(key);
    if (known !== undefined) return known;
    this.#interned.set(key, this.#interned.size);
    return this.#interned.size - 1;
  }

  // ---- Traces ---------------------------------------------------------------------------------

  /** A step in words, with what it showed. */
  describe(before: State, step: Step): string {
    const first = 'first' in step ? step.first : undefined;
    const prelude = first === undefined ? '' : `${this.#preludeName(before, first)}; then `;
    const crash = 'crash' in step && step.crash && step.kind !== ('crash' as string) ? ', and CRASHES' : '';
    return `${prelude}${this.#describe(this.#prepare(before, first), step)}${crash}`;
  }

  #describe(state: State, step: Step): string {
    const proc = 'proc' in step ? (state.procs[step.proc] as Proc) : undefined;
    const { name = '' } = proc ?? {};
    const opText = (number: number): string => {
      const op = opOf(proc?.node as ProcessNode, number);
      return op.kind === 'sql' ? sqlName(globalSql(op, proc?.ids ?? [], name).statement) : opName(globalOp(op, proc?.ids ?? []));
    };
    switch (step.kind) {
      case 'op': {
        const op = opOf(proc?.node as ProcessNode, step.op);
        if (op.kind === 'sql') {
          const { statement, owner } = globalSql(op, proc?.ids ?? [], name);
          return `${name} ${opText(step.op)} → ${replyName(execute(state.database, statement, owner)?.reply)}`;
        }
        if (op.kind !== 'get') {
          const effect = this.#store.apply(state.store, globalOp(op, proc?.ids ?? []) as Exclude<StoreOp, { kind: 'get' }>, state.nextId);
          return `${name} ${opText(step.op)} → ${replyName(effect.reply)}`;
        }
        const keys = step.key === whole ? op.keys : [op.keys[step.key] as string];
        return `${name} get ${keys.map((key) => `${keyName(key)} = ${itemName(state.store.get(key))}`).join(', ')}`;
      }
      case 'deliver':
        return `${name} receives the reply to ${opText((proc as Proc).ready[step.at]!.op)}`;
      case 'start':
        return `${name} begins thread ${step.thread + 1}`;
      case 'timer':
        return `${name} timer of ${proc?.node?.timer ?? 0} ms fires`;
      case 'statement':
        return `late: ${sqlName((state.orphans[step.at] as Orphan & { kind: 'database' }).op as SqlOp)} takes effect`;
      case 'hang up':
        return 'the database notices that the connection is gone, and rolls back';
      case 'defer':
        return `${name} waits for the database`;
      case 'crash':
        return `${name} CRASHES`;
      case 'lose':
        return `${name} ${opText(step.op)}: THE REPLY IS LOST${step.took ? ' after it took effect' : ''}`;
      case 'pause':
        return `EVERYBODY PAUSES for ${writeLease + 1} s: what is leased in the store expires`;
    }
  }
}

/** The trees of all processes that were explored so far, shared by scenarios. */
export class Forest {
  readonly #trees = new Map<string, ProcessTree>();
  readonly #templates = new Map<string, number>();

  /** @param merges whether histories that seem to make no difference are taken for one */
  constructor(
    readonly plugin: Plugin,
    readonly merges = true,
    /** Another forest whose numbers of texts are used, so that states can be compared. */
    private readonly numbers?: Forest,
  ) {}

  tree(threads: ProcessSpec['threads'], { inOrder, onStoreFailure = 'available', leaseWait = 4, heartbeats = 0, missesLikely = false, maxValueBytes = 1024 }: Scenario): ProcessTree {
    const spec: ProcessSpec = { threads, inOrder, onStoreFailure, leaseWait, heartbeats, missesLikely, maxValueBytes };
    const which = JSON.stringify(spec);
    const known = this.#trees.get(which) ?? new ProcessTree(this.plugin, spec, this.#trees.size, this.merges);
    this.#trees.set(which, known);
    return known;
  }

  intern(template: string): number {
    if (this.numbers !== undefined) return this.numbers.intern(template);
    const known = this.#templates.get(template);
    if (known !== undefined) return known;
    this.#templates.set(template, this.#templates.size);
    return this.#templates.size - 1;
  }

  /** Histories so far, and runs of the real code. */
  get cost(): ProcessTree['cost'] {
    const all = [...this.#trees.values()].map(({ cost }) => cost);
    const sum = (of: (cost: ProcessTree['cost']) => number): number => all.reduce((total, cost) => total + of(cost), 0);
    return { histories: sum(({ histories }) => histories), merged: sum(({ merged }) => merged), runs: sum(({ runs }) => runs), steps: sum(({ steps }) => steps) };
  }
}

/** Does something that may need the trees to grow first. */
export async function growing<T>(work: () => T): Promise<T> {
  for (;;) {
    try {
      return work();
    } catch (error) {
      if (!(error instanceof Unexplored)) throw error;
      await error.tree.grow(error.node, error.key, error.input);
    }
  }
}

const withProc = (state: State, at: number, proc: Proc): State => ({ ...state, procs: state.procs.map((one, other) => (other === at ? proc : one)) });

function shapeOf({ node, commit, owed, since, deferred }: Proc): string {
  return node === null ? 'x' : `${node.number},${commit},${owed},${since.join()}${deferred ? 'd' : ''}`;
}

function opOf(node: ProcessNode, number: number): Op {
  const found = node.pending.find((one) => one.number === number);
  if (found === undefined) throw new RangeError(`operation ${number} is not pending`);
  return found.op;
}

/** A process's operation in the numbers of the whole system. */
function globalOp(op: StoreOp, ids: readonly number[]): StoreOp {
  const number = (id: number): number => ids[id] as number;
  switch (op.kind) {
    case 'add':
      return { ...op, text: renumbered(op.text, number) };
    case 'swap':
      return { ...op, text: renumbered(op.text, number), version: number(op.version) };
    case 'remove':
      return { ...op, version: number(op.version) };
    default:
      return op;
  }
}

function globalSql(op: SqlOp, ids: readonly number[], name: string): { readonly statement: SqlOp; readonly owner: string } {
  return { statement: { ...op, text: renumbered(op.text, (id) => ids[id] as number) }, owner: `${name} ${op.connection}` };
}

function keyName(key: string): string {
  const [, , kind, , values = ''] = key.split(':');
  const names: Readonly<Record<string, string>> = { r: 'row', i: 'index', g: 'generation', e: 'epoch', q: 'result' };
  return `${names[kind ?? ''] ?? key}${values === '' ? '' : ` ${values.slice(1)}`}`;
}

function itemName(item: Item | undefined): string {
  return item === undefined ? 'nothing' : textName(item.text);
}

function textName({ template, ids }: Item['text']): string {
  const numbers = ids.map((id) => `#${id}`);
  switch (template.charAt(0)) {
    case 'L':
      return `lease ${numbers.join()}`;
    case 'M':
      return `marker of ${numbers.slice(1).join()}`;
    case 'G':
      return `stamp ${numbers.join()}`;
    case 'V': {
      let at = 0;
      return `value ${template.slice(13).replaceAll('\0', () => numbers[++at] ?? '')} under ${numbers[0] ?? ''}`;
    }
    default:
      return JSON.stringify(template);
  }
}

function opName(op: StoreOp): string {
  switch (op.kind) {
    case 'get':
      return `get ${op.keys.map(keyName).join(', ')}`;
    case 'add':
      return `add ${keyName(op.key)} = ${textName(op.text)}`;
    case 'swap':
      return `compare-and-swap ${keyName(op.key)} = ${textName(op.text)}`;
    case 'remove':
      return `compare-and-delete ${keyName(op.key)}`;
    case 'delete':
      return `delete ${keyName(op.key)}`;
  }
}

function sqlName({ text, inTransaction }: SqlOp): string {
  let at = 0;
  const [sql = '', parameters = ''] = text.template.split('\n');
  const values = parameters === '[]' ? '' : ` ${parameters}`;
  return `${inTransaction ? '(in a transaction) ' : ''}${sql}${values}`.replaceAll('\0', () => `#${text.ids[at++] ?? ''}`);
}

function replyName(reply: Reply | undefined): string {
  switch (reply?.kind) {
    case 'flag':
      return reply.flag ? 'done' : 'refused';
    case 'rows':
      return reply.rows.map(({ id, name, body }) => `row ${id}, name ${name}, body #${body}`).join('; ') || 'no row';
    case 'count':
      return `${reply.count} rows`;
    default:
      return reply?.kind ?? 'waits';
  }
}
