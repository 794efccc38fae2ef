/** Real memcached processes for tests: on loopback, each ended by its own process id. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { connect, createServer, type AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** Options of `startMemcached`. */
export interface MemcachedProcessOptions {
  /** `-m`, in mebibytes. @default 64 */
  readonly memoryMb?: number;
  /** @default a free one */
  readonly port?: number;
  /** Further command line arguments. */
  readonly extraArgs?: readonly string[];
}

/** A memcached process under the test's control. */
export interface MemcachedProcess {
  readonly port: number;
  /** `127.0.0.1:port`, as a `MemcachedStore` takes it. */
  readonly address: string;
  /** Of the process that runs now; another one after `restart`. */
  readonly pid: number;
  /** SIGSTOP: the kernel goes on accepting connections, nobody answers. When this returns, all threads stand. */
  pause(): void;
  /** SIGCONT */
  resume(): void;
  /** SIGKILL; resolves when the process is gone. */
  kill(): Promise<void>;
  /** Starts an empty one on the same port, after killing the old one if it still runs. */
  restart(): Promise<void>;
  /** The end of it; calling it again has no effect. */
  stop(): Promise<void>;
  /** Sends raw protocol lines, each ended by `\r\n`, and resolves to everything that is answered. */
  command(raw: string | Uint8Array): Promise<string>;
}

const host = '127.0.0.1';
const running = new Set<ChildProcess>();

/**
 * Starts memcached (`SEQUELIZE_FLASH_MEMCACHED_BIN`, or the one on the PATH) and waits until it
 * answers. It is killed when the test's process exits, if it was not stopped before.
 */
export async function startMemcached(options: MemcachedProcessOptions = {}): Promise<MemcachedProcess> {
  const port = options.port ?? (await freePort());
  let child = await launch(port, options);
  let stopped = false;
  const kill = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, 'exit');
    // Also ends a process that is stopped by SIGSTOP.
    child.kill('SIGKILL');
    await gone;
  };
  return {
    port,
    address: `${host}:${String(port)}`,
    get pid() {
      return child.pid ?? 0;
    },
    pause: () => {
      child.kill('SIGSTOP');
      waitUntilStopped(child.pid ?? 0);
    },
    resume: () => void child.kill('SIGCONT'),
    kill,
    restart: async () => {
      await kill();
      child = await launch(port, options);
      // A test that has failed is not stopped: it may get here after its clean-up.
      if (stopped) await kill();
    },
    stop: async () => {
      stopped = true;
      await kill();
    },
    command: (raw) => exchange(port, raw),
  };
}

/**
 * A port of loopback that nobody listens on, below the ports that the kernel gives to outgoing
 * connections: one of those could take it between a kill and a restart.
 */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < 50; attempt += 1) {
    const port = 20_000 + Math.floor(Math.random() * 12_000);
    const server = createServer();
    try {
      server.listen(port, host);
      await once(server, 'listening');
      const { port: bound } = server.address() as AddressInfo;
      server.close();
      await once(server, 'close');
      return bound;
    } catch (error) {
      if (!isCode(error, 'EADDRINUSE')) throw error;
    }
  }
  throw new Error('Found no free port on loopback.');
}

async function launch(port: number, options: MemcachedProcessOptions): Promise<ChildProcess> {
  const binary = process.env.SEQUELIZE_FLASH_MEMCACHED_BIN ?? 'memcached';
  const args = ['-l', host, '-p', String(port), '-U', '0', '-m', String(options.memoryMb ?? 64)];
  // It refuses to run as root unless it is told to.
  if (process.getuid?.() === 0) args.push('-u', 'root');
  args.push(...(options.extraArgs ?? []));
  const child = spawn(binary, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  endWithThisProcess(child);
  let complaints = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    complaints += text;
  });
  let failure: Error | undefined;
  child.once('error', (error) => {
    failure = error;
  });
  for (let waited = 0; waited < 10_000; waited += 10) {
    if (failure !== undefined) throw new Error(`Could not start ${binary}.`, { cause: failure });
    if (child.exitCode !== null) throw new Error(`${binary} ${args.join(' ')} ended: ${complaints.trim()}`);
    try {
      if ((await exchange(port, 'version\r\n')).startsWith('VERSION')) return child;
    } catch (error) {
      if (!isCode(error, 'ECONNREFUSED') && !isCode(error, 'ECONNRESET')) throw error;
    }
    await sleep(10);
  }
  child.kill('SIGKILL');
  throw new Error(`${binary} does not answer on ${host}:${String(port)}.`);
}

/** Everything that the server answers; `quit` makes it close the connection after the last answer. */
function exchange(port: number, raw: string | Uint8Array): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = '';
    const socket = connect(port, host);
    socket.setEncoding('utf8');
    socket.on('data', (text: string) => {
      answer += text;
    });
    socket.on('error', reject);
    socket.on('end', () => {
      resolve(answer);
    });
    socket.write(raw);
    socket.write('quit\r\n');
  });
}

/**
 * A signal is only sent: on a busy machine each thread of the process goes on until the kernel gets
 * round to it, and may still answer a command. Where there is no `/proc`, that has to be risked.
 */
function waitUntilStopped(pid: number): void {
  const threads = `/proc/${String(pid)}/task`;
  if (!existsSync(threads)) return;
  const isStopped = (thread: string): boolean => {
    const stat = readFileSync(`${threads}/${thread}/stat`, 'latin1');
    // The name of the thread comes before its state, and may contain anything.
    return stat.slice(stat.lastIndexOf(')')).startsWith(') T');
  };
  for (const until = performance.now() + 10_000; performance.now() < until; ) {
    if (readdirSync(threads).every(isStopped)) return;
  }
  throw new Error(`Process ${String(pid)} goes on after SIGSTOP.`);
}

function endWithThisProcess(child: ChildProcess): void {
  if (running.size === 0) {
    process.once('exit', killRunning);
    // Without a listener these end the process with no 'exit' event.
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, exitOn);
  }
  running.add(child);
  child.once('exit', () => {
    running.delete(child);
    if (running.size > 0) return;
    process.off('exit', killRunning);
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.off(signal, exitOn);
  });
}

function killRunning(): void {
  for (const child of running) child.kill('SIGKILL');
}

function exitOn(): void {
  process.exit(1);
}

function isCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}
