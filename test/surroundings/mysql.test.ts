import { compareOn } from './suite.js';

compareOn('mysql', 0.45);
