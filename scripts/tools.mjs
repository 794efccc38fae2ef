/** What the scripts share: where things are, running a command, and having node_modules in order. */
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { inspect } from 'node:util';

/** The repository's folder. */
export const ROOT = dirname(dirname(fileURLToPath(import.meta.url)));

/** @type {NodeJS.WritableStream} */
let output = process.stdout;

/** From now on everything that the scripts say is beside the output of the program that they run. */
export function talkOnStderr() {
  output = process.stderr;
}

/** @param {string} line */
export function say(line) {
  output.write(`${line}\n`);
}

/** A failure that has been explained in full: `main` prints its message, if any, and no stack. */
export class Failure extends Error {}

/**
 * Runs a script's main function and makes its outcome the exit code. An interrupt ends the programs that
 * the script runs, and then the script as if they had failed, so that it tidies up.
 * @param {() => Promise<number | void>} body
 */
export async function main(body) {
  process.on('SIGINT', interrupt);
  process.on('SIGTERM', interrupt);
  try {
    process.exitCode = (await body()) ?? 0;
  } catch (error) {
    process.exitCode = 1;
    if (!interrupted) {
      if (!(error instanceof Failure)) say(inspect(error));
      else if (error.message) say(error.message);
    }
  } finally {
    process.off('SIGINT', interrupt);
    process.off('SIGTERM', interrupt);
    if (interrupted) process.exitCode = 130;
  }
}

/**
 * One step with its heading and the time that it took. Its output is shown when it fails.
 * @template T
 * @param {string} name
 * @param {() => Promise<T> | T} body
 * @returns {Promise<T>}
 */
export async function step(name, body) {
  // Steps beside each other have whole lines, when they end.
  const heading = `${name} … `;
  const isAlone = !beside;
  if (isAlone) output.write(heading);
  const start = performance.now();
  try {
    const result = await body();
    say(`${isAlone ? '' : heading}${seconds(start)}`);
    return result;
  } catch (error) {
    say(`${isAlone ? '' : heading}failed after ${seconds(start)}\n`);
    throw error;
  }
}

/** Whether steps run beside each other. */
let beside = false;

/**
 * Runs several sequences of steps beside each other, and waits for all of them.
 * @param {readonly (() => Promise<void>)[]} lanes
 * @throws what the first of them that failed threw
 */
export async function stepsBeside(lanes) {
  beside = true;
  const ended = await Promise.allSettled(lanes.map((lane) => lane()));
  beside = false;
  const failed = ended.find((lane) => lane.status === 'rejected');
  if (failed) throw failed.reason;
}

/** @param {number} start of performance.now() */
export function seconds(start) {
  return `${((performance.now() - start) / 1000).toFixed(1)} s`;
}

/** What runs for us: each is the leader of a process group of its own, except the one that has our terminal.
 * @type {Set<import('node:child_process').ChildProcess>} */
const children = new Set();
/** @type {import('node:child_process').ChildProcess | undefined} */
let terminalChild;
let interrupted = false;

/** @param {NodeJS.Signals} signal */
function interrupt(signal) {
  interrupted = true;
  // Ctrl-C reaches what has our terminal without us.
  if (!(signal === 'SIGINT' && process.stdin.isTTY)) terminalChild?.kill(signal);
  for (const { pid } of children) {
    try {
      if (pid !== undefined) process.kill(-pid, signal);
    } catch {
      // It ended meanwhile.
    }
  }
}

/**
 * Runs a command with this script's output, and resolves to its exit code.
 * @param {string} file
 * @param {string[]} args
 * @param {{ env?: Record<string, string>, terminal?: boolean }} [options] `env` adds to the environment;
 * `terminal` lets it read the input
 * @returns {Promise<number>}
 */
export function runVisibly(file, args, { env = {}, terminal = false } = {}) {
  if (interrupted) throw new Failure('');
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, {
      cwd: ROOT,
      env: { ...process.env, ...env },
      detached: !terminal,
      stdio: [terminal ? 'inherit' : 'ignore', 'inherit', 'inherit'],
    });
    if (terminal) terminalChild = child;
    else children.add(child);
    child.once('error', reject);
    child.once('exit', (code) => {
      children.delete(child);
      terminalChild = undefined;
      resolve(code ?? 1);
    });
  });
}

