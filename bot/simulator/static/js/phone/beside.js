/** Beside the phone on wide screens: whose phone it is and the ways out. */

import { fill, h } from "../dom.js";

export function beside(phone) {
  const element = document.getElementById("beside");
  const customer = phone?.world?.customer;
  fill(
    element,
    h("h2", {}, "企业微信模拟器"),
    customer
      ? [h("p", {}, `这是“${customer.name}”的手机。`), h("p.id", {}, customer.external_userid)]
      : h("p", {}, "选一位客户，就能以 TA 的身份聊天、进群、打开活动页。"),
    h(
      "ul",
      {},
      customer
        ? h(
            "li",
            {},
            h("button", { type: "button", onclick: () => phone.go({ as: null, chat: null, tab: null }) }, "换一个人"),
          )
        : null,
      h("li", {}, h("a", { href: "/phone", target: "_blank", rel: "noopener" }, "再开一部手机")),
      h("li", {}, h("a", { href: "/staff", target: "_blank", rel: "noopener" }, "打开员工端")),
      h("li", {}, h("a", { href: "/" }, "控制台：时钟、故障、调用记录")),
    ),
  );
}
