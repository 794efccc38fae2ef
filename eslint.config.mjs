import js from '@eslint/js';
import { defineConfig, globalIgnores } from 'eslint/config';
import tseslint from 'typescript-eslint';

/** Calls of node:test register a test; the promise that they return is the runner's business. */
const registersTest = {
  from: 'package',
  package: 'node:test',
  name: ['after', 'afterEach', 'before', 'beforeEach', 'describe', 'it', 'suite', 'test', 'skip', 'todo', 'only'],
};

export default defineConfig(
  globalIgnores(['dist/', 'build/', 'coverage/', 'node_modules/', '.tmp/']),

  js.configs.recommended,
  tseslint.configs.strictTypeChecked,
  tseslint.configs.stylisticTypeChecked,
  {
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      // `== null` is the short form of "null or undefined".
      eqeqeq: ['error', 'always', { null: 'ignore' }],
      'no-console': 'error',
      'no-constant-binary-expression': 'error',
      'no-self-compare': 'error',
      'no-unreachable-loop': 'error',
      'no-template-curly-in-string': 'error',
      'object-shorthand': 'error',
      'prefer-template': 'error',

      '@typescript-eslint/consistent-type-exports': 'error',
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/no-import-type-side-effects': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': [
        'error',
        { considerDefaultExhaustiveForUnions: true, requireDefaultForNonUnion: true },
      ],
      '@typescript-eslint/explicit-module-boundary-types': 'error',
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      // A number in a message cannot go wrong.
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true, allowBoolean: true }],
      '@typescript-eslint/no-confusing-void-expression': [
        'error',
        { ignoreArrowShorthand: true, ignoreVoidReturningFunctions: true },
      ],
      // Characters are code points here, as in the database.
      '@typescript-eslint/no-misused-spread': ['error', { allow: [{ from: 'lib', name: 'string' }, 'string'] }],
      // Sequelize's associations are told apart by a field; the assertion that follows is as good as `instanceof`.
      '@typescript-eslint/no-unsafe-class-instance-assignment': 'off',
      // A cache class is a class with static members and nothing else.
      '@typescript-eslint/no-extraneous-class': 'off',
      // `type` is what a mapped or conditional type needs; the choice is left to the writer.
      '@typescript-eslint/consistent-type-definitions': 'off',
      // A generic function that names the type of its result once is how typed look-ups are declared.
      '@typescript-eslint/no-unnecessary-type-parameters': 'off',
      // `||` for "empty or absent" is meant so.
      '@typescript-eslint/prefer-nullish-coalescing': ['error', { ignorePrimitives: { string: true, boolean: true } }],
      // `as T` where it cannot be undefined says what it is; `!` is not used in src/.
      '@typescript-eslint/non-nullable-type-assertion-style': 'off',
      // Methods of interfaces are async although an implementation may have nothing to wait for.
      '@typescript-eslint/require-await': 'off',
    },
  },

  {
    // Fakes that a test suite installs must not stop this package: see src/clock.ts.
    files: ['src/**'],
    ignores: ['src/clock.ts'],
    rules: {
      'no-restricted-globals': [
        'error',
        ...['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'setImmediate', 'clearImmediate', 'queueMicrotask', 'performance'].map(
          (name) => ({ name, message: 'Import it from src/clock.ts.' }),
        ),
      ],
      'no-restricted-properties': [
        'error',
        { object: 'process', property: 'nextTick', message: 'Import it from src/clock.ts.' },
        { object: 'process', property: 'hrtime', message: "Use 'monotonic' of src/clock.ts." },
        { object: 'Date', property: 'now', message: "Use 'wallClock' of src/clock.ts." },
      ],
    },
  },

  {
    files: ['test/**', 'examples/**'],
    rules: {
      '@typescript-eslint/no-floating-promises': ['error', { allowForKnownSafeCalls: [registersTest] }],
      '@typescript-eslint/explicit-module-boundary-types': 'off',
      '@typescript-eslint/no-non-null-assertion': 'off',
      '@typescript-eslint/no-empty-function': 'off',
      // Stubs and mocks take methods apart.
      '@typescript-eslint/unbound-method': 'off',
      // Tests pass what the types forbid, and look into what they do not know.
      '@typescript-eslint/no-unsafe-argument': 'off',
      '@typescript-eslint/no-unsafe-assignment': 'off',
      '@typescript-eslint/no-unsafe-call': 'off',
      '@typescript-eslint/no-unsafe-member-access': 'off',
      '@typescript-eslint/no-unsafe-return': 'off',
      '@typescript-eslint/no-unnecessary-condition': 'off',
      'no-template-curly-in-string': 'off',
    },
  },
  {
    // The one file of the package that is a suite.
    files: ['src/testing/store-contract.ts'],
    rules: { '@typescript-eslint/no-floating-promises': ['error', { allowForKnownSafeCalls: [registersTest] }] },
  },
  {
    // An optional peer, loaded when a store is made; `import()` would have to be waited for.
    files: ['src/stores/memcached.ts', 'src/stores/memcached-env.ts'],
    rules: { '@typescript-eslint/no-require-imports': ['error', { allow: ['^memcached$'] }] },
  },
  { files: ['test/bench/**', 'test/torture/**', 'examples/**'], rules: { 'no-console': 'off' } },
  {
    // Type tests only declare.
    files: ['test/types/**'],
    rules: {
      '@typescript-eslint/no-unused-vars': 'off',
      '@typescript-eslint/no-unused-expressions': 'off',
      '@typescript-eslint/no-floating-promises': 'off',
    },
  },

  {
    files: ['**/*.{mjs,cjs,js}'],
    languageOptions: { globals: { process: 'readonly', performance: 'readonly', console: 'readonly' } },
    rules: { 'no-console': 'off', '@typescript-eslint/explicit-module-boundary-types': 'off' },
  },
  {
    // The scripts' types are in JSDoc, and are checked by tsc; JSON comes in as `any`.
    files: ['scripts/**'],
    rules: {
      'no-undef': 'off',
      '@typescript-eslint/no-unsafe-argument': 'off',
      '@typescript-eslint/no-unsafe-assignment': 'off',
      '@typescript-eslint/no-unsafe-call': 'off',
      '@typescript-eslint/no-unsafe-member-access': 'off',
      '@typescript-eslint/no-unsafe-return': 'off',
    },
  },
  {
    // No tsconfig has these.
    files: ['*.{mjs,cjs}'],
    extends: [tseslint.configs.disableTypeChecked],
    languageOptions: { globals: { module: 'writable', require: 'readonly' } },
  },
);
