/**
 * Errors as web frameworks answer with them: Express, Koa, Fastify and Nest, each as it is installed and with
 * its own error handler. A client's mistake is a 400, an absent row a 404, a mistake of the program a 500.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import type { IncomingMessage, Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, describe, it, mock } from 'node:test';
import express from 'express';
import createFastify from 'fastify';
import Koa from 'koa';
import { DataTypes, Model, type CreationOptional, type ForeignKey, type InferAttributes, type InferCreationAttributes, type NonAttribute } from 'sequelize';
import { DoesNotExist, FlashError, InstanceCache, InvalidKeyValueError, NotFoundError, registerCache, UnknownTargetTypeError, withCache } from '../../src/index.js';
import { openBackend, type Backend } from '../support/backends.js';

class User extends Model<InferAttributes<User>, InferCreationAttributes<User>> {
  static readonly cache = withCache(User, { keys: ['id', 'name'] });
  declare id: CreationOptional<number>;
  declare name: string;
}

class Post extends Model<InferAttributes<Post>, InferCreationAttributes<Post>> {
  static readonly cache = withCache(Post, {
    keys: ['id', ['user', 'slug'], 'at', 'state', 'target'],
    filters: ['user'],
    genericForeignKeys: { target: { type: 'targetType', id: 'targetId', models: () => [User] } },
  });
  declare id: CreationOptional<number>;
  declare userId: ForeignKey<number>;
  declare user?: NonAttribute<User>;
  declare slug: string;
  declare at: CreationOptional<Date | null>;
  declare state: CreationOptional<string | null>;
  declare targetType: CreationOptional<string | null>;
  declare targetId: CreationOptional<number | null>;
}

class UserOfName extends InstanceCache<User> {
  static model = User;
  static keyFields = ['name'] as const;
}
class PostOfSlug extends InstanceCache<Post> {
  static model = Post;
  static keyFields = ['user', 'slug'] as const;
}

/** A request as every framework has it. */
interface Call {
  /** The parts of the path. */
  readonly path: readonly string[];
  readonly query: URLSearchParams;
}

/** Handlers pass what comes out of the URL, as JavaScript does. */
type Loose = Record<string, (...args: unknown[]) => Promise<unknown>>;
const users = User.cache as unknown as Loose;
const posts = Post.cache as unknown as Loose;
const at = ({ path }: Call, place: number): string => decodeURIComponent(path[place] ?? '');

const handlers: Readonly<Record<string, (call: Call) => Promise<unknown>>> = {
  or404: (call) => users.getOr404!({ id: at(call, 1) }),
  get: (call) => users.get!({ id: at(call, 1) }),
  number: (call) => users.get!({ id: Number(at(call, 1)) }),
  none: (call) => users.getOrNone!({ id: at(call, 1) }),
  bare: (call) => users.get!(at(call, 1)),
  bareList: ({ query }) => users.get!(query.getAll('name')),
  name: (call) => users.get!({ name: at(call, 1) }),
  filter: ({ query }) => posts.filter!({ user: query.get('user') ?? undefined }),
  list: ({ query }) => posts.filter!({ user: query.getAll('user') }),
  object: ({ query }) => posts.filter!({ user: JSON.parse(query.get('user') ?? '') as unknown }),
  many: ({ query }) => users.getMany!(query.getAll('id').map((id) => ({ id }))),
  notMany: ({ query }) => users.getMany!(query.get('id')),
  class: (call) => new UserOfName(at(call, 1)).resolve(),
  composite: (call) => new PostOfSlug(at(call, 1), at(call, 2)).resolve(),
  at: (call) => posts.get!({ at: at(call, 1) }),
  date: (call) => posts.get!({ at: new Date(at(call, 1)) }),
  date404: (call) => posts.getOr404!({ at: new Date(at(call, 1)) }),
  state: (call) => posts.get!({ state: at(call, 1) }),
  target: (call) => posts.get!({ target: [at(call, 1), at(call, 2)] }),
  pair: (call) => posts.get!({ target: at(call, 1) }),
  key: async (call) => User.cache.getKey({ id: at(call, 1) as unknown as number }),
  query: (call) => User.cache.getQuery({ id: at(call, 1) as unknown as number }).resolve(),
  // Mistakes of the program.
  unknownField: (call) => users.get!({ nick: at(call, 1) }),
  missingField: (call) => posts.get!({ slug: at(call, 1) }),
  wrongModel: async () => posts.filter!({ user: await Post.findOne() }),
  promise: () => users.get!({ id: Promise.resolve(1) }),
  function: () => users.get!({ id: () => 1 }),
  unsaved: () => posts.filter!({ user: User.build({ name: 'x' }) }),
};

