/**
 * The README is kept by its readers' means: its code compiles and runs, its tables are complete.
 *
 * Its TypeScript blocks form programs. `<!-- program: name -->` before a block says which one it and
 * the blocks after it belong to; a name may come again and goes on then. The blocks before the first
 * such comment are the program "first". `<!-- hidden` to `-->` is code that a program needs and a
 * reader does not, such as the rows that it reads, and assertions.
 */
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { Sequelize } from 'sequelize';
import ts from 'typescript';
import * as errors from '../../src/errors.js';
import { channels } from '../../src/events.js';
import { resolveOptions } from '../../src/options.js';
import { withRequestCache } from '../../src/request-cache.js';
import { MemcachedStore } from '../../src/stores/memcached.js';
import { MemoryStore } from '../../src/stores/memory.js';
import { mysqlUrl } from '../support/backends.js';

const root = join(__dirname, '..', '..', '..');
const folder = join(root, 'build', 'readme');
const readme = readFileSync(join(root, 'README.md'), 'utf8');

/** What is read as it stands. */
const pages = ['README.md', 'CONTRIBUTING.md', join('examples', 'README.md'), join('docs', 'scaling.md'), join('docs', 'benchmark.md')];

/** A page's headings, as links name them. */
const headingsOf = (page: string): ReadonlySet<string> =>
  new Set([...page.matchAll(/^#+ (.+)$/gm)].map(([, title = '']) => title.toLowerCase().replace(/[^\w\s-]/g, '').replaceAll(' ', '-')));

/** The programs of the README by name. */
function programs(): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  let name = 'first';
  const parts = readme.matchAll(/^<!-- program: (\S+) -->$|^```ts\n(.*?)^```$|^<!-- hidden\n(.*?)^-->$/gms);
  for (const [, program, shown, hidden] of parts) {
    if (program !== undefined) name = program;
    else found.set(name, (found.get(name) ?? '') + (shown ?? hidden ?? ''));
  }
  return found;
}

const files = new Map([...programs()].map(([name, code]) => [name, { path: join(folder, `${name}.mts`), code }]));

describe('the README', () => {
  before(() => {
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { recursive: true });
    for (const { path, code } of files.values()) writeFileSync(path, code);
  });

  it('has its programs', () => {
    assert.deepEqual([...files.keys()], ['first', 'plain', 'sequelize-typescript', 'family', 'servers', 'events', 'health', 'tests']);
  });

  it('compiles against the package as it ships', () => {
    const { config } = ts.readConfigFile(join(root, 'tsconfig.json'), (path) => ts.sys.readFile(path)) as {
      config: { compilerOptions: object };
    };
    const { options } = ts.convertCompilerOptionsFromJson(
      { ...config.compilerOptions, experimentalDecorators: true, declaration: false, noUnusedLocals: false, rootDir: folder, outDir: folder },
      root,
    );
    const program = ts.createProgram([...files.values()].map(({ path }) => path), options);
    const { diagnostics } = program.emit();
    assert.equal(
      ts.formatDiagnostics([...ts.getPreEmitDiagnostics(program), ...diagnostics], {
        getCanonicalFileName: (file) => file,
        getCurrentDirectory: () => root,
        getNewLine: () => '\n',
      }),
      '',
    );
  });

  describe('runs', () => {
    const admin = new Sequelize(mysqlUrl(), { dialect: 'mysql', logging: false });
    const created: string[] = [];

    after(async () => {
      for (const database of created) await admin.query(`DROP DATABASE ${database}`);
      await admin.close();
    });

    for (const [name, { path }] of files) {
      it(`its program "${name}"`, async () => {
        const database = `flash_readme_${randomUUID().slice(0, 8)}`;
        await admin.query(`CREATE DATABASE ${database} CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci`);
        created.push(database);
        const url = new URL(mysqlUrl());
        url.pathname = `/${database}`;
        const { status, stderr } = spawnSync(process.execPath, [path.replace(/\.mts$/, '.mjs')], {
          env: { ...process.env, DATABASE_URL: url.href },
          encoding: 'utf8',
          timeout: 60_000,
        });
        assert.equal(status, 0, `${relative(root, path)}: ${stderr}`);
      });
    }
  });

  it('lists every error with its code', () => {
    for (const [name, value] of Object.entries(errors)) {
      const error: object = Reflect.construct(value, ['message']);
      const code: unknown = Reflect.get(error, 'code');
      // The bases have none.
      if (typeof code === 'string') assert.ok(readme.includes(`| \`${name}\` | \`${code}\` |`), `${name} with ${code}`);
    }
  });

  it('lists every option', () => {
    const listed = (heading: string): readonly string[] => {
      const table = readme.slice(readme.indexOf(heading)).split('\n\n')[1] ?? '';
      return [...table.matchAll(/^\| `(\w+)` \|/gm)].map(([, name]) => name ?? '');
    };
    const known = (construct: () => unknown): readonly string[] => {
      const message = thrownBy(construct);
      return (/Its options are: (.*)\.$/.exec(message)?.[1] ?? '').split(', ');
    };
    const nonsense = { nonsense: 1 } as object;
    assert.deepEqual(listed('**`setupCache(sequelize, options)`**'), known(() => resolveOptions(nonsense, {})));
    assert.deepEqual(listed('**`withRequestCache(work, options)`**'), known(() => withRequestCache(() => undefined, nonsense)));
    assert.deepEqual(listed('**`new MemcachedStore(servers, options)`**'), known(() => new MemcachedStore('localhost', nonsense)));
    assert.deepEqual(listed('**`new MemoryStore(options)`**'), known(() => new MemoryStore(nonsense)));
  });

  it('lists every channel', () => {
    for (const { name } of Object.values(channels)) assert.ok(readme.includes(`| \`${String(name)}\` |`), String(name));
  });

  for (const page of pages) {
    it(`links to what is there: ${page}`, () => {
      const text = readFileSync(join(root, page), 'utf8');
      for (const [, link = ''] of text.matchAll(/\]\((?!https?:)([^)]+)\)/g)) {
        const [file = '', heading] = link.split('#');
        const target = file === '' ? page : join(dirname(page), file);
        const there = readFileSync(join(root, target), 'utf8');
        if (heading !== undefined) assert.ok(headingsOf(there).has(heading), link);
      }
    });
  }
});

function thrownBy(body: () => unknown): string {
  try {
    body();
  } catch (error) {
    return String(error);
  }
  return assert.fail('nothing was thrown');
}
