/**
 * One request on real stacks: what a lookup costs the second time, what voids it, and servers with
 * hundreds of requests at once, of which none may see another's answers or an old row.
 */
import assert from 'node:assert/strict';
import { AsyncLocalStorage } from 'node:async_hooks';
import { once } from 'node:events';
import { request as httpRequest, type Server, type ServerResponse } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { after, before, beforeEach, describe, it } from 'node:test';
import express from 'express';
import createFastify from 'fastify';
import { DataTypes, literal, Model, type CreationOptional, type InferAttributes, type InferCreationAttributes } from 'sequelize';
import { fastifyRequestCache, InstanceCache, requestCache, withCache, withRequestCache } from '../../src/index.js';
import { beforeSending } from '../support/before-sending.js';
import { backendNames, openBackend, type Backend } from '../support/backends.js';
import { holdFirst, type Operation } from '../support/observed-store.js';
import { Hold } from '../support/statements.js';

const operations: readonly Operation[] = ['get', 'add', 'compareAndSwap', 'compareAndDelete', 'delete'];

/** Runs as another part of the program does, outside of any request. */
const outside = AsyncLocalStorage.snapshot() as <T>(work: () => Promise<T>) => Promise<T>;

/** Servers of these frameworks, set up as the README says. */
const frameworks: readonly { readonly name: string; start(handle: Handle): Promise<Running> }[] = [
  {
    name: 'Express',
    start: (handle) => {
      const app = express();
      app.use(requestCache());
      app.use(express.json());
      app.use(async (request, response) => {
        const { at } = (request.body ?? { at: 0 }) as { at: number };
        response.json(await handle(request.path, { at, response }));
      });
      return listening(app.listen(0, '127.0.0.1'));
    },
  },
  {
    name: 'Fastify',
    start: async (handle) => {
      const fastify = createFastify();
      fastify.addHook('onRequest', fastifyRequestCache);
      fastify.all('/*', async (request, reply) => {
        const { at } = (request.body ?? { at: 0 }) as { at: number };
        void reply.type('application/json');
        return JSON.stringify(await handle(request.url, { at, response: reply.raw }));
      });
      const url = await fastify.listen({ port: 0, host: '127.0.0.1' });
      return { url, http: fastify.server, close: () => fastify.close() };
    },
  },
];

async function listening(http: Server): Promise<Running> {
  if (!http.listening) await once(http, 'listening');
  return {
    url: `http://127.0.0.1:${String((http.address() as AddressInfo).port)}`,
    http,
    close: async () => {
      http.close();
      http.closeAllConnections();
      await once(http, 'close');
    },
  };
}

