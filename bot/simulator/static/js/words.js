/** Text as people wrote it, with its addresses made tappable; and which addresses we dare to follow. */

import { h } from "./dom.js";

// An anchor as the vendor allows it in text messages, or a bare address up to a blank or Chinese punctuation.
const LINKS = /<a\s+href=["']([^"'<>]+)["'][^<>]*>([^<>]*)<\/a>|(https?:\/\/[^\s<>"'，。；！？）】》、]+)/gi;

/** Parts of a text as nodes; `open(url)` is called for a tap on a link. */
export function linked(text, open) {
  const parts = [];
  let from = 0;
  for (const found of text.matchAll(LINKS)) {
    parts.push(text.slice(from, found.index));
    const url = safeUrl(found[1] || found[3]);
    const label = found[1] ? found[2] : found[3];
    parts.push(url ? link(url, label, open) : label);
    from = found.index + found[0].length;
  }
  parts.push(text.slice(from));
  return parts.filter((part) => part !== "");
}

/** A link that opens inside the phone; with a modifier key or the middle button the browser does as it always does. */
export function link(url, content, open, selector = "a") {
  const onclick = (event) => {
    if (event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    open(url);
  };
  return h(selector, { href: url, target: "_blank", rel: "noopener", onclick }, content);
}

/** The address if it is a web address, else null: never javascript: or data:. */
export function safeUrl(address) {
  try {
    const url = new URL(address, window.location.href);
    return ["http:", "https:"].includes(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}

const VENDOR_SIGN_IN =
  /^https:\/\/(?:open\.weixin\.qq\.com(\/connect\/oauth2\/authorize)|login\.work\.weixin\.qq\.com(\/wwlogin\/sso\/login))/;

/** The vendor's sign-in addresses lead to the simulator's own pages of the same path. */
export const simulated = (url) => url.replace(VENDOR_SIGN_IN, (_, connect, login) => connect || login);
