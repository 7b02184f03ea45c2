/** "Who are you?" for employees. */

import { get } from "../api.js";
import { avatar } from "../avatar.js";
import { fill, h } from "../dom.js";

export function colleagues(choose) {
  const list = h("div.colleagues", { "aria-live": "polite" }, h("p.empty", {}, "正在找人…"));
  get("/sim/staff")
    .then(({ staff }) =>
      fill(
        list,
        staff.length
          ? h(
              "ul",
              {},
              staff.map((member) => h("li", {}, row(member, choose))),
            )
          : h("p.empty", {}, "这家企业还没有员工"),
      ),
    )
    .catch((failure) => fill(list, h("p.empty", {}, failure.message)));
  return h(
    "div.who",
    {},
    h("h1", {}, "你是哪位员工？"),
    h("p", {}, "这是模拟的企业微信客户端：接待客户、确认群发、处理应用发来的卡片。"),
    list,
  );
}

function row(member, choose) {
  return h(
    "button.colleague",
    { type: "button", "data-test": "staff", "data-id": member.userid, onclick: () => choose(member.userid) },
    avatar({ ...member, id: member.userid }, 44),
    h(
      "span",
      {},
      h("b", {}, member.name),
      h("small", {}, [member.department, member.active ? "" : "未激活"].filter(Boolean).join(" · ")),
    ),
  );
}
