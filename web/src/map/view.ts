/** The map: the city's own layers, and what is going on in it. */

import { AttributionControl, Map as MapLibre, Marker, Popup, ScaleControl, setWorkerUrl } from "maplibre-gl";
import type { GeoJSONSource, MapGeoJSONFeature, MapMouseEvent, PaddingOptions } from "maplibre-gl";
import workerUrl from "maplibre-gl/dist/maplibre-gl-worker.mjs?worker&url";
import "maplibre-gl/dist/maplibre-gl.css";
import type { Lang } from "../format.ts";
import { boundsOf, ellipse } from "../geometry.ts";
import type { Bounds } from "../geometry.ts";
import { pick, word, wordOr } from "../i18n.ts";
import { SEVERITIES } from "../model.ts";
import type { Camera, Incident, LayerInfo } from "../model.ts";
import { isOpen, registration, visibleIncidents } from "../state.ts";
import type { State } from "../state.ts";
import { heightText } from "../ui/cards.ts";
import { calm, h, narrow } from "../ui/dom.ts";
import { addImages } from "./images.ts";
import { LABELLED, ROLE_SOURCES, buildStyle, labelField } from "./layers.ts";
import type { Group } from "./layers.ts";

setWorkerUrl(workerUrl);

export interface MapHandlers {
  readonly select: (id: string) => void;
  readonly camera: (id: string) => HTMLElement | null;
  readonly thing: (id: string) => HTMLElement | null;
  readonly padding: () => PaddingOptions;
}

/** Rings around new incidents; more at once would be noise. */
const MAX_PULSES = 12;
/** Live sources are written at most this often. */
const WRITE_MS = 150;

type Feature = GeoJSON.Feature<GeoJSON.Geometry, Record<string, unknown>>;

const point = (lon: number, lat: number, properties: Record<string, unknown>): Feature => ({
  type: "Feature",
  geometry: { type: "Point", coordinates: [lon, lat] },
  properties,
});

function incidentFeatures(state: State): Feature[] {
  const features: Feature[] = [];
  for (const one of visibleIncidents(state)) {
    const { lon_deg, lat_deg } = one.place;
    if (lon_deg === null || lat_deg === null) continue;
    features.push(
      point(lon_deg, lat_deg, {
        id: one.id,
        icon: `incident-${one.severity}-${one.domain}`,
        rank: SEVERITIES.length - 1 - SEVERITIES.indexOf(one.severity),
        open: isOpen(one),
        name: pick(state.lang, one.scenario_name),
      }),
    );
  }
  return features;
}

function sensorFeatures(state: State): Feature[] {
  const features: Feature[] = [];
  for (const one of state.things.values()) {
    // Aircraft, docks and cameras have symbols of their own; detections are no things to show.
    if (one.lon_deg === null || one.lat_deg === null) continue;
    if (/^(aircraft|dock|camera|report|detection\b.*)$/.test(one.kind)) continue;
    features.push(point(one.lon_deg, one.lat_deg, { id: one.thing_id, state: one.state }));
  }
  return features;
}

function aircraftFeatures(state: State): { points: Feature[]; tails: Feature[] } {
  const points: Feature[] = [];
  const tails: Feature[] = [];
  for (const one of state.things.values()) {
    if (one.kind !== "aircraft" || one.lon_deg === null || one.lat_deg === null) continue;
    const stranger = registration(state, one) === false;
    const stale = one.state === "stale";
    points.push(
      point(one.lon_deg, one.lat_deg, {
        id: one.thing_id,
        icon: stale ? "aircraft-stale" : stranger ? "aircraft-stranger" : "aircraft",
        heading_deg: one.heading_deg ?? 0,
        state: one.state,
        stranger,
        label: [
          stranger ? word(state.lang, "aircraft.unregistered") : "",
          heightText(state.lang, one.measures),
        ]
          .filter(Boolean)
          .join("\n"),
      }),
    );
    const tail = state.tails.get(one.thing_id);
    if (tail !== undefined && tail.length > 1 && !stale) {
      tails.push({
        type: "Feature",
        geometry: { type: "LineString", coordinates: tail.map(([lon, lat]) => [lon, lat]) },
        properties: { stranger },
      });
    }
  }
  return { points, tails };
}

