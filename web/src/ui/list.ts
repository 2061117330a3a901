/** The incident list and its filters: a panel beside the map, on a phone a sheet over it. */

import { word, pick, wordOr } from "../i18n.ts";
import { DOMAINS, SEVERITIES } from "../model.ts";
import type { Domain, Incident, Severity } from "../model.ts";
import type { Filters, State, StatusFilter } from "../state.ts";
import { isOpen, openByDomain, visibleIncidents, workers } from "../state.ts";
import { h, setText } from "./dom.ts";
import { DOMAIN_GLYPHS, icon } from "./icons.ts";

export interface ListHandlers {
  readonly filter: (filters: Partial<Filters>) => void;
  readonly select: (id: string) => void;
}

interface Row {
  readonly item: HTMLLIElement;
  readonly card: HTMLButtonElement;
  incident: Incident | null;
}

/** Where an incident is, in one line. */
export function placeLine(state: Pick<State, "lang">, incident: Incident): string {
  const { area_name, road_name } = incident.place;
  const parts = [area_name, road_name ?? ""].filter(Boolean);
  return parts.length > 0 ? parts.join(" · ") : word(state.lang, "card.unplaced");
}

export class IncidentList {
  private readonly rows = new Map<string, Row>();
  private list = h("ul");
  private count = h("span");
  private empty = h("div");
  private chips: ReadonlyArray<readonly [HTMLElement, (state: State) => boolean]> = [];
  private domainCounts = new Map<Domain, HTMLElement>();
  private workerSelect = h("select");

  constructor(
    private readonly root: HTMLElement,
    private readonly handlers: ListHandlers,
  ) {}

  build(state: State): void {
    const { lang } = state;
    this.rows.clear();
    this.list = h("ul", { class: "cards", id: "incidents", "aria-label": word(lang, "list.title") });
    this.list.addEventListener("keydown", (event) => this.moveFocus(event));
    this.count = h("span", { class: "list-count", id: "list-count" });
    this.empty = h("div", { class: "list-empty" });
    this.workerSelect = h("select", {
      id: "filter-worker",
      "aria-label": word(lang, "filter.worker"),
      onchange: () => this.handlers.filter({ worker: this.workerSelect.value || null }),
    });
    this.root.replaceChildren(
      h(
        "div",
        { class: "list-head" },
        h("h2", {}, word(lang, "list.title")),
        this.count,
        this.statusTabs(state),
      ),
      h("div", { class: "filters", role: "group", "aria-label": word(lang, "filter.label") },
        ...this.domainAndSeverityChips(state)),
      h("div", { class: "list-scroll", id: "list-scroll" }, this.list, this.empty),
    );
    this.update(state);
  }

  private statusTabs(state: State): HTMLElement {
    const tabs = (["open", "closed", "all"] as const).map((status: StatusFilter) =>
      h(
        "button",
        {
          type: "button",
          class: "tab",
          "data-status": status,
          onclick: () => this.handlers.filter({ status }),
        },
        word(state.lang, `filter.${status}`),
      ),
    );
    this.chips = tabs.map((tab) => [
      tab,
      (now: State) => now.filters.status === tab.dataset["status"],
    ]);
    return h(
      "div",
      { class: "tabs", role: "group", "aria-label": word(state.lang, "filter.status") },
      ...tabs,
    );
  }

  private domainAndSeverityChips(state: State): HTMLElement[] {
    const { lang } = state;
    let filters = state.filters;
    this.domainCounts = new Map();
    const toggled = <T>(set: ReadonlySet<T>, value: T): Set<T> => {
      const next = new Set(set);
      if (!next.delete(value)) next.add(value);
      return next;
    };
    const domains = DOMAINS.map((domain) => {
      const count = h("b");
      this.domainCounts.set(domain, count);
      const chip = h(
        "button",
        {
          type: "button",
          class: "tile",
          "data-domain": domain,
          onclick: () => this.handlers.filter({ domains: toggled(filters.domains, domain) }),
        },
        h("span", {}, icon(DOMAIN_GLYPHS[domain], 16), count),
        word(lang, `domain.${domain}`),
      );
      return chip;
    });
    const severities = SEVERITIES.map((severity: Severity) =>
      h(
        "button",
        {
          type: "button",
          class: `chip chip-severity sev-${severity}`,
          "data-severity": severity,
          onclick: () => this.handlers.filter({ severities: toggled(filters.severities, severity) }),
        },
        h("i", { class: "dot" }),
        h("span", {}, word(lang, `severity.${severity}`)),
      ),
    );
    this.chips = [
      ...this.chips,
      ...domains.map((chip, index) => [
        chip,
        (now: State) => {
          filters = now.filters;
          const domain = DOMAINS[index];
          return domain !== undefined && now.filters.domains.has(domain);
        },
      ] as const),
      ...severities.map((chip, index) => [
        chip,
        (now: State) => {
          const severity = SEVERITIES[index];
          return severity !== undefined && now.filters.severities.has(severity);
        },
      ] as const),
    ];
    return [
      h("div", { class: "tiles", role: "group", "aria-label": word(lang, "filter.domain") }, ...domains),
      h(
        "div",
        { class: "severities", role: "group", "aria-label": word(lang, "filter.severity") },
        ...severities,
      ),
      this.workerSelect,
    ];
  }

