/**
 * What the cache costs and saves, as ratios: `npm run bench`.
 *
 *   -- --quick             few rounds: whether it runs, and nothing to rely on
 *   -- --json              one JSON object on stdout, and nothing else there
 *   -- --only save,bulk    only the lines whose names contain one of these
 *   -- --rounds 5
 *   -- --write             writes the README's tables and docs/benchmark.md; not with --quick or --only
 *
 * All cases run in one process, in turn, but for those with several processes. Answers are compared before anything is timed and again
 * after every slice; a wrong one, or a memcached server that is not fresh, ends the run without ratios. A
 * slice with SQL in a warm run is repeated; where that happens too often, the lines of that case are left
 * out. A ratio whose rounds lie too far apart is not printed. The raw client is the
 * `memcached` package with its own settings but for one (`raw-client.ts`), `get` and `JSON.parse`.
 * What is compared is in `competitors.ts`: -- --only competitors. Settings with more servers, processes
 * or rows are in `settings.ts`: -- --only settings.
 */
import { parseArgs } from 'node:util';
import { Competitors, tableComparisons } from './competitors.js';
import type { Counts } from './counts.js';
import { familyComparisons, openFamily } from './family.js';
import { casesOf, measure, median, Refused, type Case, type Comparison, type LeftOut, type Measured } from './measure.js';
import { MemcachedStats } from './memcached-stats.js';
import { writePages } from './pages.js';
import { openPlaces } from './places.js';
import { RawClient } from './raw-client.js';
import { ReadBench, readComparisons, rowsFor, warmSubject } from './reads.js';
import { forReadme, linesOf, machineOf, readable, resourcePage, versionsOf, type Result } from './report.js';
import { meter, type Resources } from './resources.js';
import { SettingBench, settingComparisons, settingsIn, settingsOf } from './settings.js';
import { ShapeBench, shapeComparisons } from './shapes.js';
import { rowsToWrite, WriteBench, writeComparisons } from './writes.js';

const { values: flags } = parseArgs({
  options: {
    quick: { type: 'boolean', default: false },
    json: { type: 'boolean', default: false },
    write: { type: 'boolean', default: false },
    only: { type: 'string' },
    rounds: { type: 'string' },
  },
});

const plan = {
  rounds: flags.rounds === undefined ? (flags.quick ? 5 : 15) : Number(flags.rounds),
  turns: flags.quick ? 2 : 8,
  warmUp: flags.quick ? 1 : 2,
  milliseconds: flags.quick ? 50 : 250,
};
if (flags.write && (flags.quick || flags.only !== undefined)) throw new Error('--write is for a whole run: leave out --quick and --only.');
if (!Number.isInteger(plan.rounds) || plan.rounds < 1) throw new Error(`--rounds must be a whole number from 1; it is '${String(flags.rounds)}'.`);
/** Of processes that read at the same time. */
const apart = { rounds: Math.min(plan.rounds, 7), turns: flags.quick ? 1 : 4, milliseconds: flags.quick ? 100 : 150, warmUp: flags.quick ? 200 : 1500 };
// More than lookups in flight: what is asked for twice in a tick is asked for once.
const warmRows = flags.quick ? 1000 : 2000;
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
  comparisons.filter((one) => [one.name, ...casesOf(one)].some(isWanted));

