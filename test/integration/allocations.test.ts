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
    'get by id': { measured: 13_050, most: 15_000 },
    'get by unique key': { measured: 12_950, most: 14_900 },
    '64 gets by id at once': { measured: 5_150, most: 5_950 },
    '64 gets by unique key at once': { measured: 4_950, most: 5_700 },
    'get by id of an absent row': { measured: 11_750, most: 13_500 },
    'get by unique key of an absent row': { measured: 13_300, most: 15_300 },
    'getMany of 100 by id': { measured: 4_350, most: 5_000 },
  },
  // On the memory store.
  sqlite: {
    'get by id': { measured: 3_400, most: 3_900 },
    'get by unique key': { measured: 3_420, most: 3_950 },
    '64 gets by id at once': { measured: 3_380, most: 3_900 },
    '64 gets by unique key at once': { measured: 3_400, most: 3_900 },
    'get by id of an absent row': { measured: 2_210, most: 2_550 },
    'get by unique key of an absent row': { measured: 3_560, most: 4_100 },
    'getMany of 100 by id': { measured: 2_570, most: 2_950 },
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
