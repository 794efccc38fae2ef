/** The request cache: results of its work, and its places in frameworks. */
import { EventEmitter } from 'node:events';
import { createServer } from 'node:http';
import express from 'express';
import createFastify from 'fastify';
import { expectType, fastifyRequestCache, requestCache, withRequestCache } from '../support.js';
import { User } from './models.js';

export async function requestCaches(): Promise<void> {
  expectType<number>()(withRequestCache(() => 7));
  expectType<User | null>()(await withRequestCache(() => User.cache.getOrNone({ id: 1 }), { maxAgeMs: 1000, maxEntries: 10 }));
  await withRequestCache(async () => {});

  const app = express();
  app.use(requestCache());
  app.use('/users', requestCache({ maxAgeMs: 1000 }));
  app.get('/users/:id', requestCache(), (_request, response) => {
    response.end();
  });
  express.Router().use(requestCache());
  createServer((request, response) => {
    requestCache()(request, response, () => response.end());
  });

  const fastify = createFastify();
  fastify.addHook('onRequest', fastifyRequestCache);
  const limited = requestCache({ maxAgeMs: 2000 });
  fastify.addHook('onRequest', (request, reply, done) => limited(request.raw, reply.raw, done));

  // As Nest declares a functional middleware, without a type of its own.
  // oxlint-disable-next-line typescript/no-explicit-any -- as Nest has it
  const functional: (request: any, response: any, next: (error?: any) => void) => any = requestCache();
  functional({}, new EventEmitter(), () => undefined);

  // @ts-expect-error a promise in place of what makes it
  withRequestCache(User.cache.get({ id: 1 }));
  // @ts-expect-error misspelt name
  withRequestCache(() => 7, { maxAge: 1000 });
  // @ts-expect-error not a number
  requestCache({ maxEntries: '10' });
  // @ts-expect-error of the wrong framework
  fastify.addHook('onRequest', requestCache());
  // @ts-expect-error of the wrong framework
  app.use(fastifyRequestCache);
}
