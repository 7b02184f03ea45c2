/** The chat list: kf accounts, staff and groups this customer talks with, the latest first. */

import { avatar } from "../avatar.js";
import { h } from "../dom.js";
import { shortTime } from "../when.js";

export function chatList(phone) {
  const chats = [...phone.world.chats].sort((a, b) => (b.last?.at || 0) - (a.last?.at || 0));
  if (!chats.length) {
    return h(
      "div.empty",
      {},
      h("p", {}, "还没有聊天"),
      h(
        "button.weui-btn.weui-btn_primary",
        { type: "button", onclick: () => phone.go({ tab: "discover" }) },
        "去“发现”里找客服或群",
      ),
    );
  }
  return h(
    "div.weui-cells.chats",
    {},
    chats.map((chat) => row(chat, phone)),
  );
}

function row(chat, phone) {
  const unread = chat.unread || 0;
  const label = `${chat.title}${unread ? `，${unread} 条未读` : ""}`;
  return h(
    "button.weui-cell.weui-cell_active.chat",
    {
      type: "button",
      "aria-label": label,
      "data-test": "chat",
      "data-chat": chat.chat_id,
      onclick: () => phone.go({ chat: chat.chat_id }),
    },
    h(
      "span.chat-avatar",
      {},
      avatar({ name: chat.title, avatar: chat.avatar, id: chat.chat_id, kind: chat.kind }, 48),
      unread ? h("span.weui-badge", {}, unread > 99 ? "99+" : unread) : null,
    ),
    h(
      "span.weui-cell__bd",
      {},
      h(
        "span.chat-line",
        {},
        h("span.chat-title", {}, chat.title, KIND_MARKS[chat.kind] && h("small.mark", {}, KIND_MARKS[chat.kind])),
        h("time", {}, shortTime(chat.last?.at)),
      ),
      h("span.chat-last", {}, chat.last?.text || " "),
    ),
  );
}

const KIND_MARKS = { kf: "@微信客服", staff: "@企业微信" };
