/** The page's pictograms: one path each on a 24 × 24 field, for SVG and canvas alike. */

import type { Domain } from "../model.ts";

interface Glyph {
  readonly path: string;
  readonly rule: "nonzero" | "evenodd";
}

const glyph = (path: string, rule: Glyph["rule"] = "evenodd"): Glyph => ({ path, rule });

export const DOMAIN_GLYPHS: Readonly<Record<Domain, Glyph>> = {
  urban: glyph(
    "M12 2l8 3v6.2c0 4.9-3.3 9.2-8 10.8-4.7-1.6-8-5.9-8-10.8V5zm-1.2 13.4l6-6-1.5-1.5-4.5 4.5-2-2-1.5 1.5z",
  ),
  traffic: glyph(
    "M5 11l1.6-4.6A2 2 0 0 1 8.5 5h7a2 2 0 0 1 1.9 1.4L19 11a2 2 0 0 1 1 1.7V18.5a1 1 0 0 1-1 1h-1a1 1 0 0 1-1-1V17H7v1.5a1 1 0 0 1-1 1H5a1 1 0 0 1-1-1v-5.8A2 2 0 0 1 5 11zm2.2-.2h9.6l-1.2-3.4H8.4zM7.4 15.2a1.3 1.3 0 1 0 0-2.6 1.3 1.3 0 0 0 0 2.6zm9.2 0a1.3 1.3 0 1 0 0-2.6 1.3 1.3 0 0 0 0 2.6z",
  ),
  construction: glyph("M5 21V8.4H2.5v-2H5V3h2v3.4h14.5v2H18V12h-2V8.4H7V21zm7-6.5h9V21h-9z", "nonzero"),
  community: glyph("M12 3l9.2 8H18.5v9H14v-6h-4v6H5.5v-9H2.8z", "nonzero"),
  airspace: glyph(
    "M5.5 2.5a3 3 0 1 0 0 6 3 3 0 0 0 0-6zm13 0a3 3 0 1 0 0 6 3 3 0 0 0 0-6zm-13 13a3 3 0 1 0 0 6 3 3 0 0 0 0-6zm13 0a3 3 0 1 0 0 6 3 3 0 0 0 0-6zM6.8 5.4l-1.4 1.4 5.2 5.2-5.2 5.2 1.4 1.4 5.2-5.2 5.2 5.2 1.4-1.4-5.2-5.2 5.2-5.2-1.4-1.4-5.2 5.2z",
    "nonzero",
  ),
  other: glyph("M12 2.5a9.5 9.5 0 1 0 0 19 9.5 9.5 0 0 0 0-19zM10.8 7h2.4v7h-2.4zm0 8.6h2.4V18h-2.4z"),
};

export const GLYPHS = {
  bird: glyph(
    "M1.5 6.2c4.6-.2 7.9 1.5 10.3 4.6C13.4 6.6 16.7 3.5 22 2.4c-1 2-1.3 3.7-1.4 5.9-.2 6.2-4.4 11-10.8 11.1-2.3.1-4.4-.4-6.2-1.5 2.4-.1 4.2-.8 5.6-2C5.1 14.9 2.4 11.5 1.5 6.200z",
  ),
  close: glyph("M6.4 5L12 10.6 17.6 5 19 6.4 13.4 12 19 17.6 17.6 19 12 13.4 6.4 19 5 17.6 10.6 12 5 6.400z"),
  back: glyph("M15.4 4.600L8 12l7.4 7.400L14 20.8 5.2 12 14 3.200z"),
  pin: glyph(
    "M12 2a7 7 0 0 0-7 7c0 5 7 13 7 13s7-8 7-13a7 7 0 0 0-7-7zm0 9.600a2.6 2.6 0 1 1 0-5.2 2.6 2.6 0 0 1 0 5.200z",
  ),
  layers: glyph("M12 3l10 5.5-10 5.500L2 8.500zM4.2 12.300L12 16.600l7.8-4.300L22 13.5 12 19 2 13.500z"),
  camera: glyph("M3 7h11a1.5 1.5 0 0 1 1.5 1.500v1.800L21 7v10l-5.5-3.300v1.800A1.5 1.5 0 0 1 14 17H3a1 1 0 0 1-1-1V8a1 1 0 0 1 1-1z"),
  dock: glyph("M4 4h16v16H4zm2.2 2.200v11.600h11.600V6.200zM8.5 8.500h2v2.500h3V8.500h2v7h-2V13h-3v2.500h-2z"),
  chart: glyph("M4 4h2v14h14v2H4zm4 7h3v6H8zm4.500-5h3v11h-3zM17 9h3v8h-3z", "nonzero"),
  clock: glyph("M12 2.500a9.5 9.5 0 1 0 0 19 9.5 9.5 0 0 0 0-19zm0 2a7.5 7.5 0 1 1 0 15 7.5 7.5 0 0 1 0-15zM11 7h2v4.600l3.2 2-1 1.700L11 12.700z"),
  plus: glyph("M11 5h2v6h6v2h-6v6h-2v-6H5v-2h6z"),
  minus: glyph("M5 11h14v2H5z"),
  home: glyph("M4 4h6v2H6v4H4zm10 0h6v6h-2V6h-4zM4 14h2v4h4v2H4zm14 0h2v6h-6v-2h4z"),
  picture: glyph("M3 5h18v14H3zm2 2v8.500l4-4 3.5 3.5 2.5-2.5 4 4V7zm10.5 1.500a1.5 1.5 0 1 1 0 3 1.5 1.5 0 0 1 0-3z"),
} as const satisfies Readonly<Record<string, Glyph>>;

const SVG = "http://www.w3.org/2000/svg";

/** A pictogram in the colour of the text around it; it says nothing to a screen reader. */
export function icon({ path, rule }: Glyph, size = 18): SVGSVGElement {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("width", String(size));
  svg.setAttribute("height", String(size));
  svg.setAttribute("aria-hidden", "true");
  const shape = document.createElementNS(SVG, "path");
  shape.setAttribute("d", path);
  shape.setAttribute("fill", "currentColor");
  shape.setAttribute("fill-rule", rule);
  svg.append(shape);
  return svg;
}
