/** The map's style: sources without tiles, the order of layers, colours. Pure data. */

import type {
  ExpressionSpecification,
  LayerSpecification,
  StyleSpecification,
} from "maplibre-gl";
import type { Lang } from "../format.ts";
import type { Severity } from "../model.ts";

/** Layers that the reader can switch, in the order of the legend. */
export const GROUPS = [
  "areas",
  "grid",
  "road",
  "building",
  "zone",
  "airspace",
  "camera",
  "dock",
  "sensor",
  "aircraft",
] as const;
export type Group = (typeof GROUPS)[number];

/** The four alert colours in use in China: blue, yellow, orange, red. */
export const SEVERITY_COLOURS: Readonly<Record<Severity, string>> = {
  minor: "#62b0ff",
  moderate: "#f6cf57",
  severe: "#ff9a4d",
  extreme: "#ff5c6c",
};

export const ZONE_COLOURS: Readonly<Record<string, string>> = {
  no_parking: "#d9a94f",
  fire_lane: "#e06464",
  pavement: "#7fae8f",
  underpass: "#5794e0",
  site: "#b98d63",
  square: "#5fa8a3",
};

export const COLOURS = {
  sea: "#0a111b",
  land: "#111e2d",
  building: "#1b3046",
  buildingEdge: "#284460",
  roadCase: "#0b141f",
  road: "#2b435b",
  roadMain: "#3d5b78",
  grid: "#1c3045",
  community: "#3a5f80",
  street: "#5b8db4",
  label: "#9fbbd3",
  labelQuiet: "#7b98b1",
  halo: "#0a121c",
  qing: "#4fd8c8",
  airspace: "#9a8cff",
  stranger: "#ff6fb1",
  lost: "#7d8b99",
} as const;

/** Glyphs are drawn by the browser from the fonts of the device: no `glyphs` address anywhere. */
const FONT = [
  "PingFang SC",
  "Microsoft YaHei",
  "Noto Sans SC",
  "Noto Sans CJK SC",
  "Source Han Sans SC",
  "sans-serif",
];

/** Sources that hold the city's own layers, by role. */
export const ROLE_SOURCES: Readonly<Record<string, string>> = {
  district: "district",
  street: "street",
  community: "community",
  grid: "grid",
  road: "road",
  building: "building",
  zone: "zone",
  airspace: "airspace",
  camera: "camera",
  dock: "dock",
  custom: "custom",
};

/** Sources that live data fill. */
const LIVE_SOURCES = ["view", "sensor", "aircraft", "selected", "ellipse"] as const;

const ZONE_COLOUR: ExpressionSpecification = [
  "match",
  ["get", "kind"],
  ...Object.entries(ZONE_COLOURS).flat(),
  "#8aa0b5",
] as unknown as ExpressionSpecification;

/** Width of a road against the common street. */
const ROAD_FACTOR: ExpressionSpecification = [
  "match",
  ["get", "kind"],
  ["motorway", "trunk", "primary"],
  1.7,
  ["secondary"],
  1.35,
  ["tertiary", "motorway_link", "trunk_link", "primary_link"],
  1.1,
  ["service", "living_street", "track"],
  0.6,
  ["footway", "path", "cycleway", "pedestrian", "steps"],
  0.3,
  0.85,
];

const roadWidth = (extraPx: number): ExpressionSpecification => [
  "interpolate",
  ["exponential", 1.7],
  ["zoom"],
  12.5,
  ["+", extraPx * 0.5, ["*", 1, ROAD_FACTOR]],
  15,
  ["+", extraPx, ["*", 4.2, ROAD_FACTOR]],
  18,
  ["+", extraPx * 1.6, ["*", 22, ROAD_FACTOR]],
];

const MAIN_ROAD: ExpressionSpecification = [
  "match",
  ["get", "kind"],
  ["motorway", "trunk", "primary", "secondary"],
  true,
  false,
];

const STATE_COLOUR: ExpressionSpecification = [
  "match",
  ["get", "state"],
  "live",
  COLOURS.qing,
  "late",
  "#f6cf57",
  COLOURS.lost,
];

const AIRCRAFT_COLOUR: ExpressionSpecification = [
  "case",
  ["==", ["get", "state"], "stale"],
  COLOURS.lost,
  ["get", "stranger"],
  COLOURS.stranger,
  COLOURS.qing,
];

const halo = {
  "text-halo-color": COLOURS.halo,
  "text-halo-width": 1.4,
  "text-halo-blur": 0.4,
} as const;

const ofGroup = (group: Group): { group: Group } => ({ group });

