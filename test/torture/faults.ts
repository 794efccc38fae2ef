/**
 * What goes wrong during a run, and when: by seed. Several lanes run beside each other, each with one
 * fault at a time: one for each memcached, one for the database, one for the workers.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { Random } from '../oracle/random.js';
import type { Arena, StorePlace } from './arena.js';
import { now } from './clock.js';
import type { Crew, Slot } from './crew.js';

/** A fault as it happened. */
export interface FaultRecord {
  readonly what: string;
  readonly start: number;
  end: number;
}

export interface FaultPlan {
  /** Milliseconds from one fault of a memcached to its next, on average. */
  readonly storeGap: number;
  readonly databaseGap: number;
  readonly killGap: number;
  /** From one episode with TRUNCATE to the next. */
  readonly tagGap: number;
  /** Seconds. */
  readonly writeLease: number;
  /** Restarts of the database take seconds, in which little is read. */
  readonly databaseRestarts: boolean;
}

const storeFaults = [
  [3, 'stopped'],
  [2, 'restarted'],
  [2, 'restarted late'],
  [3, 'slow'],
  [3, 'cut'],
  [1, 'reset'],
  [1, 'refuse'],
  [3, 'blackhole'],
  [2, 'flushed'],
  [3, 'evicting'],
] as const;

const databaseFaults = [
  [4, 'connections killed'],
  [2, 'connections cut'],
  [2, 'read-only'],
  [3, 'rows locked'],
  [1, 'restarted'],
  [1, 'killed'],
] as const;

/** Makes things go wrong until it is told to stop. */
export class Faults {
  readonly records: FaultRecord[] = [];
  storeFaults = 0;
  databaseFaults = 0;
  pauses = 0;
  readonly #arena: Arena;
  readonly #crew: Crew;
  readonly #plan: FaultPlan;
  readonly #seed: number;
  #running = true;
  #lanes: Promise<unknown> = Promise.resolve();
  #storesAtFault = 0;
  /** Until when the effects of a store's fault last, in `performance.now()` milliseconds. */
  #storesDisturbedUntil = 0;
  #databaseHeld = false;
  #databaseAtFault = false;

  constructor(arena: Arena, crew: Crew, plan: FaultPlan, seed: number) {
    this.#arena = arena;
    this.#crew = crew;
    this.#plan = plan;
    this.#seed = seed;
  }

