/** Gives a program servers: those that the environment names, otherwise new ones for the time that it runs. */
import { delimiter } from 'node:path';

import { ensureServers } from './install-servers.mjs';
import { serverFolders, startMariadb, startMemcached } from './servers.mjs';
import { Failure, say, step } from './tools.mjs';

const MEMCACHED = 'SEQUELIZE_FLASH_MEMCACHED';
const MYSQL = 'SEQUELIZE_FLASH_MYSQL_URL';

/**
 * @param {import('./servers.mjs').MariadbOptions} mariadbOptions
 * @param {(env: Record<string, string>) => Promise<number>} body gets the variables to run its programs with
 * @returns {Promise<number>} what `body` resolved to
 */
export async function withServers(mariadbOptions, body) {
  const given = { memcached: process.env[MEMCACHED], mysql: process.env[MYSQL] };
  // Tests that stop servers start their own, even if shared ones are given; only those fail without.
  if (!(await ensureServers()) && !(given.memcached && given.mysql)) throw new Failure('');

  // The programs find the binaries where we found them.
  const env = { PATH: [...new Set(serverFolders())].join(delimiter) };
  /** @type {import('./servers.mjs').Server[]} */
  const started = [];
  try {
    if (given.memcached) say(`memcached from the environment: ${given.memcached}`);
    else {
      const memcached = await startMemcached();
      started.push(memcached);
      Object.assign(env, { [MEMCACHED]: memcached.address });
    }
    if (given.mysql) say(`database from the environment: ${withoutPassword(given.mysql)}`);
    else {
      const mariadb = await step('servers', () => startMariadb(mariadbOptions));
      started.push(mariadb);
      Object.assign(env, { [MYSQL]: mariadb.url });
    }
    return await body(env);
  } finally {
    await Promise.all(started.map((server) => server.stop()));
  }
}

/** @param {string} url */
function withoutPassword(url) {
  return url.replace(/:[^:@/]*@/, ':…@');
}
