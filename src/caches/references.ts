/** Foreign keys as the models declare them: through their rules the database itself changes rows. */
import type { Model, ModelStatic } from 'sequelize';

/** What a rule does to the rows that refer to one that goes or changes: nothing, remove them, or set their column. */
export type Rule = 'none' | 'remove' | 'set null' | 'set';

/** A foreign key of one column. */
export interface Reference {
  readonly child: ModelStatic<Model>;
  /** The child's attribute and column. */
  readonly attribute: string;
  readonly column: string;
  /** The column of the parent that is declared, or its attribute; the names that it can have where none is declared. */
  readonly keys: readonly string[];
  readonly onDelete: Rule;
  readonly onUpdate: Rule;
}

/** A table by its name and, where it is given one, its schema. */
interface TableName {
  readonly name: string;
  readonly schema: string | undefined;
}

/** The foreign keys of all models of one Sequelize instance. */
export class References {
  /** By the parent's name in lower case: some databases fold it. */
  readonly #byParent = new Map<string, (Reference & { readonly schema: string | undefined })[]>();

  constructor(models: readonly ModelStatic<Model>[]) {
    const parents = new Map<string, ModelStatic<Model>[]>();
    for (const model of models) parents.set(ownName(model).name, [...(parents.get(ownName(model).name) ?? []), model]);
    for (const child of models) {
      for (const [attribute, { references, onDelete, onUpdate, field }] of Object.entries(child.getAttributes())) {
        const target = targetOf(references);
        if (target === undefined) continue;
        const { name, schema } = target.table;
        const reference = {
          child,
          attribute,
          column: field ?? attribute,
          keys: keysOf(target.key, parents.get(name) ?? []),
          onDelete: ruleOf(onDelete, 'remove'),
          onUpdate: ruleOf(onUpdate, 'set'),
          schema,
        };
        if (reference.onDelete !== 'none' || reference.onUpdate !== 'none') this.#byParent.set(name, [...(this.#byParent.get(name) ?? []), reference]);
      }
    }
  }

  /** Those that refer to a model's table. */
  to(model: ModelStatic<Model>): readonly Reference[] {
    if (this.#byParent.size === 0) return [];
    const { name, schema } = ownName(model);
    const found = this.#byParent.get(name) ?? [];
    return found.filter((reference) => reference.schema === undefined || schema === undefined || reference.schema === schema);
  }

  /** Those that refer to a table that a text (in lower case) names. */
  namedIn(text: string): readonly Reference[] {
    return [...this.#byParent].filter(([name]) => text.includes(name)).flatMap(([, references]) => references);
  }
}

const ownName = (model: ModelStatic<Model>): TableName => tableNameOf(model.getTableName()) ?? { name: model.tableName.toLowerCase(), schema: undefined };

/** A table as Sequelize takes it: a name, `schema.name`, `{ tableName, schema }` or a model. */
function tableNameOf(given: unknown): TableName | undefined {
  if (typeof given === 'string') {
    const at = given.lastIndexOf('.');
    return { name: given.slice(at + 1).toLowerCase(), schema: at > 0 ? given.slice(0, at).toLowerCase() : undefined };
  }
  if ((typeof given !== 'object' && typeof given !== 'function') || given === null) return undefined;
  const { tableName, schema, _schema } = given as { readonly tableName?: unknown; readonly schema?: unknown; readonly _schema?: unknown };
  if (typeof tableName !== 'string') return undefined;
  const own = [schema, _schema].find((one) => typeof one === 'string' && one !== '') as string | undefined;
  return own === undefined ? tableNameOf(tableName) : { name: tableName.toLowerCase(), schema: own.toLowerCase() };
}

/** What an attribute's `references` says, in any form that Sequelize takes; undefined if it refers to nothing. */
function targetOf(references: unknown): { readonly table: TableName; readonly key: string | undefined } | undefined {
  const whole = tableNameOf(references);
  if (whole !== undefined) return { table: whole, key: undefined };
  if (typeof references !== 'object' || references === null) return undefined;
  const { model, key } = references as { readonly model?: unknown; readonly key?: unknown };
  const table = tableNameOf(model);
  return table === undefined ? undefined : { table, key: typeof key === 'string' ? key : undefined };
}

/** The columns of the parent that a foreign key may refer to. Sequelize takes `id` where none is declared. */
function keysOf(key: string | undefined, parents: readonly ModelStatic<Model>[]): readonly string[] {
  const columns = parents.flatMap((parent) => {
    const attributes = parent.getAttributes() as Readonly<Record<string, { readonly field?: string } | undefined>>;
    const names = key === undefined ? parent.primaryKeyAttributes : Object.hasOwn(attributes, key) ? [key] : [];
    return names.map((name) => attributes[name]?.field ?? name);
  });
  return [...new Set([key ?? 'id', ...columns])];
}

function ruleOf(declared: unknown, cascade: Rule): Rule {
  if (typeof declared !== 'string' || /^\s*(restrict|no\s+action)?\s*$/i.test(declared)) return 'none';
  if (/cascade/i.test(declared)) return cascade;
  return /^\s*set\s+null\s*$/i.test(declared) ? 'set null' : 'set';
}
