/** Another writer, started at a chosen moment of a write and given its chance before the write goes on. */
import assert from 'node:assert/strict';
import { QueryTypes, type QueryOptions, type Sequelize } from 'sequelize';

/** What the hooks that stand before set-up do next, by instance. */
const first = new WeakMap<Sequelize, () => Promise<void>>();

/** To be called before `setupCache`: from then on `beforeOurs` can act before the plugin's own hook does. */
export function prepareRaces(sequelize: Sequelize): void {
  sequelize.addHook('beforeQuery', async (options: QueryOptions & { readonly type?: string }) => {
    const act = first.get(sequelize);
    if (act === undefined || !isWrite(options)) return;
    first.delete(sequelize);
    await act();
  });
}

const isWrite = ({ type }: { readonly type?: string }): boolean => /^(INSERT|UPDATE|BULKUPDATE|DELETE|BULKDELETE)$/.test(type ?? '');

/** `other` acts after the statement was sent for, before the plugin has read anything. */
export async function beforeOurs(sequelize: Sequelize, other: () => Promise<unknown>, write: () => Promise<unknown>): Promise<void> {
  let acted = false;
  first.set(sequelize, async () => {
    acted = true;
    await other();
  });
  await write();
  assert.ok(acted, 'the other writer had its turn');
}

/**
 * `other` acts after the plugin has read what it needs, before the statement runs: it finishes, or
 * the database lets it wait. Resolves when both are done.
 */
export async function betweenReadAndWrite(
  sequelize: Sequelize,
  watcher: Sequelize,
  other: () => Promise<unknown>,
  write: () => Promise<unknown>,
): Promise<'finished before' | 'waited'> {
  let theirs: Promise<unknown> | undefined;
  let watching: Promise<'waited'> | undefined;
  let outcome: 'finished before' | 'waited' | undefined;
  // The plugin's turn is after the hooks, so that what it puts around the sending of the statement lies outside of this.
  sequelize.addHook('beforeQuery', 'test-race', (options: QueryOptions & { readonly type?: string }, query: object) => {
    if (theirs !== undefined || !isWrite(options)) return;
    const run = Reflect.get(query, 'run') as (this: unknown, ...args: unknown[]) => Promise<unknown>;
    Reflect.set(query, 'run', async (...args: unknown[]) => {
      if (theirs === undefined) {
        theirs = other();
        watching = waits(watcher, () => outcome !== undefined);
        outcome = await Promise.race([theirs.then(() => 'finished before' as const), watching]);
      }
      return run.apply(query, args);
    });
  });
  try {
    await write();
  } finally {
    sequelize.removeHook('beforeQuery', 'test-race');
    await theirs;
    // Its statements would be counted as the next path's.
    await watching;
  }
  assert.ok(outcome, 'the other writer had its turn');
  return outcome;
}

/** Resolves when the database says that somebody waits for a lock. */
async function waits(sequelize: Sequelize, isOver: () => boolean): Promise<'waited'> {
  for (;;) {
    const rows = await sequelize.query("SELECT 1 FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'", {
      type: QueryTypes.SELECT,
      transaction: null,
    });
    if (rows.length > 0) return 'waited';
    // The table is a copy that is renewed only if nobody looked at it for a tenth of a second.
    await new Promise((resolve) => setTimeout(resolve, 120));
    if (isOver()) return 'waited';
  }
}
