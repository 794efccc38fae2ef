/**
 * What every store must do, as a suite for Node's own test runner (`node --test`).
 *
 * @example
 * import { storeContract } from 'sequelize-flash/testing/store-contract';
 *
 * storeContract('my store', async () => ({ store: new MyStore() }));
 */
import assert from 'node:assert/strict';
import { after, before, describe, it, type TestContext } from 'node:test';
import { StoreClosedError, StoreProtocolError } from '../errors.js';
import type { Store, StoreItem } from '../stores/store.js';

/** A store and what the suite may do around it. A part that is missing skips the tests of it. */
export interface StoreUnderTest {
  readonly store: Store;
  /** Lets time pass for the store, in milliseconds: on its fake clock, or by waiting. */
  advance?(milliseconds: number): Promise<void>;
  /** Removes everything behind the store's back, as an operator does. */
  flush?(): Promise<void>;
  /** Called once, after the store was closed. */
  dispose?(): Promise<void>;
}

/**
 * Defines the suite; the stores of this package are held to it too.
 * @param name what the suite is called in the report
 * @param factory makes an empty, open store; called several times, one after the other
 */
export function storeContract(name: string, factory: () => Promise<StoreUnderTest>): void {
  // One after the other: a flush is for all.
  describe(`store contract: ${name}`, { concurrency: 1 }, () => {
    let subject: StoreUnderTest;
    let store: Store;
    let keysSoFar = 0;
    /** Every test has keys of its own, so none needs to clean up. */
    const freshKey = (): string => `contract:${String((keysSoFar += 1))}`;

    /** Replies come in any order. */
    const sorted = (keys: Iterable<string>): string[] => [...keys].sort();

    const read = async (key: string): Promise<StoreItem | undefined> => {
      const { items, failures } = await store.get([key]);
      assert.deepEqual([...failures], []);
      return items.get(key);
    };
    const stored = async (key: string): Promise<StoreItem> => {
      const item = await read(key);
      assert.ok(item, `nothing is stored under ${key}`);
      return item;
    };

    before(async () => {
      subject = await factory();
      store = subject.store;
    });
    after(async () => {
      await store.close();
      await subject.dispose?.();
    });

    describe('peek', () => {
      const peeking = (t: TestContext): ((key: string) => StoreItem | undefined) | undefined => {
        if (typeof store.peek === 'function') return (key) => store.peek?.(key);
        t.skip('the store cannot answer at once');
        return undefined;
      };

      it('shows what get shows', async (t) => {
        const peek = peeking(t);
        if (peek === undefined) return;
        const key = freshKey();
        assert.equal(peek(key), undefined);
        await store.add(key, 'one', 60);
        const { value, token } = await stored(key);
        assert.deepEqual([peek(key)?.value, peek(key)?.token], [value, token]);
        await store.compareAndSwap(key, 'two', token, 60);
        assert.equal(peek(key)?.value, 'two');
        assert.notEqual(peek(key)?.token, token);
        await store.delete(key);
        assert.equal(peek(key), undefined);
      });

      it('shows nothing after its lifetime', async (t) => {
        const peek = peeking(t);
        if (peek === undefined) return;
        if (subject.advance === undefined) {
          t.skip('time cannot pass here');
          return;
        }
        const key = freshKey();
        await store.add(key, 'brief', 2);
        assert.equal(peek(key)?.value, 'brief');
        await subject.advance(3100);
        assert.equal(peek(key), undefined);
      });

      it('throws for a key that memcached would not take', (t) => {
        const peek = peeking(t);
        if (peek === undefined) return;
        for (const key of ['', 'with space', 'line\nbreak', 'k'.repeat(251)]) assert.throws(() => peek(key), StoreProtocolError);
      });
    });

    describe('get', () => {
      it('answers no key with nothing', async () => {
        const { items, failures } = await store.get([]);
        assert.equal(items.size, 0);
        assert.equal(failures.size, 0);
      });

      it('leaves out what is absent', async () => {
        const [present, absent] = [freshKey(), freshKey()];
        await store.add(present, 'here', 60);
        const { items, failures } = await store.get([absent, present]);
        assert.deepEqual([...items.keys()], [present]);
        assert.equal(items.get(present)?.value, 'here');
        assert.equal(failures.size, 0);
      });

      it('answers a thousand keys at once', async () => {
        const keys = Array.from({ length: 1000 }, freshKey);
        const present = keys.filter((_, i) => i % 3 === 0);
        const added = await Promise.all(present.map((key) => store.add(key, `value of ${key}`, 60)));
        assert.ok(added.every(Boolean));
        const { items, failures } = await store.get(keys);
        assert.equal(failures.size, 0);
        assert.equal(items.size, present.length);
        for (const key of present) assert.equal(items.get(key)?.value, `value of ${key}`);
      });

      it('gives each of many concurrent calls its own answer', async () => {
        const keys = Array.from({ length: 100 }, freshKey);
        await Promise.all(keys.map((key) => store.add(key, key, 60)));
        const replies = await Promise.all(keys.map((key, i) => store.get([key, ...keys.slice(0, i % 5)])));
        for (const [i, { items }] of replies.entries()) {
          for (const [key, item] of items) assert.equal(item.value, key);
          assert.ok(items.has(keys[i] ?? ''));
        }
      });
    });

    describe('add', () => {
      it('stores only where nothing is', async () => {
        const key = freshKey();
        assert.equal(await store.add(key, 'first', 60), true);
        const before = await stored(key);
        assert.equal(await store.add(key, 'second', 60), false);
        assert.deepEqual(await stored(key), before);
        assert.equal(before.value, 'first');
      });

      it('lets exactly one of many win', async () => {
        const key = freshKey();
        const values = Array.from({ length: 50 }, (_, i) => String(i));
        const added = await Promise.all(values.map((value) => store.add(key, value, 60)));
        assert.equal(added.filter(Boolean).length, 1);
        assert.equal((await stored(key)).value, values[added.indexOf(true)]);
      });
    });

    describe('compareAndSwap', () => {
      it('replaces the value that was read, and only that one', async () => {
        const key = freshKey();
        await store.add(key, 'one', 60);
        const one = await stored(key);
        assert.equal(await store.compareAndSwap(key, 'two', one.token, 60), true);
        const two = await stored(key);
        assert.equal(two.value, 'two');
        assert.notEqual(two.token, one.token);
        assert.equal(await store.compareAndSwap(key, 'three', one.token, 60), false);
        assert.deepEqual(await stored(key), two);
      });

      it('does not store where nothing is', async () => {
        const key = freshKey();
        await store.add(key, 'gone', 60);
        const { token } = await stored(key);
        await store.delete(key);
        assert.equal(await store.compareAndSwap(key, 'back', token, 60), false);
        assert.equal(await read(key), undefined);
      });

      it('knows an equal value that was stored anew', async () => {
        const key = freshKey();
        await store.add(key, 'same', 60);
        const { token } = await stored(key);
        await store.delete(key);
        await store.add(key, 'same', 60);
        assert.notEqual((await stored(key)).token, token);
        assert.equal(await store.compareAndSwap(key, 'other', token, 60), false);
        await store.compareAndSwap(key, 'same', (await stored(key)).token, 60);
        assert.equal(await store.compareAndDelete(key, token), false);
        assert.equal((await stored(key)).value, 'same');
      });

      it('lets exactly one of many with the same token win', async () => {
        const key = freshKey();
        await store.add(key, 'start', 60);
        const { token } = await stored(key);
        const values = Array.from({ length: 50 }, (_, i) => String(i));
        const swapped = await Promise.all(values.map((value) => store.compareAndSwap(key, value, token, 60)));
        assert.equal(swapped.filter(Boolean).length, 1);
        assert.equal((await stored(key)).value, values[swapped.indexOf(true)]);
      });

      it('takes a token that it did not issue for that of another value', async () => {
        const key = freshKey();
        await store.add(key, 'value', 60);
        for (const token of ['', '0', '18446744073709551615', '1.2', 'x', '1 noreply', '1\r\nflush_all', '-1']) {
          assert.equal(await store.compareAndSwap(key, 'other', token, 60), false, token);
          assert.equal(await store.compareAndDelete(key, token), false, token);
        }
        assert.equal((await stored(key)).value, 'value');
      });
    });

    describe('compareAndDelete', () => {
      it('removes the value that was read, and only that one', async () => {
        const key = freshKey();
        await store.add(key, 'one', 60);
        const one = await stored(key);
        await store.compareAndSwap(key, 'two', one.token, 60);
        assert.equal(await store.compareAndDelete(key, one.token), false);
        const two = await stored(key);
        assert.equal(two.value, 'two');
        assert.equal(await store.compareAndDelete(key, two.token), true);
        assert.equal(await read(key), undefined);
        assert.equal(await store.compareAndDelete(key, two.token), false);
      });

      it('leaves the key free', async () => {
        const key = freshKey();
        await store.add(key, 'one', 60);
        await store.compareAndDelete(key, (await stored(key)).token);
        assert.equal(await store.delete(key), false);
        assert.equal(await store.add(key, 'two', 60), true);
        assert.equal((await stored(key)).value, 'two');
      });

      it('and compareAndSwap with the same token: exactly one wins', async () => {
        const key = freshKey();
        await store.add(key, 'start', 60);
        const { token } = await stored(key);
        const [swapped, removed] = await Promise.all([
          store.compareAndSwap(key, 'swapped', token, 60),
          store.compareAndDelete(key, token),
        ]);
        assert.notEqual(swapped, removed);
        assert.equal((await read(key))?.value, swapped ? 'swapped' : undefined);
      });
    });

    describe('delete', () => {
      it('removes whatever is there, and says whether something was', async () => {
        const key = freshKey();
        assert.equal(await store.delete(key), false);
        await store.add(key, 'value', 60);
        assert.equal(await store.delete(key), true);
        assert.equal(await read(key), undefined);
        assert.equal(await store.delete(key), false);
        assert.equal(await store.add(key, 'again', 60), true);
      });
    });

    describe('keys', () => {
      it('may be any printable ASCII of 1 to 250 bytes, and are kept apart', async () => {
        const printable = String.fromCharCode(...Array.from({ length: 94 }, (_, i) => 0x21 + i));
        const keys = [
          ...['cas', '__proto__', 'constructor', 'toString', 'END', 'noreply', 'VALUE', '0', '-1', '!', '~'],
          ...['a$b', 'a$$b', 'a$$$$b', '$&', "$'", '$`', '%20', 'a%', 'A', 'a', '\\', '\\r\\n', 'a,b', 'a:b'],
          ...[printable, 'k'.repeat(249), 'k'.repeat(250)],
        ];
        for (const key of keys) assert.equal(await store.add(key, `value of ${key}`, 60), true, key);
        const { items, failures } = await store.get(keys);
        assert.equal(failures.size, 0);
        assert.deepEqual(new Map([...items].map(([key, { value }]) => [key, value])), new Map(keys.map((key) => [key, `value of ${key}`])));
        for (const key of keys) {
          const { token } = await stored(key);
          assert.equal(await store.compareAndSwap(key, 'new', token, 60), true, key);
          assert.equal(await store.delete(key), true, key);
        }
      });

      it('that are illegal are refused by every method', async () => {
        const key = freshKey();
        await store.add(key, 'bystander', 60);
        const illegal = ['', ' ', 'a b', 'a\r\nflush_all\r\n', 'a\n', '\na', 'a\0', 'a\tb', 'ä', '\x7f', '😀', 'k'.repeat(251)];
        const { items, failures } = await store.get([...illegal.slice(0, 6), key, ...illegal.slice(6)]);
        assert.deepEqual([...items.keys()], [key]);
        assert.deepEqual(sorted(failures.keys()), sorted(illegal));
        for (const wrong of illegal) {
          assert.ok(failures.get(wrong) instanceof StoreProtocolError);
          await assert.rejects(store.add(wrong, 'v', 60), StoreProtocolError);
          await assert.rejects(store.compareAndSwap(wrong, 'v', '1', 60), StoreProtocolError);
          await assert.rejects(store.compareAndDelete(wrong, '1'), StoreProtocolError);
          await assert.rejects(store.delete(wrong), StoreProtocolError);
        }
        assert.equal((await stored(key)).value, 'bystander');
      });
    });

    describe('values', () => {
      it('come back as they were stored', async () => {
        const values = [
          ...['', ' ', '0', '-12', '1e3', 'true', 'null', '{"a":[1,null]}', '"text"', '{broken', 'NaN'],
          ...['END', 'STORED', 'ERROR', 'SERVER_ERROR x', 'VALUE k 0 1 1', 'END\r\n', '\r\nEND\r\n', 'a\r\nVALUE k 0 1 1\r\nb\r\nEND'],
          ...['\r', '\n', '\r\n', '\r\n\r\n', '\n\r', 'a\r', '\ra', 'a\\\r\nb', '\\\n', 'tab\t', 'nul\0nul', '\x7f'],
          ...['grüße', 'ÿ', 'наука', '日本語', '😀', 'e\u0301', '\u2028', '\ufeff', '\ufffd', 'ä'.repeat(70_000)],
        ];
        const keys = values.map(freshKey);
        const added = await Promise.all(values.map((value, i) => store.add(keys[i] ?? '', value, 60)));
        assert.ok(added.every(Boolean));
        const together = await store.get(keys);
        assert.equal(together.failures.size, 0);
        for (const [i, value] of values.entries()) {
          const key = keys[i] ?? '';
          assert.equal(together.items.get(key)?.value, value);
          const { value: alone, token } = await stored(key);
          assert.equal(alone, value);
          assert.equal(await store.compareAndSwap(key, `${value}!`, token, 60), true);
          assert.equal((await stored(key)).value, `${value}!`);
        }
      });

      it('may have maxValueBytes bytes of UTF-8, and no more', async () => {
        const most = store.maxValueBytes;
        const key = freshKey();
        assert.equal(await store.add(key, 'x'.repeat(most), 60), true);
        const { value, token } = await stored(key);
        assert.equal(value.length, most);
        await assert.rejects(store.add(freshKey(), 'x'.repeat(most + 1), 60), StoreProtocolError);
        await assert.rejects(store.add(freshKey(), 'ä'.repeat(most / 2 + 1), 60), StoreProtocolError);
        await assert.rejects(store.compareAndSwap(key, 'x'.repeat(most + 1), token, 60), StoreProtocolError);
        assert.equal(await store.compareAndSwap(key, 'small', token, 60), true);
        assert.equal((await stored(key)).value, 'small');
      });
    });

    describe('lifetimes', () => {
      it('are refused when they are not a number of seconds', async () => {
        const key = freshKey();
        await store.add(key, 'value', 60);
        const { token } = await stored(key);
        for (const wrong of [-1, Number.NaN, Infinity, -Infinity]) {
          await assert.rejects(store.add(freshKey(), 'v', wrong), StoreProtocolError);
          await assert.rejects(store.compareAndSwap(key, 'v', token, wrong), StoreProtocolError);
        }
        assert.equal((await stored(key)).value, 'value');
      });

      it('of more than 30 days, and of none, do not end at once', async () => {
        const day = 86_400;
        for (const seconds of [0, 0.001, 30 * day, 30 * day + 1, 31 * day, 365 * day, 100 * 365 * day]) {
          const key = freshKey();
          assert.equal(await store.add(key, 'first', seconds === 0.001 ? 2 : seconds), true);
          const { token } = await stored(key);
          assert.equal(await store.compareAndSwap(key, 'second', token, seconds === 0.001 ? 2 : seconds), true);
          assert.equal((await stored(key)).value, 'second', `${String(seconds)} s`);
        }
      });

      it('end', async (t: TestContext) => {
        if (subject.advance === undefined) {
          t.skip('the store has no clock to advance');
          return;
        }
        const [added, swapped, fraction, longer, endless] = [freshKey(), freshKey(), freshKey(), freshKey(), freshKey()];
        await store.add(swapped, 'was to stay', 0);
        const { token } = await stored(swapped);
        await Promise.all([
          store.add(added, 'value', 2),
          store.compareAndSwap(swapped, 'value', token, 2),
          // Less than a second must not become 0, which means no expiry.
          store.add(fraction, 'value', 0.2),
          store.add(longer, 'value', 60),
          store.add(endless, 'value', 0),
        ]);
        const { token: old } = await stored(added);
        await subject.advance(2500);
        const { items, failures } = await store.get([added, swapped, fraction, longer, endless]);
        assert.equal(failures.size, 0);
        assert.deepEqual(sorted(items.keys()), sorted([longer, endless]));
        assert.equal(await store.compareAndSwap(added, 'again', old, 60), false);
        assert.equal(await store.compareAndDelete(added, old), false);
        assert.equal(await store.delete(added), false);
        assert.equal(await store.add(added, 'again', 60), true);
      });
    });

    it('is empty after a flush, and no token from before fits', async (t: TestContext) => {
      if (subject.flush === undefined) {
        t.skip('the store cannot be flushed');
        return;
      }
      const keys = [freshKey(), freshKey(), freshKey()];
      await Promise.all(keys.map((key) => store.add(key, 'value', 60)));
      const before = await store.get(keys);
      await subject.flush();
      const { items, failures } = await store.get(keys);
      assert.equal(items.size, 0);
      assert.equal(failures.size, 0);
      for (const key of keys) {
        assert.equal(await store.add(key, 'value', 60), true);
        assert.equal(await store.compareAndSwap(key, 'other', before.items.get(key)?.token ?? '', 60), false);
      }
    });

    it('says what it is', () => {
      assert.notEqual(store.name, '');
      assert.ok(Number.isInteger(store.maxValueBytes) && store.maxValueBytes > 0);
    });

    it('tells how its servers are, if it has any: before and after it is closed, and never rejects', async (t: TestContext) => {
      if (store.health === undefined) {
        t.skip('the store tells nothing of servers');
        return;
      }
      const closing = await factory();
      await closing.store.add(freshKey(), 'value', 60);
      const healthy = (await closing.store.health?.()) ?? [];
      assert.notEqual(healthy.length, 0);
      for (const { server, state, reached, roundTripMs, since } of healthy) {
        assert.notEqual(server, '');
        assert.deepEqual([state, reached], ['up', true]);
        assert.ok(roundTripMs !== undefined && roundTripMs >= 0);
        assert.ok(since instanceof Date);
      }
      const names = healthy.map(({ server }) => server);
      if (closing.store.servers !== undefined) assert.deepEqual(sorted(closing.store.servers), sorted(names));
      if (closing.store.state !== undefined) assert.deepEqual(sorted(closing.store.state().map(({ server }) => server)), sorted(names));
      await closing.store.close();
      for (const { roundTripMs } of (await closing.store.health?.()) ?? []) assert.equal(roundTripMs, undefined);
      await closing.dispose?.();
    });

    it('refuses everything once it is closed', async () => {
      const closing = await factory();
      const key = freshKey();
      await closing.store.add(key, 'value', 60);
      await closing.store.close();
      await closing.store.close();
      const { items, failures } = await closing.store.get([key, 'other']);
      assert.equal(items.size, 0);
      assert.deepEqual(sorted(failures.keys()), sorted([key, 'other']));
      for (const failure of failures.values()) assert.ok(failure instanceof StoreClosedError);
      await assert.rejects(closing.store.add(key, 'v', 60), StoreClosedError);
      await assert.rejects(closing.store.compareAndSwap(key, 'v', '1', 60), StoreClosedError);
      await assert.rejects(closing.store.compareAndDelete(key, '1'), StoreClosedError);
      await assert.rejects(closing.store.delete(key), StoreClosedError);
      await closing.dispose?.();
    });

    it('settles what is under way when it is closed', async () => {
      const closing = await factory();
      const key = freshKey();
      const outcomes = Promise.allSettled([closing.store.add(key, 'v', 60), closing.store.delete(key)]);
      const reply = closing.store.get([key]);
      await closing.store.close();
      for (const outcome of await outcomes) {
        if (outcome.status === 'rejected') assert.ok(outcome.reason instanceof StoreClosedError);
      }
      for (const failure of (await reply).failures.values()) assert.ok(failure instanceof StoreClosedError);
      await closing.dispose?.();
    });
  });
}
