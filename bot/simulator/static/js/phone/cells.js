/** WeUI's lists: a titled group of cells, each a face, a name, and a word about what a tap does. */

import { avatar } from "../avatar.js";
import { h, icon, ICONS } from "../dom.js";

/** A group of cells under a title; without cells, a sentence says so. */
export function cells(title, entries, nothing = "") {
  const body = entries.length ? entries : h("div.weui-cell.nothing", {}, nothing);
  return h(
    "section",
    { "aria-label": title },
    title ? h("h2.weui-cells__title", {}, title) : null,
    h("div.weui-cells", {}, body),
  );
}

/** One person, account, group or code. `face` is {name, avatar, id, kind}; kind "code" shows a scan mark. */
export function cell({ face, detail, note, test, id, tap }) {
  return h(
    "button.weui-cell.weui-cell_active",
    { type: "button", "data-test": test, "data-id": id, onclick: tap },
    h("span.weui-cell__hd", {}, face.kind === "code" ? scanMark() : avatar(face)),
    h("span.weui-cell__bd", {}, face.name, detail ? h("small", {}, detail) : null),
    note ? h("span.weui-cell__ft", {}, note) : null,
  );
}

/** A line of words that leads somewhere. */
export function way(words, { href, tap, test }) {
  const inside = [h("span.weui-cell__bd", {}, words), h("span.weui-cell__ft")];
  if (href) return h("a.weui-cell.weui-cell_access", { href }, inside);
  return h("button.weui-cell.weui-cell_access", { type: "button", "data-test": test, onclick: tap }, inside);
}

const scanMark = () => h("span.avatar.code", { "aria-hidden": "true" }, icon(ICONS.scan));
