/** What relations lead to: one instance over two steps, and many through a model between. */
import assert from 'node:assert/strict';
import { DataTypes, Model, Sequelize } from 'sequelize';
import type { BelongsToManySetAssociationsMixin, CreationOptional, ForeignKey, InferAttributes, InferCreationAttributes } from 'sequelize';
import { registerCache, RelatedInstanceCache, RelatedQuerysetCache, setupCache } from 'sequelize-flash';
import { MemoryStore } from 'sequelize-flash/stores/memory';
import { costs, emptyDatabase } from '../support/short.js';

class Country extends Model<InferAttributes<Country>, InferCreationAttributes<Country>> {
  declare id: CreationOptional<number>;
  declare name: string;
}

class City extends Model<InferAttributes<City>, InferCreationAttributes<City>> {
  declare id: CreationOptional<number>;
  declare name: string;
  declare countryId: ForeignKey<number>;
}

class Person extends Model<InferAttributes<Person>, InferCreationAttributes<Person>> {
  declare id: CreationOptional<number>;
  declare name: string;
  declare cityId: ForeignKey<number>;
  declare setLanguages: BelongsToManySetAssociationsMixin<Language, number>;
}

class Language extends Model<InferAttributes<Language>, InferCreationAttributes<Language>> {
  declare id: CreationOptional<number>;
  declare name: string;
}

@registerCache
class CountryOfPerson extends RelatedInstanceCache<Person, Country, ['name']> {
  static model = Person;
  static keyFields = ['name'] as const;
  static relation = 'city.country';
}

@registerCache
class LanguagesOfPerson extends RelatedQuerysetCache<Person, Language, ['name']> {
  static model = Person;
  static keyFields = ['name'] as const;
  static relation = 'languages';
}

/** The other direction. */
@registerCache
class SpeakersOfLanguage extends RelatedQuerysetCache<Language, Person, ['name']> {
  static model = Language;
  static keyFields = ['name'] as const;
  static relation = 'people';
}

async function main(): Promise<void> {
  const sequelize = new Sequelize(await emptyDatabase());
  const id = { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true };
  for (const model of [Country, City, Person, Language]) model.init({ id: { ...id }, name: DataTypes.STRING }, { sequelize });
  City.belongsTo(Country, { as: 'country', foreignKey: 'countryId' });
  Person.belongsTo(City, { as: 'city', foreignKey: 'cityId' });
  Person.belongsToMany(Language, { as: 'languages', through: 'Speaks' });
  Language.belongsToMany(Person, { as: 'people', through: 'Speaks' });
  await sequelize.sync();
  const cache = setupCache(sequelize, { store: new MemoryStore() });

  const [norway, finland] = [await Country.create({ name: 'Norway' }), await Country.create({ name: 'Finland' })];
  const city = await City.create({ name: 'Vadsø', countryId: norway.id });
  const emma = await Person.create({ name: 'emma', cityId: city.id });
  const [norwegian, kven] = [await Language.create({ name: 'Norwegian' }), await Language.create({ name: 'Kven' })];
  await emma.setLanguages([norwegian]);

  const read = async () => ({
    country: (await new CountryOfPerson('emma').resolve())?.name,
    languages: (await new LanguagesOfPerson('emma').resolve()).map(({ name }) => name),
    kven: (await new SpeakersOfLanguage('Kven').resolve()).map(({ name }) => name),
  });
  await read();
  assert.deepEqual(await costs(0, read), { country: 'Norway', languages: ['Norwegian'], kven: [] });

  // A write to any row on the way is seen, to those of the through model, too.
  await city.update({ countryId: finland.id });
  await finland.update({ name: 'Suomi' });
  await emma.setLanguages([kven]);
  assert.deepEqual(await read(), { country: 'Suomi', languages: ['Kven'], kven: ['emma'] });

  await cache.close();
  await sequelize.close();
  console.log('related ok');
}

void main();
