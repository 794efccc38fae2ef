import { compareOn } from './suite.js';

compareOn('mariadb', 0.3);
