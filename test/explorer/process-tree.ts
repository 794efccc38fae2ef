/**
 * All that a process can do, remembered: a tree of what it was told so far.
 *
 * A process is a deterministic function of what it was told (tokens count by identity only). So the
 * real code has to run once for each such history, however many schedules of the whole system lead
 * to it, and processes with the same tasks share one tree. That a repeated history repeats its
 * operations is checked whenever one is run again.
 *
 * Many histories come to the same: a reader that met a marker, and one that met a lease and gave up,
 * both only wait for the database. Nodes with the same operations in flight and the same last
 * impressions (`remember`) are therefore taken for one. That is a guess at what the code keeps in
 * mind, made to be too fine rather than too coarse, and it is held against explorations without it:
 * see reductions.test.ts. A process with several
 * threads is never merged.
 */
import { LiveProcess, type Plugin, type ProcessSpec } from './live-process.js';
import type { Input, Op, Output, Reply, Settled } from './protocol-types.js';
import { taskOf } from './tasks.js';

/** A process after one history. */
export interface ProcessNode {
  readonly number: number;
  /** Operations without reply, in the order in which they were started. */
  readonly pending: readonly { readonly number: number; readonly op: Op }[];
  /** Tasks that ended with the last input. */
  readonly settled: readonly Settled[];
  /** How many tasks of each thread were begun, and ended. */
  readonly begun: readonly number[];
  readonly ended: readonly number[];
  readonly timer: number | undefined;
  readonly waiting: number;
  readonly tokens: number;
  /** Nothing will ever happen in it again. */
  readonly finished: boolean;
  readonly parent: ProcessNode | undefined;
  readonly input: Input | undefined;
  readonly children: Map<string, Edge>;
  readonly signature: string;
  /** What it last saw and did, by key and connection. */
  readonly memory: Memory;
  /** The numbers of the tokens that it may still use. */
  readonly live: readonly number[];
  /** Whether each token was made by the process itself. */
  readonly owned: readonly boolean[];
}

/** A step of a process: to a node of its own, or to an earlier one that it cannot be told apart from. */
export interface Edge {
  readonly node: ProcessNode;
  /** What the last input showed. */
  readonly settled: readonly Settled[];
  /** How many tokens are known after the step, before it is taken for the other node. */
  readonly tokens: number;
  /** For each number of the node: the number here; -1 for one that is not used any more. */
  readonly numbers: readonly number[] | undefined;
  /** The node's numbers of operations, by those here. */
  readonly ops: ReadonlyMap<number, number> | undefined;
}

type Memory = ReadonlyMap<string, { readonly shape: string; readonly ids: readonly number[] }>;

/** Where a tree has to grow before the exploration can go on. */
export class Unexplored extends Error {
  constructor(
    readonly tree: ProcessTree,
    readonly node: ProcessNode,
    readonly key: string,
    readonly input: Input,
  ) {
    super('A history that was not run yet.');
  }
}

/** How many processes are kept where they are, to go on from there without a run from the start. */
const mostParked = 300;

export class ProcessTree {
  readonly spec: ProcessSpec;
  readonly #plugin: Plugin;
  readonly #parked = new Map<ProcessNode, LiveProcess>();
  /** Keys of operations that depend on what stands there; a plain delete does not. */
  readonly looksAt = new Set<string>();
  readonly #classes = new Map<string, ProcessNode>();
  #merged = 0;
  #root: ProcessNode | undefined;
  #nodes = 0;
  #runs = 0;
  #steps = 0;

  constructor(
    plugin: Plugin,
    spec: ProcessSpec,
    readonly number: number,
    /** Whether histories that seem to make no difference are taken for one. */
    readonly merges: boolean,
  ) {
    this.#plugin = plugin;
    this.spec = spec;
  }

