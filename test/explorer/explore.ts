/**
 * Visits every state that a scenario can reach, the nearest first, so that the first violation
 * that is found has a shortest trace.
 */
import type { Scenario, State, Step, World } from './world.js';
import { growing, Violation } from './world.js';
import { UnexpectedError, Unexplored } from './process-tree.js';

/** What an exploration came to. */
export interface Report {
  readonly scenario: Scenario;
  readonly states: number;
  readonly transitions: number;
  /** States in which every process had come to its end. */
  readonly ends: ReadonlySet<string>;
  /** Nothing was left out. */
  readonly exhaustive: boolean;
  readonly milliseconds: number;
  readonly violation: Violation | undefined;
  /** The steps that led to it, in words. */
  readonly trace: readonly string[];
}

/**
 * @param mostStates after so many it is given up, and the report says so
 * @param reduces whether schedules that make no difference are left out
 */
export async function explore(world: World, mostStates: number, reduces = true): Promise<Report> {
  world.reduces = false;
  // Which keys the processes look at is learned on the way; a little at first, so that it rarely changes.
  await visit(world, Math.min(mostStates, 2000));
  world.reduces = reduces;
  for (;;) {
    const { looks } = world;
    const report = await visit(world, mostStates);
    if (report.violation !== undefined || looks === world.looks) return report;
  }
}

async function visit(world: World, mostStates: number): Promise<Report> {
  const began = process.hrtime.bigint();
  const known = new Set<string>();
  const parents: number[] = [];
  const via: number[] = [];
  const steps: Step[] = [];
  const stepNumbers = new Map<string, number>();
  let transitions = 0;
  const ends = new Set<string>();
  const first = await world.start();
  let frontier: { readonly state: State; readonly number: number }[] = [{ state: first, number: 0 }];
  known.add(world.canonical(first));
  parents.push(-1);
  via.push(-1);
  const numberOf = (step: Step): number => {
    const text = JSON.stringify(step);
    const number = stepNumbers.get(text) ?? stepNumbers.size;
    if (number === steps.length) {
      stepNumbers.set(text, number);
      steps.push(step);
    }
    return number;
  };
  const report = async (violation: Violation | undefined, exhaustive: boolean, at?: number, last?: Step): Promise<Report> => {
    const path: Step[] = last === undefined ? [] : [last];
    for (let node = at ?? 0; node > 0; node = parents[node] as number) path.unshift(steps[via[node] as number] as Step);
    const { trace, named } = violation === undefined ? { trace: [], named: undefined } : await retrace(world, path, violation);
    return {
      scenario: world.scenario,
      states: known.size,
      transitions,
      ends,
      exhaustive,
      milliseconds: Number(process.hrtime.bigint() - began) / 1e6,
      violation: named,
      trace,
    };
  };
  while (frontier.length > 0) {
    const following: typeof frontier = [];
    for (const { state, number } of frontier) {
      const possible = world.steps(state);
      if (world.isEnd(state)) {
        ends.add(world.canonical(state));
        const violation = await world.judgeEnd(state);
        if (violation !== undefined) return report(violation, false, number);
      }
      if (!possible.some((step) => !['crash', 'lose', 'pause'].includes(step.kind))) {
        const violation = world.stuck(state);
        if (violation !== undefined) return report(violation, false, number);
      }
      for (const step of possible) {
        transitions += 1;
        let next: State;
        try {
          next = await grown(world, state, step);
        } catch (error) {
          if (error instanceof Violation) return report(error, false, number, step);
          if (error instanceof UnexpectedError) return report(new Violation('liveness', error.message), false, number, step);
          throw error;
        }
        const which = world.canonical(next);
        if (known.has(which)) continue;
        known.add(which);
        parents.push(number);
        via.push(numberOf(step));
        following.push({ state: next, number: parents.length - 1 });
      }
      if (known.size > mostStates) return report(undefined, false);
    }
    frontier = following;
  }
  return report(undefined, true);
}

/** A violation with its trace. */
export const told = ({ violation, trace }: Report): string => `${violation?.promise ?? ''}\n${trace.join('\n')}`;

/** The next state; a promise only where real code has to run for it. */
function grown(world: World, state: State, step: Step): State | Promise<State> {
  try {
    return world.apply(state, step);
  } catch (error) {
    if (!(error instanceof Unexplored)) throw error;
    return growing(() => world.apply(state, step));
  }
}

/** The path to a violation in words; an answer that was never committed is more than stale. */
async function retrace(
  world: World,
  path: readonly Step[],
  violation: Violation,
): Promise<{ readonly trace: readonly string[]; readonly named: Violation }> {
  const trace: string[] = [];
  const committed = new Set<number>();
  let state = await world.start();
  for (const [at, step] of path.entries()) {
    for (const rows of state.log) for (const { body } of rows.values()) committed.add(body);
    trace.push(`${String(at + 1).padStart(3)}. ${world.describe(state, step)}`);
    try {
      state = await grown(world, state, step);
    } catch (error) {
      if (error instanceof Violation || error instanceof UnexpectedError) break;
      throw error;
    }
  }
  const body = /body #(\d+)/.exec(violation.message)?.[1];
  const named =
    violation.promise === 'P1' && body !== undefined && !committed.has(Number(body)) ? new Violation('P2', violation.message) : violation;
  trace.push(`     ${named.promise} is broken. ${named.message}`);
  return { trace, named };
}
