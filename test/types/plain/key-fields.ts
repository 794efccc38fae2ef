/** Which names are key fields, and which values they take. */
import type { CreationOptional, ForeignKey, InferAttributes, InferCreationAttributes, Model, NonAttribute } from 'sequelize';
import type { AssociationName, AttributeName, BareKey, CanonicalKeyValue, Equal, Expect, GenericReference, KeyField, KeyId, KeyParams, KeyScalar, KeySpec, KeyValues, LooseKeyValue, ModelCache } from '../support.js';
import type { Event, User } from './models.js';

enum Status {
  Open,
  Closed,
}
type Branded = string & { readonly brand: 'sku' };

declare class Everything extends Model<InferAttributes<Everything>, InferCreationAttributes<Everything>> {
  id: CreationOptional<number>;
  text: string;
  maybe: string | null;
  optional?: string;
  flag: boolean;
  big: bigint;
  when: CreationOptional<Date>;
  bytes: Buffer;
  letters: 'a' | 'b';
  status: Status;
  sku: Branded;
  mixed: string | string[];
  // oxlint-disable-next-line typescript/no-explicit-any -- an attribute without a type
  loose: any;
  json: { a: number };
  list: string[];
  ownerId: ForeignKey<User['id']>;
  editor_id: ForeignKey<User['id']> | null;
  /** Marked, but not called after an association: it may have none on this side. */
  authorRef: ForeignKey<number>;
  venueID: number;
  owner?: NonAttribute<User>;
  editor?: NonAttribute<User> | null;
  venue: NonAttribute<Event>;
  /** Without NonAttribute, as sequelize-typescript code often has it. */
  sponsor?: User;
  fans?: NonAttribute<User[]>;
  readonly shout: NonAttribute<string>;
  greet(): string;
  later: () => Promise<void>;
}

type Scalars =
  | 'id' | 'text' | 'maybe' | 'optional' | 'flag' | 'big' | 'when' | 'bytes' | 'letters' | 'status' | 'sku'
  | 'mixed' | 'loose' | 'authorRef' | 'venueID';
type Associations = 'owner' | 'editor' | 'venue' | 'sponsor';

export type Names = [
  Expect<Equal<AttributeName<Everything>, Scalars | 'ownerId' | 'editor_id'>>,
  Expect<Equal<AssociationName<Everything>, Associations>>,
  Expect<Equal<KeyField<Everything>, Scalars | Associations>>,
  Expect<Equal<KeySpec<Everything, 'target'>, KeyField<Everything> | 'target' | readonly [KeyField<Everything> | 'target', ...(KeyField<Everything> | 'target')[]]>>,
  Expect<Equal<KeyField<Model>, string>>,
];

export type Values = [
  Expect<Equal<KeyParams<Everything, 'id'>, { id: number }>>,
  Expect<Equal<KeyParams<Everything, 'maybe'>, { maybe: string | null }>>,
  Expect<Equal<KeyParams<Everything, 'optional'>, { optional: string }>>,
  Expect<Equal<KeyParams<Everything, 'flag'>, { flag: boolean }>>,
  Expect<Equal<KeyParams<Everything, 'when'>, { when: Date }>>,
  Expect<Equal<KeyParams<Everything, 'bytes'>, { bytes: Buffer }>>,
  Expect<Equal<KeyParams<Everything, 'letters'>, { letters: 'a' | 'b' }>>,
  Expect<Equal<KeyParams<Everything, 'status'>, { status: Status }>>,
  Expect<Equal<KeyParams<Everything, 'sku'>, { sku: Branded }>>,
  Expect<Equal<KeyParams<Everything, 'mixed'>, { mixed: string }>>,
  Expect<Equal<KeyParams<Everything, 'loose'>, { loose: KeyScalar | null }>>,
  Expect<Equal<KeyParams<Everything, 'owner'>, { owner: User | number; ownerId?: never } | { ownerId: number; owner?: never }>>,
  Expect<Equal<KeyParams<Everything, 'editor'>, { editor: User | number | null; editor_id?: never } | { editor_id: number | null; editor?: never }>>,
  Expect<Equal<KeyParams<Everything, 'venue'>, { venue: Event | number; venueID?: never } | { venueID: number; venue?: never }>>,
  Expect<Equal<KeyParams<Everything, 'sponsor'>, { sponsor: User | KeyId }>>,
  Expect<Equal<KeyParams<Everything, 'target', 'target'>, { target: Model | GenericReference }>>,
  Expect<Equal<KeyParams<Everything, 'text' | readonly ['flag', 'big']>, { text: string; flag?: never; big?: never } | { flag: boolean; big: bigint; text?: never }>>,
  // a list whose order is not known
  Expect<Equal<KeyParams<Everything, readonly ('flag' | 'big')[]>, { flag: boolean; big: bigint }>>,
  Expect<Equal<KeyParams<Everything, never>, never>>,
];

export type BareValues = [
  Expect<Equal<BareKey<Everything, 'id' | 'maybe' | readonly ['flag', 'big']>, number | string | null>>,
  Expect<Equal<BareKey<Everything, readonly ['flag']>, boolean>>,
  Expect<Equal<BareKey<Everything, readonly ['flag', 'big']>, never>>,
];

export type Canonical = [
  Expect<Equal<KeyValues<Everything, ['owner', 'text']>, { readonly owner: number; readonly text: string }>>,
  Expect<Equal<KeyValues<Everything, ['sponsor', 'editor']>, { readonly sponsor: number | string; readonly editor: number | null }>>,
  Expect<Equal<KeyValues<Everything, ['big', 'bytes', 'when']>, { readonly big: number | string; readonly bytes: Buffer; readonly when: Date }>>,
  Expect<Equal<KeyValues<Everything, ['target']>, { readonly target: CanonicalKeyValue }>>,
  Expect<Equal<KeyValues, Readonly<Record<string, CanonicalKeyValue>>>>,
  Expect<Equal<KeyValues<Everything>, KeyValues>>,
];

// @ts-expect-error not a key field
export type Misspelt = ModelCache<Everything, 'txt'>;
// @ts-expect-error not a key field, in a combination
export type MisspeltInList = ModelCache<Everything, readonly ['text', 'flg']>;
// @ts-expect-error a generic foreign key that is not among the names
export type Undeclared = ModelCache<Everything, 'target'>;
// @ts-expect-error a foreign key's column
export type Column = ModelCache<Everything, 'ownerId'>;
export type Declared = ModelCache<Everything, 'target' | readonly ['target', 'owner'], 'target'>;

export type Untyped = Expect<Equal<KeyParams<Model, 'anything'>, { anything: LooseKeyValue }>>;
