/** Every example, and the demo on both of its stacks, as its user starts it: a process of its own. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { startMemcached } from '../support/memcached-process.js';

const root = join(__dirname, '..', '..', '..');

interface Run {
  readonly code: number | null;
  readonly lines: readonly string[];
  readonly errors: string;
}

/** Runs a compiled example, `demo/index` for one, without a terminal. One that does not end by itself is killed, and its code is null. */
function run(example: string, args: readonly string[] = [], env: Readonly<Record<string, string>> = {}): Promise<Run> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [join(root, 'build', 'examples', `${example}.js`), ...args], {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: 60_000,
    });
    let output = '';
    let errors = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text));
    child.once('error', reject);
    child.once('close', (code) => {
      resolve({ code, lines: output.trimEnd().split('\n'), errors });
    });
  });
}

function succeeded({ code, lines, errors }: Run, lastLine: RegExp): void {
  assert.equal(code, 0, `exit code ${String(code)}\n${lines.slice(-5).join('\n')}\n${errors}`);
  assert.match(lines.at(-1) ?? '', lastLine);
}

describe('the demo', () => {
  const summary = /^demo ok: \d+ lookups, \d+ SQL statements avoided, hit rate \d+ %$/;

  for (const args of [[], ['--mysql']]) {
    it(`runs ${args.length === 0 ? 'on SQLite and the memory store' : 'on MySQL and memcached'}`, async () => {
      const demo = await run('demo/index', args);
      succeeded(demo, summary);
      for (const line of demo.lines) {
        assert.ok([...line].length <= 80, `more than 80 columns: ${line}`);
        assert.ok(!line.includes('\u001b'), `colours without a terminal: ${line}`);
      }
    });
  }

  it('says what it cannot do', async () => {
    const { code, errors } = await run('demo/index', ['--postgres']);
    assert.equal(code, 1);
    assert.match(errors, /Unknown argument: --postgres/);
  });

  it('says which servers it lacks', async () => {
    const { code, errors } = await run('demo/index', ['--mysql'], { SEQUELIZE_FLASH_MYSQL_URL: '' });
    assert.equal(code, 1);
    assert.match(errors, /npm start -- --mysql.*SEQUELIZE_FLASH_MYSQL_URL/);
  });
});

describe('examples', () => {
  it('plain: Model.init', async () => {
    succeeded(await run('plain/index'), /^plain ok$/);
  });

  it('typescript: sequelize-typescript', async () => {
    succeeded(await run('typescript/index'), /^typescript ok$/);
  });

  it('several-servers: rows on two memcached servers', async () => {
    const first = await startMemcached();
    const second = await startMemcached();
    try {
      const servers = `${first.address},${second.address}`;
      succeeded(await run('several-servers/index', [], { SEQUELIZE_FLASH_MEMCACHED: servers }), /^several servers ok: 2 of them$/);
      // Both hold a part of the rows.
      for (const server of [first, second]) assert.match(await server.command('stats\r\n'), /STAT curr_items [1-9]/);
    } finally {
      await first.stop();
      await second.stop();
    }
  });

  const family = readdirSync(join(root, 'examples', 'family')).map((file) => file.replace(/\.ts$/, ''));
  for (const name of family) {
    it(`family/${name}`, async () => {
      succeeded(await run(`family/${name}`), new RegExp(`^${name.replace('-', ' ')} ok$`));
    });
  }

  it('are all in their README', () => {
    const listed = Array.from(readFileSync(join(root, 'examples', 'README.md'), 'utf8').matchAll(/^\| \[`([^`]+)`\]/gm), ([, path]) => path);
    const present = readdirSync(join(root, 'examples'), { withFileTypes: true })
      .filter((entry) => entry.isDirectory() && entry.name !== 'family' && entry.name !== 'support')
      .map((entry) => `${entry.name}/`);
    assert.deepEqual(listed.toSorted(), [...present, ...family.map((name) => `family/${name}.ts`)].toSorted());
  });
});