function baseLayers(lang: Lang): LayerSpecification[] {
  return [
    { id: "sea", type: "background", paint: { "background-color": COLOURS.sea } },
    {
      id: "land",
      type: "fill",
      source: "district",
      paint: { "fill-color": COLOURS.land },
    },
    {
      // A city without a district layer still has ground.
      id: "land-community",
      type: "fill",
      source: "community",
      paint: { "fill-color": COLOURS.land },
    },
    {
      id: "grid",
      type: "line",
      source: "grid",
      metadata: ofGroup("grid"),
      paint: {
        "line-color": COLOURS.grid,
        "line-width": ["interpolate", ["linear"], ["zoom"], 13, 0.5, 17, 1.2],
      },
    },
    {
      id: "custom-fill",
      type: "fill",
      source: "custom",
      filter: ["==", ["geometry-type"], "Polygon"],
      paint: { "fill-color": COLOURS.label, "fill-opacity": 0.05 },
    },
    {
      id: "custom-line",
      type: "line",
      source: "custom",
      paint: { "line-color": COLOURS.label, "line-opacity": 0.35, "line-width": 1 },
    },
    {
      id: "road-case",
      type: "line",
      source: "road",
      metadata: ofGroup("road"),
      layout: { "line-cap": "round", "line-join": "round" },
      paint: { "line-color": COLOURS.roadCase, "line-width": roadWidth(2.4) },
    },
    {
      id: "road",
      type: "line",
      source: "road",
      metadata: ofGroup("road"),
      layout: { "line-cap": "round", "line-join": "round" },
      paint: {
        "line-color": ["case", MAIN_ROAD, COLOURS.roadMain, COLOURS.road],
        "line-width": roadWidth(0),
      },
    },
    {
      id: "building",
      type: "fill",
      source: "building",
      metadata: ofGroup("building"),
      paint: {
        "fill-color": COLOURS.building,
        "fill-outline-color": COLOURS.buildingEdge,
        "fill-opacity": ["interpolate", ["linear"], ["zoom"], 13, 0.75, 15.5, 1],
      },
    },
    {
      id: "zone-fill",
      type: "fill",
      source: "zone",
      metadata: ofGroup("zone"),
      paint: { "fill-color": ZONE_COLOUR, "fill-opacity": 0.2 },
    },
    {
      id: "zone-hatch",
      type: "fill",
      source: "zone",
      metadata: ofGroup("zone"),
      filter: ["match", ["get", "kind"], ["no_parking", "fire_lane"], true, false],
      paint: {
        "fill-pattern": ["concat", "hatch-", ["get", "kind"]],
        "fill-opacity": ["interpolate", ["linear"], ["zoom"], 14.5, 0, 16, 0.55],
      },
    },
    {
      id: "zone-line",
      type: "line",
      source: "zone",
      metadata: ofGroup("zone"),
      paint: {
        "line-color": ZONE_COLOUR,
        "line-opacity": 0.75,
        "line-width": ["interpolate", ["linear"], ["zoom"], 13, 0.8, 17, 1.5],
      },
    },
    {
      id: "community-line",
      type: "line",
      source: "community",
      metadata: ofGroup("areas"),
      paint: {
        "line-color": COLOURS.community,
        "line-opacity": 0.7,
        "line-width": 1,
        "line-dasharray": [3, 3],
      },
    },
    {
      id: "street-line",
      type: "line",
      source: "street",
      metadata: ofGroup("areas"),
      paint: {
        "line-color": COLOURS.street,
        "line-opacity": 0.55,
        "line-width": ["interpolate", ["linear"], ["zoom"], 12, 1, 17, 2.2],
      },
    },
    {
      id: "airspace-fill",
      type: "fill",
      source: "airspace",
      metadata: ofGroup("airspace"),
      paint: { "fill-color": COLOURS.airspace, "fill-opacity": 0.1 },
    },
    {
      id: "airspace-line",
      type: "line",
      source: "airspace",
      metadata: ofGroup("airspace"),
      paint: {
        "line-color": COLOURS.airspace,
        "line-opacity": 0.85,
        "line-width": 1.4,
        "line-dasharray": [5, 3],
      },
    },
    {
      id: "view-fill",
      type: "fill",
      source: "view",
      metadata: ofGroup("camera"),
      paint: { "fill-color": COLOURS.qing, "fill-opacity": 0.14 },
    },
    {
      id: "view-line",
      type: "line",
      source: "view",
      metadata: ofGroup("camera"),
      paint: { "line-color": COLOURS.qing, "line-opacity": 0.45, "line-width": 1 },
    },
    {
      id: "road-label",
      type: "symbol",
      source: "road",
      metadata: ofGroup("road"),
      minzoom: 13,
      layout: {
        "symbol-placement": "line",
        "symbol-spacing": 320,
        "text-field": ["coalesce", ["get", "name"], ""],
        "text-font": FONT,
        "text-size": ["interpolate", ["linear"], ["zoom"], 13, 10.5, 17, 13],
        "text-letter-spacing": 0.08,
      },
      paint: { "text-color": COLOURS.label, ...halo },
    },
    {
      id: "zone-label",
      type: "symbol",
      source: "zone",
      metadata: ofGroup("zone"),
      minzoom: 16.2,
      layout: {
        "text-field": ["coalesce", ["get", `label_${lang}`], ["get", "name"], ""],
        "text-font": FONT,
        "text-size": 11,
        "text-max-width": 8,
      },
      paint: { "text-color": ZONE_COLOUR, ...halo },
    },
    {
      id: "community-label",
      type: "symbol",
      source: "community",
      metadata: ofGroup("areas"),
      minzoom: 13.4,
      maxzoom: 17,
      layout: {
        "text-field": ["coalesce", ["get", "name"], ""],
        "text-font": FONT,
        "text-size": ["interpolate", ["linear"], ["zoom"], 13.4, 10.5, 16, 13],
        "text-max-width": 9,
        "text-letter-spacing": 0.06,
      },
      paint: { "text-color": COLOURS.labelQuiet, ...halo },
    },
    {
      id: "street-label",
      type: "symbol",
      source: "street",
      metadata: ofGroup("areas"),
      maxzoom: 14.8,
      layout: {
        "text-field": ["coalesce", ["get", "name"], ""],
        "text-font": FONT,
        "text-size": 14,
        "text-letter-spacing": 0.16,
        "symbol-sort-key": -1,
      },
      paint: { "text-color": "#bcd5ea", ...halo },
    },
    {
      id: "airspace-label",
      type: "symbol",
      source: "airspace",
      metadata: ofGroup("airspace"),
      layout: {
        "text-field": ["coalesce", ["get", `label_${lang}`], ["get", "name"], ""],
        "text-font": FONT,
        "text-size": 11.5,
        "text-max-width": 12,
        "text-line-height": 1.35,
      },
      paint: { "text-color": "#b9aeff", ...halo },
    },
  ];
}

