/** Processes that run `cache-worker.ts`, and what they are told. */
import assert from 'node:assert/strict';
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { Sequelize } from 'sequelize';
import type { Order, Place, Reply } from './cache-worker.js';

/** The place of workers on the database of a Sequelize instance. */
export function placeOf({ config }: Sequelize, rest: Omit<Place, 'url'>): Place {
  const { username, password, host, port, database } = config as unknown as Readonly<Record<string, string>>;
  return { ...rest, url: `mysql://${username ?? ''}:${password ?? ''}@${host ?? ''}:${port ?? ''}/${database ?? ''}` };
}

/** One process. */
export class Worker {
  readonly #child: ChildProcess;
  readonly #replies = new Map<number, (reply: Reply) => void>();
  readonly #hanging: Promise<void>;
  #orders = 0;

  private constructor(child: ChildProcess) {
    this.#child = child;
    let hang: () => void = () => undefined;
    this.#hanging = new Promise((resolve) => {
      hang = resolve;
    });
    child.on('message', (reply: Reply) => {
      if (reply.kind === 'hanging') hang();
      else if (reply.kind !== 'ready') this.#replies.get(reply.order)?.(reply);
    });
  }

  static async start(place: Place): Promise<Worker> {
    const child = fork(join(__dirname, 'cache-worker.js'), {
      env: { ...process.env, FLASH_TEST_PLACE: JSON.stringify(place) },
    });
    const worker = new Worker(child);
    await once(child, 'message');
    return worker;
  }

  /** Resolves when a write hangs where it was told to. */
  get hanging(): Promise<void> {
    return this.#hanging;
  }

  async tell(order: Order): Promise<Reply & { kind: 'done' }> {
    const id = (this.#orders += 1);
    const reply = await new Promise<Reply>((resolve) => {
      this.#replies.set(id, resolve);
      this.#child.send({ id, order });
    });
    if (reply.kind !== 'done') assert.fail(JSON.stringify(reply));
    return reply;
  }

  /** Tells it without waiting: it will hang, and be killed. */
  abandon(order: Order): void {
    this.#child.send({ id: -1, order });
  }

  async kill(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const gone = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await gone;
  }
}
