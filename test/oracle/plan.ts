/**
 * A plan: a list of operations as plain data, so that it can be run again, shortened and printed.
 *
 * Rows are named by their place among those that are there when the step runs, so that a plan keeps
 * its meaning when steps are taken out of it.
 */
import { classNames, memberShapes, type ClassName } from './family.js';
import { modelNames, type CustomName, type ModelName } from './models.js';
import type { Random } from './random.js';

/** A row of a model: 0 to 11 by place among those in the table, 12 to 15 once seen, 16 the next id. */
export interface RowRef {
  readonly ref: ModelName;
  readonly slot: number;
  readonly as: 'id' | 'text' | 'instance';
}

/** A value that a step passes; a Date and a row have forms of their own. */
export type Value =
  | string
  | number
  | boolean
  | null
  | { readonly date: string }
  | { readonly sql: string }
  | { readonly json: unknown }
  | { readonly target: RowRef }
  | RowRef;

export type Values = Readonly<Record<string, Value>>;

/** One lookup by a declared key, by a cache class of its own, or of another member of the family. */
export interface Ask {
  readonly model: ModelName;
  readonly custom?: CustomName;
  /** One of `memberShapes`. */
  readonly member?: string;
  readonly key: readonly string[];
  readonly values: readonly Value[];
}

export type LookHow = 'together' | 'many' | 'apart' | 'get' | 'refresh' | 'cacheOnly' | 'batch';

/** Where the instance that a step works on comes from. */
export type Via = 'fresh' | 'pool' | 'partial' | 'built';

/** What the database is asked to do, through models only. */
export type Write =
  | { readonly do: 'create'; readonly model: ModelName; readonly values: Values; readonly how: 'create' | 'save' | 'noHooks' }
  | {
      readonly do: 'save';
      readonly model: ModelName;
      readonly slot: number;
      readonly via: Via;
      /** Set one after the other, then saved once. */
      readonly sets: readonly Values[];
      readonly how: 'save' | 'update' | 'noHooks' | 'fields' | 'setDataValue';
    }
  | { readonly do: 'destroy'; readonly model: ModelName; readonly slot: number; readonly via: Via; readonly options: { readonly force?: true; readonly hooks?: false } }
  | { readonly do: 'restore'; readonly slot: number; readonly via: Via; readonly how: 'instance' | 'bulk' | 'deletedAt' }
  | {
      readonly do: 'increment';
      readonly model: ModelName;
      readonly slot: number;
      readonly attribute: string;
      readonly by: number;
      readonly how: 'instance' | 'decrement' | 'object' | 'static' | 'staticDecrement' | 'where';
      readonly where: Values;
    }
  | {
      readonly do: 'bulkUpdate';
      readonly model: ModelName;
      readonly values: Values;
      readonly where: Values;
      readonly options: { readonly individualHooks?: true; readonly hooks?: false; readonly limit?: number; readonly paranoid?: false };
    }
  | {
      readonly do: 'bulkDestroy';
      readonly model: ModelName;
      readonly where: Values;
      readonly options: { readonly individualHooks?: true; readonly hooks?: false; readonly limit?: number; readonly force?: true };
    }
  | { readonly do: 'upsert'; readonly model: ModelName; readonly values: Values }
  | {
      readonly do: 'bulkCreate';
      readonly model: ModelName;
      readonly rows: readonly Values[];
      readonly how: 'plain' | 'ignoreDuplicates' | 'updateOnDuplicate' | 'individualHooks';
    }
  | { readonly do: 'findOrCreate'; readonly model: ModelName; readonly where: Values; readonly defaults: Values; readonly how: 'findOrCreate' | 'findCreateFind' }
  | { readonly do: 'truncate'; readonly model: ModelName }
  | {
      readonly do: 'associate';
      readonly how:
        | 'setAuthor'
        | 'createAuthor'
        | 'setUser'
        | 'setPosts'
        | 'addPost'
        | 'removePost'
        | 'setGroups'
        | 'addGroup'
        | 'removeGroup'
        | 'setUsers'
        | 'addUser'
        | 'removeUser'
        | 'setCountry'
        | 'createAvatar'
        | 'setAvatars';
      readonly slot: number;
      readonly others: readonly RowRef[];
      readonly values: Values;
    }
  | { readonly do: 'swap'; readonly model: ModelName; readonly slots: readonly [number, number]; readonly attribute: string }
  /** Voids what is cached and changes no row. */
  | {
      readonly do: 'void';
      readonly model: ModelName;
      readonly how: 'clear' | 'bumpModel' | 'bumpClass' | 'invalidateWhere' | 'invalidate';
      readonly cacheClass: ClassName;
      readonly slot: number;
      readonly via: Via;
      readonly where: Values;
    };

