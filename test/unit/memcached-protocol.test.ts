import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { StoreProtocolError, StoreUnavailableError, type StoreError } from '../../src/errors.js';
import {
  addRequest,
  conditionalDeleteRequest,
  deleteRequest,
  GetCommand,
  MultiGet,
  OutcomeCommand,
  readToken,
  ReplyReader,
  swapRequest,
  VersionCommand,
  type Command,
} from '../../src/stores/memcached-protocol.js';
import type * as Clock from '../../src/clock.js';
import type { StoreReply } from '../../src/stores/store.js';
import { runs } from '../support/arbitraries.js';

// The module itself, and no copy of its exports: a test may replace them.
const clock = createRequire(__filename)('../../src/clock.js') as { -readonly [N in keyof typeof Clock]: (typeof Clock)[N] };

const address = '127.0.0.1:11211';
const connection = 7;

/** What became of a command: nothing yet, or its outcome in a form to compare. */
type Outcome =
  | undefined
  | { readonly done: boolean }
  | { readonly version: true }
  | { readonly items: Record<string, readonly [value: string, token: string]>; readonly failed: Record<string, string> }
  | { readonly error: string };

/** A command, the bytes that answer it, and what they mean. */
type Exchange =
  | { readonly kind: 'gets'; readonly keys: readonly string[]; readonly reply: string; readonly expected: Outcome }
  | { readonly kind: 'add' | 'cas' | 'delete' | 'version'; readonly reply: string; readonly expected: Outcome };

/** One character per byte, as the connection reads its socket. */
const bytesOf = (text: string): string => Buffer.from(text, 'utf8').toString('latin1');

const valueReply = (key: string, value: string, unique: string, flags = '0'): string => {
  const data = bytesOf(value);
  return `VALUE ${key} ${flags} ${String(data.length)} ${unique}\r\n${data}\r\n`;
};

function gets(keys: readonly string[], found: readonly (readonly [key: string, value: string, unique: string])[]): Exchange {
  return {
    kind: 'gets',
    keys,
    reply: `${found.map(([key, value, unique]) => valueReply(key, value, unique)).join('')}END\r\n`,
    expected: {
      items: Object.fromEntries(found.map(([key, value, unique]) => [key, [value, `${String(connection)}.${unique}`] as const])),
      failed: {},
    },
  };
}

const replied = (reply: StoreReply): Outcome => ({
  items: Object.fromEntries([...reply.items].map(([key, { value, token }]) => [key, [value, token] as const])),
  failed: Object.fromEntries([...reply.failures].map(([key, error]) => [key, error.name])),
});

/** The command of an exchange, ready to be answered. `settled` gets its outcome, synchronously. */
function commandOf(exchange: Exchange, settled: (outcome: Outcome) => void): Command {
  const rejected = (error: StoreError): void => {
    settled({ error: error.name });
  };
  const resolved = (done: boolean): void => {
    settled({ done });
  };
  const made = (): Command => {
    switch (exchange.kind) {
      case 'gets': {
        const request = new MultiGet((reply) => {
          settled(replied(reply));
        });
        const command = new GetCommand(address, exchange.keys, request);
        request.allSent();
        return command;
      }
      case 'add':
        return new OutcomeCommand(address, addRequest('key', 'value', 5, 60), resolved, rejected);
      case 'cas':
        return new OutcomeCommand(address, swapRequest('key', 'value', 5, 60, '1'), resolved, rejected);
      case 'delete':
        return new OutcomeCommand(address, deleteRequest('key'), resolved, rejected);
      case 'version':
        return new VersionCommand(address, (failure) => {
          settled(failure === undefined ? { version: true } : { error: failure.name });
        });
    }
  };
  const command = made();
  command.connection = connection;
  return command;
}

interface Conversation {
  readonly outcomes: readonly Outcome[];
  readonly unanswered: number;
  readonly error: unknown;
}

/** Sends all commands, then reads the chunks; `afterChunk` sees what has been settled by then. */
function converse(
  exchanges: readonly Exchange[],
  chunks: readonly string[],
  afterChunk: (outcomes: readonly Outcome[], received: number) => void = () => {},
): Conversation {
  const outcomes: Outcome[] = exchanges.map(() => undefined);
  const queue = exchanges.map((exchange, index) =>
    commandOf(exchange, (outcome) => {
      assert.equal(outcomes[index], undefined, 'a command was settled twice');
      outcomes[index] = outcome;
    }),
  );
  const reader = new ReplyReader(address);
  let received = 0;
  for (const chunk of chunks) {
    received += chunk.length;
    try {
      reader.read(chunk, queue);
    } catch (error) {
      // The connection ends here; it reads nothing more.
      return { outcomes, unanswered: queue.length, error };
    }
    afterChunk(outcomes, received);
  }
  return { outcomes, unanswered: queue.length, error: undefined };
}

