/** What a click on a camera, an aircraft or a sensor shows. */

import { age } from "../format.ts";
import type { Lang } from "../format.ts";
import { factName, factValue, kindName, word } from "../i18n.ts";
import type { Word } from "../i18n.ts";
import type { Camera, Thing, ThingState } from "../model.ts";
import { height } from "../state.ts";
import { cameraImage, cameraStateLine, qualityLine } from "./camera.ts";
import { h } from "./dom.ts";

/** The state of a thing as it is: when it was last heard, or that it never was. */
function stateLine(
  lang: Lang,
  state: ThingState,
  observedMs: number | null,
  nowMs: number | null,
): HTMLElement {
  const heard =
    observedMs === null
      ? word(lang, "thing.never")
      : nowMs === null
        ? ""
        : word(lang, "thing.since", { age: age(observedMs, nowMs, lang) });
  return h(
    "p",
    { class: `thing-state state-${state}` },
    h("i"),
    observedMs === null ? null : word(lang, `thing.${state}`),
    h("span", {}, heard),
  );
}

export function cameraCard(
  lang: Lang,
  camera: Camera,
  nowMs: number | null,
  open: () => void,
): HTMLElement {
  return h(
    "div",
    { class: "popup" },
    h(
      "button",
      { type: "button", class: "popup-open", "aria-label": word(lang, "camera.open"), onclick: open },
      cameraImage(lang, camera, "popup-picture"),
    ),
    h("h3", {}, camera.name || camera.camera_id),
    camera.name !== "" && h("p", { class: "fine mono" }, camera.camera_id),
    cameraStateLine(lang, camera, nowMs),
    qualityLine(lang, camera),
    h("button", { type: "button", class: "popup-link", onclick: open }, word(lang, "camera.open")),
  );
}

/** The height of an aircraft with its datum, or nothing. */
export function heightText(lang: Lang, measures: Readonly<Record<string, number>>): string {
  const known = height(measures);
  if (known === null) return "";
  return word(lang, `datum.${known.datum}` as Word, { n: Math.round(known.value_m) });
}

export function thingCard(
  lang: Lang,
  thing: Thing,
  registered: boolean | null,
  nowMs: number | null,
): HTMLElement {
  const measures = Object.entries(thing.measures).slice(0, 8);
  return h(
    "div",
    { class: "popup" },
    h("h3", {}, thing.name || kindName(lang, thing.kind)),
    h("p", { class: "fine mono" }, thing.thing_id),
    registered !== null &&
      h(
        "p",
        { class: registered ? "fine" : "unregistered" },
        word(lang, registered ? "aircraft.registered" : "aircraft.unregistered"),
      ),
    stateLine(lang, thing.state, thing.observed_ms, nowMs),
    h(
      "dl",
      { class: "because" },
      ...measures.map(([name, value]) =>
        h("div", {}, h("dt", {}, factName(lang, name)), h("dd", {}, factValue(lang, name, value))),
      ),
    ),
  );
}
