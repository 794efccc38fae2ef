/**
 * Real input: the places of the world on MariaDB and memcached, looked up in their own spelling and
 * in others, each answer compared with `findOne`.
 *
 *   SEED=… npm test -- oracle/real-input            the same places again
 *   PLACES=20000 PLACES_SAMPLE=500 npm test -- …    fewer of them
 */
import assert from 'node:assert/strict';
import { after, before, describe, it, type TestContext } from 'node:test';
import {
  DataTypes,
  Model,
  type CreationOptional,
  type InferAttributes,
  type InferCreationAttributes,
  type WhereOptions,
} from 'sequelize';
import { foldText } from '../../src/entries/fold.js';
import { withCache, type FlashCache } from '../../src/index.js';
import { openBackend, type Backend } from '../support/backends.js';
import { places, type Place as PlaceRow } from '../support/places.js';
import { seed } from '../support/seed.js';
import { Random } from './random.js';

class Place extends Model<InferAttributes<Place>, InferCreationAttributes<Place>> {
  static readonly cache = withCache(Place, { keys: ['id', 'name', ['country', 'region', 'name']] });

  declare id: CreationOptional<number>;
  declare name: string;
  declare country: string;
  declare region: string;
  declare latitude: string;
  declare longitude: string;
}

type Key = { readonly id: number } | { readonly name: string } | { readonly country: string; readonly region: string; readonly name: string };

const chosenSeed = seed();
const random = new Random(chosenSeed);
const most = Number(process.env.PLACES ?? Infinity);
const sampleSize = Number(process.env.PLACES_SAMPLE ?? 600);
const chunk = 5000;

describe('places of the world', () => {
  let backend: Backend;
  let flash: FlashCache;
  let all: readonly PlaceRow[];
  let sample: readonly PlaceRow[];

  before(async () => {
    backend = await openBackend('mariadb');
    const { sequelize } = backend;
    Place.init(
      {
        id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true },
        name: { type: DataTypes.STRING(200), allowNull: false },
        country: { type: DataTypes.CHAR(2), allowNull: false },
        region: { type: DataTypes.STRING(100), allowNull: false },
        latitude: DataTypes.DECIMAL(8, 5),
        longitude: DataTypes.DECIMAL(8, 5),
      },
      {
        sequelize,
        timestamps: false,
        // Names are not unique: of several places the first one is the answer.
        defaultScope: { order: [['id', 'ASC']] },
        indexes: [{ fields: ['name'] }, { fields: ['country', 'region', 'name'] }],
      },
    );
    flash = backend.setup();
    await Place.sync();
    all = places(most);
    const insert = 'INSERT INTO `Places` (`id`, `name`, `country`, `region`, `latitude`, `longitude`) VALUES ';
    for (let from = 0; from < all.length; from += chunk) {
      const rows = all.slice(from, from + chunk).map((place) => [place.id, place.name, place.country, place.region, place.latitude, place.longitude]);
      await sequelize.query(insert + rows.map(() => '(?)').join(','), { replacements: rows, logging: false });
    }
    sample = withoutSharedBuckets(chooseSample(all));
  });

  after(async () => {
    await backend?.close();
  });

  it('loaded what the package has', async (t) => {
    t.diagnostic(`SEED=${chosenSeed}: ${all.length} places, a sample of ${sample.length}`);
    assert.equal(await Place.count(), all.length);
  });

  it('are found in their own spelling, the second time without SQL', async (t) => {
    const keys = sample.flatMap(keysOf);
    await compare(t, 'cold', keys);
    backend.reset();
    const earlier = hits();
    const warm = await lookUp(keys);
    assert.deepEqual(backend.sql, [], 'warm lookups cost no SQL');
    assert.equal(hits() - earlier, keys.length);
    t.diagnostic(`warm: ${keys.length} lookups, 100 % hits, no SQL`);
    await compareAll(keys, warm);
  });

  it('are found in other spellings as the database finds them', async (t) => {
    const keys = sample.slice(0, Math.ceil(sample.length / 2)).flatMap((place) => otherSpellings(place.name).map((name): Key =>
      random.once(2) ? { name } : { country: place.country.toLowerCase(), region: place.region.toUpperCase(), name },
    ));
    await compare(t, 'cold', keys);
    await compare(t, 'warm', keys);
  });

  it('are found after renames, moves and deletions', async (t) => {
    const moved = sample.slice(0, 60);
    for (const [at, place] of moved.entries()) {
      const found = await Place.findByPk(place.id);
      const other = moved[(at + 1) % moved.length] as PlaceRow;
      if (found === null) continue;
      if (at % 4 === 0) await found.destroy();
      else if (at % 4 === 1) await found.update({ name: other.name });
      else if (at % 4 === 2) await Place.update({ country: other.country, region: other.region }, { where: { name: place.name } });
      else await Place.create({ name: place.name.toUpperCase(), country: place.country, region: place.region, latitude: '0', longitude: '0' });
      const keys = [...keysOf(place), ...keysOf(other), { name: place.name.toLowerCase() }];
      await compareAll(keys, await lookUp(keys));
    }
    await compare(t, 'after', moved.flatMap(keysOf));
  });

  /** Looks the keys up in batches; reports the rate of hits. */
  async function compare(t: TestContext, pass: string, keys: readonly Key[]): Promise<void> {
    const earlier = hits();
    const found = await lookUp(keys);
    const rate = Math.round((100 * (hits() - earlier)) / keys.length);
    await compareAll(keys, found);
    const missing = found.filter((place) => place === null).length;
    t.diagnostic(`${pass}: ${keys.length} lookups, ${rate} % hits, ${missing} not found`);
  }

  function hits(): number {
    return Object.values(flash.stats().Place ?? {}).reduce((sum, one) => sum + one.hits, 0);
  }
});

