/**
 * npm start [-- --mysql]
 *
 * A tour of the cache. Each line shows a piece of code, its answer, and what it cost: SQL
 * statements and round trips to the store. The code that is shown is the code that is run, and
 * every answer and cost that the text speaks of is checked; the demo fails if one is not as claimed.
 */
import { Sequelize } from 'sequelize';
import { setupCache, type FlashCache } from 'sequelize-flash';
import { mysqlAndMemcached, sqliteAndMemory, type Stack } from '../support/stack.js';
import { Avatar, Comment, defineModels, Event, Participation, Place, PrimaryAvatarCacheOnUser, User } from './models.js';
import { claim, Meter, Page, WrongClaim } from './page.js';
import { samplePlaces } from './places.js';

async function main(): Promise<void> {
  const unknown = process.argv.slice(2).find((argument) => argument !== '--mysql');
  if (unknown !== undefined) throw new WrongClaim(`Unknown argument: ${unknown}. The demo takes --mysql, or nothing.`);
  const stack = process.argv.includes('--mysql') ? mysqlAndMemcached('npm start') : await sqliteAndMemory();
  const meter = new Meter(stack.store);
  await stack.create();
  const sequelize = new Sequelize({ ...stack.options, logging: meter.logging });
  let cache: FlashCache | undefined;
  try {
    defineModels(sequelize);
    await sequelize.sync();
    cache = setupCache(sequelize, { store: meter });
    const page = new Page(meter);
    console.log(`sequelize-flash on ${stack.title}`);
    console.log('Each line: the code, its answer, SQL statements, round trips to the store.');
    if (!process.argv.includes('--mysql')) console.log('(On MySQL and memcached: npm start -- --mysql)');
    await tour(page, stack);
    summary(page, cache.stats());
  } finally {
    await cache?.close();
    await stack.store.close();
    await sequelize.close();
    await stack.drop();
  }
}

async function tour(page: Page, stack: Stack): Promise<void> {
  // Local names, so that the code that is shown reads as an application's.
  const local = { User, Event, Participation, Avatar, Comment, Place, PrimaryAvatarCacheOnUser };
  await rows(page, local);
  await writes(page, local);
  await transactions(page, local);
  await families(page, local);
  await places(page, local, stack);
}

type Local = {
  User: typeof User;
  Event: typeof Event;
  Participation: typeof Participation;
  Avatar: typeof Avatar;
  Comment: typeof Comment;
  Place: typeof Place;
  PrimaryAvatarCacheOnUser: typeof PrimaryAvatarCacheOnUser;
};

async function rows(page: Page, { User }: Local): Promise<void> {
  await User.bulkCreate([
    { username: 'bill1992', city: 'Quito' },
    { username: 'night-owl', city: 'Hanoi' },
  ]);

  page.section('One row by its keys', 'The first lookup asks the database, the next ones the store.');
  const byName = () => User.cache.get({ username: 'bill1992' });
  const bill = 'bill1992, Quito';
  await page.lookup(byName, { answer: bill, sql: 1 });
  await page.lookup(byName, { answer: bill, sql: 0, trips: 1 });
  await page.lookup(() => User.cache.get({ id: 1 }), { answer: bill, sql: 0, trips: 1 });
  await page.lookup(() => User.cache.getOrNone('bill1992'), { answer: bill, sql: 0, trips: 1 });

  page.section('No such row', 'That there is none is remembered too, until somebody inserts it.');
  const nobody = () => User.cache.getOr404('nobody');
  await page.lookup(nobody, { answer: '404 NotFoundError', sql: 1 });
  await page.lookup(nobody, { answer: '404 NotFoundError', sql: 0, trips: 1 });
  const create = () => User.create({ username: 'nobody', city: 'Ulm' });
  await page.step(create, { answer: 'nobody, Ulm' });
  await page.lookup(nobody, { answer: 'nobody, Ulm', sql: 1 });

  page.section('Many at once', 'Lookups of the same tick share a round trip and a statement.');
  const twice = () => Promise.all([User.cache.get('night-owl'), User.cache.get('night-owl')]);
  await page.lookup(twice, { answer: '2 × User', sql: 1 }, 2);
  const both = () => Promise.all([User.cache.get('night-owl'), User.cache.get('bill1992')]);
  await page.lookup(both, { answer: '2 × User', sql: 0, trips: 1 }, 2);
}

