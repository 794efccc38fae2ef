/** Where the database has no row locks, tells whether another write came between a read and the statement that it was made for. */
export class Turns {
  #begun = 0;
  readonly #underWay = new Set<object>();

  /** A statement that may write is about to be sent. */
  begin(query: object): void {
    this.#begun += 1;
    this.#underWay.add(query);
  }

  /** It was run. */
  end(query: object): void {
    this.#underWay.delete(query);
  }

  /** To be called before a read. Returns what says, after the statement, whether another one was under way since. */
  watch(query: object): () => boolean {
    const begun = this.#begun;
    const others = [...this.#underWay].some((one) => one !== query);
    return () => others || this.#begun !== begun;
  }
}
