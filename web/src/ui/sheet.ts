/** On a phone the list is a sheet over the map that is dragged between three heights. */

import { calm, narrow } from "./dom.ts";

export type Snap = "peek" | "half" | "full";

const ORDER: readonly Snap[] = ["peek", "half", "full"];

/** The snap nearest to a visible height, given where the finger was going. Pure. */
export function nearestSnap(
  heights: Readonly<Record<Snap, number>>,
  visiblePx: number,
  velocityPxPerMs: number,
): Snap {
  // 150 ms of the finger's last speed decide a flick.
  const aim = visiblePx + velocityPxPerMs * 150;
  let best: Snap = "peek";
  for (const snap of ORDER) {
    if (Math.abs(heights[snap] - aim) < Math.abs(heights[best] - aim)) best = snap;
  }
  return best;
}

export class Sheet {
  private snap: Snap = "half";
  /** Whether the last touch was a drag; its click then counts for nothing. */
  private dragged = false;

  constructor(
    private readonly sheet: HTMLElement,
    private readonly handle: HTMLElement,
    private readonly moved: (coveredPx: number) => void,
  ) {
    handle.addEventListener("click", () => {
      if (this.dragged) return;
      const next = ORDER[(ORDER.indexOf(this.snap) + 1) % ORDER.length];
      if (next !== undefined) this.set(next);
    });
    this.listen();
    this.set("half");
    addEventListener("resize", () => this.set(this.snap));
  }

  private heights(): Record<Snap, number> {
    const full = innerHeight - 64;
    return { peek: 76, half: Math.round(innerHeight * 0.46), full };
  }

  /** How much of the sheet covers the map, in pixels. */
  get visiblePx(): number {
    return narrow() ? this.heights()[this.snap] : 0;
  }

  set(snap: Snap): void {
    this.snap = snap;
    this.sheet.dataset["snap"] = snap;
    this.sheet.style.setProperty("--sheet", `${this.heights()[snap]}px`);
    this.handle.setAttribute("aria-expanded", String(snap !== "peek"));
    this.moved(this.visiblePx);
  }

  private listen(): void {
    let startY = 0;
    let startHeight = 0;
    let lastY = 0;
    let lastMs = 0;
    let velocity = 0;
    this.handle.addEventListener("pointerdown", (event) => {
      if (!narrow()) return;
      this.handle.setPointerCapture(event.pointerId);
      startY = lastY = event.clientY;
      lastMs = event.timeStamp;
      startHeight = this.heights()[this.snap];
      velocity = 0;
      this.dragged = false;
    });
    this.handle.addEventListener("pointermove", (event) => {
      if (!this.handle.hasPointerCapture(event.pointerId)) return;
      if (Math.abs(event.clientY - startY) > 4) this.dragged = true;
      if (!this.dragged) return;
      velocity = (lastY - event.clientY) / Math.max(1, event.timeStamp - lastMs);
      lastY = event.clientY;
      lastMs = event.timeStamp;
      this.sheet.classList.add("dragging");
      const height = Math.min(this.heights().full, Math.max(60, startHeight + startY - event.clientY));
      this.sheet.style.setProperty("--sheet", `${height}px`);
    });
    const end = (event: PointerEvent): void => {
      if (!this.handle.hasPointerCapture(event.pointerId)) return;
      this.handle.releasePointerCapture(event.pointerId);
      this.sheet.classList.remove("dragging");
      if (!this.dragged) return;
      const visible = startHeight + startY - event.clientY;
      this.set(nearestSnap(this.heights(), visible, calm() ? 0 : velocity));
    };
    this.handle.addEventListener("pointerup", end);
    this.handle.addEventListener("pointercancel", end);
  }
}
