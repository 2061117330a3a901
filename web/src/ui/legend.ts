/** The legend: what the colours mean, which layers are shown, what this page is. */

import { word, wordOr } from "../i18n.ts";
import { SEVERITIES } from "../model.ts";
import type { State } from "../state.ts";
import { GROUPS, ZONE_COLOURS } from "../map/layers.ts";
import type { Group } from "../map/layers.ts";
import { h } from "./dom.ts";
import { GLYPHS, icon } from "./icons.ts";

export interface LegendHandlers {
  readonly toggle: (group: Group, shown: boolean) => void;
  readonly close: () => void;
}

export function buildLegend(
  root: HTMLElement,
  state: State,
  hidden: ReadonlySet<Group>,
  handlers: LegendHandlers,
): void {
  const { lang } = state;
  const swatch = (colour: string, text: string): HTMLElement => {
    const mark = h("i");
    mark.style.setProperty("--swatch", colour);
    return h("li", {}, mark, text);
  };
  root.setAttribute("aria-label", word(lang, "legend.title"));
  root.replaceChildren(
    h(
      "header",
      {},
      h("h2", {}, word(lang, "legend.title")),
      h(
        "button",
        { type: "button", class: "round", "aria-label": word(lang, "detail.close"), onclick: handlers.close },
        icon(GLYPHS.close, 18),
      ),
    ),
    h("h3", {}, word(lang, "legend.severity")),
    h(
      "ul",
      { class: "swatches" },
      ...SEVERITIES.map((severity) =>
        h("li", { class: `sev-${severity}` }, h("i", { class: "dot" }), word(lang, `severity.${severity}`)),
      ),
    ),
    h("h3", {}, word(lang, "legend.zones")),
    h(
      "ul",
      { class: "swatches swatches-area" },
      ...Object.entries(ZONE_COLOURS).map(([kind, colour]) =>
        swatch(colour, wordOr(lang, `zone.${kind}`, kind)),
      ),
    ),
    h("h3", {}, word(lang, "legend.layers")),
    h(
      "div",
      { class: "layer-toggles" },
      ...GROUPS.map((group) => {
        const box = h("input", {
          type: "checkbox",
          name: group,
          checked: !hidden.has(group),
          onchange: () => handlers.toggle(group, box.checked),
        });
        return h("label", {}, box, word(lang, `layer.${group}`));
      }),
    ),
    h("h3", {}, word(lang, "legend.about")),
    h("p", { class: "fine" }, word(lang, "legend.about.text")),
  );
}
