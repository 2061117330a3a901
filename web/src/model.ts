/**
 * What the API says, as types, and tolerant readers for it.
 *
 * Field names are those of the wire. A reader never throws: an unknown field is ignored, a
 * missing one takes its default, and a thing without an id is no thing (null).
 */

export interface Text {
  readonly zh: string;
  readonly en: string;
}

export const SEVERITIES = ["extreme", "severe", "moderate", "minor"] as const;
export type Severity = (typeof SEVERITIES)[number];

/** The seven national steps, in order; `cancelled` stands outside them. */
export const STEPS = [
  "collected",
  "filed",
  "dispatched",
  "handling",
  "feedback",
  "closed",
  "evaluated",
] as const;
/** A suspended case (挂账) is within the step of handling; its clock stands. */
export type Status = (typeof STEPS)[number] | "suspended" | "cancelled";

export const OPEN_STATUSES: ReadonlySet<Status> = new Set<Status>([
  "collected",
  "filed",
  "dispatched",
  "handling",
  "suspended",
  "feedback",
]);

export const DOMAINS = ["urban", "traffic", "construction", "community", "airspace"] as const;
export type Domain = (typeof DOMAINS)[number] | "other";

export interface Place {
  readonly lon_deg: number | null;
  readonly lat_deg: number | null;
  readonly error_major_m: number | null;
  readonly error_minor_m: number | null;
  readonly error_azimuth_deg: number | null;
  readonly district_code: string | null;
  readonly street_code: string | null;
  readonly community_code: string | null;
  readonly grid_code: string | null;
  readonly generated: boolean;
  readonly area_name: string;
  readonly road_name: string | null;
  readonly road_distance_m: number | null;
  readonly zones: readonly string[];
  readonly airspaces: readonly string[];
  readonly unplaced: string | null;
}

export interface Incident {
  readonly id: string;
  readonly case_number: string;
  readonly scenario: string;
  readonly scenario_name: Text;
  readonly domain: Domain;
  readonly domain_text: string;
  readonly category_system: string;
  readonly category_code: string;
  readonly department: Text;
  readonly severity: Severity;
  readonly status: Status;
  readonly place: Place;
  readonly began_ms: number | null;
  readonly opened_ms: number;
  readonly updated_ms: number;
  readonly deadline_ms: number | null;
  readonly cleared_ms: number | null;
  readonly closed_ms: number | null;
  readonly unit_name: string | null;
  readonly worker_id: string | null;
  readonly worker_name: string | null;
  readonly confidence_ratio: number;
  readonly source_count: number;
  readonly event_count: number;
  readonly rework_count: number;
  /** 0 in time, 1 warned, 2 and more overdue: at the unit, the district, the city. */
  readonly escalation_level: number;
  readonly supervised: boolean;
  readonly explanation: Text;
  readonly snapshot: string | null;
  /** The incident that it is part of: one burst pipe, twelve floods. */
  readonly parent_id: string | null;
  readonly version: number;
}

export interface Evidence {
  readonly event_id: string;
  readonly source: string;
  readonly thing_id: string;
  readonly kind: string;
  readonly rule: string;
  readonly edge: string;
  readonly at_ms: number | null;
  readonly because: ReadonlyArray<readonly [string, string | number]>;
  readonly snapshots: readonly string[];
}

export interface HistoryEntry {
  readonly at_ms: number | null;
  readonly actor: string;
  readonly action: string;
  readonly from_status: Status | null;
  readonly to_status: Status | null;
  readonly reason: string;
  readonly photos: readonly string[];
}

/** What may be done with a case now. */
export interface Transition {
  readonly action: string;
  readonly to_status: Status | null;
  readonly reason_required: boolean;
  readonly label: Text | null;
}

export interface Detail {
  readonly incident: Incident;
  readonly evidence: readonly Evidence[];
  /** Paths of the clips of how it came about. */
  readonly clips: readonly string[];
  readonly history: readonly HistoryEntry[];
  readonly transitions: readonly Transition[];
}

/** How fresh a thing's last word is; unknown where nobody says. */
export type ThingState = "live" | "late" | "stale" | "unknown";

export interface Thing {
  readonly thing_id: string;
  readonly kind: string;
  readonly name: string;
  readonly lon_deg: number | null;
  readonly lat_deg: number | null;
  readonly heading_deg: number | null;
  readonly observed_ms: number | null;
  readonly measures: Readonly<Record<string, number>>;
  readonly state: ThingState;
  /** Whether the register knows it; null where the API does not say. */
  readonly registered: boolean | null;
}