/** Every command has its outcome as soon as the last byte of its reply is there, and no sooner. */
function assertAnswered(exchanges: readonly Exchange[], chunks: readonly string[]): void {
  let end = 0;
  const ends = exchanges.map(({ reply }) => (end += reply.length));
  const { unanswered, error } = converse(exchanges, chunks, (outcomes, received) => {
    for (const [index, { expected }] of exchanges.entries()) {
      assert.deepStrictEqual(outcomes[index], ends[index]! <= received ? expected : undefined);
    }
  });
  assert.equal(error, undefined);
  assert.equal(unanswered, 0);
}

/** `text` cut before each of the positions. */
function cutAt(text: string, positions: readonly number[]): string[] {
  const sorted = [...new Set(positions.map((position) => position % (text.length + 1)))].sort((a, b) => a - b);
  return [0, ...sorted].map((start, index) => text.slice(start, sorted[index] ?? text.length)).filter((chunk) => chunk !== '');
}

const treacherous = [
  '',
  '\r\n',
  '\n',
  '\r',
  'END',
  'END\r\n',
  '\r\nEND\r\n',
  'VALUE b 0 3 1\r\nxyz\r\nEND\r\n',
  'value\r\nVALUE a 0 100 1',
  'STORED\r\n',
  'SERVER_ERROR out of memory\r\n',
  'ends in a carriage return\r',
  '\0\u0001\u007f',
  'Ærøskøbing 東京 😀',
  '\u00ff\r\n\u0100',
];

const everything: readonly Exchange[] = [
  gets(['a', 'b'], []),
  ...treacherous.map((value, index) => gets(['a', 'b', 'c'], [['a', value, String(index + 1)], ['c', `${value}${value}`, '18446744073709551615']])),
  { kind: 'add', reply: 'STORED\r\n', expected: { done: true } },
  { kind: 'add', reply: 'NOT_STORED\r\n', expected: { done: false } },
  { kind: 'cas', reply: 'STORED\r\n', expected: { done: true } },
  { kind: 'cas', reply: 'EXISTS\r\n', expected: { done: false } },
  { kind: 'cas', reply: 'NOT_FOUND\r\n', expected: { done: false } },
  { kind: 'delete', reply: 'DELETED\r\n', expected: { done: true } },
  { kind: 'delete', reply: 'NOT_FOUND\r\n', expected: { done: false } },
  { kind: 'version', reply: 'VERSION 1.6.18\r\n', expected: { version: true } },
  { kind: 'add', reply: 'SERVER_ERROR out of memory storing object\r\n', expected: { error: 'StoreRefusedError' } },
  { kind: 'version', reply: 'SERVER_ERROR busy\r\n', expected: { error: 'StoreProtocolError' } },
  { kind: 'gets', keys: ['a'], reply: 'SERVER_ERROR out of memory\r\n', expected: { items: {}, failed: { a: 'StoreProtocolError' } } },
  // What came before the refusal counts for nothing.
  {
    kind: 'gets',
    keys: ['a', 'b'],
    reply: `${valueReply('a', 'one', '5')}SERVER_ERROR out of memory\r\n`,
    expected: { items: {}, failed: { a: 'StoreProtocolError', b: 'StoreProtocolError' } },
  },
];

const stream = (exchanges: readonly Exchange[]): string => exchanges.map(({ reply }) => reply).join('');

const key = fc.string({ minLength: 1, maxLength: 12, unit: fc.constantFrom('a', 'b', 'Z', '0', ':', '$', '~', '!') });
const value = fc.oneof(
  fc.constantFrom(...treacherous),
  fc.array(fc.oneof(fc.constantFrom('\r', '\n', '\r\n', 'END', 'VALUE ', 'a', '0', ' ', 'é', '😀', '\0'), fc.string({ unit: 'binary', maxLength: 3 })), { maxLength: 12 }).map((parts) => parts.join('')),
);
const unique = fc.bigInt({ min: 1n, max: 2n ** 64n - 1n }).map(String);
const anyGets: fc.Arbitrary<Exchange> = fc
  .uniqueArray(fc.record({ key, found: fc.option(fc.tuple(value, unique), { nil: undefined }) }), { selector: (asked) => asked.key, minLength: 1, maxLength: 6 })
  .map((asked) =>
    gets(
      asked.map((one) => one.key),
      asked.flatMap((one) => (one.found === undefined ? [] : [[one.key, ...one.found] as const])),
    ),
  );
