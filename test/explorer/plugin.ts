/** The compiled plugin from a folder: as it was built, or broken on purpose. */
import { createRequire } from 'node:module';
import { join } from 'node:path';
import type { Plugin } from './live-process.js';

const load = createRequire(__filename);

/** Where the sources are compiled to, beside the tests. */
export const builtSources = join(__dirname, '..', '..', 'src');

export const pluginFrom = (folder: string): Plugin => ({
  ...(load(join(folder, 'index.js')) as Pick<Plugin, 'setupCache' | 'withCache'>),
  ...(load(join(folder, 'caches', 'registry.js')) as Pick<Plugin, 'registryOf'>),
  ...(load(join(folder, 'errors.js')) as Pick<Plugin, 'StoreTimeoutError'>),
  clock: load(join(folder, 'clock.js')) as Plugin['clock'],
});
