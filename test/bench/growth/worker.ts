/** A process of its own that looks rows up as it is told by IPC. */
import assert from 'node:assert/strict';
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import type { Competitor, CompetitorName } from '../competitors.js';
import { range } from '../places.js';
import { anyOf, isItem, itemSubject, nameOf, openItems, type Item } from './ground.js';

/** What a worker looks up, and where. */
export interface Task {
  readonly url: string;
  readonly servers: readonly string[];
  readonly prefix: string;
  readonly rows: number;
  readonly maxHints?: number;
}

/** What a worker can be told to do. */
export type Order =
  /** Looks rows up by id, 64 at a time, for so long. `by`: with what; this package where it is left out. */
  | { readonly do: 'read'; readonly milliseconds: number; readonly by?: CompetitorName }
  /** Looks these rows up by name, 100 at a time. */
  | { readonly do: 'names'; readonly first: number; readonly count: number }
  /** Makes so many lookups by id of the first rows, over and over, 64 at a time. */
  | { readonly do: 'ids'; readonly rows: number; readonly count: number };

/** What a worker did. */
export interface Report {
  readonly lookups: number;
  readonly sql: number;
  readonly milliseconds: number;
  /** Processor time in microseconds. */
  readonly cpu: number;
  /** Bytes after a collection of garbage. */
  readonly heap: number;
}

/** A worker as its parent has it. */
export interface Worker {
  /** Resolves when it is done. */
  tell(order: Order): Promise<Report>;
  stop(): Promise<void>;
}

/** Starts a worker. */
export async function startWorker(task: Task): Promise<Worker> {
  const child = fork(__filename, {
    execArgv: ['--expose-gc'],
    env: { ...process.env, FLASH_GROWTH_TASK: JSON.stringify(task) },
    // Its output must not be among the result's.
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  await reply(child);
  return {
    tell: async (order) => {
      child.send(order);
      return (await reply(child)) as Report;
    },
    stop: async () => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const gone = once(child, 'exit');
      child.disconnect();
      await gone;
    },
  };
}

async function reply(child: ChildProcess): Promise<unknown> {
  const ended = new AbortController();
  try {
    return await Promise.race([
      once(child, 'message', { signal: ended.signal }).then(([message]: unknown[]) => message),
      once(child, 'exit', { signal: ended.signal }).then(([code]: unknown[]): never => {
        throw new Error(`A process that looks rows up ended with ${String(code)}.`);
      }),
    ]);
  } finally {
    ended.abort();
  }
}

async function work({ url, servers, prefix, rows, maxHints }: Task): Promise<void> {
  const side = openItems(url, ['items'], { servers, prefix, ...(maxHints === undefined ? {} : { setup: { maxHints } }) });
  const [model] = side.models;
  assert.ok(model !== undefined);
  const compared = new Map<CompetitorName, Competitor>();
  let subject: ReturnType<typeof itemSubject> | undefined;
  const open = async (name: CompetitorName): Promise<Competitor> => {
    // Not before it is asked for: what all of them load is heap, and so are the numbers of the rows.
    const { openCompetitor } = await import('../competitors.js');
    subject ??= itemSubject(url, prefix, rows);
    const competitor = compared.get(name) ?? openCompetitor(name, subject, servers);
    compared.set(name, competitor);
    return competitor;
  };
  const ownGet = (id: number): Promise<unknown> => model.cache.get({ id });
  let next = process.pid;
  /** Goes on while it may. */
  const loop = async (of: number, get: (id: number) => Promise<unknown>, more: (done: number) => boolean): Promise<number> => {
    let done = 0;
    const one = async (): Promise<void> => {
      while (more(done)) {
        next += 1;
        done += 1;
        const id = anyOf(next, of);
        isItem(await get(id), id);
      }
    };
    await Promise.all(Array.from({ length: 64 }, one));
    return done;
  };
  const read = (milliseconds: number, get: (id: number) => Promise<unknown>): Promise<number> => {
    const until = performance.now() + milliseconds;
    return loop(rows, get, () => performance.now() < until);
  };
  const names = async (first: number, count: number): Promise<number> => {
    for (let from = 0; from < count; from += 100) {
      const ids = range(from, Math.min(count, from + 100) - 1).map((at) => 1 + ((first + at - 1) % rows));
      const found: readonly (Item | null)[] = await model.cache.getMany(ids.map((id) => ({ name: nameOf(id) })));
      for (const [at, id] of ids.entries()) assert.equal(found[at]?.id, id, `a wrong answer for row ${String(id)}`);
    }
    return count;
  };
  const obey = async (order: Order): Promise<Report> => {
    const { gc } = globalThis;
    assert.ok(gc !== undefined, 'a worker needs --expose-gc');
    const competitor = order.do === 'read' && order.by !== undefined ? await open(order.by) : undefined;
    const statements = (): number => side.statements() + (competitor?.statements?.() ?? 0);
    const sql = statements();
    const cpu = process.cpuUsage();
    const began = performance.now();
    const lookups =
      order.do === 'read'
        ? await read(order.milliseconds, competitor?.get ?? ownGet)
        : order.do === 'names'
          ? await names(order.first, order.count)
          : await loop(order.rows, ownGet, (done) => done < order.count);
    const milliseconds = performance.now() - began;
    const { user, system } = process.cpuUsage(cpu);
    if (order.do !== 'read') {
      // What the last lookups held is let go of in the turns after them.
      for (let pass = 0; pass < 3; pass += 1) {
        await new Promise(setImmediate);
        gc();
      }
    }
    return { lookups, sql: statements() - sql, milliseconds, cpu: user + system, heap: process.memoryUsage().heapUsed };
  };
  await model.cache.get({ id: 1 });
  process.on('message', (order: Order) => {
    obey(order).then(
      (report) => process.send?.(report),
      (error: unknown) => {
        console.error(error);
        process.exit(1);
      },
    );
  });
  process.on('disconnect', () => {
    void (async () => {
      for (const competitor of compared.values()) await competitor.close?.();
      await subject?.close();
      await side.cache.close();
      await side.sequelize.close();
    })();
  });
  process.send?.('ready');
}

if (process.send !== undefined && process.env.FLASH_GROWTH_TASK !== undefined) {
  work(JSON.parse(process.env.FLASH_GROWTH_TASK) as Task).catch((error: unknown) => {
    console.error(error);
    process.exit(1);
  });
}
