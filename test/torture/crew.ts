/** The worker processes of a run: started, told what to do, killed, replaced. */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { now } from './clock.js';
import type { Mode } from './log.js';
import type { Order, Place, Reply } from './worker.js';

const longestMs = 60_000;

/** What every worker is told alike. */
export type Common = Omit<Place, 'process' | 'seed' | 'mode' | 'cls'>;

/** One worker after the other in the same place. */
export class Slot {
  readonly #at: number;
  readonly #seed: number;
  readonly #common: Common;
  readonly #crew: Crew;
  #generation = 0;
  #child: ChildProcess | undefined;
  #counts = { reads: 0, writes: 0, undelivered: 0, readErrors: 0 };
  #answer: (() => void) | undefined;
  #expected = false;
  /** It is doing something during which it must not be killed. */
  busy = false;

  constructor(at: number, seed: number, common: Common, crew: Crew) {
    this.#at = at;
    this.#seed = seed;
    this.#common = common;
    this.#crew = crew;
  }

  /** Names the process in logs. */
  get process(): string {
    return `${this.#at}.${this.#generation}`;
  }

  /** Each place has a worker of the one mode, then one of the other. */
  get mode(): Mode {
    return (this.#at + this.#generation) % 2 === 0 ? 'available' : 'strict';
  }

  get undelivered(): number {
    return this.#counts.undelivered;
  }

  async start(): Promise<void> {
    this.#generation += 1;
    const place: Place = {
      ...this.#common,
      process: this.process,
      seed: (this.#seed * 1_000_003 + this.#at * 10_007 + this.#generation * 101) >>> 0,
      mode: this.mode,
      cls: ((this.#at + this.#generation) >> 1) % 2 === 1,
    };
    // Sequelize complains there of what is done to it.
    const complaints = join(place.folder, `${place.process}.stderr`);
    const output = openSync(complaints, 'a');
    const child = fork(join(__dirname, 'worker.js'), {
      env: { ...process.env, FLASH_TORTURE: JSON.stringify(place) },
      stdio: ['ignore', output, output, 'ipc'],
    });
    closeSync(output);
    this.#child = child;
    this.#expected = false;
    this.#counts = { reads: 0, writes: 0, undelivered: 0, readErrors: 0 };
    child.on('exit', (code, signal) => {
      this.#answer?.();
      if (this.#expected) return;
      this.#crew.died(`process ${place.process} ended by itself: ${signal ?? `exit code ${String(code)}`}\n${readFileSync(complaints, 'utf8').slice(-2000)}`);
    });
    await new Promise<void>((resolve) => {
      child.on('message', (reply: Reply) => {
        if (reply.kind === 'ready') resolve();
        else if (reply.kind !== 'counts') this.#answer?.();
        else {
          this.#crew.add(reply.reads - this.#counts.reads, reply.writes - this.#counts.writes, reply.readErrors - this.#counts.readErrors);
          this.#counts = reply;
        }
      });
      child.once('exit', () => {
        resolve();
      });
    });
  }

  /** Resolves when it is done, or the process is gone. */
  async tell(order: Order): Promise<void> {
    const child = this.#child;
    if (child?.connected !== true) return;
    const answer = new Promise<void>((resolve) => {
      this.#answer = resolve;
    });
    child.send(order);
    await this.#within(answer, order.do);
  }

  async #within(end: Promise<unknown>, what: string): Promise<void> {
    const timeout = new AbortController();
    const late = sleep(longestMs, 'late', { signal: timeout.signal, ref: false }).catch(() => undefined);
    if ((await Promise.race([end, late])) === 'late') {
      this.#crew.died(`process ${this.process} has not done '${what}' within ${longestMs} ms`);
      await this.kill();
    }
    timeout.abort();
  }

  pause(): void {
    this.#child?.kill('SIGSTOP');
  }

  resume(): void {
    this.#child?.kill('SIGCONT');
  }

  /** `kill -9`; resolves when the process is gone. */
  async kill(): Promise<void> {
    const child = this.#child;
    if (child === undefined || hasEnded(child)) return;
    this.#expected = true;
    const gone = once(child, 'exit');
    this.#crew.kills.set(this.process, now());
    child.kill('SIGKILL');
    await gone;
  }

  /** Makes it kill itself in the middle of a write; kills it if it has not done so by then. */
  async dieWriting(milliseconds: number): Promise<void> {
    const child = this.#child;
    if (child?.connected !== true || hasEnded(child)) return;
    this.#expected = true;
    const gone = once(child, 'exit');
    child.send({ do: 'die' } satisfies Order);
    await Promise.race([gone, sleep(milliseconds)]);
    if (child.signalCode === null) await this.kill();
    else this.#crew.kills.set(this.process, now());
  }

  /** Lets it finish what it does, and waits for its end. */
  async end(): Promise<void> {
    const child = this.#child;
    if (child === undefined || hasEnded(child)) return;
    this.#expected = true;
    const gone = once(child, 'exit');
    child.send({ do: 'exit' } satisfies Order);
    await this.#within(gone, 'exit');
  }
}

const hasEnded = ({ exitCode, signalCode }: ChildProcess): boolean => exitCode !== null || signalCode !== null;

/** All workers. */
export class Crew {
  readonly slots: readonly Slot[];
  /** When processes were killed, by name. */
  readonly kills = new Map<string, number>();
  /** Processes that ended without having been killed. */
  readonly deaths: string[] = [];
  reads = 0;
  writes = 0;
  readErrors = 0;

  constructor(workers: number, seed: number, common: Common) {
    this.slots = Array.from({ length: workers }, (_, at) => new Slot(at, seed, common, this));
  }

  add(reads: number, writes: number, readErrors: number): void {
    this.reads += reads;
    this.writes += writes;
    this.readErrors += readErrors;
  }

  died(how: string): void {
    this.deaths.push(how);
  }

  async each(act: (slot: Slot) => Promise<void>): Promise<void> {
    await Promise.all(this.slots.map(act));
  }
}
