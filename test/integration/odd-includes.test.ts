/**
 * Relations and included instances where a model makes its instances in a way of its own, and where the
 * Sequelize instance asks for plain rows: each answer is compared with the find that it stands for, cold,
 * warm and in a transaction.
 */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { DataTypes, Model, type FindOptions, type ModelStatic, type Options, type Sequelize } from 'sequelize';
import { bumpVersion, InstanceCache, RelatedInstanceCache, RelatedQuerysetCache, type CacheClass, type ReadOptions } from '../../src/index.js';
import { backendNames, openBackend } from '../support/backends.js';
import { cached } from '../support/misuse-models.js';
import { makers } from '../support/model-makers.js';

const queries: Readonly<Record<string, Options['query']>> = {
  'no query option': undefined,
  'query: raw': { raw: true },
  'query: raw and nest': { raw: true, nest: true },
  'query: nest': { nest: true },
};

const plainModel = (): ModelStatic<Model> => class Made extends Model {};
const styles: Readonly<Record<string, () => ModelStatic<Model>>> = { 'plain models': plainModel, ...makers };

interface World {
  readonly Item: ModelStatic<Model>;
  readonly Group: ModelStatic<Model>;
  readonly Part: ModelStatic<Model>;
  readonly Label: ModelStatic<Model>;
}

/** An item with a group, parts that lead back to it, and labels by a join table; all made in the same way. */
function worldOf(sequelize: Sequelize, make: () => ModelStatic<Model>): World {
  const define = (modelName: string): ModelStatic<Model> => {
    const made = make();
    made.init({ name: DataTypes.STRING }, { sequelize, timestamps: false, modelName });
    return made;
  };
  const [Item, Group, Part, Label] = ['Item', 'Group', 'Part', 'Label'].map(define) as [ModelStatic<Model>, ModelStatic<Model>, ModelStatic<Model>, ModelStatic<Model>];
  Item.belongsTo(Group, { as: 'group', foreignKey: 'groupId' });
  Item.hasMany(Part, { as: 'parts', foreignKey: 'itemId' });
  Part.belongsTo(Item, { as: 'item', foreignKey: 'itemId' });
  Item.belongsToMany(Label, { as: 'labels', through: 'ItemLabel', foreignKey: 'itemId', otherKey: 'labelId', timestamps: false });
  return { Item, Group, Part, Label };
}

async function fill(sequelize: Sequelize, { Item, Group, Part, Label }: World): Promise<void> {
  await sequelize.sync();
  const rows = sequelize.getQueryInterface();
  await rows.bulkInsert(Group.getTableName(), [{ id: 1, name: 'group' }]);
  await rows.bulkInsert(Item.getTableName(), [{ id: 1, name: 'ann', groupId: 1 }, { id: 2, name: 'bob', groupId: null }]);
  await rows.bulkInsert(Part.getTableName(), [1, 2].map((id) => ({ id, name: `part ${id}`, itemId: 1 })));
  await rows.bulkInsert(Label.getTableName(), [1, 2].map((id) => ({ id, name: `label ${id}` })));
  await rows.bulkInsert('ItemLabel', [1, 2].map((labelId) => ({ itemId: 1, labelId })));
}

const include = (): NonNullable<FindOptions['include']> => ['group', { association: 'parts', include: ['item'] }, 'labels'];

interface Lookup {
  readonly of: CacheClass;
  actual(name: string, on: FindOptions): Promise<unknown>;
}

