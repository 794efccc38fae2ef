/** Models that make their instances in a way of their own, as programs do that count or decorate them. */
import { Model, type ModelStatic } from 'sequelize';

/** Each defines its class anew. */
export const makers: Readonly<Record<string, () => ModelStatic<Model>>> = {
  'bulkBuild': () =>
    class Made extends Model {
      declare mark: string;
      static override bulkBuild(...given: Parameters<typeof Model.bulkBuild>): never {
        const made = super.bulkBuild(...given) as Made[];
        for (const one of made) one.mark = `of ${String(made.length > 0)}`;
        return made as never;
      }
    },
  'build': () =>
    class Made extends Model {
      declare mark: string;
      static override build(...given: never): never {
        const made = (super.build as (...all: unknown[]) => Made)(...(given as unknown[]));
        if (!Array.isArray(made)) made.mark = 'built';
        return made as never;
      }
    },
  'a constructor that needs values': () =>
    class Made extends Model {
      declare first: string;
      constructor(values?: object, options?: object) {
        super(values as never, options);
        const name: unknown = this.getDataValue('name' as never);
        this.first = String((name as string).at(0));
      }
    },
  'a class field that needs values': () =>
    class Made extends Model {
      readonly length = (this.getDataValue('name' as never) as string).length;
    },
  'private fields': () =>
    class Made extends Model {
      readonly #secret = 5;
      get secret(): number {
        return this.#secret;
      }
    },
};
