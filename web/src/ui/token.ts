/** Asks for the access token once per browser session. */

import { word } from "../i18n.ts";
import type { Lang } from "../format.ts";
import { h } from "./dom.ts";

const KEY = "qingniao.token";

export function heldToken(): string | null {
  return sessionStorage.getItem(KEY);
}

export function forgetToken(): void {
  sessionStorage.removeItem(KEY);
}

/** The token held, or asked for; null where the reader declined. */
export function askToken(lang: Lang, refused: boolean): Promise<string | null> {
  const held = heldToken();
  if (held !== null) return Promise.resolve(held);
  const field = h("input", {
    type: "password",
    name: "token",
    id: "token",
    required: true,
    autocomplete: "off",
    spellcheck: "false",
  });
  const form = h(
    "form",
    { method: "dialog" },
    h("h2", {}, word(lang, "token.title")),
    h("p", {}, word(lang, "token.text")),
    refused && h("p", { class: "form-error", role: "alert" }, word(lang, "token.wrong")),
    h("label", { for: "token" }, word(lang, "token.label")),
    field,
    h(
      "div",
      { class: "form-buttons" },
      h(
        "button",
        { type: "button", class: "button", onclick: () => dialog.close("") },
        word(lang, "detail.cancel"),
      ),
      h("button", { type: "submit", class: "button button-main" }, word(lang, "token.ok")),
    ),
  );
  const dialog = h("dialog", { class: "dialog", "aria-label": word(lang, "token.title") }, form);
  document.body.append(dialog);
  return new Promise((resolve) => {
    form.addEventListener("submit", () => {
      sessionStorage.setItem(KEY, field.value.trim());
    });
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(heldToken());
    });
    dialog.showModal();
  });
}
