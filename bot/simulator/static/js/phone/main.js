/** The phone of one customer: which screen is shown, what the simulator knows about this person, and the live stream. */

import { at, follow, get, post } from "../api.js";
import { summary } from "../bubbles.js";
import { fill, h, icon, ICONS, toast } from "../dom.js";
import { clockTime, now, readClock } from "../when.js";
import { beside } from "./beside.js";
import { Browser } from "./browser.js";
import { chatList } from "./chats.js";
import { Conversation } from "./conversation.js";
import { contacts } from "./contacts.js";
import { discover, mine } from "./discover.js";
import { picker } from "./picker.js";

const RELOAD_MS = 150; // several "chats" events within this time cost one reload
const CLOCK_MS = 15_000;

const TABS = [
  { key: "chats", title: "微信", glyph: "chat", screen: chatList },
  { key: "contacts", title: "通讯录", glyph: "people", screen: contacts },
  { key: "discover", title: "发现", glyph: "compass", screen: discover },
  { key: "me", title: "我", glyph: "person", screen: mine },
];

class Phone {
  constructor(root) {
    this.root = root;
    this.time = h("span", { "data-test": "phone-time" });
    this.screen = h("div.screen");
    const bar = h(
      "div.statusbar",
      { "aria-hidden": "true" },
      this.time,
      h("span.statusbar-right", {}, "5G", h("i.battery")),
    );
    fill(root, bar, this.screen, h("div.homebar", { "aria-hidden": "true" }));
    this.browser = new Browser(this);
    this.world = null;
    this.conversation = null;
    window.addEventListener("popstate", () => this.show());
    document.addEventListener("visibilitychange", () => this.conversation?.markRead());
    setInterval(() => this.tick(), CLOCK_MS);
  }

  get place() {
    const query = new URLSearchParams(window.location.search);
    return { as: query.get("as"), chat: query.get("chat"), tab: query.get("tab") || "chats" };
  }

  /** Go to another screen; the address says where we are, so that it can be shared and the back button works. */
  go(change, { replace = false } = {}) {
    const place = { ...this.place, ...change };
    const query = new URLSearchParams(
      Object.entries(place).filter(([name, value]) => value && !(name === "tab" && value === "chats")),
    );
    window.history[replace ? "replaceState" : "pushState"](null, "", `?${query}`);
    return this.show();
  }

  path(...parts) {
    return at("sim", "phone", this.place.as, ...parts);
  }

  async show() {
    const { as, chat } = this.place;
    if (as !== this.followed) await this.becomes(as);
    this.browser.close();
    if (!this.world) return this.showPicker();
    if (chat) return this.showConversation(chat);
    this.conversation = null;
    this.showTab();
  }

  async showPicker() {
    this.conversation = null;
    readClock().then(
      () => this.tick(),
      () => {},
    ); // the picker itself says when the simulator is away
    fill(
      this.screen,
      picker((externalUserid) => this.go({ as: externalUserid, chat: null, tab: null })),
    );
    beside(null);
  }

  /** Be another customer: stop the old stream, load the new person's world, follow it. */
  async becomes(externalUserid) {
    this.stop?.();
    this.stop = null;
    this.world = null;
    this.followed = externalUserid;
    if (!externalUserid) return;
    if (!(await this.load())) return;
    this.stop = follow(this.path("stream"), {
      kinds: ["message", "chats"],
      onOpen: () => this.caughtUp(),
      onLost: () => this.root.classList.add("offline"),
      onEvent: (kind, data) => (kind === "message" ? this.receive(data) : this.reloadSoon()),
    });
  }

  async load() {
    try {
      await readClock();
      this.world = await get(this.path());
      document.title = `${this.world.customer.name}的手机 · 企业微信模拟器`;
      beside(this);
      this.tick();
      return true;
    } catch (failure) {
      toast(failure.message);
      return false;
    }
  }

  async caughtUp() {
    this.root.classList.remove("offline");
    await this.attempt(() => Promise.all([this.reload(), this.conversation?.catchUp()]));
  }

  async reload() {
    if (!(await this.load())) return;
    if (this.conversation) this.conversation.refresh();
    else if (!this.place.chat) this.showTab();
  }

  reloadSoon() {
    this.reloading ??= setTimeout(() => {
      this.reloading = null;
      this.reload();
    }, RELOAD_MS);
  }

  receive(message) {
    const open = this.conversation?.chatId === message.chat_id;
    if (open) this.conversation.receive(message);
    const chat = this.world.chats.find(({ chat_id: id }) => id === message.chat_id);
    if (chat) chat.last = { text: summary(message), at: message.at };
    this.reloadSoon();
  }

  showTab() {
    const { tab } = this.place;
    const current = TABS.find(({ key }) => key === tab) || TABS[0];
    const scrolled = this.screen.querySelector(".page")?.scrollTop || 0;
    const unread = this.world.chats.reduce((sum, chat) => sum + (chat.unread || 0), 0);
    const page = h("div.page", { "data-tab": current.key }, current.screen(this));
    const same = this.screen.querySelector(".page")?.dataset.tab === current.key;
    fill(
      this.screen,
      h("header.bar", {}, h("h1", {}, current.key === "chats" && unread ? `微信(${unread})` : current.title)),
      page,
      this.tabbar(current.key, unread),
    );
    if (same) page.scrollTop = scrolled;
  }

  tabbar(current, unread) {
    const item = ({ key, title, glyph }) =>
      h(
        `button.weui-tabbar__item${key === current ? ".weui-bar__item_on" : ""}`,
        {
          type: "button",
          "aria-current": key === current ? "page" : null,
          "data-test": `tab-${key}`,
          onclick: () => this.go({ tab: key, chat: null }),
        },
        h(
          "span.weui-tabbar__icon",
          {},
          icon(ICONS[glyph]),
          key === "chats" && unread ? h("span.weui-badge", {}, unread > 99 ? "99+" : unread) : null,
        ),
        h("span.weui-tabbar__label", {}, title),
      );
    return h("nav.weui-tabbar", { "aria-label": "主菜单" }, TABS.map(item));
  }

  async showConversation(chatId) {
    if (this.conversation?.chatId === chatId) return;
    const known = this.world.chats.some(({ chat_id: id }) => id === chatId);
    const isAccount = this.world.kf_accounts.some(({ open_kfid: id }) => id === chatId);
    if (!known && isAccount) await this.attempt(() => post(this.path("kf", chatId, "enter")));
    this.conversation = new Conversation(this, chatId);
    fill(this.screen, this.conversation.element);
    await this.attempt(() => this.conversation.open());
  }

  /** An employee's name as far as this phone has seen it, for cards that carry only the userid. */
  nameOf(userid) {
    const { chats, can_add: strangers } = this.world;
    return (
      chats.find(({ chat_id: id }) => id === userid)?.title ||
      strangers.find((member) => member.userid === userid)?.name ||
      userid
    );
  }

  /** Enter a kf account as from its QR code: the account learns of it, then the conversation opens. */
  async enterAccount(openKfid) {
    const entered = await this.attempt(() => post(this.path("kf", openKfid, "enter")));
    if (entered) await this.go({ chat: openKfid });
  }

  /** Do something at the simulator; a refusal is shown and answers null. */
  async attempt(action, done = "") {
    try {
      const answer = await action();
      if (done) toast(done);
      return answer ?? {};
    } catch (failure) {
      toast(failure.message);
      return null;
    }
  }

  tick() {
    this.time.textContent = clockTime(now());
  }
}

new Phone(document.getElementById("handset")).show();