/** One step of a plan. */
export type Step =
  | (Write & { readonly side: number })
  /** Lookups, each compared with the database's answer. `inside`: in the transaction that is open. */
  | { readonly do: 'look'; readonly asks: readonly Ask[]; readonly how: LookHow; readonly inside: boolean; readonly side: number }
  | {
      readonly do: 'transaction';
      readonly steps: readonly Step[];
      readonly end: 'commit' | 'rollback' | 'throw';
      readonly managed: boolean;
      readonly side: number;
    }
  | { readonly do: 'savepoint'; readonly steps: readonly Step[]; readonly end: 'commit' | 'rollback'; readonly side: number }
  /** At the same time; nothing is compared before all is done. */
  | { readonly do: 'concurrently'; readonly steps: readonly Step[]; readonly side: number };

export type Plan = readonly Step[];

/** How many operations a plan holds, those inside of others included. */
export const sizeOf = (plan: Plan): number =>
  plan.reduce((sum, step) => sum + ('steps' in step ? 1 + sizeOf(step.steps) : step.do === 'look' ? step.asks.length : 1), 0);

const names = ['bill', 'Bill', 'Zoé', 'zoe', 'Straße', 'strasse', "O'Neil", 'o’neil', 'ﬁn', 'fin', 'Łódź', 'Ångström', 'a b', 'Ⅷ', '東京', '😀'];
const words = ['x', 'X ', 'y', 'ÿ', 'z', 'ß', 'ss', '10', '010'];
const integers: readonly Value[] = [0, 1, 2, 3, '1', null];
const dates: readonly Value[] = [{ date: '2024-02-29T12:00:00.000Z' }, { date: '2024-02-29T12:00:00.400Z' }, { date: '2024-02-29T12:00:01.000Z' }, null];

/** The values that are written, by attribute. So few that keys meet and move. */
const written: Readonly<Record<ModelName, Readonly<Record<string, readonly Value[]>>>> = {
  User: {
    username: names,
    email: [null, 'a@x', 'A@X', 'b@x', 'c@x'],
    tenantId: [1, 2],
    slug: words,
    city: ['Zürich', 'zurich', 'Köln', null],
    level: integers,
    rank: [0, 1, 2],
    visits: [0, 5],
    countryCode: ['DE', 'de', 'fr', 'e', '1', null, null],
  },
  Post: {
    code: [...words, null],
    title: ['one', 'two', null],
    score: ['1.50', 1.5, '2', '-0.10', '12.345', null],
    weight: [0.1, 1, 1e21, null],
    day: ['2024-02-29', '2023-12-31', null],
    at: dates,
    published: [true, false, null],
  },
  Article: {
    slug: names.slice(0, 9),
    section: ['Arts', 'arts', 'Söl', 'sol', null],
    kind: ['news', 'essay', null],
    state: ['live', 'live', 'draft'],
    rank: [0, 1, 2],
    serial: [null, 7, '9007199254740993', '9007199254740992', -1],
    at: dates,
    meta: [null, { json: { a: [1, null, 'ü'] } }, { json: [] }, { json: 'text' }],
    secret: ['s1', 'S1', 's2', null],
    title: ['hello', null],
  },
  Avatar: { url: [...words, 'a', 'b', 'c'], isPrimary: [true, false] },
  Group: { label: words },
  Membership: { role: ['member', 'Admin', 'admin'] },
  Vote: { targetType: ['Post', 'Article', null], value: [1, -1] },
  Country: { code: ['DE', 'de', 'fr', 'É', 'e', '1', '01'], name: words, population: integers },
};

