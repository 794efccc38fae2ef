import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import * as errors from '../../src/errors.js';

describe('errors', () => {
  it('have the documented name on their prototype, whatever a minifier calls the class', () => {
    for (const [name, type] of Object.entries(errors)) {
      if (!(type.prototype instanceof errors.FlashError)) continue;
      assert.equal(Object.hasOwn(type.prototype, 'name') && type.prototype.name, name, `${name} is missing in the list at the end of errors.ts`);
    }
  });

  it('show the name and the cause', () => {
    const cause = new Error('no socket');
    const error = new errors.StoreUnavailableError('It is down.', { cause });
    assert.equal(String(error), 'StoreUnavailableError: It is down.');
    assert.match(error.stack ?? '', /^StoreUnavailableError: It is down\./);
    assert.equal(error.cause, cause);
    assert.deepEqual(Object.keys(error), ['code']);
  });
});
