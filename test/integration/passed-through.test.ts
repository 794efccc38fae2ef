/**
 * Valid models that cannot be cached, although a cache is declared: set-up does not refuse them, their
 * lookups are the finds that they stand for, and one event tells why.
 */
import assert from 'node:assert/strict';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { describe, it } from 'node:test';
import { col, DataTypes, fn, literal, type Model, type ModelOptions, type ModelStatic, type Sequelize } from 'sequelize';
import { InstanceCache, QuerysetCountCache, RelatedInstanceCache, RelatedQuerysetCache, setupCache, type CacheClass, type FlashEvents } from '../../src/index.js';
import { MemoryStore } from '../../src/stores/memory.js';
import { backendNames, openBackend } from '../support/backends.js';
import { cached, type UntypedModel } from '../support/misuse-models.js';

type Scope = NonNullable<ModelOptions['defaultScope']>;

const ownColumns =
  "A cached row may depend on the row's own columns only: 'where' with plain values, 'attributes' by name, and 'order' by attribute. Move the rest into a named scope, or do not cache this model.";

/** Default scopes, and what the event says of each. */
const scopes: Readonly<Record<string, readonly [scope: Scope, detail: string]>> = {
  'an include': [{ include: ['author'] }, "it has 'include'"],
  'an include that hides rows': [{ include: [{ association: 'author', where: { name: 'Ann' } }] }, "it has 'include'"],
  'a condition in SQL': [{ where: literal('title <= CURRENT_TIMESTAMP') }, "its 'where' holds an instance of Literal, whose answer may change without a write"],
  'a value in SQL': [{ where: { title: literal("'one'") } }, "its 'where' holds an instance of Literal, whose answer may change without a write"],
  'a column of another table': [{ where: { '$author.name$': 'Ann' } }, "its 'where' tests '$author.name$', which is not an attribute of the model"],
  'a limit': [{ limit: 1 }, "it has 'limit'"],
  'a group': [{ group: ['id'] }, "it has 'group'"],
  'a group of what is not the key': [{ attributes: ['title', [fn('MAX', col('pages')), 'most']], group: ['title'] }, "it has 'group'"],
  'a sum': [{ attributes: [[fn('SUM', col('pages')), 'all']] }, "its 'attributes' holds more than attribute names"],
  'an order in SQL': [{ order: literal('pages DESC') }, "its 'order' holds an instance of Literal"],
  'a list of orders in SQL': [{ order: [[literal('pages'), 'DESC']] }, "its 'order' holds an instance of Literal"],
  'an order by another table': [{ order: [['author', 'name', 'ASC']] }, "its 'order' names 'author', which is not an attribute of the model"],
  'an expression': [{ attributes: { include: [[literal('1 + 1'), 'two']] } }, "its 'attributes.include' holds more than attribute names"],
  'a column that is not there': [{ attributes: ['isbn'] }, "its 'attributes' names 'isbn', which is not an attribute of the model"],
};

/** Something that is asked of the cache, and the same of the database. */
type Question = readonly [what: string, ask: () => Promise<unknown>, plain: () => Promise<unknown>];

interface Library {
  readonly Author: ModelStatic<Model>;
  readonly Book: ModelStatic<Model>;
  readonly questions: readonly Question[];
}

const titles = ['one', 'two', 'none'];

