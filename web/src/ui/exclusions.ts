/** What is no incident now: permits, planned works, maintenance windows and silences in force. */

import { loadExclusions } from "../api.ts";
import type { Lang } from "../format.ts";
import { pick, word } from "../i18n.ts";
import { h } from "./dom.ts";

/** A section that fills itself; it stays empty where nothing is in force. */
export function exclusionList(lang: Lang): HTMLElement {
  const section = h("section", { class: "kpi-behind exclusions" });
  void loadExclusions()
    .then((found) => {
      if (found.length === 0) return;
      section.append(
        h("h3", {}, word(lang, "exclusions.title")),
        h(
          "ul",
          {},
          ...found.map((one) =>
            h(
              "li",
              {},
              h("p", {}, pick(lang, one.explanation)),
              h("p", { class: "fine" }, word(lang, "exclusions.line", { n: one.excluded_count, who: one.actor })),
            ),
          ),
        ),
      );
    })
    // The indicators stand without the list; the next opening tries again.
    .catch(() => undefined);
  return section;
}
