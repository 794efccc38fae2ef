/**
 * Loads inside loads: a `getResult`, a `getInstance` or a hook that makes cold lookups of its own, where as
 * few statements as possible may run at the same time. A lock-up fails at once by a bound.
 */
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import { DataTypes, Model, type ForeignKey, type InferAttributes, type InferCreationAttributes, type NonAttribute } from 'sequelize';
import { InstanceCache, QuerysetCache, QuerysetCountCache, RelatedInstanceCache, withCache } from '../../src/index.js';
import { Random } from '../oracle/random.js';
import { backendNames, openBackend, type Backend } from '../support/backends.js';
import { drawn } from '../support/matrix.js';
import { seed } from '../support/seed.js';

/** Far longer than any call takes; one that is locked up would wait for ever. */
const bound = 10_000;

const depth = 6;
const ids = Array.from({ length: 24 }, (_, at) => at + 1);

async function ends<T>(work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const locked = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new Error('The lookups wait for each other.'));
    }, bound);
  });
  try {
    return await Promise.race([work, locked]);
  } finally {
    clearTimeout(timer);
  }
}

const limits: readonly (readonly [title: string, maxConcurrentLoads: number, connections: number])[] = [
  ['one load at a time', 1, 10],
  ['two loads at a time', 2, 10],
  ['ten loads at a time', 10, 10],
  ['one load at a time, one connection', 1, 1],
  ['ten loads at a time, one connection', 10, 1],
];

const at = seed();
const random = new Random(at);

