/** Real MariaDB (or MySQL) processes for tests that stop or kill one, or need it otherwise than shared. */
import type { MariadbOptions, MariadbServer } from '../../scripts/servers.mjs';

export type { MariadbOptions, MariadbServer };

/**
 * Starts a server of its own on a free loopback port, which takes one to three seconds. Call `stop()` at
 * the end of the test; should the process die before, the server goes with it.
 */
export async function startMariadb(options?: MariadbOptions): Promise<MariadbServer> {
  const servers = await import('../../scripts/servers.mjs');
  return servers.startMariadb(options);
}
