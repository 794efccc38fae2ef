/**
 * The oracle: whatever was written before, in whichever way, a lookup through the cache gives what
 * `findOne` gives at the same point, and every other member of the family what plain queries give.
 *
 * Thousands of random operations by seed; a failure is shortened and printed as a plan.
 *
 *   SEED=… npm test -- oracle/oracle            the same operations again
 *   ORACLE_OPERATIONS=100000 npm test -- …      more of them, on each stack
 *   ORACLE_PLAN=plan.json npm test -- …         a printed plan instead
 */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it, type TestContext } from 'node:test';
import { seed } from '../support/seed.js';
import { onceFailed } from './once-failed.js';
import { makePlan, sizeOf, type Plan } from './plan.js';
import { Random } from './random.js';
import { OracleFailure, runPlan, type Tally } from './run.js';
import { shrink } from './shrink.js';
import { hitsOf, openStack, type Hits, type Stack, type StackName } from './stacks.js';

const defaultOperations = 3000;
const operations = Number(process.env.ORACLE_OPERATIONS ?? defaultOperations);
const shrinkMs = Number(process.env.ORACLE_SHRINK_MS ?? 60_000);
const givenPlan = process.env.ORACLE_PLAN;
const chosenSeed = seed();

type Disturb = (stack: Stack) => void;

describe('oracle', () => {
  for (const name of ['mariadb', 'sqlite', 'two'] as const) {
    it(`${name}: every answer is what plain queries give`, async (t) => {
      t.diagnostic(`SEED=${chosenSeed} ORACLE_OPERATIONS=${operations}`);
      await check(t, name);
    });
  }
});

describe('plans that found a fault once', () => {
  for (const [what, plan] of Object.entries(onceFailed)) {
    for (const name of ['mariadb', 'sqlite'] as const) {
      it(`${what} (${name})`, async () => {
        const { failure } = await run(name, plan);
        assert.equal(failure?.message, undefined);
      });
    }
  }
});

/** Ways in which invalidation could be lost. The oracle has to notice each of them. */
const faults: Readonly<Record<string, (key: string) => boolean>> = {
  'every write': () => true,
  'row entries': (key) => key.includes(':r:'),
  'index entries': (key) => key.includes(':i:'),
  'lists': (key) => key.includes(':l:'),
  'results of custom caches': (key) => /:q:(PrimaryAvatarOfUser|NewestPostOfAuthor|BestOfSection|SumOfTarget|NamesOfCity|IdsOfSection):/.test(key),
  'counts': (key) => /:q:(PostsOfAuthor|VotesOfTarget|ArticlesWithSecret|UsersOfCity|AllCountries|AllArticles|VotesAnew):/.test(key),
  'whether there is a row': (key) => /:q:(IsMember|HasVoted|HasArticle|HasPost|HasLevel|HasCountry):/.test(key),
  'whole tables': (key) => key.includes(':g:'),
};

describe('the oracle notices when invalidation is lost for', () => {
  for (const [what, isLost] of Object.entries(faults)) {
    it(what, async (t) => {
      // Always the same plans, so that luck has no part in it: most show each fault.
      for (const planSeed of [1, 2, 3, 4, 5]) {
        const plan = makePlan(new Random(planSeed), defaultOperations, 1);
        const { failure } = await run('sqlite', plan, ({ deafen }) => {
          deafen(isLost);
        });
        if (failure === undefined) continue;
        t.diagnostic(`after ${failure.step} of ${plan.length} steps of plan ${planSeed}`);
        return;
      }
      assert.fail(`five plans of ${defaultOperations} operations did not show it`);
    });
  }
});

async function check(t: TestContext, name: StackName): Promise<void> {
  const plan =
    givenPlan === undefined
      ? makePlan(new Random(chosenSeed), operations, name === 'two' ? 2 : 1)
      : (JSON.parse(readFileSync(givenPlan, 'utf8')) as Plan);
  const began = performance.now();
  const { failure, tally, hits } = await run(name, plan);
  if (failure !== undefined) {
    const fails = async (less: Plan): Promise<boolean> => (await run(name, less)).failure !== undefined;
    const short = await shrink(plan.slice(0, failure.step + 1), fails, shrinkMs);
    const last = (await run(name, short)).failure ?? failure;
    assert.fail(`SEED=${chosenSeed} ORACLE_OPERATIONS=${operations}: stale in step ${failure.step}.\n${last.message}\nShortened plan:\n${JSON.stringify(short)}`);
  }
  assert.ok(tally !== undefined && hits !== undefined);
  const refused = Array.from(tally.refused, ([error, times]) => `${times} ${error}`).join(', ');
  t.diagnostic(
    `${sizeOf(plan)} operations in ${tally.steps} steps: ${tally.lookups} lookups, ${tally.writes} writes (refused: ${refused || 'none'}); ` +
      `hits: ${percentOf(hits.rows)} of rows, ${percentOf(hits.others)} of lists, results and relations; ${Math.round((performance.now() - began) / 1000)} s`,
  );
  // Without hits there would be nothing to be stale.
  if (givenPlan === undefined) {
    assert.ok(hits.rows.hits / hits.rows.lookups > 0.3, `only ${percentOf(hits.rows)} of rows were hits`);
    assert.ok(hits.others.hits / hits.others.lookups > 0.25, `only ${percentOf(hits.others)} of lists, results and relations were hits`);
  }
}

const percentOf = ({ hits, lookups }: Hits): string => `${Math.round((100 * hits) / lookups)} % of ${lookups} lookups`;

interface Run {
  readonly failure?: OracleFailure;
  readonly tally?: Tally;
  readonly hits?: ReturnType<typeof hitsOf>;
}

async function run(name: StackName, plan: Plan, disturb?: Disturb): Promise<Run> {
  const stack = await openStack(name);
  disturb?.(stack);
  try {
    const tally = await runPlan(plan, stack.worlds);
    return { tally, hits: hitsOf(stack.caches) };
  } catch (error) {
    if (!(error instanceof OracleFailure)) throw error;
    return { failure: error };
  } finally {
    await stack.close();
  }
}
