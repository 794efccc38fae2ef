/**
 * Compiles the package to dist/ and tests and examples to build/.
 *
 *   node scripts/build.mjs            dist/
 *   node scripts/build.mjs --clean    dist/, after removing it
 *   node scripts/build.mjs --all      dist/, tests, examples and type tests: everything that tsc can check
 */
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import {
  ensureInstalled,
  Failure,
  filesBelow,
  hashOf,
  main,
  readJson,
  ROOT,
  runTool,
  step,
  stepsBeside,
} from './tools.mjs';

/**
 * @typedef {object} Project
 * @property {string} name
 * @property {string} config its tsconfig file
 * @property {string[]} folders what it compiles, or needs for that
 * @property {(source: string) => boolean} owns whether it compiles this file of the repository
 * @property {boolean} [emitsNothing]
 */

/** @type {Project} */
const PACKAGE = {
  name: 'src',
  config: 'tsconfig.json',
  folders: ['src'],
  owns: (source) => source.startsWith('src/'),
};

/** @type {Project} */
const TESTS = {
  name: 'test',
  config: 'test/tsconfig.json',
  folders: ['test', 'src', 'examples/support', 'scripts'],
  owns: (source) => source.startsWith('test/') && !FURTHER_TESTS.some((project) => project.owns(source)),
};

/** @type {Project} */
const EXAMPLES = {
  name: 'examples',
  config: 'examples/tsconfig.json',
  folders: ['examples', 'src'],
  owns: (source) => source.startsWith('examples/'),
};

/** Folders of tests that need other compiler options. */
const FURTHER_TESTS = furtherTests();

/** The native TypeScript compiler, under a name of its own: other tools need the one that is written in JavaScript. */
const COMPILER = 'typescript-native';

/** Remembers what was compiled, so that `npm start` does it only when it is out of date. */
const STAMP = join(ROOT, 'build', '.compiled.json');

/**
 * Compiles everything, with a step for each part: the sources, the tests, the examples, and every folder of
 * tests with a tsconfig of its own. The larger half of it is the tests, so the rest runs beside them.
 * @param {{ check?: boolean, onlyWhenNeeded?: boolean, withExamples?: boolean }} [options] `check: false`
 * compiles although types do not fit
 * @param {(() => Promise<void>)[]} [furtherLanes] steps to run beside the compilers
 */
export async function buildAll(options = {}, furtherLanes = []) {
  const isQuick = options.check === false || options.onlyWhenNeeded === true;
  const examples = options.withExamples === false ? [] : [EXAMPLES];
  await build(PACKAGE, options);
  const others = async () => {
    for (const project of [...examples, ...FURTHER_TESTS]) {
      if (!(isQuick && project.emitsNothing)) await build(project, options);
    }
    if (!isQuick) await step('tsc scripts', () => runTool(COMPILER, ['-p', 'scripts/tsconfig.json'], 'tsc'));
  };
  await stepsBeside([() => build(TESTS, options), others, ...furtherLanes]);
}

/** Compiles what `npm start` needs, if it is out of date. */
export async function buildExamples() {
  await build(PACKAGE, { onlyWhenNeeded: true });
  await build(EXAMPLES, { onlyWhenNeeded: true });
}

/** Compiles what `npm run bench` needs, if it is out of date. */
export async function buildTests() {
  await build(PACKAGE, { onlyWhenNeeded: true });
  await build(TESTS, { onlyWhenNeeded: true });
}

/** Checks the tests of types with the compiler that is written in JavaScript, which many users have. */
export async function checkTypesWithOlderCompiler() {
  for (const { name, config } of FURTHER_TESTS.filter(({ emitsNothing }) => emitsNothing)) {
    await step(`TypeScript 5 ${name}`, () => runTool('typescript', ['-p', config], 'tsc'));
  }
}

/**
 * The file that a test is compiled to.
 * @param {string} source for example test/unit/keys.test.ts
 */
export function compiledTest(source) {
  return `build/${compiledName(source)}`;
}

/**
 * @param {Project} project
 * @param {{ check?: boolean, onlyWhenNeeded?: boolean }} options
 */
