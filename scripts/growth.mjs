/** Runs the benchmark of growth on real servers: npm run growth [-- arguments of the benchmark] */
import { join } from 'node:path';

import { buildTests } from './build.mjs';
import { withServers } from './provide-servers.mjs';
import { ensureInstalled, main, ROOT, runVisibly, talkOnStderr } from './tools.mjs';

await main(async () => {
  talkOnStderr();
  await ensureInstalled();
  await buildTests();
  const growth = [join(ROOT, 'build/test/bench/growth/index.js'), ...process.argv.slice(2)];
  // It starts memcached servers itself. The database has memory for its million rows.
  return withServers({ flushLogAtCommit: 1, bufferPoolMb: 512 }, (env) => runVisibly(process.execPath, growth, { env }));
});
