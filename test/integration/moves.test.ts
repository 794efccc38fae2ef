/**
 * A row that moves from one list to another, by every kind of write: both lists, how many there are
 * and whether there is one, what relations lead to and what comes included, in the writer's process
 * and in another one. What is expected is written down, not asked of the database.
 */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, beforeEach, describe, it } from 'node:test';
import { DataTypes, type FindOptions, type Model, type ModelStatic, type Sequelize } from 'sequelize';
import {
  DoesNotExist,
  InstanceCache,
  QuerysetCache,
  QuerysetCountCache,
  QuerysetExistsCache,
  RelatedInstanceCache,
  RelatedQuerysetCache,
  registerCache,
  setupCache,
  withCache,
  type CacheClass,
  type FlashCache,
  type JsonValue,
} from '../../src/index.js';
import { memcachedStore, openBackend, type Backend } from '../support/backends.js';

type BoardName = 'one' | 'two' | 'three';
type Place = BoardName | 'none';
type Label = 'red' | 'blue' | 'green';

const boardIds: Readonly<Record<BoardName, number>> = { one: 1, two: 2, three: 3 };
const labels: Readonly<Record<Label, number>> = { red: 1, blue: 2, green: 3 };
const cardIds = { a: 1, x: 2, b: 3, c: 4, lone: 5 } as const;

/** A card that a move makes comes after all others. */
const idOf = (title: string): number => (cardIds as Readonly<Record<string, number>>)[title] ?? 99;

/** Which cards are where. */
interface State {
  readonly cards: Readonly<Record<Place, readonly string[]>>;
  readonly tags: Readonly<Record<Label, readonly string[]>>;
  /** Boards that are gone. */
  readonly gone?: readonly BoardName[];
  /** Soft-deleted: their links stay. */
  readonly hidden?: readonly string[];
}

/** Card `x` is what moves; nobody touches board three. */
const start: State = {
  cards: { one: ['a', 'x'], two: ['b'], three: ['c'], none: ['lone'] },
  tags: { red: ['a', 'x'], blue: ['b'], green: ['c'] },
};
const moved: State = { ...start, cards: { ...start.cards, one: ['a'], two: ['b', 'x'] } };
const loose: State = { ...start, cards: { ...start.cards, one: ['a'], none: ['lone', 'x'] } };

/** What caches are asked with. */
type Resolvable = Readonly<{ resolve(): Promise<unknown> }>;

/** The models of one process, and its questions. */
interface World {
  readonly sequelize: Sequelize;
  readonly Board: ModelStatic<Model>;
  readonly Card: ModelStatic<Model>;
  readonly Tag: ModelStatic<Model>;
  readonly CardTag: ModelStatic<Model>;
  /** All that can be asked about a place's cards. */
  ofPlace(place: Place): Promise<unknown>;
  ofCard(title: string): Promise<unknown>;
  ofTag(label: Label): Promise<unknown>;
  ofTable(): Promise<unknown>;
}

/** Lists only: a write has nothing to find out. With results: they depend on what was before. */
type Family = 'lists' | 'results';

const titles = (cards: unknown): string[] => (cards as Model[]).map((card) => card.get('title') as string);
const sorted = (cards: unknown): string[] => titles(cards).sort();

