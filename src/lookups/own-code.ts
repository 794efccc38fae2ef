/**
 * The program's own code inside a load: a `getResult`, a hook of a find. It may look up other caches, and
 * wait for them, so it holds nothing that their loads need; and a load that it causes waits for no turn
 * that the code itself may hold.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import type { BoundCache } from '../caches/bound-cache.js';
import { hasCountHooks, hasFindHooks } from '../models/select.js';

/** Tells that a load of this cache runs code of the program, which may look up other caches. */
export const runsOwnCode = (cache: BoundCache): boolean =>
  (cache.kind === 'result' && cache.isOwn) || hasFindHooks(cache.model.model) || hasCountHooks(cache.model.model);

/** Runs code of the program inside a load. */
export async function inOwnCode<T>(code: () => Promise<T>): Promise<T> {
  const run = { isOver: false };
  try {
    return await running.run(run, code);
  } finally {
    run.isOver = true;
  }
}

/** Tells that the caller is code of the program inside a load that waits for it. */
export const isInOwnCode = (): boolean => running.getStore()?.isOver === false;

/** Entered only around such code: until the first time, it costs nothing. */
const running = new AsyncLocalStorage<{ isOver: boolean }>();
