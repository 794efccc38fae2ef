/** What the text of a raw statement tells: whether it may change rows, and what becomes of its transaction. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { canWrite, dropsDatabase, transactionAfter } from '../../src/hooks/raw-sql.js';

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
