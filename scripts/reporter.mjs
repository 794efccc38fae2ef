/**
 * Reporter for `node --test`: one line for each test file, and every failure in full, with places in the
 * TypeScript source. Writes the totals to the file that SEQUELIZE_FLASH_TEST_SUMMARY names.
 */
import { existsSync, writeFileSync } from 'node:fs';
import { SourceMap } from 'node:module';
import { join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { inspect } from 'node:util';

import { readJson, ROOT } from './tools.mjs';

const OUTPUT_LINES_OF_A_FAILED_FILE = 200;
const OUTPUT_LINES_OF_A_PASSED_FILE = 10;
const LINES_OF_A_FAILURE = 120;

/** @typedef {import('node:test/reporters').TestEvent} TestEvent */

/** What is known of one test file. */
class FileReport {
  passed = 0;
  failed = 0;
  skipped = 0;
  /** @type {string[]} */
  failures = [];
  /** @type {string[]} */
  failedNames = [];
  /** @type {string[]} */
  notes = [];
  output = '';
  warnings = '';
  /** The names of the suites and tests that enclose the current one, and its own. @type {string[]} */
  names = [];

  /** @param {string} path of the compiled file */
  constructor(path) {
    this.name = relative(join(ROOT, 'build'), path).replace(/\.[mc]?js$/, '');
  }

  /** @param {string} name @param {unknown} error */
  fail(name, error) {
    this.failed++;
    this.failedNames.push(`${this.name}: ${name}`);
    this.failures.push(`✖ ${name}\n${indent(limit(describe(error), LINES_OF_A_FAILURE))}`);
  }
}

/**
 * @param {AsyncIterable<TestEvent>} events
 * @returns {AsyncGenerator<string>}
 */
export default async function* reporter(events) {
  const totals = { passed: 0, failed: 0, skipped: 0 };
  /** @type {string[]} */
  const failedNames = [];
  /** @type {Map<string, number>} */
  const durations = new Map();
  /** @type {FileReport | undefined} */
  let report;
  let reportPath = '';

  function* finish() {
    if (!report) return;
    totals.passed += report.passed;
    totals.failed += report.failed;
    totals.skipped += report.skipped;
    failedNames.push(...report.failedNames);
    yield format(report, durations.get(reportPath));
    report = undefined;
  }

  for await (const event of events) {
    const path = pathOf(event);
    if (event.type === 'test:complete') {
      // Not in the order of the other events: it comes as soon as the file has ended.
      if (path !== undefined && isFile(event.data, path)) durations.set(path, event.data.details.duration_ms);
      continue;
    }
    if (event.type === 'test:enqueue' || event.type === 'test:dequeue') continue;
    if (path !== undefined && (!report || path !== reportPath)) {
      yield* finish();
      reportPath = path;
      report = new FileReport(path);
    }
    if (report) add(report, reportPath, event);
  }
  yield* finish();

  if (failedNames.length > 0) yield `\nFailed:\n${failedNames.map((name) => `  ${name}\n`).join('')}`;
  yield '\n';
  const summary = process.env.SEQUELIZE_FLASH_TEST_SUMMARY;
  if (summary) writeFileSync(summary, JSON.stringify(totals));
}

/**
 * @param {FileReport} report
 * @param {string} path
 * @param {TestEvent} event
 */
function add(report, path, event) {
  switch (event.type) {
    case 'test:start':
      report.names.length = event.data.nesting;
      report.names[event.data.nesting] = event.data.name;
      break;
    case 'test:pass':
      if (event.data.details.type === 'suite' || isFile(event.data, path)) break;
      if (event.data.skip !== undefined || event.data.todo !== undefined) report.skipped++;
      else report.passed++;
      break;
    case 'test:fail': {
      const error = event.data.details.error;
      // The failure of a test that a failed subtest is part of has been reported with that.
      if (failureType(error) === 'subtestsFailed') break;
      if (event.data.todo !== undefined) report.skipped++;
      else if (isFile(event.data, path)) report.fail('the process of the file', error);
      else report.fail(report.names.slice(0, event.data.nesting + 1).join(' > '), error);
      break;
    }
    case 'test:diagnostic': {
      const { message } = event.data;
      // Node counts what fails after its test has ended as a remark.
      if (message.includes('generated asynchronous activity')) report.fail('after the end of a test', message);
      else if (pathOf(event) !== undefined) report.notes.push(message);
      break;
    }
    case 'test:stdout':
      report.output += event.data.message;
      break;
    case 'test:stderr':
      report.output += event.data.message;
      report.warnings += event.data.message;
      break;
    default:
      break;
  }
}

/**
 * @param {FileReport} report
 * @param {number | undefined} duration
 */
function format(report, duration) {
  const { passed, failed, skipped } = report;
  const counts = [`${passed} passed`, ...(failed ? [`${failed} failed`] : []), ...(skipped ? [`${skipped} skipped`] : [])];
  const time = duration === undefined ? '' : ` (${(duration / 1000).toFixed(1)} s)`;
  const lines = [`${failed > 0 ? '✖' : '✔'} ${report.name}: ${counts.join(', ')}${time}`];
  lines.push(...report.notes.map((note) => indent(`ℹ ${note}`)));
  const output =
    failed > 0
      ? limit(mapPlaces(report.output), OUTPUT_LINES_OF_A_FAILED_FILE)
      : limit(mapPlaces(report.warnings), OUTPUT_LINES_OF_A_PASSED_FILE);
  if (output.trim()) lines.push(indent(output.trimEnd().replace(/^/gm, '| ')));
  lines.push(...report.failures.map((failure) => indent(`${failure}\n`)));
  return `${lines.join('\n')}\n`;
}

/**
 * @param {TestEvent} event
 * @returns {string | undefined}
 */
function pathOf(event) {
  const data = /** @type {{ file?: string } | undefined} */ (event.data);
  if (data?.file === undefined) return undefined;
  return data.file.startsWith('file:') ? fileURLToPath(data.file) : data.file;
}

/**
 * Node reports a file whose process failed like a test with the file's name.
 * @param {{ name: string, nesting: number }} test
 * @param {string} path
 */
function isFile({ name, nesting }, path) {
  return nesting === 0 && resolve(name) === path;
}

/** @param {unknown} error */
function failureType(error) {
  return error instanceof Error && 'failureType' in error ? error.failureType : undefined;
}

/**
 * @param {unknown} error
 * @returns {string}
 */
function describe(error) {
  if (failureType(error) !== undefined && error instanceof Error && error.cause instanceof Error) {
    return describe(error.cause);
  }
  if (!(error instanceof Error)) return mapPlaces(typeof error === 'string' ? error : inspect(error));
  // The message of an assertion has its difference already.
  if (error.name === 'AssertionError') return mapPlaces(error.stack ?? error.message);
  if (failureType(error) === 'testTimeoutFailure') return `${error.message}: it hangs, or has left something open`;
  if (failureType(error) !== undefined) return error.message;
  return mapPlaces(inspect(error, { depth: 4, breakLength: 110 }));
}

/** @type {Map<string, SourceMap | undefined>} */
const sourceMaps = new Map();

/**
 * Replaces places in compiled files by those in the sources, and leaves out Node's own.
 * @param {string} text
 */
function mapPlaces(text) {
  return text
    .replace(/^ +at .*\(?node:.*\n?/gm, '')
    .replace(/(?:file:\/\/)?(\/[^\s()]+\.[mc]?js):(\d+):(\d+)/g, (place, /** @type {string} */ file, line, column) => {
      const position = sourceMapOf(file)?.findEntry(Number(line) - 1, Number(column) - 1);
      if (!position || !('originalSource' in position)) return place;
      const source = relative(ROOT, join(file, '..', position.originalSource));
      return `${source}:${position.originalLine + 1}:${position.originalColumn + 1}`;
    });
}

/** @param {string} file */
function sourceMapOf(file) {
  if (!sourceMaps.has(file)) {
    const isOurs = file.startsWith(`${ROOT}/build/`) || file.startsWith(`${ROOT}/dist/`);
    const map = `${file}.map`;
    sourceMaps.set(file, isOurs && existsSync(map) ? new SourceMap(readJson(map)) : undefined);
  }
  return sourceMaps.get(file);
}

/** @param {string} text */
function indent(text) {
  return text.replace(/^(?=.)/gm, '    ');
}

/**
 * @param {string} text
 * @param {number} count
 */
function limit(text, count) {
  const lines = text.split('\n');
  if (lines.length <= count) return text;
  return [...lines.slice(0, count), `… ${lines.length - count} more lines`].join('\n');
}
