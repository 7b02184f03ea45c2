/** 消息: what this employee writes by hand: to customers, in customer groups, in internal groups and to the AI bots. */

import { post } from "../api.js";
import { h } from "../dom.js";
import { group, row } from "./rows.js";
import { Talk } from "./talk.js";

export const messages = {
  key: "messages",
  title: "消息",
  glyph: "chat",
  nothing: "选一位客户、一个群或一个智能机器人，就可以聊天",
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
  return [
    inside(client),
    group(
      "客户和客户群",
      recent,
      (chat) => row(client, { ...chat, name: shown(chat), test: "talk" }),
      "还没有可以聊天的客户或群",
    ),
  ];
}

/** Among staff: internal groups and the bots. Nothing without them. */
function inside(client) {
  const { rooms, bots } = client.world;
  const among = rooms.filter(({ single }) => !single);
  if (!among.length && !bots.length) return null;
  const entries = [
    ...among.map((room) => ({ ...room, id: room.chat_id, kind: "group", mark: "[内部]" })),
    ...bots.map((bot) => {
      const talked = rooms.find(({ single, bots: [other] }) => single && other.id === bot.id);
      return { ...bot, id: `bot:${bot.id}`, faceOf: bot.id, kind: "bot", mark: "[智能机器人]", last: talked?.last };
    }),
  ];
  return group("公司内部", entries, (chat) => row(client, { ...chat, test: "room" }), "");
}

const shown = ({ name, remark }) => (remark && remark !== name ? `${name}（${remark}）` : name);

function open(client, id) {
  const chat = client.world.groups.find(({ chat_id: chatId }) => chatId === id);
  if (chat) return groupTalk(client, chat);
  const room = client.world.rooms.find(({ chat_id: chatId }) => chatId === id);
  if (room) return roomTalk(client, room);
  if (id.startsWith("bot:")) return botTalk(client, id.slice("bot:".length));
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

/** An internal group. Its bots hear what mentions them; no bot gets into a customer group. */
function roomTalk(client, room) {
  const bots = room.bots.map(({ name }) => name).join("、");
  const talk = among(client, room, `内部群 · ${room.members} 人${bots ? ` · 智能机器人：${bots}` : ""}（没有客户）`, () =>
    room.bots.map(({ name }) =>
      h(
        "button.mention",
        { type: "button", "data-test": "mention", onclick: () => mention(talk.composer.field, name) },
        `@${name}`,
      ),
    ),
  );
  return talk;
}

function botTalk(client, id) {
  const bot = client.world.bots.find((one) => one.id === id);
  if (!bot) return gone(client);
  const chat = { chat_id: `single-${bot.id}-${client.place.as}`, name: bot.name };
  const talk = among(client, chat, "智能机器人 · 单聊（只服务员工）");
  const { opened } = talk;
  talk.opened = async () => {
    await client.attempt(() => post(client.path("bots", bot.id, "enter"), {}));
    await opened.call(talk);
  };
  return talk;
}

function among(client, room, subtitle, beside) {
  const path = (...parts) => client.path("rooms", room.chat_id, ...parts);
  return new Talk(client, {
    title: room.name,
    subtitle,
    source: path("messages"),
    deliver: (payload) => post(path("message"), payload),
    belongs: (message) => message.chat_id === room.chat_id,
    rate: (message, type) => client.attempt(() => post(path("rate"), { seq: message.seq, type }), "已告诉机器人"),
    names: true,
    beside: beside?.(),
  });
}

function mention(field, name) {
  field.value = `@${name} ${field.value}`;
  field.dispatchEvent(new Event("input"));
  field.focus();
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
