/** The page's state and the pure functions that change it. Every collection is bounded. */

import { OPEN_STATUSES } from "./model.ts";
import type {
  Camera,
  Detail,
  Domain,
  Figures,
  Incident,
  IncidentChange,
  LayerInfo,
  Severity,
  Thing,
} from "./model.ts";
import type { Lang } from "./format.ts";

/** Most incidents kept; the oldest closed ones leave first. About 2 kB each. */
export const MAX_INCIDENTS = 500;
/** Most things kept; the one silent for longest leaves first. */
export const MAX_THINGS = 2000;
export const MAX_TAILS = 100;
export const MAX_TAIL_POINTS = 60;
/** Ids of aircraft that a rule found in no register; the oldest leave first. */
const MAX_UNIDENTIFIED = 200;
/** The scenario whose evidence names aircraft that are in no register. */
export const UNIDENTIFIED = "unidentified-aircraft";
/** How long an incident that came in live counts as new. */
export const FRESH_MS = 9000;

export type Connection = "connecting" | "live" | "reconnecting";
export type StatusFilter = "open" | "closed" | "all";

export interface Filters {
  /** Empty means every domain. */
  readonly domains: ReadonlySet<Domain>;
  /** Empty means every severity. */
  readonly severities: ReadonlySet<Severity>;
  readonly status: StatusFilter;
  /** A worker's id; null means everybody. */
  readonly worker: string | null;
}

export interface State {
  readonly lang: Lang;
  readonly incidents: ReadonlyMap<string, Incident>;
  /** Wall time at which an incident came in live. */
  readonly fresh: ReadonlyMap<string, number>;
  readonly loaded: boolean;
  readonly things: ReadonlyMap<string, Thing>;
  readonly tails: ReadonlyMap<string, ReadonlyArray<readonly [number, number]>>;
  readonly unidentified: ReadonlySet<string>;
  readonly cameras: ReadonlyMap<string, Camera>;
  readonly layers: readonly LayerInfo[];
  readonly figures: Figures | null;
  readonly connection: Connection;
  readonly filters: Filters;
  readonly selected: string | null;
  readonly detail: Detail | null;
  readonly detailError: string | null;
}

export type Action =
  | { readonly type: "lang"; readonly lang: Lang }
  | { readonly type: "incidents"; readonly incidents: readonly Incident[] }
  | { readonly type: "changes"; readonly changes: readonly IncidentChange[]; readonly wallMs: number }
  | { readonly type: "expire"; readonly wallMs: number }
  | { readonly type: "things"; readonly things: readonly Thing[] }
  | { readonly type: "unidentified"; readonly thing_ids: readonly string[] }
  | { readonly type: "cameras"; readonly cameras: readonly Camera[] }
  | { readonly type: "layers"; readonly layers: readonly LayerInfo[] }
  | { readonly type: "figures"; readonly figures: Figures }
  | { readonly type: "connection"; readonly connection: Connection }
  | { readonly type: "filters"; readonly filters: Partial<Filters> }
  | { readonly type: "select"; readonly id: string | null }
  | { readonly type: "detail"; readonly detail: Detail }
  | { readonly type: "detail-error"; readonly id: string; readonly message: string };

export function initialState(lang: Lang): State {
  return {
    lang,
    incidents: new Map(),
    fresh: new Map(),
    loaded: false,
    things: new Map(),
    tails: new Map(),
    unidentified: new Set(),
    cameras: new Map(),
    layers: [],
    figures: null,
    connection: "connecting",
    filters: { domains: new Set(), severities: new Set(), status: "open", worker: null },
    selected: null,
    detail: null,
    detailError: null,
  };
}

export function isOpen(incident: Incident): boolean {
  return OPEN_STATUSES.has(incident.status);
}

/** Whether `next` may replace `held`: a late answer must not undo a newer change. */
function supersedes(next: Incident, held: Incident | undefined): boolean {
  return held === undefined || next.version >= held.version;
}

