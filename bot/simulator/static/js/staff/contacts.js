/** 客户: everyone this employee has added, and the customer groups they own or are in. */

import { post } from "../api.js";
import { avatar } from "../avatar.js";
import { confirmed, fill, h } from "../dom.js";
import { exact } from "../when.js";
import { gone } from "./messages.js";
import { group, row } from "./rows.js";

export const contacts = {
  key: "contacts",
  title: "客户",
  glyph: "people",
  nothing: "选一位客户看看资料",
  waiting: () => 0,
  list,
  open: (client, id) => detail(client, id),
};

let wanted = ""; // the search stays while one looks at people

function list(client) {
  const found = h("div");
  const search = h("input.list-search", {
    type: "search",
    placeholder: "搜索客户和群",
    "aria-label": "搜索客户和群",
    "data-id": "search",
    value: wanted,
  });
  const show = () => {
    wanted = search.value.trim();
    fill(found, rows(client));
  };
  search.addEventListener("input", show);
  show();
  return [search, welcomeSwitch(client), found];
}

/** With a welcome set in the admin console, the vendor sends that one and gives the apps no welcome_code. */
function welcomeSwitch(client) {
  const { console_welcome: on = false } = client.world.staff;
  const flip = () => client.attempt(() => post(client.path("console_welcome"), { on: !on }));
  return h(
    "div.switches",
    {},
    h(
      "button.switch",
      { type: "button", role: "switch", "aria-checked": String(on), "data-id": "console-welcome", onclick: flip },
      h("span", {}, "后台欢迎语", h("small", {}, on ? "已配置，应用拿不到欢迎码" : "未配置")),
      h("i", { "aria-hidden": "true" }),
    ),
  );
}

function rows(client) {
  const fits = (...names) => names.some((name) => (name || "").includes(wanted));
  const people = client.world.contacts.filter(({ name, remark }) => fits(name, remark));
  const groups = client.world.groups.filter(({ name }) => fits(name));
  return [
    group(
      `客户（${people.length}）`,
      people,
      (contact) =>
        row(client, {
          ...contact,
          id: contact.external_userid,
          test: "contact",
          mark: contact.one_way ? "[已删除你]" : contact.confirmed === false ? "[等你通过]" : null,
          last: { text: [contact.remark, ...contact.tags].filter(Boolean).join(" · ") },
        }),
      wanted ? "没有找到" : "还没有客户。请客户在手机上扫你的码。",
    ),
    group(
      `客户群（${groups.length}）`,
      groups,
      (chat) =>
        row(client, {
          ...chat,
          id: chat.chat_id,
          kind: "group",
          test: "group",
          last: { text: `${chat.members} 人` },
        }),
      wanted ? "没有找到" : "还没有客户群",
    ),
  ];
}

function detail(client, id) {
  const contact = client.world.contacts.find(({ external_userid: externalUserid }) => externalUserid === id);
  if (contact) return { element: person(client, contact) };
  const chat = client.world.groups.find(({ chat_id: chatId }) => chatId === id);
  return chat ? { element: groupPage(client, chat) } : gone(client, "找不到这位客户，可能已经删除");
}

function person(client, contact) {
  const { external_userid: id, name, remark, tags, state, added_at: addedAt } = contact;
  return page(
    client,
    { ...contact, id },
    [
      ["备注", remark || "无"],
      ["标签", tags.length ? tags.map((tag) => h("span.tag", {}, tag)) : "无"],
      ["来源渠道", state || "无"],
      addedAt ? ["添加时间", exact(addedAt)] : null,
      contact.one_way ? ["关系", "客户已删除你，消息发不出去"] : null,
      ["外部联系人 ID", id],
    ].filter(Boolean),
    [
      contact.confirmed === false ? acceptButton(client, id) : talkButton(client, id),
      h(
        "button.quiet.danger",
        { type: "button", "data-test": "delete-contact", onclick: () => removeContact(client, id, name) },
        "删除客户",
      ),
    ],
  );
}

function groupPage(client, chat) {
  const owner = client.world.colleagues.find(({ userid }) => userid === chat.owner);
  return page(
    client,
    { ...chat, id: chat.chat_id, kind: "group" },
    [
      ["群主", owner?.name || chat.owner || "未知"],
      ["人数", `${chat.members} 人`],
      ["群 ID", chat.chat_id],
    ],
    [talkButton(client, chat.chat_id)],
  );
}

/** The customer asked to be added and waits for a yes. */
function acceptButton(client, id) {
  const accept = async () => {
    if (await client.attempt(() => post(client.path("contacts", id, "accept")), "已通过"))
      client.go({ in: "messages", open: id });
  };
  return h("button.primary", { type: "button", "data-test": "accept-contact", onclick: accept }, "通过好友申请");
}

function talkButton(client, id) {
  return h(
    "button.primary",
    { type: "button", "data-test": "talk-to", onclick: () => client.go({ in: "messages", open: id }) },
    "发消息",
  );
}

function page(client, someone, facts, buttons) {
  return h(
    "div.talk",
    {},
    h("header.detail-head", {}, client.back(), h("div", {}, h("h1", {}, someone.name))),
    h(
      "div.profile",
      {},
      avatar(someone, 72),
      h(
        "dl",
        {},
        facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))),
      ),
      h("div.profile-buttons", {}, buttons),
    ),
  );
}

async function removeContact(client, id, name) {
  if (!(await confirmed(`删除客户“${name}”？删除后要重新添加才能联系。`, { yes: "删除", danger: true }))) return;
  if (await client.attempt(() => post(client.path("contacts", id, "delete")), "已删除")) client.go({ open: null });
}
