/** The edge to the server: requests and the live stream. Same origin only. */

import {
  asArray,
  asRecord,
  parseCamera,
  parseChange,
  parseDetail,
  parseFigures,
  parseIncident,
  parseLayer,
  parseText,
  parseThing,
} from "./model.ts";
import type { Camera, Detail, Figures, Incident, IncidentChange, LayerInfo, Text, Thing } from "./model.ts";

/** A request that the server refused, or that never reached it (status 0). */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    /** What people are told. */
    readonly said: Text,
  ) {
    super(said.en);
  }
}

async function request(path: string, init: RequestInit = {}): Promise<unknown> {
  let response: Response;
  try {
    response = await fetch(path, { headers: { Accept: "application/json" }, ...init });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError(0, parseText(error instanceof Error ? error.message : String(error)));
  }
  const body: unknown = await response.json().catch(() => null);
  if (response.ok) return body;
  // Problem details, RFC 9457.
  const problem = asRecord(body);
  const detail = problem["detail"] ?? problem["title"] ?? `${response.status} ${response.statusText}`;
  throw new ApiError(response.status, parseText({ en: detail, zh: problem["title_zh"] ?? detail }));
}

/** Seconds after which to ask for a picture again: 0 where it is there, null where there is none. */
export async function secondsUntilThere(url: string): Promise<number | null> {
  const response = await fetch(url).catch(() => null);
  if (response?.ok) return 0;
  if (response?.status !== 503) return null;
  return Number(response.headers.get("Retry-After")) || 1;
}

function present<T>(values: readonly (T | null)[]): T[] {
  return values.filter((one): one is T => one !== null);
}

async function incidents(query: string): Promise<Incident[]> {
  const body = asRecord(await request(`/incidents?${query}`));
  return present(asArray(body["incidents"]).map(parseIncident));
}

/** The open cases, and the newest of all for the filter of closed ones. */
export async function loadIncidents(): Promise<Incident[]> {
  const [open, newest] = await Promise.all([
    incidents("limit=200&status=open"),
    incidents("limit=100"),
  ]);
  return [...open, ...newest];
}

export async function loadDetail(id: string, signal: AbortSignal): Promise<Detail> {
  const detail = parseDetail(await request(`/incidents/${encodeURIComponent(id)}`, { signal }));
  if (detail === null) throw new ApiError(0, parseText("an incident was wanted, got something else"));
  return detail;
}

export async function loadThings(): Promise<Thing[]> {
  return present(asArray(asRecord(await request("/things"))["things"]).map(parseThing));
}

export async function loadCameras(): Promise<Camera[]> {
  const body = await request("/cameras");
  const list = Array.isArray(body) ? body : asArray(asRecord(body)["cameras"]);
  return present(list.map(parseCamera));
}

export async function loadLayers(): Promise<LayerInfo[]> {
  const body = await request("/layers");
  const list = Array.isArray(body) ? body : asArray(asRecord(body)["layers"]);
  return present(list.map(parseLayer));
}

export async function loadLayer(layer: LayerInfo): Promise<GeoJSON.FeatureCollection> {
  const url = new URL(layer.url, location.href);
  if (url.origin !== location.origin) {
    throw new ApiError(0, parseText(`layer ${layer.id} lies at another origin: ${url.origin}`));
  }
  const body = asRecord(await request(url.pathname + url.search));
  return { type: "FeatureCollection", features: asArray(body["features"]) as GeoJSON.Feature[] };
}

/** What somebody does to a case. A repeated request with the same key changes nothing. */
export interface Step {
  readonly action: string;
  readonly reason: string;
  /** More time asked for, in seconds; null where none is. */
  readonly extension_s: number | null;
  /** A picture to go with it; null where there is none. */
  readonly photo: Blob | null;
  /** The worker who does it; null for the desk. */
  readonly worker: string | null;
  readonly key: string;
}

/** A key for one decision; `crypto.randomUUID` is not there on plain HTTP. */
export function newKey(): string {
  return [...crypto.getRandomValues(new Uint8Array(16))]
    .map((byte) => byte.toString(16).padStart(2, "0"))
    .join("");
}

/** Longest side of a picture as it is sent: enough to see what was done, small on a bad network. */
const PHOTO_SIDE_PX = 1600;

