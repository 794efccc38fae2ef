/** Loads that are one statement, and the room that it takes while it runs. */
import { Gate } from '../gate.js';
import type { Load } from './load.js';

interface Room {
  readonly isOwn: boolean;
  /** Where code of the program waits for its turn; undefined where it needs none. */
  readonly turn: Gate | undefined;
  readonly admission: Gate;
  readonly weight: number;
  /** How many parts of it may run code of the program at the same time, where it has to be divided. */
  readonly parts: number;
}

/** One statement. Take its room by `tryEnter` or `enter`, and give it back by `end`. */
export class Statement {
  readonly loads: readonly Load[];
  /** It runs code of the program. */
  readonly isOwn: boolean;
  readonly #turn: Gate | undefined;
  readonly #admission: Gate;
  readonly #weight: number;
  readonly #parts: Gate | undefined;
  /** How often it is admitted: once for each part that stores its answers. */
  #admitted = 0;

  constructor(loads: readonly Load[], { isOwn, turn, admission, weight, parts }: Room) {
    this.loads = loads;
    this.isOwn = isOwn;
    this.#turn = turn;
    this.#admission = admission;
    this.#weight = weight;
    this.#parts = isOwn ? new Gate(parts) : undefined;
  }

  /** Takes the room at once if all of it is free. */
  tryEnter(): boolean {
    if (this.#turn?.tryEnter() === false) return false;
    if (!this.#admission.tryEnter(this.#weight)) {
      this.#turn?.leave();
      return false;
    }
    this.#admitted += 1;
    return true;
  }

  /** Resolves when the room was taken: first the turn, as the code that has it may wait for the others. */
  async enter(): Promise<void> {
    if (this.#turn !== undefined) {
      for (const { flight } of this.loads) flight.isQueued = true;
      await this.#turn.enter();
      for (const { flight } of this.loads) flight.isQueued = false;
    }
    await this.#admit();
  }

  /** Runs code that may wait for other statements: it is not admitted meanwhile. */
  async outside<T>(code: () => Promise<T>): Promise<T> {
    this.leave();
    const result = await (this.#parts === undefined ? code() : this.#parts.pass(code));
    await this.#admit();
    return result;
  }

  /** Makes room for other statements before it has ended. */
  leave(): void {
    if (this.#admitted === 0) return;
    this.#admitted -= 1;
    this.#admission.leave(this.#weight);
  }

  /** Gives back what it has. */
  end(): void {
    while (this.#admitted > 0) this.leave();
    this.#turn?.leave();
  }

  async #admit(): Promise<void> {
    if (!this.#admission.tryEnter(this.#weight)) await this.#admission.enter(this.#weight);
    this.#admitted += 1;
  }
}
