/** "Who are you?": choose one of the customers, or become a new one. */

import { get, post } from "../api.js";
import { avatar } from "../avatar.js";
import { fill, h, toast } from "../dom.js";

export function picker(choose) {
  const list = h("div.people", { "aria-live": "polite" }, h("p.empty", {}, "正在找人…"));
  const search = h("input", { type: "search", placeholder: "搜索名字", "aria-label": "搜索客户", "data-test": "customer-search" });
  let customers = [];
  const show = () => fill(list, rows(customers, search.value.trim(), choose));
  search.addEventListener("input", show);
  get("/sim/customers")
    .then((answer) => {
      customers = answer.customers;
      show();
    })
    .catch((failure) => fill(list, h("p.empty", {}, failure.message)));
  return h("div.page.picker", {},
    h("header.picker-head", {}, h("h1", {}, "你是谁？"), h("p", {}, "选一位客户，这就是 TA 的手机。")),
    h("div.search", {}, search),
    list,
    newcomer(choose));
}

function rows(customers, wanted, choose) {
  const matching = customers.filter(({ name, external_userid: id }) => name.includes(wanted) || id === wanted);
  if (!matching.length) return h("p.empty", {}, wanted ? `没有叫“${wanted}”的客户` : "还没有客户，在下面添一位吧");
  return h("ul.cells", {}, matching.map((customer) => h("li", {},
    h("button.cell", { type: "button", "data-test": "customer", "data-id": customer.external_userid, onclick: () => choose(customer.external_userid) },
      avatar({ ...customer, id: customer.external_userid }),
      h("span.cell-main", {}, customer.name)))));
}

function newcomer(choose) {
  const name = h("input", { type: "text", placeholder: "新客户的名字", "aria-label": "新客户的名字", maxlength: "30", required: true });
  const join = async (event) => {
    event.preventDefault();
    try {
      const customer = await post("/sim/customers", { name: name.value.trim() });
      choose(customer.external_userid);
    } catch (failure) {
      toast(failure.message);
    }
  };
  return h("form.newcomer", { onsubmit: join }, name, h("button", { type: "submit" }, "新来一位"));
}
