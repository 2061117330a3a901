/** The indicators of the case process: each with its formula, opening to the cases behind it. */

import { loadBehind, loadKpis } from "../api.ts";
import type { Kpi, KpiGroup } from "../api.ts";
import type { Lang } from "../format.ts";
import { pick, word, wordOr } from "../i18n.ts";
import type { Word } from "../i18n.ts";
import type { Incident } from "../model.ts";
import { h } from "./dom.ts";
import { exclusionList } from "./exclusions.ts";
import { GLYPHS, icon } from "./icons.ts";

export interface KpiHandlers {
  readonly select: (id: string) => void;
  /** The name of an area by its code; null where no layer has it. */
  readonly nameOf: (code: string) => string | null;
}

const GROUPS = ["none", "domain", "street", "unit", "scenario", "day"] as const;

/** A value as people read it; a dash where there was nothing to divide by. Pure. */
export function kpiText(kpi: Pick<Kpi, "value" | "unit">): string {
  if (kpi.value === null) return "–";
  return kpi.unit === "ratio" ? `${(kpi.value * 100).toFixed(1)} %` : `${kpi.value.toFixed(2)} h`;
}

/** Open the dialog. */
export function showKpis(lang: Lang, handlers: KpiHandlers): void {
  const body = h("div", { class: "kpi-body" });
  const behind = h("div", { class: "kpi-behind", "aria-live": "polite" });
  const select = h(
    "select",
    { id: "kpi-by", "aria-label": word(lang, "kpi.by"), onchange: () => void fill() },
    ...GROUPS.map((key) => h("option", { value: key }, word(lang, `kpi.by.${key}` as Word))),
  );
  const dialog = h(
    "dialog",
    { class: "dialog kpi-dialog", "aria-label": word(lang, "kpi.title") },
    h(
      "div",
      { class: "kpi-head" },
      h("h2", {}, word(lang, "kpi.title")),
      select,
      h(
        "button",
        { type: "button", class: "bar-button bar-icon", "aria-label": word(lang, "detail.close"), onclick: () => dialog.close() },
        icon(GLYPHS.close, 18),
      ),
    ),
    body,
    behind,
    exclusionList(lang),
  );
  dialog.addEventListener("close", () => dialog.remove());

  const nameOf = (group: KpiGroup): string =>
    group.name || handlers.nameOf(group.key) || wordOr(lang, `domain.${group.key}`, group.key) || word(lang, "kpi.unknown");

  const open = async (kpi: Kpi): Promise<void> => {
    const incidents = await loadBehind(kpi.behind);
    behind.replaceChildren(
      h("h3", {}, word(lang, "kpi.behind", { name: pick(lang, kpi.name), n: incidents.length })),
      h("ul", {}, ...incidents.slice(0, 200).map((one) => h("li", {}, caseButton(one)))),
    );
  };

  const caseButton = (one: Incident): HTMLElement =>
    h(
      "button",
      {
        type: "button",
        class: "kpi-case",
        onclick: () => {
          dialog.close();
          handlers.select(one.id);
        },
      },
      h("b", {}, one.case_number),
      h("span", {}, pick(lang, one.scenario_name)),
      h("span", { class: "fine" }, word(lang, `status.${one.status}`)),
    );

  const tile = (kpi: Kpi): HTMLElement =>
    h(
      "button",
      { type: "button", class: "kpi", "data-kpi": kpi.id, title: pick(lang, kpi.formula), onclick: () => void open(kpi) },
      h("span", {}, pick(lang, kpi.name)),
      h("strong", {}, kpiText(kpi)),
      h("span", { class: "fine" }, `${kpi.numerator} / ${kpi.denominator}`),
    );

  const fill = async (): Promise<void> => {
    const grouped = select.value !== "none";
    behind.replaceChildren();
    try {
      const groups = await loadKpis(select.value);
      body.replaceChildren(
        ...groups.map((group) =>
          h("section", { class: "kpi-group" }, grouped && h("h3", {}, nameOf(group)), h("div", { class: "kpi-tiles" }, ...group.kpis.map(tile))),
        ),
      );
    } catch {
      body.replaceChildren(h("p", { class: "form-error", role: "alert" }, word(lang, "kpi.failed")));
    }
  };

  document.body.append(dialog);
  dialog.showModal();
  void fill();
}
