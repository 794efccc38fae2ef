/** The checker itself: histories made by hand that it must accept, and some that it must not. */
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Checker, explain, type Finding } from './checker.js';
import { History, type HistoryRow } from './history.js';
import { parseWrites, ReadParser, type Mode, type Outcome, type Read, type WriteLine } from './log.js';
import { textOfRows } from './questions.js';
import { contentOf, type TableName } from './tables.js';

/** Milliseconds; the logs have microseconds. */
const writeLease = 2000;
const allowance = 1000;
const failure = 1500;

const patience = { writeLease: writeLease * 1000, allowance: allowance * 1000, failure: failure * 1000 };

const user = (id: number, name: string, stamp: string, count = 0): string =>
  contentOf('User', (column) => ({ id, name, tenantId: 1, slug: name, active: true, count, stamp })[column]);
const avatar = (id: number, userId: number | null, isPrimary: boolean, stamp: string): string =>
  contentOf('Avatar', (column) => ({ id, url: `u${id}`, userId, isPrimary, count: 0, stamp })[column]);
const doc = (id: number, ownerId: number | null, stamp: string): string =>
  contentOf('Doc', (column) => ({ id, code: `c${id}`, ownerId, count: 0, stamp })[column]);

interface WriteOptions {
  readonly process?: string;
  /** Of a transaction: when COMMIT was sent. */
  readonly commit?: number;
  readonly outcome?: Outcome;
  readonly mode?: Mode;
  /** It was killed before the end. */
  readonly open?: boolean;
  readonly undelivered?: boolean;
  readonly unmarked?: boolean;
  readonly delivered?: number;
  readonly apart?: boolean;
}

/** What happened, told in order; then reads are judged. */
class Scenario {
  readonly #lines: WriteLine[] = [];
  readonly #rows: HistoryRow[] = [];
  readonly #kills = new Map<string, number>();
  readonly #reads: Read[] = [];

  /** A write from `start` to `end`, and the rows that it changed in the database. */
  write(id: string, start: number, end: number, changes: readonly Change[], options: WriteOptions = {}): this {
    const { process = 'w', commit, outcome = 'done', mode = 'available', open = false } = options;
    this.#lines.push(['worker', process, mode, 0], ['begin', id, 'save', start * 1000]);
    this.#lines.push(['unit', id, `${id}-1`, start * 1000, commit === undefined ? 0 : 1]);
    if (options.apart === true) this.#lines.push(['apart', `${id}-1`]);
    if (commit !== undefined) this.#lines.push(['commit', `${id}-1`, commit * 1000]);
    if (options.unmarked === true) this.#lines.push(['unmarked', id]);
    if (options.undelivered === true) this.#lines.push(['undelivered', id]);
    if (options.delivered !== undefined) this.#lines.push(['delivered', id, options.delivered * 1000]);
    if (!open) this.#lines.push(['end', id, end * 1000, outcome, '']);
    for (const change of changes) this.#change(`${id}-1`, change);
    return this;
  }

  /** What was there at the beginning. */
  given(...contents: readonly (readonly [TableName, string])[]): this {
    for (const [tbl, content] of contents) this.#change('init', { tbl, action: 'I', content });
    return this;
  }

  kill(process: string, at: number): this {
    this.#kills.set(process, at * 1000);
    return this;
  }

  read(askId: string, content: string | null, start: number, end: number): this {
    this.#reads.push({ process: 'r', askId, content, start: start * 1000, end: end * 1000, hit: true });
    return this;
  }

