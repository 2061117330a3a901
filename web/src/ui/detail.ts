/** One incident in full: a drawer beside the map, on a phone a screen of its own. */

import { ApiError, VERDICTS, act, judge, newKey, secondsUntilThere } from "../api.ts";
import type { Step } from "../api.ts";
import { calendarDay, clockTime, coordinates, quantity } from "../format.ts";
import { factRows, kindName, pick, word, wordOr } from "../i18n.ts";
import { STEPS, snapshotUrl } from "../model.ts";
import type { Detail, Evidence, HistoryEntry, Incident, Place, Transition } from "../model.ts";
import { isOpen } from "../state.ts";
import type { State } from "../state.ts";
import { h, setText } from "./dom.ts";
import { DOMAIN_GLYPHS, GLYPHS, icon } from "./icons.ts";
import { placeLine } from "./list.ts";
import { askToken, forgetToken } from "./token.ts";

export interface DetailHandlers {
  readonly close: () => void;
  readonly show: (incident: Incident) => void;
  /** Open another incident in place of this one. */
  readonly open: (id: string) => void;
  /** Read the incident anew. */
  readonly reload: (id: string) => void;
  readonly announce: (text: string) => void;
  /** The name of an area or zone by its code or id, from the layers; null where none has it. */
  readonly nameOf: (code: string) => string | null;
}

/** Lines of evidence shown at first; the rest on demand. */
const FIRST_EVIDENCE = 8;

/** Actions that a case never takes without a word of why. */
const REASON_ALWAYS: ReadonlySet<string> = new Set([
  "cancel",
  "return",
  "reopen",
  "extend",
  "refuse",
  "suspend",
  "supervise",
]);

/** Whether a worker may take a step themselves; the others are the desk's. Pure. */
export function isFieldStep(incident: Pick<Incident, "status">, action: string): boolean {
  if (action === "return") return incident.status === "dispatched" || incident.status === "handling";
  return action === "accept" || action === "handle" || action === "feedback" || action === "extend";
}

/** Pictures of an incident, the newest evidence first, each once. Pure. */
export function pictures(detail: Pick<Detail, "incident" | "evidence" | "history">): string[] {
  const newest = [...detail.evidence].sort((a, b) => (b.at_ms ?? 0) - (a.at_ms ?? 0));
  // People's own pictures, the latest first, say more of how it is now than any camera's.
  const own = detail.history.flatMap((one) => one.photos).reverse();
  const paths = [...own, ...newest.flatMap((one) => one.snapshots)];
  return [...new Set([...(detail.incident.snapshot ? [detail.incident.snapshot] : []), ...paths])];
}

/** A line such as "Why you: …" as its label and the rest; a line without one has none. Pure. */
export function splitLabel(line: string): readonly [label: string | null, rest: string] {
  const found = /^([^：:]{1,18})(?:：|:\s)\s*(\S.*)$/.exec(line.trim());
  return found?.[1] === undefined || found[2] === undefined ? [null, line] : [found[1], found[2]];
}

/** The parent of a case among these, and its parts, the first opened first. Pure. */
export function familyOf(
  incidents: Iterable<Incident>,
  one: Pick<Incident, "id" | "parent_id">,
): { readonly parent: Incident | null; readonly parts: readonly Incident[] } {
  const all = [...incidents];
  return {
    parent: all.find((other) => other.id === one.parent_id) ?? null,
    parts: all.filter((other) => other.parent_id === one.id).sort((a, b) => a.opened_ms - b.opened_ms),
  };
}

/** Times that a picture which is being made is asked for again; the platform waits a little as well. */
const PICTURE_TRIES = 5;

/** Ask for a picture that did not come until it is there; false where there is none. */
async function comes(image: HTMLImageElement): Promise<boolean> {
  for (let tries = 0; tries < PICTURE_TRIES && image.isConnected; tries += 1) {
    const wait = await secondsUntilThere(image.src);
    if (wait === 0) return true;
    if (wait === null) return false;
    await new Promise((resolve) => setTimeout(resolve, wait * 1000));
  }
  return false;
}

