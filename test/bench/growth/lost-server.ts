/** What it costs when one of several memcached servers stops answering. */
import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ServerStateChange } from '../../../src/index.js';
import type { MemcachedProcess } from '../../support/memcached-process.js';
import { median, ratioOfRounds, tooWide, type Ratio, type Rounds } from '../measure.js';
import { range } from '../places.js';
import { isItem, type Ground } from './ground.js';

/** One outage after the other, of each server in turn. */
export interface Lost {
  readonly servers: number;
  readonly models: number;
  readonly lookups: number;
  readonly timeoutMs: number;
  readonly outages: number;
  /** Share of the lookups that asked the database, over all outages; and in which of them it was lowest and highest. */
  readonly share: { readonly mean: number; readonly lowest: number; readonly highest: number };
  /** Models of which every lookup asked the database: their table's generation was on the lost server. */
  readonly wholeTables: { readonly lowest: number; readonly highest: number };
  /** Of 64 lookups at once, the first ones of the outage: how many waited for the deadline. */
  readonly waited: { readonly lowest: number; readonly highest: number };
  /** Milliseconds until those were answered. */
  readonly firstMs: number;
  readonly ratios: readonly { readonly name: string; readonly ratio: Ratio | undefined; readonly spread: readonly [number, number] }[];
}

const rowsOfEach = 10;

/** Stops and continues each server in turn. */
export async function measureLostServer(
  ground: Ground,
  servers: readonly MemcachedProcess[],
  models: number,
  outages: number,
): Promise<Lost> {
  const timeoutMs = 250;
  const states = new Map<string, ServerStateChange['state']>();
  const side = ground.items(range(0, models - 1).map((at) => `small${String(at)}`), {
    servers: servers.map(({ address }) => address),
    prefix: 'lost',
    store: { timeoutMs, onStateChange: ({ server, state }) => void states.set(server, state) },
  });
  const plain = ground.plain('small0');
  const count = models * rowsOfEach;
  const get = async (at: number): Promise<void> => {
    const id = 1 + Math.floor(at / models);
    const row = await side.models[at % models]!.cache.get({ id });
    isItem(row, id);
  };
  const inTurn = async (run: (at: number) => Promise<void>, times: number): Promise<number[]> => {
    const taken: number[] = [];
    for (const at of range(0, times - 1)) {
      const began = performance.now();
      await run(at);
      taken.push((performance.now() - began) * 1000);
    }
    return taken;
  };
  const warm = async (): Promise<void> => {
    for (let from = 0; from < count; from += 200) await Promise.all(range(from, Math.min(count, from + 200) - 1).map(get));
  };
  const findOne = async (at: number): Promise<void> => {
    const id = 1 + (at % rowsOfEach);
    isItem(await plain.findOne({ where: { id } }), id);
  };

  const samples = { warm: [] as number[], findOne: [] as number[], first: [] as number[], hit: [] as number[], database: [] as number[] };
  const [shares, whole, waited]: [number[], number[], number[]] = [[], [], []];
  await warm();
  for (const outage of range(0, outages - 1)) {
    await warm();
    let sent = side.statements();
    await warm();
    assert.equal(side.statements() - sent, 0, 'warm lookups sent SQL');
    samples.warm.push(median(await inTurn(get, Math.min(count, 300))));
    samples.findOne.push(median(await inTurn(findOne, 60)));

    const server = servers[outage % servers.length]!;
    states.clear();
    server.pause();
    try {
      const first = await Promise.all(
        range(0, 63).map(async (at) => {
          const began = performance.now();
          await get(at % count);
          return (performance.now() - began) * 1000;
        }),
      );
      samples.first.push(Math.max(...first));
      waited.push(first.filter((time) => time > timeoutMs * 500).length);
      assert.equal(states.get(server.address), 'down', `${server.address} was stopped, and nobody noticed`);

      const [hits, fromDatabase]: [number[], number[]] = [[], []];
      const lostOf = new Map<number, number>();
      for (const at of range(0, count - 1)) {
        sent = side.statements();
        const began = performance.now();
        await get(at);
        const time = (performance.now() - began) * 1000;
        if (side.statements() === sent) hits.push(time);
        else {
          fromDatabase.push(time);
          lostOf.set(at % models, (lostOf.get(at % models) ?? 0) + 1);
        }
      }
      shares.push(fromDatabase.length / count);
      whole.push([...lostOf.values()].filter((lost) => lost === rowsOfEach).length);
      // Of a few rows, all or none may be there.
      if (hits.length > 0) samples.hit.push(median(hits));
      if (fromDatabase.length > 0) samples.database.push(median(fromDatabase));
    } finally {
      server.resume();
    }
    for (let waitedMs = 0; states.get(server.address) !== 'up'; waitedMs += 20) {
      assert.ok(waitedMs < 10_000, `${server.address} is back, and nobody noticed`);
      await sleep(20);
    }
  }

  const ratio = (name: string, of: keyof typeof samples, to: keyof typeof samples): Lost['ratios'][number] => {
    assert.equal(samples[of].length, samples[to].length, 'an outage of which nothing or everything was lost');
    const rounds = (which: keyof typeof samples): Rounds => samples[which].map((value) => [value]);
    const found = ratioOfRounds(rounds(of), rounds(to));
    return { name, ratio: tooWide(found) ? undefined : found, spread: [found.lowest, found.highest] };
  };
  const ends = (values: readonly number[]) => ({ lowest: Math.min(...values), highest: Math.max(...values) });
  return {
    servers: servers.length,
    models,
    lookups: count,
    timeoutMs,
    outages,
    share: { mean: shares.reduce((sum, share) => sum + share, 0) / shares.length, ...ends(shares) },
    wholeTables: ends(whole),
    waited: ends(waited),
    firstMs: median(samples.first) / 1000,
    ratios: [
      ratio('the first 64 lookups, until all are answered, against one warm lookup', 'first', 'warm'),
      ratio('the first 64 lookups, until all are answered, against findOne', 'first', 'findOne'),
      ratio('a lookup that the other servers answer, against a warm one', 'hit', 'warm'),
      ratio('a lookup that asks the database, against a warm one', 'database', 'warm'),
      ratio('a lookup that asks the database, against findOne', 'database', 'findOne'),
    ],
  };
}
