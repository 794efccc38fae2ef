/**
 * Sequelize's own methods, by reflection: one that a later version adds fails here until somebody
 * has seen to it that the cache knows what it writes.
 */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { BelongsTo, BelongsToMany, HasMany, HasOne, Model, Sequelize, Transaction, type Association } from 'sequelize';

interface Known {
  /** They write rows. Each is called by a test of this folder. */
  readonly writes: string;
  /** They send statements that change tables; the statement's text tells which. */
  readonly defines?: string;
  /** They send nothing that changes rows, or only through one of the others. */
  readonly harmless: string;
}

const isHook = (name: string): boolean => /^(before|after)[A-Z]/.test(name) && name !== 'afterCommit';

/** Names of functions of an object and of what it inherits from Sequelize. Error classes and types are none. */
function methodsOf(...objects: readonly object[]): string[] {
  const names = new Set<string>();
  for (const object of objects) {
    for (const [name, { value }] of Object.entries(Object.getOwnPropertyDescriptors(object))) {
      if (typeof value !== 'function' || name === 'constructor' || isHook(name)) continue;
      // Classes and data types, which begin with a capital letter.
      if (!/^[A-Z]/.test(name)) names.add(name);
    }
  }
  return [...names].sort();
}

const chain = (object: object): object[] => {
  const parent: unknown = Object.getPrototypeOf(object);
  return parent === null || parent === Object.prototype ? [] : [parent as object, ...chain(parent as object)];
};

const sequelize = new Sequelize({ dialect: 'mysql', logging: false });

const cases: readonly (readonly [name: string, methods: readonly string[], known: Known])[] = [
  [
    'Model',
    methodsOf(Model),
    {
      writes: 'bulkCreate create decrement destroy findCreateFind findOrBuild findOrCreate increment restore truncate update upsert',
      defines: 'drop dropSchema sync',
      harmless:
        '_addDefaultAttributes _assignOptions _baseMerge _conformInclude _conformIncludes _conformIndex _defaultsOptions _expandAttributes ' +
        '_expandIncludeAll _expandIncludeAllElement _findAutoIncrementAttribute _findSeparate _getDefaultTimestamp _getIncludedAssociation ' +
        '_injectDependentVirtualAttributes _injectScope _mergeFunction _optionsMustContainWhere _paranoidClause _setupHooks ' +
        '_transformStringAssociation _uniqIncludes _validateIncludedElement _validateIncludedElements addHook addScope aggregate belongsTo ' +
        'belongsToMany build bulkBuild count describe findAll findAndCountAll findByPk findOne getAssociationForAlias getAssociations ' +
        'getAttributes getTableName hasAlias hasHook hasHooks hasMany hasOne init max min refreshAttributes removeAttribute removeHook ' +
        'runHooks schema scope sum unscoped validationFailed warnOnInvalidOptions',
    },
  ],
  [
    'an instance',
    methodsOf(Model.prototype as object),
    {
      writes: 'decrement destroy increment restore save update',
      harmless:
        '_initValues _setInclude _setupHooks addHook changed equals equalsOneOf get getDataValue hasHook hasHooks isSoftDeleted previous reload ' +
        'removeHook runHooks set setAttributes setDataValue setValidators toJSON toString validate where',
    },
  ],
  [
    'the query interface',
    methodsOf(...chain(sequelize.getQueryInterface())),
    {
      writes: 'bulkDelete bulkInsert bulkUpdate decrement delete increment insert update upsert',
      defines:
        '_dropAllTables addColumn addConstraint addIndex changeColumn createDatabase createFunction createSchema createTable createTrigger ' +
        'dropAllSchemas dropAllTables dropDatabase dropFunction dropSchema dropTable dropTrigger ensureEnums removeColumn removeConstraint ' +
        'removeIndex renameColumn renameFunction renameTable renameTrigger',
      harmless:
        'assertTableHasColumn commitTransaction databaseVersion deferConstraints describeTable getForeignKeyReferencesForTable ' +
        'getForeignKeysForTables normalizeAttribute quoteIdentifier quoteIdentifiers rawSelect rollbackTransaction select setIsolationLevel ' +
        'showAllSchemas showAllTables showConstraint showIndex startTransaction tableExists',
    },
  ],
  [
    'a Sequelize instance',
    methodsOf(Sequelize.prototype),
    {
      writes: 'query truncate',
      defines: '_syncModelsWithCyclicReferences createSchema drop dropAllSchemas dropSchema sync',
      harmless:
        '_setupHooks addHook and authenticate cast close col databaseVersion define escape fn getDatabaseName getDialect getQueryInterface ' +
        'hasHook hasHooks isDefined json literal log model normalizeAttribute normalizeDataType or random refreshTypes removeHook runHooks set ' +
        'showAllSchemas transaction validate validationFailed where',
    },
  ],
  [
    'Sequelize',
    methodsOf(Sequelize),
    {
      writes: '',
      harmless:
        '_clsRun _setupHooks addHook and cast col default fn hasHook hasHooks json literal or removeHook runHooks useCLS useInflection ' +
        'validationFailed where',
    },
  ],
  [
    'associations',
    methodsOf(...[BelongsTo, BelongsToMany, HasMany, HasOne].flatMap(({ prototype }) => [prototype as object, ...chain(prototype as object)])),
    {
      writes: 'add create remove set',
      harmless: '_createForeignAndOtherKeys _injectAttributes count get has mixin toInstanceArray verifyAssociationAlias',
    },
  ],
  [
    'a transaction',
    methodsOf(Transaction.prototype),
    {
      writes: 'commit rollback',
      harmless: '_clearCls afterCommit begin cleanup forceCleanup prepareEnvironment setDeferrable',
    },
  ],
];

