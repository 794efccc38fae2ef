/** What is promised of processes, shown on processes: MariaDB and memcached between them. */
import assert from 'node:assert/strict';
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { after, before, beforeEach, describe, it } from 'node:test';
import { openBackend, type Backend } from '../support/backends.js';
import { defineRow, Row, type Order, type Place, type Reply } from '../support/cache-worker.js';
import { startMemcached, type MemcachedProcess } from '../support/memcached-process.js';

const writeLease = 2;

class Worker {
  readonly #child: ChildProcess;
  readonly #replies = new Map<number, (reply: Reply) => void>();
  readonly #hanging: Promise<void>;
  #orders = 0;

  private constructor(child: ChildProcess) {
    this.#child = child;
    let hang: () => void = () => undefined;
    this.#hanging = new Promise((resolve) => {
      hang = resolve;
    });
    child.on('message', (reply: Reply) => {
      if (reply.kind === 'hanging') hang();
      else if (reply.kind !== 'ready') this.#replies.get(reply.order)?.(reply);
    });
  }

  static async start(place: Place): Promise<Worker> {
    const child = fork(join(__dirname, '../support/cache-worker.js'), {
      env: { ...process.env, FLASH_TEST_PLACE: JSON.stringify(place) },
    });
    const worker = new Worker(child);
    await once(child, 'message');
    return worker;
  }

  /** Resolves when a write hangs where it was told to. */
  get hanging(): Promise<void> {
    return this.#hanging;
  }

  async tell(order: Order): Promise<Reply & { kind: 'done' }> {
    const id = (this.#orders += 1);
    const reply = await new Promise<Reply>((resolve) => {
      this.#replies.set(id, resolve);
      this.#child.send({ id, order });
    });
    if (reply.kind !== 'done') assert.fail(JSON.stringify(reply));
    return reply;
  }

  /** Tells it without waiting: it will hang, and be killed. */
  abandon(order: Order): void {
    this.#child.send({ id: -1, order });
  }

  async kill(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const gone = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await gone;
  }
}

describe('several processes', () => {
  let backend: Backend;
  let memcached: MemcachedProcess;
  let workers: Worker[] = [];
  let place: Place;

  before(async () => {
    memcached = await startMemcached();
    backend = await openBackend('mariadb');
    defineRow(backend.sequelize);
    await backend.sequelize.sync();
    const { config } = backend.sequelize;
    const { username, password, host, port, database } = config as unknown as Readonly<Record<string, string>>;
    place = {
      url: `mysql://${username ?? ''}:${password ?? ''}@${host ?? ''}:${port ?? ''}/${database ?? ''}`,
      memcached: memcached.address,
      prefix: 'processes',
      writeLease,
    };
  });
  beforeEach(async () => {
    await Promise.all(workers.map((worker) => worker.kill()));
    await memcached.command('flush_all\r\n');
    await Row.destroy({ where: {}, truncate: true });
    await Row.create({ name: 'one', count: 0 });
    workers = await Promise.all([Worker.start(place), Worker.start(place), Worker.start(place)]);
  });
  after(async () => {
    await Promise.all(workers.map((worker) => worker.kill()));
    await backend.close();
    await memcached.stop();
  });

  const [A, B, C] = [0, 1, 2].map((at) => () => workers[at] as Worker) as [() => Worker, () => Worker, () => Worker];

  it('P6: 60 concurrent reads of one cold key, over three processes, cost one statement', async () => {
    const replies = await Promise.all(workers.map((worker) => worker.tell({ do: 'read', name: 'one', times: 20 })));
    assert.deepEqual(replies.map(({ count }) => count), [0, 0, 0]);
    assert.equal(replies.reduce((sum, { sql }) => sum + sql, 0), 1);
  });

  it('P1: what one process wrote, another reads as soon as the write is acknowledged', async () => {
    for (let count = 1; count <= 60; count += 1) {
      const [writer, reader] = count % 2 === 0 ? [A(), B()] : [B(), A()];
      await Promise.all(workers.map((worker) => worker.tell({ do: 'read', name: 'one', times: 1 })));
      await writer.tell({ do: 'write', id: 1, count });
      const replies = await Promise.all([reader.tell({ do: 'read', name: 'one', times: 3 }), C().tell({ do: 'read', name: 'one', times: 1 })]);
      assert.deepEqual(replies.map((reply) => reply.count), [count, count]);
    }
  });

  it('P1: a rename is seen under the old and under the new name by processes that had found both', async () => {
    for (let turn = 0; turn < 20; turn += 1) {
      const [from, to] = turn % 2 === 0 ? ['one', 'two'] : ['two', 'one'];
      const read = async (name: string): Promise<(number | null)[]> =>
        (await Promise.all(workers.map((worker) => worker.tell({ do: 'read', name, times: 2 })))).map(({ count }) => count);
      assert.deepEqual(await read(from), [0, 0, 0]);
      assert.deepEqual(await read(to), [null, null, null]);
      await A().tell({ do: 'rename', id: 1, name: to });
      assert.deepEqual(await read(from), [null, null, null]);
      assert.deepEqual(await read(to), [0, 0, 0]);
    }
  });

  for (const at of ['marked', 'committed'] as const) {
    it(`P4: a writer is killed when it has ${at === 'marked' ? 'marked and not written' : 'committed and not released'}: fresh at once, cached again after writeLease`, async () => {
      await B().tell({ do: 'read', name: 'one', times: 1 });
      assert.equal((await B().tell({ do: 'read', name: 'one', times: 1 })).sql, 0);
      await A().tell({ do: 'hang', at });
      A().abandon({ do: 'write', id: 1, count: 77 });
      await A().hanging;
      await A().kill();
      const killed = performance.now();
      const expected = at === 'marked' ? 0 : 77;
      let reply = await B().tell({ do: 'read', name: 'one', times: 1 });
      assert.equal(reply.sql, 1, 'the marker stands');
      while (reply.sql > 0) {
        assert.equal(reply.count, expected);
        assert.ok(performance.now() - killed < (writeLease + 3) * 1000, 'not cached again');
        reply = await B().tell({ do: 'read', name: 'one', times: 1 });
      }
      assert.equal(reply.count, expected);
      assert.equal((await C().tell({ do: 'read', name: 'one', times: 1 })).count, expected);
    });
  }
});
