/** Cached foreign keys: Sequelize's own getters read the cache, and `prefetch` does it for many at once. */
import assert from 'node:assert/strict';
import type { CreationOptional, InferAttributes, InferCreationAttributes, NonAttribute } from 'sequelize';
import { BelongsTo, Column, DataType, ForeignKey, Model, Sequelize, Table } from 'sequelize-typescript';
import { setupCache, withCache } from 'sequelize-flash';
import { MemoryStore } from 'sequelize-flash/stores/memory';
import { costs, emptyDatabase } from '../support/short.js';

@Table
class Event extends Model<InferAttributes<Event>, InferCreationAttributes<Event>> {
  @Column({ type: DataType.INTEGER, primaryKey: true, autoIncrement: true })
  declare id: CreationOptional<number>;

  @Column(DataType.STRING)
  declare title: string;
}

@Table
class Participation extends Model<InferAttributes<Participation>, InferCreationAttributes<Participation>> {
  static readonly cache = withCache(Participation, { keys: ['id'], filters: ['guest'], cachedForeignKeys: ['event'] });

  @Column({ type: DataType.INTEGER, primaryKey: true, autoIncrement: true })
  declare id: CreationOptional<number>;

  @Column(DataType.STRING)
  declare guest: string;

  @ForeignKey(() => Event)
  @Column(DataType.INTEGER)
  declare eventId: number;

  @BelongsTo(() => Event)
  declare event?: NonAttribute<Event>;

  /** Sequelize's own. */
  declare getEvent: (options?: object) => Promise<Event | null>;
}

async function main(): Promise<void> {
  const sequelize = new Sequelize({ ...(await emptyDatabase()), models: [Event, Participation] });
  await sequelize.sync();
  const cache = setupCache(sequelize, { store: new MemoryStore() });

  const [walk, lunch] = [await Event.create({ title: 'Walk' }), await Event.create({ title: 'Lunch' })];
  const first = await Participation.create({ guest: 'bill', eventId: walk.id });
  await Participation.create({ guest: 'bill', eventId: lunch.id });

  await costs(1, () => first.getEvent());
  assert.equal((await costs(0, () => first.getEvent()))?.title, 'Walk');
  // What else is asked of the getter is a query, as ever.
  await costs(1, () => first.getEvent({ attributes: ['title'] }));

  // Laid on the instances as `include` would: one statement for the event that is not known yet, then none.
  const guests = await Participation.cache.filter({ guest: 'bill' });
  await costs(1, () => Participation.cache.prefetch(guests, ['event']));
  await costs(0, () => Participation.cache.prefetch(guests, ['event']));
  assert.deepEqual(guests.map(({ event }) => event?.title).sort(), ['Lunch', 'Walk']);

  // The event was renamed, the participation moved: each is seen.
  await walk.update({ title: 'Long walk' });
  assert.equal((await first.getEvent())?.title, 'Long walk');
  await first.update({ eventId: lunch.id });
  assert.equal((await first.getEvent())?.title, 'Lunch');

  await cache.close();
  await sequelize.close();
  console.log('foreign keys ok');
}

void main();
