/**
 * The blog of examples/, over HTTP: as its user starts it, on SQLite and the memory store, and as two
 * processes on MariaDB and memcached. What each route costs, and that every write is seen by every
 * read that follows it, wherever that is answered.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { after, before, beforeEach, describe, it } from 'node:test';

const example = join(__dirname, '..', '..', '..', 'build', 'examples', 'blog', 'index.js');

interface Blog {
  /** One address for each process. */
  readonly servers: readonly string[];
  /** Ends it as its user does. Resolves to the exit code and whatever was written to stderr. */
  stop(): Promise<{ readonly code: number | null; readonly errors: string }>;
}

/** Starts the example, and waits until as many servers say where they are. */
function start(args: readonly string[], count: number): Promise<Blog> {
  const child = spawn(process.execPath, [example, '--port', '0', ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  let errors = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (errors += text));
  const closed = new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  return new Promise((resolve, reject) => {
    void closed.then((code) => reject(new Error(`the blog ended with ${String(code)}\n${output}${errors}`)), reject);
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text;
      const servers = [...output.matchAll(/^(http:\/\/127\.0\.0\.1:\d+) on .*\n/gm)].map(([, url]) => url!);
      if (servers.length < count) return;
      resolve({
        servers,
        async stop() {
          child.kill('SIGTERM');
          return { code: await closed, errors };
        },
      });
    });
  });
}

interface Answer {
  readonly status: number;
  /** Parsed, where it is JSON. */
  // oxlint-disable-next-line typescript/no-explicit-any -- each test knows what it asked for
  readonly body: any;
}

interface Asking {
  readonly method?: 'GET' | 'POST' | 'PATCH' | 'PUT' | 'DELETE';
  /** Who asks. */
  readonly as?: string;
  readonly body?: unknown;
}

