/** Puts values under the leases of loads, and says what became of them. */
import { monotonic } from '../clock.js';
import type { Look } from '../coherence/affected.js';
import type { Coherence } from '../coherence/coherence.js';
import type { Filled } from '../coherence/read-leases.js';
import { bodyText } from '../entries/codec.js';
import { valueHead } from '../entries/envelope.js';
import { StoreClosedError, StoreRefusedError, StoreTimeoutError, StoreUnavailableError } from '../errors.js';
import { noteExpired, noteRefused, type AnsweredLoad } from './load.js';

/** A lease, and what is stored in its place. */
export interface Claim {
  readonly load: AnsweredLoad;
  readonly key: string;
  readonly lease: string;
  /** What the value begins with. */
  readonly head: string;
  /** Undefined if nothing can be stored. */
  readonly body: readonly unknown[] | undefined;
  /** The value says that there is no such row. */
  readonly none?: boolean;
}

/** Fills entries. */
export class EntryFiller {
  readonly #coherence: Coherence;
  /** Seconds. */
  readonly #writeLease: number;

  constructor(coherence: Coherence, writeLease: number) {
    this.#coherence = coherence;
    this.#writeLease = writeLease;
  }

  /**
   * Puts bodies under their leases, all at once; ends the leases where that cannot be done.
   * @param look a look at the leases since they were placed, or renewed
   */
  async fill(claims: readonly Claim[], look: Look): Promise<void> {
    const { leases, maxValueBytes } = this.#coherence;
    // One promise for each: a statement may leave thousands of entries.
    const fills: Promise<Filled>[] = [];
    const filling: Claim[] = [];
    const ended: Promise<void>[] = [];
    for (const claim of claims) {
      const { key, lease, head, body } = claim;
      if (body === undefined) {
        ended.push(this.#giveUp(claim, look));
        continue;
      }
      const value = head + bodyText(body);
      const refusal = refusalOf(value, maxValueBytes);
      if (refusal !== undefined) {
        ended.push(this.#refuse(claim, look, refusal));
        continue;
      }
      fills.push(leases.fill(key, lease, look(key), value, this.#secondsOf(claim)));
      filling.push(claim);
    }
    for (const [at, filled] of (await Promise.all(fills)).entries()) {
      const claim = filling[at] as Claim;
      if (filled.state === 'stored') claim.load.lookup.cache.counters.fills += 1;
      else ended.push(this.#unfilled(claim, look, filled));
    }
    if (ended.length > 0) await Promise.all(ended);
  }

  #secondsOf({ load, none = false }: Claim): number {
    const { cache } = load.lookup;
    if (!none) return cache.timeout;
    const lifetime = Math.min(cache.timeout, cache.negativeTimeout);
    // An id that the database will choose is known to a writer only after the row was committed.
    const chosenLater = cache.kind === 'simple' && cache.model.autoIncrement && cache.primary;
    return chosenLater ? Math.min(lifetime, this.#writeLease) : lifetime;
  }

  async #unfilled(claim: Claim, look: Look, filled: Exclude<Filled, { readonly state: 'stored' }>): Promise<void> {
    switch (filled.state) {
      case 'lost':
        if (claim.key === claim.load.target) this.#noteLost(claim.load);
        break;
      case 'refused':
        await this.#refuse(claim, look, filled.cause);
        break;
      case 'failed':
        // It expires by itself where the server is gone.
        if (!isUnreachable(filled.cause)) await this.#coherence.leases.abandon(new Map([[claim.key, claim.lease]]));
    }
  }

  /** Nothing can be stored: takes the lease away, or says in its place that it will be so for whoever asks next. */
  async #giveUp({ load, key, lease, head }: Claim, look: Look): Promise<void> {
    const { leases } = this.#coherence;
    if (load.unstorable === undefined) await leases.abandon(new Map([[key, lease]]), look);
    else await leases.refuse(key, lease, look(key), head, load.unstorable);
  }

  /** Tells of a lease that this process was too busy to renew. One that is gone for another reason was taken by a write. */
  #noteLost({ lookup, target, renewal, since }: AnsweredLoad): void {
    const milliseconds = renewal.outlived(target);
    if (milliseconds === undefined) return;
    this.#coherence.leases.noteOutlived(target, milliseconds);
    noteExpired(lookup, target, monotonic() - since);
  }

  /** The store does not take the value: nobody is to wait for it, or to try again for a while. */
  async #refuse({ load, key, lease, head }: Claim, look: Look, cause: StoreRefusedError): Promise<void> {
    noteRefused(load.lookup, key, cause);
    await this.#coherence.leases.refuse(key, lease, look(key), head, cause.reason);
  }
}

/** A body in the place of the lease that a load began with. Undefined where it has none. */
export function ownClaim(load: AnsweredLoad, fingerprint: string, body: Claim['body'], none = false): Claim | undefined {
  const { target: key, lease, generation } = load;
  return lease === undefined || generation === undefined ? undefined : { load, key, lease, head: valueHead(fingerprint, generation), body, none };
}

/** Whether a server was not reached, and will not be reached by the next command either. */
const isUnreachable = (cause: unknown): boolean =>
  cause instanceof StoreTimeoutError || cause instanceof StoreUnavailableError || cause instanceof StoreClosedError;

/** A character of a text takes no more bytes in UTF-8. */
const mostBytesPerCharacter = 3;

/** Why a store that takes so many bytes does not take this value. */
function refusalOf(value: string, maxValueBytes: number): StoreRefusedError | undefined {
  if (value.length * mostBytesPerCharacter <= maxValueBytes) return undefined;
  const bytes = Buffer.byteLength(value);
  if (bytes <= maxValueBytes) return undefined;
  return new StoreRefusedError(`The value has ${String(bytes)} bytes, and the store takes ${String(maxValueBytes)} at most.`, 'too-large');
}
