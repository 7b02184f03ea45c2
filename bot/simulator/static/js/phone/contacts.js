/** The address book: staff this customer has added, groups they are in, and how to leave either. */

import { post } from "../api.js";
import { confirmed, h } from "../dom.js";
import { cell, cells } from "./cells.js";

export function contacts(phone) {
  const of = (kind) => phone.world.chats.filter((chat) => chat.kind === kind).map((chat) => entry(chat, phone));
  return [
    cells("员工好友", of("staff"), "还没有加过员工，去“发现”里扫一扫"),
    cells("群聊", of("group"), "还没有进过群"),
    cells("微信客服", of("kf"), "还没有咨询过客服"),
  ];
}

function entry(chat, phone) {
  const face = { name: chat.title, avatar: chat.avatar, id: chat.chat_id, kind: chat.kind };
  const open = cell({ face, id: chat.chat_id, test: "friend", tap: () => phone.go({ chat: chat.chat_id }) });
  const words = FAREWELLS[chat.kind];
  const parted = chat.kind === "staff" && !phone.world.friends?.includes(chat.chat_id);
  if (!words || parted) return open;
  const label = `${words.button}：${chat.title}`;
  return h(
    "div.cell-with-action",
    {},
    open,
    h("button.cell-action", { type: "button", "aria-label": label, onclick: () => leave(chat, phone) }, words.button),
  );
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
  staff: {
    call: "delete",
    key: "userid",
    button: "删除",
    inFull: "删除联系人",
    done: "已删除",
    question: (name) => `删除“${name}”？对方会收到客户流失的通知，你们将不能再聊天。`,
  },
  group: {
    call: "leave",
    key: "chat_id",
    button: "退出",
    inFull: "退出群聊",
    done: "已退出群聊",
    question: (name) => `退出“${name}”？退出后不再收到群里的消息。`,
  },
};
