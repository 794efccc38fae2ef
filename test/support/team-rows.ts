/**
 * A table of four rows that are looked up by primary key, by a unique key and through a custom cache;
 * every lookup that there is, and what the database itself says to each.
 */
import {
  DataTypes,
  Model,
  QueryTypes,
  type CreationOptional,
  type InferAttributes,
  type InferCreationAttributes,
  type Sequelize,
} from 'sequelize';
import { InstanceCache, withCache } from '../../src/index.js';

/** Defines the model of one table. */
export function defineTable(sequelize: Sequelize, table: string) {
  class Row extends Model<InferAttributes<Row>, InferCreationAttributes<Row>> {
    static readonly cache = withCache(Row, { keys: ['id', 'name'], caches: () => [LatestOfTeam] });
    declare id: CreationOptional<number>;
    declare name: string;
    declare team: string;
    declare count: number;
  }

  class LatestOfTeam extends InstanceCache<Row> {
    static model = Row;
    static keyFields = ['team'] as const;

    override getInstance({ team }: { team: string }) {
      return this.queryset().findOne({ where: { team }, order: [['id', 'DESC']] });
    }
  }

  Object.defineProperty(LatestOfTeam, 'name', { value: `LatestOfTeam_${table}` });
  Row.init(
    {
      id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true },
      name: { type: DataTypes.STRING(40), unique: true },
      team: DataTypes.STRING(40),
      count: DataTypes.INTEGER,
    },
    { sequelize, modelName: `Row_${table}`, tableName: table, timestamps: false },
  );
  return { Row, LatestOfTeam };
}

export type TeamTable = ReturnType<typeof defineTable>;

/** The rows of a table before anything happens. */
const rows = [
  { name: 'a', team: 'x', count: 1 },
  { name: 'b', team: 'x', count: 2 },
  { name: 'c', team: 'x', count: 3 },
  { name: 'd', team: 'y', count: 4 },
] as const;

interface PlainRow {
  readonly id: number;
  readonly name: string;
  readonly team: string;
  readonly count: number;
}

const ids = [1, 2, 3, 4, 5, 6];
const names = ['a', 'b', 'c', 'd', 'new', 'other'];
const teams = ['x', 'y', 'z'];

/** Each lookup by what it asks for; a row as JSON, or null. */
export type Answers = ReadonlyMap<string, string | null>;

/** A row as it is compared. */
export const show = (row: PlainRow | null | undefined): string | null =>
  row == null ? null : JSON.stringify([row.id, row.name, row.team, row.count]);

/** Creates a table with its rows, on MariaDB. */
export async function createTable(sequelize: Sequelize, table: string): Promise<void> {
  await sequelize.query(
    `CREATE TABLE ${table} (id INT PRIMARY KEY AUTO_INCREMENT, name VARCHAR(40) UNIQUE, team VARCHAR(40), count INT, KEY (team))`,
  );
  const values = rows.map(({ name, team, count }) => `('${name}', '${team}', ${String(count)})`);
  await sequelize.query(`INSERT INTO ${table} (name, team, count) VALUES ${values.join(', ')}`);
}

/** Every lookup through the cache, all at once. */
export async function answersOf({ Row, LatestOfTeam }: TeamTable): Promise<Answers> {
  const lookups: [string, Promise<PlainRow | null>][] = [
    ...ids.map((id): [string, Promise<PlainRow | null>] => [`id ${String(id)}`, Row.cache.getOrNone({ id })]),
    ...names.map((name): [string, Promise<PlainRow | null>] => [`name ${name}`, Row.cache.getOrNone({ name })]),
    ...teams.map((team): [string, Promise<PlainRow | null>] => [`team ${team}`, new LatestOfTeam(team).resolve()]),
  ];
  return new Map(await Promise.all(lookups.map(async ([what, lookup]) => [what, show(await lookup)] as const)));
}

/** What the database answers to every lookup. */
export async function truthOf(sequelize: Sequelize, table: string): Promise<Answers> {
  const found = await sequelize.query<PlainRow>(`SELECT * FROM ${table} ORDER BY id`, { type: QueryTypes.SELECT });
  return new Map([
    ...ids.map((id) => [`id ${String(id)}`, show(found.find((row) => row.id === id))] as const),
    ...names.map((name) => [`name ${name}`, show(found.find((row) => row.name === name))] as const),
    ...teams.map((team) => [`team ${team}`, show(found.findLast((row) => row.team === team))] as const),
  ]);
}
