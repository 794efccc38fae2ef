/** The same lookup where there is more of something: memcached servers, processes, rows in the cache. */
import { startMemcached, type MemcachedProcess } from '../support/memcached-process.js';
import { caseOf, Competitors, type CompetitorName } from './competitors.js';
import { itemSubject, nameOf, openGround, type Ground } from './growth/ground.js';
import { readTogether } from './growth/processes.js';
import { startWorker, type Worker } from './growth/worker.js';
import { casesOf, Disturbed, Refused, type Case, type Comparison, type LeftOut, type Measured } from './measure.js';
import { statsOf } from './memcached-stats.js';

/** One setting. It differs from its base in one thing. */
export interface Setting {
  /** As the cases' names and the table have it. */
  readonly name: string;
  readonly servers: number;
  readonly rows: number;
  /** So many processes of their own, at the same time. @default the one that measures everything else */
  readonly processes?: number;
  /** The setting that it is compared with. */
  readonly base?: string;
}

const inFlight = 64;
const few = 1000;
const isLarge = ({ rows }: Setting): boolean => rows > few;

/** All of them. `quick`: fewer rows. */
export function settingsOf(quick: boolean): readonly Setting[] {
  const usual = { servers: 1, rows: few };
  const [base, alone] = ['a thousand rows', '1 process'];
  const larger = quick ? { name: '20 thousand rows', rows: 20_000 } : { name: 'a million rows', rows: 1_000_000 };
  return [
    { ...usual, name: base },
    { ...usual, ...larger, base },
    { ...usual, name: '3 servers', servers: 3, base },
    { ...usual, name: '16 servers', servers: 16, base },
    { ...usual, name: alone, processes: 1 },
    { ...usual, name: '4 processes', processes: 4, base: alone },
  ];
}

/** Those of the settings that some comparisons need. */
export const settingsIn = (comparisons: readonly Comparison[], settings: readonly Setting[]): readonly Setting[] =>
  settings.filter(({ name }) => comparisons.some((one) => casesOf(one).includes(caseIn('get id', name))));

/** What a setting is compared by, and the names of the lines. */
export const settingColumns = {
  raw: 'throughput against raw',
  findOne: 'throughput against findOne',
  socket: 'throughput against a pipelined socket',
  transparent: 'throughput against sequelize-transparent-cache',
  manager: 'throughput against cache-manager',
  own: 'get id against its base',
  ownCpu: 'CPU time of get id against its base',
  rawOwn: 'raw get against its base',
  relative: 'get id against its base, relative to raw get',
} as const;

export type SettingColumn = keyof typeof settingColumns;

/** The name of a line of the table of settings. */
export const settingLine = (setting: string, column: SettingColumn): string => `settings: ${setting}, ${settingColumns[column]}`;

const caseIn = (competitor: CompetitorName, setting: string): string => caseOf(`${competitor}, ${setting}`, inFlight);

/** What is compared in these settings. A million rows are to cost as much as a thousand. */
export function settingComparisons(settings: readonly Setting[]): Comparison[] {
  return settings.flatMap((setting): Comparison[] => {
    const { name, servers, processes, base } = setting;
    const [get, raw, findOne, socket] = (['get id', 'raw get', 'findOne id', 'pipelined socket'] as const).map((one) => caseIn(one, name)) as [string, string, string, string];
    const lines: Comparison[] = [
      { name: settingLine(name, 'raw'), of: [raw, get], says: 'times the throughput' },
      { name: settingLine(name, 'findOne'), of: [findOne, get], says: 'times the throughput' },
    ];
    // It knows one server.
    if (servers === 1) lines.push({ name: settingLine(name, 'socket'), of: [socket, get], says: 'times the throughput' });
    // To bring a million rows into each of these caches would take longer than everything else.
    if (!isLarge(setting)) {
      for (const [column, other] of [['transparent', 'sequelize-transparent-cache'], ['manager', 'cache-manager']] as const) {
        lines.push({ name: settingLine(name, column), of: [caseIn(other, name), get], says: 'times the throughput' });
      }
    }
    if (base === undefined) return lines;
    const [ownBase, rawBase] = [caseIn('get id', base), caseIn('raw get', base)];
    if (processes !== undefined) {
      return [
        ...lines,
        { name: settingLine(name, 'own'), of: [ownBase, get], says: 'times the throughput' },
        { name: settingLine(name, 'rawOwn'), of: [rawBase, raw], says: 'times the throughput' },
      ];
    }
    const aim: Pick<Comparison, 'aim'> = isLarge(setting) ? { aim: { most: 1.15 } } : {};
    return [
      ...lines,
      { name: settingLine(name, 'own'), of: [get, ownBase], says: 'times the time', ...aim },
      { name: settingLine(name, 'ownCpu'), of: [get, ownBase], says: 'times the CPU time', quantity: 'cpu' },
      { name: settingLine(name, 'rawOwn'), of: [raw, rawBase], says: 'times the time' },
      { name: settingLine(name, 'relative'), of: [get, ownBase], relativeTo: [raw, rawBase], says: 'times the time', ...aim },
    ];
  });
}

/** How long processes of their own are measured. */
interface ApartPlan {
  readonly rounds: number;
  /** Turns of every competitor within a round. */
  readonly turns: number;
  /** Of a turn. */
  readonly milliseconds: number;
  /** Milliseconds, before the first round. */
  readonly warmUp: number;
}

/** memcached servers, a table and the competitors of each setting. */
export class SettingBench {
  readonly #ground: Ground;
  readonly #wanted: readonly Comparison[];
  readonly #servers: readonly MemcachedProcess[];
  readonly #opened: Competitors[] = [];
  readonly #closing: (() => void | Promise<void>)[] = [];

