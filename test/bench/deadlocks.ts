/**
 * Deadlocks of writes by a condition beside creates, with and without the cache: `npm run bench -- deadlocks`.
 *
 *   --writes 10000   writes of each kind, with as many creates beside them
 *   --in-flight 8    writes and creates at the same time
 *   --only destroy   only the kinds whose names contain this
 *   --seed 1
 *
 * Each kind runs on fresh tables: autocommitted, and in a transaction of the program's for each write; as
 * plain Sequelize, with the cache, and (in transactions) with `bulkInvalidationLimit: 0`.
 * Prints the deadlocks that reached the caller, and the throughput as a share of plain Sequelize's.
 */
import { parseArgs } from 'node:util';
import { Sequelize } from 'sequelize';
import { setupCache } from '../../src/index.js';
import { MemcachedStore } from '../../src/stores/memcached.js';
import { Random } from '../oracle/random.js';
import { defineLoad, fillLoad, loadKinds, runLoad, type LoadOutcome } from '../support/deadlock-load.js';
import { createDatabase } from './database.js';

const { values: flags } = parseArgs({
  options: {
    writes: { type: 'string', default: '10000' },
    'in-flight': { type: 'string', default: '8' },
    only: { type: 'string', default: '' },
    seed: { type: 'string', default: '1' },
  },
});
const writes = Number(flags.writes);
const inFlight = Number(flags['in-flight']);
const url = process.env.SEQUELIZE_FLASH_MYSQL_URL;
const servers = process.env.SEQUELIZE_FLASH_MEMCACHED;
if (url === undefined || servers === undefined) throw new Error('Run this with npm run bench -- deadlocks, which provides servers.');

type Subject = 'plain' | 'cached' | 'limit 0';

async function measure(kind: string, inTransactions: boolean, subject: Subject): Promise<LoadOutcome> {
  const database = await createDatabase(url as string, 'deadlocks');
  const sequelize = new Sequelize(database.url, { dialect: 'mysql', logging: false, pool: { max: inFlight + 2 } });
  const store = new MemcachedStore((servers as string).split(','));
  try {
    const models = defineLoad(sequelize, subject !== 'plain');
    await sequelize.sync();
    await fillLoad(models);
    const cache =
      subject === 'plain' ? undefined : setupCache(sequelize, { store, prefix: `d${String(process.pid)}`, ...(subject === 'limit 0' ? { bulkInvalidationLimit: 0 } : {}) });
    const random = new Random(Number(flags.seed));
    const outcome = await runLoad(models, kind, { writes, inFlight, dice: (below) => random.below(below), inTransactions });
    await cache?.close();
    return outcome;
  } finally {
    await sequelize.close();
    await store.close();
    await database.drop();
  }
}

const line = (...cells: readonly string[]): void => {
  process.stdout.write(`| ${cells.join(' | ')} |\n`);
};

const deadlocksOf = ({ deadlocks, writes: tried, creates }: LoadOutcome): string =>
  `${String(deadlocks.writes)} of ${String(tried)}, ${String(deadlocks.creates)} of ${String(creates)} creates`;

const rate = ({ writes: tried, creates, milliseconds }: LoadOutcome): number => (tried + creates) / milliseconds;

async function main(): Promise<void> {
  line('writes', 'transactions', 'deadlocks: plain', 'cached', 'limit 0', 'throughput: cached', 'limit 0');
  line('---', '---', '---', '---', '---', '---:', '---:');
  for (const kind of Object.keys(loadKinds).filter((name) => name.includes(flags.only))) {
    for (const inTransactions of [false, true]) {
      const plain = await measure(kind, inTransactions, 'plain');
      const cached = await measure(kind, inTransactions, 'cached');
      const wide = inTransactions ? await measure(kind, inTransactions, 'limit 0') : undefined;
      line(
        kind,
        inTransactions ? 'the program’s' : 'autocommitted',
        deadlocksOf(plain),
        deadlocksOf(cached),
        wide === undefined ? '' : deadlocksOf(wide),
        (rate(cached) / rate(plain)).toFixed(2),
        wide === undefined ? '' : (rate(wide) / rate(plain)).toFixed(2),
      );
    }
  }
}

main().catch((error: unknown) => {
  process.stderr.write(`${String(error instanceof Error ? error.stack : error)}\n`);
  process.exitCode = 1;
});
