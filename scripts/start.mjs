/**
 * Runs the demo: npm start [-- --mysql] [arguments of the demo]
 *
 * With --mysql on a memcached and a MariaDB server, the ones that the environment names or new ones.
 */
import { join } from 'node:path';

import { buildExamples } from './build.mjs';
import { withServers } from './provide-servers.mjs';
import { ensureInstalled, main, ROOT, runVisibly, talkOnStderr } from './tools.mjs';

await main(async () => {
  talkOnStderr();
  const args = process.argv.slice(2);
  await ensureInstalled();
  await buildExamples();
  const demo = [join(ROOT, 'build/examples/demo/index.js'), ...args];
  if (!args.includes('--mysql')) return runVisibly(process.execPath, demo, { terminal: true });
  return withServers({ flushLogAtCommit: 1 }, (env) => runVisibly(process.execPath, demo, { env, terminal: true }));
});
