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
    const room = Math.min(weight, this.#width);
    if (this.#waiting.length === 0 && this.#free >= room) this.#free -= room;
    else
      await new Promise<void>((go) => {
        this.#waiting.push({ weight: room, go });
      });
    try {
      return await task();
    } finally {
      this.#free += room;
      for (let next = this.#waiting[0]; next !== undefined && next.weight <= this.#free; next = this.#waiting[0]) {
        this.#waiting.shift();
        this.#free -= next.weight;
        next.go();
      }
    }
  }
}