/** Attributes that a new row cannot do without. */
const required: Readonly<Record<ModelName, readonly string[]>> = {
  User: ['username', 'tenantId', 'slug'],
  Post: [],
  Article: ['slug'],
  Avatar: ['url'],
  Group: ['label'],
  Membership: ['userId', 'groupId'],
  Vote: [],
  Country: ['code'],
};

/** Attributes that hold another row's id. */
const references: Readonly<Record<ModelName, Readonly<Record<string, ModelName>>>> = {
  User: {},
  Post: { authorId: 'User' },
  Article: {},
  Avatar: { userId: 'User' },
  Group: {},
  Membership: { userId: 'User', groupId: 'Group' },
  Vote: { userId: 'User', targetId: 'Post' },
  Country: {},
};

const keys: Readonly<Record<ModelName, readonly (readonly string[])[]>> = {
  User: [['id'], ['username'], ['username'], ['email'], ['tenantId', 'slug'], ['city'], ['level'], ['city', 'level']],
  Post: [['id'], ['code'], ['author'], ['author', 'published'], ['score'], ['weight'], ['day'], ['at'], ['published']],
  Article: [['id'], ['slug'], ['section'], ['section', 'kind'], ['serial'], ['at'], ['secret'], ['state']],
  Avatar: [['id'], ['url'], ['user'], ['user', 'isPrimary']],
  Group: [['id'], ['label']],
  Membership: [['user', 'group'], ['group', 'role'], ['user']],
  Vote: [['id'], ['target'], ['user', 'target'], ['value']],
  Country: [['code'], ['name'], ['population']],
};

const customs: readonly (readonly [CustomName, ModelName, readonly string[]])[] = [
  ['PrimaryAvatarOfUser', 'Avatar', ['user']],
  ['NewestPostOfAuthor', 'Post', ['author']],
  ['BestOfSection', 'Article', ['section', 'kind']],
];

const members = Object.entries(memberShapes);

const associations: Readonly<Record<string, ModelName>> = { user: 'User', author: 'User', group: 'Group' };

const weights: readonly (readonly [number, ModelName])[] = [
  [5, 'User'],
  [4, 'Post'],
  [4, 'Article'],
  [3, 'Avatar'],
  [1, 'Group'],
  [2, 'Membership'],
  [2, 'Vote'],
  [3, 'Country'],
];

const counters: Readonly<Record<ModelName, readonly string[]>> = {
  User: ['visits', 'level', 'rank'],
  Post: ['score', 'weight'],
  Article: ['rank', 'serial'],
  Avatar: ['userId'],
  Group: [],
  Membership: [],
  Vote: ['value', 'targetId'],
  Country: ['population'],
};

/**
 * Makes a plan of about `size` operations.
 * @param sides how many Sequelize instances share the work
 */
export function makePlan(random: Random, size: number, sides: number): Plan {
  const plan: Step[] = [];
  const maker = new PlanMaker(random, sides);
  let made = 0;
  while (made < size) {
    const steps = maker.steps();
    plan.push(...steps);
    made += sizeOf(steps);
  }
  return plan;
}

class PlanMaker {
  readonly #random: Random;
  readonly #sides: number;
  /** Lookups that are asked again and again, so that they are in the cache when a write comes. */
  readonly #hot: Ask[] = [];

  constructor(random: Random, sides: number) {
    this.#random = random;
    this.#sides = sides;
  }

