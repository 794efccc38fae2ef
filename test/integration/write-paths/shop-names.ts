/** The names of the models that the write paths are tried on. */
import { modelNames as oracleNames } from '../../oracle/models.js';

export const moreNames = ['Item', 'Profile', 'Page', 'Reply', 'Shelf', 'Box', 'Thing', 'Town', 'Score'] as const;

export const shopNames = [...oracleNames, ...moreNames] as const;

export type ShopName = (typeof shopNames)[number];