function defineWorld(sequelize: Sequelize, family: Family): World {
  const id = { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true };
  const unique = (): { type: ReturnType<typeof DataTypes.STRING>; allowNull: false; unique: true } => ({
    type: DataTypes.STRING(20),
    allowNull: false,
    unique: true,
  });
  const Board = sequelize.define('Board', { id, name: unique() }, { timestamps: false });
  const Card = sequelize.define('Card', { id, title: unique(), note: DataTypes.STRING }, { paranoid: true });
  const Tag = sequelize.define('Tag', { id, label: unique() }, { timestamps: false });
  const CardTag = sequelize.define('CardTag', {}, { timestamps: false });
  Board.hasMany(Card, { as: 'cards', foreignKey: 'boardId', onDelete: 'SET NULL' });
  Card.belongsTo(Board, { as: 'board', foreignKey: 'boardId', onDelete: 'SET NULL' });
  Card.belongsToMany(Tag, { as: 'tags', through: CardTag, foreignKey: 'cardId', otherKey: 'tagId' });
  Tag.belongsToMany(Card, { as: 'cards', through: CardTag, foreignKey: 'tagId', otherKey: 'cardId' });
  CardTag.belongsTo(Card, { as: 'card', foreignKey: 'cardId' });
  CardTag.belongsTo(Tag, { as: 'tag', foreignKey: 'tagId' });

  class LastCard extends QuerysetCache<Model> {
    static model = Card;
    static keyFields = ['board'];
    static order = [['id', 'DESC']] as const;
    static limit = 1;
  }
  class BoardOfCard extends RelatedInstanceCache<Model, Model> {
    static model = Card;
    static keyFields = ['title'];
    static relation = 'board';
  }
  class CardsOfBoard extends RelatedQuerysetCache<Model, Model> {
    static model = Board;
    static keyFields = ['name'];
    static relation = 'cards';
  }
  class BoardWithCards extends InstanceCache<Model> {
    static model = Board;
    static keyFields = ['name'];
    static include = ['cards'];
  }
  class TagsOfCard extends RelatedQuerysetCache<Model, Model> {
    static model = Card;
    static keyFields = ['title'];
    static relation = 'tags';
  }
  class CardsOfTag extends RelatedQuerysetCache<Model, Model> {
    static model = Tag;
    static keyFields = ['label'];
    static relation = 'cards';
  }
  class CardsOfLinks extends RelatedQuerysetCache<Model, Model> {
    static model = CardTag;
    static keyFields = ['tag'];
    static relation = 'card';
  }
  class CardWithTags extends InstanceCache<Model> {
    static model = Card;
    static keyFields = ['title'];
    static include = ['board', 'tags'];
  }
  const lists: readonly CacheClass[] = [LastCard, BoardOfCard, CardsOfBoard, BoardWithCards, TagsOfCard, CardsOfTag, CardsOfLinks, CardWithTags];
  class HasCards extends QuerysetExistsCache<Model> {
    static model = Card;
    static keyFields = ['board'];
  }
  class CardCount extends QuerysetCountCache<Model> {
    static model = Card;
    static keyFields = ['board'];
  }
  class TitlesOfBoard extends QuerysetCache<Model> {
    static model = Card;
    static keyFields = ['board'];
    override async getResult({ board }: Readonly<Record<string, unknown>>): Promise<JsonValue> {
      return sorted(await this.queryset().findAll({ where: { boardId: board as number | null } }));
    }
  }
  class AllCards extends QuerysetCountCache<Model> {
    static model = Card;
    static keyFields = [];
  }
  class LinksOfTag extends QuerysetCountCache<Model> {
    static model = CardTag;
    static keyFields = ['tag'];
  }
  const results: readonly CacheClass[] = [HasCards, CardCount, TitlesOfBoard, AllCards, LinksOfTag];
  for (const cacheClass of family === 'lists' ? lists : [...lists, ...results]) registerCache(cacheClass);

  // Sequelize's untyped models take any key fields.
  const declare = (model: ModelStatic<Model>, keys: readonly string[], filters: readonly (readonly string[])[]): { filter(params: object): Promise<Model[]> } =>
    withCache(model, { keys: keys as never, filters: filters as never }) as never;
  declare(Board, ['id', 'name'], []);
  const ofCards = declare(Card, ['id', 'title'], [['board'], []]);
  declare(Tag, ['id'], []);
  const ofLinks = declare(CardTag, [], [['card'], ['tag']]);

  const resolve = (cacheClass: CacheClass, params: object): Promise<unknown> =>
    (new cacheClass(params) as unknown as Resolvable).resolve().catch((error: unknown) => {
      if (error instanceof DoesNotExist) return null;
      throw error;
    });
  const included = (instance: unknown, as: string): unknown => (instance as Model | null)?.get(as) ?? null;
  const withResults = async (values: () => Promise<object>): Promise<object> => (family === 'lists' ? {} : values());
  return {
    sequelize,
    Board,
    Card,
    Tag,
    CardTag,
    ofPlace: async (place) => {
      const board = place === 'none' ? null : boardIds[place];
      const [list, last, more] = await Promise.all([
        ofCards.filter({ board }),
        resolve(LastCard, { board }),
        withResults(async () => ({
          has: await resolve(HasCards, { board }),
          count: await resolve(CardCount, { board }),
          result: await resolve(TitlesOfBoard, { board }),
        })),
      ]);
      if (place === 'none') return { list: sorted(list), last: titles(last), ...more };
      const [related, whole] = await Promise.all([resolve(CardsOfBoard, { name: place }), resolve(BoardWithCards, { name: place })]);
      const cards = included(whole, 'cards');
      return { list: sorted(list), last: titles(last), ...more, related: sorted(related), included: cards === null ? null : sorted(cards) };
    },
    ofCard: async (title) => {
      const [board, tags, whole] = await Promise.all([resolve(BoardOfCard, { title }), resolve(TagsOfCard, { title }), resolve(CardWithTags, { title })]);
      const names = (found: unknown): unknown[] => (found as Model[]).map((tag) => tag.get('label')).sort();
      return {
        board: (board as Model | null)?.get('name') ?? null,
        tags: names(tags),
        included: whole === null ? null : { board: (included(whole, 'board') as Model | null)?.get('name') ?? null, tags: names(included(whole, 'tags')) },
      };
    },
    ofTag: async (label) => {
      const tag = labels[label];
      const [cards, links, ofLink, more] = await Promise.all([
        resolve(CardsOfTag, { label }),
        ofLinks.filter({ tag }),
        resolve(CardsOfLinks, { tag }),
        withResults(async () => ({ count: await resolve(LinksOfTag, { tag }) })),
      ]);
      return { cards: sorted(cards), links: links.length, ofLinks: sorted(ofLink), ...more };
    },
    ofTable: async () => ({
      all: sorted(await ofCards.filter({})),
      ...(await withResults(async () => ({ count: await resolve(AllCards, {}) }))),
    }),
  };
}

