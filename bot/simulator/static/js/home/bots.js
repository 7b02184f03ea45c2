/** AI bots and the internal groups they are in: where their callbacks go, verified as the vendor does it. */

import { at, post } from "../api.js";
import { fill, h } from "../dom.js";
import { act, panel } from "./panel.js";

export function bots() {
  const list = h("div.apps");
  let shown = "";
  return {
    element: panel(
      "智能机器人",
      "只能进内部群和员工单聊，进不了客户群。回调是 JSON，receiveid 为空；没答完的流每隔一会儿来取，最多 6 分钟。",
      list,
    ),
    path: () => "/sim/bots",
    show: (answer) => {
      const state = JSON.stringify(answer.bots) + answer.rooms.map(({ chat_id: id, name }) => id + name).join();
      if (state === shown) return; // leave a form alone while somebody fills it in
      shown = state;
      const known = answer.bots.map((bot) => one(bot, answer.rooms));
      fill(list, known.length ? known : h("p.none", {}, "还没有智能机器人"));
    },
  };
}

function one({ id, name, callback_url: url }, rooms) {
  const input = (field, label, value = "") =>
    h("label", {}, label, h("input", { name: field, value, required: true, autocomplete: "off" }));
  const save = (event) => {
    event.preventDefault();
    const body = Object.fromEntries(new FormData(event.target));
    act(() => post(at("sim", "bots", id, "callback"), body), `${name} 的回调地址验证通过`);
  };
  const places = rooms.filter(({ bots: inside }) => inside.some((bot) => bot.id === id)).map((room) => room.name);
  return h(
    "details.app",
    {},
    h(
      "summary",
      {},
      h("b", {}, name),
      h("small", {}, places.length ? ` 在 ${places.join("、")} · ` : " 还没有群 · "),
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
