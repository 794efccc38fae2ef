/** Instances and negative zeros from `getResult`, names of generic foreign keys, and moments that a time zone has twice. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { DataTypes, type Model, type ModelStatic } from 'sequelize';
import { InvalidKeyFieldError, QuerysetCache, registerCache, UnknownTargetTypeError, UnsupportedResultError, type CacheClass } from '../../src/index.js';
import { backendNames, openBackend } from '../support/backends.js';
import { cached, type UntypedModel } from '../support/misuse-models.js';

const shown = (value: unknown): unknown => JSON.parse(JSON.stringify(value));

for (const name of backendNames) {
  describe(`results and keys (${name})`, () => {
    it('getResult returns instances, one, a list, none, or a value with -0', async () => {
      const backend = await openBackend(name);
      try {
        const Item = backend.sequelize.define('Item', { kind: DataTypes.INTEGER, live: DataTypes.BOOLEAN }, { timestamps: false });
        const Other = backend.sequelize.define('Other', { kind: DataTypes.INTEGER }, { timestamps: false });
        cached(Item, { keys: ['id'] });
        let answer: () => unknown = () => null;
        const Live = class Live extends QuerysetCache<Model> {
          static model = Item;
          static keyFields = ['kind'];
          override getResult(): never {
            return answer() as never;
          }
        };
        registerCache(Live as unknown as CacheClass);
        backend.setup();
        await backend.sequelize.sync();
        await Item.bulkCreate([{ kind: 1, live: true }, { kind: 1, live: true }]);
        await Other.create({ kind: 1 });
        const right: readonly (readonly [string, () => unknown])[] = [
          ['a list', () => Item.findAll({ where: { live: true }, order: ['id'] })],
          ['one', () => Item.findOne({ order: ['id'] })],
          ['none', () => null],
          ['an empty list', () => []],
          ['-0', () => -0],
          ['-0 within', () => ({ a: [-0, 0] })],
        ];
        for (const [what, returns] of right) {
          answer = returns;
          await Item.update({ live: true }, { where: { id: 1 } });
          const [one, two] = await Promise.all([new Live(1).resolve(), new Live(1).resolve()]);
          backend.reset();
          const warm: unknown = await new Live(1).resolve();
          assert.deepEqual(backend.sql, [], what);
          const expected: unknown = await returns();
          for (const got of [one, two, warm] as unknown[]) {
            if (typeof expected === 'number') assert.ok(Object.is(got, expected), what);
            else if (what === '-0 within') assert.deepStrictEqual(got, expected);
            else assert.deepEqual(shown(got), shown(expected), what);
          }
          if (typeof expected === 'object' && expected !== null) assert.notEqual(warm, one, 'each caller has its own');
        }
        answer = () => Item.findAll({ where: { live: true } });
        await Item.update({ live: false }, { where: { id: 1 } });
        assert.equal(((await new Live(1).resolve()) as unknown[]).length, 1, 'a write of another column is seen');
        const wrong: readonly (() => unknown)[] = [
          () => Other.findAll(), async () => [await Item.findOne(), 5], async () => [await Item.findOne(), await Other.findOne()],
          () => Item.findAll({ attributes: ['id'] }), () => [Item.build({ kind: 1 })],
        ];
        for (const returns of wrong) {
          answer = returns;
          await Item.update({ live: true }, { where: { id: 1 } });
          await assert.rejects(async () => new Live(1).resolve(), UnsupportedResultError);
        }
      } finally {
        await backend.close();
      }
    });

    it('a generic foreign key by names of its own', async () => {
      const backend = await openBackend(name);
      try {
        const Image = backend.sequelize.define('Image', {}, { timestamps: false });
        const Note = backend.sequelize.define('Note', { ofType: DataTypes.STRING, ofId: DataTypes.INTEGER }, { timestamps: false });
        cached(Image, { keys: ['id'] });
        cached(Note, { keys: ['id', 'of'], filters: ['of'], genericForeignKeys: { of: { type: 'ofType', id: 'ofId', models: () => ({ picture: Image }) } } });
        const notes = Note as unknown as UntypedModel & ModelStatic<Model>;
        backend.setup();
        await backend.sequelize.sync();
        const image = await Image.create();
        const note = await Note.create({ ofType: 'picture', ofId: image.get('id') });
        for (let round = 0; round < 2; round += 1) {
          assert.equal((await notes.cache.get({ of: image })).get('id'), note.get('id'));
          assert.equal((await notes.cache.filter({ of: ['picture', image.get('id')] }))?.length, 1);
          assert.equal(((await (note as unknown as { getOf(): Promise<Model> }).getOf())).get('id'), image.get('id'));
        }
        await assert.rejects(async () => notes.cache.get({ of: ['Image', 1] }), UnknownTargetTypeError);
        await note.update({ ofId: 9 });
        assert.equal(await notes.cache.getOrNone({ of: image }), null);
        cached(backend.sequelize.define('Twice', { ofType: DataTypes.STRING, ofId: DataTypes.INTEGER }, { timestamps: false }), { genericForeignKeys: { of: { type: 'ofType', id: 'ofId', models: () => ({ a: Image, b: Image }) } } });
        await assert.rejects(async () => (backend.sequelize.models.Twice as unknown as UntypedModel).cache.get({ of: image }), InvalidKeyFieldError);
      } finally {
        await backend.close();
      }
    });
  });
}

describe('the hour that exists twice (mariadb)', () => {
  for (const timezone of ['Europe/Berlin', 'America/New_York', '+02:00', '-05:30', '+00:00']) {
    it(timezone, async () => {
      const backend = await openBackend('mariadb', { options: { timezone } });
      try {
        const Slot = backend.sequelize.define('Slot', { at: DataTypes.DATE }, { timestamps: false });
        cached(Slot, { keys: ['at'], filters: ['at'] });
        const slots = Slot as unknown as UntypedModel & ModelStatic<Model>;
        backend.setup();
        await backend.sequelize.sync();
        const moments = ['2026-10-25T00:30:00Z', '2026-10-25T01:30:00Z', '2026-11-01T05:30:00Z', '2026-11-01T06:30:00Z', '2026-07-01T12:00:00Z'].map((text) => new Date(text));
        const same = async (when: string): Promise<void> => {
          for (const at of moments) {
            const expected = await Slot.findAll({ where: { at }, order: ['id'] });
            assert.deepEqual(shown(await slots.cache.getOrNone({ at })), shown(expected[0] ?? null), `${when}, ${at.toISOString()}`);
            assert.deepEqual(shown(await slots.cache.filter({ at })), shown(expected), `${when}, ${at.toISOString()}`);
          }
        };
        await same('empty');
        for (const at of moments) {
          const slot = await Slot.create({ at });
          await same('created');
          await slot.destroy();
          await same('destroyed');
        }
      } finally {
        await backend.close();
      }
    });
  }
});
