/**
 * What rows are looked up with by who does without this package, and this package, each behind one
 * small interface. All have the same rows, in tables that nobody writes.
 */
import assert from 'node:assert/strict';
import { isDeepStrictEqual } from 'node:util';
import KeyvMemcache from '@keyv/memcache';
import { createCache } from 'cache-manager';
import { Keyv } from 'keyv';
import type { Model, ModelStatic } from 'sequelize';
import SequelizeSimpleCache from 'sequelize-simple-cache';
import transparentCache from 'sequelize-transparent-cache';
import MemcachedAdaptor from 'sequelize-transparent-cache-memcached';
import type { SetupOptions, Store } from '../../src/index.js';
import { MemcachedStore } from '../../src/stores/memcached.js';
import { MemoryStore } from '../../src/stores/memory.js';
import { casesOf, Disturbed, Refused, undisturbed, type Case, type Comparison, type Pace } from './measure.js';
import { PipelinedSocket, storeAll } from './pipelined-socket.js';
import { openClient, RawClient } from './raw-client.js';

/** Packages whose versions belong to the result. */
export const comparedPackages = [
  'sequelize',
  'mysql2',
  'memcached',
  'sequelize-transparent-cache',
  'sequelize-transparent-cache-memcached',
  'sequelize-simple-cache',
  'cache-manager',
  '@keyv/memcache',
  'memjs',
] as const;

/** One table, and who has its rows from where. */
export interface Subject {
  /** Tells its keys from those of other subjects. */
  readonly name: string;
  /** Of all keys; the same in processes that share them. @default this process's own */
  readonly prefix?: string;
  /** The rows that are looked up. */
  readonly ids: readonly number[];
  /** The model on a Sequelize instance of its own, without a cache, and how many statements that has sent. */
  plain(): { readonly model: ModelStatic<Model>; statements(): number };
  /** The same with this package's cache. */
  cached(store: Store, options?: SetupOptions): { get(id: number): Promise<unknown>; statements(): number };
  /** Throws if the answer is not this row. For every answer, so it looks at the most telling columns only. */
  check(answer: unknown, id: number): void;
}

/** Something that a row is looked up with. */
export interface Competitor {
  /** A row that is in its cache. */
  get(id: number): Promise<unknown>;
  /** Brings a row into its cache. @default the first `get` does */
  fill?(id: number, row: Model): Promise<unknown>;
  /** Where it holds a row as JSON, under this key. */
  keyOf?(id: number): string;
  /** SQL statements so far; undefined where every lookup is one. */
  statements?(): number;
  /** Ends its connections. */
  close?(): void | Promise<void>;
}

const prefixOf = ({ prefix = `c${String(process.pid)}` }: Subject): string => prefix;
/** In seconds. The machine that runs this may be busy; a missed deadline would send reads to the database. */
const patience = 5;
const lifetime = 86_400;

const plainOf = (model: Model): unknown => model.get({ plain: true });

function cachedBy(store: Store, options?: SetupOptions): (subject: Subject) => Competitor {
  return (subject) => subject.cached(store, options);
}

const memcachedOf = (servers: readonly string[]): Store => new MemcachedStore(servers, { timeoutMs: patience * 1000 });

/** By their cases' names. */
const openers = {
  'findOne id': (subject) => {
    const { model } = subject.plain();
    return { get: (id) => model.findOne({ where: { id } }) };
  },
  'get id': (subject, servers) => cachedBy(memcachedOf(servers))(subject),
  /** As for rows of which each is read once in a while: none is known from before. */
  'get id, nothing remembered': (subject, servers) => cachedBy(memcachedOf(servers), { recentBytes: 0 })(subject),
  'raw get': (subject, servers) => {
    const client = new RawClient(servers);
    const keyOf = (id: number): string => `${prefixOf(subject)}:${subject.name}:${String(id)}`;
    return {
      keyOf,
      fill: (id, row) => client.set(keyOf(id), JSON.stringify(plainOf(row))),
      get: async (id) => JSON.parse(await client.get(keyOf(id))) as unknown,
      close: () => client.close(),
    };
  },
  'raw get + Model.build': (subject, servers) => {
    const client = new RawClient(servers);
    const { model, statements } = subject.plain();
    const keyOf = (id: number): string => `${prefixOf(subject)}b:${subject.name}:${String(id)}`;
    return {
      fill: (id, row) => client.set(keyOf(id), JSON.stringify(plainOf(row))),
      get: async (id) => model.build(JSON.parse(await client.get(keyOf(id))) as Record<string, unknown>, { raw: true, isNewRecord: false }),
      statements,
      close: () => client.close(),
    };
  },
  'sequelize-transparent-cache': (subject, servers) => {
    const client = openClient(servers);
    const { model, statements } = subject.plain();
    const adaptor = new MemcachedAdaptor({ client, namespace: `${prefixOf(subject)}t${subject.name}`, lifetime });
    const cached = transparentCache(adaptor).withCache(model);
    return { get: (id) => cached.cache().findByPk(id), statements, close: () => client.end() };
  },
  /** As a hand writes it: what is not there is looked up, and put there. */
  'cache-manager': (subject, servers) => {
    const { model, statements } = subject.plain();
    const store = new KeyvMemcache(servers.join(','), { timeout: patience });
    const cache = createCache({ stores: [new Keyv({ store, namespace: `${prefixOf(subject)}m${subject.name}` })], ttl: lifetime * 1000 });
    return {
      get: async (id) => {
        const key = String(id);
        const values = await cache.get<Record<string, unknown>>(key);
        if (values !== undefined && values !== null) return model.build(values, { raw: true, isNewRecord: false });
        const row = await model.findByPk(id);
        if (row !== null) await cache.set(key, plainOf(row));
        return row;
      },
      statements,
      close: () => {
        store.client.close();
      },
    };
  },
  'pipelined socket': (subject, servers) => {
    // It knows one server.
    const one = servers.slice(0, 1);
    const client = new RawClient(one);
    const socket = new PipelinedSocket(one[0]!);
    const keyOf = (id: number): string => `${prefixOf(subject)}p:${subject.name}:${String(id)}`;
    return {
      keyOf,
      fill: (id, row) => client.set(keyOf(id), JSON.stringify(plainOf(row))),
      get: (id) => socket.get(keyOf(id)),
      close: () => {
        client.close();
        socket.close();
      },
    };
  },
  'get id from memory': (subject) => cachedBy(new MemoryStore())(subject),
  'sequelize-simple-cache': (subject) => {
    const { model, statements } = subject.plain();
    const cache = new SequelizeSimpleCache({ [model.name]: { limit: 1_000_000, ttl: lifetime } });
    const cached = cache.init(model);
    return { get: (id) => cached.findByPk(id), statements };
  },
} as const satisfies Readonly<Record<string, (subject: Subject, servers: readonly string[]) => Competitor>>;