const places: readonly Place[] = ['one', 'two', 'three', 'none'];
const names = Object.keys(boardIds) as BoardName[];
const tagNames = Object.keys(labels) as Label[];

/** Everything that a process says. */
async function told(world: World): Promise<unknown> {
  const cards = [...Object.keys(cardIds), 'n'];
  const byName = async <N extends string>(all: readonly N[], ask: (name: N) => Promise<unknown>): Promise<object> =>
    Object.fromEntries(await Promise.all(all.map(async (name) => [name, await ask(name)] as const)));
  return {
    places: await byName(places, (place) => world.ofPlace(place)),
    cards: await byName(cards, (title) => world.ofCard(title)),
    tags: await byName(tagNames, (label) => world.ofTag(label)),
    table: await world.ofTable(),
  };
}

/** What it has to say. */
function expected({ cards, tags, gone = [], hidden = [] }: State, family: Family): unknown {
  const withResults = (values: object): object => (family === 'lists' ? {} : values);
  const ofPlace = (place: Place): object => {
    const here = [...cards[place]].sort();
    const last = [...here].sort((one, other) => idOf(other) - idOf(one)).slice(0, 1);
    const base = { list: here, last, ...withResults({ has: here.length > 0, count: here.length, result: here }) };
    if (place === 'none') return base;
    return gone.includes(place) ? { ...base, related: [], included: null } : { ...base, related: here, included: here };
  };
  const all = places.flatMap((place) => cards[place]);
  const ofCard = (title: string): object => {
    if (!all.includes(title)) return { board: null, tags: [], included: null };
    const board = names.find((name) => cards[name].includes(title)) ?? null;
    const own = tagNames.filter((label) => tags[label].includes(title)).sort();
    return { board, tags: own, included: { board, tags: own } };
  };
  const ofTag = (label: Label): object => {
    const seen = tags[label].filter((title) => !hidden.includes(title)).sort();
    return { cards: seen, links: tags[label].length, ofLinks: seen, ...withResults({ count: tags[label].length }) };
  };
  return {
    places: Object.fromEntries(places.map((place) => [place, ofPlace(place)])),
    cards: Object.fromEntries([...Object.keys(cardIds), 'n'].map((title) => [title, ofCard(title)])),
    tags: Object.fromEntries(tagNames.map((label) => [label, ofTag(label)])),
    table: { all: [...all].sort(), ...withResults({ count: all.length }) },
  };
}

