/**
 * The first row by a key that several rows have: unordered, with `ORDER BY` the primary key, and as the cache asks for
 * it, on 100,000 rows and different indexes. For docs/decisions/0013-least-primary-key.md.
 *
 *   node build/test/bench/order.js mysql://root@127.0.0.1:3306/ …
 *
 * Prints medians in milliseconds, and the ratio of the cache's form to the unordered find.
 */
import { DataTypes, Sequelize, type Model, type ModelStatic } from 'sequelize';
import { withCache, setupCache } from '../../src/index.js';
import { MemoryStore } from '../../src/stores/memory.js';
import { registryOf } from '../../src/caches/registry.js';
import { findByKeys } from '../../src/models/finder.js';
import { createDatabase } from './database.js';

const rows = 100_000;
const repetitions = 41;

/** How the rows of one city lie in the table, and how many there are. */
const columns: Readonly<Record<string, (row: number) => number>> = {
  'a third, scattered': (row) => row % 3,
  'a third, the last ones': (row) => Math.floor((row * 3) / rows),
  'a thousand, scattered': (row) => row % 100,
  'a thousand, the last ones': (row) => Math.floor(row / 1000),
  'twenty, scattered': (row) => row % 5000,
};

async function median(run: () => Promise<unknown>): Promise<number> {
  const times: number[] = [];
  for (let at = 0; at < repetitions; at += 1) {
    const began = performance.now();
    await run();
    times.push(performance.now() - began);
  }
  return times.sort((a, b) => a - b)[repetitions >> 1] ?? Number.NaN;
}

async function measure(sequelize: Sequelize, name: string, cityOf: (row: number) => number, index: readonly string[]): Promise<void> {
  const Place: ModelStatic<Model> = sequelize.define(
    `Place${name.replaceAll(/\W/g, '')}${index.join('')}`,
    { id: { type: DataTypes.INTEGER, primaryKey: true }, city: DataTypes.STRING(20), name: DataTypes.STRING(20), note: DataTypes.STRING(200) },
    { timestamps: false, indexes: [{ fields: [...index] }] },
  );
  withCache(Place, { keys: ['city'] as never });
  await Place.sync();
  for (let from = 0; from < rows; from += 5000) {
    await Place.bulkCreate(
      Array.from({ length: 5000 }, (_, at) => ({ id: from + at, city: `c${String(cityOf(from + at))}`, name: `n${String(((from + at) * 7919) % 1000)}`, note: 'x'.repeat(150) })),
      { hooks: false },
    );
  }
  await sequelize.query(`ANALYZE TABLE ${Place.getTableName() as string}`);
  const bound = registryOf(Place).of(Place);
  const cache = bound?.simple[0];
  if (bound === undefined || cache === undefined) throw new Error('the cache is not bound');
  const city = `c${String(cityOf(rows - 1))}`;
  const where = { city };
  const unordered = await median(() => Place.findOne({ where }));
  const ordered = await median(() => Place.findOne({ where, order: [['id', 'ASC']] }));
  const own = await median(() => findByKeys(bound.cached, cache, [[city]]));
  const figure = (milliseconds: number): string => milliseconds.toFixed(2).padStart(8);
  process.stdout.write(`${`index (${index.join(', ')})`.padEnd(22)} ${name.padEnd(26)} unordered ${figure(unordered)}  ORDER BY ${figure(ordered)}  the cache ${figure(own)}  × ${(own / unordered).toFixed(2)}\n`);
}

for (const url of process.argv.slice(2)) void run(url);

async function run(url: string): Promise<void> {
  const database = await createDatabase(url, 'flash_order');
  const sequelize = new Sequelize(database.url, { dialect: 'mysql', logging: false });
  const flash = setupCache(sequelize, { store: new MemoryStore(), alias: 'order' });
  try {
    process.stdout.write(`${database.server.version}\n`);
    for (const index of [['city'], ['city', 'name']]) {
      for (const [name, cityOf] of Object.entries(columns)) await measure(sequelize, name, cityOf, index);
    }
  } finally {
    await flash.close();
    await sequelize.close();
    await database.drop();
  }
}