export class DetailView {
  private readonly header = h("header", { class: "detail-head" });
  private readonly body = h("div", { class: "detail-body", tabindex: "-1" });
  private readonly footer = h("footer", { class: "detail-actions" });
  private shownId: string | null = null;
  private picture: string | null = null;
  private video: HTMLVideoElement | null = null;
  private evidenceShown = FIRST_EVIDENCE;
  /** The action whose reason is being written; it survives new evidence. */
  private asking: Transition | null = null;
  private reason = "";
  private message = "";
  private busy = false;
  private footerKey = "";
  private state: State | null = null;

  constructor(
    private readonly root: HTMLElement,
    private readonly handlers: DetailHandlers,
  ) {
    root.append(this.header, this.body, this.footer);
  }

  update(state: State): void {
    this.state = state;
    const { selected } = state;
    this.root.hidden = selected === null;
    document.documentElement.classList.toggle("has-detail", selected !== null);
    if (selected === null) {
      this.shownId = null;
      return;
    }
    const opening = this.shownId !== selected;
    if (opening) {
      this.shownId = selected;
      this.picture = null;
      this.evidenceShown = FIRST_EVIDENCE;
      this.asking = null;
      this.reason = "";
      this.message = "";
      this.body.scrollTop = 0;
    }
    this.root.setAttribute("aria-label", word(state.lang, "detail.label"));
    this.render(state);
    if (opening) this.header.querySelector<HTMLElement>(".detail-close")?.focus({ preventScroll: true });
  }

  private render(state: State): void {
    const { lang } = state;
    const incident = this.incident(state);
    const detail = state.detail?.incident.id === state.selected ? state.detail : null;
    const focused = document.activeElement;
    const hadFocus = focused instanceof HTMLElement && this.header.contains(focused);
    this.header.replaceChildren(
      h(
        "button",
        {
          type: "button",
          class: "round detail-close",
          "aria-label": word(lang, "detail.close"),
          onclick: this.handlers.close,
        },
        icon(GLYPHS.close, 20),
      ),
      ...(incident === null ? [] : this.title(state, incident)),
    );
    if (hadFocus) this.header.querySelector<HTMLElement>(".detail-close")?.focus({ preventScroll: true });
    const scroll = this.body.scrollTop;
    this.body.replaceChildren(
      ...(incident === null ? [] : this.summary(state, incident, detail)),
      ...this.rest(state, detail),
    );
    this.body.scrollTop = scroll;
    this.renderActions(state, incident, detail);
  }

  private incident(state: State): Incident | null {
    if (state.selected === null) return null;
    const listed = state.incidents.get(state.selected) ?? null;
    const read = state.detail?.incident ?? null;
    if (read === null || read.id !== state.selected) return listed;
    return listed !== null && listed.version > read.version ? listed : read;
  }

  private title(state: State, incident: Incident): HTMLElement[] {
    const { lang } = state;
    return [
      h(
        "div",
        { class: `detail-title sev-${incident.severity}` },
        h("span", { class: "card-icon" }, icon(DOMAIN_GLYPHS[incident.domain], 24)),
        h(
          "div",
          {},
          h("h2", {}, pick(lang, incident.scenario_name)),
          h(
            "p",
            {},
            h("span", { class: "severity" }, word(lang, `severity.${incident.severity}`)),
            h(
              "span",
              {},
              incident.domain === "other"
                ? incident.domain_text
                : word(lang, `domain.${incident.domain}`),
            ),
            h("span", { class: "mono" }, incident.case_number),
          ),
        ),
      ),
    ];
  }

  private summary(state: State, incident: Incident, detail: Detail | null): HTMLElement[] {
    return [
      this.stepper(state, incident),
      this.deadline(state, incident),
      this.gallery(state, detail ?? { incident, evidence: [], clips: [], history: [], transitions: [] }),
      this.clip(state, detail),
      this.explanation(state, incident),
      ...this.family(state, incident),
      this.place(state, incident),
      this.facts(state, incident),
    ].filter((one) => one !== null);
  }

