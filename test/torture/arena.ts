/** What a run takes place in: a database and three memcached of its own, each behind a proxy. */
import { createConnection, type Connection, type RowDataPacket } from 'mysql2/promise';
import { Sequelize } from 'sequelize';
import { startMariadb, type MariadbServer } from '../support/mariadb-process.js';
import { startMemcached, type MemcachedProcess } from '../support/memcached-process.js';
import { startTcpProxy, type TcpProxy } from '../support/tcp-proxy.js';
import type { HistoryRow } from './history.js';
import { pools } from './asks.js';
import { contentOf, tables, type TableName } from './tables.js';
import { defineWorld, groups, historySql, lockWaitTimeout } from './world.js';

/** A memcached and what is in front of it. */
export interface StorePlace {
  readonly memcached: MemcachedProcess;
  readonly proxy: TcpProxy;
  /** It has so little memory that it evicts. */
  readonly tiny: boolean;
}

const database = 'torture';
const worker = 'worker';

/** The servers of one run. */
export class Arena {
  readonly mariadb: MariadbServer;
  /** Between the workers and the database. */
  readonly databaseProxy: TcpProxy;
  readonly stores: readonly StorePlace[];
  #admin: Connection | undefined;

  private constructor(mariadb: MariadbServer, databaseProxy: TcpProxy, stores: readonly StorePlace[]) {
    this.mariadb = mariadb;
    this.databaseProxy = databaseProxy;
    this.stores = stores;
  }

  static async open(): Promise<Arena> {
    const mariadb = await startMariadb({
      args: [
        `--innodb-lock-wait-timeout=${String(lockWaitTimeout)}`,
        // The history's numbers are not worth a lock of their own.
        '--innodb-autoinc-lock-mode=2',
      ],
    });
    const stores: StorePlace[] = [];
    const arena = new Arena(mariadb, await startTcpProxy(mariadb.port), stores);
    try {
      for (const tiny of [false, false, true]) {
        // All sizes of the tiny one share a class of slabs, so that what fills it evicts whatever is there.
        const memcached = await startMemcached(tiny ? { memoryMb: 2, extraArgs: ['-n', '500'] } : {});
        stores.push({ memcached, proxy: await startTcpProxy(memcached.port), tiny });
      }
      await arena.#createDatabase();
      return arena;
    } catch (error) {
      await arena.close();
      throw error;
    }
  }

  /** Where workers find the database. They have no right to write while it is read-only. */
  get url(): string {
    return `mysql://${worker}:${worker}@${this.databaseProxy.address}/${database}`;
  }

  get memcached(): string[] {
    return this.stores.map(({ proxy }) => proxy.address);
  }

  /** Runs a statement with all rights; resolves to its rows. */
  async sql(statement: string, values: readonly unknown[] = []): Promise<RowDataPacket[]> {
    this.#admin ??= await createConnection({ uri: `${this.mariadb.url}${database}`, supportBigNumbers: true });
    try {
      const [rows] = await this.#admin.query(statement, [...values]);
      return rows as RowDataPacket[];
    } catch (error) {
      // After a restart of the server it is another connection.
      this.#admin.destroy();
      this.#admin = undefined;
      throw error;
    }
  }

  async history(): Promise<HistoryRow[]> {
    return (await this.sql('SELECT seq, label, tbl, action, old_pk, visible, content FROM history ORDER BY seq')) as unknown as HistoryRow[];
  }

  /** The rows that are there, as contents, soft-deleted ones included. */
  async rows(table: TableName): Promise<string[]> {
    const rows = await this.sql(`SELECT * FROM ${tables[table].table}`);
    return rows.map((row) => contentOf(table, (column) => row[column] as string | number | null));
  }

  /** Ends the connections of some workers. */
  async killConnections(choose: (ids: readonly number[]) => readonly number[]): Promise<void> {
    const rows = await this.sql('SELECT id FROM information_schema.processlist WHERE user = ?', [worker]);
    for (const id of choose(rows.map((row) => Number(row.id)))) {
      try {
        await this.sql(`KILL CONNECTION ${String(id)}`);
      } catch (error) {
        // It is gone already.
        if ((error as { readonly code?: string }).code !== 'ER_NO_SUCH_THREAD') throw error;
      }
    }
  }

  async close(): Promise<void> {
    this.#admin?.destroy();
    for (const { memcached, proxy } of this.stores) {
      await proxy.close();
      await memcached.stop();
    }
    await this.databaseProxy.close();
    await this.mariadb.stop();
  }

  async #createDatabase(): Promise<void> {
    const root = await createConnection({ uri: this.mariadb.url });
    await root.query(`CREATE DATABASE ${database} CHARACTER SET utf8mb4 COLLATE utf8mb4_general_ci`);
    await root.query(`CREATE USER '${worker}'@'127.0.0.1' IDENTIFIED BY '${worker}'`);
    await root.query(`GRANT ALL PRIVILEGES ON ${database}.* TO '${worker}'@'127.0.0.1'`);
    await root.end();
    const sequelize = new Sequelize(`${this.mariadb.url}${database}`, { dialect: 'mysql', logging: false });
    try {
      defineWorld(sequelize);
      await sequelize.sync();
    } finally {
      await sequelize.close();
    }
    for (const statement of historySql()) await this.sql(statement);
    await this.sql(`SET @op = 'init'`);
    for (let group = 1; group <= groups; group += 1) await this.sql('INSERT INTO tt_groups (id) VALUES (?)', [group]);
    for (const [at, name] of pools.name.slice(0, 5).entries()) {
      await this.sql('INSERT INTO tt_users (name, tenantId, slug, active) VALUES (?, 1, ?, 1)', [name, pools.slug[at]]);
      await this.sql('INSERT INTO tt_docs (code, ownerId) VALUES (?, ?)', [pools.code[at], at + 1]);
      await this.sql('INSERT INTO tt_avatars (url, userId, isPrimary) VALUES (?, ?, 1)', [pools.url[at], at + 1]);
      await this.sql(`INSERT INTO tt_votes (targetType, targetId) VALUES ('User', ?)`, [at + 1]);
      await this.sql('INSERT INTO tt_tags (label) VALUES (?)', [pools.label[at]]);
    }
  }
}