/** Labels in both languages, made of what a feature says of itself. */
function labelled(role: string, feature: GeoJSON.Feature): Feature {
  const properties: Record<string, unknown> = { ...feature.properties };
  const name = typeof properties["name"] === "string" ? properties["name"] : "";
  const kind = typeof properties["kind"] === "string" ? properties["kind"] : "";
  for (const lang of ["zh", "en"] as const) {
    if (role === "zone") {
      properties[`label_${lang}`] = name || wordOr(lang, `zone.${kind}`, kind);
    } else if (role === "airspace") {
      const { floor_m, ceiling_m } = properties;
      const range =
        typeof floor_m === "number" && typeof ceiling_m === "number"
          ? word(lang, "airspace.range", { floor: floor_m, ceiling: ceiling_m })
          : "";
      properties[`label_${lang}`] = [name || wordOr(lang, `airspace.${kind}`, kind), range]
        .filter(Boolean)
        .join("\n");
    }
  }
  return { ...feature, properties };
}

export class MapView {
  private readonly map: MapLibre;
  private readonly ready: Promise<void>;
  private readonly pulses = new Map<string, Marker>();
  private readonly city = new Map<string, Feature[]>();
  private readonly hint = new Popup({
    closeButton: false,
    closeOnClick: false,
    className: "hint-popup",
    offset: 20,
  });
  private readonly card = new Popup({ maxWidth: "300px", offset: 16, className: "card-popup" });
  private cardContent: (() => HTMLElement | null) | null = null;
  private bounds: Bounds | null = null;
  private boundsRank = 0;
  private moved = false;
  /** Whether cameras came with their poses, which know better than the layer of cameras. */
  private posed = false;
  private lang: Lang;
  private readonly pending = new Map<string, readonly Feature[]>();
  private writing = false;

  constructor(
    container: HTMLElement,
    lang: Lang,
    private readonly handlers: MapHandlers,
  ) {
    this.lang = lang;
    this.map = new MapLibre({
      container,
      style: buildStyle(lang),
      center: [120.3846, 36.0614],
      zoom: 13.6,
      minZoom: 9,
      maxZoom: 20,
      attributionControl: false,
      dragRotate: false,
      pitchWithRotate: false,
      touchPitch: false,
      fadeDuration: calm() ? 0 : 200,
      locale: {
        "Map.Title": word(lang, "map.label"),
      },
    });
    this.map.touchZoomRotate.disableRotation();
    this.map.keyboard.disableRotation();
    this.map.addControl(new ScaleControl({ maxWidth: 90 }), "bottom-right");
    this.map.addControl(new AttributionControl({ compact: true }), "bottom-right");
    this.map.on("dragstart", () => (this.moved = true));
    this.map.on("wheel", () => (this.moved = true));
    // Every later call waits for this, so nothing is lost while the style is read.
    this.ready = new Promise((resolve) => {
      this.map.once("load", () => {
        addImages(this.map);
        this.listen();
        resolve();
      });
    });
    this.card.on("close", () => (this.cardContent = null));
  }

  private listen(): void {
    const { map } = this;
    const hot = ["incident", "cluster", "camera", "aircraft", "sensor", "dock"];
    map.on("mousemove", (event) => {
      const feature = this.hit(event, hot);
      map.getCanvas().style.cursor = feature === null ? "" : "pointer";
      const name: unknown = feature?.layer.id === "incident" ? feature.properties["name"] : null;
      if (feature !== null && typeof name === "string" && !narrow()) {
        this.hint.setLngLat(coordinatesOf(feature)).setText(name).addTo(map);
      } else this.hint.remove();
    });
    map.on("mouseout", () => this.hint.remove());
    map.on("click", (event) => {
      const feature = this.hit(event, hot);
      if (feature === null) return;
      this.hint.remove();
      const id: unknown = feature.properties["id"] ?? feature.properties["feature_id"];
      switch (feature.layer.id) {
        case "incident":
          this.handlers.select(String(id));
          break;
        case "cluster":
          void this.openCluster(feature);
          break;
        case "camera":
          this.openCard(coordinatesOf(feature), () => this.handlers.camera(String(id)));
          break;
        default:
          this.openCard(coordinatesOf(feature), () => this.handlers.thing(String(id)));
      }
    });
  }

  /** The topmost feature near the pointer; fingers are wider than arrows. */
  private hit(event: MapMouseEvent, layers: string[]): MapGeoJSONFeature | null {
    const { x, y } = event.point;
    const reach = matchMedia("(pointer: coarse)").matches ? 14 : 4;
    const found = this.map.queryRenderedFeatures(
      [
        [x - reach, y - reach],
        [x + reach, y + reach],
      ],
      { layers },
    );
    const order = (feature: MapGeoJSONFeature): number => layers.indexOf(feature.layer.id);
    return found.sort((a, b) => order(a) - order(b))[0] ?? null;
  }