  private stepper(state: State, incident: Incident): HTMLElement {
    const { lang } = state;
    const status = incident.status === "suspended" ? "handling" : incident.status;
    const at = STEPS.findIndex((step) => step === status);
    return h(
      "ol",
      { class: `steps ${at < 0 ? "is-cancelled" : ""}`, "aria-label": word(lang, "steps.label") },
      ...STEPS.map((step, index) =>
        h(
          "li",
          {
            class: index < at ? "done" : index === at ? "now" : "",
            "aria-current": index === at ? "step" : null,
          },
          h("i"),
          h("span", {}, word(lang, `step.${step}`)),
        ),
      ),
      at < 0 && h("li", { class: "now cancelled" }, h("i"), h("span", {}, word(lang, "status.cancelled"))),
    );
  }

  private deadline(state: State, incident: Incident): HTMLElement | null {
    const { lang } = state;
    if (!isOpen(incident)) {
      if (incident.closed_ms === null) return null;
      return h(
        "p",
        { class: "done-line" },
        word(lang, "detail.done", {
          day: calendarDay(incident.closed_ms, lang),
          time: clockTime(incident.closed_ms),
        }),
      );
    }
    const { deadline_ms, opened_ms } = incident;
    if (deadline_ms === null) return null;
    return h(
      "div",
      { class: "deadline", "data-deadline-box": deadline_ms },
      icon(GLYPHS.clock, 18),
      h(
        "div",
        { class: "deadline-text" },
        h("strong", { "data-deadline": deadline_ms }),
        h(
          "span",
          {},
          `${word(lang, "detail.deadline")} `,
          word(lang, "detail.deadline.at", {
            day: calendarDay(deadline_ms, lang),
            time: clockTime(deadline_ms).slice(0, 5),
          }),
        ),
        incident.supervised && h("span", { class: "tag tag-warn" }, word(lang, "detail.supervised")),
        incident.escalation_level >= 2 && h("span", { class: "tag tag-warn" }, word(lang, "detail.escalated")),
      ),
      h(
        "div",
        { class: "deadline-bar" },
        h("i", { "data-progress-from": opened_ms, "data-progress-to": deadline_ms }),
      ),
    );
  }

  private gallery(state: State, detail: Detail): HTMLElement | null {
    const { lang } = state;
    const paths = pictures(detail);
    const first = paths[0];
    if (first === undefined) return null;
    const current = this.picture !== null && paths.includes(this.picture) ? this.picture : first;
    const image = (path: string, name: string, lazy: boolean): HTMLElement => {
      const missing = h("span", { class: "picture-missing" }, icon(GLYPHS.picture, 22), word(lang, "detail.picture.missing"));
      let asked = false;
      const element = h("img", {
        src: snapshotUrl(path),
        alt: name,
        loading: lazy ? "lazy" : "eager",
        decoding: "async",
        onerror: async () => {
          const first = !asked;
          asked = true;
          if (first && (await comes(element))) element.src = snapshotUrl(path);
          else element.replaceWith(missing);
        },
      });
      return element;
    };
    const label = (path: string): string =>
      word(lang, "detail.picture", { n: paths.indexOf(path) + 1, all: paths.length });
    return h(
      "section",
      { class: "gallery", "aria-label": word(lang, "detail.pictures") },
      h(
        "a",
        { class: "picture", href: snapshotUrl(current), target: "_blank", rel: "noopener" },
        image(current, label(current), false),
      ),
      paths.length > 1 &&
        h(
          "div",
          { class: "thumbs" },
          ...paths.slice(0, 12).map((path) =>
            h(
              "button",
              {
                type: "button",
                "aria-label": label(path),
                "aria-pressed": String(path === current),
                onclick: () => {
                  this.picture = path;
                  if (this.state !== null) this.render(this.state);
                },
              },
              image(path, "", true),
            ),
          ),
        ),
    );
  }

  /** How it came about, as a clip; the element outlives new evidence, so that it plays on. */
  private clip(state: State, detail: Detail | null): HTMLElement | null {
    const path = detail?.clips[0];
    if (path === undefined) return null;
    const { lang } = state;
    if (this.video?.dataset["path"] !== path) {
      this.video = h("video", {
        class: "clip",
        src: snapshotUrl(path),
        "data-path": path,
        controls: true,
        loop: true,
        muted: true,
        playsinline: true,
        preload: "metadata",
      });
    }
    const { video } = this;
    video.setAttribute("aria-label", word(lang, "detail.clip"));
    return h("section", { class: "clip-box" }, video, h("p", { class: "fine" }, word(lang, "detail.clip.about")));
  }

