/** A database of its own for what is measured. */
import { randomUUID } from 'node:crypto';
import { Sequelize } from 'sequelize';

/** A database that nobody else uses. */
export interface Database {
  /** With its user and password. */
  readonly url: string;
  /** `VERSION()`, and whether a commit reaches the disk. */
  readonly server: { readonly version: string; readonly flushLogAtCommit: string };
  drop(): Promise<void>;
}

/** Creates one on the server that the URL names. */
export async function createDatabase(url: string, stem: string): Promise<Database> {
  const name = `${stem}_${randomUUID().slice(0, 8)}`;
  const admin = new Sequelize(url, { dialect: 'mysql', logging: false, pool: { max: 1 } });
  await admin.query(`CREATE DATABASE ${name} CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci`);
  const [[server]] = (await admin.query(
    'SELECT VERSION() AS version, @@innodb_flush_log_at_trx_commit AS flushLogAtCommit',
  )) as [[{ version: string; flushLogAtCommit: number }], unknown];
  const own = new URL(url);
  own.pathname = `/${name}`;
  return {
    url: own.href,
    server: { version: server.version, flushLogAtCommit: String(server.flushLogAtCommit) },
    async drop() {
      await admin.query(`DROP DATABASE ${name}`);
      await admin.close();
    },
  };
}
