/** Makes a failing plan short: takes away what the failure does not need. */
import type { Plan, Step } from './plan.js';

/**
 * The shortest plan found within the time that still fails.
 * @param fails runs a plan from scratch; resolves to whether it fails
 */
export async function shrink(plan: Plan, fails: (plan: Plan) => Promise<boolean>, milliseconds: number): Promise<Plan> {
  const until = performance.now() + milliseconds;
  const inTime = (): boolean => performance.now() < until;
  let shortest = await withFewerLookups(plan, fails);
  shortest = await withoutChunks(shortest, fails, inTime);
  // The same inside of transactions and the like, and among the lookups of one call.
  for (let at = 0; at < shortest.length && inTime(); at += 1) {
    const step = shortest[at] as Step;
    const replaced = (other: Step): Plan => shortest.map((one, place) => (place === at ? other : one));
    if ('steps' in step) {
      const steps = await withoutChunks(step.steps, (less) => fails(replaced({ ...step, steps: less })), inTime);
      shortest = replaced({ ...step, steps });
    } else if (step.do === 'look') {
      const asks = await withoutChunks(step.asks, (less) => fails(replaced({ ...step, asks: less })), inTime);
      shortest = replaced({ ...step, asks });
    }
  }
  return shortest;
}

/** Lookups are most of a plan, and most of them have nothing to do with the failure: only those of the last one stay. */
async function withFewerLookups(plan: Plan, fails: (plan: Plan) => Promise<boolean>): Promise<Plan> {
  const last = plan.at(-1);
  if (last?.do !== 'look') return plan;
  for (const kept of [...last.asks.map((ask) => [ask]), last.asks]) {
    const wanted = new Set(kept.map((ask) => JSON.stringify(ask)));
    const only = (steps: readonly Step[]): Step[] =>
      steps.flatMap((step): Step[] => {
        if ('steps' in step) return [{ ...step, steps: only(step.steps) }];
        if (step.do !== 'look') return [step];
        const asks = step.asks.filter((ask) => wanted.has(JSON.stringify(ask)));
        return asks.length === 0 ? [] : [{ ...step, asks }];
      });
    const less = only(plan);
    if (await fails(less)) return less;
  }
  return plan;
}

async function withoutChunks<T>(
  list: readonly T[],
  fails: (list: readonly T[]) => Promise<boolean>,
  inTime: () => boolean,
): Promise<readonly T[]> {
  let left = list;
  let size = Math.max(1, Math.floor(left.length / 2));
  for (;;) {
    let removed = false;
    for (let from = 0; from < left.length && inTime(); ) {
      const less = [...left.slice(0, from), ...left.slice(from + size)];
      if (less.length > 0 && (await fails(less))) {
        left = less;
        removed = true;
      } else {
        from += size;
      }
    }
    if (!inTime() || (size === 1 && !removed)) return left;
    size = size === 1 ? 1 : Math.max(1, Math.floor(size / 2));
  }
}