  private explanation(state: State, incident: Incident): HTMLElement | null {
    const text = pick(state.lang, incident.explanation).trim();
    if (!text) return null;
    return h(
      "section",
      { class: "why" },
      h("h3", {}, word(state.lang, "detail.why")),
      ...text
        .split(/\n+/)
        .filter((line) => line.trim() !== "")
        .map((line) => {
          const [label, rest] = splitLabel(line);
          return label === null ? h("p", {}, rest) : h("p", {}, h("b", {}, label), rest);
        }),
    );
  }

  /** The case that this one is part of, and those that are part of it, as far as the page has them. */
  private family(state: State, incident: Incident): HTMLElement[] {
    const { parent, parts } = familyOf(state.incidents.values(), incident);
    const row = (one: Incident): HTMLElement =>
      h(
        "button",
        { type: "button", class: "family-case", onclick: () => this.handlers.open(one.id) },
        h("span", {}, pick(state.lang, one.scenario_name)),
        h("span", { class: "mono" }, one.case_number),
        h("span", {}, word(state.lang, `status.${one.status}`)),
      );
    const rows = (title: "detail.parent" | "detail.parts", cases: readonly Incident[]): HTMLElement[] =>
      cases.length === 0
        ? []
        : [h("section", { class: "family" }, h("h3", {}, word(state.lang, title)), ...cases.map(row))];
    return [...rows("detail.parent", parent === null ? [] : [parent]), ...rows("detail.parts", parts)];
  }

  private place(state: State, incident: Incident): HTMLElement {
    const { lang } = state;
    const { place } = incident;
    const road =
      place.road_name === null
        ? null
        : place.road_distance_m === null
          ? word(lang, "detail.road.only", { name: place.road_name })
          : word(lang, "detail.road", {
              name: place.road_name,
              distance: Math.round(place.road_distance_m),
            });
    return h(
      "section",
      { class: "place" },
      h("h3", {}, word(lang, "detail.place")),
      h(
        "div",
        { class: "place-line" },
        h(
          "div",
          {},
          h("p", { class: "place-area" }, this.areas(place) || placeLine(state, incident)),
          road !== null && h("p", {}, road),
          ...this.zones(place),
          h(
            "p",
            { class: "fine" },
            [
              place.grid_code,
              place.lon_deg !== null && place.lat_deg !== null
                ? `WGS 84 ${coordinates(place.lon_deg, place.lat_deg)}`
                : null,
              place.error_major_m !== null
                ? word(lang, "detail.error", { n: quantity(place.error_major_m) })
                : null,
            ]
              .filter(Boolean)
              .join(" · "),
          ),
          place.generated && h("p", { class: "fine" }, word(lang, "detail.generated")),
          place.unplaced !== null &&
            h("p", { class: "fine" }, word(lang, "detail.unplaced", { reason: place.unplaced })),
        ),
        place.lon_deg !== null &&
          h(
            "button",
            { type: "button", class: "button show-on-map", onclick: () => this.handlers.show(incident) },
            icon(GLYPHS.pin, 16),
            word(lang, "detail.show"),
          ),
      ),
    );
  }

  /** District, street and community by name, as far as the layers know them. */
  private areas(place: Place): string {
    const names = [place.district_code, place.street_code, place.community_code]
      .map((code) => (code === null ? null : this.handlers.nameOf(code)))
      .filter((name) => name !== null);
    return names.length >= 2 ? names.join(" · ") : place.area_name;
  }

  private zones(place: Place): HTMLElement[] {
    const names = [...place.zones, ...place.airspaces]
      .map((id) => this.handlers.nameOf(id))
      .filter((name) => name !== null);
    return names.length === 0 ? [] : [h("p", {}, [...new Set(names)].join(" · "))];
  }

