/**
 * The identity of a database: everything of a Sequelize instance that decides which database it reads.
 *
 * Two instances with the same identity share cache keys, so that their writes void each other's entries.
 * Nothing is cut and nothing is guessed: everything that leads to the database goes into a hash, and where
 * the options do not tell, `unknown` says why. Credentials and formats of values are left out, because two
 * processes of one fleet can have different ones.
 */
import { createHash, randomUUID } from 'node:crypto';
import { realpathSync } from 'node:fs';
import { isIP } from 'node:net';
import { basename, dirname, join, resolve } from 'node:path';
import { inspect } from 'node:util';
import type { Sequelize } from 'sequelize';

/** Which database a Sequelize instance reads and writes. */
export interface DatabaseIdentity {
  /** Equal for two instances of this process exactly if both reach the same database. */
  readonly id: string;
  /** The default of option `alias`: a readable part and a hash, at most 64 characters. The same in every process. */
  readonly alias: string;
  /** For messages, without credentials, such as `mysql://db1.example:3306/shop`. */
  readonly description: string;
  /** Why the options do not tell which database it is; undefined where they do. */
  readonly unknown: string | undefined;
}

type Fields = Readonly<Record<string, unknown>>;

/** What Sequelize passes to the driver: a `replication.write` is already filled up from the other options. */
interface ConnectionConfig extends Fields {
  readonly dialectOptions?: Fields | null;
  readonly replication?: { readonly write?: ConnectionConfig } | false;
}

/** What the types of Sequelize leave out. */
interface Internals {
  readonly connectionManager?: { readonly config?: ConnectionConfig };
  readonly config: ConnectionConfig;
  readonly options: {
    readonly storage?: string | null;
    readonly host?: string | null;
    readonly dialectModule?: object;
    readonly dialectOptions?: Fields | null;
    readonly replication?: { readonly write?: unknown } | false;
  };
}

/** Everything that leads to the database, before it is hashed. */
interface Place {
  /** The readable part of the alias. */
  readonly label: string;
  readonly description: string;
  readonly leads: Fields;
  /** What tells two databases apart in this process alone. */
  readonly driver?: string;
  readonly unknown: string | undefined;
}

/**
 * Reads the identity of a Sequelize instance's database from its options. Of several servers it is the
 * primary's, which every cached read asks.
 */
export function identityOf(sequelize: Sequelize): DatabaseIdentity {
  const { label, description, leads, driver = '', unknown } = sequelize.getDialect() === 'sqlite' ? sqlitePlace(sequelize) : serverPlace(sequelize);
  const all = stableText(leads);
  const hash = createHash('sha256').update(all).digest('base64url').slice(0, hashLength);
  const readable = label.replace(/[^A-Za-z0-9_.~-]/g, '_').slice(0, longestLabel);
  return { id: `${driver} ${all}`, alias: readable === '' ? hash : `${readable}-${hash}`, description, unknown };
}

/** 128 bits. */
const hashLength = 22;
const longestLabel = 32;

// ---- MySQL and MariaDB ------------------------------------------------------------------------

/**
 * Options of the drivers mysql2 and mariadb that do not lead to the database: credentials, formats of
 * values, time limits, diagnostics. Options that are not in this list belong to the identity.
 */
