/** Customer groups: the vendor's API cannot create one, so a member does it by hand, and here that hand is. */

import { get, post } from "../api.js";
import { fill, h } from "../dom.js";
import { act, panel } from "./panel.js";

export function groups() {
  const list = h("ul.group-list");
  const name = h("input", { name: "name", required: true, maxlength: "40", placeholder: "群名", "aria-label": "群名" });
  const owner = h("select", { name: "owner", "aria-label": "群主" });
  const add = (event) => {
    event.preventDefault();
    const group = { name: name.value.trim(), owner: owner.value, members: [] };
    act(() => post("/sim/groups", group), `已建群“${group.name}”，客户可以在手机上扫码进群`).then(() =>
      event.target.reset(),
    );
  };
  return {
    element: panel(
      "客户群",
      "接口不能建客户群，只能由员工手动建。",
      list,
      h("form.adding", { onsubmit: add }, name, owner, h("button", { type: "submit" }, "建群")),
    ),
    path: () => "/sim/groups",
    show: async (answer) => {
      fill(list, answer.groups.length ? answer.groups.map(line) : h("li.none", {}, "还没有客户群"));
      if (!owner.options.length) await offerOwners(owner);
    },
  };
}

function line({ name, chat_id: chatId, member_list: members = [] }) {
  return h("li", {}, h("b", {}, name), h("span", {}, `${members.length} 人`), h("code", {}, chatId));
}

async function offerOwners(select) {
  const { staff } = await get("/sim/staff");
  fill(
    select,
    staff.map((member) => h("option", { value: member.userid }, `群主：${member.name}`)),
  );
}