  private facts(state: State, incident: Incident): HTMLElement {
    const { lang } = state;
    const when = (ms: number | null): string | null =>
      ms === null ? null : `${calendarDay(ms, lang)} ${clockTime(ms)}`;
    const rows: ReadonlyArray<readonly [string, string | null]> = [
      [word(lang, "detail.worker"), incident.worker_name],
      [word(lang, "detail.unit"), incident.unit_name],
      [word(lang, "detail.department"), pick(lang, incident.department)],
      [
        word(lang, "detail.category"),
        [incident.category_system, incident.category_code].filter(Boolean).join(" · "),
      ],
      [word(lang, "detail.began"), when(incident.began_ms)],
      [word(lang, "detail.opened"), when(incident.opened_ms)],
      [word(lang, "detail.cleared"), when(incident.cleared_ms)],
      [word(lang, "detail.confidence"), `${Math.round(incident.confidence_ratio * 100)}%`],
      [word(lang, "detail.evidence.count"), `${incident.source_count} / ${incident.event_count}`],
    ];
    return h(
      "dl",
      { class: "facts" },
      ...rows
        .filter((row): row is readonly [string, string] => Boolean(row[1]))
        .map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))),
    );
  }

  private rest(state: State, detail: Detail | null): HTMLElement[] {
    const { lang } = state;
    if (detail === null) {
      const text =
        state.detailError === null
          ? word(lang, "detail.loading")
          : word(lang, "detail.failed", { message: state.detailError });
      return [h("p", { class: "fine detail-wait", role: "status" }, text)];
    }
    return [this.evidence(state, detail.evidence), this.history(state, detail.history)];
  }

  private evidence(state: State, evidence: readonly Evidence[]): HTMLElement {
    const { lang } = state;
    const newest = [...evidence].sort((a, b) => (b.at_ms ?? 0) - (a.at_ms ?? 0));
    const hidden = newest.length - this.evidenceShown;
    return h(
      "section",
      { class: "evidence" },
      h("h3", {}, word(lang, "detail.evidence"), h("b", {}, String(newest.length))),
      h(
        "ul",
        {},
        ...newest.slice(0, this.evidenceShown).map((one) =>
          h(
            "li",
            {},
            h(
              "div",
              { class: "evidence-head" },
              h("span", { class: `edge edge-${one.edge}` }, wordOr(lang, `edge.${one.edge}`, one.edge)),
              h("span", { class: "evidence-kind" }, kindName(lang, one.kind)),
              h("time", {}, clockTime(one.at_ms)),
            ),
            h("p", { class: "fine mono" }, one.thing_id),
            one.because.length > 0 && this.because(state, one),
          ),
        ),
      ),
      hidden > 0 &&
        h(
          "button",
          {
            type: "button",
            class: "button button-quiet",
            onclick: () => {
              this.evidenceShown += 50;
              if (this.state !== null) this.render(this.state);
            },
          },
          word(lang, "detail.evidence.more", { n: Math.min(50, hidden) }),
        ),
    );
  }

  private because(state: State, evidence: Evidence): HTMLElement {
    return h(
      "dl",
      { class: "because" },
      ...factRows(state.lang, evidence.because).map(([name, value]) =>
        h("div", {}, h("dt", {}, name), h("dd", {}, value)),
      ),
    );
  }

  private history(state: State, history: readonly HistoryEntry[]): HTMLElement {
    const { lang } = state;
    return h(
      "section",
      { class: "history" },
      h("h3", {}, word(lang, "detail.history")),
      h(
        "ol",
        {},
        ...history.map((entry) =>
          h(
            "li",
            { class: entry.to_status === null ? "" : `to-${entry.to_status}` },
            h("i"),
            h(
              "div",
              {},
              h(
                "p",
                {},
                h(
                  "strong",
                  {},
                  entry.to_status === null
                    ? wordOr(lang, `action.${entry.action}`, entry.action)
                    : wordOr(lang, `step.${entry.to_status}`, word(lang, "status.cancelled")),
                ),
                h("time", {}, clockTime(entry.at_ms)),
              ),
              h(
                "p",
                { class: "fine" },
                [
                  wordOr(lang, `actor.${entry.actor}`, entry.actor),
                  // The step says what was done, save where the case went another way.
                  entry.to_status !== null && REASON_ALWAYS.has(entry.action)
                    ? wordOr(lang, `action.${entry.action}`, entry.action)
                    : "",
                  entry.reason,
                ]
                  .filter(Boolean)
                  .join(" · "),
              ),
            ),
          ),
        ),
      ),
    );
  }

  private renderActions(state: State, incident: Incident | null, detail: Detail | null): void {
    const { lang } = state;
    // Who looks at one worker's tasks works as that worker.
    const worker = state.filters.worker;
    const transitions = (detail?.transitions ?? []).filter(
      (one) => worker === null || (incident !== null && isFieldStep(incident, one.action)),
    );
    const key = JSON.stringify([
      lang,
      state.selected,
      incident?.version,
      transitions,
      worker,
      this.asking?.action,
      this.busy,
      this.message,
    ]);
    // Written anew only where something differs, so that a reason half written stays.
    if (key === this.footerKey) return;
    this.footerKey = key;
    this.footer.hidden = transitions.length === 0 && this.message === "";
    const message = h("p", { class: "action-message", role: "status" }, this.message);
    if (this.asking !== null && incident !== null) {
      this.footer.replaceChildren(message, this.reasonForm(state, incident, this.asking));
      this.footer.querySelector("textarea")?.focus();
      return;
    }
    this.footer.replaceChildren(
      message,
      h(
        "div",
        { class: "action-buttons", role: "group", "aria-label": word(lang, "detail.actions") },
        ...transitions.map((transition, index) =>
          h(
            "button",
            {
              type: "button",
              class: `button ${index === 0 ? "button-main" : ""}`,
              "data-action": transition.action,
              disabled: this.busy,
              onclick: () => {
                if (incident === null) return;
                if (this.needsReason(transition) || transition.action === "feedback") {
                  this.asking = transition;
                  this.render(state);
                } else void this.run(incident, transition, { reason: "", extension_s: null, photo: null });
              },
            },
            this.actionName(state, transition),
          ),
        ),
      ),
      ...(incident === null ? [] : [this.verdicts(state, incident)]),
    );
  }

  /** One tap says what a case really is; folded away, for most are what they seem. */
  private verdicts(state: State, incident: Incident): HTMLElement {
    const { lang } = state;
    return h(
      "details",
      { class: "verdicts" },
      h("summary", {}, word(lang, "verdict.title")),
      h(
        "div",
        { class: "action-buttons", role: "group", "aria-label": word(lang, "verdict.title") },
        ...VERDICTS.map((verdict) =>
          h(
            "button",
            {
              type: "button",
              class: "button button-quiet",
              "data-verdict": verdict,
              disabled: this.busy,
              onclick: () =>
                void this.perform(
                  incident,
                  (now) => word(now.lang, `verdict.${verdict}`),
                  (token) => judge(incident, verdict, state.filters.worker, token),
                ),
            },
            word(lang, `verdict.${verdict}`),
          ),
        ),
      ),
    );
  }

  private needsReason(transition: Transition): boolean {
    return transition.reason_required || REASON_ALWAYS.has(transition.action);
  }

  private actionName(state: State, transition: Transition): string {
    if (transition.label !== null) return pick(state.lang, transition.label);
    return wordOr(state.lang, `action.${transition.action}`, transition.action);
  }

  private reasonForm(state: State, incident: Incident, transition: Transition): HTMLElement {
    const { lang } = state;
    const required = this.needsReason(transition);
    const field = h("textarea", { id: "reason", rows: 2, required, maxlength: 500 });
    field.value = this.reason;
    const hours =
      transition.action === "extend"
        ? h("input", { id: "extension", type: "number", min: 0.5, max: 720, step: 0.5, value: "2", required: true })
        : null;
    const photo =
      transition.action === "feedback"
        ? h("input", { id: "photo", type: "file", accept: "image/*", capture: "environment" })
        : null;
    field.addEventListener("input", () => (this.reason = field.value));
    const form = h(
      "form",
      { class: "reason" },
      h(
        "label",
        { for: "reason" },
        `${this.actionName(state, transition)} · ${word(lang, required ? "detail.reason" : "detail.reason.optional")}`,
      ),
      field,
      hours !== null && h("label", { for: "extension" }, word(lang, "detail.extension")),
      hours,
      photo !== null && h("label", { for: "photo" }, word(lang, "detail.photo")),
      photo,
      h(
        "div",
        { class: "form-buttons" },
        h(
          "button",
          {
            type: "button",
            class: "button",
            onclick: () => {
              this.asking = null;
              this.render(this.state ?? state);
            },
          },
          word(lang, "detail.cancel"),
        ),
        h("button", { type: "submit", class: "button button-main", disabled: this.busy }, word(lang, "detail.confirm")),
      ),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const reason = field.value.trim();
      if (required && !reason) {
        field.setCustomValidity(word(lang, "detail.reason.wanted"));
        field.reportValidity();
        field.setCustomValidity("");
        return;
      }
      void this.run(incident, transition, {
        reason,
        extension_s: hours === null ? null : Math.round(Number(hours.value) * 3600),
        photo: photo?.files?.[0] ?? null,
      });
    });
    return form;
  }

  private async run(
    incident: Incident,
    transition: Transition,
    said: Pick<Step, "reason" | "extension_s" | "photo">,
  ): Promise<void> {
    const worker = this.state?.filters.worker ?? null;
    const step = { action: transition.action, ...said, worker, key: newKey() };
    await this.perform(incident, (state) => this.actionName(state, transition), (token) => act(incident, step, token));
  }

  /** Do something that needs the token, and say how it went. */
  private async perform(
    incident: Incident,
    nameIn: (state: State) => string,
    send: (token: string) => Promise<void>,
  ): Promise<void> {
    const state = this.state;
    if (state === null || this.busy) return;
    const { lang } = state;
    const say = (message: string): void => {
      this.message = message;
      if (message) this.handlers.announce(message);
    };
    this.busy = true;
    say("");
    this.render(state);
    let refused = false;
    try {
      for (;;) {
        const token = await askToken(lang, refused);
        if (token === null) break;
        try {
          await send(token);
          this.asking = null;
          this.reason = "";
          say(word(lang, "detail.acted", { action: nameIn(state) }));
          break;
        } catch (error) {
          if (!(error instanceof ApiError)) throw error;
          if (error.status === 401 || error.status === 403) {
            forgetToken();
            refused = true;
            continue;
          }
          say(
            error.status === 409
              ? word(lang, "detail.conflict")
              : word(lang, "detail.refused", { message: pick(lang, error.said) }),
          );
          break;
        }
      }
    } finally {
      this.busy = false;
      this.handlers.reload(incident.id);
      if (this.state !== null && this.state.selected === incident.id) this.render(this.state);
    }
  }
}