for (const name of backendNames) {
  for (const [title, maxConcurrentLoads, max] of drawn(limits, random)) {
    describe(`loads inside loads on ${name}, ${title} (SEED=${String(at)})`, () => {
      /** A tree: the parent of node `id` is node `id - 1`, up to `depth` nodes high. */
      class Node extends Model<InferAttributes<Node>, InferCreationAttributes<Node>> {
        declare id: number;
        declare parentId: ForeignKey<number | null>;
        declare size: number;
        declare parent?: NonAttribute<Node>;
      }
      class Leaf extends Model<InferAttributes<Leaf>, InferCreationAttributes<Leaf>> {
        declare id: number;
        declare size: number;
      }
      class Leaves extends QuerysetCountCache<Leaf, ['size']> {
        static model = Leaf;
        static keyFields = ['size'] as const;
      }
      class Children extends QuerysetCountCache<Node, ['parent']> {
        static model = Node;
        static keyFields = ['parent'] as const;
      }
      class ParentOf extends RelatedInstanceCache<Node, Node, ['id']> {
        static model = Node;
        static keyFields = ['id'] as const;
        static relation = 'parent';
      }
      /** Reads a row of another cache. */
      class Row extends QuerysetCache<Node, ['id']> {
        static model = Node;
        static keyFields = ['id'] as const;
        override async getResult({ id }: { readonly id: number }): Promise<number> {
          return (await nodes.get({ id })).size;
        }
      }
      /** Reads a result that reads a row: two deep. */
      class Twice extends QuerysetCache<Node, ['id']> {
        static model = Node;
        static keyFields = ['id'] as const;
        override async getResult({ id }: { readonly id: number }): Promise<number> {
          return 2 * (await new Row(id).resolve());
        }
      }
      /** Reads its own kind, up the tree. */
      class Height extends QuerysetCache<Node, ['id']> {
        static model = Node;
        static keyFields = ['id'] as const;
        override async getResult({ id }: { readonly id: number }): Promise<number> {
          const { parentId } = await nodes.get({ id });
          return parentId === null ? 0 : 1 + (await new Height(parentId).resolve());
        }
      }
      /** The same, of several lookups at once: one may be of a node whose parent is another of them. */
      class Heights extends QuerysetCache<Node, ['id']> {
        static model = Node;
        static keyFields = ['id'] as const;
        override async getResult({ id }: { readonly id: number }): Promise<number> {
          const { parentId } = await nodes.get({ id });
          return parentId === null ? 0 : 1 + (await new Heights(parentId).resolve());
        }
        override async getResults(keys: readonly { readonly id: number }[]): Promise<number[]> {
          return Promise.all(keys.map((key) => this.getResult(key)));
        }
      }
      /** Reads many rows, a list, a count and a chain. */
      class Everything extends QuerysetCache<Node, ['id']> {
        static model = Node;
        static keyFields = ['id'] as const;
        override async getResult({ id }: { readonly id: number }): Promise<number[]> {
          const [many, list, count, parent] = await Promise.all([
            nodes.getMany(ids.map((one) => ({ id: one }))),
            nodes.filter({ parentId: id }),
            new Children(id).resolve(),
            new ParentOf(id).resolve().catch(() => null),
          ]);
          return [many.length, list.length, count, parent?.id ?? 0];
        }
      }
      /** One that is an instance, found by way of another cache. */
      class Root extends InstanceCache<Node, ['id']> {
        static model = Node;
        static keyFields = ['id'] as const;
        override async getInstance({ id }: { readonly id: number }): Promise<Node | null> {
          const height = await new Height(id).resolve();
          return this.queryset().findOne({ where: { id: id - height } });
        }
      }
      const nodes = withCache(Node, {
        keys: ['id'],
        filters: ['parent'],
        caches: [Children, ParentOf, Row, Twice, Height, Heights, Everything, Root],
      });
      const leaves = withCache(Leaf, { keys: ['id'], caches: [Leaves] });
      const hookAnswers = new Set<number>();
      let backend: Backend;
      let cache: ReturnType<Backend['setup']>;

      const heightOf = (id: number): number => (id - 1) % depth;
      const childrenOf = (id: number): number => (id % depth === 0 ? 0 : 1);

      before(async () => {
        backend = await openBackend(name, { define: { timestamps: false }, options: { pool: { max, acquire: bound } } });
        const { sequelize } = backend;
        const id = { type: DataTypes.INTEGER, primaryKey: true } as const;
        Node.init({ id, parentId: DataTypes.INTEGER, size: DataTypes.INTEGER }, { sequelize, modelName: 'Node' });
        Node.belongsTo(Node, { as: 'parent', foreignKey: 'parentId', constraints: false });
        Leaf.init({ id, size: DataTypes.INTEGER }, { sequelize, modelName: 'Leaf' });
        cache = backend.setup({ maxConcurrentLoads, leaseWait: 50 });
        await sequelize.sync();
        await Node.bulkCreate(ids.map((one) => ({ id: one, parentId: heightOf(one) === 0 ? null : one - 1, size: one })));
        await Leaf.bulkCreate(ids.map((one) => ({ id: one, size: one })));
        // A hook that looks up another cache. Models with hooks of a find are not cached.
        Leaf.addHook('beforeCount', async () => {
          hookAnswers.add(await new Twice(7).resolve());
        });
      });
      after(() => backend.close());
      beforeEach(async () => {
        await nodes.clear();
        await leaves.clear();
        backend.reset();
      });

      const asks: Readonly<Record<string, { readonly ask: (id: number) => Promise<unknown>; readonly answer: (id: number) => unknown }>> = {
        'a result that reads a row': { ask: (id) => new Row(id).resolve(), answer: (id) => id },
        'a result that reads a result': { ask: (id) => new Twice(id).resolve(), answer: (id) => 2 * id },
        'a result that reads its own kind': { ask: (id) => new Height(id).resolve(), answer: heightOf },
        'results of one call that read each other': { ask: (id) => new Heights(id).resolve(), answer: heightOf },
        'a result that reads rows, a list, a count and a chain': {
          ask: (id) => new Everything(id).resolve(),
          answer: (id) => [ids.length, childrenOf(id), childrenOf(id), heightOf(id) === 0 ? 0 : id - 1],
        },
        'an instance that reads results': { ask: async (id) => (await new Root(id).resolve())?.id, answer: (id) => id - heightOf(id) },
        'a count whose hook reads a result': { ask: (id) => new Leaves(id).resolve(), answer: () => 1 },
      };

      for (const [kind, { ask, answer }] of Object.entries(asks)) {
        it(`${kind}: one, and many at once, cold and warm`, async () => {
          assert.deepEqual(await ends(ask(5)), answer(5), 'one');
          await nodes.clear();
          await leaves.clear();
          // Outer and inner lookups of the same tick, whichever comes first.
          const cold = await ends(Promise.all([...ids.map((id) => ask(id)), ...[...ids].reverse().map((id) => new Row(id).resolve())]));
          assert.deepEqual(cold.slice(0, ids.length), ids.map(answer), 'cold');
          assert.deepEqual(await ends(Promise.all(ids.map((id) => ask(id)))), ids.map(answer), 'warm');
          // What was loaded past the cache, because it was being loaded already, is stored by now.
          backend.reset();
          await ends(Promise.all(ids.map((id) => ask(id))));
          assert.deepEqual(backend.sql, [], 'it is cached');
        });
      }

      it('all kinds at once, and a call that fails among them', async () => {
        const all = Object.values(asks);
        const outcomes = await ends(
          Promise.allSettled([...ids.flatMap((id) => all.map(({ ask }) => ask(id))), new Row(1000).resolve(), new Twice(1001).resolve()]),
        );
        assert.deepEqual(
          outcomes.slice(0, -2).map((outcome) => (outcome.status === 'fulfilled' ? outcome.value : outcome.reason)),
          ids.flatMap((id) => all.map(({ answer }) => answer(id))),
        );
        assert.deepEqual(outcomes.slice(-2).map(({ status }) => status), ['rejected', 'rejected']);
        // The room that they took is free again.
        await nodes.clear();
        assert.deepEqual(await ends(Promise.all(ids.map((id) => new Heights(id).resolve()))), ids.map(heightOf));
        assert.equal(cache.undelivered, 0);
        assert.deepEqual([...hookAnswers], [14], 'the hook ran');
      });
    });
  }
}