const anyExchange = fc.oneof(anyGets, fc.constantFrom(...everything));
const exchanges = fc.array(anyExchange, { minLength: 1, maxLength: 8 });
const cuts = fc.array(fc.nat(), { maxLength: 12 });

describe('memcached protocol: replies', () => {
  it('are understood wherever they are cut in two', () => {
    for (const exchange of everything) {
      for (let position = 1; position < exchange.reply.length; position += 1) {
        assertAnswered([exchange], [exchange.reply.slice(0, position), exchange.reply.slice(position)]);
      }
    }
    const text = stream(everything);
    for (let position = 1; position < text.length; position += 1) {
      assertAnswered(everything, [text.slice(0, position), text.slice(position)]);
    }
  });

  it('are understood byte by byte', () => {
    assertAnswered(everything, [...stream(everything)]);
  });

  it('are understood when several come in one chunk', () => {
    assertAnswered(everything, [stream(everything)]);
    assertAnswered(
      everything,
      everything.map(({ reply }) => reply),
    );
  });

  it('are understood in any order, with any values and any cuts', () => {
    fc.assert(
      fc.property(exchanges, cuts, (some, positions) => {
        assertAnswered(some, cutAt(stream(some), positions));
      }),
      runs(1000),
    );
  });

  it('may hold huge values, in pieces as they come from a socket', () => {
    const megabytes = 'VALUE b 0 3 1\r\nEND\r\n😀'.repeat(200_000);
    const exchange = gets(['a', 'b'], [['a', megabytes, '1'], ['b', megabytes.slice(0, 100_001), '2']]);
    const some: readonly Exchange[] = [exchange, { kind: 'add', reply: 'STORED\r\n', expected: { done: true } }];
    const text = stream(some);
    // Odd, so that the pieces end in every part of the repeated text.
    const chunks = Array.from({ length: Math.ceil(text.length / 65_535) }, (_, index) => text.slice(index * 65_535, (index + 1) * 65_535));
    assert.ok(chunks.length > 60);
    const { outcomes, error } = converse(some, chunks);
    assert.equal(error, undefined);
    assert.deepStrictEqual(outcomes, some.map(({ expected }) => expected));
  });

  it('may give the keys in another order, and any flags', () => {
    const exchange: Exchange = {
      kind: 'gets',
      keys: ['a', 'b', 'c'],
      reply: `${valueReply('c', '3', '30', '4294967295')}${valueReply('a', '1', '10', '2')}END\r\n`,
      expected: { items: { c: ['3', '7.30'], a: ['1', '7.10'] }, failed: {} },
    };
    assertAnswered([exchange], [exchange.reply]);
  });

  it('hand over bytes that are no UTF-8 as text with replacement characters', () => {
    const { outcomes } = converse([gets(['a'], [])], ['VALUE a 0 3 1\r\n\u0080\u00ffx\r\nEND\r\n']);
    assert.deepStrictEqual(outcomes, [{ items: { a: ['\ufffd\ufffdx', '7.1'] }, failed: {} }]);
  });
});

