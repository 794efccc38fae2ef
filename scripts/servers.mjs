/**
 * Starts throw-away memcached and MariaDB (or MySQL) servers on free loopback ports.
 *
 * Each server has its own temporary directory and its own process group. It ends with `stop()`, and
 * also when the process that started it ends in any way, `kill -9` included: a small shell waits
 * for the end of the pipe from that process and then kills the server and removes its directory.
 */
import { spawn, spawnSync } from 'node:child_process';
import { accessSync, closeSync, constants, existsSync, openSync, readFileSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const HOST = '127.0.0.1';
const START_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 20_000;

/** Where servers live beside the PATH: Debian's sbin, Fedora's libexec, Homebrew, MySQL's own packages. */
const EXTRA_FOLDERS = [
  '/usr/sbin',
  '/usr/local/sbin',
  '/usr/local/bin',
  '/usr/libexec',
  '/opt/homebrew/bin',
  '/opt/homebrew/opt/mariadb/bin',
  '/opt/homebrew/opt/mysql/bin',
  '/opt/homebrew/opt/memcached/bin',
  '/usr/local/opt/mariadb/bin',
  '/usr/local/opt/mysql/bin',
  '/usr/local/mysql/bin',
];

/**
 * @typedef {object} Binaries
 * @property {string | undefined} memcached
 * @property {string | undefined} nutcracker the proxy twemproxy; without it, its tests are reported as not run
 * @property {string | undefined} mysqld `mariadbd`, or `mysqld` of MariaDB or MySQL
 */

/**
 * @typedef {object} MemcachedOptions
 * @property {number} [port] default: a free one
 * @property {number} [memoryMb] default 64
 * @property {string[]} [args] further command line arguments
 */

/**
 * @typedef {object} MariadbOptions
 * @property {number} [port] default: a free one
 * @property {0 | 1 | 2} [flushLogAtCommit] innodb_flush_log_at_trx_commit; default 2, which is fast; 1 is what
 * a server in production has
 * @property {number} [bufferPoolMb] default 64
 * @property {string[]} [args] further command line arguments; they override the ones given here
 */

/**
 * @typedef {object} Server
 * @property {number} port
 * @property {number} pid of the server process that runs now, or ran last
 * @property {() => Promise<void>} stop ends the server in order and removes its files; harmless when repeated
 * @property {() => Promise<void>} kill `kill -9`; the files stay, for `restart()`
 * @property {() => Promise<void>} restart starts it again on the same port and files; stops it before if it runs
 */

/** @typedef {Server & { address: string }} MemcachedServer `address` is `host:port` */
/** @typedef {Server & { url: string }} MariadbServer `url` is `mysql://user:password@host:port/`, of a user with all rights */

/**
 * The folders in which servers are looked for.
 * @returns {string[]}
 */
export function serverFolders() {
  const path = (process.env.PATH ?? '').split(delimiter).filter(Boolean);
  return [...path, ...EXTRA_FOLDERS];
}

/** @returns {Binaries} */
export function findBinaries() {
  return { memcached: find('memcached'), nutcracker: find('nutcracker'), mysqld: find('mariadbd') ?? find('mysqld') };
}

/**
 * @param {MemcachedOptions} [options]
 * @returns {Promise<MemcachedServer>}
 */
export async function startMemcached(options = {}) {
  const binary = required(findBinaries().memcached, 'memcached');
  const directory = await makeDirectory();
  const server = await startServer({
    name: 'memcached',
    directory,
    port: options.port,
    binary,
    args: (port) => [
      ...['-l', HOST, '-p', String(port), '-U', '0', '-m', String(options.memoryMb ?? 64)],
      // memcached refuses to run as root unless told so.
      ...(isRoot() ? ['-u', 'root'] : []),
      ...(options.args ?? []),
    ],
    check: memcachedAnswers,
  });
  return Object.assign(server, { address: `${HOST}:${server.port}` });
}

/**
 * Takes one to three seconds.
 * @param {MariadbOptions} [options]
 * @returns {Promise<MariadbServer>}
 */
export async function startMariadb(options = {}) {
  const binary = required(findBinaries().mysqld, 'mariadbd (or mysqld)');
  const directory = await makeDirectory();
  const data = join(directory, 'data');
  const initFile = join(directory, 'init.sql');
  const user = { name: 'flash', password: 'flash' };
  try {
    await mkdir(join(directory, 'tmp'));
    await writeFile(
      initFile,
      `CREATE USER IF NOT EXISTS '${user.name}'@'${HOST}' IDENTIFIED BY '${user.password}';\n` +
        `GRANT ALL PRIVILEGES ON *.* TO '${user.name}'@'${HOST}' WITH GRANT OPTION;\n`,
    );
    createDataFiles(binary, data);
    const url = (/** @type {number} */ port) => `mysql://${user.name}:${user.password}@${HOST}:${port}/`;
    const server = await startServer({
      name: 'MariaDB',
      directory,
      port: options.port,
      binary,
      args: (port) => [
        '--no-defaults',
        `--datadir=${data}`,
        `--tmpdir=${join(directory, 'tmp')}`,
        `--socket=${join(directory, 's')}`,
        `--pid-file=${join(directory, 'pid')}`,
        `--port=${port}`,
        `--bind-address=${HOST}`,
        '--skip-networking=0',
        '--skip-name-resolve',
        `--init-file=${initFile}`,
        ...asRoot(),
        // As Debian sets it: the collation that ignores case, accents and trailing spaces.
        '--character-set-server=utf8mb4',
        '--collation-server=utf8mb4_general_ci',
        '--max-connections=400',
        `--innodb-flush-log-at-trx-commit=${options.flushLogAtCommit ?? 2}`,
        `--innodb-buffer-pool-size=${options.bufferPoolMb ?? 64}M`,
        '--loose-innodb-buffer-pool-dump-at-shutdown=0',
        '--loose-innodb-buffer-pool-load-at-startup=0',
        '--skip-log-bin',
        '--loose-performance-schema=0',
        '--loose-mysqlx=0',
        ...(options.args ?? []),
      ],
      check: (port) => mysqlAnswers(url(port)),
    });
    return Object.assign(server, { url: url(server.port) });
  } catch (error) {
    await remove(directory);
    throw error;
  }
}

// ---- One server process ----------------------------------------------------------------------

/**
 * @typedef {object} Launch
 * @property {string} name
 * @property {string} directory
 * @property {number | undefined} port
 * @property {string} binary
 * @property {(port: number) => string[]} args
 * @property {(port: number) => Promise<void>} check rejects as long as the server does not answer
 */

/**
 * @param {Launch} launch
 * @returns {Promise<Server>}
 */
async function startServer(launch) {
  // Someone else may take a free port before the server does, so one is chosen anew then.
  const attempts = launch.port === undefined ? 3 : 1;
  for (let attempt = 1; ; attempt++) {
    const port = launch.port ?? (await freePort());
    try {
      return controls(launch, port, await launchProcess(launch, port));
    } catch (error) {
      if (attempt < attempts && /address already in use/i.test(String(error))) continue;
      await remove(launch.directory);
      throw error;
    }
  }
}

/**
 * @param {Launch} launch
 * @param {number} port
 * @param {RunningProcess} first
 * @returns {Server}
 */
function controls(launch, port, first) {
  let running = first;
  let stopped = false;
  return {
    port,
    get pid() {
      return running.pid;
    },
    async stop() {
      if (stopped) return;
      stopped = true;
      await running.end('SIGTERM');
      await remove(launch.directory);
    },
    async kill() {
      await running.end('SIGKILL');
    },
    async restart() {
      if (stopped) throw new Error(`${launch.name} was stopped; start a new one.`);
      await running.end('SIGTERM');
      running = await launchProcess(launch, port);
    },
  };
}

/**
 * @typedef {object} RunningProcess
 * @property {number} pid
 * @property {(signal: 'SIGTERM' | 'SIGKILL') => Promise<void>} end resolves when the process is gone
 */

/**
 * @param {Launch} launch
 * @param {number} port
 * @returns {Promise<RunningProcess>}
 */
async function launchProcess(launch, port) {
  const log = join(launch.directory, 'server.log');
  const output = openSync(log, 'w');
  const child = spawn(launch.binary, launch.args(port), {
    cwd: launch.directory,
    detached: true,
    stdio: ['ignore', output, output],
  });
  closeSync(output);
  child.unref();

  /** @type {Promise<string>} */
  const exited = new Promise((resolve) => {
    child.once('error', (error) => resolve(error.message));
    child.once('exit', (code, signal) => resolve(signal ?? `exit code ${code}`));
  });
  let end = '';
  void exited.then((reason) => (end = reason));

  const pid = child.pid;
  if (pid === undefined) throw new Error(`${launch.binary} cannot be started: ${await exited}`);
  const guard = guardProcess(pid, launch.directory);

  /** @param {'SIGTERM' | 'SIGKILL'} signal */
  const stop = async (signal) => {
    if (!end) child.kill(signal);
    if (!(await within(STOP_TIMEOUT_MS, () => end !== ''))) {
      child.kill('SIGKILL');
      await within(STOP_TIMEOUT_MS, () => end !== '');
    }
    guard.dismiss();
  };

  /** @type {unknown} */
  let lastError;
  const ready = await within(START_TIMEOUT_MS, async () => {
    if (end) return true;
    try {
      await launch.check(port);
      return true;
    } catch (error) {
      lastError = error;
      return false;
    }
  });
  if (ready && !end) return { pid, end: stop };

  const reason = end ? `ended with ${end}` : `did not answer within ${START_TIMEOUT_MS / 1000} s`;
  await stop('SIGKILL');
  throw new Error(`${launch.name} ${reason}. Its log:\n${tail(log)}`, { cause: lastError });
}

/**
 * Kills the server and removes its files when this process ends without having called `dismiss()`.
 * @param {number} pid
 * @param {string} directory
 */
function guardProcess(pid, directory) {
  const script =
    'trap "" HUP INT TERM; if read -r _; then exit 0; fi; kill -9 "$1" 2>/dev/null; sleep 0.3; rm -rf "$2"';
  const shell = spawn('/bin/sh', ['-c', script, 'guard', String(pid), directory], {
    cwd: '/',
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  shell.unref();
  const pipe = shell.stdin;
  // The pipe must not keep this process alive; underneath it is a socket.
  if (pipe instanceof net.Socket) pipe.unref();
  pipe.on('error', () => undefined);
  return {
    dismiss() {
      pipe.end('dismissed\n');
    },
  };
}

// ---- memcached and MariaDB -------------------------------------------------------------------

/**
 * @param {string} mysqld
 * @param {string} data the folder to create
 */
function createDataFiles(mysqld, data) {
  const version = spawnSync(mysqld, ['--no-defaults', '--version'], { encoding: 'utf8' }).stdout;
  const [command, args] = /mariadb/i.test(version)
    ? [
        required(find('mariadb-install-db', dirname(mysqld)) ?? find('mysql_install_db'), 'mariadb-install-db'),
        ['--no-defaults', '--auth-root-authentication-method=normal', '--skip-test-db', '--skip-name-resolve'],
      ]
    : [mysqld, ['--no-defaults', '--initialize-insecure']];
  const result = spawnSync(command, [...args, `--datadir=${data}`, ...asRoot()], {
    encoding: 'utf8',
    cwd: '/',
  });
  if (result.status === 0) return;
  const output = `${result.stdout}\n${result.stderr}`.trim();
  throw new Error(`${command} failed:\n${result.error?.message ?? output}`);
}

/** @param {string} url */
async function mysqlAnswers(url) {
  const { createConnection } = await import('mysql2/promise');
  const connection = await createConnection({ uri: url, connectTimeout: 2_000 });
  try {
    await connection.query('SELECT 1');
  } finally {
    await connection.end();
  }
}

/**
 * @param {number} port
 * @returns {Promise<void>}
 */
function memcachedAnswers(port) {
  return new Promise((resolve, reject) => {
    const socket = net.connect(port, HOST, () => socket.write('version\r\n'));
    socket.setTimeout(2_000, () => socket.destroy(new Error('memcached does not answer')));
    socket.once('data', () => {
      resolve();
      socket.destroy();
    });
    socket.once('error', reject);
    socket.once('close', () => reject(new Error('memcached closed the connection')));
  });
}

// ---- Helpers ---------------------------------------------------------------------------------

/**
 * @param {string} name
 * @param {...string} first folders to look into before all others
 * @returns {string | undefined}
 */
function find(name, ...first) {
  return [...first, ...serverFolders()].map((folder) => join(folder, name)).find(isExecutable);
}

/** @param {string} file */
function isExecutable(file) {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/**
 * @param {string | undefined} file
 * @param {string} name
 */
function required(file, name) {
  if (file !== undefined) return file;
  throw new Error(`${name} is not installed, or not in one of: ${serverFolders().join(', ')}`);
}

function isRoot() {
  return process.getuid?.() === 0;
}

/** The database refuses to run as root unless told so. */
function asRoot() {
  return isRoot() ? ['--user=root'] : [];
}

function makeDirectory() {
  // Short, because a socket's path in it may have little more than a hundred characters.
  return mkdtemp(join(tmpdir(), 'flash-'));
}

/** @param {string} directory */
function remove(directory) {
  return rm(directory, { recursive: true, force: true, maxRetries: 5 });
}

/** @returns {Promise<number>} */
function freePort() {
  return new Promise((resolve, reject) => {
    const server = net.createServer();
    server.once('error', reject);
    server.listen(0, HOST, () => {
      const address = server.address();
      server.close(() => {
        if (address !== null && typeof address === 'object') resolve(address.port);
        else reject(new Error('The system gave no port.'));
      });
    });
  });
}

/**
 * Asks `condition` again and again until it holds or the time is over; resolves to whether it held.
 * @param {number} milliseconds
 * @param {() => boolean | Promise<boolean>} condition
 */
async function within(milliseconds, condition) {
  const deadline = Date.now() + milliseconds;
  let pause = 5;
  while (!(await condition())) {
    if (Date.now() > deadline) return false;
    await sleep(pause);
    pause = Math.min(pause * 1.5, 50);
  }
  return true;
}

/** @param {string} log */
function tail(log) {
  if (!existsSync(log)) return '(none)';
  return readFileSync(log, 'utf8').trimEnd().split('\n').slice(-40).join('\n');
}
