/**
 * One warning of the process when a store was never reached: a wrong address in the configuration is noticed
 * although every read is answered, by the database.
 */
import { clearTimeout, setTimeout } from '../clock.js';

/** After so many failed operations without a success, or so many milliseconds after the first one. */
const mostFailures = 10;
const warnAfterMs = 30_000;

/** Watches whether a store was ever reached. */
export class FirstContact {
  readonly #store: string;
  #isOver = false;
  #failures = 0;
  #cause: unknown;
  #timer: NodeJS.Timeout | undefined;

  /** @param store its name, for the warning */
  constructor(store: string) {
    this.#store = store;
  }

  succeeded(): void {
    if (!this.#isOver) this.end();
  }

  failed(cause: unknown): void {
    if (this.#isOver) return;
    this.#cause = cause;
    this.#failures += 1;
    if (this.#failures >= mostFailures) this.#warn();
    else this.#timer ??= setTimeout(() => {
      this.#warn();
    }, warnAfterMs).unref();
  }

  end(): void {
    this.#isOver = true;
    clearTimeout(this.#timer);
  }

  #warn(): void {
    this.end();
    const cause = this.#cause instanceof Error ? this.#cause.message : String(this.#cause);
    process.emitWarning(
      `sequelize-flash has not reached the store ${this.#store} yet, so nothing is cached: every read goes to the database. ` +
        `Are the addresses right ('store' of setupCache, or SEQUELIZE_FLASH_MEMCACHED)? The last error: ${cause}`,
      { type: 'SequelizeFlashWarning', code: 'FLASH_STORE_UNREACHED' },
    );
  }
}
