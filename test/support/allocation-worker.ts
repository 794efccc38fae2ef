/**
 * A process of its own that counts the bytes of heap that its warm lookups allocate. Its young
 * generation is so large that no collection falls between two readings of the heap.
 */
import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { PerformanceObserver } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { MemoryStore } from '../../src/stores/memory.js';
import { memcachedStore, type BackendName } from './backends.js';
import { lookupNames, openLookups, type Ground, type LookupName } from './lookups.js';

/** Bytes of heap for each row that is asked for: the median of the readings, and how far they lie apart. */
export interface Allocated {
  readonly median: number;
  readonly lowest: number;
  readonly highest: number;
}

/** Of every kind of lookup. */
export type Allocations = Readonly<Record<LookupName, Allocated>>;

/** So many rows are asked for between two readings of the heap. */
const asked = 640;
const readings = 11;
/** Until the functions are compiled for speed, which changes what they allocate. */
const warmUp = 20;
/** In mebibytes. */
const youngGeneration = 256;

/** Counts in a process of its own. */
export async function countAllocations(backend: BackendName): Promise<Allocations> {
  const size = String(youngGeneration);
  const child = fork(__filename, {
    execArgv: ['--expose-gc', `--min-semi-space-size=${size}`, `--max-semi-space-size=${size}`],
    env: { ...process.env, FLASH_ALLOCATIONS: backend },
  });
  let counted: Allocations | undefined;
  child.on('message', (message) => {
    counted = message as Allocations;
  });
  const [code] = (await once(child, 'exit')) as [number | null];
  assert.ok(code === 0 && counted !== undefined, `the process that counts allocations ended with ${String(code)}`);
  return counted;
}

async function count(backend: BackendName): Promise<Allocations> {
  const ground = await openLookups(backend, backend === 'mariadb' ? memcachedStore() : new MemoryStore());
  try {
    const collections: { readonly began: number; readonly ended: number }[] = [];
    const observer = new PerformanceObserver((list) => {
      for (const { startTime, duration } of list.getEntries()) collections.push({ began: startTime, ended: startTime + duration });
    });
    observer.observe({ entryTypes: ['gc'] });
    const counted: (readonly [LookupName, readonly Reading[]])[] = [];
    for (const name of lookupNames) counted.push([name, await readingsOf(ground, name)]);
    // Collections are reported a little later.
    await sleep(50);
    observer.disconnect();
    for (const [name, all] of counted) {
      const disturbed = all.filter((one) => collections.some(({ began, ended }) => ended >= one.began && began <= one.ended));
      assert.equal(disturbed.length, 0, `${name}: a collection fell into ${String(disturbed.length)} of the readings`);
    }
    return Object.fromEntries(counted.map(([name, all]) => [name, summaryOf(all)])) as unknown as Allocations;
  } finally {
    await ground.close();
  }
}

interface Reading {
  readonly began: number;
  readonly ended: number;
  /** For each row. */
  readonly bytes: number;
}

async function readingsOf({ lookups, statements }: Ground, name: LookupName): Promise<Reading[]> {
  const { gc } = globalThis;
  assert.ok(gc !== undefined, 'allocations are counted by node --expose-gc');
  const one = lookups[name];
  const times = Math.ceil(asked / one.asked);
  const run = async (): Promise<void> => {
    for (let time = 0; time < times; time += 1) await one.run();
  };
  for (let time = 0; time < warmUp; time += 1) await run();
  gc();
  const taken: Reading[] = [];
  for (let attempt = 0; taken.length < readings; attempt += 1) {
    assert.ok(attempt < 3 * readings, `${name}: warm lookups send SQL`);
    const sent = statements();
    const began = performance.now();
    const before = process.memoryUsage().heapUsed;
    await run();
    const bytes = process.memoryUsage().heapUsed - before;
    // That a row is absent is known for seconds only; then it is asked for again.
    if (statements() === sent) taken.push({ began, ended: performance.now(), bytes: bytes / (times * one.asked) });
  }
  return taken;
}

function summaryOf(all: readonly Reading[]): Allocated {
  const sorted = all.map(({ bytes }) => bytes).sort((a, b) => a - b);
  return { median: sorted[sorted.length >> 1]!, lowest: sorted[0]!, highest: sorted.at(-1)! };
}

if (process.send !== undefined && process.env.FLASH_ALLOCATIONS !== undefined) {
  count(process.env.FLASH_ALLOCATIONS as BackendName).then(
    (counted) => {
      process.send?.(counted);
      process.disconnect();
    },
    (error: unknown) => {
      process.stderr.write(`${error instanceof Error ? String(error.stack) : String(error)}\n`);
      process.exit(1);
    },
  );
}
