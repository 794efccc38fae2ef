/** What a process sends and receives, with tokens and versions as numbers. */
import type { Text } from './texts.js';

/** An operation on the store. */
export type StoreOp =
  | { readonly kind: 'get'; readonly keys: readonly string[] }
  | { readonly kind: 'add'; readonly key: string; readonly text: Text; readonly seconds: number }
  | { readonly kind: 'swap'; readonly key: string; readonly text: Text; readonly version: number; readonly seconds: number }
  | { readonly kind: 'remove'; readonly key: string; readonly version: number }
  | { readonly kind: 'delete'; readonly key: string };

/** A statement, its parameters as JSON on a second line. */
export interface SqlOp {
  readonly kind: 'sql';
  readonly connection: number;
  /** The connection is inside a transaction. */
  readonly inTransaction: boolean;
  readonly text: Text;
}

/** An operation that a process waits for. */
export type Op = StoreOp | SqlOp;

/** One value of the store as a process sees it; `version` stands for the store's token. */
export interface Item {
  readonly text: Text;
  readonly version: number;
}

/** A row of the model database; `body` is a token that some writer drew. */
export interface Row {
  readonly id: number;
  readonly name: string;
  readonly body: number;
}

/** What a process is answered. */
export type Reply =
  | { readonly kind: 'items'; readonly items: readonly (Item | null)[] }
  | { readonly kind: 'flag'; readonly flag: boolean }
  | { readonly kind: 'rows'; readonly rows: readonly Row[] }
  | { readonly kind: 'count'; readonly count: number }
  /** The unique key on the name was violated. */
  | { readonly kind: 'duplicate' }
  /** The connection broke: whether the operation took effect is not known. */
  | { readonly kind: 'lost' };

/** What happens to a process. */
export type Input =
  | { readonly kind: 'start'; readonly thread: number }
  | { readonly kind: 'reply'; readonly op: number; readonly reply: Reply }
  | { readonly kind: 'timer' }
  /** Time passes, and no timer fires. */
  | { readonly kind: 'pause'; readonly milliseconds: number };

/** How a task of a process ended; `text` is the answer as JSON, or the error's name. */
export interface Settled {
  readonly thread: number;
  readonly task: number;
  readonly ok: boolean;
  readonly text: Text;
}

/** What a process shows after an input, when nothing is left to run in it. */
export interface Output {
  /** New operations with their numbers, in the order in which they were started. */
  readonly ops: readonly { readonly number: number; readonly op: Op }[];
  readonly settled: readonly Settled[];
  /** The delay of the timer that is due next, in milliseconds; undefined if none is set. */
  readonly timer: number | undefined;
  /** Invalidations that are not delivered yet. */
  readonly waiting: number;
  /** How many tokens and versions the process has seen or made. */
  readonly tokens: number;
}