const leadNowhere: ReadonlySet<string> = new Set([
  // Credentials
  'user', 'username', 'password', 'password1', 'password2', 'password3', 'passwordSha1', 'authPlugins', 'authSwitchHandler',
  'insecureAuth', 'enableCleartextPlugin', 'rsaPublicKey', 'cachingRsaPublicKey', 'allowPublicKeyRetrieval', 'restrictedAuth',
  'permitConnectionWhenExpired',
  // Formats of parameters and results
  'arrayParenthesis', 'autoJsonMap', 'bigIntAsNumber', 'bigNumberStrings', 'bitOneIsBoolean', 'charset', 'charsetNumber',
  'checkDuplicate', 'checkNumberRange', 'collation', 'dateStrings', 'decimalAsNumber', 'decimalNumbers', 'disableEval', 'foundRows',
  'fullResult', 'insertIdAsNumber', 'jsonStrings', 'metaAsArray', 'metaEnumerable', 'namedPlaceholders', 'nestTables',
  'permitSetMultiParamEntries', 'queryFormat', 'rowsAsArray', 'sessionVariables', 'stringifyObjects', 'supportBigNumbers', 'timezone',
  'typeCast',
  // The connection itself
  'bulk', 'compress', 'connectAttributes', 'connectTimeout', 'connectionLimit', 'enableKeepAlive', 'flags', 'forceVersionCheck',
  'gracefulEnd', 'idleTimeout', 'infileStreamFactory', 'isServer', 'keepAliveDelay', 'keepAliveInitialDelay', 'keepEof',
  'localAddress', 'maxAllowedColumns', 'maxAllowedPacket', 'maxIdle', 'maxPreparedStatements', 'multipleStatements',
  'permitLocalInfile', 'permitRedirect', 'pipelining', 'pool', 'prepareCacheLength', 'Promise', 'queryTimeout', 'queueLimit',
  'resetOnRelease', 'socketTimeout', 'waitForConnections',
  // Diagnostics
  'debug', 'debugCompress', 'debugLen', 'logger', 'logParam', 'trace',
  // Looked at below
  'host', 'port', 'database', 'socketPath', 'uri', 'ssl', 'stream', 'initSql',
]);

/** Services that choose the database by the user's name: many customers share one host, port and database name. */
const routesByUser = /\.(?:psdb\.cloud|tidbcloud\.com)$/;

function serverPlace(sequelize: Sequelize): Place {
  const { connectionManager, config: own, options } = sequelize as unknown as Internals;
  const all = connectionManager?.config ?? own;
  const config = (all.replication === false ? undefined : all.replication?.write) ?? all;
  // In this order the dialects of Sequelize put it together.
  const given = withUri({ host: config.host, port: config.port, database: config.database, ...config.dialectOptions });
  const host = hostName(given.host);
  const port = Number(given.port ?? 0) || 3306;
  const database = text(given.database);
  const socket = text(given.socketPath);
  const others = Object.entries(given).filter(([name, value]) => !leadNowhere.has(name) && value !== undefined);
  const serverName = hostName((given.ssl as { readonly servername?: unknown } | null | undefined)?.servername, host);
  const { write } = options.replication === false ? {} : (options.replication ?? {});
  return {
    label: database,
    description: socket === '' ? `mysql://${host.includes(':') ? `[${host}]` : host}:${String(port)}/${database}` : `mysql://${resolve(socket)}/${database}`,
    leads: {
      family: 'mysql',
      database,
      // Over a socket the driver asks for neither.
      ...(socket === '' ? { host, port } : { socket: resolve(socket) }),
      ...(serverName === host ? {} : { serverName }),
      ...Object.fromEntries(others),
      // Sequelize 6 connects to none of these. A fork of it that does must not share their keys.
      ...(Array.isArray(write) && write.length > 0 ? { write: write.map((one: unknown) => withoutCredentials(one)) } : {}),
    },
    unknown: whyUnknown(sequelize, given, host, write),
  };
}

function whyUnknown(sequelize: Sequelize, given: Fields, host: string, write: unknown): string | undefined {
  if (hasConnectHook(sequelize)) return 'its hook beforeConnect can change where it connects to';
  if (given.stream != null) return `its 'dialectOptions.stream' makes the connection`;
  if (typeof write === 'function') return `its 'replication.write' is a function`;
  const statements = [given.initSql].flat().filter((statement) => typeof statement === 'string');
  if (statements.some((statement) => /(?:^|;)\s*use\b/i.test(statement))) return `its 'dialectOptions.initSql' chooses another database`;
  return routesByUser.test(host) ? `at ${host} the user's name chooses the database` : undefined;
}

/** `hasHook` throws where the program has taken `options.hooks` away. */
function hasConnectHook(sequelize: Sequelize): boolean {
  const hooks: unknown = (sequelize as unknown as { readonly options: { readonly hooks?: { readonly beforeConnect?: unknown } | null } }).options.hooks?.beforeConnect;
  return Array.isArray(hooks) ? hooks.length > 0 : hooks != null;
}

