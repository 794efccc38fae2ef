/** `sequelize-flash/testing`: a cache for test suites, and assertions about what something cost. */
import { announceCopy } from '../copies.js';

export { testCache, type StoreCounts, type TestCache, type TestCacheOptions } from './test-cache.js';
export { expectQueries, expectRoundTrips } from './expectations.js';

announceCopy();