export interface Camera {
  readonly camera_id: string;
  readonly name: string;
  /** Where it stands or flies; null where nobody knows. */
  readonly position: readonly [lon: number, lat: number] | null;
  /** The ground it shows, a closed ring; empty where it shows none. */
  readonly footprint: ReadonlyArray<readonly [lon: number, lat: number]>;
  /** `lying`: frames come that do not show what is there. */
  readonly state: ThingState | "lying";
  /** When the last frame came. */
  readonly observed_ms: number | null;
  readonly frames_per_s: number;
  /** Share of frames that were not looked at for want of time. */
  readonly skipped_ratio: number;
  /** `good`, or what is wrong with the picture; empty where nobody says. */
  readonly quality: string;
  readonly flies: boolean;
  readonly snapshot: string | null;
  /** Address of the picture as it is now; another with each picture. */
  readonly live_url: string | null;
}

export interface LayerInfo {
  readonly id: string;
  readonly role: string;
  readonly title: Text;
  readonly version: string;
  readonly feature_count: number;
  readonly url: string;
  readonly attribution: string;
}

export interface Figures {
  readonly observations_per_s: number | null;
  readonly frames_per_s: number | null;
  readonly lag_s: number | null;
  readonly incidents_open: number | null;
  readonly rejections: number | null;
  readonly city_ms: number | null;
}

export interface IncidentChange {
  readonly change: string;
  readonly incident: Incident;
  readonly evidence: Evidence | null;
}

type Raw = Readonly<Record<string, unknown>>;

export function asRecord(value: unknown): Raw {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Raw) : {};
}

