/** Runs cells until there are enough, shrinks those that differ, and says what was covered. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { MemoryStore } from '../../src/stores/memory.js';
import { memcachedStore } from '../support/backends.js';
import { axisNames, defaults, lineOf, valid, type AxisName, type Cell, type Stack } from './axes.js';
import { Cells, type Group } from './cells.js';
import { openDatabases } from './databases.js';
import { Difference, EarlyDifference, GroupRun, NothingToCompare, type Lab } from './group.js';
import { isRefusal } from './options.js';
import { writes } from './writes.js';

/** A cell in which the plugin differs from plain Sequelize. */
export interface Failure {
  readonly cell: Cell;
  readonly message: string;
}

export interface Coverage {
  readonly cells: number;
  readonly groups: number;
  /** Pairs of choices that were in a cell. */
  readonly pairs: number;
  /** Surroundings in which plain Sequelize does not work. */
  readonly nothingToCompare: readonly string[];
  readonly failures: readonly Failure[];
}

/** After so many different failures the rest says little more. */
const mostFailures = 5;

export async function openLab(stack: Stack): Promise<Lab & { close(): Promise<void> }> {
  const databases = await openDatabases(stack);
  // SQLite is for one process.
  const stores = stack === 'sqlite' ? [new MemoryStore()] : [memcachedStore(), memcachedStore()];
  return {
    databases,
    stores,
    async close() {
      for (const store of stores) await store.close();
      await databases.close();
    },
  };
}

/** Compares at least so many cells on one stack. */
export async function compareCells(lab: Lab, stack: Stack, seed: number, least: number): Promise<Coverage> {
  const cells = new Cells(seed, stack, Object.keys(writes));
  const failures = new Map<string, Failure>();
  const nothingToCompare: string[] = [];
  let compared = 0;
  let groups = 0;
  while (compared < least && failures.size < mostFailures) {
    const group = cells.next();
    groups += 1;
    try {
      for (const failure of await runGroup(lab, group)) {
        const kind = kindOf(failure.message);
        if (!failures.has(kind)) failures.set(kind, await shrink(lab, failure));
      }
      compared += group.writes.length;
    } catch (error) {
      if (!(error instanceof NothingToCompare)) throw error;
      nothingToCompare.push(`${lineOf({ ...group, write: 'any' })}: ${error.message}`);
    }
  }
  return { cells: compared, groups, pairs: cells.pairs, nothingToCompare, failures: [...failures.values()] };
}

/** Compares one cell. */
export async function compareCell(lab: Lab, { stack, surroundings, write }: Cell): Promise<Failure | undefined> {
  const [failure] = await runGroup(lab, { stack, surroundings, writes: [write] });
  return failure;
}

/** Compares the cells of a group. After a difference the databases may differ too, so the rest has new ones. */
export async function runGroup(lab: Lab, group: Group): Promise<Failure[]> {
  const { stack, surroundings } = group;
  const failures: Failure[] = [];
  const left = [...group.writes];
  while (left.length > 0) {
    const watch = watchProcess();
    let write = left[0] as string;
    let run: GroupRun | undefined;
    try {
      run = await GroupRun.open(lab, group);
      for (; left.length > 0; left.shift()) {
        write = left[0] as string;
        await run.compare(write);
        watch.check();
      }
    } catch (error) {
      if (error instanceof NothingToCompare && run === undefined) throw error;
      const message = error instanceof Difference ? `${error.message}${causeOf(error)}` : `fails: ${error instanceof Error ? String(error.stack) : String(error)}`;
      failures.push({ cell: { stack, surroundings, write }, message });
      left.shift();
      // What cannot be set up or read fails for every write.
      if (run === undefined || error instanceof EarlyDifference) left.length = 0;
    } finally {
      watch.end();
      await run?.close();
    }
  }
  return failures;
}

const causeOf = ({ cause }: Error): string => (cause instanceof Error ? `\n${String(cause.stack)}` : '');

/** Failures with the same kind are taken for one fault: its message without values. */
const kindOf = (message: string): string => (message.split('\n')[0] ?? '').replace(/["'`{[(].*$/, '').replace(/\d+/g, '#').slice(0, 60);

/** Sets axes back to their default, one after the other, as long as the cell still fails. */
export async function shrink(lab: Lab, failure: Failure): Promise<Failure> {
  let least = failure;
  const stillFails = async (names: readonly AxisName[]): Promise<boolean> => {
    const surroundings = { ...least.cell.surroundings, ...Object.fromEntries(names.map((name) => [name, defaults[name]])) };
    const cell = { ...least.cell, surroundings: valid(least.cell.stack, surroundings) };
    const found = await compareCell(lab, cell).catch((error: unknown) => {
      if (error instanceof NothingToCompare) return undefined;
      throw error;
    });
    if (found !== undefined) least = found;
    return found !== undefined;
  };
  // Alone it may succeed: it needs the cells before it then.
  if (!(await stillFails([]))) return { ...failure, message: `${failure.message}\n(only after other cells of its group)` };
  const changed = (): AxisName[] => axisNames.filter((name) => least.cell.surroundings[name] !== defaults[name]);
  for (let size = Math.ceil(changed().length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let at = 0; at < changed().length; ) {
      const removed = changed().slice(at, at + size);
      if (!(await stillFails(removed))) at += size;
    }
  }
  return least;
}

/** Notices what a process says beside its answers: warnings and rejections that nobody handles. */
function watchProcess(): { check(): void; end(): void } {
  const noticed: string[] = [];
  const notice = (reason: unknown): void => {
    noticed.push(reason instanceof Error ? String(reason.stack) : String(reason));
  };
  const onStoreError = (message: unknown): void => {
    const { cause } = message as { readonly cause: unknown };
    // What the suite itself refuses of the plugin's own statements is rightly told.
    if (!isRefusal(cause)) notice(cause);
  };
  process.on('warning', notice);
  // The test runner would end the whole test, and not say which cell it was.
  const others = process.listeners('unhandledRejection');
  process.removeAllListeners('unhandledRejection');
  process.on('unhandledRejection', notice);
  subscribe('sequelize-flash:error', onStoreError);
  return {
    check() {
      if (noticed.length > 0) throw new Difference(`the process says: ${noticed.splice(0).join('\n')}`);
    },
    end() {
      process.off('warning', notice);
      process.off('unhandledRejection', notice);
      for (const other of others) process.on('unhandledRejection', other);
      unsubscribe('sequelize-flash:error', onStoreError);
    },
  };
}