function thingLayers(): LayerSpecification[] {
  return [
    {
      id: "sensor",
      type: "circle",
      source: "sensor",
      metadata: ofGroup("sensor"),
      minzoom: 13.5,
      paint: {
        "circle-radius": ["interpolate", ["linear"], ["zoom"], 13.5, 1.6, 17, 5],
        "circle-color": STATE_COLOUR,
        "circle-opacity": ["match", ["get", "state"], "live", 0.9, 0.55],
        "circle-stroke-color": COLOURS.halo,
        "circle-stroke-width": 1,
      },
    },
    {
      id: "dock",
      type: "symbol",
      source: "dock",
      metadata: ofGroup("dock"),
      layout: {
        "icon-image": "dock",
        "icon-size": ["interpolate", ["linear"], ["zoom"], 12, 0.6, 16, 0.9],
        "icon-allow-overlap": true,
        "text-field": ["step", ["zoom"], "", 15, ["coalesce", ["get", "name"], ""]],
        "text-font": FONT,
        "text-size": 11,
        "text-offset": [0, 1.4],
        "text-anchor": "top",
        "text-optional": true,
      },
      paint: { "text-color": COLOURS.label, ...halo },
    },
    {
      id: "camera",
      type: "symbol",
      source: "camera",
      metadata: ofGroup("camera"),
      layout: {
        "icon-image": "camera",
        "icon-size": ["interpolate", ["linear"], ["zoom"], 12, 0.6, 16, 0.9],
        "icon-allow-overlap": true,
        "text-field": ["step", ["zoom"], "", 15.5, ["coalesce", ["get", "name"], ""]],
        "text-font": FONT,
        "text-size": 11,
        "text-offset": [0, 1.4],
        "text-anchor": "top",
        "text-optional": true,
      },
      paint: { "text-color": COLOURS.label, ...halo },
    },
    {
      id: "tail",
      type: "line",
      source: "tail",
      filter: ["!", ["get", "stranger"]],
      metadata: ofGroup("aircraft"),
      layout: { "line-cap": "round", "line-join": "round" },
      paint: {
        "line-width": 2.5,
        "line-gradient": [
          "interpolate",
          ["linear"],
          ["line-progress"],
          0,
          "rgba(79,216,200,0)",
          1,
          "rgba(79,216,200,.85)",
        ],
      },
    },
    {
      id: "tail-stranger",
      type: "line",
      source: "tail",
      filter: ["get", "stranger"],
      metadata: ofGroup("aircraft"),
      layout: { "line-cap": "round", "line-join": "round" },
      paint: {
        "line-width": 2.5,
        "line-gradient": [
          "interpolate",
          ["linear"],
          ["line-progress"],
          0,
          "rgba(255,111,177,0)",
          1,
          "rgba(255,111,177,.95)",
        ],
      },
    },
    {
      id: "ellipse-fill",
      type: "fill",
      source: "ellipse",
      paint: { "fill-color": "#ffffff", "fill-opacity": 0.1 },
    },
    {
      id: "ellipse-line",
      type: "line",
      source: "ellipse",
      paint: { "line-color": "#ffffff", "line-opacity": 0.7, "line-width": 1, "line-dasharray": [2, 2] },
    },
    {
      id: "selected",
      type: "circle",
      source: "selected",
      paint: {
        "circle-radius": 21,
        "circle-color": "rgba(255,255,255,.08)",
        "circle-stroke-color": "#ffffff",
        "circle-stroke-width": 2,
      },
    },
  ];
}

