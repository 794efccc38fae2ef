/**
 * Reads that the plugin makes for a write: what Sequelize refuses of them, or a hook of the program, does
 * not fail the write, and nothing stays stale.
 */
import assert from 'node:assert/strict';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { describe, it } from 'node:test';
import { DataTypes, type Model, type ModelStatic, type Options, type Transaction, type WhereOptions } from 'sequelize';
import { openBackend, type Backend } from '../support/backends.js';
import { cached, type UntypedModel } from '../support/misuse-models.js';

/** Kinds of keys, each with three values. */
const keys: Readonly<Record<string, { readonly type: unknown; readonly values: readonly unknown[] }>> = {
  integer: { type: DataTypes.INTEGER, values: [1, 2, 3] },
  bigint: { type: DataTypes.BIGINT, values: ['9007199254740993', '9007199254740995', '9007199254740997'] },
  string: { type: DataTypes.STRING(20), values: ['Ann', 'Bob', 'Çem'] },
  uuid: { type: DataTypes.UUID, values: [1, 2, 3].map((n) => `00000000-0000-4000-8000-00000000000${n}`) },
  decimal: { type: DataTypes.DECIMAL(10, 2), values: ['1.50', '2.50', '3.50'] },
  day: { type: DataTypes.DATEONLY, values: ['2024-01-01', '2024-01-02', '2024-01-03'] },
};

const options: Readonly<Record<string, Options>> = {
  typeValidation: { typeValidation: true },
  'typeCast: false': { dialectOptions: { typeCast: false } },
  'typeValidation, typeCast: false': { typeValidation: true, dialectOptions: { typeCast: false } },
};

interface Family {
  readonly Parent: ModelStatic<Model>;
  readonly Child: UntypedModel & ModelStatic<Model>;
  readonly values: readonly unknown[];
}

const writes: Readonly<Record<string, (family: Family, transaction: Transaction | null) => Promise<unknown>>> = {
  'destroy by key': ({ Parent, values }, transaction) => Parent.destroy({ where: { id: values[0] } as WhereOptions, transaction }),
  'destroy by condition': ({ Parent }, transaction) => Parent.destroy({ where: { name: 'first' }, transaction }),
  'destroy of an instance': ({ Parent, values }, transaction) => Parent.build({ id: values[0], name: 'first' } as never, { isNewRecord: false }).destroy({ transaction }),
};

async function familyOf({ sequelize }: Backend, kind: string): Promise<Family> {
  const { type, values } = keys[kind] as { type: never; values: readonly unknown[] };
  const Parent = sequelize.define('Parent', { id: { type, primaryKey: true }, name: DataTypes.STRING }, { timestamps: false });
  const Child = sequelize.define('Child', { id: { type, primaryKey: true }, name: DataTypes.STRING, parentId: { type } }, { timestamps: false });
  Child.belongsTo(Parent, { foreignKey: 'parentId', onDelete: 'CASCADE' });
  cached(Child, { keys: ['id', 'name'], filters: ['name'] });
  return { Parent, Child: Child as unknown as Family['Child'], values };
}

async function fill({ Parent, Child, values }: Family): Promise<void> {
  await Parent.bulkCreate(values.slice(0, 2).map((id, at) => ({ id, name: at === 0 ? 'first' : 'second' })) as never[]);
  await Child.bulkCreate(values.map((id, at) => ({ id, name: 'child', parentId: values[at === 2 ? 1 : 0] })) as never[]);
}

/** The write succeeds as without the plugin, and every cached lookup is right after it. */
async function check(backend: Backend, family: Family, write: string, inTransaction: boolean): Promise<void> {
  const { Child, Parent, values } = family;
  const ask = async (): Promise<unknown> => [
    ...(await Promise.all(values.map(async (id) => (await Child.cache.getOrNone({ id })) === null))),
    (await Child.cache.filter({ name: 'child' }))?.length,
  ];
  assert.deepEqual(await ask(), [false, false, false, 3]);
  const make = writes[write] as (family: Family, transaction: Transaction | null) => Promise<unknown>;
  if (inTransaction) await backend.sequelize.transaction((transaction) => make(family, transaction));
  else await make(family, null);
  assert.equal(await Parent.count(), 1);
  assert.deepEqual(await ask(), [true, true, false, 1]);
}

describe('reads that the plugin makes for a write', () => {
  for (const [what, option] of Object.entries(options)) {
    for (const kind of Object.keys(keys)) {
      it(`take what they have read: ${kind}, ${what}`, async () => {
        const backend = await openBackend('mariadb', { options: option });
        const told: unknown[] = [];
        const listen = (message: unknown): void => void told.push(message);
        subscribe('sequelize-flash:error', listen);
        try {
          const family = await familyOf(backend, kind);
          backend.setup();
          await backend.sequelize.sync();
          for (const write of Object.keys(writes)) {
            for (const inTransaction of [false, true]) {
              await family.Child.truncate();
              await family.Parent.destroy({ where: {} });
              await fill(family);
              await check(backend, family, write, inTransaction);
            }
          }
          assert.deepEqual(told, []);
        } finally {
          unsubscribe('sequelize-flash:error', listen);
          await backend.close();
        }
      });
    }
  }

  for (const write of Object.keys(writes)) {
    for (const inTransaction of [false, true]) {
      it(`do without what a hook refuses: ${write}${inTransaction ? ', in a transaction' : ''}`, async () => {
        const backend = await openBackend('mariadb');
        try {
          const family = await familyOf(backend, 'integer');
          backend.setup();
          await backend.sequelize.sync();
          await fill(family);
          let refused = 0;
          backend.sequelize.addHook('beforeQuery', (query: object) => {
            if (!('lock' in query)) return;
            refused += 1;
            throw new Error('No locks, says the program.');
          });
          await check(backend, family, write, inTransaction);
          assert.ok(refused > 0, 'no read of the plugin was refused');
        } finally {
          await backend.close();
        }
      });
    }
  }
});