describe('memcached protocol: what is no reply', () => {
  const asked: Exchange = gets(['a', 'b'], []);
  const add: Exchange = { kind: 'add', reply: '', expected: undefined };
  const cas: Exchange = { kind: 'cas', reply: '', expected: undefined };
  const remove: Exchange = { kind: 'delete', reply: '', expected: undefined };
  const version: Exchange = { kind: 'version', reply: '', expected: undefined };

  const malformed: readonly (readonly [what: string, exchange: Exchange, reply: string, message: string])[] = [
    ['ERROR', add, 'ERROR\r\n', `memcached ${address} answered 'add' with 'ERROR'.`],
    ['CLIENT_ERROR', add, 'CLIENT_ERROR bad data chunk\r\n', `memcached ${address} answered 'add' with 'CLIENT_ERROR bad data chunk'.`],
    ['an HTTP server', version, 'HTTP/1.1 400 Bad Request\r\n', `memcached ${address} answered 'version' with 'HTTP/1.1 400 Bad Request'.`],
    ['an empty line', add, '\r\n', `memcached ${address} answered 'add' with ''.`],
    ['a word in lower case', add, 'stored\r\n', `memcached ${address} answered 'add' with 'stored'.`],
    ['a word with a space after it', add, 'STORED \r\n', `memcached ${address} answered 'add' with 'STORED '.`],
    ['a line feed alone', add, 'STORED.\nSTORED\r\n', `memcached ${address} answered 'add' with 'STORED.`],
    ['the reply of gets to add', add, 'END\r\n', `memcached ${address} answered 'add' with 'END'.`],
    ['the reply of cas to add', add, 'EXISTS\r\n', `memcached ${address} answered 'add' with 'EXISTS'.`],
    ['the reply of add to cas', cas, 'NOT_STORED\r\n', `memcached ${address} answered 'cas' with 'NOT_STORED'.`],
    ['the reply of add to delete', remove, 'STORED\r\n', `memcached ${address} answered 'delete' with 'STORED'.`],
    ['the reply of add to gets', asked, 'STORED\r\n', `memcached ${address} answered 'gets' with 'STORED'.`],
    ['the reply of gets to version', version, 'END\r\n', `memcached ${address} answered 'version' with 'END'.`],
    ['a value that nobody asked for', asked, 'VALUE c 0 1 1\r\n', `memcached ${address} answered 'gets' with 'VALUE c 0 1 1'.`],
    ['a value without its token', asked, 'VALUE a 0 1\r\n', `memcached ${address} answered 'gets' with 'VALUE a 0 1'.`],
    ['a value with one number more', asked, 'VALUE a 0 1 1 1\r\n', `memcached ${address} answered 'gets' with 'VALUE a 0 1 1 1'.`],
    ['a negative length', asked, 'VALUE a 0 -1 1\r\n', `memcached ${address} answered 'gets' with 'VALUE a 0 -1 1'.`],
    ['a value that is longer than said', asked, 'VALUE a 0 1 1\r\nxy\r\n', `memcached ${address} sent what is no reply: 'y`],
    ['a value that is shorter than said', asked, 'VALUE a 0 3 1\r\nx\r\nEND\r\n', `memcached ${address} sent what is no reply: 'END`],
  ];
  for (const [what, exchange, reply, message] of malformed) {
    it(`ends the connection: ${what}`, () => {
      for (const chunks of [[reply], [...reply]]) {
        const { outcomes, unanswered, error } = converse([exchange], chunks);
        assert.ok(error instanceof StoreProtocolError);
        if (chunks.length === 1) assert.ok(error.message.startsWith(message), error.message);
        // The connection fails those that are left, with the reason.
        assert.deepStrictEqual([outcomes, unanswered], [[undefined], 1]);
      }
    });
  }

  it('ends the connection: a reply when nothing was asked', () => {
    const { error } = converse([], ['STORED\r\n']);
    assert.ok(error instanceof StoreProtocolError);
    const second = converse([{ kind: 'add', reply: '', expected: undefined }], ['STORED\r\nS']);
    assert.ok(second.error instanceof StoreProtocolError);
    assert.deepStrictEqual(second.outcomes, [{ done: true }]);
  });

  it('ends the connection: a line without an end', () => {
    assert.equal(converse([add], ['S'.repeat(2048)]).error, undefined);
    assert.ok(converse([add], ['S'.repeat(2049)]).error instanceof StoreProtocolError);
    assert.ok(converse([add], Array<string>(30).fill('S'.repeat(100))).error instanceof StoreProtocolError);
  });

  it('leaves the replies before it as they were', () => {
    fc.assert(
      fc.property(exchanges, fc.constantFrom(...malformed), cuts, (some, [, exchange, reply], positions) => {
        const text = stream(some) + reply;
        const { outcomes, unanswered, error } = converse([...some, exchange, add], cutAt(text, positions));
        assert.ok(error instanceof StoreProtocolError);
        assert.equal(unanswered, 2);
        assert.deepStrictEqual(outcomes, [...some.map(({ expected }) => expected), undefined, undefined]);
      }),
      runs(300),
    );
  });

  it('takes a header of a value only when every part of it is right', () => {
    const right = fc.record({
      key: fc.constantFrom('a', 'b'),
      flags: fc.nat().map(String),
      bytes: fc.integer({ min: 1, max: 9_999_999 }).map(String),
      unique,
      more: fc.constant(''),
    });
    const junk = fc.constantFrom('', '-1', '+1', '1.5', '1e3', '0x10', 'x', '١', 'NaN', '12345678901234567890123', 'constructor');
    const wrong = fc.constantFrom('key', 'bytes', 'unique', 'more').chain((part) => fc.tuple(right, junk).map(([header, text]) => ({ ...header, [part]: part === 'more' ? ` ${text}` : text })));
    const lineOf = (header: { key: string; flags: string; bytes: string; unique: string; more: string }): string =>
      `VALUE ${header.key} ${header.flags} ${header.bytes} ${header.unique}${header.more}\r\n`;
    fc.assert(
      fc.property(right, (header) => {
        assert.equal(converse([asked], [lineOf(header)]).error, undefined);
      }),
      runs(300),
    );
    fc.assert(
      fc.property(wrong, (header) => {
        assert.ok(converse([asked], [lineOf(header)]).error instanceof StoreProtocolError);
      }),
      runs(300),
    );
  });

  it('is told from a reply in the same way wherever it is cut', () => {
    // Alike enough to replies to get far: whole replies with characters put in, left out and exchanged.
    const word = fc.constantFrom('VALUE ', 'END', 'STORED', 'a', 'b', ' ', '0', '1', '3', '\r\n', '\r', '\n', '-', 'SERVER_ERROR', 'VERSION ', '\u0000', '\u00ff');
    const edits = fc.array(fc.tuple(fc.nat(), fc.nat({ max: 3 }), fc.oneof(fc.constant(''), word)), { maxLength: 4 });
    const edited = fc.tuple(exchanges, edits).map(([some, changes]) => {
      let text = stream(some);
      for (const [at, removed, put] of changes) {
        const start = at % (text.length + 1);
        text = text.slice(0, start) + put + text.slice(start + removed);
      }
      return [some, text] as const;
    });
    const noise = fc.tuple(exchanges, fc.array(word, { maxLength: 20 }).map((words) => words.join('')));
    fc.assert(
      fc.property(fc.oneof(edited, noise), cuts, ([some, text], positions) => {
        const whole = converse(some, [text]);
        const cut = converse(some, cutAt(text, positions));
        assert.deepStrictEqual([cut.outcomes, cut.unanswered], [whole.outcomes, whole.unanswered]);
        for (const { error } of [whole, cut]) assert.ok(error === undefined || error instanceof StoreProtocolError, String(error));
        assert.equal(cut.error === undefined, whole.error === undefined);
        // A command that has left the queue was settled, and the others were not.
        assert.equal(whole.outcomes.filter((outcome) => outcome === undefined).length, whole.unanswered);
      }),
      runs(2000),
    );
  });
});

