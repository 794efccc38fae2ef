/**
 * `Recent`: what was used last, by key, within a bound.
 *
 * Two generations: what is used goes to the younger one, and when that has half of the bound, the
 * older is forgotten as a whole. A use costs one `Map.get`, which no list of least recent use
 * matches; what was used since half of the bound went by is sure to be there.
 */
export class Recent<V> {
  readonly #half: number;
  readonly #weigh: (value: V) => number;
  #young = new Map<string, V>();
  #weight = 0;
  #old: Map<string, V> = new Map<string, V>();

  /**
   * @param bound how much all values together may weigh
   * @param weigh what a value weighs; must not change while it is here
   */
  constructor(bound: number, weigh: (value: V) => number) {
    this.#half = bound / 2;
    this.#weigh = weigh;
  }

  get(key: string): V | undefined {
    const value = this.#young.get(key);
    if (value !== undefined) return value;
    const older = this.#old.get(key);
    if (older !== undefined) {
      this.#old.delete(key);
      this.#put(key, older);
    }
    return older;
  }

  /** A value that weighs more than half of the bound is not kept. */
  set(key: string, value: V): void {
    this.#forget(key);
    this.#put(key, value);
  }

  delete(key: string): void {
    this.#forget(key);
    this.#old.delete(key);
  }

  /** An older value may still be among the old: it goes with them before it could be found. */
  #forget(key: string): void {
    const value = this.#young.get(key);
    if (value === undefined) return;
    this.#young.delete(key);
    this.#weight -= this.#weigh(value);
  }

  #put(key: string, value: V): void {
    const weight = this.#weigh(value);
    if (weight > this.#half) {
      this.#old.delete(key);
      return;
    }
    if (this.#weight + weight > this.#half) {
      this.#old = this.#young;
      this.#young = new Map();
      this.#weight = 0;
    }
    this.#young.set(key, value);
    this.#weight += weight;
  }
}