  /** A write or two, surrounded by the same lookups. */
  steps(): Step[] {
    const random = this.#random;
    const asks = this.#asks();
    const write = random.weighted<() => Step>([
      [14, () => this.#write()],
      [3, () => this.#transaction()],
      [2, () => this.#concurrently()],
    ])();
    const before = random.once(2) ? [this.#look(asks, false)] : [];
    return [...before, write, this.#look(random.once(3) ? this.#asks() : asks, false)];
  }

  #side(): number {
    return this.#random.below(this.#sides);
  }

  #transaction(): Step {
    const random = this.#random;
    const side = this.#side();
    const asks = this.#asks();
    const steps: Step[] = [];
    for (let left = 1 + random.below(4); left > 0; left -= 1) {
      if (random.once(4)) {
        const inner: Step[] = random.list(1 + random.below(3), () => this.#write(side));
        if (random.once(3)) inner.push({ do: 'savepoint', steps: [this.#write(side)], end: random.pick(['commit', 'rollback']), side });
        if (random.once(2)) inner.push({ ...this.#look(asks, true), side });
        steps.push({ do: 'savepoint', steps: inner, end: random.pick(['commit', 'rollback']), side });
      } else {
        steps.push(this.#write(side));
      }
      if (random.once(3)) steps.push({ ...this.#look(asks, true), side });
      if (random.once(3)) steps.push(this.#look(asks, false));
    }
    const end = random.pick(['commit', 'commit', 'rollback', 'throw'] as const);
    return { do: 'transaction', steps, end, managed: end === 'throw' || random.once(2), side };
  }

  #concurrently(): Step {
    const random = this.#random;
    const asks = this.#asks();
    const steps = random.list<Step>(2 + random.below(4), () =>
      random.once(2) ? this.#write() : this.#look(random.once(2) ? asks : this.#asks(), false),
    );
    return { do: 'concurrently', steps, side: 0 };
  }

  // ---- Lookups --------------------------------------------------------------------------------

  #look(asks: readonly Ask[], inside: boolean): Step {
    const how = this.#random.weighted<LookHow>([
      [8, 'together'],
      [3, 'many'],
      [3, 'apart'],
      [2, 'get'],
      [2, 'batch'],
      [1, 'refresh'],
      [1, 'cacheOnly'],
    ]);
    return { do: 'look', asks, how, inside, side: this.#side() };
  }

  #asks(): Ask[] {
    const random = this.#random;
    const asks = random.list(1 + random.below(4), () => {
      if (this.#hot.length > 20 && !random.once(4)) return random.pick(this.#hot);
      const ask = this.#ask();
      if (this.#hot.length < 40) this.#hot.push(ask);
      else this.#hot[random.below(this.#hot.length)] = ask;
      return ask;
    });
    // The same again, in the same call.
    if (random.once(4)) asks.push(random.pick(asks));
    return asks;
  }

  #ask(): Ask {
    const random = this.#random;
    if (!random.once(5) && random.once(2)) {
      const [member, [model, key]] = random.pick(members);
      return { model, member, key, values: key.map((field) => this.#keyValue(model, field)) };
    }
    if (random.once(4)) {
      const [custom, model, key] = random.pick(customs);
      return { model, custom, key, values: key.map((field) => this.#keyValue(model, field)) };
    }
    const model = random.weighted(weights);
    const key = random.pick(keys[model]);
    return { model, key, values: key.map((field) => this.#keyValue(model, field)) };
  }

  #keyValue(model: ModelName, field: string): Value {
    const random = this.#random;
    if (field === 'id') return this.#row(model, ['id', 'id', 'text']);
    if (field === 'target') return random.once(8) ? null : { target: this.#row(random.pick(['Post', 'Article'] as const), ['id', 'text', 'instance']) };
    if (field === 'country') return random.once(8) ? null : this.#spelled('Country', 'code', random.pick(written.Country.code as readonly Value[]));
    const associated = associations[field];
    if (associated !== undefined) return random.once(8) ? null : this.#row(associated, ['id', 'id', 'text', 'instance']);
    return this.#spelled(model, field, random.pick(written[model][field] as readonly Value[]));
  }

  /** Another way to say the same value, or something close to it. */
  #spelled(model: ModelName, field: string, value: Value): Value {
    const random = this.#random;
    if (random.once(2)) return value;
    if (typeof value === 'string' && model === 'Post' && field === 'score') return random.pick([value, `0${value}`.replace('0-', '-0'), Number(value), `${value}${value.includes('.') ? '0' : '.0'}`]);
    if (field === 'day' || field === 'kind' || field === 'state') return value;
    if (field === 'serial' && value !== null) return typeof value === 'number' ? random.pick([String(value), `0${String(value)}`.replace('0-', '-0')]) : value;
    if (typeof value === 'string' && typeof (written[model][field] as readonly Value[]).find((one) => one !== null) === 'string') {
      return random.pick([
        value.toUpperCase(),
        value.toLowerCase(),
        `${value} `,
        ` ${value}`,
        value.normalize('NFD'),
        value.normalize('NFD').replace(/\p{M}/gu, ''),
        value.replace(/['’]/g, ''),
        value.trimEnd(),
      ]);
    }
    if (typeof value === 'number' && Number.isSafeInteger(value)) return random.pick([String(value), `0${String(value)}`.replace('0-', '-0')]);
    return value;
  }

  #row(ref: ModelName, forms: readonly RowRef['as'][]): RowRef {
    const random = this.#random;
    return { ref, slot: random.weighted([[8, random.below(6)], [4, random.below(16)], [1, 16]]), as: random.pick(forms) };
  }

  // ---- Writes ---------------------------------------------------------------------------------

  #write(side = this.#side()): Write & { readonly side: number } {
    const random = this.#random;
    const model = random.weighted(weights);
    const slot = random.below(14);
    const via = random.weighted<Via>([[6, 'fresh'], [4, 'pool'], [2, 'partial'], [1, 'built']]);
    const make = random.weighted<() => Write>([
      [20, () => ({ do: 'create', model, values: this.#newRow(model), how: random.pick(['create', 'create', 'save', 'noHooks'] as const) })],
      [
        26,
        () => ({
          do: 'save',
          model,
          slot,
          via,
          sets: random.list(random.once(4) ? 2 : 1, () => this.#changes(model)),
          how: random.pick(['save', 'save', 'update', 'update', 'noHooks', 'fields', 'setDataValue'] as const),
        }),
      ],
      [
        10,
        () => ({
          do: 'destroy',
          model,
          slot,
          via,
          options: { ...(random.once(3) ? { force: true } : {}), ...(random.once(4) ? { hooks: false } : {}) },
        }),
      ],
      [3, () => ({ do: 'restore', slot, via, how: random.pick(['instance', 'bulk', 'deletedAt'] as const) })],
      [
        6,
        () => {
          const counting = random.pick(modelNames.filter((name) => counters[name].length > 0));
          return {
            do: 'increment',
            model: counting,
            slot,
            attribute: random.pick(counters[counting]),
            by: random.pick([1, 1, 2, -1]),
            how: random.pick(['instance', 'decrement', 'object', 'static', 'staticDecrement', 'where'] as const),
            where: this.#where(counting),
          };
        },
      ],
      [
        9,
        () => ({
          do: 'bulkUpdate',
          model,
          values: this.#bulkChanges(model),
          where: this.#where(model),
          options: {
            ...(random.once(4) ? { individualHooks: true } : random.once(4) ? { hooks: false } : {}),
            ...(random.once(5) ? { limit: 1 } : {}),
            ...(random.once(5) ? { paranoid: false } : {}),
          },
        }),
      ],
      [
        4,
        () => ({
          do: 'bulkDestroy',
          model,
          where: this.#where(model),
          options: {
            ...(random.once(4) ? { individualHooks: true } : random.once(4) ? { hooks: false } : {}),
            ...(random.once(3) ? { limit: 1 } : {}),
            ...(random.once(3) ? { force: true } : {}),
          },
        }),
      ],
      [6, () => ({ do: 'upsert', model, values: this.#newRow(model) })],
      [
        6,
        () => ({
          do: 'bulkCreate',
          model,
          rows: random.list(1 + random.below(3), () => this.#newRow(model)),
          how: random.pick(['plain', 'plain', 'ignoreDuplicates', 'updateOnDuplicate', 'individualHooks'] as const),
        }),
      ],
      [
        3,
        () => ({
          do: 'findOrCreate',
          model,
          where: this.#where(model),
          defaults: this.#newRow(model),
          how: random.pick(['findOrCreate', 'findOrCreate', 'findCreateFind'] as const),
        }),
      ],
      [0.3, () => ({ do: 'truncate', model: random.pick(['Article', 'Vote', 'Country', 'Avatar', 'Post'] as const) })],
      [
        8,
        () => ({
          do: 'associate',
          how: random.pick(['setAuthor', 'createAuthor', 'setUser', 'setPosts', 'addPost', 'removePost', 'setGroups', 'addGroup', 'removeGroup', 'setUsers', 'addUser', 'removeUser', 'createAvatar', 'setAvatars', 'setCountry'] as const),
          slot,
          others: random.list(random.below(3), () => this.#row('User', ['id', 'instance'])),
          values: { ...this.#newRow('User'), ...this.#newRow('Avatar'), ...this.#changes('Membership') },
        }),
      ],
      [
        3,
        () => {
          const [swapped, attribute] = random.pick([['User', 'username'], ['User', 'email'], ['Article', 'slug'], ['Post', 'code'], ['Country', 'name']] as const);
          return { do: 'swap', model: swapped, slots: [random.below(6), random.below(6)], attribute };
        },
      ],
      [
        2,
        () => ({
          do: 'void',
          model,
          how: random.pick(['clear', 'bumpModel', 'bumpClass', 'bumpClass', 'invalidateWhere', 'invalidateWhere', 'invalidate', 'invalidate'] as const),
          cacheClass: random.pick(classNames),
          slot,
          via,
          where: this.#where(model),
        }),
      ],
    ]);
    return { ...make(), side };
  }

  #newRow(model: ModelName): Values {
    const random = this.#random;
    const values: Record<string, Value> = {};
    for (const name of Object.keys(written[model])) {
      if (required[model].includes(name) || !random.once(3)) values[name] = this.#toWrite(model, name);
    }
    for (const name of Object.keys(references[model])) {
      if (required[model].includes(name) || !random.once(4)) values[name] = this.#toWrite(model, name);
    }
    if (model !== 'Country' && model !== 'Membership' && random.once(6)) values.id = this.#row(model, ['id']);
    return values;
  }

  #changes(model: ModelName): Values {
    const random = this.#random;
    const all = [...Object.keys(written[model]), ...Object.keys(references[model])];
    return Object.fromEntries(random.list(1 + random.below(2), () => random.pick(all)).map((name) => [name, this.#toWrite(model, name)]));
  }

  /** As for one row, with expressions, and the primary key itself. */
  #bulkChanges(model: ModelName): Values {
    const random = this.#random;
    const [counter] = counters[model];
    if (counter !== undefined && random.once(6)) return { [counter]: { sql: `${counter} + 1` } };
    if (model !== 'Country' && model !== 'Membership' && random.once(12)) return { id: this.#row(model, ['id']) };
    return this.#changes(model);
  }

  #toWrite(model: ModelName, name: string): Value {
    const random = this.#random;
    const referred = references[model][name];
    if (referred !== undefined) return random.once(8) && !required[model].includes(name) ? null : this.#row(referred, ['id', 'id', 'text']);
    return random.pick(written[model][name] as readonly Value[]);
  }

  #where(model: ModelName): Values {
    const random = this.#random;
    if (model !== 'Country' && model !== 'Membership' && random.once(3)) return { id: this.#row(model, ['id']) };
    const all = [...Object.keys(written[model]), ...Object.keys(references[model])].filter((name) => name !== 'meta');
    const name = random.pick(all);
    return { [name]: name in written[model] ? this.#spelled(model, name, this.#toWrite(model, name)) : this.#toWrite(model, name) };
  }
}
