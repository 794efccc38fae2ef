/**
 * How many bytes of heap a warm lookup allocates. A guard against regressions that no clock is needed
 * for: what is allocated has to be collected, and that is most of what a lookup costs beside its
 * round trip.
 */
import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { countAllocations, type Allocations } from '../support/allocation-worker.js';
import { backendNames, type BackendName } from '../support/backends.js';
import { lookupNames, type LookupName } from '../support/lookups.js';

/** Bytes for each row that is asked for. */
interface Bytes {
  /** As it was when the limit was set; it repeats within some hundredths. */
  readonly measured: number;
  /** About 1.15 times that: 3 kB more for each lookup is noticed everywhere. Where less is measured, lower both. */
  readonly most: number;
}

/** Of Node 20: what the engine saves differs from one version to the next. */
const limits: Readonly<Record<BackendName, Readonly<Record<LookupName, Bytes>>>> = {
  // On memcached.
  mariadb: {
    'get by id': { measured: 14_400, most: 16_500 },
    'get by unique key': { measured: 14_200, most: 16_300 },
    '64 gets by id at once': { measured: 6_550, most: 7_500 },
    '64 gets by unique key at once': { measured: 6_550, most: 7_500 },
    'get by id of an absent row': { measured: 12_200, most: 14_000 },
    'get by unique key of an absent row': { measured: 13_700, most: 15_800 },
    'getMany of 100 by id': { measured: 5_500, most: 6_300 },
  },
  // On the memory store.
  sqlite: {
    'get by id': { measured: 10_200, most: 11_700 },
    'get by unique key': { measured: 10_200, most: 11_700 },
    '64 gets by id at once': { measured: 5_900, most: 6_800 },
    '64 gets by unique key at once': { measured: 5_950, most: 6_850 },
    'get by id of an absent row': { measured: 8_300, most: 9_600 },
    'get by unique key of an absent row': { measured: 9_300, most: 10_700 },
    'getMany of 100 by id': { measured: 4_950, most: 5_700 },
  },
};

const isNode20 = process.versions.node.startsWith('20.');

for (const backendName of backendNames) {
  describe(`heap that a warm lookup allocates, on ${backendName}`, { skip: isNode20 ? false : 'the limits are those of Node 20' }, () => {
    let counted: Allocations;

    before(async () => {
      counted = await countAllocations(backendName);
    });

    for (const name of lookupNames) {
      it(name, (test) => {
        const { median, lowest, highest } = counted[name];
        const { measured, most } = limits[backendName][name];
        const found = `${median.toFixed(0)} bytes for each row (${lowest.toFixed(0)}–${highest.toFixed(0)})`;
        test.diagnostic(found);
        assert.ok(median <= most, `${found}; at most ${String(most)}, and it was ${String(measured)}`);
        assert.ok(median > 500, `${found}: no row is that small, so nothing was counted`);
      });
    }
  });
}
