/**
 * npm run blog [-- --mysql] [--port 3000] [--servers 1]
 *
 * Starts the blog. Without --mysql its database is SQLite in this process, and its cache the memory
 * store. With it there can be several servers, each a process of its own on the ports that follow:
 * what one of them writes, the next request to any of them sees.
 */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { parseArgs } from 'node:util';
import { Sequelize } from 'sequelize-typescript';
import { setupCache } from 'sequelize-flash';
import { mysqlAndMemcached, sqliteAndMemory, type Stack } from '../support/stack.js';
import { createApp } from './app.js';
import { models } from './models.js';
import { seed } from './seed.js';

interface Options {
  readonly mysql: boolean;
  readonly port: number;
  readonly servers: number;
  /** A database that is there already: that of the first server. */
  readonly join: string | undefined;
}

async function main(): Promise<void> {
  const options = readOptions();
  const { mysql, port, servers, join } = options;
  const stack = mysql ? mysqlAndMemcached('npm run blog', join) : await sqliteAndMemory();
  const isFirst = join === undefined;
  if (isFirst) await stack.create();
  try {
    const close = await serve(stack, port, isFirst);
    const others = Array.from({ length: servers - 1 }, (_, at) => startAnother(stack, port === 0 ? 0 : port + 1 + at));
    await untilTold();
    await Promise.all(others.map(end));
    await close();
  } finally {
    if (isFirst) await stack.drop();
  }
}

/** Resolves to what ends the server. */
async function serve({ title, options, store }: Stack, port: number, isFirst: boolean): Promise<() => Promise<void>> {
  let statements = 0;
  const sequelize = new Sequelize({ ...options, models, logging: () => (statements += 1) });
  // After the models, in every process that reads or writes them. Their caches came with routes.ts.
  const cache = setupCache(sequelize, { store });
  const server = createServer(createApp({ sequelize, cache, statements: () => statements }));
  const close = async (): Promise<void> => {
    server.closeAllConnections();
    if (server.listening) await new Promise((resolve) => server.close(resolve));
    await cache.close();
    await store.close();
    await sequelize.close();
  };
  try {
    if (isFirst) {
      await sequelize.sync();
      await seed();
    }
    server.listen(port, '127.0.0.1');
    await once(server, 'listening');
  } catch (error) {
    await close();
    throw error;
  }
  console.log(`http://127.0.0.1:${(server.address() as AddressInfo).port} on ${title}`);
  return close;
}

/** A further server on the same database and store. It ends with this process, however that ends. */
const startAnother = ({ database }: Stack, port: number): ChildProcess =>
  fork(__filename, ['--mysql', '--join', database, '--port', String(port)]);

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.disconnect();
  await once(child, 'exit');
}

async function untilTold(): Promise<void> {
  await Promise.race([once(process, 'SIGINT'), once(process, 'SIGTERM'), once(process, 'disconnect')]);
}

function readOptions(): Options {
  const { values } = parseArgs({
    options: {
      mysql: { type: 'boolean', default: false },
      port: { type: 'string', default: '3000' },
      servers: { type: 'string', default: '1' },
      join: { type: 'string' },
    },
  });
  const { mysql, join } = values;
  const [port, servers] = [Number(values.port), Number(values.servers)];
  if (!Number.isInteger(port) || port < 0 || port > 65_535) throw new Error(`--port must be a port's number; received ${values.port}.`);
  if (!Number.isInteger(servers) || servers < 1) throw new Error(`--servers must be a whole number; received ${values.servers}.`);
  if (!mysql && servers > 1) throw new Error('Several servers need a database and a store that they can share: add --mysql.');
  return { mysql, port, servers, join };
}

main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
