/** What the text of a raw statement tells: whether it may change rows, and what becomes of its transaction. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Sequelize } from 'sequelize';
import { aboutTables, canWrite, changeIn, dropsDatabase, isOneWrite, kindOf, mayEndTransaction } from '../../src/hooks/raw-sql.js';
import { ServerSettings } from '../../src/hooks/server-settings.js';

const reads = [
  'SELECT * FROM Users',
  '  (select 1) union (select 2)',
  "SELECT 'a; UPDATE Users SET x = 1' AS text",
  'SELECT "it""s; DELETE FROM Users"',
  "SELECT 'it\\'s; DELETE FROM Users'",
  'SELECT `a;UPDATE` FROM Users',
  '/* UPDATE Users; */ SELECT 1 -- ; DELETE FROM Users',
  'SELECT 1; # DELETE FROM Users',
  'SELECT 1; SHOW TABLES;',
  'EXPLAIN UPDATE Users SET x = 1',
  'ANALYZE TABLE Users',
  'SET @a = 1',
  'SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED',
  'START TRANSACTION;',
  'BEGIN',
  'SAVEPOINT `a`',
];

const writes = [
  'UPDATE Users SET x = 1',
  'insert into Users values (1)',
  'WITH a AS (SELECT 1) DELETE FROM Users',
  'SELECT 1; UPDATE Users SET x = 1',
  '/* a comment */ UPDATE Users SET x = 1',
  '-- a comment\nUPDATE Users SET x = 1',
  '/*!40000 UPDATE Users SET x = 1 */',
  '/*M! UPDATE Users SET x = 1 */',
  'ANALYZE UPDATE Users SET x = 1',
  'ANALYZE FORMAT=JSON DELETE FROM Users',
  'EXPLAIN ANALYZE DELETE FROM Users',
  'SET STATEMENT max_statement_time = 1 FOR UPDATE Users SET x = 1',
  'BEGIN NOT ATOMIC UPDATE Users SET x = 1; END',
  'CALL rename_all()',
  'LOAD DATA INFILE "a" INTO TABLE Users',
  'TRUNCATE Users',
  'ALTER TABLE Users DROP x',
];

