/** Group robots of the company's internal groups: their keys, and what was posted through them last. */

import { post } from "../api.js";
import { fill, h } from "../dom.js";
import { oneLine } from "../staff/cards.js";
import { exact } from "../when.js";
import { act, panel } from "./panel.js";

const SHOWN = 5;

export function robots() {
  const list = h("div");
  const name = h("input", {
    required: true,
    maxlength: "20",
    placeholder: "机器人名字，如：值班群播报",
    "aria-label": "机器人名字",
  });
  const add = (event) => {
    event.preventDefault();
    act(() => post("/sim/webhooks", { name: name.value.trim() }), "机器人已添加").then(() => event.target.reset());
  };
  return {
    element: panel(
      "群机器人",
      "内部群里的机器人（webhook），每分钟最多 20 条。",
      list,
      h("form.adding", { onsubmit: add }, name, h("button", { type: "submit" }, "添加")),
    ),
    path: () => "/sim/webhooks",
    show: (answer) => fill(list, answer.robots.length ? answer.robots.map(robot) : h("p.none", {}, "还没有机器人")),
  };
}

function robot({ key, name, posts, disabled }) {
  const line = ({ at, msgtype, [msgtype]: payload }) =>
    h("li", {}, h("time", {}, exact(at)), " ", oneLine({ msgtype, card: payload, content: payload }));
  return h(
    "div.robot",
    {},
    h("b", {}, name, disabled ? "（已停用）" : ""),
    " ",
    h("code", {}, key),
    h("ul", {}, posts.slice(-SHOWN).reverse().map(line)),
  );
}