async function main(mysql: string, memcached: readonly string[]): Promise<void> {
  const reads = wantedOf(readComparisons);
  // Each is compared with the raw client, which asking for that does not mean.
  const table = tableComparisons.filter(({ name }) => isWanted(name));
  const shapes = wantedOf(shapeComparisons);
  const family = wantedOf(familyComparisons);
  const writes = wantedOf(writeComparisons);
  // By their own names only: they take a minute before anything is measured.
  const allSettings = settingsOf(flags.quick);
  const wantedSettings = allSettings.filter(({ name }) => isWanted(`settings: ${name}`));
  const inSettings = settingComparisons(wantedSettings);
  const settings = settingsIn(inSettings, allSettings);
  if (reads.length + table.length + shapes.length + family.length + writes.length + inSettings.length === 0) {
    const all = [...readComparisons, ...tableComparisons, ...shapeComparisons, ...familyComparisons, ...writeComparisons, ...settingComparisons(allSettings)];
    throw new Error(`No line is named like '${words.join("' or '")}'. They are:\n${all.map(({ name }) => name).join('\n')}`);
  }
  const started = settings.length === 0 ? [] : await SettingBench.startServers(settings);
  const stats = new MemcachedStats([...memcached, ...started.map(({ address }) => address)]);
  const closing: (() => void | Promise<void>)[] = [() => stats.close(), ...started.map((server) => () => server.stop())];
  try {
    const notFresh = await stats.notFresh();
    if (notFresh.length > 0) throw new Refused(`No ratio, because ${notFresh.join(', and ')}.`);
    const places = await openPlaces(mysql);
    closing.unshift(() => places.close());
    const raw = new RawClient(memcached);
    closing.unshift(() => raw.close());

    const { version, flushLogAtCommit } = places.server;
    if (flushLogAtCommit !== '1') {
      say(`Note: innodb_flush_log_at_trx_commit is ${flushLogAtCommit}; with 1, as in production, writes cost more by themselves.`);
    }
    const readsAndTable = [...reads, ...table];
    const rowsToRead = readsAndTable.length === 0 ? 0 : rowsFor(plan, warmRows);
    const rows = rowsToRead + (writes.length === 0 ? 0 : rowsToWrite);
    say(`loading ${String(rows)} places …`);
    const counts: Counts[] = [];
    const readTable = readsAndTable.length === 0 ? undefined : await places.table('places', rowsToRead);
    const readBench = readTable === undefined || reads.length === 0 ? undefined : new ReadBench(readTable, memcached, raw, warmRows);
    await readBench?.fillAndVerify();
    counts.push(...((await readBench?.counts()) ?? []));
    const competitors = readTable === undefined ? undefined : new Competitors(warmSubject(readTable, warmRows), memcached);
    if (competitors !== undefined) closing.unshift(() => competitors.close());
    await competitors?.fillAndVerify(readsAndTable);
    const shapeBench = shapes.length === 0 ? undefined : await ShapeBench.open(places, memcached, shapes);
    if (shapeBench !== undefined) closing.unshift(() => shapeBench.close());
    const writeBench = writes.length === 0 ? undefined : new WriteBench(await places.table('written', rowsToWrite), memcached);
    counts.push(...((await writeBench?.counts(writes)) ?? []));
    const familyBench = family.length === 0 ? undefined : await openFamily(places, memcached, raw);
    counts.push(...((await familyBench?.counts()) ?? []));
    say('answers are those of Sequelize; measuring …');
    const cases = [
      ...((await readBench?.cases(reads)) ?? []),
      ...(competitors?.cases(readsAndTable) ?? []),
      ...(shapeBench?.cases(shapes) ?? []),
      ...(familyBench?.cases(family) ?? []),
      ...((await writeBench?.cases(writes)) ?? []),
    ];
    const measured: Measured[] = [];
    const resources: Resources[] = [];
    const leftOut: LeftOut[] = [];
    const leaveOut = (one: LeftOut): void => {
      leftOut.push(one);
      say(`left out: ${one.reason}`);
    };
    const measureAll = async (all: readonly Case[]): Promise<void> => {
      const began = performance.now();
      const found = await measure(all, plan, leaveOut);
      const timed = performance.now();
      resources.push(...(await meter(all, plan, found, () => stats.traffic())));
      measured.push(...found);
      say(`${String(all.length)} cases: timed in ${secondsOf(timed - began)}, their resources in ${secondsOf(performance.now() - timed)}`);
    };
    if (cases.length > 0) await measureAll(cases);
    await writeBench?.verify();
    if (settings.length > 0) {
      // Not earlier: what this process remembers of a million rows is none of the others' business.
      const settingBench = await SettingBench.open(mysql, settings, inSettings, started, say);
      closing.unshift(() => settingBench.close());
      const inProcess = settingBench.cases();
      if (inProcess.length > 0) await measureAll(inProcess);
      const began = performance.now();
      measured.push(...(await settingBench.measureApart(settings, apart, leaveOut)));
      say(`several processes: ${secondsOf(performance.now() - began)}`);
    }
    const result: Result = {
      date: new Date().toISOString().slice(0, 10),
      machine: machineOf({ version, flushLogAtCommit }, await raw.version()),
      versions: versionsOf(),
      rows,
      rounds: plan.rounds,
      ratios: linesOf([...reads, ...shapes, ...family, ...writes], measured, counts),
      competitors: linesOf(table, measured, counts),
      settings: wantedSettings.map((setting) => ({ name: setting.name, base: setting.base, lines: linesOf(settingComparisons([setting]), measured, counts) })),
      resources,
      leftOut,
      counts,
      bytes: await readBench?.bytes(),
      microseconds: Object.fromEntries(measured.map(({ name, quantities }) => [name, median(quantities.time.flat())])),
    };
    if (flags.json) console.log(JSON.stringify(result));
    else console.log(`${readable(result)}\n\n${forReadme(result)}\n\n${resourcePage(result)}`);
    if (flags.write) writePages(process.cwd(), result);
  } finally {
    for (const close of closing) await close();
  }
}

const secondsOf = (milliseconds: number): string => `${(milliseconds / 1000).toFixed(0)} s`;

main(url, servers.split(',').map((server) => server.trim())).catch((error: unknown) => {
  // A refusal says what it is about; its cause is the assertion that failed.
  if (error instanceof Refused) console.error(error.message);
  else console.error(error);
  process.exitCode = 1;
});
