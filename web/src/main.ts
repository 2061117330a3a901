/** Puts the page together: state, server, map, list, detail. */

import "./style.css";
import {
  ApiError,
  followStream,
  loadCameras,
  loadDetail,
  loadIncidents,
  loadLayer,
  loadLayers,
  loadThings,
} from "./api.ts";
import { CityClock, age, countdown } from "./format.ts";
import type { Lang } from "./format.ts";
import { pick, word } from "./i18n.ts";
import { MapView } from "./map/view.ts";
import type { Group } from "./map/layers.ts";
import { cameraPicture, parseThing } from "./model.ts";
import type { Incident, LayerInfo, Thing } from "./model.ts";
import { Store, UNIDENTIFIED, initialState, isOpen, registration } from "./state.ts";
import { CameraDialog } from "./ui/camera.ts";
import { cameraCard, thingCard } from "./ui/cards.ts";
import { DetailView, tickTimes } from "./ui/detail.ts";
import { byId, h, narrow } from "./ui/dom.ts";
import { GLYPHS, icon } from "./ui/icons.ts";
import { showKpis } from "./ui/kpis.ts";
import { buildLegend } from "./ui/legend.ts";
import { IncidentList, placeLine } from "./ui/list.ts";
import { Sheet } from "./ui/sheet.ts";
import { Topbar } from "./ui/topbar.ts";

const LANG_KEY = "qingniao.lang";
const WORKER_KEY = "qingniao.worker";
const HASH = /^#incident\/(.+)$/;
/** At most one new incident is read out in this time. */
const ANNOUNCE_MS = 4000;
const CAMERAS_MS = 3000;

function firstLanguage(): Lang {
  const kept = localStorage.getItem(LANG_KEY);
  if (kept === "zh" || kept === "en") return kept;
  return navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en";
}

const store = new Store(initialState(firstLanguage()), (run) => {
  // Frames stand still in a hidden tab; a timer keeps its title and memory right.
  if (document.hidden) setTimeout(run, 250);
  else requestAnimationFrame(run);
});
const clock = new CityClock();
const names = new Map<string, string>();
const hiddenGroups = new Set<Group>();

/** City time now; before the first reading the newest change stands in. */
function cityNow(): number | null {
  const now = clock.now(performance.now());
  if (now !== null) return now;
  let newest: number | null = null;
  for (const one of store.state.incidents.values()) newest = Math.max(newest ?? 0, one.updated_ms);
  return newest;
}

let lastAnnouncedMs = -Infinity;
function announce(text: string): void {
  byId("announcer").textContent = text;
}

// --- Parts of the page ---

const cameras = new CameraDialog();

const topbar = new Topbar(byId("topbar"), {
  toggleLanguage: () => {
    const lang: Lang = store.state.lang === "zh" ? "en" : "zh";
    localStorage.setItem(LANG_KEY, lang);
    store.dispatch({ type: "lang", lang });
  },
  toggleLegend: () => showLegend(Boolean(byId("legend").hidden)),
  showCameras: () => {
    const all = [...store.state.cameras.values()];
    const first = all.find((one) => cameraPicture(one) !== null) ?? all[0];
    if (first !== undefined) cameras.open(store.state, first.camera_id, cityNow());
  },
  showKpis: () => showKpis(store.state.lang, { select: (id) => select(id, false), nameOf: (code) => names.get(code) ?? null }),
});

const list = new IncidentList(byId("list"), {
  filter: (filters) => {
    if (filters.worker !== undefined) {
      if (filters.worker === null) localStorage.removeItem(WORKER_KEY);
      else localStorage.setItem(WORKER_KEY, filters.worker);
    }
    store.dispatch({ type: "filters", filters });
  },
  select: (id) => select(id, true),
});

const sheet = new Sheet(byId("panel"), byId("handle"), (coveredPx) => {
  document.documentElement.style.setProperty("--covered", `${coveredPx}px`);
});

const detail = new DetailView(byId("detail"), {
  close: () => select(null, false),
  show: (incident) => {
    if (narrow()) {
      select(null, false);
      sheet.set("peek");
    }
    void map?.focus(incident, true);
  },
  open: (id) => select(id, false),
  reload: (id) => void readDetail(id),
  announce,
  nameOf: (code) => names.get(code) ?? null,
});

function buildMap(): MapView | null {
  const container = byId("map");
  try {
    return new MapView(container, store.state.lang, {
      select: (id) => select(id, false),
      camera: (id) => {
        const camera = store.state.cameras.get(id);
        if (camera === undefined) return null;
        const open = (): void => cameras.open(store.state, id, cityNow());
        return cameraCard(store.state.lang, camera, cityNow(), open);
      },
      thing: (id) => {
        const thing = store.state.things.get(id);
        if (thing === undefined) return null;
        return thingCard(store.state.lang, thing, registration(store.state, thing), cityNow());
      },
      padding: () => {
        if (narrow()) return { top: 70, right: 16, bottom: Math.min(sheet.visiblePx, innerHeight * 0.6) + 12, left: 16 };
        const open = store.state.selected !== null;
        return { top: 84, right: open ? 464 : 28, bottom: 36, left: 412 };
      },
    });
  } catch {
    // Without WebGL the list is all there is, and says so.
    container.hidden = true;
    byId("map-failed").hidden = false;
    return null;
  }
}
const map = buildMap();

