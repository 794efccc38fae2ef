/** A save whose row is marked while Sequelize still prepares the statement: whatever becomes of the save. */
import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { DataTypes, Model, QueryTypes, type CreationOptional, type InferAttributes, type InferCreationAttributes } from 'sequelize';
import { InvalidationFailedError, withCache } from '../../src/index.js';
import { classify } from '../../src/entries/envelope.js';
import { beforeSending } from '../support/before-sending.js';
import { openBackend, type Backend } from '../support/backends.js';
import { holdFirst } from '../support/observed-store.js';

class Coin extends Model<InferAttributes<Coin>, InferCreationAttributes<Coin>> {
  static readonly cache = withCache(Coin, { keys: ['id', 'name'] });
  declare id: CreationOptional<number>;
  declare name: string;
  declare worth: number;
}

describe('saves', () => {
  let backend: Backend;
  let coin: Coin;

  before(async () => {
    backend = await openBackend('mariadb');
    Coin.init(
      {
        id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true },
        name: { type: DataTypes.STRING, unique: true },
        worth: { type: DataTypes.INTEGER, validate: { max: 100 } },
      },
      { sequelize: backend.sequelize, timestamps: false },
    );
    backend.setup({ onStoreFailure: 'strict' });
    await backend.sequelize.sync();
    await Coin.create({ name: 'penny', worth: 0 });
  });

  after(async () => {
    await backend.close();
  });

  beforeEach(async () => {
    coin = await Coin.findByPk(1, { rejectOnEmpty: true });
    await coin.update({ worth: 1 });
    await Coin.cache.get({ id: 1 });
    backend.reset();
  });

  const ends: (() => void)[] = [];
  afterEach(() => {
    for (const end of ends.splice(0)) end();
    for (const hook of ['beforeUpdate', 'afterUpdate'] as const) backend.sequelize.removeHook(hook, 'test');
  });

  const state = async (): Promise<string> => {
    const key = Coin.cache.getKey({ id: 1 });
    return classify((await backend.store.get([key])).items.get(key)).state;
  };

  /** Once nothing of the save is under way any more; its marker may not even have been placed yet. */
  const settled = async (): Promise<void> => {
    await backend.store.quiet();
    assert.notEqual(await state(), 'marker');
  };

  it('the marker stands before the statement is sent, and is gone when the save has resolved', async () => {
    const during: string[] = [];
    ends.push(beforeSending(backend.sequelize, ({ type }) => type === QueryTypes.UPDATE, async () => during.push(await state())));
    await coin.update({ worth: 2 });
    assert.deepEqual(during, ['marker']);
    assert.equal(await state(), 'absent');
    assert.equal((await Coin.cache.get({ id: 1 })).worth, 2);
  });

  it('the statement waits for the marker', async () => {
    const held = holdFirst(backend.store, (operation, key) => operation === 'get' && key === Coin.cache.getKey({ id: 1 }));
    let sent = false;
    ends.push(
      beforeSending(backend.sequelize, ({ type }) => type === QueryTypes.UPDATE, () => {
        sent = true;
      }),
    );
    const saving = coin.update({ worth: 3 });
    await held.reached;
    await new Promise((resolve) => setImmediate(resolve));
    assert.equal(sent, false);
    held.release();
    await saving;
    assert.equal(sent, true);
    assert.equal((await Coin.cache.get({ id: 1 })).worth, 3);
  });

  it('a hook that waits in between costs the early marker, nothing else', async () => {
    let go: () => void = () => undefined;
    let reach: () => void = () => undefined;
    const reached = new Promise<void>((resolve) => {
      reach = resolve;
    });
    backend.sequelize.addHook('beforeUpdate', 'test', async () => {
      reach();
      await new Promise<void>((resolve) => {
        go = resolve;
      });
    });
    const saving = coin.update({ worth: 4 });
    await reached;
    await settled();
    // Readers fill again meanwhile.
    assert.equal((await Coin.cache.get({ id: 1 })).worth, 1);
    go();
    await saving;
    assert.equal((await Coin.cache.get({ id: 1 })).worth, 4);
    assert.equal(await state(), 'value');
  });

  it('a save that fails before its statement leaves no marker', async () => {
    // The second validation comes after the hooks.
    backend.sequelize.addHook('beforeUpdate', 'test', (instance: Model) => {
      instance.set('worth', 101);
    });
    await assert.rejects(coin.update({ worth: 5 }), /Validation max/);
    await settled();
    assert.equal((await Coin.cache.get({ id: 1 })).worth, 1);
    assert.equal(await state(), 'value');
  });

  it('two saves of one instance at once each wait for a marker of their own', async () => {
    coin.worth = 6;
    await Promise.all([coin.save(), coin.save({ fields: ['worth'] }), coin.increment('worth')]);
    await settled();
    const { worth } = await Coin.findByPk(1, { rejectOnEmpty: true });
    assert.equal((await Coin.cache.get({ id: 1 })).worth, worth);
  });

  it('refused where the row cannot be marked: the statement is not sent, and the error is the refusal', async () => {
    const remove = backend.store.intercept((operation) => {
      if (operation !== 'get') throw new Error('the store is down');
    });
    let sent = false;
    backend.sequelize.addHook('afterUpdate', 'test', () => {
      sent = true;
    });
    // The marker could not be placed over the value: what was seen stays.
    await assert.rejects(coin.update({ worth: 7 }), InvalidationFailedError);
    remove();
    assert.equal(sent, false);
    assert.equal((await Coin.findByPk(1))?.worth, 1);
  });

  it('a row of which nothing is changed is not touched', async () => {
    await coin.save();
    assert.equal(await state(), 'value');
    assert.equal(backend.sql.length, 0);
  });
});
