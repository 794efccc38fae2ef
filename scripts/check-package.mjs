/**
 * Checks the package as it ships: packs dist/, has publint and attw look at the tarball, and uses it from
 * another project, with require and with import, where only its dependencies and Sequelize are installed.
 */
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

import { Failure, readJson, ROOT, runNpm, runQuietly, runTool, step } from './tools.mjs';

/** What our types may need: not @types/memcached, not sequelize-typescript, not mysql2. */
const CONSUMER_PACKAGES = ['sequelize', 'lru-cache', '@types/node'];

export async function checkPackage() {
  const directory = await mkdtemp(join(tmpdir(), 'flash-package-'));
  try {
    const tarball = await step('npm pack', () => pack(directory));
    await step('publint', () => runTool('publint', [tarball, '--strict']));
    await step('attw', () => runTool('@arethetypeswrong/cli', [tarball, '--no-emoji'], 'attw'));
    const project = await createConsumer(directory, tarball);
    await step('types as shipped', () => compileConsumer(project));
    await step('names of import and require', () => compareNames(project));
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** @returns {{ name: string, exports: Record<string, unknown> }} */
function manifest() {
  return readJson(join(ROOT, 'package.json'));
}

/** The names under which the package can be imported. */
function entryPoints() {
  const { name, exports } = manifest();
  return Object.keys(exports)
    .filter((path) => path !== './package.json')
    .map((path) => (path === '.' ? name : `${name}/${path.slice(2)}`));
}

/**
 * @param {string} directory
 * @returns {Promise<string>} the tarball
 */
async function pack(directory) {
  // dist/ has been built a moment ago, so npm need not do it again.
  const output = await runNpm(['pack', '--ignore-scripts', '--json', '--pack-destination', directory]);
  /** @type {{ filename: string, files: { path: string }[] }[]} */
  const [result] = JSON.parse(output);
  if (!result) throw new Failure(`npm pack made nothing:\n${output}`);
  const stray = result.files.find(({ path }) => !/^(dist\/|package\.json$|[A-Z]+(\.md)?$)/.test(path));
  if (stray) throw new Failure(`The package would contain ${stray.path}.`);
  return join(directory, result.filename);
}

/**
 * @param {string} directory
 * @param {string} tarball
 * @returns {Promise<string>} the project's folder
 */
async function createConsumer(directory, tarball) {
  const project = join(directory, 'consumer');
  const modules = join(project, 'node_modules');
  const own = join(modules, manifest().name);
  await mkdir(own, { recursive: true });
  await runQuietly('tar', ['-xzf', tarball, '-C', own, '--strip-components=1']);
  for (const name of CONSUMER_PACKAGES) await install(project, name);
  return project;
}

/**
 * @param {string} project
 * @param {string} name of a package that we have
 */
async function install(project, name) {
  const target = join(project, 'node_modules', name);
  await mkdir(dirname(target), { recursive: true });
  await symlink(join(ROOT, 'node_modules', name), target);
}

/**
 * Type-checks imports of every entry point, with our declaration files included in the check.
 * @param {string} project
 */
async function compileConsumer(project) {
  const source = entryPoints()
    .map((name, index) => `import * as m${index} from '${name}';\nexport type M${index} = typeof m${index};\n`)
    .join('');
  const common = { strict: true, noEmit: true, target: 'es2022', lib: ['es2022'], types: ['node'] };
  // Declaration files are checked once; beyond that it matters only that everything is found.
  const checked = { skipLibCheck: false, skipDefaultLibCheck: true };
  const unchecked = { skipLibCheck: true };
  const variants = [
    { files: ['esm.mts', 'commonjs.cts'], options: { module: 'nodenext', ...checked } },
    { files: ['bundler.ts'], options: { module: 'esnext', moduleResolution: 'bundler', ...unchecked } },
    // What `module: commonjs` means without more; still usual in projects with sequelize-typescript.
    { files: ['node10.ts'], options: { module: 'commonjs', moduleResolution: 'node10', ...unchecked } },
  ];
  for (const { files, options } of variants) {
    for (const file of files) await writeFile(join(project, file), source);
    const config = join(project, `tsconfig.${files[0]}.json`);
    await writeFile(config, JSON.stringify({ compilerOptions: { ...common, ...options }, files }));
    await runTool('typescript', ['-p', config], 'tsc');
  }
}

/**
 * import and require must give the same names, and the very same values: two copies of the package in one
 * process would not know of each other. Neither needs an optional peer to be installed.
 * @param {string} project
 */
async function compareNames(project) {
  const script = join(project, 'names.mjs');
  await writeFile(
    script,
    `
    import { createRequire } from 'node:module';
    const require = createRequire(import.meta.url);
    let failed = false;
    for (const name of ${JSON.stringify(entryPoints())}) {
      const imported = await import(name);
      const required = require(name);
      const names = (module) => Object.keys(module).filter((key) => !['default', 'module.exports', '__esModule'].includes(key));
      const all = new Set([...names(imported), ...names(required)]);
      if (all.size === 0) { console.log(name + ' exports nothing'); failed = true; }
      for (const key of all) {
        if (imported[key] === required[key] && key in imported && key in required) continue;
        console.log(name + ': ' + key + ' is not the same with import and require');
        failed = true;
      }
    }
    process.exitCode = failed ? 1 : 0;
    `,
  );
  await runQuietly(process.execPath, [script], { cwd: project });
}