/** URL, status, and what the answer's text says where a client is told. */
const calls: readonly (readonly [url: string, status: number, message?: RegExp])[] = [
  ['/or404/1', 200],
  ['/or404/99', 404, /^User \{ id: 99 \} does not exist\.$/],
  ['/or404/abc', 404, /^There is no such User\.$/],
  ['/or404/1.5', 404, /^There is no such User\.$/],
  ['/or404/1%27%20OR%201=1', 404, /^There is no such User\.$/],
  ['/get/1', 200],
  ['/get/99', 404, /^User \{ id: 99 \} does not exist\.$/],
  ['/get/abc', 400, /^Key field 'id' of User must be an integer .*; received 'abc'\.$/],
  ['/get/', 400, /received ''/],
  ['/get/12345678901234567890123', 404, /^User \{ id: .* \} does not exist\.$/],
  ['/number/99', 404],
  ['/number/abc', 400, /received NaN/],
  ['/none/99', 200],
  ['/none/abc', 400, /received 'abc'/],
  ['/bare/ann', 200],
  ['/bare/nobody', 404],
  ['/bareList?name=ann&name=bob', 400, /received an array of 2/],
  ['/name/ann', 200],
  ['/name/nobody', 404, /^User \{ name: 'nobody' \} does not exist\.$/],
  ['/filter?user=1', 200],
  ['/filter?user=abc', 400, /^Key field 'user' of Post must be a saved User or its id, .*; received 'abc'\.$/],
  ['/filter', 400, /^Key field 'user' of Post is undefined/],
  ['/list?user=1&user=2', 400, /received an array of 2/],
  ['/object?user={"gt":0}', 400, /received an object/],
  ['/object?user=true', 400, /received true/],
  ['/object?user={"constructor":{"name":"x"},"__proto__":{"a":1}}', 400, /received an object/],
  ['/many?id=1&id=1', 200],
  ['/many?id=1&id=abc', 400, /received 'abc'/],
  ['/notMany?id=1', 400, /^User\.cache\.getMany takes a list of keys; received '1'\.$/],
  ['/class/ann', 200],
  ['/class/nobody', 404],
  ['/composite/1/first', 200],
  ['/composite/1/none', 404, /^Post \{ user: 1, slug: 'none' \} does not exist\.$/],
  ['/composite/x/first', 400, /received 'x'/],
  ['/at/yesterday', 400, /^Key field 'at' of Post must be a Date, .*; received 'yesterday'\.$/],
  ['/date/2024-02-29T00:00:00Z', 404],
  ['/date/yesterday', 400, /received a Date \(invalid\)/],
  ['/date404/yesterday', 404, /^There is no such Post\.$/],
  ['/state/lost', 400, /^Key field 'state' of Post must be one of 'draft', 'sent'; received 'lost'\.$/],
  ['/target/User/1', 200],
  ['/target/User/99', 404],
  ['/target/User/x', 400, /the id must be/],
  ['/target/Admin/1', 400, /^'Admin' is not a target of the generic foreign key 'target' of model Post\. Its models are: User\.$/],
  ['/pair/User', 400, /a pair such as/],
  ['/key/abc', 400],
  ['/query/abc', 400],
  ['/query/99', 404],
  ['/unknownField/1', 500],
  ['/missingField/1', 500],
  ['/wrongModel', 500],
  ['/promise', 500],
  ['/function', 500],
  ['/unsaved', 500],
];

/** Texts out of a URL that must not reach a page or a log as they are. */
const hostile: readonly string[] = [
  '<script>alert(1)</script>',
  '"><img src=x onerror=alert(1)>',
  '&lt;b&gt;',
  'line\nbreak\r\nSet-Cookie: a=b',
  '\u001b[31mred',
  '\u202egnp.exe',
  '\u2028',
  'x'.repeat(100_000),
  '\uD83D\uDE00'.repeat(100),
];

