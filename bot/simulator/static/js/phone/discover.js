/** Where a customer meets the shop: kf accounts, codes to scan for staff and groups; and the page about oneself. */

import { post } from "../api.js";
import { avatar } from "../avatar.js";
import { h } from "../dom.js";
import { cell, cells, way } from "./cells.js";

export function discover(phone) {
  const {
    kf_accounts: accounts,
    contact_ways: ways,
    can_add: staff,
    groups_joinable: groups,
    join_ways: joinWays = [],
  } = phone.world;
  const account = ({ open_kfid: id, name, avatar: url }) =>
    cell({
      face: { name, avatar: url, id, kind: "kf" },
      note: "咨询",
      test: "kf-account",
      id,
      tap: () => phone.enterAccount(id),
    });
  const code = ({ config_id: id, remark, state }) =>
    cell({
      face: { name: remark || state || id, kind: "code" },
      detail: state ? `渠道：${state}` : "",
      note: "扫一扫",
      test: "contact-way",
      id,
      tap: () => add(phone, { config_id: id }),
    });
  const member = ({ userid: id, name, avatar: url, department }) =>
    cell({
      face: { name, avatar: url, id },
      detail: department,
      note: "添加",
      test: "can-add",
      id,
      tap: () => add(phone, { userid: id }),
    });
  const group = ({ chat_id: id, name }) =>
    cell({
      face: { name, id, kind: "group" },
      note: "进群",
      test: "joinable",
      id,
      tap: () => scan(phone, "join", { chat_id: id }, "已进群"),
    });
  const groupCode = ({ config_id: id, remark, state }) =>
    cell({
      face: { name: remark || state || id, kind: "code" },
      detail: "群活码",
      note: "进群",
      test: "join-way",
      id,
      tap: () => scan(phone, "join", { config_id: id }, "已进群"),
    });
  return [
    cells("微信客服", accounts.map(account), "这家企业还没有微信客服账号"),
    cells("扫渠道活码", ways.map(code), "还没有渠道活码"),
    cells("添加员工", staff.map(member), "能加的员工都加过了"),
    cells("扫码进群", [...joinWays.map(groupCode), ...groups.map(group)], "没有可以加入的群"),
  ];
}

const add = (phone, whom) => scan(phone, "add", whom, "已添加，打个招呼吧");

async function scan(phone, call, body, done) {
  if (await phone.attempt(() => post(phone.path(call), body), done)) phone.go({ tab: "chats" });
}

/** The tab about oneself: whose phone this is, and how to hold another one. */
export function mine(phone) {
  const { customer } = phone.world;
  return [
    h(
      "div.profile",
      {},
      avatar({ ...customer, id: customer.external_userid }, 64),
      h(
        "div",
        {},
        h("h2", {}, customer.name),
        h("p", {}, `外部联系人 ID：${customer.external_userid}`),
        customer.unionid ? h("p", {}, `unionid：${customer.unionid}`) : null,
      ),
    ),
    cells("", [
      way("换一个人", { test: "switch", tap: () => phone.go({ as: null, chat: null, tab: null }) }),
      way("打开员工端", { href: "/staff" }),
      way("模拟器控制台", { href: "/" }),
    ]),
    h("p.fine-print", {}, "这是企业微信模拟器里的一部手机，不会联系任何真实的人。"),
  ];
}