/**
 * Runs a command without showing its output, and resolves to that.
 * @param {string} file
 * @param {string[]} args
 * @param {{ cwd?: string }} [options]
 * @returns {Promise<string>} what it wrote to its standard output
 * @throws {Failure} with all its output if it fails
 */
export function runQuietly(file, args, { cwd = ROOT } = {}) {
  if (interrupted) throw new Failure('');
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, { cwd, detached: true, stdio: ['ignore', 'pipe', 'pipe'] });
    children.add(child);
    let stdout = '';
    let all = '';
    child.stdout.setEncoding('utf8').on('data', (/** @type {string} */ text) => {
      stdout += text;
      all += text;
    });
    child.stderr.setEncoding('utf8').on('data', (/** @type {string} */ text) => (all += text));
    child.once('error', reject);
    child.once('close', (code) => {
      children.delete(child);
      if (code === 0) resolve(stdout);
      else reject(new Failure(all.trimEnd() || `${file} ${args.join(' ')}: exit code ${code}`));
    });
  });
}

/**
 * Runs a development tool by the file that its package names in `bin`.
 * @param {string} packageName
 * @param {string[]} args
 * @param {string} [binary] if the package has several
 */
export function runTool(packageName, args, binary) {
  const folder = join(ROOT, 'node_modules', packageName);
  /** @type {{ bin: string | Record<string, string> }} */
  const { bin } = readJson(join(folder, 'package.json'));
  const path = typeof bin === 'string' ? bin : bin[binary ?? packageName];
  if (path === undefined) throw new Error(`${packageName} has no command ${binary ?? packageName}.`);
  return runQuietly(process.execPath, [join(folder, path), ...args]);
}

/**
 * Runs npm, the one that started this script where that is known.
 * @param {string[]} args
 * @param {{ cwd?: string }} [options]
 */
export function runNpm(args, options) {
  const cli = process.env.npm_execpath;
  if (cli?.endsWith('npm-cli.js')) return runQuietly(process.execPath, [cli, ...args], options);
  return runQuietly('npm', args, options);
}

/** Installs node_modules if it is missing or is not what package-lock.json says. */
export async function ensureInstalled() {
  if (isInstalled()) return;
  await step('npm ci', () => runNpm(['ci', '--include=dev', '--loglevel=error']));
}

/**
 * @typedef {object} LockedPackage
 * @property {string} [version]
 * @property {string} [integrity]
 * @property {boolean} [optional]
 * @property {boolean} [link]
 */

function isInstalled() {
  const installed = join(ROOT, 'node_modules', '.package-lock.json');
  if (!existsSync(installed)) return false;
  const wanted = lockedPackages(join(ROOT, 'package-lock.json'));
  const present = lockedPackages(installed);
  return Object.entries(wanted).every(([path, entry]) => {
    if (path === '') return true;
    const found = present[path];
    if (!found) return entry.optional === true;
    return found.version === entry.version && found.integrity === entry.integrity;
  });
}

/**
 * @param {string} file
 * @returns {Record<string, LockedPackage>}
 */
function lockedPackages(file) {
  /** @type {{ packages: Record<string, LockedPackage> }} */
  const { packages } = readJson(file);
  return packages;
}

/**
 * The caller says what is in the file.
 * @param {string} file
 * @returns {any}
 */
export function readJson(file) {
  return JSON.parse(readFileSync(file, 'utf8'));
}

/**
 * Every file below a folder of the repository, as paths from the repository's folder, sorted.
 * @param {string} folder
 * @returns {string[]} none if there is no such folder
 */
export function filesBelow(folder) {
  if (!existsSync(join(ROOT, folder))) return [];
  return readdirSync(join(ROOT, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(ROOT, join(entry.parentPath, entry.name)).replaceAll(sep, '/'))
    .sort();
}

/**
 * One hash of the names and contents of files of the repository.
 * @param {string[]} files
 */
export function hashOf(files) {
  const hash = createHash('sha256');
  for (const file of files) {
    if (!existsSync(join(ROOT, file))) continue;
    hash.update(`${file}\0`).update(readFileSync(join(ROOT, file))).update('\0');
  }
  return hash.digest('hex');
}
