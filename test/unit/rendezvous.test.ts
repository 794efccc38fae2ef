import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { bestOf, hashOf, placeOf, seedOf } from '../../src/stores/rendezvous.js';
import { runs } from '../support/arbitraries.js';

interface Server {
  readonly name: string;
  readonly seed: number;
}

const server = (name: string): Server => ({ name, seed: seedOf(name) });
const ownerOf = (servers: readonly Server[], key: string): string => bestOf(servers, hashOf(key)).name;

/** Names as they are given: they differ in few characters, and those are alike. */
const serverName = fc.oneof(
  fc.tuple(fc.integer({ min: 1, max: 254 }), fc.constantFrom(11211, 11212, 11311)).map(([host, port]) => `10.0.0.${String(host)}:${String(port)}`),
  fc.integer({ min: 0, max: 99 }).map((number) => `cache-${String(number)}.internal:11211`),
  fc.integer({ min: 0, max: 9 }).map((number) => `/run/memcached/${String(number)}.sock:0`),
);
const serverNames = (minLength: number): fc.Arbitrary<string[]> => fc.uniqueArray(serverName, { minLength, maxLength: 9 });
const key = fc.oneof(
  fc.nat().map((id) => `flash:mysql/db:3306/app:User:id:${String(id)}`),
  fc.string({ minLength: 1, maxLength: 250, unit: fc.integer({ min: 0x21, max: 0x7e }).map((code) => String.fromCharCode(code)) }),
);
const keys = fc.array(key, { minLength: 1, maxLength: 50 });

/** Keys like the package's own, which differ in a number at the end. */
const manyKeys = Array.from({ length: 20_000 }, (_, id) => `flash:mysql/db:3306/app:User:id:${String(id)}`);

/** Every share is within a fifth of an equal one; by chance alone they are within a tenth. */
function assertBalanced(owners: readonly (string | number)[], count: number): void {
  const shares = new Map<string | number, number>();
  for (const owner of owners) shares.set(owner, (shares.get(owner) ?? 0) + 1);
  const equal = owners.length / count;
  assert.equal(shares.size, count, `not all of ${String(count)} have keys: ${JSON.stringify([...shares])}`);
  for (const [owner, share] of shares) {
    assert.ok(Math.abs(share - equal) < equal / 5, `${String(owner)} has ${String(share)} keys, an equal share is ${String(equal)}`);
  }
}

describe('rendezvous hashing', () => {
  it('gives a key to the same server in whatever order the servers are listed', () => {
    const listings = serverNames(1).chain((names) =>
      fc.tuple(fc.constant(names), fc.shuffledSubarray(names, { minLength: names.length })),
    );
    fc.assert(
      fc.property(listings, keys, ([one, other], some) => {
        for (const text of some) assert.equal(ownerOf(one.map(server), text), ownerOf(other.map(server), text));
      }),
      runs(300),
    );
  });

  it('moves only the keys of a server that is taken out, and to one that is added', () => {
    fc.assert(
      fc.property(serverNames(2), fc.nat(), keys, (names, choice, some) => {
        const gone = names[choice % names.length];
        const all = names.map(server);
        const rest = all.filter(({ name }) => name !== gone);
        for (const text of some) {
          const before = ownerOf(all, text);
          const after = ownerOf(rest, text);
          if (before === gone) assert.notEqual(after, gone);
          else assert.equal(after, before);
        }
      }),
      runs(300),
    );
  });

  it('shares keys out equally among servers whose names are nearly the same', () => {
    for (const names of [
      ['127.0.0.1:11211', '127.0.0.1:11212'],
      ['10.0.0.1:11211', '10.0.0.2:11211', '10.0.0.3:11211', '10.0.0.4:11211', '10.0.0.5:11211'],
      ['/run/a.sock:0', '/run/b.sock:0', '/run/c.sock:0'],
    ]) {
      const servers = names.map(server);
      assertBalanced(
        manyKeys.map((text) => ownerOf(servers, text)),
        names.length,
      );
    }
  });

  it('shares the keys of a server that is taken out among all of the others', () => {
    const servers = ['10.0.0.1:11211', '10.0.0.2:11211', '10.0.0.3:11211', '10.0.0.4:11211'].map(server);
    const [gone, ...rest] = servers;
    const moved = manyKeys.filter((text) => ownerOf(servers, text) === gone?.name);
    assertBalanced(
      moved.map((text) => ownerOf(rest, text)),
      rest.length,
    );
  });

  it('shares the keys of each server equally among its connections', () => {
    const servers = ['10.0.0.1:11211', '10.0.0.2:11211', '10.0.0.3:11211'].map(server);
    for (const { name } of servers) {
      const own = manyKeys.filter((text) => ownerOf(servers, text) === name);
      assertBalanced(
        own.map((text) => placeOf(hashOf(text), 4)),
        4,
      );
    }
  });

  it('has one of the places for every hash', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 0xffffffff }), fc.integer({ min: 1, max: 64 }), (hash, count) => {
        const place = placeOf(hash, count);
        assert.ok(Number.isInteger(place) && place >= 0 && place < count);
      }),
      runs(300),
    );
  });

  it('chooses the same server in every version of the package', () => {
    // Two versions run side by side during a deployment. If they disagreed, one would not see the
    // other's markers. When this fails, the algorithm has to change back, not the test.
    assert.equal(hashOf(''), 0x811c9dc5);
    assert.equal(hashOf('a'), 0xe40c292c);
    assert.equal(hashOf('foobar'), 0xbf9cf968);
    const servers = ['10.0.0.1:11211', '10.0.0.2:11211', '10.0.0.3:11211'].map(server);
    const owners = manyKeys.slice(0, 24).map((text) => ownerOf(servers, text).charAt('10.0.0.'.length));
    assert.equal(owners.join(''), '123321211322211131231321');
    const places = manyKeys.slice(0, 24).map((text) => placeOf(hashOf(text), 4));
    assert.equal(places.join(''), '212122030222332010233101');
  });

  it('refuses to choose from nothing', () => {
    assert.throws(() => bestOf([], hashOf('key')), { name: 'RangeError', message: 'There is no server to choose.' });
  });
});