export type CompetitorName = keyof typeof openers;

/** Opens one on a subject. */
export const openCompetitor = (name: CompetitorName, subject: Subject, servers: readonly string[]): Competitor => openers[name](subject, servers);

/** In the order of the table: what it is called there. */
export const competitors: readonly { readonly name: CompetitorName; readonly title: string }[] = [
  { name: 'findOne id', title: 'Sequelize `findOne`' },
  { name: 'raw get', title: '`memcached` + `JSON.parse`: no instance' },
  { name: 'raw get + Model.build', title: '`memcached` + `JSON.parse` + `Model.build(raw)`' },
  { name: 'sequelize-transparent-cache', title: 'sequelize-transparent-cache' },
  { name: 'cache-manager', title: 'hand-written on cache-manager' },
  { name: 'get id', title: 'sequelize-flash' },
  { name: 'get id, nothing remembered', title: 'sequelize-flash, each row as if it were read for the first time (`recentBytes: 0`)' },
  { name: 'pipelined socket', title: 'a bare pipelined socket + `JSON.parse`: no instance' },
  { name: 'sequelize-simple-cache', title: 'sequelize-simple-cache: in process' },
  { name: 'get id from memory', title: 'sequelize-flash: in process' },
];

/** How many lookups are under way at the same time. */
export const concurrencies = [1, 8, 64, 512] as const;

/** How a case is called. */
export const caseOf = (name: string, inFlight: number): string => (inFlight === 1 ? name : `${name} ×${String(inFlight)}`);

/** What all are compared with. */
export const yardstick: CompetitorName = 'raw get';
/** With how many in flight CPU time and traffic are given. */
export const inTable = 64;

/** The name of a line of the table of competitors. */
export const tableLine = (name: CompetitorName, quantity: 'throughput' | 'CPU time', inFlight: number): string =>
  `competitors: ${quantity} of ${name} with ${String(inFlight)} in flight, against raw`;

/** What the table of competitors consists of. */
export const tableComparisons: readonly Comparison[] = competitors.flatMap(({ name }) => [
  ...concurrencies.map(
    (inFlight): Comparison => ({
      name: tableLine(name, 'throughput', inFlight),
      of: [caseOf(yardstick, inFlight), caseOf(name, inFlight)],
      says: 'times the throughput',
    }),
  ),
  {
    name: tableLine(name, 'CPU time', inTable),
    of: [caseOf(name, inTable), caseOf(yardstick, inTable)],
    says: 'times the CPU time',
    quantity: 'cpu',
  },
]);

const operationsWith: Readonly<Record<number, number>> = { 1: 100, 8: 320, 64: 640, 512: 2048 };
const paceWith: Readonly<Record<number, Pace>> = { 1: 'every turn', 8: 'every second turn', 64: 'every turn', 512: 'every second turn' };

/** How slices are cut where lookups take longer than usual. */
export interface Cut {
  /** What the cases' names say of the rows. */
  readonly rows: string;
  /** Operations in a slice, at most. */
  readonly most: number;
  readonly pace: Pace;
}

/** The competitors that were opened on a subject. */
export class Competitors {
  readonly #subject: Subject;
  readonly #servers: readonly string[];
  readonly #open = new Map<CompetitorName, Competitor>();
  readonly #cut: Cut | undefined;

