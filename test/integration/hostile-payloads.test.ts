/** Whatever stands under our keys, a lookup answers as the database does, and the cache recovers. */
import assert from 'node:assert/strict';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { after, before, beforeEach, describe, it } from 'node:test';
import { DataTypes, type InferAttributes, type InferCreationAttributes, Model } from 'sequelize';
import { InstanceCache, withCache, type FlashCache } from '../../src/index.js';
import { leaseText, markerText, randomToken, stampText } from '../../src/entries/envelope.js';
import { MemoryStore } from '../../src/stores/memory.js';
import { openBackend, type Backend } from '../support/backends.js';

class Place extends Model<InferAttributes<Place>, InferCreationAttributes<Place>> {
  declare id: number;
  declare name: string | null;
  declare visits: number | null;
  declare since: Date | null;
  declare extra: unknown;
}

class PlaceByVisits extends InstanceCache<Place> {
  static model = Place;
  static keyFields = ['visits'] as const;

  override getInstance({ visits }: { visits: number }): Promise<Place | null> {
    return this.queryset().findOne({ where: { visits } });
  }
}

/** The entries that a lookup of row 1 by each way uses. */
type Entry = 'row' | 'index' | 'result' | 'generation' | 'epoch';
const letters: Readonly<Record<Entry, string>> = { row: ':r:', index: ':i:', result: ':q:', generation: ':g:', epoch: ':e:' };

