/** Rows of the client's lists: picture, name, last line, time, and which one is open. */

import { avatar } from "../avatar.js";
import { h } from "../dom.js";
import { shortTime } from "../when.js";

const MOST = 200;

export function row(client, { id, faceOf = id, name, avatar: url, kind, last, unread, mark, test }) {
  const current = client.place.open === id;
  return h(
    "li",
    {},
    h(
      "button.row",
      {
        type: "button",
        "aria-current": current ? "true" : null,
        "data-test": test,
        "data-id": id,
        onclick: () => client.go({ open: id }),
      },
      h(
        "span.row-avatar",
        {},
        avatar({ name, avatar: url, id: faceOf, kind }, 38),
        unread ? h("span.badge", {}, unread) : null,
      ),
      h(
        "span.row-main",
        {},
        h("span.row-line", {}, h("b", {}, name), last?.at ? h("time", {}, shortTime(last.at)) : null),
        h("span.row-last", {}, mark ? h("em", {}, mark) : null, last?.text || ""),
      ),
    ),
  );
}

/** A titled part of a list. `draw` makes one row; of many thousands the first are shown, the rest are for the search. */
export function group(title, entries, draw, nothing) {
  const more = entries.length - MOST;
  return [
    h("h2.list-group", {}, title),
    entries.length ? h("ul", {}, entries.slice(0, MOST).map(draw)) : h("p.list-none", {}, nothing),
    more > 0 ? h("p.list-none", {}, `还有 ${more} 个没有列出`) : null,
  ];
}
