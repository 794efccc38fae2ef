/** What a memcached server says of itself. */
import type { MemcachedProcess } from '../../support/memcached-process.js';

/** Some of `stats` and `stats slabs`. */
export interface ServerStats {
  readonly items: number;
  /** Of the items: keys, values and memcached's own header of each. */
  readonly bytes: number;
  /** What was taken from the system for items, in whole pages: what `-m` has to allow. */
  readonly allocated: number;
  readonly evictions: number;
  readonly connections: number;
  /** Processor time so far, in microseconds. */
  readonly cpu: number;
}

/** Asks a server. */
export async function statsOf(server: MemcachedProcess): Promise<ServerStats> {
  const found = figuresIn((await server.command('stats\r\n')) + (await server.command('stats slabs\r\n')));
  const figure = (name: string): number => {
    const value = found.get(name);
    if (value === undefined) throw new Error(`memcached ${server.address} has no figure '${name}'.`);
    return value;
  };
  return {
    items: figure('curr_items'),
    bytes: figure('bytes'),
    allocated: figure('total_malloced'),
    evictions: figure('evictions'),
    connections: figure('curr_connections'),
    cpu: Math.round((figure('rusage_user') + figure('rusage_system')) * 1e6),
  };
}

/** The numbers of `STAT name number` lines. */
export function figuresIn(reply: string): ReadonlyMap<string, number> {
  return new Map(Array.from(reply.matchAll(/^STAT (\S+) (-?\d+(?:\.\d+)?)\r?$/gm), ([, name = '', value]) => [name, Number(value)]));
}
