/**
 * Runs checks and tests, in order, up to the first part that fails: npm test
 *
 *   npm test                              the everyday suites: checks, types, unit, contract, integration
 *   npm run test:all                      every suite at its full size, and the check of the package as it ships
 *   npm test -- --share                   every suite at the size of its share, as `.ci/run` does
 *   npm test -- integration/memcached     only test files whose path contains this, of any suite, and what they need
 *   npm test -- unit/keys --no-check      the same, although something somewhere does not compile
 *   npm test -- --test-name-pattern=lease further arguments of `node --test`
 *   npm test -- --checks                  everything but the tests
 *
 * The suites and their sizes are in suites.mjs.
 *
 * Environment: SEED (of the random tests), SEQUELIZE_FLASH_MEMCACHED and SEQUELIZE_FLASH_MYSQL_URL (servers to
 * use instead of new ones), SEQUELIZE_FLASH_TEST_CONCURRENCY, SEQUELIZE_FLASH_TEST_TIMEOUT_MS,
 * SEQUELIZE_FLASH_WRITE_PATHS (a file to which the tests of write paths add a line each).
 */
import { mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';

import { buildAll, checkTypesWithOlderCompiler, compiledTest } from './build.mjs';
import { checkPackage } from './check-package.mjs';
import { withServers } from './provide-servers.mjs';
import { sizesOf, suitesOf, TEST_FILE } from './suites.mjs';
import { ensureInstalled, Failure, filesBelow, main, readJson, runTool, runVisibly, say, step } from './tools.mjs';

await main(async () => {
  const { filters, nodeArgs, check, checksOnly, size } = parseArguments(process.argv.slice(2));
  await ensureInstalled();

  const isWhole = filters.length === 0;
  const files = [...filesBelow('test'), ...filesBelow('examples')].filter(
    (file) => TEST_FILE.test(file) && (isWhole ? isOfSize(file, size) : filters.some((filter) => file.includes(filter))),
  );
  if (files.length === 0 && !checksOnly) throw new Failure(`No test file has ${filters.join(' or ')} in its path.`);

  const withExamples = isWhole || files.some((file) => file.includes('example'));
  await buildAll({ check, onlyWhenNeeded: !isWhole, withExamples }, isWhole ? [runChecks] : []);
  if (isWhole && (checksOnly || size !== 'everyday')) {
    await checkTypesWithOlderCompiler();
    await checkPackage();
  }
  if (checksOnly) return 0;

  const sizes = sizesOf(size);
  const needsServers = !files.every((file) => file.startsWith('test/unit/'));
  return needsServers
    ? withServers({ flushLogAtCommit: 2 }, (env) => runTests(files, nodeArgs, { ...sizes, ...env }))
    : runTests(files, nodeArgs, sizes);
});

/**
 * @param {string} file
 * @param {import('./suites.mjs').Size} size
 */
function isOfSize(file, size) {
  return size !== 'everyday' || suitesOf(file).some(({ everyday }) => everyday === true);
}

/** @param {string[]} args */
function parseArguments(args) {
  const nodeArgs = args.filter((arg) => arg.startsWith('--test-'));
  const filters = args.filter((arg) => !arg.startsWith('-'));
  const unknown = args.find(
    (arg) => ![...nodeArgs, ...filters, '--no-check', '--checks', '--all', '--share'].includes(arg),
  );
  if (unknown !== undefined) throw new Failure(`Unknown argument: ${unknown}`);
  /** @type {import('./suites.mjs').Size} */
  const size = args.includes('--all') ? 'full' : args.includes('--share') ? 'share' : 'everyday';
  return { filters, nodeArgs, check: !args.includes('--no-check'), checksOnly: args.includes('--checks'), size };
}

async function runChecks() {
  await step('lint', () => runTool('oxlint', ['--deny-warnings', '.']));
  await step('import rules', () =>
    runTool(
      'dependency-cruiser',
      ['--config', '.dependency-cruiser.cjs', '--output-type', 'err', ...importRuleFolders()],
      'depcruise',
    ),
  );
}

function importRuleFolders() {
  return ['src', 'test', 'examples', 'scripts'].filter((folder) => filesBelow(folder).length > 0);
}

/**
 * @param {string[]} files
 * @param {string[]} nodeArgs
 * @param {Record<string, string>} env
 */
async function runTests(files, nodeArgs, env) {
  say(`tests: ${files.length} files\n`);
  const directory = await mkdtemp(join(tmpdir(), 'flash-tests-'));
  const summaryFile = join(directory, 'summary.json');
  const concurrency =
    // One more than there are cores: tests wait for servers, locks and timers, too.
    process.env.SEQUELIZE_FLASH_TEST_CONCURRENCY ?? String(Math.min(4, availableParallelism() + 1));
  // A file that hangs, or leaves something open that keeps its process alive, fails; one on a machine that others use may take minutes.
  const timeout = process.env.SEQUELIZE_FLASH_TEST_TIMEOUT_MS ?? '900000';
  try {
    const code = await runVisibly(
      process.execPath,
      [
        '--test',
        `--test-concurrency=${concurrency}`,
        `--test-timeout=${timeout}`,
        '--test-reporter=./scripts/reporter.mjs',
        '--test-reporter-destination=stdout',
        ...nodeArgs,
        ...files.map(compiledTest),
      ],
      { env: { ...env, SEQUELIZE_FLASH_TEST_SUMMARY: summaryFile } },
    );
    /** @type {{ passed: number, failed: number, skipped: number }} */
    const { passed, failed, skipped } = readJson(summaryFile);
    say(`tests: ${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`);
    return code !== 0 || failed > 0 || passed === 0 ? 1 : 0;
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}