  /** Histories so far, runs of the real code from the start, and inputs that it was given. */
  get cost(): { readonly histories: number; readonly runs: number; readonly steps: number; readonly merged: number } {
    return { merged: this.#merged, histories: this.#nodes, runs: this.#runs, steps: this.#steps };
  }

  async root(): Promise<ProcessNode> {
    if (this.#root === undefined) {
      const { process, output } = await LiveProcess.start(this.#plugin, this.spec);
      this.#runs += 1;
      this.#root = this.#node(undefined, undefined, output);
      this.#park(this.#root, process);
    }
    return this.#root;
  }

  /** The node that an input leads to. `key` tells inputs apart. @throws Unexplored */
  child(node: ProcessNode, key: string, input: () => Input): Edge {
    const child = node.children.get(key);
    if (child === undefined) throw new Unexplored(this, node, key, input());
    return child;
  }

  /** Runs the real code for a history that was not seen yet. */
  async grow(node: ProcessNode, key: string, input: Input): Promise<void> {
    const live = this.#parked.get(node) ?? (await this.#replay(node));
    this.#parked.delete(node);
    this.#steps += 1;
    const child = this.#node(node, input, await live.input(input));
    const [which, live_] = classOf(child);
    const known = this.#classes.get(which);
    if (this.merges && this.spec.threads.length === 1 && known !== undefined && !child.finished) {
      const numbers = new Array<number>(known.tokens).fill(-1);
      known.live.forEach((number, at) => {
        numbers[number] = live_[at] as number;
      });
      node.children.set(key, { node: known, settled: child.settled, tokens: child.tokens, numbers, ops: new Map(child.pending.map(({ number }, at) => [number, (known.pending[at] as typeof child.pending[number]).number])) });
      this.#merged += 1;
      return;
    }
    this.#classes.set(which, child);
    node.children.set(key, { node: child, settled: child.settled, tokens: child.tokens, numbers: undefined, ops: undefined });
    if (!child.finished) this.#park(child, live);
  }

  async #replay(node: ProcessNode): Promise<LiveProcess> {
    const path: ProcessNode[] = [];
    for (let at: ProcessNode | undefined = node; at?.input !== undefined; at = at.parent) path.unshift(at);
    this.#runs += 1;
    const { process, output } = await LiveProcess.start(this.#plugin, this.spec);
    if (signatureOf(output) !== this.#root?.signature) throw new Error('A process did not begin as it had begun before.');
    for (const { input, signature } of path) {
      this.#steps += 1;
      if (signatureOf(await process.input(input as Input)) !== signature) {
        throw new Error(`A process did something else when its history was repeated:\n${signature}`);
      }
    }
    return process;
  }

  #node(parent: ProcessNode | undefined, input: Input | undefined, output: Output): ProcessNode {
    const { threads } = this.spec;
    const single = threads.length === 1;
    const begun = parent === undefined ? threads.map(() => (single ? 1 : 0)) : [...parent.begun];
    const ended = parent === undefined ? threads.map(() => 0) : [...parent.ended];
    if (input?.kind === 'start') begun[input.thread] = (begun[input.thread] as number) + 1;
    for (const { thread, task } of output.settled) {
      ended[thread] = task + 1;
      if (single) begun[thread] = Math.min(task + 2, (threads[thread] as readonly unknown[]).length);
    }
    for (const { thread, task, ok, text } of output.settled) {
      const { mayFail = [] } = taskOf(threads[thread]?.[task] ?? 'read 1');
      if (!ok && !mayFail.includes(JSON.parse(text.template) as string)) {
        throw new UnexpectedError(`'${threads[thread]?.[task] ?? ''}' failed: ${text.template}`);
      }
    }
    const pending = [...(parent?.pending ?? []).filter(({ number }) => input?.kind !== 'reply' || number !== input.op), ...output.ops];
    for (const { op } of output.ops) {
      if (op.kind === 'get') for (const key of op.keys) this.looksAt.add(key);
      else if (op.kind !== 'sql' && op.kind !== 'delete') this.looksAt.add(op.key);
    }
    this.#nodes += 1;
    const owned = [...(parent?.owned ?? [])];
    const learned = input?.kind === 'reply' ? Math.max(owned.length, 1 + Math.max(-1, ...idsIn(input.reply))) : owned.length;
    while (owned.length < output.tokens) owned.push(owned.length >= learned);
    const memory = remember(parent, input, output, owned);
    const node = {
      number: this.#nodes,
      pending,
      settled: output.settled,
      begun,
      ended,
      timer: output.timer,
      waiting: output.waiting,
      tokens: output.tokens,
      finished: pending.length === 0 && output.timer === undefined && threads.every((thread, at) => ended[at] === thread.length),
      parent,
      input,
      children: new Map(),
      signature: signatureOf(output),
      memory,
      owned,
      live: [] as readonly number[],
    };
    node.live = classOf(node)[1];
    return node;
  }

  #park(node: ProcessNode, process: LiveProcess): void {
    this.#parked.set(node, process);
    if (this.#parked.size <= mostParked) return;
    const [oldest] = this.#parked.keys();
    if (oldest !== undefined) this.#parked.delete(oldest);
  }
}

/** A task ended as none of its kind may. */
export class UnexpectedError extends Error {}

const signatureOf = (output: Output): string => JSON.stringify(output);

/** The numbers in a reply. */
export function idsIn(reply: Reply): number[] {
  if (reply.kind === 'items') return reply.items.flatMap((item) => (item === null ? [] : [...item.text.ids, item.version]));
  return reply.kind === 'rows' ? reply.rows.map(({ body }) => body) : [];
}

/** What a process has on its mind after an input: the last that it saw and did at each key and connection. */
function remember(parent: ProcessNode | undefined, input: Input | undefined, { settled, waiting }: Output, owned: readonly boolean[]): Memory {
  if (settled.length > 0 && waiting === 0 && !(parent?.memory.has('lost') === true)) {
    // What is left of a task is at most a hint, which there is if it found a row.
    return new Map(settled.map(({ task, ok, text }) => [`task ${task}`, { shape: `${ok}${text.template}`, ids: [] }]));
  }
  const memory = new Map(parent?.memory);
  if (input?.kind !== 'reply') return memory;
  const op = parent?.pending.find(({ number }) => number === input.op)?.op;
  const { reply } = input;
  if (op === undefined) return memory;
  // From now on anything of its own may be what it goes on trying.
  if (reply.kind === 'lost') memory.set(`lost`, { shape: '', ids: owned.flatMap((own, id) => (own ? [id] : [])) });
  switch (op.kind) {
    case 'get':
      if (reply.kind !== 'items') break;
      op.keys.forEach((key, at) => {
        const item = reply.items[at] ?? null;
        const act = memory.get(`act ${key}`);
        if (act?.shape.startsWith('add G') === true || act?.shape.startsWith('swap G') === true) memory.set(`stamped ${key}`, act);
        if (act !== undefined && !act.ids.some((id) => item?.text.ids.includes(id))) memory.delete(`act ${key}`);
        const before = memory.get(`look ${key}`);
        // A stamp is compared with one that was seen long before.
        if (before?.shape.startsWith('G') === true && item?.text.template.startsWith('G') !== true) memory.set(`stamp ${key}`, before);
        if (before?.shape.startsWith('G') === true && item?.text.template.startsWith('G') === true && item.text.ids[0] !== before.ids[0]) memory.set(`stamp ${key}`, before);
        memory.set(`look ${key}`, item === null ? { shape: '', ids: [] } : { shape: item.text.template, ids: [...item.text.ids, item.version] });
      });
      break;
    case 'sql':
      if (op.inTransaction) memory.set(`wrote ${op.connection}`, { shape: op.text.template, ids: [...op.text.ids] });
      memory.set(`sql ${op.connection}`, {
        shape: reply.kind === 'rows' ? reply.rows.map(({ id, name }) => `${id}${name}`).join() : JSON.stringify(reply),
        ids: reply.kind === 'rows' ? reply.rows.map(({ body }) => body) : [],
      });
      break;
    case 'delete':
      break;
    default:
      memory.set(`act ${op.key}`, {
        shape: `${op.kind} ${'text' in op ? op.text.template : ''} ${JSON.stringify(reply)}`,
        ids: [...('text' in op ? op.text.ids : []), ...('version' in op ? [op.version] : [])],
      });
  }
  return memory;
}

/** What a node is told apart by, and the tokens that it may still use in a fixed order. */
function classOf({ pending, begun, ended, timer, waiting, memory, owned }: Pick<ProcessNode, 'pending' | 'begun' | 'ended' | 'timer' | 'waiting' | 'memory' | 'owned'>): [string, number[]] {
  const live: number[] = [];
  const number = (id: number): number => {
    const known = live.indexOf(id);
    if (known >= 0) return known;
    live.push(id);
    return live.length - 1;
  };
  const mine = (id: number): string => `${number(id)}${owned[id] === true ? 'o' : ''}`;
  const parts: unknown[] = [begun, ended, timer, waiting];
  for (const { op } of pending) {
    parts.push(op.kind === 'get' ? op : { ...op, ...('text' in op ? { text: [op.text.template, op.text.ids.map(mine)] } : {}), ...('version' in op ? { version: number(op.version) } : {}) });
  }
  // A load without a lease of its own only hands on what the database says.
  const bypass =
    pending.length > 0 &&
    pending.every(({ op }) => op.kind === 'sql' && op.text.template.startsWith('SELECT') && !op.inTransaction) &&
    ![...memory.values()].some(({ ids }) => ids.some((id) => owned[id] === true));
  for (const key of bypass ? [] : [...memory.keys()].sort()) {
    const { shape, ids } = memory.get(key) as { readonly shape: string; readonly ids: readonly number[] };
    parts.push(key, shape, ids.map(mine));
  }
  return [JSON.stringify(parts), live];
}