function bound(incidents: Map<string, Incident>, keep: string | null): void {
  if (incidents.size <= MAX_INCIDENTS) return;
  const leaving = [...incidents.values()]
    .filter((one) => one.id !== keep)
    .sort((a, b) => Number(isOpen(a)) - Number(isOpen(b)) || a.opened_ms - b.opened_ms)
    .slice(0, incidents.size - MAX_INCIDENTS);
  for (const one of leaving) incidents.delete(one.id);
}

function takeThings(state: State, things: readonly Thing[]): State {
  const held = new Map(state.things);
  const tails = new Map(state.tails);
  for (const thing of things) {
    const before = held.get(thing.thing_id);
    if (before !== undefined && (thing.observed_ms ?? 0) < (before.observed_ms ?? 0)) {
      // An older word tells nothing new, but the register may know a name.
      held.set(thing.thing_id, {
        ...before,
        name: before.name || thing.name,
        registered: before.registered ?? thing.registered,
      });
      continue;
    }
    // Inserted anew, so that the map's order is the order of last word.
    held.delete(thing.thing_id);
    held.set(thing.thing_id, {
      ...thing,
      registered: thing.registered ?? before?.registered ?? null,
      name: thing.name || (before?.name ?? ""),
    });
    if (thing.kind === "aircraft" && thing.lon_deg !== null && thing.lat_deg !== null) {
      const tail = tails.get(thing.thing_id) ?? [];
      const last = tail.at(-1);
      const moved = last === undefined || last[0] !== thing.lon_deg || last[1] !== thing.lat_deg;
      tails.delete(thing.thing_id);
      tails.set(
        thing.thing_id,
        moved
          ? [...tail.slice(1 - MAX_TAIL_POINTS), [thing.lon_deg, thing.lat_deg] as const]
          : tail,
      );
    }
  }
  evictOldest(held, MAX_THINGS);
  evictOldest(tails, MAX_TAILS);
  return { ...state, things: held, tails };
}

function evictOldest(map: { size: number; keys(): Iterator<string>; delete(key: string): boolean }, most: number): void {
  while (map.size > most) {
    const oldest = map.keys().next();
    if (oldest.done === true) return;
    map.delete(oldest.value);
  }
}

function takeChanges(state: State, changes: readonly IncidentChange[], wallMs: number): State {
  const incidents = new Map(state.incidents);
  const fresh = new Map(state.fresh);
  let unidentified = state.unidentified;
  for (const { change, incident, evidence } of changes) {
    const held = incidents.get(incident.id);
    if (!supersedes(incident, held)) continue;
    incidents.set(incident.id, incident);
    if (held === undefined && (change === "opened" || change === "") && isOpen(incident)) {
      fresh.set(incident.id, wallMs);
    }
    if (incident.scenario === UNIDENTIFIED && evidence?.thing_id) {
      unidentified = withUnidentified(unidentified, [evidence.thing_id]);
    }
  }
  bound(incidents, state.selected);
  for (const id of fresh.keys()) if (!incidents.has(id)) fresh.delete(id);
  return { ...state, incidents, fresh, unidentified };
}

function withUnidentified(known: ReadonlySet<string>, ids: readonly string[]): ReadonlySet<string> {
  const grown = new Set([...known, ...ids]);
  evictOldest(grown, MAX_UNIDENTIFIED);
  return grown;
}

