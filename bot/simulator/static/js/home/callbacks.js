/** How callbacks reach the service: how many may be lost, repeated or out of order, and how delivery has gone. */

import { post } from "../api.js";
import { fill, h } from "../dom.js";
import { act, panel } from "./panel.js";

const CHANCES = [
  ["drop", "丢失"],
  ["duplicate", "重复"],
  ["reorder", "乱序"],
];
const STEPS = [0, 0.1, 0.3, 0.5, 1];

export function callbacks() {
  const counters = h("dl.counters");
  const chooser = ([name, words]) =>
    h(
      "label",
      {},
      words,
      h(
        "select",
        { name, "data-test": `callbacks-${name}`, onchange: (event) => set(name, event.target) },
        STEPS.map((chance) => h("option", { value: String(chance) }, chance ? `${chance * 100}%` : "不会")),
      ),
    );
  const choosers = h("div.choosers", {}, CHANCES.map(chooser));
  return {
    element: panel("回调", "企业微信推给服务的通知。真实网络里它会丢、会重、会乱。", counters, choosers),
    path: () => "/sim/callbacks",
    show: (answer) => {
      fill(
        counters,
        [
          ["已送达", answer.delivered],
          ["失败", answer.failed],
          ["排队", answer.pending],
        ].map(([words, count]) => h("div", {}, h("dt", {}, words), h("dd", {}, count ?? 0))),
      );
      for (const [name] of CHANCES) choose(choosers.querySelector(`[name=${name}]`), answer[name] || 0);
    },
  };
}

function set(name, select) {
  const words = select.selectedOptions[0].textContent;
  return act(
    () => post("/sim/callbacks", { [name]: Number(select.value) }),
    `已改为：${select.parentElement.firstChild.textContent} ${words}`,
  );
}

/** Show a probability, also one that somebody set by hand and the menu does not offer. */
function choose(select, chance) {
  const value = String(chance);
  if (document.activeElement === select) return; // somebody has the menu open
  if (![...select.options].some((option) => option.value === value))
    select.append(h("option", { value }, `${Math.round(chance * 100)}%`));
  select.value = value;
}
