/** Where a customer meets the shop: kf accounts, codes to scan for staff and groups; and the page about oneself. */

import { post } from "../api.js";
import { avatar } from "../avatar.js";
import { h, icon, ICONS } from "../dom.js";

export function discover(phone) {
  const { kf_accounts: accounts, contact_ways: ways, can_add: staff, groups_joinable: groups } = phone.world;
  return [
    section("微信客服", accounts.map((account) => entry({
      name: account.name, avatar: account.avatar, id: account.open_kfid, kind: "kf", note: "咨询",
      test: "kf-account", tap: () => phone.enterAccount(account.open_kfid),
    })), "这家企业还没有微信客服账号"),
    section("扫渠道活码", ways.map((way) => entry({
      name: way.remark || way.state || way.config_id, id: way.config_id, kind: "code", note: "扫一扫",
      detail: way.state ? `渠道：${way.state}` : "", test: "contact-way",
      tap: () => scan(phone, "add", { config_id: way.config_id }, "已添加，打个招呼吧"),
    })), "还没有渠道活码"),
    section("添加员工", staff.map((member) => entry({
      name: member.name, avatar: member.avatar, id: member.userid, note: "添加", detail: member.department, test: "can-add",
      tap: () => scan(phone, "add", { userid: member.userid }, "已添加，打个招呼吧"),
    })), "能加的员工都加过了"),
    section("扫码进群", groups.map((group) => entry({
      name: group.name, id: group.chat_id, kind: "group", note: "进群", test: "joinable",
      tap: () => scan(phone, "join", { chat_id: group.chat_id }, "已进群"),
    })), "没有可以加入的群"),
  ];
}

async function scan(phone, call, body, done) {
  if (await phone.attempt(() => post(phone.path(call), body), done)) phone.go({ tab: "chats" });
}

function section(title, entries, nothing) {
  return h("section", {}, h("h2.cells-title", {}, title),
    entries.length ? h("ul.cells", {}, entries.map((cell) => h("li", {}, cell))) : h("p.cells-none", {}, nothing));
}

function entry({ name, avatar: url, id, kind, note, detail, test, tap }) {
  const face = kind === "code" ? h("span.avatar.code", { "aria-hidden": "true" }, icon(ICONS.scan)) : avatar({ name, avatar: url, id, kind });
  return h("button.cell", { type: "button", "data-test": test, "data-id": id, onclick: tap },
    face, h("span.cell-main", {}, name, detail ? h("small", {}, detail) : null), h("span.cell-note", {}, note));
}

/** The tab about oneself: whose phone this is, and how to hold another one. */
export function mine(phone) {
  const { customer } = phone.world;
  return [
    h("div.profile", {},
      avatar({ ...customer, id: customer.external_userid }, 64),
      h("div", {}, h("h2", {}, customer.name), h("p", {}, `外部联系人 ID：${customer.external_userid}`),
        customer.unionid ? h("p", {}, `unionid：${customer.unionid}`) : null)),
    h("ul.cells", {},
      h("li", {}, h("button.cell", { type: "button", "data-test": "switch", onclick: () => phone.go({ as: null, chat: null, tab: null }) }, h("span.cell-main", {}, "换一个人"))),
      h("li", {}, h("a.cell", { href: "/staff" }, h("span.cell-main", {}, "打开员工端"))),
      h("li", {}, h("a.cell", { href: "/" }, h("span.cell-main", {}, "模拟器控制台")))),
    h("p.fine-print", {}, "这是企业微信模拟器里的一部手机，不会联系任何真实的人。"),
  ];
}