  start(): void {
    const { storeGap, databaseGap, killGap, tagGap } = this.#plan;
    this.#lanes = Promise.all([
      ...this.#arena.stores.map((store, at) => this.#lane(at + 1, storeGap, (random) => this.#storeFault(random, store, at))),
      this.#lane(11, databaseGap, (random) => this.#databaseFault(random)),
      this.#lane(12, killGap, (random) => this.#workerFault(random)),
      this.#lane(13, tagGap, (random) => this.#tags(random)),
    ]);
    // Whoever stops it is told.
    this.#lanes.catch(() => undefined);
  }

  /** Resolves when all is healed. */
  async stop(): Promise<void> {
    this.#running = false;
    await this.#lanes;
  }

  async #lane(number: number, gap: number, fault: (random: Random) => Promise<void>): Promise<void> {
    const random = new Random(this.#seed * 31 + number);
    for (;;) {
      const until = performance.now() + gap * (0.4 + 1.2 * random.next());
      while (this.#running && performance.now() < until) await sleep(Math.min(100, until - performance.now()));
      if (!this.#running) return;
      await fault(random);
    }
  }

  async #recorded(what: string, act: () => Promise<void>): Promise<void> {
    const record: FaultRecord = { what, start: now(), end: Infinity };
    this.records.push(record);
    await act();
    record.end = now();
  }

  // ---- memcached ------------------------------------------------------------------------------

  async #storeFault(random: Random, { memcached, proxy, tiny }: StorePlace, at: number): Promise<void> {
    const drawn = random.weighted(storeFaults);
    const kind = drawn === 'evicting' && !tiny ? 'slow' : drawn;
    const duration = 150 + random.below(random.once(4) ? 4000 : 1200);
    this.storeFaults += 1;
    this.#storesAtFault += 1;
    try {
      await this.#recorded(`memcached ${String(at)} ${kind}`, async () => {
        switch (kind) {
          case 'stopped':
            memcached.pause();
            await sleep(duration);
            memcached.resume();
            break;
          case 'restarted':
            await memcached.restart();
            break;
          case 'restarted late':
            await memcached.kill();
            await sleep(duration);
            await memcached.restart();
            break;
          case 'slow':
            await proxy.set({ delay: 10 + random.below(random.once(3) ? 400 : 60) });
            await sleep(duration);
            await proxy.set('pass');
            break;
          case 'cut':
            proxy.cut();
            break;
          case 'reset':
          case 'refuse':
          case 'blackhole':
            await proxy.set(kind);
            await sleep(duration);
            await proxy.set('pass');
            break;
          case 'flushed':
            await memcached.command('flush_all\r\n');
            break;
          case 'evicting':
            await memcached.command(filler(random));
            break;
        }
      });
    } finally {
      this.#storesAtFault -= 1;
      // Breakers close, and what was not delivered is.
      this.#storesDisturbedUntil = performance.now() + 2000;
    }
  }

  // ---- The database ---------------------------------------------------------------------------

  async #databaseFault(random: Random): Promise<void> {
    while (this.#databaseHeld && this.#running) await sleep(20);
    if (this.#databaseHeld) return;
    const drawn = random.weighted(databaseFaults);
    const kind = (drawn === 'restarted' || drawn === 'killed') && !this.#plan.databaseRestarts ? 'connections killed' : drawn;
    const arena = this.#arena;
    const duration = 50 + random.below(400);
    this.databaseFaults += 1;
    this.#databaseAtFault = true;
    await this.#recorded(`database: ${kind}`, async () => {
      switch (kind) {
        case 'connections killed':
          await arena.killConnections((ids) => random.list(Math.min(ids.length, 1 + random.below(4)), () => random.pick(ids)));
          break;
        case 'connections cut':
          // The server may go on with what it had begun.
          arena.databaseProxy.cut();
          break;
        case 'read-only':
          await arena.sql('SET GLOBAL read_only = 1');
          await sleep(duration);
          await arena.sql('SET GLOBAL read_only = 0');
          break;
        case 'rows locked':
          // Some writers wait, and some of them in vain.
          await this.#lockRows(random, duration + random.below(900));
          break;
        case 'restarted':
          await arena.mariadb.restart();
          break;
        case 'killed':
          await arena.mariadb.kill();
          await arena.mariadb.restart();
          break;
      }
    });
    if (kind === 'restarted' || kind === 'killed') await this.#reconnect();
    this.#databaseAtFault = false;
  }

  async #lockRows(random: Random, milliseconds: number): Promise<void> {
    await this.#arena.sql('START TRANSACTION');
    try {
      await this.#arena.sql('SELECT id FROM tt_users WHERE id % 2 = ? FOR UPDATE', [random.below(2)]);
    } catch (error) {
      // It may lose to the writers.
      if (!['ER_LOCK_DEADLOCK', 'ER_LOCK_WAIT_TIMEOUT'].includes(String((error as { readonly code?: unknown }).code))) throw error;
      return;
    }
    await sleep(milliseconds);
    // Statements that wait lose their clients, and run nevertheless.
    if (random.once(2)) {
      this.#arena.databaseProxy.cut();
      await sleep(random.below(600));
    }
    await this.#arena.sql('COMMIT');
  }

  /** The connection that was there before the restart fails once. */
  async #reconnect(): Promise<void> {
    try {
      await this.#arena.sql('SELECT 1');
    } catch {
      await this.#arena.sql('SELECT 1');
    }
  }

  // ---- Workers --------------------------------------------------------------------------------

  async #workerFault(random: Random): Promise<void> {
    const slot = this.#victim(random);
    if (slot === undefined) return;
    if (this.#crew.kills.size > 0 && random.once(5)) {
      this.pauses += 1;
      await this.#recorded(`process ${slot.process} stopped`, async () => {
        slot.pause();
        await sleep(this.#plan.writeLease * 1000 * random.next() * 1.6);
        slot.resume();
      });
      return;
    }
    // Rarely is a moment by chance one between a commit and what has to follow it.
    const inWrite = !random.once(3);
    await this.#recorded(`process ${slot.process} (${slot.mode}) killed${inWrite ? ' in a write' : ''}`, () =>
      inWrite ? slot.dieWriting(3000) : slot.kill(),
    );
    await slot.start();
  }

  /**
   * A worker that may be killed now. One in mode 'available' with invalidations that were not
   * delivered takes them with it: that is what the mode says, and not what is looked for here.
   */
  #victim(random: Random): Slot | undefined {
    const calm = this.#storesAtFault === 0 && performance.now() > this.#storesDisturbedUntil;
    const slots = this.#crew.slots.filter(({ busy, mode, undelivered }) => !busy && (mode === 'strict' || (calm && undelivered === 0)));
    return slots.length === 0 ? undefined : random.pick(slots);
  }

  async #tags(random: Random): Promise<void> {
    const slot = random.pick(this.#crew.slots);
    this.#databaseHeld = true;
    slot.busy = true;
    try {
      while (this.#databaseAtFault) await sleep(20);
      await slot.tell({ do: 'tags' });
    } finally {
      slot.busy = false;
      this.#databaseHeld = false;
    }
  }
}

/** So many items that what a tiny memcached has is evicted. */
function filler(random: Random): string {
  let commands = '';
  for (let number = 0; number < 8000; number += 1) {
    const size = 1 + random.below(300);
    commands += `set filler${String(number)} 0 60 ${String(size)} noreply\r\n${'x'.repeat(size)}\r\n`;
  }
  return commands;
}
