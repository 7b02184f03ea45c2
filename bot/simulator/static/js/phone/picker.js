/** "Who are you?": choose one of the customers, or become a new one. */

import { get, post } from "../api.js";
import { fill, h, icon, ICONS, toast } from "../dom.js";
import { cell } from "./cells.js";

const MOST = 200; // a shop may have many thousands

export function picker(choose) {
  const list = h("div.people", { "aria-live": "polite" }, h("p.empty", {}, "正在找人…"));
  const search = h("input.weui-search-bar__input", {
    type: "search",
    placeholder: "搜索名字",
    "aria-label": "搜索客户",
    "data-test": "customer-search",
  });
  let customers = [];
  const show = () => fill(list, rows(customers, search.value.trim(), choose));
  search.addEventListener("input", show);
  get("/sim/customers")
    .then((answer) => {
      customers = answer.customers;
      show();
    })
    .catch((failure) => fill(list, h("p.empty", {}, failure.message)));
  return h(
    "div.page.picker",
    {},
    h("header.picker-head", {}, h("h1", {}, "你是谁？"), h("p", {}, "选一位客户，这就是 TA 的手机。")),
    h("div.weui-search-bar.search", {}, h("label.weui-search-bar__form", {}, icon(ICONS.search), search)),
    list,
    newcomer(choose),
  );
}

function rows(customers, wanted, choose) {
  const matching = customers.filter(({ name, external_userid: id }) => name.includes(wanted) || id === wanted);
  if (!matching.length) return h("p.empty", {}, wanted ? `没有叫“${wanted}”的客户` : "还没有客户，在下面添一位吧");
  const entry = ({ external_userid: id, name, avatar }) =>
    cell({ face: { name, avatar, id }, test: "customer", id, tap: () => choose(id) });
  const more = matching.length - MOST;
  return [
    h("div.weui-cells", {}, matching.slice(0, MOST).map(entry)),
    more > 0 ? h("p.empty", {}, `还有 ${more} 位，搜索名字就能找到`) : null,
  ];
}

function newcomer(choose) {
  const name = h("input", {
    type: "text",
    placeholder: "新客户的名字",
    "aria-label": "新客户的名字",
    maxlength: "30",
    required: true,
  });
  const join = async (event) => {
    event.preventDefault();
    try {
      const customer = await post("/sim/customers", { name: name.value.trim() });
      choose(customer.external_userid);
    } catch (failure) {
      toast(failure.message);
    }
  };
  return h(
    "form.newcomer",
    { onsubmit: join },
    name,
    h("button.weui-btn.weui-btn_primary.weui-btn_mini", { type: "submit" }, "新来一位"),
  );
}