async function build(project, { check = true, onlyWhenNeeded = false }) {
  const files = project.folders.flatMap(filesBelow);
  const sources = files.filter((file) => isSource(file) && project.owns(file));
  if (sources.length === 0 || !existsSync(join(ROOT, project.config))) return;

  const hash = hashOf([...files, 'package.json', 'package-lock.json', 'tsconfig.json']);
  const isComplete =
    project.emitsNothing === true ||
    sources.every((source) => existsSync(join(ROOT, outputOf(source))));
  if (onlyWhenNeeded && isComplete && stamps()[project.name] === hash) return;

  await step(`tsc ${project.name}`, async () => {
    removeStale(project, sources);
    // tsc would believe its notes that the missing files are there.
    if (!isComplete) rmSync(join(ROOT, 'build', `${project.name}.tsbuildinfo`), { force: true });
    await runTool(COMPILER, ['-p', project.config, ...(check ? [] : ['--noCheck'])], 'tsc');
  });
  // What was compiled without a check counts as out of date.
  remember(project.name, check ? hash : '');
}

/**
 * Removes compiled files whose source is gone. The others are overwritten, so that whoever reads the
 * folder meanwhile finds it complete.
 * @param {Project} project
 * @param {string[]} sources
 */
function removeStale(project, sources) {
  const stems = new Set(sources.map(stem));
  for (const output of [...filesBelow('dist'), ...filesBelow('build')]) {
    const source = stem(output.replace(/^dist\//, 'src/').replace(/^build\/(?!src\/)/, ''));
    if (project.owns(source) && !stems.has(source)) rmSync(join(ROOT, output), { force: true });
  }
}

/**
 * A file's name without the extensions that a source and what is compiled from it differ in.
 * @param {string} file
 */
function stem(file) {
  return file.replace(/(\.d)?\.[mc]?[jt]s(\.map)?$/, '');
}

/** @param {string} source */
function outputOf(source) {
  return source.startsWith('src/') ? compiledName(source.replace(/^src/, 'dist')) : compiledTest(source);
}

/** @param {string} source */
function compiledName(source) {
  return source.replace(/ts$/, 'js');
}

/** @param {string} file */
function isSource(file) {
  return /\.[mc]?ts$/.test(file) && !/\.d\.[mc]?ts$/.test(file);
}

/**
 * Where a folder has tsconfig.<kind>.json files, its tsconfig.json is there for editors and the linter only.
 * @returns {Project[]}
 */
function furtherTests() {
  const configs = filesBelow('test').filter((file) => /^test\/.+\/tsconfig(\.[^/]+)?\.json$/.test(file));
  const isOfKind = (/** @type {string} */ config) => !config.endsWith('/tsconfig.json');
  return configs
    .filter((config) => isOfKind(config) || !configs.some((other) => isOfKind(other) && dirname(other) === dirname(config)))
    .map((config) => {
      const folder = dirname(config);
      return {
        name: config.replace(/(\/tsconfig)?\.json$/, '').replace('tsconfig.', ''),
        config,
        folders: [folder, 'src'],
        owns: (source) => source.startsWith(`${folder}/`),
        emitsNothing: folder.startsWith('test/types'),
      };
    });
}

/** @returns {Record<string, string>} */
function stamps() {
  return existsSync(STAMP) ? readJson(STAMP) : {};
}

/**
 * @param {string} name
 * @param {string} hash
 */
function remember(name, hash) {
  mkdirSync(dirname(STAMP), { recursive: true });
  writeFileSync(STAMP, `${JSON.stringify({ ...stamps(), [name]: hash }, null, 2)}\n`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await main(async () => {
    const args = process.argv.slice(2);
    const unknown = args.find((arg) => arg !== '--clean' && arg !== '--all');
    if (unknown !== undefined) throw new Failure(`Unknown argument: ${unknown}`);
    await ensureInstalled();
    if (args.includes('--clean')) rmSync(join(ROOT, 'dist'), { recursive: true, force: true });
    await (args.includes('--all') ? buildAll() : build(PACKAGE, {}));
  });
}