function incidentLayers(): LayerSpecification[] {
  const clustered: ExpressionSpecification = ["has", "point_count"];
  const worst = (of: (severity: Severity) => string): ExpressionSpecification => [
    "match",
    ["get", "rank"],
    3,
    of("extreme"),
    2,
    of("severe"),
    1,
    of("moderate"),
    of("minor"),
  ];
  return [
    {
      id: "cluster",
      type: "circle",
      source: "incident",
      filter: clustered,
      paint: {
        "circle-color": COLOURS.halo,
        "circle-opacity": 0.88,
        "circle-radius": ["step", ["get", "point_count"], 15, 5, 18, 15, 22, 50, 27],
        "circle-stroke-color": worst((severity) => SEVERITY_COLOURS[severity]),
        "circle-stroke-width": 3,
      },
    },
    {
      id: "cluster-count",
      type: "symbol",
      source: "incident",
      filter: clustered,
      layout: {
        "text-field": ["get", "point_count_abbreviated"],
        "text-font": FONT,
        "text-size": 14,
        "text-allow-overlap": true,
        "text-ignore-placement": true,
      },
      paint: { "text-color": "#ffffff" },
    },
    {
      id: "incident",
      type: "symbol",
      source: "incident",
      filter: ["!", clustered],
      layout: {
        "icon-image": ["get", "icon"],
        "icon-size": ["interpolate", ["linear"], ["zoom"], 12, 0.8, 16, 1],
        "icon-allow-overlap": true,
        "icon-ignore-placement": true,
        "symbol-sort-key": ["get", "rank"],
      },
      paint: { "icon-opacity": ["case", ["get", "open"], 1, 0.5] },
    },
    {
      id: "aircraft",
      type: "symbol",
      source: "aircraft",
      metadata: ofGroup("aircraft"),
      layout: {
        "icon-image": ["get", "icon"],
        "icon-rotate": ["get", "heading_deg"],
        "icon-rotation-alignment": "map",
        "icon-size": ["interpolate", ["linear"], ["zoom"], 12, 0.75, 16, 1],
        "icon-allow-overlap": true,
        "icon-ignore-placement": true,
        "text-field": ["get", "label"],
        "text-font": FONT,
        "text-size": 11,
        "text-anchor": "left",
        "text-offset": [1.5, 0],
        "text-justify": "left",
        "text-optional": true,
      },
      paint: { "text-color": AIRCRAFT_COLOUR, ...halo },
    },
  ];
}

/** The whole style; `attribution` credits where the city's layers ask for it. */
export function buildStyle(lang: Lang): StyleSpecification {
  const empty: GeoJSON.FeatureCollection = { type: "FeatureCollection", features: [] };
  const sources: StyleSpecification["sources"] = {
    incident: {
      type: "geojson",
      data: empty,
      cluster: true,
      clusterRadius: 34,
      clusterMaxZoom: 15,
      clusterProperties: { rank: ["max", ["get", "rank"]] },
    },
    tail: { type: "geojson", data: empty, lineMetrics: true },
  };
  for (const name of [...Object.values(ROLE_SOURCES), ...LIVE_SOURCES]) {
    sources[name] = { type: "geojson", data: empty };
  }
  return {
    version: 8,
    sources,
    layers: [...baseLayers(lang), ...thingLayers(), ...incidentLayers()],
  };
}

/** Layers whose text is a label made of data in both languages. */
export const LABELLED = ["zone-label", "airspace-label"] as const;

export function labelField(lang: Lang): ExpressionSpecification {
  return ["coalesce", ["get", `label_${lang}`], ["get", "name"], ""];
}
