/** A process of its own that reads and writes cached rows as it is told by IPC. */
import { DataTypes, Model, QueryTypes, Sequelize, type CreationOptional, type InferAttributes, type InferCreationAttributes } from 'sequelize';
import { setupCache, withCache } from '../../src/index.js';
import { MemcachedStore } from '../../src/stores/memcached.js';
import { beforeSending } from './before-sending.js';
import { ObservedStore } from './observed-store.js';

/** What a worker can be told to do. */
export type Order =
  | { readonly do: 'read'; readonly name: string; readonly times: number }
  | { readonly do: 'write'; readonly id: number; readonly count: number }
  | { readonly do: 'rename'; readonly id: number; readonly name: string }
  /** From now on writes hang: before their statement, or between their commit and the removal of their markers. */
  | { readonly do: 'hang'; readonly at: 'marked' | 'committed' };

/** What a worker answers. */
export type Reply =
  | { readonly kind: 'ready' }
  | { readonly kind: 'hanging' }
  | { readonly kind: 'done'; readonly order: number; readonly sql: number; readonly count: number | null }
  | { readonly kind: 'failed'; readonly order: number; readonly message: string };

/** Where a worker works. */
export interface Place {
  readonly url: string;
  readonly memcached: string;
  readonly prefix: string;
  readonly writeLease: number;
}

export class Row extends Model<InferAttributes<Row>, InferCreationAttributes<Row>> {
  static readonly cache = withCache(Row, { keys: ['id', 'name'] });
  declare id: CreationOptional<number>;
  declare name: string;
  declare count: number;
}

/** Defines the model that all processes share. */
export function defineRow(sequelize: Sequelize): void {
  Row.init(
    {
      id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true },
      name: { type: DataTypes.STRING, unique: true },
      count: DataTypes.INTEGER,
    },
    { sequelize, timestamps: false },
  );
}

if (process.send !== undefined && process.env.FLASH_TEST_PLACE !== undefined) work(JSON.parse(process.env.FLASH_TEST_PLACE) as Place);

function work({ url, memcached, prefix, writeLease }: Place): void {
  let sql = 0;
  const sequelize = new Sequelize(url, { dialect: 'mysql', logging: () => (sql += 1) });
  defineRow(sequelize);
  const store = new ObservedStore(new MemcachedStore(memcached.split(','), { timeoutMs: 2000 }));
  setupCache(sequelize, { store, prefix, writeLease, lockWaitTimeout: 0 });
  const send = (reply: Reply): void => void process.send?.(reply);
  const hang = (): Promise<never> => {
    send({ kind: 'hanging' });
    return new Promise<never>(() => undefined);
  };

  const obey = async (order: Order): Promise<number | null> => {
    switch (order.do) {
      case 'read': {
        const rows = await Promise.all(Array.from({ length: order.times }, () => Row.cache.getOrNone({ name: order.name })));
        const counts = new Set(rows.map((row) => row?.count ?? null));
        if (counts.size !== 1) throw new Error(`different answers: ${[...counts].join(', ')}`);
        return [...counts][0] ?? null;
      }
      case 'write': {
        const row = await Row.findByPk(order.id, { rejectOnEmpty: true });
        return (await row.update({ count: order.count })).count;
      }
      case 'rename':
        await Row.update({ name: order.name }, { where: { id: order.id } });
        return null;
      case 'hang':
        if (order.at === 'marked') {
          beforeSending(sequelize, ({ type }) => type === QueryTypes.UPDATE, hang);
        } else {
          store.intercept((operation, key) => (operation === 'delete' && key.includes(':e:') ? hang() : undefined));
        }
        return null;
    }
  };

  process.on('message', ({ id, order }: { id: number; order: Order }) => {
    const before = sql;
    obey(order).then(
      (count) => send({ kind: 'done', order: id, sql: sql - before, count }),
      (error: unknown) => send({ kind: 'failed', order: id, message: String(error) }),
    );
  });
  send({ kind: 'ready' });
}
