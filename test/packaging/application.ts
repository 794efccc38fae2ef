/** One small application on MySQL, memcached and the memory store, as text: in CommonJS, as ES module and in TypeScript. */

const imports: readonly (readonly [names: string, from: string])[] = [
  ['{ DataTypes, Model, Sequelize }', 'sequelize'],
  ['mysql2', 'mysql2'],
  ['{ InvalidOptionError, QuerysetCountCache, registerCache, setupCache, withCache }', 'sequelize-flash'],
  ['{ MemcachedStore }', 'sequelize-flash/stores/memcached'],
  ['{ MemoryStore }', 'sequelize-flash/stores/memory'],
];

/** Prints one line of JSON. DB, MC and PREFIX say where; FROM_ENV lets setupCache make its store. */
const body = `
class Book extends Model {}
class BooksOnShelf extends QuerysetCountCache {
  static model = Book;
  static keyFields = ['shelf'];
}
const { DB, MC, PREFIX, FROM_ENV } = process.env;
async function main() {
  const statements = [];
  const sequelize = new Sequelize(DB, { dialect: 'mysql', dialectModule: mysql2, logging: (sql) => statements.push(sql) });
  Book.init({ title: DataTypes.STRING, shelf: DataTypes.INTEGER }, { sequelize, modelName: 'Book', timestamps: false });
  withCache(Book, { keys: ['id', 'title'], filters: ['shelf'] });
  registerCache(BooksOnShelf);
  const cache = setupCache(sequelize, { ...(FROM_ENV ? {} : { store: new MemcachedStore(MC, { timeoutMs: 20000 }) }), prefix: PREFIX });
  await sequelize.sync();
  const isFirst = (await Book.count()) === 0;
  if (isFirst) await Book.bulkCreate([{ id: 1, title: 'Emma', shelf: 1 }, { id: 2, title: 'Ulysses', shelf: 1 }]);
  else await Book.cache.get({ id: 1 });
  statements.length = 0;
  const read = async () => [(await Book.cache.get({ title: 'Emma' })).id, (await Book.cache.filter({ shelf: 1 })).length, await new BooksOnShelf(1).resolve()];
  const found = await read();
  const asked = statements.length;
  await read();
  const askedAgain = statements.length - asked;
  await Book.update({ title: 'Emma!' }, { where: { id: 1 } });
  const renamed = (await Book.cache.get({ id: 1 })).title;
  await Book.update({ title: 'Emma' }, { where: { id: 1 } });
  await read();
  const errorOf = async (use) => { try { await use(); } catch (error) { return [error.name, error.code, error instanceof InvalidOptionError]; } };
  const missing = await errorOf(() => Book.cache.get({ id: 99 }));
  const refused = await errorOf(() => new MemcachedStore('no:server:here'));
  const store = cache.store.name.split('(')[0];
  const undelivered = await cache.close();
  await cache.store.close();
  const memory = new MemoryStore({ maxEntries: 10, maxBytes: 100000 });
  const local = setupCache(sequelize, { store: memory });
  await Book.cache.get({ id: 2 });
  statements.length = 0;
  const local2 = (await Book.cache.get({ id: 2 })).title;
  const localAsked = statements.length;
  await local.close();
  await memory.close();
  await sequelize.close();
  console.log(JSON.stringify({ isFirst, found, asked: isFirst ? 'cold' : asked, askedAgain, renamed, missing, refused, store, undelivered, local: [local2, localAsked] }));
}
void main();
`;

export const asModule = imports.map(([names, from]) => `import ${names} from '${from}';\n`).join('') + body;

export const asCommonJs = imports.map(([names, from]) => `const ${names} = require('${from}');\n`).join('') + body;

/** What the application prints in its first run, and in every further one. */
export function expected(isFirst: boolean): object {
  return {
    isFirst,
    found: [1, 2, 2],
    // What the process before has stored is found: both computed the same keys and shapes.
    asked: isFirst ? 'cold' : 0,
    askedAgain: 0,
    renamed: 'Emma!',
    missing: ['DoesNotExist', 'FLASH_DOES_NOT_EXIST', false],
    refused: ['InvalidOptionError', 'FLASH_INVALID_OPTION', true],
    store: 'memcached',
    undelivered: 0,
    local: ['Ulysses', 0],
  };
}

const typed = (setUp: string): string => `
import { DataTypes, Model, Sequelize, type CreationOptional, type InferAttributes, type InferCreationAttributes } from 'sequelize';
import Memcached from 'memcached';
import { setupCache, withCache, type Store } from 'sequelize-flash';
import { MemcachedStore } from 'sequelize-flash/stores/memcached';

class Book extends Model<InferAttributes<Book>, InferCreationAttributes<Book>> {
  static readonly cache = withCache(Book, { keys: ['id', 'title'] });
  declare id: CreationOptional<number>;
  declare title: string;
}

async function main(): Promise<void> {
  const sequelize = new Sequelize(process.env.DB ?? '', { dialect: 'mysql', logging: false });
  Book.init({ id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true }, title: DataTypes.STRING }, { sequelize, timestamps: false });
  const store: Store = new MemcachedStore(process.env.MC ?? '', { client: Memcached, timeoutMs: 20000 });
  ${setUp}
  await sequelize.sync();
  await Book.create({ title: 'Emma' });
  const title: string = (await Book.cache.get({ title: 'Emma' })).title;
  console.log(title, store.state?.().map(({ state }) => state).join());
  await cache.close();
  await store.close();
  await sequelize.close();
}
void main();
`;

export const asTypeScript = typed(`const cache = setupCache(sequelize, { store, prefix: process.env.PREFIX ?? '' });`);

export const asSequelizeTypescript = `
import 'reflect-metadata';
import { AllowNull, AutoIncrement, Column, DataType, Model, PrimaryKey, Sequelize, Table } from 'sequelize-typescript';
import { registerCache, InstanceCache, setupCache, withCache } from 'sequelize-flash';
import { MemcachedStore } from 'sequelize-flash/stores/memcached';

@Table({ timestamps: false })
class Book extends Model {
  @PrimaryKey @AutoIncrement @Column(DataType.INTEGER) declare id: number;
  @AllowNull(false) @Column(DataType.STRING) declare title: string;
  static readonly cache = withCache(Book, { keys: ['id'] });
}

class BookOnTitle extends InstanceCache<Book> {
  static model = Book;
  static keyFields = ['title'] as const;
}
registerCache(BookOnTitle);

async function main(): Promise<void> {
  const sequelize = new Sequelize(process.env.DB ?? '', { dialect: 'mysql', logging: false, models: [Book] });
  const store = new MemcachedStore(process.env.MC ?? '', { timeoutMs: 20000 });
  const cache = setupCache(sequelize, { store, prefix: process.env.PREFIX ?? '' });
  await sequelize.sync();
  const { id } = await Book.create({ title: 'Emma' });
  console.log((await Book.cache.get({ id })).title, (await new BookOnTitle('Emma').resolve())?.id === id);
  await cache.close();
  await store.close();
  await sequelize.close();
}
void main();
`;
