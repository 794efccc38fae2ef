/**
 * The protocol, exhaustively, where rows are read by a unique name too: index entries, leases on
 * rows that are placed late, the epoch, hints. See explorer.test.ts.
 */
import { exploreAll } from './explore-all.js';
import { largeNameScenarios, nameScenarios } from './scenarios.js';

exploreAll('the protocol under every schedule, rows read by name', nameScenarios, largeNameScenarios);
