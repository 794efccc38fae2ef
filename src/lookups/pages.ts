/** Looks at the keys of chains ahead. Chains of one tick share one look, so their misses are loaded together. */
import type { Coherence } from '../coherence/coherence.js';
import { Page } from './lookup.js';

/** A page that is asked for. */
interface Asked {
  readonly keys: ReadonlySet<string>;
  /** The epochs of tables among the keys, as they were last. */
  readonly epochs: ReadonlyMap<string, string | undefined>;
  readonly resolve: (page: Page) => void;
  readonly reject: (error: unknown) => void;
}

/** Opens the pages of one tick. */
export class Pages {
  readonly #coherence: Coherence;
  #asked: Asked[] = [];

  constructor(coherence: Coherence) {
    this.#coherence = coherence;
  }

  /** Looks at keys ahead of lookups, together with other pages. */
  open(keys: ReadonlySet<string>, epochs: Asked['epochs']): Promise<Page> {
    if (keys.size === 0) return Promise.resolve(new Page());
    return new Promise((resolve, reject) => {
      if (this.#asked.length === 0) {
        // Before the lookups of this tick are looked at: where a store answers at once, those that follow join them.
        void Promise.resolve().then(() => {
          this.#flush();
        });
      }
      this.#asked.push({ keys, epochs, resolve, reject });
    });
  }

  #flush(): void {
    const asked = this.#asked;
    this.#asked = [];
    // A look that shows lists as of one moment may take a round trip more.
    this.#look(asked.filter(({ epochs }) => epochs.size === 0));
    this.#look(asked.filter(({ epochs }) => epochs.size > 0));
  }

  #look(asked: readonly Asked[]): void {
    if (asked.length === 0) return;
    const keys = new Set<string>();
    const known = new Map<string, string | undefined>();
    for (const { keys: own, epochs } of asked) {
      for (const key of own) keys.add(key);
      for (const [table, epoch] of epochs) known.set(table, known.get(table) ?? epoch);
    }
    this.#coherence.survey([...keys], known, false).then(
      (sight) => {
        for (const { keys: own, resolve } of asked) resolve(new Page(own, sight));
      },
      (error: unknown) => {
        for (const { reject } of asked) reject(error);
      },
    );
  }
}
