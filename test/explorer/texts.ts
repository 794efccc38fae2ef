/**
 * Texts with random tokens in them, as templates: only which tokens are the same can matter to the
 * protocol, never what they are. So tokens are numbered, and two runs that differ in nothing but
 * their random numbers are one.
 */
import crypto from 'node:crypto';

/** A text with numbers in place of its tokens. */
export interface Text {
  /** The text with one U+0000 for each token. */
  readonly template: string;
  readonly ids: readonly number[];
}

// Every token that is drawn while the explorer runs starts with these characters, so that it is
// found in any text, whatever the protocol writes around it. Tokens of other processes are made up.
const own = 'tok_';
const foreign = 'tok-';
const token = /tok[_-][\w-]{7}/g;

let drawn = 0;

/** A fresh token, of the form that `randomToken` gives. */
export function freshToken(): string {
  const bytes = Buffer.alloc(8);
  bytes.write(own, 'base64url');
  drawn += 1;
  bytes.writeUIntBE(drawn, 3, 5);
  return bytes.toString('base64url');
}

/**
 * Makes `crypto.randomBytes` draw recognisable tokens. The bytes that it hands out are fresh tokens
 * side by side; whoever takes another number of them than 8 at a time is not supported.
 * @returns what undoes it
 */
export function drawRecognisably(): () => void {
  const original = crypto.randomBytes;
  const draw = (size: number): Buffer =>
    Buffer.concat(Array.from({ length: Math.ceil(size / 8) }, () => Buffer.from(freshToken(), 'base64url'))).subarray(0, size);
  Reflect.set(crypto, 'randomBytes', draw);
  return () => {
    Reflect.set(crypto, 'randomBytes', original);
  };
}

/** The numbers that one process's tokens have, in order of appearance in what it saw and sent. */
export class Tokens {
  readonly #ids = new Map<string, number>();
  readonly #texts: string[] = [];

  get count(): number {
    return this.#texts.length;
  }

  /** Takes over a token, or a number that stands for something else than one, from outside. */
  learn(): void {
    const text = `${foreign}${String(this.#texts.length).padStart(7, '0')}`;
    this.#ids.set(text, this.#texts.length);
    this.#texts.push(text);
  }

  /** A text with its tokens numbered; new ones get the next numbers. */
  abstract(text: string): Text {
    const ids: number[] = [];
    const template = text.replace(token, (found) => {
      ids.push(this.id(found));
      return '\0';
    });
    return { template, ids };
  }

  /** The text with the real tokens. */
  concrete({ template, ids }: Text): string {
    let at = 0;
    return template.replaceAll('\0', () => this.text(ids[at++] as number));
  }

  id(text: string): number {
    const known = this.#ids.get(text);
    if (known !== undefined) return known;
    this.#ids.set(text, this.#texts.length);
    this.#texts.push(text);
    return this.#texts.length - 1;
  }

  text(id: number): string {
    const text = this.#texts[id];
    if (text === undefined) throw new RangeError(`token ${id} is not known`);
    return text;
  }
}

/** The same text with other numbers. */
export const renumbered = ({ template, ids }: Text, number: (id: number) => number): Text => ({
  template,
  ids: ids.map(number),
});
