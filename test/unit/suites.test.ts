/** The commands run every test: each file belongs to one suite, and every suite has a command. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { sizesOf, SUITES, suitesOf, TEST_FILE } from '../../scripts/suites.mjs';

const root = join(__dirname, '..', '..', '..');
const filesBelow = (folder: string): string[] =>
  readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' }).map((file) => `${folder}/${file.replaceAll('\\', '/')}`);
const testFiles = [...filesBelow('test'), ...filesBelow('examples')].filter((file) => TEST_FILE.test(file));
const textOf = (file: string): string => readFileSync(join(root, file), 'utf8');

describe('suites', () => {
  it('have every test file in exactly one of them', () => {
    assert.ok(testFiles.length > 80);
    for (const file of testFiles) {
      const names = suitesOf(file).map(({ name }) => name);
      assert.equal(names.length, 1, `${file} is in ${names.join(' and ') || 'no suite of scripts/suites.mjs'}`);
    }
  });

  it('take in every file that registers tests', () => {
    const registering = [...filesBelow('test'), ...filesBelow('examples')].filter(
      (file) => /\.[mc]?ts$/.test(file) && /^import \{[^}]*\b(?:describe|it|test)\b[^}]*\} from 'node:test'/m.test(textOf(file)),
    );
    for (const file of registering.filter((one) => !TEST_FILE.test(one))) {
      // What defines tests for others, such as `exploreAll`, is imported by a file that runs.
      const stem = file.replace(/^.*\/|\.[mc]?ts$/g, '');
      assert.ok(testFiles.some((one) => new RegExp(`from '[./\\w-]*/${stem}\\.m?js'`).test(textOf(one))), `${file} is run by nothing`);
    }
  });

  it('have a size in .ci/run and in test:all, which is no smaller there', () => {
    for (const { name, share = {}, full = {} } of SUITES) {
      assert.deepEqual(Object.keys(full), Object.keys(share), name);
      for (const [variable, size] of Object.entries(share)) {
        assert.ok(Number(size) > 0 && Number(full[variable]) >= Number(size), `${name}: ${variable}`);
        assert.ok(textOf('.env.example').includes(`#${variable}=`), `.env.example lacks ${variable}`);
      }
    }
  });

  it('are all run by .ci/run and test:all, the everyday ones by npm test', () => {
    assert.match(textOf('.ci/run'), /^npm test -- --share$/m);
    const { scripts } = JSON.parse(textOf('package.json')) as { scripts: Record<string, string> };
    assert.equal(scripts.test, 'node scripts/test.mjs');
    assert.equal(scripts['test:all'], 'node scripts/test.mjs --all');
    assert.deepEqual(SUITES.filter(({ everyday }) => everyday === true).map(({ name }) => name), ['unit', 'contract', 'integration']);
    for (const { name, files } of SUITES) {
      assert.ok(name === 'packaging' || testFiles.some((file) => files.test(file)), `${name} has no file`);
    }
  });

  it('take sizes from the environment first', () => {
    const before = process.env.ORACLE_OPERATIONS;
    process.env.ORACLE_OPERATIONS = '77';
    try {
      assert.equal(sizesOf('share').ORACLE_OPERATIONS, '77');
      assert.equal(sizesOf('full').ORACLE_OPERATIONS, '77');
    } finally {
      if (before === undefined) delete process.env.ORACLE_OPERATIONS;
      else process.env.ORACLE_OPERATIONS = before;
    }
  });
});
