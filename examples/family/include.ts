/** An instance with others included: what `findOne({ include })` delivers, put together from entries of their own. */
import assert from 'node:assert/strict';
import type { CreationOptional, InferAttributes, InferCreationAttributes, NonAttribute } from 'sequelize';
import { BelongsTo, Column, DataType, ForeignKey, HasMany, Model, Sequelize, Table } from 'sequelize-typescript';
import { InstanceCache, registerCache, setupCache } from 'sequelize-flash';
import { MemoryStore } from 'sequelize-flash/stores/memory';
import { costs, emptyDatabase } from '../support/short.js';

@Table
class Author extends Model<InferAttributes<Author>, InferCreationAttributes<Author>> {
  @Column({ type: DataType.INTEGER, primaryKey: true, autoIncrement: true })
  declare id: CreationOptional<number>;

  @Column(DataType.STRING)
  declare name: string;
}

@Table
class Book extends Model<InferAttributes<Book>, InferCreationAttributes<Book>> {
  @Column({ type: DataType.INTEGER, primaryKey: true, autoIncrement: true })
  declare id: CreationOptional<number>;

  @Column(DataType.STRING)
  declare isbn: string;

  @ForeignKey(() => Author)
  @Column(DataType.INTEGER)
  declare authorId: number;

  @BelongsTo(() => Author)
  declare author?: NonAttribute<Author>;

  @HasMany(() => Review)
  declare reviews?: NonAttribute<Review[]>;
}

@Table
class Review extends Model<InferAttributes<Review>, InferCreationAttributes<Review>> {
  @Column({ type: DataType.INTEGER, primaryKey: true, autoIncrement: true })
  declare id: CreationOptional<number>;

  @Column(DataType.STRING)
  declare text: string;

  @ForeignKey(() => Book)
  @Column(DataType.INTEGER)
  declare bookId: number;

  @ForeignKey(() => Author)
  @Column(DataType.INTEGER)
  declare reviewerId: number;

  @BelongsTo(() => Author)
  declare reviewer?: NonAttribute<Author>;
}

@registerCache
class BookPage extends InstanceCache<Book, ['isbn']> {
  static model = Book;
  static keyFields = ['isbn'] as const;
  static include = ['author', { association: 'reviews', include: ['reviewer'] }] as const;
}

async function main(): Promise<void> {
  const sequelize = new Sequelize({ ...(await emptyDatabase()), models: [Author, Book, Review] });
  await sequelize.sync();
  const cache = setupCache(sequelize, { store: new MemoryStore() });

  const [ada, bo] = [await Author.create({ name: 'Ada' }), await Author.create({ name: 'Bo' })];
  const { id: bookId } = await Book.create({ isbn: '978-1', authorId: ada.id });
  await Review.create({ text: 'Good', bookId, reviewerId: bo.id });

  const page = () => new BookPage('978-1').resolve();
  const found = () => Book.findOne({ where: { isbn: '978-1' }, include: ['author', { association: 'reviews', include: ['reviewer'] }] });
  await page();
  const book = await costs(0, page);
  assert.deepEqual(book.toJSON(), (await found())?.toJSON());
  assert.deepEqual([book.author?.name, book.reviews?.[0]?.reviewer?.name], ['Ada', 'Bo']);

  // Included instances can be saved like any other, and the page shows it.
  await book.reviews?.[0]?.reviewer?.update({ name: 'Beatrice' });
  await Review.create({ text: 'Bad', bookId, reviewerId: ada.id });
  assert.deepEqual((await page()).reviews?.map(({ text, reviewer }) => `${text} (${reviewer?.name})`).sort(), ['Bad (Ada)', 'Good (Beatrice)']);

  await cache.close();
  await sequelize.close();
  console.log('include ok');
}

void main();