/** Bring every running age, countdown and bar below an element up to date. */
export function tickTimes(
  root: ParentNode,
  nowMs: number,
  words: {
    readonly age: (sinceMs: number) => string;
    readonly countdown: (deadlineMs: number) => { readonly text: string; readonly overdue: boolean };
  },
): void {
  for (const element of root.querySelectorAll<HTMLElement>("[data-since]")) {
    setText(element, words.age(Number(element.dataset["since"])));
  }
  for (const element of root.querySelectorAll<HTMLElement>("[data-deadline]")) {
    const { text, overdue } = words.countdown(Number(element.dataset["deadline"]));
    setText(element, text);
    element.closest("[data-deadline-box]")?.classList.toggle("overdue", overdue);
  }
  for (const element of root.querySelectorAll<HTMLElement>("[data-overdue-since]")) {
    const { text, overdue } = words.countdown(Number(element.dataset["overdueSince"]));
    setText(element, overdue ? text : "");
  }
  for (const element of root.querySelectorAll<HTMLElement>("[data-progress-from]")) {
    const from = Number(element.dataset["progressFrom"]);
    const to = Number(element.dataset["progressTo"]);
    const ratio = to > from ? Math.min(1, Math.max(0, (nowMs - from) / (to - from))) : 1;
    element.style.setProperty("--ratio", ratio.toFixed(3));
  }
}
