/**
 * What the cache costs and saves, as ratios: `npm run bench`.
 *
 *   -- --quick             few rounds: whether it runs, and nothing to rely on
 *   -- --json              one JSON object on stdout, and nothing else there
 *   -- --only save,bulk    only the lines whose names contain one of these
 *   -- --rounds 5
 *
 * All cases run in one process, in turn. Answers are compared before anything is timed and again
 * after every slice; a wrong one, or SQL in a warm run, ends the run without ratios. The raw client
 * is the `memcached` package with its own default settings, `get` and `JSON.parse`.
 */
import { parseArgs } from 'node:util';
import type { Counts } from './counts.js';
import { familyComparisons, openFamily } from './family.js';
import { measure, median, type Comparison, type Plan } from './measure.js';
import { openPlaces } from './places.js';
import { RawClient } from './raw-client.js';
import { ReadBench, readComparisons, rowsFor } from './reads.js';
import { linesOf, machineOf, markdown, readable, type Result } from './report.js';
import { rowsToWrite, WriteBench, writeComparisons } from './writes.js';

const { values: flags } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    only: { type: 'string' },
    rounds: { type: 'string' },
  },
});

const plan: Plan = {
  rounds: flags.rounds === undefined ? (flags.quick ? 5 : 15) : Number(flags.rounds),
  turns: flags.quick ? 2 : 8,
  warmUp: flags.quick ? 1 : 2,
};
if (!Number.isInteger(plan.rounds) || plan.rounds < 1) throw new Error(`--rounds must be a whole number from 1; it is '${String(flags.rounds)}'.`);
const warmRows = flags.quick ? 500 : 2000;
const url = process.env.SEQUELIZE_FLASH_MYSQL_URL;
const servers = process.env.SEQUELIZE_FLASH_MEMCACHED;
if (url === undefined || servers === undefined) throw new Error('Run this with npm run bench, which provides servers.');

/** What is going on; with --json it is beside the result. */
const say = (text: string): void => {
  if (flags.json) console.error(text);
  else console.log(text);
};

const words = flags.only?.split(',').map((word) => word.trim().toLowerCase()).filter((word) => word !== '') ?? [];
const isWanted = (name: string): boolean => words.length === 0 || words.some((word) => name.toLowerCase().includes(word));
const wantedOf = (comparisons: readonly Comparison[]): readonly Comparison[] =>
  comparisons.filter(({ name, of }) => [name, ...of].some(isWanted));

async function main(mysql: string, memcached: string): Promise<void> {
  const reads = wantedOf(readComparisons);
  const family = wantedOf(familyComparisons);
  const writes = wantedOf(writeComparisons);
  if (reads.length + family.length + writes.length === 0) {
    throw new Error(`No line is named like '${words.join("' or '")}'. They are:\n${[...readComparisons, ...familyComparisons, ...writeComparisons].map(({ name }) => name).join('\n')}`);
  }
  const places = await openPlaces(mysql);
  const raw = new RawClient(memcached.split(','));
  try {
    const { version, flushLogAtCommit } = places.server;
    if (flushLogAtCommit !== '1') {
      say(`Note: innodb_flush_log_at_trx_commit is ${flushLogAtCommit}; with 1, as in production, writes cost more by themselves.`);
    }
    const rowsToRead = reads.length === 0 ? 0 : rowsFor(plan, warmRows);
    const rows = rowsToRead + (writes.length === 0 ? 0 : rowsToWrite);
    say(`loading ${String(rows)} places …`);
    const counts: Counts[] = [];
    const readBench = reads.length === 0 ? undefined : new ReadBench(await places.table('places', rowsToRead), memcached.split(','), raw, warmRows);
    await readBench?.fillAndVerify();
    counts.push(...((await readBench?.counts()) ?? []));
    const writeBench = writes.length === 0 ? undefined : new WriteBench(await places.table('written', rowsToWrite), memcached.split(','));
    counts.push(...((await writeBench?.counts(writes)) ?? []));
    const familyBench = family.length === 0 ? undefined : await openFamily(places, memcached.split(','));
    counts.push(...((await familyBench?.counts()) ?? []));
    say('answers are those of Sequelize; measuring …');
    const cases = [
      ...((await readBench?.cases(reads)) ?? []),
      ...(familyBench?.cases(family) ?? []),
      ...((await writeBench?.cases(writes)) ?? []),
    ];
    const measured = await measure(cases, plan);
    await writeBench?.verify();
    const result: Result = {
      date: new Date().toISOString().slice(0, 10),
      machine: machineOf({ version, flushLogAtCommit }, await raw.version()),
      rows,
      rounds: plan.rounds,
      ratios: linesOf([...reads, ...family, ...writes], measured, counts),
      counts,
      bytes: await readBench?.bytes(),
      microseconds: Object.fromEntries(measured.map(({ name, rounds }) => [name, median(rounds.flat())])),
    };
    if (flags.json) console.log(JSON.stringify(result));
    else console.log(`${readable(result)}\n\n${markdown(result)}`);
  } finally {
    raw.close();
    await places.close();
  }
}

main(url, servers).catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
