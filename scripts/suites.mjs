/**
 * The suites of tests: which files they consist of, whether `npm test` runs them, and how large they are.
 *
 * `npm test` runs the everyday suites. `.ci/run` runs every suite, each at the size of its share.
 * `npm run test:all` runs every suite at its full size. A share may grow and must not shrink: what it
 * leaves out is drawn anew in each run from the SEED that the suite prints.
 */

/**
 * @typedef {object} Suite
 * @property {string} name what is in it; 'patience': what waits for many seconds, or reads tens of thousands of rows
 * @property {RegExp} files the test files that belong to it
 * @property {boolean} [everyday] whether `npm test` runs it
 * @property {Readonly<Record<string, string>>} [share] environment variables for `.ci/run`; also what the files take by default
 * @property {Readonly<Record<string, string>>} [full] environment variables for `npm run test:all`
 */

/** @type {readonly Suite[]} */
export const SUITES = [
  { name: 'unit', files: /^test\/(unit|standard-decorators)\//, everyday: true },
  { name: 'contract', files: /^test\/contract\//, everyday: true },
  {
    name: 'integration',
    files: /^(test\/integration\/(?!(crashes|slow-processes|large-reads|write-paths\/ended-transactions)\.)|examples\/)/,
    everyday: true,
    share: { MATRIX_PART: '0.25' },
    full: { MATRIX_PART: '1' },
  },
  {
    name: 'patience',
    files: /^test\/integration\/(slow-processes|large-reads|write-paths\/ended-transactions)\./,
    share: { SLOW_LOAD_SECONDS: '5' },
    full: { SLOW_LOAD_SECONDS: '30' },
  },
  { name: 'crashes', files: /^test\/integration\/crashes\./ },
  {
    name: 'surroundings',
    files: /^test\/surroundings\//,
    share: { SURROUNDINGS_CELLS: '2000' },
    full: { SURROUNDINGS_CELLS: '12000' },
  },
  {
    name: 'oracle',
    files: /^test\/oracle\//,
    share: { ORACLE_OPERATIONS: '3000' },
    full: { ORACLE_OPERATIONS: '12000' },
  },
  { name: 'explorer', files: /^test\/explorer\// },
  {
    name: 'torture',
    files: /^test\/torture\//,
    share: { TORTURE_SECONDS: '12' },
    full: { TORTURE_SECONDS: '60' },
  },
  {
    name: 'packaging',
    files: /^test\/packaging\//,
    share: { PACKAGING_BUILDS: '4' },
    full: { PACKAGING_BUILDS: '17' },
  },
];

/** Matches every file that `node --test` is to run. */
export const TEST_FILE = /^(test|examples)\/.*\.test\.[mc]?ts$/;

/**
 * The suites that a file belongs to. A test asserts that it is exactly one for every test file.
 * @param {string} file
 */
export function suitesOf(file) {
  return SUITES.filter(({ files }) => files.test(file));
}

/** @typedef {'everyday' | 'share' | 'full'} Size */

/**
 * The environment that sets the sizes of all suites. Variables that are set already win.
 * @param {Size} size
 * @returns {Record<string, string>}
 */
export function sizesOf(size) {
  const sizes = Object.assign({}, ...SUITES.map(({ share, full }) => (size === 'full' ? full : share) ?? {}));
  return { ...sizes, ...Object.fromEntries(Object.entries(process.env).filter(([name]) => name in sizes)) };
}
