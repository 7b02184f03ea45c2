/** The simulated clock: what time it is in this WeCom, and moving it forward. */

import { post } from "../api.js";
import { h } from "../dom.js";
import { exact } from "../when.js";
import { act, panel } from "./panel.js";

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const STEPS = [
  ["+10 分钟", 10 * MINUTE],
  ["+1 小时", HOUR],
  ["+1 天", DAY],
  ["+2 天", 2 * DAY],
];

export function clock() {
  const face = h("p.clock-face", { "data-test": "clock" }, "—");
  const step = ([words, seconds]) =>
    h(
      "button",
      {
        type: "button",
        "data-seconds": seconds,
        onclick: () => act(() => post("/sim/clock", { advance: seconds }), `时钟走了 ${words.slice(1)}`),
      },
      words,
    );
  return {
    element: panel(
      "时钟",
      "北京时间。48 小时的回复窗口、令牌和欢迎语的有效期都按它计算，只能往前拨。",
      face,
      h("div.buttons", {}, STEPS.map(step)),
    ),
    path: () => "/sim/clock",
    show: ({ now }) => {
      face.textContent = exact(now);
    },
  };
}
