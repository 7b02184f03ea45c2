/** The phone's browser: an H5 page in a frame that knows whose phone it is, with a way back and a way out. */

import { fill, h, icon, ICONS } from "../dom.js";
import { simulated } from "../words.js";

export class Browser {
  constructor(phone) {
    this.phone = phone;
    this.element = h("div.browser", { role: "dialog", "aria-label": "网页" });
  }

  open(url) {
    const address = simulated(url);
    const close = h("button.bar-button", { type: "button", "aria-label": "关闭网页", "data-test": "browser-close", onclick: () => this.close() }, icon(ICONS.close));
    fill(this.element,
      h("header.bar", {}, close,
        h("h1.browser-title", {}, hostOf(address)),
        h("a.bar-button", { href: address, target: "_blank", rel: "noopener", "aria-label": "在新标签页打开", title: "在新标签页打开" }, icon(ICONS.link))),
      // The sign-in page reads the frame's name, so the H5 page learns who taps (see visitor.js).
      h("iframe", { src: address, name: `visitor:${this.phone.place.as}`, title: "网页内容", "data-test": "h5" }),
      h("p.browser-hint", {}, "页面空白？有的网站不许嵌在框里，请点右上角在新标签页打开。"));
    this.phone.screen.append(this.element);
    close.focus();
  }

  close() {
    this.element.remove();
    this.element.replaceChildren();
  }
}

function hostOf(address) {
  try {
    return new URL(address, window.location.href).host;
  } catch {
    return "网页";
  }
}
