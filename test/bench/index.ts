/**
 * What the cache costs and saves, as ratios: `npm run bench`, `-- --quick`, `-- --json`.
 *
 * All cases run in one process, in turn, on the same rows. Answers are compared before anything is
 * timed and again after every slice; a wrong one, or SQL in a warm run, ends the run without ratios.
 * The raw client is the `memcached` package with its own default settings, `get` and `JSON.parse`.
 */
import { parseArgs } from 'node:util';
import { Bench, rowsFor } from './cases.js';
import { measure, median, type Plan } from './measure.js';
import { loadPlaces } from './places.js';
import { linesOf, machineOf, markdown, readable, type Result } from './report.js';

const { values: flags } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    /** Only the cases with these names, separated by commas: for profiling. */
    only: { type: 'string' },
    rounds: { type: 'string' },
  },
});

const plan: Plan = {
  rounds: flags.rounds === undefined ? (flags.quick ? 5 : 15) : Number(flags.rounds),
  turns: flags.quick ? 2 : 8,
  warmUp: flags.quick ? 1 : 2,
};
const warmRows = flags.quick ? 500 : 2000;
const url = process.env.SEQUELIZE_FLASH_MYSQL_URL;
const servers = process.env.SEQUELIZE_FLASH_MEMCACHED;
if (url === undefined || servers === undefined) throw new Error('Run this with npm run bench, which provides servers.');

const say = (text: string): void => {
  if (!flags.json) console.log(text);
};

async function main(mysql: string, memcached: string): Promise<void> {
  const rows = rowsFor(plan, warmRows);
  say(`loading ${String(rows)} places …`);
  const places = await loadPlaces(mysql, rows);
  const bench = new Bench(places, memcached.split(','), warmRows);
  try {
    if (places.server.flushLogAtCommit !== '1') {
      say(`Note: innodb_flush_log_at_trx_commit is ${places.server.flushLogAtCommit}; with 1, as in production, save() costs more by itself.`);
    }
    await bench.fillAndVerify();
    const counts = await bench.counts();
    say('answers are those of findOne; measuring …');
    const { only } = flags;
    const cases = (await bench.cases()).filter(({ name }) => only === undefined || only.split(',').includes(name));
    const measured = await measure(cases, plan);
    await bench.verifyWritten();
    const result: Result = {
      date: new Date().toISOString().slice(0, 10),
      machine: machineOf(places.server, await bench.version()),
      rows,
      rounds: plan.rounds,
      ratios: linesOf(measured),
      counts,
      bytes: await bench.bytes(),
      microseconds: Object.fromEntries(measured.map(({ name, rounds }) => [name, median(rounds.flat())])),
    };
    if (flags.json) console.log(JSON.stringify(result));
    else console.log(`${readable(result)}\n\n${markdown(result)}`);
  } finally {
    bench.close();
    await places.close();
  }
}

main(url, servers).catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