  update(state: State): void {
    const { lang } = state;
    const shown = visibleIncidents(state);
    for (const [chip, pressed] of this.chips) {
      chip.setAttribute("aria-pressed", String(pressed(state)));
    }
    const counts = openByDomain(state);
    for (const [domain, element] of this.domainCounts) {
      setText(element, String(counts.get(domain) ?? 0));
    }
    setText(this.count, String(shown.length));
    this.updateWorkers(state);
    this.updateRows(state, shown);
    this.empty.hidden = shown.length > 0;
    if (shown.length === 0) {
      const key = state.loaded ? "list.empty" : "list.loading";
      this.empty.replaceChildren(
        h("p", {}, word(lang, key)),
        ...(state.loaded ? [h("p", { class: "hint" }, word(lang, "list.empty.hint"))] : []),
      );
    }
  }

  private updateWorkers(state: State): void {
    const known = workers(state);
    const wanted = JSON.stringify([state.lang, known, state.filters.worker]);
    if (this.workerSelect.dataset["options"] === wanted) return;
    this.workerSelect.dataset["options"] = wanted;
    const { worker } = state.filters;
    const listed = worker === null || known.some(([id]) => id === worker);
    this.workerSelect.replaceChildren(
      h("option", { value: "" }, word(state.lang, "filter.everybody")),
      ...(listed ? known : [...known, [worker, worker] as const]).map(([id, name]) =>
        h("option", { value: id }, name),
      ),
    );
    this.workerSelect.value = worker ?? "";
  }

  private updateRows(state: State, shown: readonly Incident[]): void {
    const wanted = new Set(shown.map((one) => one.id));
    for (const [id, row] of this.rows) {
      if (wanted.has(id)) continue;
      row.item.remove();
      this.rows.delete(id);
    }
    let next: Element | null = this.list.firstElementChild;
    for (const incident of shown) {
      const row = this.rows.get(incident.id) ?? this.addRow(incident.id);
      if (row.item === next) next = next.nextElementSibling;
      else this.list.insertBefore(row.item, next);
      if (row.incident !== incident) {
        row.incident = incident;
        this.fill(row.card, state, incident);
      }
      row.card.classList.toggle("fresh", state.fresh.has(incident.id));
      const selected = state.selected === incident.id;
      if (selected) row.card.setAttribute("aria-current", "true");
      else row.card.removeAttribute("aria-current");
    }
  }

  private addRow(id: string): Row {
    const card = h("button", {
      type: "button",
      class: "card",
      "data-id": id,
      onclick: () => this.handlers.select(id),
    });
    const row = { item: h("li", {}, card), card, incident: null };
    this.rows.set(id, row);
    return row;
  }

  private fill(card: HTMLButtonElement, state: State, incident: Incident): void {
    const { lang } = state;
    const open = isOpen(incident);
    card.className = `card sev-${incident.severity} ${open ? "" : "is-closed"}`;
    card.replaceChildren(
      h("span", { class: "card-icon" }, icon(DOMAIN_GLYPHS[incident.domain], 20)),
      h(
        "span",
        { class: "card-main" },
        h(
          "span",
          { class: "card-row" },
          h("span", { class: "card-title" }, pick(lang, incident.scenario_name)),
          h("span", { class: "card-age", "data-since": incident.opened_ms }),
        ),
        h("span", { class: "card-place" }, placeLine(state, incident)),
        h(
          "span",
          { class: "card-row card-meta" },
          h(
            "span",
            { class: `status status-${incident.status}` },
            wordOr(lang, `status.${incident.status}`, incident.status),
          ),
          open && incident.cleared_ms !== null && h("span", { class: "tag" }, word(lang, "card.cleared")),
          incident.rework_count > 0 &&
            h("span", { class: "tag tag-warn" }, word(lang, "card.rework", { n: incident.rework_count })),
          open &&
            incident.deadline_ms !== null &&
            h("span", { class: "card-deadline", "data-overdue-since": incident.deadline_ms }),
          h("span", { class: "card-case" }, incident.case_number),
        ),
        h("span", { class: "sr-only" }, word(lang, `severity.${incident.severity}`)),
      ),
    );
  }

  private moveFocus(event: KeyboardEvent): void {
    const step = event.key === "ArrowDown" ? 1 : event.key === "ArrowUp" ? -1 : 0;
    if (step === 0) return;
    const cards = [...this.list.querySelectorAll<HTMLElement>(".card")];
    const here = cards.indexOf(document.activeElement as HTMLElement);
    const there = cards[here + step];
    if (there === undefined) return;
    event.preventDefault();
    there.focus();
  }

  /** Give the focus back to a card, after its detail was closed. */
  focusCard(id: string): void {
    this.rows.get(id)?.card.focus({ preventScroll: false });
  }

  reveal(id: string): void {
    this.rows.get(id)?.card.scrollIntoView({ block: "nearest" });
  }
}