describe('memcached protocol: commands', () => {
  const day = 86_400;
  const expiryIn = (text: string): string | undefined => text.split(' ')[3];

  it('are the lines that memcached takes', () => {
    assert.deepStrictEqual(addRequest('k', 'é\r\n', 4, 60), { verb: 'add', key: 'k', text: 'add k 0 60 4\r\né\r\n' });
    assert.deepStrictEqual(swapRequest('k', 'v', 1, 60, '18446744073709551615'), { verb: 'cas', key: 'k', text: 'cas k 0 60 1 18446744073709551615\r\nv' });
    assert.deepStrictEqual(conditionalDeleteRequest('k', '12'), { verb: 'cas', key: 'k', text: 'cas k 0 2592001 0 12\r\n' });
    assert.deepStrictEqual(deleteRequest('k'), { verb: 'delete', key: 'k', text: 'delete k' });
    assert.equal(new GetCommand(address, ['a', 'b'], new MultiGet(() => {})).command, 'gets a b');
    assert.equal(new VersionCommand(address, () => {}).command, 'version');
  });

  it('give a lifetime in seconds up to 30 days, and as a date beyond', (t) => {
    t.mock.method(clock, 'wallClock', () => 1_700_000_000_500);
    for (const [seconds, expiry] of [
      [0, '0'],
      [0.001, '1'],
      [1, '1'],
      [59.2, '60'],
      [30 * day, String(30 * day)],
      [30 * day + 1, String(1_700_000_001 + 30 * day + 1)],
      [365 * day, String(1_700_000_001 + 365 * day)],
      // memcached reads a signed 32-bit number.
      [100 * 365 * day, '2147483647'],
      [Number.MAX_VALUE, '2147483647'],
    ] as const) {
      assert.equal(expiryIn(addRequest('k', '', 0, seconds).text), expiry);
      assert.equal(expiryIn(swapRequest('k', '', 0, seconds, '1').text), expiry);
    }
  });

  it('refuse a lifetime that is none', () => {
    for (const seconds of [-1, -0.001, Number.NaN, Infinity, -Infinity]) {
      assert.throws(() => addRequest('k', '', 0, seconds), StoreProtocolError);
      assert.throws(() => swapRequest('k', '', 0, seconds, '1'), StoreProtocolError);
    }
  });

  it('fail when the client cannot write them', () => {
    const cause = new Error('no socket');
    const errors: StoreError[] = [];
    new OutcomeCommand(address, deleteRequest('k'), () => assert.fail(), (error) => errors.push(error)).callback(cause);
    const [error] = errors;
    assert.ok(error instanceof StoreUnavailableError);
    assert.equal(error.message, `memcached ${address} did not take 'delete'.`);
    assert.equal(error.cause, cause);
  });

  it('that are conditional are answered with "not the same" when the connection of their token is gone', () => {
    const outcomes: boolean[] = [];
    new OutcomeCommand(address, conditionalDeleteRequest('k', '1'), (done) => outcomes.push(done), () => assert.fail()).outdated();
    assert.deepStrictEqual(outcomes, [false]);
  });
});

