import { describe, expect, it } from "vitest";
import { ellipse, boundsOf, offset } from "../src/geometry.ts";
import { factRows, kindName, unitOf, word } from "../src/i18n.ts";
import {
  parseCamera,
  parseChange,
  parseDetail,
  parseFigures,
  parseIncident,
  parseThing,
  snapshotUrl,
} from "../src/model.ts";

describe("readers", () => {
  it("take nothing for granted", () => {
    for (const odd of [null, undefined, 7, "x", [], {}, { id: "" }]) {
      expect(parseIncident(odd)).toBeNull();
      expect(parseThing(odd)).toBeNull();
      expect(parseCamera(odd)).toBeNull();
      expect(parseDetail(odd)).toBeNull();
      expect(parseChange(odd)).toBeNull();
      expect(parseFigures(odd).lag_s).toBeNull();
    }
  });

  it("fill what is missing and ignore what is unknown", () => {
    const incident = parseIncident({ id: "a", tomorrow: [1], scenario: "x", severity: "odd", status: "odd" });
    expect(incident).toMatchObject({
      scenario_name: { zh: "x", en: "x" },
      severity: "minor",
      status: "collected",
      domain: "other",
      deadline_ms: null,
      source_count: 1,
    });
    expect(incident?.place.lon_deg).toBeNull();
  });

  it("read instants as text or as nanoseconds", () => {
    expect(parseIncident({ id: "a", opened_at: "2026-01-01T00:00:00.5Z" })?.opened_ms).toBe(1767225600500);
    expect(parseIncident({ id: "a", opened_ns: 1767225600500000000 })?.opened_ms).toBe(1767225600500);
  });

  it("do not call a silent thing live", () => {
    expect(parseThing({ thing_id: "x", state: null })?.state).toBe("unknown");
  });

  it("take transitions as words or as records", () => {
    const detail = parseDetail({ id: "a", transitions: ["accept", { action: "return", reason_required: true }] });
    expect(detail?.transitions.map((one) => [one.action, one.reason_required])).toEqual([
      ["accept", false],
      ["return", true],
    ]);
  });

  it("escape the paths of pictures", () => {
    expect(snapshotUrl("camera-1/青 #1.jpg")).toBe("/snapshots/camera-1/%E9%9D%92%20%231.jpg");
  });
});

describe("words", () => {
  it("are there in both languages", () => {
    expect(word("zh", "detail.error", { n: 3 })).toBe("位置误差 ±3 米");
    expect(word("en", "detail.error", { n: 3 })).toBe("Position ±3 m");
    expect(kindName("zh", "water_level")).toBe("水位计");
    expect(kindName("en", "new_kind.of_thing")).toBe("new kind of thing");
  });

  it("take units from names", () => {
    expect(["water_level_m", "pm10_ug_m3", "smoke_db_per_m", "noise_db", "tilt_deg", "odd"].map(unitOf)).toEqual(
      [" m", " µg/m³", " dB/m", " dB", "°", ""],
    );
  });

  it("tell evidence with the unit of its measure, the value first", () => {
    const because = [
      ["for_s", 60], ["held_s", 95], ["measure", "water_level_m"], ["comparison", "at_least"],
      ["threshold", 0.25], ["value", 0.31], ["peak", 0.31], ["clear_level", 0.15], ["zone", "underpass"],
    ] as const;
    expect(factRows("en", because)).toEqual([
      ["Water level", "0.31 m"],
      ["Must last", "1 min"],
      ["Lasted", "1 min 35 s"],
      ["Threshold", "≥ 0.25 m"],
      ["Zone", "Underpass"],
    ]);
    expect(factRows("zh", [])).toEqual([]);
  });
});

describe("shapes", () => {
  const here = [120.3846, 36.0614] as const;
  const metres = ([lon, lat]: readonly [number, number]): [number, number] => [
    (lon - here[0]) * 111_320 * Math.cos((36.0614 * Math.PI) / 180),
    (lat - here[1]) * 111_320,
  ];

  it("measure in metres", () => {
    const [east, north] = metres(offset(here, 30, -40));
    expect(east).toBeCloseTo(30, 6);
    expect(north).toBeCloseTo(-40, 6);
  });

  it("turn an ellipse clockwise from north", () => {
    const ring = ellipse(here, 10, 2, 90, 4).map(metres);
    expect(ring[0]?.[0]).toBeCloseTo(10, 6); // the major axis points east
    expect(ring[1]?.[1]).toBeCloseTo(-2, 6);
    expect(ring.at(-1)).toEqual(ring[0]);
  });

  it("take a camera's footprint as the server gives it, and none where there is none", () => {
    const ring = [[120, 36], [120.001, 36], [120.001, 36.001], [120, 36]];
    const seen = parseCamera({ camera_id: "c", lon_deg: 120, lat_deg: 36, footprint: { type: "Polygon", coordinates: [ring] } });
    expect(seen?.footprint).toEqual(ring);
    expect(seen?.position).toEqual([120, 36]);
    const unplaced = parseCamera({ camera_id: "c", lon_deg: null, lat_deg: null, footprint: null, state: "lying" });
    expect([unplaced?.footprint, unplaced?.position, unplaced?.state]).toEqual([[], null, "lying"]);
  });

  it("find the box around features, some of which are nowhere", () => {
    const nowhere = { type: "Feature", properties: {}, geometry: null } as unknown as GeoJSON.Feature;
    const line: GeoJSON.Feature = {
      type: "Feature", properties: {}, geometry: { type: "LineString", coordinates: [[1, 2], [3, -1]] },
    };
    expect(boundsOf([nowhere])).toBeNull();
    expect(boundsOf([nowhere, line])).toEqual([1, -1, 3, 2]);
  });
});
