/** The application: everything but the port that it listens on, and the servers that it uses. */
import express, { type Express } from 'express';
import type { Sequelize } from 'sequelize';
import type { FlashCache } from 'sequelize-flash';
import { answerErrors, identify } from './http.js';
import { routes } from './routes.js';

export interface Services {
  readonly sequelize: Sequelize;
  readonly cache: FlashCache;
  /** How many SQL statements this process has sent. */
  readonly statements: () => number;
}

export function createApp({ sequelize, cache, statements }: Services): Express {
  const app = express();
  app.disable('x-powered-by');
  // For monitoring, so it must cost nothing itself: nobody is looked up.
  app.get('/stats', (_request, response) => {
    response.json({ statements: statements(), caches: cache.stats() });
  });
  app.use(express.json());
  app.use(identify);
  app.use(routes(sequelize));
  app.use((_request, response) => {
    response.status(404).json({ error: 'There is no such thing.' });
  });
  app.use(answerErrors);
  return app;
}
