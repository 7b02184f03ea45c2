/** Faults on purpose: what the API shall do wrong next, and the ones that are waiting to happen. */

import { post, remove } from "../api.js";
import { fill, h } from "../dom.js";
import { act, panel } from "./panel.js";

const SEND = "/cgi-bin/kf/send_msg";
const READY = [
  ["延迟 3 秒", { path: "*", kind: "latency", seconds: 3, times: 0 }, "每次调用都慢 3 秒，直到清除"],
  ["系统繁忙 -1", { path: "*", kind: "errcode", errcode: -1, times: 3 }, "接下来 3 次调用返回 -1"],
  ["频率超限 45009", { path: SEND, kind: "errcode", errcode: 45009, times: 3 }, "接下来 3 次发送返回 45009"],
  ["并发超限 45033", { path: SEND, kind: "errcode", errcode: 45033, times: 3 }, "接下来 3 次发送返回 45033"],
  ["办了却没回", { path: SEND, kind: "drop_after", times: 1 }, "下一次发送会办成，但连接断开，不回结果"],
  ["没办就断开", { path: "*", kind: "drop_before", times: 1 }, "下一次调用什么也没办，连接就断开"],
  ["HTTP 500", { path: "*", kind: "http500", times: 1 }, "下一次调用返回 HTTP 500"],
  ["回答乱码", { path: "*", kind: "garbage", times: 1 }, "下一次调用的回答不是 JSON"],
];

export function faults() {
  const waiting = h("ul.waiting", { "aria-label": "生效中的故障" });
  const add = ([words, fault, title]) =>
    h(
      "button",
      {
        type: "button",
        title,
        "data-kind": fault.kind,
        onclick: () => act(() => post("/sim/faults", fault), `已安排：${title}`),
      },
      words,
    );
  const tokens = (action, words) =>
    h(
      "button",
      { type: "button", onclick: () => act(() => post("/sim/tokens", { action }), `所有令牌已${words}`) },
      `令牌${words}`,
    );
  const clear = h(
    "button.clear",
    { type: "button", onclick: () => act(() => remove("/sim/faults"), "故障已全部清除") },
    "全部清除",
  );
  return {
    element: panel(
      "故障",
      "看看你的服务遇到这些情况会怎样。把鼠标停在按钮上，可以看到它做什么。",
      h("div.buttons", {}, READY.map(add), tokens("expire", "过期"), tokens("revoke", "作废"), clear),
      waiting,
    ),
    path: () => "/sim/faults",
    show: (answer) => fill(waiting, rows(answer.faults || [])),
  };
}

function rows(all) {
  if (!all.length) return h("li.none", {}, "现在没有故障，一切正常");
  return all.map((fault) =>
    h(
      "li",
      {},
      h("code", {}, fault.path),
      " ",
      inWords(fault),
      fault.times ? `，还剩 ${fault.times} 次` : "，直到清除",
    ),
  );
}

function inWords({ kind, errcode, seconds, probability }) {
  const what =
    {
      errcode: `返回 ${errcode}`,
      latency: `慢 ${seconds} 秒`,
      drop_before: "没办就断开",
      drop_after: "办了却没回",
      http500: "HTTP 500",
      garbage: "回答乱码",
    }[kind] || kind;
  return probability && probability < 1 ? `${what}（概率 ${Math.round(probability * 100)}%）` : what;
}
