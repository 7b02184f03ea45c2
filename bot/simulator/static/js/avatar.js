/** A person's or account's picture: their own when the simulator serves it, else a coloured tile with their initial. */

import { h } from "./dom.js";

const COLOURS = [
  "#6B8E9F",
  "#C98B6B",
  "#7A9E7E",
  "#B07BAC",
  "#D0A24C",
  "#5B8DB8",
  "#C46D6D",
  "#6F7FB5",
  "#4FA095",
  "#A0826D",
];
export const KIND_COLOURS = { kf: "#07C160", bot: "#07C160", group: "#8FA3B8" };

export function avatar({ name, avatar: url, id, kind }, size = 40) {
  const own = url && (url.startsWith("/") || url.startsWith("data:image/"));
  const tile = h("span.avatar", { "aria-hidden": "true" });
  tile.style.setProperty("--size", `${size}px`);
  const initial = () => {
    tile.style.backgroundColor = KIND_COLOURS[kind] || COLOURS[hash(id || name || "") % COLOURS.length];
    tile.textContent = initialOf(name);
  };
  if (own) tile.append(h("img", { src: url, alt: "", onerror: initial }));
  else initial();
  return tile;
}

/** The family name of a Chinese name, the first letter of another one; emoji and other long characters stay whole. */
function initialOf(name) {
  const first = [...(name || "").trim()][0] || "?";
  return first.toUpperCase();
}

function hash(text) {
  let value = 7;
  for (const character of text) value = (value * 31 + character.codePointAt(0)) >>> 0;
  return value;
}