/** In turn one by one, together and as a list. */
async function lookUp(keys: readonly Key[]): Promise<(Place | null)[]> {
  const found: (Place | null)[] = [];
  for (let from = 0, turn = 0; from < keys.length; from += 50, turn += 1) {
    const some = keys.slice(from, from + 50);
    if (turn % 3 === 0) found.push(...(await Place.cache.getMany(some)));
    else if (turn % 3 === 1) found.push(...(await Promise.all(some.map((key) => Place.cache.getOrNone(key)))));
    else for (const key of some) found.push(await Place.cache.getOrNone(key));
  }
  return found;
}

async function compareAll(keys: readonly Key[], found: readonly (Place | null)[]): Promise<void> {
  assert.equal(found.length, keys.length);
  for (let from = 0; from < keys.length; from += 10) {
    const some = keys.slice(from, from + 10);
    const expected = await Promise.all(some.map((where) => Place.findOne({ where: where as WhereOptions })));
    for (const [at, key] of some.entries()) assert.deepStrictEqual(found[from + at], expected[at], JSON.stringify(key));
  }
}

const keysOf = ({ id, name, country, region }: PlaceRow): Key[] => [{ id }, { name }, { country, region, name }];

/** Any places, and as many of those whose names are hard: other scripts, accents, apostrophes, ligatures, duplicates. */
function chooseSample(all: readonly PlaceRow[]): PlaceRow[] {
  const hard = all.filter(({ name }) => /[^A-Za-z .-]/.test(name));
  const byName = new Map<string, PlaceRow[]>();
  for (const place of all) byName.set(place.name, [...(byName.get(place.name) ?? []).slice(0, 3), place]);
  const shared = [...byName.values()].filter((same) => same.length > 1).flat();
  const chosen = new Map<number, PlaceRow>();
  const from = [all, hard, shared].filter((list) => list.length > 0);
  for (let at = 0; at < sampleSize * 2 && chosen.size < Math.min(sampleSize, all.length); at += 1) {
    const place = random.pick(from[at % from.length] as readonly PlaceRow[]);
    chosen.set(place.id, place);
  }
  return [...chosen.values()];
}

/**
 * Two names of one bucket, such as "Canaã" and "Čaňa", replace each other's index entry: each is
 * found, but not from the cache while both are asked for in turn.
 */
function withoutSharedBuckets(sample: readonly PlaceRow[]): readonly PlaceRow[] {
  const nameOf = new Map<string, string>();
  return sample.filter(({ name }) => {
    const bucket = foldText(name);
    const first = nameOf.get(bucket) ?? name;
    nameOf.set(bucket, first);
    return first === name;
  });
}

/** Ways to write a name that a person or a program might use. */
function otherSpellings(name: string): string[] {
  const spellings = [
    name.toUpperCase(),
    name.toLowerCase(),
    name.normalize('NFD'),
    name.normalize('NFD').replace(/\p{M}/gu, ''),
    `${name} `,
    ` ${name}`,
    name.replace(/['’ʼ‘`]/g, "'"),
    name.replace(/['’ʼ‘`]/g, '’'),
    name.replace(/['’ʼ‘`]/g, ''),
    name.replace(/æ/gi, 'ae').replace(/œ/gi, 'oe').replace(/ß/g, 'ss').replace(/ø/gi, 'o').replace(/ł/gi, 'l').replace(/ı/g, 'i').replace(/đ/gi, 'd'),
    name.replace(/ae/gi, 'æ').replace(/ss/g, 'ß').replace(/fi/g, 'ﬁ'),
    name.replace(/-/g, ' '),
  ];
  return [...new Set(spellings)].filter((spelling) => spelling !== name);
}