describe('memcached protocol: tokens', () => {
  it('name the connection and the number that they were read with', () => {
    fc.assert(
      fc.property(unique, (number) => {
        const { outcomes } = converse([gets(['a'], [])], [`${valueReply('a', '', number)}END\r\n`]);
        const [outcome] = outcomes;
        assert.ok(outcome !== undefined && 'items' in outcome);
        assert.deepStrictEqual(readToken(outcome.items.a![1]), [connection, number]);
      }),
      runs(100),
    );
  });

  it('that are no tokens fit no connection, and put nothing of theirs into a command', () => {
    for (const token of ['', '1', '7.', '.1', '7.-1', '7.1 noreply', '7.1\r\nflush_all', '\n7.1', '7.1\n', '7.123456789012345678901', 'a.b', '1e1.1']) {
      assert.deepStrictEqual(readToken(token), [0, '0'], JSON.stringify(token));
    }
  });
});

describe('memcached protocol: one get in several commands', () => {
  const started = (): { request: MultiGet; replies: Outcome[] } => {
    const replies: Outcome[] = [];
    return { request: new MultiGet((reply) => replies.push(replied(reply))), replies };
  };

  it('is answered when the last of them is', () => {
    const { request, replies } = started();
    const first: Command[] = [new GetCommand(address, ['a'], request)];
    new ReplyReader(address).read(`${valueReply('a', '1', '5')}END\r\n`, first);
    assert.deepStrictEqual(replies, [], 'the second command was not sent yet');
    const second: Command[] = [new GetCommand(address, ['b', 'c'], request)];
    request.allSent();
    assert.deepStrictEqual(replies, []);
    new ReplyReader(address).read(`${valueReply('c', '3', '6')}END\r\n`, second);
    assert.deepStrictEqual(replies, [{ items: { a: ['1', '0.5'], c: ['3', '0.6'] }, failed: {} }]);
  });

  it('keeps what one server answered when another fails half-way', () => {
    const { request, replies } = started();
    const first: Command[] = [new GetCommand(address, ['a'], request)];
    const second: Command[] = [new GetCommand(address, ['b', 'c'], request)];
    request.allSent();
    new ReplyReader(address).read(`${valueReply('a', '1', '5')}END\r\n`, first);
    new ReplyReader(address).read(valueReply('b', '2', '6'), second);
    second[0]!.fail(new StoreUnavailableError('gone'));
    assert.deepStrictEqual(replies, [
      { items: { a: ['1', '0.5'] }, failed: { b: 'StoreUnavailableError', c: 'StoreUnavailableError' } },
    ]);
  });

  it('of no keys is answered at once', () => {
    const { request, replies } = started();
    request.allSent();
    assert.deepStrictEqual(replies, [{ items: {}, failed: {} }]);
  });
});
