/**
 * SQLite for Sequelize without a native build: `sql.js` (SQLite compiled to WebAssembly) behind as much
 * of the `sqlite3` package's interface as Sequelize 6 calls.
 *
 *     const sequelize = new Sequelize({
 *       dialect: 'sqlite',
 *       dialectModule: await createSqliteModule(),
 *       storage: 'shop.db',
 *     });
 *
 * `storage` is a name, not a file: the database lives in memory for as long as the process. Connections
 * with the same name share one database with SQLite's real locks and isolation, so that a reader beside
 * a transaction sees only what was committed. Sequelize puts everything on one connection with
 * `:memory:`, transactions included; choose a name unless that does not matter.
 */
import { EventEmitter } from 'node:events';
import initSqlJs from 'sql.js';

/** What can be bound to a parameter: what Sequelize passes. */
type Parameters = readonly unknown[] | Readonly<Record<string, unknown>>;
type Row = Record<string, unknown>;
type Callback = (this: Statement, error: Error | null, result?: Row[] | Row) => void;
type DoneCallback = (this: Database, error: Error | null) => void;
type Connection = initSqlJs.Database;

/** The `this` of a statement's callback. Sequelize looks at the name of this class. */
class Statement {
  /** After `run`: the rowid of the connection's last inserted row. */
  declare lastID?: number;
  /** After `run`: how many rows the connection's last INSERT, UPDATE or DELETE changed. */
  declare changes?: number;

  constructor(readonly sql: string) {}
}

interface SqliteError extends Error {
  errno: number;
  code: string;
}

/** How long a statement waits for another connection's lock, as with the `sqlite3` package. */
const BUSY_TIMEOUT_MS = 1_000;
const BUSY_RETRY_MS = 2;

/**
 * A new module with databases of its own: modules share nothing, whatever the names.
 *
 * The result is for Sequelize's `dialectModule` option.
 */
export async function createSqliteModule(): Promise<object> {
  const files = new Files(await initSqlJs());

  return {
    OPEN_READONLY: 0x1,
    OPEN_READWRITE: 0x2,
    OPEN_CREATE: 0x4,
    OPEN_URI: 0x40,
    OPEN_FULLMUTEX: 0x10000,
    OPEN_SHAREDCACHE: 0x20000,
    OPEN_PRIVATECACHE: 0x40000,
    Statement,
    Database: class extends Database {
      constructor(filename: string, mode?: number | DoneCallback, callback?: DoneCallback) {
        super(files, filename, typeof mode === 'function' ? mode : callback);
      }
    },
    verbose() {
      return this;
    },
  };
}

/** One connection. Its statements run one after the other, each in a later turn of the event loop. */
class Database extends EventEmitter {
  readonly #files: Files;
  readonly #queue: (() => Promise<void>)[] = [];
  #isRunning = false;
  #connection: Connection | undefined;
  #busyTimeoutMs = BUSY_TIMEOUT_MS;

