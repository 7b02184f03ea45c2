/** The chat archive: whether it is on, who is licensed, and how many records of each kind the adapter may read. */

import { fill, h } from "../dom.js";
import { panel } from "./panel.js";

const KINDS = { text: "文字", image: "图片", agree: "同意", disagree: "不同意", link: "链接", file: "文件", voice: "语音" };

export function archive() {
  const facts = h("dl.counters");
  const note = h("p.none");
  return {
    element: panel(
      "会话存档",
      "客户群里的话没有接口也没有回调，只有买了会话存档的店能成批地读。这里的解密函数是代用的，真的 SDK 是原生库。",
      note,
      facts,
    ),
    path: () => "/sim/archive",
    show: ({ on, seats, kinds }) => {
      fill(note, on ? `已开启，许可账号：${seats.join("、") || "无"}` : "没有开启");
      const counts = Object.entries(kinds).map(([kind, count]) => h("div", {}, h("dt", {}, KINDS[kind] || kind), h("dd", {}, count)));
      fill(facts, counts);
    },
  };
}
