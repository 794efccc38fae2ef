import { compareOn } from './suite.js';

compareOn('sqlite', 0.25);
