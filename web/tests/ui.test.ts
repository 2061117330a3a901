import { expect, it } from "vitest";
import { isFieldStep, pictures, splitLabel } from "../src/ui/detail.ts";
import { parseDetail } from "../src/model.ts";
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
