/**
 * Lookups of one tick under options of Sequelize that change the text of statements: each answer is that
 * of a find, and each cache has sent one statement.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { DataTypes, type Model, type Options } from 'sequelize';
import { QuerysetCache, QuerysetCountCache, QuerysetExistsCache } from '../../src/index.js';
import { backendNames, openBackend } from '../support/backends.js';
import { cached, type UntypedModel } from '../support/misuse-models.js';

const optionsOf: Readonly<Record<string, Options>> = {
  minifyAliases: { minifyAliases: true },
  'minifyAliases and benchmark': { minifyAliases: true, benchmark: true },
  'quoteIdentifiers: false': { quoteIdentifiers: false },
  'quoteIdentifiers: false, minifyAliases': { quoteIdentifiers: false, minifyAliases: true },
  'omitNull, typeValidation': { omitNull: true, typeValidation: true },
};

const cities = ['berlin', 'rome', 'nowhere'] as const;

for (const backendName of backendNames) {
  describe(`statements in another form (${backendName})`, () => {
    for (const [what, options] of Object.entries(optionsOf)) {
      it(what, async () => {
        const backend = await openBackend(backendName, { options });
        try {
          const { sequelize } = backend;
          const Item = sequelize.define('Item', { name: DataTypes.STRING(20), city: DataTypes.STRING(20) }, { timestamps: false });
          const base = { model: Item, keyFields: ['city'] };
          const Latest = Object.assign(class Latest extends QuerysetCache<Model> {}, base, { order: [['name', 'DESC']], limit: 2 });
          const Count = Object.assign(class Count extends QuerysetCountCache<Model> {}, base);
          const Has = Object.assign(class Has extends QuerysetExistsCache<Model> {}, base);
          cached(Item, { keys: ['id', 'city'], filters: ['city'], caches: [Latest, Count, Has] });
          backend.setup();
          await sequelize.sync();
          await Item.bulkCreate([1, 2, 3, 4, 5].map((n) => ({ name: `n${n}`, city: cities[n % 2] })));
          const { cache } = Item as unknown as UntypedModel;
          const valuesOf = (found: unknown): unknown => (Array.isArray(found) ? found.map(valuesOf) : (found as Model | null)?.get());
          const each = <T>(of: (city: string) => Promise<T>): Promise<T[]> => Promise.all(cities.map(of));
          const plain = {
            first: await each(async (city) => valuesOf(await Item.findOne({ where: { city }, order: ['id'] }))),
            all: await each(async (city) => valuesOf(await Item.findAll({ where: { city }, order: ['id'] }))),
            latest: await each(async (city) => valuesOf(await Item.findAll({ where: { city }, order: [['name', 'DESC']], limit: 2 }))),
          };
          for (const [round, statements] of [['cold', 5], ['warm', 0]] as const) {
            backend.reset();
            const [first, all, latest, count, has] = await Promise.all([
              each(async (city) => valuesOf(await cache.getOrNone({ city }))),
              each(async (city) => valuesOf(await cache.filter({ city }))),
              each(async (city) => valuesOf(await new Latest({ city } as never).resolve())),
              each((city) => new Count({ city } as never).resolve()),
              each((city) => new Has({ city } as never).resolve()),
            ]);
            assert.deepStrictEqual({ first, all, latest }, plain, round);
            assert.deepStrictEqual(count, [2, 3, 0], round);
            assert.deepStrictEqual(has, [true, true, false], round);
            assert.equal(backend.sql.length, statements, `${round}: ${backend.sql.join('\n')}`);
          }
        } finally {
          await backend.close();
        }
      });
    }
  });
}
