/**
 * What the cache is asked beside single rows: lists and what follows from them (a count, whether there
 * is a row, a result), and what relations lead to.
 *
 * An answer is logged as one text, as a row is: the contents of its rows with a tab between them, or
 * the value as JSON.
 */
import { primaryKeyIn, valueIn, type TableName } from './tables.js';

/** A question about all rows with some values. */
export interface SetQuestion {
  readonly table: TableName;
  readonly name: string;
  /** The columns whose values are asked for; none of them is the whole table. */
  readonly columns: readonly string[];
  /** `sum`: the sum of the counts, and the ids. */
  readonly kind: 'list' | 'count' | 'exists' | 'sum';
  /** Numeric columns. Without an order it is not said in which one the rows come. */
  readonly order?: readonly (readonly [column: string, direction: 'ASC' | 'DESC'])[];
  readonly limit?: number;
}

/** A question that is answered from the rows of several tables, each of which is right by itself. */
export interface LinkedQuestion {
  readonly table: TableName;
  readonly name: string;
  readonly columns: readonly string[];
  /**
   * - `related one`: the row of `target` that the row's `column` refers to.
   * - `related many`: the rows of `target` whose `column` refers to the row.
   * - `related through`: the ids that rows of `target` which refer to the row by `column` have in `other`.
   * - `with one`, `with many`: the row itself as well.
   */
  readonly kind: 'related one' | 'related many' | 'related through' | 'with one' | 'with many';
  readonly target: TableName;
  readonly column: string;
  readonly other?: string;
}

export type Question = SetQuestion | LinkedQuestion;

export const questions: readonly Question[] = [
  { table: 'User', name: 'ofTenant', columns: ['tenantId'], kind: 'list' },
  { table: 'User', name: 'topOfTenant', columns: ['tenantId'], kind: 'list', order: [['count', 'DESC'], ['id', 'ASC']], limit: 3 },
  { table: 'User', name: 'sumOfTenant', columns: ['tenantId'], kind: 'sum' },
  { table: 'User', name: 'number', columns: [], kind: 'count' },
  { table: 'Doc', name: 'ofOwner', columns: ['ownerId'], kind: 'list' },
  { table: 'Doc', name: 'latest', columns: [], kind: 'list', order: [['id', 'DESC']], limit: 4 },
  { table: 'Doc', name: 'numberOfOwner', columns: ['ownerId'], kind: 'count' },
  { table: 'Avatar', name: 'ofUser', columns: ['userId'], kind: 'list' },
  { table: 'Avatar', name: 'hasUser', columns: ['userId'], kind: 'exists' },
  { table: 'Avatar', name: 'every', columns: [], kind: 'list' },
  { table: 'Membership', name: 'ofGroup', columns: ['groupId'], kind: 'list' },
  { table: 'Vote', name: 'onTarget', columns: ['targetType', 'targetId'], kind: 'list' },
  { table: 'Vote', name: 'numberOnTarget', columns: ['targetType', 'targetId'], kind: 'count' },
  { table: 'Doc', name: 'ownerOfCode', columns: ['code'], kind: 'related one', target: 'User', column: 'ownerId' },
  { table: 'User', name: 'avatars', columns: ['id'], kind: 'related many', target: 'Avatar', column: 'userId' },
  { table: 'User', name: 'groups', columns: ['id'], kind: 'related through', target: 'Membership', column: 'userId', other: 'groupId' },
  { table: 'Doc', name: 'withOwner', columns: ['id'], kind: 'with one', target: 'User', column: 'ownerId' },
  { table: 'User', name: 'withDocs', columns: ['name'], kind: 'with many', target: 'Doc', column: 'ownerId' },
];

const byName = new Map(questions.map((question) => [`${question.table}:${question.name}`, question]));

/** The question of this name, and the values that it is asked for; `undefined` if it is about one row. */
export function questionOf(askId: string): { readonly question: Question; readonly values: string } | undefined {
  const at = askId.indexOf(':', askId.indexOf(':') + 1);
  const question = byName.get(askId.slice(0, at));
  return question === undefined ? undefined : { question, values: askId.slice(at + 1) };
}

/** Whether it is about the rows of one table, and its answer that of one moment. */
export const isSet = (question: Question): question is SetQuestion => !('target' in question);

/** The lists of columns by whose values a table's rows have to be found. */
export const groupings: Readonly<Record<TableName, readonly (readonly string[])[]>> = groupingsOf();

function groupingsOf(): Record<TableName, (readonly string[])[]> {
  const found = { User: [], Doc: [], Avatar: [], Membership: [], Vote: [], Tag: [] } as Record<TableName, (readonly string[])[]>;
  const add = (table: TableName, columns: readonly string[]): void => {
    if (!found[table].some((other) => other.join() === columns.join())) found[table].push(columns);
  };
  for (const question of questions) {
    add(question.table, question.columns);
    if (!isSet(question) && question.kind.endsWith('many')) add(question.target, [question.column]);
    if (!isSet(question) && question.kind === 'related through') add(question.target, [question.column]);
  }
  return found;
}

/** Names the rows of a table with these values. */
export const groupOf = (table: TableName, columns: readonly string[], values: string): string => `${table}(${columns.join()}):${values}`;

/** The values of a row in some columns, as they stand in questions; `undefined` if one of them is NULL. */
export function valuesIn(content: string, table: TableName, columns: readonly string[]): string | undefined {
  const values = columns.map((column) => valueIn(content, table, column));
  return values.includes(null) ? undefined : values.join().toLowerCase();
}

/** Between the rows of an answer. */
const separator = '\t';

/** The contents in the text of a list. */
export const rowsIn = (text: string): string[] => (text === '' ? [] : text.split(separator));

export const textOfRows = (contents: readonly string[]): string => contents.join(separator);

/** Rows that come in no particular order, in one of their own. */
export const inOrder = (contents: readonly string[]): string[] => [...contents].sort();

/** Whether the one row comes before the other. */
export function compareBy({ table, order = [] }: SetQuestion, one: string, other: string): number {
  for (const [column, direction] of order) {
    const difference = Number(valueIn(one, table, column)) - Number(valueIn(other, table, column));
    if (difference !== 0) return direction === 'ASC' ? difference : -difference;
  }
  return 0;
}

/** The answer, where these are the rows that have the values. */
export function answerOf(question: SetQuestion, members: readonly string[]): string {
  const { kind, table, order, limit } = question;
  switch (kind) {
    case 'list':
      if (order === undefined) return textOfRows(inOrder(members));
      return textOfRows([...members].sort((one, other) => compareBy(question, one, other)).slice(0, limit));
    case 'count':
      return String(members.length);
    case 'exists':
      return String(members.length > 0);
    case 'sum':
      return sumText(
        members.reduce((sum, content) => sum + Number(valueIn(content, table, 'count')), 0),
        members.map((content) => Number(primaryKeyIn(content, table))),
      );
  }
}

/** How the result `sum` is logged. */
export const sumText = (sum: number, ids: readonly number[]): string => JSON.stringify([sum, ...[...ids].sort((a, b) => a - b)]);

/** The tables that a question's answer has rows of. */
export const rowTableOf = (question: Question): TableName => (isSet(question) ? question.table : question.target);