  private constructor(ground: Ground, wanted: readonly Comparison[], servers: readonly MemcachedProcess[]) {
    this.#ground = ground;
    this.#wanted = wanted;
    this.#servers = servers;
  }

  /** The servers that the settings need. The larger cache has one of its own: what is measured is a cache of that size. */
  static startServers(settings: readonly Setting[]): Promise<MemcachedProcess[]> {
    const cluster = Array.from({ length: Math.max(...settings.map(({ servers }) => servers)) }, () => startMemcached());
    return Promise.all(settings.some(isLarge) ? [...cluster, startMemcached({ memoryMb: 2048 })] : cluster);
  }

  /** Creates the table, fills the caches, and compares the answers. */
  static async open(mysql: string, settings: readonly Setting[], wanted: readonly Comparison[], servers: readonly MemcachedProcess[], say: (text: string) => void): Promise<SettingBench> {
    const ground = await openGround(mysql);
    const bench = new SettingBench(ground, wanted, servers);
    bench.#closing.push(() => ground.close());
    try {
      const most = Math.max(...settings.map(({ rows }) => rows));
      await ground.fill(most, 0);
      say(`${most.toLocaleString('en')} rows are in a table`);
      for (const setting of settings) await bench.#fill(setting);
      say(`${most.toLocaleString('en')} rows are in a cache`);
      return bench;
    } catch (error) {
      await bench.close();
      throw error;
    }
  }

  async #fill(setting: Setting): Promise<void> {
    const subject = itemSubject(this.#ground.url, prefixOf(setting), setting.rows);
    this.#closing.unshift(() => subject.close());
    const addresses = this.#addresses(setting);
    const competitors = new Competitors(subject, addresses, { rows: setting.name, most: 10 * inFlight, pace: 'every turn' });
    this.#closing.unshift(() => competitors.close());
    if (isLarge(setting)) {
      await competitors.fillMany(this.#wanted, (id) => ({ id, name: nameOf(id), visits: 0 }));
      // Some from all over: to compare each would take longer than everything else. Answers are checked anyhow.
      await competitors.verify(this.#wanted, subject.ids.slice(0, few));
    } else {
      await competitors.fillAndVerify(this.#wanted);
    }
    for (const server of this.#servers.filter(({ address }) => addresses.includes(address))) {
      const { evictions } = await statsOf(server);
      if (evictions > 0) throw new Refused(`No ratio, because memcached at ${server.address} had too little memory.`);
    }
    if (setting.processes === undefined) this.#opened.push(competitors);
  }

  #addresses(setting: Setting): string[] {
    return (isLarge(setting) ? this.#servers.slice(-1) : this.#servers.slice(0, setting.servers)).map(({ address }) => address);
  }

  cases(): Case[] {
    return this.#opened.flatMap((competitors) => competitors.cases(this.#wanted));
  }

  /** Measures the settings that have processes of their own, competitor by competitor in turn. */
  async measureApart(settings: readonly Setting[], plan: ApartPlan, leaveOut: (one: LeftOut) => void): Promise<Measured[]> {
    const apart = settings.flatMap((setting) => (setting.processes === undefined ? [] : [{ ...setting, processes: setting.processes }]));
    const [first] = apart;
    if (first === undefined) return [];
    const names = ['get id', 'raw get', 'pipelined socket', 'sequelize-transparent-cache', 'cache-manager', 'findOne id'] as const;
    const workers: Worker[] = [];
    try {
      const task = { url: this.#ground.url, servers: this.#addresses(first), prefix: prefixOf(first), rows: first.rows };
      for (let started = 0; started < Math.max(...apart.map(({ processes }) => processes)); started += 1) workers.push(await startWorker(task));
      // Until every process has compiled it for speed; a statement is made of much more code.
      for (const by of names) await readTogether(workers, { do: 'read', by, milliseconds: plan.warmUp * (by === 'findOne id' ? 4 : 1) });
      let turns = names.flatMap((by) =>
        apart.map((setting) => ({ by, setting, time: [] as number[][], cpu: [] as number[][] })),
      );
      for (let round = 0; round < plan.rounds; round += 1) {
        for (const { time, cpu } of turns) {
          time.push([]);
          cpu.push([]);
        }
        for (let turn = 0; turn < plan.turns; turn += 1) {
          // Forth in one turn and back in the next.
          for (const one of turn % 2 === 0 ? turns : [...turns].reverse()) {
            const { by, setting, time, cpu } = one;
            try {
              const together = await readTogether(workers.slice(0, setting.processes), { do: 'read', by, milliseconds: plan.milliseconds });
              time.at(-1)!.push(1e6 / together.perSecond);
              cpu.at(-1)!.push(together.cpu);
            } catch (error) {
              if (!(error instanceof Disturbed)) throw error;
              turns = turns.filter((other) => other !== one);
              leaveOut({ name: caseIn(by, setting.name), reason: error.message });
            }
          }
        }
      }
      return turns.map(({ by, setting, time, cpu }) => ({
        name: caseIn(by, setting.name),
        inFlight,
        // A process does not note each of its lookups.
        quantities: { time, cpu, p99: time.map((of) => of.map(() => NaN)) },
      }));
    } finally {
      await Promise.all(workers.map((worker) => worker.stop()));
    }
  }

  async close(): Promise<void> {
    for (const close of this.#closing) await close();
  }
}

/** Settings on the same servers share them, and not their keys; processes of their own have the same ones. */
const prefixOf = (setting: Setting): string => (setting.processes === undefined ? `s${String(setting.servers)}` : 'apart');
