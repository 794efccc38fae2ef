/** The models of one Sequelize instance in some surroundings, and the rows that every comparison begins with. */
import { DataTypes, Model, Op, type ModelAttributeColumnOptions, type ModelOptions, type ModelStatic, type Sequelize } from 'sequelize';
import { Column, Model as TypescriptModel, Table, type Sequelize as TypescriptSequelize } from 'sequelize-typescript';
import { withCache } from '../../src/index.js';
import type { Surroundings } from './axes.js';
import { addHooks } from './hooks.js';

/** The models, and what is known of their keys. */
export interface Models {
  readonly Item: ModelStatic<Model>;
  readonly Owner: ModelStatic<Model>;
  /** Only where the item's key is one that a join table can refer to. */
  readonly Tag: ModelStatic<Model> | undefined;
  /** Refers to items and owners by type and id. */
  readonly Comment: ModelStatic<Model> | undefined;
}

type Values = Readonly<Record<string, unknown>>;
type Columns = Record<string, ModelAttributeColumnOptions>;

/** The item's primary key for the `n`th row. Empty where the database chooses it. */
export function keyOf({ key }: Surroundings, n: number): Values {
  switch (key) {
    case 'id':
    case 'implicit':
      return { id: n };
    case 'string':
      return { code: `Key ${n}` };
    case 'composite':
      return { part: n % 2, code: `k${n}` };
    case 'bigint':
      return { id: String(9007199254740990n + BigInt(n)) };
    case 'uuid':
      return { id: `00000000-0000-4000-8000-00000000000${n}` };
    case 'date':
      return { moment: new Date(Date.UTC(2024, 0, n, 10, 30)) };
  }
}

/** Whether the database chooses the item's key. */
export const isAutomatic = ({ key }: Surroundings): boolean => key === 'id' || key === 'implicit';

const cities = ['rome', 'berlin'] as const;

/** The `n`th item's values without its key. */
export const valuesOf = (n: number): Values => ({
  name: `n${n}`,
  city: cities[n % 2],
  level: n === 6 ? null : n,
  score: `${n}.50`,
  big: String(9007199254740993n + BigInt(n)),
  at: new Date(Date.UTC(2023, 5, n, 22, 15)),
  day: `2023-12-0${n}`,
  flag: n % 2 === 0,
  kind: n === 5 ? 'old' : 'new',
  data: { n, list: [n, null], text: 'ä' },
  bytes: Buffer.from([n, 0, 255]),
  note: `note ${n}`,
  visits: n,
  ownerId: n === 4 ? null : 1 + (n % 2),
});

/** A row that is not there yet, with its key where the program chooses that. */
export const newRow = (surroundings: Surroundings, n: number): Values => ({
  ...valuesOf(n),
  name: `created ${n}`,
  ...(isAutomatic(surroundings) ? {} : keyOf(surroundings, n)),
});

const numbers = [1, 2, 3, 4, 5, 6] as const;

/** The rows of each model, in an order in which they can be inserted. */
export function baseRows(models: Models, surroundings: Surroundings): readonly (readonly [ModelStatic<Model>, readonly Values[]])[] {
  const { Item, Owner, Tag, Comment } = models;
  const keyName = Item.primaryKeyAttributes[0] ?? 'id';
  const through = Tag === undefined ? undefined : Item.sequelize?.models.ItemTag;
  return [
    [Owner, [1, 2, 3].map((id) => ({ id, name: `owner ${id}`, rank: id }))],
    [Item, numbers.map((n) => ({ ...keyOf(surroundings, n), ...valuesOf(n) }))],
    ...(Tag === undefined || through === undefined
      ? []
      : ([
          [Tag, [1, 2].map((id) => ({ id, word: `tag ${id}` }))],
          [through, [1, 2].flatMap((n) => [1, 2].map((tagId) => ({ itemKey: keyOf(surroundings, n)[keyName], tagId }))).slice(0, 3)],
        ] as const)),
    ...(Comment === undefined
      ? []
      : ([
          [
            Comment,
            [
              { id: 1, text: 'of an item', targetType: 'Item', targetId: 1 },
              { id: 2, text: 'of an owner', targetType: 'Owner', targetId: 1 },
            ],
          ],
        ] as const)),
  ];
}