interface Running {
  readonly url: string;
  close(): Promise<unknown>;
}

/** The text that a client is shown, of any of the frameworks' answers. */
const shown = (body: string): string => {
  try {
    return String((JSON.parse(body) as { message: unknown }).message);
  } catch {
    return body;
  }
};

const callOf = (url: string): Call & { readonly name: string } => {
  const { pathname, searchParams } = new URL(url, 'http://x');
  const [name = '', ...rest] = pathname.slice(1).split('/');
  return { name, path: [name, ...rest], query: searchParams };
};

const run = async (url: string): Promise<unknown> => {
  const call = callOf(url);
  const handler = handlers[call.name];
  assert.ok(handler, `no handler for ${url}`);
  return { found: await handler(call) };
};

async function listening(http: Server): Promise<Running> {
  if (!http.listening) await once(http, 'listening');
  return {
    url: `http://127.0.0.1:${String((http.address() as AddressInfo).port)}`,
    close: async () => {
      http.closeAllConnections();
      http.close();
      await once(http, 'close');
    },
  };
}

interface Framework {
  readonly name: string;
  /** Its own error handler says to the client what the error's message is. */
  readonly tells: boolean;
  start(): Promise<Running>;
}

const frameworks: readonly Framework[] = [
  {
    name: 'Express',
    // In production it answers with the status alone.
    tells: false,
    start: () => {
      const app = express();
      app.set('env', 'production');
      app.use(async (request, response) => {
        response.json(await run(request.originalUrl));
      });
      return listening(app.listen(0, '127.0.0.1'));
    },
  },
  {
    name: 'Express with a handler that sends the message as HTML',
    tells: true,
    start: () => {
      const app = express();
      app.use(async (request, response) => {
        response.json(await run(request.originalUrl));
      });
      app.use((error: Error & { readonly status?: number; readonly expose?: boolean }, _request: unknown, response: express.Response, _next: unknown) => {
        response.status(error.status ?? 500).send(error.expose === true ? error.message : 'Internal Server Error');
      });
      return listening(app.listen(0, '127.0.0.1'));
    },
  },
  {
    name: 'Koa',
    tells: true,
    start: () => {
      const app = new Koa();
      app.silent = true;
      app.use(async (context) => {
        context.body = JSON.stringify(await run(context.originalUrl));
      });
      return listening(app.listen(0, '127.0.0.1'));
    },
  },
  {
    name: 'Fastify',
    tells: true,
    start: async () => {
      const fastify = createFastify({ routerOptions: { maxParamLength: 1_000_000 } });
      fastify.all('/*', (request) => run(request.url));
      return { url: await fastify.listen({ port: 0, host: '127.0.0.1' }), close: () => fastify.close() };
    },
  },
  {
    name: 'Nest',
    tells: true,
    start: async () => {
      // Nest is an ES module.
      const [{ All, Controller, Module, Req }, { NestFactory }] = await Promise.all([import('@nestjs/common'), import('@nestjs/core')]);
      class Things {
        any(request: IncomingMessage & { readonly originalUrl: string }): Promise<unknown> {
          return run(request.originalUrl);
        }
      }
      All('*path')(Things.prototype, 'any', Object.getOwnPropertyDescriptor(Things.prototype, 'any') as TypedPropertyDescriptor<Things['any']>);
      Req()(Things.prototype, 'any', 0);
      Controller()(Things);
      class Application {}
      Module({ controllers: [Things] })(Application);
      const app = await NestFactory.create(Application, { logger: false });
      await app.listen(0, '127.0.0.1');
      return { url: await app.getUrl(), close: () => app.close() };
    },
  },
];

