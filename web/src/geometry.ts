/** Small shapes on the ground in lon/lat degrees. Pure; good to a metre over a kilometre. */

import type { CameraPose } from "./model.ts";

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

/**
 * What a camera sees of flat ground, as a closed ring: near left, far left, far right, near
 * right. Rays that meet the ground beyond `reachM`, or never, end there.
 */
export function footprint(pose: CameraPose, reachM = 60): LonLat[] {
  const halfWidth = Math.tan((pose.hfov_deg / 2) * RADIANS);
  const halfHeight = halfWidth / pose.aspect_ratio;
  const pitch = pose.pitch_deg * RADIANS;
  const yaw = pose.yaw_deg * RADIANS;
  const corner = (right: number, up: number): LonLat => {
    const ahead = Math.cos(pitch) - up * Math.sin(pitch);
    const rise = Math.sin(pitch) + up * Math.cos(pitch);
    const level = Math.hypot(ahead, right);
    const scale = Math.min(rise < 0 ? pose.height_agl_m / -rise : Infinity, reachM / level);
    const forward = ahead * scale;
    const aside = right * scale;
    return offset(
      [pose.lon_deg, pose.lat_deg],
      forward * Math.sin(yaw) + aside * Math.cos(yaw),
      forward * Math.cos(yaw) - aside * Math.sin(yaw),
    );
  };
  const nearLeft = corner(-halfWidth, -halfHeight);
  return [
    nearLeft,
    corner(-halfWidth, halfHeight),
    corner(halfWidth, halfHeight),
    corner(halfWidth, -halfHeight),
    nearLeft,
  ];
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
