/** What a process thinks of entries that it has not heard of, which depends on its last lookups. */
import type { Model, ModelStatic } from 'sequelize';
import { registryOf } from '../../src/caches/registry.js';

/** From now on this process thinks that what it has not heard of is there, as it does at first. */
export function thinkHits(model: ModelStatic<Model>): void {
  const bound = registryOf(model).of(model);
  for (const { counters } of bound?.all ?? []) counters.newMissRate = 0;
}
