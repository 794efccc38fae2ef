/** Buckets of texts against the collations of a real MariaDB. */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, describe, it } from 'node:test';
import { createConnection, type Connection, type RowDataPacket } from 'mysql2/promise';
import { foldText } from '../../src/entries/fold.js';
import { mysqlUrl } from '../support/backends.js';

/** See src/entries/fold.ts for the reasons. */
const notCovered = /persian|_roman_|myanmar|thai/;

/** What every server has, and those that it may have; the language collations tailor them. */
const principal = ['utf8mb4_general_ci', 'utf8mb4_unicode_ci', 'utf8mb4_unicode_520_ci'];
const roots = new Set([...principal, 'utf8mb4_uca1400_ai_ci', 'utf8mb4_0900_ai_ci']);

const hex = (text: string): string => `_utf8mb4 0x${Buffer.from(text).toString('hex')}`;
const printed = (text: string): string =>
  `${JSON.stringify(text)} (${[...text].map((c) => `U+${(c.codePointAt(0) ?? 0).toString(16).padStart(4, '0')}`).join(' ')})`;

describe('foldText is at least as coarse as the collations of the database', () => {
  const database = `flash_${randomUUID().slice(0, 8)}`;
  let connection: Connection;
  let collations: readonly string[];

  before(async () => {
    connection = await createConnection({ uri: mysqlUrl(), charset: 'utf8mb4' });
    await connection.query(`CREATE DATABASE ${database}`);
    await connection.query(`USE ${database}`);
    collations = await caseInsensitive(connection, 'utf8mb4');
  });
  after(async () => {
    await connection.query(`DROP DATABASE ${database}`);
    await connection.end();
  });

  it('has the collations to compare with', () => {
    for (const name of principal) assert.ok(collations.includes(name), `${name} is missing`);
  });

  it('gives one bucket to all characters of equal weight, in every language', async (context) => {
    const points = [...range(0, 0xd800), ...range(0xe000, 0x20000), ...range(0x2f800, 0x2fa20), ...range(0xe0000, 0xe0200)];
    await load(connection, 'points', points.map((point) => String.fromCodePoint(point)), 'utf8mb4', points);
    const report: string[] = [];
    let groups = 0;
    for (const collation of collations) {
      // No language has a say in ideographs and Hangul syllables.
      const where = roots.has(collation) ? 'TRUE' : '(id < 0x3400 OR id BETWEEN 0xA000 AND 0xABFF OR id BETWEEN 0xF900 AND 0xFFFF)';
      const byWeight = await grouped(connection, 'points', collation, '', where);
      for (const group of byWeight) {
        // Where all characters beyond U+FFFF are one, the styled letters among them are not (see fold.ts).
        const flat = group.length > 50_000;
        const compared = flat ? group.filter((character) => character.length === 1) : group;
        if (compared.length < 2) continue;
        groups += 1;
        report.push(...differing(collation, compared));
      }
    }
    assert.deepEqual(report.slice(0, 20), [], `${report.length} groups have several buckets`);
    assert.ok(groups > 20_000, `${groups} groups were compared`);
    context.diagnostic(`${collations.length} collations, ${points.length} characters, ${groups} groups of equal weight`);
  });

  it('gives one bucket to characters of equal weight in latin1', async () => {
    const bytes = [...range(32, 127), ...range(160, 256)].map((code) => String.fromCharCode(code)).filter((c) => !/[[\]\\]/.test(c));
    await load(connection, 'latin', bytes, 'latin1');
    for (const collation of await caseInsensitive(connection, 'latin1')) {
      const byWeight = await grouped(connection, 'latin', collation);
      assert.deepEqual(byWeight.flatMap((group) => differing(collation, group)), []);
    }
  });

  it('gives one bucket to short texts that are equal, with expansions, contractions and padding', async () => {
    const alphabets = [
      ['a', 'A', 'e', 's', 'ß', 'ä', 'æ', 'å', 'Å', '\u0308', ' ', '\0'],
      ['o', 'e', 'ö', 'ø', 'œ', 'u', 'ü', 'y', 'i', 'İ', 'ı', '\u200b'],
      ['l', 'ŀ', '·', 'd', 'ž', 'z', 'ǆ', 'ĳ', 'i', 'j', 'ﬁ', 'f'],
      ['c', 'h', 'C', 'ch', 'll', 'l', 'ñ', 'n', '\u0303', 'w', 'v', '\t'],
      ['и', 'й', '\u0306', 'е', 'ё', '\u0308', 'ა', 'Ა', 'α', '\u0345', 'ι', 'ς'],
      ['เ', 'ก', 'ข', 'า', '\u0e33', '\u0e4d', 'か', '\u3099', 'が', 'ガ', 'ー', '한'],
      ['ا', 'أ', '\u0654', 'ل', 'ﻻ', 'ء', 'ي', 'ى', 'ـ', 'ه', 'ة', '١'],
      ['क', '\u093c', 'क़', '\u093e', '\u0bc6', '\u0bbe', '\u0bca', 'க', '\u0dd9', '\u0dca', '\u0dda', 'ක'],
    ];
    const texts = new Set<string>();
    for (const alphabet of alphabets) {
      for (const a of ['', ...alphabet]) for (const b of alphabet) for (const c of ['', ...alphabet]) texts.add(a + b + c);
    }
    await load(connection, 'texts', [...texts]);
    const report: string[] = [];
    for (const collation of collations) {
      // Padded to one length, so that trailing spaces count as they do in a comparison.
      for (const group of await grouped(connection, 'texts', collation, ' AS CHAR(8)')) report.push(...differing(collation, group));
    }
    assert.deepEqual(report.slice(0, 20), [], `${report.length} groups have several buckets`);
  });

  it('stays fine enough to tell names apart', () => {
    const distinct = (texts: readonly string[]): number => new Set(texts.map(foldText)).size;
    const letters = [...range(0x80, 0xd800), ...range(0xf900, 0x10000)].map((point) => String.fromCodePoint(point)).filter((c) => /\p{L}/u.test(c));
    assert.ok(distinct(letters) > 40_000, `${distinct(letters)} buckets for ${letters.length} letters`);
    assert.equal(distinct(['東京', '京都', '大阪', '北京', '南京', '上海']), 6);
    assert.equal(distinct(['서울', '부산', '대구', '인천', '가', '나', '각', '간']), 8);
    assert.equal(distinct(Array.from('бвгджзклмнпрстфхцчшщыэюя')), 24);
    assert.equal(distinct(Array.from('بتثجحخدذرزسشصضطظعغفقكلمنو')), 25);
    assert.equal(distinct(Array.from('กขคงจฉชซญดตถทธนบปผฝพฟมยรลวสหอ')), 29);
    assert.equal(distinct(Array.from('कखगघचछजझटठडढणतथदधनपफबभमयरलवशषसह')), 31);
    assert.equal(distinct(['राम', 'रमा', 'रमी', 'रोम']), 4);
    assert.equal(distinct(['anna', 'hanna', 'johanna', 'ana']), 4);
  });
});

