/**
 * `npm run torture -- --seconds N --seed S`: processes that read and write while everything around
 * them fails, and a check of every answer against what the database committed.
 *
 * What was found goes to standard error; the last line of standard output is one JSON object.
 * `--workers`, `--write-lease`, `--reads` and `--writes` (per second) change the load, `--keep` keeps
 * the logs, `--sabotage` and one of sabotage.ts breaks the cache to see it noticed.
 */
import { parseArgs } from 'node:util';
import { seed as newSeed } from '../support/seed.js';
import { torture } from './run.js';
import { sabotages } from './sabotage.js';

const { values: flags } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    seed: { type: 'string' },
    workers: { type: 'string', default: '4' },
    'write-lease': { type: 'string', default: '2' },
    reads: { type: 'string' },
    writes: { type: 'string' },
    keep: { type: 'boolean', default: false },
    sabotage: { type: 'string' },
  },
});

function whole(name: string, value: string): number {
  if (!/^\d+$/.test(value) || Number(value) === 0) throw new RangeError(`--${name} must be a whole number above 0; it is '${value}'.`);
  return Number(value);
}

async function main(): Promise<void> {
  const sabotage = sabotages.find((one) => one === flags.sabotage);
  if (sabotage === undefined && flags.sabotage !== undefined) {
    throw new RangeError(`--sabotage must be one of ${sabotages.join(', ')}; it is '${flags.sabotage}'.`);
  }
  const report = await torture({
    seconds: whole('seconds', flags.seconds),
    seed: flags.seed === undefined ? newSeed() : whole('seed', flags.seed),
    workers: whole('workers', flags.workers),
    writeLease: whole('write-lease', flags['write-lease']),
    keep: flags.keep,
    ...(flags.reads === undefined ? {} : { readsPerSecond: whole('reads', flags.reads) }),
    ...(flags.writes === undefined ? {} : { writesPerSecond: whole('writes', flags.writes) }),
    ...(sabotage === undefined ? {} : { sabotage }),
    say: (line) => {
      console.error(line);
    },
  });
  console.log(JSON.stringify(report));
  process.exitCode = report.ok ? 0 : 1;
}

main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