describe('hostile payloads', () => {
  let backend: Backend;
  let cache: FlashCache;
  /** The store's clock: what expires, expires when a test says so. */
  let clock = 0;
  /** Keys that were written to, with their last values. */
  const written = new Map<string, string>();
  let corrupt = 0;
  const onCorrupt = (): void => {
    corrupt += 1;
  };

  before(async () => {
    backend = await openBackend('sqlite', { store: recording(new MemoryStore({ now: () => clock }), written) });
    Place.init(
      { id: { type: DataTypes.INTEGER, primaryKey: true }, name: DataTypes.STRING, visits: DataTypes.INTEGER, since: DataTypes.DATE, extra: DataTypes.JSON },
      { sequelize: backend.sequelize, timestamps: false, tableName: 'places' },
    );
    withCache(Place, { keys: ['id', 'name'], caches: [PlaceByVisits] });
    await Place.sync();
    await Place.bulkCreate([
      { id: 1, name: 'Lugano', visits: 10, since: new Date(0), extra: { a: [1] } },
      { id: 2, name: 'Locarno', visits: 20, since: null, extra: null },
    ]);
    cache = backend.setup({ leaseWait: 20 });
    subscribe('sequelize-flash:corrupt', onCorrupt);
  });
  after(async () => {
    unsubscribe('sequelize-flash:corrupt', onCorrupt);
    await backend.close();
  });

  const ask = async (): Promise<unknown[]> => {
    const manager = (Place as unknown as { cache: { getOrNone(key: object): Promise<Place | null> } }).cache;
    // One after the other, so that each looks at the store for itself.
    const byId = await manager.getOrNone({ id: 1 });
    const byName = await manager.getOrNone({ name: 'Lugano' });
    const byResult = await new PlaceByVisits(10).resolve();
    return [byId, byName, byResult].map((place) => place?.get({ plain: true }));
  };
  const expected = { id: 1, name: 'Lugano', visits: 10, since: new Date(0), extra: { a: [1] } };
  const statementsOf = async (task: () => Promise<unknown[]>): Promise<number> => {
    backend.reset();
    assert.deepEqual(await task(), [expected, expected, expected]);
    return backend.sql.length;
  };
  const keyOf = (entry: Entry): string => {
    const found = [...written.keys()].find((key) => key.includes(letters[entry]) && (entry !== 'row' || key.endsWith('=1')) && (entry !== 'index' || key.includes('ligano') || key.includes('lugano')));
    assert.ok(found !== undefined, `${entry} among ${[...written.keys()].join(' ')}`);
    return found;
  };
  const plant = async (key: string, text: string, seconds = 0): Promise<void> => {
    await backend.store.delete(key);
    assert.equal(await backend.store.add(key, text, seconds), true);
  };
  const counters = (): number =>
    Object.values(cache.stats().Place ?? {}).reduce((sum, { misses, errors, bypasses }) => sum + misses + errors + bypasses, 0);

  beforeEach(async () => {
    // Everything is warm, and nothing of the last test is left.
    clock += 1e9;
    for (const key of written.keys()) await backend.store.delete(key);
    for (let round = 0; round < 3; round += 1) await ask();
    assert.equal(await statementsOf(ask), 0);
    corrupt = 0;
  });

  const deep = 100_000;
  /** Replacements for a value's text. */
  const replacements: readonly (readonly [name: string, replace: (text: string) => string, isCorrupt?: boolean])[] = [
    ['nothing', () => ''],
    ['random text', () => 'Z9 !random\r\nget other\0'],
    ['foreign JSON', () => '{"id":1,"name":"evil"}'],
    ['a foreign class', () => 'O:8:"stdClass":0:{}'],
    ['a value of no model', () => 'V'],
    ['a value of another fingerprint', (text) => `V${'x'.repeat(11)}${text.slice(12)}`],
    ['a value of another generation', (text) => `${text.slice(0, 12)}${'x'.repeat(11)}${text.slice(23)}`],
    ['a body that is no JSON', (text) => `${text.slice(0, 23)}{`, true],
    ['a body that is executable in other formats', (text) => `${text.slice(0, 23)}[process.exit(1)]`, true],
    ['an empty body', (text) => text.slice(0, 23), true],
    ['an object for a body', (text) => `${text.slice(0, 23)}{"0":0}`, true],
    ['an empty list', (text) => `${text.slice(0, 23)}[]`, true],
    ['lists of another length', (text) => `${text.slice(0, 23)}[["x"],[],["y"]]`],
    ['nulls', (text) => `${text.slice(0, 23)}[null,null,null]`, true],
    ['numbers', (text) => `${text.slice(0, 23)}[0,1,2]`, true],
    ['objects', (text) => `${text.slice(0, 23)}[{},{},{}]`, true],
    ['too few cells', (text) => `${text.slice(0, 23)}[0,[1]]`, true],
    ['too many cells', (text) => `${text.slice(0, 23)}[0,[1,"Lugano",10,0,null,7]]`, true],
    ['cells of other types', (text) => `${text.slice(0, 23)}[0,[1,7,"ten","soon",null]]`, true],
    ['a cell that is an object', (text) => `${text.slice(0, 23)}[0,[1,{"__proto__":{"admin":true}},10,0,null]]`, true],
    ['a cell with an unknown tag', (text) => `${text.slice(0, 23)}[0,[1,["f","process.exit()"],10,0,null]]`, true],
    ['a primary key of another type', (text) => `${text.slice(0, 23)}[0,[{},"Lugano",10,0,null]]`, true],
    ['no primary key', (text) => `${text.slice(0, 23)}[0,[null,"Lugano",10,0,null]]`],
    ['a nested list beyond any stack', (text) => `${text.slice(0, 23)}${'['.repeat(deep)}${']'.repeat(deep)}`, true],
    ['a nested JSON cell beyond any stack', (text) => `${text.slice(0, 23)}[0,[1,"Lugano",10,0,["j",${'['.repeat(deep)}${']'.repeat(deep)}]]]`, true],
    ['a generation', () => stampText()],
    ['a marker that is none', () => 'M;garbage'],
    ['a marker without writers', () => 'Mxxxxxxxxxxx;'],
    ['a lease that is none', () => 'L'],
  ];

  for (const entry of ['row', 'index', 'result'] as const) {
    for (const [name, replace, isCorrupt] of replacements) {
      it(`${entry}: ${name}`, async () => {
        const key = keyOf(entry);
        const text = written.get(key) ?? '';
        assert.ok(text.startsWith('V'), text.slice(0, 30));
        const before = counters();
        await plant(key, replace(text));
        await statementsOf(ask);
        assert.ok(counters() > before || entry === 'index', 'nothing was counted');
        // A unique key's index entry is not looked at while this process remembers where it leads.
        if (isCorrupt === true && entry === 'row') assert.ok(corrupt > 0, 'no event');
        assert.equal(await statementsOf(ask), 0, 'the cache works again');
        assert.equal(({} as { admin?: unknown }).admin, undefined);
      });
    }

    it(`${entry}: cut at every position`, async () => {
      const key = keyOf(entry);
      const text = written.get(key) ?? '';
      for (let at = 0; at < text.length; at += 1) {
        await plant(key, text.slice(0, at));
        await statementsOf(ask);
        assert.equal(await statementsOf(ask), 0, `cut at ${at}`);
      }
    });

    it(`${entry}: a lease or a marker that nobody will take back ends by itself`, async () => {
      for (const text of [leaseText(), markerText([randomToken()])]) {
        await plant(keyOf(entry), text, 10);
        await statementsOf(ask);
        clock += 11_000;
        await statementsOf(ask);
        assert.equal(await statementsOf(ask), 0);
      }
    });
  }

  it("another row's entry under the key of this one", async () => {
    const manager = (Place as unknown as { cache: { getOrNone(key: object): Promise<Place | null> } }).cache;
    for (let round = 0; round < 2; round += 1) {
      await manager.getOrNone({ id: 2 });
      await manager.getOrNone({ name: 'Locarno' });
    }
    await new PlaceByVisits(20).resolve();
    for (const entry of ['row', 'index', 'result'] as const) {
      const key = keyOf(entry);
      const kind = letters[entry];
      const other = [...written].find(([one, text]) => one.includes(kind) && one !== key && text.startsWith('V'));
      assert.ok(other !== undefined, entry);
      await plant(key, other[1]);
      await statementsOf(ask);
      assert.equal(await statementsOf(ask), 0, entry);
    }
  });

  it('an index entry that leads to another row, to none, or nowhere', async () => {
    const key = keyOf('index');
    const head = (written.get(key) ?? '').slice(0, 23);
    for (const body of ['[["Lugano"],["2"],["Lugano"]]', '[["Lugano"],["99"],["Lugano"]]', '[["Lugano"],["x"],["Lugano"]]', '[["Lugano"],[],["Lugano"]]', '[["Lugano"],["1","2"],["Lugano"]]', '[["Lugano"],[null],["Lugano"]]', '[["Lugano"],["1"],[]]', '[["Lugano"],["1"],["Locarno"]]']) {
      await plant(key, head + body);
      await statementsOf(ask);
      await statementsOf(ask);
      assert.equal(await statementsOf(ask), 0, body);
    }
  });

  for (const entry of ['generation', 'epoch'] as const) {
    it(`${entry}: anything`, async () => {
      const key = keyOf(entry);
      const value = written.get(keyOf('row')) ?? '';
      for (const text of ['', 'G', 'Gshort', `${stampText()}!`, 'garbage', '[]', 'M', 'M;', 'V', value, leaseText(), stampText()]) {
        await plant(key, text);
        for (let round = 0; round < 3; round += 1) await statementsOf(ask);
        assert.equal(await statementsOf(ask), 0, JSON.stringify(text));
      }
    });
  }
});

/** Remembers what is put into a store. */
function recording(store: MemoryStore, written: Map<string, string>): MemoryStore {
  const { add, compareAndSwap } = store;
  store.add = async (key, value, seconds) => {
    const done = await add.call(store, key, value, seconds);
    if (done) written.set(key, value);
    return done;
  };
  store.compareAndSwap = async (key, value, token, seconds) => {
    const done = await compareAndSwap.call(store, key, value, token, seconds);
    if (done) written.set(key, value);
    return done;
  };
  return store;
}
