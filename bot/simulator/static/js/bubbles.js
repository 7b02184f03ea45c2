/** What is inside a message bubble, for every type of message the vendor has. */

import { mediaUrl } from "./api.js";
import { avatar } from "./avatar.js";
import { h, icon, ICONS } from "./dom.js";
import { markdown } from "./markdown.js";
import { link, linked, safeUrl } from "./words.js";

/** `on` holds what a tap does: open(url), say(text, menuId), add(userid), join(chatId); and nameOf(userid). */
export function content(message, on) {
  const draw = DRAWN[message.msgtype];
  const payload = message[message.msgtype] || {};
  return draw ? draw(payload, on) : h("div.bubble-text", {}, `[${message.msgtype}]`);
}

/** One line for lists: the text, or what kind of thing it is. */
export function summary(message) {
  if (message.recalled) return "撤回了一条消息";
  if (message.msgtype === "text" || message.msgtype === "event") {
    return (message[message.msgtype]?.content || "").replace(/<[^>]*>/g, "");
  }
  if (message.msgtype === "msgmenu") return message.msgmenu.head_content || "[菜单消息]";
  if (message.msgtype === "link") return `[链接] ${message.link.title || ""}`;
  return SUMMARIES[message.msgtype] || "[消息]";
}

const SUMMARIES = {
  image: "[图片]",
  voice: "[语音]",
  video: "[视频]",
  file: "[文件]",
  location: "[位置]",
  miniprogram: "[小程序]",
  business_card: "[名片]",
};

/** Types that draw their own white card instead of sitting in a coloured bubble. */
export const BARE = new Set(["image", "video", "link", "miniprogram", "business_card", "location", "file"]);

const DRAWN = {
  text: ({ content: text = "" }, on) => h("div.bubble-text", {}, linked(text, on.open)),
  stream: drawStream,
  markdown: ({ content: text = "" }, on) => h("div.bubble-text.md", {}, markdown(text, on.open)),
  image: (image) => picture(image, "图片"),
  link: drawLink,
  msgmenu: drawMenu,
  miniprogram: drawMiniprogram,
  file: ({ filename, title, name }) =>
    h("div.card-file", {}, h("span", {}, filename || title || name || "文件"), icon(ICONS.file)),
  voice: ({ seconds }) => h("div.bubble-text.voice", {}, icon(ICONS.horn), seconds ? `${seconds}″` : "语音"),
  video: () => h("div.card-video", { role: "img", "aria-label": "视频" }, icon(ICONS.play)),
  location: ({ name, address }) =>
    h(
      "div.card-place",
      {},
      h("b", {}, name || "位置"),
      h("small", {}, address || ""),
      h("div.map", {}, icon(ICONS.place)),
    ),
  business_card: drawBusinessCard,
};

/** A bot's answer, as far as it has come; finished, it can be rated. */
function drawStream({ content: text = "", finish, feedback, rating, timed_out: timedOut }, on) {
  const rate = (type, words) =>
    h(
      "button.rate",
      {
        type: "button",
        "aria-pressed": String(rating === type),
        "data-test": `rate-${type}`,
        onclick: () => on.rate(rating === type ? 3 : type),
      },
      words,
    );
  return h(
    "div.bubble-text.md",
    { "data-test": finish ? "stream-done" : "stream-going" },
    markdown(text, on.open),
    finish ? null : h("span.typing", { role: "status", "aria-label": "正在回答" }, h("i"), h("i"), h("i")),
    timedOut ? h("small.stream-note", {}, "超过 6 分钟，流已关闭") : null,
    finish && feedback && on.rate ? h("div.rates", {}, rate(1, "准确"), rate(2, "不准确")) : null,
  );
}

function picture({ media_id: mediaId, pic_url: picUrl, url }, what) {
  const source = mediaId ? mediaUrl(mediaId) : safeUrl(picUrl || url || "");
  const frame = h("div.card-picture");
  const missing = () => frame.replaceChildren(h("span.missing", {}, icon(ICONS.picture), `${what}看不到了`));
  if (source) frame.append(h("img", { src: source, alt: what, onerror: missing }));
  else missing();
  return frame;
}

function thumbnail({ thumb_media_id: mediaId, pic_media_id: picMediaId, pic_url: picUrl, picurl }) {
  const id = mediaId || picMediaId;
  const source = id ? mediaUrl(id) : picUrl || picurl ? safeUrl(picUrl || picurl) : null;
  const box = h("span.thumb", {}, icon(ICONS.link));
  if (source)
    box.replaceChildren(h("img", { src: source, alt: "", onerror: () => box.replaceChildren(icon(ICONS.link)) }));
  return box;
}

function drawLink(payload, on) {
  const { title = "", desc = "", url = "" } = payload;
  const inside = [h("b", {}, title || url), h("div.card-link-row", {}, h("span", {}, desc || url), thumbnail(payload))];
  const address = safeUrl(url);
  return address ? link(address, inside, on.open, "a.card-link") : h("div.card-link", {}, inside);
}

function drawMenu({ head_content: head, list = [], tail_content: tail }, on) {
  const lines = list.map((item) => MENU_ITEMS[item.type]?.(item[item.type] || {}, on));
  return h(
    "div.bubble-text.menu",
    {},
    head && h("p", {}, linked(head, on.open)),
    lines,
    tail && h("p", {}, linked(tail, on.open)),
  );
}

const MENU_ITEMS = {
  click: ({ id, content: words = "" }, on) =>
    h("button.menu-item", { type: "button", "data-test": "menu-item", onclick: () => on.say(words, id) }, words),
  view: ({ url, content: words = "" }, on) => {
    const address = safeUrl(url || "");
    return address ? link(address, words, on.open, "a.menu-item") : h("span.menu-item", {}, words);
  },
  miniprogram: ({ content: words = "" }) => h("span.menu-item.mini", {}, words),
  text: ({ content: words = "", no_newline: sameLine }) => h(sameLine ? "span.menu-text" : "p", {}, words),
};

function drawMiniprogram(payload) {
  return h(
    "div.card-mini",
    {},
    h("small", {}, payload.appid || "小程序"),
    h("b", {}, payload.title || ""),
    thumbnail(payload),
    h("footer", {}, "小程序"),
  );
}

/** A member's card, or an invitation to a group (the vendor's "upgrade service" shows either, with its own wording). */
function drawBusinessCard({ userid = "", chat_id: chatId, title, wording }, on) {
  const name = chatId ? title : on.nameOf?.(userid) || userid;
  const face = avatar({ name, id: chatId || userid, kind: chatId ? "group" : "staff" });
  return h(
    "button.card-person",
    { type: "button", "data-test": "business-card", onclick: () => (chatId ? on.join?.(chatId) : on.add?.(userid)) },
    h(
      "span.card-person-row",
      {},
      face,
      h("span", {}, h("b", {}, name), wording ? h("small.wording", {}, wording) : null),
    ),
    h("small.card-foot", {}, chatId ? "群聊邀请 · 点一下进群" : "企业微信名片 · 点一下添加"),
  );
}
