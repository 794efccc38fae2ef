/** Bounded concurrency: a gate that lets a bounded weight of tasks run at the same time, in order of arrival. */
export class Gate {
  #free: number;
  readonly #width: number;
  readonly #waiting: { readonly weight: number; readonly go: () => void }[] = [];

  /** @param width the weight that may run at the same time */
  constructor(width: number) {
    this.#width = width;
    this.#free = width;
  }

  /**
   * Runs the task when there is room for it: at once, in the same tick, if there is.
   * @param weight how much room it takes; more than the width counts as the width
   */
  async pass<T>(task: () => Promise<T>, weight = 1): Promise<T> {
    if (!this.tryEnter(weight)) await this.enter(weight);
    try {
      return await task();
    } finally {
      this.leave(weight);
    }
  }

  /** Takes room at once if there is any and nobody waits. Whoever got it calls `leave`. */
  tryEnter(weight = 1): boolean {
    const room = Math.min(weight, this.#width);
    if (this.#waiting.length > 0 || this.#free < room) return false;
    this.#free -= room;
    return true;
  }

  /** Resolves when room was taken, in order of arrival. Call `leave` afterwards. */
  enter(weight = 1): Promise<void> {
    return new Promise<void>((go) => {
      this.#waiting.push({ weight: Math.min(weight, this.#width), go });
      this.#admit();
    });
  }

  /** Gives room back. */
  leave(weight = 1): void {
    this.#free += Math.min(weight, this.#width);
    this.#admit();
  }

  #admit(): void {
    for (let next = this.#waiting[0]; next !== undefined && next.weight <= this.#free; next = this.#waiting[0]) {
      this.#waiting.shift();
      this.#free -= next.weight;
      next.go();
    }
  }
}
