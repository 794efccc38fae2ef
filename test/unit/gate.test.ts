/** The gate: bounded weight, order of arrival, and no wait where there is room. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Gate } from '../../src/gate.js';

/** Tasks that end when they are told to. */
class Tasks {
  readonly started: string[] = [];
  readonly #ends = new Map<string, () => void>();

  run = (name: string) => async (): Promise<string> => {
    this.started.push(name);
    await new Promise<void>((end) => {
      this.#ends.set(name, end);
    });
    return name;
  };

  async end(name: string): Promise<void> {
    this.#ends.get(name)?.();
    await new Promise((resolve) => setImmediate(resolve));
  }
}

describe('Gate', () => {
  it('starts in the same tick where there is room', () => {
    const tasks = new Tasks();
    const gate = new Gate(2);
    void gate.pass(tasks.run('a'));
    void gate.pass(tasks.run('b'));
    void gate.pass(tasks.run('c'));
    assert.deepEqual(tasks.started, ['a', 'b']);
  });

  it('lets them in by weight, in order of arrival', async () => {
    const tasks = new Tasks();
    const gate = new Gate(4);
    void gate.pass(tasks.run('a'), 2);
    void gate.pass(tasks.run('b'), 3);
    // There is room for it, but it came later.
    void gate.pass(tasks.run('c'), 1);
    assert.deepEqual(tasks.started, ['a']);
    await tasks.end('a');
    assert.deepEqual(tasks.started, ['a', 'b', 'c']);
  });

  it('lets one that is heavier than the width in alone', async () => {
    const tasks = new Tasks();
    const gate = new Gate(2);
    void gate.pass(tasks.run('a'), 1);
    void gate.pass(tasks.run('b'), 100);
    void gate.pass(tasks.run('c'), 1);
    await tasks.end('a');
    assert.deepEqual(tasks.started, ['a', 'b']);
    await tasks.end('b');
    assert.deepEqual(tasks.started, ['a', 'b', 'c']);
  });

  it('passes answers and errors on, and frees the room after an error', async () => {
    const gate = new Gate(1);
    assert.equal(await gate.pass(() => Promise.resolve(7)), 7);
    await assert.rejects(gate.pass(() => Promise.reject(new Error('no'))), /no/);
    assert.equal(await gate.pass(() => Promise.resolve(8)), 8);
  });
});
