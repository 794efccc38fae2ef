/** Options of the reads, and what they do to the results. */
import type { Transaction } from 'sequelize';
import type { ReadOptions } from '../support.js';
import { expectType } from '../support.js';
import { User } from './models.js';

export async function readOptions(transaction: Transaction, options: ReadOptions, flag: boolean): Promise<void> {
  expectType<User | null>()(await User.cache.getOrNone({ id: 1 }, {}));
  expectType<User | null>()(await User.cache.getOrNone({ id: 1 }, undefined));
  expectType<User | null>()(await User.cache.getOrNone({ id: 1 }, { refresh: true }));
  expectType<User | null>()(await User.cache.getOrNone({ id: 1 }, { transaction }));
  expectType<User | null>()(await User.cache.getOrNone({ id: 1 }, { transaction: null }));
  expectType<User | null>()(await User.cache.getOrNone({ id: 1 }, { transaction: undefined }));
  expectType<User | null>()(await User.cache.getOrNone({ id: 1 }, { cacheOnly: false }));

  // undefined: not in the cache
  expectType<User | null | undefined>()(await User.cache.getOrNone({ id: 1 }, { cacheOnly: true }));
  expectType<User | null | undefined>()(await User.cache.getOrNone({ id: 1 }, { cacheOnly: flag }));
  expectType<User | null | undefined>()(await User.cache.getOrNone({ id: 1 }, options));
  expectType<(User | null | undefined)[]>()(await User.cache.getMany([{ id: 1 }], { cacheOnly: true }));
  expectType<(User | null)[]>()(await User.cache.getMany([{ id: 1 }], { refresh: true }));

  // the other reads have an error for it
  expectType<User>()(await User.cache.get({ id: 1 }, { cacheOnly: true }));
  expectType<User>()(await User.cache.getOr404({ id: 1 }, options));
  expectType<User>()(await User.cache.getQuery({ id: 1 }).resolve({ cacheOnly: true, transaction }));

  // @ts-expect-error misspelt name
  void User.cache.get({ id: 1 }, { refersh: true });
  // @ts-expect-error misspelt beside a known option, where the result depends on the options
  void User.cache.getOrNone({ id: 1 }, { refresh: true, cacheonly: true });
  // @ts-expect-error not a boolean
  void User.cache.getOrNone({ id: 1 }, { cacheOnly: 1 });
  // @ts-expect-error not a transaction
  void User.cache.get({ id: 1 }, { transaction: 'serializable' });
  // @ts-expect-error an option of Sequelize that the cache does not have
  void User.cache.get({ id: 1 }, { paranoid: false });
  // @ts-expect-error options where the lookup should be
  void User.cache.get({ refresh: true });
}
