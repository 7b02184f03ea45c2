/** 消息: what this employee writes by hand to customers they added and in the groups they are in. */

import { post } from "../api.js";
import { h } from "../dom.js";
import { group, row } from "./rows.js";
import { Talk } from "./talk.js";

export const messages = {
  key: "messages",
  title: "消息",
  glyph: "chat",
  nothing: "选一位客户或一个群，就可以聊天",
  waiting: () => 0,
  list,
  open,
};

function list(client) {
  const { contacts, groups } = client.world;
  const recent = [
    ...groups.map((chat) => ({ ...chat, id: chat.chat_id, kind: "group" })),
    ...contacts.map((contact) => ({ ...contact, id: contact.external_userid })),
  ].sort((a, b) => (b.last?.at || 0) - (a.last?.at || 0));
  return group(
    "聊天",
    recent,
    (chat) => row(client, { ...chat, name: shown(chat), test: "talk" }),
    "还没有可以聊天的客户或群",
  );
}

const shown = ({ name, remark }) => (remark && remark !== name ? `${name}（${remark}）` : name);

function open(client, id) {
  const chat = client.world.groups.find(({ chat_id: chatId }) => chatId === id);
  if (chat) return groupTalk(client, chat);
  const contact = client.world.contacts.find(({ external_userid: externalUserid }) => externalUserid === id);
  return contact ? contactTalk(client, contact) : gone(client);
}

function groupTalk(client, chat) {
  const path = (...parts) => client.path("groups", chat.chat_id, ...parts);
  return new Talk(client, {
    title: chat.name,
    subtitle: `客户群 · ${chat.members} 人`,
    source: path("messages"),
    deliver: (payload) => post(path("message"), payload),
    belongs: (message) => message.chat_id === chat.chat_id,
    names: true,
  });
}

function contactTalk(client, contact) {
  const id = contact.external_userid;
  const path = (...parts) => client.path("contacts", id, ...parts);
  return new Talk(client, {
    title: contact.name,
    subtitle: ["微信好友", ...contact.tags].join(" · "),
    actions: [h("button.quiet", { type: "button", onclick: () => client.go({ in: "contacts", open: id }) }, "资料")],
    source: path("messages"),
    deliver: (payload) => post(path("message"), payload),
    belongs: (message) => message.chat_id === client.place.as && message.customer === id,
  });
}

export function gone(client, sentence = "找不到这个会话，它可能已经结束了") {
  return { element: h("div.talk", {}, h("header.detail-head", {}, client.back()), h("p.empty", {}, sentence)) };
}
