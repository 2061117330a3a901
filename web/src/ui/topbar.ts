/** The bar on top: name, city time, live figures, connection, language, legend. */

import { calendarDay, clockTime, figure } from "../format.ts";
import { word } from "../i18n.ts";
import type { Word } from "../i18n.ts";
import type { State } from "../state.ts";
import { h, setText } from "./dom.ts";
import { GLYPHS, icon } from "./icons.ts";

export interface TopbarHandlers {
  readonly toggleLanguage: () => void;
  readonly toggleLegend: () => void;
  readonly showKpis: () => void;
  readonly showCameras: () => void;
}

interface Figure {
  readonly key: "observations" | "frames" | "lag" | "open" | "rejections";
  readonly value: (state: State) => string;
}

const FIGURES: readonly Figure[] = [
  { key: "observations", value: ({ figures }) => figure(figures?.observations_per_s ?? null) },
  { key: "frames", value: ({ figures }) => figure(figures?.frames_per_s ?? null, 1) },
  {
    key: "lag",
    value: ({ figures }) => {
      const lag = figures?.lag_s ?? null;
      if (lag === null) return "–";
      return lag < 1 ? `${Math.round(lag * 1000)} ms` : `${lag.toFixed(1)} s`;
    },
  },
  { key: "open", value: ({ figures }) => figure(figures?.incidents_open ?? null) },
  { key: "rejections", value: ({ figures }) => figure(figures?.rejections ?? null) },
];

export class Topbar {
  private readonly values = new Map<string, HTMLElement>();
  private clock = h("time");
  private day = h("span");
  private factor = h("span");
  private link = h("span");
  private linkText = h("span");

  constructor(
    private readonly root: HTMLElement,
    private readonly handlers: TopbarHandlers,
  ) {}

  /** Build everything in the state's language. */
  build(state: State): void {
    const { lang } = state;
    this.clock = h("time", { class: "clock", id: "city-clock" }, "--:--:--");
    this.day = h("span", { class: "clock-day" });
    this.factor = h("span", { class: "clock-factor" });
    this.linkText = h("span");
    this.link = h("span", { class: "link", id: "connection", role: "status" }, h("i"), this.linkText);
    this.values.clear();
    const figures = h(
      "dl",
      { class: "figures" },
      ...FIGURES.map(({ key }) => {
        const value = h("dd", { id: `figure-${key}` });
        this.values.set(key, value);
        return h(
          "div",
          { class: `figure figure-${key}`, title: word(lang, `figure.${key}.help` as Word) },
          value,
          h("dt", {}, word(lang, `figure.${key}` as Word)),
        );
      }),
    );
    this.root.replaceChildren(
      h(
        "div",
        { class: "brand" },
        h("span", { class: "brand-mark" }, icon(GLYPHS.bird, 26)),
        h(
          "h1",
          {},
          h("span", { lang: "zh" }, "青鸟"),
          h("span", { class: "brand-latin", lang: "zh-Latn" }, "Qingniao"),
        ),
        h("span", { class: "brand-sub" }, word(lang, "app.subtitle")),
      ),
      h(
        "div",
        { class: "city-time", title: word(lang, "city.time") },
        this.clock,
        h("span", { class: "clock-side" }, this.day, this.factor),
      ),
      figures,
      h(
        "div",
        { class: "bar-end" },
        this.link,
        h(
          "button",
          {
            type: "button",
            class: "bar-button",
            id: "language",
            lang: lang === "zh" ? "en" : "zh",
            "aria-label": word(lang, "lang.switch.label"),
            onclick: this.handlers.toggleLanguage,
          },
          word(lang, "lang.switch"),
        ),
        h(
          "button",
          {
            type: "button",
            class: "bar-button bar-icon",
            id: "cameras",
            "aria-label": word(lang, "camera.all"),
            "aria-haspopup": "dialog",
            title: word(lang, "camera.all"),
            onclick: this.handlers.showCameras,
          },
          icon(GLYPHS.camera, 20),
        ),
        h(
          "button",
          {
            type: "button",
            class: "bar-button bar-icon",
            id: "kpis",
            "aria-label": word(lang, "kpi.title"),
            "aria-haspopup": "dialog",
            title: word(lang, "kpi.title"),
            onclick: this.handlers.showKpis,
          },
          icon(GLYPHS.chart, 20),
        ),
        h(
          "button",
          {
            type: "button",
            class: "bar-button bar-icon",
            id: "legend-toggle",
            "aria-label": word(lang, "legend.title"),
            "aria-controls": "legend",
            "aria-expanded": "false",
            title: word(lang, "legend.title"),
            onclick: this.handlers.toggleLegend,
          },
          icon(GLYPHS.layers, 20),
        ),
      ),
    );
    this.update(state);
  }

  update(state: State): void {
    for (const { key, value } of FIGURES) {
      const element = this.values.get(key);
      if (element !== undefined) setText(element, value(state));
    }
    this.link.dataset["state"] = state.connection;
    setText(this.linkText, word(state.lang, `connection.${state.connection}`));
  }

  /** Show city time; called a few times a second. */
  tick(state: State, cityMs: number | null, factor: number): void {
    setText(this.clock, clockTime(cityMs));
    setText(this.day, calendarDay(cityMs, state.lang));
    const rounded = Math.round(factor);
    setText(this.factor, rounded > 1 ? word(state.lang, "city.factor", { n: rounded }) : "");
  }
}