export function reduce(state: State, action: Action): State {
  switch (action.type) {
    case "lang":
      return { ...state, lang: action.lang };
    case "incidents": {
      const incidents = new Map(state.incidents);
      for (const incident of action.incidents) {
        if (supersedes(incident, incidents.get(incident.id))) incidents.set(incident.id, incident);
      }
      bound(incidents, state.selected);
      return { ...state, incidents, loaded: true };
    }
    case "changes":
      return takeChanges(state, action.changes, action.wallMs);
    case "expire": {
      const fresh = new Map([...state.fresh].filter(([, at]) => action.wallMs - at < FRESH_MS));
      return fresh.size === state.fresh.size ? state : { ...state, fresh };
    }
    case "things":
      return takeThings(state, action.things);
    case "unidentified":
      return { ...state, unidentified: withUnidentified(state.unidentified, action.thing_ids) };
    case "cameras":
      return { ...state, cameras: new Map(action.cameras.map((one) => [one.camera_id, one])) };
    case "layers":
      return { ...state, layers: action.layers };
    case "figures":
      return { ...state, figures: action.figures };
    case "connection":
      return state.connection === action.connection
        ? state
        : { ...state, connection: action.connection };
    case "filters":
      return { ...state, filters: { ...state.filters, ...action.filters } };
    case "select":
      if (state.selected === action.id) return state;
      return { ...state, selected: action.id, detail: null, detailError: null };
    case "detail": {
      const { incident } = action.detail;
      const incidents = new Map(state.incidents);
      if (supersedes(incident, incidents.get(incident.id))) incidents.set(incident.id, incident);
      bound(incidents, incident.id);
      if (state.selected !== incident.id) return { ...state, incidents };
      return { ...state, incidents, detail: action.detail, detailError: null };
    }
    case "detail-error":
      return state.selected === action.id ? { ...state, detailError: action.message } : state;
  }
}

function matches(incident: Incident, filters: Filters): boolean {
  if (filters.status === "open" && !isOpen(incident)) return false;
  if (filters.status === "closed" && isOpen(incident)) return false;
  if (filters.domains.size > 0 && !filters.domains.has(incident.domain)) return false;
  if (filters.severities.size > 0 && !filters.severities.has(incident.severity)) return false;
  return filters.worker === null || incident.worker_id === filters.worker;
}

/** What list and map show, newest first. */
export function visibleIncidents(state: State): Incident[] {
  return [...state.incidents.values()]
    .filter((one) => matches(one, state.filters))
    .sort((a, b) => b.opened_ms - a.opened_ms || (a.id < b.id ? -1 : 1));
}

/** The workers who hold a case in sight, by name. */
export function workers(state: State): ReadonlyArray<readonly [string, string]> {
  const names = new Map<string, string>();
  for (const one of state.incidents.values()) {
    if (one.worker_id !== null) names.set(one.worker_id, one.worker_name ?? one.worker_id);
  }
  return [...names].sort((a, b) => a[1].localeCompare(b[1], "zh"));
}

/** Open incidents by domain, for the filter chips. */
export function openByDomain(state: State): ReadonlyMap<Domain, number> {
  const counts = new Map<Domain, number>();
  for (const one of state.incidents.values()) {
    if (isOpen(one)) counts.set(one.domain, (counts.get(one.domain) ?? 0) + 1);
  }
  return counts;
}

/** Whether an aircraft is known: false only where somebody says so, null where nobody knows. */
export function registration(state: State, thing: Thing): boolean | null {
  if (state.unidentified.has(thing.thing_id)) return false;
  return thing.registered;
}

/** Height with the datum it is measured from; the most useful one known. */
export function height(
  measures: Readonly<Record<string, number>>,
): { readonly value_m: number; readonly datum: "agl" | "takeoff" | "msl" | "wgs84" } | null {
  for (const datum of ["agl", "takeoff", "msl", "wgs84"] as const) {
    const value_m = measures[`alt_${datum}_m`];
    if (value_m !== undefined) return { value_m, datum };
  }
  return null;
}

type Listener = (state: State, before: State) => void;

/** Holds the state; listeners hear of changes once per animation frame. */
export class Store {
  private before: State;
  private scheduled = false;
  private readonly listeners: Listener[] = [];

  constructor(
    public state: State,
    private readonly schedule: (run: () => void) => void,
  ) {
    this.before = state;
  }

  dispatch(action: Action): void {
    this.state = reduce(this.state, action);
    if (this.scheduled || this.state === this.before) return;
    this.scheduled = true;
    this.schedule(() => {
      this.scheduled = false;
      const { before, state } = this;
      this.before = state;
      for (const listener of this.listeners) listener(state, before);
    });
  }

  subscribe(listener: Listener): void {
    this.listeners.push(listener);
  }
}