describe('raw SQL', () => {
  for (const sql of reads) {
    it(`cannot write: ${sql}`, () => {
      assert.equal(canWrite(sql), false);
    });
  }
  for (const sql of writes) {
    it(`may write: ${sql}`, () => {
      assert.equal(canWrite(sql), true);
    });
  }

  for (const [sql, expected] of [
    ['SELECT 1', false],
    ['UPDATE Users SET x = 1', false],
    ["UPDATE Users SET x = '; COMMIT; '", false],
    ['WITH a AS (SELECT 1) DELETE FROM Users', false],
    ['(SELECT 1) UNION (SELECT 2)', false],
    ['SAVEPOINT a', false],
    ['RELEASE SAVEPOINT a', false],
    ['ROLLBACK TO SAVEPOINT a', false],
    ['ROLLBACK WORK TO a', false],
    ['CREATE TEMPORARY TABLE a (b INT)', false],
    ['CREATE OR REPLACE TEMPORARY TABLE a (b INT)', false],
    ['DROP TEMPORARY TABLE a', false],
    ['DROP\n\tTEMPORARY TABLE a', false],
    ['SET @a = 1', false],
    ['ANALYZE UPDATE Users SET x = 1', false],
    ['ANALYZE FORMAT=JSON SELECT * FROM Users', false],
    ["LOAD DATA INFILE 'a' INTO TABLE Users", false],
    ['SET autocommit = 1', true],
    ['SET @a = 1, @@session.autocommit = 1', true],
    ["SET PASSWORD = 'a'", true],
    ['SET STATEMENT max_statement_time = 1 FOR CALL rename_all()', true],
    ['COMMIT', true],
    ['COMMIT AND CHAIN', true],
    ['rollback', true],
    ['CREATE TABLE a (b INT)', true],
    ['CREATE OR REPLACE TABLE a (b INT)', true],
    ['alter table a add c int', true],
    ['DROP TABLE a', true],
    ['RENAME TABLE a TO b', true],
    ['TRUNCATE a', true],
    ['LOCK TABLES a WRITE', true],
    ['UNLOCK TABLES', true],
    ['ANALYZE TABLE a', true],
    ['ANALYZE LOCAL TABLE a', true],
    ['GRANT ALL ON a TO b', true],
    ['STOP REPLICA', true],
    ['SELECT 1; COMMIT', true],
    ['BEGIN', true],
    ['START TRANSACTION;', true],
    ['CALL rename_all()', true],
    ['EXECUTE renaming', true],
    ["EXECUTE IMMEDIATE 'COMMIT'", true],
    ['BEGIN NOT ATOMIC COMMIT; END', true],
    ['/*!40000 COMMIT */', true],
  ] as const) {
    it(`${expected ? 'may end' : 'keeps'} its transaction: ${sql}`, () => {
      assert.equal(mayEndTransaction(sql), expected);
    });
  }

  for (const [sql, expected] of [
    ['UPDATE `Users` SET `x`=1 WHERE `id` = 1', true],
    ['UPDATE `Users` SET `x`=1;', true],
    ["INSERT INTO Users (x) VALUES ('a; b'), ('c');", true],
    ['  delete from Users;\n', true],
    ['REPLACE INTO Users VALUES (1) -- ; a comment', true],
    ['UPDATE Users SET x = x + 1; UPDATE Users SET y = 1', false],
    ["INSERT INTO Users VALUES ('a'); DELETE FROM Users;", false],
    ['UPDATE Users SET x = 1 /*! ; DELETE FROM Users */', false],
    ['CALL rename_all()', false],
    ['BEGIN NOT ATOMIC UPDATE Users SET x = 1; END', false],
    ['START TRANSACTION', false],
  ] as const) {
    it(`is ${expected ? 'one write' : 'not one write'}: ${sql}`, () => {
      assert.equal(isOneWrite(sql), expected);
    });
  }

  for (const [sql, expected] of [
    ['DROP DATABASE shop', true],
    ['drop  schema if exists `shop`;', true],
    ['DROP TABLE shop', false],
    ["SELECT 'DROP DATABASE shop'", false],
  ] as const) {
    it(`${expected ? 'drops' : 'does not drop'} a database: ${sql}`, () => {
      assert.equal(dropsDatabase(sql), expected);
    });
  }
});

