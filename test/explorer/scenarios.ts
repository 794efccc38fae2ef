/** What the explorer tests explore, each scenario exhaustively; larger ones on demand. */
import type { Scenario } from './world.js';

const everyFault = ['crash', 'eviction', 'lost reply', 'pause'] as const;

/**
 * Explored by default. At most one fault in a run, of the kinds named and at any step, unless a
 * scenario says otherwise.
 */
export const scenarios: readonly Scenario[] = [
  {
    name: '2 writers and 2 readers of one cached row',
    before: ['read 1'],
    processes: [[['save 1']], [['save 1']], [['read 1']], [['read 1']]],
    inOrder: true,
    faults: everyFault,
  },
  {
    name: '2 writers and 2 readers of one row, nothing stored yet',
    processes: [[['save 1']], [['save 1']], [['read 1']], [['read 1']]],
    inOrder: true,
  },
  {
    name: 'a writer and 2 readers, nothing stored yet',
    processes: [[['save 1']], [['read 1']], [['read 1']]],
    inOrder: true,
    faults: ['crash'],
  },
  {
    name: 'a transaction, one that rolls back, 2 readers',
    before: ['read 1'],
    processes: [[['transaction: save 1 twice']], [['rolled back: save 1']], [['read 1']], [['read 1']]],
    inOrder: true,
    faults: everyFault,
  },
  {
    name: 'reads inside transactions',
    before: ['read 1'],
    processes: [[['transaction: save 1, read 1']], [['rolled back: save 1, read 1']], [['read 1']]],
    inOrder: true,
    faults: everyFault,
  },
  {
    name: 'a row is deleted and inserted again',
    before: ['read 1'],
    processes: [[['destroy 1', 'insert 1']], [['read 1']], [['read 1']]],
    inOrder: true,
    faults: ['crash', 'eviction'],
  },
  {
    name: '2 readers of one process, replies on the way',
    before: ['read 1', 'save 1'],
    processes: [[['save 1']], [['read 1'], ['read 1']]],
    inOrder: true,
    lateReplies: true,
  },
  {
    name: '2 readers of one process that expect a miss, replies on the way',
    before: ['read 1', 'save 1'],
    processes: [[['save 1']], [['read 1'], ['read 1']]],
    inOrder: true,
    missesLikely: true,
    lateReplies: true,
  },
  {
    name: 'a process that writes and reads',
    before: ['read 1'],
    processes: [[['save 1', 'read 1']], [['save 1', 'read 1']]],
    inOrder: true,
    faults: everyFault,
  },
  {
    name: 'writes that would rather be refused',
    before: ['read 1'],
    processes: [[['save 1']], [['transaction: save 1']], [['read 1']]],
    inOrder: true,
    onStoreFailure: 'strict',
    faults: ['crash', 'lost reply'],
  },
  {
    name: 'readers that do not wait',
    processes: [[['save 1']], [['read 1']], [['read 1']]],
    inOrder: true,
    leaseWait: 0,
    faults: ['crash', 'eviction'],
  },
  {
    name: '2 writers and 2 readers that expect a miss, nothing stored yet',
    processes: [[['save 1']], [['save 1']], [['read 1']], [['read 1']]],
    inOrder: true,
    missesLikely: true,
    faults: ['crash'],
  },
  {
    name: 'a writer and 2 readers that expect a miss, nothing stored yet',
    processes: [[['save 1']], [['read 1']], [['read 1']]],
    inOrder: true,
    missesLikely: true,
    faults: everyFault,
  },
  {
    name: 'a writer and 2 readers that expect a miss, each of them wrong about it',
    before: ['read 1'],
    processes: [[['save 1']], [['read 1']], [['read 1']]],
    inOrder: true,
    missesLikely: true,
    faults: everyFault,
  },
  {
    name: 'a writer that renews its markers',
    before: ['read 1'],
    processes: [[['save 1']], [['save 1']], [['read 1']]],
    inOrder: true,
    heartbeats: 1,
    faults: ['crash'],
  },
  {
    name: 'a slow reader that renews its lease beside a writer',
    processes: [[['save 1']], [['read 1']], [['read 1']]],
    inOrder: true,
    heartbeats: 1,
    leaseWait: 0,
    faults: ['crash'],
  },
  {
    name: 'a row that the store does not take, a writer and 2 readers',
    processes: [[['save 1']], [['read 1']], [['read 1']]],
    inOrder: true,
    maxValueBytes: 36,
    faults: everyFault,
  },
  {
    name: 'no order among operations: 2 writers and 2 readers',
    before: ['read 1'],
    processes: [[['save 1']], [['save 1']], [['read 1']], [['read 1']]],
    inOrder: false,
    faults: ['crash'],
  },
  {
    name: 'no order among operations: a writer and 2 readers',
    before: ['read 1'],
    processes: [[['save 1']], [['read 1']], [['read 1']]],
    inOrder: false,
    torn: true,
    faults: everyFault,
  },
];