interface Move {
  readonly name: string;
  readonly to: State;
  /** It voids the whole table, so board three is not cached any more. */
  readonly wide?: true;
  /**
   * A row is gone from its table: who knew the way to it asks once for the row, and once more for its
   * key values, before "there is none" is cached under these.
   */
  readonly removes?: true;
  /** SQL statements of the write: where there are lists only, and where there are results. */
  readonly sql?: Readonly<Record<Family, number>>;
  /** @param unseen nobody sees anything of it yet */
  run(world: World, unseen: () => Promise<void>): Promise<unknown>;
}

const found = { rejectOnEmpty: true } as const;
const card = ({ Card }: World, options: FindOptions = {}): Promise<Model> => Card.findByPk(cardIds.x, { ...options, ...found });
const board = ({ Board }: World, name: BoardName): Promise<Model> => Board.findByPk(boardIds[name], found);

/** An accessor that an association adds. */
const call = (instance: Model, accessor: string, ...args: unknown[]): Promise<unknown> =>
  (Reflect.get(instance, accessor) as (...args: unknown[]) => Promise<unknown>).apply(instance, args);

/** A find, the write, and what is read for results: before and after it, in a transaction of the statement's own. */
const save = { lists: 2, results: 2 + 4 };
/** The values of a bulk update or an increment do not reach the cache: the row is read after it, for lists as well. */
const unfound = { lists: 1 + 3, results: 1 + 4 };

