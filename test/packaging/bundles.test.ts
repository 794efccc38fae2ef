/** The package as it ships, in programs as users build them: Node, esbuild, webpack, TypeScript. On real servers, offline. */
import assert from 'node:assert/strict';
import { createHash, randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { after, before, describe, it, type TestContext } from 'node:test';
import { build } from 'esbuild';
import { Sequelize } from 'sequelize';
import webpack from 'webpack';
import { mysqlUrl } from '../support/backends.js';
import { seed } from '../support/seed.js';
import { asCommonJs, asModule, asSequelizeTypescript, asTypeScript, expected } from './application.js';
import { alone, compileTypeScript, createProject, removePackage, runProgram, type Project } from './project.js';

/** Drivers of Sequelize that nobody installed; it requires them where they are used. */
const otherDrivers = ['pg-hstore', 'pg', 'tedious', 'sqlite3', 'mariadb', 'ibm_db', 'snowflake-sdk', 'oracledb', 'odbc'];

type Format = 'cjs' | 'esm';

const extension = (format: Format): string => (format === 'cjs' ? '.cjs' : '.mjs');

/** An ES module has no `require`, and CommonJS in it needs one for Node's own modules: esbuild leaves that to a banner. */
const banner = { js: "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url);" };

async function withEsbuild({ folder }: Project, entry: string, format: Format, external: readonly string[] = []): Promise<string> {
  const outfile = join(folder, 'out', `esbuild-${randomUUID()}${extension(format)}`);
  const { warnings, errors } = await build({
    entryPoints: [join(folder, entry)],
    outfile,
    bundle: true,
    minify: true,
    platform: 'node',
    format,
    external: [...otherDrivers, ...external],
    logLevel: 'silent',
    ...(format === 'esm' ? { banner } : {}),
  });
  assert.deepEqual([...warnings, ...errors].map(({ text }) => text), []);
  return outfile;
}

interface Webpacked {
  readonly file: string;
  readonly warnings: readonly string[];
}

async function withWebpack({ folder }: Project, entry: string, format: Format, external: readonly string[] = []): Promise<Webpacked> {
  const filename = `webpack-${randomUUID()}${extension(format)}`;
  const asEsm = { module: true, chunkFormat: 'module', library: { type: 'module' } } as const;
  const external_ = (kind: string, names: readonly string[]) => Object.fromEntries(names.map((name) => [name, `${kind} ${name}`]));
  const compiler = webpack({
    mode: 'production',
    target: 'node20',
    context: folder,
    entry: `./${entry}`,
    output: { path: join(folder, 'out'), filename, ...(format === 'esm' ? asEsm : {}) },
    experiments: { outputModule: format === 'esm' },
    externals: { ...external_(format === 'esm' ? 'node-commonjs' : 'commonjs', otherDrivers), ...external_(format === 'esm' ? 'module' : 'commonjs', external) },
  });
  assert.ok(compiler !== null);
  const stats = await new Promise<webpack.Stats>((resolve, reject) => {
    compiler.run((error, result) => {
      if (error) reject(error);
      else if (result === undefined) reject(new Error('webpack made nothing'));
      else resolve(result);
    });
  });
  await new Promise((resolve) => {
    compiler.close(resolve);
  });
  const { errors = [], warnings = [] } = stats.toJson({ all: false, errors: true, warnings: true });
  assert.deepEqual(errors.map(({ message }) => message), []);
  return { file: join(folder, 'out', filename), warnings: warnings.map(({ message }) => message) };
}

/** An empty database, the servers, and a prefix for one application. */
async function places(t: TestContext): Promise<Record<string, string>> {
  const database = `flash_${randomUUID().slice(0, 8)}`;
  const admin = new Sequelize(mysqlUrl(), { dialect: 'mysql', logging: false, pool: { max: 1 } });
  t.after(async () => {
    await admin.query(`DROP DATABASE ${database}`);
    await admin.close();
  });
  await admin.query(`CREATE DATABASE ${database}`);
  const url = new URL(mysqlUrl());
  url.pathname = `/${database}`;
  return { DB: url.href, MC: process.env.SEQUELIZE_FLASH_MEMCACHED ?? '', PREFIX: `p${randomUUID().slice(0, 8)}` };
}

const isPlain = (line: string): boolean => line.trim() !== '';

/** Runs the application twice, in two processes: the second finds what the first has stored. */
async function assertWorks(t: TestContext, file: string, more: Readonly<Record<string, string>> = {}): Promise<void> {
  const env = { ...(await places(t)), ...more };
  for (const isFirst of [true, false]) {
    const { stdout, stderr } = await runProgram(file, env);
    assert.deepEqual(JSON.parse(stdout), expected(isFirst));
    assert.deepEqual(stderr.split('\n').filter(isPlain), []);
  }
}

/**
 * Builds take minutes on a busy machine: the share of this suite draws about PACKAGING_BUILDS of them by
 * the SEED, each with the same chance, and the whole suite makes all.
 */
const wanted = Number(process.env.PACKAGING_BUILDS ?? 4);
const allBuilds = 17;
const chosenSeed = seed();
let seen = 0;
const drawn: string[] = [];

/** Registers a test that builds something, if it is drawn. */
function sampled(name: string, run: (t: TestContext) => Promise<void>): void {
  seen += 1;
  const place = createHash('sha256').update(`${String(chosenSeed)} ${name}`).digest().readUInt32LE() / 2 ** 32;
  if (place >= wanted / allBuilds) return;
  drawn.push(name);
  it(name, run);
}

after(removePackage);

describe('an application with MySQL, memcached and the memory store', () => {
  let project: Project;
  before(async () => {
    project = await createProject(['sequelize', 'mysql2', 'memcached']);
    await project.write('app.mjs', asModule);
    await project.write('app.cjs', asCommonJs);
  });
  after(() => project.remove());

  for (const file of ['app.mjs', 'app.cjs']) {
    it(`runs in Node as ${file}, with a store of its own and with that of the environment`, async (t) => {
      await assertWorks(t, join(project.folder, file));
      await assertWorks(t, join(project.folder, file), { FROM_ENV: '1' });
    });
  }

  for (const format of ['cjs', 'esm'] as const) {
    sampled(`runs as one minified file of esbuild, ${format}, with nothing beside it`, async (t) => {
      const { file, remove } = await alone(await withEsbuild(project, 'app.mjs', format), `main${extension(format)}`);
      t.after(remove);
      await assertWorks(t, file);
      await assertWorks(t, file, { FROM_ENV: '1' });
    });

    sampled(`runs as a minified file of esbuild, ${format}, with its packages beside it`, async (t) => {
      await assertWorks(t, await withEsbuild(project, 'app.mjs', format, ['sequelize', 'mysql2', 'memcached']));
    });

    sampled(`runs as a minified file of webpack, ${format}, with Sequelize beside it`, async (t) => {
      const { file, warnings } = await withWebpack(project, 'app.mjs', format, ['sequelize', 'mysql2']);
      assert.deepEqual(warnings, []);
      await assertWorks(t, file);
      await assertWorks(t, file, { FROM_ENV: '1' });
    });

    sampled(`runs as a minified file of webpack, ${format}, with memcached beside it, too`, async (t) => {
      const { file, warnings } = await withWebpack(project, 'app.mjs', format, ['sequelize', 'mysql2', 'memcached']);
      assert.deepEqual(warnings, []);
      await assertWorks(t, file);
      await assertWorks(t, file, { FROM_ENV: '1' });
    });
  }

  sampled('runs as one minified file of webpack, with nothing beside it', async (t) => {
    const { file, warnings } = await withWebpack(project, 'app.mjs', 'cjs');
    // Sequelize's own: how it finds a driver by its name.
    assert.deepEqual(warnings.filter((warning) => !warning.includes('the request of a dependency is an expression')), []);
    const deployed = await alone(file, 'main.cjs');
    t.after(deployed.remove);
    await assertWorks(t, deployed.file);
  });
});

describe('a program without the package memcached', () => {
  const program = `
    import { Sequelize, DataTypes } from 'sequelize';
    import mysql2 from 'mysql2';
    import { setupCache, withCache } from 'sequelize-flash';
    import { MemoryStore } from 'sequelize-flash/stores/memory';
    const sequelize = new Sequelize('mysql://nowhere/db', { dialectModule: mysql2 });
    withCache(sequelize.define('User', { name: DataTypes.STRING }), { keys: ['id'] });
    const messageOf = (use) => { try { use(); } catch (error) { return error.name + ': ' + error.message; } };
    const without = messageOf(() => setupCache(sequelize));
    process.env.SEQUELIZE_FLASH_MEMCACHED = '127.0.0.1:1';
    const named = messageOf(() => setupCache(sequelize));
    const store = new MemoryStore();
    console.log(JSON.stringify({ without, named, works: setupCache(sequelize, { store }).store === store }));`;
  const sentence = /^InvalidOptionError: setupCache cannot find the package 'memcached', which the servers in SEQUELIZE_FLASH_MEMCACHED need\. Install it, npm install memcached, or pass a store as \{ store \}\.$/;
  let project: Project;
  before(async () => {
    project = await createProject(['sequelize', 'mysql2']);
    await project.write('app.mjs', program);
  });
  after(() => project.remove());

  const assertAsks = async (file: string): Promise<void> => {
    const { stdout } = await runProgram(file, { SEQUELIZE_FLASH_MEMCACHED: '' });
    const { without, named, works } = JSON.parse(stdout) as { readonly without: string; readonly named: string; readonly works: boolean };
    assert.match(without, /^InvalidOptionError: setupCache needs a store/);
    assert.match(named, sentence);
    assert.equal(works, true);
  };

  it('runs in Node', () => assertAsks(join(project.folder, 'app.mjs')));

  for (const format of ['cjs', 'esm'] as const) {
    sampled(`is bundled by esbuild, ${format}, without it`, async () => assertAsks(await withEsbuild(project, 'app.mjs', format)));
    sampled(`is bundled by webpack, ${format}, without it`, async () => {
      const { file, warnings } = await withWebpack(project, 'app.mjs', format, ['sequelize', 'mysql2']);
      assert.ok(warnings.every((warning) => warning.includes("Can't resolve 'memcached'")), warnings.join('\n'));
      await assertAsks(file);
    });
  }

  it('imports the store without it, is told what it needs, and may pass the class', async (t) => {
    const other = await createProject(['memcached']);
    t.after(() => other.remove());
    for (const [name, head] of [
      ['store.mjs', `import { MemcachedStore } from 'sequelize-flash/stores/memcached'; import { createRequire } from 'node:module'; const require = createRequire(import.meta.url);`],
      ['store.cjs', `const { MemcachedStore } = require('sequelize-flash/stores/memcached');`],
    ] as const) {
      const file = await project.write(
        name,
        `${head}
        try { new MemcachedStore('a:1'); } catch (error) { console.log(error.name, error.message); }
        const client = require(${JSON.stringify(join(other.folder, 'node_modules/memcached'))});
        console.log(new MemcachedStore('a:1', { client }).name);`,
      );
      const { stdout } = await runProgram(file);
      assert.match(stdout, /^InvalidOptionError MemcachedStore needs the package 'memcached'.*npm install memcached.*\nmemcached\(a:1\)\n$/);
    }
  });
});

describe('a bundle that left memcached out', () => {
  it('asks for a store in an ES module, and does not tell to install what is installed', async (t) => {
    const project = await createProject(['sequelize', 'mysql2', 'memcached']);
    t.after(() => project.remove());
    await project.write('app.mjs', `import mysql2 from 'mysql2'; import { Sequelize } from 'sequelize'; import { setupCache } from 'sequelize-flash';
      try { setupCache(new Sequelize('mysql://nowhere/db', { dialectModule: mysql2 })); } catch (error) { console.log(error.name, error.message); }`);
    const file = join(project.folder, 'out.mjs');
    // As a bundler leaves it that has a `require` for Node's own modules only.
    await build({
      entryPoints: [join(project.folder, 'app.mjs')],
      outfile: file,
      bundle: true,
      platform: 'node',
      format: 'esm',
      external: [...otherDrivers, 'memcached'],
      logLevel: 'silent',
      banner: { js: "import { createRequire } from 'node:module'; const own = createRequire(import.meta.url); const require = (name) => { if (name === 'memcached') throw new Error('Dynamic require of \"memcached\" is not supported'); return own(name); };" },
    });
    const { stdout } = await runProgram(file, { SEQUELIZE_FLASH_MEMCACHED: '127.0.0.1:1' });
    assert.match(stdout, /^InvalidOptionError setupCache cannot load the package 'memcached' here, as in an ES module bundle: pass a store .*'sequelize-flash\/stores\/memcached'\.\n$/);
    assert.doesNotMatch(stdout, /install/);
  });
});

describe('an application in strict TypeScript', () => {
  for (const [name, options, file] of [
    ['CommonJS', { module: 'nodenext', outDir: 'out' }, 'app.cts'],
    ['an ES module', { module: 'nodenext', outDir: 'out' }, 'app.mts'],
    ['classic resolution', { module: 'commonjs', moduleResolution: 'node10', esModuleInterop: true, outDir: 'out' }, 'app.ts'],
  ] as const) {
    sampled(`compiles and runs as ${name}, with the client's class from @types/memcached`, async (t) => {
      const project = await createProject(['sequelize', 'mysql2', 'memcached', '@types/memcached', '@types/node', '@types/validator']);
      t.after(() => project.remove());
      await project.write(file, asTypeScript);
      await compileTypeScript(project, options, [file]);
      const { stdout } = await runProgram(join(project.folder, 'out', file.replace('ts', 'js')), await places(t));
      assert.equal(stdout, 'Emma up\n');
    });
  }

  sampled('compiles and runs with sequelize-typescript, also minified', async (t) => {
    const project = await createProject(['sequelize', 'sequelize-typescript', 'reflect-metadata', 'mysql2', 'memcached', '@types/node', '@types/validator']);
    t.after(() => project.remove());
    await project.write('app.ts', asSequelizeTypescript);
    await compileTypeScript(project, { module: 'commonjs', moduleResolution: 'node10', esModuleInterop: true, experimentalDecorators: true, emitDecoratorMetadata: true, outDir: 'out' }, ['app.ts']);
    for (const file of [join(project.folder, 'out/app.js'), await withEsbuild(project, 'out/app.js', 'cjs', ['sequelize', 'sequelize-typescript', 'mysql2'])]) {
      const { stdout } = await runProgram(file, await places(t));
      assert.equal(stdout, 'Emma true\n');
    }
  });
});

it('draws builds by the seed', (t) => {
  assert.equal(seen, allBuilds);
  if (wanted >= allBuilds) assert.equal(drawn.length, allBuilds);
  t.diagnostic(`SEED=${String(chosenSeed)} PACKAGING_BUILDS=${String(wanted)}: ${drawn.join('; ')}`);
});