/** Scale a picture down and encode it as JPEG, which also leaves the phone's own data behind. */
async function smallJpeg(photo: Blob): Promise<Blob> {
  const picture = await createImageBitmap(photo);
  const scale = Math.min(1, PHOTO_SIDE_PX / Math.max(picture.width, picture.height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(picture.width * scale));
  canvas.height = Math.max(1, Math.round(picture.height * scale));
  canvas.getContext("2d")?.drawImage(picture, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve, reject) => {
    canvas.toBlob(
      (blob) => (blob === null ? reject(new Error("the picture cannot be encoded")) : resolve(blob)),
      "image/jpeg",
      0.85,
    );
  });
}

/** Bring a picture of a case; gives the name that a step takes. */
async function addPhoto(incident: Incident, photo: Blob, token: string): Promise<string> {
  const body = await request(`/incidents/${encodeURIComponent(incident.id)}/photos`, {
    method: "POST",
    headers: { Accept: "application/json", Authorization: `Bearer ${token}`, "Content-Type": "image/jpeg" },
    body: await smallJpeg(photo),
  });
  return String(asRecord(body)["photo"]);
}

/** Move a case on. The version guards against undoing what somebody else did meanwhile. */
export async function act(incident: Incident, step: Step, token: string): Promise<void> {
  const photos = step.photo === null ? [] : [await addPhoto(incident, step.photo, token)];
  await request(`/incidents/${encodeURIComponent(incident.id)}/transitions`, {
    method: "POST",
    headers: {
      Accept: "application/json",
      Authorization: `Bearer ${token}`,
      "Content-Type": "application/json",
      "Idempotency-Key": step.key,
    },
    body: JSON.stringify({
      action: step.action,
      version: incident.version,
      ...(step.reason && { reason: step.reason }),
      ...(step.extension_s !== null && { extension_s: step.extension_s }),
      ...(photos.length > 0 && { photos }),
      ...(step.worker === null ? { role: "operator" } : { role: "worker", actor: step.worker }),
    }),
  });
}

export const VERDICTS = ["not_an_issue", "wrong_place", "wrong_owner", "duplicate"] as const;

/** Say what a case really is. Who says that the place is wrong stands where it is right, if the phone knows. */
export async function judge(
  incident: Incident,
  verdict: (typeof VERDICTS)[number],
  worker: string | null,
  token: string,
): Promise<void> {
  const here = verdict === "wrong_place" ? await ownPlace() : null;
  await request(`/incidents/${encodeURIComponent(incident.id)}/verdict`, {
    method: "POST",
    headers: { Accept: "application/json", Authorization: `Bearer ${token}`, "Content-Type": "application/json" },
    body: JSON.stringify({
      verdict,
      ...(worker === null ? { role: "operator" } : { role: "worker", actor: worker }),
      ...(here !== null && here),
    }),
  });
}

/** Where the phone is; null where it does not know or may not say. */
function ownPlace(): Promise<{ readonly lon: number; readonly lat: number } | null> {
  return new Promise((resolve) => {
    if (!("geolocation" in navigator)) return resolve(null);
    navigator.geolocation.getCurrentPosition(
      ({ coords }) => resolve({ lon: coords.longitude, lat: coords.latitude }),
      () => resolve(null),
      { enableHighAccuracy: true, timeout: 5000, maximumAge: 30_000 },
    );
  });
}

/** An indicator of the case process: its value, and where the cases behind it are. */
export interface Kpi {
  readonly id: string;
  readonly name: Text;
  readonly formula: Text;
  readonly unit: string;
  readonly value: number | null;
  readonly numerator: number;
  readonly denominator: number;
  readonly behind: string;
}

export interface KpiGroup {
  readonly key: string;
  readonly name: string;
  readonly kpis: readonly Kpi[];
}

/** Indicators of everything, or told apart by what `groupBy` names. */
export async function loadKpis(groupBy: string): Promise<KpiGroup[]> {
  const body = asRecord(await request(`/kpis?group_by=${encodeURIComponent(groupBy)}`));
  const definitions = asArray(body["definitions"]).map(asRecord);
  return asArray(body["groups"]).map((value) => {
    const group = asRecord(value);
    const figures = asRecord(group["kpis"]);
    return {
      key: String(group["key"] ?? ""),
      name: String(group["name"] ?? ""),
      kpis: definitions.map((one) => {
        const id = String(one["id"]);
        const figure = asRecord(figures[id]);
        return {
          id,
          name: parseText(one["name"]),
          formula: parseText(one["formula"]),
          unit: String(one["unit"]),
          value: typeof figure["value"] === "number" ? figure["value"] : null,
          numerator: Number(figure["numerator"] ?? 0),
          denominator: Number(figure["denominator"] ?? 0),
          behind: String(figure["denominator_url"] ?? ""),
        };
      }),
    };
  });
}