const moves: readonly Move[] = [
  { name: 'save', to: moved, sql: save, run: async (world) => (await card(world)).update({ boardId: 2 }) },
  { name: 'save, hooks: false', to: moved, sql: save, run: async (world) => (await card(world)).update({ boardId: 2 }, { hooks: false }) },
  {
    name: 'save of an instance that knows its primary key only',
    to: moved,
    sql: save,
    run: async (world) => (await card(world, { attributes: ['id'] })).update({ boardId: 2 }),
  },
  { name: 'belongsTo set', to: moved, run: async (world) => call(await card(world), 'setBoard', await board(world, 'two')) },
  { name: 'belongsTo set to null', to: loose, run: async (world) => call(await card(world), 'setBoard', null) },
  { name: 'bulk update by id', to: moved, sql: unfound, run: ({ Card }) => Card.update({ boardId: 2 }, { where: { id: cardIds.x } }) },
  {
    name: 'bulk update by condition',
    to: { ...start, cards: { ...start.cards, one: [], two: ['a', 'b', 'x'] } },
    run: ({ Card }) => Card.update({ boardId: 2 }, { where: { boardId: 1 } }),
  },
  { name: 'bulk update, individualHooks', to: moved, run: ({ Card }) => Card.update({ boardId: 2 }, { where: { title: 'x' }, individualHooks: true }) },
  { name: 'increment of the key column', to: moved, sql: { lists: 1 + unfound.lists, results: 1 + unfound.results }, run: async (world) => (await card(world)).increment('boardId') },
  { name: 'static increment by primary key', to: moved, sql: unfound, run: ({ Card }) => Card.increment('boardId', { where: { id: cardIds.x } }) },
  { name: 'static increment by condition', to: moved, wide: true, run: ({ Card }) => Card.increment('boardId', { where: { title: 'x' } }) },
  { name: 'upsert', to: moved, wide: true, run: ({ Card }) => Card.upsert({ id: cardIds.x, title: 'x', boardId: 2 }) },
  {
    name: 'bulkCreate, updateOnDuplicate',
    to: moved,
    wide: true,
    run: ({ Card }) => Card.bulkCreate([{ title: 'x', boardId: 2 }], { updateOnDuplicate: ['boardId'] }),
  },
  {
    name: 'a new row',
    to: { ...start, cards: { ...start.cards, two: ['b', 'n'] } },
    sql: { lists: 1, results: 1 },
    run: ({ Card }) => Card.create({ title: 'n', boardId: 2 }),
  },
  { name: 'hasMany add', to: moved, run: async (world) => call(await board(world, 'two'), 'addCard', await card(world)) },
  {
    name: 'hasMany set',
    to: { ...start, cards: { one: ['a'], two: ['x'], three: ['c'], none: ['b', 'lone'] } },
    run: async (world) => call(await board(world, 'two'), 'setCards', [cardIds.x]),
  },
  { name: 'hasMany remove', to: loose, run: async (world) => call(await board(world, 'one'), 'removeCard', cardIds.x) },
  {
    name: 'hasMany create',
    to: { ...start, cards: { ...start.cards, two: ['b', 'n'] } },
    run: async (world) => call(await board(world, 'two'), 'createCard', { title: 'n' }),
  },
  { name: 'raw SQL', to: moved, wide: true, run: ({ sequelize }) => sequelize.query("UPDATE Cards SET boardId = 2 WHERE title = 'x'") },
  {
    name: 'a transaction that commits',
    to: moved,
    run: (world, unseen) =>
      world.sequelize.transaction(async (transaction) => {
        await (await card(world, { transaction })).update({ boardId: null }, { transaction });
        await world.Card.update({ boardId: 2 }, { where: { id: cardIds.x }, transaction });
        await unseen();
      }),
  },
  {
    name: 'a transaction that rolls back',
    to: start,
    run: async (world, unseen) => {
      const transaction = await world.sequelize.transaction();
      await (await card(world, { transaction })).update({ boardId: 2 }, { transaction });
      await world.Card.create({ title: 'n', boardId: 2 }, { transaction });
      await unseen();
      await transaction.rollback();
    },
  },
  {
    name: 'a savepoint that rolls back, in a transaction that commits',
    to: moved,
    run: async (world, unseen) => {
      await world.sequelize.transaction(async (transaction) => {
        await (await card(world, { transaction })).update({ boardId: 2 }, { transaction });
        const inner = await world.sequelize.transaction({ transaction });
        await world.Card.update({ boardId: null }, { where: { id: cardIds.x }, transaction: inner });
        await inner.rollback();
        await unseen();
      });
    },
  },
  {
    name: 'SET NULL by the database',
    to: { ...start, cards: { ...start.cards, one: [], none: ['a', 'lone', 'x'] }, gone: ['one'] },
    wide: true,
    removes: true,
    run: async (world) => (await board(world, 'one')).destroy(),
  },
  {
    name: 'paranoid destroy',
    to: { ...start, cards: { ...start.cards, one: ['a'] }, hidden: ['x'] },
    run: async (world) => (await card(world)).destroy(),
  },
  {
    name: 'paranoid destroy by id',
    to: { ...start, cards: { ...start.cards, one: ['a'] }, hidden: ['x'] },
    run: ({ Card }) => Card.destroy({ where: { id: cardIds.x } }),
  },
  {
    name: 'paranoid destroy and restore into another list',
    to: moved,
    run: async (world) => {
      const instance = await card(world);
      await instance.destroy();
      instance.set('boardId', 2);
      await instance.restore();
    },
  },
  {
    name: 'bulk restore',
    to: start,
    run: async ({ Card }) => {
      await Card.destroy({ where: { boardId: 1 } });
      await Card.restore({ where: { boardId: 1 } });
    },
  },
  {
    name: 'destroy for good, which takes the links with it',
    to: { cards: { ...start.cards, one: ['a'] }, tags: { ...start.tags, red: ['a'] } },
    wide: true,
    removes: true,
    run: async (world) => (await card(world)).destroy({ force: true }),
  },
  {
    name: 'belongsToMany add',
    to: { ...start, tags: { ...start.tags, blue: ['b', 'x'] } },
    run: async (world) => call(await card(world), 'addTag', labels.blue),
  },
  {
    name: 'belongsToMany add, from the other side',
    to: { ...start, tags: { ...start.tags, blue: ['a', 'b', 'x'] } },
    run: async ({ Tag }) => call(await Tag.findByPk(labels.blue, found), 'addCards', [cardIds.x, cardIds.a]),
  },
  {
    name: 'belongsToMany set: from one to the other',
    to: { ...start, tags: { ...start.tags, red: ['a'], blue: ['b', 'x'] } },
    run: async (world) => call(await card(world), 'setTags', [labels.blue]),
  },
  {
    name: 'belongsToMany set, from the other side',
    to: { ...start, tags: { ...start.tags, blue: ['x'] } },
    run: async ({ Tag }) => call(await Tag.findByPk(labels.blue, found), 'setCards', [cardIds.x]),
  },
  {
    name: 'belongsToMany remove',
    to: { ...start, tags: { ...start.tags, red: ['a'] } },
    run: async (world) => call(await card(world), 'removeTag', labels.red),
  },
  {
    name: 'a link that is moved by bulk update',
    to: { ...start, tags: { ...start.tags, red: ['a'], blue: ['b', 'x'] } },
    // The column is part of the primary key.
    wide: true,
    run: ({ CardTag }) => CardTag.update({ tagId: labels.blue }, { where: { cardId: cardIds.x } }),
  },
  {
    name: 'belongsTo, several at the same time',
    to: { ...start, cards: { ...start.cards, one: ['b'], two: ['a', 'x'] } },
    run: async ({ Card }) => {
      const [a, x, b] = await Card.findAll({ where: { id: [1, 2, 3] }, order: ['id'] });
      await Promise.all([a!.update({ boardId: 2 }), x!.update({ boardId: 2 }), b!.update({ boardId: 1 })]);
    },
  },
];

