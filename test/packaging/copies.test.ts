/** Two copies of the package in one process say so, once. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { build } from 'esbuild';
import { version } from '../../src/version.js';
import { copyPackage, createProject, removePackage, root, runProgram, type Project } from './project.js';

const warnings = (stderr: string): string[] => stderr.split('\n').filter((line) => line.includes('FLASH_TWO_COPIES'));

describe('copies of the package', () => {
  let project: Project;
  before(async () => {
    project = await createProject(['sequelize', 'memcached']);
    await copyPackage(join(project.folder, 'node_modules/other'));
  });
  after(async () => {
    await project.remove();
    await removePackage();
  });

  const run = async (name: string, text: string): Promise<string> => (await runProgram(await project.write(name, text))).stderr;
  const other = (entry: string): string => `./node_modules/other/node_modules/sequelize-flash/dist/${entry}`;

  it('are reported once, with the place of both', async () => {
    for (const [name, text] of [
      ['both.cjs', `require('sequelize-flash'); require('${other('index.js')}');`],
      ['both.mjs', `import 'sequelize-flash'; import '${other('index.mjs')}';`],
      ['store.cjs', `require('sequelize-flash'); require('${other('stores/memcached.js')}'); require('${other('index.js')}');`],
      ['testing.mjs', `import 'sequelize-flash/testing'; import '${other('stores/memory.mjs')}'; import '${other('testing/index.mjs')}';`],
    ] as const) {
      const stderr = await run(name, text);
      assert.equal(warnings(stderr).length, 1, `${name}: ${stderr}`);
      assert.match(stderr, /\[FLASH_TWO_COPIES\] SequelizeFlashWarning: Two copies of sequelize-flash are loaded in this process: .*node_modules\/sequelize-flash\/dist.* and .*node_modules\/other\/node_modules\/sequelize-flash\/dist.*setupCache.*error\.code/);
    }
  });

  it('are reported for a bundle beside the package', async () => {
    for (const format of ['cjs', 'esm'] as const) {
      const entry = await project.write(`entry-${format}.mjs`, `export { setupCache } from 'sequelize-flash';`);
      const outfile = join(project.folder, `bundle.${format === 'cjs' ? 'cjs' : 'mjs'}`);
      await build({
        entryPoints: [entry],
        outfile,
        bundle: true,
        minify: true,
        platform: 'node',
        format,
        external: ['sequelize', 'memcached'],
        ...(format === 'esm' ? { banner: { js: "import { createRequire as c } from 'node:module'; const require = c(import.meta.url);" } } : {}),
      });
      assert.equal(warnings(await run(`beside-${format}.mjs`, `import 'sequelize-flash'; import '${outfile}';`)).length, 1);
    }
  });

  it('are not reported where there is one, however it is loaded', async () => {
    const everything = `
      import { createRequire } from 'node:module';
      const require = createRequire(import.meta.url);
      for (const name of ['', '/stores/memcached', '/stores/memory', '/testing', '/testing/store-contract']) {
        await import('sequelize-flash' + name);
        require('sequelize-flash' + name);
      }
      // As a test runner that isolates its files does.
      for (const path of Object.keys(require.cache)) delete require.cache[path];
      require('sequelize-flash');`;
    assert.equal(await run('one.mjs', everything), '');
  });
});

describe('the version that copies are told apart by', () => {
  it('is that of package.json', () => {
    assert.equal(version, (JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { readonly version: string }).version);
  });
});
