/** A process of its own that reads and writes cached rows as it is told by IPC. */
import { DataTypes, Model, QueryTypes, Sequelize, type CreationOptional, type InferAttributes, type InferCreationAttributes } from 'sequelize';
import { bumpVersion, QuerysetCache, registerCache, setupCache, withCache, type JsonValue } from '../../src/index.js';
import { MemcachedStore } from '../../src/stores/memcached.js';
import { beforeSending } from './before-sending.js';
import { ObservedStore } from './observed-store.js';

/** What a worker can be told to do. */
export type Order =
  | { readonly do: 'read'; readonly name: string; readonly times: number }
  | { readonly do: 'read by id'; readonly id: number; readonly times: number }
  /** The count by a cache class whose statement takes so many seconds in the database. */
  | { readonly do: 'compute'; readonly name: string; readonly seconds: number; readonly times: number }
  /** `bumpVersion` of that class, or `clear` of the model's cache. */
  | { readonly do: 'bump' | 'clear' }
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
  /** Left out: the default. */
  readonly leaseWait?: number;
  /** Has the cache class of 'compute': then a save reads its row first, in a transaction of its own. */
  readonly computes?: boolean;
}

export class Row extends Model<InferAttributes<Row>, InferCreationAttributes<Row>> {
  static readonly cache = withCache(Row, { keys: ['id', 'name'] });
  declare id: CreationOptional<number>;
  declare name: string;
  declare count: number;
}

/** The count of the row with a name, as the database has it when the statement begins. */
class CountOf extends QuerysetCache<Row, ['name']> {
  static model = Row;
  static keyFields = ['name'] as const;
  static seconds = 0;
  override async getResult({ name }: { readonly name: string }): Promise<JsonValue> {
    const { seconds } = CountOf;
    const rows = await (Row.sequelize as Sequelize).query<{ readonly count: number }>('SELECT `count`, SLEEP(:seconds) FROM `Rows` WHERE `name` = :name', {
      replacements: { name, seconds },
      type: QueryTypes.SELECT,
    });
    return rows[0]?.count ?? null;
  }
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

function work({ url, memcached, prefix, writeLease, leaseWait, computes = false }: Place): void {
  let sql = 0;
  const sequelize = new Sequelize(url, { dialect: 'mysql', logging: () => (sql += 1) });
  defineRow(sequelize);
  if (computes) registerCache(CountOf);
  const store = new ObservedStore(new MemcachedStore(memcached.split(','), { timeoutMs: 2000 }));
  setupCache(sequelize, { store, prefix, writeLease, lockWaitTimeout: 0, ...(leaseWait === undefined ? {} : { leaseWait }) });
  const send = (reply: Reply): void => void process.send?.(reply);
  const hang = (): Promise<never> => {
    send({ kind: 'hanging' });
    return new Promise<never>(() => undefined);
  };

  const countOf = (rows: readonly (Row | null)[]): number | null => same(rows.map((row) => row?.count ?? null));
  const obey = async (order: Order): Promise<number | null> => {
    switch (order.do) {
      case 'read':
        return countOf(await Promise.all(Array.from({ length: order.times }, () => Row.cache.getOrNone({ name: order.name }))));
      case 'read by id':
        return countOf(await Promise.all(Array.from({ length: order.times }, () => Row.cache.getOrNone({ id: order.id }))));
      case 'compute':
        CountOf.seconds = order.seconds;
        return same(await Promise.all(Array.from({ length: order.times }, async () => (await new CountOf(order.name).resolve()) as number | null)));
      case 'bump':
        await bumpVersion(CountOf);
        return null;
      case 'clear':
        await Row.cache.clear();
        return null;
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

/** The one answer that all of them are. */
function same(answers: readonly (number | null)[]): number | null {
  const [first = null, ...others] = new Set(answers);
  if (others.length > 0) throw new Error(`different answers: ${[first, ...others].join(', ')}`);
  return first;
}