for (const family of ['lists', 'results'] as const) {
  describe(`moves from list to list, ${family === 'lists' ? 'lists only' : 'lists and results'}`, () => {
    let backend: Backend;
    let a: World;
    let b: World;
    let other: FlashCache | undefined;

    before(async () => {
      backend = await openBackend('mariadb');
      const prefix = `t${randomUUID().slice(0, 8)}`;
      const another = backend.another();
      a = defineWorld(backend.sequelize, family);
      b = defineWorld(another, family);
      await a.sequelize.sync();
      backend.setup({ prefix });
      other = setupCache(another, { prefix, store: memcachedStore() });
    });
    after(async () => {
      await other?.close(0);
      await backend.close();
    });

    beforeEach(async () => {
      for (const table of ['CardTags', 'Cards', 'Boards', 'Tags']) await a.sequelize.query(`DELETE FROM ${table}`);
      await a.Board.bulkCreate(names.map((name) => ({ id: boardIds[name], name })));
      await a.Tag.bulkCreate(tagNames.map((label) => ({ id: labels[label], label })));
      const placed = places.flatMap((place) => start.cards[place].map((title) => ({ id: idOf(title), title, boardId: place === 'none' ? null : boardIds[place] })));
      await a.Card.bulkCreate(placed);
      await a.CardTag.bulkCreate(tagNames.flatMap((label) => start.tags[label].map((title) => ({ tagId: labels[label], cardId: idOf(title) }))));
      for (const world of [a, b]) assert.deepEqual(await told(world), expected(start, family), 'before');
    });

    /** Nothing of it is asked of the database. */
    async function cached(ask: () => Promise<unknown>, what: string): Promise<void> {
      backend.reset();
      await ask();
      assert.deepEqual([...backend.sql], [], what);
    }

    for (const { name, to, wide, removes, sql, run } of moves) {
      it(name, async () => {
        for (const world of [a, b]) await cached(() => told(world), 'primed');
        backend.reset();
        let looks = 0;
        await run(a, async () => {
          looks += 1;
          for (const world of [b, a]) assert.deepEqual(await told(world), expected(start, family), 'not committed');
        });
        if (sql !== undefined) {
          assert.equal(looks, 0, 'what others ask is not counted');
          assert.equal(backend.sql.length, sql[family], `SQL statements:\n${backend.sql.join('\n')}`);
        }
        if (wide !== true) {
          for (const world of [b, a]) {
            await cached(async () => {
              await world.ofPlace('three');
              await world.ofTag('green');
              await world.ofCard('c');
            }, 'what did not move is still cached');
          }
        }
        for (const world of removes === true ? [b, a, b, a] : [b, a]) assert.deepEqual(await told(world), expected(to, family), 'after');
        // It is cached, and right there as well.
        for (const world of [b, a]) {
          await cached(async () => {
            assert.deepEqual(await told(world), expected(to, family), 'cached');
          }, 'what was moved is cached again');
        }
      });
    }
  });
}
