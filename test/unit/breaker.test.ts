import assert from 'node:assert/strict';
import { beforeEach, describe, it } from 'node:test';
import { CircuitBreaker, type BreakerOptions } from '../../src/stores/breaker.js';

describe('CircuitBreaker', () => {
  let time: number;
  const breakerWith = (options: BreakerOptions = {}): CircuitBreaker =>
    new CircuitBreaker({ retryMs: 500, now: () => time, ...options });

  beforeEach(() => {
    time = 1000;
  });

  it('lets requests through as long as they succeed', () => {
    const breaker = breakerWith();
    breaker.requestSucceeded();
    assert.equal(breaker.state, 'closed');
    assert.equal(breaker.allowsRequests, true);
    assert.equal(breaker.msUntilProbe, Infinity);
    assert.equal(breaker.startProbe(), false);
  });

  it('opens on the first failure by default, and says so once', () => {
    const breaker = breakerWith();
    assert.equal(breaker.requestFailed(), true);
    assert.equal(breaker.state, 'open');
    assert.equal(breaker.allowsRequests, false);
    assert.equal(breaker.requestFailed(), false);
  });

  it('counts failures in a row only', () => {
    const breaker = breakerWith({ failureThreshold: 3 });
    assert.equal(breaker.requestFailed(), false);
    assert.equal(breaker.requestFailed(), false);
    breaker.requestSucceeded();
    assert.equal(breaker.requestFailed(), false);
    assert.equal(breaker.requestFailed(), false);
    assert.equal(breaker.state, 'closed');
    assert.equal(breaker.requestFailed(), true);
    assert.equal(breaker.state, 'open');
  });

  it('has one probe when the time has come, and no request meanwhile', () => {
    const breaker = breakerWith();
    breaker.requestFailed();
    assert.equal(breaker.msUntilProbe, 500);
    time += 499;
    assert.equal(breaker.msUntilProbe, 1);
    assert.equal(breaker.startProbe(), false);
    time += 1;
    assert.equal(breaker.msUntilProbe, 0);
    assert.equal(breaker.startProbe(), true);
    assert.equal(breaker.state, 'half-open');
    assert.equal(breaker.startProbe(), false);
    assert.equal(breaker.allowsRequests, false);
    assert.equal(breaker.msUntilProbe, Infinity);
  });

  it('closes when the probe succeeds, and counts anew', () => {
    const breaker = breakerWith({ failureThreshold: 2 });
    breaker.requestFailed();
    breaker.requestFailed();
    time += 500;
    breaker.startProbe();
    breaker.probeSucceeded();
    assert.equal(breaker.state, 'closed');
    assert.equal(breaker.allowsRequests, true);
    assert.equal(breaker.requestFailed(), false);
    assert.equal(breaker.requestFailed(), true);
  });

  it('waits as long again when the probe fails', () => {
    const breaker = breakerWith();
    breaker.requestFailed();
    time += 500;
    breaker.startProbe();
    time += 250;
    breaker.probeFailed();
    assert.equal(breaker.state, 'open');
    assert.equal(breaker.msUntilProbe, 500);
    time += 500;
    assert.equal(breaker.startProbe(), true);
  });

  it('takes no word from requests that were sent before it opened', () => {
    const breaker = breakerWith();
    breaker.requestFailed();
    time += 300;
    breaker.requestSucceeded();
    breaker.requestFailed();
    assert.equal(breaker.state, 'open');
    assert.equal(breaker.msUntilProbe, 200);
    time += 200;
    breaker.startProbe();
    breaker.requestSucceeded();
    assert.equal(breaker.state, 'half-open');
    assert.equal(breaker.requestFailed(), false);
    assert.equal(breaker.state, 'half-open');
    breaker.probeSucceeded();
    assert.equal(breaker.state, 'closed');
  });

  it('ignores the outcome of a probe that it does not wait for', () => {
    const breaker = breakerWith();
    breaker.probeFailed();
    assert.equal(breaker.state, 'closed');
    breaker.requestFailed();
    breaker.probeSucceeded();
    assert.equal(breaker.state, 'open');
  });

  it('runs on the monotonic clock by default', () => {
    const breaker = new CircuitBreaker({ retryMs: 60_000 });
    breaker.requestFailed();
    assert.ok(breaker.msUntilProbe > 0 && breaker.msUntilProbe <= 60_000);
  });
});