async function writes(page: Page, { User }: Local): Promise<void> {
  const user = await User.findOne({ where: { username: 'bill1992' }, rejectOnEmpty: true });
  const byName = () => User.cache.get('bill1992');

  page.section('A save', 'When it has resolved, no process sees the old row.');
  await page.step(() => user.update({ city: 'Oslo' }), { answer: 'bill1992, Oslo' });
  await page.lookup(byName, { answer: 'bill1992, Oslo', sql: 1 });
  await page.lookup(byName, { answer: 'bill1992, Oslo', sql: 0, trips: 1 });

  page.section('A rename', 'The old name is gone, the new one is found, by both keys.');
  await page.step(() => user.update({ username: 'bill2026' }), { answer: 'bill2026, Oslo' });
  await page.lookup(() => User.cache.getOrNone('bill1992'), { answer: 'null' });
  await page.lookup(() => User.cache.getOrNone('bill2026'), { answer: 'bill2026, Oslo' });
  await page.lookup(() => User.cache.getOrNone({ id: 1 }), { answer: 'bill2026, Oslo', sql: 0, trips: 1 });

  page.section('A bulk update, and a deletion');
  await page.lookup(() => User.cache.get('night-owl'), { answer: 'night-owl, Hanoi', sql: 0 });
  const bulk = () => User.update({ city: 'Lima' }, { where: { id: [1, 2] } });
  await page.step(bulk, { answer: '[2]' });
  await page.lookup(() => User.cache.get('night-owl'), { answer: 'night-owl, Lima', sql: 1 });
  await page.lookup(() => User.cache.get('bill2026'), { answer: 'bill2026, Lima', sql: 1 });
  await page.step(() => User.destroy({ where: { username: 'nobody' } }), { answer: '1' });
  await page.lookup(() => User.cache.getOrNone('nobody'), { answer: 'null', sql: 1 });
}

async function transactions(page: Page, { User }: Local): Promise<void> {
  const { sequelize } = User;
  if (sequelize === undefined) throw new Error('User is not initialised');
  const byName = () => User.cache.get('bill2026');
  const changed = 'bill2026, Kyoto';
  const unchanged = 'bill2026, Lima';
  const user = await User.findOne({ where: { username: 'bill2026' }, rejectOnEmpty: true });

  page.section('A transaction that is rolled back', 'It sees its own write; nobody else does, before or after.');
  let transaction = await sequelize.transaction();
  const update = () => user.update({ city: 'Kyoto' }, { transaction });
  const inside = () => User.cache.get('bill2026', { transaction });
  await page.step(update, { answer: changed, trips: 0 });
  await page.lookup(inside, { answer: changed, sql: 1, trips: 0 });
  await page.lookup(byName, { answer: unchanged, sql: 0, trips: 1 });
  await page.step(() => transaction.rollback(), { answer: 'done', trips: 0 });
  await page.lookup(byName, { answer: unchanged, sql: 0, trips: 1 });

  page.section('A transaction that is committed', 'Its entries are void from the commit on, not before.');
  await user.reload();
  transaction = await sequelize.transaction();
  await page.step(update, { answer: changed, trips: 0 });
  await page.lookup(byName, { answer: unchanged, sql: 0, trips: 1 });
  await page.step(() => transaction.commit(), { answer: 'done' });
  await page.lookup(byName, { answer: changed, sql: 1 });
  await page.lookup(byName, { answer: changed, sql: 0, trips: 1 });
}

async function families(
  page: Page,
  { User, Event, Participation, Avatar, Comment, Place, PrimaryAvatarCacheOnUser }: Local,
): Promise<void> {
  await Place.bulkCreate(samplePlaces());
  const place = await Place.findOne({ where: { name: 'Kraków' }, rejectOnEmpty: true });
  const user = await User.findByPk(1, { rejectOnEmpty: true });
  const event = await Event.create({ slug: 'harbour-walk', seats: 12, placeId: place.id });
  await Participation.create({ userId: user.id, eventId: event.id, role: 'guest' });
  await Comment.create({ userId: user.id, targetType: 'Event', targetId: event.id, text: 'See you there' });
  await Comment.create({ userId: user.id, targetType: 'Place', targetId: place.id, text: 'Fine old town' });

  page.section('Several key fields', 'An association is named, an instance or its id is passed.');
  await page.lookup(() => Participation.cache.get({ user, event }), { answer: 'guest', sql: 1 });
  await page.lookup(() => Participation.cache.get({ event, userId: 1 }), { answer: 'guest', sql: 0, trips: 1 });
  await page.lookup(() => Participation.cache.get({ user: 2, event }), { answer: '404 DoesNotExist', sql: 1 });

  page.section('A cache of your own', 'getInstance answers what it likes; null is cached as well.');
  const avatar = () => new PrimaryAvatarCacheOnUser(user).resolve();
  await page.lookup(avatar, { answer: 'null', sql: 1 });
  await page.lookup(avatar, { answer: 'null', sql: 0, trips: 1 });
  const upload = () => Avatar.create({ userId: 1, path: 'owl.png', primary: true });
  await page.step(upload, { answer: 'owl.png' });
  await page.lookup(avatar, { answer: 'owl.png', sql: 1 });
  await page.lookup(avatar, { answer: 'owl.png', sql: 0, trips: 1 });

  page.section('A generic target', 'A comment is on an event or on a place.');
  await page.lookup(() => Comment.cache.get({ user, target: event }), { answer: 'See you there', sql: 1 });
  await page.lookup(() => Comment.cache.get({ user, target: place }), { answer: 'Fine old town', sql: 1 });
  await page.lookup(() => Comment.cache.get({ user, target: event }), { answer: 'See you there', sql: 0, trips: 1 });
  const comment = await Comment.findByPk(1, { rejectOnEmpty: true });
  await page.lookup(() => comment.getTarget(), { answer: 'harbour-walk, 12', sql: 1 });
  await page.lookup(() => comment.getTarget(), { answer: 'harbour-walk, 12', sql: 0, trips: 1 });
  await page.step(() => event.increment('seats', { by: 8 }), { answer: 'harbour-walk, 12' });
  await page.lookup(() => comment.getTarget(), { answer: 'harbour-walk, 20', sql: 1 });
}

