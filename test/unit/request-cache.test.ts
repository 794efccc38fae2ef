/** What a request keeps, for how long, and what voids it: with loads that the test settles and a clock that it moves. */
import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { describe, it } from 'node:test';
import { NotSerialisable } from '../../src/entries/codec.js';
import { InvalidOptionError } from '../../src/errors.js';
import {
  isRequestOpen,
  memoised,
  noteWrite,
  requestCache,
  withRequestCache,
  type Copier,
  type Reading,
  type RequestCacheOptions,
} from '../../src/request-cache.js';

/** An answer that its callers may change. */
interface Answer {
  value: string;
  nested: string[];
}

const copier: Copier<Answer> = {
  // As the codec does with JSON: what is nested stays the caller's own.
  encode: ({ value, nested }) => {
    if (value === 'unique') throw new NotSerialisable('a value that there is once');
    return [value, nested];
  },
  decode: (cells) => {
    const [value, nested] = cells as [string, string[]];
    return { value, nested };
  },
};

/** Lookups whose loads wait until the test settles them. */
class Lookups {
  readonly owner = {};
  /** The loads that are under way or done, in the order in which they began. */
  readonly loads: { answer(value: Answer | null | undefined): void; fail(error: Error): void }[] = [];

  read(id: string, reading: Reading = 'read'): Promise<Answer | null | undefined> {
    const load = (): Promise<Answer | null | undefined> =>
      new Promise((answer, fail) => {
        this.loads.push({ answer, fail });
      });
    return memoised(this.owner, id, copier, load, reading);
  }

  /** A read that is loaded, with this answer. */
  async load(id: string, answer: Answer | null | undefined, reading?: Reading): Promise<Answer | null | undefined> {
    const before = this.loads.length;
    const read = this.read(id, reading);
    assert.equal(this.loads.length, before + 1, `${id} is loaded`);
    this.loads.at(-1)!.answer(answer);
    return read;
  }

  /** A read that costs nothing. */
  async keeps(id: string, value: string | undefined, reading?: Reading): Promise<Answer | null | undefined> {
    const before = this.loads.length;
    const found = await this.read(id, reading);
    assert.equal(this.loads.length, before, `${id} is kept`);
    assert.equal(found?.value, value);
    return found;
  }
}

const answer = (value: string): Answer => ({ value, nested: ['as loaded'] });

/** A test in a request of its own. */
function inRequest(name: string, test: (lookups: Lookups) => Promise<void>, options?: RequestCacheOptions): void {
  it(name, () => withRequestCache(() => test(new Lookups()), options));
}