/** Fills in what a URI in `dialectOptions.uri` says, as the driver mysql2 does. Other options go first. */
function withUri(given: Fields): Fields {
  if (typeof given.uri !== 'string' || !URL.canParse(given.uri)) return given;
  const { hostname, port, pathname, searchParams } = new URL(given.uri);
  const said: Fields = {
    ...Object.fromEntries(searchParams),
    host: decodeURIComponent(hostname),
    port: port === '' ? undefined : port,
    database: decodeURIComponent(pathname.slice(1)),
  };
  return { ...said, ...Object.fromEntries(Object.entries(given).filter(([, value]) => Boolean(value))) };
}

/** A host's name or address in the one form that all its spellings have. */
function hostName(given: unknown, fallback = 'localhost'): string {
  const host = text(given).trim().toLowerCase().replace(/^\[(.*)\]$/, '$1');
  if (host === '') return fallback;
  if (isIP(host) === 6 && !host.includes('%')) return new URL(`http://[${host}]`).hostname.slice(1, -1);
  // A final dot says that the name is complete.
  return host.replace(/\.$/, '');
}

const text = (value: unknown): string => (typeof value === 'string' || typeof value === 'number' ? String(value) : '');

function withoutCredentials(config: unknown): unknown {
  if (typeof config !== 'object' || config === null) return config;
  return Object.fromEntries(Object.entries(config).filter(([name]) => ['host', 'port', 'database'].includes(name) || !leadNowhere.has(name)));
}

// ---- SQLite -----------------------------------------------------------------------------------

/** Databases in memory end with their process; nothing outside it may share their keys. */
const ownNames = new WeakMap<object, string>();

function ownName(owner: object): string {
  const known = ownNames.get(owner);
  if (known !== undefined) return known;
  const name = randomUUID();
  ownNames.set(owner, name);
  return name;
}

/** Databases in memory that several connections of a process share, by SQLite's URI. */
const thisProcess = {};
/** `OPEN_URI` of SQLite. */
const takesUri = 0x40;

function sqlitePlace(sequelize: Sequelize): Place {
  const { options } = sequelize as unknown as Internals;
  const given = options.storage ?? text(options.host);
  const storage = given === '' && options.storage == null ? ':memory:' : given;
  const isUri = storage.startsWith('file:') && (Number(options.dialectOptions?.mode ?? 0) & takesUri) !== 0;
  // Another driver can take the same name for something else, as databases in memory do.
  const driver = options.dialectModule == null ? {} : { driver: ownName(options.dialectModule) };
  const inMemory = (owner: object): Place => ({
    label: 'memory',
    description: `sqlite:${storage === '' ? 'a temporary file' : storage}`,
    leads: { family: 'sqlite', storage, owner: ownName(owner) },
    unknown: undefined,
  });
  if (storage === '' || storage === ':memory:') return inMemory(sequelize);
  if (isUri && /:memory:|[?&]mode=memory\b|[?&]vfs=memdb\b/.test(storage)) {
    return inMemory(/[?&]cache=shared\b|[?&]vfs=memdb\b/.test(storage) ? thisProcess : sequelize);
  }
  const file = realPath(isUri ? decodeURIComponent(storage.slice('file:'.length).replace(/[?#].*$/, '')).replace(/^\/\/(?:localhost)?(?=\/)/, '') : storage);
  return { label: basename(file), description: `sqlite:${file}`, leads: { family: 'sqlite', file }, ...driver, unknown: undefined };
}

/** The absolute path, with links followed as far as there are files. */
function realPath(path: string): string {
  const absolute = resolve(path);
  try {
    return realpathSync.native(absolute);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const parent = dirname(absolute);
    if (parent === absolute || (code !== 'ENOENT' && code !== 'ENOTDIR')) return absolute;
    return join(realPath(parent), basename(absolute));
  }
}

// ---- Text -------------------------------------------------------------------------------------

/** JSON with the names of each object in alphabetical order. */
function stableText(value: unknown, within: readonly unknown[] = []): string {
  if (typeof value !== 'object' || value === null) return typeof value === 'function' ? '"a function"' : JSON.stringify(String(value));
  if (within.includes(value)) return '"itself"';
  const path = [...within, value];
  if (Array.isArray(value)) return `[${value.map((one) => stableText(one, path)).join(',')}]`;
  if (Object.prototype.toString.call(value) !== '[object Object]') return JSON.stringify(inspect(value));
  const parts = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${parts.map(([name, part]) => `${JSON.stringify(name)}:${stableText(part, path)}`).join(',')}}`;
}
