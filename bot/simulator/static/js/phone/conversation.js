/** A conversation on the phone: with a kf account, a staff member, or in a group. */

import { get, post, upload } from "../api.js";
import { composer } from "../composer.js";
import { fill, h, icon, ICONS, showOver } from "../dom.js";
import { Thread } from "../thread.js";
import { FAREWELLS, leave } from "./contacts.js";

const KF_STATES = {
  0: "等待接待",
  1: "机器人接待中",
  2: "排队中，请稍候",
  3: "人工接待中",
  4: "没有进行中的会话，发消息即可开始",
};

export class Conversation {
  constructor(phone, chatId) {
    Object.assign(this, { phone, chatId });
    this.title = h("h1");
    this.state = h("div.state-hint", { "data-test": "kf-state" });
    this.panel = h("div.panel", { hidden: true }, this.attachments());
    this.thread = new Thread({
      isMine: ({ from }) => from.kind === "customer" && from.id === phone.place.as,
      names: this.chat.kind === "group",
      load: (query) => get(`${this.path("messages")}?${new URLSearchParams(query)}`),
      on: {
        open: (url) => phone.browser.open(url),
        say: (text, menuId) => this.say(text, menuId),
        nameOf: (userid) => phone.nameOf(userid),
        add: (userid) => phone.attempt(() => post(phone.path("add"), { userid }), "已添加到通讯录"),
        join: (id) => phone.attempt(() => post(phone.path("join"), { chat_id: id }), "已进群"),
        recall: (message) => phone.attempt(() => post(phone.path("recall"), { chat_id: chatId, seq: message.seq })),
      },
    });
    const plus = h(
      "button.plus",
      {
        type: "button",
        "aria-label": "更多",
        "aria-expanded": "false",
        "data-test": "plus",
        onclick: () => this.togglePanel(),
      },
      icon(ICONS.plus),
    );
    this.plus = plus;
    this.composer = composer({ onSend: (text) => this.say(text), beside: plus });
    this.element = h(
      "div.conversation",
      {},
      this.header(),
      this.state,
      this.thread.element,
      this.composer.element,
      this.panel,
    );
    this.refresh();
  }

  /** What the list says of this chat; a kf account one never wrote to is known by its name alone. */
  get chat() {
    const { chats, kf_accounts: accounts } = this.phone.world;
    const known = chats.find(({ chat_id: id }) => id === this.chatId);
    const account = accounts.find(({ open_kfid: id }) => id === this.chatId);
    return known || { chat_id: this.chatId, kind: account ? "kf" : "gone", title: account?.name || "聊天不存在" };
  }

  path(...parts) {
    return this.phone.path("chats", this.chatId, ...parts);
  }

  header() {
    const back = h(
      "button.bar-button",
      { type: "button", "aria-label": "返回", "data-test": "back", onclick: () => this.phone.go({ chat: null }) },
      icon(ICONS.back),
    );
    const more = h(
      "button.bar-button",
      { type: "button", "aria-label": "聊天选项", onclick: () => this.options() },
      icon(ICONS.more),
    );
    return h("header.bar", {}, back, this.title, more);
  }

  async open() {
    await this.thread.open();
    this.markRead();
    if (window.matchMedia("(hover: hover)").matches) this.composer.field.focus(); // no on-screen keyboard to pop up
  }

  refresh() {
    const { title, kind, state, servicer } = this.chat;
    this.title.textContent = title;
    this.state.hidden = kind !== "kf" || state === undefined || state === null;
    this.state.textContent = state === 3 && servicer ? `人工接待中：${servicer}` : KF_STATES[state] || "";
    this.state.dataset.state = state;
  }

  receive(message) {
    this.thread.upsert(message);
    this.markRead();
  }

  catchUp() {
    return this.thread.catchUp();
  }

  markRead() {
    if (document.visibilityState === "visible" && this.thread.lastSeq)
      post(this.phone.path("read"), { chat_id: this.chatId }).catch(() => {});
  }

  say(text, menuId) {
    const words = menuId === undefined ? { content: text } : { content: text, menu_id: menuId };
    return this.send({ msgtype: "text", text: words });
  }

  send(payload) {
    const { customer } = this.phone.world;
    const me = { kind: "customer", id: customer.external_userid, name: customer.name, avatar: customer.avatar };
    return this.thread.send(payload, (body) => post(this.path("messages"), body), me);
  }

  togglePanel() {
    this.panel.hidden = !this.panel.hidden;
    this.plus.setAttribute("aria-expanded", String(!this.panel.hidden));
    this.thread.toBottom();
  }

  attachments() {
    const chosen = h("input.hidden-file", {
      type: "file",
      accept: "image/png,image/jpeg",
      "aria-label": "选择照片",
      "data-test": "photo",
      onchange: () => this.sendPhoto(chosen.files[0]),
    });
    const tool = (glyph, name, tap) =>
      h("button.tool", { type: "button", onclick: tap }, h("span.tool-icon", {}, icon(ICONS[glyph])), name);
    return [
      chosen,
      tool("picture", "照片", () => chosen.click()),
      tool("place", "位置", () => this.send({ msgtype: "location", location: HERE })),
      tool("link", "链接", () => this.send({ msgtype: "link", link: A_LINK })),
    ];
  }

  async sendPhoto(file) {
    if (!file) return;
    const mediaId = await this.phone.attempt(() => upload(this.phone.path("upload"), file));
    if (typeof mediaId === "string") this.send({ msgtype: "image", image: { media_id: mediaId } });
    this.togglePanel();
  }

  options() {
    const { chat, phone } = this;
    const sheet = h("dialog.sheet", { "aria-label": "聊天选项" });
    const choice = (words, act, selector = "button") =>
      h(
        selector,
        {
          type: "button",
          onclick: () => {
            sheet.close();
            act();
          },
        },
        words,
      );
    const choices = [];
    if (chat.kind === "kf")
      choices.push(
        choice("重新进入会话", () => phone.attempt(() => post(phone.path("kf", this.chatId, "enter")), "已重新进入")),
      );
    if (FAREWELLS[chat.kind])
      choices.push(choice(FAREWELLS[chat.kind].inFull, () => leave(chat, phone), "button.danger"));
    fill(
      sheet,
      choices,
      choice("取消", () => {}),
    );
    sheet.addEventListener("click", (event) => event.target === sheet && sheet.close());
    showOver(phone.root, sheet);
  }
}

const HERE = { latitude: 31.2304, longitude: 121.4737, name: "人民广场", address: "上海市黄浦区人民大道" };
const A_LINK = {
  title: "看到一款不错的猫粮",
  desc: "朋友家的猫很爱吃，你们有吗？",
  url: "https://example.com/cat-food",
  pic_url: "",
};