async function caseInsensitive(connection: Connection, characterSet: string): Promise<readonly string[]> {
  // MariaDB's newer collations have names that are short for several character sets.
  const [columns] = await connection.query<RowDataPacket[]>(
    `SELECT 1 FROM information_schema.COLUMNS WHERE TABLE_NAME = 'COLLATION_CHARACTER_SET_APPLICABILITY' AND COLUMN_NAME = 'FULL_COLLATION_NAME'`,
  );
  const [rows] = await connection.query<RowDataPacket[]>(
    `SELECT ${columns.length > 0 ? 'FULL_COLLATION_NAME' : 'COLLATION_NAME'} AS name
     FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY WHERE CHARACTER_SET_NAME = '${characterSet}'`,
  );
  // What compares accents too is finer than its accent-insensitive sister.
  return rows.map(({ name }) => String(name)).filter((name) => name.endsWith('_ci') && !/nopad|_as_ci/.test(name) && !notCovered.test(name));
}

async function load(connection: Connection, table: string, texts: readonly string[], characterSet = 'utf8mb4', ids?: readonly number[]): Promise<void> {
  await connection.query(`CREATE TEMPORARY TABLE ${table} (id INT PRIMARY KEY, c VARCHAR(8) CHARACTER SET ${characterSet})`);
  for (let from = 0; from < texts.length; from += 10_000) {
    const rows = texts.slice(from, from + 10_000).map((text, at) => `(${ids?.[from + at] ?? from + at}, ${hex(text)})`);
    await connection.query(`INSERT INTO ${table} VALUES ${rows.join(',')}`);
  }
}

/** The texts of a table by equal weight. */
async function grouped(connection: Connection, table: string, collation: string, as = '', where = 'TRUE'): Promise<readonly (readonly string[])[]> {
  const [rows] = await connection.query<RowDataPacket[]>({
    sql: `SELECT HEX(CONVERT(c USING utf8mb4)), HEX(WEIGHT_STRING(c COLLATE ${collation}${as})) FROM ${table} WHERE ${where} ORDER BY id`,
    rowsAsArray: true,
  });
  const groups = new Map<string, string[]>();
  for (const [c, weight] of rows as unknown as readonly (readonly [c: string, weight: string])[]) {
    const group = groups.get(weight);
    if (group === undefined) groups.set(weight, [c]);
    else group.push(c);
  }
  return [...groups.values()].filter((group) => group.length > 1).map((group) => group.map((c) => Buffer.from(c, 'hex').toString()));
}

/** The texts of a group whose bucket is not that of the first, as a message. */
function differing(collation: string, [first = '', ...rest]: readonly string[]): readonly string[] {
  const bucket = foldText(first);
  const others = rest.filter((text) => foldText(text) !== bucket);
  return others.length === 0 ? [] : [`${collation}: ${printed(first)} = ${others.slice(0, 3).map(printed).join(', ')}`];
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, at) => from + at);
}