const words = (text: string | undefined): string[] => (text ?? '').split(' ').filter((word) => word !== '');

describe('Sequelize’s own methods', () => {
  const paths = readdirSync(__dirname)
    .filter((file) => file.endsWith('.test.js') && !file.startsWith('own-methods'))
    .map((file) => readFileSync(join(__dirname, file), 'utf8'))
    .join('\n');

  for (const [name, methods, { writes, defines, harmless }] of cases) {
    it(`${name}: all are known`, () => {
      const known = new Set([...words(writes), ...words(defines), ...words(harmless)]);
      assert.ok(methods.length > 0);
      assert.deepEqual(methods.filter((method) => !known.has(method)), [], 'methods that nobody has looked at');
      assert.deepEqual([...known].filter((method) => !methods.includes(method)), [], 'methods that are gone');
    });

    it(`${name}: each write is tried`, () => {
      const isTried = (method: string): boolean => new RegExp(`\\b${method}[A-Z]?\\w*'?\\b`).test(paths);
      assert.deepEqual(words(writes).filter((method) => !isTried(method)), [], 'writes without a test');
    });
  }

  it('accessors: what associations add to instances goes through their own methods', () => {
    const added = new Set<string>();
    class A extends Model {}
    class B extends Model {}
    A.init({}, { sequelize, modelName: 'A' });
    B.init({}, { sequelize, modelName: 'B' });
    const before = new Set(Object.getOwnPropertyNames(A.prototype));
    const associations: Association[] = [
      A.hasMany(B, { as: 'manys' }),
      A.hasOne(B, { as: 'one' }),
      A.belongsTo(B, { as: 'owner' }),
      A.belongsToMany(B, { as: 'peers', through: 'AB' }),
    ];
    for (const [name, { value }] of Object.entries(Object.getOwnPropertyDescriptors(A.prototype))) {
      if (!before.has(name) && typeof value === 'function') added.add(name);
    }
    const accessors = associations.flatMap((association) => Object.values((association as unknown as { readonly accessors: Record<string, string> }).accessors));
    assert.deepEqual([...added].filter((name) => !accessors.includes(name)), []);
    assert.deepEqual([...added].filter((name) => !/^(get|has|count|set|add|remove|create)[A-Z]/.test(name)), []);
  });

  it('query types: those that write are planned, the others are read as text', async () => {
    const { QueryTypes } = await import('sequelize');
    assert.deepEqual(Object.keys(QueryTypes).sort(), [
      ...['BULKDELETE', 'BULKUPDATE', 'DELETE', 'DESCRIBE', 'FOREIGNKEYS', 'INSERT', 'RAW', 'SELECT', 'SHOWCONSTRAINTS', 'SHOWINDEXES'],
      ...['SHOWTABLES', 'UPDATE', 'UPSERT', 'VERSION'],
    ]);
  });
});
