/**
 * The tables as the checker knows them: what a row's content is, and what it is asked for by.
 *
 * A row's *content* is one text of its columns. The database's triggers and the workers make it in
 * the same way, so that an answer can be compared with the committed history by `===`.
 */

export type TableName = 'User' | 'Doc' | 'Avatar' | 'Membership' | 'Vote' | 'Tag';

/** A question that the cache is asked. */
export interface KeySpec {
  readonly name: string;
  /** The columns whose values are asked for. */
  readonly columns: readonly string[];
  /**
   * - `row`: the primary key.
   * - `unique`: at most one row has the values, and the database's locks say in which order.
   * - `any`: some row that has them, whichever.
   * - `first`, `last`: of the rows that have them (and pass `only`) the one with the least or greatest id.
   */
  readonly answer: 'row' | 'unique' | 'any' | 'first' | 'last';
  /** A column that has to be 1. */
  readonly only?: string;
}

/** What the database does to rows that refer to a row which goes. */
export interface Reference {
  readonly child: TableName;
  readonly column: string;
  readonly onDelete: 'cascade' | 'set null';
}

export interface TableSpec {
  /** In the database. */
  readonly table: string;
  /** What a content is made of, in this order. */
  readonly columns: readonly string[];
  readonly primaryKey: readonly string[];
  readonly autoIncrement: boolean;
  readonly paranoid: boolean;
  readonly keys: readonly KeySpec[];
  readonly references: readonly Reference[];
}

const id: KeySpec = { name: 'id', columns: ['id'], answer: 'row' };
const plain = { primaryKey: ['id'], autoIncrement: true, paranoid: false, references: [] } as const;

// No table's name may be part of the statements that write the history: the cache voids what raw SQL names.
export const tables: Readonly<Record<TableName, TableSpec>> = {
  User: {
    ...plain,
    table: 'tt_users',
    columns: ['id', 'name', 'tenantId', 'slug', 'active', 'count', 'stamp'],
    keys: [
      id,
      { name: 'name', columns: ['name'], answer: 'unique' },
      { name: 'slug', columns: ['tenantId', 'slug'], answer: 'unique' },
    ],
    references: [
      { child: 'Doc', column: 'ownerId', onDelete: 'set null' },
      { child: 'Avatar', column: 'userId', onDelete: 'cascade' },
      { child: 'Membership', column: 'userId', onDelete: 'cascade' },
    ],
  },
  Doc: {
    ...plain,
    table: 'tt_docs',
    columns: ['id', 'code', 'ownerId', 'count', 'stamp'],
    paranoid: true,
    keys: [
      id,
      { name: 'code', columns: ['code'], answer: 'unique' },
      { name: 'owner', columns: ['ownerId'], answer: 'any' },
      { name: 'newest', columns: ['ownerId'], answer: 'last' },
    ],
  },
  Avatar: {
    ...plain,
    table: 'tt_avatars',
    columns: ['id', 'url', 'userId', 'isPrimary', 'count', 'stamp'],
    keys: [
      id,
      { name: 'url', columns: ['url'], answer: 'unique' },
      { name: 'user', columns: ['userId'], answer: 'any' },
      { name: 'primary', columns: ['userId'], answer: 'first', only: 'isPrimary' },
    ],
  },
  Membership: {
    ...plain,
    table: 'tt_memberships',
    columns: ['userId', 'groupId', 'role', 'stamp'],
    primaryKey: ['userId', 'groupId'],
    autoIncrement: false,
    keys: [{ name: 'pair', columns: ['userId', 'groupId'], answer: 'row' }],
  },
  Vote: {
    ...plain,
    table: 'tt_votes',
    columns: ['id', 'targetType', 'targetId', 'count', 'stamp'],
    keys: [id, { name: 'target', columns: ['targetType', 'targetId'], answer: 'any' }],
  },
  Tag: {
    ...plain,
    table: 'tt_tags',
    columns: ['id', 'label', 'count', 'stamp'],
    keys: [id, { name: 'label', columns: ['label'], answer: 'unique' }],
  },
};

/** In the order in which tables refer to each other. */
export const tableNames = Object.keys(tables) as readonly TableName[];

const none = '~';

/** A row's values as a content. */
export function contentOf(table: TableName, value: (column: string) => string | number | boolean | null | undefined): string {
  return tables[table].columns
    .map((column) => {
      const one = value(column);
      if (one === null || one === undefined) return none;
      return typeof one === 'boolean' ? (one ? '1' : '0') : String(one);
    })
    .join('|');
}

/** The same in SQL, of `NEW` or `OLD`. */
export const contentSql = (table: TableName, row: 'NEW' | 'OLD'): string =>
  `CONCAT_WS('|', ${tables[table].columns.map((column) => `COALESCE(${row}.\`${column}\`, '${none}')`).join(', ')})`;

/** A content's value in a column; null for NULL. */
export function valueIn(content: string, table: TableName, column: string): string | null {
  const value = content.split('|')[tables[table].columns.indexOf(column)];
  return value === undefined || value === none ? null : value;
}

/** A content with another value in a column. */
export function withValue(content: string, table: TableName, column: string, value: string | null): string {
  const values = content.split('|');
  values[tables[table].columns.indexOf(column)] = value ?? none;
  return values.join('|');
}

/** The primary key in a content. */
export const primaryKeyIn = (content: string, table: TableName): string =>
  tables[table].primaryKey.map((column) => valueIn(content, table, column) ?? none).join(',');

/** A question by name: the table, which key, and the values in the form in which the database compares them. */
export const askIdOf = (table: TableName, key: string, values: readonly (string | number)[]): string =>
  `${table}:${key}:${values.map((value) => String(value).toLowerCase()).join(',')}`;

/** The question of this key that a content answers; undefined if it answers none. */
export function askIdIn(content: string, table: TableName, key: KeySpec): string | undefined {
  const values = key.columns.map((column) => valueIn(content, table, column));
  if (values.includes(null)) return undefined;
  if (key.only !== undefined && valueIn(content, table, key.only) !== '1') return undefined;
  return askIdOf(table, key.name, values as string[]);
}

/** The table and the key of a question. */
export function specOf(askId: string): { readonly table: TableName; readonly key: KeySpec } {
  const [table, name] = askId.split(':', 2) as [TableName, string];
  const key = tables[table].keys.find((one) => one.name === name);
  if (key === undefined) throw new RangeError(`'${askId}' is no question.`);
  return { table, key };
}
