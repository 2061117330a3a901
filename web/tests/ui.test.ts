import { expect, it } from "vitest";
import { familyOf, isFieldStep, pictures, splitLabel } from "../src/ui/detail.ts";
import { parseDetail, parseIncident } from "../src/model.ts";
import { nearestSnap } from "../src/ui/sheet.ts";

it("splits the labels of an explanation, and only those", () => {
  expect(splitLabel("为何立案：水位 0.31 米。")).toEqual(["为何立案", "水位 0.31 米。"]);
  expect(splitLabel("Why you: it is in your grid.")).toEqual(["Why you", "it is in your grid."]);
  expect(splitLabel("from 2026-05-20 08:14:25 on")).toEqual([null, "from 2026-05-20 08:14:25 on"]);
  expect(splitLabel("08:14 something")).toEqual([null, "08:14 something"]);
});

it("shows each picture once, the newest evidence first", () => {
  const detail = parseDetail({
    id: "a",
    snapshot: "old.jpg",
    evidence: [
      { event_id: "1", at: "2026-01-01T00:00:00Z", snapshots: ["old.jpg"] },
      { event_id: "2", at: "2026-01-01T00:01:00Z", snapshots: ["new.jpg", "old.jpg"] },
    ],
  });
  if (detail === null) throw new Error("not a detail");
  expect(pictures(detail)).toEqual(["old.jpg", "new.jpg"]);
  const done = parseDetail({ id: "a", snapshot: "old.jpg", history: [{ action: "feedback", photos: ["after.jpg"] }] });
  expect(done === null ? [] : pictures(done)).toEqual(["old.jpg", "after.jpg"]);
  expect(pictures({ ...detail, incident: { ...detail.incident, snapshot: null } })).toEqual(["new.jpg", "old.jpg"]);
});

it("lets a flick decide where the sheet comes to rest", () => {
  const heights = { peek: 76, half: 400, full: 780 };
  expect(nearestSnap(heights, 390, 0)).toBe("half");
  expect(nearestSnap(heights, 390, 2)).toBe("full");
  expect(nearestSnap(heights, 390, -2)).toBe("peek");
});

it("leaves the desk's steps to the desk", () => {
  expect(isFieldStep({ status: "dispatched" }, "accept")).toBe(true);
  expect(isFieldStep({ status: "handling" }, "return")).toBe(true);
  expect(isFieldStep({ status: "feedback" }, "return")).toBe(false);
  expect(isFieldStep({ status: "handling" }, "cancel")).toBe(false);
});

it("finds the parent and the parts of a case", () => {
  const made = (id: string, parent_id: string | null, opened_at: string) => {
    const one = parseIncident({ id, parent_id, opened_at });
    if (one === null) throw new Error("not an incident");
    return one;
  };
  const burst = made("burst", null, "2026-01-01T00:00:00Z");
  const later = made("later", "burst", "2026-01-01T00:02:00Z");
  const first = made("first", "burst", "2026-01-01T00:01:00Z");
  const alone = made("alone", "closed long ago", "2026-01-01T00:00:00Z");
  const all = [later, burst, first, alone];
  expect(familyOf(all, burst)).toEqual({ parent: null, parts: [first, later] });
  expect(familyOf(all, later)).toEqual({ parent: burst, parts: [] });
  expect(familyOf(all, alone)).toEqual({ parent: null, parts: [] });
});
