/** What the text of a raw statement tells: whether it may change rows, and what becomes of its transaction. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { canWrite, changeIn, dropsDatabase, transactionAfter } from '../../src/hooks/raw-sql.js';

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

  const outcomes: readonly (readonly [string, ReturnType<typeof transactionAfter>])[] = [
    ['SELECT 1', 'same'],
    ['UPDATE Users SET x = 1', 'same'],
    ["UPDATE Users SET x = '; COMMIT; '", 'same'],
    ['SAVEPOINT a', 'same'],
    ['ROLLBACK TO SAVEPOINT a', 'same'],
    ['ROLLBACK WORK TO a', 'same'],
    ['CREATE TEMPORARY TABLE a (b INT)', 'same'],
    ['CREATE OR REPLACE TEMPORARY TABLE a (b INT)', 'same'],
    ['DROP TEMPORARY TABLE a', 'same'],
    ['DROP\n\tTEMPORARY TABLE a', 'same'],
    ['FLUSH TABLES WITH READ LOCK', 'same'],
    ['SET autocommit = 1', 'same'],
    ['COMMIT', 'none'],
    ['rollback', 'none'],
    ['CREATE TABLE a (b INT)', 'none'],
    ['CREATE OR REPLACE TABLE a (b INT)', 'none'],
    ['alter table a add c int', 'none'],
    ['DROP TABLE a', 'none'],
    ['RENAME TABLE a TO b', 'none'],
    ['TRUNCATE a', 'none'],
    ['LOCK TABLES a WRITE', 'none'],
    ['ANALYZE TABLE a', 'none'],
    ['GRANT ALL ON a TO b', 'none'],
    ['SELECT 1; COMMIT', 'none'],
    ['BEGIN', 'another'],
    ['START TRANSACTION;', 'another'],
    ['COMMIT; START TRANSACTION', 'another'],
    ['START TRANSACTION; COMMIT', 'none'],
  ];
  for (const [sql, expected] of outcomes) {
    it(`leaves ${expected === 'none' ? 'no' : expected === 'same' ? 'the same' : 'another'} transaction: ${sql}`, () => {
      assert.equal(transactionAfter(sql), expected);
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
