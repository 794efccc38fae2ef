/**
 * Writes src/entries/fold-table.ts: which characters MariaDB's collations equate.
 *
 *     SEQUELIZE_FLASH_MYSQL_URL=mysql://… node scripts/fold-table.mjs
 *
 * Needs MariaDB 10.10 or newer. Characters that any of the collations gives the same weight get one
 * representative; a character whose weight is that of several others in a row gets those. The rules
 * of src/entries/fold.ts (RULES below) are what is left where two collations disagree about that.
 */
import { writeFileSync } from 'node:fs';
import { createConnection } from 'mysql2/promise';

/** Collations that are not covered; src/entries/fold.ts says why. */
const left = /persian|_roman_|myanmar|thai/;

const url = process.env.SEQUELIZE_FLASH_MYSQL_URL;
if (url === undefined) throw new Error('SEQUELIZE_FLASH_MYSQL_URL names no server.');
const connection = await createConnection({ uri: url, charset: 'utf8mb4' });

const points = [];
for (let point = 0; point < 0x20000; point += 1) if (point < 0xd800 || point > 0xdfff) points.push(point);
for (let point = 0x2f800; point < 0x2fa20; point += 1) points.push(point);

const database = `flash_fold_${String(process.pid)}`;
await connection.query(`CREATE DATABASE ${database}`);
await connection.query(`USE ${database}`);
/** @type {(readonly [collation: string, weights: ReadonlyMap<number, string>])[]} */
const collations = [];
try {
  await connection.query('CREATE TEMPORARY TABLE points (point INT PRIMARY KEY, c VARCHAR(2) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin)');
  for (let from = 0; from < points.length; from += 10_000) {
    const rows = points.slice(from, from + 10_000).map((point) => `(${String(point)},_utf8mb4 0x${Buffer.from(String.fromCodePoint(point)).toString('hex')})`);
    await connection.query(`INSERT INTO points VALUES ${rows.join(',')}`);
  }
  const [names] = await connection.query(
    `SELECT FULL_COLLATION_NAME AS name FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY
     WHERE CHARACTER_SET_NAME IN ('utf8mb4', 'latin1') AND FULL_COLLATION_NAME LIKE '%\\_ci' AND FULL_COLLATION_NAME NOT LIKE '%nopad%'
     AND FULL_COLLATION_NAME NOT LIKE '%\\_as\\_ci'`,
  );
  await connection.query(`CREATE TEMPORARY TABLE latin (point INT PRIMARY KEY, c VARCHAR(2) CHARACTER SET latin1)
    SELECT point, CONVERT(c USING latin1) AS c FROM points WHERE point < 256 AND (point < 128 OR point > 159)`);
  for (const { name } of /** @type {{ name: string }[]} */ (names)) {
    if (left.test(name)) continue;
    const table = name.startsWith('latin1') ? 'latin' : 'points';
    const [rows] = await connection.query({
      sql: `SELECT point, HEX(WEIGHT_STRING(c COLLATE ${name})) FROM ${table} ORDER BY point`,
      rowsAsArray: true,
    });
    collations.push([name, new Map(/** @type {[number, string][]} */ (/** @type {unknown} */ (rows)))]);
  }
} finally {
  await connection.query(`DROP DATABASE ${database}`);
  await connection.end();
}

// ---- Characters of equal weight ------------------------------------------------------------------

/** @type {Map<number, number>} */
const parent = new Map(points.map((point) => [point, point]));
/** @type {(point: number) => number} */
const find = (point) => {
  let root = point;
  while (parent.get(root) !== root) root = /** @type {number} */ (parent.get(root));
  parent.set(point, root);
  return root;
};
/** @type {(a: number, b: number) => void} */
const join = (a, b) => {
  const [one, two] = [find(a), find(b)];
  if (one !== two) parent.set(Math.max(one, two), Math.min(one, two));
};
const ignorable = 0;
/** @type {(point: number) => boolean} */
const isIgnorable = (point) => find(point) === find(ignorable);
/** @type {(point: number) => boolean} */
const isSupplementary = (point) => point > 0xffff;
/** @type {(point: number) => boolean} */
const isHangul = (point) => point >= 0xac00 && point <= 0xd7a3;

for (const [name, weights] of collations) {
  /** @type {Map<string, number>} */
  const first = new Map();
  // These give all supplementary characters the weight of U+FFFD: see RULES.
  const flat = name.endsWith('general_ci') || weights.get(0x10000) === weights.get(0x10001);
  for (const [point, weight] of weights) {
    if (flat && isSupplementary(point)) continue;
    // "[" is Ä in latin1_danish_ci and Å in latin1_swedish_ci.
    if (name.startsWith('latin1') && point < 128 && !/[\da-z]/i.test(String.fromCharCode(point))) continue;
    const other = first.get(weight);
    if (other === undefined) first.set(weight, point);
    else join(point, other);
  }
}

// RULES of src/entries/fold.ts, as far as they concern single characters:
// - What is left of the supplementary characters is ignored, U+FFFD too.
join(ignorable, 0xfffd);
// - U+00B7 belongs to "ŀ" in some collations; U+0621 comes before or after the letter in U+0675 to U+0678.
join(ignorable, 0xb7);
join(ignorable, 0x621);
// - Newer collations move vowels that are written before their consonant behind it.
for (const point of points) if (/\p{Logical_Order_Exception}/u.test(String.fromCodePoint(point))) join(ignorable, point);

