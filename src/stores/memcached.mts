export * from './memcached.js';
