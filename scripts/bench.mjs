/** Runs the benchmarks on real servers: npm run bench [-- deadlocks] [-- arguments of the benchmarks] */
import { join } from 'node:path';

import { buildTests } from './build.mjs';
import { withServers } from './provide-servers.mjs';
import { ensureInstalled, main, ROOT, runVisibly, talkOnStderr } from './tools.mjs';

await main(async () => {
  talkOnStderr();
  await ensureInstalled();
  await buildTests();
  const args = process.argv.slice(2);
  const deadlocks = args[0] === 'deadlocks';
  // Heap is compared before and after full collections.
  const bench = ['--expose-gc', join(ROOT, 'build/test/bench', deadlocks ? 'deadlocks.js' : 'index.js'), ...args.slice(deadlocks ? 1 : 0)];
  // Every commit reaches the disk, as in production. The database has memory for a million rows.
  return withServers({ flushLogAtCommit: 1, bufferPoolMb: 512 }, (env) => runVisibly(process.execPath, bench, { env }));
});
