/** The address book: staff this customer has added, groups they are in, and how to leave either. */

import { post } from "../api.js";
import { avatar } from "../avatar.js";
import { confirmed, h } from "../dom.js";

export function contacts(phone) {
  const of = (kind) => phone.world.chats.filter((chat) => chat.kind === kind);
  return [
    section("员工好友", of("staff"), phone, "还没有加过员工，去“发现”里扫一扫"),
    section("群聊", of("group"), phone, "还没有进过群"),
    section("微信客服", of("kf"), phone, "还没有咨询过客服"),
  ];
}

function section(title, chats, phone, nothing) {
  return h("section", {}, h("h2.cells-title", {}, title),
    chats.length
      ? h("ul.cells", {}, chats.map((chat) => h("li.cell-row", {}, entry(chat, phone), farewell(chat, phone))))
      : h("p.cells-none", {}, nothing));
}

function entry(chat, phone) {
  return h("button.cell", { type: "button", onclick: () => phone.go({ chat: chat.chat_id }) },
    avatar({ name: chat.title, avatar: chat.avatar, id: chat.chat_id, kind: chat.kind }),
    h("span.cell-main", {}, chat.title));
}

function farewell(chat, phone) {
  const words = FAREWELLS[chat.kind];
  if (!words) return null;
  return h("button.cell-action", { type: "button", "aria-label": `${words.button}：${chat.title}`, onclick: () => leave(chat, phone) }, words.button);
}

/** Delete the staff member or leave the group, after asking. */
export async function leave(chat, phone) {
  const words = FAREWELLS[chat.kind];
  if (!(await confirmed(words.question(chat.title), { yes: words.button, danger: true, inside: phone.root }))) return;
  const done = await phone.attempt(() => post(phone.path(words.call), { [words.key]: chat.chat_id }), words.done);
  if (!done) return;
  await phone.go({ chat: null }, { replace: true });
  phone.reloadSoon();
}

export const FAREWELLS = {
  staff: { call: "delete", key: "userid", button: "删除", done: "已删除", question: (name) => `删除“${name}”？对方会收到客户流失的通知，你们将不能再聊天。` },
  group: { call: "leave", key: "chat_id", button: "退出", done: "已退出群聊", question: (name) => `退出“${name}”？退出后不再收到群里的消息。` },
};