  constructor(
    files: Files,
    readonly filename: string,
    callback?: DoneCallback,
  ) {
    super();
    this.#files = files;
    this.#enqueue(() => {
      this.#connection = files.open(filename);
    }, callback && ((error) => callback.call(this, error)));
  }

  /** Runs one statement; its rows, if any, are ignored. */
  run(sql: string, ...rest: unknown[]): this {
    return this.#execute(sql, rest, (connection, statement) => {
      statement.lastID = lastRowId(connection);
      statement.changes = connection.getRowsModified();
      return undefined;
    });
  }

  /** Runs one statement and hands over its rows. */
  all(sql: string, ...rest: unknown[]): this {
    return this.#execute(sql, rest, (_connection, _statement, rows) => rows);
  }

  /** Runs one statement and hands over its first row. */
  get(sql: string, ...rest: unknown[]): this {
    return this.#execute(sql, rest, (_connection, _statement, rows) => rows[0]);
  }

  /** Runs any number of statements. */
  exec(sql: string, callback?: DoneCallback): this {
    let remaining = sql;
    this.#enqueue(() => {
      const statements = this.#open().iterateStatements(remaining);
      for (const statement of statements) {
        statement.run();
        // Should another connection's lock stand in the way, this is where it goes on.
        remaining = statements.getRemainingSQL();
      }
    }, callback && ((error) => callback.call(this, error)));
    return this;
  }

  /** Statements of a connection are always serialized. */
  serialize(callback?: () => void): void {
    callback?.();
  }

  parallelize(callback?: () => void): void {
    callback?.();
  }

  configure(option: string, value: unknown): void {
    if (option === 'busyTimeout') this.#busyTimeoutMs = Number(value);
  }

  close(callback?: DoneCallback): void {
    this.#enqueue(() => {
      this.#files.close(this.filename, this.#open());
      this.#connection = undefined;
    }, callback && ((error) => callback.call(this, error)));
  }

  #execute(
    sql: string,
    rest: unknown[],
    result: (connection: Connection, statement: Statement, rows: Row[]) => Row[] | Row | undefined,
  ): this {
    const last = rest.at(-1);
    const callback = typeof last === 'function' ? (last as Callback) : undefined;
    const values = callback ? rest.slice(0, -1) : rest;
    const parameters = values.length === 1 && isParameters(values[0]) ? values[0] : values;
    const statement = new Statement(sql);
    this.#enqueue(() => {
      const connection = this.#open();
      return result(connection, statement, query(connection, sql, parameters));
    }, callback && ((error, rows) => callback.call(statement, error, rows)));
    return this;
  }

  #open(): Connection {
    if (!this.#connection) throw new Error('Database is closed');
    return this.#connection;
  }

  /** A failure that no callback takes is an `error` event. */
  #enqueue<T>(action: () => T, callback?: (error: Error | null, result?: T) => void): void {
    this.#queue.push(async () => {
      let report: () => void;
      try {
        const result = await this.#patiently(action);
        report = () => callback?.(null, result);
      } catch (cause) {
        const error = toSqliteError(cause);
        report = () => (callback ? callback(error) : void this.emit('error', error));
      }
      this.#next(report);
    });
    if (!this.#isRunning) this.#next();
  }

  /** Lets the next statement follow in a later turn, whatever the callback of this one does. */
  #next(callback?: () => void): void {
    const task = this.#queue.shift();
    this.#isRunning = task !== undefined;
    if (task) setImmediate(() => void task());
    callback?.();
  }

  /** Repeats what another connection's lock stands in the way of. The event loop goes on meanwhile. */
  async #patiently<T>(action: () => T): Promise<T> {
    const deadline = performance.now() + this.#busyTimeoutMs;
    for (;;) {
      try {
        return action();
      } catch (error) {
        if (!isBusy(error) || performance.now() > deadline) throw error;
      }
      await new Promise((resolve) => setTimeout(resolve, BUSY_RETRY_MS));
    }
  }
}

/** The databases of one module, by name, and the connections to them. */
class Files {
  readonly #sqlJs: initSqlJs.SqlJsStatic;
  readonly #numbers = new Map<string, number>();
  /** Closed connections, to be opened again: sql.js would remove the file with the first one closed. */
  readonly #idle = new Map<string, Connection[]>();
  static #lastNumber = 0;

  constructor(sqlJs: initSqlJs.SqlJsStatic) {
    this.#sqlJs = sqlJs;
  }

  open(filename: string): Connection {
    if (isPrivate(filename)) return new this.#sqlJs.Database();
    const idle = this.#idle.get(filename)?.pop();
    if (idle) return idle;
    const number = this.#numbers.get(filename) ?? ++Files.#lastNumber;
    this.#numbers.set(filename, number);
    return this.#openNumbered(number);
  }

  close(filename: string, connection: Connection): void {
    if (isPrivate(filename)) {
      connection.close();
      return;
    }
    // An open transaction ends with its connection.
    try {
      connection.run('ROLLBACK');
    } catch {
      // There was none.
    }
    const idle = this.#idle.get(filename) ?? [];
    idle.push(connection);
    this.#idle.set(filename, idle);
  }