/** Books with an author, and every kind of lookup of them. */
function library(sequelize: Sequelize, defaultScope: Scope): Library {
  const Author = sequelize.define('Author', { name: DataTypes.STRING }, { timestamps: false });
  const Book = sequelize.define('Book', { title: DataTypes.STRING, pages: DataTypes.INTEGER }, { timestamps: false, defaultScope });
  Book.belongsTo(Author, { as: 'author', foreignKey: 'authorId', constraints: false });
  Author.hasMany(Book, { as: 'books', foreignKey: 'authorId', constraints: false });
  const named = <C>(name: string, cacheClass: C): C => Object.defineProperty(cacheClass, 'name', { value: name });
  class WithAuthor extends InstanceCache<Model> {
    static model = Book;
    static keyFields = ['title'];
    static include = ['author'];
  }
  class Count extends QuerysetCountCache<Model> {
    static model = Book;
    static keyFields = ['title'];
  }
  class AuthorOf extends RelatedInstanceCache<Model, Model> {
    static model = Book;
    static keyFields = ['title'];
    static relation = 'author';
  }
  class BooksOf extends RelatedQuerysetCache<Model, Model> {
    static model = Author;
    static keyFields = ['name'];
    static relation = 'books';
  }
  const caches = [named('WithAuthor', WithAuthor), named('Count', Count), named('AuthorOf', AuthorOf)] as unknown as readonly CacheClass[];
  cached(Book, { keys: ['title'], filters: ['title', 'author'], caches });
  const books = (Book as unknown as UntypedModel).cache;
  cached(Author, { keys: ['name'], caches: [named('BooksOf', BooksOf)] });
  const related = async (title: string): Promise<unknown> => {
    const book = await Book.findOne({ where: { title } });
    return book === null ? null : (book as Model & { getAuthor(): Promise<unknown> }).getAuthor();
  };
  const written = async (name: string): Promise<unknown> => {
    const author = await Author.findOne({ where: { name } });
    return author === null ? [] : (author as Model & { getBooks(): Promise<unknown> }).getBooks();
  };
  const questions = titles.flatMap((title): readonly Question[] => [
    ['a row', () => books.getOrNone({ title }), () => Book.findOne({ where: { title } })],
    ['a list', () => books.filter({ title }), () => Book.findAll({ where: { title } })],
    ['a row with an include', () => new WithAuthor(title).resolve().catch(absent), () => Book.findOne({ where: { title }, include: ['author'] })],
    ['a count', () => new Count(title).resolve(), () => Book.count({ where: { title } })],
    ['a relation', () => new AuthorOf(title).resolve(), () => related(title)],
  ]);
  return { Author, Book, questions: [...questions, ['a relation to it', () => new BooksOf('Ann').resolve(), () => written('Ann')]] };
}

const absent = (error: unknown): null => {
  if (error instanceof Error && error.name === 'DoesNotExist') return null;
  throw error;
};

/** What comes of it, errors of the database included. */
const outcome = async (ask: () => Promise<unknown>): Promise<unknown> => {
  try {
    return JSON.parse(JSON.stringify(await ask())) as unknown;
  } catch (error) {
    return error instanceof Error ? error.name : error;
  }
};

/** Collects the events `passthrough`. */
async function listening(work: (told: readonly FlashEvents['passthrough'][]) => Promise<void>): Promise<void> {
  const told: FlashEvents['passthrough'][] = [];
  const listener = (message: unknown): void => {
    told.push(message as FlashEvents['passthrough']);
  };
  subscribe('sequelize-flash:passthrough', listener);
  try {
    await work(told);
  } finally {
    unsubscribe('sequelize-flash:passthrough', listener);
  }
}