describe('the request cache', () => {
  it('keeps nothing outside of a request', async () => {
    assert.equal(isRequestOpen(), false);
    const lookups = new Lookups();
    await lookups.load('a', answer('one'));
    await lookups.load('a', answer('two'));
  });

  inRequest('gives every caller an answer of its own, as it was loaded', async (lookups) => {
    const first = await lookups.load('a', answer('one'));
    first!.value = 'changed';
    first!.nested.push('changed');
    const second = await lookups.keeps('a', 'one');
    assert.deepEqual(second, answer('one'));
    second.nested.push('changed');
    assert.deepEqual(await lookups.keeps('a', 'one'), answer('one'));
  });

  inRequest('tells lookups and owners apart', async (lookups) => {
    const others = new Lookups();
    await lookups.load('a', answer('a'));
    await lookups.load('b', answer('b'));
    await others.load('a', answer('another a'));
    await lookups.keeps('a', 'a');
    await others.keeps('a', 'another a');
  });

  inRequest('keeps "no such row", and not "not in the cache"', async (lookups) => {
    assert.equal(await lookups.load('a', null), null);
    assert.equal(await lookups.read('a'), null);
    assert.equal(lookups.loads.length, 1);
    assert.equal(await lookups.load('b', undefined, 'cache-only'), undefined);
    await lookups.load('b', answer('b'));
  });

  describe('loads in flight', () => {
    inRequest('are shared, each caller with an answer of its own', async (lookups) => {
      const reads = [lookups.read('a'), lookups.read('a'), lookups.read('a')];
      assert.equal(lookups.loads.length, 1);
      lookups.loads[0]!.answer(answer('one'));
      const found = await Promise.all(reads);
      assert.deepEqual(found, [answer('one'), answer('one'), answer('one')]);
      assert.equal(new Set(found).size, 3);
    });

    inRequest('that fail, fail for all that share them, and are not kept', async (lookups) => {
      const reads = [lookups.read('a'), lookups.read('a')];
      lookups.loads[0]!.fail(new Error('no database'));
      for (const read of reads) await assert.rejects(read, /no database/);
      await lookups.load('a', answer('one'));
      await lookups.keeps('a', 'one');
    });

    inRequest('whose answer cannot be copied are made once for each caller, and not kept', async (lookups) => {
      const first = lookups.read('a');
      const second = lookups.read('a');
      const unique = answer('unique');
      lookups.loads[0]!.answer(unique);
      assert.equal(await first, unique);
      assert.equal(lookups.loads.length, 2);
      lookups.loads[1]!.answer(answer('unique'));
      assert.notEqual(await second, unique);
      await lookups.load('a', answer('unique'));
    });

    it('that nobody waits for any more do no harm when they fail', async () => {
      const lookups = new Lookups();
      await withRequestCache(async () => {
        lookups.read('a').catch(() => undefined);
      });
      lookups.loads[0]!.fail(new Error('too late'));
      await Promise.resolve();
    });
  });

  describe('a write', () => {
    inRequest('voids what was kept', async (lookups) => {
      await lookups.load('a', answer('old'));
      noteWrite(lookups.owner);
      await lookups.load('a', answer('new'));
      await lookups.keeps('a', 'new');
    });

    inRequest('of another owner does not', async (lookups) => {
      await lookups.load('a', answer('old'));
      noteWrite({});
      noteWrite(new Lookups().owner);
      await lookups.keeps('a', 'old');
    });

    inRequest('keeps a load that began before it from being shared by a later read, and from being kept', async (lookups) => {
      const early = lookups.read('a');
      noteWrite(lookups.owner);
      const late = lookups.read('a');
      assert.equal(lookups.loads.length, 2, 'it is not joined');
      lookups.loads[1]!.answer(answer('new'));
      assert.equal((await late)?.value, 'new');
      lookups.loads[0]!.answer(answer('old'));
      assert.equal((await early)?.value, 'old');
      await lookups.keeps('a', 'new');
    });

    inRequest('keeps a load that nobody repeated meanwhile from being kept', async (lookups) => {
      const early = lookups.read('a');
      noteWrite(lookups.owner);
      lookups.loads[0]!.answer(answer('old'));
      await early;
      await lookups.load('a', answer('new'));
    });

    inRequest('keeps a failing load from removing the answer that took its place', async (lookups) => {
      const early = lookups.read('a');
      noteWrite(lookups.owner);
      await lookups.load('a', answer('new'));
      lookups.loads[0]!.fail(new Error('no database'));
      await assert.rejects(early);
      await lookups.keeps('a', 'new');
    });

    inRequest('is noticed by a cache-only lookup that was under way', async (lookups) => {
      const early = lookups.read('a', 'cache-only');
      noteWrite(lookups.owner);
      lookups.loads[0]!.answer(answer('old'));
      await early;
      await lookups.load('a', answer('new'));
    });
  });

  describe('refresh', () => {
    inRequest('loads, and replaces what is kept', async (lookups) => {
      await lookups.load('a', answer('old'));
      await lookups.load('a', answer('new'), 'refresh');
      await lookups.keeps('a', 'new');
    });

    inRequest('shares no load, and is shared by reads that start after it', async (lookups) => {
      const early = lookups.read('a');
      const refreshed = lookups.read('a', 'refresh');
      const late = lookups.read('a');
      assert.equal(lookups.loads.length, 2);
      lookups.loads[1]!.answer(answer('new'));
      lookups.loads[0]!.answer(answer('old'));
      assert.deepEqual([await early, await refreshed, await late], [answer('old'), answer('new'), answer('new')]);
      await lookups.keeps('a', 'new');
    });
  });

  describe('cache-only', () => {
    inRequest('takes what is kept, and keeps what it finds', async (lookups) => {
      await lookups.load('a', answer('a'));
      await lookups.keeps('a', 'a', 'cache-only');
      await lookups.load('b', answer('b'), 'cache-only');
      await lookups.keeps('b', 'b');
    });

    inRequest('neither waits for a load nor is waited for', async (lookups) => {
      const read = lookups.read('a');
      assert.equal(await lookups.load('a', undefined, 'cache-only'), undefined);
      const cacheOnly = lookups.read('b', 'cache-only');
      await lookups.load('b', answer('newer'));
      lookups.loads[2]!.answer(answer('b'));
      assert.equal((await cacheOnly)?.value, 'b');
      await lookups.keeps('b', 'newer');
      lookups.loads[0]!.answer(answer('a'));
      await read;
      await lookups.keeps('a', 'a');
    });
  });

  describe('bounds', () => {
    inRequest(
      'the number of answers: the oldest goes',
      async (lookups) => {
        for (const id of ['a', 'b', 'c']) await lookups.load(id, answer(id));
        // Loaded once more, it is the youngest.
        await lookups.load('a', answer('a again'), 'refresh');
        await lookups.load('d', answer('d'));
        await lookups.keeps('a', 'a again');
        await lookups.keeps('c', 'c');
        await lookups.keeps('d', 'd');
        await lookups.load('b', answer('b again'));
      },
      { maxEntries: 3 },
    );

    it('the age, from the start of the request', async () => {
      let now = 50;
      const options = { maxAgeMs: 100, now: () => now };
      await withRequestCache(async () => {
        const lookups = new Lookups();
        now = 149;
        await lookups.load('a', answer('one'));
        await lookups.keeps('a', 'one');
        const pending = lookups.read('b');
        now = 150;
        assert.equal(isRequestOpen(), false);
        lookups.loads[1]!.answer(answer('b'));
        assert.equal((await pending)?.value, 'b');
        await lookups.load('a', answer('two'));
        await lookups.load('a', answer('three'));
        await lookups.load('b', answer('b'));
        // A request within it starts anew.
        await withRequestCache(async () => {
          await lookups.load('a', answer('four'));
          await lookups.keeps('a', 'four');
        }, options);
      }, options);
    });

    it('the end of the work', async () => {
      const lookups = new Lookups();
      let goOn = (): void => undefined;
      let outlives = Promise.resolve();
      const given = withRequestCache(async () => {
        await lookups.load('a', answer('one'));
        const gate = new Promise<void>((resolve) => {
          goOn = resolve;
        });
        outlives = gate.then(async () => {
          await lookups.load('a', answer('two'));
          await lookups.load('a', answer('three'));
        });
      });
      await given;
      goOn();
      await outlives;
    });
  });

  it('returns and throws what the work does', async () => {
    assert.equal(withRequestCache(() => 7), 7);
    assert.equal(await withRequestCache(async () => 7), 7);
    assert.throws(
      () =>
        withRequestCache(() => {
          throw new Error('at once');
        }),
      /at once/,
    );
    await assert.rejects(
      withRequestCache(() => Promise.reject(new Error('later'))),
      /later/,
    );
    assert.equal(isRequestOpen(), false);
  });

  it('joins a request that is open', async () => {
    await withRequestCache(async () => {
      const lookups = new Lookups();
      await lookups.load('a', answer('one'));
      await withRequestCache(
        async () => {
          await lookups.keeps('a', 'one');
          await lookups.load('b', answer('b'));
        },
        { maxEntries: 1 },
      );
      await lookups.keeps('a', 'one');
      await lookups.keeps('b', 'b');
    });
  });

  it('does not join requests that run beside each other', async () => {
    const lookups = new Lookups();
    await Promise.all(
      ['one', 'two', 'three'].map((value) =>
        withRequestCache(async () => {
          await lookups.load('a', answer(value));
          await Promise.resolve();
          await lookups.keeps('a', value);
        }),
      ),
    );
  });

  it('opens one for each HTTP request, wherever its server was started, until its response is closed', async () => {
    await withRequestCache(async () => {
      const lookups = new Lookups();
      await lookups.load('a', answer('outer'));
      const middleware = requestCache();
      const served = (request: object, response: EventEmitter, work: () => Promise<void>): Promise<void> =>
        new Promise((resolve, reject) => {
          middleware(request, response, () => void work().then(resolve, reject));
        });
      for (const value of ['one', 'two']) {
        const request = {};
        const response = new EventEmitter();
        await served(request, response, async () => {
          await lookups.load('a', answer(value));
          // Through a second router.
          await served(request, response, async () => {
            await lookups.keeps('a', value);
          });
          response.emit('close');
          assert.equal(isRequestOpen(), false);
          await lookups.load('a', answer('late'));
          await lookups.load('a', answer('later'));
        });
      }
      await lookups.keeps('a', 'outer');
    });
  });

  it('says what is wrong with its options', () => {
    const refused = (does: () => unknown, message: string): void => {
      assert.throws(does, (error) => error instanceof InvalidOptionError && error.message === message, message);
    };
    const loose = { withRequestCache, requestCache } as unknown as Record<string, (...given: unknown[]) => unknown>;
    const { withRequestCache: run, requestCache: middleware } = loose as { [K in keyof typeof loose]-?: (typeof loose)[string] };
    const nothing = (): void => undefined;
    refused(() => run!(nothing, 5), 'The options of withRequestCache must be an object; received 5.');
    refused(() => run!(nothing, { maxAge: 5 }), "withRequestCache has no option 'maxAge'. Its options are: maxAgeMs, maxEntries, now.");
    refused(() => run!(Promise.resolve()), 'withRequestCache takes the function to run, then its options; received an instance of Promise.');
    refused(
      () => run!(nothing, { maxAgeMs: 0 }),
      "Option 'maxAgeMs' must be a whole number of milliseconds from 1 to 3600000; received 0.",
    );
    refused(
      () => run!(nothing, { maxEntries: 1.5 }),
      "Option 'maxEntries' must be a whole number of answers from 1 to 1000000; received 1.5.",
    );
    refused(() => run!(nothing, { now: 5 }), "Option 'now' must be a function; received 5.");
    refused(
      () => middleware!({ url: '/' }, {}, nothing),
      "requestCache has no option 'url'. As a middleware it is called first: app.use(requestCache()). Its options are: maxAgeMs, maxEntries, now.",
    );
  });
});