function showLegend(shown: boolean): void {
  byId("legend").hidden = !shown;
  byId("legend-toggle").setAttribute("aria-expanded", String(shown));
  if (shown) byId("legend").querySelector<HTMLElement>("button")?.focus();
  else byId("legend-toggle").focus();
}

function select(id: string | null, fromList: boolean): void {
  const before = store.state.selected;
  if (id === before) return;
  store.dispatch({ type: "select", id });
  history.replaceState(null, "", id === null ? location.pathname + location.search : `#incident/${id}`);
  if (id === null) {
    if (before !== null) requestAnimationFrame(() => list.focusCard(before));
    return;
  }
  void readDetail(id);
  const incident = store.state.incidents.get(id);
  if (incident !== undefined && !narrow()) void map?.focus(incident, fromList);
  if (!fromList) list.reveal(id);
}

let reading: AbortController | null = null;
async function readDetail(id: string): Promise<void> {
  reading?.abort();
  const mine = new AbortController();
  reading = mine;
  try {
    store.dispatch({ type: "detail", detail: await loadDetail(id, mine.signal) });
  } catch (error) {
    if (mine.signal.aborted) return;
    const message = error instanceof ApiError ? pick(store.state.lang, error.said) : String(error);
    store.dispatch({ type: "detail-error", id, message });
  }
}

/** New evidence on the open case is read once per second at most. */
let detailTimer: ReturnType<typeof setTimeout> | null = null;
function readDetailSoon(id: string): void {
  detailTimer ??= setTimeout(() => {
    detailTimer = null;
    if (store.state.selected === id) void readDetail(id);
  }, 800);
}

function buildPage(): void {
  const { state } = store;
  const { lang } = state;
  document.documentElement.lang = lang === "zh" ? "zh-Hans" : "en";
  byId("skip").textContent = word(lang, "app.skip");
  byId("handle").setAttribute("aria-label", word(lang, "list.expand"));
  byId("panel").setAttribute("aria-label", word(lang, "list.title"));
  byId("map-failed").textContent = word(lang, "map.failed");
  topbar.build(state);
  list.build(state);
  buildLegend(byId("legend"), state, hiddenGroups, {
    toggle: (group, shown) => {
      if (shown) hiddenGroups.delete(group);
      else hiddenGroups.add(group);
      void map?.setGroup(group, shown);
    },
    close: () => showLegend(false),
  });
  byId("legend-toggle").setAttribute("aria-expanded", String(!byId("legend").hidden));
  const button = (key: "map.zoom.in" | "map.zoom.out" | "map.home", glyph: keyof typeof GLYPHS, run: () => void): HTMLElement =>
    h(
      "button",
      {
        type: "button",
        class: key === "map.home" ? "" : "zoom",
        "aria-label": word(lang, key),
        title: word(lang, key),
        onclick: run,
      },
      icon(GLYPHS[glyph], 18),
    );
  byId("map-buttons").replaceChildren(
    button("map.zoom.in", "plus", () => map?.zoomBy(1)),
    button("map.zoom.out", "minus", () => map?.zoomBy(-1)),
    button("map.home", "home", () => void map?.home(true)),
  );
  byId("map-buttons").hidden = map === null;
  tick();
}

// --- Keeping everything current ---

store.subscribe((state, before) => {
  if (state.cameras !== before.cameras || state.lang !== before.lang) cameras.update(state, cityNow());
  if (state.lang !== before.lang) buildPage();
  else {
    topbar.update(state);
    if (
      state.incidents !== before.incidents ||
      state.filters !== before.filters ||
      state.selected !== before.selected ||
      state.fresh !== before.fresh ||
      state.loaded !== before.loaded
    ) {
      list.update(state);
    }
  }
  if (
    state.lang !== before.lang ||
    state.selected !== before.selected ||
    state.detail !== before.detail ||
    state.detailError !== before.detailError ||
    state.filters.worker !== before.filters.worker ||
    (state.selected !== null &&
      state.incidents.get(state.selected) !== before.incidents.get(state.selected))
  ) {
    detail.update(state);
  }
  void map?.update(state, before);
  if (state.incidents !== before.incidents || state.detail !== before.detail || state.filters !== before.filters) tick();
});

function tick(): void {
  const { state } = store;
  const now = cityNow();
  topbar.tick(state, clock.now(performance.now()), clock.settled ? clock.factor : 1);
  if (now === null) return;
  tickTimes(document, now, {
    age: (sinceMs) => age(sinceMs, now, state.lang),
    countdown: (deadlineMs) => countdown(deadlineMs, now, state.lang),
  });
}