/** The same with readers by name. */
export const nameScenarios: readonly Scenario[] = [
  {
    name: 'a rename between readers of both names',
    before: ['read a'],
    processes: [[['rename 1 to b']], [['read a']], [['read b']]],
    inOrder: true,
    faults: ['crash'],
  },
  {
    name: 'a rename, a save, a reader by the new name',
    before: ['read a'],
    processes: [[['rename 1 to b']], [['save 1']], [['read b']]],
    inOrder: true,
    faults: ['crash'],
  },
  {
    name: 'a save between readers by name and by id, no row entry yet',
    before: ['read a', 'save 1'],
    processes: [[['save 1']], [['read a']], [['read 1']]],
    inOrder: true,
    faults: ['crash'],
  },
  {
    name: 'a save between readers that expect a miss, by name and by id',
    before: ['save 1'],
    processes: [[['save 1']], [['read a']], [['read 1']]],
    inOrder: true,
    missesLikely: true,
    faults: ['crash'],
  },
  {
    name: 'a rename, and readers of both names that expect a miss',
    before: ['read a'],
    processes: [[['rename 1 to b']], [['read a']], [['read b']]],
    inOrder: true,
    missesLikely: true,
    faults: ['crash'],
  },
  {
    name: 'there and back, a reader that remembers the way',
    processes: [[['rename 1 to b', 'rename 1 to a']], [['read a', 'read a']]],
    inOrder: true,
    faults: ['crash', 'eviction'],
  },
  {
    name: 'a name goes from one row to another',
    rows: { 1: 'a', 2: 'c' },
    before: ['read a', 'read c'],
    processes: [[['rename 1 to b', 'rename 2 to a']], [['read a', 'read a']]],
    inOrder: true,
    faults: ['crash'],
  },
  {
    name: 'deleted and inserted under another name in one transaction',
    before: ['read a'],
    processes: [[['transaction: destroy and insert 1']], [['read a']], [['read 1']]],
    inOrder: true,
    faults: ['crash', 'lost reply'],
  },
  {
    name: 'readers that refresh',
    before: ['read a'],
    processes: [[['save 1']], [['refresh 1']], [['refresh a']]],
    inOrder: true,
    faults: ['crash', 'eviction'],
  },
  {
    name: 'no order among operations: a rename and a reader by the new name',
    before: ['read a'],
    processes: [[['rename 1 to b']], [['read b']]],
    inOrder: false,
    torn: true,
    faults: ['crash', 'eviction'],
  },
];

/**
 * Explored too where SEQUELIZE_FLASH_EXPLORE=large: minutes each. SEQUELIZE_FLASH_EXPLORE_STATES
 * bounds each exploration (default 3,000,000 states, a gigabyte or so; what exceeds it is reported
 * as bounded and does not fail).
 */
export const largeScenarios: readonly Scenario[] = [
  {
    name: 'large: 2 writers and 2 readers, nothing stored yet, every fault',
    processes: [[['save 1']], [['save 1']], [['read 1']], [['read 1']]],
    inOrder: true,
    faults: everyFault,
  },
  {
    name: 'large: 2 writers and a reader, 2 faults',
    before: ['read 1'],
    processes: [[['save 1']], [['save 1']], [['read 1']]],
    inOrder: true,
    faults: ['crash', 'eviction', 'lost reply'],
    mostFaults: 2,
  },
  {
    name: 'large: 3 writers and a reader',
    before: ['read 1'],
    processes: [[['save 1']], [['save 1']], [['save 1']], [['read 1']]],
    inOrder: true,
    faults: ['crash'],
  },
  {
    name: 'large: no order among operations: 2 writers and 2 readers, every fault',
    before: ['read 1'],
    processes: [[['save 1']], [['save 1']], [['read 1']], [['read 1']]],
    inOrder: false,
    faults: everyFault,
  },
];

/** The same with readers by name. */
export const largeNameScenarios: readonly Scenario[] = [
  {
    name: 'large: 2 readers by name of one process, replies on the way',
    before: ['read a'],
    processes: [[['rename 1 to b']], [['read b'], ['read b']]],
    inOrder: true,
    lateReplies: true,
  },
  {
    name: 'large: a rename, a save, readers of both names',
    before: ['read a'],
    processes: [[['rename 1 to b']], [['save 1']], [['read a']], [['read b']]],
    inOrder: true,
    faults: ['crash'],
  },
  {
    name: 'large: no order among operations: a rename between readers of both names',
    before: ['read a'],
    processes: [[['rename 1 to b']], [['read a']], [['read b']]],
    inOrder: false,
    torn: true,
    faults: ['crash'],
  },
];
