/**
 * Runs an example of several files: npm start (the demo), npm run blog [-- --mysql] [its other arguments]
 *
 * With --mysql on a memcached and a MariaDB server, the ones that the environment names or new ones.
 */
import { join } from 'node:path';

import { buildExamples } from './build.mjs';
import { withServers } from './provide-servers.mjs';
import { ensureInstalled, main, ROOT, runVisibly, talkOnStderr } from './tools.mjs';

await main(async () => {
  talkOnStderr();
  const [name = 'demo', ...args] = process.argv.slice(2);
  await ensureInstalled();
  await buildExamples();
  const example = [join(ROOT, 'build/examples', name, 'index.js'), ...args];
  if (!args.includes('--mysql')) return runVisibly(process.execPath, example, { terminal: true });
  return withServers({ flushLogAtCommit: 1 }, (env) => runVisibly(process.execPath, example, { env, terminal: true }));
});