setInterval(() => {
  store.dispatch({ type: "expire", wallMs: performance.now() });
  tick();
  map?.refreshCard();
}, 500);

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || document.querySelector("dialog[open]") !== null) return;
  if (!byId("legend").hidden) showLegend(false);
  else select(null, false);
});

addEventListener("hashchange", () => {
  const id = HASH.exec(location.hash)?.[1];
  if (id !== undefined) select(decodeURIComponent(id), true);
});

// --- Reading the city ---

/** Try until it works; the server may still be starting. */
async function persist<T>(load: () => Promise<T>): Promise<T> {
  for (let pauseMs = 1000; ; pauseMs = Math.min(pauseMs * 2, 15000)) {
    try {
      return await load();
    } catch {
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
    }
  }
}

/** Names of areas and zones by every key a place may use, and the devices of the register. */
function learn(layer: LayerInfo, collection: GeoJSON.FeatureCollection): void {
  const registered: Thing[] = [];
  for (const { properties, geometry } of collection.features) {
    const said = properties ?? {};
    const name: unknown = said["name"];
    for (const key of [said["feature_id"], said["code"]]) {
      if (typeof key === "string" && key !== "" && typeof name === "string" && name !== "") {
        names.set(key, name);
      }
    }
    if (layer.role !== "device" && layer.role !== "dock") continue;
    const [lon_deg, lat_deg] =
      (geometry as GeoJSON.Geometry | null)?.type === "Point"
        ? (geometry as GeoJSON.Point).coordinates
        : [];
    const thing = parseThing({
      thing_id: said["thing_id"] ?? said["feature_id"],
      kind: layer.role === "dock" ? "dock" : said["kind"],
      name,
      lon_deg,
      lat_deg,
      registered: true,
    });
    if (thing !== null) registered.push(thing);
  }
  if (registered.length > 0) store.dispatch({ type: "things", things: registered });
}

async function readLayers(): Promise<void> {
  const layers = await persist(loadLayers);
  store.dispatch({ type: "layers", layers });
  await Promise.all(
    layers.map(async (layer) => {
      try {
        const collection = await loadLayer(layer);
        learn(layer, collection);
        await map?.addLayer(layer, collection);
      } catch (error) {
        console.warn(`layer ${layer.id} could not be shown`, error);
      }
    }),
  );
  await map?.home(false);
}

async function readIncidents(): Promise<void> {
  const incidents = await persist(loadIncidents);
  store.dispatch({ type: "incidents", incidents });
  void readUnidentified(incidents);
}

/** Which aircraft open cases call unidentified; the list does not say, their evidence does. */
async function readUnidentified(incidents: readonly Incident[]): Promise<void> {
  const cases = incidents.filter((one) => one.scenario === UNIDENTIFIED && isOpen(one)).slice(0, 10);
  const ids = new Set(cases.map((one) => one.id));
  await Promise.allSettled(
    [...ids].map(async (id) => {
      const { evidence } = await loadDetail(id, AbortSignal.timeout(10_000));
      store.dispatch({ type: "unidentified", thing_ids: evidence.map((one) => one.thing_id) });
    }),
  );
}

async function readCameras(): Promise<void> {
  try {
    store.dispatch({ type: "cameras", cameras: await loadCameras() });
  } catch {
    // Asked again in a few seconds anyway.
  }
}

function announceNew(incident: Incident): void {
  const now = performance.now();
  if (now - lastAnnouncedMs < ANNOUNCE_MS) return;
  lastAnnouncedMs = now;
  const { state } = store;
  announce(
    word(state.lang, "list.new", {
      name: pick(state.lang, incident.scenario_name),
      place: placeLine(state, incident),
    }),
  );
}

store.dispatch({ type: "filters", filters: { worker: localStorage.getItem(WORKER_KEY) } });
buildPage();
void map?.update(store.state, null);
void readLayers();
void readIncidents().then(() => {
  const id = HASH.exec(location.hash)?.[1];
  if (id !== undefined) select(decodeURIComponent(id), true);
});
void readCameras();
setInterval(() => {
  if (!document.hidden) void readCameras();
}, CAMERAS_MS);
void persist(loadThings).then((things) => store.dispatch({ type: "things", things }));

followStream({
  changes: (changes) => {
    const known = store.state.incidents;
    for (const { change, incident } of changes) {
      if (change === "opened" && !known.has(incident.id)) announceNew(incident);
      if (incident.id === store.state.selected) readDetailSoon(incident.id);
    }
    store.dispatch({ type: "changes", changes, wallMs: performance.now() });
  },
  things: (things) => store.dispatch({ type: "things", things }),
  figures: (figures) => {
    if (figures.city_ms !== null) clock.read(figures.city_ms, performance.now());
    store.dispatch({ type: "figures", figures });
  },
  open: (resumed) => {
    store.dispatch({ type: "connection", connection: "live" });
    // What was missed is resumed by id; reading the list anew also heals a longer gap.
    if (resumed) void readIncidents();
  },
  reset: () => void readIncidents(),
  lost: () => store.dispatch({ type: "connection", connection: "reconnecting" }),
});
