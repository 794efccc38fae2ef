/** What is promised of processes, shown on processes: MariaDB and memcached between them. */
import assert from 'node:assert/strict';
import { after, before, beforeEach, describe, it } from 'node:test';
import { openBackend, type Backend } from '../support/backends.js';
import { defineRow, Row, type Place } from '../support/cache-worker.js';
import { placeOf, Worker } from '../support/workers.js';
import { startMemcached, type MemcachedProcess } from '../support/memcached-process.js';

const writeLease = 2;

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
    place = placeOf(backend.sequelize, { memcached: memcached.address, prefix: 'processes', writeLease });
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
    await Promise.all(workers.map((worker) => worker.kill()));
    // A busy machine may take longer than leaseWait, and longer than a late lease on the row may take.
    const patient = { ...place, leaseWait: 60_000, writeLease: 120 };
    workers = await Promise.all([Worker.start(patient), Worker.start(patient), Worker.start(patient)]);
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