for (const backendName of backendNames) {
  class Page extends Model<InferAttributes<Page>, InferCreationAttributes<Page>> {
    static readonly cache = withCache(Page, { keys: ['id', 'slug'], caches: () => [LastPageCacheOnShelf, FragileCacheOnShelf] });
    declare id: CreationOptional<number>;
    declare slug: string;
    declare shelf: number;
    declare version: CreationOptional<number>;
    declare at: Date;
    declare picture: Buffer;
    declare tags: { names: string[] };
  }

  class LastPageCacheOnShelf extends InstanceCache<Page> {
    static model = Page;
    static keyFields = ['shelf'] as const;
    override getInstance({ shelf }: { shelf: number }): Promise<Page | null> {
      return this.queryset().findOne({ where: { shelf }, order: [['id', 'DESC']] });
    }
  }

  let failure: Error | undefined;
  class FragileCacheOnShelf extends InstanceCache<Page> {
    static model = Page;
    static keyFields = ['shelf'] as const;
    override async getInstance({ shelf }: { shelf: number }): Promise<Page | null> {
      if (failure !== undefined) throw failure;
      return this.queryset().findOne({ where: { shelf } });
    }
  }

  /** A key that the default scope hides. */
  class Secret extends Model<InferAttributes<Secret>, InferCreationAttributes<Secret>> {
    static readonly cache = withCache(Secret, { keys: ['token'] });
    declare id: CreationOptional<number>;
    declare token: string;
    declare text: string;
  }

  describe(`the request cache on ${backendName}`, () => {
    let backend: Backend;
    let page: Page;
    let serial = 0;

    before(async () => {
      // A name of its own: with `:memory:` all of Sequelize's transactions share one connection.
      const storage = backendName === 'sqlite' ? { options: { storage: 'request-cache' } } : {};
      backend = await openBackend(backendName, { define: { timestamps: false }, ...storage });
      const { sequelize } = backend;
      const id = { type: DataTypes.INTEGER, primaryKey: true, autoIncrement: true };
      Page.init(
        {
          id,
          slug: { type: DataTypes.STRING(40), allowNull: false, unique: true },
          shelf: { type: DataTypes.INTEGER, allowNull: false },
          version: { type: DataTypes.INTEGER, allowNull: false, defaultValue: 0 },
          at: { type: DataTypes.DATE(3), allowNull: false },
          picture: { type: DataTypes.BLOB, allowNull: false },
          tags: { type: DataTypes.JSON, allowNull: false },
        },
        { sequelize, modelName: 'Page', tableName: 'pages' },
      );
      Secret.init(
        { id, token: { type: DataTypes.STRING(40), allowNull: false, unique: true }, text: { type: DataTypes.STRING(40) } },
        { sequelize, modelName: 'Secret', tableName: 'secrets', defaultScope: { attributes: { exclude: ['token'] } } },
      );
      backend.setup({ leaseWait: 50 });
      await sequelize.sync();
    });

    after(() => backend.close());

    beforeEach(async () => {
      page = await newPage();
    });

    function values(): { slug: string; shelf: number; at: Date; picture: Buffer; tags: { names: string[] } } {
      serial += 1;
      return { slug: `page ${String(serial)}`, shelf: serial, at: new Date(1_700_000_000_123), picture: Buffer.from('png'), tags: { names: ['a'] } };
    }

    /** A row that nobody has looked up. */
    const newPage = (): Promise<Page> => Page.create(values());

    /** What `work` costs: statements, and operations of the store. */
    async function costOf<T>(work: () => Promise<T>): Promise<{ result: T; sql: number; store: number }> {
      backend.reset();
      const result = await work();
      return { result, sql: backend.sql.length, store: operations.reduce((sum, operation) => sum + backend.store.count(operation), 0) };
    }

    async function costsNothing<T>(work: () => Promise<T>): Promise<T> {
      const { result, sql, store } = await costOf(work);
      assert.deepEqual({ sql, store }, { sql: 0, store: 0 }, backend.sql.join('\n'));
      return result;
    }

    /** Asks at least the store. */
    async function costsSomething<T>(work: () => Promise<T>): Promise<T> {
      const { result, sql, store } = await costOf(work);
      assert.ok(sql + store > 0, 'it was kept');
      return result;
    }

    /** A write that this process's cache does not see, and what another one's would do to the store. */
    async function writeElsewhere({ id }: Page, version: number): Promise<void> {
      const { connectionManager } = backend.sequelize as unknown as {
        readonly connectionManager: {
          getConnection(options: object): Promise<Record<'query' | 'run', (sql: string, done: (error: Error | null) => void) => void>>;
          releaseConnection(connection: object): void;
        };
      };
      const connection = await connectionManager.getConnection({ type: 'write', uuid: 'default' });
      await new Promise<void>((resolve, reject) => {
        connection[backendName === 'sqlite' ? 'run' : 'query'](
          `UPDATE pages SET version = ${String(version)} WHERE id = ${String(id)}`,
          (error) => {
            if (error === null) resolve();
            else reject(error);
          },
        );
      });
      connectionManager.releaseConnection(connection);
      await backend.store.delete(Page.cache.getKey({ id }));
    }

    describe('the same lookup twice', () => {
      const lookups: Readonly<Record<string, () => Promise<unknown>>> = {
        'by primary key': () => Page.cache.get({ id: page.id }),
        'by another key': () => Page.cache.get({ slug: page.slug }),
        'by a bare value': () => Page.cache.getOrNone(page.slug),
        'of no row': () => Page.cache.getOrNone({ id: 1_000_000 }),
        'by a query': () => Page.cache.getQuery({ slug: page.slug }).resolve(),
        'of many': () => Page.cache.getMany([{ id: page.id }, { slug: page.slug }, { id: 1_000_001 }]),
        'of a custom cache': () => new LastPageCacheOnShelf(page.shelf).resolve(),
        'of a custom cache that has no answer': () => new LastPageCacheOnShelf(1_000_000).resolve(),
      };
      for (const [name, lookup] of Object.entries(lookups)) {
        it(`${name} costs one`, async () => {
          const [first, second] = await withRequestCache(async () => {
            const cold = await costsSomething(lookup);
            return [cold, await costsNothing(lookup)];
          });
          assert.deepEqual(second, first);
          if (first instanceof Model) assert.notEqual(second, first);
          // The next request asks the store, once.
          await withRequestCache(async () => {
            const { result, sql } = await costOf(lookup);
            assert.equal(sql, 0);
            assert.ok(backend.store.count('get') > 0);
            assert.deepEqual(await costsNothing(lookup), result);
          });
        });
      }

      it('costs two without a request', async () => {
        await Page.cache.get({ id: page.id });
        for (let at = 0; at < 2; at += 1) {
          await costOf(() => Page.cache.get({ id: page.id }));
          assert.equal(backend.store.count('get'), 1);
        }
      });

      it('by a key that the default scope hides is the instance that a find returns', async () => {
        const { token } = await Secret.create({ token: `token ${String(serial)}`, text: 'hidden' });
        await withRequestCache(async () => {
          const first = await Secret.cache.get({ token });
          const second = await costsNothing(() => Secret.cache.get({ token }));
          const found = await Secret.findOne({ where: { token } });
          for (const one of [first, second]) {
            assert.deepEqual(one.get(), found!.get());
            assert.equal(one.token, undefined);
            assert.equal(one.isNewRecord, false);
            assert.equal(one.changed(), false);
          }
        });
      });

      it('while the first is under way shares its load, each with an instance of its own', async () => {
        await withRequestCache(async () => {
          backend.reset();
          const hold = holdFirst(backend.store, (operation) => operation === 'get');
          const first = Page.cache.get({ id: page.id });
          await hold.reached;
          const second = Page.cache.get({ id: page.id });
          hold.release();
          const [one, other] = await Promise.all([first, second]);
          assert.equal(backend.sql.length, 1);
          // The look, and the one for the lease's token.
          assert.equal(backend.store.count('get'), 2);
          assert.notEqual(one, other);
          assert.deepEqual(other.get(), one.get());
        });
      });

      it('can be saved and reloaded', async () => {
        await withRequestCache(async () => {
          await Page.cache.get({ id: page.id });
          const copy = await costsNothing(() => Page.cache.get({ id: page.id }));
          copy.version = 7;
          assert.deepEqual(copy.changed(), ['version']);
          await copy.save();
          assert.equal((await page.reload()).version, 7);
        });
      });
    });

    it('gives nobody an instance that somebody else may change', async () => {
      await withRequestCache(async () => {
        const tagsOf = ({ tags }: Page): string[] | undefined => (typeof tags === 'object' ? tags.names : undefined);
        const spoil = (one: Page): void => {
          one.slug = 'spoilt';
          one.at.setTime(0);
          one.picture.fill(0);
          tagsOf(one)?.push('spoilt');
        };
        const first = await Page.cache.get({ id: page.id });
        spoil(first);
        for (let at = 0; at < 2; at += 1) {
          const next = await costsNothing(() => Page.cache.get({ id: page.id }));
          assert.equal(next.slug, page.slug);
          assert.equal(next.at.getTime(), 1_700_000_000_123);
          assert.equal(next.picture.toString(), 'png');
          assert.deepEqual(tagsOf(next) ?? ['a'], ['a']);
          assert.equal(next.changed(), false);
          spoil(next);
        }
      });
    });

    describe('a write of this process is seen at once', () => {
      const id = (): { where: { id: number } } => ({ where: { id: page.id } });
      const writes: Readonly<Record<string, () => Promise<unknown>>> = {
        save: () => page.update({ version: 1 }),
        increment: () => page.increment('version'),
        'bulk update by id': () => Page.update({ version: 1 }, id()),
        'bulk update by a condition': () => Page.update({ version: 1 }, { where: { shelf: page.shelf } }),
        'bulk update without hooks': () => Page.update({ version: 1 }, { ...id(), hooks: false }),
        upsert: () => Page.upsert({ ...page.toJSON(), version: 1 }),
        'raw SQL': () => backend.sequelize.query(`UPDATE pages SET version = 1 WHERE id = ${String(page.id)}`),
        'the commit of a transaction': () =>
          backend.sequelize.transaction(async (transaction) => {
            await page.update({ version: 1 }, { transaction });
            assert.equal((await costsNothing(() => Page.cache.get({ id: page.id }))).version, 0, 'it is not committed');
          }),
        'the commit of a transaction with raw SQL': () =>
          backend.sequelize.transaction((transaction) =>
            backend.sequelize.query(`UPDATE pages SET version = 1 WHERE id = ${String(page.id)}`, { transaction }),
          ),
      };
      for (const [name, write] of Object.entries(writes)) {
        it(name, async () => {
          await withRequestCache(async () => {
            const lookups = [
              () => Page.cache.get({ id: page.id }),
              () => Page.cache.get({ slug: page.slug }),
              () => new LastPageCacheOnShelf(page.shelf).resolve() as Promise<Page>,
            ];
            for (const lookup of lookups) {
              await lookup();
              assert.equal((await costsNothing(lookup)).version, 0);
            }
            await write();
            for (const lookup of lookups) {
              assert.equal((await lookup()).version, 1);
              assert.equal((await costsNothing(lookup)).version, 1);
            }
          });
        });
      }

      it('in another request', async () => {
        await withRequestCache(async () => {
          await Page.cache.get({ id: page.id });
          await outside(() => page.update({ version: 1 }));
          assert.equal((await Page.cache.get({ id: page.id })).version, 1);
        });
      });

      it('of a row that did not exist, and of one that is gone', async () => {
        await withRequestCache(async () => {
          const given = values();
          const lookup = (): Promise<Page | null> => Page.cache.getOrNone({ slug: given.slug });
          const last = (): Promise<Page | null> => new LastPageCacheOnShelf(given.shelf).resolve();
          assert.deepEqual([await lookup(), await last()], [null, null]);
          const created = await Page.create(given);
          assert.deepEqual([(await lookup())?.id, (await last())?.id], [created.id, created.id]);
          await created.destroy();
          assert.deepEqual([await lookup(), await last()], [null, null]);
        });
      });

      it('of rows whose ids the database chooses', async () => {
        await withRequestCache(async () => {
          const next = page.id + 1;
          assert.equal(await Page.cache.getOrNone({ id: next }), null);
          await costsNothing(() => Page.cache.getOrNone({ id: next }));
          // It runs between the statement and the hook that tells the ids.
          Page.addHook('afterBulkCreate', 'look', async () => {
            await Page.cache.getOrNone({ id: next });
          });
          await Page.bulkCreate([values()]);
          Page.removeHook('afterBulkCreate', 'look');
          assert.equal((await Page.cache.getOrNone({ id: next }))?.id, next);
        });
      });

      it('and one that is rolled back is not', async () => {
        await withRequestCache(async () => {
          await Page.cache.get({ id: page.id });
          const transaction = await backend.sequelize.transaction();
          await page.update({ version: 1 }, { transaction });
          await transaction.rollback();
          assert.equal((await Page.cache.get({ id: page.id })).version, 0);
        });
      });

      for (const [name, write, isHeld] of [
        ['a statement', () => page.update({ version: 1 }), ({ type }) => type === 'UPDATE'],
        [
          'a commit',
          () => backend.sequelize.transaction((transaction) => page.update({ version: 1 }, { transaction })),
          ({ completesTransaction }) => completesTransaction === true,
        ],
      ] satisfies readonly (readonly [string, () => Promise<unknown>, (options: Statement) => boolean])[]) {
        it(`as soon as ${name} is on its way: the database is asked`, async () => {
          await withRequestCache(async () => {
            await Page.cache.get({ id: page.id });
            const hold = new Hold();
            const endHold = beforeSending(backend.sequelize, (options) => isHeld(options), () => hold.here());
            const writing = write();
            try {
              await hold.reached;
              await costsSomething(() => Page.cache.get({ id: page.id }));
            } finally {
              endHold();
              hold.release();
              await writing;
            }
            assert.equal((await Page.cache.get({ id: page.id })).version, 1);
          });
        });
      }

      it('although a lookup is under way that began before it', async () => {
        await withRequestCache(async () => {
          const hold = holdFirst(backend.store, (operation, key) => operation === 'get' && key.includes(Page.cache.getKey({ id: page.id })));
          const early = Page.cache.get({ id: page.id });
          await hold.reached;
          await outside(() => page.update({ version: 1 }));
          assert.equal((await Page.cache.get({ id: page.id })).version, 1);
          hold.release();
          await early;
          assert.equal((await costsNothing(() => Page.cache.get({ id: page.id }))).version, 1);
        });
      });
    });

    describe('a write of another process', () => {
      it('may not be seen by a request that has read the row, and is seen by the next one', async () => {
        await withRequestCache(async () => {
          await Page.cache.get({ id: page.id });
          await writeElsewhere(page, 5);
          assert.equal((await costsNothing(() => Page.cache.get({ id: page.id }))).version, 0);
        });
        await withRequestCache(async () => {
          assert.equal((await Page.cache.get({ id: page.id })).version, 5);
        });
      });

      it('is seen by refresh, and by what is read after it', async () => {
        await withRequestCache(async () => {
          await Page.cache.get({ id: page.id });
          await writeElsewhere(page, 5);
          assert.equal((await Page.cache.get({ id: page.id }, { refresh: true })).version, 5);
          assert.equal((await costsNothing(() => Page.cache.get({ id: page.id }))).version, 5);
        });
      });

      it('is seen once the request is as old as it may get', async () => {
        let now = 0;
        await withRequestCache(
          async () => {
            await Page.cache.get({ id: page.id });
            await writeElsewhere(page, 5);
            now = 99;
            assert.equal((await costsNothing(() => Page.cache.get({ id: page.id }))).version, 0);
            now = 100;
            assert.equal((await Page.cache.get({ id: page.id })).version, 5);
          },
          { maxAgeMs: 100, now: () => now },
        );
      });

      it('is seen after invalidate and clear', async () => {
        await withRequestCache(async () => {
          const calls = [() => Page.cache.invalidate({ id: page.id }), () => Page.cache.invalidate(page), () => Page.cache.clear()];
          for (const [at, call] of calls.entries()) {
            await Page.cache.get({ id: page.id });
            await writeElsewhere(page, at + 10);
            await call();
            assert.equal((await Page.cache.get({ id: page.id })).version, at + 10);
          }
        });
      });
    });

    it('is not used in a transaction, which fills nothing either', async () => {
      await withRequestCache(async () => {
        const other = await newPage();
        await Page.cache.get({ id: page.id });
        await backend.sequelize.transaction(async (transaction) => {
          const { sql, store } = await costOf(() => Page.cache.get({ id: page.id }, { transaction }));
          assert.deepEqual({ sql, store }, { sql: 1, store: 0 });
          await Page.cache.get({ id: other.id }, { transaction });
        });
        await costsSomething(() => Page.cache.get({ id: other.id }));
      });
    });

    it('answers cacheOnly, and is filled by it', async () => {
      await withRequestCache(async () => {
        const other = await newPage();
        await outside(() => Page.cache.get({ id: other.id }));
        assert.equal(await Page.cache.getOrNone({ id: page.id }, { cacheOnly: true }), undefined);
        await Page.cache.get({ id: page.id });
        for (const { id } of [page, other]) {
          await Page.cache.get({ id }, { cacheOnly: true });
          await costsNothing(() => Page.cache.get({ id }, { cacheOnly: true }));
          await costsNothing(() => Page.cache.get({ id }));
        }
      });
    });

    it('keeps no failure', async () => {
      await withRequestCache(async () => {
        failure = new Error('no answer today');
        const lookup = (): Promise<Page | null> => new FragileCacheOnShelf(page.shelf).resolve();
        const failed = await Promise.allSettled([lookup(), lookup()]);
        assert.deepEqual(failed.map(({ status }) => status), ['rejected', 'rejected']);
        await assert.rejects(lookup(), failure);
        failure = undefined;
        assert.equal((await lookup())?.id, page.id);
        await costsNothing(lookup);
      });
    });

    it('keeps so many answers, and then lets the oldest go', async () => {
      const others = await Promise.all([newPage(), newPage()]);
      await withRequestCache(
        async () => {
          for (const { id } of [page, ...others]) await Page.cache.get({ id });
          for (const { id } of others) await costsNothing(() => Page.cache.get({ id }));
          await costsSomething(() => Page.cache.get({ id: page.id }));
        },
        { maxEntries: 2 },
      );
    });

    for (const framework of frameworks) {
      describe(`behind ${framework.name}`, () => {
        /** What the server does with a request, by its path. */
        const routes = new Map<string, (given: Given) => Promise<unknown>>();
        let server: Running;

        before(async () => {
          server = await framework.start((path, given) => routes.get(path)!(given));
        });

        after(() => server.close());

        const ask = async (path: string, body?: object): Promise<unknown> => {
          const response = await fetch(`${server.url}${path}`, {
            method: body === undefined ? 'GET' : 'POST',
            ...(body === undefined ? {} : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
          });
          const text = await response.text();
          assert.equal(response.status, 200, text);
          return JSON.parse(text);
        };

        /** How many lookups by id the store has answered while `work` ran. The row is there already. */
        async function hitsOf(work: () => Promise<unknown>): Promise<number> {
          await Page.cache.get({ id: page.id });
          const hits = (): number => Page.cache.stats()['Page(id)']!.hits;
          const before = hits();
          await work();
          return hits() - before;
        }

        it('the same lookup is made once in each of 300 requests', async () => {
          const { id } = page;
          routes.set('/reads', async () => {
            await Promise.all([Page.cache.get({ id }), Page.cache.get({ id })]);
            await new Promise(setImmediate);
            return (await Page.cache.get({ id })).version;
          });
          assert.equal(await hitsOf(() => Promise.all(Array.from({ length: 300 }, () => ask('/reads')))), 300);
        });

        it('300 requests that read and write the same rows see every write, and nothing of each other', async () => {
          const pages = await Promise.all(Array.from({ length: 5 }, newPage));
          /** By row: writes that were begun, and those that have resolved. */
          const begun = new Map(pages.map(({ id }) => [id, 0]));
          const done = new Map(begun);
          const given = new WeakSet<Page>();

          /** A lookup, with the versions that it may find. */
          const read = async (id: number, key: { id: number } | { slug: string }): Promise<Seen> => {
            const least = done.get(id)!;
            const found = await Page.cache.get(key);
            const most = begun.get(id)!;
            const isOwn = !given.has(found) && found.changed() === false && !found.slug.startsWith('spoilt');
            given.add(found);
            const { version } = found;
            found.slug = `spoilt ${String(serial)}`;
            found.picture.fill(0);
            return { least, version, most, isOwn };
          };
          const writes: readonly ((id: number) => Promise<unknown>)[] = [
            (id) => Page.increment('version', { where: { id } }),
            (id) => Page.update({ version: literal('version + 1') }, { where: { id } }),
            (id) => backend.sequelize.query(`UPDATE pages SET version = version + 1 WHERE id = ${String(id)}`),
            async (id) => (await Page.cache.get({ id })).increment('version'),
            // SQLite refuses a second writer beside a transaction.
            ...(backendName === 'sqlite'
              ? []
              : [
                  (id: number) =>
                    backend.sequelize.transaction((transaction) => Page.increment('version', { where: { id }, transaction })),
                ]),
          ];
          routes.set('/crowd', async ({ at }) => {
            const { id, slug } = pages[at % pages.length]!;
            const seen = [await read(id, { id }), await read(id, { slug })];
            if (at % 3 === 0) {
              begun.set(id, begun.get(id)! + 1);
              await writes[(at / 3) % writes.length]!(id);
              done.set(id, done.get(id)! + 1);
            }
            await new Promise(setImmediate);
            seen.push(...(await Promise.all([read(id, { id }), read(id, { id }), read(id, { slug })])));
            return seen;
          });
          const answers = await Promise.all(Array.from({ length: 300 }, (_, at) => ask('/crowd', { at })));
          for (const seen of answers as Seen[][]) {
            assert.equal(seen.length, 5);
            for (const { least, version, most, isOwn } of seen) {
              assert.ok(least <= version && version <= most, `${String(least)} ≤ ${String(version)} ≤ ${String(most)}`);
              assert.ok(isOwn);
            }
          }
          assert.equal([...done.values()].reduce((sum, count) => sum + count), 100);
          for (const { id } of pages) assert.equal((await Page.cache.get({ id })).version, done.get(id));
        });

        it('a request whose body comes in pieces has its answers', async () => {
          const { id } = page;
          routes.set('/slow', async () => {
            await Page.cache.get({ id });
            return costsNothing(() => Page.cache.get({ id }));
          });
          const body = JSON.stringify({ at: 1 });
          const sending = httpRequest(`${server.url}/slow`, {
            method: 'POST',
            headers: { 'content-type': 'application/json', 'content-length': body.length },
          });
          const arrived = once(server.http, 'request');
          sending.write(body.slice(0, 3));
          await arrived;
          sending.end(body.slice(3));
          const [response] = (await once(sending, 'response')) as [NodeJS.ReadableStream & { readonly statusCode: number }];
          response.resume();
          assert.equal(response.statusCode, 200);
        });

        it('requests that come through one connection at once have nothing in common', async () => {
          const { id } = page;
          routes.set('/pipelined', async () => {
            await Page.cache.get({ id });
            return (await Page.cache.get({ id })).version;
          });
          const { port, hostname } = new URL(server.url);
          const head = (close: boolean): string =>
            `GET /pipelined HTTP/1.1\r\nHost: here\r\nConnection: ${close ? 'close' : 'keep-alive'}\r\n\r\n`;
          let text = '';
          const hits = await hitsOf(async () => {
            const socket = connect(Number(port), hostname);
            socket.write(Array.from({ length: 20 }, (_, at) => head(at === 19)).join(''));
            for await (const part of socket) text += String(part);
          });
          assert.equal(text.split('HTTP/1.1 200').length - 1, 20);
          assert.equal(hits, 20);
        });

        it('work that outlives its response asks the store again', async () => {
          const { id } = page;
          let closed: Promise<unknown> | undefined;
          let late: Promise<unknown> | undefined;
          routes.set('/late', async ({ response }) => {
            await Page.cache.get({ id });
            closed = once(response, 'close');
            late = closed.then(() => costsSomething(() => Page.cache.get({ id })));
            return 'done';
          });
          assert.equal(await ask('/late'), 'done');
          await closed;
          await late;
        });
      });
    }

    it('keeps a request that comes by twice in one, and takes the limits of the first', async () => {
      const app = express();
      let now = 0;
      app.use(requestCache({ maxAgeMs: 100, now: () => now }));
      app.use((_request, _response, next) => {
        Page.cache.get({ id: page.id }).then(() => next(), next);
      });
      app.use(requestCache());
      app.get('/', async (_request, response) => {
        await costsNothing(() => Page.cache.get({ id: page.id }));
        now = 100;
        await costsSomething(() => Page.cache.get({ id: page.id }));
        response.json('done');
      });
      const server = await listening(app.listen(0, '127.0.0.1'));
      const response = await fetch(server.url);
      assert.equal(await response.text(), '"done"');
      await server.close();
    });
  });
}

/** The options of a statement, as a hook has them. */
interface Statement {
  readonly type?: string;
  readonly completesTransaction?: boolean;
}

/** A lookup in the crowd: the versions that it may have found, and the one that it did. */
interface Seen {
  readonly least: number;
  readonly version: number;
  readonly most: number;
  /** The instance is nobody else's. */
  readonly isOwn: boolean;
}

interface Given {
  /** What was posted. */
  readonly at: number;
  readonly response: ServerResponse;
}

interface Running {
  readonly url: string;
  readonly http: Server;
  close(): Promise<void>;
}

type Handle = (path: string, given: Given) => Promise<unknown>;