  checked(): Checker {
    const history = new History(this.#lines, this.#kills, patience);
    const checker = new Checker(history.replay(this.#rows));
    for (const read of this.#reads) checker.check(read);
    return checker;
  }

  history(): History {
    return new History(this.#lines, this.#kills, patience).replay(this.#rows);
  }

  accepts(): void {
    assert.deepEqual(this.checked().findings.map(shown), []);
  }

  rejects(kind: Finding['kind'], why: RegExp): void {
    const { findings } = this.checked();
    assert.deepEqual(findings.map((finding) => finding.kind), [kind], findings.map(shown).join('\n'));
    assert.match(findings[0]?.why ?? '', why);
  }

  #change(label: string, { tbl, action, content, from, visible = true }: Change): void {
    this.#rows.push({
      seq: this.#rows.length + 1, label, tbl, action, content,
      old_pk: from ?? (action === 'I' ? null : (content.split('|')[0] ?? null)),
      visible: action === 'D' || !visible ? 0 : 1,
    });
  }
}

interface Change {
  readonly tbl: TableName;
  readonly action: 'I' | 'U' | 'D';
  readonly content: string;
  /** The primary key that it had. */
  readonly from?: string;
  readonly visible?: boolean;
}

const shown = (finding: Finding): string => explain(finding, 0).join('\n');
const updated = (content: string): Change => ({ tbl: 'User', action: 'U', content });

const old = user(1, 'ann', 'init');
const next = user(1, 'ann', 'a.1');
const start = (): Scenario => new Scenario().given(['User', old]);

describe('checker accepts', () => {
  it('the old and the new version while a write is under way', () => {
    start().write('a', 100, 200, [updated(next)])
      .read('User:id:1', old, 90, 95)
      .read('User:id:1', old, 150, 160)
      .read('User:id:1', next, 150, 160)
      .read('User:id:1', old, 190, 300)
      .read('User:id:1', next, 201, 202)
      .accepts();
  });

  it('an old version that became the current one again', () => {
    start().write('a', 100, 200, [updated(next)]).write('b', 300, 400, [updated(old)]).read('User:id:1', old, 401, 402).accepts();
  });

  it('"no such row" before the row, and after it', () => {
    new Scenario()
      .write('a', 100, 200, [{ tbl: 'User', action: 'I', content: old }])
      .write('b', 300, 400, [{ tbl: 'User', action: 'D', content: old }])
      .read('User:id:1', null, 10, 20)
      .read('User:name:ann', null, 10, 20)
      .read('User:id:1', old, 201, 299)
      .read('User:name:ann', old, 201, 299)
      .read('User:id:1', null, 401, 402)
      .read('User:name:ann', null, 401, 402)
      .accepts();
  });

  it('a name that goes from one row to another in one transaction, without a moment of nobody', () => {
    const bob = user(2, 'bob', 'init');
    const scenario = (): Scenario =>
      new Scenario().given(['User', old], ['User', bob]).write('a', 100, 200, [updated(user(1, 'x', 'a.1')), updated(user(2, 'ann', 'a.2')), updated(user(1, 'bob', 'a.3'))], { commit: 180 });
    scenario().read('User:name:ann', user(2, 'ann', 'a.2'), 210, 211).read('User:name:bob', user(1, 'bob', 'a.3'), 210, 211).read('User:name:ann', old, 100, 150).accepts();
    scenario().read('User:name:ann', null, 150, 190).rejects('staleAfterAck', /version 0 was answered/);
  });

  it('an old version for writeLease after its writer was killed', () => {
    const checker = start().write('a', 100, 0, [updated(next)], { open: true }).kill('w', 150)
      .read('User:id:1', old, 2100, 2110)
      .read('User:id:1', next, 2100, 2110)
      .checked();
    assert.deepEqual(checker.findings.map(shown), []);
    assert.equal(checker.maxStaleAfterCrash, (2100 - 150) * 1000);
  });

  it("an old version while an invalidation is undelivered, in mode 'available'", () => {
    start().write('a', 100, 200, [updated(next)], { undelivered: true, delivered: 900 }).read('User:id:1', old, 800, 810).accepts();
  });

  it('what a write that was reported as failed committed, and what it did not', () => {
    start().write('a', 100, 200, [updated(next)], { outcome: 'failed' }).read('User:id:1', next, 210, 211).read('User:id:1', old, 210, 211).accepts();
    start().write('a', 100, 200, [], { outcome: 'failed' }).read('User:id:1', old, 210, 211).accepts();
  });

  it('what the database itself did to rows that referred to one that went', () => {
    new Scenario()
      .given(['User', old], ['Avatar', avatar(5, 1, true, 'init')], ['Doc', doc(7, 1, 'init')])
      .write('a', 100, 200, [{ tbl: 'User', action: 'D', content: old }])
      .read('Avatar:id:5', null, 210, 211)
      .read('Avatar:primary:1', null, 210, 211)
      .read('Doc:id:7', doc(7, null, 'init'), 210, 211)
      .read('Doc:newest:1', null, 210, 211)
      .accepts();
  });

  it('rows that follow one to another primary key', () => {
    new Scenario()
      .given(['User', old], ['Avatar', avatar(5, 1, true, 'init')])
      .write('a', 100, 200, [{ tbl: 'User', action: 'U', content: user(9, 'ann', 'a.1'), from: '1' }])
      .read('User:id:1', null, 210, 211)
      .read('User:id:9', user(9, 'ann', 'a.1'), 210, 211)
      .read('Avatar:primary:9', avatar(5, 9, true, 'init'), 210, 211)
      .accepts();
  });

  it('either of two rows where the question names none of them', () => {
    new Scenario()
      .given(['User', old], ['Avatar', avatar(5, 1, false, 'init')], ['Avatar', avatar(6, 1, true, 'init')])
      .read('Avatar:user:1', avatar(5, 1, false, 'init'), 10, 11)
      .read('Avatar:user:1', avatar(6, 1, true, 'init'), 10, 11)
      .read('Avatar:primary:1', avatar(6, 1, true, 'init'), 10, 11)
      .accepts();
  });
});

describe('checker keeps apart a row and the way to it', () => {
  const renamed = user(1, 'bob', 'a.1');
  const counted = user(1, 'bob', 'b.1', 5);
  const scenario = (): Scenario =>
    start()
      .write('a', 100, 200, [updated(renamed)], { undelivered: true, delivered: 900 })
      // It changes the row, not its name, and is delivered at once.
      .write('b', 300, 400, [updated(counted)]);

  it('the way may be out of date until its own invalidation is delivered', () => {
    scenario().read('User:name:bob', null, 800, 810).read('User:name:bob', counted, 800, 810).accepts();
    scenario().read('User:name:bob', null, 901, 902).rejects('staleAfterAck', /version 0/);
  });

  it('the row may not', () => {
    scenario().read('User:name:bob', renamed, 800, 810).rejects('staleAfterAck', /version 2/);
    scenario().read('User:id:1', old, 800, 810).rejects('staleAfterAck', /version 1/);
  });

  it('an answer that is kept as a whole is void with each change of the row', () => {
    const first = avatar(5, 1, true, 'init');
    const changed = (stamp: string, userId: number | null): Change => ({ tbl: 'Avatar', action: 'U', content: avatar(5, userId, true, stamp) });
    const given = (): Scenario => new Scenario().given(['Avatar', first]);
    given().write('a', 100, 200, [changed('a.1', null)], { undelivered: true, delivered: 900 }).write('b', 300, 400, [changed('b.1', null)])
      .read('Avatar:primary:1', first, 800, 810).accepts();
    given().write('a', 100, 200, [changed('a.1', 1)], { undelivered: true, delivered: 900 }).write('b', 300, 400, [changed('b.1', 1)])
      .read('Avatar:primary:1', first, 800, 810).rejects('staleAfterAck', /version 1/);
  });
});

describe('checker rejects', () => {
  it('an old version after the acknowledgement', () => {
    start().write('a', 100, 200, [updated(next)]).read('User:id:1', old, 201, 202).rejects('staleAfterAck', /version 1 was answered, and version 2/);
  });

  it('an old version under a secondary key, and an old owner of a name', () => {
    start().write('a', 100, 200, [updated(next)]).read('User:name:ann', old, 201, 202).rejects('staleAfterAck', /version 1/);
    start().write('a', 100, 200, [updated(user(1, 'bob', 'a.1'))]).read('User:name:ann', old, 201, 202).rejects('staleAfterAck', /version 1/);
  });

  it('"no such row" after the row was acknowledged, also under its name', () => {
    const inserted = (): Scenario => new Scenario().write('a', 100, 200, [{ tbl: 'User', action: 'I', content: old }]);
    inserted().read('User:id:1', null, 201, 202).rejects('staleAfterAck', /version 0/);
    inserted().read('User:name:ann', null, 201, 202).rejects('staleAfterAck', /version 0/);
  });

  it('a row that came back after it was destroyed', () => {
    start().write('a', 100, 200, [{ tbl: 'User', action: 'D', content: old }]).read('User:id:1', old, 300, 301).rejects('staleAfterAck', /version 1/);
  });

  it('a soft-deleted row', () => {
    const content = doc(7, null, 'a.1');
    new Scenario().given(['Doc', doc(7, null, 'init')]).write('a', 100, 200, [{ tbl: 'Doc', action: 'U', content, visible: false }])
      .read('Doc:code:c7', doc(7, null, 'init'), 210, 211).rejects('staleAfterAck', /version 1/);
  });

  it('a child that the database has deleted with its parent', () => {
    new Scenario()
      .given(['User', old], ['Avatar', avatar(5, 1, true, 'init')])
      .write('a', 100, 200, [{ tbl: 'User', action: 'D', content: old }])
      .read('Avatar:id:5', avatar(5, 1, true, 'init'), 210, 211)
      .rejects('staleAfterAck', /version 1/);
  });

  it('what was read before its COMMIT was sent', () => {
    start().write('a', 100, 300, [updated(next)], { commit: 250 }).read('User:id:1', next, 150, 200).rejects('uncommitted', /before its COMMIT/);
  });

  it('what was rolled back', () => {
    start().write('a', 100, 200, [], { outcome: 'failed' }).read('User:id:1', next, 150, 160).rejects('uncommitted', /never committed/);
  });

  it('what was there inside of a transaction only', () => {
    start().write('a', 100, 300, [updated(user(1, 'ann', 'a.1')), updated(user(1, 'ann', 'a.2'))], { commit: 200 })
      .read('User:id:1', user(1, 'ann', 'a.1'), 210, 220).rejects('uncommitted', /inside of transaction/);
  });

  it('but not where a transaction was no longer one', () => {
    start().write('a', 100, 300, [updated(user(1, 'ann', 'a.1')), updated(user(1, 'ann', 'a.2'))], { commit: 200, apart: true })
      .read('User:id:1', user(1, 'ann', 'a.1'), 110, 120).accepts();
  });

  it('a content that never was, one of another key, and a row that was always there as none', () => {
    start().read('User:id:1', user(1, 'ann', 'nobody'), 10, 11).rejects('wrongAnswers', /never had this content/);
    start().given(['User', user(2, 'bob', 'init')]).read('User:id:1', user(2, 'bob', 'init'), 10, 11).rejects('wrongAnswers', /values that were asked for/);
    new Scenario().given(['Avatar', avatar(5, 1, true, 'init')]).read('Avatar:user:2', avatar(5, 1, true, 'init'), 10, 11).rejects('wrongAnswers', /values that were asked for/);
  });

  it('an old version longer than writeLease after its writer was killed', () => {
    const late = 150 + writeLease + allowance + 1;
    const scenario = start().write('a', 100, 0, [updated(next)], { open: true }).kill('w', 150).read('User:id:1', old, late, late + 1);
    scenario.rejects('staleAfterCrash', /cut short by a kill 3001 ms before/);
    assert.equal(scenario.checked().maxStaleAfterCrash, (late - 150) * 1000);
  });

  it('an old version too long after a write that was reported as failed and was committed', () => {
    const late = 200 + failure + 1;
    start().write('a', 100, 200, [updated(next)], { outcome: 'failed' }).read('User:id:1', old, late, late + 1).rejects('staleAfterFailure', /reported as failed/);
  });

  it('an old version after the invalidation was delivered', () => {
    start().write('a', 100, 200, [updated(next)], { undelivered: true, delivered: 900 }).read('User:id:1', old, 901, 902).rejects('staleAfterAck', /version 1/);
  });

  it("an undelivered invalidation as an excuse in mode 'strict'", () => {
    start().write('a', 100, 200, [updated(next)], { undelivered: true, mode: 'strict' }).read('User:id:1', old, 201, 202).rejects('staleAfterAck', /version 1/);
  });

  it('an answer that another row would have been', () => {
    const first = avatar(5, 1, false, 'init');
    const second = avatar(6, 1, true, 'init');
    const scenario = (): Scenario =>
      new Scenario().given(['Avatar', first], ['Avatar', second]).write('a', 100, 200, [{ tbl: 'Avatar', action: 'U', content: avatar(5, 1, true, 'a.1') }]);
    scenario().read('Avatar:primary:1', second, 150, 160).accepts();
    scenario().read('Avatar:primary:1', second, 201, 202).rejects('staleAfterAck', /row 5 would have been the answer/);
    scenario().read('Avatar:primary:1', null, 150, 160).rejects('staleAfterAck', /row 6 would have been the answer/);
  });
});

// In order to see which rows are meant: users of tenant 1, with their counts.
const list = (...contents: readonly string[]): string => textOfRows(contents);
const ann = user(1, 'ann', 'init', 5);
const bob = user(2, 'bob', 'init', 3);
const both = (): Scenario => new Scenario().given(['User', ann], ['User', bob]);
const inserted = (content: string): Change => ({ tbl: 'User', action: 'I', content });
const deleted = (content: string): Change => ({ tbl: 'User', action: 'D', content });

describe('checker on several rows at once accepts', () => {
  const ann2 = user(1, 'ann', 'a.1', 6);
  const bob2 = user(2, 'bob', 'b.1', 4);

  it('each moment between the acknowledgement before a list and its end', () => {
    const scenario = both().write('a', 100, 200, [updated(ann2)]).write('b', 300, 400, [updated(bob2)]);
    for (const [start, end, ...contents] of [
      [10, 20, ann, bob], [150, 160, ann, bob], [150, 160, ann2, bob], [201, 202, ann2, bob], [350, 360, ann2, bob2], [150, 360, ann2, bob2], [150, 360, ann, bob],
    ] as const) scenario.read('User:ofTenant:1', list(...contents), start, end);
    scenario.accepts();
  });

  it('any order of two writes of which none was acknowledged before the other', () => {
    both().write('a', 100, 200, [updated(ann2)]).write('b', 110, 190, [updated(bob2)])
      .read('User:ofTenant:1', list(ann2, bob), 90, 210)
      .read('User:ofTenant:1', list(ann, bob2), 90, 210)
      .accepts();
  });

  it('empty lists, counts, existence and results of each moment', () => {
    new Scenario().write('a', 100, 200, [inserted(ann)]).write('b', 300, 400, [deleted(ann)])
      .read('User:ofTenant:1', '', 10, 20).read('User:number:', '0', 10, 20).read('User:sumOfTenant:1', '[0]', 10, 20)
      .read('User:ofTenant:1', list(ann), 201, 202).read('User:number:', '1', 201, 202).read('User:sumOfTenant:1', '[5,1]', 201, 202)
      .read('User:number:', '0', 150, 160).read('User:number:', '1', 150, 160)
      .read('User:ofTenant:1', '', 401, 402).read('User:number:', '0', 401, 402).read('User:ofTenant:2', '', 401, 402)
      .accepts();
    new Scenario().given(['User', ann], ['Avatar', avatar(5, 1, false, 'init')])
      .read('Avatar:hasUser:1', 'true', 10, 20).read('Avatar:hasUser:2', 'false', 10, 20).accepts();
  });

  it('a list of which a row is out of date by itself, where that is excused', () => {
    const checker = both().write('a', 100, 200, [updated(ann2)], { undelivered: true, delivered: 900 }).write('b', 300, 400, [updated(bob2)])
      .read('User:ofTenant:1', list(ann, bob2), 500, 510).checked();
    assert.deepEqual(checker.findings.map(shown), []);
    assert.equal(checker.loose, 1);
  });

  it('a limit: of each moment the first ones in order', () => {
    const users = [4, 3, 2, 1].map((count, at) => user(at + 1, `n${at}`, 'init', count));
    const raised = user(4, 'n3', 'a.1', 9);
    new Scenario().given(...users.map((content) => ['User', content] as const)).write('a', 100, 200, [updated(raised)])
      .read('User:topOfTenant:1', list(...users.slice(0, 3)), 10, 20)
      .read('User:topOfTenant:1', list(raised, ...users.slice(0, 2)), 201, 202)
      .accepts();
  });
});

describe('checker on several rows at once rejects', () => {
  const ann2 = user(1, 'ann', 'a.1', 6);
  const bob2 = user(2, 'bob', 'b.1', 4);
  const oneAfterTheOther = (): Scenario => both().write('a', 100, 200, [updated(ann2)]).write('b', 300, 400, [updated(bob2)]);

  it('a torn list: the later of two writes and not the earlier', () => {
    oneAfterTheOther().read('User:ofTenant:1', list(ann, bob2), 150, 360).rejects('torn', /never so together/);
  });

  it('half of a transaction, in a list, a result and a count', () => {
    const scenario = (): Scenario => both().write('a', 100, 200, [updated(ann2), updated(bob2)], { commit: 150 });
    scenario().read('User:ofTenant:1', list(ann2, bob), 90, 210).rejects('torn', /never so together/);
    scenario().read('User:sumOfTenant:1', '[9,1,2]', 90, 210).rejects('torn', /never so together/);
    both().write('a', 100, 200, [deleted(ann), inserted(user(3, 'cid', 'a.1'))], { commit: 150 }).read('User:number:', '3', 90, 210).rejects('torn', /never so together/);
  });

  it('a row that is in two lists, or in none, because it moved between two looks', () => {
    const moved = user(1, 'ann', 'a.1', 5).replace('|1|ann', '|2|ann');
    const scenario = (): Scenario => both().write('a', 100, 200, [updated(moved)]);
    scenario().read('User:ofTenant:1', list(ann, bob), 201, 202).rejects('staleAfterAck', /row 1\|.*version 1 was answered/);
    scenario().read('User:ofTenant:2', '', 201, 202).rejects('staleAfterAck', /row 1 is not in it/);
    scenario().read('User:ofTenant:1', list(bob, moved), 201, 202).rejects('wrongAnswers', /values that were asked for/);
  });

  it('a list that lacks a row, also where it has a limit', () => {
    both().read('User:ofTenant:1', list(ann), 10, 20).rejects('staleAfterAck', /row 2 is not in it/);
    both().read('User:topOfTenant:1', list(bob), 10, 20).rejects('staleAfterAck', /row 1 is not in it/);
    const users = [4, 3, 2, 1].map((count, at) => user(at + 1, `n${at}`, 'init', count));
    const raised = user(4, 'n3', 'a.1', 9);
    new Scenario().given(...users.map((content) => ['User', content] as const)).write('a', 100, 200, [updated(raised)])
      .read('User:topOfTenant:1', list(...users.slice(0, 3)), 201, 202).rejects('staleAfterAck', /row 4 is not in it/);
  });

  it('an empty list after the row in it was acknowledged, and a row that is gone', () => {
    const scenario = (): Scenario => new Scenario().write('a', 100, 200, [inserted(ann)]).write('b', 300, 400, [deleted(ann)]);
    scenario().read('User:ofTenant:1', '', 201, 202).rejects('staleAfterAck', /row 1 is not in it/);
    scenario().read('User:ofTenant:1', list(ann), 401, 402).rejects('staleAfterAck', /version 1 was answered/);
  });

  it('an old row in a list, one of the future, and one that was rolled back', () => {
    oneAfterTheOther().read('User:ofTenant:1', list(ann, bob), 201, 202).rejects('staleAfterAck', /version 1 was answered/);
    oneAfterTheOther().read('User:ofTenant:1', list(ann2, bob2), 201, 202).rejects('uncommitted', /before its COMMIT/);
    both().write('a', 100, 200, [], { outcome: 'failed' }).read('User:ofTenant:1', list(ann2, bob), 150, 160).rejects('uncommitted', /never committed/);
  });

  it('a list in another order, and one with a row twice', () => {
    both().read('User:topOfTenant:1', list(bob, ann), 10, 20).rejects('wrongAnswers', /never the answer/);
    both().read('User:ofTenant:1', list(ann, ann, bob), 10, 20).rejects('wrongAnswers', /twice/);
  });

  it('a count, a result and an existence that are out of date, of the future, or of no time', () => {
    const scenario = (): Scenario => new Scenario().write('a', 100, 200, [inserted(ann)]).write('b', 300, 400, [inserted(bob)]);
    scenario().read('User:number:', '0', 201, 202).rejects('staleAfterAck', /the answer before/);
    scenario().read('User:number:', '2', 201, 202).rejects('uncommitted', /the answer later/);
    scenario().read('User:number:', '7', 201, 202).rejects('wrongAnswers', /never the answer/);
    scenario().read('User:sumOfTenant:1', '[5,1]', 401, 402).rejects('staleAfterAck', /the answer before/);
    new Scenario().given(['User', ann]).write('a', 100, 200, [{ tbl: 'Avatar', action: 'I', content: avatar(5, 1, false, 'a.1') }])
      .read('Avatar:hasUser:1', 'false', 201, 202).rejects('staleAfterAck', /the answer before/);
  });

  it('a list that is out of date longer than writeLease after its writer was killed', () => {
    const killed = (at: number): Scenario =>
      both().write('a', 100, 0, [updated(ann2)], { open: true }).kill('w', 150).read('User:ofTenant:1', list(ann, bob), at, at + 1)
        .read('User:sumOfTenant:1', '[8,1,2]', at, at + 1);
    killed(2100).accepts();
    const { findings } = killed(150 + writeLease + allowance + 1).checked();
    assert.deepEqual(findings.map(({ kind }) => kind), ['staleAfterCrash', 'staleAfterCrash']);
  });
});

describe('checker on relations', () => {
  const owned = doc(7, 1, 'init');
  const given = (): Scenario => new Scenario().given(['User', ann], ['User', bob], ['Doc', owned], ['Avatar', avatar(5, 1, true, 'init')]);
  const ann2 = user(1, 'ann', 'a.1', 6);
  const handedOver: Change = { tbl: 'Doc', action: 'U', content: doc(7, 2, 'a.1') };

  it('accepts each row on the way by itself', () => {
    given().write('a', 100, 200, [updated(ann2)])
      .read('Doc:ownerOfCode:c7', ann, 10, 20).read('Doc:ownerOfCode:c7', ann2, 201, 202).read('Doc:ownerOfCode:c8', null, 10, 20)
      .read('Doc:withOwner:7', list(owned, ann), 150, 160).read('Doc:withOwner:8', null, 10, 20)
      .read('User:avatars:1', list(avatar(5, 1, true, 'init')), 10, 20).read('User:avatars:2', '', 10, 20)
      .read('User:withDocs:ann', list(ann2, owned), 201, 202).read('User:withDocs:bob', list(bob), 10, 20)
      .accepts();
    given().write('a', 100, 200, [handedOver]).read('Doc:ownerOfCode:c7', bob, 201, 202).read('Doc:withOwner:7', list(doc(7, 2, 'a.1'), bob), 201, 202).accepts();
  });

  it('rejects a row that is out of date, at the end of the way or on it', () => {
    given().write('a', 100, 200, [updated(ann2)]).read('Doc:ownerOfCode:c7', ann, 201, 202).rejects('staleAfterAck', /version 1/);
    given().write('a', 100, 200, [updated(ann2)]).read('Doc:withOwner:7', list(owned, ann), 201, 202).rejects('staleAfterAck', /version 1/);
    given().write('a', 100, 200, [handedOver]).read('Doc:ownerOfCode:c7', ann, 201, 202).rejects('staleAfterAck', /nothing leads to this row/);
    given().write('a', 100, 200, [handedOver]).read('Doc:withOwner:7', list(owned, ann), 201, 202).rejects('staleAfterAck', /version 1/);
    given().write('a', 100, 200, [handedOver]).read('User:withDocs:bob', list(bob), 201, 202).rejects('staleAfterAck', /row 7 is not in it/);
  });

  it('rejects what lacks a row, and one that does not belong to it', () => {
    given().read('Doc:ownerOfCode:c7', null, 10, 20).rejects('staleAfterAck', /a row that it leads to/);
    given().read('Doc:withOwner:7', list(owned), 10, 20).rejects('staleAfterAck', /did not come with it/);
    given().read('Doc:withOwner:7', list(owned, bob), 10, 20).rejects('wrongAnswers', /does not refer/);
    given().read('User:avatars:1', '', 10, 20).rejects('staleAfterAck', /row 5 is not in it/);
    given().read('User:avatars:2', list(avatar(5, 1, true, 'init')), 10, 20).rejects('wrongAnswers', /does not refer/);
    given().read('User:withDocs:ann', list(ann), 10, 20).rejects('staleAfterAck', /row 7 is not in it/);
    given().read('User:withDocs:ann', null, 10, 20).rejects('staleAfterAck', /there is such a row/);
  });

  it('through another table: the ids that lead there', () => {
    const content = contentOf('Membership', (column) => ({ userId: 1, groupId: 2, role: 'guest', stamp: 'init' })[column]);
    const member = (): Scenario => given().given(['Membership', content]);
    member().read('User:groups:1', '2', 10, 20).read('User:groups:2', '', 10, 20).read('User:groups:9', '', 10, 20).accepts();
    member().read('User:groups:1', '', 10, 20).rejects('staleAfterAck', /row 1,2 is not in it/);
    member().read('User:groups:1', '2\t3', 10, 20).rejects('staleAfterAck', /nothing leads to row 3/);
    member().write('a', 100, 200, [{ tbl: 'Membership', action: 'D', content, from: '1,2' }]).read('User:groups:1', '2', 201, 202).rejects('staleAfterAck', /nothing leads to row 2/);
  });
});

describe('history', () => {
  it('tells changes that no operation explains', () => {
    assert.equal(new Scenario().write('a', 100, 200, []).history().unexplained.length, 0);
    const history = new History([], new Map(), patience).replay([
      { seq: 1, label: 'unknown', tbl: 'User', action: 'I', old_pk: null, visible: 1, content: old },
    ]);
    assert.equal(history.unexplained.length, 1);
  });

  it("tells a write that 'strict' refused and that was committed", () => {
    const refused = (changes: Change[]): number =>
      start().write('a', 100, 200, changes, { outcome: 'refused', mode: 'strict', commit: 150 }).history().refusedButWritten.length;
    assert.equal(refused([updated(next)]), 1);
    assert.equal(refused([]), 0);
  });

  it('excuses a killed writer whose store could not be told, and no other', () => {
    const standing = (options: WriteOptions): string | undefined =>
      start().write('a', 100, 0, [updated(next)], { open: true, ...options }).kill('w', 150).history().rows.get('User:1')?.versions.last.standing;
    assert.equal(standing({}), 'crashed');
    assert.equal(standing({ unmarked: true }), 'excused');
    assert.equal(standing({ undelivered: true }), 'excused');
    assert.equal(standing({ unmarked: true, mode: 'strict' }), 'crashed');
  });
});

describe('logs', () => {
  it('of a killed process may end in a torn line', () => {
    assert.deepEqual(parseWrites('["worker","w","strict",1]\n["begin","a","save",2]\n["end","a"'), [['worker', 'w', 'strict', 1], ['begin', 'a', 'save', 2]]);
    const parser = new ReadParser('r');
    const reads = ['k 1 User:id:1', 'c 1 1|ann|1|s|1|0|x y', 'r 1 1 a 5 1', 'r 1 0 k 5 0', 'r 1 1 z', 'r 1 7 a 5 1', 'c'].map((line) => parser.parse(line));
    assert.deepEqual(
      reads.filter((read) => read !== undefined),
      [
        { process: 'r', askId: 'User:id:1', content: '1|ann|1|s|1|0|x y', start: 10, end: 15, hit: true },
        { process: 'r', askId: 'User:id:1', content: null, start: 20, end: 25, hit: false },
      ],
    );
    assert.equal(parser.torn, 3);
  });

  it('tell an empty list from no such row', () => {
    const parser = new ReadParser('r');
    const [, , list, none] = ['k 1 User:ofTenant:1', 'c 1 ', 'r 1 1 a 5 1', 'r 1 0 a 5 1'].map((line) => parser.parse(line));
    assert.deepEqual([list?.content, none?.content], ['', null]);
  });
});
