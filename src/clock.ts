/**
 * Timers and clocks, taken from Node when this package is loaded.
 *
 * A test suite that fakes timers (sinon, Jest, `mock.timers`) replaces the global functions and the
 * exports of `node:timers`, and nothing would end a wait of this package: a deadline, a lease, a
 * heartbeat. These are the functions as they were before. Every wait and every measurement in `src`
 * uses them; only a clock that an option replaces (`now`) is another one.
 */
import { performance as timing } from 'node:perf_hooks';
import timers from 'node:timers';

export const { setTimeout, clearTimeout, setInterval, clearInterval, setImmediate } = timers;

/** Runs a function before Node goes on to the next event. */
export const nextTick = process.nextTick.bind(process);

/** Runs a function after the code that runs now. */
export const queueMicrotask = globalThis.queueMicrotask;

/** Milliseconds on a clock that only goes forward. */
export const monotonic: () => number = timing.now.bind(timing);

/** Milliseconds since 1970. */
export const wallClock: () => number = Date.now;