  private async openCluster(feature: MapGeoJSONFeature): Promise<void> {
    const source = this.map.getSource<GeoJSONSource>("incident");
    const cluster: unknown = feature.properties["cluster_id"];
    if (source === undefined || typeof cluster !== "number") return;
    const centre = coordinatesOf(feature);
    const zoom = await source.getClusterExpansionZoom(cluster);
    if (zoom <= 16 && this.map.getZoom() < zoom) {
      this.moved = true;
      this.map.easeTo({ center: centre, zoom: zoom + 0.2, animate: !calm() });
      return;
    }
    const leaves = await source.getClusterLeaves(cluster, 30, 0);
    this.openCard(centre, () =>
      h(
        "div",
        { class: "popup" },
        h("h3", {}, word(this.lang, "map.cluster", { n: leaves.length })),
        ...leaves.map((leaf) =>
          h(
            "button",
            {
              type: "button",
              class: "popup-link",
              onclick: () => {
                this.card.remove();
                this.handlers.select(String(leaf.properties?.["id"]));
              },
            },
            String(leaf.properties?.["name"]),
          ),
        ),
      ),
    );
  }

  private openCard(at: [number, number], content: () => HTMLElement | null): void {
    const element = content();
    if (element === null) return;
    this.card.setLngLat(at).setDOMContent(element).addTo(this.map);
    this.cardContent = content;
  }

  /** Write the open card anew; called now and then, because what it tells is live. */
  refreshCard(): void {
    const element = this.cardContent?.() ?? null;
    const active = document.activeElement;
    if (element === null || (active !== null && this.card.getElement()?.contains(active) === true && active.tagName === "BUTTON" && active.classList.contains("popup-link"))) {
      return;
    }
    this.card.setDOMContent(element);
  }

  /** Take a layer of the city; layers of one role lie together. */
  async addLayer(layer: LayerInfo, collection: GeoJSON.FeatureCollection): Promise<void> {
    const source = ROLE_SOURCES[layer.role];
    if (source === undefined || (layer.role === "camera" && this.posed)) return;
    const features = [
      ...(this.city.get(source) ?? []),
      ...collection.features.map((one) => labelled(layer.role, one)),
    ];
    this.city.set(source, features);
    const box = boundsOf(collection.features);
    // Airspace may reach far beyond the city and says nothing of where it lies. Home is what is
    // governed down to the community, and only without such a layer all there is.
    const rank = ["community", "grid"].includes(layer.role) ? 2 : 1;
    const counts = !["airspace", "custom", "device"].includes(layer.role);
    if (box !== null && counts && rank >= this.boundsRank) {
      const [west, south, east, north] = (rank > this.boundsRank ? null : this.bounds) ?? box;
      this.boundsRank = rank;
      this.bounds = [
        Math.min(west, box[0]),
        Math.min(south, box[1]),
        Math.max(east, box[2]),
        Math.max(north, box[3]),
      ];
    }
    await this.ready;
    this.set(source, features);
  }

  /** Show the whole city, unless the reader has moved the map already. */
  async home(always: boolean): Promise<void> {
    await this.ready;
    if (this.bounds === null || (this.moved && !always)) return;
    const [west, south, east, north] = this.bounds;
    this.map.fitBounds([west, south, east, north], {
      padding: this.handlers.padding(),
      animate: always && !calm(),
      maxZoom: 17,
    });
  }

  zoomBy(step: number): void {
    this.moved = true;
    this.map.zoomTo(this.map.getZoom() + step, { animate: !calm() });
  }

  /** Bring an incident into the part of the map that nothing covers. */
  async focus(incident: Incident, closer: boolean): Promise<void> {
    const { lon_deg, lat_deg } = incident.place;
    if (lon_deg === null || lat_deg === null) return;
    await this.ready;
    this.moved = true;
    const padding = this.handlers.padding();
    const { x, y } = this.map.project([lon_deg, lat_deg]);
    const { clientWidth, clientHeight } = this.map.getContainer();
    const inSight =
      x > (padding.left ?? 0) &&
      x < clientWidth - (padding.right ?? 0) &&
      y > (padding.top ?? 0) &&
      y < clientHeight - (padding.bottom ?? 0);
    if (inSight && !closer) return;
    this.map.easeTo({
      center: [lon_deg, lat_deg],
      zoom: closer ? Math.max(17, this.map.getZoom()) : this.map.getZoom(),
      // An offset moves this one view; a padding would stay with the map for good.
      offset: [
        ((padding.left ?? 0) - (padding.right ?? 0)) / 2,
        ((padding.top ?? 0) - (padding.bottom ?? 0)) / 2,
      ],
      duration: calm() ? 0 : 700,
    });
  }

