/** What stands in the store, frozen. If this fails on purpose, raise `storedFormat` in src/entries/envelope.ts. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { DataTypes, Sequelize, type Model } from 'sequelize';
import { createSqliteModule } from '../../examples/support/sqlite.js';
import { setupCache, withCache } from '../../src/index.js';
import { MemoryStore } from '../../src/stores/memory.js';

it('keys and entries have the form of version 1', async () => {
  const sequelize = new Sequelize({ dialect: 'sqlite', storage: ':memory:', dialectModule: await createSqliteModule(), logging: false });
  const Event = sequelize.define<Model<{ id: number; slug: string; at: Date; photo: Buffer; open: boolean; extra: object }>>(
    'Event',
    {
      id: { type: DataTypes.INTEGER, primaryKey: true },
      slug: { type: DataTypes.STRING(40), unique: true },
      at: DataTypes.DATE,
      photo: DataTypes.BLOB,
      open: DataTypes.BOOLEAN,
      extra: DataTypes.JSON,
    },
    { timestamps: false },
  );
  const events = withCache(Event, { keys: ['id', 'slug'] });
  await sequelize.sync();
  const store = new MemoryStore();
  const cache = setupCache(sequelize, { store, prefix: 'p', alias: 'a' });
  await Event.create({ id: 7, slug: 'Café 1', at: new Date(86_400_123), photo: Buffer.from('hi'), open: true, extra: { a: [1, null] } });
  await events.get({ slug: 'Café 1' });
  await events.getOrNone({ slug: 'none' });

  const keys = ['p:a:r:Events:=7', 'p:a:i:Events.slug:=cafe%201', 'p:a:i:Events.slug:=none', 'p:a:g:Events:', 'p:a:e:Events:'];
  assert.equal(events.getKey({ id: 7 }), keys[0]);
  assert.equal(events.getKey({ slug: 'CAFE 1 ' }), keys[1]);
  const { items } = await store.get(keys);
  const texts = keys.map((key) => items.get(key)?.value ?? 'absent');
  const [row, index, none, generation, epoch] = texts as [string, string, string, string, string];
  for (const stamp of [generation, epoch]) assert.match(stamp, /^G[\w-]{11}$/);
  for (const value of [row, index, none]) assert.equal(value.slice(12, 23), generation.slice(1));
  assert.deepEqual(
    [row, index, none].map((value) => [value.slice(0, 12), value.slice(23)]),
    [
      ['VAQow1-qJ6Ot', '[0,[7,"Café 1",86400123,["b","aGk="],true,["j",{"a":[1,null]}]]]'],
      ['V3yUzruIDHFf', '[["Café 1"],["7"],["Café 1"]]'],
      ['V3yUzruIDHFf', '[["none"]]'],
    ],
  );
  await cache.close();
});
