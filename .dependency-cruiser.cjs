'use strict';

/**
 * Which folder may import which. Imports of types count as well, where a rule does not say otherwise.
 *
 * The layers of src/, from the top. A file imports from its own layer and from those below it.
 */
const LAYERS = [
  // Sub-paths of their own: a program that only uses the cache loads nothing of them.
  { name: 'helpers for tests', path: '^src/testing/' },
  { name: 'entry points', path: '^src/(index|setup|health|namespaces|identity)\\.m?ts$' },
  { name: 'managers', path: '^src/(manager|with-cache)\\.ts$' },
  { name: 'hooks and lookups', path: '^src/(hooks|lookups)/' },
  { name: 'caches', path: '^src/caches/' },
  { name: 'coherence and models', path: '^src/(coherence|models)/' },
  { name: 'request cache', path: '^src/request-cache\\.ts$' },
  { name: 'entries', path: '^src/entries/' },
  // Only the composition root sees more of a store than its interface; see the rule on stores below.
  { name: 'bottom', path: '^src/(stores/|(options|errors|events|types|gate|recent|at-most|clock|copies|version)\\.ts$)' },
];

const ANY_LAYER = LAYERS.map(({ path }) => `(${path})`).join('|');
const STORE_INTERFACE = '^src/stores/store\\.ts$';
const NOT_TYPES = { dependencyTypesNot: ['type-only'] };

const upwardImports = LAYERS.slice(1).map(({ name, path }, index) => ({
  name: `down-only: ${name}`,
  comment: `${name} must not import from a layer above.`,
  severity: 'error',
  from: { path },
  to: { path: LAYERS.slice(0, index + 1).map((layer) => layer.path) },
}));

/** @type {import('dependency-cruiser').IConfiguration} */
module.exports = {
  forbidden: [
    {
      name: 'no-cycles',
      comment: 'Files that need each other are one file, or miss a third one.',
      severity: 'error',
      from: {},
      to: { circular: true },
    },
    ...upwardImports,
    {
      name: 'known-layer',
      comment: 'A new file or folder of src/ needs a place among the layers of .dependency-cruiser.cjs.',
      severity: 'error',
      from: { path: '^src/', pathNot: ANY_LAYER },
      to: {},
    },
    {
      name: 'known-layer-target',
      comment: 'A new file or folder of src/ needs a place among the layers of .dependency-cruiser.cjs.',
      severity: 'error',
      from: {},
      to: { path: '^src/', pathNot: ANY_LAYER },
    },
    {
      name: 'bottom-is-bottom',
      comment: 'options, errors, events and types import each other and the interface of a store, nothing else.',
      severity: 'error',
      from: { path: '^src/(options|errors|events|types)\\.ts$' },
      to: { path: '^src/', pathNot: ['^src/(options|errors|events|types)\\.ts$', STORE_INTERFACE] },
    },
    {
      name: 'stores-stand-alone',
      comment: 'A store knows strings: it imports stores, options, errors, events and the clock, nothing else of ours.',
      severity: 'error',
      from: { path: '^src/stores/' },
      to: { path: '^src/', pathNot: ['^src/stores/', '^src/(options|errors|events|clock|copies)\\.ts$'] },
    },
    {
      name: 'testing-from-outside',
      comment: 'The helpers for tests use the cache as its users do: set-up, stores, options, errors and events; and the clock. What sees statements is shared.',
      severity: 'error',
      from: { path: '^src/testing/' },
      to: { path: '^src/', pathNot: ['^src/(testing|stores)/', '^src/((setup|options|errors|events|clock|copies)\\.ts$|hooks/interception\\.ts$)'] },
    },
    {
      name: 'contract-stands-alone',
      comment: 'The suite for stores knows the interface of a store and the errors, and sets nothing up.',
      severity: 'error',
      from: { path: '^src/testing/store-contract\\.ts$' },
      to: { path: '^src/', pathNot: ['^src/errors\\.ts$', STORE_INTERFACE] },
    },
    {
      name: 'runner-in-the-contract',
      comment: 'Only the suite for stores needs a test runner; the other helpers work with any.',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/testing/store-contract\\.ts$' },
      to: { path: '^(node:)?test$' },
    },
    {
      name: 'store-by-interface',
      comment: 'Everything but set-up and the helpers for tests sees a store as src/stores/store.ts has it.',
      severity: 'error',
      from: { path: '^src/', pathNot: ['^src/(stores|testing)/', '^src/(index|setup)\\.m?ts$'] },
      to: { path: '^src/stores/', pathNot: STORE_INTERFACE },
    },
    {
      name: 'sequelize-where-it-is-needed',
      comment: 'Set-up, managers, hooks, caches, models and errors use Sequelize; the others only its types.',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/((setup|with-cache|manager|errors)\\.ts$|(hooks|caches|models)/)' },
      to: { path: '(^|/)node_modules/sequelize/', ...NOT_TYPES },
    },
    {
      name: 'memcached-in-its-store',
      comment: 'memcached is an optional peer: only its store and the store of the environment load it, when one is made.',
      severity: 'error',
      from: { path: '^src/', pathNot: '^src/stores/memcached(-env)?\\.ts$' },
      to: { path: '(^|/)node_modules/(@types/)?memcached/' },
    },
    {
      name: 'no-optional-peers',
      comment: 'The package works without sequelize-typescript and mysql2, so it never loads them.',
      severity: 'error',
      from: { path: '^src/' },
      to: { path: '(^|/)node_modules/(sequelize-typescript|mysql2)/' },
    },
    {
      name: 'src-stands-alone',
      comment: 'The package imports nothing of its tests, examples, scripts or own compiled files.',
      severity: 'error',
      from: { path: '^src/' },
      to: { path: '^(test|examples|scripts|dist|build)/' },
    },
    {
      name: 'declared-dependencies',
      comment: 'What the package imports is a dependency or a peer dependency of it (types: see the consumer check).',
      severity: 'error',
      from: { path: '^src/' },
      to: {
        path: '(^|/)node_modules/',
        dependencyTypesNot: ['npm', 'npm-peer', 'type-only'],
      },
    },
    {
      name: 'no-undeclared',
      comment: 'Nothing is imported that package.json does not name.',
      severity: 'error',
      from: {},
      to: {
        dependencyTypes: ['npm-no-pkg', 'npm-unknown'],
        dependencyTypesNot: ['npm', 'npm-dev', 'npm-peer'],
      },
    },
    {
      name: 'resolvable',
      severity: 'error',
      from: {},
      to: { couldNotResolve: true },
    },
    {
      name: 'examples-as-users-do',
      comment: 'An example imports the package by its name.',
      severity: 'error',
      from: { path: '^examples/' },
      to: { path: '^(src|test|scripts)/' },
    },
  ],
  options: {
    tsConfig: { fileName: 'tsconfig.json' },
    tsPreCompilationDeps: true,
    combinedDependencies: false,
    doNotFollow: { path: ['node_modules', '^dist/'] },
    exclude: { path: '^build/' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'require', 'node', 'default', 'types'],
      mainFields: ['main', 'types'],
    },
  },
};
