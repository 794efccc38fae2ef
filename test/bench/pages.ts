/** Writes what was measured where it is read: the README's tables, and docs/benchmark.md. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { forReadme, resourcePage, type Result } from './report.js';

const [begin, end] = ['<!-- bench -->', '<!-- /bench -->'];

/** @param root the project's folder. @throws Error if the README has no place for the tables */
export function writePages(root: string, result: Result): void {
  const readme = join(root, 'README.md');
  const text = readFileSync(readme, 'utf8');
  const [from, to] = [text.indexOf(begin), text.indexOf(end)];
  if (from < 0 || to < from) throw new Error(`README.md has no ${begin} with ${end} after it.`);
  writeFileSync(readme, `${text.slice(0, from + begin.length)}\n${forReadme(result)}\n${text.slice(to)}`);
  writeFileSync(join(root, 'docs', 'benchmark.md'), resourcePage(result));
}
