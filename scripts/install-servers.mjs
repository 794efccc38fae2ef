/** Installs memcached and MariaDB with the system's package manager, where that needs nobody's password. */
import { spawnSync } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { join } from 'node:path';

import { findBinaries, serverFolders } from './servers.mjs';
import { say, step } from './tools.mjs';

/**
 * @typedef {object} PackageManager
 * @property {string} command
 * @property {boolean} root whether it must run as root
 * @property {string} script for /bin/sh
 */

// A distribution may start a server that it installs. policy-rc.d tells Debian's packages not to; it is
// put there only if there is none, and removed whatever happens. A server that runs already is left alone.
// mariadb-server-core is the server without its service; older releases have it in mariadb-server only.
const APT = `
set -e
export DEBIAN_FRONTEND=noninteractive
if [ ! -e /usr/sbin/policy-rc.d ]; then
  trap 'rm -f /usr/sbin/policy-rc.d' EXIT
  trap 'exit 1' HUP INT TERM
  printf '#!/bin/sh\\nexit 101\\n' > /usr/sbin/policy-rc.d
  chmod +x /usr/sbin/policy-rc.d
fi
apt-get -q -o DPkg::Lock::Timeout=120 update
server=mariadb-server
if apt-cache show mariadb-server-core >/dev/null 2>&1; then server="mariadb-server-core mariadb-client-core"; fi
apt-get -q -y -o DPkg::Lock::Timeout=120 --no-install-recommends install memcached $server
# The proxy twemproxy, for its tests only; not every release has it.
apt-get -q -y -o DPkg::Lock::Timeout=120 --no-install-recommends install nutcracker || true
`;

/** @type {PackageManager[]} */
const PACKAGE_MANAGERS = [
  { command: 'apt-get', root: true, script: APT },
  { command: 'dnf', root: true, script: 'dnf -q -y install memcached mariadb-server && { dnf -q -y install twemproxy || true; }' },
  { command: 'apk', root: true, script: 'apk add --no-cache --quiet memcached mariadb' },
  { command: 'brew', root: false, script: 'brew install --quiet memcached mariadb && { brew install --quiet twemproxy || true; }' },
];

/**
 * Makes sure that both servers are installed.
 * @returns {Promise<boolean>} whether they are; the reason why not has been printed then
 */
export async function ensureServers() {
  if (missing().length === 0) return true;

  const manager = PACKAGE_MANAGERS.find(({ command }) => isInstalled(command));
  const run = manager && commandFor(manager);
  if (!manager || !run) {
    say(
      `The tests need ${missing().join(' and ')}. Install it with your package manager ` +
        '(Debian and Ubuntu: apt-get install memcached mariadb-server-core mariadb-client-core; ' +
        'Fedora: dnf install memcached mariadb-server; Alpine: apk add memcached mariadb; ' +
        'macOS: brew install memcached mariadb) and run this again.',
    );
    return false;
  }

  const [file, ...args] = run;
  const result = await step(`${manager.command} install ${missing().join(', ')}`, () =>
    spawnSync(file, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }),
  );
  if (missing().length === 0) return true;
  say(`${result.stdout}${result.stderr}`.trimEnd());
  say(`${manager.command} did not install ${missing().join(' and ')}.`);
  return false;
}

function missing() {
  const { memcached, mysqld } = findBinaries();
  return [...(memcached ? [] : ['memcached']), ...(mysqld ? [] : ['a MariaDB or MySQL server'])];
}

/**
 * @param {PackageManager} manager
 * @returns {[string, ...string[]] | undefined} undefined if it may not be run
 */
function commandFor({ root, script }) {
  const isRoot = process.getuid?.() === 0;
  // Homebrew refuses to run as root; the others need it.
  if (root === isRoot) return ['/bin/sh', '-c', script];
  if (!root) return undefined;
  const mayUseSudo = spawnSync('sudo', ['-n', 'true'], { stdio: 'ignore' }).status === 0;
  return mayUseSudo ? ['sudo', '-n', '/bin/sh', '-c', script] : undefined;
}

/** @param {string} command */
function isInstalled(command) {
  return serverFolders().some((folder) => {
    try {
      accessSync(join(folder, command), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