/** The very cases behind a figure. */
export async function loadBehind(url: string): Promise<Incident[]> {
  if (!url.startsWith("/kpis/")) return [];
  return present(asArray(asRecord(await request(url))["incidents"]).map(parseIncident));
}

/** What leaves raises out now, and how many it did. */
export interface Exclusion {
  readonly id: string;
  readonly explanation: Text;
  readonly actor: string;
  readonly excluded_count: number;
}

/** Permits, planned works, maintenance windows and silences in force. */
export async function loadExclusions(): Promise<Exclusion[]> {
  const body = asRecord(await request("/exclusions"));
  return asArray(body["exclusions"])
    .map(asRecord)
    .map((one) => ({
      id: String(one["id"] ?? ""),
      explanation: parseText(one["explanation"]),
      actor: String(one["actor"] ?? ""),
      excluded_count: Number(one["excluded_count"] ?? 0),
    }));
}

export interface StreamHandlers {
  readonly changes: (changes: IncidentChange[]) => void;
  readonly things: (things: Thing[]) => void;
  readonly figures: (figures: Figures) => void;
  /** The stream is open; `resumed` when it was open before and something may have been missed. */
  readonly open: (resumed: boolean) => void;
  readonly lost: () => void;
  /** The server no longer keeps what was missed: everything is to be read anew. */
  readonly reset: () => void;
}

/** Messages are handed on in groups, so that a busy city costs no more than a calm one. */
const GROUP_MS = 120;
/** The server speaks every second; a longer silence is a lost connection. */
const SILENCE_MS = 8000;
const RETRY_MS = [1000, 2000, 4000, 8000, 15000] as const;
/** Most things waiting to be handed on; only the last word of each is kept. */
const MAX_WAITING = 5000;

/**
 * Follow the live stream for as long as the page lives.
 *
 * The browser resumes by itself with `Last-Event-ID`; where it gives up (the server answered
 * with an error) or the connection is silently dead, a new stream is opened with growing pauses
 * and the caller is told to load anew.
 */
export function followStream(handlers: StreamHandlers): void {
  let source: EventSource | null = null;
  let failures = 0;
  let opened = false;
  let lastId = "";
  let heardMs = performance.now();
  let changes: IncidentChange[] = [];
  const things = new Map<string, Thing>();
  let flushing = false;

  const flush = (): void => {
    flushing = false;
    if (changes.length > 0) {
      const group = changes;
      changes = [];
      handlers.changes(group);
    }
    if (things.size > 0) {
      const group = [...things.values()];
      things.clear();
      handlers.things(group);
    }
  };
  const soon = (): void => {
    heardMs = performance.now();
    if (flushing) return;
    flushing = true;
    setTimeout(flush, GROUP_MS);
  };
  const data = (event: Event): unknown => {
    try {
      return JSON.parse((event as MessageEvent<string>).data) as unknown;
    } catch {
      return null;
    }
  };

  const connect = (): void => {
    source?.close();
    // A stream of the browser's own making names the last event by itself; a new one must be told.
    const stream = new EventSource(lastId ? `/stream?last_event_id=${encodeURIComponent(lastId)}` : "/stream");
    source = stream;
    heardMs = performance.now();
    stream.addEventListener("open", () => {
      failures = 0;
      heardMs = performance.now();
      handlers.open(opened);
      opened = true;
    });
    stream.addEventListener("error", () => {
      handlers.lost();
      if (stream.readyState === EventSource.CLOSED && source === stream) retry();
    });
    stream.addEventListener("incident", (event) => {
      lastId = (event as MessageEvent<string>).lastEventId;
      const change = parseChange(data(event));
      if (change !== null) changes.push(change);
      soon();
    });
    stream.addEventListener("reset", () => handlers.reset());
    stream.addEventListener("thing", (event) => {
      const thing = parseThing(data(event));
      if (thing !== null && (things.size < MAX_WAITING || things.has(thing.thing_id))) {
        things.set(thing.thing_id, thing);
      }
      soon();
    });
    stream.addEventListener("figures", (event) => {
      heardMs = performance.now();
      handlers.figures(parseFigures(data(event)));
    });
  };
  const retry = (): void => {
    source?.close();
    source = null;
    const pause = RETRY_MS[Math.min(failures, RETRY_MS.length - 1)] ?? 15000;
    failures += 1;
    setTimeout(connect, pause);
  };

  connect();
  setInterval(() => {
    if (source === null || performance.now() - heardMs < SILENCE_MS) return;
    handlers.lost();
    retry();
  }, 2000);
}
