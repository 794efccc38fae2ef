/** A small cached model, for as many Sequelize instances as a test needs. */
import { DataTypes, type CreationOptional, type InferAttributes, type InferCreationAttributes, type Model, type ModelStatic, type Sequelize } from 'sequelize';
import { withCache } from '../../../src/index.js';

export interface Coin extends Model<InferAttributes<Coin>, InferCreationAttributes<Coin>> {
  id: CreationOptional<number>;
  name: string;
  worth: number;
}

/** Defines the model. */
export const defineCoins = (sequelize: Sequelize): ModelStatic<Coin> =>
  sequelize.define<Coin>(
    'Coin',
    {
      id: { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true },
      name: { type: DataTypes.STRING, unique: true },
      worth: DataTypes.INTEGER,
    },
    { timestamps: false },
  );

/** Declares what is cached of it. */
export const cacheCoins = (coins: ModelStatic<Coin>) => withCache(coins, { keys: ['id', 'name'], filters: ['worth'] });

/** Hooks as Sequelize keeps them. */
export type HookLists = Record<string, unknown>;

/** The options of a Sequelize instance, of which its types do not tell. */
export const optionsOf = (sequelize: Sequelize): { hooks?: HookLists | null } => (sequelize as unknown as { options: { hooks?: HookLists | null } }).options;

/** As JSON has it. */
export const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value));