export function asArray(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function text(value: unknown): string {
  return typeof value === "string" ? value : typeof value === "number" ? String(value) : "";
}

function textOrNull(value: unknown): string | null {
  return text(value) || null;
}

function number(value: unknown): number | null {
  return typeof value === "number" && Number.isFinite(value) ? value : null;
}

function texts(value: unknown): string[] {
  return asArray(value).map(text).filter(Boolean);
}

/** A text in both languages; a bare string serves for both. */
export function parseText(value: unknown): Text {
  if (typeof value === "string") return { zh: value, en: value };
  const raw = asRecord(value);
  const zh = text(raw["zh"]);
  const en = text(raw["en"]);
  return { zh: zh || en, en: en || zh };
}

/** RFC 3339, or integer nanoseconds under `x_ns`, as Unix milliseconds. */
function instant(raw: Raw, name: string): number | null {
  const at = raw[`${name}_at`];
  if (typeof at === "string") {
    const ms = Date.parse(at);
    if (Number.isFinite(ms)) return ms;
  }
  const ns = number(raw[`${name}_ns`]);
  return ns === null ? null : ns / 1e6;
}

function plainInstant(raw: Raw): number | null {
  if (typeof raw["at"] === "string") {
    const ms = Date.parse(raw["at"]);
    if (Number.isFinite(ms)) return ms;
  }
  const ns = number(raw["at_ns"]);
  return ns === null ? null : ns / 1e6;
}

const DOMAIN_WORDS: Readonly<Record<string, Domain>> = {
  城管: "urban",
  交通: "traffic",
  住建: "construction",
  社区: "community",
  低空: "airspace",
  "urban-management": "urban",
  urban: "urban",
  transport: "traffic",
  traffic: "traffic",
  housing: "construction",
  "housing-construction": "construction",
  construction: "construction",
  community: "community",
  "low-altitude": "airspace",
  airspace: "airspace",
};

export function parseDomain(value: unknown): Domain {
  return DOMAIN_WORDS[text(value).trim().toLowerCase().replaceAll("_", "-")] ?? "other";
}

function parseSeverity(value: unknown): Severity {
  return SEVERITIES.find((word) => word === value) ?? "minor";
}

function statusOrNull(value: unknown): Status | null {
  return value === "cancelled" || value === "suspended" ? value : (STEPS.find((word) => word === value) ?? null);
}

function parsePlace(value: unknown): Place {
  const raw = asRecord(value);
  return {
    lon_deg: number(raw["lon_deg"]),
    lat_deg: number(raw["lat_deg"]),
    error_major_m: number(raw["error_major_m"]),
    error_minor_m: number(raw["error_minor_m"]),
    error_azimuth_deg: number(raw["error_azimuth_deg"]),
    district_code: textOrNull(raw["district_code"]),
    street_code: textOrNull(raw["street_code"]),
    community_code: textOrNull(raw["community_code"]),
    grid_code: textOrNull(raw["grid_code"]),
    generated: raw["generated"] === true,
    area_name: text(raw["area_name"]),
    road_name: textOrNull(raw["road_name"]),
    road_distance_m: number(raw["road_distance_m"]),
    zones: texts(raw["zones"]),
    airspaces: texts(raw["airspaces"]),
    unplaced: textOrNull(raw["unplaced"]),
  };
}

export function parseIncident(value: unknown): Incident | null {
  const raw = asRecord(value);
  const id = text(raw["id"]);
  if (!id) return null;
  const opened = instant(raw, "opened") ?? instant(raw, "began") ?? 0;
  return {
    id,
    case_number: text(raw["case_number"]),
    scenario: text(raw["scenario"]),
    scenario_name: parseText(raw["scenario_name"] ?? raw["scenario"]),
    domain: parseDomain(raw["domain"]),
    domain_text: text(raw["domain"]),
    category_system: text(raw["category_system"]),
    category_code: text(raw["category_code"]),
    department: parseText(raw["department"]),
    severity: parseSeverity(raw["severity"]),
    status: statusOrNull(raw["status"]) ?? "collected",
    place: parsePlace(raw["place"]),
    began_ms: instant(raw, "began"),
    opened_ms: opened,
    updated_ms: instant(raw, "updated") ?? opened,
    deadline_ms: instant(raw, "deadline"),
    cleared_ms: instant(raw, "cleared"),
    closed_ms: instant(raw, "closed"),
    unit_name: textOrNull(raw["unit_name"] ?? raw["unit_id"]),
    worker_id: textOrNull(raw["worker_id"]),
    worker_name: textOrNull(raw["worker_name"] ?? raw["worker_id"]),
    confidence_ratio: number(raw["confidence_ratio"]) ?? 1,
    source_count: number(raw["source_count"]) ?? 1,
    event_count: number(raw["event_count"]) ?? 1,
    rework_count: number(raw["rework_count"]) ?? 0,
    escalation_level: number(raw["escalation_level"]) ?? 0,
    supervised: instant(raw, "supervised") !== null,
    explanation: parseText(raw["explanation"]),
    snapshot: textOrNull(raw["snapshot"]),
    parent_id: textOrNull(raw["parent_id"]),
    version: number(raw["version"]) ?? 1,
  };
}

export function parseEvidence(value: unknown): Evidence | null {
  const raw = asRecord(value);
  const event_id = text(raw["event_id"]);
  if (!event_id && !raw["thing_id"]) return null;
  const because = Object.entries(asRecord(raw["because"])).filter(
    (entry): entry is [string, string | number] =>
      typeof entry[1] === "string" || typeof entry[1] === "number",
  );
  return {
    event_id,
    source: text(raw["source"]),
    thing_id: text(raw["thing_id"]),
    kind: text(raw["kind"]),
    rule: text(raw["rule"]),
    edge: text(raw["edge"]),
    at_ms: plainInstant(raw),
    because,
    snapshots: texts(raw["snapshots"]),
  };
}

function parseHistory(value: unknown): HistoryEntry {
  const raw = asRecord(value);
  return {
    at_ms: plainInstant(raw),
    actor: text(raw["actor"]),
    action: text(raw["action"]),
    from_status: statusOrNull(raw["from_status"]),
    to_status: statusOrNull(raw["to_status"]),
    reason: text(raw["reason"]),
    photos: texts(raw["photos"]),
  };
}

function parseTransition(value: unknown): Transition | null {
  if (typeof value === "string") {
    return { action: value, to_status: null, reason_required: false, label: null };
  }
  const raw = asRecord(value);
  const action = text(raw["action"] ?? raw["name"]);
  if (!action) return null;
  const label = raw["label"] ?? raw["title"];
  return {
    action,
    to_status: statusOrNull(raw["to_status"] ?? raw["to"]),
    reason_required: raw["reason_required"] === true || raw["needs_reason"] === true,
    label: label === undefined ? null : parseText(label),
  };
}

export function parseDetail(value: unknown): Detail | null {
  const raw = asRecord(value);
  const incident = parseIncident(raw["incident"] ?? raw);
  if (incident === null) return null;
  return {
    incident,
    evidence: asArray(raw["evidence"])
      .map(parseEvidence)
      .filter((one) => one !== null),
    clips: texts(raw["clips"]),
    history: asArray(raw["history"]).map(parseHistory),
    transitions: asArray(raw["transitions"])
      .map(parseTransition)
      .filter((one) => one !== null),
  };
}

function thingState(value: unknown): ThingState {
  return value === "live" || value === "late" || value === "stale" ? value : "unknown";
}

export function parseThing(value: unknown): Thing | null {
  const raw = asRecord(value);
  const thing_id = text(raw["thing_id"]);
  if (!thing_id) return null;
  const measures: Record<string, number> = {};
  for (const [name, measure] of Object.entries(asRecord(raw["measures"]))) {
    const finite = number(measure);
    if (finite !== null) measures[name] = finite;
  }
  const registered = raw["registered"] ?? asRecord(raw["labels"])["registered"];
  return {
    thing_id,
    kind: text(raw["kind"]),
    name: text(raw["name"]),
    lon_deg: number(raw["lon_deg"]),
    lat_deg: number(raw["lat_deg"]),
    heading_deg: number(raw["heading_deg"]) ?? measures["heading_deg"] ?? null,
    observed_ms: instant(raw, "observed"),
    measures,
    state: thingState(raw["state"]),
    registered:
      registered === true || registered === "true"
        ? true
        : registered === false || registered === "false"
          ? false
          : null,
  };
}

function parseRing(value: unknown): (readonly [number, number])[] {
  return asArray(value)
    .map((one) => [number(asArray(one)[0]), number(asArray(one)[1])] as const)
    .filter((one): one is readonly [number, number] => one[0] !== null && one[1] !== null);
}

export function parseCamera(value: unknown): Camera | null {
  const raw = asRecord(value);
  const camera_id = text(raw["camera_id"]);
  if (!camera_id) return null;
  return {
    camera_id,
    name: text(raw["name"]),
    position: parseRing([[raw["lon_deg"], raw["lat_deg"]]])[0] ?? null,
    footprint: parseRing(asArray(asRecord(raw["footprint"])["coordinates"])[0]),
    state: raw["state"] === "lying" ? "lying" : thingState(raw["state"]),
    observed_ms: instant(raw, "last_frame"),
    frames_per_s: number(raw["frames_per_s"]) ?? 0,
    skipped_ratio: number(raw["skipped_ratio"]) ?? 0,
    quality: text(raw["quality"]),
    flies: raw["flies"] === true,
    snapshot: textOrNull(raw["snapshot"]),
    live_url: textOrNull(raw["live_url"]),
  };
}

export function parseLayer(value: unknown): LayerInfo | null {
  const raw = asRecord(value);
  const id = text(raw["id"]);
  if (!id) return null;
  return {
    id,
    role: text(raw["role"]) || "custom",
    title: parseText(raw["title"] ?? id),
    version: text(raw["version"]),
    feature_count: number(raw["feature_count"]) ?? 0,
    url: text(raw["url"]) || `/layers/${encodeURIComponent(id)}`,
    attribution: text(raw["attribution"]),
  };
}

export function parseFigures(value: unknown): Figures {
  const raw = asRecord(value);
  const time = raw["city_time"];
  const ms = typeof time === "string" ? Date.parse(time) : NaN;
  return {
    observations_per_s: number(raw["observations_per_s"]),
    frames_per_s: number(raw["frames_per_s"]),
    lag_s: number(raw["lag_s"]),
    incidents_open: number(raw["incidents_open"]),
    rejections: number(raw["rejections"]),
    city_ms: Number.isFinite(ms) ? ms : null,
  };
}

export function parseChange(value: unknown): IncidentChange | null {
  const raw = asRecord(value);
  const incident = parseIncident(raw["incident"]);
  if (incident === null) return null;
  return { change: text(raw["change"]), incident, evidence: parseEvidence(raw["evidence"]) };
}

/** The address of a camera's picture: as it is now, or its newest evidence. Pure. */
export function cameraPicture(camera: Pick<Camera, "live_url" | "snapshot">): string | null {
  if (camera.live_url !== null) return camera.live_url;
  return camera.snapshot === null ? null : snapshotUrl(camera.snapshot);
}

/** The address of an evidence picture; each level of its path is escaped. */
export function snapshotUrl(path: string): string {
  return `/snapshots/${path.split("/").map(encodeURIComponent).join("/")}`;
}
