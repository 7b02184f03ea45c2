/** The phone's browser: an H5 page in a frame, opened as the phone's owner, with a way back and a way out. */

import { fill, h, icon, ICONS } from "../dom.js";
import { simulated } from "../words.js";

export class Browser {
  constructor(phone) {
    this.phone = phone;
    this.element = h("div.browser", { role: "dialog", "aria-label": "网页" });
  }

  open(url) {
    const address = simulated(url);
    // The simulator notes who is looking before it leads on to the page, so that signing in needs no question.
    const opened = `${this.phone.path("open")}?${new URLSearchParams({ url: address })}`;
    if (isKfLink(address)) {
      window.location.assign(opened); // it leads to a chat on this phone, not to a page inside it
      return;
    }
    const close = h(
      "button.bar-button",
      { type: "button", "aria-label": "关闭网页", "data-test": "browser-close", onclick: () => this.close() },
      icon(ICONS.close),
    );
    fill(
      this.element,
      h(
        "header.bar",
        {},
        close,
        h("h1.browser-title", {}, hostOf(address)),
        h(
          "a.bar-button",
          { href: opened, target: "_blank", rel: "noopener", "aria-label": "在新标签页打开", title: "在新标签页打开" },
          icon(ICONS.link),
        ),
      ),
      h("iframe", { src: opened, title: "网页内容", "data-test": "h5" }),
      h("p.browser-hint", {}, "页面空白？有的网站不许嵌在框里，请点右上角在新标签页打开。"),
    );
    this.phone.screen.append(this.element);
    close.focus();
  }

  close() {
    this.element.remove();
    this.element.replaceChildren();
  }
}

const located = (address) => new URL(address, window.location.href);
const hostOf = (address) => located(address).host;

function isKfLink(address) {
  const { origin, pathname } = located(address);
  return origin === window.location.origin && pathname.startsWith("/kf/");
}
