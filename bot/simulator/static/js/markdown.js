/** The small part of Markdown that app messages may use: headings, quotes, bold, code, links and three font colours. */

import { h } from "./dom.js";
import { link, safeUrl } from "./words.js";

const INLINE =
  /\*\*(.+?)\*\*|`([^`]+)`|\[([^\]]*)\]\(([^)\s]+)\)|<font color=["']?(info|comment|warning)["']?>(.*?)<\/font>/g;

export function markdown(source, open) {
  return source.split("\n").map((line) => block(line, open));
}

function block(line, open) {
  const heading = line.match(/^(#{1,6})\s+(.*)/);
  if (heading) return h(`p.md-h${Math.min(heading[1].length, 3)}`, {}, inline(heading[2], open));
  const quote = line.match(/^>\s?(.*)/);
  if (quote) return h("p.md-quote", {}, inline(quote[1], open));
  return h("p", {}, line ? inline(line, open) : "\u00a0");
}

function inline(text, open) {
  const parts = [];
  let from = 0;
  for (const found of text.matchAll(INLINE)) {
    const [whole, bold, code, label, address, colour, coloured] = found;
    parts.push(text.slice(from, found.index));
    if (bold) parts.push(h("b", {}, inline(bold, open)));
    else if (code) parts.push(h("code", {}, code));
    else if (address) parts.push(safeUrl(address) ? link(safeUrl(address), label, open) : label);
    else parts.push(h(`span.md-${colour}`, {}, inline(coloured, open)));
    from = found.index + whole.length;
  }
  parts.push(text.slice(from));
  return parts;
}
