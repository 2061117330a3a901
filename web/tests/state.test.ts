import { describe, expect, it } from "vitest";
import { parseIncident, parseThing } from "../src/model.ts";
import type { Incident, Thing } from "../src/model.ts";
import {
  FRESH_MS,
  MAX_INCIDENTS,
  MAX_TAILS,
  MAX_TAIL_POINTS,
  MAX_THINGS,
  Store,
  height,
  initialState,
  openByDomain,
  reduce,
  registration,
  visibleIncidents,
  workers,
} from "../src/state.ts";
import type { State } from "../src/state.ts";

function anIncident(id: string, given: Record<string, unknown> = {}): Incident {
  const incident = parseIncident({
    id,
    opened_at: "2026-05-20T00:00:00Z",
    domain: "交通",
    severity: "minor",
    status: "dispatched",
    version: 1,
    ...given,
  });
  if (incident === null) throw new Error("not an incident");
  return incident;
}

function aThing(id: string, given: Record<string, unknown> = {}): Thing {
  const thing = parseThing({
    thing_id: id,
    kind: "aircraft",
    lon_deg: 120,
    lat_deg: 36,
    observed_at: "2026-05-20T00:00:00Z",
    state: "live",
    ...given,
  });
  if (thing === null) throw new Error("not a thing");
  return thing;
}

const begin = (): State => initialState("zh");

describe("incidents", () => {
  it("come newest first and only the open ones at first", () => {
    const state = reduce(begin(), {
      type: "incidents",
      incidents: [
        anIncident("old"),
        anIncident("new", { opened_at: "2026-05-20T01:00:00Z" }),
        anIncident("done", { status: "closed" }),
      ],
    });
    expect(visibleIncidents(state).map((one) => one.id)).toEqual(["new", "old"]);
    expect(state.fresh.size).toBe(0);
  });

  it("count as new only when they are opened live", () => {
    const changes = [
      { change: "opened", incident: anIncident("a"), evidence: null },
      { change: "evidence", incident: anIncident("b"), evidence: null },
    ];
    const state = reduce(begin(), { type: "changes", changes, wallMs: 50 });
    expect([...state.fresh.keys()]).toEqual(["a"]);
    expect(reduce(state, { type: "expire", wallMs: 60 })).toBe(state);
    expect(reduce(state, { type: "expire", wallMs: 50 + FRESH_MS }).fresh.size).toBe(0);
  });

  it("are not undone by a late answer", () => {
    let state = reduce(begin(), {
      type: "changes",
      changes: [{ change: "transition", incident: anIncident("a", { version: 3, status: "closed" }), evidence: null }],
      wallMs: 0,
    });
    state = reduce(state, { type: "incidents", incidents: [anIncident("a", { version: 2 })] });
    expect(state.incidents.get("a")?.status).toBe("closed");
  });

  it("are bounded; closed ones leave first, the selected one stays", () => {
    const closed = anIncident("closed", { status: "closed", opened_at: "2026-05-21T00:00:00Z" });
    const kept = anIncident("kept", { status: "closed", opened_at: "2020-01-01T00:00:00Z" });
    const many = Array.from({ length: MAX_INCIDENTS }, (_, n) => anIncident(`n${n}`));
    let state = reduce(begin(), { type: "select", id: "kept" });
    state = reduce(state, { type: "incidents", incidents: [closed, kept, ...many] });
    expect(state.incidents.size).toBe(MAX_INCIDENTS);
    expect(state.incidents.has("closed")).toBe(false);
    expect(state.incidents.has("kept")).toBe(true);
  });

  it("are filtered by domain, severity and worker", () => {
    let state = reduce(begin(), {
      type: "incidents",
      incidents: [
        anIncident("a", { domain: "城管", worker_id: "w1", worker_name: "王海燕" }),
        anIncident("b", { severity: "extreme", worker_id: "w2" }),
      ],
    });
    const ids = (filters: Partial<State["filters"]>): string[] =>
      visibleIncidents(reduce(state, { type: "filters", filters })).map((one) => one.id);
    expect(ids({ domains: new Set(["urban"]) })).toEqual(["a"]);
    expect(ids({ severities: new Set(["extreme"]) })).toEqual(["b"]);
    expect(ids({ worker: "w1" })).toEqual(["a"]);
    expect(ids({ domains: new Set(["airspace"]) })).toEqual([]);
    expect(workers(state)).toEqual([
      ["w2", "w2"],
      ["w1", "王海燕"],
    ].sort((a, b) => (a[1] ?? "").localeCompare(b[1] ?? "", "zh")));
    state = reduce(state, { type: "incidents", incidents: [anIncident("c", { status: "closed" })] });
    expect(Object.fromEntries(openByDomain(state))).toEqual({ urban: 1, traffic: 1 });
  });
});

describe("things", () => {
  it("leave a bounded tail, without points where nothing moved", () => {
    let state = begin();
    for (let step = 0; step < MAX_TAIL_POINTS + 20; step += 1) {
      const things = [aThing("x", { lon_deg: 120 + step / 1e4 })];
      state = reduce(state, { type: "things", things });
      state = reduce(state, { type: "things", things });
    }
    expect(state.tails.get("x")?.length).toBe(MAX_TAIL_POINTS);
  });

  it("are bounded, and so are tails; the one silent longest leaves", () => {
    const things = Array.from({ length: MAX_THINGS + 5 }, (_, n) => aThing(`t${n}`));
    const state = reduce(begin(), { type: "things", things });
    expect(state.things.size).toBe(MAX_THINGS);
    expect(state.things.has("t0")).toBe(false);
    expect(state.tails.size).toBe(MAX_TAILS);
  });

  it("keep the newest word, and the register's name", () => {
    let state = reduce(begin(), { type: "things", things: [aThing("x", { heading_deg: 90 })] });
    const registered = aThing("x", { observed_at: null, name: "一号", registered: true, heading_deg: 1 });
    state = reduce(state, { type: "things", things: [registered] });
    expect(state.things.get("x")).toMatchObject({ heading_deg: 90, name: "一号", registered: true });
  });

  it("are strangers only where somebody says so", () => {
    const thing = aThing("x");
    let state = reduce(begin(), { type: "things", things: [thing] });
    expect(registration(state, thing)).toBeNull();
    const evidence = {
      event_id: "e", source: "", thing_id: "x", kind: "", rule: "", edge: "raise",
      at_ms: null, because: [], snapshots: [],
    };
    state = reduce(state, {
      type: "changes",
      changes: [{ change: "opened", incident: anIncident("i", { scenario: "unidentified-aircraft" }), evidence }],
      wallMs: 0,
    });
    expect(registration(state, thing)).toBe(false);
  });

  it("say their height with its datum, the most useful one", () => {
    expect(height({ alt_wgs84_m: 90, alt_takeoff_m: 70 })).toEqual({ value_m: 70, datum: "takeoff" });
    expect(height({})).toBeNull();
  });
});

it("tells listeners once per frame", () => {
  const frames: (() => void)[] = [];
  const store = new Store(begin(), (run) => frames.push(run));
  let heard = 0;
  store.subscribe(() => (heard += 1));
  store.dispatch({ type: "incidents", incidents: [anIncident("a")] });
  store.dispatch({ type: "incidents", incidents: [anIncident("b")] });
  expect(frames.length).toBe(1);
  frames[0]?.();
  expect(heard).toBe(1);
});