async function places(page: Page, { Place }: Local, { ignoresAccents }: Stack): Promise<void> {
  const found = await Place.findAll({ order: ['id'] });
  const hundred = found.slice(0, 100).map(({ id }) => ({ id }));

  page.section(
    `${found.length} places of the world (GeoNames, CC BY 4.0)`,
    'A hundred rows: one statement, then none and one round trip.',
  );
  const many = () => Place.cache.getMany(hundred);
  await page.lookup(many, { answer: '100 × Place', sql: 1 }, 100);
  await page.lookup(many, { answer: '100 × Place', sql: 0, trips: 1 }, 100);
  const zurich = () => Place.cache.get({ country: 'CH', region: 'ZH', name: 'Zürich' });
  await page.lookup(zurich, { answer: 'Zürich, CH', sql: 1 });
  await page.lookup(zurich, { answer: 'Zürich, CH', sql: 0, trips: 1 });

  page.section('Other spellings', 'The answer is the one that the database gives, by its collation.');
  for (const [spelling, name] of [
    ['Malmö', 'Malmö'],
    ['MALMO', 'Malmö'],
    ["l'aquila", "L'Aquila"],
    ["L'Aquila ", "L'Aquila"],
    ['Lodz', 'Łódź'],
  ] as const) {
    const asked = await Place.findOne({ where: { name: spelling } });
    const answer = asked === null ? 'null' : `${asked.name}, ${asked.country}`;
    // Not a claim about the collation of Ł: the cache has to agree with the database, whatever it says.
    if (spelling === name) claim(`${name} is among the places`, asked?.name === name);
    else if (name !== 'Łódź') claim(`${spelling} is ${ignoresAccents ? '' : 'not '}${name} here`, (asked?.name === name) === ignoresAccents);
    const lookup = spellings(Place)[spelling];
    await page.lookup(lookup, { answer });
    await page.lookup(lookup, { answer, sql: 0, trips: 1 });
  }
}

/** Spelled out, because the code that is shown is the code that is run. */
function spellings(Place: Local['Place']) {
  return {
    Malmö: () => Place.cache.getOrNone({ name: 'Malmö' }),
    MALMO: () => Place.cache.getOrNone({ name: 'MALMO' }),
    "l'aquila": () => Place.cache.getOrNone({ name: "l'aquila" }),
    "L'Aquila ": () => Place.cache.getOrNone({ name: "L'Aquila " }),
    Lodz: () => Place.cache.getOrNone({ name: 'Lodz' }),
  } as const;
}

/** The last line; what the cache itself counted has to agree with what was seen from outside. */
function summary(page: Page, stats: ReturnType<FlashCache['stats']>): void {
  const caches = Object.values(stats).flatMap((byName) => Object.values(byName));
  const sum = (name: 'hits' | 'misses' | 'bypasses'): number => caches.reduce((total, one) => total + one[name], 0);
  const hits = sum('hits');
  claim(
    `the cache counted ${page.lookups} lookups (it counted ${hits} hits, ${sum('misses')} misses, ${sum('bypasses')} bypasses)`,
    hits + sum('misses') + sum('bypasses') === page.lookups,
  );
  const rate = Math.round((100 * hits) / (hits + sum('misses')));
  console.log(
    `\ndemo ok: ${page.lookups} lookups, ${page.lookups - page.lookupSql} SQL statements avoided, hit rate ${rate} %`,
  );
}

main().catch((error: unknown) => {
  console.error(error instanceof WrongClaim ? `\ndemo failed: ${error.message}` : error);
  process.exitCode = 1;
});