function lookupsOf({ Item, Group, Part, Label }: World): readonly Lookup[] {
  class ItemWithAll extends InstanceCache<Model> {
    static model = Item;
    static keyFields = ['name'];
    static include = ['group', { association: 'parts', include: ['item'] }, 'labels'];
  }
  class GroupOfItem extends RelatedInstanceCache<Model, Model> {
    static model = Item;
    static keyFields = ['name'];
    static relation = 'group';
  }
  class PartsOfItem extends RelatedQuerysetCache<Model, Model> {
    static model = Item;
    static keyFields = ['name'];
    static relation = 'parts';
  }
  class LabelsOfItem extends RelatedQuerysetCache<Model, Model> {
    static model = Item;
    static keyFields = ['name'];
    static relation = 'labels';
  }
  cached(Item, { keys: ['id', 'name'], caches: [ItemWithAll, GroupOfItem, PartsOfItem, LabelsOfItem] });
  for (const model of [Group, Part, Label]) cached(model, { keys: ['id'] });
  const order = ['id'];
  const ofAnn = (name: string): number => (name === 'ann' ? 1 : 0);
  return [
    { of: ItemWithAll, actual: (name, on) => Item.findOne({ where: { name }, include: include(), order: [['parts', 'id', 'ASC'], ['labels', 'id', 'ASC']], ...on }) },
    { of: GroupOfItem, actual: (name, on) => Group.findOne({ where: { id: ofAnn(name) }, ...on }) },
    { of: PartsOfItem, actual: (name, on) => Part.findAll({ where: { itemId: ofAnn(name) }, order, ...on }) },
    { of: LabelsOfItem, actual: (name, on) => (name === 'ann' ? Label.findAll({ order, ...on }) : Promise.resolve([])) },
  ];
}

/** An instance with what its class put on it, and the included ones in the same form. */
function view(found: unknown): unknown {
  if (Array.isArray(found)) return found.map(view);
  if (!(found instanceof Model)) return found;
  const marks = Object.entries(found).filter(([name, value]) => name !== 'isNewRecord' && name !== 'uniqno' && typeof value !== 'object');
  const values = Object.entries((found as unknown as { readonly dataValues: object }).dataValues).map(([name, value]) => [name, view(value)]);
  return { class: found.constructor.name, isNew: found.isNewRecord, values: Object.fromEntries(values) as unknown, marks: Object.fromEntries(marks) as unknown };
}

for (const backendName of backendNames) {
  describe(`relations of odd models (${backendName})`, () => {
    for (const [option, query] of Object.entries(queries)) {
      for (const [style, make] of Object.entries(styles)) {
        if (query !== undefined && style !== 'plain models' && style !== 'bulkBuild') continue;
        it(`${style}, ${option}`, async () => {
          const backend = await openBackend(backendName);
          try {
            const { sequelize } = backend;
            const world = worldOf(sequelize, make);
            const lookups = lookupsOf(world);
            backend.setup();
            await fill(sequelize, world);
            // With `nest` Sequelize itself cannot create a table.
            (sequelize as unknown as { options: Options }).options.query = query ?? {};
            const compare = async (when: string, cachedOn: ReadOptions, actualOn: FindOptions): Promise<void> => {
              for (const { of, actual } of lookups) {
                for (const name of ['ann', 'bob', 'nobody']) {
                  const found = await new of({ name }).resolve(cachedOn).catch((error: unknown) => {
                    assert.match((error as Error).name, /DoesNotExist$/);
                    return null;
                  });
                  assert.deepStrictEqual(view(found), view(await actual(name, { raw: false, nest: false, ...actualOn })), `${of.name}(${name}), ${when}`);
                }
              }
            };
            for (const when of ['cold', 'warm']) await compare(when, {}, {});
            await compare('read anew', { refresh: true }, {});
            await sequelize.transaction(async (transaction) => {
              await compare('in a transaction', { transaction }, { transaction });
            });
            await world.Part.update({ name: 'renamed' }, { where: { id: 2 } });
            await compare('after a write', {}, {});
          } finally {
            await backend.close();
          }
        });
      }
    }
  });
}

describe('a join table of which nothing is declared', () => {
  it('is void after bumpVersion, where another program wrote it', async () => {
    const backend = await openBackend('mariadb');
    try {
      const { sequelize } = backend;
      const world = worldOf(sequelize, plainModel);
      const labels = lookupsOf(world).find(({ of }) => of.name === 'LabelsOfItem') as Lookup;
      backend.setup();
      await fill(sequelize, world);
      const counted = async (): Promise<number> => ((await new labels.of({ name: 'ann' }).resolve()) as unknown[]).length;
      assert.equal(await counted(), 2);
      await backend.another().query('DELETE FROM ItemLabel WHERE labelId = 2');
      assert.equal(await counted(), 2, 'it was not told');
      assert.deepEqual(await bumpVersion(sequelize.models.ItemLabel as ModelStatic<Model>), { delivered: true });
      assert.equal(await counted(), 1);
    } finally {
      await backend.close();
    }
  });
});
