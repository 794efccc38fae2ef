/**
 * The namespaces of keys (`prefix:alias`) that this process uses on each store. One namespace holds the
 * entries of one database: two databases that share it would answer each other's lookups.
 */
import { InvalidOptionError } from './errors.js';
import type { DatabaseIdentity } from './identity.js';
import { show } from './options.js';
import type { Store } from './stores/store.js';

interface Claim {
  readonly identity: DatabaseIdentity;
  users: number;
}

type Claims = Map<string, Claim>;

/** By server, for stores that name their servers: two of these can be on one server. */
const onServers = new Map<string, Claims>();
/** By store, for others. */
const inStores = new WeakMap<Store, Claims>();

/**
 * Claims a namespace for a database, until the result is called.
 * @throws InvalidOptionError when another database of this process has it
 */
export function claimNamespace(store: Store, prefix: string, alias: string, identity: DatabaseIdentity): () => void {
  const name = `${prefix}:${alias}`;
  const places = store.servers === undefined ? [claimsIn(inStores, store)] : store.servers.map((server) => claimsIn(onServers, server));
  for (const claims of places) {
    const other = claims.get(name)?.identity;
    if (other === undefined) continue;
    // An alias that the program chose says what the options do not tell.
    const isKnown = alias !== identity.alias || (other.unknown ?? identity.unknown) === undefined;
    if (other.id !== identity.id || !isKnown) throw sharedNamespace(alias, identity, other);
  }
  for (const claims of places) {
    const claim = claims.get(name);
    if (claim === undefined) claims.set(name, { identity, users: 1 });
    else claim.users += 1;
  }
  let isReleased = false;
  return () => {
    if (isReleased) return;
    isReleased = true;
    for (const claims of places) {
      const claim = claims.get(name);
      if (claim === undefined) continue;
      claim.users -= 1;
      if (claim.users === 0) claims.delete(name);
    }
  };
}

function claimsIn<K>(all: { get(key: K): Claims | undefined; set(key: K, claims: Claims): unknown }, key: K): Claims {
  const known = all.get(key);
  if (known !== undefined) return known;
  const claims: Claims = new Map();
  all.set(key, claims);
  return claims;
}

function sharedNamespace(alias: string, identity: DatabaseIdentity, other: DatabaseIdentity): InvalidOptionError {
  const both =
    identity.description === other.description
      ? `two Sequelize instances on ${identity.description}, which can be two databases${reason(identity.unknown ?? other.unknown)}`
      : `the databases ${other.description} and ${identity.description}`;
  return new InvalidOptionError(
    `Option 'alias': ${show(alias)} would stand for ${both}, and each would be given rows of the other from the cache. ` +
      `Give each database an alias of its own, for example { alias: 'shop' }: the same in every process that uses this database.`,
  );
}

const reason = (unknown: string | undefined): string => (unknown === undefined ? '' : `: ${unknown}`);