  constructor(subject: Subject, servers: readonly string[], cut?: Cut) {
    this.#subject = subject;
    this.#servers = servers;
    this.#cut = cut;
  }

  /** The cases that the comparisons name. */
  cases(wanted: readonly Comparison[]): Case[] {
    return this.#wanted(wanted).map(({ name, inFlight }) => this.#case(name, inFlight, this.#competitor(name)));
  }

  /**
   * Brings very many rows into every cache that the cases need, without looking at the answers.
   * @param values what the columns of a row hold, as it is stored as JSON
   */
  async fillMany(wanted: readonly Comparison[], values: (id: number) => unknown): Promise<void> {
    const { ids } = this.#subject;
    for (const name of new Set(this.#wanted(wanted).map((one) => one.name))) {
      const { keyOf, get, statements } = this.#competitor(name);
      if (keyOf !== undefined) {
        assert.equal(this.#servers.length, 1, 'which server a key belongs to is the client’s business');
        await storeAll(this.#servers[0]!, ids, (id) => [keyOf(id), JSON.stringify(values(id))]);
      } else if (statements !== undefined) {
        for (const chunk of chunksOf(ids, 1000)) await Promise.all(chunk.map((id) => get(id)));
      }
    }
  }

  /** Brings the rows into every cache that the cases need, and compares every answer with the database's. */
  async fillAndVerify(wanted: readonly Comparison[]): Promise<void> {
    await this.#compare(wanted, this.#subject.ids, true);
  }

  /** Compares answers with the database's, of rows that every cache has. */
  async verify(wanted: readonly Comparison[], ids: readonly number[]): Promise<void> {
    await this.#compare(wanted, ids, false);
  }

  async #compare(wanted: readonly Comparison[], ids: readonly number[], fill: boolean): Promise<void> {
    const { model } = this.#subject.plain();
    const names = new Set(this.#wanted(wanted).map(({ name }) => name));
    for (const chunk of chunksOf(ids, 50)) {
      const rows = new Map((await model.findAll({ where: { id: chunk } })).map((row) => [row.get('id') as number, row]));
      for (const name of names) {
        const competitor = this.#competitor(name);
        if (fill) await Promise.all(chunk.map((id) => competitor.fill?.(id, rows.get(id)!) ?? competitor.get(id)));
        const answers = await undisturbed(async () => {
          const sent = competitor.statements?.();
          const found = await Promise.all(chunk.map((id) => competitor.get(id)));
          if (competitor.statements?.() !== sent) throw new Disturbed(`No ratio, because warm lookups of '${name}' sent SQL.`);
          return found;
        });
        for (const [at, id] of chunk.entries()) {
          if (isDeepStrictEqual(asJson(answers[at]), asJson(rows.get(id)))) continue;
          throw new Refused(`No ratio, because '${name}' gave a wrong answer for row ${String(id)} of ${this.#subject.name}.`);
        }
      }
    }
  }

  async close(): Promise<void> {
    for (const competitor of this.#open.values()) await competitor.close?.();
  }

  #wanted(wanted: readonly Comparison[]): { readonly name: CompetitorName; readonly inFlight: number }[] {
    const names = new Set(wanted.flatMap(casesOf));
    return competitors
      .flatMap(({ name }) => concurrencies.map((inFlight) => ({ name, inFlight })))
      .filter(({ name, inFlight }) => names.has(this.#nameOf(name, inFlight)));
  }

  #competitor(name: CompetitorName): Competitor {
    const open = this.#open.get(name) ?? openCompetitor(name, this.#subject, this.#servers);
    this.#open.set(name, open);
    return open;
  }

  #nameOf(name: CompetitorName, inFlight: number): string {
    return caseOf(this.#cut === undefined ? name : `${name}, ${this.#cut.rows}`, inFlight);
  }

  #case(name: CompetitorName, inFlight: number, competitor: Competitor): Case {
    const { ids } = this.#subject;
    const idAt = (at: number): number => ids[(at * 7) % ids.length]!;
    const usual = operationsWith[inFlight]!;
    // A statement takes so much longer.
    const operations = name === 'findOne id' ? Math.max(Math.ceil(usual * 0.3), Math.min(2 * inFlight, usual)) : usual;
    let sent: number | undefined;
    return {
      name: this.#nameOf(name, inFlight),
      operations: this.#cut === undefined ? operations : Math.min(operations, this.#cut.most),
      inFlight,
      pace: this.#cut?.pace ?? paceWith[inFlight]!,
      prepare: () => {
        sent = competitor.statements?.();
        return Promise.resolve();
      },
      run: (at) => competitor.get(idAt(at)),
      check: (answer, at) => {
        this.#subject.check(answer, idAt(at));
      },
      after: () => {
        assert.equal(competitor.statements?.(), sent, 'a warm run sent SQL');
      },
    };
  }
}

const asJson = (answer: unknown): unknown => JSON.parse(JSON.stringify(answer ?? null));

function chunksOf<T>(items: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, at) => items.slice(at * size, (at + 1) * size));
}
