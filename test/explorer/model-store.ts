/**
 * The store at one moment, as plain data. What each operation does is not written down here but
 * taken from the real `MemoryStore`: it is asked once for every case that can be told apart.
 */
import { MemoryStore } from '../../src/stores/memory.js';
import type { Item, Reply, StoreOp } from './protocol-types.js';

/** A value under its key, with its life time in seconds (0: none). */
export interface StoredItem extends Item {
  readonly seconds: number;
}

/** Values by key. */
export type StoreState = ReadonlyMap<string, StoredItem>;

type Conditional = Exclude<StoreOp, { kind: 'get' }>;
type Case = `${Conditional['kind']} ${'absent' | 'same' | 'other'}`;

interface Outcome {
  readonly flag: boolean;
  readonly leaves: 'as it was' | 'written' | 'nothing';
}

/** What one operation does. */
export interface StoreEffect {
  readonly state: StoreState;
  readonly reply: Reply;
}

export class ModelStore {
  readonly #outcomes = new Map<Case, Outcome>();
  /** Life times in seconds that are over after so many seconds. */
  readonly #over = new Map<string, boolean>();

  private constructor() {}

  static async learn(): Promise<ModelStore> {
    const model = new ModelStore();
    for (const kind of ['add', 'swap', 'remove', 'delete'] as const) {
      for (const present of ['absent', 'same', 'other'] as const) model.#outcomes.set(`${kind} ${present}`, await outcomeOf(kind, present));
    }
    return model;
  }

  /** @param version what a value that is written gets as its version */
  apply(state: StoreState, op: Conditional, version: number): StoreEffect {
    const item = state.get(op.key);
    const present = item === undefined ? 'absent' : 'version' in op && item.version === op.version ? 'same' : 'other';
    const outcome = this.#outcomes.get(`${op.kind} ${present}`);
    if (outcome === undefined) throw new RangeError(op.kind);
    const reply: Reply = { kind: 'flag', flag: outcome.flag };
    if (outcome.leaves === 'as it was') return { state, reply };
    const next = new Map(state);
    if (outcome.leaves === 'nothing') next.delete(op.key);
    else if (op.kind === 'add' || op.kind === 'swap') next.set(op.key, { text: op.text, version, seconds: op.seconds });
    return { state: next, reply };
  }

  /** The store after some time, nothing else happening. */
  async after(state: StoreState, seconds: number): Promise<StoreState> {
    const left = new Map<string, StoredItem>();
    for (const [key, item] of state) {
      const which = `${item.seconds} ${seconds}`;
      const over = this.#over.get(which) ?? (await isOver(item.seconds, seconds));
      this.#over.set(which, over);
      if (!over) left.set(key, item);
    }
    return left;
  }
}

const key = 'key';

async function outcomeOf(kind: Conditional['kind'], present: 'absent' | 'same' | 'other'): Promise<Outcome> {
  const store = new MemoryStore({ now: () => 0 });
  let token = 'none';
  if (present !== 'absent') {
    await store.add(key, 'before', 0);
    token = (await store.get([key])).items.get(key)?.token ?? '';
    if (present === 'other') {
      await store.compareAndSwap(key, 'before', token, 0);
    }
  }
  const flag =
    kind === 'add'
      ? await store.add(key, 'after', 0)
      : kind === 'swap'
        ? await store.compareAndSwap(key, 'after', token, 0)
        : kind === 'remove'
          ? await store.compareAndDelete(key, token)
          : await store.delete(key);
  const value = (await store.get([key])).items.get(key)?.value;
  const leaves = value === 'after' ? 'written' : value === (present === 'absent' ? undefined : 'before') ? 'as it was' : 'nothing';
  return { flag, leaves };
}

async function isOver(lifeTime: number, seconds: number): Promise<boolean> {
  let now = 0;
  const store = new MemoryStore({ now: () => now });
  await store.add(key, 'value', lifeTime);
  now = seconds * 1000;
  return !(await store.get([key])).items.has(key);
}
