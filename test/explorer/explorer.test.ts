/**
 * The protocol, exhaustively: every schedule of a few processes, every fault at any step.
 * Here rows are read by primary key; names.test.ts has the rest.
 *
 * SEQUELIZE_FLASH_EXPLORE=large explores larger scenarios as well (see scenarios.ts).
 */
import { exploreAll } from './explore-all.js';
import { largeScenarios, scenarios } from './scenarios.js';

exploreAll('the protocol under every schedule', scenarios, largeScenarios);
