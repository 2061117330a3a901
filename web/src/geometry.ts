/** Small shapes on the ground in lon/lat degrees. Pure; good to a metre over a kilometre. */

export type LonLat = readonly [number, number];

const METRES_PER_DEGREE = 111_320;
const RADIANS = Math.PI / 180;

/** The point `eastM`, `northM` metres from another. */
export function offset([lon, lat]: LonLat, eastM: number, northM: number): LonLat {
  return [
    lon + eastM / (METRES_PER_DEGREE * Math.cos(lat * RADIANS)),
    lat + northM / METRES_PER_DEGREE,
  ];
}

/** An error ellipse as a closed ring; the azimuth of its major axis is clockwise from north. */
export function ellipse(
  centre: LonLat,
  majorM: number,
  minorM: number,
  azimuthDeg: number,
  corners = 48,
): LonLat[] {
  const azimuth = azimuthDeg * RADIANS;
  const ring: LonLat[] = [];
  for (let corner = 0; corner <= corners; corner += 1) {
    const angle = (2 * Math.PI * (corner % corners)) / corners;
    const along = majorM * Math.cos(angle);
    const across = minorM * Math.sin(angle);
    ring.push(
      offset(
        centre,
        along * Math.sin(azimuth) + across * Math.cos(azimuth),
        along * Math.cos(azimuth) - across * Math.sin(azimuth),
      ),
    );
  }
  return ring;
}

export type Bounds = readonly [west: number, south: number, east: number, north: number];

/** The box around every position of some GeoJSON; null where there is none. */
export function boundsOf(features: readonly GeoJSON.Feature[]): Bounds | null {
  let [west, south, east, north] = [Infinity, Infinity, -Infinity, -Infinity];
  const visit = (value: unknown): void => {
    if (!Array.isArray(value)) return;
    const [lon, lat] = value as unknown[];
    if (typeof lon === "number" && typeof lat === "number") {
      west = Math.min(west, lon);
      south = Math.min(south, lat);
      east = Math.max(east, lon);
      north = Math.max(north, lat);
    } else {
      for (const part of value) visit(part);
    }
  };
  for (const { geometry } of features) {
    // Features without a position are allowed (RFC 7946, 3.2).
    if ((geometry as GeoJSON.Geometry | null) !== null && "coordinates" in geometry) {
      visit(geometry.coordinates);
    }
  }
  return west <= east ? [west, south, east, north] : null;
}
