/** Runs the torture on servers of its own: npm run torture [-- --seconds N --seed S] */
import { delimiter, join } from 'node:path';

import { buildTests } from './build.mjs';
import { ensureServers } from './install-servers.mjs';
import { serverFolders } from './servers.mjs';
import { ensureInstalled, Failure, main, ROOT, runVisibly, talkOnStderr } from './tools.mjs';

await main(async () => {
  talkOnStderr();
  await ensureInstalled();
  await buildTests();
  if (!(await ensureServers())) throw new Failure('');
  const torture = [join(ROOT, 'build/test/torture/index.js'), ...process.argv.slice(2)];
  // It starts, stops and kills them itself, and finds the binaries where we found them.
  return runVisibly(process.execPath, torture, { env: { PATH: [...new Set(serverFolders())].join(delimiter) } });
});