for (const backendName of backendNames) {
  describe(`valid models that cannot be cached, on ${backendName}`, () => {
    for (const [what, [scope, detail]] of Object.entries(scopes)) {
      it(`a default scope with ${what}`, () =>
        listening(async (told) => {
          const backend = await openBackend(backendName);
          try {
            const { Author, Book, questions } = library(backend.sequelize, scope);
            await backend.sequelize.sync();
            const [ann, bea] = await Author.bulkCreate([{ id: 1, name: 'Ann' }, { id: 2, name: 'Bea' }]);
            await Book.unscoped().bulkCreate([{ id: 1, title: 'one', pages: 1, authorId: 1 }, { id: 2, title: 'two', pages: 2, authorId: 2 }, { id: 3, title: 'one', pages: 4, authorId: 2 }]);
            backend.setup();
            const compare = async (moment: string): Promise<void> => {
              for (const [question, ask, plain] of questions) assert.deepEqual(await outcome(ask), await outcome(plain), `${question}, ${moment}`);
            };
            await compare('at first');
            await compare('once more');
            await Book.unscoped().update({ pages: 3, authorId: ann!.get('id') }, { where: { id: 2 } });
            await compare('after a write to it');
            await bea!.update({ name: 'Cleo' });
            await compare('after a write to what it includes');
            const own = told.filter(({ reason }) => reason === 'default-scope');
            assert.deepEqual(own, [{ model: 'Book', reason: 'default-scope', detail: `The default scope of model Book cannot be cached: ${detail}. ${ownColumns}` }]);
          } finally {
            await backend.close();
          }
        }));
    }

    it('but an order that is one name is cached, and comes before the primary key', () =>
      listening(async (told) => {
        const backend = await openBackend(backendName);
        try {
          const { Book } = library(backend.sequelize, { order: 'pages' as never });
          const books = (Book as unknown as UntypedModel).cache;
          await backend.sequelize.sync();
          await Book.bulkCreate([{ id: 1, title: 'one', pages: 4 }, { id: 2, title: 'one', pages: 1 }]);
          backend.setup();
          for (const round of ['cold', 'warm']) {
            assert.deepEqual((await books.filter({ title: 'one' }))?.map((book) => book.get('id')), [2, 1], round);
            assert.equal((await books.getOrNone({ title: 'one' }))?.get('id'), 2, round);
            await backend.store.quiet();
          }
          backend.reset();
          await books.filter({ title: 'one' });
          assert.deepEqual([backend.sql, told], [[], []]);
        } finally {
          await backend.close();
        }
      }));

    it('but related rows whose default scope hides their primary key are cached, each of them', () =>
      listening(async (told) => {
        const backend = await openBackend(backendName);
        try {
          const { Author, Book, questions } = library(backend.sequelize, { attributes: ['title', 'authorId'] });
          await backend.sequelize.sync();
          await Author.create({ id: 1, name: 'Ann' });
          await Book.bulkCreate([{ id: 1, title: 'one', authorId: 1 }, { id: 2, title: 'two', authorId: 1 }, { id: 3, title: 'two', authorId: 1 }]);
          backend.setup();
          const [, ask, plain] = questions.find(([what]) => what === 'a relation to it') as Question;
          const expected = await outcome(plain);
          assert.equal((expected as readonly unknown[]).length, 3);
          for (const round of ['cold', 'warm']) {
            assert.deepEqual(await outcome(ask), expected, round);
            await backend.store.quiet();
          }
          backend.reset();
          await ask();
          assert.deepEqual([backend.sql, told.filter(({ model }) => model === 'Book')], [[], []]);
        } finally {
          await backend.close();
        }
      }));

    it('a model without a primary key', () =>
      listening(async (told) => {
        const backend = await openBackend(backendName);
        try {
          const Log = backend.sequelize.define('Log', { title: DataTypes.STRING, size: DataTypes.INTEGER }, { timestamps: false });
          await backend.sequelize.sync();
          Log.removeAttribute('id');
          cached(Log, { keys: ['title'], filters: ['title'] });
          backend.setup();
          const logs = (Log as unknown as UntypedModel).cache;
          const read = async (): Promise<unknown> => JSON.parse(JSON.stringify([await logs.getOrNone({ title: 'a' }), await logs.filter({ title: 'a' })])) as unknown;
          assert.deepEqual(await read(), [null, []]);
          await Log.create({ title: 'a', size: 1 });
          assert.deepEqual(await read(), [{ title: 'a', size: 1 }, [{ title: 'a', size: 1 }]]);
          await Log.update({ size: 2 }, { where: { title: 'a' } });
          assert.deepEqual(await read(), [{ title: 'a', size: 2 }, [{ title: 'a', size: 2 }]]);
          assert.deepEqual(told, [
            { model: 'Log', reason: 'primary-key', detail: 'Model Log has no primary key, so its rows cannot be told apart. Declare one, or do not cache this model.' },
          ]);
        } finally {
          await backend.close();
        }
      }));

    it('a primary key that cannot be a key', () =>
      listening(async (told) => {
        const backend = await openBackend(backendName);
        const store = new MemoryStore();
        try {
          const Place = backend.sequelize.define('Place', { place: { type: DataTypes.GEOMETRY, primaryKey: true } });
          cached(Place, {});
          await setupCache(backend.sequelize, { store }).close();
          const reason = "The primary key 'place' of model Place has the type GEOMETRY, whose values cannot be told apart by the cache. Declare another one, or do not cache this model.";
          assert.deepEqual(told, [{ model: 'Place', reason: 'primary-key', detail: reason }]);
        } finally {
          await store.close();
          await backend.close();
        }
      }));
  });
}