function keyColumns({ key }: Surroundings): Columns {
  const primaryKey = true;
  switch (key) {
    case 'id':
      return { id: { type: DataTypes.INTEGER, primaryKey, autoIncrement: true } };
    case 'implicit':
      return {};
    case 'string':
      return { code: { type: DataTypes.STRING(20), primaryKey } };
    case 'composite':
      return { part: { type: DataTypes.INTEGER, primaryKey }, code: { type: DataTypes.STRING(20), primaryKey } };
    case 'bigint':
      return { id: { type: DataTypes.BIGINT, primaryKey } };
    case 'uuid':
      return { id: { type: DataTypes.UUID, primaryKey } };
    case 'date':
      return { moment: { type: DataTypes.DATE, primaryKey } };
  }
}

function itemColumns(surroundings: Surroundings): Columns {
  const columns: Columns = {
    ...keyColumns(surroundings),
    name: { type: DataTypes.STRING(40), allowNull: false, unique: true },
    city: { type: DataTypes.STRING(30) },
    level: { type: DataTypes.INTEGER },
    score: { type: DataTypes.DECIMAL(10, 2) },
    big: { type: DataTypes.BIGINT },
    at: { type: DataTypes.DATE },
    day: { type: DataTypes.DATEONLY },
    flag: { type: DataTypes.BOOLEAN },
    kind: { type: DataTypes.ENUM('new', 'old') },
    data: { type: DataTypes.JSON },
    bytes: { type: DataTypes.BLOB },
    note: { type: DataTypes.STRING(60) },
    visits: { type: DataTypes.INTEGER, allowNull: false, defaultValue: 0 },
  };
  if (surroundings.references === 'null') columns.level = { type: DataTypes.INTEGER, references: null as never };
  if (surroundings.accessors === 'on') {
    columns.note = {
      type: DataTypes.STRING(60),
      get(this: Model): unknown {
        const note: unknown = this.getDataValue('note');
        return typeof note === 'string' ? note.toUpperCase() : note;
      },
      set(this: Model, value: unknown) {
        this.setDataValue('note', typeof value === 'string' ? value.trim() : value);
      },
    };
    columns.label = {
      type: new DataTypes.VIRTUAL(DataTypes.STRING, ['name']),
      get(this: Model): string {
        return `item ${String(this.getDataValue('name'))}`;
      },
    };
  }
  if (surroundings.mapped === 'on') {
    for (const [name, column] of Object.entries(columns)) if (name !== 'label') column.field = `c_${name}`;
  }
  return columns;
}

function itemOptions({ paranoid, version, scope }: Surroundings): ModelOptions {
  return {
    ...(paranoid === 'model' ? { paranoid: true } : {}),
    ...(version === 'on' ? { version: true } : {}),
    ...(scope === 'where' ? { defaultScope: { where: { kind: { [Op.ne]: 'old' } } } } : {}),
    ...(scope === 'attributes' ? { defaultScope: { attributes: { exclude: ['note'] } } } : {}),
    ...(scope === 'order' ? { defaultScope: { order: [['visits', 'DESC']] } } : {}),
    scopes: {
      inBerlin: { where: { city: 'berlin' } },
      ofOwner: (id: number) => ({ where: { ownerId: id } }),
      withOwner: { include: [{ association: 'owner' }] },
    },
  };
}

/** An item's class in the style that is asked for. */
function defineItem(sequelize: Sequelize, surroundings: Surroundings, plugin: boolean): ModelStatic<Model> {
  const columns = itemColumns(surroundings);
  const options = itemOptions(surroundings);
  switch (surroundings.style) {
    case 'define':
      return sequelize.define('Item', columns, options);
    case 'class': {
      class Item extends Model {}
      Item.init(columns, { ...options, sequelize });
      return Item;
    }
    case 'mixin': {
      const Base = plugin ? withCache(Model) : Model;
      class Item extends Base {}
      Item.init(columns, { ...options, sequelize });
      return Item;
    }
    case 'typescript': {
      class Item extends TypescriptModel {}
      for (const [name, column] of Object.entries(columns)) Column(column as never)(Item.prototype, name);
      Table({ modelName: 'Item', ...options } as never)(Item);
      (sequelize as TypescriptSequelize).addModels([Item]);
      return Item;
    }
  }
}

