/** The simulated company's apps and where their callbacks go; a new address is verified as the vendor does it. */

import { at, post } from "../api.js";
import { fill, h } from "../dom.js";
import { act, panel } from "./panel.js";

export function addresses() {
  const list = h("div.apps");
  let shown = "";
  return {
    element: panel("企业与应用", "填好回调地址后，模拟器会像企业微信一样先发一个签名的 echostr 来验证。", list),
    path: () => "/sim/corp",
    show: (corp) => {
      const state = JSON.stringify(corp);
      if (state === shown) return; // leave a form alone while somebody fills it in
      shown = state;
      fill(
        list,
        h("p", {}, "企业 ID ", h("code", {}, corp.corpid)),
        corp.apps.length ? corp.apps.map(app) : h("p.none", {}, "还没有应用"),
      );
    },
  };
}

function app({ agentid, name, callback_url: url }) {
  const input = (field, label, value = "") =>
    h("label", {}, label, h("input", { name: field, value, required: true, autocomplete: "off" }));
  const save = (event) => {
    event.preventDefault();
    const body = Object.fromEntries(new FormData(event.target));
    act(() => post(at("sim", "apps", String(agentid), "callback"), body), `${name} 的回调地址验证通过`);
  };
  return h(
    "details.app",
    {},
    h(
      "summary",
      {},
      h("b", {}, name),
      h("small", {}, ` 应用 ${agentid} · `),
      url ? h("code", {}, url) : h("em", {}, "没有回调地址"),
    ),
    h(
      "form",
      { onsubmit: save },
      input("url", "回调地址", url),
      input("token", "Token"),
      input("aes_key", "EncodingAESKey"),
      h("button", { type: "submit" }, "验证并保存"),
    ),
  );
}