/** @type {(point: number) => number[]} */
const decomposed = (point) =>
  [...String.fromCodePoint(point).normalize('NFKD').toLowerCase().normalize('NFKD')].flatMap((character) => {
    const part = /** @type {number} */ (character.codePointAt(0));
    return isIgnorable(part) ? [] : [part];
  });
for (const point of points) {
  const parts = decomposed(point);
  const [only] = parts;
  if (parts.length === 1 && only !== undefined && only !== 0x20 && !isSupplementary(only) && !isHangul(point)) join(point, only);
}

// ---- Characters that weigh as much as several others -----------------------------------------------

/** @type {Map<number, number[]>} */
const words = new Map();
/** @type {(hex: string) => string[]} */
const elements = (hex) => {
  const units = hex.match(/.{4}/g) ?? [];
  /** @type {string[]} */
  const found = [];
  for (let at = 0; at < units.length; at += 1) {
    const unit = /** @type {string} */ (units[at]);
    // A character without a weight of its own has two units.
    if (/^F[B-F]/.test(unit) && at + 1 < units.length) {
      at += 1;
      found.push(`${unit}${units[at] ?? ''}`);
    } else if (unit !== '0000') found.push(unit);
  }
  return found;
};
const collapsing = new Set(['a', 's', 'o', 'i', 'u'].map((letter) => find(/** @type {number} */ (letter.codePointAt(0)))));
/** @type {(point: number, parts: number[]) => void} */
const note = (point, parts) => {
  if (parts.length < 2 || collapsing.has(find(point)) || isIgnorable(point) || isHangul(point)) return;
  if (!words.has(find(point))) words.set(find(point), parts);
};
for (const [name, weights] of [...collations].reverse()) {
  if (!name.startsWith('utf8mb4') || name.includes('general')) continue;
  /** @type {Map<string, number>} */
  const atoms = new Map();
  for (const [point, weight] of weights) {
    const parts = elements(weight);
    if (parts.length === 1 && !isSupplementary(point) && !atoms.has(/** @type {string} */ (parts[0]))) atoms.set(/** @type {string} */ (parts[0]), point);
  }
  for (const [point, weight] of weights) {
    const parts = elements(weight).map((element) => atoms.get(element));
    if (parts.every((part) => part !== undefined)) note(point, parts.filter((part) => !isIgnorable(part)));
  }
}
for (const point of points) note(point, decomposed(point).filter((part) => !isSupplementary(part)));

// ---- The table -------------------------------------------------------------------------------------

/** Lower-case ASCII where a class has it. @type {Map<number, number>} */
const faces = new Map();
for (const point of points) {
  const root = find(point);
  const face = faces.get(root);
  const character = String.fromCodePoint(point);
  if (face === undefined || (/[a-z]/.test(character) && !/[a-z]/.test(String.fromCodePoint(face)))) faces.set(root, point);
}
/** @type {(point: number, seen?: ReadonlySet<number>) => string} */
const form = (point, seen = new Set()) => {
  const root = find(point);
  if (isIgnorable(point)) return '';
  const word = words.get(root);
  if (word !== undefined && !seen.has(root)) return word.map((part) => form(part, new Set([...seen, root]))).join('');
  return String.fromCodePoint(/** @type {number} */ (faces.get(root)));
};
/** @type {Map<string, number[]>} */
const targets = new Map();
for (const point of points) {
  if (isHangul(point)) continue;
  const target = form(point);
  const character = String.fromCodePoint(point);
  if (target === (isSupplementary(point) ? '' : character)) continue;
  // A supplementary character that stands for itself is ignored.
  if (isSupplementary(point) && target === character) continue;
  const clean = [...target].filter((part) => !isSupplementary(/** @type {number} */ (part.codePointAt(0)))).join('');
  if (isSupplementary(point) && clean === '') continue;
  targets.set(clean, [...(targets.get(clean) ?? []), point]);
}
const lines = Array.from(targets, ([target, members]) => {
  let previous = 0;
  const deltas = members.map((member) => {
    const delta = (member - previous).toString(36);
    previous = member;
    return delta;
  });
  /** @type {string[]} */
  const runs = [];
  for (let at = 0; at < deltas.length; ) {
    let length = 1;
    while (deltas[at + length] === '1') length += 1;
    // "+n": the next n characters too.
    runs.push(length > 2 ? `${/** @type {string} */ (deltas[at])}+${(length - 1).toString(36)}` : deltas.slice(at, at + length).join(' '));
    at += length;
  }
  return `${[...target].map((part) => /** @type {number} */ (part.codePointAt(0)).toString(36)).join('.')}=${runs.join(' ')}`;
});
/** @type {string[]} */
const rows = [];
let row = '';
for (const line of lines) {
  if (row.length + line.length > 110 && row !== '') {
    rows.push(row);
    row = '';
  }
  row += `${line};`;
}
rows.push(row);
writeFileSync(
  new URL('../src/entries/fold-table.ts', import.meta.url),
  `/**
 * Generated by scripts/fold-table.mjs from MariaDB's collations; src/entries/fold.ts reads it.
 *
 * \`target=members;\`, numbers in base 36: what the members fold to as code points, then the members as
 * differences, \`d+n\` for one with the n that follow it.
 */
export const foldTable =
${rows.map((text) => `  '${text}'`).join(' +\n')};
`,
);
console.log(`${String(collations.length)} collations, ${String([...targets.values()].reduce((sum, { length }) => sum + length, 0))} characters fold to ${String(targets.size)} forms`);