  async setGroup(group: Group, shown: boolean): Promise<void> {
    await this.ready;
    for (const layer of this.map.getStyle().layers) {
      const { metadata } = layer;
      if (typeof metadata === "object" && metadata !== null && "group" in metadata && metadata.group === group) {
        this.map.setLayoutProperty(layer.id, "visibility", shown ? "visible" : "none");
      }
    }
  }

  async update(state: State, before: State | null): Promise<void> {
    await this.ready;
    const changed = (...keys: readonly (keyof State)[]): boolean =>
      before === null || keys.some((key) => state[key] !== before[key]);
    if (changed("lang")) {
      this.lang = state.lang;
      for (const id of LABELLED) this.map.setLayoutProperty(id, "text-field", labelField(state.lang));
      this.map.getCanvas().setAttribute("aria-label", word(state.lang, "map.label"));
    }
    if (changed("incidents", "filters", "lang")) this.later("incident", incidentFeatures(state));
    if (changed("things", "unidentified", "lang")) {
      const { points, tails } = aircraftFeatures(state);
      this.later("tail", tails);
      this.later("aircraft", points);
      this.later("sensor", sensorFeatures(state));
    }
    if (changed("cameras")) this.updateCameras([...state.cameras.values()]);
    if (changed("selected", "incidents", "detail")) this.updateSelected(state);
    if (changed("fresh")) this.updatePulses(state);
  }

  private updateCameras(cameras: readonly Camera[]): void {
    const placed = cameras.filter((one) => one.position !== null);
    if (placed.length === 0) return;
    const views: Feature[] = [];
    const points: Feature[] = [];
    for (const { position, camera_id, name, footprint } of placed) {
      if (position === null) continue;
      if (footprint.length > 3) {
        views.push({
          type: "Feature",
          geometry: { type: "Polygon", coordinates: [footprint.map(([lon, lat]) => [lon, lat])] },
          properties: { id: camera_id },
        });
      }
      points.push(point(...position, { id: camera_id, name: name || camera_id }));
    }
    this.set("view", views);
    this.posed = true;
    this.set("camera", points);
  }

  private updateSelected(state: State): void {
    const read = state.detail?.incident;
    const selected =
      state.selected === null
        ? null
        : (state.incidents.get(state.selected) ?? (read?.id === state.selected ? read : null));
    const place = selected?.place ?? null;
    if (place === null || place.lon_deg === null || place.lat_deg === null) {
      this.set("selected", []);
      this.set("ellipse", []);
      return;
    }
    this.set("selected", [point(place.lon_deg, place.lat_deg, {})]);
    const { error_major_m, error_minor_m, error_azimuth_deg } = place;
    if (error_major_m === null || error_major_m <= 0) {
      this.set("ellipse", []);
      return;
    }
    const ring = ellipse(
      [place.lon_deg, place.lat_deg],
      error_major_m,
      error_minor_m ?? error_major_m,
      error_azimuth_deg ?? 0,
    ).map(([lon, lat]) => [lon, lat]);
    this.set("ellipse", [
      { type: "Feature", geometry: { type: "Polygon", coordinates: [ring] }, properties: {} },
    ]);
  }

  private updatePulses(state: State): void {
    for (const [id, marker] of this.pulses) {
      if (state.fresh.has(id)) continue;
      marker.remove();
      this.pulses.delete(id);
    }
    for (const id of state.fresh.keys()) {
      const incident = state.incidents.get(id);
      const { lon_deg, lat_deg } = incident?.place ?? { lon_deg: null, lat_deg: null };
      if (incident === undefined || lon_deg === null || lat_deg === null) continue;
      if (this.pulses.has(id) || this.pulses.size >= MAX_PULSES) continue;
      const element = h("div", { class: `pulse sev-${incident.severity}`, "aria-hidden": "true" }, h("i"), h("i"));
      this.pulses.set(
        id,
        new Marker({ element }).setLngLat([lon_deg, lat_deg]).addTo(this.map),
      );
    }
  }

  private set(source: string, features: readonly Feature[]): void {
    this.map.getSource<GeoJSONSource>(source)?.setData({
      type: "FeatureCollection",
      features: [...features],
    });
  }

  /** Write a live source soon; what is overtaken meanwhile is never written. */
  private later(source: string, features: readonly Feature[]): void {
    this.pending.set(source, features);
    if (this.writing) return;
    this.writing = true;
    setTimeout(() => {
      this.writing = false;
      for (const [name, waiting] of this.pending) this.set(name, waiting);
      this.pending.clear();
    }, WRITE_MS);
  }
}

function coordinatesOf(feature: MapGeoJSONFeature): [number, number] {
  const [lon = 0, lat = 0] = feature.geometry.type === "Point" ? feature.geometry.coordinates : [];
  return [lon, lat];
}