describe('changeIn', () => {
  /** Texts with what they do to a table of which `id` is referred to: remove rows, or set it. */
  const changes: readonly (readonly [string, { readonly removes?: true; readonly sets?: true }])[] = [
    ["INSERT INTO Users (id, name) VALUES (1, 'id = 5')", {}],
    ['INSERT INTO Users SELECT * FROM Others WHERE id = 1', {}],
    ['INSERT INTO Users (id, team) VALUES (1, 2) ON DUPLICATE KEY UPDATE team = VALUES(team)', {}],
    ['INSERT INTO Users (id) VALUES (1) ON DUPLICATE KEY UPDATE `id` = VALUES(id)', { sets: true }],
    ['INSERT INTO Users (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET team = 1', {}],
    ['INSERT INTO Users (id) VALUES (1) ON CONFLICT (team) DO UPDATE SET id = 1', { sets: true }],
    ['INSERT OR REPLACE INTO Users (id) VALUES (1)', { removes: true }],
    ['REPLACE INTO Users (id) VALUES (1)', { removes: true }],
    ['UPDATE Users SET team = 1 WHERE id = 2', {}],
    ['update users set team = 1 where id = 2 order by id limit 3', {}],
    ['UPDATE Users SET userId = 1, paid = 2, `my id` = 3 WHERE id = 2', {}],
    ["UPDATE Users SET name = 'x, id = 5' /* id */ WHERE id = 2 -- id", {}],
    ['UPDATE Users SET team = (SELECT max(x) FROM T WHERE y = 1), id = 5', { sets: true }],
    ['UPDATE Users SET name = "a where b", id = 5 WHERE x = 1', { sets: true }],
    ['UPDATE Users SET name = "it\'s", id = 5 WHERE name = "it\'s"', { sets: true }],
    ['UPDATE Users SET `ID`=5', { sets: true }],
    ['UPDATE Users AS u JOIN Teams AS t ON t.id = u.team SET u.name = t.name WHERE u.id = 1', {}],
    ['UPDATE Users u, Teams t SET t.x = 1, u.id = 2 WHERE u.team = t.id', { sets: true }],
    ["UPDATE Users SET name = '\\', id = 5 WHERE name = '\\'", { sets: true }],
    ['UPDATE Users SET `set` = 1, `where` = 2, id = 3', { sets: true }],
    ['UPDATE OR REPLACE Users SET team = 1', { removes: true }],
    ['DELETE FROM Users WHERE id = 1', { removes: true }],
    ['SELECT 1; DELETE FROM Users', { removes: true }],
    ['UPDATE Users SET team = 1; UPDATE Users SET id = 2', { sets: true }],
    ['WITH a AS (SELECT 1) UPDATE Users SET team = 1', { removes: true, sets: true }],
    ['CALL rename_all()', { removes: true, sets: true }],
    ['TRUNCATE Users', { removes: true, sets: true }],
    ['SELECT id FROM Users', {}],
  ];
  for (const [sql, { removes = false, sets = false }] of changes) {
    it(sql, () => {
      const change = changeIn(sql);
      assert.deepEqual({ removes: change.removes, sets: change.sets('id') }, { removes, sets });
    });
  }
});

// ---- Long texts ------------------------------------------------------------------------------------

const long = 4_000_000;
const filled = (part: string): string => part.repeat(Math.ceil(long / part.length));

/** Texts of which each would take hours, or all of the stack, if the time grew with the square of the length. */
const longTexts: Readonly<Record<string, () => string>> = {
  'a large blob': () => `INSERT INTO Docs (title, body) VALUES ('a; b', X'${filled('0f')}')`,
  'a text of quotes': () => `INSERT INTO Docs (body) VALUES ('${filled("''")}; ')`,
  'a text of escapes': () => `INSERT INTO Docs (body) VALUES ('${filled("\\'")}; ')`,
  'a text in double quotes': () => `INSERT INTO Docs (body) VALUES ("${filled('{};')}")`,
  'a text of one word': () => `INSERT INTO Docs (body) VALUES ('${filled('set ')}')`,
  'one word': () => filled('set '),
  'quotes that do not end': () => `UPDATE Docs SET body = ${filled("\\'")} '`,
  'comments that do not end': () => `UPDATE Docs SET body = 1 ${filled('/*')}`,
  'many comments': () => `UPDATE Docs SET body = 1 ${filled('/* ; */')}`,
  'many parentheses': () => `UPDATE Docs SET body = ${filled('(')}`,
  'many spaces': () => `UPDATE Docs SET${filled(' ')}body = 1`,
  'many statements': () => filled('UPDATE Docs SET body = 1;'),
};

describe('a text of four million characters', { timeout: 600_000 }, () => {
  for (const [what, textOf] of Object.entries(longTexts)) {
    it(`${what}: every question is answered`, () => {
      const sql = textOf();
      const settings = new ServerSettings(new Sequelize({ dialect: 'mysql', logging: false }));
      const changed = changeIn(sql);
      assert.equal(typeof changed.sets('body'), 'boolean');
      for (const answer of [canWrite(sql), mayEndTransaction(sql), isOneWrite(sql), dropsDatabase(sql), aboutTables(sql)]) assert.equal(typeof answer, 'boolean');
      assert.equal(typeof kindOf(sql), 'string');
      settings.noteText(sql, {});
    });
  }
});
