/** Copies of this package in one process: each entry point announces its own, and a second one is reported. */
import { version } from './version.js';

/** What the copies of a process share, whatever their versions. */
interface Copies {
  /** Version and file of each. */
  readonly known: string[];
  warned: boolean;
}

const shared = Symbol.for('sequelize-flash.copies');

/** This copy has announced itself. */
let announced = false;

/**
 * Reports, by one process warning, that another copy of this package is loaded. A file that is loaded
 * again, as a test runner or a hot reload does, is the same copy.
 */
export function announceCopy(): void {
  const copies = (Reflect.get(globalThis, shared) as Copies | undefined) ?? { known: [], warned: false };
  Reflect.set(globalThis, shared, copies);
  // An ES module bundle has no __filename, and is not told from another one.
  const isNamed = typeof __filename === 'string';
  const own = `${version} (${isNamed ? __filename : 'in a bundle'})`;
  if (announced || (isNamed && copies.known.includes(own))) return;
  announced = true;
  copies.known.push(own);
  if (copies.known.length < 2 || copies.warned) return;
  copies.warned = true;
  process.emitWarning(
    `Two copies of sequelize-flash are loaded in this process: ${copies.known.join(' and ')}. Each knows only its own declarations: ` +
      `a model or class that is declared with one is not cached by setupCache of the other, and its errors are no instances of the other's classes (compare error.code). ` +
      `Install and bundle the package once.`,
    { type: 'SequelizeFlashWarning', code: 'FLASH_TWO_COPIES' },
  );
}
