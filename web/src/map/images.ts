/** The map's pictures, drawn on a canvas from the page's pictograms. */

import type { Map as MapLibre } from "maplibre-gl";
import { DOMAINS, SEVERITIES } from "../model.ts";
import type { Domain } from "../model.ts";
import { DOMAIN_GLYPHS, GLYPHS } from "../ui/icons.ts";
import { COLOURS, SEVERITY_COLOURS, ZONE_COLOURS } from "./layers.ts";

/** Drawn at twice the size, so that they stay sharp on dense screens. */
const SCALE = 2;

function draw(sizePx: number, paint: (pen: CanvasRenderingContext2D) => void): ImageData {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = sizePx * SCALE;
  const pen = canvas.getContext("2d");
  if (pen === null) throw new Error("this browser has no 2D canvas");
  pen.scale(SCALE, SCALE);
  paint(pen);
  return pen.getImageData(0, 0, canvas.width, canvas.height);
}

function stamp(
  pen: CanvasRenderingContext2D,
  { path, rule }: { readonly path: string; readonly rule: "nonzero" | "evenodd" },
  centrePx: number,
  sizePx: number,
  colour: string,
): void {
  pen.save();
  pen.translate(centrePx - sizePx / 2, centrePx - sizePx / 2);
  pen.scale(sizePx / 24, sizePx / 24);
  pen.fillStyle = colour;
  pen.fill(new Path2D(path), rule);
  pen.restore();
}

function disc(colour: string, domain: Domain): ImageData {
  return draw(36, (pen) => {
    pen.beginPath();
    pen.arc(18, 18, 14, 0, 2 * Math.PI);
    pen.shadowColor = "rgba(0,0,0,.55)";
    pen.shadowBlur = 5;
    pen.fillStyle = colour;
    pen.fill();
    pen.shadowBlur = 0;
    pen.lineWidth = 2;
    pen.strokeStyle = COLOURS.halo;
    pen.stroke();
    stamp(pen, DOMAIN_GLYPHS[domain], 18, 16, "#0a121c");
  });
}

function plate(glyph: (typeof GLYPHS)["camera"] | (typeof GLYPHS)["dock"]): ImageData {
  return draw(26, (pen) => {
    pen.beginPath();
    pen.roundRect(2, 2, 22, 22, 7);
    pen.fillStyle = "#12263a";
    pen.fill();
    pen.lineWidth = 1.4;
    pen.strokeStyle = COLOURS.qing;
    pen.stroke();
    stamp(pen, glyph, 13, 14, COLOURS.qing);
  });
}

function arrow(colour: string, ringed: boolean): ImageData {
  return draw(36, (pen) => {
    if (ringed) {
      pen.beginPath();
      pen.arc(18, 18, 15.5, 0, 2 * Math.PI);
      pen.fillStyle = "rgba(255,111,177,.16)";
      pen.fill();
      pen.lineWidth = 1.6;
      pen.strokeStyle = colour;
      pen.stroke();
    }
    pen.beginPath();
    pen.moveTo(18, 5.5);
    pen.lineTo(26, 27);
    pen.lineTo(18, 22.5);
    pen.lineTo(10, 27);
    pen.closePath();
    pen.lineJoin = "round";
    pen.lineWidth = 3;
    pen.strokeStyle = COLOURS.halo;
    pen.stroke();
    pen.fillStyle = colour;
    pen.fill();
  });
}

function hatch(colour: string): ImageData {
  const size = 8;
  return draw(size, (pen) => {
    pen.strokeStyle = colour;
    pen.lineWidth = 1.2;
    pen.beginPath();
    for (const shift of [-size, 0, size]) {
      pen.moveTo(shift - 1, size + 1);
      pen.lineTo(shift + size + 1, -1);
    }
    pen.stroke();
  });
}

export function addImages(map: MapLibre): void {
  const add = (name: string, image: ImageData): void => {
    if (!map.hasImage(name)) map.addImage(name, image, { pixelRatio: SCALE });
  };
  for (const severity of SEVERITIES) {
    for (const domain of [...DOMAINS, "other"] as const) {
      add(`incident-${severity}-${domain}`, disc(SEVERITY_COLOURS[severity], domain));
    }
  }
  add("camera", plate(GLYPHS.camera));
  add("dock", plate(GLYPHS.dock));
  add("aircraft", arrow(COLOURS.qing, false));
  add("aircraft-stranger", arrow(COLOURS.stranger, true));
  add("aircraft-stale", arrow(COLOURS.lost, false));
  for (const [kind, colour] of Object.entries(ZONE_COLOURS)) add(`hatch-${kind}`, hatch(colour));
}
