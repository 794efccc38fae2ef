/** What `withCache` accepts as a declaration, after the model's definition. */
import { type CreationOptional, DataTypes, type InferAttributes, type InferCreationAttributes, Model, type ModelDefined, type Sequelize } from 'sequelize';
import type { ModelCache } from '../support.js';
import { type Equal, type Expect, expectType, withCache } from '../support.js';
import { Comment, type Event, Participation, Photo, Post, User, user } from './models.js';

class Account extends Model<InferAttributes<Account>, InferCreationAttributes<Account>> {
  declare id: CreationOptional<number>;
  declare name: string;
  declare region: string;
  declare settings: { theme: string };
}

export async function afterDefinition(sequelize: Sequelize): Promise<void> {
  Account.init(
    { id: DataTypes.INTEGER, name: DataTypes.STRING, region: DataTypes.STRING, settings: DataTypes.JSON },
    { sequelize },
  );
  const cache = withCache(Account, { keys: ['name', ['region', 'name']] });
  expectType<ModelCache<Account, 'name' | readonly ['region', 'name']>>()(cache);
  expectType<Account>()(await cache.get({ name: 'x' }));
  expectType<Account>()(await cache.get('x'));
  expectType<Account | null>()(await cache.getOrNone({ region: 'eu', name: 'x' }));
  // @ts-expect-error misspelt name
  void cache.get({ nam: 'x' });
  // @ts-expect-error undeclared key field
  void cache.get({ id: 1 });
  // @ts-expect-error a key field is missing
  void cache.get({ region: 'eu' });
  // @ts-expect-error the model itself has no typed `cache` after the fact
  Account.cache.toString();
}

export function formsOfKeys(): void {
  const keys = ['name', ['region', 'name']] as const;
  void withCache(Account, { keys }).get({ region: 'eu', name: 'x' });
  void withCache(Account, { getKeyFieldsList: ['name', ['region', 'name']] }).get({ region: 'eu', name: 'x' });
  // a list of one field is that field
  const single = withCache(Account, { keys: [['name']] });
  void single.get({ name: 'x' });
  void single.get('x');

  // no cache with a single field: no bare value
  const composite = withCache(Account, { keys: [['region', 'name']] });
  // @ts-expect-error which field would it be?
  void composite.get('x');
  // @ts-expect-error positional values are for cache classes
  void composite.get(['eu', 'x']);

  // no caches: nothing can be asked for
  const none = withCache(Account, {});
  // @ts-expect-error nothing was declared
  void none.get({ name: 'x' });
  // @ts-expect-error nothing was declared
  void none.get('x');
}

export function options(): void {
  withCache(Account, { keys: ['name'], timeout: 60, version: 'v2' });

  // @ts-expect-error misspelt key field
  withCache(Account, { keys: ['nam'] });
  // @ts-expect-error misspelt key field in a combination
  withCache(Account, { keys: [['region', 'nam']] });
  // @ts-expect-error misspelt key field in the long form
  withCache(Account, { getKeyFieldsList: ['nam'] });
  // @ts-expect-error an attribute that cannot be a key
  withCache(Account, { keys: ['settings'] });
  // @ts-expect-error is a method
  withCache(Account, { keys: ['save'] });
  // @ts-expect-error a member that is not an attribute
  withCache(User, { keys: ['label'] });
  // @ts-expect-error a foreign key's column that is marked as one
  withCache(Participation, { keys: ['userId'] });
  // @ts-expect-error a list of instances
  withCache(User, { keys: ['children'] });
  // @ts-expect-error widened to string
  withCache(Account, { keys: ['name'] as string[] });
  // @ts-expect-error misspelt option
  withCache(Account, { key: ['name'] });
  // @ts-expect-error wrong type of option
  withCache(Account, { keys: ['name'], timeout: '60' });
  // @ts-expect-error must be a list
  withCache(Account, { keys: 'name' });
  // @ts-expect-error is not a model
  withCache(Date, { keys: ['name'] });
  // @ts-expect-error an instance, not a class
  withCache(user, { keys: ['username'] });
}

export function genericForeignKeys(): void {
  const models = () => [Post, Photo];
  const cache = withCache(Comment, { keys: ['target'], genericForeignKeys: { target: { type: 'targetType', id: 'targetId', models } } });
  void cache.get({ target: ['Post', 5] });

  // @ts-expect-error misspelt type column
  withCache(Comment, { keys: ['target'], genericForeignKeys: { target: { type: 'targetTyp', id: 'targetId', models } } });
  // @ts-expect-error misspelt id column
  withCache(Comment, { keys: ['target'], genericForeignKeys: { target: { type: 'targetType', id: 'targetI', models } } });
  // @ts-expect-error has no id column
  withCache(Comment, { keys: ['target'], genericForeignKeys: { target: { type: 'targetType', models } } });
  // @ts-expect-error these are no models
  withCache(Comment, { keys: ['target'], genericForeignKeys: { target: { type: 'targetType', id: 'targetId', models: () => [Date] } } });
  // @ts-expect-error not a function
  withCache(Comment, { keys: ['target'], genericForeignKeys: { target: { type: 'targetType', id: 'targetId', models: [Post] } } });
  // @ts-expect-error a key field that is not the declared name
  withCache(Comment, { keys: ['targt'], genericForeignKeys: { target: { type: 'targetType', id: 'targetId', models } } });
  // @ts-expect-error a generic foreign key that was not declared
  withCache(Comment, { keys: ['target'] });
}

// ---- Models whose members are not declared ----

interface TeamAttributes {
  id: number;
  name: string;
}

export async function modelDefined(Team: ModelDefined<TeamAttributes, TeamAttributes>): Promise<void> {
  const cache = withCache(Team, { keys: ['name'] });
  expectType<TeamAttributes>()((await cache.get({ name: 'x' })).get());
  // @ts-expect-error wrong type of value
  void cache.get({ name: 1 });
  // @ts-expect-error misspelt key field
  withCache(Team, { keys: ['nam'] });
}

/** `sequelize.define` without types: any name, and the names that were declared. */
export function defined(sequelize: Sequelize): void {
  const Team = sequelize.define('Team', { name: DataTypes.STRING });
  const cache = withCache(Team, { keys: ['name', ['league', 'rank']] });
  void cache.get({ name: 'x' });
  void cache.get({ league: user, rank: 1 });
  // @ts-expect-error misspelt name
  void cache.get({ nam: 'x' });
  // @ts-expect-error a key field is missing
  void cache.get({ league: 1 });
  // @ts-expect-error undefined is no value
  void cache.get({ name: undefined });
}

export type NoKeys = Expect<Equal<Parameters<ModelCache<Event>['get']>[0], never>>;
