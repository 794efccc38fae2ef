/**
 * SELECTs as Sequelize's own finders would send them, in the form of text, so that several can be one
 * statement.
 *
 * The finder itself runs, on a stand-in for the model whose query interface keeps the statement instead
 * of sending it. So scopes, `paranoid`, column names and a finder that the model overrides are in the text.
 */
import { Sequelize, type CountOptions, type FindOptions, type Model, type ModelStatic } from 'sequelize';
import type { CachedModel } from './cached-model.js';

/** One SELECT. */
export interface Select {
  /** Without a semicolon at its end. */
  readonly text: string;
  /** The options of `sequelize.query` under which `findAll` would send it. */
  readonly options: object;
}

/** Options as Sequelize hands them to its query generator. */
type GeneratorOptions = Record<string, unknown>;

interface QueryGenerator {
  readonly options: object;
  selectQuery(table: unknown, options: GeneratorOptions, model: ModelStatic<Model>): string;
  quoteIdentifier(name: string): string;
}

interface QueryInterfaceInternals {
  readonly queryGenerator: QueryGenerator;
}

/** The column that says which of the statements of a union a row is from. */
export const branchColumn = 'flash_branch';

/** The SELECT of `model.findAll(options)`; `undefined` where the model's own `findAll` sends another one, or changes its rows. */
export async function selectOf(model: ModelStatic<Model>, options: FindOptions): Promise<Select | undefined> {
  const rows: Model[] = [];
  const kept: Kept[] = [];
  const result: unknown = await standIn(model, { select: (_: unknown, table: unknown, of: GeneratorOptions) => kept.push({ table, of }) && rows }).findAll(options);
  return result === rows ? textOf(model, kept, {}) : undefined;
}

/**
 * The SELECT of `model.min` or `model.count`.
 * @param change replaces options of the finished query, whose names are those of columns by then
 */
export async function aggregateOf(
  model: ModelStatic<Model>,
  aggregate: { readonly min: string } | 'count',
  options: CountOptions,
  change: GeneratorOptions = {},
): Promise<Select | undefined> {
  const kept: Kept[] = [];
  const target = standIn(model, { rawSelect: (table: unknown, of: GeneratorOptions) => kept.push({ table, of }) && 0 });
  const result: unknown = aggregate === 'count' ? await target.count(options) : await target.min(aggregate.min, options as object);
  return result === 0 ? textOf(model, kept, change) : undefined;
}

interface Kept {
  readonly table: unknown;
  readonly of: GeneratorOptions;
}

/** The model, but for these methods of its query interface. */
function standIn(model: ModelStatic<Model>, methods: object): ModelStatic<Model> {
  const queryInterface: unknown = Object.assign(Object.create((model as { readonly queryInterface?: object }).queryInterface ?? null), methods);
  return Object.create(model, { queryInterface: { value: queryInterface } }) as ModelStatic<Model>;
}

function textOf(model: ModelStatic<Model>, [first, ...more]: readonly Kept[], change: GeneratorOptions): Select | undefined {
  if (first === undefined || more.length > 0) return undefined;
  const options = { ...first.of, type: 'SELECT', model, ...change };
  const text = withFullAliases(generatorOf(model)).selectQuery(first.table, options, model);
  return { text: text.replace(/;\s*$/, ''), options };
}

/** With Sequelize's option `minifyAliases` a row would have the columns of ours under other names. */
const withFullAliases = (generator: QueryGenerator): QueryGenerator =>
  Object.create(generator, { options: { value: { ...generator.options, minifyAliases: false } } }) as QueryGenerator;

const generatorOf = (model: ModelStatic<Model>): QueryGenerator =>
  (sequelizeOf(model).getQueryInterface() as unknown as QueryInterfaceInternals).queryGenerator;

const sequelizeOf = (model: ModelStatic<Model>): Sequelize => (model as unknown as { readonly sequelize: Sequelize }).sequelize;

/** A column of the model's table, in a statement that Sequelize makes of the model. */
export function columnText(model: ModelStatic<Model>, field: string): string {
  const generator = generatorOf(model);
  return `${generator.quoteIdentifier(model.name)}.${generator.quoteIdentifier(field)}`;
}

/** An attribute that tells the rows of one statement from those of others. */
export const branchOf = (at: number): [ReturnType<typeof Sequelize.literal>, string] => [Sequelize.literal(String(at)), branchColumn];

/** Runs SELECTs as one statement, each row of which holds its branch. */
export async function unionAll(model: ModelStatic<Model>, selects: readonly Select[], more: object = {}): Promise<unknown[]> {
  const sequelize = sequelizeOf(model);
  // SQLite takes no brackets around a part of a union.
  const part = sequelize.getDialect() === 'sqlite' ? (text: string) => `SELECT * FROM (${text})` : (text: string) => `(${text})`;
  const rows: unknown[] = [];
  for (let from = 0; from < selects.length; from += longestUnion) {
    const some = selects.slice(from, from + longestUnion);
    const [first] = some;
    if (first === undefined) break;
    const text = some.map((select) => part(select.text)).join(' UNION ALL ');
    rows.push(...((await sequelize.query(text, { ...first.options, plain: false, ...more } as object)) as unknown[]));
  }
  return rows;
}

/** SQLite's default limit of SELECTs in a compound. */
const longestUnion = 500;

const findHooks = ['beforeFind', 'beforeFindAfterExpandIncludeAll', 'beforeFindAfterOptions', 'afterFind'] as const;

/** Whether hooks of the program can change what a find asks for or returns; only a find can run them. */
export const hasFindHooks = (model: ModelStatic<Model>): boolean => findHooks.some((hook) => hasHook(model, hook));

/** Whether hooks of the program can change what a count asks for. */
export const hasCountHooks = (model: ModelStatic<Model>): boolean => hasHook(model, 'beforeCount');

const hasHook = (model: ModelStatic<Model>, hook: string): boolean => isHooked(model, hook) || (model.sequelize !== undefined && isHooked(model.sequelize, hook));

/** `hasHook` throws where the program has set `options.hooks` to undefined, and finds do not. */
function isHooked(hooked: object, name: string): boolean {
  const { hooks } = (hooked as { readonly options: { readonly hooks?: Readonly<Record<string, unknown>> | null } }).options;
  const list = hooks?.[name];
  return Array.isArray(list) ? list.length > 0 : list !== undefined;
}

/** The stored attributes that a find for the cache names, where it has to name them. */
export const namesOf = ({ attributes, scope }: CachedModel): readonly string[] => attributes ?? scope.attributes;