async function ask(server: string, path: string, { method = 'GET', as, body }: Asking = {}): Promise<Answer> {
  const response = await fetch(server + path, {
    method,
    headers: { ...(as === undefined ? {} : { 'x-user': as }), ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
    ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
  const text = await response.text();
  const isJson = response.headers.get('content-type')?.startsWith('application/json') === true;
  return { status: response.status, body: isJson ? JSON.parse(text) : text };
}

const statementsOf = async (server: string): Promise<number> => (await ask(server, '/stats')).body.statements as number;

/** What a server answers, and how many SQL statements it sent for that. */
async function costOf(server: string, path: string, asking?: Asking): Promise<Answer & { readonly sql: number }> {
  const before = await statementsOf(server);
  const answer = await ask(server, path, asking);
  return { ...answer, sql: (await statementsOf(server)) - before };
}

/** One after the other. */
async function inTurn<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<readonly R[]> {
  const results: R[] = [];
  for (const item of items) results.push(await work(item));
  return results;
}

for (const [name, args, count] of [
  ['SQLite and the memory store', [], 1],
  ['MariaDB and memcached, two processes', ['--mysql', '--servers', '2'], 2],
] as const) {
  describe(`the blog on ${name}`, () => {
    let blog: Blog;
    /** Where a test writes, and where it reads: another process, if there is one. */
    let writer: string;
    let reader: string;
    let posts = 0;
    /** A post of bill's, for each test that writes its own. */
    let slug: string;

    before(async () => {
      blog = await start(args, count);
      writer = blog.servers[0]!;
      reader = blog.servers.at(-1)!;
    });
    after(async () => {
      const { code, errors } = await blog.stop();
      assert.equal(errors, '');
      assert.equal(code, 0);
    });

    async function newPost(): Promise<void> {
      slug = `post-${(posts += 1)}`;
      await write('POST', '/posts', 'bill', { slug, title: `Title of ${slug}`, text: 'Once.', tags: [slug, 'daily'] });
    }

    /** A write, which has to succeed, and the statements that it took. */
    async function write(method: NonNullable<Asking['method']>, path: string, as: string | undefined, body?: unknown): Promise<Answer & { sql: number }> {
      const asking = { method, ...(as === undefined ? {} : { as }), ...(body === undefined ? {} : { body }) };
      const answer = await costOf(writer, path, asking);
      assert.ok(answer.status >= 200 && answer.status < 300, `${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
      return answer;
    }

    /** Everything that is cached is void, and whoever asks is known again. */
    async function voidAll(as?: string): Promise<void> {
      await write('POST', '/admin/bump', 'emma');
      if (as !== undefined) for (const server of blog.servers) await ask(server, '/nowhere', { as });
    }

    /** What all servers answer: the first one may ask the database, in the second round none of them does. */
    async function seenAll(paths: readonly string[], as?: string): Promise<readonly Answer[]> {
      const asking = as === undefined ? {} : { as };
      const [first, ...others] = await inTurn([...blog.servers].reverse(), (server) => inTurn(paths, (path) => ask(server, path, asking)));
      for (const answers of others) assert.deepEqual(answers, first);
      for (const server of blog.servers) {
        const before = await statementsOf(server);
        const answers = await inTurn(paths, (path) => ask(server, path, asking));
        assert.equal((await statementsOf(server)) - before, 0, `statements when all is warm: ${paths.join(' ')}`);
        assert.deepEqual(answers, first);
      }
      return first!;
    }

    const seen = async (path: string, as?: string): Promise<Answer> => (await seenAll([path], as))[0]!;

    /**
     * Reads before a write, so that all of it is cached everywhere; writes; and reads again.
     * @param sql statements that the write takes
     */
    async function changes(reads: readonly string[], work: () => Promise<{ sql: number }>, sql: number, as = 'emma'): Promise<readonly Answer[]> {
      await seenAll(reads, as);
      assert.equal((await work()).sql, sql, 'statements of the write');
      return seenAll(reads, as);
    }

    describe('what a read costs: cold, by another process, and warm', () => {
      // [what is asked for, as whom, statements when nothing is cached]
      const reads: readonly (readonly [path: string, as: string | undefined, sql: number])[] = [
        // The latest posts, the tags' uses; the comments of two posts, the tags by one statement, the authors by one.
        ['/', undefined, 5],
        ['/users/bill', undefined, 3],
        ['/users/emma', undefined, 3],
        // The post, its author, its tags by way of the through model; two counts, and for emma whether she has voted.
        ['/posts/fog', undefined, 6],
        ['/posts/fog', 'emma', 6],
        ['/posts/fog/tags', undefined, 3],
        ['/posts/harbour-walk/comments', undefined, 3],
        ['/photos/1', undefined, 2],
        ['/photos/1/comments', undefined, 3],
        // The tag, the through model's rows, the posts by one statement.
        ['/tags/sea/posts', undefined, 3],
        ['/comments/1', undefined, 3],
        ['/comments/2', 'bill', 2],
      ];
      for (const [path, as, sql] of reads) {
        it(`GET ${path}${as === undefined ? '' : ` by ${as}`}: ${sql}, then none`, async () => {
          const asking = as === undefined ? {} : { as };
          // A process knows the way from a name to its row once it has been there, and keeps it.
          for (const server of blog.servers) await ask(server, path, asking);
          await voidAll(as);
          const cold = await costOf(writer, path, asking);
          assert.equal(cold.status, 200);
          assert.equal(cold.sql, sql, 'cold');
          for (const server of [reader, writer]) {
            const warm = await costOf(server, path, asking);
            assert.equal(warm.sql, 0, 'warm');
            assert.deepEqual(warm.body, cold.body);
          }
        });
      }

      it('what does not exist: once, then none', async () => {
        await voidAll();
        for (const [path, sql] of [
          ['/users/nobody', 1],
          ['/posts/none', 1],
          // Known by now, from whichever read: all caches on a slug share their entries.
          ['/posts/none/comments', 0],
          ['/posts/none/vote', 0],
          ['/tags/none/posts', 1],
          ['/comments/999', 1],
          ['/photos/999', 1],
          ['/photos/999/comments', 0],
          // No number that a column holds.
          ['/photos/x', 0],
          ['/photos/1.5', 0],
          ['/nowhere', 0],
        ] as const) {
          const cold = await costOf(writer, path);
          assert.equal(cold.status, 404, path);
          assert.equal(typeof cold.body.error, 'string');
          assert.equal(cold.sql, sql, path);
          const warm = await costOf(reader, path);
          assert.deepEqual([warm.status, warm.sql], [404, 0], path);
        }
      });
    });

    describe('every write is seen by what is read after it', () => {
      beforeEach(newPost);

      it('POST /users', async () => {
        const username = `new-${slug}`;
        const work = (): Promise<Answer & { sql: number }> => write('POST', '/users', undefined, { username, bio: 'Just came.' });
        // START TRANSACTION, two INSERTs, COMMIT.
        const [page] = await changes([`/users/${username}`], work, 4);
        assert.deepEqual(page!.body, { username, bio: 'Just came.', posts: [] });
      });

      it('PATCH /me: a name and a bio, wherever they are shown', async () => {
        const before = `amy-${slug}`;
        const after = `zoe-${slug}`;
        await write('POST', '/users', undefined, { username: before });
        await write('POST', '/posts', before, { slug: `of-${slug}`, title: 'Mine', text: 'All mine.' });
        const { body } = await write('POST', `/posts/of-${slug}/comments`, before, { text: 'First!' });
        const reads = [`/users/${before}`, `/users/${after}`, `/posts/of-${slug}`, `/posts/of-${slug}/comments`, `/comments/${body.id}`, '/'];
        const work = (): Promise<Answer & { sql: number }> => write('PATCH', '/me', before, { username: after, bio: 'Called Zoe now.' });
        const [old, own, post, thread, comment, front] = await changes(reads, work, 4);
        assert.equal(old!.status, 404);
        assert.deepEqual(own!.body, { username: after, bio: 'Called Zoe now.', posts: [{ slug: `of-${slug}`, title: 'Mine' }] });
        assert.equal(post!.body.author, after);
        assert.deepEqual(thread!.body, [{ id: body.id, text: 'First!', author: after }]);
        assert.equal(comment!.body.author, after);
        assert.ok(front!.body.includes(`>${after}</a>`) && !front!.body.includes(before));
        assert.equal((await ask(reader, '/nowhere', { as: before })).status, 401);
      });

      it('POST /posts: its page, lists, tags and counts', async () => {
        const fresh = `fresh-${slug}`;
        const reads = ['/', '/users/bill', `/posts/${fresh}`, `/posts/${fresh}/tags`, `/tags/${slug}/posts`, `/tags/new-${slug}/posts`];
        const work = (): Promise<Answer & { sql: number }> =>
          write('POST', '/posts', 'bill', { slug: fresh, title: 'Fresh', text: 'Fish.', tags: [`New-${slug}`, ` ${slug} `] });
        // BEGIN, the post, for each tag a savepoint and a SELECT, the new tag, what the post has, its tags, COMMIT.
        const [front, bill, post, tags, posts, newPosts] = await changes(reads, work, 10);
        assert.ok(front!.body.includes(`href="/posts/${fresh}">Fresh</a>`));
        assert.deepEqual(bill!.body.posts[0], { slug: fresh, title: 'Fresh' });
        assert.deepEqual([post!.status, post!.body.text, post!.body.tags], [200, 'Fish.', [`new-${slug}`, slug]]);
        assert.deepEqual(tags!.body, [`new-${slug}`, slug]);
        assert.deepEqual(newPosts!.body, { word: `new-${slug}`, posts: [{ slug: fresh, title: 'Fresh' }] });
        assert.deepEqual(posts!.body.posts.map((one: { slug: string }) => one.slug), [fresh, slug]);
      });

      it('PATCH /posts/:slug: another title, other tags, another address', async () => {
        const moved = `moved-${slug}`;
        await write('POST', `/posts/${slug}/comments`, 'emma', { text: 'Nice.' });
        const reads = ['/', '/users/bill', `/posts/${slug}`, `/posts/${moved}`, `/posts/${moved}/tags`, `/posts/${moved}/comments`, `/tags/${slug}/posts`, '/tags/fog/posts'];
        await ask(writer, '/posts', { method: 'POST', as: 'emma', body: { slug: `fog-${slug}`, title: 'Fog', text: '', tags: ['fog'] } });
        await seenAll(reads, 'emma');
        await write('PATCH', `/posts/${slug}`, 'bill', { slug: moved, title: 'Moved', tags: ['fog'] });
        const [front, bill, old, post, tags, thread, noPosts, posts] = await seenAll(reads, 'emma');
        assert.ok(front!.body.includes(`href="/posts/${moved}">Moved</a>`) && !front!.body.includes(`Title of ${slug}`));
        assert.deepEqual(bill!.body.posts[0], { slug: moved, title: 'Moved' });
        assert.equal(old!.status, 404);
        assert.deepEqual([post!.body.title, post!.body.text, post!.body.tags, post!.body.comments], ['Moved', 'Once.', ['fog'], 1]);
        assert.deepEqual(tags!.body, ['fog']);
        assert.deepEqual(thread!.body.map((one: { text: string }) => one.text), ['Nice.']);
        assert.deepEqual(noPosts!.body.posts, []);
        assert.ok(posts!.body.posts.some((one: { slug: string }) => one.slug === moved));
      });

      it('DELETE /posts/:slug: nothing of it is left anywhere', async () => {
        const { body } = await write('POST', `/posts/${slug}/comments`, 'emma', { text: 'Gone soon.' });
        await write('PUT', `/posts/${slug}/vote`, 'emma');
        const reads = ['/', '/users/bill', `/posts/${slug}`, `/posts/${slug}/tags`, `/posts/${slug}/comments`, `/comments/${body.id}`, `/tags/${slug}/posts`];
        await seenAll(reads, 'emma');
        await write('DELETE', `/posts/${slug}`, 'bill');
        const [front, bill, post, tags, thread, comment, posts] = await seenAll(reads, 'emma');
        assert.ok(!front!.body.includes(slug), 'neither the post nor, among the tags in use, its own tag');
        assert.ok(bill!.body.posts.every((one: { slug: string }) => one.slug !== slug));
        assert.deepEqual([post!.status, thread!.status, comment!.status], [404, 404, 404]);
        assert.deepEqual([tags!.body, posts!.body.posts], [[], []]);
      });

      for (const kind of ['posts', 'photos'] as const) {
        it(`comments on ${kind}`, async () => {
          const at = kind === 'posts' ? `/posts/${slug}` : `/photos/${(await write('POST', '/photos', 'bill', { caption: 'A boat' })).body.id}`;
          const reads = [at, `${at}/comments`];
          const added = await changes(reads, () => write('POST', `${at}/comments`, 'emma', { text: 'One' }), 1);
          const { id } = added[1]!.body[0];
          assert.deepEqual([added[0]!.body.comments, added[1]!.body], [1, [{ id, text: 'One', author: 'emma' }]]);
          const more = await changes(reads, () => write('POST', `${at}/comments`, 'bill', { text: 'Two' }), 1);
          assert.deepEqual([more[0]!.body.comments, more[1]!.body.map((one: { text: string }) => one.text)], [2, ['One', 'Two']]);
          const one = `/comments/${id}`;
          const changed = await changes([...reads, one], () => write('PATCH', one, 'emma', { text: 'One!' }), 1);
          assert.deepEqual([changed[0]!.body.comments, changed[1]!.body[0].text, changed[2]!.body.text], [2, 'One!', 'One!']);
          assert.deepEqual(changed[2]!.body.on, kind === 'posts' ? { post: slug } : { photo: Number(at.split('/')[2]) });
          // On MariaDB the row's target, on which results depend, is read under a lock: SELECT and DELETE in a transaction.
          const removed = await changes([...reads, one], () => write('DELETE', one, 'emma'), count === 1 ? 2 : 4);
          assert.deepEqual([removed[0]!.body.comments, removed[1]!.body.length, removed[2]!.status], [1, 1, 404]);
        });
      }

      it('votes: the count for everybody, "voted" for who did', async () => {
        const at = `/posts/${slug}`;
        const votes = async (): Promise<unknown> => {
          const [emma, bill] = [await seen(at, 'emma'), await seen(at, 'bill')];
          return [emma.body.votes, emma.body.voted, bill.body.votes, bill.body.voted];
        };
        assert.deepEqual(await votes(), [0, false, 0, false]);
        await write('PUT', `${at}/vote`, 'emma');
        assert.deepEqual(await votes(), [1, true, 1, false]);
        await write('PUT', `${at}/vote`, 'emma');
        assert.deepEqual(await votes(), [1, true, 1, false]);
        await write('PUT', `${at}/vote`, 'bill');
        assert.deepEqual(await votes(), [2, true, 2, true]);
        await write('DELETE', `${at}/vote`, 'emma');
        assert.deepEqual(await votes(), [1, false, 1, true]);
      });

      it('a tag that an administrator renames, wherever it is shown', async () => {
        const word = `renamed-${slug}`;
        const reads = [`/posts/${slug}`, `/posts/${slug}/tags`, `/tags/${slug}/posts`, `/tags/${word}/posts`, '/'];
        // The UPDATE.
        const [post, tags, old, posts, front] = await changes(reads, () => write('PATCH', `/admin/tags/${slug}`, 'emma', { word }), 1);
        assert.deepEqual(post!.body.tags, ['daily', word]);
        assert.deepEqual(tags!.body, ['daily', word]);
        assert.equal(old!.status, 404);
        assert.deepEqual(posts!.body.posts.map((one: { slug: string }) => one.slug), [slug]);
        assert.ok(front!.body.includes(`>daily</a>`));
      });

      it('a bump voids one class in every process, and only that', async () => {
        await seen('/');
        await seen(`/posts/${slug}`);
        await write('POST', '/admin/bump/LatestPosts', 'emma');
        for (const server of blog.servers) assert.equal((await costOf(server, `/posts/${slug}`)).sql, 0);
        assert.equal((await costOf(reader, '/')).sql, 1);
        await seen('/');
        assert.match((await ask(writer, '/admin/bump/Nothing', { method: 'POST', as: 'emma' })).body.error, /There is no cache Nothing; there are .*LatestPosts/);
      });
    });

    describe('what cannot be done', () => {
      const refused: readonly (readonly [title: string, status: number, method: 'POST' | 'PATCH' | 'PUT' | 'DELETE', path: string, as: string | undefined, body: unknown, error: RegExp])[] = [
        ['nobody signs in', 401, 'POST', '/posts', undefined, { slug: 'x', title: 'x', text: 'x' }, /Say who you are/],
        ['an unknown user', 401, 'POST', '/posts', 'nobody', { slug: 'x', title: 'x', text: 'x' }, /no user nobody/],
        ["somebody else's post", 403, 'PATCH', '/posts/fog', 'bill', { title: 'Mine' }, /somebody else/],
        ["somebody else's comment", 403, 'DELETE', '/comments/1', 'bill', undefined, /somebody else/],
        ['no administrator', 403, 'POST', '/admin/bump', 'bill', undefined, /administrators/],
        ['no JSON', 400, 'POST', '/posts', 'bill', '{"slug": ', /JSON/],
        ['a body that is no object', 400, 'POST', '/posts', 'bill', '[]', /'slug' is missing/],
        ['no body', 400, 'POST', '/posts', 'bill', undefined, /JSON object/],
        ['a field that is missing', 400, 'POST', '/posts', 'bill', { slug: 'x', text: 'x' }, /'title' is missing/],
        ['a field that is no text', 400, 'POST', '/posts', 'bill', { slug: { gt: '' }, title: 'x', text: 'x' }, /'slug' must be text/],
        ['tags that are no list', 400, 'POST', '/posts', 'bill', { slug: 'x', title: 'x', text: 'x', tags: 'sea' }, /list of texts/],
        ['a slug with spaces', 422, 'POST', '/posts', 'bill', { slug: 'a b', title: 'x', text: 'x' }, /^A slug has/],
        ['a title without letters', 422, 'POST', '/posts', 'bill', { slug: 'x', title: '', text: 'x' }, /title/],
        ['a tag of two words', 422, 'POST', '/posts', 'bill', { slug: 'x', title: 'x', text: 'x', tags: ['sea', 'two words'] }, /^A tag is one word/],
        ['a slug that is taken', 409, 'POST', '/posts', 'bill', { slug: 'fog', title: 'x', text: 'x' }, /taken/],
        ['a name that is taken', 409, 'PATCH', '/me', 'bill', { username: 'emma' }, /taken/],
        ['an empty comment', 422, 'POST', '/posts/fog/comments', 'bill', { text: '' }, /text/],
        ['a comment on nothing', 404, 'POST', '/posts/none/comments', 'bill', { text: 'x' }, /not exist/],
        ['a vote for nothing', 404, 'PUT', '/photos/999/vote', 'bill', undefined, /not exist/],
      ];
      const reads = ['/', '/users/bill', '/users/emma', '/posts/fog', '/posts/x', '/tags/sea/posts', '/posts/fog/comments'];
      let unchanged: readonly Answer[];
      before(async () => {
        unchanged = await seenAll(reads);
      });
      for (const [title, status, method, path, as, body, error] of refused) {
        it(`${title}: ${status}, and nothing has changed`, async () => {
          const answer = await ask(writer, path, { method, ...(as === undefined ? {} : { as }), ...(body === undefined ? {} : { body }) });
          assert.equal(answer.status, status, JSON.stringify(answer.body));
          assert.match(answer.body.error, error);
          assert.deepEqual(await inTurn(reads, (read) => ask(reader, read)), unchanged);
        });
      }
    });

    it('the front page shows what users wrote as text', async () => {
      await newPost();
      const title = `<script>alert("x")</script> & 'more'`;
      await write('POST', '/posts', 'bill', { slug: `xss-${slug}`, title, text: '', tags: ['<b>&"\'', '<b>&"\''] });
      // Among the tags that most posts have.
      for (let more = 0; more < 8; more += 1) await write('POST', '/posts', 'bill', { slug: `xss-${slug}-${more}`, title, text: '', tags: ['<b>&"\''] });
      const { body } = await seen('/', 'bill');
      assert.ok(!/<script|<b>&|"x"/.test(body), body);
      assert.ok(body.includes('&#60;script&#62;alert(&#34;x&#34;)&#60;/script&#62; &#38; &#39;more&#39;'), body);
      assert.ok(body.includes(`<a href="/tags/%3Cb%3E%26%22&#39;/posts">&#60;b&#62;&#38;&#34;&#39;</a> 9`), body);
      assert.deepEqual((await seen(`/posts/xss-${slug}`)).body.title, title);
    });

    it('200 requests at the same time: each sees all that was answered before it was sent', async () => {
      await newPost();
      let requests = 0;
      /** Comments on the post that all share: those that were answered, and those that were sent. */
      let answered = 0;
      let sent = 0;
      const client = async (number: number): Promise<void> => {
        const own = `busy-${slug}-${number}`;
        const as = number % 2 === 0 ? 'bill' : 'emma';
        // Every client goes round all servers.
        const turn = async (path: string, asking: Asking = {}): Promise<Answer> => {
          requests += 1;
          const answer = await ask(blog.servers[(requests + number) % blog.servers.length]!, path, { as, ...asking });
          assert.ok(answer.status < 300, `${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
          return answer;
        };
        await turn('/posts', { method: 'POST', body: { slug: own, title: 'First', text: '', tags: [own] } });
        const created = await turn(`/posts/${own}`);
        assert.deepEqual([created.body.title, created.body.author, created.body.tags, created.body.comments], ['First', as, [own], 0]);
        sent += 1;
        await turn(`/posts/${slug}/comments`, { method: 'POST', body: { text: `from ${number}` } });
        answered += 1;
        const least = answered;
        const shared = await turn(`/posts/${slug}`);
        assert.ok(shared.body.comments >= least && shared.body.comments <= sent, `${least} ≤ ${String(shared.body.comments)} ≤ ${sent}`);
        const thread = await turn(`/posts/${slug}/comments`);
        assert.ok(thread.body.some((one: { text: string; author: string }) => one.text === `from ${number}` && one.author === as));
        await turn(`/posts/${own}`, { method: 'PATCH', body: { title: 'Second' } });
        const listed = await turn(`/tags/${own}/posts`);
        assert.deepEqual(listed.body.posts, [{ slug: own, title: 'Second' }]);
        await turn(`/posts/${own}/vote`, { method: 'PUT' });
        const voted = await turn(`/posts/${own}`);
        assert.deepEqual([voted.body.title, voted.body.votes, voted.body.voted], ['Second', 1, true]);
        await turn('/');
      };
      await Promise.all(Array.from({ length: 20 }, (_, number) => client(number)));
      assert.equal(requests, 200);
      const { body } = await seen(`/posts/${slug}`, 'bill');
      assert.equal(body.comments, 20);
      const latest = await seen('/', 'bill');
      assert.equal((latest.body.match(/<article>/g) as string[]).length, 10);
    });
  });
}

describe('starting the blog', () => {
  for (const [title, args, error] of [
    ['a port that is none', ['--port', 'http'], /--port must be a port's number; received http/],
    ['several servers on one process\'s database', ['--servers', '2'], /add --mysql/],
    ['no such option', ['--postgres'], /--postgres/],
  ] as const) {
    it(`is refused with ${title}`, async () => {
      await assert.rejects(start(args, 1), (failure: Error) => failure.message.startsWith('the blog ended with 1') && error.test(failure.message));
    });
  }
});
