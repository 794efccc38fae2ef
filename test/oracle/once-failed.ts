/** Shortened plans that found a fault once, by what they are about. */
import type { ModelName } from './models.js';
import type { Ask, LookHow, Plan, RowRef, Step, Value, Values } from './plan.js';

const row = (ref: ModelName, slot: number): RowRef => ({ ref, slot, as: 'id' });
const ask = (model: ModelName, key: readonly string[], ...values: readonly Value[]): Ask => ({ model, key, values });
const look = (how: LookHow, ...asks: readonly Ask[]): Step => ({ do: 'look', asks, how, inside: false, side: 0 });
const create = (model: ModelName, values: Values): Step => ({ do: 'create', model, values, how: 'create', side: 0 });
const user = (username: string, slug: string): Step => create('User', { username, tenantId: 2, slug });
const changeId = (model: ModelName, slot: number, to: number): Step => ({
  do: 'bulkUpdate',
  model,
  values: { id: row(model, to) },
  where: { id: row(model, slot) },
  options: {},
  side: 0,
});

export const onceFailed: Readonly<Record<string, Plan>> = {
  "a changed id changes the rows that refer to it by the database's own cascade": [
    user('bill', 'x'),
    create('Post', { code: 'x', authorId: row('User', 0) }),
    look('apart', ask('Post', ['id'], row('Post', 0)), ask('Post', ['code'], 'x')),
    changeId('User', 0, 16),
    look('apart', ask('Post', ['id'], row('Post', 0)), ask('Post', ['code'], 'x')),
  ],
  'a bulk update moves a row to an id that was known to be missing': [
    user('bill', 'x'),
    look('apart', ask('User', ['id'], row('User', 16)), ask('User', ['id'], row('User', 0))),
    changeId('User', 0, 16),
    look('apart', ask('User', ['id'], row('User', 0)), ask('User', ['id'], 1)),
  ],
  'two spellings of a composite key in one batch': [
    user('bill', 'x'),
    user('zoe', 'ÿ'),
    look('together', ask('User', ['tenantId', 'slug'], 2, 'x'), ask('User', ['tenantId', 'slug'], 2, 'X '), ask('User', ['tenantId', 'slug'], 2, 'y')),
    look('many', ask('User', ['city', 'level'], null, null), ask('User', ['city', 'level'], null, 1)),
  ],
  'several rows have no value under a unique key, and another becomes the first of them': [
    create('User', { username: 'bill', tenantId: 2, slug: 'x', rank: 1 }),
    create('User', { username: 'zoe', tenantId: 2, slug: 'y', rank: 0 }),
    look('apart', ask('User', ['email'], null)),
    { do: 'save', model: 'User', slot: 1, via: 'fresh', sets: [{ rank: 2 }], how: 'save', side: 0 },
    look('apart', ask('User', ['email'], null)),
  ],
  'a key field that the default scope tests finds rows that other keys do not': [
    create('Article', { slug: 'bill', state: 'draft' }),
    look('apart', ask('Article', ['state'], 'draft')),
    look('apart', ask('Article', ['id'], row('Article', 0)), ask('Article', ['slug'], 'bill'), ask('Article', ['state'], 'live')),
  ],
  'what follows a TRUNCATE in a transaction is committed at once': [
    look('together', ask('Group', ['label'], 'x'), ask('Group', ['label'], 'y')),
    {
      do: 'transaction',
      managed: true,
      end: 'commit',
      side: 0,
      steps: [
        { do: 'truncate', model: 'Vote', side: 0 },
        create('Group', { label: 'x' }),
        look('together', ask('Group', ['label'], 'x')),
        { do: 'bulkUpdate', model: 'Group', values: { label: 'y' }, where: { label: 'x' }, options: {}, side: 0 },
        look('together', ask('Group', ['label'], 'x'), ask('Group', ['label'], 'y')),
      ],
    },
    look('together', ask('Group', ['label'], 'x'), ask('Group', ['label'], 'y')),
  ],
};