  /**
   * sql.js keeps each database in a file of its in-memory file system and offers no way to open the same
   * one twice, but names it with a random number. The same number is the same file.
   */
  #openNumbered(number: number): Connection {
    const random = Math.random;
    let connection: Connection & { filename?: unknown };
    try {
      Math.random = () => number / 0xffffffff;
      connection = new this.#sqlJs.Database();
    } finally {
      Math.random = random;
    }
    if (connection.filename !== `dbfile_${number}`) {
      throw new Error('This version of sql.js names its files differently; examples/support/sqlite.ts must follow.');
    }
    return connection;
  }
}

/** Each connection to such a name has a database of its own. */
function isPrivate(filename: string): boolean {
  return filename === ':memory:' || filename === '';
}

function query(connection: Connection, sql: string, parameters: Parameters): Row[] {
  const statement = connection.prepare(sql);
  try {
    statement.bind(bindable(parameters));
    const rows: Row[] = [];
    let columns: string[] | undefined;
    while (statement.step()) {
      columns ??= statement.getColumnNames();
      const row: Row = {};
      for (const [index, value] of statement.get().entries()) {
        row[columns[index] ?? index] = value instanceof Uint8Array ? Buffer.from(value) : value;
      }
      rows.push(row);
    }
    return rows;
  } finally {
    statement.free();
  }
}

function lastRowId(connection: Connection): number {
  return Number(connection.exec('SELECT last_insert_rowid()')[0]?.values[0]?.[0] ?? 0);
}

function isParameters(value: unknown): value is Parameters {
  return typeof value === 'object' && value !== null && !(value instanceof Date) && !Buffer.isBuffer(value);
}

function bindable(parameters: Parameters): initSqlJs.BindParams {
  if (Array.isArray(parameters)) return parameters.map(bindableValue);
  return Object.fromEntries(Object.entries(parameters).map(([name, value]) => [name, bindableValue(value)]));
}

/** As the `sqlite3` package binds them. */
function bindableValue(value: unknown): initSqlJs.SqlValue {
  switch (typeof value) {
    case 'number':
    case 'string':
      return value;
    case 'bigint':
      return value.toString();
    case 'boolean':
      return value ? 1 : 0;
    default:
      if (value instanceof Uint8Array) return value;
      if (value instanceof Date) return value.getTime();
      if (value === undefined || value === null) return null;
      throw new TypeError(`SQLite cannot store a ${typeof value}.`);
  }
}

/** sql.js has SQLite's message only; the result code follows from it. */
const CODES: readonly (readonly [pattern: RegExp, code: string, errno: number])[] = [
  [/constraint failed/i, 'SQLITE_CONSTRAINT', 19],
  [/database is locked/i, 'SQLITE_BUSY', 5],
  [/table is locked/i, 'SQLITE_LOCKED', 6],
  [/readonly database/i, 'SQLITE_READONLY', 8],
  [/interrupted/i, 'SQLITE_INTERRUPT', 9],
  [/malformed/i, 'SQLITE_CORRUPT', 11],
  [/too big/i, 'SQLITE_TOOBIG', 18],
  [/datatype mismatch/i, 'SQLITE_MISMATCH', 20],
  [/Database is closed/, 'SQLITE_MISUSE', 21],
  [/index out of range/i, 'SQLITE_RANGE', 25],
];

function isBusy(error: unknown): boolean {
  return error instanceof Error && error.message === 'database is locked';
}

function toSqliteError(error: unknown): SqliteError {
  const message = error instanceof Error ? error.message : String(error);
  const [, code, errno] = CODES.find(([pattern]) => pattern.test(message)) ?? [null, 'SQLITE_ERROR', 1];
  return Object.assign(new Error(`${code}: ${message}`, { cause: error }), { code, errno });
}