describe('errors in web frameworks', () => {
  let backend: Backend;
  before(async () => {
    backend = await openBackend('sqlite');
    const { sequelize } = backend;
    const id = { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true };
    User.init({ id, name: { type: DataTypes.STRING, unique: true } }, { sequelize, timestamps: false });
    Post.init(
      { id, userId: DataTypes.INTEGER, slug: DataTypes.STRING, at: DataTypes.DATE, state: DataTypes.ENUM('draft', 'sent'), targetType: DataTypes.STRING, targetId: DataTypes.INTEGER },
      { sequelize, timestamps: false },
    );
    Post.belongsTo(User, { as: 'user', foreignKey: 'userId' });
    registerCache(UserOfName);
    registerCache(PostOfSlug);
    await sequelize.sync();
    backend.setup();
    const user = await User.create({ name: 'ann' });
    await Post.create({ userId: user.id, slug: 'first', targetType: 'User', targetId: user.id });
  });
  after(() => backend.close());

  for (const { name, tells, start } of frameworks) {
    describe(name, () => {
      let server: Running;
      before(async () => {
        // Express logs every error of a request.
        mock.method(console, 'error', () => undefined);
        server = await start();
      });
      after(async () => {
        await server.close();
        mock.restoreAll();
      });

      for (const [url, status, message] of calls) {
        it(`${url}: ${String(status)}`, async () => {
          const response = await fetch(`${server.url}${url}`);
          const body = await response.text();
          assert.equal(response.status, status, body);
          if (status === 200) return;
          assert.doesNotMatch(body, /\bat .*\.[jt]s:\d+|SELECT|SQLITE/, 'no stack, no SQL');
          if (tells && message !== undefined) assert.match(shown(body), message);
          // Fastify shows the message of every error.
          if (status === 500 && name !== 'Fastify') assert.doesNotMatch(body, /User|Post/);
        });
      }

      it('hostile text is shown short, and neither as markup nor as control characters', async () => {
        for (const text of hostile) {
          if (text.length > 10_000 && name === 'Nest') continue;
          for (const route of ['get', 'name', 'state', 'filter?user=']) {
            const url = `${server.url}/${route}${route.endsWith('=') ? '' : '/'}${encodeURIComponent(text.slice(0, 5000))}`;
            const response = await fetch(url);
            const body = shown(await response.text());
            assert.ok(response.status === 400 || response.status === 404, `${route} ${String(response.status)}`);
            assert.ok(body.length < 300, `${String(body.length)} characters`);
            assert.ok(!body.includes(text));
            if (tells) assert.doesNotMatch(body.replaceAll(/&(?:quot|#39);/g, ''), /[<>&\p{Cc}\p{Cs}\u2028\u2029\u202a-\u202e]/u);
          }
        }
      });
    });
  }

  it('what is an input’s fault, and what the program’s, by the errors themselves', async () => {
    const statusOf = async (call: () => unknown): Promise<readonly unknown[]> => {
      try {
        await call();
      } catch (error) {
        const { status, statusCode, expose } = error as { status?: unknown; statusCode?: unknown; expose?: unknown };
        return [status, statusCode, expose];
      }
      return ['nothing is thrown'];
    };
    const input = ['x', '', 1.5, Number.NaN, Number.POSITIVE_INFINITY, true, undefined, [], ['1'], {}, { gt: 1 }, Object.create(null), new Date(Number.NaN)];
    for (const id of input) assert.deepEqual(await statusOf(() => users.get!({ id })), [400, 400, true], typeof id);
    const mistakes = [() => 1, Symbol('x'), Promise.resolve(1), new Map(), new Date(), Buffer.from('1'), new (class Id {})(), /x/];
    for (const id of mistakes) assert.deepEqual(await statusOf(() => users.get!({ id })), [undefined, undefined, false], typeof id);
    assert.deepEqual(await statusOf(() => users.get!({ id: 99 })), [404, 404, true]);
    assert.deepEqual(await statusOf(() => users.getOr404!({ id: 99 })), [404, 404, true]);
    assert.deepEqual(await statusOf(() => users.getOrNone!({ nick: 1 })), [undefined, undefined, undefined]);
  });

  it('a type that a row has, and no lookup was given, is no client’s fault', async () => {
    const post = (await Post.create({ userId: 1, slug: 'stray', targetType: 'Gone', targetId: 1 })) as Post & { getTarget(): Promise<unknown> };
    await assert.rejects(post.getTarget(), (error) => error instanceof UnknownTargetTypeError && error.status === undefined && !error.expose);
  });

  it('the cause of "not found" for a malformed value is the error about it', async () => {
    await assert.rejects(users.getOr404!({ id: 'abc' }), (error) => {
      assert.ok(error instanceof NotFoundError && error instanceof DoesNotExist);
      assert.ok(error.cause instanceof InvalidKeyValueError && error.cause instanceof FlashError && error.cause.unreadable);
      return true;
    });
  });
});
