/** The dialog of the cameras: one picture large, as it is now, and the others to choose from. */

import { age } from "../format.ts";
import type { Lang } from "../format.ts";
import { word, wordOr } from "../i18n.ts";
import { cameraPicture } from "../model.ts";
import type { Camera } from "../model.ts";
import type { State } from "../state.ts";
import { h } from "./dom.ts";
import { GLYPHS, icon } from "./icons.ts";

/** How a camera is, in words: live, late, silent, or sending what is not there. */
export function cameraStateLine(lang: Lang, camera: Camera, nowMs: number | null): HTMLElement {
  const { state, observed_ms, skipped_ratio, frames_per_s } = camera;
  const heard =
    observed_ms === null
      ? word(lang, "thing.never")
      : nowMs === null
        ? ""
        : word(lang, "thing.since", { age: age(observed_ms, nowMs, lang) });
  const skipped = Math.round(skipped_ratio * 100);
  return h(
    "p",
    { class: `thing-state state-${state}` },
    h("i"),
    observed_ms === null ? null : word(lang, state === "lying" ? "camera.lying" : `thing.${state}`),
    h("span", {}, heard),
    frames_per_s > 0 && h("span", {}, word(lang, "camera.fps", { n: frames_per_s.toFixed(1) })),
    skipped > 0 && h("span", { class: "camera-skipped" }, word(lang, "camera.skipped", { n: skipped })),
  );
}

/** What is wrong with a camera's picture, if anything. */
export function qualityLine(lang: Lang, camera: Camera): HTMLElement | null {
  if (["", "good", "live"].includes(camera.quality)) return null;
  const passing = camera.quality === "learning" || camera.quality === "moving";
  return h(
    "p",
    { class: `quality ${passing ? "" : "unregistered"}` },
    wordOr(lang, `quality.${camera.quality}`, camera.quality),
  );
}

function showNext(image: HTMLImageElement): void {
  const { next } = image.dataset;
  if (next !== undefined && next !== image.getAttribute("src")) image.src = next;
}

function imageClass(camera: Camera, style: string): string {
  return camera.state === "live" ? style : `${style} picture-old`;
}

/** A camera's picture, or what stands in its place. */
export function cameraImage(lang: Lang, camera: Camera, style: string): HTMLElement {
  const nothing = h(
    "div",
    { class: `${style} picture-missing` },
    icon(GLYPHS.camera, 26),
    word(lang, "camera.none"),
  );
  const address = cameraPicture(camera);
  if (address === null) return nothing;
  return h("img", {
    class: imageClass(camera, style),
    src: address,
    alt: `${word(lang, "camera.latest")} – ${camera.name || camera.camera_id}`,
    onerror: (event) => (event.target as Element).replaceWith(nothing),
  });
}

export class CameraDialog {
  private dialog: HTMLDialogElement | null = null;
  private shownId = "";
  private key = "";
  private readonly images = new Map<string, HTMLImageElement>();

  /** Show a camera; the dialog follows the state until it is closed. */
  open(state: State, id: string, nowMs: number | null): void {
    this.shownId = id;
    this.key = "";
    if (this.dialog === null) {
      const dialog = h("dialog", { class: "dialog camera-dialog" });
      dialog.addEventListener("close", () => {
        dialog.remove();
        this.dialog = null;
        this.images.clear();
      });
      this.dialog = dialog;
      document.body.append(dialog);
      dialog.showModal();
    }
    this.update(state, nowMs);
  }

  /** Write it anew where something has changed. */
  update(state: State, nowMs: number | null): void {
    const camera = state.cameras.get(this.shownId);
    if (this.dialog === null || camera === undefined) return;
    const { lang } = state;
    const others = [...state.cameras.values()].filter((one) => cameraPicture(one) !== null || one.camera_id === this.shownId);
    const key = JSON.stringify([lang, this.shownId, others]);
    if (key === this.key) return;
    this.key = key;
    const inside = this.dialog.contains(document.activeElement) ? document.activeElement?.getAttribute("data-focus") : null;
    const name = camera.name || camera.camera_id;
    this.dialog.setAttribute("aria-label", name);
    this.dialog.replaceChildren(
      h(
        "div",
        { class: "kpi-head" },
        h("h2", {}, name),
        h(
          "button",
          {
            type: "button",
            class: "bar-button bar-icon",
            "data-focus": "close",
            "aria-label": word(lang, "detail.close"),
            onclick: () => this.dialog?.close(),
          },
          icon(GLYPHS.close, 18),
        ),
      ),
      this.image(lang, camera, "camera-picture"),
      h("div", { class: "camera-facts" }, cameraStateLine(lang, camera, nowMs), qualityLine(lang, camera)),
      h("p", { class: "fine" }, word(lang, "camera.legend")),
      ...(others.length > 1 ? [this.others(state, others, nowMs)] : []),
    );
    if (inside !== null && inside !== undefined) {
      this.dialog.querySelector<HTMLElement>(`[data-focus="${CSS.escape(inside)}"]`)?.focus({ preventScroll: true });
    }
  }

  private others(state: State, cameras: readonly Camera[], nowMs: number | null): HTMLElement {
    return h(
      "div",
      { class: "camera-others" },
      ...cameras.map((one) =>
        h(
          "button",
          {
            type: "button",
            "data-focus": one.camera_id,
            "data-camera": one.camera_id,
            "aria-pressed": String(one.camera_id === this.shownId),
            onclick: () => this.open(state, one.camera_id, nowMs),
          },
          this.image(state.lang, one, "camera-thumb"),
          h("span", { class: `thing-state state-${one.state}` }, h("i"), h("b", {}, one.name || one.camera_id)),
        ),
      ),
    );
  }

  /**
   * An image that keeps its element: the old picture stands until the new one has come, and on a
   * slow line a picture that is on its way is not given up for the next.
   */
  private image(lang: Lang, camera: Camera, style: string): HTMLElement {
    const key = `${style} ${camera.camera_id}`;
    const address = cameraPicture(camera);
    const kept = this.images.get(key);
    if (kept === undefined || address === null) {
      const made = cameraImage(lang, camera, style);
      if (made instanceof HTMLImageElement) {
        this.images.set(key, made);
        made.addEventListener("load", () => showNext(made));
      }
      return made;
    }
    kept.className = imageClass(camera, style);
    kept.dataset["next"] = address;
    if (kept.complete) showNext(kept);
    return kept;
  }
}
