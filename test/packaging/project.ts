/** Projects of users: a temporary folder with the package as it ships, and the packages that they installed beside it. */
import { execFile } from 'node:child_process';
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** The repository; the tests are compiled to `build/test/`. */
export const root = join(__dirname, '../../..');

const modules = join(root, 'node_modules');

export interface Project {
  readonly folder: string;
  /** Writes a file and resolves to its path. */
  write(name: string, text: string): Promise<string>;
  remove(): Promise<void>;
}

let packed: Promise<string> | undefined;

/** The package as `npm pack` makes it, unpacked once for all projects. */
async function unpackedPackage(): Promise<string> {
  packed ??= (async () => {
    const folder = await mkdtemp(join(tmpdir(), 'flash-packed-'));
    const { stdout } = await run('npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', folder], { cwd: root });
    const [result] = JSON.parse(stdout) as { readonly filename: string }[];
    if (result === undefined) throw new Error(`npm pack made nothing: ${stdout}`);
    await run('tar', ['-xzf', join(folder, result.filename), '-C', folder]);
    return folder;
  })();
  return join(await packed, 'package');
}

/** Removes what `createProject` unpacked. */
export async function removePackage(): Promise<void> {
  if (packed !== undefined) await rm(await packed, { recursive: true });
  packed = undefined;
}

/** @param packages those that are installed beside sequelize-flash and its dependency */
export async function createProject(packages: readonly string[]): Promise<Project> {
  const folder = await mkdtemp(join(tmpdir(), 'flash-project-'));
  await copyPackage(folder);
  for (const name of ['lru-cache', ...packages]) {
    const target = join(folder, 'node_modules', name);
    await mkdir(dirname(target), { recursive: true });
    await symlink(join(modules, name), target);
  }
  return {
    folder,
    write: async (name, text) => {
      const path = join(folder, name);
      await mkdir(dirname(path), { recursive: true });
      await writeFile(path, text);
      return path;
    },
    remove: () => rm(folder, { recursive: true }),
  };
}

/** Installs a copy of the package in another folder. */
export async function copyPackage(folder: string): Promise<string> {
  const target = join(folder, 'node_modules/sequelize-flash');
  await mkdir(dirname(target), { recursive: true });
  await cp(await unpackedPackage(), target, { recursive: true });
  return target;
}

export interface Outcome {
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end; rejects with what it printed if it fails or takes over two minutes. */
export function runProgram(file: string, env: Readonly<Record<string, string>> = {}): Promise<Outcome> {
  return run(process.execPath, [file], { cwd: dirname(file), env: { ...process.env, ...env }, timeout: 120_000 });
}

/** Compiles what a `tsconfig.json` in the project names. */
export async function compileTypeScript(project: Project, options: object, files: readonly string[]): Promise<void> {
  const config = await project.write('tsconfig.json', JSON.stringify({ compilerOptions: { strict: true, target: 'es2022', skipLibCheck: true, types: ['node'], ...options }, files }));
  try {
    await run(process.execPath, [join(modules, 'typescript/bin/tsc'), '-p', config], { cwd: project.folder });
  } catch (error) {
    throw new Error(`tsc failed:\n${(error as { readonly stdout?: string }).stdout ?? ''}`, { cause: error });
  }
}

/** Copies one file into an empty folder, where no `node_modules` is in sight. */
export async function alone(file: string, name: string): Promise<{ readonly file: string; remove(): Promise<void> }> {
  const folder = await mkdtemp(join(tmpdir(), 'flash-deployed-'));
  const target = join(folder, name);
  await writeFile(target, await readFile(file));
  return { file: target, remove: () => rm(folder, { recursive: true }) };
}