/**
 * Gives items a default scope that joins, as programs do when all models are there: after set-up. A model
 * that has it before is refused; one that gets it later is read by plain finds from then on.
 */
export function addJoiningScope({ Item }: Models, { scope }: Surroundings): void {
  if (scope === 'include') Item.addScope('defaultScope', { include: [{ association: 'owner' }] }, { override: true });
  if (scope === 'include with a condition') Item.addScope('defaultScope', { include: [{ association: 'owner', where: { rank: [1, 2] } }] }, { override: true });
}

/** Defines all models anew for this Sequelize instance. */
export function defineModels(sequelize: Sequelize, surroundings: Surroundings, plugin: boolean): Models {
  const id = (): ModelAttributeColumnOptions => ({ type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true });
  const Item = defineItem(sequelize, surroundings, plugin);
  const Owner = sequelize.define('Owner', {
    id: id(),
    name: { type: DataTypes.STRING(40), allowNull: false, unique: true },
    rank: DataTypes.INTEGER,
  });
  const foreignKey = surroundings.mapped === 'on' ? { name: 'ownerId', field: 'c_owner' } : 'ownerId';
  const rule = {
    'set null': { onDelete: 'SET NULL' },
    cascade: { onDelete: 'CASCADE' },
    'cascade with hooks': { onDelete: 'CASCADE', hooks: true },
    'no constraint': { constraints: false },
  }[surroundings.owner];
  Owner.hasMany(Item, { as: 'items', foreignKey, ...rule });
  // With hooks on both sides Sequelize destroys the one for the other for ever.
  Item.belongsTo(Owner, { as: 'owner', foreignKey, ...rule, hooks: false });

  const single = surroundings.key !== 'composite' && surroundings.key !== 'date';
  const Tag = single ? sequelize.define('Tag', { id: id(), word: { type: DataTypes.STRING(20), unique: true } }) : undefined;
  if (Tag !== undefined) {
    Item.belongsToMany(Tag, { as: 'tags', through: 'ItemTag', foreignKey: 'itemKey', otherKey: 'tagId' });
    Tag.belongsToMany(Item, { as: 'items', through: 'ItemTag', foreignKey: 'tagId', otherKey: 'itemKey' });
  }
  const Comment = isAutomatic(surroundings)
    ? sequelize.define('Comment', { id: id(), text: DataTypes.STRING(40), targetType: DataTypes.STRING(20), targetId: DataTypes.INTEGER })
    : undefined;
  addHooks(Item, surroundings.hooks);
  if (surroundings.bulkBuild === 'on') overrideBulkBuild(Item);
  return { Item, Owner, Tag, Comment };
}

/** Puts something on every instance that was read, as programs do that count or decorate them. */
function overrideBulkBuild(Item: ModelStatic<Model>): void {
  const inherited = Item.bulkBuild as (this: ModelStatic<Model>, ...args: unknown[]) => Model[];
  Object.assign(Item, {
    bulkBuild(this: ModelStatic<Model>, ...args: unknown[]): Model[] {
      const built = inherited.apply(this, args);
      for (const one of built) (one as Model & { stamp?: string }).stamp = 'built';
      return built;
    },
  });
}

export const quotedTable = (model: ModelStatic<Model>): string =>
  (model.sequelize as unknown as { getQueryInterface(): { queryGenerator: { quoteTable(name: unknown): string } } })
    .getQueryInterface()
    .queryGenerator.quoteTable(model.getTableName());

/** Statements that let the database refuse every other UPDATE of items that a connection sends. */
export function refusalsOf({ Item }: Models, { retry }: Surroundings): readonly string[] {
  if (retry !== 'database') return [];
  // Within one statement the time stands still: its second row is not refused.
  return [
    `CREATE TRIGGER refusal BEFORE UPDATE ON ${quotedTable(Item)} FOR EACH ROW ` +
      'IF NOT (@allowed <=> NOW(6)) THEN ' +
      'IF COALESCE(@refused, 0) THEN SET @refused = 0, @allowed = NOW(6); ' +
      "ELSE SET @refused = 1; SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'The trigger says: try again.'; END IF; END IF",
  ];
}
