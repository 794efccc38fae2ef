/**
 * The protocol, broken on purpose: changes to a copy of the compiled plugin, so that no hook for
 * them has to exist in it. Each replaces a text that has to occur exactly once; where the sources
 * have changed, the text here has to follow.
 */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Plugin } from './live-process.js';
import { builtSources, pluginFrom } from './plugin.js';
import type { Scenario } from './world.js';

/** A text of a compiled file, and what takes its place. */
interface Edit {
  readonly file: string;
  readonly replace: string;
  readonly by: string;
}

/** One way to break it. */
export interface Break {
  readonly name: string;
  readonly edits: readonly Edit[];
  /** Where it shows. */
  readonly scenario: Omit<Scenario, 'name'>;
  /** What it breaks. */
  readonly promises: readonly string[];
}

const oneWriter = { before: ['read 1', 'save 1'], processes: [[['save 1']], [['read 1']]], inOrder: true } as const;
const twoWriters = { before: ['read 1'], processes: [[['save 1']], [['save 1']], [['read 1']]], inOrder: true } as const;

export const breaks: readonly Break[] = [
  {
    name: 'a fill does not check its lease',
    edits: [
      {
        file: 'coherence/read-leases.js',
        replace: `fill(key, lease, seen, value, seconds) {
        if (seen.state !== 'lease' || seen.text !== lease)`,
        by: `fill(key, lease, seen, value, seconds) {
        if (!('token' in seen))`,
      },
    ],
    // It fills over a marker; the writer's release would still void that, so it has to crash.
    scenario: { ...oneWriter, faults: ['crash'] },
    promises: ['P4'],
  },
  {
    name: 'a marker is deleted, whosever it has become, in place of compare-and-swap and compare-and-delete',
    edits: [
      {
        file: 'coherence/coherence.js',
        replace: `return rest.length === 0
            ? this.#store.compareAndDelete(key, seen.token)
            : this.#store.compareAndSwap(`,
        by: `return true
            ? this.#store.delete(key).then(() => true)
            : this.#store.compareAndSwap(`,
      },
    ],
    // The other writer's own release would still void what was filled in between: it has to crash.
    scenario: { ...twoWriters, faults: ['crash'] },
    promises: ['P4'],
  },
  {
    name: 'a writer releases the markers of others',
    edits: [{ file: 'coherence/coherence.js', replace: `const rest = seen.writers.filter((other) => other !== writer);`, by: `const rest = [];` }],
    scenario: { ...twoWriters, faults: ['crash'] },
    promises: ['P4'],
  },
  {
    name: 'a load in flight is shared without a look',
    edits: [
      {
        file: 'lookups/loader.js',
        replace: `if (asked === undefined)
            return 'fresh';`,
        by: `return 'fresh';`,
      },
    ],
    scenario: { ...oneWriter, processes: [[['save 1']], [['read 1'], ['read 1']]], lateReplies: true },
    promises: ['P1'],
  },
  {
    name: 'a read inside a transaction fills the cache',
    edits: [
      {
        file: 'caches/registry.js',
        replace: `return readThrough(cache, values, transaction);
        }
        const reason`,
        by: `this.sequelize.readsIn = transaction;
            return this.reader.load(cache, values, 'read');
        }
        const reason`,
      },
      {
        file: 'models/finder.js',
        replace: `return [await findFirst(cached, question, only, exports.readOptions)];`,
        by: `return [await findFirst(cached, question, only, { ...exports.readOptions, transaction: cached.model.sequelize.readsIn ?? null })];`,
      },
    ],
    scenario: { ...oneWriter, processes: [[['rolled back: save 1, read 1']], [['read 1']]] },
    promises: ['P2'],
  },
  {
    name: 'a read inside a transaction is answered by the cache',
    edits: [{ file: 'caches/registry.js', replace: `if (transaction != null) {`, by: `if (transaction != null && cache === undefined) {` }],
    scenario: { ...oneWriter, before: ['read 1'], processes: [[['transaction: save 1, read 1']], [['read 1']]] },
    promises: ['P3'],
  },
  {
    name: 'a row found by another key is filled although a write was finished meanwhile',
    edits: [{ file: 'lookups/fill.js', replace: `epoch !== undefined && epoch === load.epoch && body`, by: `body` }],
    scenario: { ...oneWriter, processes: [[['save 1']], [['read a']]] },
    promises: ['P1'],
  },
  {
    name: 'markers are taken away before the database commits',
    edits: [
      {
        file: 'hooks/statements.js',
        replace: `await write.mark(effects.affected);
        }
        catch (refused)`,
        by: `await write.mark(effects.affected);
            await write.release();
        }
        catch (refused)`,
      },
    ],
    scenario: { ...oneWriter, processes: [[['transaction: save 1']], [['read 1']]], faults: ['crash'] },
    promises: ['P4'],
  },
];

/** The plugin, broken; `remove` deletes the copy. */
export function broken({ edits }: Break): { readonly plugin: Plugin; remove(): void } {
  // Beside the build, where the packages that it needs are found.
  const folder = mkdtempSync(join(dirname(builtSources), 'broken-'));
  cpSync(builtSources, folder, { recursive: true, filter: (path) => !path.endsWith('.map') });
  for (const { file, replace, by } of edits) {
    const path = join(folder, file);
    const source = readFileSync(path, 'utf8');
    if (source.split(replace).length !== 2) {
      rmSync(folder, { recursive: true });
      throw new Error(`This does not occur exactly once in ${file}, so the break has to follow the source: ${replace}`);
    }
    writeFileSync(path, source.replace(replace, () => by));
  }
  return {
    plugin: pluginFrom(folder),
    remove: () => {
      rmSync(folder, { recursive: true });
    },
  };
}
